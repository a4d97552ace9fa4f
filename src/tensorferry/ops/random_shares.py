"""Random numbers of distributions that stretch with what the model computes: a normal one cut off, and the gamma distribution."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tensorferry.ir import Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.filling import shape_operand
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType

_SEEDS = {"seed": 0, "seed2": 0}


def _generator(node: Node) -> np.random.Generator:
    return np.random.default_rng([int(node["seed"]) & 0xFFFFFFFF, int(node["seed2"]) & 0xFFFFFFFF])


# -- a normal distribution between two ends -------------------------------------------------------------------------


def _infer_cut(node: Node) -> list[Typed]:
    return [Typed(node["dtype"], shape_operand(node.inputs[0]))]


def _column(array: Array, rank: int) -> Array:
    """One number, or one for each row of the result."""
    return array.reshape(-1, *[1] * max(rank - 1, 0)) if array.ndim else array


def _evaluate_cut(node: Node, shape: Array, *ends: Array) -> Array:
    sizes = [int(each) for each in shape]
    mean, deviation, low, high = (_column(each.astype(np.float64), len(sizes)) for each in ends)
    first, last = (low - mean) / deviation, (high - mean) / deviation
    generator = _generator(node)
    made = np.full(sizes, np.nan)
    for _try in range(1000):
        missing = np.isnan(made)
        if not missing.any():
            break
        # uniform candidates between the ends, taken as often as the density says
        drawn = first + (last - first) * generator.random(sizes)
        nearest = np.clip(0, first, last)
        taken = generator.random(sizes) < np.exp((nearest**2 - drawn**2) / 2)
        made = np.where(missing & taken, drawn, made)
    return np.asarray(made * deviation + mean, node["dtype"].numpy)


def _expand_cut(graph: Graph, node: Node) -> bool:
    """The normal quantile of a uniform number between those of the two ends; above the mean mirrored, where it is exact."""
    shape, *ends = node.inputs
    rank = None if node.output.shape is None else len(node.output.shape)
    if rank is None or any(each.rank is None for each in ends):
        raise Declined("the rank of what is drawn is not known")
    parts = Expansion(graph, node)
    column = np.asarray([-1, *[1] * max(rank - 1, 0)], np.int32)
    mean, deviation, low, high = (parts.make("Reshape", each, column) if each.rank else each for each in ends)
    first, last = (parts.make("RealDiv", parts.make("Sub", each, mean), deviation) for each in (low, high))
    above = parts.make("Greater", first, np.float32(0))
    near = parts.make("SelectV2", above, parts.make("Neg", last), first)
    far = parts.make("SelectV2", above, parts.make("Neg", first), last)
    below, until = (_share_below(parts, each) for each in (near, far))
    drawn = parts.make("RandomUniform", shape, dtype=DType.FLOAT32, seed=node["seed"], seed2=node["seed2"])
    share = parts.make("AddV2", parts.make("Mul", drawn, parts.make("Sub", until, below)), below)
    smallest = np.float32(1e-37)
    quantile = parts.make("Ndtri", parts.make("Maximum", share, smallest))
    inside = parts.make("Minimum", parts.make("Maximum", quantile, near), far)
    turned = parts.make("SelectV2", above, parts.make("Neg", inside), inside)
    return parts.finish(parts.make("AddV2", parts.make("Mul", turned, deviation), mean))


def _share_below(parts: Expansion, value: Value) -> Value:
    scaled = parts.make("Mul", value, np.float32(-math.sqrt(0.5)))
    return parts.make("Mul", parts.make("Erfc", scaled), np.float32(0.5))


def _cut_examples() -> Iterator[Example]:
    shape, attrs = np.array([3, 500], np.int32), {"dtype": DType.FLOAT32, "seed": 3, "seed2": 5}
    ends = tuple(np.array(each, np.float32) for each in (0.5, 2.0, -1.0, 3.0))
    yield Example((shape, *ends), attrs, (0,))
    rows = tuple(np.array(each, np.float32) for each in ([0, 1, 5], [1, 2, 1], [-1, 4, -9], [1, 9, 2]))
    yield Example((shape, *rows), attrs, (0,), note="a distribution for each row, also far from the mean")


# -- the gamma distribution -----------------------------------------------------------------------------------------

TRIES = 12
"""Of Marsaglia and Tsang's method at least 95 of 100 are taken; that none of twelve is happens once in 10**15 numbers."""


def _infer_gamma(node: Node) -> list[Typed]:
    outer, alpha = shape_operand(node.inputs[0]), node.inputs[1]
    return [Typed(alpha.dtype, None if outer is None or alpha.shape is None else (*outer, *alpha.shape))]


def _evaluate_gamma(node: Node, shape: Array, alpha: Array) -> Array:
    sizes = (*(int(each) for each in shape), *alpha.shape)
    return _generator(node).gamma(alpha.astype(np.float64), size=sizes).astype(alpha.dtype)


def _expand_gamma(graph: Graph, node: Node) -> bool:
    """G. Marsaglia and W. Tsang, "A Simple Method for Generating Gamma Variables" (2000), all tries at once.

    A shape below 1 is drawn one higher, and the number scaled by a uniform one to the power of 1/alpha.
    """
    shape, alpha = node.inputs
    if alpha.dtype is not DType.FLOAT32:
        raise Declined(f"it draws {alpha.dtype}, the target float32")
    parts = Expansion(graph, node)
    attrs = {"dtype": DType.FLOAT32, "seed": node["seed"], "seed2": node["seed2"]}
    outer = shape if shape.dtype is DType.INT32 else parts.make("Cast", shape, DstT=DType.INT32)
    own = parts.make("ConcatV2", outer, parts.make("Shape", alpha, out_type=DType.INT32), np.int32(0))
    tries = parts.make("ConcatV2", np.asarray([TRIES], np.int32), own, np.int32(0))
    small = parts.make("Less", alpha, np.float32(1))
    third = np.float32(1 / 3)
    d = parts.make("Sub", parts.make("SelectV2", small, parts.make("AddV2", alpha, np.float32(1)), alpha), third)
    c = parts.make("Rsqrt", parts.make("Mul", d, np.float32(9)))
    x = parts.make("RandomStandardNormal", tries, **attrs)
    root = parts.make("AddV2", parts.make("Mul", x, c), np.float32(1))
    v = parts.make("Mul", parts.make("Square", root), root)
    positive = parts.make("Greater", v, np.float32(0))
    log_v = parts.make("Log", parts.make("SelectV2", positive, v, np.float32(1)))
    bound = parts.make("Mul", parts.make("AddV2", parts.make("Sub", log_v, v), np.float32(1)), d)
    bound = parts.make("AddV2", parts.make("Mul", parts.make("Square", x), np.float32(0.5)), bound)
    u = parts.make("RandomUniform", tries, **attrs)
    log_u = parts.make("Log", parts.make("Maximum", u, np.float32(1e-30)))
    taken = parts.make("Cast", parts.make("LogicalAnd", positive, parts.make("Less", log_u, bound)), DstT=DType.FLOAT32)
    first = parts.make("ArgMax", taken, np.int32(0), output_type=DType.INT32)
    chosen = parts.make("OneHot", first, np.int32(TRIES), np.float32(1), np.float32(0), axis=0)
    kept = parts.make(
        "Sum", parts.make("SelectV2", parts.make("Greater", chosen, np.float32(0.5)), v, np.float32(0)), np.asarray([0], np.int32)
    )
    made = parts.make("Mul", kept, d)
    share = parts.make("Maximum", parts.make("RandomUniform", own, **attrs), np.float32(1e-30))
    power = parts.make("Exp", parts.make("RealDiv", parts.make("Log", share), alpha))
    return parts.finish(parts.make("Mul", made, parts.make("SelectV2", small, power, np.float32(1))))


def _gamma_examples() -> Iterator[Example]:
    yield Example((np.array([400], np.int32), np.array([0.3, 1, 2.5, 9], np.float32)), {"seed": 4}, (0,))


SPECS = (
    OpSpec(
        name="ParameterizedTruncatedNormal",
        attrs={"dtype": DType.FLOAT32, **_SEEDS},
        infer=_infer_cut,
        evaluate=_evaluate_cut,
        expand=_expand_cut,
        pure=False,
        drawn=True,
        examples=_cut_examples,
    ),
    OpSpec(
        name="RandomGamma",
        attrs=_SEEDS,
        infer=_infer_gamma,
        evaluate=_evaluate_gamma,
        expand=_expand_gamma,
        pure=False,
        drawn=True,
        examples=_gamma_examples,
    ),
)
