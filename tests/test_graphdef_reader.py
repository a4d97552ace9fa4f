"""Reading frozen GraphDefs: every node order, unknown ops, loops, and bytes that are wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensorferry import readers
from tensorferry.errors import FerryError, SourceError
from tensorferry.ir import Graph, verify
from tensorferry.readers.order import sort_nodes
from tensorferry.readers.selection import select
from tensorferry.tensor import DType, FileTensor, FilledTensor

v1 = tf.compat.v1
MODELS = Path(__file__).parents[2] / "shared" / "models"


def node(proto: v1.GraphDef, name: str, op: str, *inputs: str, **attrs: object) -> None:
    made = proto.node.add(name=name, op=op, input=inputs)
    for key, value in attrs.items():
        if isinstance(value, tf.DType):
            made.attr[key].type = value.as_datatype_enum
        elif isinstance(value, bool):
            made.attr[key].b = value
        elif isinstance(value, int):
            made.attr[key].i = value
        elif isinstance(value, str):
            made.attr[key].s = value.encode()
        elif isinstance(value, tf.TensorShape):
            made.attr[key].shape.CopyFrom(value.as_proto())
        elif isinstance(value, list) and value and isinstance(value[0], tf.TensorShape):
            made.attr[key].list.shape.extend(shape.as_proto() for shape in value)
        elif isinstance(value, list):
            made.attr[key].list.i.extend(value)
        else:
            made.attr[key].tensor.CopyFrom(tf.make_tensor_proto(value))


def graph_def(producer: int = 27) -> v1.GraphDef:
    proto = v1.GraphDef()
    proto.versions.producer = producer
    return proto


def read(tmp_path: Path, proto: v1.GraphDef | bytes) -> Graph:
    path = tmp_path / "graph.pb"
    path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
    return readers.read(path)


def small() -> v1.GraphDef:
    """x -> relu -> split (two outputs) -> add, with a constant of real content."""
    proto = graph_def()
    node(proto, "x", "Placeholder", dtype=tf.float32, shape=tf.TensorShape([None, 4]))
    node(proto, "relu", "Relu", "x", T=tf.float32)
    node(proto, "axis", "Const", dtype=tf.int32, value=np.int32(1))
    node(proto, "split", "Split", "axis", "relu", T=tf.float32, num_split=2)
    node(proto, "weights", "Const", dtype=tf.float32, value=np.arange(2, dtype=np.float32) + 1)
    node(proto, "add", "Add", "split:1", "weights:0", "^relu", T=tf.float32)
    return proto


def test_small_graph(tmp_path: Path) -> None:
    graph = read(tmp_path, small())
    assert [each.name for each in graph.nodes] == ["x", "relu", "axis", "split", "weights", "add"]
    add = graph.node("add")
    assert add.op == "AddV2", "the newest name of the family"
    assert (add.origin.names, add.origin.op) == (("add",), "Add")
    assert [value.name for value in add.inputs] == ["split:1", "weights"]
    assert add.controls == ("relu",)
    assert graph.node("x").output.shape == ("x.0", 4)
    assert [port.name for port in graph.inputs] == ["x"]
    assert [port.name for port in graph.outputs] == ["add"]
    assert (add.output.dtype, add.output.shape) == (DType.FLOAT32, ("x.0", 2))
    verify(graph)


def test_constants_lie_in_the_file(tmp_path: Path) -> None:
    graph = read(tmp_path, small())
    weights = graph.node("weights")["value"]
    assert isinstance(weights, FileTensor)
    assert weights.array().tolist() == [1, 2]
    assert (tmp_path / "graph.pb").read_bytes()[weights.offset :][: weights.nbytes] == weights.array().tobytes()


def test_short_form_of_constants(tmp_path: Path) -> None:
    proto = graph_def()
    node(proto, "c", "Const", dtype=tf.float32, value=np.float32(7))
    proto.node[0].attr["value"].tensor.tensor_shape.CopyFrom(tf.TensorShape([1000, 1000]).as_proto())
    tensor = read(tmp_path, proto).node("c")["value"]
    assert isinstance(tensor, FilledTensor)
    assert tensor.shape == (1000, 1000)
    assert (tensor.array() == 7).all()


def test_any_order_is_sorted_and_a_good_one_kept(tmp_path: Path) -> None:
    proto = small()
    backwards = graph_def()
    backwards.node.extend(reversed(proto.node))
    graph = read(tmp_path, backwards)
    verify(graph)
    assert [each.name for each in graph.nodes] == ["weights", "axis", "x", "relu", "split", "add"]


def test_sort_is_stable_and_finds_circles() -> None:
    assert sort_nodes({"a": [], "b": ["a"], "c": ["a"]}) == (["a", "b", "c"], [])
    assert sort_nodes({"c": ["a"], "b": ["a"], "a": [], "d": []}) == (["a", "c", "b", "d"], [])
    order, cycle = sort_nodes({"a": [], "b": ["a", "d"], "c": ["b"], "d": ["c"], "e": ["d"]})
    assert order == []
    assert sorted(cycle) == ["b", "c", "d"]
    assert sort_nodes({"a": ["a"]}) == ([], ["a"])
    assert sort_nodes({"b": ["a", "a"], "a": []}) == (["a", "b"], [])


@given(st.permutations(range(6)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
def test_every_order_gives_the_same_graph(tmp_path: Path, order: list[int]) -> None:
    proto, shuffled = small(), graph_def()
    shuffled.node.extend(proto.node[index] for index in order)
    graph = read(tmp_path, shuffled)
    verify(graph)
    assert {each.name: [value.name for value in each.inputs] for each in graph.nodes}["add"] == ["split:1", "weights"]


def test_unknown_ops_are_kept(tmp_path: Path) -> None:
    proto = graph_def()
    node(proto, "x", "Placeholder", dtype=tf.float32, shape=tf.TensorShape([2, 4]))
    node(
        proto, "custom", "MyOp", "x", T=tf.float32, dtype=tf.int64, _output_shapes=[tf.TensorShape([2, None]), tf.TensorShape(None)]
    )
    node(proto, "y", "OtherOp", "custom:2", "custom")
    graph = read(tmp_path, proto)
    custom = graph.node("custom")
    assert [value.dtype for value in custom.outputs] == [DType.INT64, DType.UNKNOWN, DType.UNKNOWN]
    assert [value.shape for value in custom.outputs] == [(2, "?"), None, None]
    assert [port.name for port in graph.outputs] == ["y"]
    assert custom.origin.op == "MyOp"


def test_a_node_that_cannot_be_typed_does_not_stop_reading(tmp_path: Path) -> None:
    proto = graph_def()
    node(proto, "x", "Placeholder", dtype=tf.float32, shape=tf.TensorShape([2, 4]))
    node(proto, "w", "Const", dtype=tf.float32, value=np.zeros((3, 5), np.float32))
    node(proto, "bad", "MatMul", "x", "w", T=tf.float32, transpose_a=False, transpose_b=False)
    node(proto, "few", "MatMul", "x", T=tf.float32)
    node(proto, "good", "Relu", "x", T=tf.float32)
    graph = read(tmp_path, proto)
    assert (graph.node("bad").output.dtype, graph.node("bad").output.shape) == (DType.FLOAT32, None)  # its T says so
    assert graph.node("few").output.shape is None
    assert select(graph, outputs=["good"]).node("good").output.shape == (2, 4)


def test_scalar_placeholder_of_old_graphs_has_no_shape(tmp_path: Path) -> None:
    for producer, shape in ((21, None), (22, ())):
        proto = graph_def(producer)
        node(proto, "x", "Placeholder", dtype=tf.float32, shape=tf.TensorShape([]))
        assert read(tmp_path, proto).node("x").output.shape == shape


def test_loops_of_tensorflow_1(tmp_path: Path) -> None:
    v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default() as built:
            start = v1.placeholder(tf.int32, (), name="start")
            result = v1.while_loop(lambda i: i < 10, lambda i: i + 3, [start], back_prop=False)
            tf.identity(result, name="result")
    finally:
        v1.enable_control_flow_v2()
    proto = built.as_graph_def()
    assert "NextIteration" in {each.op for each in proto.node}
    for order in (list(proto.node), list(reversed(proto.node))):
        shuffled = graph_def()
        shuffled.node.extend(order)
        graph = read(tmp_path, shuffled)
        verify(graph)
        loop = next(each for each in graph.nodes if each.op == "While")
        assert [value.name for value in loop.inputs] == ["start"]
        verify(graph.copy())
        assert [port.name for port in graph.outputs] == ["result"]


def test_branches_are_graphs(tmp_path: Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec((2,), tf.float32)])
    def outer(x: tf.Tensor) -> tf.Tensor:
        return tf.cond(tf.reduce_sum(x) > 0, lambda: x + 1, lambda: x - 1)

    graph = read(tmp_path, outer.get_concrete_function().graph.as_graph_def())
    choice = next(each for each in graph.nodes if each.op == "If")
    branches = {key: {each.op for each in nested.nodes} for key, nested in choice.graphs()}
    assert "AddV2" in branches["then_branch"] and "Sub" in branches["else_branch"]
    assert graph.notices == []


def test_constants_of_strange_types_do_not_stop_reading(tmp_path: Path) -> None:
    proto = graph_def()
    node(proto, "c", "Const")
    proto.node[0].attr["dtype"].type = 77  # a type of times to come
    proto.node[0].attr["value"].tensor.dtype = 77
    graph = read(tmp_path, proto)
    assert graph.node("c").op == "UnreadableConst"
    assert "77" in graph.node("c")["why"]


# -- what is wrong -------------------------------------------------------------------------------------------------


def refused(tmp_path: Path, proto: v1.GraphDef | bytes) -> SourceError:
    with pytest.raises(SourceError) as caught:
        read(tmp_path, proto)
    assert caught.value.remedy
    return caught.value


def test_input_from_nowhere(tmp_path: Path) -> None:
    proto = small()
    proto.node[1].input[0] = "missing"
    error = refused(tmp_path, proto)
    assert error.what == "node 'relu' reads 'missing', which is not in the graph"
    assert "node 'relu' (Relu), byte" in error.where


def test_control_input_from_nowhere_is_dropped(tmp_path: Path) -> None:
    proto = small()
    proto.node[5].input[2] = "^missing"
    graph = read(tmp_path, proto)
    assert graph.node("add").controls == ()
    assert graph.notices == ["control inputs name nodes that are not in the graph and were dropped: missing"]


def test_output_that_does_not_exist(tmp_path: Path) -> None:
    proto = small()
    proto.node[5].input[0] = "split:2"
    assert "output 2 of node 'split' (Split) is read, but it has 2" in refused(tmp_path, proto).what
    proto.node[5].input[0] = "split:x"
    assert "'split:x' is no name" in refused(tmp_path, proto).what


def test_circle(tmp_path: Path) -> None:
    proto = small()
    proto.node[1].input[0] = "add"
    error = refused(tmp_path, proto)
    assert error.what == "the graph's nodes read each other in a circle"
    assert "'relu' (Relu)" in error.where
    assert "'add' (Add)" in error.where


def test_names_must_be_there_and_unique(tmp_path: Path) -> None:
    proto = small()
    proto.node[4].name = "relu"
    proto.node[5].input[1] = "relu"
    assert refused(tmp_path, proto).what == "two nodes have the name 'relu'"
    proto = small()
    proto.node[5].name = ""
    assert "a node has no name" in refused(tmp_path, proto).what
    proto = small()
    proto.node[5].op = ""
    assert "node 'add' has no op" in refused(tmp_path, proto).what


def test_graph_without_nodes(tmp_path: Path) -> None:
    assert "without nodes" in refused(tmp_path, graph_def()).what


def test_attributes_of_the_wrong_kind(tmp_path: Path) -> None:
    proto = small()
    proto.node[3].attr["num_split"].s = b"two"
    assert "'split' (Split)" in refused(tmp_path, proto).what
    proto = small()
    proto.node[3].attr["num_split"].i = 1 << 60
    assert "attribute 'num_split' of node 'split' (Split) is 1152921504606846976" in refused(tmp_path, proto).what
    proto = small()
    proto.node[0].attr["dtype"].s = b"float32"
    assert "'x' (Placeholder)" in refused(tmp_path, proto).what
    proto = small()
    del proto.node[4].attr["value"]
    assert "the constant 'weights' has no value" in refused(tmp_path, proto).what


def test_content_of_the_wrong_length_names_the_node(tmp_path: Path) -> None:
    proto = small()
    proto.node[4].attr["value"].tensor.tensor_content = bytes(7)
    error = refused(tmp_path, proto)
    assert "needs 8 bytes, the file holds 7" in error.what
    assert "attribute 'value' of node 'weights' (Const)" in error.where


def test_truncated_anywhere(tmp_path: Path) -> None:
    data = small().SerializeToString()
    boundaries = 0
    for length in range(1, len(data)):
        try:
            read(tmp_path, data[:length])
            boundaries += 1  # cut exactly between two nodes: a smaller graph
        except SourceError as error:
            assert error.remedy
    assert boundaries <= 8


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
def test_changed_bytes_are_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(small().SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        graph = read(tmp_path, bytes(raw))
    except FerryError:
        return
    try:
        select(graph)
        verify(graph)
    except FerryError:
        pass


# -- real models ---------------------------------------------------------------------------------------------------

FROZEN = (
    "char_rnn_receipts/frozen_model_mobile.pb",
    "cifar_frozen/frozen_model.pb",
    "edge_ai_crespum/frozen_model.pb",
    "kws_arm_ds_cnn_S/DS_CNN_S.pb",
    "kws_arm_gru_S/GRU_S.pb",
    "model_matmul/frozen_saved_model.pb",
    "mtcnn_blaueck/mtcnn.pb",
    "objdetect_tfjs0x/tensorflowjs_model.pb",
    "openpose_mobilenet_v2_small/graph_opt.pb",
    "posenet050_frozen_pb/model-mobilenet_v1_050.pb",
    "tf2onnx_gru/frozen.pb",
    "tf2onnx_lstm/frozen.pb",
)


@pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not there")
@pytest.mark.parametrize("name", FROZEN)
def test_real_graphs_hold_what_tensorflow_says(name: str, tmp_path: Path) -> None:
    """Nodes, wiring and constants as in TensorFlow; and, where our types are known, as TensorFlow infers them."""
    proto = v1.GraphDef.FromString((MODELS / name).read_bytes())
    with tf.Graph().as_default() as theirs:
        tf.graph_util.import_graph_def(proto, name="")
    graph = readers.read(shutil.copyfile(MODELS / name, tmp_path / "graph.pb"))  # away from the weights that may lie beside it
    verify(graph)
    raised = {each.name for each in proto.node} - {each.name for each in graph.nodes}
    assert bool(raised) == any(each.op == "Switch" for each in proto.node), "only loops and conditions become something else"
    kinds = {each.name: each.op for each in proto.node}
    made = [each.name for each in graph.nodes if each.name not in kinds and each.op not in ("If", "While")]
    assert not made or any(each.op.startswith("TensorArray") for each in proto.node), made
    for each in graph.nodes:
        kind = kinds.get(each.name, "")  # of what has been made beside a list: none
        if each.op in ("If", "While") or kind in ("", "Exit", "Merge") or kind.startswith("TensorArray"):
            continue
        operation = theirs.get_operation_by_name(each.name)
        assert [value.name for value in each.inputs] == [tensor.name.removesuffix(":0") for tensor in operation.inputs]
        for value, tensor in zip(each.outputs, operation.outputs, strict=False):
            assert value.dtype.value in (tensor.dtype.base_dtype.name, "unknown")
            if value.shape is not None and tensor.shape.rank is not None:
                assert len(value.shape) == tensor.shape.rank, value
                pairs = zip(value.shape, tensor.shape.as_list(), strict=True)
                assert all(isinstance(ours, str) or other is None or ours == other for ours, other in pairs), value
        if each.op == "Const":
            expected = tf.make_ndarray(operation.get_attr("value"))
            assert each["value"].array().tolist() == expected.tolist()


MEASURE = """
import resource, sys, time
from tensorferry import ops, readers
ops.registry()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
graph = readers.read(sys.argv[1])
print(time.perf_counter() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, len(graph.nodes))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux counts it")
def test_reading_touches_no_weight(tmp_path: Path) -> None:
    """A graph of 256 MB, most of it a hole in the file, is walked within a few MB and well below a second."""
    count, size = 4, 64 << 20
    path = tmp_path / "large.pb"
    with path.open("wb") as file:
        for index in range(count):
            proto = graph_def()
            proto.ClearField("versions")
            node(proto, f"w{index}", "Const", dtype=tf.float32)
            proto.node[0].attr["value"].tensor.dtype = 1
            proto.node[0].attr["value"].tensor.tensor_shape.CopyFrom(tf.TensorShape([size // 4]).as_proto())
            proto.node[0].attr["value"].tensor.tensor_content = b"?" * size
            data = proto.SerializeToString()
            head = data.index(b"?" * 64)
            file.write(data[:head])
            file.seek(size, os.SEEK_CUR)
            file.write(data[head + size :])
            file.truncate()
    output = subprocess.run([sys.executable, "-c", MEASURE, str(path)], check=True, capture_output=True, text=True).stdout
    seconds, grown, nodes = (float(part) for part in output.split())
    assert nodes == count
    assert grown < 16 << 20
    assert seconds < 1
