"""Texts written to given places, which no target's kernel does: each place picks among the texts."""

from __future__ import annotations

import math

import numpy as np

from tensorferry.ir import Graph, Node, Value
from tensorferry.ops.dims import known_integers
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.spec import Declined
from tensorferry.tensor import Array, DType


def expand_text_scatter(graph: Graph, node: Node) -> bool:
    """Texts of one place are joined in their order, those of no place are empty. Known places that differ pick by number; else each
    place joins all texts, of which those of others are left empty: places x texts of them."""
    indices, updates, _shape = node.inputs
    if updates.dtype is not DType.STRING:
        return False
    sizes, given = node.output.static_shape, indices.static_shape
    if sizes is None or not given or updates.static_shape is None or 0 in (*sizes, *given):
        raise Declined("texts are scattered by known numbers of them only", remedy="give the model's inputs known sizes")
    depth, count = given[-1], math.prod(given[:-1])
    outer, inner = sizes[:depth], math.prod(sizes[depth:])
    expansion = Expansion(graph, node)
    flat = expansion.make("Reshape", updates, np.array([-1], np.int32))
    texts = expansion.make("ConcatV2", flat, np.array([b""], object), np.array(0, np.int32))
    known = known_integers(indices)
    strides = np.array([math.prod(outer[axis + 1 :]) for axis in range(depth)], np.int32)
    if known is not None:
        places = np.array(known, np.int64).reshape(count, depth) @ strides
        if len(set(places.tolist())) == count and bool((places >= 0).all() and (places < math.prod(outer)).all()):
            return expansion.finish(_picked(expansion, texts, _numbers(places, count, inner, math.prod(outer)), sizes))
    numbers = _numbers_at_run_time(expansion, strides, count, inner)
    spread = expansion.make("GatherNd", texts, expansion.make("ExpandDims", numbers, np.array(-1, np.int32)))
    joined = expansion.make("ReduceJoin", spread, np.array([1], np.int32), keep_dims=False, separator="")
    return expansion.finish(expansion.make("Reshape", joined, np.array(sizes, np.int32)))


def _numbers(places: Array, count: int, inner: int, rows: int) -> Array:
    """Which text each place holds; the last one is the empty one."""
    numbers = np.full((rows, inner), count * inner, np.int32)
    numbers[places] = np.arange(count * inner, dtype=np.int32).reshape(count, inner)
    return numbers


def _picked(expansion: Expansion, texts: Value, numbers: Array, sizes: tuple[int, ...]) -> Value:
    return expansion.make("GatherNd", texts, numbers.reshape(*sizes, 1))


def _numbers_at_run_time(expansion: Expansion, strides: Array, count: int, inner: int) -> Value:
    """[place, text, column]: the number of the text where it belongs to the place, else that of the empty one."""
    indices, rows = expansion.node.inputs[0], expansion.node.output.static_shape
    assert rows is not None
    narrow = expansion.make("Cast", indices, DstT=DType.INT32) if indices.dtype is not DType.INT32 else indices
    lists = expansion.make("Reshape", narrow, np.array([count, strides.size], np.int32))
    places = expansion.make("Sum", expansion.make("Mul", lists, strides), np.array([1], np.int32))
    row = expansion.make("Reshape", places, np.array([1, count, 1], np.int32))
    every = np.arange(math.prod(rows[: strides.size]), dtype=np.int32).reshape(-1, 1, 1)
    own = expansion.make("Equal", row, every)
    numbers = np.arange(count * inner, dtype=np.int32).reshape(1, count, inner)
    return expansion.make("SelectV2", own, numbers, np.array(count * inner, np.int32))
