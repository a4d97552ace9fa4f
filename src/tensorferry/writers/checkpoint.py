"""Checkpoints (`PREFIX.index`, `PREFIX.data-00000-of-00001`): values are drawn piece by piece, their checksums taken on the way.

Source of the format: tensorflow/core/util/tensor_bundle and tensorflow/core/protobuf/tensor_bundle.proto.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tensorferry.errors import TargetError
from tensorferry.ir import Graph
from tensorferry.tensor import DType, Tensor
from tensorferry.wire.protobuf import Message
from tensorferry.wire.table import encode_table, extend_crc, mask_crc
from tensorferry.wire.tensorflow import DTYPE_NUMBERS, encode_shape
from tensorferry.writers.graphdef import write_message
from tensorferry.writers.metagraph import encode_metagraph
from tensorferry.writers.variables import Holding, checkpoint_of, hold_weights

DATA, INDEX, META = ".data-00000-of-00001", ".index", ".meta"
SUFFIXES = (DATA, META, INDEX)
"""In the order in which the files are put in place: the index makes a checkpoint of them."""


def write_checkpoint(graph: Graph, prefix: Path) -> tuple[Holding, int]:
    """The graph's weights, and the graph that reads them as `.meta`. Changes the graph. What was made, and all bytes."""
    holding = hold_weights(graph)
    size = write_bundle(checkpoint_of(holding), prefix)
    return holding, size + write_message(encode_metagraph(graph, holding), Path(f"{prefix}{META}"))


def write_bundle(tensors: Mapping[str, Tensor], prefix: str | os.PathLike[str]) -> int:
    """Index and data; how many bytes."""
    header, version = Message(), Message()
    header.varint(1, 1)
    version.varint(1, 1)
    header.message(3, version)
    entries = [(b"", _bytes(header))]
    prefix = Path(prefix)
    with open(prefix.with_name(prefix.name + DATA), "wb") as file:
        for name in sorted(tensors, key=str.encode):
            tensor = tensors[name]
            if tensor.dtype in (DType.STRING, DType.RESOURCE, DType.VARIANT, DType.UNKNOWN):
                raise TargetError(f"the variable '{name}' of type {tensor.dtype} cannot be written to a checkpoint")
            start, crc = file.tell(), 0
            for chunk in tensor.chunks():
                crc = extend_crc(crc, chunk)
                file.write(chunk)
            tensor.release()
            entries.append((name.encode(), _bytes(_encode_entry(tensor, start, file.tell() - start, mask_crc(crc)))))
        size = file.tell()
    table = encode_table(entries)
    prefix.with_name(prefix.name + INDEX).write_bytes(table)
    return size + len(table)


def _encode_entry(tensor: Tensor, offset: int, size: int, crc: int) -> Message:
    message = Message()
    message.varint(1, DTYPE_NUMBERS[tensor.dtype])
    message.message(2, encode_shape(tensor.shape))
    if offset:
        message.varint(4, offset)
    message.varint(5, size)
    message.fixed32(6, crc)
    return message


def _bytes(message: Message) -> bytes:
    return b"".join(bytes(chunk) for chunk in message.chunks())
