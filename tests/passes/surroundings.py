"""What pass tests share: building a small graph, and holding a pass to its promises."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Node, Port, Shape, Typed, Value, verify
from tensorferry.passes.rewriting import Pass
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.tensor import Array, DType


class Net:
    """A graph under construction; every value has a name given or the op's."""

    def __init__(self) -> None:
        self.graph = Graph("net")
        self.random = np.random.default_rng(7)

    def input(self, name: str, shape: Shape, dtype: DType = DType.FLOAT32) -> Value:
        node = self.graph.add("Placeholder", (), {"dtype": dtype, "shape": shape}, typed=[Typed(dtype, shape)], name=name)
        self.graph.inputs.append(Port(name, node.output))
        return node.output

    def const(self, value: Any, name: str = "constant") -> Value:
        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        if array.dtype == np.int64:
            array = array.astype(np.int32)
        return self.graph.constant(array, name)

    def weights(self, *shape: int, name: str = "weights") -> Value:
        return self.const(self.random.standard_normal(shape), name)

    def op(self, op: str, *inputs: Value | float | list[int], name: str | None = None, **attrs: Any) -> Value:
        return self.node(op, *inputs, name=name, **attrs).outputs[0]

    def node(self, op: str, *inputs: Value | float | list[int], name: str | None = None, **attrs: Any) -> Node:
        values = [each if isinstance(each, Value) else self.const(each) for each in inputs]
        return ops.add(self.graph, op, values, attrs, name=name)

    def conv(self, value: Value, channels: int, size: int = 3, **attrs: Any) -> Value:
        layout = attrs.get("data_format", "NHWC")
        incoming = value.shape[1 if layout == "NCHW" else 3]
        filled = {"strides": [1, 1, 1, 1], "padding": "SAME", **attrs}
        name = filled.pop("name", "conv")
        return self.op("Conv2D", value, self.weights(size, size, incoming, channels), name=name, **filled)

    def norm(self, value: Value, name: str = "norm", **attrs: Any) -> Value:
        channels = value.shape[1 if attrs.get("data_format") == "NCHW" else -1]
        vectors = [self.random.standard_normal(channels) for _ in range(3)]
        variance = np.square(self.random.standard_normal(channels)) + 0.1
        constants = [self.const(each, "parameter") for each in (*vectors, variance)]
        return self.op("FusedBatchNormV3", value, *constants, name=name, is_training=False, epsilon=1e-3, **attrs)

    def output(self, value: Value, name: str | None = None) -> None:
        self.graph.outputs.append(Port(name or value.name, value))


def op_names(graph: Graph) -> list[str]:
    """The ops in order, constants and inputs left out."""
    return [node.op for node in graph.nodes if node.op not in ("Const", "Placeholder")]


def feeds(graph: Graph, seed: int = 3, unknown: int = 2) -> dict[str, Array]:
    """Random values for the inputs; unknown sizes become `unknown`."""
    random = np.random.default_rng(seed)
    made = {}
    for port in graph.inputs:
        shape = [unknown if isinstance(dim, str) else dim for dim in port.value.shape or ()]
        made[port.name] = np.asarray(random.standard_normal(shape) * 3).astype(port.value.dtype.numpy)
    return made


def relative_error(one: dict[str, Array], other: dict[str, Array]) -> float:
    """The largest difference over all outputs, relative to the largest element of the output."""
    assert list(one) == list(other), "public names or their order changed"
    worst = 0.0
    for name, expected in one.items():
        assert expected.shape == other[name].shape, name
        if expected.size:
            scale = max(float(np.max(np.abs(expected.astype(np.float64)))), 1e-30)
            difference = np.abs(expected.astype(np.float64) - other[name].astype(np.float64))
            assert not np.any(np.isnan(difference)), name
            worst = max(worst, float(np.max(difference)) / scale)
    return worst


def held(graph: Graph, *passes: Pass, changes: int | None = None, tolerance: float = 0.0) -> list[str]:
    """Run the passes; the numbers stay within the tolerance, the graph is whole, a second run changes nothing.

    Returns the ops that are left.
    """
    verify(graph, ops.infer)
    given = feeds(graph)
    before = evaluate_graph(graph, given)
    names = [port.name for port in graph.inputs + graph.outputs]
    made = sum(each(graph) for each in passes)
    verify(graph, ops.infer)
    assert [port.name for port in graph.inputs + graph.outputs] == names
    assert relative_error(before, evaluate_graph(graph, given)) <= tolerance
    assert changes is None or made == changes, f"{made} changes"
    text = op_names(graph)
    assert sum(each(graph) for each in passes) == 0, "a second run changes something"
    assert op_names(graph) == text
    return text


def left_alone(graph: Graph, each: Pass, caplog: Any, reason: str = "") -> None:
    """The pass changes nothing, and says why where a reason is expected."""
    with caplog.at_level(logging.DEBUG, logger="tensorferry.passes"):
        nodes = op_names(graph)
        assert each(graph) == 0
        assert op_names(graph) == nodes
    assert reason in caplog.text
