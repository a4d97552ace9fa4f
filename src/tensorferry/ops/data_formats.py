"""Arithmetic with layouts and places: DataFormatDimMap, DataFormatVecPermute, UnravelIndex, ParallelConcat."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import Graph, Node, Typed
from tensorferry.ops.dims import known_integers, length_of
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.sizes import pick
from tensorferry.ops.spec import Declined, Example, OpSpec, same_as_input
from tensorferry.tensor import Array, DType

_FORMATS = {"src_format": "NHWC", "dst_format": "NCHW"}


def _formats(node: Node) -> tuple[str, str]:
    source, target = str(node["src_format"]), str(node["dst_format"])
    if sorted(source) != sorted(target):
        raise Declined("its formats have different axes", attributes=f"src_format={source}, dst_format={target}")
    return source, target


# -- DataFormatDimMap ----------------------------------------------------------------------------------------------


def _axis_table(node: Node) -> Array:
    """Where each axis of the source format is in the target's."""
    source, target = _formats(node)
    return np.array([target.index(axis) for axis in source], np.int32)


def _evaluate_axis(node: Node, array: Array) -> Array:
    return np.asarray(_axis_table(node)[np.mod(array, len(node["src_format"]))]).astype(array.dtype)


def _expand_axis(graph: Graph, node: Node) -> bool:
    value, table, expansion = node.inputs[0], _axis_table(node), Expansion(graph, node)
    kind = value.dtype.numpy
    counted = expansion.make("FloorMod", value, np.array(len(table), kind))
    return expansion.finish(expansion.make("GatherV2", table.astype(kind), counted, np.array(0, np.int32)))


def _axis_examples() -> Iterator[Example]:
    yield Example((np.array([0, 1, -1, 3], np.int32),), _FORMATS)
    yield Example((np.array([[2], [-4]]),), {"src_format": "NCHW", "dst_format": "NHWC"}, note="int64")


# -- DataFormatVecPermute ------------------------------------------------------------------------------------------


def _order(node: Node, length: int) -> list[int]:
    """Which element comes where; of vectors that speak of height and width alone, the two among them."""
    source, target = _formats(node)
    if length == len(source) - 2:
        source, target = ("".join(axis for axis in text if axis not in "NC") for text in (source, target))
    if length != len(source):
        raise Declined(f"{length} elements are none of {source}")
    return [source.index(axis) for axis in target]


def _evaluate_order(node: Node, array: Array) -> Array:
    return array[_order(node, len(array))]


def _expand_order(graph: Graph, node: Node) -> bool:
    value = node.inputs[0]
    if not value.shape or not isinstance(value.shape[0], int):
        return False
    expansion, order = Expansion(graph, node), np.array(_order(node, value.shape[0]), np.int32)
    return expansion.finish(expansion.make("GatherV2", value, order, np.array(0, np.int32)))


def _order_examples() -> Iterator[Example]:
    yield Example((np.array([1, 7, 5, 3], np.int32),), _FORMATS)
    yield Example((np.array([[1, 2], [3, 4], [5, 6], [7, 8]], np.int32),), _FORMATS, note="pairs")
    yield Example((np.array([7, 5]),), _FORMATS, note="height and width, int64")


# -- UnravelIndex --------------------------------------------------------------------------------------------------


def _infer_places(node: Node) -> list[Typed]:
    value, count = node.inputs[0], length_of(node.inputs[1])
    if value.shape is None or count is None:
        return [Typed(value.dtype, None)]
    return [Typed(value.dtype, (count, *value.shape))]


def _evaluate_places(_node: Node, array: Array, dims: Array) -> Array:
    return np.asarray(np.unravel_index(array, dims.tolist()), array.dtype)


def _expand_places(graph: Graph, node: Node) -> bool:
    """From the last axis on: what is left over by its size, and how often that goes."""
    value, dims = node.inputs
    count, known = length_of(dims), known_integers(dims)
    if count is None or not count:
        return False
    expansion, kind = Expansion(graph, node), value.dtype.numpy
    rest, places = value, []
    for axis in reversed(range(count)):
        size = expansion.constant(np.array(known[axis], kind), "size") if known is not None else pick(expansion, dims, axis)
        places.append(expansion.make("FloorMod", rest, size) if axis else rest)
        rest = expansion.make("FloorDiv", rest, size) if axis else rest
    return expansion.finish(expansion.make("Pack", *reversed(places), axis=0))


def _places_examples() -> Iterator[Example]:
    yield Example((np.array([0, 7, 23], np.int32), np.array([2, 3, 4], np.int32)), constants=(1,))
    yield Example((np.array([5, 2]), np.array([2, 3])), note="computed, int64")


# -- ParallelConcat ------------------------------------------------------------------------------------------------


def _infer_rows(node: Node) -> list[Typed]:
    """One row of each input; the attribute `shape` says the same, or nothing in a graph that left it to them."""
    shape = node.inputs[0].shape
    return [Typed(node.inputs[0].dtype, None if not shape else (len(node.inputs), *shape[1:]))]


def _expand_rows(graph: Graph, node: Node) -> bool:
    expansion = Expansion(graph, node)
    return expansion.finish(expansion.make("ConcatV2", *node.inputs, np.array(0, np.int32)))


def _rows_examples() -> Iterator[Example]:
    yield Example((sample(1, 3), sample(1, 3, seed=1)), {"shape": (2, 3)})


SPECS = (
    OpSpec(
        name="DataFormatDimMap",
        attrs=_FORMATS,
        infer=same_as_input,
        evaluate=_evaluate_axis,
        expand=_expand_axis,
        examples=_axis_examples,
    ),
    OpSpec(
        name="DataFormatVecPermute",
        attrs=_FORMATS,
        infer=same_as_input,
        evaluate=_evaluate_order,
        expand=_expand_order,
        examples=_order_examples,
    ),
    OpSpec(
        name="UnravelIndex",
        attrs={"Tidx": DType.INT32},
        infer=_infer_places,
        evaluate=_evaluate_places,
        expand=_expand_places,
        examples=_places_examples,
    ),
    OpSpec(
        name="ParallelConcat",
        infer=_infer_rows,
        evaluate=lambda _node, *rows: np.concatenate(rows),
        expand=_expand_rows,
        examples=_rows_examples,
    ),
)
