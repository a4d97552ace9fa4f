"""Sizes as values, where a model leaves them open, and tensors made to a size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder
from tensorferry.tensor import DType

Size = int | Value


def size_of(build: Builder, value: Value, axis: int) -> Size:
    """One size: a number where it is known, else a scalar."""
    known = build.shape(value)[axis]
    if isinstance(known, int):
        return known
    axis = axis % build.rank(value)
    bounds = [build.constant([place], name="bound") for place in (axis, axis + 1, 1)]
    shape = build.add("Shape", (value,), {"out_type": DType.INT32})
    return build.add("StridedSlice", (shape, *bounds), {"shrink_axis_mask": 1}, name="size")


def scalar(build: Builder, size: Size) -> Value:
    """The size as a scalar."""
    return size if isinstance(size, Value) else build.constant(size, name="size")


def join_sizes(build: Builder, sizes: Sequence[Size]) -> Value:
    """A shape of these sizes."""
    if all(isinstance(each, int) for each in sizes):
        return build.constant(np.asarray(sizes, np.int32), name="shape")
    return build.add("Pack", [scalar(build, each) for each in sizes], {"axis": 0, "N": len(sizes)}, name="shape")


def shape_of(build: Builder, value: Value) -> list[Size]:
    """All sizes of a value."""
    return [size_of(build, value, axis) for axis in range(build.rank(value))]


def fill(build: Builder, sizes: Sequence[Size], number: float = 0.0, dtype: DType | None = None) -> Value:
    """A tensor of one number."""
    dtype = dtype or build.dtype
    if all(isinstance(each, int) for each in sizes):
        return build.constant(np.full(sizes, number), dtype, "filled")
    return build.add("Fill", (join_sizes(build, sizes), build.constant(number, dtype, "number")))


def reshape_to(build: Builder, value: Value, sizes: Sequence[Size]) -> Value:
    """Reshape to sizes of which several may be open."""
    unknown = [place for place, each in enumerate(sizes) if isinstance(each, Value)]
    if len(unknown) == 1:
        return build.reshape(value, [-1 if isinstance(each, Value) else each for each in sizes])
    return build.add("Reshape", (value, join_sizes(build, sizes)))
