"""Ops that write elements to given places: ScatterNd, TensorScatter*, Inplace*, SparseToDense."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tensorferry.ir import Dim, Graph, Node, Shape, Typed, Value
from tensorferry.ops.dims import known_integers, length_of, unknown_dims
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.index_operands import lite_int32, narrow_constant
from tensorferry.ops.kernels import NUMBERS, LiteKernel
from tensorferry.ops.samples import sample
from tensorferry.ops.scatter_texts import expand_text_scatter
from tensorferry.ops.spec import WIDER_OR_BITS, WIDER_OR_BOOL, Declined, Example, OpSpec, same_as_input
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import Array, DType

# -- ScatterNd -----------------------------------------------------------------------------------------------------


def _shape_given(value: Value) -> Shape:
    if value.content is not None:
        return tuple(value.content)
    known = known_integers(value)
    return known if known is not None else unknown_dims(length_of(value))


def _infer_scatter(node: Node) -> list[Typed]:
    return [Typed(node.inputs[1].dtype, _shape_given(node.inputs[2]))]


def _places(indices: Array, shape: tuple[int, ...]) -> tuple[Array, ...]:
    limits = np.asarray(shape[: indices.shape[-1]])
    if indices.size and (indices.min() < 0 or (indices >= limits).any()):
        raise Declined(f"an index is outside the shape {list(shape)}")
    return tuple(np.moveaxis(indices, -1, 0))


def _evaluate_scatter(_node: Node, indices: Array, updates: Array, shape: Array) -> Array:
    nothing = b"" if updates.dtype.kind == "O" else 0
    result = np.full(tuple(int(each) for each in shape), nothing, updates.dtype)
    np.add.at(result, _places(indices, result.shape), updates)
    return result


_SCATTER_ND = LiteKernel("SCATTER_ND", NUMBERS | {DType.INT8, DType.UINT8, DType.BOOL}, data=1)


def _lite_scatter(node: Node) -> list[LiteOp]:
    _SCATTER_ND.check(node)
    _require_lists(node.inputs[0])
    casts, indices = lite_int32(node.inputs[0])
    more, shape = lite_int32(node.inputs[2])
    return [*casts, *more, LiteOp("SCATTER_ND", (indices, node.inputs[1], shape), (node.output,))]


def _js_scatter(node: Node) -> list[JsNode]:
    indices, updates, shape = node.inputs
    if updates.dtype in (DType.BOOL, DType.STRING):
        raise Declined(f"TensorFlow.js scatters no {updates.dtype}")
    _require_lists(indices)
    attrs = {"T": updates.dtype, "Tindices": DType.INT32}
    return [JsNode("ScatterNd", (narrow_constant(indices), updates, narrow_constant(shape)), (node.output,), attrs)]


def _require_lists(indices: Value) -> None:
    if indices.rank == 1:
        raise Declined("its indices are one list, which TensorFlow reads now as one place, now as many")


def _scatter_examples() -> Iterator[Example]:
    shape = np.array([4, 3], np.int32)
    rows = np.array([[2], [0], [2]], np.int32)
    yield Example((rows, sample(3, 3), shape), constants=(0, 2), note="rows, one twice")
    yield Example((rows.astype(np.int64), sample(3, 3), shape.astype(np.int64)), constants=(2,), note="computed, 64-bit")
    yield Example((np.array([[[1, 2]], [[0, 0]]], np.int32), sample(2, 1), shape), constants=(0, 2), note="elements")
    yield Example((rows, sample(3, 3), shape), constants=(0,), note="computed shape")
    for dtype in (np.int32, np.int64, np.int8, np.uint16, np.bool_):
        numbers = np.array([[3, 0, 1], [1, 1, 0], [4, 1, 5]]).astype(dtype)
        yield Example((rows, numbers, shape), constants=(0, 2), note=f"{dtype.__name__}")
    words, apart = np.array([[b"a", b"", b"c"], [b"d", b"e", b"f"]], object), np.array([[2], [0]], np.int32)
    without = {"tflite": "SCATTER_ND does not take string"}
    yield Example((apart, words, shape), constants=(0, 2), declines=without, note="texts")
    yield Example((apart, words, shape), constants=(2,), declines=without, note="texts, computed")
    yield Example((np.array([[2], [2]], np.int32), words, shape), constants=(0, 2), declines=without, note="texts of one place")
    elements = np.array([[1, 2], [0, 0]], np.int32)
    yield Example((elements, np.array([b"x", b"y"], object), shape), constants=(2,), declines=without, note="texts, elements")


# -- TensorScatterUpdate, Add, Sub, Max, Min -----------------------------------------------------------------------

_FOLDS = {"Add": np.add, "Sub": np.subtract, "Max": np.maximum, "Min": np.minimum}


def _kind(node: Node) -> str:
    return "Add" if node.op == "ScatterNdNonAliasingAdd" else node.op.removeprefix("TensorScatter")


def _evaluate_tensor_scatter(node: Node, tensor: Array, indices: Array, updates: Array) -> Array:
    """Of several updates of one place the last stays, as on TensorFlow's CPU."""
    result = tensor.copy()
    places = _places(indices, tensor.shape)
    if _kind(node) == "Update":
        for each in np.ndindex(*places[0].shape):
            result[tuple(int(place[each]) for place in places)] = updates[each]
    else:
        _FOLDS[_kind(node)].at(result, places, updates)
    return result


def _js_tensor_scatter(node: Node) -> list[JsNode]:
    tensor, indices, updates = node.inputs
    if tensor.dtype is DType.BOOL or indices.rank == 1:
        raise Declined("TensorFlow.js scatters numbers, and lists of updates")
    attrs = {"T": tensor.dtype, "Tindices": DType.INT32}
    return [JsNode(node.op, (tensor, narrow_constant(indices), updates), (node.output,), attrs)]


def _expand_tensor_scatter(graph: Graph, node: Node) -> bool:
    """Sums are scattered into zeros and added. Else the places are numbered through, and a segment reduction over the updates
    finds for each the largest update or, for an assignment, which update comes last."""
    tensor, indices, updates = node.inputs
    kind = _kind(node)
    depth = indices.shape[-1] if indices.shape else None
    if tensor.shape is None or updates.rank is None or indices.rank == 1:
        return False
    expansion = Expansion(graph, node)
    if kind in ("Add", "Sub"):
        shape = np.array(tensor.static_shape, np.int32) if tensor.static_shape is not None else None
        sizes = expansion.make("Shape", tensor, out_type=indices.dtype) if shape is None else shape.astype(indices.dtype.numpy)
        scattered = expansion.make("ScatterNd", indices, updates, sizes)
        return expansion.finish(expansion.make("AddV2" if kind == "Add" else "Sub", tensor, scattered))
    if not isinstance(depth, int) or not depth:
        return False
    inner = tensor.shape[depth:]
    if any(isinstance(dim, str) for dim in (*tensor.shape[1:depth], *inner)):
        return False
    places = _numbered(expansion, indices, tensor.shape[:depth])
    count = _product(expansion, tensor, depth)
    rows = expansion.make("Reshape", updates, np.array([-1, *inner], np.int32))
    flat = expansion.make("Reshape", tensor, np.array([-1, *inner], np.int32))
    if kind == "Update":
        result = _assigned(expansion, flat, places, count, rows)
    else:
        found = expansion.make(f"UnsortedSegment{kind}", rows, places, count)
        result = expansion.make("Maximum" if kind == "Max" else "Minimum", flat, found)
    static = tensor.static_shape
    final = expansion.make("Shape", tensor, out_type=DType.INT32) if static is None else np.array(static, np.int32)
    return expansion.finish(expansion.make("Reshape", result, final))


def _numbered(expansion: Expansion, indices: Value, outer: tuple[Dim, ...]) -> Value:
    """Each place as one number, counted row by row; int32."""
    strides = [math.prod(int(dim) for dim in outer[axis + 1 :]) for axis in range(len(outer))]
    narrow = expansion.make("Cast", indices, DstT=DType.INT32) if indices.dtype is not DType.INT32 else indices
    if len(outer) > 1:
        scaled = expansion.make("Mul", narrow, np.array(strides, np.int32))
        narrow = expansion.make("Sum", scaled, np.array([-1], np.int32))
    return expansion.make("Reshape", narrow, np.array([-1], np.int32))


def _product(expansion: Expansion, tensor: Value, depth: int) -> Value | Array:
    outer = (tensor.shape or ())[:depth]
    if all(isinstance(dim, int) for dim in outer):
        return np.array(math.prod(int(dim) for dim in outer), np.int32)
    sizes = expansion.make("Shape", tensor, out_type=DType.INT32)
    taken = expansion.make("GatherV2", sizes, np.arange(depth, dtype=np.int32), np.array(0, np.int32))
    return expansion.make("Prod", taken, np.array([0], np.int32))


def _assigned(expansion: Expansion, flat: Value, places: Value, count: Value | Array, rows: Value) -> Value:
    zero, one = np.array(0, np.int32), np.array(1, np.int32)
    amount = expansion.make("Size", places, out_type=DType.INT32)
    last = expansion.make("UnsortedSegmentMax", expansion.make("Range", zero, amount, one), places, count)
    taken = expansion.make("GatherV2", rows, expansion.make("Maximum", last, zero), zero)
    hit = expansion.make("GreaterEqual", last, zero)
    hit = expansion.make("Reshape", hit, np.array([-1, *[1] * ((flat.rank or 1) - 1)], np.int32))
    return expansion.make("SelectV2", hit, taken, flat)


def _tensor_scatter_examples() -> Iterator[Example]:
    twice = np.array([[2], [0], [2]], np.int32)
    yield Example((sample(4, 3), twice, sample(3, 3, seed=1)), constants=(1,), note="rows, one twice")
    yield Example((sample(4, 3), twice, sample(3, 3, seed=1)), note="computed")
    pairs = np.array([[[1, 2]], [[0, 0]], [[1, 2]]])
    yield Example((sample(4, 3), pairs, sample(3, 1, seed=1)), note="elements, 64-bit")
    yield Example((sample(2, 3, 2), pairs[:, 0], sample(3, 2, seed=1)), constants=(1,), note="inner rows")
    for dtype in (np.int32, np.int64, np.int8):
        numbers = np.array([5, -3, 2, 7]).astype(dtype)
        yield Example((numbers, twice, np.array([1, 9, -4]).astype(dtype)), constants=(1,), note=f"{dtype.__name__}")


def _update_examples() -> Iterator[Example]:
    yield from _tensor_scatter_examples()
    yield Example((np.array([True, False, True]), np.array([[0], [1]], np.int32), np.array([False, True])), {}, (1,), note="bool")


# -- InplaceUpdate and its kin -------------------------------------------------------------------------------------


def _evaluate_inplace(node: Node, x: Array, places: Array, rows: Array) -> Array:
    result = x.copy()
    for place, row in zip(places.reshape(-1), rows.reshape(-1, *x.shape[1:]), strict=True):
        change = {"Add": result[place] + row, "Sub": result[place] - row}
        result[place] = change.get(node.op.removeprefix("Inplace"), row)
    return result


def _expand_inplace(graph: Graph, node: Node) -> bool:
    expansion = Expansion(graph, node)
    places = expansion.make("Reshape", node.inputs[1], np.array([-1, 1], np.int32))
    op = node.op.replace("Inplace", "TensorScatter")
    return expansion.finish(expansion.make(op, node.inputs[0], places, node.inputs[2]))


def _inplace_examples() -> Iterator[Example]:
    yield Example((sample(4, 3), np.array([2, 0], np.int32), sample(2, 3, seed=1)), constants=(1,))
    yield Example((np.arange(4, dtype=np.int32), np.array([1, 3], np.int32), np.array([7, 9], np.int32)), note="computed, int32")


# -- SparseToDense -------------------------------------------------------------------------------------------------


def _infer_sparse(node: Node) -> list[Typed]:
    return [Typed(node.inputs[2].dtype, _shape_given(node.inputs[1]))]


def _evaluate_sparse(_node: Node, indices: Array, shape: Array, values: Array, default: Array) -> Array:
    result = np.full(tuple(int(each) for each in shape), default)
    rows = indices.reshape(-1, result.ndim) if indices.ndim < 2 else indices
    result[_places(rows, result.shape)] = values
    return result


_SPARSE_TO_DENSE = LiteKernel(
    "SPARSE_TO_DENSE", NUMBERS | {DType.INT8, DType.UINT8}, {DType.INT64: 2, DType.INT8: 3, DType.UINT8: 3}, data=2
)


def _lite_sparse(node: Node) -> list[LiteOp]:
    _SPARSE_TO_DENSE.check(node)
    indices, shape, values, default = node.inputs
    casts, places = lite_int32(indices)
    more, sizes = lite_int32(shape)
    record = LiteOp("SPARSE_TO_DENSE", (places, sizes, values, default), (node.output,), {}, _SPARSE_TO_DENSE.version(node))
    return [*casts, *more, record]


def _js_sparse(node: Node) -> list[JsNode]:
    indices, shape, values, default = node.inputs
    if values.dtype is DType.BOOL:
        raise Declined("TensorFlow.js makes no dense booleans")
    attrs = {"T": values.dtype, "Tindices": DType.INT32, "validate_indices": bool(node["validate_indices"])}
    operands = (narrow_constant(indices), narrow_constant(shape), values, default)
    return [JsNode("SparseToDense", operands, (node.output,), attrs)]


def _sparse_examples() -> Iterator[Example]:
    places, shape = np.array([[0, 1], [2, 2]], np.int32), np.array([3, 4], np.int32)
    zero = np.array(0, np.float32)
    yield Example((places, shape, sample(2), zero), constants=(0, 1, 3))
    yield Example((places.astype(np.int64), shape.astype(np.int64), sample(2), np.array(9, np.float32)), {}, (1, 3), note="default")
    yield Example(
        (np.array([1, 3], np.int32), np.array([5], np.int32), np.array(2, np.float32), zero), {}, (0, 1, 2, 3), note="one"
    )
    for dtype in (np.int32, np.int64, np.int8, np.bool_):
        values, default = np.array([1, 1]).astype(dtype), np.array(0).astype(dtype)
        yield Example((places, shape, values, default), constants=(0, 1, 3), note=f"{dtype.__name__}")


def _tensor_scatter(name: str) -> OpSpec:
    return OpSpec(
        name=name,
        attrs={"bad_indices_policy": ""} if name.startswith("Tensor") else {},
        infer=same_as_input,
        evaluate=_evaluate_tensor_scatter,
        to_tfjs=_js_tensor_scatter if name == "TensorScatterUpdate" else None,
        expand=_expand_tensor_scatter,
        wraps=name not in ("TensorScatterUpdate", "TensorScatterMax", "TensorScatterMin"),
        widens={DType.BOOL: DType.INT32} if name == "TensorScatterUpdate" else {},
        examples=_update_examples if name == "TensorScatterUpdate" else _tensor_scatter_examples,
    )


SPECS = (
    OpSpec(
        name="ScatterNd",
        attrs={"bad_indices_policy": ""},
        infer=_infer_scatter,
        evaluate=_evaluate_scatter,
        to_tflite=_lite_scatter,
        to_tfjs=_js_scatter,
        expand=expand_text_scatter,
        expands_for=("tfjs",),
        widens=WIDER_OR_BOOL,
        wraps=True,
        examples=_scatter_examples,
    ),
    *(_tensor_scatter(f"TensorScatter{kind}") for kind in ("Update", "Add", "Sub", "Max", "Min")),
    _tensor_scatter("ScatterNdNonAliasingAdd"),
    *(
        OpSpec(
            name=f"Inplace{kind}",
            infer=same_as_input,
            evaluate=_evaluate_inplace,
            expand=_expand_inplace,
            wraps=kind != "Update",
            examples=_inplace_examples,
        )
        for kind in ("Update", "Add", "Sub")
    ),
    OpSpec(
        name="SparseToDense",
        attrs={"validate_indices": True},
        infer=_infer_sparse,
        evaluate=_evaluate_sparse,
        to_tflite=_lite_sparse,
        to_tfjs=_js_sparse,
        widens={**WIDER_OR_BITS, DType.BOOL: DType.INT32},
        examples=_sparse_examples,
    ),
)
