"""RaggedRange and RaggedGather: rows of different lengths, held as all values one after the other and where rows begin (splits)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.spec import Example, OpSpec
from tensorferry.tensor import Array, DType

_ZERO, _ONE, _ONES = np.array(0, np.int32), np.array(1, np.int32), np.array([1], np.int32)


# -- rows in general -----------------------------------------------------------------------------------------------


def _splits_of(expansion: Expansion, lengths: Value) -> Value:
    """Where rows of these lengths begin, and where the last ends."""
    return expansion.make("Pad", expansion.make("Cumsum", lengths, _ZERO), np.array([[1, 0]], np.int32))


def _starts(expansion: Expansion, splits: Value) -> Value:
    return expansion.make("StridedSlice", splits, _ONES * 0, -_ONES, _ONES, begin_mask=1)


def _ends(expansion: Expansion, splits: Value) -> Value:
    return expansion.make("StridedSlice", splits, _ONES, _ONES * 0, _ONES, end_mask=1)


def _rows_and_places(expansion: Expansion, splits: Value) -> tuple[Value, Value]:
    """Of each value that the splits hold: the number of its row, and its place in the row."""
    total = expansion.make("Squeeze", expansion.make("StridedSlice", splits, -_ONES, _ONES * 0, _ONES, end_mask=1))
    places = expansion.make("Range", _ZERO, total, _ONE)
    ended = expansion.make("LessEqual", expansion.make("ExpandDims", _ends(expansion, splits), _ZERO), _column(expansion, places))
    rows = expansion.make("Sum", expansion.make("Cast", ended, DstT=DType.INT32), np.array([1], np.int32))
    return rows, expansion.make("Sub", places, expansion.make("GatherV2", splits, rows, _ZERO))


def _column(expansion: Expansion, row: Value) -> Value:
    return expansion.make("ExpandDims", row, _ONE)


def _cast(expansion: Expansion, value: Value, dtype: DType) -> Value:
    return value if value.dtype is dtype else expansion.make("Cast", value, DstT=dtype)


# -- RaggedRange ---------------------------------------------------------------------------------------------------


def _infer_range(node: Node) -> list[Typed]:
    rows = next((each.shape[0] for each in node.inputs if each.shape), None)
    count = rows + 1 if isinstance(rows, int) else 2 if all(each.shape == () for each in node.inputs) else UNKNOWN_DIM
    return [Typed(node["Tsplits"], (count,)), Typed(node.inputs[0].dtype, (UNKNOWN_DIM,))]


def _evaluate_range(node: Node, starts: Array, limits: Array, deltas: Array) -> tuple[Array, Array]:
    alike = map(np.atleast_1d, np.broadcast_arrays(starts, limits, deltas))
    rows = [np.arange(*each, dtype=starts.dtype) for each in zip(*alike, strict=True)]
    splits = np.cumsum([0, *map(len, rows)]).astype(node["Tsplits"].numpy)
    return splits, np.concatenate([np.zeros(0, starts.dtype), *rows])


def _expand_range(graph: Graph, node: Node) -> bool:
    """The length of a row is ceil((limit - start) / delta), of integers without a rounding error: the quotient away from zero."""
    expansion = Expansion(graph, node)
    rows = [each for each in node.inputs if each.shape]
    if any(each.shape is None for each in node.inputs):
        return False
    starts, limits, deltas = (
        expansion.make("AddV2", each, expansion.make("ZerosLike", rows[0])) if rows and not each.shape else _as_row(expansion, each)
        for each in node.inputs
    )
    span = expansion.make("Sub", limits, starts)
    if span.dtype in (DType.INT32, DType.INT64):
        steps = expansion.make("Neg", expansion.make("FloorDiv", expansion.make("Neg", span), deltas))
    else:
        steps = expansion.make("Ceil", expansion.make("RealDiv", span, deltas))
    lengths = _cast(expansion, expansion.make("Maximum", steps, np.array(0, span.dtype.numpy)), DType.INT32)
    splits = _splits_of(expansion, lengths)
    row, place = _rows_and_places(expansion, splits)
    first, step = (expansion.make("GatherV2", each, row, _ZERO) for each in (starts, deltas))
    values = expansion.make("AddV2", first, expansion.make("Mul", _cast(expansion, place, span.dtype), step))
    return expansion.finish(_cast(expansion, splits, node["Tsplits"]), values)


def _as_row(expansion: Expansion, value: Value) -> Value:
    return value if value.shape else expansion.make("Reshape", value, np.array([1], np.int32))


def _range_examples() -> Iterator[Example]:
    starts, limits, deltas = np.array([0, 5, 8], np.int32), np.array([3, 5, 2], np.int32), np.array([1, 1, -2], np.int32)
    yield Example((starts, limits, deltas))
    yield Example((starts, np.array(9, np.int32), np.array(2, np.int32)), {"Tsplits": DType.INT32}, note="one limit for all")
    yield Example((np.array(1, np.int64), np.array(4, np.int64), np.array(1, np.int64)), note="one row, int64")
    yield Example((starts.astype(np.float32), np.array([2, 5.5, 7], np.float32), np.array([0.75, 1, -1], np.float32)), note="float")


# -- RaggedGather --------------------------------------------------------------------------------------------------


def _infer_gather(node: Node) -> list[Typed]:
    levels = node["PARAMS_RAGGED_RANK"]
    *splits, values, indices = node.inputs
    if indices.shape is None or values.shape is None:
        return [Typed(splits[0].dtype, (UNKNOWN_DIM,))] * node["OUTPUT_RAGGED_RANK"] + [Typed(values.dtype, None)]
    count = indices.shape[0] if indices.shape else None
    rows = count + 1 if isinstance(count, int) and len(indices.shape) == 1 else UNKNOWN_DIM
    made = [Typed(splits[0].dtype, (rows if not level else UNKNOWN_DIM,)) for level in range(levels + len(indices.shape) - 1)]
    return [*made, Typed(values.dtype, (UNKNOWN_DIM, *values.shape[1:]))]


def _evaluate_gather(_node: Node, *given: Array) -> tuple[Array, ...]:
    *splits, values, indices = given
    outer = [np.arange(0, int(np.prod(indices.shape[: axis + 1])) + 1, indices.shape[axis]) for axis in range(1, indices.ndim)]
    rows, made = indices.reshape(-1), [each.astype(splits[0].dtype) for each in outer]
    for each in splits:
        begin, end = each[rows], each[rows + 1]
        made.append(np.cumsum([0, *(end - begin)]).astype(each.dtype))
        rows = np.concatenate([np.zeros(0, np.int64), *(np.arange(*pair) for pair in zip(begin, end, strict=True))]).astype(
            np.int64
        )
    return *made, values[rows]


def _expand_gather(graph: Graph, node: Node) -> bool:
    """Level by level: the rows asked for give the lengths of the new rows, and the places of what lies in them."""
    *splits, values, indices = node.inputs
    if indices.rank != 1:
        return False
    expansion = Expansion(graph, node)
    rows, made = _cast(expansion, indices, DType.INT32), []
    for each in splits:
        narrow = _cast(expansion, each, DType.INT32)
        begins = expansion.make("GatherV2", narrow, rows, _ZERO)
        ends = expansion.make("GatherV2", narrow, expansion.make("AddV2", rows, _ONE), _ZERO)
        fresh = _splits_of(expansion, expansion.make("Sub", ends, begins))
        made.append(_cast(expansion, fresh, each.dtype))
        row, place = _rows_and_places(expansion, fresh)
        rows = expansion.make("AddV2", expansion.make("GatherV2", begins, row, _ZERO), place)
    return expansion.finish(*made, expansion.make("GatherV2", values, rows, _ZERO))


def _gather_examples() -> Iterator[Example]:
    splits, values = np.array([0, 2, 2, 5]), np.arange(5, dtype=np.float32)
    one = {"PARAMS_RAGGED_RANK": 1, "OUTPUT_RAGGED_RANK": 1}
    yield Example((splits, values, np.array([2, 0, 2, 1], np.int32)), one)
    yield Example((splits, np.arange(10, dtype=np.int32).reshape(5, 2), np.array([1, 0])), one, note="inner, int64 rows")
    inner = np.array([0, 1, 3, 3, 4, 7])
    two = {"PARAMS_RAGGED_RANK": 2, "OUTPUT_RAGGED_RANK": 2}
    yield Example((splits, inner, np.arange(7, dtype=np.float32), np.array([2, 0], np.int32)), two, note="rows within rows")


SPECS = (
    OpSpec(
        name="RaggedRange",
        attrs={"Tsplits": DType.INT64},
        infer=_infer_range,
        evaluate=_evaluate_range,
        expand=_expand_range,
        examples=_range_examples,
    ),
    OpSpec(
        name="RaggedGather",
        attrs={"PARAMS_RAGGED_RANK": 1, "OUTPUT_RAGGED_RANK": 1},
        infer=_infer_gather,
        evaluate=_evaluate_gather,
        expand=_expand_gather,
        examples=_gather_examples,
    ),
)
