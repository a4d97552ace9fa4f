"""What is known before an If, Case or While runs."""

from __future__ import annotations

import numpy as np
import pytest

from tensorferry import ops
from tensorferry.ir import Graph, Port, Typed, Value, verify
from tensorferry.ops.functional import graph_of
from tensorferry.passes.branches import move_constants_inside, take_known_branches
from tensorferry.passes.dead_nodes import remove_unneeded_captures
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.tensor import DType

VECTOR = Typed(DType.FLOAT32, (3,))
COUNTER = Typed(DType.INT32, ())
X = np.array([1, -2, 3], np.float32)


def start() -> tuple[Graph, Value]:
    """A producer before what is under test."""
    graph = Graph("graph")
    node = ops.add(graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": (3,)}, name="x")
    graph.inputs.append(Port("x", node.output))
    return graph, ops.add(graph, "Relu", [node.output], name="before").output


def branch(op: str) -> Graph:
    return graph_of(op, (VECTOR,), lambda graph, x: [ops.add(graph, op, [x], name="result").output])


def finish(graph: Graph, *values: Value) -> np.ndarray:
    """Readers behind, one of them an output by another name; what the graph gives."""
    graph.outputs = [Port(f"y{place}", ops.add(graph, "Neg", [value]).output) for place, value in enumerate(values)]
    graph.outputs += [Port(f"z{place}", value) for place, value in enumerate(values)]
    return np.stack(list(evaluate_graph(graph, {"x": X}).values()))


@pytest.mark.parametrize(
    ("op", "condition", "taken"), [("If", True, "Square"), ("If", False, "Exp"), ("Case", 1, "Exp"), ("Case", 7, "Exp")]
)
def test_the_branch_that_will_be_taken_stands_in_the_place(op: str, condition: int, taken: str) -> None:
    graph, before = start()
    known = graph.constant(np.array(condition), "condition") if op == "If" else graph.constant(np.array(condition, np.int32), "at")
    keys = ("then_branch", "else_branch") if op == "If" else ("branch_0", "branch_1")
    node = ops.add(graph, op, [known, before], dict(zip(keys, (branch("Square"), branch("Exp")), strict=True)))
    expected = finish(graph, node.outputs[0])
    assert take_known_branches(graph) == 1
    verify(graph, ops.infer)
    assert [each.op for each in graph.nodes if each.op in (op, "Square", "Exp")] == [taken]
    np.testing.assert_array_equal(np.stack(list(evaluate_graph(graph, {"x": X}).values())), expected)
    assert take_known_branches(graph) == 0


def test_constants_go_into_a_loop_and_are_known_behind_it() -> None:
    def condition(graph: Graph, i: Value, _x: Value, _w: Value) -> list[Value]:
        return [ops.add(graph, "Less", [i, graph.constant(np.array(3, np.int32), "limit")]).output]

    def body(graph: Graph, i: Value, x: Value, w: Value) -> list[Value]:
        one = graph.constant(np.array(1, np.int32), "one")
        return [ops.add(graph, "AddV2", [i, one]).output, ops.add(graph, "Mul", [x, w]).output, w]

    graph, before = start()
    zero, factor = graph.constant(np.array(0, np.int32), "zero"), graph.constant(np.array([2, 3, 4], np.float32), "factor")
    types = (COUNTER, VECTOR, VECTOR)
    attrs = {"cond": graph_of("condition", types, condition), "body": graph_of("body", types, body)}
    loop = ops.add(graph, "While", [zero, before, factor], attrs)
    expected = finish(graph, loop.outputs[1], loop.outputs[2])
    assert move_constants_inside(graph) == 2  # into the body, and behind the loop
    verify(graph, ops.infer)
    assert move_constants_inside(graph) == 0
    assert remove_unneeded_captures(graph) == 1
    loop = next(node for node in graph.nodes if node.op == "While")
    assert [value.name for value in loop.inputs] == ["zero", "before"]  # the counter starts as a constant and changes: it stays
    assert graph.outputs[3].value is factor
    np.testing.assert_array_equal(np.stack(list(evaluate_graph(graph, {"x": X}).values())), expected)


def test_constants_go_into_branches() -> None:
    def scaled(graph: Graph, x: Value, w: Value) -> list[Value]:
        return [ops.add(graph, "Mul", [x, w]).output]

    def passed(_graph: Graph, _x: Value, w: Value) -> list[Value]:
        return [w]

    graph, before = start()
    factor = graph.constant(np.array([2, 3, 4], np.float32), "factor")
    zero = graph.constant(np.zeros(3, np.float32), "zeros")
    truth = ops.add(
        graph, "Any", [ops.add(graph, "Greater", [before, zero]).output, graph.constant(np.array([0], np.int32), "axis")]
    )
    types = (VECTOR, VECTOR)
    attrs = {"then_branch": graph_of("scaled", types, scaled), "else_branch": graph_of("passed", types, passed)}
    node = ops.add(graph, "If", [truth.output, before, factor], attrs)
    expected = finish(graph, node.outputs[0])
    assert move_constants_inside(graph) == 1  # the branch that hands it on still takes it
    verify(graph, ops.infer)
    assert remove_unneeded_captures(graph) == 0
    assert move_constants_inside(graph) == 0
    np.testing.assert_array_equal(np.stack(list(evaluate_graph(graph, {"x": X}).values())), expected)
