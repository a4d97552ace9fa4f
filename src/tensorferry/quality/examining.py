"""From two files and what a user has of samples to the report on their difference."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tensorferry import readers
from tensorferry.calibration.inputs import inputs_of
from tensorferry.calibration.pixels import Preparation
from tensorferry.calibration.samples import open_samples
from tensorferry.errors import SourceError, TargetError
from tensorferry.ir import Graph
from tensorferry.quality.measuring import measure_quality
from tensorferry.quality.page import make_page
from tensorferry.quality.records import Quality
from tensorferry.sampling import sample_inputs
from tensorferry.tensor import Array
from tensorferry.writers.atomic import atomic_file

PathLike = str | os.PathLike[str]

RANDOM_SAMPLES = 8
"""How many are drawn where the user gives none."""


def examine(
    before: PathLike,
    after: PathLike,
    samples: PathLike | Iterable[Any] | None = None,
    preparation: Preparation | None = None,
    progress: Callable[[int], None] | None = None,
) -> Quality:
    """Compare a float TensorFlow Lite file with its quantised form on samples (as for calibration), or on random inputs.

    SourceError when one of the files is none; FerryError for samples that do not fit.
    """
    for path in (before, after):
        _check_kind(Path(path))
    graph = readers.read(before)
    if samples is None:
        return measure_quality(before, after, _random(graph), progress, "drawn at random: give --samples to judge by real ones")
    found = open_samples(samples, inputs_of(graph), preparation or Preparation())
    where = os.fspath(samples) if isinstance(samples, str | os.PathLike) else "samples given"
    return measure_quality(before, after, found, progress, "; ".join((where, *found.notices)))


def write_report(quality: Quality, target: PathLike) -> None:
    """The page into a file that appears whole or not at all. TargetError where it cannot be written."""
    if Path(target).suffix.lower() not in (".html", ".htm"):
        raise TargetError(f"the report '{target}' is a page", remedy="name a file that ends in .html, or ask for --json")
    with atomic_file(target) as file:
        file.write(make_page(quality).encode())


def _check_kind(path: Path) -> None:
    kind = readers.detect(path)
    if kind != "tflite":
        remedy = "convert it first: tensorferry convert MODEL -o float.tflite"
        raise SourceError(f"'{path}' is no TensorFlow Lite file", why=f"it is a {kind}", remedy=remedy)


def _random(graph: Graph) -> Iterator[Mapping[str, Array]]:
    return (sample_inputs(graph, seed) for seed in range(RANDOM_SAMPLES))
