"""Which layer classes are known: how each is built, and which weights it has in which order."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from tensorferry.errors import GraphError
from tensorferry.ir import Value

if TYPE_CHECKING:
    from tensorferry.readers.keras.building import Builder
    from tensorferry.readers.keras.description import Config, Layer
    from tensorferry.tensor import Tensor


@dataclass(frozen=True, slots=True)
class Slot:
    """A weight that a layer has: its role, with the attributes that lead to it (`cell/kernel`), and whether it is trained.

    Keras keeps weights that are not trained behind all that are. `named`: in Keras 3's form it bears its role's name instead of a
    number. `filed`: only files of that form have it; `listed`: only the others.
    """

    path: str
    trainable: bool = True
    named: bool = False
    filed: bool = True
    listed: bool = True


Slots = Sequence[str | Slot]
Build = Callable[["Builder", "Config", Sequence[Value]], Value | Sequence[Value]]
Children = Callable[["Layer"], Mapping[str, "Layer"]]
Tensors = Mapping[str, "Tensor"]
Fill = Callable[["Layer", Tensors, "Tensors | None"], None]
"""(layer, its own tensors by name, those of the layer inside by number): in files that list weights the first holds all, and the
other is None; in Keras 3's form both are numbered."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is known of a layer class."""

    build: Build
    weights: Callable[[Config], Slots]
    children: Callable[[Layer], Mapping[str, Layer]] | None
    keeps_mask: bool
    fill: Fill | None

    def slots(self, config: Config) -> list[Slot]:
        """Its weights in the order in which Keras makes them."""
        return [Slot(each) if isinstance(each, str) else each for each in self.weights(config)]


_RULES: dict[str, Rule] = {}


def layer(
    *names: str,
    weights: Slots | Callable[[Config], Slots] = (),
    children: Children | None = None,
    keeps_mask: bool = False,
    fill: Fill | None = None,
) -> Callable[[Build], Build]:
    """Make a function known as the builder of these classes.

    `weights`: roles in the order in which Keras makes them, or a function of the config. `children`: of a wrapper, the layers it
    holds, by attribute. `keeps_mask`: the first input's mask belongs to the outputs too. `fill`: gives the layer and what it wraps
    their weights, where these do not lie in the order of `weights`.
    """
    slots: Callable[[Any], Slots] = weights if callable(weights) else lambda _config: weights

    def register(build: Build) -> Build:
        for name in names:
            if name in _RULES:
                raise GraphError(f"the layer '{name}' is described twice")
            _RULES[name] = Rule(build, slots, children, keeps_mask, fill)
        return build

    return register


@cache
def rules() -> Mapping[str, Rule]:
    """All rules, gathered from every module of `layers`."""
    package = importlib.import_module("tensorferry.readers.keras.layers")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return _RULES


def find(kind: str) -> Rule | None:
    """The rule for a layer's kind (`Dense`, `ops.Add`)."""
    return rules().get(kind)
