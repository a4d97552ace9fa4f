"""Branches, loops, lists of tensors and recurrent layers, as TensorFlow 2 writes them: right on both targets, or said why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorferry
from tensorferry.errors import SourceError, UnsupportedError
from tensorferry.readers import read
from tensorferry.readers.selection import select
from tensorferry.runtimes.reference import evaluate_graph

tf = pytest.importorskip("tensorflow", reason="TensorFlow, which makes the graphs, is not installed")
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # noqa: E402

Make = Callable[[Any], Any]


def freeze(make: Make, shape: list[int | None], path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Write the function as a frozen graph; returns it, to be asked what is right."""
    function = tf.function(make, autograph=False)
    concrete = function.get_concrete_function(tf.TensorSpec(shape, tf.float32))
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False) if concrete.variables else concrete
    path.write_bytes(frozen.graph.as_graph_def().SerializeToString())
    return lambda array: np.asarray(concrete(tf.constant(array)))


def choose(x: Any) -> Any:
    return tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2, lambda: x - 1)


def choose_constants(x: Any) -> Any:
    return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.constant([[1.0, 2, 3]] * 2), lambda: tf.zeros((2, 3)) - 1) + x


def choose_among(x: Any) -> Any:
    return tf.switch_case(tf.cast(tf.reduce_sum(x) > 0, tf.int32) + 1, [lambda: x, lambda: x * 3, lambda: x - 7])


def repeat(x: Any) -> Any:
    return tf.while_loop(lambda i, _y: i < 5, lambda i, y: (i + 1, y * 0.5 + x), (0, x))[1]


def repeat_until(x: Any) -> Any:
    return tf.while_loop(lambda y: tf.reduce_max(tf.abs(y)) < 100, lambda y: (y * 3 + 1,), (x,))[0]


def nested(x: Any) -> Any:
    def inner(y: Any) -> Any:
        return tf.while_loop(lambda j, _z: j < 2, lambda j, z: (j + 1, z * 2), (0, y))[1]

    def body(i: Any, y: Any) -> Any:
        return i + 1, tf.cond(tf.equal(i % 2, 0), lambda: y + 1, lambda: inner(y))

    return tf.while_loop(lambda i, _y: i < 3, body, (0, x))[1]


def grow(x: Any) -> Any:
    start = tf.zeros((0, 3))
    invariants = (tf.TensorShape([]), tf.TensorShape([None, 3]))
    return tf.while_loop(lambda i, _y: i < 4, lambda i, y: (i + 1, tf.concat([y, x[:1]], 0)), (0, start), invariants)[1]


def fill_array(x: Any) -> Any:
    count = tf.shape(x)[0]
    array = tf.TensorArray(tf.float32, size=count)
    step = lambda i, a: (i + 1, a.write(i, tf.reduce_sum(x[i]) * tf.cast(i, tf.float32)))  # noqa: E731
    return tf.while_loop(lambda i, _a: i < count, step, (0, array))[1].stack()


def append_to_array(x: Any) -> Any:
    array = tf.TensorArray(tf.float32, size=0, dynamic_size=True, element_shape=[3])
    for place in range(2):
        array = array.write(place, x[place] * 2)
    return array.stack()


def scatter_and_read(x: Any) -> Any:
    array = tf.TensorArray(tf.float32, size=3).unstack(tf.concat([x, x[:1]], 0))
    return array.read(2) + array.gather([0, 1])


CASES: dict[str, tuple[Make, list[int | None]]] = {
    "choose": (choose, [2, 3]),
    "choose constants": (choose_constants, [2, 3]),
    "choose among": (choose_among, [2, 3]),
    "repeat": (repeat, [2, 3]),
    "repeat, open": (repeat, [None, 3]),
    "repeat until": (repeat_until, [2, 3]),
    "nested": (nested, [2, 3]),
    "grow": (grow, [2, 3]),
    "fill an array": (fill_array, [2, 3]),
    "fill an array, open": (fill_array, [None, 3]),
    "append to an array": (append_to_array, [2, 3]),
    "scatter and read": (scatter_and_read, [2, 3]),
    "map": (lambda x: tf.map_fn(lambda row: tf.reduce_max(row) + row, x), [2, 3]),
    "scan": (lambda x: tf.scan(lambda a, b: a * 0.5 + b, x), [2, 3]),
    "fold": (lambda x: tf.foldl(lambda a, b: a * 0.5 + b, x), [2, 3]),
}


@pytest.mark.parametrize("name", CASES)
def test_graphs_of_tensorflow_2(name: str, tmp_path: Path) -> None:
    make, shape = CASES[name]
    source = tmp_path / "source.pb"
    right = freeze(make, shape, source)
    for seed, sign in ((0, 1), (1, -1)):
        values = (sign * np.abs(np.random.default_rng(seed).normal(size=(2, 3)))).astype(np.float32)
        graph = select(read(source))
        np.testing.assert_allclose(next(iter(evaluate_graph(graph, {"x": values}).values())), right(values), rtol=1e-5)
        np.savez(tmp_path / "x.npz", x=values)
        targets = [tmp_path / "model.tflite", tmp_path / "web"]
        report = tensorferry.convert(source, targets, verify_inputs=tmp_path / "x.npz")
        assert report.passed


def layer(name: str, **options: Any) -> Make:
    made = getattr(tf.keras.layers, name)(4, **options)

    def call(x: Any) -> Any:
        return made(x)

    return call


LAYERS: dict[str, tuple[Make, list[int | None]]] = {
    "LSTM": (layer("LSTM"), [2, 5, 3]),
    "LSTM, open batch": (layer("LSTM"), [None, 5, 3]),
    "LSTM, all open": (layer("LSTM", return_sequences=True), [None, None, 3]),
    "GRU, open batch": (layer("GRU"), [None, 5, 3]),
    "GRU, the first kind, backwards": (layer("GRU", reset_after=False, go_backwards=True, return_sequences=True), [2, 5, 3]),
    "SimpleRNN, open batch": (layer("SimpleRNN"), [None, 5, 3]),
    "LSTM, unrolled": (layer("LSTM", unroll=True), [2, 5, 3]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_recurrent_layers_of_keras(name: str, tmp_path: Path) -> None:
    make, shape = LAYERS[name]
    right = freeze(make, shape, tmp_path / "source.pb")
    values = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=values)
    graph = select(read(tmp_path / "source.pb"))
    np.testing.assert_allclose(next(iter(evaluate_graph(graph, {"x": values}).values())), right(values), rtol=1e-4, atol=1e-6)
    report = tensorferry.convert(
        tmp_path / "source.pb", [tmp_path / "model.tflite", tmp_path / "web"], verify_inputs=tmp_path / "x.npz"
    )
    assert report.passed


def test_a_function_that_calls_itself_is_named(tmp_path: Path) -> None:
    definition = tf.compat.v1.GraphDef()
    function = definition.library.function.add()
    function.signature.name = "again"
    function.signature.input_arg.add(name="x", type=1)
    function.signature.output_arg.add(name="y", type=1)
    function.node_def.add(name="call", op="again", input=["x"])
    function.ret["y"] = "call:y:0"
    definition.node.add(name="x", op="Placeholder").attr["dtype"].type = 1
    definition.node.add(name="call", op="again", input=["x"])
    (tmp_path / "circle.pb").write_bytes(definition.SerializeToString())
    with pytest.raises(SourceError, match="'again' calls itself"):
        read(tmp_path / "circle.pb")


def test_functions_that_double_each_other_are_bounded(tmp_path: Path) -> None:
    definition = tf.compat.v1.GraphDef()
    for number in range(40):
        function = definition.library.function.add()
        function.signature.name = f"f{number}"
        function.signature.input_arg.add(name="x", type=1)
        function.signature.output_arg.add(name="y", type=1)
        op = f"f{number + 1}" if number < 39 else "Relu"
        function.node_def.add(name="one", op=op, input=["x"])
        function.node_def.add(name="two", op=op, input=["one:y:0" if number < 39 else "one:activations:0"])
        function.ret["y"] = "two:y:0" if number < 39 else "two:activations:0"
    definition.node.add(name="x", op="Placeholder").attr["dtype"].type = 1
    definition.node.add(name="call", op="f0", input=["x"])
    (tmp_path / "bomb.pb").write_bytes(definition.SerializeToString())
    with pytest.raises(SourceError, match="takes more than"):
        read(tmp_path / "bomb.pb")


def test_a_list_of_unknown_elements_is_refused_by_name(tmp_path: Path) -> None:
    def make(x: Any) -> Any:
        array = tf.raw_ops.TensorListReserve(element_shape=-1, num_elements=tf.shape(x)[0], element_dtype=tf.float32)
        return tf.raw_ops.TensorListStack(input_handle=array, element_shape=-1, element_dtype=tf.float32)

    freeze(make, [2, 3], tmp_path / "source.pb")
    with pytest.raises(UnsupportedError, match="TensorListReserve"):
        tensorferry.convert(tmp_path / "source.pb", tmp_path / "model.tflite")
