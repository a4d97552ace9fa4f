"""A histogram of numbers that come in pieces, whose range nobody knows beforehand."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tensorferry.tensor import Array

BINS = 4096
"""Bins of one histogram: between 8 and 16 to a step of 8 bits, 32 KiB a tensor."""

PIECE = 1 << 18
"""Elements that are looked at together: their temporary copies stay within a few MiB."""

_LEAST_EXPONENT = -100
"""Bins from 2 to this power up to 1 wide: there scaling float32 by the width neither overflows nor rounds away the sign."""


LARGEST = float(np.finfo(np.float32).max)
"""What LiteRT's kernels cut infinities down to."""


class NotFinite(ValueError):
    """Values among which is NaN or an infinity."""


def ends(values: Array) -> tuple[float, float]:
    """The lowest and the highest of at least one value. Raises NotFinite."""
    low, high = float(values.min()), float(values.max())
    if not -LARGEST < low <= high < LARGEST:
        raise NotFinite("a value is NaN or infinite")
    return low, high


class Histogram:
    """Counts in bins of equal width, a power of two, that meet at zero; exact zeros are counted apart.

    When a value lies beyond the last bin, the width doubles until all fit, and bins join in pairs: no count moves to another
    bin than the one it would have been put into at once. So the result depends on the values alone, not on their order, and no
    second pass is needed. Zero always lies within, as it does in every quantised range.
    """

    def __init__(self, bins: int = BINS) -> None:
        self.bins = bins
        self.zeros = 0
        self.total = 0
        self.lowest = math.inf
        self.highest = -math.inf
        self._exponent: int | None = None  # None until a value other than zero was seen
        self._first = 0  # which multiple of the width the first bin begins at
        self._counts = np.zeros(bins, np.int64)

    @property
    def width(self) -> float:
        return math.ldexp(1.0, self._exponent) if self._exponent is not None else 0.0

    def add(self, values: Array) -> None:
        """Count all elements. Raises NotFinite, and counts none of them, if one is NaN or infinite."""
        if not values.size:
            return
        low, high = ends(values)
        self.lowest, self.highest = min(self.lowest, low), max(self.highest, high)
        self.total += values.size
        if self.lowest != 0 or self.highest != 0:
            self._widen(min(self.lowest, 0.0), max(self.highest, 0.0))
        for piece in _pieces(values):
            self._count(piece)

    def _count(self, values: Array) -> None:
        zeros = values.size - int(np.count_nonzero(values))
        self.zeros += zeros
        if self._exponent is None:
            return
        if values.dtype != np.float32 or not _LEAST_EXPONENT <= self._exponent <= 0:
            places = np.floor(np.ldexp(values.astype(np.float64), -self._exponent))
        else:
            places = values * np.float32(math.ldexp(1.0, -self._exponent))
            np.floor(places, out=places)
        self._counts += np.bincount(places.astype(np.int64) - self._first, minlength=self.bins)
        self._counts[-self._first] -= zeros  # they fell into the bin that begins at zero

    def _widen(self, low: float, high: float) -> None:
        """Make the bins so wide, and no wider, that these two ends fit."""
        exponent = self._exponent
        if exponent is None:
            exponent = math.frexp(max(high, -low))[1] - math.frexp(self.bins)[1] - 1
        while math.floor(math.ldexp(high, -exponent)) - math.floor(math.ldexp(low, -exponent)) >= self.bins:
            exponent += 1
        first = math.floor(math.ldexp(low, -exponent))
        if self._exponent is not None and (exponent, first) != (self._exponent, self._first):
            places = (np.arange(self._first, self._first + self.bins) >> (exponent - self._exponent)) - first
            filled = self._counts > 0
            counts = np.zeros(self.bins, np.int64)
            np.add.at(counts, places[filled], self._counts[filled])
            self._counts = counts
        self._exponent, self._first = exponent, first

    def cut(self) -> tuple[Array, Array]:
        """The bins from the lowest value's (or zero's) to the highest's: (edges, one more than counts; counts without zeros)."""
        if self._exponent is None:
            return np.zeros(1), np.zeros(0, np.int64)
        last = math.floor(math.ldexp(max(self.highest, 0.0), -self._exponent)) - self._first + 1
        edges = np.ldexp(np.arange(self._first, self._first + last + 1, dtype=np.float64), self._exponent)
        return edges, self._counts[:last].copy()

    def quantile(self, share: float) -> float:
        """The value that this share of all values (zeros too) lies below, right within a bin's width."""
        if not self.total:
            raise ValueError("nothing was counted")
        edges, counts = self.cut()
        if not counts.size:
            return 0.0
        at_zero = -self._first  # the bin that begins at zero; zeros lie at its lower edge
        below = np.concatenate([[0], np.cumsum(counts)]).astype(np.float64)
        below[at_zero + 1 :] += self.zeros
        wanted = share * self.total
        if at_zero < counts.size and below[at_zero] < wanted <= below[at_zero] + self.zeros:
            return 0.0
        place = int(np.clip(np.searchsorted(below, wanted, side="left") - 1, 0, counts.size - 1))
        start = below[place] + (self.zeros if place == at_zero else 0)
        inside = (wanted - start) / counts[place] if counts[place] else 0.0
        value = edges[place] + min(max(inside, 0.0), 1.0) * self.width
        return float(min(max(value, self.lowest), self.highest))


def _pieces(values: Array) -> Iterator[Array]:
    flat = values.reshape(-1)
    return (flat[start : start + PIECE] for start in range(0, flat.size, PIECE))
