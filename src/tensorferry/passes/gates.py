"""x times a smooth gate of x, written out in any of its ways: Gelu."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

from tensorferry.ir import Graph, Node, Value
from tensorferry.ops.gelu import CUBIC, LINEAR
from tensorferry.passes.composites import multiply_out
from tensorferry.passes.rewriting import decline, for_each_node, made_by, number, substitute

log = logging.getLogger(__name__)

DEPTH = 8
"""How deep a polynomial may be nested."""

DEGREE = 3

TOLERANCE = 2e-4
"""Relative, on each number: people write 0.7978 or 1.414 for the roots."""


@dataclass(frozen=True, slots=True)
class Polynomial:
    """Coefficients of x ** 0 to x ** DEGREE, and the nodes that compute it."""

    terms: tuple[float, ...]
    nodes: tuple[Node, ...] = ()

    def plus(self, other: Polynomial, node: Node, sign: float = 1.0) -> Polynomial:
        terms = tuple(one + sign * two for one, two in zip(self.terms, other.terms, strict=True))
        return Polynomial(terms, (*self.nodes, *other.nodes, node))

    def times(self, other: Polynomial, node: Node) -> Polynomial | None:
        terms = [0.0] * (2 * DEGREE + 1)
        for power, one in enumerate(self.terms):
            for other_power, two in enumerate(other.terms):
                terms[power + other_power] += one * two
        if any(terms[DEGREE + 1 :]):
            return None
        return Polynomial(tuple(terms[: DEGREE + 1]), (*self.nodes, *other.nodes, node))


def constant_polynomial(scalar: float) -> Polynomial:
    return Polynomial((scalar,) + (0.0,) * DEGREE)


def polynomial_in(value: Value, x: Value, depth: int = DEPTH) -> Polynomial | None:
    """The value as a polynomial in x; None if it is none."""
    if value is x:
        return Polynomial((0.0, 1.0) + (0.0,) * (DEGREE - 1))
    scalar = number(value)
    if scalar is not None:
        return constant_polynomial(scalar)
    node = made_by(value, "Mul", "AddV2", "Sub", "Neg", "RealDiv", "Square", "Pow")
    if node is None or depth == 0:
        return None
    first = polynomial_in(node.inputs[0], x, depth - 1)
    if first is None:
        return None
    if node.op == "Neg":
        return constant_polynomial(0.0).plus(first, node, -1.0)
    if node.op == "Square":
        return first.times(first, node)
    if node.op in ("Pow", "RealDiv"):
        return _with_number(node, first)
    second = polynomial_in(node.inputs[1], x, depth - 1)
    if second is None:
        return None
    if node.op == "Mul":
        return first.times(second, node)
    return first.plus(second, node, 1.0 if node.op == "AddV2" else -1.0)


def _with_number(node: Node, base: Polynomial) -> Polynomial | None:
    """A power or a quotient whose second operand is a number."""
    scalar = number(node.inputs[1])
    if not scalar:
        return None
    if node.op == "RealDiv":
        return base.times(constant_polynomial(1 / scalar), node)
    if scalar not in (2, 3):
        return None
    square = base.times(base, node)
    return square if scalar == 2 or square is None else square.times(base, node)


# -- gates ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Gate:
    """offset + slope * curve(inner), where the curve is Erf or Tanh."""

    curve: str
    offset: float
    slope: float
    inner: Value
    stretch: float = 1.0
    nodes: tuple[Node, ...] = ()
    """inner is to be multiplied by `stretch`."""


def _gate(value: Value, depth: int = DEPTH) -> Gate | None:
    """The value as a gate; Sigmoid is a Tanh of half its argument, Erfc one less Erf."""
    node = made_by(value, "Erf", "Tanh", "Sigmoid", "Erfc", "AddV2", "Sub", "Mul", "RealDiv")
    if node is None or depth == 0:
        return None
    match node.op:
        case "Erf" | "Tanh":
            return Gate(node.op, 0.0, 1.0, node.inputs[0], 1.0, (node,))
        case "Sigmoid":
            return Gate("Tanh", 0.5, 0.5, node.inputs[0], 0.5, (node,))
        case "Erfc":
            return Gate("Erf", 1.0, -1.0, node.inputs[0], 1.0, (node,))
    for position, scalar in enumerate(number(each) for each in node.inputs):
        if scalar is not None and (node.op != "RealDiv" or (position == 1 and scalar)):
            inner = _gate(node.inputs[1 - position], depth - 1)
            return None if inner is None else _adjusted(inner, node, scalar, position)
    return None


def _adjusted(gate: Gate, node: Node, scalar: float, position: int) -> Gate:
    """The gate after one operation with a number, which is the operand at `position`."""
    nodes = (*gate.nodes, node)
    if node.op in ("Mul", "RealDiv"):
        factor = scalar if node.op == "Mul" else 1 / scalar
        return Gate(gate.curve, gate.offset * factor, gate.slope * factor, gate.inner, gate.stretch, nodes)
    if node.op == "AddV2":
        return Gate(gate.curve, gate.offset + scalar, gate.slope, gate.inner, gate.stretch, nodes)
    sign, shift = (1.0, -scalar) if position == 1 else (-1.0, scalar)
    return Gate(gate.curve, sign * gate.offset + shift, sign * gate.slope, gate.inner, gate.stretch, nodes)


def recognise_gelu(graph: Graph) -> int:
    """x / 2 * (1 + erf(x / sqrt(2))), or with a tanh in place of the erf, is Gelu."""
    return for_each_node(graph, _gelu)


def _gelu(graph: Graph, node: Node) -> int:
    if node.op not in ("Mul", "RealDiv") or node.get("activation") or not node.output.dtype.is_float:
        return 0
    product = multiply_out(graph, node.output)
    if len(product.leaves) != 2:
        return 0
    for source, factor in (product.leaves, product.leaves[::-1]):
        gate = _gate(factor)
        if gate is None or source.shape is None or source.shape != node.output.shape:
            continue
        inner = polynomial_in(gate.inner, source)
        if inner is None:
            continue
        approximate = _is_gelu(gate, inner, product.factor)
        if approximate is None:
            return decline(log, node, f"it multiplies {source.name} by a gate of it, but with other numbers than Gelu's")
        between = [each for each in (*product.nodes, *gate.nodes, *inner.nodes) if each is not node]
        substitute(graph, node, "Gelu", [source], {"approximate": approximate}, absorbed=list(dict.fromkeys(between)))
        return 1
    return 0


def _is_gelu(gate: Gate, inner: Polynomial, factor: float) -> bool | None:
    """Whether the numbers are those of the approximate form (True) or of the exact one (False); None: of neither."""
    sign = math.copysign(1.0, inner.terms[1])
    wanted = (0.0, math.sqrt(0.5), 0.0, 0.0) if gate.curve == "Erf" else (0.0, LINEAR, 0.0, LINEAR * CUBIC)
    found = tuple(sign * gate.stretch * term for term in inner.terms)
    numbers = zip((*found, factor * gate.offset, factor * gate.slope * sign), (*wanted, 0.5, 0.5), strict=True)
    if not all(math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=1e-9) for one, other in numbers):
        return None
    return gate.curve == "Tanh"
