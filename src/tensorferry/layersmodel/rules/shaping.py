"""Pooling, padding, cropping, enlarging, and layers that only move numbers. Over three axes is done over two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorferry.layersmodel.records import Lacking, Ref
from tensorferry.layersmodel.registry import rule
from tensorferry.layersmodel.rules.convolution import in_rows
from tensorferry.layersmodel.site import Site

Pair = tuple[int, int]


@rule(*(f"{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2, 3)))
def pooling(site: Site) -> Ref:
    site.refuse_channels_first()
    rank = int(site.layer.class_name[-2])
    sizes = site.config.integers("pool_size", rank, default=2)
    config = {
        "pool_size": list(sizes),
        "strides": list(site.config.integers("strides", rank, default=sizes)),
        "padding": site.config.text("padding", "valid", among=("valid", "same")),
    }
    return site.main(site.layer.class_name, config)


@rule(*(f"Global{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2, 3)))
def global_pooling(site: Site) -> Ref:
    """Over volumes: two axes become one."""
    site.refuse_channels_first()
    name, value = site.layer.class_name, site.inputs[0]
    if name.endswith("3D"):
        depth, height, width, channels = site.sizes()
        value, name = site.reshaped(value, (depth * height, width, channels)), name.replace("3D", "2D")
    value = site.main(name, {}, inputs=[value])
    return site.reshaped(value, site.result()[1:]) if site.config.flag("keepdims") else value


# -- places --------------------------------------------------------------------------------------------------------


def _pairs(site: Site, key: str, rank: int) -> list[Pair]:
    """How much before and behind, for each axis of places."""
    given = site.config.get(key, 1)
    listed = given if isinstance(given, list | tuple) else [given] * rank
    if rank == 1 and len(listed) == 2 and not isinstance(listed[0], list | tuple):
        listed = [listed]
    pairs = [tuple(each) if isinstance(each, list | tuple) else (each, each) for each in listed]
    if len(pairs) != rank or any(len(each) != 2 or any(not isinstance(size, int) for size in each) for each in pairs):
        raise site.config.wrong(key, "pairs of whole numbers")
    return [(each[0], each[1]) for each in pairs]


@rule("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "Cropping1D", "Cropping2D", "Cropping3D")
def padding(site: Site) -> Ref:
    site.refuse_channels_first()
    rank = int(site.layer.class_name[-2])
    key = "padding" if site.layer.class_name.startswith("Zero") else "cropping"
    if key == "cropping":
        site.sizes()  # TensorFlow.js takes away from open sizes as if they were 0
    return _over_places(site, f"{site.layer.class_name[:-2]}2D", key, _pairs(site, key, rank))


def _over_places(site: Site, name: str, key: str, pairs: Sequence[Any]) -> Ref:
    """A layer of two axes for one, two or three."""
    if len(pairs) == 1:
        neutral = 1 if key == "size" else (0, 0)
        return in_rows(site, lambda value: site.main(name, {key: [pairs[0], neutral]}, inputs=[value]))
    if len(pairs) == 2:
        return site.main(name, {key: list(pairs)})
    depth, height, width, channels = site.sizes()
    deep, high, wide, _channels = (size for size in site.result()[1:])
    value = site.reshaped(site.inputs[0], (depth, height, width * channels))
    value = site.extra(name, value, **{key: list(pairs[:2])})
    value = site.reshaped(value, (int(deep) * int(high), width, channels))
    value = site.extra(name, value, **{key: [1 if key == "size" else (0, 0), pairs[2]]})
    return site.reshaped(value, (deep, high, wide, channels))


@rule("UpSampling1D", "UpSampling2D", "UpSampling3D")
def enlarging(site: Site) -> Ref:
    site.refuse_channels_first()
    rank = int(site.layer.class_name[-2])
    if site.config.text("interpolation", "nearest") != "nearest":
        raise Lacking("TensorFlow.js takes other places than Keras when it interpolates")
    return _over_places(site, "UpSampling2D", "size", site.config.integers("size", rank, default=2))


@rule("CenterCrop", integers=False)
def center_crop(site: Site) -> Ref:
    height, width, _channels = site.sizes()
    lost = height - site.config.integer("height"), width - site.config.integer("width")
    if min(lost) < 0:
        raise Lacking("it enlarges what is too small")
    return site.main("Cropping2D", {"cropping": [(each // 2, each - each // 2) for each in lost]})


# -- shapes --------------------------------------------------------------------------------------------------------


@rule("Flatten", integers=True)
def flatten(site: Site) -> Ref:
    site.refuse_channels_first()
    if site.rank() == 2:
        return site.identity(site.inputs[0])
    site.sizes()
    return site.main("Flatten", {})


@rule("Reshape", integers=True)
def reshape(site: Site) -> Ref:
    return site.main("Reshape", {"target_shape": list(site.config.integers("target_shape"))})


@rule("Permute", integers=True)
def permute(site: Site) -> Ref:
    return site.main("Permute", {"dims": list(site.config.integers("dims"))})


@rule("RepeatVector", integers=True)
def repeat_vector(site: Site) -> Ref:
    return site.main("RepeatVector", {"n": site.config.integer("n")})


@rule("Masking")
def masking(site: Site) -> Ref:
    return site.main("Masking", {"mask_value": site.config.number("mask_value", 0.0)})
