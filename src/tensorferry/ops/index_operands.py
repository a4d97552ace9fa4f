"""Axes, sizes and indices as operands of a target's operators: TFLite's kernels want most of them as int32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tensorferry.ir import Value
from tensorferry.ops.spec import Declined
from tensorferry.targets import LiteOp, Ref, Temp
from tensorferry.tensor import ArrayTensor, DType

_INT32 = np.iinfo(np.int32)


def int32_vector(elements: Sequence[int]) -> ArrayTensor:
    """A constant vector; what does not fit (the `to the end` of 64-bit slices) is brought to the nearest that does."""
    return ArrayTensor(np.clip(np.asarray(elements, np.int64), _INT32.min, _INT32.max).astype(np.int32))


def int32_matrix(rows: Sequence[Sequence[int]]) -> ArrayTensor:
    """A constant matrix of two columns, clipped in the same way."""
    return ArrayTensor(np.clip(np.asarray(rows, np.int64), _INT32.min, _INT32.max).astype(np.int32).reshape(-1, 2))


def int32_scalar(element: int) -> ArrayTensor:
    return ArrayTensor(np.asarray(element, np.int32))


def narrow_constant(value: Value) -> Ref:
    """A 64-bit constant as int32, clipped as above; anything else unchanged."""
    tensor = value.constant
    if tensor is None or value.dtype is not DType.INT64:
        return value
    return ArrayTensor(np.clip(tensor.array(), _INT32.min, _INT32.max).astype(np.int32))


def lite_int32(value: Value) -> tuple[list[LiteOp], Ref]:
    """The value as int32: itself, a smaller constant, or the result of the CAST that is returned with it."""
    if value.dtype is DType.INT32:
        return [], value
    if value.constant is not None:
        return [], narrow_constant(value)
    cast = Temp("int32", DType.INT32, value.shape)
    return [LiteOp("CAST", (value,), (cast,), {"in_data_type": value.dtype.value.upper(), "out_data_type": "INT32"})], cast


def require_dtype(value: Value, allowed: Sequence[DType], operator: str) -> None:
    """Declined when the target's operator has no kernel for the element type."""
    if value.dtype not in allowed:
        remedy = "" if value.dtype is DType.STRING else f"cast it to {allowed[0]} in the source model"
        raise Declined(f"{operator} takes no {value.dtype} tensor", remedy=remedy, attributes=f"dtype={value.dtype}")


def refuse_in_tfjs(value: Value, does: str, *dtypes: DType, rank: int | None = None) -> None:
    """Declined when a kernel of TensorFlow.js does not take the type (of that rank, if one is given)."""
    if value.dtype in dtypes and rank in (None, value.rank):
        raise Declined(f"TensorFlow.js does not {does} {value.dtype} tensors", attributes=f"dtype={value.dtype}")


def refuse_bool_slices(value: Value) -> None:
    """WebAssembly cuts pieces out of four dimensions as if each element had four bytes."""
    refuse_in_tfjs(value, "cut four-dimensional", DType.BOOL, rank=4)


def require_rank(value: Value, highest: int, operator: str) -> int:
    """The rank, when it is known and not above what the target's kernel handles."""
    if value.shape is None:
        raise Declined(f"{operator} needs to know the rank of its input", remedy="give the model's inputs a shape")
    if len(value.shape) > highest:
        raise Declined(f"{operator} takes at most {highest} dimensions, this tensor has {len(value.shape)}")
    return len(value.shape)
