"""Weights of a TensorFlow.js model: which element type they take there, and how their bytes reach the shards.

TensorFlow.js holds float32, int32, bool, string and complex64. Everything else is narrowed on the way, piece by piece: no
weight is ever held whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from tensorferry.ops.spec import Declined
from tensorferry.tensor import Array, CastTensor, DType, Tensor

NARROWED = {
    DType.FLOAT64: DType.FLOAT32,
    DType.FLOAT16: DType.FLOAT32,
    DType.BFLOAT16: DType.FLOAT32,
    DType.INT4: DType.INT32,
    DType.INT8: DType.INT32,
    DType.INT16: DType.INT32,
    DType.INT64: DType.INT32,
    DType.UINT8: DType.INT32,
    DType.UINT16: DType.INT32,
    DType.UINT32: DType.INT32,
    DType.UINT64: DType.INT32,
    DType.COMPLEX128: DType.COMPLEX64,
}
"""Element types that TensorFlow.js does not have, and what stands for them."""

HELD = frozenset({DType.FLOAT32, DType.INT32, DType.BOOL, DType.STRING, DType.COMPLEX64})
"""Element types that TensorFlow.js has."""

_MAY_OVERFLOW = frozenset({DType.INT64, DType.UINT32, DType.UINT64, DType.FLOAT64, DType.COMPLEX128})


def narrow(dtype: DType) -> DType:
    """The type that TensorFlow.js uses for it; Declined when there is none."""
    narrowed = NARROWED.get(dtype, dtype)
    if narrowed not in HELD:
        raise Declined(f"TensorFlow.js has no element type for {dtype}")
    return narrowed


@dataclass(frozen=True, slots=True)
class Weight:
    """One entry of the weights manifest; `tensor` already has the type it takes in TensorFlow.js.

    With `quantization` it holds what is stored, of which the loader makes float32.
    """

    name: str
    tensor: Tensor
    nbytes: int
    quantization: Mapping[str, str | float] | None = None

    @property
    def entry(self) -> dict[str, object]:
        described: dict[str, object] = {"name": self.name, "shape": list(self.tensor.shape), "dtype": self.tensor.dtype.value}
        if self.quantization is not None:
            described |= {"dtype": DType.FLOAT32.value, "quantization": dict(self.quantization)}
        return described

    def chunks(self) -> Iterator[bytes | memoryview]:
        if self.tensor.dtype is DType.STRING:
            return _string_chunks(self.tensor)
        return iter(self.tensor.chunks())


def plan_weight(name: str, tensor: Tensor) -> Weight:
    """Narrow a constant. Declined when one of its elements would not survive that."""
    dtype = narrow(tensor.dtype)
    if tensor.dtype in _MAY_OVERFLOW:
        _check_range(tensor, dtype)
    if dtype is not tensor.dtype:
        tensor = CastTensor(tensor, dtype)
    nbytes = sum(len(piece) for piece in _string_chunks(tensor)) if dtype is DType.STRING else tensor.nbytes
    return Weight(name, tensor, nbytes)


def _check_range(tensor: Tensor, narrowed: DType) -> None:
    for piece in tensor.chunks():
        array = np.frombuffer(piece, tensor.dtype.numpy)
        if narrowed is DType.INT32:
            bad = array[(array > np.iinfo(np.int32).max) | (array < _lowest(tensor.dtype))]
        else:
            with np.errstate(over="ignore"):
                bad = array[np.isfinite(array) & ~np.isfinite(array.astype(narrowed.numpy))]
        if bad.size:
            raise Declined(
                f"its constant of type {tensor.dtype} holds {bad[0]}, which {narrowed} of TensorFlow.js cannot hold",
                remedy=f"use values that fit {narrowed} in the source model",
            )
    tensor.release()


def _lowest(dtype: DType) -> int:
    return 0 if dtype.value.startswith("u") else int(np.iinfo(np.int32).min)


def _string_chunks(tensor: Tensor) -> Iterator[bytes]:
    """Each element as a 32-bit length and its bytes."""
    elements: Array = tensor.array()
    for element in elements.reshape(-1):
        data = element if isinstance(element, bytes) else str(element).encode()
        yield struct.pack("<I", len(data)) + data


def shard_names(total: int, shard_size: int) -> list[str]:
    """File names for `total` bytes in shards of `shard_size` (0: one shard). No bytes, no shard."""
    count = 0 if total == 0 else 1 if shard_size == 0 else -(-total // shard_size)
    return [f"group1-shard{number}of{count}.bin" for number in range(1, count + 1)]


class ShardWriter:
    """Spreads a stream of bytes over files of `shard_size` each, the last one shorter."""

    def __init__(self, folder: Path, names: Sequence[str], shard_size: int) -> None:
        self._paths = iter([folder / name for name in names])
        self._shard_size = shard_size
        self._file: BinaryIO | None = None
        self._room = 0

    def write(self, piece: bytes | memoryview) -> None:
        rest = memoryview(piece)
        while rest:
            file = self._open_shard()
            taken = len(rest) if self._shard_size == 0 else min(len(rest), self._room)
            file.write(rest[:taken])
            self._room -= taken
            rest = rest[taken:]

    def _open_shard(self) -> BinaryIO:
        if self._file is None or (self._shard_size and self._room == 0):
            self.close()
            self._file = open(next(self._paths), "wb")  # noqa: SIM115 - closed by `close`
            self._room = self._shard_size
        return self._file

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
