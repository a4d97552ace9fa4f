"""Recurrent ops and nets as a whole: what the generic op test cannot ask of them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tensorferry
from small_graphs import freeze, v1, weights
from tensorferry.runtimes import tfjs
from tensorferry.runtimes.litert import LiteRtModel


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
