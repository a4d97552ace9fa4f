"""What TensorFlow's toolkit for smaller models wraps layers in: quantisation-aware training, pruning, clusters of weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensorferry.errors import SourceError
from tensorferry.ir import Value
from tensorferry.readers.keras.activations import activate
from tensorferry.readers.keras.building import Builder
from tensorferry.readers.keras.description import EXPORT, Config, Layer
from tensorferry.readers.keras.layers.held import held_layer
from tensorferry.readers.keras.registry import Slot, Slots, Tensors, find, layer
from tensorferry.tensor import Array, Tensor

# -- which weights are where ---------------------------------------------------------------------------------------


def _inner(wrapper: Layer) -> dict[str, Layer]:
    return {"layer": held_layer(wrapper, wrapper.config.get("layer"))}


def _roles(child: Layer) -> tuple[list[str], list[str]]:
    """The weights of the layer inside: those that are trained, and the others."""
    rule = find(child.kind)
    slots = rule.slots(child.config) if rule is not None else []
    if child.children or child.model is not None:
        raise SourceError(f"the layer '{child.name}' is wrapped, but holds layers itself", remedy=EXPORT)
    return [slot.path for slot in slots if slot.trainable], [slot.path for slot in slots if not slot.trainable]


def _numbered(tensors: Tensors) -> list[Tensor]:
    return [tensors[str(number)] for number in range(len(tensors)) if str(number) in tensors]


def _misfit(wrapper: Layer, why: str) -> SourceError:
    return SourceError(
        f"the weights in the file do not fit the layer '{wrapper.name}' ({wrapper.class_name})",
        why=why,
        remedy="give the weights that were saved with this architecture",
    )


def _take(wrapper: Layer, roles: Sequence[str], tensors: Sequence[Tensor]) -> None:
    """Weights of the layer inside, in order."""
    if len(roles) != len(tensors):
        raise _misfit(wrapper, f"the file has {len(tensors)} where the layer inside has {len(roles)}: {', '.join(roles)}")
    wrapper.children["layer"].weights.update(zip(roles, tensors, strict=True))


def _take_named(wrapper: Layer, own: Tensors, extra: Sequence[str]) -> None:
    """From files that list weights: each by its own name."""
    child = wrapper.children["layer"]
    trained, others = _roles(child)
    missing = [role for role in (*trained, *others, *extra) if role not in own]
    if missing:
        raise _misfit(wrapper, f"there is no {missing[0]} among {', '.join(own)}"[:200])
    child.weights.update((role, own[role]) for role in (*trained, *others))
    wrapper.weights.update((name, own[name]) for name in extra)


# -- quantisation-aware training -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scheme:
    """What is rounded to 8 bits: weights by role, what goes into the activation and comes out of it, the output."""

    weights: Sequence[str] = ()
    before: bool = False
    after: bool = False
    output: bool = False
    activation: Any = None

    @property
    def ranges(self) -> list[str]:
        """The ranges that the file keeps, in the order in which they were made."""
        found = [*self.weights, *["pre_activation"] * self.before, *["post_activation"] * self.after, *["output"] * self.output]
        return [f"{name}_{end}" for name in found for end in ("min", "max")]


_WITH_WEIGHTS = ("Default8BitQuantizeConfig", "Default8BitConvQuantizeConfig", "Default8BitConvTransposeQuantizeConfig")
_BEFORE = frozenset({"softmax", "sigmoid", "tanh", "gelu"})
_AFTER = frozenset({"linear", "relu", "swish", "gelu"})
_OUTPUTS = frozenset({"relu", "swish", "gelu", "relu6"})
"""Activations that are rounded before, behind, and behind when they are a layer of their own."""


def _named(given: Any) -> tuple[str, Mapping[str, Any]]:
    config = given.get("config") if isinstance(given, Mapping) else None
    name = str(given.get("class_name")) if isinstance(given, Mapping) else str(given)
    return name.rpartition(">")[2], config if isinstance(config, Mapping) else {}


def _activation_of(config: Mapping[str, Any]) -> tuple[str, Any]:
    """Its name, and what the config has for it once what wraps it is taken off."""
    given = config.get("activation")
    name, inside = _named(given)
    if name == "QuantizeAwareActivation":
        given = inside.get("activation")
        name = _named(given)[0]
    return ("linear", None) if given is None else (name, None if name == "NoOpActivation" else given)


def _scheme(wrapper: Layer) -> _Scheme:
    name, config = _named(wrapper.config.get("quantize_config"))
    given = wrapper.config.get("layer")
    inside = given.get("config", {}) if isinstance(given, Mapping) else {}
    activation, shown = _activation_of(inside) if isinstance(inside, Mapping) else ("linear", None)
    if name == "OutputOnlyConfig":
        name, config = _named(config.get("quantize_config"))
        config = {"quantize_output": config.get("quantize_output", True)}
        name = "Default8BitOutputQuantizeConfig" if name in _WITH_WEIGHTS else name
    if name == "NoOpQuantizeConfig":
        return _Scheme()
    if name == "Default8BitOutputQuantizeConfig":
        return _Scheme(output=bool(config.get("quantize_output")))
    if name == "Default8BitActivationQuantizeConfig":
        return _Scheme(output=bool(config.get("quantize_output")) and activation in _OUTPUTS)
    weights, activations = (config.get(key) or [] for key in ("weight_attrs", "activation_attrs"))
    known = name in _WITH_WEIGHTS and activations in ([], ["activation"]) and all(isinstance(each, str) for each in weights)
    if not known:
        raise SourceError(f"the layer '{wrapper.name}' is quantised in a way that is not known: {name[:60]}", remedy=EXPORT)
    output = bool(config.get("quantize_output"))
    if not activations:
        return _Scheme(tuple(weights), output=output)
    return _Scheme(tuple(weights), activation in _BEFORE, activation in _AFTER, output, shown)


def _without_activation(wrapper: Layer) -> dict[str, Layer]:
    """The layer inside without its activation where that is rounded, which is put behind it."""
    given = wrapper.config.get("layer")
    config = given.get("config") if isinstance(given, Mapping) else None
    attrs = _named(wrapper.config.get("quantize_config"))[1].get("activation_attrs")
    if isinstance(given, Mapping) and isinstance(config, Mapping) and attrs:
        given = {**given, "config": {**config, "activation": None}}
    return {"layer": held_layer(wrapper, given)}


def _fill_quantised(wrapper: Layer, own: Tensors, inside: Tensors | None) -> None:
    scheme = _scheme(wrapper)
    if inside is None:
        _take_named(wrapper, own, scheme.ranges)
        return
    trained, others = _roles(wrapper.children["layer"])
    tensors, count = _numbered(own), len(scheme.ranges)
    first = len(tensors) - count - 1  # before the ranges stands the number of steps
    if first not in (len(scheme.weights), len(trained) + len(scheme.weights)):
        raise _misfit(wrapper, f"the file has {len(tensors)} of its own, {count} of them ranges")
    _take(wrapper, scheme.weights, tensors[first - len(scheme.weights) : first])
    rest = [role for role in (*trained, *others) if role not in scheme.weights]
    _take(wrapper, rest, _numbered(inside))
    wrapper.weights.update(zip(scheme.ranges, tensors[first + 1 :], strict=True))


def _rounded(build: Builder, value: Value, name: str, narrow: bool = False) -> Value:
    """To 255 steps between two numbers (254 where it is narrow), for each channel where there are several."""
    ends = (build.weight(f"{name}_min"), build.weight(f"{name}_max"))
    op = "FakeQuantWithMinMaxVars" + ("PerChannel" if build.rank(ends[0]) == 1 else "")
    return build.add(op, (value, *ends), {"num_bits": 8, "narrow_range": narrow})


@layer("QuantizeWrapper", "QuantizeWrapperV2", children=_without_activation, fill=_fill_quantised, keeps_mask=True)
def quantised(build: Builder, _config: Config, _inputs: Sequence[Value]) -> Any:
    """A layer whose weights and results are rounded as they will be."""
    scheme, child = _scheme(build.layer), build.layer.children["layer"]
    for role in scheme.weights:
        build.holding(child).replace_weight(role, lambda value, role=role: _rounded(build, value, role, narrow=True))  # type: ignore[misc]
    kwargs = {key: value for key, value in build.kwargs.items() if key != "training"}
    value = build.run(child, build.args, kwargs)
    if not isinstance(value, Value):
        return value
    value = _rounded(build, value, "pre_activation") if scheme.before else value
    value = activate(build, value, scheme.activation)
    value = _rounded(build, value, "post_activation") if scheme.after else value
    return _rounded(build, value, "output") if scheme.output else value


def _quantiser_weights(config: Config) -> Slots:
    kept = [] if _named(config.get("quantizer"))[0] == "NoQuantizer" else ["min", "max"]
    return [Slot(role, trainable=False) for role in (*kept, "optimizer_step")]


@layer("QuantizeLayer", weights=_quantiser_weights, keeps_mask=True)
def quantise(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """An input, rounded."""
    name, quantiser = _named(config.get("quantizer"))
    if name == "NoQuantizer":
        return inputs[0]
    if name not in ("AllValuesQuantizer", "MovingAverageQuantizer", "LastValueQuantizer", "FixedQuantizer"):
        raise build.unsupported(f"its quantizer {name[:40]} is not known", EXPORT)
    ends = (build.weight("min"), build.weight("max"))
    attrs = {"num_bits": Config(quantiser, name).integer("num_bits", 8), "narrow_range": bool(quantiser.get("narrow_range"))}
    op = "FakeQuantWithMinMaxVars" + ("PerChannel" if build.rank(ends[0]) == 1 else "")
    return build.add(op, (inputs[0], *ends), attrs)


# -- pruning -------------------------------------------------------------------------------------------------------


def _fill_pruned(wrapper: Layer, own: Tensors, inside: Tensors | None) -> None:
    if inside is None:
        _take_named(wrapper, own, ())
        return
    trained, others = _roles(wrapper.children["layer"])
    _take(wrapper, [*trained, *others], _numbered(inside))


@layer("PruneLowMagnitude", children=_inner, fill=_fill_pruned, keeps_mask=True)
def pruned(build: Builder, _config: Config, _inputs: Sequence[Value]) -> Any:
    """A layer whose small weights were made 0; they are so in the file."""
    kwargs = {key: value for key, value in build.kwargs.items() if key != "training"}
    return build.run(build.layer.children["layer"], build.args, kwargs)


# -- clusters ------------------------------------------------------------------------------------------------------


class ClusteredTensor(Tensor):
    """Each element as the nearest of a few numbers; the first of those that are equally near."""

    def __init__(self, base: Tensor, centres: Array) -> None:
        super().__init__(base.dtype, base.shape)
        self.base, self.centres = base, centres

    def array(self) -> Array:
        return self._nearest(self.base.array())

    def elements(self, start: int, stop: int) -> Array:
        return self._nearest(self.base.elements(start, stop))

    def release(self) -> None:
        self.base.release()

    def _nearest(self, array: Array) -> Array:
        found = np.zeros(array.shape, np.intp)
        least = np.full(array.shape, np.inf, array.dtype)
        for place, centre in enumerate(self.centres):
            beside = np.abs(array - centre)
            nearer = beside < least
            found[nearer], least[nearer] = place, beside[nearer]
        made: Array = self.centres[found].astype(array.dtype)
        return made


_MOST_CENTRES = 4096


def _fill_clustered(wrapper: Layer, own: Tensors, inside: Tensors | None) -> None:
    if wrapper.config.flag("cluster_per_channel") or wrapper.config.flag("preserve_sparsity"):
        raise SourceError(
            f"the weights of the layer '{wrapper.name}' form clusters for each channel, or around 0",
            remedy="take the clusters off (strip_clustering) and save the model again",
        )
    child = wrapper.children["layer"]
    trained, others = _roles(child)
    if inside is None:
        clustered = [name.removeprefix("cluster_centroids_") for name in own if name.startswith("cluster_centroids_")]
        centres = {role: own[f"cluster_centroids_{role}"] for role in clustered}
        _take_named(wrapper, own, ())
    else:
        tensors = _numbered(own)
        if len(tensors) not in (0, 3) or (tensors and "kernel" not in trained):
            raise _misfit(wrapper, "several of its weights form clusters, which only an HDF5 file names")
        centres = {"kernel": tensors[1]} if tensors else {}
        child.weights.update({"kernel": tensors[0]} if tensors else {})
        _take(wrapper, [role for role in (*trained, *others) if role not in centres], _numbered(inside))
    for role, numbers in centres.items():
        if role not in child.weights or len(numbers.shape) != 1 or not 0 < numbers.size <= _MOST_CENTRES:
            raise _misfit(wrapper, f"the clusters of its {role} have the shape {numbers.shape}")
        child.weights[role] = ClusteredTensor(child.weights[role], numbers.array())


@layer("ClusterWeights", children=_inner, fill=_fill_clustered, keeps_mask=True)
def clustered(build: Builder, _config: Config, _inputs: Sequence[Value]) -> Any:
    """A layer whose weights are few different numbers."""
    kwargs = {key: value for key, value in build.kwargs.items() if key != "training"}
    return build.run(build.layer.children["layer"], build.args, kwargs)
