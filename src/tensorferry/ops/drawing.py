"""DrawBoundingBoxes: frames of one pixel around boxes, each box over those before it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.sizes import Sizes, count_up, plus
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType

_COLOURS = np.array(
    [
        *((1, 1, 0, 1), (0, 0, 1, 1), (1, 0, 0, 1), (0, 1, 0, 1), (0.5, 0, 0.5, 1)),
        *((0.5, 0.5, 0, 1), (0.5, 0, 0, 1), (0, 0, 0.5, 1), (0, 1, 1, 1), (1, 0, 1, 1)),
    ],
    np.float32,
)
"""What boxes are drawn in, one after the other, where no colours are given (tensorflow/core/kernels/image)."""


def _infer(node: Node) -> list[Typed]:
    return [Typed(node.inputs[0].dtype, node.inputs[0].shape)]


def _default_colours(channels: int) -> Array:
    """In an image of one channel every box is white."""
    if channels not in (1, 3, 4):
        raise Declined(f"an image of {channels} channels has no colours")
    return np.ones((1, 1), np.float32) if channels == 1 else _COLOURS[:, :channels]


def _evaluate(_node: Node, images: Array, boxes: Array, colours: Array | None = None) -> Array:
    height, width, channels = images.shape[1:]
    palette = _default_colours(channels) if colours is None or not colours.size else colours[:, :channels]
    made = images.copy()
    scale = np.array([height - 1, width - 1, height - 1, width - 1], np.float32)
    for image, each in zip(made, np.trunc(boxes * scale).astype(np.int64), strict=True):
        for number, (top, left, bottom, right) in enumerate(each.tolist()):
            if top > bottom or left > right:
                continue
            rows, columns = slice(max(top, 0), max(bottom + 1, 0)), slice(max(left, 0), max(right + 1, 0))
            colour = palette[number % len(palette)]
            for row in (top, bottom):
                image[row : row + 1, columns] = colour if 0 <= row < height else image[row : row + 1, columns]
            for column in (left, right):
                image[rows, column : column + 1] = colour if 0 <= column < width else image[rows, column : column + 1]
    return made


def _expand(graph: Graph, node: Node) -> bool:
    """For each pixel the number of the last box whose frame it lies on, counted from one; its colour, or what was there."""
    images, boxes = node.inputs[:2]
    if images.shape is None or not isinstance(images.shape[3], int) or boxes.shape is None or boxes.shape[1] == 0:
        return False
    expansion, sizes = Expansion(graph, node), Sizes(Expansion(graph, node), images)
    rows, columns = count_up(expansion, sizes[1]), count_up(expansion, sizes[2])
    corners = []
    for corner in range(4):
        at = expansion.make("Slice", boxes, np.array([0, 0, corner], np.int32), np.array([-1, -1, 1], np.int32))
        last = plus(expansion, sizes[1 + corner % 2], -1)
        scale = np.array(last, np.float32) if isinstance(last, int) else expansion.make("Cast", last, DstT=DType.FLOAT32)
        corners.append(expansion.make("Cast", expansion.make("Mul", at, scale), DstT=DType.INT32))
    top, left, bottom, right = corners
    drawn = expansion.make("LogicalAnd", *(expansion.make("LessEqual", *pair) for pair in ((top, bottom), (left, right))))
    edge_rows, inner_rows = _edges_and_inside(expansion, rows, top, bottom, 3)
    edge_columns, inner_columns = _edges_and_inside(expansion, columns, left, right, 2)
    frame = expansion.make(
        "LogicalOr",
        expansion.make("LogicalAnd", edge_rows, inner_columns),
        expansion.make("LogicalAnd", inner_rows, edge_columns),
    )
    shown = expansion.make("LogicalAnd", frame, expansion.make("ExpandDims", drawn, np.array(3, np.int32)))
    count = count_up(expansion, Sizes(expansion, boxes)[1])
    number = expansion.make("Reshape", expansion.make("AddV2", count, np.array(1, np.int32)), np.array([1, -1, 1, 1], np.int32))
    marked = expansion.make("Mul", expansion.make("Cast", shown, DstT=DType.INT32), number)
    last_box = expansion.make("Max", marked, np.array([1], np.int32))
    covered = expansion.make("ExpandDims", expansion.make("Greater", last_box, np.array(0, np.int32)), np.array(3, np.int32))
    return expansion.finish(expansion.make("SelectV2", covered, _paint(expansion, node, last_box), images))


def _edges_and_inside(expansion: Expansion, places: Value, first: Value, last: Value, axis: int) -> tuple[Value, Value]:
    """[batch, box, places] as masks of rank 4, one more axis put in at `axis`: on the first or last place; from first to last."""
    new = np.array(axis, np.int32)
    edges = expansion.make("LogicalOr", *(expansion.make("Equal", places, each) for each in (first, last)))
    inside = expansion.make("LogicalAnd", expansion.make("GreaterEqual", places, first), expansion.make("LessEqual", places, last))
    return expansion.make("ExpandDims", edges, new), expansion.make("ExpandDims", inside, new)


def _paint(expansion: Expansion, node: Node, last_box: Value) -> Value:
    channels = int(node.inputs[0].shape[3])  # type: ignore[index]
    given = node.inputs[2] if len(node.inputs) > 2 and 0 not in (node.inputs[2].shape or (0,)) else None
    if given is None:
        palette = expansion.constant(_default_colours(channels), "colours")
    else:
        palette = expansion.make("Slice", given, np.array([0, 0], np.int32), np.array([-1, channels], np.int32))
    box = expansion.make("Maximum", expansion.make("Sub", last_box, np.array(1, np.int32)), np.array(0, np.int32))
    size = Sizes(expansion, palette)[0]
    colour = expansion.make("FloorMod", box, np.array(size, np.int32) if isinstance(size, int) else size)
    painted = expansion.make("GatherV2", palette, colour, np.array(0, np.int32))
    dtype = node.inputs[0].dtype
    return painted if dtype is DType.FLOAT32 else expansion.make("Cast", painted, DstT=dtype)


def _pictures() -> tuple[Array, Array]:
    random = np.random.default_rng(5)
    boxes = np.array([[[0.1, 0.1, 0.7, 0.9], [0, 0, 1, 1]], [[-0.3, 0.2, 0.5, 1.4], [0.8, 0.5, 0.2, 0.6]]], np.float32)
    return random.random((2, 7, 9, 3), np.float32), boxes


def _coloured_examples() -> Iterator[Example]:
    images, boxes = _pictures()
    yield Example((images, boxes, np.array([[0.9, 0.1, 0.2], [0.3, 0.8, 0.4]], np.float32)), constants=(2,))
    yield Example((images, boxes, np.zeros((0, 3), np.float32)), constants=(2,), note="its own colours")


def _examples() -> Iterator[Example]:
    images, boxes = _pictures()
    yield Example((images, boxes))
    yield Example((images[..., :1], boxes + np.float32(0.04)), note="grey")


SPECS = (
    OpSpec(name="DrawBoundingBoxesV2", infer=_infer, evaluate=_evaluate, expand=_expand, examples=_coloured_examples),
    OpSpec(name="DrawBoundingBoxes", infer=_infer, evaluate=_evaluate, expand=_expand, examples=_examples),
)
