"""Which operators of the targets some case of the bench or some example of an op makes Tensorferry write."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensorferry import ops
from tensorferry.errors import FerryError
from tensorferry.ir import Graph, Port
from tensorferry.ops.spec import Example, OpSpec
from tensorferry.passes.pipelines import finish, prepare
from tensorferry.tensor import DType
from tensorferry.wire.tfjs_releases import first_releases
from tensorferry.wire.tflite_schema import operators
from tensorferry.writers.tfjs import write_tfjs
from tensorferry.writers.tflite import write_tflite

REASONS = Path(__file__).with_name("unreached.txt")
NO_BUILTINS = {"CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"}
ALWAYS_THERE = {"Const", "Placeholder"}
"""Nodes of every TensorFlow.js graph, which no count of operators names."""

UNEXPLAINED = "not yet explained"


@dataclass(frozen=True, slots=True)
class Coverage:
    """`unreached` says why, by operator."""

    total: int
    reached: frozenset[str]
    unreached: Mapping[str, str]


def measure_coverage(outcomes: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Coverage]:
    """From what was written for the cases of the bench (`outcomes[target][id]["operators"]`) and for the examples of all ops."""
    reasons = read_reasons()
    with_kernel = frozenset(each.name for each in operators().values() if any(each.oldest)) - NO_BUILTINS
    known = {"tflite": with_kernel, "tfjs": frozenset(first_releases()) - ALWAYS_THERE}
    found = {}
    for target, names in known.items():
        written = {name for each in outcomes.get(target, {}).values() for name in each.get("operators", ())}
        reached = (written | operators_of_examples(target)) & names
        missing = {name: reasons[target].get(name, UNEXPLAINED) for name in sorted(names - reached)}
        found[target] = Coverage(len(names), reached, missing)
    return found


def read_reasons() -> dict[str, dict[str, str]]:
    """Target -> operator -> why no graph reaches it. A line of the file: target, operators, a colon, the reason."""
    reasons: dict[str, dict[str, str]] = {"tflite": {}, "tfjs": {}}
    for line in REASONS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            names, _, why = line.partition(":")
            target, *listed = names.split()
            reasons[target] |= dict.fromkeys(listed, why.strip())
    return reasons


def operators_of_examples(target: str) -> set[str]:
    """What is written for the examples that the target can express."""
    written: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for spec in ops.all_specs():
            for index, example in enumerate(spec.examples()):
                try:
                    graph = _graph(spec, example, target)
                    prepare(graph)
                    finish(graph, target)
                    if target == "tflite":
                        written |= set(write_tflite(graph, place / "model.tflite").operators)
                    else:
                        model = place / f"{spec.name}-{index}"
                        model.mkdir()
                        written |= set(write_tfjs(graph, model).operators)
                except FerryError:
                    continue  # what a target declines is in docs/ops.md
    return written


def _graph(spec: OpSpec, example: Example, target: str) -> Graph:
    """The example alone, its activation only where the target fuses it."""
    graph = Graph(spec.name)
    fuses = example.attrs.get("activation") in spec.fuses.get(target, ())
    attrs = {key: value for key, value in example.attrs.items() if fuses or not key.startswith("activation")}
    values = []
    for index, array in enumerate(example.inputs):
        if index in example.constants:
            values.append(graph.constant(array, f"c{index}"))
            continue
        value = ops.add(graph, "Placeholder", (), {"dtype": DType.of(array), "shape": array.shape}, name=f"x{index}").output
        graph.inputs.append(Port(value.name, value))
        values.append(value)
    node = ops.add(graph, spec.name, values, attrs, name="node")
    graph.outputs = [Port(f"y{index}", value) for index, value in enumerate(node.outputs)]
    return graph
