"""Weights that lie on a grid already: trained for it (FakeQuant), or read from a quantised file. They keep it, and lose nothing."""

from __future__ import annotations

import math

import numpy as np

from tensorferry.quant.maths import Grid
from tensorferry.quant.weights import ChannelRanges, as_floats
from tensorferry.tensor import Array, Tensor

LARGEST = 1 << 22
"""Elements; larger weights are not looked through."""

FIRST_LOOK = 64
"""Elements of each channel that nearly always tell that it lies on no grid."""

CLOSE = 2e-3
"""Steps that a float32 product of a code and a scale may lie beside the code, after a batch norm was folded into it, too."""


def stepped_scales(tensor: Tensor, ranges: ChannelRanges, grid: Grid) -> Array | None:
    """Scales with which every channel consists of codes, the coarsest that do; None where one lies on no grid."""
    if tensor.size > LARGEST or not tensor.size:
        return None
    numbers = as_floats(tensor.array(), tensor.dtype)
    rows = (
        numbers.reshape(1, -1)
        if ranges.axis is None
        else np.moveaxis(numbers, ranges.axis, 0).reshape(numbers.shape[ranges.axis], -1)
    )
    largest = np.asarray(ranges.max_abs, np.float64)
    scales = np.ones(len(rows))
    for place, row in enumerate(rows):
        if largest[place] > 0:
            steps = _steps(row.astype(np.float64), largest[place], grid.reach)
            if not steps:
                tensor.release()
                return None
            scales[place] = largest[place] / steps
    tensor.release()
    return scales.astype(np.float32)


def _steps(row: Array, largest: float, most: int) -> int:
    """The fewest steps from zero to the largest element with which all others are whole; 0: none up to `most`."""
    counts = np.arange(1, most + 1)
    for elements in (row[:: max(1, math.ceil(row.size / FIRST_LOOK))], row):
        codes = np.abs(elements) * (counts[:, None] / largest)
        counts = counts[np.all(np.abs(codes - np.rint(codes)) < CLOSE, axis=1)]
        if not counts.size:
            return 0
    return int(counts[0])
