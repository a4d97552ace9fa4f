"""`--plain-float`: a quantised model as the float model that it stands for, without its rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from click.testing import CliRunner

import tensorferry
from lite_files import LiteFile
from tensorferry import readers
from tensorferry.cli import app
from tensorferry.runtimes import tfjs
from tensorferry.runtimes.litert import LiteRtModel

BATCH = np.random.default_rng(2).normal(0, 1, (8, 12, 12, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def net() -> Any:
    """A small net, its float results, and its int8 file by TensorFlow's own converter."""
    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(1)
    x = tf_keras.Input((12, 12, 3))
    y = layers.ReLU(6.0)(layers.Conv2D(8, 3, strides=2, padding="same")(x))
    z = layers.DepthwiseConv2D(3, padding="same", activation="relu")(y)
    y = layers.GlobalAveragePooling2D()(layers.Concatenate()([layers.Add()([y, z]), z]))
    return tf_keras.Model(x, layers.Dense(5)(y))


@pytest.fixture(scope="module")
def quantised(net: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    function = tf.function(net.call, input_signature=[tf.TensorSpec([1, 12, 12, 3])])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], net)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([each[None]] for each in BATCH)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    path = tmp_path_factory.mktemp("int8") / "net.tflite"
    path.write_bytes(converter.convert())
    return path


@pytest.mark.filterwarnings("ignore")
def test_what_is_left_of_an_int8_file_is_the_float_net(net: Any, quantised: Path, tmp_path: Path) -> None:
    expected = net(BATCH[:1]).numpy()
    rounded, plain = readers.read(quantised), readers.read(quantised, plain_float=True)
    assert any(node.op.startswith("FakeQuant") for node in rounded.nodes)
    assert not any(node.op.startswith("FakeQuant") for node in plain.nodes)
    assert [str(port.value.dtype) for port in (*plain.inputs, *plain.outputs)] == ["float32", "float32"]
    report = tensorferry.convert(quantised, tmp_path / "plain.tflite", plain_float=True)
    assert report.verified
    assert any("nothing is rounded" in each for each in report.notices)
    assert report.targets[0].operator_count <= 8
    with LiteRtModel(tmp_path / "plain.tflite") as lite:
        found = next(iter(lite.run({lite.inputs[0].name: BATCH[:1]}).values()))
    scale = np.abs(expected).max()
    assert np.abs(found - expected).max() < 0.03 * scale  # the weights alone were rounded to 8 bits
    if tfjs.available() is None:
        tensorferry.convert(quantised, tmp_path / "web", plain_float=True, verify=False)
        with tfjs.Session() as session:
            run = session.run(tmp_path / "web", {tfjs.read_ports(tmp_path / "web")[0][0]: BATCH[:1]})
        np.testing.assert_allclose(next(iter(run.outputs.values())), found, atol=1e-4 * scale)


@pytest.mark.parametrize("top", [6.0, 3.0])
def test_an_activation_that_only_a_range_stands_for_is_kept(top: float, tmp_path: Path) -> None:
    """A dense layer without an activation whose results begin at 0: negative ones are cut off."""
    kernel = np.asarray([[9, -50, 3, 7], [-20, 3, 99, 1], [5, 5, 5, -90]], np.int8)
    file = LiteFile()
    file.graph()
    x = file.tensor((1, 4), "INT8", scale=1 / 32, role="input", name="x")
    w = file.tensor((3, 4), "INT8", data=kernel, scale=1 / 16)
    y = file.tensor((1, 3), "INT8", scale=top / 255, zero=-128, role="output", name="y")
    file.operator("FULLY_CONNECTED", [x, w, -1], [y], {"fused_activation_function": "NONE"})
    path = file.write(tmp_path / "dense.tflite")
    given = np.asarray([[2.0, -1.5, 1.0, 0.25]], np.float32)
    weights = kernel.astype(np.float32) / 16
    expected = np.maximum(given @ weights.T, 0)
    expected = np.minimum(expected, 6) if top == 6 else expected
    assert (given @ weights.T).min() < 0
    tensorferry.convert(path, tmp_path / "plain.tflite", plain_float=True)
    with LiteRtModel(tmp_path / "plain.tflite") as lite:
        found = next(iter(lite.run({lite.inputs[0].name: given}).values()))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_roundings_of_a_graph_are_left_out(tmp_path: Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec([2, 3])])
    def rounded(x: Any) -> Any:
        y = tf.quantization.fake_quant_with_min_max_args(x, -1.0, 1.0)
        return tf.quantization.fake_quant_with_min_max_vars_per_channel(y * 2.0, [-1.0] * 3, [1.0] * 3)

    path = tmp_path / "graph.pb"
    path.write_bytes(rounded.get_concrete_function().graph.as_graph_def().SerializeToString())
    report = tensorferry.convert(path, tmp_path / "plain.tflite", plain_float=True)
    assert any("2 roundings" in each for each in report.notices)
    x = np.random.default_rng(0).normal(0, 2, (2, 3)).astype(np.float32)
    with LiteRtModel(tmp_path / "plain.tflite") as lite:
        np.testing.assert_allclose(next(iter(lite.run({lite.inputs[0].name: x}).values())), 2 * x, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_the_command(quantised: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["convert", str(quantised), "-o", str(tmp_path / "frozen.pb"), "--plain-float", "--no-verify"])
    assert result.exit_code == 0, result.output
    graph = readers.read(tmp_path / "frozen.pb")
    assert not any(node.op.startswith("FakeQuant") for node in graph.nodes)
