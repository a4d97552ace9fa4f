"""Preprocessing of images and numbers: scaling, sizes, crops; augmentation, which does nothing outside of training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder
from tensorferry.readers.keras.description import Config
from tensorferry.readers.keras.layers.resizing import resize
from tensorferry.readers.keras.registry import Slot, layer
from tensorferry.tensor import Array

AUGMENTATION = [
    *("AugMix", "CutMix", "MixUp", "RandAugment", "RandomApply", "RandomBrightness", "RandomChoice"),
    *("RandomColorDegeneration", "RandomColorJitter", "RandomContrast", "RandomElasticTransform", "RandomErasing"),
    *("RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHeight", "RandomHue", "RandomInvert"),
    *("RandomPerspective", "RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear"),
    *("RandomTranslation", "RandomWidth", "RandomZoom"),
]

_EPSILON = 1e-7
"""Keras' smallest deviation to divide by."""


@layer(*AUGMENTATION, keeps_mask=True)
def augmentation(_build: Builder, _config: Config, inputs: Sequence[Value]) -> Value:
    """What only acts in training."""
    return inputs[0]


# -- numbers -------------------------------------------------------------------------------------------------------


def _vector(build: Builder, config: Config, key: str, default: float) -> Value:
    given = config.get(key)
    array = np.asarray(default if given is None else given)
    if array.dtype.kind not in "fiub":
        raise config.wrong(key, "numbers")
    return build.constant(array.astype(np.float64), name=key)


@layer("Rescaling", keeps_mask=True)
def rescaling(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """A factor, and a number added."""
    scaled = build.add("Mul", (build.floating(inputs[0]), _vector(build, config, "scale", 1.0)))
    return build.add("AddV2", (scaled, _vector(build, config, "offset", 0.0)))


def _moments(config: Config) -> list[Slot]:
    if config.get("mean") is not None:
        return []
    return [Slot(role, trainable=False) for role in ("mean", "variance", "count")]


@layer("Normalization", weights=_moments)
def normalization(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """To a mean of 0 and a deviation of 1, or back."""
    x = build.floating(inputs[0])
    rank = build.rank(x)
    given = config.get("axis", -1)
    axes = [] if given is None else [given] if isinstance(given, int) else list(config.integers("axis"))
    kept = {build.axis(x, axis) for axis in axes}
    sizes = [build.size(x, axis) if axis in kept else 1 for axis in range(rank)]

    def spread(key: str) -> Array:
        array = np.asarray(build.tensor(key).array() if build.has(key) else config.get(key), np.float64)
        if array.size not in (1, int(np.prod(sizes))):
            raise config.wrong(key, f"{int(np.prod(sizes))} numbers")
        return array.reshape(sizes) if array.size != 1 else np.full(sizes, array.reshape(-1)[0])

    mean = spread("mean")
    deviation = np.maximum(np.sqrt(spread("variance")), _EPSILON)
    if config.flag("invert"):
        return build.add(
            "AddV2", (build.add("Mul", (x, build.constant(deviation, name="deviation"))), build.constant(mean, name="mean"))
        )
    shifted = build.add("Sub", (x, build.constant(mean, name="mean")))
    return build.add("RealDiv", (shifted, build.constant(deviation, name="deviation")))


# -- sizes ---------------------------------------------------------------------------------------------------------


class _Images:
    """One layer's images, brought to [batch, height, width, channels] and back."""

    def __init__(self, build: Builder, config: Config, value: Value) -> None:
        self._build = build
        self._single = build.rank(value) == 3
        self._first = config.text("data_format", "channels_last") == "channels_first"
        value = build.floating(value)
        value = build.expand(value, 0) if self._single else value
        if build.rank(value) != 4:
            raise build.unsupported(f"its input has {build.rank(value)} axes, not 3 or 4")
        self.value = build.transpose(value, (0, 2, 3, 1)) if self._first else value

    def sizes(self) -> tuple[int, int]:
        return self._build.size(self.value, 1), self._build.size(self.value, 2)

    def back(self, value: Value) -> Value:
        value = self._build.transpose(value, (0, 3, 1, 2)) if self._first else value
        return self._build.squeeze(value, (0,)) if self._single else value


def _window(build: Builder, image: Value, start: tuple[int, int], size: tuple[int, int]) -> Value:
    begin = build.constant([0, *start, 0], name="begin")
    return build.add("Slice", (image, begin, build.constant([-1, *size, -1], name="size")))


def _fraction(one: int, other: int, divisor: int) -> int:
    """As Keras computes it: in single precision, cut to a whole number."""
    return int(np.float32(one * other) / np.float32(divisor))


def _cropped(build: Builder, image: Value, known: tuple[int, int], target: tuple[int, int]) -> Value:
    """The middle of the target's proportions."""
    (height, width), (to_height, to_width) = known, target
    size = max(min(height, _fraction(width, to_height, to_width)), 1), max(min(width, _fraction(height, to_width, to_height)), 1)
    return _window(build, image, ((height - size[0]) // 2, (width - size[1]) // 2), size)


def _padded(build: Builder, image: Value, known: tuple[int, int], target: tuple[int, int], number: float) -> Value:
    (height, width), (to_height, to_width) = known, target
    tall, wide = max(height, _fraction(width, to_height, to_width)), max(width, _fraction(height, to_width, to_height))
    top, left = (tall - height) // 2, (wide - width) // 2
    paddings = build.constant([[0, 0], [top, top], [left, left], [0, 0]], name="paddings")
    return build.add("PadV2", (image, paddings, build.number(number, image)))


@layer("Resizing")
def resizing(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """To a size, as a whole, cut, or padded to the same proportions."""
    images = _Images(build, config, inputs[0])
    target = config.integer("height"), config.integer("width")
    image = images.value
    if config.flag("crop_to_aspect_ratio"):
        image = _cropped(build, image, images.sizes(), target)
    elif config.flag("pad_to_aspect_ratio"):
        image = _padded(build, image, images.sizes(), target, config.number("fill_value", 0.0))
    return images.back(
        resize(build, image, target, config.text("interpolation", "bilinear").lower(), antialias=config.flag("antialias"))
    )


@layer("CenterCrop")
def center_crop(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """The middle; of images that are too small, the middle of these proportions, enlarged."""
    images = _Images(build, config, inputs[0])
    target, known = (config.integer("height"), config.integer("width")), images.sizes()
    if known[0] >= target[0] and known[1] >= target[1]:
        start = (known[0] - target[0]) // 2, (known[1] - target[1]) // 2
        return images.back(_window(build, images.value, start, target))
    return images.back(resize(build, _cropped(build, images.value, known, target), target, "bilinear"))


@layer("RandomCrop")
def random_crop(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Nothing outside of training in Keras 3; in Keras 2 the middle of these proportions, brought to size."""
    if build.layer.release == 3:
        return inputs[0]
    images = _Images(build, config, inputs[0])
    target = config.integer("height"), config.integer("width")
    return images.back(resize(build, _cropped(build, images.value, images.sizes(), target), target, "bilinear"))
