"""Functions written out in simple ops that targets know as one: HardSwish, PRelu, LeakyRelu, Softmax, L2Normalize."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np

from tensorferry.ir import Graph, Node, Value
from tensorferry.ops.norm import SMALLEST_SQUARE
from tensorferry.passes.rewriting import decline, for_each_node, integers, made_by, number, substitute
from tensorferry.tensor import Array, DType

log = logging.getLogger(__name__)

DEPTH = 6
"""How deep a product may be nested."""

LARGEST_ALPHA = 1 << 20
"""Slopes of a PRelu beyond this many are not read."""


@dataclass(frozen=True, slots=True)
class Product:
    """factor * leaf * leaf * ...: a tree of Mul, division by a number and Neg."""

    factor: float
    leaves: tuple[Value, ...]
    nodes: tuple[Node, ...] = ()

    def times(self, other: Product) -> Product:
        return Product(self.factor * other.factor, self.leaves + other.leaves, self.nodes + other.nodes)


def recognise_composites(graph: Graph) -> int:
    """One node in place of each of these functions."""
    return for_each_node(graph, _recognise)


def _recognise(graph: Graph, node: Node) -> int:
    if len(node.outputs) != 1 or not node.output.dtype.is_float or node.get("activation"):
        return 0
    if node.op in ("Mul", "RealDiv"):
        return _hard_swish(graph, node) or _softmax(graph, node)
    if node.op in ("AddV2", "Sub"):
        return _prelu(graph, node)
    return _leaky_relu(graph, node) if node.op == "Maximum" else 0


def _product(graph: Graph, value: Value, depth: int = DEPTH, *, root: bool = False) -> Product:
    """The value as a product; a factor that somebody else reads too is not opened."""
    scalar = number(value)
    if scalar is not None:
        return Product(scalar, ())
    node = made_by(value, "Mul", "RealDiv", "Neg")
    if node is None or depth == 0 or not (root or graph.readers(value) == 1):
        return Product(1.0, (value,))
    if node.op == "RealDiv":
        divisor = number(node.inputs[1])
        if not divisor:
            return Product(1.0, (value,))
        return _product(graph, node.inputs[0], depth - 1).times(Product(1 / divisor, (), (node,)))
    if node.op == "Neg":
        return _product(graph, node.inputs[0], depth - 1).times(Product(-1.0, (), (node,)))
    one, other = (_product(graph, each, depth - 1) for each in node.inputs)
    return one.times(other).times(Product(1.0, (), (node,)))


def multiply_out(graph: Graph, value: Value) -> Product:
    """The value as a product, however many read it."""
    return _product(graph, value, root=True)


def _hard_swish(graph: Graph, node: Node) -> int:
    """x * relu6(x + 3) / 6, the sixth anywhere in the product."""
    product = multiply_out(graph, node.output)
    if len(product.leaves) != 2 or not math.isclose(product.factor, 1 / 6, rel_tol=1e-6):
        return 0
    for source, gate in (product.leaves, product.leaves[::-1]):
        relu6 = made_by(gate, "Relu6")
        shift = _shifted(relu6.inputs[0]) if relu6 is not None else None
        if relu6 is not None and shift == (source, 3.0) and source.shape == node.output.shape:
            between = [*product.nodes[1:], relu6, relu6.inputs[0].producer]
            substitute(graph, node, "HardSwish", [source], absorbed=[each for each in between if each is not node])
            return 1
    return 0


def _shifted(value: Value) -> tuple[Value, float] | None:
    """(x, c) of x + c."""
    node = made_by(value, "AddV2", "Sub")
    if node is None:
        return None
    amount = number(node.inputs[1])
    if amount is not None:
        return node.inputs[0], amount if node.op == "AddV2" else -amount
    amount = number(node.inputs[0])
    return (node.inputs[1], amount) if node.op == "AddV2" and amount is not None else None


# -- rectifiers with a slope below zero ----------------------------------------------------------------------------


def _prelu(graph: Graph, node: Node) -> int:
    """relu(x) + slope * min(x, 0), in the forms Keras and TensorFlow 1 code write it."""
    sign = 1.0 if node.op == "AddV2" else -1.0
    pairs = [node.inputs] if node.op == "Sub" else [node.inputs, node.inputs[::-1]]
    for positive, negative in pairs:
        relu = made_by(positive, "Relu")
        if relu is None:
            continue
        product = _product(graph, negative)
        slope = _slope(product, relu.inputs[0])
        if slope is None:
            continue
        if slope.size > LARGEST_ALPHA:
            return decline(log, node, "it looks like PRelu, but has too many slopes")
        return _write_prelu(graph, node, relu, product, sign * slope)
    return 0


def _slope(product: Product, source: Value) -> Array | None:
    """The slope below zero if the product is slope * min(source, 0)."""
    constants = [leaf for leaf in product.leaves if leaf.constant is not None]
    others = [leaf for leaf in product.leaves if leaf.constant is None]
    if len(others) != 1 or len(constants) > 1:
        return None
    factor = _negative_part(others[0], source)
    if factor is None:
        return None
    tensor = constants[0].constant if constants else None
    if tensor is None:
        return np.asarray(factor * product.factor)
    return None if tensor.dtype is DType.BFLOAT16 else tensor.array().astype(np.float64) * (factor * product.factor)


def _negative_part(value: Value, source: Value) -> float | None:
    """c, if the value is c * min(source, 0)."""
    node = made_by(value, "Relu", "Sub", "Minimum")
    if node is None:
        return None
    if node.op == "Relu":
        negated = made_by(node.inputs[0], "Neg")
        return -1.0 if negated is not None and negated.inputs[0] is source else None
    one, other = node.inputs
    if node.op == "Minimum":
        clipped = (one is source and number(other) == 0) or (other is source and number(one) == 0)
        return 1.0 if clipped else None
    if one is source and _is_absolute(other, source):
        return 2.0
    return -2.0 if other is source and _is_absolute(one, source) else None


def _is_absolute(value: Value, source: Value) -> bool:
    node = made_by(value, "Abs")
    return node is not None and node.inputs[0] is source


def _write_prelu(graph: Graph, node: Node, relu: Node, product: Product, slope: Array) -> int:
    source = relu.inputs[0]
    if source.shape != node.output.shape or not np.all(np.isfinite(slope)):
        return decline(log, node, "it looks like PRelu, but its slopes widen the input or are not finite")
    absorbed = [relu, *product.nodes]
    if slope.size == 1:
        substitute(graph, node, "LeakyRelu", [source], {"alpha": float(slope.reshape(()))}, absorbed=absorbed)
        return 1
    alphas = slope.astype(node.output.dtype.numpy)
    constant = graph.constant(alphas, f"{node.name}/alpha", before=node, origin=node.origin)
    substitute(graph, node, "PRelu", [source, constant], absorbed=absorbed)
    return 1


def _leaky_relu(graph: Graph, node: Node) -> int:
    """max(x, slope * x) with a slope of at most 1."""
    for source, scaled in (node.inputs, node.inputs[::-1]):
        product = _product(graph, scaled)
        if product.leaves == (source,) and 0 <= product.factor <= 1 and product.nodes and source.shape == node.output.shape:
            substitute(graph, node, "LeakyRelu", [source], {"alpha": product.factor}, absorbed=product.nodes)
            return 1
    return 0


# -- softmax -------------------------------------------------------------------------------------------------------


def _softmax(graph: Graph, node: Node) -> int:
    """exp(x - max(x)) / sum(exp(x - max(x))) over the last axis."""
    if node.op != "RealDiv":
        return 0
    exponential, total = made_by(node.inputs[0], "Exp"), made_by(node.inputs[1], "Sum")
    if exponential is None or total is None or total.inputs[0] is not node.inputs[0] or not _over_last_axis(total):
        return 0
    shifted = made_by(exponential.inputs[0], "Sub")
    largest = made_by(shifted.inputs[1], "Max") if shifted is not None else None
    if shifted is None or largest is None or largest.inputs[0] is not shifted.inputs[0] or not _over_last_axis(largest):
        return decline(log, node, "it divides exponentials by their sum, but the largest is not taken off before")
    substitute(graph, node, "Softmax", [shifted.inputs[0]], absorbed=[exponential, total, shifted, largest])
    return 1


def _over_last_axis(node: Node) -> bool:
    axes, rank = integers(node.inputs[1]), node.inputs[0].rank
    return bool(node.get("keep_dims")) and axes is not None and rank is not None and len(axes) == 1 and axes[0] in (-1, rank - 1)


# -- unit length ---------------------------------------------------------------------------------------------------


def recognise_unit_length(graph: Graph) -> int:
    """x * rsqrt(max(sum(x ** 2), 1e-12)) over the last axis is L2Normalize, which TFLite alone has."""
    return for_each_node(graph, _unit_length)


def _unit_length(graph: Graph, node: Node) -> int:
    if node.op != "Mul" or node.get("activation") or not node.output.dtype.is_float:
        return 0
    for source, factor in (node.inputs, node.inputs[::-1]):
        root = made_by(factor, "Rsqrt")
        bound = made_by(root.inputs[0], "Maximum") if root is not None else None
        if root is None or bound is None or source.shape is None or source.shape != node.output.shape:
            continue
        total = next((made_by(each, "Sum") for each in bound.inputs if each.constant is None), None)
        limits = [limit for each in bound.inputs if (limit := number(each)) is not None]
        square = made_by(total.inputs[0], "Square") if total is not None else None
        if total is None or square is None or square.inputs[0] is not source or not _over_last_axis(total):
            continue
        if len(limits) != 1 or not math.isclose(limits[0], SMALLEST_SQUARE, rel_tol=1e-6) or len(source.shape) > 4:
            return decline(log, node, "it looks like L2 normalisation, but not as TFLite's kernel does it")
        if any(graph.readers(each.output) != 1 for each in (root, bound, total, square)):
            return decline(log, node, "it is an L2 normalisation of which others read parts")
        substitute(graph, node, "L2Normalize", [source], absorbed=[root, bound, total, square])
        return 1
    return 0
