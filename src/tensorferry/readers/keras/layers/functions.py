"""TensorFlow's functions on Keras tensors (TFOpLambda of Keras 2): how they are called, and those that work element by element.

A config names the function as TensorFlow publishes it, and each argument by the name of its parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tensorferry.ir import Value
from tensorferry.readers.keras import activations
from tensorferry.readers.keras.building import Builder, values_in
from tensorferry.readers.keras.description import EXPORT
from tensorferry.readers.keras.layers.arguments import Rule, SomeRule, array, bound, element_type, integer, only, tensor, tensors
from tensorferry.readers.keras.layers.operations import as_truth, pair
from tensorferry.readers.keras.registry import layer
from tensorferry.tensor import DType

_MODULES = ("", "math.", "nn.", "compat.v1.", "compat.v1.math.", "compat.v1.nn.")
"""Where TensorFlow publishes one and the same function."""


def function(*names: str, ignored: Sequence[str] = ()) -> Callable[[SomeRule], SomeRule]:
    """Make a rule known for these functions. A name without a dot or `=` stands for all modules that share their functions.

    `ignored`: arguments that change no result.
    """
    plain = {name for name in names if "." not in name and not name.startswith("=")}
    full = {f"{module}{name}" for name in plain for module in _MODULES} | {name.removeprefix("=") for name in set(names) - plain}

    def register(rule: SomeRule) -> SomeRule:
        layer(*(f"tf.{name}" for name in sorted(full)))(bound(rule, ignored))
        return rule

    return register


def table(names: Mapping[str, str], rule: Callable[[str], Rule]) -> None:
    """A rule of its own for each name of a table."""
    for name, op in names.items():
        function(name, ignored=("incompatible_shape_error",))(rule(op))


# -- element by element --------------------------------------------------------------------------------------------

_ONE = {
    **{name: name.capitalize() for name in ("abs", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "square", "sign", "floor")},
    **{name: name.capitalize() for name in ("ceil", "erf", "erfc", "lgamma", "digamma", "sin", "cos", "tan", "sinh", "cosh")},
    **{name: name.capitalize() for name in ("asin", "acos", "atan", "asinh", "acosh", "atanh", "tanh", "round", "reciprocal")},
    **{name: name.capitalize() for name in ("relu", "relu6", "elu", "selu", "softplus", "softsign", "sigmoid", "identity", "rank")},
    **{"negative": "Neg", "is_finite": "IsFinite", "is_inf": "IsInf", "is_nan": "IsNan", "logical_not": "LogicalNot"},
    **{"zeros_like": "ZerosLike", "ones_like": "OnesLike", "rint": "Round", "ndtri": "Ndtri", "erfinv": "Erfinv"},
    **{
        "stop_gradient": "Identity",
        "grad_pass_through": "Identity",
        "strings.lower": "StringLower",
        "strings.upper": "StringUpper",
    },
}
_TWO = {
    **{"add": "AddV2", "subtract": "Sub", "multiply": "Mul", "truediv": "RealDiv", "realdiv": "RealDiv", "divide": "RealDiv"},
    **{"floordiv": "FloorDiv", "floor_div": "FloorDiv", "floormod": "FloorMod", "mod": "FloorMod", "pow": "Pow"},
    **{"maximum": "Maximum", "minimum": "Minimum", "squared_difference": "SquaredDifference", "less": "Less", "greater": "Greater"},
    **{"less_equal": "LessEqual", "greater_equal": "GreaterEqual", "equal": "Equal", "not_equal": "NotEqual"},
    **{"divide_no_nan": "DivNoNan", "multiply_no_nan": "MulNoNan", "xdivy": "Xdivy", "xlogy": "Xlogy", "xlog1py": "Xlog1py"},
    **{
        "logical_and": "LogicalAnd",
        "logical_or": "LogicalOr",
        "bitwise.bitwise_and": "BitwiseAnd",
        "bitwise.bitwise_or": "BitwiseOr",
    },
    "__operators__.add": "AddV2",
}


def _of_one(op: str) -> Rule:
    return lambda build, x, dtype=None: _plain(build, op, x, dtype)


def _plain(build: Builder, op: str, x: Any, wanted: Any) -> Value:
    made = build.add(op, (tensor(build, x),))
    return made if wanted is None else build.cast(made, element_type(build, wanted))


def _of_two(op: str) -> Rule:
    def build_pair(build: Builder, x: Any, y: Any) -> Value:
        one, other = (each if isinstance(each, Value) or not values_in(each) else tensor(build, each) for each in (x, y))
        one, other = pair(build, *(each if isinstance(each, Value) else array(build, each) for each in (one, other)))
        if op == "RealDiv" and not one.dtype.is_float:
            one, other = (build.cast(each, DType.FLOAT64) for each in (one, other))
        return build.add(op, (one, other))

    return build_pair


table(_ONE, _of_one)
table(_TWO, _of_two)


@function("__operators__.eq", "__operators__.ne")
def compared(build: Builder, self: Any, other: Any) -> Value:
    """Whether elements are the same."""
    return build.add("Equal" if build.layer.kind.endswith("eq") else "NotEqual", pair(build, self, other))


@function("atan2")
def atan2(build: Builder, y: Any, x: Any) -> Value:
    """The angle of a point."""
    return build.add("Atan2", pair(build, y, x))


@function("scalar_mul")
def scalar_mul(build: Builder, scalar: Any, x: Any) -> Value:
    """A number times a tensor."""
    return build.add("Mul", pair(build, scalar, x))


@function("add_n", "accumulate_n")
def add_n(build: Builder, inputs: Any) -> Value:
    """The sum of a list."""
    listed = tensors(build, inputs)
    return build.add("AddN", listed, {"N": len(listed)})


@function("logical_xor")
def logical_xor(build: Builder, x: Any, y: Any) -> Value:
    """One of two, but not both."""
    return build.add("NotEqual", (as_truth(build, x), as_truth(build, y)))


@function("swish", "silu")
def swish(build: Builder, features: Value, beta: float = 1.0) -> Value:
    """x times the sigmoid of beta x."""
    if beta == 1:
        return activations.swish(build, features)
    return build.add("Mul", (features, build.add("Sigmoid", (build.add("Mul", (features, build.number(beta, features))),))))


@function("gelu")
def gelu(build: Builder, features: Value, approximate: bool = False) -> Value:
    """Exact unless told."""
    return activations.gelu(build, features, bool(approximate))


@function("leaky_relu")
def leaky_relu(build: Builder, features: Value, alpha: float = 0.2) -> Value:
    """A slope below 0."""
    return build.add("LeakyRelu", (features,), {"alpha": float(alpha)})


@function("log_sigmoid")
def log_sigmoid(build: Builder, x: Value) -> Value:
    """-softplus(-x)."""
    return activations.log_sigmoid(build, x)


@function("softmax", "log_softmax")
def softmax(build: Builder, logits: Value, axis: Any = None, dim: Any = None) -> Value:
    """Over one axis, the last unless told."""
    given = axis if axis is not None else dim if dim is not None else -1
    run = activations.log_softmax if build.layer.kind.endswith("log_softmax") else activations.softmax
    return run(build, logits, integer(build, given))


@function("clip_by_value")
def clip_by_value(build: Builder, t: Value, clip_value_min: Any, clip_value_max: Any) -> Value:
    """Between two numbers, or tensors."""
    return build.add("Minimum", pair(build, build.add("Maximum", pair(build, t, clip_value_min)), clip_value_max))


@function("=where", "compat.v1.where_v2")
def where(build: Builder, condition: Value, x: Any = None, y: Any = None) -> Value:
    """One or the other, element by element."""
    if x is None or y is None:
        raise build.unsupported("it gives the places of what is true, of which there may be any number", EXPORT)
    one, other = (each if isinstance(each, Value) else array(build, each) for each in (x, y))
    if not isinstance(one, Value) and not isinstance(other, Value):
        one = tensor(build, x)
    return build.add("SelectV2", (condition, *pair(build, one, other)))


@function("compat.v1.where")
def where_of_old(build: Builder, condition: Value, x: Any = None, y: Any = None) -> Value:
    """A condition of one axis chooses rows."""
    if condition.rank == 1 and isinstance(x, Value) and isinstance(y, Value):
        return build.add("Select", (condition, x, y))
    return where(build, condition, x, y)


@function("cast")
def cast(build: Builder, x: Any, dtype: Any) -> Value:
    """To another type of elements."""
    return build.cast(tensor(build, x), element_type(build, dtype))


@function("compat.v1.to_float", "compat.v1.to_int32", "compat.v1.to_int64", "compat.v1.to_double")
def to_type(build: Builder, x: Any) -> Value:
    """To the type in the name."""
    names = {"float": DType.FLOAT32, "int32": DType.INT32, "int64": DType.INT64, "double": DType.FLOAT64}
    return build.cast(tensor(build, x), names[build.layer.kind.rpartition("_")[2]])


@function("convert_to_tensor", "constant", ignored=("dtype_hint",))
def as_tensor(build: Builder, value: Any, dtype: Any = None, shape: Any = None) -> Value:
    """What is one already, or a list of them."""
    only(build, {"shape": (shape, None)})
    made = tensor(build, value)
    return made if dtype is None else build.cast(made, element_type(build, dtype))
