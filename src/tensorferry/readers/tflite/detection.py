"""TFLite_Detection_PostProcess, the last operator of TensorFlow's detection models, in TensorFlow's own ops.

Boxes are decoded from their anchors; of each anchor the best class counts, or, with `use_regular_nms`, each class for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.tflite.steps import Step, int32s
from tensorferry.tensor import DType


def post_process(step: Step, options: Mapping[str, Any]) -> Sequence[Value]:
    """Boxes, classes, scores and their number, as many as the options allow, the rest zeros."""
    if bool(options.get("use_regular_nms", False)):
        raise step.refusal(
            "it suppresses the boxes of each class for itself (use_regular_nms), which is not supported",
            "cut it off: name its inputs as --outputs",
        )
    most, per_anchor = int(options.get("max_detections", 10)), int(options.get("max_classes_per_detection", 1))
    if per_anchor != 1 or not 0 < most < 1 << 16:
        raise step.refusal(f"it gives {per_anchor} classes for each of {most} boxes", "cut it off: name its inputs as --outputs")
    encodings, predictions, anchors = step.input(0), step.input(1), step.input(2)
    if encodings.shape is None or len(encodings.shape) != 3 or encodings.shape[0] != 1:
        raise step.refusal("its boxes are not those of one image")
    width = predictions.shape[-1] if predictions.shape is not None else None
    classes = int(options.get("num_classes", 0))
    if not isinstance(width, int) or not 0 < classes <= width:
        raise step.refusal(f"it knows {classes} classes, its scores are {width}")
    boxes = _decode(step, options, encodings, anchors)
    scores = step.make("Squeeze", predictions, squeeze_dims=[0])
    if width != classes:  # the first are the background
        scores = step.make("Slice", scores, int32s(0, width - classes), int32s(-1, classes))
    best = step.make("Max", scores, int32s(1))
    kinds = step.make("ArgMax", scores, np.asarray(1, np.int32), output_type=DType.INT32)
    limits = [np.asarray(float(options.get(f"nms_{name}_threshold", 0)), np.float32) for name in ("iou", "score")]
    chosen, count = step.make_node(
        "NonMaxSuppressionV4", boxes, best, np.asarray(most, np.int32), *limits, pad_to_max_output_size=True
    ).outputs
    real = step.make("Less", np.arange(most, dtype=np.int32), count)
    found = [
        step.make("GatherV2", each, chosen, np.asarray(0, np.int32))
        for each in (boxes, step.make("Cast", kinds, SrcT=DType.INT32, DstT=DType.FLOAT32), best)
    ]
    shown = [_masked(step, each, real) for each in found]
    number = step.make("Reshape", step.make("Cast", count, SrcT=DType.INT32, DstT=DType.FLOAT32), int32s(1))
    return [*(step.make("ExpandDims", each, np.asarray(0, np.int32)) for each in shown), number]


def _masked(step: Step, value: Value, real: Value) -> Value:
    """Zeros where there is no detection."""
    if value.rank == 2:
        real = step.make("ExpandDims", real, np.asarray(1, np.int32))
    return step.make("SelectV2", real, value, step.make("ZerosLike", value))


def _decode(step: Step, options: Mapping[str, Any], encodings: Value, anchors: Value) -> Value:
    """Corners [boxes, 4] (top, left, bottom, right) from centres and sizes relative to the anchors'."""
    make = step.make
    relative = make("Slice", make("Squeeze", encodings, squeeze_dims=[0]), int32s(0, 0), int32s(-1, 4))
    scales = np.asarray([float(options.get(f"{name}_scale", 1)) for name in "yxhw"], np.float32)
    if not scales.all():
        raise step.refusal("one of its scales is 0")
    relative = make("RealDiv", relative, scales)
    place, size = (make("Slice", relative, int32s(0, start), int32s(-1, 2)) for start in (0, 2))
    middle, extent = (make("Slice", anchors, int32s(0, start), int32s(-1, 2)) for start in (0, 2))
    centre = make("AddV2", make("Mul", place, extent), middle)
    half = make("Mul", make("Mul", make("Exp", size), extent), 0.5)
    return make("ConcatV2", make("Sub", centre, half), make("AddV2", centre, half), np.asarray(1, np.int32), N=2)
