"""Convolutions: plain, transposed, depthwise, separable, and those whose kernel differs from place to place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorferry.errors import SourceError
from tensorferry.ir import Value
from tensorferry.readers.keras.activations import activate
from tensorferry.readers.keras.building import Builder, Size
from tensorferry.readers.keras.description import Config
from tensorferry.readers.keras.layers.core import kernel_and_bias
from tensorferry.readers.keras.registry import layer
from tensorferry.tensor import ArrayTensor, ReshapedTensor, Tensor, TransposedTensor

_PADDINGS = ("valid", "same", "causal")


def separable_weights(config: Config) -> list[str]:
    """Two kernels, and a bias behind."""
    return ["depthwise_kernel", "pointwise_kernel", *(["bias"] if config.flag("use_bias", True) else [])]


def depthwise_weights(config: Config) -> list[str]:
    """The kernel is named after the layer."""
    return ["depthwise_kernel", *(["bias"] if config.flag("use_bias", True) else [])]


def finish(build: Builder, config: Config, value: Value) -> Value:
    """Bias and activation, channels where they were."""
    if build.has("bias"):
        value = build.add("BiasAdd", (value, build.weight("bias")))
    return activate(build, build.as_before(value), config.get("activation"))


def window(config: Config, rank: int) -> tuple[tuple[int, ...], tuple[int, ...], str]:
    """Strides, dilations and padding."""
    return (
        config.integers("strides", rank, default=1),
        config.integers("dilation_rate", rank, default=1),
        config.text("padding", "valid", among=_PADDINGS),
    )


def kernel_of(build: Builder, rank: int, role: str = "kernel") -> Value:
    """The kernel as Keras 2 keeps it: places, incoming channels, outgoing channels."""
    tensor = build.tensor(role)
    order = None
    if build.layer.release == 1 and len(tensor.shape) == 4 and rank == 1:
        return build.weight(role, lambda each: _without_width(build, each), "/squeezed")
    if build.layer.release == 1 and build.is_first and rank > 1:
        build.notice(
            "the file is of Keras 1 with channels first and does not say by what it was computed: "
            "kernels that were trained by Theano are turned round, and would have to be turned (convert_all_kernels_in_model)"
        )
        order = [*range(2, rank + 2), 1, 0]
    if build.layer.release == 1 and build.layer.class_name == "Conv2DTranspose":
        order = [2, 3, 0, 1] if build.is_first else [0, 1, 3, 2]
    if len(tensor.shape) != rank + 2:
        raise build.unsupported(f"its {role} has {len(tensor.shape)} axes, not {rank + 2}")
    return build.weight(role) if order is None else build.weight(role, lambda each: TransposedTensor(each, order), "/turned")


def _without_width(build: Builder, tensor: Tensor) -> Tensor:
    """Keras 1 kept the kernel of a Conv1D with a width of 1, in either of two orders."""
    length = build.config.integers("kernel_size", 1)[0]
    if tensor.shape[:2] == (length, 1):
        return ReshapedTensor(tensor, (length, *tensor.shape[2:]))
    turned = TransposedTensor(tensor, [2, 3, 1, 0])
    return ReshapedTensor(turned, (turned.shape[0], *turned.shape[2:]))


# -- plain ---------------------------------------------------------------------------------------------------------


@layer("Conv1D", "Conv2D", "Conv3D", weights=kernel_and_bias, keeps_mask=True)
def convolution(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Channels last within; groups show in the kernel's shape."""
    rank = int(build.layer.class_name[4])
    value = build.channels_last(build.floating(inputs[0]))
    if build.rank(value) != rank + 2:
        raise build.unsupported(f"its input has {build.rank(value)} axes, not {rank + 2}")
    return finish(build, config, convolve(build, value, kernel_of(build, rank), *window(config, rank)))


def convolve(
    build: Builder,
    value: Value,
    kernel: Value,
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: str,
    depthwise: bool = False,
) -> Value:
    """A convolution over 1 to 3 axes, channels last."""
    rank = len(strides)
    if padding == "causal":
        length = (build.size(kernel, 0) - 1) * dilations[0]
        value, padding = build.pad(value, {1: (length, 0)}), "valid"
    attrs: dict[str, Any] = {"padding": padding.upper()}
    if rank == 3:
        return build.add("Conv3D", (value, kernel), {**attrs, "strides": (1, *strides, 1), "dilations": (1, *dilations, 1)})
    flat = rank == 1
    if flat:  # one axis is two of which the first is 1
        value, kernel = build.expand(value, 1), build.expand(kernel, 0)
        strides, dilations = (strides[0] if depthwise else 1, *strides), (1, *dilations)
    attrs |= {"strides": (1, *strides, 1), "dilations": (1, *dilations, 1)}
    value = build.add("DepthwiseConv2dNative" if depthwise else "Conv2D", (value, kernel), attrs)
    return build.squeeze(value, [1]) if flat else value


@layer("DepthwiseConv1D", "DepthwiseConv2D", weights=depthwise_weights, keeps_mask=True)
def depthwise(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """One kernel for each channel."""
    rank = int(build.layer.class_name[-2])
    value = build.channels_last(build.floating(inputs[0]))
    return finish(build, config, convolve(build, value, build.weight("depthwise_kernel"), *window(config, rank), depthwise=True))


@layer("SeparableConv1D", "SeparableConv2D", weights=separable_weights, keeps_mask=True)
def separable(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """A depthwise convolution, then one of single places."""
    rank = int(build.layer.class_name[-2])
    value = build.channels_last(build.floating(inputs[0]))
    kernels = [kernel_of(build, rank, role) for role in ("depthwise_kernel", "pointwise_kernel")]
    value = convolve(build, value, kernels[0], *window(config, rank), depthwise=True)
    return finish(build, config, convolve(build, value, kernels[1], [1] * rank, [1] * rank, "valid"))


# -- transposed ----------------------------------------------------------------------------------------------------


@layer("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", weights=kernel_and_bias, keeps_mask=True)
def transposed(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """The gradient of a convolution, as a layer."""
    rank = int(build.layer.class_name[4])
    value = build.channels_last(build.floating(inputs[0]))
    strides, dilations, padding = window(config, rank)
    given = config.get("output_padding")
    more = None if given is None else config.integers("output_padding", rank)
    kernel = kernel_of(build, rank)
    if max(dilations) > 1:
        kernel = build.weight("kernel", lambda each: dilated(each, dilations), "/dilated")
    reach = build.shape(kernel)[:rank]
    sizes = build.sizes(value)
    wanted = [
        spread(build, size, int(length), stride, padding, None if more is None else more[axis])
        for axis, (size, length, stride) in enumerate(zip(sizes[1:-1], reach, strides, strict=True))
    ]
    if build.layer.release == 1 and rank == 2:
        wanted = _said_size(build, config, wanted)
    shape: list[Size] = [sizes[0], *wanted, build.size(kernel, rank)]
    attrs: dict[str, Any] = {"padding": padding.upper()}
    if rank == 3:
        made = build.add("Conv3DBackpropInputV2", (build.vector(shape), kernel, value), {**attrs, "strides": (1, *strides, 1)})
        return finish(build, config, made)
    if rank == 1:
        value, kernel, shape, strides = build.expand(value, 1), build.expand(kernel, 0), [shape[0], 1, *shape[1:]], (1, *strides)
    made = build.add("Conv2DBackpropInput", (build.vector(shape), kernel, value), {**attrs, "strides": (1, *strides, 1)})
    return finish(build, config, build.squeeze(made, [1]) if rank == 1 else made)


def _said_size(build: Builder, config: Config, found: list[Size]) -> list[Size]:
    """Keras 1 is told how large a transposed convolution's result is, where several sizes would do."""
    given = config.get("output_shape")
    if not isinstance(given, list) or len(given) != 4:
        return found
    said = given[2:4] if build.is_first else given[1:3]
    return [size if each is None else each for each, size in zip(said, found, strict=True)]


def spread(build: Builder, size: Size, length: int, stride: int, padding: str, more: int | None) -> Size:
    """How many places a transposed convolution gives."""
    if more is None:
        return build.plus(build.times(size, stride), max(length - stride, 0) if padding == "valid" else 0)
    before = 2 * (length // 2) if padding == "same" else 0
    return build.plus(build.times(build.plus(size, -1), stride), length - before + more)


_MOST_DILATED = 1 << 28
"""Elements of a kernel between whose places zeros are put."""


def dilated(kernel: Tensor, dilations: Sequence[int]) -> Tensor:
    """The kernel with zeros between its places, which convolves as a dilated one does."""
    array = kernel.array()
    places = [(size - 1) * rate + 1 for size, rate in zip(array.shape, dilations, strict=False)]
    if min(dilations) < 1 or math.prod((*places, *array.shape[len(places) :])) > _MOST_DILATED:
        raise SourceError(f"a kernel of {list(array.shape)} cannot be dilated by {list(dilations)}", why="it would be too large")
    full = np.zeros([*places, *array.shape[len(places) :]], array.dtype)
    full[tuple(slice(None, None, rate) for rate in dilations)] = array
    return ArrayTensor(full)


# -- unshared ------------------------------------------------------------------------------------------------------


@layer("LocallyConnected1D", "LocallyConnected2D", weights=kernel_and_bias, keeps_mask=True)
def locally_connected(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """A product of its own for each place: of the patch there with the kernel of that place."""
    rank = int(build.layer.class_name[-2])
    if config.integer("implementation", 1) != 1:
        raise build.unsupported("its weights are kept as one large matrix (implementation 2 or 3)", "save it with implementation=1")
    value = build.channels_last(build.floating(inputs[0]))
    lengths, strides = config.integers("kernel_size", rank), config.integers("strides", rank, default=1)
    padding = config.text("padding", "valid", among=("valid",))
    if rank == 1:
        value, lengths, strides = build.expand(value, 1), (1, *lengths), (1, *strides)
    patches = build.add(
        "ExtractImagePatches",
        (value,),
        {"ksizes": (1, *lengths, 1), "strides": (1, *strides, 1), "rates": (1, 1, 1, 1), "padding": padding.upper()},
    )
    channels = build.size(value, 3)
    rows, columns = build.size(patches, 1), build.size(patches, 2)
    count, inner = rows * columns, math.prod(lengths) * channels

    def by_place(tensor: Tensor) -> Tensor:
        """Places, then the patch in the order of the patches here."""
        kernel = ReshapedTensor(tensor, (count, inner, tensor.size // (count * inner)))
        if not build.is_first:
            return kernel
        apart = ReshapedTensor(kernel, (count, channels, math.prod(lengths), kernel.shape[2]))
        return ReshapedTensor(TransposedTensor(apart, [0, 2, 1, 3]), kernel.shape)

    kernel = build.weight("kernel", by_place, "/by_place")
    flat = build.transpose(build.reshape(patches, [-1, count, inner]), [1, 0, 2])
    value = build.transpose(build.add("BatchMatMulV2", (flat, kernel)), [1, 0, 2])
    filters = build.size(kernel, 2)
    value = build.reshape(value, [-1, *([count] if rank == 1 else [rows, columns]), filters])
    if build.has("bias"):
        value = build.add("AddV2", (value, build.weight("bias", lambda each: _bias_by_place(build, each, value), "/by_place")))
    return activate(build, build.as_before(value), config.get("activation"))


def _bias_by_place(build: Builder, bias: Tensor, value: Value) -> Tensor:
    """One bias for each place and filter, channels last."""
    shape = tuple(int(dim) for dim in build.shape(value)[1:])
    if bias.size != math.prod(shape):
        return bias
    if not build.is_first:
        return ReshapedTensor(bias, shape)
    moved = ReshapedTensor(bias, (shape[-1], *shape[:-1]))  # Keras reads it so, though it is kept channels last
    return TransposedTensor(moved, [*range(1, len(shape)), 0])
