"""Loops and choices written in TensorFlow 1's form: the same results in TensorFlow.js and TensorFlow, with no function left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

import tensorferry
from tensorferry.runtimes import tfjs

MATRIX = tf.TensorSpec((2, 3), tf.float32)
COUNT = tf.TensorSpec((), tf.int32)


def loop(x: Any, n: Any) -> Any:
    return tf.while_loop(lambda i, _x: i < n, lambda i, y: (i + 1, tf.tanh(y) + 0.5), (0, x))[1]


def nested_loops(x: Any, n: Any) -> Any:
    def outer(i: Any, y: Any) -> Any:
        inner = tf.while_loop(lambda j, _z: j < i, lambda j, z: (j + 1, z * 1.5 + x), (0, y))[1]
        return i + 1, inner - 0.25

    return tf.while_loop(lambda i, _y: i < n, outer, (0, x))[1]


def constants_as_branches(x: Any, n: Any) -> Any:
    return x + tf.cond(n > 2, lambda: tf.constant(3.0), lambda: tf.constant(-3.0))


def choice_in_a_loop(x: Any, n: Any) -> Any:
    def step(i: Any, y: Any) -> Any:
        return i + 1, tf.cond(i % 2 == 0, lambda: y * 2.0, lambda: tf.nn.relu(y) + 1.0)

    return tf.while_loop(lambda i, _y: i < n, step, (0, x))[1]


def loop_in_a_choice(x: Any, n: Any) -> Any:
    return tf.cond(n > 2, lambda: loop(x, n), lambda: -x)


def loop_of_constants_in_a_choice(x: Any, n: Any) -> Any:
    def constant_loop() -> Any:
        return tf.while_loop(lambda i, _y: i < 3, lambda i, y: (i + 1, y * 2.0), (0, tf.constant(1.0)))[1]

    return x * tf.cond(n > 2, constant_loop, lambda: tf.constant(10.0))


def choice_of_many(x: Any, n: Any) -> Any:
    return tf.switch_case(n, [lambda: x, lambda: -x, lambda: x * x, lambda: tf.exp(x)])


CASES = (
    loop,
    nested_loops,
    constants_as_branches,
    choice_in_a_loop,
    loop_in_a_choice,
    loop_of_constants_in_a_choice,
    choice_of_many,
)


def frozen(function: Callable[..., Any], path: Path) -> Path:
    concrete = tf.function(lambda x, n: tf.identity(function(x, n), "result")).get_concrete_function(MATRIX, COUNT)
    graph = convert_variables_to_constants_v2(concrete, lower_control_flow=False).graph if concrete.variables else concrete.graph
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


@pytest.mark.parametrize("function", CASES, ids=lambda each: each.__name__)
def test_results_are_the_same(function: Callable[..., Any], tmp_path: Path) -> None:
    source = frozen(function, tmp_path / "net.pb")
    ends = {"inputs": ("x", "n"), "outputs": ("result",)}
    targets = [tmp_path / "web", tmp_path / "frames.pb"]
    tensorferry.convert(source, targets, to=("tfjs", "graphdef"), control_flow="v1", verify=False, **ends)
    model = json.loads((targets[0] / "model.json").read_text())["modelTopology"]
    assert not model.get("library", {}).get("function")
    ops = {node["op"] for node in model["node"]}
    assert "Merge" in ops
    assert not ops & {"If", "While", "StatelessIf", "StatelessWhile"}
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    for n in (0, 1, 3):
        expected = function(tf.constant(x), tf.constant(n)).numpy()
        feeds = {"x": x, "n": np.array(n, np.int32)}
        (on_the_web,) = tfjs.run(targets[0], feeds).outputs.values()
        np.testing.assert_allclose(on_the_web, expected, rtol=1e-5, atol=1e-6)
        (in_tensorflow,) = tensorflow_graph(targets[1], feeds).values()
        np.testing.assert_allclose(in_tensorflow, expected, rtol=1e-5, atol=1e-6)


def tensorflow_graph(path: Path, feeds: dict[str, Any]) -> dict[str, Any]:
    definition = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    assert not definition.library.function
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        with tf.compat.v1.Session(graph=graph) as session:
            return {"result": session.run("result:0", {f"{name}:0": array for name, array in feeds.items()})}


def test_what_is_written_is_read_and_proved(tmp_path: Path) -> None:
    source = frozen(choice_in_a_loop, tmp_path / "net.pb")
    report = tensorferry.convert(
        source,
        [tmp_path / "web", tmp_path / "f.pb"],
        to=("tfjs", "graphdef"),
        control_flow="v1",
        inputs=("x", "n"),
        outputs=("result",),
    )
    assert report.verified
    again = tensorferry.convert(tmp_path / "f.pb", tmp_path / "again.tflite", inputs=("x", "n"), outputs=("result",))
    assert again.verified


def test_without_loops_nothing_changes(tmp_path: Path) -> None:
    source = frozen(lambda x, n: tf.tanh(x) + tf.cast(n, tf.float32), tmp_path / "net.pb")
    for form in ("v1", "v2"):
        tensorferry.convert(source, tmp_path / form, to=("tfjs",), control_flow=form)
    one, other = ((tmp_path / form / "model.json").read_bytes() for form in ("v1", "v2"))
    assert one == other
