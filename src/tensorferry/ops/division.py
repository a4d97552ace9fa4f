"""Quotients and remainders of every kind, and products that take care of zero."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tensorferry.ir import Graph, Node, Value
from tensorferry.ops.elementwise import (
    DIV,
    FUSES,
    SIGNED_BITS,
    Examples,
    fold_dims,
    fold_floor_div,
    fold_truncated,
    infer_binary,
    pair_examples,
)
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.formulas import Formula, Maths, Operand, expand_formula
from tensorferry.ops.kernels import FLOATS_AND_INT32, NUMBERS, LiteKernel
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import UNSIGNED, WIDER, Declined, Example, OpSpec, constant_input, same_in_tfjs
from tensorferry.targets import JsNode, LiteOp, Temp
from tensorferry.tensor import Array, ArrayTensor, DType

INTS = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32)

# -- evaluation ----------------------------------------------------------------------------------------------------


def _divide_truncating(x: Array, y: Array) -> Array:
    if x.dtype.kind not in "iu":
        return np.asarray(x / y)
    quotient = np.floor_divide(x, y)
    return np.asarray(quotient + _uneven(x, y, np.mod(x, y)).astype(x.dtype))


def _uneven(x: Array, y: Array, remainder: Array) -> Array:
    """Where cutting towards zero and towards minus infinity differ."""
    return np.asarray((remainder != 0) & ((x < 0) != (y < 0)))


def _floor_divide(x: Array, y: Array) -> Array:
    # numpy's floor_divide on floats works with the remainder: 1 // 0.1 is 9 there, 10 in TensorFlow
    return np.asarray(np.floor(x / y) if x.dtype.kind == "f" else np.floor_divide(x, y))


def _zero_where(zero: Callable[[Array, Array], Array], compute: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    return lambda x, y: np.where(zero(x, y) == 0, x.dtype.type(0), compute(x, y))


# -- whole numbers -------------------------------------------------------------------------------------------------


def _expand_truncated_div(graph: Graph, node: Node) -> bool:
    """Cut towards zero: one more than the floor where that is below an uneven quotient."""
    x, y = node.inputs
    if x.dtype in SIGNED_BITS:
        return _expand_unsigned(graph, node)
    if not x.dtype.is_integer:
        return False
    expansion = Expansion(graph, node)
    floor = expansion.make("FloorDiv", x, y)
    return expansion.finish(expansion.make("AddV2", floor, expansion.make("Cast", _is_uneven(expansion), DstT=x.dtype)))


def _is_uneven(expansion: Expansion) -> Any:
    x, y = expansion.node.inputs
    remains = expansion.make("NotEqual", expansion.make("FloorMod", x, y), 0)
    differ = expansion.make("NotEqual", expansion.make("Less", x, 0), expansion.make("Less", y, 0))
    return expansion.make("LogicalAnd", remains, differ)


def _expand_floor_div(graph: Graph, node: Node) -> bool:
    """Exact where a target divides no such integers, or by way of float32; sizes and positions fit into int32.

    Each step finds 23 bits of the quotient. After the first the remainder is taken off, so that what is left is a multiple, whose
    last quotient is a whole number. (By the least number itself, of which there is no positive, it may be off by one.)
    """
    x, y = node.inputs
    if x.dtype in SIGNED_BITS:
        return _expand_unsigned(graph, node)
    if not x.dtype.is_integer:
        return False
    expansion = Expansion(graph, node)
    if x.dtype is DType.INT64 and _is_small(x) and _is_small(y):
        short = [expansion.make("Cast", each, DstT=DType.INT32) for each in (x, y)]
        return expansion.finish(expansion.make("Cast", expansion.make("FloorDiv", *short), DstT=DType.INT64))
    divisor = expansion.make("Cast", y, DstT=DType.FLOAT32)
    left, total = x, None
    for step in range(3 if x.dtype is DType.INT64 else 2):
        ratio = expansion.make("RealDiv", expansion.make("Cast", left, DstT=DType.FLOAT32), divisor)
        part = expansion.make("Cast", expansion.make("Round", ratio), DstT=x.dtype)
        left = expansion.make("Sub", left, expansion.make("Mul", part, y))
        if step == 0:
            left = expansion.make("Sub", left, expansion.make("FloorMod", x, y))
        total = part if total is None else expansion.make("AddV2", total, part)
    assert total is not None
    return expansion.finish(total)


def _divide_unsigned(expansion: Expansion, x: Value, y: Value) -> tuple[Value, Value]:
    """Quotient and remainder of unsigned numbers as bits of signed ones. As above in steps, of which what is left over is small and
    signed; a divisor of the upper half goes once or not at all."""
    signed = SIGNED_BITS[x.dtype]
    least, zero, one = (np.array(number, signed.numpy) for number in (np.iinfo(signed.value).min, 0, 1))
    dividend, divisor = (expansion.make("Bitcast", each, type=signed) for each in (x, y))
    size = expansion.make("Cast", y, DstT=DType.FLOAT32)
    ratio = expansion.make("Round", expansion.make("RealDiv", expansion.make("Cast", x, DstT=DType.FLOAT32), size))
    total = _bits_of(expansion, ratio, x.dtype)
    left = expansion.make("Sub", dividend, expansion.make("Mul", total, divisor))
    for _ in range(2):
        ratio = expansion.make("RealDiv", expansion.make("Cast", left, DstT=DType.FLOAT32), size)
        part = expansion.make("Cast", expansion.make("Round", ratio), DstT=signed)
        left = expansion.make("Sub", left, expansion.make("Mul", part, divisor))
        total = expansion.make("AddV2", total, part)
    short = expansion.make("Less", left, zero)
    total = expansion.make("SelectV2", short, expansion.make("Sub", total, one), total)
    left = expansion.make("SelectV2", short, expansion.make("AddV2", left, divisor), left)
    huge = expansion.make("Less", divisor, zero)
    goes = expansion.make("GreaterEqual", *(expansion.make("AddV2", each, least) for each in (dividend, divisor)))
    once = expansion.make("Cast", goes, DstT=signed)
    rest = expansion.make("SelectV2", goes, expansion.make("Sub", dividend, divisor), dividend)
    return expansion.make("SelectV2", huge, once, total), expansion.make("SelectV2", huge, rest, left)


def _bits_of(expansion: Expansion, ratio: Value, unsigned: DType) -> Value:
    """A whole float as the bits of an unsigned number; those of the upper half of 32 bits are taken below zero."""
    if unsigned is DType.UINT64:
        return expansion.make("Bitcast", expansion.make("Cast", ratio, DstT=unsigned), type=DType.INT64)
    upper = expansion.make("GreaterEqual", ratio, np.float32(2**31))
    below = expansion.make("SelectV2", upper, expansion.make("Sub", ratio, np.float32(2**32)), ratio)
    return expansion.make("Cast", below, DstT=DType.INT32)


def _expand_unsigned(graph: Graph, node: Node) -> bool:
    """Of unsigned numbers: the quotient, or of FloorMod and Mod the remainder."""
    dtype = node.inputs[0].dtype
    if dtype not in SIGNED_BITS:
        return False
    expansion = Expansion(graph, node)
    results = _divide_unsigned(expansion, *node.inputs)
    return expansion.finish(expansion.make("Bitcast", results[node.op in ("FloorMod", "Mod")], type=dtype))


PLACES = frozenset({"ArgMax", "ArgMin", "Range", "Shape", "Size", "Rank", "TopKV2", "Where"})
"""Ops that make sizes and positions, of which a tensor in a browser has fewer than float32 can tell apart."""

PASSING = frozenset({"Cast", "ExpandDims", "Identity", "Reshape", "Squeeze", "Transpose"})
SMALL = 1 << 24
LARGEST_READ = 4096


def _is_small(value: Value) -> bool:
    """Whether the integers are known to be exact in float32."""
    if value.content is not None:
        return True
    while value.producer.op in PASSING:
        value = value.producer.inputs[0]
    if value.dtype is DType.BOOL or value.producer.op in PLACES:
        return True
    if value.producer.op == "FloorMod":
        return _is_small(value.producer.inputs[1])
    tensor = value.constant
    return tensor is not None and tensor.size <= LARGEST_READ and bool(np.all(np.abs(tensor.array().astype(np.float64)) < SMALL))


FLOOR_DIV = LiteKernel("FLOOR_DIV", FLOATS_AND_INT32 | {DType.INT8, DType.INT16}, {DType.FLOAT32: 2, DType.INT8: 3, DType.INT16: 3})


def _lite_floor_div(node: Node) -> list[LiteOp]:
    """FLOOR_DIV breaks off at a divisor of 0, also of floats, of which TensorFlow makes infinity or NaN."""
    value = node.output
    FLOOR_DIV.check(node)
    if not value.dtype.is_float or _has_no_zero(node.inputs[1]):
        return FLOOR_DIV(node)
    quotient = Temp("quotient", value.dtype, value.shape)
    divided = LiteOp("DIV", tuple(node.inputs), (quotient,), {"fused_activation_function": "NONE"}, DIV.version(node))
    return [divided, LiteOp("FLOOR", (quotient,), (value,))]


def _has_no_zero(value: Value) -> bool:
    tensor = value.constant
    return tensor is not None and tensor.size <= LARGEST_READ and bool((tensor.array() != 0).all())


def _js_floor_div(node: Node) -> list[JsNode]:
    """TensorFlow.js's FloorDiv makes int32 of everything, and the WebAssembly kernel goes through float32, which is exact for
    sizes and positions only."""
    value = node.output
    if not value.dtype.is_float:
        if value.rank != 0 and value.content is None and not _is_small(node.inputs[0]):
            raise Declined("TensorFlow.js divides integers by way of float32")
        return same_in_tfjs(node)
    quotient = Temp("quotient", value.dtype, value.shape)
    dtype = {"T": value.dtype}
    return [
        JsNode("RealDiv", tuple(node.inputs), (quotient,), dtype),
        JsNode("Floor", (quotient,), (value,), dtype),
    ]


def _js_floor_mod(node: Node) -> list[JsNode]:
    """TensorFlow.js adds the divisor and takes the remainder again, where the signs differ: NaN by infinity, and 0 by a divisor
    that takes up what is added to it. So the remainder is that of the magnitudes, and the divisor comes last."""
    x, y = node.inputs
    if not x.dtype.is_float or (_has_no_zero(y) and bool(np.isfinite(constant_input(node, 1, "divisor")).all())):
        return same_in_tfjs(node)
    attrs, zero, shape = {"T": x.dtype}, ArrayTensor(np.zeros((), x.dtype.numpy)), node.output.shape
    sizes = Temp("dividend", x.dtype, x.shape), Temp("divisor", x.dtype, y.shape)
    size, negated, remainder, raised = (Temp(label, x.dtype, shape) for label in ("size", "negated", "remainder", "raised"))
    below, under, differ, rest, both = (Temp(label, DType.BOOL, shape) for label in ("below", "under", "differ", "rest", "both"))
    return [
        JsNode("Abs", (x,), (sizes[0],), attrs),
        JsNode("Abs", (y,), (sizes[1],), attrs),
        JsNode("FloorMod", sizes, (size,), attrs),
        JsNode("Neg", (size,), (negated,), attrs),
        JsNode("Less", (x, zero), (below,), attrs),
        JsNode("Less", (y, zero), (under,), attrs),
        JsNode("SelectV2", (below, negated, size), (remainder,), attrs),
        JsNode("NotEqual", (below, under), (differ,), {"T": DType.BOOL}),
        JsNode("NotEqual", (size, zero), (rest,), attrs),
        JsNode("LogicalAnd", (rest, differ), (both,), {}),
        JsNode("AddV2", (remainder, y), (raised,), attrs),
        JsNode("SelectV2", (both, raised, remainder), (node.output,), attrs),
    ]


def _js_division(node: Node) -> list[JsNode]:
    if not node.inputs[0].dtype.is_float:
        raise Declined(f"TensorFlow.js does not divide {node.inputs[0].dtype} as TensorFlow does")
    return same_in_tfjs(node)


def _expand_truncated_mod(graph: Graph, node: Node) -> bool:
    """The remainder has the dividend's sign. Floats go by magnitudes, which is exact; the least integer has none."""
    x, y = node.inputs
    if x.dtype in SIGNED_BITS:
        return _expand_unsigned(graph, node)
    expansion = Expansion(graph, node)
    if x.dtype.is_integer:
        remainder = expansion.make("FloorMod", x, y)
        return expansion.finish(expansion.make("SelectV2", _is_uneven(expansion), expansion.make("Sub", remainder, y), remainder))
    if not x.dtype.is_float:
        return False
    remainder = expansion.make("FloorMod", expansion.make("Abs", x), expansion.make("Abs", y))
    return expansion.finish(expansion.make("Mul", expansion.make("Sign", x), remainder))


# -- the tables ----------------------------------------------------------------------------------------------------


def large_examples(*dtypes: type[np.generic]) -> Iterator[Example]:
    """Every sign, the ends of the type, and quotients that float32 cannot hold."""
    for dtype in dtypes:
        limits = np.iinfo(np.dtype(dtype).name)
        most, least = min(limits.max, 2**31 - 1), max(limits.min, -(2**31))  # TensorFlow.js has no more
        x = np.array([most, least, most - 1, 7, 100, most // 3, 0], dtype)
        y = np.array([3, 3, 2, 2, 9, 1, 5], dtype)
        if limits.min < 0:
            x, y = np.concatenate([x, x]), np.concatenate([y, -y])
        yield Example((x, y), note=dtype.__name__)
    if np.uint32 in dtypes:
        x, y = (
            np.array(each, np.uint32) for each in ([2**32 - 1, 2**31, 2**31 - 1, 7, 2**32 - 2, 2**31 + 5], [3, 7, 2**31, 2**31 + 1])
        )
        yield Example((x.reshape(-1, 1), np.concatenate([y, x[:1]])), note="upper half of uint32")


def _division_examples(*dtypes: type[np.generic], fused: bool = False) -> Examples:
    def build() -> Iterator[Example]:
        yield from pair_examples(fused=fused, whole=False)()
        yield from large_examples(*dtypes)

    return build


def _floor_div_examples() -> Iterator[Example]:
    yield from _division_examples(*INTS)()
    yield Example((np.array([0, -5, 5], np.float32), np.array([0, 2, 2], np.float32)), note="0 by 0")
    yield Example((sample(2, 3), np.array([0.5, -3, 2], np.float32)), constants=(1,), note="known")


def _floor_mod_examples() -> Iterator[Example]:
    yield from _division_examples(*INTS)()
    x = np.array([[-np.inf], [-3], [-1e-20], [0], [2.5], [np.nan]], np.float32)
    yield Example((x, np.array([np.inf, -np.inf, 2, -0.5, np.nan, 0, 1e30], np.float32)), note="infinity, zero")
    yield Example((sample(2, 3), np.array([0.5, -3, 2], np.float32)), constants=(1,), note="known")


def _zero_examples(finite: bool) -> Iterator[Example]:
    x = np.array([[1, 0, -2], [np.inf, np.nan, 0]], np.float32)
    y = np.array([[0, 0, 4], [0, 0.5, 2]], np.float32)
    if finite:  # LiteRT's products and quotients end at the largest number
        x, y = x[:1, 1:], y[:1, 1:]
    yield Example((x, np.abs(y)))
    yield Example((x[:, :2], np.array([0, 2], np.float32)[-x.shape[1] :]), constants=(1,), note="row")
    yield Example((sample(2, 1, 3), sample(4, 1) ** 2), note="both stretch")
    yield Example((sample(2, 3).astype(np.float64), np.abs(sample(3)).astype(np.float64)), note="float64")


def _guarded(formula: Formula, guard: int) -> Formula:
    """0 where operand `guard` is 0, whatever the other is."""

    def guarded(maths: Maths, x: Operand, y: Operand) -> Operand:
        return maths.where(maths.equal((x, y)[guard], 0), 0, formula(maths, x, y))

    return guarded


def _without_nan(name: str, guard: int, compute: Callable[[Array, Array], Array], formula: Formula, *, js: bool = False) -> OpSpec:
    return OpSpec(
        name=name,
        elementwise=True,
        infer=infer_binary,
        evaluate=lambda _node, x, y: np.where((x, y)[guard] == 0, x.dtype.type(0), compute(x, y)),
        to_tfjs=_js_division if js else None,
        expand=expand_formula(_guarded(formula, guard)),
        examples=lambda: _zero_examples(guard == 0),
    )


def _truncated_mod(x: Array, y: Array) -> Array:
    return np.asarray(np.fmod(x, y))


SPECS = (
    OpSpec(
        name="RealDiv",
        elementwise=True,
        infer=infer_binary,
        evaluate=lambda _node, x, y: np.divide(x, y),
        to_tflite=LiteKernel("DIV", FLOATS_AND_INT32 - {DType.INT32}, wide=2, fused=True),
        to_tfjs=_js_division,
        fuses=FUSES,
        examples=_division_examples(fused=True),
    ),
    OpSpec(
        name="Div",
        aliases=("TruncateDiv",),
        elementwise=True,
        infer=lambda node: infer_binary(node, fold_dims(fold_truncated, 1)),
        evaluate=lambda _node, x, y: _divide_truncating(x, y),
        to_tflite=DIV,
        to_tfjs=_js_division,
        expand=_expand_truncated_div,
        fuses=FUSES,
        by_width=UNSIGNED,
        widens=WIDER,
        wraps=True,
        examples=_division_examples(*INTS, fused=True),
    ),
    OpSpec(
        name="FloorDiv",
        elementwise=True,
        infer=lambda node: infer_binary(node, fold_floor_div),
        evaluate=lambda _node, x, y: _floor_divide(x, y),
        to_tflite=_lite_floor_div,
        to_tfjs=_js_floor_div,
        expand=_expand_floor_div,
        by_width=UNSIGNED,
        widens=WIDER,
        wraps=True,
        examples=_floor_div_examples,
    ),
    OpSpec(
        name="FloorMod",
        elementwise=True,
        infer=lambda node: infer_binary(node, fold_dims(lambda a, b: a % b if b else None)),
        evaluate=lambda _node, x, y: np.mod(x, y),
        to_tflite=LiteKernel("FLOOR_MOD", NUMBERS | {DType.INT8, DType.INT16}, {DType.INT8: 2, DType.INT16: 2}),
        to_tfjs=_js_floor_mod,
        expand=_expand_unsigned,
        by_width=UNSIGNED,
        widens=WIDER,
        examples=_floor_mod_examples,
    ),
    OpSpec(
        name="Mod",
        aliases=("TruncateMod",),
        elementwise=True,
        infer=infer_binary,
        evaluate=lambda _node, x, y: _truncated_mod(x, y),
        expand=_expand_truncated_mod,
        by_width=UNSIGNED,
        widens=WIDER,
        examples=_division_examples(np.int32, np.int64),
    ),
    _without_nan("DivNoNan", 1, np.divide, lambda _maths, x, y: x / y, js=True),
    _without_nan("MulNoNan", 1, np.multiply, lambda _maths, x, y: x * y),
    _without_nan("Xdivy", 0, np.divide, lambda _maths, x, y: x / y),
    _without_nan("Xlogy", 0, lambda x, y: x * np.log(y), lambda maths, x, y: x * maths.log(y)),
    _without_nan("Xlog1py", 0, lambda x, y: x * np.log1p(y), lambda maths, x, y: x * maths.log1p(y)),
)
