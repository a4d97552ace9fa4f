"""ImageProjectiveTransformV2 and V3: each new element is read where eight numbers say it lies in the old image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.dims import known_integers
from tensorferry.ops.points import Points
from tensorferry.ops.samples import sample
from tensorferry.ops.sliding import whole
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType

EXACT_IN_FLOAT32 = (DType.FLOAT32, DType.UINT8)


def _infer(node: Node) -> list[Typed]:
    image, _, size = node.inputs[:3]
    if image.rank not in (None, 4):
        raise Declined(f"its input has rank {image.rank}, not 4")
    batch, _, _, channels = image.shape or (UNKNOWN_DIM,) * 4
    content: tuple[Dim, ...] = size.content or (UNKNOWN_DIM, UNKNOWN_DIM)
    if len(content) != 2:
        raise Declined("output_shape must be two numbers", attributes=f"output_shape={list(content)}")
    return [Typed(image.dtype, (batch, *content, channels))]


def _modes(node: Node) -> tuple[str, str]:
    fill, between = str(node.get("fill_mode", "CONSTANT")), str(node["interpolation"])
    if fill not in ("CONSTANT", "NEAREST", "REFLECT", "WRAP") or between not in ("NEAREST", "BILINEAR"):
        raise Declined("its mode is not known", attributes=f"fill_mode={fill}, interpolation={between}")
    return fill, between


# -- evaluation ----------------------------------------------------------------------------------------------------


def _folded(places: Array, side: int, mode: str) -> Array:
    """Places outside the image brought into it, by the mode's rule."""
    if mode == "CONSTANT":
        return places
    one = np.float32(side)
    if side > 1 and mode == "WRAP":
        under = places + one * (np.trunc(-places / (one - 1)) + 1)
        over = places - one * np.trunc(places / (one - 1))
        places = np.where(places < 0, under, np.where(places > one - 1, over, places))
    elif side > 1 and mode == "REFLECT":
        two = 2 * one
        shifted = two * np.trunc(-places / two) + places
        under = np.where(shifted < -one, shifted + two, -shifted - 1)
        rest = places - two * np.trunc(places / two)
        over = np.where(rest >= one, two - rest - 1, rest)
        places = np.where(places < 0, under, np.where(places > one - 1, over, places))
    return np.clip(places, 0, one - 1).astype(np.float32)


def _evaluate(node: Node, image: Array, transforms: Array, size: Array, fill: Array | None = None) -> Array:
    mode, between = _modes(node)
    empty = np.float32(0 if fill is None else fill)
    numbers = transforms.astype(np.float32)[:, :, None, None]
    y, x = np.indices(size.tolist()).astype(np.float32)
    below = numbers[:, 6] * x + numbers[:, 7] * y + np.float32(1)
    columns = (numbers[:, 0] * x + numbers[:, 1] * y + numbers[:, 2]) / below
    rows = (numbers[:, 3] * x + numbers[:, 4] * y + numbers[:, 5]) / below
    shape = (len(image), *size.tolist())
    rows = np.broadcast_to(_folded(rows, image.shape[1], mode), shape)
    columns = np.broadcast_to(_folded(columns, image.shape[2], mode), shape)
    owner = np.arange(len(image)).reshape(-1, 1, 1)

    def read(row: Array, column: Array) -> Array:
        inside = (row >= 0) & (row < image.shape[1]) & (column >= 0) & (column < image.shape[2])
        at = [
            np.clip(np.nan_to_num(each), 0, side - 1).astype(np.int64)
            for each, side in zip((row, column), image.shape[1:3], strict=True)
        ]
        return np.where(inside[..., None], image[owner, at[0], at[1]].astype(np.float32), empty)

    if between == "NEAREST":
        row, column = (np.sign(each) * np.floor(np.abs(each) + np.float32(0.5)) for each in (rows, columns))
        result = read(row, column)
    else:
        top, left = np.floor(rows), np.floor(columns)
        low, beside = (rows - top)[..., None], (columns - left)[..., None]
        upper, lower = (read(row, left) * (1 - beside) + read(row, left + 1) * beside for row in (top, top + 1))
        result = upper * (1 - low) + lower * low
    lost = np.broadcast_to(below == 0, shape)[..., None]
    return np.asarray(np.where(lost, empty, result)).astype(image.dtype)


# -- in other ops --------------------------------------------------------------------------------------------------


class Projecting(Points):
    """The same steps while the model runs."""

    def times(self, one: Value, other: Value | np.float32 | Array) -> Value:
        return self.make("Mul", one, other)

    def plus(self, one: Value, other: Value | np.float32) -> Value:
        return self.make("AddV2", one, other)

    def cut(self, x: Value) -> Value:
        """Without its fraction, for numbers that are not negative where it counts."""
        return self.make("Floor", x)

    def folded(self, places: Value, side: int, mode: str) -> Value:
        """As `_folded`."""
        if mode == "CONSTANT":
            return places
        under, over = places, places
        one, two = np.float32(side), np.float32(2 * side)
        negative = self.make("Neg", places)
        if side > 1 and mode == "WRAP":
            turns = self.plus(self.cut(self.make("RealDiv", negative, one - 1)), np.float32(1))
            under = self.plus(places, self.times(turns, one))
            over = self.make("Sub", places, self.times(self.cut(self.make("RealDiv", places, one - 1)), one))
        elif side > 1 and mode == "REFLECT":
            shifted = self.plus(self.times(self.cut(self.make("RealDiv", negative, two)), two), places)
            mirrored = self.make("Sub", self.make("Neg", shifted), np.float32(1))
            under = self.make("SelectV2", self.make("Less", shifted, -one), self.plus(shifted, two), mirrored)
            rest = self.make("Sub", places, self.times(self.cut(self.make("RealDiv", places, two)), two))
            back = self.make("Sub", np.float32(2 * side - 1), rest)
            over = self.make("SelectV2", self.make("GreaterEqual", rest, one), back, rest)
        if side > 1 and mode != "NEAREST":
            outside = self.make("SelectV2", self.make("Greater", places, one - 1), over, places)
            places = self.make("SelectV2", self.make("Less", places, np.float32(0)), under, outside)
        return self.make("Minimum", self.make("Maximum", places, np.float32(0)), one - 1)

    def places(self, transforms: Value, size: tuple[int, ...]) -> tuple[Value, Value, Value]:
        """Rows and columns [images or 1, height, width], and the divisor that both had."""
        y, x = np.indices(size).astype(np.float32)
        split = self.make_node("Split", np.int32(1), transforms, num_split=8).outputs
        number = [self.make("Reshape", each, np.asarray([-1, 1, 1], np.int32)) for each in split]

        def line(a: Value, b: Value, c: Value | np.float32) -> Value:
            return self.plus(self.plus(self.times(a, x), self.times(b, y)), c)

        below = line(number[6], number[7], np.float32(1))
        columns = self.make("RealDiv", line(*number[0:3]), below)
        return self.make("RealDiv", line(*number[3:6]), below), columns, below

    def owners(self, image: Value) -> Value:
        """The number of each image: [images, 1, 1]."""
        count = self.size(image, 0)
        if isinstance(count, int):
            return self.constant(np.arange(count, dtype=np.int32).reshape(-1, 1, 1), "owners")
        numbers = self.make("Range", np.int32(0), count, np.int32(1))
        return self.make("Reshape", numbers, np.asarray([-1, 1, 1], np.int32))

    def read_filled(self, image: Value, owner: Value, row: Value, column: Value, fill: Value) -> Value:
        """Points at whole rows and columns; the fill outside the image."""
        sides = whole((image.shape or ())[1:3]) or (1, 1)
        inside = self.make("LogicalAnd", self.inside(row, sides[0]), self.inside(column, sides[1]))
        taken = self.read(image, owner, self.clamp(row, sides[0]), self.clamp(column, sides[1]), (sides[0], sides[1]))
        return self.make("SelectV2", self.last_axis(inside), taken, fill)


def _expand(graph: Graph, node: Node) -> bool:
    image, transforms, size = node.inputs[:3]
    wanted, dims = known_integers(size), None if image.shape is None else whole(image.shape[1:])
    if wanted is None or dims is None or image.dtype not in EXACT_IN_FLOAT32 or min(dims) < 1:
        return False
    mode, between = _modes(node)
    parts = Projecting(graph, node)
    fill = node.inputs[3] if len(node.inputs) > 3 else parts.constant(np.asarray(0, np.float32), "fill")
    source = image if image.dtype is DType.FLOAT32 else parts.make("Cast", image, DstT=DType.FLOAT32)
    rows, columns, below = parts.places(transforms, wanted)
    rows, columns = (parts.folded(each, side, mode) for each, side in zip((rows, columns), dims[:2], strict=True))
    owner = parts.owners(image)
    if between == "NEAREST":
        half = np.float32(0.5)
        row, column = (
            parts.times(parts.make("Sign", each), parts.make("Floor", parts.plus(parts.make("Abs", each), half)))
            for each in (rows, columns)
        )
        result = parts.read_filled(source, owner, row, column, fill)
    else:
        result = _between(parts, source, owner, (rows, columns), fill)
    lost = parts.last_axis(parts.make("Equal", below, np.float32(0)))
    result = parts.make("SelectV2", lost, fill, result)
    return parts.finish(result if image.dtype is DType.FLOAT32 else parts.make("Cast", result, DstT=image.dtype))


def _between(parts: Projecting, image: Value, owner: Value, places: tuple[Value, Value], fill: Value) -> Value:
    """Between the four elements around, of which those outside the image are the fill."""
    top, left = (parts.make("Floor", each) for each in places)
    low, beside = (parts.last_axis(parts.make("Sub", *each)) for each in ((places[0], top), (places[1], left)))
    right = parts.plus(left, np.float32(1))
    lines = []
    for row in (top, parts.plus(top, np.float32(1))):
        one, other = (parts.read_filled(image, owner, row, column, fill) for column in (left, right))
        lines.append(parts.between(one, other, beside))
    return parts.between(lines[0], lines[1], low)


# -- examples ------------------------------------------------------------------------------------------------------


def _transforms() -> Array:
    one = [1.1, 0.1, -1.03, 0.05, 0.9, 0.52, 0.001, 0.002]
    return np.asarray([one, [0.7, -0.35, 3.17, 0.6, 1.21, -4.13, 0, 0]], np.float32)


def _v2_examples() -> Iterator[Example]:
    size = np.asarray([6, 8], np.int32)
    yield Example((sample(2, 7, 9, 3), _transforms(), size), {"interpolation": "BILINEAR"}, (2,), tolerance=5e-6)
    yield Example((sample(2, 7, 9, 3), _transforms()[:1], size), {"interpolation": "NEAREST"}, (1, 2), note="one for all")


def _v3_examples() -> Iterator[Example]:
    inputs = (sample(2, 7, 9, 2), _transforms(), np.asarray([9, 11], np.int32), np.asarray(0.5, np.float32))
    for mode in ("CONSTANT", "NEAREST", "REFLECT", "WRAP"):
        for between in ("NEAREST", "BILINEAR"):
            attrs = {"interpolation": between, "fill_mode": mode}
            yield Example(inputs, attrs, (2, 3), note=f"{mode}, {between}", tolerance=1e-5)
    numbers = np.arange(63, dtype=np.uint8).reshape(1, 7, 9, 1)
    yield Example((numbers, _transforms()[:1], *inputs[2:]), {"interpolation": "NEAREST"}, (1, 2, 3), note="bytes")


SPECS = (
    OpSpec(
        name="ImageProjectiveTransformV2",
        attrs={"interpolation": "NEAREST", "fill_mode": "CONSTANT"},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        by_width=True,
        examples=_v2_examples,
    ),
    OpSpec(
        name="ImageProjectiveTransformV3",
        attrs={"interpolation": "NEAREST", "fill_mode": "CONSTANT"},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        by_width=True,
        examples=_v3_examples,
    ),
)
