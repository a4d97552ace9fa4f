"""What a Keras model says of itself: version, layers, weights."""

from __future__ import annotations

from tensorferry.facts import Facts, LayerFact, VariableFact
from tensorferry.readers.keras.description import KerasModel


def describe_model(facts: Facts, model: KerasModel) -> None:
    """Each layer with the elements of its own weights, nested ones under the path that leads to them."""
    facts.producer = f"Keras {model.version}" if model.version else ""
    for path, layer in model.everything():
        parameters = sum(tensor.size for tensor in layer.weights.values())
        facts.layers.append(LayerFact(path, layer.class_name, None, parameters))
        facts.variables += [
            VariableFact(f"{path}/{role}", str(tensor.dtype), tensor.shape) for role, tensor in layer.weights.items()
        ]
