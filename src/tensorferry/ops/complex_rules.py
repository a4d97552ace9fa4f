"""How each op is computed on complex numbers: with the real and imaginary parts of its inputs. One table, RULES."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tensorferry.ir import Node, Value
from tensorferry.ops.complex_parts import COMPLEX, Pair, Parts
from tensorferry.ops.spec import Declined
from tensorferry.tensor import DType

Rule = Callable[[Parts, Node], bool]
_REAL = {DType.COMPLEX64: DType.FLOAT32, DType.COMPLEX128: DType.FLOAT64}


def _attributes(node: Node) -> dict[str, Any]:
    return {
        key: _REAL.get(value, value) if isinstance(value, DType) else value
        for key, value in node.attrs.items()
        if key not in ("activation", "activation_alpha", "value")
    }


# -- ops that do the same to both parts ----------------------------------------------------------------------------

HALVES = (
    "Identity", "StopGradient", "PreventGradient", "Snapshot", "Reshape", "Transpose", "ExpandDims", "Squeeze", "StridedSlice",
    "Slice", "Split", "SplitV", "Unpack", "Pack", "ConcatV2", "GatherV2", "GatherNd", "ScatterNd", "Tile", "Pad", "MirrorPad",
    "PadV2", "ReverseV2", "ReverseSequence", "Roll", "BroadcastTo", "Sum", "Mean", "Cumsum", "Neg", "SelectV2", "Select", "Fill",
    "SpaceToBatchND", "BatchToSpaceND", "SpaceToDepth", "DepthToSpace", "MatrixBandPart", "MatrixDiag", "MatrixDiagV2",
    "MatrixDiagV3", "MatrixDiagPart", "MatrixDiagPartV2", "MatrixDiagPartV3", "MatrixSetDiag", "MatrixSetDiagV2",
    "MatrixSetDiagV3", "Diag", "DiagPart", "ZerosLike", "TensorScatterUpdate", "TensorScatterAdd", "TensorScatterSub",
    "SegmentSum", "SegmentMean", "UnsortedSegmentSum", "DynamicStitch", "DynamicPartition", "AddN", "SpaceToBatch",
    "BatchToSpace", "OneHot", "SparseToDense",
)  # fmt: skip


def _halves(parts: Parts, node: Node) -> bool:
    pairs = {value: parts.split(value) for value in dict.fromkeys(node.inputs) if value.dtype in COMPLEX}
    zero = bool(pairs) and all(pair.im is None for pair in pairs.values())
    made: list[list[Value] | list[None]] = []
    for half in ("re", "im"):
        if half == "im" and zero:
            made.append([None] * len(node.outputs))
            continue
        values = [
            (pairs[value].re if half == "re" else parts.imaginary(pairs[value])) if value in pairs else value
            for value in node.inputs
        ]
        made.append(list(parts.make_node(node.op, *values, **_attributes(node)).outputs))
    return parts.give(*(Pair(re, im) for re, im in zip(*made, strict=True) if re is not None))


def _shape_of(parts: Parts, node: Node) -> bool:
    return parts.finish(parts.make(node.op, parts.split(node.inputs[0]).re, **_attributes(node)))


# -- one or two complex numbers to one -----------------------------------------------------------------------------


def _unary(formula: Callable[[Parts, Pair], Pair]) -> Rule:
    return lambda parts, node: parts.give(formula(parts, parts.split(node.inputs[0])))


def _binary(formula: Callable[[Parts, Pair, Pair], Pair]) -> Rule:
    return lambda parts, node: parts.give(formula(parts, *(parts.split(value) for value in node.inputs)))


def _no_nan(formula: Callable[[Parts, Pair, Pair], Pair], which: int) -> Rule:
    """0 where the named operand is 0, whatever the other is."""

    def rule(parts: Parts, node: Node) -> bool:
        pairs = [parts.split(value) for value in node.inputs]
        zero = parts.is_zero(pairs[which])
        safe = list(pairs)
        safe[1] = parts.choose(zero, parts.number(1.0), pairs[1]) if which == 1 else pairs[1]
        return parts.give(parts.choose(zero, parts.number(0.0), formula(parts, safe[0], safe[1])))

    return rule


def _squared_difference(parts: Parts, a: Pair, b: Pair) -> Pair:
    return Pair(parts.squared(parts.subtract(a, b)), None)


def _hyperbolic(parts: Parts, a: Pair, first: str, second: str) -> Pair:
    """Sinh or Cosh of a real part with cos and sin of the imaginary one."""
    im = parts.imaginary(a)
    return Pair(
        parts.do("Mul", parts.do(first, a.re), parts.do("Cos", im)), parts.do("Mul", parts.do(second, a.re), parts.do("Sin", im))
    )


def _sinh(parts: Parts, a: Pair) -> Pair:
    return _hyperbolic(parts, a, "Sinh", "Cosh")


def _cosh(parts: Parts, a: Pair) -> Pair:
    return _hyperbolic(parts, a, "Cosh", "Sinh")


def _tanh(parts: Parts, a: Pair) -> Pair:
    """(sinh 2x + i sin 2y) / (cosh 2x + cos 2y); beyond 20 it is 1 in float32, and cosh would overflow."""
    x = parts.do("Minimum", parts.do("Maximum", parts.do("AddV2", a.re, a.re), -40.0), 40.0)
    y = parts.do("AddV2", parts.imaginary(a), parts.imaginary(a))
    below = parts.do("AddV2", parts.do("Cosh", x), parts.do("Cos", y))
    return Pair(parts.do("RealDiv", parts.do("Sinh", x), below), parts.do("RealDiv", parts.do("Sin", y), below))


def _turned(formula: Callable[[Parts, Pair], Pair], back: int) -> Callable[[Parts, Pair], Pair]:
    """f(iz), times i or -i where `back` says so: sin z = -i sinh iz."""

    def turned(parts: Parts, a: Pair) -> Pair:
        made = formula(parts, parts.turn(a))
        return made if back == 0 else parts.turn(made, back)

    return turned


def _asinh(parts: Parts, a: Pair) -> Pair:
    root = parts.sqrt(parts.add(parts.multiply(a, a), parts.number(1.0)))
    return parts.log(parts.add(a, root))


def _acosh(parts: Parts, a: Pair) -> Pair:
    roots = [parts.sqrt(parts.add(a, parts.number(number))) for number in (1.0, -1.0)]
    return parts.log(parts.add(a, parts.multiply(roots[0], roots[1])))


def _atanh(parts: Parts, a: Pair) -> Pair:
    one = parts.number(1.0)
    return parts.scale(parts.subtract(parts.log(parts.add(one, a)), parts.log(parts.subtract(one, a))), 0.5)


def _acos(parts: Parts, a: Pair) -> Pair:
    return parts.subtract(parts.number(math.pi / 2), _turned(_asinh, -1)(parts, a))


def _expm1(parts: Parts, a: Pair) -> Pair:
    return parts.subtract(parts.exp(a), parts.number(1.0))


def _log1p(parts: Parts, a: Pair) -> Pair:
    return parts.log(parts.add(a, parts.number(1.0)))


def _reciprocal(parts: Parts, a: Pair) -> Pair:
    return parts.divide(parts.number(1.0), a)


def _sigmoid(parts: Parts, a: Pair) -> Pair:
    """Half of 1 + tanh(z / 2)."""
    half = parts.add(_tanh(parts, parts.scale(a, 0.5)), parts.number(1.0))
    return parts.scale(half, 0.5)


def _sign(parts: Parts, a: Pair) -> Pair:
    length = parts.absolute(a)
    return Pair(*(parts.do("DivNoNan", part, length) for part in (a.re, parts.imaginary(a))))


def _pow(parts: Parts, a: Pair, b: Pair) -> Pair:
    """By the logarithm; 0 to any power but 0 is 0."""
    zero, none = parts.is_zero(a), parts.is_zero(b)
    safe = parts.choose(zero, parts.number(1.0), a)
    power = parts.choose(zero, parts.number(0.0), parts.exp(parts.multiply(b, parts.log(safe))))
    return parts.choose(none, parts.number(1.0), power)


def _times_log(parts: Parts, a: Pair, b: Pair) -> Pair:
    return parts.multiply(a, parts.log(b))


def _times_log1p(parts: Parts, a: Pair, b: Pair) -> Pair:
    return parts.multiply(a, _log1p(parts, b))


def _ones(parts: Parts, node: Node) -> bool:
    return parts.give(Pair(parts.make("OnesLike", parts.split(node.inputs[0]).re), None))


# -- others --------------------------------------------------------------------------------------------------------


def _compare(op: str) -> Rule:
    def rule(parts: Parts, node: Node) -> bool:
        a, b = (parts.split(value) for value in node.inputs)
        same = [parts.do(op, one, other) for one, other in ((a.re, b.re), (parts.imaginary(a), parts.imaginary(b)))]
        return parts.finish(parts.do("LogicalAnd" if op == "Equal" else "LogicalOr", *same))

    return rule


def _where(parts: Parts, node: Node) -> bool:
    set_ = parts.do("LogicalNot", parts.is_zero(parts.split(node.inputs[0])))
    places, dtype = parts.make("Where", set_), node.output.dtype
    return parts.finish(places if places.dtype is dtype else parts.make("Cast", places, DstT=dtype))


def _cast(parts: Parts, node: Node) -> bool:
    """To a real number the imaginary part is dropped."""
    value, target = node.inputs[0], node["DstT"]
    pair = parts.split(value)
    if target in COMPLEX:
        re = pair.re if pair.re.dtype is DType.FLOAT32 else parts.make("Cast", pair.re, DstT=DType.FLOAT32)
        return parts.give(Pair(re, pair.im))
    return parts.finish(parts.make("Cast", pair.re, DstT=target))


def _product(parts: Parts, node: Node) -> bool:
    """A matrix product; the adjoint of an operand is its transposed conjugate, the transposed one of MatMul is not."""
    pairs = [parts.split(value) for value in node.inputs]
    for place, key in enumerate(("adj_x", "adj_y")):
        if node.get(key):
            pairs[place] = parts.conjugate(pairs[place])
    return parts.give(parts.multiply(pairs[0], pairs[1], node.op, **_attributes(node)))


MOST_FACTORS = 64


def _prod(parts: Parts, node: Node) -> bool:
    """Factor by factor along each axis, halves with halves."""
    value, axes = node.inputs
    shape = value.shape
    if shape is None or axes.constant is None:
        return False
    chosen = sorted({int(axis) % len(shape) for axis in axes.constant.array().reshape(-1)}, reverse=True)
    if any(not isinstance(shape[axis], int) or not 0 < int(shape[axis]) <= MOST_FACTORS for axis in chosen):
        return False
    pair = parts.split(value)
    for axis in chosen:
        slices = _taken_apart(parts, pair, axis, int(shape[axis]))
        while len(slices) > 1:
            paired = [parts.multiply(slices[at], slices[at + 1]) for at in range(0, len(slices) - 1, 2)]
            slices = paired + slices[len(slices) - len(slices) % 2 :]
        pair = slices[0]
    if not node["keep_dims"] and chosen:
        squeezed = [parts.make("Squeeze", part, squeeze_dims=sorted(chosen)) for part in (pair.re, parts.imaginary(pair))]
        pair = Pair(squeezed[0], squeezed[1])
    return parts.give(pair)


def _taken_apart(parts: Parts, pair: Pair, axis: int, size: int) -> list[Pair]:
    if size == 1:
        return [pair]
    where = parts.constant(np.array(axis, np.int32), "axis")
    halves = [parts.make_node("Split", where, part, num_split=size).outputs for part in (pair.re, parts.imaginary(pair))]
    return [Pair(re, im) for re, im in zip(*halves, strict=True)]


def _cumprod(parts: Parts, node: Node) -> bool:
    value, axis_value = node.inputs
    shape = value.shape
    if shape is None or axis_value.constant is None:
        return False
    axis = int(axis_value.constant.array()) % len(shape)
    if not isinstance(shape[axis], int) or not 0 < int(shape[axis]) <= MOST_FACTORS:
        return False
    slices = _taken_apart(parts, parts.split(value), axis, int(shape[axis]))
    slices = slices[::-1] if node["reverse"] else slices
    if node["exclusive"]:
        slices = [Pair(parts.make("OnesLike", slices[0].re), None), *slices[:-1]]
    for at in range(1, len(slices)):
        slices[at] = parts.multiply(slices[at - 1], slices[at])
    slices = slices[::-1] if node["reverse"] else slices
    where = parts.constant(np.array(axis, np.int32), "axis")
    joined = [
        parts.make("ConcatV2", *halves, where, N=len(slices)) if len(slices) > 1 else halves[0]
        for halves in ([each.re for each in slices], [parts.imaginary(each) for each in slices])
    ]
    return parts.give(Pair(joined[0], joined[1]))


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(HALVES, _halves),
    **dict.fromkeys(("Shape", "Size", "Rank"), _shape_of),
    "AddV2": _binary(Parts.add),
    "Sub": _binary(Parts.subtract),
    "Mul": _binary(Parts.multiply),
    "RealDiv": _binary(Parts.divide),
    "Div": _binary(Parts.divide),
    "Pow": _binary(_pow),
    "SquaredDifference": _binary(_squared_difference),
    "DivNoNan": _no_nan(Parts.divide, 1),
    "MulNoNan": _no_nan(Parts.multiply, 1),
    "Xdivy": _no_nan(Parts.divide, 0),
    "Xlogy": _no_nan(_times_log, 0),
    "Xlog1py": _no_nan(_times_log1p, 0),
    "Square": _unary(lambda parts, a: parts.multiply(a, a)),
    "Exp": _unary(Parts.exp),
    "Expm1": _unary(_expm1),
    "Log": _unary(Parts.log),
    "Log1p": _unary(_log1p),
    "Sqrt": _unary(Parts.sqrt),
    "Rsqrt": _unary(lambda parts, a: _reciprocal(parts, parts.sqrt(a))),
    "Reciprocal": _unary(_reciprocal),
    "Inv": _unary(_reciprocal),
    "Sinh": _unary(_sinh),
    "Cosh": _unary(_cosh),
    "Tanh": _unary(_tanh),
    "Sin": _unary(_turned(_sinh, -1)),
    "Cos": _unary(_turned(_cosh, 0)),
    "Tan": _unary(_turned(_tanh, -1)),
    "Asinh": _unary(_asinh),
    "Acosh": _unary(_acosh),
    "Atanh": _unary(_atanh),
    "Asin": _unary(_turned(_asinh, -1)),
    "Acos": _unary(_acos),
    "Atan": _unary(_turned(_atanh, -1)),
    "Sigmoid": _unary(_sigmoid),
    "Sign": _unary(_sign),
    "OnesLike": _ones,
    "Equal": _compare("Equal"),
    "NotEqual": _compare("NotEqual"),
    "Where": _where,
    "Cast": _cast,
    "MatMul": _product,
    "BatchMatMulV2": _product,
    "Prod": _prod,
    "Cumprod": _cumprod,
}
"""Op -> how it is written with the parts of its complex inputs; False where that node cannot be."""


CARRIERS = frozenset(
    {
        "Const",
        "Placeholder",
        "PlaceholderWithDefault",
        "Complex",
        "Real",
        "Imag",
        "RFFT",
        "RFFT2D",
        "If",
        "While",
        "Case",
    }
)
"""Ops that make, take apart or hand on complex numbers, as such."""


def refuse_complex(node: Node) -> None:
    """Declined for an op that was left on complex numbers, which a kernel might compute wrongly without a word."""
    if node.op not in CARRIERS and any(value.dtype in COMPLEX for value in (*node.inputs, *node.outputs)):
        raise Declined(
            "it computes with complex numbers in a way that is not known", remedy="compute with real and imaginary parts"
        )
