"""Activation functions by Keras' names: the one table of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from tensorferry.errors import SourceError
from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder

Activation = Callable[[Builder, Value], Value]


def op(name: str, **attrs: Any) -> Activation:
    """One that is an op of its own."""
    return lambda build, value: build.add(name, (value,), attrs)


def softmax(build: Builder, value: Value, axis: int = -1) -> Value:
    """Over one axis, which is moved to the end where it is another."""
    rank = build.rank(value)
    if build.axis(value, axis) == rank - 1:
        return build.add("Softmax", (value,))
    order = [each for each in range(rank) if each != build.axis(value, axis)] + [build.axis(value, axis)]
    turned = build.add("Softmax", (build.transpose(value, order),))
    return build.transpose(turned, [order.index(each) for each in range(rank)])


def hard_sigmoid(build: Builder, value: Value) -> Value:
    """Of Keras 1 and 2: 0.2 x + 0.5 between 0 and 1."""
    scaled = build.add("Mul", (value, build.number(0.2, value)))
    return clip(build, build.add("AddV2", (scaled, build.number(0.5, value))), 0.0, 1.0)


def hard_sigmoid3(build: Builder, value: Value) -> Value:
    """Of Keras 3: relu6(x + 3) / 6."""
    lifted = build.add("Relu6", (build.add("AddV2", (value, build.number(3.0, value))),))
    return build.add("Mul", (lifted, build.number(1 / 6, value)))


def clip(build: Builder, value: Value, low: float, high: float) -> Value:
    """Between two numbers."""
    return build.add("Minimum", (build.add("Maximum", (value, build.number(low, value))), build.number(high, value)))


def gelu(build: Builder, value: Value, approximate: bool = False) -> Value:
    """x times the normal distribution's share below x; `approximate` with a tanh."""
    if approximate:
        cube = build.add("Mul", (value, build.add("Mul", (value, value))))
        inner = build.add("AddV2", (value, build.add("Mul", (cube, build.number(0.044715, value)))))
        curve = build.add("Tanh", (build.add("Mul", (inner, build.number(math.sqrt(2 / math.pi), value))),))
    else:
        curve = build.add("Erf", (build.add("Mul", (value, build.number(1 / math.sqrt(2), value))),))
    half = build.add("Mul", (value, build.number(0.5, value)))
    return build.add("Mul", (half, build.add("AddV2", (curve, build.number(1.0, value)))))


def swish(build: Builder, value: Value) -> Value:
    return build.add("Mul", (value, build.add("Sigmoid", (value,))))


TABLE: dict[str, Activation] = {
    "linear": lambda _build, value: value,
    "relu": op("Relu"),
    "relu6": op("Relu6"),
    "elu": op("Elu"),
    "selu": op("Selu"),
    "sigmoid": op("Sigmoid"),
    "tanh": op("Tanh"),
    "softplus": op("Softplus"),
    "softsign": op("Softsign"),
    "exponential": op("Exp"),
    "softmax": softmax,
    "swish": swish,
    "silu": swish,
    "gelu": gelu,
    "leaky_relu": op("LeakyRelu", alpha=0.2),
}
"""Name -> function; those that differ between releases are chosen in `activate`."""


def activate(build: Builder, value: Value, given: Any) -> Value:
    """The value behind an activation as a config names it: a name, None, or an object with a config."""
    name, options = _name_and_options(build, given)
    if name == "hard_sigmoid":
        return (hard_sigmoid3 if build.layer.release == 3 else hard_sigmoid)(build, value)
    if name in TABLE:
        return TABLE[name](build, value, **options) if options else TABLE[name](build, value)
    raise build.unsupported(f"the activation '{name}' is not known", "export a SavedModel from the code that defines it")


def _name_and_options(build: Builder, given: Any) -> tuple[str, Mapping[str, Any]]:
    if given is None:
        return "linear", {}
    if isinstance(given, str):
        return given, {}
    if isinstance(given, Mapping) and isinstance(given.get("class_name"), str):
        config = given.get("config")
        if given["class_name"] == "function" and isinstance(config, str):
            return config, {}
        return given["class_name"], {}
    raise SourceError(f"the activation of layer '{build.layer.name}' is not as Keras writes it", why=repr(given)[:80])
