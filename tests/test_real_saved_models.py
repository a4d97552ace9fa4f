"""All SavedModels and checkpoints that others trained: each converts to both targets and verifies, or says what a target lacks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import tensorferry
from tensorferry.errors import OptionError, UnsupportedError
from tensorferry.runtimes import litert, tfjs

MODELS = Path(os.environ.get("TENSORFERRY_MODELS") or Path(__file__).parent.parent.parent / "shared" / "models")

pytestmark = [
    pytest.mark.skipif(not MODELS.is_dir(), reason=f"there is no folder of real models at {MODELS}"),
    pytest.mark.skipif(litert.available() is not None, reason="LiteRT is not installed"),
]

SAVED: dict[str, dict[str, Any]] = {
    "basic_pitch_sm": {},
    "cifar_saved_model": {},
    "counter_sm": {"signature": "all"},
    "dtln_sm": {},
    "half_plus_three": {"signature": "all"},
    "half_plus_two_tf1": {"signature": "all"},
    "half_plus_two_tf2": {"signature": "all"},
    "kws_mlperf_tiny_sm": {},
    "mnist_conv_saved_model": {},
    "mnist_lr_saved_model": {},
    "model_matmul": {},
    "model_types": {},
    "objdetect_yingshaoxo_sm": {},
    "rust_regression_sm": {"signature": "all"},
    "tf2onnx_redundant_inputs": {},
    "tf2onnx_regression_sm": {},
    "tfjsnode_int64_multiply": {},
    "tfjsnode_model_multi_output": {},
    "tfjsnode_module_with_multiple_signatures": {"signature": "all"},
    "tfjsnode_times_three_float": {},
    "tfjsnode_times_two_int": {},
    "tfjsnode_uint8_multiply": {},
}
CHECKPOINTS = {
    "cifar_ckpt": ["add_1"],
    "mtcnn_all_ckpt": None,
    "posenet050_ckpt": None,
    "tf2onnx_regression_ckpt": ["pred"],
}
LACKING = {
    "model_primitive": ({"AddV2"}, {"AddV2"}),
    "model_string": ({"ReduceJoin", "StringSplit"}, {"ReduceJoin"}),
}
"""Model -> the ops on texts that TensorFlow Lite and TensorFlow.js lack."""


def test_none_is_left_out() -> None:
    manifest = (line.split("\t") for line in (MODELS / "MANIFEST.tsv").read_text().splitlines())
    assert {row[0] for row in manifest if row[1] == "saved_model"} == SAVED.keys() | LACKING.keys()


@pytest.mark.parametrize("name", [*SAVED, *CHECKPOINTS])
def test_it_converts_and_verifies(name: str, tmp_path: Path) -> None:
    source = next(iter(sorted((MODELS / name).rglob("*.meta"))), MODELS / name) if name in CHECKPOINTS else MODELS / name
    targets = [tmp_path / "model.tflite"] + ([tmp_path / "web"] if tfjs.available() is None else [])
    report = tensorferry.convert(source, targets, **SAVED.get(name, {}))
    assert report.verified, [target.check.reason for target in report.targets]
    if CHECKPOINTS.get(name):
        assert [port.name for port in report.outputs] == CHECKPOINTS[name]
    assert tensorferry.inspect(source).as_dict()


@pytest.mark.parametrize("name", LACKING)
def test_what_a_target_lacks_is_named(name: str, tmp_path: Path) -> None:
    for target, lacking in zip(("model.tflite", "web"), LACKING[name], strict=True):
        with pytest.raises(UnsupportedError) as caught:
            tensorferry.convert(MODELS / name, tmp_path / target)
        assert {problem.op for problem in caught.value.problems} == lacking
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["counter_sm", "rust_regression_sm"])
def test_a_choice_between_signatures_is_the_users(name: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="several signatures"):
        tensorferry.convert(MODELS / name, tmp_path / "model.tflite")
    assert tensorferry.inspect(MODELS / name).as_dict()
