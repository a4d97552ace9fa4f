"""Modes that store weights in fewer bits and compute in float: what is stored, what LiteRT makes of it, what is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tensorferry
from quantised_nets import Net, classifier, walk
from tensorferry import ops
from tensorferry.errors import OptionError, VerificationError
from tensorferry.ir import Graph
from tensorferry.quant import deciding
from tensorferry.runtimes import litert
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.tensor import Array, ArrayTensor, DType
from tensorferry.writers.graphdef import write_graphdef


def source(graph: Graph, tmp_path: Path) -> Path:
    write_graphdef(graph, tmp_path / "net.pb")
    return tmp_path / "net.pb"


def convert(graph: Graph, tmp_path: Path, **options) -> tuple[Path, tensorferry.Report]:
    target = tmp_path / f"{options.get('quantize', 'float')}.tflite"
    report = tensorferry.convert(source(graph, tmp_path), target, outputs=[port.name for port in graph.outputs], **options)
    return target, report


def both_kernels(path: Path, feeds: dict[str, Array]) -> list[dict[str, Array]]:
    found = []
    for xnnpack in (True, False):
        with litert.LiteRtModel(path, xnnpack=xnnpack) as model:
            found.append(model.run(feeds))
    return found


def relative(result: Array, expected: Array) -> float:
    return float(np.max(np.abs(result - expected)) / np.max(np.abs(expected)))


def image(graph: Graph, seed: int = 3) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    return {port.name: random.normal(size=port.value.static_shape).astype(np.float32) for port in graph.inputs}


def test_dynamic_stores_int8_by_channel_and_keeps_small_weights(tmp_path):
    graph = classifier()
    path, report = convert(graph, tmp_path, quantize="dynamic")
    operators = {each.outputs[0].name: each for each in walk(path)}
    kernels = {node.name: node["value"].array() for node in graph.nodes if node.op == "Const"}
    for name, axis, kernel in (
        ("first/act", 0, kernels["first/kernel"].transpose(3, 0, 1, 2)),
        ("second/act", 0, kernels["second/kernel"].transpose(3, 0, 1, 2)),
        ("logits", 0, kernels["logits/kernel"].T),
    ):
        weight = operators[name].inputs[1]
        assert (weight.dtype, weight.quantization.axis) == ("int8", axis)
        assert set(weight.quantization.zero_points) == {0}
        assert operators[name].stored(1).min() >= -127
        steps = np.asarray(weight.quantization.scales).reshape([-1] + [1] * (kernel.ndim - 1))
        assert np.all(np.abs(operators[name].real(1) - kernel) <= steps * 0.5001)
    assert operators["deep/act"].inputs[1].dtype == "float32"  # 288 weights
    assert (operators["first/act"].operator.version, operators["logits"].operator.version) == (5, 12)
    facts = report.targets[0].quantisation
    assert facts["quantised"] == {"CONV_2D": 2, "FULLY_CONNECTED": 1}
    assert [(each["operator"], each["why"]) for each in facts["float"]] == [("DEPTHWISE_CONV_2D", "fewer than 1024 weights")]
    assert report.verified


def test_dynamic_is_near_the_float_net_in_both_sets_of_kernels(tmp_path):
    graph = classifier()
    feeds = image(graph)
    expected = evaluate_graph(graph, feeds)["classes"]
    path, _ = convert(graph, tmp_path, quantize="dynamic")
    for found in both_kernels(path, feeds):
        assert 1e-6 < relative(found["classes"], expected) < 0.01


def test_large_depthwise_weights_are_unpacked_and_computed_in_float(tmp_path):
    net = Net(1, 8, 8, 256)
    net.depthwise("deep")
    graph = net.done("deep/act")
    path, _ = convert(graph, tmp_path, quantize="dynamic")
    unpack, deep = walk(path)
    assert (unpack.name, unpack.operator.version, unpack.inputs[0].quantization.axis) == ("DEQUANTIZE", 5, 3)
    assert (deep.name, deep.inputs[1].dtype, deep.operator.version) == ("DEPTHWISE_CONV_2D", "float32", 1)
    feeds = image(graph)
    exact = ops_with_weight(graph, "deep/kernel", unpack.real(0).transpose(1, 2, 3, 0).astype(np.float32))
    expected = evaluate_graph(exact, feeds)["deep/act"]
    for found in both_kernels(path, feeds):
        assert relative(found["deep/act"], expected) < 1e-5  # no rounding but that of the weights


def ops_with_weight(graph: Graph, name: str, array: Array) -> Graph:
    """The same graph with another constant."""
    changed = graph.copy()
    node = next(each for each in changed.nodes if each.name == name)
    node.attrs["value"] = ArrayTensor(array.reshape(node["value"].shape))
    return changed


def test_float16_computes_with_the_rounded_weights(tmp_path):
    graph = classifier()
    feeds = image(graph)
    path, report = convert(graph, tmp_path, quantize="float16")
    rounded = graph
    for node in graph.nodes:
        if node.op == "Const" and node["value"].dtype == "float32":
            rounded = ops_with_weight(rounded, node.name, node["value"].array().astype(np.float16).astype(np.float32))
    expected = evaluate_graph(rounded, feeds)["classes"]
    for found in both_kernels(path, feeds):
        assert relative(found["classes"], expected) < 2e-6
    assert report.targets[0].runtime == "TensorFlow Lite 1.15.0 and later"


def test_weights_beyond_float16_stay_and_are_told(tmp_path):
    net = Net(1, 64)
    net.then("MatMul", "wide", np.full((64, 32), 7e4, np.float32))
    net.then("MatMul", "narrow", np.full((32, 8), 0.5, np.float32))
    path, report = convert(net.done("narrow"), tmp_path, quantize="float16")
    assert [each.inputs[1].dtype for each in walk(path) if each.name == "FULLY_CONNECTED"] == ["float32", "float32"]
    assert [each.name for each in walk(path)].count("DEQUANTIZE") == 1
    assert any("65504" in notice for notice in report.targets[0].notices)


def test_four_bits_are_for_dense_layers(tmp_path):
    net = Net(1, 6, 6, 16)
    net.conv("conv", 32)
    net.then("Mean", "pooled", np.array([1, 2], np.int32))
    net.dense("dense", 64)
    graph = net.done("dense")
    path, _ = convert(graph, tmp_path, quantize="weights4")
    types = {each.name: each.inputs[1].dtype for each in walk(path) if each.name != "MEAN"}
    assert types == {"CONV_2D": "int8", "FULLY_CONNECTED": "int4"}
    feeds = image(graph)
    expected = evaluate_graph(graph, feeds)["dense"]
    for found in both_kernels(path, feeds):
        assert relative(found["dense"], expected) < 0.15


def test_one_scale_for_a_dense_layer_runs_on_old_runtimes(tmp_path):
    path, report = convert(classifier(), tmp_path, quantize="dynamic", per_tensor=True)
    dense = next(each for each in walk(path) if each.name == "FULLY_CONNECTED")
    assert (len(dense.inputs[1].quantization.scales), dense.operator.version) == (1, 9)
    assert report.targets[0].runtime == "TensorFlow Lite 2.4.0 and later"


def test_a_table_of_rows_is_stored_whole(tmp_path):
    net = Net(1, 4)
    table = net.random.normal(size=(300, 16)).astype(np.float32)
    indices = ops.add(net.graph, "Cast", [net.last], {"DstT": DType.INT32}, name="ids").output
    axis = net.graph.constant(np.asarray(0, np.int32), "axis")
    net.last = ops.add(net.graph, "GatherV2", [net.graph.constant(table, "table"), indices, axis], name="rows").output
    graph = net.done("rows")
    path, _ = convert(graph, tmp_path, quantize="dynamic")
    feeds = {"image": np.array([[0, 17, 299, 3]], np.float32)}
    for found in both_kernels(path, feeds):
        assert np.max(np.abs(found["rows"] - table[[[0, 17, 299, 3]]])) <= np.max(np.abs(table)) / 127 / 2 * 1.001
    assert path.stat().st_size < table.nbytes / 2


# -- choices and errors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["CONV_2D", "first/*", "first/act"])
def test_what_is_named_stays_float(tmp_path, pattern):
    path, report = convert(classifier(), tmp_path, quantize="dynamic", keep_float=[pattern])
    first = next(each for each in walk(path) if each.outputs[0].name == "first/act")
    assert first.inputs[1].dtype == "float32"
    assert any(each["why"] == "asked for" for each in report.targets[0].quantisation["float"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantize": "dynamik"}, "did you mean 'dynamic'"),
        ({"quantize": "dynamic", "keep_float": ["nowhere*"]}, "nowhere"),
        ({"quantize": "dynamic", "io_dtype": "int8"}, "int8"),
        ({"quantize": "dynamic,int8"}, "2 ways"),
        ({"per_tensor": True}, "add --quantize"),
        ({"io_dtype": "int9"}, "int9"),
    ],
)
def test_wrong_choices_are_told_and_nothing_is_written(tmp_path, options, message):
    with pytest.raises(OptionError) as caught:
        convert(classifier(), tmp_path, **options)
    assert message in f"{caught.value.what} {caught.value.why} {caught.value.remedy}"
    assert not list(tmp_path.glob("*.tflite"))


def test_a_target_that_cannot_be_quantised_so(tmp_path):
    with pytest.raises(OptionError, match="none of the targets"):
        tensorferry.convert(source(classifier(), tmp_path), tmp_path / "web", quantize="dynamic")


def test_a_tolerance_that_is_given_is_obeyed(tmp_path):
    with pytest.raises(VerificationError):
        convert(classifier(), tmp_path, quantize="dynamic", tolerance=1e-7)
    assert not (tmp_path / "dynamic.tflite").exists()


def test_a_broken_file_does_not_pass_for_a_coarse_one(tmp_path, monkeypatch):
    honest = deciding.weight_quantization

    def turned(ranges, dtype):
        made = honest(ranges, dtype)
        return type(made)(made.scales[::-1], made.zero_points, made.axis)

    monkeypatch.setattr(deciding, "weight_quantization", turned)
    net = Net(1, 12, 12, 8)
    net.conv("first", 32)
    net.conv("second", 32, activation="")
    with pytest.raises(VerificationError):
        convert(net.done("second/bias"), tmp_path, quantize="dynamic")


def test_a_model_that_keeps_a_state_is_quantised(tmp_path):
    """Operators that set variables have no results of their own."""
    tf = pytest.importorskip("tensorflow", reason="TensorFlow, which makes the source, is not installed")

    class Summing(tf.Module):
        def __init__(self) -> None:
            self.total = tf.Variable(tf.zeros([1, 64]))
            self.kernel = tf.constant(np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32))

        @tf.function(input_signature=[tf.TensorSpec([1, 64], tf.float32)])
        def __call__(self, x):
            self.total.assign_add(tf.matmul(x, self.kernel))
            return {"total": tf.identity(self.total)}

    tf.saved_model.save(Summing(), str(tmp_path / "model"))
    report = tensorferry.convert(tmp_path / "model", tmp_path / "net.tflite", quantize="dynamic")
    assert report.targets[0].quantisation["quantised"] == {"FULLY_CONNECTED": 1}
    assert report.verified
    random = np.random.default_rng(1)
    samples = [{"x": random.normal(size=(1, 64)).astype(np.float32)} for _ in range(4)]
    report = tensorferry.convert(tmp_path / "model", tmp_path / "whole.tflite", quantize="int8", calibrate=samples)
    assert report.verified
    assert {each["operator"] for each in report.targets[0].quantisation["float"]} >= {"BITCAST"}
