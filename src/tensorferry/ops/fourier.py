"""Fourier transforms: FFT, IFFT, RFFT, IRFFT over one, two and three axes, of any length.

They are products with matrices of cosines and sines, which both targets multiply fast; a long one is split into a shorter one
for each factor of its length (Cooley and Tukey, 1965), so that the constants stay small. TensorFlow Lite
has RFFT2D, for powers of two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tensorferry.ir import Dim, Graph, Node, Typed, Value
from tensorferry.ops.complex_numbers import complex_sample
from tensorferry.ops.complex_parts import Pair, Parts
from tensorferry.ops.dims import known_integers
from tensorferry.ops.samples import sample
from tensorferry.ops.sizes import Sizes, reshape
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.targets import LiteOp, Temp
from tensorferry.tensor import Array, ArrayTensor, DType

WHOLE_MATRIX = 256
"""Lengths up to this are one matrix; longer ones are split where they have factors."""
LARGEST_PRIME = 2048
"""A prime factor above this would make a matrix of more than 32 MB."""
NATIVE_FROM = 16
"""Powers of two from here on are left to TensorFlow Lite's RFFT2D; below, a matrix is smaller than the overhead."""


def axes_of(op: str) -> int:
    return {"2D": 2, "3D": 3}.get(op[-2:], 1)


def _lengths(node: Node) -> tuple[int, ...]:
    lengths = known_integers(node.inputs[1])
    if lengths is None or len(lengths) != axes_of(node.op):
        raise Declined("its fft_length is computed while the model runs", remedy="make it a constant in the source model")
    return lengths


# -- inference and evaluation --------------------------------------------------------------------------------------


def _require_rank(node: Node) -> None:
    rank = node.inputs[0].rank
    if rank is not None and rank < axes_of(node.op):
        raise Declined(f"its input has rank {rank}, it transforms {axes_of(node.op)} axes")


def _infer_complex(node: Node) -> list[Typed]:
    _require_rank(node)
    return [Typed(node.inputs[0].dtype, node.inputs[0].shape)]


def _infer_real(node: Node) -> list[Typed]:
    """RFFT and IRFFT."""
    _require_rank(node)
    dtype = node["Tcomplex"] if node.op.startswith("RFFT") else node["Treal"]
    shape = node.inputs[0].shape
    if shape is None:
        return [Typed(dtype, None)]
    count = axes_of(node.op)
    lengths: Sequence[Dim] = known_integers(node.inputs[1]) or ("?",) * count
    last = lengths[-1] // 2 + 1 if isinstance(lengths[-1], int) and node.op.startswith("RFFT") else lengths[-1]
    return [Typed(dtype, (*shape[:-count], *lengths[:-1], last))]


def _evaluate(node: Node, x: Array, lengths: Array | None = None) -> Array:
    axes = tuple(range(-axes_of(node.op), 0))
    name = "".join(node.op.lower().split("2d")[0].split("3d")[0]) + "n"
    transform = getattr(np.fft, name)
    wide = x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)
    made = transform(wide, axes=axes) if lengths is None else transform(wide, s=tuple(map(int, lengths)), axes=axes)
    return np.asarray(made, node.outputs[0].dtype.numpy)


def _evaluate_one(node: Node, x: Array) -> Array:
    return _evaluate(node, x)


# -- the transform along the last axis -----------------------------------------------------------------------------


def _circle(size: int, rows: int, columns: int, sign: int) -> Array:
    """exp(sign 2 pi i row column / size), in double precision."""
    turns = np.outer(np.arange(rows), np.arange(columns)) % size
    waves: Array = np.exp(sign * 2j * np.pi * turns / size)
    for part in (waves.real, waves.imag):  # an exact 0, so that what is real alone has the angle 0 or pi and not -pi
        part[np.abs(part) < 1e-12] = 0
    return waves


class Transform(Parts):
    """An expansion into matrix products."""

    def product(self, value: Value, matrix: Array) -> Value:
        return self.make("BatchMatMulV2", value, self.constant(matrix.astype(np.float32), "waves"))

    def along_last(self, pair: Pair, size: int, kept: int, sign: int) -> Pair:
        """The first `kept` of `size` frequencies along the last axis; rank 2 at least."""
        first = _split_length(size)
        if first is None:
            return self._by_matrix(pair, _circle(size, size, kept, sign))
        return self._by_factors(pair, first, size // first, kept, sign)

    def _by_matrix(self, pair: Pair, waves: Array) -> Pair:
        """[re im] by one matrix."""
        if pair.im is None:
            both = self.product(pair.re, np.concatenate([waves.real, waves.imag], axis=-1))
        else:
            whole = np.block([[waves.real, waves.imag], [-waves.imag, waves.real]])
            both = self.product(self.concat(pair.re, pair.im), whole)
        halves = self.make_node("Split", self.constant(np.array(-1, np.int32), "axis"), both, num_split=2).outputs
        return Pair(halves[0], halves[1])

    def concat(self, *values: Value) -> Value:
        return self.make("ConcatV2", *values, self.constant(np.array(-1, np.int32), "axis"), N=len(values))

    def _by_factors(self, pair: Pair, first: int, second: int, kept: int, sign: int) -> Pair:
        """x[a second + b] -> X[c + d first]: over a, a turn of every element by b c, then over b."""
        sizes = Sizes(self, pair.re)
        outer = sizes.all()[:-1]
        inner = self.each(pair, lambda part: self.swap(reshape(self, part, [-1, first, second])))  # [n, b, a]
        inner = self.along_last(inner, first, first, sign)
        turns = _circle(first * second, second, first, sign).astype(np.complex64)
        parts = [self.constant(np.ascontiguousarray(part), "turns") for part in (turns.real, turns.imag)]
        turned = self.multiply(inner, Pair(parts[0], parts[1]))
        made = self.along_last(self.each(turned, self.swap), second, second, sign)  # [n, c, d]
        whole = self.each(made, lambda part: reshape(self, self.swap(part), [*outer, first * second]))
        return whole if kept == first * second else self.each(whole, lambda part: self.fit(part, -1, kept, first * second))

    def each(self, pair: Pair, change: Callable[[Value], Value]) -> Pair:
        return Pair(change(pair.re), None if pair.im is None else change(pair.im))

    def swap(self, value: Value, axis: int = -2) -> Value:
        """An axis and the last change places."""
        rank = len(value.shape or ())
        order = list(range(rank))
        order[axis], order[-1] = order[-1], order[axis]
        return value if axis == -1 else self.make("Transpose", value, np.array(order, np.int32))

    def fit(self, value: Value, axis: int, wanted: int, size: Dim) -> Value:
        """An axis cut or filled with zeros to a length."""
        if size == wanted:
            return value
        rank = len(value.shape or ())
        if not isinstance(size, int) or size < wanted:
            after = [[0, 0]] * rank
            after[axis] = [0, wanted - size if isinstance(size, int) else wanted]
            value = self.make("Pad", value, np.array(after, np.int32))
        if isinstance(size, int) and size < wanted:
            return value
        ends = np.zeros(rank, np.int32)
        ends[axis] = wanted
        free = sum(1 << place for place in range(rank) if place != axis % rank)
        zeros, ones = np.zeros(rank, np.int32), np.ones(rank, np.int32)
        return self.make("StridedSlice", value, zeros, ends, ones, begin_mask=free, end_mask=free)

    # -- along any axis

    def complex_axis(self, pair: Pair, axis: int, size: int, sign: int) -> Pair:
        """All frequencies along one axis; the backward transform is divided by the length."""
        if size == 1:
            return pair
        made = self.along_last(self.each(pair, lambda part: self.swap(part, axis)), size, size, sign)
        made = self.each(made, lambda part: self.swap(part, axis))
        return self.scale(made, 1.0 / size) if sign > 0 else made

    def to_real(self, pair: Pair, size: int) -> Value:
        """The real signal of which `pair` has the first size // 2 + 1 frequencies along the last axis."""
        bins = size // 2 + 1
        if _split_length(size) is not None:
            return self._to_real_by_factors(pair, size, bins)
        waves = _circle(size, bins, size, 1) * np.where((np.arange(bins) * 2) % size == 0, 1, 2)[:, None] / size
        if pair.im is None:
            return self.product(pair.re, waves.real)
        return self.product(self.concat(pair.re, pair.im), np.concatenate([waves.real, -waves.imag]))

    def _to_real_by_factors(self, pair: Pair, size: int, bins: int) -> Value:
        """The frequencies above the half mirror those below; the parts that are real alone lose the imaginary one."""
        axis = np.array(-1, np.int32)
        mirrored = np.arange(size - bins, 0, -1, dtype=np.int32)
        whole = self.each(pair, lambda part: self.concat(part, self.make("GatherV2", part, mirrored, axis)))
        sign = np.where(np.arange(size) < bins, 1, -1) * np.where((np.arange(size) * 2) % size == 0, 0, 1)
        if whole.im is not None:
            whole = Pair(whole.re, self.do("Mul", whole.im, self.constant(sign.astype(np.float32), "mirror")))
        return self.scale(Pair(self.along_last(whole, size, size, 1).re, None), 1.0 / size).re


def _split_length(size: int) -> int | None:
    """The factor to split off a long transform, the largest up to its root; None where a matrix does it."""
    if size <= WHOLE_MATRIX:
        return None
    factors = [factor for factor in range(2, int(size**0.5) + 1) if size % factor == 0]
    if not factors and size > LARGEST_PRIME:
        raise Declined(f"its length {size} is a prime number", remedy=f"pad to a length with factors up to {LARGEST_PRIME}")
    return factors[-1] if factors else None


# -- expansions ----------------------------------------------------------------------------------------------------


def _with_batch(parts: Transform, value: Value) -> tuple[Pair, bool]:
    """The parts, with one axis more in front where there is none for a product to keep."""
    pair = parts.split(value)
    lone = len(value.shape or ()) == 1
    if lone:
        pair = parts.each(pair, lambda part: parts.make("ExpandDims", part, np.array(0, np.int32)))
    return pair, lone


def _drop(parts: Transform, value: Value, lone: bool) -> Value:
    return parts.make("Squeeze", value, squeeze_dims=[0]) if lone else value


def _expand_complex(graph: Graph, node: Node) -> bool:
    value, axes = node.inputs[0], axes_of(node.op)
    if value.shape is None:
        return False
    sizes = value.shape[-axes:]
    if not all(isinstance(size, int) for size in sizes):
        raise Declined("the length of a transformed axis is not known", remedy="fix it with --shape")
    if 0 in value.shape:
        return False
    parts = Transform(graph, node)
    pair, lone = _with_batch(parts, value)
    for axis in range(-axes, 0):
        pair = parts.complex_axis(pair, axis, int(sizes[axis]), 1 if node.op.startswith("I") else -1)
    return parts.give(parts.each(pair, lambda part: _drop(parts, part, lone)))


def _expand_real(graph: Graph, node: Node) -> bool:
    value, axes = node.inputs[0], axes_of(node.op)
    lengths = _lengths(node)
    if value.shape is None:
        return False
    parts = Transform(graph, node)
    pair, lone = _with_batch(parts, value)
    for axis in range(-axes, 0):
        size = value.shape[axis]
        pair = parts.each(pair, lambda part, axis=axis, size=size: parts.fit(part, axis, lengths[axis], size))  # type: ignore[misc]
    pair = parts.along_last(pair, lengths[-1], lengths[-1] // 2 + 1, -1)
    for axis in range(-axes, -1):
        pair = parts.complex_axis(pair, axis, lengths[axis], -1)
    return parts.give(parts.each(pair, lambda part: _drop(parts, part, lone)))


def _expand_back(graph: Graph, node: Node) -> bool:
    value, axes = node.inputs[0], axes_of(node.op)
    lengths = _lengths(node)
    if value.shape is None:
        return False
    parts = Transform(graph, node)
    pair, lone = _with_batch(parts, value)
    wanted = [*lengths[:-1], lengths[-1] // 2 + 1]
    for axis in range(-axes, 0):
        size = value.shape[axis]
        pair = parts.each(pair, lambda part, axis=axis, size=size: parts.fit(part, axis, wanted[axis], size))  # type: ignore[misc]
    for axis in range(-axes, -1):
        pair = parts.complex_axis(pair, axis, lengths[axis], 1)
    return parts.finish(_drop(parts, parts.to_real(pair, lengths[-1]), lone))


def _lite_real(node: Node) -> Sequence[LiteOp]:
    """RFFT2D is right where nothing is filled up or cut and the lengths are powers of two; one axis gets a second of length 1."""
    value, lengths = node.inputs[0], _lengths(node)
    axes = len(lengths)
    if value.shape is None or value.shape[-axes:] != lengths or lengths[-1] < NATIVE_FROM or value.constant is not None:
        raise Declined("TensorFlow Lite's RFFT2D does not cut or fill, and short ones are products")
    if any(length & (length - 1) for length in lengths):
        raise Declined("TensorFlow Lite's RFFT2D takes powers of two")
    if axes == 2:
        return [LiteOp("RFFT2D", (value, ArrayTensor(np.array(lengths, np.int32))), tuple(node.outputs))]
    if value.shape[:-1] == () or len(value.shape) > 5:
        raise Declined("TensorFlow Lite's RFFT2D is wrapped around a batch")
    output = node.output
    assert output.shape is not None
    wide = Temp("wide", value.dtype, (*value.shape[:-1], 1, lengths[0]))
    made = Temp("made", output.dtype, (*value.shape[:-1], 1, lengths[0] // 2 + 1))
    where = ArrayTensor(np.array(-2, np.int32))
    both = ArrayTensor(np.array([1, lengths[0]], np.int32))
    return [
        LiteOp("EXPAND_DIMS", (value, where), (wide,)),
        LiteOp("RFFT2D", (wide, both), (made,)),
        LiteOp("SQUEEZE", (made,), (output,), {"squeeze_dims": [len(value.shape) - 1]}),
    ]


# -- examples ------------------------------------------------------------------------------------------------------

TOLERANCE = 3e-6
_SHAPES = {1: ((7,), (2, 8), (2, 1, 12), (3, 1)), 2: ((3, 5), (2, 4, 6)), 3: ((2, 3, 2, 5), (4, 2, 3))}


def _complex_examples(axes: int) -> Callable[[], Iterator[Example]]:
    def examples() -> Iterator[Example]:
        for shape in _SHAPES[axes]:
            yield Example((complex_sample(*shape),), note=f"shape {shape}", tolerance=TOLERANCE)
        if axes == 1:
            for length in (300, 257 * 2, 1024):
                yield Example((complex_sample(2, length),), note=f"long {length}", tolerance=TOLERANCE)
            double = complex_sample(2, 5).astype(np.complex128)
            yield Example((double,), {"Tcomplex": DType.COMPLEX128}, note="double", tolerance=TOLERANCE)

    return examples


_CASES = {
    1: (((7,), 7), ((2, 8), 8), ((2, 8), 5), ((3, 2, 9), 6), ((2, 1), 1), ((2, 16), 16), ((2, 1000), 1000)),
    2: (((3, 5), (3, 5)), ((2, 4, 16), (4, 16)), ((2, 7, 6), (6, 3))),
    3: (((2, 3, 2, 5), (3, 2, 5)), ((5, 4, 7), (4, 2, 6))),
}


def _lengths_input(lengths: int | tuple[int, ...]) -> Array:
    return np.atleast_1d(np.array(lengths, np.int32))


def _real_examples(axes: int) -> Callable[[], Iterator[Example]]:
    def examples() -> Iterator[Example]:
        for shape, lengths in _CASES[axes]:
            yield Example((sample(*shape), _lengths_input(lengths)), {}, (1,), note=f"{shape} by {lengths}", tolerance=TOLERANCE)
        if axes == 1:
            double = {"Treal": DType.FLOAT64, "Tcomplex": DType.COMPLEX128}
            yield Example((sample(2, 6).astype(np.float64), _lengths_input(6)), double, (1,), note="double", tolerance=TOLERANCE)

    return examples


def _back_examples(axes: int) -> Callable[[], Iterator[Example]]:
    """Spectra as real signals have them."""

    def examples() -> Iterator[Example]:
        for shape, lengths in _CASES[axes]:
            spectrum = np.fft.rfftn(sample(*shape), axes=tuple(range(-axes, 0))).astype(np.complex64)
            yield Example((spectrum, _lengths_input(lengths)), {}, (1,), note=f"{spectrum.shape} by {lengths}", tolerance=TOLERANCE)

    return examples


def _specs() -> Iterator[OpSpec]:
    for axes, suffix in ((1, ""), (2, "2D"), (3, "3D")):
        for name in ("FFT", "IFFT"):
            yield OpSpec(
                name=name + suffix,
                attrs={"Tcomplex": DType.COMPLEX64},
                infer=_infer_complex,
                evaluate=_evaluate_one,
                expand=_expand_complex,
                examples=_complex_examples(axes),
            )
        attrs = {"Treal": DType.FLOAT32, "Tcomplex": DType.COMPLEX64}
        yield OpSpec(
            name="RFFT" + suffix,
            attrs=attrs,
            infer=_infer_real,
            evaluate=_evaluate,
            to_tflite=_lite_real if axes < 3 else None,
            expand=_expand_real,
            examples=_real_examples(axes),
        )
        yield OpSpec(
            name="IRFFT" + suffix,
            attrs=attrs,
            infer=_infer_real,
            evaluate=_evaluate,
            expand=_expand_back,
            examples=_back_examples(axes),
        )


SPECS = tuple(_specs())
