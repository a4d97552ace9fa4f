"""A checkpoint of TensorFlow (`PREFIX.index`, `PREFIX.data-00000-of-00001`, ...): names and where their tensors lie.

Source of the format: tensorflow/core/util/tensor_bundle and tensorflow/core/protobuf/tensor_bundle.proto.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tensorferry.errors import SourceError
from tensorferry.storage import SourceFile
from tensorferry.tensor import Array, ArrayTensor, CheckedTensor, DType, Tensor
from tensorferry.wire.ordered import slice_key
from tensorferry.wire.protobuf import Span, fields, malformed, read_varint, whole
from tensorferry.wire.small_types import SMALL_TYPES, SmallType
from tensorferry.wire.table import masked_crc, read_table
from tensorferry.wire.tensorflow import constant_shape, count_elements, decode_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""A checkpoint's key that holds no variable: how the objects of the program hang together, and which value is whose."""

_BIG_ENDIAN = 1
_MOST_SHARDS = 100_000
Extents = tuple[tuple[int, int], ...]


def _check_values(tensor: CheckedTensor, crc: int, name: str) -> None:
    if masked_crc(tensor.file.pieces(tensor.offset, tensor.nbytes)) != crc:
        raise SourceError(
            f"the values of '{name}' are damaged: their checksum does not match",
            where=f"'{tensor.file.path}', byte {tensor.offset}",
            remedy="copy or download the checkpoint again",
        )


class JoinedTensor(Tensor):
    """A variable stored in slices: put together when it is asked for."""

    def __init__(self, dtype: DType, shape: Sequence[int], parts: Sequence[tuple[Extents, Tensor]], name: str) -> None:
        super().__init__(dtype, shape)
        self.parts = tuple(parts)
        for extents, part in self.parts:
            if part.shape != sizes_of(extents, self.shape, name) or part.dtype is not dtype:
                raise malformed(f"a slice of '{name}' is {part.dtype} {list(part.shape)}, which is none of it", 0)
        if sum(part.size for _extents, part in self.parts) != self.size:
            raise SourceError(f"the slices of '{name}' are not all of it", remedy="name all shards of the checkpoint")

    def array(self) -> Array:
        whole_array = np.zeros(self.shape, self.dtype.numpy)
        for extents, part in self.parts:
            whole_array[_places(extents)] = part.array()
            part.release()
        whole_array.flags.writeable = False
        return whole_array


def sizes_of(extents: Extents, shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    """The shape of a slice of a variable. SourceError when it is none of it."""
    if len(extents) != len(shape):
        raise malformed(f"a slice of '{name}' has {len(extents)} dimensions, the variable {len(shape)}", 0)
    sizes = tuple(size if length < 0 else length for (_start, length), size in zip(extents, shape, strict=True))
    for (start, length), size in zip(extents, shape, strict=True):
        if start < 0 or (length >= 0 and start + length > size):
            raise malformed(f"a slice of '{name}' reaches beyond its shape {list(shape)}", 0)
    return sizes


def _places(extents: Extents) -> tuple[slice, ...]:
    return tuple(slice(start, None if length < 0 else start + length) for start, length in extents)


@dataclass(slots=True)
class Entry:
    """What the index says of one key."""

    number: int = 0
    shape: tuple[int, ...] = ()
    shard: int = 0
    offset: int = 0
    size: int = 0
    crc: int = 0
    slices: list[Extents] = field(default_factory=list)

    @property
    def small(self) -> SmallType | None:
        return SMALL_TYPES.get(self.number)

    @property
    def dtype(self) -> DType:
        """What it is read in."""
        return self.small.dtype if self.small is not None else decode_dtype(self.number)


class Bundle:
    """An open checkpoint. Reading it touches the index only; a tensor's bytes stay in their shard until they are used."""

    def __init__(self, prefix: str | os.PathLike[str]) -> None:
        self.prefix = Path(prefix)
        index = SourceFile(self.prefix.with_name(self.prefix.name + ".index"))
        self._entries: dict[bytes, Entry] = {}
        shards = 0
        for key, value in read_table(index.view):
            message = whole(value)
            if key:
                self._entries[key] = _read_entry(message)
            else:
                shards = _read_header(message)
        self._files: dict[int, SourceFile] = {}
        self._shards = shards

    @property
    def names(self) -> list[str]:
        """Names of all tensors, sorted; the slices of one variable count as one."""
        return [key.decode() for key in self._entries if _is_name(key)]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.encode() in self._entries

    def describe(self) -> Mapping[str, tuple[DType, tuple[int, ...]]]:
        """Name -> type and shape."""
        return {name: (self._entries[name.encode()].dtype, self._entries[name.encode()].shape) for name in self.names}

    def tensor(self, name: str) -> Tensor:
        """SourceError when it is not there, its shard is missing, or its place does not fit."""
        entry = self._entries.get(name.encode())
        if entry is None:
            raise SourceError(f"the checkpoint '{self.prefix}' has no tensor '{name}'")
        if not entry.slices:
            return self._stored(entry, name)
        parts = []
        for extents in entry.slices:
            part = self._entries.get(slice_key(name.encode(), extents))
            if part is None:
                raise SourceError(f"the checkpoint '{self.prefix}' lacks a slice of '{name}'", where=str(extents))
            parts.append((extents, self._stored(part, name)))
        return JoinedTensor(entry.dtype, entry.shape, parts, name)

    def _stored(self, entry: Entry, name: str) -> Tensor:
        if entry.dtype in (DType.UNKNOWN, DType.VARIANT, DType.RESOURCE):
            raise SourceError(f"'{name}' of the checkpoint '{self.prefix}' is of a type that has no plain values")
        file = self._file(entry.shard)
        if entry.offset < 0 or entry.size < 0 or entry.offset + entry.size > file.size:
            what = f"'{name}' should lie at byte {entry.offset}, {entry.size} bytes long; '{file.path}' has {file.size}"
            raise malformed(what, entry.offset)
        if entry.dtype is DType.STRING:
            return _read_strings(file, entry, name)
        count = count_elements(entry.shape, entry.offset)
        stored = DType.UINT8 if entry.small is not None else entry.dtype
        if count * stored.numpy.itemsize != entry.size:
            raise malformed(f"'{name}' of type {entry.dtype}, shape {list(entry.shape)} is {entry.size} bytes long", entry.offset)
        check = partial(_check_values, crc=entry.crc, name=name)
        tensor = CheckedTensor(file, entry.offset, stored, entry.shape, check)
        return tensor if entry.small is None else entry.small.read(tensor)

    def _file(self, shard: int) -> SourceFile:
        if not 0 <= shard < self._shards:
            raise malformed(f"shard {shard} of {self._shards} is asked for", 0)
        if shard not in self._files:
            name = f"{self.prefix.name}.data-{shard:05d}-of-{self._shards:05d}"
            self._files[shard] = SourceFile(self.prefix.with_name(name))
        return self._files[shard]


def _is_name(key: bytes) -> bool:
    """A key of a slice begins with a zero and is no text."""
    if key.startswith(b"\0"):
        return False
    try:
        key.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_header(message: Span) -> int:
    """The number of shards."""
    shards, endianness = 0, 0
    for each in fields(message):
        if each.tag == 1:
            shards = each.signed()
        elif each.tag == 2:
            endianness = each.signed()
    if endianness == _BIG_ENDIAN:
        raise SourceError("the checkpoint was written on a big-endian machine", remedy="write it anew on an ordinary one")
    if not 0 < shards <= _MOST_SHARDS:
        raise malformed(f"the checkpoint claims {shards} shards", 0)
    return shards


def _read_entry(message: Span) -> Entry:
    entry = Entry()
    for each in fields(message):
        if each.tag == 1:
            entry.number = each.signed()
        elif each.tag == 2:
            entry.shape = constant_shape(each.delimited())
        elif each.tag == 3:
            entry.shard = each.signed()
        elif each.tag == 4:
            entry.offset = each.signed()
        elif each.tag == 5:
            entry.size = each.signed()
        elif each.tag == 6:
            entry.crc = each.number
        elif each.tag == 7:
            entry.slices.append(read_extents(each.delimited()))
    return entry


def read_extents(message: Span) -> Extents:
    """A TensorSliceProto: start and length of each dimension, length -1 for all of it."""
    extents = []
    for each in fields(message):
        if each.tag == 1:
            start, length = 0, -1
            for part in fields(each.delimited()):
                if part.tag == 1:
                    start = part.signed()
                elif part.tag == 2:
                    length = part.signed()
            extents.append((start, length))
    return tuple(extents)


def _crc_of_lengths(lengths: Sequence[int]) -> int:
    """TensorFlow takes the lengths as numbers of 4 bytes, those of 4 GiB and more as 8."""
    return masked_crc([length.to_bytes(4 if length < 1 << 32 else 8, "little") for length in lengths])


def _read_strings(file: SourceFile, entry: Entry, name: str) -> Tensor:
    """All lengths as varints, a checksum of the lengths (4 bytes), all bytes."""
    count = count_elements(entry.shape, entry.offset)
    data = memoryview(file.read(entry.offset, entry.size))
    if count > len(data):
        raise malformed(f"{entry.size} bytes cannot hold the {count} strings of '{name}'", entry.offset)
    lengths, position = [], 0
    for _ in range(count):
        length, position = read_varint(data, position, len(data))
        lengths.append(length)
    checksum, position = bytes(data[position : position + 4]), position + 4
    if len(checksum) == 4 and _crc_of_lengths(lengths) != int.from_bytes(checksum, "little"):
        raise malformed(f"the checksum of the lengths of the strings of '{name}' does not match", entry.offset)
    if sum(lengths) != len(data) - position:
        raise malformed(f"the strings of '{name}' do not fill the {entry.size} bytes they have", entry.offset)
    strings = np.empty(count, object)
    for index, length in enumerate(lengths):
        strings[index] = bytes(data[position : position + length])
        position += length
    return ArrayTensor(strings.reshape(entry.shape), DType.STRING)
