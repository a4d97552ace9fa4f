"""Arithmetic that does nothing or has a simpler form. Only exact rewrites: the numbers stay what they are, bit for bit.

Two chained constants (x * a * b, x + a + b) are the one exception: their product or sum is rounded once instead of twice,
which moves a result by at most one unit in its last place.
"""

from __future__ import annotations

import logging

import numpy as np

from tensorferry.ir import Graph, Node, Value
from tensorferry.passes.rewriting import (
    bypass,
    decline,
    discard,
    for_each_node,
    made_by,
    number,
    small_constant,
    split_constant,
    substitute,
)
from tensorferry.tensor import Array, DType

log = logging.getLogger(__name__)

NEUTRAL_RIGHT = {"AddV2": 0.0, "Sub": 0.0, "Mul": 1.0, "RealDiv": 1.0, "Pow": 1.0}
LARGEST_NEUTRAL = 1 << 16
"""Elements of a constant up to which it is read to see whether it adds or multiplies by nothing."""

COMMUTATIVE = ("AddV2", "Mul")
IDEMPOTENT = ("Relu", "Relu6", "Abs", "Sign", "Floor", "Ceil", "Round", "Rint")


def simplify_arithmetic(graph: Graph) -> int:
    """x + 0, x - 0, x * 1, x / 1, x ** 1 and -(-x) are x; x ** 2 is Square; chained constants are merged."""
    return for_each_node(graph, _simplify)


def _simplify(graph: Graph, node: Node) -> int:
    if not node.outputs or node.get("activation"):
        return 0
    if node.op in NEUTRAL_RIGHT and len(node.inputs) == 2:
        return _neutral(graph, node) or _square(graph, node) or _merge_constants(graph, node)
    if node.op in IDEMPOTENT and node.inputs[0].producer.op == node.op and made_by(node.inputs[0], node.op):
        return bypass(graph, node, node.inputs[0])
    if node.op == "Neg" and (inner := made_by(node.inputs[0], "Neg")) is not None:
        return bypass(graph, node, inner.inputs[0])
    return _relu_twice(graph, node)


def _neutral(graph: Graph, node: Node) -> int:
    for value, operand in _orders(node):
        if value.constant is None and _is_all(operand, NEUTRAL_RIGHT[node.op]):
            if value.shape is None or value.shape != node.output.shape or value.dtype is not node.output.dtype:
                return decline(log, node, "it adds or multiplies by nothing, but may widen its input")
            return bypass(graph, node, value)
    return 0


def _orders(node: Node) -> list[tuple[Value, Value]]:
    one, other = node.inputs
    return [(one, other), (other, one)] if node.op in COMMUTATIVE else [(one, other)]


def _is_all(value: Value, element: float) -> bool:
    """Whether a constant, or a vector of known content, is this number throughout. A first look at one element spares the rest."""
    tensor = value.constant
    if tensor is None:
        array = small_constant(value)
        return array is not None and array.size > 0 and bool(np.all(array == element))
    if not 0 < tensor.size <= LARGEST_NEUTRAL or not (tensor.dtype.is_float or tensor.dtype.is_integer):
        return False
    if tensor.dtype is DType.BFLOAT16 or tensor.elements(0, 1)[0] != element:
        return False
    return bool(np.all(tensor.array() == element))


def _square(graph: Graph, node: Node) -> int:
    if node.op != "Pow" or number(node.inputs[1]) != 2 or node.inputs[0].shape != node.output.shape:
        return 0
    substitute(graph, node, "Square", [node.inputs[0]])
    return 1


def _relu_twice(graph: Graph, node: Node) -> int:
    """Relu of Relu6 is Relu6; Relu6 of Relu is Relu6."""
    if node.op == "Relu" and made_by(node.inputs[0], "Relu6"):
        return bypass(graph, node, node.inputs[0])
    inner = made_by(node.inputs[0], "Relu") if node.op == "Relu6" else None
    if inner is None or graph.only_reader(node.inputs[0]) is not node:
        return 0
    node.set_input(0, inner.inputs[0])
    node.origin = node.origin + inner.origin
    discard(graph, inner)
    return 1


def _merge_constants(graph: Graph, node: Node) -> int:
    """(x * a) * b is x * (a * b), (x + a) + b is x + (a + b), for constants of one element or the same shape."""
    if node.op not in COMMUTATIVE or not node.output.dtype.is_float:
        return 0
    outer = split_constant(node)
    inner_node = made_by(outer[0], node.op) if outer is not None else None
    inner = split_constant(inner_node) if inner_node is not None else None
    if outer is None or inner is None or inner_node is None or graph.only_reader(outer[0]) is not node:
        return 0
    arrays = [small_constant(inner[1]), small_constant(outer[1])]
    if any(array is None for array in arrays):
        return 0
    merged = _combine(node.op, *(array.astype(np.float64) for array in arrays if array is not None))
    if merged is None:
        return 0
    constant = graph.constant(merged.astype(node.output.dtype.numpy), f"{node.name}/constant", before=node, origin=node.origin)
    node.origin = node.origin + inner_node.origin
    previous = outer[1].producer
    node.set_inputs([inner[0], constant])
    discard(graph, inner_node, previous)
    return 1


def _combine(op: str, one: Array, other: Array) -> Array | None:
    if one.shape != other.shape and 1 not in (one.size, other.size):
        return None
    merged = one * other if op == "Mul" else one + other
    return merged if np.all(np.isfinite(merged)) else None
