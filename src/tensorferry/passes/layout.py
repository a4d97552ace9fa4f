"""One layout inside: nodes that work on channels-first data do so on channels-last data between two transposes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Node, Value
from tensorferry.passes.rewriting import decline, for_each_node, insert_after, integers, take_over

log = logging.getLogger(__name__)

PER_AXIS = ("strides", "dilations", "ksize")
"""Attributes with one number an axis."""

DATA_INPUT = {"Conv2DBackpropInput": 2, "Conv3DBackpropInputV2": 2}
"""Which input carries the image, where it is not the first."""

SETTLED = frozenset(
    {
        "Conv2D",
        "DepthwiseConv2dNative",
        "Conv2DBackpropInput",
        "BiasAdd",
        "FusedBatchNormV3",
        "MaxPool",
        "AvgPool",
        "DepthToSpace",
        "SpaceToDepth",
        "Conv3D",
        "Conv3DBackpropInputV2",
        "MaxPool3D",
        "AvgPool3D",
    }
)


def to_last(rank: int) -> tuple[int, ...]:
    """The permutation that moves axis 1 to the end."""
    return (0, *range(2, rank), 1)


def to_first(rank: int) -> tuple[int, ...]:
    """The permutation that moves the last axis to 1."""
    return (0, rank - 1, *range(1, rank - 1))


def settle_layout(graph: Graph) -> int:
    """Every node with channels first becomes transpose, channels-last node, transpose."""
    return for_each_node(graph, _settle)


def _settle(graph: Graph, node: Node) -> int:
    layout = node.get("data_format")
    if not isinstance(layout, str) or not layout.startswith("NC") or not node.outputs:
        return 0
    if node.op not in SETTLED or layout not in ("NCHW", "NCDHW"):
        return decline(log, node, f"no channels-last form of it is known for {layout}")
    at = DATA_INPUT.get(node.op, 0)
    rank = node.inputs[at].rank
    if rank is None:
        rank = 5 if layout == "NCDHW" else 4
    if node.op == "BiasAdd" and rank == 2:
        node.attrs["data_format"] = "NHWC"
        return 1
    inputs = list(node.inputs)
    if at == 2:
        sizes = _permuted_sizes(graph, node, rank)
        if sizes is None:
            return decline(log, node, "the size of its result is computed while the model runs")
        inputs[0] = sizes
    inputs[at] = add_transpose(graph, inputs[at], to_last(rank), before=node, name=f"{node.name}/to_nhwc", owner=node)
    attrs = _permuted_attributes(node, rank)
    attrs["data_format"] = "NDHWC" if layout == "NCDHW" else "NHWC"
    _put_between(graph, node, inputs, attrs, rank)
    return 1


def _put_between(graph: Graph, node: Node, inputs: Sequence[Value], attrs: dict[str, Any], rank: int) -> None:
    made = ops.add(graph, node.op, inputs, attrs, name=f"{node.name}/nhwc", origin=node.origin, before=node)
    back = add_transpose(graph, made.outputs[0], to_first(rank), before=node, name=f"{node.name}/to_nchw", owner=node)
    for old, new in zip(node.outputs[1:], made.outputs[1:], strict=True):
        graph.replace_uses(old, new)
    take_over(graph, back.producer, node)


def add_transpose(graph: Graph, value: Value, permutation: Sequence[int], *, before: Node | None, name: str, owner: Node) -> Value:
    """A Transpose of the value with a constant permutation; its origin is the owner's."""
    axes = graph.constant(np.asarray(permutation, np.int32), f"{name}/permutation", before=before, origin=owner.origin)
    return ops.add(graph, "Transpose", (value, axes), name=name, origin=owner.origin, before=before).output


def transpose_after(graph: Graph, value: Value, permutation: Sequence[int], name: str) -> Value:
    """The same, right behind the value's producer."""
    owner = value.producer
    return add_transpose(graph, value, permutation, before=insert_after(graph, owner), name=name, owner=owner)


def _permuted_attributes(node: Node, rank: int) -> dict[str, Any]:
    attrs = dict(node.attrs)
    for name in PER_AXIS:
        if isinstance(attrs.get(name), list | tuple) and len(attrs[name]) == rank:
            attrs[name] = [attrs[name][axis] for axis in to_last(rank)]
    pads = attrs.get("explicit_paddings")
    if isinstance(pads, list | tuple) and len(pads) == 2 * rank:
        attrs["explicit_paddings"] = [pads[2 * axis + side] for axis in to_last(rank) for side in (0, 1)]
    return attrs


def _permuted_sizes(graph: Graph, node: Node, rank: int) -> Value | None:
    """The result's sizes given to a transposed convolution, channels last; a vector of two holds height and width alone."""
    value = node.inputs[0]
    sizes = integers(value)
    if sizes is None:
        if value.shape == (rank,):
            return _gather_sizes(graph, node, value, rank)
        return None
    if len(sizes) != rank:
        return value
    array = np.asarray([sizes[axis] for axis in to_last(rank)], value.dtype.numpy)
    return graph.constant(array, f"{node.name}/sizes", before=node, origin=node.origin)


def _gather_sizes(graph: Graph, node: Node, value: Value, rank: int) -> Value | None:
    if ops.find("GatherV2") is None:
        return None
    order = graph.constant(np.asarray(to_last(rank), np.int32), f"{node.name}/order", before=node, origin=node.origin)
    axis = graph.constant(np.asarray(0, np.int32), f"{node.name}/axis", before=node, origin=node.origin)
    return ops.add(graph, "GatherV2", (value, order, axis), name=f"{node.name}/sizes", origin=node.origin, before=node).output
