"""CombinedNonMaxSuppression: each class of each image is suppressed by itself, and the best of an image's boxes come out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.dims import known_integer
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.ops.suppression import ALL_SCORES, limits_of, sample_boxes, select
from tensorferry.tensor import Array, DType

MOST_PIECES = 256
"""Images times classes: each is suppressed by itself."""


def _totals(node: Node) -> tuple[Dim, Dim, Dim]:
    """Images, classes, and how many boxes come out for each image."""
    boxes, scores = node.inputs[:2]
    if boxes.rank not in (None, 4) or scores.rank not in (None, 3):
        raise Declined(f"its boxes and scores have ranks {boxes.rank} and {scores.rank}, not 4 and 3")
    images: Dim = boxes.shape[0] if boxes.shape else UNKNOWN_DIM
    classes: Dim = scores.shape[2] if scores.shape else UNKNOWN_DIM
    each, total = known_integer(node.inputs[2]), known_integer(node.inputs[3])
    if total is None or (node["pad_per_class"] and (each is None or isinstance(classes, str))):
        return images, classes, UNKNOWN_DIM
    kept = min(total, each * classes) if node["pad_per_class"] and each is not None and isinstance(classes, int) else total
    return images, classes, kept


def _infer_combined(node: Node) -> list[Typed]:
    images, _, kept = _totals(node)
    each = Typed(DType.FLOAT32, (images, kept))
    return [Typed(DType.FLOAT32, (images, kept, 4)), each, each, Typed(DType.INT32, (images,))]


def _evaluate_combined(
    node: Node, boxes: Array, scores: Array, each: Array, total: Array, overlap_limit: Array, least: Array
) -> tuple[Array, ...]:
    images, _, shared, _ = boxes.shape
    classes = scores.shape[2]
    kept = min(int(total), int(each) * classes) if node["pad_per_class"] else int(total)
    all_boxes, all_scores = np.zeros((images, kept, 4), np.float32), np.zeros((images, kept), np.float32)
    all_classes, counts = np.zeros((images, kept), np.float32), np.zeros(images, np.int32)
    for image in range(images):
        found: list[tuple[float, int, int]] = []
        for number in range(classes):
            own = boxes[image, :, 0 if shared == 1 else number]
            indices, best = select(own, scores[image, :, number], int(each), float(overlap_limit), float(least))
            found += [(score, number, index) for score, index in zip(best, indices, strict=True)]
        found.sort(key=lambda entry: -entry[0])
        counts[image] = min(len(found), kept)
        for place, (score, number, index) in enumerate(found[:kept]):
            box = boxes[image, index, 0 if shared == 1 else number]
            all_boxes[image, place] = np.clip(box, 0, 1) if node["clip_boxes"] else box
            all_scores[image, place], all_classes[image, place] = score, number
    return all_boxes, all_scores, all_classes, counts


def _refuse_combined(_node: Node) -> Sequence[Any]:
    raise Declined(
        "no target suppresses several classes at once, and to do it one by one their number must be known",
        remedy="fix the batch of the model's input and make max_output_size_per_class and max_total_size constants",
    )


class Combining(Expansion):
    """Suppresses each class of each image by itself and joins what stays."""

    def image(self, boxes: Value, scores: Value, most: int, kept: int) -> tuple[Value, ...]:
        """Boxes [shared, candidates, 4] and scores [classes, candidates] of one image."""
        assert boxes.shape is not None and scores.shape is not None
        classes, shared = scores.shape[0], boxes.shape[0]
        assert isinstance(classes, int) and isinstance(shared, int)
        own_boxes = self.make_node("Unpack", boxes, axis=0, num=shared).outputs
        own_scores = self.make_node("Unpack", scores, axis=0, num=classes).outputs
        found = [
            self.one_class(own_boxes[number if shared > 1 else 0], own_scores[number], number, most) for number in range(classes)
        ]
        joined = [
            self.make("ConcatV2", *column, np.int32(0), N=classes) if classes > 1 else column[0]
            for column in zip(*found, strict=True)
        ]
        if classes * most < kept:
            lacking = kept - classes * most
            fills = (np.float32(0), np.float32(ALL_SCORES), np.float32(0))
            pads = (np.asarray([[0, lacking], [0, 0]], np.int32), *(np.asarray([[0, lacking]], np.int32) for _ in range(2)))
            joined = [self.make("PadV2", each, pad, fill) for each, pad, fill in zip(joined, pads, fills, strict=True)]
        top = self.make_node("TopKV2", joined[1], np.int32(kept), sorted=True)
        best, order = top.outputs
        valid = self.make("Greater", best, np.float32(ALL_SCORES))
        count = self.make("Sum", self.make("Cast", valid, DstT=DType.INT32), np.int32(0))
        picked = [self.make("GatherV2", each, order, np.int32(0)) for each in (joined[0], joined[2])]
        corners = self.make("SelectV2", self.make("ExpandDims", valid, np.int32(-1)), picked[0], np.float32(0))
        if self.node["clip_boxes"]:
            corners = self.make("Minimum", self.make("Maximum", corners, np.float32(0)), np.float32(1))
        rest = [self.make("SelectV2", valid, each, np.float32(0)) for each in (best, picked[1])]
        return corners, *rest, count

    def one_class(self, boxes: Value, scores: Value, number: int, most: int) -> tuple[Value, Value, Value]:
        """Boxes, scores and class, filled up; what is filled in has the lowest score."""
        limits = self.node.inputs[4:6]
        kept = self.make_node("NonMaxSuppressionV4", boxes, scores, np.int32(most), *limits, pad_to_max_output_size=True)
        indices, count = kept.outputs
        valid = self.make("Less", np.arange(most, dtype=np.int32), count)
        best = self.make("SelectV2", valid, self.make("GatherV2", scores, indices, np.int32(0)), np.float32(ALL_SCORES))
        corners = self.make("GatherV2", boxes, indices, np.int32(0))
        return corners, best, self.constant(np.full(most, number, np.float32), "class")


def _expand_combined(graph: Graph, node: Node) -> bool:
    boxes, scores = node.inputs[:2]
    images, classes, kept = _totals(node)
    candidates = boxes.shape[1] if boxes.shape else None
    shared = boxes.shape[2] if boxes.shape else None
    each = known_integer(node.inputs[2])
    sizes = (images, classes, kept, shared, candidates, each)
    if not all(isinstance(size, int) for size in sizes) or images * classes > MOST_PIECES:  # type: ignore[operator]
        return False
    parts = Combining(graph, node)
    turned = parts.make("Transpose", boxes, np.asarray([0, 2, 1, 3], np.int32))
    own_boxes = parts.make_node("Unpack", turned, axis=0, num=images).outputs
    by_class = parts.make("Transpose", scores, np.asarray([0, 2, 1], np.int32))
    own_scores = parts.make_node("Unpack", by_class, axis=0, num=images).outputs
    most = min(each, candidates)  # type: ignore[type-var]
    found = [parts.image(own_boxes[at], own_scores[at], most, kept) for at in range(images)]  # type: ignore[arg-type]
    results = [parts.make("Pack", *column, axis=0, N=images) for column in zip(*found, strict=True)]
    return parts.finish(*results)


# -- examples ------------------------------------------------------------------------------------------------------


def _combined_examples() -> Iterator[Example]:
    random = np.random.default_rng(3)
    shared = sample_boxes(2 * 9)[0].reshape(2, 9, 1, 4)
    scores = random.permutation(np.linspace(0.05, 0.95, 54)).astype(np.float32).reshape(2, 9, 3)
    limits = limits_of(4, 0.4, 0.3)
    total = np.asarray(6, np.int32)
    inputs = (shared, scores, limits[0], total, *limits[1:])
    yield Example(inputs, {}, (2, 3, 4, 5), note="boxes for all classes")
    own = sample_boxes(2 * 9 * 3)[0].reshape(2, 9, 3, 4) * np.float32(1.3) - np.float32(0.1)
    yield Example((own, *inputs[1:]), {"pad_per_class": True}, (2, 3, 4, 5), note="boxes for each class")
    yield Example(
        (own, scores, *limits_of(2), np.asarray(20, np.int32), *limits[1:]), {"clip_boxes": False}, (2, 3, 4, 5), note="many"
    )
    few = (own, scores, *limits_of(2), np.asarray(20, np.int32), *limits[1:])
    yield Example(few, {"pad_per_class": True}, (2, 3, 4, 5), note="many, filled up for each class")


SPECS = (
    OpSpec(
        name="CombinedNonMaxSuppression",
        attrs={"pad_per_class": False, "clip_boxes": True},
        infer=_infer_combined,
        evaluate=_evaluate_combined,
        to_tflite=_refuse_combined,
        to_tfjs=_refuse_combined,
        expand=_expand_combined,
        examples=_combined_examples,
    ),
)
