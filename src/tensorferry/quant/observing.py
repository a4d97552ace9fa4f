"""Observing a float file while it runs: every sample goes through once, and only summaries of its tensors are kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tensorferry.errors import FerryError, OptionError
from tensorferry.program import Program
from tensorferry.quant.histogram import Histogram, NotFinite
from tensorferry.quant.ranges import Channels, Distribution, Method, Observer, Range, make_observer
from tensorferry.tensor import Array, DType

Runner = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""Takes a sample by the public names of the inputs; gives values by the names of tensors, read when they are asked for."""

Progress = Callable[[int], None]
"""Told how many samples are done."""


@dataclass(slots=True)
class Observations:
    """What was seen. A tensor is either in `ranges` or in `unusable`, with the reason why it must stay float."""

    samples: int
    ranges: dict[str, Range]
    unusable: dict[str, str]
    channels: dict[str, Channels] = field(default_factory=dict)
    histograms: dict[str, Histogram] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Watch:
    """Which tensors to observe, and how; `by_channel` are those of which means and extremes of each channel are wanted too.

    `histograms` keeps one of each tensor also for methods that do without.
    """

    names: Collection[str]
    method: Method = field(default_factory=Method)
    by_channel: Collection[str] = ()
    histograms: bool = False


def watchable(program: Program) -> list[str]:
    """Names of the first subgraph's float tensors that are computed or fed: those that may get a range."""
    main = program.subgraphs[0]
    return [tensor.name for tensor in main.tensors if tensor.dtype is DType.FLOAT32 and program.buffers[tensor.buffer] is None]


def observe(run: Runner, samples: Iterable[Mapping[str, Array]], watch: Watch, progress: Progress | None = None) -> Observations:
    """Run every sample and summarise the tensors; OptionError when there is no sample, or when one makes NaN of all it reaches."""
    observers: dict[str, Observer] = {name: _observer(watch) for name in watch.names}
    channels = {name: Channels() for name in watch.by_channel}
    unusable: dict[str, str] = {}
    done = 0
    for sample in samples:
        values = run(sample)
        for name in observers.keys() | channels.keys():
            if name not in unusable and (problem := _add(values, name, observers.get(name), channels.get(name))):
                unusable[name] = f"{problem} (sample {done + 1})"
        done += 1
        if progress is not None:
            progress(done)
    if not done:
        raise OptionError("there are no samples to calibrate with")
    ranges = {}
    for name, observer in observers.items():
        if name in unusable:
            continue
        try:
            ranges[name] = observer.range()
        except ValueError as error:
            unusable[name] = str(error)
    histograms = {name: each.histogram for name, each in observers.items() if isinstance(each, Distribution) and name in ranges}
    kept = {name: each for name, each in channels.items() if name not in unusable and each.count}
    if observers and not ranges:
        first = next(iter(unusable.values()))
        raise FerryError(
            "calibration saw no usable value in any tensor", why=first, remedy="check the samples and the float model's own results"
        )
    return Observations(done, ranges, unusable, kept, histograms)


def _observer(watch: Watch) -> Observer:
    return Distribution(watch.method) if watch.histograms else make_observer(watch.method)


def _add(values: Mapping[str, Array], name: str, observer: Observer | None, channels: Channels | None) -> str:
    """Take in one tensor; the reason, if it cannot be used."""
    try:
        array = np.asarray(values[name])
    except KeyError:
        return "the runtime keeps no value of it"
    if array.dtype.kind != "f":
        return f"it holds {array.dtype} while it runs"
    try:
        for each in (observer, channels):
            if each is not None:
                each.add(array)
    except NotFinite as error:
        return str(error)
    return ""
