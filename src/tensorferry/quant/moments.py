"""First and second moments of what layers see, over all samples, in bounded memory: all that the corrections need of data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tensorferry.quant.layers import Layer, windows
from tensorferry.tensor import Array

Replay = Callable[[], Iterable[Mapping[str, Array]]]
"""Runs the samples anew, from first to last; of each gives the float values of tensors, by name, read when they are asked for."""

BLOCK = 1024
"""Features that are correlated with each other; a layer with more is taken in blocks, as if these knew nothing of each other."""

MEMORY = 256 << 20
"""Bytes of moments held at a time; layers that need more together take turns, each with a run of all samples."""

_SAMPLED = 1 << 22
"""Elements taken of one layer in one sample."""


@dataclass(slots=True)
class Moments:
    """Of a layer's windows. Depthwise channels are groups of taps; else blocks of features are, the last filled up with zeros.

    `total` is [groups, size], `products` [groups, size, size]: sums, over `count` windows, of each feature and of each two.
    """

    layer: Layer
    second: bool = True
    count: int = 0
    total: Array = field(init=False)
    products: Array = field(init=False)

    def __post_init__(self) -> None:
        groups, size = grouping(self.layer)
        self.total = np.zeros((groups, size))
        self.products = np.zeros((groups, size, size) if self.second else 0)

    def add(self, data: Array) -> None:
        """Take in one sample's data."""
        wide = self.layer.features * (self.layer.channels if self.layer.depthwise else 1)
        seen = windows(self.layer, np.asarray(data, np.float32), max(1, _SAMPLED // wide))
        groups, size = self.total.shape
        if not self.layer.depthwise:
            seen = np.pad(seen, ((0, 0), (0, groups * size - seen.shape[1]))).reshape(len(seen), groups, size)
        by_group = seen.transpose(1, 0, 2)
        self.count += len(seen)
        self.total += by_group.sum(axis=1, dtype=np.float64)
        if self.second:
            self.products += np.matmul(by_group.transpose(0, 2, 1), by_group)

    @property
    def mean(self) -> Array:
        """Of each feature, [groups, size]."""
        mean: Array = self.total / max(1, self.count)
        return mean

    def covariance(self) -> Array:
        """[groups, size, size]."""
        mean = self.mean
        covariance: Array = self.products / max(1, self.count) - mean[:, :, None] * mean[:, None, :]
        return covariance


def grouping(layer: Layer) -> tuple[int, int]:
    """Groups of features, and features in each."""
    if layer.depthwise:
        return layer.channels, layer.features
    groups = -(-layer.features // BLOCK)
    return groups, -(-layer.features // groups)


def gather_moments(
    replay: Replay, layers: Sequence[Layer], names: Mapping[int, str], *, second: bool = True
) -> Iterator[tuple[Layer, Moments]]:
    """Of each layer whose data was seen. `names` are those of tensors, by number."""
    for turn in _turns(layers, second):
        gathered = {layer.place: Moments(layer, second) for layer in turn}
        for values in replay():
            for layer in turn:
                if (data := values.get(names[layer.data])) is not None:
                    gathered[layer.place].add(data)
        yield from ((layer, gathered.pop(layer.place)) for layer in turn if gathered[layer.place].count)


def _turns(layers: Sequence[Layer], second: bool) -> Iterator[list[Layer]]:
    """Layers whose moments fit into MEMORY together."""
    turn: list[Layer] = []
    held = 0
    for layer in layers:
        groups, size = grouping(layer)
        needed = 8 * groups * size * (size if second else 1)
        if turn and held + needed > MEMORY:
            yield turn
            turn, held = [], 0
        turn.append(layer)
        held += needed
    if turn:
        yield turn
