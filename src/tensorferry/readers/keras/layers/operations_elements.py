"""More operations of keras.ops that work element by element."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras import activations
from tensorferry.readers.keras.building import Builder
from tensorferry.readers.keras.description import EXPORT
from tensorferry.readers.keras.layers.arguments import Rule, array, element_type, operation, tensor
from tensorferry.readers.keras.layers.operations import as_truth, pair, two
from tensorferry.tensor import DType

_ONE = {"Fabs": "Abs", "I0": "BesselI0", "Erfc": "Erfc", "Erfinv": "Erfinv", "BitwiseNot": "Invert", "BitwiseInvert": "Invert"}
_SAME = ("StopGradient", "Copy", "Conj", "Conjugate", "Real")
_TWO = {
    **{"Fmax": "Maximum", "Fmin": "Minimum", "Fmod": "Mod", "DivideNoNan": "DivNoNan", "Nextafter": "NextAfter"},
    **{"BitwiseAnd": "BitwiseAnd", "BitwiseOr": "BitwiseOr", "BitwiseXor": "BitwiseXor"},
    **{name: name.removeprefix("Bitwise") for name in ("LeftShift", "BitwiseLeftShift", "RightShift", "BitwiseRightShift")},
}
_TIMES = {"Deg2rad": math.pi / 180, "Rad2deg": 180 / math.pi}
_BASES = {"Log2": 2.0, "Log10": 10.0}


def _of_one(op: str) -> Rule:
    return lambda build, x: build.add(op, (x,))


def _of_two(op: str) -> Rule:
    return lambda build, x, y: two(build, op, x, y)


def _scaled(factor: float) -> Rule:
    return lambda build, x: two(build, "Mul", build.floating(x), factor)


for _name, _op in _ONE.items():
    operation(_name)(_of_one(_op))
for _name, _op in _TWO.items():
    operation(_name)(_of_two(_op))
for _name, _factor in _TIMES.items():
    operation(_name)(_scaled(_factor))


@operation(*_SAME)
def same(_build: Builder, x: Value) -> Value:
    """What changes nothing in real numbers, or only acts in training."""
    return x


@operation("Imag", "EmptyLike")
def nothing(build: Builder, x: Value, dtype: Any = None) -> Value:
    """Zeros."""
    made = build.add("ZerosLike", (x,))
    return made if dtype is None else build.cast(made, element_type(build, dtype))


@operation("Angle")
def angle(build: Builder, x: Value) -> Value:
    """Of a real number: 0, or pi where it is negative."""
    return build.add("SelectV2", (two(build, "Less", x, 0.0), build.number(math.pi, x), build.number(0.0, x)))


@operation("Log2", "Log10")
def logarithm(build: Builder, x: Value) -> Value:
    """To another base."""
    return two(build, "Mul", build.add("Log", (build.floating(x),)), 1 / math.log(_BASES[build.layer.class_name]))


@operation("Exp2")
def exp2(build: Builder, x: Value) -> Value:
    """2 to the power of x."""
    return build.add("Pow", (build.number(2.0, build.floating(x)), build.floating(x)))


@operation("Ldexp")
def ldexp(build: Builder, x1: Any, x2: Value) -> Value:
    """x1 times 2 to the power of x2."""
    return two(build, "Mul", x1, exp2(build, x2))


@operation("Cbrt")
def cube_root(build: Builder, x: Value) -> Value:
    """With the number's sign."""
    value = build.floating(x)
    root = build.add("Pow", (build.add("Abs", (value,)), build.number(1 / 3, value)))
    return build.add("Mul", (build.add("Sign", (value,)), root))


@operation("Heaviside")
def heaviside(build: Builder, x1: Value, x2: Any) -> Value:
    """0 below 0, 1 above, x2 at 0."""
    value, middle = pair(build, x1, x2)
    above = build.cast(build.add("Greater", (value, build.number(0.0, value))), value.dtype)
    return build.add("SelectV2", (build.add("Equal", (value, build.number(0.0, value))), middle, above))


@operation("Hypot")
def hypot(build: Builder, x1: Value, x2: Any) -> Value:
    """The length of the longest side."""
    return build.add("Sqrt", (two(build, "AddV2", *(build.add("Square", (each,)) for each in pair(build, x1, x2))),))


@operation("Logaddexp", "Logaddexp2")
def log_add_exp(build: Builder, x1: Value, x2: Any) -> Value:
    """log(e^x1 + e^x2), reckoned from the larger; or to the base 2."""
    one, other = pair(build, x1, x2)
    scale = math.log(2) if build.layer.class_name.endswith("2") else 1.0
    beside = build.add("Neg", (build.add("Abs", (build.add("Sub", (one, other)),)),))
    more = build.add("Log1p", (build.add("Exp", (two(build, "Mul", beside, scale),)),))
    return build.add("AddV2", (build.add("Maximum", (one, other)), two(build, "Mul", more, 1 / scale)))


@operation("Isclose", "AllClose")
def is_close(build: Builder, x1: Value, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Value:
    """Whether two numbers hardly differ; infinite ones must be equal."""
    one, other = pair(build, x1, x2)
    bound = two(build, "AddV2", two(build, "Mul", build.add("Abs", (other,)), float(rtol)), float(atol))
    near = build.add("LessEqual", (build.add("Abs", (build.add("Sub", (one, other)),)), bound))
    finite = build.add("LogicalAnd", (build.add("IsFinite", (one,)), build.add("IsFinite", (other,))))
    made = build.add("LogicalOr", (build.add("Equal", (one, other)), build.add("LogicalAnd", (near, finite))))
    if equal_nan:
        both = build.add("LogicalAnd", (build.add("IsNan", (one,)), build.add("IsNan", (other,))))
        made = build.add("LogicalOr", (made, both))
    return made if build.layer.class_name == "Isclose" else build.reduce("All", made, range(build.rank(made)))


@operation("Isneginf", "Isposinf")
def is_infinite(build: Builder, x: Value) -> Value:
    """On one side."""
    return build.add("Equal", (x, build.number(math.inf if build.layer.class_name == "Isposinf" else -math.inf, x)))


@operation("Isreal")
def is_real(build: Builder, x: Value) -> Value:
    """All are."""
    return build.cast(build.add("OnesLike", (x,)), DType.BOOL)


@operation("NanToNum")
def nan_to_num(build: Builder, x: Value, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Value:
    """Numbers in place of what is none, or is infinite."""
    if not x.dtype.is_float:
        return x
    limits = np.finfo(x.dtype.numpy.name)
    made = build.add("SelectV2", (build.add("IsNan", (x,)), build.number(nan, x), x))
    for infinite, given, most in ((math.inf, posinf, limits.max), (-math.inf, neginf, limits.min)):
        where = build.add("Equal", (x, build.number(infinite, x)))
        made = build.add("SelectV2", (where, build.number(float(most) if given is None else given, x), made))
    return made


@operation("Signbit")
def sign_bit(build: Builder, x: Value) -> Value:
    """Whether a number is below 0, or is -0."""
    if not x.dtype.is_float:
        return two(build, "Less", x, 0)
    return build.add(
        "LogicalOr", (two(build, "Less", x, 0.0), two(build, "Less", build.add("RealDiv", (build.number(1.0, x), x)), 0.0))
    )


@operation("Sinc")
def sinc(build: Builder, x: Value) -> Value:
    """sin(pi x) / (pi x), 1 at 0."""
    turned = two(build, "Mul", build.floating(x), math.pi)
    at_zero = two(build, "Equal", turned, 0.0)
    safe = build.add("SelectV2", (at_zero, build.number(1.0, turned), turned))
    return build.add("SelectV2", (at_zero, build.number(1.0, turned), build.add("RealDiv", (build.add("Sin", (safe,)), safe))))


@operation("Trunc")
def trunc(build: Builder, x: Value) -> Value:
    """Towards 0."""
    if not x.dtype.is_float:
        return x
    return build.add("Mul", (build.add("Sign", (x,)), build.add("Floor", (build.add("Abs", (x,)),))))


@operation("LogicalXor")
def logical_xor(build: Builder, x1: Any, x2: Any) -> Value:
    """One of two, but not both."""
    return build.add("NotEqual", (as_truth(build, x1), as_truth(build, x2)))


@operation("Select")
def select(build: Builder, condlist: Any, choicelist: Any, default: Any = 0) -> Value:
    """The choice that belongs to the first condition that is true."""
    choices = [each if isinstance(each, Value) else array(build, each) for each in choicelist]
    known = next((each for each in choices if isinstance(each, Value)), None)
    made = default if isinstance(default, Value) else build.constant(array(build, default), known.dtype if known else None)
    for condition, choice in reversed(list(zip(condlist, choices, strict=True))):
        made = build.add("SelectV2", (as_truth(build, condition), *pair(build, choice, made)))
    return made


@operation("Digitize")
def digitize(build: Builder, x: Value, bins: Any) -> Value:
    """In which of the ranges a number lies."""
    bounds = [float(each) for each in array(build, bins).reshape(-1)]
    return build.add("Bucketize", (x,), {"boundaries": bounds})


@operation("IsIn", ignored=("assume_unique",))
def is_in(build: Builder, x1: Value, x2: Any, invert: bool = False) -> Value:
    """Whether a number is one of several."""
    one, other = pair(build, x1, x2)
    meets = build.add("Equal", (build.expand(one, -1), build.reshape(other, [-1])))
    made = build.reduce("Any", meets, [build.rank(meets) - 1])
    return build.add("LogicalNot", (made,)) if invert else made


@operation("ConvertToTensor", "Array", ignored=("sparse", "ragged"))
def converted(build: Builder, x: Any, dtype: Any = None) -> Value:
    """What is a tensor already, in another type where one is named."""
    return tensor(build, x) if dtype is None else build.cast(tensor(build, x), element_type(build, dtype))


@operation("SaturateCast")
def saturate_cast(build: Builder, x: Value, dtype: Any) -> Value:
    """To another type, what lies outside of it as its least or largest number."""
    wanted = element_type(build, dtype)
    if wanted not in (DType.UINT8, DType.INT8, DType.INT16, DType.UINT16):
        raise build.unsupported(f"it keeps within the range of {wanted}", EXPORT)
    limits = np.iinfo(wanted.numpy.name)
    return build.cast(activations.clip(build, x, float(limits.min), float(limits.max)), wanted)


@operation("View")
def view(build: Builder, x: Value, dtype: Any = None) -> Value:
    """The same bits as another type of that width."""
    wanted = x.dtype if dtype is None else element_type(build, dtype)
    if wanted.numpy.itemsize != x.dtype.numpy.itemsize:
        raise build.unsupported("it sees elements as others of another width", EXPORT)
    return x if wanted is x.dtype else build.add("Bitcast", (x,), {"type": wanted})


# -- activations ---------------------------------------------------------------------------------------------------


@operation("SoftShrink", "HardShrink")
def shrink(build: Builder, x: Value, threshold: float = 0.5) -> Value:
    """0 near 0; outside the number itself, or nearer to 0."""
    return activations.outside(build, x, threshold, threshold if build.layer.class_name == "SoftShrink" else 0.0)


@operation("Celu")
def celu(build: Builder, x: Value, alpha: float = 1.0) -> Value:
    """A curve below 0."""
    return activations.celu(build, x, alpha)


@operation("Glu")
def glu(build: Builder, x: Value, axis: int = -1) -> Value:
    """One half of an axis, gated by the other."""
    return activations.glu(build, x, axis)


@operation("Sparsemax")
def sparsemax(build: Builder, x: Value, axis: int = -1) -> Value:
    """The nearest distribution."""
    return activations.sparsemax(build, x, axis)


@operation("Threshold")
def threshold(build: Builder, x: Value, threshold: float, default_value: float) -> Value:
    """The number above a threshold, else another."""
    return activations.threshold(build, x, threshold, default_value)


# -- what is no number ---------------------------------------------------------------------------------------------


def without_nan(build: Builder, x: Value, number: float) -> tuple[Value, Value]:
    """The tensor with a number in place of what is none; where that was."""
    gaps = build.add("IsNan", (x,))
    return build.add("SelectV2", (gaps, build.number(number, x), x)), gaps
