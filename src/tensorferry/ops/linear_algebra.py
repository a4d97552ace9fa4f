"""Equations and decompositions of small matrices, written step by step: inverse, determinant, solving, Cholesky, triangular, QR.

Neither target has any of it. Elimination picks the largest pivot of each column, as TensorFlow does, without moving rows: which
row was the pivot of a column is kept as a vector of zeros and a one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import Dim, Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec, broadcast_shapes, same_as_input
from tensorferry.tensor import Array, DType

LARGEST = 128
"""Rows of a matrix that is worked on step by step, a dozen operators each."""


def _sides(value: Value) -> tuple[int, int]:
    if value.shape is None or len(value.shape) < 2:
        raise Declined("the rank of its matrices is not known, or below 2")
    rows, columns = value.shape[-2:]
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise Declined("the size of its matrices is not known", remedy="fix it with --shape")
    return rows, columns


def _size(node: Node) -> int:
    """Of square matrices that can be worked on."""
    rows, columns = _sides(node.inputs[0])
    if rows != columns:
        raise Declined(f"its matrices have {rows} rows and {columns} columns")
    if not 0 < rows <= LARGEST:
        raise Declined(f"its matrices have {rows} rows; up to {LARGEST} are worked on step by step")
    if node.inputs[0].dtype is not DType.FLOAT32:
        raise Declined(f"it computes in {node.inputs[0].dtype}, the steps are written for float32")
    return rows


class Steps(Expansion):
    """An expansion that works on the last two axes."""

    def do(self, op: str, *values: Value | Array | float, **attrs: object) -> Value:
        ready = [each if isinstance(each, Value | np.ndarray) else np.array(each, np.float32) for each in values]
        return self.make(op, *ready, **attrs)

    def cut(self, value: Value, axis: int, start: int, stop: int) -> Value:
        """Places `start` to `stop` of an axis counted from the end."""
        rank = len(value.shape or ())
        if start == 0 and stop == (value.shape or ())[axis]:
            return value
        begin, end = np.zeros(rank, np.int32), np.zeros(rank, np.int32)
        begin[axis], end[axis] = start, stop
        free = sum(1 << place for place in range(rank) if place != axis % rank)
        return self.make("StridedSlice", value, begin, end, np.ones(rank, np.int32), begin_mask=free, end_mask=free)

    def element(self, value: Value, row: int, column: int) -> Value:
        return self.cut(self.cut(value, -2, row, row + 1), -1, column, column + 1)

    def join(self, values: list[Value], axis: int) -> Value:
        if len(values) == 1:
            return values[0]
        return self.make("ConcatV2", *values, self.constant(np.array(axis, np.int32), "axis"), N=len(values))

    def turned(self, value: Value) -> Value:
        rank = len(value.shape or ())
        return self.make("Transpose", value, np.array([*range(rank - 2), rank - 1, rank - 2], np.int32))

    def product(self, one: Value, other: Value, **turns: bool) -> Value:
        return self.make("BatchMatMulV2", one, other, **turns)

    def squeezed(self, value: Value, *axes: int) -> Value:
        rank = len(value.shape or ())
        return self.make("Squeeze", value, squeeze_dims=[axis % rank for axis in axes])

    def square(self) -> int:
        """Rows of the node's square matrices."""
        return _size(self.node)

    def choose_pivot(self, column: Value, used: Value | None, size: int) -> tuple[Value, Value]:
        """Where the largest element of a column is [.., 1], among the rows not used yet, and a one there [.., size, 1]."""
        score = self.do("Abs", column)
        if used is not None:
            score = self.do("SelectV2", self.do("Greater", used, 0.5), -1.0, score)
        place = self.make("ArgMax", score, np.array(-2, np.int32), output_type=DType.INT32)
        axis = len(column.shape or ()) - 2
        row = self.make("OneHot", place, np.array(size, np.int32), *(np.array(each, np.float32) for each in (1, 0)), axis=axis)
        return place, row

    def picked(self, row: Value, matrix: Value) -> Value:
        """The matrix's row [.., 1, columns] where `row` has its one."""
        chosen = self.do("SelectV2", self.do("Greater", row, 0.5), matrix, 0.0)
        return self.make("Sum", chosen, np.array([len(matrix.shape or ()) - 2], np.int32), keep_dims=True)

    def eliminate(self, matrix: Value, size: int, divide: str) -> tuple[list[Value], list[Value], Value | None]:
        """Gauss and Jordan over the first `size` columns: each one's pivot [.., 1, 1], its row [.., size, 1], and what is left."""
        pivots, rows = [], []
        used: Value | None = None
        rest: Value | None = matrix
        for _step in range(size):
            assert rest is not None and rest.shape is not None
            width = rest.shape[-1]
            assert isinstance(width, int)
            column = self.cut(rest, -1, 0, 1)
            _, row = self.choose_pivot(column, used, size)
            used = row if used is None else self.do("AddV2", used, row)
            chosen = self.do("Greater", row, 0.5)
            picked = self.picked(row, rest)
            pivot = self.cut(picked, -1, 0, 1)
            pivots.append(pivot)
            rows.append(row)
            if width == 1:
                return pivots, rows, None
            scaled = self.do(divide, self.cut(picked, -1, 1, width), pivot)
            below = self.do("Sub", self.cut(rest, -1, 1, width), self.do("Mul", column, scaled))
            rest = self.do("SelectV2", chosen, scaled, below)
        return pivots, rows, rest

    def solved(self, matrix: Value, right: Value, size: int) -> Value:
        if size == 1:
            return self.do("RealDiv", right, matrix)
        _, rows, rest = self.eliminate(self.join([matrix, right], -1), size, "RealDiv")
        assert rest is not None
        return self.product(self.join(rows, -1), rest, adj_x=True)  # the rows in the order of their columns


# -- inference and evaluation --------------------------------------------------------------------------------------


def outer_axes(value: Value) -> tuple[Dim, ...] | None:
    """The axes before those of a matrix; None where the rank is open."""
    if value.shape is not None and len(value.shape) < 2:
        raise Declined(f"its input has rank {len(value.shape)}; a matrix has 2")
    return None if value.shape is None else value.shape[:-2]


def _infer_determinant(node: Node) -> list[Typed]:
    typed = Typed(node.inputs[0].dtype, outer_axes(node.inputs[0]))
    return [typed] if node.op == "MatrixDeterminant" else [typed, typed]


def _infer_solve(node: Node) -> list[Typed]:
    matrix, right = node.inputs
    outer, own = outer_axes(matrix), outer_axes(right)
    if outer is None or own is None or matrix.shape is None or right.shape is None:
        return [Typed(right.dtype, None)]
    shape = broadcast_shapes(outer, own)
    assert shape is not None
    return [Typed(right.dtype, (*shape, matrix.shape[-1], right.shape[-1]))]


def _infer_qr(node: Node) -> list[Typed]:
    value = node.inputs[0]
    outer = outer_axes(value)
    if outer is None or value.shape is None:
        return [Typed(value.dtype, None)] * 2
    rows, columns = value.shape[-2:]
    known = isinstance(rows, int) and isinstance(columns, int)
    inner: Dim = rows if node["full_matrices"] else min(int(rows), int(columns)) if known else "?"
    return [Typed(value.dtype, (*outer, rows, inner)), Typed(value.dtype, (*outer, inner, columns))]


def _adjoint(node: Node, x: Array) -> Array:
    return np.conj(np.swapaxes(x, -1, -2)) if node.get("adjoint") else x


def _evaluate_inverse(node: Node, x: Array) -> Array:
    return np.asarray(np.linalg.inv(_adjoint(node, x)))


def _evaluate_solve(node: Node, x: Array, right: Array) -> Array:
    return np.asarray(np.linalg.solve(_adjoint(node, x), right))


def _evaluate_triangular(node: Node, x: Array, right: Array) -> Array:
    triangle = np.tril(x) if node["lower"] else np.triu(x)
    return np.asarray(np.linalg.solve(_adjoint(node, triangle), right))


def _evaluate_cholesky(_node: Node, x: Array) -> Array:
    return np.asarray(np.linalg.cholesky(x))


def _evaluate_qr(node: Node, x: Array) -> tuple[Array, Array]:
    made = np.linalg.qr(x, mode="complete" if node["full_matrices"] else "reduced")
    return made[0], made[1]


# -- expansions ----------------------------------------------------------------------------------------------------


def _matrix(steps: Steps, node: Node) -> Value:
    return steps.turned(node.inputs[0]) if node.get("adjoint") else node.inputs[0]


def _expand_inverse(graph: Graph, node: Node) -> bool:
    size = _size(node)
    steps = Steps(graph, node)
    matrix = _matrix(steps, node)
    if size == 1:
        return steps.finish(steps.do("RealDiv", 1.0, matrix))
    zeros = steps.make("ZerosLike", matrix)
    return steps.finish(steps.solved(matrix, steps.do("AddV2", zeros, np.eye(size, dtype=np.float32)), size))


def _expand_solve(graph: Graph, node: Node) -> bool:
    steps = Steps(graph, node)
    return steps.finish(steps.solved(_matrix(steps, node), node.inputs[1], _size(node)))


def _pivots_and_sign(steps: Steps, node: Node) -> tuple[Value, Value]:
    """[.., size] pivots, and [..] the sign of the order in which their rows were taken, by its inversions."""
    size = _size(node)
    pivots, rows, _ = steps.eliminate(node.inputs[0], size, "DivNoNan")
    values = steps.squeezed(steps.join(pivots, -1), -2)
    order = steps.join(rows, -1)  # [row, step]
    later = np.triu(np.ones((size, size), np.float32), 1)
    earlier = steps.product(steps.product(steps.turned(order), steps.constant(later)), order)  # [step, step]: lies above
    inverted = steps.do("Mul", earlier, np.triu(np.ones((size, size), np.float32), 1).T)
    rank = len(inverted.shape or ())
    count = steps.make("Sum", inverted, np.array([rank - 2, rank - 1], np.int32), keep_dims=False)
    return values, steps.do("Sub", 1.0, steps.do("Mul", steps.do("FloorMod", count, 2.0), 2.0))


def _expand_determinant(graph: Graph, node: Node) -> bool:
    steps = Steps(graph, node)
    if _size(node) == 1:
        return steps.finish(steps.squeezed(node.inputs[0], -1, -2))
    values, sign = _pivots_and_sign(steps, node)
    last = np.array([len(values.shape or ()) - 1], np.int32)
    return steps.finish(steps.do("Mul", steps.make("Prod", values, last, keep_dims=False), sign))


def _expand_logarithm(graph: Graph, node: Node) -> bool:
    steps = Steps(graph, node)
    if _size(node) == 1:
        only = steps.squeezed(node.inputs[0], -1, -2)
        return steps.finish(steps.do("Sign", only), steps.do("Log", steps.do("Abs", only)))
    values, sign = _pivots_and_sign(steps, node)
    last = np.array([len(values.shape or ()) - 1], np.int32)
    signs = steps.make("Prod", steps.do("Sign", values), last, keep_dims=False)
    logs = steps.make("Sum", steps.do("Log", steps.do("Abs", values)), last, keep_dims=False)
    return steps.finish(steps.do("Mul", signs, sign), logs)


def _expand_triangular(graph: Graph, node: Node) -> bool:
    size = _size(node)
    steps = Steps(graph, node)
    matrix, right = _matrix(steps, node), node.inputs[1]
    lower = bool(node["lower"]) != bool(node["adjoint"])
    found: list[Value] = []
    for step in range(size):
        at = step if lower else size - 1 - step
        here = 0 if lower else at
        row = steps.do("RealDiv", steps.cut(right, -2, here, here + 1), steps.element(matrix, at, at))
        found = [*found, row] if lower else [row, *found]
        if step == size - 1:
            break
        first, last = (at + 1, size) if lower else (0, at)
        column = steps.cut(steps.cut(matrix, -2, first, last), -1, at, at + 1)
        left = steps.cut(right, -2, 1, size - step) if lower else steps.cut(right, -2, 0, at)
        right = steps.do("Sub", left, steps.do("Mul", column, row))
    return steps.finish(steps.join(found, -2))


def _expand_cholesky(graph: Graph, node: Node) -> bool:
    """Column by column, what is left less the column times itself; only the lower triangle is read."""
    size = _size(node)
    steps = Steps(graph, node)
    rest, columns = node.inputs[0], []
    rank = len(rest.shape or ())
    for step in range(size):
        left = size - step
        column = steps.do("RealDiv", steps.cut(rest, -1, 0, 1), steps.do("Sqrt", steps.element(rest, 0, 0)))
        above = np.zeros((rank, 2), np.int32)
        above[-2, 0] = step
        columns.append(steps.make("Pad", column, above) if step else column)
        if left > 1:
            below = steps.cut(column, -2, 1, left)
            inner = steps.cut(steps.cut(rest, -2, 1, left), -1, 1, left)
            rest = steps.do("Sub", inner, steps.product(below, below, adj_y=True))
    return steps.finish(steps.join(columns, -1))


def _expand_qr(graph: Graph, node: Node) -> bool:
    """Householder's reflections; each makes the diagonal's sign the opposite of what stood there, as LAPACK and Eigen do."""
    value = node.inputs[0]
    rows, columns = _sides(value)
    if not 0 < max(rows, columns) <= LARGEST or value.dtype is not DType.FLOAT32:
        raise Declined(f"its matrices are {rows} by {columns} of {value.dtype}; float32 up to {LARGEST} is worked on step by step")
    steps = Steps(graph, node)
    upper = value
    turned: Value | None = None
    rank = len(value.shape or ())
    for step in range(min(rows - 1, columns)):
        column = steps.cut(steps.cut(upper, -1, step, step + 1), -2, step, rows)
        head = steps.cut(column, -2, 0, 1)
        length = steps.do("Sqrt", steps.make("Sum", steps.do("Square", column), np.array([rank - 2], np.int32), keep_dims=True))
        diagonal = steps.do("SelectV2", steps.do("GreaterEqual", head, 0.0), steps.do("Neg", length), length)
        mirror = steps.join([steps.do("Sub", head, diagonal), steps.cut(column, -2, 1, rows - step)], -2)
        weight = steps.make("Sum", steps.do("Square", mirror), np.array([rank - 2], np.int32), keep_dims=True)
        above = np.zeros((rank, 2), np.int32)
        above[-2, 0] = step
        mirror = steps.make("Pad", mirror, above) if step else mirror
        plane = steps.do("DivNoNan", steps.do("Mul", steps.product(mirror, mirror, adj_y=True), 2.0), weight)
        reflection = steps.do("Sub", np.eye(rows, dtype=np.float32), plane)
        upper = steps.product(reflection, upper)
        turned = reflection if turned is None else steps.product(turned, reflection)
    if turned is None:
        turned = steps.do("AddV2", steps.do("Mul", steps.cut(value, -1, 0, 1), 0.0), np.eye(rows, dtype=np.float32))
    inner = rows if node["full_matrices"] else min(rows, columns)
    triangle = np.triu(np.ones((inner, columns), np.float32)) > 0
    upper = steps.do("SelectV2", steps.constant(triangle, "triangle"), steps.cut(upper, -2, 0, inner), 0.0)
    return steps.finish(steps.cut(turned, -1, 0, inner), upper)


# -- examples ------------------------------------------------------------------------------------------------------

TOLERANCE = 2e-5


def _square(*shape: int, seed: int = 0) -> Array:
    return (sample(*shape, shape[-1], seed=seed) + 2 * np.eye(shape[-1], dtype=np.float32)).astype(np.float32)


def _positive(*shape: int) -> Array:
    x = sample(*shape, shape[-1])
    return np.asarray(x @ np.swapaxes(x, -1, -2) + np.eye(shape[-1]), np.float32)


SWAPPED = np.array([[0, 2, 0], [0, 0, 3], [4, 0, 1]], np.float32)
"""Without looking for a pivot the first step divides by 0."""


def _inverse_examples() -> Iterator[Example]:
    for x, note in (
        (_square(2, 3), "batches"),
        (SWAPPED, "pivots"),
        (_square(1), "one"),
        (_square(5), "five"),
        (_square(40), "forty"),
    ):
        yield Example((x,), {}, note=note, tolerance=TOLERANCE)
    yield Example((_square(3),), {"adjoint": True}, note="adjoint", tolerance=TOLERANCE)


def _determinant_examples() -> Iterator[Example]:
    for x, note in (
        (_square(2, 3), "batches"),
        (SWAPPED, "pivots"),
        (_square(4), "four"),
        (np.ones((3, 3), np.float32), "singular"),
    ):
        yield Example((x,), {}, note=note, tolerance=TOLERANCE)
    yield Example((_square(2, 1),), {}, note="one", tolerance=TOLERANCE)


def _logarithm_examples() -> Iterator[Example]:
    for x, note in ((_square(2, 3), "batches"), (SWAPPED, "pivots"), (_square(1), "one")):
        yield Example((x,), {}, note=note, tolerance=TOLERANCE)


def _solve_examples() -> Iterator[Example]:
    yield Example((_square(2, 3), sample(2, 3, 2, seed=4)), note="batches", tolerance=TOLERANCE)
    yield Example((SWAPPED, sample(3, 1)), {"adjoint": True}, note="adjoint, pivots", tolerance=TOLERANCE)
    yield Example((_square(1), sample(1, 2)), note="one", tolerance=TOLERANCE)


def _triangular_examples() -> Iterator[Example]:
    for lower in (True, False):
        for adjoint in (False, True):
            attrs = {"lower": lower, "adjoint": adjoint}
            note = f"{'lower' if lower else 'upper'}{', adjoint' if adjoint else ''}"
            yield Example((_square(2, 4), sample(2, 4, 2, seed=4)), attrs, note=note, tolerance=TOLERANCE)
    yield Example((_square(3), sample(2, 3, 1)), {}, note="broadcast", tolerance=TOLERANCE)


def _cholesky_examples() -> Iterator[Example]:
    for x, note in ((_positive(2, 3), "batches"), (_positive(5), "five"), (_positive(1), "one")):
        yield Example((x,), {}, note=note, tolerance=TOLERANCE)


def _qr_examples() -> Iterator[Example]:
    for shape in ((3, 3), (2, 4, 2), (2, 4)):
        for full in (False, True):
            note = f"{shape}{', full' if full else ''}"
            yield Example((sample(*shape),), {"full_matrices": full}, note=note, tolerance=TOLERANCE)


SPECS = (
    OpSpec(
        name="MatrixInverse",
        aliases=("BatchMatrixInverse",),
        attrs={"adjoint": False},
        infer=same_as_input,
        evaluate=_evaluate_inverse,
        expand=_expand_inverse,
        examples=_inverse_examples,
    ),
    OpSpec(
        name="MatrixDeterminant",
        aliases=("BatchMatrixDeterminant",),
        infer=_infer_determinant,
        evaluate=lambda _node, x: np.asarray(np.linalg.det(x)),
        expand=_expand_determinant,
        examples=_determinant_examples,
    ),
    OpSpec(
        name="LogMatrixDeterminant",
        infer=_infer_determinant,
        evaluate=lambda _node, x: tuple(map(np.asarray, np.linalg.slogdet(x))),
        expand=_expand_logarithm,
        examples=_logarithm_examples,
    ),
    OpSpec(
        name="MatrixSolve",
        aliases=("BatchMatrixSolve",),
        attrs={"adjoint": False},
        infer=_infer_solve,
        evaluate=_evaluate_solve,
        expand=_expand_solve,
        examples=_solve_examples,
    ),
    OpSpec(
        name="MatrixTriangularSolve",
        aliases=("BatchMatrixTriangularSolve",),
        attrs={"lower": True, "adjoint": False},
        infer=_infer_solve,
        evaluate=_evaluate_triangular,
        expand=_expand_triangular,
        examples=_triangular_examples,
    ),
    OpSpec(
        name="Cholesky",
        aliases=("BatchCholesky",),
        infer=same_as_input,
        evaluate=_evaluate_cholesky,
        expand=_expand_cholesky,
        examples=_cholesky_examples,
    ),
    OpSpec(
        name="Qr",
        attrs={"full_matrices": False},
        infer=_infer_qr,
        evaluate=_evaluate_qr,
        expand=_expand_qr,
        examples=_qr_examples,
    ),
)
