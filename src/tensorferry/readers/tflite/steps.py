"""One operator while it is read: what the rule of its kind sees of it, and how it adds nodes to the graph.

Values of quantised tensors are real numbers in the graph: `Step.input` gives float32 for them. What an operator does with the
stored numbers as they are (a cast, a bit pattern) asks for `Step.stored`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorferry.errors import NodeError
from tensorferry.ir import Node, Origin, Quantization, Value
from tensorferry.readers.tflite.model import OperatorRecord, TensorRecord
from tensorferry.readers.typing import add_tolerantly
from tensorferry.tensor import Array, DType, Tensor, TransposedTensor
from tensorferry.wire.flatview import View

if TYPE_CHECKING:
    from tensorferry.readers.tflite.building import SubgraphReader

Rule = Callable[["Step"], "Value | Sequence[Value]"]
"""What an operator computes, as values of the graph: one, or one for each output."""

ACTIVATIONS = {"RELU": "Relu", "RELU6": "Relu6", "TANH": "Tanh"}


class Step:
    """An operator, its inputs as values, and the graph to which its nodes are added, named after its first output."""

    def __init__(self, reader: SubgraphReader, record: OperatorRecord, name: str) -> None:
        self.reader = reader
        self.record = record
        self.name = name
        self.origin = Origin((name,), record.custom or record.name)

    # -- what the file says ----------------------------------------------------------------------------------------

    @property
    def options(self) -> View:
        return self.record.options

    @property
    def count(self) -> int:
        """Inputs, those left out at the end not counted."""
        numbers = self.record.inputs
        return max((place + 1 for place, number in enumerate(numbers) if number >= 0), default=0)

    def has(self, index: int) -> bool:
        return index < len(self.record.inputs) and self.record.inputs[index] >= 0

    def tensor(self, index: int) -> TensorRecord:
        """The tensor of an input; a NodeError when the operator has none there."""
        if not self.has(index):
            raise self.refusal(f"its input {index} is missing")
        return self.reader.record.tensors[self.record.inputs[index]]

    def output(self, index: int = 0) -> TensorRecord:
        if index >= len(self.record.outputs) or self.record.outputs[index] < 0:
            raise self.refusal(f"its output {index} is missing")
        return self.reader.record.tensors[self.record.outputs[index]]

    def input(self, index: int) -> Value:
        """A value; real numbers where the tensor is quantised."""
        return self.reader.value(self.tensor(index).number)

    def inputs(self) -> list[Value]:
        """All of them, none left out."""
        return [self.input(index) for index in range(self.count)]

    def stored(self, index: int) -> Value:
        """A value as it is stored: whole numbers where the tensor is quantised."""
        return self.reader.stored(self.tensor(index).number)

    def known(self, index: int, role: str) -> Array:
        """The elements of an input that must be constant."""
        value = self.stored(index)
        if value.constant is None:
            raise self.refusal(f"its {role} is computed while the model runs")
        return value.constant.array()

    def refusal(self, why: str, remedy: str = "") -> NodeError:
        return NodeError(self.name, self.record.custom or self.record.name, why, remedy=remedy)

    # -- adding nodes ----------------------------------------------------------------------------------------------

    def make(self, op: str, *inputs: Value | Array | np.generic | float, **attrs: Any) -> Value:
        """Add a node and return its (first) output. A plain number becomes a scalar of the first value's type."""
        return self.make_node(op, *inputs, **attrs).outputs[0]

    def make_node(self, op: str, *inputs: Value | Array | np.generic | float, **attrs: Any) -> Node:
        like = next((each.dtype for each in inputs if isinstance(each, Value)), DType.FLOAT32)
        values = [each if isinstance(each, Value) else self._number(each, like) for each in inputs]
        graph = self.reader.graph
        return add_tolerantly(graph, op, values, attrs, graph.unique_name(f"{self.name}/{op}"), self.origin)

    def constant(self, array: Array | Tensor, label: str = "constant") -> Value:
        return self.reader.graph.constant(array, f"{self.name}/{label}", origin=self.origin)

    def _number(self, number: Array | np.generic | float, like: DType) -> Value:
        if not isinstance(number, np.ndarray | np.generic):
            number = np.asarray(number, like.numpy)
        return self.constant(np.asarray(number))

    def transposed(self, value: Value, permutation: Sequence[int]) -> Value:
        """With its axes in another order: a constant stays one."""
        tensor = value.constant
        if tensor is not None:
            if len(tensor.shape) != len(permutation):
                raise self.refusal(f"a constant of rank {len(tensor.shape)} stands where one of rank {len(permutation)} belongs")
            return self.constant(TransposedTensor(tensor, permutation), f"{value.name}/transposed")
        return self.make("Transpose", value, np.asarray(permutation, np.int32))

    def activated(self, value: Value, field: str = "fused_activation_function") -> Value:
        """The value after the activation that the operator applies itself."""
        kind = self.options.member(field)
        if kind == "NONE":
            return value
        if kind == "RELU_N1_TO_1":
            return self.clipped(value, -1.0, 1.0)
        if kind not in ACTIVATIONS:
            raise self.refusal(f"its activation {kind} is not supported")
        return self.make(ACTIVATIONS[kind], value)

    def clipped(self, value: Value, low: float, high: float) -> Value:
        return self.make("Minimum", self.make("Maximum", value, low), high)

    def rounded(self, value: Value, quantization: Quantization | None, dtype: DType) -> Value:
        """Real numbers on the grid of a quantised tensor."""
        return self.reader.on_grid(value, quantization, dtype, self.name, self.origin)


def int32s(*numbers: int) -> Array:
    return np.asarray(numbers, np.int32)
