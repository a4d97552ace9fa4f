"""Keys of slices in a checkpoint: a name and extents in an encoding that sorts (tensorflow/core/lib/strings/ordered_code.h)."""

from __future__ import annotations

import re
from collections.abc import Sequence

_HEADER = (0x0000, 0x8000, 0xC000, 0xE000, 0xF000, 0xF800, 0xFC00, 0xFE00, 0xFF00, 0xFF80, 0xFFC0)
"""The first two bytes' leading ones tell how many bytes a signed number takes."""


def slice_key(name: bytes, extents: Sequence[tuple[int, int]]) -> bytes:
    """Key under which a slice (start and length for each dimension; length -1: all of it) of a variable is stored."""
    parts = [_unsigned(0), _string(name), _unsigned(len(extents))]
    for start, length in extents:
        parts += [_signed(start), _signed(length)]
    return b"".join(parts)


def _unsigned(value: int) -> bytes:
    digits = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([len(digits)]) + digits


def _string(text: bytes) -> bytes:
    return re.sub(rb"[\0\xff]", lambda found: found[0] + (b"\xff" if found[0] == b"\0" else b"\0"), text) + b"\0\1"


def _signed(value: int) -> bytes:
    magnitude = ~value if value < 0 else value
    size = max(1, -(-(magnitude.bit_length() + 1) // 7))
    if size == 1:
        return bytes([0x80 ^ (value & 0xFF)])
    encoded = bytearray(value.to_bytes(10, "big", signed=True)[-size:])
    encoded[0] ^= _HEADER[size] >> 8
    encoded[1] ^= _HEADER[size] & 0xFF
    return bytes(encoded)
