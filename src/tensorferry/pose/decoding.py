"""From heads to poses, as PersonLab describes it (Papandreou et al., 2018, section 3.1): parts where the scores are highest, led
to their places by the offsets, and to the other parts of the same body along the tree of parts by the displacements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tensorferry.errors import OptionError, SourceError
from tensorferry.pose.heads import Heads
from tensorferry.pose.parts import PARTS, TREE
from tensorferry.pose.records import Keypoint, Pose
from tensorferry.tensor import Array

REFINEMENTS = 2
"""How often a part that was reached by a displacement is led on by the offset of the cell it lies in."""


@dataclass(frozen=True, slots=True)
class Search:
    """How poses are looked for. `threshold`: least score of a part that a pose may begin with; `radius`: pixels of the model's
    input within which two poses may not have the same part; `window`: cells around it of which a beginning is the highest;
    `least`: least score of a pose."""

    most: int = 20
    threshold: float = 0.5
    radius: float = 20.0
    window: int = 1
    least: float = 0.15

    def __post_init__(self) -> None:
        if self.most < 1 or self.window < 0 or self.radius < 0 or not 0 <= self.threshold <= 1 or not 0 <= self.least <= 1:
            raise OptionError(
                f"no poses can be looked for so: {self}", remedy="scores lie between 0 and 1, the others are not negative"
            )


def decode_single(heads: Heads) -> Pose:
    """The highest cell of each part, whoever's it is: right for a picture of one person. In pixels of the model's input."""
    rows, columns = np.unravel_index(heads.scores.reshape(-1, len(PARTS)).argmax(0), heads.scores.shape[:2])
    parts = np.arange(len(PARTS))
    places = np.stack([rows, columns], -1) * heads.stride + heads.offsets[rows, columns, :, parts]
    return _pose(places, heads.scores[rows, columns, parts])


def decode_poses(heads: Heads, search: Search | None = None) -> list[Pose]:
    """Poses of several people, the highest score first. In pixels of the model's input."""
    search = search or Search()
    if heads.forward is None or heads.backward is None:
        raise SourceError(
            "the model cannot tell people apart: it has no displacements",
            remedy="name its two outputs of 32 channels with --outputs, or look for one person",
        )
    beginnings = _beginnings(heads, search)
    places, scores = _follow_tree(heads, *beginnings)
    kept: list[int] = []
    poses: list[tuple[float, int]] = []
    for candidate, part in enumerate(beginnings[2]):
        if len(kept) == search.most:
            break
        near = _near(places[candidate], places[kept], search.radius)
        if near[:, part].any():
            continue
        kept.append(candidate)
        # A part that lies where a better pose has its own does not speak for this one.
        score = float(np.where(near.any(0), 0, scores[candidate]).mean())
        if score >= search.least:
            poses.append((score, candidate))
    poses.sort(key=lambda each: -each[0])
    return [_pose(places[candidate], scores[candidate], score) for score, candidate in poses]


def _beginnings(heads: Heads, search: Search) -> tuple[Array, Array, Array]:
    """Rows, columns and parts of the cells that are highest around them, the highest score first."""
    scores = heads.scores
    padded = np.pad(scores, ((search.window, search.window), (search.window, search.window), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * search.window + 1,) * 2, (0, 1))
    found = np.nonzero((scores >= search.threshold) & (scores >= windows.max((-1, -2))))
    order = np.argsort(-scores[found], kind="stable")
    rows, columns, parts = (each[order] for each in found)
    return rows, columns, parts


def _follow_tree(heads: Heads, rows: Array, columns: Array, parts: Array) -> tuple[Array, Array]:
    """Places [n 17 2] and scores [n 17] of all parts of n bodies, of each of which one part is known."""
    count = len(parts)
    bodies = np.arange(count)
    places = np.zeros((count, len(PARTS), 2), np.float32)
    scores = np.zeros((count, len(PARTS)), np.float32)
    known = np.zeros((count, len(PARTS)), bool)
    places[bodies, parts] = np.stack([rows, columns], -1) * heads.stride + heads.offsets[rows, columns, :, parts]
    scores[bodies, parts] = heads.scores[rows, columns, parts]
    known[bodies, parts] = True
    assert heads.forward is not None and heads.backward is not None
    steps = [(edge, child, parent, heads.backward) for edge, (parent, child) in reversed(list(enumerate(TREE)))]
    steps += [(edge, parent, child, heads.forward) for edge, (parent, child) in enumerate(TREE)]
    for edge, source, target, displacements in steps:
        going = known[:, source] & ~known[:, target]
        if going.any():
            places[going, target], scores[going, target] = _step(heads, places[going, source], displacements[..., edge], target)
            known[going, target] = True
    return places, scores


def _step(heads: Heads, places: Array, displacements: Array, target: int) -> tuple[Array, Array]:
    """From parts at `places` [n 2] to the part `target` of the same bodies."""
    rows, columns = _cells(heads, places)
    places = places + displacements[rows, columns]
    for _ in range(REFINEMENTS):
        rows, columns = _cells(heads, places)
        places = np.stack([rows, columns], -1) * heads.stride + heads.offsets[rows, columns, :, target]
    rows, columns = _cells(heads, places)
    return places, heads.scores[rows, columns, target]


def _cells(heads: Heads, places: Array) -> tuple[Array, Array]:
    """Row and column of the cell nearest to each place."""
    limits = np.asarray(heads.scores.shape[:2]) - 1
    cells = np.clip(np.rint(places / heads.stride), 0, limits).astype(np.intp)
    return cells[..., 0], cells[..., 1]


def _near(places: Array, others: Array, radius: float) -> Array:
    """[m 17]: which parts of the other poses lie within the radius of the same part at `places`."""
    return np.asarray(np.square(others - places).sum(-1) <= radius * radius)


def _pose(places: Array, scores: Array, score: float | None = None) -> Pose:
    points = tuple(
        Keypoint(part, float(each), float(x), float(y)) for part, each, (y, x) in zip(PARTS, scores, places, strict=True)
    )
    return Pose(float(np.mean(scores)) if score is None else score, points)
