"""Activations: recognised where they are written as clips, and fused into the operator before."""

from __future__ import annotations

import logging

from tensorferry import ops
from tensorferry.ir import Graph, Node, Value
from tensorferry.passes.rewriting import Pass, for_each_node, made_by, number, substitute, take_over

log = logging.getLogger(__name__)


def recognise_clips(graph: Graph) -> int:
    """max(x, 0) is Relu; min(relu(x), 6), relu(min(x, 6)) and clip(x, 0, 6) are Relu6."""
    return for_each_node(graph, _recognise_clip)


def _recognise_clip(graph: Graph, node: Node) -> int:
    if not node.outputs or not node.outputs[0].dtype.is_float or node.get("activation"):
        return 0
    clip = _clip_of(graph, node, low=0.0, high=6.0)
    if clip is not None:
        source, absorbed = clip
        substitute(graph, node, "Relu6", [source], absorbed=absorbed)
        return 1
    if node.op == "Maximum":
        for value, bound in (node.inputs, node.inputs[::-1]):
            if number(bound) == 0 and value.constant is None and value.shape == node.output.shape:
                substitute(graph, node, "Relu", [value])
                return 1
    return 0


def recognise_symmetric_clips(graph: Graph) -> int:
    """clip(x, -1, 1) is ReluN1To1, which TFLite alone has."""
    return for_each_node(graph, _recognise_symmetric_clip)


def _recognise_symmetric_clip(graph: Graph, node: Node) -> int:
    if not node.outputs or not node.outputs[0].dtype.is_float or node.get("activation"):
        return 0
    clip = _clip_of(graph, node, low=-1.0, high=1.0)
    if clip is None:
        return 0
    source, absorbed = clip
    substitute(graph, node, "ReluN1To1", [source], absorbed=absorbed)
    return 1


def _clip_of(graph: Graph, node: Node, *, low: float, high: float) -> tuple[Value, list[Node]] | None:
    """(x, the nodes in between) if the node is clip(x, low, high) in one of its forms and nobody else reads what lies between."""
    if node.op == "ClipByValue":
        fits = number(node.inputs[1]) == low and number(node.inputs[2]) == high
        return (node.inputs[0], []) if fits else None
    outer = _bound(node)
    if outer is None:
        return None
    inner_node = outer[0].producer
    if graph.only_reader(outer[0]) is not node or inner_node.get("activation"):
        return None
    inner = _bound(inner_node)
    if inner is None or {outer[1:], inner[1:]} != {("low", low), ("high", high)} or inner[0].shape != node.output.shape:
        return None
    return inner[0], [inner_node]


def _bound(node: Node) -> tuple[Value, str, float] | None:
    """(x, which bound, its value) of a Minimum or Maximum with a constant, or a Relu."""
    if node.op == "Relu":
        return node.inputs[0], "low", 0.0
    if node.op not in ("Minimum", "Maximum"):
        return None
    for value, bound in (node.inputs, node.inputs[::-1]):
        limit = number(bound)
        if limit is not None and value.constant is None:
            return value, "low" if node.op == "Maximum" else "high", limit
    return None


def fuse_activation(target: str) -> Pass:
    """The pass that lets an operator of the target apply the activation which alone reads its result."""

    def fuse_activations(graph: Graph) -> int:
        """The activation that alone reads an operator's result is applied by the operator, where the target can."""
        return for_each_node(graph, lambda inner, node: _fuse(inner, node, target))

    return fuse_activations


def _fuse(graph: Graph, node: Node, target: str) -> int:
    if len(node.inputs) != 1 or len(node.outputs) != 1 or node.get("activation"):
        return 0
    value = node.inputs[0]
    producer = made_by(value, value.producer.op)
    spec = ops.find(value.producer.op)
    if producer is None or spec is None or node.op not in spec.fuses.get(target, ()) or len(producer.outputs) != 1:
        return 0
    if graph.only_reader(value) is not node:
        log.debug("%s is not fused into %s: somebody else reads %s", node.name, producer.name, value.name)
        return 0
    if value.quantization is not None:
        log.debug("%s is not fused into %s: its input is quantised", node.name, producer.name)
        return 0
    producer.attrs["activation"] = node.op
    if "alpha" in node.attrs:
        producer.attrs["activation_alpha"] = node["alpha"]
    take_over(graph, producer, node)
    return 1
