"""Channels first becomes channels last, and the transposes that this takes go where they cost nothing."""

from __future__ import annotations

import numpy as np
import pytest
from surroundings import Net, held, left_alone, op_names

from tensorferry import ops
from tensorferry.passes.layout import settle_layout
from tensorferry.passes.reshapes import replace_transposes_by_reshapes, simplify_reshapes
from tensorferry.passes.transposes import move_transposes
from tensorferry.tensor import DType

FIRST = {"data_format": "NCHW"}
ALL = (settle_layout, simplify_reshapes, move_transposes)


def _settled(net, *more):
    """Run the three until nothing changes, holding the numbers."""

    def together(graph):
        total = 0
        for _ in range(10):
            made = sum(each(graph) for each in (*ALL, *more))
            total += made
            if not made:
                break
        return total

    return held(net.graph, together, tolerance=1e-6)


@pytest.mark.parametrize(
    "op", ["conv", "strided", "explicit", "depthwise", "transposed", "norm", "max", "average", "to_space", "to_depth"]
)
def test_each_op_is_settled(op):
    net = Net()
    x = net.op("Relu", net.input("x", (2, 4, 6, 8)))
    one = [1, 1, 1, 1]
    made = {
        "conv": lambda: net.conv(x, 5, **FIRST),
        "strided": lambda: net.conv(x, 5, strides=[1, 1, 1, 2], dilations=one, **FIRST),
        "explicit": lambda: net.conv(
            x, 5, strides=[1, 1, 2, 1], padding="EXPLICIT", explicit_paddings=[0, 0, 0, 0, 1, 2, 3, 0], **FIRST
        ),
        "depthwise": lambda: net.op(
            "DepthwiseConv2dNative", x, net.weights(3, 3, 4, 2), strides=one, padding="VALID", dilations=[1, 1, 2, 1], **FIRST
        ),
        "transposed": lambda: net.op(
            "Conv2DBackpropInput", [2, 3, 12, 8], net.weights(3, 3, 3, 4), x, strides=[1, 1, 2, 1], padding="SAME", **FIRST
        ),
        "norm": lambda: net.norm(x, **FIRST),
        "max": lambda: net.op("MaxPool", x, ksize=[1, 1, 2, 3], strides=[1, 1, 2, 1], padding="VALID", **FIRST),
        "average": lambda: net.op("AvgPool", x, ksize=[1, 1, 2, 3], strides=[1, 1, 2, 1], padding="SAME", **FIRST),
        "to_space": lambda: net.op("DepthToSpace", x, block_size=2, **FIRST),
        "to_depth": lambda: net.op("SpaceToDepth", x, block_size=2, **FIRST),
    }[op]()
    name = made.name
    net.output(net.op("Sigmoid", made), "y")
    net.output(made, "public")
    nodes = held(net.graph, settle_layout, changes=1, tolerance=1e-6)
    assert nodes[1] == "Transpose"
    assert nodes[3:] == ["Transpose", "Sigmoid"]
    assert net.graph.outputs[1].value.name == name, "the value with the old numbers keeps the old name"


def _residual(net, x):
    first = net.op("Relu", net.norm(net.conv(x, 4, **FIRST), **FIRST))
    second = net.conv(net.op("Pad", first, [[0, 0], [0, 0], [1, 0], [0, 2]]), 4, **FIRST)
    third = net.op("ConcatV2", net.op("AddV2", second, net.weights(4, 1, 1)), net.conv(second, 2, **FIRST), 1)
    return net.op("AddV2", net.conv(third, 4, **FIRST), net.op("Mul", second, net.op("Sigmoid", second)))


def test_a_network_with_channels_first_is_left_with_one_transpose_at_each_end():
    net = Net()
    x = net.input("x", ("batch", 4, 6, 8))
    net.output(net.op("Relu", _residual(net, _residual(net, x)), name="out"), "y")
    nodes = _settled(net)
    assert nodes.count("Transpose") == 2
    assert nodes[0] == nodes[-1] == "Transpose"
    assert net.graph.outputs[0].value.name == "out"


def test_a_mean_over_the_image_takes_the_last_transpose_in():
    net = Net()
    x = net.op("Transpose", net.input("x", (2, 6, 8, 4)), [0, 3, 1, 2])
    net.output(net.op("Mean", _residual(net, x), [2, 3]), "y")
    assert "Transpose" not in _settled(net)


def test_a_mean_that_keeps_its_axes_has_them_renamed():
    net = Net()
    x = net.op("Transpose", net.input("x", (2, 6, 8, 4)), [0, 3, 1, 2])
    gate = net.op("Sigmoid", net.conv(net.op("Mean", x, [-1, 2], keep_dims=True), 4, 1, **FIRST))
    net.output(net.op("Max", net.op("Mul", x, gate), [2, 3]), "y")
    assert "Transpose" not in _settled(net)


def test_a_transpose_that_others_need_is_not_doubled(caplog):
    net = Net()
    x = net.op("Transpose", net.input("x", (2, 6, 8, 4)), [0, 3, 1, 2])
    net.output(net.op("Relu", x), "y")
    net.output(net.op("Reshape", x, [2, 192]), "flat")
    left_alone(net.graph, move_transposes, caplog, "saves 0 and adds 1")


def test_a_transpose_of_axes_of_size_one_is_a_reshape():
    net = Net()
    x = net.op("Relu", net.input("x", (2, 1, 1, 5)))
    turned = net.op("Transpose", x, [0, 3, 1, 2], name="turned")
    net.output(net.op("Reshape", turned, [2, 5]), "y")
    net.output(turned, "public")
    assert held(net.graph, replace_transposes_by_reshapes, simplify_reshapes) == ["Relu", "Reshape", "Reshape"]
    assert net.graph.outputs[1].value.name == "turned"


def test_split_and_its_parts_move_together():
    net = Net()
    x = net.op("Transpose", net.input("x", (2, 6, 8, 4)), [0, 3, 1, 2])
    if ops.find("Split") is None:
        pytest.skip("Split is not described yet")
    left, right = net.node("Split", net.const(1), x, num_split=2).outputs
    net.output(net.op("Transpose", net.op("AddV2", left, net.op("Relu", right)), [0, 2, 3, 1]), "y")
    net.output(net.op("Transpose", right, [0, 2, 3, 1]), "right")
    nodes = held(net.graph, move_transposes, tolerance=1e-6)
    assert "Transpose" not in nodes


def test_constants_of_lower_rank_are_given_axes():
    net = Net()
    x = net.op("Transpose", net.input("x", (2, 6, 8, 4)), [0, 3, 1, 2])
    shifted = net.op("Sub", net.op("Mul", x, net.weights(8)), net.weights(4, 1, 8))
    net.output(net.op("Transpose", net.op("Maximum", shifted, 0.5), [0, 2, 3, 1]), "y")
    assert held(net.graph, move_transposes) == ["Mul", "Sub", "Maximum"]


def test_three_axes_in_another_order_come_right_too():
    net = Net()
    x = net.op("Transpose", net.input("x", (2, 3, 4)), [1, 2, 0])
    padded = net.op("Pad", x, [[1, 0], [0, 2], [0, 0]])
    summed = net.op("Sum", padded, [0], keep_dims=True)
    net.output(net.op("Transpose", net.op("Neg", summed), [2, 0, 1]), "y")
    assert held(net.graph, move_transposes, tolerance=1e-6) == ["Pad", "Sum", "Neg"]


def test_what_cannot_be_settled_says_so(caplog):
    net = Net()
    x = net.input("x", (1, 4, 6, 6))
    size = net.input("size", (4,), DType.INT32)
    node = net.op("Conv2DBackpropInput", size, net.weights(3, 3, 3, 4), x, strides=[1, 1, 1, 1], padding="SAME", **FIRST)
    net.output(node)
    settle_layout(net.graph)
    assert "Conv2DBackpropInput" in op_names(net.graph)
    assert np.all([port.name for port in net.graph.outputs])
