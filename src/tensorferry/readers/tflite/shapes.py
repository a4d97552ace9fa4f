"""Operators that move elements: shapes, slices, joins, padding, picking and placing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.tflite.steps import Rule, Step, int32s
from tensorferry.tensor import DType

_MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
_MOST_OUTPUTS = 1 << 12


def _plain(op: str, count: int) -> Rule:
    """The op of TensorFlow with the same inputs."""
    return lambda step: step.make(op, *(step.input(index) for index in range(count)))


def _reshape(step: Step) -> Value:
    """The shape is an input, or of old files an option."""
    if step.has(1):
        shape = step.input(1)
        if shape.rank == 1 or shape.rank is None:
            return step.make("Reshape", step.input(0), shape)
    return step.make("Reshape", step.input(0), step.options.numbers("new_shape").astype(np.int32))


def _squeeze(step: Step) -> Value:
    axes = [int(each) for each in step.options.numbers("squeeze_dims")]
    return step.make("Squeeze", step.input(0), squeeze_dims=axes)


def _strided_slice(step: Step) -> Value:
    begin, end = step.input(1), step.input(2)
    if step.options.flag("offset"):  # the end is counted from the beginning
        end = step.make("AddV2", begin, end)
    return step.make(
        "StridedSlice", step.input(0), begin, end, step.input(3), **{mask: step.options.number(mask) for mask in _MASKS}
    )


def _concatenation(step: Step) -> Value:
    values = step.inputs()
    if len(values) == 1:
        return step.activated(values[0])
    joined = step.make("ConcatV2", *values, np.asarray(step.options.number("axis"), np.int32), N=len(values))
    return step.activated(joined)


def _pack(step: Step) -> Value:
    values = step.inputs()
    return step.make("Pack", *values, N=len(values), axis=step.options.number("axis"))


def _unpack(step: Step) -> Sequence[Value]:
    attrs = {"num": _outputs(step, step.options.number("num")), "axis": step.options.number("axis")}
    return step.make_node("Unpack", step.input(0), **attrs).outputs


def _split(step: Step) -> Sequence[Value]:
    return step.make_node(
        "Split", step.input(0), step.input(1), num_split=_outputs(step, step.options.number("num_splits"))
    ).outputs


def _split_v(step: Step) -> Sequence[Value]:
    count = _outputs(step, step.options.number("num_splits"))
    return step.make_node("SplitV", step.input(0), step.input(1), step.input(2), num_split=count).outputs


def _outputs(step: Step, count: int) -> int:
    if count != len(step.record.outputs) or not 0 < count <= _MOST_OUTPUTS:
        raise step.refusal(f"it is said to make {count} pieces, and has {len(step.record.outputs)} outputs")
    return count


def _mirror_pad(step: Step) -> Value:
    return step.make("MirrorPad", step.input(0), step.input(1), mode=step.options.member("mode"))


def _pad(step: Step) -> Value:
    """Padding of a quantised tensor is with its zero, which is 0."""
    return step.make("Pad", step.input(0), step.input(1))


def _gather(step: Step) -> Value:
    axis = np.asarray(step.options.number("axis"), np.int32)
    return step.make("GatherV2", step.input(0), step.input(1), axis, batch_dims=step.options.number("batch_dims"))


def _embedding_lookup(step: Step) -> Value:
    return step.make("GatherV2", step.input(1), step.input(0), np.asarray(0, np.int32))


def _shape(step: Step) -> Value:
    return step.make("Shape", step.input(0), out_type=step.output().dtype)


def _one_hot(step: Step) -> Value:
    values = [step.input(index) for index in range(4)]
    return step.make("OneHot", *values, axis=step.options.number("axis"))


def _unique(step: Step) -> Sequence[Value]:
    kind = step.options.member("idx_out_type")
    return step.make_node("Unique", step.input(0), out_idx=DType.INT64 if kind == "INT64" else DType.INT32).outputs


def _reverse_sequence(step: Step) -> Value:
    attrs = {"seq_dim": step.options.number("seq_dim"), "batch_dim": step.options.number("batch_dim")}
    return step.make("ReverseSequence", step.input(0), step.input(1), **attrs)


def _blocks(op: str) -> Rule:
    return lambda step: step.make(op, step.input(0), block_size=step.options.number("block_size"))


def _resize(op: str) -> Rule:
    def read(step: Step) -> Value:
        attrs = {name: step.options.flag(name) for name in ("align_corners", "half_pixel_centers")}
        return step.make(op, step.input(0), step.input(1), **attrs)

    return read


def _top_k(step: Step) -> Sequence[Value]:
    return step.make_node("TopKV2", step.input(0), step.input(1), sorted=True).outputs


def _dynamic_update(step: Step) -> Value:
    return step.make("XlaDynamicUpdateSlice", step.input(0), step.input(1), step.input(2))


def _sparse_to_dense(step: Step) -> Value:
    values = [step.input(index) for index in range(4)]
    return step.make("SparseToDense", *values, validate_indices=step.options.flag("validate_indices"))


def _scatter_nd(step: Step) -> Value:
    return step.make("ScatterNd", step.input(0), step.input(1), step.input(2))


def _segments(op: str, *, sized: bool) -> Rule:
    return lambda step: step.make(op, *(step.input(index) for index in range(3 if sized else 2)))


def _hashtable_lookup(step: Step) -> Sequence[Value]:
    """Rows whose key is asked for, and whether there is one: rows of zeros where there is none."""
    asked, keys, values = (step.input(index) for index in range(3))
    same = step.make("Equal", step.make("ExpandDims", asked, np.asarray(1, np.int32)), keys)
    found = step.make("Any", same, int32s(1))
    place = step.make("ArgMax", step.make("Cast", same, SrcT=DType.BOOL, DstT=DType.INT32), np.asarray(1, np.int32))
    rows = step.make("GatherV2", values, place, np.asarray(0, np.int32))
    hits = found
    for _axis in range((values.rank or 1) - 1):
        found = step.make("ExpandDims", found, np.asarray(-1, np.int32))
    kept = step.make("SelectV2", found, rows, step.make("ZerosLike", rows))
    return [kept, step.make("Cast", hits, SrcT=DType.BOOL, DstT=DType.UINT8)]


def _suppression(op: str, count: int, order: Sequence[int]) -> Rule:
    """Non-maximum suppression; `order` tells which output of the op stands for which of the operator's."""

    def read(step: Step) -> Sequence[Value]:
        values = [step.input(index) for index in range(count)]
        made = step.make_node(op, *values, pad_to_max_output_size=True).outputs
        return [made[place] for place in order]

    return read


RULES: dict[str, Rule] = {
    "RESHAPE": _reshape,
    "SQUEEZE": _squeeze,
    "STRIDED_SLICE": _strided_slice,
    "CONCATENATION": _concatenation,
    "PACK": _pack,
    "UNPACK": _unpack,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "PAD": _pad,
    "PADV2": _plain("PadV2", 3),
    "MIRROR_PAD": _mirror_pad,
    "GATHER": _gather,
    "GATHER_ND": _plain("GatherNd", 2),
    "EMBEDDING_LOOKUP": _embedding_lookup,
    "HASHTABLE_LOOKUP": _hashtable_lookup,
    "TRANSPOSE": _plain("Transpose", 2),
    "SLICE": _plain("Slice", 3),
    "TILE": _plain("Tile", 2),
    "EXPAND_DIMS": _plain("ExpandDims", 2),
    "SHAPE": _shape,
    "RANK": _plain("Rank", 1),
    "FILL": _plain("Fill", 2),
    "RANGE": _plain("Range", 3),
    "REVERSE_V2": _plain("ReverseV2", 2),
    "REVERSE_SEQUENCE": _reverse_sequence,
    "WHERE": _plain("Where", 1),
    "ONE_HOT": _one_hot,
    "UNIQUE": _unique,
    "MATRIX_DIAG": _plain("MatrixDiag", 1),
    "MATRIX_SET_DIAG": _plain("MatrixSetDiag", 2),
    "BROADCAST_TO": _plain("BroadcastTo", 2),
    "BROADCAST_ARGS": _plain("BroadcastArgs", 2),
    "BATCH_TO_SPACE_ND": _plain("BatchToSpaceND", 3),
    "SPACE_TO_BATCH_ND": _plain("SpaceToBatchND", 3),
    "SPACE_TO_DEPTH": _blocks("SpaceToDepth"),
    "DEPTH_TO_SPACE": _blocks("DepthToSpace"),
    "RESIZE_BILINEAR": _resize("ResizeBilinear"),
    "RESIZE_NEAREST_NEIGHBOR": _resize("ResizeNearestNeighbor"),
    "TOPK_V2": _top_k,
    "DYNAMIC_UPDATE_SLICE": _dynamic_update,
    "SPARSE_TO_DENSE": _sparse_to_dense,
    "SCATTER_ND": _scatter_nd,
    "SEGMENT_SUM": _segments("SegmentSum", sized=False),
    "UNSORTED_SEGMENT_SUM": _segments("UnsortedSegmentSum", sized=True),
    "UNSORTED_SEGMENT_PROD": _segments("UnsortedSegmentProd", sized=True),
    "UNSORTED_SEGMENT_MAX": _segments("UnsortedSegmentMax", sized=True),
    "UNSORTED_SEGMENT_MIN": _segments("UnsortedSegmentMin", sized=True),
    "NON_MAX_SUPPRESSION_V4": _suppression("NonMaxSuppressionV4", 5, (0, 1)),
    "NON_MAX_SUPPRESSION_V5": _suppression("NonMaxSuppressionV5", 6, (0, 1, 2)),
}
