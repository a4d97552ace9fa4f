"""Frozen graphs that others trained: those made of known ops must convert and verify, the others must say what they lack."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import tensorferry
from tensorferry.errors import UnsupportedError
from tensorferry.runtimes import tfjs

MODELS = Path(os.environ.get("TENSORFERRY_MODELS") or "../shared/models")

pytestmark = pytest.mark.skipif(not MODELS.is_dir(), reason=f"there is no folder of real models at {MODELS}")

VERIFIED = {
    "dtln_sm": {},
    "posenet050_frozen_pb/model-mobilenet_v1_050.pb": {},
    "openpose_mobilenet_v2_small/graph_opt.pb": {},
    "char_rnn_receipts/frozen_model_mobile.pb": {},
    "cifar_frozen/frozen_model.pb": {},
    "cifar_frozen_variadic/frozen_model_variadic_input_shape.pb": {},
    "tf2onnx_ae0/frozen.pb": {},
    "tf2onnx_fc_layers/frozen.pb": {},
    "tf2onnx_regression_pb/frozen.pb": {"input_shapes": {"X": (4,)}},
    "mp_tf_graph_def/frozen_graph_def.pb": {},
    "rust_addition_pb/model.pb": {},
    "edge_ai_crespum/frozen_model.pb": {},
    "kws_arm_ds_cnn_S/DS_CNN_S.pb": {"inputs": ["decoded_sample_data", "decoded_sample_data:1"]},
    "kws_arm_gru_S/GRU_S.pb": {"inputs": ["decoded_sample_data", "decoded_sample_data:1"]},
}

MOST_OPERATORS = {"openpose_mobilenet_v2_small/graph_opt.pb": 567, "posenet050_frozen_pb/model-mobilenet_v1_050.pb": 32}
"""What TensorFlow 2.21's converter makes of them."""


@pytest.mark.parametrize("model", VERIFIED)
def test_it_converts_and_is_verified(model, tmp_path):
    targets = [tmp_path / "model.tflite"] + ([tmp_path / "web"] if tfjs.available() is None else [])
    report = tensorferry.convert(MODELS / model, targets, **VERIFIED[model])
    assert report.verified, [target.check.reason for target in report.targets]
    if model in MOST_OPERATORS:
        assert report.targets[0].operator_count <= MOST_OPERATORS[model]


def test_all_that_a_model_lacks_is_named_once(tmp_path):
    with pytest.raises(UnsupportedError) as caught:
        tensorferry.convert(MODELS / "kws_arm_ds_cnn_S/DS_CNN_S.pb", tmp_path / "model.tflite")
    assert {problem.op for problem in caught.value.problems} == {"DecodeWav"}
    assert list(tmp_path.iterdir()) == []
