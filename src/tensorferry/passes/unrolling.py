"""Loops of one round, and those whose lists cannot be tensors, are written out; known items of a list are read directly."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from tensorferry import ops
from tensorferry.errors import FerryError
from tensorferry.ir import Graph, Node, Value
from tensorferry.ops.functional import is_true, splice
from tensorferry.passes.joined_lists import join_known_items, piece_of
from tensorferry.passes.rewriting import (
    bypass,
    decline,
    discard,
    holds,
    insert_after,
    integers,
    live_nodes,
    small_constant,
    substitute,
)
from tensorferry.passes.shapes import refine_types
from tensorferry.tensor import Array, DType

log = logging.getLogger(__name__)

MOST_ROUNDS = 256
MOST_NODES = 6000
"""What a loop may become at most: its rounds, and the nodes of its body once for each."""

LIST_OPS = frozenset({"TensorListGetItem", "TensorListSetItem", "TensorListStack", "TensorListLength"})

Scalars = Mapping[int, Array]
"""Loop variables, by place, whose value is known before the model runs: counters."""


# -- rounds --------------------------------------------------------------------------------------------------------


def rounds_of(node: Node, most: int = MOST_ROUNDS) -> list[Scalars] | None:
    """What is known of the loop's variables at the start of each round and, last, behind the loop; None: no known end."""
    condition, body = node["cond"], node["body"]
    known = {place: array for place, value in enumerate(node.inputs) if (array := _scalar(value)) is not None}
    found: list[Scalars] = []
    for _round in range(most + 1):
        found.append(known)
        truth = _known_values(condition, known)(condition.outputs[0].value)
        if truth is None:
            return None
        if not is_true(truth):
            return found
        look = _known_values(body, known)
        known = {place: array for place in known if (array := look(body.outputs[place].value)) is not None}
    return None


def _scalar(value: Value) -> Array | None:
    if value.rank != 0 or value.dtype in (DType.VARIANT, DType.RESOURCE):
        return None
    array = small_constant(value)
    return array if array is not None and array.dtype.kind in "iubf" else None


class _known_values:  # noqa: N801 - used like a function
    """The elements of a nested graph's values, as far as they follow from these inputs and from constants."""

    def __init__(self, graph: Graph, known: Scalars) -> None:
        self._found: dict[Value, Array | None] = {port.value: known.get(place) for place, port in enumerate(graph.inputs)}

    def __call__(self, value: Value) -> Array | None:
        if value not in self._found:
            self._found[value] = small_constant(value) if value.constant is not None else self._computed(value)
        return self._found[value]

    def _computed(self, value: Value) -> Array | None:
        node = value.producer
        spec = ops.find(node.op)
        if spec is None or spec.evaluate is None or not spec.pure or not node.inputs or any(node.graphs()):
            return None
        arrays = []
        for each in node.inputs:
            array = self(each)
            if array is None:
                return None
            arrays.append(array)
        try:
            return ops.evaluate(node, arrays)[value.index]
        except FerryError:
            return None


# -- unrolling -----------------------------------------------------------------------------------------------------


def unroll_loops(graph: Graph) -> int:
    """A While in which tensor lists are left becomes its rounds, one after the other, where their number is known."""
    return _unroll_all(graph, MOST_ROUNDS)


def unroll_single_rounds(graph: Graph) -> int:
    """A While that goes round once at most is no loop."""
    return _unroll_all(graph, 1)


def _unroll_all(graph: Graph, most: int) -> int:
    count = sum(_unroll(graph, node, most) for node in live_nodes(graph) if node.op == "While")
    if count:
        refine_types(graph)
    return count


def _unroll(graph: Graph, node: Node, most: int) -> int:
    body = node["body"]
    if most > 1 and not any(inner.op in LIST_OPS for inner in body.nodes):
        return 0
    rounds = rounds_of(node, most)
    if rounds is None:
        return decline(log, node, f"it does not go round {most} times at most, as far as is known")
    if (len(rounds) - 1) * len(body.nodes) > MOST_NODES:
        return decline(log, node, f"it goes round {len(rounds) - 1} times, and its body has {len(body.nodes)} nodes")
    values = list(node.inputs)
    for number, known in enumerate(rounds[:-1]):
        values = splice(graph, node, body, _with_numbers(graph, node, values, known), f"{node.name}/{number}")
    values = _with_numbers(graph, node, values, rounds[-1])
    for old, new in zip(node.outputs, values, strict=True):
        graph.replace_uses(old, new)
    discard(graph, node)
    return 1


def _with_numbers(graph: Graph, node: Node, values: list[Value], known: Scalars) -> list[Value]:
    """The values, known ones as constants."""
    return [
        graph.constant(known[place].astype(value.dtype.numpy), f"{node.name}/number", before=node, origin=node.origin)
        if place in known and value.constant is None
        else value
        for place, value in enumerate(values)
    ]


# -- tensor lists --------------------------------------------------------------------------------------------------


def resolve_tensor_lists(graph: Graph) -> int:
    """What is read from a list at a known place is what was put there; a stack is a Pack, and one item of a Pack that item."""
    count = 0
    for node in live_nodes(graph):
        if node.op == "TensorListGetItem":
            count += _resolve_item(graph, node)
        elif node.op == "TensorListStack":
            count += _resolve_stack(graph, node)
        elif node.op == "TensorListConcatV2":
            count += join_known_items(graph, node)
        elif node.op == "StridedSlice":
            count += _pick(graph, node)
        elif node.op == "TensorListScatterIntoExistingList":
            count += _fill(graph, node)
    if count:
        refine_types(graph)
    return count


def _settings(value: Value) -> Iterator[Node]:
    """The nodes that made a list, the latest first; the last is the one that began it."""
    while True:
        node = value.producer
        if node.op != "Identity":
            yield node
        if node.op not in ("TensorListSetItem", "Identity"):
            return
        value = node.inputs[0]


def _place(value: Value) -> int | None:
    found = integers(value)
    return found[0] if found is not None and len(found) == 1 else None


def _resolve_item(graph: Graph, node: Node) -> int:
    wanted = _place(node.inputs[1])
    if wanted is None:
        return 0
    for maker in _settings(node.inputs[0]):
        if maker.op == "TensorListSetItem":
            place = _place(maker.inputs[1])
            if place is None:
                return 0
            if place == wanted:
                return bypass(graph, node, maker.inputs[2])
        elif maker.op == "TensorListFromTensor":
            rows = _rows(graph, maker)
            return bypass(graph, node, rows[wanted]) if rows is not None and wanted < len(rows) else 0
        elif maker.op == "TensorListSplit":
            piece = piece_of(graph, maker, wanted)
            return bypass(graph, node, piece) if piece is not None else 0
    return 0


def _rows(graph: Graph, maker: Node) -> list[Value] | None:
    """The items of the tensor that a list began with, by one Unpack for all of them."""
    tensor = maker.inputs[0]
    if tensor.shape is None or not tensor.shape or not isinstance(tensor.shape[0], int):
        return None
    for reader in tensor.users:
        if reader.op == "Unpack" and reader["axis"] == 0:
            return list(reader.outputs)
    attrs = {"num": tensor.shape[0], "axis": 0}
    before = insert_after(graph, tensor.producer)
    return list(ops.add(graph, "Unpack", [tensor], attrs, name=f"{maker.name}/items", origin=maker.origin, before=before).outputs)


def _resolve_stack(graph: Graph, node: Node) -> int:
    items: dict[int, Value] = {}
    for maker in _settings(node.inputs[0]):
        if maker.op == "TensorListSetItem":
            place = _place(maker.inputs[1])
            if place is None:
                return 0
            items.setdefault(place, maker.inputs[2])
        elif maker.op == "TensorListFromTensor" and not items:
            return bypass(graph, node, maker.inputs[0])
        elif maker.op == "TensorListReserve":
            length = _place(maker.inputs[1])
            if length is None or not length or sorted(items) != list(range(length)):
                return decline(log, node, "not all of the list's items are set")
            values = [items[place] for place in range(length)]
            packed = ops.add(graph, "Pack", values, {"axis": 0}, name=f"{node.name}/pack", origin=node.origin, before=node)
            return bypass(graph, node, packed.output)
    return 0


def _fill(graph: Graph, node: Node) -> int:
    """An empty list that gets all its items in order begins with them: arrays of TensorFlow 1 are unstacked so."""
    empty, tensor, indices = node.inputs
    length = _place(empty.producer.inputs[1]) if empty.producer.op == "TensorListReserve" else None
    if not length or integers(indices) != list(range(length)) or not tensor.shape or tensor.shape[0] != length:
        return 0
    attrs = {"element_dtype": node["element_dtype"]}
    substitute(graph, node, "TensorListFromTensor", [tensor, empty.producer.inputs[0]], attrs)
    return 1


def _pick(graph: Graph, node: Node) -> int:
    """x[i] of a Pack along the first axis."""
    pack = node.inputs[0].producer
    begin = integers(node.inputs[1])
    if pack.op != "Pack" or pack["axis"] != 0 or begin is None or len(begin) != 1 or node["shrink_axis_mask"] != 1:
        return 0
    if node["ellipsis_mask"] or node["new_axis_mask"] or node["begin_mask"]:
        return 0
    count = len(pack.inputs)
    if not -count <= begin[0] < count or not holds(graph, pack):
        return 0
    return bypass(graph, node, pack.inputs[begin[0]])


def read_lists_from_state(graph: Graph) -> int:
    """A list that each round gives the same only item, which the loop carries round as well, is not needed: the variable is."""
    count = sum(_read_from_state(graph, node) for node in live_nodes(graph) if node.op == "While")
    if count:
        refine_types(graph)
    return count


def _read_from_state(graph: Graph, node: Node) -> int:
    body: Graph = node["body"]
    found = {}
    for place, value in enumerate(node.outputs):
        write, maker = body.outputs[place].value.producer, node.inputs[place].producer
        if write.op != "TensorListSetItem" or maker.op != "TensorListReserve" or graph.is_output(value) or not value.users:
            continue
        if (_place(write.inputs[1]), _place(maker.inputs[1])) != (0, 1) or write.inputs[0] is not body.inputs[place].value:
            continue
        twin = next((number for number, port in enumerate(body.outputs) if port.value is write.inputs[2]), None)
        if twin is not None and all(reader.op == "TensorListStack" for reader in value.users):
            found[place] = twin
    rounds = rounds_of(node) if found else None
    if rounds is None or len(rounds) < 2:
        return 0
    for place, twin in found.items():
        for reader in list(dict.fromkeys(node.outputs[place].users)):
            packed = ops.add(
                graph, "Pack", [node.outputs[twin]], {"axis": 0}, name=f"{reader.name}/pack", origin=reader.origin, before=reader
            )
            graph.replace_uses(reader.output, packed.output)
            discard(graph, reader)
    return len(found)
