"""Dropout in its training form, written out with random numbers: every use of a trained net leaves it out."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from tensorferry.ir import Graph, Node, Value
from tensorferry.passes.rewriting import bypass, decline, for_each_node, made_by, number

log = logging.getLogger(__name__)

RANDOM = frozenset({"RandomUniform", "StatelessRandomUniform", "StatelessRandomUniformV2"})

MASK_DEPTH = 8
"""How far above a dropout mask the random number may stand: cast, compare, scale and shift lie between."""

_MASKS = frozenset({"Floor", "Cast", "GreaterEqual", "Greater", "Less", "LessEqual"})
_BETWEEN = _MASKS | {"AddV2", "Mul", "Sub", "RealDiv", "Identity"}


def remove_dropout(graph: Graph) -> int:
    """`x / keep * floor(keep + random)`, `x * scale * cast(random >= rate)` and `select(random >= rate, x * scale, 0)` become x.

    The rate may be a constant or a number that is fed; then it does not matter any more.
    """
    return for_each_node(graph, _remove)


def _remove(graph: Graph, node: Node) -> int:
    if node.op == "Mul":
        candidates = [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])]
    elif node.op == "SelectV2" and number(_root(node.inputs[2])) == 0:
        candidates = [(node.inputs[1], node.inputs[0])]
    else:
        return 0
    for scaled, mask in candidates:
        if mask.producer.op in _MASKS and _is_random(mask):
            return _drop(graph, node, scaled, mask)
    return 0


def _drop(graph: Graph, node: Node, scaled: Value, mask: Value) -> int:
    rates = set(_rates(mask))
    source = _unscaled(scaled, rates)
    if source is None:
        return decline(log, node, "it looks like dropout, but its input is not scaled by its rate")
    fed = sorted(rate.name for rate in rates if rate.constant is None)
    at_rate = f"; its rate '{fed[0]}' does not matter any more" if fed else ""
    graph.notices.append(f"dropout '{node.name}' was in the graph in its training form and has been left out{at_rate}")
    return bypass(graph, node, source)


def _unscaled(value: Value, rates: set[Value]) -> Value | None:
    """x of `x / keep` or `x * scale`; x itself where everything is kept."""
    node = made_by(value, "RealDiv", "Mul")
    if node is not None:
        if _follows(node.inputs[1], rates):
            return node.inputs[0]
        if node.op == "Mul" and _follows(node.inputs[0], rates):
            return node.inputs[1]
    return value if any(number(rate) == 1 for rate in rates) else None


def _root(value: Value) -> Value:
    while value.producer.op == "Identity":
        value = value.producer.inputs[0]
    return value


def _follows(value: Value, rates: set[Value]) -> bool:
    """Whether it is one number that comes of constants and the rates alone."""
    value = _root(value)
    if value in rates or number(value) is not None:
        return True
    node = value.producer
    scalar = value.rank in (0, None)
    return (
        scalar
        and node.op in ("Sub", "RealDiv", "Reciprocal", "Cast", "AddV2")
        and all(_follows(each, rates) for each in node.inputs)
    )


def _is_random(value: Value, depth: int = MASK_DEPTH) -> bool:
    """Whether the value comes of a uniform random number, constants and rates."""
    node = value.producer
    if node.op in RANDOM:
        return True
    if depth == 0 or node.op not in _BETWEEN:
        return False
    return sum(_is_random(each, depth - 1) for each in node.inputs) == 1 and all(
        _is_rate(each) or _is_random(each, depth - 1) for each in node.inputs
    )


def _is_rate(value: Value) -> bool:
    """A constant, or one number that is fed."""
    value = _root(value)
    return (
        value.constant is not None
        or (value.producer.op.startswith("Placeholder") and value.rank in (0, None))
        or (value.rank == 0 and all(_is_rate(each) for each in value.producer.inputs) and bool(value.producer.inputs))
    )


def _rates(mask: Value, depth: int = MASK_DEPTH) -> Iterator[Value]:
    """What the random number is compared with or shifted by."""
    node = mask.producer
    if node.op in RANDOM or depth == 0:
        return
    for value in node.inputs:
        if _is_random(value, depth):
            yield from _rates(value, depth - 1)
        elif node.op not in ("Mul", "RealDiv"):
            yield _root(value)
