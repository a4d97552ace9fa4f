"""Ops that make a tensor from a shape and little else: Fill, Range, Tile, BroadcastTo, ZerosLike, OnesLike."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Node, Shape, Typed, Value
from tensorferry.ops.dims import length_of, multiply_dims, unknown_dims
from tensorferry.ops.index_operands import int32_vector, narrow_constant, refuse_in_tfjs, require_dtype, require_rank
from tensorferry.ops.samples import sample
from tensorferry.ops.shape import CONTENT_LIMIT
from tensorferry.ops.spec import Declined, Example, OpSpec, broadcast_shapes
from tensorferry.targets import JsNode, LiteOp, Ref, Temp
from tensorferry.tensor import Array, ArrayTensor, DType


def shape_operand(value: Value) -> Shape:
    """The shape that a vector of sizes describes; unknown sizes where it is computed."""
    if value.content is None:
        return unknown_dims(length_of(value))
    if any(isinstance(dim, int) and dim < 0 for dim in value.content):
        raise Declined(f"{list(value.content)} is no shape: a size is negative")
    return value.content


def _short_vector(shape: Shape) -> int | None:
    """How many elements there are to follow: of a scalar or a vector of known, small size."""
    if shape is None or len(shape) > 1 or any(isinstance(dim, str) for dim in shape):
        return None
    count = math.prod(int(dim) for dim in shape)
    return count if count <= CONTENT_LIMIT else None


def _repeated(element: Dim, shape: Shape) -> tuple[Dim, ...] | None:
    count = _short_vector(shape)
    return None if count is None else (element,) * count


# -- Fill, ZerosLike, OnesLike -------------------------------------------------------------------------------------


def _infer_fill(node: Node) -> list[Typed]:
    sizes, element = node.inputs
    shape = shape_operand(sizes)
    content = None if element.content is None else _repeated(element.content[0], shape)
    return [Typed(element.dtype, shape, content)]


def _evaluate_fill(_node: Node, sizes: Array, element: Array) -> Array:
    if sizes.size and int(sizes.min()) < 0:
        raise Declined(f"it is to make {sizes.tolist()} elements", attributes="a size below zero")
    return np.full([int(size) for size in sizes], element.reshape(-1)[0], element.dtype)


_LITE_FILL = {
    DType.FLOAT32: 1,
    DType.INT32: 1,
    DType.INT64: 1,
    DType.BOOL: 2,
    DType.STRING: 2,
    DType.INT8: 3,
    DType.INT16: 3,
    **dict.fromkeys((DType.FLOAT16, DType.UINT8, DType.UINT16, DType.UINT32, DType.UINT64, DType.COMPLEX64), 4),
}
"""The newest version where a type is looked at by its size only, which came without a version of its own."""


def _lite_fill(node: Node) -> list[LiteOp]:
    sizes, element = node.inputs
    require_dtype(element, tuple(_LITE_FILL), "FILL")
    return [LiteOp("FILL", (narrow_constant(sizes), element), (node.output,), {}, _LITE_FILL[element.dtype])]


def _js_fill(node: Node) -> list[JsNode]:
    sizes, element = node.inputs
    attrs = {"T": element.dtype, "index_type": DType.INT32}
    return [JsNode("Fill", (narrow_constant(sizes), element), (node.output,), attrs)]


def _fill_examples() -> Iterator[Example]:
    yield Example((np.array([2, 3], np.int32), np.array(1.5, np.float32)), constants=(0,))
    yield Example((np.array([2, 3]), np.array(7, np.int32)), note="computed 64-bit sizes")
    yield Example((np.array([3], np.int32), np.array(True)), constants=(0,), note="bool")
    yield Example((np.array([4], np.int32), np.array(9)), constants=(0, 1), note="all constant")
    yield Example((np.array([], np.int32), np.array(2.5, np.float32)), constants=(0,), note="scalar")
    sizes = np.array([2, 2], np.int32)
    for dtype in (np.int8, np.uint8, np.int16, np.uint16, np.uint32, np.float16):
        yield Example((sizes, np.array(3, dtype)), constants=(0,), note=np.dtype(dtype).name)
    yield Example((sizes, np.array(b"bc", object)), constants=(1,), note="string, computed sizes")
    yield Example((np.array([2, 0], np.int32), np.array(1, np.float32)), constants=(0,), note="empty")


def _infer_like(node: Node) -> list[Typed]:
    value = node.inputs[0]
    is_index = value.dtype in (DType.INT32, DType.INT64)
    return [Typed(value.dtype, value.shape, _repeated(int(node.op == "OnesLike"), value.shape) if is_index else None)]


def _element_of(node: Node) -> Array:
    dtype = node.inputs[0].dtype
    if dtype is DType.STRING:
        return np.asarray(b"", object)
    one = 0x3F80 if dtype is DType.BFLOAT16 else 1  # stored as raw bits
    return np.asarray(one if node.op == "OnesLike" else 0, dtype.numpy)


def _evaluate_like(node: Node, array: Array) -> Array:
    return np.full(array.shape, _element_of(node)[()], array.dtype)


def _lite_like(node: Node) -> list[LiteOp]:
    value = node.inputs[0]
    if node.op == "ZerosLike" and value.dtype in (DType.FLOAT32, DType.INT32, DType.INT64):
        return [LiteOp("ZEROS_LIKE", (value,), (node.output,))]
    require_dtype(value, tuple(_LITE_FILL), "FILL")
    element = ArrayTensor(_element_of(node), value.dtype)
    version = _LITE_FILL[value.dtype]
    if value.static_shape is not None:
        sizes = ArrayTensor(np.asarray(value.static_shape, np.int32))
        return [LiteOp("FILL", (sizes, element), (node.output,), {}, version)]
    taken = Temp("shape", DType.INT32, (UNKNOWN_DIM if value.rank is None else value.rank,))
    return [
        LiteOp("SHAPE", (value,), (taken,), {"out_type": "INT32"}),
        LiteOp("FILL", (taken, element), (node.output,), {}, version),
    ]


def _js_like(node: Node) -> list[JsNode]:
    value = node.inputs[0]
    refuse_in_tfjs(value, "clear", DType.STRING)
    return [JsNode(node.op, (value,), (node.output,), {"T": value.dtype})]


def _like_examples() -> Iterator[Example]:
    yield Example((sample(2, 3),))
    yield Example((np.arange(3, dtype=np.int32),), note="int32")
    yield Example((np.array([[True, False]]),), note="bool")
    yield Example((np.array(5),), note="int64 scalar")
    for dtype in (np.int8, np.uint8, np.int16, np.uint16, np.uint32):
        yield Example((np.arange(3, dtype=dtype),), note=np.dtype(dtype).name)


# -- Range ---------------------------------------------------------------------------------------------------------


def _infer_range(node: Node) -> list[Typed]:
    dtype = node.inputs[0].dtype
    numbers = [_number(value) for value in node.inputs]
    start, limit, step = numbers
    if any(number is None for number in numbers) and (start, step) == (0, 1) and node.inputs[1].content is not None:
        return [Typed(dtype, node.inputs[1].content)]  # as many as the limit says, by name
    if start is None or limit is None or step is None:
        return [Typed(dtype, (UNKNOWN_DIM,))]
    count = _range_count(start, limit, step)
    followed = count <= CONTENT_LIMIT and dtype in (DType.INT32, DType.INT64)
    content = tuple(int(start) + index * int(step) for index in range(count)) if followed else None
    return [Typed(dtype, (count,), content)]


def _number(value: Value) -> int | float | None:
    if value.content is not None and len(value.content) == 1:
        return value.content[0] if isinstance(value.content[0], int) else None
    if value.constant is None or value.constant.size != 1:
        return None
    number: int | float = value.constant.array().reshape(-1)[0].item()
    return number


def _range_count(start: float, limit: float, step: float) -> int:
    if step == 0 or not all(math.isfinite(each) for each in (start, limit, step)):
        raise Declined(f"a range in steps of {step} has no end")
    if (limit - start) * step < 0:
        raise Declined(f"steps of {step} do not lead from {start} to {limit}")
    if all(isinstance(each, int) for each in (start, limit, step)):
        return len(range(int(start), int(limit), int(step)))
    return math.ceil(abs((limit - start) / step))


def _evaluate_range(_node: Node, start: Array, limit: Array, step: Array) -> Array:
    first, last, by = (each.reshape(-1)[0] for each in (start, limit, step))
    count = _range_count(first.item(), last.item(), by.item())
    if start.dtype.kind != "f":
        return np.asarray(first + np.arange(count, dtype=start.dtype) * by)
    steps = np.full(count, by, start.dtype)  # added up one by one, with the rounding that brings
    steps[:1] = first
    added: Array = np.add.accumulate(steps, dtype=start.dtype)
    return added


def _lite_range(node: Node) -> list[LiteOp]:
    require_dtype(node.inputs[0], (DType.FLOAT32, DType.INT32, DType.INT64), "RANGE")
    version = 2 if node.inputs[0].dtype is DType.INT64 else 1
    return [LiteOp("RANGE", tuple(node.inputs), (node.output,), {}, version)]


def _js_range(node: Node) -> list[JsNode]:
    return [JsNode("Range", tuple(map(narrow_constant, node.inputs)), (node.output,), {"Tidx": node.inputs[0].dtype})]


def _range_examples() -> Iterator[Example]:
    def scalars(*numbers: float, dtype: type[np.generic] = np.int32) -> tuple[Array, ...]:
        return tuple(np.array(number, dtype) for number in numbers)

    yield Example(scalars(0, 5, 1), constants=(0, 2))
    yield Example(scalars(7, -2, -3), constants=(0, 1, 2), note="downwards")
    yield Example(scalars(1, 12, 4, dtype=np.int64), note="int64")
    yield Example(scalars(0, 1, 0.1, dtype=np.float32), constants=(0, 1, 2), note="float")
    yield Example(scalars(3, 3, 1), constants=(0, 1, 2), note="empty")


# -- Tile and BroadcastTo ------------------------------------------------------------------------------------------


def _infer_tile(node: Node) -> list[Typed]:
    value, multiples = node.inputs
    times = shape_operand(multiples)
    if value.shape is None or times is None:
        return [Typed(value.dtype, unknown_dims(value.rank if times is None else len(times)))]
    if len(times) != len(value.shape):
        raise Declined(f"{len(times)} multiples are given for {len(value.shape)} axes")
    shape = tuple(multiply_dims(pair) for pair in zip(value.shape, times, strict=True))
    content = None
    if value.content is not None and _short_vector(shape) is not None:
        content = value.content * (int(times[0]) if times else 1)
    return [Typed(value.dtype, shape, content)]


def _evaluate_tile(_node: Node, array: Array, multiples: Array) -> Array:
    return np.tile(array, [int(times) for times in multiples]) if array.ndim else array


def _lite_tile(node: Node) -> list[LiteOp]:
    value, multiples = node.inputs
    require_rank(value, 8, "TILE")
    plain = (DType.FLOAT32, DType.INT32, DType.INT64, DType.UINT8, DType.BOOL)
    version = 2 if value.dtype is DType.STRING else 1 if value.dtype in plain else 3
    return [LiteOp("TILE", (value, narrow_constant(multiples)), (node.output,), {}, version)]


def _js_tile(node: Node) -> list[JsNode]:
    value, multiples = node.inputs
    attrs = {"T": value.dtype, "Tmultiples": DType.INT32}
    return [JsNode("Tile", (value, narrow_constant(multiples)), (node.output,), attrs)]


def _tile_examples() -> Iterator[Example]:
    yield Example((sample(2, 3), np.array([2, 1], np.int32)), constants=(1,))
    yield Example((sample(1, 2, 3), np.array([2, 2, 3])), constants=(1,), note="64-bit")
    yield Example((np.arange(3, dtype=np.int32), np.array([3], np.int32)), note="computed")
    yield Example((np.array([[True], [False]]), np.array([1, 4], np.int32)), constants=(1,), note="bool")
    yield Example((sample(2, 1, 1, 2, 1), np.array([1, 2, 1, 1, 3], np.int32)), constants=(1,), note="rank 5")
    yield Example((sample(2, 1, 1, 2, 1, 2), np.array([1, 2, 1, 1, 3, 2], np.int32)), constants=(1,), note="rank 6")
    twice = np.array([2, 1], np.int32)
    for dtype in (np.int8, np.uint8, np.int16, np.int64, np.float16):
        yield Example((np.arange(4).reshape(2, 2).astype(dtype), twice), constants=(1,), note=np.dtype(dtype).name)
    yield Example((np.array([[b"a", b"bc"]], object), twice), constants=(1,), note="string")
    yield Example((sample(2, 3), np.array([0, 1], np.int32)), constants=(1,), note="empty")
    yield Example((sample(2, 3), np.array([2, 1])), note="computed, 64-bit")
    yield Example((sample(), np.array([], np.int32)), constants=(1,), note="scalar")


def _infer_broadcast_to(node: Node) -> list[Typed]:
    value, sizes = node.inputs
    shape = shape_operand(sizes)
    if shape is not None and value.shape is not None:
        if len(value.shape) > len(shape):
            raise Declined(f"a tensor of {len(value.shape)} axes does not broadcast to {len(shape)}")
        shape = _agreed(shape, broadcast_shapes(value.shape, shape))
    content = value.content * (_short_vector(shape) or 0) if value.content is not None and len(value.content) == 1 else None
    return [Typed(value.dtype, shape, content if _short_vector(shape) is not None else None)]


def _agreed(asked: Sequence[Dim], broadcast: Shape) -> Shape:
    """The sizes asked for; where one of them is not known, what the input says of it."""
    assert broadcast is not None
    for one, other in zip(asked, broadcast, strict=True):
        if isinstance(one, int) and isinstance(other, int) and one != other:
            raise Declined(f"an axis of size {other} does not broadcast to {one}")
    return tuple(other if one == UNKNOWN_DIM and other != 1 else one for one, other in zip(asked, broadcast, strict=True))


def _evaluate_broadcast_to(_node: Node, array: Array, sizes: Array) -> Array:
    return np.broadcast_to(array, [int(size) for size in sizes])


def _lite_broadcast_to(node: Node) -> list[LiteOp]:
    value, sizes = node.inputs
    require_rank(value, 8, "BROADCAST_TO")
    if value.dtype is DType.STRING:
        raise Declined("BROADCAST_TO takes no string tensor")
    plain = (DType.FLOAT32, DType.INT32, DType.INT64, DType.UINT8, DType.BOOL)
    version = 2 if value.dtype in plain else 3
    return [LiteOp("BROADCAST_TO", (value, narrow_constant(sizes)), (node.output,), {}, version)]


def _js_broadcast_to(node: Node) -> list[JsNode]:
    value, sizes = node.inputs
    refuse_in_tfjs(value, "broadcast", DType.STRING)
    shape = node.output.static_shape
    if shape is not None and 0 in shape:  # an axis of size 1 would stay one
        nothing = ArrayTensor(np.zeros((), value.dtype.numpy), value.dtype)
        return [JsNode("Fill", (int32_vector(shape), nothing), (node.output,), {"T": value.dtype, "index_type": DType.INT32})]
    operands: tuple[Ref, ...] = (value, narrow_constant(sizes))
    return [JsNode("BroadcastTo", operands, (node.output,), {"T": value.dtype, "Tidx": DType.INT32})]


def _broadcast_to_examples() -> Iterator[Example]:
    yield Example((sample(3, 1), np.array([2, 3, 4], np.int32)), constants=(1,))
    yield Example((sample(), np.array([2, 2])), constants=(1,), note="scalar, 64-bit")
    yield Example((np.arange(3, dtype=np.int32), np.array([2, 3], np.int32)), note="computed sizes")
    yield Example((np.array([True, False]), np.array([3, 2], np.int32)), constants=(1,), note="bool")
    for dtype in (np.int8, np.uint8, np.int16, np.uint16, np.uint32, np.int64):
        yield Example((np.arange(2, dtype=dtype), np.array([3, 2], np.int32)), constants=(1,), note=np.dtype(dtype).name)
    yield Example((np.array([b"a", b"bc"], object), np.array([2, 2], np.int32)), constants=(1,), note="string")
    yield Example((sample(2, 1, 2, 1, 1, 3), np.array([2, 3, 2, 1, 2, 3], np.int32)), constants=(1,), note="rank 6")
    yield Example((sample(1, 3), np.array([0, 3], np.int32)), constants=(1,), note="empty")


SPECS = (
    OpSpec(
        name="Fill", infer=_infer_fill, evaluate=_evaluate_fill, to_tflite=_lite_fill, to_tfjs=_js_fill, examples=_fill_examples
    ),
    OpSpec(
        name="ZerosLike",
        infer=_infer_like,
        evaluate=_evaluate_like,
        to_tflite=_lite_like,
        to_tfjs=_js_like,
        examples=_like_examples,
    ),
    OpSpec(
        name="OnesLike",
        infer=_infer_like,
        evaluate=_evaluate_like,
        to_tflite=_lite_like,
        to_tfjs=_js_like,
        examples=_like_examples,
    ),
    OpSpec(
        name="Range",
        infer=_infer_range,
        evaluate=_evaluate_range,
        to_tflite=_lite_range,
        to_tfjs=_js_range,
        examples=_range_examples,
    ),
    OpSpec(
        name="Tile", infer=_infer_tile, evaluate=_evaluate_tile, to_tflite=_lite_tile, to_tfjs=_js_tile, examples=_tile_examples
    ),
    OpSpec(
        name="BroadcastTo",
        infer=_infer_broadcast_to,
        evaluate=_evaluate_broadcast_to,
        to_tflite=_lite_broadcast_to,
        to_tfjs=_js_broadcast_to,
        moves=0,
        examples=_broadcast_to_examples,
    ),
)
