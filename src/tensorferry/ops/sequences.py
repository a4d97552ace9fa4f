"""LinSpace, and Empty, which is filled with zeros here."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Graph, Node, Typed
from tensorferry.ops.dims import known_integer
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.filling import shape_operand
from tensorferry.ops.sizes import count_up
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType


def _infer_lin_space(node: Node) -> list[Typed]:
    count = known_integer(node.inputs[2])
    if count is not None and count < 1:
        raise Declined(f"{count} numbers are asked for", attributes=f"num={count}")
    return [Typed(node.inputs[0].dtype, (UNKNOWN_DIM if count is None else count,))]


def _evaluate_lin_space(_node: Node, start: Array, stop: Array, num: Array) -> Array:
    count = int(num.reshape(-1)[0])
    step = (stop - start) / start.dtype.type(max(count - 1, 1))
    made: Array = (start + step * np.arange(count, dtype=start.dtype)).astype(start.dtype).reshape(-1)
    if count > 1:
        made[-1] = stop
    return made


def _expand_lin_space(graph: Graph, node: Node) -> bool:
    """start + i * (stop - start) / (num - 1)."""
    start, stop, num = node.inputs
    count = known_integer(num)
    expansion, kind = Expansion(graph, node), start.dtype.numpy
    apart = expansion.make("Sub", stop, start)
    if count is not None:
        places = expansion.constant(np.arange(count, dtype=kind), "places")
        step = expansion.make("RealDiv", apart, np.array(max(count - 1, 1), kind))
    else:
        size = num if num.dtype is DType.INT32 else expansion.make("Cast", num, DstT=DType.INT32)
        size = expansion.make("Reshape", size, np.array([], np.int32))
        places = expansion.make("Cast", count_up(expansion, size), DstT=start.dtype)
        gaps = expansion.make("Maximum", expansion.make("Sub", size, np.array(1, np.int32)), np.array(1, np.int32))
        step = expansion.make("RealDiv", apart, expansion.make("Cast", gaps, DstT=start.dtype))
    return expansion.finish(expansion.make("AddV2", start, expansion.make("Mul", step, places)))


def _lin_space_examples() -> Iterator[Example]:
    def ends(start: float, stop: float, dtype: type[np.floating] = np.float32) -> tuple[Array, Array]:
        return np.array(start, dtype), np.array(stop, dtype)

    yield Example((*ends(-1, 3), np.array(7, np.int32)), constants=(2,))
    yield Example((*ends(2, 5), np.array(1, np.int32)), constants=(0, 2), note="one")
    yield Example((*ends(4, -4), np.array(5)), note="downwards, computed 64-bit")
    yield Example((*ends(0, 1, np.float64), np.array(4, np.int32)), constants=(0, 1, 2), note="float64, known")


def _infer_empty(node: Node) -> list[Typed]:
    return [Typed(node["dtype"], shape_operand(node.inputs[0]))]


def _evaluate_empty(node: Node, sizes: Array) -> Array:
    return np.full([int(size) for size in sizes], _nothing(node["dtype"])[()])


def _nothing(dtype: DType) -> Array:
    return np.asarray(b"", object) if dtype is DType.STRING else np.zeros((), dtype.numpy)


def _expand_empty(graph: Graph, node: Node) -> bool:
    """Whatever would lie there: zeros are as good as anything, and TensorFlow promises them where `init` is set."""
    expansion = Expansion(graph, node)
    return expansion.finish(expansion.make("Fill", node.inputs[0], _nothing(node["dtype"])))


def _empty_examples() -> Iterator[Example]:
    yield Example((np.array([2, 3], np.int32),), {"dtype": DType.FLOAT32, "init": True}, constants=(0,))
    yield Example((np.array([2], np.int32),), {"dtype": DType.INT32, "init": True}, note="computed")


SPECS = (
    OpSpec(
        name="LinSpace",
        infer=_infer_lin_space,
        evaluate=_evaluate_lin_space,
        expand=_expand_lin_space,
        examples=_lin_space_examples,
    ),
    OpSpec(
        name="Empty",
        attrs={"dtype": DType.FLOAT32, "init": False},
        infer=_infer_empty,
        evaluate=_evaluate_empty,
        expand=_expand_empty,
        examples=_empty_examples,
    ),
)
