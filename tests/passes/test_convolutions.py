"""Padding and dilation that are written beside a convolution become its own."""

from __future__ import annotations

import pytest
from surroundings import Net, held, left_alone

from tensorferry.passes.dilation import fuse_dilated_convolution
from tensorferry.passes.pads import merge_pads

ONE = [1, 1, 1, 1]


def _dilated(net, x, *, op="Conv2D", rate=2, pads=((2, 3), (2, 2)), crops=((0, 1), (0, 0)), between=(), stride=1, layers=1):
    spread = net.op("SpaceToBatchND", x, [rate, rate], [list(each) for each in pads])
    weights = net.weights(3, 3, 4, 2)
    made = net.op(op, spread, weights, strides=[1, stride, stride, 1], padding="VALID", name="conv")
    for each in between:
        made = net.op("BiasAdd", made, net.weights(made.shape[-1])) if each == "BiasAdd" else net.op(each, made, name=each)
    return net.op("BatchToSpaceND", made, [rate, rate], [list(each) for each in crops], name="gathered"), made


@pytest.mark.parametrize("op", ["Conv2D", "DepthwiseConv2dNative"])
@pytest.mark.parametrize(
    ("pads", "crops", "padding"),
    [
        (((2, 3), (2, 2)), ((0, 1), (0, 0)), "SAME"),
        (((0, 1), (0, 0)), ((0, 1), (0, 0)), "VALID"),
        (((3, 2), (4, 4)), ((1, 0), (0, 2)), "EXPLICIT"),
    ],
)
@pytest.mark.parametrize("between", [(), ("Relu",)])
def test_three_become_one(op, pads, crops, padding, between):
    net = Net()
    x = net.op("Tanh", net.input("x", (1, 9, 10, 4)))
    made, _ = _dilated(net, x, op=op, pads=pads, crops=crops, between=between)
    net.output(net.op("Neg", made), "y")
    net.output(made, "public")
    net.output(net.op("Relu", x), "second")
    left = held(net.graph, fuse_dilated_convolution, changes=1, tolerance=1e-6)
    assert sorted(left) == sorted(["Tanh", op, *between, "Neg", "Relu"])
    conv = next(node for node in net.graph.nodes if node.op == op)
    assert (conv["padding"], list(conv["dilations"])) == (padding, [1, 2, 2, 1])
    assert net.graph.outputs[1].value.name == "gathered"


def test_other_readers_between_keep_the_three(caplog):
    net = Net()
    made, inner = _dilated(net, net.input("x", (1, 9, 10, 4)))
    net.output(made, "y")
    net.output(inner, "inner")
    left_alone(net.graph, fuse_dilated_convolution, caplog, "nobody else reads")


def test_spreading_that_others_read_stays_beside():
    net = Net()
    x = net.input("x", (1, 9, 10, 4))
    made, _ = _dilated(net, x)
    net.output(made, "y")
    net.output(net.graph.node("SpaceToBatchND").output, "spread")
    left = held(net.graph, fuse_dilated_convolution, changes=1, tolerance=1e-6)
    assert sorted(left) == ["Conv2D", "SpaceToBatchND"]


def test_a_stride_between_is_something_else(caplog):
    net = Net()
    made, _ = _dilated(net, net.input("x", (1, 9, 10, 4)), stride=2, crops=((0, 0), (0, 0)))
    net.output(made, "y")
    left_alone(net.graph, fuse_dilated_convolution, caplog, "a stride")


def test_crops_beyond_the_padding_stay(caplog):
    net = Net()
    made, _ = _dilated(net, net.input("x", (1, 9, 10, 4)), pads=((0, 1), (0, 0)), crops=((1, 0), (0, 0)))
    net.output(made, "y")
    left_alone(net.graph, fuse_dilated_convolution, caplog, "do not match")


@pytest.mark.parametrize(
    ("height", "stride", "pads", "padding"),
    [
        (9, 1, (1, 1), "SAME"),
        ("height", 1, (1, 1), "SAME"),
        (9, 2, (1, 1), "SAME"),
        (8, 2, (0, 1), "SAME"),
        (8, 2, (1, 1), "EXPLICIT"),
        (9, 1, (2, 0), "EXPLICIT"),
    ],
)
def test_a_pad_becomes_the_convolutions_own(height, stride, pads, padding):
    net = Net()
    x = net.op("Tanh", net.input("x", (1, height, 9, 4)))
    width = (1, 1)
    padded = net.op("Pad", x, [[0, 0], list(pads), list(width), [0, 0]])
    net.output(net.op("Relu", net.conv(padded, 3, padding="VALID", strides=[1, stride, stride, 1])), "y")
    if isinstance(height, str):
        assert merge_pads(net.graph) == 1
    else:
        assert held(net.graph, merge_pads, changes=1, tolerance=1e-6) == ["Tanh", "Conv2D", "Relu"]
    assert net.graph.node("conv")["padding"] == padding
    assert set(net.graph.node("conv").origin.names) == {"conv", "Pad"}


def test_explicit_padding_grows():
    net = Net()
    padded = net.op("PadV2", net.input("x", (1, 6, 9, 4)), [[0, 0], [1, 2], [3, 0], [0, 0]], 0.0)
    conv = net.conv(padded, 3, padding="EXPLICIT", explicit_paddings=[0, 0, 1, 0, 0, 1, 0, 0])
    net.output(conv, "y")
    assert held(net.graph, merge_pads, changes=1, tolerance=1e-6) == ["Conv2D"]
    assert conv.producer["explicit_paddings"] == [0, 0, 2, 2, 3, 1, 0, 0]


def test_a_pad_that_others_read_stays_unless_it_is_same():
    net = Net()
    padded = net.op("Pad", net.input("x", (1, 6, 9, 4)), [[0, 0], [2, 0], [1, 1], [0, 0]])
    net.output(net.conv(padded, 3, padding="VALID"), "y")
    net.output(padded, "padded")
    assert held(net.graph, merge_pads, changes=0) == ["Pad", "Conv2D"]
    same = Net()
    padded = same.op("Pad", same.input("x", (1, 6, 9, 4)), [[0, 0], [1, 1], [1, 1], [0, 0]])
    same.output(same.conv(padded, 3, padding="VALID"), "y")
    same.output(padded, "padded")
    assert held(same.graph, merge_pads, changes=1, tolerance=1e-6) == ["Pad", "Conv2D"]
    assert same.graph.node("conv")["padding"] == "SAME"


@pytest.mark.parametrize("amounts", [[[0, 1], [1, 1], [1, 1], [0, 0]], [[0, 0], [1, 1], [1, 1], [0, 1]]])
def test_padding_of_batch_or_channels_is_not_the_convolutions(amounts, caplog):
    net = Net()
    padded = net.op("Pad", net.input("x", (1, 6, 9, 4)), amounts)
    net.output(net.conv(padded, 3, padding="VALID"), "y")
    left_alone(net.graph, merge_pads, caplog, "zeros around the image")


def test_padding_with_ones_is_not_the_convolutions(caplog):
    net = Net()
    padded = net.op("PadV2", net.input("x", (1, 6, 9, 4)), [[0, 0], [1, 1], [1, 1], [0, 0]], 1.0)
    net.output(net.conv(padded, 3, padding="VALID"), "y")
    left_alone(net.graph, merge_pads, caplog, "zeros around the image")


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize(("pads", "crops"), [((0, 0), (0, 0)), ((2, 3), (0, 1)), ((5, 0), (0, 0))])
@pytest.mark.parametrize("between", [(), ("BiasAdd", "Relu")])
def test_dilation_over_one_axis(axis, pads, crops, between):
    net = Net()
    length = 12 if sum(pads) % 2 == 0 else 11
    x = net.op("Tanh", net.input("x", (2, length, 4)))
    spread = net.op("SpaceToBatchND", x, [2], [list(pads)])
    weights = net.weights(*((1, 3) if axis == 1 else (3, 1)), 4, 5)
    made = net.op("Conv2D", net.op("ExpandDims", spread, axis - 4), weights, strides=[1, 1, 1, 1], padding="VALID")
    made = net.op("Squeeze", made, squeeze_dims=[axis - 4])
    for each in between:
        made = net.op("BiasAdd", made, net.weights(5)) if each == "BiasAdd" else net.op(each, made)
    gathered = net.op("BatchToSpaceND", made, [2], [list(crops)], name="gathered")
    net.output(net.op("Neg", gathered), "y")
    net.output(gathered, "public")
    left = held(net.graph, fuse_dilated_convolution, changes=1, tolerance=1e-6)
    assert left == ["Tanh", "ExpandDims", "Conv2D", "Squeeze", *between, "Neg"]
    assert net.graph.outputs[1].value.name == "gathered"
    conv = next(node for node in net.graph.nodes if node.op == "Conv2D")
    assert list(conv["dilations"]) == ([1, 1, 2, 1] if axis == 1 else [1, 2, 1, 1])


def test_another_axis_taken_out_than_put_in_keeps_the_three(caplog):
    net = Net()
    spread = net.op("SpaceToBatchND", net.input("x", (2, 12, 4)), [2], [[0, 0]])
    made = net.op("Conv2D", net.op("ExpandDims", spread, 1), net.weights(1, 6, 4, 5), strides=[1, 1, 1, 1], padding="VALID")
    net.output(net.op("BatchToSpaceND", made, [2, 1], [[0, 0], [0, 0]]), "y")
    left_alone(net.graph, fuse_dilated_convolution, caplog, "different or unknown blocks")
