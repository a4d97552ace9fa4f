"""MaxPool3D and AvgPool3D, pooled over two axes at a time: height and width first, then depth.

Of the operators that take a volume, TensorFlow.js's AvgPool3D alone is used. Its MaxPool3D in WebAssembly starts from the smallest
number above 0 instead of the lowest, so that a window of negative numbers comes out as 1e-38.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.sliding import (
    Axes,
    channels_first,
    from_last,
    inner,
    lowest,
    output_dims,
    patches,
    read_axes,
    surrounded,
    to_last,
)
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.ops.windows import require_float32
from tensorferry.targets import JsNode
from tensorferry.tensor import Array, DType


def _axes(node: Node) -> Axes:
    return read_axes(node, inner(node, "ksize", 5))


def _infer(node: Node) -> list[Typed]:
    value = node.inputs[0]
    channels: Dim = UNKNOWN_DIM if value.shape is None else value.shape[1 if channels_first(node) else -1]
    return [Typed(value.dtype, output_dims(node, value, _axes(node), channels))]


def _over_window(axes: Axes) -> tuple[int, ...]:
    count = len(axes)
    return tuple(range(count + 1, 2 * count + 1))


def _evaluate_max(node: Node, array: Array) -> Array:
    axes = _axes(node)
    wide = surrounded(axes, to_last(node, array), lowest(DType.of(array)))
    return from_last(node, patches(axes, wide).max(axis=_over_window(axes)))


def _evaluate_average(node: Node, array: Array) -> Array:
    axes = _axes(node)
    last = to_last(node, array)
    ones = surrounded(axes, np.ones((1, *last.shape[1:-1], 1), np.float32))
    wide = surrounded(axes, last.astype(np.float32) if array.dtype == np.float16 else last)
    total, count = (patches(axes, each).sum(axis=_over_window(axes)) for each in (wide, ones))
    return from_last(node, (total / count).astype(array.dtype))


def _refuse(_node: Node) -> Sequence[Any]:
    raise Declined(
        "the target pools over height and width only, and pooling in two steps needs to know the size of a volume",
        remedy="fix the sizes of the model's input",
    )


def _to_tfjs(node: Node) -> Sequence[JsNode]:
    if channels_first(node):
        raise Declined("channels must come last", attributes=f"data_format={node['data_format']}")
    require_float32(node)
    if node["padding"] == "SAME" and any(axis.size < axis.stride for axis in _axes(node)):
        raise Declined("TensorFlow.js pads a window smaller than its stride wrongly", attributes=f"strides={list(node['strides'])}")
    attrs: dict[str, Any] = {key: list(node[key]) for key in ("ksize", "strides")}
    attrs |= {"padding": node["padding"], "data_format": "NDHWC", "T": node.output.dtype}
    return [JsNode(node.op, tuple(node.inputs), (node.output,), attrs)]


def _expand(graph: Graph, node: Node) -> bool:
    value, output = node.inputs[0], node.output
    if channels_first(node) or value.shape is None or output.shape is None:
        return False
    if any(isinstance(dim, str) for dim in (*value.shape[1:], *output.shape[1:])):
        return False
    deep, high, wide = _axes(node)
    parts = Expansion(graph, node)
    depth, height, width, channels = value.shape[1:]
    planes = _reshaped(parts, value, height, width, channels)
    pooled = _pool(parts, planes, (high.size, wide.size), (high.stride, wide.stride))
    rows, columns = output.shape[2:4]
    lines = _reshaped(parts, pooled, depth, rows * columns, channels)  # type: ignore[operator]
    pooled = _pool(parts, lines, (deep.size, 1), (deep.stride, 1))
    return parts.finish(_reshaped(parts, pooled, *output.shape[1:]))


def _reshaped(parts: Expansion, value: Value, *dims: Dim) -> Value:
    """All but the first size are given."""
    return parts.make("Reshape", value, np.asarray([-1, *dims], np.int32))


def _pool(parts: Expansion, value: Value, size: tuple[int, int], stride: tuple[int, int]) -> Value:
    if size == stride == (1, 1):
        return value
    attrs = {"ksize": [1, *size, 1], "strides": [1, *stride, 1], "padding": parts.node["padding"]}
    return parts.make(parts.node.op.removesuffix("3D"), value, **attrs)


def _attrs(size: tuple[int, ...], stride: tuple[int, ...], padding: str, **more: Any) -> dict[str, Any]:
    return {"ksize": [1, *size, 1], "strides": [1, *stride, 1], "padding": padding, **more}


def _examples(largest: bool) -> Iterator[Example]:
    volume = sample(2, 4, 5, 6, 3)
    yield Example((volume,), _attrs((2, 2, 2), (2, 2, 2), "VALID"), note="halves")
    yield Example((volume,), _attrs((3, 2, 3), (1, 2, 3), "SAME"), note="unequal, SAME")
    yield Example((volume,), _attrs((1, 3, 3), (1, 1, 1), "SAME"), note="planes only")
    yield Example((volume,), _attrs((3, 1, 1), (2, 1, 1), "SAME"), note="depth only")
    yield Example((volume,), _attrs((3, 1, 2), (1, 2, 2), "SAME"), note="smaller than its stride")
    first = {"tflite": "in two steps", "tfjs": "in two steps" if largest else "channels must come last"}
    attrs = {"ksize": [1, 1, 2, 2, 2], "strides": [1, 1, 2, 1, 2], "padding": "SAME", "data_format": "NCDHW"}
    yield Example((sample(1, 3, 4, 5, 6),), attrs, note="channels first", declines=first)


_ATTRS = {"data_format": "NDHWC", "T": DType.FLOAT32}

SPECS = (
    OpSpec(
        name="MaxPool3D",
        attrs=_ATTRS,
        infer=_infer,
        evaluate=_evaluate_max,
        to_tflite=_refuse,
        to_tfjs=_refuse,
        expand=_expand,
        examples=lambda: _examples(largest=True),
    ),
    OpSpec(
        name="AvgPool3D",
        attrs=_ATTRS,
        infer=_infer,
        evaluate=_evaluate_average,
        to_tflite=_refuse,
        to_tfjs=_to_tfjs,
        expand=_expand,
        examples=lambda: _examples(largest=False),
    ),
)
