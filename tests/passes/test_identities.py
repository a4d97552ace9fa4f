"""What computes nothing goes; public names stay."""

from __future__ import annotations

import numpy as np
import pytest
from surroundings import Net, held, op_names

from tensorferry.ir import Typed
from tensorferry.passes.dead_nodes import remove_dead_nodes
from tensorferry.passes.dropout import remove_dropout
from tensorferry.passes.identities import remove_identities
from tensorferry.tensor import DType


@pytest.mark.parametrize("op", ["Identity", "StopGradient", "Snapshot"])
def test_an_identity_between_two_nodes_goes(op):
    net = Net()
    inner = net.op(op, net.op("Relu", net.input("x", (2, 3)), name="before"), name="middle")
    net.output(net.op("Sigmoid", inner), "y")
    net.output(net.op("Tanh", inner), "second")
    assert held(net.graph, remove_identities, changes=1) == ["Relu", "Sigmoid", "Tanh"]
    assert net.graph.node("before").origin.names == ("before", "middle")


def test_a_public_name_moves_to_the_producer():
    net = Net()
    net.output(net.op("Identity", net.op("Relu", net.input("x", (2, 3)), name="inner"), name="heatmap"), "heatmap")
    assert held(net.graph, remove_identities, changes=1) == ["Relu"]
    assert net.graph.outputs[0].value.name == "heatmap"


def test_two_public_names_for_one_value_keep_an_identity():
    net = Net()
    inner = net.op("Relu", net.input("x", (2, 3)), name="inner")
    net.output(net.op("Identity", inner, name="one"), "one")
    net.output(net.op("Identity", inner, name="two"), "two")
    assert held(net.graph, remove_identities, changes=1) == ["Relu", "Identity"]
    assert [port.value.name for port in net.graph.outputs] == ["one", "two"]


def test_an_input_that_is_an_output_keeps_its_identity_and_its_names():
    net = Net()
    passed = net.op("Identity", net.input("x", (2, 3)), name="same")
    net.output(passed, "same")
    net.output(net.op("Relu", passed), "y")
    assert held(net.graph, remove_identities, changes=1) == ["Identity", "Relu"]
    assert net.graph.node("Relu").inputs[0] is net.graph.inputs[0].value


def test_identity_n_passes_each_value_on():
    net = Net()
    x = net.input("x", (2, 3))
    both = net.node("IdentityN", net.op("Relu", x), net.op("Neg", x), name="both")
    net.output(net.op("Sub", *both.outputs), "y")
    assert held(net.graph, remove_identities, changes=1) == ["Relu", "Neg", "Sub"]
    net.output(net.node("IdentityN", *net.graph.node("Sub").inputs, name="pair").outputs[1], "negative")
    assert held(net.graph, remove_identities) == ["Relu", "Neg", "Sub"]
    assert net.graph.outputs[1].value.producer.op == "Neg"


def _random(net):
    shape = net.const([2, 3], "shape")
    return net.graph.add("RandomUniform", [shape], {}, typed=[Typed(DType.FLOAT32, (2, 3))], name="random").outputs[0]


def _dropout(net, x, form):
    if form == "floor":
        mask = net.op("Floor", net.op("AddV2", _random(net), 0.5))
        return net.op("Mul", net.op("RealDiv", x, 0.5), mask, name="drop")
    sample = net.op("AddV2", net.op("Mul", _random(net), 1.0), 0.0)
    kept = net.graph.add("GreaterEqual", [sample, net.const(0.5)], {}, typed=[Typed(DType.BOOL, (2, 3))], name="kept").output
    if form == "cast":
        mask = net.graph.add("Cast", [kept], {"DstT": DType.FLOAT32}, typed=[Typed(DType.FLOAT32, (2, 3))], name="mask").output
        return net.op("Mul", mask, net.op("Mul", x, 2.0), name="drop")
    scaled = net.op("Mul", x, 2.0)
    return net.graph.add("SelectV2", [kept, scaled, net.const(0.0)], {}, typed=[Typed(DType.FLOAT32, (2, 3))], name="drop").output


@pytest.mark.parametrize("form", ["floor", "cast", "select"])
def test_dropout_written_out_goes_with_a_notice(form):
    net = Net()
    dropped = _dropout(net, net.op("Relu", net.input("x", (2, 3))), form)
    net.output(net.op("Tanh", dropped), "y")
    assert remove_dropout(net.graph) == 1
    assert held(net.graph, remove_dropout, changes=0) == ["Relu", "Tanh"]
    assert "dropout 'drop'" in net.graph.notices[0]


def test_a_rate_that_is_fed_does_not_matter_any_more():
    net = Net()
    keep = net.input("keep", ())
    x = net.op("Relu", net.input("x", (2, 3)))
    mask = net.op("Floor", net.op("AddV2", keep, _random(net)))
    net.output(net.op("Tanh", net.op("Mul", net.op("RealDiv", x, keep), mask, name="drop")), "y")
    assert remove_dropout(net.graph) == 1
    assert held(net.graph, remove_dropout, changes=0) == ["Relu", "Tanh"]
    assert "its rate 'keep' does not matter any more" in net.graph.notices[0]


def test_a_product_that_another_number_scales_stays():
    net = Net()
    keep, other = net.input("keep", ()), net.input("other", ())
    x = net.op("Relu", net.input("x", (2, 3)))
    mask = net.op("Floor", net.op("AddV2", keep, _random(net)))
    net.output(net.op("Mul", net.op("RealDiv", x, other), mask), "y")
    assert remove_dropout(net.graph) == 0


def test_a_product_with_any_other_mask_stays():
    net = Net()
    x = net.input("x", (2, 3))
    net.output(net.op("Mul", net.op("RealDiv", x, 0.5), net.op("Floor", net.op("AddV2", x, 0.5))), "y")
    assert remove_dropout(net.graph) == 0


def test_dead_nodes_go_and_inputs_stay():
    net = Net()
    x = net.input("x", (2, 3))
    net.input("unread", (1,))
    net.op("Relu", net.op("Neg", x), name="dead")
    net.const(np.zeros(3))
    net.output(net.op("Tanh", x), "y")
    assert held(net.graph, remove_dead_nodes, changes=3) == ["Tanh"]
    assert [port.name for port in net.graph.inputs] == ["x", "unread"]
    assert op_names(net.graph) == ["Tanh"]
