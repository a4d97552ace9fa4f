"""Arithmetic of sparse tensors that is done in dense ones: sums, larger and smaller of two, softmax, largest along axes.

Two tensors laid out beside a mask of what there is: Where finds the result's places in their order. The dense tensor has to fit
into memory, so its size is bounded where it is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.dims import known_integers, length_of
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.sliding import lowest
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType

LARGEST = 1 << 24
"""Elements of a dense tensor that stands for a sparse one."""

_ONE = np.array(1, np.int32)


def _check_size(shape: Value) -> None:
    known = known_integers(shape)
    if known is not None and math.prod(known) > LARGEST:
        raise Declined(f"laid out it would have {math.prod(known)} elements", remedy="cut it off with --outputs")


def _require_numbers(value: Value) -> None:
    if not (value.dtype.is_float or value.dtype.is_integer):
        raise Declined(f"it computes with {value.dtype}")


def _laid_out(parts: Expansion, indices: Value, values: Value, shape: Value) -> tuple[Value, Value]:
    """The dense tensor, 0 where nothing is, and how many elements lie at each place (int32)."""
    _check_size(shape)
    ones = parts.make("OnesLike", values)
    count = ones if values.dtype is DType.INT32 else parts.make("Cast", ones, DstT=DType.INT32)
    return parts.make("ScatterNd", indices, values, shape), parts.make("ScatterNd", indices, count, shape)


def _dense(indices: Array, values: Array, shape: Array) -> tuple[Array, Array]:
    dense, mask = np.zeros(shape.tolist(), values.dtype), np.zeros(shape.tolist(), bool)
    np.add.at(dense, tuple(indices.T), values)
    mask[tuple(indices.T)] = True
    return dense, mask


# -- of two sparse tensors -----------------------------------------------------------------------------------------


def _infer_two(node: Node) -> list[Typed]:
    indices, values, shape = node.inputs[:3]
    rank: Dim = length_of(shape) or UNKNOWN_DIM
    made = [Typed(indices.dtype, (UNKNOWN_DIM, rank)), Typed(values.dtype, (UNKNOWN_DIM,))]
    return [*made, Typed(shape.dtype, shape.shape, shape.content)] if node.op == "SparseAdd" else made


def _evaluate_add(_node: Node, *arrays: Array) -> tuple[Array, ...]:
    """Sums below the threshold are left out; what is there in one alone stays, however small."""
    (one, first), (other, second) = _dense(*arrays[:3]), _dense(*arrays[3:6])
    total, least = one + other, arrays[6]
    kept = (first ^ second) | (first & second & (np.abs(total) >= least))
    return np.argwhere(kept), total[kept], arrays[2]


def _evaluate_extreme(node: Node, *arrays: Array) -> tuple[Array, ...]:
    (one, first), (other, second) = _dense(*arrays[:3]), _dense(*arrays[3:])
    made = (np.maximum if node.op == "SparseSparseMaximum" else np.minimum)(one, other)
    kept = first | second
    return np.argwhere(kept), made[kept]


def _expand_two(graph: Graph, node: Node) -> bool:
    _require_numbers(node.inputs[1])
    parts = Expansion(graph, node)
    (one, first), (other, second) = _laid_out(parts, *node.inputs[:3]), _laid_out(parts, *node.inputs[3:6])
    op = {"SparseSparseMaximum": "Maximum", "SparseSparseMinimum": "Minimum"}.get(node.op, "AddV2")
    made = parts.make(op, one, other)
    kept = parts.make("Greater", parts.make("AddV2", first, second), np.array(0, np.int32))
    if node.op == "SparseAdd":
        least = node.inputs[6]
        if least.constant is None or float(least.constant.array()) > 0:
            enough = parts.make("GreaterEqual", parts.make("Abs", made), least)
            alone = parts.make("Equal", parts.make("Mul", first, second), np.array(0, np.int32))
            kept = parts.make("LogicalAnd", kept, parts.make("LogicalOr", alone, enough))
    where = parts.make("Where", kept)
    kind = node.inputs[0].dtype
    places = where if where.dtype is kind else parts.make("Cast", where, DstT=kind)
    elements = parts.make("GatherNd", made, where)
    return parts.finish(places, elements, *([node.inputs[2]] if node.op == "SparseAdd" else []))


def _two() -> tuple[Array, ...]:
    one, other = np.array([[0, 1], [2, 0], [2, 2]]), np.array([[0, 0], [0, 1], [2, 2]])
    first, second = np.array([1, -2, 3], np.float32), np.array([4, -1, 0.5], np.float32)
    return one, first, np.array([3, 4]), other, second, np.array([3, 4])


def _add_examples() -> Iterator[Example]:
    yield Example((*_two(), np.array(0, np.float32)), constants=(2, 5, 6), note="with a sum of 0")
    yield Example((*_two(), np.array(2.5, np.float32)), note="large ones, computed shape")


def _extreme_examples() -> Iterator[Example]:
    yield Example(_two(), constants=(2, 5))


# -- softmax -------------------------------------------------------------------------------------------------------


def _infer_softmax(node: Node) -> list[Typed]:
    return [node.inputs[1].typed]


def _evaluate_softmax(_node: Node, indices: Array, values: Array, shape: Array) -> Array:
    dense, mask = _dense(indices, values, shape)
    shown = np.where(mask, dense, -np.inf)
    powers = np.exp(shown - np.where(mask.any(-1, keepdims=True), shown.max(-1, keepdims=True, initial=-np.inf), 0))
    made = powers / np.maximum(powers.sum(-1, keepdims=True), np.finfo(np.float32).tiny)
    return np.asarray(made[tuple(indices.T)], values.dtype)


def _expand_softmax(graph: Graph, node: Node) -> bool:
    indices, values, shape = node.inputs
    if values.dtype is not DType.FLOAT32:
        raise Declined(f"it computes in {values.dtype}, the target in float32")
    parts = Expansion(graph, node)
    dense, count = _laid_out(parts, indices, values, shape)
    there = parts.make("Greater", count, np.array(0, np.int32))
    shown = parts.make("SelectV2", there, dense, np.float32(lowest(DType.FLOAT32)))
    return parts.finish(parts.make("GatherNd", parts.make("Softmax", shown), indices))


def _softmax_examples() -> Iterator[Example]:
    places = np.array([[0, 1], [0, 3], [2, 0], [2, 2], [2, 3]])
    yield Example((places, sample(5), np.array([3, 4])), constants=(2,))


# -- with a dense tensor -------------------------------------------------------------------------------------------

_OPERATIONS: dict[str, tuple[str, Callable[[Array, Array], Array]]] = {
    "SparseDenseCwiseAdd": ("AddV2", np.add),
    "SparseDenseCwiseMul": ("Mul", np.multiply),
    "SparseDenseCwiseDiv": ("RealDiv", np.divide),
}


def _evaluate_with_dense(node: Node, indices: Array, values: Array, shape: Array, dense: Array) -> Array:
    wide = np.broadcast_to(dense, shape.tolist())
    return np.asarray(_OPERATIONS[node.op][1](values, wide[tuple(indices.T)]))


def _expand_with_dense(graph: Graph, node: Node) -> bool:
    indices, values, shape, dense = node.inputs
    if not values.dtype.is_float:
        raise Declined(f"it computes in {values.dtype}")
    parts = Expansion(graph, node)
    known = known_integers(shape)
    if known is None or dense.shape != known:
        _check_size(shape)
        dense = parts.make("BroadcastTo", dense, shape)
    return parts.finish(parts.make(_OPERATIONS[node.op][0], values, parts.make("GatherNd", dense, indices)))


def _with_dense_examples() -> Iterator[Example]:
    places = np.array([[0, 1], [2, 0], [2, 2]])
    yield Example((places, sample(3), np.array([3, 4]), sample(3, 4, seed=1)), constants=(2,))
    yield Example((places, sample(3), np.array([3, 4]), sample(4, seed=1)), note="stretched, computed shape")


# -- the largest along axes ----------------------------------------------------------------------------------------


def _infer_largest(node: Node) -> list[Typed]:
    shape, axes, rank = known_integers(node.inputs[2]), known_integers(node.inputs[3]), length_of(node.inputs[2])
    if axes is None or rank is None:
        return [Typed(node.inputs[1].dtype, None)]
    sizes: Sequence[Dim] = [UNKNOWN_DIM] * rank if shape is None else list(shape)
    gone = {axis % rank for axis in axes} if axes else set(range(rank))
    kept = [1 if axis in gone else size for axis, size in enumerate(sizes) if node["keep_dims"] or axis not in gone]
    return [Typed(node.inputs[1].dtype, tuple(kept))]


def _evaluate_largest(node: Node, indices: Array, values: Array, shape: Array, axes: Array) -> Array:
    where, keep = tuple(int(axis) for axis in axes.reshape(-1)) or None, bool(node["keep_dims"])
    dense, mask = _dense(indices, values, shape)
    least = lowest(DType.of(values))
    made = np.where(mask, dense, np.asarray(least, values.dtype)).max(where, keepdims=keep)
    return np.asarray(np.where(mask.any(where, keepdims=keep), made, np.zeros((), values.dtype)))


def _expand_largest(graph: Graph, node: Node) -> bool:
    indices, values, shape, given = node.inputs
    axes, rank = known_integers(given), length_of(shape)
    if axes is None or rank is None:
        raise Declined("its axes or its rank are computed while the model runs")
    _require_numbers(values)
    parts, gone, keep = Expansion(graph, node), np.array(axes or range(rank), np.int32), bool(node["keep_dims"])
    dense, count = _laid_out(parts, indices, values, shape)
    there = parts.make("Greater", count, np.array(0, np.int32))
    shown = parts.make("SelectV2", there, dense, np.asarray(lowest(values.dtype), values.dtype.numpy))
    largest = parts.make("Max", shown, gone, keep_dims=keep)
    any_there = parts.make("Any", there, gone, keep_dims=keep)
    return parts.finish(parts.make("SelectV2", any_there, largest, np.zeros((), values.dtype.numpy)))


def _largest_examples() -> Iterator[Example]:
    places, shape = np.array([[0, 1], [2, 0], [2, 2]]), np.array([3, 4])
    values = np.array([-1, -2.5, -2], np.float32)
    yield Example((places, values, shape, np.array([1], np.int32)), constants=(2, 3), note="below 0, empty row")
    yield Example((places, values, shape, np.array(0, np.int32)), {"keep_dims": True}, (2, 3), note="kept")


def _spec(name: str, infer: Any, evaluate: Any, expand: Any, examples: Any, **attrs: Any) -> OpSpec:
    return OpSpec(name=name, attrs=attrs, infer=infer, evaluate=evaluate, expand=expand, examples=examples)


SPECS = (
    _spec("SparseAdd", _infer_two, _evaluate_add, _expand_two, _add_examples),
    _spec("SparseSparseMaximum", _infer_two, _evaluate_extreme, _expand_two, _extreme_examples),
    _spec("SparseSparseMinimum", _infer_two, _evaluate_extreme, _expand_two, _extreme_examples),
    _spec("SparseSoftmax", _infer_softmax, _evaluate_softmax, _expand_softmax, _softmax_examples),
    _spec("SparseReduceMax", _infer_largest, _evaluate_largest, _expand_largest, _largest_examples, keep_dims=False),
    *(_spec(name, _infer_softmax, _evaluate_with_dense, _expand_with_dense, _with_dense_examples) for name in _OPERATIONS),
)
