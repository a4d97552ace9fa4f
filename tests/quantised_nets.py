"""Small nets to be quantised, and a walk through what was written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Port, Value
from tensorferry.readers.tflite.model import LiteModel, OperatorRecord, TensorRecord, read_model
from tensorferry.storage import SourceFile
from tensorferry.tensor import Array, DType


class Net:
    """A graph that grows by one op at a time; weights are drawn from one seed."""

    def __init__(self, *shape: int, seed: int = 0) -> None:
        self.graph = Graph("net")
        self.random = np.random.default_rng(seed)
        self.last = self.input("image", *shape)

    def input(self, name: str, *shape: int) -> Value:
        value = ops.add(self.graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": shape}, name=name).output
        self.graph.inputs.append(Port(name, value))
        return value

    def weight(self, name: str, *shape: int) -> Value:
        """Channels of the last axis differ a hundredfold in size."""
        spread = np.geomspace(0.02, 2, shape[-1], dtype=np.float32)
        array = self.random.normal(size=shape).astype(np.float32) * spread / np.sqrt(np.prod(shape[:-1]))
        return self.graph.constant(array.astype(np.float32), name)

    def then(self, op: str, name: str, *others: Any, **attrs: Any) -> Value:
        """Apply an op to the last value and others."""
        inputs = [
            self.last,
            *(each if isinstance(each, Value) else self.graph.constant(each, f"{name}/{n}") for n, each in enumerate(others)),
        ]
        self.last = ops.add(self.graph, op, inputs, attrs, name=name).output
        return self.last

    def conv(self, name: str, filters: int, size: int = 3, activation: str = "Relu6") -> Value:
        channels = int(self.last.static_shape[-1])
        self.then(
            "Conv2D", name, self.weight(f"{name}/kernel", size, size, channels, filters), strides=[1, 1, 1, 1], padding="SAME"
        )
        bias = self.random.normal(size=filters).astype(np.float32) * np.float32(0.1)
        self.then("BiasAdd", f"{name}/bias", self.graph.constant(bias, f"{name}/bias/b"))
        return self.then(activation, f"{name}/act") if activation else self.last

    def depthwise(self, name: str) -> Value:
        channels = int(self.last.static_shape[-1])
        kernel = self.weight(f"{name}/kernel", 3, 3, channels, 1)
        self.then("DepthwiseConv2dNative", name, kernel, strides=[1, 1, 1, 1], padding="SAME")
        return self.then("Relu6", f"{name}/act")

    def dense(self, name: str, units: int) -> Value:
        channels = int(self.last.static_shape[-1])
        return self.then("MatMul", name, self.weight(f"{name}/kernel", channels, units))

    def done(self, *names: str) -> Graph:
        """Outputs by the names of their nodes."""
        by_name = {node.name: node.output for node in self.graph.nodes}
        self.graph.outputs = [Port(name, by_name[name]) for name in names]
        return self.graph


def classifier() -> Graph:
    """Convolution, depthwise, convolution, mean, dense, softmax."""
    net = Net(1, 12, 12, 8)
    net.conv("first", 32)
    net.depthwise("deep")
    net.conv("second", 48, size=1)
    net.then("Mean", "pooled", np.array([1, 2], np.int32))
    net.dense("logits", 40)
    net.then("Softmax", "classes")
    return net.done("classes")


@dataclass(frozen=True)
class Written:
    """An operator of a file with its tensors (None: left out) and, of constants, the stored elements."""

    operator: OperatorRecord
    inputs: Sequence[TensorRecord | None]
    outputs: Sequence[TensorRecord]
    file: SourceFile

    @property
    def name(self) -> str:
        return self.operator.name

    def stored(self, slot: int) -> Array:
        tensor = self.inputs[slot]
        assert tensor is not None and tensor.content is not None
        content = self.file.read(tensor.content.start, tensor.content.length)
        return np.frombuffer(content, tensor.dtype.numpy).reshape([int(size) for size in tensor.shape or ()])

    def real(self, slot: int) -> Array:
        """A constant's numbers by its scales and zero points."""
        tensor = self.inputs[slot]
        assert tensor is not None
        if tensor.quantization is None:
            return self.stored(slot).astype(np.float32)
        shape = [-1 if axis == tensor.quantization.axis else 1 for axis in range(len(tensor.shape or ()))]
        scales = np.asarray(tensor.quantization.scales).reshape(shape)
        return (self.stored(slot).astype(np.float64) - np.asarray(tensor.quantization.zero_points).reshape(shape)) * scales


def walk(path: Path) -> Iterator[Written]:
    """Every operator of a file."""
    file = SourceFile(path)
    model: LiteModel = read_model(file)
    for subgraph in model.subgraphs():
        for operator in subgraph.operators:
            inputs = [subgraph.tensors[number] if number >= 0 else None for number in operator.inputs]
            yield Written(operator, inputs, [subgraph.tensors[number] for number in operator.outputs], file)
