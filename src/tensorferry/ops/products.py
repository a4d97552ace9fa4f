"""Matrix products written in what both targets have: integers, batches that broadcast or are many, results of another type."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import Graph, Node, Shape, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.sizes import Sizes, reshape
from tensorferry.ops.spec import Declined, Example, OpSpec, broadcast_shapes
from tensorferry.tensor import Array, DType

TURNS = {"MatMul": ("transpose_a", "transpose_b"), "BatchMatMulV2": ("adj_x", "adj_y"), "BatchMatMulV3": ("adj_x", "adj_y")}
"""Op -> the attributes that say which operand is transposed first."""


def product_shape(node: Node) -> Shape:
    """What the op's operands give, by their sides and by numpy's rule for the axes before."""
    one, other = node.inputs[:2]
    rows, inner = _sides(one, bool(node[TURNS[node.op][0]]))
    also_inner, columns = _sides(other, bool(node[TURNS[node.op][1]]))
    if isinstance(inner, int) and isinstance(also_inner, int) and inner != also_inner:
        raise Declined(f"{inner} columns do not meet {also_inner} rows")
    if one.shape is None or other.shape is None:
        return None
    outer = broadcast_shapes(one.shape[:-2], other.shape[:-2])
    assert outer is not None
    return (*outer, rows, columns)


def _sides(value: Value, turned: bool) -> tuple[int | str, int | str]:
    if value.shape is None:
        return "?", "?"
    if len(value.shape) < 2:
        raise Declined(f"an operand has rank {len(value.shape)}; a matrix has 2")
    rows, columns = value.shape[-2:]
    return (columns, rows) if turned else (rows, columns)


def expand_product(graph: Graph, node: Node) -> bool:
    """float32: all batches as one axis. Integers: products of rows and columns, summed, which is exact."""
    one, other = node.inputs
    if one.shape is None or other.shape is None:
        return False
    static = node.output.static_shape
    if static is not None and 0 in (*(one.shape), *(other.shape)):
        expansion = Expansion(graph, node)
        return expansion.finish(expansion.constant(np.zeros(static, node.output.dtype.numpy), "zeros"))
    if node.output.dtype is DType.FLOAT32:
        return _flatten_batches(graph, node)
    if node.output.dtype not in (DType.INT32, DType.INT64):
        return False
    expansion = Expansion(graph, node)
    turn_one, turn_other = (bool(node[key]) for key in TURNS[node.op])
    rows = _transposed(expansion, one) if turn_one else one
    columns = other if turn_other else _transposed(expansion, other)
    wide = [expansion.make("ExpandDims", each, np.array(axis, np.int32)) for each, axis in ((rows, -2), (columns, -3))]
    products = expansion.make("Mul", *wide)
    return expansion.finish(expansion.make("Sum", products, np.array([-1], np.int32), keep_dims=False))


def _transposed(expansion: Expansion, value: Value) -> Value:
    rank = len(value.shape or ())
    return expansion.make("Transpose", value, np.array([*range(rank - 2), rank - 1, rank - 2], np.int32))


def _flatten_batches(graph: Graph, node: Node) -> bool:
    one, other = node.inputs
    expansion = Expansion(graph, node)
    outer = (node.output.shape or ())[:-2]
    if any(isinstance(dim, str) for dim in outer) or len(outer) < 2:
        return False
    stretched = [_stretched(expansion, value, tuple(int(dim) for dim in outer)) for value in (one, other)]
    attrs = {key: node[name] for key, name in zip(("adj_x", "adj_y"), TURNS[node.op], strict=True)}
    product = expansion.make("BatchMatMulV2", *stretched, **attrs, T=DType.FLOAT32)
    sides = Sizes(expansion, product)
    return expansion.finish(reshape(expansion, product, [*(int(dim) for dim in outer), sides[1], sides[2]]))


def _stretched(expansion: Expansion, value: Value, outer: tuple[int, ...]) -> Value:
    """The operand with one batch axis, its batches repeated where they broadcast; a lone matrix stays one."""
    assert value.shape is not None
    own = value.shape[:-2]
    sizes = Sizes(expansion, value)
    sides = [sizes[len(own)], sizes[len(own) + 1]]
    if all(dim == 1 for dim in own):
        return reshape(expansion, value, [1, *sides])
    if own != outer:
        if not all(isinstance(side, int) for side in sides):
            raise Declined("a matrix of unknown size would have to be repeated")
        value = expansion.make("BroadcastTo", value, np.array([*outer, *sides], np.int32))
    return reshape(expansion, value, [int(np.prod(outer)), *sides])


# -- another type for the result -----------------------------------------------------------------------------------


def _infer_mixed(node: Node) -> list[Typed]:
    return [Typed(node["Tout"], product_shape(node))]


def _evaluate_mixed(node: Node, one: Array, other: Array) -> Array:
    dtype = node["Tout"].numpy
    one, other = one.astype(dtype), other.astype(dtype)
    product: Array = np.matmul(
        np.swapaxes(one, -1, -2) if node["adj_x"] else one, np.swapaxes(other, -1, -2) if node["adj_y"] else other
    )
    return product


def _expand_mixed(graph: Graph, node: Node) -> bool:
    expansion = Expansion(graph, node)
    dtype = node["Tout"]
    cast = [value if value.dtype is dtype else expansion.make("Cast", value, DstT=dtype) for value in node.inputs]
    return expansion.finish(expansion.make("BatchMatMulV2", *cast, adj_x=node["adj_x"], adj_y=node["adj_y"], T=dtype))


def _mixed_examples() -> Iterator[Example]:
    one = np.arange(-12, 12, dtype=np.int8).reshape(2, 3, 4) * np.int8(10)
    other = np.arange(-20, 20, dtype=np.int8).reshape(2, 4, 5)
    yield Example((one, other), {"Tout": DType.INT32}, note="int8 to int32")
    turned = np.swapaxes(other.astype(np.uint8), 1, 2).copy()
    yield Example((one, turned), {"Tout": DType.INT32, "adj_y": True}, note="int8 and uint8, turned")


SPECS = (
    OpSpec(
        name="BatchMatMulV3",
        attrs={"adj_x": False, "adj_y": False, "Ta": DType.FLOAT32, "Tb": DType.FLOAT32, "Tout": DType.FLOAT32},
        infer=_infer_mixed,
        evaluate=_evaluate_mixed,
        expand=_expand_mixed,
        by_width=True,
        examples=_mixed_examples,
    ),
)
