"""Convolutions that resize and pad by themselves, as TensorFlow's graph transforms wrote them for phones.

TensorFlow's own kernel (2.21) computes the first image of a batch alone right, so the examples have one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tensorferry import ops
from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Shape, Typed, Value
from tensorferry.ops.conv import filter_dims
from tensorferry.ops.dims import known_integers
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.ops.windows import read_window
from tensorferry.tensor import Array, DType

_PADS = {"REFLECT": "reflect", "SYMMETRIC": "symmetric"}


def _mode(node: Node) -> str:
    mode = str(node["mode"])
    if mode not in _PADS:
        raise Declined(f"the mode {mode} is not known", attributes=f"mode={mode}")
    return mode


def _resizes(node: Node) -> bool:
    return node.op == "FusedResizeAndPadConv2D"


def _infer(node: Node) -> list[Typed]:
    value, weights = node.inputs[0], node.inputs[-1]
    _mode(node)
    if value.rank not in (None, 4):
        raise Declined(f"its input has rank {value.rank}, not 4")
    high, wide, _, channels = filter_dims(weights)
    batch: Dim = value.shape[0] if value.shape is not None else UNKNOWN_DIM
    sides = [UNKNOWN_DIM, UNKNOWN_DIM] if value.shape is None else list(value.shape[1:3])
    if _resizes(node):
        content = node.inputs[1].content
        sides = [UNKNOWN_DIM, UNKNOWN_DIM] if content is None else list(content)
    pairs = known_integers(node.inputs[-2])
    rows: Shape = (batch, UNKNOWN_DIM, UNKNOWN_DIM, channels)
    if pairs is None or len(sides) != 2 or not isinstance(high, int) or not isinstance(wide, int):
        return [Typed(value.dtype, rows)]
    if len(pairs) != 8:
        raise Declined("its paddings must be four pairs")
    axes = read_window(node, (high, wide)).axes
    sums = np.reshape(pairs, (4, 2)).sum(axis=1).tolist()[1:3]
    made = [
        axis.count_dim(side + more if isinstance(side, int) else side if not more else UNKNOWN_DIM)
        for axis, side, more in zip(axes, sides, sums, strict=True)
    ]
    return [Typed(value.dtype, (batch, *made, channels))]


def _attrs(node: Node) -> dict[str, Any]:
    return {"strides": list(node["strides"]), "padding": node["padding"], "data_format": "NHWC", "dilations": [1, 1, 1, 1]}


def _evaluate(node: Node, image: Array, *more: Array) -> Array:
    *size, pads, weights = more
    if size:
        attrs = {"align_corners": node["resize_align_corners"], "half_pixel_centers": False}
        image = _run("ResizeBilinear", attrs, image, size[0])
    return _run("Conv2D", _attrs(node), np.pad(image, pads, mode=_PADS[_mode(node)]), weights)  # type: ignore[call-overload]


def _run(op: str, attrs: dict[str, Any], *arrays: Array) -> Array:
    graph = Graph(op)
    node = ops.add(graph, op, [graph.constant(array, f"input{at}") for at, array in enumerate(arrays)], attrs)
    return ops.evaluate(node, arrays)[0]


def _expand(graph: Graph, node: Node) -> bool:
    parts, value = Expansion(graph, node), node.inputs[0]
    *size, pads, weights = node.inputs[1:]
    if size:
        value = parts.make("ResizeBilinear", value, size[0], align_corners=node["resize_align_corners"])
    padded: Value = parts.make("MirrorPad", value, pads, mode=_mode(node))
    return parts.finish(parts.make("Conv2D", padded, weights, **_attrs(node)))


def _pads(*numbers: int) -> Array:
    return np.array([0, 0, *numbers, 0, 0], np.int32).reshape(4, 2)


def _examples() -> Iterator[Example]:
    image, weights = sample(1, 5, 6, 3), sample(3, 3, 3, 4)
    yield Example((image, _pads(1, 1, 2, 0), weights), {"mode": "REFLECT", "strides": [1, 1, 1, 1], "padding": "VALID"}, (1, 2))
    attrs = {"mode": "SYMMETRIC", "strides": [1, 2, 2, 1], "padding": "SAME"}
    yield Example((image, _pads(0, 1, 2, 2), weights), attrs, (1, 2), note="strided")


def _resizing_examples() -> Iterator[Example]:
    image, size, weights = sample(1, 5, 6, 3), np.array([9, 7], np.int32), sample(3, 3, 3, 4)
    for align in (True, False):
        attrs = {"mode": "REFLECT", "strides": [1, 2, 2, 1], "padding": "VALID", "resize_align_corners": align}
        note = "corners aligned" if align else ""
        yield Example((image, size, _pads(1, 1, 2, 0), weights), attrs, (1, 2, 3), note=note)


SPECS = (
    OpSpec(
        name="FusedPadConv2D",
        attrs={"T": DType.FLOAT32},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        examples=_examples,
    ),
    OpSpec(
        name="FusedResizeAndPadConv2D",
        attrs={"resize_align_corners": False, "T": DType.FLOAT32},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        examples=_resizing_examples,
    ),
)
