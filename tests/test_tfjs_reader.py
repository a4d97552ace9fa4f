"""TensorFlow.js graph models as sources: what is read computes what TensorFlow.js itself computes with the same files."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorferry
from tensorferry.errors import FerryError, SourceError
from tensorferry.readers import detect, read, variables
from tensorferry.readers.selection import select
from tensorferry.runtimes import tfjs
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.sampling import sample_inputs
from tensorferry.wire.webweights import read_manifest

MODELS = Path(__file__).parent.parent.parent / "shared" / "models"
needs_javascript = pytest.mark.skipif(tfjs.available() is not None, reason=str(tfjs.available()))
REAL = ["basic_tfjs_golden_graph", "tfjs_rn_graph", "angular_prefetch_tfjs", "basic_pitch_tfjs", "stylize_transformer_sep_tfjs"]


def compare(model: Path) -> None:
    """Our reading, evaluated in numpy, beside the files themselves in TensorFlow.js."""
    graph = select(read(model))
    inputs = sample_inputs(graph, sizes={"Placeholder.1": 32, "Placeholder.2": 32})
    expected = tfjs.run(model, inputs).outputs
    actual = evaluate_graph(graph, inputs)
    assert list(actual) == list(expected) or set(actual) == set(expected)
    for name, array in actual.items():
        largest = np.abs(expected[name]).max()
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=1e-4 * largest)


@needs_javascript
@pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not there")
@pytest.mark.parametrize("name", REAL)
def test_real_models(name: str) -> None:
    assert detect(MODELS / name) == "tfjs"
    compare(MODELS / name)


@pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not there")
def test_the_form_of_the_first_releases_is_the_saved_model_it_was_made_of() -> None:
    image = np.random.default_rng(0).uniform(0, 1, (1, 224, 224, 3)).astype(np.float32)
    old = select(read(MODELS / "objdetect_tfjs0x"))
    saved = select(read(MODELS / "objdetect_yingshaoxo_sm"))
    one = evaluate_graph(old, {"input": image})["final_result"]
    np.testing.assert_allclose(one, evaluate_graph(saved, {"image": image})["prediction"], atol=1e-5)


# -- made here -----------------------------------------------------------------------------------------------------


def text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def write_model(
    folder: Path, nodes: list[dict[str, Any]], weights: list[dict[str, Any]], data: bytes, cut: int | None = None, **more: Any
) -> Path:
    """A model.json and its shards, cut at byte `cut`."""
    folder.mkdir(exist_ok=True)
    pieces = [data] if cut is None else [data[:cut], data[cut:]]
    paths = [f"shard{index}.bin" for index in range(len(pieces))]
    for path, piece in zip(paths, pieces, strict=True):
        (folder / path).write_bytes(piece)
    manifest = [{"paths": paths, "weights": weights}]
    document = {
        "format": "graph-model",
        "modelTopology": {"node": nodes, "versions": {"producer": 1}},
        "weightsManifest": manifest,
        **more,
    }
    (folder / "model.json").write_text(json.dumps(document))
    return folder


def placeholder(name: str, *shape: int) -> dict[str, Any]:
    dims = [{"size": str(size)} for size in shape]
    return {"name": name, "op": "Placeholder", "attr": {"dtype": {"type": "DT_FLOAT"}, "shape": {"shape": {"dim": dims}}}}


def constant(name: str, kind: str = "DT_FLOAT", shape: tuple[int, ...] = ()) -> dict[str, Any]:
    dims = {"dim": [{"size": str(size)} for size in shape]}
    return {
        "name": name,
        "op": "Const",
        "attr": {"dtype": {"type": kind}, "value": {"tensor": {"dtype": kind, "tensorShape": dims}}},
    }


W = np.arange(12, dtype=np.float32).reshape(4, 3) - 5
B = np.array([1, -1, 0.5], np.float32)


def product(attr: dict[str, Any]) -> list[dict[str, Any]]:
    node = {"name": "y", "op": "_FusedMatMul", "input": ["x", "w", "b"], "attr": {"T": {"type": "DT_FLOAT"}, **attr}}
    return [placeholder("x", -1, 4), constant("w", shape=(4, 3)), constant("b", shape=(3,)), node]


FUSED = {"fused_ops": {"list": {"s": [text("BiasAdd"), text("Relu6")]}}, "num_args": {"i": "1"}}
PLAIN = [{"name": "w", "shape": [4, 3], "dtype": "float32"}, {"name": "b", "shape": [3], "dtype": "float32"}]


def evaluate(folder: Path) -> np.ndarray:
    return evaluate_graph(select(read(folder)), {"x": np.eye(4, dtype=np.float32)})["y"]


@pytest.mark.parametrize("cut", [None, 0, 7, 48, 60])
def test_fused_ops_are_written_apart_and_shards_may_be_cut_anywhere(tmp_path: Path, cut: int | None) -> None:
    folder = write_model(tmp_path / "m", product(FUSED), PLAIN, W.tobytes() + B.tobytes(), cut)
    np.testing.assert_array_equal(evaluate(folder), np.clip(W + B, 0, 6))
    report = tensorferry.convert(folder, tmp_path / "m.tflite")
    assert report.passed and report.source.format == "TensorFlow.js graph model"


@needs_javascript
def test_every_fused_activation_is_what_tensorflow_js_makes_of_it(tmp_path: Path) -> None:
    for name in ("Relu", "Elu", "Sigmoid", "LeakyRelu"):
        attr = {"fused_ops": {"list": {"s": [text("BiasAdd"), text(name)]}}, "num_args": {"i": "1"}, "leakyrelu_alpha": {"f": 0.3}}
        compare(write_model(tmp_path / name, product(attr), PLAIN, W.tobytes() + B.tobytes()))


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float16"])
def test_quantised_weights(tmp_path: Path, kind: str) -> None:
    if kind == "float16":
        stored, note = W.astype(np.float16), {"dtype": "float16", "original_dtype": "float32"}
    else:
        stored = np.rint((W + 5) / 0.5).astype(kind)
        note = {"dtype": kind, "scale": 0.5, "min": -5, "original_dtype": "float32"}
    weights = [{**PLAIN[0], "quantization": note}, PLAIN[1]]
    folder = write_model(tmp_path / "m", product(FUSED), weights, stored.tobytes() + B.tobytes())
    np.testing.assert_array_equal(evaluate(folder), np.clip(W + B, 0, 6))
    tensor = read_manifest(json.loads((folder / "model.json").read_text())["weightsManifest"], folder)["w"]
    assert b"".join(tensor.chunks(16)) == W.tobytes()
    if tfjs.available() is None:
        compare(folder)


def test_a_signature_names_inputs_and_outputs(tmp_path: Path) -> None:
    signature = {"inputs": {"features": {"name": "x:0"}}, "outputs": {"scores": {"name": "y:0"}}}
    folder = write_model(tmp_path / "m", product(FUSED), PLAIN, W.tobytes() + B.tobytes(), signature=signature)
    graph = select(read(folder))
    assert ([port.name for port in graph.inputs], [port.name for port in graph.outputs]) == (["features"], ["scores"])


def test_texts(tmp_path: Path) -> None:
    data = b"\x02\0\0\0ab\0\0\0\0"
    folder = write_model(tmp_path / "m", [], [{"name": "t", "shape": [2], "dtype": "string"}], data)
    manifest = json.loads((folder / "model.json").read_text())["weightsManifest"]
    assert read_manifest(manifest, folder)["t"].array().tolist() == [b"ab", b""]


def test_what_we_write_is_read_again(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow, which makes the graph, is not installed")
    from small_graphs import freeze, small_net  # noqa: PLC0415

    source = freeze(tmp_path / "net.pb", small_net)
    tensorferry.convert(source, tmp_path / "web", shard_size=1000, verify=False)
    one, other = select(read(source)), select(read(tmp_path / "web"))
    inputs = sample_inputs(one)
    expected = evaluate_graph(one, inputs)
    for name, array in evaluate_graph(other, inputs).items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-6)


# -- damaged and hostile -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda d: d["weightsManifest"][0].update(paths=["../secret"]), "not in the model's folder"),
        (lambda d: d["weightsManifest"][0].update(paths=["/etc/hostname"]), "not in the model's folder"),
        (lambda d: d["weightsManifest"][0].update(paths=["gone.bin"]), "does not exist"),
        (lambda d: d["weightsManifest"][0].update(paths=[7]), "not in the model's folder"),
        (lambda d: d["weightsManifest"][0]["weights"][0].update(shape=[4, 4]), "ends at byte|take"),
        (lambda d: d["weightsManifest"][0]["weights"][0].update(shape=[1 << 30, 1 << 30]), "ends at byte"),
        (lambda d: d["weightsManifest"][0]["weights"][0].update(shape=[1 << 40]), "claims the shape"),
        (lambda d: d["weightsManifest"][0]["weights"][0].update(shape=[4.5, 3]), "claims the shape"),
        (lambda d: d["weightsManifest"][0]["weights"][0].update(shape=[-1]), "claims the shape"),
        (lambda d: d["weightsManifest"][0]["weights"][0].update(dtype="float8"), "unknown type"),
        (lambda d: d["weightsManifest"][0]["weights"][0].pop("name"), "cannot be read"),
        (lambda d: d["weightsManifest"][0]["weights"].pop(), "take 48 bytes"),
        (lambda d: d["weightsManifest"][0]["weights"][1].update(name="w"), "two weights"),
        (lambda d: d.update(weightsManifest={}), "no list"),
        (lambda d: d["modelTopology"]["node"][3].update(input=["x"]), None),
        (lambda d: d["modelTopology"]["node"][3]["attr"].update(fused_ops={"list": {"s": [text("Frob")]}}), "fuses Frob"),
        (lambda d: d["modelTopology"]["node"][3].update(op=3), None),
        (lambda d: d["modelTopology"].update(node=[{"attr": {"x": {"list": {"i": ["a"]}}}}]), "cannot hold"),
    ],
)
def test_damaged_models_are_one_clear_error(tmp_path: Path, change: Any, what: str) -> None:
    folder = write_model(tmp_path / "m", product(FUSED), PLAIN, W.tobytes() + B.tobytes())
    document = json.loads((folder / "model.json").read_text())
    change(document)
    (folder / "model.json").write_text(json.dumps(document))
    with pytest.raises(FerryError, match=what):
        evaluate_graph(select(read(folder)), {"x": np.eye(4, dtype=np.float32)})


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", product(FUSED), PLAIN, W.tobytes() + B.tobytes())
    (tmp_path / "outside.bin").write_bytes(W.tobytes() + B.tobytes())
    (folder / "shard0.bin").unlink()
    (folder / "shard0.bin").symlink_to(tmp_path / "outside.bin")
    with pytest.raises(SourceError, match="not in the model's folder"):
        read(folder)


@pytest.mark.parametrize(
    ("note", "what"),
    [
        ({"dtype": "uint8", "scale": 0.5}, "without a scale"),
        ({"dtype": "uint8", "scale": float("nan"), "min": 0}, "without a scale"),
        ({"dtype": "uint8", "scale": 10**400, "min": 0}, "without a scale"),
        ({"dtype": "int16", "scale": 0.5, "min": 0}, "quantised as int16"),
        ({"dtype": "uint3", "scale": 0.5, "min": 0}, "unknown type uint3"),
        ({"scale": 0.5, "min": 0}, "unknown type None"),
        ("uint8", "unknown type"),
    ],
)
def test_a_quantisation_that_tensorflow_js_does_not_have_is_refused(tmp_path: Path, note: Any, what: str) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(24))
    manifest = [{"paths": ["w.bin"], "weights": [{"name": "w", "shape": [12], "dtype": "float32", "quantization": note}]}]
    with pytest.raises(SourceError, match=what):
        read_manifest(manifest, tmp_path)


def test_quantised_integers_are_rounded_as_javascript_rounds(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(range(6)))
    note = {"dtype": "uint8", "scale": 0.5, "min": -1.5}
    manifest = [{"paths": ["w.bin"], "weights": [{"name": "w", "shape": [6], "dtype": "int32", "quantization": note}]}]
    assert read_manifest(manifest, tmp_path)["w"].array().tolist() == [-1, -1, 0, 0, 1, 1]  # -1.5 -1 -0.5 0 0.5 1, half upwards


# -- weights without a topology ------------------------------------------------------------------------------------


def write_variables(folder: Path) -> Path:
    """A raw file for each variable, as deeplearn.js dumped checkpoints."""
    folder.mkdir()
    entries = {}
    for name, array in {"layer/w": W, "layer/b": B}.items():
        (folder / name.replace("/", "_")).write_bytes(array.tobytes())
        entries[name] = {"filename": name.replace("/", "_"), "shape": list(array.shape)}
    (folder / "manifest.json").write_text(json.dumps(entries))
    return folder / "manifest.json"


def test_a_manifest_of_files_is_variables(tmp_path: Path) -> None:
    manifest = write_variables(tmp_path / "m")
    assert detect(manifest) == detect(manifest.parent) == "tfjs-weights"
    found = variables(manifest)
    np.testing.assert_array_equal(found["layer/w"].array(), W)
    np.testing.assert_array_equal(found["layer/b"].array(), B)
    with pytest.raises(SourceError, match="holds weights only") as caught:
        tensorferry.convert(manifest, tmp_path / "m.tflite")
    assert "--checkpoint" in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ({"filename": "../x", "shape": [3]}, "not in the model's folder"),
        ({"filename": "layer_b", "shape": [4]}, "has 12 bytes"),
        ({"filename": "gone", "shape": [3]}, "does not exist"),
        ({"filename": "layer_b", "shape": [1 << 40]}, "claims the shape"),
        ({"filename": "layer_b", "shape": "3"}, "claims the shape"),
        ({"filename": "layer_b", "shape": [3], "dtype": "float99"}, "unknown type"),
    ],
)
def test_a_damaged_manifest_of_files(tmp_path: Path, entry: dict[str, Any], what: str) -> None:
    manifest = write_variables(tmp_path / "m")
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "layer/b": entry}))
    with pytest.raises(SourceError, match=what):
        variables(manifest)


def test_a_manifest_fills_the_variables_of_a_given_graph(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow", reason="TensorFlow, which makes the graph, is not installed")
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (None, 4), name="x")
        w = tf.compat.v1.get_variable("layer/w", (4, 3), use_resource=False)
        b = tf.compat.v1.get_variable("layer/b", (3,), use_resource=True)
        tf.add(tf.matmul(x, w), b, name="y")
    (tmp_path / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
    tensorferry.freeze(
        tmp_path / "graph.pb", tmp_path / "frozen.pb", checkpoint=write_variables(tmp_path / "m"), inputs="x", outputs="y"
    )
    frozen = select(read(tmp_path / "frozen.pb"))
    np.testing.assert_allclose(evaluate_graph(frozen, {"x": np.eye(4, dtype=np.float32)})["y"], W + B)


@pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not there")
def test_real_weights_without_a_topology() -> None:
    face = tensorferry.inspect(MODELS / "faceapi_age_gender").as_dict()["variables"]
    assert face[0] == {"name": "entry_flow/conv_in/filters", "dtype": "float32", "shape": [3, 3, 3, 32], "stored": "uint8"}
    darwin = variables(MODELS / "ml5_charrnn_darwin")
    assert darwin["embedding"].shape == (100, 128) and np.isfinite(darwin["embedding"].array()).all()
    assert len(variables(MODELS / "posenet075_tfjs_manifest")) == 70
