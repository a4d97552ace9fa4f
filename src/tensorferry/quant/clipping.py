"""Where to cut a histogram so that its values lose least when they become a few levels."""

from __future__ import annotations

import math

import numpy as np

from tensorferry.quant.histogram import Histogram
from tensorferry.tensor import Array

CANDIDATES = 192
"""Places that are tried for each end."""

_SMOOTHING = 1e-4
"""Probability put into empty bins, so that a divergence is finite."""


def least_square_error(histogram: Histogram, steps: int, *, symmetric: bool = False) -> tuple[float, float]:
    """The range (lo, hi) with the least mean square error when it is divided into `steps`.

    Each value beyond an end loses its distance to it; each inside loses step^2 / 12, what rounding costs on average; zeros lose
    nothing, as every range represents them exactly. Both ends are tried together, on a grid of bins' edges.
    """
    edges, counts = _folded(histogram) if symmetric else histogram.cut()
    if not counts.size:
        return 0.0, 0.0
    zero = int(np.searchsorted(edges, 0.0))
    lows, highs = _places(0, zero)[:, None], _places(counts.size, zero)[None, :]
    centres = (edges[:-1] + edges[1:]) / 2
    sums = [np.concatenate([[0.0], np.cumsum(counts * centres**power)]) for power in (0, 1, 2)]

    def beyond(start: Array, stop: Array, end: Array) -> Array:
        """Sum over the values of bins `start` to `stop` of their squared distance to `end`."""
        number, first, second = (each[stop] - each[start] for each in sums)
        return np.asarray(second - 2 * end * first + end**2 * number)

    clipped = beyond(np.zeros_like(lows), lows, edges[lows]) + beyond(highs, np.full_like(highs, counts.size), edges[highs])
    step = (edges[highs] - edges[lows]) * (2 if symmetric else 1) / steps
    cost = clipped + step**2 / 12 * (sums[0][highs] - sums[0][lows])
    cost = np.where(highs > lows, cost, math.inf)
    best_low, best_high = np.unravel_index(int(np.argmin(cost)), cost.shape)
    low, high = float(edges[lows[best_low, 0]]), float(edges[highs[0, best_high]])
    return _within(histogram, -high if symmetric else low, high, symmetric)


def least_divergence(histogram: Histogram, steps: int, *, symmetric: bool = False) -> tuple[float, float]:
    """The range (lo, hi) whose `steps` keep most of the distribution: least Kullback-Leibler divergence.

    As described for NVIDIA's TensorRT (S. Migacz, GTC 2017): what is cut off is added to the outermost bins of the distribution
    that is to be kept, and not to the one that is made of levels. Zeros, which are kept exactly, are left out. With fewer
    bins than steps nothing can be learnt, and the range stays whole. One end is moved after the other.
    """
    edges, counts = _folded(histogram) if symmetric else histogram.cut()
    zero = int(np.searchsorted(edges, 0.0))
    start, stop = 0, counts.size
    groups = max(1, steps // 2) if symmetric else steps
    for _ in range(2 if 0 < zero < counts.size else 1):  # with two ends, the first is looked at again once the second is found
        inner = min(counts.size, max(zero, start + groups))
        stop = _best_end([(start, each) for each in _places(counts.size, inner)], counts, groups, 1)
        inner = max(0, min(zero, stop - groups))
        start = _best_end([(each, stop) for each in _places(0, inner)], counts, groups, 0)
    if not counts.size:
        return 0.0, 0.0
    low, high = float(edges[start]), float(edges[stop])
    return _within(histogram, -high if symmetric else low, high, symmetric)


def _best_end(pairs: list[tuple[int, int]], counts: Array, groups: int, end: int) -> int:
    divergences = [_divergence(counts, start, stop, groups) for start, stop in pairs]
    return int(pairs[int(np.argmin(divergences))][end])


def _divergence(counts: Array, start: int, stop: int, groups: int) -> float:
    inside = counts[start:stop].astype(np.float64)
    if stop - start <= groups or not inside.any():
        return 0.0 if inside.sum() == counts.sum() else math.inf
    group = np.arange(inside.size) * groups // inside.size
    filled = inside > 0
    mass = np.bincount(group, weights=inside, minlength=groups)
    number = np.bincount(group, weights=filled, minlength=groups)
    levelled = np.where(filled, mass[group] / np.maximum(number[group], 1), 0.0)
    inside[0] += counts[:start].sum()
    inside[-1] += counts[stop:].sum()
    wanted, made = _smoothed(inside), _smoothed(levelled)
    return float(np.sum(wanted * np.log(wanted / made)))


def _smoothed(values: Array) -> Array:
    shares = values / values.sum()
    shares = np.maximum(shares, _SMOOTHING / values.size)
    return np.asarray(shares / shares.sum())


def _places(outer: int, inner: int) -> Array:
    """At most CANDIDATES places from the outermost to the innermost, both among them."""
    return np.unique(np.linspace(outer, inner, min(CANDIDATES, abs(outer - inner) + 1)).round().astype(np.int64))


def _folded(histogram: Histogram) -> tuple[Array, Array]:
    """The histogram of magnitudes."""
    edges, counts = histogram.cut()
    zero = int(np.searchsorted(edges, 0.0))
    size = max(zero, counts.size - zero)
    folded = np.zeros(size, np.int64)
    folded[:zero] += counts[:zero][::-1]
    folded[: counts.size - zero] += counts[zero:]
    return np.arange(size + 1) * histogram.width, folded


def _within(histogram: Histogram, low: float, high: float, symmetric: bool) -> tuple[float, float]:
    """A bin reaches beyond the outermost value: the range does not."""
    if symmetric:
        most = min(high, max(-histogram.lowest, histogram.highest))
        return -most, most
    return max(low, min(histogram.lowest, 0.0)), min(high, max(histogram.highest, 0.0))
