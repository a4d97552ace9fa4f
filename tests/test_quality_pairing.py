"""Two files of one model are told from files of two, whatever their inputs are called."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tensorferry.errors import OptionError, SourceError
from tensorferry.pose.heads import name_heads
from tensorferry.quality import examine
from tensorferry.quality.files import LiteFile
from tensorferry.quality.pairing import pair_ends
from tensorferry.readers.tflite.model import TensorRecord

MODELS = Path(__file__).parents[2] / "shared" / "models"
FLOAT, INT8 = (MODELS / "mlperf_vww_tflite" / f"vww_96_{kind}.tflite" for kind in ("float", "int8"))
WORDS = MODELS / "mlperf_kws_tflite" / "kws_ref_model_float32.tflite"

pytestmark = pytest.mark.skipif(not (FLOAT.exists() and INT8.exists() and WORDS.exists()), reason="needs shared/models/mlperf_*")


def test_a_quantised_file_with_other_names_is_compared() -> None:
    quality = examine(FLOAT, INT8)
    assert [output.name for output in quality.outputs] == ["Identity"]
    assert 0.98 < quality.outputs[0].difference.cosine < 1


def test_files_of_two_models_are_refused() -> None:
    with pytest.raises(OptionError, match="do not have the same inputs") as caught:
        examine(FLOAT, WORDS)
    assert "[?, 96, 96, 3]" in str(caught.value) and "[?, 49, 10, 1]" in str(caught.value)


def test_what_fits_twice_is_refused_unless_names_tell() -> None:
    (record,) = LiteFile(FLOAT).ends("output").values()
    (image,) = LiteFile(FLOAT).ends("input").values()

    def pair(before: dict[str, TensorRecord], after: dict[str, TensorRecord]) -> dict[str, str]:
        return pair_ends(before, after, "output")

    assert pair({"a": record, "b": record}, {"b": record, "a": record}) == {"a": "a", "b": "b"}
    assert pair({"a": record, "b": image}, {"y": image, "x": record}) == {"a": "x", "b": "y"}
    with pytest.raises(OptionError):
        pair({"a": record, "b": record}, {"x": record, "y": record})
    with pytest.raises(OptionError):
        pair({"a": record}, {"a": record, "b": image})


def test_a_guess_of_how_pictures_go_in_is_told(tmp_path: Path) -> None:
    Image.fromarray(np.full((96, 96, 3), 90, np.uint8)).save(tmp_path / "grey.png")
    assert "x / 127.5 - 1" in examine(FLOAT, INT8, tmp_path).drawn_from


def test_open_sizes_are_told_as_open() -> None:
    with pytest.raises(SourceError, match=r"dense \[\?, 2\]"):
        name_heads({"dense": [0, 2]})


def test_mean_and_std_reach_the_samples(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)).save(tmp_path / "noise.png")
    said = ("--mean", "0", "--std", "255")

    def ask(*more: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "tensorferry", "quality", str(FLOAT), str(INT8), "--json", *more]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    found = ask("--samples", str(tmp_path), *said)
    assert found.returncode == 0, found.stderr
    assert "127.5" not in json.loads(found.stdout)["drawn_from"]
    refused = ask(*said)
    assert refused.returncode == 2
    assert "--samples" in refused.stdout + refused.stderr
