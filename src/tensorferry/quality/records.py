"""The quality of a quantised file as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """Two histograms over the same bins: `edges` has one number more than each of the counts."""

    edges: tuple[float, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"edges": list(self.edges), "before": list(self.before), "after": list(self.after)}


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two runs of one tensor lie apart, over all samples.

    `snr` in decibels: ten times the decimal logarithm of the float values' power over the error's; infinite where nothing differs.
    `relative` is the largest error over the largest float value; `cosine` is 1 for equal directions.
    """

    max_absolute: float
    mean_absolute: float
    relative: float
    cosine: float
    snr: float

    def as_dict(self) -> dict[str, Any]:
        return {
            "max_absolute": self.max_absolute,
            "mean_absolute": self.mean_absolute,
            "relative": self.relative,
            "cosine": self.cosine,
            "snr": self.snr,
        }


@dataclass(frozen=True, slots=True)
class OutputQuality:
    """One output, by its public name, against the float file."""

    name: str
    difference: Difference

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, **self.difference.as_dict()}


@dataclass(frozen=True, slots=True)
class LayerQuality:
    """What one operator computes. `stored` is the type of its result; `clipped` the share of float values outside of what that
    type holds; `low` and `high` the float values' extremes. `weights` and `bytes_*` are those of its constants."""

    tensor: str
    operator: str
    stored: str
    low: float
    high: float
    clipped: float
    difference: Difference
    bytes_before: int
    bytes_after: int
    values: Spread | None = None
    weights: Spread | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "tensor": self.tensor,
            "operator": self.operator,
            "stored": self.stored,
            "low": self.low,
            "high": self.high,
            "clipped": self.clipped,
            **self.difference.as_dict(),
            "bytes_before": self.bytes_before,
            "bytes_after": self.bytes_after,
            "values": self.values.as_dict() if self.values else None,
            "weights": self.weights.as_dict() if self.weights else None,
        }


@dataclass(frozen=True, slots=True)
class Feed:
    """An input or output of the file: real = scale * (stored - zero_point) where there is a scale."""

    name: str
    role: str
    dtype: str
    shape: tuple[int, ...]
    scale: float | None = None
    zero_point: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "role": self.role,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "scale": self.scale,
            "zero_point": self.zero_point,
        }


@dataclass(frozen=True, slots=True)
class Quality:
    """All of it. `drawn_from` says where the samples come from. `layers` are sorted, the lowest ratio of signal to noise first;
    `operators` counts what each file runs."""

    before: str
    after: str
    samples: int
    drawn_from: str
    bytes_before: int
    bytes_after: int
    runtime: str
    operators_before: Mapping[str, int]
    operators_after: Mapping[str, int]
    outputs: tuple[OutputQuality, ...]
    layers: tuple[LayerQuality, ...]
    feeds: tuple[Feed, ...]

    @property
    def float_layers(self) -> tuple[LayerQuality, ...]:
        """Those whose results stayed float."""
        return tuple(layer for layer in self.layers if layer.stored.startswith("float"))

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {
            "before": self.before,
            "after": self.after,
            "samples": self.samples,
            "drawn_from": self.drawn_from,
            "bytes_before": self.bytes_before,
            "bytes_after": self.bytes_after,
            "runtime": self.runtime,
            "operators_before": dict(self.operators_before),
            "operators_after": dict(self.operators_after),
            "outputs": [each.as_dict() for each in self.outputs],
            "layers": [each.as_dict() for each in self.layers],
            "feeds": [each.as_dict() for each in self.feeds],
        }
