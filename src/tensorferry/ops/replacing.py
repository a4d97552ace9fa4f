"""Rewriting one node into several, for `expand`: new nodes stand before the old one and take its place and name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tensorferry.ir import Graph, Node, Value
from tensorferry.ops import add
from tensorferry.tensor import Array, Tensor


class Replacement:
    """Nodes that will stand for `node`; named after it, with its origin."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph = graph
        self.node = node

    def add(self, op: str, inputs: Sequence[Value], label: str, attrs: Mapping[str, Any] | None = None) -> Value:
        """A node's first output."""
        return self.add_node(op, inputs, label, attrs).outputs[0]

    def add_node(self, op: str, inputs: Sequence[Value], label: str, attrs: Mapping[str, Any] | None = None) -> Node:
        node = self.node
        return add(self.graph, op, inputs, attrs, name=f"{node.name}/{label}", origin=node.origin, before=node)

    def constant(self, value: Array | Tensor, label: str) -> Value:
        return self.graph.constant(value, f"{self.node.name}/{label}", before=self.node, origin=self.node.origin)

    def finish(self, *values: Value) -> bool:
        """Let the readers of each output read these instead, and remove the node. Its name goes on with the first of them."""
        node, name = self.node, self.node.name
        for old, new in zip(node.outputs, values, strict=False):
            self.graph.replace_uses(old, new)
        self.graph.remove(node)
        if values[0].producer.name.startswith(f"{name}/"):
            self.graph.rename(values[0].producer, name)
        return True
