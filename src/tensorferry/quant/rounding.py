"""Rounding that looks at the data: errors of a channel's weights are chosen to cancel on what the layer sees.

A weight's error d adds d . x to each output, whose variance over the data is d' C d with the covariance C of the windows x (the
mean of d . x goes into the bias). Nearest rounding minimises d' d instead. Codes are improved one after the other: given all
others, the best code of a weight is known exactly, so each step lowers d' C d or leaves it. That is the idea of GPTQ (Frantar
et al., 2023), as coordinate descent from nearest rounding: never worse than that on the covariance it is given.
"""

from __future__ import annotations

import numpy as np

from tensorferry.quant.layers import Layer
from tensorferry.quant.maths import Grid
from tensorferry.quant.moments import grouping
from tensorferry.tensor import Array

DAMPING = 0.1
"""Share of the mean variance that is added to each: it stands for what a few samples do not show. Also bounds what may be lost
on other data: with uncorrelated features of equal variance at worst (1 + 1 / DAMPING) times the error of nearest rounding."""

SWEEPS = 4
"""Rounds over all weights; the first two bring nearly all."""

LARGEST_WEIGHT = 1 << 24
"""Elements beyond which a weight is rounded to nearest: time grows with elements times BLOCK."""


def round_to_data(layer: Layer, rows: Array, scales: Array, grid: Grid, metric: Array) -> Array:
    """Codes of the weights [channels, features] of some channels, with a scale for each; `metric` is what `damped` gives."""
    grouped = to_groups(layer, rows)
    steps = np.broadcast_to(scales[:, None, None] if layer.depthwise else scales[None, :, None], (*grouped.shape[:2], 1))
    return from_groups(layer, descend(grouped, steps[:, :, 0].astype(np.float64), grid, metric))


def to_groups(layer: Layer, rows: Array) -> Array:
    """Rows [channels, features] as [groups, channels of a group, features of a group]."""
    if layer.depthwise:
        return rows[:, None, :]
    groups, size = grouping(layer)
    padded = np.pad(rows, ((0, 0), (0, groups * size - layer.features)))
    return padded.reshape(len(rows), groups, size).transpose(1, 0, 2)


def from_groups(layer: Layer, grouped: Array) -> Array:
    """Back to rows."""
    if layer.depthwise:
        return grouped[:, 0]
    return grouped.transpose(1, 0, 2).reshape(grouped.shape[1], -1)[:, : layer.features]


def damped(covariance: Array) -> Array:
    """The covariance with DAMPING of its mean diagonal added to that; the identity where nothing varies."""
    size = covariance.shape[1]
    share = np.trace(covariance, axis1=1, axis2=2) / size
    added = np.where(share > 0, DAMPING * share, 1.0)
    return covariance + added[:, None, None] * np.eye(size)


def descend(weight: Array, steps: Array, grid: Grid, metric: Array) -> Array:
    """Codes of weights [groups, channels, features], steps [groups, channels], metric [groups, features, features]."""
    codes = np.clip(np.rint(weight / steps[:, :, None]), grid.low, grid.high)
    error = codes * steps[:, :, None] - weight
    slope = error @ metric  # half the gradient
    for _ in range(SWEEPS):
        changed = False
        for place in range(weight.shape[2]):
            wanted = error[:, :, place] - slope[:, :, place] / metric[:, place, place, None]
            code = np.clip(np.rint((weight[:, :, place] + wanted) / steps), grid.low, grid.high)
            moved = (code - codes[:, :, place]) * steps
            groups, channels = np.nonzero(moved)
            if groups.size:
                changed = True
                codes[:, :, place] = code
                error[:, :, place] += moved
                slope[groups, channels] += moved[groups, channels, None] * metric[groups, place]
        if not changed:
            break
    return codes
