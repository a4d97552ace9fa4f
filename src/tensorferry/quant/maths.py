"""From ranges to scales and zero points, and between real and stored numbers. Pure numpy, no tensor recipes.

real = scale * (stored - zero_point), with scales as the file holds them: float32. Conventions are those of LiteRT's 8-bit
specification: weights symmetric without the lowest code (-127..127), so that a product of two never leaves 15 bits;
activations asymmetric over all codes in 8 bits, symmetric in 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from tensorferry.errors import GraphError
from tensorferry.tensor import Array, DType

SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
"""A scale below this is denormal in the file, and kernels divide by it."""


_WHOLE = 1 << 62  # as float64 exactly, and within int64


class NonFiniteError(GraphError):
    """NaN or infinity where a range is needed: there is no grid for it."""


class Rounding(StrEnum):
    """What becomes of a half. XNNPACK's kernels round to even, LiteRT's own and the official converter away from zero."""

    EVEN = "even"
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class Grid:
    """The codes that may be stored: `low` to `high` of `dtype`."""

    dtype: DType
    low: int
    high: int

    @property
    def steps(self) -> int:
        return self.high - self.low

    @property
    def reach(self) -> int:
        """The largest code of which the opposite is stored, too."""
        return min(self.high, -self.low)


_BITS = {DType.INT4: 4, DType.INT8: 8, DType.UINT8: 8, DType.INT16: 16, DType.UINT16: 16, DType.INT32: 32, DType.INT64: 64}


def grid_of(dtype: DType, *, narrow: bool = False) -> Grid:
    """All codes of an integer type; `narrow` leaves out the lowest of a signed one, as weights do."""
    if dtype not in _BITS:
        raise GraphError(f"numbers are not quantised to {dtype.value}", remedy=f"choose one of {', '.join(_BITS)}")
    bits = _BITS[dtype]
    if dtype.value.startswith("u"):
        return Grid(dtype, 0, (1 << bits) - 1)
    return Grid(dtype, -(1 << bits - 1) + narrow, (1 << bits - 1) - 1)


def weight_grid(dtype: DType) -> Grid:
    """Symmetric codes of weights: -127..127 in 8 bits, -7..7 in 4."""
    return grid_of(dtype, narrow=True)


def symmetric_scales(max_abs: Array | float, grid: Grid) -> Array:
    """float32 scales with which +-max_abs are the outermost codes. Where all is zero the scale is 1, as any would do."""
    reach = np.asarray(max_abs, np.float64)
    check_finite(reach)
    scales = np.asarray(np.maximum(reach / grid.reach, SMALLEST_SCALE), np.float32)
    return np.where(reach > 0, scales, np.float32(1))


def asymmetric_parameters(low: Array | float, high: Array | float, grid: Grid) -> tuple[Array, Array]:
    """float32 scales and int64 zero points of ranges, which are first widened to hold zero.

    Zero is a code exactly. Moving the range onto that grid costs up to half a step at one of its ends, never a whole one.
    """
    below = np.minimum(np.asarray(low, np.float64), 0)
    above = np.maximum(np.asarray(high, np.float64), 0)
    check_finite(below)
    check_finite(above)
    if np.any(np.asarray(low) > np.asarray(high)):
        raise GraphError("a range begins above its end")
    width = above - below
    exact = np.maximum(width / grid.steps, SMALLEST_SCALE)
    zero_points = np.clip(np.floor(grid.low - below / exact + 0.5), grid.low, grid.high)  # int8 and uint8 round alike
    scales = np.where(width > 0, exact, 1).astype(np.float32)
    return scales, np.where(width > 0, zero_points, np.clip(0, grid.low, grid.high)).astype(np.int64)


def check_finite(values: Array) -> None:
    """NonFiniteError unless every value is a number."""
    if not np.all(np.isfinite(values)):
        found = "NaN" if np.any(np.isnan(values)) else "infinity"
        raise NonFiniteError(
            f"values that contain {found} cannot be quantised",
            why="the grid of whole numbers spans a finite range",
            remedy="keep what holds them as float",
        )


def rounded(values: Array, rounding: Rounding = Rounding.EVEN) -> Array:
    """The nearest whole numbers, in the type of `values`."""
    if rounding is Rounding.EVEN:
        return np.rint(values)
    whole = np.trunc(values)
    away: Array = whole + np.copysign(np.abs(values - whole) >= 0.5, values).astype(values.dtype)
    return away


def quantize(values: Array, scales: Array, zero_points: Array | int, grid: Grid, rounding: Rounding = Rounding.EVEN) -> Array:
    """Codes in `grid.dtype`, saturated; scales and zero points broadcast against the values.

    Codes of up to 16 bits are computed in float32, which holds them exactly; wider ones in float64.
    """
    check_finite(values)
    wide = np.float32 if grid.steps < 1 << 17 else np.float64
    with np.errstate(over="ignore"):  # infinity saturates as any other large number does
        codes = rounded(np.divide(values, scales, dtype=wide), rounding)
    if np.any(zero_points):
        codes += np.asarray(zero_points, wide)
    bounds = max(grid.low, -_WHOLE), min(grid.high, _WHOLE)
    stored: Array = np.clip(codes, *bounds).astype(grid.dtype.numpy)
    return stored


def dequantize(codes: Array, scales: Array, zero_points: Array | int = 0) -> Array:
    """The real numbers, float32, that codes stand for."""
    real: Array = np.multiply(codes.astype(np.float64) - zero_points, np.asarray(scales, np.float64)).astype(np.float32)
    return real


def along(values: Array, axis: int, rank: int) -> Array:
    """A vector of one value for each index of `axis`, shaped to broadcast against an array of this rank."""
    return values.reshape([-1 if each == axis else 1 for each in range(rank)])


def widen_for_bias(scales: Array, bias: Array, input_scale: float, grid: Grid) -> Array:
    """Weight scales, enlarged where the bias would not fit into the integers that hold it.

    A bias has the scale input_scale * weight_scale. A channel with tiny weights and a sizeable bias would overflow 32 bits;
    coarser steps for weights that hardly count are the lesser error.
    """
    most = grid.high - 1  # one less: the division rounds
    needed = np.abs(np.asarray(bias, np.float64)) / (most * float(input_scale))
    return np.asarray(np.maximum(scales.astype(np.float64), needed * (1 + 2**-22)), np.float32)
