"""NumPy archives of weights: a zip of `.npy` members. Stored members are read where they lie; pickles are never opened."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np

from tensorferry.archives.kinds import is_numpy
from tensorferry.archives.limits import BoundedFile
from tensorferry.errors import SourceError
from tensorferry.storage import SourceFile
from tensorferry.tensor import ArrayTensor, CheckedTensor, DType, ReshapedTensor, Tensor, TransposedTensor
from tensorferry.wire.members import BROKEN, ZIP, place_of_stored, read_member

_MOST_HEADER = 1 << 16
_MOST_WEIGHTS = 4 << 30


def is_npz(head: bytes, file: SourceFile) -> bool:
    """A zip archive in which everything is an array."""
    return head.startswith(ZIP) and is_numpy(file.path)


def read_npz(file: SourceFile) -> dict[str, Tensor]:
    """Name -> array. SourceError for members that are none, or hold Python objects."""
    found: dict[str, Tensor] = {}
    try:
        with BoundedFile(file.path) as opened, zipfile.ZipFile(opened) as archive:
            for info in archive.infolist():
                if info.filename.removesuffix(".npy") in found:
                    raise _wrong(file.path, f"'{info.filename}' is in it twice")
                found[info.filename.removesuffix(".npy")] = _read_member(file, archive, info)
    except BROKEN as error:
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
        member = place_of_stored(file, info)
        check = partial(_check_member, member=member, info=info)
        tensor: Tensor = CheckedTensor(file, member + start, kind, stored, check)
    else:
        tensor = ArrayTensor(
            np.frombuffer(read_member(archive, file, info, _MOST_WEIGHTS), dtype, offset=start).astype(kind.numpy), kind
        )
        tensor = ReshapedTensor(tensor, stored)
    return TransposedTensor(tensor, tuple(reversed(range(len(shape))))) if fortran and len(shape) > 1 else tensor


def _check_member(tensor: CheckedTensor, member: int, info: zipfile.ZipInfo) -> None:
    found = 0
    for piece in tensor.file.pieces(member, info.file_size):
        found = zlib.crc32(piece, found)
    if found != info.CRC:
        raise _wrong(tensor.file.path, f"'{info.filename}' is damaged: its checksum does not match")


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
