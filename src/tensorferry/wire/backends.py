"""Which backend of a runtime has which operator: the data of `backends.txt`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path


@cache
def _lines() -> list[list[str]]:
    text = Path(__file__).with_name("backends.txt").read_text(encoding="ascii").replace("\n    ", " ")
    return [line.split() for line in text.splitlines() if not line.startswith("#")]


@cache
def operators_of() -> Mapping[str, frozenset[str]]:
    """Backend of TensorFlow Lite (`xnnpack`, `gpu`) -> the operators it takes, as far as their name tells."""
    return {backend: frozenset(names) for kind, backend, *names in _lines() if kind == "has"}


@cache
def lacking_in() -> Mapping[str, frozenset[str]]:
    """Backend of TensorFlow.js -> ops that the others have and it lacks."""
    lacking = {backend: frozenset(names) for kind, backend, *names in _lines() if kind == "lacks"}
    return {backend: lacking.get(backend, frozenset()) for backend in ("cpu", "wasm", "webgl", "webgpu")}


@cache
def asynchronous_ops() -> frozenset[str]:
    """Ops for which TensorFlow.js wants `executeAsync`."""
    return frozenset(name for kind, *names in _lines() if kind == "waits" for name in names)
