"""Loops that expansions write: a While whose condition and body are given as functions on values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Port, Value
from tensorferry.ops.expansion import Expansion

Condition = Callable[[Expansion, list[Value]], Value]
Body = Callable[[Expansion, list[Value]], Sequence[Value]]


def loop(parts: Expansion, start: Sequence[Value], condition: Condition, body: Body) -> Sequence[Value]:
    """What `body` makes of the values again and again, as long as the condition holds; they keep their shapes."""
    cond, inner = _nested("condition", start, lambda steps, values: [condition(steps, values)]), _nested("body", start, body)
    return parts.make_node("While", *start, cond=cond, body=inner).outputs


def repeat(parts: Expansion, count: int, start: Sequence[Value], body: Body) -> Sequence[Value]:
    """So many times."""
    zero = parts.make("Identity", np.int32(0))

    def goes_on(steps: Expansion, values: list[Value]) -> Value:
        return steps.make("Less", values[0], np.int32(count))

    def once(steps: Expansion, values: list[Value]) -> Sequence[Value]:
        return [steps.make("AddV2", values[0], np.int32(1)), *body(steps, values[1:])]

    return loop(parts, [zero, *start], goes_on, once)[1:]


def _nested(name: str, like: Sequence[Value], build: Body) -> Graph:
    graph, values = Graph(name), []
    for number, value in enumerate(like):
        node = ops.add(graph, "Placeholder", (), {"dtype": value.dtype, "shape": value.shape}, name=f"a{number}")
        graph.inputs.append(Port(node.name, node.output))
        values.append(node.output)
    end = ops.add(graph, "Identity", values[:1], name=name)
    results = build(Expansion(graph, end), values)
    graph.outputs = [Port(f"r{number}", value) for number, value in enumerate(results)]
    graph.remove(end)
    return graph
