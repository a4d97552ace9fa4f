"""How long a model takes in the runtimes that will run it: latency, memory, operators; several models side by side."""

from __future__ import annotations

from tensorferry.timing.benching import bench
from tensorferry.timing.records import Bench, Timing

__all__ = ["Bench", "Timing", "bench"]
