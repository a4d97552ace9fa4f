"""Ops that put a piece into a tensor: XlaDynamicUpdateSlice, TensorStridedSliceUpdate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import zip_longest

import numpy as np

from tensorferry.ir import Graph, Node, Value
from tensorferry.ops.dims import known_integers
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.index_operands import int32_vector, lite_int32, require_rank
from tensorferry.ops.samples import sample
from tensorferry.ops.sizes import Size, Sizes, pick, plus, reshape, scalar, vector
from tensorferry.ops.spec import Declined, Example, OpSpec, same_as_input
from tensorferry.ops.strided import MASKS, Cut, Cuts, Request, cut_size, masks_of, numpy_index, places_of, plan_cuts, read_request
from tensorferry.targets import LiteOp
from tensorferry.tensor import Array, DType

# -- XlaDynamicUpdateSlice -----------------------------------------------------------------------------------------


def _evaluate_update(_node: Node, array: Array, update: Array, start: Array) -> Array:
    """Where the piece would reach beyond the end it is moved back, as XLA has it."""
    made = array.copy()
    begins = [min(max(int(at), 0), size - part) for at, size, part in zip(start, array.shape, update.shape, strict=True)]
    made[tuple(slice(begin, begin + part) for begin, part in zip(begins, update.shape, strict=True))] = update
    return made


def _lite_update(node: Node) -> list[LiteOp]:
    value, update, start = node.inputs
    if value.dtype is DType.STRING:
        raise Declined("DYNAMIC_UPDATE_SLICE takes no string tensor")
    require_rank(value, 8, "DYNAMIC_UPDATE_SLICE")
    places = known_integers(start)
    casts, operand = ([], int32_vector(places)) if places is not None else lite_int32(start)
    plain = (DType.FLOAT32, DType.INT32, DType.INT64, DType.INT8, DType.BOOL)
    version = 1 if value.dtype in plain else 2 if value.dtype is DType.FLOAT16 else 6
    return [*casts, LiteOp("DYNAMIC_UPDATE_SLICE", (value, update, operand), (node.output,), {}, version)]


def _expand_update(graph: Graph, node: Node) -> bool:
    """What lies before the piece and after it, joined axis by axis from the last one; what else is there is cut out first."""
    value, update, start = node.inputs
    if value.shape is None or update.shape is None:
        return False
    expansion, rank = Expansion(graph, node), len(value.shape)
    sizes, parts = Sizes(expansion, value), Sizes(expansion, update)
    known = known_integers(start)
    narrow = start if start.dtype is DType.INT32 or known is not None else expansion.make("Cast", start, DstT=DType.INT32)
    begins: list[Size] = []
    for axis in range(rank):
        begin = known[axis] if known is not None else pick(expansion, narrow, axis)
        begins.append(_clamped(expansion, begin, sizes[axis], parts[axis]))
    covered = [value.shape[axis] == update.shape[axis] and value.shape[axis] != "?" for axis in range(rank)]
    made = update
    for axis in reversed(range(rank)):
        if not covered[axis]:
            made = _wrap(expansion, made, axis, begins, parts)
    return expansion.finish(made if made is not update else expansion.make("Identity", update))


def _clamped(expansion: Expansion, begin: Size, size: Size, part: Size) -> Size:
    """The begin, so that the whole piece lies inside."""
    if isinstance(begin, int) and isinstance(size, int) and isinstance(part, int):
        return min(max(begin, 0), size - part)
    room = expansion.make("Sub", scalar(expansion, size), scalar(expansion, part))
    inside = expansion.make("Minimum", scalar(expansion, begin), room)
    return expansion.make("Maximum", inside, np.array(0, np.int32))


def _wrap(expansion: Expansion, inner: Value, axis: int, begins: Sequence[Size], parts: Sizes) -> Value:
    """The inner part with what the tensor has before and after it along the axis, at the piece's place in the axes before."""
    value = expansion.node.inputs[0]
    rank = len(value.shape or ())
    lead, counts = list(begins[:axis]), [parts[each] for each in range(axis)]
    tail = [0] * (rank - axis - 1)
    rest = [-1] * (rank - axis - 1)
    begin, part = begins[axis], parts[axis]
    before = expansion.make("Slice", value, vector(expansion, [*lead, 0, *tail]), vector(expansion, [*counts, begin, *rest]))
    end = begin + part if isinstance(begin, int) and isinstance(part, int) else None
    after_at: Size = end if end is not None else expansion.make("AddV2", scalar(expansion, begin), scalar(expansion, part))
    after = expansion.make("Slice", value, vector(expansion, [*lead, after_at, *tail]), vector(expansion, [*counts, -1, *rest]))
    return expansion.make("ConcatV2", before, inner, after, np.array(axis, np.int32))


def _update_examples() -> Iterator[Example]:
    start = np.array([1, 0, 2], np.int32)
    yield Example((sample(3, 4, 5), sample(1, 2, 3, seed=1), start), constants=(2,))
    yield Example((sample(3, 4, 5), sample(1, 2, 3, seed=1), start), note="computed")
    yield Example((sample(3, 4), sample(2, 4, seed=1), np.array([2, 0])), constants=(2,), note="moved back, int64")
    yield Example((np.arange(6, dtype=np.uint16), np.array([9, 8], np.uint16), np.array([3], np.int32)), {}, (2,), note="uint16")


# -- TensorStridedSliceUpdate --------------------------------------------------------------------------------------


def _evaluate_strided_update(node: Node, array: Array, begin: Array, end: Array, strides: Array, update: Array) -> Array:
    index = numpy_index(array.shape, plan_cuts(Request(begin.tolist(), end.tolist(), strides.tolist(), masks_of(node)), array.ndim))
    made = array.copy()
    made[index] = update
    return made


def _request_without_update(node: Node) -> Request | None:
    trial = Node(node.name, node.op, node.inputs[:4], node.attrs, ())
    try:
        return read_request(trial)
    finally:
        trial.set_inputs(())


def _expand_strided_update(graph: Graph, node: Node) -> bool:
    value, request = node.inputs[0], _request_without_update(node)
    if value.shape is None or request is None:
        raise Declined("its strides are computed while the model runs", remedy="make the strides constant in the source model")
    plan = plan_cuts(request, len(value.shape))
    cuts = [cut for cut in plan if cut is not None]
    if all(cut.stride == 1 for cut in cuts):
        return _update_piece(Expansion(graph, node), plan, places_of(request, len(value.shape)))
    if value.static_shape is None or any(isinstance(bound, str) for cut in cuts for bound in (cut.begin, cut.end)):
        raise Declined("with steps, all sizes and bounds have to be known", remedy="fix the model's input size")
    return _update_places(Expansion(graph, node), plan, value.static_shape)


def _update_piece(expansion: Expansion, plan: Cuts, places: Sequence[int]) -> bool:
    """Steps of 1: the update in the tensor's rank is put in where the cuts begin. What it covers is as large as it is."""
    value, begin_operand, _end, _strides, update = expansion.node.inputs
    narrow = begin_operand if begin_operand.dtype is DType.INT32 else expansion.make("Cast", begin_operand, DstT=DType.INT32)
    own = Sizes(expansion, value)
    covered = _covered(expansion, plan)
    begins: list[Size] = []
    axis = 0
    for cut, place in zip_longest(plan, places, fillvalue=-1):
        if isinstance(cut, Cut):
            begins.append(_begin_of(expansion, cut, narrow, place, own[axis]))
            axis += 1
    if update.rank == 0:
        piece = expansion.make("BroadcastTo", update, vector(expansion, covered))
    else:
        piece = reshape(expansion, update, covered)
    return expansion.finish(expansion.make("XlaDynamicUpdateSlice", value, piece, vector(expansion, begins)))


def _covered(expansion: Expansion, plan: Cuts) -> list[Size]:
    """How much of each axis is written over."""
    value, update = expansion.node.inputs[0], expansion.node.inputs[4]
    own, given = Sizes(expansion, value), Sizes(expansion, update)
    covered: list[Size] = []
    axis = place = 0
    for cut in plan:
        if cut is None:
            place += 1
            continue
        dim = (value.shape or ())[axis]
        left = dim if cut.keeps_all else 1 if cut.shrinks else cut_size(dim, cut)
        if update.rank == 0 and isinstance(left, str) and not cut.keeps_all:
            raise Declined("how much is written over is computed while the model runs")
        covered.append(left if isinstance(left, int) else own[axis] if cut.keeps_all else given[place])
        place += not cut.shrinks
        axis += 1
    return covered


def _begin_of(expansion: Expansion, cut: Cut, operand: Value, place: int, size: Size) -> Size:
    """Where the cut begins, counted from the front."""
    if cut.begin is None or cut.begin == 0:
        return 0
    if isinstance(cut.begin, int):
        return cut.begin if cut.begin > 0 else plus(expansion, size, cut.begin)
    begin = pick(expansion, operand, place)
    from_end = expansion.make("Cast", expansion.make("Less", begin, np.array(0, np.int32)), DstT=DType.INT32)
    return expansion.make("AddV2", begin, expansion.make("Mul", from_end, scalar(expansion, size)))


def _update_places(expansion: Expansion, plan: Cuts, shape: tuple[int, ...]) -> bool:
    """All elements in a row, behind them those put in; of these, each place of the result picks one."""
    value, update = expansion.node.inputs[0], expansion.node.inputs[4]
    count = math.prod(shape)
    places = np.arange(count, dtype=np.int32).reshape(shape)
    written = places[numpy_index(shape, plan)]
    if update.static_shape is None:
        raise Declined("with steps, the shape of what is put in has to be known")
    new = np.arange(math.prod(update.static_shape), dtype=np.int32).reshape(update.static_shape) + count
    places.reshape(-1)[written.reshape(-1)] = np.broadcast_to(new, written.shape).reshape(-1)
    row, first = np.array([-1], np.int32), np.array(0, np.int32)
    flat = (expansion.make("Reshape", each, row) for each in (value, update))
    joined = expansion.make("ConcatV2", *flat, first)
    picked = expansion.make("GatherV2", joined, places.reshape(-1), first)
    return expansion.finish(expansion.make("Reshape", picked, np.array(shape, np.int32)))


def _strided_update(
    x: Array, begin: Sequence[int], end: Sequence[int], strides: Sequence[int], update: Array, note: str, **masks: int
) -> Example:
    bounds = tuple(np.array(each, np.int32) for each in (begin, end, strides))
    return Example((x, *bounds, update), masks, constants=(1, 2, 3), note=note)


def _strided_update_examples() -> Iterator[Example]:
    x = sample(3, 4, 5)
    yield _strided_update(x, [1, 0], [3, 2], [1, 1], sample(2, 2, 5, seed=1), "a block")
    yield _strided_update(x, [-1, 1], [0, 3], [1, 1], sample(2, 5, seed=1), "index from the end", shrink_axis_mask=1)
    yield _strided_update(x, [0, 1], [0, 3], [1, 1], sample(3, 4, 2, seed=1), "ellipsis", ellipsis_mask=1)
    yield _strided_update(x, [0, 3], [3, 0], [2, -1], sample(2, 3, 5, seed=1), "steps")
    yield _strided_update(np.arange(6, dtype=np.int8), [1], [3], [1], np.array([9, 8], np.int8), "int8")
    yield _strided_update(sample(4) > 0, [0], [4], [2], np.array([True, False]), "bool with steps")
    words = np.array([b"a", b"b", b"c"], object), *(np.array([at], np.int32) for at in (1, 2, 1)), np.array([b"d"], object)
    yield Example(words, constants=(1, 2, 3), note="string", declines={"tflite": "string"})
    bounds = np.array([0, 2], np.int32), np.array([0, 3], np.int32), np.array([1, 1], np.int32)
    masks = {"begin_mask": 1, "end_mask": 1, "shrink_axis_mask": 2}
    yield Example((x, *bounds, sample(3, 5, seed=1)), masks, constants=(2, 3), note="computed index")


SPECS = (
    OpSpec(
        name="XlaDynamicUpdateSlice",
        infer=same_as_input,
        evaluate=_evaluate_update,
        to_tflite=_lite_update,
        expand=_expand_update,
        examples=_update_examples,
    ),
    OpSpec(
        name="TensorStridedSliceUpdate",
        attrs=dict.fromkeys(MASKS, 0),
        infer=same_as_input,
        evaluate=_evaluate_strided_update,
        expand=_expand_strided_update,
        examples=_strided_update_examples,
    ),
)
