"""What StridedSlice asks for: its operands and five masks brought into one list of cuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Node, Shape, Value
from tensorferry.ops.dims import length_of, unknown_dims
from tensorferry.ops.spec import Declined


@dataclass(frozen=True, slots=True)
class Cut:
    """What happens to one axis. `begin` and `end` are None where the mask leaves them open, `?` where they are computed."""

    begin: Dim | None = None
    end: Dim | None = None
    stride: int = 1
    shrinks: bool = False

    @property
    def keeps_all(self) -> bool:
        return self.begin in (None, 0) and self.end is None and self.stride == 1 and not self.shrinks


NEW_AXIS = None
"""Stands among the cuts where the result gets an axis of size 1."""

Cuts = list[Cut | None]

MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


@dataclass(frozen=True, slots=True)
class Request:
    """The operands, as far as they are known, and the masks."""

    begin: Sequence[Dim]
    end: Sequence[Dim]
    strides: Sequence[Dim]
    masks: Mapping[str, int]

    def masked(self, mask: str, place: int) -> bool:
        return bool(self.masks[mask] >> place & 1)

    def cut(self, place: int) -> Cut:
        stride = self.strides[place]
        if isinstance(stride, str):
            raise Declined("its strides are computed while the model runs", remedy="make the strides constant in the source model")
        shrinks = self.masked("shrink_axis_mask", place)
        if stride == 0 or (shrinks and stride < 0):
            raise Declined(f"stride {stride} goes nowhere", attributes=f"strides={list(self.strides)}")
        if shrinks:  # an index: what end and the masks say is not looked at
            return Cut(self.begin[place], None, 1, shrinks=True)
        begin = None if self.masked("begin_mask", place) else self.begin[place]
        end = None if self.masked("end_mask", place) else self.end[place]
        return Cut(begin, end, stride)


def read_request(node: Node) -> Request | None:
    """None when not even the strides are known."""
    _, begin, end, strides = node.inputs
    if strides.content is None:
        return None
    open_ends = (UNKNOWN_DIM,) * len(strides.content)
    request = Request(begin.content or open_ends, end.content or open_ends, strides.content, masks_of(node))
    if not len(request.begin) == len(request.end) == len(request.strides):
        raise Declined("begin, end and strides have different lengths")
    return request


def masks_of(node: Node) -> dict[str, int]:
    return {mask: int(node[mask]) for mask in MASKS}


def plan_cuts(request: Request, rank: int) -> Cuts:
    """One entry for each axis of the input in order, NEW_AXIS entries between; an ellipsis, also the implicit one, spelled out."""
    count = len(request.strides)
    ellipses = [place for place in range(count) if request.masked("ellipsis_mask", place)]
    if len(ellipses) > 1:
        raise Declined("it has more than one ellipsis", attributes=f"ellipsis_mask={request.masks['ellipsis_mask']}")
    plain = sum(1 for place in range(count) if place not in ellipses and not request.masked("new_axis_mask", place))
    if plain > rank:
        raise Declined(f"it indexes {plain} axes of a tensor that has {rank}")
    plan: Cuts = []
    for place in range(count):
        if place in ellipses:
            plan += [Cut()] * (rank - plain)
        else:
            plan.append(NEW_AXIS if request.masked("new_axis_mask", place) else request.cut(place))
    return plan if ellipses else plan + [Cut()] * (rank - plain)


def places_of(request: Request, rank: int) -> list[int]:
    """Which place of the operands speaks of each entry of the plan; -1 where the ellipsis does."""
    count = len(request.strides)
    places: list[int] = []
    for place in range(count):
        if request.masked("ellipsis_mask", place):
            plain = sum(1 for each in range(count) if each != place and not request.masked("new_axis_mask", each))
            places += [-1] * (rank - plain)
        else:
            places.append(place)
    return places


def cut_size(dim: Dim, cut: Cut) -> Dim:
    """How many elements the cut leaves of an axis."""
    if cut.keeps_all or (cut.begin is None and cut.end is None and abs(cut.stride) == 1):
        return dim
    if cut.begin in (None, 0) and cut.stride == 1 and cut.end == dim and dim != UNKNOWN_DIM:
        return dim
    if isinstance(dim, str) or isinstance(cut.begin, str) or isinstance(cut.end, str):
        return UNKNOWN_DIM
    return len(range(*slice(cut.begin, cut.end, cut.stride).indices(dim)))


def _index_in(dim: Dim, index: Dim | None) -> Dim | None:
    """An index from the front, if it is known; Declined when it is outside."""
    if not isinstance(index, int) or not isinstance(dim, int):
        return index
    if not -dim <= index < dim:
        raise Declined(f"index {index} is outside an axis of size {dim}")
    return index % dim


def cut_shape(shape: Sequence[Dim], plan: Cuts) -> tuple[Dim, ...]:
    sizes: list[Dim] = []
    axes = iter(shape)
    for cut in plan:
        if cut is None:
            sizes.append(1)
            continue
        dim = next(axes)
        if cut.shrinks:
            _index_in(dim, cut.begin)
        else:
            sizes.append(cut_size(dim, cut))
    return tuple(sizes)


def numpy_index(shape: Sequence[Dim], plan: Cuts) -> tuple[int | slice | None, ...] | None:
    """The same cut for numpy; None when a bound is not known."""
    index: list[int | slice | None] = []
    axes = iter(shape)
    for cut in plan:
        if cut is None:
            index.append(None)
            continue
        dim = next(axes)
        if isinstance(cut.begin, str) or isinstance(cut.end, str):
            return None
        place = _index_in(dim, cut.begin) if cut.shrinks else None
        index.append(place if cut.shrinks and isinstance(place, int) else slice(cut.begin, cut.end, cut.stride))
    return tuple(index)


def known_cuts(node: Node) -> Cuts | None:
    """The cuts when the rank, the strides and every bound are known."""
    value, request = node.inputs[0], read_request(node)
    if value.shape is None or request is None:
        return None
    plan = plan_cuts(request, len(value.shape))
    computed = any(isinstance(bound, str) for cut in plan if cut is not None for bound in (cut.begin, cut.end))
    return None if computed else plan


def shape_by_masks(node: Node) -> Shape:
    """The rank follows from the masks when the lengths are known."""
    value, *operands = node.inputs
    count = next((length for length in map(length_of, operands) if length is not None), None)
    if value.shape is None or count is None:
        return None
    masks = masks_of(node)
    places = (1 << count) - 1 & ~masks["ellipsis_mask"]
    added = places & masks["new_axis_mask"]
    removed = places & masks["shrink_axis_mask"] & ~added
    return unknown_dims(len(value.shape) + added.bit_count() - removed.bit_count())


def cut_content(value: Value, plan: Cuts, shape: Shape) -> tuple[Dim, ...] | None:
    if value.content is None or value.shape is None or shape is None or len(shape) > 1:
        return None
    index = numpy_index(value.shape, plan)
    if index is None:
        return None
    elements = np.empty(len(value.content), object)
    elements[:] = value.content
    kept = elements.reshape([len(value.content)] if value.shape else [])[index]
    return tuple(np.asarray(kept, object).reshape(-1).tolist())
