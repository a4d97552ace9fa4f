"""Samples from .npy and .npz files, read row by row: a file may be larger than the memory."""

from __future__ import annotations

import math
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from tensorferry.calibration.inputs import Input
from tensorferry.calibration.pixels import Mapping
from tensorferry.calibration.values import Cut, check_type, choose_cut, convert
from tensorferry.errors import FerryError, OptionError, SourceError
from tensorferry.tensor import Array

MOST_AT_ONCE = 1 << 30
"""Bytes of one sample, or of an array in Fortran's order, whose samples do not lie together."""

_READERS: dict[tuple[int, int], Callable[..., Any]] = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredArray:
    """An array in a file that can be opened again and again; nothing is read but its header."""

    where: str
    open: Callable[[], IO[bytes]]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool

    @classmethod
    def of(cls, where: str, opener: Callable[[], IO[bytes]]) -> StoredArray:
        """Read the header. Pickled objects are refused: reading them would run what they say."""
        with _explaining(where), opener() as file:
            shape, fortran, dtype = _header(file)
        if dtype.hasobject:
            raise SourceError(
                f"'{where}' holds pickled Python objects",
                why="reading them could run any code",
                remedy="save an array of numbers: np.save(file, np.stack(samples))",
            )
        if dtype.names is not None or dtype.subdtype is not None:
            raise SourceError(f"'{where}' holds records, not numbers", remedy="save an array of numbers")
        if any(size < 0 for size in shape):
            raise SourceError(f"'{where}' has the shape {shape}", why="a size is below zero")
        return cls(where, opener, shape, dtype, fortran)

    def rows(self, cut: Cut, places: Sequence[int]) -> Iterator[Array]:
        """The samples at these places, which ascend."""
        width = (self.shape[1:], 1) if not cut.whole else (self.shape, 1)
        size = math.prod(width[0]) * self.dtype.itemsize * (cut.rows if not cut.whole else 1)
        whole = self.fortran and len(self.shape) > 1
        if (math.prod(self.shape) * self.dtype.itemsize if whole else size) > MOST_AT_ONCE:
            remedy = "save it with np.ascontiguousarray" if whole else "the samples are too large"
            raise SourceError(f"'{self.where}' cannot be read piece by piece", remedy=remedy)
        with _explaining(self.where), self.open() as file:
            _header(file)
            if whole:
                yield from self._from_fortran(file, cut, places)
                return
            at = 0
            for place in places:
                _skip(file, (place - at) * size)
                at = place + 1
                data = np.frombuffer(_read(file, size), self.dtype)
                yield self._shaped(data.reshape(self.shape if cut.whole else (cut.rows, *self.shape[1:])), cut)

    def _from_fortran(self, file: IO[bytes], cut: Cut, places: Sequence[int]) -> Iterator[Array]:
        data = np.frombuffer(_read(file, math.prod(self.shape) * self.dtype.itemsize), self.dtype).reshape(self.shape, order="F")
        for place in places:
            yield self._shaped(data if cut.whole else data[place * cut.rows : (place + 1) * cut.rows], cut)

    @staticmethod
    def _shaped(data: Array, cut: Cut) -> Array:
        """With the batch that the input has."""
        if cut.whole:
            return data if cut.keep else data[None]
        return data if cut.keep else data[0]


@dataclass(slots=True)
class ArraySamples:
    """Samples of one or several inputs, each from an array of its own."""

    path: Path
    inputs: tuple[Input, ...]
    stored: tuple[StoredArray, ...]
    cuts: tuple[Cut, ...]
    mapping: Mapping | None
    notices: list[str]

    @classmethod
    def open(cls, path: Path, inputs: tuple[Input, ...], mapping: Mapping | None) -> ArraySamples:
        """Read the headers and check that they fit the inputs and each other."""
        stored = _find_arrays(path, inputs)
        for each, array in zip(inputs, stored, strict=True):
            check_type(array.dtype, each, array.where, scaled=mapping is not None)
        cuts = tuple(choose_cut(array.shape, each, array.where) for each, array in zip(inputs, stored, strict=True))
        counts = {each.name: cut.count for each, cut in zip(inputs, cuts, strict=True)}
        many = {count for count in counts.values() if count != 1}
        if len(many) > 1:
            listed = ", ".join(f"'{name}' {count}" for name, count in counts.items())
            raise OptionError(f"'{path}' holds different numbers of samples", why=listed)
        once = [name for name, count in counts.items() if count == 1] if many else []
        notices = [f"the one value for {', '.join(once)} goes with every sample"] if once else []
        return cls(path, inputs, stored, cuts, mapping, notices)

    def __len__(self) -> int:
        return max((cut.count for cut in self.cuts), default=0) if all(cut.count for cut in self.cuts) else 0

    def read(self, places: Sequence[int]) -> Iterator[dict[str, Array]]:
        """The samples at these places."""
        streams = [
            array.rows(cut, places if cut.count == len(self) else [0]) for array, cut in zip(self.stored, self.cuts, strict=True)
        ]
        kept: dict[str, Array] = {}
        for place in places:
            for each, array, cut, stream in zip(self.inputs, self.stored, self.cuts, streams, strict=True):
                if cut.count == len(self) or each.name not in kept:
                    kept[each.name] = convert(next(stream), each, f"'{array.where}', sample {place + 1}", self.mapping)
            yield dict(kept)

    def about(self) -> dict[str, Any]:
        """How the values are taken."""
        return {"kind": self.path.suffix.lower().lstrip("."), "values": str(self.mapping) if self.mapping else "as they are"}


def _find_arrays(path: Path, inputs: tuple[Input, ...]) -> tuple[StoredArray, ...]:
    """The array of each input: by its name, or the only one for the only input."""
    with _explaining(str(path)), path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    if not zipped:
        if len(inputs) != 1:
            listed = ", ".join(f"'{each.name}'" for each in inputs)
            raise OptionError(f"'{path}' holds one array", why=f"the model has the inputs {listed}", remedy="use an .npz file")
        return (StoredArray.of(str(path), lambda: path.open("rb")),)
    with _explaining(str(path)), zipfile.ZipFile(path) as archive:
        names = [info.filename for info in archive.infolist()]
    known = {name.removesuffix(".npy"): name for name in names if name.endswith(".npy")}
    if len(inputs) == len(known) == 1 and inputs[0].name not in known:
        return (_member(path, next(iter(known.values()))),)
    missing = [each.name for each in inputs if each.name not in known]
    if missing:
        raise OptionError(f"'{path}' has no array named {', '.join(missing)}", why=f"it holds {', '.join(known) or 'no arrays'}")
    return tuple(_member(path, known[each.name]) for each in inputs)


def _member(path: Path, name: str) -> StoredArray:
    def opener() -> IO[bytes]:
        archive = zipfile.ZipFile(path)  # its file stays open as long as the member that is read from it
        try:
            return archive.open(name)
        finally:
            archive.close()

    return StoredArray.of(f"{path}: {name}", opener)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    read = _READERS.get(version)
    if read is None:
        raise ValueError(f"it is of version {version[0]}.{version[1]} of the format")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers that Python 2 wrote
        shape, fortran, dtype = read(file)
    return tuple(shape), bool(fortran), dtype


def _read(file: IO[bytes], length: int) -> bytearray:
    """Exactly so many bytes."""
    data = bytearray()
    while len(data) < length:
        piece = file.read(min(_PIECE, length - len(data)))
        if not piece:
            raise EOFError(f"it ends early: {len(data)} of the {length} bytes of a sample are there")
        data += piece
    return data


def _skip(file: IO[bytes], length: int) -> None:
    while length > 0:
        piece = file.read(min(_PIECE, length))
        if not piece:
            raise EOFError("it ends early")
        length -= len(piece)


@contextmanager
def _explaining(where: str) -> Iterator[None]:
    try:
        yield
    except FerryError:
        raise
    except (OSError, ValueError, EOFError, SyntaxError, KeyError, TypeError, RuntimeError, NotImplementedError) as error:
        raise SourceError(f"'{where}' is not a readable .npy or .npz file", why=_reason(error)) from error
    except (zipfile.BadZipFile, zlib.error, tokenize.TokenError, MemoryError) as error:
        raise SourceError(f"'{where}' is damaged", why=str(error)) from error


def _reason(error: Exception) -> str:
    return (
        error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0] if str(error) else ""
    ) or (type(error).__name__)
