"""Graphs in text form: read as TensorFlow reads them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorferry.errors import FerryError, SourceError
from tensorferry.readers import detect, read
from tensorferry.readers.selection import select
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.wire.named import MESSAGES, encode
from tensorferry.wire.textform import parse

tf = pytest.importorskip("tensorflow", reason="TensorFlow, which writes the graphs, is not installed")
text_format = pytest.importorskip("google.protobuf.text_format")
v1 = tf.compat.v1


def encoded(kind: str, text: str) -> bytes:
    return b"".join(bytes(chunk) for chunk in encode(kind, parse(text)).chunks())


def graph_def() -> v1.GraphDef:
    """Many kinds of attributes and constants, a function, awkward text."""
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, (None, 3), name="x")
        w = tf.constant(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), name="w")
        y = tf.nn.relu(tf.matmul(x, w), name="y")
        tf.constant([b"\x00\xff", "größe\n".encode()], name="words")
        tf.constant([1.5, np.inf, -np.inf], tf.float16, name="half")
        tf.constant([1 + 2j], name="complex")
        tf.constant([[True]], name="flag")
        tf.constant(-7, tf.int64, name="number")
        tf.function(lambda z: z * 2, autograph=False)(y)
    return graph.as_graph_def()


def test_the_bytes_are_those_of_protobuf() -> None:
    definition = graph_def()
    again = v1.GraphDef.FromString(encoded("GraphDef", text_format.MessageToString(definition)))
    again.versions.CopyFrom(definition.versions)
    for each in (definition, again):
        for function in each.library.function:
            function.ClearField("arg_attr")
        for node in [*each.node, *(node for function in each.library.function for node in function.node_def)]:
            node.ClearField("experimental_debug_info")
    assert again == definition


@pytest.mark.parametrize("name", ["graph.pbtxt", "graph.pb"])
def test_a_graph_in_text_form_is_read_whatever_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(text_format.MessageToString(graph_def()))
    assert detect(path) == "graphdef"
    graph = select(read(path), outputs=["y"])
    x = np.ones((2, 3), np.float32)
    expected = np.maximum(x @ np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), 0)
    np.testing.assert_allclose(evaluate_graph(graph, {"x": x})["y"], expected, rtol=1e-6)
    assert read(path).node("words")["value"].array().tolist() == [b"\x00\xff", "größe\n".encode()]


def test_the_forms_that_the_format_allows() -> None:
    text = """
    # a comment
    node < name: 'x' op: "Place" "holder", attr { key: "shape" value: { shape { dim { size: -1 } dim: <size: 0x10> } } } >;
    node { name: "y" op: "Concat" input: ["x", "x"] attr { key: "f" value { f: .5e1 } } attr { key: "n" value { f: nan } } }
    versions { producer: 017 }
    """
    data = parse(text)
    assert [node["name"] for node in data["node"]] == [b"x", b"y"]
    assert data["node"][0]["op"] == b"Placeholder"
    assert data["node"][0]["attr"]["value"]["shape"]["dim"] == [{"size": -1}, {"size": 16}]
    assert data["node"][1]["input"] == [b"x", b"x"]
    assert data["versions"]["producer"] == 15
    again = v1.GraphDef.FromString(encoded("GraphDef", text))
    assert again == text_format.Parse(text, v1.GraphDef())


@pytest.mark.parametrize(
    "text",
    ["node {", "node { name }", "node { name: }", 'node { name: "x }', "node }", "node: [", "a: 1 $", "node { attr: 1.2.3 }", "{"],
)
def test_what_is_no_message_is_told_with_its_line(text: str) -> None:
    with pytest.raises(SourceError, match=r"the text is no graph") as caught:
        parse("\n\n" + text)
    assert caught.value.where.startswith("line ")


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(SourceError, match="nested more than"):
        parse("a { " * 1000)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="nodeatrx:{}<>[]\"'\\,;0 .-#\n", max_size=60))
def test_any_text_is_a_message_or_an_error(text: str) -> None:
    with contextlib.suppress(FerryError):
        encode("GraphDef", parse(text))


def test_fields_have_the_numbers_of_the_messages() -> None:
    from tensorflow.core.framework import function_pb2, op_def_pb2, tensor_pb2  # noqa: PLC0415
    from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2  # noqa: PLC0415

    known = {
        "GraphDef": v1.GraphDef,
        "NodeDef": v1.NodeDef,
        "AttrValue": v1.AttrValue,
        "ListValue": v1.AttrValue.ListValue,
        "NameAttrList": v1.NameAttrList,
        "TensorProto": tensor_pb2.TensorProto,
        "FunctionDef": function_pb2.FunctionDef,
        "FunctionDefLibrary": function_pb2.FunctionDefLibrary,
        "OpDef": op_def_pb2.OpDef,
        "ArgDef": op_def_pb2.OpDef.ArgDef,
        "SavedModel": saved_model_pb2.SavedModel,
        "MetaGraphDef": meta_graph_pb2.MetaGraphDef,
        "MetaInfoDef": meta_graph_pb2.MetaGraphDef.MetaInfoDef,
        "SignatureDef": meta_graph_pb2.SignatureDef,
        "TensorInfo": meta_graph_pb2.TensorInfo,
        "AssetFileDef": meta_graph_pb2.AssetFileDef,
    }
    for name, message in known.items():
        theirs = {field.name: field.number for field in message.DESCRIPTOR.fields}
        assert {field: number for field, (number, _, _) in MESSAGES[name].items()}.items() <= theirs.items()


def test_names_of_types_in_brackets() -> None:
    """As collections of a MetaGraph hold messages of any type."""
    text = 'value { [type.googleapis.com/tensorflow.AssetFileDef] { filename: "a" } } value { [ext.name]: 3 } rest: 1'
    first, second = parse(text)["value"]
    assert first == {"[type.googleapis.com/tensorflow.AssetFileDef]": {"filename": b"a"}}
    assert second == {"[ext.name]": 3} and parse(text)["rest"] == 1
    for broken in ("[type", "[]: 1", "[a b", "[a{"):
        with pytest.raises(SourceError):
            parse(broken)
