"""Pooling over windows, and over everything."""

from __future__ import annotations

from collections.abc import Sequence

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder
from tensorferry.readers.keras.description import Config
from tensorferry.readers.keras.registry import layer


@layer(*(f"{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2, 3)))
def pooling(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """The largest, or the mean, of each window."""
    kind, rank = build.layer.class_name[:3], int(build.layer.class_name[-2])
    sizes = config.integers("pool_size", rank, default=2)
    strides = config.integers("strides", rank, default=sizes)
    attrs = {"padding": config.text("padding", "valid", among=("valid", "same")).upper()}
    value = build.channels_last(inputs[0])
    if build.rank(value) != rank + 2:
        raise build.unsupported(f"its input has {build.rank(value)} axes, not {rank + 2}")
    op = {"Max": "MaxPool", "Ave": "AvgPool"}[kind] + ("3D" if rank == 3 else "")
    if rank == 1:
        value, sizes, strides = build.expand(value, 2), (*sizes, 1), (*strides, 1)
    value = build.add(op, (value,), {**attrs, "ksize": (1, *sizes, 1), "strides": (1, *strides, 1)})
    return build.as_before(build.squeeze(value, [2]) if rank == 1 else value)


@layer(*(f"GlobalMaxPooling{rank}D" for rank in (1, 2, 3)))
def global_max(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """The largest of each channel."""
    return build.reduce("Max", inputs[0], _places(build, inputs[0]), config.flag("keepdims"))


@layer(*(f"GlobalAveragePooling{rank}D" for rank in (1, 2, 3)))
def global_average(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """The mean of each channel; over time, of the steps that a mask leaves."""
    value, keep = inputs[0], config.flag("keepdims")
    mask = build.given_mask(value) if build.layer.class_name == "GlobalAveragePooling1D" else None
    if mask is None:
        return build.reduce("Mean", value, _places(build, value), keep)
    counts = build.expand(build.cast(mask, value.dtype), 1 if build.is_first else 2)
    axes = _places(build, value)
    total = build.reduce("Sum", build.add("Mul", (value, counts)), axes, keep)
    return build.add("RealDiv", (total, build.reduce("Sum", counts, axes, keep)))


def _places(build: Builder, value: Value) -> list[int]:
    rank = build.rank(value)
    return list(range(2, rank)) if build.is_first else list(range(1, rank - 1))
