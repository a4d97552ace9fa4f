"""TensorFlow's messages by the names of their fields, and their encoding from plain dicts: for graphs in text form and in JSON.

And the text form of messages, printed.

Field numbers are those of tensorflow/core/framework/*.proto and tensorflow/core/protobuf/{meta_graph,saved_model}.proto. Fields
that say nothing about what a model computes are left out, and passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tensorferry.errors import SourceError
from tensorferry.storage import CHUNK, SourceFile
from tensorferry.wire.protobuf import Field, Message, Span, fields, fixed, varints
from tensorferry.wire.small_types import SMALL_TYPES
from tensorferry.wire.tensorflow import DTYPE_NUMBERS

_TABLE = """
GraphDef node=1:NodeDef* library=2:FunctionDefLibrary version=3:int versions=4:VersionDef
NodeDef name=1:text op=2:text input=3:text* device=4:text attr=5:AttrValue@
AttrValue list=1:ListValue s=2:bytes i=3:int f=4:float b=5:bool type=6:type shape=7:TensorShapeProto tensor=8:TensorProto
 placeholder=9:text func=10:NameAttrList
ListValue s=2:bytes* i=3:int* f=4:float* b=5:bool* type=6:type* shape=7:TensorShapeProto* tensor=8:TensorProto* func=9:NameAttrList*
NameAttrList name=1:text attr=2:AttrValue@
TensorShapeProto dim=2:Dim* unknown_rank=3:bool
Dim size=1:int name=2:text
TensorProto dtype=1:type tensor_shape=2:TensorShapeProto version_number=3:int tensor_content=4:bytes float_val=5:float*
 double_val=6:double* int_val=7:int* string_val=8:bytes* scomplex_val=9:float* int64_val=10:int* bool_val=11:bool*
 dcomplex_val=12:double* half_val=13:int* uint32_val=16:int* uint64_val=17:int* float8_val=18:bytes
VersionDef producer=1:int min_consumer=2:int bad_consumers=3:int*
FunctionDefLibrary function=1:FunctionDef*
FunctionDef signature=1:OpDef attr=5:AttrValue@ node_def=3:NodeDef* ret=4:text@ control_ret=6:text@
OpDef name=1:text input_arg=2:ArgDef* output_arg=3:ArgDef* control_output=20:text* is_stateful=17:bool
ArgDef name=1:text type=3:type type_attr=4:text number_attr=5:text type_list_attr=6:text is_ref=16:bool
SavedModel saved_model_schema_version=1:int meta_graphs=2:MetaGraphDef*
MetaGraphDef meta_info_def=1:MetaInfoDef graph_def=2:GraphDef signature_def=5:SignatureDef@ asset_file_def=6:AssetFileDef*
 object_graph_def=7:SavedObjectGraph
SavedObjectGraph nodes=1:SavedObject* concrete_functions=2:SavedConcreteFunction@
SavedObject children=1:ObjectReference* asset=5:SavedAsset function=6:SavedFunction variable=7:SavedVariable
 bare_concrete_function=8:SavedBareConcreteFunction constant=9:SavedConstant resource=10:SavedResource
ObjectReference node_id=1:int local_name=2:text
SavedAsset asset_file_def_index=1:int
SavedFunction concrete_functions=1:text*
SavedVariable dtype=1:type shape=2:TensorShapeProto name=6:text
SavedBareConcreteFunction concrete_function_name=1:text
SavedConstant operation=1:text
SavedResource device=1:text
SavedConcreteFunction bound_inputs=2:int* output_signature=4:StructuredValue
StructuredValue dict_value=53:DictValue
DictValue fields=1:StructuredValue@
MetaInfoDef tags=4:text* tensorflow_version=5:text
SignatureDef inputs=1:TensorInfo@ outputs=2:TensorInfo@ method_name=3:text
TensorInfo name=1:text dtype=2:type tensor_shape=3:TensorShapeProto
AssetFileDef tensor_info=1:TensorInfo filename=2:text
"""
"""Message, then its fields: name=number:kind; `*` may stand several times, `@` a map from text."""

Fields = Mapping[str, tuple[int, str, str]]
"""Name of a field -> number, kind, and "" or `*` or `@`."""


def _read_table() -> dict[str, Fields]:
    messages: dict[str, Fields] = {}
    for line in _TABLE.replace("\n ", " ").split("\n"):
        name, _, rest = line.partition(" ")
        if name:
            found = (re.fullmatch(r"(\w+)=(\d+):(\w+)([*@]?)", word) for word in rest.split())
            messages[name] = {each[1]: (int(each[2]), each[3], each[4]) for each in found if each is not None}
    return messages


MESSAGES = _read_table()
_MOST_DEPTH = 64


def encode(kind: str, data: Mapping[str, Any], depth: int = 0) -> Message:
    """A message from a dict of its fields: repeated ones are lists, maps dicts, types `DT_FLOAT` or a number.

    SourceError for a value of the wrong kind.
    """
    if depth > _MOST_DEPTH:
        raise SourceError(f"messages are nested more than {_MOST_DEPTH} deep")
    message = Message()
    for name, value in data.items():
        field = MESSAGES[kind].get(name)
        if field is None or value is None:
            continue
        number, of, many = field
        if many == "@":
            for key, each in _mapping(name, value).items():
                entry = Message()
                if not isinstance(key, str | bytes):
                    raise _wrong("key", key)
                _put(entry, 1, "text", "key", key, depth)
                _put(entry, 2, of, name, each, depth)
                message.message(number, entry)
        else:
            for each in value if many and isinstance(value, list) else [value]:
                _put(message, number, of, name, each, depth)
    return message


def _mapping(name: str, value: Any) -> Mapping[str | bytes, Any]:
    """A map as JSON has it, or as the text form has it: a list of entries with key and value, or one."""
    if isinstance(value, Mapping):
        if "key" not in value or not set(value) <= {"key", "value"}:
            return value
        value = [value]
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise _wrong(name, value)
    found: dict[str | bytes, Any] = {}
    for each in value:
        key = each.get("key", "")
        if not isinstance(key, str | bytes):
            raise _wrong("key", key)
        found[key] = each.get("value", {})
    return found


def _put(message: Message, number: int, of: str, name: str, value: Any, depth: int) -> None:
    if of in MESSAGES:
        if not isinstance(value, Mapping):
            raise _wrong(name, value)
        message.message(number, encode(of, value, depth + 1))
        return
    try:
        if of == "text":
            message.data(number, value if isinstance(value, bytes) else str(value))
        elif of == "bytes":
            message.data(number, value if isinstance(value, bytes) else str(value).encode())
        elif of in ("int", "bool"):
            message.varint(number, int(value) & (1 << 64) - 1)
        elif of == "float":
            message.float32(number, float(value))
        elif of == "double":
            message.fixed64(number, np.float64(value).tobytes())
        else:
            message.varint(number, _type_number(value))
    except (TypeError, ValueError, OverflowError) as error:
        raise _wrong(name, value) from error


_TYPE_NUMBERS = {
    **{f"DT_{dtype.name}": number for dtype, number in DTYPE_NUMBERS.items()},
    **{f"DT_{small.name.upper()}": number for number, small in SMALL_TYPES.items()},
    "DT_FLOAT": 1,
    "DT_DOUBLE": 2,
    "DT_HALF": 19,
    "DT_QINT8": 11,
    "DT_QUINT8": 12,
    "DT_QINT32": 13,
    "DT_QINT16": 15,
    "DT_QUINT16": 16,
}


def _type_number(value: Any) -> int:
    """A DataType by name or number; a reference type is its type's number plus 100."""
    if isinstance(value, int):
        return value
    if not isinstance(value, str):
        raise TypeError(value)
    plain = value.removesuffix("_REF")
    return _TYPE_NUMBERS.get(plain, 0) + (100 if plain != value else 0)


def _wrong(name: str, value: Any) -> SourceError:
    return SourceError(f"the field '{name}' cannot hold {str(value)[:40]!r}")


# -- printing ------------------------------------------------------------------------------------------------------

_ESCAPED = np.array([[92, 48 + (byte >> 6), 48 + (byte >> 3 & 7), 48 + (byte & 7)] for byte in range(256)], np.uint8)
"""Each byte as a backslash and three octal digits: numpy writes these a hundred times as fast as Python the shortest form."""

_NUMBERED = {kind: {number: (name, of) for name, (number, of, _) in each.items()} for kind, each in MESSAGES.items()}
_TYPE_WORDS = {number: name for name, number in _TYPE_NUMBERS.items()}


def format_message(kind: str, message: Span, file: SourceFile, indent: str = "") -> Iterator[bytes]:
    """A message in text form, piece by piece. Long bytes are read from the file by position and never held."""
    for field in fields(message):
        known = _NUMBERED[kind].get(field.tag)
        if known is None and field.tag in (1, 2) and kind in _ENTRIES:
            known = ("key", "text") if field.tag == 1 else ("value", _ENTRIES[kind])
        if known is None:
            continue
        name, of = known
        entry = f"{of}@" if (kind, name) in _MAPS else of
        if entry in MESSAGES or entry in _ENTRIES:
            yield f"{indent}{name} {{\n".encode()
            yield from format_message(entry, field.delimited(), file, indent + "  ")
            yield f"{indent}}}\n".encode()
        elif of in ("text", "bytes"):
            yield f"{indent}{name}: ".encode()
            yield from _quote(field.delimited(), file)
            yield b"\n"
        else:
            for word in _words_of(of, name, field):
                yield f"{indent}{name}: {word}\n".encode()


_MAPS = {(kind, name) for kind, each in MESSAGES.items() for name, (_, _, many) in each.items() if many == "@"}
_ENTRIES = {f"{of}@": of for each in MESSAGES.values() for _, of, many in each.values() if many == "@"}
"""Entries of a map, which are messages of a key and a value: their kind -> the kind of the value."""
_NUMBERED |= {key: {} for key in _ENTRIES}


def _quote(span: Span, file: SourceFile) -> Iterator[bytes]:
    if len(span) <= _SHORT and all(32 <= byte < 127 and byte not in b"\"\\'" for byte in span.content):
        yield b'"' + span.content + b'"'
        return
    for start in range(span.start, span.end, CHUNK):  # neighbouring texts are one
        raw = np.frombuffer(file.read(start, min(CHUNK, span.end - start)), np.uint8)
        yield b'"' + _ESCAPED[raw].tobytes() + b'"' + (b"\n" if start + CHUNK < span.end else b"")
    if not len(span):
        yield b'""'


_SHORT = 1 << 12


def _words_of(of: str, name: str, field: Field) -> list[str]:
    if of == "float":
        return [str(each) for each in fixed(field, "<f4")]  # the shortest text that reads back as the same number
    if of == "double":
        return [str(each) for each in fixed(field, "<f8")]
    raw = varints(field)
    values = (raw if name.startswith("uint") else raw.view(np.int64)).tolist()
    if of == "bool":
        return ["true" if each else "false" for each in values]
    return [_TYPE_WORDS.get(each, str(each)) for each in values] if of == "type" else [str(each) for each in values]
