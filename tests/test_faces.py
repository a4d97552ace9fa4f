"""Flags that name, keep, rename and carry along; wrong command lines; paths and names of any kind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from small_graphs import freeze, small_net
from tensorferry import convert, verify
from tensorferry.cli import app
from tensorferry.errors import OptionError
from tensorferry.readers import read
from tensorferry.runtimes import tfjs

NO_JS = tfjs.available()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return freeze(tmp_path_factory.mktemp("ein Ordner ☃") / "mein Netz é.pb", small_net)


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def tensorflow_graph(path: Path, build) -> Path:
    """A graph of TensorFlow 1's form made by TensorFlow itself."""
    tf = pytest.importorskip("tensorflow")
    with tf.Graph().as_default() as graph:
        build(tf)
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


# -- renaming ------------------------------------------------------------------------------------------------------


def test_renamed_inputs_outputs_and_signature_are_those_of_the_file(source, tmp_path):
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    target = tmp_path / "ein Netz ☃.tflite"
    renames = ("--rename", "image=Bild ü", "--rename", "scores=score,a", "--rename", "serving_default=classify")
    result = call("convert", source, "-o", target, "--inputs", "image", "--outputs", "scores,features", *renames, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.output)
    assert [port["name"] for port in report["outputs"]] == ["score,a", "features"]
    assert report["targets"][0]["check"]["status"] == "verified"
    runner = Interpreter(str(target)).get_signature_runner("classify")
    assert list(runner.get_input_details()) == ["Bild ü"]
    assert set(runner.get_output_details()) == {"score,a", "features"}
    checked = verify(source, target, rename={"image": "Bild ü", "scores": "score,a"}, seed=3)
    assert checked.verified
    with pytest.raises(OptionError):
        verify(source, target)


def test_a_name_with_a_comma_is_written_with_a_backslash(source, tmp_path):
    frozen = tmp_path / "renamed.pb"
    assert call("freeze", source, "-o", frozen, "--outputs", "scores", "--outputs", "features").exit_code == 0
    assert [port.name for port in read(frozen).outputs] == ["scores", "features"]
    result = call("convert", source, "-o", tmp_path / "x.tflite", "--outputs", r"scores\,b,features")
    assert (result.exit_code, "scores,b" in result.output) == (2, True)


@pytest.mark.skipif(NO_JS is not None, reason=str(NO_JS))
def test_a_renamed_web_model_runs_under_its_new_names(source, tmp_path):
    report = convert(source, tmp_path / "web é", outputs=["scores"], rename={"image": "bild", "scores": "noten"})
    assert report.verified
    document = json.loads((tmp_path / "web é" / "model.json").read_text(encoding="utf-8"))
    assert (list(document["signature"]["inputs"]), list(document["signature"]["outputs"])) == (["bild"], ["noten"])


@pytest.mark.parametrize(
    ("renames", "said"),
    [({"imag": "x"}, "did you mean 'image'?"), ({"scores": "features"}, "two outputs"), ({"image": ""}, "renames nothing")],
)
def test_a_name_that_is_not_there_or_twice_is_refused(source, tmp_path, renames, said):
    with pytest.raises(OptionError) as caught:
        convert(source, tmp_path / "net.tflite", outputs=["scores", "features"], rename=renames)
    assert said in str(caught.value)
    assert list(tmp_path.iterdir()) == []


# -- what goes along -----------------------------------------------------------------------------------------------


def test_metadata_lies_in_both_targets(source, tmp_path):
    labels = tmp_path / "lab els: ü.json"
    labels.write_text('{"labels": ["cat", "dög"], "number": 1.5}', encoding="utf-8")
    web, lite = tmp_path / "web", tmp_path / "net.tflite"
    result = call("convert", source, "-o", lite, "-o", web, "--metadata", f"labels:{labels}", "--no-verify")
    assert result.exit_code == 0, result.output
    document = json.loads((web / "model.json").read_text(encoding="utf-8"))
    assert document["userDefinedMetadata"] == {"labels": json.loads(labels.read_text(encoding="utf-8"))}
    assert json.loads(read(lite).facts.complete().metadata["labels"]) == document["userDefinedMetadata"]["labels"]
    assert "min_runtime_version" in read(lite).facts.complete().metadata


def test_metadata_that_is_no_json_is_refused_for_a_web_model_only(source, tmp_path):
    plain = tmp_path / "labels.txt"
    plain.write_text("cat\ndog\n")
    assert call("convert", source, "-o", tmp_path / "net.tflite", "--metadata", f"labels:{plain}", "--no-verify").exit_code == 0
    refused = call("convert", source, "-o", tmp_path / "web", "--metadata", f"labels:{plain}", "--no-verify")
    assert (refused.exit_code, "is no JSON" in refused.output, (tmp_path / "web").exists()) == (2, True, False)


@pytest.mark.parametrize("given", ["labels", "labels:", "labels:absent.json", ":x", "min_runtime_version:{}"])
def test_metadata_without_a_file_is_refused(source, tmp_path, given):
    words = ("--metadata", given.format(source))
    assert call("convert", source, "-o", tmp_path / "net.tflite", *words).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_kept_names_are_told_and_there(source, tmp_path):
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    report = convert(source, tmp_path / "net.tflite", keep_names=True, verify=False)
    told = next(notice for notice in report.targets[0].notices if "keep their names" in notice)
    gone = set(told.partition("renamed: ")[2].split(", "))
    tensors = {each["name"] for each in Interpreter(str(tmp_path / "net.tflite")).get_tensor_details()}
    names = {node.name for node in read(source).nodes if node.outputs}
    assert gone < names
    assert names - gone <= tensors | {node.name for node in read(source).nodes if node.op == "Const"}


# -- debugging ops -------------------------------------------------------------------------------------------------


def printing(tf):
    image = tf.compat.v1.placeholder(tf.float32, [2, 3], name="image")
    watched = tf.raw_ops.CheckNumerics(tensor=image, message="bad", name="finite")
    printed = tf.raw_ops.Print(input=watched, data=[watched], message="seen", name="printed")
    tf.identity(printed * 2.0, name="result")


@pytest.mark.parametrize(("flag", "kept"), [("--strip-debug", set()), ("--no-strip-debug", {"Print", "CheckNumerics"})])
def test_debugging_ops_stay_where_they_can_and_when_asked(tmp_path, flag, kept):
    path = tensorflow_graph(tmp_path / "printing.pb", printing)
    targets = ("-o", tmp_path / "frozen.pb", "-o", tmp_path / "net.tflite")
    result = call("convert", path, *targets, flag, "--json")
    assert result.exit_code == 0, result.output
    assert {node.op for node in read(tmp_path / "frozen.pb").nodes} & {"Print", "CheckNumerics"} == kept
    report = json.loads(result.output)
    assert [target["check"]["status"] for target in report["targets"]] == ["verified", "verified"]
    said = " ".join(
        notice for notices in (report["notices"], *(each["notices"] for each in report["targets"])) for notice in notices
    )
    assert ("stay in TensorFlow's own formats" in said) == bool(kept)


# -- wrong command lines -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("convert", "net.pb", "-o", "x.tflite", "--metdata", "a:b"), "--metadata"),
        (("convert", "net.pb", "-o", "x.tflite", "--quantise-not"), "No such option"),
        (("convert", "net.pb", "-o", "x.tflite", "--no-strip-debugs"), "--no-strip-debug"),
        (("convert", "net.pb", "-o", "x.tflite", "--strip-debug=maybe"), "does not take a value"),
        (("convrt", "net.pb"), "convert"),
        (("zoo", "bild"), "build"),
        (("verify", "net.pb", "x.tflite", "--renam", "a=b"), "--rename"),
        (("convert", "net.pb", "-o", "x.tflite", "--control-flow", "v3"), "v2"),
        (("convert", "net.pb", "-o", "x.tflite", "--to", "tflit"), "tflite"),
        (("convert", "net.pb", "-o", "x.tflite", "--rename", "a=b", "--rename", "a=c"), "twice"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_wrong_is_told_with_the_name_that_was_meant(words, meant, as_json):
    result = call(*words, *(["--json"] if as_json else []))
    assert result.exit_code == 2
    assert meant in result.output
    if as_json:
        assert json.loads(result.stdout)["error"] == "OptionError"


def test_an_unknown_keyword_names_the_nearest_option(source, tmp_path):
    with pytest.raises(OptionError) as caught:
        convert(source, tmp_path / "net.tflite", metadta={})
    assert "did you mean 'metadata'?" in str(caught.value)


def test_values_of_a_renamed_model_are_those_of_the_source(source, tmp_path):
    values = tmp_path / "values ü.npz"
    np.savez(values, Bild=np.random.default_rng(1).standard_normal((1, 16, 16, 3)).astype(np.float32))
    report = convert(source, tmp_path / "net.tflite", rename={"image": "Bild"}, verify_inputs=values)
    assert report.verified
