"""Ops that see a tensor's shape or give it another: Reshape, Squeeze, ExpandDims, Transpose, Shape, Size, Rank."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Node, Shape, Typed, Value
from tensorferry.ops.dims import known_integer, known_integers, length_of, multiply_dims, resolve_reshape, unknown_dims
from tensorferry.ops.index_operands import int32_scalar, int32_vector, lite_int32, narrow_constant, refuse_in_tfjs, require_rank
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec, dims_for_target, lite, normalize_axis
from tensorferry.ops.structure import lite_copy
from tensorferry.targets import JsNode, LiteOp, Ref, Temp
from tensorferry.tensor import Array, ArrayTensor, DType

CONTENT_LIMIT = 64
"""Longest vector whose elements are followed."""


def reordered(value: Value, shape: Shape) -> Typed:
    """The same elements in the same order under another shape; content goes along where it can."""
    followed = value.content is not None and shape is not None and len(shape) <= 1
    return Typed(value.dtype, shape, value.content if followed else None)


# -- Reshape -------------------------------------------------------------------------------------------------------


def _infer_reshape(node: Node) -> list[Typed]:
    value, target = node.inputs
    if target.content is not None:
        return [reordered(value, resolve_reshape(value.shape, target.content))]
    return [reordered(value, unknown_dims(length_of(target)))]


def _evaluate_reshape(_node: Node, array: Array, target: Array) -> Array:
    return array.reshape(_concrete(array.shape, [int(size) for size in target.reshape(-1)]))


def _concrete(shape: tuple[int, ...], target: Sequence[int]) -> tuple[int, ...]:
    dims = resolve_reshape(shape, target)
    if any(isinstance(dim, str) for dim in dims):
        raise Declined(f"-1 in {list(target)} could be anything for an empty tensor")
    return tuple(int(dim) for dim in dims)


def reshape_target(shape: Shape) -> tuple[int, ...] | None:
    """A constant that makes a reshape give this shape whatever the unknown size is; None when two or more are unknown."""
    if shape is None or sum(1 for dim in shape if isinstance(dim, str)) > 1:
        return None
    if 0 in shape and any(isinstance(dim, str) for dim in shape):
        return None  # -1 cannot be found among no elements
    return dims_for_target(shape)


def lite_reshape(source: Ref, target: Ref, shape: tuple[int, ...]) -> LiteOp:
    """RESHAPE to a constant shape, which may hold one -1."""
    return LiteOp("RESHAPE", (source, int32_vector(shape)), (target,), {"new_shape": list(shape)})


def _lite_reshape(node: Node) -> list[LiteOp]:
    value, target = node.inputs
    constant = reshape_target(node.output.shape)
    if constant is None:
        constant = known_integers(target)
    if constant is not None:
        return [lite_reshape(value, node.output, constant)]
    casts, sizes = lite_int32(target)
    return [*casts, LiteOp("RESHAPE", (value, sizes), (node.output,))]


def _js_reshape(node: Node) -> list[JsNode]:
    value, target = node.inputs
    constant = reshape_target(node.output.shape)
    sizes = narrow_constant(target) if constant is None else int32_vector(constant)
    return [JsNode("Reshape", (value, sizes), (node.output,), {"T": value.dtype, "Tshape": DType.INT32})]


def _reshape_examples() -> Iterator[Example]:
    x = sample(2, 3, 4)
    yield Example((x, np.array([2, 12], np.int32)), constants=(1,))
    yield Example((x, np.array([-1, 6], np.int64)), constants=(1,), note="inferred size")
    yield Example((x, np.array([4, 1, 3, -1, 1], np.int32)), constants=(1,), note="rank 5")
    yield Example((sample(1, 1), np.array([], np.int32)), constants=(1,), note="to scalar")
    yield Example((sample(), np.array([1, 1], np.int32)), constants=(1,), note="from scalar")
    yield Example((x.astype(np.int32), np.array([3, 8], np.int32)), note="computed shape")
    yield Example((x, np.array([3, -1], np.int64)), note="computed 64-bit shape")
    yield Example((np.arange(6) % 2 == 0, np.array([3, 2], np.int32)), constants=(1,), note="bool")
    yield Example((np.zeros((0, 4), np.float32), np.array([2, 0, 3], np.int32)), constants=(1,), note="empty")
    for dtype in (np.int8, np.uint16, np.uint32, np.float16):
        yield Example((np.arange(6).astype(dtype), np.array([2, -1], np.int32)), constants=(1,), note=np.dtype(dtype).name)
    words = np.array([[b"a", b"bc"]], object)
    yield Example((words, np.array([2], np.int32)), constants=(1,), note="string")
    yield Example((words, np.array([2, 1], np.int32)), note="string, computed shape")


# -- Squeeze and ExpandDims ----------------------------------------------------------------------------------------


def _squeeze_axes(node: Node, shape: Sequence[Dim]) -> list[int] | None:
    """Which axes go; None when that depends on sizes not known."""
    if node["squeeze_dims"]:
        axes = sorted({normalize_axis(int(axis), len(shape)) for axis in node["squeeze_dims"]})
        for axis in axes:
            if isinstance(shape[axis], int) and shape[axis] != 1:
                raise Declined(f"axis {axis} has size {shape[axis]} and cannot be squeezed out", attributes=f"axis={axis}")
        return axes
    if any(isinstance(dim, str) for dim in shape):
        return None
    return [axis for axis, dim in enumerate(shape) if dim == 1]


def _infer_squeeze(node: Node) -> list[Typed]:
    value = node.inputs[0]
    axes = None if value.shape is None else _squeeze_axes(node, value.shape)
    if axes is None or value.shape is None:
        return [Typed(value.dtype, None)]
    return [reordered(value, tuple(dim for axis, dim in enumerate(value.shape) if axis not in axes))]


def _evaluate_squeeze(node: Node, array: Array) -> Array:
    return np.squeeze(array, axis=tuple(_squeeze_axes(node, array.shape) or ()))


def _lite_squeeze(node: Node) -> list[LiteOp]:
    value = node.inputs[0]
    axes = None if value.shape is None else _squeeze_axes(node, value.shape)
    if axes is None:
        axes = [int(axis) for axis in node["squeeze_dims"]]
    elif not axes:  # an empty list would mean: all of size 1, whichever they turn out to be
        return lite_copy(value, node.output, value.typed)
    require_rank(value, 8, "SQUEEZE")
    return lite("SQUEEZE", node, version=2 if value.dtype is DType.STRING else 1, squeeze_dims=axes)


def _js_squeeze(node: Node) -> list[JsNode]:
    value = node.inputs[0]
    if node["squeeze_dims"] and value.shape is not None:
        axes = _squeeze_axes(node, value.shape) or []
    else:
        axes = [int(axis) for axis in node["squeeze_dims"]]
    return [JsNode("Squeeze", (value,), (node.output,), {"T": value.dtype, "squeeze_dims": axes})]


def _squeeze_examples() -> Iterator[Example]:
    x = sample(1, 3, 1, 4, 1)
    yield Example((x,))
    yield Example((x,), {"squeeze_dims": [0, -1]})
    yield Example((sample(2, 1, 1, 5),), {"squeeze_dims": [1, 2]}, note="pooled")
    yield Example((sample(1, 1).astype(np.int32),), note="to scalar")
    yield Example((sample(2, 3),), note="nothing to do")
    yield Example((np.array([[b"a"], [b"bc"]], object),), note="string")
    yield Example((np.arange(3, dtype=np.uint16).reshape(1, 3),), {"squeeze_dims": [0]}, note="uint16")


def _infer_expand_dims(node: Node) -> list[Typed]:
    value, axis_value = node.inputs
    axis = known_integer(axis_value)
    if value.shape is None:
        return [Typed(value.dtype, None)]
    if axis is None:
        return [Typed(value.dtype, unknown_dims(len(value.shape) + 1))]
    axis = normalize_axis(axis, len(value.shape) + 1)
    return [reordered(value, (*value.shape[:axis], 1, *value.shape[axis:]))]


def _evaluate_expand_dims(_node: Node, array: Array, axis: Array) -> Array:
    return np.expand_dims(array, normalize_axis(int(axis.reshape(-1)[0]), array.ndim + 1))


def _lite_expand_dims(node: Node) -> list[LiteOp]:
    value, axis_value = node.inputs
    axis = known_integer(axis_value)
    operand: Ref = axis_value if axis is None else int32_scalar(axis)
    return [LiteOp("EXPAND_DIMS", (value, operand), (node.output,))]


def _js_expand_dims(node: Node) -> list[JsNode]:
    value, axis = node.inputs
    attrs = {"T": value.dtype, "Tdim": DType.INT32}
    return [JsNode("ExpandDims", (value, narrow_constant(axis)), (node.output,), attrs)]


def _expand_dims_examples() -> Iterator[Example]:
    x = sample(2, 3)
    for axis in (0, 1, 2, -1, -3):
        yield Example((x, np.array(axis, np.int32)), constants=(1,), note=f"axis {axis}")
    yield Example((sample(), np.array(0, np.int64)), constants=(1,), note="scalar")
    yield Example((np.array([True, False]), np.array([1], np.int32)), constants=(1,), note="bool, axis in a vector")
    yield Example((np.array([b"a", b"bc"], object), np.array(-1, np.int32)), constants=(1,), note="string")
    yield Example((np.arange(3, dtype=np.uint16), np.array(0, np.int32)), constants=(1,), note="uint16")
    yield Example((x, np.array(1, np.int32)), note="computed axis")
    yield Example((x, np.array(-1)), note="computed axis from the end, 64-bit")


# -- Transpose -----------------------------------------------------------------------------------------------------


def _permutation(elements: Sequence[int], rank: int) -> list[int]:
    axes = [normalize_axis(int(axis), rank) for axis in elements]
    if sorted(axes) != list(range(rank)):
        raise Declined(f"{list(elements)} does not permute {rank} axes", attributes=f"perm={list(elements)}")
    return axes


def infer_transpose(node: Node) -> list[Typed]:
    value, order = node.inputs
    elements = known_integers(order)
    if elements is None or value.shape is None:
        rank = value.rank if value.rank is not None else length_of(order)
        return [Typed(value.dtype, unknown_dims(rank))]
    shape = tuple(value.shape[axis] for axis in _permutation(elements, len(value.shape)))
    return [Typed(value.dtype, shape, value.content)]  # content is there for rank 0 and 1 only, where nothing moves


def _evaluate_transpose(_node: Node, array: Array, order: Array) -> Array:
    return np.transpose(array, _permutation(order.tolist(), array.ndim))


def _lite_transpose(node: Node) -> list[LiteOp]:
    value, order = node.inputs
    elements = known_integers(order)
    if elements is None:
        _check_lite_transpose(value, value.rank or 0)
        casts, operand = lite_int32(order)
        return [*casts, LiteOp("TRANSPOSE", (value, operand), (node.output,), {}, _transpose_version(value.dtype, value.rank or 0))]
    if value.shape is None:
        _check_lite_transpose(value, len(elements))
        version = _transpose_version(value.dtype, len(elements))
        return [LiteOp("TRANSPOSE", (value, int32_vector(elements)), (node.output,), {}, version)]
    axes = _permutation(elements, len(value.shape))
    moved = [axis for axis in axes if value.shape[axis] != 1]
    target = reshape_target(node.output.shape)
    if moved == sorted(moved) and target is not None:  # only axes of size 1 move: the elements keep their order
        return [lite_reshape(value, node.output, target)]
    _check_lite_transpose(value, 0)
    if len(axes) > 4:
        return _lite_joined_transpose(node, axes)
    version = _transpose_version(value.dtype, len(axes))
    return [LiteOp("TRANSPOSE", (value, int32_vector(axes)), (node.output,), {}, version)]


def _check_lite_transpose(value: Value, rank: int) -> None:
    if value.dtype is DType.STRING:
        raise Declined("TRANSPOSE takes no string tensor")
    if rank > 8:
        raise Declined(f"TRANSPOSE takes at most 8 dimensions, here {rank} move on their own")


def _transpose_version(dtype: DType, rank: int) -> int:
    if rank > 6 or dtype in (DType.UINT16, DType.UINT32, DType.UINT64, DType.COMPLEX64):
        return 8  # the kernels had long stopped looking at more than the size of an element when they were given a version
    if rank > 5:
        return 6
    if dtype is DType.INT16:
        return 5
    if rank > 4:
        return 4
    return {DType.BOOL: 3, DType.INT8: 2}.get(dtype, 1)


def _lite_joined_transpose(node: Node, axes: list[int]) -> list[LiteOp]:
    """Above four axes: those that stay neighbours become one, which brings most permutations into older versions' reach."""
    value = node.inputs[0]
    assert value.shape is not None
    runs = _runs(axes)
    starts = sorted(runs, key=lambda run: run[0])
    inner = tuple(multiply_dims(value.shape[axis] for axis in run) for run in starts)
    order = [starts.index(run) for run in runs]
    before, after = reshape_target(inner), reshape_target(node.output.shape)
    if len(runs) == len(axes) or before is None or after is None:
        _check_lite_transpose(value, len(axes))
        version = _transpose_version(value.dtype, len(axes))
        return [LiteOp("TRANSPOSE", (value, int32_vector(axes)), (node.output,), {}, version)]
    _check_lite_transpose(value, len(runs))
    joined = Temp("joined", value.dtype, inner)
    moved = Temp("moved", value.dtype, tuple(inner[index] for index in order))
    version = _transpose_version(value.dtype, len(runs))
    return [
        lite_reshape(value, joined, before),
        LiteOp("TRANSPOSE", (joined, int32_vector(order)), (moved,), {}, version),
        lite_reshape(moved, node.output, after),
    ]


def _runs(axes: Sequence[int]) -> list[list[int]]:
    """Axes that follow each other before and after: [0, 3, 4, 1, 2] -> [[0], [3, 4], [1, 2]]."""
    runs: list[list[int]] = []
    for axis in axes:
        if runs and runs[-1][-1] + 1 == axis:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    return runs


def _js_transpose(node: Node) -> list[JsNode]:
    value, order = node.inputs
    refuse_in_tfjs(value, "transpose", DType.STRING)
    elements = known_integers(order)
    # TensorFlow.js knows no negative axes here.
    operand = narrow_constant(order) if elements is None else int32_vector(_permutation(elements, len(elements)))
    return [JsNode("Transpose", (value, operand), (node.output,), {"T": value.dtype, "Tperm": DType.INT32})]


def _transpose_examples() -> Iterator[Example]:
    x = sample(2, 3, 4, 5)
    yield Example((x, np.array([0, 2, 3, 1], np.int32)), constants=(1,), note="to channels last")
    yield Example((x, np.array([3, 1, 0, 2], np.int64)), constants=(1,), note="64-bit")
    yield Example((sample(2, 3), np.array([-1, 0], np.int32)), constants=(1,), note="negative axis")
    yield Example((sample(1, 5, 1, 3), np.array([0, 2, 1, 3], np.int32)), constants=(1,), note="moves nothing")
    yield Example((sample(2, 2, 3, 2, 4), np.array([0, 3, 4, 1, 2], np.int32)), constants=(1,), note="rank 5 in runs")
    yield Example((sample(2, 3, 2, 3, 2), np.array([4, 2, 0, 3, 1], np.int32)), constants=(1,), note="rank 5")
    yield Example((sample(2, 2, 3, 2, 2, 3), np.array([0, 2, 4, 1, 3, 5], np.int32)), constants=(1,), note="rank 6")
    yield Example((x.astype(np.int32), np.array([1, 0, 3, 2], np.int32)), constants=(1,), note="int32")
    yield Example((x > 0, np.array([1, 0, 3, 2], np.int32)), constants=(1,), note="bool")
    yield Example((x, np.array([0, 1, 3, 2], np.int32)), note="computed order")
    yield Example((sample(), np.array([], np.int32)), constants=(1,), note="scalar")
    turn = np.array([1, 0], np.int32)
    for dtype in (np.int8, np.uint8, np.int16, np.uint16, np.uint32, np.int64, np.float16):
        yield Example((np.arange(6).reshape(2, 3).astype(dtype), turn), constants=(1,), note=np.dtype(dtype).name)
    yield Example((np.array([[b"a", b"bc", b""], [b"d", b"e", b"f"]], object), turn), constants=(1,), note="string")
    yield Example((np.zeros((0, 3), np.float32), turn), constants=(1,), note="empty")


# -- Shape, Size and Rank ------------------------------------------------------------------------------------------


def _infer_shape(node: Node) -> list[Typed]:
    shape = node.inputs[0].shape
    if shape is None:
        return [Typed(node["out_type"], (UNKNOWN_DIM,))]
    return [Typed(node["out_type"], (len(shape),), shape if len(shape) <= CONTENT_LIMIT else None)]


def _lite_shape(node: Node) -> list[LiteOp]:
    return lite("SHAPE", node, out_type=node["out_type"].value.upper())


def _js_shape(node: Node) -> list[JsNode]:
    value = node.inputs[0]
    return [JsNode("Shape", (value,), (node.output,), {"T": value.dtype, "out_type": node["out_type"]})]


def _shape_examples() -> Iterator[Example]:
    yield Example((sample(2, 3, 4),))
    yield Example((sample(2, 3, 4),), {"out_type": DType.INT64})
    yield Example((sample(),), note="scalar")
    yield Example((np.zeros((0, 3), bool),), note="empty")
    yield Example((np.array([[b"a", b"bc"]], object),), note="string")


def _infer_size(node: Node) -> list[Typed]:
    shape = node.inputs[0].shape
    return [Typed(node["out_type"], (), (UNKNOWN_DIM if shape is None else multiply_dims(shape),))]


def _lite_size(node: Node) -> list[LiteOp]:
    value = node.inputs[0]
    dtype = node["out_type"]
    if value.shape == ():
        one = ArrayTensor(np.ones(1, dtype.numpy), dtype)  # REDUCE_PROD of no sizes is no number
        return [lite_reshape(one, node.output, ())]
    sizes = Temp("shape", dtype, (UNKNOWN_DIM if value.rank is None else value.rank,))
    return [
        LiteOp("SHAPE", (value,), (sizes,), {"out_type": dtype.value.upper()}),
        LiteOp("REDUCE_PROD", (sizes, int32_vector([0])), (node.output,), {"keep_dims": False}),
    ]


def _js_counted(node: Node) -> list[JsNode]:
    return [JsNode(node.op, tuple(node.inputs), (node.output,), {"T": node.inputs[0].dtype})]


def _size_examples() -> Iterator[Example]:
    yield Example((sample(2, 3, 4),))
    yield Example((sample(2, 3),), {"out_type": DType.INT64})
    yield Example((np.zeros((0, 3), np.float32),), note="empty")
    yield Example((sample(),), note="scalar")
    yield Example((np.array([[b"a", b"bc"]], object),), note="string")


def _infer_rank(node: Node) -> list[Typed]:
    rank = node.inputs[0].rank
    return [Typed(DType.INT32, (), (UNKNOWN_DIM if rank is None else rank,))]


def _rank_examples() -> Iterator[Example]:
    yield Example((sample(2, 3, 4),))
    yield Example((sample(),), note="scalar")


SPECS = (
    OpSpec(
        name="Reshape",
        infer=_infer_reshape,
        evaluate=_evaluate_reshape,
        to_tflite=_lite_reshape,
        to_tfjs=_js_reshape,
        examples=_reshape_examples,
    ),
    OpSpec(
        name="Squeeze",
        attrs={"squeeze_dims": []},
        infer=_infer_squeeze,
        evaluate=_evaluate_squeeze,
        to_tflite=_lite_squeeze,
        to_tfjs=_js_squeeze,
        examples=_squeeze_examples,
    ),
    OpSpec(
        name="ExpandDims",
        infer=_infer_expand_dims,
        evaluate=_evaluate_expand_dims,
        to_tflite=_lite_expand_dims,
        to_tfjs=_js_expand_dims,
        examples=_expand_dims_examples,
    ),
    OpSpec(
        name="Transpose",
        infer=infer_transpose,
        evaluate=_evaluate_transpose,
        to_tflite=_lite_transpose,
        to_tfjs=_js_transpose,
        moves=0,
        examples=_transpose_examples,
    ),
    OpSpec(
        name="Shape",
        attrs={"out_type": DType.INT32},
        infer=_infer_shape,
        evaluate=lambda node, array: np.asarray(array.shape, node["out_type"].numpy),
        to_tflite=_lite_shape,
        to_tfjs=_js_shape,
        examples=_shape_examples,
    ),
    OpSpec(
        name="Size",
        attrs={"out_type": DType.INT32},
        infer=_infer_size,
        evaluate=lambda node, array: np.asarray(math.prod(array.shape), node["out_type"].numpy),
        to_tflite=_lite_size,
        to_tfjs=_js_counted,
        examples=_size_examples,
    ),
    OpSpec(
        name="Rank",
        infer=_infer_rank,
        evaluate=lambda _node, array: np.asarray(array.ndim, np.int32),
        to_tflite=lambda node: lite("RANK", node),
        to_tfjs=_js_counted,
        examples=_rank_examples,
    ),
)
