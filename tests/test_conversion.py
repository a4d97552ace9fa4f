"""Whole conversions: what is written, what is proved, and that nothing is left behind when anything fails."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tensorferry
from small_graphs import freeze, small_net, unsupported_net, weights
from tensorferry import delivery
from tensorferry.errors import OptionError, SourceError, TargetError, UnsupportedError, VerificationError
from tensorferry.runtimes import litert, tfjs
from tensorferry.tensor import ArrayTensor

needs_node = pytest.mark.skipif(tfjs.available() is not None, reason=str(tfjs.available()))
OUTPUTS = ["scores", "features"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return freeze(tmp_path_factory.mktemp("source") / "net.pb", small_net)


@needs_node
def test_both_targets_in_one_run_are_verified_and_named(source, tmp_path):
    lite, web = tmp_path / "net.tflite", tmp_path / "web"
    report = tensorferry.convert(source, [lite, web], inputs=["image"], outputs=OUTPUTS)
    assert report.verified
    assert [port.name for port in report.outputs] == OUTPUTS
    assert all(target.check.worst < 1e-5 for target in report.targets)
    assert report.targets[0].bytes == lite.stat().st_size
    assert report.targets[1].bytes == sum(each.stat().st_size for each in web.iterdir())
    assert litert.read_ports(lite) == tfjs.read_ports(web) == (("image",), tuple(OUTPUTS))
    assert json.loads(report.to_json())["targets"][0]["check"]["status"] == "verified"


def test_operators_are_fused(source, tmp_path):
    report = tensorferry.convert(source, tmp_path / "net.tflite", verify=False)
    assert report.targets[0].operators == {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "MEAN": 1, "SOFTMAX": 1}
    assert report.targets[0].check.status == "not verified"
    assert not report.verified
    assert report.passed


def test_inputs_and_outputs_are_found_and_said_so(source, tmp_path):
    report = tensorferry.convert(source, tmp_path / "net.tflite", verify=False)
    assert [(port.name, port.found) for port in (*report.inputs, *report.outputs)] == [("image", True), ("scores", True)]


def test_the_same_bytes_every_time(source, tmp_path):
    for name in ("a", "b"):
        tensorferry.convert(source, [tmp_path / f"{name}.tflite", tmp_path / name], verify=False)
    assert (tmp_path / "a.tflite").read_bytes() == (tmp_path / "b.tflite").read_bytes()
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_a_free_batch_and_size_stay_free(tmp_path):
    path = freeze(tmp_path / "net.pb", lambda: small_net(None, None))
    report = tensorferry.convert(path, tmp_path / "net.tflite")
    assert report.verified
    assert report.inputs[0].shape == (None, None, None, 3)
    for shape in ((1, 8, 8, 3), (3, 20, 12, 3)):
        run = litert.run(tmp_path / "net.tflite", {"image": np.zeros(shape, np.float32)})
        assert run.outputs["scores"].shape == (shape[0], 5)


def test_an_input_can_be_given_a_shape(tmp_path):
    path = freeze(tmp_path / "net.pb", lambda: small_net(None, None))
    report = tensorferry.convert(path, tmp_path / "net.tflite", input_shapes={"image": (1, 24, 24, 3)})
    assert report.verified
    assert report.inputs[0].shape == (1, 24, 24, 3)


def test_every_unsupported_node_in_one_error_and_nothing_written(tmp_path):
    path = freeze(tmp_path / "net.pb", unsupported_net)
    lite = tmp_path / "net.tflite"
    lite.write_bytes(b"what was here before")
    with pytest.raises(UnsupportedError) as caught:
        tensorferry.convert(path, lite)
    assert [(problem.node, problem.op) for problem in caught.value.problems] == [
        ("centres", "KmeansPlusPlusInitialization"),
        ("lower", "Cholesky"),
    ]
    assert lite.read_bytes() == b"what was here before"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["net.pb", "net.tflite"]


def spoil(graph, name):
    """Multiply a constant by 1.01."""
    for node in graph.nodes:
        if node.op == "Const" and node.output.users and node.output.users[0].name == name and node.output.dtype.is_float:
            node.attrs["value"] = ArrayTensor(node["value"].array() * np.float32(1.01))


@pytest.mark.parametrize("kind", ["tflite", pytest.param("tfjs", marks=needs_node)])
def test_a_wrong_result_names_the_first_wrong_op_and_leaves_nothing(source, tmp_path, monkeypatch, kind):
    step = "make_program" if kind == "tflite" else "write_tfjs"
    honest = getattr(delivery, step)

    def spoilt(graph, *rest, **keywords):
        spoil(graph, "features")
        return honest(graph, *rest, **keywords)

    monkeypatch.setattr(delivery, step, spoilt)
    target = tmp_path / ("net.tflite" if kind == "tflite" else "web")
    with pytest.raises(VerificationError) as caught:
        tensorferry.convert(source, target)
    assert caught.value.exit_code == 1
    assert "'features'" in caught.value.where
    assert "scores" in caught.value.why
    assert ".part" not in str(caught.value), "the temporary name is nobody's business"
    assert list(tmp_path.iterdir()) == []


def test_a_failure_of_the_second_target_keeps_the_first_from_appearing(source, tmp_path, monkeypatch):
    def fail(*_arguments, **_keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(delivery, "write_tfjs", fail)
    with pytest.raises(KeyboardInterrupt):
        tensorferry.convert(source, [tmp_path / "net.tflite", tmp_path / "web"])
    assert list(tmp_path.iterdir()) == []


def test_a_missing_runtime_is_stated(source, tmp_path, monkeypatch):
    monkeypatch.setattr(litert, "available", lambda: "there is none for this system")
    report = tensorferry.convert(source, tmp_path / "net.tflite")
    assert report.targets[0].check.status == "not verified"
    assert report.targets[0].check.reason == "there is none for this system"
    assert (tmp_path / "net.tflite").exists()


def test_a_small_memory_budget_skips_the_verification_and_says_so(source, tmp_path):
    report = tensorferry.convert(source, tmp_path / "net.tflite", verify_memory=100)
    assert report.targets[0].check.status == "not verified"
    assert "--verify-memory" in report.targets[0].check.reason


def test_values_to_verify_on_come_from_a_file(source, tmp_path):
    values = tmp_path / "values.npz"
    np.savez(values, image=np.ones((1, 16, 16, 3), np.float32))
    assert tensorferry.convert(source, tmp_path / "net.tflite", verify_inputs=values).verified
    np.savez(values, image=np.ones((1, 15, 16, 3), np.float32))
    with pytest.raises(OptionError, match="shape"):
        tensorferry.convert(source, tmp_path / "net.tflite", verify_inputs=values)


def test_tensorflow_can_be_the_reference(source, tmp_path):
    report = tensorferry.convert(source, tmp_path / "net.tflite", reference="tensorflow")
    assert report.verified
    assert report.targets[0].check.reference.startswith("TensorFlow 2")


def test_verify_compares_files_with_their_source(source, tmp_path):
    lite = tmp_path / "net.tflite"
    tensorferry.convert(source, lite, outputs=["features", "scores"], verify=False)
    verification = tensorferry.verify(source, lite)
    assert verification.passed
    assert [output.name for output in verification.checks[str(lite)].outputs] == ["features", "scores"]


def test_verify_sees_a_file_made_from_another_source(tmp_path):
    one = freeze(tmp_path / "one.pb", small_net)
    data = bytearray(one.read_bytes())
    place = data.index(np.float32(weights(8, 5, seed=6)[0, 0]).tobytes())
    data[place : place + 4] = np.float32(9).tobytes()
    (tmp_path / "other.pb").write_bytes(data)
    tensorferry.convert(tmp_path / "other.pb", tmp_path / "net.tflite", verify=False)
    check = tensorferry.verify(one, tmp_path / "net.tflite").checks[str(tmp_path / "net.tflite")]
    assert check.status == "failed"
    assert "'product'" in check.first_wrong or "'scores'" in check.first_wrong or "'add'" in check.first_wrong


def test_the_source_is_never_a_target(source, tmp_path):
    with pytest.raises(TargetError, match="source itself"):
        tensorferry.convert(source, source, to="tflite")
    (tmp_path / "link.tflite").symlink_to(source)
    with pytest.raises(TargetError, match="source itself"):
        tensorferry.convert(source, tmp_path / "link.tflite")


def test_impossible_requests(source, tmp_path):
    with pytest.raises(OptionError, match="twice"):
        tensorferry.convert(source, [tmp_path / "a.tflite", tmp_path / "." / "a.tflite"])
    with pytest.raises(OptionError, match="no target"):
        tensorferry.convert(source, [])
    with pytest.raises(OptionError, match="no file to verify"):
        tensorferry.verify(source)
    with pytest.raises(OptionError, match="score") as caught:
        tensorferry.convert(source, tmp_path / "a.tflite", outputs=["score"])
    assert "scores" in str(caught.value)
    with pytest.raises(SourceError, match="does not exist"):
        tensorferry.convert(tmp_path / "absent.pb", tmp_path / "a.tflite")
    assert list(tmp_path.iterdir()) == []
