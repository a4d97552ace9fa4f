"""Protobuf messages in JSON, as TensorFlow.js and Keras 2 keep nodes of a graph."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from tensorferry.errors import SourceError

_BYTES = frozenset({"s", "stringVal", "tensorContent"})
"""Fields that JSON holds in base64."""

_MOST_DEPTH = 150
"""Objects and lists within each other: a function in an attribute of a function's node has some thirty."""


def plain_fields(value: Any, key: str = "", depth: int = 0) -> Any:
    """JSON as protobuf writes it, in the form of `wire.named`: names with underscores, bytes out of base64, numbers out of text."""
    if depth > _MOST_DEPTH:
        raise SourceError(f"the graph's nodes are nested more than {_MOST_DEPTH} deep")
    if isinstance(value, Mapping):
        keep = key in ("attr", "ret", "controlRet", "arg_attr")  # maps from names, which stay as they are
        return {name if keep else _with_underscores(name): plain_fields(each, name, depth + 1) for name, each in value.items()}
    if isinstance(value, list):
        if key == "s" and value and all(type(each) is int and 0 <= each < 256 for each in value):
            return bytes(value)  # the form of early converters
        return [plain_fields(each, key, depth + 1) for each in value]
    if isinstance(value, str) and key in _BYTES:
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return value.encode("utf-8", "surrogatepass")
    return value


def _with_underscores(name: str) -> str:
    return re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", name)
