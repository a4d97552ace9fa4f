"""Rows of tensors as sets: what two of them share, have together, or one has alone. Sorted, each once, as a sparse tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.sizes import Sizes, scalar
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType

_OPERATIONS = ("a-b", "b-a", "intersection", "union")


def _operation(node: Node) -> str:
    name = str(node["set_operation"])
    if name not in _OPERATIONS:
        raise Declined(f"the operation {name!r} is not known", attributes=f"set_operation={name}")
    return name


def _infer(node: Node) -> list[Typed]:
    one, other = node.inputs
    _operation(node)
    if one.rank is not None and other.rank is not None and (one.rank != other.rank or one.rank < 2):
        raise Declined(f"its sets have ranks {one.rank} and {other.rank}: rows of one rank, 2 at least, are asked for")
    rank: Dim = UNKNOWN_DIM if one.rank is None else one.rank
    outer = None if one.shape is None else (*one.shape[:-1], UNKNOWN_DIM)
    kind: DType = node["index_dtype"]
    shape = Typed(kind, (rank,), outer)
    return [Typed(kind, (UNKNOWN_DIM, rank)), Typed(one.dtype, (UNKNOWN_DIM,)), shape]


def _evaluate(node: Node, one: Array, other: Array) -> tuple[Array, ...]:
    operation = _operation(node)
    outer = one.shape[:-1]
    places, values, longest = [], [], 0
    for row in np.ndindex(*outer):
        first, second = set(one[row].tolist()), set(other[row].tolist())
        made = {"a-b": first - second, "b-a": second - first, "intersection": first & second, "union": first | second}[operation]
        longest = max(longest, len(made))
        for place, value in enumerate(sorted(made)):
            places.append((*row, place))
            values.append(value)
    indices = np.array(places, np.int64).reshape(-1, one.ndim)
    return indices, np.array(values, one.dtype), np.array([*outer, longest], np.int64)


def _expand(graph: Graph, node: Node) -> bool:
    one, other = node.inputs
    if one.shape is None or other.shape is None or not one.dtype.is_integer:
        raise Declined(f"sets of {one.dtype}, or of unknown rank, are not sorted by the target")
    parts, operation, last = Expansion(graph, node), _operation(node), len(one.shape) - 1
    if one.dtype in (DType.INT8, DType.INT16, DType.UINT8, DType.UINT16):
        one, other = (parts.make("Cast", each, DstT=DType.INT32) for each in (one, other))
    taken = parts.make("ConcatV2", one, other, np.int32(last)) if operation == "union" else other if operation == "b-a" else one
    ordered = _ascending(parts, taken, last)
    kept = _differs_from_before(parts, ordered, last)
    if operation != "union":
        against = one if operation == "b-a" else other
        same = parts.make("Equal", parts.make("ExpandDims", ordered, np.int32(-1)), parts.make("ExpandDims", against, np.int32(-2)))
        there = parts.make("Any", same, np.array([last + 1], np.int32), keep_dims=False)
        kept = parts.make("LogicalAnd", kept, there if operation == "intersection" else parts.make("LogicalNot", there))
    return parts.finish(*listed(parts, ordered, kept, [output.dtype for output in node.outputs]))


def _ascending(parts: Expansion, value: Value, axis: int) -> Value:
    size = Sizes(parts, value)[axis]
    count = np.array(size, np.int32) if isinstance(size, int) else size
    return parts.make("Neg", parts.make_node("TopKV2", parts.make("Neg", value), count).outputs[0])


def _differs_from_before(parts: Expansion, value: Value, axis: int) -> Value:
    """Whether an element is the first of its kind in a sorted row."""
    begin, step = np.zeros(axis + 1, np.int32), np.ones(axis + 1, np.int32)
    later, sooner = begin.copy(), begin.copy()
    later[axis], sooner[axis] = 1, -1
    whole = (1 << (axis + 1)) - 1
    after = parts.make("StridedSlice", value, later, begin, step, begin_mask=whole - (1 << axis), end_mask=whole)
    before = parts.make("StridedSlice", value, begin, sooner, step, begin_mask=whole, end_mask=whole - (1 << axis))
    new = parts.make("Cast", parts.make("NotEqual", after, before), DstT=DType.INT32)
    pads = np.zeros((axis + 1, 2), np.int32)
    pads[axis, 0] = 1
    return parts.make("Greater", parts.make("PadV2", new, pads, np.int32(1)), np.int32(0))


def listed(parts: Expansion, ordered: Value, kept: Value, kinds: Sequence[DType]) -> tuple[Value, Value, Value]:
    """Places, counted anew along the last axis, values and shape of what is kept, in the given types."""
    last = len(ordered.shape or ()) - 1
    counted = parts.make("Cast", kept, DstT=DType.INT32)
    numbers = parts.make("Sub", parts.make("Cumsum", counted, np.int32(last), exclusive=False, reverse=False), np.int32(1))
    found = parts.make("Where", kept)
    outer = parts.make("Slice", found, np.array([0, 0], np.int32), np.array([-1, last], np.int32))
    place = parts.make("ExpandDims", parts.make("GatherNd", numbers, found), np.int32(1))
    indices = parts.make("ConcatV2", _cast(parts, outer, kinds[0]), _cast(parts, place, kinds[0]), np.int32(1))
    total = parts.make("Sum", counted, np.array([last], np.int32), keep_dims=False)
    longest = parts.make("Max", total, np.arange(last, dtype=np.int32), keep_dims=False)
    sizes = [scalar(parts, each) for each in Sizes(parts, ordered).all()[:-1]]
    shape = parts.make("Pack", *sizes, longest, axis=0)
    return indices, _cast(parts, parts.make("GatherNd", ordered, found), kinds[1]), _cast(parts, shape, kinds[2])


def _cast(parts: Expansion, value: Value, dtype: DType) -> Value:
    return value if value.dtype is dtype else parts.make("Cast", value, DstT=dtype)


def _examples() -> Iterator[Example]:
    one = np.array([[3, 1, 3, 2], [5, -5, 6, 7], [1, 1, 1, 1]])
    other = np.array([[2, 3, 9], [-5, -5, 6], [4, 5, 6]])
    for operation in _OPERATIONS:
        yield Example((one, other), {"set_operation": operation}, note=operation)
    deep = np.arange(12, dtype=np.int32).reshape(2, 2, 3) % 5
    yield Example((deep, deep[:, ::-1]), {"set_operation": "union"}, note="three axes")
    texts = np.array([[b"a", b"b"]], object)
    no_sorting = dict.fromkeys(("tflite", "tfjs"), "are not sorted by the target")
    yield Example((texts, texts[:, :1]), {"set_operation": "a-b"}, note="string", declines=no_sorting)


SPECS = (
    OpSpec(
        name="DenseToDenseSetOperation",
        attrs={"set_operation": "", "validate_indices": True, "index_dtype": DType.INT64},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        examples=_examples,
    ),
)
