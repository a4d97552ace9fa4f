"""Flexbuffers read with every offset checked: the options of custom operators.

The root's type and width stand at the end; everything lies before what points at it (flatbuffers.dev, "FlexBuffer internals").
"""

from __future__ import annotations

import struct
from typing import Any

_MOST_VALUES = 1 << 16
_MOST_DEPTH = 32

_NULL, _INT, _UINT, _FLOAT, _KEY, _STRING, _INDIRECT_INT, _INDIRECT_UINT, _INDIRECT_FLOAT, _MAP, _VECTOR = range(11)
_FIRST_TYPED, _LAST_TYPED = 11, 15
_FIRST_FIXED, _LAST_FIXED = 16, 24
_BLOB, _BOOL, _BOOLS = 25, 26, 36
_CODES = {_INT: "bhiq", _UINT: "BHIQ", _FLOAT: " efd", _BOOL: "BHIQ"}


class FlexError(Exception):
    """The bytes are no flexbuffer."""


def read_flex(data: bytes) -> Any:
    """The root as plain values: numbers, bool, str (bytes where it is no text), list, dict. FlexError for anything else."""
    if len(data) < 3:
        raise FlexError("it is too short")
    return _Reader(data).root()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = _MOST_VALUES

    def root(self) -> Any:
        width, packed = self._data[-1], self._data[-2]
        return self._value(len(self._data) - 2 - width, width, packed, 0)

    def _value(self, place: int, width: int, packed: int, depth: int) -> Any:
        """What stands at a place: a number itself, or the distance back to what is meant."""
        self._left -= 1
        if self._left < 0 or depth > _MOST_DEPTH:
            raise FlexError("its parts hold each other again and again")
        kind, inner = packed >> 2, 1 << (packed & 3)
        if kind == _NULL:
            return None
        if kind in _CODES:
            number = self._number(_CODES[kind], place, width)
            return bool(number) if kind == _BOOL else number
        target = place - self._unsigned(place, width)
        if kind in (_INDIRECT_INT, _INDIRECT_UINT, _INDIRECT_FLOAT):
            return self._number(_CODES[kind - _INDIRECT_INT + _INT], target, inner)
        if kind == _KEY:
            return self._key(target)
        if kind in (_STRING, _BLOB):
            return self._text(target, inner, plain=kind == _BLOB)
        return self._container(kind, target, inner, depth)

    def _container(self, kind: int, target: int, width: int, depth: int) -> Any:
        if _FIRST_FIXED <= kind <= _LAST_FIXED:  # two, three or four numbers of one of three types
            element = (_INT, _UINT, _FLOAT)[(kind - _FIRST_FIXED) % 3]
            count = (kind - _FIRST_FIXED) // 3 + 2
            return [self._value(target + each * width, width, element << 2, depth + 1) for each in range(count)]
        count = self._unsigned(target - width, width)
        if target + count * width > len(self._data):
            raise FlexError("a list reaches beyond its end")
        if _FIRST_TYPED <= kind <= _LAST_TYPED or kind == _BOOLS:
            element = _BOOL if kind == _BOOLS else kind - _FIRST_TYPED + _INT
            return [self._value(target + each * width, width, element << 2, depth + 1) for each in range(count)]
        if kind not in (_MAP, _VECTOR):
            raise FlexError(f"a value is of the unknown type {kind}")
        types = self._bytes(target + count * width, count)
        values = [self._value(target + each * width, width, types[each], depth + 1) for each in range(count)]
        if kind == _VECTOR:
            return values
        keys_width = self._unsigned(target - 2 * width, width)
        place = target - 3 * width
        keys = place - self._unsigned(place, width)
        if keys_width not in (1, 2, 4, 8):
            raise FlexError("the keys of a map are of no width")
        names = [self._value(keys + each * keys_width, keys_width, _KEY << 2, depth + 1) for each in range(count)]
        return dict(zip(names, values, strict=True))

    def _text(self, target: int, width: int, *, plain: bool) -> str | bytes:
        content = self._bytes(target, self._unsigned(target - width, width))
        if plain:
            return content
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            return content

    def _key(self, target: int) -> str:
        end = self._data.find(b"\0", max(target, 0))
        if target < 0 or end < 0:
            raise FlexError("a key has no end")
        return self._data[target:end].decode("utf-8", "replace")

    def _bytes(self, start: int, count: int) -> bytes:
        if start < 0 or start + count > len(self._data):
            raise FlexError("a value reaches beyond its end")
        return self._data[start : start + count]

    def _unsigned(self, place: int, width: int) -> int:
        return int(self._number("BHIQ", place, width))

    def _number(self, codes: str, place: int, width: int) -> Any:
        if width not in (1, 2, 4, 8) or place < 0 or place + width > len(self._data):
            raise FlexError("a number lies outside of it")
        code = codes[width.bit_length() - 1]
        if code == " ":
            raise FlexError("a real number is of one byte")
        return struct.unpack_from(f"<{code}", self._data, place)[0]
