"""A constant's elements: what they are, and where they lie.

A Tensor is a recipe, not an array: a slice of the source file, an array, or a view (reshape, transpose, cast) over another
Tensor. It hands its bytes out in chunks, so that a 500 MB weight goes from file to file without ever being held.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorferry.errors import GraphError
from tensorferry.storage import CHUNK, SourceFile

Array = NDArray[Any]


class DType(StrEnum):
    """Element types under TensorFlow's names."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    BOOL = "bool"
    STRING = "string"
    COMPLEX64 = "complex64"
    COMPLEX128 = "complex128"
    INT4 = "int4"
    RESOURCE = "resource"
    VARIANT = "variant"
    UNKNOWN = "unknown"

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """How numpy stores it. bfloat16 is its 16 raw bits, int4 one element a byte, strings are bytes objects."""
        storage = {DType.BFLOAT16: "uint16", DType.INT4: "int8", DType.STRING: "object"}.get(self, self.value)
        try:
            return np.dtype(storage).newbyteorder("<")
        except TypeError as error:
            raise GraphError(f"{self.value} has no elements that could be stored") from error

    @property
    def is_float(self) -> bool:
        return self in (DType.FLOAT32, DType.FLOAT64, DType.FLOAT16, DType.BFLOAT16)

    @property
    def is_integer(self) -> bool:
        return self.value.startswith(("int", "uint"))

    @classmethod
    def of(cls, array: Array) -> DType:
        """The element type of a numpy array."""
        return cls.STRING if array.dtype.kind in "OSU" else cls(array.dtype.name)


class Tensor:
    """A constant. Immutable; subclasses say where the elements come from."""

    def __init__(self, dtype: DType, shape: Sequence[int]) -> None:
        self.dtype = dtype
        self.shape = tuple(int(size) for size in shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.numpy.itemsize

    def array(self) -> Array:
        """All elements at once, row-major, read-only, in `dtype.numpy`."""
        raise NotImplementedError

    def chunks(self, limit: int = CHUNK) -> Iterator[memoryview]:
        """The elements' bytes, row-major and little-endian, in pieces of about `limit` bytes."""
        data = np.ascontiguousarray(self.array()).data.cast("B") if self.size else memoryview(b"")
        for start in range(0, len(data), limit):
            yield data[start : start + limit]

    def release(self) -> None:
        """Give back memory that `array` made the system hold; the elements stay readable."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dtype}{list(self.shape)})"


class ArrayTensor(Tensor):
    """Elements held in memory."""

    def __init__(self, array: Array, dtype: DType | None = None) -> None:
        super().__init__(dtype or DType.of(array), array.shape)
        stored = np.asarray(array, dtype=self.dtype.numpy)
        if stored.flags.writeable:
            stored = stored.copy() if stored is array or stored.base is not None else stored
            stored.flags.writeable = False
        self._array = stored

    def array(self) -> Array:
        return self._array


class FileTensor(Tensor):
    """Elements lying row-major and little-endian in a file; nothing is read until asked."""

    def __init__(self, file: SourceFile, offset: int, dtype: DType, shape: Sequence[int]) -> None:
        super().__init__(dtype, shape)
        self.file = file
        self.offset = offset

    def array(self) -> Array:
        return np.frombuffer(self.file.view, self.dtype.numpy, self.size, self.offset).reshape(self.shape)

    def chunks(self, limit: int = CHUNK) -> Iterator[memoryview]:
        return self.file.chunks(self.offset, self.nbytes, limit)

    def release(self) -> None:
        self.file.release(self.offset, self.nbytes)


class FilledTensor(Tensor):
    """A few leading values, of which the last repeats to the end: the short form of TensorFlow's TensorProto."""

    def __init__(self, values: Array, dtype: DType, shape: Sequence[int]) -> None:
        super().__init__(dtype, shape)
        self.values = np.asarray(values, dtype=dtype.numpy).reshape(-1)

    def array(self) -> Array:
        if self.values.size <= 1:
            fill = self.values[0] if self.values.size else (b"" if self.dtype is DType.STRING else self.dtype.numpy.type(0))
            return np.broadcast_to(np.asarray(fill, dtype=self.dtype.numpy), self.shape)
        full = np.empty(self.size, self.dtype.numpy)
        full[: self.values.size] = self.values
        full[self.values.size :] = self.values[-1]
        full.flags.writeable = False
        return full.reshape(self.shape)

    def chunks(self, limit: int = CHUNK) -> Iterator[memoryview]:
        if self.values.size > 1 or self.nbytes <= limit:
            yield from super().chunks(limit)
            return
        count = limit // self.dtype.numpy.itemsize
        block = np.broadcast_to(self.array().flat[0], (count,)).astype(self.dtype.numpy).data.cast("B")
        for start in range(0, self.nbytes, len(block)):
            yield block[: min(len(block), self.nbytes - start)]


class ReshapedTensor(Tensor):
    """The same elements under another shape."""

    def __init__(self, base: Tensor, shape: Sequence[int]) -> None:
        super().__init__(base.dtype, shape)
        if self.size != base.size:
            raise GraphError(f"a tensor of shape {list(base.shape)} cannot take the shape {list(shape)}")
        self.base = base

    def array(self) -> Array:
        return self.base.array().reshape(self.shape)

    def chunks(self, limit: int = CHUNK) -> Iterator[memoryview]:
        return self.base.chunks(limit)

    def release(self) -> None:
        self.base.release()


class TransposedTensor(Tensor):
    """Axes permuted as by numpy.transpose(base, permutation)."""

    def __init__(self, base: Tensor, permutation: Sequence[int]) -> None:
        self.permutation = tuple(permutation)
        super().__init__(base.dtype, [base.shape[axis] for axis in self.permutation])
        self.base = base

    def array(self) -> Array:
        return np.transpose(self.base.array(), self.permutation)

    def release(self) -> None:
        self.base.release()


class CastTensor(Tensor):
    """Elements converted to another type."""

    def __init__(self, base: Tensor, dtype: DType) -> None:
        super().__init__(dtype, base.shape)
        self.base = base

    def array(self) -> Array:
        return self._convert(self.base.array())

    def chunks(self, limit: int = CHUNK) -> Iterator[memoryview]:
        for piece in self.base.chunks(limit):
            yield self._convert(np.frombuffer(piece, self.base.dtype.numpy)).data.cast("B")

    def release(self) -> None:
        self.base.release()

    def _convert(self, array: Array) -> Array:
        if self.base.dtype is DType.BFLOAT16:  # the upper half of a float32
            array = (array.astype(np.uint32) << 16).view(np.float32)
        return array.astype(self.dtype.numpy)


class ScaledTensor(Tensor):
    """Float elements times factors: element i of the row-major order is multiplied by factors[(i // inner) % len(factors)].

    The product is taken in float64 and rounded once.
    """

    def __init__(self, base: Tensor, factors: Array, inner: int = 1) -> None:
        super().__init__(base.dtype, base.shape)
        self.base = base
        self.factors = np.asarray(factors, np.float64).reshape(-1)
        self.inner = inner

    def array(self) -> Array:
        full = np.empty(self.size, self.dtype.numpy)
        start = 0
        for piece in self._pieces(CHUNK):
            full[start : start + piece.size] = piece
            start += piece.size
        full.flags.writeable = False
        return full.reshape(self.shape)

    def chunks(self, limit: int = CHUNK) -> Iterator[memoryview]:
        for piece in self._pieces(limit):
            yield piece.data.cast("B")

    def release(self) -> None:
        self.base.release()

    def _pieces(self, limit: int) -> Iterator[Array]:
        start = 0
        for chunk in self.base.chunks(limit):
            elements = np.frombuffer(chunk, self.base.dtype.numpy)
            channels = np.arange(start, start + elements.size) // self.inner % self.factors.size
            with np.errstate(over="ignore", invalid="ignore"):  # inf and NaN in weights stay what they are
                yield (elements * self.factors[channels]).astype(self.dtype.numpy)
            start += elements.size
