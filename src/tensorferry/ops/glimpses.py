"""ExtractGlimpse: a window of each image around a point that the model computes; beyond the image there is nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Graph, Node, Typed, Value
from tensorferry.ops.dims import known_integers
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.sizes import Size, Sizes
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType


def _infer(node: Node) -> list[Typed]:
    value, size, offsets = node.inputs
    if value.rank not in (None, 4) or offsets.rank not in (None, 2):
        raise Declined(f"its image and offsets have ranks {value.rank} and {offsets.rank}, not 4 and 2")
    content = size.content or (UNKNOWN_DIM, UNKNOWN_DIM)
    if len(content) != 2:
        raise Declined("its size must be two numbers")
    batch, channels = (UNKNOWN_DIM, UNKNOWN_DIM) if value.shape is None else (value.shape[0], value.shape[3])
    return [Typed(DType.FLOAT32, (batch, *content, channels))]


def _require_nothing_around(node: Node) -> None:
    if node["noise"] != "zero":
        raise Declined(
            "beyond the image it puts random numbers",
            remedy="set noise to 'zero' in the source model",
            attributes=f"noise={node['noise']}",
        )


def _evaluate(node: Node, image: Array, size: Array, offsets: Array) -> Array:
    _require_nothing_around(node)
    made = np.zeros((len(image), *size.tolist(), image.shape[3]), np.float32)
    for number, offset in enumerate(offsets.astype(np.float32)):
        places = []
        for side, part, at in zip(image.shape[1:3], size.tolist(), offset, strict=True):
            where = at * np.float32(side) if node["normalized"] else at
            if node["centered"]:
                where = where / np.float32(2) + np.float32(side) / np.float32(2)
            if node["centered"] or node.op == "ExtractGlimpse":
                where = where - np.float32(part) / np.float32(2)
            places.append(int(where) + np.arange(part))
        inside = [(each >= 0) & (each < side) for each, side in zip(places, image.shape[1:3], strict=True)]
        rows, columns = (each[there] for each, there in zip(places, inside, strict=True))
        made[number][np.ix_(*inside)] = image[number][np.ix_(rows, columns)]
    return made


def _expand(graph: Graph, node: Node) -> bool:
    """Rows and columns are gathered image by image, from the nearest there is; what is not there is then 0."""
    _require_nothing_around(node)
    image, size, offsets = node.inputs
    parts_of = known_integers(size)
    if parts_of is None or image.shape is None or image.dtype is not DType.FLOAT32:
        raise Declined("the size of its window is computed while the model runs", remedy="make it a constant in the source model")
    parts, made, sizes = Expansion(graph, node), image, Sizes(Expansion(graph, node), image)
    there = []
    for axis, part in enumerate(parts_of, start=1):
        begin = _begin(parts, offsets, axis, part, sizes[axis])
        places = parts.make("AddV2", begin, np.arange(part, dtype=np.int32))
        last = parts.make("Sub", _int(parts, sizes[axis]), np.int32(1))
        kept = parts.make("Minimum", parts.make("Maximum", places, np.int32(0)), last)
        there.append(parts.make("Equal", kept, places))
        made = parts.make("GatherV2", made, kept, np.int32(axis), batch_dims=1)
    rows = parts.make("ExpandDims", parts.make("ExpandDims", there[0], np.int32(2)), np.int32(3))
    columns = parts.make("ExpandDims", parts.make("ExpandDims", there[1], np.int32(1)), np.int32(3))
    return parts.finish(parts.make("SelectV2", parts.make("LogicalAnd", rows, columns), made, np.float32(0)))


def _int(parts: Expansion, size: Size) -> Value:
    return size if isinstance(size, Value) else parts.constant(np.array(size, np.int32), "size")


def _begin(parts: Expansion, offsets: Value, axis: int, part: int, size: Size) -> Value:
    """[images, 1]: the first row or column of each window, towards 0 as a cast rounds."""
    node = parts.node
    at = parts.make("Slice", offsets, np.array([0, axis - 1], np.int32), np.array([-1, 1], np.int32))
    side = parts.make("Cast", _int(parts, size), DstT=DType.FLOAT32)
    if node["normalized"]:
        at = parts.make("Mul", at, side)
    if node["centered"]:
        at = parts.make("AddV2", parts.make("Mul", at, np.float32(0.5)), parts.make("Mul", side, np.float32(0.5)))
    if node["centered"] or node.op == "ExtractGlimpse":
        at = parts.make("Sub", at, np.float32(part / 2))
    return parts.make("Cast", at, DstT=DType.INT32)


def _examples() -> Iterator[Example]:
    image, offsets = sample(3, 6, 7, 2), np.array([[0.1, -0.2], [-0.9, 0.85], [0.8, 0.3]], np.float32)
    plain = {"uniform_noise": False, "noise": "zero"}
    yield Example((image, np.array([3, 4], np.int32), offsets), plain, (1,), note="centred, normalised")
    places = np.array([[2, 3], [-1.4, 6], [5.5, 0.5]], np.float32)
    attrs = plain | {"centered": False, "normalized": False}
    yield Example((image, np.array([4, 3], np.int32), places), attrs, (1,), note="in pixels")


SPECS = tuple(
    OpSpec(
        name=name,
        attrs={"centered": True, "normalized": True, "uniform_noise": True, "noise": "uniform"},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        examples=_examples,
    )
    for name in ("ExtractGlimpse", "ExtractGlimpseV2")
)
