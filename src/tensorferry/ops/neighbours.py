"""NearestNeighbors: of each point the centres that lie nearest, and how far; and ties between boxes that are told, not measured."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.dims import known_integer
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.rounds import loop
from tensorferry.ops.samples import sample
from tensorferry.ops.sliding import lowest
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType

_NOTHING = np.float32(lowest(DType.FLOAT32))
"""The score of what is taken or struck out."""

# -- NearestNeighbors ----------------------------------------------------------------------------------------------


def _infer(node: Node) -> list[Typed]:
    points, centres, count = node.inputs
    if any(each.rank not in (None, 2) for each in (points, centres)):
        raise Declined("points and centres are matrices")
    rows: Dim = points.shape[0] if points.shape is not None else UNKNOWN_DIM
    many: Dim = centres.shape[0] if centres.shape is not None else UNKNOWN_DIM
    wanted = known_integer(count)
    size: Dim = min(wanted, many) if wanted is not None and isinstance(many, int) else UNKNOWN_DIM
    return [Typed(node["index_dtype"], (rows, size)), Typed(DType.FLOAT32, (rows, size))]


def _evaluate(_node: Node, points: Array, centres: Array, count: Array) -> tuple[Array, Array]:
    apart = np.square(points[:, None] - centres).sum(axis=-1)
    order = np.argsort(apart, axis=1, kind="stable")[:, : int(count)]
    return order.astype(np.int64), np.take_along_axis(apart, order, axis=1).astype(np.float32)


def _expand(graph: Graph, node: Node) -> bool:
    points, centres, _ = node.inputs
    size = None if node.outputs[0].shape is None else node.outputs[0].shape[1]
    if not isinstance(size, int):
        raise Declined("how many centres there are is not known", remedy="fix it with --shape, and make k a constant")
    parts, last = Expansion(graph, node), np.array([1], np.int32)
    rows, columns = (parts.make("Sum", parts.make("Square", each), last, keep_dims=True) for each in (points, centres))
    product = parts.make("MatMul", points, centres, transpose_b=True)
    apart = parts.make("Sub", rows, parts.make("Mul", product, 2.0))
    apart = parts.make("AddV2", apart, parts.make("Reshape", columns, np.array([1, -1], np.int32)))
    nearest, order = parts.make_node("TopKV2", parts.make("Neg", apart), np.int32(size)).outputs
    kind = node.outputs[0].dtype
    places = order if kind is DType.INT32 else parts.make("Cast", order, DstT=kind)
    return parts.finish(places, parts.make("Neg", nearest))


def _examples() -> Iterator[Example]:
    for wanted, note in ((2, ""), (9, "more than there are")):
        yield Example((sample(6, 3), sample(4, 3, seed=1), np.array(wanted)), constants=(2,), tolerance=3e-6, note=note)


# -- NonMaxSuppressionWithOverlaps ---------------------------------------------------------------------------------


def _infer_told(node: Node) -> list[Typed]:
    if node.inputs[0].rank not in (None, 2) or node.inputs[1].rank not in (None, 1):
        raise Declined("its overlaps are a matrix, its scores a vector")
    return [Typed(DType.INT32, (UNKNOWN_DIM,))]


def _evaluate_told(_node: Node, overlaps: Array, scores: Array, most: Array, limit: Array, least: Array) -> Array:
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable").tolist():
        if len(kept) < int(most) and scores[index] > least and all(overlaps[index, each] <= limit for each in kept):
            kept.append(index)
    return np.array(kept, np.int32)


def _expand_told(graph: Graph, node: Node) -> bool:
    """A loop that takes the best of what is left and strikes out what overlaps it; scores hold what is left."""
    overlaps, scores, most, limit, least = node.inputs
    if scores.dtype is not DType.FLOAT32 or scores.shape is None:
        raise Declined("its scores are no float32 vector")
    parts, nothing = Expansion(graph, node), _NOTHING
    left = parts.make("SelectV2", parts.make("Greater", scores, least), scores, nothing)
    numbers = parts.make("Range", np.int32(0), most, np.int32(1))
    kept = parts.make("Mul", numbers, np.int32(-1))
    start = [parts.make("Identity", np.int32(0)), left, kept, overlaps, most, limit]
    count, _, chosen = loop(parts, start, _anything_left, _take_best)[:3]
    size = parts.make("ExpandDims", count, np.int32(0))
    return parts.finish(parts.make("Slice", chosen, np.array([0], np.int32), size))


def _anything_left(steps: Expansion, values: list[Value]) -> Value:
    count, left, _, _, most, _ = values
    best = steps.make("Max", left, np.array([0], np.int32), keep_dims=False)
    return steps.make("LogicalAnd", steps.make("Less", count, most), steps.make("Greater", best, _NOTHING))


def _take_best(steps: Expansion, values: list[Value]) -> list[Value]:
    count, left, kept, overlaps, most, limit = values
    best = steps.make("ArgMax", left, np.int32(0), output_type=DType.INT32)
    column = steps.make("GatherV2", overlaps, best, np.int32(1))  # what the others say of it: the matrix may not be symmetric
    places = steps.make("Range", np.int32(0), steps.make("Size", left, out_type=DType.INT32), np.int32(1))
    struck = steps.make("LogicalOr", steps.make("Greater", column, limit), steps.make("Equal", places, best))
    numbers = steps.make("Range", np.int32(0), most, np.int32(1))
    chosen = steps.make("SelectV2", steps.make("Equal", numbers, count), best, kept)
    return [steps.make("AddV2", count, np.int32(1)), steps.make("SelectV2", struck, _NOTHING, left), chosen, overlaps, most, limit]


def _told_examples() -> Iterator[Example]:
    random = np.random.default_rng(5)
    half = random.random((9, 9)).astype(np.float32)
    overlaps, scores = (half + half.T) / 2, random.permutation(np.linspace(0.1, 0.9, 9)).astype(np.float32)
    limits = np.array(0.5, np.float32), np.array(0.25, np.float32)
    for most, note in ((3, "three at most"), (20, "as many as there are")):
        yield Example((overlaps, scores, np.array(most, np.int32), *limits), constants=(2, 3, 4), note=note)
    yield Example((overlaps, scores, np.array(4, np.int32), *limits), note="computed limits")
    yield Example((half, scores, np.array(20, np.int32), *limits), constants=(2, 3, 4), note="not symmetric")


SPECS = (
    OpSpec(
        name="NearestNeighbors",
        attrs={"index_dtype": DType.INT64},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        examples=_examples,
    ),
    OpSpec(
        name="NonMaxSuppressionWithOverlaps",
        infer=_infer_told,
        evaluate=_evaluate_told,
        expand=_expand_told,
        examples=_told_examples,
    ),
)
