"""ExtractImagePatches and ExtractVolumePatches: the elements under each window laid out as channels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.dims import multiply_dims
from tensorferry.ops.samples import sample
from tensorferry.ops.sliding import MOST_TAPS, Axes, Sliding, inner, known_pads, output_dims, patches, read_axes, surrounded, whole
from tensorferry.ops.spec import Example, OpSpec
from tensorferry.tensor import Array, DType

LARGEST_TABLE = 1 << 20
"""Positions that are listed in a constant, at most."""


def _axes(node: Node) -> Axes:
    rank = 4 if node.op == "ExtractImagePatches" else 5
    return read_axes(node, inner(node, "ksizes", rank), rates="rates")


def _infer(node: Node) -> list[Typed]:
    value, axes = node.inputs[0], _axes(node)
    channels: Dim = UNKNOWN_DIM if value.shape is None else value.shape[-1]
    return [Typed(value.dtype, output_dims(node, value, axes, multiply_dims([*(axis.size for axis in axes), channels])))]


def _evaluate(node: Node, array: Array) -> Array:
    axes = _axes(node)
    views = patches(axes, surrounded(axes, array))
    return np.ascontiguousarray(views).reshape(*views.shape[: len(axes) + 1], -1)


def _expand(graph: Graph, node: Node) -> bool:
    value, axes = node.inputs[0], _axes(node)
    pads = known_pads(axes, value)
    if pads is None or value.shape is None:
        return False
    parts = Sliding(graph, node, axes)
    wide = parts.surround(value, pads)
    if _are_blocks(axes, wide):
        return parts.finish(parts.make("SpaceToDepth", wide, block_size=axes[0].size))
    if math.prod(axis.size for axis in axes) <= MOST_TAPS:
        taps = parts.taps(wide)
        joined = parts.make("ConcatV2", *taps, parts.constant(np.asarray(-1, np.int32), "axis"), N=len(taps))
        return parts.finish(joined)
    return _gather(parts, wide)


def _are_blocks(axes: Axes, wide: Value) -> bool:
    """Square windows that touch each other and leave nothing over."""
    if len(axes) != 2 or wide.shape is None or wide.dtype is not DType.FLOAT32 or axes[0].size == 1:
        return False
    sides = wide.shape[1:-1]
    whole = all(isinstance(dim, int) and dim % axis.size == 0 for axis, dim in zip(axes, sides, strict=True))
    touching = all(axis.size == axis.stride and axis.dilation == 1 for axis in axes)
    return whole and touching and axes[0].size == axes[1].size


def _gather(parts: Sliding, wide: Value) -> bool:
    """Large windows: one gather from the image as a list of points."""
    output = parts.node.output.shape
    assert output is not None
    sides, positions = (whole(shape[1:-1]) for shape in (wide.shape or (), output))
    channels = wide.shape[-1] if wide.shape else UNKNOWN_DIM
    if sides is None or positions is None or isinstance(channels, str):
        return False
    numbers = np.arange(math.prod(sides), dtype=np.int32).reshape(1, *sides, 1)
    taken = np.ascontiguousarray(patches(parts.axes, numbers)).reshape(-1)
    if taken.size > LARGEST_TABLE:
        return False
    points = parts.make("Reshape", wide, np.asarray([-1, math.prod(sides), channels], np.int32))
    gathered = parts.make("GatherV2", points, taken, parts.constant(np.asarray(1, np.int32), "axis"))
    return parts.finish(parts.make("Reshape", gathered, np.asarray([-1, *output[1:]], np.int32)))


# -- examples ------------------------------------------------------------------------------------------------------


def _attrs(size: tuple[int, ...], stride: tuple[int, ...], padding: str, rates: tuple[int, ...] = ()) -> dict[str, Any]:
    attrs: dict[str, Any] = {"ksizes": [1, *size, 1], "strides": [1, *stride, 1], "padding": padding}
    return attrs | ({"rates": [1, *rates, 1]} if len(size) == 2 else {})


def _image_examples() -> Iterator[Example]:
    image = sample(2, 7, 9, 3)
    yield Example((image,), _attrs((3, 3), (1, 1), "SAME", (1, 1)), note="3x3")
    yield Example((image,), _attrs((3, 2), (2, 3), "VALID", (1, 2)), note="unequal everything")
    yield Example((image,), _attrs((2, 2), (2, 2), "SAME", (2, 2)), note="strides and rates")
    yield Example((sample(2, 8, 12, 3),), _attrs((4, 4), (4, 4), "VALID", (1, 1)), note="blocks")
    yield Example((sample(1, 14, 13, 2),), _attrs((9, 10), (3, 2), "SAME", (1, 1)), note="large windows")
    yield Example((image.astype(np.int32),), _attrs((2, 2), (1, 2), "VALID", (1, 1)), note="int32")
    yield Example((np.arange(60, dtype=np.uint8).reshape(1, 4, 5, 3),), _attrs((2, 2), (2, 2), "SAME", (1, 1)), note="bytes")


def _volume_examples() -> Iterator[Example]:
    yield Example((sample(2, 4, 5, 6, 2),), _attrs((2, 3, 2), (1, 2, 2), "SAME"), note="SAME")
    yield Example((sample(1, 4, 5, 6, 2),), _attrs((2, 2, 2), (2, 2, 2), "VALID"), note="VALID")
    yield Example((sample(1, 6, 6, 6, 1),), _attrs((5, 4, 4), (1, 2, 1), "SAME"), note="large windows")


SPECS = (
    OpSpec(
        name="ExtractImagePatches",
        attrs={"rates": (1, 1, 1, 1), "T": DType.FLOAT32},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        examples=_image_examples,
    ),
    OpSpec(
        name="ExtractVolumePatches",
        attrs={"T": DType.FLOAT32},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        examples=_volume_examples,
    ),
)
