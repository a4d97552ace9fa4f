"""The order of the passes, verification after each, narrowing, expansion, and real graphs."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from surroundings import Net, feeds, held, op_names, relative_error

from tensorferry import ops, readers
from tensorferry.errors import GraphError
from tensorferry.ir import verify
from tensorferry.passes import pipelines
from tensorferry.passes.expansion import expand_for_target
from tensorferry.passes.narrowing import narrow_types
from tensorferry.readers.selection import select
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.tensor import DType

MODELS = Path(__file__).resolve().parents[3] / "shared" / "models"


def _block(net, x, channels, **layout):
    made = net.norm(net.conv(x, channels, **layout), **layout)
    gate = net.op("Relu6", net.op("AddV2", made, 3.0))
    return net.op("Mul", made, net.op("Mul", gate, 1 / 6))


def test_a_network_with_channels_first_ends_in_few_operators():
    net = Net()
    x = net.input("x", (1, 3, 8, 8))
    first = net.op("Identity", _block(net, x, 4, data_format="NCHW"))
    second = net.op("AddV2", first, _block(net, first, 4, data_format="NCHW"))
    flat = net.op("Reshape", second, [-1, 256])
    scores = net.op("BiasAdd", net.op("MatMul", flat, net.weights(256, 5)), net.weights(5))
    net.output(net.op("Identity", net.op("Softmax", scores), name="scores"), "scores")
    graph = net.graph
    given = feeds(graph)
    before = evaluate_graph(graph, given)
    counts = pipelines.prepare(graph)
    assert counts["fold_batch_norm"] == 2
    for target in pipelines.TARGETS:
        finished = graph.copy()
        pipelines.finish(finished, target)
        verify(finished, ops.infer)
        assert relative_error(before, evaluate_graph(finished, given)) < 1e-5
        assert [port.name for port in finished.outputs] == ["scores"]
        assert finished.outputs[0].value.name == "scores"
        if target == "tflite":
            assert op_names(finished) == [
                "Transpose", "Conv2D", "HardSwish", "Conv2D", "HardSwish", "AddV2", "Reshape", "MatMul", "Softmax",
            ]  # fmt: skip
    assert pipelines.prepare(graph) == {}


def test_a_pass_that_breaks_the_graph_is_named():
    net = Net()
    net.output(net.op("Relu", net.input("x", (2, 3))), "y")

    def break_shape(graph):
        graph.node("Relu").output.shape = (3, 2)
        return 1

    with pytest.raises(GraphError, match="after the pass break_shape: 'Relu'") as raised:
        pipelines.run_pass(net.graph, break_shape)
    assert "Relu" in raised.value.where


def test_every_pass_of_every_pipeline_says_what_it_does():
    for name, groups in pipelines.PIPELINES.items():
        for each in (each for group in groups for each in group.passes):
            assert each.__doc__, (name, each.__name__)


def test_halves_and_doubles_become_floats_with_a_notice():
    net = Net()
    x = net.input("x", (2, 3), DType.FLOAT64)
    weights = net.graph.constant(np.arange(3.0), "weights")
    halved = net.op("Cast", net.op("Mul", x, weights), DstT=DType.FLOAT16, SrcT=DType.FLOAT64)
    net.output(net.op("Cast", halved, DstT=DType.FLOAT32, SrcT=DType.FLOAT16), "y")
    assert narrow_types("tflite")(net.graph) == 5
    assert {value.dtype for node in net.graph.nodes for value in node.outputs} == {DType.FLOAT32}
    assert net.graph.notices == [
        "3 float64 values became float32, because tflite computes in float32",
        "1 float16 value became float32, because tflite computes in float32",
    ]
    verify(net.graph, ops.infer)
    assert held(net.graph, narrow_types("tflite"), changes=0) == ["Mul", "Cast", "Cast"]


def test_javascript_has_no_long_integers():
    net = Net()
    x = net.input("x", (2, 3), DType.INT64)
    big = net.graph.constant(np.asarray([5, 1 << 40, -(1 << 40)], np.int64), "big")
    net.output(net.op("AddV2", x, big), "y")
    assert narrow_types("tfjs")(net.graph) == 3
    assert big.constant.array().tolist() == [5, (1 << 31) - 1, -(1 << 31)]
    assert "beyond int32" in net.graph.notices[0]
    verify(net.graph, ops.infer)
    plain = Net()
    plain.output(plain.op("Relu", plain.input("x", (2, 3))), "y")
    assert narrow_types("tfjs")(plain.graph) == 0
    assert plain.graph.notices == []


def test_what_a_target_lacks_is_expanded():
    net = Net()
    x = net.op("Tanh", net.input("x", (2, 5, 5, 4)))
    net.output(net.norm(x), "y")
    left = held(net.graph, expand_for_target("tflite"), changes=1, tolerance=1e-6)
    assert left == ["Tanh", "Mul", "AddV2"]


def test_grouped_convolution_with_a_bias_is_expanded_for_javascript():
    net = Net()
    x = net.op("Tanh", net.input("x", (1, 5, 5, 4)))
    made = net.op("Conv2D", x, net.weights(3, 3, 2, 6), strides=[1, 1, 1, 1], padding="SAME", name="grouped")
    net.output(net.op("BiasAdd", made, net.weights(6), name="biased"), "y")
    given = feeds(net.graph)
    before = evaluate_graph(net.graph, given)
    pipelines.prepare(net.graph)
    assert op_names(net.graph) == ["Tanh", "Conv2D"]
    pipelines.finish(net.graph, "tfjs")
    assert "Split" in op_names(net.graph)
    assert relative_error(before, evaluate_graph(net.graph, given)) < 1e-6
    assert net.graph.outputs[0].value.name == "biased"


def test_five_thousand_nodes_take_seconds():
    net = Net()
    value = net.input("x", (1, 2, 4, 4))
    for _ in range(620):
        value = net.op("Identity", _chain(net, value))
    net.output(value, "y")
    assert len(net.graph.nodes) > 5000
    start = time.perf_counter()
    pipelines.prepare(net.graph)
    pipelines.finish(net.graph, "tflite")
    assert time.perf_counter() - start < 30
    assert op_names(net.graph).count("Transpose") == 2


def _chain(net, value):
    made = net.norm(net.conv(value, 2, 1, data_format="NCHW"), data_format="NCHW")
    return net.op("AddV2", net.op("Relu", made), value)


REAL = {
    "posenet": ("posenet050_frozen_pb/model-mobilenet_v1_050.pb", {}, 32, 31),
    "cifar": ("cifar_frozen/frozen_model.pb", {}, 3, 3),
    "keywords": ("kws_arm_ds_cnn_S/DS_CNN_S.pb", {"inputs": ["Mfcc"], "shapes": {"Mfcc": (1, 49, 10)}}, 14, 14),
    "autoencoder": ("tf2onnx_ae0/frozen.pb", {}, 8, 4),
    "layers": ("tf2onnx_fc_layers/frozen.pb", {}, 3, 3),
}


@pytest.mark.parametrize("name", REAL)
def test_real_graphs_keep_their_numbers_in_fewer_operators(name):
    path, selection, lite, javascript = REAL[name]
    if not (MODELS / path).exists():
        pytest.skip(f"the model {path} is not in {MODELS}")
    graph = select(readers.read(MODELS / path), **selection)
    given = {name: array * np.float32(0.3) for name, array in feeds(graph, unknown=1).items()}
    before = evaluate_graph(graph, given)
    pipelines.prepare(graph)
    assert relative_error(before, evaluate_graph(graph, given)) < 1e-5
    for target, count in (("tflite", lite), ("tfjs", javascript)):
        finished = graph.copy()
        pipelines.finish(finished, target)
        assert relative_error(before, evaluate_graph(finished, given)) < 1e-5
        assert len(op_names(finished)) == count
    assert pipelines.prepare(graph) == {}
