"""The measuring tools measure what they say, on things whose size is known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import measuring
import model_table

MEBIBYTE = 1 << 20


MEASURE = f"""
import sys
sys.path.insert(0, {str(Path(measuring.__file__).parent)!r})
import measuring
for code in ("pass", "import time; block = b'x' * (200 << 20); time.sleep(0.3)"):
    run = measuring.run((sys.executable, "-c", code))
    print(run.seconds, run.peak, run.code)
"""
"""In a process of its own: the kernel charges a child with what its parent held when it was started, and pytest holds much."""


def test_a_process_is_charged_for_its_time_and_memory() -> None:
    said = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True).stdout.split()
    (_, small, first), (seconds, large, second) = said[:3], said[3:]
    assert (first, second) == ("0", "0")
    assert float(seconds) > 0.3
    assert int(small) < 60 * MEBIBYTE
    assert 200 * MEBIBYTE < int(large) < 260 * MEBIBYTE


def test_what_a_command_says_is_kept() -> None:
    assert measuring.run((sys.executable, "-c", "print('done')")).output == "done\n"


def test_a_failing_command_ends_the_series() -> None:
    failed = measuring.median_run((sys.executable, "-c", "import sys; sys.exit('no')"), 3)
    assert (failed.code, failed.errors) == (1, "no\n")


@pytest.mark.parametrize(
    ("code", "said", "word"),
    [
        (0, {"targets": [{"operator_count": 3, "check": {"status": "verified", "outputs": [{"relative": 2e-6}]}}]}, "verified"),
        (0, {"targets": [{"check": {"status": "not verified", "reason": "no runtime"}}]}, "not verified"),
        (1, {"what": "it does not compute what the source computes"}, "wrong"),
        (2, {"problems": [{"op": "Mfcc", "why": "unknown"}, {"op": "Mfcc", "why": "unknown"}]}, "refused"),
        (2, {"what": "'x' is not a model"}, "refused"),
    ],
)
def test_the_table_of_models_says_what_the_report_says(code: int, said: dict[str, object], word: str) -> None:
    assert model_table.judge(code, said)[0].startswith(word)


def test_vgg_has_the_parameters_of_the_paper() -> None:
    from make_vgg import build_vgg  # noqa: PLC0415
    from tensorferry.inspection import inspect_graph  # noqa: PLC0415

    inspection = inspect_graph(build_vgg(), path="vgg16.pb", size=0)
    assert inspection.parameters == 138_357_544
    assert sum(layer.parameters for layer in inspection.layers) == 138_357_544
    assert len(inspection.layers) == 16
    # 3x3 convolutions on 224, 112, 56, 28 and 14 squares, then three matrix products
    convolutions = 9 * sum(size * size * products for size, products in VGG_SQUARES)
    assert inspection.macs == convolutions + 25088 * 4096 + 4096 * 4096 + 4096 * 1000


VGG_SQUARES = (
    (224, 3 * 64 + 64 * 64),
    (112, 64 * 128 + 128 * 128),
    (56, 128 * 256 + 2 * 256 * 256),
    (28, 256 * 512 + 2 * 512 * 512),
    (14, 3 * 512 * 512),
)
"""Side, and input times output channels summed over the block's convolutions."""


def test_random_weights_are_the_same_at_each_reading() -> None:
    from make_vgg import RandomTensor  # noqa: PLC0415

    tensor = RandomTensor("weights", (3, 300, 1000))
    assert b"".join(tensor.chunks(1000)) == b"".join(tensor.chunks()) == tensor.array().tobytes()
    assert tensor.array().std() == pytest.approx((2 / 900) ** 0.5, rel=0.01)
    assert b"".join(RandomTensor("others", (3, 300, 1000)).chunks()) != tensor.array().tobytes()
