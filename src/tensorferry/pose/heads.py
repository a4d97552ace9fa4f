"""PoseNet's four outputs, told apart among a model's outputs by their channels and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tensorferry.errors import OptionError, SourceError
from tensorferry.pose.parts import PARTS, TREE
from tensorferry.tensor import Array

CHANNELS = {"heatmap": len(PARTS), "offset": 2 * len(PARTS), "forward": 2 * len(TREE), "backward": 2 * len(TREE)}
"""Heads and their channels: y of all parts (edges) first, then x. Displacements lead from parent to child, and back. Some models
have them in one head, `both`, the backward ones behind the others."""


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """The outputs for one picture. `scores` [h w 17], 0 to 1; `offsets` [h w 2 17] and `forward`, `backward` [h w 2 16] in pixels
    of the model's input, y before x; `stride` pixels from cell to cell."""

    scores: Array
    offsets: Array
    forward: Array | None
    backward: Array | None
    stride: float


def name_heads(shapes: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """Head -> name of the output that is it. Displacements may be missing. SourceError says which outputs are wanted."""
    by_channels: dict[int, list[str]] = {}
    for name, shape in shapes.items():
        if len(shape) in (3, 4):
            by_channels.setdefault(shape[-1], []).append(name)
    found: dict[str, str] = {}
    for head in ("heatmap", "offset"):
        names = by_channels.get(CHANNELS[head], [])
        chosen = names if len(names) == 1 else [name for name in names if head in name.lower()]
        if len(chosen) != 1:
            raise _no_posenet(head, shapes)
        found[head] = chosen[0]
    if len(both := by_channels.get(2 * CHANNELS["forward"], [])) == 1:
        return {**found, "both": both[0]}
    pair = by_channels.get(CHANNELS["forward"], [])
    forward = [name for name in pair if "fwd" in name.lower() or "forward" in name.lower()]
    backward = [name for name in pair if "bwd" in name.lower() or "backward" in name.lower()]
    if len(forward) == len(backward) == 1:
        return {**found, "forward": forward[0], "backward": backward[0]}
    if len(pair) == 2:
        return {**found, "forward": pair[0], "backward": pair[1]}
    return found


def _no_posenet(head: str, shapes: Mapping[str, Sequence[int]]) -> SourceError:
    given = (
        ", ".join(f"{name} [{', '.join(str(size) if size > 0 else '?' for size in shape)}]" for name, shape in shapes.items())
        or "none"
    )
    return SourceError(
        f"the model is no PoseNet: no single output is the {head} of {CHANNELS[head]} channels",
        why=f"its outputs are {given}",
        remedy="PoseNet gives heatmap [h, w, 17], offset [h, w, 34] and two displacements [h, w, 32]; name them with --outputs",
    )


def find_heads(outputs: Mapping[str, Array], height: int, width: int) -> Heads:
    """The heads among a model's float outputs for an input of `height` x `width` pixels; a leading axis of size 1 falls away.

    A heatmap with values outside of 0 to 1 holds logits, and the sigmoid is taken here.
    """
    named = name_heads({name: array.shape for name, array in outputs.items()})
    arrays = {head: _alone(name, outputs[name]) for head, name in named.items()}
    rows, columns = arrays["heatmap"].shape[:2]
    for head, array in arrays.items():
        if array.shape[:2] != (rows, columns):
            raise SourceError(f"the heads differ in size: heatmap {rows}x{columns}, {head} {array.shape[0]}x{array.shape[1]}")
    if (both := arrays.pop("both", None)) is not None:
        arrays["forward"], arrays["backward"] = np.split(both, 2, axis=-1)
    scores = arrays["heatmap"]
    if scores.min() < 0 or scores.max() > 1:
        scores = 0.5 * (np.tanh(0.5 * scores) + 1)  # the sigmoid, without overflow
    folded = {head: array.reshape(rows, columns, 2, -1) for head, array in arrays.items() if head != "heatmap"}
    stride = _stride(rows, height) if rows > 1 else _stride(columns, width)
    return Heads(scores, folded["offset"], folded.get("forward"), folded.get("backward"), stride)


def _stride(cells: int, pixels: int) -> float:
    """Pixels between two cells: 22 cells of 337 pixels lie 16 apart, from the first pixel to the last; so do 22 of 352, from
    edge to edge. Published models have strides that are powers of two."""
    apart = (pixels - 1) / max(1, cells - 1)
    return float(min((4, 8, 16, 32, 64), key=lambda stride: abs(np.log2(apart / stride))))


def _alone(name: str, array: Array) -> Array:
    if array.ndim == 4 and array.shape[0] != 1:
        raise OptionError(f"the output '{name}' is of {array.shape[0]} pictures", remedy="give one picture at a time")
    values = np.asarray(array[0] if array.ndim == 4 else array, np.float32)
    if not np.isfinite(values).all():
        raise SourceError(f"the output '{name}' holds values that are not finite")
    return values
