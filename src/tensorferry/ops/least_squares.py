"""MatrixSolveLs: the smallest solution of equations that are too many or too few, by singular values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import Graph, Node, Typed
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType


def _infer(node: Node) -> list[Typed]:
    matrix, right = node.inputs[:2]
    if matrix.shape is None or right.shape is None:
        return [Typed(right.dtype, None)]
    if len(matrix.shape) < 2 or len(matrix.shape) != len(right.shape):
        raise Declined(f"its matrices have ranks {len(matrix.shape)} and {len(right.shape)}")
    return [Typed(right.dtype, (*right.shape[:-2], matrix.shape[-1], right.shape[-1]))]


def _least(rows: int, columns: int) -> np.float32:
    """The share of the largest singular value below which one counts as 0."""
    return np.float32(max(rows, columns) * np.finfo(np.float32).eps)


def _evaluate(node: Node, matrix: Array, right: Array, penalty: Array) -> Array:
    left, values, turned = np.linalg.svd(matrix, full_matrices=False)
    weight = float(penalty) if node["fast"] else 0.0
    kept = values > values.max(axis=-1, keepdims=True, initial=0) * _least(*matrix.shape[-2:])
    shares = np.where(kept, values / np.where(kept, values**2 + weight, 1), 0)
    return np.asarray(np.swapaxes(turned, -1, -2) @ (shares[..., None] * (np.swapaxes(left, -1, -2) @ right)), matrix.dtype)


def _expand(graph: Graph, node: Node) -> bool:
    matrix, right, penalty = node.inputs
    shape = matrix.shape
    if shape is None or not isinstance(shape[-1], int) or not isinstance(shape[-2], int) or matrix.dtype is not DType.FLOAT32:
        raise Declined("the size of its matrices is not known, or they are no float32", remedy="fix it with --shape")
    parts = Expansion(graph, node)
    values, left, turned = parts.make_node("Svd", matrix, compute_uv=True, full_matrices=False).outputs
    last = np.array([len(shape) - 2], np.int32)
    least = parts.make("Mul", parts.make("Max", values, last, keep_dims=True), _least(shape[-2], shape[-1]))
    squares = parts.make("Square", values)
    if node["fast"]:
        weight = penalty if penalty.dtype is DType.FLOAT32 else parts.make("Cast", penalty, DstT=DType.FLOAT32)
        squares = parts.make("AddV2", squares, weight)
    shares = parts.make("DivNoNan", values, squares)
    shares = parts.make("SelectV2", parts.make("Greater", values, least), shares, np.float32(0))
    inner = parts.make("BatchMatMulV2", left, right, adj_x=True)
    scaled = parts.make("Mul", inner, parts.make("ExpandDims", shares, np.int32(-1)))
    return parts.finish(parts.make("BatchMatMulV2", turned, scaled))


def _examples() -> Iterator[Example]:
    nothing = np.array(0.0)
    for rows, columns, note in ((5, 3, "too many"), (2, 4, "too few")):
        inputs = (sample(2, rows, columns), sample(2, rows, 2, seed=1), nothing)
        yield Example(inputs, {"fast": False}, (2,), 5e-5, note=note)
    yield Example((sample(4, 3), sample(4, 1, seed=1), np.array(0.5)), {"fast": True}, (2,), 5e-5, note="with a penalty")


SPECS = (
    OpSpec(
        name="MatrixSolveLs",
        aliases=("BatchMatrixSolveLs",),
        attrs={"fast": True},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        examples=_examples,
    ),
)
