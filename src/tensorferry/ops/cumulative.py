"""Running sums and products along an axis: Cumsum, Cumprod, CumulativeLogsumexp."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tensorferry.ir import Graph, Node, Value
from tensorferry.ops.dims import known_integer
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.index_operands import int32_scalar, lite_int32
from tensorferry.ops.kernels import NUMBERS, LiteKernel
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import WIDER_OR_BITS, Example, OpSpec, normalize_axis, same_as_input
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import Array, DType

# -- evaluation ----------------------------------------------------------------------------------------------------


def _running(compute: Callable[..., Array], first: float) -> Callable[[Node, Array, Array], Array]:
    """`compute(x, axis)` made exclusive and reversed as the node says; `first` stands before the first element."""

    def evaluate(node: Node, x: Array, axis: Array) -> Array:
        place = normalize_axis(int(axis.reshape(-1)[0]), x.ndim)
        turned = np.flip(x, place) if node["reverse"] else x
        result = np.asarray(compute(turned, place)).astype(x.dtype)
        if node["exclusive"]:
            result = np.delete(np.insert(result, 0, first, axis=place), -1, axis=place)
        return np.flip(result, place) if node["reverse"] else result

    return evaluate


def _cumsum(x: Array, axis: int) -> Array:
    return np.asarray(np.cumsum(x, axis, dtype=x.dtype))


def _cumprod(x: Array, axis: int) -> Array:
    return np.asarray(np.cumprod(x, axis, dtype=x.dtype))


def _cumlogsumexp(x: Array, axis: int) -> Array:
    return np.asarray(np.logaddexp.accumulate(x, axis)) if x.shape[axis] else x


# -- lowering ------------------------------------------------------------------------------------------------------

_CUMSUM = LiteKernel("CUMSUM", NUMBERS)


def _axis(node: Node) -> int | None:
    axis = known_integer(node.inputs[1])
    return axis if axis is None or node.inputs[0].rank is None else normalize_axis(axis, node.inputs[0].rank)


def _lite_cumsum(node: Node) -> list[LiteOp]:
    _CUMSUM.check(node)
    known = _axis(node)
    casts, axis = lite_int32(node.inputs[1]) if known is None else ([], int32_scalar(known))
    options = {"exclusive": bool(node["exclusive"]), "reverse": bool(node["reverse"])}
    return [*casts, LiteOp("CUMSUM", (node.inputs[0], axis), tuple(node.outputs), options)]


def _js_running(node: Node) -> list[JsNode]:
    known = _axis(node)
    axis = node.inputs[1] if known is None else int32_scalar(known)
    attrs = {
        "exclusive": bool(node["exclusive"]),
        "reverse": bool(node["reverse"]),
        "T": node.output.dtype,
        "Tidx": DType.INT32,
    }
    return [JsNode(node.op, (node.inputs[0], axis), tuple(node.outputs), attrs)]


def _expand_running(graph: Graph, node: Node) -> bool:
    """Each result is a reduction over a row of a triangle of choices: n * n elements for an axis of n, which is brought last."""
    value, axis = node.inputs[0], _axis(node)
    if axis is None or value.shape is None:
        return False
    rank = len(value.shape)
    expansion = Expansion(graph, node)
    order = [*[each for each in range(rank) if each != axis], axis]
    moved = expansion.make("Transpose", value, np.array(order, np.int32)) if order != list(range(rank)) else value
    shape = expansion.make("Shape", moved, out_type=DType.INT32) if moved.static_shape is None else np.array(moved.shape, np.int32)
    count: Value | Array = shape[-1] if isinstance(shape, np.ndarray) else _last_size(expansion, shape)
    wanted = np.array([-1, 1, count], np.int32) if isinstance(shape, np.ndarray) else expansion.make("Pack", *_ints(-1, 1), count)
    rows = expansion.make("Reshape", moved, wanted)
    result = _over_triangle(expansion, rows, _triangle(expansion, count))
    back = expansion.make("Reshape", result, shape)
    if order != list(range(rank)):
        back = expansion.make("Transpose", back, np.argsort(order).astype(np.int32))
    return expansion.finish(back)


def _ints(*numbers: int) -> list[Array]:
    return [np.array(number, np.int32) for number in numbers]


def _last_size(expansion: Expansion, shape: Value) -> Value:
    minus_one, one = np.array([-1], np.int32), np.array([1], np.int32)
    return expansion.make("StridedSlice", shape, minus_one, one * 0, one, end_mask=1, shrink_axis_mask=1)


def _triangle(expansion: Expansion, count: Value | Array) -> Value | Array:
    """[1, result, element]: which elements take part in each result."""
    node = expansion.node
    if not isinstance(count, Value):
        below: Array = np.tri(int(count), k=-1 if node["exclusive"] else 0, dtype=bool)
        return (below[::-1, ::-1] if node["reverse"] else below)[None]
    places = expansion.make("Range", *_ints(0), count, *_ints(1))
    results, elements = (expansion.make("Reshape", places, np.array(shape, np.int32)) for shape in ([1, -1, 1], [1, 1, -1]))
    first, second = (results, elements) if node["reverse"] else (elements, results)
    return expansion.make("Less" if node["exclusive"] else "LessEqual", first, second)


def _over_triangle(expansion: Expansion, rows: Value, triangle: Value | Array) -> Value:
    kind = rows.dtype.numpy
    last = np.array([2], np.int32)
    if expansion.node.op == "Cumprod":
        return expansion.make("Prod", expansion.make("SelectV2", triangle, rows, np.array(1, kind)), last)
    lowest = np.array(-np.inf, kind)
    chosen = expansion.make("SelectV2", triangle, rows, lowest)
    largest = expansion.make("Max", chosen, last, keep_dims=True)
    shift = expansion.make("Maximum", largest, np.array(np.finfo(np.float32).min, kind))  # so that -inf less -inf is not NaN
    powers = expansion.make("Exp", expansion.make("Sub", chosen, shift))
    total = expansion.make("Log", expansion.make("Sum", powers, last, keep_dims=True))
    # LiteRT's plain kernel of ADD turns -inf into the lowest finite number
    return expansion.make("SelectV2", expansion.make("Equal", largest, lowest), lowest, expansion.make("AddV2", total, shift))


# -- the table -----------------------------------------------------------------------------------------------------


def _flags() -> Iterator[dict[str, Any]]:
    for exclusive in (False, True):
        for reverse in (False, True):
            yield {"exclusive": exclusive, "reverse": reverse}


def _float_examples() -> Iterator[Example]:
    for flags in _flags():
        note = " ".join(key for key, value in flags.items() if value) or "plain"
        yield Example((sample(2, 5, 3), np.array(1, np.int32)), flags, (1,), 2e-6, note=note)
    yield Example((sample(3, 4), np.array(-1)), constants=(1,), tolerance=2e-6, note="last axis, 64-bit")
    yield Example((sample(4), np.array(0, np.int32)), {"reverse": True}, (1,), 2e-6, note="vector")
    yield Example((sample(2, 1, 2, 3, 2), np.array(3, np.int32)), constants=(1,), tolerance=2e-6, note="five dims")


def _number_examples() -> Iterator[Example]:
    yield from _float_examples()
    for dtype in (np.int32, np.int64, np.int8, np.uint16):
        numbers = np.array([[3, 5, 1], [2, 2, 7]]).astype(dtype)
        yield Example((numbers, np.array(1, np.int32)), {"exclusive": True}, (1,), note=dtype.__name__)
    yield Example((np.array([100, 20, 30], np.int8), np.array(0, np.int32)), constants=(1,), note="beyond the range of int8")


def _sum_examples() -> Iterator[Example]:
    yield from _number_examples()
    yield Example((sample(2, 3), np.array(1, np.int32)), tolerance=2e-6, note="computed axis")


def _log_examples() -> Iterator[Example]:
    yield from _float_examples()
    yield Example((np.array([[-np.inf, 100, 3], [-np.inf, -200, -200]], np.float32), np.array(1)), {}, (1,), note="minus infinity")


DEFAULTS = {"exclusive": False, "reverse": False}

SPECS = (
    OpSpec(
        name="Cumsum",
        attrs=DEFAULTS,
        infer=same_as_input,
        evaluate=_running(_cumsum, 0),
        to_tflite=_lite_cumsum,
        to_tfjs=_js_running,
        widens=WIDER_OR_BITS,
        wraps=True,
        examples=_sum_examples,
    ),
    OpSpec(
        name="Cumprod",
        attrs=DEFAULTS,
        infer=same_as_input,
        evaluate=_running(_cumprod, 1),
        to_tfjs=_js_running,
        expand=_expand_running,
        wraps=True,
        examples=_number_examples,
    ),
    OpSpec(
        name="CumulativeLogsumexp",
        attrs=DEFAULTS,
        infer=same_as_input,
        evaluate=_running(_cumlogsumexp, -np.inf),
        expand=_expand_running,
        examples=_log_examples,
    ),
)
