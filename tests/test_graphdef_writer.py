"""Frozen GraphDefs as they are written: TensorFlow reads them, and so do we."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from tensorferry import ops, readers
from tensorferry.errors import TargetError
from tensorferry.ir import Graph, Node, Port
from tensorferry.ops.spec import Example
from tensorferry.storage import CHUNK
from tensorferry.tensor import ArrayTensor, DType, FilledTensor, TransposedTensor
from tensorferry.text import format_graph
from tensorferry.wire.tensorflow import FunctionRef
from tensorferry.writers.graphdef import encode_graph, serialize_graphdef, write_graphdef

v1 = tf.compat.v1
MODELS = Path(__file__).parents[2] / "shared" / "models"


def built() -> Graph:
    """Constants of every origin, a node with two outputs, a control input, types left for the writer to fill in."""
    graph = Graph("built")
    x = ops.add(graph, "Placeholder", attrs={"dtype": DType.FLOAT32, "shape": ("batch", 6)}, name="x").output
    matrix = np.arange(24, dtype=np.float32).reshape(4, 6)
    weights = graph.constant(TransposedTensor(ArrayTensor(matrix), (1, 0)), "weights")
    filled = graph.constant(FilledTensor(np.array([2], np.float32), DType.FLOAT32, (4,)), "filled")
    product = ops.add(graph, "MatMul", (x, weights), name="product").output
    biased = ops.add(graph, "BiasAdd", (product, filled), name="biased").output
    axis = graph.constant(np.int32(1), "axis")
    split = ops.add(graph, "Split", (axis, biased), {"num_split": 2}, name="split")
    joined = ops.add(graph, "ConcatV2", (split.outputs[1], split.outputs[0], axis), name="joined")
    joined.controls = ("product",)
    graph.inputs = [Port("x", x)]
    graph.outputs = [Port("joined", joined.output)]
    return graph


def run(serialized: bytes, feeds: dict[str, np.ndarray], fetch: str) -> np.ndarray:
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(v1.GraphDef.FromString(serialized), name="")
        return session.run(fetch, feeds)


def test_tensorflow_runs_what_is_written() -> None:
    x = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    product = x @ np.arange(24, dtype=np.float32).reshape(4, 6).T + 2
    expected = np.concatenate([product[:, 2:], product[:, :2]], 1)
    np.testing.assert_allclose(run(serialize_graphdef(built()), {"x:0": x}, "joined:0"), expected, rtol=1e-6)


QUANTISED = ("QuantizeV2", "Dequantize")
"""Their types are read as the plain integers they are stored in, which TensorFlow does not take in their place."""


def test_every_op_that_is_built_is_taken_by_tensorflow() -> None:
    """Built without the type attributes that TensorFlow wants, from the examples of the specs."""
    refused = {}
    for spec in ops.all_specs():
        if op_def_registry.get(spec.name) is None or spec.name in QUANTISED:  # a composite of our own
            continue
        for number, example in enumerate(spec.examples()):
            if "activation" in example.attrs or (spec.takes_bias and len(example.inputs) > 2):
                continue
            if spec.name == "Einsum" and len(example.inputs) > 2:  # tf.einsum writes several of two operands each
                continue
            try:
                run_import(serialize_graphdef(as_graph(spec.name, example)))
            except ValueError as error:
                refused[spec.name, number] = str(error)
    assert refused == {}


def as_graph(op: str, example: Example) -> Graph:
    graph = Graph()
    values = []
    for index, array in enumerate(example.inputs):
        if index in example.constants:
            values.append(graph.constant(array, f"c{index}"))
        else:
            attrs = {"dtype": DType.of(array), "shape": array.shape}
            values.append(ops.add(graph, "Placeholder", attrs=attrs, name=f"x{index}").output)
    ops.add(graph, op, values, example.attrs, name="node")
    return graph


def run_import(serialized: bytes) -> None:
    with tf.Graph().as_default():
        tf.graph_util.import_graph_def(v1.GraphDef.FromString(serialized), name="")


def test_we_read_what_is_written(tmp_path: Path) -> None:
    size = write_graphdef(built(), tmp_path / "graph.pb")
    assert size == (tmp_path / "graph.pb").stat().st_size
    again = readers.read(tmp_path / "graph.pb")
    assert [node.name for node in again.nodes] == [node.name for node in built().nodes]
    assert again.node("joined").controls == ("product",)
    assert again.node("weights")["value"].array().tolist() == np.arange(24).reshape(4, 6).T.tolist()
    write_graphdef(again, tmp_path / "again.pb")
    assert (tmp_path / "again.pb").read_bytes() == (tmp_path / "graph.pb").read_bytes()


def test_same_bytes_each_time(tmp_path: Path) -> None:
    assert serialize_graphdef(built()) == serialize_graphdef(built())


def test_short_forms_stay_short() -> None:
    graph = Graph()
    graph.constant(FilledTensor(np.array([2], np.float32), DType.FLOAT32, (1000, 1000)), "filled")
    assert encode_graph(graph).size < 100


def test_weights_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph()
    graph.constant(ArrayTensor(np.ones(3 * CHUNK, np.uint8)), "large")
    write_graphdef(graph, tmp_path / "graph.pb")
    read = readers.read(tmp_path / "graph.pb")
    tensor = read.node("large")["value"]
    monkeypatch.setattr(type(tensor), "array", lambda self: pytest.fail("the whole constant was asked for"))
    assert max(len(piece) for piece in encode_graph(read).chunks()) <= CHUNK
    write_graphdef(read, tmp_path / "copy.pb")
    assert (tmp_path / "copy.pb").read_bytes() == (tmp_path / "graph.pb").read_bytes()


def test_the_source_is_no_target(tmp_path: Path) -> None:
    write_graphdef(built(), tmp_path / "graph.pb")
    before = (tmp_path / "graph.pb").read_bytes()
    with pytest.raises(TargetError, match="is the source itself"):
        write_graphdef(readers.read(tmp_path / "graph.pb"), tmp_path / "graph.pb", [tmp_path / "graph.pb"])
    assert (tmp_path / "graph.pb").read_bytes() == before


def test_tensorflow_runs_branches_and_loops_that_we_write(tmp_path: Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec((2,), tf.float32), tf.TensorSpec((), tf.int32)])
    def source(x: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        def body(i: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return i + 1, tf.cond(i % 2 == 0, lambda: y * 2, lambda: y - tf.cast(i, tf.float32))

        return tf.while_loop(lambda i, _y: i < count, body, (0, x))[1]

    function = source.get_concrete_function()
    (tmp_path / "source.pb").write_bytes(function.graph.as_graph_def().SerializeToString())
    graph = readers.read(tmp_path / "source.pb")
    write_graphdef(graph, tmp_path / "again.pb")
    x = np.array([1, -2], np.float32)
    with tf.Graph().as_default(), v1.Session() as session:
        definition = v1.GraphDef.FromString((tmp_path / "again.pb").read_bytes())
        tf.graph_util.import_graph_def(definition, name="")
        feeds = {graph.inputs[0].name + ":0": x, graph.inputs[1].name + ":0": 5}
        (result,) = session.run([graph.outputs[0].name + ":0"], feeds)
    np.testing.assert_array_equal(result, source(x, 5))


def test_what_a_graph_def_cannot_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = built()
    graph.node("product").attrs["activation"] = "Relu6"
    with pytest.raises(TargetError, match=r"'product' \(MatMul\) carries a fused"):
        serialize_graphdef(graph)
    graph = built()
    product = graph.node("product")
    product.set_inputs([*product.inputs, graph.node("filled").output])
    with pytest.raises(TargetError, match=r"'product' \(MatMul\) carries a fused"):
        serialize_graphdef(graph)
    graph = built()
    graph.node("joined").attrs["f"] = FunctionRef("elsewhere", {})
    with pytest.raises(TargetError, match=r"'joined' \(ConcatV2\) calls elsewhere"):
        serialize_graphdef(graph)
    huge = Graph()
    huge.constant(FilledTensor(np.array([1, 2], np.float32), DType.FLOAT32, (1 << 29,)), "filled")
    assert encode_graph(huge).size < 100
    monkeypatch.setattr("tensorferry.writers.graphdef.MAX_BYTES", 50)
    with pytest.raises(TargetError, match="holds at most 50"):
        encode_graph(huge)


REAL = (
    "char_rnn_receipts/rnn_optimized_model_mobile.pb",
    "cifar_frozen/frozen_model.pb",
    "kws_arm_gru_S/GRU_S.pb",
    "mtcnn_blaueck/mtcnn.pb",
    "objdetect_tfjs0x/tensorflowjs_model.pb",
    "tf2onnx_lstm/frozen.pb",
)


@pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not there")
@pytest.mark.parametrize("name", REAL)
def test_real_graphs_survive(tmp_path: Path, name: str) -> None:
    """Loops, strings, old ops: read, written, taken by TensorFlow, and read again as the same graph."""
    graph = readers.read(MODELS / name)
    write_graphdef(graph, tmp_path / "graph.pb")
    with tf.Graph().as_default():
        tf.graph_util.import_graph_def(v1.GraphDef.FromString((tmp_path / "graph.pb").read_bytes()), name="")
    assert outline(readers.read(tmp_path / "graph.pb")) == outline(graph)


def outline(graph: Graph) -> str | list[tuple[str, ...]]:
    """The graph's text; where nodes hold graphs, whose names a GraphDef does not keep, what every node is and gives."""
    if not any(True for node in graph.nodes for _nested in node.graphs()):
        return format_graph(graph)
    return sorted((each.op, *(value.dtype.value for value in each.outputs)) for each in everything(graph))


def everything(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        yield node
        for _key, nested in node.graphs():
            yield from everything(nested)
