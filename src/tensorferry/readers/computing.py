"""Values that follow from constants alone: what tables and variables are first filled with."""

from __future__ import annotations

import math

from tensorferry import ops
from tensorferry.errors import FerryError
from tensorferry.ir import Value
from tensorferry.tensor import ArrayTensor, Tensor

_PASSING = ("Identity", "Enter", "RefIdentity")

MOST_COMPUTED, MOST_ELEMENTS = 8, 1 << 24
"""How deep a first value is computed, and how many elements it may have."""


def compute_constant(value: Value, left: int = MOST_COMPUTED) -> Tensor | None:
    """A constant, or what a few pure ops make of constants: TensorFlow fills with zeros, ranges and their like."""
    node = value.producer
    if node.op in _PASSING:
        return compute_constant(node.inputs[0], left)
    if value.constant is not None or left <= 0:
        return value.constant
    spec, shape = ops.find(node.op), value.static_shape
    if spec is None or not spec.pure or spec.evaluate is None or any(True for _nested in node.graphs()):
        return None
    if shape is None or not node.inputs or math.prod(shape) > MOST_ELEMENTS:
        return None
    inputs = [compute_constant(each, left - 1) for each in node.inputs]
    arrays = [tensor.array() for tensor in inputs if tensor is not None]
    if len(arrays) != len(inputs):
        return None
    try:
        return ArrayTensor(ops.evaluate(node, arrays)[value.index], value.dtype)
    except FerryError:
        return None
