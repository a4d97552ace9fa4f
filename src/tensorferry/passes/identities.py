"""Nodes that compute nothing when a model is used: identities, and dropout as TensorFlow 1 wrote it out."""

from __future__ import annotations

import logging

from tensorferry.ir import Graph, Node, Value
from tensorferry.passes.rewriting import bypass, decline, discard, for_each_node, made_by, number

log = logging.getLogger(__name__)

IDENTITIES = frozenset(
    {"Identity", "Snapshot", "StopGradient", "PreventGradient", "CheckNumerics", "DebugIdentity", "Print", "EnsureShape"}
)
RANDOM = frozenset({"RandomUniform", "StatelessRandomUniform", "StatelessRandomUniformV2"})
MASK_DEPTH = 8
"""How far above a dropout mask the random number may stand: cast, compare, scale and shift lie between."""


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


def remove_dropout(graph: Graph) -> int:
    """`x / keep * floor(keep + random)`, `x * scale * cast(random >= rate)` and `select(random >= rate, x * scale, 0)` become x."""
    return for_each_node(graph, _remove_dropout)


def _remove_dropout(graph: Graph, node: Node) -> int:
    if node.op == "Mul":
        candidates = [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])]
    elif node.op == "SelectV2" and number(node.inputs[2]) == 0:
        candidates = [(node.inputs[1], node.inputs[0])]
    else:
        return 0
    for scaled, mask in candidates:
        if mask.producer.op in ("Floor", "Cast", "GreaterEqual", "Greater", "Less", "LessEqual") and _is_random(mask):
            return _drop(graph, node, scaled)
    return 0


def _drop(graph: Graph, node: Node, scaled: Value) -> int:
    source = _unscaled(scaled)
    if source is None:
        return decline(log, node, "it looks like dropout, but its input is not scaled by a constant")
    graph.notices.append(f"dropout '{node.name}' was in the graph in its training form and has been left out")
    return bypass(graph, node, source)


def _unscaled(value: Value) -> Value | None:
    """x of `x / keep` or `x * scale`."""
    node = made_by(value, "RealDiv", "Mul")
    if node is None:
        return None
    if number(node.inputs[1]) is not None:
        return node.inputs[0]
    return node.inputs[1] if node.op == "Mul" and number(node.inputs[0]) is not None else None


def _is_random(value: Value, depth: int = MASK_DEPTH) -> bool:
    """Whether the value comes from nothing but constants and a uniform random number."""
    node = value.producer
    if node.op in RANDOM:
        return True
    if depth == 0 or node.op not in (
        "Floor",
        "Cast",
        "GreaterEqual",
        "Greater",
        "Less",
        "LessEqual",
        "AddV2",
        "Mul",
        "Sub",
        "RealDiv",
    ):
        return False
    variable = [each for each in node.inputs if each.constant is None]
    return len(variable) == 1 and _is_random(variable[0], depth - 1)
