"""Outputs that hang on numbers which a model rounds to steps: what passes, and what still does not."""

from __future__ import annotations

import numpy as np
import pytest

from tensorferry import ops
from tensorferry.check import rounded_outputs
from tensorferry.comparison import ROUNDED, compare_outputs
from tensorferry.ir import Graph, Port
from tensorferry.tensor import DType

REFERENCE = np.random.default_rng(1).integers(20, 200, (4, 50)).astype(np.uint8)


def outcome(result, *, rounded=True, reference=REFERENCE):
    return compare_outputs({"y": reference}, {"y": result}, 1e-4, (), {"y"} if rounded else ())[0]


def test_another_step_here_and_there_passes_and_is_told():
    other = REFERENCE.copy()
    other[::2, ::3] += 3
    assert not outcome(other, rounded=False).passed
    assert outcome(other).passed
    assert outcome(other).problem == ROUNDED
    assert outcome(REFERENCE).problem == ""


@pytest.mark.parametrize(
    "wrong",
    [np.zeros_like(REFERENCE), 255 - REFERENCE, np.roll(REFERENCE, 1, axis=1), REFERENCE + np.uint8(20), REFERENCE[:2]],
    ids=["zeros", "reversed", "moved", "shifted", "short"],
)
def test_other_results_do_not(wrong):
    assert not outcome(wrong).passed


def test_floats_that_are_no_numbers_do_not():
    reference = np.linspace(-1, 1, 50, dtype=np.float32)
    result = reference.copy()
    result[3] = np.nan
    assert not outcome(result, reference=reference).passed
    assert outcome(reference + np.float32(0.005), reference=reference).passed
    assert not outcome(reference + np.float32(0.05), reference=reference).passed


def test_only_what_follows_from_rounding_counts():
    graph = Graph()
    x = ops.add(graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": (2,)}, name="x").output
    ends = [graph.constant(np.asarray(end, np.float32), f"end{end}") for end in (-1, 1)]
    rounded = ops.add(graph, "Relu", [ops.add(graph, "FakeQuantWithMinMaxVars", [x, *ends]).output]).output
    graph.outputs = [Port("rounded", rounded), Port("plain", ops.add(graph, "Relu", [x]).output)]
    assert rounded_outputs(graph) == {"rounded"}
