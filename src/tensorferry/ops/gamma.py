"""The gamma function's logarithm and its derivatives, incomplete gamma and beta integrals, Hurwitz's zeta function."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from tensorferry.ir import Node, Shape, Typed
from tensorferry.ops.formulas import Formula, Maths, Operand, evaluate_formula, expand_formula, polynomial
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Evaluate, Example, OpSpec, broadcast_shapes
from tensorferry.ops.special import map_elements
from tensorferry.tensor import Array

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)

# -- log gamma -----------------------------------------------------------------------------------------------------


def _fit_middle() -> tuple[float, ...]:
    """lgamma(x) / ((x - 1) (x - 2)) on [1, 3] as a polynomial in x - 2, from values at Chebyshev's points."""
    degree = 13  # odd: no point is 2 itself, where both are 0
    points = 2 + np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    values = [math.lgamma(point) / ((point - 1) * (point - 2)) for point in points.tolist()]
    return tuple(np.polynomial.Polynomial.fit(points - 2, values, degree, domain=(-1, 1)).coef[::-1].tolist())


MIDDLE = _fit_middle()
STIRLING = (-1 / 1680, 1 / 1260, -1 / 360, 1 / 12)
"""Of Stirling's series for log gamma, in 1 / x squared; from x = 3 on good to 4e-8."""


def _correction(x: Operand) -> Operand:
    """What Stirling's formula lacks."""
    inverse = 1.0 / x
    return inverse * polynomial(inverse * inverse, STIRLING)


def _positive_lgamma(maths: Maths, x: Operand) -> Operand:
    """For x > 0. Between 1 and 3 a polynomial with both zeros taken out, so that nothing cancels near them."""
    below = x < 1.0
    middle = maths.minimum(maths.where(below, x + 1.0, x), 3.0)
    near = (middle - 1.0) * (middle - 2.0) * polynomial(middle - 2.0, MIDDLE)
    near = maths.where(below, near - maths.log(x), near)
    large = maths.maximum(x, 3.0)
    far = (large - 0.5) * (maths.log(large) - 1.0) + (HALF_LOG_2PI - 0.5) + _correction(large)
    return maths.where(x < 3.0, near, far)


def lgamma(maths: Maths, x: Operand) -> Operand:
    """log |gamma(x)|, below a half by reflection."""
    mirrored = maths.where(x < 0.5, 1.0 - x, x)
    direct = _positive_lgamma(maths, mirrored)
    fraction = x - maths.floor(x)
    sine = maths.sin(math.pi * fraction)
    between = fraction > 0.0  # integers are poles, and -inf, which has no fraction
    turned = math.log(math.pi) - maths.log(maths.where(between, sine, 1.0)) - direct
    return maths.where(x < 0.5, maths.where(between, turned, np.inf), direct)


# -- its derivatives -----------------------------------------------------------------------------------------------

DIGAMMA_SHIFT = 6
DIGAMMA_SERIES = (1 / 240, -1 / 252, 1 / 120, -1 / 12)


def _digamma(maths: Maths, x: Operand) -> Operand:
    """The asymptotic series at x + 6 less what the recurrence adds; below a half by reflection."""
    mirrored = maths.where(x < 0.5, 1.0 - x, x)
    moved = mirrored + float(DIGAMMA_SHIFT)
    inverse = 1.0 / moved
    square = inverse * inverse
    total = maths.log(moved) - 0.5 * inverse + square * polynomial(square, DIGAMMA_SERIES)
    for step in range(DIGAMMA_SHIFT):
        total = total - 1.0 / (mirrored + float(step))
    fraction = x - maths.round(x)
    pole = maths.equal(fraction, 0.0)
    turned = total - math.pi / maths.tan(math.pi * maths.where(pole, 0.25, fraction))
    return maths.where(x < 0.5, maths.where(pole, np.nan, turned), total)


ZETA_TERMS = 9
EULER_MACLAURIN = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160)
"""B(2j) / (2j)!."""


def zeta(maths: Maths, x: Operand, q: Operand) -> Operand:
    """The sum of (q + k) ** -x: nine terms, the rest by Euler and Maclaurin."""
    total = None
    for k in range(ZETA_TERMS):
        term = maths.apply("Pow", q + float(k), -x)
        total = term if total is None else total + term
    base = q + float(ZETA_TERMS)
    power = maths.apply("Pow", base, -x)
    rest = base * power / (x - 1.0) + 0.5 * power
    factor = power * x / base
    for j, coefficient in enumerate(EULER_MACLAURIN):
        rest = rest + coefficient * factor
        factor = factor * (x + float(2 * j + 1)) * (x + float(2 * j + 2)) / (base * base)
    return total + rest


def _zeta(maths: Maths, x: Operand, q: Operand) -> Operand:
    """As TensorFlow: infinite at x = 1, undefined below; q above 0 only."""
    inside = zeta(maths, maths.where(x > 1.0, x, 2.0), q)
    return maths.where(x > 1.0, inside, maths.where(maths.equal(x, 1.0), np.inf, x * np.nan))


def _polygamma(maths: Maths, n: Operand, x: Operand) -> Operand:
    """(-1) ** (n + 1) n! zeta(n + 1, x); digamma for n = 0."""
    order = maths.where(n > 0.0, n, 1.0)
    odd = order - 2.0 * maths.floor(order * 0.5)
    high = (2.0 * odd - 1.0) * maths.exp(lgamma(maths, order + 1.0)) * zeta(maths, order + 1.0, x)
    return maths.where(n > 0.0, high, _digamma(maths, x + 0.0 * n))


# -- incomplete integrals ------------------------------------------------------------------------------------------

NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)
NODES, WEIGHTS = (NODES + 1) / 2, WEIGHTS / 2
DECAY = 18.0
"""The integrands are logarithmically concave: they are followed until they have fallen by exp(-18)."""


def _integrate(maths: Maths, exponent: Callable[[Operand], Operand], start: Operand, width: Operand) -> Operand:
    """The integral over `width` of exp(start + exponent(t)), by Gauss and Legendre; operands are columns."""
    steps = width * maths.row(NODES, width)
    return maths.row_sum(maths.exp(start + exponent(steps)) * maths.row(WEIGHTS, width)) * maths.flat(width)


def _gamma_start(maths: Maths, a: Operand, x: Operand) -> Operand:
    """a log(x) - x - lgamma(a), by what x differs from a, so that large ones do not cancel."""
    excess = (x - a) / a
    stirling = 0.5 * maths.log(a * (0.5 / math.pi)) - _correction(maths.maximum(a, 3.0))
    small = maths.minimum(a, 3.0)
    direct = small * maths.log(small) - small - _positive_lgamma(maths, small)
    ratio = maths.where(excess < -0.5, maths.log(x) - maths.log(a), maths.log1p(maths.maximum(excess, -0.5)))
    return a * (ratio - excess) + maths.where(a < 3.0, direct, stirling)


def _lower_share(maths: Maths, a: Operand, x: Operand) -> tuple[Operand, Operand]:
    """(whether x < a, the smaller part of the integral: below x in that case, else above). In log(t), from log(x) on.

    Below, the integral for a + 1 is taken, which falls off soon enough, and the difference added.
    """
    left = x < a
    order = maths.where(left, a + 1.0, a)
    start = _gamma_start(maths, order, x)
    slope = maths.abs(order - x)
    spread = maths.minimum(maths.sqrt(2 * DECAY / order), maths.log(2.0 + DECAY / order + maths.log1p(DECAY / order)))
    spread = maths.where(left, DECAY / order + maths.sqrt(2 * DECAY / order), spread)
    width = maths.minimum(spread, DECAY / maths.maximum(slope, 1e-3))
    sign = maths.where(left, slope * 0.0 - 1.0, slope * 0.0 + 1.0)
    columns = [maths.column(each) for each in (order, x, start, width, sign)]
    part = _integrate(
        maths,
        lambda t: columns[0] * columns[4] * t - columns[1] * maths.expm1(columns[4] * t),
        columns[2],
        columns[3],
    )
    part = maths.like(part, x)
    return left, maths.where(left, part + maths.exp(start) / x, part)


def _igamma(maths: Maths, a: Operand, x: Operand) -> Operand:
    return _gamma_integral(maths, a, x, lower=True)


def _igammac(maths: Maths, a: Operand, x: Operand) -> Operand:
    return _gamma_integral(maths, a, x, lower=False)


def _gamma_integral(maths: Maths, a: Operand, x: Operand, *, lower: bool) -> Operand:
    a, x = a + 0.0 * x, x + 0.0 * a
    inside = (x > 0.0) & (a > 0.0)
    left, part = _lower_share(maths, maths.where(inside, a, 1.0), maths.where(inside, x, 1.0))
    one, other = (part, 1.0 - part) if lower else (1.0 - part, part)
    edge = maths.where(maths.equal(x, 0.0) & (a > 0.0), 0.0 if lower else 1.0, a * 0.0 + np.nan)
    return maths.where(inside, maths.where(left, one, other), edge)


def _betainc(maths: Maths, a: Operand, b: Operand, x: Operand) -> Operand:
    """Good to 4e-5, because logarithms of gammas cancel. In log(t / (1 - t)), from x away from the larger part.

    That is made to lie at the right by swapping both ends, and the integral for a + 1 is taken, which falls off soon enough.
    """
    zero = 0.0 * (a + b + x)
    a, b, x = a + zero, b + zero, x + zero
    inside = (x > 0.0) & (x < 1.0)
    within = maths.where(inside, x, 0.5)
    swapped = within * (a + b) > a
    first, second = maths.where(swapped, b, a), maths.where(swapped, a, b)
    rest = maths.where(swapped, within, 1.0 - within)
    t = maths.where(swapped, 1.0 - within, within)
    order = first + 1.0
    log_beta = _positive_lgamma(maths, order) + _positive_lgamma(maths, second) - _positive_lgamma(maths, order + second)
    start = order * maths.log(t) + second * maths.log(rest) - log_beta
    spread = DECAY / order + maths.sqrt(2 * DECAY * (order + second) / (order * second))
    width = maths.minimum(spread, DECAY / maths.maximum(order - (order + second) * t, 1e-3))
    columns = [maths.column(each) for each in (order, order + second, t, start, width)]
    part = _integrate(
        maths,
        lambda u: -columns[0] * u - columns[1] * maths.log1p(columns[2] * maths.expm1(-u)),
        columns[3],
        columns[4],
    )
    part = maths.like(part, x) + maths.exp(start) / (t * (first + second))
    result = maths.where(swapped, 1.0 - part, part)
    return maths.where(inside, result, maths.where(x <= 0.0, zero, zero + 1.0))


# -- examples ------------------------------------------------------------------------------------------------------


def _lgamma_examples() -> Iterator[Example]:
    yield Example((np.array([0.01, 0.3, 1, 1.4, 2, 2.5, 3, 7, 20, 100], np.float32),))
    yield Example((np.array([1.001, 1.999, 0.999, 2.01], np.float32),), tolerance=1e-5, note="near its zeros")
    yield Example((np.array([-0.5, -1.3, -7.25, -0.01], np.float32),), tolerance=3e-6, note="negative")
    yield Example((np.array([0, -1, -3, -np.inf, np.nan, 1.5], np.float32),), note="poles")
    yield Example((np.abs(sample(1, 2, 1, 3, 1, 2)) + np.float32(0.1),), note="six dims")
    yield Example((np.array(2.5, np.float64),), note="scalar float64")


def _digamma_examples() -> Iterator[Example]:
    yield Example((np.array([0.01, 0.3, 1, 1.4, 2, 2.5, 7, 20, 100], np.float32),))
    yield Example((np.array([-0.5, -1.3, -7.25], np.float32),), tolerance=1e-5, note="negative")
    yield Example((np.abs(sample(1, 2, 1, 3, 1, 2)) + np.float32(0.1),), note="six dims")


def _zeta_examples() -> Iterator[Example]:
    yield Example((np.array([1.5, 2, 3, 7.5, 2], np.float32), np.array([0.5, 1, 2.5, 3, 40], np.float32)), tolerance=1e-5)
    yield Example((np.array([[2], [4]], np.float32), np.array([0.3, 5], np.float32)), tolerance=1e-5, note="both stretch")


def _polygamma_examples() -> Iterator[Example]:
    yield Example((np.array([0, 1, 2, 3, 5], np.float32), np.array([0.5, 1, 2.5, 3, 4], np.float32)), tolerance=2e-5)
    yield Example((np.array(1, np.float32), sample(2, 3) ** 2 + np.float32(0.2)), constants=(0,), tolerance=2e-5, note="trigamma")


def _igamma_examples() -> Iterator[Example]:
    a = np.array([[0.1, 0.5, 1, 2.5], [7, 20, 100, 3]], np.float32)
    yield Example((a, np.array([[0.05, 0.5, 2, 0.1], [9, 15, 110, 0]], np.float32)), tolerance=1e-5)
    yield Example((a[:, :1], np.array([0.3, 4, 11], np.float32)), tolerance=1e-5, note="both stretch")
    yield Example((np.full((1, 2, 1, 1, 2), 1.5, np.float32), np.abs(sample(1, 2, 1, 1, 2))), tolerance=1e-5, note="five dims")


def _betainc_examples() -> Iterator[Example]:
    a = np.array([[0.2, 0.5, 1, 2.5], [7, 20, 60, 3]], np.float32)
    b = np.array([[0.7, 3, 1, 0.5], [2, 30, 50, 3]], np.float32)
    x = np.array([[0.1, 0.9, 0.25, 0.999], [0.8, 0.35, 0.55, 0]], np.float32)
    yield Example((a, b, x), tolerance=4e-5)


def _evaluate_lgamma(_node: Node, x: Array) -> Array:
    return map_elements(_lgamma_of, x).astype(x.dtype)


def _lgamma_of(x: float) -> float:
    return math.inf if x <= 0 and (math.isinf(x) or x.is_integer()) else math.lgamma(x)


def _infer_broadcast(node: Node) -> list[Typed]:
    shape: Shape = ()
    for value in node.inputs:
        shape = broadcast_shapes(shape, value.shape)
    return [Typed(node.inputs[0].dtype, shape)]


def _function(name: str, formula: Formula, examples: Callable[[], Iterator[Example]], evaluate: Evaluate | None = None) -> OpSpec:
    return OpSpec(
        name=name,
        elementwise=True,
        infer=_infer_broadcast,
        evaluate=evaluate or evaluate_formula(formula),
        expand=expand_formula(formula, guarded=formula is lgamma),
        examples=examples,
    )


SPECS = (
    _function("Lgamma", lgamma, _lgamma_examples, _evaluate_lgamma),
    _function("Digamma", _digamma, _digamma_examples),
    _function("Zeta", _zeta, _zeta_examples),
    _function("Polygamma", _polygamma, _polygamma_examples),
    _function("Igamma", _igamma, _igamma_examples),
    _function("Igammac", _igammac, _igamma_examples),
    _function("Betainc", _betainc, _betainc_examples),
)
