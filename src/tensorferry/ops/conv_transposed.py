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
from tensorferry.ops.spec import LITE_ACTIVATIONS, Declined, Example, OpSpec, lite_activation
from tensorferry.ops.windows import Window, pad_table, read_window, require_channels_last, require_float32
from tensorferry.targets import JsNode, LiteOp, Ref, Temp
from tensorferry.tensor import Array, ArrayTensor, DType


def _infer_transposed(node: Node) -> list[Typed]:
    sizes, filter_value, value = node.inputs[:3]
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
    sizes, filter_value = node.inputs[:2]
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
    return [*turning, _lite_operator(node, window, padding, wanted, weights, output)]


def _lite_transposed_and_cropped(node: Node, window: Window, weights: Ref) -> list[LiteOp]:
    """Explicit padding: the whole result, then the part inside the padding."""
    output = node.output
    shape = output.static_shape
    if shape is None:
        raise Declined("explicit padding needs a known result size", attributes=f"explicit_paddings={node['explicit_paddings']}")
    table = pad_table(window)
    whole = tuple(int(length + pads.sum()) for length, pads in zip(shape, table, strict=True))
    wide = Temp("whole", output.dtype, whole)
    operator = _lite_operator(node, window, "VALID", ArrayTensor(np.asarray(whole, np.int32)), weights, wide)
    crop = (wide, ArrayTensor(table[:, 0].astype(np.int32)), ArrayTensor(np.asarray(shape, np.int32)))
    return [operator, LiteOp("SLICE", crop, (output,))]


def _lite_operator(node: Node, window: Window, padding: str, wanted: Ref, weights: Ref, output: Ref) -> LiteOp:
    options = {"padding": padding, "stride_h": window.height.stride, "stride_w": window.width.stride}
    activation = lite_activation(node)
    bias = tuple(node.inputs[3:])
    inputs = (wanted, weights, node.inputs[2], *bias)
    if activation == "NONE":
        return LiteOp("TRANSPOSE_CONV", inputs, (output,), options, 3 if bias else 1)
    return LiteOp("TRANSPOSE_CONV", inputs, (output,), options | {"fused_activation_function": activation}, 4)


def _js_transposed(node: Node) -> Sequence[JsNode]:
    require_channels_last(node)
    require_float32(node)
    window = read_window(node, known_filter(node)[:2])
    _refuse_dilation(node, window)
    if node.inputs[0].shape != (4,):
        raise Declined("its input_sizes must have four elements")
    attrs = js_window_attrs(window, node.output)
    if len(node.inputs) == 3:
        return [JsNode(node.op, tuple(node.inputs), (node.output,), attrs)]
    plain = Temp("plain", node.output.dtype, node.output.shape)
    biased = {"T": node.output.dtype, "data_format": "NHWC"}
    return [
        JsNode(node.op, tuple(node.inputs[:3]), (plain,), attrs),
        JsNode("BiasAdd", (plain, node.inputs[3]), (node.output,), biased),
    ]


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
    inputs = (np.asarray([2, 8, 10, 3], np.int32), sample(3, 3, 3, 4), sample(2, 4, 5, 4), sample(3))
    yield Example(inputs, window_example(stride=2), (0, 1, 3), note="bias")
    for name in sorted(LITE_ACTIVATIONS):
        yield Example(inputs, window_example(stride=2) | {"activation": name}, (0, 1, 3), note=f"bias and {name}")
    yield Example(inputs[:3], window_example(stride=2) | {"activation": "Relu"}, (0, 1), note="Relu without bias")


SPECS = (
    OpSpec(
        name="Conv2DBackpropInput",
        attrs={**WINDOW_ATTRS, "use_cudnn_on_gpu": True},
        infer=_infer_transposed,
        evaluate=evaluate_transposed,
        to_tflite=_lite_transposed,
        to_tfjs=_js_transposed,
        fuses={"tflite": frozenset(LITE_ACTIVATIONS)},
        takes_bias=True,
        bias_at=3,
        examples=_transposed_examples,
    ),
)
