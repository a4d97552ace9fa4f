"""RaggedTensorToSparse: rows of different lengths as places and values; and TopK as its first version was, with k an attribute."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.sizes import Sizes, count_up, scalar
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType

_ZERO, _ONE = np.array(0, np.int32), np.array(1, np.int32)

# -- RaggedTensorToSparse ------------------------------------------------------------------------------------------


def _infer(node: Node) -> list[Typed]:
    *splits, values = node.inputs
    kind: DType = node["index_dtype"]
    if not splits or any(each.rank not in (None, 1) for each in splits):
        raise Declined("it needs vectors of where rows begin")
    rank: Dim = UNKNOWN_DIM if values.rank is None else values.rank + len(splits)
    count: Dim = UNKNOWN_DIM if values.shape is None or len(values.shape) != 1 else values.shape[0]
    return [Typed(kind, (count, rank)), Typed(values.dtype, (count,)), Typed(kind, (rank,))]


def _evaluate(_node: Node, *arrays: Array) -> tuple[Array, ...]:
    *splits, values = arrays
    sizes = [len(splits[0]) - 1, *(int(np.diff(each).max(initial=0)) for each in splits), *values.shape[1:]]
    columns: list[Array] = []
    members = np.arange(len(values))
    for each in reversed(splits):
        rows = np.searchsorted(each, members, side="right") - 1
        columns.insert(0, members - each[rows])
        members = rows
    places = np.stack([members, *columns], axis=1) if len(values) else np.zeros((0, len(splits) + 1), np.int64)
    inner = np.indices(values.shape[1:]).reshape(values.ndim - 1, math.prod(values.shape[1:])).T
    spread = np.concatenate([np.repeat(places, len(inner), axis=0), np.tile(inner, (len(places), 1))], axis=1)
    return spread.astype(np.int64), values.reshape(-1), np.array(sizes, np.int64)


def _expand(graph: Graph, node: Node) -> bool:
    """Of each value the last row that begins before it, split by split from the innermost."""
    *splits, values = node.inputs
    if values.rank != 1:
        raise Declined("its values are more than single ones, or their rank is not known")
    parts, kind = Expansion(graph, node), node.outputs[0].dtype
    narrow = [each if each.dtype is DType.INT32 else parts.make("Cast", each, DstT=DType.INT32) for each in splits]
    members = count_up(parts, Sizes(parts, values)[0])
    columns: list[Value] = []
    for each in reversed(narrow):
        ended = parts.make("LessEqual", _ends(parts, each), parts.make("ExpandDims", members, _ONE))
        rows = parts.make("Sum", parts.make("Cast", ended, DstT=DType.INT32), np.array([1], np.int32), keep_dims=False)
        columns.insert(0, parts.make("Sub", members, parts.make("GatherV2", each, rows, _ZERO)))
        members = rows
    places = parts.make("Pack", members, *columns, axis=1)
    shape = _shape(parts, narrow)
    made = [each if kind is DType.INT32 else parts.make("Cast", each, DstT=kind) for each in (places, shape)]
    return parts.finish(made[0], parts.make("Identity", values), made[1])


def _cut(parts: Expansion, splits: Value, first: bool) -> Value:
    """Where rows begin, or where they end."""
    ones = np.array([1], np.int32)
    if first:
        return parts.make("StridedSlice", splits, ones * 0, -ones, ones, begin_mask=1)
    return parts.make("StridedSlice", splits, ones, ones * 0, ones, end_mask=1)


def _ends(parts: Expansion, splits: Value) -> Value:
    return parts.make("ExpandDims", _cut(parts, splits, first=False), _ZERO)


def _shape(parts: Expansion, splits: Sequence[Value]) -> Value:
    """As many rows as there are, and as many places as the longest has."""
    count = Sizes(parts, splits[0])[0]
    rows = scalar(parts, count - 1) if isinstance(count, int) else parts.make("Sub", count, _ONE)
    longest = []
    for each in splits:
        lengths = parts.make("Sub", _cut(parts, each, first=False), _cut(parts, each, first=True))
        most = parts.make("Max", lengths, np.array([0], np.int32), keep_dims=False)
        longest.append(parts.make("Maximum", most, _ZERO))
    return parts.make("Pack", rows, *longest, axis=0)


def _examples() -> Iterator[Example]:
    attrs = {"RAGGED_RANK": 1}
    yield Example((np.array([0, 2, 2, 5]), sample(5)), attrs, note="an empty row")
    yield Example((np.array([0, 1, 4], np.int32), np.arange(4)), attrs, (0,), note="known rows")
    nested = np.array([0, 2, 2, 3]), np.array([0, 1, 1, 4])
    yield Example((*nested, np.arange(4, dtype=np.int32)), {"RAGGED_RANK": 2}, note="rows in rows")


# -- TopK ----------------------------------------------------------------------------------------------------------


def _infer_top(node: Node) -> list[Typed]:
    value, count = node.inputs[0], int(node["k"])
    if value.shape is None:
        return [Typed(value.dtype, None), Typed(DType.INT32, None)]
    last = value.shape[-1] if value.shape else 0
    if not value.shape or count < 0 or (isinstance(last, int) and count > last):
        raise Declined(f"the {count} largest of {last} are wanted", attributes=f"k={count}")
    shape = (*value.shape[:-1], count)
    return [Typed(value.dtype, shape), Typed(DType.INT32, shape)]


def _evaluate_top(node: Node, array: Array) -> tuple[Array, Array]:
    """Largest first; of equal ones the first."""
    order = array.shape[-1] - 1 - np.argsort(array[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    places = order[..., : int(node["k"])]
    return np.take_along_axis(array, places, axis=-1), places.astype(np.int32)


def _expand_top(graph: Graph, node: Node) -> bool:
    parts = Expansion(graph, node)
    made = parts.make_node("TopKV2", node.inputs[0], np.array(node["k"], np.int32), sorted=node["sorted"])
    return parts.finish(*made.outputs)


def _top_examples() -> Iterator[Example]:
    yield Example((sample(3, 7),), {"k": 3})
    yield Example((np.array([1, 5, 5, 2, 5], np.int32),), {"k": 4}, note="equal ones")


SPECS = (
    OpSpec(
        name="RaggedTensorToSparse",
        attrs={"RAGGED_RANK": 1, "index_dtype": DType.INT64},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        examples=_examples,
    ),
    OpSpec(
        name="TopK",
        attrs={"k": 0, "sorted": True},
        infer=_infer_top,
        evaluate=_evaluate_top,
        expand=_expand_top,
        examples=_top_examples,
    ),
)
