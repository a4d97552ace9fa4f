"""PoseNet judged on photographs that it was not calibrated with: six files, each calibrated on five and judged on the sixth.

    python -m quantising.leave_one_out WORK [MODE ...] [--options "..."]

WORK is the folder of `python -m quantising --only posenet`. `--options` go to `tensorferry convert` as they are;
`--calibrate-weights` among them gives samples to modes of weights, too.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from measuring import run
from posenet_drift import Drift, compare
from posenet_drift import run as heads_of
from quantising.cases import MODELS
from tensorferry.tensor import Array

HERE = Path(__file__).parent
OUTPUTS = "heatmap,offset_2,displacement_fwd_2,displacement_bwd_2"
MODES = ("dynamic", "int8", "int16x8")

Make = Callable[[str, int, Path], Path]
"""(mode, the picture left out, samples of the others) -> the file."""


def official(graph: Path, folder: Path, pictures: Path) -> Make:
    def make(mode: str, left_out: int, _samples: Path) -> Path:
        name = f"{mode}@{left_out}" if mode.startswith("int") else mode
        target = folder / f"official_{name}.tflite"
        if left_out == 0 or mode.startswith("int"):
            _do([sys.executable, HERE / "official.py", graph, folder, "image", OUTPUTS, pictures, name])
        return target

    return make


def ours(graph: Path, folder: Path, options: Sequence[str]) -> Make:
    def make(mode: str, left_out: int, samples: Path) -> Path:
        target = folder / f"ours_{mode}_{left_out}.tflite"
        words = [sys.executable, "-m", "tensorferry", "convert", graph, "-o", target, "--inputs", "image", "--outputs", OUTPUTS]
        calibrating = ["--calibrate", samples] if mode.startswith("int") or "--calibrate-weights" in options else []
        rest = [each for each in options if each != "--calibrate-weights"]
        _do([*words, "--quantize", mode, *calibrating, "--no-verify", *rest])
        return target

    return make


def reference_pictures() -> Array:
    """The photographs as the reference outputs were made of them: JPEGs taken apart by TensorFlow's faster method."""
    files = [np.load(path) for path in sorted((MODELS / "posenet_ref_outputs").glob("*.npz"))]
    return np.concatenate([file["image"] for file in files])


def _do(command: Sequence[str | Path]) -> None:
    done = run(command)
    if done.code:
        sys.exit(done.errors[-2000:] or f"exit code {done.code}")


def judge(mode: str, make: Make, pictures: Array, float_file: Path) -> dict[str, Any]:
    """Drift over all pictures, each judged with the file that has not seen it; size and seconds of the last one."""
    reference = heads_of(float_file, [each[None] for each in pictures])
    moved, jumps, size = [], 0, 0
    for left_out, picture in enumerate(pictures):
        samples = float_file.parent / f"without_{left_out}.npy"
        np.save(samples, np.delete(pictures, left_out, axis=0))
        made = make(mode, left_out, samples)
        drift = compare([reference[left_out]], heads_of(made, [picture[None]]))
        moved.append(drift.moved)
        jumps, size = jumps + drift.jumps, made.stat().st_size
    return {"bytes": size, **Drift(np.concatenate(moved), jumps).as_dict()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("modes", nargs="*", default=MODES)
    parser.add_argument("--options", default="")
    parser.add_argument("--ours-only", action="store_true")
    parser.add_argument("--reference-pixels", action="store_true", help="the arrays of ../shared/models/posenet_ref_outputs")
    arguments = parser.parse_args()
    folder = arguments.work / "posenet"
    pictures = reference_pictures() if arguments.reference_pixels else np.load(folder / "calibrating.npy")
    makers = {"Tensorferry": ours(folder / "frozen.pb", folder, shlex.split(arguments.options))}
    if not arguments.ours_only:
        all_of_them = folder / ("reference.npy" if arguments.reference_pixels else "calibrating.npy")
        np.save(all_of_them, pictures)
        makers["TFLiteConverter"] = official(folder / "frozen.pb", folder, all_of_them)
    for mode in arguments.modes:
        for tool, make in makers.items():
            print(mode, tool, json.dumps(judge(mode, make, pictures, folder / "official_float.tflite")), flush=True)
