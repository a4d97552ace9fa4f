"""Reading an image at places that are computed while the model runs: gathers from the image as a list of points."""

from __future__ import annotations

import numpy as np

from tensorferry.ir import Value
from tensorferry.ops.expansion import Expansion
from tensorferry.tensor import DType

Size = Value | int
"""A number if it is known, else a scalar int32."""


class Points(Expansion):
    """An expansion that reads images [batch, height, width, channels] at rows and columns of its own."""

    def size(self, value: Value, axis: int) -> Size:
        assert value.shape is not None
        dim = value.shape[axis]
        if isinstance(dim, int):
            return dim
        begin, end, step = (np.asarray([each], np.int32) for each in (axis, axis + 1, 1))
        return self.make("StridedSlice", self.make("Shape", value), begin, end, step, shrink_axis_mask=1)

    def minus_one(self, size: Size) -> Size:
        return size - 1 if isinstance(size, int) else self.make("Sub", size, np.int32(1))

    def whole(self, size: Size) -> Value | np.int32:
        return np.int32(size) if isinstance(size, int) else size

    def real(self, size: Size) -> Value | np.float32:
        return np.float32(size) if isinstance(size, int) else self.make("Cast", size, DstT=DType.FLOAT32)

    def inside(self, places: Value, size: Size) -> Value:
        """Which lie between the first and the last element, both included."""
        above = self.make("GreaterEqual", places, np.float32(0))
        return self.make("LogicalAnd", above, self.make("LessEqual", places, self.real(self.minus_one(size))))

    def clamp(self, places: Value, size: Size) -> Value:
        """As int32 indices, the nearest there are."""
        above = self.make("Maximum", places, np.float32(0))
        return self.make("Cast", self.make("Minimum", above, self.real(self.minus_one(size))), DstT=DType.INT32)

    def read(self, image: Value, owner: Value | None, row: Value, column: Value, sides: tuple[Size, Size]) -> Value:
        """The points [..., channels] at int32 indices that stretch over each other; `owner` says which image, none for the only."""
        assert image.shape is not None
        channels = image.shape[3]
        width = self.whole(sides[1])
        if owner is not None:
            row = self.make("AddV2", self.make("Mul", owner, self.whole(sides[0])), row)
        index = self.make("AddV2", self.make("Mul", row, width), column)
        points = self.make("Reshape", image, np.asarray([-1, channels], np.int32))
        return self.make("GatherV2", points, index, np.int32(0))

    def nearest(self, image: Value, owner: Value | None, rows: Value, columns: Value, sides: tuple[Size, Size]) -> Value:
        """The nearest element; halves go up."""
        row, column = (
            self.clamp(self.make("Floor", self.make("AddV2", places, np.float32(0.5))), side)
            for places, side in zip((rows, columns), sides, strict=True)
        )
        return self.read(image, owner, row, column, sides)

    def bilinear(self, image: Value, owner: Value | None, rows: Value, columns: Value, sides: tuple[Size, Size]) -> Value:
        """Between the four elements around."""
        top, left = self.make("Floor", rows), self.make("Floor", columns)
        low, beside = (self.last_axis(self.make("Sub", *each)) for each in ((rows, top), (columns, left)))
        upper_row, lower_row = (self.clamp(each, sides[0]) for each in (top, self.make("Ceil", rows)))
        left_column, right_column = (self.clamp(each, sides[1]) for each in (left, self.make("Ceil", columns)))

        def read(row: Value, column: Value) -> Value:
            return self.read(image, owner, row, column, sides)

        upper, lower = (self.between(read(row, left_column), read(row, right_column), beside) for row in (upper_row, lower_row))
        return self.between(upper, lower, low)

    def between(self, one: Value, other: Value, share: Value) -> Value:
        return self.make("AddV2", one, self.make("Mul", self.make("Sub", other, one), share))

    def last_axis(self, value: Value) -> Value:
        return self.make("ExpandDims", value, np.int32(-1))
