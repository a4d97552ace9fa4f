"""Operators that hand their inputs to other subgraphs: branches, loops, calls."""

from __future__ import annotations

from collections.abc import Sequence

from tensorferry.ir import Graph, Port, Value
from tensorferry.readers.tflite.building import SubgraphReader
from tensorferry.readers.tflite.steps import Rule, Step, int32s


def read_nested(step: Step, number: int, *, condition: bool = False) -> Graph:
    """A subgraph as a graph of its own; `condition`: its result is one bool, whatever its rank."""
    session = step.reader.session
    with session.inside(number) as record:
        graph = Graph(record.name or f"subgraph_{number}")
        reader = SubgraphReader(session, record, graph)
        graph.inputs = [Port(f"argument_{place}", value) for place, value in enumerate(reader.add_inputs({}))]
        reader.run()
        results = reader.results()
        if condition and results and results[0].rank != 0:
            results[0] = reader.scalar(results[0])
        graph.outputs = [Port(f"result_{place}", value) for place, value in enumerate(results)]
    return graph


def call(step: Step, number: int, values: Sequence[Value]) -> list[Value]:
    """A subgraph's operators in the place of the one that calls it."""
    session = step.reader.session
    with session.inside(number) as record:
        if len(record.inputs) != len(values):
            raise step.refusal(f"it hands {len(values)} values to a subgraph that takes {len(record.inputs)}")
        reader = SubgraphReader(session, record, step.reader.graph, f"{step.name}/", called_by=step.reader)
        for place, value in zip(record.inputs, values, strict=True):
            reader.bind(place, value)
        reader.run()
        return reader.results()


def _call(step: Step) -> list[Value]:
    return call(step, step.options.number("subgraph"), step.inputs())


def _call_composite(step: Step) -> list[Value]:
    """What a composite stands for is written out in a subgraph."""
    return call(step, step.options.number("decomposition_subgraph_index"), step.inputs())


def _if(step: Step) -> Sequence[Value]:
    condition, *values = step.inputs()
    if condition.rank != 0:
        condition = step.make("Reshape", condition, int32s())
    branches = {
        key: read_nested(step, step.options.number(option))
        for key, option in (("then_branch", "then_subgraph_index"), ("else_branch", "else_subgraph_index"))
    }
    return step.make_node("If", condition, *values, **branches).outputs


def _while(step: Step) -> Sequence[Value]:
    body = read_nested(step, step.options.number("body_subgraph_index"))
    condition = read_nested(step, step.options.number("cond_subgraph_index"), condition=True)
    return step.make_node("While", *step.inputs(), cond=condition, body=body).outputs


def _case(step: Step) -> Sequence[Value]:
    index, *values = step.inputs()
    numbers = [int(each) for each in step.options.numbers("branch_subgraph_indices")]
    if not numbers:
        raise step.refusal("it has no branches")
    branches = {f"branch_{place}": read_nested(step, number) for place, number in enumerate(numbers)}
    return step.make_node("Case", index, *values, **branches).outputs


def _call_once(_step: Step) -> Sequence[Value]:
    """What is done once before all else is known before reading begins."""
    return ()


RULES: dict[str, Rule] = {
    "CALL": _call,
    "CALL_ONCE": _call_once,
    "IF": _if,
    "WHILE": _while,
    "STABLEHLO_COMPOSITE": _call_composite,
    "STABLEHLO_WHILE": _while,
    "STABLEHLO_CASE": _case,
}
