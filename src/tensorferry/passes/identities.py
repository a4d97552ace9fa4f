"""Nodes that compute nothing: identities."""

from __future__ import annotations

import logging

from tensorferry.ir import Graph, Node
from tensorferry.passes.rewriting import bypass, discard, for_each_node

log = logging.getLogger(__name__)

IDENTITIES = frozenset(
    {"Identity", "Snapshot", "StopGradient", "PreventGradient", "CheckNumerics", "DebugIdentity", "Print", "EnsureShape"}
)


def remove_identities(graph: Graph) -> int:
    """Let readers of an identity read its input. One that joins an input to an output stays."""
    return for_each_node(graph, _remove_identity)


def _remove_identity(graph: Graph, node: Node) -> int:
    if node.op in IDENTITIES and len(node.outputs) == 1 and node.inputs:
        return bypass(graph, node, node.inputs[0])
    if node.op == "IdentityN" and len(node.inputs) == len(node.outputs):
        return _pass_through(graph, node)
    return 0


def _pass_through(graph: Graph, node: Node) -> int:
    if any(graph.is_output(value) for value in node.outputs):
        return _split_identity(graph, node)
    for value, output in zip(node.inputs, node.outputs, strict=True):
        graph.replace_uses(output, value)
    discard(graph, node)
    return 1


def _split_identity(graph: Graph, node: Node) -> int:
    """A public output may need a node of its own."""
    for value, output in zip(node.inputs, node.outputs, strict=True):
        if graph.is_output(output):
            twin = graph.add("Identity", [value], typed=[value.typed], name=node.name, origin=node.origin, before=node)
            graph.replace_uses(output, twin.output)
            bypass(graph, twin, value)
        else:
            graph.replace_uses(output, value)
    discard(graph, node)
    return 1
