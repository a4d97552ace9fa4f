"""Activation functions: those that tfjs-layers has by name, and those that are a few of its layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tensorferry.layersmodel.records import Lacking, Ref
from tensorferry.layersmodel.site import Site

NAMED: Mapping[str, str] = {
    **{name: name for name in ("linear", "relu", "relu6", "elu", "selu", "sigmoid", "tanh", "softplus", "softsign", "softmax")},
    **{name: name for name in ("log_softmax", "mish", "gelu", "swish")},
    "silu": "swish",
}
"""Keras' name -> the name in a config of tfjs-layers; computed in the same way."""


def _hard_sigmoid3(site: Site, value: Ref) -> Ref:
    """relu6(x + 3) / 6 of Keras 3; what tfjs-layers calls so is 0.2 x + 0.5, which Keras 2 has."""
    return site.scaled(site.extra("ReLU", site.scaled(value, 1.0, 3.0), max_value=6.0), 1 / 6)


def _hard_silu(site: Site, value: Ref) -> Ref:
    return site.extra("Multiply", [value, _hard_sigmoid3(site, value)])


def _log_sigmoid(site: Site, value: Ref) -> Ref:
    return site.scaled(site.extra("Activation", site.scaled(value, -1.0), activation="softplus"), -1.0)


def _tanh_shrink(site: Site, value: Ref) -> Ref:
    return site.extra("Add", [value, site.scaled(site.extra("Activation", value, activation="tanh"), -1.0)])


BUILT: Mapping[str, Callable[[Site, Ref], Ref]] = {
    "leaky_relu": lambda site, value: site.extra("LeakyReLU", value, alpha=0.2),
    "hard_silu": _hard_silu,
    "hard_swish": _hard_silu,
    "log_sigmoid": _log_sigmoid,
    "tanh_shrink": _tanh_shrink,
}
"""Keras' name -> the layers that compute it."""


def name_of(given: Any) -> str:
    """Keras' name of an activation as a config gives it."""
    if given is None:
        return "linear"
    if isinstance(given, Mapping):
        inner = given.get("config") if given.get("class_name") == "function" else given.get("class_name")
        given = inner
    if not isinstance(given, str):
        raise Lacking("its activation is no function with a name")
    return given


def named(site: Site, key: str = "activation", default: str = "linear") -> str:
    """The activation under a key of the layer's config as tfjs-layers names it, where it has it."""
    name = name_of(site.config.get(key, default))
    if name == "hard_sigmoid" and site.layer.release != 3:
        return name
    if name not in NAMED:
        raise Lacking(f"TensorFlow.js has no activation '{name}' as Keras computes it")
    return NAMED[name]


def own_and_rest(site: Site) -> tuple[str, Callable[[Ref], Ref]]:
    """The activation to write into the layer's config, and what comes behind the layer."""
    name = name_of(site.config.get("activation"))
    if name == "hard_sigmoid" and site.layer.release == 3:
        return "linear", lambda value: _hard_sigmoid3(site, value)
    if name in BUILT:
        return "linear", lambda value: BUILT[name](site, value)
    return named(site), lambda value: value
