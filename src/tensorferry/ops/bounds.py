"""Numbers kept within bounds, told apart by kind, and their neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tensorferry.ir import Graph, Node, Typed
from tensorferry.ops.elementwise import infer_binary
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.formulas import Formula, Maths, Operand, Term, expand_formula
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Example, OpSpec, broadcast_shapes, same_in_tfjs
from tensorferry.tensor import Array, DType

# -- clip ----------------------------------------------------------------------------------------------------------


def _infer_clip(node: Node) -> list[Typed]:
    value, low, high = node.inputs
    return [Typed(value.dtype, broadcast_shapes(value.shape, broadcast_shapes(low.shape, high.shape)))]


def _expand_clip(graph: Graph, node: Node) -> bool:
    value, low, high = node.inputs
    expansion = Expansion(graph, node)
    return expansion.finish(expansion.make("Maximum", expansion.make("Minimum", value, high), low))


def _clip_examples() -> Iterator[Example]:
    x = sample(2, 3) * 3
    yield Example((x, np.array(-1, np.float32), np.array(2, np.float32)), constants=(1, 2))
    yield Example((x, -np.abs(sample(2, 3, seed=1)), np.abs(sample(2, 3, seed=2))), note="elements")
    yield Example((sample(1, 2, 1, 3, 1, 2), np.array(-0.5, np.float32), np.array(0.5, np.float32)), note="six dims")
    for dtype in (np.int32, np.int64, np.uint8, np.int8, np.int16):
        numbers = np.array([[0, 5, 9], [100, 3, 7]], dtype)
        yield Example((numbers, np.array(4, dtype), np.array(8, dtype)), constants=(1, 2), note=dtype.__name__)


# -- kinds ---------------------------------------------------------------------------------------------------------


def _infer_kind(node: Node) -> list[Typed]:
    return [Typed(DType.BOOL, node.inputs[0].shape)]


def _kind_examples() -> Iterator[Example]:
    kinds = np.array([[1, np.nan, np.inf], [-np.inf, 0, 3.4e38]], np.float32)
    yield Example((kinds,))
    yield Example((kinds.reshape(1, 2, 1, 3, 1, 1),), note="six dims")
    yield Example((kinds.astype(np.float64),), note="float64")


def _kind(name: str, compute: Callable[[Array], Array], formula: Formula) -> OpSpec:
    return OpSpec(
        name=name,
        elementwise=True,
        infer=_infer_kind,
        evaluate=lambda _node, x: compute(x),
        to_tfjs=same_in_tfjs,
        expand=expand_formula(formula),
        examples=_kind_examples,
    )


# -- nearly equal --------------------------------------------------------------------------------------------------


def _infer_nearly_equal(node: Node) -> list[Typed]:
    return [Typed(DType.BOOL, infer_binary(node)[0].shape)]


def _expand_nearly_equal(graph: Graph, node: Node) -> bool:
    expansion = Expansion(graph, node)
    distance = expansion.make("Abs", expansion.make("Sub", *node.inputs))
    return expansion.finish(expansion.make("Less", distance, np.array(node["tolerance"], node.inputs[0].dtype.numpy)))


def _evaluate_nearly_equal(node: Node, x: Array, y: Array) -> Array:
    return np.asarray(np.abs(x - y) < x.dtype.type(node["tolerance"]))


def _nearly_equal_examples() -> Iterator[Example]:
    x = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    y = x + np.array([0, 1e-6, 0.01], np.float32)
    yield Example((x, y))
    yield Example((x, y), {"tolerance": 0.1}, note="wide")
    yield Example((x.astype(np.float64), y.astype(np.float64)), note="float64")


# -- neighbours ----------------------------------------------------------------------------------------------------

HALF_STEP = float(np.float32(2.0**-24) * (1 + np.float32(2.0**-23)))
LEAST = 2.0**-149


def _next_after(maths: Maths, x: Operand, y: Operand) -> Operand:
    """One number of float32 further towards y; LiteRT takes those below 1e-38 for 0.

    A little more than half a step is added and rounded (Rump, Zimmermann, Boldo, Melquiond, Computing predecessor and successor in
    rounding to nearest, 2009).
    """
    step = maths.abs(x) * HALF_STEP + LEAST
    moved = maths.where(x < y, x + step, maths.where(x > y, x - step, y))
    return maths.where(maths.equal(x, x), moved, x)


def _expand_next_after(graph: Graph, node: Node) -> bool:
    """float32 alone: what a target narrows to it has no such neighbours."""
    if any(value.dtype is not DType.FLOAT32 for value in node.inputs):
        return False
    expansion = Expansion(graph, node)
    return expansion.finish(_next_after(Maths(), *(Term(expansion, value) for value in node.inputs)).value)


def _next_after_examples() -> Iterator[Example]:
    x = np.array([1, 1, -2.5, 0.1, 0.1, 3e10, 2, -1e-20], np.float32)
    yield Example((x, np.array([2, 0, 5, -1, 1, -3e10, 2, 1], np.float32)), tolerance=1e-12)
    yield Example((np.array([1, 0.5, 0.75], np.float32), np.array([[2], [0]], np.float32)), tolerance=1e-12, note="both stretch")


SPECS = (
    OpSpec(
        name="ClipByValue",
        elementwise=True,
        infer=_infer_clip,
        evaluate=lambda _node, x, low, high: np.maximum(np.minimum(x, high), low),
        expand=_expand_clip,
        examples=_clip_examples,
    ),
    _kind("IsNan", np.isnan, lambda _maths, x: x.apply("NotEqual", x)),
    _kind("IsInf", np.isinf, lambda maths, x: maths.equal(maths.abs(x), np.inf)),
    _kind("IsFinite", np.isfinite, lambda maths, x: maths.abs(x) < np.inf),
    OpSpec(
        name="ApproximateEqual",
        attrs={"tolerance": 1e-5},
        elementwise=True,
        infer=_infer_nearly_equal,
        evaluate=_evaluate_nearly_equal,
        expand=_expand_nearly_equal,
        examples=_nearly_equal_examples,
    ),
    OpSpec(
        name="NextAfter",
        elementwise=True,
        infer=infer_binary,
        evaluate=lambda _node, x, y: np.nextafter(x, y),
        expand=_expand_next_after,
        examples=_next_after_examples,
    ),
)
