"""Integers as bits: and, or, exclusive or, complement, shifts, population count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from tensorferry.ir import Graph, Node, Typed, Value
from tensorferry.ops.elementwise import infer_binary
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.kernels import LiteKernel, check_rank
from tensorferry.ops.spec import Declined, Example, Expand, OpSpec, ToTflite, same_as_input
from tensorferry.targets import LiteOp, Ref, Temp
from tensorferry.tensor import Array, ArrayTensor, DType

SHORT = frozenset({DType.INT8, DType.INT16, DType.INT32, DType.UINT8, DType.UINT16, DType.UINT32})
"""What LiteRT's bitwise kernels take."""

AS_INT32 = dict.fromkeys((DType.INT8, DType.INT16, DType.UINT8, DType.UINT16, DType.UINT32), DType.INT32)
"""Whose bits are those of an int32, or its lower ones."""

# -- evaluation ----------------------------------------------------------------------------------------------------


def _clamped(x: Array, y: Array) -> Array:
    """TensorFlow shifts by 0 to one less than the width."""
    return np.asarray(np.clip(y, 0, x.dtype.itemsize * 8 - 1).astype(x.dtype))


def _population_count(_node: Node, x: Array) -> Array:
    return np.asarray(np.bitwise_count(x.view(f"uint{x.dtype.itemsize * 8}")), np.uint8)


# -- and, or, exclusive or -----------------------------------------------------------------------------------------


def _is_wide(node: Node) -> bool:
    return node.inputs[0].dtype in (DType.INT64, DType.UINT64)


def _in_halves(graph: Graph, node: Node) -> bool:
    """64 bits as two of 32, along one more axis."""
    expansion = Expansion(graph, node)
    halves = [expansion.make("Bitcast", each, type=DType.INT32) for each in node.inputs]
    return expansion.finish(expansion.make("Bitcast", expansion.make(node.op, *halves), type=node.output.dtype))


def _lite_both(node: Node) -> list[LiteOp]:
    """And, by x + y = (x ^ y) + 2 (x & y): taken of all bits but the lowest, so that nothing overflows; or is x + y - (x & y)."""
    if node.output.dtype is not DType.INT32:
        raise Declined("TensorFlow Lite has no such operator")
    for value in node.inputs:
        check_rank(value, 6, "BITWISE_XOR")
    plain = {"fused_activation_function": "NONE"}
    steps: list[LiteOp] = []

    def step(name: str, *inputs: Ref, like: Value = node.output, out: Ref = None) -> Ref:
        made = out or Temp(f"{name.lower()}_{len(steps)}", DType.INT32, like.shape)
        steps.append(LiteOp(name, inputs, (made,), {} if name in ("RIGHT_SHIFT", "BITWISE_XOR") else plain))
        return made

    one, two = (ArrayTensor(np.array(number, np.int32)) for number in (1, 2))
    upper = [step("RIGHT_SHIFT", each, one, like=each) for each in node.inputs]
    lowest = [
        step("SUB", each, step("MUL", half, two, like=each), like=each) for each, half in zip(node.inputs, upper, strict=True)
    ]
    common = step("SUB", step("ADD", *upper), step("BITWISE_XOR", *upper))
    is_and = node.op == "BitwiseAnd"
    both = step("ADD", common, step("MUL", *lowest), out=node.output if is_and else None)
    if not is_and:
        step("SUB", step("ADD", *node.inputs), both, out=node.output)
    return steps


def _mask(value: Value) -> int | None:
    """2 ** k where the value is the constant 2 ** k - 1, which the type's largest number is not."""
    if value.constant is None or value.constant.size != 1:
        return None
    count = int(value.constant.array().item()) + 1
    limit = int(np.iinfo(value.dtype.value).max)
    return count if count & (count - 1) == 0 and 1 < count <= limit else None


def _expand_and(graph: Graph, node: Node) -> bool:
    """x & (2**k - 1) is a remainder."""
    expansion = Expansion(graph, node)
    for value, mask in (node.inputs, node.inputs[::-1]):
        count = _mask(mask)
        if count is not None and (mask.rank or 0) <= (value.rank or 0):
            return expansion.finish(expansion.make("FloorMod", value, np.array(count, value.dtype.numpy)))
    return _expand_by_bits(graph, node)


def _expand_by_bits(graph: Graph, node: Node) -> bool:
    """For a target without any operator on bits: each number as 32 of which every one is 0 or a power of two, added up again.

    TensorFlow.js's loader hands its kernel BitwiseAnd no operands (4.22).
    """
    if _is_wide(node):
        return _in_halves(graph, node)
    expansion, shape = Expansion(graph, node), node.output.shape
    x, y = (expansion.make("Cast", each, DstT=DType.INT32) for each in node.inputs)
    flat = shape is None or len(shape) > MOST_WITH_BITS
    if flat and (shape is None or x.shape != y.shape):
        x, y = (expansion.make("AddV2", one, expansion.make("ZerosLike", other)) for one, other in ((x, y), (y, x)))
    whole = expansion.make("Shape", x, out_type=DType.INT32) if flat else x
    x, y = (expansion.make("Reshape", each, np.array([-1], np.int32)) if flat else each for each in (x, y))
    x, y = _bits(expansion, x), _bits(expansion, y)
    same, zero = expansion.make("Equal", x, y), np.array(0, np.int32)
    if node.op == "BitwiseAnd":
        bits = expansion.make("SelectV2", same, x, zero)
    else:
        total = expansion.make("AddV2", x, y)
        bits = expansion.make("SelectV2", same, zero if node.op == "BitwiseXor" else x, total)
    result = expansion.make("Sum", bits, np.array([-1], np.int32), keep_dims=False)
    result = expansion.make("Reshape", result, whole) if flat else result
    return expansion.finish(expansion.make("Cast", result, DstT=node.output.dtype))


MOST_WITH_BITS = 4
"""Dimensions beside the one of bits."""


def _bits(expansion: Expansion, value: Value) -> Value:
    """The powers of two that the number is made of: differences of its remainders by ascending powers, and the sign."""
    column = expansion.make("ExpandDims", value, np.array(-1, np.int32))
    powers, axis = (np.int64(1) << np.arange(1, 31)).astype(np.int32), np.array(-1, np.int32)
    lowest = expansion.make("FloorMod", column, powers)
    negative = expansion.make("Maximum", expansion.make("Minimum", column, np.array(0, np.int32)), np.array(-1, np.int32))
    sign = expansion.make("Mul", negative, np.array(np.iinfo(np.int32).min, np.int32))
    upper = expansion.make("ConcatV2", lowest, expansion.make("Sub", column, sign), axis)
    lower = expansion.make("ConcatV2", expansion.make("Sub", column, column), lowest, axis)
    return expansion.make("ConcatV2", expansion.make("Sub", upper, lower), sign, axis)


def _expand_invert(graph: Graph, node: Node) -> bool:
    """-1 - x; of unsigned numbers, the largest less x."""
    value, expansion = node.inputs[0], Expansion(graph, node)
    signed = {DType.UINT32: DType.INT32, DType.UINT64: DType.INT64}.get(value.dtype)
    if signed is not None:
        bits = expansion.make("Bitcast", value, type=signed)
        turned = expansion.make("Sub", np.array(-1, signed.numpy), bits)
        return expansion.finish(expansion.make("Bitcast", turned, type=value.dtype))
    most = -1 if value.dtype.value.startswith("int") else int(np.iinfo(value.dtype.value).max)
    return expansion.finish(expansion.make("Sub", np.array(most, value.dtype.numpy), value))


# -- shifts --------------------------------------------------------------------------------------------------------


def _powers(expansion: Expansion, amounts: Value, dtype: DType) -> Value:
    """2 ** amount, from a table; the uppermost bit is the sign."""
    bits = dtype.width * 8
    table = (np.uint64(1) << np.arange(bits, dtype=np.uint64)).astype(f"uint{bits}").view(dtype.numpy)
    return expansion.make("GatherV2", expansion.constant(table, "powers"), amounts, np.int32(0))


def _amounts(expansion: Expansion) -> Value:
    """The second operand within 0 to one less than the first's width, as int32."""
    x, y = expansion.node.inputs
    most = np.array(x.dtype.width * 8 - 1, y.dtype.numpy)
    bounded = expansion.make("Maximum", expansion.make("Minimum", y, most), np.array(0, y.dtype.numpy))
    return expansion.make("Cast", bounded, DstT=DType.INT32)


_COMPUTED = {DType.INT64: DType.INT64, DType.UINT64: DType.INT64}


def _expand_left_shift(graph: Graph, node: Node) -> bool:
    """A product with a power of two, in the wider type that wraps around as the shift drops bits."""
    x, expansion = node.inputs[0], Expansion(graph, node)
    dtype = _COMPUTED.get(x.dtype, DType.INT32)
    product = expansion.make("Mul", expansion.make("Cast", x, DstT=dtype), _powers(expansion, _amounts(expansion), dtype))
    return expansion.finish(expansion.make("Cast", product, DstT=x.dtype))


def _expand_right_shift(graph: Graph, node: Node) -> bool:
    """The floor of a quotient by a power of two; the sign alone is left by the power that is no positive number."""
    x, expansion = node.inputs[0], Expansion(graph, node)
    if x.dtype is DType.UINT64:
        powers = expansion.make("Bitcast", _powers(expansion, _amounts(expansion), DType.INT64), type=DType.UINT64)
        return expansion.finish(expansion.make("FloorDiv", x, powers))
    dtype = DType.INT64 if x.dtype in (DType.INT64, DType.UINT32) else DType.INT32
    amounts, wide = _amounts(expansion), expansion.make("Cast", x, DstT=dtype)
    quotient = expansion.make("FloorDiv", wide, _powers(expansion, amounts, dtype))
    if x.dtype in (DType.INT32, DType.INT64):
        sign = expansion.make("Minimum", expansion.make("Maximum", wide, np.array(-1, dtype.numpy)), np.array(0, dtype.numpy))
        whole = expansion.make("GreaterEqual", amounts, np.int32(x.dtype.width * 8 - 1))
        quotient = expansion.make("SelectV2", whole, sign, quotient)
    return expansion.finish(expansion.make("Cast", quotient, DstT=x.dtype))


def _expand_population_count(graph: Graph, node: Node) -> bool:
    """A table of bytes."""
    x, expansion = node.inputs[0], Expansion(graph, node)
    flat = x.rank is None or x.rank > MOST_WITH_BITS
    if flat:
        whole, x = expansion.make("Shape", x, out_type=DType.INT32), expansion.make("Reshape", x, np.array([-1], np.int32))
    bits = expansion.make("Cast", expansion.make("Bitcast", x, type=DType.UINT8), DstT=DType.INT32)
    table = np.bitwise_count(np.arange(256, dtype=np.uint8)).astype(np.int32)
    counts = expansion.make("GatherV2", expansion.constant(table, "counts"), bits, np.int32(0))
    if x.dtype.width > 1:
        counts = expansion.make("Sum", counts, np.array([-1], np.int32), keep_dims=False)
    counts = expansion.make("Reshape", counts, whole) if flat else counts
    return expansion.finish(expansion.make("Cast", counts, DstT=DType.UINT8))


# -- examples ------------------------------------------------------------------------------------------------------

INTS = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32)


def _numbers(dtype: type[np.generic], seed: int) -> Array:
    """Of every size up to what int32 holds, both ends included."""
    limits = np.iinfo(np.dtype(dtype).name)
    least, most = max(limits.min, -(2**31)), min(limits.max, 2**31 - 1)
    some = np.random.default_rng(seed).integers(least, most, 8, endpoint=True)
    return np.concatenate([some, [least, most, 0, 1]]).astype(dtype).reshape(3, 4)


def _pair_examples() -> Iterator[Example]:
    yield from _few_pair_examples()
    for dtype in (np.int8, np.int16, np.uint16, np.uint32):
        yield Example((_numbers(dtype, 0), _numbers(dtype, 1).T.reshape(3, 4)), note=dtype.__name__)
    x, y = _numbers(np.int32, 0), _numbers(np.int32, 1)
    yield Example((x, y[0]), note="row")
    yield Example((x.reshape(3, 1, 4, 1), y[:2].reshape(1, 2, 1, 4)), note="both stretch")
    yield Example((x, np.array(255, np.int32)), constants=(1,), note="mask")
    yield Example((_numbers(np.uint8, 0), np.array(15, np.uint8)), constants=(1,), note="uint8 mask")
    yield Example((x.reshape(1, 3, 1, 2, 1, 2), y.reshape(1, 3, 1, 2, 1, 2)), note="six dims")
    yield Example((x.reshape(1, 3, 1, 2, 1, 2), y[:1].reshape(1, 2, 1, 1, 2)), note="six dims stretch")


def _few_pair_examples() -> Iterator[Example]:
    for dtype in (np.int32, np.int64, np.uint8):
        yield Example((_numbers(dtype, 0), _numbers(dtype, 1).T.reshape(3, 4)), note=dtype.__name__)


def _shift_examples() -> Iterator[Example]:
    for dtype in INTS:
        amounts = np.array([0, 1, 3, 7], dtype)
        yield Example((_numbers(dtype, 0), amounts), note=dtype.__name__)
        large = np.array([1, np.dtype(dtype).itemsize * 8 - 1, 100], dtype)
        if dtype is not np.int64:  # of which TensorFlow.js has the lower half
            yield Example((_numbers(dtype, 1)[:1, :3], large), note=f"{dtype.__name__} by its width")
    yield Example((_numbers(np.int32, 0), np.array(4, np.int32)), constants=(1,), note="constant")
    yield Example((_numbers(np.int32, 0), np.array([[-1], [2], [40]], np.int32)), note="column, out of range")


def _single_examples() -> Iterator[Example]:
    for dtype in INTS:
        yield Example((_numbers(dtype, 0),), note=dtype.__name__)
    yield Example((_numbers(np.int32, 0).reshape(1, 3, 1, 2, 1, 2),), note="six dims")


def _bitwise(
    name: str,
    compute: Callable[[Array, Array], Array],
    expand: Expand,
    examples: Callable[[], Iterator[Example]] = _pair_examples,
    lite: ToTflite | None = None,
    by_width: bool = False,
    widens: Mapping[DType, DType] | None = None,
) -> OpSpec:
    return OpSpec(
        name=name,
        elementwise=True,
        infer=infer_binary,
        evaluate=lambda _node, x, y: compute(x, y),
        to_tflite=lite,
        widens=widens or {},
        expand=expand,
        by_width=by_width,
        examples=examples,
    )


SPECS = (
    _bitwise("BitwiseAnd", np.bitwise_and, _expand_and, lite=_lite_both, widens=AS_INT32),
    _bitwise("BitwiseOr", np.bitwise_or, _expand_by_bits, _few_pair_examples, lite=_lite_both, widens=AS_INT32),
    _bitwise("BitwiseXor", np.bitwise_xor, _expand_by_bits, lite=LiteKernel("BITWISE_XOR", SHORT)),
    _bitwise("LeftShift", lambda x, y: np.left_shift(x, _clamped(x, y)), _expand_left_shift, _shift_examples, by_width=True),
    _bitwise(
        "RightShift",
        lambda x, y: np.right_shift(x, _clamped(x, y)),
        _expand_right_shift,
        _shift_examples,
        lite=LiteKernel("RIGHT_SHIFT", SHORT),
        by_width=True,
    ),
    OpSpec(
        name="Invert",
        elementwise=True,
        infer=same_as_input,
        evaluate=lambda _node, x: np.invert(x),
        expand=_expand_invert,
        by_width=True,
        examples=_single_examples,
    ),
    OpSpec(
        name="PopulationCount",
        infer=lambda node: [Typed(DType.UINT8, node.inputs[0].shape)],
        evaluate=_population_count,
        expand=_expand_population_count,
        by_width=True,
        examples=_single_examples,
    ),
)
