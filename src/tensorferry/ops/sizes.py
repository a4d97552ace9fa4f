"""Sizes in expansions: numbers where they are known, else computed while the model runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tensorferry.ir import Dim, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.spec import Declined
from tensorferry.tensor import DType

Size = int | Value
"""A number, or a scalar of int32."""


class Sizes:
    """The sizes of one value, each measured once at most."""

    def __init__(self, expansion: Expansion, value: Value) -> None:
        self._expansion = expansion
        self._value = value
        self._measured: Value | None = None

    def __getitem__(self, axis: int) -> Size:
        """The size of an axis, which is counted from the front. Declined where the rank is not known."""
        dim = self._shape()[axis]
        if isinstance(dim, int):
            return dim
        if self._measured is None:
            self._measured = self._expansion.make("Shape", self._value, out_type=DType.INT32)
        return pick(self._expansion, self._measured, axis)

    def all(self) -> list[Size]:
        return [self[axis] for axis in range(len(self._shape()))]

    def _shape(self) -> tuple[Dim, ...]:
        if self._value.shape is None:
            remedy = "fix the shapes of the model's inputs with --shape"
            raise Declined(f"the rank of '{self._value.name}' is not known", remedy=remedy)
        return self._value.shape


def pick(expansion: Expansion, vector: Value, place: int) -> Value:
    """One element of a vector, as a scalar."""
    at, after, one = (np.array([number], np.int32) for number in (place, place + 1, 1))
    return expansion.make("StridedSlice", vector, at, after, one, shrink_axis_mask=1)


def scalar(expansion: Expansion, size: Size) -> Value:
    return size if isinstance(size, Value) else expansion.constant(np.array(size, np.int32), "size")


def plus(expansion: Expansion, size: Size, number: int) -> Size:
    if isinstance(size, int):
        return size + number
    return expansion.make("AddV2", size, np.array(number, np.int32)) if number else size


def times(expansion: Expansion, *sizes: Size) -> Size:
    """The product."""
    number, made = 1, None
    for size in sizes:
        if isinstance(size, int):
            number *= size
        else:
            made = size if made is None else expansion.make("Mul", made, size)
    if made is None:
        return number
    return made if number == 1 else expansion.make("Mul", made, np.array(number, np.int32))


def divided(expansion: Expansion, size: Size, number: int) -> Size:
    if isinstance(size, int):
        return size // number
    return size if number == 1 else expansion.make("FloorDiv", size, np.array(number, np.int32))


def vector(expansion: Expansion, sizes: Sequence[Size]) -> Value:
    """The sizes as one vector of int32."""
    if all(isinstance(size, int) for size in sizes):
        return expansion.constant(np.array(sizes, np.int32), "sizes")
    return expansion.make("Pack", *(scalar(expansion, size) for size in sizes), axis=0)


def reshape(expansion: Expansion, value: Value, sizes: Sequence[Size]) -> Value:
    """The value under these sizes. One that is not a number is left for the operator to find, which costs nothing."""
    computed = [place for place, size in enumerate(sizes) if isinstance(size, Value)]
    if len(computed) == 1 and 0 not in [size for size in sizes if isinstance(size, int)]:
        sizes = [-1 if place == computed[0] else size for place, size in enumerate(sizes)]
    if value.shape == tuple(sizes):
        return value
    return expansion.make("Reshape", value, vector(expansion, sizes))


def count_up(expansion: Expansion, size: Size) -> Value:
    """0, 1, 2, ... below the size."""
    if isinstance(size, int):
        return expansion.constant(np.arange(size, dtype=np.int32), "places")
    return expansion.make("Range", np.array(0, np.int32), size, np.array(1, np.int32))


def is_known(dims: Sequence[Dim]) -> bool:
    return not any(isinstance(dim, str) for dim in dims)
