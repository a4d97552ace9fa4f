"""Gradients of batch normalisation in all its versions, and of local response normalisation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tensorferry.ir import Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.norm import LAYOUTS
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType

# -- batch normalisation -------------------------------------------------------------------------------------------


def _layout(node: Node) -> tuple[int, int]:
    layout = node["data_format"]
    if layout not in LAYOUTS:
        raise Declined(f"the data format {layout} is not known", attributes=f"data_format={layout}")
    return LAYOUTS[layout]


def _infer(node: Node) -> list[Typed]:
    """Gradients of image, scale and offset, and two that nobody needs."""
    rank, _ = _layout(node)
    gradient, image, scale = node.inputs[:3]
    if any(each.rank not in (None, rank) for each in (gradient, image)):
        raise Declined(f"its image has rank {image.rank}, not {rank}")
    nothing = Typed(DType.FLOAT32, ())
    return [Typed(image.dtype, image.shape), Typed(scale.dtype, scale.shape), Typed(scale.dtype, scale.shape), nothing, nothing]


def _evaluate(
    node: Node, gradient: Array, image: Array, scale: Array, mean: Array, variance: Array, *_: Array
) -> tuple[Array, ...]:
    rank, channel = _layout(node)
    outer = tuple(axis for axis in range(rank) if axis != channel)
    stretch = [-1 if axis == channel else 1 for axis in range(rank)]
    dy, x = gradient.astype(np.float32, copy=False), image.astype(np.float32, copy=False)
    if node["is_training"]:
        mean, variance = x.mean(axis=outer), x.var(axis=outer)
    inverse = (1 / np.sqrt(variance + np.float32(node["epsilon"]))).reshape(stretch)
    normal = (x - mean.reshape(stretch)) * inverse
    slope = dy
    if node["is_training"]:
        slope = dy - dy.mean(axis=outer, keepdims=True) - normal * (dy * normal).mean(axis=outer, keepdims=True)
    made = slope * inverse * scale.reshape(stretch)
    nothing = np.zeros((), np.float32)
    return made.astype(image.dtype, copy=False), (dy * normal).sum(axis=outer), dy.sum(axis=outer), nothing, nothing


def _expand(graph: Graph, node: Node) -> bool:
    dy, x, scale, mean, variance = node.inputs[:5]
    rank, channel = _layout(node)
    if any(each.dtype is not x.dtype for each in (dy, scale, mean, variance)):
        raise Declined("its image and its scale have different types")
    parts, outer = Expansion(graph, node), np.asarray([axis for axis in range(rank) if axis != channel], np.int32)

    def over_image(vector: Value) -> Value:
        return parts.make("Reshape", vector, np.asarray([-1, *[1] * (rank - 2)], np.int32)) if channel == 1 else vector

    if node["is_training"]:
        middle = parts.make("Mean", x, outer, keep_dims=True)
        centred = parts.make("Sub", x, middle)
        spread = parts.make("Mean", parts.make("Square", centred), outer, keep_dims=True)
    else:
        centred, spread = parts.make("Sub", x, over_image(mean)), over_image(variance)
    inverse = parts.make("Rsqrt", parts.make("AddV2", spread, float(node["epsilon"])))
    normal = parts.make("Mul", centred, inverse)
    weighted, slope = parts.make("Mul", dy, normal), dy
    if node["is_training"]:
        slope = parts.make("Sub", dy, parts.make("Mean", dy, outer, keep_dims=True))
        slope = parts.make("Sub", slope, parts.make("Mul", normal, parts.make("Mean", weighted, outer, keep_dims=True)))
    made = parts.make("Mul", slope, parts.make("Mul", inverse, over_image(scale)))
    sums = [parts.make("Sum", each, outer, keep_dims=False) for each in (weighted, dy)]
    nothing = [parts.constant(np.zeros((), np.float32), "reserved") for _each in node.outputs[3:]]
    return parts.finish(made, *sums, *nothing)


def _inputs(*sides: int) -> tuple[Array, ...]:
    channels = sides[-1]
    vectors = sample(3, channels)
    return sample(*sides), sample(*sides, seed=1) * 2 + 1, vectors[0], vectors[1], np.square(vectors[2]) + np.float32(0.1)


def _examples(sides: tuple[int, ...], last: bool) -> Iterator[Example]:
    gradient, image, scale, mean, variance = _inputs(*sides)
    more = (np.zeros_like(mean),) if last else ()
    attrs = {"is_training": False, "epsilon": 0.001}
    yield Example((gradient, image, scale, mean, variance, *more), attrs, note="given statistics", tolerance=5e-6)
    outer = tuple(range(len(sides) - 1))
    own = image.mean(axis=outer), image.var(axis=outer)
    yield Example((gradient, image, scale, *own, *more), {"epsilon": 0.001}, note="statistics of the batch", tolerance=5e-6)


# -- LRN -----------------------------------------------------------------------------------------------------------


def _band(node: Node, channels: int) -> Array:
    """[channels, channels]: a one where two channels lie near enough to weigh on each other."""
    places = np.arange(channels)
    near: Array = np.abs(places[:, None] - places) <= max(int(node["depth_radius"]), 0)
    return near.astype(np.float32)


def _infer_local(node: Node) -> list[Typed]:
    if any(each.rank not in (None, 4) for each in node.inputs):
        raise Declined("its images must have rank 4")
    return [Typed(node.inputs[1].dtype, node.inputs[1].shape)]


def _evaluate_local(node: Node, gradient: Array, image: Array, result: Array) -> Array:
    band = _band(node, image.shape[-1])
    base = np.float32(node["bias"]) + np.float32(node["alpha"]) * (np.square(image) @ band)
    shared = (gradient * result / base) @ band
    factor = np.float32(-2 * node["alpha"] * node["beta"])
    return np.asarray(gradient * np.power(base, np.float32(-node["beta"])) + factor * image * shared, image.dtype)


def _expand_local(graph: Graph, node: Node) -> bool:
    """Each channel weighs on those near it: sums over neighbours are products with a matrix of ones."""
    gradient, image, result = node.inputs
    if image.shape is None or not isinstance(image.shape[-1], int) or image.dtype is not DType.FLOAT32:
        raise Declined("the number of its channels is not known, or they are no float32")
    parts, channels = Expansion(graph, node), image.shape[-1]
    band = parts.constant(_band(node, channels), "neighbours")

    def summed(value: Value) -> Value:
        rows = parts.make("Reshape", value, np.asarray([-1, channels], np.int32))
        return parts.make("MatMul", rows, band)

    dy, x, y = (parts.make("Reshape", each, np.asarray([-1, channels], np.int32)) for each in (gradient, image, result))
    base = parts.make("AddV2", parts.make("Mul", summed(parts.make("Square", x)), float(node["alpha"])), float(node["bias"]))
    shared = summed(parts.make("RealDiv", parts.make("Mul", dy, y), base))
    first = parts.make("Mul", dy, parts.make("Pow", base, -float(node["beta"])))
    second = parts.make("Mul", parts.make("Mul", x, shared), -2.0 * float(node["alpha"]) * float(node["beta"]))
    made = parts.make("AddV2", first, second)
    return parts.finish(parts.make("Reshape", made, np.asarray([-1, *_inner(image), channels], np.int32)))


def _inner(value: Value) -> list[int]:
    inner = value.shape[1:-1] if value.shape is not None else ("?",)
    if any(isinstance(dim, str) for dim in inner):
        raise Declined("the size of its image is not known", remedy="fix it with --shape")
    return [int(dim) for dim in inner]


def _local_examples() -> Iterator[Example]:
    for attrs in ({}, {"depth_radius": 2, "bias": 2.0, "alpha": 1e-1, "beta": 0.75}):
        image, full = sample(2, 3, 4, 9), {"depth_radius": 5, "bias": 1.0, "alpha": 1.0, "beta": 0.5} | attrs
        near = _band(Node("LRN", "LRN", (), full, ()), 9)
        result = image * np.power(full["bias"] + full["alpha"] * (np.square(image) @ near), -full["beta"])
        yield Example((sample(2, 3, 4, 9, seed=1), image, result.astype(np.float32)), attrs, tolerance=5e-6)


def _spec(name: str, more: dict[str, Any], sides: tuple[int, ...], *, last: bool) -> OpSpec:
    attrs = {"epsilon": 0.0001, "data_format": "NHWC", "is_training": True, "T": DType.FLOAT32, **more}
    return OpSpec(name=name, attrs=attrs, infer=_infer, evaluate=_evaluate, expand=_expand, examples=lambda: _examples(sides, last))


SPECS = (
    _spec("FusedBatchNormGradV3", {"U": DType.FLOAT32}, (2, 3, 4, 5), last=True),
    _spec("FusedBatchNormGradV2", {"U": DType.FLOAT32}, (2, 3, 4, 5), last=False),
    _spec("FusedBatchNormGrad", {}, (2, 3, 4, 5), last=False),
    OpSpec(
        name="LRNGrad",
        attrs={"depth_radius": 5, "bias": 1.0, "alpha": 1.0, "beta": 0.5, "T": DType.FLOAT32},
        infer=_infer_local,
        evaluate=_evaluate_local,
        expand=_expand_local,
        examples=_local_examples,
    ),
)
