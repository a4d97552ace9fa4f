"""Graphs with random numbers: what is compared of them, and where the seed alone decides."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import tensorferry
from tensorferry import ops
from tensorferry.check import drawn_outputs
from tensorferry.comparison import compare_drawn
from tensorferry.ir import Graph, Port
from tensorferry.tensor import DType
from tensorferry.writers.graphdef import serialize_graphdef


def noisy() -> Graph:
    """y = x + noise, beside z = 2 x."""
    graph = Graph("noisy")
    x = ops.add(graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": (20, 20)}, name="x").output
    sizes = graph.constant(np.array([20, 20], np.int32), "sizes")
    noise = ops.add(graph, "RandomStandardNormal", (sizes,), {"dtype": DType.FLOAT32}, name="noise").output
    y = ops.add(graph, "AddV2", (x, noise), {}, name="y").output
    z = ops.add(graph, "Mul", (x, graph.constant(np.array(2, np.float32), "two")), {}, name="z").output
    graph.inputs, graph.outputs = [Port("x", x)], [Port("y", y), Port("z", z)]
    return graph


def test_only_what_hangs_on_random_numbers_is_compared_loosely() -> None:
    assert drawn_outputs(noisy()) == {"y"}


@pytest.mark.parametrize("target", ["noisy.tflite", "noisy-web"])
def test_a_graph_that_draws_is_converted_and_said_to_draw(target: str, tmp_path: Path) -> None:
    source = tmp_path / "noisy.pb"
    source.write_bytes(serialize_graphdef(noisy()))
    result = tensorferry.convert(source, tmp_path / target)
    assert any("'y'" in notice and "random" in notice for notice in result.notices)
    assert not any("'z'" in notice for notice in result.notices)
    if result.targets[0].check.status == "not verified":
        pytest.skip(result.targets[0].check.reason)
    y, z = result.targets[0].check.outputs
    assert math.isnan(y.relative), "no figure is made up for what has none"
    assert 0 <= z.relative < 1e-6
    assert result.targets[0].check.worst == z.relative
    assert json.loads(result.to_json())["targets"][0]["check"]["outputs"][0]["relative"] is None


def test_another_distribution_fails() -> None:
    generator = np.random.default_rng(0)
    uniform, normal = (draw(size=1000).astype(np.float32) for draw in (generator.random, generator.normal))
    assert compare_drawn("y", uniform, generator.random(1000).astype(np.float32)).passed
    assert not compare_drawn("y", uniform, normal).passed
    assert not compare_drawn("y", normal, normal[:999]).passed
    assert not compare_drawn("y", normal, normal.astype(np.int32)).passed
    assert not compare_drawn("y", normal, np.full(1000, np.nan, np.float32)).passed
