"""TensorFlow 1's control flow raised to graphs inside nodes: loops to While, conditions to If and Case.

A loop is a frame: Enter leads in, Merge joins what enters and what comes round, Switch sends it on or out by LoopCond, Exit leads
out, NextIteration back. Frames are raised from the innermost outwards, in each its conditions first.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tensorferry.errors import FerryError, SourceError
from tensorferry.ir import Graph, Node, Port, Value
from tensorferry.readers.choices import Choices, add_functional, is_merge, is_switch
from tensorferry.readers.extraction import (
    COPIED,
    Outside,
    Part,
    Place,
    Unstructured,
    Variable,
    as_scalar,
    kind,
    merge_captures,
    see_through,
    sort_graph,
)

log = logging.getLogger(__name__)

CONTROL_FLOW = frozenset({"Switch", "_SwitchN", "Merge", "Enter", "Exit", "NextIteration", "LoopCond"})

_CANNOT = "of TensorFlow 1 cannot be read"

Frame = tuple[str, ...]
"""The names of the loops that a node is in, the outermost first."""


def raise_control_flow(graph: Graph) -> None:
    """Replace all of it that can be read; of the rest a notice tells why it cannot, and the nodes stay as they are."""
    if not any(kind(node) in CONTROL_FLOW for node in graph.nodes):
        return
    read = [node for node in graph.nodes if any(graph.readers(value) for value in node.outputs)]
    frames = _find_frames(graph)
    failed: set[Frame] = set()
    inner = sorted({frame for frame in frames.values() if frame}, key=lambda frame: (-len(frame), frame))
    for frame in [*inner, ()]:
        if any(other[: len(frame)] == frame for other in failed):
            failed.add(frame)
            continue
        try:
            _raise_frame(graph, frame, frames)
        except FerryError as error:
            failed.add(frame)
            what = f"loop '{frame[-1]}'" if frame else "conditions"
            graph.notices.append(f"{what} {_CANNOT}: {error.what}")
    _drop_unread(graph, read)
    for node in graph.nodes:
        node.controls = tuple(name for name in node.controls if name in graph)


def _drop_unread(graph: Graph, read: Sequence[Node]) -> None:
    """Take out what only nodes read that are gone: it would be taken for an end of the graph."""
    for node in reversed(read):
        if node.name not in graph or graph.node(node.name) is not node or node.op.startswith("Placeholder"):
            continue
        if not any(graph.readers(value) for value in node.outputs):
            graph.remove(node)


def refuse_control_flow(graph: Graph, needed: Collection[Node]) -> None:
    """SourceError when some of it is left among the nodes that are needed."""
    left = [node.name for node in graph.nodes if node in needed and kind(node) in CONTROL_FLOW]
    if left:
        raise SourceError(
            "the graph has loops or conditions of TensorFlow 1 that cannot be read",
            where=", ".join(left[:4]) + (f" and {len(left) - 4} more" if len(left) > 4 else ""),
            why="; ".join(notice for notice in graph.notices if _CANNOT in notice),
            remedy="choose inputs and outputs with none of them between",
        )


def find_holder(graph: Graph, name: str) -> Node | None:
    """The node whose loop or branch the source's node of this name has become part of."""
    for node in graph.nodes:
        for _key, nested in node.graphs():
            if find_holder(nested, name) is not None or any(name in inner.origin.names for inner in nested.nodes):
                return node
    return None


def _raise_frame(graph: Graph, frame: Frame, frames: dict[Node, Frame]) -> None:
    choices = Choices(graph, lambda node: frames.get(node, ()) == frame)
    for node in choices.raise_all():
        frames[node] = frame
    sort_graph(graph)
    choices.drop_dead()
    if frame:
        _Loop(graph, frame, frames).raise_it()
        sort_graph(graph)


def _find_frames(graph: Graph) -> dict[Node, Frame]:
    """In which loops every node is: those of the values it reads, and of the nodes it waits for."""
    frames: dict[Node, Frame] = {}
    for node in graph.nodes:
        given = [frames.get(value.producer, ()) for value in node.inputs]
        waits = [frames[graph.node(name)] for name in node.controls if name in graph and graph.node(name) in frames]
        frame = max([*given, *waits], key=len, default=())
        if kind(node) == "Enter":
            frame = (*frame, str(node.get("frame_name", "")))
        elif kind(node) == "Exit":
            frame = frame[:-1]
        frames[node] = frame
    return frames


@dataclass(eq=False, slots=True)
class _Carried:
    """One variable of a loop."""

    enter: Node
    merge: Node
    following: Value
    """What it is in the next round."""
    switches: list[Node]


class _Loop:
    """One frame without frames inside."""

    def __init__(self, graph: Graph, frame: Frame, frames: dict[Node, Frame]) -> None:
        self._graph = graph
        self._frame = frame
        self._frames = frames
        self._nodes = [node for node in graph.nodes if frames.get(node, ()) == frame]
        self._condition = self._find_condition()
        self._variables = [self._follow(node) for node in self._nodes if kind(node) == "Merge" and not is_merge(node)]
        self._places: dict[Value, Place] = {}
        for number, variable in enumerate(self._variables):
            self._places[variable.merge.outputs[0]] = Variable(number)
            self._places.update((switch.outputs[1], Variable(number)) for switch in variable.switches)
        for node in self._nodes:
            if kind(node) == "Enter" and node.get("is_constant"):
                self._places[node.outputs[0]] = Outside(node.inputs[0])

    def raise_it(self) -> None:
        graph, name = self._graph, self._frame[-1]
        condition = Part([self._condition], self._place)
        body = Part([self._passed_on(variable) for variable in self._variables], self._place)
        self._check_readers()
        captures = merge_captures((condition, body))
        variables = [variable.merge.outputs[0] for variable in self._variables]
        attrs = {
            "cond": condition.lift(f"{name}/condition", variables, captures),
            "body": body.lift(f"{name}/body", variables, captures),
        }
        truth = attrs["cond"].outputs[0]
        truth.value = as_scalar(attrs["cond"], truth.value)
        for port in attrs["body"].inputs[len(variables) :]:
            attrs["body"].outputs.append(Port(f"{port.name}/out", port.value))
        inputs = [*(variable.enter.inputs[0] for variable in self._variables), *captures]
        node = add_functional(graph, "While", inputs, attrs, name, self._variables[0].merge)
        self._frames[node] = self._frame[:-1]
        for number, variable in enumerate(self._variables):
            for leaving in self._exits(variable):
                leaving.set_inputs([node.outputs[number]])
                leaving.op, leaving.attrs = "Identity", {}
                leaving.outputs[0].retype(node.outputs[number].typed)
        gone = set(self._nodes)
        graph.keep_nodes(lambda each: each not in gone)

    def _find_condition(self) -> Value:
        found = [node for node in self._nodes if node.op == "LoopCond"]
        if len(found) != 1:
            raise Unstructured(f"it has {len(found)} conditions (LoopCond), not one")
        return found[0].inputs[0]

    def _follow(self, merge: Node) -> _Carried:
        """From a Merge to where its value enters, comes round and leaves."""
        enters = [value.producer for value in merge.inputs if kind(value.producer) == "Enter"]
        rounds = [value.producer for value in merge.inputs if kind(value.producer) == "NextIteration"]
        if len(merge.inputs) != 2 or len(enters) != 1 or len(rounds) != 1:
            raise Unstructured(f"'{merge.name}' (Merge) does not join one Enter and one NextIteration")
        if len(merge.outputs) > 1 and merge.outputs[1].users:
            raise Unstructured(f"the second output of '{merge.name}' (Merge) is read, which tells whether it is the first round")
        switches = [node for node in merge.outputs[0].users if kind(node) == "Switch" and not is_switch(node)]
        switches = [node for node in dict.fromkeys(switches) if node.inputs[0] is merge.outputs[0]]
        return _Carried(enters[0], merge, rounds[0].inputs[0], switches)

    def _passed_on(self, variable: _Carried) -> Value:
        """What a variable is in the next round; where it stays as it is, the very value."""
        value = see_through(variable.following)
        return value if isinstance(self._places.get(value), Variable) else variable.following

    def _exits(self, variable: _Carried) -> Sequence[Node]:
        return [node for switch in variable.switches for node in switch.outputs[0].users if kind(node) == "Exit"]

    def _place(self, value: Value) -> Place:
        if value in self._places:
            return self._places[value]
        node = value.producer
        if node.op in COPIED:
            return None
        if self._frames.get(node, ()) != self._frame:
            return Outside(value)
        if kind(node) in CONTROL_FLOW:
            raise Unstructured(f"'{value.name}' ({node.op}) is read in a way that no loop has")
        return None

    def _check_readers(self) -> None:
        """All that leaves the loop must leave by an Exit: nothing else may read what is inside."""
        leaving = {node for variable in self._variables for node in self._exits(variable)}
        for node in self._nodes:
            if any(self._graph.is_output(value) for value in node.outputs):
                raise Unstructured(f"'{node.name}' ({node.op}) inside it is an output")
            for user in (user for value in node.outputs for user in value.users):
                if self._frames.get(user, ()) != self._frame and user not in leaving and node.op not in COPIED:
                    raise Unstructured(f"'{user.name}' ({user.op}) reads '{node.name}' inside it")
        if not self._variables:
            raise Unstructured("it has no variables")
