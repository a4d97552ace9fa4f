"""Poses in pictures by a model in any format: the model is opened in the runtime that runs it, pictures are read one at a time."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tensorferry import readers
from tensorferry.calibration.inputs import inputs_of
from tensorferry.calibration.pictures import find_pictures, read_pixels
from tensorferry.conversion import convert, load
from tensorferry.errors import OptionError, TargetError
from tensorferry.pose.drawing import draw_poses, side_by_side
from tensorferry.pose.drifting import movements
from tensorferry.pose.estimating import Estimator, Seeking
from tensorferry.pose.heads import name_heads
from tensorferry.pose.records import Pose
from tensorferry.runtimes import tfjs
from tensorferry.runtimes.litert import LiteRtModel
from tensorferry.tensor import Array
from tensorferry.writers.atomic import atomic_file

PathLike = str | os.PathLike[str]
Progress = Callable[[int, int], None]
"""Told how many pictures are done, and of how many."""

SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class Drift:
    """How far key points lie from the first model's, in pixels of the picture; those count whose score there is above 0.5."""

    median: float
    p95: float
    largest: float

    @classmethod
    def between(cls, reference: Sequence[Pose], poses: Sequence[Pose]) -> Drift | None:
        """None where nothing can be compared. Poses are paired by the nearest middle."""
        moved = []
        for pose in reference:
            other = min(poses, key=lambda each: _apart(pose, each), default=None)
            if other is not None:
                moved += movements(pose, other)
        if not moved:
            return None
        median, high = np.percentile(moved, [50, 95])
        return cls(float(median), float(high), max(moved))

    def as_dict(self) -> dict[str, float]:
        return {"median": round(self.median, 2), "p95": round(self.p95, 2), "max": round(self.largest, 2)}


def _apart(one: Pose, other: Pose) -> float:
    ends = [np.mean([(each.x, each.y) for each in pose.keypoints], axis=0) for pose in (one, other)]
    return float(np.hypot(*(ends[0] - ends[1])))


@dataclass(frozen=True, slots=True)
class Finding:
    """What one model sees in one picture."""

    picture: str
    model: str
    size: tuple[int, int]
    poses: tuple[Pose, ...]
    drift: Drift | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "picture": self.picture,
            "model": self.model,
            "width": self.size[0],
            "height": self.size[1],
            "poses": [each.as_dict() for each in self.poses],
            "drift": self.drift.as_dict() if self.drift else None,
        }


@dataclass(slots=True)
class Posing:
    """All findings, what was written, and how fast it went: frames a second of the model alone, and the share of decoding and
    drawing in the time of a frame."""

    findings: list[Finding] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    speeds: dict[str, float] = field(default_factory=dict)
    overhead: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return {
            "findings": [each.as_dict() for each in self.findings],
            "written": self.written,
            "frames_per_second": {name: round(speed, 2) for name, speed in self.speeds.items()},
            "overhead": round(self.overhead, 4),
        }


def find_poses(
    models: Sequence[PathLike],
    pictures: PathLike,
    output: PathLike | None = None,
    seeking: Seeking | None = None,
    *,
    progress: Progress | None = None,
) -> Posing:
    """Find and draw poses. `output` is a folder, or a file (.png, .jpg) for one picture; several models are drawn side by side, and
    their drift from the first is told. Beside each drawing lies a .json file.

    FerryError for a model that is no PoseNet, a picture that cannot be read, a target that cannot be written.
    """
    paths = find_pictures(Path(pictures))
    target = None if output is None else _target_of(Path(output), Path(pictures), paths)
    seeking = seeking or Seeking()
    result, drawing = Posing(), 0.0
    with ExitStack() as stack:
        estimators = [stack.enter_context(open_estimator(model, seeking)) for model in models]
        for number, path in enumerate(paths):
            pixels = read_pixels(path)
            found = [tuple(each.find(pixels)) for each in estimators]
            size = (pixels.shape[1], pixels.shape[0])
            several = len(estimators) > 1
            here = [
                Finding(str(path), each.name, size, poses, Drift.between(found[0], poses) if several and place else None)
                for place, (each, poses) in enumerate(zip(estimators, found, strict=True))
            ]
            result.findings += here
            if target is not None:
                begun = time.perf_counter()
                drawn = side_by_side([draw_poses(pixels, each.poses, caption=_caption(each) if several else "") for each in here])
                drawing += time.perf_counter() - begun
                result.written += _write(target(path), drawn, here)
            if progress is not None:
                progress(number + 1, len(paths))
        result.speeds = {each.name: each.pictures / each.running for each in estimators if each.running}
        running = sum(each.running for each in estimators)
        others = sum(each.decoding for each in estimators) + drawing
        result.overhead = others / (running + others) if running + others else 0.0
    return result


def _caption(finding: Finding) -> str:
    drift = "" if finding.drift is None else f"  drift {finding.drift.median:.1f}, p95 {finding.drift.p95:.1f} px"
    return f"{finding.model}{drift}"


# -- the model -----------------------------------------------------------------------------------------------------


@contextmanager
def open_estimator(model: PathLike, seeking: Seeking) -> Iterator[Estimator]:
    """The model ready to run. What is neither TensorFlow Lite nor TensorFlow.js is converted first, into a place of its own."""
    path, name = Path(model), Path(model).name or str(model)
    with ExitStack() as stack:
        graph = load(path)
        name_heads({port.name: _sizes(port.value.shape) for port in graph.outputs})  # refuses what is no PoseNet before it runs
        kind = readers.detect(path) if path.exists() else ""
        if kind.startswith("tfjs") and kind != "tfjs-manifest":
            session = stack.enter_context(_session())
            yield Estimator.of(name, lambda feeds: session.run(path, feeds).outputs, inputs_of(graph), seeking)
            return
        if kind != "tflite":
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            convert(model, folder / "model.tflite", verify=False)
            path = folder / "model.tflite"
        runtime = stack.enter_context(LiteRtModel(path))
        yield Estimator.of(name, runtime.run_real, inputs_of(graph), seeking)


def _sizes(shape: Any) -> list[int]:
    return [size if isinstance(size, int) else -1 for size in shape or ()]


@contextmanager
def _session() -> Iterator[tfjs.Session]:
    with tfjs.Session() as session:
        yield session


# -- targets -------------------------------------------------------------------------------------------------------


def _target_of(output: Path, given: Path, paths: Sequence[Path]) -> Callable[[Path], Path]:
    """Where the drawing of a picture goes: the file itself, or the same name in the folder."""
    if output.suffix.lower() in SUFFIXES:
        if len(paths) > 1:
            raise OptionError(f"{len(paths)} drawings do not go into one file", remedy="name a folder with -o")
        return lambda _path: output
    if output.suffix and not output.is_dir():
        raise OptionError(
            f"drawings cannot be written as '{output.suffix}'",
            remedy=f"name a folder, or a file that ends in {', '.join(SUFFIXES)}",
        )
    root = given if given.is_dir() else given.parent
    if output.exists() and output.resolve() == root.resolve():
        raise TargetError(f"the folder '{output}' holds the pictures", remedy="name another one: nothing is overwritten")
    return lambda path: (output / path.relative_to(root)).with_suffix(".png")


def _write(target: Path, drawn: Array, findings: Sequence[Finding]) -> list[str]:
    """The drawing, and what is in it as JSON."""
    from PIL import Image  # noqa: PLC0415 - an extra

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(f"'{target.parent}' cannot be made", why=str(error), remedy="choose another folder") from error
    told = target.with_suffix(".json")
    sources = [finding.picture for finding in findings]
    with atomic_file(target, sources) as file:
        Image.fromarray(drawn).save(file, "PNG" if target.suffix.lower() == ".png" else "JPEG", quality=92)
    with atomic_file(told, sources) as file:
        file.write(json.dumps([finding.as_dict() for finding in findings], indent=1).encode())
    return [str(target), str(told)]
