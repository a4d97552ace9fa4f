"""Functions written out in simple ops become the one that targets know."""

from __future__ import annotations

import numpy as np
import pytest
from surroundings import Net, held, left_alone

from tensorferry.passes.composites import recognise_composites, recognise_unit_length


def _gate(net, x):
    return net.op("Relu6", net.op("AddV2", x, 3.0))


HARD_SWISH = {
    "x * relu6 / 6": lambda net, x: net.op("RealDiv", net.op("Mul", x, _gate(net, x)), 6.0),
    "x * (relu6 / 6)": lambda net, x: net.op("Mul", x, net.op("RealDiv", _gate(net, x), 6.0)),
    "x * (relu6 * sixth)": lambda net, x: net.op("Mul", x, net.op("Mul", _gate(net, x), 1 / 6)),
    "(relu6 * sixth) * x": lambda net, x: net.op("Mul", net.op("Mul", net.const(1 / 6), _gate(net, x)), x),
    "(x * sixth) * relu6": lambda net, x: net.op("Mul", net.op("Mul", x, 1 / 6), _gate(net, x)),
    "x * relu6 * sixth": lambda net, x: net.op("Mul", net.op("Mul", _gate(net, x), x), 1 / 6),
    "x - -3": lambda net, x: net.op("RealDiv", net.op("Mul", x, net.op("Relu6", net.op("Sub", x, -3.0))), 6.0),
}


@pytest.mark.parametrize("form", HARD_SWISH)
def test_hard_swish(form):
    net = Net()
    x = net.op("Neg", net.input("x", (2, 3)))
    made = HARD_SWISH[form](net, x)
    name = made.name
    net.output(net.op("Tanh", made), "y")
    net.output(made, "public")
    assert held(net.graph, recognise_composites, changes=1, tolerance=1e-6) == ["Neg", "HardSwish", "Tanh"]
    assert net.graph.outputs[1].value.name == name


@pytest.mark.parametrize(("shift", "divisor"), [(3.0, 5.0), (2.0, 6.0)])
def test_other_numbers_are_no_hard_swish(shift, divisor):
    net = Net()
    x = net.op("Neg", net.input("x", (2, 3)))
    net.output(net.op("RealDiv", net.op("Mul", x, net.op("Relu6", net.op("AddV2", x, shift))), divisor), "y")
    assert recognise_composites(net.graph) == 0


def test_a_gate_over_another_value_is_no_hard_swish():
    net = Net()
    x = net.op("Neg", net.input("x", (2, 3)))
    net.output(net.op("RealDiv", net.op("Mul", x, _gate(net, net.op("Tanh", x))), 6.0), "y")
    assert recognise_composites(net.graph) == 0


def test_a_gate_that_others_read_stays_beside_it():
    net = Net()
    x = net.op("Neg", net.input("x", (2, 3)))
    gate = _gate(net, x)
    net.output(net.op("RealDiv", net.op("Mul", x, gate), 6.0), "y")
    net.output(gate, "gate")
    assert held(net.graph, recognise_composites, changes=1, tolerance=1e-6) == ["Neg", "AddV2", "Relu6", "HardSwish"]


ALPHA = np.linspace(-0.5, 1.5, 4).astype(np.float32)


def _negated(net, x):
    return net.op("Relu", net.op("Neg", x))


def _alpha(net, sign=1.0):
    return net.const(sign * ALPHA, "alpha")


FORMS = {
    "keras": lambda net, x, p: net.op("AddV2", p, net.op("Mul", _alpha(net, -1.0), _negated(net, x))),
    "keras, swapped": lambda net, x, p: net.op("AddV2", net.op("Mul", _negated(net, x), _alpha(net, -1.0)), p),
    "subtracted": lambda net, x, p: net.op("Sub", p, net.op("Mul", _alpha(net), _negated(net, x))),
    "negated": lambda net, x, p: net.op("AddV2", p, net.op("Mul", _alpha(net), net.op("Neg", _negated(net, x)))),
    "half": lambda net, x, p: net.op(
        "AddV2", p, net.op("Mul", net.op("Mul", _alpha(net), net.op("Sub", x, net.op("Abs", x))), 0.5)
    ),
    "half, swapped": lambda net, x, p: net.op(
        "Sub", p, net.op("Mul", net.op("Mul", _alpha(net), net.op("Sub", net.op("Abs", x), x)), 0.5)
    ),
    "minimum": lambda net, x, p: net.op("AddV2", p, net.op("Mul", _alpha(net), net.op("Minimum", x, 0.0))),
}


@pytest.mark.parametrize("form", FORMS)
def test_prelu(form):
    net = Net()
    x = net.op("Neg", net.input("x", (2, 3, 4)))
    made = FORMS[form](net, x, net.op("Relu", x))
    name = made.name
    net.output(net.op("Tanh", made), "y")
    net.output(made, "public")
    assert held(net.graph, recognise_composites, changes=1, tolerance=1e-6) == ["Neg", "PRelu", "Tanh"]
    assert net.graph.outputs[1].value.name == name
    np.testing.assert_array_equal(net.graph.node(name).inputs[1].constant.array(), ALPHA)


def test_one_slope_is_a_leaky_relu():
    net = Net()
    x = net.op("Neg", net.input("x", (2, 3)))
    net.output(net.op("Sub", net.op("Relu", x), net.op("Mul", net.const(0.25), _negated(net, x))), "y")
    net.output(net.op("Maximum", net.op("Mul", x, 0.5), x), "z")
    assert held(net.graph, recognise_composites, changes=2, tolerance=1e-6) == ["Neg", "LeakyRelu", "LeakyRelu"]
    assert [node["alpha"] for node in net.graph.nodes if node.op == "LeakyRelu"] == [0.25, 0.5]


def test_the_larger_of_x_and_more_than_x_is_no_leaky_relu():
    net = Net()
    x = net.input("x", (2, 3))
    net.output(net.op("Maximum", net.op("Mul", x, 1.5), x), "y")
    assert recognise_composites(net.graph) == 0


def test_a_sum_over_another_value_is_no_prelu():
    net = Net()
    x = net.input("x", (2, 3, 4))
    net.output(net.op("AddV2", net.op("Relu", x), net.op("Mul", _alpha(net), _negated(net, net.op("Tanh", x)))), "y")
    assert recognise_composites(net.graph) == 0


def _softmax(net, x, axis, shifted=True):
    if shifted:
        x = net.op("Sub", x, net.op("Max", x, [axis], keep_dims=True))
    exponential = net.op("Exp", x)
    return net.op("RealDiv", exponential, net.op("Sum", exponential, [axis], keep_dims=True), name="probability")


@pytest.mark.parametrize("axis", [-1, 2])
def test_softmax(axis):
    net = Net()
    made = _softmax(net, net.op("Tanh", net.input("x", (2, 3, 4))), axis)
    net.output(net.op("Neg", made), "y")
    net.output(made, "public")
    assert held(net.graph, recognise_composites, changes=1, tolerance=1e-6) == ["Tanh", "Softmax", "Neg"]


def test_softmax_over_another_axis_stays(caplog):
    net = Net()
    net.output(_softmax(net, net.input("x", (2, 3, 4)), 1), "y")
    assert recognise_composites(net.graph) == 0
    plain = Net()
    plain.output(_softmax(plain, plain.input("x", (2, 3, 4)), -1, shifted=False), "y")
    left_alone(plain.graph, recognise_composites, caplog, "the largest is not taken off")


def unit_length(net, x, *, smallest=1e-12, axis=-1, keep_dims=True):
    total = net.op("Sum", net.op("Square", x), axis, keep_dims=keep_dims)
    return net.op("Rsqrt", net.op("Maximum", total, smallest))


@pytest.mark.parametrize("turned", [False, True])
def test_unit_length(turned):
    net = Net()
    x = net.op("Tanh", net.input("x", ("n", 3)))
    factors = (x, unit_length(net, x))
    made = net.op("Mul", *(factors[::-1] if turned else factors))
    net.output(net.op("Neg", made), "y")
    net.output(made, "public")
    assert held(net.graph, recognise_unit_length, changes=1, tolerance=1e-6) == ["Tanh", "L2Normalize", "Neg"]


@pytest.mark.parametrize("difference", [{"smallest": 1e-6}, {"axis": 0}, {"keep_dims": False}])
def test_other_lengths_stay(difference):
    net = Net()
    x = net.op("Tanh", net.input("x", (3, 3)))
    net.output(net.op("Mul", x, unit_length(net, x, **difference)), "y")
    assert held(net.graph, recognise_unit_length, changes=0)[-1] == "Mul"


def test_a_length_of_another_value_or_read_by_others_stays(caplog):
    net = Net()
    x = net.op("Tanh", net.input("x", (2, 3)))
    net.output(net.op("Mul", net.op("Neg", x), unit_length(net, x)), "other")
    length = unit_length(net, x)
    net.output(net.op("Mul", x, length), "y")
    net.output(length, "length")
    left_alone(net.graph, recognise_unit_length, caplog, "others read parts")
