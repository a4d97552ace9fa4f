"""Recurrent ops and nets as a whole: what the generic op test cannot ask of them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

import tensorferry
from small_graphs import freeze, v1, weights
from tensorferry.passes.pipelines import CLEANING, run
from tensorferry.passes.unrolling import resolve_tensor_lists, unroll_loops
from tensorferry.runtimes import tfjs
from tensorferry.runtimes.litert import LiteRtModel
from tensorferry.runtimes.reference import evaluate_graph


def prove(path, folder, **keywords):
    """Convert to both targets, verified; the report of TensorFlow Lite."""
    targets = [folder / "net.tflite"] + ([folder / "web"] if tfjs.available() is None else [])
    report = tensorferry.convert(path, targets, **keywords)
    assert report.verified, [target.check for target in report.targets]
    return report.targets[0]


def block_lstm(length, *, cells=False, steps=4, batch=2):
    x = v1.placeholder(tf.float32, (steps, batch, 3), name="x")
    zeros, vector = np.zeros((batch, 5), np.float32), weights(5, seed=3)
    made = tf.raw_ops.BlockLSTM(
        seq_len_max=length, x=x, cs_prev=zeros, h_prev=zeros, w=weights(8, 20), b=weights(20, seed=1), wci=vector, wcf=vector,
        wco=vector, use_peephole=True,
    )  # fmt: skip
    tf.identity(made.h, name="states")
    if cells:
        tf.identity(made.cs, name="cells")


def test_steps_beyond_the_length_are_nothing(tmp_path):
    path = freeze(tmp_path / "net.pb", lambda: block_lstm(np.int64(2), cells=True))
    prove(path, tmp_path, inputs=["x"], outputs=["states", "cells"], reference="tensorflow")


def test_only_states_are_one_operator_and_its_two_first_values(tmp_path):
    path = freeze(tmp_path / "net.pb", lambda: block_lstm(np.int64(4)))
    lite = prove(path, tmp_path, inputs=["x"], outputs=["states"], reference="tensorflow")
    assert lite.operators == {"MAXIMUM": 2, "UNIDIRECTIONAL_SEQUENCE_LSTM": 1}


@pytest.mark.parametrize("xnnpack", [True, False])
def test_a_second_run_knows_nothing_of_the_first(tmp_path, xnnpack):
    """The operator keeps its last state, and a runtime does not forget it between two runs."""
    path = freeze(tmp_path / "net.pb", lambda: block_lstm(np.int64(4)))
    tensorferry.convert(path, tmp_path / "net.tflite", inputs=["x"], outputs=["states"])
    x = weights(4, 2, 3, seed=9)
    with LiteRtModel(tmp_path / "net.tflite", xnnpack=xnnpack) as model:
        first, second = (model.run({"x": x})["states"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first).max() > 0.01


# -- loops ---------------------------------------------------------------------------------------------------------


def freeze_keras(path, model, batch, *, lowered=False):
    """The frozen inference graph of a Keras model; lowered: loops in TensorFlow 1's form."""
    specs = [tf.TensorSpec((batch, *each.shape[1:]), each.dtype, name="x") for each in model.inputs]
    function = tf.function(lambda x: tf.identity(model(x, training=False), name="y")).get_concrete_function(*specs)
    path.write_bytes(
        convert_variables_to_constants_v2(function, lower_control_flow=lowered).graph.as_graph_def().SerializeToString()
    )
    return path


LAYERS = {
    "lstm": lambda: [keras.layers.LSTM(5)],
    "lstm, sequence, backwards": lambda: [keras.layers.LSTM(5, return_sequences=True, go_backwards=True)],
    "gru": lambda: [keras.layers.GRU(5)],
    "gru, reset before": lambda: [keras.layers.GRU(5, reset_after=False, return_sequences=True)],
    "simple": lambda: [keras.layers.SimpleRNN(5)],
    "bidirectional, stacked": lambda: [
        keras.layers.Bidirectional(keras.layers.LSTM(4, return_sequences=True)),
        keras.layers.GRU(3),
        keras.layers.Dense(2),
    ],
}


def layered(name, steps=6):
    keras.utils.set_random_seed(5)
    return keras.Sequential([keras.Input((steps, 3)), *LAYERS[name]()])


@pytest.mark.parametrize("batch", [1, 2, None])
@pytest.mark.parametrize("name", LAYERS)
def test_recurrent_layers(name, batch, tmp_path):
    """Also with an open batch, at which TensorFlow's own converter stops."""
    path = freeze_keras(tmp_path / "net.pb", layered(name), batch)
    lite = prove(path, tmp_path, inputs=["x"], outputs=["y"], reference="tensorflow")
    assert ("UNIDIRECTIONAL_SEQUENCE_LSTM" in lite.operators) == ("lstm" in name or "bidirectional" in name)
    assert ("WHILE" in lite.operators) == ("lstm" not in name)
    if "lstm" not in name:
        x = weights(batch or 2, 6, 3, seed=9)
        with LiteRtModel(tmp_path / "net.tflite", xnnpack=False) as model:
            first, second = (model.run({"x": x})["y"] for _ in range(2))
        np.testing.assert_array_equal(first, second)


def test_a_layer_is_one_operator(tmp_path):
    """Two first values, the layer, its last step; the transposes are gone."""
    path = freeze_keras(tmp_path / "net.pb", layered("lstm"), 2)
    lite = prove(path, tmp_path, inputs=["x"], outputs=["y"])
    assert lite.operators == {"MAXIMUM": 2, "UNIDIRECTIONAL_SEQUENCE_LSTM": 1, "STRIDED_SLICE": 1}


def test_states_and_the_last_cell(tmp_path):
    inputs = keras.Input((5, 3))
    keras.utils.set_random_seed(5)
    states, last, cell = keras.layers.LSTM(4, return_sequences=True, return_state=True, unit_forget_bias=True)(inputs)
    again = keras.layers.LSTM(4)(states, initial_state=[last, cell])
    outputs = keras.layers.Concatenate()([again, last, cell])
    path = freeze_keras(tmp_path / "net.pb", keras.Model(inputs, outputs), None)
    lite = prove(path, tmp_path, inputs=["x"], outputs=["y"], reference="tensorflow")
    assert lite.operators["UNIDIRECTIONAL_SEQUENCE_LSTM"] == 2 and "WHILE" not in lite.operators


def accumulate(limit, *, written):
    """A loop that reads one list and writes into another, from the last item to the first."""
    x = v1.placeholder(tf.float32, (4, 3), name="x")
    given = tf.raw_ops.TensorListFromTensor(tensor=x, element_shape=[3])
    made = tf.raw_ops.TensorListReserve(element_shape=[3], num_elements=4, element_dtype=tf.float32)

    def step(index, total, made):
        total = total + tf.raw_ops.TensorListGetItem(
            input_handle=given, index=3 - index, element_shape=[3], element_dtype=tf.float32
        )
        place = 3 - index if written == "each" else 0
        return index + 1, total, tf.raw_ops.TensorListSetItem(input_handle=made, index=place, item=total)

    bound = limit if limit is not None else tf.cast(x[0, 0], tf.int32)
    _, total, made = tf.while_loop(lambda index, *_rest: index < bound, step, (0, tf.zeros(3), made))
    tf.identity(total, name="total")
    stack = tf.raw_ops.TensorListStack(input_handle=made, element_shape=[3], element_dtype=tf.float32)
    tf.identity(stack, name="stack")


def unrolled(limit, written, tmp_path):
    with tf.Graph().as_default() as graph:
        v1.enable_control_flow_v2()
        try:
            accumulate(limit, written=written)
        finally:
            v1.disable_control_flow_v2()
    path = tmp_path / "net.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


@pytest.mark.parametrize(("limit", "written"), [(4, "each"), (4, "first"), (None, "each")])
def test_unrolling(limit, written, tmp_path):
    """Known rounds are written out once; a list of which items stay unset, and a loop of unknown length, are left."""
    graph = tensorferry.load(unrolled(limit, written, tmp_path), inputs=["x"], outputs=["total", "stack"])
    x = weights(4, 3, seed=4)
    before = evaluate_graph(graph, {"x": x})
    run(graph, (CLEANING,))
    ops = [node.op for node in graph.nodes]
    assert ops.count("While") == (limit is None)
    assert ops.count("TensorListStack") == (0 if (limit, written) == (4, "each") else 1)
    assert ops.count("Pack") == 1 - ops.count("TensorListStack")
    assert unroll_loops(graph) == resolve_tensor_lists(graph) == 0
    for name, array in evaluate_graph(graph, {"x": x}).items():
        np.testing.assert_allclose(array, before[name], rtol=1e-6)


def test_a_loop_of_one_round_is_none(tmp_path):
    lite = prove(unrolled(1, "each", tmp_path), tmp_path, inputs=["x"], outputs=["total"], reference="tensorflow")
    assert "WHILE" not in lite.operators


def array_lstm(bias):
    """A loop over arrays as TensorFlow 1 wrote it: x and h joined, gates in the order i, j, f, o, a forget bias apart."""
    x = tf.transpose(v1.placeholder(tf.float32, (2, 6, 3), name="x"), (1, 0, 2))
    given = tf.TensorArray(tf.float32, 6).unstack(x)
    made = tf.TensorArray(tf.float32, 6)
    kernel, offset = weights(8, 20, seed=1), weights(20, seed=2)

    def step(time, state, cell, made):
        gates = tf.matmul(tf.concat([given.read(time), state], 1), kernel) + offset
        i, j, f, o = tf.split(gates, 4, 1)
        cell = tf.sigmoid(f + bias) * cell + tf.sigmoid(i) * tf.tanh(j)
        state = tf.sigmoid(o) * tf.tanh(cell)
        return time + 1, state, cell, made.write(time, state)

    zeros = tf.zeros((2, 5))
    _, _, cell, made = tf.while_loop(lambda time, *_rest: time < 6, step, (0, zeros, zeros, made))
    tf.transpose(made.stack(), (1, 0, 2), name="states")
    tf.identity(cell, name="cell")


@pytest.mark.parametrize("bias", [1.0, np.linspace(0, 1, 5, dtype=np.float32)], ids=["known", "by unit"])
def test_a_loop_over_arrays(bias, tmp_path):
    """With a bias of its own for each unit it is no form that is known, and stays a loop."""
    path = freeze(tmp_path / "net.pb", lambda: array_lstm(bias))
    lite = prove(path, tmp_path, inputs=["x"], outputs=["states", "cell"], reference="tensorflow")
    fused = np.ndim(bias) == 0
    assert ("UNIDIRECTIONAL_SEQUENCE_LSTM" in lite.operators, "WHILE" in lite.operators) == (fused, not fused)
    assert not fused or "TRANSPOSE" not in lite.operators
