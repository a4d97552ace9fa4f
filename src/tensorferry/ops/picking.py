"""Ops whose results are as long as the data say: Where, DynamicPartition, DynamicStitch, Unique*, ListDiff."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Shape, Typed, Value
from tensorferry.ops.dims import known_integers
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec, normalize_axis
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import Array, ArrayTensor, DType

_ZERO = np.array(0, np.int32)

# -- Where ---------------------------------------------------------------------------------------------------------


def _infer_where(node: Node) -> list[Typed]:
    """TensorFlow gives int64; what a target has made of that stays."""
    rank = node.inputs[0].rank
    narrowed = bool(node.outputs) and node.outputs[0].dtype is DType.INT32
    return [Typed(DType.INT32 if narrowed else DType.INT64, (UNKNOWN_DIM, UNKNOWN_DIM if rank is None else rank))]


def _evaluate_where(_node: Node, condition: Array) -> Array:
    return np.argwhere(condition)


def _lite_where(node: Node) -> list[LiteOp]:
    _require_bool(node)
    return [LiteOp("WHERE", (node.inputs[0],), (node.output,))]


def _js_where(node: Node) -> list[JsNode]:
    _require_bool(node)
    return [JsNode("Where", (node.inputs[0],), (node.output,), {"T": DType.BOOL})]


def _require_bool(node: Node) -> None:
    if node.inputs[0].dtype is not DType.BOOL:
        raise Declined("its condition is no boolean")
    if node.inputs[0].rank == 0:
        raise Declined("its condition is a scalar")


def _expand_where(graph: Graph, node: Node) -> bool:
    value = node.inputs[0]
    if value.dtype is DType.BOOL or not value.rank:
        return False
    expansion = Expansion(graph, node)
    truth = expansion.make("NotEqual", value, np.array(0, value.dtype.numpy))
    places = expansion.make("Where", truth)
    return expansion.finish(places if node.output.dtype is DType.INT64 else expansion.make("Cast", places, DstT=node.output.dtype))


def _where_examples() -> Iterator[Example]:
    yield Example((sample(2, 3, 2) > 0,))
    yield Example((np.array([False, True, True]),), note="vector")
    yield Example((np.zeros((2, 2), bool),), note="nothing true")
    for dtype in (np.float32, np.int32, np.int64, np.uint8):
        yield Example((np.array([[0, 2], [3, 0]]).astype(dtype),), note=f"{dtype.__name__}")


# -- DynamicPartition ----------------------------------------------------------------------------------------------


def _infer_partition(node: Node) -> list[Typed]:
    data, parts = node.inputs
    known = known_integers(parts)
    inner = None if data.shape is None or parts.shape is None else data.shape[len(parts.shape) :]
    sizes: list[Dim] = [UNKNOWN_DIM if known is None else known.count(index) for index in range(int(node["num_partitions"]))]
    return [Typed(data.dtype, None if inner is None else (size, *inner)) for size in sizes]


def _evaluate_partition(node: Node, data: Array, parts: Array) -> tuple[Array, ...]:
    return tuple(data[parts == index] for index in range(int(node["num_partitions"])))


def _expand_partition(graph: Graph, node: Node) -> bool:
    data, parts = node.inputs
    if parts.rank is None or data.rank is None or not parts.rank:
        return False
    known = known_integers(parts)
    expansion = Expansion(graph, node)
    results: list[Value] = []
    for index in range(int(node["num_partitions"])):
        if known is not None and parts.rank == 1:
            places = np.array([place for place, part in enumerate(known) if part == index], np.int32)
            results.append(expansion.make("GatherV2", data, places, _ZERO))
            continue
        own = expansion.make("Where", expansion.make("Equal", parts, np.array(index, parts.dtype.numpy)))
        results.append(expansion.make("GatherNd", data, own))
    return expansion.finish(*results)


def _partition_examples() -> Iterator[Example]:
    parts = np.array([1, 0, 2, 1], np.int32)
    yield Example((sample(4, 3), parts), {"num_partitions": 3})
    yield Example((np.arange(4, dtype=np.int32), parts), {"num_partitions": 3}, (1,), note="constant, int32")
    yield Example((sample(2, 2, 3), parts.reshape(2, 2) % 2), {"num_partitions": 2}, note="matrix of parts")


# -- DynamicStitch and ParallelDynamicStitch -----------------------------------------------------------------------


def _halves(node: Node) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    half = len(node.inputs) // 2
    return node.inputs[:half], node.inputs[half:]


def _infer_stitch(node: Node) -> list[Typed]:
    indices, data = _halves(node)
    known = [known_integers(each) for each in indices]
    size: Dim = UNKNOWN_DIM
    if all(each is not None for each in known):
        size = max((number for each in known for number in each or ()), default=-1) + 1
    inner: Shape = None
    for places, rows in zip(indices, data, strict=True):
        if places.shape is not None and rows.shape is not None:
            inner = rows.shape[len(places.shape) :]
    return [Typed(data[0].dtype, None if inner is None else (size, *inner))]


def _evaluate_stitch(_node: Node, *arrays: Array) -> Array:
    half = len(arrays) // 2
    inner = arrays[half].shape[arrays[0].ndim :]
    size = max((int(each.max()) for each in arrays[:half] if each.size), default=-1) + 1
    result = np.zeros((size, *inner), arrays[half].dtype)
    for places, rows in zip(arrays[:half], arrays[half:], strict=True):
        for place, row in zip(places.reshape(-1), rows.reshape(-1, *inner), strict=True):
            result[place] = row
    return result


def _expand_stitch(graph: Graph, node: Node) -> bool:
    """Rows laid end to end: picked in the wanted order where that is known, else assigned to their places."""
    indices, data = _halves(node)
    if any(each.shape is None for each in (*indices, *data)) or node.output.shape is None:
        return False
    inner = node.output.shape[1:]
    if any(isinstance(dim, str) for dim in inner):
        return False
    expansion = Expansion(graph, node)
    lists = [expansion.make("Reshape", each, np.array([-1, *inner], np.int32)) for each in data]
    rows = lists[0] if len(lists) == 1 else expansion.make("ConcatV2", *lists, _ZERO)
    known = [known_integers(each) for each in indices]
    if all(each is not None for each in known):
        order = [number for each in known for number in each or ()]
        last = {place: row for row, place in enumerate(order)}
        if len(last) == max(order, default=-1) + 1:
            picked = np.array([last[place] for place in range(len(last))], np.int32)
            return expansion.finish(expansion.make("GatherV2", rows, picked, _ZERO))
    flat = [expansion.make("Reshape", each, np.array([-1], np.int32)) for each in indices]
    places = flat[0] if len(flat) == 1 else expansion.make("ConcatV2", *flat, _ZERO)
    size = expansion.make("AddV2", expansion.make("Max", places, np.array([0], np.int32), keep_dims=True), np.array([1], np.int32))
    shape = expansion.make("ConcatV2", size, np.array(inner, np.int32), _ZERO) if inner else size
    empty = expansion.make("Fill", shape, np.zeros((), node.output.dtype.numpy))
    empty = expansion.make("Reshape", empty, np.array([-1, *inner], np.int32))  # tells inference the inner sizes
    listed = expansion.make("ExpandDims", places, np.array(1, np.int32))
    return expansion.finish(expansion.make("TensorScatterUpdate", empty, listed, rows))


def _stitch_examples() -> Iterator[Example]:
    first, second = np.array([0, 3], np.int32), np.array([2, 1, 4], np.int32)
    yield Example((first, second, sample(2, 3), sample(3, 3, seed=1)), constants=(0, 1))
    yield Example((first, second, sample(2, 3), sample(3, 3, seed=1)), note="computed")
    yield Example((first, np.array(3, np.int32), sample(2), np.array(9, np.float32)), constants=(0, 1), note="twice, gaps")
    yield Example((np.array([[0, 1], [3, 2]], np.int32), np.array([[5, 6], [7, 8]], np.int32)), note="one matrix, int32")


# -- Unique --------------------------------------------------------------------------------------------------------


def _infer_unique(node: Node) -> list[Typed]:
    value = node.inputs[0]
    axis = _unique_axis(node)
    index: DType = node["out_idx"]
    if value.shape is None or axis is None:
        rows = [Typed(value.dtype, unknown if (unknown := value.shape) is None else (UNKNOWN_DIM,) * len(unknown))]
        return [*rows, *(Typed(index, (UNKNOWN_DIM,)) for _ in range(len(_UNIQUE_OUTPUTS[node.op]) - 1))]
    shape = (*value.shape[:axis], UNKNOWN_DIM, *value.shape[axis + 1 :])
    return [
        Typed(value.dtype, shape),
        Typed(index, (value.shape[axis],)),
        *([Typed(index, (UNKNOWN_DIM,))] if "Counts" in node.op else []),
    ]


_UNIQUE_OUTPUTS = {"Unique": "yi", "UniqueV2": "yi", "UniqueWithCounts": "yic", "UniqueWithCountsV2": "yic"}


def _unique_axis(node: Node) -> int | None:
    """None when it is computed."""
    if len(node.inputs) == 1:
        return 0
    known = known_integers(node.inputs[1])
    if known is None or node.inputs[0].rank is None:
        return None
    return normalize_axis(known[0], node.inputs[0].rank) if known else 0


def _evaluate_unique(node: Node, x: Array, axes: Array | None = None) -> tuple[Array, ...]:
    """In the order of first appearance."""
    axis = 0 if axes is None or not axes.size else normalize_axis(int(axes.reshape(-1)[0]), x.ndim)
    if x.dtype == object:
        keys = dict.fromkeys(x.tolist())
        order = {each: index for index, each in enumerate(keys)}
        index = np.array([order[each] for each in x.tolist()], np.int64)
        values = np.array([*keys, None], object)[:-1]
    else:
        found = np.unique(x, axis=axis, return_index=True, return_inverse=True)
        order_of = np.argsort(found[1], kind="stable")
        values = np.take(x, found[1][order_of], axis)
        index = np.argsort(order_of)[found[2].reshape(-1)]
    kind = node["out_idx"].numpy
    results = (values, index.astype(kind))
    return (*results, np.bincount(index, minlength=values.shape[axis]).astype(kind)) if "Counts" in node.op else results


_LITE_UNIQUE = (DType.FLOAT32, DType.INT32, DType.INT64, DType.INT8, DType.UINT8, DType.INT16)


def _is_plain(node: Node) -> bool:
    return node.op in ("Unique", "UniqueV2") and node.inputs[0].rank == 1 and _unique_axis(node) == 0


def _lite_unique(node: Node) -> list[LiteOp]:
    value = node.inputs[0]
    if not _is_plain(node) or value.dtype not in _LITE_UNIQUE:
        raise Declined("UNIQUE takes a vector of numbers")
    return [LiteOp("UNIQUE", (value,), tuple(node.outputs), {"idx_out_type": node["out_idx"].name})]


def _js_unique(node: Node) -> list[JsNode]:
    value = node.inputs[0]
    if node.op not in ("Unique", "UniqueV2") or _unique_axis(node) is None or value.dtype is DType.BOOL:
        raise Declined("TensorFlow.js counts nothing")
    axis = np.array([_unique_axis(node)], np.int32)

    attrs = {"T": value.dtype, "Taxis": DType.INT32, "out_idx": DType.INT32}
    return [JsNode("UniqueV2", (value, ArrayTensor(axis)), tuple(node.outputs), attrs)]


def _expand_unique(graph: Graph, node: Node) -> bool:
    """Counts are sums of ones. Rows are compared with all rows before them; the first of equal ones stands for them."""
    value, axis = node.inputs[0], _unique_axis(node)
    if value.shape is None or axis is None:
        return False
    expansion = Expansion(graph, node)
    if "Counts" in node.op:
        unique = expansion.make_node("UniqueV2", value, np.array([axis], np.int32), out_idx=node["out_idx"])
        values, index = unique.outputs
        narrow = expansion.make("Cast", index, DstT=DType.INT32) if index.dtype is not DType.INT32 else index
        sizes = expansion.make("Shape", values, out_type=DType.INT32)
        count = expansion.make("GatherV2", sizes, np.array(axis, np.int32), _ZERO)
        total = expansion.make("UnsortedSegmentSum", expansion.make("OnesLike", narrow), narrow, count)
        if index.dtype is not DType.INT32:
            total = expansion.make("Cast", total, DstT=index.dtype)
        return expansion.finish(values, index, total)
    first, position = _first_alike(expansion, value, axis)
    fresh = expansion.make("Equal", first, position)
    numbered = expansion.make("Sub", expansion.make("Cumsum", expansion.make("Cast", fresh, DstT=DType.INT32), _ZERO), np.int32(1))
    index = expansion.make("GatherV2", numbered, first, _ZERO)
    if node["out_idx"] is not DType.INT32:
        index = expansion.make("Cast", index, DstT=node["out_idx"])
    kept = expansion.make("Reshape", expansion.make("Where", fresh), np.array([-1], np.int32))
    return expansion.finish(expansion.make("GatherV2", value, kept, np.array(axis, np.int32)), index)


def _first_alike(expansion: Expansion, value: Value, axis: int) -> tuple[Value, Value]:
    """For each slice along the axis the number of the first equal to it, and its own number."""
    rank = value.rank or 1
    order = [axis, *(each for each in range(rank) if each != axis)]
    rows = expansion.make("Transpose", value, np.array(order, np.int32)) if axis else value
    one = np.array(1, np.int32)
    same = expansion.make("Equal", expansion.make("ExpandDims", rows, one), expansion.make("ExpandDims", rows, _ZERO))
    if rank > 1:
        same = expansion.make("All", same, np.arange(2, rank + 1, dtype=np.int32))
    first = expansion.make("ArgMax", expansion.make("Cast", same, DstT=DType.INT32), one, output_type=DType.INT32)
    sizes = expansion.make("Shape", rows, out_type=DType.INT32)
    return first, expansion.make("Range", _ZERO, expansion.make("GatherV2", sizes, _ZERO, _ZERO), one)


def _unique_examples() -> Iterator[Example]:
    yield Example((np.array([3, 1, 3, 2, 1], np.int32),))
    yield Example((np.array([0.5, -1, 0.5], np.float32),), {"out_idx": DType.INT64}, note="float32, 64-bit index")
    yield Example((np.array([2**20, 1, 2**20]),), note="int64")


def _unique_axis_examples() -> Iterator[Example]:
    rows = np.array([[1, 2], [0, 1], [1, 2], [0, 0]], np.int32)
    yield Example((rows, np.array([0], np.int32)), constants=(1,), note="rows")
    yield Example((rows.T.astype(np.float32), np.array([1])), constants=(1,), note="columns")
    yield Example((rows[:, 0], np.zeros(0, np.int64)), constants=(1,), note="vector, no axis")


# -- ListDiff ------------------------------------------------------------------------------------------------------


def _infer_difference(node: Node) -> list[Typed]:
    return [Typed(node.inputs[0].dtype, (UNKNOWN_DIM,)), Typed(node["out_idx"], (UNKNOWN_DIM,))]


def _evaluate_difference(node: Node, x: Array, y: Array) -> tuple[Array, Array]:
    places = np.flatnonzero(~np.isin(x, y))
    return x[places], places.astype(node["out_idx"].numpy)


def _js_difference(node: Node) -> list[JsNode]:
    attrs = {"T": node.inputs[0].dtype, "out_idx": DType.INT32}
    return [JsNode("ListDiff", tuple(node.inputs), tuple(node.outputs), attrs)]


def _expand_difference(graph: Graph, node: Node) -> bool:
    x, y = node.inputs
    expansion = Expansion(graph, node)
    one = np.array(1, np.int32)
    same = expansion.make("Equal", expansion.make("ExpandDims", x, one), expansion.make("ExpandDims", y, _ZERO))
    left = expansion.make("LogicalNot", expansion.make("Any", same, np.array([1], np.int32)))
    places = expansion.make("Reshape", expansion.make("Where", left), np.array([-1], np.int32))
    index = places if node["out_idx"] is places.dtype else expansion.make("Cast", places, DstT=node["out_idx"])
    return expansion.finish(expansion.make("GatherV2", x, places, _ZERO), index)


def _difference_examples() -> Iterator[Example]:
    yield Example((np.array([5, 1, 2, 5, 3], np.int32), np.array([1, 3], np.int32)))
    yield Example((sample(4), sample(4)[1:3].copy()), {"out_idx": DType.INT64}, (1,), note="float32, 64-bit index")


SPECS = (
    OpSpec(
        name="Where",
        infer=_infer_where,
        evaluate=_evaluate_where,
        to_tflite=_lite_where,
        to_tfjs=_js_where,
        expand=_expand_where,
        examples=_where_examples,
    ),
    OpSpec(
        name="DynamicPartition",
        infer=_infer_partition,
        evaluate=_evaluate_partition,
        expand=_expand_partition,
        examples=_partition_examples,
    ),
    *(
        OpSpec(name=name, infer=_infer_stitch, evaluate=_evaluate_stitch, expand=_expand_stitch, examples=_stitch_examples)
        for name in ("DynamicStitch", "ParallelDynamicStitch")
    ),
    *(
        OpSpec(
            name=name,
            attrs={"out_idx": DType.INT32},
            infer=_infer_unique,
            evaluate=_evaluate_unique,
            to_tflite=_lite_unique,
            to_tfjs=_js_unique,
            expand=_expand_unique,
            examples=_unique_axis_examples if "V2" in name else _unique_examples,
        )
        for name in _UNIQUE_OUTPUTS
    ),
    OpSpec(
        name="ListDiff",
        attrs={"out_idx": DType.INT32},
        infer=_infer_difference,
        evaluate=_evaluate_difference,
        to_tfjs=_js_difference,
        expand=_expand_difference,
        examples=_difference_examples,
    ),
)
