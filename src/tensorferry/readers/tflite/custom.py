"""Operators that are no builtins: Select operators are TensorFlow's own; a few of MediaPipe and TensorFlow are known; the others
stay what they are."""

from __future__ import annotations

from collections.abc import Sequence

from tensorferry.ir import Typed, Value
from tensorferry.readers.tflite.steps import Step


def read_custom(step: Step) -> Value | Sequence[Value]:
    """By its code."""
    return keep(step)


def keep(step: Step) -> Sequence[Value]:
    """An op of the operator's own name, typed as the file says."""
    graph = step.reader.graph
    outputs = [step.output(index) for index in range(len(step.record.outputs))]
    typed = [Typed(each.dtype, each.shape) for each in outputs]
    return graph.add(
        step.record.custom or "Custom", step.inputs(), {}, typed=typed, name=graph.unique_name(step.name), origin=step.origin
    ).outputs
