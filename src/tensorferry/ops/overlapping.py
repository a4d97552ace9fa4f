"""The way back from windows to what they lie over: pieces, one for each place in a window, laid where they came from and summed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from tensorferry.ir import Value
from tensorferry.ops.sliding import Axes, Sliding
from tensorferry.tensor import Array


def laid_back(parts: Sliding, pieces: Sequence[Value], sides: Sequence[int]) -> Value:
    """[batch, *sides, channels]: the transpose of `Sliding.taps`, for windows without dilation.

    Pieces a whole stride apart are added at once, shifted by places; what is left is one sum for each place within a stride, and
    BatchToSpaceND puts these side by side.
    """
    axes = parts.axes
    steps = [(axis.size - 1) // axis.stride + 1 for axis in axes]
    sums: dict[tuple[int, ...], Value] = {}
    for offsets, piece in zip(itertools.product(*(range(axis.size) for axis in axes)), pieces, strict=True):
        whole = [offset // axis.stride for offset, axis in zip(offsets, axes, strict=True)]
        within = tuple(offset % axis.stride for offset, axis in zip(offsets, axes, strict=True))
        moved = _shifted(parts, piece, [(at, count - 1 - at) for at, count in zip(whole, steps, strict=True)])
        sums[within] = parts.make("AddV2", sums[within], moved) if within in sums else moved
    return _woven(parts, sums, [axis.count(side) + count - 1 for axis, side, count in zip(axes, sides, steps, strict=True)], sides)


def _shifted(parts: Sliding, value: Value, pads: Sequence[tuple[int, int]]) -> Value:
    if not any(map(any, pads)):
        return value
    return parts.make("Pad", value, np.asarray([(0, 0), *pads, (0, 0)], np.int32))


def _woven(parts: Sliding, sums: dict[tuple[int, ...], Value], lengths: Sequence[int], sides: Sequence[int]) -> Value:
    """The sums side by side, without the padding, filled up with zeros where no window reaches."""
    axes = parts.axes
    before = [axis.pads(side)[0] for axis, side in zip(axes, sides, strict=True)]
    made = [length * axis.stride - start for length, axis, start in zip(lengths, axes, before, strict=True)]
    crops = [(start, max(length - side, 0)) for start, length, side in zip(before, made, sides, strict=True)]
    block = [axis.stride for axis in axes]
    if max(block) > 1:
        zeros = parts.make("ZerosLike", next(iter(sums.values()))) if len(sums) < np.prod(block) else None
        places = [sums.get(place, zeros) for place in np.ndindex(*block)]
        joined = parts.make("ConcatV2", *[each for each in places if each is not None], np.int32(0))
        value = parts.make("BatchToSpaceND", joined, np.asarray(block, np.int32), np.asarray(crops, np.int32))
    else:
        (value,) = sums.values()
        value = _cut(parts, value, [start for start, _ in crops], [min(*pair) for pair in zip(made, sides, strict=True)])
    return _shifted(parts, value, [(0, max(side - length, 0)) for side, length in zip(sides, made, strict=True)])


def _cut(parts: Sliding, value: Value, begin: Sequence[int], sizes: Sequence[int]) -> Value:
    if value.shape is not None and list(value.shape[1:-1]) == list(sizes):
        return value
    return parts.make("Slice", value, np.asarray([0, *begin, 0], np.int32), np.asarray([-1, *sizes, -1], np.int32))


def lay_back(axes: Axes, pieces: Array, sides: Sequence[int]) -> Array:
    """The same in numpy: [batch, *positions, *window, channels] to [batch, *sides, channels]. Dilation too."""
    pads = [axis.pads(side) for axis, side in zip(axes, sides, strict=True)]
    wide = np.zeros(
        (len(pieces), *(side + sum(pad) for side, pad in zip(sides, pads, strict=True)), pieces.shape[-1]), pieces.dtype
    )
    counts = pieces.shape[1 : 1 + len(axes)]
    for tap in np.ndindex(*(axis.size for axis in axes)):
        reached = tuple(
            slice(at * axis.dilation, at * axis.dilation + (count - 1) * axis.stride + 1, axis.stride)
            for at, axis, count in zip(tap, axes, counts, strict=True)
        )
        wide[(slice(None), *reached)] += pieces[(slice(None),) * (1 + len(axes)) + tap]
    inside = tuple(slice(pad[0], pad[0] + side) for side, pad in zip(sides, pads, strict=True))
    return np.ascontiguousarray(wide[(slice(None), *inside)])
