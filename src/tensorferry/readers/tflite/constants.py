"""Constants of TensorFlow Lite files as recipes: plain, packed by two in a byte, sparse, strings, and whole numbers that stand for
real ones."""

from __future__ import annotations

import math
import struct
from itertools import pairwise

import numpy as np

from tensorferry.errors import SourceError
from tensorferry.ir import Quantization
from tensorferry.readers.tflite.model import Stretch, TensorRecord
from tensorferry.storage import SourceFile
from tensorferry.tensor import Array, ArrayTensor, ComputedTensor, DType, FileTensor, Tensor
from tensorferry.wire.flatview import View
from tensorferry.wire.protobuf import malformed

MOST_DENSE = 1 << 28
"""Elements that a sparse tensor may have once it is written out: more than any model's largest layer."""

_INDEX_KINDS = {"Int32Vector": np.int32, "Uint16Vector": np.uint16, "Uint8Vector": np.uint8}


class NibbleTensor(Tensor):
    """int4 elements, two a byte, the first in the lower half."""

    def __init__(self, file: SourceFile, offset: int, shape: tuple[int, ...]) -> None:
        super().__init__(DType.INT4, shape)
        self.file = file
        self.offset = offset

    def array(self) -> Array:
        return self.elements(0, self.size).reshape(self.shape)

    def elements(self, start: int, stop: int) -> Array:
        first, last = start // 2, -(-stop // 2)
        packed = np.frombuffer(self.file.read(self.offset + first, last - first), np.uint8)
        pairs = np.stack([packed << 4, packed & 0xF0], axis=1).reshape(-1).view(np.int8) >> 4
        return pairs[start - 2 * first : stop - 2 * first]


class SparseTensor(Tensor):
    """The elements that are not zero, each with its place; written out when somebody asks."""

    def __init__(self, values: Tensor, places: Array, shape: tuple[int, ...]) -> None:
        super().__init__(values.dtype, shape)
        self.values = values
        self.places = places

    def array(self) -> Array:
        full = np.zeros(self.size, self.dtype.numpy)
        full[self.places] = self.values.array().reshape(-1)
        full.flags.writeable = False
        return full.reshape(self.shape)


class DequantizedTensor(ComputedTensor):
    """float32 (stored - zero_point) * scale: one pair for all, or one for each index along the axis of the quantisation."""

    def __init__(self, base: Tensor, quantization: Quantization) -> None:
        super().__init__(base, DType.FLOAT32)
        self.quantization = quantization
        axis = quantization.axis
        self._inner = math.prod(base.shape[axis + 1 :]) if axis is not None else 1
        self._scales = np.asarray(quantization.scales, np.float32)
        self._zeros = np.asarray(quantization.zero_points, np.int64)

    def _compute(self, part: Array, start: int) -> Array:
        which = 0 if self._scales.size == 1 else (np.arange(start, start + part.size) // max(1, self._inner)) % self._scales.size
        return (part.astype(np.int64) - self._zeros[which]).astype(np.float32) * self._scales[which]


def read_constant(file: SourceFile, record: TensorRecord, content: Stretch) -> Tensor:
    """The stored elements of a constant; SourceError when the buffer does not hold them."""
    shape = tuple(size for size in record.shape or () if isinstance(size, int))
    if len(shape) != len(record.shape or ()):
        raise malformed(f"the constant '{record.name}' has an open size", content.start)
    if record.dtype is DType.STRING:
        return _strings(file, record, shape, content)
    if record.dtype.width == 0:
        raise SourceError(f"the constant '{record.name}' is of an element type that cannot be read", where=f"byte {content.start}")
    if record.sparsity is not None:
        return _sparse(file, record, shape, content)
    count = math.prod(shape)
    nbytes = -(-count // 2) if record.dtype is DType.INT4 else count * record.dtype.width
    if nbytes > content.length:
        raise malformed(f"the constant '{record.name}' takes {nbytes} bytes, and {content.length} are there", content.start)
    return _plain(file, record.dtype, content.start, shape)


def _plain(file: SourceFile, dtype: DType, start: int, shape: tuple[int, ...]) -> Tensor:
    return NibbleTensor(file, start, shape) if dtype is DType.INT4 else FileTensor(file, start, dtype, shape)


def _strings(file: SourceFile, record: TensorRecord, shape: tuple[int, ...], content: Stretch) -> Tensor:
    """int32 count, int32 offsets of each string and of the end, counted from the buffer's first byte, then the strings."""
    data = file.read(content.start, content.length)
    count = struct.unpack_from("<i", data)[0] if len(data) >= 4 else -1
    if count != math.prod(shape) or 4 * (count + 2) > len(data):
        raise malformed(f"the strings of '{record.name}' are {count}, and its shape is {list(shape)}", content.start)
    offsets = struct.unpack_from(f"<{count + 1}i", data, 4)
    if any(a > b for a, b in pairwise(offsets)) or offsets[0] < 4 * (count + 2) or offsets[-1] > len(data):
        raise malformed(f"the strings of '{record.name}' reach beyond their end", content.start)
    array = np.empty(count, object)
    array[:] = [data[start:stop] for start, stop in pairwise(offsets)]
    return ArrayTensor(array.reshape(shape), DType.STRING)


# -- sparse tensors ------------------------------------------------------------------------------------------------


def _sparse(file: SourceFile, record: TensorRecord, shape: tuple[int, ...], content: Stretch) -> Tensor:
    """Where each stored value goes, walked level by level as the format lays them out: first the axes, then blocks inside."""
    view = record.sparsity
    assert view is not None
    if math.prod(shape) > MOST_DENSE:
        raise SourceError(f"the sparse constant '{record.name}' would have {math.prod(shape)} elements")
    order = [int(each) for each in view.numbers("traversal_order")]
    blocks = [int(each) for each in view.numbers("block_map")]
    levels = view.tables("dim_metadata")
    rank = len(shape)
    if sorted(order) != list(range(rank + len(blocks))) or len(levels) != len(order):
        raise malformed(f"the order of axes of the sparse constant '{record.name}' is none", view.position)
    if any(not 0 <= axis < rank for axis in blocks) or len(set(blocks)) != len(blocks) or order[rank:] != sorted(order[rank:]):
        raise malformed(f"the blocks of the sparse constant '{record.name}' do not fit its shape", view.position)
    sizes = {axis: level.number("dense_size") for axis, level in zip(order, levels, strict=True) if axis >= rank}
    places = np.zeros((1, len(order)), np.int64)
    for axis, level in zip(order, levels, strict=True):
        places = _descend(places, axis, level, record.name)
        if len(places) > MOST_DENSE:
            raise malformed(f"the sparse constant '{record.name}' has too many elements", view.position)
    full = places[:, :rank]
    for number, axis in enumerate(blocks):
        full[:, axis] = full[:, axis] * sizes[rank + number] + places[:, rank + number]
    if len(full) and ((full < 0).any() or (full >= np.asarray(shape)).any()):
        raise malformed(f"the sparse constant '{record.name}' has elements outside of its shape", view.position)
    width = record.dtype.width
    if len(full) * width > content.length:
        raise malformed(f"the sparse constant '{record.name}' has fewer elements than places", content.start)
    strides = np.asarray([math.prod(shape[axis + 1 :]) for axis in range(rank)], np.int64)
    return SparseTensor(_plain(file, record.dtype, content.start, (len(full),)), full @ strides, shape)


def _descend(places: Array, axis: int, level: View, name: str) -> Array:
    """One level further down: each place so far stands for a row, of which all or some places along the axis are there."""
    if level.member("format") == "DENSE":
        size = level.number("dense_size")
        if not 0 <= size <= MOST_DENSE or size * len(places) > MOST_DENSE:
            raise malformed(f"a level of the sparse constant '{name}' has {size} places", level.position)
        deeper = np.repeat(places, size, axis=0)
        deeper[:, axis] = np.tile(np.arange(size), len(places))
        return deeper
    segments, indices = _indices(level, "array_segments"), _indices(level, "array_indices")
    if len(segments) != len(places) + 1 or (np.diff(segments) < 0).any() or segments[0] != 0 or segments[-1] != len(indices):
        raise malformed(f"a level of the sparse constant '{name}' is not laid out as it should be", level.position)
    deeper = np.repeat(places, np.diff(segments), axis=0)
    deeper[:, axis] = indices
    return deeper


def _indices(level: View, name: str) -> Array:
    view = level.union(name)
    if view is None or view.table not in _INDEX_KINDS:
        raise malformed("a level of a sparse constant has no indices", level.position)
    return view.numbers("values").astype(np.int64)
