"""Batch norms and biases go into convolutions and matrix products."""

from __future__ import annotations

import numpy as np
import pytest
from surroundings import Net, feeds, held, left_alone, op_names, relative_error

from tensorferry.passes.affine import fold_batch_norm, fold_scale_before, fuse_bias
from tensorferry.passes.dead_nodes import remove_dead_nodes
from tensorferry.tensor import ArrayTensor, ScaledTensor


def _with_norm(op: str, **shape: int) -> tuple[Net, object]:
    net = Net()
    if op == "MatMul":
        x = net.op("Relu", net.input("x", (2, 6)))
        made = net.op("MatMul", x, net.weights(6, 4), name="product")
    elif op == "MatMulTransposed":
        x = net.op("Relu", net.input("x", (2, 6)))
        made = net.op("MatMul", x, net.weights(4, 6), transpose_b=True, name="product")
    elif op == "DepthwiseConv2dNative":
        x = net.op("Relu", net.input("x", (2, 6, 5, 3)))
        made = net.op(op, x, net.weights(3, 3, 3, 2), strides=[1, 1, 1, 1], padding="SAME", name="product")
    elif op == "Conv2DBackpropInput":
        x = net.op("Relu", net.input("x", (2, 6, 5, 3)))
        sizes = [2, 12, 10, 4]
        made = net.op(op, sizes, net.weights(3, 3, 4, 3), x, strides=[1, 2, 2, 1], padding="SAME", name="product")
    else:
        made = net.conv(net.op("Relu", net.input("x", (2, 6, 5, 3))), 4, name="product")
    return net, made


OPS = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "MatMulTransposed", "Conv2DBackpropInput")


@pytest.mark.parametrize("op", OPS)
def test_scale_and_shift_written_out_go_into_weights_and_bias(op):
    net, made = _with_norm(op)
    channels = made.shape[-1]
    scaled = net.op("Mul", net.weights(channels), made, name="scaled")
    shifted = net.op("Sub", net.op("AddV2", scaled, net.weights(channels)), net.weights(1), name="shifted")
    net.output(net.op("Relu", shifted, name="after"), "y")
    left = held(net.graph, fold_batch_norm, changes=3, tolerance=1e-6)
    assert left == ["Relu", op.removesuffix("Transposed"), "Relu"]
    assert net.graph.node("shifted").output.users == [net.graph.node("after")]
    origin = net.graph.node("shifted").origin.names
    assert {"scaled", "shifted"} <= set(origin)
    assert "product" in {*origin, *net.graph.nodes[-4].origin.names}


def test_a_fused_batch_norm_that_is_an_output_gives_its_name_to_the_convolution():
    net, made = _with_norm("Conv2D")
    norm = net.norm(made)
    net.output(norm, "y")
    assert held(net.graph, fold_batch_norm, changes=1, tolerance=1e-6) == ["Relu", "Conv2D"]
    assert net.graph.outputs[0].value.name == "norm"
    assert len(net.graph.node("norm").inputs) == 3


def test_batch_norm_with_global_normalization_folds():
    net, made = _with_norm("Conv2D")
    mean, variance, beta, gamma = net.weights(4), net.const([0.5, 1, 2, 3]), net.weights(4), net.weights(4)
    attrs = {"variance_epsilon": 1e-3, "scale_after_normalization": True}
    norm = net.op("BatchNormWithGlobalNormalization", made, mean, variance, beta, gamma, **attrs)
    net.output(net.op("Relu", norm))
    assert held(net.graph, fold_batch_norm, changes=1, tolerance=1e-6) == ["Relu", "Conv2D", "Relu"]


def test_who_else_reads_the_convolution_keeps_it():
    net, made = _with_norm("Conv2D")
    net.output(net.norm(made), "y")
    net.output(net.op("Sigmoid", made), "second")
    assert fold_batch_norm(net.graph) == 0
    assert op_names(net.graph) == ["Relu", "Conv2D", "FusedBatchNormV3", "Sigmoid"]


def test_a_convolution_that_is_an_output_keeps_its_numbers():
    net, made = _with_norm("Conv2D")
    net.output(made, "before")
    net.output(net.norm(made), "y")
    assert fold_batch_norm(net.graph) == 0


@pytest.mark.parametrize("variance", [0.0, -1.0, np.nan])
def test_a_variance_that_gives_no_finite_scale_is_left_alone(variance, caplog):
    net, made = _with_norm("Conv2D")
    vectors = [net.weights(4), net.weights(4), net.weights(4), net.const([1, variance, 1, 1.0])]
    net.output(net.op("FusedBatchNormV3", made, *vectors, is_training=False, epsilon=0.0))
    left_alone(net.graph, fold_batch_norm, caplog, "not finite")


def test_a_norm_in_training_form_is_left_alone():
    net, made = _with_norm("Conv2D")
    net.output(net.op("FusedBatchNormV3", made, *[net.weights(4) for _ in range(4)], is_training=True))
    assert fold_batch_norm(net.graph) == 0


def test_a_constant_that_widens_is_no_bias():
    net = Net()
    made = net.op("MatMul", net.input("x", (1, 6)), net.weights(6, 4))
    net.output(net.op("AddV2", made, net.weights(3, 4)))
    assert fuse_bias(net.graph) == 0


@pytest.mark.parametrize("op", OPS[:4])
def test_bias_is_added_to_a_bias(op):
    net, made = _with_norm(op)
    channels = made.shape[-1]
    biased = net.op("BiasAdd", made, net.weights(channels), name="biased")
    net.output(net.op("Relu", biased), "y")
    kept = net.graph.node("product").inputs[1]
    assert held(net.graph, fuse_bias, changes=1, tolerance=1e-6)[1:] == [op.removesuffix("Transposed"), "Relu"]
    assert net.graph.node("biased").inputs[1] is kept, "the weights are not touched"
    relu = net.graph.nodes[-1]
    shape = (1,) * (biased.rank - 1) + (channels,)
    again = net.op("AddV2", net.const(net.random.standard_normal(shape)), net.graph.node("biased").output)
    net.graph.outputs[0].value = again
    remove_dead_nodes(net.graph)
    assert relu.name not in net.graph
    assert held(net.graph, fuse_bias, changes=1, tolerance=1e-6)[1:] == [op.removesuffix("Transposed")]


def test_norm_over_a_bias_scales_the_bias():
    net, made = _with_norm("Conv2D")
    net.output(net.norm(net.op("BiasAdd", made, net.weights(4))), "y")
    assert held(net.graph, fuse_bias, fold_batch_norm, tolerance=1e-6) == ["Relu", "Conv2D"]


def test_large_weights_are_scaled_as_a_view():
    net = Net()
    made = net.conv(net.input("x", (1, 4, 4, 24)), 30)
    net.output(net.norm(made), "y")
    given = feeds(net.graph)
    assert held(net.graph, fold_batch_norm, changes=1, tolerance=1e-6) == ["Conv2D"]
    weights = net.graph.node("norm").inputs[1].constant
    assert isinstance(weights, ScaledTensor)
    assert b"".join(weights.chunks(1000)) == weights.array().tobytes()
    assert given.keys() == {"x"}


@pytest.mark.parametrize(("inner", "count"), [(1, 4), (3, 8), (96, 1), (5, 7)])
def test_scaled_tensor_multiplies_along_the_channel(inner, count):
    array = np.random.default_rng(1).standard_normal((8, 3, 4)).astype(np.float32)
    factors = np.random.default_rng(2).standard_normal(count)
    expected = array.reshape(-1).astype(np.float64) * factors[np.arange(96) // inner % count]
    scaled = ScaledTensor(ArrayTensor(array), factors, inner)
    np.testing.assert_array_equal(scaled.array().reshape(-1), expected.astype(np.float32))
    assert b"".join(scaled.chunks(64)) == scaled.array().tobytes()


def test_the_comparison_can_fail():
    one = {"y": np.ones(3, np.float32)}
    assert relative_error(one, {"y": one["y"] * np.float32(1.01)}) > 0.009


@pytest.mark.parametrize("op", OPS[:4])
@pytest.mark.parametrize("factor", ["number", "channels", "divisor"])
def test_a_scale_before_goes_into_the_weights(op, factor):
    net, made = _with_norm(op)
    node = made.producer
    x = node.inputs[0]
    amount = net.weights(1 if factor == "number" else x.shape[-1], name="factor")
    before = net.graph.add(
        "RealDiv" if factor == "divisor" else "Mul", [x, amount], {}, typed=[x.typed], name="before", before=node
    )
    net.graph.nodes.remove(amount.producer)
    net.graph.nodes.insert(0, amount.producer)
    node.set_input(0, before.output)
    net.output(net.op("Neg", made), "y")
    net.output(x, "unscaled")
    left = held(net.graph, fold_scale_before, changes=1, tolerance=1e-6)
    assert left == ["Relu", op.removesuffix("Transposed"), "Neg"]
    assert "before" in node.origin.names


def test_a_scale_that_others_read_stays():
    net = Net()
    x = net.op("Mul", net.input("x", (1, 4, 4, 3)), 0.5)
    net.output(net.conv(x, 2), "y")
    net.output(x, "scaled")
    assert fold_scale_before(net.graph) == 0


def test_a_shift_before_a_convolution_stays():
    net = Net()
    net.output(net.conv(net.op("Sub", net.input("x", (1, 4, 4, 3)), 0.5), 2), "y")
    assert fold_scale_before(net.graph) == 0


def test_factors_of_groups_are_not_put_into_the_weights_of_one(caplog):
    net = Net()
    x = net.op("Mul", net.input("x", (1, 4, 4, 4)), net.weights(4))
    net.output(net.op("Conv2D", x, net.weights(3, 3, 2, 6), strides=[1, 1, 1, 1], padding="SAME"), "y")
    left_alone(net.graph, fold_scale_before, caplog, "cannot be put into the weights")
