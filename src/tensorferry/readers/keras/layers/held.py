"""Layers that a layer's config holds."""

from __future__ import annotations

from typing import Any

from tensorferry.readers.keras.description import Layer


def held_layer(layer: Layer, given: Any) -> Layer:
    """The layer that this part of another one's config describes."""
    from tensorferry.readers.keras.parsing import parse_layer  # noqa: PLC0415 - it reads the registry, which reads this

    return parse_layer(given, str(layer.release), layer.depth + 1)
