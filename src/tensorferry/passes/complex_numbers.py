"""Complex numbers are carried as pairs of real tensors: what each op does with them is written in real arithmetic."""

from __future__ import annotations

import logging

from tensorferry.ir import Graph, Node
from tensorferry.ops.complex_parts import COMPLEX, Parts
from tensorferry.ops.complex_rules import RULES
from tensorferry.passes.rewriting import bypass, decline, for_each_node
from tensorferry.tensor import DType

log = logging.getLogger(__name__)


def split_complex(graph: Graph) -> int:
    """Ops on complex numbers become ops on their parts; Real and Imag of what Complex joined are what it joined."""
    return for_each_node(graph, _split)


def _split(graph: Graph, node: Node) -> int:
    if node.op in ("Real", "Imag"):
        return _take_part(graph, node)
    rule = RULES.get(node.op)
    if rule is None or not any(value.dtype in COMPLEX for value in (*node.inputs, *node.outputs)):
        return 0
    if any(value.dtype is DType.UNKNOWN for value in node.inputs):
        return decline(log, node, "the type of an input is not known")
    return int(rule(Parts(graph, node), node)) or decline(log, node, "its parts cannot be computed by themselves")


def _take_part(graph: Graph, node: Node) -> int:
    maker = node.inputs[0].producer
    if maker.op != "Complex" or maker.inputs[0].shape != maker.inputs[1].shape:
        return 0
    return bypass(graph, node, maker.inputs[0 if node.op == "Real" else 1])
