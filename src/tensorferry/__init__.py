"""Tensorferry: TensorFlow models to TensorFlow Lite and TensorFlow.js, without TensorFlow.

import tensorferry

report = tensorferry.convert("posenet.pb", ["posenet.tflite", "web_model/"], inputs=["image"], outputs=["heatmap"])
print(report.to_json())
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tensorferry.conversion import assess, convert, diff, freeze, inspect, load, verify
    from tensorferry.errors import FerryError
    from tensorferry.options import Options
    from tensorferry.report import Report, Verification
    from tensorferry.timing import Bench, bench

__all__ = [
    "Bench",
    "FerryError",
    "Options",
    "Report",
    "Verification",
    "__version__",
    "assess",
    "bench",
    "convert",
    "diff",
    "freeze",
    "inspect",
    "load",
    "verify",
]

_HOMES = {
    "assess": "conversion",
    "bench": "timing",
    "Bench": "timing",
    "convert": "conversion",
    "diff": "conversion",
    "freeze": "conversion",
    "inspect": "conversion",
    "load": "conversion",
    "verify": "conversion",
    "FerryError": "errors",
    "Options": "options",
    "Report": "report",
    "Verification": "report",
}


def __getattr__(name: str) -> Any:
    # Importing the package imports nothing heavy; numpy and the rest come with the first use.
    if name not in _HOMES:
        raise AttributeError(f"module 'tensorferry' has no attribute '{name}'")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(f"tensorferry.{_HOMES[name]}"), name)
