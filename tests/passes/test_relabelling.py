"""Transposes between reshapes."""

from __future__ import annotations

import pytest
from surroundings import Net, held

from tensorferry.passes.relabelling import join_transposed_axes, neighbours


@pytest.mark.parametrize(
    ("axes", "runs"),
    [([0, 1, 2, 4, 3], [[0, 1, 2], [4], [3]]), ([0, 3, 4, 1, 2], [[0], [3, 4], [1, 2]]), ([1, 0], [[1], [0]]), ([0, 1], [[0, 1]])],
)
def test_neighbours(axes, runs):
    assert neighbours(axes) == runs


def shuffled(net, first=(2, 4, 4, 2, 3), axes=(0, 1, 2, 4, 3), last=(2, 4, 4, 6)):
    inner = net.op("Reshape", net.op("Tanh", net.input("x", (2, 4, 4, 6))), list(first))
    return inner, net.op("Reshape", net.op("Transpose", inner, list(axes)), list(last))


def test_a_channel_shuffle_needs_three_axes():
    net = Net()
    net.output(net.op("Neg", shuffled(net)[1]), "y")
    assert held(net.graph, join_transposed_axes, changes=1) == ["Tanh", "Reshape", "Transpose", "Reshape", "Neg"]
    transpose = next(node for node in net.graph.nodes if node.op == "Transpose")
    assert transpose.output.shape == (32, 3, 2)


def test_a_shuffle_of_free_batch_keeps_it_free():
    net = Net()
    inner = net.op("Reshape", net.input("x", ("n", 4, 4, 6)), [-1, 4, 4, 2, 3])
    net.output(net.op("Reshape", net.op("Transpose", inner, [0, 1, 2, 4, 3]), [-1, 4, 4, 6]), "y")
    held(net.graph, join_transposed_axes)


def test_what_others_read_stays():
    net = Net()
    inner, outer = shuffled(net)
    net.output(outer, "y")
    net.output(inner, "inner")
    held(net.graph, join_transposed_axes, changes=0)


def test_axes_that_all_move_stay():
    net = Net()
    net.output(shuffled(net, (4, 4, 12), (2, 1, 0), (12, 16))[1], "y")
    held(net.graph, join_transposed_axes, changes=0)
