"""ResizeBicubic, ResizeArea and ScaleAndTranslate: each new row and column is a weighted sum of old ones.

No target has them. The weights follow from the sizes alone, so they are computed here, in float32 as TensorFlow's kernels do, and
the work becomes two products with constant matrices, or, where those would be large and nearly empty, a few weighted gathers. Where
a size is known only while the model runs, so are the weights (`resample_open`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.dims import known_integers
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.resample_open import expand_open_resample
from tensorferry.ops.resize_rules import Spans, area_spans, cubic_spans, kernel_spans
from tensorferry.ops.samples import sample
from tensorferry.ops.sliding import whole
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType

LARGEST_MATRIX = 1 << 14
"""Elements of a matrix of weights; beyond this, rows of few weights are gathered one weight at a time."""

FEW_WEIGHTS = 6


def _infer(node: Node) -> list[Typed]:
    value, size = node.inputs[:2]
    if value.rank not in (None, 4):
        raise Declined(f"its input has rank {value.rank}, not 4")
    batch, _, _, channels = value.shape or (UNKNOWN_DIM,) * 4
    content: Sequence[Dim] = size.content or (UNKNOWN_DIM, UNKNOWN_DIM)
    if len(content) != 2 or any(isinstance(each, int) and each < 1 for each in content):
        raise Declined("its size must be two numbers above 0", attributes=f"size={list(content)}")
    return [Typed(DType.FLOAT32, (batch, *content, channels))]


# -- weights -------------------------------------------------------------------------------------------------------


def _spans(node: Node, before: Sequence[int], after: Sequence[int], more: Sequence[Array]) -> list[Spans]:
    """The weights of rows and of columns. `more` holds scale and translation where the op has them."""
    pairs = list(zip(before, after, strict=True))
    if node.op == "ResizeArea":
        return [area_spans(old, new, bool(node["align_corners"])) for old, new in pairs]
    if node.op == "ResizeBicubic":
        align, half = bool(node["align_corners"]), bool(node["half_pixel_centers"])
        if align and half:
            raise Declined("align_corners and half_pixel_centers exclude each other")
        return [cubic_spans(old, new, align, half) for old, new in pairs]
    kind, smooth = str(node["kernel_type"]), bool(node["antialias"])
    return [
        kernel_spans(old, new, float(scale), float(shift), kind, smooth)
        for (old, new), scale, shift in zip(pairs, *more, strict=True)
    ]


def _matrix(spans: Spans, before: int) -> Array:
    """[new, old]."""
    indices, weights = spans
    matrix = np.zeros((len(indices), before), np.float32)
    np.add.at(matrix, (np.arange(len(indices))[:, None], indices), weights)
    return matrix


def _evaluate(node: Node, array: Array, size: Array, *more: Array) -> Array:
    if array.ndim != 4 or size.shape != (2,) or size.min() < 1 or 0 in array.shape[1:3]:
        raise Declined("it takes an image of rank 4 and a size of two numbers above 0", attributes=f"size={size.tolist()}")
    rows, columns = _spans(node, array.shape[1:3], size.tolist(), more)
    tall = np.einsum("ij,bjwc->biwc", _matrix(rows, array.shape[1]), array.astype(np.float32), optimize=True)
    return np.asarray(np.einsum("ij,bhjc->bhic", _matrix(columns, array.shape[2]), tall, optimize=True), np.float32)


# -- in other ops --------------------------------------------------------------------------------------------------


def _refuse(_node: Node) -> Sequence[Any]:
    raise Declined(
        "the target has no such resize, and to write it in other ops the image's rank must be known",
        remedy="give the model's input a shape (--shape)",
    )


def _expand(graph: Graph, node: Node) -> bool:
    value, size = node.inputs[:2]
    before = None if value.shape is None else whole(value.shape[1:])
    after = known_integers(size)
    more = [each.constant for each in node.inputs[2:]]
    if before is None or after is None or None in more:
        return expand_open_resample(graph, node)
    parts = Expansion(graph, node)
    if value.dtype is not DType.FLOAT32:
        value = parts.make("Cast", value, DstT=DType.FLOAT32)
    rows, columns = _spans(node, before[:2], after, [each.array() for each in more if each is not None])
    height, width, channels = before
    lines = parts.make("Reshape", value, np.asarray([-1, height, width * channels], np.int32))
    tall = _apply(parts, lines, rows, height)
    points = parts.make("Reshape", tall, np.asarray([-1, width, channels], np.int32))
    result = _apply(parts, points, columns, width)
    return parts.finish(parts.make("Reshape", result, np.asarray([-1, *after, channels], np.int32)))


def _apply(parts: Expansion, value: Value, spans: Spans, before: int) -> Value:
    """Weighted sums along the middle of three axes."""
    indices, weights = spans
    if np.array_equal(_matrix(spans, before), np.eye(before, dtype=np.float32)):
        return value
    if indices.shape[1] > FEW_WEIGHTS or len(indices) * before <= LARGEST_MATRIX:
        return parts.make("BatchMatMulV2", _matrix(spans, before), value)
    total: Value | None = None
    for place in range(indices.shape[1]):
        taken = parts.make("GatherV2", value, indices[:, place].astype(np.int32), np.int32(1))
        weighted = parts.make("Mul", taken, np.ascontiguousarray(weights[:, place, None], np.float32))
        total = weighted if total is None else parts.make("AddV2", total, weighted)
    assert total is not None
    return total


# -- examples ------------------------------------------------------------------------------------------------------


def _sizes(*pairs: tuple[tuple[int, int], tuple[int, int]]) -> Iterator[tuple[Array, Array, str]]:
    for before, after in pairs:
        yield sample(2, *before, 3), np.asarray(after, np.int32), f"{before[0]}x{before[1]} to {after[0]}x{after[1]}"


def _bicubic_examples() -> Iterator[Example]:
    for way in ({}, {"align_corners": True}, {"half_pixel_centers": True}):
        for image, size, note in _sizes(((5, 6), (9, 8)), ((9, 8), (4, 5))):
            yield Example((image, size), way, (1,), note=f"{note}, {' '.join(way) or 'legacy'}", tolerance=2e-6)
    large = (sample(1, 40, 3, 1), np.asarray([450, 3], np.int32))
    yield Example(large, {"half_pixel_centers": True}, (1,), note="many rows", tolerance=2e-6)
    numbers = np.arange(60, dtype=np.uint8).reshape(1, 4, 5, 3)
    yield Example((numbers, np.asarray([6, 3], np.int32)), {}, (1,), note="bytes", tolerance=2e-6)
    for way in ({}, {"align_corners": True}, {"half_pixel_centers": True}):
        for rows, columns in ((7, 4), (1, 9)):
            note = f"computed {rows}x{columns}, {' '.join(way) or 'legacy'}"
            yield Example((sample(2, 5, 6, 3), np.asarray([rows, columns], np.int32)), way, note=note, tolerance=2e-6)


def _area_examples() -> Iterator[Example]:
    for way in ({}, {"align_corners": True}):
        for image, size, note in _sizes(((9, 8), (4, 5)), ((4, 5), (9, 7)), ((8, 6), (4, 3))):
            yield Example((image, size), way, (1,), note=f"{note}, {' '.join(way) or 'legacy'}")
    yield Example((np.arange(60).reshape(1, 4, 5, 3), np.asarray([2, 3], np.int32)), {}, (1,), note="int64")
    for way in ({}, {"align_corners": True}):
        for rows, columns in ((4, 3), (1, 9)):
            note = f"computed {rows}x{columns}, {' '.join(way) or 'legacy'}"
            yield Example((sample(2, 9, 6, 2), np.asarray([rows, columns], np.int32)), way, note=note)


def _scale_examples() -> Iterator[Example]:
    ways: tuple[tuple[str, bool, float, float], ...] = (
        ("lanczos3", True, 0.5, 0.0),
        ("lanczos1", True, 1.7, 0.4),
        ("lanczos5", False, 0.8, -0.5),
        ("gaussian", True, 0.6, 0.3),
        ("box", True, 0.5, 1.0),
        ("triangle", True, 1.5, 0.0),
        ("triangle", False, 0.5, 0.0),
        ("keyscubic", True, 1.3, -1.5),
        ("mitchellcubic", True, 0.7, 0.0),
    )
    for kind, smooth, scale, shift in ways:
        size = np.asarray([round(7 * scale) + 1, round(9 * scale)], np.int32)
        inputs = (sample(2, 7, 9, 2), size, np.asarray([scale, scale], np.float32), np.asarray([shift, -shift], np.float32))
        attrs = {"kernel_type": kind, "antialias": smooth}
        yield Example(inputs, attrs, (1, 2, 3), note=f"{kind}{'' if smooth else ', not smoothed'}, by {scale}", tolerance=5e-6)
        yield Example(inputs, attrs, note=f"computed, {kind}{'' if smooth else ', not smoothed'}", tolerance=5e-6)


SPECS = (
    OpSpec(
        name="ResizeBicubic",
        attrs={"align_corners": False, "half_pixel_centers": False, "T": DType.FLOAT32},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        examples=_bicubic_examples,
        to_tflite=_refuse,
        to_tfjs=_refuse,
    ),
    OpSpec(
        name="ResizeArea",
        attrs={"align_corners": False, "T": DType.FLOAT32},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        examples=_area_examples,
        to_tflite=_refuse,
        to_tfjs=_refuse,
    ),
    OpSpec(
        name="ScaleAndTranslate",
        attrs={"kernel_type": "lanczos3", "antialias": True, "T": DType.FLOAT32},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        examples=_scale_examples,
        to_tflite=_refuse,
        to_tfjs=_refuse,
    ),
)
