"""Conv2DBackpropInput: the transposed convolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Node, Shape, Typed
from tensorferry.ops.conv import (
    CHANNELS_FIRST,
    WINDOW_ATTRS,
    batch_of,
    filter_dims,
    js_window_attrs,
    known_filter,
    lite_weights,
    unknown_output,
    window_example,
)
from tensorferry.ops.conv_maths import evaluate_transposed
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.ops.windows import Window, pad_table, read_window, require_channels_last, require_float32
from tensorferry.targets import JsNode, LiteOp, Ref, Temp
from tensorferry.tensor import Array, ArrayTensor, DType


def _infer_transposed(node: Node) -> list[Typed]:
    sizes, filter_value, value = node.inputs
    _, _, channels, _ = filter_dims(filter_value)
    shape: Shape = unknown_output(node, batch_of(value), channels)
    assert shape is not None
    content = sizes.content
    if content is not None and len(content) == 2:
        spatial = (2, 3) if node.get("data_format") == "NCHW" else (1, 2)
        shape = tuple(content[spatial.index(at)] if at in spatial else dim for at, dim in enumerate(shape))
    elif content is not None:
        if len(content) != 4:
            raise Declined(f"its input_sizes has {len(content)} elements, not 4")
        shape = tuple(asked if asked != UNKNOWN_DIM else known for asked, known in zip(content, shape, strict=True))
    return [Typed(value.dtype, shape)]


def _refuse_dilation(node: Node, window: Window) -> None:
    if window.height.dilation > 1 or window.width.dilation > 1:
        raise Declined("the target's transposed convolution knows no dilation", attributes=f"dilations={list(node['dilations'])}")


def _lite_transposed(node: Node) -> Sequence[LiteOp]:
    require_channels_last(node)
    require_float32(node)
    sizes, filter_value, value = node.inputs
    window = read_window(node, known_filter(node)[:2])
    _refuse_dilation(node, window)
    output = node.output
    padding = window.named_padding(output)
    weights, turning = lite_weights(filter_value, (2, 0, 1, 3))
    if padding is None:
        return [*turning, *_lite_transposed_and_cropped(node, window, weights)]
    if output.static_shape is not None:
        wanted: Ref = ArrayTensor(np.asarray(output.static_shape, np.int32))
    elif sizes.shape == (4,) and sizes.dtype is DType.INT32:
        wanted = sizes
    else:
        raise Declined("the size of its result is not known", remedy="fix the model's input sizes")
    options = {"padding": padding, "stride_h": window.height.stride, "stride_w": window.width.stride}
    return [*turning, LiteOp("TRANSPOSE_CONV", (wanted, weights, value), (output,), options)]


def _lite_transposed_and_cropped(node: Node, window: Window, weights: Ref) -> list[LiteOp]:
    """Explicit padding: the whole result, then the part inside the padding."""
    output = node.output
    shape = output.static_shape
    if shape is None:
        raise Declined("explicit padding needs a known result size", attributes=f"explicit_paddings={node['explicit_paddings']}")
    table = pad_table(window)
    whole = tuple(int(length + pads.sum()) for length, pads in zip(shape, table, strict=True))
    wide = Temp("whole", output.dtype, whole)
    options = {"padding": "VALID", "stride_h": window.height.stride, "stride_w": window.width.stride}
    inputs = (ArrayTensor(np.asarray(whole, np.int32)), weights, node.inputs[2])
    crop = (wide, ArrayTensor(table[:, 0].astype(np.int32)), ArrayTensor(np.asarray(shape, np.int32)))
    return [LiteOp("TRANSPOSE_CONV", inputs, (wide,), options), LiteOp("SLICE", crop, (output,))]


def _js_transposed(node: Node) -> Sequence[JsNode]:
    require_channels_last(node)
    require_float32(node)
    window = read_window(node, known_filter(node)[:2])
    _refuse_dilation(node, window)
    if node.inputs[0].shape != (4,):
        raise Declined("its input_sizes must have four elements")
    return [JsNode(node.op, tuple(node.inputs), (node.output,), js_window_attrs(window, node.output))]


def _transposed_examples() -> Iterator[Example]:
    def use(sizes: list[int], weights: Array, array: Array, note: str, **more: Any) -> Example:
        declines = CHANNELS_FIRST if more.get("layout") == "NCHW" else more.pop("declines", {})
        return Example((np.asarray(sizes, np.int32), weights, array), window_example(**more), (0, 1), note=note, declines=declines)

    yield use([2, 8, 10, 3], sample(3, 3, 3, 4), sample(2, 4, 5, 4), "twice as large", stride=2)
    yield use([2, 7, 9, 3], sample(3, 3, 3, 4), sample(2, 4, 5, 4), "to odd sizes", stride=2)
    yield use([1, 9, 11, 3], sample(3, 3, 3, 4), sample(1, 4, 5, 4), "VALID", stride=2, padding="VALID")
    yield use([1, 10, 12, 3], sample(3, 3, 3, 4), sample(1, 4, 5, 4), "VALID, one more", stride=2, padding="VALID")
    yield use([1, 4, 5, 2], sample(3, 2, 2, 4), sample(1, 4, 5, 4), "stride 1")
    yield use([1, 8, 5, 2], sample(4, 4, 2, 4), sample(1, 4, 5, 4), "even window, unequal strides", stride=(2, 1))
    yield use(
        [1, 7, 10, 2],
        sample(3, 3, 2, 4),
        sample(1, 4, 5, 4),
        "explicit padding",
        stride=2,
        padding=[0, 0, 1, 1, 1, 0, 0, 0],
    )


SPECS = (
    OpSpec(
        name="Conv2DBackpropInput",
        attrs={**WINDOW_ATTRS, "use_cudnn_on_gpu": True},
        infer=_infer_transposed,
        evaluate=evaluate_transposed,
        to_tflite=_lite_transposed,
        to_tfjs=_js_transposed,
        examples=_transposed_examples,
    ),
)
