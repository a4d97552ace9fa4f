"""Ranges of tensors from values that come sample by sample: what to look at, and which range to make of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from tensorferry.errors import OptionError, nearest
from tensorferry.quant.clipping import least_divergence, least_square_error
from tensorferry.quant.histogram import Histogram, ends
from tensorferry.tensor import Array

METHODS = ("minmax", "percentile", "entropy", "mse")
"""The whole range; all but the outermost values; what keeps the distribution; what keeps the mean square error least."""


class Range(NamedTuple):
    """From the lowest value that is to be kept to the highest."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Method:
    """How a range is made of the values seen.

    `percentile` (of the method of that name): percent of values within each end. `steps`: how many the range will be divided
    into (255 for 8 bits, 65534 for symmetric 16), which entropy and mse look for the best range for. `symmetric`: about zero.
    """

    name: str = "minmax"
    percentile: float = 99.99
    steps: int = 255
    symmetric: bool = False

    def __post_init__(self) -> None:
        if self.name not in METHODS:
            raise OptionError(
                f"unknown way to find ranges '{self.name}'",
                why=nearest(self.name, METHODS),
                remedy=f"choose one of {', '.join(METHODS)}",
            )
        if not 50 < self.percentile <= 100:
            raise OptionError(f"the percentile must lie above 50 and up to 100, not {self.percentile}")
        if self.steps < 1:
            raise OptionError(f"a range cannot be divided into {self.steps} steps")


class Observer(Protocol):
    """Looks at one tensor."""

    def add(self, values: Array) -> None:
        """Take in one sample's values; raises NotFinite."""

    def range(self) -> Range:
        """Of all values so far; ValueError if there were none."""


@dataclass(slots=True)
class Extremes:
    """The lowest and the highest value."""

    low: float = math.inf
    high: float = -math.inf

    def add(self, values: Array) -> None:
        """Take in one sample's values; raises NotFinite."""
        if not values.size:
            return
        low, high = ends(values)
        self.low, self.high = min(self.low, low), max(self.high, high)

    def range(self) -> Range:
        """Of all values so far."""
        if self.low > self.high:
            raise ValueError("no value was seen")
        return Range(self.low, self.high)


@dataclass(slots=True)
class Distribution:
    """A histogram, and a range cut from it."""

    method: Method
    histogram: Histogram = field(default_factory=Histogram)

    def add(self, values: Array) -> None:
        """Take in one sample's values; raises NotFinite."""
        self.histogram.add(values)

    def range(self) -> Range:
        """Of all values so far, as the method cuts it."""
        if not self.histogram.total:
            raise ValueError("no value was seen")
        if self.method.name == "percentile":
            share = self.method.percentile / 100
            return Range(self.histogram.quantile(1 - share), self.histogram.quantile(share))
        if self.method.name == "minmax":
            return Range(self.histogram.lowest, self.histogram.highest)
        search = least_divergence if self.method.name == "entropy" else least_square_error
        return Range(*search(self.histogram, self.method.steps, symmetric=self.method.symmetric))


@dataclass(slots=True)
class Channels:
    """Of each index of the last axis: lowest, highest, mean and variance (Chan's way of joining parts, so that nothing cancels)."""

    count: int = 0
    low: Array = field(default_factory=lambda: np.zeros(0))
    high: Array = field(default_factory=lambda: np.zeros(0))
    mean: Array = field(default_factory=lambda: np.zeros(0))
    spread: Array = field(default_factory=lambda: np.zeros(0))
    """Sum of squared distances to the mean."""

    def add(self, values: Array) -> None:
        """Take in one sample's values; raises NotFinite, and ValueError when the last axis has another size than before."""
        rows = values.reshape(-1, values.shape[-1]) if values.ndim and values.shape[-1] else np.zeros((0, 0))
        if not rows.size:
            return
        ends(values)
        low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
        if self.count and low.size != self.low.size:
            raise ValueError(f"the last axis has the size {low.size}; before it was {self.low.size}")
        mean = rows.mean(axis=0, dtype=np.float64)
        spread = np.square(rows - mean).sum(axis=0)
        if not self.count:
            self.count, self.low, self.high, self.mean, self.spread = len(rows), low, high, mean, spread
            return
        total = self.count + len(rows)
        apart = mean - self.mean
        self.spread = self.spread + spread + np.square(apart) * (self.count * len(rows) / total)
        self.mean = self.mean + apart * (len(rows) / total)
        self.low, self.high, self.count = np.minimum(self.low, low), np.maximum(self.high, high), total

    @property
    def variance(self) -> Array:
        return np.asarray(self.spread / max(self.count, 1))


def make_observer(method: Method) -> Observer:
    """The cheapest one that the method does with."""
    return Extremes() if method.name == "minmax" else Distribution(method)
