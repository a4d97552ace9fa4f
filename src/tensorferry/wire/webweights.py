"""The weights of TensorFlow.js models: a manifest of groups, each a row of weights that lie one after the other over some files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

import numpy as np

from tensorferry.errors import SourceError
from tensorferry.storage import CHUNK, SourceFile
from tensorferry.tensor import Array, ArrayTensor, CastTensor, DType, FileTensor, Tensor

DTYPES = {
    kind.value: kind
    for kind in (
        *(DType.FLOAT16, DType.FLOAT32, DType.FLOAT64, DType.COMPLEX64, DType.BOOL),
        *(DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.UINT8, DType.UINT16, DType.UINT32),
    )
}
"""Element types of fixed width. TensorFlow.js itself reads float32, int32, bool and complex64, and the quantised ones."""

_LARGEST = float(np.finfo(np.float32).max)
_QUANTISED = frozenset({"uint8", "uint16"})


class Shards:
    """The files of one group as one row of bytes."""

    def __init__(self, files: Sequence[SourceFile]) -> None:
        self._files = tuple(files)
        self._starts = (0, *accumulate(file.size for file in files))

    @property
    def size(self) -> int:
        return self._starts[-1]

    def read(self, offset: int, length: int) -> bytes:
        """Bytes that may lie in several files."""
        pieces = []
        for file, (start, end) in zip(self._files, pairwise(self._starts), strict=True):
            first, last = max(offset, start), min(offset + length, end)
            if first < last:
                pieces.append(file.read(first - start, last - first))
        return b"".join(pieces)

    def only(self, offset: int, length: int) -> tuple[SourceFile, int] | None:
        """The one file in which these bytes lie, and where there."""
        for file, (start, end) in zip(self._files, pairwise(self._starts), strict=True):
            if start <= offset and offset + length <= end:
                return file, offset - start
        return None


class SplitTensor(Tensor):
    """Elements that lie over several files."""

    def __init__(self, shards: Shards, offset: int, dtype: DType, shape: Sequence[int]) -> None:
        super().__init__(dtype, shape)
        self._shards, self._offset = shards, offset

    def array(self) -> Array:
        return self.elements(0, self.size).reshape(self.shape)

    def elements(self, start: int, stop: int) -> Array:
        width = self.dtype.numpy.itemsize
        return np.frombuffer(self._shards.read(self._offset + start * width, (stop - start) * width), self.dtype.numpy)


class AffineTensor(Tensor):
    """Quantised elements made real again: each times a scale plus the smallest value, in float64, rounded to the type at last."""

    def __init__(self, base: Tensor, scale: float, minimum: float, dtype: DType) -> None:
        super().__init__(dtype, base.shape)
        self.base, self.scale, self.minimum = base, scale, minimum

    def array(self) -> Array:
        return self._restore(self.base.array())

    def elements(self, start: int, stop: int) -> Array:
        return self._restore(self.base.elements(start, stop))

    def chunks(self, limit: int = CHUNK) -> Iterator[memoryview]:
        step = max(1, limit // self.dtype.numpy.itemsize)
        for start in range(0, self.size, step):
            yield np.ascontiguousarray(self.elements(start, min(start + step, self.size))).view(np.uint8).data

    def release(self) -> None:
        self.base.release()

    def _restore(self, quantised: Array) -> Array:
        real = quantised.astype(np.float64) * self.scale + self.minimum
        return (np.floor(real + 0.5) if self.dtype.is_integer else real).astype(self.dtype.numpy)  # as Math.round does


def read_manifest(manifest: Any, folder: Path) -> dict[str, Tensor]:
    """Name -> weight, for all groups. SourceError for a manifest that is none, files that are missing or outside, sizes that do
    not fit."""
    if not isinstance(manifest, list):
        raise SourceError("the weights manifest is no list", where=f"'{folder}'")
    found: dict[str, Tensor] = {}
    for group in manifest:
        if not isinstance(group, Mapping):
            raise SourceError("a group of the weights manifest is no object", where=f"'{folder}'")
        shards = Shards([SourceFile(place_inside(folder, path)) for path in _list(group, "paths")])
        offset = 0
        for entry in _list(group, "weights"):
            name, tensor, length = _weight(entry, shards, offset)
            if name in found:
                raise SourceError(f"two weights have the name '{name}'")
            found[name] = tensor
            offset += length
        if offset != shards.size:
            raise SourceError(f"the weights of a group take {offset} bytes, their files have {shards.size}", where=f"'{folder}'")
    return found


def stored_modes(manifest: Any) -> tuple[str, ...]:
    """The types in which quantised weights are stored, as far as a manifest says so in a form that can be read."""
    groups = [group for group in manifest if isinstance(group, Mapping)] if isinstance(manifest, list) else []
    entries = [entry for group in groups for entry in group.get("weights") or () if isinstance(entry, Mapping)]
    notes = [entry["quantization"] for entry in entries if isinstance(entry.get("quantization"), Mapping)]
    return tuple(sorted({str(note.get("dtype")) for note in notes} & {*_QUANTISED, "float16"}))


def _list(group: Mapping[str, Any], key: str) -> list[Any]:
    value = group.get(key)
    if not isinstance(value, list):
        raise SourceError(f"a group of the weights manifest has no list '{key}'")
    return value


def place_inside(folder: Path, path: Any) -> Path:
    """A file of the manifest; none may lie outside the model's folder."""
    parts = PurePosixPath(path).parts if isinstance(path, str) else ()
    place = folder.joinpath(*parts)
    try:
        inside = bool(parts) and ".." not in parts and parts[0][0] != "/" and place.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # no file can have such a name, or links lead in a circle
        inside = False
    if not inside:
        raise SourceError(f"the weights manifest names the file {path!r}, which is not in the model's folder")
    return place


def read_shape(name: str, shape: Any) -> list[int]:
    """The shape that an entry gives. SourceError unless it is a list of sizes."""
    if not isinstance(shape, list) or len(shape) > 32 or not all(type(size) is int and 0 <= size < 1 << 31 for size in shape):
        raise SourceError(f"weight '{name}' claims the shape {str(shape)[:80]}")
    return shape


def _weight(entry: Any, shards: Shards, offset: int) -> tuple[str, Tensor, int]:
    """(name, tensor, bytes it takes)."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str) or not isinstance(entry.get("dtype"), str):
        raise SourceError(f"an entry of the weights manifest cannot be read: {str(entry)[:80]}")
    name, kind = entry["name"], entry["dtype"]
    shape = read_shape(name, entry.get("shape"))
    if kind == "string":
        return _strings(name, shape, shards, offset)
    note = entry.get("quantization")
    stored = note.get("dtype") if isinstance(note, Mapping) else kind if note is None else "?"
    if kind not in DTYPES or not isinstance(stored, str) or stored not in DTYPES:
        raise SourceError(f"weight '{name}' has the unknown type {kind if kind not in DTYPES else str(stored)[:80]}")
    length = math.prod(shape) * DTYPES[stored].numpy.itemsize
    if offset + length > shards.size:
        raise SourceError(f"weight '{name}' ends at byte {offset + length} of its group, whose files have {shards.size}")
    place = shards.only(offset, length)
    base: Tensor = (
        SplitTensor(shards, offset, DTYPES[stored], shape) if place is None else FileTensor(*place, DTYPES[stored], shape)
    )
    return name, base if note is None else _restored(name, base, DTYPES[kind], note), length


def _restored(name: str, base: Tensor, dtype: DType, note: Mapping[str, Any]) -> Tensor:
    """The values that a quantised weight stands for."""
    if base.dtype is DType.FLOAT16:
        return base if dtype is DType.FLOAT16 else CastTensor(base, dtype)
    scale, minimum = note.get("scale"), note.get("min")
    if base.dtype.value not in _QUANTISED or dtype not in (DType.FLOAT32, DType.INT32):
        raise SourceError(f"weight '{name}' is said to be {dtype} quantised as {base.dtype}, which TensorFlow.js does not have")
    if not (_is_number(scale) and _is_number(minimum)):
        raise SourceError(f"weight '{name}' is quantised without a scale and a smallest value ('scale', 'min')")
    return AffineTensor(base, float(scale), float(minimum), dtype)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and -_LARGEST < value < _LARGEST


def _strings(name: str, shape: list[int], shards: Shards, offset: int) -> tuple[str, Tensor, int]:
    """Each text stands behind its length in 4 bytes."""
    strings, position = [], offset
    for _ in range(math.prod(shape)):
        if position + 4 > shards.size:
            raise SourceError(f"weight '{name}' ends beyond its files")
        length = int.from_bytes(shards.read(position, 4), "little")
        if position + 4 + length > shards.size:
            raise SourceError(f"weight '{name}' ends beyond its files")
        strings.append(shards.read(position + 4, length))
        position += 4 + length
    return name, ArrayTensor(np.array([*strings, None], object)[:-1].reshape(shape), DType.STRING), position - offset
