"""Ops that turn elements round along axes: Reverse, ReverseV2, ReverseSequence, Roll."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tensorferry.ir import Dim, Graph, Node, Typed, Value
from tensorferry.ops.dims import known_integers, merge_dims
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.index_operands import int32_vector, lite_int32, narrow_constant, require_dtype, require_rank
from tensorferry.ops.samples import sample
from tensorferry.ops.sizes import Sizes, count_up, scalar
from tensorferry.ops.spec import WIDER_OR_BOOL, Declined, Example, OpSpec, normalize_axis, same_as_input
from tensorferry.ops.structure import lite_copy
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import Array, DType

# -- ReverseV2, and the old Reverse, which has a flag for each axis ------------------------------------------------


def _reversed_axes(node: Node) -> list[int] | None:
    """The axes in order, from the front; None when they are computed."""
    value, operand = node.inputs
    if node.op == "Reverse":
        flags = operand.constant
        return None if flags is None else [axis for axis, flag in enumerate(flags.array().tolist()) if flag]
    axes = known_integers(operand)
    if axes is None or (value.shape is None and any(axis < 0 for axis in axes)):
        return None
    found = sorted(axes if value.shape is None else (normalize_axis(axis, len(value.shape)) for axis in axes))
    if len(set(found)) != len(found):
        raise Declined("an axis is named twice", attributes=f"axis={list(axes)}")
    return found


def _infer_reverse(node: Node) -> list[Typed]:
    value = node.inputs[0]
    axes = _reversed_axes(node)
    content = value.content[::-1] if value.content is not None and axes == [0] else None
    return [Typed(value.dtype, value.shape, value.content if axes == [] else content)]


def _evaluate_reverse(node: Node, array: Array, operand: Array) -> Array:
    if node.op == "Reverse":
        axes = [axis for axis, flag in enumerate(operand.tolist()) if flag]
    else:
        axes = [normalize_axis(axis, array.ndim) for axis in operand.tolist()]
    return np.flip(array, tuple(axes))


_LITE_REVERSE = {
    DType.FLOAT32: 1,
    DType.INT32: 1,
    DType.INT64: 1,
    DType.UINT8: 1,
    DType.INT16: 1,
    DType.BOOL: 2,
    DType.INT8: 3,
}


def _lite_reverse(node: Node) -> list[LiteOp]:
    """REVERSE_V2 knows few types, only axes that are neighbours, and dies where no axis or no element is; steps of -1 do not."""
    value, operand = node.inputs
    axes = _reversed_axes(node)
    if axes is None and node.op == "ReverseV2":
        require_dtype(value, tuple(_LITE_REVERSE), "REVERSE_V2")
        casts, narrowed = lite_int32(operand)
        return [*casts, LiteOp("REVERSE_V2", (value, narrowed), (node.output,), {}, _LITE_REVERSE[value.dtype])]
    if axes is None:
        raise Declined("its axes are computed while the model runs", remedy="make them constant in the source model")
    if not axes or value.shape == () or 0 in (value.shape or ()):
        return lite_copy(value, node.output, value.typed)
    neighbours = axes == list(range(axes[0], axes[-1] + 1))
    if value.dtype in _LITE_REVERSE and neighbours and value.static_shape is not None:
        return [LiteOp("REVERSE_V2", (value, int32_vector(axes)), (node.output,), {}, _LITE_REVERSE[value.dtype])]
    rank = require_rank(value, 8, "STRIDED_SLICE")
    every = (1 << rank) - 1
    masks = {"begin_mask": every, "end_mask": every, "ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 0}
    zeros = int32_vector([0] * rank)
    steps = int32_vector([-1 if axis in axes else 1 for axis in range(rank)])
    version = 8 if rank > 5 else 5 if value.dtype is DType.STRING else 4
    return [LiteOp("STRIDED_SLICE", (value, zeros, zeros, steps), (node.output,), masks, version)]


def _js_reverse(node: Node) -> list[JsNode]:
    value, operand = node.inputs
    axes = _reversed_axes(node)
    if axes == []:
        return [JsNode("Identity", (value,), (node.output,), {"T": value.dtype})]
    if value.dtype not in (DType.FLOAT32, DType.INT32):  # WebAssembly takes four bytes for each bool
        raise Declined(f"TensorFlow.js does not reverse {value.dtype} tensors", attributes=f"T={value.dtype}")
    if axes is None and node.op == "Reverse":
        return [JsNode("Reverse", (value, operand), (node.output,), {"T": value.dtype})]
    wanted = narrow_constant(operand) if axes is None else int32_vector(axes)
    return [JsNode("ReverseV2", (value, wanted), (node.output,), {"T": value.dtype, "Tidx": DType.INT32})]


def _reverse_examples() -> Iterator[Example]:
    x = sample(2, 3, 4, 2)
    yield Example((x, np.array([1], np.int32)), constants=(1,))
    yield Example((x, np.array([], np.int32)), constants=(1,), note="no axis")
    yield Example((x, np.array([0, -1])), constants=(1,), note="outer axes, 64-bit")
    yield Example((x.astype(np.int32), np.array([1, 2], np.int32)), constants=(1,), note="neighbours, int32")
    yield Example((x > 0, np.array([3], np.int32)), constants=(1,), note="bool")
    yield Example((np.arange(6, dtype=np.uint16).reshape(2, 3), np.array([1], np.int32)), constants=(1,), note="uint16")
    yield Example((np.arange(6, dtype=np.int8).reshape(2, 3), np.array([0, 1], np.int32)), constants=(1,), note="int8")
    yield Example((np.array([[b"a", b"bc"], [b"", b"d"]], object), np.array([1], np.int32)), constants=(1,), note="string")
    yield Example((sample(2, 1, 2, 1, 2, 3), np.array([0, 2, 5], np.int32)), constants=(1,), note="rank 6")
    yield Example((np.zeros((0, 3), np.float32), np.array([0], np.int32)), constants=(1,), note="empty")
    yield Example((x, np.array([2], np.int32)), note="computed axis")
    yield Example((sample(), np.array([], np.int32)), constants=(1,), note="scalar")


def _old_reverse_examples() -> Iterator[Example]:
    yield Example((sample(2, 3, 4), np.array([True, False, True])), constants=(1,))
    yield Example((sample(2, 3), np.array([False, False])), constants=(1,), note="nothing")


# -- ReverseSequence -----------------------------------------------------------------------------------------------


def _sequence_axes(node: Node) -> tuple[int, int]:
    """Axis of the sequence, axis of the batch."""
    seq, batch = int(node["seq_dim"]), int(node["batch_dim"])
    rank = node.inputs[0].rank
    if rank is None:
        return seq, batch
    seq, batch = normalize_axis(seq, rank), normalize_axis(batch, rank)
    if seq == batch:
        raise Declined("batch and sequence are the same axis", attributes=f"seq_dim={seq}")
    return seq, batch


def _infer_reverse_sequence(node: Node) -> list[Typed]:
    value, lengths = node.inputs
    _, batch = _sequence_axes(node)
    if value.shape is None:
        return [Typed(value.dtype, None)]
    shape = list(value.shape)
    if lengths.shape is not None and len(lengths.shape) == 1:
        shape[batch] = merge_dims(shape[batch], lengths.shape[0])
    return [Typed(value.dtype, tuple(shape))]


def _evaluate_reverse_sequence(node: Node, array: Array, lengths: Array) -> Array:
    seq, batch = _sequence_axes(node)
    made = array.copy()
    rows, source = np.moveaxis(made, (batch, seq), (0, 1)), np.moveaxis(array, (batch, seq), (0, 1))
    for place, length in enumerate(lengths.tolist()):
        if not 0 <= length <= source.shape[1]:
            raise Declined(f"a length of {length} is beyond the sequence's {source.shape[1]}")
        rows[place, :length] = source[place, :length][::-1]
    return made


_LITE_REVERSE_SEQUENCE = (DType.FLOAT32, DType.INT32, DType.INT64, DType.UINT8, DType.INT16)


def _lite_reverse_sequence(node: Node) -> list[LiteOp]:
    require_dtype(node.inputs[0], _LITE_REVERSE_SEQUENCE, "REVERSE_SEQUENCE")
    require_rank(node.inputs[0], 8, "REVERSE_SEQUENCE")
    seq, batch = _sequence_axes(node)
    return [LiteOp("REVERSE_SEQUENCE", tuple(node.inputs), (node.output,), {"seq_dim": seq, "batch_dim": batch})]


def _expand_reverse_sequence(graph: Graph, node: Node) -> bool:
    """Each step's place: length - 1 - step before the length, the step itself after; picked with the batch's number beside it."""
    value, lengths = node.inputs
    if value.shape is None:
        return False
    seq, batch = _sequence_axes(node)
    expansion = Expansion(graph, node)
    order = [batch, seq, *(axis for axis in range(len(value.shape)) if axis not in (batch, seq))]
    front = value if order == sorted(order) else expansion.make("Transpose", value, np.array(order, np.int32))
    sizes = Sizes(expansion, front)
    narrow = lengths if lengths.dtype is DType.INT32 else expansion.make("Cast", lengths, DstT=DType.INT32)
    column = expansion.make("ExpandDims", narrow, np.array(1, np.int32))
    steps = expansion.make("ExpandDims", count_up(expansion, sizes[1]), np.array(0, np.int32))
    turned = expansion.make("Sub", expansion.make("Sub", column, np.array(1, np.int32)), steps)
    inside = expansion.make("Less", steps, column)
    # A choice by sums, for a step is broadcast against a length; before the length 1, after it 0.
    chosen = expansion.make("Cast", inside, DstT=DType.INT32)
    places = expansion.make("AddV2", steps, expansion.make("Mul", chosen, expansion.make("Sub", turned, steps)))
    rows = expansion.make("ExpandDims", count_up(expansion, sizes[0]), np.array(1, np.int32))
    rows = expansion.make("AddV2", rows, expansion.make("Mul", places, np.array(0, np.int32)))
    picked = expansion.make("GatherNd", front, expansion.make("Pack", rows, places, axis=2))
    back = np.argsort(order).astype(np.int32)
    return expansion.finish(picked if order == sorted(order) else expansion.make("Transpose", picked, back))


def _reverse_sequence_examples() -> Iterator[Example]:
    lengths = np.array([2, 4, 0], np.int32)
    yield Example((sample(3, 4), lengths), {"seq_dim": 1, "batch_dim": 0}, constants=(1,))
    yield Example((sample(3, 4, 2), np.array([1, 3, 4])), {"seq_dim": 1, "batch_dim": 0}, constants=(1,), note="64-bit")
    yield Example((sample(4, 3, 2), lengths), {"seq_dim": 0, "batch_dim": 1}, note="time first, computed lengths")
    yield Example((sample(2, 4, 2, 3), lengths), {"seq_dim": 1, "batch_dim": 3}, constants=(1,), note="batch last")
    yield Example((np.arange(12, dtype=np.int32).reshape(3, 4), lengths), {"seq_dim": 1}, constants=(1,), note="int32")
    yield Example((np.arange(12, dtype=np.int8).reshape(3, 4), lengths), {"seq_dim": 1}, constants=(1,), note="int8")
    yield Example((sample(3, 4) > 0, lengths), {"seq_dim": 1}, constants=(1,), note="bool")
    words = np.array([[b"a", b"b"], [b"c", b"d"]], object)
    yield Example((words, np.array([2, 1], np.int32)), {"seq_dim": 1}, constants=(1,), note="string")


# -- Roll ----------------------------------------------------------------------------------------------------------


def _infer_roll(node: Node) -> list[Typed]:
    value, _, axis = node.inputs
    places = known_integers(axis)
    if value.shape is not None:
        for place in places or ():
            normalize_axis(place, len(value.shape))
    return same_as_input(node)


def _evaluate_roll(_node: Node, array: Array, shift: Array, axis: Array) -> Array:
    axes = [normalize_axis(place, array.ndim) for place in axis.reshape(-1).tolist()]
    return np.roll(array, [int(each) for each in shift.reshape(-1)], axes)


def _expand_roll(graph: Graph, node: Node) -> bool:
    """The end of each axis is cut off and put before the rest; where size or shift are computed, places are counted round."""
    value, shift, axis = node.inputs
    axes, shifts = known_integers(axis), known_integers(shift)
    if axes is None or value.shape is None:
        raise Declined("its axes are computed while the model runs", remedy="make them constant in the source model")
    expansion = Expansion(graph, node)
    places = [normalize_axis(each, len(value.shape)) for each in axes]
    if shifts is None:
        return expansion.finish(_roll_computed(expansion, places, shift))
    moved = value
    for place in sorted(set(places)):
        total = sum(each for each, at in zip(shifts, places, strict=True) if at == place)
        moved = _roll_by(expansion, moved, place, total)
    return expansion.finish(moved if moved is not value else expansion.make("Identity", value))


def _roll_by(expansion: Expansion, value: Value, axis: int, shift: int) -> Value:
    assert value.shape is not None
    dim: Dim = value.shape[axis]
    if not shift:
        return value
    if isinstance(dim, str):
        return _count_round(expansion, value, axis, expansion.constant(np.array(shift, np.int32), "shift"))
    split = shift % dim if dim else 0
    if not split:
        return value
    pieces = expansion.make_node("SplitV", value, np.array([dim - split, split], np.int32), np.array(axis, np.int32), num_split=2)
    return expansion.make("ConcatV2", pieces.outputs[1], pieces.outputs[0], np.array(axis, np.int32))


def _roll_computed(expansion: Expansion, axes: Sequence[int], shift: Value) -> Value:
    value = expansion.node.inputs[0]
    narrow = shift if shift.dtype is DType.INT32 else expansion.make("Cast", shift, DstT=DType.INT32)
    row = expansion.make("Reshape", narrow, np.array([-1], np.int32))
    for number, axis in enumerate(axes):
        at, after, one = (np.array([each], np.int32) for each in (number, number + 1, 1))
        value = _count_round(expansion, value, axis, expansion.make("StridedSlice", row, at, after, one, shrink_axis_mask=1))
    return value


def _count_round(expansion: Expansion, value: Value, axis: int, shift: Value) -> Value:
    """Along an axis of n elements, the element at (i - shift) mod n comes to i."""
    size = Sizes(expansion, value)[axis]
    apart = expansion.make("Sub", count_up(expansion, size), shift)
    whole = expansion.make("Maximum", scalar(expansion, size), np.array(1, np.int32))  # LiteRT divides even where nothing is
    places = expansion.make("FloorMod", apart, whole)
    return expansion.make("GatherV2", value, places, np.array(axis, np.int32))


def _roll_examples() -> Iterator[Example]:
    x = sample(3, 4, 2)
    one = np.array(1, np.int32)
    yield Example((x, one, one), constants=(1, 2))
    yield Example((x, np.array([-1, 2]), np.array([0, 1])), constants=(1, 2), note="two axes, 64-bit")
    yield Example((x, np.array([2, 3, 7], np.int32), np.array([1, 1, -1], np.int32)), constants=(1, 2), note="an axis twice")
    yield Example((x, np.array(6, np.int32), np.array(0, np.int32)), constants=(1, 2), note="all the way round")
    yield Example((x, np.array([5, -1], np.int32), np.array([1, 0], np.int32)), constants=(2,), note="computed shifts")
    yield Example((np.arange(5, dtype=np.int32), np.array(-2, np.int32), np.array(0, np.int32)), constants=(1, 2), note="int32")
    yield Example((np.arange(5, dtype=np.uint8), np.array(1, np.int32), np.array(0, np.int32)), constants=(1, 2), note="uint8")
    yield Example((x > 0, one, one), constants=(1, 2), note="bool")
    words = np.array([b"a", b"b", b"cc"], object)
    yield Example((words, one, np.array(0, np.int32)), constants=(1, 2), note="string")
    yield Example((sample(2, 1, 3, 1, 2, 2), np.array([1, 1], np.int32), np.array([2, 5], np.int32)), {}, (1, 2), note="rank 6")
    yield Example((np.zeros((2, 0), np.float32), one, one), constants=(1, 2), note="empty")


SPECS = (
    OpSpec(
        name="ReverseV2",
        infer=_infer_reverse,
        evaluate=_evaluate_reverse,
        to_tflite=_lite_reverse,
        to_tfjs=_js_reverse,
        widens={DType.BOOL: DType.INT32},
        moves=0,
        examples=_reverse_examples,
    ),
    OpSpec(
        name="Reverse",
        infer=_infer_reverse,
        evaluate=_evaluate_reverse,
        to_tflite=_lite_reverse,
        to_tfjs=_js_reverse,
        widens={DType.BOOL: DType.INT32},
        moves=0,
        examples=_old_reverse_examples,
    ),
    OpSpec(
        name="ReverseSequence",
        attrs={"seq_dim": 0, "batch_dim": 0},
        infer=_infer_reverse_sequence,
        evaluate=_evaluate_reverse_sequence,
        to_tflite=_lite_reverse_sequence,
        expand=_expand_reverse_sequence,
        widens=WIDER_OR_BOOL,
        moves=0,
        examples=_reverse_sequence_examples,
    ),
    OpSpec(
        name="Roll",
        infer=_infer_roll,
        evaluate=_evaluate_roll,
        expand=_expand_roll,
        moves=0,
        examples=_roll_examples,
    ),
)
