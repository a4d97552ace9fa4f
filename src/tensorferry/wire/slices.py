"""Checkpoints of TensorFlow's first format: one table holds names and values (tensorflow/core/util/saved_tensor_slice.proto).

The values stand in it as lists inside messages. All blocks are checked when the file is opened; what a message lists becomes an
array when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tensorferry.errors import SourceError
from tensorferry.storage import SourceFile
from tensorferry.tensor import Array, DType, Tensor
from tensorferry.wire.bundle import Extents, JoinedTensor, read_extents, sizes_of
from tensorferry.wire.ordered import slice_key
from tensorferry.wire.protobuf import Span, fields, malformed, whole
from tensorferry.wire.table import read_table
from tensorferry.wire.tensorflow import DTYPES, constant_shape, count_elements, decode_values

_META, _DATA = 1, 2
"""Of SavedTensorSlices: what there is, under the empty key; the values of one slice, under the slice's key."""


class ListedTensor(Tensor):
    """The values that a message lists, decoded when they are asked for."""

    def __init__(self, message: Span, number: int, dtype: DType, shape: Sequence[int], file: SourceFile) -> None:
        super().__init__(dtype, shape)
        self._message, self._number, self._file = message, number, file

    def array(self) -> Array:
        return decode_values(self._message, self._number, self.shape, self._file).array()


@dataclass(slots=True)
class _Saved:
    """What a table says of one variable."""

    number: int = 0
    shape: tuple[int, ...] = ()
    slices: list[Extents] = field(default_factory=list)


class SavedSlices:
    """An open checkpoint: one file, or the shards that hold a part of the variables each."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.path = paths[0]
        self._saved: dict[str, _Saved] = {}
        self._values: dict[bytes, tuple[Span, SourceFile]] = {}
        for path in paths:
            self._read(SourceFile(path))

    def _read(self, file: SourceFile) -> None:
        found = False
        for key, value in read_table(file.view):
            for each in fields(whole(value)):
                if not key and each.tag == _META:
                    found = True
                    for name, saved in _read_meta(each.delimited()):
                        self._saved.setdefault(name, saved).slices += saved.slices if name in self._saved else []
                elif key and each.tag == _DATA:
                    data = next((part.delimited() for part in fields(each.delimited()) if part.tag == 3), None)
                    if data is not None:
                        self._values[key] = (data, file)
        if not found:
            raise SourceError(
                f"'{file.path}' is a sorted table, but no checkpoint",
                remedy="name the checkpoint by the path without .index",
            )

    @property
    def names(self) -> list[str]:
        """Names of all tensors, sorted; the slices of one variable count as one."""
        return sorted(self._saved)

    def __contains__(self, name: object) -> bool:
        return name in self._saved

    def describe(self) -> Mapping[str, tuple[DType, tuple[int, ...]]]:
        """Name -> type and shape."""
        return {name: (DTYPES.get(saved.number, DType.UNKNOWN), saved.shape) for name, saved in self._saved.items()}

    def tensor(self, name: str) -> Tensor:
        """SourceError when it is not there, or a part of it is missing."""
        saved = self._saved.get(name)
        if saved is None:
            raise SourceError(f"the checkpoint '{self.path}' has no tensor '{name}'")
        dtype = DTYPES.get(saved.number, DType.UNKNOWN)
        if not dtype.width:
            raise SourceError(f"'{name}' of the checkpoint '{self.path}' is of a type that has no plain values")
        parts = [(extents, self._part(name, saved, extents, dtype)) for extents in dict.fromkeys(saved.slices)]
        if len(parts) == 1 and parts[0][1].shape == saved.shape:
            return parts[0][1]
        return JoinedTensor(dtype, saved.shape, parts, name)

    def _part(self, name: str, saved: _Saved, extents: Extents, dtype: DType) -> Tensor:
        shape = saved.shape if not extents and not saved.shape else sizes_of(extents, saved.shape, name)
        found = self._values.get(slice_key(name.encode(), extents))
        if found is None:
            raise SourceError(f"the checkpoint '{self.path}' lacks a slice of '{name}'", where=str(extents))
        message, file = found
        tensor = ListedTensor(message, saved.number, dtype, shape, file)
        if count_elements(shape, message.start) > len(message) * 8:
            raise malformed(f"{len(message)} bytes cannot hold the values of '{name}', shape {list(shape)}", message.start)
        return tensor


def _read_meta(message: Span) -> Iterator[tuple[str, _Saved]]:
    for each in fields(message):
        if each.tag != 1:
            continue
        name, saved = "", _Saved()
        for part in fields(each.delimited()):
            if part.tag == 1:
                name = part.delimited().text
            elif part.tag == 2:
                saved.shape = constant_shape(part.delimited())
            elif part.tag == 3:
                saved.number = part.signed()
            elif part.tag == 4:
                saved.slices.append(read_extents(part.delimited()))
        yield name, saved
