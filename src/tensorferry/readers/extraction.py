"""Parts of a graph lifted out into graphs of their own, with what they read from outside as inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tensorferry.errors import FerryError
from tensorferry.ir import Graph, Node, Port, Typed, Value
from tensorferry.readers.order import sort_nodes

COPIED = frozenset({"Const", "UnreadableConst"})
"""Ops whose nodes are copied where they are read, rather than handed in."""


class Unstructured(FerryError):
    """TensorFlow 1's control flow in a form that stands for no loop and no choice."""


def kind(node: Node) -> str:
    """The op; those on references to variables work as the others do."""
    return node.op.removeprefix("Ref") if node.op.startswith("Ref") else node.op


@dataclass(frozen=True, slots=True)
class Outside:
    """A value that lies outside of the part; it is handed in."""

    value: Value


@dataclass(frozen=True, slots=True)
class Variable:
    """A value that is the part's own input of this number."""

    number: int


Place = Outside | Variable | None
"""Where a value comes from; None: from a node of the part."""


@dataclass(slots=True)
class Part:
    """The nodes behind some results. `place` tells where a value comes from and raises Unstructured for what must not be read."""

    results: Sequence[Value]
    place: Callable[[Value], Place]
    nodes: list[Node] = field(default_factory=list)
    outside: list[Value] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Walk back from the results, so that each node stands after those it reads."""
        done: set[Node] = set()
        known: set[Value] = set()
        for result in self.results:
            waiting: list[tuple[Value, bool]] = [(result, False)]
            while waiting:
                value, finished = waiting.pop()
                node = value.producer
                if finished:
                    if node not in done:
                        done.add(node)
                        self.nodes.append(node)
                    continue
                if node in done or value in known:
                    continue
                known.add(value)
                place = self.place(value)
                if isinstance(place, Outside):
                    if place.value not in self.outside:
                        self.outside.append(place.value)
                elif place is None:
                    waiting.append((value, True))
                    waiting += [(each, False) for each in node.inputs]

    def lift(self, name: str, variables: Sequence[Value], captures: Sequence[Value]) -> Graph:
        """A graph of copies whose inputs are the variables and then the captures; of both the values tell name and type."""
        graph = Graph(name)
        given = [self._add_input(graph, value) for value in (*variables, *captures)]
        captured = dict(zip(captures, given[len(variables) :], strict=True))
        values: dict[Value, Value] = {}

        def inside(value: Value) -> Value:
            place = self.place(value)
            if isinstance(place, Variable):
                return given[place.number]
            return captured[place.value] if isinstance(place, Outside) else values[value]

        for node in self.nodes:
            attrs = {key: each.copy() if isinstance(each, Graph) else each for key, each in node.attrs.items()}
            typed = [value.typed for value in node.outputs]
            made = graph.add(
                node.op, [inside(each) for each in node.inputs], attrs, typed=typed, name=node.name, origin=node.origin
            )
            values.update(zip(node.outputs, made.outputs, strict=True))
        graph.outputs = [Port(f"result_{place}", inside(value)) for place, value in enumerate(self.results)]
        return graph

    @staticmethod
    def _add_input(graph: Graph, value: Value) -> Value:
        attrs = {"dtype": value.dtype, "shape": value.shape}
        made = graph.add("Placeholder", (), attrs, typed=[value.typed], name=value.producer.name)
        graph.inputs.append(Port(made.name, made.output))
        return made.output


def see_through(value: Value) -> Value:
    """The value that identities hand on."""
    while value.producer.op == "Identity":
        value = value.producer.inputs[0]
    return value


def as_scalar(graph: Graph, value: Value) -> Value:
    """A condition of TensorFlow 1 is a scalar, which it checks when it runs: where that is not known, a reshape says so."""
    if value.shape is not None:
        return value
    name = f"{value.producer.name}/scalar"
    shape = graph.constant(np.zeros(0, np.int32), f"{name}/shape", origin=value.producer.origin)
    typed = [Typed(value.dtype, ())]
    return graph.add("Reshape", [value, shape], {}, typed=typed, name=name, origin=value.producer.origin).output


def merge_captures(parts: Iterable[Part]) -> list[Value]:
    """What any of the parts reads from outside, once."""
    return list(dict.fromkeys(value for part in parts for value in part.outside))


def sort_graph(graph: Graph) -> None:
    """Put nodes behind what they read, after others were added at the end."""
    before: Mapping[str, Sequence[str]] = {node.name: _read_before(graph, node) for node in graph.nodes}
    order, cycle = sort_nodes(before)
    if cycle:
        raise Unstructured(f"{', '.join(repr(name) for name in cycle[:4])} read each other in a circle")
    graph.nodes = [graph.node(name) for name in order]


def _read_before(graph: Graph, node: Node) -> list[str]:
    read = [value.producer for value in node.inputs]
    if kind(node) == "Merge":
        read = [each for each in read if kind(each) != "NextIteration"]
    return [each.name for each in read] + [name for name in node.controls if name in graph]
