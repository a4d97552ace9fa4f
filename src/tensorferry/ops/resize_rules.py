"""Which old rows make a new one, and how much of each: the sampling rules of TensorFlow's resizing kernels, in float32 as there."""

from __future__ import annotations

import math

import numpy as np

from tensorferry.ops.formulas import ArrayMaths, Formula, Maths, Operand
from tensorferry.ops.spec import Declined
from tensorferry.tensor import Array

Spans = tuple[Array, Array]
"""Old indices and their weights, [new, as many as any of them needs]."""

TABLE = 1024
"""TensorFlow looks the cubic kernel up at this many places between two elements."""

TINY = 1000 * np.finfo(np.float32).tiny
"""Sums of weights below this are not divided by."""


def scale_of(before: int, after: int, align: bool) -> np.float32:
    if align and after > 1:
        return np.float32(before - 1) / np.float32(after - 1)
    return np.float32(before) / np.float32(after)


def _places(before: int, after: int, align: bool, half: bool) -> Array:
    """Where on the old axis each new row begins; with half pixels, where its middle lies."""
    steps, scale = np.arange(after).astype(np.float32), scale_of(before, after, align)
    places: Array = (steps + np.float32(0.5)) * scale if half else steps * scale
    return places


# -- bilinear and nearest --------------------------------------------------------------------------------------------


def linear_spans(before: int, after: int, align: bool, half: bool) -> Spans:
    """Two rows each, the nearer the more; beyond the image the outermost row."""
    places = _places(before, after, align, half) - np.float32(0.5 if half else 0)
    floor = np.floor(places)
    lower = np.maximum(floor.astype(np.int64), 0)
    upper = np.minimum(np.ceil(places).astype(np.int64), before - 1)
    return np.stack([lower, upper], axis=1), np.stack([1 - (places - floor), places - floor], axis=1).astype(np.float32)


def nearest_spans(before: int, after: int, align: bool, half: bool) -> Spans:
    """One row each. Halves are rounded up where corners are aligned, else everything down."""
    places = _places(before, after, align, half)
    rows = np.floor(places)
    if align:
        rows += places - rows >= 0.5
    return np.clip(rows.astype(np.int64), 0, before - 1)[:, None], np.ones((after, 1), np.float32)


# -- bicubic ---------------------------------------------------------------------------------------------------------


def cubic_taps(offset: Operand, half: bool) -> list[Operand]:
    """Weights of the four rows around a place `offset` behind the second: Keys' cubic convolution kernel, far, near, near and far,
    with a free parameter that hangs on how the rows are placed."""
    sharpness = -0.5 if half else -0.75

    def near(distance: Operand) -> Operand:
        return (distance * (sharpness + 2) - (sharpness + 3)) * distance * distance + 1

    def far(distance: Operand) -> Operand:
        return ((distance * sharpness - 5 * sharpness) * distance + 8 * sharpness) * distance - 4 * sharpness

    return [far(offset + 1), near(offset), near(1 - offset), far(2 - offset)]


def cubic_spans(before: int, after: int, align: bool, half: bool) -> Spans:
    """Four rows each. With half pixels, rows outside the image weigh nothing; else the outermost row stands for them."""
    places = _places(before, after, align, half) - np.float32(0.5 if half else 0)
    floor = np.floor(places)
    offset = np.rint((places - floor) * np.float32(TABLE)).astype(np.float32) / np.float32(TABLE)
    weights = np.stack(cubic_taps(offset, half), axis=1)
    wanted = floor.astype(np.int64)[:, None] + np.arange(-1, 3)
    indices = np.clip(wanted, 0, before - 1)
    if half:
        weights = np.where(indices == wanted, weights, np.float32(0))
        total = weights.sum(axis=1, keepdims=True)
        weights = np.where(np.abs(total) >= TINY, weights / np.where(total == 0, 1, total), weights)
    return indices, weights.astype(np.float32)


# -- area ------------------------------------------------------------------------------------------------------------


def area_spans(before: int, after: int, align: bool) -> Spans:
    """Every old row by how much of it the new one covers."""
    scale = scale_of(before, after, align)
    rows: list[list[tuple[int, float]]] = []
    for row in range(after):
        start, end = np.float32(row) * scale, np.float32(row + 1) * scale
        covered = []
        for old in range(int(np.floor(start)), int(np.ceil(end))):
            share = min(np.float32(old + 1), end) - max(np.float32(old), start)
            covered.append((min(max(old, 0), before - 1), float(share / scale)))
        rows.append(covered)
    return _packed(rows)


def _packed(rows: list[list[tuple[int, float]]]) -> Spans:
    """Rows of different lengths, filled up with weights of 0."""
    longest = max(1, *map(len, rows))
    indices, weights = np.zeros((len(rows), longest), np.int64), np.zeros((len(rows), longest), np.float32)
    for number, row in enumerate(rows):
        for place, (index, weight) in enumerate(row):
            indices[number, place], weights[number, place] = index, weight
    return indices, weights


# -- kernels of ScaleAndTranslate ------------------------------------------------------------------------------------


def _lanczos(radius: float) -> Formula:
    def kernel(maths: Maths, x: Operand) -> Operand:
        angle = maths.maximum(x, 1e-3) * math.pi
        value = maths.sin(angle) * maths.sin(angle / radius) * radius / (angle * angle)
        return maths.where(x > radius, 0, maths.where(x <= 1e-3, 1, value))

    return kernel


def _gaussian(maths: Maths, x: Operand) -> Operand:
    return maths.where(x >= 1.5, 0, maths.exp(x * x / (-2 * 0.5 * 0.5)))


def _box(maths: Maths, x: Operand) -> Operand:
    return maths.where(x < 0.5, 1, maths.where(maths.equal(x, 0.5), 0.5, x * 0))


def _triangle(maths: Maths, x: Operand) -> Operand:
    return maths.maximum(1 - x, 0)


def _keys(maths: Maths, x: Operand) -> Operand:
    near = (x * 1.5 - 2.5) * x * x + 1
    far = ((x * -0.5 + 2.5) * x - 4) * x + 2
    return maths.where(x >= 2, 0, maths.where(x >= 1, far, near))


def _mitchell(maths: Maths, x: Operand) -> Operand:
    near = (x * 7 - 12) * x * x / 6 + 16 / 18
    far = ((x * (-7 / 3) + 12) * x - 20) * x / 6 + 32 / 18
    return maths.where(x >= 2, 0, maths.where(x >= 1, far, near))


KERNELS: dict[str, tuple[float, Formula]] = {
    "lanczos1": (1.0, _lanczos(1.0)),
    "lanczos3": (3.0, _lanczos(3.0)),
    "lanczos5": (5.0, _lanczos(5.0)),
    "gaussian": (1.5, _gaussian),
    "box": (0.5, _box),
    "triangle": (1.0, _triangle),
    "keyscubic": (2.0, _keys),
    "mitchellcubic": (2.0, _mitchell),
}
"""Name -> radius and weight by distance."""


def kernel_spans(before: int, after: int, scale: float, shift: float, kind: str, smooth: bool) -> Spans:
    """Rows within the kernel's reach, wider by as much as the image shrinks where it is smoothed; weights add up to 1."""
    if kind not in KERNELS:
        raise Declined(f"the kernel {kind!r} is not known", attributes=f"kernel_type={kind}")
    radius, kernel = KERNELS[kind]
    inverse = np.float32(1) / np.float32(scale)
    start = -inverse * np.float32(shift)
    stretch = max(inverse, np.float32(1)) if smooth else np.float32(1)
    rows: list[list[tuple[int, float]]] = []
    for row in range(after):
        place = np.float32(row + 0.5) * inverse + start
        if not 0 <= place <= before:
            rows.append([])
            continue
        reach = np.float32(radius) * stretch
        first = max(0, int(np.ceil(place - reach - np.float32(0.5))))
        last = min(before - 1, int(np.floor(place + reach - np.float32(0.5))))
        old = np.arange(min(first, before - 1), last + 1)
        weights = kernel(ArrayMaths(), np.abs((old + np.float32(0.5) - place) / stretch).astype(np.float32)).astype(np.float32)
        total = weights.sum(dtype=np.float32)
        weights = weights / total if abs(total) >= TINY else weights
        rows.append(list(zip(old.tolist(), weights.tolist(), strict=True)))
    return _packed(rows)
