"""NumPy archives of weights: a zip of `.npy` members. Stored members are read where they lie; pickles are never opened."""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from tensorferry.archives.kinds import is_numpy
from tensorferry.archives.limits import BoundedFile
from tensorferry.errors import SourceError
from tensorferry.storage import CHUNK, SourceFile
from tensorferry.tensor import Array, ArrayTensor, DType, FileTensor, ReshapedTensor, Tensor, TransposedTensor

_ZIP = b"PK\x03\x04"
_MOST_HEADER = 1 << 16
_MOST_WEIGHTS = 4 << 30
_MOST_INFLATED = 1100
"""Deflate makes at most 1032 bytes of one."""

_BROKEN = (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, ValueError, KeyError, NotImplementedError, RuntimeError, EOFError)


class StoredTensor(FileTensor):
    """An array that lies uncompressed in the archive, whose checksum is looked at before it is first used."""

    def __init__(
        self, file: SourceFile, member: int, header: int, dtype: DType, shape: tuple[int, ...], info: zipfile.ZipInfo
    ) -> None:
        super().__init__(file, member + header, dtype, shape)
        self._member, self._length = member, info.file_size
        self._name = info.filename
        self._crc: int | None = info.CRC

    def _check(self) -> None:
        if self._crc is None:
            return
        found, end = 0, self._member + self._length
        for start in range(self._member, end, CHUNK):
            found = zlib.crc32(self.file.read(start, min(CHUNK, end - start)), found)
        if found != self._crc:
            raise _wrong(self.file.path, f"'{self._name}' is damaged: its checksum does not match")
        self._crc = None

    def array(self) -> Array:
        self._check()
        return super().array()

    def elements(self, start: int, stop: int) -> Array:
        self._check()
        return super().elements(start, stop)


def is_npz(head: bytes, file: SourceFile) -> bool:
    """A zip archive in which everything is an array."""
    return head.startswith(_ZIP) and is_numpy(file.path)


def read_npz(file: SourceFile) -> dict[str, Tensor]:
    """Name -> array. SourceError for members that are none, or hold Python objects."""
    found: dict[str, Tensor] = {}
    try:
        with BoundedFile(file.path) as opened, zipfile.ZipFile(opened) as archive:
            for info in archive.infolist():
                if info.filename.removesuffix(".npy") in found:
                    raise _wrong(file.path, f"'{info.filename}' is in it twice")
                found[info.filename.removesuffix(".npy")] = _read_member(file, archive, info)
    except _BROKEN as error:
        raise _wrong(file.path, str(error)[:120]) from error
    return found


def _wrong(path: Path, why: str) -> SourceError:
    return SourceError(f"the NumPy archive '{path}' cannot be read", why=why, remedy="write it anew with numpy.savez")


def _read_member(file: SourceFile, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Tensor:
    with archive.open(info) as stream:
        head = stream.read(_MOST_HEADER)
    start, dtype, shape, fortran = _read_header(file.path, info.filename, head)
    nbytes = math.prod(shape) * dtype.itemsize
    if start + nbytes != info.file_size:
        raise _wrong(file.path, f"'{info.filename}' holds {info.file_size - start} bytes, its shape asks for {nbytes}")
    kind, little = DType(dtype.newbyteorder("=").name), dtype.newbyteorder("<") == dtype
    stored = shape[::-1] if fortran else shape
    if info.compress_type == zipfile.ZIP_STORED and little:
        tensor: Tensor = StoredTensor(file, _start_of(file, info), start, kind, stored, info)
    else:
        tensor = ArrayTensor(_inflate(file.path, archive, info, start, dtype), kind)
        tensor = ReshapedTensor(tensor, stored)
    return TransposedTensor(tensor, tuple(reversed(range(len(shape))))) if fortran and len(shape) > 1 else tensor


def _read_header(path: Path, name: str, head: bytes) -> tuple[int, np.dtype[np.generic], tuple[int, ...], bool]:
    """(where the elements begin, type, shape, whether the first axis runs fastest)."""
    stream = io.BytesIO(head)
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise _wrong(path, f"'{name}' is of version {version} of the format")
    shape, fortran, dtype = readers[version](stream)
    if dtype.kind not in "fiubc":
        raise _wrong(path, f"'{name}' holds {dtype}, not numbers; Python objects are never loaded")
    if len(shape) > 32 or any(size < 0 for size in shape):
        raise _wrong(path, f"'{name}' claims the shape {shape}")
    return stream.tell(), dtype, tuple(int(size) for size in shape), bool(fortran)


def _start_of(file: SourceFile, info: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: behind its own header, whose name and extras may differ from the directory's."""
    header = file.read(info.header_offset, 30)
    name, extra = struct.unpack_from("<HH", header, 26)
    start = info.header_offset + 30 + int(name) + int(extra)
    if not header.startswith(_ZIP) or start + info.file_size > file.size or info.file_size != info.compress_size:
        raise _wrong(file.path, f"'{info.filename}' reaches beyond the file's end")
    return start


def _inflate(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, start: int, dtype: np.dtype[np.generic]) -> Array:
    if info.file_size > _MOST_WEIGHTS or info.file_size > _MOST_INFLATED * max(info.compress_size, 1):
        raise _wrong(path, f"'{info.filename}' says to hold {info.file_size} bytes, which it cannot")
    with archive.open(info) as stream:
        data = stream.read(info.file_size)
    return np.frombuffer(data, dtype, offset=start).astype(dtype.newbyteorder("="), copy=False)
