"""The same bits under another element type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tensorferry.ir import Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.formulas import Maths, Term
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import Array, DType

LOST = "_lost"
"""Attribute of a node whose types a target has narrowed: its bits are no longer there. Holds the types and the output's shape."""


def _infer(node: Node) -> list[Typed]:
    """Wider elements are taken apart along a new last axis, narrower ones put together along the last."""
    value, target = node.inputs[0], node["type"]
    if LOST in node.attrs:
        return [Typed(target, node[LOST][1])]
    if value.dtype.width == 0 or target.width == 0 or value.shape is None:
        return [Typed(target, None)]
    if value.dtype.width == target.width:
        return [Typed(target, value.shape)]
    if value.dtype.width > target.width:
        return [Typed(target, (*value.shape, value.dtype.width // target.width))]
    ratio = target.width // value.dtype.width
    if not value.shape or value.shape[-1] not in (ratio, *(dim for dim in value.shape if isinstance(dim, str))):
        raise Declined(f"{ratio} elements along the last axis make one {target}")
    return [Typed(target, value.shape[:-1])]


def _evaluate(node: Node, x: Array) -> Array:
    target = node["type"].numpy
    if target.itemsize == x.dtype.itemsize:
        return np.asarray(np.ascontiguousarray(x).view(target).reshape(x.shape))
    if target.itemsize < x.dtype.itemsize:
        ratio = x.dtype.itemsize // target.itemsize
        return np.asarray(np.ascontiguousarray(x).reshape(-1).view(target).reshape(*x.shape, ratio))
    return np.asarray(np.ascontiguousarray(x).reshape(-1).view(target).reshape(x.shape[:-1]))


def _to_tflite(node: Node) -> list[LiteOp]:
    if LOST in node.attrs:
        raise Declined(f"the bits of {node[LOST][0]} are not there, because TensorFlow Lite computes in float32")
    return [LiteOp("BITCAST", tuple(node.inputs), tuple(node.outputs))]


# -- by arithmetic, for TensorFlow.js ------------------------------------------------------------------------------


def _expand(graph: Graph, node: Node) -> bool:
    """For a target that has float32 and int32 alone: integers by division, floats by their exponent and fraction.

    Of 64 bits such a target holds the numbers that int32 holds: their upper half is the sign.
    """
    if LOST in node.attrs:
        return False
    value, target = node.inputs[0], node["type"]
    source, expansion = value.dtype, Expansion(graph, node)
    floats = [dtype for dtype in (source, target) if not dtype.is_integer]
    if not set(floats) <= {DType.FLOAT32, DType.FLOAT16} or (floats and 8 in (source.width, target.width)) or value.rank is None:
        node.attrs[LOST] = (f"{source} as {target}", node.output.shape)
        return False
    layouts = {DType.FLOAT32: SINGLE, DType.FLOAT16: HALF}
    if source in layouts:
        value = _bits_of_float(expansion, expansion.make("Cast", value, DstT=DType.FLOAT32), layouts[source])
    value = _resized(expansion, value, source, target)
    if target in layouts:
        value = _float_of_bits(expansion, expansion.make("Cast", value, DstT=DType.INT32), layouts[target])
    return expansion.finish(expansion.make("Cast", value, DstT=target))


@dataclass(frozen=True, slots=True)
class Layout:
    """How a float lies in its bits: sign, exponent, fraction."""

    fraction: int
    bias: int
    sign: int

    @property
    def special(self) -> int:
        """The exponent of infinities and NaN."""
        return 2 * self.bias + 1


SINGLE = Layout(23, 127, -(2**31))
HALF = Layout(10, 15, 1 << 15)


def _resized(expansion: Expansion, value: Value, source: DType, target: DType) -> Value:
    """Integers taken apart or put together, little end first; what comes out may have to be wrapped around."""
    width, wanted = source.width, target.width
    if width == wanted:
        return value
    signed = source in (DType.INT8, DType.INT16, DType.INT32, DType.INT64)
    value = expansion.make("Cast", value, DstT=DType.INT32)
    small = min(width, wanted)
    step = np.array(1 << (8 * min(small, 2)), np.int32)
    if width > wanted:
        low, rest = np.array(0, np.int32), width // wanted
        parts = [value]
        while len(parts) < min(rest, 4 // small):
            parts.append(expansion.make("FloorDiv", parts[-1], step))
        above = expansion.make("Maximum", expansion.make("Minimum", value, low), np.array(-1, np.int32))
        above = above if signed or width == 4 else expansion.make("Sub", above, above)
        return expansion.make("Pack", *parts, *[above] * (rest - len(parts)), axis=value.rank)
    rank = value.rank or 0
    total = None
    for index in reversed(range(min(wanted, 4) // small)):
        begin = np.array([0] * (rank - 1) + [index], np.int32)
        size = np.array([-1] * (rank - 1) + [1], np.int32)
        part = expansion.make("Slice", value, begin, size)
        part = part if small == 4 else expansion.make("FloorMod", part, step)
        part = expansion.make("Squeeze", part, squeeze_dims=[rank - 1])
        total = part if total is None else expansion.make("AddV2", expansion.make("Mul", total, step), part)
    assert total is not None
    return total


EXPONENT_STEPS = (64, 32, 16, 8, 4, 2, 1)


def _bits_of_float(expansion: Expansion, value: Value, layout: Layout) -> Value:
    """A float to its bits: a power of two brings the magnitude into [1, 2), subnormals into [0, 1)."""
    maths, x = Maths(), Term(expansion, value)
    magnitude = maths.abs(x)
    exponent = x * 0 + float(layout.bias)
    for step in EXPONENT_STEPS:
        large = magnitude >= 2.0**step
        magnitude = maths.where(large, magnitude * 2.0**-step, magnitude)
        exponent = maths.where(large, exponent + float(step), exponent)
    for step in EXPONENT_STEPS:
        small = (magnitude < 2.0 ** (1 - step)) & (exponent > float(step))
        magnitude = maths.where(small, magnitude * 2.0**step, magnitude)
        exponent = maths.where(small, exponent - float(step), exponent)
    normal = magnitude >= 1.0
    fraction = maths.where(normal, magnitude - 1.0, magnitude) * 2.0**layout.fraction
    exponent = maths.where(normal, exponent, 0.0)
    special = maths.abs(x) > 3.4028235e38
    exponent = maths.where(special, float(layout.special), exponent)
    fraction = maths.where(special, 0.0, fraction)
    unordered = x.apply("NotEqual", x)
    fraction = maths.where(unordered, float(1 << (layout.fraction - 1)), fraction)
    exponent = maths.where(unordered, float(layout.special), exponent)
    bits = _whole(exponent) * (1 << layout.fraction) + _whole(fraction)
    negative = maths.where(x.apply("Equal", 0.0), 1.0 / x, x) < 0.0  # -0 is told by its reciprocal
    signed: Term = maths.where(negative, bits + layout.sign, bits)
    return signed.value


def _whole(term: Term) -> Term:
    return Term(term.expansion, term.expansion.make("Cast", term.value, DstT=DType.INT32))


def _float_of_bits(expansion: Expansion, value: Value, layout: Layout) -> Value:
    maths, bits = Maths(), Term(expansion, value)
    if layout.sign > 0:  # a short one, which may have come as a negative number
        bits = bits.apply("FloorMod", 2 * layout.sign)
    negative = bits < 0 if layout.sign < 0 else bits >= layout.sign
    rest = maths.where(negative, bits - layout.sign, bits)
    exponent = rest.apply("FloorDiv", 1 << layout.fraction)
    fraction = rest - exponent * (1 << layout.fraction)
    table = np.float32(2) ** np.arange(1 - layout.bias, layout.bias + 1, dtype=np.float32)
    scales = np.concatenate([table[:1], table, table[-1:]])
    scale = Term(expansion, expansion.make("GatherV2", expansion.constant(scales, "scales"), exponent.value, np.array(0, np.int32)))
    part = Term(expansion, expansion.make("Cast", fraction.value, DstT=DType.FLOAT32)) * 2.0**-layout.fraction
    magnitude = maths.where(exponent > 0, part + 1.0, part) * scale
    magnitude = maths.where(exponent < layout.special, magnitude, np.inf)  # no product: LiteRT's end at the largest number
    unordered = (exponent >= layout.special) & (fraction > 0)
    magnitude = maths.where(unordered, np.nan, magnitude)
    signed: Term = maths.where(negative, -magnitude, magnitude)
    return signed.value


# -- examples ------------------------------------------------------------------------------------------------------


def _examples() -> Iterator[Example]:
    floats = np.array([[1.0, -2.5, 0.0, 3.4028235e38], [1e-30, -np.inf, 0.1, 1.1754944e-38]], np.float32)
    integers = np.array([[0, -1, 7, -(2**31)], [2**31 - 1, 1 << 23, 12345678, -99]], np.int32)
    yield Example((floats,), {"type": DType.INT32}, note="float32 to int32")
    yield Example((floats.view(np.int32),), {"type": DType.FLOAT32}, note="int32 to float32")
    yield Example((integers,), {"type": DType.UINT32}, note="int32 to uint32")
    yield Example((integers,), {"type": DType.UINT8}, note="int32 to uint8")
    yield Example((integers,), {"type": DType.INT16}, note="int32 to int16")
    yield Example((np.array([[1, 2, 3, 4], [255, 254, 0, 128]], np.uint8),), {"type": DType.INT32}, note="uint8 to int32")
    yield Example((np.array([[-1, 2], [0, -32768]], np.int16),), {"type": DType.INT32}, note="int16 to int32")
    yield Example((np.array([[-1, 2], [0, -128]], np.int8),), {"type": DType.UINT8}, note="int8 to uint8")
    yield Example((np.array([[200, 2], [0, 128]], np.uint8),), {"type": DType.INT8}, note="uint8 to int8")
    yield Example((sample(3),), {"type": DType.UINT8}, note="float32 to uint8")
    yield Example((np.array([[2**31 - 1, -1], [0, 5]]),), {"type": DType.INT32}, note="int64 to int32")
    yield Example((np.array([[2**31 - 1, -1], [0, -77]]),), {"type": DType.UINT8}, note="int64 to uint8")
    yield Example((np.array([[7, 0], [-3, -1]], np.int32),), {"type": DType.INT64}, note="int32 to int64")
    halves = np.array([[1.5, -0.25], [65504, 6e-5], [np.inf, 6e-8]], np.float16)
    yield Example((halves,), {"type": DType.INT16}, note="float16 to int16")
    yield Example((halves.view(np.int16),), {"type": DType.FLOAT16}, note="int16 to float16")
    words = {"tfjs": "bits of float64 as int64", "tflite": "bits of float64 as int64"}
    yield Example((np.array([2.5]),), {"type": DType.INT64}, declines=words, note="float64 to int64")


def _to_tfjs(node: Node) -> list[JsNode]:
    lost = f"the bits of {node[LOST][0]} are not there" if LOST in node.attrs else "TensorFlow.js has no view of bits"
    raise Declined(lost)


SPECS = (
    OpSpec(
        name="Bitcast",
        attrs={"type": DType.FLOAT32},
        infer=_infer,
        evaluate=_evaluate,
        to_tflite=_to_tflite,
        to_tfjs=_to_tfjs,
        expand=_expand,
        by_width=True,
        examples=_examples,
    ),
)
