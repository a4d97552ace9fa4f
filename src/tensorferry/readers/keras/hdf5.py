"""HDF5 files by means of pyfive: attributes, groups, and datasets as Tensors that point into the file.

pyfive is pure Python and says where a dataset lies, so that weights are read in place. h5py's C code was seen to run on for over
20 seconds on 3 of 805 mutated Keras files, where nothing in the process can stop it. pyfive ended within a second on all it was
tried with (docs/fuzzing.md), with errors of every kind: it is given a file that counts what is read, and whatever it raises becomes
a SourceError. Releases before 1.2.1 fail on some sound files: they read beyond the end of a heap of long attributes.
What it cannot read are datasets in pieces of files with the newest layout (`libver="latest"`), which Keras does not write.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from tensorferry.errors import FerryError, SourceError
from tensorferry.storage import SourceFile
from tensorferry.tensor import Array, DType, FileTensor, Tensor

MAGIC = b"\x89HDF\r\n\x1a\n"

_MOST_READS = 5_000_000
_MOST_INFLATED = 1100
"""No compression that HDF5 files use makes more of a byte."""

_CONTIGUOUS = 1
_UNDEFINED = 2**64 - 1

T = TypeVar("T")


class _Window(io.RawIOBase):
    """A stretch of a SourceFile as a file object. It refuses to be read without end."""

    def __init__(self, file: SourceFile, start: int, length: int) -> None:
        self.file, self.start, self.length = file, start, length
        self.place = self.reads = self.bytes = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.length}[whence]
        if base + offset < 0:
            raise ValueError("a place before the file's beginning")
        self.place = base + offset
        return self.place

    def tell(self) -> int:
        return self.place

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self.length - self.place)
        count = left if size is None or size < 0 else min(int(size), left)
        self.reads += 1
        self.bytes += count
        if self.reads > _MOST_READS or self.bytes > 64 * self.length + (64 << 20):
            raise ValueError("its parts refer to each other without end")
        data = self.file.read(self.start + self.place, count)
        self.place += count
        return data

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


_MOST_GROUPS = 1 << 16
_DEEPEST = 64


class Hdf5:
    """An HDF5 file, or one that lies within another file."""

    def __init__(self, file: SourceFile, start: int = 0, length: int | None = None) -> None:
        self.file = file
        self.start = start
        self._window = _Window(file, start, file.size - start if length is None else length)
        import pyfive  # noqa: PLC0415 - only who reads HDF5 waits for it

        self._root: Any = self._guarded(lambda: pyfive.File(self._window), "its beginning")
        self._base = int(getattr(self._root, "userblock_size", 0) or 0)

    def attribute(self, group: str, name: str) -> Any:
        """An attribute of a group: text as str, several texts as a list; None where it is not there."""
        node = self.group(group)
        return None if node is None else self._guarded(lambda: _plain(node.attrs.get(name)), f"{group}, attribute {name}")

    def texts(self, group: str, name: str) -> list[str] | None:
        """A list of texts, which Keras spreads over `name0`, `name1`, ... when it is long."""
        found = self.attribute(group, name)
        if found is None:
            found, number = [], 0
            while (part := self.attribute(group, f"{name}{number}")) is not None:
                found += part if isinstance(part, list) else [part]
                number += 1
            if not number:
                return None
        texts = found if isinstance(found, list) else [found]
        if not all(isinstance(each, str) for each in texts):
            raise self._broken(f"{group}, attribute {name}", "it holds no names")
        return texts

    def group(self, path: str) -> Any:
        """A group; None where there is none."""
        node = self._find(path)
        return node if isinstance(node, Mapping) else None

    def names(self, path: str) -> list[str]:
        """What lies in a group."""
        node = self.group(path)
        return [] if node is None else self._guarded(lambda: [str(each) for each in node], path)

    def everything(self) -> dict[str, Tensor]:
        """Each dataset of numbers with its path. SourceError where groups lead into each other."""
        found: dict[str, Tensor] = {}
        pending, seen = [""], 0
        while pending:
            path, seen = pending.pop(), seen + 1
            if seen > _MOST_GROUPS or path.count("/") > _DEEPEST:
                raise self._broken(path, "its groups lie in each other without end")
            for name in reversed(self.names(path)):
                inner = f"{path}/{name}".lstrip("/")
                if self.group(inner) is not None:
                    pending.append(inner)
                else:
                    found[inner] = self.tensor(inner)
        return dict(sorted(found.items()))

    def tensor(self, path: str) -> Tensor:
        """A dataset. SourceError where there is none, or none of numbers."""
        node = self._find(path)
        if node is None or isinstance(node, Mapping):
            raise self._broken(path, "there is no dataset of that name")
        return self._guarded(lambda: self._tensor(node, path), path)

    def _find(self, path: str) -> Any:
        """The group or dataset, found step by step: a link that leads out of the file is not followed."""
        node: Any = self._root
        for name in path.split("/"):
            if not name:
                continue
            if not isinstance(node, Mapping):
                return None
            node = self._guarded(lambda node=node, name=name: node[name] if name in list(node) else None, path)  # type: ignore[misc]
            if node is None:
                return None
        return node

    def _tensor(self, node: Any, path: str) -> Tensor:
        shape = tuple(int(size) for size in node.shape)
        dtype, little = self._type(node, path)
        nbytes = math.prod(shape) * dtype.width
        dataset = node.id
        if dataset.layout_class == _CONTIGUOUS and little:
            offset = int(dataset.data_offset)
            if offset == _UNDEFINED:
                raise self._broken(path, "its elements were never written")
            if min(shape, default=0) < 0 or self._base + offset + nbytes > self._window.length:
                raise self._broken(path, f"{nbytes} bytes at {offset} reach beyond its end")
            return FileTensor(self.file, self.start + self._base + offset, dtype, shape)
        if nbytes > _MOST_INFLATED * self._window.length:
            raise self._broken(path, f"{nbytes} bytes cannot come of a file of {self._window.length}")
        return Hdf5Tensor(self, node, path, dtype, shape)

    def _type(self, node: Any, path: str) -> tuple[DType, bool]:
        given = node.dtype
        if not isinstance(given, np.dtype) or given.kind not in "fiub":
            raise self._broken(path, f"its elements are {given}, not numbers")
        return DType(given.newbyteorder("=").name), given.newbyteorder("<") == given

    def read_all(self, node: Any, path: str, shape: tuple[int, ...]) -> Array:
        """All elements of a dataset in pieces."""
        array = np.asarray(self._guarded(lambda: node[...], path))
        if array.shape != shape:
            raise self._broken(path, "it holds fewer elements than it says")
        return array

    def _guarded(self, action: Callable[[], T], path: str) -> T:
        with self._guard(path):
            return action()

    @contextmanager
    def _guard(self, path: str) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an attribute that it cannot read is None
                yield
        except FerryError:
            raise
        except Exception as error:  # the parser may raise anything
            if "layout class 4" in str(error):
                raise SourceError(
                    f"the HDF5 file '{self.file.path}' has the newest layout, which cannot be read",
                    where=path,
                    remedy="write it anew in the usual one (h5py: libver='earliest'), as Keras does",
                ) from error
            raise self._broken(path, str(error)[:120] or type(error).__name__) from error

    def _broken(self, path: str, why: str) -> SourceError:
        return SourceError(
            f"the HDF5 file '{self.file.path}' cannot be read", where=path, why=why, remedy="copy or download it again"
        )


class Hdf5Tensor(Tensor):
    """A dataset in pieces, compressed, or of the other byte order: read whole when it is asked for."""

    def __init__(self, source: Hdf5, node: Any, path: str, dtype: DType, shape: tuple[int, ...]) -> None:
        super().__init__(dtype, shape)
        self._source, self._node, self._path = source, node, path

    def array(self) -> Array:
        array = self._source.read_all(self._node, self._path, self.shape)
        return np.ascontiguousarray(array, self.dtype.numpy).reshape(self.shape)

    def chunks(self, limit: int = 1 << 20) -> Iterator[memoryview]:
        data = self.array().reshape(-1).view(np.uint8).data
        step = max(1, limit // self.dtype.width) * self.dtype.width
        for start in range(0, len(data), step):
            yield data[start : start + step]


def _plain(value: Any) -> Any:
    """Attributes in Python's own types."""
    if isinstance(value, np.ndarray):
        return [_plain(each) for each in value.tolist()] if value.ndim else _plain(value.item())
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value) if isinstance(value, str) else value
