"""Variables: frozen where a run only reads them; else kept by TensorFlow Lite, or carried along as inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

import tensorferry
from op_harness import assert_close
from small_graphs import v1, weights
from tensorferry.cli import app
from tensorferry.errors import SourceError
from tensorferry.runtimes import litert, tfjs

X = np.array([[1, 2, 3], [4, 5, -6]], np.float32)


def variable(name: str, first: Any, **options: Any) -> Any:
    return v1.get_variable(name, initializer=tf.constant(first), **options)


def counter(x: Any) -> Any:
    """How often it was called, counted before it is read."""
    count = variable("count", np.array(10, np.int32))
    with tf.control_dependencies([v1.assign_add(count, 1)]):
        return x * tf.cast(tf.identity(count.read_value() if hasattr(count, "read_value") else count), tf.float32)


def old_value(x: Any) -> Any:
    """What was given the last time: read before it is assigned."""
    last = variable("last", np.zeros((2, 3), np.float32))
    before = tf.identity(last)
    with tf.control_dependencies([before]), tf.control_dependencies([v1.assign(last, x)]):
        return before + 0.0  # of a reference this is what it is now: its reading is no copy


def running_mean(x: Any) -> Any:
    """Two variables, of which one is moved by what the other is."""
    mean = variable("mean", np.zeros(3, np.float32))
    weight = variable("weight", np.array(0.5, np.float32))
    moved = v1.assign_sub(mean, (mean - tf.reduce_mean(x, 0)) * weight)
    with tf.control_dependencies([moved]), tf.control_dependencies([v1.assign(weight, weight * 0.5)]):
        return x - tf.identity(mean)


def read_only(x: Any) -> Any:
    kernel = variable("kernel", weights(3, 2))
    return tf.matmul(x, kernel) + variable("bias", weights(2, seed=1))


Graph = Callable[[Any], Any]
GRAPHS = {"counter": counter, "old value": old_value, "running mean": running_mean}


def write_graph(make: Graph, folder: Path, *, resource: bool) -> Path:
    with tf.Graph().as_default() as graph, v1.variable_scope("", use_resource=resource):
        tf.identity(make(v1.placeholder(tf.float32, (2, 3), "x")), name="out")
        v1.global_variables_initializer()
    path = folder / "source.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def call_source(path: Path, calls: int) -> list[np.ndarray]:
    definition = v1.GraphDef.FromString(path.read_bytes())
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        with v1.Session(graph=graph) as session:
            session.run("init")
            return [session.run("out:0", {"x:0": X * (call + 1)}) for call in range(calls)]


@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
@pytest.mark.parametrize("name", GRAPHS)
def test_state_lives_on_in_the_runtime(name: str, resource: bool, tmp_path: Path) -> None:
    source = write_graph(GRAPHS[name], tmp_path, resource=resource)
    expected = call_source(source, 3)
    report = tensorferry.convert(source, tmp_path / "model.tflite", outputs=["out"])
    assert report.targets[0].check.status == "verified"
    assert [port.name for port in report.inputs] == ["x"]
    for xnnpack in (True, False):
        with litert.LiteRtModel(tmp_path / "model.tflite", xnnpack=xnnpack) as model:
            outputs = [model.run({"x": X * (call + 1)})["out"] for call in range(3)]
        assert_close(outputs, expected, 1e-6)


@pytest.mark.parametrize(
    ("name", "resource"),
    [("counter", False), ("counter", True), ("old value", True), ("running mean", False), ("running mean", True)],
)
def test_state_as_inputs_and_outputs(name: str, resource: bool, tmp_path: Path) -> None:
    source = write_graph(GRAPHS[name], tmp_path, resource=resource)
    expected = call_source(source, 3)
    targets = [tmp_path / "model.tflite", tmp_path / "js"]
    report = tensorferry.convert(source, targets, outputs=["out"], state_as_io=True)
    assert [target.check.status for target in report.targets] == ["verified", "verified"]
    assert all("is an input: give it" in " ".join(target.notices) for target in report.targets)
    first = {"counter": {"count": np.array(10, np.int32)}, "old value": {"last": np.zeros((2, 3), np.float32)}}
    means = {"mean": np.zeros(3, np.float32), "weight": np.array(0.5, np.float32)}
    for run, target in zip((litert.run, tfjs.run), targets, strict=True):
        state, outputs = dict(first.get(name, means)), []
        for call in range(3):
            found = run(target, {"x": X * (call + 1), **state}).outputs
            outputs.append(found["out"])
            state = {key: found[f"{key}/next"] for key in state}
        assert_close(outputs, expected, 1e-6)


class Counting(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.count = tf.Variable(10.0)
        self.kernel = tf.Variable(weights(3, 2))

    @tf.function(input_signature=[tf.TensorSpec((2, 3), tf.float32)])
    def call(self, x: Any) -> Any:
        self.count.assign_add(1.0)
        return tf.matmul(x, self.kernel) * self.count


def test_the_state_of_a_saved_model(tmp_path: Path) -> None:
    module = Counting()
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.call)
    expected = [module.call(X).numpy() for _ in range(3)]
    report = tensorferry.convert(tmp_path / "saved", [tmp_path / "model.tflite", tmp_path / "js"])
    assert [target.check.status for target in report.targets] == ["verified", "verified"]
    with litert.LiteRtModel(tmp_path / "model.tflite") as model:
        outputs = [next(iter(model.run({"x": X}).values())) for _ in range(3)]
    assert_close(outputs, expected, 1e-6)


def test_the_command_line_has_the_option(tmp_path: Path) -> None:
    source = write_graph(counter, tmp_path, resource=True)
    arguments = [str(source), "-o", str(tmp_path / "model.tflite"), "--outputs", "out", "--state-as-io", "--no-verify", "--quiet"]
    assert CliRunner().invoke(app, ["convert", *arguments]).exit_code == 0
    assert litert.read_ports(tmp_path / "model.tflite") == (("x", "count"), ("out", "count/next"))


@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
def test_what_is_assigned_before_all_else_is_no_state(resource: bool, tmp_path: Path) -> None:
    def collected(x: Any) -> Any:
        total = variable("total", np.zeros((2, 3), np.float32))
        with tf.control_dependencies([v1.assign(total, x * 0)]), tf.control_dependencies([v1.assign_add(total, x)]):
            last = v1.assign_add(total, x * 2)
        with tf.control_dependencies([last]):
            return total.read_value() + 1

    source = write_graph(collected, tmp_path, resource=resource)
    report = tensorferry.convert(source, [tmp_path / "model.tflite", tmp_path / "js"], outputs=["out"])
    assert [target.check.status for target in report.targets] == ["verified", "verified"]
    assert [port.name for port in report.inputs] == ["x"]
    assert "VAR_HANDLE" not in report.targets[0].operators
    assert_close([litert.run(tmp_path / "model.tflite", {"x": X}).outputs["out"]], call_source(source, 1), 1e-6)


@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
def test_what_is_only_read_is_frozen(resource: bool, tmp_path: Path) -> None:
    source = write_graph(read_only, tmp_path, resource=resource)
    report = tensorferry.convert(source, [tmp_path / "model.tflite", tmp_path / "js"], outputs=["out"])
    assert [target.check.status for target in report.targets] == ["verified", "verified"]
    assert not {"VAR_HANDLE", "READ_VARIABLE"} & set(report.targets[0].operators)
    assert_close([litert.run(tmp_path / "model.tflite", {"x": X}).outputs["out"]], call_source(source, 1), 1e-6)


def test_files_with_state_can_be_verified_later(tmp_path: Path) -> None:
    source = write_graph(counter, tmp_path, resource=True)
    targets = [tmp_path / "model.tflite", tmp_path / "js"]
    tensorferry.convert(source, targets, outputs=["out"], verify=False)
    checks = tensorferry.verify(source, *targets).checks
    assert [each.status for each in checks.values()] == ["verified", "verified"]
    assert any("second call" in output.name for output in checks[str(targets[0])].outputs)


def test_what_was_trained_is_not_taken_for_its_first_value(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, (2, 3), "x")
        kernel = v1.get_variable("kernel", initializer=tf.constant(weights(3, 2)), use_resource=True)
        y = tf.matmul(x, kernel, name="out")
        v1.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(y))
    (tmp_path / "source.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(SourceError, match="not frozen"):
        tensorferry.convert(tmp_path / "source.pb", tmp_path / "model.tflite", outputs=["out"])


def test_a_variable_without_a_first_value_is_told(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, (2, 3), "x")
        lost = v1.get_variable("lost", shape=(3, 2), initializer=v1.random_normal_initializer(), use_resource=True)
        tf.matmul(x, lost, name="out")
    (tmp_path / "source.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(SourceError, match="not frozen"):
        tensorferry.convert(tmp_path / "source.pb", tmp_path / "model.tflite", outputs=["out"])
