"""Ops that lay something around a tensor: Pad, PadV2, MirrorPad."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Node, Typed
from tensorferry.ops.dims import add_dims, known_integers, unknown_dims
from tensorferry.ops.index_operands import int32_matrix, narrow_constant, require_dtype, require_rank
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec
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
_LITE_MIRROR_PAD = (DType.FLOAT32, DType.INT32, DType.INT64, DType.UINT8, DType.INT8, DType.INT16)


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
    require_dtype(value, _LITE_MIRROR_PAD, "MIRROR_PAD")
    version = {DType.INT16: 3, DType.INT8: 2}.get(value.dtype, 1)
    return [LiteOp("MIRROR_PAD", (value, _lite_paddings(node)), (node.output,), {"mode": node["mode"]}, version)]


def _js_pad(node: Node) -> list[JsNode]:
    value = node.inputs[0]
    attrs = {"T": value.dtype, "Tpaddings": DType.INT32}
    if node.op == "MirrorPad":
        attrs["mode"] = node["mode"]
    return [JsNode(node.op, (value, narrow_constant(node.inputs[1]), *node.inputs[2:]), (node.output,), attrs)]


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


def _pad_v2_examples() -> Iterator[Example]:
    pairs = np.array([[1, 0], [2, 1]], np.int32)
    yield Example((sample(2, 3), pairs, np.array(1.5, np.float32)), constants=(1, 2))
    yield Example((sample(2, 3), pairs, np.array(-np.inf, np.float32)), constants=(1, 2), note="minus infinity")
    yield Example((np.arange(6, dtype=np.int32).reshape(2, 3), pairs, np.array(-7, np.int32)), constants=(1, 2), note="int32")
    yield Example((sample(2, 3), pairs, np.array(0.5, np.float32)), constants=(1,), note="computed value")
    yield Example((np.arange(6).reshape(2, 3), pairs, np.array(9)), constants=(1, 2), note="int64")


def _mirror_pad_examples() -> Iterator[Example]:
    image = np.array([[0, 0], [2, 2], [1, 3], [0, 0]], np.int32)
    yield Example((sample(1, 4, 5, 2), image), {"mode": "REFLECT"}, constants=(1,), note="reflect")
    yield Example((sample(1, 4, 5, 2), image), {"mode": "SYMMETRIC"}, constants=(1,), note="symmetric")
    yield Example((sample(3, 3), np.array([[2, 2], [0, 1]], np.int64)), {"mode": "REFLECT"}, constants=(1,), note="all but one")
    yield Example((sample(2, 3), np.array([[2, 2], [3, 0]], np.int32)), {"mode": "SYMMETRIC"}, constants=(1,), note="whole twice")
    yield Example((np.arange(4, dtype=np.int32), np.array([[1, 2]], np.int32)), {"mode": "REFLECT"}, constants=(1,), note="int32")


SPECS = (
    OpSpec(name="Pad", infer=_infer_pad, evaluate=_evaluate_pad, to_tflite=_lite_pad, to_tfjs=_js_pad, examples=_pad_examples),
    OpSpec(name="PadV2", infer=_infer_pad, evaluate=_evaluate_pad, to_tflite=_lite_pad, to_tfjs=_js_pad, examples=_pad_v2_examples),
    OpSpec(
        name="MirrorPad",
        attrs={"mode": "REFLECT"},
        infer=_infer_pad,
        evaluate=_evaluate_mirror_pad,
        to_tflite=_lite_mirror_pad,
        to_tfjs=_js_pad,
        examples=_mirror_pad_examples,
    ),
)
