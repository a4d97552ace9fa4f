"""Conv2DBackpropInput and DepthwiseConv2dNativeBackpropInput: transposed convolutions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Graph, Node, Shape, Typed, Value
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
from tensorferry.ops.dilating import backwards, correlation_pads, spread
from tensorferry.ops.expansion import Expansion
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


def _refuse_beyond(node: Node, window: Window) -> None:
    """What neither target's operator can do."""
    if _groups(node) > 1:
        raise Declined("the target's transposed convolution knows no groups")
    if window.height.dilation > 1 or window.width.dilation > 1:
        raise Declined("the target's transposed convolution knows no dilation", attributes=f"dilations={list(node['dilations'])}")


def _groups(node: Node) -> int:
    """Into how many groups the channels of the wanted result fall."""
    content = node.inputs[0].content
    per_group = filter_dims(node.inputs[1])[2]
    if content is None or len(content) != 4:
        return 1
    channels = content[1 if node.get("data_format") == "NCHW" else 3]
    if not isinstance(channels, int) or not isinstance(per_group, int):
        return 1
    if per_group < 1 or channels % per_group:
        raise Declined(f"{channels} channels are wanted, its filter gives {per_group}")
    return channels // per_group


def _lite_transposed(node: Node) -> Sequence[LiteOp]:
    require_channels_last(node)
    require_float32(node)
    sizes, filter_value = node.inputs[:2]
    window = read_window(node, known_filter(node)[:2])
    _refuse_beyond(node, window)
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
    _refuse_beyond(node, window)
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


# -- in other ops ----------------------------------------------------------------------------------------------------


def _expand_transposed(graph: Graph, node: Node) -> bool:
    """Whatever the operators lack is done before or after: dilation, groups, padding of their own, sizes given without a batch."""
    if node["data_format"] != "NHWC" or node.inputs[1].static_shape is None:
        return False
    parts = Expansion(graph, node)
    rates = [int(rate) for rate in node["dilations"][1:3]] if node.get("dilations") else [1, 1]
    if _groups(node) > 1:
        return _expand_grouped(parts, _groups(node))
    if max(rates) > 1:
        filled = spread(parts, node.inputs[1], rates, first=0)
        return filled is not None and parts.finish(_again(parts, 1, filled, dilations=[1, 1, 1, 1]))
    if node.inputs[0].shape == (2,):
        return parts.finish(_again(parts, 0, _all_sizes(parts)))
    if node["padding"] == "EXPLICIT" and node.inputs[0].shape == (4,):
        pads = np.reshape(np.asarray(node["explicit_paddings"], np.int32), (4, 2))
        larger = parts.make("AddV2", node.inputs[0], pads.sum(axis=1).astype(np.int32))
        whole = _again(parts, 0, larger, padding="VALID", explicit_paddings=[])
        return parts.finish(parts.make("Slice", whole, pads[:, 0].copy(), node.inputs[0]))
    return False


def _again(parts: Expansion, index: int, value: Value, **changes: Any) -> Value:
    """The same node with one other input."""
    node = parts.node
    inputs = [value if at == index else each for at, each in enumerate(node.inputs)]
    attrs = {key: each for key, each in node.attrs.items() if not key.startswith("activation")}
    return parts.make(node.op, *inputs, **attrs | changes)


def _all_sizes(parts: Expansion) -> Value:
    """Height and width with the batch of the input before them and the channels of the filter behind."""
    sizes, weights, value = parts.node.inputs
    one, two = np.asarray([1], np.int32), np.asarray([0], np.int32)
    batch = parts.make("StridedSlice", parts.make("Shape", value), two, one, one)
    channels = np.asarray([filter_dims(weights)[2]], np.int32)
    return parts.make("ConcatV2", batch, sizes, channels, np.int32(0), N=3)


def _expand_grouped(parts: Expansion, groups: int) -> bool:
    sizes, weights, value = parts.node.inputs
    content = sizes.content
    if content is None or any(isinstance(each, str) for each in content):
        return False
    axis = parts.constant(np.asarray(3, np.int32), "axis")
    filters, pieces = (parts.make_node("Split", axis, each, num_split=groups).outputs for each in (weights, value))
    wanted = np.asarray([*content[:3], filter_dims(weights)[2]], np.int32)
    attrs = {key: each for key, each in parts.node.attrs.items() if not key.startswith("activation")}
    results = [parts.make(parts.node.op, wanted, taps, piece, **attrs) for taps, piece in zip(filters, pieces, strict=True)]
    return parts.finish(parts.make("ConcatV2", *results, axis, N=groups))


# -- depthwise -------------------------------------------------------------------------------------------------------


def _infer_depthwise(node: Node) -> list[Typed]:
    typed = _infer_transposed(node)[0]
    channels = filter_dims(node.inputs[1])[2]
    at = 1 if node["data_format"] == "NCHW" else 3
    shape = typed.shape or (UNKNOWN_DIM,) * 4
    return [Typed(typed.dtype, tuple(channels if axis == at else dim for axis, dim in enumerate(shape)))]


def _evaluate_depthwise(node: Node, sizes: Array, weights: Array, array: Array) -> Array:
    """As a transposed convolution whose filter is 0 between channels that do not belong together."""
    height, width, incoming, multiplier = weights.shape
    full = np.zeros((height, width, incoming, incoming, multiplier), weights.dtype)
    full[:, :, range(incoming), range(incoming)] = weights
    return evaluate_transposed(node, sizes, full.reshape(height, width, incoming, incoming * multiplier), array)


def _refuse_depthwise(_node: Node) -> Sequence[Any]:
    raise Declined("no target has it, and to write it in other ops its sizes must be known", remedy="fix the model's input sizes")


def _expand_depthwise(graph: Graph, node: Node) -> bool:
    """Zeros between the elements, a depthwise convolution with the filter turned around, and sums over the multiplier."""
    _, weights, value = node.inputs
    output, dims = node.output.shape, weights.static_shape
    if node["data_format"] != "NHWC" or output is None or dims is None or value.shape is None:
        return False
    if any(isinstance(dim, str) for dim in output[1:]):
        return False
    window = read_window(node, dims[:2])
    channels, multiplier = dims[2:]
    parts = Expansion(graph, node)
    sparse = spread(parts, value, [axis.stride for axis in window.axes], first=1)
    if sparse is None or sparse.shape is None:
        return False
    pads = correlation_pads(window.axes, output[1:3], sparse.shape[1:3])
    if pads is None:
        return False
    taps = parts.make("Reshape", weights, np.asarray([*dims[:2], channels * multiplier, 1], np.int32))
    attrs = {"strides": [1, 1, 1, 1], "padding": "VALID", "dilations": list(node["dilations"])}
    wide = parts.make("Pad", sparse, np.asarray([(0, 0), *pads, (0, 0)], np.int32))
    result = parts.make("DepthwiseConv2dNative", wide, backwards(parts, taps, 2), **attrs)
    if multiplier > 1:
        apart = parts.make("Reshape", result, np.asarray([-1, *output[1:3], channels, multiplier], np.int32))
        result = parts.make("Sum", apart, np.int32(-1))
    return parts.finish(result)


# -- examples --------------------------------------------------------------------------------------------------------


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
    yield use([1, 4, 5, 2], sample(3, 3, 2, 4), sample(1, 4, 5, 4), "dilated", dilation=2)
    yield use([2, 8, 10, 6], sample(3, 3, 3, 4), sample(2, 4, 5, 4), "two groups", stride=2)
    yield use([8, 10], sample(3, 3, 3, 4), sample(2, 4, 5, 4), "without a batch", stride=2)
    yield Example(
        (np.asarray([1, 8, 10, 3], np.int32), sample(3, 3, 3, 4), sample(1, 4, 5, 4)),
        window_example(stride=2),
        (1,),
        note="computed sizes",
    )
    yield Example(
        (np.asarray([1, 7, 10, 2], np.int32), sample(3, 3, 2, 4), sample(1, 4, 5, 4)),
        window_example(stride=2, padding=[0, 0, 1, 1, 1, 0, 0, 0]),
        (1,),
        note="computed sizes, explicit padding",
    )
    yield Example(
        (np.asarray([2, 8, 10, 3], np.int32), sample(3, 3, 3, 4), sample(2, 4, 5, 4)),
        window_example(stride=2),
        (0,),
        note="a filter computed at run time",
    )
    inputs = (np.asarray([2, 8, 10, 3], np.int32), sample(3, 3, 3, 4), sample(2, 4, 5, 4), sample(3))
    yield Example(inputs, window_example(stride=2), (0, 1, 3), note="bias")
    for name in sorted(LITE_ACTIVATIONS):
        yield Example(inputs, window_example(stride=2) | {"activation": name}, (0, 1, 3), note=f"bias and {name}")
    yield Example(inputs[:3], window_example(stride=2) | {"activation": "Relu"}, (0, 1), note="Relu without bias")


def _depthwise_examples() -> Iterator[Example]:
    def use(sizes: list[int], weights: Array, array: Array, note: str, **more: Any) -> Example:
        return Example((np.asarray(sizes, np.int32), weights, array), window_example(**more), (0, 1), note=note)

    yield use([2, 8, 10, 4], sample(3, 3, 4, 1), sample(2, 4, 5, 4), "twice as large", stride=2)
    yield use([1, 9, 11, 4], sample(3, 3, 4, 2), sample(1, 4, 5, 8), "multiplier 2, VALID", stride=2, padding="VALID")
    yield use([1, 4, 5, 4], sample(3, 2, 4, 1), sample(1, 4, 5, 4), "stride 1")


SPECS = (
    OpSpec(
        name="Conv2DBackpropInput",
        attrs={**WINDOW_ATTRS, "use_cudnn_on_gpu": True},
        infer=_infer_transposed,
        evaluate=evaluate_transposed,
        to_tflite=_lite_transposed,
        to_tfjs=_js_transposed,
        expand=_expand_transposed,
        fuses={"tflite": frozenset(LITE_ACTIVATIONS)},
        takes_bias=True,
        bias_at=3,
        examples=_transposed_examples,
    ),
    OpSpec(
        name="DepthwiseConv2dNativeBackpropInput",
        attrs=WINDOW_ATTRS,
        infer=_infer_depthwise,
        evaluate=_evaluate_depthwise,
        to_tflite=_refuse_depthwise,
        to_tfjs=_refuse_depthwise,
        expand=_expand_depthwise,
        examples=_depthwise_examples,
    ),
)
