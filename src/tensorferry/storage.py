"""A source file on disk: mapped for parsing, read by position for weights.

Parsing walks the map and touches few pages. Weight bytes are read with pread, which does not count towards the process's
memory the way pages of a map do; where a whole array must be seen at once (evaluation), the map is used and given back.
"""

from __future__ import annotations

import mmap
import os
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path

from tensorferry.errors import SourceError

CHUNK = 1 << 20
"""Bytes handed out at a time when weights are streamed: large enough for full disk speed, small beside any budget."""

_COPIED = 1 << 16
"""Pieces up to this size are copied when they are asked for."""


class SourceFile:
    """A read-only file, opened once; `view` is its bytes, `read` copies a piece without mapping it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self._file = open(self.path, "rb", opener=_open_at_once)  # noqa: SIM115 - lives as long as the tensors that point into it
            weakref.finalize(self, self._file.close)
            facts = os.fstat(self._file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise SourceError(f"'{path}' is not an ordinary file", remedy="save what it gives as a file, and name that")
            self.size = facts.st_size
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) if self.size else None
        except FileNotFoundError as error:
            raise SourceError(f"'{path}' does not exist", remedy="check the path") from error
        except IsADirectoryError as error:
            raise SourceError(f"'{path}' is a folder, not a file", remedy="name the file inside it") from error
        except OSError as error:
            raise SourceError(f"'{path}' cannot be read", why=error.strerror or str(error)) from error
        except ValueError as error:  # a zero byte, or what the system's encoding has no bytes for
            raise SourceError(f"{str(path)!r} is no name that a file can have", why=str(error)) from error
        self.identity: object = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)
        """Equal for one file opened twice."""
        self.view = memoryview(self._map) if self._map is not None else memoryview(b"")

    def read(self, offset: int, length: int) -> bytes:
        """Copy `length` bytes at `offset` without touching the map."""
        try:
            if hasattr(os, "pread"):
                data = os.pread(self._file.fileno(), length, offset)
            else:  # Windows
                self._file.seek(offset)
                data = self._file.read(length)
        except OSError as error:
            raise SourceError(f"'{self.path}' cannot be read", where=f"byte {offset}", why=error.strerror or str(error)) from error
        if len(data) != length:
            raise self._ended_early(offset + len(data))
        return data

    def pieces(self, offset: int, length: int) -> Iterator[bytes]:
        """The same, a CHUNK at a time."""
        end = offset + length
        return (self.read(start, min(CHUNK, end - start)) for start in range(offset, end, CHUNK))

    def piece(self, offset: int, length: int) -> bytes | memoryview:
        """`length` bytes at `offset`, seen through the map where copying would cost something.

        The system kills a process that looks at a page of a map which the file no longer has: its size is asked first.
        """
        if length <= _COPIED or offset + length > self.size:
            return self.read(offset, length)
        size = os.fstat(self._file.fileno()).st_size
        if size < offset + length:
            raise self._ended_early(size)
        return self.view[offset : offset + length]

    def _ended_early(self, at: int) -> SourceError:
        why = "the file became shorter while it was being read"
        return SourceError(f"'{self.path}' ended early", where=f"byte {at} of {self.size}", why=why)

    def release(self, offset: int, length: int) -> None:
        """Tell the system that these pages of the map are not needed for now."""
        if self._map is None or not hasattr(mmap, "MADV_DONTNEED"):
            return
        first = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
        last = (offset + length) // mmap.PAGESIZE * mmap.PAGESIZE
        if last > first:
            self._map.madvise(mmap.MADV_DONTNEED, first, last - first)


class MemoryFile(SourceFile):
    """Bytes in memory that stand for a file: those of a graph that was written in another form than it is read in."""

    def __init__(self, path: str | os.PathLike[str], data: bytes) -> None:
        self.path = Path(path)
        self.size = len(data)
        self.identity = id(self)
        self.view = memoryview(data)

    def read(self, offset: int, length: int) -> bytes:
        """Copy `length` bytes at `offset`."""
        data = bytes(self.view[offset : offset + length])
        if len(data) != length:
            raise self._ended_early(offset + len(data))
        return data

    def piece(self, offset: int, length: int) -> bytes | memoryview:
        """`length` bytes at `offset`."""
        return self.view[offset : offset + length] if offset + length <= self.size else self.read(offset, length)

    def release(self, offset: int, length: int) -> None:
        """Nothing is mapped, so nothing is given back."""


def _open_at_once(path: str, flags: int) -> int:
    """Opening a pipe that nobody writes to would wait for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
