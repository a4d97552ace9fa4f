"""NonMaxSuppression, V1 to V5: of boxes that overlap, the one with the highest score stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Node, Typed
from tensorferry.ops.dims import known_integer
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.targets import JsNode, LiteOp, Ref, Temp
from tensorferry.tensor import Array, ArrayTensor, DType

ALL_SCORES = float(np.finfo(np.float32).min)
"""The threshold that every score passes."""


def _infer_scores(node: Node) -> None:
    boxes, scores = node.inputs[:2]
    if boxes.rank not in (None, 2) or scores.rank not in (None, 1):
        raise Declined(f"its boxes and scores have ranks {boxes.rank} and {scores.rank}, not 2 and 1")


def _infer_indices(node: Node) -> list[Typed]:
    """How many are kept is known when the model runs."""
    _infer_scores(node)
    return [Typed(DType.INT32, (UNKNOWN_DIM,))]


def _kept(node: Node) -> Dim:
    """The length of the outputs that may be filled up."""
    most = known_integer(node.inputs[2])
    return most if node["pad_to_max_output_size"] and most is not None else UNKNOWN_DIM


def _infer_v4(node: Node) -> list[Typed]:
    _infer_scores(node)
    return [Typed(DType.INT32, (_kept(node),)), Typed(DType.INT32, ())]


def _infer_v5(node: Node) -> list[Typed]:
    _infer_scores(node)
    kept = _kept(node)
    return [Typed(DType.INT32, (kept,)), Typed(node.inputs[1].dtype, (kept,)), Typed(DType.INT32, ())]


# -- evaluation ----------------------------------------------------------------------------------------------------


def overlap(boxes: Array, one: int, other: int) -> np.float32:
    """Intersection over union of two boxes given by any two opposite corners."""
    low, high = (function(boxes[:, :2], boxes[:, 2:]) for function in (np.minimum, np.maximum))
    areas = (high - low).prod(axis=1)
    if areas[one] <= 0 or areas[other] <= 0:
        return np.float32(0)
    shared = np.maximum(np.minimum(high[one], high[other]) - np.maximum(low[one], low[other]), 0).prod()
    return np.float32(shared / (areas[one] + areas[other] - shared))


def select(
    boxes: Array, scores: Array, most: int, overlap_limit: float, least: float, sigma: float = 0.0
) -> tuple[list[int], list[float]]:
    """Indices and scores of the boxes that stay, highest first; `sigma` above 0 lowers the scores of neighbours instead."""
    waiting = [(float(score), index, 0) for index, score in enumerate(scores) if score > least]
    kept: list[int] = []
    kept_scores: list[float] = []
    factor = np.float32(-0.5) / np.float32(sigma) if sigma > 0 else np.float32(0)
    while waiting and len(kept) < most:
        waiting.sort(key=lambda each: (-each[0], each[1]))
        score, index, seen = waiting.pop(0)
        original, dropped = score, False
        for chosen in reversed(kept[seen:]):
            shared = overlap(boxes, index, chosen)
            dropped = sigma <= 0 and float(shared) > overlap_limit
            if sigma > 0:
                score = float(np.float32(score) * np.exp(factor * shared * shared))
            if dropped or score <= least:
                break
        if dropped or score <= least:
            continue
        if score == original:
            kept.append(index)
            kept_scores.append(score)
        else:
            waiting.append((score, index, len(kept)))
    return kept, kept_scores


def _evaluate(node: Node, boxes: Array, scores: Array, most: Array, *limits: Array) -> tuple[Array, ...]:
    overlap_limit = float(limits[0]) if limits else float(node["iou_threshold"])
    least = float(limits[1]) if len(limits) > 1 else -np.inf
    sigma = float(limits[2]) if len(limits) > 2 else 0.0
    kept, kept_scores = select(boxes.astype(np.float32), scores, int(most), overlap_limit, least, sigma)
    filled = int(most) if node.get("pad_to_max_output_size") else len(kept)
    indices = np.zeros(filled, np.int32)
    indices[: len(kept)] = kept
    if node.op not in ("NonMaxSuppressionV4", "NonMaxSuppressionV5"):
        return (indices,)
    count = np.asarray(len(kept), np.int32)
    if node.op == "NonMaxSuppressionV4":
        return indices, count
    best = np.zeros(filled, scores.dtype)
    best[: len(kept)] = kept_scores
    return indices, best, count


# -- limits --------------------------------------------------------------------------------------------------------


def _least(node: Node) -> Ref:
    """The score threshold, also where the op has none."""
    return node.inputs[4] if len(node.inputs) > 4 else ArrayTensor(np.asarray(ALL_SCORES, np.float32))


def _softens(node: Node) -> bool:
    """Whether scores are lowered instead of boxes dropped; Declined when that is not known."""
    if len(node.inputs) < 6:
        return False
    sigma = node.inputs[5].constant
    if sigma is None:
        raise Declined("its soft_nms_sigma is computed while the model runs", remedy="make it a constant in the source model")
    return float(sigma.array().reshape(())) > 0


def _overlap_limit(node: Node) -> Ref:
    """The overlap from which a target drops a box. TensorFlow wants more than its threshold: so the next number above it.

    It is 1 at most, so that exact twins are dropped also where TensorFlow keeps them: TensorFlow.js takes no more, and LiteRT needs
    it where scores are lowered to know a box that it has already. None where it is computed.
    """
    if _softens(node):
        return ArrayTensor(np.asarray(1, np.float32))
    if len(node.inputs) < 4:
        limit = np.float32(node["iou_threshold"])
    elif node.inputs[3].constant is not None:
        limit = np.float32(node.inputs[3].constant.array().reshape(()))
    else:
        return None
    return ArrayTensor(np.asarray(min(np.nextafter(limit, np.float32(2)), 1), np.float32))


# -- TensorFlow Lite -----------------------------------------------------------------------------------------------

NEXT = np.asarray(1 + 2.0**-23, np.float32)
"""A number times this is the next one above it, or that after."""

LEAST_LIMIT = np.asarray(2.0**-120, np.float32)


def _computed_limit(node: Node) -> tuple[Ref, list[LiteOp]]:
    """The next number above a computed threshold."""
    larger, limit = Temp("larger", DType.FLOAT32, ()), Temp("limit", DType.FLOAT32, ())
    options = {"fused_activation_function": "NONE"}
    return limit, [
        LiteOp("MUL", (node.inputs[3], ArrayTensor(NEXT)), (larger,), options),
        LiteOp("MAXIMUM", (larger, ArrayTensor(LEAST_LIMIT)), (limit,)),
    ]


def _to_tflite(node: Node) -> Sequence[LiteOp]:
    """LiteRT's operators always fill their outputs up; what is filled in is cut off where TensorFlow has none of it."""
    boxes, scores, most = node.inputs[:3]
    if any(each.dtype is not DType.FLOAT32 for each in (boxes, scores)):
        raise Declined("TensorFlow Lite suppresses float32 boxes only", attributes=f"T={boxes.dtype}")
    length = known_integer(most)
    dims = (UNKNOWN_DIM if length is None else length,)
    with_scores = node.op == "NonMaxSuppressionV5"
    full: list[Ref] = [Temp("indices", DType.INT32, dims), *([Temp("scores", DType.FLOAT32, dims)] if with_scores else [])]
    kept = list(node.outputs[: len(full)])
    count: Ref = node.outputs[len(full)] if len(node.outputs) > len(full) else Temp("count", DType.INT32, ())
    known = _overlap_limit(node)
    limit, before = _computed_limit(node) if known is None else (known, [])
    inputs = (boxes, scores, most, limit, _least(node), *node.inputs[5:])
    name = "NON_MAX_SUPPRESSION_V5" if with_scores else "NON_MAX_SUPPRESSION_V4"
    if node.get("pad_to_max_output_size"):
        return [*before, LiteOp(name, inputs, (*kept, count))]
    size = Temp("size", DType.INT32, (1,))
    cuts = [LiteOp("RESHAPE", (count, ArrayTensor(np.asarray([1], np.int32))), (size,), {"new_shape": [1]})]
    zero = ArrayTensor(np.zeros(1, np.int32))
    cuts += [LiteOp("SLICE", (each, zero, size), (output,)) for each, output in zip(full, kept, strict=True)]
    return [*before, LiteOp(name, inputs, (*full, count)), *cuts]


# -- TensorFlow.js -------------------------------------------------------------------------------------------------


def _to_tfjs(node: Node) -> Sequence[JsNode]:
    """Under TensorFlow's name, in which V1 is V3. and V2 too."""
    attrs: dict[str, Any] = {"T": DType.FLOAT32, "T_threshold": DType.FLOAT32}
    limit = _overlap_limit(node) or node.inputs[3]
    inputs = (*node.inputs[:3], limit, _least(node), *node.inputs[5:])
    if node.op == "NonMaxSuppressionV5":
        return _js_scored(node, inputs, attrs)
    if node.op == "NonMaxSuppressionV4":
        attrs["pad_to_max_output_size"] = bool(node["pad_to_max_output_size"])
        return [JsNode(node.op, inputs, tuple(node.outputs), attrs)]
    return [JsNode("NonMaxSuppressionV3", inputs, tuple(node.outputs), attrs)]


def _js_scored(node: Node, inputs: tuple[Ref, ...], attrs: dict[str, Any]) -> Sequence[JsNode]:
    """TensorFlow.js's V5 fills nothing up and does not count."""
    indices, scores, count = node.outputs
    if not node["pad_to_max_output_size"]:
        counting = JsNode("Size", (indices,), (count,), {"T": DType.INT32, "out_type": DType.INT32})
        return [JsNode(node.op, inputs, (indices, scores), attrs), counting]
    most = known_integer(node.inputs[2])
    if most is None:
        raise Declined("it fills up to a length that is computed while the model runs", remedy="make max_output_size a constant")
    found = Temp("indices", DType.INT32, (UNKNOWN_DIM,)), Temp("scores", DType.FLOAT32, (UNKNOWN_DIM,))
    nodes = [
        JsNode(node.op, inputs, found, attrs),
        JsNode("Size", (found[0],), (count,), {"T": DType.INT32, "out_type": DType.INT32}),
    ]
    for short, output in zip(found, (indices, scores), strict=True):
        joined = Temp("longer", short.dtype, (UNKNOWN_DIM,))
        zeros = ArrayTensor(np.zeros(most, short.dtype.numpy))
        begin, size = ArrayTensor(np.zeros(1, np.int32)), ArrayTensor(np.asarray([most], np.int32))
        zero = ArrayTensor(np.asarray(0, np.int32))
        nodes += [
            JsNode("ConcatV2", (short, zeros, zero), (joined,), {"T": short.dtype, "N": 2, "Tidx": DType.INT32}),
            JsNode("Slice", (joined, begin, size), (output,), {"T": short.dtype, "Index": DType.INT32}),
        ]
    return nodes


# -- examples ------------------------------------------------------------------------------------------------------


def sample_boxes(count: int, seed: int = 0) -> tuple[Array, Array]:
    """Boxes that overlap here and there, and scores without ties."""
    random = np.random.default_rng(seed)
    corners = random.random((count, 2)) * 0.6
    boxes = np.concatenate([corners, corners + 0.1 + random.random((count, 2)) * 0.4], axis=1).astype(np.float32)
    return boxes, random.permutation(np.linspace(0.05, 0.95, count)).astype(np.float32)


def limits_of(most: int, *limits: float) -> tuple[Array, ...]:
    return np.asarray(most, np.int32), *(np.asarray(limit, np.float32) for limit in limits)


def _v1_examples() -> Iterator[Example]:
    yield Example((*sample_boxes(12), *limits_of(5)), {"iou_threshold": 0.3}, (2,))
    yield Example((*sample_boxes(12), *limits_of(30)), {}, (2,), note="more than there are")


def _v2_examples() -> Iterator[Example]:
    yield Example((*sample_boxes(12), *limits_of(5, 0.3)), {}, (2, 3))
    yield Example((*sample_boxes(7), *limits_of(9, 0.6)), {}, note="computed limits")


def _v3_examples() -> Iterator[Example]:
    yield Example((*sample_boxes(12), *limits_of(5, 0.3, 0.2)), {}, (2, 3, 4))
    yield Example((*sample_boxes(12), *limits_of(5, 0.3, 0.99)), {}, (2, 3, 4), note="nothing stays")
    yield Example((*sample_boxes(12), *limits_of(4, 0.5, 0.1)), {}, note="computed limits")
    apart = np.asarray([[0, 0, 1, 1], [0, 1, 1, 2], [0, 0.5, 1, 1.5], [0, 3, 1, 4]], np.float32)
    scores = np.asarray([0.9, 0.8, 0.7, 0.6], np.float32)
    yield Example((apart, scores, *limits_of(4, 0.0, 0.1)), {}, (2, 3, 4), note="limit 0: neighbours stay")
    halves = np.asarray([[0, 0, 1, 2], [0, 0, 1, 1]], np.float32)
    yield Example((halves, scores[:2], *limits_of(4, 0.5, 0.1)), {}, (2, 3, 4), note="as much as the limit stays")
    flipped = sample_boxes(9)[0][:, [2, 3, 0, 1]], sample_boxes(9)[1]
    yield Example((*flipped, *limits_of(5, 0.3, 0.2)), {}, (2, 3, 4), note="corners the other way round")


def _v4_examples() -> Iterator[Example]:
    for padded in (False, True):
        attrs = {"pad_to_max_output_size": padded}
        yield Example((*sample_boxes(12), *limits_of(10, 0.3, 0.2)), attrs, (2, 3, 4), note="filled up" if padded else "")


def _v5_examples() -> Iterator[Example]:
    for padded in (False, True):
        for sigma in (0.0, 0.4):
            attrs = {"pad_to_max_output_size": padded}
            note = f"sigma {sigma}{', filled up' if padded else ''}"
            yield Example((*sample_boxes(9), *limits_of(9, 0.5, 0.1, sigma)), attrs, (2, 3, 4, 5), note=f"{note}, all of them")
            yield Example((*sample_boxes(12), *limits_of(7, 0.4, 0.2, sigma)), attrs, (2, 3, 4, 5), note=note)


_KEPT = {"T": DType.FLOAT32, "T_threshold": DType.FLOAT32}


def _spec(name: str, infer: Any, examples: Any, **attrs: Any) -> OpSpec:
    return OpSpec(
        name=name, attrs=attrs, infer=infer, evaluate=_evaluate, to_tflite=_to_tflite, to_tfjs=_to_tfjs, examples=examples
    )


SPECS = (
    _spec("NonMaxSuppression", _infer_indices, _v1_examples, iou_threshold=0.5),
    _spec("NonMaxSuppressionV2", _infer_indices, _v2_examples, **_KEPT),
    _spec("NonMaxSuppressionV3", _infer_indices, _v3_examples, **_KEPT),
    _spec("NonMaxSuppressionV4", _infer_v4, _v4_examples, **_KEPT, pad_to_max_output_size=False),
    _spec("NonMaxSuppressionV5", _infer_v5, _v5_examples, T=DType.FLOAT32, pad_to_max_output_size=False),
)
