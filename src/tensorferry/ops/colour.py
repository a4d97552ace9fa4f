"""Colours of images: between RGB and HSV, contrast, hue and saturation. Neither target has any of it; written in arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tensorferry.ir import Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType


def _infer_colours(node: Node) -> list[Typed]:
    value = node.inputs[0]
    if value.shape is not None and (not value.shape or (isinstance(value.shape[-1], int) and value.shape[-1] != 3)):
        raise Declined("its last axis must hold three channels", attributes=f"shape={list(value.shape)}")
    return [Typed(value.dtype, value.shape)]


def _infer_contrast(node: Node) -> list[Typed]:
    value = node.inputs[0]
    if value.rank is not None and value.rank < 3:
        raise Declined(f"its input has rank {value.rank}; an image has 3 at least")
    return [Typed(value.dtype, value.shape)]


# -- evaluation ----------------------------------------------------------------------------------------------------


def _hue(red: Array, green: Array, blue: Array, high: Array, spread: Array) -> Array:
    """Hue in sixths of the circle, -1 to 5; 0 for greys."""
    safe = np.where(spread > 0, spread, 1).astype(spread.dtype)
    hue = np.where(
        red == high,
        (green - blue) / safe,
        np.where(green == high, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    return np.where(spread > 0, hue, 0).astype(spread.dtype)


def _saturated(hue: Array) -> tuple[Array, Array, Array]:
    """How much of the spread each channel has above the lowest, for a hue in sixths."""
    return (
        np.clip(np.abs(hue - 3) - 1, 0, 1),
        np.clip(2 - np.abs(hue - 2), 0, 1),
        np.clip(2 - np.abs(hue - 4), 0, 1),
    )


def _evaluate_to_hsv(_node: Node, x: Array) -> Array:
    high, spread = x.max(axis=-1), np.ptp(x, axis=-1)
    hue = _hue(x[..., 0], x[..., 1], x[..., 2], high, spread) / 6
    saturation = np.where(high > 0, spread / np.where(high > 0, high, 1), 0)
    return np.stack([np.where(hue < 0, hue + 1, hue), saturation, high], axis=-1).astype(x.dtype)


def _evaluate_to_rgb(_node: Node, x: Array) -> Array:
    saturation, value = x[..., 1], x[..., 2]
    channels = [(1 - saturation + saturation * share) * value for share in _saturated(x[..., 0] * 6)]
    return np.stack(channels, axis=-1).astype(x.dtype)


def _evaluate_hue(_node: Node, x: Array, delta: Array) -> Array:
    low, high = x.min(axis=-1), x.max(axis=-1)
    hue = _hue(x[..., 0], x[..., 1], x[..., 2], high, high - low) + delta * 6
    hue = hue - np.floor(hue / 6) * 6
    return np.stack([low + (high - low) * share for share in _saturated(hue)], axis=-1).astype(x.dtype)


def _evaluate_saturation(node: Node, x: Array, scale: Array) -> Array:
    hsv = _evaluate_to_hsv(node, x)
    hsv[..., 1] = np.clip(hsv[..., 1] * scale, 0, 1)
    return _evaluate_to_rgb(node, hsv)


def _evaluate_contrast(_node: Node, x: Array, factor: Array) -> Array:
    mean = x.astype(np.float64).mean(axis=(-3, -2), keepdims=True).astype(x.dtype)
    return np.asarray((x - mean) * factor + mean, x.dtype)


# -- expansions ----------------------------------------------------------------------------------------------------


class Colours(Expansion):
    """An expansion with the steps that colour arithmetic is made of."""

    def channels(self, x: Value) -> tuple[Value, Value, Value]:
        """Red, green and blue, each with a last axis of 1."""
        split = self.make_node("Split", self.constant(np.asarray(-1, np.int32), "axis"), x, num_split=3)
        return split.outputs[0], split.outputs[1], split.outputs[2]

    def join(self, *channels: Value) -> Value:
        return self.make("ConcatV2", *channels, self.constant(np.asarray(-1, np.int32), "axis"), N=3)

    def clip(self, x: Value) -> Value:
        """To 0 .. 1."""
        return self.make("Minimum", self.make("Maximum", x, 0.0), 1.0)

    def spread(self, red: Value, green: Value, blue: Value) -> tuple[Value, Value, Value]:
        """Lowest, highest, and their difference."""
        low = self.make("Minimum", self.make("Minimum", red, green), blue)
        high = self.make("Maximum", self.make("Maximum", red, green), blue)
        return low, high, self.make("Sub", high, low)

    def divided(self, numerator: Value, denominator: Value) -> Value:
        """The quotient; 0 where the denominator is not above 0."""
        positive = self.make("Greater", denominator, 0.0)
        safe = self.make("SelectV2", positive, denominator, 1.0)
        return self.make("SelectV2", positive, self.make("RealDiv", numerator, safe), 0.0)

    def hue(self, red: Value, green: Value, blue: Value, high: Value, spread: Value) -> Value:
        """As `_hue`."""
        grey = self.make("Greater", spread, 0.0)
        safe = self.make("SelectV2", grey, spread, 1.0)
        ways = []
        for one, other, sixths in ((green, blue, 0.0), (blue, red, 2.0), (red, green, 4.0)):
            turned = self.make("RealDiv", self.make("Sub", one, other), safe)
            ways.append(turned if sixths == 0 else self.make("AddV2", turned, sixths))
        least = self.make("SelectV2", self.make("Equal", green, high), ways[1], ways[2])
        return self.make("SelectV2", self.make("Equal", red, high), ways[0], least)

    def shares(self, hue: Value) -> list[Value]:
        """As `_saturated`."""
        shares = []
        for centre, sign, offset in ((3.0, 1, -1.0), (2.0, -1, 2.0), (4.0, -1, 2.0)):
            distance = self.make("Abs", self.make("Sub", hue, centre))
            shares.append(self.clip(self.make("AddV2" if sign > 0 else "Sub", *self._ordered(sign, distance, offset))))
        return shares

    def _ordered(self, sign: int, distance: Value, offset: float) -> tuple[Value, Value]:
        number = self.constant(np.asarray(offset, distance.dtype.numpy), "offset")
        return (distance, number) if sign > 0 else (number, distance)

    def to_hsv(self, x: Value) -> tuple[Value, Value, Value]:
        red, green, blue = self.channels(x)
        _, high, spread = self.spread(red, green, blue)
        turned = self.make("RealDiv", self.hue(red, green, blue, high, spread), 6.0)
        hue = self.make("SelectV2", self.make("Less", turned, 0.0), self.make("AddV2", turned, 1.0), turned)
        return hue, self.divided(spread, high), high

    def to_rgb(self, hue: Value, saturation: Value, value: Value) -> Value:
        rest = self.make("Sub", np.asarray(1, value.dtype.numpy), saturation)
        channels = [
            self.make("Mul", self.make("AddV2", rest, self.make("Mul", saturation, share)), value)
            for share in self.shares(self.make("Mul", hue, 6.0))
        ]
        return self.join(*channels)


def _expand_to_hsv(graph: Graph, node: Node) -> bool:
    parts = Colours(graph, node)
    return parts.finish(parts.join(*parts.to_hsv(node.inputs[0])))


def _expand_to_rgb(graph: Graph, node: Node) -> bool:
    parts = Colours(graph, node)
    return parts.finish(parts.to_rgb(*parts.channels(node.inputs[0])))


def _expand_hue(graph: Graph, node: Node) -> bool:
    parts = Colours(graph, node)
    x, delta = node.inputs
    red, green, blue = parts.channels(x)
    low, high, spread = parts.spread(red, green, blue)
    hue = parts.make("AddV2", parts.hue(red, green, blue, high, spread), parts.make("Mul", delta, 6.0))
    turns = parts.make("Floor", parts.make("RealDiv", hue, 6.0))
    hue = parts.make("Sub", hue, parts.make("Mul", turns, 6.0))
    return parts.finish(parts.join(*[parts.make("AddV2", low, parts.make("Mul", spread, share)) for share in parts.shares(hue)]))


def _expand_saturation(graph: Graph, node: Node) -> bool:
    parts = Colours(graph, node)
    hue, saturation, value = parts.to_hsv(node.inputs[0])
    return parts.finish(parts.to_rgb(hue, parts.clip(parts.make("Mul", saturation, node.inputs[1])), value))


def _expand_contrast(graph: Graph, node: Node) -> bool:
    x, factor = node.inputs
    if x.rank is None:
        return False
    parts = Expansion(graph, node)
    mean = parts.make("Mean", x, np.asarray([x.rank - 3, x.rank - 2], np.int32), keep_dims=True)
    return parts.finish(parts.make("AddV2", parts.make("Mul", parts.make("Sub", x, mean), factor), mean))


# -- examples ------------------------------------------------------------------------------------------------------


def _colours(*shape: int) -> Array:
    """Colours between 0 and 1, the pure ones, greys and black among them."""
    x = np.random.default_rng(shape).random(shape).astype(np.float32)
    pure = np.asarray([[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1]], np.float32)
    flat = x.reshape(-1, 3)
    count = min(len(flat), len(pure))
    flat[:count] = pure[:count]
    return flat.reshape(shape)


def _convert_examples() -> Iterator[Example]:
    yield Example((_colours(2, 4, 5, 3),), note="images")
    yield Example((_colours(9, 3),), note="a list of colours")
    yield Example((_colours(3),), note="one colour")
    yield Example((np.zeros((0, 3), np.float32),), note="none")
    yield Example((_colours(10, 3).astype(np.float64),), {"T": DType.FLOAT64}, note="float64")


def _factor_examples(*factors: float) -> Callable[[], Iterator[Example]]:
    def examples() -> Iterator[Example]:
        for factor in factors:
            yield Example((_colours(2, 4, 5, 3), np.asarray(factor, np.float32)), {}, (1,), note=f"by {factor}", tolerance=2e-6)
        yield Example((_colours(4, 5, 3), np.asarray(factors[0], np.float32)), note="one image, computed", tolerance=2e-6)

    return examples


def _contrast_examples() -> Iterator[Example]:
    yield from _factor_examples(2.0, 0.0)()
    yield Example((sample(2, 2, 3, 4, 2), np.asarray(1.5, np.float32)), {}, (1,), note="rank 5")


SPECS = (
    OpSpec(
        name="RGBToHSV",
        attrs={"T": DType.FLOAT32},
        infer=_infer_colours,
        evaluate=_evaluate_to_hsv,
        expand=_expand_to_hsv,
        examples=_convert_examples,
    ),
    OpSpec(
        name="HSVToRGB",
        attrs={"T": DType.FLOAT32},
        infer=_infer_colours,
        evaluate=_evaluate_to_rgb,
        expand=_expand_to_rgb,
        examples=_convert_examples,
    ),
    OpSpec(
        name="AdjustHue",
        attrs={"T": DType.FLOAT32},
        infer=_infer_colours,
        evaluate=_evaluate_hue,
        expand=_expand_hue,
        examples=_factor_examples(0.3, -0.7),
    ),
    OpSpec(
        name="AdjustSaturation",
        attrs={"T": DType.FLOAT32},
        infer=_infer_colours,
        evaluate=_evaluate_saturation,
        expand=_expand_saturation,
        examples=_factor_examples(1.7, 0.25),
    ),
    OpSpec(
        name="AdjustContrastv2",
        attrs={"T": DType.FLOAT32},
        infer=_infer_contrast,
        evaluate=_evaluate_contrast,
        expand=_expand_contrast,
        examples=_contrast_examples,
    ),
)
