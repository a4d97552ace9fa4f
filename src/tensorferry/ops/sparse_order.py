"""Sparse tensors as lists of places that are sorted, joined, cut and split: SparseReorder, SparseConcat, SparseSlice, SparseSplit.

Sorting is TopKV2 of what is negated, axis by axis from the last, which keeps equal ones in order: so no number stands for a whole
place, which would overflow where an axis is as long as a vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.dims import known_integer, known_integers, length_of
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.sizes import Sizes
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array

_ZERO, _ONE = np.array(0, np.int32), np.array(1, np.int32)


# -- parts of many expansions ---------------------------------------------------------------------------------------


def column(parts: Expansion, indices: Value, axis: int) -> Value:
    """Of all places their number along one axis."""
    return parts.make("GatherV2", indices, np.array(axis, np.int32), _ONE)


def in_order(parts: Expansion, keys: Sequence[Value]) -> Value:
    """Where the smallest element is, the next, ...: by the first key, of equal ones by the next, then as they stand. int32."""
    size = Sizes(parts, keys[0])[0]
    count = np.array(size, np.int32) if isinstance(size, int) else size
    order: Value | None = None
    for key in reversed(keys):
        now = key if order is None else parts.make("GatherV2", key, order, _ZERO)
        turn = parts.make_node("TopKV2", parts.make("Neg", now), count).outputs[1]
        order = turn if order is None else parts.make("GatherV2", order, turn, _ZERO)
    assert order is not None
    return order


def rank_of(indices: Value, shape: Value) -> int:
    """How many axes the sparse tensor has."""
    rank = length_of(shape)
    if rank is None and indices.shape is not None and len(indices.shape) == 2 and isinstance(indices.shape[1], int):
        rank = indices.shape[1]
    if rank is None:
        raise Declined("the rank of its sparse tensor is not known")
    return rank


def _places(indices: Value, count: Dim = UNKNOWN_DIM) -> Typed:
    rank: Dim = indices.shape[1] if indices.shape is not None and len(indices.shape) == 2 else UNKNOWN_DIM
    return Typed(indices.dtype, (count, rank))


def _sorted(indices: Array) -> Array:
    return np.lexsort(indices.T[::-1]) if len(indices) else np.zeros(0, np.int64)


def _same_rank(places: Sequence[Value]) -> None:
    if any(each.rank not in (None, 2) for each in places):
        raise Declined("the places of a sparse tensor are a matrix")


# -- SparseReorder -------------------------------------------------------------------------------------------------


def _infer_reorder(node: Node) -> list[Typed]:
    _same_rank(node.inputs[:1])
    return [node.inputs[0].typed, node.inputs[1].typed]


def _evaluate_reorder(_node: Node, indices: Array, values: Array, _shape: Array) -> tuple[Array, Array]:
    order = _sorted(indices)
    return indices[order], values[order]


def _expand_reorder(graph: Graph, node: Node) -> bool:
    indices, values, shape = node.inputs
    parts = Expansion(graph, node)
    order = in_order(parts, [column(parts, indices, axis) for axis in range(rank_of(indices, shape))])
    return parts.finish(*(parts.make("GatherV2", each, order, _ZERO) for each in (indices, values)))


def _reorder_examples() -> Iterator[Example]:
    places = np.array([[2, 0], [0, 3], [2, 2], [0, 1], [1, 1]])
    yield Example((places, sample(5), np.array([3, 4])), constants=(2,))
    deep = np.array([[1, 0, 2], [0, 1, 1], [1, 0, 0]])
    yield Example((deep, np.array([7, 8, 9], np.int32), np.array([2, 2, 3])), constants=(2,), note="three axes")


# -- SparseConcat --------------------------------------------------------------------------------------------------


def _thirds(node: Node) -> tuple[Sequence[Value], ...]:
    count = len(node.inputs) // 3
    if not count or count * 3 != len(node.inputs):
        raise Declined(f"it has {len(node.inputs)} inputs: as many places, values and shapes are asked for")
    return node.inputs[:count], node.inputs[count : 2 * count], node.inputs[2 * count :]


def _axis(node: Node, rank: int) -> int:
    axis = int(node["concat_dim"])
    if not -rank <= axis < rank:
        raise Declined(f"axis {axis} is out of range for rank {rank}", attributes=f"concat_dim={axis}")
    return axis % rank


def _infer_concat(node: Node) -> list[Typed]:
    places, values, shapes = _thirds(node)
    _same_rank(places)
    counts = [each.shape[0] if each.shape else UNKNOWN_DIM for each in values]
    count: Dim = sum(map(int, counts)) if all(isinstance(each, int) for each in counts) else UNKNOWN_DIM
    known = [known_integers(each) for each in shapes]
    rank = next((length_of(each) for each in shapes if length_of(each) is not None), None)
    content: tuple[Dim, ...] | None = None
    if rank is not None and all(each is not None for each in known):
        axis = _axis(node, rank)
        content = _joined_shape([each for each in known if each is not None], axis)
    size: Dim = UNKNOWN_DIM if rank is None else rank
    return [_places(places[0], count), Typed(values[0].dtype, (count,)), Typed(shapes[0].dtype, (size,), content)]


def _joined_shape(shapes: Sequence[Sequence[int]], axis: int) -> tuple[int, ...]:
    if any(len(each) != len(shapes[0]) for each in shapes):
        raise Declined("its tensors have different ranks")
    total = sum(each[axis] for each in shapes)
    return tuple(total if at == axis else size for at, size in enumerate(shapes[0]))


def _evaluate_concat(node: Node, *arrays: Array) -> tuple[Array, ...]:
    count = len(arrays) // 3
    places, values, shapes = arrays[:count], arrays[count : 2 * count], arrays[2 * count :]
    axis, start, moved = _axis(node, len(shapes[0])), 0, []
    for each, shape in zip(places, shapes, strict=True):
        shift = np.zeros(len(shape), np.int64)
        shift[axis], start = start, start + int(shape[axis])
        moved.append(each + shift)
    indices = np.concatenate(moved)
    order = _sorted(indices)
    shape = np.array(_joined_shape([each.tolist() for each in shapes], axis), np.int64)
    return indices[order], np.concatenate(values)[order], shape


def _expand_concat(graph: Graph, node: Node) -> bool:
    places, values, shapes = _thirds(node)
    parts, rank = Expansion(graph, node), rank_of(places[0], shapes[0])
    axis = _axis(node, rank)
    here = np.array([at == axis for at in range(rank)], shapes[0].dtype.numpy)
    joined, start = [places[0]], parts.make("Mul", shapes[0], here)
    for indices, shape in zip(places[1:], shapes[1:], strict=True):
        joined.append(parts.make("AddV2", indices, start))
        start = parts.make("AddV2", start, parts.make("Mul", shape, here))
    indices = parts.make("ConcatV2", *joined, _ZERO) if len(joined) > 1 else joined[0]
    elements = parts.make("ConcatV2", *values, _ZERO) if len(joined) > 1 else values[0]
    if axis:  # along the first they follow each other
        order = in_order(parts, [column(parts, indices, at) for at in range(rank)])
        indices, elements = (parts.make("GatherV2", each, order, _ZERO) for each in (indices, elements))
    made = parts.make("AddV2", parts.make("Mul", shapes[0], 1 - here), start)
    return parts.finish(indices, elements, made)


def _concat_examples() -> Iterator[Example]:
    one, other = np.array([[0, 1], [2, 0], [2, 2]]), np.array([[0, 0], [1, 1], [2, 1]])
    inputs = (one, other, sample(3), sample(3, seed=1), np.array([3, 4]), np.array([3, 2]))
    yield Example(inputs, {"concat_dim": 1}, note="columns")
    yield Example((*inputs[:5], np.array([3, 4])), {"concat_dim": -2}, (4, 5), note="rows")


# -- SparseSlice and SparseSplit -----------------------------------------------------------------------------------


def _infer_slice(node: Node) -> list[Typed]:
    _same_rank(node.inputs[:1])
    shape, start, size = (known_integers(each) for each in node.inputs[2:])
    content = None
    if shape is not None and start is not None and size is not None:
        content = _sliced_shape(shape, start, size)
    rank: Dim = next((length_of(each) for each in node.inputs[2:] if length_of(each) is not None), None) or UNKNOWN_DIM
    return [_places(node.inputs[0]), Typed(node.inputs[1].dtype, (UNKNOWN_DIM,)), Typed(node.inputs[2].dtype, (rank,), content)]


def _sliced_shape(shape: Sequence[int], start: Sequence[int], size: Sequence[int]) -> tuple[int, ...]:
    return tuple(max(min(many, whole - first), 0) for whole, first, many in zip(shape, start, size, strict=True))


def _cut(indices: Array, values: Array, start: Array, size: Array) -> tuple[Array, Array]:
    inside = ((indices >= start) & (indices < start + size)).all(axis=1)
    return indices[inside] - start, values[inside]


def _evaluate_slice(_node: Node, indices: Array, values: Array, shape: Array, start: Array, size: Array) -> tuple[Array, ...]:
    made = np.array(_sliced_shape(shape.tolist(), start.tolist(), size.tolist()), np.int64)
    return *_cut(indices, values, start, size), made


def _expand_slice(graph: Graph, node: Node) -> bool:
    indices, values, shape, start, size = node.inputs
    parts = Expansion(graph, node)
    places, elements = _taken(parts, (indices, values), start, parts.make("AddV2", start, size))
    left = parts.make("Sub", shape, start)
    made = parts.make("Maximum", parts.make("Minimum", size, left), np.array(0, shape.dtype.numpy))
    return parts.finish(places, elements, made)


def _taken(parts: Expansion, what: tuple[Value, Value], start: Value | Array, end: Value | Array) -> tuple[Value, Value]:
    """Places, counted from `start`, and values of what lies from there to before `end`."""
    indices, values = what
    inside = parts.make("LogicalAnd", parts.make("GreaterEqual", indices, start), parts.make("Less", indices, end))
    kept = parts.make("Where", parts.make("All", inside, np.array([1], np.int32), keep_dims=False))
    return parts.make("Sub", parts.make("GatherNd", indices, kept), start), parts.make("GatherNd", values, kept)


def _slice_examples() -> Iterator[Example]:
    places = np.array([[0, 1], [1, 3], [2, 0], [2, 2]])
    window = np.array([1, 1]), np.array([2, 9])
    yield Example((places, sample(4), np.array([3, 4]), *window), constants=(2, 3, 4))
    yield Example((places, sample(4), np.array([3, 4]), *window), note="computed window")


def _split_of(node: Node) -> tuple[int, list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Axis, and where each piece begins and how large it is."""
    shape, axis = known_integers(node.inputs[3]), known_integer(node.inputs[0])
    if shape is None or axis is None:
        raise Declined("its shape and axis are computed while the model runs", remedy="make them constants in the source model")
    return _pieces(list(shape), axis, int(node["num_split"]))


def _pieces(shape: Sequence[int], axis: int, count: int) -> tuple[int, list[tuple[int, ...]], list[tuple[int, ...]]]:
    """The first pieces are one longer where the axis cannot be divided."""
    if not -len(shape) <= axis < len(shape) or not 0 < count <= shape[axis]:
        raise Declined(f"{list(shape)} cannot be cut into {count} pieces along axis {axis}")
    axis %= len(shape)
    least, more = divmod(shape[axis], count)
    lengths = [least + (at < more) for at in range(count)]
    first = [sum(lengths[:at]) for at in range(count)]
    begins = [tuple(start if at == axis else 0 for at in range(len(shape))) for start in first]
    sizes = [tuple(length if at == axis else size for at, size in enumerate(shape)) for length in lengths]
    return axis, begins, sizes


def _infer_split(node: Node) -> list[Typed]:
    _same_rank(node.inputs[1:2])
    count, rank = int(node["num_split"]), length_of(node.inputs[3])
    sizes: list[tuple[int, ...] | None] = [None] * count
    if known_integers(node.inputs[3]) is not None and known_integer(node.inputs[0]) is not None:
        sizes = list(_split_of(node)[2])
    places, values = _places(node.inputs[1]), Typed(node.inputs[2].dtype, (UNKNOWN_DIM,))
    return [*[places] * count, *[values] * count, *(Typed(node.inputs[3].dtype, (rank or UNKNOWN_DIM,), each) for each in sizes)]


def _evaluate_split(node: Node, axis: Array, indices: Array, values: Array, shape: Array) -> tuple[Array, ...]:
    _, begins, sizes = _pieces(shape.tolist(), int(axis), int(node["num_split"]))
    cuts = [_cut(indices, values, np.array(start), np.array(size)) for start, size in zip(begins, sizes, strict=True)]
    return *(each for each, _ in cuts), *(each for _, each in cuts), *(np.array(size, np.int64) for size in sizes)


def _expand_split(graph: Graph, node: Node) -> bool:
    _, begins, sizes = _split_of(node)
    parts, kind = Expansion(graph, node), node.inputs[1].dtype.numpy
    cuts = [
        _taken(parts, (node.inputs[1], node.inputs[2]), np.array(start, kind), np.add(start, size, dtype=kind))
        for start, size in zip(begins, sizes, strict=True)
    ]
    shapes = [parts.constant(np.array(size, node.inputs[3].dtype.numpy), "shape") for size in sizes]
    return parts.finish(*(each for each, _ in cuts), *(each for _, each in cuts), *shapes)


def _split_examples() -> Iterator[Example]:
    places = np.array([[0, 1], [1, 3], [2, 0], [2, 4]])
    yield Example((np.array(1), places, sample(4), np.array([3, 5])), {"num_split": 2}, constants=(0, 3))


SPECS = (
    OpSpec(
        name="SparseReorder", infer=_infer_reorder, evaluate=_evaluate_reorder, expand=_expand_reorder, examples=_reorder_examples
    ),
    OpSpec(name="SparseConcat", infer=_infer_concat, evaluate=_evaluate_concat, expand=_expand_concat, examples=_concat_examples),
    OpSpec(name="SparseSlice", infer=_infer_slice, evaluate=_evaluate_slice, expand=_expand_slice, examples=_slice_examples),
    OpSpec(name="SparseSplit", infer=_infer_split, evaluate=_evaluate_split, expand=_expand_split, examples=_split_examples),
)
