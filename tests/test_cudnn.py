"""Keras's layers for graphics cards alone, in the graphs that they write: they run on anything once converted."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras.api._v1.keras.layers import CuDNNGRU, CuDNNLSTM

import tensorferry
from small_graphs import v1, weights
from tensorferry.runtimes.litert import LiteRtModel

CUDNN = {"LSTM": CuDNNLSTM, "GRU": CuDNNGRU}


def turned(kernel, gates):
    """As Keras loads such a layer's weights into a plain one: each gate's matrix lies the other way round in memory."""
    return np.concatenate([each.reshape(each.shape[1], -1).T for each in np.split(kernel, gates, axis=1)], axis=1)


@pytest.mark.parametrize("kind", CUDNN)
def test_the_layer_computes_what_the_plain_one_does(kind, tmp_path):
    gates = 4 if kind == "LSTM" else 3
    bias = weights(2 * gates * 5, seed=2)
    arrays = [weights(3, gates * 5), weights(5, gates * 5, seed=1), bias]
    with tf.Graph().as_default() as graph:  # without a session, which would look for a graphics card
        x = v1.placeholder(tf.float32, (2, 6, 3), name="x")
        layer = CUDNN[kind](5, return_sequences=True)
        layer.build(x.shape)
        layer.kernel, layer.recurrent_kernel, layer.bias = map(tf.constant, arrays)
        tf.identity(layer(x), name="y")
    frozen = graph.as_graph_def()
    assert any(node.op.startswith("CudnnRNN") for node in frozen.node)
    source = tmp_path / "net.pb"
    source.write_bytes(frozen.SerializeToString())
    report = tensorferry.convert(source, tmp_path / "net.tflite", inputs=["x"], outputs=["y"])
    assert report.verified, [target.check for target in report.targets]
    plain = tf_keras.layers.LSTM(5, return_sequences=True) if kind == "LSTM" else tf_keras.layers.GRU(5, return_sequences=True)
    sound = weights(2, 6, 3, seed=7) * 3
    plain.build((2, 6, 3))
    plain.set_weights(
        [*(turned(each, gates) for each in arrays[:2]), bias.reshape(2, -1).sum(axis=0) if kind == "LSTM" else bias.reshape(2, -1)]
    )
    with LiteRtModel(tmp_path / "net.tflite") as model:
        made = model.run({"x": sound})["y"]
    np.testing.assert_allclose(made, plain(sound).numpy(), atol=2e-6)
