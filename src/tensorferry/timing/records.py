"""What a bench measured, as plain records that are also JSON."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tensorferry.report import to_json


@dataclass(frozen=True, slots=True)
class KernelTime:
    """Kernels of one name: how many run in one run of the model, and what they take together (milliseconds, median)."""

    name: str
    count: int
    milliseconds: float

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "count": self.count, "milliseconds": self.milliseconds}


@dataclass(frozen=True, slots=True)
class Timing:
    """One model in one setting. Times are milliseconds, `times` one of each run; `memory` is by how many bytes the process of the
    runtime grew at most since before it loaded the model (None where the system does not tell).

    With a `problem` the model could not be run there, and nothing was measured.
    """

    model: str
    bytes: int
    setting: str
    runtime: str = ""
    backend: str = ""
    load: float = math.nan
    first: float = math.nan
    times: tuple[float, ...] = ()
    memory: int | None = None
    kernels: tuple[KernelTime, ...] = ()
    problem: str = ""
    ratio: float = math.nan
    """The median over that of the line it is compared with; 1 for that line itself."""

    @property
    def median(self) -> float:
        return statistics.median(self.times) if self.times else math.nan

    @property
    def low(self) -> float:
        """A tenth of the runs took less."""
        return quantile(self.times, 0.1)

    @property
    def high(self) -> float:
        """A tenth of the runs took more."""
        return quantile(self.times, 0.9)

    def as_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "bytes": self.bytes,
            "setting": self.setting,
            "runtime": self.runtime,
            "backend": self.backend,
            "load_ms": self.load,
            "first_ms": self.first,
            "runs": len(self.times),
            "median_ms": self.median,
            "p10_ms": self.low,
            "p90_ms": self.high,
            "min_ms": min(self.times, default=math.nan),
            "times_ms": list(self.times),
            "ratio": self.ratio,
            "memory_bytes": self.memory,
            "kernels": [each.as_dict() for each in self.kernels],
            "problem": self.problem,
        }


def quantile(numbers: Sequence[float], part: float) -> float:
    """Linear between neighbours, as numpy's; NaN of nothing."""
    if not numbers:
        return math.nan
    ordered = sorted(numbers)
    place = part * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


@dataclass(frozen=True, slots=True)
class Bench:
    """All timings, one line after the other, and what there is to say of them."""

    timings: tuple[Timing, ...]
    notices: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Every model ran in every setting."""
        return not any(each.problem for each in self.timings)

    def as_dict(self) -> dict[str, Any]:
        return {"timings": [each.as_dict() for each in self.timings], "notices": list(self.notices)}

    def to_json(self) -> str:
        return to_json(self.as_dict())
