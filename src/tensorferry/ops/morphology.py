"""Dilation2D: the largest sum of image and filter under each window. An erosion is written with it and two negations.

TensorFlow.js has the op by name; in WebAssembly it starts from the smallest number above 0, so nothing negative comes out of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tensorferry.ir import Graph, Node, Typed
from tensorferry.ops.samples import sample
from tensorferry.ops.sliding import MOST_TAPS, Axes, Sliding, known_pads, output_dims, patches, read_axes, surrounded
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType

LOWEST = {DType.FLOAT32: -3e38, DType.INT32: -(2**30), DType.INT64: -(2**62)}
"""Fills the padding, which never wins: low enough, and far enough from the end that adding a filter does not run over it."""


def _axes(node: Node) -> Axes:
    shape = node.inputs[1].static_shape
    if shape is None or len(shape) != 3:
        raise Declined("its filter must be a known height by width by channels")
    return read_axes(node, shape[:2], rates="rates")


def _infer(node: Node) -> list[Typed]:
    value, weights = node.inputs
    if weights.static_shape is None:
        return [Typed(value.dtype, None if value.shape is None else ("?",) * 4)]
    return [Typed(value.dtype, output_dims(node, value, _axes(node), weights.static_shape[2]))]


def _evaluate(node: Node, array: Array, weights: Array) -> Array:
    axes = read_axes(node, weights.shape[:2], rates="rates")
    real = array.dtype.kind == "f"
    wide = surrounded(axes, array.astype(np.float64 if real else np.int64), -np.inf if real else -(2**62))
    return np.asarray((patches(axes, wide) + weights).max(axis=(3, 4)), array.dtype)


def _expand(graph: Graph, node: Node) -> bool:
    value, weights = node.inputs
    axes = _axes(node)
    pads = known_pads(axes, value)
    if pads is None or math.prod(axis.size for axis in axes) > MOST_TAPS:
        return False
    parts = Sliding(graph, node, axes)
    computing = value.dtype if value.dtype in LOWEST else DType.INT32
    if computing is not value.dtype:
        value, weights = (parts.make("Cast", each, DstT=computing) for each in (value, weights))
    height, width = (axis.size for axis in axes)
    lines = parts.make("Reshape", weights, np.asarray([height * width, -1], np.int32))
    each = parts.make_node("Unpack", lines, axis=0, num=height * width)
    taps = parts.taps(parts.surround(value, pads, LOWEST[computing]))
    sums = [parts.make("AddV2", tap, added) for tap, added in zip(taps, each.outputs, strict=True)]
    result = parts.combine("Maximum", sums)
    return parts.finish(result if computing is node.output.dtype else parts.make("Cast", result, DstT=node.output.dtype))


def _attrs(stride: tuple[int, int], rate: tuple[int, int], padding: str) -> dict[str, Any]:
    return {"strides": [1, *stride, 1], "rates": [1, *rate, 1], "padding": padding}


def _examples() -> Iterator[Example]:
    image, weights = sample(2, 7, 9, 3), sample(3, 3, 3)
    yield Example((image, weights), _attrs((1, 1), (1, 1), "SAME"), (1,), note="SAME")
    yield Example((image, weights), _attrs((2, 1), (1, 2), "VALID"), (1,), note="VALID, strided and dilated")
    yield Example((image, sample(2, 3, 3)), _attrs((2, 2), (2, 2), "SAME"), (1,), note="SAME, strided and dilated")
    yield Example((image, weights), _attrs((1, 1), (1, 1), "SAME"), note="computed filter")
    numbers = (np.rint(image * 9).astype(np.int32), np.rint(weights * 3).astype(np.int32))
    yield Example(numbers, _attrs((1, 1), (1, 1), "SAME"), (1,), note="int32")
    yield Example(tuple(each.astype(np.int16) for each in numbers), _attrs((2, 2), (1, 1), "SAME"), (1,), note="int16")


SPECS = (
    OpSpec(
        name="Dilation2D",
        attrs={"T": DType.FLOAT32},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        examples=_examples,
    ),
)
