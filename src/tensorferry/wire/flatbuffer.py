"""Flatbuffers without generated code: a schema as data, and tables built from plain dicts after it.

A field whose content is known only after the tables are laid out (where the weights will lie) is given as a `Reserved`; the
finished buffer says where its bytes are, and the writer fills them in.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from flatbuffers import number_types

from tensorferry.errors import GraphError

SCALARS = {
    "bool": number_types.BoolFlags,
    "int8": number_types.Int8Flags,
    "uint8": number_types.Uint8Flags,
    "uint16": number_types.Uint16Flags,
    "int32": number_types.Int32Flags,
    "uint32": number_types.Uint32Flags,
    "int64": number_types.Int64Flags,
    "uint64": number_types.Uint64Flags,
    "float": number_types.Float32Flags,
}
_NUMPY = {"float": "float32"}


@dataclass(frozen=True, slots=True)
class Enum:
    """Named numbers, and the scalar type in which they are stored."""

    storage: str
    members: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a table. `slot` counts as the schema does: a union takes two, its tag and then the table."""

    name: str
    slot: int
    type: str
    vector: bool
    default: int


@dataclass(frozen=True, slots=True)
class Schema:
    """All types of one file format."""

    enums: Mapping[str, Enum]
    unions: Mapping[str, tuple[str, ...]]
    tables: Mapping[str, tuple[Field, ...]]
    slots: Mapping[str, int]
    """Slots of each table, those no longer used included."""

    def scalar(self, type_name: str) -> str | None:
        """The scalar in which values of this type are stored; None for strings, tables and unions."""
        if type_name in self.enums:
            return self.enums[type_name].storage
        return type_name if type_name in SCALARS else None

    def number(self, type_name: str, value: Any) -> Any:
        """A value as its number: members of enums may be given by name."""
        if not isinstance(value, str):
            return value
        try:
            return self.enums[type_name].members[value]
        except KeyError:
            raise GraphError(f"'{value}' is no {type_name}") from None


def parse_schema(lines: Sequence[Sequence[str]]) -> Schema:
    """Read the `enum`, `union` and `table` lines, split into words, of a schema in our own short form."""
    enums: dict[str, Enum] = {}
    unions: dict[str, tuple[str, ...]] = {}
    tables: dict[str, tuple[Field, ...]] = {}
    slots: dict[str, int] = {}
    for kind, name, *rest in lines:
        if kind == "enum":
            enums[name] = Enum(rest[0], {member: number for number, member in enumerate(rest[1:])})
        elif kind == "union":
            unions[name] = tuple(rest)
    for kind, name, *rest in lines:
        if kind == "table":
            tables[name], slots[name] = _parse_fields(rest, enums, unions)
    return Schema(enums, unions, tables, slots)


def _parse_fields(
    words: Sequence[str], enums: Mapping[str, Enum], unions: Mapping[str, Sequence[str]]
) -> tuple[tuple[Field, ...], int]:
    fields: list[Field] = []
    slot = 0
    for word in words:
        if word != "-":
            name, _, rest = word.partition(":")
            type_name, _, default = rest.partition("=")
            number = enums[type_name].members[default] if default and type_name in enums else int(default or 0)
            fields.append(Field(name, slot, type_name.removesuffix("[]"), type_name.endswith("[]"), number))
            slot += type_name in unions
        slot += 1
    return tuple(fields), slot


class Reserved:
    """A field of `size` bytes, zero for now; `TableBuilder.finish` makes its place known."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.from_end = 0


class TableBuilder:
    """Builds tables back to front, as flatbuffers are: children before their parents. The same dicts give the same bytes."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._builder = flatbuffers.Builder(1 << 16)

    def build(self, table: str, values: Mapping[str, Any]) -> int:
        """Write a table; None and defaults are left out. Returns a reference for `finish`.

        A nested table is a dict, a union a pair (name of the table, dict), a vector a sequence, of bytes also `bytes`.
        """
        unknown = values.keys() - {field.name for field in self.schema.tables[table]}
        if unknown:
            raise GraphError(f"the table {table} has no field '{min(unknown)}'")
        stored = [part for field in self.schema.tables[table] for part in self._store(field, values.get(field.name))]
        self._builder.StartObject(self.schema.slots[table])
        for slot, flags, value in sorted(stored, key=lambda part: (-part[1].bytewidth, part[0])):  # large first: no padding
            self._place(slot, flags, value)
        return int(self._builder.EndObject())

    def finish(self, root: int, identifier: bytes) -> bytearray:
        """The whole buffer, its size a multiple of 16."""
        self._builder.minalign = 16
        self._builder.Finish(root, file_identifier=identifier)
        return bytearray(self._builder.Output())

    def _store(self, field: Field, value: Any) -> list[tuple[int, Any, Any]]:
        """What the table itself holds for the field, as (slot, number type, value); children are written at once."""
        if value is None:
            return []
        if isinstance(value, Reserved):
            return [(field.slot, number_types.Uint64Flags if value.size == 8 else number_types.UOffsetTFlags, value)]
        if field.type in self.schema.unions:
            name, content = value
            tag = self.schema.unions[field.type].index(name)
            return [
                (field.slot, number_types.Uint8Flags, tag),
                (field.slot + 1, number_types.UOffsetTFlags, self.build(name, content)),
            ]
        scalar = self.schema.scalar(field.type)
        if scalar is None or field.vector:
            return [(field.slot, number_types.UOffsetTFlags, self._child(field, value, scalar))]
        number = self.schema.number(field.type, value)
        return [] if number == field.default else [(field.slot, SCALARS[scalar], number)]

    def _child(self, field: Field, value: Any, scalar: str | None) -> int:
        if not field.vector:
            return int(self._builder.CreateSharedString(value) if field.type == "string" else self.build(field.type, value))
        if isinstance(value, bytes):
            return int(self._builder.CreateByteVector(value))
        if scalar is not None:
            numbers = [self.schema.number(field.type, each) for each in value]
            return int(self._builder.CreateNumpyVector(np.asarray(numbers, dtype=_NUMPY.get(scalar, scalar))))
        children = [self.build(field.type, each) for each in value]
        self._builder.StartVector(4, len(children), 4)
        for child in reversed(children):
            self._builder.PrependUOffsetTRelative(child)
        return int(self._builder.EndVector())

    def _place(self, slot: int, flags: Any, value: Any) -> None:
        if isinstance(value, Reserved):
            self._builder.Prepend(flags, 0)
            value.from_end = self._builder.Offset()
        elif flags is number_types.UOffsetTFlags:
            self._builder.PrependUOffsetTRelative(value)
        else:
            self._builder.Prepend(flags, flags.py_type(value))
        self._builder.Slot(slot)


def fill(buffer: bytearray, reserved: Reserved, value: int) -> None:
    """Put a number into a reserved field."""
    struct.pack_into("<Q" if reserved.size == 8 else "<I", buffer, len(buffer) - reserved.from_end, value)


def fill_reference(buffer: bytearray, reserved: Reserved, target: int) -> None:
    """Let a reserved field refer to what lies at byte `target`, which may be behind the buffer's end."""
    fill(buffer, reserved, target - (len(buffer) - reserved.from_end))
