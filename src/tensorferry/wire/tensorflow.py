"""What TensorFlow's messages hold: field numbers, element types, shapes, constants and attributes, read and written.

Numbers are those of tensorflow/core/framework/{types,tensor,tensor_shape,attr_value,node_def,graph,versions}.proto.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensorferry.errors import FerryError
from tensorferry.ir import UNKNOWN_DIM, Shape
from tensorferry.storage import SourceFile
from tensorferry.tensor import Array, ArrayTensor, DType, FileTensor, FilledTensor, Tensor
from tensorferry.wire.protobuf import (
    Field,
    Message,
    Span,
    Stream,
    encode_varint,
    fields,
    fixed,
    malformed,
    read_varint,
    varints,
)
from tensorferry.wire.small_types import SMALL_TYPES, SmallType


class GraphDef:
    """Field numbers."""

    NODE, LIBRARY, VERSION, VERSIONS = 1, 2, 3, 4


class NodeDef:
    """Field numbers."""

    NAME, OP, INPUT, DEVICE, ATTR = 1, 2, 3, 4, 5


class FunctionDef:
    """Field numbers."""

    SIGNATURE, NODE, RETURN, ATTR, CONTROL_RETURN, ARGUMENT_ATTR = 1, 3, 4, 5, 6, 7


class OpDef:
    """Field numbers."""

    NAME, INPUT, OUTPUT = 1, 2, 3


class AttrValue:
    """Field numbers; those of the list form are the same for S to TENSOR, and 9 for FUNC."""

    LIST, S, I, F, B, TYPE, SHAPE, TENSOR, PLACEHOLDER, FUNC = range(1, 11)  # noqa: E741
    LIST_FUNC = 9


class TensorProto:
    """Field numbers."""

    DTYPE, SHAPE, VERSION, CONTENT, FLOAT, DOUBLE, INT, STRING, SCOMPLEX, INT64, BOOL, DCOMPLEX, HALF = range(1, 14)
    RESOURCE, VARIANT, UINT32, UINT64, FLOAT8 = range(14, 19)


_QUANTISED = {11: DType.INT8, 12: DType.UINT8, 13: DType.INT32, 15: DType.INT16, 16: DType.UINT16}
"""TensorFlow's quantised types are read as the plain ones they are stored in."""

DTYPES = {
    1: DType.FLOAT32,
    2: DType.FLOAT64,
    3: DType.INT32,
    4: DType.UINT8,
    5: DType.INT16,
    6: DType.INT8,
    7: DType.STRING,
    8: DType.COMPLEX64,
    9: DType.INT64,
    10: DType.BOOL,
    14: DType.BFLOAT16,
    17: DType.UINT16,
    18: DType.COMPLEX128,
    19: DType.FLOAT16,
    20: DType.RESOURCE,
    21: DType.VARIANT,
    22: DType.UINT32,
    23: DType.UINT64,
    29: DType.INT4,
    **_QUANTISED,
}
"""DataType -> DType. Missing, and so read as UNKNOWN: those of `small_types`, in which only constants are read."""

DTYPE_NUMBERS = {dtype: number for number, dtype in DTYPES.items() if number not in _QUANTISED}

_REFERENCE = 100
"""A reference to a variable of type n is DataType n + 100."""

MAX_RANK = 254
"""TensorFlow's own limit."""

MAX_ELEMENT_RANK = 64
"""numpy's limit; no kernel of any runtime comes near it."""

MAX_FILLED_BYTES = 1 << 32
"""A constant written as one repeated value may claim any size; beyond this it is taken for corrupt."""

_MAX_DEPTH = 32
"""Nesting of attributes of functions within attributes of functions."""


@dataclass(frozen=True, slots=True)
class FunctionRef:
    """An attribute that names a function of the graph's library."""

    name: str
    attrs: dict[str, Any]


class UnreadableConstant(FerryError):
    """A constant of an element type that cannot be represented; all else about it is sound."""


# -- reading -------------------------------------------------------------------------------------------------------


def decode_dtype(number: int) -> DType:
    """UNKNOWN for types without a counterpart; a reference type reads as the type it refers to."""
    return DTYPES.get(number - _REFERENCE if number > _REFERENCE else number, DType.UNKNOWN)


def decode_shape(message: Span) -> Shape:
    """A TensorShapeProto; unknown sizes are `?`, None is an unknown rank."""
    dims: list[int | str] = []
    unknown_rank = False
    for field in fields(message):
        if field.tag == 2:
            dims.append(_decode_dim(field.delimited()))
            if len(dims) > MAX_RANK:
                raise malformed(f"a shape has more than {MAX_RANK} dimensions", message.start)
        elif field.tag == 3:
            unknown_rank = field.number != 0
    return None if unknown_rank else tuple(dims)


def _decode_dim(message: Span) -> int | str:
    size = 0
    for field in fields(message):
        if field.tag == 1:
            size = field.signed()
    if size < -1:
        raise malformed(f"a shape has the negative size {size}", message.start)
    return UNKNOWN_DIM if size == -1 else size


_VALUES: dict[int, tuple[str, Callable[[Field], Array]]] = {
    TensorProto.FLOAT: ("<f4", lambda field: fixed(field, "<f4")),
    TensorProto.DOUBLE: ("<f8", lambda field: fixed(field, "<f8")),
    TensorProto.SCOMPLEX: ("<f4", lambda field: fixed(field, "<f4")),
    TensorProto.DCOMPLEX: ("<f8", lambda field: fixed(field, "<f8")),
    TensorProto.INT: ("<i8", lambda field: varints(field).view(np.int64)),
    TensorProto.INT64: ("<i8", lambda field: varints(field).view(np.int64)),
    TensorProto.HALF: ("<i8", lambda field: varints(field).view(np.int64)),
    TensorProto.BOOL: ("<u8", varints),
    TensorProto.UINT32: ("<u8", varints),
    TensorProto.UINT64: ("<u8", varints),
}

_VALUE_FIELD = {
    DType.FLOAT32: TensorProto.FLOAT,
    DType.FLOAT64: TensorProto.DOUBLE,
    DType.FLOAT16: TensorProto.HALF,
    DType.BFLOAT16: TensorProto.HALF,
    DType.INT8: TensorProto.INT,
    DType.INT16: TensorProto.INT,
    DType.INT32: TensorProto.INT,
    DType.UINT8: TensorProto.INT,
    DType.UINT16: TensorProto.INT,
    DType.INT4: TensorProto.INT,
    DType.INT64: TensorProto.INT64,
    DType.UINT32: TensorProto.UINT32,
    DType.UINT64: TensorProto.UINT64,
    DType.BOOL: TensorProto.BOOL,
    DType.COMPLEX64: TensorProto.SCOMPLEX,
    DType.COMPLEX128: TensorProto.DCOMPLEX,
    DType.STRING: TensorProto.STRING,
}
"""Which repeated field holds the values of an element type."""


def decode_tensor(message: Span, file: SourceFile) -> Tensor:
    """A TensorProto. Raw content stays in the file; listed values are taken, the last of them repeating to the end.

    SourceError for sizes that do not fit; UnreadableConstant for element types without a counterpart.
    """
    number = 0
    shape: tuple[int, ...] = ()
    for field in fields(message):
        if field.tag == TensorProto.DTYPE:
            number = field.signed()
        elif field.tag == TensorProto.SHAPE:
            shape = constant_shape(field.delimited())
    return decode_values(message, number, shape, file)


def decode_values(message: Span, number: int, shape: tuple[int, ...], file: SourceFile) -> Tensor:
    """The values of a TensorProto whose type (a DataType) and shape are told elsewhere. Errors as those of `decode_tensor`."""
    content: Span | None = None
    values: dict[int, list[Field]] = {}
    for field in fields(message):
        if field.tag == TensorProto.CONTENT:
            content = field.delimited()
        elif field.tag in _VALUES or field.tag in (TensorProto.STRING, TensorProto.FLOAT8):
            values.setdefault(field.tag, []).append(field)
    if number in SMALL_TYPES:
        return _decode_small(SMALL_TYPES[number], message, shape, content, values, file)
    dtype = decode_dtype(number)
    if dtype not in _VALUE_FIELD:
        raise UnreadableConstant(f"a constant has the element type {dtype if dtype is not DType.UNKNOWN else f'number {number}'}")
    count = count_elements(shape, message.start)
    if content is not None and len(content):
        return _from_content(content, dtype, shape, count, file)
    listed = values.get(_VALUE_FIELD[dtype], [])
    if dtype is DType.STRING:
        return _fill(np.array([*(each.delimited().content for each in listed), None], object)[:-1], dtype, shape, count, message)
    kind, read = _VALUES[_VALUE_FIELD[dtype]]
    raw = np.concatenate([np.empty(0, kind), *(read(each) for each in listed)])
    return _fill(_cast(raw, dtype), dtype, shape, count, message)


def _decode_small(
    small: SmallType, message: Span, shape: tuple[int, ...], content: Span | None, values: dict[int, list[Field]], file: SourceFile
) -> Tensor:
    """A constant of a type of a byte or less: raw, as bytes (8-bit floats) or as a list of integers."""
    count = count_elements(shape, message.start)
    if content is not None and len(content):
        return small.read(_from_content(content, DType.UINT8, shape, count, file))
    listed = [varints(each).astype(np.uint8) for each in values.get(TensorProto.INT, [])]
    packed = [np.frombuffer(each.delimited().content, np.uint8) for each in values.get(TensorProto.FLOAT8, [])]
    codes = np.concatenate([np.empty(0, np.uint8), *(packed if small.dtype.is_float else listed)])
    return small.read(_fill(codes, DType.UINT8, shape, count, message))


def constant_shape(message: Span) -> tuple[int, ...]:
    shape = decode_shape(message)
    if shape is None or any(isinstance(dim, str) for dim in shape):
        raise malformed("a constant has no fixed shape", message.start)
    return tuple(int(dim) for dim in shape)


def count_elements(shape: tuple[int, ...], offset: int) -> int:
    """Number of elements; its bytes must be countable in 63 bits, as TensorFlow asks."""
    count = 1
    for dim in shape:
        count *= dim
    if count * 16 >= 1 << 63 or any(dim >= 1 << 62 for dim in shape):
        raise malformed(f"a constant claims the shape {list(shape)}", offset)
    return count


def _from_content(content: Span, dtype: DType, shape: tuple[int, ...], count: int, file: SourceFile) -> Tensor:
    if dtype is DType.STRING:
        return ArrayTensor(_split_strings(content, count).reshape(shape), dtype)
    expected = count * dtype.numpy.itemsize
    if len(content) != expected:
        raise malformed(
            f"a {dtype} constant of shape {list(shape)} needs {expected} bytes, the file holds {len(content)}", content.start
        )
    return FileTensor(file, content.start, dtype, shape)


def _split_strings(content: Span, count: int) -> Array:
    """Strings in raw form: all lengths as varints, then all bytes."""
    if count > len(content):
        raise malformed(f"{len(content)} bytes cannot hold {count} strings", content.start)
    position = content.start
    lengths = []
    for _ in range(count):
        length, position = read_varint(content.data, position, content.end)
        lengths.append(length)
    if sum(lengths) != content.end - position:
        raise malformed(f"strings of {sum(lengths)} bytes are announced, {content.end - position} are there", position)
    strings = np.empty(count, object)
    for index, length in enumerate(lengths):
        strings[index] = bytes(content.data[position : position + length])
        position += length
    return strings


def _cast(raw: Array, dtype: DType) -> Array:
    """Listed values in the element type's own form: halves are bit patterns, complex numbers pairs."""
    if dtype in (DType.FLOAT16, DType.BFLOAT16):
        return raw.astype(np.uint16).view(dtype.numpy)
    if dtype in (DType.COMPLEX64, DType.COMPLEX128):
        return raw[: raw.size // 2 * 2].view(dtype.numpy)
    return raw.astype(dtype.numpy)


def _fill(values: Array, dtype: DType, shape: tuple[int, ...], count: int, message: Span) -> Tensor:
    if len(shape) > MAX_ELEMENT_RANK:
        raise malformed(f"a constant has {len(shape)} dimensions, more than {MAX_ELEMENT_RANK}", message.start)
    if values.size < count and count * dtype.numpy.itemsize > MAX_FILLED_BYTES:
        raise malformed(f"a constant repeats {values.size} values to the shape {list(shape)}", message.start)
    if values.size >= count:
        return ArrayTensor(values[:count].reshape(shape), dtype)
    return FilledTensor(values, dtype, shape)


def decode_attribute(message: Span, file: SourceFile, depth: int = 0) -> Any:
    """An AttrValue as a plain value; None when it holds none.

    Text is str (bytes where it is not UTF-8), types are DType, shapes tuples or None, constants Tensors, lists lists.
    """
    if depth > _MAX_DEPTH:
        raise malformed(f"attributes are nested more than {_MAX_DEPTH} deep", message.start)
    result: Any = None
    for field in fields(message):  # of a oneof, the last counts
        if field.tag == AttrValue.LIST:
            result = _decode_list(field.delimited(), file, depth)
        elif field.tag == AttrValue.FUNC:
            result = _decode_function(field.delimited(), file, depth)
        elif field.tag in _ATTRIBUTES:
            result = _ATTRIBUTES[field.tag](field, file)
    return result


def decode_placeholder(message: Span) -> str:
    """In a function, the name of the call's attribute that this one stands for; empty where it is an attribute of its own."""
    return next((field.delimited().text for field in fields(message) if field.tag == AttrValue.PLACEHOLDER), "")


def _text_or_bytes(field: Field, _file: SourceFile) -> str | bytes:
    content = field.delimited().content
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


_ATTRIBUTES: dict[int, Callable[[Field, SourceFile], Any]] = {
    AttrValue.S: _text_or_bytes,
    AttrValue.I: lambda field, _file: field.signed(),
    AttrValue.F: lambda field, _file: field.float32(),
    AttrValue.B: lambda field, _file: field.signed() != 0,
    AttrValue.TYPE: lambda field, _file: decode_dtype(field.signed()),
    AttrValue.SHAPE: lambda field, _file: decode_shape(field.delimited()),
    AttrValue.TENSOR: lambda field, file: decode_tensor(field.delimited(), file),
}

_NUMBER_LISTS: dict[int, Callable[[Field], list[Any]]] = {
    AttrValue.I: lambda field: varints(field).view(np.int64).tolist(),
    AttrValue.F: lambda field: fixed(field, "<f4").tolist(),
    AttrValue.B: lambda field: (varints(field) != 0).tolist(),
    AttrValue.TYPE: lambda field: [decode_dtype(number) for number in varints(field).tolist()],
}


def _decode_list(message: Span, file: SourceFile, depth: int) -> list[Any]:
    items: list[Any] = []
    for field in fields(message):
        if field.tag in _NUMBER_LISTS:
            items += _NUMBER_LISTS[field.tag](field)
        elif field.tag == AttrValue.LIST_FUNC:
            items.append(_decode_function(field.delimited(), file, depth))
        elif field.tag in _ATTRIBUTES:
            items.append(_ATTRIBUTES[field.tag](field, file))
    return items


def _decode_function(message: Span, file: SourceFile, depth: int) -> FunctionRef:
    """A NameAttrList."""
    name, attrs = "", {}
    for field in fields(message):
        if field.tag == 1:
            name = field.delimited().text
        elif field.tag == 2:
            key, value = split_entry(field.delimited())
            attrs[key] = decode_attribute(value, file, depth + 1)
    return FunctionRef(name, attrs)


def split_entry(message: Span) -> tuple[str, Span]:
    """Key and value of one entry of a map from names to messages."""
    key, value = "", Span(message.data, message.end, message.end)
    for field in fields(message):
        if field.tag == 1:
            key = field.delimited().text
        elif field.tag == 2:
            value = field.delimited()
    return key, value


# -- writing -------------------------------------------------------------------------------------------------------


def encode_shape(shape: Shape) -> Message:
    message = Message()
    if shape is None:
        message.varint(3, 1)
    for dim in shape or ():
        entry = Message()
        size = dim if isinstance(dim, int) else -1
        if size:
            entry.varint(1, size)
        message.message(2, entry)
    return message


def encode_tensor(tensor: Tensor) -> Message:
    """A TensorProto whose bytes are drawn from the Tensor when they are written; a filled one keeps its short form."""
    message = Message()
    message.varint(TensorProto.DTYPE, DTYPE_NUMBERS[tensor.dtype])
    message.message(TensorProto.SHAPE, encode_shape(tensor.shape))
    if tensor.dtype is DType.STRING:
        for text in tensor.values if isinstance(tensor, FilledTensor) else tensor.array().reshape(-1):
            message.data(TensorProto.STRING, text)
    elif isinstance(tensor, FilledTensor):
        if tensor.values.size:
            message.data(_VALUE_FIELD[tensor.dtype], _encode_values(tensor.values, tensor.dtype))
    elif tensor.nbytes:
        message.stream(TensorProto.CONTENT, Stream(tensor.nbytes, tensor.chunks))
    return message


def _encode_values(values: Array, dtype: DType) -> bytes:
    if dtype in (DType.FLOAT32, DType.FLOAT64, DType.COMPLEX64, DType.COMPLEX128):
        return values.tobytes()
    if dtype in (DType.FLOAT16, DType.BFLOAT16):
        values = values.view(np.uint16)
    return b"".join(encode_varint(int(value)) for value in values)


def encode_attribute(value: Any) -> Message:
    """An AttrValue: the kind follows from the Python type; None is a shape of unknown rank.

    TypeError for a value that is no attribute of a file.
    """
    message = Message()
    if isinstance(value, list):
        items = Message()
        for item in value:
            _put(items, item, AttrValue.LIST_FUNC)
        message.message(AttrValue.LIST, items)
    else:
        _put(message, value, AttrValue.FUNC)
    return message


def _put(message: Message, value: Any, function_tag: int) -> None:
    if isinstance(value, DType):
        message.varint(AttrValue.TYPE, DTYPE_NUMBERS.get(value, 0))
    elif isinstance(value, bool | np.bool_):
        message.varint(AttrValue.B, int(value))
    elif isinstance(value, int | np.integer):
        message.varint(AttrValue.I, int(value))
    elif isinstance(value, float | np.floating):
        message.float32(AttrValue.F, float(value))
    elif isinstance(value, str | bytes):
        message.data(AttrValue.S, value)
    elif isinstance(value, Tensor):
        message.message(AttrValue.TENSOR, encode_tensor(value))
    elif value is None or isinstance(value, tuple):
        message.message(AttrValue.SHAPE, encode_shape(value))
    elif isinstance(value, FunctionRef):
        message.message(function_tag, _encode_function(value))
    else:
        raise TypeError(f"{type(value).__name__} is no attribute of a file")


def _encode_function(value: FunctionRef) -> Message:
    message = Message()
    message.data(1, value.name)
    for key in sorted(value.attrs):
        message.message(2, encode_entry(key, value.attrs[key]))
    return message


def encode_entry(key: str, value: Any) -> Message:
    """One entry of a map from names to attributes. Of tuples only those whose key says so are shapes, the others lists."""
    if isinstance(value, tuple) and "shape" not in key:
        value = list(value)
    entry = Message()
    entry.data(1, key)
    entry.message(2, encode_attribute(value))
    return entry
