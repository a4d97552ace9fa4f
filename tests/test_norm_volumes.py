"""Batch normalisation of volumes: TensorFlow leaves its last outputs unset there, which the generic test would compare."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from op_harness import Case, assert_close, build_graph, evaluate_graph, feeds, run_litert, run_tensorflow
from tensorferry import ops
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Example
from tensorferry.passes.pipelines import finish, prepare

pytest.importorskip("tensorflow", reason="TensorFlow is the oracle")


@pytest.mark.parametrize("training", [False, True])
def test_a_volume_is_normalised_as_tensorflow_does(training: bool, tmp_path: Path) -> None:
    spec = ops.find("FusedBatchNormV3")
    assert spec is not None
    scale, offset, mean = sample(3, 2)
    inputs = (sample(2, 3, 4, 5, 2), scale, offset, mean, np.square(mean) + np.float32(0.1))
    attrs = {"is_training": training, "epsilon": 0.001, "data_format": "NDHWC"}
    case = Case("volume", spec, Example(inputs, attrs, (1, 2, 3, 4)))
    expected = run_tensorflow(case)[:1]
    graph, _ = build_graph(case)
    graph.outputs = graph.outputs[:1]
    assert_close(evaluate_graph(graph, feeds(case)), expected, 5e-6)
    prepare(graph)
    finish(graph, "tflite")
    assert_close(run_litert(case, graph, tmp_path / "model.tflite"), expected, 5e-6)
