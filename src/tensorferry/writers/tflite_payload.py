"""The bytes of a TensorFlow Lite buffer: as numpy has them, except strings, which carry a table of offsets."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tensorferry.errors import GraphError
from tensorferry.tensor import Array, CastTensor, DType, FileTensor, ReshapedTensor, Tensor, TransposedTensor

SMALL = 4096
"""Constants up to this many bytes are compared by content, so that equal ones are stored once."""


class Payload:
    """What one buffer holds."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self._packed = pack_strings(tensor.array()) if tensor.dtype is DType.STRING else None
        self.nbytes = tensor.nbytes if self._packed is None else len(self._packed)

    def chunks(self) -> Iterator[memoryview]:
        """The bytes in pieces; GraphError if they are more or fewer than announced."""
        if self._packed is not None:
            yield memoryview(self._packed)
            return
        count = 0
        for piece in self.tensor.chunks():
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


def identity_of(tensor: Tensor) -> object:
    """Equal for tensors that hand out the same bytes, as far as that is known without reading much."""
    if tensor.dtype is DType.STRING:
        return pack_strings(tensor.array())
    if tensor.nbytes <= SMALL:
        return b"".join(tensor.chunks())
    match tensor:
        case ReshapedTensor():
            return identity_of(tensor.base)
        case TransposedTensor():
            return (tensor.permutation, tensor.base.shape, identity_of(tensor.base))
        case CastTensor():
            return (tensor.dtype, tensor.base.dtype, identity_of(tensor.base))
        case FileTensor():
            return (id(tensor.file), tensor.offset, tensor.nbytes)
        case _:
            return tensor


def root_of(tensor: Tensor) -> Tensor:
    """The tensor over which this one is a view."""
    while isinstance(tensor, ReshapedTensor | TransposedTensor | CastTensor):
        tensor = tensor.base
    return tensor
