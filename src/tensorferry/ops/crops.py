"""CropAndResize: a part of an image for each box, all brought to one size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.dims import known_integers
from tensorferry.ops.points import Points
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.targets import JsNode
from tensorferry.tensor import Array, DType


def _infer(node: Node) -> list[Typed]:
    image, boxes, _, size = node.inputs
    if image.rank not in (None, 4):
        raise Declined(f"its input has rank {image.rank}, not 4")
    content: Sequence[Dim] = size.content or (UNKNOWN_DIM, UNKNOWN_DIM)
    if len(content) != 2:
        raise Declined("crop_size must be two numbers", attributes=f"crop_size={list(content)}")
    count: Dim = boxes.shape[0] if boxes.shape else UNKNOWN_DIM
    channels: Dim = image.shape[3] if image.shape else UNKNOWN_DIM
    return [Typed(DType.FLOAT32, (count, *content, channels))]


def _method(node: Node) -> str:
    method = str(node["method"])
    if method not in ("bilinear", "nearest"):
        raise Declined(f"the method {method!r} is not known", attributes=f"method={method}")
    return method


# -- evaluation ----------------------------------------------------------------------------------------------------


def _places(first: Array, last: Array, side: int, count: int) -> Array:
    """Where on an axis of the image each element of the crops lies: [boxes, count]."""
    end = np.float32(side - 1)
    if count == 1:
        return (np.float32(0.5) * (first + last) * end)[:, None]
    step = (last - first) * end / np.float32(count - 1)
    return first[:, None] * end + np.arange(count, dtype=np.float32) * step[:, None]


def _evaluate(node: Node, image: Array, boxes: Array, owners: Array, size: Array) -> Array:
    height, width = image.shape[1:3]
    rows = _places(boxes[:, 0], boxes[:, 2], height, int(size[0]))
    columns = _places(boxes[:, 1], boxes[:, 3], width, int(size[1]))
    down, across = ((rows >= 0) & (rows <= height - 1)), ((columns >= 0) & (columns <= width - 1))
    inside = (down[:, :, None] & across[:, None, :])[..., None]
    batch = owners.reshape(-1, 1, 1)

    def taken(row: Array, column: Array) -> Array:
        row, column = (np.clip(each, 0, side - 1).astype(np.int64) for each, side in ((row, height), (column, width)))
        return image[batch, row[:, :, None], column[:, None, :]].astype(np.float32)

    if _method(node) == "nearest":
        result = taken(np.floor(rows + np.float32(0.5)), np.floor(columns + np.float32(0.5)))
    else:
        top, left = np.floor(rows), np.floor(columns)
        low, beside = (rows - top)[:, :, None, None], (columns - left)[:, None, :, None]
        upper, lower = (taken(row, left) * (1 - beside) + taken(row, np.ceil(columns)) * beside for row in (top, np.ceil(rows)))
        result = upper + (lower - upper) * low
    return np.where(inside, result, np.float32(node["extrapolation_value"])).astype(np.float32)


# -- lowering ------------------------------------------------------------------------------------------------------


def _to_tfjs(node: Node) -> Sequence[JsNode]:
    if any(value.dtype is not DType.FLOAT32 for value in node.inputs[:2]):
        raise Declined("TensorFlow.js crops float32 images only", attributes=f"T={node.inputs[0].dtype}")
    attrs = {"method": _method(node), "extrapolation_value": float(node["extrapolation_value"]), "T": DType.FLOAT32}
    return [JsNode(node.op, tuple(node.inputs), (node.output,), attrs)]


def _expand(graph: Graph, node: Node) -> bool:
    image, boxes, owners, size = node.inputs
    wanted = known_integers(size)
    if wanted is None or image.shape is None or not isinstance(image.shape[3], int):
        return False
    parts = Points(graph, node)
    if image.dtype is not DType.FLOAT32:
        image = parts.make("Cast", image, DstT=DType.FLOAT32)
    sides = (parts.size(image, 1), parts.size(image, 2))
    ends = parts.make_node("Split", np.int32(1), boxes, num_split=4).outputs  # [boxes, 1] each
    rows = _computed_places(parts, ends[0], ends[2], sides[0], wanted[0])
    columns = _computed_places(parts, ends[1], ends[3], sides[1], wanted[1])
    owner = parts.make("Reshape", owners, np.asarray([-1, 1, 1], np.int32))
    rows = parts.make("Reshape", rows, np.asarray([-1, wanted[0], 1], np.int32))
    columns = parts.make("Reshape", columns, np.asarray([-1, 1, wanted[1]], np.int32))
    inside = parts.make("LogicalAnd", parts.inside(rows, sides[0]), parts.inside(columns, sides[1]))
    take = parts.nearest if _method(node) == "nearest" else parts.bilinear
    result = take(image, owner, rows, columns, sides)
    inside = parts.make("Reshape", inside, np.asarray([-1, *wanted, 1], np.int32))
    return parts.finish(parts.make("SelectV2", inside, result, np.float32(node["extrapolation_value"])))


def _computed_places(parts: Points, first: Value, last: Value, side: Value | int, count: int) -> Value:
    """As `_places`, while the model runs."""
    end = parts.real(parts.minus_one(side))
    if count == 1:
        return parts.make("Mul", parts.make("Mul", parts.make("AddV2", first, last), np.float32(0.5)), end)
    reach = parts.make("Mul", parts.make("Sub", last, first), end)
    step = parts.make("RealDiv", reach, np.float32(count - 1))
    numbers = np.arange(count, dtype=np.float32)[None]
    return parts.make("AddV2", parts.make("Mul", first, end), parts.make("Mul", step, numbers))


# -- examples ------------------------------------------------------------------------------------------------------


def _examples() -> Iterator[Example]:
    image = sample(2, 7, 9, 3)
    boxes = np.asarray(
        [[0, 0, 1, 1], [0.2, 0.6, 0.9, 0.8], [-0.3, 0.1, 1.2, 0.7], [0.9, 0.9, 0.1, 0.2], [0.5, 0.5, 0.5, 0.5]], np.float32
    )
    owners = np.asarray([0, 1, 1, 0, 1], np.int32)
    for size in ((4, 5), (1, 3), (7, 9)):
        inputs = (image, boxes, owners, np.asarray(size, np.int32))
        yield Example(inputs, {}, (3,), note=f"{size[0]}x{size[1]}", tolerance=2e-6)
    inputs = (image, boxes, owners, np.asarray([4, 3], np.int32))
    yield Example(inputs, {"method": "nearest", "extrapolation_value": -1.5}, (1, 2, 3), note="nearest, constant boxes")
    numbers = np.arange(60, dtype=np.uint8).reshape(1, 4, 5, 3)
    yield Example((numbers, boxes, owners * 0, inputs[3]), {"extrapolation_value": 7.0}, (3,), note="bytes", tolerance=2e-6)
    none = (image, np.zeros((0, 4), np.float32), np.zeros(0, np.int32), inputs[3])
    yield Example(none, {}, (3,), note="no boxes")


SPECS = (
    OpSpec(
        name="CropAndResize",
        attrs={"method": "bilinear", "extrapolation_value": 0.0, "T": DType.FLOAT32},
        infer=_infer,
        evaluate=_evaluate,
        to_tfjs=_to_tfjs,
        expand=_expand,
        examples=_examples,
    ),
)
