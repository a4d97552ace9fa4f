"""Operations of keras.ops that nets are made of: convolutions, pooling, normalisations, attention, images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder
from tensorferry.readers.keras.description import EXPORT, Config, Layer
from tensorferry.readers.keras.layers.arguments import array, axes, element_type, integer, integers, only, operation, tensor
from tensorferry.readers.keras.layers.convolution import convolve
from tensorferry.readers.keras.layers.normalisation import standardised
from tensorferry.readers.keras.layers.operations import two
from tensorferry.tensor import DType


def as_layer(build: Builder, class_name: str, config: dict[str, Any], x: Value) -> Value:
    """What a layer of that class and config makes of it."""
    layer = Layer(class_name, class_name, Config(config, build.layer.name), version="3")
    made: Value = build.run(layer, [x])
    return made


def _each(build: Builder, given: Any, rank: int, name: str) -> tuple[int, ...]:
    listed = integers(build, given)
    if len(listed) not in (1, rank):
        raise build.unsupported(f"its {name} has {len(listed)} sizes")
    return tuple(listed * rank if len(listed) == 1 else listed)


def _last(build: Builder, x: Value, data_format: Any, run: Callable[[Value], Value]) -> Value:
    """The function on the tensor with its channels at the end, the result as before."""
    if data_format in (None, "channels_last"):
        return run(x)
    rank = build.rank(x)
    made = run(build.transpose(x, [0, *range(2, rank), 1]))
    return build.transpose(made, [0, rank - 1, *range(1, rank - 1)])


# -- windows -------------------------------------------------------------------------------------------------------


@operation("MaxPool", "AveragePool")
def pooling(
    build: Builder, inputs: Value, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: Any = None
) -> Value:
    """The largest, or the mean, of each window."""
    kind = build.layer.class_name.removesuffix("Pool")
    rank = build.rank(inputs) - 2
    config = {"pool_size": pool_size, "strides": strides, "padding": padding}
    return _last(build, inputs, data_format, lambda x: as_layer(build, f"{kind}Pooling{rank}D", config, x))


@operation("AdaptiveMaxPool", "AdaptiveAveragePool")
def adaptive_pooling(build: Builder, inputs: Value, output_size: Any, data_format: Any = None) -> Value:
    """As many windows as there shall be places; those of an axis overlap where it does not divide."""
    rank = build.rank(inputs) - 2
    op = "Max" if "Max" in build.layer.class_name else "Mean"
    sizes = _each(build, output_size, rank, "output_size")

    def run(x: Value) -> Value:
        for axis, wanted in enumerate(sizes, 1):
            build.bounded(wanted, 1 << 12)
            size = build.size(x, axis)
            ends = [(place * size // wanted, -(-(place + 1) * size // wanted)) for place in range(wanted)]
            x = build.concat([build.reduce(op, build.cut(x, {axis: (a, size - b)}), [axis], keep=True) for a, b in ends], axis)
        return x

    return _last(build, inputs, data_format, run)


@operation("Conv", "DepthwiseConv")
def convolution(
    build: Builder,
    inputs: Value,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: Any = None,
    dilation_rate: Any = 1,
) -> Value:
    """With a kernel that is a constant or computed."""
    rank = build.rank(inputs) - 2
    filters = tensor(build, kernel, inputs.dtype)
    steps, rates = _each(build, strides, rank, "strides"), _each(build, dilation_rate, rank, "dilation_rate")
    apart = build.layer.class_name == "DepthwiseConv"
    return _last(build, inputs, data_format, lambda x: convolve(build, x, filters, steps, rates, padding, depthwise=apart))


@operation("SeparableConv")
def separable(
    build: Builder,
    inputs: Value,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: Any = None,
    dilation_rate: Any = 1,
) -> Value:
    """A kernel for each channel, then one of single places."""
    rank = build.rank(inputs) - 2
    apart, across = (tensor(build, each, inputs.dtype) for each in (depthwise_kernel, pointwise_kernel))
    steps, rates = _each(build, strides, rank, "strides"), _each(build, dilation_rate, rank, "dilation_rate")

    def run(x: Value) -> Value:
        made = convolve(build, x, apart, steps, rates, padding, depthwise=True)
        return convolve(build, made, across, [1] * rank, [1] * rank, "valid")

    return _last(build, inputs, data_format, run)


@operation("DepthToSpace", "SpaceToDepth")
def blocks(build: Builder, x: Value, block_size: Any, data_format: Any = None) -> Value:
    """Channels to blocks of places, and back."""
    size = {"block_size": integer(build, block_size)}
    return _last(build, x, data_format, lambda value: build.add(build.layer.class_name, (value,), size))


# -- normalisations and attention ----------------------------------------------------------------------------------


@operation("Moments", ignored=("synchronized",))
def moments(build: Builder, x: Value, axes: Any, keepdims: bool = False) -> list[Value]:
    """Mean and variance."""
    over = [build.axis(x, each) for each in integers(build, axes)]
    beside = build.add("Sub", (x, build.reduce("Mean", x, over, keep=True)))
    variance = build.reduce("Mean", build.add("Square", (beside,)), over, bool(keepdims))
    return [build.reduce("Mean", x, over, bool(keepdims)), variance]


@operation("BatchNorm")
def batch_norm(
    build: Builder, x: Value, mean: Any, variance: Any, offset: Any = None, scale: Any = None, axis: Any = -1, epsilon: float = 1e-3
) -> Value:
    """By a mean and a variance for each element of an axis."""
    place = build.axis(x, integer(build, axis))
    shape = [-1 if each == place else 1 for each in range(build.rank(x))]

    def along(given: Any) -> Value:
        return build.reshape(tensor(build, given, x.dtype), shape)

    factor = build.add("Rsqrt", (two(build, "AddV2", along(variance), float(epsilon)),))
    factor = factor if scale is None else build.add("Mul", (factor, along(scale)))
    made = build.add("Mul", (build.add("Sub", (x, along(mean))), factor))
    return made if offset is None else build.add("AddV2", (made, along(offset)))


@operation("LayerNorm", "RMSNorm")
def layer_norm(
    build: Builder,
    x: Value,
    gamma: Any = None,
    beta: Any = None,
    axis: Any = -1,
    epsilon: Any = None,
    rms_scaling: bool = False,
    scale: Any = None,
) -> Value:
    """To mean 0 and deviation 1, or by the root of the mean square."""
    only(build, {"rms_scaling": (rms_scaling, False)})
    over = axes(build, axis, x)
    gamma = scale if gamma is None else gamma
    least = 1e-7 if epsilon is None else float(epsilon)
    if build.layer.class_name == "RMSNorm":
        square = build.reduce("Mean", build.add("Square", (x,)), over, keep=True)
        made = build.add("Mul", (x, build.add("Rsqrt", (two(build, "AddV2", square, least),))))
    else:
        made = standardised(build, x, over, least)
    if list(over) != list(range(build.rank(x) - len(over), build.rank(x))) and (gamma is not None or beta is not None):
        raise build.unsupported("it is scaled along other axes than the last", EXPORT)
    made = made if gamma is None else two(build, "Mul", made, gamma)
    return made if beta is None else two(build, "AddV2", made, beta)


@operation("DotProductAttention", ignored=("flash_attention",))
def attention(
    build: Builder,
    query: Value,
    key: Value,
    value: Value,
    bias: Any = None,
    mask: Any = None,
    scale: Any = None,
    is_causal: bool = False,
    attn_logits_soft_cap: Any = None,
) -> Value:
    """[batch, steps, heads, depth] of each; what a mask hides gets no share."""
    only(build, {"attn_logits_soft_cap": (attn_logits_soft_cap, None)})
    factor = build.size(query, 3) ** -0.5 if scale is None else float(scale)
    scores = two(build, "Mul", build.add("Einsum", (query, key), {"equation": "btnh,bsnh->bnts", "N": 2}), factor)
    scores = scores if bias is None else two(build, "AddV2", scores, bias)
    hidden = build.number(-0.7 * float(np.finfo(np.float32).max), scores)
    if mask is not None:
        scores = build.add("SelectV2", (build.cast(tensor(build, mask), DType.BOOL), scores, hidden))
    if is_causal:
        build.bounded(build.size(query, 1) * build.size(key, 1))
        earlier = np.tril(np.ones((build.size(query, 1), build.size(key, 1)), bool))
        scores = build.add("SelectV2", (build.constant(earlier, DType.BOOL, "earlier"), scores, hidden))
    return build.add("Einsum", (build.add("Softmax", (scores,)), value), {"equation": "bnts,bsnh->btnh", "N": 2})


@operation("MultiHot")
def multi_hot(build: Builder, inputs: Value, num_classes: Any, axis: Any = -1, dtype: Any = None, sparse: bool = False) -> Value:
    """A vector with a 1 at the place of each number of a sample."""
    only(build, {"sparse": (sparse, False), "axis": (axis, -1)})
    kind = DType.FLOAT32 if dtype is None else element_type(build, dtype)
    on, off = build.constant(1, kind, "on"), build.constant(0, kind, "off")
    places = build.cast(inputs, DType.INT32)
    marks = build.add("OneHot", (places, build.constant(integer(build, num_classes)), on, off), {"axis": -1})
    return build.reduce("Max", marks, [1 if build.rank(inputs) > 1 else 0])


@operation("PSNR")
def signal_to_noise(build: Builder, x1: Value, x2: Value, max_val: float) -> Value:
    """In decibels."""
    beside = build.add("Square", (two(build, "Sub", x1, x2),))
    error = build.reduce("Mean", beside, range(build.rank(beside)))
    noise = two(build, "Mul", build.add("Log", (error,)), -10 / math.log(10))
    return two(build, "AddV2", noise, 20 * math.log10(max_val))


@operation("BinaryCrossentropy")
def binary_crossentropy(build: Builder, target: Value, output: Value, from_logits: bool = False) -> Value:
    """Element by element."""
    if from_logits:
        beside = build.add("Sub", (build.add("Relu", (output,)), build.add("Mul", (output, target))))
        size = build.add("Neg", (build.add("Abs", (output,)),))
        return build.add("AddV2", (beside, build.add("Log1p", (build.add("Exp", (size,)),))))
    low, high = build.number(1e-7, output), build.number(1 - 1e-7, output)
    share = build.add("Minimum", (build.add("Maximum", (output, low)), high))
    rest = [two(build, "Sub", 1.0, each) for each in (target, share)]
    terms = [build.add("Mul", (one, build.add("Log", (other,)))) for one, other in ((target, share), (rest[0], rest[1]))]
    return build.add("Neg", (build.add("AddV2", tuple(terms)),))


# -- images --------------------------------------------------------------------------------------------------------


@operation("Resize")
def resized(build: Builder, images: Value, size: Any, data_format: Any = None, **options: Any) -> Value:
    """To another height and width, as the layer does it."""
    height, width = integers(build, size)
    known = ("interpolation", "antialias", "crop_to_aspect_ratio", "pad_to_aspect_ratio", "fill_mode", "fill_value")
    if not set(options) <= set(known) or options.get("antialias"):
        raise build.unsupported(f"it is called with {', '.join(options)}"[:80], EXPORT)
    config = {"height": height, "width": width, **{key: value for key, value in options.items() if key != "antialias"}}
    single = build.rank(images) == 3
    images = build.expand(images, 0) if single else images
    made = _last(build, images, data_format, lambda x: as_layer(build, "Resizing", config, x))
    return build.squeeze(made, [0]) if single else made


@operation("RGBToGrayscale")
def grey(build: Builder, images: Value, data_format: Any = None) -> Value:
    """The lightness of colours."""
    weights = build.constant(np.asarray([0.2989, 0.587, 0.114], np.float32), DType.FLOAT32, "weights")

    def run(x: Value) -> Value:
        return build.reduce("Sum", build.add("Mul", (build.floating(x), weights)), [build.rank(x) - 1], keep=True)

    return _last(build, images, data_format, run)


@operation("RGBToHSV", "HSVToRGB")
def hues(build: Builder, images: Value, data_format: Any = None) -> Value:
    """Colours as hue, saturation and value, and back."""
    return _last(build, images, data_format, lambda x: build.add(build.layer.class_name, (x,)))


@operation("PadImages", "CropImages")
def framed(build: Builder, images: Value, data_format: Any = None, **given: Any) -> Value:
    """Zeros around images, or less of them: by what is added or left out, or by the size they shall have."""
    word = "padding" if build.layer.class_name == "PadImages" else "cropping"
    rank = build.rank(images)
    first = rank - 2 if data_format == "channels_first" else rank - 3
    bounds: dict[int, tuple[int, int]] = {}
    for axis, (before, after, whole) in enumerate((("top", "bottom", "height"), ("left", "right", "width")), first):
        size, wanted = build.size(images, axis), given.get(f"target_{whole}")
        one, other = (given.get(f"{side}_{word}") for side in (before, after))
        if wanted is not None:
            difference = abs(integer(build, wanted) - size)
            one = difference - integer(build, other) if one is None else one
            other = difference - integer(build, one)
        bounds[axis] = (integer(build, one), integer(build, other))
    if any(min(pair) < 0 for pair in bounds.values()):
        raise build.unsupported("its images are of another size than is asked for")
    return build.pad(images, bounds) if word == "padding" else build.cut(images, bounds)


@operation("ExtractPatches")
def patches(
    build: Builder,
    images: Value,
    size: Any,
    strides: Any = None,
    dilation_rate: Any = 1,
    padding: str = "valid",
    data_format: Any = None,
) -> Value:
    """Each window as channels."""
    only(build, {"data_format": (data_format, "channels_last")})
    lengths = _each(build, size, 2, "size")
    steps = lengths if strides is None else _each(build, strides, 2, "strides")
    rates = _each(build, dilation_rate, 2, "dilation_rate")
    attrs = {f"{key}s": (1, *value, 1) for key, value in (("ksize", lengths), ("stride", steps), ("rate", rates))}
    single = build.rank(images) == 3
    made = build.add("ExtractImagePatches", (build.expand(images, 0) if single else images,), {**attrs, "padding": padding.upper()})
    return build.squeeze(made, [0]) if single else made


@operation("GaussianBlur")
def blurred(build: Builder, images: Value, kernel_size: Any = (3, 3), sigma: Any = (1.0, 1.0), data_format: Any = None) -> Value:
    """Each channel by the bell curve."""
    lengths, widths = integers(build, kernel_size), array(build, list(sigma)).astype(np.float64)
    curves = []
    for length, width in zip(lengths, widths, strict=True):
        build.bounded(length, 1 << 10)
        curve = np.exp(-0.5 * ((np.arange(length) - (length - 1) / 2) / width) ** 2)
        curves.append(curve / curve.sum())
    # Keras takes the second width for the rows, though it takes the first length for them.
    bell = np.outer(curves[1], curves[0]).reshape(lengths[0], lengths[1], 1, 1)

    def run(x: Value) -> Value:
        kernel = build.constant(np.repeat(bell, build.size(x, 3), 2).astype(np.float32), x.dtype, "bell")
        return convolve(build, x, kernel, (1, 1), (1, 1), "same", depthwise=True)

    single = build.rank(images) == 3
    images = build.expand(images, 0) if single else images
    made = _last(build, images, data_format, run)
    return build.squeeze(made, [0]) if single else made


@operation("AffineTransform")
def affine(
    build: Builder,
    images: Value,
    transform: Any,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: Any = 0,
    data_format: Any = None,
) -> Value:
    """Places moved by eight numbers for each image."""
    moved = tensor(build, transform, DType.FLOAT32)
    if build.rank(images) != 4 or build.rank(moved) != 2:
        raise build.unsupported("it moves a single image", EXPORT)

    def run(x: Value) -> Value:
        size = build.vector(build.sizes(x)[1:3])
        attrs = {"interpolation": interpolation.upper(), "fill_mode": fill_mode.upper()}
        return build.add("ImageProjectiveTransformV3", (x, moved, size, build.constant(float(fill_value), DType.FLOAT32)), attrs)

    return _last(build, images, data_format, run)


def windows(length: int, step: int, count: int) -> Sequence[list[int]]:
    """Places of each window."""
    return [list(range(start, start + length)) for start in range(0, count - length + 1, step)]
