"""Are these the numbers that TensorFlow computes? One rule for all converters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

RELATIVE, ABSOLUTE = 1e-3, 1e-4
HALF_STEPS = 4
"""Half-precision references are themselves rounded: so many of their steps are allowed beside the tolerance."""

KINDS = {
    "i": "integer",
    "u": "integer",
    "f": "float",
    "b": "bool",
    "c": "complex",
    "O": "string",
    "S": "string",
    "U": "string",
    "V": "float",
}


def difference(outputs: Sequence[Array], expected: Sequence[Array], *, values: bool = True) -> str:
    """Why the outputs are not the expected ones; nothing when they are.

    A target may have a narrower element type (int32 for int64, float32 for float64), but not one of another kind. What float64
    holds beyond float32 is infinity there, and uint32 has its bits in the int32 of a target without unsigned numbers.
    """
    if len(outputs) != len(expected):
        return f"{len(outputs)} outputs for {len(expected)}"
    for index, (one, other) in enumerate(zip(outputs, expected, strict=True)):
        reason = _difference(np.asarray(one), np.asarray(other), values)
        if reason:
            return f"output {index}: {reason}"
    return ""


def _difference(one: Array, other: Array, values: bool) -> str:
    if one.shape != other.shape:
        return f"shape {list(one.shape)} for {list(other.shape)}"
    kind = KINDS[other.dtype.kind]
    if KINDS[one.dtype.kind] != kind:
        return f"type {one.dtype} for {other.dtype}"
    if not values or not other.size:
        return ""
    if kind == "string":
        same = [_bytes(a) == _bytes(b) for a, b in zip(one.reshape(-1), other.reshape(-1), strict=True)]
        return "" if all(same) else f"{same.count(False)} strings differ"
    if other.dtype == np.uint32 and one.dtype == np.int32:
        one = one.view(np.uint32)
    if kind in ("integer", "bool"):
        wrong = np.flatnonzero(one.reshape(-1).astype(object) != other.reshape(-1).astype(object))
        return f"{_first(one, other, wrong)}" if wrong.size else ""
    return _float_difference(one, other)


def _float_difference(one: Array, other: Array) -> str:
    half = other.dtype.itemsize == 2
    spare = HALF_STEPS * (2.0**-8 if other.dtype.kind == "V" else 2.0**-11) if half else 0.0
    wide = np.complex128 if other.dtype.kind == "c" else np.float64
    a, b = one.astype(wide), other.astype(wide)
    relative = RELATIVE + spare
    close = np.isclose(a, b, rtol=relative, atol=ABSOLUTE + spare, equal_nan=True)
    if one.dtype == np.float32 and other.dtype == np.float64:
        with np.errstate(over="ignore"):
            close |= np.isinf(a) & (other.astype(np.float32) == one)
    if half:  # what overflows in half precision need not do so in a wider type
        close |= np.isinf(b) & (np.abs(a) > float(np.finfo(np.float16).max)) & (np.sign(a) == np.sign(b))
    if wide is np.complex128:
        close = np.isclose(a.real, b.real, rtol=relative, atol=ABSOLUTE, equal_nan=True)
        close &= np.isclose(a.imag, b.imag, rtol=relative, atol=ABSOLUTE, equal_nan=True)
    wrong = np.flatnonzero(~close.reshape(-1))
    return _first(a, b, wrong) if wrong.size else ""


def _first(one: Array, other: Array, wrong: Array) -> str:
    place = int(wrong[0])
    return f"{wrong.size} of {other.size} differ, first {one.reshape(-1)[place]} for {other.reshape(-1)[place]}"


def _bytes(text: Any) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode()
