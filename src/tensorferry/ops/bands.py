"""Matrices given by a few diagonals, LU decomposition, and products of matrices that are said to be sparse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tensorferry.ir import Graph, Node, Typed, Value
from tensorferry.ops.diagonals import places_in_diagonals
from tensorferry.ops.linear_algebra import TOLERANCE, Steps
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType

ALIGN = "LEFT_RIGHT"
"""Diagonals above the main one begin at the left, those below end at the right."""


def _band(node: Node, count: int) -> tuple[int, int]:
    """The lowest and highest diagonal."""
    if node.op == "TridiagonalSolve":
        return -1, 1
    return (1 - count, 0) if node["lower"] else (0, count - 1)


def _infer_solve(node: Node) -> list[Typed]:
    return [Typed(node.inputs[1].dtype, node.inputs[1].shape)]


def _dense(node: Node, bands: Array) -> Array:
    count, size = bands.shape[-2:]
    places = places_in_diagonals(size, size, _band(node, count), ALIGN)
    flat = bands.reshape(*bands.shape[:-2], count * size)
    matrix = np.where(places >= 0, flat[..., np.maximum(places, 0)], 0)
    return np.asarray(np.swapaxes(matrix, -1, -2) if node.get("adjoint") else matrix)


def _evaluate_solve(node: Node, bands: Array, right: Array) -> Array:
    return np.asarray(np.linalg.solve(_dense(node, bands), right))


def _expand_solve(graph: Graph, node: Node) -> bool:
    """The whole matrix, solved as such."""
    bands, right = node.inputs
    if bands.shape is None or not isinstance(bands.shape[-2], int) or not isinstance(bands.shape[-1], int):
        raise Declined("the size of its matrices is not known", remedy="fix it with --shape")
    steps = Steps(graph, node)
    count, size = bands.shape[-2], bands.shape[-1]
    low, high = _band(node, count)
    if low == high:
        matrix = steps.make("MatrixDiag", steps.squeezed(bands, -2))
    else:
        limits = [np.array(each, np.int32) for each in ([low, high], size, size)]
        matrix = steps.make("MatrixDiagV3", bands, *limits, np.array(0, np.float32), align=ALIGN)
    if node.op == "TridiagonalSolve":
        return steps.finish(steps.make("MatrixSolve", matrix, right))
    attrs = {"lower": node["lower"], "adjoint": node["adjoint"]}
    return steps.finish(steps.make("MatrixTriangularSolve", matrix, right, **attrs))


# -- three diagonals times a matrix --------------------------------------------------------------------------------


def _infer_tridiagonal(node: Node) -> list[Typed]:
    return [Typed(node.inputs[3].dtype, node.inputs[3].shape)]


def _evaluate_tridiagonal(_node: Node, above: Array, main: Array, below: Array, right: Array) -> Array:
    above, main, below = (np.swapaxes(each, -1, -2) for each in (above, main, below))
    made = main * right
    made[..., :-1, :] += above[..., :-1, :] * right[..., 1:, :]
    made[..., 1:, :] += below[..., 1:, :] * right[..., :-1, :]
    return np.asarray(made)


def _expand_tridiagonal(graph: Graph, node: Node) -> bool:
    steps = Steps(graph, node)
    right = node.inputs[3]
    if right.shape is None or not isinstance(right.shape[-2], int):
        raise Declined("the size of its matrices is not known", remedy="fix it with --shape")
    size, rank = right.shape[-2], len(right.shape)
    above, main, below = (steps.turned(value) for value in node.inputs[:3])
    made = steps.do("Mul", main, right)
    if size > 1:
        for diagonal, kept, taken, pad in (
            (above, (0, size - 1), (1, size), (0, 1)),
            (below, (1, size), (0, size - 1), (1, 0)),
        ):
            part = steps.do("Mul", steps.cut(diagonal, -2, *kept), steps.cut(right, -2, *taken))
            pads = np.zeros((rank, 2), np.int32)
            pads[-2] = pad
            made = steps.do("AddV2", made, steps.make("Pad", part, pads))
    return steps.finish(made)


# -- LU ------------------------------------------------------------------------------------------------------------


def _infer_lu(node: Node) -> list[Typed]:
    value = node.inputs[0]
    return [Typed(value.dtype, value.shape), Typed(node["output_idx_type"], None if value.shape is None else value.shape[:-1])]


def _evaluate_lu(node: Node, x: Array) -> tuple[Array, Array]:
    lu, order = x.copy(), np.broadcast_to(np.arange(x.shape[-1]), x.shape[:-1]).copy()
    for index in np.ndindex(*x.shape[:-2]):
        matrix, places = lu[index], order[index]
        for step in range(len(matrix)):
            best = step + int(np.argmax(np.abs(matrix[step:, step])))
            matrix[[step, best]], places[[step, best]] = matrix[[best, step]], places[[best, step]]
            matrix[step + 1 :, step] /= matrix[step, step]
            matrix[step + 1 :, step + 1 :] -= np.outer(matrix[step + 1 :, step], matrix[step, step + 1 :])
    return lu, order.astype(node["output_idx_type"].numpy)


def _expand_lu(graph: Graph, node: Node) -> bool:
    """Factors of all rows by step, brought into the order of the pivots; the pivots' rows are the upper half."""
    steps = Steps(graph, node)
    size = steps.square()
    rest, used = node.inputs[0], None
    rank = len(rest.shape or ())
    factors, upper, rows, places = [], [], [], []
    for step in range(size):
        column = steps.cut(rest, -1, 0, 1)
        place, row = steps.choose_pivot(column, used, size)
        used = row if used is None else steps.do("AddV2", used, row)
        picked = steps.picked(row, rest)
        factor = steps.do("RealDiv", column, steps.cut(picked, -1, 0, 1))
        pads = np.zeros((rank, 2), np.int32)
        pads[-1, 0] = step
        upper.append(steps.make("Pad", picked, pads) if step else picked)
        factors.append(factor)
        rows.append(row)
        places.append(place)
        if step + 1 < size:
            left = size - step
            rest = steps.do("Sub", steps.cut(rest, -1, 1, left), steps.do("Mul", factor, steps.cut(picked, -1, 1, left)))
    ordered = steps.product(steps.join(rows, -1), steps.join(factors, -1), adj_x=True)
    below = steps.constant(np.tril(np.ones((size, size), np.float32), -1) > 0, "below")
    whole = steps.do("SelectV2", below, ordered, steps.join(upper, -2))
    order = steps.join(places, -1)
    return steps.finish(whole, order if order.dtype is node["output_idx_type"] else steps.make("Cast", order, DstT=DType.INT64))


# -- products ------------------------------------------------------------------------------------------------------


def _infer_sparse(node: Node) -> list[Typed]:
    one, other = (value.shape or ("?", "?") for value in node.inputs)
    return [Typed(DType.FLOAT32, (one[int(node["transpose_a"])], other[1 - int(node["transpose_b"])]))]


def _evaluate_sparse(node: Node, one: Array, other: Array) -> Array:
    return np.asarray((one.T if node["transpose_a"] else one) @ (other.T if node["transpose_b"] else other))


def _expand_sparse(graph: Graph, node: Node) -> bool:
    """That an operand is mostly zeros is a hint."""
    steps = Steps(graph, node)
    values: Sequence[Value] = [
        value if value.dtype is DType.FLOAT32 else steps.make("Cast", value, DstT=DType.FLOAT32) for value in node.inputs
    ]
    attrs = {key: node[key] for key in ("transpose_a", "transpose_b")}
    return steps.finish(steps.make("MatMul", *values, **attrs))


# -- examples ------------------------------------------------------------------------------------------------------


def _banded_examples() -> Iterator[Example]:
    for lower in (True, False):
        for adjoint in (False, True):
            bands = sample(2, 2, 4) + np.float32(2)
            note = f"{'lower' if lower else 'upper'}{', adjoint' if adjoint else ''}"
            attrs = {"lower": lower, "adjoint": adjoint}
            yield Example((bands, sample(2, 4, 3)), attrs, note=note, tolerance=TOLERANCE)
    yield Example((sample(1, 3), sample(3, 2)), {}, note="one diagonal", tolerance=TOLERANCE)


def _tridiagonal_solve_examples() -> Iterator[Example]:
    yield Example((sample(2, 3, 4), sample(2, 4, 2)), note="batches", tolerance=TOLERANCE)


def _tridiagonal_examples() -> Iterator[Example]:
    yield Example((sample(2, 1, 4), sample(2, 1, 4, seed=1), sample(2, 1, 4, seed=2), sample(2, 4, 3)), note="batches")


def _lu_examples() -> Iterator[Example]:
    yield Example((sample(2, 4, 4),), note="batches", tolerance=TOLERANCE)
    yield Example((sample(3, 3),), {"output_idx_type": DType.INT64}, note="int64", tolerance=TOLERANCE)


def _sparse_examples() -> Iterator[Example]:
    yield Example((sample(3, 4), sample(4, 2)), {}, (1,), note="plain")
    yield Example((sample(4, 3), sample(2, 4)), {"transpose_a": True, "transpose_b": True}, note="turned")


SPECS = (
    OpSpec(
        name="BandedTriangularSolve",
        attrs={"lower": True, "adjoint": False},
        infer=_infer_solve,
        evaluate=_evaluate_solve,
        expand=_expand_solve,
        examples=_banded_examples,
    ),
    OpSpec(
        name="TridiagonalSolve",
        attrs={"partial_pivoting": True, "perturb_singular": False},
        infer=_infer_solve,
        evaluate=_evaluate_solve,
        expand=_expand_solve,
        examples=_tridiagonal_solve_examples,
    ),
    OpSpec(
        name="TridiagonalMatMul",
        infer=_infer_tridiagonal,
        evaluate=_evaluate_tridiagonal,
        expand=_expand_tridiagonal,
        examples=_tridiagonal_examples,
    ),
    OpSpec(
        name="Lu",
        attrs={"output_idx_type": DType.INT32},
        infer=_infer_lu,
        evaluate=_evaluate_lu,
        expand=_expand_lu,
        examples=_lu_examples,
    ),
    OpSpec(
        name="SparseMatMul",
        attrs={"transpose_a": False, "transpose_b": False, "a_is_sparse": False, "b_is_sparse": False},
        infer=_infer_sparse,
        evaluate=_evaluate_sparse,
        expand=_expand_sparse,
        examples=_sparse_examples,
    ),
)
