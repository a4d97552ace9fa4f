"""StringToHashBucketFast: the 64-bit fingerprint of a string, modulo the number of buckets.

The fingerprint is FarmHash's Fingerprint64 (farmhashna::Hash64 in google/farmhash, src/farmhash.cc), which is the same for ever.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import Node, Typed
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.targets import JsNode
from tensorferry.tensor import Array, DType

_MASK = (1 << 64) - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


def fingerprint(text: bytes) -> int:
    """FarmHash's Fingerprint64."""
    length = len(text)
    if length <= 16:
        return _up_to_16(text, length)
    if length <= 32:
        return _up_to_32(text, length)
    return _up_to_64(text, length) if length <= 64 else _longer(text, length)


def _word(text: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(text[at : at + size], "little")


def _turn(value: int, by: int) -> int:
    value &= _MASK
    return (value >> by | value << (64 - by)) & _MASK


def _shift_mix(value: int) -> int:
    value &= _MASK
    return value ^ value >> 47


def _mix(one: int, other: int, factor: int) -> int:
    first = _shift_mix((one ^ other) * factor)
    return _shift_mix((other ^ first) * factor) * factor & _MASK


def _up_to_16(text: bytes, length: int) -> int:
    factor = _K2 + length * 2
    if length >= 8:
        first, last = _word(text, 0) + _K2, _word(text, length - 8)
        return _mix((_turn(last, 37) * factor + first) & _MASK, (_turn(first, 25) + last) * factor & _MASK, factor)
    if length >= 4:
        return _mix(length + (_word(text, 0, 4) << 3), _word(text, length - 4, 4), factor)
    if not length:
        return _K2
    one, other = text[0] + (text[length >> 1] << 8), length + (text[length - 1] << 2)
    return _shift_mix(one * _K2 ^ other * _K0) * _K2 & _MASK


def _up_to_32(text: bytes, length: int) -> int:
    factor = _K2 + length * 2
    a, b = _word(text, 0) * _K1, _word(text, 8)
    c, d = _word(text, length - 8) * factor, _word(text, length - 16) * _K2
    return _mix((_turn(a + b, 43) + _turn(c, 30) + d) & _MASK, (a + _turn(b + _K2, 18) + c) & _MASK, factor)


def _up_to_64(text: bytes, length: int) -> int:
    factor = _K2 + length * 2
    a, b = _word(text, 0) * _K2, _word(text, 8)
    c, d = _word(text, length - 8) * factor, _word(text, length - 16) * _K2
    y = (_turn(a + b, 43) + _turn(c, 30) + d) & _MASK
    z = _mix(y, (a + _turn(b + _K2, 18) + c) & _MASK, factor)
    e, f = _word(text, 16) * factor, _word(text, 24)
    g, h = (y + _word(text, length - 32)) * factor, (z + _word(text, length - 24)) * factor
    return _mix((_turn(e + f, 43) + _turn(g, 30) + h) & _MASK, (e + _turn(f + a, 18) + g) & _MASK, factor)


def _weak(text: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    """Two words out of 32 bytes and two seeds."""
    w, x, y, z = (_word(text, at + 8 * place) for place in range(4))
    a += w
    b = _turn(b + a + z, 21)
    c = a
    a += x + y
    b += _turn(a, 44)
    return (a + z) & _MASK, (b + c) & _MASK


def _longer(text: bytes, length: int) -> int:
    x, y = 81, (81 * _K1 + 113) & _MASK
    z = _shift_mix(y * _K2 + 113) * _K2 & _MASK
    v, w = (0, 0), (0, 0)
    x = (x * _K2 + _word(text, 0)) & _MASK
    end = (length - 1) // 64 * 64
    for at in range(0, end, 64):
        x, y, z, v, w = _round(text, at, x, y, z, v, w, _K1, 1)
    factor = _K1 + ((z & 0xFF) << 1)
    over = (length - 1) & 63
    w = ((w[0] + over) & _MASK, w[1])
    v = ((v[0] + w[0]) & _MASK, v[1])
    w = ((w[0] + v[0]) & _MASK, w[1])
    x, y, z, v, w = _round(text, end + over - 63, x, y, z, v, w, factor, 9)
    one = (_mix(v[0], w[0], factor) + _shift_mix(y) * _K0 + z) & _MASK
    return _mix(one, (_mix(v[1], w[1], factor) + x) & _MASK, factor)


Pair = tuple[int, int]


def _round(
    text: bytes, at: int, x: int, y: int, z: int, v: Pair, w: Pair, factor: int, weight: int
) -> tuple[int, int, int, Pair, Pair]:
    """64 bytes into the state; the last ones weigh nine times as much."""
    x = _turn(x + y + v[0] + _word(text, at + 8), 37) * factor & _MASK
    y = _turn(y + v[1] + _word(text, at + 48), 42) * factor & _MASK
    x ^= w[1] * weight & _MASK
    y = (y + v[0] * weight + _word(text, at + 40)) & _MASK
    z = _turn(z + w[0], 33) * factor & _MASK
    v = _weak(text, at, v[1] * factor & _MASK, (x + w[0]) & _MASK)
    w = _weak(text, at + 32, (z + w[1]) & _MASK, (y + _word(text, at + 16)) & _MASK)
    return z, y, x, v, w


def _infer(node: Node) -> list[Typed]:
    if int(node["num_buckets"]) < 1:
        raise Declined("it has no buckets", attributes=f"num_buckets={node['num_buckets']}")
    return [Typed(node["index_dtype"], node.inputs[0].shape)]


def _evaluate(node: Node, array: Array) -> Array:
    found = [fingerprint(each) % int(node["num_buckets"]) for each in array.reshape(-1).tolist()]
    return np.asarray(found, np.int64).reshape(array.shape)


def _js(node: Node) -> list[JsNode]:
    if int(node["num_buckets"]) > np.iinfo(np.int32).max:
        raise Declined("TensorFlow.js has no numbers of more than 32 bits", attributes=f"num_buckets={node['num_buckets']}")
    return [JsNode(node.op, tuple(node.inputs), tuple(node.outputs), {"num_buckets": int(node["num_buckets"])})]


def _examples() -> Iterator[Example]:
    words = [b"", b"a", b"ferry", b"tensorferry", b"x" * 17, b"y" * 33, b"z" * 70, bytes(range(200)) * 2]
    yield Example((np.array(words[:7], object),), {"num_buckets": 1000})
    yield Example((np.array([words], object),), {"num_buckets": 1 << 30}, note="long")


SPECS = (
    OpSpec(
        name="StringToHashBucketFast",
        attrs={"num_buckets": 1, "index_dtype": DType.INT64},
        infer=_infer,
        evaluate=_evaluate,
        to_tfjs=_js,
        examples=_examples,
    ),
)
