"""Lists whose elements differ in length, put together behind a loop: no tensor holds them one by one, but one holds them joined."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from tensorferry import ops
from tensorferry.ir import UNKNOWN_DIM, Graph, Node, Typed, Value
from tensorferry.ops.tensor_lists import element_shape, merge_elements
from tensorferry.passes.rewriting import decline, discard, integers, live_nodes
from tensorferry.passes.shapes import infer_known

log = logging.getLogger(__name__)

_BEGINNINGS = ("TensorListReserve", "EmptyTensorList")


@dataclass(frozen=True, slots=True)
class _Writing:
    """A loop that writes one element a round, the first in the first round, to a list of which only the join is asked."""

    loop: Node
    place: int
    setting: Node


def join_lists_in_loops(graph: Graph) -> int:
    """A list that a loop fills in order and that is only joined behind it is joined from the start."""
    count = 0
    for node in live_nodes(graph):
        count += sum(join_lists_in_loops(nested) for _key, nested in node.graphs())
        if node.op == "TensorListConcatV2":
            count += _join(graph, node)
    return count


def _join(graph: Graph, node: Node) -> int:
    writing = _find_writing(graph, node)
    if writing is None:
        return decline(log, node, "its list is not one that a loop fills in order for it alone")
    item = writing.setting.inputs[-1]
    loop, place = writing.loop, writing.place
    beginning = loop.inputs[place].producer
    said = merge_elements(element_shape(node.inputs[1]), element_shape(beginning.inputs[0]))
    shape = merge_elements(item.shape, said)
    if not shape or not all(isinstance(dim, int) for dim in shape[1:]):
        return decline(log, node, "the shape of its elements is not known")
    tail = [int(dim) for dim in shape[1:]]
    empty = graph.constant(np.zeros([0, *tail], item.dtype.numpy), f"{beginning.name}/empty", before=loop, origin=beginning.origin)
    joined = Typed(item.dtype, (UNKNOWN_DIM, *tail))
    for key in ("cond", "body"):
        value = loop[key].inputs[place].value
        value.producer.attrs.update(dtype=joined.dtype, shape=joined.shape)
        value.retype(joined)
    _append(loop["body"], writing)
    loop.set_input(place, empty)
    ops.settle(loop, infer_known)
    for value, typed in zip(loop.outputs, infer_known(loop), strict=True):
        value.retype(typed)
    graph.replace_uses(node.outputs[0], loop.outputs[place])
    discard(graph, node, beginning)
    return 1


def _append(body: Graph, writing: _Writing) -> None:
    node = writing.setting
    axis = body.constant(np.asarray(0, np.int32), f"{node.name}/axis", before=node, origin=node.origin)
    inputs = [node.inputs[0], node.inputs[-1], axis]
    made = ops.add(body, "ConcatV2", inputs, name=f"{node.name}/joined", origin=node.origin, before=node)
    body.replace_uses(node.outputs[0], made.output)
    discard(body, node)


def _find_writing(graph: Graph, node: Node) -> _Writing | None:
    listed = node.inputs[0]
    loop, place = listed.producer, listed.index
    if loop.op != "While" or graph.readers(listed) != 1 or graph.readers(node.outputs[1]):
        return None
    start, body = loop.inputs[place], loop["body"]
    if start.producer.op not in _BEGINNINGS or graph.readers(start) != 1 or loop["cond"].inputs[place].value.users:
        return None
    inside, setting = body.inputs[place].value, body.outputs[place].value.producer
    if body.readers(inside) != 1 or inside.users != [setting] or body.readers(setting.outputs[0]) != 1:
        return None
    if setting.op == "TensorListPushBack" and start.producer.op == "EmptyTensorList":
        return _Writing(loop, place, setting)
    in_order = setting.op == "TensorListSetItem" and _counts_rounds(loop, setting.inputs[1])
    return _Writing(loop, place, setting) if in_order else None


def _counts_rounds(loop: Node, index: Value) -> bool:
    """Whether the value is a variable of the loop that is 0 in the first round and one more in each round after."""
    body = loop["body"]
    places = [place for place, port in enumerate(body.inputs) if port.value is index]
    if not places or integers(loop.inputs[places[0]]) != [0]:
        return False
    following = body.outputs[places[0]].value.producer
    if following.op != "AddV2" or index not in following.inputs:
        return False
    one, other = following.inputs
    return integers(other if one is index else one) == [1]


# -- elements at known places ------------------------------------------------------------------------------------------


def join_known_items(graph: Graph, node: Node) -> int:
    """A list whose items were all set at known places is joined by one ConcatV2."""
    items = _items(node.inputs[0])
    if not items:
        return 0
    lengths = [item.shape[0] if item.shape else UNKNOWN_DIM for item in items]
    if graph.readers(node.outputs[1]):
        if not all(isinstance(length, int) for length in lengths):
            return decline(log, node, "the lengths of its elements are asked for and not known")
        made = graph.constant(np.asarray(lengths, np.int64), f"{node.name}/lengths", before=node, origin=node.origin)
        graph.replace_uses(node.outputs[1], made)
    joined = items[0]
    if len(items) > 1:
        axis = graph.constant(np.asarray(0, np.int32), f"{node.name}/axis", before=node, origin=node.origin)
        joined = ops.add(graph, "ConcatV2", [*items, axis], name=f"{node.name}/joined", origin=node.origin, before=node).output
    graph.replace_uses(node.outputs[0], joined)
    discard(graph, node)
    return 1


def _items(value: Value) -> list[Value] | None:
    """A list's items, when each is known by its place; the last setting of a place counts."""
    found: dict[int, Value] = {}
    while (node := value.producer).op in ("TensorListSetItem", "Identity"):
        if node.op == "TensorListSetItem":
            place = integers(node.inputs[1])
            if place is None:
                return None
            found.setdefault(place[0], node.inputs[2])
        value = node.inputs[0]
    count = integers(node.inputs[1]) if node.op == "TensorListReserve" else None
    most = max([*found, (count or [0])[0] - 1])
    if count is None or sorted(found) != list(range(most + 1)):
        return None
    return [found[place] for place in range(most + 1)]


def piece_of(graph: Graph, maker: Node, place: int) -> Value | None:
    """One of the pieces, of known lengths, that a tensor was split into."""
    tensor, _shape, lengths = maker.inputs
    sizes = integers(lengths)
    if sizes is None or not 0 <= place < len(sizes):
        return None
    name = f"{maker.name}/pieces"
    if name in graph:
        return graph.node(name).outputs[place]
    axis = graph.constant(np.asarray(0, np.int32), f"{maker.name}/axis", before=maker, origin=maker.origin)
    counts = graph.constant(np.asarray(sizes, np.int32), f"{maker.name}/sizes", before=maker, origin=maker.origin)
    attrs = {"num_split": len(sizes)}
    made = ops.add(graph, "SplitV", [tensor, counts, axis], attrs, name=name, origin=maker.origin, before=maker)
    return made.outputs[place]
