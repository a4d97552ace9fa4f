"""Pooling over height and width: MaxPool, MaxPoolV2, AvgPool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed
from tensorferry.ops.dims import divide_dims
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.sliding import MOST_TAPS, Sliding, known_pads, lowest
from tensorferry.ops.spec import LITE_ACTIVATIONS, Declined, Example, OpSpec, lite_activation
from tensorferry.ops.windows import (
    Axis,
    Window,
    from_channels_last,
    js_explicit_pad,
    lite_pad,
    padded,
    positions,
    read_pair,
    read_window,
    require_channels_last,
    require_float32,
    row_blocks,
    to_channels_last,
)
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import Array, DType


def _window(node: Node, rank: int | None = 4) -> Window:
    return read_window(node, read_pair(node, "ksize"), rank)


def _depth(node: Node) -> int:
    """How many channels a pool over channels alone takes together; 1 for all other pools."""
    sizes, strides = list(node["ksize"]), list(node["strides"])
    over_channels = node.op == "MaxPool" and node["data_format"] == "NHWC" and sizes[:3] == strides[:3] == [1, 1, 1]
    return int(sizes[3]) if over_channels and len(sizes) == 4 and sizes == strides and sizes[3] > 1 else 1


def _infer_pool(node: Node) -> list[Typed]:
    value = node.inputs[0]
    if _depth(node) > 1 and value.rank in (None, 4):
        dims = value.shape or (UNKNOWN_DIM,) * 4
        return [Typed(value.dtype, (*dims[:3], divide_dims(dims[3], (_depth(node),))))]
    window = _window(node, value.rank)
    return [Typed(value.dtype, window.output_shape(value, window.channels(value)))]


# -- evaluation ----------------------------------------------------------------------------------------------------


def _lowest(dtype: np.dtype[Any]) -> Any:
    return np.finfo(dtype).min if dtype.kind == "f" else np.iinfo(dtype).min


def _evaluate_max(node: Node, array: Array) -> Array:
    if _depth(node) > 1:
        return np.asarray(array.reshape(*array.shape[:3], -1, _depth(node)).max(axis=-1))
    window = _window(node, array.ndim)
    wide = padded(window, to_channels_last(window, array), _lowest(array.dtype))
    return from_channels_last(window, _combine(window, wide, np.maximum))


def _evaluate_average(node: Node, array: Array) -> Array:
    window = _window(node, array.ndim)
    last = to_channels_last(window, array)
    summed = _combine(window, padded(window, last.astype(np.float32) if array.dtype == np.float16 else last), np.add)
    down, across = (_real_elements(axis, last.shape[at]) for axis, at in zip(window.axes, (1, 2), strict=True))
    summed /= (down[:, None] * across)[:, :, None].astype(summed.dtype)
    return from_channels_last(window, summed.astype(array.dtype, copy=False))


def _real_elements(axis: Axis, length: int) -> Array:
    """How many elements, padding left out, each window covers."""
    starts = np.arange(axis.count(length)) * axis.stride - axis.pads(length)[0]
    return np.minimum(starts + axis.size, length) - np.maximum(starts, 0)


def _combine(window: Window, wide: Array, combine: np.ufunc) -> Array:
    """All elements under the window, taken together by `combine`, one block of rows at a time."""
    views = positions(window, wide)
    batch, rows, columns, height, width, channels = views.shape
    result = np.empty((batch, rows, columns, channels), wide.dtype)
    blocks = row_blocks(rows, columns * channels * wide.itemsize)
    offsets = list(np.ndindex(height, width))
    for image in range(batch):
        for block in blocks:
            total = result[image, block]
            np.copyto(total, views[image, block, :, 0, 0])
            for down, across in offsets[1:]:
                combine(total, views[image, block, :, down, across], out=total)
    return result


# -- lowering ------------------------------------------------------------------------------------------------------


def _lite_max(node: Node) -> Sequence[LiteOp]:
    return _lite_pool(node, "MAX_POOL_2D", float(np.finfo(np.float32).min))


def _lite_average(node: Node) -> Sequence[LiteOp]:
    return _lite_pool(node, "AVERAGE_POOL_2D", None)


def _expand_max(graph: Graph, node: Node) -> bool:
    """Integers, and pools over channels."""
    value = node.inputs[0]
    if _depth(node) > 1:
        return _expand_depth(Expansion(graph, node))
    window = _window(node)
    if value.dtype in _EXACT_IN_FLOAT32:
        parts = Expansion(graph, node)
        attrs = {key: node[key] for key in ("ksize", "strides", "padding", "explicit_paddings", "data_format")}
        pooled = parts.make("MaxPool", parts.make("Cast", value, DstT=DType.FLOAT32), **attrs)
        return parts.finish(parts.make("Cast", pooled, DstT=value.dtype))
    pads = known_pads(window.axes, value)
    if pads is None or window.channels_first or value.dtype.is_float or window.height.size * window.width.size > MOST_TAPS:
        return False
    sliding = Sliding(graph, node, window.axes)
    taps = sliding.taps(sliding.surround(value, pads, lowest(value.dtype)))
    return sliding.finish(sliding.combine("Maximum", taps))


_EXACT_IN_FLOAT32 = (DType.INT8, DType.UINT8, DType.INT16, DType.UINT16)


def _expand_depth(parts: Expansion) -> bool:
    value, output = parts.node.inputs[0], parts.node.output
    if value.shape is None or output.shape is None or any(isinstance(dim, str) for dim in value.shape[1:]):
        return False
    split = parts.make("Reshape", value, np.asarray([-1, *value.shape[1:3], output.shape[3], _depth(parts.node)], np.int32))
    return parts.finish(parts.make("Max", split, np.int32(-1)))


def _lite_pool(node: Node, operator: str, fill: float | None) -> Sequence[LiteOp]:
    require_channels_last(node)
    require_float32(node)
    window = _window(node)
    padding, source, before = lite_pad(window, node.inputs[0], fill)
    options = {
        "padding": padding,
        "stride_h": window.height.stride,
        "stride_w": window.width.stride,
        "filter_height": window.height.size,
        "filter_width": window.width.size,
        "fused_activation_function": lite_activation(node),
    }
    return [*before, LiteOp(operator, (source,), tuple(node.outputs), options)]


def _js_pool(node: Node) -> Sequence[JsNode]:
    require_channels_last(node)
    require_float32(node)
    window = _window(node)
    padding, source, before = js_explicit_pad(window, node.inputs[0], float(np.finfo(np.float32).min))
    attrs = {
        "T": node.output.dtype,
        "ksize": [1, window.height.size, window.width.size, 1],
        "strides": [1, window.height.stride, window.width.stride, 1],
        "padding": padding,
        "data_format": "NHWC",
    }
    return [*before, JsNode(node.op, (source,), (node.output,), attrs)]


# -- MaxPoolV2: window and strides are inputs ------------------------------------------------------------------------


def _as_max_pool(node: Node, sizes: Sequence[int], strides: Sequence[int]) -> Node:
    attrs = {key: node[key] for key in ("padding", "data_format")} | {"ksize": list(sizes), "strides": list(strides)}
    return Node(node.name, "MaxPool", (), attrs, ())


def _numbers(content: tuple[Dim, ...] | None) -> list[int] | None:
    if content is None or any(isinstance(each, str) for each in content):
        return None
    return [int(each) for each in content]


def _infer_max_v2(node: Node) -> list[Typed]:
    value = node.inputs[0]
    sizes, strides = (_numbers(each.content) for each in node.inputs[1:])
    if sizes is None or strides is None:
        channels_first = node["data_format"] == "NCHW"
        dims = value.shape if value.rank == 4 and value.shape else (UNKNOWN_DIM,) * 4
        spatial = (2, 3) if channels_first else (1, 2)
        return [Typed(value.dtype, tuple(UNKNOWN_DIM if at in spatial else dim for at, dim in enumerate(dims)))]
    window = _window(_as_max_pool(node, sizes, strides), value.rank)
    return [Typed(value.dtype, window.output_shape(value, window.channels(value)))]


def _evaluate_max_v2(node: Node, array: Array, sizes: Array, strides: Array) -> Array:
    return _evaluate_max(_as_max_pool(node, sizes.tolist(), strides.tolist()), array)


def _refuse_max_v2(node: Node) -> Sequence[Any]:
    raise Declined(
        "its window is computed while the model runs", remedy="make ksize and strides constants", attributes=f"op={node.op}"
    )


def _expand_max_v2(graph: Graph, node: Node) -> bool:
    sizes, strides = (_numbers(each.content) for each in node.inputs[1:])
    if sizes is None or strides is None:
        return False
    parts = Expansion(graph, node)
    return parts.finish(parts.make("MaxPool", node.inputs[0], **_as_max_pool(node, sizes, strides).attrs))


# -- examples ------------------------------------------------------------------------------------------------------


def _attrs(size: tuple[int, int], stride: tuple[int, int], padding: str, **more: Any) -> dict[str, Any]:
    first = more.get("data_format") == "NCHW"
    ksize, strides = ([1, 1, *pair] if first else [1, *pair, 1] for pair in (size, stride))
    return {"ksize": ksize, "strides": strides, "padding": padding, **more}


def _pool_examples() -> Iterator[Example]:
    image = sample(2, 7, 9, 3)
    first = {"tflite": "channels must come last", "tfjs": "channels must come last"}
    yield Example((image,), _attrs((2, 2), (2, 2), "VALID"), note="halves, odd sizes")
    yield Example((image,), _attrs((2, 2), (2, 2), "SAME"), note="halves, SAME")
    yield Example((image,), _attrs((3, 3), (1, 1), "SAME"), note="stride 1")
    yield Example((image,), _attrs((3, 2), (2, 3), "SAME"), note="unequal window and strides")
    yield Example((image,), _attrs((7, 9), (1, 1), "VALID"), note="all of it")
    yield Example((image,), _attrs((9, 11), (4, 4), "SAME"), note="a window larger than the image")
    yield Example((image,), _attrs((1, 1), (2, 2), "SAME"), note="only strides")
    yield Example((image,), _attrs((2, 2), (2, 2), "SAME", activation="Relu6"), note="Relu6")
    yield Example((sample(2, 3, 7, 9),), _attrs((3, 3), (2, 2), "SAME", data_format="NCHW"), note="channels first", declines=first)


def _max_examples() -> Iterator[Example]:
    yield from _pool_examples()
    paddings = [0, 0, 1, 0, 2, 1, 0, 0]
    yield Example(
        (sample(1, 7, 9, 3) - np.float32(9),),
        _attrs((3, 3), (2, 2), "EXPLICIT", explicit_paddings=paddings),
        note="explicit padding",
    )

    image = sample(1, 5, 6, 2)
    yield Example((sample(2, 3, 4, 6),), {"ksize": [1, 1, 1, 3], "strides": [1, 1, 1, 3], "padding": "VALID"}, note="channels")
    for dtype in (np.int32, np.int64, np.int8, np.int16):
        numbers = np.rint(image * 20).astype(dtype)
        yield Example((numbers,), _attrs((2, 3), (2, 1), "SAME"), note=np.dtype(dtype).name)
    bytes_in = np.abs(image * 20).astype(np.uint8)
    yield Example((bytes_in,), _attrs((2, 2), (2, 2), "EXPLICIT", explicit_paddings=[0, 0, 1, 0, 1, 1, 0, 0]), note="bytes")


def _max_v2_examples() -> Iterator[Example]:
    ksize, strides = np.asarray([1, 3, 2, 1], np.int32), np.asarray([1, 2, 1, 1], np.int32)
    yield Example((sample(2, 7, 9, 3), ksize, strides), {"padding": "SAME"}, (1, 2))


_FUSES = {"tflite": frozenset(LITE_ACTIVATIONS)}

SPECS = (
    OpSpec(
        name="MaxPool",
        attrs={"explicit_paddings": (), "data_format": "NHWC", "T": DType.FLOAT32},
        infer=_infer_pool,
        evaluate=_evaluate_max,
        to_tflite=_lite_max,
        to_tfjs=_js_pool,
        expand=_expand_max,
        fuses=_FUSES,
        examples=_max_examples,
    ),
    OpSpec(
        name="AvgPool",
        attrs={"data_format": "NHWC", "T": DType.FLOAT32},
        infer=_infer_pool,
        evaluate=_evaluate_average,
        to_tflite=_lite_average,
        to_tfjs=_js_pool,
        fuses=_FUSES,
        examples=_pool_examples,
    ),
    OpSpec(
        name="MaxPoolV2",
        attrs={"data_format": "NHWC", "T": DType.FLOAT32},
        infer=_infer_max_v2,
        evaluate=_evaluate_max_v2,
        to_tflite=_refuse_max_v2,
        to_tfjs=_refuse_max_v2,
        expand=_expand_max_v2,
        examples=_max_v2_examples,
    ),
)
