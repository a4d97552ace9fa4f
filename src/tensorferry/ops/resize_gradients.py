"""Gradients of resizing: each element goes back to those it was made of, by the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.resize_rules import Spans, cubic_spans, linear_spans, nearest_spans
from tensorferry.ops.samples import sample
from tensorferry.ops.sliding import whole
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType

_RULES = {"ResizeBilinearGrad": linear_spans, "ResizeBicubicGrad": cubic_spans, "ResizeNearestNeighborGrad": nearest_spans}


def _infer(node: Node) -> list[Typed]:
    gradient, other = node.inputs
    if gradient.rank not in (None, 4):
        raise Declined(f"its gradient has rank {gradient.rank}, not 4")
    batch, _, _, channels = gradient.shape or (UNKNOWN_DIM,) * 4
    sides: tuple[Dim, ...]
    if node.op == "ResizeNearestNeighborGrad":
        sides = other.content or (UNKNOWN_DIM, UNKNOWN_DIM)
    else:
        sides = other.shape[1:3] if other.shape is not None else (UNKNOWN_DIM, UNKNOWN_DIM)
    if len(sides) != 2:
        raise Declined("the size of the image must be two numbers")
    dtype = gradient.dtype if node.op == "ResizeNearestNeighborGrad" else other.dtype
    return [Typed(dtype, (batch, *sides, channels))]


def _matrix(node: Node, before: int, after: int) -> Array:
    """[before, after]: how much of an element of the result came from each of the image's."""
    align, half = bool(node["align_corners"]), bool(node["half_pixel_centers"])
    if align and half:
        raise Declined("align_corners and half_pixel_centers exclude each other")
    indices, weights = _spans(node, before, after, align, half)
    matrix = np.zeros((before, after), np.float32)
    np.add.at(matrix, (indices, np.arange(after)[:, None]), weights)
    return matrix


def _spans(node: Node, before: int, after: int, align: bool, half: bool) -> Spans:
    if before < 1 or after < 1:
        raise Declined("its images must have elements")
    return _RULES[node.op](before, after, align, half)


def _evaluate(node: Node, gradient: Array, other: Array) -> Array:
    sides = [int(each) for each in (other if node.op == "ResizeNearestNeighborGrad" else other.shape[1:3])]
    rows, columns = (_matrix(node, before, after) for before, after in zip(sides, gradient.shape[1:3], strict=True))
    tall = np.einsum("ij,bjwc->biwc", rows, gradient.astype(np.float32), optimize=True)
    made = np.einsum("ij,bhjc->bhic", columns, tall, optimize=True)
    return np.asarray(made, gradient.dtype if node.op == "ResizeNearestNeighborGrad" else other.dtype)


def _expand(graph: Graph, node: Node) -> bool:
    gradient, output = node.inputs[0], node.output
    before = None if output.shape is None else whole(output.shape[1:3])
    after = None if gradient.shape is None else whole(gradient.shape[1:])
    if before is None or after is None:
        raise Declined("the sizes of image and gradient are not known", remedy="fix them with --shape")
    if gradient.dtype is not DType.FLOAT32 or output.dtype is not DType.FLOAT32:
        raise Declined(f"it computes in {gradient.dtype}, the target in float32")
    parts, (height, width, channels) = Expansion(graph, node), after
    rows, columns = _matrix(node, before[0], height), _matrix(node, before[1], width)
    lines = parts.make("Reshape", gradient, np.asarray([-1, height, width * channels], np.int32))
    tall = parts.make("BatchMatMulV2", rows, lines)
    points = parts.make("Reshape", tall, np.asarray([-1, width, channels], np.int32))
    made = parts.make("BatchMatMulV2", columns, points)
    return parts.finish(parts.make("Reshape", made, np.asarray([-1, *before, channels], np.int32)))


_WAYS: tuple[dict[str, bool], ...] = ({}, {"align_corners": True}, {"half_pixel_centers": True})
_SIZES = (((4, 5), (7, 10)), ((9, 6), (4, 5)))


def _examples(nearest: bool) -> Iterator[Example]:
    for way in _WAYS:
        for before, after in _SIZES:
            note = f"{before[0]}x{before[1]} to {after[0]}x{after[1]}, {' '.join(way) or 'legacy'}"
            gradient = sample(2, *after, 3)
            other: Array = np.asarray(before, np.int32) if nearest else sample(2, *before, 3, seed=1)
            yield Example((gradient, other), way, (1,) if nearest else (), 3e-6, note=note)


def _spec(name: str) -> OpSpec:
    attrs: dict[str, Any] = {"align_corners": False, "half_pixel_centers": False, "T": DType.FLOAT32}
    nearest = name == "ResizeNearestNeighborGrad"
    return OpSpec(name=name, attrs=attrs, infer=_infer, evaluate=_evaluate, expand=_expand, examples=lambda: _examples(nearest))


SPECS = tuple(map(_spec, _RULES))
