"""TensorFlow Lite files as a source: what is read of one computes what LiteRT computes of it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import tensorferry
from tensorferry import readers
from tensorferry.readers.selection import select
from tensorferry.runtimes import litert
from tensorferry.runtimes.reference import evaluate_graph

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


@needs_models
@pytest.mark.parametrize("model", ["tfm_hello_world/hello_world_int8.tflite", "mlperf_kws_tflite/kws_ref_model_float32.tflite"])
def test_a_lite_file_converts_to_both_targets(model, tmp_path):
    report = tensorferry.convert(MODELS / model, [tmp_path / "again.tflite"])
    assert report.verified
    feeds = feeds_for(select(readers.read(MODELS / model)))
    first, again = (litert.run(path, feeds).outputs for path in (MODELS / model, tmp_path / "again.tflite"))
    for name, array in first.items():
        np.testing.assert_allclose(again[name], array, rtol=0, atol=1 if array.dtype.kind == "i" else 1e-3)
