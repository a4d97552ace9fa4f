"""Where a picture lies in a model's input, and so where a pose found there lies in the picture."""

from __future__ import annotations

from dataclasses import dataclass

from tensorferry.calibration.pictures import fit
from tensorferry.pose.records import Pose
from tensorferry.tensor import Array

FITS = ("letterbox", "stretch", "crop")


@dataclass(frozen=True, slots=True)
class Placement:
    """Pixels of the input for one of the picture, and how far the picture's corner lies from the input's, in pixels of that."""

    across: float
    down: float
    left: float = 0.0
    top: float = 0.0

    def to_picture(self, pose: Pose) -> Pose:
        """A pose in pixels of the input, in those of the picture."""
        return pose.scaled(1 / self.across, 1 / self.down, self.left, self.top)


def place(pixels: Array, size: tuple[int, int], way: str) -> tuple[Array, Placement]:
    """The picture [h w 3] in an input of this height and width, as float32 pixels, and where it lies in it."""
    (height, width), (tall, wide) = pixels.shape[:2], size
    fitted = fit(pixels, size, way)
    if way == "stretch":
        return fitted, Placement(wide / width, tall / height)
    choose = max if way == "crop" else min
    ratio = choose(tall / height, wide / width)
    return fitted, Placement(ratio, ratio, (wide - width * ratio) / 2, (tall - height * ratio) / 2)
