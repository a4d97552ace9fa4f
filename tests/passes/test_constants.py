"""Folding, merging, and shape arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from surroundings import Net, feeds, held, left_alone, op_names

from tensorferry.passes.constants import fold_constants, transposed
from tensorferry.passes.duplicates import merge_duplicate_constants, merge_duplicate_nodes
from tensorferry.passes.shapes import fold_shape_arithmetic, refine_types
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.storage import SourceFile
from tensorferry.tensor import ArrayTensor, DType, FileTensor, ReshapedTensor, TransposedTensor


def test_arithmetic_over_constants_is_computed():
    net = Net()
    scale = net.op("Mul", net.weights(3), net.op("Rsqrt", net.op("AddV2", net.const([1.0, 2, 3]), 0.001)), name="scale")
    net.output(net.op("Mul", net.input("x", (2, 3)), scale), "y")
    net.output(scale, "scale")
    assert held(net.graph, fold_constants, changes=3) == ["Mul"]
    assert net.graph.node("scale").op == "Const"
    assert net.graph.outputs[1].value.name == "scale"


def test_a_result_far_larger_than_its_inputs_is_not_computed(caplog):
    net = Net()
    wide = net.op("AddV2", net.weights(3000, 1), net.weights(1, 3000))
    net.output(net.op("MatMul", net.input("x", (1, 3000)), wide))
    left_alone(net.graph, fold_constants, caplog, "would become 36000000")


def test_large_weights_that_are_only_moved_become_views():
    net = Net()
    large = net.weights(40, 60)
    turned = net.op("Transpose", large, [1, 0])
    shaped = net.op("Reshape", turned, [30, 80])
    net.output(net.op("MatMul", net.input("x", (2, 30)), shaped), "y")
    assert held(net.graph, fold_constants, changes=2) == ["MatMul"]
    tensor = net.graph.node("MatMul").inputs[1].constant
    assert isinstance(tensor, ReshapedTensor)
    assert isinstance(tensor.base, TransposedTensor)
    assert tensor.base.base is large.constant


@pytest.mark.parametrize("permutation", [(0, 3, 1, 2), (2, 0, 1, 3), (1, 0, 2, 3), (0, 1, 2, 3)])
@pytest.mark.parametrize("shape", [(1, 40, 50, 3), (2, 3, 4, 5), (1, 1, 1, 7)])
def test_transposed_is_numpys_transpose(permutation, shape):
    array = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    once = transposed(ArrayTensor(array), permutation)
    np.testing.assert_array_equal(once.array(), array.transpose(permutation))
    np.testing.assert_array_equal(transposed(once, permutation).array(), array.transpose(permutation).transpose(permutation))


def test_equal_constants_become_one():
    net = Net()
    x = net.input("x", (2, 3))
    first = net.op("AddV2", x, net.const([1.0, 2, 3], "one"))
    second = net.op("Mul", first, net.const([1.0, 2, 3], "two"))
    other = net.op("Sub", second, net.const([[1.0, 2, 3]], "another_shape"))
    net.output(other, "y")
    net.output(net.const([1.0, 2, 3], "public"), "public")
    held(net.graph, merge_duplicate_constants, changes=1)
    assert second.producer.inputs[1] is first.producer.inputs[1]
    assert "public" in net.graph
    assert "two" not in net.graph


def test_large_constants_are_known_by_their_place(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(np.zeros(40000, np.uint8).tobytes())
    file = SourceFile(path)
    net = Net()
    made = [net.graph.constant(FileTensor(file, offset, DType.FLOAT32, (90, 90)), "w") for offset in (0, 0, 4)]
    x = net.input("x", (2, 90))
    for value in made:
        net.output(net.op("MatMul", x, value))
    assert held(net.graph, merge_duplicate_constants, changes=1) == ["MatMul"] * 3


def test_the_same_computation_is_done_once():
    net = Net()
    x = net.input("x", (2, 3))
    amount = net.const(2.0)
    one, two, three = (net.op("AddV2", x, amount) for _ in range(3))
    net.output(net.op("Sub", net.op("Relu", one), net.op("Relu", two)), "y")
    net.output(three, "public")
    assert held(net.graph, merge_duplicate_nodes) == ["AddV2", "AddV2", "Relu", "Sub"]
    assert op_names(net.graph).count("Relu") == 1
    assert net.graph.outputs[1].value is three


def test_nodes_with_other_attributes_are_not_the_same():
    net = Net()
    x = net.input("x", (2, 3))
    net.output(net.op("Sub", net.op("LeakyRelu", x, alpha=0.1), net.op("LeakyRelu", x, alpha=0.2)), "y")
    assert merge_duplicate_nodes(net.graph) == 0


def test_known_shapes_become_constants_and_reshapes_settle():
    net = Net()
    x = net.input("x", ("batch", 4, 6))
    shape = net.op("Shape", net.op("Relu", x))
    net.output(net.op("Reshape", x, shape), "y")
    assert fold_shape_arithmetic(net.graph) == 1
    target = net.graph.outputs[0].value.producer.inputs[1].constant
    assert target.array().tolist() == [-1, 4, 6]
    assert fold_shape_arithmetic(net.graph) == 0
    fixed = Net()
    y = fixed.input("x", (2, 4, 6))
    fixed.output(fixed.op("Reshape", y, fixed.op("Shape", fixed.op("Relu", y))), "y")
    fixed.output(fixed.op("Shape", y, name="public"), "public")
    assert held(fixed.graph, fold_shape_arithmetic, changes=2) == ["Reshape"]
    assert fixed.graph.node("public").op == "Const"


def test_a_target_with_two_unknown_sizes_is_left_alone():
    net = Net()
    x = net.input("x", ("n", "m", 6))
    net.output(net.op("Reshape", x, net.op("Shape", net.op("Relu", x))), "y")
    assert fold_shape_arithmetic(net.graph) == 0
    assert evaluate_graph(net.graph, feeds(net.graph))["y"].shape == (2, 2, 6)


def test_types_become_sharper_and_never_duller():
    net = Net()
    net.output(net.op("Relu", net.input("x", ("?", 4))), "y")
    node = net.graph.node("Relu")
    node.output.shape = (7, "?")
    assert refine_types(net.graph) == 1
    assert node.output.shape == (7, 4)
    assert refine_types(net.graph) == 0
