"""Weights as recipes of their quantised form, and the ranges that scales are made of. Nothing here holds a weight whole."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tensorferry.errors import GraphError
from tensorferry.ir import Quantization
from tensorferry.quant.maths import Grid, Rounding, along, check_finite, quantize, symmetric_scales, weight_grid
from tensorferry.tensor import Array, CastTensor, ComputedTensor, DType, ReshapedTensor, Tensor, TransposedTensor, spread

LARGEST_HALF = 65520.0
"""From this magnitude on rounding to float16 gives infinity."""


class QuantizedTensor(ComputedTensor):
    """The codes of a float tensor: round(base / scale) + zero point, saturated to the grid.

    One scale for all (`axis` None) or one for each index along `axis`. int4 comes one element a byte; the writer packs it.
    """

    def __init__(self, base: Tensor, quantization: Quantization, grid: Grid, rounding: Rounding = Rounding.EVEN) -> None:
        super().__init__(base, grid.dtype)
        if not base.dtype.is_float:
            raise GraphError(f"{base.dtype.value} numbers are not quantised: {base!r}")
        self.quantization = quantization
        self.grid = grid
        self.rounding = rounding
        self._scales, self._inner = _parameters(quantization, base.shape)
        self._zero_points = np.asarray(quantization.zero_points, np.int64)

    def _compute(self, part: Array, start: int) -> Array:
        zeros: Array | int = 0
        scales = self._scales
        if np.any(self._zero_points):
            zeros = spread(self._zero_points, start, part.size, self._inner)
        if scales.size > 1:
            scales = spread(scales, start, part.size, self._inner)
        return quantize(as_floats(part, self.base.dtype), scales, zeros, self.grid, self.rounding)


def _parameters(quantization: Quantization, shape: Sequence[int]) -> tuple[Array, int]:
    """Scales, and how many elements lie behind the axis that they belong to; GraphError unless they fit the shape."""
    scales = np.asarray(quantization.scales, np.float32)
    count, inner = 1, max(1, math.prod(shape))
    if quantization.axis is not None:
        if not 0 <= quantization.axis < len(shape):
            raise GraphError(f"scales lie along axis {quantization.axis} of the shape {list(shape)}")
        count, inner = shape[quantization.axis], max(1, math.prod(shape[quantization.axis + 1 :]))
    if not scales.size == len(quantization.zero_points) == count:
        raise GraphError(f"{scales.size} scales and {len(quantization.zero_points)} zero points for {count} channels")
    if count and not (np.all(np.isfinite(scales)) and np.all(scales > 0)):
        raise GraphError("a scale is not a positive number")
    return scales, inner


def as_floats(part: Array, dtype: DType) -> Array:
    """Stored float elements of any width as float32 or float64 numbers."""
    if dtype is DType.BFLOAT16:  # the upper half of a float32
        widened: Array = (part.astype(np.uint32) << 16).view(np.float32)
        return widened
    return part if dtype is DType.FLOAT64 else part.astype(np.float32, copy=False)


class HalfTensor(CastTensor):
    """The same numbers as float16. GraphError where one becomes infinity: ask `fits_half` first."""

    def __init__(self, base: Tensor) -> None:
        super().__init__(base, DType.FLOAT16)

    def _convert(self, array: Array) -> Array:
        numbers = as_floats(array, self.base.dtype)
        if not np.all(np.abs(numbers) < LARGEST_HALF):  # NaN is not below anything
            raise GraphError(
                "a weight does not fit into float16",
                why="it holds NaN, or a number beyond 65504",
                remedy="keep it as float32",
            )
        return numbers.astype(np.float16)


def fits_half(ranges: ChannelRanges) -> bool:
    """Whether numbers in these ranges stay finite as float16."""
    return bool(np.all(ranges.max_abs < LARGEST_HALF))


@dataclass(frozen=True, slots=True, eq=False)
class ChannelRanges:
    """Smallest and largest element for each index along an axis, or of all (one element, axis None)."""

    low: Array
    high: Array
    axis: int | None

    @property
    def max_abs(self) -> Array:
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def whole(self) -> ChannelRanges:
        """Of the whole tensor."""
        return ChannelRanges(self.low.min(keepdims=True), self.high.max(keepdims=True), None)


def channel_ranges(tensor: Tensor, axis: int | None = None) -> ChannelRanges:
    """Ranges in one pass over the elements in the order they are stored in: a transposed weight is not transposed for it.

    NonFiniteError where there are NaN or infinities.
    """
    source, along_axis = _stored_order(tensor, axis)
    channels = 1 if along_axis is None else source.shape[along_axis]
    inner = source.size if along_axis is None else math.prod(source.shape[along_axis + 1 :])
    low, high = np.zeros(channels), np.zeros(channels)
    if tensor.size:
        low, high = _scan(source, channels, max(1, inner))
        check_finite(low)
        check_finite(high)
    return ChannelRanges(low, high, axis)


def _stored_order(tensor: Tensor, axis: int | None) -> tuple[Tensor, int | None]:
    """The tensor below transpositions, and where the axis is there."""
    while isinstance(tensor, TransposedTensor | ReshapedTensor):
        if isinstance(tensor, TransposedTensor):
            axis = None if axis is None else tensor.permutation[axis]
        elif axis is not None:
            if (moved := _axis_below(tensor, axis)) is None:
                break
            axis = moved
        tensor = tensor.base
    return tensor, axis


def _axis_below(tensor: ReshapedTensor, axis: int) -> int | None:
    """The axis of the base that has the same stride and size; None where a reshape cut it up or merged it."""
    inner, size = math.prod(tensor.shape[axis + 1 :]), tensor.shape[axis]
    for place, each in enumerate(tensor.base.shape):
        if each == size and math.prod(tensor.base.shape[place + 1 :]) == inner:
            return place
    return None


def _scan(source: Tensor, channels: int, inner: int) -> tuple[Array, Array]:
    low, high = np.full(channels, np.inf), np.full(channels, -np.inf)
    start = 0
    for chunk in source.chunks():
        part = as_floats(np.frombuffer(chunk, source.dtype.numpy), source.dtype)
        for first, block in blocks(part, start, channels, inner):
            places = slice(first, first + block.shape[1])
            low[places] = np.minimum(low[places], block.min(axis=(0, 2)))
            high[places] = np.maximum(high[places], block.max(axis=(0, 2)))
        start += part.size
    return low, high


def blocks(part: Array, start: int, channels: int, inner: int) -> Iterator[tuple[int, Array]]:
    """Cut consecutive elements, of which the first is number `start`, into blocks of shape [rows, channels, elements].

    With each comes its first channel. At most five: a row that had begun, whole rows, and one that is not finished; each
    unfinished row as a part of a channel, whole channels, and a part of one.
    """
    row = channels * inner
    head = min(-start % row, part.size)
    body = (part.size - head) // row * row
    yield from _row_part(part[:head], start, channels, inner)
    if body:
        yield 0, part[head : head + body].reshape(-1, channels, inner)
    yield from _row_part(part[head + body :], start + head + body, channels, inner)


def _row_part(part: Array, start: int, channels: int, inner: int) -> Iterator[tuple[int, Array]]:
    """Blocks of a part of one row."""
    head = min(-start % inner, part.size)
    body = (part.size - head) // inner * inner
    if head:
        yield start // inner % channels, part[:head].reshape(1, 1, -1)
    start, part = start + head, part[head:]
    if body:
        yield start // inner % channels, part[:body].reshape(1, -1, inner)
    if part.size > body:
        yield (start + body) // inner % channels, part[body:].reshape(1, 1, -1)


def weight_quantization(ranges: ChannelRanges, dtype: DType = DType.INT8) -> Quantization:
    """Symmetric parameters of a weight with these ranges."""
    scales = symmetric_scales(ranges.max_abs, weight_grid(dtype))
    return Quantization(tuple(float(each) for each in scales), (0,) * scales.size, ranges.axis)


def quantized_weight(tensor: Tensor, axis: int | None = None, dtype: DType = DType.INT8) -> QuantizedTensor:
    """A weight's symmetric codes, with the scales that its largest elements ask for."""
    return QuantizedTensor(tensor, weight_quantization(channel_ranges(tensor, axis), dtype), weight_grid(dtype))


def dequantized(tensor: QuantizedTensor) -> Array:
    """The numbers that the codes stand for, all at once."""
    scales = np.asarray(tensor.quantization.scales, np.float64)
    zeros = np.asarray(tensor.quantization.zero_points)
    if (axis := tensor.quantization.axis) is not None:
        scales, zeros = (along(each, axis, len(tensor.shape)) for each in (scales, zeros))
    real: Array = ((tensor.array().astype(np.float64) - zeros) * scales).astype(np.float32)
    return real
