"""Bessel's functions of order 0 and 1, and the integrals named after Dawson, Fresnel, Spence, and the exponential one.

Polynomials of the modified functions: Abramowitz and Stegun, Handbook of Mathematical Functions, 9.8.1 to 9.8.8 (errors below
2e-7); the others after Hart, Computer Approximations (1968), as printed in Press et al., Numerical Recipes, section 6.5 (1e-8).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from tensorferry.ops.formulas import Formula, Maths, Operand, evaluate_formula, expand_formula, polynomial
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Example, OpSpec, same_as_input

Coefficients = tuple[float, ...]
"""The highest power's first."""

# -- modified functions --------------------------------------------------------------------------------------------

I0_SMALL = (0.0045813, 0.0360768, 0.2659732, 1.2067492, 3.0899424, 3.5156229, 1.0)
I0_LARGE = (0.00392377, -0.01647633, 0.02635537, -0.02057706, 0.00916281, -0.00157565, 0.00225319, 0.01328592, 0.39894228)
I1_SMALL = (0.00032411, 0.00301532, 0.02658733, 0.15084934, 0.51498869, 0.87890594, 0.5)
I1_LARGE = (-0.00420059, 0.01787654, -0.02895312, 0.02282967, -0.01031555, 0.00163801, -0.00362018, -0.03988024, 0.39894228)
K0_SMALL = (0.0000074, 0.0001075, 0.00262698, 0.0348859, 0.23069756, 0.4227842, -0.57721566)
K0_LARGE = (0.00053208, -0.0025154, 0.00587872, -0.01062446, 0.02189568, -0.07832358, 1.25331414)
K1_SMALL = (-0.00004686, -0.00110404, -0.01919402, -0.18156897, -0.67278579, 0.15443144, 1.0)
K1_LARGE = (-0.00068245, 0.00325614, -0.00780353, 0.01504268, -0.0365562, 0.23498619, 1.25331414)


def _i0e(maths: Maths, x: Operand) -> Operand:
    magnitude = maths.abs(x)
    small = polynomial(maths.square(maths.minimum(magnitude, 3.75) / 3.75), I0_SMALL) * maths.exp(-magnitude)
    large = maths.maximum(magnitude, 3.75)
    return maths.where(magnitude < 3.75, small, polynomial(3.75 / large, I0_LARGE) / maths.sqrt(large))


def _i1e(maths: Maths, x: Operand) -> Operand:
    magnitude = maths.abs(x)
    small = magnitude * polynomial(maths.square(maths.minimum(magnitude, 3.75) / 3.75), I1_SMALL) * maths.exp(-magnitude)
    large = maths.maximum(magnitude, 3.75)
    return maths.sign(x) * maths.where(magnitude < 3.75, small, polynomial(3.75 / large, I1_LARGE) / maths.sqrt(large))


def _scaled_up(formula: Formula) -> Formula:
    return lambda maths, x: formula(maths, x) * maths.exp(maths.abs(x))


def _scaled_down(formula: Formula) -> Formula:
    return lambda maths, x: formula(maths, x) * maths.exp(-x)


def _k0e(maths: Maths, x: Operand) -> Operand:
    """Of x > 0; infinite at 0, undefined below."""
    small, large = maths.minimum(x, 2.0), maths.maximum(x, 2.0)
    near = polynomial(maths.square(small * 0.5), K0_SMALL) - maths.log(small * 0.5) * _i0e(maths, small) * maths.exp(small)
    return maths.where(x <= 2.0, near * maths.exp(small), polynomial(2.0 / large, K0_LARGE) / maths.sqrt(large))


def _k1e(maths: Maths, x: Operand) -> Operand:
    small, large = maths.minimum(x, 2.0), maths.maximum(x, 2.0)
    first = maths.log(small * 0.5) * _i1e(maths, small) * maths.exp(small)
    near = first + polynomial(maths.square(small * 0.5), K1_SMALL) / small
    return maths.where(x <= 2.0, near * maths.exp(small), polynomial(2.0 / large, K1_LARGE) / maths.sqrt(large))


# -- functions of both kinds ---------------------------------------------------------------------------------------

P0 = (0.2093887211e-6, -0.2073370639e-5, 0.2734510407e-4, -0.1098628627e-2, 1.0)
Q0 = (-0.934935152e-7, 0.7621095161e-6, -0.6911147651e-5, 0.1430488765e-3, -0.1562499995e-1)
P1 = (-0.240337019e-6, 0.2457520174e-5, -0.3516396496e-4, 0.183105e-2, 1.0)
Q1 = (0.105787412e-6, -0.88228987e-6, 0.8449199096e-5, -0.2002690873e-3, 0.04687499995)
J0_OVER = (-184.9052456, 77392.33017, -11214424.18, 651619640.7, -13362590354.0, 57568490574.0)
J0_UNDER = (1.0, 267.8532712, 59272.64853, 9494680.718, 1029532985.0, 57568490411.0)
J1_OVER = (-30.16036606, 15704.48260, -2972611.439, 242396853.1, -7895059235.0, 72362614232.0)
J1_UNDER = (1.0, 376.9991397, 99447.43394, 18583304.74, 2300535178.0, 144725228442.0)
Y0_OVER = (228.4622733, -86327.92757, 10879881.29, -512359803.6, 7062834065.0, -2957821389.0)
Y0_UNDER = (1.0, 226.1030244, 47447.26470, 7189466.438, 745249964.8, 40076544269.0)
Y1_OVER = (0.8511937935e4, -0.4237922726e7, 0.7349264551e9, -0.5153438139e11, 0.1275274390e13, -0.4900604943e13)
Y1_UNDER = (1.0, 0.3549632885e3, 0.1020426050e6, 0.2245904002e8, 0.3733650367e10, 0.4244419664e12, 0.2499580570e14)
BEND = 8.0


def _ratio(maths: Maths, x: Operand, over: Coefficients, under: Coefficients) -> Operand:
    square = maths.square(maths.minimum(x, BEND))
    return polynomial(square, over) / polynomial(square, under)


def _wave(maths: Maths, x: Operand, order: int, *, second: bool) -> Operand:
    """Far out: a wave of falling height, whose phase is shifted by the order."""
    far = maths.maximum(x, BEND)
    inverse = BEND / far
    p, q = (polynomial(inverse * inverse, each) for each in ((P0, Q0), (P1, Q1))[order])
    phase = far - (2 * order + 1) * math.pi / 4
    sine, cosine = maths.sin(phase), maths.cos(phase)
    value = sine * p + inverse * cosine * q if second else cosine * p - inverse * sine * q
    return value * maths.sqrt(2 / math.pi / far)


def _j0(maths: Maths, x: Operand) -> Operand:
    magnitude = maths.abs(x)
    near = _ratio(maths, magnitude, J0_OVER, J0_UNDER)
    return maths.where(magnitude < BEND, near, _wave(maths, magnitude, 0, second=False))


def _j1(maths: Maths, x: Operand) -> Operand:
    magnitude = maths.abs(x)
    near = magnitude * _ratio(maths, magnitude, J1_OVER, J1_UNDER)
    return maths.sign(x) * maths.where(magnitude < BEND, near, _wave(maths, magnitude, 1, second=False))


def _y0(maths: Maths, x: Operand) -> Operand:
    near = _ratio(maths, x, Y0_OVER, Y0_UNDER) + (2 / math.pi) * _j0(maths, x) * maths.log(x)
    return maths.where(x < BEND, near, _wave(maths, x, 0, second=True))


def _y1(maths: Maths, x: Operand) -> Operand:
    near = x * _ratio(maths, x, Y1_OVER, Y1_UNDER) + (2 / math.pi) * (_j1(maths, x) * maths.log(x) - 1.0 / x)
    return maths.where(x < BEND, near, _wave(maths, x, 1, second=True))


# -- integrals -----------------------------------------------------------------------------------------------------

DAWSON_STEP = 0.4
DAWSON_ODD = np.arange(-23, 24, 2)
DAWSON_SERIES = (10395 / 64, 945 / 32, 105 / 16, 15 / 8, 3 / 4, 1 / 2, 1.0)


def _dawson(maths: Maths, x: Operand) -> Operand:
    """Rybicki's sum over odd multiples of a step (Numerical Recipes, 6.10) up to 5, from there the asymptotic series."""
    near = maths.column(maths.minimum(maths.maximum(x, -5.0), 5.0))
    shifted = near - maths.row(DAWSON_ODD * DAWSON_STEP, near)
    weights = maths.row(1 / (DAWSON_ODD * math.sqrt(math.pi)), near)
    middle = maths.like(maths.row_sum(maths.exp(-shifted * shifted) * weights), x)
    large = maths.sign(x) * maths.maximum(maths.abs(x), 5.0)
    inverse = 1.0 / maths.where(maths.equal(large, 0.0), 5.0, large)
    return maths.where(maths.abs(x) < 5.0, middle, 0.5 * inverse * polynomial(inverse * inverse, DAWSON_SERIES))


EXPINT_SCALE = 8.0
EXPINT_SERIES = tuple(EXPINT_SCALE**k / (k * math.factorial(k)) for k in range(60, 0, -1))
EXPINT_BEND = 24.0
EXPINT_ASYMPTOTIC = tuple(float(math.factorial(k)) for k in range(12, -1, -1))


def _expint(maths: Maths, x: Operand) -> Operand:
    """The power series, from 24 on the asymptotic one; of x > 0."""
    small, large = maths.minimum(x, EXPINT_BEND), maths.maximum(x, EXPINT_BEND)
    scaled = small / EXPINT_SCALE
    near = scaled * polynomial(scaled, EXPINT_SERIES) + maths.log(small) + float(np.euler_gamma)
    far = maths.exp(large) / large * polynomial(1.0 / large, EXPINT_ASYMPTOTIC)
    return maths.where(x < EXPINT_BEND, near, far)


NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)
NODES, WEIGHTS = (NODES + 1) / 2, WEIGHTS / 2
FRESNEL_BEND = 4.0


def _fresnel(wave: str) -> Formula:
    """The integral of sin or cos of pi t * t / 2 by Gauss and Legendre up to 4, from there by the asymptotic series."""

    def formula(maths: Maths, x: Operand) -> Operand:
        magnitude = maths.abs(x)
        near = maths.column(maths.minimum(magnitude, FRESNEL_BEND))
        turn = getattr(maths, wave)
        angles = maths.square(near * maths.row(NODES, near)) * (math.pi / 2)
        inner = maths.like(maths.row_sum(turn(angles) * maths.row(WEIGHTS, near)) * maths.flat(near), x)
        far = maths.maximum(magnitude, FRESNEL_BEND)
        inverse = 1.0 / (math.pi * far * far)
        square = inverse * inverse
        f = polynomial(square, (105.0, -3.0, 1.0)) / (math.pi * far)
        g = polynomial(square, (945.0, -15.0, 1.0)) * inverse / (math.pi * far)
        angle = far * far * (math.pi / 2)
        sine, cosine = maths.sin(angle), maths.cos(angle)
        outer = 0.5 - f * cosine - g * sine if wave == "sin" else 0.5 + f * sine - g * cosine
        return maths.sign(x) * maths.where(magnitude < FRESNEL_BEND, inner, outer)

    return formula


def _spence(maths: Maths, x: Operand) -> Operand:
    """The integral of -log(t) / (t - 1) from 1 to x, in s = log(t): of -s / (1 - exp(-s)), which is smooth. x >= 0."""
    end = maths.log(maths.maximum(x, 1e-30))
    column = maths.column(maths.where(maths.abs(end) < 1e-20, 1e-20, end))
    steps = column * maths.row(NODES, column)
    total = maths.row_sum(steps / maths.expm1(-steps) * maths.row(WEIGHTS, column)) * maths.flat(column)
    return maths.where(x < 0.0, np.nan, maths.like(total, x))


# -- the table -----------------------------------------------------------------------------------------------------


def _examples(*values: float) -> Callable[[], Iterator[Example]]:
    def build() -> Iterator[Example]:
        yield Example((np.array(values, np.float32),), tolerance=1e-5)
        yield Example((np.abs(sample(1, 2, 1, 3, 1, 2)) + np.float32(0.1),), tolerance=1e-5, note="six dims")

    return build


def _function(name: str, formula: Formula, *values: float) -> OpSpec:
    return OpSpec(
        name=name,
        elementwise=True,
        infer=same_as_input,
        evaluate=evaluate_formula(formula),
        expand=expand_formula(formula),
        examples=_examples(*values),
    )


EVERYWHERE = (-9, -3, -0.5, 0, 0.01, 1, 3.7, 5, 12)
POSITIVE = (0.01, 0.3, 1, 1.9, 2.1, 5, 7.9, 12)

SPECS = (
    _function("BesselI0e", _i0e, *EVERYWHERE),
    _function("BesselI1e", _i1e, *EVERYWHERE),
    _function("BesselI0", _scaled_up(_i0e), *EVERYWHERE),
    _function("BesselI1", _scaled_up(_i1e), *EVERYWHERE),
    _function("BesselK0e", _k0e, *POSITIVE),
    _function("BesselK1e", _k1e, *POSITIVE),
    _function("BesselK0", _scaled_down(_k0e), *POSITIVE),
    _function("BesselK1", _scaled_down(_k1e), *POSITIVE),
    _function("BesselJ0", _j0, *EVERYWHERE),
    _function("BesselJ1", _j1, *EVERYWHERE),
    _function("BesselY0", _y0, *POSITIVE),
    _function("BesselY1", _y1, *POSITIVE),
    _function("Dawsn", _dawson, *EVERYWHERE),
    _function("Expint", _expint, *POSITIVE, 23, 30),
    _function("FresnelSin", _fresnel("sin"), *EVERYWHERE),
    _function("FresnelCos", _fresnel("cos"), *EVERYWHERE),
    _function("Spence", _spence, 0, 0.01, 0.5, 1, 1.5, 4, 50),
)
