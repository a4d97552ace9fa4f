"""Recurrent operators."""

from __future__ import annotations

from tensorferry.readers.tflite.steps import Rule

RULES: dict[str, Rule] = {}
