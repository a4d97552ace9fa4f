"""What the readers of an input tell about its shape, for inputs whose rank the file leaves open."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Shape, Value, format_shape

Rule = Callable[[Node], Shape]
"""The shape that the first input of a node must have, `?` where it may be anything; None when the node does not tell."""


def _matrix(node: Node) -> Shape:
    other = node.inputs[1].shape
    if other is None or len(other) != 2:
        return None
    shared = other[1] if node["transpose_b"] else other[0]
    return (shared, UNKNOWN_DIM) if node["transpose_a"] else (UNKNOWN_DIM, shared)


def _image(channels: Dim, node: Node) -> Shape:
    first = str(node.get("data_format", "NHWC")).startswith("NC")
    return (UNKNOWN_DIM, channels, UNKNOWN_DIM, UNKNOWN_DIM) if first else (UNKNOWN_DIM, UNKNOWN_DIM, UNKNOWN_DIM, channels)


def _convolved(node: Node) -> Shape:
    kernel = node.inputs[1].shape
    return None if kernel is None or len(kernel) != 4 else _image(kernel[2], node)


def _pooled(node: Node) -> Shape:
    return _image(UNKNOWN_DIM, node)


RULES: Mapping[str, Rule] = {
    "MatMul": _matrix,
    "Conv2D": _convolved,
    "DepthwiseConv2dNative": _convolved,
    "MaxPool": _pooled,
    "AvgPool": _pooled,
    "ResizeBilinear": _pooled,
    "ResizeNearestNeighbor": _pooled,
}


def deduce_ranks(graph: Graph) -> None:
    """Give each input of unknown rank the shape that the ops reading it ask for, and say so."""
    for port in graph.inputs:
        if port.value.shape is not None or port.value.producer.op != "Placeholder":
            continue
        shape = _asked_for(port.value)
        if shape is not None:
            named = tuple(f"{port.name}.{axis}" if dim == UNKNOWN_DIM else dim for axis, dim in enumerate(shape))
            port.value.producer.attrs["shape"] = named
            graph.notices.append(f"input '{port.name}' has no shape in the file; what reads it asks for {format_shape(shape)}")


def _asked_for(value: Value) -> Shape:
    for node in value.users:
        if node.op in RULES and node.inputs[0] is value:
            shape = RULES[node.op](node)
            if shape is not None:
                return shape
    return None
