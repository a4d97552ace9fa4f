"""SavedModels that TensorFlow itself writes of Keras 3's models and layers, which restore their variables in Python.

The reference is TensorFlow, which loads the folder and calls the same function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tensorferry
from tensorferry import readers
from tensorferry.readers.selection import select
from tensorferry.runtimes.litert import LiteRtModel
from tensorferry.runtimes.reference import evaluate_graph

LAYERS = keras.layers


def _shake(model: Any) -> Any:
    """No two weights alike, so that none can stand for another."""
    random = np.random.default_rng(4)
    for weight in model.variables:
        weight.assign(np.abs(random.normal(0.5, 0.3, weight.shape)).astype(np.float32))
    return model


def _net() -> Any:
    x = keras.Input((8, 8, 3))
    y = LAYERS.BatchNormalization()(LAYERS.Conv2D(4, 3, activation="relu")(x))
    return _shake(keras.Model(x, LAYERS.Dense(3)(LAYERS.Flatten()(y))))


class Module(tf.Module):
    """A Keras model, and a variable of TensorFlow's own."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.scale = _net(), tf.Variable(2.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3])])
    def __call__(self, x: Any) -> Any:
        return self.net(x) * self.scale

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3])])
    def twice(self, x: Any) -> Any:
        return {"doubled": self.net(x) * 2.0, "total": tf.reduce_sum(x, [1, 2, 3])}


class Layers(tf.Module):
    """Two layers of one class, of one shape, and a list of more."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.more = LAYERS.Dense(4), [LAYERS.Dense(4), LAYERS.LayerNormalization()]
        for layer in (self.first, *self.more):
            layer.build((None, 4))
            _shake(layer)

    @tf.function(input_signature=[tf.TensorSpec([None, 4])])
    def run(self, x: Any) -> Any:
        return self.more[1](self.more[0](self.first(x)))


class Recurrent(keras.Model):
    """A model of a user's own class."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.lstm = LAYERS.Dense(4), LAYERS.LSTM(3)

    def call(self, x: Any, training: bool = False) -> Any:
        return self.lstm(self.dense(x))


def _plain(folder: str) -> None:
    tf.saved_model.save(_net(), folder)


def _trained(folder: str) -> None:
    model = keras.Sequential([keras.Input((6,)), LAYERS.Dense(3), LAYERS.Dropout(0.5), LAYERS.Dense(2)])
    model.compile("adam", "mse")
    model.fit(np.ones((4, 6)), np.ones((4, 2)), verbose=0)
    tf.saved_model.save(model, folder)


def _own_class(folder: str) -> None:
    model = Recurrent()
    model(np.ones((2, 5, 3), np.float32))
    tf.saved_model.save(_shake(model), folder)


def _module(folder: str) -> None:
    module = Module()
    tf.saved_model.save(module, folder, signatures={"serving_default": module.__call__, "twice": module.twice})


def _layers(folder: str) -> None:
    module = Layers()
    tf.saved_model.save(module, folder, signatures=module.run)


SAVED: dict[str, tuple[Callable[[str], None], tuple[int, ...], str]] = {
    "a model": (_plain, (2, 8, 8, 3), "serving_default"),
    "a trained model": (_trained, (2, 6), "serving_default"),
    "a class of its own": (_own_class, (2, 5, 3), "serving_default"),
    "a module": (_module, (2, 8, 8, 3), "serving_default"),
    "another signature": (_module, (2, 8, 8, 3), "twice"),
    "layers in a list": (_layers, (2, 4), "serving_default"),
}


@pytest.mark.parametrize("name", SAVED)
def test_variables_are_found_by_the_objects(name: str, tmp_path: Any) -> None:
    save, shape, signature = SAVED[name]
    save(str(tmp_path / "model"))
    x = np.random.default_rng(6).normal(size=shape).astype(np.float32)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    expected = sorted((key, value.numpy()) for key, value in loaded.signatures[signature](tf.constant(x)).items())
    graph = select(readers.read(tmp_path / "model", signature=signature))
    found = evaluate_graph(graph, {graph.inputs[0].name: x})
    assert len(found) == len(expected)
    for (_key, wanted), mine in zip(expected, (found[key] for key in sorted(found)), strict=True):
        np.testing.assert_allclose(mine, wanted, atol=2e-5, rtol=1e-5)
    tensorferry.convert(tmp_path / "model", tmp_path / "model.tflite", signature=signature, verify=False)
    with LiteRtModel(tmp_path / "model.tflite") as lite:
        results = lite.run({lite.inputs[0].name: x})
    for (_key, wanted), mine in zip(expected, (results[key] for key in sorted(results)), strict=True):
        np.testing.assert_allclose(mine, wanted, atol=2e-5, rtol=1e-5)
