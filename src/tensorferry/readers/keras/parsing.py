"""The config of a Keras model, of any release, to a KerasModel without weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from tensorferry.errors import SourceError
from tensorferry.readers.keras import registry
from tensorferry.readers.keras.ancient import is_ancient, modernise
from tensorferry.readers.keras.description import (
    EXPORT,
    Call,
    Config,
    KerasModel,
    Layer,
    TensorRef,
    flatten,
    release_of,
    replace_leaves,
)

_NETWORKS = frozenset({"Model", "Functional"})
_DEEPEST = 40
"""Models within models; a config that goes deeper is none of a real one."""

_MOST_LAYERS = 100_000
_MOST_NESTED = 100
"""Lists within lists of a call's arguments."""

_CONSTANT = "_CONSTANT_VALUE"
"""In place of a layer's name: the third item is the argument itself."""


def parse_model(document: Any, version: str = "") -> KerasModel:
    """The model of `{"class_name": ..., "config": ...}`. SourceError for what is none, or only its own code can build."""
    if not isinstance(document, Mapping) or not isinstance(document.get("class_name"), str):
        raise SourceError("the model's config is no description of a Keras model", why="it has no class_name")
    version = version or _said_version(document)
    layer = parse_layer(document, version)
    if layer.model is not None:
        return layer.model
    raise SourceError(
        f"the model is of the class '{layer.class_name}', which its own code builds",
        why="its config lists no layers",
        remedy=EXPORT,
    )


def _said_version(document: Mapping[str, Any]) -> str:
    """A bare architecture of Keras 3 says no version, but its inputs have a `batch_shape`."""
    said = document.get("keras_version")
    if isinstance(said, str):
        return said
    if "'batch_shape'" in str(document)[:1_000_000]:
        return "3"
    return "1" if is_ancient(document) else ""


def parse_layer(given: Any, version: str = "", depth: int = 0) -> Layer:
    """One layer of `{"class_name": ..., "config": ...}`, with the model or the layers that it holds."""
    if depth > _DEEPEST:
        raise SourceError(f"models are nested more than {_DEEPEST} deep")
    if not isinstance(given, Mapping) or not isinstance(given.get("class_name"), str):
        raise SourceError("a layer of the config has no class_name")
    class_name, config = given["class_name"], given.get("config")
    module = given.get("module") if isinstance(given.get("module"), str) else ""
    if class_name == "Sequential" or (class_name in _NETWORKS and _lists_layers(config)):
        model = _parse_network(class_name, config, given, version, depth)
        plain = dict(config) if isinstance(config, Mapping) else {}
        return Layer(
            str(given.get("name") or model.name),
            class_name,
            Config(plain, model.name),
            str(module),
            model=model,
            given=plain,
            version=version,
            depth=depth,
        )
    if not isinstance(config, Mapping):
        raise SourceError(f"a layer of the class {class_name} has no config")
    if _lists_layers(config) and registry.find(class_name) is None and "input_layers" in config:  # a user's own subclass of Model
        return parse_layer({**given, "class_name": "Functional"}, version, depth)
    name = str(given.get("name") or config.get("name") or class_name.lower())
    modern, changed = modernise(class_name, config)
    layer = Layer(name, modern, Config(changed, name, release_of(version)), str(module), given=config, version=version, depth=depth)
    if not module and layer.release == 3 and "trainable" not in config and registry.find(f"ops.{class_name}") is not None:
        layer.module = "keras.ops"  # HDF5 files of Keras 3 name no modules; but layers whose name is taken say if they are trained
    if layer.kind.startswith("ops."):  # whose arguments are called what those of layers were called once
        layer.class_name, layer.config = class_name, Config(config, name)
    rule = registry.find(layer.kind)
    if rule is not None and rule.children is not None:
        layer.children = dict(rule.children(layer))
    return layer


def _lists_layers(config: Any) -> bool:
    return isinstance(config, Mapping) and isinstance(config.get("layers"), list)


def _parse_network(class_name: str, config: Any, given: Mapping[str, Any], version: str, depth: int) -> KerasModel:
    listed = config if isinstance(config, list) else config.get("layers") if isinstance(config, Mapping) else None
    if not isinstance(listed, list) or not listed:
        raise SourceError(f"a {class_name} model lists no layers")
    if len(listed) > _MOST_LAYERS:
        raise SourceError(f"a model lists {len(listed)} layers, more than any real one")
    layers = [parse_layer(each, version, depth + 1) for each in listed]
    options: Mapping[str, Any] = config if isinstance(config, Mapping) else {}
    name = str(options.get("name") or given.get("name") or class_name.lower())
    if class_name == "Sequential":
        return _chain(name, layers, options, given, version)
    _check_names(name, layers)
    known = {layer.name for layer in layers}
    for layer, each in zip(layers, listed, strict=True):
        layer.calls = [_parse_call(layer, call, known) for call in _calls(layer, each)]
    inputs, outputs = (_parse_ports(options.get(role), known, name) for role in ("input_layers", "output_layers"))
    model = KerasModel(name, layers, inputs, outputs, False, version)
    _number_from_zero(model)
    return model


def _check_names(name: str, layers: Sequence[Layer]) -> None:
    names = [layer.name for layer in layers]
    if len(set(names)) != len(names):
        twice = next(each for each in names if names.count(each) > 1)
        raise SourceError(f"two layers of the model '{name}' are named '{twice}'")


# -- sequential ----------------------------------------------------------------------------------------------------


def _chain(name: str, layers: list[Layer], options: Mapping[str, Any], given: Mapping[str, Any], version: str) -> KerasModel:
    """A Sequential model is a network in which each layer reads the one before."""
    if layers[0].class_name == "Merge" and layers[0].config.get("layers"):
        return _merged(name, layers, version)
    if layers[0].class_name != "InputLayer":
        layers = [_input_before(layers[0], options, given), *layers]
    _check_names(name, layers)
    for before, layer in pairwise(layers):
        layer.calls = [Call((TensorRef(before.name, 0, 0),), {})]
    return KerasModel(name, layers, TensorRef(layers[0].name, 0, 0), TensorRef(layers[-1].name, 0, 0), True, version)


def _merged(name: str, layers: list[Layer], version: str) -> KerasModel:
    """Keras 1: a chain that begins with several models, which its first layer makes one of."""
    merge, given = layers[0], layers[0].config["layers"]
    if not isinstance(given, list) or len(given) > _MOST_LAYERS:
        raise SourceError(f"the layer '{merge.name}' does not list what it merges")
    branches = [parse_layer(each, version, merge.depth + 1) for each in given]
    ports: list[Layer] = []
    for number, branch in enumerate(branches, 1):
        if branch.model is not None and branch.model.sequential:  # chains of Keras 1 have no names
            branch.name = f"{merge.name}_{number}"
        own = _ports_of(branch)
        ports += own
        refs = [TensorRef(port.name, 0, 0) for port in own]
        branch.calls = [Call((refs[0] if len(refs) == 1 else refs,), {})]
    everything = [*ports, *branches, *layers]
    _check_names(name, everything)
    merge.calls = [Call(([TensorRef(branch.name, 0, 0) for branch in branches],), {})]
    for before, layer in pairwise(layers):
        layer.calls = [Call((TensorRef(before.name, 0, 0),), {})]
    inputs = [TensorRef(port.name, 0, 0) for port in ports]
    made = KerasModel(name, everything, inputs, TensorRef(layers[-1].name, 0, 0), False, version)
    made.apart = frozenset(branch.name for branch in branches if branch.model is not None)
    return made


def _ports_of(branch: Layer) -> list[Layer]:
    """Inputs for all that a branch reads, under the names of its own."""
    if branch.model is None:
        return [_input_before(branch, {}, {})]
    found = []
    for ref in flatten(branch.model.inputs):
        config = {**branch.model.layer(ref.layer).config, "name": ref.layer}
        found.append(Layer(ref.layer, "InputLayer", Config(config, ref.layer)))
    return found


def _input_before(first: Layer, options: Mapping[str, Any], given: Mapping[str, Any]) -> Layer:
    """The input that Keras makes for a first layer which says what it reads."""
    if first.model is not None:
        inner = flatten(first.model.inputs)
        if len(inner) == 1:
            config = {**first.model.layer(inner[0].layer).config, "name": f"{first.name}_input"}
            return Layer(f"{first.name}_input", "InputLayer", Config(config, f"{first.name}_input"))
    config = first.config
    build = given.get("build_config")
    shape = config.get("batch_input_shape") or options.get("build_input_shape")
    shape = shape or (build.get("input_shape") if isinstance(build, Mapping) else None)
    if shape is None and isinstance(config.get("input_shape"), list):
        shape = [None, *config["input_shape"]]
    if shape is None and isinstance(config.get("input_dim"), int) and "input_length" not in config:
        shape = [None, config["input_dim"]]
    if not isinstance(shape, list):
        raise SourceError(
            f"the model does not say what its first layer '{first.name}' reads",
            why="it was saved before it had seen an input",
            remedy="call the model once, or give its first layer an input shape, and save it again",
        )
    dtype = config.get("input_dtype") or config.get("dtype") or "float32"
    name = f"{first.name}_input"
    return Layer(name, "InputLayer", Config({"name": name, "batch_shape": shape, "dtype": dtype}, name))


# -- networks ------------------------------------------------------------------------------------------------------


def _calls(layer: Layer, given: Mapping[str, Any]) -> Sequence[Any]:
    calls = given.get("inbound_nodes") or []
    if not isinstance(calls, list) or len(calls) > _MOST_LAYERS:
        raise SourceError(f"the inbound_nodes of layer '{layer.name}' are no list")
    if layer.class_name == "InputLayer":
        return []
    return calls


def _parse_call(layer: Layer, given: Any, known: set[str]) -> Call:
    if isinstance(given, Mapping) and "args" in given:  # Keras 3
        args = _resolve(given.get("args"), layer.name, known)
        kwargs = _resolve(given.get("kwargs") or {}, layer.name, known)
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise SourceError(f"the arguments of layer '{layer.name}' are not as Keras writes them")
        return Call(tuple(args), kwargs)
    kwargs = {}
    read = _resolve_old(given, layer.name, known, kwargs)
    if isinstance(read, list) and len(read) == 1 and not (isinstance(given, list) and given[:1] == [_CONSTANT]):
        read = read[0]
    kwargs = {key: _resolve_old(each, layer.name, known, {}) for key, each in kwargs.items()}
    return Call(() if read == [] else (read,), kwargs)


def _resolve(given: Any, layer: str, known: set[str], depth: int = 0) -> Any:
    """Arguments of Keras 3, tensors replaced by references."""
    if depth > _MOST_NESTED:
        raise SourceError(f"the arguments of layer '{layer}' are nested too deep")
    if isinstance(given, Mapping):
        config = given.get("config")
        if given.get("class_name") == "__keras_tensor__" and isinstance(config, Mapping):
            return _reference(config.get("keras_history"), layer, known)
        if given.get("class_name") == "__tuple__" and isinstance(given.get("items"), list):
            return _resolve(given["items"], layer, known, depth + 1)
        return {str(key): _resolve(each, layer, known, depth + 1) for key, each in given.items()}
    if isinstance(given, list):
        return [_resolve(each, layer, known, depth + 1) for each in given]
    return given


def _resolve_old(given: Any, layer: str, known: set[str], kwargs: dict[str, Any], depth: int = 0) -> Any:
    """Arguments of Keras 1 and 2: `[name, call, output, kwargs]` wherever a tensor stands."""
    if depth > _MOST_NESTED:
        raise SourceError(f"the arguments of layer '{layer}' are nested too deep")
    if isinstance(given, Mapping):
        return {str(key): _resolve_old(each, layer, known, kwargs, depth + 1) for key, each in given.items()}
    if not isinstance(given, list):
        return given
    if 3 <= len(given) <= 4 and isinstance(given[0], str) and all(isinstance(each, int) for each in given[1:2]):
        more = given[3] if len(given) == 4 and isinstance(given[3], Mapping) else {}
        if given[0] == _CONSTANT:
            kwargs.update(more)
            return given[2]
        if isinstance(given[2], int) and (given[0] in known or depth < 2):
            kwargs.update(more)
            return _reference(given[:3], layer, known)
    return [_resolve_old(each, layer, known, kwargs, depth + 1) for each in given]


def _reference(given: Any, layer: str, known: set[str]) -> TensorRef:
    if (
        not isinstance(given, list)
        or len(given) < 3
        or not isinstance(given[0], str)
        or not all(isinstance(each, int) and 0 <= each < _MOST_LAYERS for each in given[1:3])
    ):
        raise SourceError(f"'{layer}' reads something that names no tensor", why=repr(given)[:80])
    if given[0] not in known:
        raise SourceError(f"'{layer}' reads the layer '{given[0]}', which the model does not have")
    return TensorRef(given[0], int(given[1]), int(given[2]))


def _parse_ports(given: Any, known: set[str], name: str) -> Any:
    """`input_layers` or `output_layers`: one reference, a list or a dict of them."""
    if isinstance(given, Mapping):
        return {str(key): _parse_ports(each, known, name) for key, each in given.items()}
    if isinstance(given, list) and given and isinstance(given[0], str):
        return _reference(given, name, known)
    if isinstance(given, list):
        return [_parse_ports(each, known, name) for each in given]
    raise SourceError(f"the model '{name}' does not say what it reads and what it gives")


def _number_from_zero(model: KerasModel) -> None:
    """Count the calls of nested models from 0: in TensorFlow's Keras the first is the one that the nested model was made by.

    Keras 3 counts that one where it names the outputs, and nowhere else.
    """
    networks = {
        layer.name for layer in model.layers if layer.release == 3 and layer.model is not None and not layer.model.sequential
    }

    def without_own(ref: TensorRef) -> TensorRef:
        return TensorRef(ref.layer, ref.call - 1, ref.output) if ref.layer in networks and ref.call else ref

    model.outputs = replace_leaves(model.outputs, TensorRef, without_own)
    structures = [
        model.inputs,
        model.outputs,
        *(part for layer in model.layers for call in layer.calls for part in call_parts(call)),
    ]
    first: dict[str, int] = {}
    for ref in flatten(structures):
        first[ref.layer] = min(first.get(ref.layer, ref.call), ref.call)
    shift = {layer.name: first[layer.name] for layer in model.layers if layer.model is not None and first.get(layer.name)}
    if not shift:
        return

    def lower(ref: TensorRef) -> TensorRef:
        return TensorRef(ref.layer, ref.call - shift.get(ref.layer, 0), ref.output)

    for layer in model.layers:
        layer.calls = [Call(*replace_leaves((call.args, call.kwargs), TensorRef, lower)) for call in layer.calls]
    model.inputs, model.outputs = replace_leaves((model.inputs, model.outputs), TensorRef, lower)


def call_parts(call: Call) -> tuple[Any, Any]:
    return call.args, call.kwargs
