import os

import numpy as np
import pytest

from tensorferry import ops
from tensorferry.errors import FerryError, NodeError, OptionError, SourceError
from tensorferry.ir import Graph, Port, Typed
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.storage import SourceFile
from tensorferry.tensor import DType, FileTensor


def two_products():
    """out = x @ w @ v; x and the first product are outputs as well."""
    graph = Graph()
    x = ops.add(graph, "Placeholder", attrs={"dtype": DType.FLOAT32, "shape": ("batch", 3)}, name="x").output
    w = graph.constant(np.arange(6, dtype=np.float32).reshape(3, 2), "w")
    first = ops.add(graph, "MatMul", [x, w], name="first").output
    v = graph.constant(np.array([[2.0], [3.0]], np.float32), "v")
    second = ops.add(graph, "MatMul", [first, v], name="second").output
    graph.inputs = [Port("image", x)]
    graph.outputs = [Port("b", second), Port("a", first), Port("same", x)]
    return graph


def test_outputs_come_by_public_name_in_order():
    x = np.array([[1.0, 2.0, 3.0]], np.float32)
    outputs = evaluate_graph(two_products(), {"image": x})
    assert list(outputs) == ["b", "a", "same"]
    w = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(outputs["a"], x @ w)
    np.testing.assert_array_equal(outputs["b"], x @ w @ np.array([[2.0], [3.0]], np.float32))
    np.testing.assert_array_equal(outputs["same"], x)


def test_the_observer_sees_every_computed_value_in_order():
    seen = []
    evaluate_graph(
        two_products(), {"image": np.ones((2, 3), np.float32)}, lambda value, array: seen.append((value.name, array.shape))
    )
    assert seen == [("first", (2, 2)), ("second", (2, 1))]


def test_an_inner_value_can_be_an_input():
    graph = two_products()
    graph.inputs = [Port("inner", graph.node("first").output)]
    graph.outputs = graph.outputs[:1]
    assert evaluate_graph(graph, {"inner": np.array([[1.0, 1.0]], np.float32)})["b"].tolist() == [[5.0]]


def test_missing_and_misshapen_inputs_are_named():
    with pytest.raises(OptionError, match="'image'"):
        evaluate_graph(two_products(), {})
    with pytest.raises(OptionError, match=r"batch,3.*1,4"):
        evaluate_graph(two_products(), {"image": np.ones((1, 4), np.float32)})


def test_an_op_nobody_knows_is_a_node_error():
    graph = two_products()
    node = graph.add("NoSuchOp", [graph.outputs[0].value], typed=[Typed(DType.FLOAT32, None)], name="mystery")
    graph.outputs.append(Port("m", node.output))
    with pytest.raises(NodeError) as caught:
        evaluate_graph(graph, {"image": np.ones((1, 3), np.float32)})
    assert (caught.value.node, caught.value.op) == ("mystery", "NoSuchOp")


@pytest.mark.skipif(os.name == "nt", reason="a mapped file cannot be cut there")
def test_a_source_that_was_cut_short_is_not_blamed_on_a_node(tmp_path):
    (tmp_path / "weights").write_bytes(bytes(12))
    graph = Graph()
    weights = graph.constant(FileTensor(SourceFile(tmp_path / "weights"), 0, DType.FLOAT32, (3,)), "weights")
    graph.outputs = [Port("y", ops.add(graph, "Neg", [weights]).output)]
    os.truncate(tmp_path / "weights", 4)
    with pytest.raises(SourceError, match="became shorter"):
        evaluate_graph(graph, {})


def test_a_size_below_zero_is_refused() -> None:
    graph = Graph()
    sizes, element = graph.constant(np.array([2, -3], np.int32), "sizes"), graph.constant(np.array(1, np.float32), "element")
    node = graph.add("Fill", (sizes, element), {}, typed=[Typed(DType.FLOAT32, None)], name="filled")
    with pytest.raises(FerryError, match="-3"):
        ops.evaluate(node, [np.array([2, -3], np.int32), np.array(1, np.float32)])
