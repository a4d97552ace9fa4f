"""MaxPoolWithArgmax: the largest element under each window, and where in the image it lies.

TensorFlow.js has an operator of that name, which names the last of equal elements, and in WebAssembly knows nothing below 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Graph, Node, Typed, Value
from tensorferry.ops.samples import sample
from tensorferry.ops.sliding import (
    MOST_TAPS,
    Axes,
    Sliding,
    inner,
    known_pads,
    lowest,
    output_dims,
    patches,
    read_axes,
    surrounded,
    whole,
)
from tensorferry.ops.spec import Example, OpSpec
from tensorferry.tensor import Array, DType


def _axes(node: Node) -> Axes:
    return read_axes(node, inner(node, "ksize", 4))


def _infer(node: Node) -> list[Typed]:
    value = node.inputs[0]
    shape = output_dims(node, value, _axes(node), UNKNOWN_DIM if value.shape is None else value.shape[-1])
    return [Typed(value.dtype, shape), Typed(node["Targmax"], shape)]


def _places(axes: Axes, sides: Sequence[int], channels: int) -> tuple[Array, Array]:
    """Index of each window's first element [rows, columns, channels], negative in the padding, and of each tap from there."""
    rows, columns = (np.arange(axis.count(side)) * axis.stride - axis.pads(side)[0] for axis, side in zip(axes, sides, strict=True))
    starts = ((rows[:, None, None] * sides[1] + columns[:, None]) * channels + np.arange(channels)).astype(np.int64)
    down, across = np.indices([axis.size for axis in axes]).reshape(2, -1)
    return starts, (down * sides[1] + across) * channels


def _evaluate(node: Node, array: Array) -> tuple[Array, Array]:
    axes = _axes(node)
    views = patches(axes, surrounded(axes, array, lowest(DType.of(array))))
    taps = np.moveaxis(views, -1, 3).reshape(*views.shape[:3], array.shape[-1], -1)
    best = taps.argmax(axis=-1)
    starts, offsets = _places(axes, array.shape[1:3], array.shape[3])
    index = starts + offsets[best]
    if node["include_batch_in_index"]:
        index = index + (np.arange(len(array)) * math.prod(array.shape[1:])).reshape(-1, 1, 1, 1)
    return taps.max(axis=-1), index


def _expand(graph: Graph, node: Node) -> bool:
    value, axes = node.inputs[0], _axes(node)
    pads = known_pads(axes, value)
    sides = None if value.shape is None else whole(value.shape[1:])
    if pads is None or sides is None:
        return False
    if math.prod(axis.size for axis in axes) > MOST_TAPS:
        return False
    parts = Sliding(graph, node, axes)
    taps = parts.taps(parts.surround(value, pads, lowest(value.dtype)))
    largest = parts.make("MaxPool", value, **{key: node[key] for key in ("ksize", "strides", "padding")})
    best = parts.make("ArgMax", parts.make("Pack", *taps, axis=-1, N=len(taps)), np.int32(-1), output_type=DType.INT32)
    starts, offsets = _places(axes, sides[:2], sides[2])
    moved = parts.make("GatherV2", parts.constant(offsets.astype(np.int32), "offsets"), best, np.asarray(0, np.int32))
    index = parts.make("AddV2", moved, starts.astype(np.int32))
    if node["include_batch_in_index"]:
        index = parts.make("AddV2", index, _batches(parts, value))
    if node["Targmax"] is not DType.INT32:
        index = parts.make("Cast", index, DstT=node["Targmax"])
    return parts.finish(largest, index)


def _batches(parts: Sliding, value: Value) -> Value:
    """Index of the first element of each image: [batch, 1, 1, 1]."""
    assert value.shape is not None
    each = math.prod(whole(value.shape[1:]) or ())
    if isinstance(value.shape[0], int):
        return parts.constant((np.arange(value.shape[0]) * each).astype(np.int32).reshape(-1, 1, 1, 1), "batches")
    count = parts.make("StridedSlice", parts.make("Shape", value), *(np.asarray([each], np.int32) for each in (0, 1, 1)))
    count = parts.make("Reshape", count, np.asarray([], np.int32))
    numbers = parts.make("Range", np.int32(0), count, np.int32(1))
    return parts.make("Mul", parts.make("Reshape", numbers, np.asarray([-1, 1, 1, 1], np.int32)), np.int32(each))


def _attrs(size: tuple[int, int], stride: tuple[int, int], padding: str, **more: Any) -> dict[str, Any]:
    return {"ksize": [1, *size, 1], "strides": [1, *stride, 1], "padding": padding, **more}


def _examples() -> Iterator[Example]:
    image = sample(2, 7, 9, 3)
    yield Example((image,), _attrs((2, 2), (2, 2), "VALID"), note="halves")
    yield Example((image,), _attrs((3, 3), (2, 2), "SAME"), note="SAME")
    yield Example((image,), _attrs((3, 2), (1, 3), "SAME", include_batch_in_index=True), note="batch in the index")
    yield Example((image,), _attrs((2, 2), (2, 2), "SAME", Targmax=DType.INT32), note="int32 index")
    ties = np.asarray([1, 1, 2, 2, 2, 1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2], np.float32).reshape(1, 4, 4, 1)
    yield Example((ties,), _attrs((2, 2), (2, 2), "VALID"), note="the first of equals")
    yield Example(((image * 9).astype(np.int32),), _attrs((2, 2), (2, 1), "SAME"), note="int32")


SPECS = (
    OpSpec(
        name="MaxPoolWithArgmax",
        attrs={"Targmax": DType.INT64, "include_batch_in_index": False, "T": DType.FLOAT32},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        examples=_examples,
    ),
)
