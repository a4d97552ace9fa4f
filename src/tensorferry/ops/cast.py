"""Converting elements to another type."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import Array, ArrayTensor, CastTensor, DType

LITE_TYPES = frozenset(
    {
        DType.FLOAT32,
        DType.FLOAT64,
        DType.FLOAT16,
        DType.INT8,
        DType.INT16,
        DType.INT32,
        DType.INT64,
        DType.UINT8,
        DType.UINT16,
        DType.UINT32,
        DType.BOOL,
    }
)
LITE_VERSIONS = (
    (frozenset({DType.FLOAT64, DType.FLOAT16}), 5),
    (frozenset({DType.UINT16}), 4),
    (frozenset({DType.INT8}), 3),
    (frozenset({DType.UINT32}), 2),
)
"""The highest among those that the two element types ask for."""


def _infer(node: Node) -> list[Typed]:
    value, target = node.inputs[0], node["DstT"]
    content: tuple[Dim, ...] | None = None
    if value.content is not None and target in (DType.INT32, DType.INT64):
        limit = np.iinfo(np.int32 if target is DType.INT32 else np.int64).max
        content = tuple(each if isinstance(each, str) or -limit <= each <= limit else UNKNOWN_DIM for each in value.content)
    return [Typed(target, value.shape, content)]


def _evaluate(node: Node, x: Array) -> Array:
    source, target = node.inputs[0].dtype if node.inputs else DType.of(x), node["DstT"]
    if target is DType.BFLOAT16 and source is not target:
        return _round_to_bfloat16(x.astype(np.float32))
    if source is DType.BFLOAT16:
        return CastTensor(ArrayTensor(x, source), target).array() if target is not source else x
    if x.dtype.kind == "c" and not target.value.startswith("complex"):
        x = x.real
    return x.astype(target.numpy)


def _round_to_bfloat16(x: Array) -> Array:
    """The upper 16 bits of each float32, rounded to the nearest, ties to even; NaN stays NaN."""
    bits = x.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.asarray(np.where(np.isnan(x), np.uint32(0x7FC0), rounded).astype(np.uint16))


UNSIGNED = {DType.UINT8: DType.INT32, DType.UINT16: DType.INT32, DType.UINT32: DType.INT64}
"""By way of which a negative float wraps around, as it does in TensorFlow."""

NEVER_NEGATIVE = frozenset({"Abs", "Exp", "Relu", "Relu6", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Square"})
NO_NEW_SIGN = frozenset({"AddV2", "Ceil", "Floor", "Identity", "Minimum", "Mul", "RealDiv", "Reshape", "Round", "Transpose"})
DEPTH = 8
"""Steps that are looked back."""


def _is_not_negative(value: Value, depth: int = DEPTH) -> bool:
    """Whether a float is known to be no less than 0, as pixels are that were clipped or scaled."""
    maker = value.producer
    if value.constant is not None:
        return value.constant.nbytes <= SMALL_BYTES and bool(np.all(value.constant.array() >= 0))
    if maker.op in NEVER_NEGATIVE or maker.get("activation") in NEVER_NEGATIVE:
        return True
    if depth == 0:
        return False
    if maker.op in NO_NEW_SIGN:
        operands = maker.inputs[:1] if maker.op in ("Reshape", "Transpose") else maker.inputs
        return all(_is_not_negative(each, depth - 1) for each in operands)
    if maker.op in ("Maximum", "ClipByValue"):
        bounds = maker.inputs[1:2] if maker.op == "ClipByValue" else maker.inputs
        return any(_is_not_negative(each, depth - 1) for each in bounds)
    return maker.op == "Cast" and maker.inputs[0].dtype in (DType.BOOL, DType.UINT8, DType.UINT16, DType.UINT32)


SMALL_BYTES = 4096
"""Constants up to this size are read."""


def _to_tflite(node: Node) -> list[LiteOp]:
    source, target = node.inputs[0].dtype, node["DstT"]
    for dtype in (source, target):
        if dtype not in LITE_TYPES:
            raise Declined(f"TensorFlow Lite's CAST does not know {dtype}", attributes=f"SrcT={source}, DstT={target}")
    if source.is_float and target in UNSIGNED and not _is_not_negative(node.inputs[0]):
        raise Declined(f"TensorFlow Lite makes 0 of negative numbers as {target}", attributes=f"SrcT={source}, DstT={target}")
    version = max((needed for dtypes, needed in LITE_VERSIONS if {source, target} & dtypes), default=1)
    options = {"in_data_type": source.name, "out_data_type": target.name}
    return [LiteOp("CAST", tuple(node.inputs), tuple(node.outputs), options, version)]


def _to_tfjs(node: Node) -> list[JsNode]:
    """The WebAssembly backend cuts 0.5 to 0 before it makes a boolean of it, so that is done by comparing."""
    value = node.inputs[0]
    if node["DstT"] is DType.BOOL and value.dtype is not DType.BOOL:
        zero = ArrayTensor(np.zeros((), value.dtype.numpy))
        return [JsNode("NotEqual", (value, zero), tuple(node.outputs), {"T": value.dtype})]
    attrs = {"SrcT": value.dtype, "DstT": node["DstT"], "Truncate": False}
    return [JsNode("Cast", tuple(node.inputs), tuple(node.outputs), attrs)]


def _expand(graph: Graph, node: Node) -> bool:
    """uint64 by way of int64, which has its bits: a negative one stands for 2 ** 64 more."""
    value, target = node.inputs[0], node["DstT"]
    expansion = Expansion(graph, node)
    if target is DType.BFLOAT16:
        return _expand_bfloat16(expansion)
    if value.dtype is DType.UINT64:
        bits = expansion.make("Bitcast", value, type=DType.INT64)
        made = expansion.make("Cast", bits, DstT=target)
        if target.is_float:
            more = expansion.make("AddV2", made, np.array(2.0**64, target.numpy))
            made = expansion.make("SelectV2", expansion.make("Less", bits, np.array(0, np.int64)), more, made)
        return expansion.finish(made)
    if value.dtype is DType.UINT32 and target.is_float:
        return expansion.finish(_float_of_unsigned(expansion, value, target))
    if value.dtype.is_float and target in UNSIGNED and not _is_not_negative(value):
        return expansion.finish(expansion.make("Cast", expansion.make("Cast", value, DstT=UNSIGNED[target]), DstT=target))
    if target is not DType.UINT64:
        return False
    wide = expansion.make("Cast", value, DstT=DType.INT64)
    if value.dtype.is_float:
        half = np.array(2.0**63, value.dtype.numpy)
        upper = expansion.make("Cast", expansion.make("Sub", value, half), DstT=DType.INT64)
        turned = expansion.make("AddV2", upper, np.array(np.iinfo(np.int64).min, np.int64))
        wide = expansion.make("SelectV2", expansion.make("GreaterEqual", value, half), turned, wide)
    return expansion.finish(expansion.make("Bitcast", wide, type=DType.UINT64))


def _float_of_unsigned(expansion: Expansion, value: Value, target: DType) -> Value:
    """uint32 where a target has the bits only: a negative one stands for 2 ** 32 more."""
    if target is not DType.FLOAT32:
        return expansion.make("Cast", expansion.make("Cast", value, DstT=DType.FLOAT32), DstT=target)
    bits = expansion.make("Bitcast", value, type=DType.INT32)
    made = expansion.make("Cast", bits, DstT=target)
    more = expansion.make("AddV2", made, np.array(2.0**32, np.float32))
    return expansion.make("SelectV2", expansion.make("Less", bits, np.array(0, np.int32)), more, made)


ROUNDED = "_rounded"
"""Attribute of a Cast to bfloat16 whose input already is a bfloat16 number."""

SPLIT = float((1 << 16) + 1)
"""x * SPLIT - (x * SPLIT - x) is x rounded to the 8 binary digits of a bfloat16 (Dekker, A floating-point technique, 1971)."""

LARGEST_SPLIT = 1e33


def _expand_bfloat16(expansion: Expansion) -> bool:
    """Rounded while there is a bfloat16: what a target without it computes in has more digits."""
    value = expansion.node.inputs[0]
    if expansion.node.get(ROUNDED) or value.dtype is DType.BFLOAT16:
        return False
    single = value if value.dtype is DType.FLOAT32 else expansion.make("Cast", value, DstT=DType.FLOAT32)
    scaled = expansion.make("Mul", single, np.float32(SPLIT))
    rounded = expansion.make("Sub", scaled, expansion.make("Sub", scaled, single))
    within = expansion.make("Less", expansion.make("Abs", single), np.float32(LARGEST_SPLIT))
    kept = expansion.make("SelectV2", within, rounded, single)
    return expansion.finish(expansion.make("Cast", kept, DstT=DType.BFLOAT16, **{ROUNDED: True}))


WHOLE_TYPES = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)


def _whole_examples() -> Iterator[Example]:
    """Each integer type to others; what does not fit wraps around."""
    for index, source in enumerate(WHOLE_TYPES):
        limits = np.iinfo(np.dtype(source).name)
        most, least = min(limits.max, 2**31 - 1), max(limits.min, -(2**31))
        values = np.array([[most, least, most - 200 if most > 400 else 5], [0, 1, most // 3]], source)
        for step in (1, 4) if index < 4 else (3,):
            target = DType(np.dtype(WHOLE_TYPES[(index + step) % len(WHOLE_TYPES)]).name)
            yield Example((values,), {"DstT": target}, note=f"{np.dtype(source).name} to {target}, ends")
        if most <= 2**16:
            yield Example((values,), {"DstT": DType.FLOAT32}, note=f"{np.dtype(source).name} to float32, ends")


def _examples() -> Iterator[Example]:
    floats = np.array([[2.7, -2.7, 0.0], [-0.5, 100.0, 1e-3]], np.float32)
    for target in (DType.INT32, DType.INT64, DType.INT8, DType.BOOL, DType.FLOAT16, DType.FLOAT64, DType.FLOAT32):
        yield Example((floats,), {"DstT": target}, note=f"float32 to {target}", tolerance=1e-3 if target is DType.FLOAT16 else 1e-6)
    for target in (DType.UINT8, DType.UINT16, DType.UINT32):
        yield Example((floats,), {"DstT": target}, note=f"negative float32 to {target}")
    integers = np.array([[-1, 0, 127], [5, 100, 3]])
    for source in (np.int32, np.int64, np.int8):
        for target in (DType.FLOAT32, DType.INT32, DType.INT64, DType.BOOL):
            yield Example((integers.astype(source),), {"DstT": target}, note=f"{source.__name__} to {target}")
    yield Example((np.array([0, 7, 255], np.uint8),), {"DstT": DType.FLOAT32}, note="uint8 to float32")
    for target in (DType.FLOAT32, DType.INT32, DType.INT64, DType.UINT8, DType.UINT64):
        yield Example((np.array([True, False]),), {"DstT": target}, note=f"bool to {target}")
    for target in (DType.UINT16, DType.UINT32, DType.UINT64, DType.INT16):
        yield Example((np.abs(floats) * 10,), {"DstT": target}, note=f"float32 to {target}")
    for target in (DType.FLOAT32, DType.FLOAT64):
        upper = np.array([2**32 - 1, 2**31, 2**31 - 1, 0], np.uint32)
        yield Example((upper,), {"DstT": target}, note=f"upper half of uint32 to {target}")
    yield Example((np.array([3, 0], np.uint64),), {"DstT": DType.BOOL}, note="uint64 to bool")
    yield from _whole_examples()


SPECS = (
    OpSpec(
        name="Cast",
        attrs={"DstT": DType.FLOAT32, "Truncate": False},
        wraps=True,
        elementwise=True,
        infer=_infer,
        evaluate=_evaluate,
        to_tflite=_to_tflite,
        to_tfjs=_to_tfjs,
        expand=_expand,
        by_width=True,
        examples=_examples,
    ),
)
