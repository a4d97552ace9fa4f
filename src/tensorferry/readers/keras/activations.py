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


def times_own(inner: Activation) -> Activation:
    """x times a function of x."""
    return lambda build, value: build.add("Mul", (value, inner(build, value)))


def mish(build: Builder, value: Value) -> Value:
    """x tanh(softplus(x))."""
    return build.add("Mul", (value, build.add("Tanh", (build.add("Softplus", (value,)),))))


def log_sigmoid(build: Builder, value: Value) -> Value:
    """-softplus(-x)."""
    return build.add("Neg", (build.add("Softplus", (build.add("Neg", (value,)),)),))


def celu(build: Builder, value: Value, alpha: float = 1.0) -> Value:
    """max(0, x) + min(0, alpha (exp(x / alpha) - 1))."""
    below = build.add("Minimum", (value, build.number(0.0, value)))
    grown = build.add("Expm1", (build.add("Mul", (below, build.number(1 / alpha, value))),))
    return build.add("AddV2", (build.add("Relu", (value,)), build.add("Mul", (grown, build.number(alpha, value)))))


def glu(build: Builder, value: Value, axis: int = -1) -> Value:
    """The first half of an axis times the sigmoid of the second."""
    axis = build.axis(value, axis)
    first, second = build.add_all("Split", (build.constant(axis, name="axis"), value), {"num_split": 2})
    return build.add("Mul", (first, build.add("Sigmoid", (second,))))


def squareplus(build: Builder, value: Value, b: float = 4.0) -> Value:
    """(x + sqrt(x^2 + b)) / 2."""
    root = build.add("Sqrt", (build.add("AddV2", (build.add("Square", (value,)), build.number(b, value))),))
    return build.add("Mul", (build.add("AddV2", (value, root)), build.number(0.5, value)))


def outside(build: Builder, value: Value, bound: float, less: float) -> Value:
    """0 up to a bound on both sides; behind it the value, nearer to 0 by `less`."""
    size = build.add("Abs", (value,))
    made = build.add("Sub", (value, build.add("Mul", (build.add("Sign", (value,)), build.number(less, value))))) if less else value
    kept = build.add("Greater", (size, build.number(bound, value)))
    return build.add("SelectV2", (kept, made, build.number(0.0, value)))


def sparse_plus(build: Builder, value: Value) -> Value:
    """0 below -1, (x + 1)^2 / 4 up to 1, x above."""
    within = clip(build, value, -1.0, 1.0)
    lifted = build.add("Square", (build.add("AddV2", (within, build.number(1.0, value))),))
    above = build.add("Relu", (build.add("Sub", (value, build.number(1.0, value))),))
    return build.add("AddV2", (build.add("Mul", (lifted, build.number(0.25, value))), above))


def sparse_sigmoid(build: Builder, value: Value) -> Value:
    """(x + 1) / 2 between 0 and 1."""
    half = build.add("Mul", (build.add("AddV2", (value, build.number(1.0, value))), build.number(0.5, value)))
    return clip(build, half, 0.0, 1.0)


def threshold(build: Builder, value: Value, threshold: float = 0.0, default_value: float = 0.0) -> Value:
    """The value above the threshold, else another."""
    above = build.add("Greater", (value, build.number(threshold, value)))
    return build.add("SelectV2", (above, value, build.number(default_value, value)))


def log_softmax(build: Builder, value: Value, axis: int = -1) -> Value:
    """The logarithm of softmax over one axis."""
    if build.axis(value, axis) == build.rank(value) - 1:
        return build.add("LogSoftmax", (value,))
    return build.add("Log", (softmax(build, value, axis),))


def sparsemax(build: Builder, value: Value, axis: int = -1) -> Value:
    """What lies above a threshold, which follows from the running sums of the largest elements.

    Keras adds the sums up where the published formula has the elements themselves; the numbers are Keras'.
    """
    rank = build.rank(value)
    axis = build.axis(value, axis)
    order = [each for each in range(rank) if each != axis] + [axis]
    turned = value if axis == rank - 1 else build.transpose(value, order)
    count = build.bounded(build.size(turned, rank - 1))
    ranked = build.add("TopKV2", (turned, build.constant(count, name="k")))
    sums = build.add("Cumsum", (ranked, build.constant(rank - 1, name="axis")))
    places = build.constant([float(place + 1) for place in range(count)], value.dtype, "places")
    scaled = build.add("AddV2", (build.add("Mul", (ranked, places)), build.number(1.0, value)))
    within = build.cast(build.add("Greater", (scaled, sums)), value.dtype)
    size = build.reduce("Sum", within, [rank - 1], keep=True)
    total = build.reduce("Sum", build.add("Mul", (sums, within)), [rank - 1], keep=True)
    threshold = build.add("RealDiv", (build.add("Sub", (total, build.number(1.0, value))), size))
    made = build.add("Relu", (build.add("Sub", (turned, threshold)),))
    return made if axis == rank - 1 else build.transpose(made, [order.index(each) for each in range(rank)])


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
    "mish": mish,
    "hard_silu": times_own(hard_sigmoid3),
    "hard_swish": times_own(hard_sigmoid3),
    "hard_tanh": lambda build, value: clip(build, value, -1.0, 1.0),
    "hard_shrink": lambda build, value: outside(build, value, 0.5, 0.0),
    "soft_shrink": lambda build, value: outside(build, value, 0.5, 0.5),
    "tanh_shrink": lambda build, value: build.add("Sub", (value, build.add("Tanh", (value,)))),
    "log_sigmoid": log_sigmoid,
    "log_softmax": log_softmax,
    "celu": celu,
    "glu": glu,
    "squareplus": squareplus,
    "sparse_plus": sparse_plus,
    "sparse_sigmoid": sparse_sigmoid,
    "threshold": threshold,
    "sparsemax": sparsemax,
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
