"""What graphs inside nodes are handed from outside."""

from __future__ import annotations

from collections.abc import Iterator

from tensorferry import ops
from tensorferry.ir import Graph, Node, Port, Value


def add_capture(graph: Graph, node: Node, outside: Value, name: str) -> Node:
    """Hand one more value to an If, Case or While and to each of its graphs, as their last input; a loop carries it round.

    Returns the node, which for a loop is a new one of the same name.
    """
    node.set_inputs([*node.inputs, outside])
    for key, nested in node.graphs():
        attrs = {"dtype": outside.dtype, "shape": outside.shape}
        made = nested.add(
            "Placeholder", (), attrs, typed=[outside.typed], name=name, before=nested.nodes[0] if nested.nodes else None
        )
        nested.inputs.append(Port(made.name, made.output))
        if node.op == "While" and key == "body":
            nested.outputs.append(Port(f"{made.name}/out", made.output))
    return _renew(graph, node) if node.op == "While" else node


def _renew(graph: Graph, node: Node) -> Node:
    """A node with as many outputs as its op now gives takes the place of the old one."""
    made = ops.add(graph, node.op, node.inputs, node.attrs, name=f"{node.name}/more", origin=node.origin, before=node)
    for old, new in zip(node.outputs, made.outputs, strict=False):
        graph.replace_uses(old, new)
    name = node.name
    node.attrs = {}  # its graphs are the new node's
    graph.remove(node)
    graph.rename(made, name)
    return made


def constant_results(node: Node) -> Iterator[tuple[str, int]]:
    """(graph, place) of every result of a branch or body that is a constant there."""
    for key, nested in node.graphs():
        if key != "cond":
            yield from ((key, place) for place, port in enumerate(nested.outputs) if port.value.constant is not None)


def lift_constant_results(graph: Graph, node: Node) -> Node:
    """Let branches and bodies get from outside the constants that they give."""
    while (found := next(constant_results(node), None)) is not None:
        key, place = found
        port: Port = node[key].outputs[place]
        tensor = port.value.constant
        assert tensor is not None
        outside = graph.constant(tensor, f"{node.name}/{port.name}", before=node, origin=node.origin)
        node = add_capture(graph, node, outside, port.value.producer.name)
        nested: Graph = node[key]
        nested.outputs[place].value = nested.inputs[-1].value
    return node
