"""Arithmetic on elements: one or two operands (broadcast against each other), sums of several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.dims import add_dims, divide_dims, merge_shapes, multiply_dims
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.kernels import FLOATS, FLOATS_AND_INT32, NUMBERS, LiteKernel, check_rank, choose
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import (
    LITE_ACTIVATIONS,
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


def fold_floor_div(a: Dim, b: Dim) -> Dim:
    """Names cancel: `4*n // n` is 4."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b if b else UNKNOWN_DIM
    return a if b == 1 else UNKNOWN_DIM if isinstance(a, int) else divide_dims(a, (b,))


def fold_truncated(a: int, b: int) -> int | None:
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


def _lite_abs_by_maximum(node: Node) -> list[LiteOp]:
    """ABS does not take int64, and takes int8 and int16 quantised only, but NEG and MAXIMUM do."""
    value = node.inputs[0]
    if value.dtype not in (DType.INT8, DType.INT16, DType.INT64):
        ABS.check(node)
    negated = Temp("negated", value.dtype, value.shape)
    version = MAXIMUM.versions.get(value.dtype, 1)
    return [LiteOp("NEG", (value,), (negated,)), LiteOp("MAXIMUM", (value, negated), tuple(node.outputs), {}, version)]


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


def _js_abs(node: Node) -> list[JsNode]:
    """The kernel in plain JavaScript keeps but 24 bits of an integer, and so does Maximum in WebAssembly."""
    value = node.inputs[0]
    if value.dtype is not DType.INT32:
        return same_in_tfjs(node)
    zero, attrs = ArrayTensor(np.array(0, np.int32)), {"T": DType.INT32}
    below, negated = Temp("below", DType.BOOL, value.shape), Temp("negated", DType.INT32, value.shape)
    return [
        JsNode("Less", (value, zero), (below,), attrs),
        JsNode("Sub", (zero, value), (negated,), attrs),
        JsNode("SelectV2", (below, negated, value), tuple(node.outputs), attrs),
    ]


def _js_negative(node: Node) -> list[JsNode]:
    """WebAssembly turns the sign of integers as if they were floats, but subtracts them as what they are."""
    value = node.inputs[0]
    if value.dtype is not DType.INT32:
        return same_in_tfjs(node)
    return [JsNode("Sub", (ArrayTensor(np.array(0, np.int32)), value), tuple(node.outputs), {"T": DType.INT32})]


def _js_square(node: Node) -> list[JsNode]:
    """The kernel in plain JavaScript keeps but 24 bits of an integer; its product keeps all."""
    value = node.inputs[0]
    if value.dtype is not DType.INT32:
        return same_in_tfjs(node)
    return [JsNode("Mul", (value, value), tuple(node.outputs), {"T": DType.INT32})]


def _js_sign(node: Node) -> list[JsNode]:
    """WebAssembly makes 0 of all that is smaller than a millionth, and both kernels make it of NaN."""
    value = node.inputs[0]
    if not value.dtype.is_float:
        return same_in_tfjs(node)
    zero, one, less = (ArrayTensor(np.array(number, value.dtype.numpy)) for number in (0, 1, -1))
    above, below = (Temp(label, DType.BOOL, value.shape) for label in ("above", "below"))
    half = Temp("half", value.dtype, value.shape)
    attrs = {"T": value.dtype}
    return [
        JsNode("Greater", (value, zero), (above,), attrs),
        JsNode("Less", (value, zero), (below,), attrs),
        JsNode("SelectV2", (above, one, value), (half,), attrs),
        JsNode("SelectV2", (below, less, half), tuple(node.outputs), attrs),
    ]


POW_DIMS = 4
LARGEST_READ = 4096


def _lite_rsqrt(node: Node) -> list[LiteOp]:
    """XNNPACK's makes NaN of 0 and not infinity, for which models look. So where no epsilon keeps 0 away a root is inverted,
    by POW, as LiteRT's DIV ends at the largest number."""
    value = node.inputs[0]
    kernel = LiteKernel("RSQRT", FLOATS)
    if not kernel.accepts(value.dtype) or _above_zero(value):
        return kernel(node)
    check_rank(value, POW_DIMS, "POW")
    root, inverse = Temp("root", value.dtype, value.shape), ArrayTensor(np.array(-1, value.dtype.numpy))
    return [LiteOp("SQRT", (value,), (root,)), LiteOp("POW", (root, inverse), tuple(node.outputs))]


def _above_zero(value: Value) -> bool:
    """Whether a number above 0 was added, or is the least."""
    operands = value.producer.inputs if value.producer.op in ("AddV2", "BiasAdd", "Maximum") else (value,)
    constants = [each.constant for each in operands if each.constant is not None]
    return any(each.size <= LARGEST_READ and bool((each.array() > 0).all()) for each in constants)


def _rsqrt_examples() -> Iterator[Example]:
    yield from _single_examples(positive=True)()
    yield Example((np.array([0, -0.0, 4, np.inf, -np.inf, 1e-9, np.nan, -1], np.float32),), note="zero and the like")
    yield Example((np.array([0.5, 4], np.float32),), constants=(0,), note="known to be above zero")


def _sign_examples() -> Iterator[Example]:
    yield from _single_examples(*SIGNED)()
    yield Example((np.array([np.nan, -np.inf, np.inf, 1e-20, -1e-7, 0], np.float32),), note="NaN, small numbers")


def _negative_examples() -> Iterator[Example]:
    yield from _single_examples(*SIGNED)()
    yield Example((np.array([-1234567891, 2**31 - 1, 1 - 2**31, 0], np.int32),), note="large")


def _square_examples() -> Iterator[Example]:
    yield from _single_examples(*SIGNED)()
    yield Example((np.array([40001, -46340, 3], np.int32),), note="large")


def _abs_examples() -> Iterator[Example]:
    yield from _single_examples(*SIGNED)()
    yield Example((np.array([-1234567891, 2**31 - 1, 1 - 2**31, 0], np.int32),), note="large")


def _expand_square(graph: Graph, node: Node) -> bool:
    """SQUARE takes floats only; a square that is fused or complex is left to others."""
    value = node.inputs[0]
    expansion = Expansion(graph, node)
    return value.dtype.is_integer and expansion.finish(expansion.make("Mul", value, value))


def _expand_squared_difference(graph: Graph, node: Node) -> bool:
    expansion = Expansion(graph, node)
    return expansion.finish(expansion.make("Square", expansion.make("Sub", *node.inputs)))


def _expand_sign(graph: Graph, node: Node) -> bool:
    """Of integers: cut to -1, 0, 1."""
    value, expansion = node.inputs[0], Expansion(graph, node)
    return value.dtype.is_integer and expansion.finish(expansion.make("Maximum", expansion.make("Minimum", value, 1), -1))


def _expand_rounded(graph: Graph, node: Node) -> bool:
    """An integer is round already."""
    expansion = Expansion(graph, node)
    return node.inputs[0].dtype.is_integer and expansion.finish(expansion.make("Identity", node.inputs[0]))


SIGNED_BITS = {DType.UINT32: DType.INT32, DType.UINT64: DType.INT64}


def expand_unsigned_order(graph: Graph, node: Node) -> bool:
    """Unsigned numbers as signed ones with the uppermost bit turned over: the order is the same."""
    unsigned = node.inputs[0].dtype
    if unsigned not in SIGNED_BITS:
        return False
    signed = SIGNED_BITS[unsigned]
    expansion, least = Expansion(graph, node), np.array(np.iinfo(signed.value).min, signed.numpy)
    turned = [expansion.make("AddV2", expansion.make("Bitcast", each, type=signed), least) for each in node.inputs]
    result = expansion.make(node.op, *turned)
    if result.dtype is signed:
        result = expansion.make("Bitcast", expansion.make("AddV2", result, least), type=unsigned)
    return expansion.finish(result)


def _expand_add_n(graph: Graph, node: Node) -> bool:
    expansion = Expansion(graph, node)
    if len(node.inputs) == 1:
        return expansion.finish(expansion.make("Identity", node.inputs[0]))
    return expansion.finish(reduce(lambda total, value: expansion.make("AddV2", total, value), node.inputs))


def _js_float_only(node: Node) -> list[JsNode]:
    """TensorFlow.js divides int32 with a floor, and rounds, or takes roots of, floats only."""
    if not node.inputs[0].dtype.is_float:
        raise Declined(f"TensorFlow.js does not compute it in {node.inputs[0].dtype} as TensorFlow does")
    return same_in_tfjs(node)


# -- the tables ----------------------------------------------------------------------------------------------------

Examples = Callable[[], Iterator[Example]]


def pair_examples(*dtypes: type[np.generic], positive: bool = False, fused: bool = False, whole: bool = True) -> Examples:
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
        if fused and whole:
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


def _js_sum(node: Node) -> list[JsNode]:
    """TensorFlow joins texts by this op too; TensorFlow.js adds numbers."""
    if node.output.dtype is DType.STRING:
        raise Declined("TensorFlow.js's AddV2 does not take string")
    return same_in_tfjs(node)


INTS = (np.int32, np.int64)
ALL_INTS = (np.int8, np.int16, *INTS, np.uint8, np.uint16, np.uint32, np.uint64)


def _wrapping_examples(*dtypes: type[np.generic], fused: bool = False) -> Examples:
    """As for pairs, and of each type what leaves its range."""

    def build() -> Iterator[Example]:
        yield from pair_examples(*INTS, fused=fused)()
        for dtype in dtypes:
            limits = np.iinfo(np.dtype(dtype).name)
            x = np.array([[limits.max, limits.min, limits.max // 2, 3]], dtype)
            yield Example((x, np.array([[2], [limits.max // 3]], dtype)), note=f"{dtype.__name__} wraps")

    return build


BINARY = (
    _binary(
        "AddV2",
        np.add,
        ADD,
        _wrapping_examples(*ALL_INTS, fused=True),
        fold=add_dims,
        to_tfjs=_js_sum,
        aliases=("Add",),
        widens=WIDER_OR_BITS,
        wraps=True,
    ),
    _binary(
        "Sub",
        np.subtract,
        SUB,
        _wrapping_examples(np.int8, np.uint8, np.uint32, fused=True),
        fold=_fold_sub,
        widens=WIDER_OR_BITS,
        wraps=True,
    ),
    _binary(
        "Mul",
        np.multiply,
        MUL,
        _wrapping_examples(np.int8, np.uint8, np.int16, np.uint16, fused=True),
        fold=_fold_mul,
        widens=WIDER_OR_BITS,
        wraps=True,
    ),
    _binary(
        "SquaredDifference",
        lambda x, y: (x - y) * np.conj(x - y),
        LiteKernel("SQUARED_DIFFERENCE", FLOATS_AND_INT32),
        pair_examples(np.int32, np.int64),
        expand=_expand_squared_difference,
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
    halves = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.49999997, 8388609.0], np.float32)
    yield Example((halves,), note="halves")
    yield Example((halves,), raw="Rint", note="Rint")


SIGNED = (np.int8, np.int16, np.int32, np.int64)

UNARY = (
    _unary(
        "Neg",
        np.negative,
        LiteKernel("NEG", NUMBERS | {DType.INT8, DType.INT16}),
        _negative_examples,
        to_tfjs=_js_negative,
        infer=_infer_neg,
        wraps=True,
    ),
    _unary(
        "Abs",
        np.abs,
        choose(ABS, _lite_abs_by_maximum),
        _abs_examples,
        to_tfjs=_js_abs,
        wraps=True,
    ),
    _unary("Exp", np.exp, LiteKernel("EXP", FLOATS)),
    _unary("Log", np.log, LiteKernel("LOG", FLOATS), _single_examples(positive=True)),
    _unary("Sqrt", np.sqrt, LiteKernel("SQRT", FLOATS), _single_examples(positive=True)),
    _unary("Rsqrt", lambda x: np.reciprocal(np.sqrt(x)), _lite_rsqrt, _rsqrt_examples),
    _unary(
        "Square",
        np.square,
        LiteKernel("SQUARE", FLOATS),
        _square_examples,
        to_tfjs=_js_square,
        expand=_expand_square,
        widens=WIDER_OR_BITS,
        wraps=True,
    ),
    _unary("Floor", np.floor, LiteKernel("FLOOR", FLOATS)),
    _unary("Ceil", np.ceil, LiteKernel("CEIL", FLOATS)),
    _unary("Round", _round, LiteKernel("ROUND", FLOATS), _round_examples, aliases=("Rint",), expand=_expand_rounded),
    _unary("Sin", np.sin, LiteKernel("SIN", FLOATS)),
    _unary("Cos", np.cos, LiteKernel("COS", FLOATS)),
    _unary(
        "Sign",
        np.sign,
        SIGN,
        _sign_examples,
        to_tfjs=_js_sign,
        expand=_expand_sign,
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
    for dtype in (*INTS, np.uint8):
        yield Example(tuple((each * 99).astype(np.int32).astype(dtype) for each in x), note=dtype.__name__)


ADD_N = OpSpec(
    name="AddN",
    aliases=("AccumulateNV2",),
    elementwise=True,
    wraps=True,
    infer=infer_all_equal,
    evaluate=_add_n,
    to_tflite=_lite_add_n,
    to_tfjs=same_in_tfjs,
    expand=_expand_add_n,
    examples=_add_n_examples,
)

SPECS: Sequence[OpSpec] = (*BINARY, *UNARY, ADD_N)
