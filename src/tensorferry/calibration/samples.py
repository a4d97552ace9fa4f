"""Samples from whatever a user names: found, checked as a whole, then handed out one at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tensorferry.calibration.arrays import ArraySamples
from tensorferry.calibration.inputs import Input, Layout, picture_layout
from tensorferry.calibration.pictures import SUFFIXES, Pictures
from tensorferry.calibration.pixels import Mapping, Preparation, choose_mapping, takes_pixels, units_notice
from tensorferry.calibration.python import PythonSamples
from tensorferry.calibration.tables import TableSamples
from tensorferry.errors import OptionError, SourceError
from tensorferry.tensor import Array

DEFAULT_SAMPLES = 200
"""Taken when nobody says how many: ranges hardly change any more."""

_UNEQUAL = 30.0
"""Times that one sample's values may be larger than the usual ones before something is said."""

Source = str | os.PathLike[str] | Iterable[Any] | Callable[[], Iterable[Any]]


Progress = Callable[[int, int | None], None]
"""Told how many samples were checked, and of how many."""


@dataclass(slots=True)
class Seen:
    """What the check learnt of one input: the ends of each sample."""

    lows: list[float] = field(default_factory=list)
    highs: list[float] = field(default_factory=list)

    def add(self, values: Array) -> None:
        """One sample's values."""
        if values.dtype.kind in "fiu" and values.size > 1:  # a single number is an argument rather than data
            self.lows.append(float(values.min()))
            self.highs.append(float(values.max()))


@dataclass(slots=True)
class Samples:
    """Checked samples. Iterating reads them again, one at a time; `total` is how many the source has (None: nobody knows)."""

    count: int | None
    total: int | None
    notices: tuple[str, ...]
    about: dict[str, Any]
    _read: Callable[[], Iterator[dict[str, Array]]]
    watched_by: Progress | None = None
    """Told how many were taken, of how many."""

    def __iter__(self) -> Iterator[dict[str, Array]]:
        for done, sample in enumerate(self._read()):
            _tell(self.watched_by, done + 1, self.count)
            yield sample

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return {"samples": self.count, "of": self.total, **self.about, "notices": list(self.notices)}


def open_samples(source: Source, inputs: Sequence[Input], asked: Preparation, progress: Progress | None = None) -> Samples:
    """Find and check samples for these inputs. FerryError for the first thing that is wrong with any of those that will be used."""
    inputs = tuple(inputs)
    if not inputs:
        raise OptionError("the model has no inputs, so there is nothing to calibrate with")
    if not isinstance(source, str | os.PathLike):
        return _open_python(source, inputs, asked, progress)
    path = Path(source)
    if not path.exists():
        raise SourceError(f"'{path}' does not exist", remedy="name a folder of pictures, or an .npy, .npz or .csv file")
    suffix = path.suffix.lower()
    if path.is_dir() or suffix in SUFFIXES:
        pictures = Pictures.open(path, inputs, asked)
        places = choose_places(len(pictures), asked.limit)
        for done, place in enumerate(places):
            pictures.check(place)
            _tell(progress, done + 1, len(places))
        return Samples(
            len(places), len(pictures), pictures.told(), pictures.about(), lambda: (pictures.read(place) for place in places)
        )
    if suffix not in (".npy", ".npz", ".csv", ".tsv"):
        raise OptionError(
            f"cannot tell what samples '{path}' holds", remedy="name a folder of pictures, or an .npy, .npz or .csv file"
        )
    kind = ArraySamples if suffix in (".npy", ".npz") else TableSamples
    stored = kind.open(path, inputs, _said_mapping(inputs, asked))
    places = choose_places(len(stored), asked.limit)
    if not places:
        raise SourceError(f"'{path}' holds no samples")
    notices = [*stored.notices, *_check(inputs, stored.read(places), len(places), asked, progress)]
    return Samples(len(places), len(stored), tuple(notices), stored.about(), lambda: stored.read(places))


def choose_places(total: int, limit: int | None) -> list[int]:
    """Which of all samples, evenly spread, so that those sorted by class are all represented."""
    count = min(total, limit or DEFAULT_SAMPLES)
    return [place * total // count for place in range(count)]


def _open_python(source: Any, inputs: tuple[Input, ...], asked: Preparation, progress: Progress | None) -> Samples:
    samples = PythonSamples(source, inputs, _said_mapping(inputs, asked), asked.limit or DEFAULT_SAMPLES)
    if not samples.again:
        notice = "the samples come from an iterator that runs once: each is checked as it comes"
        return Samples(None, None, (notice,), samples.about(), lambda: iter(samples))
    seen: list[int] = []

    def counted() -> Iterator[dict[str, Array]]:
        for sample in samples:
            seen.append(1)
            yield sample

    notices = _check(inputs, counted(), None, asked, progress)
    if not seen:
        raise OptionError("there are no samples to calibrate with")
    return Samples(len(seen), None, tuple(notices), samples.about(), lambda: iter(samples))


def _said_mapping(inputs: tuple[Input, ...], asked: Preparation) -> Mapping | None:
    """Arrays are taken as they are, unless --mean or --std are given."""
    if not asked.scales:
        return None
    if len(inputs) != 1:
        raise OptionError(
            "--mean and --std are for a model with one input", remedy="leave them out, and give values as the model takes them"
        )
    layout = picture_layout(inputs[0])
    most = max(len(asked.mean or (0,)), len(asked.std or (1,)))
    if not isinstance(layout, Layout) and most > 1:
        raise OptionError(
            "--mean and --std have a number for each channel", why=f"the input '{inputs[0].name}' has no channels: {layout}"
        )
    mapping = choose_mapping(inputs[0], layout.channels if isinstance(layout, Layout) else 1, asked)
    return replace(mapping, behind=2) if isinstance(layout, Layout) and layout.channels_first else mapping


def _check(
    inputs: tuple[Input, ...], samples: Iterator[dict[str, Array]], count: int | None, asked: Preparation, progress: Progress | None
) -> list[str]:
    """Read every sample once, which raises what is wrong; tell what is merely strange."""
    seen = {each.name: Seen() for each in inputs}
    for done, sample in enumerate(samples):
        for name, values in sample.items():
            seen[name].add(values)
        _tell(progress, done + 1, count)
    notices = [notice for each in inputs if (notice := _strange(each, seen[each.name], scaled=asked.scales))]
    return notices + [notice for notice in [units_notice(asked)] if notice]


def _strange(given: Input, seen: Seen, *, scaled: bool) -> str:
    """What the values' range says against them; the first such thing."""
    if not seen.lows or not given.dtype.is_float:
        return ""
    lows, highs = np.asarray(seen.lows), np.asarray(seen.highs)
    low, high = float(lows.min()), float(highs.max())
    name = f"the samples for '{given.name}'"
    if low == high:
        return f"{name} all hold one value, {low:g}"
    reach = np.maximum(np.abs(lows), np.abs(highs))
    usual = float(np.median(reach))
    largest = int(np.argmax(reach))
    if usual and reach[largest] > _UNEQUAL * usual:
        return f"{name} mostly reach to {usual:.4g}, but sample {largest + 1} to {reach[largest]:.4g}: are they scaled alike?"
    if isinstance(picture_layout(given), str):
        return ""
    pixels = low >= 0 and 2 < high <= 255
    if given.scaling is not None and takes_pixels(given.scaling) and reach.max() <= 2:
        return f"{name} lie between {low:.4g} and {high:.4g}, but the model scales pixels of 0 to 255 itself"
    if pixels and not scaled and not (given.scaling is not None and takes_pixels(given.scaling)):
        return (
            f"{name} lie between {low:.4g} and {high:.4g}, as pixels do, and the model does not scale them itself: "
            "if it was trained on -1 to 1, say --mean 127.5 --std 127.5"
        )
    return ""


def _tell(progress: Progress | None, done: int, count: int | None) -> None:
    if progress is not None:
        progress(done, count)
