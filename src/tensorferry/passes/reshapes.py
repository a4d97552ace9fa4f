"""Nodes that only move or relabel elements: those that change nothing go, two in a row become one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import numpy as np

from tensorferry import ops
from tensorferry.ir import UNKNOWN_DIM, Graph, Node, Shape, Value
from tensorferry.ops.spec import broadcast_shapes
from tensorferry.passes.rewriting import bypass, decline, discard, for_each_node, integers, made_by, substitute, take_over
from tensorferry.passes.shapes import infer_known
from tensorferry.tensor import DType

log = logging.getLogger(__name__)

REDUCTIONS = ("Mean", "Sum", "Max", "Min", "Prod", "All", "Any")

RELABELLING = ("Reshape", "Squeeze", "ExpandDims")
"""Ops that keep the elements in their order under another shape."""


def simplify_reshapes(graph: Graph) -> int:
    """Drop and merge reshapes, transposes, casts, pads and concatenations that do nothing of their own."""
    return for_each_node(graph, lambda inner, node: RULES[node.op](inner, node) if node.op in RULES else 0)


def same_shape(one: Shape, other: Shape) -> bool:
    """Known to be equal, given the same number of elements: one size at most may be unknown."""
    if one is None or other is None or len(one) != len(other):
        return False
    differing = [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1] or pair[0] == UNKNOWN_DIM]
    return len(differing) <= 1 and all(isinstance(a, str) or isinstance(b, str) for a, b in differing)


def _relabel(graph: Graph, node: Node) -> int:
    source = node.inputs[0]
    if same_shape(source.shape, node.output.shape):
        return bypass(graph, node, source)
    inner = made_by(source, *RELABELLING)
    if inner is None:
        return _keep_reduced_axes(graph, node)
    origin = inner.inputs[0]
    if same_shape(origin.shape, node.output.shape):
        return bypass(graph, node, origin)
    if graph.only_reader(source) is not node:
        return 0
    if node.op == "Reshape" and not _copies_sizes(node):
        node.set_input(0, origin)
        node.origin = node.origin + inner.origin
        discard(graph, inner)
        return 1
    return _reshape_at_once(graph, node, inner)


def _keep_reduced_axes(graph: Graph, node: Node) -> int:
    """A reshape that only puts back, or takes away, the axes of size 1 of the reduction before it."""
    reduction = made_by(node.inputs[0], *REDUCTIONS)
    if reduction is None or graph.only_reader(node.inputs[0]) is not node:
        return 0
    kept = {**reduction.attrs, "keep_dims": not reduction.get("keep_dims")}
    probe = Node(reduction.name, reduction.op, reduction.inputs, kept, ())
    typed = infer_known(probe)
    probe.set_inputs(())
    if not typed or not same_shape(typed[0].shape, node.output.shape):
        return 0
    reduction.attrs = kept
    reduction.output.retype(typed[0])
    take_over(graph, reduction, node)
    return 1


def _copies_sizes(node: Node) -> bool:
    """A 0 in the target would be a size of 0 in TensorFlow, and means something else in other runtimes: leave it alone."""
    target = integers(node.inputs[1])
    return target is None or 0 in target


def _reshape_at_once(graph: Graph, node: Node, inner: Node) -> int:
    """Squeeze or ExpandDims after another of their kind: one Reshape, if its target can be written down."""
    shape = node.output.shape
    if shape is None or sum(isinstance(dim, str) for dim in shape) > 1 or 0 in shape:
        return decline(log, node, "it could be merged with the reshape before it, but its shape is not known")
    sizes = np.asarray([-1 if isinstance(dim, str) else dim for dim in shape], np.int32)
    target = graph.constant(sizes, f"{node.name}/shape", before=node, origin=node.origin)
    substitute(graph, node, "Reshape", [inner.inputs[0], target], absorbed=[inner])
    return 1


def _transpose(graph: Graph, node: Node) -> int:
    permutation = permutation_of(node)
    if permutation is None:
        return 0
    source = node.inputs[0]
    if permutation == sorted(permutation):
        return bypass(graph, node, source)
    inner = made_by(source, "Transpose")
    before = permutation_of(inner) if inner is not None else None
    if inner is not None and before is not None:
        return _compose(graph, node, inner, [before[axis] for axis in permutation])
    return 0


def permutation_of(node: Node) -> list[int] | None:
    """A Transpose's axes, none negative, if they are constant."""
    if node.op != "Transpose":
        return None
    axes = integers(node.inputs[1])
    return None if axes is None else [axis % len(axes) for axis in axes]


def _compose(graph: Graph, node: Node, inner: Node, permutation: list[int]) -> int:
    if permutation == sorted(permutation):
        return bypass(graph, node, inner.inputs[0])
    axes = graph.constant(np.asarray(permutation, np.int32), f"{node.name}/permutation", before=node, origin=node.origin)
    node.origin = node.origin + inner.origin
    previous = node.inputs[1].producer
    node.set_inputs([inner.inputs[0], axes])
    discard(graph, inner, previous)
    return 1


def replace_transposes_by_reshapes(graph: Graph) -> int:
    """A transpose that moves only axes of size 1 leaves the elements where they are.

    Comes after the transposes were moved: one that can still meet its inverse should.
    """
    return for_each_node(graph, _transpose_as_reshape)


def _transpose_as_reshape(graph: Graph, node: Node) -> int:
    permutation = permutation_of(node)
    if permutation is None:
        return 0
    shape, result = node.inputs[0].shape, node.output.shape
    if shape is None or result is None or sum(isinstance(dim, str) for dim in result) > 1 or 0 in result:
        return 0
    moving = [axis for axis in permutation if shape[axis] != 1]
    if moving != sorted(moving):
        return 0
    sizes = np.asarray([-1 if isinstance(dim, str) else dim for dim in result], np.int32)
    target = graph.constant(sizes, f"{node.name}/shape", before=node, origin=node.origin)
    substitute(graph, node, "Reshape", [node.inputs[0], target])
    return 1


def _cast(graph: Graph, node: Node) -> int:
    source = node.inputs[0]
    if source.dtype is node.output.dtype is not DType.UNKNOWN:
        return bypass(graph, node, source)
    inner = made_by(source, "Cast")
    if inner is not None and inner.inputs[0].dtype is node.output.dtype and holds_all(source.dtype, node.output.dtype):
        return bypass(graph, node, inner.inputs[0])
    return 0


def holds_all(wide: DType, narrow: DType) -> bool:
    """Whether every element of `narrow` survives a cast to `wide` and back."""
    exotic = (DType.STRING, DType.RESOURCE, DType.VARIANT, DType.UNKNOWN, DType.BFLOAT16, DType.INT4)
    return wide not in exotic and narrow not in exotic and np.can_cast(narrow.numpy, wide.numpy, "safe")


def _concat(graph: Graph, node: Node) -> int:
    return bypass(graph, node, node.inputs[0]) if len(node.inputs) == 2 else 0


def _pack(graph: Graph, node: Node) -> int:
    if len(node.inputs) != 1 or ops.find("ExpandDims") is None:
        return 0
    axis = graph.constant(np.asarray(node.get("axis", 0), np.int32), f"{node.name}/axis", before=node, origin=node.origin)
    substitute(graph, node, "ExpandDims", [node.inputs[0], axis])
    return 1


def _pad(graph: Graph, node: Node) -> int:
    amounts = integers(node.inputs[1])
    return bypass(graph, node, node.inputs[0]) if amounts is not None and not any(amounts) else 0


def _tile(graph: Graph, node: Node) -> int:
    multiples = integers(node.inputs[1])
    return bypass(graph, node, node.inputs[0]) if multiples is not None and set(multiples) <= {1} else 0


def _broadcast(graph: Graph, node: Node) -> int:
    source, shape = node.inputs[0].static_shape, node.output.static_shape
    return bypass(graph, node, node.inputs[0]) if source is not None and source == shape else 0


def _strided_slice(graph: Graph, node: Node) -> int:
    """A slice that takes everything: all sizes are kept and every step is 1."""
    source, steps = node.inputs[0], integers(node.inputs[3])
    masks = ("shrink_axis_mask", "new_axis_mask")
    whole = source.static_shape is not None and source.static_shape == node.output.static_shape
    plain = steps is not None and set(steps) <= {1} and not any(node.get(mask) for mask in masks)
    return bypass(graph, node, source) if whole and plain else 0


def _slice(graph: Graph, node: Node) -> int:
    source = node.inputs[0]
    whole = source.static_shape is not None and source.static_shape == node.output.static_shape
    return bypass(graph, node, source) if whole else 0


def _split(graph: Graph, node: Node) -> int:
    source: Value = node.inputs[1] if node.op == "Split" else node.inputs[0]
    return bypass(graph, node, source) if len(node.outputs) == 1 else 0


RULES: Mapping[str, Callable[[Graph, Node], int]] = {
    "Reshape": _relabel,
    "Squeeze": _relabel,
    "ExpandDims": _relabel,
    "Transpose": _transpose,
    "Cast": _cast,
    "ConcatV2": _concat,
    "Pack": _pack,
    "Pad": _pad,
    "PadV2": _pad,
    "MirrorPad": _pad,
    "Tile": _tile,
    "BroadcastTo": _broadcast,
    "StridedSlice": _strided_slice,
    "Slice": _slice,
    "Split": _split,
    "SplitV": _split,
}


BROADCASTING = frozenset({"AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "SquaredDifference", "Pow"})


def drop_broadcast_reshapes(graph: Graph) -> int:
    """An operand that is only reshaped to have more, or fewer, axes of size 1 in front broadcasts the same without.

    Comes after the transposes were moved: they ask for operands of full rank.
    """
    return for_each_node(graph, _read_past_reshape)


def _read_past_reshape(graph: Graph, node: Node) -> int:
    if node.op not in BROADCASTING:
        return 0
    changes = 0
    for index, value in enumerate(node.inputs):
        reshape = made_by(value, *RELABELLING)
        if reshape is None or not _differ_in_front(reshape.inputs[0].shape, value.shape):
            continue
        source, other = reshape.inputs[0], node.inputs[1 - index]
        if broadcast_shapes(source.shape, other.shape) == node.output.shape:
            node.set_input(index, source)
            discard(graph, reshape)
            changes += 1
    return changes


def _differ_in_front(one: Shape, other: Shape) -> bool:
    """Whether the shapes are known and equal but for axes of size 1 in front."""
    if one is None or other is None or len(one) == len(other):
        return False
    short, long = sorted((one, other), key=len)
    return set(long[: len(long) - len(short)]) == {1} and same_shape(long[len(long) - len(short) :], short)
