"""Sparse tensors as indices, values and shape: products and sums with dense ones, reshaping, empty rows filled."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.dims import known_integers, length_of
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.sizes import Sizes, vector
from tensorferry.ops.sparse_order import column, in_order, rank_of
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.targets import JsNode
from tensorferry.tensor import Array, DType

_ZERO, _ONE = np.array(0, np.int32), np.array(1, np.int32)

# -- products and sums with dense tensors --------------------------------------------------------------------------


def _infer_product(node: Node) -> list[Typed]:
    shape, dense = known_integers(node.inputs[2]), node.inputs[3].shape
    rows: Dim = UNKNOWN_DIM if shape is None else shape[1 if node["adjoint_a"] else 0]
    columns: Dim = UNKNOWN_DIM if dense is None else dense[0 if node["adjoint_b"] else 1]
    return [Typed(node.inputs[1].dtype, (rows, columns))]


def _dense(indices: Array, values: Array, shape: Array) -> Array:
    result = np.zeros(tuple(int(each) for each in shape), values.dtype)
    np.add.at(result, tuple(indices.T), values)
    return result


def _evaluate_product(node: Node, indices: Array, values: Array, shape: Array, dense: Array) -> Array:
    sparse = _dense(indices, values, shape)
    one = sparse.conj().T if node["adjoint_a"] else sparse
    return np.asarray(one @ (dense.conj().T if node["adjoint_b"] else dense))


def _expand_product(graph: Graph, node: Node) -> bool:
    """Each value times a row of the dense matrix, added up row by row of the sparse one."""
    indices, values, shape, dense = node.inputs
    if not values.dtype.is_float:
        return False
    expansion = Expansion(graph, node)
    matrix = expansion.make("Transpose", dense, np.array([1, 0], np.int32)) if node["adjoint_b"] else dense
    first, second = (1, 0) if node["adjoint_a"] else (0, 1)
    rows, columns = (expansion.make("GatherV2", indices, np.array(axis, np.int32), _ONE) for axis in (first, second))
    taken = expansion.make("GatherV2", matrix, columns, _ZERO)
    scaled = expansion.make("Mul", taken, expansion.make("ExpandDims", values, _ONE))
    known = known_integers(shape)
    count: Value | Array
    if known is not None:
        count = np.array(known[first], np.int32)
    else:
        size = expansion.make("GatherV2", shape, np.array(first, np.int32), _ZERO)
        count = expansion.make("Cast", size, DstT=DType.INT32) if size.dtype is not DType.INT32 else size
    return expansion.finish(expansion.make("UnsortedSegmentSum", scaled, rows, count))


def _product_examples() -> Iterator[Example]:
    places, shape = np.array([[0, 1], [2, 0], [2, 2]]), np.array([3, 4])
    yield Example((places, sample(3), shape, sample(4, 2)), constants=(0, 2), tolerance=2e-6)
    adjoint = {"adjoint_a": True, "adjoint_b": True}
    yield Example((places, sample(3), shape, sample(2, 3)), adjoint, (2,), 2e-6, note="both transposed, computed places")


def _infer_sum(node: Node) -> list[Typed]:
    return [node.inputs[3].typed]


def _evaluate_sum(_node: Node, indices: Array, values: Array, shape: Array, dense: Array) -> Array:
    return _dense(indices, values, shape) + dense


def _expand_sum(graph: Graph, node: Node) -> bool:
    indices, values, _shape, dense = node.inputs
    expansion = Expansion(graph, node)
    return expansion.finish(expansion.make("TensorScatterAdd", dense, indices, values))


def _sum_examples() -> Iterator[Example]:
    places, shape = np.array([[0, 1], [2, 0]]), np.array([3, 2])
    yield Example((places, sample(2), shape, sample(3, 2)), constants=(0, 2))


# -- reductions ----------------------------------------------------------------------------------------------------


def _infer_reduced(node: Node) -> list[Typed]:
    shape, axes, rank = known_integers(node.inputs[2]), known_integers(node.inputs[3]), length_of(node.inputs[2])
    if axes is None or rank is None:
        return [Typed(node.inputs[1].dtype, None)]
    sizes: list[Dim] = [UNKNOWN_DIM] * rank if shape is None else list(shape)
    gone = {axis % rank for axis in axes} if axes else set(range(rank))
    kept = [1 if axis in gone else size for axis, size in enumerate(sizes) if node["keep_dims"] or axis not in gone]
    return [Typed(node.inputs[1].dtype, tuple(kept))]


def _evaluate_reduced(node: Node, indices: Array, values: Array, shape: Array, axes: Array) -> Array:
    where = tuple(int(axis) for axis in axes.reshape(-1)) or None
    return np.asarray(_dense(indices, values, shape).sum(where, keepdims=bool(node["keep_dims"])))


def _expand_reduced(graph: Graph, node: Node) -> bool:
    indices, values, shape, given = node.inputs
    axes, rank = known_integers(given), length_of(shape)
    if axes is None or rank is None:
        return False
    expansion = Expansion(graph, node)
    dense = expansion.make("ScatterNd", indices, values, shape)
    gone = np.array(axes or range(rank), np.int32)
    return expansion.finish(expansion.make("Sum", dense, gone, keep_dims=bool(node["keep_dims"])))


def _reduced_examples() -> Iterator[Example]:
    places, shape = np.array([[0, 1], [2, 0], [2, 2]]), np.array([3, 4])
    yield Example((places, sample(3), shape, np.array([1], np.int32)), constants=(0, 2, 3), tolerance=2e-6)
    yield Example((places, sample(3), shape, np.array(0, np.int32)), {"keep_dims": True}, (0, 2, 3), 2e-6, note="kept")


# -- SparseReshape -------------------------------------------------------------------------------------------------


def _wanted(shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """The new shape with its one -1 worked out."""
    rest = math.prod(each for each in wanted if each != -1)
    return tuple(math.prod(shape) // max(rest, 1) if each == -1 else each for each in wanted)


def _infer_reshape(node: Node) -> list[Typed]:
    indices, shape, wanted = node.inputs
    rows: Dim = indices.shape[0] if indices.shape else UNKNOWN_DIM
    rank = length_of(wanted)
    known, new = known_integers(shape), known_integers(wanted)
    content = _wanted(known, new) if known is not None and new is not None else None
    size: Dim = UNKNOWN_DIM if rank is None else rank
    return [Typed(indices.dtype, (rows, size)), Typed(wanted.dtype, (size,), content)]


def _evaluate_reshape(_node: Node, indices: Array, shape: Array, wanted: Array) -> tuple[Array, Array]:
    old = tuple(int(each) for each in shape)
    new = _wanted(old, tuple(int(each) for each in wanted))
    flat = np.ravel_multi_index(tuple(indices.T), old) if len(indices) else np.zeros(0, np.int64)
    return np.stack(np.unravel_index(flat, new), -1).astype(indices.dtype), np.array(new, wanted.dtype)


def _js_reshape(node: Node) -> list[JsNode]:
    return [JsNode("SparseReshape", tuple(node.inputs), tuple(node.outputs), {})]


def _expand_reshape(graph: Graph, node: Node) -> bool:
    """Places are numbered through by the old shape, and the numbers taken apart by the new one."""
    indices, shape, wanted = node.inputs
    known, given = known_integers(shape), known_integers(wanted)
    if known is None or given is None:
        return False
    new = _wanted(known, given)
    expansion = Expansion(graph, node)
    kind = indices.dtype.numpy
    steps, parts = (np.array([math.prod(each[axis + 1 :]) for axis in range(len(each))], kind) for each in (known, new))
    flat = expansion.make("Sum", expansion.make("Mul", indices, steps), np.array([1], np.int32), keep_dims=True)
    places = expansion.make("FloorMod", expansion.make("FloorDiv", flat, parts), np.array(new, kind))
    sizes = expansion.make("Identity", np.array(new, wanted.dtype.numpy))
    return expansion.finish(places, sizes)


def _reshape_examples() -> Iterator[Example]:
    places = np.array([[0, 1, 1], [1, 0, 2], [1, 1, 0]])
    yield Example((places, np.array([2, 2, 3]), np.array([4, -1])), constants=(1, 2))
    yield Example((places, np.array([2, 2, 3]), np.array([12])), constants=(1, 2), note="one axis")


# -- SparseFillEmptyRows -------------------------------------------------------------------------------------------


def _infer_filled(node: Node) -> list[Typed]:
    indices, values, shape, _ = node.inputs
    known = known_integers(shape)
    rows: Dim = UNKNOWN_DIM if known is None else known[0]
    count: Dim = indices.shape[0] if indices.shape else UNKNOWN_DIM
    rank: Dim = indices.shape[1] if indices.shape else UNKNOWN_DIM
    filled = [Typed(indices.dtype, (UNKNOWN_DIM, rank)), Typed(values.dtype, (UNKNOWN_DIM,))]
    return [*filled, Typed(DType.BOOL, (rows,)), Typed(indices.dtype, (count,))]


def _evaluate_filled(_node: Node, indices: Array, values: Array, shape: Array, default: Array) -> tuple[Array, ...]:
    empty = ~np.isin(np.arange(int(shape[0])), indices[:, 0])
    added = np.zeros((int(empty.sum()), indices.shape[1]), indices.dtype)
    added[:, 0] = np.flatnonzero(empty)
    places = np.concatenate([indices, added])
    order = np.argsort(places[:, 0], kind="stable")
    filled = np.concatenate([values, np.full(len(added), default, values.dtype)])
    return places[order], filled[order], empty, np.argsort(order)[: len(indices)].astype(indices.dtype)


def _expand_filled(graph: Graph, node: Node) -> bool:
    """Rows that nothing lies in are put behind all others, and everything is sorted by row."""
    indices, values, shape, default = node.inputs
    parts, rank = Expansion(graph, node), rank_of(indices, shape)
    known = known_integers(shape)
    wide = parts.make("GatherV2", shape, _ZERO, _ZERO) if known is None else None
    many = np.array(known[0], np.int32) if known is not None else None
    rows = column(parts, indices, 0)
    count = many if many is not None else parts.make("Cast", wide, DstT=DType.INT32) if wide is not None else _ZERO
    found = parts.make("UnsortedSegmentSum", parts.make("OnesLike", _narrow(parts, rows)), rows, count)
    empty = parts.make("Equal", found, _ZERO)
    added = parts.make("Where", empty)
    places = parts.make("ConcatV2", indices, parts.make("Pad", added, np.array([[0, 0], [0, rank - 1]], np.int32)), _ZERO)
    missing = parts.make("Squeeze", added, squeeze_dims=[1])
    fill = parts.make("BroadcastTo", default, parts.make("Shape", missing, out_type=DType.INT32))
    order = in_order(parts, [column(parts, places, 0)])
    elements = parts.make("GatherV2", parts.make("ConcatV2", values, fill, _ZERO), order, _ZERO)
    return parts.finish(parts.make("GatherV2", places, order, _ZERO), elements, empty, _where_from(parts, order, indices))


def _narrow(parts: Expansion, value: Value) -> Value:
    return value if value.dtype is DType.INT32 else parts.make("Cast", value, DstT=DType.INT32)


def _where_from(parts: Expansion, order: Value, indices: Value) -> Value:
    """Where each of the first places has gone."""
    total = parts.make("Shape", order, out_type=DType.INT32)
    numbers = parts.make("Range", _ZERO, parts.make("Squeeze", total), _ONE)
    gone = parts.make("ScatterNd", parts.make("ExpandDims", order, _ONE), numbers, total)
    first = parts.make("Slice", gone, np.array([0], np.int32), vector(parts, [Sizes(parts, indices)[0]]))
    return first if indices.dtype is DType.INT32 else parts.make("Cast", first, DstT=indices.dtype)


def _js_filled(node: Node) -> list[JsNode]:
    if node.inputs[1].dtype not in (DType.FLOAT32, DType.INT32):
        raise Declined(f"TensorFlow.js fills no rows of {node.inputs[1].dtype}")
    return [JsNode("SparseFillEmptyRows", tuple(node.inputs), tuple(node.outputs), {"T": node.inputs[1].dtype})]


def _filled_examples() -> Iterator[Example]:
    places = np.array([[0, 1], [2, 0], [2, 3]])
    yield Example((places, sample(3), np.array([4, 5]), np.array(7, np.float32)), constants=(2, 3))
    mixed = np.array([[2, 3], [0, 1], [2, 0]])
    yield Example((mixed, np.array([4, 5, 6]), np.array([6, 5]), np.array(-1)), note="unsorted, int64, computed shape")


SPECS = (
    OpSpec(
        name="SparseTensorDenseMatMul",
        attrs={"adjoint_a": False, "adjoint_b": False},
        infer=_infer_product,
        evaluate=_evaluate_product,
        expand=_expand_product,
        examples=_product_examples,
    ),
    OpSpec(name="SparseTensorDenseAdd", infer=_infer_sum, evaluate=_evaluate_sum, expand=_expand_sum, examples=_sum_examples),
    OpSpec(
        name="SparseReduceSum",
        attrs={"keep_dims": False},
        infer=_infer_reduced,
        evaluate=_evaluate_reduced,
        expand=_expand_reduced,
        examples=_reduced_examples,
    ),
    OpSpec(
        name="SparseReshape",
        infer=_infer_reshape,
        evaluate=_evaluate_reshape,
        to_tfjs=_js_reshape,
        expand=_expand_reshape,
        examples=_reshape_examples,
    ),
    OpSpec(
        name="SparseFillEmptyRows",
        infer=_infer_filled,
        evaluate=_evaluate_filled,
        to_tfjs=_js_filled,
        expand=_expand_filled,
        examples=_filled_examples,
    ),
)
