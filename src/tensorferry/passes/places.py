"""Elements of a type that a target's operators do not move: their places are moved instead, and the elements picked by these."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tensorferry.ir import Graph, Node, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.spec import OpSpec
from tensorferry.tensor import DType

PICKED = frozenset({DType.STRING})
"""Types that are picked by place: those that cannot be computed in another type and back."""


def move_places(graph: Graph, node: Node, spec: OpSpec) -> bool:
    """Let the op move the numbers 0, 1, 2, ... in place of the elements; GatherNd, which both targets have, picks the elements."""
    if spec.moves is None or spec.moves >= len(node.inputs) or node.inputs[spec.moves].dtype not in PICKED:
        return False
    data = node.inputs[spec.moves]
    expansion = Expansion(graph, node)
    inputs: list[Value] = list(node.inputs)
    inputs[spec.moves] = _places(expansion, data)
    attrs = {key: _as_places(attribute, data.dtype) for key, attribute in node.attrs.items()}
    made = expansion.make_node(node.op, *inputs, **attrs)
    flat = expansion.make("Reshape", data, np.array([-1], np.int32))
    last = np.array(-1, np.int32)
    picked = [expansion.make("GatherNd", flat, expansion.make("ExpandDims", places, last)) for places in made.outputs]
    return expansion.finish(*picked)


def _places(expansion: Expansion, data: Value) -> Value:
    """The place of each element when all are laid out in a row, in the shape of the data."""
    shape = data.static_shape
    if shape is not None:
        return expansion.constant(np.arange(math.prod(shape), dtype=np.int32).reshape(shape), "places")
    count = expansion.make("Size", data, out_type=DType.INT32)
    row = expansion.make("Range", np.array(0, np.int32), count, np.array(1, np.int32))
    return expansion.make("Reshape", row, expansion.make("Shape", data, out_type=DType.INT32))


def _as_places(attribute: Any, dtype: DType) -> Any:
    return DType.INT32 if isinstance(attribute, DType) and attribute is dtype else attribute
