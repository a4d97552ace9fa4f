"""LSTMs over a batch of open size, for TensorFlow Lite, whose operator keeps its states in tensors of the file.

LiteRT lays these out before it computes anything, and does not look at their size again: where an operator whose result is sized by
computing (`ops.load_time`) may run before, the states are written past their end. So a state that is filled by a computed size is
made of a row of the sequence instead, and where another operator of that kind may run before, the layer is written out in steps.
"""

from __future__ import annotations

import logging

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Node, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.load_time import sized_by_shapes
from tensorferry.ops.lstm import OUTRUN_BY, STATES, has_open_states
from tensorferry.passes.dead_nodes import remove_dead_nodes
from tensorferry.passes.rewriting import decline, live_nodes, made_by
from tensorferry.tensor import Array

log = logging.getLogger(__name__)


def settle_open_states(graph: Graph) -> int:
    """Each LSTM whose batch is open is sized by its sequence alone, or written out in steps."""
    changes = sum(settle_open_states(nested) for node in graph.nodes for _key, nested in node.graphs())
    layers = [node for node in graph.nodes if node.op == "Lstm" and has_open_states(node)]
    taken = sum(_take_states_from_rows(graph, node) for node in layers)
    if taken:
        remove_dead_nodes(graph)
    return changes + taken + sum(_step_through(graph, node) for node in layers)


def _step_through(graph: Graph, node: Node) -> int:
    other = _may_run_before(graph, node)
    if other is None or OUTRUN_BY in node.attrs:
        return 0
    decline(log, node, f"'{other.name}' ({other.op}) is sized by computing and may run before it")
    spec = ops.find(node.op)
    if spec is None or spec.expand is None or not spec.expand(graph, node):
        node.attrs[OUTRUN_BY] = f"'{other.name}' ({other.op})"
    return 1


def _may_run_before(graph: Graph, layer: Node) -> Node | None:
    """An op that is sized by computing and does not wait for the layer: a delegate may put it first, whatever the file's order."""
    behind: set[Node] = {layer}
    for node in live_nodes(graph):
        if any(value.producer in behind for value in node.inputs):
            behind.add(node)
        elif node is not layer and not sized_by_shapes(node):
            return node
    return None


# -- first states --------------------------------------------------------------------------------------------------


def _take_states_from_rows(graph: Graph, node: Node) -> int:
    """A first state that is one number everywhere is sized by the sequence."""
    filled = {place: row for place in STATES if (row := _row_of_one_number(node.inputs[place])) is not None}
    if not filled:
        return 0
    expansion = Expansion(graph, node)
    zeros = _zeros(expansion, node)
    for place, row in filled.items():
        node.set_input(place, expansion.make("AddV2", zeros, row))
    return len(filled)


def _row_of_one_number(value: Value) -> Array | None:
    """[1, units] of what a Fill of a constant fills with; None for anything else, or where the width is not known."""
    fill = made_by(value, "Fill")
    units = value.shape[-1] if value.shape else None
    if fill is None or fill.inputs[1].constant is None or not isinstance(units, int):
        return None
    return np.full((1, units), fill.inputs[1].constant.array())


def _zeros(expansion: Expansion, node: Node) -> Value:
    """[batch, 1]: whether the first number of each sequence is less than itself, which not even NaN is."""
    batch, time = (1, 0) if node["time_major"] else (0, 1)
    begin, one = np.zeros(3, np.int32), np.ones(3, np.int32)
    masks = {"begin_mask": 7, "end_mask": 1 << batch, "shrink_axis_mask": 1 << time}
    row = expansion.make("StridedSlice", node.inputs[0], begin, one, one, **masks)
    return expansion.make("Cast", expansion.make("Less", row, row), DstT=node.inputs[STATES[0]].dtype)
