"""Sorted-string tables: the key-value files that hold a checkpoint's index (tensorflow/core/lib/io/format.h, table_format.txt)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import google_crc32c

from tensorferry.wire.protobuf import malformed, read_varint
from tensorferry.wire.snappy import decompress

MAGIC = 0xDB4775248B80FB57
FOOTER = 48
_TRAILER = 5  # kind of compression, checksum
_PLAIN, _SNAPPY = 0, 1
_MASK_DELTA = 0xA282EAD8


def masked_crc(pieces: Iterable[bytes | memoryview]) -> int:
    """CRC-32C of the pieces one after the other, as TensorFlow stores it: rotated and offset, so that checksums of data that
    holds checksums stay strong."""
    crc = 0
    for piece in pieces:
        crc = google_crc32c.extend(crc, piece if isinstance(piece, bytes) else bytes(piece))
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def read_table(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """(key, value) of every entry, in the order of the keys. SourceError names the byte at which the file is damaged."""
    if len(data) < FOOTER or int.from_bytes(data[-8:], "little") != MAGIC:
        raise malformed("it does not end as a table of a checkpoint does", max(0, len(data) - 8))
    footer = len(data) - FOOTER
    position = footer
    for _ in range(2):  # the handle of the index of metadata, which TensorFlow does not use
        _, position = read_varint(data, position, len(data) - 8)
    start, position = read_varint(data, position, len(data) - 8)
    size, _ = read_varint(data, position, len(data) - 8)
    for _key, handle in _entries(*_block(data, start, size)):
        first, behind = read_varint(handle, 0, len(handle))
        length, _ = read_varint(handle, behind, len(handle))
        yield from _entries(*_block(data, first, length))


def _block(data: memoryview, start: int, size: int) -> tuple[memoryview, int]:
    """A block's content, its checksum checked, and where it lies."""
    end = start + size
    if end + _TRAILER > len(data):
        raise malformed("a block lies beyond the end of the file", start)
    kind = data[end]
    stored = int.from_bytes(data[end + 1 : end + _TRAILER], "little")
    if masked_crc([data[start : end + 1]]) != stored:
        raise malformed("the checksum of a block does not match its bytes", start)
    if kind == _SNAPPY:
        return memoryview(decompress(data[start:end], start)), start
    if kind != _PLAIN:
        raise malformed(f"a block is compressed in the unknown way {kind}", end)
    return data[start:end], start


def _entries(block: memoryview, offset: int) -> Iterator[tuple[bytes, memoryview]]:
    """Entries of a block: each key is given by what it shares with the one before and the rest."""
    if len(block) < 4:
        raise malformed("a block is too short", offset)
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise malformed(f"a block claims {restarts} restart points", offset)
    key, position = b"", 0
    while position < end:
        shared, position = read_varint(block, position, end)
        fresh, position = read_varint(block, position, end)
        length, position = read_varint(block, position, end)
        if shared > len(key) or position + fresh + length > end:
            raise malformed("an entry of a block does not fit into it", offset)
        key = key[:shared] + bytes(block[position : position + fresh])
        position += fresh
        yield key, block[position : position + length]
        position += length
