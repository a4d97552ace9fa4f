"""Gelu, which only a pass makes: x times the normal distribution's share below x, exact or by a hyperbolic tangent."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tensorferry.ir import Graph, Node
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.kernels import FLOATS, LiteKernel
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Example, OpSpec, same_as_input
from tensorferry.targets import LiteOp
from tensorferry.tensor import Array

LINEAR = math.sqrt(2 / math.pi)
CUBIC = 0.044715
"""tanh(LINEAR * (x + CUBIC * x ** 3)) stands for erf(x / sqrt(2)): Hendrycks and Gimpel, Gaussian Error Linear Units (2016)."""

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _evaluate(node: Node, x: Array) -> Array:
    wide = x.astype(np.float64)
    gate = np.tanh(LINEAR * (wide + CUBIC * wide**3)) if node["approximate"] else _erf(wide / math.sqrt(2))
    return np.asarray(0.5 * wide * (1 + gate)).astype(x.dtype)


def _lower(node: Node) -> list[LiteOp]:
    return LiteKernel("GELU", FLOATS)(node, approximate=bool(node["approximate"]))


def _expand(graph: Graph, node: Node) -> bool:
    parts, x = Expansion(graph, node), node.inputs[0]
    if node["approximate"]:  # 1 + tanh(z) is twice the sigmoid of 2 z
        slope = parts.make("AddV2", parts.make("Mul", parts.make("Square", x), 2 * LINEAR * CUBIC), 2 * LINEAR)
        return parts.finish(parts.make("Mul", x, parts.make("Sigmoid", parts.make("Mul", x, slope))))
    gate = parts.make("Erf", parts.make("Mul", x, math.sqrt(0.5)))
    half = parts.make("Mul", x, 0.5)
    return parts.finish(parts.make("AddV2", half, parts.make("Mul", half, gate)))


def _examples() -> Iterator[Example]:
    bends = np.array([-30, -5, -2, -0.7, -1e-3, 0, 1e-3, 0.7, 2, 5, 30], np.float32)
    for approximate in (False, True):
        yield Example((bends,), {"approximate": approximate}, tolerance=2e-6)
        yield Example((sample(1, 2, 1, 3, 1, 2) * 3,), {"approximate": approximate}, tolerance=2e-6, note="six dims")


SPECS = (
    OpSpec(
        name="Gelu",
        attrs={"approximate": False},
        infer=same_as_input,
        evaluate=_evaluate,
        to_tflite=_lower,
        expand=_expand,
        examples=_examples,
    ),
)
