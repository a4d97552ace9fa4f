"""A layers-model as records: networks of layers of tfjs-layers, each with its config, its weights and its calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tensorferry.tensor import Tensor


class Lacking(Exception):
    """tfjs-layers cannot express a layer; the text says why, without the layer's name."""


@dataclass(slots=True, eq=False)
class WebLayer:
    """One layer of the target.

    `wanted` is the name it should have, `name` the one it gets. `weights`: by the name behind the layer's own (`kernel`,
    `forward_lstm/bias`). `calls`: what each call is given. `net` is the network that a nested model is made of.
    """

    class_name: str
    config: dict[str, Any]
    wanted: str
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    calls: list[list[Ref]] = field(default_factory=list)
    net: Net | None = None
    name: str = ""

    @property
    def first(self) -> int:
        """The number of its first call: a network has made itself a node before anybody calls it."""
        return 0 if self.net is None else 1


@dataclass(frozen=True, slots=True)
class Ref:
    """Output number `output` of the layer's call number `call`, counted from 0."""

    layer: WebLayer
    call: int
    output: int


@dataclass(slots=True)
class Net:
    """A network: its layers in an order in which each stands behind those that its first call reads."""

    wanted: str
    layers: list[WebLayer] = field(default_factory=list)
    inputs: list[WebLayer] = field(default_factory=list)
    outputs: list[Ref] = field(default_factory=list)
    sequential: bool = False
    """Whether the source has it as a plain stack."""

    def add(self, layer: WebLayer) -> WebLayer:
        self.layers.append(layer)
        return layer

    def everything(self) -> Iterator[WebLayer]:
        """All layers, those of nested networks included."""
        for layer in self.layers:
            yield layer
            if layer.net is not None:
                yield from layer.net.everything()


def call(layer: WebLayer, inputs: list[Ref]) -> Ref:
    """The first output of one more call."""
    layer.calls.append(inputs)
    return Ref(layer, len(layer.calls) - 1, 0)
