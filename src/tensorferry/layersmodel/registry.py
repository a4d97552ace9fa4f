"""Which classes of Keras have a rule, and what each rule takes."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from tensorferry.errors import GraphError
from tensorferry.layersmodel.site import Rule


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule. `masks`: a mask that comes in is used or handed on as Keras does it. `integers`: whole numbers need no cast."""

    build: Rule
    masks: bool
    integers: bool


_ENTRIES: dict[str, Entry] = {}


def rule(*kinds: str, masks: bool = False, integers: bool = False) -> Callable[[Rule], Rule]:
    """Make a function known as the translation of these kinds of layers."""

    def register(build: Rule) -> Rule:
        for kind in kinds:
            if kind in _ENTRIES:
                raise GraphError(f"the layer '{kind}' is translated twice")
            _ENTRIES[kind] = Entry(build, masks, integers)
        return build

    return register


@cache
def _entries() -> dict[str, Entry]:
    package = importlib.import_module("tensorferry.layersmodel.rules")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return _ENTRIES


def find(kind: str) -> Entry | None:
    return _entries().get(kind)
