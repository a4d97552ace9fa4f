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


# -- what is not needed --------------------------------------------------------------------------------------------


def drop_unneeded(graph: Graph) -> int:
    """Take out of every If, Case and While, also of those inside others, the values that nobody needs; how many."""
    count = 0
    for node in tuple(graph.nodes):
        for _key, nested in node.graphs():
            count += drop_unneeded(nested)
        if node.op == "While":
            count += _trim_loop(graph, node)
        elif node.op in ("If", "Case"):
            count += _trim_choice(graph, node)
    return count


def _trim_loop(graph: Graph, node: Node) -> int:
    """Variables are needed that are read behind the loop, or that the condition or a needed variable depends on."""
    condition, body = node["cond"], node["body"]
    needed = _places_behind(condition, [port.value for port in condition.outputs])
    needed |= {place for place, value in enumerate(node.outputs) if graph.readers(value)}
    while True:
        more = _places_behind(body, [body.outputs[place].value for place in needed])
        if more <= needed:
            break
        needed |= more
    kept = sorted(needed)
    dropped = len(node.inputs) - len(kept)
    if dropped:
        for nested in (condition, body):
            _keep_inputs(nested, kept, kept if nested is body else None)
        _replace(graph, node, [node.inputs[place] for place in kept], kept)
    return dropped


def _trim_choice(graph: Graph, node: Node) -> int:
    results = [place for place, value in enumerate(node.outputs) if graph.readers(value)]
    branches = [nested for _key, nested in node.graphs()]
    needed = sorted(
        {place for branch in branches for place in _places_behind(branch, [branch.outputs[each].value for each in results])}
    )
    dropped = len(node.inputs) - 1 - len(needed) + len(node.outputs) - len(results)
    if dropped and results:
        for branch in branches:
            _keep_inputs(branch, needed, results)
        _replace(graph, node, [node.inputs[0], *(node.inputs[place + 1] for place in needed)], results)
        return dropped
    return 0


def _places_behind(nested: Graph, values: list[Value]) -> set[int]:
    """Which of the graph's inputs these values are computed from."""
    reached = {value.producer for value in values}
    waiting = list(reached)
    while waiting:
        for value in waiting.pop().inputs:
            if value.producer not in reached:
                reached.add(value.producer)
                waiting.append(value.producer)
    return {place for place, port in enumerate(nested.inputs) if port.value.producer in reached}


def _keep_inputs(nested: Graph, inputs: list[int], outputs: list[int] | None) -> None:
    """Leave these inputs and outputs, and the nodes between them."""
    gone = [port for place, port in enumerate(nested.inputs) if place not in inputs]
    nested.inputs = [nested.inputs[place] for place in inputs]
    if outputs is not None:
        nested.outputs = [nested.outputs[place] for place in outputs]
    reached = {port.value.producer for port in nested.outputs}
    for node in reversed(nested.nodes):
        if node in reached:
            reached.update(value.producer for value in node.inputs)
    reached |= {port.value.producer for port in nested.inputs}
    nested.keep_nodes(lambda node: node in reached and not any(port.value.producer is node for port in gone))
    for node in nested.nodes:
        node.controls = tuple(name for name in node.controls if name in nested)


def _replace(graph: Graph, node: Node, inputs: list[Value], results: list[int]) -> None:
    """A node of fewer inputs and outputs in the place of this one."""
    typed = [node.outputs[place].typed for place in results]
    made = graph.add(
        node.op,
        inputs,
        node.attrs,
        typed=typed,
        name=f"{node.name}/less",
        origin=node.origin,
        before=node,
        controls=node.controls,
    )
    for place, new in zip(results, made.outputs, strict=True):
        graph.replace_uses(node.outputs[place], new)
    name = node.name
    node.attrs = {}
    graph.remove(node)
    graph.rename(made, name)
