"""The wire format and TensorFlow's messages, against TensorFlow's own protobuf classes."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import attr_value_pb2, tensor_pb2, tensor_shape_pb2

from tensorferry.errors import FerryError, GraphError, SourceError
from tensorferry.storage import SourceFile
from tensorferry.tensor import ArrayTensor, DType, FileTensor, FilledTensor, Tensor, TransposedTensor
from tensorferry.wire.protobuf import Field, Message, Span, Stream, encode_varint, fields, read_varint, varints, whole
from tensorferry.wire.tensorflow import (
    DTYPES,
    FunctionRef,
    UnreadableConstant,
    decode_attribute,
    decode_dtype,
    decode_shape,
    decode_tensor,
    encode_attribute,
    encode_shape,
    encode_tensor,
)


def span(data: bytes) -> Span:
    return whole(memoryview(data))


def joined(message: Message) -> bytes:
    data = b"".join(message.chunks())
    assert len(data) == message.size
    return data


def source(tmp_path: Path, data: bytes) -> SourceFile:
    path = tmp_path / "message"
    path.write_bytes(data)
    return SourceFile(path)


def read_tensor(tmp_path: Path, proto: tensor_pb2.TensorProto) -> Tensor:
    file = source(tmp_path, proto.SerializeToString())
    return decode_tensor(whole(file.view), file)


# -- the wire ------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**64 - 1))
def test_varint_round_trip(value: int) -> None:
    data = encode_varint(value)
    assert read_varint(memoryview(data), 0, len(data)) == (value, len(data))


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 200), max_size=30))
def test_packed_varints(values: list[int]) -> None:
    data = b"".join(map(encode_varint, values))
    assert varints(Field(1, 2, 0, span(data))).tolist() == values


@pytest.mark.parametrize(
    ("data", "why", "offset"),
    [
        (b"\x80", "ends inside a number", 0),
        (b"\x08" + b"\xff" * 10 + b"\x01", "more than 64 bits", 1),
        (b"\x08" + b"\xff" * 9 + b"\x02", "more than 64 bits", 1),
        (b"\x0a\x05abc", "5 bytes are announced, 3 are left", 0),
        (b"\x08\x01\x0a\xff\xff\xff\xff\x0f", "4294967295 bytes are announced, 0 are left", 2),
        (b"\x0d\x01\x02", "ends inside a number", 0),
        (b"\x09\x01\x02", "ends inside a number", 0),
        (b"\x0b", "unknown wire type 3", 0),
        (b"\x00\x01", "impossible number 0", 0),
    ],
)
def test_broken_wire_names_the_byte(data: bytes, why: str, offset: int) -> None:
    with pytest.raises(SourceError, match=why) as caught:
        list(fields(span(data)))
    assert caught.value.where == f"byte {offset}"


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        for field in fields(span(data)):
            assert 0 <= field.span.start <= field.span.end <= len(data)
    except SourceError:
        pass


def test_stream_must_keep_its_promise() -> None:
    message = Message()
    message.stream(1, Stream(5, lambda: iter([memoryview(b"abc")])))
    with pytest.raises(GraphError, match="constant of 5 bytes handed out 3"):
        list(message.chunks())


# -- types and shapes ----------------------------------------------------------------------------------------------


def test_dtype_numbers_are_tensorflows() -> None:
    for number, dtype in DTYPES.items():
        assert tf.as_dtype(number).name.removeprefix("q") == dtype.value  # quantised types are stored as plain ones
        assert decode_dtype(number + 100) is dtype
    assert decode_dtype(24) is DType.UNKNOWN
    assert decode_dtype(-1) is DType.UNKNOWN


@pytest.mark.parametrize("shape", [(), (0,), (1, 337, 337, 3), (None, 4), None])
def test_shapes_both_ways(shape: tuple[int | None, ...] | None) -> None:
    proto = tf.TensorShape(shape).as_proto()
    ours = None if shape is None else tuple("?" if dim is None else dim for dim in shape)
    assert decode_shape(span(proto.SerializeToString())) == ours
    assert tensor_shape_pb2.TensorShapeProto.FromString(joined(encode_shape(ours))) == proto


def test_impossible_shapes() -> None:
    proto = tensor_shape_pb2.TensorShapeProto()
    proto.dim.add(size=-2)
    with pytest.raises(SourceError, match="negative size -2"):
        decode_shape(span(proto.SerializeToString()))
    del proto.dim[:]
    for _ in range(300):
        proto.dim.add(size=1)
    with pytest.raises(SourceError, match="more than 254 dimensions"):
        decode_shape(span(proto.SerializeToString()))


# -- constants -----------------------------------------------------------------------------------------------------

NUMERIC = (
    "float32",
    "float64",
    "float16",
    "bfloat16",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
)


def some(name: str, shape: tuple[int, ...]) -> np.ndarray:
    values = np.random.default_rng(0).integers(-5 if name[0] != "u" else 0, 9, shape)
    if name in {"complex64", "complex128"}:
        return (values + 1j * values[..., ::-1]).astype(name)
    return (values > 0) if name == "bool" else values.astype(tf.as_dtype(name).as_numpy_dtype)


def raw(array: np.ndarray) -> bytes:
    return array.tobytes()


@pytest.mark.parametrize("name", [*NUMERIC, "complex64", "complex128"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 5), (0, 4)])
def test_constants_as_tensorflow_writes_them(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    array = some(name, shape) if shape else some(name, (1,)).reshape(())
    tensor = read_tensor(tmp_path, tf.make_tensor_proto(array))
    assert (tensor.dtype.value, tensor.shape) == (name, shape)
    assert raw(tensor.array()) == raw(array)
    assert b"".join(tensor.chunks()) == raw(array)


@pytest.mark.parametrize("name", [*NUMERIC, "complex64", "complex128"])
def test_content_stays_in_the_file(tmp_path: Path, name: str) -> None:
    array = some(name, (3, 7))
    proto = tensor_pb2.TensorProto(dtype=tf.as_dtype(name).as_datatype_enum, tensor_content=raw(array))
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    tensor = read_tensor(tmp_path, proto)
    assert isinstance(tensor, FileTensor)
    assert raw(tensor.array()) == raw(array)


@pytest.mark.parametrize("name", [*NUMERIC, "complex64", "complex128"])
@pytest.mark.parametrize("count", [1, 2, 6])
def test_listed_values_repeat_the_last(tmp_path: Path, name: str, count: int) -> None:
    listed = tf.make_tensor_proto(some(name, (count,)))
    if listed.tensor_content:  # TensorFlow lists only scalars by itself: list them by hand
        field = {"float16": "half_val", "bfloat16": "half_val", "complex64": "scomplex_val", "complex128": "dcomplex_val"}.get(name)
        field = field or {"float32": "float_val", "float64": "double_val"}.get(name)
        field = field or (f"{name}_val" if name in ("int64", "bool", "uint32", "uint64") else "int_val")
        array = some(name, (count,))
        if field == "half_val":
            values = array.view(np.uint16).tolist()
        elif "complex" in field:
            values = np.stack([array.real, array.imag], -1).reshape(-1).tolist()
        else:
            values = array.tolist()
        listed.ClearField("tensor_content")
        getattr(listed, field).extend(values)
    del listed.tensor_shape.dim[:]
    for size in (2, 3):
        listed.tensor_shape.dim.add(size=size)
    expected = tf.constant(tf.io.parse_tensor(listed.SerializeToString(), tf.as_dtype(name))).numpy()
    assert raw(read_tensor(tmp_path, listed).array()) == raw(expected)


def test_unpacked_values_are_read_too(tmp_path: Path) -> None:
    message = Message()
    message.varint(1, 3)
    message.message(2, encode_shape((3,)))
    for value in (1, -2, 300):
        message.varint(7, value)
    file = source(tmp_path, joined(message))
    assert decode_tensor(whole(file.view), file).array().tolist() == [1, -2, 300]
    floats = Message()
    floats.varint(1, 1)
    floats.message(2, encode_shape((2,)))
    floats.float32(5, 1.5)
    floats.float32(5, -2.0)
    file = source(tmp_path, joined(floats))
    assert decode_tensor(whole(file.view), file).array().tolist() == [1.5, -2.0]


def test_no_values_mean_zeros(tmp_path: Path) -> None:
    proto = tensor_pb2.TensorProto(dtype=1)
    proto.tensor_shape.dim.add(size=3)
    assert read_tensor(tmp_path, proto).array().tolist() == [0, 0, 0]


def test_strings(tmp_path: Path) -> None:
    words = np.array([[b"a", b"", b"\x00\xff"], [b"longer text", b"b", b"b"]], object)
    proto = tf.make_tensor_proto(words)
    assert read_tensor(tmp_path, proto).array().tolist() == words.tolist()
    del proto.string_val[5:]
    assert read_tensor(tmp_path, proto).array().tolist() == words.tolist()
    proto.ClearField("string_val")
    lengths = b"".join(encode_varint(len(word)) for word in words.flat)
    proto.tensor_content = lengths + b"".join(words.flat)
    assert (
        tf.make_ndarray(tf.make_tensor_proto(tf.io.parse_tensor(proto.SerializeToString(), tf.string))).tolist() == words.tolist()
    )
    assert read_tensor(tmp_path, proto).array().tolist() == words.tolist()
    proto.tensor_content = lengths
    with pytest.raises(SourceError, match="strings of"):
        read_tensor(tmp_path, proto)


@pytest.mark.parametrize(
    ("dims", "content", "why"),
    [
        ((2, 3), bytes(20), r"shape \[2, 3\] needs 24 bytes, the file holds 20"),
        ((1 << 40, 1 << 40), b"", "claims the shape"),
        ((1 << 62, 0), b"", "claims the shape"),
        ((1 << 34,), b"", "repeats 0 values"),
        ((-1,), b"", "no fixed shape"),
    ],
)
def test_impossible_constants(tmp_path: Path, dims: tuple[int, ...], content: bytes, why: str) -> None:
    proto = tensor_pb2.TensorProto(dtype=1, tensor_content=content)
    for size in dims:
        proto.tensor_shape.dim.add(size=size)
    with pytest.raises(SourceError, match=why):
        read_tensor(tmp_path, proto)


SMALL = (
    "float8_e5m2",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e4m3b11fnuz",
    "float8_e5m2fnuz",
    "float4_e2m1fn",
    "int4",
    "uint4",
    "int2",
    "uint2",
)


@pytest.mark.parametrize("name", SMALL)
def test_types_of_a_byte_or_less_keep_every_value(tmp_path: Path, name: str) -> None:
    bits = 8 if "float8" in name else 4 if "4" in name else 2
    codes = np.arange(1 << bits, dtype=np.uint8)
    array = codes.view(getattr(ml_dtypes, name)).reshape(2, -1)
    proto = tf.make_tensor_proto(array)
    expected = tf.make_ndarray(proto).astype(np.float32)
    np.testing.assert_array_equal(read_tensor(tmp_path, proto).array().astype(np.float32), expected)
    if bits == 8:  # what TensorFlow's runtime writes
        proto.ClearField("tensor_content")
        proto.float8_val = codes.tobytes()
        np.testing.assert_array_equal(read_tensor(tmp_path, proto).array().astype(np.float32), expected)
    elif "int" in name:
        proto.ClearField("int_val")
        proto.tensor_content = codes.tobytes()
        tensor = read_tensor(tmp_path, proto)
        np.testing.assert_array_equal(tensor.array().astype(np.float32), expected)
        assert b"".join(tensor.chunks(3)) == tensor.array().tobytes()


def test_small_types_repeat_their_last_value_too(tmp_path: Path) -> None:
    proto = tensor_pb2.TensorProto(dtype=30, int_val=[15, 7])
    proto.tensor_shape.dim.add(size=4)
    tensor = read_tensor(tmp_path, proto)
    assert (tensor.dtype, tensor.array().tolist()) == (DType.UINT8, [15, 7, 7, 7])


def test_element_types_without_counterpart(tmp_path: Path) -> None:
    for number in (0, 20, 99):
        with pytest.raises(UnreadableConstant):
            read_tensor(tmp_path, tensor_pb2.TensorProto(dtype=number))


@pytest.mark.parametrize("name", [*NUMERIC, "complex64", "complex128"])
def test_constants_are_written_as_tensorflow_reads_them(name: str) -> None:
    array = some(name, (2, 6))
    dtype = DType(name)
    stored = array.view(np.uint16) if name == "bfloat16" else array
    filled = FilledTensor(stored.reshape(-1)[:3], dtype, (2, 6))
    transposed = TransposedTensor(ArrayTensor(stored, dtype), (1, 0))
    repeated = np.concatenate([array.reshape(-1)[:3], np.repeat(array.reshape(-1)[2:3], 9)]).reshape(2, 6)
    for tensor, expected in ((ArrayTensor(stored, dtype), array), (filled, repeated), (transposed, np.ascontiguousarray(array.T))):
        parsed = tf.io.parse_tensor(joined(encode_tensor(tensor)), tf.as_dtype(name)).numpy()
        assert parsed.shape == expected.shape
        assert raw(parsed) == raw(expected)
    assert encode_tensor(filled).size < 80


def test_strings_are_written_as_tensorflow_reads_them() -> None:
    for tensor in (ArrayTensor(np.array([b"a", b"bc"], object)), FilledTensor(np.array([b"a"], object), DType.STRING, (3,))):
        parsed = tf.io.parse_tensor(joined(encode_tensor(tensor)), tf.string).numpy()
        assert parsed.tolist() == tensor.array().tolist()


# -- attributes ----------------------------------------------------------------------------------------------------

ATTRIBUTES = [
    (attr_value_pb2.AttrValue(s=b"SAME"), "SAME"),
    (attr_value_pb2.AttrValue(s=b"\xff\x00"), b"\xff\x00"),
    (attr_value_pb2.AttrValue(i=-3), -3),
    (attr_value_pb2.AttrValue(i=1 << 40), 1 << 40),
    (attr_value_pb2.AttrValue(f=0.5), 0.5),
    (attr_value_pb2.AttrValue(b=True), True),
    (attr_value_pb2.AttrValue(b=False), False),
    (attr_value_pb2.AttrValue(type=9), DType.INT64),
    (attr_value_pb2.AttrValue(shape=tf.TensorShape([None, 2]).as_proto()), ("?", 2)),
    (attr_value_pb2.AttrValue(shape=tf.TensorShape([]).as_proto()), ()),
    (attr_value_pb2.AttrValue(shape=tf.TensorShape(None).as_proto()), None),
    (attr_value_pb2.AttrValue(list=attr_value_pb2.AttrValue.ListValue(i=[1, -2, 300])), [1, -2, 300]),
    (attr_value_pb2.AttrValue(list=attr_value_pb2.AttrValue.ListValue(f=[1.5, -2])), [1.5, -2.0]),
    (attr_value_pb2.AttrValue(list=attr_value_pb2.AttrValue.ListValue(b=[True, False])), [True, False]),
    (attr_value_pb2.AttrValue(list=attr_value_pb2.AttrValue.ListValue(s=[b"a", b""])), ["a", ""]),
    (attr_value_pb2.AttrValue(list=attr_value_pb2.AttrValue.ListValue(type=[1, 3])), [DType.FLOAT32, DType.INT32]),
    (attr_value_pb2.AttrValue(list=attr_value_pb2.AttrValue.ListValue()), []),
]


@pytest.mark.parametrize(("proto", "value"), ATTRIBUTES, ids=str)
def test_attributes_both_ways(tmp_path: Path, proto: attr_value_pb2.AttrValue, value: object) -> None:
    file = source(tmp_path, proto.SerializeToString())
    decoded = decode_attribute(whole(file.view), file)
    assert decoded == value
    assert type(decoded) is type(value)
    parsed = attr_value_pb2.AttrValue.FromString(joined(encode_attribute(value)))
    # TensorFlow writes lists packed, as proto3 does, and reads both.
    assert parsed == proto


def test_functions_both_ways(tmp_path: Path) -> None:
    proto = attr_value_pb2.AttrValue(func=attr_value_pb2.NameAttrList(name="body"))
    proto.func.attr["T"].type = 1
    file = source(tmp_path, proto.SerializeToString())
    value = decode_attribute(whole(file.view), file)
    assert value == FunctionRef("body", {"T": DType.FLOAT32})
    assert attr_value_pb2.AttrValue.FromString(joined(encode_attribute(value))) == proto
    listed = attr_value_pb2.AttrValue.FromString(joined(encode_attribute([value])))
    assert listed.list.func[0] == proto.func


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    data = b""
    for _ in range(500):  # AttrValue.func.attr.value, again and again
        entry = b"\x12" + encode_varint(len(data)) + data
        func = b"\x12" + encode_varint(len(entry)) + entry
        data = b"\x52" + encode_varint(len(func)) + func
    file = source(tmp_path, data)
    with pytest.raises(SourceError, match="nested more than"):
        decode_attribute(whole(file.view), file)


@given(st.sampled_from(ATTRIBUTES), st.integers(0, 200), st.integers(0, 255))
def test_changed_attributes_are_read_or_refused(attribute: tuple[attr_value_pb2.AttrValue, object], place: int, byte: int) -> None:
    data = bytearray(attribute[0].SerializeToString())
    data[place % len(data)] = byte
    with suppress(FerryError):
        decode_attribute(span(bytes(data)), None)  # type: ignore[arg-type]


def test_other_values_are_no_attributes() -> None:
    with pytest.raises(TypeError):
        encode_attribute(object())
    assert struct.unpack("<f", joined(encode_attribute(1.25))[-4:]) == (1.25,)
