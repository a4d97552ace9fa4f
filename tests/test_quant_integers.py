"""int8 and int16x8: whole numbers from end to end, on the grids of the published specification, as near as TensorFlow's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tensorferry
from lite_specification import assert_keeps_specification, float_operators
from quantised_nets import Net, classifier, walk
from tensorferry.errors import OptionError
from tensorferry.ir import Graph
from tensorferry.runtimes import litert
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.tensor import Array
from tensorferry.writers.graphdef import write_graphdef

MODES = pytest.mark.parametrize("mode", ["int8", "int16x8"])
BOUND = {"int8": 0.06, "int16x8": 0.02}
"""Of the largest value; weights have 8 bits in both. To that comes a step of the grid that a kernel takes for given."""


def samples(graph: Graph, count: int = 6, start: int = 0) -> list[dict[str, Array]]:
    found = []
    for seed in range(start, start + count):
        random = np.random.default_rng(seed)
        found.append({port.name: random.normal(size=port.value.static_shape).astype(np.float32) for port in graph.inputs})
    return found


def convert(graph: Graph, tmp_path: Path, mode: str, **options) -> tuple[Path, tensorferry.Report]:
    source, target = tmp_path / "net.pb", tmp_path / f"{mode}.tflite"
    write_graphdef(graph, source)
    options.setdefault("calibrate", samples(graph))
    names = [port.name for port in graph.outputs]
    return target, tensorferry.convert(source, target, outputs=names, quantize=mode, **options)


def real(path: Path, feeds: dict[str, Array], *, xnnpack: bool) -> dict[str, Array]:
    run = litert.run(path, feeds) if xnnpack else litert.run_plain(path, feeds)
    return {name: run.real(name) for name in run.outputs}


def assert_near(graph: Graph, path: Path, mode: str) -> None:
    """In both sets of kernels."""
    feeds = samples(graph, 1, 2)[0]
    expected = evaluate_graph(graph, feeds)
    for xnnpack in (True, False):
        for name, found in real(path, feeds, xnnpack=xnnpack).items():
            assert np.max(np.abs(found - expected[name])) <= BOUND[mode] * np.max(np.abs(expected[name])) + 1 / 256, (name, xnnpack)


def branching() -> Graph:
    """Two convolutions joined, one of them also added to a third; pooled, padded, resized, split."""
    net = Net(1, 10, 10, 6)
    image = net.last
    first = net.conv("first", 8)
    net.last = image
    second = net.conv("second", 8, activation="")
    net.last = first
    net.then("ConcatV2", "joined", second, np.asarray(3, np.int32))
    net.conv("third", 8, activation="Relu")
    net.then("AddV2", "added", second)
    net.then("MaxPool", "pooled", ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID")
    net.then("Pad", "padded", np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
    net.then("ResizeBilinear", "resized", np.array([14, 14], np.int32), half_pixel_centers=True)
    net.then("Mul", "scaled", np.linspace(0.1, 3, 8, dtype=np.float32))
    net.then("Sigmoid", "squashed")
    return net.done("squashed", "added")


@MODES
@pytest.mark.parametrize("make", [classifier, branching])
def test_all_is_whole_and_near_in_both_sets_of_kernels(tmp_path, make, mode):
    graph = make()
    path, report = convert(graph, tmp_path, mode, io_dtype={"int8": "int8", "int16x8": "int16"}[mode])
    assert float_operators(path) == []
    assert_keeps_specification(path)
    assert_near(graph, path, mode)
    assert report.verified
    assert report.targets[0].quantisation["fully_whole"]


def test_what_ends_a_model_with_float_outputs_computes_in_float(tmp_path):
    """Probabilities in 256 steps tie; the conversion to float that an output needs comes before them instead of behind."""
    path, report = convert(classifier(), tmp_path, "int8")
    assert [each.name for each in walk(path)][-2:] == ["DEQUANTIZE", "SOFTMAX"]
    assert float_operators(path) == ["SOFTMAX"]
    assert "256 values" in report.targets[0].quantisation["float"][0]["why"]
    assert_keeps_specification(path)
    assert_near(classifier(), path, "int8")
    path, _ = convert(classifier(), tmp_path, "int16x8")
    assert float_operators(path) == []


@pytest.mark.parametrize(("mode", "io"), [("int8", "int8"), ("int8", "uint8"), ("int16x8", "int16")])
def test_inputs_and_outputs_have_the_type_that_is_asked_for(tmp_path, mode, io):
    graph = branching()
    path, report = convert(graph, tmp_path, mode, io_dtype=io)
    with litert.LiteRtModel(path) as model:
        assert {str(slot.dtype) for slot in (*model.inputs, *model.outputs)} == {io}
        assert [slot.name for slot in model.outputs] == ["squashed", "added"]
    assert_near(graph, path, mode)
    assert report.verified


def test_what_has_no_integer_kernel_is_float_between_conversions_and_is_listed(tmp_path):
    net = Net(1, 6, 6, 4)
    net.conv("first", 8)
    net.then("Sin", "wave")
    net.conv("second", 8)
    graph = net.done("second/act")
    path, report = convert(graph, tmp_path, "int8")
    assert [each.name for each in walk(path)] == ["QUANTIZE", "CONV_2D", "DEQUANTIZE", "SIN", "QUANTIZE", "CONV_2D", "DEQUANTIZE"]
    assert float_operators(path) == ["SIN"]
    assert_keeps_specification(path)
    assert_near(graph, path, "int8")
    facts = report.targets[0].quantisation
    assert not facts["fully_whole"]
    assert [(each["operator"], each["name"]) for each in facts["float"]] == [("SIN", "wave")]
    assert any("1 SIN" in notice for notice in report.targets[0].notices)


@MODES
def test_what_is_named_stays_float(tmp_path, mode):
    path, _ = convert(classifier(), tmp_path, mode, keep_float=["logits", "SOFTMAX"])
    assert float_operators(path) == ["FULLY_CONNECTED", "SOFTMAX"]


def test_a_join_costs_no_conversion_where_nobody_else_reads(tmp_path):
    net = Net(1, 6, 6, 4)
    image = net.last
    first = net.conv("first", 8)
    net.last = image
    second = net.conv("second", 8, activation="Tanh")
    net.last = image
    third = net.conv("third", 8)
    net.last = first
    net.then("ConcatV2", "joined", second, third, np.asarray(3, np.int32))
    net.conv("after", 4)
    net.last = third
    net.conv("beside", 4)
    graph = net.done("after/act", "beside/act")
    path, _ = convert(graph, tmp_path, "int8")
    names = [each.name for each in walk(path)]
    assert names.count("QUANTIZE") == 3  # the input, tanh with its own grid, and what is read twice
    assert_keeps_specification(path)
    assert_near(graph, path, "int8")


def test_a_large_bias_on_small_weights_does_not_overflow(tmp_path):
    net = Net(1, 4, 4, 4)
    kernel = net.random.normal(size=(1, 1, 4, 6)).astype(np.float32)
    kernel[..., 0] *= 1e-9
    net.then("Conv2D", "conv", kernel, strides=[1, 1, 1, 1], padding="SAME")
    net.then("BiasAdd", "biased", np.array([3, 1, -1, 0, 2, -2], np.float32))
    graph = net.done("biased")
    path, _ = convert(graph, tmp_path, "int8", corrections="none")
    conv = next(each for each in walk(path) if each.name == "CONV_2D")
    np.testing.assert_allclose(conv.real(2), [3, 1, -1, 0, 2, -2], rtol=1e-3)
    assert_keeps_specification(path)
    assert_near(graph, path, "int8")


def test_without_samples_it_says_what_is_missing(tmp_path):
    with pytest.raises(OptionError, match="ranges") as caught:
        convert(classifier(), tmp_path, "int8", calibrate=None)
    assert "--calibrate" in caught.value.remedy
    assert not (tmp_path / "int8.tflite").exists()


def test_equal_bytes_of_other_types_are_told_apart(tmp_path):
    """A bias of zeros and the pads of another operator may share a buffer in the float file."""
    net = Net(1, 6, 6, 4)
    net.then("Pad", "padded", np.zeros((4, 2), np.int32))
    net.then("Conv2D", "conv", net.weight("k", 3, 3, 4, 8), strides=[1, 1, 1, 1], padding="SAME")
    net.then("BiasAdd", "biased", np.zeros(8, np.float32))
    graph = net.done("biased")
    path, _ = convert(graph, tmp_path, "int8")
    assert_keeps_specification(path)
    assert_near(graph, path, "int8")


# -- beside TensorFlow's converter ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras_net(tmp_path_factory):
    """A small net of Keras as a SavedModel, and what it computes."""
    tf = pytest.importorskip("tensorflow", reason="TensorFlow, whose converter is compared with, is not installed")
    keras = tf.keras
    keras.utils.set_random_seed(4)
    image = keras.Input((16, 16, 6), batch_size=1, name="image")
    x = keras.layers.Conv2D(24, 3, padding="same", activation="relu6")(image)
    x = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu6", depthwise_initializer="he_normal")(x)
    y = keras.layers.Conv2D(24, 1)(x)
    x = keras.layers.Add()([x, y])
    x = keras.layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="relu")(x)
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    scores = keras.layers.Dense(20, kernel_initializer="he_normal")(x)
    model = keras.Model(image, scores)
    folder = tmp_path_factory.mktemp("keras") / "net"
    model.export(folder, verbose=False)
    return folder, model, [np.random.default_rng(seed).normal(size=(1, 16, 16, 6)).astype(np.float32) for seed in range(12)]


def official(folder: Path, mode: str, pictures: list[Array]) -> bytes:
    import tensorflow as tf  # noqa: PLC0415

    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode != "dynamic":
        converter.representative_dataset = lambda: ([picture] for picture in pictures[:8])
    if mode == "int16x8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]
    return bytes(converter.convert())


def mean_error(path: Path, pictures: list[Array], expected: list[Array]) -> float:
    with litert.LiteRtModel(path) as model:
        (name,) = (slot.name for slot in model.inputs)
        found = [next(iter(model.run({name: picture}).values())) for picture in pictures]
    return float(np.mean([np.abs(one - other).mean() for one, other in zip(found, expected, strict=True)]))


@pytest.mark.parametrize("mode", ["dynamic", "int8", "int16x8"])
def test_no_worse_than_tensorflow_and_no_larger(tmp_path, keras_net, mode):
    folder, model, pictures = keras_net
    expected = [np.asarray(model(picture)) for picture in pictures]
    ours, theirs = tmp_path / "ours.tflite", tmp_path / "theirs.tflite"
    theirs.write_bytes(official(folder, mode, pictures))
    calibrate = None if mode == "dynamic" else [{"image": picture} for picture in pictures[:8]]
    tensorferry.convert(folder, ours, quantize=mode, calibrate=calibrate)
    assert mean_error(ours, pictures, expected) <= 1.1 * mean_error(theirs, pictures, expected)
    assert ours.stat().st_size <= 1.05 * theirs.stat().st_size + 1024  # layers without a bias get one, to be corrected
    if mode != "dynamic":
        assert set(float_operators(ours)) <= {"SOFTMAX"}
        assert_keeps_specification(ours)
