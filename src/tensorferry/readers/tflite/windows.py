"""Operators over windows of any rank, gathering of slices, and sums of looked-up rows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.tflite.convolution import interleaved
from tensorferry.readers.tflite.stablehlo import REDUCTIONS, body_operation
from tensorferry.readers.tflite.steps import Rule, Step, int32s
from tensorferry.tensor import DType

_MOST_PLACES = 256
"""Places in a window, each of which becomes a slice."""

_MOST_INDICES = 1 << 20

_FUNCTIONS = {
    "ADD": "AddV2",
    "MUL": "Mul",
    "MINIMUM": "Minimum",
    "MAXIMUM": "Maximum",
    "ALL": "LogicalAnd",
    "ANY": "LogicalOr",
}


def _combined(step: Step, x: Value, op: str, window: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Value:
    """All places of the window, each as a slice of x, combined by the op."""
    shape = x.static_shape
    lists = (window, strides, dilations)
    if shape is None or any(len(each) != len(shape) or min(each, default=1) < 1 for each in lists):
        raise step.refusal("its window does not fit the shape of its input")
    if math.prod(window) > _MOST_PLACES:
        raise step.refusal(f"its window has {math.prod(window)} places, up to {_MOST_PLACES} are written out")
    reach = [(size - 1) * apart + 1 for size, apart in zip(window, dilations, strict=True)]
    counts = [(size - over) // by + 1 for size, over, by in zip(shape, reach, strides, strict=True)]
    if min(counts, default=1) < 1:
        raise step.refusal("its window is larger than its input")
    result: Value | None = None
    for place in itertools.product(*map(range, window)):
        begin = [index * apart for index, apart in zip(place, dilations, strict=True)]
        end = [start + (count - 1) * by + 1 for start, count, by in zip(begin, counts, strides, strict=True)]
        piece = step.make("StridedSlice", x, int32s(*begin), int32s(*end), int32s(*strides))
        result = piece if result is None else step.make(op, result, piece)
    assert result is not None
    return result


def _reduce_window(step: Step) -> Value:
    kind = step.options.member("reduce_function")
    if kind not in _FUNCTIONS:
        raise step.refusal(f"it reduces by {kind}")
    lists = [[int(each) for each in step.known(index, "window")] for index in (2, 3, 4)]
    made = _combined(step, step.input(0), _FUNCTIONS[kind], *lists)
    return step.make(_FUNCTIONS[kind], made, step.make("Reshape", step.input(1), int32s()))


def _stablehlo_reduce_window(step: Step) -> Value:
    kind = body_operation(step)
    if kind not in REDUCTIONS or step.count != 2:
        raise step.refusal("it reduces by more than one simple operation")
    x, start = step.input(0), step.make("Reshape", step.input(1), int32s())
    rank = x.rank
    if rank is None:
        raise step.refusal("the rank of its input is not known")
    options = {
        name: [int(each) for each in step.options.numbers(name)] or [1] * rank
        for name in ("window_dimensions", "window_strides", "base_dilations", "window_dilations")
    }
    pads = np.asarray(step.options.numbers("padding"), np.int64).reshape(-1, 2)
    if (pads < 0).any():
        raise step.refusal("its padding takes away")
    if max(options["base_dilations"]) > 1:
        x = interleaved(step, x, options["base_dilations"], start)
    if pads.any():
        x = step.make("PadV2", x, pads.astype(np.int32), start)
    op = REDUCTIONS[kind][1]
    made = _combined(step, x, op, options["window_dimensions"], options["window_strides"], options["window_dilations"])
    return step.make(op, made, start)


def _stablehlo_gather(step: Step) -> Value:
    """Slices of one size from places that are computed: each element by its full index."""
    x, places = step.input(0), step.input(1)
    lists = {
        name: [int(each) for each in step.options.numbers(name)]
        for name in ("offset_dims", "collapsed_slice_dims", "start_index_map", "slice_sizes")
    }
    shape, sizes = x.static_shape, lists["slice_sizes"]
    vector = step.options.number("index_vector_dim")
    known = places.static_shape
    if shape is None or known is None or len(sizes) != len(shape) or math.prod(sizes) > _MOST_INDICES:
        raise step.refusal("its sizes are not known, or do not fit its input")
    if vector == len(known):
        places = step.make("ExpandDims", places, np.asarray(-1, np.int32))
    elif vector != len(known) - 1:
        raise step.refusal("its indices do not stand along the last axis")
    batch = known[:-1] if vector == len(known) - 1 else known
    rank, mapped = len(shape), lists["start_index_map"]
    if any(not 0 <= axis < rank for axis in mapped):
        raise step.refusal("its indices name an axis that its input does not have")
    places = step.make("Cast", places, SrcT=places.dtype, DstT=DType.INT32) if places.dtype is not DType.INT32 else places
    room = int32s(*(shape[axis] - sizes[axis] for axis in mapped))
    places = step.make("Maximum", step.make("Minimum", places, room), np.zeros(len(mapped), np.int32))
    spread = np.zeros((len(mapped), rank), np.int32)
    spread[np.arange(len(mapped)), mapped] = 1
    flat = step.make("Reshape", places, int32s(-1, 1, len(mapped)))
    starts = step.make("Sum", step.make("Mul", step.make("ExpandDims", flat, np.asarray(-1, np.int32)), spread), int32s(2))
    inside = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), axis=-1).reshape(1, -1, rank).astype(np.int32)
    found = step.make("GatherNd", x, step.make("AddV2", starts, inside))
    kept = [size for axis, size in enumerate(sizes) if axis not in lists["collapsed_slice_dims"]]
    made = step.make("Reshape", found, int32s(*batch, *kept))
    return _offsets_in_place(step, made, len(batch), lists["offset_dims"])


def _offsets_in_place(step: Step, value: Value, batch: int, offsets: Sequence[int]) -> Value:
    """The axes of the slices, which stand last, go where they belong; the others keep their order around them."""
    rank = batch + len(offsets)
    if value.rank != rank or sorted(set(offsets)) != list(offsets) or any(not 0 <= axis < rank for axis in offsets):
        raise step.refusal("its axes do not fit each other")
    others, slices = iter(range(batch)), iter(range(batch, rank))
    order = [next(slices) if axis in offsets else next(others) for axis in range(rank)]
    return value if order == list(range(rank)) else step.make("Transpose", value, int32s(*order))


def _embedding_lookup_sparse(step: Step) -> Value:
    """Rows by number, weighted and added up where they go to the same place."""
    ids, indices, values = step.input(0), step.input(1), step.input(4)
    shape = [int(each) for each in step.known(2, "shape")]
    width = values.static_shape
    if width is None or not shape or math.prod(shape) > _MOST_INDICES or any(size < 1 for size in shape):
        raise step.refusal("its shape or that of its rows is not known")
    strides = [math.prod(shape[axis + 1 : -1]) for axis in range(len(shape) - 1)]
    target = step.make("Sum", step.make("Mul", indices, int32s(*strides, 0)), int32s(1))
    count, weights = (
        np.asarray(math.prod(shape[:-1]), np.int32),
        step.make("Reshape", step.input(3), int32s(-1, *[1] * (len(width) - 1))),
    )
    rows = step.make("Mul", step.make("GatherV2", values, ids, np.asarray(0, np.int32)), weights)
    total = step.make("UnsortedSegmentSum", rows, target, count)
    combiner = step.options.member("combiner")
    if combiner != "SUM":
        each = weights if combiner == "MEAN" else step.make("Square", weights)
        weight = step.make("UnsortedSegmentSum", each, target, count)
        weight = weight if combiner == "MEAN" else step.make("Sqrt", weight)
        total = step.make("DivNoNan", total, weight)
    return step.make("Reshape", total, int32s(*shape[:-1], *width[1:]))


RULES: dict[str, Rule] = {
    "REDUCE_WINDOW": _reduce_window,
    "STABLEHLO_REDUCE_WINDOW": _stablehlo_reduce_window,
    "STABLEHLO_GATHER": _stablehlo_gather,
    "EMBEDDING_LOOKUP_SPARSE": _embedding_lookup_sparse,
}
