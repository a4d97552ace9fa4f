"""Ways to spoil a model: in its bytes, its text, its JSON, or inside of its archive."""

from __future__ import annotations

import copy
import gzip
import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping

Files = dict[str, bytes]

_NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    8,
    127,
    128,
    255,
    256,
    32767,
    65535,
    65536,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**63 - 1,
    2**64 - 1,
)
_VARINTS = (b"\x00", b"\x01", b"\x7f", b"\x80\x01", b"\xff\xff\xff\xff\x07", b"\xff" * 9 + b"\x01", b"\xff" * 11, b"\x80" * 12)
_MOST = 1 << 20
_TOKEN = re.compile(rb'"[^"]*"|[-\w.]+|[{}\[\]:,<>]')
_WORDS = (
    b"0", b"-1", b"1", b"9999999999", b"1e999", b"-1e-999", b"NaN", b"null", b"true", b'""', b'"../../etc/passwd"', b'"\\u0000"',
    b"[]", b"{}", b"{", b"}", b"[" * 2000, b'{"a":' * 2000, b'"\\ud800"', b"18446744073709551616", b"\xff\xfe", b"inf",
)  # fmt: skip
_VALUES: tuple[object, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**53, 2**63, 2**80, -(2**63), 1.5, float("inf"), float("nan"), "", "a", "0", "../x",
    "/etc/passwd", "\0", "\x1b[31m", "\ud800", "a" * 5000, "float32", "string", "Lambda", "Dense", "Placeholder",
    [], {}, [[]], [None], [0] * 40, {"": 0},
)  # fmt: skip


def mutate(files: Mapping[str, bytes], others: list[Mapping[str, bytes]], draw: random.Random) -> Files:
    """The files of a model, one of them spoilt one to a few times; `others` give bytes to splice in."""
    spoilt = dict(files)
    name = draw.choice(sorted(spoilt, key=lambda each: (-len(spoilt[each]), each)))
    action = draw.random()
    if action < 0.02 and len(spoilt) > 1:
        del spoilt[name]
        return spoilt
    for _ in range(draw.choice((1, 1, 1, 2, 3, 6))):
        spoilt[name] = _spoil(spoilt[name], others, draw)[:_MOST]
    return spoilt


def _spoil(data: bytes, others: list[Mapping[str, bytes]], draw: random.Random) -> bytes:
    if data.startswith(b"PK\3\4") and draw.random() < 0.7:
        return _inside_zip(data, others, draw)
    if data.startswith(b"\x1f\x8b") and draw.random() < 0.7:
        return _inside_gzip(data, others, draw)
    if data[:1] in (b"{", b"[") and draw.random() < 0.7:
        return _in_json(data, draw)
    if _is_text(data) and draw.random() < 0.8:
        return _in_text(data, draw)
    return draw.choice(_BYTE_WAYS)(data, others, draw)


def _is_text(data: bytes) -> bool:
    return all(9 <= byte < 127 for byte in data[:200])


def _inside_gzip(data: bytes, others: list[Mapping[str, bytes]], draw: random.Random) -> bytes:
    try:
        return gzip.compress(_spoil(gzip.decompress(data), others, draw), 1, mtime=0)
    except (OSError, EOFError, zlib.error):
        return _flip(data, others, draw)


def _inside_zip(data: bytes, others: list[Mapping[str, bytes]], draw: random.Random) -> bytes:
    """A member spoilt and everything packed anew, so that the checksums are right."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError, struct.error):
        return _flip(data, others, draw)
    if not members:
        return data
    place = draw.randrange(len(members))
    name, content = members[place]
    way = draw.random()
    if way < 0.1:
        name = draw.choice(("../out", "/out", "a\\..\\..\\out", name.upper(), "config.json", "c:out", name + "/x"))
    elif way < 0.15:
        members.pop(draw.randrange(len(members)))
        place = -1
    else:
        content = _spoil(content, others, draw)[:_MOST]
    if place >= 0:
        members[place] = (name, content)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for each, value in members:
            archive.writestr(zipfile.ZipInfo(each), value)
    return packed.getvalue()


# -- JSON and text -------------------------------------------------------------------------------------------------


def _in_json(data: bytes, draw: random.Random) -> bytes:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return _in_text(data, draw)
    places: list[tuple[object, object]] = []
    _walk(document, places)
    if not places:
        return _in_text(data, draw)
    for _ in range(draw.choice((1, 1, 2, 4))):
        holder, key = draw.choice(places)
        _change(holder, key, copy.deepcopy(draw.choice(places)), draw)
    try:
        return json.dumps(document).encode()
    except (ValueError, RecursionError):
        return data


def _walk(value: object, places: list[tuple[object, object]]) -> None:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        places.append((value, key))
        _walk(each, places)


def _change(holder: object, key: object, other: tuple[object, object], draw: random.Random) -> None:
    try:
        way = draw.randrange(6)
        if way == 0:
            del holder[key]
        elif way == 1:
            holder[key] = other[0][other[1]]
        elif way == 2 and isinstance(holder, dict):
            holder[draw.choice((f"{key}x", "", "class_name", "config", "name", "dtype", "shape"))] = holder.pop(key)
        elif way == 3 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif way == 4 and isinstance(holder[key], int):
            holder[key] = draw.choice(_NUMBERS) * draw.choice((1, 1, -1))
        elif way == 4 and isinstance(holder[key], str):
            text = holder[key]
            holder[key] = draw.choice((text[:-1], text + text, text[::-1], f"../{text}", f"{text}\n", f"/{text}", text.upper()))
        else:
            holder[key] = copy.deepcopy(draw.choice(_VALUES))
    except (KeyError, IndexError, TypeError):
        pass  # an earlier change took the place away


def _in_text(data: bytes, draw: random.Random) -> bytes:
    tokens = list(_TOKEN.finditer(data))
    if not tokens:
        return data + draw.choice(_WORDS)
    one, other = draw.choice(tokens), draw.choice(tokens)
    way = draw.randrange(5)
    if way == 0:
        return data[: one.start()] + draw.choice(_WORDS) + data[one.end() :]
    if way == 1:
        return data[: one.start()] + other[0] + data[one.end() :]
    if way == 2:
        return data[: one.start()] + data[one.end() :]
    lines = data.splitlines(keepends=True)
    place = draw.randrange(len(lines))
    if way == 3:
        return b"".join(lines[:place] + lines[place + 1 :])
    return b"".join(lines[:place] + lines[place : place + draw.randint(1, 5)] + lines[place:])


# -- bytes ---------------------------------------------------------------------------------------------------------


def _flip(data: bytes, _others: list[Mapping[str, bytes]], draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        if changed:
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _number(data: bytes, _others: list[Mapping[str, bytes]], draw: random.Random) -> bytes:
    """A number of fixed size over what was there; half of the time at a multiple of four, where flatbuffers have theirs."""
    width = draw.choice((1, 2, 4, 4, 8))
    place = draw.randrange(len(data) + 1)
    place = place // 4 * 4 if draw.random() < 0.5 else place
    value = draw.choice(_NUMBERS) % (1 << 8 * width)
    return data[:place] + value.to_bytes(width, draw.choice(("little", "little", "big"))) + data[place + width :]


def _nudge(data: bytes, _others: list[Mapping[str, bytes]], draw: random.Random) -> bytes:
    """One byte a little more or less: lengths and tags of small models are single bytes."""
    if not data:
        return data
    place = draw.randrange(len(data))
    return data[:place] + bytes([(data[place] + draw.choice((-2, -1, 1, 2, 8, 64))) % 256]) + data[place + 1 :]


def _varint(data: bytes, _others: list[Mapping[str, bytes]], draw: random.Random) -> bytes:
    place = draw.randrange(len(data) + 1)
    return data[:place] + draw.choice(_VARINTS) + data[place + draw.randint(0, 1) :]


def _cut(data: bytes, _others: list[Mapping[str, bytes]], draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def _remove(data: bytes, _others: list[Mapping[str, bytes]], draw: random.Random) -> bytes:
    place = draw.randrange(len(data) + 1)
    return data[:place] + data[place + draw.choice((1, 1, 4, 16, 100)) :]


def _repeat(data: bytes, _others: list[Mapping[str, bytes]], draw: random.Random) -> bytes:
    place, length = draw.randrange(len(data) + 1), draw.choice((1, 4, 30, 300))
    return data[:place] + data[place : place + length] * draw.choice((1, 1, 3, 50)) + data[place:]


def _splice(data: bytes, others: list[Mapping[str, bytes]], draw: random.Random) -> bytes:
    other = draw.choice(list(draw.choice(others).values()))
    start, length = draw.randrange(len(other) + 1), draw.choice((4, 16, 60, 400))
    place = draw.randrange(len(data) + 1)
    return data[:place] + other[start : start + length] + data[place + draw.choice((0, length)) :]


_BYTE_WAYS: tuple[Callable[[bytes, list[Mapping[str, bytes]], random.Random], bytes], ...] = (
    _flip, _flip, _number, _number, _nudge, _nudge, _varint, _cut, _remove, _repeat, _splice,
)  # fmt: skip
