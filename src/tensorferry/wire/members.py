"""Single members of zip archives that are read where they lie, or into memory within bounds."""

from __future__ import annotations

import struct
import zipfile

from tensorferry.errors import SourceError
from tensorferry.storage import SourceFile

ZIP = b"PK\x03\x04"
"""How a zip archive, and each member's own header, begins."""

BROKEN = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, OSError, ValueError, KeyError),
    *(NotImplementedError, RuntimeError, EOFError),
)
"""What the modules of the standard library raise for archives that are damaged, encrypted, or packed in a way they lack."""

_MOST_INFLATED = 1100
"""Deflate makes at most 1032 bytes of one."""

_HEADER = 30


def place_of_stored(file: SourceFile, info: zipfile.ZipInfo) -> int:
    """Where an uncompressed member's bytes begin: behind its own header, whose name and extras may differ from the directory's."""
    header = file.read(info.header_offset, _HEADER)
    name, extra = struct.unpack_from("<HH", header, 26)
    start = info.header_offset + _HEADER + int(name) + int(extra)
    if not header.startswith(ZIP) or info.file_size != info.compress_size or start + info.file_size > file.size:
        raise _wrong(file, f"'{info.filename}' does not lie where its directory says")
    return start


def read_member(archive: zipfile.ZipFile, file: SourceFile, info: zipfile.ZipInfo, most: int) -> bytes:
    """A member's bytes. SourceError where it says, or turns out, to be larger than such a thing can be."""
    if info.file_size > most or info.file_size > _MOST_INFLATED * max(info.compress_size, 1):
        raise _wrong(file, f"'{info.filename}' says to hold {info.file_size} bytes, which it cannot")
    with archive.open(info) as stream:
        data = stream.read(info.file_size + 1)
    if len(data) != info.file_size:
        raise _wrong(file, f"'{info.filename}' is {len(data)} bytes long, not {info.file_size} as it says")
    return data


def _wrong(file: SourceFile, why: str) -> SourceError:
    return SourceError(f"the archive '{file.path}' cannot be read", why=why, remedy="copy or download it again")
