"""How far key points move when a PoseNet is changed: a measure of what quantising cost that its users feel."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tensorferry.errors import OptionError
from tensorferry.ir import Graph
from tensorferry.pose.decoding import decode_single
from tensorferry.pose.heads import find_heads, name_heads
from tensorferry.pose.records import Pose
from tensorferry.tensor import Array

LEAST_SCORE = 0.5
"""Key points count from here on, by the reference's score."""

SHARE = 95
"""Percent of the key points that drift no further than what is told: single ones jump from one person to another."""

Outputs = Mapping[str, Array]


def drift_of(graph: Graph) -> Callable[[Sequence[Outputs], Sequence[Outputs]], float]:
    """The measure for a model with this graph: two lists of outputs, a picture each -> pixels of the model's input.

    SourceError when its outputs are not PoseNet's, OptionError when its input's size is open.
    """
    name_heads({port.name: [0 if isinstance(size, str) else size for size in port.value.shape or ()] for port in graph.outputs})
    shapes = [port.value.shape for port in graph.inputs]
    sizes = shapes[0][1:3] if len(shapes) == 1 and shapes[0] is not None and len(shapes[0]) == 4 else ()
    height, width = (size if isinstance(size, int) else 0 for size in (*sizes, 0, 0)[:2])
    if not (height and width):
        raise OptionError(
            "the drift of key points is told in pixels of the input, whose size is open", remedy="say it: --shape image=1,337,337,3"
        )
    return lambda reference, outputs: drift(reference, outputs, (height, width))


def movements(reference: Pose, pose: Pose) -> list[float]:
    """How far each key point that counts lies from the reference's, in the pixels of both."""
    pairs = zip(reference.keypoints, pose.keypoints, strict=True)
    return [math.hypot(one.x - other.x, one.y - other.y) for one, other in pairs if one.score > LEAST_SCORE]


def drift(reference: Sequence[Outputs], outputs: Sequence[Outputs], size: tuple[int, int]) -> float:
    """Pixels within which SHARE percent of the key points stay. OptionError when the reference sees none."""
    moved = []
    for one, other in zip(reference, outputs, strict=True):
        if not all(np.isfinite(array).all() for array in other.values()):
            return float("inf")
        moved += movements(*(decode_single(find_heads(each, *size)) for each in (one, other)))
    if not moved:
        raise OptionError(
            f"no key point on any sample has a score above {LEAST_SCORE:g}",
            why="so it cannot be told how far they drift",
            remedy="give photographs with people, prepared as the model wants them",
        )
    return float(np.percentile(moved, SHARE))
