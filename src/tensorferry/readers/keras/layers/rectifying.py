"""Activations that are layers of their own."""

from __future__ import annotations

from collections.abc import Sequence

from tensorferry.ir import Value
from tensorferry.readers.keras.activations import softmax
from tensorferry.readers.keras.building import Builder
from tensorferry.readers.keras.description import Config
from tensorferry.readers.keras.layers.normalisation import axes_of
from tensorferry.readers.keras.registry import layer
from tensorferry.tensor import DType

_MASKED = -1e9
"""What Keras adds to the logits of places that a mask leaves out."""


@layer("ReLU", keeps_mask=True)
def relu(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """With a ceiling, a slope below, and a threshold other than 0."""
    value = inputs[0]
    top = config.number("max_value") if config.get("max_value") is not None else None
    slope, threshold = config.number("negative_slope", 0.0), config.number("threshold", 0.0)
    return rectified(build, value, top, slope, threshold)


def rectified(build: Builder, value: Value, top: float | None, slope: float, threshold: float) -> Value:
    """Keras' relu: the value from the threshold on, up to the top; below, slope * (value - threshold)."""
    if threshold:
        above = build.add("GreaterEqual", (value, build.number(threshold, value)))
        below = build.add("Mul", (build.add("Sub", (value, build.number(threshold, value))), build.number(slope, value)))
        made = build.add("SelectV2", (above, value, below))
        return made if top is None else build.add("Minimum", (made, build.number(top, value)))
    if slope:
        made = build.add("LeakyRelu", (value,), {"alpha": slope})
        return made if top is None else build.add("Minimum", (made, build.number(top, value)))
    if top is None:
        return build.add("Relu", (value,))
    return (
        build.add("Relu6", (value,)) if top == 6 else build.add("Minimum", (build.add("Relu", (value,)), build.number(top, value)))
    )


@layer("LeakyReLU", keeps_mask=True)
def leaky_relu(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Keras 2 calls the slope alpha."""
    return build.add("LeakyRelu", (inputs[0],), {"alpha": config.number("negative_slope", config.number("alpha", 0.3))})


@layer("PReLU", weights=["alpha"], keeps_mask=True)
def prelu(build: Builder, _config: Config, inputs: Sequence[Value]) -> Value:
    """A slope below zero for each place, or for each channel."""
    value = inputs[0]
    below = build.add("Relu", (build.add("Neg", (value,)),))
    slope = build.add("Neg", (build.weight("alpha"),))
    return build.add("AddV2", (build.add("Relu", (value,)), build.add("Mul", (slope, below))))


@layer("ELU", keeps_mask=True)
def elu(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """alpha * (exp(x) - 1) below zero."""
    value, alpha = inputs[0], config.number("alpha", 1.0)
    made = build.add("Elu", (value,))
    if alpha == 1:
        return made
    positive = build.add("Greater", (value, build.number(0.0, value)))
    return build.add("SelectV2", (positive, made, build.add("Mul", (made, build.number(alpha, value)))))


@layer("ThresholdedReLU", keeps_mask=True)
def thresholded(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """The value above theta, else 0."""
    value = inputs[0]
    above = build.add("Greater", (value, build.number(config.number("theta", 1.0), value)))
    return build.add("Mul", (value, build.cast(above, value.dtype)))


@layer("Softmax", keeps_mask=True)
def softmax_layer(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Over one axis or several; places that a mask leaves out take no part."""
    value = inputs[0]
    mask = build.given_mask(value, among_inputs=True)
    if mask is not None:
        if mask.dtype is not DType.BOOL:
            mask = build.add("Greater", (mask, build.number(0.5, mask)))
        left_out = build.cast(build.add("LogicalNot", (mask,)), value.dtype)
        value = build.add("AddV2", (value, build.add("Mul", (left_out, build.number(_MASKED, value)))))
    axes = axes_of(build, config, value)
    if len(axes) == 1:
        return softmax(build, value, axes[0])
    raised = build.add("Exp", (build.add("Sub", (value, build.reduce("Max", value, axes, keep=True))),))
    return build.add("RealDiv", (raised, build.reduce("Sum", raised, axes, keep=True)))
