"""Nets over sequences, whole, as Keras freezes them: proved on both targets, with no more operators than TensorFlow's converter."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

import tensorferry
from small_graphs import v1
from tensorferry.runtimes import tfjs
from tensorferry.runtimes.litert import LiteRtModel

layers = keras.layers


def encoder(x, *, before=False, mask=None, width=16):
    """One block of a transformer; `before`: normalised before each part, as vision transformers do it."""

    def normal(value):
        return layers.LayerNormalization(epsilon=1e-6)(value)

    y = normal(x) if before else x
    x = x + layers.MultiHeadAttention(2, width // 2)(y, y, attention_mask=mask)
    x = x if before else normal(x)
    y = normal(x) if before else x
    x = x + layers.Dense(width)(layers.Dense(2 * width, activation="gelu")(y))
    return x if before else normal(x)


def bert():
    words, segments, mask = (keras.Input((8,), dtype="int32") for _ in range(3))
    places = layers.Embedding(8, 16)(keras.ops.arange(8))
    x = layers.Embedding(50, 16)(words) + layers.Embedding(2, 16)(segments) + places
    seen = keras.ops.reshape(mask, (-1, 1, 8)) > 0
    for _ in range(2):
        x = encoder(x, mask=seen)
    return keras.Model([words, segments, mask], layers.Dense(16, activation="tanh")(x[:, 0]))


def vision_transformer():
    image = keras.Input((32, 32, 3))
    x = layers.Reshape((16, 16))(layers.Conv2D(16, 8, 8)(image))
    x = encoder(x + layers.Embedding(16, 16)(keras.ops.arange(16)), before=True)
    return keras.Model(image, layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling1D()(x)))


def recurrent(*stack):
    return keras.Sequential([keras.Input((12, 4)), *stack])


NETS = {
    "bert": bert,
    "vision transformer": vision_transformer,
    "gru": lambda: recurrent(layers.GRU(8), layers.Dense(3)),
    "bidirectional lstm": lambda: recurrent(layers.Bidirectional(layers.LSTM(8)), layers.Dense(3)),
    "simple rnn": lambda: recurrent(layers.SimpleRNN(8)),
    "curves": lambda: recurrent(layers.Dense(8, activation="selu"), layers.Dense(8, activation="mish")),
}


def freeze(model, path, batch):
    """Names of inputs and outputs; loops stay functions."""
    specs = [tf.TensorSpec((batch, *each.shape[1:]), each.dtype) for each in model.inputs]
    function = tf.function(lambda *inputs: model(list(inputs) if len(inputs) > 1 else inputs[0], training=False))
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(*specs), lower_control_flow=False)
    path.write_bytes(frozen.graph.as_graph_def().SerializeToString())
    return [each.op.name for each in frozen.inputs], [each.op.name for each in frozen.outputs]


def count_official(path, inputs, outputs):
    """Operators, loops' included, that TensorFlow's converter makes of it."""
    data = v1.lite.TFLiteConverter.from_frozen_graph(str(path), inputs, outputs).convert()
    model = schema_py_generated.Model.GetRootAs(bytearray(data), 0)
    return sum(model.Subgraphs(index).OperatorsLength() for index in range(model.SubgraphsLength()))


@pytest.mark.parametrize("batch", [1, None])
@pytest.mark.parametrize("name", NETS)
def test_a_net_is_proved_with_no_more_operators_than_tensorflow_makes(name, batch, tmp_path):
    keras.utils.set_random_seed(3)
    inputs, outputs = freeze(NETS[name](), tmp_path / "net.pb", batch)
    targets = [tmp_path / "net.tflite"] + ([tmp_path / "web"] if tfjs.available() is None else [])
    report = tensorferry.convert(tmp_path / "net.pb", targets, inputs=inputs, outputs=outputs, reference="tensorflow")
    assert report.verified, [target.check for target in report.targets]
    if batch is not None:  # with an open one the official converter stops at recurrent layers, and makes more of the others
        assert report.targets[0].operator_count <= count_official(tmp_path / "net.pb", inputs, outputs)


@pytest.mark.parametrize("xnnpack", [True, False])
def test_mish_far_from_zero(xnnpack, tmp_path):
    x = keras.Input((6,))
    inputs, outputs = freeze(keras.Model(x, keras.ops.tanh(keras.ops.softplus(x)) * x), tmp_path / "net.pb", 1)
    tensorferry.convert(tmp_path / "net.pb", tmp_path / "net.tflite", inputs=inputs, outputs=outputs)
    given = np.array([[-200, -20, -1, 1, 20, 200]], np.float32)
    with LiteRtModel(tmp_path / "net.tflite", xnnpack=xnnpack) as model:
        (made,) = model.run({inputs[0]: given}).values()
    expected = given * np.tanh(np.logaddexp(0, given.astype(np.float64)))
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-6)
