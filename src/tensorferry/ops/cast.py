"""Converting elements to another type."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Node, Typed
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
    return x.astype(target.numpy)


def _round_to_bfloat16(x: Array) -> Array:
    """The upper 16 bits of each float32, rounded to the nearest, ties to even; NaN stays NaN."""
    bits = x.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.asarray(np.where(np.isnan(x), np.uint32(0x7FC0), rounded).astype(np.uint16))


def _to_tflite(node: Node) -> list[LiteOp]:
    source, target = node.inputs[0].dtype, node["DstT"]
    for dtype in (source, target):
        if dtype not in LITE_TYPES:
            raise Declined(f"TensorFlow Lite's CAST does not know {dtype}", attributes=f"SrcT={source}, DstT={target}")
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


def _examples() -> Iterator[Example]:
    floats = np.array([[2.7, -2.7, 0.0], [-0.5, 100.0, 1e-3]], np.float32)
    for target in (DType.INT32, DType.INT64, DType.INT8, DType.BOOL, DType.FLOAT16, DType.FLOAT64, DType.FLOAT32):
        yield Example((floats,), {"DstT": target}, note=f"float32 to {target}", tolerance=1e-3 if target is DType.FLOAT16 else 1e-6)
    yield Example((np.abs(floats),), {"DstT": DType.UINT8}, note="float32 to uint8")
    integers = np.array([[-1, 0, 127], [5, 100, 3]])
    for source in (np.int32, np.int64, np.int8):
        for target in (DType.FLOAT32, DType.INT32, DType.INT64, DType.BOOL):
            yield Example((integers.astype(source),), {"DstT": target}, note=f"{source.__name__} to {target}")
    yield Example((np.array([0, 7, 255], np.uint8),), {"DstT": DType.FLOAT32}, note="uint8 to float32")
    for target in (DType.FLOAT32, DType.INT32, DType.INT64):
        yield Example((np.array([True, False]),), {"DstT": target}, note=f"bool to {target}")


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
        examples=_examples,
    ),
)
