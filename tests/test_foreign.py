"""Ops that a target lacks, passed on when asked: custom operators, Select operators, custom ops of TensorFlow.js."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flatbuffers import flexbuffers

import tensorferry
from tensorferry import ops
from tensorferry.errors import OptionError, UnsupportedError
from tensorferry.ir import Graph, Port, Typed
from tensorferry.program import Program
from tensorferry.tensor import DType
from tensorferry.writers.foreign import lite_fallback
from tensorferry.writers.tflite_program import make_program


def graph_with(op: str, attrs: dict[str, Any], outputs: int = 1) -> Graph:
    """x -> Relu -> the op -> y."""
    graph = Graph("foreign")
    x = ops.add(graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": (3, 3)}, name="x")
    relu = ops.add(graph, "Relu", [x.output], name="relu")
    node = graph.add(op, [relu.output], attrs, typed=[Typed(DType.FLOAT32, (3, 3))] * outputs, name="strange")
    graph.inputs = [Port("x", x.output)]
    graph.outputs = [Port("y", node.outputs[0])]
    return graph


def program(graph: Graph, *, custom: bool = False, select: bool = False) -> Program:
    return make_program(graph, "serving_default", lite_fallback(custom=custom, select=select))


def test_a_strange_op_is_refused_unless_asked_for() -> None:
    with pytest.raises(UnsupportedError, match="strange"):
        program(graph_with("Frobnicate", {}))


def test_a_custom_operator_has_the_name_and_the_attributes() -> None:
    attrs = {
        "T": DType.FLOAT32,
        "alpha": 0.5,
        "count": 3,
        "on": True,
        "mode": "fast",
        "raw": b"\xff",
        "sizes": [1, 2],
        "gone": None,
    }
    made = program(graph_with("Frobnicate", attrs), custom=True)
    assert [(code.name, code.version, code.custom) for code in made.codes] == [("RELU", 1, False), ("Frobnicate", 1, True)]
    options = flexbuffers.Loads(made.subgraphs[0].operators[1].custom)
    wanted = {"T": 1, "alpha": 0.5, "count": 3, "mode": "fast", "on": True, "raw": "\N{REPLACEMENT CHARACTER}", "sizes": [1, 2]}
    assert options == wanted


def test_select_is_for_ops_of_tensorflow_alone() -> None:
    with pytest.raises(UnsupportedError, match=r"nor does TensorFlow have the op.*--allow-custom"):
        program(graph_with("Frobnicate", {}), select=True)
    both = program(graph_with("Frobnicate", {}), select=True, custom=True)
    assert both.codes[1].name == "Frobnicate"
    assert program(graph_with("Qr", {"T": DType.FLOAT32}, 2), select=True, custom=True).codes[1].name == "FlexQr"


def test_an_output_of_unknown_type_cannot_be_passed_on() -> None:
    graph = graph_with("Frobnicate", {})
    graph.node("strange").output.retype(Typed(DType.UNKNOWN, None))
    with pytest.raises(UnsupportedError, match="type of its output strange is not known"):
        program(graph, custom=True)


def decode_select(options: bytes) -> Any:
    """(op, NodeDef without names of nodes), as the Flex delegate reads it."""
    node_def_pb2 = pytest.importorskip("tensorflow.core.framework.node_def_pb2", reason="TensorFlow is not installed")
    root = flexbuffers.GetRoot(options).AsVector
    op, text = root[0], root[1]
    definition = node_def_pb2.NodeDef()
    definition.ParseFromString(bytes(text.AsStringBytes))
    definition.name = ""
    definition.ClearField("input")
    definition.ClearField("experimental_debug_info")
    return op.AsString, definition


@pytest.mark.parametrize("op", ["Qr", "Cholesky"])
def test_a_select_operator_is_the_official_converters(op: str, tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow", reason="TensorFlow, whose converter is compared with, is not installed")
    from tensorflow.lite.python import schema_py_generated as schema  # noqa: PLC0415

    function = tf.function(lambda x: getattr(tf.raw_ops, op)(input=x)[0])
    concrete = function.get_concrete_function(tf.TensorSpec([3, 3], tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    theirs = schema.ModelT.InitFromPackedBuf(converter.convert(), 0)
    options = {
        theirs.operatorCodes[each.opcodeIndex].customCode: bytes(each.customOptions)
        for each in theirs.subgraphs[0].operators
        if each.customOptions is not None
    }
    attrs = {"T": DType.FLOAT32, **({"full_matrices": False} if op == "Qr" else {})}
    made = program(graph_with(op, attrs, 2 if op == "Qr" else 1), select=True)
    ours = next(each.custom for each in made.subgraphs[0].operators if each.custom is not None)
    assert decode_select(ours) == decode_select(options[f"Flex{op}".encode()])


def write_strange(path: Path) -> Path:
    tf = pytest.importorskip("tensorflow", reason="TensorFlow, which writes the graph, is not installed")
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (1, 3, 4), name="x")
        attrs = {"image_size": [9, 9, 3], "use_image_if_no_bounding_boxes": True}
        tf.identity(tf.raw_ops.SampleDistortedBoundingBox(bounding_boxes=tf.nn.relu(x), **attrs).bboxes, name="y")
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def test_a_result_with_custom_operators_is_said_to_be_unverified(tmp_path: Path) -> None:
    source = write_strange(tmp_path / "strange.pb")
    report = tensorferry.convert(source, [tmp_path / "out.tflite", tmp_path / "web"], allow_custom=True)
    assert report.passed and not report.verified
    lite, js = report.targets
    assert "SampleDistortedBoundingBox" in lite.operators and "an application registers" in lite.check.reason
    assert "tf.registerOp" in js.check.reason
    nodes = json.loads((tmp_path / "web" / "model.json").read_text())["modelTopology"]["node"]
    strange = next(node for node in nodes if node["op"] == "SampleDistortedBoundingBox")
    assert strange["attr"]["use_image_if_no_bounding_boxes"] == {"b": True}


def test_select_operators_do_not_help_tensorflow_js(tmp_path: Path) -> None:
    source = write_strange(tmp_path / "strange.pb")
    with pytest.raises(UnsupportedError, match=r"TensorFlow\.js"):
        tensorferry.convert(source, tmp_path / "web", allow_select=True)


def test_attributes_of_any_bytes_survive() -> None:
    made = program(graph_with("Qr", {"T": DType.FLOAT32, "note": b"\x00\xff" * 200}, 2), select=True)
    op, definition = decode_select(next(each.custom for each in made.subgraphs[0].operators if each.custom))
    assert op == "Qr" and definition.attr["note"].s == b"\x00\xff" * 200


# -- sizes that must not stay open ---------------------------------------------------------------------------------


def write_open(path: Path) -> Path:
    tf = pytest.importorskip("tensorflow", reason="TensorFlow, which writes the graph, is not installed")
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (None, None, 3), name="x")
        tf.nn.relu(x, name="y")
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def test_fixed_leaves_no_size_open(tmp_path: Path) -> None:
    source = write_open(tmp_path / "open.pb")
    report = tensorferry.convert(source, tmp_path / "fixed.tflite", fixed=True, input_shapes={"x": (-1, 4, 3)})
    assert report.verified and report.inputs[0].shape == (1, 4, 3)


def test_a_size_that_nothing_tells_cannot_be_fixed(tmp_path: Path) -> None:
    source = write_open(tmp_path / "open.pb")
    with pytest.raises(OptionError, match=r"x=1,\?,3") as caught:
        tensorferry.convert(source, tmp_path / "fixed.tflite", fixed=True)
    assert "--shape" in caught.value.remedy
    assert not (tmp_path / "fixed.tflite").exists()
