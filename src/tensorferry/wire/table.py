"""Sorted-string tables: the key-value files that hold a checkpoint's index (tensorflow/core/lib/io/format.h, table_format.txt)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import google_crc32c

from tensorferry.wire.protobuf import encode_varint, malformed, read_varint
from tensorferry.wire.snappy import decompress

MAGIC = 0xDB4775248B80FB57
FOOTER = 48
_TRAILER = 5  # kind of compression, checksum
_PLAIN, _SNAPPY = 0, 1
_MASK_DELTA = 0xA282EAD8


def masked_crc(pieces: Iterable[bytes | memoryview]) -> int:
    """CRC-32C of the pieces one after the other, masked."""
    crc = 0
    for piece in pieces:
        crc = extend_crc(crc, piece)
    return mask_crc(crc)


def extend_crc(crc: int, piece: bytes | memoryview) -> int:
    """CRC-32C, not masked yet, of what `crc` is of and the piece behind it."""
    return int(google_crc32c.extend(crc, piece if isinstance(piece, bytes) else bytes(piece)))


def mask_crc(crc: int) -> int:
    """As TensorFlow stores it: rotated and offset, so that checksums of data that holds checksums stay strong."""
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


# -- writing -------------------------------------------------------------------------------------------------------

_BLOCK = 1 << 16
_RESTART_EVERY = 16


def encode_table(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A table of these (key, value) pairs, which stand in the order of their keys."""
    table = bytearray()
    index, block, size = [], list[tuple[bytes, bytes]](), 0
    for number, (key, value) in enumerate(entries):
        block.append((key, value))
        size += len(key) + len(value)
        if size >= _BLOCK or number == len(entries) - 1:
            index.append((key, _add_block(table, _encode_block(block, _RESTART_EVERY))))
            block, size = [], 0
    metadata = _add_block(table, _encode_block([], _RESTART_EVERY))
    handles = metadata + _add_block(table, _encode_block(index, 1))
    return bytes(table) + handles.ljust(FOOTER - 8, b"\0") + MAGIC.to_bytes(8, "little")


def _add_block(table: bytearray, block: bytes) -> bytes:
    """Where the block lies, as the index says it."""
    start = len(table)
    content = block + bytes([_PLAIN])
    table += content + masked_crc([content]).to_bytes(4, "little")
    return encode_varint(start) + encode_varint(len(block))


def _encode_block(entries: Sequence[tuple[bytes, bytes]], restart_every: int) -> bytes:
    block, restarts, before = bytearray(), [0], b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % restart_every == 0:
            restarts += [len(block)] if number else []
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        block += encode_varint(shared) + encode_varint(len(key) - shared) + encode_varint(len(value)) + key[shared:] + value
        before = key
    for each in (*restarts, len(restarts)):
        block += each.to_bytes(4, "little")
    return bytes(block)
