"""Layers that only Keras 1 has: Highway, MaxoutDense, ParametricSoftplus, SReLU."""

from __future__ import annotations

from collections.abc import Sequence

from tensorferry.errors import SourceError
from tensorferry.ir import Value
from tensorferry.readers.keras.activations import activate
from tensorferry.readers.keras.building import Builder
from tensorferry.readers.keras.description import Config, Layer
from tensorferry.readers.keras.layers.operations import two
from tensorferry.readers.keras.registry import Tensors, layer


def _fill_highway(owner: Layer, own: Tensors, _inside: Tensors | None) -> None:
    """By name: releases differ in the order."""
    roles = ["W", "W_carry"] + (["b", "b_carry"] if owner.config.flag("use_bias", True) else [])
    named = {name.removeprefix(f"{owner.name}_"): tensor for name, tensor in own.items()}
    if set(named) != set(roles):
        raise SourceError(
            f"the weights in the file do not fit the layer '{owner.name}'", why=f"the file has {', '.join(own)[:100]}"
        )
    owner.weights.update(named)


@layer("Highway", fill=_fill_highway)
def highway(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """A share of what a layer makes of the input, and the rest of the input itself."""
    x = build.floating(inputs[0])

    def product(suffix: str) -> Value:
        made = build.add("MatMul", (x, build.weight(f"W{suffix}")))
        return build.add("BiasAdd", (made, build.weight(f"b{suffix}"))) if build.has(f"b{suffix}") else made

    share = build.add("Sigmoid", (product("_carry"),))
    made = build.add("Mul", (activate(build, product(""), config.get("activation")), share))
    return build.add("AddV2", (made, build.add("Mul", (two(build, "Sub", 1.0, share), x))))


@layer("MaxoutDense", weights=lambda config: ["W", "b"] if config.flag("use_bias", True) else ["W"])
def maxout(build: Builder, _config: Config, inputs: Sequence[Value]) -> Value:
    """The largest of several products; W is [products, in, out]."""
    made = build.add("Einsum", (build.floating(inputs[0]), build.weight("W")), {"equation": "ni,kio->nko", "N": 2})
    made = build.add("AddV2", (made, build.weight("b"))) if build.has("b") else made
    return build.reduce("Max", made, [1])


@layer("ParametricSoftplus", weights=["alpha", "beta"], keeps_mask=True)
def parametric_softplus(build: Builder, _config: Config, inputs: Sequence[Value]) -> Value:
    """alpha times the softplus of beta x."""
    curve = build.add("Softplus", (build.add("Mul", (build.floating(inputs[0]), build.weight("beta"))),))
    return build.add("Mul", (curve, build.weight("alpha")))


@layer("SReLU", weights=["t_left", "a_left", "t_right", "a_right"], keeps_mask=True)
def s_shaped(build: Builder, _config: Config, inputs: Sequence[Value]) -> Value:
    """The value between two thresholds; slopes of their own below the first and above the second, which is so far above it."""
    x, low = build.floating(inputs[0]), build.weight("t_left")
    reach = build.add("Abs", (build.weight("t_right"),))
    high = build.add("AddV2", (low, reach))
    beside = build.add("Sub", (x, low))
    below = build.add("Mul", (build.weight("a_left"), build.add("Minimum", (beside, build.number(0.0, x)))))
    between = build.add("Minimum", (build.add("Relu", (beside,)), reach))
    above = build.add("Mul", (build.weight("a_right"), build.add("Relu", (build.add("Sub", (x, high)),))))
    parts = [low, below, between, above]
    total = parts[0]
    for part in parts[1:]:
        total = build.add("AddV2", (total, part))
    return total
