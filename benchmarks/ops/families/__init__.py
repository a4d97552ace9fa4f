"""The families of ops; each module adds its cases to a Family."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from ops.case import Case, Family

NAMES = (
    "elementwise",
    "arithmetic",
    "activation",
    "casting",
    "reduction",
    "matrix",
    "convolution",
    "pooling",
    "normalisation",
    "shape",
    "slicing",
    "gathering",
    "ordering",
    "segments",
    "image",
    "signal",
    "random",
    "quantisation",
    "recurrent",
    "control",
    "state",
    "strings",
    "composites",
)


def all_cases(names: Sequence[str] = NAMES) -> list[Case]:
    """Every case of these families, in order. Imports TensorFlow."""
    found: list[Case] = []
    for name in names:
        family = Family(name)
        importlib.import_module(f"ops.families.{name}").add_cases(family)
        found += family.cases
    return found
