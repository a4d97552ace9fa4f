"""Nodes that no output needs."""

from __future__ import annotations

from tensorferry.ir import Graph, Node
from tensorferry.ops.capturing import drop_unneeded


def remove_dead_nodes(graph: Graph) -> int:
    """Keep what an output needs, and the graph's inputs, read or not."""
    alive: set[Node] = {port.value.producer for port in graph.inputs}
    pending = [port.value.producer for port in graph.outputs]
    while pending:
        node = pending.pop()
        if node not in alive:
            alive.add(node)
            pending += [value.producer for value in node.inputs]
    nested = sum(remove_dead_nodes(inner) for node in alive for _key, inner in node.graphs())
    return nested + graph.keep_nodes(alive.__contains__)


def remove_unneeded_captures(graph: Graph) -> int:
    """Values that no branch or loop needs are not handed to it, nor carried round."""
    return drop_unneeded(graph)
