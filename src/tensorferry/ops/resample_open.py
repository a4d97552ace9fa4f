"""Resampling of images whose sizes, old or new, are known only while the model runs: the weights are computed there.

Each step is the one that `resize_rules` takes in numpy, in float32 too, so that every new row begins at the same place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tensorferry.ir import Graph, Node, Value
from tensorferry.ops.dims import known_integers
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.formulas import Maths, Term
from tensorferry.ops.resize_rules import KERNELS, TABLE, TINY, cubic_taps, scale_of
from tensorferry.ops.sizes import Size, Sizes, count_up, pick, plus, reshape, vector
from tensorferry.ops.spec import Declined
from tensorferry.tensor import DType

MATHS = Maths()


class _Axis:
    """The old and the new size of one axis, and the rows of both, as floats."""

    def __init__(self, parts: Expansion, before: Size, after: Size) -> None:
        self.parts, self.before, self.after = parts, before, after

    def real(self, size: Size) -> Term:
        number = size if isinstance(size, Value) else self.parts.constant(np.array(size, np.float32), "size")
        return Term(self.parts, number if number.dtype is DType.FLOAT32 else self.parts.make("Cast", number, DstT=DType.FLOAT32))

    def rows(self, size: Size) -> Term:
        return Term(self.parts, self.parts.make("Cast", count_up(self.parts, size), DstT=DType.FLOAT32))

    def column(self, vector: Term) -> Term:
        return vector.apply("Reshape", operand=np.array([-1, 1], np.int32))

    def scale(self, align: bool) -> Term:
        """Old rows for a new one."""
        if isinstance(self.before, int) and isinstance(self.after, int):
            return Term(self.parts, self.parts.constant(np.asarray(scale_of(self.before, self.after, align)), "scale"))
        old, new = self.real(self.before), self.real(self.after)
        if not align or self.after == 1:
            return old / new
        spread = (old - 1) / (MATHS.maximum(new - 1, 1) if isinstance(self.after, Value) else new - 1)
        return spread if isinstance(self.after, int) else MATHS.where(new > 1, spread, old / new)


# -- a few weights a row -------------------------------------------------------------------------------------------


def _cubic(axis: _Axis, value: Value, place: int, align: bool, half: bool) -> Value:
    """Four weighted rows (`place` 1) or columns (2) of the image."""
    rows, scale = axis.rows(axis.after), axis.scale(align)
    places = (rows + 0.5) * scale - 0.5 if half else rows * scale
    floor = MATHS.floor(places)
    weights = cubic_taps(MATHS.round((places - floor) * float(TABLE)) * (1 / TABLE), half)
    last = axis.real(plus(axis.parts, axis.before, -1))
    wanted = [floor + float(step) for step in range(-1, 3)]
    taken = [MATHS.maximum(MATHS.minimum(each, last), 0) for each in wanted]
    if half:
        weights = [MATHS.where(MATHS.equal(*pair), weight, 0) for *pair, weight in zip(taken, wanted, weights, strict=True)]
        weights = _normalised(weights, weights[0] + weights[1] + weights[2] + weights[3])
    total: Term | None = None
    for rows, weight in zip(taken, weights, strict=True):
        index = axis.parts.make("Cast", rows.value, DstT=DType.INT32)
        found = Term(axis.parts, axis.parts.make("GatherV2", value, index, np.array(place, np.int32)))
        part = found * weight.apply("Reshape", operand=np.array([-1, *[1] * (3 - place)], np.int32))
        total = part if total is None else total + part
    assert total is not None
    return total.value


def _normalised(weights: Sequence[Term], total: Term) -> list[Term]:
    divisor = MATHS.where(MATHS.abs(total) >= float(TINY), total, 1)
    return [weight / divisor for weight in weights]


# -- a matrix of weights, [new, old] -------------------------------------------------------------------------------


def _covered(axis: _Axis, align: bool) -> Term:
    """How much of a new row each old one covers; the last old row goes on for ever."""
    scale, rows, old = axis.scale(align), axis.column(axis.rows(axis.after)), axis.rows(axis.before)
    start, end = rows * scale, (rows + 1) * scale
    last = axis.real(plus(axis.parts, axis.before, -1))
    ends = MATHS.where(MATHS.equal(old, last), float(np.finfo(np.float32).max), old + 1)
    covered: Term = MATHS.maximum(MATHS.minimum(end, ends) - MATHS.maximum(start, old), 0)
    return covered / scale


def _weighed(axis: _Axis, scale: Term, shift: Term, kind: str, smooth: bool) -> Term:
    """By the distance from the middle of a new row, within the kernel's reach."""
    if kind not in KERNELS:
        raise Declined(f"the kernel {kind!r} is not known", attributes=f"kernel_type={kind}")
    radius, kernel = KERNELS[kind]
    inverse = 1 / scale
    stretch = MATHS.maximum(inverse, 1) if smooth else inverse * 0 + 1
    place = axis.column((axis.rows(axis.after) + 0.5) * inverse - inverse * shift)
    old, size = axis.rows(axis.before), axis.real(axis.before)
    reach = stretch * radius
    first = MATHS.minimum(MATHS.maximum(MATHS.apply("Ceil", place - reach - 0.5), 0), size - 1)
    last = MATHS.minimum(MATHS.floor(place + reach - 0.5), size - 1)
    near = (old >= first) & (old <= last) & ((place >= 0) & (place <= size))
    weights = MATHS.where(near, kernel(MATHS, MATHS.abs((old + 0.5 - place) / stretch)), 0)
    total = weights.apply("Sum", operand=np.array([1], np.int32), keep_dims=True)
    return _normalised([weights], total)[0]


def _multiplied(parts: Expansion, value: Value, matrices: Sequence[Term], after: Sequence[Size]) -> Value:
    """Rows, then columns, each brought to the front for a product of two matrices."""
    batch, _, width, channels = Sizes(parts, value).all()
    orders = ((1, 0, 2, 3), (2, 1, 0, 3), (1, 2, 0, 3))
    rests = ([batch, width, channels], [batch, after[0], channels])
    for matrix, new, rest, order in zip(matrices, after, rests, orders, strict=False):
        turned = parts.make("Transpose", value, np.array(order, np.int32))
        flat = parts.make("Reshape", turned, vector(parts, [Sizes(parts, turned)[0], -1]))
        value = reshape(parts, parts.make("MatMul", matrix.value, flat), [new, *rest])
    return parts.make("Transpose", value, np.array(orders[2], np.int32))


def expand_open_resample(graph: Graph, node: Node) -> bool:
    """ResizeBicubic, ResizeArea and ScaleAndTranslate, whatever of their sizes is known."""
    value, size = node.inputs[:2]
    if value.rank != 4:
        return False
    parts, known = Expansion(graph, node), known_integers(size)
    after: list[Size] = [known[place] if known is not None else pick(parts, size, place) for place in (0, 1)]
    if value.dtype is not DType.FLOAT32:
        value = parts.make("Cast", value, DstT=DType.FLOAT32)
    sizes = Sizes(parts, value)
    axes = [_Axis(parts, sizes[place + 1], after[place]) for place in (0, 1)]
    if node.op == "ResizeBicubic":
        align, half = bool(node["align_corners"]), bool(node["half_pixel_centers"])
        for place, axis in enumerate(axes, 1):
            value = _cubic(axis, value, place, align, half)
        return parts.finish(value)
    if node.op == "ResizeArea":
        matrices = [_covered(axis, bool(node["align_corners"])) for axis in axes]
    else:
        scales, shifts = ([Term(parts, pick(parts, each, place)) for place in (0, 1)] for each in node.inputs[2:])
        way = str(node["kernel_type"]), bool(node["antialias"])
        matrices = [_weighed(*each, *way) for each in zip(axes, scales, shifts, strict=True)]
    return parts.finish(_multiplied(parts, value, matrices, after))
