"""Keras files of every kind, compared with what Keras itself computes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import tensorferry
from tensorferry import readers
from tensorferry.errors import SourceError
from tensorferry.ir import Graph
from tensorferry.readers.selection import select
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.tensor import FileTensor

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

keras = pytest.importorskip("keras", reason="Keras is the reference")
pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")


def run(graph: Graph, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The graph's outputs in order, in numpy."""
    found = evaluate_graph(graph, inputs)
    return [found[port.name] for port in graph.outputs]


def read(path: Path, **options: Any) -> Graph:
    return select(readers.read(path, **options))


def agree(ours: list[np.ndarray], theirs: Any) -> None:
    theirs = list(theirs.values()) if isinstance(theirs, dict) else theirs if isinstance(theirs, list | tuple) else [theirs]
    assert len(ours) == len(theirs)
    for one, other in zip(ours, map(np.asarray, theirs), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * max(1.0, float(np.abs(other).max(initial=0))))


def test_a_nested_shared_model_with_several_inputs_and_outputs(tmp_path: Path) -> None:
    layers = keras.layers
    one, two = keras.Input((4,), name="one"), keras.Input((4,), name="two")
    shared = layers.Dense(3, activation="tanh", name="shared")
    inner = keras.Sequential([layers.Dense(5, activation="relu"), layers.Dense(3)], name="inner")
    outputs = [inner(shared(one)), shared(two), inner(shared(two))]
    model = keras.Model([one, two], outputs)
    fed = {name: np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32) for name in ("one", "two")}
    wanted = model.predict(fed, verbose=0)
    for name in ("model.keras", "model.h5"):
        model.save(tmp_path / name)
        graph = read(tmp_path / name)
        assert [port.name for port in graph.inputs] == ["one", "two"]
        assert [port.name for port in graph.outputs] == ["inner", "shared", "inner_1"]
        agree(run(graph, fed), wanted)


def small_model(library: Any) -> Any:
    layers = library.layers
    inputs = library.Input((8, 8, 3), name="image")
    value = layers.Conv2D(4, 3, use_bias=False)(inputs)
    value = layers.BatchNormalization()(value)
    value = layers.Activation("relu")(value)
    inner = library.Sequential([library.Input((6, 6, 4)), layers.BatchNormalization(), layers.Conv2D(2, 3)], name="inner")
    inner.layers[0].trainable = False
    model = library.Model(inputs, layers.Dense(3, activation="softmax")(layers.Flatten()(inner(value))))
    rng = np.random.default_rng(1)
    model.set_weights([np.abs(rng.normal(size=each.shape)) + 0.1 for each in model.get_weights()])
    return model


IMAGE = {"image": np.random.default_rng(2).normal(size=(2, 8, 8, 3)).astype(np.float32)}


def library(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is the reference")


@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_architecture_and_weights_in_files_of_their_own(name: str, tmp_path: Path) -> None:
    model = small_model(library(name))
    wanted = model.predict(IMAGE["image"], verbose=0)
    (tmp_path / "model.json").write_text(model.to_json())
    forms = ["model.weights.h5"] + (["plain.h5"] if name == "tf_keras" else [])
    with pytest.raises(SourceError, match="without weights"):
        readers.read(tmp_path / "model.json")
    for form in forms:
        model.save_weights(tmp_path / form)
        with pytest.raises(SourceError, match="--architecture"):
            readers.read(tmp_path / form)
        agree(run(read(tmp_path / form, architecture=tmp_path / "model.json"), IMAGE), wanted)
        agree(run(read(tmp_path / "model.json", checkpoint=tmp_path / form), IMAGE), wanted)
    report = tensorferry.convert(tmp_path / "model.json", tmp_path / "model.tflite", checkpoint=tmp_path / "model.weights.h5")
    assert report.verified


@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_the_content_tells_the_form_whatever_the_name(name: str, tmp_path: Path) -> None:
    model = small_model(library(name))
    wanted = model.predict(IMAGE["image"], verbose=0)
    for form, other in (("model.h5", "hdf5.keras"), ("model.keras", "zip.h5")):
        model.save(tmp_path / form)
        (tmp_path / form).rename(tmp_path / other)
        graph = read(tmp_path / other)
        assert [port.name for port in graph.inputs] == ["image"]
        agree(run(graph, IMAGE), wanted)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, use_bias=False)])
    other.save_weights(tmp_path / "other.weights.h5")
    (tmp_path / "model.json").write_text(model.to_json())
    with pytest.raises(SourceError, match="do not fit the layer"):
        readers.read(tmp_path / "other.weights.h5", architecture=tmp_path / "model.json")


def test_no_weight_is_read_when_a_model_is_opened(tmp_path: Path) -> None:
    small_model(keras).save(tmp_path / "model.keras")
    graph = readers.read(tmp_path / "model.keras")
    weights = [node["value"] for node in graph.nodes if node.op == "Const" and len(node["value"].shape) > 1]
    assert weights
    assert all(isinstance(each, FileTensor) for each in weights)


def test_code_in_a_lambda_is_never_run(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x * 2, name="twice")])
    model.save(tmp_path / "model.keras")
    with pytest.raises(SourceError, match=r"Python code.*: twice") as raised:
        readers.read(tmp_path / "model.keras")
    assert "SavedModel" in raised.value.remedy
    assert "marshal" not in json.dumps(raised.value.as_dict())


MODELS = Path(os.environ.get("TENSORFERRY_MODELS") or "../shared/models")
OPERATORS = {
    "fer2013_mini_xception_h5/fer2013_mini_XCEPTION.102-0.66.hdf5": 33,
    "gender_mini_xception_h5/gender_mini_XCEPTION.21-0.95.hdf5": 33,
    "kdef_tiny_xception_h5/tiny_XCEPTION_KDEF.hdf5": 33,
    "mlperf_resnet8_h5/pretrainedResnet.h5": 16,
    "mlperf_strww_h5/str_ww_ref_model.h5": 11,
    "mlperf_vww_h5/vww_96.h5": 31,
    "motion_classifier_h5/motion_detect_model.h5": 6,
    "pose_classifier_h5/pose_detect_model.h5": 5,
    "k3_kepler/best_model.keras": 4,
    "k3_nlf/model.keras": 4,
}
"""What is left once biases, batch normalisations and activations are part of what they follow."""


@pytest.mark.skipif(not MODELS.is_dir(), reason=f"there is no folder of real models at {MODELS}")
@pytest.mark.parametrize("model", OPERATORS)
def test_real_models_convert_with_as_few_operators_as_frozen_graphs(model: str, tmp_path: Path) -> None:
    report = tensorferry.convert(MODELS / model, tmp_path / "model.tflite")
    assert report.verified
    assert report.targets[0].operator_count == OPERATORS[model]


@pytest.mark.parametrize(("kind", "refused"), [("Conv2D", True), ("Dense", False)])
def test_kernels_that_theano_keeps_turned_are_not_taken_as_they_are(kind: str, refused: bool, tmp_path: Path) -> None:
    layer = keras.layers.Conv2D(2, 3) if kind == "Conv2D" else keras.layers.Dense(2)
    path = tmp_path / "model.h5"
    keras.Sequential([keras.Input((5, 5, 1)), layer]).save(path)
    with h5py.File(path, "a") as file:
        file.attrs["backend"] = "theano"
    if refused:
        with pytest.raises(SourceError, match="Theano"):
            read(path)
    else:
        assert read(path).outputs
