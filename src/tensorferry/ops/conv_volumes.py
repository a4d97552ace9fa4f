"""Conv3D and Conv3DBackpropInputV2, its transpose: windows over depth, height and width."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed
from tensorferry.ops.conv_maths import group_count
from tensorferry.ops.dilating import correlation_pads, spread, turned_filter
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.sliding import (
    Axes,
    channels_first,
    from_last,
    known_pads,
    output_dims,
    patches,
    read_axes,
    surrounded,
    to_last,
)
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.ops.windows import require_float32
from tensorferry.targets import JsNode, LiteOp, Ref
from tensorferry.tensor import Array, ArrayTensor, DType


def _axes(node: Node, weights: Sequence[int]) -> Axes:
    return read_axes(node, weights[:3], rates="dilations")


def _filter(node: Node) -> tuple[int, ...]:
    shape = node.inputs[1].static_shape
    if shape is None or len(shape) != 5:
        raise Declined(
            "the shape of its filter must be known, and have rank 5", remedy="make the filter a constant in the source model"
        )
    return shape


def _require_last(node: Node) -> None:
    if channels_first(node):
        raise Declined("channels must come last", attributes=f"data_format={node['data_format']}")


# -- inference -----------------------------------------------------------------------------------------------------


def _infer(node: Node) -> list[Typed]:
    value, weights = node.inputs[:2]
    if weights.static_shape is None:
        return [Typed(value.dtype, (UNKNOWN_DIM,) * 5)]
    return [Typed(value.dtype, output_dims(node, value, _axes(node, _filter(node)), _filter(node)[4]))]


def _infer_transposed(node: Node) -> list[Typed]:
    sizes, weights, value = node.inputs[:3]
    channels: Dim = weights.shape[3] if weights.shape is not None and len(weights.shape) == 5 else UNKNOWN_DIM
    batch: Dim = value.shape[0] if value.shape else UNKNOWN_DIM
    space = (UNKNOWN_DIM,) * 3
    known: tuple[Dim, ...] = (batch, channels, *space) if channels_first(node) else (batch, *space, channels)
    if sizes.content is not None:
        if len(sizes.content) != 5:
            raise Declined(f"its input_sizes has {len(sizes.content)} elements, not 5")
        known = tuple(asked if asked != UNKNOWN_DIM else dim for asked, dim in zip(sizes.content, known, strict=True))
    return [Typed(value.dtype, known)]


# -- evaluation ----------------------------------------------------------------------------------------------------


def _evaluate(node: Node, array: Array, weights: Array) -> Array:
    axes, last = _axes(node, weights.shape), to_last(node, array)
    if group_count(last.shape[-1], weights.shape[3], weights.shape[4]) != 1:
        raise Declined("it is grouped")
    views = patches(axes, surrounded(axes, last))
    result = np.tensordot(views, weights, axes=([4, 5, 6, 7], [0, 1, 2, 3]))
    return from_last(node, np.asarray(result, array.dtype))


def _evaluate_transposed(node: Node, sizes: Array, weights: Array, array: Array) -> Array:
    axes, last = _axes(node, weights.shape), to_last(node, array)
    wanted = [int(size) for size in (sizes[2:] if channels_first(node) else sizes[1:4])]
    if [axis.count(size) for axis, size in zip(axes, wanted, strict=True)] != list(last.shape[1:4]):
        raise Declined(f"a result of {wanted} does not belong to an input of {list(last.shape[1:4])}")
    pads = [axis.pads(size) for axis, size in zip(axes, wanted, strict=True)]
    wide = np.zeros((len(last), *(size + sum(pad) for size, pad in zip(wanted, pads, strict=True)), weights.shape[3]), last.dtype)
    for tap in itertools.product(*(range(axis.size) for axis in axes)):
        reached = tuple(
            slice(at * axis.dilation, at * axis.dilation + (count - 1) * axis.stride + 1, axis.stride)
            for at, axis, count in zip(tap, axes, last.shape[1:4], strict=True)
        )
        wide[(slice(None), *reached)] += last @ weights[tap].T
    inside = tuple(slice(before, before + size) for size, (before, _) in zip(wanted, pads, strict=True))
    return from_last(node, wide[(slice(None), *inside)])


# -- lowering ------------------------------------------------------------------------------------------------------


def _lite_options(node: Node, axes: Axes) -> dict[str, Any]:
    options: dict[str, Any] = {"padding": node["padding"], "fused_activation_function": "NONE"}
    for name, axis in zip("dhw", axes, strict=True):
        options[f"stride_{name}"] = axis.stride
        options[f"dilation_{name}_factor"] = axis.dilation
    return options


def _to_tflite(node: Node) -> Sequence[LiteOp]:
    _require_last(node)
    require_float32(node)
    axes = _axes(node, _filter(node))
    return [LiteOp("CONV_3D", tuple(node.inputs), tuple(node.outputs), _lite_options(node, axes))]


def _transposed_to_tflite(node: Node) -> Sequence[LiteOp]:
    _require_last(node)
    require_float32(node)
    sizes, weights, value = node.inputs
    axes, shape = _axes(node, _filter(node)), node.output.static_shape
    if any(axis.dilation > 1 for axis in axes):
        raise Declined("LiteRT's CONV_3D_TRANSPOSE knows no dilation", attributes=f"dilations={list(node['dilations'])}")
    wanted: Ref = sizes if shape is None else ArrayTensor(np.asarray(shape, np.int32))
    if shape is None and sizes.dtype is not DType.INT32:
        raise Declined("the size of its result is not known", remedy="fix the model's input sizes")
    return [LiteOp("CONV_3D_TRANSPOSE", (wanted, weights, value), tuple(node.outputs), _lite_options(node, axes))]


def _to_tfjs(node: Node) -> Sequence[JsNode]:
    _require_last(node)
    require_float32(node)
    axes = _axes(node, _filter(node))
    if any(axis.dilation > 1 for axis in axes):
        raise Declined("TensorFlow.js's Conv3D knows no dilation", attributes=f"dilations={list(node['dilations'])}")
    if node["padding"] == "SAME" and any(axis.size < axis.stride for axis in axes):
        raise Declined("TensorFlow.js pads a window smaller than its stride wrongly", attributes=f"strides={list(node['strides'])}")
    attrs = {"strides": list(node["strides"]), "padding": node["padding"], "data_format": "NDHWC", "T": DType.FLOAT32}
    return [JsNode(node.op, tuple(node.inputs), (node.output,), attrs | {"dilations": [1, 1, 1, 1, 1]})]


def _refuse_transposed(_node: Node) -> Sequence[JsNode]:
    raise Declined("TensorFlow.js has no transposed convolution of volumes, and its sizes must be known to write it as a plain one")


def _expand(graph: Graph, node: Node) -> bool:
    """A dilated filter is a larger one with zeros in it; a window smaller than its stride is padded beforehand."""
    rates = node["dilations"][1:4]
    if channels_first(node):
        return False
    parts = Expansion(graph, node)
    if max(rates) == 1:
        return _expand_padding(parts)
    weights = spread(parts, node.inputs[1], rates, first=0)
    if weights is None:
        return False
    attrs = {key: node[key] for key in ("strides", "padding", "data_format")}
    return parts.finish(parts.make("Conv3D", node.inputs[0], weights, **attrs))


def _expand_padding(parts: Expansion) -> bool:
    value, weights = parts.node.inputs
    axes = _axes(parts.node, _filter(parts.node))
    pads = known_pads(axes, value)
    if pads is None or all(axis.size >= axis.stride for axis in axes):
        return False
    table = np.asarray([(0, 0), *pads, (0, 0)], np.int32)
    wide = parts.make("Pad", value, table) if table.any() else value
    return parts.finish(parts.make("Conv3D", wide, weights, strides=parts.node["strides"], padding="VALID"))


def _expand_transposed(graph: Graph, node: Node) -> bool:
    """Zeros between the elements, as many as a stride leaves out, and a convolution with the filter turned around."""
    _, weights, value = node.inputs
    if channels_first(node) or node.output.shape is None or weights.static_shape is None:
        return False
    axes = _axes(node, _filter(node))
    if any(isinstance(dim, str) for dim in node.output.shape[1:]) or value.shape is None:
        return False
    parts = Expansion(graph, node)
    sparse = spread(parts, value, [axis.stride for axis in axes], first=1)
    kernel = spread(parts, weights, [axis.dilation for axis in axes], first=0)
    if sparse is None or kernel is None or sparse.shape is None:
        return False
    kernel = turned_filter(parts, kernel, 3)
    pads = correlation_pads(axes, node.output.shape[1:4], sparse.shape[1:4])
    if pads is None:
        return False
    table = np.asarray([(0, 0), *pads, (0, 0)], np.int32)
    wide = parts.make("Pad", sparse, table) if table.any() else sparse
    return parts.finish(parts.make("Conv3D", wide, kernel, strides=[1] * 5, padding="VALID", data_format="NDHWC"))


# -- examples ------------------------------------------------------------------------------------------------------


def _attrs(stride: int | tuple[int, int, int] = 1, padding: str = "SAME", dilation: int = 1, **more: Any) -> dict[str, Any]:
    strides = list(stride) if isinstance(stride, tuple) else [stride] * 3
    return {"strides": [1, *strides, 1], "padding": padding, "dilations": [1, *[dilation] * 3, 1], **more}


def _examples() -> Iterator[Example]:
    volume, weights = sample(2, 4, 5, 6, 3), sample(3, 2, 3, 3, 4)
    yield Example((volume, weights), _attrs(), (1,), note="SAME")
    yield Example((volume, weights), _attrs((2, 1, 3), "VALID"), (1,), note="VALID, unequal strides")
    yield Example((volume, weights), _attrs(2), (1,), note="SAME, strided")
    yield Example((volume, weights), _attrs(), note="computed filter")
    yield Example((volume, sample(3, 1, 1, 3, 2)), _attrs((1, 2, 2)), (1,), note="smaller than its stride")
    yield Example((volume, sample(2, 2, 2, 3, 4)), _attrs(1, "SAME", 2), (1,), note="dilated")
    attrs = {"strides": [1] * 5, "padding": "SAME", "data_format": "NCDHW", "dilations": [1] * 5}
    first = {"tflite": "channels must come last", "tfjs": "channels must come last"}
    yield Example((sample(2, 3, 4, 5, 6), weights), attrs, (1,), note="channels first", declines=first)


def _transposed_examples() -> Iterator[Example]:
    def use(sizes: list[int], weights: Array, value: Array, note: str, **more: Any) -> Example:
        return Example((np.asarray(sizes, np.int32), weights, value), _attrs(**more), (0, 1), note=note)

    value = sample(2, 3, 2, 4, 4)
    yield use([2, 6, 4, 8, 3], sample(3, 3, 3, 3, 4), value, "twice as large", stride=2)
    yield use([2, 5, 3, 7, 3], sample(2, 3, 2, 3, 4), value, "to odd sizes", stride=2)
    yield use([2, 7, 5, 9, 2], sample(3, 3, 3, 2, 4), value, "VALID", stride=2, padding="VALID")
    yield use([2, 3, 2, 4, 2], sample(2, 2, 1, 2, 4), value, "stride 1")
    yield use([2, 9, 2, 8, 2], sample(1, 2, 2, 2, 4), value, "a window smaller than its stride", stride=(3, 1, 2), padding="SAME")
    yield use([2, 3, 2, 4, 2], sample(2, 2, 2, 2, 4), value, "dilated", dilation=2)
    yield Example((np.asarray([2, 6, 4, 8, 3], np.int32), sample(3, 3, 3, 3, 4), value), _attrs(2), (0,), note="computed filter")


_ATTRS = {"data_format": "NDHWC", "dilations": (1, 1, 1, 1, 1), "T": DType.FLOAT32}

SPECS = (
    OpSpec(
        name="Conv3D",
        attrs=_ATTRS,
        infer=_infer,
        evaluate=_evaluate,
        to_tflite=_to_tflite,
        to_tfjs=_to_tfjs,
        expand=_expand,
        examples=_examples,
    ),
    OpSpec(
        name="Conv3DBackpropInputV2",
        attrs=_ATTRS,
        infer=_infer_transposed,
        evaluate=_evaluate_transposed,
        to_tflite=_transposed_to_tflite,
        to_tfjs=_refuse_transposed,
        expand=_expand_transposed,
        examples=_transposed_examples,
    ),
)
