"""Conditions of TensorFlow 1, written as Switch and Merge, raised to If and Case.

Every value has a state: the outcomes under which it exists at all. A Switch adds one, a Merge takes one away: the condition by
which its inputs differ. Merges of one condition in one state become the results of one If.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Node, Port, Value
from tensorferry.readers.extraction import COPIED, Outside, Part, Place, Unstructured, as_scalar, kind, merge_captures, see_through
from tensorferry.readers.typing import infer_tolerantly
from tensorferry.tensor import DType

State = frozenset[tuple[Value, int]] | None
"""(condition, outcome) of all that must hold; None: never, for the outcomes exclude each other."""

ALWAYS: State = frozenset()


@dataclass(eq=False, slots=True)
class Choice:
    """One Merge: the condition it decides by, the state of its result, which input belongs to which outcome, its turn among others
    of the same condition that it depends on."""

    merge: Node
    condition: Value
    state: frozenset[tuple[Value, int]]
    inputs: dict[int, Value]
    turn: int = 0


def is_switch(node: Node) -> bool:
    """A Switch that belongs to a condition, not to a loop."""
    return kind(node) in ("Switch", "_SwitchN") and node.inputs[1].producer.op != "LoopCond"


def is_merge(node: Node) -> bool:
    """A Merge of a condition: no way leads back to it."""
    return kind(node) == "Merge" and all(kind(value.producer) != "NextIteration" for value in node.inputs)


def condition_of(switch: Node) -> Value:
    """The value that decides; what hands it on unchanged counts as the same."""
    value = see_through(switch.inputs[1])
    while is_switch(value.producer):
        value = see_through(value.producer.inputs[0])
    return value


class Choices:
    """The conditions among some nodes of a graph: those of one loop, or those outside of all."""

    def __init__(self, graph: Graph, belongs: Callable[[Node], bool]) -> None:
        self._graph = graph
        self._belongs = belongs
        self._states: dict[Value, State] = {}
        self._node_states: dict[Node, State] = {}
        self._choices: list[Choice] = []
        self._added: list[Node] = []
        for node in graph.nodes:
            if belongs(node):
                self._visit(node)

    def raise_all(self) -> list[Node]:
        """Innermost first. Returns the nodes that were added."""
        self._take_turns()
        groups: dict[tuple[Value, State, int], list[Choice]] = {}
        for choice in self._choices:
            groups.setdefault((choice.condition, choice.state, choice.turn), []).append(choice)
        order = sorted(groups.values(), key=lambda group: (-len(group[0].state), group[0].turn))
        return [self._raise_group(group) for group in order] + self._added

    def drop_dead(self) -> None:
        """Take out what only existed under a condition and is read by nobody now."""
        for node in reversed(tuple(self._graph.nodes)):
            state = self._node_states.get(node, ALWAYS)
            read = any(self._graph.readers(value) for value in node.outputs)
            if not read and (state != ALWAYS or is_switch(node)):
                self._graph.remove(node)

    # -- states ----------------------------------------------------------------------------------------------------

    def _state_of(self, value: Value) -> State:
        return self._states.get(value, ALWAYS)

    def _visit(self, node: Node) -> None:
        if is_merge(node):
            state = self._visit_merge(node)
        else:
            controls = [self._graph.node(name) for name in node.controls if name in self._graph]
            given = [self._state_of(value) for value in node.inputs] if kind(node) not in ("Enter", "Merge") else []
            state = _all_of([*given, *(self._node_states.get(each, ALWAYS) for each in controls)])
        self._node_states[node] = state
        for value in node.outputs:
            self._states[value] = _all_of([state, frozenset({(condition_of(node), value.index)})]) if is_switch(node) else state
        if is_pivot(node):
            self._node_states[node] = self._states[node.outputs[0]]

    def _visit_merge(self, node: Node) -> State:
        alive = [(value, state) for value in node.inputs if (state := self._state_of(value)) is not None]
        if len(alive) == 1 and len(node.outputs) < 2:
            return alive[0][1]
        if not alive:
            return None
        choice = _decide(node, alive, list(node.inputs))
        self._choices.append(choice)
        return choice.state

    def _take_turns(self) -> None:
        keys = {(choice.condition, choice.state) for choice in self._choices}
        for key in keys:
            own = {choice.merge: choice for choice in self._choices if (choice.condition, choice.state) == key}
            if len(own) == 1:
                continue
            depth: dict[Node, int] = {}
            for node in self._graph.nodes:
                if self._belongs(node):
                    depth[node] = max((depth.get(value.producer, 0) for value in node.inputs), default=0)
                    if node in own:
                        own[node].turn = depth[node]
                        depth[node] += 1

    # -- raising ---------------------------------------------------------------------------------------------------

    def _raise_group(self, group: Sequence[Choice]) -> Node:
        first = group[0]
        outcomes = sorted({outcome for choice in group for outcome in choice.inputs})
        parts = [Part([choice.inputs[outcome] for choice in group], self._placing(first, outcome)) for outcome in outcomes]
        captures = merge_captures(parts)
        base = first.merge.name.removesuffix("/Merge")
        branches = [part.lift(f"{base}/branch_{outcome}", (), captures) for part, outcome in zip(parts, outcomes, strict=True)]
        for choice in group:
            if len(choice.merge.outputs) > 1:  # which input it was that came
                for branch, outcome in zip(branches, outcomes, strict=True):
                    place = next(at for at, value in enumerate(choice.merge.inputs) if value is choice.inputs[outcome])
                    _add_result(branch, branch.constant(np.array(place, np.int32), "value_index"))
        node = self._add(first, outcomes, branches, captures, f"{base}/choice")
        indices = iter(node.outputs[len(group) :])
        for choice, value in zip(group, node.outputs, strict=False):
            merge = choice.merge
            merge.set_inputs([value, *(next(indices) for _other in merge.outputs[1:])])
            merge.op, merge.attrs = ("Identity" if len(merge.outputs) == 1 else "IdentityN"), {}
            for old, new in zip(merge.outputs, merge.inputs, strict=True):
                old.retype(new.typed)
        return node

    def _add(self, first: Choice, outcomes: Sequence[int], branches: Sequence[Graph], captures: Sequence[Value], name: str) -> Node:
        condition = self._reachable_condition(first)
        if condition.dtype is DType.BOOL:
            attrs = {"then_branch": branches[outcomes.index(1)], "else_branch": branches[outcomes.index(0)]}
            op = "If"
        else:
            op, attrs = "Case", {f"branch_{outcome}": branch for outcome, branch in zip(outcomes, branches, strict=True)}
        truth = as_scalar(self._graph, condition)
        if truth is not condition:
            self._added.append(truth.producer)
            self._states[truth] = self._node_states[truth.producer] = self._state_of(condition)
        node = add_functional(self._graph, op, [truth, *captures], attrs, name, first.merge)
        self._node_states[node] = first.state
        self._states.update((value, first.state) for value in node.outputs)
        return node

    def _reachable_condition(self, choice: Choice) -> Value:
        """The condition as it is known where the choice is made."""
        switches = [node for node in self._graph.nodes if self._belongs(node) and is_switch(node)]
        for switch in switches:
            value = switch.inputs[1]
            state = self._state_of(value)
            if condition_of(switch) is choice.condition and state is not None and state <= choice.state:
                return value
        return choice.condition

    def _placing(self, choice: Choice, outcome: int) -> Callable[[Value], Place]:
        """Where the values of one branch come from: through a Switch of the condition, or from outside of it."""
        fact = (choice.condition, outcome)

        def place(value: Value) -> Place:
            node = value.producer
            if node.op in COPIED:
                return None
            state = self._state_of(value)
            if state is None:
                raise Unstructured(f"'{value.name}' is read where it never exists")
            if fact not in state:
                return Outside(value)
            if is_switch(node):
                if condition_of(node) is not choice.condition:
                    raise Unstructured(f"'{value.name}' is read where its condition need not hold")
                source = node.inputs[0]
                return Outside(source) if fact not in (self._state_of(source) or ()) else place(source)
            return None

        return place


def is_pivot(node: Node) -> bool:
    """An Identity that others wait for to know that a branch was taken."""
    return node.op == "Identity" and is_switch(node.inputs[0].producer)


def _all_of(states: Sequence[State]) -> State:
    facts: dict[Value, int] = {}
    for state in states:
        if state is None:
            return None
        for condition, outcome in state:
            if facts.setdefault(condition, outcome) != outcome:
                return None
    return frozenset(facts.items())


def _decide(merge: Node, alive: Sequence[tuple[Value, State]], inputs: Sequence[Value]) -> Choice:
    """By which condition the inputs of a Merge differ. One input may lack it: a constant whose control input was stripped."""
    states = [dict(state or ()) for _value, state in alive]
    conditions = dict.fromkeys(condition for state in states for condition in state)
    for condition in conditions:
        found = [state.get(condition) for state in states]
        known = [each for each in found if each is not None]
        count = _outcomes(condition, len(inputs))
        if len(set(known)) != len(known) or len(found) != count or len(found) - len(known) > 1:
            continue
        rest = next((each for each in range(count) if each not in known), 0)
        chosen = {rest if each is None else each: value for each, (value, _state) in zip(found, alive, strict=True)}
        others = [frozenset(each for each in state.items() if each[0] is not condition) for state in states]
        facts = frozenset.intersection(*(each for each, outcome in zip(others, found, strict=True) if outcome is not None))
        if any(each - facts for each in others):
            continue
        return Choice(merge, condition, facts, chosen)
    raise Unstructured(f"it is not clear by which condition '{merge.name}' (Merge) chooses")


def _outcomes(condition: Value, merged: int) -> int:
    return 2 if condition.dtype is DType.BOOL else merged


def _add_result(graph: Graph, value: Value) -> None:
    graph.outputs.append(Port(f"result_{len(graph.outputs)}", value))


def add_functional(graph: Graph, op: str, inputs: Sequence[Value], attrs: dict[str, Graph], name: str, like: Node) -> Node:
    """Add an If, Case or While at the end, typed as far as reading can tell."""
    probe = Node(name, op, inputs, attrs, ())
    try:
        ops.settle(probe, infer_tolerantly)
        typed = ops.infer(probe)
    finally:
        probe.set_inputs(())
    return graph.add(op, inputs, attrs, typed=typed, name=name, origin=like.origin)
