"""Poses in pictures by any model that runs: its input, how pictures go into it, and a function that runs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tensorferry.calibration.inputs import Input, Layout, the_picture_input
from tensorferry.calibration.pixels import Mapping as PixelMapping
from tensorferry.calibration.pixels import Preparation, choose_mapping
from tensorferry.errors import OptionError
from tensorferry.pose.decoding import Search, decode_poses, decode_single
from tensorferry.pose.heads import find_heads
from tensorferry.pose.placing import FITS, place
from tensorferry.pose.records import Pose
from tensorferry.tensor import Array

Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""Real inputs by public name -> real outputs."""


@dataclass(frozen=True, slots=True)
class Seeking:
    """What is looked for, and how pictures are prepared: `single` takes the highest cell of each part, whoever's it is."""

    single: bool = False
    search: Search = field(default_factory=Search)
    fit: str = "letterbox"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise OptionError(f"unknown fit '{self.fit}'", remedy=f"choose one of {', '.join(FITS)}")


@dataclass(slots=True)
class Estimator:
    """Finds poses with one model. `seconds`: what running, and what everything else but reading pictures has taken so far."""

    name: str
    run: Run
    given: Input
    layout: Layout
    mapping: PixelMapping
    seeking: Seeking
    pictures: int = 0
    running: float = 0.0
    decoding: float = 0.0

    @classmethod
    def of(cls, name: str, run: Run, inputs: tuple[Input, ...], seeking: Seeking) -> Estimator:
        """OptionError where the model takes no pictures in colour."""
        given, layout = the_picture_input(inputs)
        if layout.channels != 3 or layout.channels_first:
            raise OptionError(f"'{name}' takes no pictures in colour", why=f"its input '{given.name}' is {list(given.shape or ())}")
        mapping = choose_mapping(given, layout.channels, Preparation(mean=seeking.mean, std=seeking.std))
        return cls(name, run, given, layout, mapping, seeking)

    def find(self, pixels: Array) -> list[Pose]:
        """Poses in a picture [h w 3] of bytes, in its own pixels, the highest score first."""
        size = (self.layout.height, self.layout.width)
        fitted, placement = place(pixels, size, self.seeking.fit)
        values = self.mapping.apply(fitted)
        if not self.given.dtype.is_float:
            values = np.rint(values).astype(self.given.dtype.numpy)
        feed = values[None] if self.layout.batch is not None else values
        begun = time.perf_counter()
        outputs = self.run({self.given.name: np.ascontiguousarray(feed)})
        ran = time.perf_counter()
        heads = find_heads(outputs, *size)
        poses = [decode_single(heads)] if self.seeking.single else decode_poses(heads, self.seeking.search)
        found = [placement.to_picture(pose) for pose in poses]
        self.pictures += 1
        self.running += ran - begun
        self.decoding += time.perf_counter() - ran
        return found
