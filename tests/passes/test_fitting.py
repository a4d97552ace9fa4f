"""Nodes in a wider element type, over fewer dimensions, and wrapped around where a target's type is wider."""

from __future__ import annotations

import numpy as np
import pytest

from tensorferry import ops
from tensorferry.ir import Graph, Port, Shape, Value, verify
from tensorferry.passes.expansion import expand_for_target
from tensorferry.passes.fitting import merge_axes
from tensorferry.passes.narrowing import narrow_types
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.tensor import DType


def fed(graph: Graph, name: str, dtype: DType, shape: Shape) -> Value:
    node = ops.add(graph, "Placeholder", (), {"dtype": dtype, "shape": shape}, name=name)
    graph.inputs.append(Port(name, node.output))
    return node.output


def pair(op: str, dtype: DType, one: Shape, other: Shape) -> Graph:
    graph = Graph()
    node = ops.add(graph, op, [fed(graph, "x", dtype, one), fed(graph, "y", dtype, other)], name="both")
    graph.outputs = [Port("both", node.output)]
    return graph


def made_of(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes if node.op not in ("Const", "Placeholder")]


def test_a_narrow_sum_is_taken_in_a_wider_type_and_wraps_around() -> None:
    graph = pair("Sub", DType.UINT8, (3,), (3,))
    expand = expand_for_target("tflite")
    assert expand(graph) == 1
    verify(graph, ops.infer)
    assert made_of(graph) == ["Cast", "Cast", "Sub", "Cast"]
    assert graph.outputs[0].value.producer.name == "both"
    one, other = np.array([1, 200, 7], np.uint8), np.array([2, 100, 7], np.uint8)
    result = evaluate_graph(graph, {"x": one, "y": other})["both"]
    np.testing.assert_array_equal(result, np.array([255, 100, 0], np.uint8))
    assert expand(graph) == 0


def test_a_type_that_no_wider_one_holds_is_left_alone() -> None:
    graph = pair("RealDiv", DType.COMPLEX64, (3,), (3,))
    assert expand_for_target("tflite")(graph) == 0
    assert made_of(graph) == ["RealDiv"]


def test_a_constant_operand_is_widened_as_it_is() -> None:
    graph = Graph()
    constant = graph.constant(np.array([100, -100], np.int8), "numbers")
    node = ops.add(graph, "Mul", [fed(graph, "x", DType.INT8, (2,)), constant], {"activation": "Relu"}, name="both")
    graph.outputs = [Port("both", node.output)]
    assert expand_for_target("tflite")(graph) == 1
    assert made_of(graph) == ["Cast", "Mul", "Cast", "Relu"]
    result = evaluate_graph(graph, {"x": np.array([2, 1], np.int8)})["both"]
    np.testing.assert_array_equal(result, np.array([0, 0], np.int8))  # 200 is -56 in int8


@pytest.mark.parametrize(
    ("shapes", "merged"),
    [
        ([(2, 3, 4), (2, 3, 4)], [(24,), (24,)]),
        ([(2, 3, 4), ()], [(24,), (1,)]),
        ([(2, 3, 1, 4), (3, 1, 4)], [(2, 12), (1, 12)]),
        ([(2, 1, 3), (1, 4, 1)], [(2, 1, 3), (1, 4, 1)]),
        ([("n", 3, 4), ("n", 3, 4)], [("n*3*4",), ("n*3*4",)]),
        ([("n", 3, 4), (5, 3, 4)], [("n", 12), (5, 12)]),
        ([(1, 1), (1,)], [(1,), (1,)]),
        ([(0, 3), (1, 3)], [(0, 3), (1, 3)]),
    ],
)
def test_axes_that_broadcast_alike_are_merged(shapes: list[Shape], merged: list[Shape]) -> None:
    assert merge_axes(shapes) == merged


@pytest.mark.parametrize(("one", "other"), [((2, 1, 2, 3, 1, 2, 2), (3, 1, 1, 2)), ((2, 1, 1, 1, 1, 1, 3), (2, 1, 1, 1, 1, 1, 3))])
def test_seven_dimensions_become_fewer(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    for target in ("tflite", "tfjs"):
        graph = pair("Mul", DType.FLOAT32, one, other)
        expand = expand_for_target(target)
        assert expand(graph) == 1
        verify(graph, ops.infer)
        assert made_of(graph) == ["Reshape", "Reshape", "Mul", "Reshape"]
        assert max(value.rank or 0 for value in graph.node("both/Mul").inputs) < 7
        x, y = np.random.default_rng(0).random(one, np.float32), np.random.default_rng(1).random(other, np.float32)
        np.testing.assert_array_equal(evaluate_graph(graph, {"x": x, "y": y})["both"], x * y)
        assert expand(graph) == 0


def test_small_integers_wrap_around_in_a_target_that_has_int32_alone() -> None:
    for dtype, expected in ((DType.INT8, [-56, 100, -100]), (DType.UINT8, [200, 100, 156])):
        graph = pair("AddV2", dtype, (3,), (3,))
        assert narrow_types("tfjs")(graph)
        verify(graph, ops.infer)
        one = np.array([100, 50, 206], np.uint8).astype(np.int32)
        other = np.array([100, 50, 206], np.uint8).astype(np.int32)
        one, other = (each - 256 * (each > 127) if dtype is DType.INT8 else each for each in (one, other))
        result = evaluate_graph(graph, {"x": one, "y": other})["both"]
        np.testing.assert_array_equal(result, np.array(expected, np.int32))
        assert not narrow_types("tfjs")(graph)


def test_a_cast_of_numbers_that_were_clipped_needs_no_wrapping() -> None:
    for low, wrapped in ((0.0, 0), (-1.0, 1)):
        graph = Graph()
        clipped = ops.add(graph, "Minimum", [fed(graph, "x", DType.FLOAT32, (3,)), graph.constant(np.float32(255), "high")])
        raised = ops.add(graph, "Maximum", [clipped.output, graph.constant(np.float32(low), "low")])
        cast = ops.add(graph, "Cast", [raised.output], {"DstT": DType.UINT8}, name="pixels")
        graph.outputs = [Port("pixels", cast.output)]
        narrow_types("tfjs")(graph)
        assert made_of(graph).count("FloorMod") == wrapped


def test_positions_are_divided_by_one_operator_and_other_integers_exactly() -> None:
    """TensorFlow.js's WebAssembly kernel divides by way of float32, which tells positions apart and not all integers."""
    for op, dtype, expected in (("ArgMax", DType.FLOAT32, 1), ("Identity", DType.INT32, 0)):
        graph = Graph()
        value = fed(graph, "x", dtype, (3, 50))
        extra = [graph.constant(np.int32(1), "axis")] if op == "ArgMax" else []
        attrs = {"output_type": DType.INT32} if op == "ArgMax" else {}
        made = ops.add(graph, op, [value, *extra], attrs)
        divided = ops.add(graph, "FloorDiv", [made.output, graph.constant(np.int32(7), "seven")], name="rows")
        graph.outputs = [Port("rows", divided.output)]
        expand_for_target("tfjs")(graph)
        assert made_of(graph).count("FloorDiv") == expected


def test_positions_in_int64_are_divided_as_int32() -> None:
    graph = Graph()
    value = fed(graph, "x", DType.FLOAT32, (3, 50))
    places = ops.add(graph, "ArgMax", [value, graph.constant(np.int32(1), "axis")], {"output_type": DType.INT64})
    divided = ops.add(graph, "FloorDiv", [places.output, graph.constant(np.int64(7), "seven")], name="rows")
    graph.outputs = [Port("rows", divided.output)]
    assert expand_for_target("tflite")(graph) == 1
    verify(graph, ops.infer)
    assert made_of(graph) == ["ArgMax", "Cast", "Cast", "FloorDiv", "Cast"]
    x = np.random.default_rng(0).random((3, 50), np.float32)
    np.testing.assert_array_equal(evaluate_graph(graph, {"x": x})["rows"], x.argmax(axis=1) // 7)


@pytest.mark.parametrize("name", [spec.name for spec in ops.all_specs() if spec.elementwise])
def test_an_elementwise_op_computes_the_same_on_merged_axes(name: str) -> None:
    """Each example whose operands have one shape, laid flat."""
    spec = ops.find(name)
    assert spec is not None
    for example in spec.examples():
        shape = example.inputs[0].shape
        if any(array.shape != shape for array in example.inputs):
            continue
        results = []
        for arrays in (example.inputs, [array.reshape(-1) for array in example.inputs]):
            graph = Graph()
            values = [fed(graph, f"x{index}", DType.of(array), array.shape) for index, array in enumerate(arrays)]
            node = ops.add(graph, name, values, example.attrs, name="node")
            graph.outputs = [Port("node", node.output)]
            results.append(evaluate_graph(graph, {f"x{index}": array for index, array in enumerate(arrays)})["node"])
        np.testing.assert_array_equal(results[1], results[0].reshape(-1))


def test_pixels_that_cannot_be_negative_are_cast_by_one_operator() -> None:
    for op, casts in (("Sigmoid", 1), ("Tanh", 2)):
        graph = Graph()
        squashed = ops.add(graph, op, [fed(graph, "x", DType.FLOAT32, (3,))])
        scaled = ops.add(graph, "Mul", [squashed.output, graph.constant(np.float32(255), "scale")])
        cast = ops.add(graph, "Cast", [scaled.output], {"DstT": DType.UINT8}, name="pixels")
        graph.outputs = [Port("pixels", cast.output)]
        expand_for_target("tflite")(graph)
        assert made_of(graph).count("Cast") == casts


def test_a_fused_activation_stays_behind_a_bias_that_is_taken_apart() -> None:
    graph = Graph()
    x = fed(graph, "x", DType.FLOAT32, None)
    matrix, bias = graph.constant(np.ones((3, 2), np.float32), "matrix"), graph.constant(np.array([1, -9], np.float32), "bias")
    node = ops.add(graph, "BatchMatMulV2", [x, matrix, bias], {"activation": "Relu"}, name="y")
    graph.outputs = [Port("y", node.output)]
    expand_for_target("tflite")(graph)
    last = graph.outputs[0].value.producer
    added = last.inputs[0].producer
    product = added.inputs[0].producer
    assert [(each.op, each.get("activation")) for each in (product, added, last)] == [
        ("BatchMatMulV2", None),
        ("BiasAdd", None),
        ("Relu", None),
    ]
    assert last.name == "y"
