"""TensorFlow Lite files as a source: what is read of one computes what LiteRT computes of it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import op_harness
import tensorferry
from lite_files import LiteFile
from tensorferry import ops, readers
from tensorferry.check import drawn_outputs
from tensorferry.errors import FerryError, SourceError, UnsupportedError
from tensorferry.ir import Graph, Port
from tensorferry.readers.selection import select
from tensorferry.runtimes import litert, tfjs
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.tensor import DType
from tensorferry.writers.tflite import write_tflite

MODELS = Path(os.environ.get("TENSORFERRY_MODELS") or "../shared/models")

needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason=f"there is no folder of real models at {MODELS}")


def feeds_for(graph, seed=0):
    """Inputs by name; an open size is 1, variables begin as they do."""
    generator = np.random.default_rng(seed)
    found = {}
    for port in graph.inputs:
        shape = [dim if isinstance(dim, int) else 1 for dim in port.value.shape]
        dtype = port.value.dtype.numpy
        if port.name in graph.states:
            found[port.name] = graph.states[port.name].first.array()
        elif dtype.kind == "f":
            found[port.name] = generator.uniform(-1, 1, shape).astype(dtype)
        else:
            found[port.name] = generator.integers(0, 100, shape).astype(dtype)
    return found


def largest_errors(path, graph=None):
    """Output -> (largest difference between the graph and LiteRT's own run of the file, largest value)."""
    graph = select(readers.read(path)) if graph is None else graph
    feeds = feeds_for(graph)
    ours = evaluate_graph(graph, feeds)
    theirs = litert.run(path, {name: array for name, array in feeds.items() if name not in graph.states}).outputs
    assert set(theirs) == {port.name for port in graph.outputs} - {state.output for state in graph.states.values()}
    found = {}
    for name, array in theirs.items():
        assert ours[name].dtype == array.dtype
        assert ours[name].shape == array.shape
        wide = array.astype(np.float64)
        found[name] = (float(np.abs(ours[name] - wide).max(initial=0)), float(np.abs(wide).max(initial=0)))
    return found


# -- files of others -----------------------------------------------------------------------------------------------

FLOAT_MODELS = {
    "basic_pitch_tflite/nmp.tflite": 1e-4,
    "mlperf_kws_tflite/kws_ref_model_float32.tflite": 1e-3,
    "mlperf_resnet8_tflite/pretrainedResnet.tflite": 1e-5,
    "mlperf_vww_tflite/vww_96_float.tflite": 1e-5,
    "mp_face_detection_front/face_detection_front.tflite": 1e-5,
    "tfm_hello_world/hello_world_float.tflite": 1e-5,
    "dtln_tflite/model_quant_1.tflite": 0.02,  # LiteRT rounds what comes in to 8 bits as it goes
    "dtln_tflite/model_quant_2.tflite": 0.02,
}
"""Relative to the largest value."""

WHOLE_MODELS = {
    "coral_mobilenet_v1_025_128_quant/mobilenet_v1_0.25_128_quant.tflite": 2,
    "mlperf_kws_tflite/kws_ref_model.tflite": 1,
    "mlperf_resnet8_tflite/pretrainedResnet_quant.tflite": 1,
    "mlperf_vww_tflite/vww_96_int8.tflite": 1,
    "tfm_hello_world/hello_world_int8.tflite": 1,
}
"""Steps of the quantised output."""


@needs_models
@pytest.mark.parametrize("model", FLOAT_MODELS)
def test_a_model_of_floats_computes_what_litert_computes(model):
    for error, largest in largest_errors(MODELS / model).values():
        assert error <= FLOAT_MODELS[model] * largest


@needs_models
@pytest.mark.parametrize("model", WHOLE_MODELS)
def test_a_quantised_model_stays_within_steps_of_litert(model):
    for error, _ in largest_errors(MODELS / model).values():
        assert error <= WHOLE_MODELS[model]


CONVERTED = [
    "tfm_hello_world/hello_world_int8.tflite",
    "mlperf_kws_tflite/kws_ref_model_float32.tflite",
    "mlperf_resnet8_tflite/pretrainedResnet_quant.tflite",
    "mp_face_detection_front/face_detection_front.tflite",
    "tfm_mnist_lstm/trained_lstm.tflite",
    "dtln_tflite/model_quant_1.tflite",
]


def quantisation_of(model):
    """Of the inputs and outputs: how whole numbers stand for real ones, the same before and after."""
    details = [*model._interpreter.get_input_details(), *model._interpreter.get_output_details()]
    return [each["quantization"] for each in details]


@needs_models
def test_a_quantised_posenet_goes_on_as_far_as_litert_agrees_with_itself(tmp_path):
    """Its outputs hang on rounding so much that LiteRT's two sets of kernels differ: ours lies as near as they to each other."""
    path = MODELS / "posenet075_coral_353x481_quant/posenet_mobilenet_v1_075_353_481_quant.tflite"
    graph = select(readers.read(path))
    rows, columns = np.mgrid[0:353, 0:481]
    waves = [np.sin(columns / 40 + rows / 60), np.cos(rows / 33), np.sin(columns * rows / 9000)]
    feeds = {graph.inputs[0].name: (127 + 100 * np.stack(waves, -1)[None]).astype(np.uint8)}
    ours, fast, plain = evaluate_graph(graph, feeds), litert.run(path, feeds).outputs, litert.run_plain(path, feeds).outputs
    for name, array in fast.items():
        apart = np.abs(plain[name].astype(float) - array).mean()
        assert np.abs(ours[name].astype(float) - array).mean() <= apart
    assert tensorferry.convert(path, tmp_path / "again.tflite").verified


@needs_models
def test_a_decoder_that_nobody_has_is_named_with_the_cut(tmp_path):
    path = MODELS / "posenet075_coral_td_353x481_decoder/posenet_mobilenet_v1_075_353_481_16_quant_decoder.tflite"
    with pytest.raises(UnsupportedError, match="PosenetDecoderOp") as caught:
        tensorferry.convert(path, tmp_path / "again.tflite")
    assert "--outputs" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


@needs_models
@pytest.mark.parametrize("model", CONVERTED)
def test_a_lite_file_converts_to_both_targets(model, tmp_path):
    targets = [tmp_path / "again.tflite"] + ([tmp_path / "web"] if tfjs.available() is None else [])
    report = tensorferry.convert(MODELS / model, targets)
    assert report.verified
    feeds = feeds_for(select(readers.read(MODELS / model)))
    with litert.LiteRtModel(MODELS / model) as before, litert.LiteRtModel(tmp_path / "again.tflite") as after:
        assert quantisation_of(before) == quantisation_of(after)
    first, again = (litert.run(path, feeds).outputs for path in (MODELS / model, tmp_path / "again.tflite"))
    for name, array in first.items():
        atol = 2 if array.dtype.kind in "iu" else (0.02 if "quant" in model else 1e-3) * np.abs(array).max()
        np.testing.assert_allclose(again[name].astype(float), array, rtol=0, atol=atol)


# -- files of our own ----------------------------------------------------------------------------------------------

CASES = [case for case in op_harness.all_cases() if op_harness.can_express(case, "tflite")]
SHARE = 5
"""Each so many-th example, which are some of every operator."""


@pytest.mark.parametrize("part", range(4))
def test_what_is_written_is_read_back(part, tmp_path):
    """The op examples as files: what is read of them computes what LiteRT computes, and every operator is met."""
    compared = 0
    for case in CASES[::SHARE][part::4]:
        path = tmp_path / "net.tflite"
        try:
            graph = op_harness.target_graph(case, "tflite", pipeline=True)
            theirs = op_harness.run_litert(case, graph, path, xnnpack=False)
        except FerryError:
            continue
        read = select(readers.read(path))
        if drawn_outputs(read):
            continue
        ours = evaluate_graph(read, op_harness.fed(case, graph))
        for port, array in zip(graph.outputs, theirs, strict=True):
            op_harness.assert_close([ours[port.name]], [array], max(1e-4, case.example.tolerance))
        compared += 1
    assert compared > 60


# -- damaged files -------------------------------------------------------------------------------------------------


def small_net(path):
    graph = Graph("net")
    x = ops.add(graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": (1, 4, 4, 2)}, name="x").output
    graph.inputs = [Port("x", x)]
    kernel = graph.constant(np.ones((3, 3, 2, 3), np.float32), "kernel")
    y = ops.add(graph, "Conv2D", [x, kernel], {"strides": [1, 1, 1, 1], "padding": "SAME"}, name="conv").output
    words = graph.constant(np.array([b"a", b"bc"], object), "words")
    graph.outputs = [Port("y", ops.add(graph, "Relu", [y], name="y").output)]
    graph.outputs.append(Port("w", ops.add(graph, "Identity", [words], name="w").output))
    write_tflite(graph, path)
    return path.read_bytes()


def read_or_refuse(content, path):
    path.write_bytes(content)
    try:
        graph = select(readers.read(path))
        for node in graph.nodes:
            if node.op == "Const" and node["value"].size < 1 << 16:
                node["value"].array()
    except FerryError:
        pass


def test_cut_files_are_refused_or_read(tmp_path):
    content = small_net(tmp_path / "net.tflite")
    for length in range(8, len(content), 3):
        read_or_refuse(content[:length], tmp_path / "cut.tflite")


@pytest.mark.parametrize("seed", range(4))
def test_files_with_other_bytes_are_refused_or_read(seed, tmp_path):
    content = bytearray(small_net(tmp_path / "net.tflite"))
    random = np.random.default_rng(seed)
    for _ in range(500):
        changed = bytearray(content)
        for place in random.integers(8, len(content), random.integers(1, 4)):
            changed[place] = random.choice([0, 1, 127, 128, 255, int(random.integers(256))])
        read_or_refuse(bytes(changed), tmp_path / "changed.tflite")


def test_tables_that_stand_for_each_other_again_and_again_end(tmp_path):
    """Every subgraph calls the next twice: as a tree it would have 2 ** 40 operators."""
    file = LiteFile()
    for number in range(40):
        graph = file.graph(f"g{number}")
        x = file.tensor((2,), graph=graph, role="input", name="x")
        y, z = (file.tensor((2,), graph=graph, name=name) for name in "yz")
        for one, other in ((x, y), (y, z)):
            file.operator("CALL", [one], [other], {"subgraph": number + 1 if number < 39 else 39}, graph=graph)
        file.subgraphs[graph]["outputs"].append(z)
    with pytest.raises(SourceError):
        readers.read(file.write(tmp_path / "net.tflite"))
    file = LiteFile()
    for number in range(30):
        graph = file.graph(f"g{number}")
        x = file.tensor((2,), graph=graph, role="input", name="x")
        y, z = (file.tensor((2,), graph=graph, name=name) for name in "yz")
        if number < 29:
            file.operator("CALL", [x], [y], {"subgraph": number + 1}, graph=graph)
            file.operator("CALL", [y], [z], {"subgraph": number + 1}, graph=graph)
        else:
            file.operator("ABS", [x], [z], {}, graph=graph)
        file.subgraphs[graph]["outputs"].append(z)
    with pytest.raises(SourceError, match="too often"):
        readers.read(file.write(tmp_path / "net.tflite"))
