"""Convolutions of integers, exact at any size: products of whole patches with the filter, added up."""

from __future__ import annotations

import numpy as np

from tensorferry.ir import Graph, Node
from tensorferry.ops.sliding import MOST_TAPS, Sliding, known_pads, whole
from tensorferry.ops.windows import read_window


def expand_integers(graph: Graph, node: Node) -> bool:
    """Each position's patch [positions, elements, 1] times the filter [elements, results], summed over the elements."""
    value, weights = node.inputs[:2]
    dims, output = weights.static_shape, node.output.shape
    if node["data_format"] != "NHWC" or dims is None or output is None or value.shape is None:
        return False
    window, sides = read_window(node, dims[:2]), whole(output[1:])
    pads = known_pads(window.axes, value)
    if pads is None or sides is None or value.shape[3] != dims[2] or dims[0] * dims[1] > MOST_TAPS:
        return False
    parts = Sliding(graph, node, window.axes)
    taps = parts.taps(parts.surround(value, pads))
    patches = parts.make("ConcatV2", *taps, np.int32(-1), N=len(taps)) if len(taps) > 1 else taps[0]
    elements = dims[0] * dims[1] * dims[2]
    columns = parts.make("Reshape", patches, np.asarray([-1, elements, 1], np.int32))
    matrix = parts.make("Reshape", weights, np.asarray([elements, dims[3]], np.int32))
    total = parts.make("Sum", parts.make("Mul", columns, matrix), np.int32(1))
    return parts.finish(parts.make("Reshape", total, np.asarray([-1, *sides], np.int32)))
