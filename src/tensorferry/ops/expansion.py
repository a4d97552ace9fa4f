"""Writing an op as simpler ones, in place."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Node, Value
from tensorferry.tensor import Array, Tensor


class Expansion:
    """The nodes that are to stand for `node`, each made just before it, named after it, with its origin."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph = graph
        self.node = node

    def make(self, op: str, *inputs: Value | Array | np.generic | float, **attrs: Any) -> Value:
        """Add a node and return its (first) output. A plain number becomes a scalar constant of the node's first input's type."""
        return self.make_node(op, *inputs, **attrs).outputs[0]

    def make_node(self, op: str, *inputs: Value | Array | np.generic | float, **attrs: Any) -> Node:
        """Add a node."""
        values = [each if isinstance(each, Value) else self._number(each) for each in inputs]
        name = f"{self.node.name}/{op}"
        return ops.add(self.graph, op, values, attrs, name=name, origin=self.node.origin, before=self.node)

    def constant(self, value: Array | Tensor, label: str = "constant") -> Value:
        """Add a constant."""
        return self.graph.constant(value, f"{self.node.name}/{label}", before=self.node, origin=self.node.origin)

    def finish(self, result: Value, *others: Value) -> bool:
        """Let `result` take the place, name and fused activation of the node, `others` that of its further outputs; always True."""
        activation = self.node.get("activation")
        if activation:
            alpha = {"alpha": self.node["activation_alpha"]} if "activation_alpha" in self.node.attrs else {}
            result = self.make(activation, result, **alpha)
        name = self.node.name
        for old, new in zip(self.node.outputs, (result, *others), strict=False):
            self.graph.replace_uses(old, new)
        self.graph.remove(self.node)
        self.graph.rename(result.producer, name)
        return True

    def _number(self, number: Array | np.generic | float) -> Value:
        if not isinstance(number, np.ndarray | np.generic):
            number = np.asarray(number, dtype=self.node.inputs[0].dtype.numpy)
        return self.constant(np.asarray(number))
