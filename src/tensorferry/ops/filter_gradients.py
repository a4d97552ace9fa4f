"""Gradients of convolutions with respect to their filters: what lay under each place of the window, times the gradient, summed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Graph, Node, Typed, Value
from tensorferry.ops.conv_maths import group_count
from tensorferry.ops.dims import known_integers
from tensorferry.ops.samples import sample
from tensorferry.ops.sliding import Axes, Sliding, channels_first, known_pads, patches, read_axes, surrounded
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.ops.windows import read_window
from tensorferry.tensor import Array, DType

MOST_PLACES = 128
"""Up to so many slices an image is cut into: a window of 11 by 11."""


def _rank(node: Node) -> int:
    return 5 if "3D" in node.op else 4


def _axes(node: Node, sizes: Sequence[int]) -> Axes:
    if channels_first(node):
        raise Declined("channels must come last", attributes=f"data_format={node['data_format']}")
    if len(sizes) != _rank(node):
        raise Declined(f"its filter has rank {len(sizes)}, not {_rank(node)}")
    if len(sizes) == 5:
        return read_axes(node, sizes[:3], rates="dilations")
    return read_window(node, sizes[:2]).axes


def _infer(node: Node) -> list[Typed]:
    value, sizes, gradient = node.inputs
    rank = _rank(node)
    if any(each.rank not in (None, rank) for each in (value, gradient)):
        raise Declined(f"its inputs have ranks {value.rank} and {gradient.rank}, not {rank}")
    content = sizes.content or (UNKNOWN_DIM,) * rank
    if len(content) != rank:
        raise Declined(f"its filter_sizes has {len(content)} elements, not {rank}")
    return [Typed(value.dtype, content)]


def _checked(node: Node, sizes: Sequence[int], image: Array, gradient: Array) -> tuple[Axes, Array]:
    """Axes, and what lies under each window: [batch, *positions, *window, channels]."""
    axes = _axes(node, sizes)
    views = patches(axes, surrounded(axes, image))
    if views.shape[: 1 + len(axes)] != gradient.shape[:-1]:
        raise Declined(f"a gradient of {gradient.shape} does not belong to an image of {image.shape}")
    return axes, views


def _evaluate(node: Node, image: Array, sizes: Array, gradient: Array) -> Array:
    shape = [int(each) for each in sizes]
    axes, views = _checked(node, shape, image, gradient)
    groups = group_count(image.shape[-1], shape[-2], shape[-1])
    over = tuple(range(1 + len(axes)))
    made = [
        np.tensordot(part, slope, axes=(over, over))
        for part, slope in zip(np.split(views, groups, -1), np.split(gradient, groups, -1), strict=True)
    ]
    return np.asarray(np.concatenate(made, -1), image.dtype)


def _evaluate_depthwise(node: Node, image: Array, sizes: Array, gradient: Array) -> Array:
    shape = [int(each) for each in sizes]
    _, views = _checked(node, shape, image, gradient)
    slopes = gradient.reshape(*gradient.shape[:3], shape[2], shape[3])
    return np.asarray(np.einsum("nyxijc,nyxcm->ijcm", views, slopes, optimize=True), image.dtype)


# -- in other ops --------------------------------------------------------------------------------------------------


def _pieces(graph: Graph, node: Node) -> tuple[Sliding, list[Value], tuple[int, ...]]:
    """For each place in the window what lies under it at each position; and the filter's sizes."""
    value, given, _ = node.inputs
    sizes = known_integers(given)
    if sizes is None:
        raise Declined("the size of its filter is computed while the model runs", remedy="make it a constant in the source model")
    axes = _axes(node, sizes)
    pads = known_pads(axes, value)
    if pads is None or value.shape is None or not isinstance(value.shape[-1], int):
        raise Declined("the size of its image is not known", remedy="fix it with --shape")
    if math.prod(axis.size for axis in axes) > MOST_PLACES:
        raise Declined(f"its window has more than {MOST_PLACES} places")
    parts = Sliding(graph, node, axes)
    return parts, parts.taps(parts.surround(value, pads)), sizes


def _joined(parts: Sliding, values: list[Value], axis: int) -> Value:
    return values[0] if len(values) == 1 else parts.make("ConcatV2", *values, np.int32(axis))


def _expand(graph: Graph, node: Node) -> bool:
    """One product of matrices for each group of channels: windows as columns, turned, times gradients."""
    parts, pieces, sizes = _pieces(graph, node)
    gradient, (incoming, outgoing) = node.inputs[2], sizes[-2:]
    assert node.inputs[0].shape is not None
    groups = group_count(int(node.inputs[0].shape[-1]), incoming, outgoing)
    slopes = parts.make("Reshape", gradient, np.asarray([-1, outgoing], np.int32))
    made = []
    for group in range(groups):
        mine, slope = pieces, slopes
        if groups > 1:
            mine = [_channels(parts, each, group * incoming, incoming) for each in pieces]
            slope = _channels(parts, slopes, group * (outgoing // groups), outgoing // groups)
        columns = parts.make("Reshape", _joined(parts, mine, -1), np.asarray([-1, len(mine) * incoming], np.int32))
        made.append(parts.make("MatMul", columns, slope, transpose_a=True))
    return parts.finish(parts.make("Reshape", _joined(parts, made, -1), np.asarray(sizes, np.int32)))


def _channels(parts: Sliding, value: Value, start: int, count: int) -> Value:
    rank = value.rank or 0
    begin, size = np.zeros(rank, np.int32), np.full(rank, -1, np.int32)
    begin[-1], size[-1] = start, count
    return parts.make("Slice", value, begin, size)


def _expand_depthwise(graph: Graph, node: Node) -> bool:
    parts, pieces, sizes = _pieces(graph, node)
    channels, multiplier = sizes[2:]
    slopes = parts.make("Reshape", node.inputs[2], np.asarray([-1, channels, multiplier], np.int32))
    made = []
    for piece in pieces:
        columns = parts.make("Reshape", piece, np.asarray([-1, channels, 1], np.int32))
        made.append(parts.make("Sum", parts.make("Mul", columns, slopes), np.asarray([0], np.int32), keep_dims=True))
    return parts.finish(parts.make("Reshape", _joined(parts, made, 0), np.asarray(sizes, np.int32)))


# -- examples ------------------------------------------------------------------------------------------------------


def _use(sides: tuple[int, ...], sizes: list[int], note: str, **more: Any) -> Example:
    """The gradient's positions follow from the window."""
    count = len(sides)
    stride, rate = more.pop("stride", 1), more.pop("rate", 1)
    attrs = {"strides": [1, *[stride] * count, 1], "dilations": [1, *[rate] * count, 1], "padding": "SAME", **more}
    outgoing = sizes[-1] * (sizes[-2] if more.get("depthwise") else 1)
    attrs.pop("depthwise", None)
    pads = np.reshape(attrs.get("explicit_paddings", [0] * (2 * count + 4)), (-1, 2))[1:-1].sum(axis=1)
    made = []
    for side, size, pad in zip(sides, sizes, pads.tolist(), strict=False):
        fitting = (side + pad - (size - 1) * rate - 1) // stride + 1
        made.append(-(-side // stride) if attrs["padding"] == "SAME" else fitting)
    channels = more.pop("channels", sizes[-2])
    attrs.pop("channels", None)
    image, gradient = sample(2, *sides, channels), sample(2, *made, outgoing, seed=2)
    return Example((image, np.asarray(sizes, np.int32), gradient), attrs, (1,), 3e-6, note=note)


def _examples() -> Iterator[Example]:
    yield _use((7, 8), [3, 2, 3, 4], "SAME")
    yield _use((8, 9), [3, 3, 3, 4], "strided", stride=2)
    yield _use((8, 9), [3, 3, 2, 4], "VALID, strided", stride=2, padding="VALID")
    yield _use((8, 9), [3, 3, 2, 4], "dilated", rate=2, padding="VALID")
    yield _use((5, 6), [1, 1, 3, 4], "points, strided", stride=2)
    yield _use((7, 8), [3, 3, 2, 4], "own padding", padding="EXPLICIT", explicit_paddings=[0, 0, 1, 0, 2, 1, 0, 0], stride=2)


def _depthwise_examples() -> Iterator[Example]:
    yield _use((7, 8), [3, 3, 4, 1], "SAME", depthwise=True)
    yield _use((8, 9), [3, 2, 3, 2], "two for each channel", stride=2, padding="VALID", depthwise=True)


def _volume_examples() -> Iterator[Example]:
    yield _use((4, 5, 6), [3, 2, 2, 2, 3], "SAME")
    yield _use((5, 6, 4), [2, 3, 2, 2, 3], "VALID, strided", stride=2, padding="VALID")


def _spec(name: str, evaluate: Callable[..., Array], expand: Any, examples: Any, layout: str = "NHWC") -> OpSpec:
    rates = (1,) * len(layout)
    attrs = {"data_format": layout, "dilations": rates, "T": DType.FLOAT32}
    if len(layout) == 4:
        attrs["explicit_paddings"] = ()
    return OpSpec(name=name, attrs=attrs, infer=_infer, evaluate=evaluate, expand=expand, examples=examples)


SPECS = (
    _spec("Conv2DBackpropFilter", _evaluate, _expand, _examples),
    _spec("DepthwiseConv2dNativeBackpropFilter", _evaluate_depthwise, _expand_depthwise, _depthwise_examples),
    _spec("Conv3DBackpropFilterV2", _evaluate, _expand, _volume_examples, "NDHWC"),
)
