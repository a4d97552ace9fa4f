"""Complex numbers as pairs of real tensors: the steps that expansions of complex ops are made of.

Every complex value has a real and an imaginary part (Real, Imag); what is computed with them becomes complex again by Complex.
Where Real meets Complex both fall away (passes/complex_numbers.py), so that inside a graph only real tensors are left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tensorferry.ir import Value
from tensorferry.ops.expansion import Expansion
from tensorferry.tensor import DType

COMPLEX = frozenset({DType.COMPLEX64, DType.COMPLEX128})


@dataclass(frozen=True, slots=True)
class Pair:
    """The two parts of a complex value; no imaginary part where that is known to be 0 everywhere."""

    re: Value
    im: Value | None


class Parts(Expansion):
    """An expansion that computes with pairs."""

    def split(self, value: Value) -> Pair:
        """The parts of a value; a real one has no imaginary part."""
        if value.dtype not in COMPLEX:
            return Pair(value, None)
        if value.constant is not None:
            elements = value.constant.array()
            halves = [self.constant(np.ascontiguousarray(part), "part") for part in (elements.real, elements.imag)]
            return Pair(halves[0], halves[1] if elements.imag.any() else None)
        maker = value.producer
        if maker.op == "Complex" and maker.inputs[0].shape == maker.inputs[1].shape:
            return Pair(maker.inputs[0], None if _is_zero(maker.inputs[1]) else maker.inputs[1])
        return Pair(self.make("Real", value), self.make("Imag", value))

    def join(self, pair: Pair) -> Value:
        """The complex value."""
        return self.make("Complex", pair.re, self.imaginary(pair))

    def imaginary(self, pair: Pair) -> Value:
        return self.make("ZerosLike", pair.re) if pair.im is None else pair.im

    def give(self, *pairs: Pair) -> bool:
        """Finish with complex values."""
        return self.finish(*(self.join(pair) for pair in pairs))

    def number(self, real: float, imaginary: float = 0.0) -> Pair:
        re = self.constant(np.array(real, np.float32))
        return Pair(re, self.constant(np.array(imaginary, np.float32)) if imaginary else None)

    # -- real arithmetic

    def do(self, op: str, *values: Value | float, **attrs: Any) -> Value:
        """A real operation; plain numbers are float32."""
        return self.make(op, *(each if isinstance(each, Value) else np.array(each, np.float32) for each in values), **attrs)

    def _plus(self, one: Value | None, other: Value | None, op: str = "AddV2") -> Value | None:
        """Sum or difference of parts of which either may be 0."""
        if other is None:
            return one
        if one is None:
            return other if op == "AddV2" else self.do("Neg", other)
        return self.do(op, one, other)

    def _times(self, one: Value | None, other: Value | None, op: str = "Mul", **attrs: Any) -> Value | None:
        return None if one is None or other is None else self.do(op, one, other, **attrs)

    # -- complex arithmetic

    def add(self, a: Pair, b: Pair) -> Pair:
        return Pair(self.do("AddV2", a.re, b.re), self._whole(a, b, self._plus(a.im, b.im)))

    def subtract(self, a: Pair, b: Pair) -> Pair:
        return Pair(self.do("Sub", a.re, b.re), self._whole(a, b, self._plus(a.im, b.im, "Sub")))

    def _whole(self, a: Pair, b: Pair, im: Value | None) -> Value | None:
        """An imaginary part that only one operand has, stretched as the other's real part stretches it."""
        if im is None or (a.im is None) == (b.im is None) or a.re.shape == b.re.shape:
            return im
        return self.do("AddV2", im, self.do("ZerosLike", b.re if b.im is None else a.re))

    def multiply(self, a: Pair, b: Pair, op: str = "Mul", **attrs: Any) -> Pair:
        """The product; with `op` a matrix product."""
        re = self._plus(self._times(a.re, b.re, op, **attrs), self._times(a.im, b.im, op, **attrs), "Sub")
        im = self._plus(self._times(a.re, b.im, op, **attrs), self._times(a.im, b.re, op, **attrs))
        assert re is not None
        return Pair(re, im)

    def scale(self, a: Pair, factor: Value | float) -> Pair:
        return Pair(self.do("Mul", a.re, factor), None if a.im is None else self.do("Mul", a.im, factor))

    def conjugate(self, a: Pair) -> Pair:
        return Pair(a.re, None if a.im is None else self.do("Neg", a.im))

    def turn(self, a: Pair, sign: int = 1) -> Pair:
        """Times i, or -i."""
        re, im = self.do("Neg", self.imaginary(a)), a.re
        return Pair(re, im) if sign > 0 else Pair(self.imaginary(a), self.do("Neg", a.re))

    def squared(self, a: Pair) -> Value:
        """The square of the absolute value."""
        square = self.do("Mul", a.re, a.re)
        return square if a.im is None else self.do("AddV2", square, self.do("Mul", a.im, a.im))

    def absolute(self, a: Pair) -> Value:
        return self.do("Abs", a.re) if a.im is None else self.do("Sqrt", self.squared(a))

    def angle(self, a: Pair) -> Value:
        return self.do("Atan2", self.imaginary(a), a.re)

    def is_zero(self, a: Pair) -> Value:
        zero = self.do("Equal", a.re, 0.0)
        return zero if a.im is None else self.do("LogicalAnd", zero, self.do("Equal", a.im, 0.0))

    def choose(self, condition: Value, a: Pair, b: Pair) -> Pair:
        return Pair(
            self.do("SelectV2", condition, a.re, b.re), self.do("SelectV2", condition, self.imaginary(a), self.imaginary(b))
        )

    def divide(self, a: Pair, b: Pair) -> Pair:
        """The divisor's larger part is brought to 1 first, so that its square neither overflows nor vanishes."""
        if b.im is None:
            return Pair(self.do("RealDiv", a.re, b.re), None if a.im is None else self.do("RealDiv", a.im, b.re))
        largest = self.do("Maximum", self.do("Abs", b.re), self.do("Abs", b.im))
        scaled = Pair(self.do("RealDiv", b.re, largest), self.do("RealDiv", b.im, largest))
        assert scaled.im is not None
        length = self.do("AddV2", self.do("Mul", b.re, scaled.re), self.do("Mul", b.im, scaled.im))
        product = self.multiply(a, self.conjugate(scaled))
        return Pair(self.do("RealDiv", product.re, length), self.do("RealDiv", self.imaginary(product), length))

    def exp(self, a: Pair) -> Pair:
        length, angle = self.do("Exp", a.re), self.imaginary(a)
        return Pair(self.do("Mul", length, self.do("Cos", angle)), self.do("Mul", length, self.do("Sin", angle)))

    def log(self, a: Pair) -> Pair:
        return Pair(self.do("Log", self.absolute(a)), self.angle(a))

    def sqrt(self, a: Pair) -> Pair:
        """By the larger of both parts of the root, which is computed without cancellation; the other is im / (2 larger)."""
        im = self.imaginary(a)
        larger = self.do("Sqrt", self.do("Mul", self.do("AddV2", self.absolute(a), self.do("Abs", a.re)), 0.5))
        smaller = self.do("DivNoNan", im, self.do("AddV2", larger, larger))
        right = self.do("GreaterEqual", a.re, 0.0)
        signed = self.do("SelectV2", self.do("Less", im, 0.0), self.do("Neg", larger), larger)
        return Pair(self.do("SelectV2", right, larger, self.do("Abs", smaller)), self.do("SelectV2", right, smaller, signed))


def _is_zero(value: Value) -> bool:
    tensor = value.constant
    if tensor is not None:
        return tensor.size <= 1 << 20 and not tensor.array().any()
    return value.producer.op == "ZerosLike"
