"""Random graphs in both layouts, with many readers and public values in between: numbers, names and order hold."""

from __future__ import annotations

import numpy as np
import pytest
from surroundings import Net, feeds, op_names, relative_error

from tensorferry import ops
from tensorferry.ir import verify
from tensorferry.passes import pipelines
from tensorferry.runtimes.reference import evaluate_graph

PERMUTATIONS = ([0, 3, 1, 2], [0, 2, 3, 1], [0, 1, 3, 2])
UNARY = ("Relu", "Tanh", "Neg", "Sigmoid", "Identity", "Abs")
BINARY = ("AddV2", "Sub", "Mul", "Maximum")


def _grow(net, values, random):
    """One more value from those there are; all are of rank 4."""
    x = values[random.integers(len(values))]
    choice = random.integers(9)
    if choice == 0:
        return net.op("Transpose", x, PERMUTATIONS[random.integers(3)])
    if choice == 1:
        return net.op(UNARY[random.integers(len(UNARY))], x)
    if choice == 2:
        partners = [each for each in values if each.shape == x.shape]
        return net.op(BINARY[random.integers(4)], x, partners[random.integers(len(partners))])
    if choice == 3:
        shape = [size if random.integers(2) else 1 for size in x.shape][random.integers(5) :]
        return net.op(BINARY[random.integers(4)], x, net.const(random.standard_normal(shape)))
    if choice == 4:
        return net.op("Mean", x, [int(random.integers(4))], keep_dims=True) if max(x.shape) > 1 else net.op("Relu", x)
    if choice == 5:
        pads = np.zeros((4, 2), int)
        pads[random.integers(1, 4)] = random.integers(0, 2, 2)
        return net.op("Pad", x, pads.tolist())
    if choice == 6:
        axis = int(random.integers(-3, 4)) or 1
        return net.op("ConcatV2", x, x, axis, N=2) if max(x.shape) < 12 else net.op("Relu6", x)
    layout = {"data_format": "NCHW"} if random.integers(2) else {}
    if choice == 7:
        return net.norm(x, **layout)
    return net.conv(x, int(random.integers(1, 5)), int(random.integers(1, 3)), **layout)


def _random_net(seed):
    random = np.random.default_rng(seed)
    net = Net()
    values = [net.input("x", (1, 3, 4, 5))]
    for _ in range(int(random.integers(5, 25))):
        values.append(_grow(net, values, random))
    for place, index in enumerate(sorted(set(random.integers(1, len(values), 3).tolist()))):
        net.output(values[index], f"y{place}")
    return net


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs_keep_numbers_and_names(seed):
    graph = _random_net(seed).graph
    given = feeds(graph)
    before = evaluate_graph(graph, given)
    ports = [port.name for port in graph.outputs]
    count = len([op for op in op_names(graph) if op != "Identity"])
    layouts = sum(node.get("data_format") == "NCHW" for node in graph.nodes)
    pipelines.prepare(graph)
    verify(graph, ops.infer)
    assert relative_error(before, evaluate_graph(graph, given)) < 2e-5
    assert len(op_names(graph)) <= count + 2 * layouts + len(ports)
    assert pipelines.prepare(graph) == {}
    for target in pipelines.TARGETS:
        finished = graph.copy()
        pipelines.finish(finished, target)
        verify(finished, ops.infer)
        assert [port.name for port in finished.outputs] == ports
        assert relative_error(before, evaluate_graph(finished, given)) < 2e-5
        assert pipelines.finish(finished, target) == {}
