"""Operations of keras.ops that work element by element: of one operand, of two, and choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras import activations
from tensorferry.readers.keras.building import Builder, port_type
from tensorferry.readers.keras.description import EXPORT, Config
from tensorferry.readers.keras.layers.arguments import array
from tensorferry.readers.keras.registry import layer
from tensorferry.tensor import DType

_ONE = {
    **{name: name for name in ("Abs", "Exp", "Expm1", "Log", "Log1p", "Sqrt", "Rsqrt", "Square", "Sign", "Floor", "Ceil", "Erf")},
    **{name: name for name in ("Sin", "Cos", "Tan", "Sinh", "Cosh", "Tanh", "OnesLike", "ZerosLike", "Reciprocal")},
    **{"Absolute": "Abs", "Negative": "Neg", "LogicalNot": "LogicalNot"},
    **{f"Arc{name.lower()}": f"A{name.lower()}" for name in ("Sin", "Cos", "Tan", "Sinh", "Cosh", "Tanh")},
    **{"Isfinite": "IsFinite", "Isinf": "IsInf", "Isnan": "IsNan"},
}
_ACTIVATIONS = {
    **{name: name.lower() for name in ("Relu", "Relu6", "Sigmoid", "Silu", "Softplus", "Softsign", "Selu", "Squareplus")},
    **{"LogSigmoid": "log_sigmoid", "HardSilu": "hard_silu", "HardTanh": "hard_tanh", "TanhShrink": "tanh_shrink"},
    **{"SparsePlus": "sparse_plus", "SparseSigmoid": "sparse_sigmoid"},
}
_TWO = {
    **{
        "Add": "AddV2",
        "Subtract": "Sub",
        "Multiply": "Mul",
        "Divide": "RealDiv",
        "TrueDivide": "RealDiv",
        "FloorDivide": "FloorDiv",
    },
    **{"Mod": "FloorMod", "Power": "Pow", "Maximum": "Maximum", "Minimum": "Minimum", "Arctan2": "Atan2"},
    **{"SquaredDifference": "SquaredDifference", "Less": "Less", "LessEqual": "LessEqual", "Greater": "Greater"},
    **{"GreaterEqual": "GreaterEqual", "Equal": "Equal", "NotEqual": "NotEqual"},
    **{"LogicalAnd": "LogicalAnd", "LogicalOr": "LogicalOr"},
}


def of(names: Sequence[str] | dict[str, str]) -> list[str]:
    """The names under which operations are registered."""
    return [f"ops.{name}" for name in names]


_WIDEST = (DType.FLOAT64, DType.FLOAT32, DType.INT64, DType.INT32, DType.BOOL)
"""Types of two operands: both become the one that stands further in front."""


def two(build: Builder, op: str, one: Any, other: Any) -> Value:
    """An op of two operands of one type."""
    return build.add(op, pair(build, one, other))


def pair(build: Builder, one: Any, other: Any) -> tuple[Value, Value]:
    """Two operands of one type: numbers take that of the tensor, whole numbers beside floats become floats."""
    if not isinstance(one, Value) and not isinstance(other, Value):
        raise build.unsupported("it computes with numbers alone")
    if not isinstance(one, Value):
        other, one = pair(build, other, one)
        return one, other
    if not isinstance(other, Value):
        numbers = array(build, other)
        if numbers.dtype.kind == "f" and not one.dtype.is_float:
            one = build.cast(one, DType.FLOAT32)
        return one, build.constant(numbers, one.dtype)
    if one.dtype is other.dtype:
        return one, other
    wider = next((each for each in _WIDEST if each in (one.dtype, other.dtype)), None)
    if wider is not None and {one.dtype, other.dtype} <= set(_WIDEST):
        return build.cast(one, wider), build.cast(other, wider)
    raise build.unsupported(f"it takes {one.dtype} and {other.dtype}, whose common type is not known", EXPORT)


def operands(build: Builder, count: int) -> list[Any]:
    """The call's arguments, of which there must be so many."""
    if len(build.args) < count:
        raise build.unsupported(f"it is called with {len(build.args)} arguments, not {count}")
    return list(build.args[:count])


@layer(*of(_ONE))
def of_one(build: Builder, _config: Config, inputs: Sequence[Value]) -> Value:
    """An op of one operand."""
    value = inputs[0]
    name = build.layer.class_name
    if name == "LogicalNot" and value.dtype is not DType.BOOL:
        value = build.add("NotEqual", (value, build.number(0, value)))
    return build.add(_ONE[name], (value,))


@layer(*of(_ACTIVATIONS))
def of_activation(build: Builder, _config: Config, inputs: Sequence[Value]) -> Value:
    """An activation as an operation."""
    return activations.TABLE[_ACTIVATIONS[build.layer.class_name]](build, inputs[0])


@layer("ops.HardSigmoid")
def hard_sigmoid(build: Builder, _config: Config, inputs: Sequence[Value]) -> Value:
    """That of Keras 3."""
    return activations.hard_sigmoid3(build, inputs[0])


@layer("ops.Gelu")
def gelu(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """By a tanh unless told."""
    return activations.gelu(build, inputs[0], config.flag("approximate", True))


@layer("ops.LeakyRelu")
def leaky_relu(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """A slope below 0."""
    return build.add("LeakyRelu", (inputs[0],), {"alpha": config.number("negative_slope", 0.2)})


@layer("ops.Elu")
def elu(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Below 0 it comes near to -alpha."""
    made, alpha = build.add("Elu", (inputs[0],)), config.number("alpha", 1.0)
    if alpha == 1:
        return made
    below = two(build, "Mul", build.add("Minimum", (made, build.number(0.0, made))), alpha)
    return build.add("AddV2", (build.add("Relu", (inputs[0],)), below))


@layer("ops.Softmax", "ops.LogSoftmax")
def softmax(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Over one axis."""
    run = activations.softmax if build.layer.class_name == "Softmax" else activations.log_softmax
    return run(build, inputs[0], config.integer("axis", -1))


@layer("ops.Round")
def rounded(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """To whole numbers, or to decimals."""
    decimals = config.integer("decimals", 0)
    if not decimals or not inputs[0].dtype.is_float:
        return build.add("Round", (inputs[0],))
    return two(build, "RealDiv", build.add("Round", (two(build, "Mul", inputs[0], 10.0**decimals),)), 10.0**decimals)


@layer("ops.Clip")
def clip(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Between two numbers."""
    return activations.clip(build, inputs[0], config.number("x_min"), config.number("x_max"))


@layer(*of(_TWO))
def of_two(build: Builder, _config: Config, _inputs: Sequence[Value]) -> Value:
    """An op of two operands, one of which may be a number."""
    name = build.layer.class_name
    one, other = operands(build, 2)
    if name.startswith("Logical"):
        one, other = (as_truth(build, each) for each in (one, other))
    else:
        one, other = pair(build, one, other)
    if name in ("Divide", "TrueDivide") and not one.dtype.is_float:
        one, other = (build.cast(each, DType.FLOAT32) for each in (one, other))
    return build.add(_TWO[name], (one, other))


def as_truth(build: Builder, given: Any) -> Value:
    """A tensor or a number as booleans."""
    if not isinstance(given, Value):
        return build.constant(np.asarray(bool(given)), DType.BOOL)
    return given if given.dtype is DType.BOOL else build.add("NotEqual", (given, build.number(0, given)))


@layer("ops.Where")
def where(build: Builder, _config: Config, _inputs: Sequence[Value]) -> Value:
    """One or the other, element by element."""
    condition, one, other = operands(build, 3)
    return build.add("SelectV2", (as_truth(build, condition), *pair(build, one, other)))


@layer("ops.Cast")
def cast(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """To another type of elements."""
    return build.cast(inputs[0], port_type(config))
