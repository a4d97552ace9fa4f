"""What a net does to an input first: constant factors and offsets, as those that normalise pixels."""

from __future__ import annotations

import numpy as np

from tensorferry.ir import Node, Value
from tensorferry.tensor import Array

MOST_CHANNELS = 16
"""Elements of a constant that scales an input by channel."""


def leading_scalings(value: Value) -> list[tuple[Array, Array]]:
    """(factor, offset) of each step right behind a value, in order: scalars or one for each channel, as vectors of float64."""
    steps: list[tuple[Array, Array]] = []
    while len(value.users) == 1 and (step := _scaling(value.users[0], value)) is not None:
        steps.append(step)
        value = value.users[0].output
    return steps


def _scaling(node: Node, value: Value) -> tuple[Array, Array] | None:
    """(factor, offset) if the node computes factor * value + offset with a constant for all elements or for each channel."""
    if node.op not in ("AddV2", "Sub", "Mul", "RealDiv") or node.output.shape != value.shape:
        return None
    first = node.inputs[0] is value
    other = node.inputs[1] if first else node.inputs[0]
    while other.producer.op == "Identity":
        other = other.producer.inputs[0]
    tensor = other.constant
    if tensor is None or tensor.size > MOST_CHANNELS or (node.op == "RealDiv" and not first):
        return None
    constant = tensor.array().astype(np.float64)
    one, zero = np.ones(1), np.zeros(1)
    if node.op == "AddV2":
        return one, constant
    if node.op == "Sub":
        return (one, -constant) if first else (-one, constant)
    with np.errstate(all="ignore"):
        return (constant if node.op == "Mul" else 1 / constant), zero
