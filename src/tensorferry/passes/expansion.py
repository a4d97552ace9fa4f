"""Ops that a target lacks, rewritten into ops it has."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from tensorferry import ops
from tensorferry.ir import Graph, Node
from tensorferry.ops.spec import Declined, OpSpec
from tensorferry.passes.rewriting import Pass, decline, for_each_node
from tensorferry.tensor import DType

log = logging.getLogger(__name__)


def expand_for_target(target: str) -> Pass:
    """The pass that expands each node the target cannot express as it is and whose op knows a simpler form."""

    def expand(graph: Graph) -> int:
        return for_each_node(graph, lambda inner, node: _expand(inner, node, target))

    return expand


def _expand(graph: Graph, node: Node, target: str) -> int:
    spec = ops.find(node.op)
    if spec is None or spec.expand is None:
        return 0
    if any(value.dtype is DType.UNKNOWN for value in node.inputs):
        return decline(log, node, "the type of an input is not known")
    why = _refusal(spec, node, target)
    if why is None:
        return 0
    if not spec.expand(graph, node):
        return decline(log, node, f"{target} has no form of it ({why}) and it cannot be written in simpler ops")
    return 1


def _refusal(spec: OpSpec, node: Node, target: str) -> str | None:
    """Why the target cannot express the node; None if it can."""
    lowering: Callable[[Node], Sequence[Any]] | None = spec.to_tflite if target == "tflite" else spec.to_tfjs
    if lowering is None:
        return "no such operator"
    try:
        lowering(node)
    except Declined as refusal:
        return refusal.why
    return None
