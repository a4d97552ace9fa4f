"""TensorFlow.js layers-models: a Keras config in JSON and a manifest of weights, which are found by the names of tfjs-layers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tensorferry.errors import SourceError
from tensorferry.ir import Graph
from tensorferry.readers.description import describe_web_model
from tensorferry.readers.keras.description import KerasModel, Layer
from tensorferry.readers.keras.parsing import parse_model
from tensorferry.readers.keras.slots import Place, check_known, places
from tensorferry.readers.keras.walking import build_graph
from tensorferry.readers.manifests import load_json
from tensorferry.storage import SourceFile
from tensorferry.tensor import Tensor
from tensorferry.wire.webweights import read_manifest

_RELEASE = "2"
"""Whatever Keras made the file, tfjs-layers computes as Keras 2 does."""


def read_layers_model(file: SourceFile) -> Graph:
    """The model of a `model.json` as a Graph."""
    document = load_json(file)
    weights = read_manifest(_without_optimizer(document.get("weightsManifest", [])), file.path.parent)
    graph = build_graph(_assemble(document, weights))
    describe_web_model(graph.facts, document, weights)
    return graph


def read_layers(file: SourceFile) -> KerasModel:
    """The model of a `model.json`, each layer with its weights."""
    document = load_json(file)
    return _assemble(document, read_manifest(_without_optimizer(document.get("weightsManifest", [])), file.path.parent))


def _assemble(document: Mapping[str, Any], weights: Mapping[str, Tensor]) -> KerasModel:
    topology = document["modelTopology"]
    model = parse_model(topology.get("model_config", topology), _RELEASE)
    check_known(model)
    _assign(model, weights)
    return model


def _without_optimizer(manifest: Any) -> Any:
    """An optimiser's own weights bear the mark of their group; they lie in a group of files of their own."""
    if not isinstance(manifest, list):
        return manifest
    return [group for group in manifest if not (isinstance(group, Mapping) and _is_optimizer(group.get("weights")))]


def _is_optimizer(weights: Any) -> bool:
    entries = weights if isinstance(weights, list) else []
    return bool(entries) and all(isinstance(each, Mapping) and each.get("group") == "optimizer" for each in entries)


# -- names ---------------------------------------------------------------------------------------------------------


def weight_names(model: KerasModel) -> Iterator[tuple[str, Place]]:
    """Each weight with the name that tfjs-layers knows it by: of its layer and its own, whatever model the layer lies in."""
    for layer in model.layers:
        if layer.model is not None:
            yield from weight_names(layer.model)
        else:
            yield from _names_in(layer)


def _names_in(layer: Layer) -> Iterator[tuple[str, Place]]:
    for place in places(layer, ""):
        scope = layer.name
        for role, prefix in (("forward_layer", "forward_"), ("backward_layer", "backward_")):
            child = layer.children.get(role)
            if child is not None and (place.owner is child or place.owner in child.children.values()):
                scope = f"{layer.name}/{prefix}{child.name.removeprefix(prefix)}"
        yield f"{scope}/{place.role.rsplit('/', 1)[-1]}", place


def _assign(model: KerasModel, weights: Mapping[str, Tensor]) -> None:
    """Give each layer its weights. A name in the file may have a scope more, at its beginning or before its last part."""
    wanted = list(weight_names(model))
    lookup = _Lookup(weights)
    missing = []
    for name, place in wanted:
        found = lookup.take(name)
        if found is None:
            missing.append(name)
        else:
            place.owner.weights[place.role] = found
    if missing:
        rest = sorted(lookup.left)
        raise SourceError(
            f"the weights manifest lacks {len(missing)} of {len(wanted)} weights: {', '.join(missing[:4])}",
            why=f"it has {', '.join(rest[:4])}, which no layer asks for" if rest else "",
            remedy="use the weights that were saved with this model",
        )
    if lookup.left:
        rest = sorted(lookup.left)
        raise SourceError(
            f"{len(rest)} weights of the manifest belong to no layer of the model: {', '.join(rest[:4])}",
            remedy="use the weights that were saved with this model",
        )


class _Lookup:
    """The weights of a manifest by any name that may be meant."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self.left = dict(weights)
        self._aliases: dict[str, list[str]] = {}
        for name in weights:
            for alias in dict.fromkeys(_aliases(name)):
                self._aliases.setdefault(alias, []).append(name)

    def take(self, name: str) -> Tensor | None:
        """The weight of that name, else the only one that may be called so."""
        if name not in self.left:
            near = [each for each in self._aliases.get(name, ()) if each in self.left]
            if len(near) != 1:
                return None
            name = near[0]
        return self.left.pop(name)


def _aliases(name: str) -> Iterator[str]:
    """What a name may stand for: without its number, without the scope before its last part, without the scopes around it."""
    for plain in (name, re.sub(r"(_\d+)?(:\d+)?$", "", name)):
        parts = plain.split("/")
        for inner in (parts, [*parts[:-2], parts[-1]]):
            for start in range(len(inner) - 1):
                yield "/".join(inner[start:])
