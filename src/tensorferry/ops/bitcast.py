"""The same bits under another element type."""

from __future__ import annotations

from collections.abc import Iterator

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
    """For a target that has float32 and int32 alone: integers by division, floats by their exponent and fraction."""
    if LOST in node.attrs:
        return False
    value, target = node.inputs[0], node["type"]
    source, expansion = value.dtype, Expansion(graph, node)
    exact = all(dtype is DType.FLOAT32 or (dtype.is_integer and dtype.width <= 4) for dtype in (source, target))
    if not exact or value.rank is None:
        if source.width != target.width or not (source.is_integer and target.is_integer):
            node.attrs[LOST] = (f"{source} as {target}", node.output.shape)
            return False
        return expansion.finish(expansion.make("Cast", value, DstT=target))
    if source is DType.FLOAT32:
        value = _bits_of_float(expansion, value)
    elif source.width == target.width == 4 and target is not DType.FLOAT32:
        return expansion.finish(expansion.make("Cast", value, DstT=target))
    value = _resized(expansion, value, 4 if source is DType.FLOAT32 else source.width, target.width)
    if target is DType.FLOAT32:
        return expansion.finish(_float_of_bits(expansion, expansion.make("Cast", value, DstT=DType.INT32)))
    return expansion.finish(expansion.make("Cast", value, DstT=target))


def _resized(expansion: Expansion, value: Value, width: int, wanted: int) -> Value:
    """Integers taken apart or put together, little end first; what comes out may have to be wrapped around."""
    value = expansion.make("Cast", value, DstT=DType.INT32)
    if width == wanted:
        return value
    step = np.int32(1 << (8 * min(width, wanted)))
    if width > wanted:
        parts = [value]
        for _ in range(width // wanted - 1):
            parts.append(expansion.make("FloorDiv", parts[-1], step))
        return expansion.make("Pack", *parts, axis=value.rank)
    rank = value.rank or 0
    total = None
    for index in reversed(range(wanted // width)):
        begin = np.array([0] * (rank - 1) + [index], np.int32)
        size = np.array([-1] * (rank - 1) + [1], np.int32)
        part = expansion.make("FloorMod", expansion.make("Slice", value, begin, size), step)
        part = expansion.make("Squeeze", part, squeeze_dims=[rank - 1])
        total = part if total is None else expansion.make("AddV2", expansion.make("Mul", total, step), part)
    assert total is not None
    return total


EXPONENT_STEPS = (64, 32, 16, 8, 4, 2, 1)


def _bits_of_float(expansion: Expansion, value: Value) -> Value:
    """float32 to its bits: a power of two brings the magnitude into [1, 2), subnormals into [0, 1)."""
    maths, x = Maths(), Term(expansion, value)
    magnitude = maths.abs(x)
    exponent = x * 0 + 127.0
    for step in EXPONENT_STEPS:
        large = magnitude >= 2.0**step
        magnitude = maths.where(large, magnitude * 2.0**-step, magnitude)
        exponent = maths.where(large, exponent + float(step), exponent)
    for step in EXPONENT_STEPS:
        small = (magnitude < 2.0 ** (1 - step)) & (exponent > float(step))
        magnitude = maths.where(small, magnitude * 2.0**step, magnitude)
        exponent = maths.where(small, exponent - float(step), exponent)
    normal = magnitude >= 1.0
    fraction = maths.where(normal, magnitude - 1.0, magnitude) * 2.0**23
    exponent = maths.where(normal, exponent, 0.0)
    special = maths.abs(x) > 3.4028235e38
    exponent = maths.where(special, 255.0, exponent)
    fraction = maths.where(special, 0.0, fraction)
    unordered = x.apply("NotEqual", x)
    fraction = maths.where(unordered, float(1 << 22), fraction)
    exponent = maths.where(unordered, 255.0, exponent)
    bits = _whole(exponent) * (1 << 23) + _whole(fraction)
    negative = maths.where(x.apply("Equal", 0.0), 1.0 / x, x) < 0.0  # -0 is told by its reciprocal
    signed: Term = maths.where(negative, bits + np.iinfo(np.int32).min, bits)
    return signed.value


def _whole(term: Term) -> Term:
    return Term(term.expansion, term.expansion.make("Cast", term.value, DstT=DType.INT32))


def _float_of_bits(expansion: Expansion, value: Value) -> Value:
    maths, bits = Maths(), Term(expansion, value)
    negative = bits < 0
    rest = maths.where(negative, bits - np.iinfo(np.int32).min, bits)
    exponent = rest.apply("FloorDiv", 1 << 23)
    fraction = rest - exponent * (1 << 23)
    table = np.float32(2) ** np.arange(-126, 128, dtype=np.float32)
    scales = np.concatenate([table[:1], table, [np.inf]]).astype(np.float32)
    scale = Term(expansion, expansion.make("GatherV2", expansion.constant(scales, "scales"), exponent.value, np.int32(0)))
    part = Term(expansion, expansion.make("Cast", fraction.value, DstT=DType.FLOAT32)) * 2.0**-23
    magnitude = maths.where(exponent > 0, part + 1.0, part) * scale
    unordered = (exponent >= 255) & (fraction > 0)
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
    words = {"tfjs": "bits of int64 as int32"}
    yield Example((np.array([[2**40, -1], [0, 5]]),), {"type": DType.INT32}, declines=words, note="int64 to int32")
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
