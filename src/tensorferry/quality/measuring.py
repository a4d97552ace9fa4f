"""Run a float file and its quantised form on the same samples and compare every tensor that both have, in bounded memory."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from tensorferry.errors import OptionError
from tensorferry.ir import Quantization
from tensorferry.quality.files import Layer, LiteFile, spread_of
from tensorferry.quality.pairing import pair_ends
from tensorferry.quality.records import Difference, LayerQuality, OutputQuality, Quality, Spread
from tensorferry.quant.maths import dequantize, grid_of, quantize
from tensorferry.readers.tflite.model import TensorRecord
from tensorferry.runtimes.litert import LiteRtModel
from tensorferry.tensor import Array

Progress = Callable[[int], None]
"""Called with the number of samples done."""

DRAWN = 12
"""Layers of which histograms are drawn: the worst ones."""

KEPT, KEPT_SAMPLES = 1 << 10, 16
"""Elements of a tensor that a sample adds to its histogram, evenly taken, and the first samples that add any: 128 KiB a tensor."""


@dataclass(slots=True)
class _Sums:
    """What is added up of one tensor over all samples."""

    signal: float = 0.0
    noise: float = 0.0
    power: float = 0.0
    product: float = 0.0
    absolute: float = 0.0
    count: int = 0
    worst: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    clipped: int = 0
    chosen: list[tuple[Array, Array]] = field(default_factory=list)

    def add(self, before: Array, after: Array, limits: tuple[float, float] | None) -> None:
        if not before.size:
            return
        one, other = before.reshape(-1).astype(np.float64), after.reshape(-1).astype(np.float64)
        away = np.abs(one - other)
        self.signal += float(one @ one)
        self.power += float(other @ other)
        self.product += float(one @ other)
        self.noise += float(away @ away)
        self.absolute += float(away.sum())
        self.count += one.size
        self.worst = max(self.worst, float(away.max()))
        self.low, self.high = min(self.low, float(one.min())), max(self.high, float(one.max()))
        if limits is not None:
            self.clipped += int(np.count_nonzero((one < limits[0]) | (one > limits[1])))
        if len(self.chosen) == KEPT_SAMPLES:
            return
        step = -(-one.size // KEPT)
        self.chosen.append((one[::step].astype(np.float32), other[::step].astype(np.float32)))

    def difference(self) -> Difference:
        largest = max(abs(self.low), abs(self.high)) if self.count else 0.0
        lengths = math.sqrt(self.signal * self.power)
        snr = math.inf if not self.noise else 10 * math.log10(self.signal / self.noise) if self.signal else -math.inf
        return Difference(
            max_absolute=self.worst,
            mean_absolute=self.absolute / self.count if self.count else 0.0,
            relative=self.worst / largest if largest else self.worst,
            cosine=self.product / lengths if lengths else float(self.signal == self.power),
            snr=snr,
        )


def measure_quality(
    before: str | os.PathLike[str],
    after: str | os.PathLike[str],
    samples: Iterable[Mapping[str, Array]],
    progress: Progress | None = None,
    drawn_from: str = "samples given",
) -> Quality:
    """`samples` are real inputs by public name, as the float file takes them. Tensors are matched by name.

    Both run on LiteRT's own kernels, which alone keep what lies between. OptionError if there is no sample, or if the files'
    inputs or outputs are not the same.
    """
    pair, number = _Pair(LiteFile(before), LiteFile(after)), 0
    with LiteRtModel(before, keep_intermediates=True) as first, LiteRtModel(after, keep_intermediates=True) as second:
        for number, sample in enumerate(samples, 1):
            pair.add(sample, first, second)
            if progress is not None:
                progress(number)
        runtime = f"LiteRT {first.version}, its own kernels"
    if not number:
        raise OptionError("the quality of a file cannot be measured without samples", remedy="give at least one")
    return pair.told(number, runtime, drawn_from)


class _Pair:
    """The two files, and what was added up of every tensor that both compute."""

    def __init__(self, before: LiteFile, after: LiteFile) -> None:
        self._before, self._after = before, after
        self._feeds, self._results = after.ends("input"), after.ends("output")
        self._given = pair_ends(before.ends("input"), self._feeds, "input")
        self._made = pair_ends(before.ends("output"), self._results, "output")
        shared = (name for name in after.layers if name in before.layers and _is_float(before.tensors[name]))
        self._layers = {name: _Sums() for name in shared}
        self._outputs = {name: _Sums() for name in self._made}

    def add(self, sample: Mapping[str, Array], first: LiteRtModel, second: LiteRtModel) -> None:
        """Run both on one sample."""
        stored = {self._given[name]: _stored(array, self._feeds[self._given[name]]) for name, array in sample.items()}
        outputs, others = first.run(sample), second.run(stored)
        values, changed = first.tensors(), second.tensors()
        for name, total in self._layers.items():
            record = self._after.tensors[name]
            with suppress(KeyError):  # one without memory of its own
                total.add(values[name], _real(changed[name], record), _limits(record))
        for name, total in self._outputs.items():
            total.add(outputs[name], _real(others[self._made[name]], self._results[self._made[name]]), None)

    def told(self, samples: int, runtime: str, drawn_from: str) -> Quality:
        """All of it, the worst layer first; histograms of the worst ones."""
        one, other = self._before, self._after
        found = sorted(
            (_layer(one, other, other.layers[name], total) for name, total in self._layers.items() if total.count), key=_order
        )
        drawn = [
            replace(each, values=_spread(self._layers[each.tensor]), weights=_weights(one, other, each)) for each in found[:DRAWN]
        ]
        return Quality(
            before=os.path.basename(one.path),  # noqa: PTH119
            after=os.path.basename(other.path),  # noqa: PTH119
            samples=samples,
            drawn_from=drawn_from,
            bytes_before=one.size,
            bytes_after=other.size,
            runtime=runtime,
            operators_before=one.operators(),
            operators_after=other.operators(),
            outputs=tuple(OutputQuality(name, total.difference()) for name, total in self._outputs.items()),
            layers=(*drawn, *found[DRAWN:]),
            feeds=other.feeds(),
        )


def _order(layer: LayerQuality) -> tuple[float, str]:
    return layer.difference.snr, layer.tensor


def _is_float(record: TensorRecord) -> bool:
    return record.dtype.is_float


def _stored(array: Array, record: TensorRecord) -> Array:
    """A real input as the quantised file takes it."""
    if record.quantization is None or not record.quantized or array.dtype.kind != "f":
        return array
    scales, zero_points = _along(record.quantization, array.ndim)
    return quantize(array, scales, zero_points, grid_of(record.dtype))


def _real(array: Array, record: TensorRecord) -> Array:
    """The real numbers that a tensor of the quantised file stands for."""
    if record.quantization is None or not record.quantized:
        return array
    scales, zero_points = _along(record.quantization, array.ndim)
    return dequantize(array, scales, zero_points)


def _along(quantization: Quantization, rank: int) -> tuple[Array, Array]:
    scales = np.asarray(quantization.scales, np.float32)
    zero_points = np.asarray(quantization.zero_points or (0,), np.int64)
    if len(scales) == 1:
        return scales[0], zero_points[0]
    shape = [-1 if axis == quantization.axis else 1 for axis in range(rank)]
    return scales.reshape(shape), zero_points.reshape(shape) if len(zero_points) > 1 else zero_points[0]


def _limits(record: TensorRecord) -> tuple[float, float] | None:
    """The lowest and highest real number that the tensor can hold, half a step further."""
    if record.quantization is None or not record.quantized or len(record.quantization.scales) != 1:
        return None
    grid, scale, zero = grid_of(record.dtype), record.quantization.scales[0], (record.quantization.zero_points or (0,))[0]
    return (grid.low - zero - 0.5) * scale, (grid.high - zero + 0.5) * scale


def _layer(one: LiteFile, other: LiteFile, layer: Layer, total: _Sums) -> LayerQuality:
    return LayerQuality(
        tensor=layer.result.name,
        operator=layer.operator,
        stored=layer.result.dtype.value,
        low=total.low,
        high=total.high,
        clipped=total.clipped / total.count,
        difference=total.difference(),
        bytes_before=one.weight_bytes(one.layers[layer.result.name]),
        bytes_after=other.weight_bytes(layer),
    )


def _spread(total: _Sums) -> Spread | None:
    pairs = [np.concatenate([pair[side] for pair in total.chosen]) for side in (0, 1)]
    return spread_of(pairs[0].astype(np.float64), pairs[1].astype(np.float64))


def _weights(one: LiteFile, other: LiteFile, layer: LayerQuality) -> Spread | None:
    """The largest constant of the layer, in both files, if they hold the same one."""
    records = [file.main_weight(file.layers[layer.tensor]) for file in (one, other)]
    if records[0] is None or records[1] is None or records[0].shape != records[1].shape:
        return None
    return spread_of(one.elements(records[0]), other.elements(records[1]))
