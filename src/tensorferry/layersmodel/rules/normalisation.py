"""Normalisations, and the scaling of inputs by numbers for each channel, which is one too."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorferry.layersmodel.records import Lacking, Ref
from tensorferry.layersmodel.registry import rule
from tensorferry.layersmodel.site import Site
from tensorferry.tensor import Array, ArrayTensor, Tensor

_MOST_AXES = 4
_EPSILON = 1e-7
"""Keras divides by no smaller deviation."""


@rule("BatchNormalization", masks=True)
def batch_normalization(site: Site) -> Ref:
    given = site.config.get("axis", -1)
    axes = [given] if isinstance(given, int) else list(site.config.integers("axis", default=-1))
    if len(axes) != 1 or site.config.flag("renorm") or site.config.integer("mode", 0) != 0:
        raise Lacking("it is over several axes, or renormalises")
    weights = site.weights("gamma", "beta", "moving_mean", "moving_variance")
    config: dict[str, Any] = {
        "momentum": site.config.number("momentum", 0.99),
        "epsilon": site.config.number("epsilon", 1e-3),
        "center": "beta" in weights,
        "scale": "gamma" in weights,
    }
    return _along(site, axes[0] % site.rank(), config, weights)


def _along(site: Site, axis: int, config: dict[str, Any], weights: dict[str, Tensor]) -> Ref:
    """The kernels of TensorFlow.js repeat the numbers along the last axis, so another one is brought there."""
    rank = site.rank()
    if rank > _MOST_AXES or rank < 2 or axis == 0:
        raise Lacking(f"its input has {rank} axes, of which TensorFlow.js takes 2 to {_MOST_AXES}")
    if axis == rank - 1:
        return site.main("BatchNormalization", {"axis": -1, **config}, weights)
    if site.given().masked:
        raise Lacking("it is given a mask")
    order = [each for each in range(rank) if each != axis] + [axis]
    value = site.main("BatchNormalization", {"axis": -1, **config}, weights, [site.permuted(site.inputs[0], order)])
    return site.permuted(value, [order.index(each) for each in range(rank)])


@rule("LayerNormalization", masks=True)
def layer_normalization(site: Site) -> Ref:
    given = site.config.get("axis", -1)
    axes = [given] if isinstance(given, int) else list(site.config.integers("axis", default=-1))
    if site.rank() > _MOST_AXES or site.config.flag("rms_scaling"):
        raise Lacking("its input has more than 4 axes, or it takes the root of the mean square")
    weights = site.weights("gamma", "beta")
    config = {
        "axis": sorted(axis % site.rank() for axis in axes),
        "epsilon": site.config.number("epsilon", 1e-3),
        "center": "beta" in weights,
        "scale": "gamma" in weights,
    }
    return site.main("LayerNormalization", config, weights)


@rule("Rescaling", masks=False)
def rescaling(site: Site) -> Ref:
    scale, offset = _numbers(site, "scale", 1.0), _numbers(site, "offset", 0.0)
    if scale.size == 1 and offset.size == 1:
        return site.main("Rescaling", {"scale": float(scale.item()), "offset": float(offset.item())})
    return affine(site, scale, offset)


def _numbers(site: Site, key: str, default: float) -> Array:
    try:
        return np.asarray(default if site.config.get(key) is None else site.config[key], np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise site.config.wrong(key, "numbers") from None


def affine(site: Site, scale: Array, offset: Array) -> Ref:
    """x * scale + offset for each channel: a batch normalisation of mean 0 and variance 1."""
    channels = site.shape()[-1]
    if not isinstance(channels, int) or not {scale.size, offset.size} <= {1, channels}:
        raise Lacking("its numbers are not one for each channel")
    spread = [np.broadcast_to(each.astype(np.float32), channels).copy() for each in (scale, offset)]
    zeros, ones = np.zeros(channels, np.float32), np.ones(channels, np.float32)
    weights: dict[str, Tensor] = {
        name: ArrayTensor(array)
        for name, array in zip(("gamma", "beta", "moving_mean", "moving_variance"), (*spread, zeros, ones), strict=True)
    }
    return _along(site, site.rank() - 1, {"epsilon": 0.0, "center": True, "scale": True}, weights)


@rule("LayerScale")
def layer_scale(site: Site) -> Ref:
    """A factor for each channel, as ConvNeXt has it."""
    return affine(site, site.weights("gamma")["gamma"].array().reshape(-1), np.zeros(1))


@rule("Normalization")
def normalization(site: Site) -> Ref:
    given = site.config.get("axis", -1)
    axes = [] if given is None else [given] if isinstance(given, int) else list(site.config.integers("axis"))
    if len(axes) > 1 or (axes and axes[0] % site.rank() != site.rank() - 1) or site.config.flag("invert"):
        raise Lacking("it is over other axes than the last, or inverted")
    stored = site.weights("mean", "variance")
    mean, variance = (
        np.asarray(stored[key].array() if key in stored else site.config.get(key), np.float64).reshape(-1)
        for key in ("mean", "variance")
    )
    scale = 1 / np.maximum(np.sqrt(variance), _EPSILON)
    if scale.size == 1 and mean.size == 1 and not site.rank() > _MOST_AXES:
        return site.main("Rescaling", {"scale": float(scale[0]), "offset": float(-mean[0] * scale[0])})
    return affine(site, scale, -mean * scale)
