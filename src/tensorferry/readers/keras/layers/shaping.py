"""Layers that move, cut, repeat and look up elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder, Size
from tensorferry.readers.keras.description import Config
from tensorferry.readers.keras.layers.resizing import INTERPOLATIONS, resize
from tensorferry.readers.keras.registry import layer
from tensorferry.tensor import DType


@layer("Flatten")
def flatten(build: Builder, _config: Config, inputs: Sequence[Value]) -> Value:
    """All axes but the first become one, channels last."""
    value = inputs[0]
    rank = build.rank(value)
    if rank < 2:
        return build.reshape(value, [-1, 1])
    if build.is_first and rank > 2:
        value = build.channels_last(value)
    sizes = build.sizes(value)
    if all(isinstance(each, int) for each in sizes[1:]):
        return build.reshape(value, [sizes[0], int(np.prod([int(each) for each in sizes[1:] if isinstance(each, int)]))])
    return build.reshape(value, [sizes[0], -1])


@layer("Reshape")
def reshape(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """To a shape without the batch; one size may be -1."""
    target = list(config.integers("target_shape"))
    value = inputs[0]
    sizes = build.sizes(value)
    known = [each for each in sizes[1:] if isinstance(each, int)]
    if target.count(-1) == 1 and len(known) == len(sizes) - 1:
        rest = int(np.prod([each for each in target if each != -1]))
        target[target.index(-1)] = int(np.prod(known)) // rest if rest else 0
    return build.reshape(value, [sizes[0], *target])


@layer("Permute")
def permute(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Axes counted from 1, behind the batch."""
    order = config.integers("dims")
    if sorted(order) != list(range(1, build.rank(inputs[0]))):
        raise config.wrong("dims", "each axis once, from 1 on")
    return build.transpose(inputs[0], [0, *order])


@layer("RepeatVector")
def repeat_vector(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """A sequence of copies."""
    return build.add("Tile", (build.expand(inputs[0], 1), build.vector([1, config.integer("n"), 1])))


def _pairs(config: Config, key: str, rank: int) -> list[tuple[int, int]]:
    """(before, after) for each axis: of one number, of a number for each axis, or of pairs."""
    given = config.get(key, 1)
    if isinstance(given, Mapping):  # Keras 1
        named, sides = Config(given, config.layer), (("top", "bottom"), ("left", "right"))[2 - rank :] if rank < 3 else ()
        return [(named.integer(f"{one}_pad", 0), named.integer(f"{other}_pad", 0)) for one, other in sides]
    if isinstance(given, int):
        return [(given, given)] * rank
    if rank == 1 and isinstance(given, list) and len(given) == 2 and all(isinstance(each, int) for each in given):
        return [(given[0], given[1])]
    if not isinstance(given, list) or len(given) != rank:
        if rank == 2 and isinstance(given, list) and len(given) == 4 and all(isinstance(each, int) for each in given):
            return [(given[0], given[1]), (given[2], given[3])]
        raise config.wrong(key, "a number or a pair for each axis")
    pairs = [(each, each) if isinstance(each, int) else each for each in given]
    for each in pairs:
        if len(each) != 2 or not all(isinstance(one, int) and one >= 0 for one in each):
            raise config.wrong(key, "a number or a pair for each axis")
    return [(each[0], each[1]) for each in pairs]


@layer("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def zero_padding(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Zeros around each sample."""
    first = 2 if build.is_first else 1
    pairs = _pairs(config, "padding", int(build.layer.class_name[-2]))
    return build.pad(inputs[0], {first + axis: pair for axis, pair in enumerate(pairs)})


@layer("Cropping1D", "Cropping2D", "Cropping3D")
def cropping(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """The middle of each sample."""
    first = 2 if build.is_first else 1
    pairs = _pairs(config, "cropping", int(build.layer.class_name[-2]))
    return build.cut(inputs[0], {first + axis: pair for axis, pair in enumerate(pairs)})


# -- larger --------------------------------------------------------------------------------------------------------


@layer("UpSampling1D", "UpSampling3D")
def upsampling(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Each place several times."""
    rank = int(build.layer.class_name[-2])
    value = inputs[0]
    for axis, times in enumerate(config.integers("size", rank, default=2), 2 if build.is_first else 1):
        value = repeat(build, value, axis, times)
    return value


def repeat(build: Builder, value: Value, axis: int, times: int) -> Value:
    """Each element along an axis several times in a row."""
    if times == 1:
        return value
    sizes = build.sizes(value)
    factors = [1] * (len(sizes) + 1)
    factors[axis + 1] = times
    copies = build.add("Tile", (build.expand(value, axis + 1), build.vector(factors)))
    return build.reshape(copies, [*sizes[:axis], build.times(sizes[axis], times), *sizes[axis + 1 :]])


@layer("UpSampling2D")
def upsampling2d(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """A larger image, by any interpolation."""
    factors = config.integers("size", 2, default=2)
    way = config.text("interpolation", "nearest", among=INTERPOLATIONS)
    value = build.channels_last(build.floating(inputs[0]))
    sizes = build.sizes(value)
    wanted: list[Size] = [build.times(size, factor) for size, factor in zip(sizes[1:3], factors, strict=True)]
    version = build.layer.version
    before_2 = version.startswith(("2.2.", "2.3.")) and not version.endswith("-tf")
    return build.as_before(resize(build, value, wanted, way, factors=factors, from_corners=before_2))


# -- looking up ----------------------------------------------------------------------------------------------------


@layer("Embedding", weights=["embeddings"])
def embedding(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """A row of the table for each number."""
    index = inputs[0]
    if index.dtype not in (DType.INT32, DType.INT64):
        index = build.cast(index, DType.INT32)
    if config.flag("mask_zero"):
        mask = build.add("NotEqual", (index, build.number(0, index)))
    made = build.add("GatherV2", (build.weight("embeddings"), index, build.constant(0, name="axis")))
    if config.flag("mask_zero"):
        build.set_mask(made, mask)
    return made


@layer("Masking")
def masking(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Steps in which every feature has a certain value become zero, and count no more."""
    value = inputs[0]
    differs = build.add("NotEqual", (value, build.number(config.number("mask_value", 0.0), value)))
    mask = build.reduce("Any", differs, [-1])
    made = build.add("Mul", (value, build.cast(build.expand(mask, build.rank(mask)), value.dtype)))
    build.set_mask(made, mask)
    return made
