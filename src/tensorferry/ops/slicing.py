"""Ops that cut a piece out of a tensor: StridedSlice with all its masks, and Slice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Node, Typed, Value
from tensorferry.ops.dims import known_integers, length_of
from tensorferry.ops.index_operands import int32_scalar, int32_vector, lite_int32, narrow_constant, refuse_bool_slices, require_rank
from tensorferry.ops.samples import sample
from tensorferry.ops.shape import lite_reshape, reshape_target
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.ops.stepping import expand_steps
from tensorferry.ops.strided import (
    MASKS,
    Cut,
    Cuts,
    Request,
    cut_content,
    cut_shape,
    known_cuts,
    masks_of,
    numpy_index,
    plan_cuts,
    read_request,
    shape_by_masks,
)
from tensorferry.ops.structure import lite_copy
from tensorferry.targets import JsNode, LiteOp, Ref, Temp
from tensorferry.tensor import Array, DType

# -- StridedSlice --------------------------------------------------------------------------------------------------


def _infer_strided_slice(node: Node) -> list[Typed]:
    value = node.inputs[0]
    request = read_request(node)
    if value.shape is None or request is None:
        return [Typed(value.dtype, shape_by_masks(node))]
    plan = plan_cuts(request, len(value.shape))
    shape = cut_shape(value.shape, plan)
    return [Typed(value.dtype, shape, cut_content(value, plan, shape))]


def _evaluate_strided_slice(node: Node, array: Array, begin: Array, end: Array, strides: Array) -> Array:
    request = Request(begin.tolist(), end.tolist(), strides.tolist(), masks_of(node))
    index = numpy_index(array.shape, plan_cuts(request, array.ndim))
    assert index is not None  # every bound is a number here
    kept: Array = np.asarray(array[index])
    return kept


_NEW_TO_SLICES = frozenset({DType.UINT16, DType.UINT64, DType.COMPLEX64, DType.FLOAT16})
"""Types that the slicing operators took once they looked at an element's size only: what is that new has their newest version."""


def strided_slice_version(dtype: DType, rank: int) -> int:
    """STRIDED_SLICE takes every element type."""
    if dtype in _NEW_TO_SLICES or rank > 5:
        return 8
    if dtype is DType.UINT32:
        return 7
    if dtype is DType.STRING:
        return 5
    return 4 if rank > 4 else {DType.BOOL: 3, DType.INT8: 2}.get(dtype, 1)


def _lite_strided_slice(node: Node) -> list[LiteOp]:
    value = node.inputs[0]
    plan = known_cuts(node)
    if plan is None or value.shape is None:
        return _lite_computed_slice(node)
    cuts = [cut for cut in plan if cut is not None]
    if len(cuts) == len(plan):
        return _lite_cut(value, cuts, node.output)
    if all(cut.keeps_all for cut in cuts):
        return _lite_new_axes(value, node.output, plan)
    inner = Temp("cut", value.dtype, cut_shape(value.shape, list(cuts)))
    return [*_lite_cut(value, cuts, inner), *_lite_new_axes(inner, node.output, plan)]


def _lite_cut(value: Value, cuts: Sequence[Cut], target: Ref) -> list[LiteOp]:
    """STRIDED_SLICE with begin, end and stride for each axis; open bounds and indices as masks."""
    if all(cut.keeps_all for cut in cuts):
        assert value.shape is not None
        same = reshape_target(value.shape)
        return [lite_reshape(value, target, same)] if same is not None else lite_copy(value, target, value.typed)
    rank = require_rank(value, 8, "STRIDED_SLICE")
    masks = {
        "begin_mask": _bits(cut.begin is None for cut in cuts),
        "end_mask": _bits(cut.end is None and not cut.shrinks for cut in cuts),
        "ellipsis_mask": 0,
        "new_axis_mask": 0,
        "shrink_axis_mask": _bits(cut.shrinks for cut in cuts),
    }
    begin = [int(cut.begin or 0) for cut in cuts]
    end = [_end_after(int(cut.begin or 0)) if cut.shrinks else int(cut.end or 0) for cut in cuts]
    operands = (int32_vector(begin), int32_vector(end), int32_vector([cut.stride for cut in cuts]))
    return [LiteOp("STRIDED_SLICE", (value, *operands), (target,), masks, strided_slice_version(value.dtype, rank))]


def _end_after(begin: int) -> int:
    """The end that goes with an index; after the last element that is beyond every size, for 0 would be before the first."""
    return int(np.iinfo(np.int32).max) if begin == -1 else begin + 1


def _bits(flags: Iterator[bool]) -> int:
    return sum(1 << place for place, flag in enumerate(flags) if flag)


def _lite_new_axes(source: Ref, target: Value, plan: Cuts) -> list[LiteOp]:
    """Give the result its new axes: by one RESHAPE when at most one size is unknown, else one by one."""
    shape = reshape_target(target.shape)
    if shape is not None:
        return [lite_reshape(source, target, shape)]
    assert target.shape is not None
    assert isinstance(source, Value | Temp)
    kept = [cut for cut in plan if cut is None or not cut.shrinks]
    places = [place for place, cut in enumerate(kept) if cut is None]
    operators: list[LiteOp] = []
    dims = list(source.shape or ())
    for place in places:
        dims.insert(place, 1)
        result: Ref = target if place == places[-1] else Temp("expanded", target.dtype, tuple(dims))
        operators.append(LiteOp("EXPAND_DIMS", (source, int32_scalar(place)), (result,)))
        source = result
    return operators


def _lite_computed_slice(node: Node) -> list[LiteOp]:
    """With bounds that are computed the masks are left to the kernel; an index is not open, whatever begin_mask says."""
    value = node.inputs[0]
    rank = require_rank(value, 8, "STRIDED_SLICE")
    masks = masks_of(node)
    if masks["ellipsis_mask"] and value.shape is not None and node.inputs[3].content is not None:
        raise Declined("STRIDED_SLICE takes an ellipsis that stands for no axis for one")
    masks["begin_mask"] &= ~masks["shrink_axis_mask"]
    operators: list[LiteOp] = []
    operands: list[Ref] = []
    for operand in node.inputs[1:]:
        casts, narrowed = lite_int32(operand)
        operators += casts
        operands.append(narrowed)
    version = strided_slice_version(value.dtype, rank)
    if masks["ellipsis_mask"] or masks["new_axis_mask"]:
        version = max(version, 6)
    return [*operators, LiteOp("STRIDED_SLICE", (value, *operands), (node.output,), masks, version)]


def _js_strided_slice(node: Node) -> list[JsNode]:
    value, *operands = node.inputs
    refuse_bool_slices(value)
    plan, strides = known_cuts(node), operands[2].content
    attrs = {**masks_of(node), "T": value.dtype, "Index": DType.INT32}
    steps = strides is not None and any(stride != 1 for stride in strides)
    if steps and plan is not None:
        return _js_stepped(node, plan)
    if steps and (value.dtype not in _JS_STEPPED or attrs["shrink_axis_mask"]):
        raise Declined(
            "with steps, TensorFlow.js cuts only float32 tensors between computed bounds, and removes no axis meanwhile",
            remedy="make begin and end constant in the source model",
            attributes=f"strides={strides}",
        )
    return [JsNode("StridedSlice", (value, *map(narrow_constant, operands)), (node.output,), attrs)]


_JS_STEPPED = (DType.FLOAT32, DType.STRING)
"""What the kernels of TensorFlow.js take in steps; WebAssembly takes anything else for float32."""


def _js_stepped(node: Node, plan: Cuts) -> list[JsNode]:
    """Steps other than 1.

    Kernels of TensorFlow.js mix up the axes when one is removed at the same time, and take any element for float32; so axes are
    removed and added by a Reshape, and tensors of other types have their elements gathered.
    """
    value = node.inputs[0]
    cuts = [cut for cut in plan if cut is not None]
    assert value.shape is not None
    nodes: list[JsNode] = []
    source: Value | Temp = value
    if value.dtype not in _JS_STEPPED:
        nodes, source = _js_gather_steps(value, cuts)
        cuts = [Cut() if cut.stride != 1 else cut for cut in cuts]
    whole = [Cut(cut.begin, None if cut.begin == -1 else int(cut.begin or 0) + 1) if cut.shrinks else cut for cut in cuts]
    shape = cut_shape(source.shape or (), list(whole))
    if shape == node.output.shape and not any(isinstance(dim, str) for dim in shape):
        return [*nodes, _js_cut(source, whole, node.output)]
    inner = Temp("cut", value.dtype, shape)
    target = reshape_target(node.output.shape)
    if target is None:
        return [*nodes, _js_cut(source, whole, inner), *_js_change_axes(inner, node.output, plan)]
    attrs = {"T": value.dtype, "Tshape": DType.INT32}
    return [*nodes, _js_cut(source, whole, inner), JsNode("Reshape", (inner, int32_vector(target)), (node.output,), attrs)]


def _js_cut(source: Ref, cuts: Sequence[Cut], target: Ref) -> JsNode:
    begin = int32_vector([int(cut.begin or 0) for cut in cuts])
    end = int32_vector([int(cut.end or 0) for cut in cuts])
    attrs = {
        **dict.fromkeys(MASKS, 0),
        "begin_mask": _bits(cut.begin is None for cut in cuts),
        "end_mask": _bits(cut.end is None for cut in cuts),
        "Index": DType.INT32,
    }
    return JsNode("StridedSlice", (source, begin, end, int32_vector([cut.stride for cut in cuts])), (target,), attrs)


def _js_gather_steps(value: Value, cuts: Sequence[Cut]) -> tuple[list[JsNode], Value | Temp]:
    """Take the elements that the steps meet, axis by axis."""
    nodes: list[JsNode] = []
    source: Value | Temp = value
    for axis, cut in enumerate(cuts):
        dim = (source.shape or ())[axis]
        if cut.stride == 1:
            continue
        if isinstance(dim, str):
            raise Declined(f"TensorFlow.js takes steps through {value.dtype} tensors only along axes of known size")
        places = list(range(*slice(cut.begin, cut.end, cut.stride).indices(dim)))
        shape = tuple(len(places) if place == axis else size for place, size in enumerate(source.shape or ()))
        taken = Temp("gathered", value.dtype, shape)
        attrs = {"batch_dims": 0, "Tparams": value.dtype, "Tindices": DType.INT32, "Taxis": DType.INT32}
        nodes.append(JsNode("GatherV2", (source, int32_vector(places), int32_scalar(axis)), (taken,), attrs))
        source = taken
    return nodes, source


def _js_change_axes(source: Temp, target: Value, plan: Cuts) -> list[JsNode]:
    """Remove and add axes one kind after the other, where two sizes are unknown."""
    gone = [axis for axis, cut in enumerate(cut for cut in plan if cut is not None) if cut.shrinks]
    added = [place for place, cut in enumerate(cut for cut in plan if cut is None or not cut.shrinks) if cut is None]
    dims = [dim for axis, dim in enumerate(source.shape or ()) if axis not in gone]
    nodes: list[JsNode] = []
    for place in (None, *added):
        if place is not None:
            dims.insert(place, 1)
        result: Ref = target if place == (added[-1] if added else None) else Temp("axes", target.dtype, tuple(dims))
        if place is None:
            op = "Squeeze" if gone else "Identity"
            nodes.append(JsNode(op, (source,), (result,), {"T": target.dtype, **({"squeeze_dims": gone} if gone else {})}))
        else:
            operands = (source, int32_scalar(place))
            nodes.append(JsNode("ExpandDims", operands, (result,), {"T": target.dtype, "Tdim": DType.INT32}))
        source = result  # type: ignore[assignment]  # only the last one is not a Temp
    return nodes


def _strided(x: Array, begin: Sequence[int], end: Sequence[int], strides: Sequence[int], note: str = "", **masks: int) -> Example:
    """An example whose bounds are constant."""
    bounds = tuple(np.array(each, np.int32) for each in (begin, end, strides))
    return Example((x, *bounds), masks, constants=(1, 2, 3), note=note)


def _strided_slice_examples() -> Iterator[Example]:
    x = sample(4, 5, 6)
    yield _strided(x, [1, 0, 2], [3, 5, 6], [1, 2, 3], "plain")
    yield _strided(x, [1], [3], [1], "first axis")
    yield _strided(x, [0, -3, -100], [-1, -1, 100], [1, 1, 1], "bounds from the end")
    yield _strided(x, [9, 9, 9], [0, 1, 0], [-1, -2, -1], "backwards", end_mask=4, begin_mask=1)
    yield _strided(x, [0, 0, 0], [0, 0, 0], [-1, 1, -1], "mirror", begin_mask=7, end_mask=7)
    yield _strided(x, [1, -1], [2, 0], [1, 1], "indices", shrink_axis_mask=3)
    yield _strided(x, [2, 0], [0, 3], [1, 1], "index under a begin mask", shrink_axis_mask=1, begin_mask=1)
    yield _strided(x, [0, 1], [0, 3], [1, 1], "ellipsis first", ellipsis_mask=1)
    yield _strided(x, [1, 0, 2], [2, 0, 5], [1, 1, 2], "ellipsis between", ellipsis_mask=2, shrink_axis_mask=1)
    yield _strided(x, [0, 0, 1], [0, 0, 3], [1, 1, 1], "new axis", new_axis_mask=1, begin_mask=2, end_mask=2)
    yield _strided(x, [0, 0, 0], [0, 0, 0], [1, 1, 1], "new axes around", new_axis_mask=5, ellipsis_mask=2)
    yield _strided(x, [0, 0, 0, 3], [0, 0, 0, 4], [1, 1, 1, 1], "all", ellipsis_mask=1, new_axis_mask=6, shrink_axis_mask=8)
    yield _strided(sample(3, 4, 2, 1, 2), [1, 0, 0], [3, 4, 1], [1, 2, 1], "rank 5")
    yield _strided(np.array([2, 3, 5, 7], np.int32), [1], [2], [1], "one of a shape", shrink_axis_mask=1)
    yield _strided(x, [2], [2], [1], "nothing is left")
    yield _strided(x > 0, [1], [4], [2], "bool")
    yield _strided(np.arange(24).reshape(4, 6), [0, 1], [0, 0], [1, 2], "int64", begin_mask=1, end_mask=3)
    yield _strided(x, [3, 0, 0], [0, 1, 0], [-1, 1, 2], "index and steps", shrink_axis_mask=2, end_mask=5)
    yield _strided(sample(4, 5, 6) > 0, [3, 2, 0], [0, 3, 0], [-2, 1, 2], "bool with steps", shrink_axis_mask=2, end_mask=4)
    whole = np.array([0, 0]), np.array([2**40, -(2**40)]), np.array([1, -1])
    yield Example((sample(3, 4), *whole), {"begin_mask": 2}, constants=(1, 2, 3), note="beyond 32 bits")
    bounds = np.array([1, 0], np.int32), np.array([3, 2], np.int32), np.array([1, 1], np.int32)
    yield Example((sample(4, 5), *bounds), constants=(3,), note="computed bounds")
    wide = tuple(each.astype(np.int64) for each in bounds)
    yield Example((sample(4, 5), *wide), {"shrink_axis_mask": 1}, constants=(3,), note="computed index")
    yield Example((sample(4, 5), *bounds), {"ellipsis_mask": 1}, constants=(3,), note="computed with ellipsis")
    yield Example((sample(4, 5), *bounds), {"new_axis_mask": 2}, constants=(3,), note="computed with a new axis")
    for dtype in (np.int8, np.uint8, np.int16, np.uint16, np.uint32, np.float16):
        yield _strided(np.arange(6).reshape(2, 3).astype(dtype), [0, 2], [2, 0], [1, -1], np.dtype(dtype).name)
    words = np.array([[b"a", b"bc", b""], [b"d", b"e", b"f"]], object)
    yield _strided(words, [0, 1], [2, 3], [1, 1], "string")
    yield _strided(words, [1, 2], [2, 0], [1, -1], "string with steps", shrink_axis_mask=1)
    yield _strided(sample(2, 1, 3, 2, 3, 2), [0, 0, 1, 0, 2, 1], [2, 1, 3, 1, 0, 2], [1, 1, 1, 1, -1, 1], "rank 6")
    yield _strided(sample(2, 1, 3, 2, 3, 2), [1, 0], [2, 0], [1, 1], "rank 6 with masks", shrink_axis_mask=1, ellipsis_mask=2)
    yield _strided(np.zeros((0, 3), np.float32), [0, 1], [0, 3], [1, 1], "empty")
    yield _strided(sample(2, 3, 2, 3) > 0, [0, 1, 0, 1], [2, 3, 1, 3], [1, 1, 1, 1], "bool, rank 4")


# -- Slice ---------------------------------------------------------------------------------------------------------


def _infer_slice(node: Node) -> list[Typed]:
    value, begin, size = node.inputs
    count = next((length for length in (value.rank, length_of(begin), length_of(size)) if length is not None), None)
    if count is None:
        return [Typed(value.dtype, None)]
    unknown = (UNKNOWN_DIM,) * count
    dims, starts, sizes = value.shape or unknown, begin.content or unknown, size.content or unknown
    if not len(dims) == len(starts) == len(sizes):
        raise Declined(f"begin and size have {len(starts)} and {len(sizes)} elements for {len(dims)} axes")
    shape = tuple(_slice_size(*each) for each in zip(dims, starts, sizes, strict=True))
    return [Typed(value.dtype, shape, _slice_content(value, starts, shape))]


def _slice_size(dim: Dim, start: Dim, size: Dim) -> Dim:
    if (isinstance(start, int) and start < 0) or (isinstance(size, int) and size < -1):
        raise Declined(f"a slice of {size} from {start} makes no sense")
    rest: Dim = UNKNOWN_DIM
    if isinstance(dim, int) and isinstance(start, int):
        rest = dim - start
        if rest < 0 or (isinstance(size, int) and size > rest):
            raise Declined(f"a slice of {size} from {start} leaves an axis of size {dim}")
    elif start == 0:
        rest = dim
    return rest if size == -1 else size


def _slice_content(value: Value, starts: Sequence[Dim], shape: Sequence[Dim]) -> tuple[Dim, ...] | None:
    if value.content is None or len(shape) > 1:
        return None
    if not shape:
        return value.content
    start, size = starts[0], shape[0]
    return value.content[start : start + size] if isinstance(start, int) and isinstance(size, int) else None


def _evaluate_slice(_node: Node, array: Array, begin: Array, size: Array) -> Array:
    sizes = [_slice_size(*each) for each in zip(array.shape, begin.tolist(), size.tolist(), strict=True)]
    return array[tuple(slice(start, start + int(count)) for start, count in zip(begin.tolist(), sizes, strict=True))]


def slice_version(dtype: DType, rank: int) -> int:
    """SLICE takes every element type."""
    if dtype in _NEW_TO_SLICES or rank > 5:
        return 7
    if dtype is DType.UINT32:
        return 6
    return 5 if rank > 4 else {DType.INT16: 4, DType.STRING: 3, DType.INT8: 2}.get(dtype, 1)


def _lite_slice(node: Node) -> list[LiteOp]:
    value, begin, size = node.inputs
    rank = require_rank(value, 8, "SLICE")
    starts, sizes = known_integers(begin), known_integers(size)
    version = slice_version(value.dtype, rank)
    if starts is not None and sizes is not None:
        return [LiteOp("SLICE", (value, int32_vector(starts), int32_vector(sizes)), (node.output,), {}, version)]
    first, start = lite_int32(begin)
    second, count = lite_int32(size)
    return [*first, *second, LiteOp("SLICE", (value, start, count), (node.output,), {}, version)]


def _js_slice(node: Node) -> list[JsNode]:
    value, begin, size = node.inputs
    refuse_bool_slices(value)
    attrs = {"T": value.dtype, "Index": DType.INT32}
    return [JsNode("Slice", (value, narrow_constant(begin), narrow_constant(size)), (node.output,), attrs)]


def _slice_examples() -> Iterator[Example]:
    x = sample(4, 5, 6)
    yield Example((x, np.array([1, 0, 2], np.int32), np.array([2, 5, 3], np.int32)), constants=(1, 2))
    yield Example((x, np.array([0, 4, 1]), np.array([-1, 1, -1])), constants=(1, 2), note="to the end, 64-bit")
    yield Example((np.arange(5, dtype=np.int32), np.array([1], np.int32), np.array([3], np.int32)), constants=(1, 2), note="int32")
    yield Example(
        (sample(2, 1, 3, 1, 2), np.zeros(5, np.int32), np.array([1, 1, -1, 1, 1], np.int32)), constants=(1, 2), note="rank 5"
    )
    yield Example((x > 0, np.array([1, 0, 2], np.int32), np.array([2, 5, 3], np.int32)), constants=(1, 2), note="bool")
    yield Example((x, np.array([1, 0, 2], np.int32), np.array([2, 5, 3], np.int32)), note="computed bounds")
    yield Example((x, np.array([1, 0, 2]), np.array([2, 5, 0])), constants=(2,), note="computed begin, empty")
    bounds = np.array([0, 1], np.int32), np.array([2, -1], np.int32)
    for dtype in (np.int8, np.uint8, np.int16, np.uint16, np.uint32):
        yield Example((np.arange(6, dtype=dtype).reshape(2, 3), *bounds), constants=(1, 2), note=np.dtype(dtype).name)
    words = np.array([[b"a", b"bc", b""], [b"d", b"e", b"f"]], object)
    yield Example((words, *bounds), constants=(1, 2), note="string")
    six = np.array([0, 0, 1, 0, 1, 0], np.int32), np.array([1, 1, -1, 2, 2, 1], np.int32)
    yield Example((sample(2, 1, 3, 2, 3, 2), *six), constants=(1, 2), note="rank 6")
    four = np.array([0, 1, 0, 1], np.int32), np.array([2, 1, 2, 2], np.int32)
    yield Example((sample(2, 2, 2, 3) > 0, *four), constants=(1, 2), note="bool, rank 4")


SPECS = (
    OpSpec(
        name="StridedSlice",
        attrs=dict.fromkeys(MASKS, 0),
        infer=_infer_strided_slice,
        evaluate=_evaluate_strided_slice,
        to_tflite=_lite_strided_slice,
        to_tfjs=_js_strided_slice,
        expand=expand_steps,
        widens={DType.BOOL: DType.INT32},
        moves=0,
        examples=_strided_slice_examples,
    ),
    OpSpec(
        name="Slice",
        infer=_infer_slice,
        evaluate=_evaluate_slice,
        to_tflite=_lite_slice,
        to_tfjs=_js_slice,
        widens={DType.BOOL: DType.INT32},
        moves=0,
        examples=_slice_examples,
    ),
)
