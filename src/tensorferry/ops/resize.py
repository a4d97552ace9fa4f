"""Images made larger or smaller: ResizeBilinear and ResizeNearestNeighbor, with TensorFlow's three ways to place the samples.

Positions are computed in float32, as TensorFlow does: near a whole number the rounding decides which pixel is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.sliding import whole
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.targets import JsNode, LiteOp, Ref, Temp
from tensorferry.tensor import Array, ArrayTensor, DType

_LITE_NEAREST_TYPES = (DType.FLOAT32, DType.UINT8, DType.INT8)


def _flags(node: Node) -> tuple[bool, bool]:
    align, half = bool(node["align_corners"]), bool(node["half_pixel_centers"])
    if align and half:
        raise Declined(
            "align_corners and half_pixel_centers exclude each other", attributes="align_corners=half_pixel_centers=True"
        )
    return align, half


def _output_dims(node: Node) -> tuple[Dim, Dim, Dim, Dim]:
    value, size = node.inputs
    if value.rank not in (None, 4):
        raise Declined(f"its input has rank {value.rank}, not 4")
    batch, _, _, channels = value.shape or (UNKNOWN_DIM,) * 4
    content = size.content or (UNKNOWN_DIM, UNKNOWN_DIM)
    if len(content) != 2 or any(isinstance(each, int) and each < 1 for each in content):
        raise Declined("its size must be two numbers above 0", attributes=f"size={list(content)}")
    return batch, content[0], content[1], channels


def _infer_bilinear(node: Node) -> list[Typed]:
    _flags(node)
    return [Typed(DType.FLOAT32, _output_dims(node))]


def _infer_nearest(node: Node) -> list[Typed]:
    _flags(node)
    return [Typed(node.inputs[0].dtype, _output_dims(node))]


# -- evaluation ----------------------------------------------------------------------------------------------------


def _positions(node: Node, before: int, after: int, real: type[np.floating]) -> Array:
    """Where on the old axis each new element lies, half pixels not yet taken off again."""
    align, half = _flags(node)
    scale = real(before - 1) / real(after - 1) if align and after > 1 else real(before) / real(after)
    steps = np.arange(after).astype(real)
    positions: Array = (steps + real(0.5)) * scale if half else steps * scale
    return positions


def _nearest(node: Node, before: int, after: int, real: type[np.floating] = np.float32) -> Array:
    """The old element that each new one takes. Halves are rounded up."""
    positions = _positions(node, before, after, real)
    whole = np.floor(positions)
    if node["align_corners"]:
        whole += positions - whole >= 0.5
    return np.clip(whole.astype(np.int64), 0, before - 1)


def _evaluate_nearest(node: Node, array: Array, size: Array) -> Array:
    rows, columns = (
        _nearest(node, before, int(after)) for before, after in zip(array.shape[1:3], _checked(array, size), strict=True)
    )
    return array.take(rows, axis=1).take(columns, axis=2)


def _checked(array: Array, size: Array) -> tuple[int, int]:
    if array.ndim != 4 or size.shape != (2,) or size.min() < 1 or 0 in array.shape[1:3]:
        raise Declined("it takes an image of rank 4 and a size of two numbers above 0", attributes=f"size={size.tolist()}")
    return int(size[0]), int(size[1])


def _evaluate_bilinear(node: Node, array: Array, size: Array) -> Array:
    rows, columns = _checked(array, size)
    return _interpolate(node, _interpolate(node, array.astype(np.float32, copy=False), 2, columns), 1, rows)


def _interpolate(node: Node, array: Array, axis: int, after: int) -> Array:
    before = array.shape[axis]
    positions = _positions(node, before, after, np.float32)
    if node["half_pixel_centers"]:
        positions = positions - np.float32(0.5)
    floor = np.floor(positions)
    lower = np.maximum(floor.astype(np.int64), 0)
    upper = np.minimum(np.ceil(positions).astype(np.int64), before - 1)
    weight = (positions - floor).reshape([-1 if each == axis else 1 for each in range(4)])
    low = array.take(lower, axis=axis)
    result: Array = array.take(upper, axis=axis)
    result -= low
    result *= weight
    result += low
    return result


# -- lowering ------------------------------------------------------------------------------------------------------


def _lite_size(node: Node) -> Ref:
    size = node.inputs[1]
    if size.dtype is not DType.INT32:
        raise Declined("TFLite takes the size in int32", attributes=f"size={size.dtype}")
    return size


def _lite_resize(node: Node) -> Sequence[LiteOp]:
    align, half = _flags(node)
    options = {"align_corners": align, "half_pixel_centers": half}
    value = node.inputs[0]
    if node.op == "ResizeNearestNeighbor":
        if value.dtype not in _LITE_NEAREST_TYPES:
            raise Declined("TFLite does not resize elements of this type", attributes=f"T={value.dtype}")
        return [
            LiteOp("RESIZE_NEAREST_NEIGHBOR", (value, _lite_size(node)), tuple(node.outputs), options, 3 if half or align else 1)
        ]
    source: Ref = value
    before: list[LiteOp] = []
    if value.dtype is not DType.FLOAT32:
        source = Temp("float", DType.FLOAT32, value.shape)
        before = [LiteOp("CAST", (value,), (source,), {"in_data_type": value.dtype.upper(), "out_data_type": "FLOAT32"})]
    return [*before, LiteOp("RESIZE_BILINEAR", (source, _lite_size(node)), tuple(node.outputs), options, 3 if half else 1)]


def _js_resize(node: Node) -> Sequence[JsNode]:
    align, half = _flags(node)
    value, output = node.inputs[0], node.output
    if node.op == "ResizeNearestNeighbor":
        if value.dtype is not DType.FLOAT32:
            raise Declined("TensorFlow.js makes float32 of it in WebAssembly", attributes=f"T={value.dtype}")
        indices = _differing_indices(node)
        if indices is not None:
            return _js_gathered(node, *indices)
    attrs = {"T": value.dtype, "align_corners": align, "half_pixel_centers": half}
    return [JsNode(node.op, tuple(node.inputs), (output,), attrs)]


def _differing_indices(node: Node) -> tuple[Array, Array] | None:
    """Rows and columns to take, when TensorFlow.js, which computes in float64, would take others."""
    before, after = node.inputs[0].shape, node.output.shape
    if before is None or after is None:
        return None
    sides = [(old, new) for old, new in zip(before[1:3], after[1:3], strict=True) if isinstance(old, int) and isinstance(new, int)]
    if len(sides) < 2:
        return None
    rows, columns = (_nearest(node, *side) for side in sides)
    others = [_nearest(node, *side, np.float64) for side in sides]
    return None if np.array_equal(rows, others[0]) and np.array_equal(columns, others[1]) else (rows, columns)


def _js_gathered(node: Node, rows: Array, columns: Array) -> Sequence[JsNode]:
    value, output = node.inputs[0], node.output
    assert value.shape is not None
    tall = Temp("rows", value.dtype, (value.shape[0], len(rows), *value.shape[2:]))
    attrs = {"Tparams": value.dtype, "Tindices": DType.INT32, "Taxis": DType.INT32, "batch_dims": 0}
    steps: list[tuple[Ref, Array, int, Ref]] = [(value, rows, 1, tall), (tall, columns, 2, output)]
    return [
        JsNode(
            "GatherV2",
            (source, ArrayTensor(taken.astype(np.int32)), ArrayTensor(np.asarray(axis, np.int32))),
            (result,),
            attrs,
        )
        for source, taken, axis, result in steps
    ]


def _expand_nearest(graph: Graph, node: Node) -> bool:
    """Element types that the operator does not take: the rows and columns are gathered."""
    before, after = node.inputs[0].shape, node.output.shape
    sides = None if before is None or after is None else whole((*before[1:3], *after[1:3]))
    if sides is None:
        return False
    parts = Expansion(graph, node)
    value = source = node.inputs[0]
    if source.dtype is DType.UINT16:  # no target gathers them
        value = parts.make("Cast", value, DstT=DType.INT32)
    for axis in (1, 2):
        taken = _nearest(node, sides[axis - 1], sides[axis + 1])
        value = parts.make("GatherV2", value, taken.astype(np.int32), np.int32(axis))
    return parts.finish(value if value.dtype is source.dtype else parts.make("Cast", value, DstT=source.dtype))


# -- examples ------------------------------------------------------------------------------------------------------

_WAYS: tuple[tuple[dict[str, bool], str], ...] = (
    ({}, "legacy"),
    ({"align_corners": True}, "corners aligned"),
    ({"half_pixel_centers": True}, "half pixels"),
)
_SIZES = (((4, 5), (8, 10)), ((4, 5), (7, 13)), ((9, 11), (4, 5)), ((5, 4), (1, 1)), ((1, 1), (3, 4)), ((3, 10), (9, 7)))


def _examples() -> Iterator[Example]:
    for attrs, way in _WAYS:
        for before, after in _SIZES:
            note = f"{before[0]}x{before[1]} to {after[0]}x{after[1]}, {way}"
            yield Example((sample(2, *before, 3), np.asarray(after, np.int32)), attrs, (1,), note=note)


def _bilinear_examples() -> Iterator[Example]:
    yield from _examples()
    bytes_in = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(1, 2, 3, 4)
    yield Example((bytes_in, np.asarray([5, 4], np.int32)), {"half_pixel_centers": True}, (1,), note="bytes")
    yield Example((bytes_in.astype(np.int64), np.asarray([5, 4], np.int32)), {}, (1,), note="int64")
    yield Example((sample(1, 5, 4, 2), np.asarray([7, 3], np.int32)), {"align_corners": True}, note="computed size")


def _nearest_examples() -> Iterator[Example]:
    yield from _examples()
    for attrs, way in _WAYS:
        yield Example((sample(1, 37, 29, 1), np.asarray([61, 53], np.int32)), attrs, (1,), note=f"many positions, {way}")
    for dtype in (np.int32, np.int64, np.int16, np.uint16, np.uint8, np.int8):
        numbers = np.arange(24).astype(dtype).reshape(1, 2, 4, 3)
        yield Example((numbers, np.asarray([5, 3], np.int32)), {}, (1,), note=np.dtype(dtype).name)
    yield Example((sample(1, 5, 4, 2), np.asarray([7, 3], np.int32)), {"half_pixel_centers": True}, note="computed size")


_RESIZE_ATTRS = {"align_corners": False, "half_pixel_centers": False, "T": DType.FLOAT32}

SPECS = (
    OpSpec(
        name="ResizeBilinear",
        attrs=_RESIZE_ATTRS,
        infer=_infer_bilinear,
        evaluate=_evaluate_bilinear,
        to_tflite=_lite_resize,
        to_tfjs=_js_resize,
        examples=_bilinear_examples,
    ),
    OpSpec(
        name="ResizeNearestNeighbor",
        attrs=_RESIZE_ATTRS,
        infer=_infer_nearest,
        evaluate=_evaluate_nearest,
        to_tflite=_lite_resize,
        to_tfjs=_js_resize,
        expand=_expand_nearest,
        examples=_nearest_examples,
    ),
)
