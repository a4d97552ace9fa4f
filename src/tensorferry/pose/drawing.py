"""Poses drawn on a picture. Pillow writes texts; strokes with smooth edges, which it has not, are drawn here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tensorferry.calibration.pictures import require_pillow
from tensorferry.pose.parts import PARTS, SKELETON
from tensorferry.pose.records import Pose
from tensorferry.tensor import Array

if TYPE_CHECKING:
    from PIL import ImageDraw
    from PIL.Image import Image

LEAST_DRAWN = 0.3
"""Score below which a part is taken for one that cannot be seen."""

DARK = (16, 20, 26)
COLOURS = ((0, 224, 255), (255, 168, 0), (124, 252, 90), (255, 92, 170), (170, 140, 255), (255, 232, 60))
"""One for each person, in turn."""

Colour = tuple[int, int, int]
Point = tuple[float, float]


def draw_poses(pixels: Array, poses: Sequence[Pose], *, least: float = LEAST_DRAWN, caption: str = "") -> Array:
    """uint8 [h w 3] with a skeleton for each pose, its score beside its highest part, and a caption below."""
    require_pillow()
    from PIL import Image  # noqa: PLC0415 - an extra

    canvas = np.array(pixels[..., :3], np.uint8)
    thick = max(2.0, (canvas.shape[0] * canvas.shape[1]) ** 0.5 / 160)
    for number, pose in enumerate(poses):
        _draw_pose(canvas, pose, COLOURS[number % len(COLOURS)], thick, least)
    if not poses and not caption:
        return canvas
    picture = Image.fromarray(canvas)
    _write_texts(picture, poses, least, caption)
    return np.asarray(picture)


def _draw_pose(canvas: Array, pose: Pose, colour: Colour, thick: float, least: float) -> None:
    seen = {PARTS.index(each.part): (each.x, each.y) for each in pose.keypoints if each.score >= least}
    for wide, shade in ((1.7, DARK), (1.0, colour)):
        for one, other in SKELETON:
            if one in seen and other in seen:
                stroke(canvas, (seen[one], seen[other]), thick * wide / 2, shade)
    for wide, shade in ((1.35, DARK), (1.0, colour)):
        for place in seen.values():
            stroke(canvas, (place, place), thick * wide, shade)


def stroke(canvas: Array, ends: tuple[Point, Point], radius: float, colour: Colour) -> None:
    """All within `radius` of the line between two places (x, y), in place; what a pixel's middle lies further in than half a pixel
    is covered whole, and none that lies further out."""
    (left, top), (right, bottom) = ends
    reach = radius + 1
    height, width = canvas.shape[:2]
    rows = _span(top, bottom, reach, height)
    columns = _span(left, right, reach, width)
    if not rows.size or not columns.size:
        return
    across, down = right - left, bottom - top
    away_x, away_y = columns[None, :] - left, rows[:, None] - top
    length = across * across + down * down
    along = np.clip((away_x * across + away_y * down) / length, 0, 1) if length else 0.0
    distance = np.hypot(away_x - along * across, away_y - along * down)
    cover = np.clip(radius + 0.5 - distance, 0, 1)[..., None].astype(np.float32)
    part = canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    part[:] = np.rint(part * (1 - cover) + np.asarray(colour, np.float32) * cover).astype(np.uint8)


def _span(one: float, other: float, reach: float, size: int) -> Array:
    """The rows or columns that a stroke touches. Of places far outside, none."""
    low, high = max(min(one, other) - reach, 0), min(max(one, other) + reach, size - 1)
    return np.arange(int(low), int(high) + 1) if low <= high else np.arange(0)


def _write_texts(picture: Image, poses: Sequence[Pose], least: float, caption: str) -> None:
    from PIL import ImageDraw, ImageFont  # noqa: PLC0415 - an extra

    pen = ImageDraw.Draw(picture)
    size = max(11, round((picture.width * picture.height) ** 0.5 / 32))
    font = ImageFont.load_default(size)
    for number, pose in enumerate(poses):
        seen = [each for each in pose.keypoints if each.score >= least]
        if seen:
            highest = min(seen, key=lambda each: each.y)
            place = (min(max(highest.x, 0), picture.width - 3 * size), max(0.0, highest.y - 2.2 * size))
            _write(pen, place, f"{pose.score:.2f}", font, COLOURS[number % len(COLOURS)])
    if caption:
        _write(pen, (size / 2, picture.height - 1.7 * size), caption, font, (255, 255, 255))


def _write(pen: ImageDraw.ImageDraw, place: tuple[float, float], text: str, font: object, colour: Colour) -> None:
    pen.text(place, text, font=font, fill=colour, stroke_width=2, stroke_fill=DARK)  # type: ignore[arg-type]


def side_by_side(pictures: Sequence[Array], gap: int = 8) -> Array:
    """Pictures of one size in rows, as near to a square as it goes, on white."""
    columns = int(np.ceil(np.sqrt(len(pictures))))
    rows = -(-len(pictures) // columns)
    height, width = pictures[0].shape[:2]
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet
