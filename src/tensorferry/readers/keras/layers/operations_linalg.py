"""Operations of keras.ops on matrices, waves and groups."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder
from tensorferry.readers.keras.description import EXPORT
from tensorferry.readers.keras.layers.arguments import array, integer, operation, tensor
from tensorferry.readers.keras.layers.operations import pair, two
from tensorferry.readers.keras.layers.operations_nets import windows
from tensorferry.tensor import DType

# -- matrices ------------------------------------------------------------------------------------------------------


@operation("Cholesky")
def cholesky(build: Builder, x: Value, upper: bool = False) -> Value:
    """The lower triangle whose square it is; or the upper."""
    made = build.add("Cholesky", (x,))
    return _turned(build, made) if upper else made


def _turned(build: Builder, x: Value) -> Value:
    rank = build.rank(x)
    return build.transpose(x, [*range(rank - 2), rank - 1, rank - 2])


@operation("Det", "Inv")
def of_square(build: Builder, x: Value) -> Value:
    """The determinant; the inverse."""
    return build.add({"Det": "MatrixDeterminant", "Inv": "MatrixInverse"}[build.layer.class_name], (x,))


@operation("Logdet", "Slogdet")
def log_determinant(build: Builder, x: Value) -> Value | list[Value]:
    """The logarithm of the determinant, of Slogdet's size behind its sign."""
    found = build.add_all("LogMatrixDeterminant", (x,))
    return found if build.layer.class_name == "Slogdet" else found[1]


@operation("Solve")
def solve(build: Builder, a: Value, b: Any) -> Value:
    """What times the first gives the second."""
    one, other = pair(build, a, b)
    single = build.rank(other) == build.rank(one) - 1
    made = build.add("MatrixSolve", (one, build.expand(other, -1) if single else other))
    return build.squeeze(made, [build.rank(made) - 1]) if single else made


@operation("SolveTriangular")
def solve_triangular(build: Builder, a: Value, b: Any, lower: bool = False) -> Value:
    """The same for a triangle."""
    one, other = pair(build, a, b)
    single = build.rank(other) == build.rank(one) - 1
    made = build.add("MatrixTriangularSolve", (one, build.expand(other, -1) if single else other), {"lower": bool(lower)})
    return build.squeeze(made, [build.rank(made) - 1]) if single else made


@operation("Qr")
def qr(build: Builder, x: Value, mode: str = "reduced") -> list[Value]:
    """At right angles, times a triangle."""
    return build.add_all("Qr", (x,), {"full_matrices": mode == "complete"})


@operation("CDist")
def distances(build: Builder, x: Value, y: Any) -> Value:
    """Between each two rows."""
    one, other = pair(build, x, y)
    beside = build.add("Sub", (build.expand(one, build.rank(one) - 1), build.expand(other, build.rank(other) - 2)))
    return build.add("Sqrt", (build.reduce("Sum", build.add("Square", (beside,)), [build.rank(beside) - 1]),))


# -- groups --------------------------------------------------------------------------------------------------------


@operation("SegmentSum", "SegmentMax", "SegmentMin", "SegmentProd", ignored=("sorted",))
def segments(build: Builder, data: Value, segment_ids: Any, num_segments: Any = None) -> Value:
    """The elements of each group as one."""
    if num_segments is None:
        raise build.unsupported("it does not say how many groups there are", "give num_segments")
    ids = build.cast(tensor(build, segment_ids), DType.INT32)
    count = build.constant(integer(build, num_segments), name="count")
    return build.add(f"Unsorted{build.layer.class_name}", (data, ids, count))


@operation("InTopK")
def in_top_k(build: Builder, targets: Value, predictions: Value, k: Any) -> Value:
    """Whether each is among the best."""
    places = targets if targets.dtype in (DType.INT32, DType.INT64) else build.cast(targets, DType.INT32)
    return build.add("InTopKV2", (predictions, places, build.constant(integer(build, k), places.dtype, "k")))


# -- waves ---------------------------------------------------------------------------------------------------------


@operation("ExtractSequences")
def sequences(build: Builder, x: Value, sequence_length: Any, sequence_stride: Any) -> Value:
    """Windows of the last axis."""
    last = build.rank(x) - 1
    length, step, size = integer(build, sequence_length), integer(build, sequence_stride), build.size(x, last)
    build.bounded(length * max(size // max(step, 1), 0))
    places = windows(length, step, size)
    index = build.constant(np.asarray(places, np.int32).reshape(-1, length), name="places")
    return build.add("GatherV2", (x, index, build.constant(last, name="axis")))


@operation("FFT", "FFT2", "IFFT2")
def fourier(build: Builder, x: Any) -> list[Value]:
    """Of real and imaginary parts."""
    op = {"FFT": "FFT", "FFT2": "FFT2D", "IFFT2": "IFFT2D"}[build.layer.class_name]
    return _parts(build, build.add(op, (_complex(build, x),)))


def _complex(build: Builder, x: Any) -> Value:
    real, imaginary = (tensor(build, each, DType.FLOAT32) for each in x)
    return build.add("Complex", (real, imaginary))


def _parts(build: Builder, x: Value) -> list[Value]:
    return [build.add("Real", (x,)), build.add("Imag", (x,))]


@operation("RFFT")
def real_fourier(build: Builder, x: Value, fft_length: Any = None) -> list[Value]:
    """Of real numbers: the first half of what would be there."""
    length = build.size(x, -1) if fft_length is None else integer(build, fft_length)
    return _parts(build, build.add("RFFT", (x, build.constant([length], name="length"))))


@operation("IRFFT")
def back_to_real(build: Builder, x: Any, fft_length: Any = None) -> Value:
    """And back."""
    made = _complex(build, x)
    length = 2 * (build.size(made, -1) - 1) if fft_length is None else integer(build, fft_length)
    return build.add("IRFFT", (made, build.constant([length], name="length")))


@operation("STFT")
def short_time(
    build: Builder,
    x: Value,
    sequence_length: Any,
    sequence_stride: Any,
    fft_length: Any,
    window: Any = "hann",
    center: bool = True,
) -> list[Value]:
    """The spectrum of each window."""
    length, whole = (build.bounded(integer(build, each)) for each in (sequence_length, fft_length))
    last, before = build.rank(x) - 1, (whole - length) // 2
    if center:
        widths = np.zeros((last + 1, 2), np.int32)
        widths[last] = whole // 2
        x = build.add("MirrorPad", (x, build.constant(widths, name="paddings")), {"mode": "REFLECT"})
    frames = sequences(build, x, whole, sequence_stride)
    curve = _window(build, window, length)
    curve = np.pad(curve, (before, whole - length - before)) if window is not None else np.ones(whole)
    shaped = two(build, "Mul", frames, build.constant(curve.astype(np.float32), x.dtype, "window"))
    return _parts(build, build.add("RFFT", (shaped, build.constant([whole], name="length"))))


def _window(build: Builder, given: Any, length: int) -> Any:
    """The curve by which a window fades out: a cosine that ends where the next one would begin."""
    if given is None:
        return np.ones(length)
    turns = np.cos(2 * np.pi * np.arange(length) / length)
    if given == "hann":
        return 0.5 - 0.5 * turns
    if given == "hamming":
        return 0.54 - 0.46 * turns
    found = array(build, given)
    if found.shape != (length,) or found.dtype.kind != "f":
        raise build.unsupported(f"its window {str(given)[:20]} is not known", EXPORT)
    return found
