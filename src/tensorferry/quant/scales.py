"""Scales that err least: a channel's largest weight need not be a code if all others gain finer steps by its saturation.

In 8 bits that brings little, in 4 bits much. Data tells how much an error of each weight counts: what a feature varies by.
"""

from __future__ import annotations

import numpy as np

from tensorferry.quant.maths import Grid
from tensorferry.tensor import Array

SHARES = np.linspace(0.4, 1, 31)
"""Shares of the full range that are tried, 1 among them: the result is never worse than the full range by its own measure."""


def best_shares(rows: Array, scales: Array, grid: Grid, importance: Array | None = None) -> Array:
    """For weights [channels, features] and the scales of their full range: the share of it that errs least, by channel.

    The error is the sum of squares, each times the `importance` of its feature: [features] or [channels, features]; None: 1.
    """
    counts = np.ones(1) if importance is None else importance
    best = np.ones(len(rows))
    least = np.full(len(rows), np.inf)
    for share in SHARES[::-1]:
        steps = (scales * share)[:, None]
        error = np.clip(np.rint(rows / steps), grid.low, grid.high) * steps - rows
        total = np.sum(np.square(error) * counts, axis=1)
        better = total < least * (1 - 1e-9)  # equal ones keep the larger range
        best, least = np.where(better, share, best), np.where(better, total, least)
    return best
