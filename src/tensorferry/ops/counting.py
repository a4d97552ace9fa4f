"""How often numbers occur: Bincount, DenseBincount, HistogramFixedWidth; and between which borders they lie: Bucketize."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.dims import known_integer
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.index_operands import narrow_constant
from tensorferry.ops.kernels import NUMBERS, LiteKernel
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import WIDER, Declined, Example, OpSpec
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import Array, DType

_ZERO, _ONE = np.array(0, np.int32), np.array(1, np.int32)

# -- Bincount and DenseBincount ------------------------------------------------------------------------------------


def _size(node: Node) -> Dim:
    known = known_integer(node.inputs[1])
    return UNKNOWN_DIM if known is None else known


def _infer_count(node: Node) -> list[Typed]:
    values, _, weights = node.inputs
    if node.op == "Bincount":
        return [Typed(weights.dtype, (_size(node),))]
    if values.shape is None:
        return [Typed(weights.dtype, None)]
    return [Typed(weights.dtype, (*values.shape[:-1], _size(node)))]


def _evaluate_count(_node: Node, values: Array, size: Array, weights: Array) -> Array:
    """Numbers from `size` on count for nothing."""
    count = int(size.reshape(-1)[0])
    if values.size and values.min() < 0:
        raise Declined("a number that is counted is negative")
    each = (weights if weights.size else np.ones(values.shape, weights.dtype)).reshape(-1)
    result = np.zeros(count, weights.dtype)
    kept = values.reshape(-1) < count
    np.add.at(result, values.reshape(-1)[kept], each[kept])
    return result


def _evaluate_rows(node: Node, values: Array, size: Array, weights: Array) -> Array:
    if node["binary_output"]:
        weights = np.zeros(0, weights.dtype)
    if values.ndim == 1:
        result = _evaluate_count(node, values, size, weights)
    else:
        each = weights if weights.size else [weights] * len(values)
        rows = [_evaluate_count(node, row, size, weight) for row, weight in zip(values, each, strict=True)]
        result = np.asarray(rows, weights.dtype).reshape(len(values), int(size.reshape(-1)[0]))
    return np.minimum(result, np.asarray(1, result.dtype)) if node["binary_output"] else result


def _js_count(node: Node) -> list[JsNode]:
    values, size, weights = node.inputs
    if values.rank not in ((1,) if node.op == "Bincount" else (1, 2)) or 0 in (values.shape or ()):
        raise Declined("TensorFlow.js counts the numbers of a vector")
    if weights.dtype is not DType.FLOAT32 or weights.shape is None:
        raise Declined("TensorFlow.js counts in float32")
    attrs = {"T": weights.dtype, "Tidx": DType.INT32}
    if node.op == "DenseBincount":
        attrs["binary_output"] = bool(node["binary_output"])  # type: ignore[assignment]
    return [JsNode(node.op, (values, narrow_constant(size), weights), (node.output,), attrs)]


def _expand_count(graph: Graph, node: Node) -> bool:
    """Sums of the weights over segments, one for each number; in a matrix one for each number of each row."""
    values, size, weights = node.inputs
    if values.rank is None or weights.shape is None:
        return False
    expansion = Expansion(graph, node)
    narrow = _as_int32(expansion, values)
    limit = _as_int32(expansion, size)
    inside = expansion.make("Less", narrow, limit)
    count: Value = limit
    if node.op == "DenseBincount" and values.rank == 2:
        shape = expansion.make("Shape", narrow, out_type=DType.INT32)
        rows = expansion.make("GatherV2", shape, _ZERO, _ZERO)
        count = expansion.make("Mul", rows, limit)
        starts = expansion.make("Range", _ZERO, count, limit)
        narrow = expansion.make("AddV2", narrow, expansion.make("Reshape", starts, np.array([-1, 1], np.int32)))
    flat = expansion.make("Reshape", expansion.make("SelectV2", inside, narrow, -_ONE), np.array([-1], np.int32))
    binary = node.op == "DenseBincount" and node["binary_output"]
    if 0 in weights.shape or binary:
        each = expansion.make("OnesLike", expansion.make("Cast", flat, DstT=weights.dtype))
    else:
        each = expansion.make("Reshape", weights, np.array([-1], np.int32))
    total = expansion.make("UnsortedSegmentSum", each, flat, count)
    if binary:
        total = expansion.make("Minimum", total, np.array(1, weights.dtype.numpy))
    if node.op == "DenseBincount" and values.rank == 2:
        wanted = expansion.make("Pack", -_ONE, limit)
        total = expansion.make("Reshape", total, wanted)
    return expansion.finish(total)


def _as_int32(expansion: Expansion, value: Value) -> Value:
    return value if value.dtype is DType.INT32 else expansion.make("Cast", value, DstT=DType.INT32)


def _count_examples() -> Iterator[Example]:
    values, four = np.array([1, 3, 1, 7, 0], np.int32), np.array(4, np.int32)
    yield Example((values, four, np.zeros(0, np.float32)), constants=(1, 2))
    yield Example((values, four, sample(5)), constants=(1,), tolerance=2e-6, note="weights")
    yield Example((values, four, np.zeros(0, np.int64)), constants=(1, 2), note="int64")
    yield Example((values, four, np.zeros(0, np.int32)), constants=(2,), note="int32, computed size")


def _row_examples() -> Iterator[Example]:
    yield from _count_examples()
    rows, four = np.array([[1, 3, 1], [7, 0, 0]], np.int32), np.array(4, np.int32)
    yield Example((rows, four, np.zeros(0, np.float32)), constants=(1, 2), note="rows")
    yield Example((rows, four, sample(2, 3)), constants=(1,), tolerance=2e-6, note="rows, weights")
    for dtype in (np.float32, np.int32):
        yield Example((rows, four, np.zeros(0, dtype)), {"binary_output": True}, (1, 2), note=f"rows, binary, {dtype.__name__}")
    wide = np.array(4)
    yield Example((rows.astype(np.int64), wide, np.zeros(0, np.float32)), constants=(1, 2), note="rows, 64-bit")


# -- HistogramFixedWidth -------------------------------------------------------------------------------------------


def _infer_histogram(node: Node) -> list[Typed]:
    known = known_integer(node.inputs[2])
    return [Typed(node["dtype"], (UNKNOWN_DIM if known is None else known,))]


def _evaluate_histogram(node: Node, values: Array, ends: Array, bins: Array) -> Array:
    """What lies outside counts in the first and last bin."""
    count, low = int(bins.reshape(-1)[0]), ends[0]
    step = (float(ends[1]) - float(low)) / count
    places = ((np.maximum(values, low) - low).astype(np.float64) / step).astype(np.int64)
    return np.bincount(np.minimum(places, count - 1).reshape(-1), minlength=count).astype(node["dtype"].numpy)


def _expand_histogram(graph: Graph, node: Node) -> bool:
    values, ends, bins = node.inputs
    expansion = Expansion(graph, node)
    float32 = DType.FLOAT32
    if values.dtype is not float32:
        values, ends = (expansion.make("Cast", each, DstT=float32) for each in (values, ends))
    low, high = (expansion.make("GatherV2", ends, np.array(place, np.int32), _ZERO) for place in (0, 1))
    count = expansion.make("Cast", bins, DstT=float32)
    step = expansion.make("RealDiv", expansion.make("Sub", high, low), count)
    above = expansion.make("Sub", expansion.make("Maximum", values, low), low)
    place = expansion.make("Minimum", expansion.make("RealDiv", above, step), expansion.make("Sub", count, np.float32(1)))
    flat = expansion.make("Reshape", expansion.make("Cast", place, DstT=DType.INT32), np.array([-1], np.int32))
    ones = expansion.make("OnesLike", flat)
    total = expansion.make("UnsortedSegmentSum", ones, flat, bins)
    return expansion.finish(total if node["dtype"] is DType.INT32 else expansion.make("Cast", total, DstT=node["dtype"]))


def _histogram_examples() -> Iterator[Example]:
    values, ends = np.array([[-1, 0, 1.5], [2, 4.9, 15]], np.float32), np.array([0, 5], np.float32)
    yield Example((values, ends, np.array(5, np.int32)), constants=(1, 2))
    yield Example(
        (values.astype(np.int32), ends.astype(np.int32), np.array(5, np.int32)), {"dtype": DType.INT64}, (1, 2), note="int"
    )


# -- Bucketize -----------------------------------------------------------------------------------------------------


def _infer_buckets(node: Node) -> list[Typed]:
    return [Typed(DType.INT32, node.inputs[0].shape)]


def _evaluate_buckets(node: Node, x: Array) -> Array:
    return np.searchsorted(np.asarray(node["boundaries"], np.float32), x, side="right").astype(np.int32)


_BUCKETIZE = LiteKernel("BUCKETIZE", NUMBERS)


def _lite_buckets(node: Node) -> list[LiteOp]:
    return _BUCKETIZE(node, boundaries=[float(each) for each in node["boundaries"]])


def _expand_buckets(graph: Graph, node: Node) -> bool:
    """The number of borders that are not above the number."""
    value = node.inputs[0]
    expansion = Expansion(graph, node)
    number = value if value.dtype is DType.FLOAT32 else expansion.make("Cast", value, DstT=DType.FLOAT32)
    each = expansion.make("ExpandDims", number, -_ONE)
    passed = expansion.make("GreaterEqual", each, np.asarray(node["boundaries"], np.float32))
    counted = expansion.make("Sum", expansion.make("Cast", passed, DstT=DType.INT32), np.array([-1], np.int32))
    return expansion.finish(counted)


def _bucket_examples() -> Iterator[Example]:
    borders = {"boundaries": [-1.0, 0.0, 0.5]}
    yield Example((np.array([[-2, -1, -0.5], [0, 0.7, 9]], np.float32),), borders)
    for dtype in (np.int32, np.int64):
        yield Example((np.array([-2, -1, 0, 1], dtype),), borders, note=dtype.__name__)


SPECS = (
    OpSpec(
        name="Bincount",
        infer=_infer_count,
        evaluate=_evaluate_count,
        to_tfjs=_js_count,
        expand=_expand_count,
        examples=_count_examples,
    ),
    OpSpec(
        name="DenseBincount",
        attrs={"binary_output": False},
        infer=_infer_count,
        evaluate=_evaluate_rows,
        to_tfjs=_js_count,
        expand=_expand_count,
        examples=_row_examples,
    ),
    OpSpec(
        name="HistogramFixedWidth",
        attrs={"dtype": DType.INT32},
        infer=_infer_histogram,
        evaluate=_evaluate_histogram,
        expand=_expand_histogram,
        examples=_histogram_examples,
    ),
    OpSpec(
        name="Bucketize",
        infer=_infer_buckets,
        evaluate=_evaluate_buckets,
        to_tflite=_lite_buckets,
        expand=_expand_buckets,
        widens=WIDER,
        examples=_bucket_examples,
    ),
)
