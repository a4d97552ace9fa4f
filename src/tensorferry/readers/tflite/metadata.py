"""TensorFlow Lite Model Metadata as plain data, and the names of the files behind a model."""

from __future__ import annotations

import zipfile
from typing import Any

from tensorferry.archives.limits import MOST_ENTRIES, BoundedFile
from tensorferry.errors import FerryError
from tensorferry.storage import SourceFile
from tensorferry.wire import tflite_metadata
from tensorferry.wire.flatbuffer import Field
from tensorferry.wire.flatview import View, Walker
from tensorferry.wire.protobuf import malformed

_DEEPEST = 12
"""Tables within each other: a label file of a tensor of a subgraph is five deep."""


def read_metadata(data: bytes) -> dict[str, Any]:
    """Every field that is given, by the schema's names; enums by their member, a union as its table with its `type`.

    SourceError for bytes that are none.
    """
    if len(data) < 8 or data[4:8] != tflite_metadata.IDENTIFIER:
        raise malformed("the metadata does not begin as it should", 0)
    return _plain(Walker(memoryview(data), tflite_metadata.schema()).root("ModelMetadata"), 0)


def _plain(view: View, depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        raise malformed(f"its metadata is nested more than {_DEEPEST} deep", view.position)
    fields = view.walker.schema.tables[view.table]
    return {field.name: _value(view, field, depth) for field in fields if view.has(field.name)}


def _value(view: View, field: Field, depth: int) -> Any:
    schema = view.walker.schema
    if field.type in schema.unions:
        chosen = view.union(field.name)
        return None if chosen is None else {"type": chosen.table, **_plain(chosen, depth + 1)}
    if field.type == "string":
        return view.texts(field.name) if field.vector else view.text(field.name)
    if field.vector:
        if schema.scalar(field.type) is not None:
            return view.numbers(field.name).tolist()
        return [_plain(each, depth + 1) for each in view.tables(field.name)]
    if field.type in schema.enums:
        number = view.number(field.name)
        return next((name for name, known in schema.enums[field.type].members.items() if known == number), number)
    if schema.scalar(field.type) is not None:
        return view.real(field.name) if field.type == "float" else view.number(field.name)
    child = view.child(field.name)
    return None if child is None else _plain(child, depth + 1)


def appended_files(file: SourceFile) -> dict[str, int | None]:
    """Name -> bytes, of the zip archive behind a model; empty where there is none."""
    try:
        with BoundedFile(file.path) as stream, zipfile.ZipFile(stream) as archive:
            return {each.filename: each.file_size for each in archive.infolist()[:MOST_ENTRIES]}
    except (FerryError, zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return {}
