"""Diagonals of matrices: MatrixDiag, MatrixDiagPart and MatrixSetDiag of all versions, Diag, DiagPart, MatrixBandPart.

Where each element lies follows from the sizes alone, so that all of it is picking elements by constant places, and a choice
between what was picked and a padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.dims import known_integers, multiply_dims
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.kernels import FLOATS_AND_INT32, NUMBERS, LiteKernel
from tensorferry.ops.samples import sample
from tensorferry.ops.sizes import Sizes, count_up, reshape, scalar, vector
from tensorferry.ops.spec import Declined, Example, OpSpec, same_as_input
from tensorferry.tensor import Array, DType

Band = tuple[int, int]
"""The lowest and the highest diagonal."""


def _length(rows: int, columns: int, offset: int) -> int:
    return max(0, min(rows + min(offset, 0), columns - max(offset, 0)))


def places_of_diagonals(rows: int, columns: int, band: Band, align: str) -> Array:
    """[diagonals, longest]: the place, row-major, of each element in the matrix; -1 for padding. The highest comes first."""
    low, high = band
    longest = max((_length(rows, columns, offset) for offset in range(low, high + 1)), default=0)
    places = np.full((high - low + 1, longest), -1, np.int32)
    above, below = align.split("_")
    for offset in range(low, high + 1):
        count = _length(rows, columns, offset)
        left = (offset >= 0 and above == "LEFT") or (offset <= 0 and below == "LEFT")
        start = 0 if left else longest - count
        steps = np.arange(count)
        places[high - offset, start : start + count] = (steps - min(offset, 0)) * columns + steps + max(offset, 0)
    return places


def places_in_diagonals(rows: int, columns: int, band: Band, align: str) -> Array:
    """[rows, columns]: the place of each element of the matrix among those of its diagonals; -1 outside of the band."""
    places = places_of_diagonals(rows, columns, band, align).reshape(-1)
    matrix = np.full(rows * columns, -1, np.int32)
    matrix[places[places >= 0]] = np.flatnonzero(places >= 0)
    return matrix.reshape(rows, columns)


def _band(node: Node, at: int) -> Band:
    if node.op in _PLAIN:
        return 0, 0
    known = known_integers(node.inputs[at])
    if not known:
        raise Declined("which diagonals is computed while the model runs", remedy="make k a constant in the source model")
    if known[0] > known[-1]:
        raise Declined(f"the lowest diagonal {known[0]} lies above the highest {known[-1]}")
    return known[0], known[-1]


_PLAIN = frozenset({"MatrixDiag", "MatrixDiagPart", "MatrixSetDiag"})


def _align(node: Node) -> str:
    return str(node.get("align", "LEFT_LEFT"))


def _dims(value: Value) -> tuple[Dim, ...]:
    if value.shape is None:
        raise Declined("the rank of its input is not known")
    return value.shape


def _matrix(node: Node) -> tuple[int, int]:
    """Rows and columns of the matrices; of MatrixDiag by what the diagonals need at least, where they are not given."""
    if not node.op.startswith("MatrixDiag") or node.op.startswith("MatrixDiagPart"):
        rows, columns = _dims(node.inputs[0])[-2:]
    else:
        rows, columns = _made_sides(node)
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise Declined("the size of its matrices is not known", remedy="fix it with --shape")
    return rows, columns


def _made_sides(node: Node) -> tuple[Dim, Dim]:
    longest = _dims(node.inputs[0])[-1]
    if node.op in _PLAIN:
        return longest, longest
    low, high = _band(node, 1)
    given = [(known_integers(value) or (None,))[0] for value in node.inputs[2:4]]
    if (low, high) == (0, 0) and given == [-1, -1]:
        return longest, longest
    if None in given or not isinstance(longest, int):
        return UNKNOWN_DIM, UNKNOWN_DIM
    least = (longest - min(high, 0), longest + max(low, 0))
    if given == [-1, -1]:
        return max(least), max(least)
    return tuple(need if want == -1 else want for need, want in zip(least, given, strict=True))  # type: ignore[return-value]


# -- inference -----------------------------------------------------------------------------------------------------


def _infer_diag(node: Node) -> list[Typed]:
    value = node.inputs[0]
    if value.shape is None:
        return [Typed(value.dtype, None)]
    try:
        low, high = _band(node, 1)
    except Declined:
        return [Typed(value.dtype, None)]
    outer = value.shape[: -1 if low == high else -2]
    return [Typed(value.dtype, (*outer, *_made_sides(node)))]


def _infer_part(node: Node) -> list[Typed]:
    value = node.inputs[0]
    if value.shape is None:
        return [Typed(value.dtype, None)]
    if len(value.shape) < 2:
        raise Declined(f"its input has rank {len(value.shape)}; a matrix has 2")
    rows, columns = value.shape[-2:]
    try:
        low, high = _band(node, 1)
    except Declined:
        return [Typed(value.dtype, None)]
    longest: Dim = UNKNOWN_DIM
    if isinstance(rows, int) and isinstance(columns, int):
        longest = max(_length(rows, columns, offset) for offset in range(low, high + 1))
    elif rows == columns and low <= 0 <= high:
        longest = rows
    outer = value.shape[:-2] if low == high else (*value.shape[:-2], high - low + 1)
    return [Typed(value.dtype, (*outer, longest))]


# -- evaluation ----------------------------------------------------------------------------------------------------


def _picked(flat: Array, places: Array, padding: Array) -> Array:
    """flat[..., places], and the padding where a place is -1."""
    if flat.shape[-1] == 0:
        return np.broadcast_to(padding, (*flat.shape[:-1], *places.shape)).astype(flat.dtype)
    return np.where(places >= 0, flat[..., np.maximum(places, 0)], padding).astype(flat.dtype)


def _flat(x: Array, axes: int) -> Array:
    return x.reshape(*x.shape[: x.ndim - axes], int(np.prod(x.shape[x.ndim - axes :])))


def _bounds(k: Array) -> Band:
    flat = np.asarray(k).reshape(-1)
    return int(flat[0]), int(flat[-1])


def _evaluate_diag(node: Node, x: Array, *rest: Array) -> Array:
    band = _bounds(rest[0]) if rest else (0, 0)
    probe = np.asarray(rest[3]) if rest else np.zeros((), x.dtype)
    longest = x.shape[-1]
    given = [int(each) for each in rest[1:3]] if rest else [-1, -1]
    least = (longest - min(band[1], 0), longest + max(band[0], 0))
    rows, columns = (max(least),) * 2 if given == [-1, -1] else [a if b == -1 else b for a, b in zip(least, given, strict=True)]
    places = places_in_diagonals(rows, columns, band, _align(node))
    return _picked(_flat(x, 1 if band[0] == band[1] else 2), places, probe)


def _evaluate_part(node: Node, x: Array, *rest: Array) -> Array:
    band = _bounds(rest[0]) if rest else (0, 0)
    places = places_of_diagonals(x.shape[-2], x.shape[-1], band, _align(node))
    padding = rest[1] if rest else np.zeros((), x.dtype)
    return _picked(_flat(x, 2), places[0] if band[0] == band[1] else places, padding)


def _evaluate_set(node: Node, x: Array, diagonal: Array, k: Array | None = None) -> Array:
    band = (0, 0) if k is None else _bounds(k)
    places = places_in_diagonals(x.shape[-2], x.shape[-1], band, _align(node))
    return _picked(_flat(diagonal, 1 if band[0] == band[1] else 2), places, x)


def _evaluate_band(_node: Node, x: Array, lower: Array, upper: Array) -> Array:
    distance = np.arange(x.shape[-2])[:, None] - np.arange(x.shape[-1])
    kept = ((lower < 0) | (distance <= lower)) & ((upper < 0) | (-distance <= upper))
    return np.where(kept, x, np.zeros((), x.dtype)).astype(x.dtype)


# -- expansions ----------------------------------------------------------------------------------------------------


def _pick(expansion: Expansion, value: Value, axes: int, places: Array, padding: Value | None) -> Value:
    """As `_picked`; `axes` at the end of the value are one axis first."""
    shape = _dims(value)
    rank = len(shape)
    inner = multiply_dims(shape[rank - axes :])
    outer = Sizes(expansion, value).all()[: rank - axes] if axes > 1 else []
    if axes > 1 and isinstance(inner, str):
        raise Declined("the size of its diagonals is not known", remedy="fix it with --shape")
    flat = reshape(expansion, value, [*outer, int(inner)]) if axes > 1 else value
    picked = expansion.make("GatherV2", flat, np.maximum(places, 0).astype(np.int32), np.array(rank - axes, np.int32))
    if padding is None or (places >= 0).all():
        return picked
    return expansion.make("SelectV2", expansion.constant(places >= 0, "inside"), picked, padding)


def _zero(expansion: Expansion, value: Value) -> Value:
    return expansion.constant(np.zeros((), value.dtype.numpy), "zero")


def _is_zero(value: Value) -> bool:
    return value.constant is not None and value.constant.size == 1 and not value.constant.array().any()


def _expand_diag(graph: Graph, node: Node) -> bool:
    expansion = Expansion(graph, node)
    value = node.inputs[0]
    low, high = _band(node, 1)
    if node.op not in _PLAIN and low == high == 0 and node.output.shape is not None and _is_zero(node.inputs[4]):
        rows, columns = node.output.shape[-2:]
        if rows == columns == _dims(value)[-1]:
            return expansion.finish(expansion.make("MatrixDiag", value))
    padding = _zero(expansion, value) if node.op in _PLAIN else node.inputs[4]
    if node.op in _PLAIN and not isinstance(_dims(value)[-1], int):
        return _diag_by_mask(expansion, value)
    places = places_in_diagonals(*_matrix(node), (low, high), _align(node))
    if not places.size or not (places >= 0).any():
        return False
    return expansion.finish(_pick(expansion, value, 1 if low == high else 2, places, padding))


def _main_diagonal(expansion: Expansion, matrix: Value) -> Value:
    """[rows, columns], true on the diagonal, whatever the sizes."""
    sizes = Sizes(expansion, matrix)
    rank = len(_dims(matrix))
    down, across = (count_up(expansion, sizes[rank - 2 + place]) for place in range(2))
    return expansion.make("Equal", expansion.make("ExpandDims", down, np.array(1, np.int32)), across)


def _diag_by_mask(expansion: Expansion, value: Value) -> bool:
    places = count_up(expansion, Sizes(expansion, value)[len(_dims(value)) - 1])
    mask = expansion.make("Equal", expansion.make("ExpandDims", places, np.array(1, np.int32)), places)
    row = expansion.make("ExpandDims", value, np.array(-2, np.int32))
    return expansion.finish(expansion.make("SelectV2", mask, row, _zero(expansion, value)))


def _expand_part(graph: Graph, node: Node) -> bool:
    expansion = Expansion(graph, node)
    value = node.inputs[0]
    low, high = _band(node, 1)
    rows, columns = _dims(value)[-2:]
    if (low, high) == (0, 0) and not (isinstance(rows, int) and isinstance(columns, int)) and value.dtype in FLOATS_AND_INT32:
        return _part_by_mask(expansion, value)
    places = places_of_diagonals(*_matrix(node), (low, high), _align(node))
    places = places[0] if low == high else places
    if not places.size or not (places >= 0).any():
        return False
    padding = None if node.op in _PLAIN else node.inputs[2]
    return expansion.finish(_pick(expansion, value, 2, places, padding))


def _part_by_mask(expansion: Expansion, value: Value) -> bool:
    """Each row's only element on the diagonal, as a sum with zeros; rows below a wide matrix's end have none."""
    kept = expansion.make("SelectV2", _main_diagonal(expansion, value), value, _zero(expansion, value))
    made = expansion.make("Sum", kept, np.array([-1], np.int32), keep_dims=False)
    rank = len(_dims(value))
    if _dims(value)[-1] == _dims(value)[-2]:
        return expansion.finish(made)
    sizes = Sizes(expansion, value)
    least = expansion.make("Minimum", scalar(expansion, sizes[rank - 2]), scalar(expansion, sizes[rank - 1]))
    free = (1 << (rank - 2)) - 1
    zeros, ones = np.zeros(rank - 1, np.int32), np.ones(rank - 1, np.int32)
    ends = vector(expansion, [*[0] * (rank - 2), least])
    return expansion.finish(expansion.make("StridedSlice", made, zeros, ends, ones, begin_mask=free, end_mask=free))


def _expand_set(graph: Graph, node: Node) -> bool:
    expansion = Expansion(graph, node)
    value, diagonal = node.inputs[:2]
    low, high = _band(node, 2)
    rows, columns = _dims(value)[-2:]
    if node.op in _PLAIN and not (isinstance(rows, int) and isinstance(columns, int)):
        if rows != columns:
            raise Declined("the size of its matrices is not known", remedy="fix it with --shape")
        row = expansion.make("ExpandDims", diagonal, np.array(-2, np.int32))
        return expansion.finish(expansion.make("SelectV2", _main_diagonal(expansion, value), row, value))
    places = places_in_diagonals(*_matrix(node), (low, high), _align(node))
    if not places.size or not (places >= 0).any():
        return False
    return expansion.finish(_pick(expansion, diagonal, 1 if low == high else 2, places, value))


def _expand_band(graph: Graph, node: Node) -> bool:
    """Rows less columns tell how far below the diagonal an element lies; bounds may be computed, sizes unknown."""
    expansion = Expansion(graph, node)
    value, lower, upper = node.inputs
    shape = _dims(value)
    static = all(isinstance(size, int) for size in shape[-2:])
    bounds = [known_integers(bound) for bound in (lower, upper)]
    if static and all(bounds):
        rows, columns = (int(size) for size in shape[-2:])
        ones = np.ones((rows, columns), np.int32)
        low, high = (np.array(bound[0]) for bound in bounds if bound)
        kept: Value | None = expansion.constant(_evaluate_band(node, ones, low, high) > 0, "band")
    else:
        kept = _computed_band(expansion, value, (lower, upper), bounds)
    if kept is None:
        return expansion.finish(expansion.make("Identity", value))
    return expansion.finish(expansion.make("SelectV2", kept, value, _zero(expansion, value)))


def _computed_band(
    expansion: Expansion, value: Value, limits: tuple[Value, Value], bounds: Sequence[tuple[int, ...] | None]
) -> Value | None:
    sizes = Sizes(expansion, value)
    rank = len(_dims(value))
    down = expansion.make("ExpandDims", count_up(expansion, sizes[rank - 2]), np.array(1, np.int32))
    across = count_up(expansion, sizes[rank - 1])
    kept: Value | None = None
    for limit, known, pair in ((limits[0], bounds[0], (down, across)), (limits[1], bounds[1], (across, down))):
        if known and known[0] < 0:
            continue
        narrow = limit if limit.dtype is DType.INT32 else expansion.make("Cast", limit, DstT=DType.INT32)
        inside = expansion.make("LessEqual", expansion.make("Sub", *pair), narrow)
        if not known:
            inside = expansion.make("LogicalOr", inside, expansion.make("Less", narrow, np.array(0, np.int32)))
        kept = inside if kept is None else expansion.make("LogicalAnd", kept, inside)
    return kept


# -- diagonals of tensors ------------------------------------------------------------------------------------------


def _infer_tensor(node: Node) -> list[Typed]:
    value = node.inputs[0]
    if value.shape is None:
        return [Typed(value.dtype, None)]
    if node.op == "Diag":
        return [Typed(value.dtype, value.shape * 2)]
    if len(value.shape) % 2:
        raise Declined(f"its input has rank {len(value.shape)}, which is odd")
    return [Typed(value.dtype, value.shape[: len(value.shape) // 2])]


def _evaluate_tensor(node: Node, x: Array) -> Array:
    if node.op == "Diag":
        return np.diag(x.reshape(-1)).reshape(x.shape * 2)
    half = x.shape[: x.ndim // 2]
    count = int(np.prod(half))
    return np.diagonal(x.reshape(count, count)).reshape(half)


def _expand_tensor(graph: Graph, node: Node) -> bool:
    expansion = Expansion(graph, node)
    value, static = node.inputs[0], node.inputs[0].static_shape
    if static is None:
        raise Declined("the size of its input is not known", remedy="fix it with --shape")
    if 0 in static:
        return False
    count = int(np.prod(static if node.op == "Diag" else static[: len(static) // 2]))
    flat = reshape(expansion, value, [count] if node.op == "Diag" else [count, count])
    made = expansion.make("MatrixDiag" if node.op == "Diag" else "MatrixDiagPart", flat)
    output = node.output.static_shape
    assert output is not None
    return expansion.finish(reshape(expansion, made, output))


# -- examples ------------------------------------------------------------------------------------------------------


def _number(value: float, dtype: type = np.int32) -> Array:
    return np.array(value, dtype)


def _plain_diag_examples() -> Iterator[Example]:
    yield Example((sample(3),), note="vector")
    yield Example((sample(2, 2, 3),), note="batches")
    yield Example((np.array([[1, 0], [5, 7]], np.int64),), note="int64")
    yield Example((np.array([[True, False]]),), note="bool")


ALIGNMENTS = ("RIGHT_LEFT", "LEFT_RIGHT", "LEFT_LEFT", "RIGHT_RIGHT")


def _diag_examples(aligned: bool) -> Callable[[], Iterator[Example]]:
    def examples() -> Iterator[Example]:
        fixed = (1, 2, 3, 4)
        for k, rows, columns in ((0, -1, -1), (1, -1, -1), (-2, -1, -1), (1, 2, 4), (-1, -1, 2)):
            inputs = (sample(2, 2), _number(k), _number(rows), _number(columns), _number(0, np.float32))
            yield Example(inputs, {}, fixed, note=f"k {k}, {rows} by {columns}")
        for align in ALIGNMENTS if aligned else ("",):
            inputs = (sample(2, 4, 3), np.array([-2, 1], np.int32), _number(-1), _number(3), _number(9, np.float32))
            yield Example(inputs, {"align": align} if align else {}, fixed, note=f"band {align}")
        inputs = (np.arange(6, dtype=np.int32).reshape(2, 3), _number(0), _number(-1), _number(-1), _number(7))
        yield Example(inputs, {"T": DType.INT32}, fixed, note="int32, padded")

    return examples


def _plain_part_examples() -> Iterator[Example]:
    yield Example((sample(3, 3),), note="square")
    yield Example((sample(2, 2, 4),), note="wide batches")
    yield Example((sample(4, 2),), note="high")
    yield Example((np.arange(4, dtype=np.uint8).reshape(2, 2),), {"T": DType.UINT8}, note="uint8")


def _part_examples(aligned: bool) -> Callable[[], Iterator[Example]]:
    def examples() -> Iterator[Example]:
        for k in (0, 1, -2, 3):
            yield Example((sample(2, 3, 4), _number(k), _number(0, np.float32)), {}, (1, 2), note=f"k {k}")
        for align in ALIGNMENTS if aligned else ("",):
            inputs = (sample(2, 3, 4), np.array([-2, 1], np.int32), _number(9, np.float32))
            yield Example(inputs, {"align": align} if align else {}, (1, 2), note=f"band {align}")
        yield Example((sample(3, 3), np.array([-1, 0], np.int32), _number(5, np.float32)), {}, (1,), note="padding computed")

    return examples


def _plain_set_examples() -> Iterator[Example]:
    yield Example((sample(2, 3, 4), sample(2, 3, seed=1)), note="wide")
    yield Example((sample(3, 3), sample(3, seed=1)), note="square")
    yield Example((np.zeros((3, 3), bool), np.ones(3, bool)), {"T": DType.BOOL}, note="bool")


def _set_examples(aligned: bool) -> Callable[[], Iterator[Example]]:
    def examples() -> Iterator[Example]:
        yield Example((sample(2, 3, 4), sample(2, 3, seed=1), _number(1)), {}, (2,), note="k 1")
        yield Example((sample(2, 3, 4), sample(2, 1, seed=1), _number(-2)), {}, (2,), note="k -2")
        for align in ALIGNMENTS if aligned else ("",):
            inputs = (sample(2, 3, 4), sample(2, 4, 3, seed=1), np.array([-2, 1], np.int32))
            yield Example(inputs, {"align": align} if align else {}, (2,), note=f"band {align}")

    return examples


def _tensor_diag_examples() -> Iterator[Example]:
    yield Example((sample(3),), note="vector")
    yield Example((np.arange(6, dtype=np.int32).reshape(2, 3),), {"T": DType.INT32}, note="matrix")


def _tensor_part_examples() -> Iterator[Example]:
    yield Example((sample(3, 3),), note="matrix")
    yield Example((sample(2, 3, 2, 3),), note="rank 4")


def _band_examples() -> Iterator[Example]:
    for lower, upper in ((1, 0), (-1, 0), (0, -1), (0, 0), (-1, -1), (2, 1)):
        inputs = (sample(2, 3, 4), _number(lower, np.int64), _number(upper, np.int64))
        yield Example(inputs, {}, (1, 2), note=f"{lower}, {upper}")
    yield Example((sample(4, 3), _number(1, np.int64), _number(-1, np.int64)), note="bounds computed")
    yield Example((np.ones((3, 3), np.int32), _number(0), _number(-1)), {"T": DType.INT32}, (1, 2), note="int32")
    yield Example((np.ones((2, 2, 2), bool), _number(0), _number(0)), {"T": DType.BOOL}, (1, 2), note="bool")
    infinite = np.array([[1, np.inf], [np.nan, 2]], np.float32)
    yield Example((infinite, _number(0), _number(0)), {}, (1, 2), note="outside is 0 even of infinity")


_LITE_DIAG = LiteKernel("MATRIX_DIAG", NUMBERS)
_LITE_SET = LiteKernel("MATRIX_SET_DIAG", NUMBERS)


def _versions() -> Iterator[OpSpec]:
    for suffix in ("V2", "V3"):
        attrs = {"T": DType.FLOAT32, **({"align": "RIGHT_LEFT"} if suffix == "V3" else {})}
        aligned = suffix == "V3"
        yield OpSpec(
            name=f"MatrixDiag{suffix}",
            attrs=attrs,
            infer=_infer_diag,
            evaluate=_evaluate_diag,
            expand=_expand_diag,
            examples=_diag_examples(aligned),
        )
        yield OpSpec(
            name=f"MatrixDiagPart{suffix}",
            attrs=attrs,
            infer=_infer_part,
            evaluate=_evaluate_part,
            expand=_expand_part,
            examples=_part_examples(aligned),
        )
        yield OpSpec(
            name=f"MatrixSetDiag{suffix}",
            attrs=attrs,
            infer=same_as_input,
            evaluate=_evaluate_set,
            expand=_expand_set,
            examples=_set_examples(aligned),
        )


SPECS = (
    *_versions(),
    OpSpec(
        name="MatrixDiag",
        aliases=("BatchMatrixDiag",),
        attrs={"T": DType.FLOAT32},
        infer=_infer_diag,
        evaluate=_evaluate_diag,
        to_tflite=_LITE_DIAG,
        expand=_expand_diag,
        examples=_plain_diag_examples,
    ),
    OpSpec(
        name="MatrixDiagPart",
        aliases=("BatchMatrixDiagPart",),
        attrs={"T": DType.FLOAT32},
        infer=_infer_part,
        evaluate=_evaluate_part,
        expand=_expand_part,
        examples=_plain_part_examples,
    ),
    OpSpec(
        name="MatrixSetDiag",
        aliases=("BatchMatrixSetDiag",),
        attrs={"T": DType.FLOAT32},
        infer=same_as_input,
        evaluate=_evaluate_set,
        to_tflite=_LITE_SET,
        expand=_expand_set,
        examples=_plain_set_examples,
    ),
    OpSpec(
        name="MatrixBandPart",
        aliases=("BatchMatrixBandPart",),
        attrs={"T": DType.FLOAT32, "Tindex": DType.INT64},
        infer=same_as_input,
        evaluate=_evaluate_band,
        expand=_expand_band,
        examples=_band_examples,
    ),
    OpSpec(
        name="Diag",
        attrs={"T": DType.FLOAT32},
        infer=_infer_tensor,
        evaluate=_evaluate_tensor,
        expand=_expand_tensor,
        examples=_tensor_diag_examples,
    ),
    OpSpec(
        name="DiagPart",
        attrs={"T": DType.FLOAT32},
        infer=_infer_tensor,
        evaluate=_evaluate_tensor,
        expand=_expand_tensor,
        examples=_tensor_part_examples,
    ),
)
