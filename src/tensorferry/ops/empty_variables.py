"""Loop variables that begin without elements: LiteRT's WHILE fails on them, so each carries one row more than it shows."""

from __future__ import annotations

import numpy as np

from tensorferry import ops
from tensorferry.ir import UNKNOWN_DIM, Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion


def empty_axes(node: Node) -> dict[int, int]:
    """Place of a loop variable -> the axis along which it begins empty and may grow."""
    found = {}
    for place, (value, port) in enumerate(zip(node.inputs, node["body"].inputs, strict=True)):
        inside = port.value.shape
        if value.shape is not None and inside is not None and 0 in value.shape:
            axis = value.shape.index(0)
            if isinstance(inside[axis], str) and value.shape.count(0) == 1:
                found[place] = axis
    return found


def carry_a_row_more(graph: Graph, node: Node, axes: dict[int, int]) -> None:
    """Pad these variables by one in front; what reads them, inside and behind the loop, reads what comes after that."""
    expansion = Expansion(graph, node)
    for place, axis in axes.items():
        node.set_input(place, _padded(expansion, node.inputs[place], axis))
    for key, nested in node.graphs():
        for place, axis in axes.items():
            port = nested.inputs[place]
            value = port.value
            shape = [UNKNOWN_DIM if at == axis else dim for at, dim in enumerate(value.shape or ())]
            value.producer.attrs["shape"] = tuple(shape)
            value.retype(Typed(value.dtype, tuple(shape)))
            _read_behind(nested, value, axis, key == "body" and nested.outputs[place].value is value)
            if key == "body" and nested.outputs[place].value is not value:
                result = nested.outputs[place].value
                end = ops.add(nested, "Identity", [result], name="grown")
                nested.outputs[place].value = _padded(Expansion(nested, end), result, axis)
                nested.remove(end)
    for place, axis in axes.items():
        value = node.outputs[place]
        value.retype(node["body"].inputs[place].value.typed)
        _read_behind(graph, value, axis, False)


def _padded(expansion: Expansion, value: Value, axis: int) -> Value:
    rank = len(value.shape or ())
    paddings = np.array([[int(at == axis), 0] for at in range(rank)], np.int32)
    return expansion.make("Pad", value, paddings)


def _read_behind(graph: Graph, value: Value, axis: int, kept: bool) -> None:
    """Let all that read the value read it without its first row; `kept`: but for the graph's own output, which hands it on."""
    users = list(dict.fromkeys(value.users))
    ports = [port for port in graph.outputs if port.value is value and not kept]
    if not users and not ports:
        return
    after = graph.nodes.index(value.producer) + 1
    before = graph.nodes[after] if after < len(graph.nodes) else None
    rank = len(value.shape or ())
    begin = graph.constant(np.array([int(at == axis) for at in range(rank)], np.int32), "first", before=before)
    size = graph.constant(np.full(rank, -1, np.int32), "rest", before=before)
    made = ops.add(graph, "Slice", [value, begin, size], name=f"{value.producer.name}/shown", before=before)
    for user in users:
        user.set_inputs([made.output if each is value else each for each in user.inputs])
    for port in ports:
        port.value = made.output
