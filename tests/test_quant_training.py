"""Nets trained for quantisation: ranges of FakeQuant become exact grids, and no samples are needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tensorferry
from lite_specification import assert_keeps_specification, float_operators
from quantised_nets import Net, walk
from tensorferry import ops
from tensorferry.errors import OptionError
from tensorferry.ir import Graph, Value
from tensorferry.quant.maths import weight_grid
from tensorferry.quant.steps import stepped_scales
from tensorferry.quant.weights import channel_ranges
from tensorferry.runtimes import litert
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.tensor import ArrayTensor, DType
from tensorferry.writers.graphdef import write_graphdef


def ranged(net: Net, name: str, low: float, high: float) -> Value:
    return net.then("FakeQuantWithMinMaxVars", name, np.float32(low), np.float32(high))


def trained_weight(net: Net, name: str, *shape: int) -> Value:
    """By channel of the last axis, narrow, with ranges up to half as large again as the weights."""
    array = net.random.normal(size=shape).astype(np.float32)
    reach = np.abs(array).max(axis=tuple(range(len(shape) - 1))) * net.random.uniform(1, 1.5, shape[-1]).astype(np.float32)
    ends = [net.graph.constant(each.astype(np.float32), f"{name}/{end}") for end, each in (("min", -reach), ("max", reach))]
    attrs = {"num_bits": 8, "narrow_range": True}
    inputs = [net.graph.constant(array, f"{name}/float"), *ends]
    return ops.add(net.graph, "FakeQuantWithMinMaxVarsPerChannel", inputs, attrs, name=name).output


def trained() -> Graph:
    net = Net(1, 8, 8, 4)
    ranged(net, "image_range", -2.9, 3.1)
    net.then("Conv2D", "conv", trained_weight(net, "conv/w", 3, 3, 4, 8), strides=[1, 1, 1, 1], padding="SAME")
    net.then("BiasAdd", "conv/bias", net.random.normal(size=8).astype(np.float32))
    net.then("Relu6", "conv/relu")
    ranged(net, "conv_range", 0, 5.7)
    net.then("Conv2D", "deep", trained_weight(net, "deep/w", 1, 1, 8, 16), strides=[1, 1, 1, 1], padding="SAME")
    ranged(net, "deep_range", -17, 15)
    net.then("Mean", "pooled", np.array([1, 2], np.int32))
    ranged(net, "pooled_range", -3, 3)
    net.then("MatMul", "dense", trained_weight(net, "dense/w", 16, 5))
    ranged(net, "scores", -12, 12)
    return net.done("scores")


def convert(graph: Graph, tmp_path: Path, **options) -> tuple[Path, tensorferry.Report]:
    write_graphdef(graph, tmp_path / "net.pb")
    return tmp_path / "net.tflite", tensorferry.convert(tmp_path / "net.pb", tmp_path / "net.tflite", quantize="int8", **options)


def test_ranges_from_training_become_grids_to_the_step(tmp_path):
    graph = trained()
    path, report = convert(graph, tmp_path)
    assert float_operators(path) == []
    assert_keeps_specification(path)
    assert report.targets[0].quantisation["fully_whole"]
    operators = list(walk(path))
    assert [each.name for each in operators] == ["QUANTIZE", "CONV_2D", "CONV_2D", "MEAN", "FULLY_CONNECTED", "DEQUANTIZE"]
    grids = [each.outputs[0].quantization for each in operators[:-1]]
    ends = ((-2.9, 3.1), (0, 5.7), (-17, 15), (-3, 3), (-12, 12))
    for grid, (low, high) in zip(grids, ends, strict=True):
        scale = np.float32(high - low) / np.float32(255)
        assert grid.scales[0] == pytest.approx(scale, rel=1e-6)
        assert grid.zero_points[0] == np.floor(-low / scale + 0.5) - 128  # as the op's own kernel moves zero onto a step
    by_name = {node.name: node for node in graph.nodes}
    feeds = {"image": np.zeros((1, 8, 8, 4), np.float32)}
    for operator, name in zip((operators[1], operators[2], operators[4]), ("conv/w", "deep/w", "dense/w"), strict=True):
        seen = {}
        evaluate_graph(graph, feeds, lambda value, array, seen=seen: seen.update({value.name: array}))
        weight = seen[by_name[name].output.name]
        np.testing.assert_allclose(operator.real(1), np.moveaxis(weight, -1, 0), rtol=1e-5, atol=1e-7)


def test_the_file_computes_what_the_training_saw(tmp_path):
    graph = trained()
    path, _ = convert(graph, tmp_path)
    step = 24 / 255
    for seed in range(5):
        feeds = {"image": np.random.default_rng(seed).normal(size=(1, 8, 8, 4)).astype(np.float32)}
        expected = evaluate_graph(graph, feeds)["scores"]
        for run in (litert.run, litert.run_plain):
            assert np.max(np.abs(run(path, feeds).outputs["scores"] - expected)) < 1.01 * step


def test_a_range_that_is_missing_is_asked_for(tmp_path):
    net = Net(1, 6, 6, 4)
    ranged(net, "image_range", -3, 3)
    net.conv("conv", 8)
    net.conv("after", 8)
    ranged(net, "after_range", 0, 6)
    graph = net.done("after_range")
    with pytest.raises(OptionError, match="ranges") as caught:
        convert(graph, tmp_path)
    assert "'conv/act'" in caught.value.why
    samples = [{"image": np.random.default_rng(seed).normal(size=(1, 6, 6, 4)).astype(np.float32)} for seed in range(4)]
    path, _ = convert(graph, tmp_path, calibrate=samples)
    assert float_operators(path) == []
    after = next(each for each in walk(path) if each.outputs[0].name.startswith("after"))
    assert after.outputs[0].quantization.scales[0] == pytest.approx(6 / 255, rel=1e-6)  # what was seen gives way


def test_a_quantised_file_is_quantised_again_without_loss(tmp_path):
    path, _ = convert(trained(), tmp_path)
    tensorferry.convert(path, tmp_path / "again.tflite", quantize="int8")
    feeds = {"image": np.random.default_rng(9).normal(size=(1, 8, 8, 4)).astype(np.float32)}
    first, second = (litert.run_plain(each, feeds).outputs["scores"] for each in (path, tmp_path / "again.tflite"))
    np.testing.assert_array_equal(first, second)


# -- weights on a grid ---------------------------------------------------------------------------------------------


def found(array, axis=0):
    tensor = ArrayTensor(np.asarray(array, np.float32))
    return stepped_scales(tensor, channel_ranges(tensor, axis), weight_grid(DType.INT8))


def test_a_grid_is_found_by_channel_whatever_its_extremes():
    random = np.random.default_rng(0)
    codes = random.integers(-90, 91, (6, 3, 3, 20))
    codes[:, 0, 0, 0] = 91  # a prime: no coarser grid holds it together with others
    scales = random.uniform(0.001, 0.1, 6).astype(np.float32)
    array = codes.astype(np.float32) * scales[:, None, None, None]
    np.testing.assert_allclose(found(array), scales, rtol=1e-6)
    np.testing.assert_allclose(found(np.moveaxis(array, 0, 3), 3), scales, rtol=1e-6)


def test_other_weights_lie_on_none():
    random = np.random.default_rng(0)
    assert found(random.normal(size=(4, 300))) is None
    codes = random.integers(-90, 91, (4, 300)).astype(np.float32) * np.float32(0.01)
    codes[3, 77] += 0.004
    assert found(codes) is None
    codes = random.integers(-200, 201, (4, 300)).astype(np.float32)  # more steps than 8 bits have
    codes[:, 0], codes[:, 1] = 199, 200
    assert found(codes) is None
    assert found(np.zeros((2, 5))).tolist() == [1, 1]
