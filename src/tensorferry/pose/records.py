"""A pose as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Keypoint:
    """One part of a body. x and y in pixels of the picture it was found in; `score` from 0 to 1."""

    part: str
    score: float
    x: float
    y: float

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {"part": self.part, "score": round(self.score, 4), "x": round(self.x, 2), "y": round(self.y, 2)}


@dataclass(frozen=True, slots=True)
class Pose:
    """One person: a key point for each of PARTS, in their order. `score` is the mean of the points' own scores."""

    score: float
    keypoints: tuple[Keypoint, ...]

    def scaled(self, x: float, y: float, left: float = 0.0, top: float = 0.0) -> Pose:
        """In pixels of another picture: coordinates are shifted by -left, -top, then multiplied."""
        points = tuple(Keypoint(each.part, each.score, (each.x - left) * x, (each.y - top) * y) for each in self.keypoints)
        return Pose(self.score, points)

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {"score": round(self.score, 4), "keypoints": [each.as_dict() for each in self.keypoints]}
