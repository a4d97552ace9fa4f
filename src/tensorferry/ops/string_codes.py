"""Texts as bytes: base64, numbers in memory's form, and the older hashes. Constants are computed before; no target has any of it.

Hashes: A. Appleby's MurmurHash64A with TensorFlow's seed, and SipHash-2-4 (J.-P. Aumasson and D. Bernstein, 2012).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Node, Typed
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.ops.strings import each_text, texts
from tensorferry.tensor import Array, DType

_MASK = (1 << 64) - 1

# -- base64, its form for addresses of the web -----------------------------------------------------------------------


def _infer_text(node: Node) -> list[Typed]:
    return [Typed(DType.STRING, node.inputs[0].shape)]


def _encoded(node: Node, text: bytes) -> bytes:
    code = base64.urlsafe_b64encode(text)
    return code if node["pad"] else code.rstrip(b"=")


def _decoded(_node: Node, code: bytes) -> bytes:
    bare = code.rstrip(b"=")
    try:
        return base64.b64decode(bare + b"=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise Declined(f"{code[:40]!r} is no base64") from error


def _encode_examples() -> Iterator[Example]:
    for pad in (False, True):
        yield Example((texts(b"", b"a", b"ab", b"abc", b"\xff\xfe>?", b"longer than most"),), {"pad": pad})


def _decode_examples() -> Iterator[Example]:
    yield Example((texts(b"", b"YQ", b"YWI=", b"YWJj", b"__4-Pw"),))


# -- numbers in memory's form ----------------------------------------------------------------------------------------


def _infer_raw(node: Node) -> list[Typed]:
    shape = node.inputs[0].shape
    return [Typed(node["out_type"], None if shape is None else (*shape, UNKNOWN_DIM))]


def _evaluate_raw(node: Node, array: Array) -> Array:
    kind = np.dtype(node["out_type"].numpy)
    stored = kind.newbyteorder("<" if node["little_endian"] else ">")
    pieces = array.reshape(-1).tolist()
    if len({len(each) for each in pieces}) > 1 or any(len(each) % kind.itemsize for each in pieces):
        raise Declined(f"its texts are of different lengths, or no whole numbers of {kind.itemsize} bytes")
    size = len(pieces[0]) // kind.itemsize if pieces else 0
    return np.frombuffer(b"".join(pieces), stored).astype(kind).reshape(*array.shape, size)


def _raw_examples() -> Iterator[Example]:
    stored = texts(b"\x01\x02\x03\x04\x05\x06\x07\x08", b"\x00\x00\x80\x3f\xff\x00\x00\xc0")
    for dtype in (DType.UINT8, DType.INT16, DType.FLOAT32):
        yield Example((stored,), {"out_type": dtype})
    yield Example((stored.reshape(2, 1),), {"out_type": DType.INT32, "little_endian": False}, note="big end first")


# -- hashes ----------------------------------------------------------------------------------------------------------

_SEED = 0xDECAFCAFFE
_FACTOR = 0xC6A4A7935BD1E995


def murmur(text: bytes) -> int:
    """MurmurHash64A of TensorFlow's seed."""
    made = _SEED ^ (len(text) * _FACTOR & _MASK)
    whole = len(text) // 8 * 8
    for start in range(0, whole, 8):
        word = int.from_bytes(text[start : start + 8], "little") * _FACTOR & _MASK
        word = (word ^ word >> 47) * _FACTOR & _MASK
        made = (made ^ word) * _FACTOR & _MASK
    if len(text) > whole:
        made = (made ^ int.from_bytes(text[whole:], "little")) * _FACTOR & _MASK
    made = (made ^ made >> 47) * _FACTOR & _MASK
    return made ^ made >> 47


def _turn(word: int, by: int) -> int:
    return (word << by | word >> (64 - by)) & _MASK


def sip(text: bytes, first: int, second: int) -> int:
    """SipHash-2-4 under a key of two words."""
    state = [first ^ 0x736F6D6570736575, second ^ 0x646F72616E646F6D, first ^ 0x6C7967656E657261, second ^ 0x7465646279746573]
    padded = text + b"\0" * (7 - len(text) % 8) + bytes([len(text) & 0xFF])
    for start in range(0, len(padded), 8):
        word = int.from_bytes(padded[start : start + 8], "little")
        state[3] ^= word
        _mix(state, 2)
        state[0] ^= word
    state[2] ^= 0xFF
    _mix(state, 4)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _mix(state: list[int], rounds: int) -> None:
    a, b, c, d = state
    for _round in range(rounds):
        a, c = (a + b) & _MASK, (c + d) & _MASK
        b, d = _turn(b, 13) ^ a, _turn(d, 16) ^ c
        a = _turn(a, 32)
        a, c = (a + d) & _MASK, (c + b) & _MASK
        b, d = _turn(b, 17) ^ c, _turn(d, 21) ^ a
        c = _turn(c, 32)
    state[:] = a, b, c, d


def _infer_bucket(node: Node) -> list[Typed]:
    if int(node["num_buckets"]) < 1:
        raise Declined("it needs a bucket", attributes=f"num_buckets={node['num_buckets']}")
    shape: tuple[Dim, ...] | None = node.inputs[0].shape
    return [Typed(node["index_dtype"], shape)]


def _bucket(node: Node, text: bytes) -> int:
    return murmur(text) % int(node["num_buckets"])


def _strong_bucket(node: Node, text: bytes) -> int:
    key = [int(each) & _MASK for each in node["key"]]
    if len(key) != 2:
        raise Declined(f"its key has {len(key)} numbers, not 2")
    return sip(text, *key) % int(node["num_buckets"])


def _bucket_examples() -> Iterator[Example]:
    words = texts(b"", b"a", b"eight by", b"thirteen long", b"\xff" * 31)
    for buckets in (7, 1 << 40):
        yield Example((words,), {"num_buckets": buckets})


def _strong_examples() -> Iterator[Example]:
    for example in _bucket_examples():
        yield Example(example.inputs, {**example.attrs, "key": [123, -5]})


SPECS = (
    OpSpec(
        name="EncodeBase64",
        attrs={"pad": False},
        infer=_infer_text,
        evaluate=each_text(_encoded),
        examples=_encode_examples,
    ),
    OpSpec(name="DecodeBase64", infer=_infer_text, evaluate=each_text(_decoded), examples=_decode_examples),
    OpSpec(
        name="DecodeRaw",
        attrs={"out_type": DType.UINT8, "little_endian": True},
        infer=_infer_raw,
        evaluate=_evaluate_raw,
        examples=_raw_examples,
    ),
    OpSpec(
        name="StringToHashBucket",
        attrs={"num_buckets": 1, "index_dtype": DType.INT64},
        infer=_infer_bucket,
        evaluate=each_text(_bucket, np.int64),
        examples=_bucket_examples,
    ),
    OpSpec(
        name="StringToHashBucketStrong",
        attrs={"num_buckets": 1, "key": [0, 0], "index_dtype": DType.INT64},
        infer=_infer_bucket,
        evaluate=each_text(_strong_bucket, np.int64),
        examples=_strong_examples,
    ),
)
