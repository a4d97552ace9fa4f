"""Loops that step a long short-term memory through a sequence become one Lstm."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Node, Value
from tensorferry.passes.rewriting import decline, discard, for_each_node, integers, live_nodes, made_by, number
from tensorferry.passes.shapes import refine_types
from tensorferry.passes.unrolling import Scalars, rounds_of
from tensorferry.tensor import Array

log = logging.getLogger(__name__)

GATES = "ifco"


class _Loop:
    """A While, seen from the body's side."""

    def __init__(self, node: Node, rounds: list[Scalars]) -> None:
        self.node = node
        self.rounds = rounds
        self.body: Graph = node["body"]
        self.places = {port.value: place for place, port in enumerate(self.body.inputs)}
        self.results = {port.value: place for place, port in enumerate(self.body.outputs)}

    @property
    def steps(self) -> int:
        return len(self.rounds) - 1

    def keeps(self, place: int) -> bool:
        """The variable never changes."""
        return self.body.outputs[place].value is self.body.inputs[place].value

    def outside(self, value: Value) -> Value | None:
        """What a value that never changes is outside the loop."""
        if value.constant is not None:
            return value
        place = self.places.get(value)
        return self.node.inputs[place] if place is not None and self.keeps(place) else None

    def array(self, value: Value) -> Array | None:
        """The elements of a constant, inside or handed in."""
        found = self.outside(value)
        return None if found is None or found.constant is None else found.constant.array()

    def counts_up(self, value: Value) -> bool:
        """The value is 0 in the first round, 1 in the next, and so on."""
        place = self.places.get(value)
        return place is not None and all(
            place in known and int(known[place]) == number for number, known in enumerate(self.rounds[:-1])
        )

    def sequence(self, value: Value) -> Value | None:
        """The tensor of which the value is the item of the round."""
        item = made_by(value, "TensorListGetItem")
        handed = self.outside(item.inputs[0]) if item is not None and self.counts_up(item.inputs[1]) else None
        maker = made_by(handed, "TensorListFromTensor") if handed is not None else None
        tensor = maker.inputs[0] if maker is not None else None
        return tensor if tensor is not None and tensor.rank == 3 and tensor.shape and tensor.shape[0] == self.steps else None


@dataclass(slots=True)
class _Cell:
    """What a body's step is made of: places of state and cell, the sequence, weights with gates in the order i, f, c, o."""

    state: int
    cell: int
    sequence: Value
    kernel: Array
    recurrent: Array
    bias: Array


def recognise_lstm_loops(graph: Graph) -> int:
    """A While whose body is one step of an LSTM over a list of known length is an Lstm."""
    count = sum(_recognise(graph, node) for node in live_nodes(graph) if node.op == "While")
    if count:
        refine_types(graph)
    return count


def _recognise(graph: Graph, node: Node) -> int:
    body = node["body"]
    if sum(inner.op == "Tanh" for inner in body.nodes) != 2 or sum(inner.op == "Sigmoid" for inner in body.nodes) != 3:
        return 0
    rounds = rounds_of(node)
    if rounds is None or len(rounds) < 2:
        return decline(log, node, "it looks like an LSTM, but how often it goes round is not known")
    loop = _Loop(node, rounds)
    cell = next((found for port in body.outputs if (found := _match(loop, port.value)) is not None), None)
    if cell is None:
        return decline(log, node, "it has an LSTM's curves, but is written otherwise")
    uses = _list_uses(graph, loop, cell)
    if uses is None:
        return decline(log, node, "it is an LSTM of which more is read than states and the last cell")
    _write(graph, loop, cell, uses)
    return 1


# -- the step ------------------------------------------------------------------------------------------------------


def _factors(value: Value, *ops_wanted: str) -> list[Node | Value] | None:
    """The operands of a product, each wanted op once and in this order; what no op is wanted for comes last, as a value."""
    product = made_by(value, "Mul")
    if product is None:
        return None
    rest = list(product.inputs)
    found: list[Node | Value] = []
    for op in ops_wanted:
        index = next((place for place, each in enumerate(rest) if made_by(each, op)), None)
        if index is None:
            return None
        found.append(rest.pop(index).producer)
    return [*found, *rest]


def _match(loop: _Loop, value: Value) -> _Cell | None:
    """The cell whose next state the value is."""
    outer = _factors(value, "Sigmoid", "Tanh")
    if outer is None or not isinstance(outer[0], Node) or not isinstance(outer[1], Node):
        return None
    memory = outer[1].inputs[0]
    total = made_by(memory, "AddV2")
    if total is None or memory not in loop.results or value not in loop.results:
        return None
    state, place = loop.results[value], loop.results[memory]
    before = loop.body.inputs[place].value
    for kept_value, added_value in (total.inputs, total.inputs[::-1]):
        kept, added = _factors(kept_value, "Sigmoid"), _factors(added_value, "Sigmoid", "Tanh")
        if kept is None or added is None or kept[1] is not before:
            continue
        nodes = [added[0], kept[0], added[1], outer[0]]
        weights = _weights(loop, [each.inputs[0] for each in nodes if isinstance(each, Node)], state)
        if weights is not None:
            return _Cell(state, place, *weights)
    return None


def _weights(loop: _Loop, gates: list[Value], state: int) -> tuple[Value, Array, Array, Array] | None:
    """(sequence, kernel, recurrent kernel, bias) behind the gates i, f, c, o before their curves."""
    parts, shifts = [], []
    for gate in gates:
        part, node, shift = gate, made_by(gate, "AddV2"), 0.0
        if node is not None:
            amounts = [number(each) for each in node.inputs]
            index = next((place for place, amount in enumerate(amounts) if amount is not None), None)
            if index is None:
                return None
            part, shift = node.inputs[1 - index], amounts[index] or 0.0
        parts.append(part)
        shifts.append(shift)
    split = made_by(parts[0], "Split")
    if split is None or any(part.producer is not split for part in parts) or len(split.outputs) != 4:
        return None
    if integers(split.inputs[0]) not in ([1], [-1]) or len({part.index for part in parts}) != 4:
        return None
    found = _sum_of_products(loop, split.inputs[1], state)
    if found is None:
        return None
    sequence, *arrays = found
    kernel, recurrent, bias = (np.concatenate([np.split(each, 4, -1)[part.index] for part in parts], -1) for each in arrays)
    return sequence, kernel, recurrent, bias + np.repeat(np.asarray(shifts, bias.dtype), bias.size // 4)


def _sum_of_products(loop: _Loop, value: Value, state: int) -> tuple[Value, Array, Array, Array] | None:
    """x K + h R + b, in any order, also with x and h joined."""
    terms, waiting = [], [value]
    while waiting:
        term = _one_row(waiting.pop())
        node = made_by(term, "AddV2", "BiasAdd")
        if node is None:
            terms.append(term)
        else:
            waiting += node.inputs
    sequence, kernel, recurrent = None, None, None
    bias: Array | None = None
    for term in terms:
        product = made_by(term, "MatMul")
        if product is None:
            array = loop.array(term)
            if array is None or array.ndim != 1:
                return None
            bias = array if bias is None else bias + array
            continue
        weights = loop.array(product.inputs[1])
        if weights is None or product.get("transpose_a") or product.get("transpose_b") or len(product.inputs) != 2:
            return None
        for operand, rows in _operands(product.inputs[0], weights):
            if operand is loop.body.inputs[state].value and recurrent is None:
                recurrent = rows
            elif kernel is None and (sequence := loop.sequence(operand)) is not None:
                kernel = rows
            else:
                return None
    if sequence is None or kernel is None or recurrent is None:
        return None
    return sequence, kernel, recurrent, np.zeros(kernel.shape[-1], kernel.dtype) if bias is None else bias


def _one_row(value: Value) -> Value:
    """The product [1, n] behind a vector of its only row: so Grappler writes a sum of two rows as one and a bias."""
    node = made_by(value, "Squeeze", "Reshape")
    shape = node.inputs[0].static_shape if node is not None else None
    return (
        node.inputs[0]
        if node is not None and shape is not None and len(shape) == 2 and shape[0] == 1 and value.rank == 1
        else value
    )


def _operands(value: Value, weights: Array) -> list[tuple[Value, Array]]:
    """The factor of a product with its rows of the weights; each part of a concatenation with its own."""
    joined = made_by(value, "ConcatV2")
    if joined is None or integers(joined.inputs[-1]) not in ([1], [-1]):
        return [(value, weights)]
    parts = joined.inputs[:-1]
    if len(parts) != 2:
        return [(value, weights)]
    widths = [each.shape[-1] if each.shape else None for each in parts]
    first = widths[0] if isinstance(widths[0], int) else weights.shape[0] - widths[1] if isinstance(widths[1], int) else None
    if first is None:
        return [(value, weights)]
    return [(parts[0], weights[:first]), (parts[1], weights[first:])]


# -- what is read behind the loop ----------------------------------------------------------------------------------


def _list_uses(graph: Graph, loop: _Loop, cell: _Cell) -> dict[int, bool] | None:
    """Places of the lists of states that are read: whether each holds all states, or the last alone. None: more is read."""
    uses: dict[int, bool] = {}
    for place, value in enumerate(loop.node.outputs):
        if not graph.readers(value) or place in (cell.state, cell.cell) or loop.keeps(place) or place in loop.rounds[-1]:
            continue
        write = made_by(loop.body.outputs[place].value, "TensorListSetItem")
        if write is None or write.inputs[0] is not loop.body.inputs[place].value:
            return None
        if loop.results.get(write.inputs[2]) != cell.state or graph.is_output(value):
            return None
        if any(reader.op != "TensorListStack" for reader in value.users):
            return None
        length = _length(loop.node.inputs[place])
        if loop.counts_up(write.inputs[1]) and length == loop.steps:
            uses[place] = True
        elif integers(write.inputs[1]) == [0] and length == 1:
            uses[place] = False
        else:
            return None
    return uses


def _length(value: Value) -> int | None:
    maker = made_by(value, "TensorListReserve")
    found = integers(maker.inputs[1]) if maker is not None else None
    return found[0] if found else None


def _write(graph: Graph, loop: _Loop, cell: _Cell, uses: dict[int, bool]) -> None:
    node = loop.node

    def constant(array: Array, label: str) -> Value:
        return graph.constant(array, f"{node.name}/{label}", before=node, origin=node.origin)

    def add(op: str, inputs: list[Value], **attrs: object) -> Node:
        return ops.add(graph, op, inputs, attrs, name=f"{node.name}/{op}", origin=node.origin, before=node)

    weights = [constant(cell.kernel, "kernel"), constant(cell.recurrent, "recurrent"), constant(cell.bias, "bias")]
    first = [node.inputs[cell.state], node.inputs[cell.cell]]
    returns_cell = graph.readers(node.outputs[cell.cell]) > 0
    made = add("Lstm", [cell.sequence, *weights, *first], returns_cell=returns_cell)
    states = made.outputs[0]
    bounds = [constant(np.asarray([each], np.int32), "bound") for each in (-1, 0, 1)]
    last = add("StridedSlice", [states, *bounds], shrink_axis_mask=1, end_mask=1).output
    for place, whole in uses.items():
        for reader in list(dict.fromkeys(node.outputs[place].users)):
            graph.replace_uses(reader.output, states if whole else add("Pack", [last], axis=0).output)
            discard(graph, reader)
    known = loop.rounds[-1]
    for place, value in enumerate(node.outputs):
        if not graph.readers(value):
            continue
        if place == cell.state:
            graph.replace_uses(value, last)
        elif place == cell.cell:
            graph.replace_uses(value, made.outputs[1])
        elif loop.keeps(place):
            graph.replace_uses(value, node.inputs[place])
        else:
            graph.replace_uses(value, constant(known[place], "number"))
    discard(graph, node, last.producer)


# -- the order of the axes -----------------------------------------------------------------------------------------


def turn_lstm(graph: Graph) -> int:
    """An Lstm over a transposed sequence reads the sequence itself, when what it gives is transposed back or cut to a step."""
    return for_each_node(graph, _turn)


def _turn(graph: Graph, node: Node) -> int:
    if node.op != "Lstm" or not node["time_major"] or graph.is_output(node.outputs[0]):
        return 0
    turned = made_by(node.inputs[0], "Transpose")
    readers = list(dict.fromkeys(node.outputs[0].users))
    if turned is None or integers(turned.inputs[1]) != [1, 0, 2]:
        return 0
    if not all(_is_turn(reader) or _is_step(reader) for reader in readers):
        return decline(log, node, "what it gives is read with the time first")
    attrs = node.attrs | {"time_major": False}
    made = ops.add(
        graph, "Lstm", [turned.inputs[0], *node.inputs[1:]], attrs, name=f"{node.name}/turned", origin=node.origin, before=node
    )
    for reader in readers:
        if _is_turn(reader):
            graph.replace_uses(reader.output, made.outputs[0])
        else:
            _cut(graph, reader, made.outputs[0])
        discard(graph, reader)
    for old, new in zip(node.outputs[1:], made.outputs[1:], strict=True):
        graph.replace_uses(old, new)
    name = node.name
    discard(graph, node)
    if name not in graph:
        graph.rename(made, name)
    return 1


def _is_turn(node: Node) -> bool:
    return node.op == "Transpose" and integers(node.inputs[1]) == [1, 0, 2]


def _is_step(node: Node) -> bool:
    """One step of the sequence."""
    masks = [node.get(key) for key in ("ellipsis_mask", "new_axis_mask", "begin_mask")]
    begin = integers(node.inputs[1]) if node.op == "StridedSlice" else None
    return begin is not None and len(begin) == 1 and node["shrink_axis_mask"] == 1 and not any(masks)


def _cut(graph: Graph, reader: Node, states: Value) -> None:
    """The same step out of a sequence whose second axis is the time."""
    (place,) = integers(reader.inputs[1]) or [0]
    vectors = [[0, place], [0, place + 1], [1, 1]]
    bounds = [
        graph.constant(np.asarray(each, np.int32), f"{reader.name}/bound", before=reader, origin=reader.origin) for each in vectors
    ]
    attrs = {"begin_mask": 1, "end_mask": 1 if place != -1 else 3, "shrink_axis_mask": 2}
    made = ops.add(graph, "StridedSlice", [states, *bounds], attrs, name=f"{reader.name}/step", origin=reader.origin, before=reader)
    name = reader.name
    graph.replace_uses(reader.output, made.output)
    discard(graph, reader)
    if name not in graph:
        graph.rename(made, name)
