"""A value times a smooth gate of itself becomes the one operator that TFLite has."""

from __future__ import annotations

import math

import numpy as np
import pytest
from surroundings import Net, held, left_alone

from tensorferry.passes.gates import recognise_gelu

ROOT = math.sqrt(2 / math.pi)


def _cubic(net, x):
    return net.op("Mul", net.op("AddV2", x, net.op("Mul", net.op("Pow", x, 3.0), 0.044715)), ROOT)


def _factored(net, x):
    slope = net.op("AddV2", net.op("Mul", net.op("Mul", x, x), 0.044715), 1.0)
    return net.op("Mul", net.op("Mul", x, 0.7978845608), slope)


def _one_and_a_half(net, curve):
    return net.op("Mul", net.op("AddV2", curve, 1.0), 0.5)


def _erf(net, x):
    return net.op("Erf", net.op("RealDiv", x, math.sqrt(2)))


TANH = {
    "keras": lambda net, x: net.op("Mul", net.op("Mul", x, 0.5), net.op("AddV2", net.op("Tanh", _cubic(net, x)), 1.0)),
    "bert": lambda net, x: net.op("Mul", x, _one_and_a_half(net, net.op("Tanh", _cubic(net, x)))),
    "factored": lambda net, x: net.op("Mul", _one_and_a_half(net, net.op("Tanh", _factored(net, x))), x),
    "sigmoid": lambda net, x: net.op("Mul", x, net.op("Sigmoid", net.op("Mul", _cubic(net, x), 2.0))),
    "subtracted": lambda net, x: net.op(
        "Mul", net.op("Mul", x, -0.5), net.op("Sub", net.op("Tanh", net.op("Neg", _cubic(net, x))), 1.0)
    ),
}
ERF = {
    "keras": lambda net, x: net.op("Mul", net.op("Mul", x, 0.5), net.op("AddV2", _erf(net, x), 1.0)),
    "bert": lambda net, x: net.op("Mul", x, _one_and_a_half(net, _erf(net, x))),
    "half outside": lambda net, x: net.op("RealDiv", net.op("Mul", x, net.op("AddV2", _erf(net, x), 1.0)), 2.0),
    "multiplied": lambda net, x: net.op("Mul", x, _one_and_a_half(net, net.op("Erf", net.op("Mul", x, 0.70710678)))),
    "complement": lambda net, x: net.op(
        "Mul", net.op("Mul", x, 0.5), net.op("Erfc", net.op("Mul", net.op("Neg", x), math.sqrt(0.5)))
    ),
}


def _surround(form):
    net = Net()
    x = net.op("Neg", net.input("x", (2, 3)))
    made = form(net, x)
    net.output(net.op("Abs", made), "y")
    net.output(made, "public")
    net.output(net.op("Sign", x), "beside")
    return net, made.name


@pytest.mark.parametrize(
    ("forms", "form", "approximate"), [*((TANH, each, True) for each in TANH), *((ERF, each, False) for each in ERF)]
)
def test_gelu(forms, form, approximate):
    net, name = _surround(forms[form])
    assert held(net.graph, recognise_gelu, changes=1, tolerance=1e-6) == ["Neg", "Gelu", "Abs", "Sign"]
    assert net.graph.outputs[1].value.name == name
    assert net.graph.node(name)["approximate"] is approximate


def test_a_gate_that_others_read_stays_beside_it():
    net = Net()
    x = net.op("Neg", net.input("x", (2, 3)))
    gate = net.op("AddV2", net.op("Tanh", _cubic(net, x)), 1.0)
    net.output(net.op("Mul", net.op("Mul", x, 0.5), gate), "y")
    net.output(gate, "gate")
    ops = held(net.graph, recognise_gelu, changes=1, tolerance=1e-6)
    assert ops == ["Neg", "Pow", "Mul", "AddV2", "Mul", "Tanh", "AddV2", "Gelu"]


@pytest.mark.parametrize("cube", [0.05, 0.0])
def test_other_numbers_are_no_gelu(cube, caplog):
    net = Net()
    x = net.op("Neg", net.input("x", (2, 3)))
    inner = net.op("Mul", net.op("AddV2", x, net.op("Mul", net.op("Pow", x, 3.0), cube)), ROOT)
    net.output(net.op("Mul", x, _one_and_a_half(net, net.op("Tanh", inner))), "y")
    left_alone(net.graph, recognise_gelu, caplog, "other numbers than Gelu's")


def test_a_swish_and_a_gate_of_another_value_are_no_gelu():
    net = Net()
    x = net.op("Neg", net.input("x", (2, 3)))
    net.output(net.op("Mul", x, net.op("Sigmoid", x)), "swish")
    net.output(net.op("Mul", x, _one_and_a_half(net, net.op("Tanh", _cubic(net, net.op("Abs", x))))), "y")
    assert recognise_gelu(net.graph) == 0


def test_a_gate_that_widens_its_partner_is_no_gelu():
    net = Net()
    x = net.op("Neg", net.input("x", (1, 3)))
    scale = net.const(np.full((2, 1), 0.5, np.float32))
    gate = net.op("AddV2", net.op("Tanh", _cubic(net, x)), 1.0)
    net.output(net.op("Mul", net.op("Mul", x, scale), gate), "y")
    assert recognise_gelu(net.graph) == 0
