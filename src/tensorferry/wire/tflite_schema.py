"""Facts of the TensorFlow Lite schema, read from `tflite.schema` beside this file: tables, enums, operators, oldest runtimes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tensorferry.errors import GraphError
from tensorferry.wire.flatbuffer import Schema, parse_schema

IDENTIFIER = b"TFL3"
VERSION = 3
OPTIONS_UNIONS = {"builtin_options": "BuiltinOptions", "builtin_options2": "BuiltinOptions2"}
"""Fields of an Operator that hold its options, and the unions of tables that may stand there."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A builtin operator. `oldest[v - 1]` is the first release of TensorFlow Lite that runs version v; "" if none ever did."""

    name: str
    number: int
    options: str
    oldest: tuple[str, ...]


@cache
def _lines() -> list[list[str]]:
    text = Path(__file__).with_name("tflite.schema").read_text(encoding="utf-8").replace("\n ", " ")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


@cache
def schema() -> Schema:
    """Tables, unions and enums."""
    return parse_schema(_lines())


@cache
def operators() -> Mapping[str, Operator]:
    """Builtin operators by name."""
    found = {}
    for kind, *words in _lines():
        if kind == "operator":
            number, name, options, *oldest = words
            known = tuple("" if release == "-" else release for release in oldest)
            found[name] = Operator(name, int(number), "" if options == "-" else options, known)
    return found


def operator(name: str) -> Operator:
    try:
        return operators()[name]
    except KeyError:
        raise GraphError(f"TensorFlow Lite has no operator '{name}'") from None


def options_field(table: str) -> str:
    """In which field of an Operator an options table stands."""
    return next(field for field, union in OPTIONS_UNIONS.items() if table in schema().unions[union])


def oldest_runtime(used: Iterable[tuple[str, int]], at_least: str = "") -> str:
    """The first release of TensorFlow Lite, from `at_least` on, that runs all these (operator, version); "" when none of them says.

    Raises GraphError for a version that no release knows.
    """
    newest: tuple[int, ...] = tuple(map(int, at_least.split("."))) if at_least else ()
    for name, version in used:
        releases = operator(name).oldest
        if releases and not (0 < version <= len(releases) and releases[version - 1]):
            raise GraphError(f"no release of TensorFlow Lite runs version {version} of {name}")
        if releases:
            newest = max(newest, tuple(map(int, releases[version - 1].split("."))))
    return ".".join(map(str, newest))
