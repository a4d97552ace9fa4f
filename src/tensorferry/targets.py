"""What a lowering returns: plain records of one target operator each. No bytes, no file format.

A record's inputs and outputs refer to an IR Value, to a Tensor (a new constant, e.g. transposed weights), or to a Temp (a tensor
that lives between the operators of one lowering). The writer gives them numbers and names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tensorferry.ir import Shape, Value
from tensorferry.tensor import DType, Tensor

LITE_OPTIONS = "_lite_options"
"""Attribute with a custom operator's own bytes, of a source that was TensorFlow Lite: it gets them back as they are."""


@dataclass(frozen=True, slots=True, eq=False)
class Temp:
    """A tensor between two operators of one lowering; compared by identity. `label` becomes part of its name.

    `variable` marks a TFLite state: an operator that reads it may write it, too.
    """

    label: str
    dtype: DType
    shape: Shape
    variable: bool = False


Ref = Value | Tensor | Temp | None
"""What an operator reads or writes; None leaves out an optional TFLite input."""


@dataclass(frozen=True, slots=True)
class LiteOp:
    """One TensorFlow Lite operator.

    `name` is the schema's BuiltinOperator name (CONV_2D); `options` are the fields of its options table, enums by name
    ({"padding": "SAME", "fused_activation_function": "RELU6"}); `version` the lowest that expresses it. With `custom`, its
    options as a flexbuffer, it is no builtin: `name` is the code under which an application registers it.
    """

    name: str
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    custom: bytes | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LiteBody:
    """A subgraph of operators that reads and gives nothing: what the options of an operator may name, as they may name a Graph."""

    name: str
    operators: tuple[LiteOp, ...]
    once: bool = False
    """One subgraph for all that name it, of whatever signature: it fills what they share."""


@dataclass(frozen=True, slots=True)
class JsNode:
    """One TensorFlow.js graph-model node: a TensorFlow op name and attributes as plain Python values.

    str, bool, int, float, DType, and lists of them, and shapes (tuple of int, -1 for unknown) are encoded by the writer.
    """

    op: str
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    initial: bool = False
    """Runs once, before the model does: it fills the table that its first input is with the constants that the others are."""
