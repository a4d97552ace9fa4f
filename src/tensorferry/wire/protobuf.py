"""The protocol-buffer wire format, read in place and written in a stream.

Reading copies nothing: a Span is a stretch of the mapped file, and walking its fields touches their headers only. Writing puts
messages together from small pieces and from references to large ones, whose lengths are known before their bytes are.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tensorferry.errors import GraphError, SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5
"""Wire types. The others, group start and end, are not used by any format read here."""

_WIRE_NAMES = {VARINT: "a varint", FIXED64: "8 fixed bytes", DELIMITED: "a length and bytes", FIXED32: "4 fixed bytes"}
_LONGEST_VARINT = 10
_FIXED_SIZE = {FIXED64: 8, FIXED32: 4}


def malformed(what: str, offset: int) -> SourceError:
    """The error for bytes that break the format."""
    return SourceError(
        f"the file is truncated or corrupt: {what}",
        where=f"byte {offset}",
        remedy="compare its size or checksum with the original, and copy or download it again",
    )


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` to `end` of `data`; positions count from the beginning of the file."""

    data: memoryview
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def content(self) -> bytes:
        return bytes(self.data[self.start : self.end])

    @property
    def text(self) -> str:
        """The bytes as UTF-8; SourceError if they are not."""
        try:
            return str(self.data[self.start : self.end], "utf-8")
        except UnicodeDecodeError as error:
            raise malformed("a name is not UTF-8 text", self.start + error.start) from error

    def elements(self, dtype: str) -> NDArray[np.generic]:
        """The bytes as fixed-size elements, without a copy."""
        size = np.dtype(dtype).itemsize
        if len(self) % size:
            raise malformed(f"{len(self)} bytes are no whole number of {size}-byte elements", self.start)
        return np.frombuffer(self.data[self.start : self.end], dtype)


class Field(NamedTuple):
    """One field of a message: `number` holds the value of varint and fixed fields (unsigned), `span` the payload's bytes."""

    tag: int
    wire: int
    number: int
    span: Span

    def delimited(self) -> Span:
        """The payload of a length-delimited field."""
        if self.wire != DELIMITED:
            raise malformed(f"field {self.tag} holds {_WIRE_NAMES[self.wire]}, not {_WIRE_NAMES[DELIMITED]}", self.span.start)
        return self.span

    def signed(self) -> int:
        """A varint as int64 (int32 and enums are sign-extended to it)."""
        if self.wire != VARINT:
            raise malformed(f"field {self.tag} holds {_WIRE_NAMES[self.wire]}, not {_WIRE_NAMES[VARINT]}", self.span.start)
        return self.number - (1 << 64) if self.number >> 63 else self.number

    def float32(self) -> float:
        if self.wire != FIXED32:
            raise malformed(f"field {self.tag} holds {_WIRE_NAMES[self.wire]}, not {_WIRE_NAMES[FIXED32]}", self.span.start)
        return float(struct.unpack("<f", self.number.to_bytes(4, "little"))[0])


def whole(view: memoryview) -> Span:
    return Span(view, 0, len(view))


def read_varint(data: memoryview, position: int, end: int) -> tuple[int, int]:
    """(value, position after it); the value is unsigned, below 2**64."""
    result = 0
    for index in range(_LONGEST_VARINT):
        if position + index >= end:
            raise malformed("it ends inside a number", position)
        byte = data[position + index]
        result |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if result >> 64:
                break
            return result, position + index + 1
    raise malformed("a number has more than 64 bits", position)


def fields(message: Span) -> Iterator[Field]:
    """The fields of a message in the order of the file."""
    data, position, end = message.data, message.start, message.end
    while position < end:
        begin = position
        key, position = read_varint(data, position, end)
        tag, wire = key >> 3, key & 7
        if tag == 0 or tag >= 1 << 29:
            raise malformed(f"a field has the impossible number {tag}", begin)
        number, start = 0, position
        if wire == VARINT:
            number, position = read_varint(data, position, end)
        elif wire == DELIMITED:
            length, start = read_varint(data, position, end)
            if length > end - start:
                raise malformed(f"{length} bytes are announced, {end - start} are left", begin)
            position = start + length
        elif wire in _FIXED_SIZE:
            position = start + _FIXED_SIZE[wire]
            if position > end:
                raise malformed("it ends inside a number", begin)
            number = int.from_bytes(data[start:position], "little")
        else:
            raise malformed(f"a field has the unknown wire type {wire}", begin)
        yield Field(tag, wire, number, Span(data, start, position))


def varints(field: Field) -> NDArray[np.uint64]:
    """The values of a repeated integer field's entry: one, or many when packed."""
    if field.wire == VARINT:
        return np.array([field.number], np.uint64)
    span = field.delimited()
    raw = np.frombuffer(span.data[span.start : span.end], np.uint8)
    last = raw < 0x80
    if last.all():  # each value fits one byte, which is common and needs no assembly
        return raw.astype(np.uint64)
    if not last[-1]:
        raise malformed("it ends inside a number", span.start)
    ends = np.flatnonzero(last)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST_VARINT:
        raise malformed("a number has more than 64 bits", span.start + int(starts[lengths.argmax()]))
    places = np.arange(raw.size) - np.repeat(starts, lengths)
    return np.add.reduceat((raw & np.uint8(0x7F)).astype(np.uint64) << (7 * places).astype(np.uint64), starts)


def fixed(field: Field, dtype: str) -> NDArray[np.generic]:
    """The values of a repeated fixed-size field's entry: one, or many when packed."""
    if field.wire == VARINT or (field.wire != DELIMITED and _FIXED_SIZE[field.wire] != np.dtype(dtype).itemsize):
        raise malformed(f"field {field.tag} holds {_WIRE_NAMES[field.wire]}", field.span.start)
    return field.span.elements(dtype)


# -- writing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stream:
    """Bytes made when they are written; their number is known before."""

    size: int
    chunks: Callable[[], Iterator[memoryview]]


def encode_varint(value: int) -> bytes:
    """A varint; a negative number as its 64-bit two's complement."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Message:
    """A message being put together. Fields are written in the order of the calls; proto3 defaults are the caller's to leave out."""

    def __init__(self) -> None:
        self._pieces: list[bytes | Stream] = []
        self.size = 0

    def _append(self, *pieces: bytes | Stream) -> None:
        for piece in pieces:
            self._pieces.append(piece)
            self.size += len(piece) if isinstance(piece, bytes) else piece.size

    def varint(self, tag: int, value: int) -> None:
        self._append(encode_varint(tag << 3 | VARINT) + encode_varint(value))

    def float32(self, tag: int, value: float) -> None:
        with np.errstate(over="ignore"):
            self._append(encode_varint(tag << 3 | FIXED32) + np.float32(value).astype("<f4").tobytes())

    def fixed32(self, tag: int, value: int) -> None:
        self._append(encode_varint(tag << 3 | FIXED32) + value.to_bytes(4, "little"))

    def fixed64(self, tag: int, value: bytes) -> None:
        self._append(encode_varint(tag << 3 | FIXED64) + value)

    def data(self, tag: int, value: bytes | str) -> None:
        raw = value.encode() if isinstance(value, str) else value
        self._append(encode_varint(tag << 3 | DELIMITED) + encode_varint(len(raw)) + raw)

    def message(self, tag: int, value: Message) -> None:
        self._append(encode_varint(tag << 3 | DELIMITED) + encode_varint(value.size), *value._pieces)

    def stream(self, tag: int, value: Stream) -> None:
        self._append(encode_varint(tag << 3 | DELIMITED) + encode_varint(value.size), value)

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The bytes, piece by piece; GraphError if a stream does not keep its promise."""
        for piece in self._pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            left = piece.size
            for chunk in piece.chunks():
                left -= chunk.nbytes
                yield chunk
            if left:
                raise GraphError(f"a constant of {piece.size} bytes handed out {piece.size - left}")
