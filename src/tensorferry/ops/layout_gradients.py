"""Gradients of layout ops, which graphs that differentiate hold: StridedSliceGrad, MirrorPadGrad."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.filling import shape_operand
from tensorferry.ops.padding import known_paddings
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.ops.strided import MASKS, Request, masks_of, numpy_index, plan_cuts
from tensorferry.tensor import Array

# -- StridedSliceGrad ----------------------------------------------------------------------------------------------


def _infer_cut(node: Node) -> list[Typed]:
    return [Typed(node.inputs[4].dtype, shape_operand(node.inputs[0]))]


def _evaluate_cut(node: Node, shape: Array, begin: Array, end: Array, strides: Array, dy: Array) -> Array:
    made = np.zeros([int(size) for size in shape], dy.dtype)
    request = Request(begin.tolist(), end.tolist(), strides.tolist(), masks_of(node))
    made[numpy_index(made.shape, plan_cuts(request, made.ndim))] = dy
    return made


def _expand_cut(graph: Graph, node: Node) -> bool:
    """Zeros, into which the gradient is put where the slice was."""
    shape, *bounds, dy = node.inputs
    expansion = Expansion(graph, node)
    zeros = expansion.make("Fill", shape, np.zeros((), dy.dtype.numpy))
    return expansion.finish(expansion.make("TensorStridedSliceUpdate", zeros, *bounds, dy, **masks_of(node)))


def _cut_examples() -> Iterator[Example]:
    bounds = np.array([1, 0], np.int32), np.array([3, 4], np.int32), np.array([1, 2], np.int32)
    yield Example((np.array([3, 4], np.int32), *bounds, sample(2, 2)), constants=(0, 1, 2, 3))
    yield Example((np.array([3, 4], np.int32), *bounds, sample(2)), {"shrink_axis_mask": 1}, (0, 1, 2, 3), note="index")


# -- MirrorPadGrad -------------------------------------------------------------------------------------------------


def _inner_shape(node: Node) -> list[Dim] | None:
    pairs, shape = known_paddings(node), node.inputs[0].shape
    if pairs is None or shape is None:
        return None
    return [_less(dim, sum(pair)) for dim, pair in zip(shape, pairs, strict=True)]


def _less(dim: Dim, by: int) -> Dim:
    if isinstance(dim, int):
        return dim - by
    return UNKNOWN_DIM if by else dim


def _infer_mirror(node: Node) -> list[Typed]:
    value, shape = node.inputs[0], _inner_shape(node)
    if shape is None:
        return [Typed(value.dtype, None if value.rank is None else (UNKNOWN_DIM,) * value.rank)]
    if any(isinstance(dim, int) and dim < 0 for dim in shape):
        raise Declined("its paddings are more than there is")
    return [Typed(value.dtype, tuple(shape))]


def _edge(node: Node) -> int:
    return 1 if node["mode"] == "REFLECT" else 0


def _evaluate_mirror(node: Node, array: Array, paddings: Array) -> Array:
    for axis, (before, after) in enumerate(paddings.tolist()):
        rows = np.moveaxis(array, axis, 0)
        size, edge = len(rows) - before - after, _edge(node)
        made = rows[before : before + size].copy()
        made[edge : edge + before] += rows[:before][::-1]
        made[size - edge - after : size - edge] += rows[before + size :][::-1]
        array = np.moveaxis(made, 0, axis)
    return array


def _expand_mirror(graph: Graph, node: Node) -> bool:
    """What was mirrored is turned back, put where it came from, and added."""
    pairs, value = known_paddings(node), node.inputs[0]
    dims = value.shape
    if pairs is None or dims is None or any(isinstance(dim, str) and any(pair) for dim, pair in zip(dims, pairs, strict=True)):
        raise Declined("all sizes and paddings have to be known", remedy="fix the model's input size")
    expansion, made = Expansion(graph, node), value
    for axis, (before, after) in enumerate(pairs):
        if before or after:
            made = _fold_back(expansion, made, axis, before, after)
    return expansion.finish(made if made is not value else expansion.make("Identity", value))


def _fold_back(expansion: Expansion, value: Value, axis: int, before: int, after: int) -> Value:
    rank = value.rank or 0
    size, edge = int((value.shape or ())[axis]) - before - after, _edge(expansion.node)
    sizes = np.array([before, size, after], np.int32)
    pieces = expansion.make_node("SplitV", value, sizes, np.array(axis, np.int32), num_split=3)
    made = pieces.outputs[1]
    for piece, count, front in ((pieces.outputs[0], before, edge), (pieces.outputs[2], after, size - edge - after)):
        if count:
            pads = np.zeros((rank, 2), np.int32)
            pads[axis] = front, size - front - count
            turned = expansion.make("ReverseV2", piece, np.array([axis], np.int32))
            made = expansion.make("AddV2", made, expansion.make("Pad", turned, pads))
    return made


def _mirror_examples() -> Iterator[Example]:
    pairs = np.array([[1, 2], [0, 1]], np.int32)
    for mode in ("REFLECT", "SYMMETRIC"):
        yield Example((sample(6, 4), pairs), {"mode": mode}, constants=(1,), note=mode.lower())


SPECS = (
    OpSpec(
        name="StridedSliceGrad",
        attrs=dict.fromkeys(MASKS, 0),
        infer=_infer_cut,
        evaluate=_evaluate_cut,
        expand=_expand_cut,
        examples=_cut_examples,
    ),
    OpSpec(
        name="MirrorPadGrad",
        attrs={"mode": "REFLECT"},
        infer=_infer_mirror,
        evaluate=_evaluate_mirror,
        expand=_expand_mirror,
        examples=_mirror_examples,
    ),
)
