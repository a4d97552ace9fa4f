"""How far two sets of outputs lie apart, in the measures people state."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tensorferry.tensor import Array

SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)
"""Runtimes count smaller numbers as zero."""

HALF_TOLERANCE = 1e-2
"""A source that computes in half precision is itself only known to about ten of its rounding steps (2**-10)."""


@dataclass(frozen=True, slots=True)
class OutputError:
    """The error of one output against the reference.

    `relative` is the largest absolute error over the largest absolute reference value (finite elements); where the reference
    is all zero (or denormal) it is the absolute error itself. `cosine` is 1 for equal directions. Integers, bools and strings
    must be equal: there `relative` is the share of elements that differ. Of random numbers the figures are NaN: they have none.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    max_absolute: float
    mean_absolute: float
    relative: float
    cosine: float
    passed: bool
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "shape": list(self.shape)}


def compare_outputs(
    reference: Mapping[str, Array],
    results: Mapping[str, Array],
    tolerance: float,
    drawn: Collection[str] = (),
    rounded: Collection[str] = (),
) -> tuple[OutputError, ...]:
    """One record for each reference output, in its order. A missing output is an error like any other.

    Those in `drawn` hang on random numbers: of these, shape, type and distribution are compared. Those in `rounded` hang on
    numbers that the model itself rounds to coarse steps.
    """
    found = []
    for name, array in reference.items():
        result = results.get(name)
        if name in drawn:
            found.append(compare_drawn(name, array, result))
            continue
        error = compare_arrays(name, array, result, tolerance)
        found.append(compare_rounded(error, array, result) if name in rounded and result is not None else error)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What an output that comes of coarse numbers is held to: the mean error, as a part of the largest value, and the direction.

    With `indices`, places and truths may be others, and it is told how many: near ties fall to another side. Whole numbers of up to
    16 bits stand for real ones, and are held to the mean and the direction as these are.
    """

    mean: float
    cosine: float
    why: str
    indices: bool = False


ROUNDED = "the model rounds to steps on its way: the mean error is compared, and the direction"

STEPPED = Allowance(0.02, 0.99, ROUNDED)
"""Measured: LiteRT's own two sets of kernels lie 0.02 (mean, of the largest) apart on the worst output of a quantised PoseNet."""


def compare_rounded(strict: OutputError, reference: Array, result: Array, allowed: Allowance = STEPPED) -> OutputError:
    """A model that rounds to steps on its way takes another step wherever a kernel adds in another order, and goes on from there:
    what two kernels of one runtime give may lie many steps apart. So the mean error is held to a few steps, and the direction.
    """
    if strict.passed or reference.shape != result.shape:
        return strict
    places = all(array.dtype.kind == "b" or (array.dtype.kind in "iu" and array.itemsize > 2) for array in (reference, result))
    if allowed.indices and places:
        return replace(strict, passed=True, problem=f"{strict.relative:.2%} of the whole numbers are others; {allowed.why}")
    numbers = reference.dtype.kind in "fiu" and result.dtype.kind in "fiu"
    if not numbers or not np.isfinite(result.astype(np.float64)).all():
        return strict
    expected, actual = reference.astype(np.float64).reshape(-1), result.astype(np.float64).reshape(-1)
    largest = float(np.max(np.abs(expected), initial=0.0))
    close = strict.mean_absolute <= max(allowed.mean * largest, 1.0 if reference.dtype.kind in "iu" else 0.0)
    direction = _cosine(expected, actual)
    if not close or direction < allowed.cosine:
        return strict
    return replace(strict, cosine=direction, passed=True, problem=allowed.why)


def compare_arrays(name: str, reference: Array, result: Array | None, tolerance: float) -> OutputError:
    """The error of `result` against `reference`."""
    if result is None:
        return _failure(name, reference, "the converted model does not return it")
    if result.shape != reference.shape:
        return _failure(name, reference, f"its shape is {list(result.shape)}, the source gives {list(reference.shape)}")
    if reference.dtype.kind in "fc" and result.dtype.kind in "fc":
        return _compare_floats(name, reference, result, tolerance)
    return _compare_exactly(name, reference, result)


def compare_drawn(name: str, reference: Array, result: Array | None) -> OutputError:
    """Two draws of the same numbers: alike in shape and type, and roughly in where the values lie.

    The means may differ by one deviation of the reference, the deviations by half of it; few numbers say nothing about either.
    """
    if result is None or result.shape != reference.shape:
        return compare_arrays(name, reference, result, math.inf)
    if _kind(result) != _kind(reference):
        return _failure(name, reference, f"its type is {result.dtype}, the source gives {reference.dtype}")
    distance = _distance(reference, result) if reference.dtype.kind in "fiu" and reference.size >= ENOUGH_TO_TELL else 0.0
    if distance > 1.0:
        return _failure(name, reference, "its random numbers lie elsewhere than those of the source")
    unknown = math.nan
    return OutputError(name, str(reference.dtype), reference.shape, unknown, unknown, unknown, unknown, passed=True, problem=DRAWN)


def _kind(array: Array) -> str:
    return array.dtype.kind.replace("u", "i")


ENOUGH_TO_TELL = 100
"""Random numbers, before their mean and deviation are compared."""

DRAWN = "drawn at random: shape, type and distribution are compared"


def _distance(reference: Array, result: Array) -> float:
    """How far two sets of numbers lie apart; above 1 they are not of the same distribution."""
    expected, actual = reference.astype(np.float64), result.astype(np.float64)
    if not np.isfinite(actual).all():
        return 0.0 if not np.isfinite(expected).all() else math.inf
    spread = max(float(expected.std()), SMALLEST_NORMAL)
    return max(abs(float(actual.mean() - expected.mean())) / spread, 2 * abs(float(actual.std()) - spread) / spread)


def _compare_floats(name: str, reference: Array, result: Array, tolerance: float) -> OutputError:
    tolerance = max(tolerance, HALF_TOLERANCE if reference.dtype == np.float16 else 0.0)
    wide = np.complex128 if reference.dtype.kind == "c" else np.float64
    with np.errstate(all="ignore"):  # what a runtime left uninitialised may hold signalling NaNs
        expected, actual = reference.astype(wide).reshape(-1), result.astype(wide).reshape(-1)
    finite = np.isfinite(expected)
    special = ~finite
    if not np.array_equal(finite, np.isfinite(actual)) or not np.array_equal(expected[special], actual[special], equal_nan=True):
        return _failure(name, reference, "infinite or undefined values (inf, NaN) are not at the same places")
    expected, actual = expected[finite], actual[finite]
    with np.errstate(all="ignore"):
        difference = np.abs(actual - expected)
    largest = float(np.max(np.abs(expected), initial=0.0))
    worst = float(np.max(difference, initial=0.0))
    relative = worst / largest if largest >= SMALLEST_NORMAL else worst
    return OutputError(
        name=name,
        dtype=str(reference.dtype),
        shape=reference.shape,
        max_absolute=worst,
        mean_absolute=float(np.mean(difference)) if difference.size else 0.0,
        relative=relative,
        cosine=_cosine(expected, actual),
        passed=relative <= tolerance,
    )


def _cosine(one: Array, other: Array) -> float:
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    if norms == 0.0:
        return 1.0 if np.array_equal(one, other) else 0.0
    return min(1.0, float(np.real(np.vdot(one, other))) / norms)


def _compare_exactly(name: str, reference: Array, result: Array) -> OutputError:
    """Whole numbers, booleans and texts. A target without uint32 gives its bits as int32."""
    if reference.dtype == np.uint32 and result.dtype == np.int32:
        result = result.view(np.uint32)
    if reference.dtype.kind in "iu" and result.dtype.kind in "iu":
        difference = np.abs(reference.astype(np.float64) - result.astype(np.float64))
        differs = reference.astype(object) != result.astype(object) if difference.size < 1 << 16 else difference != 0
    else:
        differs = _as_comparable(reference) != _as_comparable(result)
        difference = np.asarray(differs, dtype=np.float64)
    share = float(np.mean(differs)) if reference.size else 0.0
    return OutputError(
        name=name,
        dtype="string" if reference.dtype.kind == "O" else str(reference.dtype),
        shape=reference.shape,
        max_absolute=float(np.max(difference, initial=0.0)),
        mean_absolute=float(np.mean(difference)) if reference.size else 0.0,
        relative=share,
        cosine=1.0 if share == 0.0 else math.nan,
        passed=share == 0.0,
    )


def _as_comparable(array: Array) -> Array:
    if array.dtype.kind not in "OSU":
        return array
    encoded = [each.encode() if isinstance(each, str) else bytes(each) for each in array.reshape(-1)]
    return np.asarray([*encoded, None], dtype=object)[:-1].reshape(array.shape)


def _failure(name: str, reference: Array, problem: str) -> OutputError:
    worst = math.inf
    return OutputError(name, str(reference.dtype), reference.shape, worst, worst, worst, 0.0, passed=False, problem=problem)
