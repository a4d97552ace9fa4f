"""Dense, Activation, and layers that do nothing once a model is trained."""

from __future__ import annotations

from collections.abc import Sequence

from tensorferry.ir import Value
from tensorferry.readers.keras.activations import activate
from tensorferry.readers.keras.building import Builder
from tensorferry.readers.keras.description import Config
from tensorferry.readers.keras.registry import layer


def kernel_and_bias(config: Config) -> list[str]:
    """The weights of most layers."""
    return ["kernel", "bias"] if config.flag("use_bias", True) else ["kernel"]


@layer("Dense", weights=kernel_and_bias, keeps_mask=True)
def dense(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """A product over the last axis."""
    value = build.floating(inputs[0])
    kernel = build.weight("kernel")
    op = "MatMul" if build.rank(value) == 2 else "BatchMatMulV2"
    value = build.add(op, (value, kernel), name="MatMul")
    if build.has("bias"):
        value = build.add("BiasAdd", (value, build.weight("bias")))
    return activate(build, value, config.get("activation"))


@layer("Activation", keeps_mask=True)
def activation(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """A function of its own."""
    return activate(build, inputs[0], config.get("activation"))


@layer(
    "Dropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "AlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
    "ActivityRegularization",
    "Identity",
    keeps_mask=True,
)
def identity(_build: Builder, _config: Config, inputs: Sequence[Value]) -> Value:
    """What only acts in training."""
    return inputs[0]


def _einsum_weights(config: Config) -> list[str]:
    return ["kernel", "bias"] if config.get("bias_axes") is not None else ["kernel"]


@layer("EinsumDense", weights=_einsum_weights)
def einsum_dense(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """A product as an equation tells; the bias is kept in a shape that spreads over the result."""
    attrs = {"equation": config.text("equation").replace(" ", "")}
    value = build.add("Einsum", (build.floating(inputs[0]), build.weight("kernel")), attrs)
    if build.has("bias"):
        value = build.add("AddV2", (value, build.weight("bias")))
    return activate(build, value, config.get("activation"))


@layer("LayerScale", weights=["gamma"])
def layer_scale(build: Builder, _config: Config, inputs: Sequence[Value]) -> Value:
    """A factor for each channel, as ConvNeXt has it."""
    return build.add("Mul", (build.floating(inputs[0]), build.weight("gamma")))
