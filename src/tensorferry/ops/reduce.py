"""Reductions over axes, and the index of the largest or smallest element along one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Node, Shape, Typed
from tensorferry.ops.kernels import BOOLS, FLOATS_AND_INT32, NUMBERS, LiteKernel
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec, ToTfjs, constant_input, normalize_axis
from tensorferry.targets import JsNode, LiteOp, Temp
from tensorferry.tensor import Array, ArrayTensor, DType

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
        return (UNKNOWN_DIM,) * len(shape) if keep else None
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
    total = np.asarray(np.sum(x, dtype=x.dtype, **how))
    count = math.prod(x.shape[axis] for axis in how["axis"]) if x.ndim else 1
    if x.dtype.kind in "fc":
        return np.asarray(total / x.dtype.type(count))
    return np.asarray(np.sign(total) * (np.abs(total) // max(count, 1)), dtype=x.dtype)  # towards zero, as TensorFlow


def _max(x: Array, **how: Any) -> Array:
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    return np.asarray(np.max(x, initial=lowest, **how))


def _min(x: Array, **how: Any) -> Array:
    highest = np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).max
    return np.asarray(np.min(x, initial=highest, **how))


# -- lowering ------------------------------------------------------------------------------------------------------


def _lite_reduction(kernel: LiteKernel) -> Callable[[Node], list[LiteOp]]:
    def lower(node: Node) -> list[LiteOp]:
        kernel.check(node)
        constant_input(node, 1, "axis")
        axes = ArrayTensor(np.array(_axes(node), np.int32))
        options = {"keep_dims": bool(node["keep_dims"])}
        return [LiteOp(kernel.name, (node.inputs[0], axes), tuple(node.outputs), options, kernel.version(node))]

    return lower


def _js_reduction(node: Node) -> list[JsNode]:
    constant_input(node, 1, "axis")
    axes = ArrayTensor(np.array(_axes(node), np.int32))
    if not axes.size:  # no axis means all axes there
        return [JsNode("Identity", (node.inputs[0],), tuple(node.outputs), {"T": node.inputs[0].dtype})]
    attrs = {"keep_dims": bool(node["keep_dims"]), "T": node.inputs[0].dtype, "Tidx": DType.INT32}
    return [JsNode(node.op, (node.inputs[0], axes), tuple(node.outputs), attrs)]


def _js_mean(node: Node) -> list[JsNode]:
    """TensorFlow.js's mean makes floats of integers; the cast back cuts towards zero as TensorFlow does."""
    if node.inputs[0].dtype.is_float or not (_axes(node) or ()):
        return _js_reduction(node)
    value = node.output
    mean = Temp("mean", DType.FLOAT32, value.shape)
    (reduction,) = _js_reduction(node)
    return [
        JsNode(reduction.op, reduction.inputs, (mean,), reduction.attrs),
        JsNode("Cast", (mean,), (value,), {"SrcT": DType.FLOAT32, "DstT": value.dtype, "Truncate": False}),
    ]


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
        axis = ArrayTensor(np.array(_arg_axis(node), np.int32))
        options = {"output_type": node["output_type"].name}
        return [LiteOp(name, (node.inputs[0], axis), tuple(node.outputs), options, kernel.version(node))]

    return lower


def _js_arg(node: Node) -> list[JsNode]:
    axis = ArrayTensor(np.array(_arg_axis(node), np.int32))
    attrs = {"T": node.inputs[0].dtype, "Tidx": DType.INT32, "output_type": node["output_type"]}
    return [JsNode(node.op, (node.inputs[0], axis), tuple(node.outputs), attrs)]


# -- the tables ----------------------------------------------------------------------------------------------------


def _numbers(*dtypes: type[np.generic]) -> Callable[[], Iterator[Example]]:
    def build() -> Iterator[Example]:
        x = sample(2, 3, 4)
        for axes in ([1], [0, 2], [-1], [0, 1, 2]):
            for keep in (False, True):
                note = f"axes {' '.join(map(str, axes))}{' kept' if keep else ''}"
                yield Example((x, np.array(axes, np.int32)), {"keep_dims": keep}, (1,), 2e-6, note=note)
        yield Example((x, np.array(-2, np.int64)), constants=(1,), tolerance=2e-6, note="scalar axis")
        yield Example((x, np.zeros(0, np.int32)), constants=(1,), note="no axes")
        yield Example((sample(1, 2, 1, 3, 2, 2), np.array([1, 3], np.int32)), constants=(1,), tolerance=2e-6, note="six dims")
        for dtype in dtypes:
            ints = np.array([[[7, -2, 9], [1, -8, 4]]]).astype(dtype)
            yield Example((ints, np.array([2], np.int32)), constants=(1,), note=dtype.__name__)

    return build


def _booleans() -> Iterator[Example]:
    x = sample(2, 3, 4) > 0
    for axes in ([1], [0, 2], [0, 1, 2]):
        yield Example((x, np.array(axes, np.int32)), {"keep_dims": len(axes) == 2}, (1,), note=f"axes {' '.join(map(str, axes))}")


def _arg_examples() -> Iterator[Example]:
    x = sample(2, 3, 4)
    for axis in (0, 1, -1):
        for dtype in (DType.INT32, DType.INT64):
            yield Example((x, np.array(axis, np.int32)), {"output_type": dtype}, (1,), note=f"axis {axis} {dtype}")
    yield Example((np.array([[3, 9, 9, 1]], np.int32), np.array(1, np.int64)), constants=(1,), note="tie")
    yield Example((sample(1, 2, 1, 3, 2, 2), np.array(3, np.int32)), constants=(1,), note="six dims")


def _reduction(
    name: str,
    compute: Callable[..., Array],
    kernel: LiteKernel,
    examples: Callable[[], Iterator[Example]],
    *,
    fold: Callable[[tuple[int, ...]], int] | None = None,
    to_tfjs: ToTfjs = _js_reduction,
) -> OpSpec:
    return OpSpec(
        name=name,
        attrs={"keep_dims": False},
        infer=_infer_reduction(fold),
        evaluate=_reduce(compute),
        to_tflite=_lite_reduction(kernel),
        to_tfjs=to_tfjs,
        examples=examples,
    )


EXTREMES = NUMBERS | {DType.INT8, DType.UINT8, DType.INT16}
EXTREME_VERSIONS = {DType.INT8: 2, DType.INT16: 3}
INTS = (np.int32, np.int64)

SPECS = (
    _reduction("Mean", _mean, LiteKernel("MEAN", NUMBERS), _numbers(*INTS), to_tfjs=_js_mean),
    _reduction("Sum", _sum, LiteKernel("SUM", NUMBERS), _numbers(*INTS), fold=sum),
    _reduction("Max", _max, LiteKernel("REDUCE_MAX", EXTREMES, EXTREME_VERSIONS), _numbers(*INTS), fold=_largest),
    _reduction("Min", _min, LiteKernel("REDUCE_MIN", EXTREMES, EXTREME_VERSIONS), _numbers(*INTS)),
    _reduction("Prod", _prod, LiteKernel("REDUCE_PROD", NUMBERS), _numbers(*INTS), fold=math.prod),
    _reduction("All", np.all, LiteKernel("REDUCE_ALL", BOOLS), _booleans),
    _reduction("Any", np.any, LiteKernel("REDUCE_ANY", BOOLS), _booleans),
    *(
        OpSpec(
            name=name,
            attrs={"output_type": DType.INT64},
            infer=_infer_arg,
            evaluate=_arg(compute),
            to_tflite=_lite_arg(lite_name),
            to_tfjs=_js_arg,
            examples=_arg_examples,
        )
        for name, lite_name, compute in (("ArgMax", "ARG_MAX", np.argmax), ("ArgMin", "ARG_MIN", np.argmin))
    ),
)
