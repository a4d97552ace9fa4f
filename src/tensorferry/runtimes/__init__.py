"""Runtimes: run a model file, or the IR itself, and hand the outputs back as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tensorferry.tensor import Array


@dataclass(frozen=True, slots=True)
class Run:
    """What a runtime computed: outputs by public name in order, who computed them, and on demand every named value inside."""

    outputs: Mapping[str, Array]
    runtime: str
    intermediates: Mapping[str, Array] = field(default_factory=dict)
