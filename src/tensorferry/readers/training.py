"""What makes a graph one for training: variables that an optimiser changes, the layers that use them, the labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tensorferry.ir import Graph, Node, Value
from tensorferry.readers.feeding import FEEDS

STEPS = ("Apply", "ResourceApply", "SparseApply", "ResourceSparseApply")
"""How the names of ops begin that are steps of an optimiser."""

_BACKWARD = frozenset(
    {"BroadcastGradientArgs", "Conv2DBackpropFilter", "Conv3DBackpropFilterV2", "DepthwiseConv2dNativeBackpropFilter"}
)
"""Ops of a backward pass that are not named so (as ReluGrad is); what follows from them is for training too."""

_HANDING_ON = frozenset({"Identity", "RefIdentity", "Enter", "RefEnter", "Switch", "RefSwitch", "Reshape", "Cast"})
_READING = _HANDING_ON | {"ReadVariableOp"}
_ASIDE = (*STEPS, "Assign", "Save", "Restore", "ScalarSummary", "HistogramSummary", "MergeSummary")


@dataclass(slots=True)
class Training:
    """`layers` compute with trained variables and what is fed; `labelled` is all that labels flow into."""

    variables: set[Node] = field(default_factory=set)
    layers: list[Node] = field(default_factory=list)
    labels: list[Value] = field(default_factory=list)
    labelled: set[Node] = field(default_factory=set)


def is_step(node: Node) -> bool:
    """A step of an optimiser."""
    return node.op.startswith(STEPS)


def is_backward(node: Node) -> bool:
    """One of the ops that only a backward pass has."""
    return node.op in _BACKWARD or node.op.endswith(("Grad", "GradV2", "GradV3"))


def assigns(node: Node) -> bool:
    """Whether a graph inside the node assigns a variable."""
    inner = (each for _key, nested in node.graphs() for each in nested.nodes)
    return any(each.op.startswith("Assign") or assigns(each) for each in inner)


def root_variable(value: Value) -> Node:
    """The variable behind what reads it or hands on where it is."""
    seen = 0
    while value.producer.op in _READING and value.producer.inputs and seen < 64:
        value, seen = value.producer.inputs[0], seen + 1
    return value.producer


def find_training(graph: Graph) -> Training | None:
    """None where no optimiser is in the graph."""
    steps = [node for node in graph.nodes if is_step(node) and node.inputs]
    if not steps:
        return None
    found = Training({root_variable(node.inputs[0]) for node in steps})
    backward = reached(value for node in graph.nodes if is_backward(node) for value in node.outputs)
    sources = [value for node in graph.nodes if _is_source(node) for value in node.outputs if value.users]
    fed: dict[Value, int] = {value: 1 << place for place, value in enumerate(sources)}
    weights = {value for node in found.variables for value in node.outputs}
    features = 0
    for node in graph.nodes:
        if not node.inputs or node.op.startswith(_ASIDE) or node in backward:
            continue
        mask = 0
        for value in node.inputs:
            mask |= fed.get(value, 0)
        weighted = any(value in weights for value in node.inputs)
        if weighted and all(value in weights or value.constant is not None for value in node.inputs):
            weights.update(node.outputs)
        for value in node.outputs:
            fed[value] = mask | fed.get(value, 0)
        if weighted and mask and any(value.shape != () for value in node.outputs):
            features |= mask
            found.layers.append(node)
    found.labels = [value for value in sources if not fed[value] & features and _meets(value, fed, features)]
    found.labelled = reached(found.labels)
    found.layers = [node for node in found.layers if node not in found.labelled]
    return found


def _is_source(node: Node) -> bool:
    return node.op.startswith("Placeholder") or node.op in FEEDS


def _meets(value: Value, fed: dict[Value, int], features: int) -> bool:
    """Whether a source flows together with what layers made of others."""
    return any(fed.get(output, 0) & features for node in reached([value]) for output in node.outputs)


def reached(values: Iterable[Value]) -> set[Node]:
    """All nodes that these values flow into."""
    waiting = list(values)
    seen: set[Node] = set()
    while waiting:
        for node in waiting.pop().users:
            if node not in seen:
                seen.add(node)
                waiting.extend(node.outputs)
    return seen
