"""Public names as names of nodes: a GraphDef has no others."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tensorferry import ops
from tensorferry.ir import Graph, Node, Port, Value

_FORBIDDEN = re.compile(r"[^A-Za-z0-9_.\\/>-]")


@dataclass(frozen=True, slots=True)
class PublicNames:
    """Public name -> name of the node that bears it."""

    inputs: dict[str, str]
    outputs: dict[str, str]


def choose_names(graph: Graph) -> PublicNames:
    """The same names as far as they can be names of nodes and are not taken by another input or output."""
    taken: set[str] = set()
    given: dict[Value, str] = {}  # a signature may call one input by several names
    inputs = {}
    for port in graph.inputs:
        if port.value not in given:
            given[port.value] = _legal(port.name, taken)
        inputs[port.name] = given[port.value]
    outputs = {}
    for port in graph.outputs:
        itself = given.get(port.value)
        outputs[port.name] = itself if itself == _clean(port.name) else _legal(port.name, taken)
    return PublicNames(inputs, outputs)


def _clean(name: str) -> str:
    plain = _FORBIDDEN.sub("_", name.removesuffix(":0"))
    return plain if plain[:1].isalnum() or plain[:1] == "." else f"value{plain}"


def _legal(name: str, taken: set[str]) -> str:
    plain = _clean(name)
    number, chosen = 0, plain
    while chosen in taken:
        number += 1
        chosen = f"{plain}_{number}"
    taken.add(chosen)
    return chosen


def expose_ports(graph: Graph) -> None:
    """Let inputs and outputs be nodes of their public names, the outputs such that nobody reads.

    Nodes that bore these names by chance are renamed. A notice tells the names that had to differ.
    """
    names = choose_names(graph)
    wanted = {*names.inputs.values(), *names.outputs.values()}
    for port in graph.inputs:
        _name(graph, port.value.producer, names.inputs[port.name])
    held = {port.value for port in graph.inputs}
    for port in graph.outputs:
        name = names.outputs[port.name]
        if port.value in held and port.value.producer.name == name:
            continue
        if _is_own(graph, port):
            _name(graph, port.value.producer, name)
            continue
        if name in graph:
            _step_aside(graph, graph.node(name), wanted)
        made = ops.add(graph, "Identity", (port.value,), name=name, origin=port.value.producer.origin)
        port.value = made.output
    for role, chosen in (("input", names.inputs), ("output", names.outputs)):
        graph.notices += [f"the {role} '{public}' is the node '{name}'" for public, name in chosen.items() if public != name]


def _is_own(graph: Graph, port: Port) -> bool:
    """Whether the node that makes the output makes nothing else, and for nobody else."""
    node = port.value.producer
    alone = len(node.outputs) == 1 and sum(each.value is port.value for each in graph.outputs) == 1
    return alone and not port.value.users and node.op not in ("Const", "Placeholder", "PlaceholderWithDefault")


def _name(graph: Graph, node: Node, name: str) -> None:
    if node.name == name:
        return
    if name in graph:
        _step_aside(graph, graph.node(name), {name})
    _rename(graph, node, name)


def _step_aside(graph: Graph, node: Node, wanted: set[str]) -> None:
    name, number = f"{node.name}/inner", 0
    while name in graph or name in wanted:
        number += 1
        name = f"{node.name}/inner_{number}"
    _rename(graph, node, name)


def _rename(graph: Graph, node: Node, name: str) -> None:
    """Also where others wait for the node."""
    before = node.name
    graph.rename(node, name)
    for other in graph.nodes:
        if before in other.controls:
            other.controls = tuple(name if each == before else each for each in other.controls)
