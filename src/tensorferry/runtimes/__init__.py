"""Runtimes: run a model file, or the IR itself, and hand the outputs back as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tensorferry.tensor import Array


@dataclass(frozen=True, slots=True)
class Run:
    """What a runtime computed: outputs by public name in order, who computed them, and on demand every named value inside."""

    outputs: Mapping[str, Array]
    runtime: str
    intermediates: Mapping[str, Array] = field(default_factory=dict)
    grids: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    """Scale and zero point of the outputs that are whole numbers and stand for real ones."""

    def real(self, name: str) -> Array:
        """The real numbers of an output."""
        array = self.outputs[name]
        if name not in self.grids or array.dtype.kind not in "iu":
            return array
        scale, zero_point = self.grids[name]
        numbers: Array = ((array.astype(np.float64) - zero_point) * scale).astype(np.float32)
        return numbers
