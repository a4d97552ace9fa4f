"""Windows over any number of axes of channels-last data, and the pieces they are cut into where a target has no operator for it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.spec import Declined
from tensorferry.ops.windows import Axis
from tensorferry.tensor import Array, DType

Axes = tuple[Axis, ...]
"""One for each axis between the batch and the channels."""

MOST_TAPS = 64
"""Up to so many slices a window is cut into: beyond that the graph grows out of hand."""


def channels_first(node: Node) -> bool:
    return str(node.get("data_format", "N...C")).startswith("NC")


def inner(node: Node, attribute: str, rank: int) -> tuple[int, ...]:
    """An attribute of one number an axis, without batch and channels, which must be 1."""
    numbers = tuple(int(each) for each in node[attribute])
    if len(numbers) != rank or min(numbers) < 1:
        raise Declined(f"{attribute} must be {rank} numbers of at least 1", attributes=f"{attribute}={list(numbers)}")
    kept, outer = (numbers[2:], numbers[:2]) if channels_first(node) else (numbers[1:-1], (numbers[0], numbers[-1]))
    if outer != (1, 1):
        raise Declined(f"{attribute} over batch or channels cannot be expressed", attributes=f"{attribute}={list(numbers)}")
    return kept


def read_axes(node: Node, sizes: Sequence[int], *, strides: str = "strides", rates: str = "") -> Axes:
    """The window's axes from a node's attributes."""
    rank = len(sizes) + 2
    padding = node["padding"]
    if padding not in ("SAME", "VALID"):
        raise Declined(f"the padding {padding} is not known", attributes=f"padding={padding}")
    steps = inner(node, strides, rank)
    gaps = inner(node, rates, rank) if rates and node.get(rates) else (1,) * len(sizes)
    return tuple(Axis(size, step, gap, padding) for size, step, gap in zip(sizes, steps, gaps, strict=True))


def output_dims(node: Node, value: Value, axes: Axes, channels: Dim) -> tuple[Dim, ...]:
    """The shape of the result, in the node's layout."""
    rank = len(axes) + 2
    if value.rank not in (None, rank):
        raise Declined(f"its input has rank {value.rank}, not {rank}")
    dims = value.shape or (UNKNOWN_DIM,) * rank
    start = 2 if channels_first(node) else 1
    counts = [axis.count_dim(dim) for axis, dim in zip(axes, dims[start : start + len(axes)], strict=True)]
    return (dims[0], channels, *counts) if start == 2 else (dims[0], *counts, channels)


# -- numpy ---------------------------------------------------------------------------------------------------------


def to_last(node: Node, array: Array) -> Array:
    return np.moveaxis(array, 1, -1) if channels_first(node) else array


def from_last(node: Node, array: Array) -> Array:
    return np.moveaxis(array, -1, 1) if channels_first(node) else array


def surrounded(axes: Axes, array: Array, fill: float = 0) -> Array:
    """Channels-last data with the window's padding around it."""
    pads = [(0, 0), *(axis.pads(size) for axis, size in zip(axes, array.shape[1:-1], strict=True)), (0, 0)]
    return np.pad(array, pads, constant_values=fill) if any(map(any, pads)) else np.ascontiguousarray(array)


def patches(axes: Axes, wide: Array) -> Array:
    """All windows of padded data as a view: [batch, *positions, *window, channels]."""
    counts = [max((size - axis.extent) // axis.stride + 1, 0) for axis, size in zip(axes, wide.shape[1:-1], strict=True)]
    over = wide.strides[1:-1]
    return as_strided(
        wide,
        (wide.shape[0], *counts, *(axis.size for axis in axes), wide.shape[-1]),
        (
            wide.strides[0],
            *(step * axis.stride for axis, step in zip(axes, over, strict=True)),
            *(step * axis.dilation for axis, step in zip(axes, over, strict=True)),
            wide.strides[-1],
        ),
        writeable=False,
    )


# -- graphs --------------------------------------------------------------------------------------------------------


def whole(dims: Sequence[Dim]) -> tuple[int, ...] | None:
    """The sizes if all are numbers."""
    return tuple(dim for dim in dims if isinstance(dim, int)) if all(isinstance(dim, int) for dim in dims) else None


def known_pads(axes: Axes, value: Value) -> list[tuple[int, int]] | None:
    """Padding around each axis of a channels-last value; None where it depends on a size that is not known."""
    if value.shape is None or len(value.shape) != len(axes) + 2:
        return None
    pads = []
    for axis, dim in zip(axes, value.shape[1:-1], strict=True):
        if isinstance(dim, int):
            pads.append(axis.pads(dim))
        elif axis.padding != "SAME":
            pads.append(axis.explicit_pads)
        elif axis.stride == 1:
            pads.append(((axis.extent - 1) // 2, axis.extent - 1 - (axis.extent - 1) // 2))
        else:
            return None
    return pads


class Sliding(Expansion):
    """An expansion that cuts windows into slices."""

    def __init__(self, graph: Graph, node: Node, axes: Axes) -> None:
        super().__init__(graph, node)
        self.axes = axes

    def surround(self, value: Value, pads: Sequence[tuple[int, int]], fill: float = 0) -> Value:
        """The value with padding around the axes between batch and channels."""
        if not any(map(any, pads)):
            return value
        table = np.asarray([(0, 0), *pads, (0, 0)], np.int32)
        return self.make("PadV2", value, table, np.asarray(fill, value.dtype.numpy))

    def taps(self, wide: Value) -> list[Value]:
        """For each place in the window, row by row, the elements of the padded value that lie under it."""
        assert wide.shape is not None
        return [
            self._tap(wide, offsets) for offsets in itertools.product(*(range(0, axis.extent, axis.dilation) for axis in self.axes))
        ]

    def _tap(self, wide: Value, offsets: tuple[int, ...]) -> Value:
        assert wide.shape is not None
        rank = len(self.axes) + 2
        ends, open_ends = [0], 1 | 1 << (rank - 1)
        for at, (axis, offset, dim) in enumerate(zip(self.axes, offsets, wide.shape[1:-1], strict=True), start=1):
            left = axis.extent - 1 - offset
            if isinstance(dim, int):
                ends.append(offset + (dim - axis.extent) // axis.stride * axis.stride + 1)
            else:
                ends.append(-left)
                open_ends |= 0 if left else 1 << at
        begin = np.asarray([0, *offsets, 0], np.int32)
        steps = np.asarray([1, *(axis.stride for axis in self.axes), 1], np.int32)
        end = np.asarray([*ends, 0], np.int32)
        return self.make("StridedSlice", wide, begin, end, steps, begin_mask=1 | 1 << (rank - 1), end_mask=open_ends)

    def combine(self, op: str, values: Sequence[Value]) -> Value:
        """All of them joined by an op of two operands."""
        result = values[0]
        for value in values[1:]:
            result = self.make(op, result, value)
        return result


def lowest(dtype: DType) -> float:
    """What no element is below."""
    kind = np.dtype(dtype.numpy)
    return float(np.finfo(np.float32).min) if kind.kind == "f" else int(np.iinfo(dtype.value).min)
