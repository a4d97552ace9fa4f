"""What the proof of a quantised target may find: beyond it the file is not coarse but broken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tensorferry.comparison import Allowance
from tensorferry.quant.scheme import Mode


def _allow(mode: Mode, mean: float, cosine: float) -> Allowance:
    return Allowance(
        mean, cosine, f"quantised ({mode}): the error is told, and held to {mean:g} (mean) and the direction", indices=True
    )


ALLOWED: Mapping[Mode, Allowance] = {
    Mode.FLOAT16: _allow(Mode.FLOAT16, 0.01, 0.999),
    Mode.INT16X8: _allow(Mode.INT16X8, 0.1, 0.9),
    Mode.DYNAMIC: _allow(Mode.DYNAMIC, 0.1, 0.9),
    Mode.INT8: _allow(Mode.INT8, 0.15, 0.9),
    Mode.WEIGHTS4: _allow(Mode.WEIGHTS4, 0.2, 0.8),
}
"""A wrong scale, a permuted axis or a lost zero point is far beyond these; a net that merely suffers is not. Measured on PoseNet,
worst output: int8 0.032 (mean) and 0.962, weights alone 0.024 and 0.967."""


@dataclass(frozen=True, slots=True)
class WebQuantised:
    """A TensorFlow.js model of which some weights are in fewer bits: how many are stored as which type."""

    stored: Mapping[str, int]

    @property
    def allowance(self) -> Allowance | None:
        return web_allowance(self.stored)

    def as_dict(self) -> dict[str, Any]:
        return {"mode": ", ".join(self.stored) or "none", "quantised": dict(self.stored), "float": []}


WEB_ALLOWED = {"float16": (0.01, 0.995), "uint16": (0.02, 0.99), "uint8-channels": (0.1, 0.9), "uint8": (0.25, 0.5)}
"""Mean error and direction, by the type that weights are stored as. Measured on PoseNet, worst output: float16 0.0015 and 0.99989,
uint16 0.0016 and 0.9998, uint8-channels 0.025 and 0.962, uint8 0.13 and 0.55 (on noise; 0.73 on a photograph)."""


def web_allowance(stored: Iterable[str]) -> Allowance | None:
    """What the coarsest of these types may cost; None where there is none."""
    coarsest = next((kind for kind in ("uint8", "uint8-channels", "uint16", "float16") if kind in set(stored)), None)
    if coarsest is None:
        return None
    mean, cosine = WEB_ALLOWED[coarsest]
    why = f"quantised ({coarsest}): the error is told, and held to {mean:g} (mean) and the direction"
    return Allowance(mean, cosine, why, indices=True)
