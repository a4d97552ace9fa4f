"""Attributes and types in the JSON form of TensorFlow's NodeDef, as TensorFlow.js reads it."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorferry.ir import Shape
from tensorferry.ops.spec import Declined
from tensorferry.tensor import DType
from tensorferry.writers.tfjs_weights import narrow

Json = dict[str, Any]

_TYPE_NAMES = {
    DType.FLOAT32: "DT_FLOAT",
    DType.INT32: "DT_INT32",
    DType.BOOL: "DT_BOOL",
    DType.STRING: "DT_STRING",
    DType.COMPLEX64: "DT_COMPLEX64",
}


def type_name(dtype: DType) -> str:
    """TensorFlow's name of the type that stands for it in TensorFlow.js."""
    return _TYPE_NAMES[narrow(dtype)]


def encode_shape(shape: Shape | Sequence[int | str]) -> Json:
    """TensorShapeProto; an unknown size is -1."""
    if shape is None:
        return {"unknownRank": True}
    return {"dim": [{"size": str(dim if isinstance(dim, int | np.integer) else -1)} for dim in shape]}


def encode_attribute(name: str, value: Any) -> Json:
    """AttrValue. A tuple is a shape when the attribute's name says so, else a list. Declined when JSON cannot carry it."""
    if name.endswith("shape") and (value is None or isinstance(value, tuple)):
        return {"shape": encode_shape(value)}
    if isinstance(value, list | tuple):
        return {"list": _encode_list(name, value)}
    kind, encoded = _encode_scalar(name, value)
    return {kind: encoded}


def _encode_list(name: str, values: Sequence[Any]) -> Json:
    if all(isinstance(value, tuple) for value in values):
        return {"shape": [encode_shape(value) for value in values]} if values else {}
    encoded = [_encode_scalar(name, value) for value in values]
    kinds = {kind for kind, _ in encoded}
    if kinds == {"i", "f"}:  # 1 among 0.5
        return {"f": [float(value) for value in values]}
    if len(kinds) > 1:
        raise Declined(f"its attribute '{name}' mixes kinds of values", attributes=f"{name}={values}")
    return {kinds.pop(): [each for _, each in encoded]}


def _encode_scalar(name: str, value: Any) -> tuple[str, Any]:
    if isinstance(value, np.generic):
        value = value.item()
    match value:
        case DType():
            return "type", type_name(value)
        case bool():
            return "b", value
        case int():
            return "i", str(value)
        case float():
            if not math.isfinite(value):
                raise Declined(f"its attribute '{name}' is {value}, which JSON cannot carry", attributes=f"{name}={value}")
            return "f", value
        case str() | bytes():
            return "s", base64.b64encode(value.encode() if isinstance(value, str) else value).decode("ascii")
        case _:
            kind = type(value).__name__
            raise Declined(f"its attribute '{name}' ({kind}) has no form in TensorFlow.js", attributes=name)
