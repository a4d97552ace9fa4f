"""Ops that pick elements by index: GatherV2, Gather, GatherNd; and OneHot and TopKV2, which make and find indices."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Shape, Typed, Value
from tensorferry.ops.dims import known_integer, known_integers, merge_dims, unknown_dims
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.index_operands import int32_scalar, int32_vector, lite_int32, narrow_constant, refuse_in_tfjs, require_dtype
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import WIDER_OR_BITS, Declined, Example, OpSpec, normalize_axis
from tensorferry.targets import JsNode, LiteOp, Ref, Temp
from tensorferry.tensor import Array, DType

# -- GatherV2 and the old Gather, which has no axis ----------------------------------------------------------------


def _gather_axes(node: Node) -> tuple[int, int] | None:
    """Axis and number of batch dimensions, both from the front; None when the axis or a rank it needs is not known."""
    if node.op == "Gather":
        return 0, 0
    params, indices, axis_value = node.inputs
    axis, batch_dims = known_integer(axis_value), int(node["batch_dims"])
    if axis is None:
        return None
    if batch_dims < 0:
        if indices.shape is None:
            return None
        batch_dims += len(indices.shape)
    if params.shape is None:
        return (axis, batch_dims) if axis >= 0 else None
    axis = normalize_axis(axis, len(params.shape))
    if not 0 <= batch_dims <= axis:
        raise Declined(f"{batch_dims} batch dimensions reach beyond axis {axis}", attributes=f"batch_dims={batch_dims}")
    return axis, batch_dims


def _infer_gather(node: Node) -> list[Typed]:
    params, indices = node.inputs[:2]
    axes = _gather_axes(node)
    if params.shape is None or indices.shape is None:
        return [Typed(params.dtype, None)]
    if axes is None:
        batch_dims = int(node["batch_dims"])
        batch_dims += len(indices.shape) if batch_dims < 0 else 0
        return [Typed(params.dtype, unknown_dims(len(params.shape) + len(indices.shape) - 1 - batch_dims))]
    axis, batch_dims = axes
    if not params.shape:
        raise Declined("nothing can be gathered from a scalar")
    if batch_dims > len(indices.shape):
        raise Declined(f"{batch_dims} batch dimensions are more than the indices have", attributes=f"batch_dims={batch_dims}")
    batch = tuple(merge_dims(a, b) for a, b in zip(params.shape[:batch_dims], indices.shape[:batch_dims], strict=True))
    shape = (*batch, *params.shape[batch_dims:axis], *indices.shape[batch_dims:], *params.shape[axis + 1 :])
    return [Typed(params.dtype, shape, _gather_content(params, indices))]


def _gather_content(params: Value, indices: Value) -> tuple[Dim, ...] | None:
    places = known_integers(indices)
    if params.content is None or params.rank != 1 or places is None or indices.rank not in (0, 1):
        return None
    for place in places:
        if not 0 <= place < len(params.content):
            raise Declined(f"index {place} is outside a tensor of {len(params.content)} elements")
    return tuple(params.content[place] for place in places)


def _evaluate_gather(node: Node, params: Array, indices: Array, axis: Array | None = None) -> Array:
    place = 0 if axis is None else normalize_axis(int(axis.reshape(-1)[0]), params.ndim)
    batch_dims = 0 if axis is None else int(node["batch_dims"])
    batch_dims += indices.ndim if batch_dims < 0 else 0
    if indices.size and (int(indices.min()) < 0 or int(indices.max()) >= params.shape[place]):
        raise Declined(f"an index is outside 0 to {params.shape[place] - 1}")
    if not batch_dims:
        return np.take(params, indices, axis=place)
    batch = params.shape[:batch_dims]
    rows = [np.take(params[index], indices[index], axis=place - batch_dims) for index in np.ndindex(*batch)]
    shape = (*batch, *params.shape[batch_dims:place], *indices.shape[batch_dims:], *params.shape[place + 1 :])
    return np.asarray(rows, params.dtype).reshape(shape)


_LITE_GATHER = {
    DType.FLOAT32: 1,
    DType.INT32: 1,
    DType.INT64: 1,
    DType.UINT8: 1,
    DType.STRING: 1,
    DType.INT8: 2,
    DType.BOOL: 3,
    DType.INT16: 4,
}


def _lite_gather(node: Node) -> list[LiteOp]:
    params, indices = node.inputs[:2]
    axes = _gather_axes(node)
    if axes is None:
        raise Declined("its axis is computed while the model runs", remedy="make the axis a constant in the source model")
    require_dtype(params, tuple(_LITE_GATHER), "GATHER")
    if params.dtype is DType.STRING and params.rank != 1:
        raise Declined("GATHER takes strings from a row only")
    axis, batch_dims = axes
    version = 5 if batch_dims else _LITE_GATHER[params.dtype]
    options = {"axis": axis, "batch_dims": batch_dims}
    return [LiteOp("GATHER", (params, narrow_constant(indices)), (node.output,), options, version)]


def _js_gather(node: Node) -> list[JsNode]:
    params, indices = node.inputs[:2]
    refuse_in_tfjs(params, "gather", DType.STRING)
    axes = _gather_axes(node)
    if (node["batch_dims"] if axes is None else axes[1]) if node.op == "GatherV2" else 0:
        raise Declined(
            "TensorFlow.js does not gather batch by batch on every backend",
            remedy="give the model's inputs known sizes",
            attributes=f"batch_dims={node['batch_dims']}",
        )
    operand: Ref = int32_scalar(axes[0]) if axes is not None else narrow_constant(node.inputs[2])
    attrs = {"batch_dims": 0, "Tparams": params.dtype, "Tindices": DType.INT32, "Taxis": DType.INT32}
    return [JsNode("GatherV2", (params, narrow_constant(indices), operand), (node.output,), attrs)]


def _expand_gather(graph: Graph, node: Node) -> bool:
    """Batches laid end to end and gathered from at once. All sizes but that of a single batch axis have to be known."""
    params, indices = node.inputs[:2]
    axes = _gather_axes(node)
    if axes is None or not axes[1] or params.shape is None or indices.shape is None:
        return False
    axis, batch_dims = axes
    between, after = params.shape[batch_dims:axis], params.shape[axis + 1 :]
    if any(isinstance(dim, str) for dim in params.shape[1:]) or (batch_dims > 1 and isinstance(params.shape[0], str)):
        return False
    rank, extra = len(params.shape), len(indices.shape) - batch_dims
    expansion = Expansion(graph, node)
    front = [*range(batch_dims), axis, *range(batch_dims, axis), *range(axis + 1, rank)]
    moved = expansion.make("Transpose", params, np.array(front, np.int32)) if between else params
    laid = expansion.make("Reshape", moved, np.array([-1, *between, *after], np.int32))
    found = expansion.make("AddV2", indices, _batch_starts(expansion, axis, batch_dims, extra))
    taken = expansion.make("GatherV2", laid, found, np.array(0, np.int32))
    if between:
        first = batch_dims + extra
        back = [*range(batch_dims), *range(first, first + len(between)), *range(batch_dims, first)]
        taken = expansion.make("Transpose", taken, np.array([*back, *range(len(back), len(back) + len(after))], np.int32))
    return expansion.finish(taken)


def _batch_starts(expansion: Expansion, axis: int, batch_dims: int, extra: int) -> Value | Array:
    """Where each batch begins, shaped to be added to its indices."""
    params, indices = expansion.node.inputs[:2]
    assert params.shape is not None
    batch, size, dtype = params.shape[:batch_dims], params.shape[axis], indices.dtype
    kind = dtype.numpy
    if not isinstance(batch[0], str):
        count = math.prod(int(dim) for dim in batch)
        starts: Array = np.arange(count, dtype=kind) * kind.type(size)
        return starts.reshape([int(dim) for dim in batch] + [1] * extra)
    one = np.array([1], np.int32)
    counted = expansion.make("Shape", params, out_type=dtype)
    first = expansion.make("StridedSlice", counted, one * 0, one, one, shrink_axis_mask=1)
    limit = expansion.make("Mul", first, np.array(size, kind))
    places = expansion.make("Range", np.array(0, kind), limit, np.array(size, kind))
    return expansion.make("Reshape", places, np.array([-1, *[1] * extra], np.int32))


def _gather_examples() -> Iterator[Example]:
    x = sample(4, 5, 3)
    axis = np.array(0, np.int32)
    yield Example((x, np.array([3, 0, 3], np.int32), axis), constants=(1, 2), note="rows")
    yield Example((x, np.array([[0, 4], [2, 2]]), np.array(1, np.int32)), constants=(1, 2), note="matrix of 64-bit indices")
    yield Example((x, np.array(1, np.int32), np.array(-1, np.int32)), constants=(1, 2), note="one, last axis")
    yield Example((x, np.array([1, 2], np.int32), axis), constants=(2,), note="computed indices")
    yield Example((sample(6, 2), np.array([1, 5]), axis), constants=(0, 2), note="embedding")
    yield Example((np.arange(5, dtype=np.int32), np.array([4, 1], np.int32), axis), constants=(1, 2), note="int32")
    yield Example((np.array([True, False, True]), np.array([2, 1], np.int32), axis), constants=(1, 2), note="bool")
    batched = np.array([[0, 1], [4, 4], [2, 0], [3, 3]], np.int32)
    yield Example((x, batched, np.array(1, np.int32)), {"batch_dims": 1}, constants=(1, 2), note="batch")
    for dtype in (np.int8, np.uint16, np.uint32):
        yield Example((np.arange(5, dtype=dtype), np.array([4, 1], np.int32), axis), constants=(2,), note=np.dtype(dtype).name)
    words = np.array([[b"a", b"bc"], [b"", b"d"]], object)
    yield Example((words, np.array([1, 0, 1], np.int32), np.array(1, np.int32)), constants=(1, 2), note="string")
    rows = np.array([[1], [3]], np.int32)
    yield Example((sample(2, 3, 4), rows, np.array(2, np.int32)), {"batch_dims": 1}, (1, 2), note="batch, last axis")


def _old_gather_examples() -> Iterator[Example]:
    yield Example((sample(4, 3), np.array([2, 0], np.int32)), constants=(1,))


# -- GatherNd ------------------------------------------------------------------------------------------------------


def _infer_gather_nd(node: Node) -> list[Typed]:
    params, indices = node.inputs
    if params.shape is None or indices.shape is None:
        return [Typed(params.dtype, None)]
    if not indices.shape:
        raise Declined("its indices are a scalar")
    depth = indices.shape[-1]
    if isinstance(depth, str):
        return [Typed(params.dtype, None)]
    if depth > len(params.shape):
        raise Declined(f"indices of {depth} numbers are too long for {len(params.shape)} axes")
    return [Typed(params.dtype, (*indices.shape[:-1], *params.shape[depth:]))]


def _evaluate_gather_nd(_node: Node, params: Array, indices: Array) -> Array:
    depth = indices.shape[-1]
    limits = np.asarray(params.shape[:depth])
    if indices.size and (indices.min() < 0 or (indices >= limits).any()):
        raise Declined(f"an index is outside the shape {list(params.shape)}")
    if not depth:
        return np.broadcast_to(params, (*indices.shape[:-1], *params.shape))
    return np.asarray(params[tuple(np.moveaxis(indices, -1, 0))])


_LITE_GATHER_ND = {
    DType.FLOAT32: 1,
    DType.INT32: 1,
    DType.INT64: 1,
    DType.UINT8: 1,
    DType.INT8: 1,
    DType.STRING: 2,
    DType.INT16: 3,
    DType.BOOL: 5,
}


def _lite_gather_nd(node: Node) -> list[LiteOp]:
    params, indices = node.inputs
    require_dtype(params, tuple(_LITE_GATHER_ND), "GATHER_ND")
    if indices.shape and indices.shape[-1] == 0:
        raise Declined("LiteRT's GATHER_ND does not take the whole tensor")
    return [LiteOp("GATHER_ND", (params, narrow_constant(indices)), (node.output,), {}, _LITE_GATHER_ND[params.dtype])]


def _js_gather_nd(node: Node) -> list[JsNode]:
    params, indices = node.inputs
    attrs = {"Tparams": params.dtype, "Tindices": DType.INT32}
    return [JsNode("GatherNd", (params, narrow_constant(indices)), (node.output,), attrs)]


def _expand_gather_nd(graph: Graph, node: Node) -> bool:
    """Indices without numbers pick the whole tensor, as often as there are such indices."""
    params, indices = node.inputs
    if not indices.shape or indices.shape[-1] != 0:
        return False
    expansion = Expansion(graph, node)
    static = node.output.static_shape
    if static is not None:
        return expansion.finish(expansion.make("BroadcastTo", params, np.array(static, np.int32)))
    zero, one = np.zeros(1, np.int32), np.ones(1, np.int32)
    times, sizes = (expansion.make("Shape", each, out_type=DType.INT32) for each in (indices, params))
    times = expansion.make("StridedSlice", times, zero, zero - 1, one, begin_mask=1)
    shape = expansion.make("ConcatV2", times, sizes, np.array(0, np.int32))
    return expansion.finish(expansion.make("BroadcastTo", params, shape))


def _gather_nd_examples() -> Iterator[Example]:
    x = sample(3, 4, 2)
    yield Example((x, np.array([[0, 1], [2, 3]], np.int32)), constants=(1,), note="rows")
    yield Example((np.arange(3, dtype=np.int32), np.zeros((2, 0), np.int32)), constants=(0,), note="the whole, twice")
    yield Example((x, np.array([[[0, 1, 1]], [[2, 3, 0]]])), constants=(1,), note="elements, 64-bit")
    yield Example((x, np.array([[2], [0], [0]], np.int32)), note="computed")
    yield Example((x.astype(np.int32), np.array([1, 2], np.int32)), constants=(1,), note="one, int32")


# -- OneHot --------------------------------------------------------------------------------------------------------


def _infer_one_hot(node: Node) -> list[Typed]:
    indices, depth, on = node.inputs[:3]
    if indices.shape is None:
        return [Typed(on.dtype, None)]
    axis = normalize_axis(int(node["axis"]), len(indices.shape) + 1)
    size: Dim = depth.content[0] if depth.content else UNKNOWN_DIM
    return [Typed(on.dtype, (*indices.shape[:axis], size, *indices.shape[axis:]))]


def _evaluate_one_hot(node: Node, indices: Array, depth: Array, on: Array, off: Array) -> Array:
    hot = np.expand_dims(indices, -1) == np.arange(int(depth.reshape(-1)[0]))
    made: Array = np.where(hot, on, off).astype(on.dtype)
    return np.moveaxis(made, -1, normalize_axis(int(node["axis"]), made.ndim))


_LITE_ONE_HOT = (DType.FLOAT32, DType.INT32, DType.INT64, DType.INT8, DType.UINT8, DType.BOOL)


def _lite_one_hot(node: Node) -> list[LiteOp]:
    indices, depth, on, off = node.inputs
    require_dtype(on, _LITE_ONE_HOT, "ONE_HOT")
    if indices.dtype not in (DType.INT32, DType.INT64):
        raise Declined(f"ONE_HOT takes no {indices.dtype} indices", remedy="cast them to int32 in the source model")
    casts, size = lite_int32(depth)
    options = {"axis": -1 if int(node["axis"]) < 0 else int(node["axis"])}
    return [*casts, LiteOp("ONE_HOT", (indices, size, on, off), (node.output,), options)]


def _js_one_hot(node: Node) -> list[JsNode]:
    """TensorFlow.js puts the new axis last; a Transpose brings it where it belongs."""
    indices = node.inputs[0]
    if int(node["axis"]) == -1 or int(node["axis"]) == indices.rank:
        return _js_one_hot_last(node, node.output)
    if indices.shape is None:
        raise Declined("the rank of its indices is not known", remedy="give the model's inputs a shape")
    rank = len(indices.shape)
    axis = normalize_axis(int(node["axis"]), rank + 1)
    order = [*range(axis), rank, *range(axis, rank)]
    last = Temp("last", node.output.dtype, _moved_last(node.output.shape, axis))
    move = {"T": node.output.dtype, "Tperm": DType.INT32}
    return [*_js_one_hot_last(node, last), JsNode("Transpose", (last, int32_vector(order)), (node.output,), move)]


def _js_one_hot_last(node: Node, target: Value | Temp) -> list[JsNode]:
    """As ones and zeros of int32, the only type that all backends get right; the wanted values are chosen by them."""
    indices, depth, on, off = node.inputs
    operands: tuple[Ref, ...] = (narrow_constant(indices), narrow_constant(depth))
    attrs = {"axis": -1, "T": DType.INT32, "TI": DType.INT32}
    if target.dtype is DType.INT32:
        return [JsNode("OneHot", (*operands, on, off), (target,), attrs)]
    ones = Temp("ones", DType.INT32, target.shape)
    hot = JsNode("OneHot", (*operands, int32_scalar(1), int32_scalar(0)), (ones,), attrs)
    if _is_number(on, 1) and _is_number(off, 0):
        return [hot, JsNode("Cast", (ones,), (target,), {"SrcT": DType.INT32, "DstT": target.dtype})]
    chosen = Temp("chosen", DType.BOOL, target.shape)
    return [
        hot,
        JsNode("Cast", (ones,), (chosen,), {"SrcT": DType.INT32, "DstT": DType.BOOL}),
        JsNode("SelectV2", (chosen, on, off), (target,), {"T": target.dtype}),
    ]


def _is_number(value: Value, number: int) -> bool:
    return value.constant is not None and value.constant.size == 1 and bool(value.constant.array().reshape(-1)[0] == number)


def _moved_last(shape: Shape, axis: int) -> Shape:
    return None if shape is None else (*shape[:axis], *shape[axis + 1 :], shape[axis])


def _one_hot_examples() -> Iterator[Example]:
    on, off = np.array(1, np.float32), np.array(0, np.float32)
    depth = np.array(4, np.int32)
    yield Example((np.array([0, 3, -1, 9], np.int32), depth, on, off), constants=(1, 2, 3))
    yield Example((np.array([[1, 2], [0, 3]]), depth, on, off), {"axis": 0}, constants=(1, 2, 3), note="first axis, 64-bit")
    yield Example((np.array([[1, 2], [0, 3]], np.int32), depth, on, off), {"axis": 1}, constants=(1, 2, 3), note="middle axis")
    smooth = np.array(0.9, np.float32), np.array(0.025, np.float32)
    yield Example((np.array([1, 3], np.int32), depth, *smooth), constants=(1, 2, 3), note="smooth")
    yield Example((np.array([1, 3], np.int32), depth, np.array(True), np.array(False)), constants=(1, 2, 3), note="bool")
    yield Example((np.array([2, 0], np.uint8), depth, on, off), constants=(1, 2, 3), note="uint8")
    five, minus = np.array(5, np.int32), np.array(-1, np.int32)
    yield Example((np.array([2, 0], np.int32), depth, five, minus), constants=(1, 2, 3), note="int32")


# -- TopKV2 --------------------------------------------------------------------------------------------------------


def _infer_top_k(node: Node) -> list[Typed]:
    value, count = node.inputs
    if value.shape is None:
        return [Typed(value.dtype, None), Typed(node["index_type"], None)]
    if not value.shape:
        raise Declined("a scalar has no largest elements")
    size: Dim = count.content[0] if count.content else UNKNOWN_DIM
    last = value.shape[-1]
    if isinstance(size, int) and (size < 0 or (isinstance(last, int) and size > last)):
        raise Declined(f"the {size} largest of {last} are wanted", attributes=f"k={size}")
    shape = (*value.shape[:-1], size)
    return [Typed(value.dtype, shape), Typed(node["index_type"], shape)]


def _evaluate_top_k(node: Node, array: Array, count: Array) -> tuple[Array, Array]:
    """Largest first; of equal ones the first."""
    mirrored = array[..., ::-1]
    order = array.shape[-1] - 1 - np.argsort(mirrored, axis=-1, kind="stable")[..., ::-1]
    places = order[..., : int(count.reshape(-1)[0])]
    return np.take_along_axis(array, places, axis=-1), places.astype(node["index_type"].numpy)


_LITE_TOP_K = (DType.FLOAT32, DType.INT32, DType.INT64, DType.UINT8, DType.INT8)


def _lite_top_k(node: Node) -> list[LiteOp]:
    value, count = node.inputs
    require_dtype(value, _LITE_TOP_K, "TOPK_V2")
    if node["index_type"] is not DType.INT32:
        raise Declined(f"TOPK_V2 gives no {node['index_type']} indices", attributes=f"index_type={node['index_type']}")
    casts, size = lite_int32(count)
    version = 2 if value.dtype is DType.INT8 else 1
    return [*casts, LiteOp("TOPK_V2", (value, size), tuple(node.outputs), {}, version)]


def _js_top_k(node: Node) -> list[JsNode]:
    value, count = node.inputs
    attrs = {"sorted": bool(node["sorted"]), "T": value.dtype, "Tk": DType.INT32, "index_type": DType.INT32}
    return [JsNode("TopKV2", (value, narrow_constant(count)), tuple(node.outputs), attrs)]


def _top_k_examples() -> Iterator[Example]:
    yield Example((sample(3, 7), np.array(3, np.int32)), constants=(1,))
    yield Example((np.array([1, 5, 5, 2, 5], np.int32), np.array(4, np.int32)), constants=(1,), note="equal ones")
    yield Example((sample(2, 3, 4), np.array(4, np.int32)), constants=(1,), note="all")
    yield Example((sample(5), np.array(2, np.int32)), note="computed count")


SPECS = (
    OpSpec(
        name="GatherV2",
        attrs={"batch_dims": 0},
        infer=_infer_gather,
        evaluate=_evaluate_gather,
        to_tflite=_lite_gather,
        to_tfjs=_js_gather,
        expand=_expand_gather,
        widens=WIDER_OR_BITS,
        moves=0,
        examples=_gather_examples,
    ),
    OpSpec(
        name="Gather",
        attrs={"validate_indices": True},
        infer=_infer_gather,
        evaluate=_evaluate_gather,
        to_tflite=_lite_gather,
        to_tfjs=_js_gather,
        widens=WIDER_OR_BITS,
        moves=0,
        examples=_old_gather_examples,
    ),
    OpSpec(
        name="GatherNd",
        infer=_infer_gather_nd,
        evaluate=_evaluate_gather_nd,
        to_tflite=_lite_gather_nd,
        to_tfjs=_js_gather_nd,
        expand=_expand_gather_nd,
        widens=WIDER_OR_BITS,
        examples=_gather_nd_examples,
    ),
    OpSpec(
        name="OneHot",
        attrs={"axis": -1},
        infer=_infer_one_hot,
        evaluate=_evaluate_one_hot,
        to_tflite=_lite_one_hot,
        to_tfjs=_js_one_hot,
        widens=WIDER_OR_BITS,
        examples=_one_hot_examples,
    ),
    OpSpec(
        name="TopKV2",
        attrs={"sorted": True, "index_type": DType.INT32},
        infer=_infer_top_k,
        evaluate=_evaluate_top_k,
        to_tflite=_lite_top_k,
        to_tfjs=_js_top_k,
        widens={**dict.fromkeys((DType.INT16, DType.UINT16), DType.INT32), DType.UINT32: DType.INT64},
        examples=_top_k_examples,
    ),
)
