"""Gradients of pooling, which graphs hold that explain what a net looked at, or undo pooling: to the largest, or spread evenly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.dims import known_integers
from tensorferry.ops.overlapping import laid_back, lay_back
from tensorferry.ops.samples import sample
from tensorferry.ops.sizes import Sizes, count_up, reshape, times, vector
from tensorferry.ops.sliding import (
    MOST_TAPS,
    Axes,
    Sliding,
    channels_first,
    inner,
    known_pads,
    lowest,
    output_dims,
    patches,
    read_axes,
    surrounded,
    whole,
)
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.ops.windows import Axis
from tensorferry.tensor import Array, DType


def _axes(node: Node) -> Axes:
    if channels_first(node):
        raise Declined("channels must come last", attributes=f"data_format={node['data_format']}")
    return read_axes(node, inner(node, "ksize", 5 if "3D" in node.op else 4))


def _sides(value: Value) -> tuple[int, ...]:
    sides = None if value.shape is None else whole(value.shape[1:-1])
    if sides is None:
        raise Declined("the size of what was pooled is not known", remedy="fix it with --shape")
    return sides


# -- of the largest ------------------------------------------------------------------------------------------------


def _infer_max(node: Node) -> list[Typed]:
    value, _, gradient = node.inputs[:3]
    axes = _axes(node)
    rank = len(axes) + 2
    if value.rank not in (None, rank) or gradient.rank not in (None, rank):
        raise Declined(f"its inputs have ranks {value.rank} and {gradient.rank}, not {rank}")
    if node.op.endswith("GradGrad"):
        return [Typed(value.dtype, output_dims(node, value, axes, UNKNOWN_DIM if value.shape is None else value.shape[-1]))]
    return [Typed(value.dtype, value.shape)]


def _best(axes: Axes, array: Array) -> Array:
    """A one at the first largest element of each window: [batch, *positions, *window, channels]."""
    views = patches(axes, surrounded(axes, array, lowest(DType.of(array))))
    count = len(axes)
    flat = views.reshape(*views.shape[: count + 1], -1, views.shape[-1])
    place = np.expand_dims(flat.argmax(axis=-2), -2)
    ones = np.zeros(flat.shape, array.dtype)
    np.put_along_axis(ones, place, 1, axis=-2)
    return ones.reshape(views.shape)


def _evaluate_max(node: Node, array: Array, _pooled: Array, gradient: Array) -> Array:
    axes = _axes(node)
    over = tuple(range(1 + len(axes), 1 + 2 * len(axes)))
    return lay_back(axes, _best(axes, array) * np.expand_dims(gradient, over), array.shape[1:-1])


def _evaluate_max_twice(node: Node, array: Array, _pooled: Array, gradient: Array) -> Array:
    axes = _axes(node)
    over = tuple(range(1 + len(axes), 1 + 2 * len(axes)))
    return np.asarray((_best(axes, array) * patches(axes, surrounded(axes, gradient))).sum(axis=over, dtype=array.dtype))


def _marked(parts: Sliding, value: Value) -> list[Value]:
    """For each place in the window, whether the first largest element lies there."""
    pads = known_pads(parts.axes, value)
    if pads is None or math.prod(axis.size for axis in parts.axes) > MOST_TAPS:
        raise Declined(f"it has a window of more than {MOST_TAPS} places, or sizes that are not known")
    taps = parts.taps(parts.surround(value, pads, lowest(value.dtype)))
    if len(taps) == 1:
        return [parts.make("Equal", taps[0], taps[0])]
    best = parts.make("ArgMax", parts.make("Pack", *taps, axis=-1, N=len(taps)), np.int32(-1), output_type=DType.INT32)
    return [parts.make("Equal", best, np.int32(place)) for place in range(len(taps))]


def _expand_max(graph: Graph, node: Node) -> bool:
    value, _, gradient = node.inputs
    parts, zero = Sliding(graph, node, _axes(node)), np.zeros((), gradient.dtype.numpy)
    sides = _sides(value)
    pieces = [parts.make("SelectV2", each, gradient, zero) for each in _marked(parts, value)]
    return parts.finish(laid_back(parts, pieces, sides))


def _expand_max_twice(graph: Graph, node: Node) -> bool:
    value, _, gradient = node.inputs
    parts, zero = Sliding(graph, node, _axes(node)), np.zeros((), gradient.dtype.numpy)
    marked = _marked(parts, value)
    pads = known_pads(parts.axes, value)
    assert pads is not None
    taps = parts.taps(parts.surround(gradient, pads))
    pieces = [parts.make("SelectV2", mark, tap, zero) for mark, tap in zip(marked, taps, strict=True)]
    return parts.finish(parts.combine("AddV2", pieces))


# -- of MaxPoolGradV2, whose window is an input ---------------------------------------------------------------------


def _window_of(node: Node) -> dict[str, Any]:
    sizes = [known_integers(value) for value in node.inputs[3:]]
    if None in sizes:
        raise Declined("its window is computed while the model runs", remedy="make it a constant in the source model")
    return {**node.attrs, "ksize": sizes[0], "strides": sizes[1]}


def _infer_v2(node: Node) -> list[Typed]:
    return [Typed(node.inputs[0].dtype, node.inputs[0].shape)]


def _evaluate_v2(node: Node, array: Array, pooled: Array, gradient: Array, ksize: Array, strides: Array) -> Array:
    attrs = {**node.attrs, "ksize": ksize.tolist(), "strides": strides.tolist()}
    return _evaluate_max(Node(node.name, "MaxPoolGrad", (), attrs, ()), array, pooled, gradient)


def _expand_v2(graph: Graph, node: Node) -> bool:
    parts = Sliding(graph, node, ())
    return parts.finish(parts.make("MaxPoolGrad", *node.inputs[:3], **_window_of(node)))


# -- where it is known which was the largest ------------------------------------------------------------------------


def _infer_placed(node: Node) -> list[Typed]:
    return [Typed(node.inputs[1].dtype, node.inputs[0].shape)]


def _evaluate_placed(node: Node, array: Array, gradient: Array, places: Array) -> Array:
    made = np.zeros(array.size, gradient.dtype)
    if not node["include_batch_in_index"]:
        places = places + (np.arange(len(array)) * math.prod(array.shape[1:])).reshape(-1, *[1] * (array.ndim - 1))
    np.add.at(made, places.reshape(-1), gradient.reshape(-1))
    return made.reshape(array.shape)


def _expand_placed(graph: Graph, node: Node) -> bool:
    value, gradient, places = node.inputs
    parts = Sliding(graph, node, ())
    if value.shape is None or value.rank != 4:
        raise Declined("the rank of what was pooled is not known")
    sizes = Sizes(parts, value).all()
    if places.dtype is not DType.INT32:
        places = parts.make("Cast", places, DstT=DType.INT32)
    if not node["include_batch_in_index"] and value.shape[0] != 1:
        each = times(parts, *sizes[1:])
        starts = parts.make("Mul", count_up(parts, sizes[0]), np.array(each, np.int32) if isinstance(each, int) else each)
        places = parts.make("AddV2", places, parts.make("Reshape", starts, np.array([-1, 1, 1, 1], np.int32)))
    rows = parts.make("Reshape", places, np.array([-1, 1], np.int32))
    flat = parts.make("Reshape", gradient, np.array([-1], np.int32))
    made = parts.make("ScatterNd", rows, flat, vector(parts, [times(parts, *sizes)]))
    return parts.finish(reshape(parts, made, sizes))


# -- of the average ------------------------------------------------------------------------------------------------


def _infer_average(node: Node) -> list[Typed]:
    shape, gradient = node.inputs
    rank = len(_axes(node)) + 2
    if gradient.rank not in (None, rank):
        raise Declined(f"its gradient has rank {gradient.rank}, not {rank}")
    known: Sequence[Dim] = gradient.shape or (UNKNOWN_DIM,) * rank
    content = shape.content or (UNKNOWN_DIM,) * rank
    if len(content) != rank:
        raise Declined(f"its orig_input_shape has {len(content)} elements, not {rank}")
    outer = [content[at] if content[at] != UNKNOWN_DIM else known[at] for at in (0, -1)]
    return [Typed(gradient.dtype, (outer[0], *content[1:-1], outer[1]))]


def _shares(axis: Axis, side: int) -> Array:
    """How many elements lie under each position of a window, without the padding."""
    starts = np.arange(axis.count(side)) * axis.stride - axis.pads(side)[0]
    return np.minimum(starts + axis.size, side) - np.maximum(starts, 0)


def _evaluate_average(node: Node, shape: Array, gradient: Array) -> Array:
    axes, sides = _axes(node), [int(each) for each in shape[1:-1]]
    shared = gradient.copy()
    for at, (axis, side) in enumerate(zip(axes, sides, strict=True), start=1):
        counts = _shares(axis, side).astype(gradient.dtype)
        shared = shared / counts.reshape([-1 if each == at else 1 for each in range(gradient.ndim)])
    over = tuple(range(1 + len(axes), 1 + 2 * len(axes)))
    sizes = (*shared.shape[:-1], *(axis.size for axis in axes), shared.shape[-1])
    return lay_back(axes, np.broadcast_to(np.expand_dims(shared, over), sizes), sides)


def _expand_average(graph: Graph, node: Node) -> bool:
    """Each element's share of the gradient, spread over one axis after the other: a sum of sums."""
    axes, gradient = _axes(node), node.inputs[1]
    sides = whole(node.output.shape[1:-1]) if node.output.shape is not None else None
    if sides is None or gradient.shape is None or whole(gradient.shape[1:-1]) is None:
        raise Declined("the size of what was pooled is not known", remedy="fix it with --shape")
    counts = np.ones((1, *[1] * len(axes), 1), np.float32)
    for at, (axis, side) in enumerate(zip(axes, sides, strict=True), start=1):
        counts = counts * _shares(axis, side).reshape([-1 if each == at else 1 for each in range(len(axes) + 2)])
    one = counts if counts.min() < counts.max() else counts.reshape(-1)[:1].reshape(())
    value = Sliding(graph, node, axes).make("Mul", gradient, np.asarray(1 / one, gradient.dtype.numpy))
    repeats = [1] * (len(axes) + 2)
    for at, (axis, side) in enumerate(zip(axes, sides, strict=True)):
        if axis.count(side) == 1 and _shares(axis, side)[0] == side:
            repeats[at + 1] = side
            continue
        if axis.size == axis.stride == 1:
            continue
        alone = tuple(axis if each == at else Axis(1, 1, 1, "VALID") for each in range(len(axes)))
        assert value.shape is not None
        now = [side if each == at else int(dim) for each, dim in enumerate(value.shape[1:-1])]
        value = laid_back(Sliding(graph, node, alone), [value] * axis.size, now)
    parts = Sliding(graph, node, axes)
    return parts.finish(parts.make("Tile", value, np.array(repeats, np.int32)) if max(repeats) > 1 else value)


# -- examples ------------------------------------------------------------------------------------------------------


def _attrs(size: tuple[int, ...], stride: tuple[int, ...], padding: str, **more: Any) -> dict[str, Any]:
    return {"ksize": [1, *size, 1], "strides": [1, *stride, 1], "padding": padding, **more}


def _pooled(array: Array, attrs: dict[str, Any]) -> Array:
    """What MaxPool gives."""
    axes = tuple(Axis(*each, 1, attrs["padding"]) for each in zip(attrs["ksize"][1:-1], attrs["strides"][1:-1], strict=True))
    views = patches(axes, surrounded(axes, array, lowest(DType.of(array))))
    return np.asarray(views.max(axis=tuple(range(1 + len(axes), 1 + 2 * len(axes)))))


_WAYS = (
    ((2, 2), (2, 2), "VALID", "halves, odd sizes"),
    ((3, 3), (2, 2), "SAME", "overlapping"),
    ((3, 2), (1, 1), "SAME", "stride 1"),
    ((2, 3), (3, 1), "VALID", "strides between the windows"),
)
_WAYS_3D = (((2, 2, 2), (2, 2, 2), "VALID", "halves"), ((3, 1, 2), (2, 1, 1), "SAME", "unequal"))


def _max_inputs(array: Array, attrs: dict[str, Any], twice: bool) -> tuple[Array, Array, Array]:
    pooled = _pooled(array, attrs)
    return array, pooled, sample(*(array if twice else pooled).shape, seed=3)


def _max_examples(volumes: bool = False, twice: bool = False) -> Iterator[Example]:
    for size, stride, padding, note in _WAYS_3D if volumes else _WAYS:
        attrs = _attrs(size, stride, padding)
        yield Example(_max_inputs(sample(2, *((4, 5, 3) if volumes else (7, 9)), 3), attrs, twice), attrs, note=note)
    if not volumes:
        ties = np.asarray([1, 1, 2, 2, 2, 1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2], np.float32).reshape(1, 4, 4, 1)
        attrs = _attrs((2, 2), (2, 2), "VALID")
        yield Example(_max_inputs(ties, attrs, twice), attrs, note="the first of equals")


def _v2_examples() -> Iterator[Example]:
    inputs = _max_inputs(sample(2, 5, 6, 2), _attrs((3, 2), (2, 2), "SAME"), twice=False)
    yield Example((*inputs, np.array([1, 3, 2, 1], np.int32), np.array([1, 2, 2, 1], np.int32)), {"padding": "SAME"}, (3, 4))


def _placed_examples() -> Iterator[Example]:
    array, gradient = sample(2, 4, 4, 2), sample(2, 2, 2, 2, seed=1)
    places = np.random.default_rng(3).integers(0, 32, (2, 2, 2, 2))
    attrs = _attrs((2, 2), (2, 2), "VALID")
    yield Example((array, gradient, places), attrs)
    batches = places + np.array([0, 32]).reshape(2, 1, 1, 1)
    yield Example((array, gradient, batches), {**attrs, "include_batch_in_index": True}, note="batch in the index")


def _average_examples(volumes: bool = False) -> Iterator[Example]:
    ways = _WAYS_3D if volumes else (*_WAYS, ((7, 9), (1, 1), "VALID", "all of it"), ((7, 3), (7, 2), "SAME", "all of one axis"))
    inner_sides = (4, 5, 3) if volumes else (7, 9)
    for size, stride, padding, note in ways:
        attrs, sides = _attrs(size, stride, padding), (2, *inner_sides, 3)
        gradient = sample(*_pooled(np.zeros(sides, np.float32), attrs).shape, seed=3)
        yield Example((np.array(sides, np.int32), gradient), attrs, (0,), note=note)


_ATTRS = {"data_format": "NHWC", "T": DType.FLOAT32}
_VOLUMES = {"data_format": "NDHWC", "T": DType.FLOAT32}

SPECS = (
    OpSpec(
        name="MaxPoolGrad",
        attrs=_ATTRS | {"explicit_paddings": ()},
        infer=_infer_max,
        evaluate=_evaluate_max,
        expand=_expand_max,
        examples=_max_examples,
    ),
    OpSpec(
        name="MaxPool3DGrad",
        attrs=_VOLUMES | {"TInput": DType.FLOAT32},
        infer=_infer_max,
        evaluate=_evaluate_max,
        expand=_expand_max,
        examples=lambda: _max_examples(volumes=True),
    ),
    OpSpec(
        name="MaxPoolGradGrad",
        attrs=_ATTRS,
        infer=_infer_max,
        evaluate=_evaluate_max_twice,
        expand=_expand_max_twice,
        examples=lambda: _max_examples(twice=True),
    ),
    OpSpec(
        name="MaxPoolGradV2",
        attrs=_ATTRS,
        infer=_infer_v2,
        evaluate=_evaluate_v2,
        expand=_expand_v2,
        examples=_v2_examples,
    ),
    OpSpec(
        name="MaxPoolGradWithArgmax",
        attrs={"include_batch_in_index": False, "T": DType.FLOAT32},
        infer=_infer_placed,
        evaluate=_evaluate_placed,
        expand=_expand_placed,
        examples=_placed_examples,
    ),
    OpSpec(
        name="AvgPoolGrad",
        attrs=_ATTRS,
        infer=_infer_average,
        evaluate=_evaluate_average,
        expand=_expand_average,
        examples=_average_examples,
    ),
    OpSpec(
        name="AvgPool3DGrad",
        attrs=_VOLUMES,
        infer=_infer_average,
        evaluate=_evaluate_average,
        expand=_expand_average,
        examples=lambda: _average_examples(volumes=True),
    ),
)
