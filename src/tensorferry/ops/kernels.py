"""Which element types and ranks a target's operator takes, and since which version: the tables behind simple lowerings.

Version numbers follow LiteRT's own rule (tflite/tools/versioning/op_version.cc); element types and ranks were tried in LiteRT 2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tensorferry.ir import Node, Value, format_shape
from tensorferry.ops.spec import Declined, lite_activation
from tensorferry.targets import LiteOp
from tensorferry.tensor import DType

FLOATS = frozenset({DType.FLOAT32})
FLOATS_AND_INT32 = FLOATS | {DType.INT32}
NUMBERS = FLOATS_AND_INT32 | {DType.INT64}
BOOLS = frozenset({DType.BOOL})


@dataclass(frozen=True, slots=True)
class LiteKernel:
    """One TFLite operator: the element types it takes (with the operator version each needs, beside 1) and its limits.

    `wide` is the version for inputs of different shapes with more than four dimensions; `fused` says that its options have
    `fused_activation_function`.
    """

    name: str
    dtypes: Collection[DType]
    versions: Mapping[DType, int] = field(default_factory=dict)
    wide: int = 1
    fused: bool = False
    most_dims: int = 6
    data: int = 0
    """Index of the input whose element type counts."""

    def accepts(self, dtype: DType) -> bool:
        return dtype in self.dtypes

    def _could_cast(self, dtype: DType) -> bool:
        return DType.FLOAT32 in self.dtypes and dtype is not DType.STRING

    def check(self, node: Node) -> None:
        """Declined when the node's element type or rank is beyond the kernel."""
        value = node.inputs[self.data]
        if not self.accepts(value.dtype):
            raise Declined(
                f"TensorFlow Lite's {self.name} does not take {value.dtype}",
                remedy="cast its input to float32 in the source model" if self._could_cast(value.dtype) else "",
                attributes=f"T={value.dtype}",
            )
        for each in node.inputs:
            check_rank(each, self.most_dims, self.name)

    def version(self, node: Node) -> int:
        """The lowest that takes the node."""
        version = self.versions.get(node.inputs[self.data].dtype, 1)
        if self.wide > version and len(node.inputs) > 1:
            shapes = [value.shape for value in node.inputs]
            ranks = [len(shape) for shape in shapes if shape is not None]
            if any(shape != shapes[0] for shape in shapes) and max(ranks, default=0) > 4:
                return self.wide
        return version

    def __call__(self, node: Node, **options: Any) -> list[LiteOp]:
        """The lowering: one operator that reads the node's inputs and writes its outputs."""
        self.check(node)
        if self.fused:
            options["fused_activation_function"] = lite_activation(node)
        return [LiteOp(self.name, tuple(node.inputs), tuple(node.outputs), options, self.version(node))]


def check_rank(value: Value, most: int, operator: str) -> None:
    """Declined when a value has more dimensions than the TFLite operator takes."""
    if value.rank is not None and value.rank > most:
        raise Declined(
            f"TensorFlow Lite's {operator} takes at most {most} dimensions, '{value.name}' is {format_shape(value.shape)}",
            remedy="reshape to fewer dimensions in the source model",
        )


def choose(first: LiteKernel, otherwise: Callable[[Node], list[LiteOp]]) -> Callable[[Node], list[LiteOp]]:
    """The first where it takes the element type, else another way."""
    return lambda node: first(node) if first.accepts(node.inputs[0].dtype) else otherwise(node)
