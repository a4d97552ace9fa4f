"""TensorFlow.js layers-models, read and written: tfjs-layers itself, in Node, is the reference for both ways."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorferry
from tensorferry.errors import SourceError
from tensorferry.readers import detect, read
from tensorferry.readers.selection import select
from tensorferry.runtimes import tfjs
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.sampling import sample_inputs

MODELS = Path(__file__).parents[2] / "shared" / "models"
needs_javascript = pytest.mark.skipif(tfjs.available() is not None, reason=str(tfjs.available()))
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not there")
REAL = [
    *("kp_front_or_side", "kp_are_they_looking_their_hands", "kp_standing_or_sitting", "abalone_layers"),
    *("ml5_doodlenet", "ml5_crepe", "ml5_cvae/models", "nsfwjs_mobilenet_v2"),
]


def compare(model: Path, other: Path | None = None) -> None:
    """Our reading of a model, evaluated in numpy, beside tfjs-layers with the same file, or with another."""
    graph = select(read(model))
    inputs = sample_inputs(graph)
    found, wanted = evaluate_graph(graph, inputs), tfjs.run(other or model, inputs).outputs
    assert list(found) == list(wanted)
    for name, array in found.items():
        np.testing.assert_allclose(array, wanted[name], rtol=0, atol=1e-4 * np.abs(wanted[name]).max())


@needs_javascript
@needs_models
@pytest.mark.parametrize("name", REAL)
def test_real_models_are_what_tfjs_layers_computes(name: str) -> None:
    assert detect(MODELS / name) == "tfjs-layers"
    compare(MODELS / name)


@needs_javascript
@needs_models
def test_a_real_model_goes_to_both_targets(tmp_path: Path) -> None:
    report = tensorferry.convert(MODELS / "ml5_cvae" / "models", [tmp_path / "m.tflite", tmp_path / "web"])
    assert report.verified and report.source.format == "TensorFlow.js layers-model"


def rename(model: Path, change: Any) -> None:
    document = json.loads((model / "model.json").read_text())
    for group in document["weightsManifest"]:
        for index, entry in enumerate(group["weights"]):
            entry["name"] = change(entry["name"], index)
    (model / "model.json").write_text(json.dumps(document))


@needs_models
@pytest.mark.parametrize(
    "change",
    [
        lambda name, _index: f"sequential/{name}",
        lambda name, _index: "/".join([name.split("/")[0], *name.split("/")]),
        lambda name, _index: f"{name}_1",
        lambda name, _index: f"{name}:0",
    ],
    ids=["outer scope", "scope twice", "number", "tensor"],
)
def test_weights_may_have_more_in_their_names(tmp_path: Path, change: Any) -> None:
    shutil.copytree(MODELS / "kp_front_or_side", tmp_path / "m")
    rename(tmp_path / "m", change)
    one, other = select(read(MODELS / "kp_front_or_side")), select(read(tmp_path / "m"))
    inputs = sample_inputs(one)
    np.testing.assert_array_equal(*(next(iter(evaluate_graph(graph, inputs).values())) for graph in (one, other)))


@needs_models
def test_an_optimisers_weights_are_left_aside(tmp_path: Path) -> None:
    shutil.copytree(MODELS / "kp_front_or_side", tmp_path / "m")
    document = json.loads((tmp_path / "m" / "model.json").read_text())
    (tmp_path / "m" / "optimizer.bin").write_bytes(bytes(4))
    slot = {"name": "adam/iter", "shape": [], "dtype": "int32", "group": "optimizer"}
    document["weightsManifest"].append({"paths": ["optimizer.bin"], "weights": [slot]})
    (tmp_path / "m" / "model.json").write_text(json.dumps(document))
    assert select(read(tmp_path / "m")).outputs[0].name == "dense_5"


@needs_models
@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda d: d["weightsManifest"].pop(), "lacks 2 of 10 weights"),
        (lambda d: d["weightsManifest"][0]["weights"][0].update(name="dense_9/kernel"), "lacks 1 of 10 weights: dense_1/kernel"),
        (lambda d: d["modelTopology"]["model_config"]["config"].pop(), "belong to no layer"),
        (lambda d: d["modelTopology"].update(model_config=7), "no description of a Keras model"),
        (lambda d: d["modelTopology"]["model_config"]["config"][1].update(class_name="Frob"), "not known: Frob"),
        (lambda d: d["modelTopology"]["model_config"]["config"][1].update(class_name="Lambda"), "Lambda"),
        (lambda d: d.update(weightsManifest=7), "no list"),
        (lambda d: d.update(modelTopology={}), "neither a graph nor a Keras model"),
    ],
)
def test_damaged_models_are_one_clear_error(tmp_path: Path, change: Any, what: str) -> None:
    shutil.copytree(MODELS / "kp_front_or_side", tmp_path / "m")
    document = json.loads((tmp_path / "m" / "model.json").read_text())
    change(document)
    (tmp_path / "m" / "model.json").write_text(json.dumps(document))
    with pytest.raises(SourceError, match=what):
        read(tmp_path / "m")
