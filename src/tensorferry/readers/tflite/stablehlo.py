"""Operators of StableHLO, as far as they are simple."""

from __future__ import annotations

from tensorferry.readers.tflite.steps import Rule

RULES: dict[str, Rule] = {}
