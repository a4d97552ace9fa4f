"""What a target will make of a model, and where to cut it: told before a conversion, and true of it afterwards."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tensorferry
from tensorferry import ops
from tensorferry.assessment import Assessment, assess_graph
from tensorferry.cli import app
from tensorferry.cutting import find_cut
from tensorferry.errors import UnsupportedError
from tensorferry.ir import Graph, Node, Port, Typed
from tensorferry.passes import pipelines
from tensorferry.tensor import DType
from tensorferry.wire import tflite_schema
from tensorferry.wire.backends import asynchronous_ops, lacking_in, operators_of
from tensorferry.wire.tfjs_releases import first_releases
from tensorferry.writers.tfjs import write_tfjs

Build = Callable[[Graph, Node], Node]


def chain(*steps: str, shape: tuple[int | str, ...] = (2, 4), dtype: DType = DType.FLOAT32) -> Graph:
    """x -> the ops one after the other -> y; an op that begins with `Odd` is one that nobody knows. Nodes are named n0, n1 ..."""
    graph = Graph("chain")
    value = ops.add(graph, "Placeholder", (), {"dtype": dtype, "shape": shape}, name="x").output
    graph.inputs = [Port("x", value)]
    for index, op in enumerate(steps):
        if op.startswith("Odd"):
            value = graph.add(op, [value], {}, typed=[Typed(dtype, shape)], name=f"n{index}").output
        elif op == "BiasAdd":
            value = ops.add(graph, op, [value, graph.constant(np.ones(4, np.float32), f"b{index}")], name=f"n{index}").output
        elif op == "MatMul":
            value = ops.add(graph, op, [value, graph.constant(np.eye(4, dtype=np.float32), f"w{index}")], name=f"n{index}").output
        else:
            value = ops.add(graph, op, [value], name=f"n{index}").output
    graph.outputs = [Port("y", value)]
    return graph


def fates(assessment: Assessment) -> dict[str, str]:
    return {row.op: row.how for row in assessment.rows}


def test_each_fate() -> None:
    graph = chain("MatMul", "BiasAdd", "Relu", "Identity", "Selu", "Tanh")
    lite = assess_graph(graph, "tflite")
    assert fates(lite) == {
        "MatMul": "direct",
        "BiasAdd": "fused",
        "Relu": "fused",
        "Identity": "fused",
        "Selu": "rewritten",
        "Tanh": "direct",
    }
    assert lite.possible and lite.cut is None
    selu = next(row for row in lite.rows if row.op == "Selu")
    assert "ELU" in selu.becomes
    assert fates(assess_graph(graph, "tfjs"))["Selu"] == "direct"
    assert [node.op for node in graph.nodes if node.op == "Identity"], "the graph itself stays as it is"


def test_what_is_impossible_is_named_with_the_reason() -> None:
    lite = assess_graph(chain("Relu", "Tanh", "OddOne", "OddOne"), "tflite")
    assert not lite.possible and lite.runtime == ""
    row = lite.rows[0]
    assert (row.op, row.count, row.how, row.nodes) == ("OddOne", 2, "impossible", ("n2", "n3"))
    assert "does not know" in row.why


def test_what_hangs_on_unknown_sizes_is_told_with_the_way_out(tmp_path: Path) -> None:
    graph = Graph("graph")
    matrix = ops.add(graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": ("n", "n")}, name="matrix").output
    words = ops.add(graph, "Placeholder", (), {"dtype": DType.STRING, "shape": ("n",)}, name="words").output
    graph.inputs = [Port(each.name, each) for each in (matrix, words)]
    inverse = ops.add(graph, "MatrixInverse", (matrix,), name="inverse").output
    places = graph.constant(np.array([0, 1], np.int32), "places")
    among = ops.add(graph, "InTopKV2", (matrix, places, graph.constant(np.array(1, np.int32), "k")), name="among").output
    joined = ops.add(graph, "ReduceJoin", (words, graph.constant(np.array([0], np.int32), "axis")), name="joined").output
    graph.outputs = [Port("inverse", inverse), Port("among", among), Port("joined", joined)]
    reasons = {
        "MatrixInverse": ("the size of its matrices is not known", "--shape"),
        "InTopKV2": ("not all sizes of 'matrix' are known", "--shape"),
        "ReduceJoin": ("how many texts", "input size"),
    }
    rows = {row.op: row.why for row in assess_graph(graph, "tfjs").rows if row.op in reasons}
    for op, wanted in reasons.items():
        assert all(each in rows[op] for each in wanted), rows[op]
    pipelines.prepare(graph)
    pipelines.finish(graph, "tfjs")
    with pytest.raises(UnsupportedError) as caught:
        write_tfjs(graph, tmp_path / "js")
    told = {problem.op: (problem.why, problem.remedy) for problem in caught.value.problems}
    assert set(told) == set(reasons)
    for op, (why, remedy) in reasons.items():
        assert why in told[op][0] and remedy in told[op][1], told[op]


def test_backends_say_what_they_leave_to_others() -> None:
    floats = {each.backend: each for each in assess_graph(chain("Tanh", "Log"), "tflite").backends}
    assert floats["xnnpack"].taken == floats["gpu"].taken == 2
    integers = {each.backend: each for each in assess_graph(chain("Neg", dtype=DType.INT32), "tflite").backends}
    assert integers["xnnpack"].others == integers["gpu"].others == {"NEG": 1}
    five = {each.backend: each for each in assess_graph(chain("Tanh", shape=(1, 1, 2, 2, 2)), "tflite").backends}
    assert five["gpu"].taken == 0 and five["gpu"].falls_back


def test_open_sizes_are_warned_of() -> None:
    assert any("--fixed" in notice for notice in assess_graph(chain("Tanh", shape=("n", 4)), "tflite").notices)
    assert not any("--fixed" in notice for notice in assess_graph(chain("Tanh"), "tflite").notices)


def test_the_assessment_is_what_the_conversion_does(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow, which makes the graph, is not installed")
    from small_graphs import freeze, small_net  # noqa: PLC0415

    source = freeze(tmp_path / "net.pb", small_net)
    told = tensorferry.assess(source)
    report = tensorferry.convert(source, [tmp_path / "net.tflite", tmp_path / "web"], verify=False)
    for target in report.targets:
        assert told[target.kind].operators == target.operators
        assert told[target.kind].runtime == target.runtime


# -- cutting -------------------------------------------------------------------------------------------------------


def test_obstacles_behind_are_cut_off_at_the_outputs() -> None:
    cut = find_cut(chain("Relu", "Tanh", "OddOne", "Sigmoid"), ["n2"])
    assert cut is not None
    assert (cut.inputs, cut.outputs, cut.kept, cut.total) == (("x",), ("n1",), 2, 4)


def test_obstacles_before_are_cut_off_at_the_inputs() -> None:
    cut = find_cut(chain("OddOne", "Relu", "Tanh", "Sigmoid"), ["n0"])
    assert cut is not None
    assert (cut.inputs, cut.outputs, cut.kept) == (("n0",), ("y",), 3)


def test_obstacles_at_both_ends_leave_the_middle() -> None:
    cut = find_cut(chain("OddOne", "Relu", "Tanh", "OddTwo"), ["n0", "n3"])
    assert cut is not None
    assert (cut.inputs, cut.outputs, cut.kept) == (("n0",), ("n2",), 2)


def test_no_advice_where_little_is_left() -> None:
    assert find_cut(chain("OddOne"), ["n0"]) is None
    assert find_cut(chain(*["OddOne"] * 6, "Relu", *["OddOne"] * 6), [f"n{index}" for index in range(13) if index != 6]) is None


def test_the_error_of_a_conversion_holds_a_command_that_works(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow", reason="TensorFlow, which makes the graph, is not installed")
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (3, 3), name="x")
        second = tf.nn.tanh(tf.nn.relu(x, name="first"), name="second")
        tf.raw_ops.KmeansPlusPlusInitialization(points=second, num_to_sample=2, seed=1, num_retries_per_sample=1)
    source = tmp_path / "a model.pb"
    source.write_bytes(graph.as_graph_def().SerializeToString())
    target = tmp_path / "out.tflite"
    with pytest.raises(UnsupportedError) as caught:
        tensorferry.convert(source, target)
    command = shlex.split(caught.value.remedy.splitlines()[-1])
    assert command[:2] == ["tensorferry", "convert"]
    result = CliRunner().invoke(app, [*command[1:], "--json"])
    assert result.exit_code == 0, result.output
    assert [port["name"] for port in json.loads(result.output)["outputs"]] == ["second"]


# -- the command ---------------------------------------------------------------------------------------------------


def test_check_prints_and_its_exit_code_tells(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow", reason="TensorFlow, which makes the graph, is not installed")
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (3, 3), name="x")
        second = tf.nn.softmax(tf.nn.tanh(x, name="first"))
        tf.raw_ops.KmeansPlusPlusInitialization(points=second, num_to_sample=2, seed=1, num_retries_per_sample=1)
    source = tmp_path / "model.pb"
    source.write_bytes(graph.as_graph_def().SerializeToString())
    refused = CliRunner().invoke(app, ["check", str(source), "--to", "tflite"])
    assert refused.exit_code == 2
    assert (
        "KmeansPlusPlusInitialization" in refused.output and "way out" in refused.output and "TensorFlow.js" not in refused.output
    )
    fine = CliRunner().invoke(app, ["check", str(source), "--outputs", "first", "--json"])
    assert fine.exit_code == 0
    assert {kind: each["possible"] for kind, each in json.loads(fine.output).items()} == {"tflite": True, "tfjs": True}
    wrong = CliRunner().invoke(app, ["check", str(source), "--to", "onnx"])
    assert wrong.exit_code == 2 and "choose one of tflite, tfjs" in wrong.output


# -- facts ---------------------------------------------------------------------------------------------------------


def test_the_tables_name_operators_that_exist() -> None:
    for names in operators_of().values():
        assert names <= tflite_schema.operators().keys()
    for names in (*lacking_in().values(), asynchronous_ops()):
        assert names <= first_releases().keys()
    assert {"CONV_2D", "ADD"} <= operators_of()["xnnpack"]
