"""Operators that work element by element: arithmetic, comparisons, activations, casts."""

from __future__ import annotations

import math

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.tflite.steps import Rule, Step
from tensorferry.tensor import CastTensor, DType


def _unary(op: str) -> Rule:
    return lambda step: step.make(op, step.input(0))


def _binary(op: str) -> Rule:
    return lambda step: step.make(op, *_pair(step))


def _pair(step: Step) -> tuple[Value, Value]:
    return step.input(0), step.input(1)


def _arithmetic(op: str) -> Rule:
    return lambda step: step.activated(step.make(op, *_pair(step)))


def _divide(step: Step) -> Value:
    one, other = _pair(step)
    return step.activated(step.make("RealDiv" if one.dtype.is_float else "Div", one, other))


def _hard_swish(step: Step) -> Value:
    x = step.input(0)
    return step.make("Mul", step.make("Mul", x, step.make("Relu6", step.make("AddV2", x, 3.0))), 1 / 6)


def _clipped(low: float, high: float) -> Rule:
    return lambda step: step.clipped(step.input(0), low, high)


def _prelu(step: Step) -> Value:
    x, alpha = _pair(step)
    below = step.make("Mul", alpha, step.make("Minimum", x, 0.0))
    return step.make("AddV2", step.make("Relu", x), below)


def _gelu(step: Step) -> Value:
    x = step.input(0)
    if step.options.flag("approximate"):
        cube = step.make("Mul", step.make("Mul", x, x), x)
        inner = step.make("Mul", step.make("AddV2", x, step.make("Mul", cube, 0.044715)), math.sqrt(2 / math.pi))
        gate = step.make("AddV2", step.make("Tanh", inner), 1.0)
    else:
        gate = step.make("AddV2", step.make("Erf", step.make("Mul", x, math.sqrt(0.5))), 1.0)
    return step.make("Mul", step.make("Mul", x, 0.5), gate)


def _softmax(step: Step) -> Value:
    x, beta = step.input(0), step.options.real("beta")
    return step.make("Softmax", x if beta == 1 else step.make("Mul", x, beta))


def _l2_normalization(step: Step) -> Value:
    """x / max(norm along the last axis, 1e-6)."""
    x = step.input(0)
    total = step.make("Sum", step.make("Square", x), np.asarray([-1], np.int32), keep_dims=True)
    return step.activated(step.make("Mul", x, step.make("Rsqrt", step.make("Maximum", total, 1e-12))))


def _lrn(step: Step) -> Value:
    options = step.options
    attrs = {name: options.real(name) for name in ("bias", "alpha", "beta")}
    return step.make("LRN", step.input(0), depth_radius=options.number("radius"), **attrs)


def _select(step: Step) -> Value:
    """The older form takes a vector that chooses whole rows."""
    condition, one, other = step.input(0), step.input(1), step.input(2)
    rows = step.record.name == "SELECT" and condition.rank == 1 and one.rank not in (None, 1)
    return step.make("Select" if rows else "SelectV2", condition, one, other)


def _cast(step: Step) -> Value:
    """Of the numbers as they are stored: a cast knows of no scale."""
    value, dtype = step.stored(0), step.output().dtype
    if value.dtype is dtype:
        return value
    return step.make("Cast", value, SrcT=value.dtype, DstT=dtype)


def _bitcast(step: Step) -> Value:
    value = step.stored(0)
    return step.make("Bitcast", value, T=value.dtype, type=step.output().dtype)


def _requantize(step: Step) -> Value:
    """Real numbers to a grid, or from one grid to another: what is to be done is told by the output's tensor."""
    return step.input(0)


def _dequantize(step: Step) -> Value:
    """Real numbers of whole ones, which they are in the graph already; of float16 weights a recipe."""
    tensor = step.tensor(0)
    value = step.reader.real_constant(tensor.number) if tensor.content is not None else step.input(0)
    target = step.output().dtype
    if value.dtype is target:
        return value
    if value.constant is not None and value.dtype.is_float:
        return step.constant(CastTensor(value.constant, target), "float32")
    return step.make("Cast", value, SrcT=value.dtype, DstT=target)


def _fake_quant(step: Step) -> Value:
    if step.reader.session.plain:
        return step.input(0)
    options = step.options
    ends = [np.asarray(options.real(end), np.float32) for end in ("min", "max")]
    attrs = {"num_bits": options.number("num_bits"), "narrow_range": options.flag("narrow_range")}
    return step.make("FakeQuantWithMinMaxVars", step.input(0), *ends, **attrs)


def _add_n(step: Step) -> Value:
    values = step.inputs()
    return values[0] if len(values) == 1 else step.make("AddN", *values, N=len(values))


def _complex_abs(step: Step) -> Value:
    value = step.input(0)
    return step.make("ComplexAbs", value, T=value.dtype, Tout=_part_type(value))


def _part(op: str) -> Rule:
    return lambda step: step.make(op, step.input(0), T=step.input(0).dtype, Tout=_part_type(step.input(0)))


def _part_type(value: Value) -> DType:
    return DType.FLOAT64 if value.dtype is DType.COMPLEX128 else DType.FLOAT32


def _bucketize(step: Step) -> Value:
    return step.make("Bucketize", step.input(0), boundaries=[float(each) for each in step.options.numbers("boundaries")])


_UNARY = {
    "FLOOR": "Floor",
    "LOGISTIC": "Sigmoid",
    "RELU": "Relu",
    "RELU6": "Relu6",
    "TANH": "Tanh",
    "EXP": "Exp",
    "SIN": "Sin",
    "COS": "Cos",
    "LOG": "Log",
    "SQRT": "Sqrt",
    "RSQRT": "Rsqrt",
    "NEG": "Neg",
    "ABS": "Abs",
    "CEIL": "Ceil",
    "ELU": "Elu",
    "ROUND": "Round",
    "SIGN": "Sign",
    "SQUARE": "Square",
    "ZEROS_LIKE": "ZerosLike",
    "LOGICAL_NOT": "LogicalNot",
    "LOG_SOFTMAX": "LogSoftmax",
}
_BINARY = {
    "MAXIMUM": "Maximum",
    "MINIMUM": "Minimum",
    "POW": "Pow",
    "FLOOR_DIV": "FloorDiv",
    "FLOOR_MOD": "FloorMod",
    "SQUARED_DIFFERENCE": "SquaredDifference",
    "ATAN2": "Atan2",
    "EQUAL": "Equal",
    "NOT_EQUAL": "NotEqual",
    "LESS": "Less",
    "LESS_EQUAL": "LessEqual",
    "GREATER": "Greater",
    "GREATER_EQUAL": "GreaterEqual",
    "LOGICAL_AND": "LogicalAnd",
    "LOGICAL_OR": "LogicalOr",
    "BITWISE_XOR": "BitwiseXor",
    "RIGHT_SHIFT": "RightShift",
}

RULES: dict[str, Rule] = {
    **{name: _unary(op) for name, op in _UNARY.items()},
    **{name: _binary(op) for name, op in _BINARY.items()},
    "ADD": _arithmetic("AddV2"),
    "SUB": _arithmetic("Sub"),
    "MUL": _arithmetic("Mul"),
    "DIV": _divide,
    "ADD_N": _add_n,
    "HARD_SWISH": _hard_swish,
    "RELU_N1_TO_1": _clipped(-1.0, 1.0),
    "RELU_0_TO_1": _clipped(0.0, 1.0),
    "LEAKY_RELU": lambda step: step.make("LeakyRelu", step.input(0), alpha=step.options.real("alpha")),
    "PRELU": _prelu,
    "GELU": _gelu,
    "SOFTMAX": _softmax,
    "L2_NORMALIZATION": _l2_normalization,
    "LOCAL_RESPONSE_NORMALIZATION": _lrn,
    "SELECT": _select,
    "SELECT_V2": _select,
    "CAST": _cast,
    "BITCAST": _bitcast,
    "QUANTIZE": _requantize,
    "DEQUANTIZE": _dequantize,
    "DENSIFY": _requantize,
    "FAKE_QUANT": _fake_quant,
    "COMPLEX_ABS": _complex_abs,
    "REAL": _part("Real"),
    "IMAG": _part("Imag"),
    "BUCKETIZE": _bucketize,
}
