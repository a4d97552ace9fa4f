"""Reductions over segments: Segment*, UnsortedSegment*, SparseSegment*, with and without a number of segments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Shape, Typed, Value
from tensorferry.ops.dims import known_integer, known_integers
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.index_operands import lite_int32
from tensorferry.ops.kernels import FLOATS_AND_INT32, LiteKernel
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import WIDER, Declined, Example, OpSpec
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import Array, DType

# -- inference -----------------------------------------------------------------------------------------------------


def _inner(data: Shape, ids: Shape) -> Shape:
    return None if data is None or ids is None else data[len(ids) :]


def _infer_unsorted(node: Node) -> list[Typed]:
    data, ids, count = node.inputs
    inner = _inner(data.shape, ids.shape)
    size = known_integer(count)
    return [Typed(data.dtype, None if inner is None else (UNKNOWN_DIM if size is None else size, *inner))]


def _infer_sorted(node: Node) -> list[Typed]:
    """The ids count from 0 and never fall: the last tells how many segments there are."""
    data, ids = node.inputs[0], node.inputs[-1]
    if data.shape is None:
        return [Typed(data.dtype, None)]
    known = known_integers(ids)
    size: Dim = UNKNOWN_DIM if known is None else known[-1] + 1 if known else 0
    return [Typed(data.dtype, (size, *data.shape[1:]))]


def _infer_sparse_counted(node: Node) -> list[Typed]:
    data, size = node.inputs[0], known_integer(node.inputs[3])
    shape = data.shape
    return [Typed(data.dtype, None if shape is None else (UNKNOWN_DIM if size is None else size, *shape[1:]))]


# -- evaluation ----------------------------------------------------------------------------------------------------

_FOLDS: dict[str, Any] = {"Sum": np.add, "Prod": np.multiply, "Max": np.maximum, "Min": np.minimum}


def _identity(fold: str, dtype: np.dtype[Any]) -> Any:
    """What an unsorted segment without elements holds."""
    if fold in ("Sum", "Prod"):
        return dtype.type(fold == "Prod")
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return limits.min if fold == "Max" else limits.max


def _fold(fold: str, data: Array, ids: Array, count: int) -> Array:
    rows = data.reshape(ids.size, *data.shape[ids.ndim :])
    result = np.full((count, *rows.shape[1:]), _identity(fold, data.dtype), data.dtype)
    kept = ids.reshape(-1) >= 0
    if (ids >= count).any():
        raise Declined(f"a segment's number is not below {count}")
    _FOLDS[fold].at(result, ids.reshape(-1)[kept], rows[kept])
    return result


def _evaluate_unsorted(node: Node, data: Array, ids: Array, count: Array) -> Array:
    return _fold(node.op.removeprefix("UnsortedSegment"), data, ids, int(count.reshape(-1)[0]))


def _segments(kind: str, data: Array, ids: Array, count: int) -> Array:
    """Sum, Mean, SqrtN, Prod, Max or Min; a segment without elements holds 0, or 1 as a product."""
    if kind in ("Sum", "Prod"):
        return _fold(kind, data, ids, count)
    sizes = np.bincount(ids, minlength=count).reshape(-1, *[1] * (data.ndim - 1))
    if kind in ("Max", "Min"):
        return np.where(sizes > 0, _fold(kind, data, ids, count), data.dtype.type(0))
    total, sizes = _fold("Sum", data, ids, count), np.maximum(sizes, 1)
    if data.dtype.kind in "iu":
        return (np.sign(total) * (np.abs(total) // sizes)).astype(data.dtype)
    return (total / (np.sqrt(sizes) if kind == "SqrtN" else sizes)).astype(data.dtype)


def _evaluate_sorted(node: Node, data: Array, ids: Array) -> Array:
    return _segments(node.op.removeprefix("Segment"), data, ids, int(ids[-1]) + 1 if ids.size else 0)


def _sparse_kind(node: Node) -> str:
    return node.op.removeprefix("SparseSegment").removesuffix("WithNumSegments")


def _evaluate_sparse(node: Node, data: Array, indices: Array, ids: Array) -> Array:
    return _segments(_sparse_kind(node), data[indices], ids, int(ids[-1]) + 1 if ids.size else 0)


def _evaluate_sparse_counted(node: Node, data: Array, indices: Array, ids: Array, count: Array) -> Array:
    return _segments(_sparse_kind(node), data[indices], ids, int(count.reshape(-1)[0]))


# -- lowering ------------------------------------------------------------------------------------------------------


def _lite_unsorted(fold: str) -> Callable[[Node], list[LiteOp]]:
    kernel = LiteKernel(f"UNSORTED_SEGMENT_{fold.upper()}", FLOATS_AND_INT32)

    def lower(node: Node) -> list[LiteOp]:
        data, ids, count = node.inputs
        kernel.check(node)
        if ids.rank != 1:
            raise Declined(f"{kernel.name} takes a vector of segments")
        known = known_integers(ids)
        if known is not None and 0 in (len(known), known_integer(count)):
            raise Declined("it has no segments or no elements")
        casts, places = lite_int32(ids)
        more, size = lite_int32(count)
        return [*casts, *more, LiteOp(kernel.name, (data, places, size), (node.output,))]

    return lower


_SEGMENT_SUM = LiteKernel("SEGMENT_SUM", FLOATS_AND_INT32)


def _lite_sorted_sum(node: Node) -> list[LiteOp]:
    _SEGMENT_SUM.check(node)
    known = known_integers(node.inputs[1])
    if not known or set(known) != set(range(known[-1] + 1)):
        raise Declined("LiteRT's SEGMENT_SUM leaves segments without elements as they are in memory")
    casts, ids = lite_int32(node.inputs[1])
    return [*casts, LiteOp("SEGMENT_SUM", (node.inputs[0], ids), (node.output,))]


def _js_sparse(node: Node) -> list[JsNode]:
    data = node.inputs[0]
    if data.dtype is not DType.FLOAT32:
        raise Declined(f"TensorFlow.js's {node.op} does not take {data.dtype}")
    attrs = {"T": data.dtype, "Tidx": DType.INT32, "Tsegmentids": DType.INT32}
    return [JsNode(node.op, tuple(node.inputs), (node.output,), attrs)]


# -- in simpler ops ------------------------------------------------------------------------------------------------


def _expand_unsorted(graph: Graph, node: Node) -> bool:
    """A sum is scattered into place. Others choose from all rows for each segment: segments * elements numbers."""
    data, ids, count = node.inputs
    inner = _inner(data.shape, ids.shape)
    if inner is None or ids.shape is None or not ids.shape:
        return False
    expansion = Expansion(graph, node)
    if len(ids.shape) > 1:
        if any(isinstance(dim, str) for dim in inner):
            return False
        rows = expansion.make("Reshape", data, np.array([-1, *inner], np.int32))
        flat = expansion.make("Reshape", ids, np.array([-1], np.int32))
        return expansion.finish(expansion.make(node.op, rows, flat, count))
    fold = node.op.removeprefix("UnsortedSegment")
    return expansion.finish(_scattered_sum(expansion) if fold == "Sum" else _masked_fold(expansion, fold, len(inner)))


def _scattered_sum(expansion: Expansion) -> Value:
    """Elements with a negative segment go into a row more, which is cut off."""
    data, ids, count = expansion.node.inputs
    assert data.shape is not None
    known = known_integers(ids)
    spare = known is None or any(each < 0 for each in known)
    kind = count.dtype.numpy
    rows: Value | Array = expansion.make("AddV2", count, np.array(1, kind)) if spare else count
    if spare:
        last = expansion.make("Cast", count, DstT=ids.dtype) if ids.dtype is not count.dtype else count
        ids = expansion.make("SelectV2", expansion.make("Less", ids, np.array(0, ids.dtype.numpy)), last, ids)
    places = expansion.make("ExpandDims", ids, np.array(1, np.int32))
    if ids.dtype is not count.dtype:
        rows = expansion.make("Cast", rows, DstT=ids.dtype)
    shape = expansion.make("Reshape", rows, np.array([1], np.int32))
    if len(data.shape) > 1:
        shape = expansion.make("ConcatV2", shape, _inner_sizes(expansion, ids.dtype), np.array(0, np.int32))
    summed = expansion.make("ScatterNd", places, data, shape)
    if not spare:
        return summed
    zeros, one = np.zeros(1, np.int32), np.ones(1, np.int32)
    return expansion.make("StridedSlice", summed, zeros, zeros - 1, one, begin_mask=1)


def _inner_sizes(expansion: Expansion, dtype: DType) -> Value | Array:
    data = expansion.node.inputs[0]
    assert data.shape is not None
    if all(isinstance(dim, int) for dim in data.shape[1:]):
        return np.array(data.shape[1:], dtype.numpy)
    one = np.ones(1, np.int32)
    return expansion.make("StridedSlice", expansion.make("Shape", data, out_type=dtype), one, one, one, end_mask=1)


def _masked_fold(expansion: Expansion, fold: str, inner: int) -> Value:
    data, ids, count = expansion.node.inputs
    if data.shape and data.shape[0] == 0:  # of nothing a reduction makes infinity
        count = expansion.make("Cast", count, DstT=DType.INT32) if count.dtype is not DType.INT32 else count
        rows = expansion.make("Reshape", count, np.array([1], np.int32))
        sizes = expansion.make("ConcatV2", rows, _inner_sizes(expansion, DType.INT32), np.array(0, np.int32)) if inner else rows
        return expansion.make("Fill", sizes, np.array(_identity(fold, data.dtype.numpy), data.dtype.numpy))
    numbers = expansion.make("Range", np.array(0, count.dtype.numpy), count, np.array(1, count.dtype.numpy))
    if numbers.dtype is not ids.dtype:
        numbers = expansion.make("Cast", numbers, DstT=ids.dtype)
    segments = expansion.make("Reshape", numbers, np.array([-1, 1, *[1] * inner], np.int32))
    rows = expansion.make("Reshape", ids, np.array([1, -1, *[1] * inner], np.int32))
    own = expansion.make("Equal", segments, rows)
    identity = np.array(_identity(fold, data.dtype.numpy), data.dtype.numpy)
    chosen = expansion.make("SelectV2", own, expansion.make("ExpandDims", data, np.array(0, np.int32)), identity)
    return expansion.make(fold, chosen, np.array([1], np.int32))


def _expand_sorted(graph: Graph, node: Node) -> bool:
    data, ids = node.inputs
    expansion = Expansion(graph, node)
    result = _write_segments(expansion, node.op.removeprefix("Segment"), data, ids, None)
    return result is not None and expansion.finish(result)


def _expand_sparse(graph: Graph, node: Node) -> bool:
    data, indices, ids = node.inputs[:3]
    if data.rank is None:
        return False
    expansion = Expansion(graph, node)
    rows = expansion.make("GatherV2", data, indices, np.array(0, np.int32))
    result = _write_segments(expansion, _sparse_kind(node), rows, ids, node.inputs[3] if len(node.inputs) > 3 else None)
    return result is not None and expansion.finish(result)


def _write_segments(expansion: Expansion, kind: str, data: Value, ids: Value, count: Value | None) -> Value | None:
    """The reduction by an UnsortedSegment op, as many segments as the last id says where no number is given."""
    if data.rank is None:
        return None
    known = known_integers(ids)
    number: Value | Array
    if count is not None:
        number = count
    elif known is not None:
        number = np.array(known[-1] + 1 if known else 0, np.int32)
    else:
        highest = expansion.make("Max", ids, np.array([0], np.int32))
        number = expansion.make("AddV2", highest, np.array(1, ids.dtype.numpy))
    fold = "Sum" if kind in ("Mean", "SqrtN") else kind
    folded = expansion.make(f"UnsortedSegment{fold}", data, ids, number)
    if kind in ("Sum", "Prod"):
        return folded
    return _by_size(expansion, kind, folded, data, ids, number)


def _by_size(expansion: Expansion, kind: str, folded: Value, data: Value, ids: Value, number: Value | Array) -> Value:
    """What depends on how many elements each segment has."""
    dtype = DType.FLOAT32 if kind == "SqrtN" or data.dtype.is_float else DType.INT32
    ones = expansion.make("OnesLike", expansion.make("Cast", ids, DstT=dtype))
    sizes = expansion.make("UnsortedSegmentSum", ones, ids, number)
    sizes = expansion.make("Reshape", sizes, np.array([-1, *[1] * ((data.rank or 1) - 1)], np.int32))
    if kind in ("Max", "Min"):
        filled = expansion.make("Greater", sizes, np.array(0, dtype.numpy))
        return expansion.make("SelectV2", filled, folded, np.array(0, data.dtype.numpy))
    divisor = expansion.make("Maximum", sizes, np.array(1, dtype.numpy))
    divisor = expansion.make("Sqrt", divisor) if kind == "SqrtN" else divisor
    divisor = expansion.make("Cast", divisor, DstT=data.dtype) if divisor.dtype is not data.dtype else divisor
    return expansion.make("RealDiv" if data.dtype.is_float else "Div", folded, divisor)


# -- the tables ----------------------------------------------------------------------------------------------------

_TOLERANCE = 2e-6


def _unsorted_examples() -> Iterator[Example]:
    ids, five = np.array([3, 0, 3, 1], np.int32), np.array(5, np.int32)
    yield Example((sample(4, 3), ids, five), constants=(1, 2), tolerance=_TOLERANCE)
    yield Example((sample(4, 2, 3), ids, five), constants=(2,), tolerance=_TOLERANCE, note="computed segments")
    yield Example((sample(4), np.array([2, -1, 0, 2]), five), constants=(2,), tolerance=_TOLERANCE, note="negative, 64-bit")
    yield Example((sample(4, 2), np.array([2, -1, 0, 2], np.int32), five), constants=(1, 2), tolerance=_TOLERANCE, note="negative")
    nested = np.array([[0, 2], [2, 1]], np.int32)
    yield Example((sample(2, 2, 3), nested, np.array(3, np.int32)), constants=(1, 2), tolerance=_TOLERANCE, note="matrix of ids")
    yield Example((sample(4, 3), ids, five), constants=(1,), tolerance=_TOLERANCE, note="computed number")
    for dtype in (np.int32, np.int64, np.int8):
        numbers = np.array([[1, -2], [3, 4], [5, 6], [-7, 2]]).astype(dtype)
        yield Example((numbers, np.array([1, 0, 1, 2]), np.array(3, np.int32)), constants=(1, 2), note=f"{dtype.__name__}")
    for kind in ("float16", "uint8"):
        small = np.array([[1, 2], [3, 4], [5, 6], [7, 2]]).astype(kind)
        yield Example((small, ids, five), constants=(1, 2), note=f"{kind}, empty segments")
    yield Example((np.zeros((0, 2), np.float32), np.zeros(0, np.int32), five), constants=(0, 1), note="nothing")


def _sorted_examples() -> Iterator[Example]:
    ids, gaps = np.array([0, 0, 1, 2], np.int32), np.array([0, 0, 1, 3], np.int64)
    yield Example((sample(4, 3), ids), constants=(1,), tolerance=_TOLERANCE)
    yield Example((sample(4, 2, 3), gaps), constants=(1,), tolerance=_TOLERANCE, note="gaps, 64-bit")
    yield Example((sample(4, 3), gaps.astype(np.int32)), tolerance=_TOLERANCE, note="computed, gaps")
    for dtype in (np.int32, np.int64):
        yield Example((np.array([7, -2, -9, 4], dtype), ids), constants=(1,), note=f"{dtype.__name__}")


def _sparse_examples() -> Iterator[Example]:
    indices, ids = np.array([3, 0, 3, 1], np.int32), np.array([0, 0, 1, 2], np.int32)
    yield Example((sample(5, 3), indices, ids), constants=(1, 2), tolerance=_TOLERANCE)
    yield Example((sample(5, 2, 2), indices, np.array([0, 0, 2, 3], np.int32)), tolerance=_TOLERANCE, note="computed, gaps")


def _counted_examples() -> Iterator[Example]:
    indices, ids, five = np.array([3, 0, 3, 1], np.int32), np.array([0, 0, 1, 3], np.int32), np.array(5, np.int32)
    yield Example((sample(5, 3), indices, ids, five), constants=(1, 2, 3), tolerance=_TOLERANCE)
    yield Example((sample(5, 3), indices, ids, five), constants=(3,), tolerance=_TOLERANCE, note="computed")


def _sorted_spec(kind: str) -> OpSpec:
    return OpSpec(
        name=f"Segment{kind}",
        infer=_infer_sorted,
        evaluate=_evaluate_sorted,
        to_tflite=_lite_sorted_sum if kind == "Sum" else None,
        expand=_expand_sorted,
        examples=_sorted_examples,
    )


def _unsorted_spec(fold: str) -> OpSpec:
    return OpSpec(
        name=f"UnsortedSegment{fold}",
        infer=_infer_unsorted,
        evaluate=_evaluate_unsorted,
        to_tflite=_lite_unsorted(fold),
        expand=_expand_unsorted,
        widens=WIDER if fold in ("Sum", "Prod") else {},
        by_width=fold in ("Max", "Min"),  # empty segments hold an end of their own type
        wraps=fold in ("Sum", "Prod"),
        examples=_unsorted_examples,
    )


SPECS = (
    *(_unsorted_spec(fold) for fold in _FOLDS),
    *(_sorted_spec(kind) for kind in ("Sum", "Mean", "Prod", "Max", "Min")),
    *(
        OpSpec(
            name=f"SparseSegment{kind}",
            attrs={"sparse_gradient": False},
            infer=_infer_sorted,
            evaluate=_evaluate_sparse,
            to_tfjs=None if kind == "SqrtN" else _js_sparse,
            expand=_expand_sparse,
            examples=_sparse_examples,
        )
        for kind in ("Sum", "Mean", "SqrtN")
    ),
    *(
        OpSpec(
            name=f"SparseSegment{kind}WithNumSegments",
            attrs={"sparse_gradient": False},
            infer=_infer_sparse_counted,
            evaluate=_evaluate_sparse_counted,
            expand=_expand_sparse,
            examples=_counted_examples,
        )
        for kind in ("Sum", "Mean", "SqrtN")
    ),
)
