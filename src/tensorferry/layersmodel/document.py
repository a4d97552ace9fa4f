"""Writes a layers-model: `model.json` and the weights in shards beside it, in the form of Keras 2 that tfjs-layers reads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensorferry import __version__
from tensorferry.layersmodel.records import Net, Ref, WebLayer
from tensorferry.ops.spec import Declined
from tensorferry.writers.tfjs_quantised import Quantised, Reduction, Surroundings, quantise_weights
from tensorferry.writers.tfjs_weights import ShardWriter, Weight, plan_weight, shard_names

_MOST_LOOKS = 2_000_000
"""Times that calls may be looked at until all are made; what needs more would keep a page busy as well."""

_FORM = "tfjs-layers 4.22.0"
"""Whose configs these are; what tfjs-layers itself writes as `keras_version`."""


@dataclass(frozen=True, slots=True)
class LayersFacts:
    """What was written. `layers`: count by class."""

    files: tuple[str, ...]
    nbytes: int
    layers: Mapping[str, int]
    notices: tuple[str, ...] = ()
    stored: Mapping[str, int] = field(default_factory=dict)
    """Of quantised weights: how many as which type."""


def write_layers_model(
    net: Net,
    folder: Path,
    *,
    producer: str = "",
    shard_size: int = 0,
    metadata: Mapping[str, Any] | None = None,
    reduction: Reduction | None = None,
) -> LayersFacts:
    """Write the model into an existing folder; parameters as of `write_tfjs`, `producer` is the program that made the source.

    Raises Declined for a weight or a number that the file cannot hold, before anything is written.
    """
    quantised = Quantised(list(_weights(net)))
    if reduction is not None:
        filters = {each.name for each in quantised.weights if each.name.endswith("/depthwise_kernel")}
        quantised = quantise_weights(quantised.weights, reduction, Surroundings(filters))
    weights = quantised.weights
    total = sum(weight.nbytes for weight in weights)
    shards = shard_names(total, shard_size)
    document = {
        "format": "layers-model",
        "generatedBy": producer or f"tensorferry {__version__}",
        "convertedBy": f"tensorferry {__version__}",
        "modelTopology": {"keras_version": _FORM, "backend": "tensor_flow.js", "model_config": _describe(net)},
        "weightsManifest": [{"paths": shards, "weights": [weight.entry for weight in weights]}],
        **({"userDefinedMetadata": dict(metadata)} if metadata else {}),
    }
    try:
        text = json.dumps(document, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (ValueError, TypeError) as error:
        raise Declined("a layer's config holds a number that JSON does not have") from error
    with ShardWriter(folder, shards, shard_size) as writer:
        for weight in weights:
            for piece in weight.chunks():
                writer.write(piece)
            weight.tensor.release()
    (folder / "model.json").write_bytes(text)
    counts = Counter(layer.class_name for layer in net.everything() if layer.class_name != "InputLayer")
    layers = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return LayersFacts(("model.json", *shards), len(text) + total, layers, tuple(quantised.notices), quantised.stored)


def _weights(net: Net) -> Iterator[Weight]:
    """Under the names of their layers, whichever network these lie in."""
    for layer in net.layers:
        if layer.net is not None:
            yield from _weights(layer.net)
        for name, tensor in layer.weights.items():
            yield plan_weight(f"{layer.name}/{name}", tensor)


# -- topology ------------------------------------------------------------------------------------------------------


def _describe(net: Net) -> dict[str, Any]:
    if _is_stack(net):
        layers = [{"class_name": _class_of(layer), "config": _config_of(layer)} for layer in net.layers]
        return {"class_name": "Sequential", "config": {"name": net.wanted, "layers": layers}}
    numbers = _number_calls(net)

    def reference(ref: Ref) -> list[Any]:
        return [ref.layer.name, numbers[ref.layer][ref.call] + ref.layer.first, ref.output]

    layers = [
        {
            "class_name": _class_of(layer),
            "config": _config_of(layer),
            "name": layer.name,
            "inbound_nodes": [
                [[*reference(ref), {}] for ref in layer.calls[number]] for number in numbers[layer] if layer.calls[number]
            ],
        }
        for layer in net.layers
    ]
    config = {
        "name": net.wanted,
        "layers": layers,
        "input_layers": [[layer.name, 0, 0] for layer in net.inputs],
        "output_layers": [reference(ref) for ref in net.outputs],
    }
    return {"class_name": "Functional", "config": config}


def _is_stack(net: Net) -> bool:
    """Whether each layer reads the one before, and nothing else is asked of any."""
    if not net.sequential or any(len(layer.calls) != 1 for layer in net.layers):
        return False
    expected: list[list[Ref]] = [[], *([Ref(layer, 0, 0)] for layer in net.layers)]
    return (
        all(layer.calls[0] == before for layer, before in zip(net.layers, expected, strict=False)) and net.outputs == expected[-1]
    )


def _class_of(layer: WebLayer) -> str:
    return "Sequential" if layer.net is not None and _is_stack(layer.net) else layer.class_name


def _config_of(layer: WebLayer) -> Any:
    if layer.net is not None:
        return {**_describe(layer.net)["config"], "name": layer.name}
    return {"name": layer.name, **layer.config}


def _number_calls(net: Net) -> dict[WebLayer, dict[int, int]]:
    """For each layer its calls and the numbers that they get: tfjs-layers counts them in the order in which it makes them.

    It goes over the layers again and again and makes each call whose inputs are there, so a later call may come first.
    """
    made: dict[WebLayer, dict[int, int]] = {layer: {} for layer in net.layers}
    waiting = {layer: list(range(len(layer.calls))) for layer in net.layers}
    looked = 0
    while any(waiting.values()):
        looked += sum(map(len, waiting.values()))
        if looked > _MOST_LOOKS:
            raise Declined("its layers call each other in turn too often for TensorFlow.js to load them")
        for layer, numbers in waiting.items():
            left = []
            for number in numbers:
                if all(ref.call in made[ref.layer] for ref in layer.calls[number]):
                    made[layer][number] = len(made[layer])
                else:
                    left.append(number)
            waiting[layer] = left
    return made
