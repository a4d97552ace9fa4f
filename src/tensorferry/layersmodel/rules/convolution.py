"""Convolutions. Those over one axis that tfjs-layers lacks are done over two, the second of size 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tensorferry.layersmodel import curves
from tensorferry.layersmodel.records import Lacking, Ref
from tensorferry.layersmodel.registry import rule
from tensorferry.layersmodel.site import Site
from tensorferry.tensor import ArrayTensor, ReshapedTensor, Tensor

_WIDENED = 1 << 26
"""Elements of a causal kernel that is rewritten."""


def window(site: Site, rank: int, *, grouped: bool = False) -> dict[str, Any]:
    """What all convolutions say. Keras 1 kept kernels in other orders, and channels may not come first."""
    site.refuse_channels_first()
    if site.layer.release == 1:
        raise Lacking("Keras 1 kept its kernel in another order")
    if site.config.integer("groups", 1) != 1 and not grouped:
        raise Lacking("its channels are in groups")
    sizes = list(site.config.integers("kernel_size", rank))
    kernel = next(iter(site.weights("kernel", "depthwise_kernel").values()))
    if list(kernel.shape[:rank]) != sizes or len(kernel.shape) != rank + 2:
        raise Lacking("its kernel is of another size than its config says")
    return {
        "kernel_size": sizes,
        "strides": list(site.config.integers("strides", rank, default=1)),
        "padding": site.config.text("padding", "valid", among=("valid", "same", "causal")),
        "dilation_rate": list(site.config.integers("dilation_rate", rank, default=1)),
        "use_bias": "bias" in site.weights("bias"),
        "data_format": "channels_last",
    }


@rule("Conv1D", "Conv2D", "Conv3D")
def convolution(site: Site) -> Ref:
    name = site.layer.class_name
    rank = int(name[4])
    own, rest = curves.own_and_rest(site)
    if rank == 2 and site.config.integer("groups", 1) == site.shape()[-1] != 1:
        return rest(_by_channel(site, own))
    weights = site.weights("kernel", "bias")
    config = {"filters": weights["kernel"].shape[-1], **window(site, rank), "activation": own}
    if weights["kernel"].shape[-2] != site.shape()[-1]:
        raise Lacking("its channels are in groups")
    if config["padding"] == "causal":
        config, weights = _causal(config, weights)
    if rank == 3 and set(config["dilation_rate"]) != {1} and set(config["strides"]) != {1}:
        raise Lacking("it has both strides and dilations")
    return rest(site.main(name, config, weights))


def _by_channel(site: Site, activation: str) -> Ref:
    """As many groups as channels: one kernel or several for each, whose results lie side by side."""
    kernel = site.weights("kernel")["kernel"]
    height, width, _one, filters = kernel.shape
    channels = site.config.integer("groups")
    config = {**window(site, 2, grouped=True), "depth_multiplier": filters // channels, "activation": activation}
    if set(config.pop("dilation_rate")) != {1} or config["padding"] == "causal":
        raise Lacking("its channels are in groups, and it is dilated")
    apart = ReshapedTensor(kernel, (height, width, channels, filters // channels))
    return site.main("DepthwiseConv2D", config, {"depthwise_kernel": apart, **site.weights("bias")})


def _causal(config: dict[str, Any], weights: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """As many zeros behind the kernel as lie before its last tap: with padding on both sides it then looks back only."""
    if config["strides"] != [1]:
        raise Lacking("it is causal and has strides")
    kernel = weights["kernel"]
    length = config["kernel_size"][0]
    if 2 * kernel.size > _WIDENED:
        raise Lacking("it is causal and its kernel is large")
    wide = np.pad(kernel.array(), [(0, length - 1), (0, 0), (0, 0)])
    changed = {**config, "padding": "same", "kernel_size": [2 * length - 1]}
    return changed, {**weights, "kernel": ArrayTensor(wide)}


@rule("DepthwiseConv2D")
def depthwise(site: Site) -> Ref:
    own, rest = curves.own_and_rest(site)
    return rest(site.main("DepthwiseConv2D", {**_depthwise(site, 2), "activation": own}, _depthwise_weights(site)))


@rule("DepthwiseConv1D")
def depthwise_row(site: Site) -> Ref:
    own, rest = curves.own_and_rest(site)
    config = {**_flat(_depthwise(site, 1)), "activation": own}
    weights = _flat_weights(_depthwise_weights(site), "depthwise_kernel")
    return rest(in_rows(site, lambda value: site.main("DepthwiseConv2D", config, weights, [value])))


def _depthwise(site: Site, rank: int) -> dict[str, Any]:
    multiplier = site.weights("depthwise_kernel")["depthwise_kernel"].shape[-1]
    config = {**window(site, rank), "depth_multiplier": multiplier}
    if set(config.pop("dilation_rate")) != {1}:
        raise Lacking("it is dilated, which TensorFlow.js' depthwise layer ignores")
    return config


def _depthwise_weights(site: Site) -> dict[str, Tensor]:
    return site.weights("depthwise_kernel", "bias")


@rule("SeparableConv2D")
def separable(site: Site) -> Ref:
    own, rest = curves.own_and_rest(site)
    config = {**_separable(site, 2), "activation": own}
    return rest(site.main("SeparableConv2D", config, site.weights("depthwise_kernel", "pointwise_kernel", "bias")))


@rule("SeparableConv1D")
def separable_row(site: Site) -> Ref:
    own, rest = curves.own_and_rest(site)
    config = {**_flat(_separable(site, 1)), "activation": own}
    weights = _flat_weights(site.weights("depthwise_kernel", "pointwise_kernel", "bias"), "depthwise_kernel", "pointwise_kernel")
    return rest(in_rows(site, lambda value: site.main("SeparableConv2D", config, weights, [value])))


def _separable(site: Site, rank: int) -> dict[str, Any]:
    more = {
        "filters": site.weights("pointwise_kernel")["pointwise_kernel"].shape[-1],
        "depth_multiplier": site.weights("depthwise_kernel")["depthwise_kernel"].shape[-1],
    }
    return {**window(site, rank), **more}


@rule("Conv2DTranspose")
def transposed(site: Site) -> Ref:
    own, rest = curves.own_and_rest(site)
    config = {**_transposed(site, 2), "activation": own}
    return rest(site.main("Conv2DTranspose", config, site.weights("kernel", "bias")))


@rule("Conv3DTranspose")
def transposed_volume(_site: Site) -> Ref:
    raise Lacking("the layer of TensorFlow.js gives nothing but the bias")


@rule("Conv1DTranspose")
def transposed_row(site: Site) -> Ref:
    own, rest = curves.own_and_rest(site)
    config = {**_flat(_transposed(site, 1)), "activation": own}
    weights = _flat_weights(site.weights("kernel", "bias"), "kernel")
    return rest(in_rows(site, lambda value: site.main("Conv2DTranspose", config, weights, [value])))


def _transposed(site: Site, rank: int) -> dict[str, Any]:
    config = {"filters": site.weights("kernel")["kernel"].shape[-2], **window(site, rank)}
    if set(config.pop("dilation_rate")) != {1} or site.config.get("output_padding") is not None:
        raise Lacking("it is dilated, or its output is padded")
    return config


# -- over two axes -------------------------------------------------------------------------------------------------


def in_rows(site: Site, build: Callable[[Ref], Ref]) -> Ref:
    """A sequence as an image of width 1, and back."""
    _batch, length, channels = site.shape()
    value = build(site.reshaped(site.inputs[0], (length, 1, channels)))
    return site.reshaped(value, site.result()[1:])


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    if config["padding"] == "causal":
        raise Lacking("it is causal")
    changed: dict[str, Any] = {key: [*config[key], 1] for key in ("kernel_size", "strides", "dilation_rate") if key in config}
    return {**config, **changed}


def _flat_weights(weights: dict[str, Tensor], *kernels: str) -> dict[str, Tensor]:
    """A width of 1 behind the length. The pointwise kernel's length is 1 as well."""
    wide = {name: ReshapedTensor(weights[name], (weights[name].shape[0], 1, *weights[name].shape[1:])) for name in kernels}
    return {**weights, **wide}
