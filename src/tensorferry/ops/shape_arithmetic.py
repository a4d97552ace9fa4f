"""Ops on shapes and permutations: ShapeN, ConcatOffset, BroadcastArgs, BroadcastGradientArgs, InvertPermutation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed
from tensorferry.ops.dims import add_dims, known_integer, length_of
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.shape import CONTENT_LIMIT
from tensorferry.ops.sizes import Sizes, count_up
from tensorferry.ops.spec import Declined, Example, OpSpec, broadcast_shapes, lite, normalize_axis, same_in_tfjs
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import Array, DType


def _vector(dtype: DType, content: Sequence[Dim] | None, length: Dim) -> Typed:
    followed = content is not None and len(content) <= CONTENT_LIMIT
    return Typed(dtype, (length,), tuple(content) if followed and content is not None else None)


# -- ShapeN --------------------------------------------------------------------------------------------------------


def _infer_shape_n(node: Node) -> list[Typed]:
    shapes = [value.shape for value in node.inputs]
    return [_vector(node["out_type"], shape, UNKNOWN_DIM if shape is None else len(shape)) for shape in shapes]


def _evaluate_shape_n(node: Node, *arrays: Array) -> tuple[Array, ...]:
    return tuple(np.asarray(array.shape, node["out_type"].numpy) for array in arrays)


def _expand_shape_n(graph: Graph, node: Node) -> bool:
    expansion = Expansion(graph, node)
    return expansion.finish(*(expansion.make("Shape", value, out_type=node["out_type"]) for value in node.inputs))


def _shape_n_examples() -> Iterator[Example]:
    yield Example((sample(2, 3), sample(4)))
    yield Example((sample(2, 3), sample(2, 1)), {"out_type": DType.INT64}, note="int64")


# -- ConcatOffset --------------------------------------------------------------------------------------------------


def _infer_concat_offset(node: Node) -> list[Typed]:
    """Where each tensor of a concatenation begins: all before it, along that axis."""
    shapes = node.inputs[1:]
    axis, rank = known_integer(node.inputs[0]), next((count for count in map(length_of, shapes) if count is not None), None)
    if axis is None or rank is None:
        return [Typed(value.dtype, value.shape) for value in shapes]
    axis, before, typed = normalize_axis(axis, rank), 0, []
    for value in shapes:
        content: list[Dim] = [0] * rank
        content[axis] = before
        typed.append(_vector(value.dtype, content, rank))
        before = add_dims(before, value.content[axis] if value.content is not None else UNKNOWN_DIM)  # type: ignore[assignment]
    return typed


def _evaluate_concat_offset(_node: Node, axis: Array, *shapes: Array) -> tuple[Array, ...]:
    place = normalize_axis(int(axis.reshape(-1)[0]), shapes[0].size)
    offsets = np.zeros((len(shapes), shapes[0].size), shapes[0].dtype)
    offsets[1:, place] = np.cumsum([shape[place] for shape in shapes])[:-1]
    return tuple(offsets)


def _expand_concat_offset(graph: Graph, node: Node) -> bool:
    shapes, axis, rank = node.inputs[1:], known_integer(node.inputs[0]), length_of(node.inputs[1])
    if axis is None or rank is None:
        return False
    expansion, dtype = Expansion(graph, node), shapes[0].dtype.numpy
    there = np.zeros(rank, dtype)
    there[normalize_axis(axis, rank)] = 1
    offset = expansion.make("Mul", shapes[0], np.zeros(rank, dtype))
    offsets = [offset]
    for value in shapes[:-1]:
        offset = expansion.make("AddV2", offset, expansion.make("Mul", value, there))
        offsets.append(offset)
    return expansion.finish(*offsets)


def _concat_offset_examples() -> Iterator[Example]:
    shapes = [np.array(each, np.int32) for each in ((2, 2, 7), (2, 3, 7), (2, 5, 7))]
    yield Example((np.array(1, np.int32), *shapes), constants=(0,))
    yield Example(
        (np.array(-1, np.int32), np.array([2, 2], np.int32), np.array([2, 1], np.int32)), constants=(0, 1, 2), note="known"
    )


# -- BroadcastArgs and BroadcastGradientArgs -----------------------------------------------------------------------


def _infer_broadcast_args(node: Node) -> list[Typed]:
    one, other = node.inputs
    lengths = [length_of(value) for value in node.inputs]
    if one.content is not None and other.content is not None:
        shape = broadcast_shapes(one.content, other.content)
        assert shape is not None
        return [_vector(one.dtype, shape, len(shape))]
    known = [length for length in lengths if length is not None]
    return [Typed(one.dtype, (max(known) if len(known) == 2 else UNKNOWN_DIM,))]


def _evaluate_broadcast_args(_node: Node, one: Array, other: Array) -> Array:
    return np.asarray(np.broadcast_shapes(tuple(one.tolist()), tuple(other.tolist())), one.dtype)


def _lite_broadcast_args(node: Node) -> list[LiteOp]:
    if None not in map(length_of, node.inputs):
        raise Declined("sizes that can be counted are compared one by one")  # which older runtimes can do too
    return lite("BROADCAST_ARGS", node)


def _js_broadcast_args(node: Node) -> list[JsNode]:
    if None not in map(length_of, node.inputs):
        raise Declined("sizes that can be counted are compared one by one")
    return same_in_tfjs(node)


def _expand_broadcast_args(graph: Graph, node: Node) -> bool:
    """The shorter with ones before it; of each pair of sizes the one that is not 1."""
    lengths = [length_of(value) for value in node.inputs]
    if None in lengths:
        return False
    rank, dtype = max(length or 0 for length in lengths), node.inputs[0].dtype.numpy
    expansion, padded = Expansion(graph, node), []
    for value, length in zip(node.inputs, lengths, strict=True):
        ones = np.ones(rank - (length or 0), dtype)
        padded.append(expansion.make("ConcatV2", ones, value, np.array(0, np.int32)) if ones.size else value)
    one, other = padded
    stretched = expansion.make("Equal", one, np.array(1, dtype))
    return expansion.finish(expansion.make("SelectV2", stretched, other, one))


def _broadcast_args_examples() -> Iterator[Example]:
    yield Example((np.array([2, 1, 3], np.int32), np.array([4, 1], np.int32)))
    yield Example((np.array([2, 1]), np.array([2, 5])), constants=(0,), note="int64")
    yield Example((np.array([2, 1], np.int32), np.array([5], np.int32)), constants=(0, 1), note="known")


def _reduced_axes(one: Sequence[int], other: Sequence[int]) -> tuple[list[int], list[int]]:
    """Where each of two shapes is 1, the axes to sum over; of equal shapes none (tensorflow/core/util/bcast.h)."""
    if list(one) == list(other):
        return [], []
    rank = max(len(one), len(other))
    first, second = ([1] * (rank - len(shape)) + list(shape) for shape in (one, other))
    return [axis for axis, dim in enumerate(first) if dim == 1], [axis for axis, dim in enumerate(second) if dim == 1]


def _infer_reduced_axes(node: Node) -> list[Typed]:
    one, other = node.inputs
    contents = [value.content for value in node.inputs]
    if any(content is None or any(isinstance(dim, str) for dim in content) for content in contents):
        return [Typed(one.dtype, (UNKNOWN_DIM,)), Typed(other.dtype, (UNKNOWN_DIM,))]
    axes = _reduced_axes(*([int(dim) for dim in content or ()] for content in contents))
    return [_vector(value.dtype, found, len(found)) for value, found in zip(node.inputs, axes, strict=True)]


def _evaluate_reduced_axes(_node: Node, one: Array, other: Array) -> tuple[Array, ...]:
    return tuple(np.asarray(axes, one.dtype) for axes in _reduced_axes(one.tolist(), other.tolist()))


def _expand_reduced_axes(graph: Graph, node: Node) -> bool:
    lengths = [length_of(value) for value in node.inputs]
    if None in lengths:
        return False
    rank, dtype = max(length or 0 for length in lengths), node.inputs[0].dtype
    expansion, axes = Expansion(graph, node), []
    unequal = None
    if lengths[0] == lengths[1]:
        unequal = expansion.make("Any", expansion.make("NotEqual", *node.inputs), np.array([0], np.int32))
    for value, length in zip(node.inputs, lengths, strict=True):
        ones = np.ones(rank - (length or 0), dtype.numpy)
        padded = expansion.make("ConcatV2", ones, value, np.array(0, np.int32)) if ones.size else value
        stretched = expansion.make("Equal", padded, np.array(1, dtype.numpy))
        if unequal is not None:
            stretched = expansion.make("LogicalAnd", stretched, unequal)
        places = expansion.make("Where", stretched)
        axes.append(expansion.make("Cast", expansion.make("Reshape", places, np.array([-1], np.int32)), DstT=dtype))
    return expansion.finish(*axes)


def _reduced_axes_examples() -> Iterator[Example]:
    yield Example((np.array([2, 1, 3], np.int32), np.array([4, 1], np.int32)))
    yield Example((np.array([1, 3]), np.array([1, 3])), note="both ones, int64")
    yield Example((np.array([2, 1], np.int32), np.array([], np.int32)), constants=(0, 1), note="known")


# -- InvertPermutation ---------------------------------------------------------------------------------------------


def _infer_inverse(node: Node) -> list[Typed]:
    value = node.inputs[0]
    content = value.content
    if content is None or any(isinstance(each, str) for each in content):
        return [Typed(value.dtype, value.shape)]
    return [Typed(value.dtype, value.shape, tuple(_inverse(np.asarray(content)).tolist()))]


def _inverse(order: Array) -> Array:
    if sorted(order.tolist()) != list(range(order.size)):
        raise Declined(f"{order.tolist()} is no permutation")
    return np.argsort(order).astype(order.dtype)


def _expand_inverse(graph: Graph, node: Node) -> bool:
    """Element j is the i for which the permutation's element i is j: the sum of all i where that is so."""
    value = node.inputs[0]
    if value.rank != 1:
        return False
    expansion = Expansion(graph, node)
    places = count_up(expansion, Sizes(expansion, value)[0])
    if value.dtype is not DType.INT32:
        places = expansion.make("Cast", places, DstT=value.dtype)
    column = np.array(1, np.int32)
    hits = expansion.make("Equal", expansion.make("ExpandDims", value, column), places)
    counted = expansion.make("Mul", expansion.make("Cast", hits, DstT=value.dtype), expansion.make("ExpandDims", places, column))
    return expansion.finish(expansion.make("Sum", counted, np.array([0], np.int32)))


def _inverse_examples() -> Iterator[Example]:
    yield Example((np.array([2, 0, 3, 1], np.int32),))
    yield Example((np.array([1, 2, 0]),), note="int64")
    yield Example((np.array([1, 0], np.int32),), constants=(0,), note="known")


SPECS = (
    OpSpec(
        name="ShapeN",
        attrs={"out_type": DType.INT32},
        infer=_infer_shape_n,
        evaluate=_evaluate_shape_n,
        expand=_expand_shape_n,
        examples=_shape_n_examples,
    ),
    OpSpec(
        name="ConcatOffset",
        infer=_infer_concat_offset,
        evaluate=_evaluate_concat_offset,
        expand=_expand_concat_offset,
        examples=_concat_offset_examples,
    ),
    OpSpec(
        name="BroadcastArgs",
        infer=_infer_broadcast_args,
        evaluate=_evaluate_broadcast_args,
        to_tflite=_lite_broadcast_args,
        to_tfjs=_js_broadcast_args,
        expand=_expand_broadcast_args,
        examples=_broadcast_args_examples,
    ),
    OpSpec(
        name="BroadcastGradientArgs",
        infer=_infer_reduced_axes,
        evaluate=_evaluate_reduced_axes,
        expand=_expand_reduced_axes,
        examples=_reduced_axes_examples,
    ),
    OpSpec(
        name="InvertPermutation",
        infer=_infer_inverse,
        evaluate=lambda _node, order: _inverse(order),
        expand=_expand_inverse,
        examples=_inverse_examples,
    ),
)
