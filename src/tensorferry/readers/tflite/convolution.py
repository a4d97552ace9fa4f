"""Convolutions, matrix products and pooling, with the bias and the activation that their operators apply themselves.

TensorFlow Lite keeps filters with the output channels first; constants are turned as they are read from the file.
"""

from __future__ import annotations

import math

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.tflite.steps import Rule, Step, int32s
from tensorferry.tensor import ReshapedTensor


def padding_of(step: Step) -> str:
    return step.options.member("padding")


def strides_of(step: Step, *axes: str) -> list[int]:
    """`[1, h, w, 1]`; of what the file says, 0 is none."""
    return _around(step, [step.options.number(f"stride_{axis}") for axis in axes], "strides")


def _dilations(step: Step, *axes: str) -> list[int]:
    return _around(step, [step.options.number(f"dilation_{axis}_factor") for axis in axes], "dilations")


def _around(step: Step, numbers: list[int], role: str) -> list[int]:
    if any(number < 1 for number in numbers):
        raise step.refusal(f"its {role} are {numbers}")
    return [1, *numbers, 1]


def finish(step: Step, value: Value, bias: int) -> Value:
    """Bias and activation."""
    if step.has(bias):
        value = step.make("BiasAdd", value, step.reader.real_constant(step.tensor(bias).number))
    return step.activated(value)


def _conv(step: Step) -> Value:
    value = step.make(
        "Conv2D",
        step.input(0),
        step.transposed(step.input(1), (1, 2, 3, 0)),
        strides=strides_of(step, "h", "w"),
        dilations=_dilations(step, "h", "w"),
        padding=padding_of(step),
    )
    return finish(step, value, 2)


def _depthwise(step: Step) -> Value:
    """The filter is [1, h, w, channels * multiplier]."""
    x, weights = step.input(0), step.input(1)
    shape = weights.static_shape
    if shape is None or len(shape) != 4 or shape[0] != 1:
        raise step.refusal("its filter has no known shape of four axes, the first of size 1")
    channels = x.shape[3] if x.shape is not None and len(x.shape) == 4 else None
    if not isinstance(channels, int):
        multiplier = step.options.number("depth_multiplier")
        channels = shape[3] // multiplier if multiplier > 0 else 0
    if channels < 1 or shape[3] % channels:
        raise step.refusal(f"its filter has {shape[3]} channels, its input {channels}")
    target = (shape[1], shape[2], channels, shape[3] // channels)
    tensor = weights.constant
    filters = step.make("Reshape", weights, int32s(*target))
    if tensor is not None:
        filters = step.constant(ReshapedTensor(tensor, target), f"{weights.name}/depthwise")
    value = step.make(
        "DepthwiseConv2dNative",
        x,
        filters,
        strides=_square(step),
        dilations=_dilations(step, "h", "w"),
        padding=padding_of(step),
    )
    return finish(step, value, 2)


def _square(step: Step) -> list[int]:
    return strides_of(step, "h", "w")


def _transpose_conv(step: Step) -> Value:
    """Inputs: the output's shape, the filter [out, h, w, in], what is convolved, and perhaps a bias."""
    filters = step.transposed(step.input(1), (1, 2, 0, 3))
    attrs = {"strides": strides_of(step, "h", "w"), "padding": padding_of(step)}
    value = step.make("Conv2DBackpropInput", step.input(0), filters, step.input(2), **attrs)
    return finish(step, value, 3)


def _conv_3d(step: Step) -> Value:
    attrs = {
        "strides": strides_of(step, "d", "h", "w"),
        "dilations": _dilations(step, "d", "h", "w"),
        "padding": padding_of(step),
    }
    return finish(step, step.make("Conv3D", step.input(0), step.input(1), **attrs), 2)


def _conv_3d_transpose(step: Step) -> Value:
    attrs = {
        "strides": strides_of(step, "d", "h", "w"),
        "dilations": _dilations(step, "d", "h", "w"),
        "padding": padding_of(step),
    }
    value = step.make("Conv3DBackpropInputV2", step.input(0), step.input(1), step.input(2), **attrs)
    return finish(step, value, 3)


# -- products ------------------------------------------------------------------------------------------------------


def _fully_connected(step: Step) -> Value:
    """Rows of the last axis times the filter [out, in]; all axes before are one unless they are to be kept."""
    if step.options.member("weights_format") != "DEFAULT":
        raise step.refusal("its filter is shuffled for one kind of processor", "write the model anew without shuffled weights")
    x, weights = step.input(0), step.input(1)
    filters = step.transposed(weights, (1, 0))
    width = filters.shape[0] if filters.shape is not None and len(filters.shape) == 2 else None
    if not isinstance(width, int):
        raise step.refusal("the width of its filter is not known")
    known = x.rank == 2 and x.shape is not None and x.shape[1] == width
    rows = x if known else step.make("Reshape", x, int32s(-1, width))
    value = step.make("MatMul", rows, filters)
    if step.has(2):
        value = step.make("BiasAdd", value, step.reader.real_constant(step.tensor(2).number))
    value = step.activated(value)
    if not step.options.flag("keep_num_dims") or x.rank == 2:
        return value
    if x.rank is None:
        raise step.refusal("the rank of its input is not known")
    return _like_before(step, value, x)


def _like_before(step: Step, value: Value, x: Value) -> Value:
    """The rows under the axes that they had."""
    assert x.shape is not None
    assert value.shape is not None
    leading, width = x.shape[:-1], value.shape[-1]
    open_sizes = [size for size in leading if not isinstance(size, int)]
    if len(open_sizes) <= 1 and isinstance(width, int):
        return step.make("Reshape", value, int32s(*(size if isinstance(size, int) else -1 for size in leading), width))
    before = step.make("Slice", step.make("Shape", x), int32s(0), int32s(len(leading)))
    last = step.make("Slice", step.make("Shape", value), int32s(1), int32s(1))
    return step.make("Reshape", value, step.make("ConcatV2", before, last, np.asarray(0, np.int32), N=2))


def _batch_matmul(step: Step) -> Value:
    attrs = {name: step.options.flag(name) for name in ("adj_x", "adj_y")}
    return step.make("BatchMatMulV2", step.input(0), step.input(1), **attrs)


# -- pooling -------------------------------------------------------------------------------------------------------


def _window(step: Step) -> list[int]:
    return _around(step, [step.options.number("filter_height"), step.options.number("filter_width")], "window")


def _pool(op: str) -> Rule:
    def read(step: Step) -> Value:
        attrs = {"ksize": _window(step), "strides": strides_of(step, "h", "w"), "padding": padding_of(step)}
        return step.activated(step.make(op, step.input(0), **attrs))

    return read


def _l2_pool(step: Step) -> Value:
    attrs = {"ksize": _window(step), "strides": strides_of(step, "h", "w"), "padding": padding_of(step)}
    return step.activated(step.make("Sqrt", step.make("AvgPool", step.make("Square", step.input(0)), **attrs)))


# -- windows of any rank -------------------------------------------------------------------------------------------


def _dilate(step: Step) -> Value:
    """Copies of a value between the elements along each axis."""
    x, steps = step.input(0), [int(each) for each in step.known(1, "dilations")]
    return interleaved(step, x, steps, step.input(2))


def interleaved(step: Step, x: Value, steps: list[int], filler: Value) -> Value:
    shape = x.static_shape
    if shape is None or len(shape) != len(steps) or any(each < 1 for each in steps):
        raise step.refusal("the sizes of its input are not known, or its steps do not fit them")
    for axis, (size, factor) in enumerate(zip(shape, steps, strict=True)):
        if factor == 1 or size == 0:
            continue
        current = list(shape[:axis])
        done = [(shape[each] - 1) * steps[each] + 1 for each in range(axis)]
        rest = list(shape[axis + 1 :])
        current = done
        apart = step.make("Reshape", x, int32s(*current, size, 1, *rest))
        pads = np.zeros((len(shape) + 1, 2), np.int32)
        pads[axis + 1, 1] = factor - 1
        padded = step.make("PadV2", apart, pads, filler)
        whole = step.make("Reshape", padded, int32s(*current, size * factor, *rest))
        sizes = int32s(*current, (size - 1) * factor + 1, *rest)
        if math.prod(sizes.tolist()) > 1 << 31:
            raise step.refusal("it makes too many elements")
        x = step.make("Slice", whole, int32s(*[0] * len(shape)), sizes)
    return x


RULES: dict[str, Rule] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _transpose_conv,
    "CONV_3D": _conv_3d,
    "CONV_3D_TRANSPOSE": _conv_3d_transpose,
    "FULLY_CONNECTED": _fully_connected,
    "BATCH_MATMUL": _batch_matmul,
    "AVERAGE_POOL_2D": _pool("AvgPool"),
    "MAX_POOL_2D": _pool("MaxPool"),
    "L2_POOL_2D": _l2_pool,
    "DILATE": _dilate,
}
