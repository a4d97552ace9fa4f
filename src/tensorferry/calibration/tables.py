"""Samples from a CSV file: one row a sample."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from tensorferry.calibration.inputs import Input
from tensorferry.calibration.pixels import Mapping
from tensorferry.calibration.values import check_type, convert
from tensorferry.errors import OptionError, SourceError
from tensorferry.tensor import Array

_LONGEST_LINE = 1 << 26
_DELIMITERS = (",", ";", "\t")


@dataclass(slots=True)
class TableSamples:
    """Rows of numbers for the only input of a model; a first row without numbers is a heading."""

    path: Path
    given: Input
    shape: tuple[int, ...]
    mapping: Mapping | None
    delimiter: str = ","
    heading: bool = False
    count: int = 0
    notices: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path, inputs: tuple[Input, ...], mapping: Mapping | None) -> TableSamples:
        """Count the rows and check that each has the right number of fields; numbers are looked at when they are read."""
        if len(inputs) != 1:
            names = ", ".join(f"'{each.name}'" for each in inputs) or "none"
            raise OptionError(
                f"'{path}' can feed a model with one input only", why=f"the inputs are {names}", remedy="use an .npz file"
            )
        (given,) = inputs
        check_type(np.dtype(np.float64 if given.dtype.is_float else np.int64), given, str(path), scaled=mapping is not None)
        table = cls(path, given, (), mapping)
        table._look()
        return table

    def _look(self) -> None:
        """Settle delimiter, heading, shape and number of rows."""
        with _reading(self.path) as file:
            first = file.readline(_LONGEST_LINE).strip("\r\n")
        self.delimiter = max(_DELIMITERS, key=first.count) if any(each in first for each in _DELIMITERS) else ","
        fields = next(csv.reader([first], delimiter=self.delimiter), [])
        self.heading = bool(fields) and all(_number(text) is None for text in fields)
        if self.heading:
            self.notices.append(f"the first row of '{self.path.name}' is taken for a heading: {', '.join(fields)[:80]}")
        width = None
        for line, row in self._rows():
            if width is None:
                width = len(row)
                self.shape = self._fit(width)
            if len(row) != width:
                raise SourceError(
                    f"'{self.path}' has {len(row)} fields in a row", where=f"line {line}", why=f"the first has {width}"
                )
            self.count += 1

    def _fit(self, width: int) -> tuple[int, ...]:
        """The shape of a sample of so many numbers; one open size besides the batch can be told from it."""
        shape = self.given.shape
        if shape is None:
            return (1, width)
        sizes = [1 if axis == 0 and size is None and len(shape) > 1 else size for axis, size in enumerate(shape)]
        known = math.prod(size for size in sizes if size is not None)
        if None in sizes and sizes.count(None) == 1 and known and width % known == 0:
            sizes[sizes.index(None)] = width // known
        if None in sizes or math.prod(size or 0 for size in sizes) != width:
            wanted = "x".join("?" if size is None else str(size) for size in sizes) or "1"
            raise OptionError(
                f"'{self.path}' has {width} numbers a row", why=f"a sample for the input '{self.given.name}' has {wanted}"
            )
        return tuple(size for size in sizes if size is not None)

    def __len__(self) -> int:
        return self.count

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        with _reading(self.path) as file:
            reader = csv.reader(file, delimiter=self.delimiter)
            skipped = not self.heading
            try:
                for row in reader:
                    if not any(text.strip() for text in row):
                        continue
                    if skipped:
                        yield reader.line_num, row
                    skipped = True
            except (csv.Error, UnicodeDecodeError) as error:
                raise SourceError(f"'{self.path}' is no readable CSV", where=f"line {reader.line_num}", why=str(error)) from error

    def read(self, places: Sequence[int]) -> Iterator[dict[str, Array]]:
        """The samples at these places, which ascend."""
        wanted = iter([*places, -1])
        place = next(wanted)
        for number, (line, row) in enumerate(self._rows()):
            if number != place:
                continue
            where = f"'{self.path}', line {line}"
            numbers = [_number(text) for text in row]
            if None in numbers:
                column = numbers.index(None)
                raise SourceError(f"'{row[column][:40]}' is no number", where=f"{where}, field {column + 1}")
            values = np.asarray(numbers, np.float64).reshape(self.shape)
            yield {self.given.name: convert(values, self.given, where, self.mapping)}
            place = next(wanted)

    def about(self) -> dict[str, Any]:
        """How the values are taken."""
        return {"kind": "csv", "values": str(self.mapping) if self.mapping else "as they are"}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@contextmanager
def _reading(path: Path) -> Iterator[IO[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise SourceError(f"'{path}' is not a readable CSV file", why=why, remedy="save it as UTF-8 text") from error
