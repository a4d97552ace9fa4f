"""StridedSlice beyond the kernels: in steps along axes of unknown size, picked by place; with an ellipsis, spelled out."""

from __future__ import annotations

import numpy as np

from tensorferry.ir import Graph, Node, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.sizes import Size, Sizes, pick, scalar
from tensorferry.ops.strided import MASKS, Cut, Request, masks_of, places_of, plan_cuts, read_request
from tensorferry.tensor import DType

_ZERO, _ONE = np.array(0, np.int32), np.array(1, np.int32)


def expand_steps(graph: Graph, node: Node) -> bool:
    """Along each axis that is cut in steps the elements are gathered; what is left is cut in steps of 1."""
    value, request = node.inputs[0], read_request(node)
    if value.shape is None or request is None:
        return False
    rank = len(value.shape)
    plan = plan_cuts(request, rank)
    expansion = Expansion(graph, node)
    if not any(cut is not None and cut.stride != 1 for cut in plan) or request.masks["ellipsis_mask"]:
        return bool(request.masks["ellipsis_mask"]) and _spell_out(expansion, request, rank)
    begins, ends = (_narrow(expansion, operand) for operand in node.inputs[1:3])
    masks, made, axis = masks_of(node), value, 0
    for cut, place in zip(plan, places_of(request, rank), strict=False):
        if cut is None:
            continue
        if cut.stride != 1:
            made = _gather(expansion, made, axis, cut, begins, ends, place)
            masks["begin_mask"] |= 1 << place
            masks["end_mask"] |= 1 << place
        axis += 1
    ones = np.ones(len(request.strides), np.int32)
    return expansion.finish(expansion.make("StridedSlice", made, begins, ends, ones, **masks))


def _spell_out(expansion: Expansion, request: Request, rank: int) -> bool:
    """The same without an ellipsis: whole axes stand for it."""
    value, begins, ends, _ = expansion.node.inputs
    places = places_of(request, rank)
    plain = len(places) - sum(request.masked("new_axis_mask", place) for place in places if place >= 0)
    places += [-1] * (rank - plain)
    ellipsis = int(request.masks["ellipsis_mask"]).bit_length() - 1
    taken = np.array([ellipsis if place < 0 else place for place in places], np.int32)
    strides = np.array([1 if place < 0 else request.strides[place] for place in places], begins.dtype.numpy)
    masks = {
        mask: sum(
            1 << at
            for at, place in enumerate(places)
            if (mask in ("begin_mask", "end_mask") if place < 0 else mask != "ellipsis_mask" and request.masked(mask, place))
        )
        for mask in MASKS
    }
    bounds = [expansion.make("GatherV2", operand, taken, _ZERO) for operand in (begins, ends)]
    return expansion.finish(expansion.make("StridedSlice", value, *bounds, strides, **masks))


def _narrow(expansion: Expansion, operand: Value) -> Value:
    return operand if operand.dtype is DType.INT32 else expansion.make("Cast", operand, DstT=DType.INT32)


def _gather(expansion: Expansion, value: Value, axis: int, cut: Cut, begins: Value, ends: Value, place: int) -> Value:
    size = Sizes(expansion, value)[axis]
    forward = cut.stride > 0
    first = (
        _bound(expansion, begins, place, size, forward)
        if cut.begin is not None
        else (0 if forward else _minus_one(expansion, size))
    )
    limit = _bound(expansion, ends, place, size, forward) if cut.end is not None else (size if forward else -1)
    step = np.array(cut.stride, np.int32)
    places = expansion.make("Range", scalar(expansion, first), scalar(expansion, limit), step)
    return expansion.make("GatherV2", value, places, np.array(axis, np.int32))


def _minus_one(expansion: Expansion, size: Size) -> Size:
    return size - 1 if isinstance(size, int) else expansion.make("Sub", size, _ONE)


def _bound(expansion: Expansion, operand: Value, place: int, size: Size, forward: bool) -> Size:
    """A begin or end counted from the front, and brought to the nearest place that there is."""
    bound = pick(expansion, operand, place)
    below = expansion.make("Cast", expansion.make("Less", bound, _ZERO), DstT=operand.dtype)
    counted = expansion.make("AddV2", bound, expansion.make("Mul", below, scalar(expansion, size)))
    least, most = (_ZERO, size) if forward else (np.array(-1, np.int32), _minus_one(expansion, size))
    return expansion.make("Minimum", expansion.make("Maximum", counted, least), scalar(expansion, most))
