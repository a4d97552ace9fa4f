"""The bytes of a TensorFlow Lite buffer: as numpy has them, except strings, which have a table of offsets, and int4, two a byte."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator

import numpy as np

from tensorferry.errors import GraphError
from tensorferry.tensor import Array, CastTensor, DType, FileTensor, ReshapedTensor, Tensor, TransposedTensor

SMALL = 1 << 16
"""Constants up to this many bytes are compared by content, so that equal ones are stored once: zero biases come by the dozen."""

KEPT = 64
"""Contents up to this many bytes stand for themselves; of longer ones a digest is kept."""


class Payload:
    """What one buffer holds."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self._packed = pack_strings(tensor.array()) if tensor.dtype is DType.STRING else None
        self.nbytes = tensor.nbytes
        if self._packed is not None:
            self.nbytes = len(self._packed)
        elif tensor.dtype is DType.INT4:
            self.nbytes = -(-tensor.size // 2)

    def chunks(self) -> Iterator[memoryview]:
        """The bytes in pieces; GraphError if they are more or fewer than announced."""
        if self._packed is not None:
            yield memoryview(self._packed)
            return
        count = 0
        for piece in pack_nibbles(self.tensor.chunks()) if self.tensor.dtype is DType.INT4 else self.tensor.chunks():
            count += piece.nbytes
            yield piece
        if count != self.nbytes:
            raise GraphError(f"a constant of {self.nbytes} bytes handed out {count}: {self.tensor!r}")


def pack_strings(array: Array) -> bytes:
    """int32 count, int32 offsets of each string and of the end (from the buffer's first byte), then the strings."""
    strings = [each.encode() if isinstance(each, str) else bytes(each) for each in array.reshape(-1).tolist()]
    offsets = [4 * (len(strings) + 2)]
    for each in strings:
        offsets.append(offsets[-1] + len(each))
    if offsets[-1] >= 1 << 31:
        raise GraphError(f"a constant holds {offsets[-1]} bytes of strings; TensorFlow Lite takes less than 2 GiB")
    return struct.pack(f"<{len(offsets) + 1}i", len(strings), *offsets) + b"".join(strings)


def pack_nibbles(pieces: Iterable[memoryview]) -> Iterator[memoryview]:
    """Two int4 elements a byte, the first in the lower half; they come one a byte, in pieces of any length."""
    left: Array = np.empty(0, np.uint8)
    for piece in pieces:
        nibbles: Array = np.concatenate([left, np.frombuffer(piece, np.uint8)]) & 15
        even = nibbles.size // 2 * 2
        yield (nibbles[:even:2] | nibbles[1:even:2] << 4).data
        left = nibbles[even:]
    if left.size:
        yield left.data


def identity_of(tensor: Tensor) -> object:
    """Equal for tensors that hand out the same bytes, as far as that is known without reading much."""
    if tensor.dtype is DType.STRING or tensor.nbytes <= SMALL:
        content = b"".join(Payload(tensor).chunks())
        return content if len(content) <= KEPT else (len(content), hashlib.sha256(content).digest())
    match tensor:
        case ReshapedTensor():
            return identity_of(tensor.base)
        case TransposedTensor():
            return (tensor.permutation, tensor.base.shape, identity_of(tensor.base))
        case CastTensor():
            return (tensor.dtype, tensor.base.dtype, identity_of(tensor.base))
        case FileTensor():
            return (tensor.file.identity, tensor.offset, tensor.nbytes)
        case _:
            return tensor


def root_of(tensor: Tensor) -> Tensor:
    """The tensor over which this one is a view."""
    while isinstance(tensor, ReshapedTensor | TransposedTensor | CastTensor):
        tensor = tensor.base
    return tensor
