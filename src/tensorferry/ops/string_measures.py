"""Text measured, trimmed, read as a number and made of one: StringLength, StringStrip, Substr, AsString, StringToNumber."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping

import numpy as np

from tensorferry.ir import Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.sizes import Sizes, count_up, reshape, times
from tensorferry.ops.spec import Declined, Example, OpSpec, broadcast_shapes
from tensorferry.ops.strings import each_text, texts
from tensorferry.ops.tables import lite_lookup
from tensorferry.targets import LiteOp, Temp
from tensorferry.tensor import Array, ArrayTensor, DType

_SPACE = b" \t\n\v\f\r"
_ANY = r"[\ud800-\udbff][\udc00-\udfff]|.|[\n\r\u2028\u2029]"
"""One character, for JavaScript, which counts those beyond 16 bits as two."""


def _infer_text(node: Node) -> list[Typed]:
    return [Typed(DType.STRING, node.inputs[0].shape)]


# -- StringLength and StringStrip ----------------------------------------------------------------------------------


def _length(node: Node, text: bytes) -> int:
    if node["unit"] == "UTF8_CHAR":  # every byte that does not continue a character begins one
        return sum(1 for byte in text if byte & 0xC0 != 0x80)
    return len(text)


def _expand_length(graph: Graph, node: Node) -> bool:
    """Split into bytes, and these counted row by row."""
    value = node.inputs[0]
    if value.shape is None:
        return False
    expansion, sizes = Expansion(graph, node), Sizes(Expansion(graph, node), value).all()
    flat = expansion.make("Reshape", value, np.array([-1], np.int32))
    if node["unit"] == "UTF8_CHAR":
        flat = expansion.make("StaticRegexReplace", flat, pattern=_ANY, rewrite="a", replace_global=True)
    bytes_ = expansion.make_node("StringSplit", flat, np.array(b"", object), skip_empty=True, index_dtype=DType.INT32)
    begin, end, one = (np.array(each, np.int32) for each in ([0, 0], [0, 1], [1, 1]))
    rows = expansion.make("StridedSlice", bytes_.outputs[0], begin, end, one, begin_mask=1, end_mask=1)
    places = expansion.make("ExpandDims", count_up(expansion, times(expansion, *sizes)), np.array(0, np.int32))
    hits = expansion.make("Cast", expansion.make("Equal", rows, places), DstT=DType.INT32)
    return expansion.finish(reshape(expansion, expansion.make("Sum", hits, np.array([0], np.int32)), sizes))


def _length_examples() -> Iterator[Example]:
    words = np.array([[b"a ferry", b""], ["Fähre ⛴ 🚢".encode(), b"x\ny"]], object)
    yield Example((words,), {"unit": "BYTE"})
    yield Example((words,), {"unit": "UTF8_CHAR"}, note="characters")


def _expand_strip(graph: Graph, node: Node) -> bool:
    expansion = Expansion(graph, node)
    space = r"[ \t\n\v\f\r]+"
    attrs = {"pattern": f"^{space}|{space}$", "rewrite": "", "replace_global": True}
    return expansion.finish(expansion.make("StaticRegexReplace", node.inputs[0], **attrs))


def _strip_examples() -> Iterator[Example]:
    yield Example((texts(b"  a ferry\t\n", b"", b" \r", b"x"),))


# -- Substr --------------------------------------------------------------------------------------------------------


def _infer_piece(node: Node) -> list[Typed]:
    return [Typed(DType.STRING, broadcast_shapes(node.inputs[0].shape, node.inputs[1].shape))]


def _piece(text: bytes, at: int, length: int, *, characters: bool) -> bytes:
    whole = text.decode("utf-8", "surrogateescape") if characters else text
    first = at + len(whole) if at < 0 else at
    if not 0 <= first <= len(whole):
        raise Declined(f"position {at} is outside a text of {len(whole)}")
    part = whole[first : first + length]
    return part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part


def _evaluate_piece(node: Node, array: Array, at: Array, length: Array) -> Array:
    characters = node["unit"] == "UTF8_CHAR"
    whole, starts, counts = np.broadcast_arrays(array, at, length)
    rows = zip(*(each.reshape(-1).tolist() for each in (whole, starts, counts)), strict=True)
    return texts(*(_piece(*row, characters=characters) for row in rows)).reshape(whole.shape)


def _piece_examples() -> Iterator[Example]:
    words, two = texts(b"ferry", "Fähre".encode()), np.array(2, np.int32)
    yield Example((words, np.array(1, np.int32), two), {"unit": "BYTE"}, constants=(1, 2))
    yield Example((words, np.array([-2, 0]), np.array([9, 2])), {"unit": "UTF8_CHAR"}, constants=(1, 2), note="characters")


# -- AsString and StringToNumber -----------------------------------------------------------------------------------


def _format(node: Node) -> str:
    """The same that C's printf is given (tensorflow/core/kernels/as_string_op.cc)."""
    width, precision = int(node["width"]), int(node["precision"])
    form = f"%{node['fill']}{width if width > -1 else ''}"
    dtype = node.inputs[0].dtype
    if dtype is DType.BOOL:
        return f"{form}s"
    if dtype.is_integer:
        return f"{form}d"
    kind = "e" if node["scientific"] else "g" if node["shortest"] else "f"
    return f"{form}.{precision}{kind}" if precision > -1 else form + kind


def _write(node: Node, array: Array) -> Array:
    form = _format(node)
    numbers = array.reshape(-1).tolist()
    words = [form % (("false", "true")[each] if isinstance(each, bool) else each) for each in numbers]
    return texts(*(word.encode() for word in words)).reshape(array.shape)


_ALL: Mapping[DType, Array] = {
    DType.BOOL: np.array([False, True]),
    DType.INT8: np.arange(-128, 128, dtype=np.int8),
    DType.UINT8: np.arange(256, dtype=np.uint8),
}
"""Every number of the types that have few."""


def _lite_written(node: Node) -> list[LiteOp]:
    """Of a type with few numbers a table knows how each is written."""
    value = node.inputs[0]
    if value.dtype not in _ALL:
        raise Declined(f"TensorFlow Lite writes no {value.dtype} as text", attributes=f"T={value.dtype}")
    every = _ALL[value.dtype]
    words = _write(node, every)
    keys = Temp("keys", DType.INT64, value.shape)
    cast = LiteOp("CAST", (value,), (keys,), {"in_data_type": value.dtype.value.upper(), "out_data_type": "INT64"})
    number = 1 << 20 | zlib.crc32(b"\0".join(words.tolist())) & 0xFFFFF  # one table for all that is written alike
    contents = ArrayTensor(every.astype(np.int64)), ArrayTensor(words)
    return [cast, *lite_lookup(node.name, keys, ArrayTensor(np.array(b"", object)), contents, number, node.output)]


_DIGITS = 10
_LEAST = int(np.iinfo(np.int32).min)


def _expand_written(graph: Graph, node: Node) -> bool:
    """Digit by digit, joined, and the zeros in front taken off."""
    value = node.inputs[0]
    if value.dtype is DType.BOOL:
        expansion, words = Expansion(graph, node), _write(node, _ALL[DType.BOOL])
        number = expansion.make("Cast", value, DstT=DType.INT32)
        return expansion.finish(expansion.make("TableLookup", number, np.array(b"", object), np.arange(2, dtype=np.int32), words))
    if value.dtype is not DType.INT32 or value.rank is None or node["fill"] or int(node["width"]) > -1:
        raise Declined("only whole numbers are written, and without filling them up", attributes=f"T={value.dtype}")
    expansion, last = Expansion(graph, node), np.array(-1, np.int32)
    size = expansion.make("Abs", value)
    negative = expansion.make("Cast", expansion.make("Less", value, np.array(0, np.int32)), DstT=DType.INT32)
    signs = [expansion.make("GatherNd", texts(b"", b"-"), expansion.make("ExpandDims", negative, last))]
    for power in reversed(range(_DIGITS)):
        signs.append(_digit(expansion, size, power))
    joined = expansion.make("ReduceJoin", expansion.make("Pack", *signs, axis=value.rank), np.array([value.rank], np.int32))
    attrs = {"pattern": r"^(-?)0+([0-9])", "rewrite": r"\1\2", "replace_global": False}
    written = expansion.make("StaticRegexReplace", joined, **attrs)
    least = expansion.make("Equal", value, np.array(_LEAST, np.int32))  # it has no positive counterpart
    return expansion.finish(expansion.make("SelectV2", least, np.array(b"%d" % _LEAST, object), written))


def _digit(expansion: Expansion, size: Value, power: int) -> Value:
    rest = expansion.make("FloorDiv", size, np.array(10**power, np.int32)) if power else size
    digit = expansion.make("FloorMod", rest, np.array(10, np.int32))
    words = texts(*(b"%d" % each for each in range(10)))
    return expansion.make("GatherNd", words, expansion.make("ExpandDims", digit, np.array(-1, np.int32)))


def _written_examples() -> Iterator[Example]:
    yield Example((np.array([[True, False]]),), note="bool")
    yield Example((np.array([-128, 0, 7, 127], np.int8),), note="int8")
    yield Example((np.array([0, 7, 255], np.uint8),), note="uint8")
    numbers = np.array([0, 10, -7, 1234567890, 2**31 - 1, -(2**31)], np.int32)
    yield Example((numbers,), note="int32", declines={"tflite": "writes no int32"})
    nowhere = {"tflite": "writes no float32", "tfjs": ""}
    yield Example((np.array([1.5, -0.25, np.inf], np.float32),), {"precision": 2}, note="float", declines=nowhere)


def _infer_number(node: Node) -> list[Typed]:
    return [Typed(node["out_type"], node.inputs[0].shape)]


def _read(node: Node, array: Array) -> Array:
    kind = float if node["out_type"].is_float else int
    try:
        numbers = [kind(each.strip(_SPACE)) for each in array.reshape(-1).tolist()]
    except ValueError as error:
        raise Declined(f"a text is no number: {error}") from error
    return np.asarray(numbers, node["out_type"].numpy).reshape(array.shape)


def _read_examples() -> Iterator[Example]:
    yield Example((texts(b"1.5", b" -2e3", b"inf"),), note="float")
    yield Example((texts(b"12", b"-7"),), {"out_type": DType.INT64}, note="int64")


SPECS = (
    OpSpec(
        name="StringLength",
        attrs={"unit": "BYTE"},
        infer=lambda node: [Typed(DType.INT32, node.inputs[0].shape)],
        evaluate=each_text(_length, np.int32),
        expand=_expand_length,
        expands_for=("tfjs",),
        examples=_length_examples,
    ),
    OpSpec(
        name="StringStrip",
        infer=_infer_text,
        evaluate=each_text(lambda _node, text: text.strip(_SPACE)),
        expand=_expand_strip,
        expands_for=("tfjs",),
        examples=_strip_examples,
    ),
    OpSpec(name="Substr", attrs={"unit": "BYTE"}, infer=_infer_piece, evaluate=_evaluate_piece, examples=_piece_examples),
    OpSpec(
        name="AsString",
        attrs={"precision": -1, "scientific": False, "shortest": False, "width": -1, "fill": ""},
        infer=_infer_text,
        evaluate=_write,
        to_tflite=_lite_written,
        expand=_expand_written,
        expands_for=("tfjs",),
        examples=_written_examples,
    ),
    OpSpec(
        name="StringToNumber",
        attrs={"out_type": DType.FLOAT32},
        infer=_infer_number,
        evaluate=_read,
        examples=_read_examples,
    ),
)
