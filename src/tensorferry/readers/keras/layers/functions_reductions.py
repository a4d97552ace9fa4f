"""TensorFlow's functions on Keras tensors that make one number of many, multiply and sort."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder
from tensorferry.readers.keras.description import EXPORT
from tensorferry.readers.keras.layers.arguments import axes, element_type, integer, only, tensor
from tensorferry.readers.keras.layers.functions import function, table
from tensorferry.readers.keras.layers.operations import as_truth, pair
from tensorferry.readers.keras.layers.operations_reductions import log_sum_exp_over, sorted_along
from tensorferry.readers.keras.layers.operations_shapes import contract, paired_axes
from tensorferry.tensor import DType

_REDUCED = {f"reduce_{name}": name.capitalize() for name in ("sum", "mean", "max", "min", "prod", "any", "all")}


def _reduced(op: str) -> Any:
    def reduce(
        build: Builder,
        input_tensor: Any,
        axis: Any = None,
        keepdims: Any = None,
        reduction_indices: Any = None,
        keep_dims: Any = None,
    ) -> Value:
        value = tensor(build, input_tensor)
        over = axes(build, axis if axis is not None else reduction_indices, value)
        return build.reduce(op, value, over, bool(keepdims or keep_dims))

    return reduce


table({**_REDUCED, "reduce_euclidean_norm": "EuclideanNorm"}, _reduced)


@function("reduce_variance", "reduce_std")
def spread(build: Builder, input_tensor: Value, axis: Any = None, keepdims: Any = False) -> Value:
    """The mean square of what lies beside the mean; its root."""
    over = axes(build, axis, input_tensor)
    made = _variance(build, input_tensor, over, bool(keepdims))
    return build.add("Sqrt", (made,)) if build.layer.kind.endswith("std") else made


def _variance(build: Builder, value: Value, over: list[int], keep: bool) -> Value:
    beside = build.add("Sub", (value, build.reduce("Mean", value, over, keep=True)))
    return build.reduce("Mean", build.add("Square", (beside,)), over, keep)


@function("moments", ignored=("shift",))
def moments(build: Builder, x: Value, axes: Any, keepdims: Any = None, keep_dims: Any = None) -> list[Value]:
    """Mean and variance."""
    over, keep = _axes(build, axes, x), bool(keepdims or keep_dims)
    return [build.reduce("Mean", x, over, keep), _variance(build, x, over, keep)]


_axes = axes


@function("reduce_logsumexp")
def log_sum_exp(build: Builder, input_tensor: Value, axis: Any = None, keepdims: Any = False) -> Value:
    """The logarithm of the sum of exponentials."""
    return log_sum_exp_over(build, input_tensor, axes(build, axis, input_tensor), bool(keepdims))


@function("count_nonzero")
def count_nonzero(build: Builder, input: Value, axis: Any = None, keepdims: Any = None, dtype: Any = None) -> Value:
    """How many are not 0."""
    kind = DType.INT64 if dtype is None else element_type(build, dtype)
    return build.reduce("Sum", build.cast(as_truth(build, input), kind), axes(build, axis, input), bool(keepdims))


@function("zero_fraction")
def zero_fraction(build: Builder, value: Value) -> Value:
    """Which share is 0."""
    zeros = build.add("Equal", (value, build.number(0, value)))
    return build.reduce("Mean", build.cast(zeros, DType.FLOAT32), axes(build, None, value))


@function("norm", "linalg.norm")
def norm(
    build: Builder,
    tensor: Value,
    ord: Any = "euclidean",
    axis: Any = None,
    keepdims: Any = None,
    keep_dims: Any = None,
) -> Value:
    """The root of the sum of squares; over one axis also other orders."""
    over, keep = axes(build, axis, tensor), bool(keepdims or keep_dims)
    size = build.add("Abs", (tensor,))
    if ord in (1, "inf", np.inf) and len(over) == 1:
        return build.reduce("Sum" if ord == 1 else "Max", size, over, keep)
    if ord not in ("euclidean", "fro", 2) or (ord == 2 and len(over) != 1 and axis is not None):
        raise build.unsupported(f"it is a norm of the order {ord}", EXPORT)
    return build.add("Sqrt", (build.reduce("Sum", build.add("Square", (tensor,)), over, keep),))


@function("l2_normalize", "linalg.l2_normalize")
def l2_normalize(build: Builder, x: Value, axis: Any = None, epsilon: float = 1e-12, dim: Any = None) -> Value:
    """To a length of 1."""
    over = axes(build, axis if axis is not None else dim, x)
    square = build.reduce("Sum", build.add("Square", (x,)), over, keep=True)
    return build.add("Mul", (x, build.add("Rsqrt", (build.add("Maximum", (square, build.number(epsilon, x))),))))


@function("l2_loss")
def l2_loss(build: Builder, t: Value) -> Value:
    """Half the sum of squares."""
    return build.add("L2Loss", (t,))


@function("argmax", "argmin")
def place(
    build: Builder,
    input: Value,
    axis: Any = None,
    output_type: Any = None,
    dimension: Any = None,
) -> Value:
    """Where the largest or the least stands."""
    op = "ArgMax" if build.layer.kind.endswith("argmax") else "ArgMin"
    given = axis if axis is not None else dimension
    over = build.axis(input, 0 if given is None else integer(build, given))
    kind = DType.INT64 if output_type is None else element_type(build, output_type)
    return build.add(op, (input, build.constant(over, name="axis")), {"output_type": kind})


@function("cumsum", "cumprod")
def running(build: Builder, x: Value, axis: Any = 0, exclusive: bool = False, reverse: bool = False) -> Value:
    """The sum or product so far."""
    op = "Cumsum" if build.layer.kind.endswith("sum") else "Cumprod"
    over = build.constant(build.axis(x, integer(build, axis)), name="axis")
    return build.add(op, (x, over), {"exclusive": bool(exclusive), "reverse": bool(reverse)})


@function("top_k", ignored=("sorted",))
def top_k(build: Builder, input: Value, k: Any = 1, index_type: Any = None) -> list[Value]:
    """The largest of the last axis, and where they stand."""
    only(build, {"index_type": (None if index_type is None else element_type(build, index_type), DType.INT32)})
    return build.add_all("TopKV2", (input, build.constant(integer(build, k), name="k")))


@function("sort", "argsort", ignored=("stable",))
def sort(build: Builder, values: Value, axis: Any = -1, direction: str = "ASCENDING") -> Value:
    """In order along an axis; or where those of that order stand."""
    only(build, {"direction": (direction if direction != "DESCENDING" else None, "ASCENDING")})
    found = sorted_along(build, values, build.axis(values, integer(build, axis)), direction == "ASCENDING")
    return found[build.layer.kind.endswith("argsort")]


# -- products ------------------------------------------------------------------------------------------------------


@function("matmul", "linalg.matmul")
def matmul(
    build: Builder,
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    **more: Any,
) -> Value:
    """A product of matrices, batched."""
    if any(value for key, value in more.items() if key not in ("a_is_sparse", "b_is_sparse", "name")):
        raise build.unsupported(f"it is called with {', '.join(more)}", EXPORT)
    one, other = pair(build, a, b)
    left, right = bool(transpose_a or adjoint_a), bool(transpose_b or adjoint_b)
    if build.rank(one) == build.rank(other) == 2:
        return build.add("MatMul", (one, other), {"transpose_a": left, "transpose_b": right})
    return build.add("BatchMatMulV2", (one, other), {"adj_x": left, "adj_y": right})


@function("linalg.matvec", "compat.v1.linalg.matvec")
def matvec(build: Builder, a: Any, b: Any, transpose_a: bool = False, **_more: Any) -> Value:
    """A matrix times a vector."""
    one, other = pair(build, a, b)
    made = build.add("BatchMatMulV2", (one, build.expand(other, -1)), {"adj_x": bool(transpose_a)})
    return build.squeeze(made, [build.rank(made) - 1])


@function("tensordot", "linalg.tensordot")
def tensordot(build: Builder, a: Any, b: Any, axes: Any) -> Value:
    """The sum of products over some axes of each."""
    one, other = pair(build, a, b)
    return contract(build, one, other, paired_axes(build, build.rank(one), axes))


@function("einsum", "linalg.einsum")
def einsum(build: Builder, equation: str, *inputs: Any, **_kwargs: Any) -> Value:
    """Sums of products, as an equation tells."""
    if len(inputs) != equation.count(",") + 1:
        raise build.unsupported("Keras leaves its operands out when it saves an einsum", EXPORT)
    return build.add("Einsum", [tensor(build, each) for each in inputs], {"equation": equation.replace(" ", ""), "N": len(inputs)})
