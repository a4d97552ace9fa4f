"""Flatbuffers read after a schema held as data: every offset, length and count is checked against the file before it is used.

A `View` is one table; its fields are read when they are asked for, so that opening a file touches what is looked at and no more.
Tables may point at each other in any way a stranger likes: the work done on one file is counted, and ends in an error.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorferry.errors import SourceError
from tensorferry.tensor import Array
from tensorferry.wire.flatbuffer import Field, Schema
from tensorferry.wire.protobuf import malformed

_FORMATS = {
    "bool": "<?",
    "int8": "<b",
    "uint8": "<B",
    "uint16": "<H",
    "int32": "<i",
    "uint32": "<I",
    "int64": "<q",
    "uint64": "<Q",
    "float": "<f",
}
_ELEMENTS = {name: np.dtype(code.replace("?", "u1")) for name, code in _FORMATS.items()}
_LONGEST_TEXT = 1 << 20
_SPARE_WORK = 1 << 16
_WORK_PER_BYTE = 4
"""Tables, elements and letters that may be looked at for each byte of the file: more is the same ones again and again."""


class Walker:
    """The bytes of one flatbuffer, and how much has been looked at."""

    def __init__(self, data: memoryview, schema: Schema) -> None:
        self.data = data
        self.schema = schema
        self.size = len(data)
        self._left = _SPARE_WORK + _WORK_PER_BYTE * self.size

    def root(self, table: str) -> View:
        """The table that the first four bytes lead to."""
        return self.table(table, self.follow(0))

    def table(self, table: str, position: int) -> View:
        """The table at a position, its list of fields checked."""
        self.spend(1)
        fields = position - self.number("int32", position)
        if fields < 0:
            raise malformed("the fields of a table lie before the file", position)
        length, extent = self.number("uint16", fields), self.number("uint16", fields + 2)
        if length < 4 or length % 2 or fields + length > self.size or extent < 4 or position + extent > self.size:
            raise malformed("a table reaches beyond the file", position)
        places = struct.unpack_from(f"<{length // 2 - 2}H", self.data, fields + 4)
        return View(self, table, position, extent, places)

    def number(self, scalar: str, position: int) -> Any:
        code = _FORMATS[scalar]
        if position < 0 or position + struct.calcsize(code) > self.size:
            raise malformed("a number lies beyond its end", position)
        return struct.unpack_from(code, self.data, position)[0]

    def follow(self, position: int) -> int:
        """Where an offset leads: always onwards."""
        target = position + int(self.number("uint32", position))
        if target <= position or target + 4 > self.size:
            raise malformed("an offset leads beyond its end", position)
        return target

    def vector(self, position: int, width: int) -> tuple[int, int]:
        """(first byte, count) of the vector that the offset at a position leads to."""
        start = self.follow(position)
        count = int(self.number("uint32", start))
        if start + 4 + count * width > self.size:
            raise malformed(f"a list of {count} elements reaches beyond its end", start)
        return start + 4, count

    def spend(self, amount: int) -> None:
        self._left -= amount
        if self._left < 0:
            raise malformed("its parts stand for each other again and again", 0)


class View:
    """One table: its fields by name. A field that the file leaves out has its default, or is empty or None."""

    def __init__(self, walker: Walker, table: str, position: int, extent: int = 0, places: Sequence[int] = ()) -> None:
        self.walker = walker
        self.table = table
        self.position = position
        self._extent = extent
        self._places = places

    def has(self, name: str) -> bool:
        """Whether the file gives the field."""
        return self._place(self._field(name).slot, 1) is not None

    def number(self, name: str) -> int:
        """A whole number; of an enum its number."""
        field = self._field(name)
        scalar = self.walker.schema.scalar(field.type) or "uint8"
        place = self._place(field.slot, _ELEMENTS[scalar].itemsize)
        return field.default if place is None else int(self.walker.number(scalar, place))

    def real(self, name: str) -> float:
        field = self._field(name)
        place = self._place(field.slot, 4)
        return float(field.default) if place is None else float(self.walker.number("float", place))

    def flag(self, name: str) -> bool:
        return bool(self.number(name))

    def member(self, name: str) -> str:
        """The name of an enum's member. SourceError for a number that the schema does not know."""
        members = self.walker.schema.enums[self._field(name).type].members
        number = self.number(name)
        for member, known in members.items():
            if known == number:
                return member
        raise SourceError(
            f"'{name}' of {self.table} is {number}, which is not known",
            where=f"byte {self.position}",
            remedy="the file is damaged, or newer than this program",
        )

    def text(self, name: str) -> str:
        span = self.span(name)
        if span is None:
            return ""
        start, count = span
        if count > _LONGEST_TEXT:
            raise malformed(f"a name is {count} bytes long", start)
        self.walker.spend(count // 16)
        return bytes(self.walker.data[start : start + count]).decode("utf-8", "replace")

    def texts(self, name: str) -> list[str]:
        """A vector of texts."""
        place = self._place(self._field(name).slot, 4)
        if place is None:
            return []
        start, count = self.walker.vector(place, 4)
        found = []
        for each in range(count):
            first, length = self.walker.vector(start + 4 * each, 1)
            self.walker.spend(1 + length // 16)
            found.append(bytes(self.walker.data[first : first + length]).decode("utf-8", "replace"))
        return found

    def span(self, name: str) -> tuple[int, int] | None:
        """(first byte, length) of a vector of bytes or a text; None where there is none."""
        place = self._place(self._field(name).slot, 4)
        return None if place is None else self.walker.vector(place, 1)

    def numbers(self, name: str) -> Array:
        """A vector of scalars; empty where there is none."""
        field = self._field(name)
        dtype = _ELEMENTS[self.walker.schema.scalar(field.type) or "uint8"]
        place = self._place(field.slot, 4)
        if place is None:
            return np.zeros(0, dtype)
        start, count = self.walker.vector(place, dtype.itemsize)
        self.walker.spend(count)
        return np.frombuffer(bytes(self.walker.data[start : start + count * dtype.itemsize]), dtype)

    def tables(self, name: str) -> list[View]:
        """A vector of tables."""
        field = self._field(name)
        place = self._place(field.slot, 4)
        if place is None:
            return []
        start, count = self.walker.vector(place, 4)
        return [self.walker.table(field.type, self.walker.follow(start + 4 * each)) for each in range(count)]

    def child(self, name: str) -> View | None:
        """A table, None where there is none."""
        field = self._field(name)
        place = self._place(field.slot, 4)
        return None if place is None else self.walker.table(field.type, self.walker.follow(place))

    def union(self, name: str) -> View | None:
        """The table in a field of a union type; None where there is none, or one that the schema does not know."""
        field = self._field(name)
        members = self.walker.schema.unions[field.type]
        tag_place, place = self._place(field.slot, 1), self._place(field.slot + 1, 4)
        tag = 0 if tag_place is None else int(self.walker.number("uint8", tag_place))
        if place is None or not 0 < tag < len(members) or members[tag] not in self.walker.schema.tables:
            return None
        return self.walker.table(members[tag], self.walker.follow(place))

    def _field(self, name: str) -> Field:
        return next(field for field in self.walker.schema.tables[self.table] if field.name == name)

    def _place(self, slot: int, width: int) -> int | None:
        offset = self._places[slot] if slot < len(self._places) else 0
        if not offset:
            return None
        if offset + width > self._extent:
            raise malformed(f"a field of {self.table} lies outside of it", self.position)
        return self.position + offset


def empty_view(walker: Walker, table: str) -> View:
    """A table of which the file says nothing: all defaults."""
    return View(walker, table, 0)
