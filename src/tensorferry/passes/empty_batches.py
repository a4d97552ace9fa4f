"""Windows over batches that may turn out empty, of which XNNPACK makes sizes of whatever is in memory, so that LiteRT breaks off.

A batch whose size is no input's is one that the model itself has made: the crops of what was detected, which may be nothing. It
gets one image of zeros more before the first window, and loses it behind the last.
"""

from __future__ import annotations

import numpy as np

from tensorferry import ops
from tensorferry.ir import UNKNOWN_DIM, Graph, Node, Value
from tensorferry.ops.expansion import Expansion

WINDOWS = frozenset({"Conv2D", "DepthwiseConv2dNative", "MaxPool", "AvgPool"})
FILLED = "_filled"
"""Attribute of a node whose batch has the image more."""


FINDERS = frozenset({"Where", "DynamicPartition", "ListDiff", "Unique", "UniqueV2", "UniqueWithCountsV2", "While"})
"""Ops of which nobody knows how much they find, beside those that suppress."""


def fill_empty_batches(graph: Graph) -> int:
    """Convolutions and pooling of as many images as the model finds get one image more, for when it finds none."""
    return _fill(graph, frozenset())


def _fill(graph: Graph, given: frozenset[Value]) -> int:
    """`given` are inputs of the graph that hold what was found outside of it."""
    found, changes = set(given), 0
    wider: dict[Value, Value] = {}
    for node in tuple(graph.nodes):
        if node.op in FINDERS or node.op.startswith("NonMaxSuppression") or not found.isdisjoint(node.inputs):
            found.update(node.outputs)
        for _key, nested in node.graphs():
            changes += _fill(nested, frozenset(port.value for port in nested.inputs))
        inputs = _wider_inputs(graph, node, wider) if not found.isdisjoint(node.inputs) else None
        if inputs is not None:
            found.add(_widen(graph, node, inputs, wider))
            changes += 1
    return changes


def _wider_inputs(graph: Graph, node: Node, wider: dict[Value, Value]) -> list[Value] | None:
    """What the node is to read instead; None where it stays as it is."""
    if node.op in WINDOWS and FILLED not in node.attrs and node.inputs[0].rank == 4:
        value, *others = node.inputs
        if value in wider:
            return [wider[value], *others]
        return [_padded(graph, node, value), *others] if (value.shape or ())[0] == UNKNOWN_DIM else None
    spec = ops.find(node.op)
    by_element = spec is not None and (spec.elementwise or node.op == "Select")  # of a condition for each element
    if not by_element or not any(value in wider for value in node.inputs):
        return None
    rank = node.output.rank
    fits = all((value in wider and value.rank == rank) or _serves_all(value, rank) for value in node.inputs)
    return [wider.get(value, value) for value in node.inputs] if fits else None


def _serves_all(value: Value, rank: int | None) -> bool:
    """Whether the value is the same for every image of a batch."""
    return rank is not None and value.shape is not None and (len(value.shape) < rank or value.shape[0] == 1)


def _padded(graph: Graph, node: Node, value: Value) -> Value:
    pads = np.zeros((4, 2), np.int32)
    pads[0, 1] = 1
    return Expansion(graph, node).make("Pad", value, pads)


def _widen(graph: Graph, node: Node, inputs: list[Value], wider: dict[Value, Value]) -> Value:
    """The node over one image more, and its result without that under the node's name."""
    parts, name, rank = Expansion(graph, node), node.name, node.output.rank or 4
    made = parts.make(node.op, *inputs, **{**node.attrs, FILLED: True})
    ends, every = np.zeros(rank, np.int32), (1 << rank) - 1
    ends[0] = -1
    cut = parts.make(
        "StridedSlice", made, np.zeros(rank, np.int32), ends, np.ones(rank, np.int32), begin_mask=every, end_mask=every - 1
    )
    graph.replace_uses(node.output, cut)
    graph.remove(node)
    graph.rename(cut.producer, name)
    wider[cut] = made
    return cut
