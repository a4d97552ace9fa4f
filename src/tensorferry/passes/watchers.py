"""Nodes that watch over values: printing, checks for NaN, debuggers. They change nothing; no phone or page has them."""

from __future__ import annotations

from collections import Counter

from tensorferry.ir import Graph, Node
from tensorferry.passes.rewriting import bypass, for_each_node

WATCHERS = frozenset(
    ("Print", "CheckNumerics", "CheckNumericsV2", "DebugIdentity", "DebugIdentityV2", "DebugIdentityV3", "DebugGradientIdentity")
)


def strip_watchers(graph: Graph) -> int:
    """Let readers of a watched value read the value itself. Returns how many nodes went."""
    return for_each_node(graph, _strip)


def _strip(graph: Graph, node: Node) -> int:
    return bypass(graph, node, node.inputs[0]) if node.op in WATCHERS and node.inputs and len(node.outputs) == 1 else 0


def count_watchers(graph: Graph) -> Counter[str]:
    """Op -> how many of them, in nested graphs too."""
    found: Counter[str] = Counter()
    for node in graph.nodes:
        found[node.op] += node.op in WATCHERS
        for _key, nested in node.graphs():
            found += count_watchers(nested)
    return +found
