"""Transposed and dilated windows written as plain ones: zeros between elements, filters turned around."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tensorferry.ir import Dim, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.windows import Axis

LARGEST_FILTER = 1 << 22
"""Elements that a filter may have once zeros have been put into it."""


def spread(parts: Expansion, value: Value, factors: Sequence[int], *, first: int) -> Value | None:
    """The value with `factor - 1` zeros between its elements along each axis from `first` on; None where a size is not known."""
    if max(factors) == 1:
        return value
    shape = value.shape
    if shape is None or any(isinstance(dim, str) for dim in shape[1 if first else 0 :]):
        return None
    if value.constant is not None and value.constant.size * np.prod(factors) <= LARGEST_FILTER:
        return parts.constant(_spread_array(value.constant.array(), factors, first), "spread")
    dims: list[Dim] = list(shape)
    for axis, factor in enumerate(factors, start=first):
        if factor > 1:
            value = _spread_axis(parts, value, dims, axis, factor)
    return value


def _spread_array(array: np.ndarray, factors: Sequence[int], first: int) -> np.ndarray:
    shape = list(array.shape)
    places = [slice(None)] * array.ndim
    for axis, factor in enumerate(factors, start=first):
        shape[axis] = (shape[axis] - 1) * factor + 1
        places[axis] = slice(None, None, factor)
    wide = np.zeros(shape, array.dtype)
    wide[tuple(places)] = array
    return wide


def _spread_axis(parts: Expansion, value: Value, dims: list[Dim], axis: int, factor: int) -> Value:
    """As [before, axis, 1, after], padded, taken back, without the zeros behind the last element."""
    length = dims[axis]
    assert isinstance(length, int)
    after = int(np.prod([int(dim) for dim in dims[axis + 1 :]]))
    split = parts.make("Reshape", value, np.asarray([-1, length, 1, after], np.int32))
    padded = parts.make("Pad", split, np.asarray([[0, 0], [0, 0], [0, factor - 1], [0, 0]], np.int32))
    joined = parts.make("Reshape", padded, np.asarray([-1, length * factor, after], np.int32))
    dims[axis] = (length - 1) * factor + 1
    begin, steps = np.zeros(3, np.int32), np.ones(3, np.int32)
    end = np.asarray([0, dims[axis], 0], np.int32)
    cut = parts.make("StridedSlice", joined, begin, end, steps, begin_mask=5, end_mask=5)
    whole = [-1 if isinstance(dim, str) else dim for dim in dims]
    return parts.make("Reshape", cut, np.asarray(whole, np.int32))


def backwards(parts: Expansion, value: Value, rank: int) -> Value:
    """A value of known sizes read backwards along its first axes."""
    if value.constant is not None:
        return parts.constant(np.ascontiguousarray(np.flip(value.constant.array(), tuple(range(rank)))), "backwards")
    for axis in range(rank):
        length = value.shape[axis] if value.shape else None
        assert isinstance(length, int)
        if length > 1:
            value = parts.make("GatherV2", value, np.arange(length - 1, -1, -1, dtype=np.int32), np.int32(axis))
    return value


def turned_filter(parts: Expansion, weights: Value, rank: int) -> Value:
    """The filter read backwards along its first axes, incoming and outgoing channels exchanged."""
    order = np.asarray([*range(rank), rank + 1, rank], np.int32)
    turned = backwards(parts, weights, rank)
    if turned.constant is not None:
        return parts.constant(np.ascontiguousarray(turned.constant.array().transpose(order)), "turned")
    return parts.make("Transpose", turned, order)


def correlation_pads(axes: Sequence[Axis], wanted: Sequence[Dim], given: Sequence[Dim]) -> list[tuple[int, int]] | None:
    """Padding with which a VALID window of stride 1 over the spread elements gives the wanted sizes; None where it is negative, or
    hangs on a size that is not known."""
    pads = []
    for axis, size, length in zip(axes, wanted, given, strict=True):
        if isinstance(size, str) or isinstance(length, str):
            return None
        before = axis.extent - 1 - axis.pads(size)[0]
        after = size + axis.extent - 1 - length - before
        pads.append((before, after))
    return None if min(min(pad) for pad in pads) < 0 else pads
