"""Reductions over axes, and the index of the largest or smallest element along one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Shape, Typed, Value
from tensorferry.ops.dims import known_integer, length_of, unknown_dims
from tensorferry.ops.elementwise import SIGNED_BITS
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.index_operands import int32_scalar, int32_vector, lite_int32
from tensorferry.ops.kernels import BOOLS, FLOATS_AND_INT32, NUMBERS, LiteKernel
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import (
    UNSIGNED,
    WIDER,
    WIDER_OR_BITS,
    Declined,
    Example,
    OpSpec,
    ToTfjs,
    ToTflite,
    constant_input,
    normalize_axis,
)
from tensorferry.targets import JsNode, LiteOp, Ref
from tensorferry.tensor import Array, DType

# -- axes ----------------------------------------------------------------------------------------------------------


def _axes(node: Node) -> tuple[int, ...] | None:
    """The reduced axes, counted from the front where the rank is known; None when they are computed."""
    try:
        axes = constant_input(node, 1, "axis").reshape(-1).tolist()
    except Declined:
        return None
    rank = node.inputs[0].rank
    return tuple(axes) if rank is None else tuple(normalize_axis(axis, rank) for axis in axes)


def _reduced_shape(node: Node) -> Shape:
    shape, axes, keep = node.inputs[0].shape, _axes(node), node.get("keep_dims", False)
    if shape is None:
        return None
    if axes is None:
        count = 1 if node.inputs[1].rank == 0 else length_of(node.inputs[1])
        left = len(shape) if keep else None if count is None else len(shape) - count
        return unknown_dims(left)
    if keep:
        return tuple(1 if axis in axes else dim for axis, dim in enumerate(shape))
    return tuple(dim for axis, dim in enumerate(shape) if axis not in axes)


def _infer_reduction(fold: Callable[[tuple[int, ...]], int] | None = None) -> Callable[[Node], list[Typed]]:
    """The reduced shape; a vector of sizes that is reduced to one number keeps its content."""

    def infer(node: Node) -> list[Typed]:
        value = node.inputs[0]
        content: tuple[Dim, ...] | None = None
        if fold is not None and value.rank == 1 and value.content is not None and _axes(node) == (0,):
            sizes = value.content
            numbers = tuple(size for size in sizes if isinstance(size, int))
            named = [size for size in sizes if isinstance(size, str)]
            neutral = len(named) == 1 and fold is math.prod and math.prod(numbers) == 1
            content = (fold(numbers),) if not named else (named[0] if neutral else UNKNOWN_DIM,)
        return [Typed(value.dtype, _reduced_shape(node), content)]

    return infer


def _largest(numbers: tuple[int, ...]) -> int:
    return max(numbers, default=-(2**31))


# -- evaluation ----------------------------------------------------------------------------------------------------


def _reduce(compute: Callable[..., Array]) -> Callable[[Node, Array, Array], Array]:
    def evaluate(node: Node, x: Array, axes: Array) -> Array:
        axis = tuple({int(each) % max(x.ndim, 1) for each in axes.reshape(-1)})
        return np.asarray(compute(x, axis=axis, keepdims=bool(node["keep_dims"])))

    return evaluate


def _sum(x: Array, **how: Any) -> Array:
    return np.asarray(np.sum(x, dtype=x.dtype, **how))


def _prod(x: Array, **how: Any) -> Array:
    return np.asarray(np.prod(x, dtype=x.dtype, **how))


def _mean(x: Array, **how: Any) -> Array:
    count = math.prod(x.shape[axis] for axis in how["axis"]) if x.ndim else 1
    if x.dtype.kind in "fc":
        return np.asarray(np.asarray(np.sum(x, dtype=x.dtype, **how)) / x.dtype.type(count))
    total = np.asarray(np.sum(x, dtype=np.int64, **how))  # TensorFlow adds up in 64 bits, and rounds towards zero
    return np.asarray(np.sign(total) * (np.abs(total) // max(count, 1)), dtype=x.dtype)


def _norm(x: Array, **how: Any) -> Array:
    wide = x.astype(np.float64) if x.dtype.kind in "iu" else x
    return np.asarray(np.sqrt(np.sum(wide * wide, **how)).astype(x.dtype))


def _max(x: Array, **how: Any) -> Array:
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    return np.asarray(np.max(x, initial=lowest, **how))


def _min(x: Array, **how: Any) -> Array:
    highest = np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).max
    return np.asarray(np.min(x, initial=highest, **how))


# -- lowering ------------------------------------------------------------------------------------------------------


def _refuse_nothing(node: Node) -> None:
    """What the targets make of no elements is not what TensorFlow makes of them (LiteRT: a largest of -3.4e38; WebAssembly:
    whatever is in memory), so a known size of 0 is left to `_expand_reduction`."""
    if 0 in (node.inputs[0].shape or ()):
        raise Declined("it reduces a tensor without elements")


def _lite_reduction(kernel: LiteKernel) -> Callable[[Node], list[LiteOp]]:
    def lower(node: Node) -> list[LiteOp]:
        kernel.check(node)
        _refuse_nothing(node)
        known = _axes(node)
        casts, axes = lite_int32(node.inputs[1]) if known is None else ([], int32_vector(known))
        options = {"keep_dims": bool(node["keep_dims"])}
        return [*casts, LiteOp(kernel.name, (node.inputs[0], axes), tuple(node.outputs), options, kernel.version(node))]

    return lower


def _js_reduction(node: Node) -> list[JsNode]:
    _refuse_nothing(node)
    known, given = _axes(node), node.inputs[1]
    if known is None and given.rank != 0 and not length_of(given) and not _are_all(node):
        raise Declined("the number of its axes is not known")  # for no axes TensorFlow.js would take all
    if known == ():
        return [JsNode("Identity", (node.inputs[0],), tuple(node.outputs), {"T": node.inputs[0].dtype})]
    axes = given if known is None else int32_vector(known)
    attrs = {"keep_dims": bool(node["keep_dims"]), "T": node.inputs[0].dtype, "Tidx": DType.INT32}
    return [JsNode(node.op, (node.inputs[0], axes), tuple(node.outputs), attrs)]


def _are_all(node: Node) -> bool:
    """The axes are counted up to the tensor's rank."""
    counted = node.inputs[1].producer
    if counted.op != "Range" or known_integer(counted.inputs[0]) != 0 or known_integer(counted.inputs[2]) != 1:
        return False
    rank = counted.inputs[1].producer
    return rank.op == "Rank" and rank.inputs[0] is node.inputs[0]


def _js_mean(node: Node) -> list[JsNode]:
    """TensorFlow.js's mean makes floats of integers, which do not hold their sum."""
    if not node.inputs[0].dtype.is_float and _axes(node) != ():
        raise Declined("TensorFlow.js has no mean of integers")
    return _js_reduction(node)


IDENTITIES: Mapping[str, float] = {
    **{"Sum": 0, "EuclideanNorm": 0, "Prod": 1, "Max": -math.inf, "Min": math.inf, "All": 1, "Any": 0},
    "Mean": math.nan,
}
"""Op -> what TensorFlow makes of no elements; an integer type's last number stands for infinity, 0 for NaN."""


def _expand_reduction(graph: Graph, node: Node) -> bool:
    """Of nothing: a constant. Unsigned numbers have the order of signed ones with the uppermost bit turned over. A norm is the root
    of a sum of squares, a mean of integers a sum and a quotient."""
    value = node.inputs[0]
    if 0 in (value.shape or ()):
        return _fill_identity(graph, node)
    expansion = Expansion(graph, node)
    axes, keep = node.inputs[1], bool(node["keep_dims"])
    if node.op in ("Max", "Min") and value.dtype in SIGNED_BITS:
        signed = SIGNED_BITS[value.dtype]
        least = np.array(np.iinfo(signed.value).min, signed.numpy)
        turned = expansion.make("AddV2", expansion.make("Bitcast", value, type=signed), least)
        found = expansion.make("AddV2", expansion.make(node.op, turned, axes, keep_dims=keep), least)
        return expansion.finish(expansion.make("Bitcast", found, type=value.dtype))
    if node.op == "EuclideanNorm":
        wide = value if value.dtype.is_float else expansion.make("Cast", value, DstT=DType.FLOAT32)
        root = expansion.make("Sqrt", expansion.make("Sum", expansion.make("Square", wide), axes, keep_dims=keep))
        return expansion.finish(root if value.dtype.is_float else expansion.make("Cast", root, DstT=value.dtype))
    if node.op == "Mean" and value.dtype is DType.INT32:
        count = _count(expansion, node)
        return count is not None and expansion.finish(
            expansion.make("Div", expansion.make("Sum", value, axes, keep_dims=keep), count)
        )
    return False


def _count(expansion: Expansion, node: Node) -> Value | Array | None:
    """How many elements are made one, as int32."""
    value, axes = node.inputs[0], _axes(node)
    if axes is None or value.shape is None:
        return None
    sizes = [value.shape[axis] for axis in axes]
    numbers = [size for size in sizes if isinstance(size, int)]
    if len(numbers) == len(sizes):
        return np.array(math.prod(numbers), np.int32)
    shape = expansion.make("Shape", value, out_type=DType.INT32)
    taken = expansion.make("GatherV2", shape, np.array(axes, np.int32), np.array(0, np.int32))
    return expansion.make("Prod", taken, np.array([0], np.int32))


def _fill_identity(graph: Graph, node: Node) -> bool:
    dtype, shape = node.output.dtype, node.output.shape
    number = IDENTITIES[node.op]
    if dtype.is_integer:
        limits = np.iinfo(dtype.value)
        number = 0 if math.isnan(number) else limits.min if number == -math.inf else limits.max if number == math.inf else number
    filling = np.array(number).astype(dtype.numpy)
    expansion = Expansion(graph, node)
    if shape is not None and all(isinstance(dim, int) for dim in shape):
        return expansion.finish(expansion.make("Fill", np.array(shape, np.int32).reshape(-1), filling))
    axes, value = _axes(node), node.inputs[0]
    if axes is None or value.shape is None:
        return False
    sizes = expansion.make("Shape", value, out_type=DType.INT32)
    kept = [axis for axis in range(len(value.shape)) if axis not in axes]
    if node["keep_dims"]:
        mask = np.array([axis in kept for axis in range(len(value.shape))], np.int32)
        sizes = expansion.make("AddV2", expansion.make("Mul", sizes, mask), 1 - mask)
    else:
        sizes = expansion.make("GatherV2", sizes, np.array(kept, np.int32), np.array(0, np.int32))
    return expansion.finish(expansion.make("Fill", sizes, filling))


# -- the index of the largest --------------------------------------------------------------------------------------


def _arg_axis(node: Node) -> int:
    axis = int(constant_input(node, 1, "axis").reshape(-1)[0])
    rank = node.inputs[0].rank
    return axis if rank is None else normalize_axis(axis, rank)


def _infer_arg(node: Node) -> list[Typed]:
    given, axes = node.inputs[0].shape, _axes(node)
    if given is None:
        return [Typed(node["output_type"], None)]
    if axes is None:
        return [Typed(node["output_type"], (UNKNOWN_DIM,) * (len(given) - 1))]
    return [Typed(node["output_type"], tuple(dim for axis, dim in enumerate(given) if axis != axes[0]))]


def _arg(compute: Callable[..., Any]) -> Callable[[Node, Array, Array], Array]:
    def evaluate(node: Node, x: Array, axis: Array) -> Array:
        return np.asarray(compute(x, axis=int(axis)), dtype=node["output_type"].numpy)

    return evaluate


ARG_TYPES = FLOATS_AND_INT32 | BOOLS | {DType.INT8, DType.UINT8}


def _lite_arg(name: str) -> Callable[[Node], list[LiteOp]]:
    kernel = LiteKernel(name, ARG_TYPES, {DType.INT8: 2, DType.BOOL: 3})

    def lower(node: Node) -> list[LiteOp]:
        kernel.check(node)
        if node["output_type"] not in (DType.INT32, DType.INT64):
            raise Declined(f"TensorFlow Lite's {name} gives int32 or int64, not {node['output_type']}")
        casts, axis = _arg_axis_operand(node)
        options = {"output_type": node["output_type"].name}
        return [*casts, LiteOp(name, (node.inputs[0], axis), tuple(node.outputs), options, kernel.version(node))]

    return lower


def _arg_axis_operand(node: Node) -> tuple[list[LiteOp], Ref]:
    if _axes(node) is None:
        return lite_int32(node.inputs[1])
    return [], int32_scalar(_arg_axis(node))


def _js_arg(node: Node) -> list[JsNode]:
    if node.inputs[0].dtype is DType.BOOL:
        raise Declined(f"TensorFlow.js's {node.op} does not take booleans")
    axis = node.inputs[1] if _axes(node) is None else int32_scalar(_arg_axis(node))
    attrs = {"T": node.inputs[0].dtype, "Tidx": DType.INT32, "output_type": node["output_type"]}
    return [JsNode(node.op, (node.inputs[0], axis), tuple(node.outputs), attrs)]


def _expand_arg(graph: Graph, node: Node) -> bool:
    """An index of a type that the target does not give is cast; of 64-bit numbers it is where one equals the largest."""
    value, axis, wanted = node.inputs[0], node.inputs[1], node["output_type"]
    expansion = Expansion(graph, node)
    if wanted not in (DType.INT32, DType.INT64):
        index = expansion.make(node.op, value, axis, output_type=DType.INT32)
        return expansion.finish(expansion.make("Cast", index, DstT=wanted))
    if value.dtype is not DType.INT64:
        return False
    extreme = "Max" if node.op == "ArgMax" else "Min"
    best = expansion.make("Equal", value, expansion.make(extreme, value, axis, keep_dims=True))
    return expansion.finish(expansion.make("ArgMax", expansion.make("Cast", best, DstT=DType.INT32), axis, output_type=wanted))


# -- the tables ----------------------------------------------------------------------------------------------------


def _numbers(*dtypes: type[np.generic]) -> Callable[[], Iterator[Example]]:
    def build() -> Iterator[Example]:
        x = sample(2, 3, 4)
        for axes in ([1], [0, 2], [-1], [0, 1, 2]):
            for keep in (False, True):
                note = f"axes {' '.join(map(str, axes))}{' kept' if keep else ''}"
                yield Example((x, np.array(axes, np.int32)), {"keep_dims": keep}, (1,), 2e-6, note=note)
        yield Example((x, np.array(-2, np.int64)), constants=(1,), tolerance=2e-6, note="scalar axis")
        yield Example((x, np.array([0, -1], np.int32)), tolerance=2e-6, note="computed axes")
        yield Example((x, np.array(1)), {"keep_dims": True}, tolerance=2e-6, note="computed 64-bit axis")
        yield Example((x, np.zeros(0, np.int32)), constants=(1,), note="no axes")
        yield Example((sample(1, 2, 1, 3, 2, 2), np.array([1, 3], np.int32)), constants=(1,), tolerance=2e-6, note="six dims")
        yield Example((np.zeros((2, 0, 3), np.float32), np.array([1], np.int32)), constants=(1,), note="nothing")
        yield Example((np.zeros((2, 0), np.int32), np.array([-1], np.int32)), {"keep_dims": True}, (1,), note="nothing, int32")
        for dtype in dtypes:
            ints = np.array([[[7, -2, 9], [1, -8, 4]]])
            ints = (ints if np.iinfo(np.dtype(dtype)).min else abs(ints)).astype(dtype)
            yield Example((ints, np.array([2], np.int32)), constants=(1,), note=dtype.__name__)

    return build


def _extremes() -> Iterator[Example]:
    yield from _numbers(*ALL_INTS)()
    unsigned = np.array([[2**32 - 1, 2**31, 5], [2**31 - 1, 2**31 + 1, 2**31]], np.uint32)
    yield Example((unsigned, np.array([1], np.int32)), constants=(1,), note="upper half of uint32")


def _sums(*dtypes: type[np.generic]) -> Callable[[], Iterator[Example]]:
    def build() -> Iterator[Example]:
        yield from _numbers(*dtypes)()
        for dtype in (np.int8, np.uint8):
            many = np.array([[100, 90, 80], [3, 5, 2]]).astype(dtype)
            yield Example((many, np.array([1], np.int32)), constants=(1,), note=f"{dtype.__name__} beyond its range")

    return build


def _booleans() -> Iterator[Example]:
    x = sample(2, 3, 4) > 0
    for axes in ([1], [0, 2], [0, 1, 2]):
        yield Example((x, np.array(axes, np.int32)), {"keep_dims": len(axes) == 2}, (1,), note=f"axes {' '.join(map(str, axes))}")
    yield Example((x, np.array([1, 0], np.int32)), note="computed axes")
    yield Example((np.zeros((2, 0), bool), np.array([1], np.int32)), constants=(1,), note="nothing")


def _arg_examples() -> Iterator[Example]:
    x = sample(2, 3, 4)
    for axis in (0, 1, -1):
        for output in (DType.INT32, DType.INT64):
            yield Example((x, np.array(axis, np.int32)), {"output_type": output}, (1,), note=f"axis {axis} {output}")
    yield Example((x, np.array(1, np.int32)), note="computed axis")
    yield Example((np.array([[3, 9, 9, 1]], np.int32), np.array(1, np.int64)), constants=(1,), note="tie")
    yield Example((sample(1, 2, 1, 3, 2, 2), np.array(3, np.int32)), constants=(1,), note="six dims")
    yield Example((np.array([[False, True, True]]), np.array(-1, np.int32)), {"output_type": DType.INT32}, (1,), note="bool")
    for dtype in (np.int8, np.uint8, np.int16, np.int64):
        numbers = np.array([[5, 100, 100, 2], [1, 1, 0, 0]]).astype(dtype)
        yield Example((numbers, np.array(1, np.int32)), constants=(1,), note=f"{dtype.__name__}, tie")
    yield Example((x, np.array(2, np.int32)), {"output_type": DType.UINT16}, (1,), raw="ArgMax", note="uint16 index")


def _arg_min_examples() -> Iterator[Example]:
    yield from (each for each in _arg_examples() if not each.raw)  # TensorFlow's smallest has indices of int32 and int64 alone


def _norms() -> Iterator[Example]:
    x = sample(2, 3, 4)
    yield Example((x, np.array([1], np.int32)), constants=(1,))
    yield Example((x, np.array([0, -1], np.int32)), {"keep_dims": True}, (1,), note="axes kept")
    yield Example((np.array([[3, 4], [5, 6]], np.int32), np.array(1, np.int32)), constants=(1,), note="int32")
    yield Example((np.zeros((2, 0), np.float32), np.array(1, np.int32)), constants=(1,), note="nothing")


def _reduction(
    name: str,
    compute: Callable[..., Array],
    kernel: LiteKernel | None,
    examples: Callable[[], Iterator[Example]],
    *,
    fold: Callable[[tuple[int, ...]], int] | None = None,
    to_tfjs: ToTfjs | None = _js_reduction,
    widens: Mapping[DType, DType] | None = None,
    wraps: bool = False,
) -> OpSpec:
    to_tflite: ToTflite | None = _lite_reduction(kernel) if kernel is not None else None
    return OpSpec(
        name=name,
        attrs={"keep_dims": False},
        infer=_infer_reduction(fold),
        evaluate=_reduce(compute),
        to_tflite=to_tflite,
        to_tfjs=to_tfjs,
        expand=_expand_reduction,
        widens=widens or {},
        wraps=wraps,
        by_width=UNSIGNED if name in ("Max", "Min") else False,
        examples=examples,
    )


def _arg_reduction(name: str, kernel: str, compute: Callable[..., Any], examples: Callable[[], Iterator[Example]]) -> OpSpec:
    return OpSpec(
        name=name,
        attrs={"output_type": DType.INT64},
        infer=_infer_arg,
        evaluate=_arg(compute),
        to_tflite=_lite_arg(kernel),
        to_tfjs=_js_arg,
        expand=_expand_arg,
        widens={**WIDER, DType.BOOL: DType.INT32},
        examples=examples,
    )


EXTREMES = NUMBERS | {DType.INT8, DType.UINT8, DType.INT16}
EXTREME_VERSIONS = {DType.INT8: 2, DType.INT16: 3}
INTS = (np.int32, np.int64)
ALL_INTS = (*INTS, np.int8, np.uint8, np.int16, np.uint16, np.uint32)

SPECS = (
    _reduction("Mean", _mean, LiteKernel("MEAN", NUMBERS), _numbers(*ALL_INTS), to_tfjs=_js_mean, widens=WIDER),
    _reduction("Sum", _sum, LiteKernel("SUM", NUMBERS), _sums(*ALL_INTS), fold=sum, widens=WIDER_OR_BITS, wraps=True),
    _reduction("Max", _max, LiteKernel("REDUCE_MAX", EXTREMES, EXTREME_VERSIONS), _extremes, fold=_largest, widens=WIDER),
    _reduction("Min", _min, LiteKernel("REDUCE_MIN", EXTREMES, EXTREME_VERSIONS), _extremes, widens=WIDER),
    _reduction(
        "Prod", _prod, LiteKernel("REDUCE_PROD", NUMBERS), _sums(*ALL_INTS), fold=math.prod, widens=WIDER_OR_BITS, wraps=True
    ),
    _reduction("All", np.all, LiteKernel("REDUCE_ALL", BOOLS), _booleans),
    _reduction("Any", np.any, LiteKernel("REDUCE_ANY", BOOLS), _booleans),
    _reduction("EuclideanNorm", _norm, None, _norms, to_tfjs=None),
    _arg_reduction("ArgMax", "ARG_MAX", np.argmax, _arg_examples),
    _arg_reduction("ArgMin", "ARG_MIN", np.argmin, _arg_min_examples),
)
