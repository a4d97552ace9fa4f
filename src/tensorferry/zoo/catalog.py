"""The zoo's models by name, and the one way to write any of them to a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from tensorferry.errors import OptionError
from tensorferry.ir import Graph
from tensorferry.writers.graphdef import write_graphdef
from tensorferry.zoo import posenet
from tensorferry.zoo.mobilenet_v1 import Architecture, build_mobilenet_v1
from tensorferry.zoo.weights import FolderWeights, RandomWeights, Weights, find_weights

RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Entry:
    """A model: what it is, its usual architecture, how it is built, and whether trained weights can be found for that."""

    description: str
    default: Architecture
    build: Callable[[Architecture, Weights], Graph]
    find: Callable[[], Path | None] | None = None


CATALOG: Mapping[str, Entry] = {
    "posenet": Entry(
        "finds people and their 17 body parts in a picture; MobileNetV1 with four heads",
        posenet.DEFAULT,
        posenet.build_posenet,
        find_weights,
    ),
    "mobilenet_v1": Entry("classifies pictures; 13 depthwise-separable blocks", Architecture(), build_mobilenet_v1),
}


@dataclass(frozen=True, slots=True)
class Built:
    """A model that was written: where, how many nodes, and where its weights are from."""

    path: str
    model: str
    nodes: int
    bytes: int
    weights: str

    def as_dict(self) -> dict[str, object]:
        return {"path": self.path, "model": self.model, "nodes": self.nodes, "bytes": self.bytes, "weights": self.weights}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to build; None takes the model's usual. `weights` is a folder (manifest.json and raw files), or `random`; None
    looks for trained ones and falls back to random ones."""

    multiplier: float | None = None
    resolution: int | None = None
    output_stride: int | None = None
    weights: str | None = None
    seed: int = 0

    def architecture(self, usual: Architecture) -> Architecture:
        sizes = usual.resolution if self.resolution is None else (self.resolution, self.resolution)
        return replace(
            usual,
            multiplier=usual.multiplier if self.multiplier is None else self.multiplier,
            resolution=sizes,
            output_stride=usual.output_stride if self.output_stride is None else self.output_stride,
        )


def build(name: str, target: str | os.PathLike[str], wanted: Wanted) -> Built:
    """Build a model of the zoo and write it as a frozen graph. OptionError for an unknown name."""
    entry = CATALOG.get(name)
    if entry is None:
        close = get_close_matches(name, CATALOG, n=1, cutoff=0.3)
        guess = f"did you mean {close[0]}? " if close else ""
        raise OptionError(f"the zoo has no model '{name}'", remedy=f"{guess}it has {', '.join(CATALOG)}")
    architecture = wanted.architecture(entry.default)
    weights, provenance = _choose_weights(entry, wanted, architecture)
    graph = entry.build(architecture, weights)
    size = write_graphdef(graph, target)
    return Built(str(target), name, len(graph.nodes), size, provenance)


def _choose_weights(entry: Entry, wanted: Wanted, architecture: Architecture) -> tuple[Weights, str]:
    random = RandomWeights(wanted.seed), f"random, seed {wanted.seed}"
    if wanted.weights == RANDOM:
        return random
    if wanted.weights is not None:
        return FolderWeights(wanted.weights), wanted.weights
    if entry.find is None or architecture.multiplier != entry.default.multiplier:
        return random[0], f"{random[1]} (no trained weights are known for this model)"
    found = entry.find()
    if found is None:
        return random[0], f"{random[1]} (the trained ones could not be found or downloaded)"
    return FolderWeights(found), str(found)
