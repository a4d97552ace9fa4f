"""Compressed streams, inflated a bounded piece at a time and counted on the way."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

from tensorferry.archives.limits import MOST_AT_ONCE, Budget
from tensorferry.errors import SourceError

PIECE = 1 << 20
_PACKED = 1 << 16
_TAIL = 512
_MOST_MEMORY = 192 << 20
"""Of xz, whose streams say themselves how much they want; level 9 takes 65 MiB."""

FAULTS = (EOFError, zlib.error, lzma.LZMAError, OSError, ValueError)
"""What the standard library raises on a broken stream."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


class _Gzip:
    """zlib's decompressor with the manners of the two others."""

    def __init__(self) -> None:
        self._object = zlib.decompressobj(31)
        self._left = b""

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._left

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        made = self._object.decompress(self._left + data, max_length)
        self._left = self._object.unconsumed_tail
        return made


_MAKERS: dict[str, Callable[[], _Decompressor]] = {
    "gzip": _Gzip,
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _MOST_MEMORY),
}


class Inflated:
    """The bytes of a file, decompressed where `kind` says so: read forwards, a block may be read again."""

    def __init__(self, path: Path, kind: str | None, budget: Budget) -> None:
        self._file: BinaryIO = path.open("rb")
        self._make = _MAKERS.get(kind or "")
        self._decompressor = self._make() if self._make else None
        self._budget = budget
        self._waiting = b""  # inflated, not yet read
        self._again = b""  # read, and to be read again
        self._position = 0
        self._tail = b""

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def tell(self) -> int:
        """Bytes read so far."""
        return self._position

    def seek(self, position: int) -> int:
        """Forwards anywhere, back by no more than a block: tar archives want that one byte."""
        back = self._position - position
        if back > 0:
            if back > len(self._tail):
                raise ValueError("a stream cannot be read again")
            self._again = self._tail[-back:] + self._again
            self._tail = self._tail[:-back]
            self._position = position
        while self._position < position and self.read(min(PIECE, position - self._position)):
            pass
        return self._position

    def read(self, size: int) -> bytes:
        """Fewer bytes only at the end. SourceError beyond MOST_AT_ONCE."""
        if not 0 <= size <= MOST_AT_ONCE:
            raise self._budget.refuse(f"a header in it claims {size} bytes")
        data, self._again = self._again[:size], self._again[size:]
        while len(data) < size and (more := self._more(size - len(data))):
            data += more
        self._position += len(data)
        self._tail = (self._tail + data)[-_TAIL:]
        return data

    def drain(self) -> bool:
        """Read to the end, where checksums are. Whether the last block read before that was one of zeros."""
        ended = len(self._tail) == _TAIL and not self._tail.strip(b"\0")
        while self.read(PIECE):
            pass
        return ended

    def _more(self, size: int) -> bytes:
        if self._decompressor is None or self._make is None:
            return self._file.read(size)
        while not self._waiting:
            if self._decompressor.eof:
                following = self._decompressor.unused_data or self._file.read(_PACKED)
                if not following.strip(b"\0"):  # nothing, or padding
                    return b""
                self._decompressor = self._make()
                self._waiting = self._decompressor.decompress(following, PIECE)
            else:
                packed = self._file.read(_PACKED) if self._decompressor.needs_input else b""
                if self._decompressor.needs_input and not packed:
                    raise EOFError("the compressed data ends early")
                self._waiting = self._decompressor.decompress(packed, PIECE)
            self._budget.check_ratio(self._position + len(self._waiting), self._file.tell())
        data, self._waiting = self._waiting[:size], self._waiting[size:]
        return data


def broken(budget: Budget, error: BaseException, *, name: str = "") -> SourceError:
    """The error for an archive that ends early or is damaged."""
    return SourceError(
        f"'{budget.where}' is damaged or not whole",
        where=f"its entry {name!r}" if name else "",
        why=str(error) or type(error).__name__,
        remedy="copy or download it again",
    )
