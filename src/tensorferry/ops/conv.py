"""Convolutions: Conv2D, DepthwiseConv2dNative and the transposed Conv2DBackpropInput."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.conv_integers import expand_integers
from tensorferry.ops.conv_maths import evaluate_conv, evaluate_depthwise, group_count
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.fused import FUSED_ACTIVATION_EXAMPLES, JS_FUSED_ACTIVATIONS, js_maybe_fused
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import LITE_ACTIVATIONS, Declined, Example, OpSpec, lite_activation
from tensorferry.ops.windows import (
    Axis,
    Window,
    lite_pad,
    pad_table,
    read_window,
    require_channels_last,
    require_float32,
)
from tensorferry.targets import JsNode, LiteOp, Ref, Temp
from tensorferry.tensor import Array, ArrayTensor, DType, FilledTensor, ReshapedTensor, TransposedTensor

# -- geometry ------------------------------------------------------------------------------------------------------


def filter_dims(value: Value) -> tuple[Dim, Dim, Dim, Dim]:
    """HWIO sizes of a filter, unknown ones included."""
    if value.shape is None:
        return (UNKNOWN_DIM,) * 4
    if len(value.shape) != 4:
        raise Declined(f"its filter has rank {len(value.shape)}, not 4")
    return value.shape[0], value.shape[1], value.shape[2], value.shape[3]


def _infer_window(node: Node, value: Value, filter_value: Value) -> Window | None:
    height, width, _, _ = filter_dims(filter_value)
    if isinstance(height, str) or isinstance(width, str):
        return None
    return read_window(node, (height, width), value.rank)


def unknown_output(node: Node, batch: Dim, channels: Dim) -> tuple[Dim, ...]:
    spatial = (UNKNOWN_DIM, UNKNOWN_DIM)
    return (batch, channels, *spatial) if node.get("data_format") == "NCHW" else (batch, *spatial, channels)


def batch_of(value: Value) -> Dim:
    return value.shape[0] if value.shape else UNKNOWN_DIM


def _infer_conv(node: Node) -> list[Typed]:
    value, filter_value = node.inputs[:2]
    _, _, per_group, channels = filter_dims(filter_value)
    window = _infer_window(node, value, filter_value)
    if window is None:
        return [Typed(value.dtype, unknown_output(node, batch_of(value), channels))]
    incoming = window.channels(value)
    if isinstance(incoming, int) and isinstance(per_group, int) and isinstance(channels, int):
        group_count(incoming, per_group, channels)
    return [Typed(value.dtype, window.output_shape(value, channels))]


def _infer_depthwise(node: Node) -> list[Typed]:
    value, filter_value = node.inputs[:2]
    _, _, incoming, multiplier = filter_dims(filter_value)
    known = isinstance(incoming, int) and isinstance(multiplier, int)
    channels: Dim = incoming * multiplier if known else UNKNOWN_DIM  # type: ignore[operator]
    window = _infer_window(node, value, filter_value)
    if window is None:
        return [Typed(value.dtype, unknown_output(node, batch_of(value), channels))]
    given = window.channels(value)
    if isinstance(given, int) and isinstance(incoming, int) and given != incoming:
        raise Declined(f"{given} channels come in, its filter is for {incoming}")
    return [Typed(value.dtype, window.output_shape(value, channels))]


# -- TensorFlow Lite -----------------------------------------------------------------------------------------------


def known_filter(node: Node) -> tuple[int, int, int, int]:
    dims = node.inputs[1].static_shape
    if dims is None or len(dims) != 4:
        raise Declined("the shape of its filter is not known", remedy="make the filter a constant in the source model")
    return dims[0], dims[1], dims[2], dims[3]


def lite_weights(value: Value, permutation: tuple[int, ...]) -> tuple[Ref, list[LiteOp]]:
    """The filter with its axes permuted: a view when it is constant, else a TRANSPOSE while the model runs."""
    if value.constant is not None:
        return TransposedTensor(value.constant, permutation), []
    assert value.shape is not None
    turned = Temp("filter", value.dtype, tuple(value.shape[axis] for axis in permutation))
    return turned, [LiteOp("TRANSPOSE", (value, ArrayTensor(np.asarray(permutation, np.int32))), (turned,))]


def _lite_bias(node: Node, channels: int) -> Ref:
    """TFLite's convolutions are given a bias always: some of its delegates take no other form."""
    return node.inputs[2] if len(node.inputs) > 2 else FilledTensor(np.zeros(1, np.float32), DType.FLOAT32, (channels,))


def _lite_window(node: Node, window: Window, padding: str) -> dict[str, Any]:
    return {
        "padding": padding,
        "stride_h": window.height.stride,
        "stride_w": window.width.stride,
        "dilation_h_factor": window.height.dilation,
        "dilation_w_factor": window.width.dilation,
        "fused_activation_function": lite_activation(node),
    }


def _lite_conv(node: Node) -> Sequence[LiteOp]:
    require_channels_last(node)
    require_float32(node)
    value = node.inputs[0]
    height, width, per_group, channels = known_filter(node)
    window = read_window(node, (height, width))
    padding, source, before = lite_pad(window, value)
    weights, turning = lite_weights(node.inputs[1], (3, 0, 1, 2))
    grouped = window.channels(value) != per_group
    inputs = (source, weights, _lite_bias(node, channels))
    options = _lite_window(node, window, padding)
    return [*before, *turning, LiteOp("CONV_2D", inputs, tuple(node.outputs), options, 6 if grouped else 1)]


def _lite_depthwise(node: Node) -> Sequence[LiteOp]:
    require_channels_last(node)
    require_float32(node)
    value, filter_value = node.inputs[:2]
    height, width, incoming, multiplier = known_filter(node)
    window = read_window(node, (height, width))
    padding, source, before = lite_pad(window, value)
    shape = (1, height, width, incoming * multiplier)
    weights: Ref
    if filter_value.constant is not None:
        weights = ReshapedTensor(filter_value.constant, shape)
    else:
        weights = Temp("filter", filter_value.dtype, shape)
        inputs = (filter_value, ArrayTensor(np.asarray(shape, np.int32)))
        before = [*before, LiteOp("RESHAPE", inputs, (weights,), {"new_shape": list(shape)})]
    options = _lite_window(node, window, padding) | {"depth_multiplier": multiplier}
    dilated = window.height.dilation > 1 or window.width.dilation > 1
    operands = (source, weights, _lite_bias(node, incoming * multiplier))
    return [*before, LiteOp("DEPTHWISE_CONV_2D", operands, tuple(node.outputs), options, 2 if dilated else 1)]


# -- TensorFlow.js -------------------------------------------------------------------------------------------------

_JS_DEPTHWISE_ACTIVATIONS = JS_FUSED_ACTIVATIONS - {"LeakyRelu"}  # its executor never reads leakyrelu_alpha


def _js_conv(node: Node) -> Sequence[JsNode]:
    require_channels_last(node)
    _, _, per_group, channels = known_filter(node)
    incoming = node.inputs[0].shape[3] if node.inputs[0].shape else UNKNOWN_DIM
    if incoming not in (per_group, UNKNOWN_DIM):
        raise Declined("TensorFlow.js has no grouped convolution", attributes=f"channels={incoming}, filter for {per_group}")
    return _js_window(node, "_FusedConv2D", channels, JS_FUSED_ACTIVATIONS)


def _js_depthwise(node: Node) -> Sequence[JsNode]:
    _, _, incoming, multiplier = known_filter(node)
    return _js_window(node, "FusedDepthwiseConv2dNative", incoming * multiplier, _JS_DEPTHWISE_ACTIVATIONS)


def _js_window(node: Node, fused: str, channels: int, activations: frozenset[str]) -> Sequence[JsNode]:
    require_channels_last(node)
    require_float32(node)
    window = read_window(node, known_filter(node)[:2])
    attrs = js_window_attrs(window, node.inputs[0])
    output = node.output
    if max(axis.stride for axis in window.axes) == 1 or max(axis.dilation for axis in window.axes) == 1:
        return [js_maybe_fused(node, fused, attrs, channels, output, activations)]
    # Stride and dilation at once are refused: compute every position, keep some.
    dense_attrs, dense = _js_dense(node, window)
    steps = np.asarray([1, window.height.stride, window.width.stride, 1], np.int32)
    zeros = ArrayTensor(np.zeros(4, np.int32))
    masks = {"begin_mask": 15, "end_mask": 15, "ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 0}
    return [
        js_maybe_fused(node, fused, attrs | dense_attrs, channels, dense, activations),
        JsNode(
            "StridedSlice",
            (dense, zeros, zeros, ArrayTensor(steps)),
            (output,),
            {"T": output.dtype, "Index": DType.INT32, **masks},
        ),
    ]


def js_window_attrs(window: Window, value: Value) -> dict[str, Any]:
    """TensorFlow's attributes; explicit padding is named SAME or VALID where that says the same."""
    padding, window = _js_padding(window, value)
    return {
        "T": value.dtype,
        "strides": [1, window.height.stride, window.width.stride, 1],
        "padding": padding,
        "explicit_paddings": pad_table(window).reshape(-1).tolist() if padding == "EXPLICIT" else [],
        "data_format": "NHWC",
        "dilations": [1, window.height.dilation, window.width.dilation, 1],
    }


def _js_padding(window: Window, value: Value) -> tuple[str, Window]:
    """How to say the padding. A window smaller than its stride gives SAME a negative padding in WebAssembly: it is spelled out."""
    padding = window.named_padding(value) or "EXPLICIT"
    if padding != "SAME" or all(axis.stride <= axis.extent for axis in window.axes):
        return padding, window
    dims = value.shape or (UNKNOWN_DIM,) * 4
    axes = [
        Axis(axis.size, axis.stride, axis.dilation, "EXPLICIT", (0, 0) if axis.extent == 1 else _pads_of_length(axis, dims[at]))
        for axis, at in zip(window.axes, window.spatial, strict=True)
    ]
    spelled = Window(axes[0], axes[1], window.channels_first)
    return ("EXPLICIT" if pad_table(spelled).any() else "VALID"), spelled


def _pads_of_length(axis: Axis, dim: Dim) -> tuple[int, int]:
    if isinstance(dim, int):
        return axis.pads(dim)
    raise Declined(
        "TensorFlow.js pads a window smaller than its stride wrongly",
        remedy="fix the size of the input, which decides the padding",
        attributes=f"window={axis.size}, stride={axis.stride}",
    )


def _pads_of(node: Node, axis: Axis, dim: Dim) -> tuple[int, int]:
    if isinstance(dim, int):
        return axis.pads(dim)
    if axis.padding != "SAME":
        return axis.explicit_pads
    raise Declined(
        "TensorFlow.js cannot stride and dilate at once",
        remedy="fix the size of the input, which decides the padding",
        attributes=f"strides={list(node['strides'])}, dilations={list(node['dilations'])}",
    )


def _js_dense(node: Node, window: Window) -> tuple[dict[str, Any], Temp]:
    """Attributes and result of the same convolution at stride 1, padded as the strided one is."""
    value, output = node.inputs[0], node.output
    dims = value.shape or (UNKNOWN_DIM,) * 4
    pads = [_pads_of(node, axis, dims[at]) for axis, at in zip(window.axes, (1, 2), strict=True)]
    axes = [Axis(axis.size, 1, axis.dilation, "EXPLICIT", pad) for axis, pad in zip(window.axes, pads, strict=True)]
    dense = Window(axes[0], axes[1], channels_first=False)
    assert output.shape is not None
    attrs = {"strides": [1, 1, 1, 1], "padding": "EXPLICIT", "explicit_paddings": pad_table(dense).reshape(-1).tolist()}
    return attrs, Temp("dense", output.dtype, dense.output_shape(value, output.shape[3]))


# -- grouped convolution for targets that lack it --------------------------------------------------------------------


def _expand_groups(graph: Graph, node: Node) -> bool:
    """A depthwise convolution when each group is one channel, else one convolution a group. Integers go their own way."""
    if node.output.dtype is DType.INT32:
        return expand_integers(graph, node)
    value, filter_value = node.inputs[:2]
    weights = filter_value.constant
    if weights is None or value.shape is None or node["data_format"] != "NHWC":
        return False
    height, width, per_group, channels = weights.shape
    incoming = value.shape[3]
    if not isinstance(incoming, int) or incoming == per_group:
        return False
    groups = group_count(incoming, per_group, channels)
    attrs = {key: node[key] for key in ("strides", "padding", *WINDOW_ATTRS)}
    parts = Expansion(graph, node)
    if per_group == 1:
        taps = parts.constant(ReshapedTensor(weights, (height, width, incoming, channels // incoming)), "filter")
        result = parts.make("DepthwiseConv2dNative", value, taps, **attrs)
    else:
        pieces = np.split(weights.array(), groups, axis=-1)
        axis = parts.constant(np.asarray(3, np.int32), "axis")
        split = parts.make_node("Split", axis, value, num_split=groups)
        results = [
            parts.make("Conv2D", part, np.ascontiguousarray(piece), **attrs)
            for part, piece in zip(split.outputs, pieces, strict=True)
        ]
        result = parts.make("ConcatV2", *results, axis, N=groups)
    for bias in node.inputs[2:]:
        result = parts.make("BiasAdd", result, bias)
    return parts.finish(result)


# -- examples ------------------------------------------------------------------------------------------------------


def window_example(
    stride: int | tuple[int, int] = 1, padding: str | list[int] = "SAME", dilation: int | tuple[int, int] = 1, layout: str = "NHWC"
) -> dict[str, Any]:
    def four(pair: int | tuple[int, int]) -> list[int]:
        high, wide = pair if isinstance(pair, tuple) else (pair, pair)
        return [1, 1, high, wide] if layout == "NCHW" else [1, high, wide, 1]

    explicit = {} if isinstance(padding, str) else {"explicit_paddings": padding}
    return {
        "strides": four(stride),
        "padding": padding if isinstance(padding, str) else "EXPLICIT",
        "dilations": four(dilation),
        "data_format": layout,
        **explicit,
    }


CHANNELS_FIRST = {"tflite": "channels must come last", "tfjs": "channels must come last"}


def _conv_examples() -> Iterator[Example]:
    image = sample(2, 7, 9, 4)

    def use(weights: Array, note: str, array: Array = image, **more: Any) -> Example:
        declines = more.pop("declines", CHANNELS_FIRST if more.get("layout") == "NCHW" else {})
        constants = more.pop("constants", (1,))
        return Example((array, weights), window_example(**more), constants, note=note, declines=declines)

    yield use(sample(3, 3, 4, 5), "3x3, odd sizes")
    yield use(sample(1, 1, 4, 6), "point")
    yield use(sample(1, 1, 4, 6), "point, strided", stride=2, padding="VALID")
    yield use(sample(3, 3, 4, 5), "VALID, stride 2", stride=2, padding="VALID")
    yield use(sample(3, 3, 4, 5), "SAME, stride 2", stride=2)
    yield use(sample(3, 3, 4, 5), "SAME, stride 2, even size", array=sample(1, 8, 6, 4), stride=2)
    yield use(sample(2, 5, 4, 3), "even and wide window, unequal strides", stride=(2, 1))
    yield use(sample(3, 3, 4, 5), "dilated", dilation=2)
    yield use(sample(3, 2, 4, 5), "dilated unequally, VALID", dilation=(2, 3), padding="VALID")
    yield use(sample(3, 3, 4, 5), "dilated and strided", dilation=2, stride=2)
    yield use(sample(3, 3, 4, 5), "explicit padding", padding=[0, 0, 1, 2, 0, 3, 0, 0], stride=2)
    yield use(sample(3, 3, 4, 5), "explicit padding that is SAME", padding=[0, 0, 1, 1, 1, 1, 0, 0])
    yield use(sample(1, 1, 4, 2), "a point with padding", padding=[0, 0, 1, 1, 0, 1, 0, 0])
    yield use(sample(5, 5, 4, 2), "a window larger than the image", array=sample(1, 3, 3, 4))
    yield use(sample(1, 1, 4, 2), "stride larger than the window", stride=3)
    yield use(sample(3, 3, 4, 5), "a filter computed at run time", constants=())
    yield use(sample(2, 1, 4, 2), "narrower than its stride", stride=2)
    yield use(sample(3, 2, 4, 2), "smaller than its stride", stride=3)
    large = (np.rint(image * 5000).astype(np.int32), np.rint(sample(3, 3, 4, 5) * 900).astype(np.int32))
    yield Example(large, window_example(stride=2), (1,), note="int32")
    yield use(sample(3, 3, 2, 6), "two groups")
    yield use(sample(3, 3, 1, 8), "groups of one channel", stride=2)
    yield use(sample(3, 3, 4, 5), "channels first", array=sample(2, 4, 7, 9), stride=(2, 1), layout="NCHW")
    bias = sample(5)
    for name, alpha in FUSED_ACTIVATION_EXAMPLES:
        attrs = window_example() | {"activation": name} | alpha
        yield Example((image, sample(3, 3, 4, 5), bias), attrs, (1, 2), note=f"bias and {name}")
    yield Example((image, sample(3, 3, 4, 5), bias), window_example(), (1, 2), note="bias")
    yield Example((image, sample(3, 3, 4, 5)), window_example() | {"activation": "Relu6"}, (1,), note="Relu6 without bias")
    thin = window_example(stride=2, dilation=2) | {"activation": "Relu"}
    yield Example((image, sample(3, 3, 4, 5), bias), thin, (1, 2), note="dilated and strided, fused")
    padded_first = window_example(padding=[0, 0, 1, 2, 0, 3, 0, 0], layout="NHWC") | {"activation": "Relu"}
    yield Example((image, sample(3, 3, 4, 5), bias), padded_first, (1, 2), note="explicit padding, fused")


def _depthwise_examples() -> Iterator[Example]:
    image = sample(2, 7, 9, 4)

    def use(weights: Array, note: str, array: Array = image, **more: Any) -> Example:
        declines = CHANNELS_FIRST if more.get("layout") == "NCHW" else {}
        constants = more.pop("constants", (1,))
        return Example((array, weights), window_example(**more), constants, note=note, declines=declines)

    yield use(sample(3, 3, 4, 1), "3x3, odd sizes")
    yield use(sample(3, 3, 4, 1), "stride 2", stride=2)
    yield use(sample(3, 3, 4, 1), "stride 2, even size, VALID", array=sample(1, 8, 6, 4), stride=2, padding="VALID")
    yield use(sample(3, 3, 4, 2), "multiplier 2")
    yield use(sample(2, 5, 4, 3), "multiplier 3, wide window, stride 2", stride=2)
    yield use(sample(3, 3, 1, 6), "one channel", array=sample(1, 6, 5, 1))
    yield use(sample(1, 1, 4, 2), "point")
    yield use(sample(3, 3, 4, 1), "explicit padding", padding=[0, 0, 1, 2, 0, 3, 0, 0], stride=2)
    yield use(sample(3, 3, 4, 1), "a filter computed at run time", constants=())
    yield use(sample(3, 3, 4, 1), "dilated", dilation=2)
    yield use(sample(3, 2, 4, 2), "unequal strides", stride=(2, 1))
    yield use(sample(2, 1, 4, 1), "narrower than its stride", stride=2)
    yield use(sample(3, 3, 4, 2), "channels first", array=sample(2, 4, 7, 9), layout="NCHW")
    for name, alpha in FUSED_ACTIVATION_EXAMPLES:
        attrs = window_example(stride=2) | {"activation": name} | alpha
        yield Example((image, sample(3, 3, 4, 2), sample(8)), attrs, (1, 2), note=f"bias and {name}")
    yield Example((image, sample(3, 3, 4, 1)), window_example() | {"activation": "Relu"}, (1,), note="Relu without bias")


WINDOW_ATTRS = {"explicit_paddings": (), "data_format": "NHWC", "dilations": (1, 1, 1, 1), "T": DType.FLOAT32}
_LITE_FUSES = frozenset(LITE_ACTIVATIONS)

SPECS = (
    OpSpec(
        name="Conv2D",
        attrs={**WINDOW_ATTRS, "use_cudnn_on_gpu": True},
        infer=_infer_conv,
        evaluate=evaluate_conv,
        to_tflite=_lite_conv,
        to_tfjs=_js_conv,
        expand=_expand_groups,
        fuses={"tflite": _LITE_FUSES, "tfjs": JS_FUSED_ACTIVATIONS},
        takes_bias=True,
        examples=_conv_examples,
    ),
    OpSpec(
        name="DepthwiseConv2dNative",
        attrs=WINDOW_ATTRS,
        infer=_infer_depthwise,
        evaluate=evaluate_depthwise,
        to_tflite=_lite_depthwise,
        to_tfjs=_js_depthwise,
        fuses={"tflite": _LITE_FUSES, "tfjs": _JS_DEPTHWISE_ACTIVATIONS},
        takes_bias=True,
        examples=_depthwise_examples,
    ),
)
