"""From pixels to what an input takes: which numbers, and why those."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tensorferry.calibration.inputs import Input, Scaling
from tensorferry.errors import OptionError
from tensorferry.tensor import Array, DType

FITS = ("stretch", "letterbox", "crop")
"""The whole picture without regard to its proportions; the whole with black bars; the middle."""

ORDERS = ("rgb", "bgr")

_WEAK = 0.05
"""A factor up to this is one for pixels: 1/58 and 1/127.5 are usual, and 1/255."""

_FAR = 30.0
"""An offset from here on is one for pixels: the mean of pictures is about 120."""

_SPAN = 300.0
"""Pixels that were scaled reach no further."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a user says of how samples are made.

    `mean`, `std`: one number or one for each channel of the input, in units of pixels (0 to 255): (pixel - mean) / std goes in.
    `limit`: most samples; they are taken evenly from all. `order`: of the colours.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    fit: str = "stretch"
    order: str = "rgb"
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise OptionError(f"unknown fit '{self.fit}'", remedy=f"choose one of {', '.join(FITS)}")
        if self.order not in ORDERS:
            raise OptionError(f"unknown order of colours '{self.order}'", remedy=f"choose one of {', '.join(ORDERS)}")
        if self.limit is not None and self.limit < 1:
            raise OptionError(f"{self.limit} samples cannot calibrate anything", remedy="ask for 1 or more")
        for role, numbers in (("mean", self.mean), ("std", self.std)):
            if numbers is not None and not (numbers and all(map(math.isfinite, numbers))):
                raise OptionError(f"--{role} must be numbers", remedy="give one, or one for each channel: 123.7,116.8,103.9")
        if self.std is not None and min(self.std) <= 0:
            raise OptionError("--std must be above 0")

    @property
    def scales(self) -> bool:
        return self.mean is not None or self.std is not None


@dataclass(frozen=True, slots=True)
class Mapping:
    """(pixel - mean) / std, and where that comes from, for the report. Behind the axis of channels lie `behind` others."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    why: str
    behind: int = 0

    def apply(self, pixels: Array) -> Array:
        """float32."""
        mean, std = (np.asarray(each, np.float32).reshape((-1, *[1] * self.behind)) for each in (self.mean, self.std))
        return np.asarray((pixels.astype(np.float32) - mean) / std)

    def __str__(self) -> str:
        return f"(pixel - {_listed(self.mean)}) / {_listed(self.std)}: {self.why}"


def choose_mapping(given: Input, channels: int, asked: Preparation) -> Mapping:
    """What was said; else what the model's own first steps tell; else -1 to 1, which is said to be nobody's word."""
    if asked.scales:
        mean, std = asked.mean or (0.0,), asked.std or (1.0,)
        for role, numbers in (("mean", mean), ("std", std)):
            if len(numbers) not in (1, channels):
                many = f"{channels} channel{'s' if channels != 1 else ''}"
                raise OptionError(f"--{role} has {len(numbers)} numbers", why=f"the input '{given.name}' has {many}")
        return Mapping(mean, std, "as --mean and --std say")
    if given.dtype is DType.INT8:
        return Mapping((128.0,), (1.0,), "the input is int8")
    if not given.dtype.is_float:
        return Mapping((0.0,), (1.0,), f"the input is {given.dtype.value}")
    own = given.scaling
    if own is not None and takes_pixels(own):
        return Mapping(
            (0.0,), (1.0,), f"the model scales pixels of 0 to 255 itself (x * {_listed(own.factor)} + {_listed(own.offset)})"
        )
    if own is not None and takes_unit(own):
        return Mapping(
            (0.0,), (255.0,), f"the model scales values of 0 to 1 itself (x * {_listed(own.factor)} + {_listed(own.offset)})"
        )
    return Mapping((127.5,), (127.5,), UNSAID)


UNSAID = "neither --mean and --std nor the model say otherwise; wrong ones make wrong ranges"


def takes_pixels(scaling: Scaling) -> bool:
    """Whether this turns 0 to 255 into what nets are trained on."""
    ends = np.abs(np.concatenate(scaling.of(0, 255)))
    scales = max(map(abs, scaling.factor)) <= _WEAK or (
        max(map(abs, scaling.offset)) >= _FAR and max(map(abs, scaling.factor)) <= 1
    )
    return bool(scales and ends.max() <= _SPAN)


def takes_unit(scaling: Scaling) -> bool:
    """Whether this moves 0 to 1 to both sides of zero, as (x - 0.45) / 0.225 does."""
    low, high = scaling.of(0, 1)
    return bool(np.all(low < 0) and np.all(high > 0) and max(map(abs, scaling.factor)) >= 1 and np.abs([low, high]).max() <= 5)


def units_notice(asked: Preparation) -> str:
    """Of --mean and --std that are in units of 0 to 1."""
    if asked.std is None or max(asked.std) >= 1 or max(map(abs, asked.mean or (0.0,))) > 1:
        return ""
    return (
        f"--mean {_listed(asked.mean or (0.0,))} --std {_listed(asked.std)} are in units of pixels, 0 to 255, and give values "
        f"up to {255 / min(asked.std):.4g}; if they are meant for values of 0 to 1, multiply them by 255"
    )


def _listed(numbers: tuple[float, ...]) -> str:
    distinct = numbers if len(set(numbers)) > 1 else numbers[:1]
    return ",".join(f"{number:.6g}" for number in distinct)
