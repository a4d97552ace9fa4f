"""A TensorFlow Lite program: numbered tensors, operators, buffers and signatures, as plain records without bytes.

A lowering of a Graph makes one, quantisation makes another one of it, the writer writes either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tensorferry.errors import GraphError
from tensorferry.ir import Quantization, Shape
from tensorferry.tensor import ArrayTensor, DType, ReshapedTensor, Tensor


@dataclass(slots=True)
class ProgramTensor:
    """A tensor of a subgraph. Buffer 0 is the empty one, of all tensors that are computed."""

    name: str
    dtype: DType
    shape: Shape
    buffer: int = 0
    quantization: Quantization | None = None
    variable: bool = False


class Code(NamedTuple):
    """A kind of operator: a builtin's name and version, or a custom operator's own code."""

    name: str
    version: int
    custom: bool = False


@dataclass(slots=True)
class ProgramOperator:
    """An operator with its tensors by number (-1: left out); `code` is a place in the program's table of codes.

    A builtin has a `table` of options, or none (""); a custom operator has `custom`, its options as a flexbuffer.
    """

    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    table: str
    options: Mapping[str, Any]
    custom: bytes | None = None


@dataclass(slots=True)
class Subgraph:
    """A graph of operators; the first of a program is the model itself, the others branches and bodies."""

    name: str
    tensors: list[ProgramTensor] = field(default_factory=list)
    operators: list[ProgramOperator] = field(default_factory=list)
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A signature: the public names of a subgraph's inputs and outputs."""

    signature: str
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    subgraph: int


@dataclass(slots=True)
class Program:
    """All that goes into a file."""

    entries: list[Entry] = field(default_factory=list)
    subgraphs: list[Subgraph] = field(default_factory=list)
    codes: list[Code] = field(default_factory=list)
    buffers: list[Tensor | None] = field(default_factory=lambda: [None])

    def content(self, tensor: ProgramTensor) -> Tensor:
        """A constant's elements, in its type and shape: equal bytes are stored once, whatever they were first met as."""
        content = self.buffers[tensor.buffer]
        shape = tuple(dim for dim in tensor.shape or () if isinstance(dim, int))
        if content is None or len(shape) != len(tensor.shape or ()):
            raise GraphError(f"'{tensor.name}' is no constant")
        if content.dtype is not tensor.dtype:
            content = ArrayTensor(np.ascontiguousarray(content.array()).reshape(-1).view(tensor.dtype.numpy), tensor.dtype)
        return content if content.shape == shape else ReshapedTensor(content, shape)

    def operator_counts(self) -> dict[str, int]:
        """How often each operator stands in the file, most frequent first."""
        names = (self.codes[operator.code].name for subgraph in self.subgraphs for operator in subgraph.operators)
        return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))
