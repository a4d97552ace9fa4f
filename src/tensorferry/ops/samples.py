"""Seeded arrays for the examples of ops."""

from __future__ import annotations

import numpy as np

from tensorferry.tensor import Array


def sample(*shape: int, seed: int = 0) -> Array:
    """Normally distributed float32, always the same for the same shape and seed."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)
