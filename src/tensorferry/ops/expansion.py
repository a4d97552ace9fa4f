"""Writing an op as simpler ones, in place."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Node, Value
from tensorferry.tensor import Array


class Expansion:
    """The nodes that are to stand for `node`, each made just before it, named after it, with its origin."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph = graph
        self.node = node

    def make(self, op: str, *inputs: Value | Array | np.generic | float, **attrs: Any) -> Value:
        """Add a node and return its output. A plain number becomes a scalar constant of the node's first input's type."""
        values = [each if isinstance(each, Value) else self._constant(each) for each in inputs]
        name = f"{self.node.name}/{op}"
        return ops.add(self.graph, op, values, attrs, name=name, origin=self.node.origin, before=self.node).output

    def finish(self, result: Value) -> bool:
        """Let `result` take the place, name and fused activation of the node; always True."""
        activation = self.node.get("activation")
        if activation:
            alpha = {"alpha": self.node["activation_alpha"]} if "activation_alpha" in self.node.attrs else {}
            result = self.make(activation, result, **alpha)
        name = self.node.name
        self.graph.replace_uses(self.node.output, result)
        self.graph.remove(self.node)
        self.graph.rename(result.producer, name)
        return True

    def _constant(self, number: Array | np.generic | float) -> Value:
        if not isinstance(number, np.ndarray | np.generic):
            number = np.asarray(number, dtype=self.node.inputs[0].dtype.numpy)
        return self.graph.constant(np.asarray(number), f"{self.node.name}/constant", before=self.node, origin=self.node.origin)
