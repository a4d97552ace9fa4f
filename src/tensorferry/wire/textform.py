"""The text form of protocol buffers (`.pbtxt`), parsed into plain dicts and lists without a schema.

Source of the form: protobuf.dev/reference/protobuf/textformat-spec. A field that stands once is its value, one that stands several
times, or as `[a, b]`, a list.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from tensorferry.errors import SourceError

_TOKEN = re.compile(
    r"""(?P<space>(?:[ \t\r\n\f\v]+|\#[^\n]*)+)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<word>-?[A-Za-z_][\w.]*)
    |(?P<number>-?(?:0[xX][0-9a-fA-F]+|\.?\d[\w.]*(?:[eE][+-]?\d+)?[fF]?))
    |(?P<sign>[{}<>\[\]:,;/])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_SINGLE = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
_MOST_DEPTH = 64
_CLOSING = {"{": "}", "<": ">"}


def parse(text: str) -> dict[str, Any]:
    """The message that the text is. Texts become bytes, numbers int or float, other words str or bool."""
    return _Parser(text).message("", 0)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._kind = self._value = ""
        self._start = 0
        self._next()

    def _next(self) -> None:
        """Move to the next token; kind "" at the end."""
        while True:
            self._start = self._at
            if self._at >= len(self._text):
                self._kind = self._value = ""
                return
            found = _TOKEN.match(self._text, self._at)
            if found is None:
                raise self._wrong("there is something that is no part of a message")
            self._at = found.end()
            if found.lastgroup != "space":
                self._kind, self._value = found.lastgroup or "", found.group()
                return

    def _wrong(self, what: str) -> SourceError:
        line = self._text.count("\n", 0, self._start) + 1
        return SourceError(f"the text is no graph: {what}", where=f"line {line}: {self._text[self._start : self._start + 40]!r}")

    def message(self, closing: str, depth: int) -> dict[str, Any]:
        if depth > _MOST_DEPTH:
            raise self._wrong(f"messages are nested more than {_MOST_DEPTH} deep")
        found: dict[str, Any] = {}
        while self._value != closing or self._kind == "text":
            name = self._name()
            values, several = self._field(depth)
            if name in found or several:
                before = found.get(name, [])
                found[name] = (before if isinstance(before, list) else [before]) + values
            else:
                found[name] = values[0]
            if self._value in (",", ";") and self._kind == "sign":
                self._next()
        return found

    def _name(self) -> str:
        """A field's name; in brackets the name of a type, whose message follows, or of an extension."""
        if self._kind == "sign" and self._value == "[":
            pieces = []
            self._next()
            while self._kind in ("word", "number") or (self._kind == "sign" and self._value == "/"):
                pieces.append(self._value)
                self._next()
            if self._value != "]" or not pieces:
                raise self._wrong("the name of a type is cut off")
            self._next()
            return f"[{''.join(pieces)}]"
        if self._kind != "word":
            raise self._wrong("the name of a field is missing")
        name = self._value
        self._next()
        return name

    def _field(self, depth: int) -> tuple[list[Any], bool]:
        """(values, whether they stand in brackets)."""
        colon = self._value == ":"
        if colon:
            self._next()
        if self._value == "[" and self._kind == "sign":
            self._next()
            values: list[Any] = []
            while self._value != "]" or self._kind != "sign":
                values.append(self._one(colon, depth))
                if self._value == ",":
                    self._next()
            self._next()
            return values, True
        return [self._one(colon, depth)], False

    def _one(self, colon: bool, depth: int) -> Any:
        if self._kind == "sign" and self._value in _CLOSING:
            closing = _CLOSING[self._value]
            self._next()
            nested = self.message(closing, depth + 1)
            self._next()
            return nested
        if not colon or self._kind in ("", "sign"):
            raise self._wrong("a value is missing")
        return self._scalar()

    def _scalar(self) -> Any:
        kind, value = self._kind, self._value
        if kind == "text":
            pieces = []
            while self._kind == "text":  # neighbours are one text
                pieces.append(_unescape(self._value[1:-1].encode()))
                self._next()
            return b"".join(pieces)
        try:
            result = _number(value) if kind == "number" else _word(value)
        except ValueError as error:
            raise self._wrong("a number cannot be read") from error
        self._next()
        return result


def _number(text: str) -> int | float:
    if re.fullmatch(r"-?0[xX][0-9a-fA-F]+", text):
        return int(text, 16)
    if re.fullmatch(r"-?0[0-7]+", text):
        return int(text, 8)
    return int(text) if re.fullmatch(r"-?\d+", text) else float(text.rstrip("fF"))


def _word(text: str) -> str | bool | float:
    if text in ("true", "false"):
        return text == "true"
    plain = text.removeprefix("-").lower()
    if plain in ("inf", "infinity", "nan"):
        return float(text.lower())
    return text


def _unescape(raw: bytes) -> bytes:
    octal = _unescape_octal(raw)
    if octal is not None:
        return octal

    def replace(found: re.Match[bytes]) -> bytes:
        octal, hexadecimal, short, wide, single = found.groups()
        if octal is not None:
            return bytes([int(octal, 8) & 0xFF])
        if hexadecimal is not None:
            return bytes([int(hexadecimal, 16)])
        if short is not None or wide is not None:
            return chr(min(int(short or wide, 16), 0x10FFFF)).encode("utf-8", "replace")
        return _SINGLE.get(single, single)

    return _ESCAPE.sub(replace, raw) if b"\\" in raw else raw


_OCTAL_LEAST = 64
"""Bytes below which numpy is not worth its while."""


def _unescape_octal(raw: bytes) -> bytes | None:
    """Bytes that are all written as a backslash and three octal digits, as weights are by many writers; else None."""
    if len(raw) < _OCTAL_LEAST or len(raw) % 4 or raw[:1] != b"\\":
        return None
    letters = np.frombuffer(raw, np.uint8).reshape(-1, 4)
    digits = letters[:, 1:] - np.uint8(ord("0"))
    if (letters[:, 0] != ord("\\")).any() or (digits > 7).any() or (digits[:, 0] > 3).any():
        return None
    return (digits[:, 0] << 6 | digits[:, 1] << 3 | digits[:, 2]).astype(np.uint8).tobytes()
