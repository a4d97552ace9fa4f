"""Ops that lay something around a tensor: Pad, PadV2, MirrorPad."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.dims import add_dims, known_integers, unknown_dims
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.index_operands import int32_matrix, narrow_constant, refuse_in_tfjs, require_dtype, require_rank
from tensorferry.ops.samples import sample
from tensorferry.ops.sizes import Sizes, count_up, plus, reshape, scalar, times
from tensorferry.ops.spec import WIDER_OR_BITS, Declined, Example, OpSpec
from tensorferry.targets import JsNode, LiteOp, Ref
from tensorferry.tensor import Array, DType


def known_paddings(node: Node) -> list[tuple[int, int]] | None:
    """Elements before and after each axis; None when they are computed."""
    value, paddings = node.inputs[:2]
    elements = known_integers(paddings)
    if elements is None:
        return None
    pairs = list(zip(elements[::2], elements[1::2], strict=False))
    _check_pairs(pairs, value.rank, paddings.static_shape)
    return pairs


def _check_pairs(pairs: Sequence[tuple[int, int]], rank: int | None, shape: tuple[int, ...] | None) -> None:
    if shape is not None and (len(shape) != 2 or shape[1] != 2):
        raise Declined(f"paddings of shape {list(shape)} are not pairs")
    if rank is not None and rank != len(pairs):
        raise Declined(f"{len(pairs)} pairs of paddings are given for {rank} axes")
    if any(size < 0 for pair in pairs for size in pair):
        raise Declined("a padding is negative", attributes=f"paddings={list(pairs)}")


def _infer_pad(node: Node) -> list[Typed]:
    value, paddings = node.inputs[:2]
    pairs = known_paddings(node)
    if pairs is None or (value.shape is None and not pairs):
        first = paddings.shape[0] if paddings.shape else UNKNOWN_DIM
        return [
            Typed(value.dtype, unknown_dims(value.rank if value.rank is not None else first if isinstance(first, int) else None))
        ]
    dims: Sequence[Dim] = value.shape if value.shape is not None else (UNKNOWN_DIM,) * len(pairs)
    if node.op == "MirrorPad":
        _check_mirror(dims, pairs, node["mode"])
    return [Typed(value.dtype, tuple(add_dims(dim, before + after) for dim, (before, after) in zip(dims, pairs, strict=True)))]


def _check_mirror(dims: Sequence[Dim], pairs: Sequence[tuple[int, int]], mode: str) -> None:
    """A mirror shows no more than there is."""
    if mode not in ("REFLECT", "SYMMETRIC"):
        raise Declined(f"mode {mode!r} is not known", attributes=f"mode={mode}")
    edge = 1 if mode == "REFLECT" else 0
    for axis, (dim, pair) in enumerate(zip(dims, pairs, strict=True)):
        if isinstance(dim, int) and max(pair) > 0 and max(pair) > dim - edge:
            raise Declined(f"axis {axis} of size {dim} cannot mirror {max(pair)} elements", attributes=f"mode={mode}")


def _pairs_of(array: Array, paddings: Array) -> list[tuple[int, int]]:
    pairs = [(int(before), int(after)) for before, after in paddings.reshape(-1, 2)]
    _check_pairs(pairs, array.ndim, paddings.shape)
    return pairs


def _evaluate_pad(_node: Node, array: Array, paddings: Array, constant: Array | None = None) -> Array:
    pairs = _pairs_of(array, paddings)
    shape = [before + size + after for size, (before, after) in zip(array.shape, pairs, strict=True)]
    padded: Array = np.full(shape, _default_fill(array) if constant is None else constant.reshape(()), array.dtype)
    padded[tuple(slice(before, before + size) for size, (before, _) in zip(array.shape, pairs, strict=True))] = array
    return padded


def _default_fill(array: Array) -> object:
    return b"" if array.dtype == object else array.dtype.type(0)


def _evaluate_mirror_pad(node: Node, array: Array, paddings: Array) -> Array:
    pairs = _pairs_of(array, paddings)
    _check_mirror(array.shape, pairs, node["mode"])
    mode: Literal["reflect", "symmetric"] = "reflect" if node["mode"] == "REFLECT" else "symmetric"
    return np.pad(array, pairs, mode=mode) if array.ndim else array


# -- lowering ------------------------------------------------------------------------------------------------------

_LITE_PAD = (DType.FLOAT32, DType.INT32, DType.INT64, DType.UINT8, DType.INT8, DType.INT16, DType.BOOL)


def _lite_paddings(node: Node) -> Ref:
    """The paddings as they are if computed (the kernels take both widths), else as int32."""
    pairs = known_paddings(node)
    return node.inputs[1] if pairs is None else int32_matrix(pairs)


def _lite_pad(node: Node) -> list[LiteOp]:
    value = node.inputs[0]
    name = "PADV2" if node.op == "PadV2" else "PAD"
    rank = require_rank(value, 5, name)
    require_dtype(value, _LITE_PAD, name)
    return [LiteOp(name, (value, _lite_paddings(node), *node.inputs[2:]), (node.output,), {}, _pad_version(value.dtype, rank))]


def _pad_version(dtype: DType, rank: int) -> int:
    if dtype is DType.BOOL:
        return 5
    return 4 if rank > 4 else {DType.INT16: 3, DType.INT8: 2}.get(dtype, 1)


def _lite_mirror_pad(node: Node) -> list[LiteOp]:
    value = node.inputs[0]
    if value.dtype is DType.STRING:
        raise Declined("MIRROR_PAD takes no string tensor")
    require_rank(value, 8, "MIRROR_PAD")
    plain = (DType.FLOAT32, DType.INT32, DType.INT64, DType.UINT8)
    version = 2 if value.dtype is DType.INT8 else 1 if value.dtype in plain else 3
    return [LiteOp("MIRROR_PAD", (value, _lite_paddings(node)), (node.output,), {"mode": node["mode"]}, version)]


def _js_pad(node: Node) -> list[JsNode]:
    value = node.inputs[0]
    refuse_in_tfjs(value, "pad", DType.STRING)
    if value.shape == ():
        return [JsNode("Identity", (value,), (node.output,), {"T": value.dtype})]
    attrs = {"T": value.dtype, "Tpaddings": DType.INT32}
    if node.op == "MirrorPad":
        attrs["mode"] = node["mode"]
    return [JsNode(node.op, (value, narrow_constant(node.inputs[1]), *node.inputs[2:]), (node.output,), attrs)]


def _expand_pad(graph: Graph, node: Node) -> bool:
    """Too many axes: those without padding are made one, and half of the others wait for their turn. Strings: picked by place."""
    value, pairs = node.inputs[0], known_paddings(node)
    if value.shape is None or pairs is None:
        return False
    expansion = Expansion(graph, node)
    if value.dtype is DType.STRING:
        return expansion.finish(_pad_places(expansion, value, pairs))
    padded = [axis for axis, pair in enumerate(pairs) if any(pair)]
    if not padded:
        return expansion.finish(expansion.make("Identity", value))
    if len(padded) == len(pairs) or not _has_neighbours(pairs):  # one half first: the other half can be merged meanwhile
        first = set(padded[: (len(padded) + 1) // 2])
        half = _pad_merged(expansion, value, [pair if axis in first else (0, 0) for axis, pair in enumerate(pairs)])
        return expansion.finish(
            _pad_merged(expansion, half, [(0, 0) if axis in first else pair for axis, pair in enumerate(pairs)])
        )
    return expansion.finish(_pad_merged(expansion, value, pairs))


def _has_neighbours(pairs: Sequence[tuple[int, int]]) -> bool:
    """Whether two axes side by side have no padding."""
    return any(not any(one) and not any(other) for one, other in pairwise(pairs))


def _pad_again(expansion: Expansion, value: Value, pairs: Sequence[tuple[int, int]]) -> Value:
    return expansion.make(expansion.node.op, value, np.array(pairs, np.int32), *expansion.node.inputs[2:])


def _pad_merged(expansion: Expansion, value: Value, pairs: Sequence[tuple[int, int]]) -> Value:
    sizes = Sizes(expansion, value).all()
    groups: list[list[int]] = []
    for axis, pair in enumerate(pairs):
        if groups and not any(pair) and not any(pairs[groups[-1][-1]]):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    merged = reshape(expansion, value, [times(expansion, *(sizes[axis] for axis in group)) for group in groups])
    made = _pad_again(expansion, merged, [pairs[group[0]] for group in groups])
    return reshape(expansion, made, [plus(expansion, size, sum(pair)) for size, pair in zip(sizes, pairs, strict=True)])


def _pad_places(expansion: Expansion, value: Value, pairs: Sequence[tuple[int, int]]) -> Value:
    """Behind all elements, in a row, stands the one that pads; its place is what their places are padded with."""
    fill = expansion.node.inputs[2] if len(expansion.node.inputs) > 2 else expansion.constant(np.array(b"", object), "fill")
    row = np.array([-1], np.int32)
    count = times(expansion, *Sizes(expansion, value).all())
    places = reshape(expansion, count_up(expansion, count), Sizes(expansion, value).all())
    moved = expansion.make("PadV2", places, np.array(pairs, np.int32), scalar(expansion, count))
    flat = expansion.make("Reshape", value, row)
    joined = expansion.make("ConcatV2", flat, expansion.make("Reshape", fill, row), np.array(0, np.int32))
    return expansion.make("GatherNd", joined, expansion.make("ExpandDims", moved, np.array(-1, np.int32)))


# -- examples ------------------------------------------------------------------------------------------------------


def _pad_examples() -> Iterator[Example]:
    image = np.array([[0, 0], [1, 1], [2, 0], [0, 0]], np.int32)
    yield Example((sample(1, 3, 4, 2), image), constants=(1,), note="image")
    yield Example((sample(2, 3), np.array([[0, 2], [1, 0]], np.int64)), constants=(1,), note="64-bit paddings")
    yield Example((sample(3), np.array([[2, 1]], np.int32)), constants=(1,), note="vector")
    yield Example(
        (sample(1, 2, 1, 3, 2), np.array([[0, 0], [1, 1], [0, 0], [0, 1], [2, 0]], np.int32)), constants=(1,), note="rank 5"
    )
    yield Example((np.arange(4, dtype=np.int32).reshape(2, 2), np.array([[1, 0], [0, 1]], np.int32)), constants=(1,), note="int32")
    yield Example((sample(2, 3), np.array([[0, 1], [1, 1]], np.int32)), note="computed paddings")
    yield Example((sample(2, 2), np.zeros((2, 2), np.int32)), constants=(1,), note="nothing to do")
    two_of_six = np.array([[0, 0], [0, 0], [1, 2], [0, 0], [0, 0], [1, 0]], np.int32)
    yield Example((sample(2, 1, 2, 1, 2, 2), two_of_six), constants=(1,), note="rank 6")
    yield Example((sample(1, 2, 1, 2, 1, 2), np.array([[1, 0]] * 6, np.int32)), constants=(1,), note="rank 6, all axes")
    square = np.array([[1, 0], [0, 1]], np.int32)
    for dtype in (np.int8, np.int16, np.uint8, np.uint16, np.uint32, np.int64, np.bool_):
        yield Example((np.arange(4).reshape(2, 2).astype(dtype), square), constants=(1,), note=np.dtype(dtype).name)
    joins = {"tflite": "string"}
    yield Example((np.array([[b"a", b"bc"]], object), square), constants=(1,), note="string", declines=joins)
    yield Example((np.zeros((0, 2), np.float32), square), constants=(1,), note="empty")
    yield Example((sample(), np.zeros((0, 2), np.int32)), constants=(1,), note="scalar")


def _pad_v2_examples() -> Iterator[Example]:
    pairs = np.array([[1, 0], [2, 1]], np.int32)
    yield Example((sample(2, 3), pairs, np.array(1.5, np.float32)), constants=(1, 2))
    yield Example((sample(2, 3), pairs, np.array(-np.inf, np.float32)), constants=(1, 2), note="minus infinity")
    yield Example((np.arange(6, dtype=np.int32).reshape(2, 3), pairs, np.array(-7, np.int32)), constants=(1, 2), note="int32")
    yield Example((sample(2, 3), pairs, np.array(0.5, np.float32)), constants=(1,), note="computed value")
    yield Example((np.arange(6).reshape(2, 3), pairs, np.array(9)), constants=(1, 2), note="int64")
    yield Example((np.arange(6, dtype=np.uint16).reshape(2, 3), pairs, np.array(9, np.uint16)), constants=(1, 2), note="uint16")
    yield Example((sample(2, 3) > 0, pairs, np.array(True)), constants=(1, 2), note="bool")
    words = np.array([[b"a", b"bc"]], object), np.array([[1, 0], [0, 1]], np.int32), np.array(b"-", object)
    yield Example(words, constants=(1, 2), note="string", declines={"tflite": "string"})


def _mirror_pad_examples() -> Iterator[Example]:
    image = np.array([[0, 0], [2, 2], [1, 3], [0, 0]], np.int32)
    yield Example((sample(1, 4, 5, 2), image), {"mode": "REFLECT"}, constants=(1,), note="reflect")
    yield Example((sample(1, 4, 5, 2), image), {"mode": "SYMMETRIC"}, constants=(1,), note="symmetric")
    yield Example((sample(3, 3), np.array([[2, 2], [0, 1]], np.int64)), {"mode": "REFLECT"}, constants=(1,), note="all but one")
    yield Example((sample(2, 3), np.array([[2, 2], [3, 0]], np.int32)), {"mode": "SYMMETRIC"}, constants=(1,), note="whole twice")
    yield Example((np.arange(4, dtype=np.int32), np.array([[1, 2]], np.int32)), {"mode": "REFLECT"}, constants=(1,), note="int32")
    pairs = np.array([[1, 0], [0, 2]], np.int32)
    for dtype in (np.int8, np.int16, np.uint8, np.uint16, np.uint32, np.int64, np.bool_):
        square = np.arange(4).reshape(2, 2).astype(dtype)
        yield Example((square, pairs), {"mode": "SYMMETRIC"}, constants=(1,), note=np.dtype(dtype).name)
    yield Example((np.array([[b"a", b"bc"]], object), pairs), {"mode": "SYMMETRIC"}, constants=(1,), note="string")
    yield Example((sample(2, 2, 2, 2, 2), np.array([[1, 0]] * 5, np.int32)), {"mode": "REFLECT"}, constants=(1,), note="rank 5")
    yield Example((sample(2, 3), np.array([[0, 1], [2, 1]], np.int32)), {"mode": "REFLECT"}, note="computed paddings")


SPECS = (
    OpSpec(
        name="Pad",
        infer=_infer_pad,
        evaluate=_evaluate_pad,
        to_tflite=_lite_pad,
        to_tfjs=_js_pad,
        expand=_expand_pad,
        widens=WIDER_OR_BITS,
        examples=_pad_examples,
    ),
    OpSpec(
        name="PadV2",
        infer=_infer_pad,
        evaluate=_evaluate_pad,
        to_tflite=_lite_pad,
        to_tfjs=_js_pad,
        expand=_expand_pad,
        widens=WIDER_OR_BITS,
        examples=_pad_v2_examples,
    ),
    OpSpec(
        name="MirrorPad",
        attrs={"mode": "REFLECT"},
        infer=_infer_pad,
        evaluate=_evaluate_mirror_pad,
        to_tflite=_lite_mirror_pad,
        to_tfjs=_js_pad,
        moves=0,
        examples=_mirror_pad_examples,
    ),
)
