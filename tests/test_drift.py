"""The drift of key points: a measure worked out by hand, and a budget that the real PoseNet keeps."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import tensorferry
from tensorferry import ops
from tensorferry.errors import OptionError, SourceError
from tensorferry.ir import Graph, Port
from tensorferry.pose.drifting import drift, drift_of
from tensorferry.runtimes.litert import LiteRtModel
from tensorferry.tensor import DType
from tensorferry.zoo.catalog import Wanted, build

MODELS = Path(os.environ.get("TENSORFERRY_MODELS") or "../shared/models")
WEIGHTS = MODELS / "posenet075_tfjs_manifest"


def heads(cells, scores=None, offset=0.0):
    """All 17 parts, each in a cell of its own choice, 5 x 5 cells of 16 pixels."""
    heatmap = np.full((1, 5, 5, 17), 0.01, np.float32)
    for part, (row, column) in enumerate(cells):
        heatmap[0, row, column, part] = 0.9 if scores is None else scores[part]
    return {"heatmap": heatmap, "offset_2": np.full((1, 5, 5, 34), offset, np.float32)}


CELLS = [(part % 5, part // 5) for part in range(17)]


def test_a_shift_of_all_points_is_told_in_pixels():
    assert drift([heads(CELLS)], [heads(CELLS)], (65, 65)) == 0
    assert drift([heads(CELLS)], [heads(CELLS, offset=3.0)], (65, 65)) == pytest.approx(3 * np.sqrt(2))
    moved = [(row, (column + 1) % 5) for row, column in CELLS]
    assert drift([heads(CELLS)] * 2, [heads(CELLS), heads(moved)], (65, 65)) == pytest.approx(
        np.percentile([0] * 17 + [16 if column < 4 else 64 for _, column in CELLS], 95)
    )


def test_points_that_the_reference_does_not_see_do_not_count():
    scores = [0.9] + [0.4] * 16
    elsewhere = [CELLS[0], *[(4 - row, 4 - column) for row, column in CELLS[1:]]]
    assert drift([heads(CELLS, scores)], [heads(elsewhere, scores)], (65, 65)) == 0
    with pytest.raises(OptionError, match="no key point"):
        drift([heads(CELLS, [0.4] * 17)], [heads(CELLS)], (65, 65))


def test_results_that_are_no_numbers_have_drifted_for_ever():
    broken = heads(CELLS)
    broken["offset_2"][0, 0, 0, 0] = np.nan
    assert drift([heads(CELLS)], [broken], (65, 65)) == float("inf")


def graph_of(shape, channels):
    graph = Graph("net")
    image = ops.add(graph, "Placeholder", attrs={"dtype": DType.FLOAT32, "shape": shape}, name="image").output
    graph.inputs = [Port("image", image)]
    for name, count in channels.items():
        kernel = graph.constant(np.ones((1, 1, 3, count), np.float32), f"{name}/kernel")
        value = ops.add(graph, "Conv2D", [image, kernel], {"strides": [1, 1, 1, 1], "padding": "SAME"}, name=name).output
        graph.outputs.append(Port(name, value))
    return graph


def test_the_measure_asks_for_posenet_and_its_size():
    assert drift_of(graph_of((1, 65, 65, 3), {"heatmap": 17, "offset": 34}))([heads(CELLS)], [heads(CELLS)]) == 0
    with pytest.raises(SourceError, match="no PoseNet"):
        drift_of(graph_of((1, 65, 65, 3), {"scores": 10}))
    with pytest.raises(OptionError, match="size is open"):
        drift_of(graph_of((1, "h", "w", 3), {"heatmap": 17, "offset": 34}))


def test_a_drift_is_a_budget_of_its_own():
    for wrong in ({"max_drift": 0.0}, {"max_drift": 1.0, "max_error": 1.0}, {"max_drift": 1.0, "calibrate": None}):
        with pytest.raises(OptionError):
            tensorferry.convert("net.pb", "net.tflite", **{"quantize": "int8", "calibrate": "photos", **wrong})


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason=f"the published weights are not in {WEIGHTS}")
def test_posenet_keeps_its_key_points(tmp_path):
    build("posenet", tmp_path / "posenet.pb", Wanted(weights=str(WEIGHTS)))
    outputs = ["heatmap", "offset_2"]
    tensorferry.convert(tmp_path / "posenet.pb", tmp_path / "float.tflite", outputs=outputs, verify=False)
    photographs = []
    for name in ("backpackman", "frisbee_2"):
        with np.load(MODELS / "posenet_ref_outputs" / f"{name}.npz") as stored:
            photographs.append(stored["image"])
    np.save(tmp_path / "photographs.npy", np.concatenate(photographs))
    about = {"outputs": outputs, "quantize": "int8", "calibrate": tmp_path / "photographs.npy", "verify": False}
    tensorferry.convert(tmp_path / "posenet.pb", tmp_path / "whole.tflite", **about)
    tensorferry.convert(tmp_path / "posenet.pb", tmp_path / "within.tflite", max_drift=1.0, **about)

    def run(name):
        with LiteRtModel(tmp_path / f"{name}.tflite") as model:
            return [{key: each.copy() for key, each in model.run({"image": image}).items()} for image in photographs]

    reference = run("float")
    assert drift(reference, run("within"), (337, 337)) <= 1.0 < drift(reference, run("whole"), (337, 337))
    whole, within = ((tmp_path / f"{name}.tflite").stat().st_size for name in ("whole", "within"))
    assert whole < within < 1.1 * whole
