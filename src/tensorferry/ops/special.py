"""The error function and what is made of it: its complement and inverse, and the normal quantile."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from tensorferry.ir import Node
from tensorferry.ops.formulas import ArrayMaths, Formula, Maths, Operand, expand_formula, polynomial
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Example, OpSpec, same_as_input
from tensorferry.ops.trigonometry import js_float
from tensorferry.tensor import Array

# -- the error function --------------------------------------------------------------------------------------------

ERF_NUMERATOR = (
    -2.72614225801306e-10,
    2.77068142495902e-08,
    -2.10102402082508e-06,
    -5.69250639462346e-05,
    -7.34990630326855e-04,
    -2.95459980854025e-03,
    -1.60960333262415e-02,
)
ERF_DENOMINATOR = (
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
)
"""Eigen's rational approximation on [-4, 4], in x squared; good to single precision, beyond 4 the value is 1."""

ERFC_EXPONENT = (
    0.17087277,
    -0.82215223,
    1.48851587,
    -1.13520398,
    0.27886807,
    -0.18628806,
    0.09678418,
    0.37409196,
    1.00002368,
    -1.26551223,
)
"""Press et al., Numerical Recipes, section 6.2: a relative error of 1.2e-7 everywhere."""


def _erf(maths: Maths, x: Operand) -> Operand:
    bounded = maths.minimum(maths.maximum(x, -4.0), 4.0)
    square = bounded * bounded
    return bounded * polynomial(square, ERF_NUMERATOR) / polynomial(square, ERF_DENOMINATOR)


def _erfc(maths: Maths, x: Operand) -> Operand:
    magnitude = maths.abs(x)
    part = 1.0 / (magnitude * 0.5 + 1.0)
    tail = part * maths.exp(polynomial(part, ERFC_EXPONENT) - magnitude * magnitude)
    return maths.where(x < 0.0, 2.0 - tail, tail)


# -- its inverse ---------------------------------------------------------------------------------------------------

ERFINV_MIDDLE = (
    2.81022636e-08,
    3.43273939e-07,
    -3.5233877e-06,
    -4.39150654e-06,
    0.00021858087,
    -0.00125372503,
    -0.00417768164,
    0.246640727,
    1.50140941,
)
ERFINV_TAIL = (
    -0.000200214257,
    0.000100950558,
    0.00134934322,
    -0.00367342844,
    0.00573950773,
    -0.0076224613,
    0.00943887047,
    1.00167406,
    2.83297682,
)
"""Giles, Approximating the erfinv function (GPU Computing Gems, 2010), single precision: in w - 2.5 and sqrt(w) - 3."""

SQRT2 = math.sqrt(2.0)


def _by_tail(maths: Maths, x: Operand, w: Operand) -> Operand:
    """erfinv(x), given w = -log(1 - x * x)."""
    middle = polynomial(maths.minimum(w, 5.0) - 2.5, ERFINV_MIDDLE)
    tail = polynomial(maths.sqrt(maths.maximum(w, 5.0)) - 3.0, ERFINV_TAIL)
    return x * maths.where(w < 5.0, middle, tail)


def _erfinv(maths: Maths, x: Operand) -> Operand:
    """Infinite at -1 and 1, which is written by a choice: LiteRT's quotients end at the largest number."""
    inside = _by_tail(maths, x, -maths.log1p(-(x * x)))
    edge = maths.where(x > 0.0, np.inf, maths.where(x < 0.0, -np.inf, x))
    return maths.where(maths.abs(x) < 1.0, inside, maths.where(maths.equal(maths.abs(x), 1.0), edge, np.nan))


def _ndtri(maths: Maths, p: Operand) -> Operand:
    """sqrt(2) erfinv(2 p - 1), with 1 - (2 p - 1)**2 = 4 p (1 - p) taken directly: small p keep their digits."""
    w = -maths.log(4.0 * p * (1.0 - p))
    inside = SQRT2 * _by_tail(maths, 2.0 * p - 1.0, w)
    return maths.where(p <= 0.0, -np.inf, maths.where(p >= 1.0, np.inf, inside))


def _evaluate_erfinv(_node: Node, x: Array) -> Array:
    wide = x.astype(np.float64)
    magnitude = np.abs(wide)
    result = np.asarray(_erfinv(ArrayMaths(), magnitude))
    inside = magnitude < 1
    for _ in range(2):  # Newton's method, on the complement, which keeps the digits of the tail
        excess = map_elements(math.erfc, np.where(inside, result, 0)) - (1 - magnitude)
        step = excess * (math.sqrt(math.pi) / 2) * np.exp(result * result)
        result = np.where(inside, result + step, result)
    return np.asarray(np.copysign(result, wide).astype(x.dtype))


def _evaluate_ndtri(_node: Node, p: Array) -> Array:
    wide = p.astype(np.float64)
    return np.asarray(SQRT2 * _evaluate_erfinv(_node, 2 * wide - 1)).astype(p.dtype)


def map_elements(function: Callable[[float], float], x: Array) -> Array:
    """A function of the standard library over all elements."""
    return np.array([function(each) for each in x.reshape(-1).tolist()], np.float64).reshape(x.shape)


# -- the table -----------------------------------------------------------------------------------------------------


def _examples(*values: float, tolerance: float = 1e-6, small: float = 0.01) -> Callable[[], Iterator[Example]]:
    def build() -> Iterator[Example]:
        yield Example((np.array(values, np.float32),), tolerance=tolerance)
        yield Example((np.array([small, small / 3, small / 100], np.float32),), tolerance=tolerance, note="near zero")
        yield Example((np.abs(sample(1, 2, 1, 3, 1, 2)) % 1,), tolerance=tolerance, note="six dims")
        yield Example((np.array([np.nan, 0.5], np.float32),), tolerance=tolerance, note="NaN")
        yield Example((np.array(0.3, np.float64),), tolerance=tolerance, note="scalar float64")

    return build


def _standard(function: Callable[[float], float]) -> Callable[[Node, Array], Array]:
    return lambda _node, x: map_elements(function, x).astype(x.dtype)


def _function(name: str, evaluate: Callable[..., Array], formula: Formula, examples: Callable[[], Iterator[Example]]) -> OpSpec:
    return OpSpec(
        name=name,
        elementwise=True,
        infer=same_as_input,
        evaluate=evaluate,
        to_tfjs=js_float if name == "Erf" else None,
        expand=expand_formula(formula, guarded=True),
        examples=examples,
    )


SPECS = (
    _function("Erf", _standard(math.erf), _erf, _examples(-5, -2, -0.5, 0, 0.1, 1, 3, 6, small=0.1)),
    _function("Erfc", _standard(math.erfc), _erfc, _examples(-5, -2, -0.5, 0, 0.1, 1, 3, 6)),
    _function("Erfinv", _evaluate_erfinv, _erfinv, _examples(-1, -0.99999, -0.9, -0.1, 0, 0.5, 0.999, 1, tolerance=1e-5)),
    _function(
        "Ndtri",
        _evaluate_ndtri,
        _ndtri,
        _examples(0, 1e-5, 0.001, 0.1, 0.3, 0.5, 0.9, 0.999, 1),
    ),
)
