"""Ops that join tensors along an axis of their own, or take them apart there: Pack, Unpack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Node, Shape, Typed, Value
from tensorferry.ops.dims import merge_dims, merge_shapes
from tensorferry.ops.index_operands import int32_scalar, int32_vector, refuse_bool_slices, require_dtype, require_rank
from tensorferry.ops.joining import known_rank
from tensorferry.ops.samples import sample
from tensorferry.ops.slicing import strided_slice_version
from tensorferry.ops.spec import WIDER_OR_BITS, Example, OpSpec, normalize_axis
from tensorferry.targets import JsNode, LiteOp, Ref, Temp
from tensorferry.tensor import Array, DType


def _infer_pack(node: Node) -> list[Typed]:
    shape: Shape = None
    for value in node.inputs:
        shape = merge_shapes(shape, value.shape)
    if shape is None:
        return [Typed(node.inputs[0].dtype, None)]
    axis = normalize_axis(int(node["axis"]), len(shape) + 1)
    content = tuple(_scalar_content(value) for value in node.inputs) if shape == () else None
    if content is not None and all(each == UNKNOWN_DIM for each in content):
        content = None
    return [Typed(node.inputs[0].dtype, (*shape[:axis], len(node.inputs), *shape[axis:]), content)]


def _scalar_content(value: Value) -> Dim:
    """What is known of one number; an unknown among known ones is no reason to forget these."""
    return value.content[0] if value.content is not None and len(value.content) == 1 else UNKNOWN_DIM


def _evaluate_pack(node: Node, *arrays: Array) -> Array:
    return np.stack(arrays, axis=normalize_axis(int(node["axis"]), arrays[0].ndim + 1))


_LITE_PACK: Mapping[DType, int] = {
    DType.FLOAT32: 1,
    DType.INT32: 1,
    DType.INT64: 1,
    DType.UINT8: 1,
    DType.INT8: 2,
    DType.INT16: 3,
    DType.UINT32: 4,
}


def _lite_pack(node: Node) -> list[LiteOp]:
    axis = normalize_axis(int(node["axis"]), known_rank(node.inputs[0]) + 1)
    if node.inputs[0].dtype is DType.BOOL:
        return _lite_pack_bool(node, axis)
    require_dtype(node.inputs[0], tuple(_LITE_PACK), "PACK")
    options = {"values_count": len(node.inputs), "axis": axis}
    return [LiteOp("PACK", tuple(node.inputs), (node.output,), options, _LITE_PACK[node.inputs[0].dtype])]


def _lite_pack_bool(node: Node, axis: int) -> list[LiteOp]:
    """PACK has no kernel for bool; EXPAND_DIMS and CONCATENATION have."""
    operators: list[LiteOp] = []
    pieces: list[Ref] = []
    for value in node.inputs:
        assert value.shape is not None
        piece = Temp("expanded", value.dtype, (*value.shape[:axis], 1, *value.shape[axis:]))
        operators.append(LiteOp("EXPAND_DIMS", (value, int32_scalar(axis)), (piece,)))
        pieces.append(piece)
    options = {"axis": axis, "fused_activation_function": "NONE"}
    return [*operators, LiteOp("CONCATENATION", tuple(pieces), (node.output,), options)]


def _js_pack(node: Node) -> list[JsNode]:
    # TensorFlow.js brings the others to the shape of the first, which agrees with TensorFlow where shapes are equal.
    attrs = {"N": len(node.inputs), "axis": int(node["axis"]), "T": node.inputs[0].dtype}
    return [JsNode("Pack", tuple(node.inputs), (node.output,), attrs)]


def _pack_examples() -> Iterator[Example]:
    x, y = sample(2, 3), sample(2, 3, seed=1)
    for axis in (0, 1, 2, -1):
        yield Example((x, y), {"axis": axis}, note=f"axis {axis}")
    yield Example((np.array(2, np.int32), np.array(-1, np.int32), np.array(4, np.int32)), constants=(1,), note="scalars")
    yield Example((x, y, x), {"axis": 1}, constants=(1,), note="with a constant")
    yield Example((np.arange(3), np.arange(3)), note="int64")
    yield Example((x > 0, y > 0), {"axis": 1}, note="bool")
    for dtype in (np.int8, np.uint8, np.int16, np.uint16, np.uint32):
        row = np.arange(3, dtype=dtype)
        yield Example((row, row[::-1].copy()), {"axis": 1}, note=np.dtype(dtype).name)
    words = np.array([b"a", b"bc"], object)
    yield Example((words, words), note="string", declines={"tflite": "string"})
    yield Example((sample(1, 2, 1, 2, 2), sample(1, 2, 1, 2, 2, seed=1)), {"axis": 3}, note="rank 6")
    yield Example((np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32)), {"axis": 1}, note="empty")
    yield Example((x,), note="one")


def _infer_unpack(node: Node) -> list[Typed]:
    value, count = node.inputs[0], int(node["num"])
    if value.shape is None:
        return [Typed(value.dtype, None)] * count
    axis = normalize_axis(int(node["axis"]), len(value.shape))
    merge_dims(value.shape[axis], count)
    shape = (*value.shape[:axis], *value.shape[axis + 1 :])
    contents = [None] * count if value.content is None or shape else [(each,) for each in value.content]
    return [Typed(value.dtype, shape, content) for content in contents]


def _evaluate_unpack(node: Node, array: Array) -> tuple[Array, ...]:
    axis = normalize_axis(int(node["axis"]), array.ndim)
    merge_dims(array.shape[axis], int(node["num"]))
    return tuple(np.moveaxis(array, axis, 0))


_LITE_UNPACK: Mapping[DType, int] = {
    DType.FLOAT32: 1,
    DType.INT32: 1,
    DType.UINT8: 2,
    DType.INT8: 2,
    DType.BOOL: 3,
    DType.INT16: 4,
}


def _lite_unpack(node: Node) -> list[LiteOp]:
    value = node.inputs[0]
    axis = normalize_axis(int(node["axis"]), known_rank(value))
    if value.dtype not in _LITE_UNPACK or 0 in (value.shape or ()):
        return [_lite_pick(node, axis, place) for place in range(len(node.outputs))]
    options = {"num": int(node["num"]), "axis": axis}
    return [LiteOp("UNPACK", (value,), tuple(node.outputs), options, _LITE_UNPACK[value.dtype])]


def _lite_pick(node: Node, axis: int, place: int) -> LiteOp:
    """One output of an Unpack as a slice, which takes every element type."""
    value = node.inputs[0]
    rank = require_rank(value, 8, "STRIDED_SLICE")
    others = (1 << rank) - 1 & ~(1 << axis)
    at = [place if each == axis else 0 for each in range(rank)]
    operands = (int32_vector(at), int32_vector([each + 1 for each in at]), int32_vector([1] * rank))
    masks = {"begin_mask": others, "end_mask": others, "ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 1 << axis}
    version = strided_slice_version(value.dtype, rank)
    return LiteOp("STRIDED_SLICE", (value, *operands), (node.outputs[place],), masks, version)


def _js_unpack(node: Node) -> list[JsNode]:
    value = node.inputs[0]
    refuse_bool_slices(value)
    attrs = {"num": int(node["num"]), "axis": int(node["axis"]), "T": value.dtype}
    return [JsNode("Unpack", (value,), tuple(node.outputs), attrs)]


def _unpack_examples() -> Iterator[Example]:
    yield Example((sample(2, 3),), {"num": 2})
    yield Example((sample(2, 3, 4),), {"num": 3, "axis": 1}, note="middle")
    yield Example((sample(2, 3),), {"num": 3, "axis": -1}, note="last")
    yield Example((np.arange(3, dtype=np.int32),), {"num": 3}, note="to scalars")
    yield Example((sample(2, 3) > 0,), {"num": 2}, note="bool")
    yield Example((np.arange(6).reshape(2, 3),), {"num": 3, "axis": 1}, note="int64")
    for dtype in (np.int8, np.uint8, np.int16, np.uint16, np.uint32):
        yield Example((np.arange(4, dtype=dtype).reshape(2, 2),), {"num": 2, "axis": 1}, note=np.dtype(dtype).name)
    yield Example((np.array([[b"a", b"bc"], [b"", b"d"]], object),), {"num": 2, "axis": 1}, note="string")
    yield Example((sample(1, 2, 1, 2, 3, 2),), {"num": 3, "axis": 4}, note="rank 6")
    yield Example((sample(2, 1, 3, 2) > 0,), {"num": 3, "axis": 2}, note="bool, rank 4")
    yield Example((np.zeros((2, 0), np.float32),), {"num": 2}, note="empty")


SPECS = (
    OpSpec(
        name="Pack",
        attrs={"axis": 0},
        infer=_infer_pack,
        evaluate=_evaluate_pack,
        to_tflite=_lite_pack,
        to_tfjs=_js_pack,
        widens=WIDER_OR_BITS,
        examples=_pack_examples,
    ),
    OpSpec(
        name="Unpack",
        attrs={"num": 1, "axis": 0},
        infer=_infer_unpack,
        evaluate=_evaluate_unpack,
        to_tflite=_lite_unpack,
        to_tfjs=_js_unpack,
        widens={DType.BOOL: DType.INT32},
        examples=_unpack_examples,
    ),
)
