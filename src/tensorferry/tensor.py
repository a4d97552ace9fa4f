"""A constant's elements: what they are, and where they lie.

A Tensor is a recipe, not an array: a slice of the source file, an array, or a view (reshape, transpose, cast) over another
Tensor. It hands its bytes out in chunks, so that a 500 MB weight goes from file to file without ever being held.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorferry.errors import GraphError
from tensorferry.storage import CHUNK, SourceFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
else:
    Array = np.ndarray  # numpy.typing takes as long to load as a third of numpy


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
    def width(self) -> int:
        """Bytes of one stored element; 0 for types without elements of their own."""
        return 0 if self in (DType.RESOURCE, DType.VARIANT, DType.UNKNOWN) else self.numpy.itemsize

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

    def elements(self, start: int, stop: int) -> Array:
        """Elements `start` to `stop` of the row-major order, as a vector; reads no others where the storage allows it."""
        return self.array().reshape(-1)[start:stop]

    def chunks(self, limit: int = CHUNK) -> Iterator[memoryview]:
        """The elements' bytes, row-major and little-endian, in pieces of whole elements, of about `limit` bytes."""
        step = max(1, limit // self.dtype.numpy.itemsize)
        for start in range(0, self.size, step):
            yield _bytes_of(self.elements(start, min(start + step, self.size)))

    def release(self) -> None:
        """Give back memory that `array` made the system hold; the elements stay readable."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dtype}{list(self.shape)})"


def _bytes_of(array: Array) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


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
        return np.frombuffer(self.file.piece(self.offset, self.nbytes), self.dtype.numpy).reshape(self.shape)

    def elements(self, start: int, stop: int) -> Array:
        itemsize = self.dtype.numpy.itemsize
        return np.frombuffer(self.file.read(self.offset + start * itemsize, (stop - start) * itemsize), self.dtype.numpy)

    def release(self) -> None:
        self.file.release(self.offset, self.nbytes)


class CheckedTensor(FileTensor):
    """Elements of which the file holds a checksum: `check` is called before they are first used, and raises SourceError."""

    def __init__(
        self, file: SourceFile, offset: int, dtype: DType, shape: Sequence[int], check: Callable[[CheckedTensor], None]
    ) -> None:
        super().__init__(file, offset, dtype, shape)
        self._check: Callable[[CheckedTensor], None] | None = check

    def _check_once(self) -> None:
        if self._check is not None:
            self._check(self)
            self._check = None

    def array(self) -> Array:
        self._check_once()
        return super().array()

    def elements(self, start: int, stop: int) -> Array:
        self._check_once()
        return super().elements(start, stop)


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

    def elements(self, start: int, stop: int) -> Array:
        if self.values.size <= 1:
            return np.broadcast_to(self.array().reshape(-1)[:1], (stop - start,))
        part = np.full(stop - start, self.values[-1], self.dtype.numpy)
        given = self.values[start:stop]
        part[: given.size] = given
        return part


class MappedTensor(Tensor):
    """Bytes that are codes, each looked up in a table of 256 values."""

    def __init__(self, base: Tensor, table: Array, dtype: DType) -> None:
        super().__init__(dtype, base.shape)
        self.base = base
        self.table = table

    def array(self) -> Array:
        values: Array = self.table[self.base.array()]
        values.flags.writeable = False
        return values

    def elements(self, start: int, stop: int) -> Array:
        part: Array = self.table[self.base.elements(start, stop)]
        return part

    def release(self) -> None:
        self.base.release()


class ReshapedTensor(Tensor):
    """The same elements under another shape."""

    def __init__(self, base: Tensor, shape: Sequence[int]) -> None:
        super().__init__(base.dtype, shape)
        if self.size != base.size:
            raise GraphError(f"a tensor of shape {list(base.shape)} cannot take the shape {list(shape)}")
        self.base = base

    def array(self) -> Array:
        return self.base.array().reshape(self.shape)

    def elements(self, start: int, stop: int) -> Array:
        return self.base.elements(start, stop)

    def chunks(self, limit: int = CHUNK) -> Iterator[memoryview]:
        return self.base.chunks(limit)

    def release(self) -> None:
        self.base.release()


TRANSPOSE_SCRATCH = 48 << 20
"""Bytes held while a transposed tensor is streamed: each pass over the base fills this much of the result.

Measured from file to file with a 411 MB matrix: 48 MB take 0.7 s and a process of 78 MB, 32 MB 0.9 s and 62 MB, 96 MB 0.6 s and
126 MB; reading only the wanted columns, through the map, is no faster."""


class TransposedTensor(Tensor):
    """Axes permuted as by numpy.transpose(base, permutation)."""

    def __init__(self, base: Tensor, permutation: Sequence[int]) -> None:
        self.permutation = tuple(permutation)
        super().__init__(base.dtype, [base.shape[axis] for axis in self.permutation])
        self.base = base

    def array(self) -> Array:
        return np.transpose(self.base.array(), self.permutation)

    def chunks(self, limit: int = CHUNK) -> Iterator[memoryview]:
        base, permutation = merge_axes(self.base.shape, self.permutation)
        if list(permutation) == sorted(permutation) or self.size == 0:
            yield from self.base.chunks(limit)
            return
        source = ArrayTensor(np.ascontiguousarray(self.base.array())) if _holds_transposed(self.base) else self.base
        limit = max(1, limit // self.dtype.numpy.itemsize) * self.dtype.numpy.itemsize
        for box in _boxes([base[axis] for axis in permutation], TRANSPOSE_SCRATCH // self.dtype.numpy.itemsize):
            data = _bytes_of(_read_box(source, base, permutation, box))
            last = (len(data) - 1) // limit * limit
            for start in range(0, last, limit):
                yield data[start : start + limit]
            tail, data = bytes(data[last:]), memoryview(b"")  # whoever still holds the tail does not hold the box
            yield memoryview(tail)

    def release(self) -> None:
        self.base.release()


def merge_axes(shape: Sequence[int], permutation: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The same transposition with as few axes as possible: those of size 1 left out, those that stay neighbours made one."""
    kept = [axis for axis in permutation if shape[axis] != 1]
    rank = {axis: position for position, axis in enumerate(sorted(kept))}
    groups: list[list[int]] = []
    for axis in kept:
        if groups and rank[axis] == rank[groups[-1][-1]] + 1:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    ordered = sorted(groups)
    return tuple(math.prod(shape[axis] for axis in group) for group in ordered), tuple(ordered.index(group) for group in groups)


def _holds_transposed(tensor: Tensor) -> bool:
    """Whether reading a range of it would mean transposing all of it."""
    while not isinstance(tensor, TransposedTensor):
        base = getattr(tensor, "base", None)
        if not isinstance(base, Tensor):
            return False
        tensor = base
    return True


def _boxes(shape: Sequence[int], limit: int) -> Iterator[tuple[slice, slice]]:
    """Row-major pieces of about `limit` elements: ranges along the first two axes, the others whole."""
    row = math.prod(shape[2:])
    across = max(1, min(shape[1], limit // row))
    along = max(1, limit // (row * shape[1])) if across == shape[1] else 1
    for first in range(0, shape[0], along):
        for second in range(0, shape[1], across):
            yield slice(first, min(first + along, shape[0])), slice(second, min(second + across, shape[1]))


def _read_box(source: Tensor, shape: Sequence[int], permutation: Sequence[int], box: tuple[slice, slice]) -> Array:
    """A box of the transposed result, read from the source in its own order, in bands of about CHUNK bytes."""
    wanted = [range(size) for size in shape]
    for axis, piece in zip(permutation, box, strict=False):
        wanted[axis] = range(piece.start, piece.stop)
    result = np.empty([len(wanted[axis]) for axis in permutation], source.dtype.numpy)
    in_source_order = result.transpose(np.argsort(permutation))
    limit = CHUNK // result.itemsize
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    axis = next(axis for axis, stride in enumerate(strides) if stride <= max(1, limit))  # the one along which bands are cut
    height = max(1, limit // strides[axis])
    columns = tuple(slice(each.start, each.stop) for each in wanted[axis + 1 :])
    for place in itertools.product(*wanted[:axis]):
        offset = sum(index * stride for index, stride in zip(place, strides, strict=False))
        part = in_source_order[tuple(index - each.start for index, each in zip(place, wanted, strict=False))]
        first = wanted[axis].start
        for top in range(first, wanted[axis].stop, height):
            bottom = min(top + height, wanted[axis].stop)
            band = source.elements(offset + top * strides[axis], offset + bottom * strides[axis])
            part[top - first : bottom - first] = band.reshape(bottom - top, *shape[axis + 1 :])[:, *columns]
    return result


class CastTensor(Tensor):
    """Elements converted to another type."""

    def __init__(self, base: Tensor, dtype: DType) -> None:
        super().__init__(dtype, base.shape)
        self.base = base

    def array(self) -> Array:
        return self._convert(self.base.array())

    def elements(self, start: int, stop: int) -> Array:
        return self._convert(self.base.elements(start, stop))

    def chunks(self, limit: int = CHUNK) -> Iterator[memoryview]:
        for piece in self.base.chunks(limit):
            yield _bytes_of(self._convert(np.frombuffer(piece, self.base.dtype.numpy)))

    def release(self) -> None:
        self.base.release()

    def _convert(self, array: Array) -> Array:
        if self.base.dtype is DType.BFLOAT16:  # the upper half of a float32
            array = (array.astype(np.uint32) << 16).view(np.float32)
        return array.astype(self.dtype.numpy)


class ComputedTensor(Tensor):
    """Elements computed from those of another tensor, one by one, by what `_compute` says; nothing is held but a piece."""

    def __init__(self, base: Tensor, dtype: DType) -> None:
        super().__init__(dtype, base.shape)
        self.base = base

    def array(self) -> Array:
        full = np.empty(self.size, self.dtype.numpy)
        start = 0
        for piece in self._pieces(CHUNK):
            full[start : start + piece.size] = piece
            start += piece.size
        full.flags.writeable = False
        return full.reshape(self.shape)

    def elements(self, start: int, stop: int) -> Array:
        return self._compute(self.base.elements(start, stop), start)

    def chunks(self, limit: int = CHUNK) -> Iterator[memoryview]:
        for piece in self._pieces(limit):
            yield _bytes_of(piece)

    def release(self) -> None:
        self.base.release()

    def _pieces(self, limit: int) -> Iterator[Array]:
        """Of at most `limit` bytes, here and of the base."""
        start = 0
        for chunk in self.base.chunks(limit // max(1, self.dtype.width // self.base.dtype.width)):
            part = np.frombuffer(chunk, self.base.dtype.numpy)
            yield self._compute(part, start)
            start += part.size

    def _compute(self, part: Array, start: int) -> Array:
        """For elements of the base from number `start` of the row-major order on."""
        raise NotImplementedError


class ScaledTensor(ComputedTensor):
    """Float elements times factors: element i of the row-major order is multiplied by factors[(i // inner) % len(factors)].

    The product is taken in float64 and rounded once.
    """

    def __init__(self, base: Tensor, factors: Array, inner: int = 1) -> None:
        super().__init__(base, base.dtype)
        self.factors = np.asarray(factors, np.float64).reshape(-1)
        self.inner = inner

    def _compute(self, part: Array, start: int) -> Array:
        factors = spread(self.factors, start, part.size, self.inner)
        with np.errstate(over="ignore", invalid="ignore"):  # inf and NaN in weights stay what they are
            return (part * factors).astype(self.dtype.numpy)


def spread(values: Array, start: int, count: int, inner: int) -> Array:
    """values[(i // inner) % len(values)] of `count` row-major elements from number `start` on.

    It is the value that belongs to each element where `values` lie along an axis behind which there are `inner` elements.
    """
    first = start // inner
    runs = -(-(start + count) // inner) - first
    result = np.resize(np.roll(values, -(first % values.size)), runs)  # goes round and round
    return np.repeat(result, inner)[start - first * inner :][:count] if inner > 1 else result
