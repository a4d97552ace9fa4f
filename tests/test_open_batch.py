"""LSTMs whose batch is open: LiteRT lays their states out before it computes anything, and writes past them if they grow later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tensorferry import ops
from tensorferry.errors import UnsupportedError
from tensorferry.ir import Graph, Port, Value
from tensorferry.passes import pipelines
from tensorferry.runtimes.litert import LiteRtModel
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.tensor import DType
from tensorferry.writers.tflite import write_tflite

UNITS, INNER = 48, 3
BATCHES = (1, 2, 33, 7)
"""Of 33 samples a state has 6,336 bytes; the file's own size of an open batch is 1."""


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32) * np.float32(0.3)


class Net:
    """A graph with the input x [batch, steps, 3]."""

    def __init__(self, steps: int) -> None:
        self.graph = Graph()
        self.x = self.add("Placeholder", dtype=DType.FLOAT32, shape=("batch", steps, INNER), name="x")
        self.graph.inputs = [Port("x", self.x)]

    def add(self, op: str, *inputs: Value | np.ndarray, name: str | None = None, **attrs: object) -> Value:
        values = [each if isinstance(each, Value) else self.graph.constant(each, "constant") for each in inputs]
        return ops.add(self.graph, op, values, attrs, name=name).outputs[0]

    def batch_of(self, value: Value) -> Value:
        at = [np.array([place], np.int32) for place in (0, 1, 1)]
        return self.add("StridedSlice", self.add("Shape", value, out_type=DType.INT32), *at, shrink_axis_mask=1)

    def lstm(self, x: Value, first: float = 0.0) -> Value:
        sizes = self.add("Pack", self.batch_of(x), np.array(UNITS, np.int32), axis=0)
        state, cell = (self.add("Fill", sizes, np.array(each, np.float32)) for each in (first, 0.0))
        weights = random(INNER, 4 * UNITS), random(UNITS, 4 * UNITS), random(4 * UNITS)
        return self.add("Lstm", x, *weights, state, cell, time_major=False)

    def finish(self, *outputs: Value) -> Graph:
        self.graph.outputs = [Port(f"y{number}", value) for number, value in enumerate(outputs)]
        return self.graph


def prove(graph: Graph, path: Path) -> set[str]:
    """LiteRT against the graph as it was built, at several sizes one after the other; the operators of the file."""
    made = graph.copy()
    pipelines.prepare(made)
    pipelines.finish(made, "tflite")
    facts = write_tflite(made, path)
    steps = graph.inputs[0].value.shape[1]
    for xnnpack in (True, False):
        with LiteRtModel(path, xnnpack=xnnpack) as model:
            for batch in (*BATCHES, *BATCHES):
                feeds = {"x": random(batch, steps, INNER)}
                for name, expected in evaluate_graph(graph, feeds).items():
                    np.testing.assert_allclose(model.run(feeds)[name], expected, atol=2e-6)
    return set(facts.operators)


def test_states_have_the_size_of_the_sequence(tmp_path: Path) -> None:
    net = Net(4)
    operators = prove(net.finish(net.lstm(net.x, first=0.25)), tmp_path / "net.tflite")
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in operators and "FILL" not in operators


def test_other_batches_than_the_models_own(tmp_path: Path) -> None:
    """Each sample gives two sequences, so that the file's own size of the states is none of one sample."""
    net = Net(8)
    halves = net.add("Reshape", net.x, np.array([-1, 4, INNER], np.int32))
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in prove(net.finish(net.lstm(halves)), tmp_path / "net.tflite")


def filled(net: Net, like: Value) -> Value:
    """As many rows of threes as the value has."""
    return net.add("Fill", net.add("Pack", net.batch_of(like), np.array(2, np.int32), axis=0), np.array(3.0, np.float32))


def test_what_waits_for_the_layer_may_be_sized_by_computing(tmp_path: Path) -> None:
    net = Net(4)
    states = net.lstm(net.x)
    operators = prove(net.finish(filled(net, states), states), tmp_path / "net.tflite")
    assert {"UNIDIRECTIONAL_SEQUENCE_LSTM", "FILL"} <= operators


def test_what_may_run_before_the_layer_may_not(tmp_path: Path) -> None:
    """A branch beside it: XNNPACK takes the plain operators first, wherever they stand in the file."""
    net = Net(4)
    operators = prove(net.finish(net.lstm(net.x), filled(net, net.x)), tmp_path / "net.tflite")
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" not in operators and "FILL" in operators


def computed(net: Net) -> Value:
    """The sequence in a shape that is computed."""
    sizes = net.add("Pack", net.batch_of(net.x), np.array(net.x.shape[1], np.int32), np.array(INNER, np.int32), axis=0)
    return net.add("BroadcastTo", net.x, net.add("Maximum", sizes, np.array(1, np.int32)))


def test_a_sequence_of_computed_size_is_stepped_through(tmp_path: Path) -> None:
    net = Net(4)
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" not in prove(net.finish(net.lstm(computed(net))), tmp_path / "net.tflite")


def test_too_many_steps_of_computed_size_are_refused(tmp_path: Path) -> None:
    net = Net(300)
    graph = net.finish(net.lstm(computed(net)))
    pipelines.prepare(graph)
    pipelines.finish(graph, "tflite")
    with pytest.raises(UnsupportedError) as caught:
        write_tflite(graph, tmp_path / "net.tflite")
    assert "--fixed" in str(caught.value) and not list(tmp_path.iterdir())
