"""TensorFlow's own formats as targets: TensorFlow loads and runs what is written, and gives the source's numbers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from google.protobuf import text_format

from tensorferry import convert, verify
from tensorferry.cli.program import app
from tensorferry.conversion import freeze, load
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.sampling import sample_inputs
from tensorferry.zoo.catalog import Wanted, build

v1 = tf.compat.v1
Arrays = Mapping[str, np.ndarray]
OUTPUTS = ["heatmap", "offset_2", "displacement_fwd_2", "displacement_bwd_2"]


@pytest.fixture(scope="module")
def posenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("posenet") / "posenet.pb"
    build("posenet", path, Wanted(multiplier=0.5, resolution=65, weights="random"))
    return path


@pytest.fixture(scope="module")
def written(posenet: Path) -> Path:
    """The folder with everything that can be written of it."""
    folder = posenet.parent
    names = ["again.pb", "again.pbtxt", "weights.npz", "model.ckpt", "saved"]
    kinds = ["graphdef", "graphdef-text", "npz", "checkpoint", "savedmodel"]
    report = convert(posenet, [folder / name for name in names], to=kinds)
    assert report.verified
    assert [target.kind for target in report.targets] == kinds
    return folder


@pytest.fixture(scope="module")
def expected(posenet: Path) -> tuple[np.ndarray, Arrays]:
    x = np.random.default_rng(0).uniform(-1, 1, (1, 65, 65, 3)).astype(np.float32)
    return x, run_frozen(v1.GraphDef.FromString(posenet.read_bytes()), x)


def run_frozen(graph: v1.GraphDef, x: np.ndarray) -> Arrays:
    with tf.Graph().as_default(), v1.Session() as session:
        tf.graph_util.import_graph_def(graph, name="")
        return session.run({name: f"{name}:0" for name in OUTPUTS}, {"image:0": x})


def assert_same(found: Arrays, expected: Arrays) -> None:
    for name, array in expected.items():
        np.testing.assert_allclose(np.asarray(found[name]), array, atol=1e-6 * float(np.abs(array).max()), err_msg=name)


def test_frozen_graphs_binary_and_text_are_read_by_tensorflow(written, expected):
    x, outputs = expected
    assert_same(run_frozen(v1.GraphDef.FromString((written / "again.pb").read_bytes()), x), outputs)
    assert_same(run_frozen(text_format.Parse((written / "again.pbtxt").read_text(), v1.GraphDef()), x), outputs)


def test_a_savedmodel_is_loaded_by_both_loaders(written, expected):
    x, outputs = expected
    loaded = tf.saved_model.load(str(written / "saved"))
    assert_same(loaded.signatures["serving_default"](image=tf.constant(x)), outputs)
    assert len(loaded.variables) == len(np.load(written / "weights.npz").files)
    with tf.Graph().as_default(), v1.Session() as session:
        meta = v1.saved_model.load(session, ["serve"], str(written / "saved"))
        signature = meta.signature_def["serving_default"]
        found = session.run({key: each.name for key, each in signature.outputs.items()}, {signature.inputs["image"].name: x})
    assert_same(found, outputs)


def test_a_checkpoint_is_loaded_by_name_and_by_a_saver_and_saved_again(written, expected, tmp_path):
    x, outputs = expected
    reader, weights = tf.train.load_checkpoint(str(written / "model.ckpt")), np.load(written / "weights.npz")
    assert sorted(reader.get_variable_to_shape_map()) == sorted(weights.files)
    with tf.Graph().as_default(), v1.Session() as session:
        saver = v1.train.import_meta_graph(str(written / "model.ckpt.meta"))
        saver.restore(session, str(written / "model.ckpt"))
        assert_same(session.run({name: f"{name}:0" for name in OUTPUTS}, {"image:0": x}), outputs)
        saver.save(session, str(tmp_path / "again"))
    again = tf.train.load_checkpoint(str(tmp_path / "again"))
    for name in weights.files:
        np.testing.assert_array_equal(reader.get_tensor(name), weights[name])
        np.testing.assert_array_equal(again.get_tensor(name), weights[name])


def test_a_saver_of_ones_own_restores_variables_of_the_same_names(written):
    reader = tf.train.load_checkpoint(str(written / "model.ckpt"))
    name = "MobilenetV1/Conv2d_0/weights"
    with tf.Graph().as_default(), v1.Session() as session:
        variable = v1.get_variable(name, reader.get_tensor(name).shape)
        v1.train.Saver().restore(session, str(written / "model.ckpt"))
        np.testing.assert_array_equal(session.run(variable), reader.get_tensor(name))


def test_all_of_them_are_verified_against_the_source(posenet, written):
    targets = [written / name for name in ("again.pb", "again.pbtxt", "weights.npz", "model.ckpt", "saved")]
    assert verify(posenet, *targets).verified


def test_without_tensorflow_they_are_read_back_and_evaluated(posenet, written, monkeypatch):
    monkeypatch.setattr("tensorferry.runtimes.tensorflow.available", lambda: "not there")
    verification = verify(posenet, written / "saved", written / "model.ckpt")
    assert verification.verified
    assert {each.runtime for each in verification.checks.values()} == {"Tensorferry's reader and reference (numpy)"}


def test_changed_weights_are_seen(posenet, written, tmp_path):
    np.savez(tmp_path / "other.npz", **{**dict(np.load(written / "weights.npz")), "MobilenetV1/Conv2d_0/weights": np.zeros(3)})
    shutil.copytree(written / "saved", tmp_path / "saved")
    frozen = tmp_path / "other.pb"
    build("posenet", frozen, Wanted(multiplier=0.5, resolution=65, weights="random", seed=1))
    verification = verify(posenet, tmp_path / "other.npz", frozen)
    assert [each.status for each in verification.checks.values()] == ["failed", "failed"]


# -- the way of the story ------------------------------------------------------------------------------------------


def tensorferry(*words: str | Path) -> None:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_posenet_goes_through_savedmodel_checkpoint_and_frozen_graph_to_both_targets(tmp_path):
    here: Callable[[str], Path] = lambda name: tmp_path / name  # noqa: E731
    size = ("--multiplier", "0.5", "--resolution", "65", "--weights", "random")
    tensorferry("zoo", "build", "posenet", "-o", here("graph.pb"), *size)
    tensorferry("convert", here("graph.pb"), "-o", here("saved"), "-o", here("model.ckpt"), "--to", "savedmodel,checkpoint")
    tensorferry("freeze", here("model.ckpt.meta"), "--checkpoint", here("model.ckpt"), "-o", here("frozen.pb"))
    tensorferry("freeze", here("saved"), "-o", here("frozen.pbtxt"))
    tensorferry("convert", here("frozen.pb"), "-o", here("posenet.tflite"), "-o", here("web"))
    tensorferry("verify", here("graph.pb"), *map(here, ("saved", "frozen.pb", "frozen.pbtxt", "posenet.tflite", "web")))
    graphs = [load(here(name)) for name in ("graph.pb", "saved", "model.ckpt.meta", "frozen.pb", "frozen.pbtxt")]
    inputs = sample_inputs(graphs[0], 0)
    first = evaluate_graph(graphs[0], inputs)
    for graph in graphs[1:]:
        found = evaluate_graph(graph, inputs)
        for name, array in first.items():
            np.testing.assert_array_equal(found[name], array)
    assert freeze(here("frozen.pbtxt"), here("once_more.pb")).bytes == here("frozen.pb").stat().st_size
