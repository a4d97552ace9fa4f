"""What `inspect` shows of a source beside its graph, against what the program that wrote it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from small_graphs import freeze, small_net
from tensorferry import convert, diff, inspect
from tensorferry.cli import app
from tensorferry.errors import FerryError, SourceError
from tensorferry.readers import read, variables

MODELS = Path(__file__).parent.parent.parent / "shared" / "models"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A SavedModel of TensorFlow 2 with two signatures, a variable of each kind and an asset."""
    tf = pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp("saved")
    words = folder / "wörter.txt"
    words.write_text("eins\nzwei\n", encoding="utf-8")

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.kernel = tf.Variable(np.arange(6, dtype=np.float32).reshape(3, 2), name="kernel")
            self.global_step = tf.Variable(7, dtype=tf.int64, trainable=False, name="global_step")
            self.words = tf.saved_model.Asset(str(words))

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="image")])
        def scores(self, image):
            return {"scores": image @ self.kernel}

        @tf.function(input_signature=[tf.TensorSpec([4], tf.float32, name="values")])
        def double(self, values):
            return {"doubled": values * 2.0}

    module = Module()
    tf.saved_model.save(module, str(folder / "model"), signatures={"serving_default": module.scores, "double": module.double})
    return folder / "model", tf.__version__


def test_a_saved_model_is_told_whole(saved):
    folder, version = saved
    told = inspect(folder)
    facts = told.facts
    assert facts.producer == f"TensorFlow {version}"
    assert (facts.tags, facts.chosen_tags) == ([("serve",)], ("serve",))
    ports = {each.name: ([port.name for port in each.inputs], [port.name for port in each.outputs]) for each in facts.signatures}
    assert ports == {"serving_default": (["image"], ["scores"]), "double": (["values"], ["doubled"])}
    assert [each.name for each in facts.signatures if each.chosen] == ["serving_default"]
    assert facts.assets == {"wörter.txt": len("eins\nzwei\n")}
    variables = {each.name: (each.dtype, each.shape, each.role) for each in facts.variables}
    assert variables["kernel"] == ("float32", (3, 2), "")
    assert variables["global_step"] == ("int64", (), "counter")
    assert any("scores" in each.name and each.nodes > 0 for each in facts.functions)


def test_the_graph_of_a_conversion_has_functions_inlined_and_variables_frozen(saved):
    told = inspect(saved[0])
    assert told.parameters == 6
    assert not {"PartitionedCall", "StatefulPartitionedCall", "VarHandleOp", "ReadVariableOp"} & set(told.converted_ops)
    assert told.converted_ops["MatMul"] == 1
    assert sum(told.converted_ops.values()) < sum(told.ops.values())


def test_json_holds_all_facts(saved):
    document = json.loads(CliRunner().invoke(app, ["inspect", str(saved[0]), "--json"]).output)
    assert {"producer", "tags", "signatures", "functions", "variables", "layers", "metadata", "assets"} <= set(document["facts"])
    assert document["facts"]["signatures"][1]["outputs"][0]["name"]


@pytest.mark.parametrize("width", [80, 120])
def test_every_name_is_on_the_screen_at_any_width(saved, width, monkeypatch):
    monkeypatch.setattr("tensorferry.console.PLAIN_WIDTH", width)
    output = CliRunner().invoke(app, ["inspect", str(saved[0])]).output
    assert max(map(len, output.splitlines())) <= width
    assert "\u2026" not in output
    for name in ("serving_default", "double", "image", "scores", "kernel", "global_step", "wörter.txt", "serve"):
        assert name in output


def test_keras_layers_and_their_weights(tmp_path):
    keras = pytest.importorskip("keras")
    model = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(4, name="first"), keras.layers.Dense(2, use_bias=False, name="last")]
    )
    model.save(tmp_path / "net.keras")
    facts = inspect(tmp_path / "net.keras").facts
    assert facts.producer == f"Keras {keras.__version__}"
    assert {each.name: each.parameters for each in facts.layers if each.parameters} == {"first": 36, "last": 8}
    assert sum(int(np.prod(each.shape)) for each in facts.variables) == model.count_params()


def test_a_checkpoint_alone_lists_its_variables(tmp_path):
    tf = pytest.importorskip("tensorflow")
    values = {"a": tf.Variable(np.ones((2, 3), np.float32)), "b": tf.Variable(3, dtype=tf.int64)}
    prefix = tf.train.Checkpoint(**values).write(str(tmp_path / "only"))
    told = inspect(f"{prefix}.index")
    assert {(each.dtype, each.shape) for each in told.variables if "VARIABLE_VALUE" in each.name} >= {
        ("float32", (2, 3)),
        ("int64", ()),
    }
    assert "weights only" in told.notices[0]


def test_what_a_model_says_cannot_steer_the_terminal(tmp_path):
    source = freeze(tmp_path / "net.pb", small_net)
    tool = ["convert", str(source), "-o", str(tmp_path / "web"), "--no-verify"]
    assert CliRunner().invoke(app, tool).exit_code == 0
    document = json.loads((tmp_path / "web" / "model.json").read_text())
    document |= {"generatedBy": "evil\x1b[2J", "userDefinedMetadata": {"\x1b[1m": "\x9b2J"}}
    (tmp_path / "web" / "model.json").write_text(json.dumps(document))
    output = CliRunner().invoke(app, ["inspect", str(tmp_path / "web")]).output
    assert "evil" in output
    assert not set("\x1b\x9b") & set(output)


@pytest.mark.skipif(not (MODELS / "tfm_hello_world").is_dir(), reason="the shared models are not here")
def test_a_tensorflow_lite_file_tells_its_subgraphs_and_metadata():
    facts = read(MODELS / "tfm_hello_world" / "hello_world_float.tflite").facts.complete()
    assert [(each.name, each.nodes, each.inputs, each.outputs) for each in facts.functions] == [("main", 3, 1, 1)]
    assert facts.metadata["min_runtime_version"] == "1.5.0"
    assert [(each.name, each.chosen) for each in facts.signatures] == [("serving_default", True)]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_numpy_archive_lists_its_arrays_and_compares(tmp_path, save):
    values = {"dense/kernel": np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)), "count": np.array([1, 2], ">i8")}
    save(tmp_path / "weights ü.npz", **values)
    told = inspect(tmp_path / "weights ü.npz")
    assert {each.name: (each.dtype, each.shape) for each in told.variables} == {
        "dense/kernel": ("float32", (3, 4)),
        "count": ("int64", (2,)),
    }
    for name, tensor in variables(tmp_path / "weights ü.npz").items():
        np.testing.assert_array_equal(tensor.array(), values[name])
    values["dense/kernel"][1, 2] += 0.5
    np.savez(tmp_path / "other.npz", **values)
    (changed,) = diff(tmp_path / "weights ü.npz", tmp_path / "other.npz").weights
    assert (changed.before, changed.max_absolute, changed.differing) == ("dense/kernel", 0.5, 1)


def test_python_objects_in_a_numpy_archive_are_never_loaded(tmp_path):
    np.savez(tmp_path / "evil.npz", a=np.array([{"x": 1}], object), allow_pickle=True)
    with pytest.raises(SourceError, match="cannot be read") as caught:
        inspect(tmp_path / "evil.npz")
    assert "never loaded" in str(caught.value)


def test_a_spoilt_numpy_archive_is_an_error_or_gives_the_same_numbers(tmp_path):
    np.savez(tmp_path / "whole.npz", a=np.arange(1000, dtype=np.float32))
    data = (tmp_path / "whole.npz").read_bytes()
    refused = 0
    for place in range(0, len(data), 23):
        spoilt = bytearray(data)
        spoilt[place] ^= 0xFF
        (tmp_path / "spoilt.npz").write_bytes(spoilt)
        try:
            (array,) = (tensor.array() for tensor in variables(tmp_path / "spoilt.npz").values())
        except FerryError:
            refused += 1
        else:
            np.testing.assert_array_equal(array, np.arange(1000, dtype=np.float32))
    assert refused > len(data) // 23 * 0.9


def test_weights_written_by_convert_are_those_of_the_source(tmp_path):
    source = freeze(tmp_path / "net.pb", small_net)
    convert(source, tmp_path / "weights.npz", verify=False)
    found = diff(source, tmp_path / "weights.npz")
    assert (found.weights, found.weights_gone, found.ops_gone) == ((), (), {})
    assert found.weights_same > 0


def test_keras_weights_alone_are_listed(tmp_path):
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="first")])
    model.save_weights(tmp_path / "only.weights.h5")
    told = inspect(tmp_path / "only.weights.h5")
    assert sorted(each.shape for each in told.variables) == [(3, 4), (4,)]
    assert "--architecture" in told.notices[0]
    (tmp_path / "net.json").write_text(model.to_json())
    assert inspect(tmp_path / "only.weights.h5", architecture=tmp_path / "net.json").parameters == 16
