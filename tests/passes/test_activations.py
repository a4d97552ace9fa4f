"""Activations are recognised, and fused where the target can."""

from __future__ import annotations

import pytest
from surroundings import Net, held, left_alone

from tensorferry.passes.activations import fuse_activation, recognise_clips, recognise_symmetric_clips


def _between(net):
    return net.op("Tanh", net.input("x", (2, 3)))


CLIPS = {
    "max(x, 0)": (lambda net, x: net.op("Maximum", x, 0.0), "Relu"),
    "max(0, x)": (lambda net, x: net.op("Maximum", net.const(0.0), x), "Relu"),
    "min(relu(x), 6)": (lambda net, x: net.op("Minimum", net.op("Relu", x), 6.0), "Relu6"),
    "max(min(x, 6), 0)": (lambda net, x: net.op("Maximum", net.op("Minimum", x, 6.0), 0.0), "Relu6"),
    "relu(min(6, x))": (lambda net, x: net.op("Relu", net.op("Minimum", net.const(6.0), x)), "Relu6"),
    "min(max(0, x), 6)": (lambda net, x: net.op("Minimum", net.op("Maximum", net.const(0.0), x), 6.0), "Relu6"),
}


@pytest.mark.parametrize("form", CLIPS)
def test_clips_are_activations(form):
    write, activation = CLIPS[form]
    net = Net()
    made = write(net, _between(net))
    name = made.name
    net.output(net.op("Neg", made), "y")
    net.output(made, "public")
    assert held(net.graph, recognise_clips) == ["Tanh", activation, "Neg"]
    assert net.graph.outputs[1].value.name == name


def test_a_clip_whose_inner_value_is_read_stays():
    net = Net()
    inner = net.op("Relu", _between(net))
    net.output(net.op("Minimum", inner, 6.0), "y")
    net.output(inner, "inner")
    assert recognise_clips(net.graph) == 0


def test_other_bounds_are_no_activation():
    net = Net()
    net.output(net.op("Minimum", net.op("Relu", _between(net)), 5.0), "y")
    assert recognise_clips(net.graph) == 0


def test_a_symmetric_clip():
    net = Net()
    net.output(net.op("Minimum", net.op("Maximum", _between(net), -1.0), 1.0), "y")
    assert held(net.graph, recognise_symmetric_clips, changes=1) == ["Tanh", "ReluN1To1"]


@pytest.mark.parametrize(
    ("target", "activation", "fused"),
    [
        ("tflite", "Relu", True),
        ("tflite", "Relu6", True),
        ("tflite", "LeakyRelu", False),
        ("tfjs", "LeakyRelu", True),
        ("tfjs", "Relu6", True),
        ("tfjs", "Sigmoid", True),
        ("tflite", "Sigmoid", False),
    ],
)
def test_each_target_fuses_what_it_can(target, activation, fused):
    net = Net()
    x = net.op("Tanh", net.input("x", (1, 4, 4, 3)))
    attrs = {"alpha": 0.3} if activation == "LeakyRelu" else {}
    made = net.op(activation, net.conv(x, 2), name="active", **attrs)
    net.output(net.op("Neg", made), "y")
    net.output(made, "public")
    left = held(net.graph, fuse_activation(target), changes=int(fused))
    assert left == ["Tanh", "Conv2D", *([] if fused else [activation]), "Neg"]
    conv = next(node for node in net.graph.nodes if node.op == "Conv2D")
    assert conv.get("activation") == (activation if fused else None)
    assert net.graph.outputs[1].value.name == "active"
    if fused:
        assert conv.origin.names == ("conv", "active")
        if activation == "LeakyRelu":
            assert conv["activation_alpha"] == 0.3


def test_a_value_that_others_read_is_not_fused_away(caplog):
    net = Net()
    made = net.conv(net.input("x", (1, 4, 4, 3)), 2)
    net.output(net.op("Relu", made), "y")
    net.output(net.op("Neg", made), "second")
    left_alone(net.graph, fuse_activation("tflite"), caplog, "somebody else reads conv")


def test_a_public_value_is_not_fused_away():
    net = Net()
    made = net.conv(net.input("x", (1, 4, 4, 3)), 2)
    net.output(net.op("Relu", made), "y")
    net.output(made, "before")
    assert fuse_activation("tflite")(net.graph) == 0


def test_one_activation_a_node():
    net = Net()
    net.output(net.op("Relu6", net.op("Relu", net.conv(net.input("x", (1, 4, 4, 3)), 2))), "y")
    assert held(net.graph, fuse_activation("tflite"), changes=1) == ["Conv2D", "Relu6"]
