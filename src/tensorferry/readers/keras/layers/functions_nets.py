"""TensorFlow's functions on Keras tensors that nets are made of: convolutions, pooling, normalisation, images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder
from tensorferry.readers.keras.description import EXPORT
from tensorferry.readers.keras.layers.arguments import integer, integers, only, tensor, vector
from tensorferry.readers.keras.layers.convolution import convolve
from tensorferry.readers.keras.layers.functions import function
from tensorferry.readers.keras.layers.resizing import resize
from tensorferry.readers.keras.layers.shaping import repeat
from tensorferry.tensor import DType

_LAST = {"NHWC", "NWC", "NDHWC", None}


def _inner(build: Builder, given: Any, rank: int) -> tuple[int, ...]:
    """A number for each axis of places: from one number, one for each, or one for each axis of the tensor."""
    listed = [1] if given is None else integers(build, given)
    if len(listed) == rank + 2:
        listed = listed[1:-1]
    if len(listed) not in (1, rank):
        raise build.unsupported(f"its window {given} has {len(listed)} sizes")
    return tuple(listed * rank if len(listed) == 1 else listed)


def _window(build: Builder, data_format: Any, padding: Any) -> str:
    if data_format not in _LAST:
        raise build.unsupported(f"its data_format is {data_format}", "build it with channels last")
    if not isinstance(padding, str) or padding.upper() not in ("SAME", "VALID"):
        raise build.unsupported("its padding is given as numbers", EXPORT)
    return padding.lower()


@function("conv1d", "conv2d", "conv3d", "convolution", "atrous_conv2d")
def convolution(
    build: Builder,
    input: Value,
    filters: Any = None,
    strides: Any = None,
    padding: Any = "VALID",
    data_format: Any = None,
    dilations: Any = None,
    **more: Any,
) -> Value:
    """Channels last; the kernel is a constant of the config, or another tensor."""
    known = {key: more.pop(key, None) for key in ("filter", "stride", "rate", "use_cudnn_on_gpu", "value")}
    if any(value is not None for value in more.values()):
        raise build.unsupported(f"it is called with {', '.join(more)}", EXPORT)
    kernel = tensor(build, known["filter"] if filters is None else filters, input.dtype)
    rank = build.rank(input) - 2
    strides, rate = (strides if strides is not None else known["stride"]), (dilations if dilations is not None else known["rate"])
    way = _window(build, data_format, padding)
    return convolve(build, input, kernel, _inner(build, strides, rank), _inner(build, rate, rank), way)


@function("depthwise_conv2d")
def depthwise(
    build: Builder,
    input: Value,
    filter: Any,
    strides: Any,
    padding: Any,
    data_format: Any = None,
    dilations: Any = None,
    rate: Any = None,
) -> Value:
    """A kernel for each channel."""
    kernel = tensor(build, filter, input.dtype)
    rates = _inner(build, dilations if dilations is not None else rate, 2)
    way = _window(build, data_format, padding)
    return convolve(build, input, kernel, _inner(build, strides, 2), rates, way, depthwise=True)


@function(*(f"{kind}_pool{rank}" for kind in ("max", "avg") for rank in ("", "1d", "2d", "3d")))
def pooling(
    build: Builder,
    input: Value,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: Any = None,
) -> Value:
    """The largest, or the mean, of each window."""
    way = _window(build, data_format, padding).upper()
    rank = build.rank(input) - 2
    sizes, steps = _inner(build, ksize, rank), _inner(build, strides, rank)
    op = ("MaxPool" if ".max_pool" in build.layer.kind else "AvgPool") + ("3D" if rank == 3 else "")
    if rank == 1:
        input, sizes, steps = build.expand(input, 2), (*sizes, 1), (*steps, 1)
    made = build.add(op, (input,), {"padding": way, "ksize": (1, *sizes, 1), "strides": (1, *steps, 1)})
    return build.squeeze(made, [2]) if rank == 1 else made


@function("bias_add")
def bias_add(build: Builder, value: Value, bias: Any, data_format: Any = None) -> Value:
    """A number for each channel."""
    if data_format not in _LAST:
        raise build.unsupported(f"its data_format is {data_format}", "build it with channels last")
    return build.add("BiasAdd", (value, tensor(build, bias, value.dtype)))


@function("batch_normalization")
def batch_normalization(
    build: Builder, x: Value, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: Any
) -> Value:
    """By a mean and a variance that are given."""
    spread = tensor(build, variance, x.dtype)
    factor = build.add("Rsqrt", (build.add("AddV2", (spread, build.number(variance_epsilon, x))),))
    if scale is not None:
        factor = build.add("Mul", (factor, tensor(build, scale, x.dtype)))
    shift = build.add("Mul", (tensor(build, mean, x.dtype), factor))
    start = build.add("Sub", (tensor(build, offset, x.dtype), shift)) if offset is not None else build.add("Neg", (shift,))
    return build.add("AddV2", (build.add("Mul", (x, factor)), start))


@function("local_response_normalization", "lrn")
def local_response(
    build: Builder,
    input: Value,
    depth_radius: int = 5,
    bias: float = 1,
    alpha: float = 1,
    beta: float = 0.5,
) -> Value:
    """By the squares of the neighbouring channels."""
    attrs = {"depth_radius": integer(build, depth_radius), "bias": float(bias), "alpha": float(alpha), "beta": float(beta)}
    return build.add("LRN", (input,), attrs)


@function("space_to_depth", "depth_to_space")
def blocks(build: Builder, input: Value, block_size: Any, data_format: Any = None) -> Value:
    """Blocks of places to channels, and back."""
    _window(build, data_format, "VALID")
    op = "SpaceToDepth" if build.layer.kind.endswith("space_to_depth") else "DepthToSpace"
    return build.add(op, (input,), {"block_size": integer(build, block_size)})


@function("dropout")
def dropout(_build: Builder, x: Value, *_args: Any, **_kwargs: Any) -> Value:
    """What only acts in training."""
    return x


@function("crelu")
def crelu(build: Builder, features: Value, axis: Any = -1) -> Value:
    """What lies above 0, beside what lies below."""
    both = build.concat([features, build.add("Neg", (features,))], build.axis(features, integer(build, axis)))
    return build.add("Relu", (both,))


@function("quantization.fake_quant_with_min_max_vars", "quantization.fake_quant_with_min_max_args")
def fake_quant(
    build: Builder,
    inputs: Value,
    min: Any = -6,
    max: Any = 6,
    num_bits: Any = 8,
    narrow_range: bool = False,
) -> Value:
    """Rounded to one of the steps between two numbers."""
    ends = [tensor(build, each, DType.FLOAT32) for each in (min, max)]
    attrs = {"num_bits": integer(build, num_bits), "narrow_range": bool(narrow_range)}
    return build.add("FakeQuantWithMinMaxVars", (inputs, *ends), attrs)


# -- images --------------------------------------------------------------------------------------------------------

_METHODS = ("bilinear", "nearest", "bicubic", "area")
"""In the order of TensorFlow 1's numbers."""


@function("image.resize")
def resize_image(
    build: Builder, images: Value, size: Any, method: Any = "bilinear", preserve_aspect_ratio: bool = False, antialias: bool = False
) -> Value:
    """To another height and width; what is no float is one then, but by the nearest."""
    only(build, {"preserve_aspect_ratio": (preserve_aspect_ratio, False)})
    name = method if isinstance(method, str) else _METHODS[integer(build, method)]
    return _resized(build, images, size, name, bool(antialias), False)


def _resized(build: Builder, images: Value, size: Any, method: str, antialias: bool, from_corners: bool) -> Value:
    single = build.rank(images) == 3
    image = build.expand(images, 0) if single else images
    if method != "nearest":
        image = build.cast(image, DType.FLOAT32)
    if isinstance(size, Value):
        sizes: Sequence[Any] = [build.item(size, 0), build.item(size, 1)]
    else:
        sizes = [each if isinstance(each, Value) else integer(build, each) for each in size]
    made = resize(build, image, sizes, method, antialias=antialias, from_corners=from_corners)
    return build.squeeze(made, [0]) if single else made


@function("compat.v1.image.resize", "compat.v1.image.resize_images", *(f"compat.v1.image.resize_{each}" for each in _METHODS))
def resize_of_old(
    build: Builder,
    images: Value,
    size: Any,
    method: Any = 0,
    align_corners: Any = False,
    preserve_aspect_ratio: Any = False,
    half_pixel_centers: Any = False,
) -> Value:
    """As TensorFlow 1 did it, which counts places from the corner."""
    last = build.layer.kind.rpartition("resize")[2].lstrip("_")
    name = method if isinstance(method, str) else last if last in _METHODS else _METHODS[integer(build, method)]
    only(build, {"align_corners": (align_corners, False), "preserve_aspect_ratio": (preserve_aspect_ratio, False)})
    return _resized(build, images, size, name, False, not half_pixel_centers)


@function("image.resize_nearest_neighbor")
def resize_nearest(build: Builder, images: Value, size: Any) -> Value:
    """By the nearest."""
    return _resized(build, images, size, "nearest", False, False)


@function("image.rgb_to_grayscale")
def grey(build: Builder, images: Value) -> Value:
    """The lightness of colours."""
    if not images.dtype.is_float:
        raise build.unsupported("it makes whole numbers grey", EXPORT)
    weights = build.constant(np.asarray([0.2989, 0.587, 0.114], np.float32), images.dtype)
    return build.reduce("Sum", build.add("Mul", (images, weights)), [build.rank(images) - 1], keep=True)


@function("image.grayscale_to_rgb")
def coloured(build: Builder, images: Value) -> Value:
    """One channel three times."""
    return repeat(build, images, build.rank(images) - 1, 3)


@function("image.flip_left_right", "image.flip_up_down")
def flip(build: Builder, image: Value) -> Value:
    """From the other end."""
    axis = build.rank(image) - (2 if build.layer.kind.endswith("right") else 3)
    return build.add("ReverseV2", (image, build.constant([axis], name="axis")))


@function("image.crop_to_bounding_box")
def crop(build: Builder, image: Value, offset_height: Any, offset_width: Any, target_height: Any, target_width: Any) -> Value:
    """A part of each image."""
    single = build.rank(image) == 3
    begin = [0, offset_height, offset_width, 0][single:]
    size = [-1, target_height, target_width, -1][single:]
    return build.add("Slice", (image, vector(build, begin), vector(build, size)))


@function("image.adjust_brightness")
def brightness(build: Builder, image: Value, delta: Any) -> Value:
    """As much lighter everywhere."""
    return build.add("AddV2", (image, build.number(delta, image)))


@function("image.adjust_contrast")
def contrast(build: Builder, images: Value, contrast_factor: Any) -> Value:
    """Further from the mean of each channel."""
    return build.add("AdjustContrastv2", (images, build.constant(contrast_factor, DType.FLOAT32)))


@function("image.per_image_standardization")
def standardised(build: Builder, image: Value) -> Value:
    """Mean 0 and deviation 1 of each image, which is not below 1 / sqrt(elements)."""
    value, rank = build.cast(image, DType.FLOAT32), build.rank(image)
    over = list(range(rank - 3, rank))
    count = float(np.prod([build.size(image, axis) for axis in over]))
    mean = build.reduce("Mean", value, over, keep=True)
    beside = build.add("Sub", (value, mean))
    spread = build.add("Sqrt", (build.reduce("Mean", build.add("Square", (beside,)), over, keep=True),))
    return build.add("RealDiv", (beside, build.add("Maximum", (spread, build.number(count**-0.5, value)))))


@function("image.rgb_to_hsv", "image.hsv_to_rgb")
def hues(build: Builder, images: Value) -> Value:
    """Colours as hue, saturation and value, and back."""
    return build.add("RGBToHSV" if build.layer.kind.endswith("to_hsv") else "HSVToRGB", (images,))
