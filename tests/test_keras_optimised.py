"""Layers in the wrappers of TensorFlow's model optimisation toolkit: quantisation-aware training, pruning, clusters of weights.

Where the toolkit is installed it makes the files itself. Else classes of tf_keras stand for its own, under the same
names, with the same configs and names of weights, which round by operations of TensorFlow.
"""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import tensorferry
from tensorferry import readers
from tensorferry.errors import SourceError
from tensorferry.runtimes import tfjs
from tensorferry.runtimes.litert import LiteRtModel
from test_keras_layers import agree, save

BATCH = np.random.default_rng(5).normal(size=(4, 8, 8, 3)).astype(np.float32)
LAYERS = tf_keras.layers


def check(source: Any, expected: np.ndarray, folder: Any) -> None:
    """TensorFlow Lite and TensorFlow.js give what the model gave."""
    targets = [folder / "model.tflite"] + ([] if tfjs.available() is not None else [folder / "web"])
    tensorferry.convert(source, targets, verify=False)
    with LiteRtModel(targets[0]) as lite:
        found = next(iter(lite.run({lite.inputs[0].name: BATCH}).values()))
    assert agree(found, expected)
    if len(targets) > 1:
        with tfjs.Session() as session:
            found = next(iter(session.run(targets[1], {tfjs.read_ports(targets[1])[0][0]: BATCH}).outputs.values()))
        assert agree(found, expected)


# -- the toolkit itself --------------------------------------------------------------------------------------------


def _net() -> Any:
    x = tf_keras.Input((8, 8, 3))
    y = LAYERS.ReLU(6.0)(LAYERS.BatchNormalization()(LAYERS.Conv2D(4, 3, padding="same")(x)))
    y = LAYERS.SeparableConv2D(4, 3, activation="relu")(LAYERS.DepthwiseConv2D(3, activation="relu")(y))
    z = LAYERS.Conv2D(4, 1)(y)
    y = LAYERS.Conv2DTranspose(3, 2)(LAYERS.Concatenate()([LAYERS.Add()([y, z]), z]))
    y = LAYERS.Activation("relu")(LAYERS.Flatten()(LAYERS.MaxPooling2D(2)(y)))
    return tf_keras.Model(x, LAYERS.Softmax()(LAYERS.Dense(3)(LAYERS.Dropout(0.3)(LAYERS.Dense(5, activation="tanh")(y)))))


def _small() -> Any:
    return tf_keras.Sequential([tf_keras.Input((8, 8, 3)), LAYERS.Conv2D(4, 3), LAYERS.Flatten(), LAYERS.Dense(3)])


@pytest.fixture(scope="module")
def toolkit() -> Any:
    return pytest.importorskip("tensorflow_model_optimization", reason="the toolkit makes these files")


@pytest.mark.parametrize("form", ["h5", "keras"])
@pytest.mark.parametrize("kind", ["quantised", "pruned", "clustered"])
@pytest.mark.filterwarnings("ignore")
def test_models_of_the_toolkit(kind: str, form: str, toolkit: Any, tmp_path: Any) -> None:
    tf_keras.utils.set_random_seed(3)
    callbacks = []
    if kind == "quantised":
        model = toolkit.quantization.keras.quantize_model(_net())
    elif kind == "pruned":
        model = toolkit.sparsity.keras.prune_low_magnitude(_small())
        callbacks = [toolkit.sparsity.keras.UpdatePruningStep()]
    else:
        first = toolkit.clustering.keras.CentroidInitialization.LINEAR
        model = toolkit.clustering.keras.cluster_weights(_small(), 4, first)
    model.compile("sgd", "mse")
    model.fit(BATCH, np.eye(3)[[0, 1, 2, 0]], epochs=3, verbose=0, callbacks=callbacks)
    expected = model(BATCH, training=False).numpy()
    check(save(model, form, tmp_path), expected, tmp_path)


# -- its wrapper made by hand --------------------------------------------------------------------------------------


class QuantizeLayer(LAYERS.Layer):
    """Rounds its input."""

    def build(self, _shape: Any) -> None:
        self.low = self.add_weight("quantize_layer_min", (), initializer="zeros", trainable=False)
        self.high = self.add_weight("quantize_layer_max", (), initializer="zeros", trainable=False)
        self.step = self.add_weight("optimizer_step", (), dtype=tf.int32, trainable=False)

    def call(self, x: Any) -> Any:
        return tf.quantization.fake_quant_with_min_max_vars(x, self.low, self.high)

    def get_config(self) -> dict[str, Any]:
        quantizer = {"num_bits": 8, "per_axis": False, "symmetric": False, "narrow_range": False}
        return {**super().get_config(), "quantizer": {"class_name": "AllValuesQuantizer", "config": quantizer}}


class QuantizeWrapperV2(LAYERS.Wrapper):
    """Rounds the kernel of a convolution or product for each channel, and what its activation gives."""

    def build(self, shape: Any) -> None:
        super().build(shape)
        self.kernel = self.layer.kernel
        sizes = (self.kernel.shape[-1],)
        self.step = self.add_weight("optimizer_step", (), dtype=tf.int32, trainable=False)
        ranges = (("kernel", sizes), ("post_activation", ()))
        self.ends = [self.add_weight(f"{name}_{end}", size, trainable=False) for name, size in ranges for end in ("min", "max")]

    def call(self, x: Any) -> Any:
        kernel = tf.quantization.fake_quant_with_min_max_vars_per_channel(self.kernel, *self.ends[:2], narrow_range=True)
        made = tf.nn.conv2d(x, kernel, 1, "VALID") + self.layer.bias
        return tf.quantization.fake_quant_with_min_max_vars(tf.nn.relu(made), *self.ends[2:])

    def get_config(self) -> dict[str, Any]:
        config = {"weight_attrs": ["kernel"], "activation_attrs": ["activation"], "quantize_output": False}
        return {**super().get_config(), "quantize_config": {"class_name": "Default8BitConvQuantizeConfig", "config": config}}


def _quantised() -> Any:
    x = tf_keras.Input((8, 8, 3))
    model = tf_keras.Model(x, QuantizeWrapperV2(LAYERS.Conv2D(4, 3, activation="relu"))(QuantizeLayer()(x)))
    random = np.random.default_rng(8)
    kernel, bias = random.normal(0, 0.5, (3, 3, 3, 4)), random.normal(0, 0.1, 4)
    ends = [-np.abs(kernel).max((0, 1, 2)) * 0.9, np.abs(kernel).max((0, 1, 2)) * 0.9, 0.0, 3.5]
    for weight in model.weights:
        name = weight.name.split("/")[-1].split(":")[0]
        fitting = {"kernel": kernel, "bias": bias, "kernel_min": ends[0], "kernel_max": ends[1], "post_activation_min": ends[2]}
        fitting |= {"post_activation_max": ends[3], "quantize_layer_min": -2.0, "quantize_layer_max": 2.1, "optimizer_step": 7}
        weight.assign(fitting[name])
    return model


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_layer_that_was_trained_to_be_quantised(tmp_path: Any) -> None:
    model = _quantised()
    source = save(model, "h5", tmp_path)
    graph = readers.read(source)
    rounded = [node for node in graph.nodes if node.op.startswith("FakeQuant")]
    assert [node.op.removeprefix("FakeQuantWithMinMaxVars") for node in rounded] == ["", "PerChannel", ""]
    assert [node["narrow_range"] for node in rounded] == [False, True, False]
    check(source, model(BATCH).numpy(), tmp_path)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_way_of_quantising_that_is_not_known_is_named(tmp_path: Any) -> None:
    source = save(_quantised(), "h5", tmp_path)
    with h5py.File(source, "a") as file:
        config = file.attrs["model_config"]
        config = config if isinstance(config, str) else config.decode()
        file.attrs["model_config"] = config.replace("Default8BitConvQuantizeConfig", "MyOwnQuantizeConfig")
    with pytest.raises(SourceError, match="MyOwnQuantizeConfig"):
        readers.read(source)
