"""QuantizeV2, Dequantize and QuantizeAndDequantize: real numbers to whole ones and back, with the range as an input.

TensorFlow's quantised element types are read as the plain integers they are stored in. Every number is computed in float32 in
the order of TensorFlow's own kernels; where the range is constant, all that follows from it is folded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Graph, Node, Shape, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec, constant_input, same_as_input
from tensorferry.tensor import Array, DType

LARGEST = float(np.finfo(np.float32).max)
"""TensorFlow's factor for a side of the range that asks for none."""

STORED = (DType.INT8, DType.UINT8, DType.INT16, DType.UINT16)
"""What a target can compute; 32-bit numbers lie beyond the digits of a float32."""


class Ranges(Expansion):
    """An expansion with the steps that ranges are computed by."""

    def along_axis(self, value: Value, axis: int, rank: int | None) -> Value:
        """A vector with one element for each index of the axis, shaped to stretch over the data."""
        if axis < 0 or rank is None:
            return value
        return self.make("Reshape", value, np.asarray([-1 if each == axis else 1 for each in range(rank)], np.int32))

    def away_from_zero(self, x: Value) -> Value:
        """Rounded, halves away from zero."""
        whole = self.make("Floor", self.make("AddV2", self.make("Abs", x), np.float32(0.5)))
        return self.make("Mul", self.make("Sign", x), whole)

    def clamp(self, x: Value, low: Value | float, high: Value | float) -> Value:
        ends = [each if isinstance(each, Value) else np.float32(each) for each in (low, high)]
        return self.make("Minimum", self.make("Maximum", x, ends[0]), ends[1])

    def factor(self, end: Value, steps: int) -> Value:
        """Steps for each unit of the range's end; the largest number there is when they lie on different sides of zero."""
        if steps == 0:
            return self.constant(np.asarray(LARGEST, np.float32), "factor")
        same_side = self.make("Greater" if steps > 0 else "Less", end, np.float32(0))
        safe = self.make("SelectV2", same_side, end, np.float32(1))
        return self.make("SelectV2", same_side, self.make("RealDiv", np.float32(steps), safe), np.float32(LARGEST))


# -- QuantizeAndDequantize -----------------------------------------------------------------------------------------


def _steps(node: Node, bits: int) -> tuple[int, int]:
    """The lowest and the highest whole number."""
    if not 1 <= bits <= 62:
        raise Declined(f"num_bits is {bits}, and must be 1 to 62", attributes=f"num_bits={bits}")
    if not node["signed_input"]:
        return 0, (1 << bits) - 1
    return -(1 << (bits - 1)) + bool(node["narrow_range"]), (1 << (bits - 1)) - 1


def _evaluate_both_ways(node: Node, x: Array, low: Array, high: Array) -> Array:
    return _both_ways(node, x, low, high, int(node["num_bits"]))


def _evaluate_v3(node: Node, x: Array, low: Array, high: Array, bits: Array) -> Array:
    return _both_ways(node, x, low, high, int(bits))


def _both_ways(node: Node, x: Array, low: Array, high: Array, bits: int) -> Array:
    first, last = _steps(node, bits)
    axis, real = int(node["axis"]), x.dtype.type
    outer = tuple(each for each in range(x.ndim) if each != axis) if axis >= 0 else tuple(range(x.ndim))
    if not node["range_given"]:
        low, high = x.min(axis=outer, keepdims=True), x.max(axis=outer, keepdims=True)
    elif axis >= 0:
        low, high = (end.reshape([-1 if each == axis else 1 for each in range(x.ndim)]) for end in (low, high))
    largest = np.finfo(x.dtype).max
    below = np.where(first * low > 0, real(first) / low, largest).astype(x.dtype)
    above = np.where(last * high > 0, real(last) / high, largest).astype(x.dtype)
    scale = np.minimum(below, above)
    by_low = below < above
    inverse = np.where(by_low, low / real(first or 1), high / real(last)).astype(x.dtype)
    if node["range_given"]:
        x = np.clip(x, np.where(by_low, low, real(first) * inverse), np.where(by_low, real(last) * inverse, high))
    scaled = x * scale
    rounded = np.floor(scaled + real(0.5)) if node.get("round_mode") == "HALF_UP" else np.rint(scaled)
    return np.asarray(rounded * inverse, x.dtype)


def _expand_both_ways(graph: Graph, node: Node) -> bool:
    bits = int(node["num_bits"]) if len(node.inputs) == 3 else int(constant_input(node, 3, "num_bits"))
    first, last = _steps(node, bits)
    x, low, high = node.inputs[:3]
    axis, rank = int(node["axis"]), x.rank
    if x.dtype is not DType.FLOAT32 or rank is None or bits > 24:
        return False
    parts = Ranges(graph, node)
    if node["range_given"]:
        low, high = (parts.along_axis(each, axis, rank) for each in (low, high))
    else:
        outer = np.asarray([each for each in range(rank) if each != axis], np.int32)
        low, high = (parts.make(op, x, outer, keep_dims=True) for op in ("Min", "Max"))
    below, above = parts.factor(low, first), parts.factor(high, last)
    scale = parts.make("Minimum", below, above)
    by_low = parts.make("Less", below, above)
    inverse = parts.make("RealDiv", high, np.float32(last))
    if first:
        inverse = parts.make("SelectV2", by_low, parts.make("RealDiv", low, np.float32(first)), inverse)
    if node["range_given"]:
        other_low = parts.make("Mul", inverse, np.float32(first))
        other_high = parts.make("Mul", inverse, np.float32(last))
        x = parts.clamp(x, parts.make("SelectV2", by_low, low, other_low), parts.make("SelectV2", by_low, other_high, high))
    scaled = parts.make("Mul", x, scale)
    if node.get("round_mode") == "HALF_UP":
        rounded = parts.make("Floor", parts.make("AddV2", scaled, np.float32(0.5)))
    else:
        rounded = parts.make("Round", scaled)
    return parts.finish(parts.make("Mul", rounded, inverse))


# -- QuantizeV2 ----------------------------------------------------------------------------------------------------


def _limits(dtype: DType) -> tuple[int, int]:
    if not dtype.is_integer:
        raise Declined(f"it quantises to {dtype}", attributes=f"T={dtype}")
    info = np.iinfo(dtype.value)
    return int(info.min), int(info.max)


def _range_shape(node: Node) -> Shape:
    """Of the range that comes out: as many numbers as there are indices along the axis."""
    axis, shape = int(node["axis"]), node.inputs[0].shape
    if axis < 0:
        return ()
    return (shape[axis] if shape is not None and axis < len(shape) else UNKNOWN_DIM,)


def _infer_quantize(node: Node) -> list[Typed]:
    limits = Typed(DType.FLOAT32, _range_shape(node))
    return [Typed(node["T"], node.inputs[0].shape), limits, limits]


def _away(x: Array) -> Array:
    return np.sign(x) * np.floor(np.abs(x) + np.float32(0.5))


def _evaluate_quantize(node: Node, x: Array, low: Array, high: Array) -> tuple[Array, ...]:
    first, last = _limits(node["T"])
    low = np.minimum(np.float32(0), low)
    least = np.maximum(np.float32(1), np.maximum(np.abs(low), np.abs(high))) * np.float32(node["ensure_minimum_range"])
    high = np.maximum(np.float32(0), np.maximum(high, low + least))
    if node["mode"] == "SCALED":
        first += bool(node["narrow_range"])
        with np.errstate(divide="ignore"):
            below = np.where(first * low > 0, np.float32(first) / low, np.float32(LARGEST))
            above = np.where(last * high > 0, np.float32(last) / high, np.float32(LARGEST))
        scale = np.minimum(below, above)
        low, high = np.float32(first) / scale, np.float32(last) / scale
    shape = [-1 if each == node["axis"] else 1 for each in range(x.ndim)] if node["axis"] >= 0 else ()
    bottom, top = low.reshape(shape), high.reshape(shape)
    if node["mode"] == "SCALED":
        scaled = np.clip(x, bottom, top) * scale.reshape(shape)
        result = np.rint(scaled) if node["round_mode"] == "HALF_TO_EVEN" else _away(scaled)
    elif node["mode"] == "MIN_COMBINED":
        factor = np.float32(last - first) / (top - bottom)
        half = np.float32(0 if first == 0 else (last - first + 1) / 2)
        result = _away((np.clip(x, bottom, top) - bottom) * factor - half)
    else:
        factor = _first_factor(node["T"], bottom, top)
        result = np.clip(_away(x * factor) - _away(bottom * factor) + np.float32(first), first, last)
    stored = np.clip(result.astype(np.float64), first, last).astype(node["T"].numpy)
    return stored, low.astype(np.float32), high.astype(np.float32)


def _first_factor(dtype: DType, low: Array, high: Array) -> Array:
    """Steps for each unit in the mode MIN_FIRST, whose range is one step longer than it says."""
    steps = 2.0 ** (8 * dtype.width)
    return np.asarray(steps / ((high.astype(np.float64) - low) * (steps / (steps - 1))), np.float32)


def _expand_quantize(graph: Graph, node: Node) -> bool:
    x, low, high = node.inputs
    if node["T"] not in STORED or x.rank is None:
        return False
    parts = Ranges(graph, node)
    first, last = _limits(node["T"])
    low = parts.make("Minimum", low, np.float32(0))
    largest = parts.make("Maximum", parts.make("Maximum", parts.make("Abs", low), parts.make("Abs", high)), np.float32(1))
    least = parts.make("AddV2", low, parts.make("Mul", largest, np.float32(node["ensure_minimum_range"])))
    high = parts.make("Maximum", parts.make("Maximum", high, least), np.float32(0))
    axis, rank = int(node["axis"]), x.rank
    if node["mode"] == "SCALED":
        first += bool(node["narrow_range"])
        scale = parts.make("Minimum", parts.factor(low, first), parts.factor(high, last))
        low, high = (parts.make("RealDiv", np.float32(end), scale) for end in (first, last))
        bottom, top = (parts.along_axis(each, axis, rank) for each in (low, high))
        scaled = parts.make("Mul", parts.clamp(x, bottom, top), parts.along_axis(scale, axis, rank))
        even = node["round_mode"] == "HALF_TO_EVEN"
        result = parts.make("Round", scaled) if even else parts.away_from_zero(scaled)
    else:
        bottom, top = (parts.along_axis(each, axis, rank) for each in (low, high))
        result = _stretched(parts, bottom, top, first, last)
    return parts.finish(parts.make("Cast", result, DstT=node["T"]), low, high)


def _stretched(parts: Ranges, bottom: Value, top: Value, first: int, last: int) -> Value:
    """The modes MIN_COMBINED and MIN_FIRST: the lower end of the range becomes the lowest number."""
    x, node = parts.node.inputs[0], parts.node
    width = parts.make("Sub", top, bottom)
    if node["mode"] == "MIN_COMBINED":
        factor = parts.make("RealDiv", np.float32(last - first), width)
        half = np.float32(0 if first == 0 else (last - first + 1) / 2)
        scaled = parts.make("Mul", parts.make("Sub", parts.clamp(x, bottom, top), bottom), factor)
        return parts.away_from_zero(parts.make("Sub", scaled, half))
    factor = parts.make("RealDiv", np.float32(last - first), width)
    steps = parts.away_from_zero(parts.make("Mul", x, factor))
    start = parts.away_from_zero(parts.make("Mul", bottom, factor))
    return parts.clamp(parts.make("AddV2", parts.make("Sub", steps, start), np.float32(first)), float(first), float(last))


# -- Dequantize ----------------------------------------------------------------------------------------------------


def _infer_dequantize(node: Node) -> list[Typed]:
    return [Typed(node["dtype"], node.inputs[0].shape)]


def _evaluate_dequantize(node: Node, x: Array, low: Array, high: Array) -> Array:
    first, last = _limits(DType.of(x))
    axis = int(node["axis"])
    if axis >= 0:
        low, high = (end.reshape([-1 if each == axis else 1 for each in range(x.ndim)]) for end in (low, high))
    numbers = x.astype(np.float32)
    if node["mode"] == "SCALED":
        first += bool(node["narrow_range"])
        scale = high / np.float32(last) if first >= 0 else np.maximum(low / np.float32(first), high / np.float32(last))
        return np.asarray(numbers * scale, np.float32)
    if node["mode"] == "MIN_COMBINED":
        half = np.float32(0 if first == 0 else (last - first + 1) / 2)
        return np.asarray((numbers + half) * ((high - low) / np.float32(last - first)) + low, np.float32)
    step = 1 / _first_factor(DType.of(x), low, high).astype(np.float64)
    return np.asarray(_away(low / step) * step + (numbers - np.float32(first)) * step, np.float32)


def _expand_dequantize(graph: Graph, node: Node) -> bool:
    x, low, high = node.inputs
    stored = x.dtype
    if stored not in STORED or node["dtype"] is not DType.FLOAT32 or x.rank is None:
        return False
    parts = Ranges(graph, node)
    first, last = _limits(stored)
    low, high = (parts.along_axis(each, int(node["axis"]), x.rank) for each in (low, high))
    numbers = parts.make("Cast", x, DstT=DType.FLOAT32)
    if node["mode"] == "SCALED":
        first += bool(node["narrow_range"])
        scale = parts.make("RealDiv", high, np.float32(last))
        if first < 0:
            scale = parts.make("Maximum", parts.make("RealDiv", low, np.float32(first)), scale)
        return parts.finish(parts.make("Mul", numbers, scale))
    step = parts.make("RealDiv", parts.make("Sub", high, low), np.float32(last - first))
    if node["mode"] == "MIN_COMBINED":
        offset = np.float32(0 if first == 0 else (last - first + 1) / 2)
    else:
        offset = np.float32(-first)
        low = parts.make("Mul", parts.away_from_zero(parts.make("RealDiv", low, step)), step)
    shifted = parts.make("AddV2", numbers, offset) if offset else numbers
    return parts.finish(parts.make("AddV2", parts.make("Mul", shifted, step), low))


# -- examples ------------------------------------------------------------------------------------------------------


def _scalars(*numbers: float) -> tuple[Array, ...]:
    return tuple(np.asarray(number, np.float32) for number in numbers)


def _both_ways_examples() -> Iterator[Example]:
    x = sample(3, 40) * np.float32(2)
    ways: Sequence[tuple[dict[str, Any], tuple[float, float], str]] = (
        ({"range_given": True}, (-2.0, 3.0), "signed"),
        ({"range_given": True}, (-3.0, 1.0), "signed, decided by the lower end"),
        ({"range_given": True, "signed_input": False}, (0.0, 3.0), "unsigned"),
        ({"range_given": True, "narrow_range": True, "num_bits": 4}, (-2.0, 1.0), "narrow, 4 bits"),
        ({"range_given": True, "round_mode": "HALF_UP", "num_bits": 6}, (-1.0, 1.5), "halves up"),
        ({}, (0.0, 0.0), "the range of the data"),
        ({"signed_input": False}, (0.0, 0.0), "the range of the data, unsigned"),
    )
    for attrs, ends, note in ways:
        yield Example((x, *_scalars(*ends)), attrs, (1, 2), note=note)
    yield Example((x, *_scalars(-1, 2)), {"range_given": True}, note="computed range")
    yield Example(
        (sample(2, 3, 4), np.zeros(3, np.float32), np.zeros(3, np.float32)),
        {"axis": 1},
        (1, 2),
        note="along an axis, the range of the data",
    )


def _v3_examples() -> Iterator[Example]:
    bits = np.asarray(7, np.int32)
    yield Example((sample(3, 20), *_scalars(-1, 1.5), bits), {}, (1, 2, 3))
    yield Example((sample(3, 20), *_scalars(0, 0), bits), {"range_given": False, "narrow_range": True}, (1, 2, 3), note="narrow")


_MODES: Sequence[tuple[DType, dict[str, Any]]] = (
    (DType.UINT8, {"mode": "MIN_COMBINED"}),
    (DType.INT8, {"mode": "MIN_COMBINED"}),
    (DType.UINT8, {"mode": "MIN_FIRST"}),
    (DType.INT8, {"mode": "MIN_FIRST"}),
    (DType.INT8, {"mode": "SCALED"}),
    (DType.UINT8, {"mode": "SCALED", "round_mode": "HALF_TO_EVEN"}),
    (DType.INT8, {"mode": "SCALED", "round_mode": "HALF_TO_EVEN", "narrow_range": True}),
)


def _quantize_examples() -> Iterator[Example]:
    x = sample(2, 60) * np.float32(2)
    for dtype, attrs in _MODES:
        note = f"{dtype}, {', '.join(str(each) for each in attrs.values())}"
        # a range whose ends are whole steps: the oneDNN kernels of TensorFlow, on by default, round the others in their own way
        yield Example((x, *_scalars(-2, 3)), {"T": dtype, **attrs}, (1, 2), note=note)
    yield Example((x, *_scalars(1, 1.001)), {"T": DType.UINT8}, (1, 2), note="a range without zero")
    yield Example((x, *_scalars(-1, 2)), {"T": DType.INT8, "mode": "SCALED"}, note="computed range")
    ends = (np.asarray([-1, -2, 0], np.float32), np.asarray([2, 1, 0.5], np.float32))
    attrs = {"T": DType.INT8, "mode": "SCALED", "axis": 1}
    yield Example((sample(2, 3, 4), *ends), attrs, (1, 2), note="along an axis")


def _dequantize_examples() -> Iterator[Example]:
    for dtype, attrs in _MODES:
        if "round_mode" in attrs and dtype is DType.UINT8:
            continue
        info = np.iinfo(dtype.value)
        x = np.linspace(info.min, info.max, 30).astype(dtype.numpy).reshape(2, 15)
        kept = {key: each for key, each in attrs.items() if key != "round_mode"} | {"T": dtype}
        yield Example((x, *_scalars(-1.5, 2)), kept, (1, 2), note=f"{dtype}, {', '.join(str(each) for each in attrs.values())}")
    yield Example((x, *_scalars(-1.5, 2)), {"T": DType.INT8}, note="computed range")
    each = np.arange(24, dtype=np.int8).reshape(2, 3, 4)
    ends = (np.asarray([-1, -2, 0], np.float32), np.asarray([2, 1, 0.5], np.float32))
    yield Example((each, *ends), {"T": DType.INT8, "mode": "SCALED", "axis": 1}, (1, 2), note="along an axis")


_BOTH_ATTRS = {"signed_input": True, "narrow_range": False, "axis": -1, "T": DType.FLOAT32}

SPECS = (
    OpSpec(
        name="QuantizeAndDequantizeV2",
        aliases=("QuantizeAndDequantizeV4",),
        attrs={**_BOTH_ATTRS, "num_bits": 8, "range_given": False, "round_mode": "HALF_TO_EVEN"},
        infer=same_as_input,
        evaluate=_evaluate_both_ways,
        expand=_expand_both_ways,
        examples=_both_ways_examples,
    ),
    OpSpec(
        name="QuantizeAndDequantizeV3",
        attrs={**_BOTH_ATTRS, "range_given": True},
        infer=same_as_input,
        evaluate=_evaluate_v3,
        expand=_expand_both_ways,
        examples=_v3_examples,
    ),
    OpSpec(
        name="QuantizeV2",
        attrs={
            "T": DType.UINT8,
            "mode": "MIN_COMBINED",
            "round_mode": "HALF_AWAY_FROM_ZERO",
            "narrow_range": False,
            "axis": -1,
            "ensure_minimum_range": 0.01,
        },
        infer=_infer_quantize,
        evaluate=_evaluate_quantize,
        expand=_expand_quantize,
        by_width=True,
        examples=_quantize_examples,
    ),
    OpSpec(
        name="Dequantize",
        attrs={"T": DType.UINT8, "mode": "MIN_COMBINED", "narrow_range": False, "axis": -1, "dtype": DType.FLOAT32},
        infer=_infer_dequantize,
        evaluate=_evaluate_dequantize,
        expand=_expand_dequantize,
        by_width=True,
        examples=_dequantize_examples,
    ),
)
