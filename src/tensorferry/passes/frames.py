"""While and If in TensorFlow 1's form: loops of Enter, Merge, Switch, NextIteration and Exit, choices of Switch and Merge.

The rule of that form (Yu et al., 2018, "Dynamic control flow in large-scale machine learning"): whatever a branch or a body reads
must come through its own Switch or Enter, constants too, or it would count as there when the branch is not taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tensorferry import ops
from tensorferry.ir import Graph, Node, Typed, Value
from tensorferry.ops.functional import branches_of
from tensorferry.passes.rewriting import Pass, discard, for_each_node, live_nodes
from tensorferry.tensor import DType

Bring = Callable[[Value], Value]
"""A value of the graph outside, as a branch or body reads it."""

PARALLEL_ITERATIONS = 10
"""TensorFlow's own default; each round of these loops waits for the one before in any case."""

_TRUTH = Typed(DType.BOOL, ())
_INDEX = Typed(DType.INT32, ())


def write_frames(target: str) -> Pass:
    """The pass that writes every If, Case and While of a graph so, and those inside of them.

    TensorFlow.js enters what is constant in a loop once, in the first round of the loop around it, and does not find it in the
    second. But it finds weights from anywhere: there they are read as they are, and all else is carried from round to round.
    """

    def write_frames(graph: Graph) -> int:
        """Loops and choices are written in the ops of TensorFlow 1."""
        while for_each_node(graph, _simplify):
            pass
        count = 0
        for node in live_nodes(graph):
            if node.op not in ("If", "While"):
                continue
            results = _Writer(graph, node, target != "tfjs").write(node, node.inputs, lambda value: value, node.name)
            for old, new in zip(node.outputs, results, strict=True):
                graph.replace_uses(old, new)
            discard(graph, node)
            count += 1
        return count

    return write_frames


def _simplify(graph: Graph, node: Node) -> int:
    """A Case becomes Ifs; conditions become single bools."""
    spec = ops.find(node.op) if node.op in ("If", "Case", "While") else None
    return int(spec.expand(graph, node)) if spec is not None and spec.expand is not None else 0


class _Writer:
    """Writes one If or While, with all that lies in it, in front of it."""

    def __init__(self, graph: Graph, before: Node, enters_constants: bool) -> None:
        self._graph = graph
        self._before = before
        self._enters_constants = enters_constants
        self._rounds: list[Value] = []  # what tells the loops that one is in to go on, the innermost last

    def write(self, node: Node, inputs: Sequence[Value], bring: Bring, name: str) -> list[Value]:
        """`inputs` are what the node reads, as values of the graph; returns what it gives."""
        return self._choice(node, inputs, bring, name) if node.op == "If" else self._loop(node, inputs, bring, name)

    def _choice(self, node: Node, inputs: Sequence[Value], bring: Bring, name: str) -> list[Value]:
        condition, *arguments = inputs
        switches: dict[Value, Node] = {}

        def switched(value: Value, side: int) -> Value:
            if value not in switches:
                switches[value] = self._add("Switch", (value, condition), [value.typed] * 2, f"{name}/Switch")
            return switches[value].outputs[side]

        def into(side: int) -> Bring:
            return lambda value: switched(bring(value), side)

        results = []
        for side, branch in zip((1, 0), branches_of(node), strict=True):
            given = [switched(value, side) for value in arguments]
            scope = f"{name}/{'then' if side else 'else'}"
            results.append(self._inline(branch, given, into(side), scope))
        return [
            self._add("Merge", (otherwise, then), [output.typed, _INDEX], f"{name}/Merge").outputs[0]
            for then, otherwise, output in zip(*results, node.outputs, strict=True)
        ]

    def _loop(self, node: Node, inputs: Sequence[Value], bring: Bring, name: str) -> list[Value]:
        body = node["body"]
        pairs = zip(body.inputs, body.outputs, strict=True)
        fixed = [self._enters_constants and result.value is port.value for port, result in pairs]
        entered: dict[Value, Value] = {}

        def enter(value: Value, typed: Typed, constant: bool) -> Value:
            value = value if constant or self._enters_constants else self._timely(value)
            attrs = {"frame_name": name, "is_constant": constant, "parallel_iterations": PARALLEL_ITERATIONS}
            return self._add("Enter", (value,), [typed], f"{name}/Enter", attrs).output

        def carried_in(value: Value) -> Value:
            if value not in entered:
                entered[value] = enter(value, value.typed, constant=True)
            return entered[value]

        starts = [
            carried_in(value) if kept else enter(value, port.value.typed, constant=False)
            for value, port, kept in zip(inputs, body.inputs, fixed, strict=True)
        ]
        merges = [
            start if kept else self._add("Merge", (start, start), [start.typed, _INDEX], f"{name}/Merge").outputs[0]
            for start, kept in zip(starts, fixed, strict=True)
        ]

        def inside(value: Value) -> Value:
            return carried_in(bring(value)) if self._enters_constants else bring(value)

        (truth,) = self._inline(node["cond"], merges, inside, f"{name}/cond")
        going = self._add("LoopCond", (truth,), [_TRUTH], f"{name}/LoopCond").output
        switches = [
            None if kept else self._add("Switch", (merge, going), [merge.typed] * 2, f"{name}/Switch")
            for merge, kept in zip(merges, fixed, strict=True)
        ]
        again = [merge if switch is None else switch.outputs[1] for merge, switch in zip(merges, switches, strict=True)]
        self._rounds.append(going)
        results = self._inline(body, again, inside, f"{name}/body")
        self._rounds.pop()
        rounds = zip(inputs, merges, switches, results, strict=True)
        return [value if switch is None else self._round(merge, switch, result, name) for value, merge, switch, result in rounds]

    def _round(self, merge: Value, switch: Node, result: Value, name: str) -> Value:
        """What a round gives goes into the next one; what the last one got leaves the loop."""
        following = self._add("NextIteration", (result,), [merge.typed], f"{name}/NextIteration")
        merge.producer.set_input(1, following.output)
        return self._add("Exit", (switch.outputs[0],), [merge.typed], f"{name}/Exit").output

    def _timely(self, value: Value) -> Value:
        """A constant with which an inner loop begins is there in each round of the outer one anew, or it would begin but once."""
        if not self._rounds or not _is_steady(value):
            return value
        return self._add("Switch", (value, self._rounds[-1]), [value.typed] * 2, f"{self._before.name}/Switch").outputs[1]

    def _inline(self, nested: Graph, arguments: Sequence[Value], bring: Bring, scope: str) -> list[Value]:
        """Copy a branch's or body's nodes, which read these values; constants are brought in from outside."""
        values = {port.value: argument for port, argument in zip(nested.inputs, arguments, strict=True)}
        for inner in nested.nodes:
            if inner.outputs and inner.outputs[0] in values:
                continue  # an argument
            name = f"{scope}/{inner.name}"
            if inner.op == "Const":
                constant = self._graph.constant(inner["value"], name, before=self._before, origin=inner.origin)
                values[inner.output] = bring(constant)
                continue
            read = [values[value] for value in inner.inputs]
            if inner.op in ("If", "While"):
                made = self.write(inner, read, bring, name)
            else:
                typed = [value.typed for value in inner.outputs]
                made = self._add(inner.op, read, typed, name, inner.attrs).outputs
            values.update(zip(inner.outputs, made, strict=True))
        return [values[port.value] for port in nested.outputs]

    def _add(
        self, op: str, inputs: Sequence[Value], typed: Sequence[Typed], name: str, attrs: Mapping[str, Any] | None = None
    ) -> Node:
        return self._graph.add(op, inputs, attrs or {}, typed=typed, name=name, before=self._before, origin=self._before.origin)


def _is_steady(value: Value) -> bool:
    """Whether constants alone make it."""
    pending, seen = [value], {value}
    while pending:
        producer = pending.pop().producer
        if producer.op != "Const" and not producer.inputs:
            return False
        fresh = [each for each in producer.inputs if each not in seen]
        seen.update(fresh)
        pending += fresh
    return True
