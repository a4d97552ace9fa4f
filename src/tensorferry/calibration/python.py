"""Samples that a Python program makes: arrays, or maps from an input's name to its array."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tensorferry.calibration.inputs import Input
from tensorferry.calibration.pixels import Mapping as PixelMapping
from tensorferry.calibration.values import check_shape, check_type, convert
from tensorferry.errors import OptionError
from tensorferry.tensor import Array

Given = Any
"""An array for the only input, a map by name, or a sequence of arrays in the order of the inputs."""


@dataclass(slots=True)
class PythonSamples:
    """From an iterable, or from a function that returns one (as TensorFlow's representative_dataset is).

    What can be iterated again is checked as a whole beforehand; of an iterator that runs once, each sample as it comes.
    """

    source: Iterable[Given] | Callable[[], Iterable[Given]]
    inputs: tuple[Input, ...]
    mapping: PixelMapping | None
    limit: int | None
    notices: list[str] = field(default_factory=list)

    @property
    def again(self) -> bool:
        return callable(self.source) or not isinstance(self.source, Iterator)

    def __iter__(self) -> Iterator[dict[str, Array]]:
        given = self.source() if callable(self.source) else self.source
        if not isinstance(given, Iterable) or isinstance(given, str | bytes | Mapping):
            raise OptionError(
                f"samples cannot be taken from a {type(given).__name__}",
                remedy="give an iterable of arrays, or of dicts from the inputs' names to arrays",
            )
        for number, sample in enumerate(given):
            if self.limit is not None and number >= self.limit:
                return
            yield self._prepared(sample, f"sample {number + 1}")

    def _prepared(self, sample: Given, where: str) -> dict[str, Array]:
        named = self._named(sample, where)
        found = {}
        for each in self.inputs:
            values = np.asarray(named[each.name])
            if values.dtype.hasobject:
                raise OptionError(f"the values for the input '{each.name}' are {type(named[each.name]).__name__}", where=where)
            check_type(values.dtype, each, where, scaled=self.mapping is not None)
            if each.shape is not None and each.open_batch and values.ndim == len(each.shape) - 1:
                values = values[None]
            check_shape(values, each, where)
            found[each.name] = convert(values, each, where, self.mapping)
        return found

    def _named(self, sample: Given, where: str) -> Mapping[str, Any]:
        names = [each.name for each in self.inputs]
        if isinstance(sample, Mapping):
            if set(sample) != set(names):
                why = f"the inputs are {', '.join(names)}; the sample has {', '.join(map(str, sample)) or 'nothing'}"
                raise OptionError("a sample has other names than the model's inputs", where=where, why=why)
            return sample
        listed = isinstance(sample, Sequence) and not isinstance(sample, str | bytes) and len(sample) == len(names)
        if listed and (len(names) > 1 or isinstance(sample[0], np.ndarray)):
            return dict(zip(names, sample, strict=True))
        if len(names) != 1:
            raise OptionError(
                "a sample is one array",
                where=where,
                why=f"the model has {len(names)} inputs",
                remedy=f"give a dict: {', '.join(names)}",
            )
        return {names[0]: sample}

    def about(self) -> dict[str, Any]:
        """How the values are taken."""
        return {"kind": "Python", "values": str(self.mapping) if self.mapping else "as they are"}
