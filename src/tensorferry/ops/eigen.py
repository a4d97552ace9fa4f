"""Eigenvalues of symmetric matrices and singular values, by Jacobi's rotations, all pairs of a round at once; roots of matrices.

Each step turns n/2 pairs of axes and exchanges partners as in a round-robin tournament, so that a sweep of n - 1 steps meets every
pair and ends in the order it began (R. Brent and F. Luk, 1985). Singular values come of rotations that make columns orthogonal,
from one side (M. Hestenes, 1958), which keeps small ones exact. Vectors are defined up to their sign; `weights` decides it here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from tensorferry.ir import Dim, Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.linear_algebra import outer_axes
from tensorferry.ops.rounds import repeat
from tensorferry.ops.samples import sample
from tensorferry.ops.sizes import Size, Sizes, reshape
from tensorferry.ops.spec import Declined, Example, OpSpec, same_as_input
from tensorferry.tensor import Array, DType

LARGEST = 128
"""Rows or columns of a matrix that is turned about in a loop."""

SWEEPS = 10
"""Convergence is quadratic; matrices of a hundred rows are diagonal in float32 after eight."""


def weights(size: int) -> Array:
    """A vector that is orthogonal to no eigenvector one meets: each gets the sign that makes their product positive."""
    return (1 / (np.arange(size) + 1.5)).astype(np.float32)


def _sides(value: Value) -> tuple[int, int]:
    if value.shape is None or len(value.shape) < 2:
        raise Declined("the rank of its matrices is not known, or below 2")
    rows, columns = value.shape[-2:]
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise Declined("the size of its matrices is not known", remedy="fix it with --shape")
    if not 0 < max(rows, columns) <= LARGEST or min(rows, columns) < 1:
        raise Declined(f"its matrices are {rows} by {columns}; up to {LARGEST} are turned step by step")
    if value.dtype is not DType.FLOAT32:
        raise Declined(f"it computes in {value.dtype}, the steps are written for float32")
    return rows, columns


# -- rotations -----------------------------------------------------------------------------------------------------


def _partners(size: int) -> Array:
    """Where each axis goes after a step; neighbours are partners. After size - 1 steps all are back."""
    top, bottom = list(range(0, size, 2)), list(range(1, size, 2))
    line = [*top[1:], *reversed(bottom)]  # the first of all stays
    after = [line[-1], *line[:-1]]
    order = np.zeros(size, np.int64)
    order[0] = 0
    for place, axis in zip(line, after, strict=True):
        order[place] = axis
    return order


def _turning(size: int) -> Array:
    """[size, size * size]: cosines and sines of all pairs times this are the rotation, its columns exchanged for the next step."""
    pairs = size // 2
    basis = np.zeros((2 * pairs, size, size), np.float32)
    for pair in range(pairs):
        first, second = 2 * pair, 2 * pair + 1
        basis[pair, first, first] = basis[pair, second, second] = 1
        basis[pairs + pair, first, second], basis[pairs + pair, second, first] = 1, -1
    return basis[:, :, _partners(size)].reshape(2 * pairs, -1)


def _rotation(steps: Expansion, gram: Value, size: int) -> Value:
    """[matrices, size, size]: what makes the products of neighbours 0."""
    flat = steps.make("Reshape", gram, np.array([-1, size * size], np.int32))
    first = np.arange(0, size, 2, dtype=np.int32)
    places = (first * size + first, (first + 1) * size + first + 1, first * size + first + 1)
    one, other, shared = (steps.make("GatherV2", flat, each.astype(np.int32), np.int32(1)) for each in places)
    apart, twice = steps.make("Sub", other, one), steps.make("Mul", shared, np.float32(2))
    long = steps.make("Sqrt", steps.make("AddV2", steps.make("Square", apart), steps.make("Square", twice)))
    ahead = steps.make("GreaterEqual", apart, np.float32(0))
    signed = steps.make("SelectV2", ahead, twice, steps.make("Neg", twice))
    tangent = steps.make("DivNoNan", signed, steps.make("AddV2", steps.make("Abs", apart), long))
    cosine = steps.make("Rsqrt", steps.make("AddV2", steps.make("Square", tangent), np.float32(1)))
    both = steps.make("ConcatV2", cosine, steps.make("Mul", cosine, tangent), np.int32(1))
    return steps.make("Reshape", steps.make("MatMul", both, _turning(size)), np.array([-1, size, size], np.int32))


def _turn_both(size: int, steps: Expansion, values: list[Value]) -> list[Value]:
    matrix, vectors = values
    rotation = _rotation(steps, matrix, size)
    half = steps.make("BatchMatMulV2", rotation, matrix, adj_x=True)
    return [steps.make("BatchMatMulV2", half, rotation), steps.make("BatchMatMulV2", vectors, rotation)]


def _turn_columns(size: int, steps: Expansion, values: list[Value]) -> list[Value]:
    matrix, vectors = values
    rotation = _rotation(steps, steps.make("BatchMatMulV2", matrix, matrix, adj_x=True), size)
    return [steps.make("BatchMatMulV2", each, rotation) for each in (matrix, vectors)]


class Turning(Expansion):
    """An expansion that works on a stack of matrices: [matrices, rows, columns]."""

    def stacked(self, value: Value, rows: int, columns: int) -> Value:
        return self.make("Reshape", value, np.array([-1, rows, columns], np.int32))

    def padded(self, value: Value, rows: int, columns: int) -> Value:
        pads = np.array([[0, 0], [0, rows], [0, columns]], np.int32)
        return self.make("Pad", value, pads) if rows or columns else value

    def cut(self, value: Value, rows: int, columns: int) -> Value:
        return self.make("Slice", value, np.zeros(3, np.int32), np.array([-1, rows, columns], np.int32))

    def identities(self, value: Value, size: int) -> Value:
        """An identity for each matrix of [matrices, size or more rows, size]."""
        nothing = self.make("Mul", self.cut(value, 1, size), np.float32(0))
        finite = self.make("SelectV2", self.make("Equal", nothing, nothing), nothing, np.float32(0))
        return self.make("AddV2", finite, np.eye(size, dtype=np.float32))

    def turned(self, value: Value) -> Value:
        return self.make("Transpose", value, np.array([0, 2, 1], np.int32))

    def in_order(self, values: Value, *stacks: Value) -> tuple[Value, ...]:
        """Values [matrices, size] from the largest, and rows of the stacks in the same order."""
        assert values.shape is not None
        size = int(values.shape[1])
        largest, order = self.make_node("TopKV2", values, np.int32(size)).outputs
        return largest, *(self.make("GatherV2", each, order, np.int32(1), batch_dims=1) for each in stacks)

    def signs(self, rows: Value, size: int) -> Value:
        """[matrices, rows, 1]: 1 or -1, whatever makes the row's product with `weights` positive."""
        flat = self.make("Sum", self.make("Mul", rows, weights(size)), np.array([2], np.int32), keep_dims=True)
        return self.make("SelectV2", self.make("Less", flat, np.float32(0)), np.float32(-1), np.float32(1))

    def unstacked(self, value: Value, *inner: int) -> Value:
        """Back in the outer axes of the node's input."""
        outer: list[Size] = Sizes(self, self.node.inputs[0]).all()[:-2]
        return reshape(self, value, [*outer, *inner])

    def nothing(self) -> Value:
        """What stands for vectors that nobody asked for."""
        return self.constant(np.zeros((), np.float32), "nothing")


# -- symmetric matrices --------------------------------------------------------------------------------------------


def _infer_symmetric(node: Node) -> list[Typed]:
    value = node.inputs[0]
    outer = outer_axes(value)
    values = None if outer is None or value.shape is None else (*outer, value.shape[-1])
    return [Typed(value.dtype, values), Typed(value.dtype, value.shape if node["compute_v"] else ())]


def _aligned(rows: Array, size: int) -> Array:
    """As `Turning.signs`."""
    return np.where(np.sum(rows * weights(size), axis=-1, keepdims=True) < 0, -1, 1).astype(rows.dtype)


def _evaluate_symmetric(node: Node, x: Array) -> tuple[Array, Array]:
    if not node["compute_v"]:
        return np.asarray(np.linalg.eigvalsh(x)), np.zeros((), x.dtype)
    values, vectors = np.linalg.eigh(x)
    rows = np.swapaxes(vectors, -1, -2)
    return np.asarray(values), np.swapaxes(rows * _aligned(rows, x.shape[-1]), -1, -2)


def _expand_symmetric(graph: Graph, node: Node) -> bool:
    rows, columns = _sides(node.inputs[0])
    if rows != columns:
        raise Declined(f"its matrices have {rows} rows and {columns} columns")
    parts = Turning(graph, node)
    matrix, odd = parts.stacked(node.inputs[0], rows, rows), rows % 2
    lower, strictly = (np.tril(np.ones((rows, rows), np.float32), below) for below in (0, -1))
    matrix = parts.make("AddV2", parts.make("Mul", matrix, lower), parts.turned(parts.make("Mul", matrix, strictly)))
    size = rows + odd
    wide = parts.padded(matrix, odd, odd)
    vectors = parts.identities(wide, size)
    if rows > 1:
        wide, vectors = repeat(parts, SWEEPS * (size - 1), [wide, vectors], partial(_turn_both, size))
    diagonal = parts.make(
        "Sum", parts.make("Mul", parts.cut(wide, rows, rows), np.eye(rows, dtype=np.float32)), np.array([2], np.int32)
    )
    rises, own = parts.in_order(parts.make("Neg", diagonal), parts.turned(parts.cut(vectors, rows, rows)))
    values = parts.unstacked(parts.make("Neg", rises), rows)
    if not node["compute_v"]:
        return parts.finish(values, parts.nothing())
    signed = parts.make("Mul", own, parts.signs(own, rows))
    return parts.finish(values, parts.unstacked(parts.turned(signed), rows, rows))


# -- singular values -----------------------------------------------------------------------------------------------


def _infer_singular(node: Node) -> list[Typed]:
    value, dtype = node.inputs[0], node.inputs[0].dtype
    outer = outer_axes(value)
    if outer is None or value.shape is None:
        return [Typed(dtype, None), *([Typed(dtype, None if node["compute_uv"] else ())] * 2)]
    rows, columns = value.shape[-2:]
    few: Dim = min(rows, columns) if isinstance(rows, int) and isinstance(columns, int) else "?"
    if not node["compute_uv"]:
        return [Typed(dtype, (*outer, few)), Typed(dtype, ()), Typed(dtype, ())]
    wide = (rows, columns) if node["full_matrices"] else (few, few)
    return [Typed(dtype, (*outer, few)), Typed(dtype, (*outer, rows, wide[0])), Typed(dtype, (*outer, columns, wide[1]))]


def _evaluate_singular(node: Node, x: Array) -> tuple[Array, ...]:
    if not node["compute_uv"]:
        nothing = np.zeros((), x.dtype)
        return np.asarray(np.linalg.svd(x, compute_uv=False)), nothing, nothing
    left, values, right = np.linalg.svd(x, full_matrices=bool(node["full_matrices"]))
    few = values.shape[-1]
    signs = _aligned(right[..., :few, :], x.shape[-1])
    right, left = right.copy(), np.swapaxes(left, -1, -2).copy()
    right[..., :few, :] *= signs
    left[..., :few, :] *= signs
    return values, np.swapaxes(left, -1, -2), np.swapaxes(right, -1, -2)


def _expand_singular(graph: Graph, node: Node) -> bool:
    rows, columns = _sides(node.inputs[0])
    if node["compute_uv"] and node["full_matrices"] and rows != columns:
        raise Declined(
            "vectors beyond its singular values are not defined, and not found",
            remedy="set full_matrices to False in the source model",
            attributes="full_matrices=True",
        )
    parts, flat = Turning(graph, node), rows < columns
    matrix = parts.stacked(node.inputs[0], rows, columns)
    matrix = parts.turned(matrix) if flat else matrix
    high, few = max(rows, columns), min(rows, columns)
    odd = few % 2
    size = few + odd
    wide = parts.padded(matrix, max(size - high, 0), odd)
    vectors = parts.identities(wide, size)
    if few > 1:
        wide, vectors = repeat(parts, SWEEPS * (size - 1), [wide, vectors], partial(_turn_columns, size))
    products = parts.turned(parts.cut(wide, high, few))  # [matrices, few, high]
    lengths = parts.make("Sqrt", parts.make("Sum", parts.make("Square", products), np.array([2], np.int32), keep_dims=True))
    tall = parts.make("DivNoNan", products, lengths)
    values = parts.make("Squeeze", lengths, squeeze_dims=[2])
    values, tall, own = parts.in_order(values, tall, parts.turned(parts.cut(vectors, few, few)))
    values = parts.unstacked(values, few)
    if not node["compute_uv"]:
        return parts.finish(values, parts.nothing(), parts.nothing())
    left, right = (own, tall) if flat else (tall, own)
    signs = parts.signs(right, columns)
    left, right = (parts.turned(parts.make("Mul", each, signs)) for each in (left, right))
    return parts.finish(values, parts.unstacked(left, rows, few), parts.unstacked(right, columns, few))


# -- roots of matrices ---------------------------------------------------------------------------------------------

ROOT_STEPS = 18
"""Of Denman and Beavers' iteration: each halves the distance in orders of magnitude, then doubles the digits."""

LARGEST_ROOT = 16


def _evaluate_root(_node: Node, x: Array) -> Array:
    """By eigenvectors: A = V D inv(V)."""
    values, vectors = np.linalg.eig(x.astype(np.complex128))
    root = vectors * np.sqrt(values)[..., None, :] @ np.linalg.inv(vectors)
    return np.asarray(root.real if x.dtype.kind == "f" else root).astype(x.dtype)


def _nearer_root(steps: Expansion, values: list[Value]) -> list[Value]:
    """E. Denman and A. Beavers (1976): the means of each with the other's inverse go to the root and its inverse."""
    inverses = [steps.make("MatrixInverse", each) for each in reversed(values)]
    sums = [steps.make("AddV2", *pair) for pair in zip(values, inverses, strict=True)]
    return [steps.make("Mul", each, np.float32(0.5)) for each in sums]


def _expand_root(graph: Graph, node: Node) -> bool:
    rows, columns = _sides(node.inputs[0])
    if rows != columns or rows > LARGEST_ROOT:
        raise Declined(f"its matrices are {rows} by {columns}; roots of up to {LARGEST_ROOT} rows are found")
    parts = Turning(graph, node)
    matrix = parts.stacked(node.inputs[0], rows, rows)
    root, _ = repeat(parts, ROOT_STEPS, [matrix, parts.identities(matrix, rows)], _nearer_root)
    return parts.finish(parts.unstacked(root, rows, rows))


# -- examples ------------------------------------------------------------------------------------------------------

TOLERANCE = 2e-5


def _positive(*shape: int) -> Array:
    x = sample(*shape, shape[-1])
    return np.asarray(x @ np.swapaxes(x, -1, -2) + np.eye(shape[-1]), np.float32)


def _symmetric_examples() -> Iterator[Example]:
    for x, note in ((sample(2, 4, 4), "batches"), (sample(7, 7), "odd"), (sample(1, 1), "one"), (np.diag([3, 1, 2]), "diagonal")):
        matrix = np.asarray(x + np.swapaxes(x, -1, -2), np.float32)
        yield Example((matrix,), {"compute_v": True}, tolerance=TOLERANCE, note=note)
    yield Example((sample(5, 5),), {"compute_v": False}, tolerance=TOLERANCE, note="values of the lower triangle")


def _singular_examples() -> Iterator[Example]:
    for x, note in ((sample(2, 4, 3), "tall"), (sample(3, 6), "wide"), (sample(5, 5), "square")):
        yield Example((x,), {"compute_uv": True}, tolerance=TOLERANCE, note=note)
    yield Example((sample(5, 5),), {"compute_uv": True, "full_matrices": True}, tolerance=TOLERANCE, note="square, full")
    low = np.outer(sample(4), sample(6, seed=1)).astype(np.float32)
    yield Example((low,), {"compute_uv": False}, tolerance=TOLERANCE, note="values, all but one are 0")


def _root_examples() -> Iterator[Example]:
    yield Example((_positive(2, 3),), tolerance=TOLERANCE, note="batches")
    yield Example((np.array([[1, 2], [-3, 4]], np.float32),), tolerance=TOLERANCE, note="not symmetric")


SPECS = (
    OpSpec(
        name="SelfAdjointEigV2",
        aliases=("BatchSelfAdjointEigV2",),
        attrs={"compute_v": True},
        infer=_infer_symmetric,
        evaluate=_evaluate_symmetric,
        expand=_expand_symmetric,
        examples=_symmetric_examples,
    ),
    OpSpec(
        name="Svd",
        aliases=("BatchSvd",),
        attrs={"compute_uv": True, "full_matrices": False},
        infer=_infer_singular,
        evaluate=_evaluate_singular,
        expand=_expand_singular,
        examples=_singular_examples,
    ),
    OpSpec(
        name="MatrixSquareRoot",
        infer=same_as_input,
        evaluate=_evaluate_root,
        expand=_expand_root,
        examples=_root_examples,
    ),
)
