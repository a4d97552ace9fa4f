"""Where to cut a graph so that what a target cannot do stays outside: advice for nodes that stand in the way."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tensorferry.ir import Graph, Node, Value
from tensorferry.tensor import DType

_BOOKKEEPING = frozenset({"Const", "Placeholder", "PlaceholderWithDefault", "NoOp"})
_NO_TENSOR = frozenset({DType.UNKNOWN, DType.RESOURCE, DType.VARIANT})


WORTH = 4
"""A cut that keeps less than one part in so many is no advice."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Inputs and outputs that leave the obstacles outside; `kept` of `total` operations lie between them."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    kept: int
    total: int


def advise(cut: Cut, source: str | os.PathLike[str], targets: Iterable[str | os.PathLike[str]]) -> str:
    """What to do instead, with the command to copy."""
    words = ["tensorferry", "convert", os.fspath(source), *(word for target in targets for word in ("-o", os.fspath(target)))]
    words += ["--inputs", ",".join(cut.inputs), "--outputs", ",".join(cut.outputs)]
    return (
        f"convert the part without these nodes, {cut.kept} of {cut.total} operations, and do theirs in your own code:\n"
        f"    {shlex.join(words)}"
    )


def find_cut(graph: Graph, obstacles: Iterable[str]) -> Cut | None:
    """The cut that keeps most of a graph of which these nodes cannot be carried over; None where little would be left.

    An obstacle, of a nested graph the node that holds it, goes with all before it or with all behind it: three ways are tried, all
    obstacles at the beginning, all at the end, each where it takes less away.
    """
    stuck = {_holder(graph, name) for name in obstacles} - {None}
    between = _between_ports(graph)
    nodes = [node for node in graph.nodes if node in between and node.op not in _BOOKKEEPING]
    before = {node: _reached([node], _makers) & between | {node} for node in stuck if node is not None}
    after = {node: _reached([node], _readers) & between | {node} for node in stuck if node is not None}
    early = [node for node in before if len(before[node]) < len(after[node])]
    cuts = []
    for first in (list(before), list[Node](), early):
        head = {each for node in first for each in before[node]}
        tail = {each for node in before if node not in first for each in after[node]}
        cuts.append(_cut_between(graph, nodes, head, tail))
    found = [cut for cut in cuts if cut is not None and cut.kept * WORTH >= cut.total]
    return max(found, key=lambda cut: cut.kept, default=None)


def _holder(graph: Graph, name: str) -> Node | None:
    """The graph's own node of that name, or the one in whose nested graph it is."""
    if name in graph:
        return graph.node(name)
    return next((node for node in graph.nodes for _key, nested in node.graphs() if _holder(nested, name) is not None), None)


def _makers(node: Node) -> Iterator[Node]:
    return (value.producer for value in node.inputs)


def _readers(node: Node) -> Iterator[Node]:
    return (user for value in node.outputs for user in value.users)


def _reached(start: Iterable[Node], step: Callable[[Node], Iterator[Node]]) -> set[Node]:
    """The nodes and all that steps from them lead to."""
    waiting = list(start)
    seen = set(waiting)
    while waiting:
        for node in step(waiting.pop()):
            if node not in seen:
                seen.add(node)
                waiting.append(node)
    return seen


def _between_ports(graph: Graph) -> set[Node]:
    """Nodes that depend on an input and that an output depends on."""
    inputs = [port.value.producer for port in graph.inputs]
    return _reached(inputs, _readers) & _reached([port.value.producer for port in graph.outputs], _makers)


def _cut_between(graph: Graph, nodes: list[Node], head: set[Node], tail: set[Node]) -> Cut | None:
    """The cut that leaves out `head`, at the beginning, and `tail`, at the end."""
    for node in nodes:  # lists and the like cannot be fed: what reads them goes with what makes them
        if any(value.producer in head and value.dtype in _NO_TENSOR for value in node.inputs):
            head.add(node)
    kept = [node for node in nodes if node not in head and node not in tail]
    outputs = [value for node in kept for value in node.outputs if graph.is_output(value) or tail.intersection(value.users)]
    needed = _reached([value.producer for value in outputs], lambda node: (each for each in _makers(node) if each not in head))
    kept = [node for node in kept if node in needed]
    inside = set(kept)
    inputs = dict.fromkeys(value for node in kept for value in node.inputs if value.producer not in inside and _is_fed(value, head))
    if not kept or not inputs or any(value.dtype in _NO_TENSOR for value in (*inputs, *outputs)):
        return None
    names = {port.value: port.name for port in (*graph.inputs, *graph.outputs)}
    return Cut(_name(inputs, names), _name(outputs, names), len(kept), len(nodes))


def _is_fed(value: Value, head: set[Node]) -> bool:
    return value.producer in head or value.producer.op.startswith("Placeholder")


def _name(values: Iterable[Value], names: dict[Value, str]) -> tuple[str, ...]:
    return tuple(names.get(value, value.name) for value in values)
