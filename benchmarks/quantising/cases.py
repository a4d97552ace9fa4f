"""The models, and what goes into them: pieces of photographs in the size and range that each was trained with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from posenet_drift import pictures_in, prepare
from tensorferry.tensor import Array

MODELS = Path(__file__).parents[3] / "shared" / "models"
FOLDERS = ("posenet_img_coral_testimage", "posenet_img_couple", "posenet_img_set")
SEED = 7
CALIBRATING, JUDGING = 100, 200


@dataclass(frozen=True, slots=True)
class Case:
    """One model. `shape` [h w c] of its input; a pixel v becomes v * scale + shift; without pixels the input is drawn from a normal
    distribution of deviation `scale`. `poses`: judged by key points, else by the highest output."""

    name: str
    source: str
    shape: tuple[int, int, int]
    scale: float
    shift: float = 0.0
    pixels: bool = True
    poses: bool = False


CASES = (
    Case("posenet", "posenet075_tfjs_manifest", (337, 337, 3), 1 / 127.5, -1.0, poses=True),
    Case("mlperf_resnet8", "mlperf_resnet8_h5/*.h5", (32, 32, 3), 1.0),
    Case("mlperf_vww", "mlperf_vww_h5/*.h5", (96, 96, 3), 1 / 255),
    Case("mlperf_kws", "kws_mlperf_tiny_sm", (49, 10, 1), 20.0, pixels=False),
    Case("mlperf_strww", "mlperf_strww_h5/*.h5", (30, 1, 40), 1.0, pixels=False),
    Case("mobilenet_v2_nsfwjs", "nsfwjs_mobilenet_v2", (224, 224, 3), 1 / 255),
    Case("mobilenet_v1_025", "objdetect_yingshaoxo_sm", (224, 224, 3), 1 / 255),
    Case("xception_gender", "gender_mini_xception_h5/*.hdf5", (64, 64, 1), 1 / 127.5, -1.0),
    Case("xception_fer2013", "fer2013_mini_xception_h5/*.hdf5", (64, 64, 1), 1 / 127.5, -1.0),
    Case("xception_kdef", "kdef_tiny_xception_h5/*.hdf5", (64, 64, 1), 1 / 127.5, -1.0),
)


def photographs() -> list[Path]:
    return pictures_in(MODELS / folder for folder in FOLDERS)


def samples_of(case: Case, count: int, *, judging: bool) -> Array:
    """[n, h, w, c] float32. Pieces to judge by come from other photographs than those to calibrate with; poses from whole ones."""
    if case.poses:
        return np.concatenate([prepare(path)[0] for path in photographs()])
    generator = np.random.default_rng([SEED, judging])
    if not case.pixels:
        return generator.normal(0, case.scale, (count, *case.shape)).astype(np.float32)
    chosen = [path for number, path in enumerate(photographs()) if (number % 3 == 0) == judging]
    pieces = np.stack([piece for _, piece in zip(range(count), _pieces(chosen, case.shape, generator), strict=False)])
    return (pieces * case.scale + case.shift).astype(np.float32)


def _pieces(paths: Sequence[Path], shape: tuple[int, int, int], generator: np.random.Generator) -> Iterator[Array]:
    """Squares of random size and place, as bytes."""
    pictures = []
    for path in paths:
        with Image.open(path) as picture:
            pictures.append(picture.convert("RGB" if shape[2] == 3 else "L"))
    while True:
        picture = pictures[generator.integers(len(pictures))]
        side = int(min(picture.size) * generator.uniform(0.25, 1))
        left, top = (int(generator.integers(0, length - side + 1)) for length in picture.size)
        piece = picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
        yield np.asarray(piece, np.float32).reshape(shape)
