"""Operations of keras.ops that make one number of many, and those that sort."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder
from tensorferry.readers.keras.description import EXPORT, Config
from tensorferry.readers.keras.layers.arguments import axes, element_type, operation, tensor
from tensorferry.readers.keras.layers.operations import as_truth, two
from tensorferry.readers.keras.registry import layer
from tensorferry.tensor import DType

_PLAIN = {"Sum": "Sum", "Mean": "Mean", "Max": "Max", "Amax": "Max", "Min": "Min", "Amin": "Min", "Prod": "Prod"}

_BEGINS = {"Sum": "AddV2", "Prod": "Mul", "Max": "Maximum", "Min": "Minimum"}
"""How a first number comes in."""


def axes_of(build: Builder, config: Config, value: Value) -> list[int]:
    """The axes that go; all where none is named."""
    given = config.get("axis")
    if given is None:
        return list(range(build.rank(value)))
    listed = [config.integer("axis")] if isinstance(given, int) else config.integers("axis")
    return [build.axis(value, each) for each in listed]


@layer(*(f"ops.{name}" for name in _PLAIN))
def reduced(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Sums, products, extremes; means of whole numbers are floats."""
    name, value = build.layer.class_name, inputs[0]
    if value.dtype is DType.BOOL or (name == "Mean" and not value.dtype.is_float):
        value = build.cast(value, DType.FLOAT32 if name == "Mean" else DType.INT32)
    made = build.reduce(_PLAIN[name], value, axes_of(build, config, value), config.flag("keepdims"))
    first = config.get("initial")
    return made if first is None else two(build, _BEGINS[_PLAIN[name]], made, first)


@operation("Average")
def average(build: Builder, x: Value, weights: Any = None, axis: Any = None) -> Value:
    """The mean, or one in which each element has its weight."""
    value = build.floating(x)
    over = axes(build, axis, value)
    if weights is None:
        return build.reduce("Mean", value, over)
    weight = tensor(build, weights, value.dtype)
    if build.rank(weight) == 1 and build.rank(value) > 1:
        weight = build.reshape(weight, [-1 if each == over[0] else 1 for each in range(build.rank(value))])
    weight = build.add("Mul", (build.add("OnesLike", (value,)), build.cast(weight, value.dtype)))
    total = build.reduce("Sum", build.add("Mul", (value, weight)), over)
    return build.add("RealDiv", (total, build.reduce("Sum", weight, over)))


@layer("ops.Any", "ops.All")
def truths(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Whether one is true, or all are."""
    value = as_truth(build, inputs[0])
    return build.reduce(build.layer.class_name, value, axes_of(build, config, value), config.flag("keepdims"))


@layer("ops.CountNonzero")
def count(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """How many are not 0."""
    value = build.cast(as_truth(build, inputs[0]), DType.INT32)
    return build.reduce("Sum", value, axes_of(build, config, value))


@layer("ops.Var", "ops.Std")
def spread(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """The mean of the squares of what lies beside the mean; its root."""
    value = build.floating(inputs[0])
    axes = axes_of(build, config, value)
    beside = build.add("Sub", (value, build.reduce("Mean", value, axes, keep=True)))
    made = build.reduce("Mean", build.add("Square", (beside,)), axes, config.flag("keepdims"))
    return made if build.layer.class_name == "Var" else build.add("Sqrt", (made,))


@layer("ops.Logsumexp")
def log_sum_exp(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """The logarithm of the sum of exponentials."""
    return log_sum_exp_over(build, inputs[0], axes_of(build, config, inputs[0]), config.flag("keepdims"))


def log_sum_exp_over(build: Builder, value: Value, axes: Sequence[int], keep: bool) -> Value:
    """Reckoned from the largest, so that nothing overflows."""
    largest = build.reduce("Max", value, axes, keep=True)
    total = build.reduce("Sum", build.add("Exp", (build.add("Sub", (value, largest)),)), axes, keep=True)
    made = build.add("AddV2", (build.add("Log", (total,)), largest))
    return made if keep else build.squeeze(made, axes)


@layer("ops.Norm")
def norm(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """The root of the sum of squares; over one axis also other orders."""
    over, value, keep = axes_of(build, config, inputs[0]), inputs[0], config.flag("keepdims")
    order = config.get("ord")
    if str(order) in ("0", "1", "inf", "-inf") and len(over) == 1:
        size = build.add("Abs", (value,))
        if order == 0:
            size = build.cast(build.add("NotEqual", (value, build.number(0.0, value))), value.dtype)
        return build.reduce({"inf": "Max", "-inf": "Min"}.get(str(order), "Sum"), size, over, keep)
    if order not in (None, "fro", 2) or (order == 2 and len(over) != 1):
        raise build.unsupported(f"it is a norm of the order {order}", EXPORT)
    return build.add("Sqrt", (build.reduce("Sum", build.add("Square", (value,)), over, keep),))


@layer("ops.Normalize")
def normalized(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """To a length of 1."""
    if config.number("order", 2) != 2:
        raise build.unsupported(f"it normalises by the order {config.get('order')}", EXPORT)
    value = inputs[0]
    square = build.reduce("Sum", build.add("Square", (value,)), axes_of(build, config, value), keep=True)
    least = build.number(config.number("epsilon", 1e-7) ** 2, value)
    return build.add("Mul", (value, build.add("Rsqrt", (build.add("Maximum", (square, least)),))))


@layer("ops.Argmax", "ops.Argmin")
def place(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Where the largest or the least stands, as int32; among all elements where no axis is named."""
    value = inputs[0] if config.get("axis") is not None else build.reshape(inputs[0], [-1])
    axis = build.axis(value, config.integer("axis", 0))
    op = {"Argmax": "ArgMax", "Argmin": "ArgMin"}[build.layer.class_name]
    made = build.add(op, (value, build.constant(axis, name="axis")), {"output_type": DType.INT32})
    if not config.flag("keepdims"):
        return made
    return build.expand(made, axis) if config.get("axis") is not None else build.reshape(made, [1] * build.rank(inputs[0]))


@operation("Cumsum", "Cumprod")
def running(build: Builder, x: Value, axis: Any = None, dtype: Any = None) -> Value:
    """The sum or product so far, through all elements where no axis is named."""
    value = x if dtype is None else build.cast(x, element_type(build, dtype))
    value = value if axis is not None else build.reshape(value, [-1])
    return build.add(build.layer.class_name, (value, build.constant(build.axis(value, axis or 0), name="axis")))


@layer("ops.TopK")
def top_k(build: Builder, config: Config, inputs: Sequence[Value]) -> list[Value]:
    """The largest of the last axis, and where they stand."""
    return build.add_all("TopKV2", (inputs[0], build.constant(config.integer("k"), name="k")))


@layer("ops.Sort", "ops.Argsort")
def sort(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """The least of an axis first, or where they stand; of all elements where no axis is named."""
    value = inputs[0] if config.get("axis", -1) is not None else build.reshape(inputs[0], [-1])
    axis = build.axis(value, config.integer("axis", -1))
    return sorted_along(build, value, axis, ascending=True)[build.layer.class_name == "Argsort"]


def sorted_along(build: Builder, value: Value, axis: int, ascending: bool) -> list[Value]:
    """The elements of an axis in order, and where each stood; equal ones in their order."""
    rank = build.rank(value)
    order = [each for each in range(rank) if each != axis] + [axis]
    turned = value if axis == rank - 1 else build.transpose(value, order)
    if ascending:
        turned = build.add("Neg", (turned,))
    length = build.sizes(turned)[-1]
    found, places = build.add_all("TopKV2", (turned, build.scalar(length)))
    found = build.add("Neg", (found,)) if ascending else found
    if axis == rank - 1:
        return [found, places]
    return [build.transpose(each, [order.index(axis) for axis in range(rank)]) for each in (found, places)]
