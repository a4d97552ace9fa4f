"""Snappy decompression of one block (format: github.com/google/snappy, format_description.txt); blocks are a few kilobytes."""

from __future__ import annotations

from tensorferry.wire.protobuf import malformed, read_varint

MOST_BYTES = 64 << 20
"""A block of an index claims less than this; more is taken for corrupt."""


def decompress(data: memoryview, offset: int = 0) -> bytes:
    """The block's bytes. `offset` is where it lies in its file, for messages. SourceError for anything that does not fit."""
    length, position = read_varint(data, 0, len(data))
    if length > MOST_BYTES:
        raise malformed(f"a compressed block claims {length} bytes", offset)
    out = bytearray()
    while position < len(data):
        tag = data[position]
        position += 1
        if tag & 3 == 0:
            size, position = _literal_size(tag, data, position, offset)
            if position + size > len(data):
                raise malformed("a compressed block ends early", offset)
            out += data[position : position + size]
            position += size
        else:
            size, back, position = _copy(tag, data, position, offset)
            if not 0 < back <= len(out):
                raise malformed("a compressed block refers to bytes before its begin", offset)
            _repeat(out, back, size)
        if len(out) > length:
            break
    if len(out) != length:
        raise malformed(f"a compressed block holds {len(out)} bytes, not {length}", offset)
    return bytes(out)


def _literal_size(tag: int, data: memoryview, position: int, offset: int) -> tuple[int, int]:
    """Length of a literal and where it begins: in the tag up to 60, else in 1 to 4 bytes behind it."""
    size = tag >> 2
    if size < 60:
        return size + 1, position
    extra = size - 59
    if position + extra > len(data):
        raise malformed("a compressed block ends early", offset)
    return int.from_bytes(data[position : position + extra], "little") + 1, position + extra


def _copy(tag: int, data: memoryview, position: int, offset: int) -> tuple[int, int, int]:
    """(length, distance back, position behind): 11, 16 or 32 bits of distance."""
    extra = (0, 1, 2, 4)[tag & 3]
    if position + extra > len(data):
        raise malformed("a compressed block ends early", offset)
    number = int.from_bytes(data[position : position + extra], "little")
    if tag & 3 == 1:
        return (tag >> 2 & 7) + 4, (tag >> 5) << 8 | number, position + extra
    return (tag >> 2) + 1, number, position + extra


def _repeat(out: bytearray, back: int, size: int) -> None:
    """Append `size` bytes from `back` bytes ago; they may overlap what is being written."""
    start = len(out) - back
    if back >= size:
        out += out[start : start + size]
    else:
        piece = bytes(out[start:])
        out += (piece * (size // back + 1))[:size]
