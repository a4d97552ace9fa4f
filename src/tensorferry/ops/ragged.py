"""RaggedTensorToTensor: rows of different lengths side by side, filled up to one length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.dims import known_integer, known_integers
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.sizes import Size, Sizes, count_up, scalar, vector
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType

_BY_ROW = ["FIRST_DIM_SIZE", "VALUE_ROWIDS"]
_BY_SPLIT = ["ROW_SPLITS"]


def _kinds(node: Node) -> list[str]:
    kinds = list(node["row_partition_types"])
    if kinds not in (_BY_ROW, _BY_SPLIT):
        raise Declined("rows within rows are not laid out", attributes=f"row_partition_types={kinds}")
    return kinds


def _wanted(node: Node) -> list[int | None]:
    """Rows and columns as far as they are asked for."""
    sizes = known_integers(node.inputs[0])
    if sizes is None:
        raise Declined("the shape it fills up to is computed while the model runs", remedy="make it a constant")
    if len(sizes) < 2:  # -1 alone: whatever there is
        return [None, None]
    return [None if size < 0 else size for size in sizes[:2]]


def _infer(node: Node) -> list[Typed]:
    values, inner = node.inputs[1], node.inputs[1].shape
    if inner is None or node.inputs[0].content is None:
        return [Typed(values.dtype, None)]
    kinds, (rows, columns) = _kinds(node), _wanted(node)
    first: Dim = UNKNOWN_DIM
    if kinds == _BY_ROW:
        content = node.inputs[3].content
        first = content[0] if content else UNKNOWN_DIM
    elif node.inputs[3].shape and isinstance(node.inputs[3].shape[0], int):
        first = node.inputs[3].shape[0] - 1
    return [Typed(values.dtype, (first if rows is None else rows, UNKNOWN_DIM if columns is None else columns, *inner[1:]))]


def _evaluate(node: Node, _shape: Array, values: Array, default: Array, *partition: Array) -> Array:
    kinds, (rows, columns) = _kinds(node), _wanted_of(_shape)
    starts = partition[0] if kinds == _BY_SPLIT else np.searchsorted(partition[1], np.arange(int(partition[0]) + 1))
    pieces = [values[begin:end] for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)]
    high = len(pieces) if rows is None else rows
    wide = max(map(len, pieces), default=0) if columns is None else columns
    made = np.empty((high, wide, *values.shape[1:]), values.dtype)
    made[...] = default
    for row, piece in enumerate(pieces[:high]):
        made[row, : min(len(piece), wide)] = piece[:wide]
    return made


def _wanted_of(shape: Array) -> list[int | None]:
    sizes = shape.reshape(-1).tolist()
    return [None, None] if len(sizes) < 2 else [None if size < 0 else int(size) for size in sizes[:2]]


def _expand(graph: Graph, node: Node) -> bool:
    """Of each place in the result the value's place in the row of all values; the default stands behind these."""
    kinds, (rows, columns) = _kinds(node), _wanted(node)
    _, values, default, *partition = node.inputs
    if values.shape is None or any(isinstance(dim, str) for dim in values.shape[1:]):
        return False
    expansion, zero, one = Expansion(graph, node), np.array(0, np.int32), np.array(1, np.int32)
    if kinds == _BY_ROW:
        starts, lengths = _from_row_ids(expansion, partition, rows)
    else:
        starts, lengths = _from_splits(expansion, partition[0], rows)
    if columns is None:
        most = expansion.make("Max", lengths, np.array([0], np.int32))
        wide: Size = expansion.make("Maximum", most, zero)  # of no rows at all
    else:
        wide = columns
    places = expansion.make("ExpandDims", count_up(expansion, wide), zero)
    inside = expansion.make("Less", places, expansion.make("ExpandDims", lengths, one))
    found = expansion.make("AddV2", places, expansion.make("ExpandDims", starts, one))
    last = scalar(expansion, Sizes(expansion, values)[0])
    chosen = expansion.make("SelectV2", inside, found, last)
    inner = [int(dim) for dim in values.shape[1:]]
    spare = expansion.make("BroadcastTo", default, vector(expansion, [1, *inner]))
    joined = expansion.make("ConcatV2", values, spare, zero)
    return expansion.finish(expansion.make("GatherV2", joined, chosen, zero))


def _narrow(expansion: Expansion, value: Value) -> Value:
    return value if value.dtype is DType.INT32 else expansion.make("Cast", value, DstT=DType.INT32)


def _from_row_ids(expansion: Expansion, partition: list[Value], rows: int | None) -> tuple[Value, Value]:
    """(first place, length) of each row: how many values belong to rows before it, and to itself."""
    known = known_integer(partition[0])
    count: Any = rows if rows is not None else known if known is not None else _narrow(expansion, partition[0])
    column = expansion.make("ExpandDims", count_up(expansion, count), np.array(1, np.int32))
    ids = expansion.make("ExpandDims", _narrow(expansion, partition[1]), np.array(0, np.int32))
    sums = []
    for op in ("Less", "Equal"):
        hits = expansion.make("Cast", expansion.make(op, ids, column), DstT=DType.INT32)
        sums.append(expansion.make("Sum", hits, np.array([1], np.int32)))
    return sums[0], sums[1]


def _from_splits(expansion: Expansion, splits: Value, rows: int | None) -> tuple[Value, Value]:
    if rows is not None:
        raise Declined("a number of rows is asked for beside where they are split")
    narrow = _narrow(expansion, splits)
    ones = np.array([1], np.int32)
    starts = expansion.make("StridedSlice", narrow, ones * 0, -ones, ones, begin_mask=1)
    ends = expansion.make("StridedSlice", narrow, ones, ones * 0, ones, end_mask=1)
    return starts, expansion.make("Sub", ends, starts)


def _examples() -> Iterator[Example]:
    shape, default = np.array([-1, -1]), np.array(-1, np.int32)
    values, ids = np.arange(1, 6, dtype=np.int32), np.array([0, 0, 2, 2, 2])
    by_row = {"num_row_partition_tensors": 2, "row_partition_types": _BY_ROW}
    yield Example((shape, values, default, np.array(4), ids), by_row, constants=(0, 2, 3), note="row numbers")
    cut = np.array([3, 2], np.int32)
    yield Example((cut, values, default, np.array(4), ids), by_row, constants=(0, 2, 3), note="cut and filled")
    by_split = {"num_row_partition_tensors": 1, "row_partition_types": _BY_SPLIT}
    pairs, half = np.arange(10, dtype=np.float32).reshape(5, 2), np.array(0.5, np.float32)
    splits = np.array([0, 2, 2, 5])
    yield Example((np.array([-1, 4, 2]), pairs, half, splits), by_split, constants=(0, 2), note="splits, inner")
    words, nothing = np.array([b"a", b"b", b"c", b"d", b"e"], object), np.array(b"", object)
    no_joins = {"tflite": "string"}
    yield Example((shape, words, nothing, np.array(4), ids), by_row, (0, 2, 3), note="string", declines=no_joins)


SPECS = (
    OpSpec(
        name="RaggedTensorToTensor",
        attrs={"row_partition_types": [], "num_row_partition_tensors": 1},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        examples=_examples,
    ),
)
