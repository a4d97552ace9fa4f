"""The job the project grew from: PoseNet with its published weights, on photographs, in every runtime."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import tensorferry
from tensorferry.runtimes import litert, tfjs
from tensorferry.zoo.catalog import Wanted, build

MODELS = Path(os.environ.get("TENSORFERRY_MODELS") or "../shared/models")
WEIGHTS = MODELS / "posenet075_tfjs_manifest"
PHOTOGRAPHS = sorted((MODELS / "posenet_ref_outputs").glob("*.npz"))
OUTPUTS = ("heatmap", "offset_2", "displacement_fwd_2", "displacement_bwd_2")

pytestmark = pytest.mark.skipif(not WEIGHTS.is_dir(), reason=f"the published weights are not in {WEIGHTS}")

# Relative to the largest value of TensorFlow's own output. TensorFlow's converter gives a file with the same figures in LiteRT
# to two digits (2.7e-5 at worst, on test_couple): it is the arithmetic of the runtime, not of the conversion.
LITERT_TOLERANCE = 3e-5
TFJS_TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("posenet")
    build("posenet", folder / "posenet.pb", Wanted(weights=str(WEIGHTS)))
    targets = [folder / "posenet.tflite", folder / "web"] if tfjs.available() is None else [folder / "posenet.tflite"]
    report = tensorferry.convert(folder / "posenet.pb", targets, inputs=["image"], outputs=OUTPUTS)
    return folder, report


def test_both_targets_are_verified_with_as_few_operators_as_tensorflow_makes(converted):
    _, report = converted
    assert report.verified
    assert report.targets[0].operators == {"CONV_2D": 18, "DEPTHWISE_CONV_2D": 13, "LOGISTIC": 1}
    assert report.targets[0].bytes < 5_046_224, "the file of TensorFlow 2.21's converter"
    for web in report.targets[1:]:
        assert web.operators == {"_FusedConv2D": 18, "FusedDepthwiseConv2dNative": 13}


@pytest.mark.parametrize("photograph", PHOTOGRAPHS, ids=lambda path: path.stem)
def test_photographs_give_what_tensorflow_gave(converted, photograph):
    folder, report = converted
    with np.load(photograph) as expected:
        image = {"image": expected["image"]}
        runs = [(litert.run(folder / "posenet.tflite", image), LITERT_TOLERANCE)]
        if len(report.targets) > 1:
            runs.append((tfjs.run(folder / "web", image), TFJS_TOLERANCE))
        for run, tolerance in runs:
            assert tuple(run.outputs) == OUTPUTS
            for name in OUTPUTS:
                error = np.abs(run.outputs[name] - expected[name]).max() / np.abs(expected[name]).max()
                assert error < tolerance, (run.runtime, name)
