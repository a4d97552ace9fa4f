"""Arithmetic on elements: one or two operands (broadcast against each other), sums of several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed
from tensorferry.ops.dims import add_dims, divide_dims, merge_shapes, multiply_dims
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.kernels import FLOATS, FLOATS_AND_INT32, NUMBERS, LiteKernel, choose
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import (
    LITE_ACTIVATIONS,
    WIDER,
    WIDER_OR_BITS,
    Declined,
    Example,
    OpSpec,
    ToTfjs,
    ToTflite,
    broadcast_shapes,
    lite_activation,
    same_as_input,
    same_in_tfjs,
)
from tensorferry.targets import JsNode, LiteOp, Temp
from tensorferry.tensor import Array, ArrayTensor, DType

FUSES = {"tflite": frozenset(LITE_ACTIVATIONS)}

# -- inference -----------------------------------------------------------------------------------------------------

FoldDims = Callable[[Dim, Dim], Dim]


def infer_binary(node: Node, fold: FoldDims | None = None) -> list[Typed]:
    """Broadcast shape, and the contents where both are known; `fold` computes one element of them."""
    one, other = node.inputs
    if one.dtype is not other.dtype:
        raise Declined(f"its operands differ in type: {one.dtype} and {other.dtype}")
    content = None
    if fold is not None and one.content is not None and other.content is not None:
        content = _fold_contents(fold, one.content, other.content, one.dtype)
    return [Typed(one.dtype, broadcast_shapes(one.shape, other.shape), content)]


def _fold_contents(fold: FoldDims, one: tuple[Dim, ...], other: tuple[Dim, ...], dtype: DType) -> tuple[Dim, ...] | None:
    size = max(len(one), len(other))
    if {len(one), len(other)} - {1, size} or 0 in (len(one), len(other)):
        return None
    pairs = zip(one * (size // len(one)), other * (size // len(other)), strict=True)
    return tuple(_in_range(fold(a, b), dtype) for a, b in pairs)


def _in_range(dim: Dim, dtype: DType) -> Dim:
    """Contents never wrap around; one that would is unknown."""
    limits = np.iinfo(np.int32 if dtype is DType.INT32 else np.int64)
    return dim if isinstance(dim, str) or limits.min <= dim <= limits.max else UNKNOWN_DIM


def fold_dims(compute: Callable[[int, int], int | None], neutral: int | None = None) -> FoldDims:
    """Numbers are computed; a name stays where the other operand is neutral. `compute` may say None: unknown."""

    def fold(a: Dim, b: Dim) -> Dim:
        if isinstance(a, int) and isinstance(b, int):
            computed = compute(a, b)
            return UNKNOWN_DIM if computed is None else computed
        if neutral is not None and b == neutral:
            return a
        return UNKNOWN_DIM

    return fold


def _fold_sub(a: Dim, b: Dim) -> Dim:
    return 0 if isinstance(a, str) and a == b != UNKNOWN_DIM else fold_dims(lambda x, y: x - y, 0)(a, b)


def _fold_mul(a: Dim, b: Dim) -> Dim:
    """A product of names is a name too, of sizes only: none is negative."""
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    return UNKNOWN_DIM if any(isinstance(each, int) and each < 0 for each in (a, b)) else multiply_dims((a, b))


def _fold_floor_div(a: Dim, b: Dim) -> Dim:
    """Names cancel: `4*n // n` is 4."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b if b else UNKNOWN_DIM
    return a if b == 1 else UNKNOWN_DIM if isinstance(a, int) else divide_dims(a, (b,))


def _fold_equal(compute: Callable[[int, int], int]) -> FoldDims:
    """Maximum and minimum: a name against itself stays."""

    def fold(a: Dim, b: Dim) -> Dim:
        return a if a == b else fold_dims(compute)(a, b)

    return fold


def _fold_truncated(a: int, b: int) -> int | None:
    return None if b == 0 else (abs(a) // abs(b)) * (1 if (a < 0) == (b < 0) else -1)


def _infer_neg(node: Node) -> list[Typed]:
    value = node.inputs[0]
    content = value.content
    negated = None if content is None else tuple(-each if isinstance(each, int) else UNKNOWN_DIM for each in content)
    return [Typed(value.dtype, value.shape, negated)]


def infer_all_equal(node: Node) -> list[Typed]:
    """All inputs have one shape: what one of them knows holds for the output."""
    shape = node.inputs[0].shape
    for value in node.inputs[1:]:
        shape = merge_shapes(shape, value.shape)
    return [Typed(node.inputs[0].dtype, shape)]


# -- evaluation ----------------------------------------------------------------------------------------------------


def _divide(x: Array, y: Array) -> Array:
    if x.dtype.kind not in "iu":
        return np.asarray(x / y)
    magnitude = np.abs(x) // np.abs(y)
    return np.asarray(np.where((x < 0) == (y < 0), magnitude, -magnitude))


def _power(x: Array, y: Array) -> Array:
    if x.dtype.kind in "iu" and np.any(y < 0):
        raise Declined("an integer is raised to a negative power")
    return np.asarray(np.power(x, y))


def _floor_divide(x: Array, y: Array) -> Array:
    # numpy's floor_divide on floats works with the remainder: 1 // 0.1 is 9 there, 10 in TensorFlow
    return np.asarray(np.floor(x / y) if x.dtype.kind == "f" else np.floor_divide(x, y))


def _round(x: Array) -> Array:
    return np.asarray(np.rint(x) if x.dtype.kind == "f" else x)


# -- lowering ------------------------------------------------------------------------------------------------------

ADD = LiteKernel("ADD", NUMBERS | {DType.INT16}, {DType.INT64: 4, DType.INT16: 5}, fused=True)
SUB = LiteKernel("SUB", NUMBERS, {DType.INT64: 4}, wide=3, fused=True)
MUL = LiteKernel("MUL", NUMBERS | {DType.INT16, DType.UINT32}, {DType.INT64: 5, DType.INT16: 7, DType.UINT32: 7}, fused=True)
DIV = LiteKernel("DIV", FLOATS_AND_INT32, wide=2, fused=True)
EXTREMES = NUMBERS | {DType.INT8, DType.UINT8, DType.INT16}
EXTREME_VERSIONS = {DType.INT8: 2, DType.INT16: 4}
MAXIMUM = LiteKernel("MAXIMUM", EXTREMES, EXTREME_VERSIONS, wide=3)
MINIMUM = LiteKernel("MINIMUM", EXTREMES, EXTREME_VERSIONS, wide=3)
SIGN = LiteKernel("SIGN", FLOATS_AND_INT32, {DType.INT32: 2})
ABS = LiteKernel("ABS", FLOATS_AND_INT32, {DType.INT32: 5})


def _lite_square(node: Node) -> list[LiteOp]:
    """SQUARE takes floats only."""
    value = node.inputs[0]
    if value.dtype in FLOATS or not MUL.accepts(value.dtype):
        return LiteKernel("SQUARE", FLOATS)(node)
    version = MUL.versions.get(value.dtype, 1)
    return [LiteOp("MUL", (value, value), tuple(node.outputs), {"fused_activation_function": "NONE"}, version)]


def _lite_abs_by_maximum(node: Node) -> list[LiteOp]:
    """ABS does not take int64, but NEG and MAXIMUM do."""
    value = node.inputs[0]
    if value.dtype is not DType.INT64:
        ABS.check(node)
    negated = Temp("negated", value.dtype, value.shape)
    return [LiteOp("NEG", (value,), (negated,)), LiteOp("MAXIMUM", (value, negated), tuple(node.outputs))]


def _lite_reciprocal(node: Node) -> list[LiteOp]:
    value = node.inputs[0]
    if value.dtype not in FLOATS:
        DIV.check(node)
    one = ArrayTensor(np.ones((), value.dtype.numpy))
    return [LiteOp("DIV", (one, value), tuple(node.outputs), {"fused_activation_function": lite_activation(node)})]


def _lite_add_n(node: Node) -> list[LiteOp]:
    """Two are an ADD; ADD_N takes fewer types than ADD, which then does it step by step."""
    if len(node.inputs) == 2:
        return ADD(node)
    if len(node.inputs) > 2 and node.inputs[0].dtype in FLOATS_AND_INT32:
        return LiteKernel("ADD_N", FLOATS_AND_INT32)(node)
    raise Declined("TensorFlow Lite's ADD_N takes float32 and int32 only", attributes=f"T={node.inputs[0].dtype}")


def _expand_add_n(graph: Graph, node: Node) -> bool:
    expansion = Expansion(graph, node)
    if len(node.inputs) == 1:
        return expansion.finish(expansion.make("Identity", node.inputs[0]))
    return expansion.finish(reduce(lambda total, value: expansion.make("AddV2", total, value), node.inputs))


def _expand_truncated_div(graph: Graph, node: Node) -> bool:
    """Integers, cut towards zero: the magnitudes are divided, and the signs multiplied."""
    x, y = node.inputs
    if not x.dtype.is_integer:
        return False
    expansion = Expansion(graph, node)
    magnitude = expansion.make("FloorDiv", expansion.make("Abs", x), expansion.make("Abs", y))
    sign = expansion.make("Mul", expansion.make("Sign", x), expansion.make("Sign", y))
    return expansion.finish(expansion.make("Mul", magnitude, sign))


def _js_floor_div(node: Node) -> list[JsNode]:
    """TensorFlow.js's FloorDiv makes int32 of everything."""
    if not node.inputs[0].dtype.is_float:
        return same_in_tfjs(node)
    value = node.output
    quotient = Temp("quotient", value.dtype, value.shape)
    dtype = {"T": value.dtype}
    return [
        JsNode("RealDiv", tuple(node.inputs), (quotient,), dtype),
        JsNode("Floor", (quotient,), (value,), dtype),
    ]


def _js_float_only(node: Node) -> list[JsNode]:
    """TensorFlow.js divides int32 with a floor, and rounds, or takes roots of, floats only."""
    if not node.inputs[0].dtype.is_float:
        raise Declined(f"TensorFlow.js does not compute it in {node.inputs[0].dtype} as TensorFlow does")
    return same_in_tfjs(node)


# -- the tables ----------------------------------------------------------------------------------------------------

Examples = Callable[[], Iterator[Example]]


def _pair_examples(*dtypes: type[np.generic], positive: bool = False, fused: bool = False) -> Examples:
    """Equal shapes, a row against a matrix, five dimensions, a constant scalar, a fused activation; integers of each type."""

    def build() -> Iterator[Example]:
        x, y = sample(2, 3) * 3, sample(2, 3, seed=1) + 1
        if positive:
            x, y = np.abs(x) + np.float32(0.5), np.abs(y) + np.float32(0.5)
        yield Example((x, y))
        yield Example((x, y[0]), constants=(1,), note="row")
        yield Example((x.reshape(2, 1, 1, 3), y.reshape(1, 3, 2, 1)), note="both stretch")
        yield Example((x.reshape(1, 2, 1, 1, 3), y.reshape(3, 1, 1, 2, 1)), note="five dims")
        yield Example((np.array(1.5, np.float32), y), constants=(0,), note="scalar")
        if fused:
            yield Example((x * 4, y), {"activation": "Relu6"}, note="Relu6")
            yield Example(
                (np.array([[-9, 3, 9]], np.int32), np.array([[2], [-3]], np.int32)), {"activation": "Relu"}, note="int Relu"
            )
        for dtype in dtypes:
            signed = np.issubdtype(dtype, np.signedinteger) and not positive
            ints = np.array([[7, -7 if signed else 9, 6]]).astype(dtype)
            yield Example((ints, np.array([[2], [3]]).astype(dtype)), note=dtype.__name__)

    return build


def _binary(
    name: str,
    compute: Callable[..., Array],
    lower: ToTflite | None,
    examples: Examples,
    *,
    fold: FoldDims | None = None,
    to_tfjs: ToTfjs = same_in_tfjs,
    **more: Any,
) -> OpSpec:
    if isinstance(lower, LiteKernel) and lower.fused:
        more["fuses"] = FUSES
    return OpSpec(
        name=name,
        elementwise=True,
        infer=lambda node: infer_binary(node, fold),
        evaluate=lambda _node, x, y: compute(x, y),
        to_tflite=lower,
        to_tfjs=to_tfjs,
        examples=examples,
        **more,
    )


INTS = (np.int32, np.int64)

BINARY = (
    _binary(
        "AddV2",
        np.add,
        ADD,
        _pair_examples(*INTS, fused=True),
        fold=add_dims,
        aliases=("Add",),
        widens=WIDER_OR_BITS,
        wraps=True,
    ),
    _binary("Sub", np.subtract, SUB, _pair_examples(*INTS, fused=True), fold=_fold_sub, widens=WIDER_OR_BITS, wraps=True),
    _binary("Mul", np.multiply, MUL, _pair_examples(*INTS, fused=True), fold=_fold_mul, widens=WIDER_OR_BITS, wraps=True),
    _binary("RealDiv", np.divide, DIV, _pair_examples(), to_tfjs=_js_float_only),
    _binary(
        "Div",
        _divide,
        DIV,
        _pair_examples(np.int32),
        fold=fold_dims(_fold_truncated, 1),
        to_tfjs=_js_float_only,
        aliases=("TruncateDiv",),
        expand=_expand_truncated_div,
    ),
    _binary("Maximum", np.maximum, MAXIMUM, _pair_examples(*INTS), fold=_fold_equal(max), widens=WIDER),
    _binary("Minimum", np.minimum, MINIMUM, _pair_examples(*INTS), fold=_fold_equal(min), widens=WIDER),
    _binary("Pow", _power, LiteKernel("POW", FLOATS_AND_INT32), _pair_examples(np.int32, positive=True)),
    _binary(
        "SquaredDifference",
        lambda x, y: np.square(x - y),
        LiteKernel("SQUARED_DIFFERENCE", FLOATS_AND_INT32),
        _pair_examples(np.int32),
    ),
    _binary(
        "FloorDiv",
        _floor_divide,
        LiteKernel("FLOOR_DIV", FLOATS_AND_INT32 | {DType.INT8, DType.INT16}, {DType.FLOAT32: 2, DType.INT8: 3, DType.INT16: 3}),
        _pair_examples(np.int32),
        fold=_fold_floor_div,
        to_tfjs=_js_floor_div,
    ),
    _binary(
        "FloorMod",
        np.mod,
        LiteKernel("FLOOR_MOD", NUMBERS | {DType.INT8, DType.INT16}, {DType.INT8: 2, DType.INT16: 2}),
        _pair_examples(*INTS),
        fold=fold_dims(lambda a, b: a % b if b else None),
    ),
)


def _single_examples(*dtypes: type[np.generic], positive: bool = False) -> Examples:
    """Both signs, six dimensions, none; integers of each type."""

    def build() -> Iterator[Example]:
        x = sample(2, 5) * 3
        yield Example((np.abs(x) + np.float32(0.1) if positive else x,))
        yield Example((np.abs(sample(1, 2, 1, 3, 1, 2)) if positive else sample(1, 2, 1, 3, 1, 2),), note="six dims")
        yield Example((np.array(0.75, np.float32),), note="scalar")
        for dtype in dtypes:
            yield Example((np.array([[-3, 4], [0, 7]]).astype(dtype),), note=dtype.__name__)

    return build


def _unary(
    name: str,
    compute: Callable[..., Array],
    lower: ToTflite,
    examples: Examples | None = None,
    *,
    to_tfjs: ToTfjs = _js_float_only,
    **more: Any,
) -> OpSpec:
    return OpSpec(
        name=name,
        elementwise=True,
        evaluate=lambda _node, x: compute(x),
        to_tflite=lower,
        to_tfjs=to_tfjs,
        examples=examples or _single_examples(),
        **{"infer": same_as_input, **more},
    )


def _round_examples() -> Iterator[Example]:
    yield from _single_examples()()
    yield Example((np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.49999997, 8388609.0], np.float32),), note="halves")


UNARY = (
    _unary(
        "Neg",
        np.negative,
        LiteKernel("NEG", NUMBERS | {DType.INT8, DType.INT16}),
        _single_examples(*INTS),
        to_tfjs=same_in_tfjs,
        infer=_infer_neg,
    ),
    _unary("Abs", np.abs, choose(ABS, _lite_abs_by_maximum), _single_examples(*INTS), to_tfjs=same_in_tfjs),
    _unary("Exp", np.exp, LiteKernel("EXP", FLOATS)),
    _unary("Log", np.log, LiteKernel("LOG", FLOATS), _single_examples(positive=True)),
    _unary("Sqrt", np.sqrt, LiteKernel("SQRT", FLOATS), _single_examples(positive=True)),
    _unary("Rsqrt", lambda x: np.reciprocal(np.sqrt(x)), LiteKernel("RSQRT", FLOATS), _single_examples(positive=True)),
    _unary("Square", np.square, _lite_square, _single_examples(*INTS), to_tfjs=same_in_tfjs),
    _unary("Floor", np.floor, LiteKernel("FLOOR", FLOATS)),
    _unary("Ceil", np.ceil, LiteKernel("CEIL", FLOATS)),
    _unary("Round", _round, LiteKernel("ROUND", FLOATS), _round_examples),
    _unary("Sin", np.sin, LiteKernel("SIN", FLOATS)),
    _unary("Cos", np.cos, LiteKernel("COS", FLOATS)),
    _unary(
        "Sign", np.sign, LiteKernel("SIGN", FLOATS_AND_INT32, {DType.INT32: 2}), _single_examples(np.int32), to_tfjs=same_in_tfjs
    ),
    _unary("Reciprocal", np.reciprocal, _lite_reciprocal, _single_examples(positive=True), aliases=("Inv",)),
)


def _add_n(_node: Node, *arrays: Array) -> Array:
    return reduce(np.add, arrays)


def _add_n_examples() -> Iterator[Example]:
    x = [sample(2, 3, seed=seed) for seed in range(4)]
    yield Example(tuple(x[:2]), note="two")
    yield Example(tuple(x))
    yield Example(tuple(x[:1]), note="one")
    for dtype in INTS:
        yield Example(tuple((each * 9).astype(dtype) for each in x), note=dtype.__name__)


ADD_N = OpSpec(
    name="AddN",
    infer=infer_all_equal,
    evaluate=_add_n,
    to_tflite=_lite_add_n,
    to_tfjs=same_in_tfjs,
    expand=_expand_add_n,
    examples=_add_n_examples,
)

SPECS: Sequence[OpSpec] = (*BINARY, *UNARY, ADD_N)
