"""Scales that err least: a channel's largest weight need not be a code if all others gain finer steps by its saturation.

Used for 4 bits. In 8 bits it brings nothing that could be measured, whether errors count alike or by what the data varies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from tensorferry.ir import Quantization
from tensorferry.quant.maths import Grid
from tensorferry.quant.weights import as_floats
from tensorferry.tensor import Array, Tensor

SHARES = np.linspace(0.4, 1, 31)
"""Shares of the full range that are tried, 1 among them: the result is never worse than the full range by its own measure."""

_SLICE = 1 << 20
"""Elements of a weight worked on at a time, in several float64 arrays."""


def shrink_to_fit(tensor: Tensor, quantization: Quantization, grid: Grid) -> Quantization:
    """With the scales, along the first axis, with which the sum of squared errors of each channel is least."""
    full = np.asarray(quantization.scales, np.float64)
    shares = np.ones(full.size)
    for place, rows in rows_of(tensor, full.size):
        shares[place] = best_shares(rows, full[place], grid)
    return replace(quantization, scales=tuple(map(float, np.asarray(full * shares, np.float32))))


def best_shares(rows: Array, scales: Array, grid: Grid) -> Array:
    """For weights [channels, features] and the scales of their full range: the share of it that errs least, by channel."""
    best = np.ones(len(rows))
    least = np.full(len(rows), np.inf)
    for share in SHARES[::-1]:
        steps = (scales * share)[:, None]
        total = np.sum(np.square(np.clip(np.rint(rows / steps), grid.low, grid.high) * steps - rows), axis=1)
        better = total < least * (1 - 1e-9)  # equal ones keep the larger range
        best, least = np.where(better, share, best), np.where(better, total, least)
    return best


def rows_of(tensor: Tensor, channels: int) -> Iterator[tuple[slice, Array]]:
    """A weight whose first axis are channels as rows [channels, features], float64, some channels at a time."""
    features = tensor.size // channels if channels else 0
    held: list[Array] = []
    count = first = 0
    for chunk in tensor.chunks():
        held.append(as_floats(np.frombuffer(chunk, tensor.dtype.numpy), tensor.dtype))
        count += held[-1].size
        if count >= max(_SLICE, features):
            joined, whole = np.concatenate(held), count // features
            yield slice(first, first + whole), joined[: whole * features].reshape(whole, -1).astype(np.float64)
            first, held = first + whole, [joined[whole * features :]]
            count = held[0].size
    if count:
        yield slice(first, channels), np.concatenate(held).reshape(-1, features).astype(np.float64)
