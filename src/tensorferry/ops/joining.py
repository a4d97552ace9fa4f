"""Ops that join tensors or take them apart along an axis: ConcatV2, Concat, Split, SplitV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value, format_shape
from tensorferry.ops.dims import add_dims, divide_dims, known_integer, known_integers, merge_dims, unknown_dims
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.index_operands import (
    int32_scalar,
    int32_vector,
    lite_int32,
    narrow_constant,
    refuse_bool_slices,
    refuse_in_tfjs,
    require_dtype,
    require_rank,
)
from tensorferry.ops.samples import sample
from tensorferry.ops.slicing import slice_version
from tensorferry.ops.spec import WIDER_OR_BITS, WIDER_OR_BOOL, Declined, Example, OpSpec, normalize_axis
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import Array, DType

_LITE_CONCATENATION = (
    DType.FLOAT32,
    DType.INT32,
    DType.INT64,
    DType.UINT8,
    DType.INT8,
    DType.INT16,
    DType.BOOL,
    DType.UINT32,
)


def known_axis(value: Value, role: str = "axis") -> int:
    """The axis operand as a number; Declined when it is computed."""
    axis = known_integer(value)
    if axis is None:
        raise Declined(f"its {role} is computed while the model runs", remedy=f"make the {role} a constant in the source model")
    return axis


def known_rank(value: Value) -> int:
    if value.shape is None:
        raise Declined("the rank of its input is not known", remedy="give the model's inputs a shape")
    return len(value.shape)


# -- ConcatV2 and the old Concat, whose axis comes first -----------------------------------------------------------


def _concat_operands(node: Node) -> tuple[Sequence[Value], Value]:
    """The tensors and the axis."""
    inputs = node.inputs
    return (inputs[1:], inputs[0]) if node.op == "Concat" else (inputs[:-1], inputs[-1])


def _infer_concat(node: Node) -> list[Typed]:
    values, axis_value = _concat_operands(node)
    axis = known_integer(axis_value)
    ranks = {len(value.shape) for value in values if value.shape is not None}
    if len(ranks) > 1:
        listed = ", ".join(format_shape(value.shape) for value in values)
        raise Declined(f"tensors of shapes {listed} have different ranks and cannot be joined")
    if not ranks or axis is None:
        return [Typed(values[0].dtype, unknown_dims(ranks.pop() if ranks else None))]
    rank = ranks.pop()
    axis = normalize_axis(axis, rank)
    shapes = [value.shape if value.shape is not None else (UNKNOWN_DIM,) * rank for value in values]
    return [Typed(values[0].dtype, _joined_shape(shapes, axis), _joined_content(values))]


def _joined_shape(shapes: Sequence[tuple[Dim, ...]], axis: int) -> tuple[Dim, ...]:
    joined = list(shapes[0])
    for shape in shapes[1:]:
        for place, dim in enumerate(shape):
            joined[place] = add_dims(joined[place], dim) if place == axis else merge_dims(joined[place], dim)
    return tuple(joined)


def _joined_content(values: Sequence[Value]) -> tuple[Dim, ...] | None:
    pieces = [value.content for value in values]
    if any(piece is None for piece in pieces) or any(value.rank != 1 for value in values):
        return None
    return tuple(dim for piece in pieces if piece is not None for dim in piece)


def _evaluate_concat(node: Node, *arrays: Array) -> Array:
    pieces, axis = (arrays[1:], arrays[0]) if node.op == "Concat" else (arrays[:-1], arrays[-1])
    joined: Array = np.concatenate(pieces, axis=normalize_axis(int(axis.reshape(-1)[0]), pieces[0].ndim))
    return joined


def _lite_concat(node: Node) -> list[LiteOp]:
    values, axis_value = _concat_operands(node)
    axis = known_axis(axis_value)
    require_dtype(values[0], _LITE_CONCATENATION, "CONCATENATION")
    version = {DType.UINT32: 4, DType.INT16: 3, DType.INT8: 2}.get(values[0].dtype, 1)
    options = {"axis": axis, "fused_activation_function": "NONE"}
    return [LiteOp("CONCATENATION", tuple(values), (node.output,), options, version)]


def _js_concat(node: Node) -> list[JsNode]:
    values, axis = _concat_operands(node)
    attrs = {"N": len(values), "T": values[0].dtype, "Tidx": DType.INT32}
    return [JsNode("ConcatV2", (*values, narrow_constant(axis)), (node.output,), attrs)]


def _concat_examples() -> Iterator[Example]:
    axis = np.array(3, np.int32)
    yield Example((sample(1, 2, 3, 4), sample(1, 2, 3, 2), axis), constants=(2,), note="channels")
    yield Example((sample(2, 3), sample(1, 3), sample(3, 3), np.array(0, np.int64)), constants=(3,), note="three")
    yield Example((sample(2, 3), sample(2, 1, seed=1), np.array(-1, np.int32)), constants=(2,), note="negative axis")
    yield Example((sample(2, 3), sample(2, 3, seed=1), np.array(1, np.int32)), constants=(1, 2), note="with a constant")
    yield Example((np.arange(3, dtype=np.int32), np.arange(4, dtype=np.int32), np.array(0, np.int32)), constants=(2,), note="int32")
    yield Example((np.arange(3), np.arange(4), np.array(0, np.int32)), constants=(2,), note="int64")
    yield Example((sample(2, 2) > 0, sample(2, 2) < 0, np.array(0, np.int32)), constants=(2,), note="bool")
    yield Example((sample(2, 1, 2, 1, 2), sample(2, 3, 2, 1, 2), np.array(1, np.int32)), constants=(2,), note="rank 5")
    yield Example((np.zeros((0, 3), np.float32), sample(2, 3), np.array(0, np.int32)), constants=(2,), note="empty")
    one = np.array(1, np.int32)
    for dtype in (np.int8, np.uint8, np.int16, np.uint16, np.uint32):
        pair = np.arange(4, dtype=dtype).reshape(2, 2)
        yield Example((pair, pair[::-1].copy(), one), constants=(2,), note=np.dtype(dtype).name)
    words = np.array([[b"a", b"bc"]], object)
    yield Example((words, words[:, ::-1], one), constants=(2,), note="string", declines={"tflite": "string"})
    yield Example((sample(1, 2, 1, 2, 1, 2), sample(1, 2, 1, 1, 1, 2), np.array(3, np.int32)), constants=(2,), note="rank 6")


def _old_concat_examples() -> Iterator[Example]:
    yield Example((np.array(1, np.int32), sample(2, 3), sample(2, 1)), constants=(0,))


# -- Split and SplitV ----------------------------------------------------------------------------------------------


def _infer_split(node: Node) -> list[Typed]:
    axis_value, value = node.inputs
    count = int(node["num_split"])
    axis = known_integer(axis_value)
    if axis is None or value.shape is None:
        return [Typed(value.dtype, unknown_dims(value.rank))] * count
    axis = normalize_axis(axis, len(value.shape))
    shape = (*value.shape[:axis], divide_dims(value.shape[axis], [count]), *value.shape[axis + 1 :])
    return [Typed(value.dtype, shape, content) for content in _split_content(value, shape, count)]


def _split_content(value: Value, shape: tuple[Dim, ...], count: int) -> list[tuple[Dim, ...] | None]:
    size = shape[0] if len(shape) == 1 else UNKNOWN_DIM
    if value.content is None or not isinstance(size, int):
        return [None] * count
    return [value.content[index * size : (index + 1) * size] for index in range(count)]


def _evaluate_split(node: Node, axis: Array, array: Array) -> tuple[Array, ...]:
    place = normalize_axis(int(axis.reshape(-1)[0]), array.ndim)
    divide_dims(array.shape[place], [int(node["num_split"])])
    return tuple(np.split(array, int(node["num_split"]), axis=place))


_LITE_SPLIT = (DType.FLOAT32, DType.INT32, DType.INT64, DType.UINT8, DType.INT8, DType.INT16)


def _lite_split(node: Node) -> list[LiteOp]:
    axis_value, value = node.inputs
    axis = normalize_axis(known_axis(axis_value), known_rank(value))
    if value.dtype not in _LITE_SPLIT:
        return _lite_pieces(node, value, axis)
    version = {DType.INT16: 4, DType.INT32: 3, DType.INT8: 2}.get(value.dtype, 1)
    options = {"num_splits": int(node["num_split"])}
    return [LiteOp("SPLIT", (int32_scalar(axis), value), tuple(node.outputs), options, version)]


def _lite_pieces(node: Node, value: Value, axis: int) -> list[LiteOp]:
    """The pieces as slices, which take every element type; the sizes along the axis have to be known."""
    rank = require_rank(value, 8, "SLICE")
    version = slice_version(value.dtype, rank)
    operators, start = [], 0
    for piece in node.outputs:
        size = None if piece.shape is None else piece.shape[axis]
        if not isinstance(size, int):
            raise Declined(f"TensorFlow Lite takes {value.dtype} tensors apart only at places that are known")
        begin = int32_vector([start if each == axis else 0 for each in range(rank)])
        count = int32_vector([size if each == axis else -1 for each in range(rank)])
        operators.append(LiteOp("SLICE", (value, begin, count), (piece,), {}, version))
        start += size
    return operators


def _js_split(node: Node) -> list[JsNode]:
    axis, value = node.inputs
    refuse_in_tfjs(value, "split", DType.STRING)
    refuse_bool_slices(value)
    attrs = {"num_split": int(node["num_split"]), "T": value.dtype}
    return [JsNode("Split", (narrow_constant(axis), value), tuple(node.outputs), attrs)]


def _split_examples() -> Iterator[Example]:
    yield Example((np.array(1, np.int32), sample(2, 6)), {"num_split": 3}, constants=(0,))
    yield Example((np.array(-1, np.int32), sample(2, 3, 4, 4)), {"num_split": 2}, constants=(0,), note="channels")
    yield Example((np.array(0, np.int32), sample(2, 3)), {"num_split": 1}, constants=(0,), note="one")
    yield Example((np.array(0, np.int32), np.arange(6, dtype=np.int32)), {"num_split": 2}, constants=(0,), note="int32")
    yield Example((np.array(0, np.int32), np.arange(6)), {"num_split": 3}, constants=(0,), note="int64")
    for dtype in (np.int8, np.uint8, np.int16, np.uint16, np.uint32, np.bool_):
        row = np.arange(4).astype(dtype)
        yield Example((np.array(0, np.int32), row), {"num_split": 2}, constants=(0,), note=np.dtype(dtype).name)
    yield Example((np.array(2, np.int32), sample(2, 1, 4, 3) > 0), {"num_split": 2}, constants=(0,), note="bool, rank 4")
    words = np.array([[b"a", b"bc"], [b"", b"d"]], object)
    yield Example((np.array(1, np.int32), words), {"num_split": 2}, constants=(0,), note="string")
    yield Example((np.array(4, np.int32), sample(1, 2, 1, 2, 4, 2)), {"num_split": 2}, constants=(0,), note="rank 6")
    yield Example((np.array(1, np.int32), np.zeros((0, 4), np.float32)), {"num_split": 2}, constants=(0,), note="empty")


def _split_sizes(node: Node) -> tuple[Dim, ...] | None:
    """Size of each piece with -1 resolved as far as that is possible; None when the sizes are computed."""
    value, sizes, axis_value = node.inputs
    content, axis = sizes.content, known_integer(axis_value)
    if content is None:
        return None
    if sum(1 for size in content if size == -1) > 1 or any(isinstance(size, int) and size < -1 for size in content):
        raise Declined(f"{list(content)} are no sizes of pieces")
    known = [size for size in content if isinstance(size, int) and size >= 0]
    whole: Dim = UNKNOWN_DIM
    if value.shape is not None and axis is not None:
        whole = value.shape[normalize_axis(axis, len(value.shape))]
    rest: Dim = UNKNOWN_DIM
    if isinstance(whole, int) and len(known) == len(content) - 1:
        rest = whole - sum(known)
    short = isinstance(rest, int) and rest < 0
    if short or (len(known) == len(content) and isinstance(whole, int) and sum(known) != whole):
        raise Declined(f"pieces of {list(content)} do not make up {whole}")
    return tuple(rest if size == -1 else size for size in content)


def _infer_split_v(node: Node) -> list[Typed]:
    value, _, axis_value = node.inputs
    count = int(node["num_split"])
    sizes = _split_sizes(node) or (UNKNOWN_DIM,) * count
    if len(sizes) != count:
        raise Declined(f"{len(sizes)} sizes are given for {count} pieces")
    axis = known_integer(axis_value)
    if axis is None or value.shape is None:
        return [Typed(value.dtype, unknown_dims(value.rank))] * count
    axis = normalize_axis(axis, len(value.shape))
    return [Typed(value.dtype, (*value.shape[:axis], size, *value.shape[axis + 1 :])) for size in sizes]


def _evaluate_split_v(_node: Node, array: Array, sizes: Array, axis: Array) -> tuple[Array, ...]:
    place = normalize_axis(int(axis.reshape(-1)[0]), array.ndim)
    wanted = [int(size) for size in sizes]
    if -1 in wanted:
        wanted[wanted.index(-1)] = array.shape[place] - sum(size for size in wanted if size >= 0)
    if min(wanted, default=0) < 0 or sum(wanted) != array.shape[place]:
        raise Declined(f"pieces of {sizes.tolist()} do not make up {array.shape[place]}")
    return tuple(np.split(array, np.cumsum(wanted)[:-1], axis=place))


def _lite_split_v(node: Node) -> list[LiteOp]:
    value, sizes, axis_value = node.inputs
    axis = normalize_axis(known_axis(axis_value), known_rank(value))
    constant = known_integers(sizes)
    if value.dtype not in _LITE_SPLIT:
        return _lite_pieces(node, value, axis)
    options = {"num_splits": int(node["num_split"])}
    version = 2 if value.dtype is DType.INT8 else 1
    casts, operand = lite_int32(sizes) if constant is None else ([], int32_vector(constant))
    return [*casts, LiteOp("SPLIT_V", (value, operand, int32_scalar(axis)), tuple(node.outputs), options, version)]


def _js_split_v(node: Node) -> list[JsNode]:
    value, sizes, axis = node.inputs
    refuse_in_tfjs(value, "split", DType.STRING)
    refuse_bool_slices(value)
    attrs = {"num_split": int(node["num_split"]), "T": value.dtype, "Tlen": DType.INT32}
    known = _split_sizes(node)
    whole = known is not None and not any(isinstance(size, str) for size in known)
    if sizes.content is not None and -1 in sizes.content and not whole:
        raise Declined("TensorFlow.js counts a rest that comes first wrongly")
    wanted = int32_vector([int(size) for size in known or ()]) if whole else narrow_constant(sizes)
    return [JsNode("SplitV", (value, wanted, narrow_constant(axis)), tuple(node.outputs), attrs)]


def _expand_split_v(graph: Graph, node: Node) -> bool:
    """Pieces before the rest by where they begin, those after it by how far from the end they are."""
    value, sizes, axis_value = node.inputs
    counts, axis = known_integers(sizes), known_integer(axis_value)
    if counts is None or axis is None or value.shape is None or -1 not in counts:
        return False
    expansion, rest = Expansion(graph, node), counts.index(-1)
    axis = normalize_axis(axis, len(value.shape))
    pieces, whole = [], (1 << axis) - 1
    for place, count in enumerate(counts):
        first = sum(counts[:place]) if place <= rest else -sum(counts[place:])
        last = -sum(counts[place + 1 :]) if place >= rest else first + count
        bounds = (np.array([*[0] * axis, at], np.int32) for at in (first, last))
        masks = {"begin_mask": whole, "end_mask": whole | (int(place >= rest and last == 0) << axis)}
        if place > rest and not count:
            bounds, masks = (np.array([0] * (axis + 1), np.int32) for _ in range(2)), {"begin_mask": whole, "end_mask": whole}
        pieces.append(expansion.make("StridedSlice", value, *bounds, np.ones(axis + 1, np.int32), **masks))
    return expansion.finish(*pieces)


def _split_v_examples() -> Iterator[Example]:
    last = np.array(-1, np.int32)
    yield Example((sample(2, 6), np.array([1, 3, 2], np.int64), last), {"num_split": 3}, constants=(1, 2))
    yield Example((sample(2, 6), np.array([1, -1], np.int32), last), {"num_split": 2}, constants=(1, 2), note="rest")
    yield Example(
        (np.arange(5), np.array([2, 3], np.int32), np.array(0, np.int32)), {"num_split": 2}, constants=(1, 2), note="int64"
    )
    first = np.array(0, np.int32)
    yield Example((sample(3, 2), np.array([3], np.int32), first), {"num_split": 1}, constants=(1, 2), note="one")
    yield Example((sample(2, 6), np.array([1, 2, 3], np.int32), last), {"num_split": 3}, constants=(2,), note="computed sizes")
    yield Example((sample(2, 3), np.array([0, 2], np.int32), first), {"num_split": 2}, constants=(1, 2), note="an empty one")
    yield Example((np.arange(4, dtype=np.int16), np.array([3, 1], np.int32), first), {"num_split": 2}, (1, 2), note="int16")
    yield Example((sample(4) > 0, np.array([1, 3], np.int32), first), {"num_split": 2}, (1, 2), note="bool")
    words = np.array([b"a", b"bc", b""], object)
    yield Example((words, np.array([1, 2], np.int32), first), {"num_split": 2}, (1, 2), note="string")


SPECS = (
    OpSpec(
        name="ConcatV2",
        infer=_infer_concat,
        evaluate=_evaluate_concat,
        to_tflite=_lite_concat,
        to_tfjs=_js_concat,
        widens=WIDER_OR_BITS,
        examples=_concat_examples,
    ),
    OpSpec(
        name="Concat",
        infer=_infer_concat,
        evaluate=_evaluate_concat,
        to_tflite=_lite_concat,
        to_tfjs=_js_concat,
        widens=WIDER_OR_BITS,
        examples=_old_concat_examples,
    ),
    OpSpec(
        name="Split",
        attrs={"num_split": 1},
        infer=_infer_split,
        evaluate=_evaluate_split,
        to_tflite=_lite_split,
        to_tfjs=_js_split,
        widens=WIDER_OR_BOOL,
        moves=1,
        examples=_split_examples,
    ),
    OpSpec(
        name="SplitV",
        attrs={"num_split": 1},
        infer=_infer_split_v,
        evaluate=_evaluate_split_v,
        to_tflite=_lite_split_v,
        to_tfjs=_js_split_v,
        expand=_expand_split_v,
        widens=WIDER_OR_BOOL,
        moves=0,
        examples=_split_v_examples,
    ),
)
