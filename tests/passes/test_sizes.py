"""Sizes of transposed values, read before the transpose."""

from __future__ import annotations

import pytest
from surroundings import Net, held, op_names

from tensorferry.passes.shapes import read_sizes_before_transposes
from tensorferry.tensor import DType


def turned(net, out_type=DType.INT32):
    """(the transposed value, its sizes) of an image of unknown size."""
    value = net.op("Transpose", net.op("Tanh", net.input("x", ("n", "h", "w", 3))), [0, 3, 1, 2])
    return value, net.op("Shape", value, out_type=out_type)


@pytest.mark.parametrize("out_type", [DType.INT32, DType.INT64])
def test_nothing_is_transposed_to_be_measured(out_type):
    net = Net()
    net.output(turned(net, out_type)[1], "sizes")
    assert held(net.graph, read_sizes_before_transposes) == ["Tanh", "Shape", "GatherV2"]


def test_a_transpose_that_others_read_stays():
    net = Net()
    value, sizes = turned(net)
    net.output(net.op("Neg", value), "y")
    net.output(sizes, "sizes")
    assert sorted(held(net.graph, read_sizes_before_transposes)) == ["GatherV2", "Neg", "Shape", "Tanh", "Transpose"]


@pytest.mark.parametrize("at", [0, 1, 3, -1, -4])
def test_one_size_is_picked_where_it_stood(at):
    net = Net()
    sizes = turned(net)[1]
    picked = net.op("StridedSlice", sizes, [at], [at + 1 if at != -1 else 4], [1], shrink_axis_mask=1)
    net.output(net.op("Cast", picked, SrcT=DType.INT32, DstT=DType.FLOAT32), "y")
    net.output(picked, "public")
    assert held(net.graph, read_sizes_before_transposes) == ["Tanh", "Shape", "StridedSlice", "Cast"]


def test_several_sizes_are_gathered():
    net = Net()
    net.output(net.op("StridedSlice", turned(net)[1], [2], [4], [1]), "y")
    assert held(net.graph, read_sizes_before_transposes) == ["Tanh", "Shape", "GatherV2", "StridedSlice"]


@pytest.mark.parametrize("public", [False, True])
def test_packed_sizes_are_packed_in_their_order(public):
    net = Net()
    sizes = [net.input(name, (), DType.INT32) for name in "abcd"]
    packed = net.op("Pack", *sizes, N=4, axis=0)
    net.output(net.op("GatherV2", packed, [0, 2, 3, 1], 0), "y")
    if public:
        net.output(packed, "packed")
    names = held(net.graph, read_sizes_before_transposes, changes=0 if public else 1)
    assert names == op_names(net.graph) == (["Pack", "GatherV2"] if public else ["Pack"])
