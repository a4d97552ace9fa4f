"""Nodes that round to the steps of whole numbers, as training for quantisation puts them everywhere."""

from __future__ import annotations

from tensorferry.ir import Graph, Node
from tensorferry.passes.rewriting import bypass, for_each_node

ROUNDING = frozenset(
    (
        *("FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel"),
        *("QuantizeAndDequantize", "QuantizeAndDequantizeV2", "QuantizeAndDequantizeV3", "QuantizeAndDequantizeV4"),
    )
)


def drop_rounding(graph: Graph) -> int:
    """Let readers of a rounded value read the value itself. Returns how many nodes went."""
    return for_each_node(graph, _drop)


def _drop(graph: Graph, node: Node) -> int:
    return bypass(graph, node, node.inputs[0]) if node.op in ROUNDING and node.inputs and len(node.outputs) == 1 else 0
