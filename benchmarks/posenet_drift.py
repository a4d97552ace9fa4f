"""How far key points move when PoseNet is quantised: FLOAT.tflite QUANTISED.tflite ... on photographs, the first as reference.

A key point counts where the float file's score is above 0.5. Its drift is told in pixels of the model's input and of the picture.
It "jumps" when its best cell is another one although the float heatmap's best cell led the next local maximum by more than 0.1.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tensorferry.calibration.pictures import find_pictures, fit, read_pixels
from tensorferry.pose import Heads, decode_single, find_heads
from tensorferry.pose.drifting import LEAST_SCORE, movements
from tensorferry.runtimes.litert import LiteRtModel
from tensorferry.tensor import Array

SIZE = 337
LEAD = 0.1


@dataclass(frozen=True, slots=True)
class Drift:
    """Of one file against the float one, over all pictures. `moved` are pixels, one for each key point that counts."""

    moved: Array
    jumps: int

    def as_dict(self) -> dict[str, Any]:
        median, high = np.percentile(self.moved, [50, 95])
        return {
            "median": round(float(median), 2),
            "p95": round(float(high), 2),
            "max": round(float(self.moved.max()), 2),
            "jumps": self.jumps,
        }


def prepare(path: Path, size: int = SIZE) -> tuple[Array, tuple[int, int]]:
    """The whole picture stretched to size x size, bilinear, half-pixel centres, no antialias; x / 127.5 - 1. And its own size."""
    pixels = read_pixels(path)
    return (fit(pixels, (size, size), "stretch") / 127.5 - 1)[None].astype(np.float32), (pixels.shape[1], pixels.shape[0])


def run(model: Path, images: Iterable[Array]) -> list[Heads]:
    """The heads for each image."""
    with LiteRtModel(model) as runtime:
        (slot,) = runtime.inputs
        return [find_heads(runtime.run_real({slot.name: image}), *image.shape[1:3]) for image in images]


def compare(float_heads: list[Heads], heads: list[Heads], sizes: list[tuple[int, int]] | None = None) -> Drift:
    """In pixels of the model's input, or of the pictures whose sizes are given."""
    moved, jumps = [], 0
    for number, (one, other) in enumerate(zip(float_heads, heads, strict=True)):
        scale = (1.0, 1.0) if sizes is None else (sizes[number][0] / SIZE, sizes[number][1] / SIZE)
        poses = [decode_single(each).scaled(*scale) for each in (one, other)]
        moved += movements(*poses)
        for part, before in enumerate(poses[0].keypoints):
            if before.score > LEAST_SCORE:
                cells = [int(each.scores[..., part].argmax()) for each in (one, other)]
                jumps += _leads(one.scores[..., part]) and cells[0] != cells[1]
    return Drift(np.asarray(moved), jumps)


def _leads(scores: Array) -> bool:
    """Whether the best cell is more than LEAD above the next local maximum."""
    padded = np.pad(scores, 1, constant_values=-1)
    highest = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).max((-1, -2))
    peaks = np.sort(scores[scores >= highest])
    return len(peaks) < 2 or bool(peaks[-1] - peaks[-2] > LEAD)


def pictures_in(folders: Iterable[Path]) -> list[Path]:
    return sorted(each for folder in folders for each in find_pictures(folder))


def main(float_file: Path, others: list[Path], folders: list[Path]) -> Mapping[str, Any]:
    pictures = [prepare(each) for each in pictures_in(folders)]
    if not pictures:
        sys.exit("no pictures there")
    images, sizes = [each[0] for each in pictures], [each[1] for each in pictures]
    reference = run(float_file, images)
    found = {}
    for each in others:
        heads = run(each, images)
        found[each.name] = {
            "bytes": each.stat().st_size,
            "input_pixels": compare(reference, heads).as_dict(),
            "picture_pixels": compare(reference, heads, sizes).as_dict(),
        }
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("float_file", type=Path)
    parser.add_argument("others", type=Path, nargs="+")
    parser.add_argument("--pictures", type=Path, nargs="+", required=True, help="folders of photographs")
    arguments = parser.parse_args()
    print(json.dumps(main(arguments.float_file, arguments.others, arguments.pictures), indent=1))
