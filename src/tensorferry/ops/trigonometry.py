"""Angles and hyperbolic functions, and the exponential and logarithm near zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from tensorferry.ir import Graph, Node
from tensorferry.ops.elementwise import infer_binary
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.formulas import Formula, Maths, Operand, expand_formula, polynomial
from tensorferry.ops.kernels import FLOATS, LiteKernel
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec, same_as_input, same_in_tfjs
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import Array

LN2 = math.log(2.0)

# -- formulas ------------------------------------------------------------------------------------------------------


def _tan(maths: Maths, x: Operand) -> Operand:
    return maths.sin(x) / maths.cos(x)


def _atan(maths: Maths, x: Operand) -> Operand:
    return maths.atan2(x, maths.apply("OnesLike", x))


def _cosine_of_sine(maths: Maths, x: Operand) -> Operand:
    """sqrt(1 - x * x), without losing what x is short of 1."""
    return maths.sqrt((1.0 - x) * (x + 1.0))


def _asin(maths: Maths, x: Operand) -> Operand:
    return maths.atan2(x, _cosine_of_sine(maths, x))


def _acos(maths: Maths, x: Operand) -> Operand:
    return maths.atan2(_cosine_of_sine(maths, x), x)


def _sinh(maths: Maths, x: Operand) -> Operand:
    """By its series where the exponentials nearly cancel; by half the exponent where one would overflow before the result."""
    half = maths.exp(x * 0.5)
    square = x * x
    series = x * polynomial(square, [1 / 362880, 1 / 5040, 1 / 120, 1 / 6, 1.0])
    return maths.where(maths.abs(x) < 1.0, series, 0.5 * half * half - 0.5 / half / half)


def _cosh(maths: Maths, x: Operand) -> Operand:
    half = maths.exp(maths.abs(x) * 0.5)
    return 0.5 * half * half + 0.5 / half / half


LARGE = 1e9
"""From here on x * x + 1 is x * x, and before long overflows."""


def _asinh(maths: Maths, x: Operand) -> Operand:
    magnitude = maths.abs(x)
    small = maths.minimum(magnitude, LARGE)
    square = small * small
    near = maths.log1p(small + square / (maths.sqrt(square + 1.0) + 1.0))
    return maths.sign(x) * maths.where(magnitude < LARGE, near, maths.log(magnitude) + LN2)


def _acosh(maths: Maths, x: Operand) -> Operand:
    above = x - 1.0
    near = maths.log1p(above + maths.sqrt(above) * maths.sqrt(x + 1.0))
    return maths.where(x < LARGE, near, maths.log(x) + LN2)


def _atanh(maths: Maths, x: Operand) -> Operand:
    magnitude = maths.abs(x)
    return maths.sign(x) * (0.5 * maths.log1p(2.0 * magnitude / (1.0 - magnitude)))


def _log1p(maths: Maths, x: Operand) -> Operand:
    """log(1 + x) = 2 atanh(x / (2 + x)), by its series between -1/2 and 1: XNNPACK's logarithm near 1 is good to 1e-7 of 1 only."""
    small = maths.maximum(maths.minimum(x, 1.0), -0.5)
    part = small / (small + 2.0)
    series = 2.0 * part * polynomial(part * part, [1 / 13, 1 / 11, 1 / 9, 1 / 7, 1 / 5, 1 / 3, 1.0])
    return maths.where(maths.equal(small, x), series, maths.log(x + 1.0))


def _expand_log1p(graph: Graph, node: Node) -> bool:
    """log(1 + exp(x)) is a softplus, whose small values nobody asks for digit by digit."""
    power = node.inputs[0].producer
    if power.op != "Exp" or power.get("activation"):
        return expand_formula(_log1p)(graph, node)
    expansion = Expansion(graph, node)
    return expansion.finish(expansion.make("Softplus", power.inputs[0]))


def _expm1(maths: Maths, x: Operand) -> Operand:
    """ELU is it below zero; above, exp(x) - 1 = -exp(x) (exp(-x) - 1)."""
    below = maths.apply("Elu", x)
    above = maths.apply("Elu", -x) * maths.exp(x)
    return maths.where(x < 0.0, below, -above)


# -- lowering ------------------------------------------------------------------------------------------------------


def js_float(node: Node) -> list[JsNode]:
    if not node.inputs[0].dtype.is_float:
        raise Declined(f"TensorFlow.js does not compute it in {node.inputs[0].dtype}")
    return same_in_tfjs(node)


STRETCHED = "_stretched"
"""Attribute of an Atan2 whose operands have been brought to one shape, though nobody knows which."""


def _lite_atan2(node: Node) -> list[LiteOp]:
    x, y = node.inputs
    if (x.shape is None or x.shape != y.shape) and not node.get(STRETCHED):
        raise Declined("TensorFlow Lite's ATAN2 takes operands of one shape")
    return LiteKernel("ATAN2", FLOATS)(node)


def _expand_atan2(graph: Graph, node: Node) -> bool:
    """The operands are stretched to one shape by adding zeros of the other's."""
    x, y = node.inputs
    if node.get(STRETCHED) or (x.shape is not None and x.shape == y.shape):
        return False
    expansion = Expansion(graph, node)
    stretched = [expansion.make("AddV2", one, expansion.make("ZerosLike", other)) for one, other in ((x, y), (y, x))]
    return expansion.finish(expansion.make("Atan2", *stretched, **{STRETCHED: True}))


# -- examples ------------------------------------------------------------------------------------------------------


def _examples(low: float, high: float, *more: float, small: float = 1e-4) -> Callable[[], Iterator[Example]]:
    """Over a range, near zero where it holds that, further numbers, six dimensions, other precisions."""

    def build() -> Iterator[Example]:
        yield Example((np.linspace(low, high, 14, dtype=np.float32).reshape(2, 7),))
        if low < 0 < high:
            yield Example((np.array([small, -3 * small, small / 50, 0], np.float32),), note="near zero")
        if low < -1 < 1 < high:
            yield Example((np.array([np.nan, 1], np.float32),), note="NaN")
        if more:
            yield Example((np.array(more, np.float32),), note="far")
        six = np.random.default_rng(0).uniform(low, high, (1, 2, 1, 3, 1, 2)).astype(np.float32)
        yield Example((six,), note="six dims")
        yield Example((np.array((low + 2 * high) / 3, np.float64),), note="scalar float64")

    return build


def _atan2_examples() -> Iterator[Example]:
    x, y = sample(2, 3), sample(2, 3, seed=1)
    yield Example((x, y))
    yield Example((x, y[0]), note="row")
    yield Example((x.reshape(2, 1, 1, 3), y.reshape(1, 3, 2, 1)), note="both stretch")
    yield Example((np.array([0, 1, -1, 0, 2], np.float32), np.array([-1, 0, 0, 1, 1e-30], np.float32)), note="axes")
    yield Example((sample(1, 2, 1, 3, 1, 2), sample(1, 2, 1, 3, 1, 2, seed=1)), note="six dims")


LOSING_NAN = ("Sinh", "Cosh")


def _function(
    name: str,
    compute: Callable[[Array], Array],
    formula: Formula,
    examples: Callable[[], Iterator[Example]],
) -> OpSpec:
    return OpSpec(
        name=name,
        elementwise=True,
        infer=same_as_input,
        evaluate=lambda _node, x: compute(x),
        to_tfjs=js_float,
        expand=expand_formula(formula, guarded=name in LOSING_NAN),
        examples=examples,
    )


SPECS = (
    _function("Tan", np.tan, _tan, _examples(-1.4, 1.4, 2.0, 10.0)),
    _function("Asin", np.arcsin, _asin, _examples(-1, 1)),
    _function("Acos", np.arccos, _acos, _examples(-1, 1)),
    _function("Atan", np.arctan, _atan, _examples(-5, 5, 1e6, -1e20)),
    _function("Sinh", np.sinh, _sinh, _examples(-5, 5, 30.0, -80.0)),
    _function("Cosh", np.cosh, _cosh, _examples(-5, 5, 30.0, -80.0)),
    _function("Asinh", np.arcsinh, _asinh, _examples(-5, 5, 1e6, -1e20)),
    _function("Acosh", np.arccosh, _acosh, _examples(1, 9, 1.0001, 1e20)),
    _function("Atanh", np.arctanh, _atanh, _examples(-0.99, 0.99)),
    replace(
        _function("Log1p", np.log1p, _log1p, _examples(-0.99, 5, 1e8, -0.9999, small=0.01)),
        expand=_expand_log1p,
    ),
    _function("Expm1", np.expm1, _expm1, _examples(-5, 5, 50.0, -50.0)),
    OpSpec(
        name="Atan2",
        elementwise=True,
        infer=infer_binary,
        evaluate=lambda _node, y, x: np.arctan2(y, x),
        to_tflite=_lite_atan2,
        to_tfjs=js_float,
        expand=_expand_atan2,
        examples=_atan2_examples,
    ),
)
