"""The larger and the smaller of two operands, element by element.

TensorFlow lets NaN through from both sides. The kernels of the targets let it through from one: LiteRT's own and XNNPACK's from the
second, WebAssembly's from the first. An operand that cannot be NaN therefore goes where NaN would be lost, so that a bound by a
constant (a clip, a clamp, nearly all that models hold) is exact in one operator. Of two computed operands NaN in one is lost: to
keep it would take two operators more, on whole feature maps in nets that choose between halves of their channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tensorferry.ir import Dim, Node, Value
from tensorferry.ops.elementwise import (
    ALL_INTS,
    INTS,
    MAXIMUM,
    MINIMUM,
    FoldDims,
    expand_unsigned_order,
    fold_dims,
    infer_binary,
    pair_examples,
)
from tensorferry.ops.kernels import LiteKernel
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import UNSIGNED, WIDER, Example, OpSpec, same_in_tfjs
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import Array


def _fold_equal(compute: Callable[[int, int], int]) -> FoldDims:
    """A name against itself stays."""

    def fold(a: Dim, b: Dim) -> Dim:
        return a if a == b else fold_dims(compute)(a, b)

    return fold


LARGEST_READ = 4096


def _never_nan(value: Value) -> bool:
    """Whether it is known that no element is NaN."""
    tensor = value.constant
    if tensor is not None:
        return tensor.size <= LARGEST_READ and not bool(np.isnan(tensor.array()).any())
    maker = value.producer
    return maker.op == "Cast" and not maker.inputs[0].dtype.is_float


def _ordered(node: Node, safe: int) -> tuple[Value, Value]:
    """The operands, one that is never NaN at place `safe` where there is just one."""
    one, other = node.inputs
    if not one.dtype.is_float or _never_nan(one) == _never_nan(other):
        return one, other
    return (one, other) if _never_nan(node.inputs[safe]) else (other, one)


def _lite(kernel: LiteKernel) -> Callable[[Node], list[LiteOp]]:
    def lower(node: Node) -> list[LiteOp]:
        kernel.check(node)
        return [LiteOp(kernel.name, _ordered(node, 0), (node.output,), {}, kernel.version(node))]

    return lower


def _js(node: Node) -> list[JsNode]:
    return [JsNode(each.op, _ordered(node, 1), each.outputs, each.attrs) for each in same_in_tfjs(node)]


def _examples() -> Iterator[Example]:
    yield from pair_examples(*INTS)()
    for dtype in ALL_INTS:
        limits = np.iinfo(np.dtype(dtype).name)
        most = limits.max if dtype is np.uint64 else min(limits.max, 2**31 - 1)
        x = np.array([[most, max(limits.min, -(2**31)), 7, 0]], dtype)
        if dtype is not np.uint64:  # whose larger half TensorFlow.js cannot hold
            yield Example((x, np.array([[5], [most - 1]], dtype)), note=f"{dtype.__name__} ends")
    unsigned = np.array([[2**32 - 1, 2**31, 5, 0]], np.uint32)
    yield Example((unsigned, np.array([[2**31 - 1], [2**31 + 1]], np.uint32)), note="upper half of uint32")
    odd = np.array([[np.nan, -np.inf, np.inf], [-1, np.nan, 4]], np.float32)
    yield Example((odd, np.array(0.5, np.float32)), constants=(1,), note="NaN, bounded")
    yield Example((np.array(0.5, np.float32), odd), constants=(0,), note="a bound of NaN")
    yield Example((np.array([[0.5, -2, 1]], np.float32), odd), constants=(0,), note="a row of bounds of NaN")
    yield Example((sample(4, 19), np.full(19, 0.1, np.float32)), constants=(1,), note="bounds of columns")


def _spec(name: str, compute: Callable[..., Array], kernel: LiteKernel, fold: Callable[[int, int], int]) -> OpSpec:
    return OpSpec(
        name=name,
        elementwise=True,
        infer=lambda node: infer_binary(node, _fold_equal(fold)),
        evaluate=lambda _node, x, y: compute(x, y),
        to_tflite=_lite(kernel),
        to_tfjs=_js,
        expand=expand_unsigned_order,
        by_width=UNSIGNED,
        widens=WIDER,
        examples=_examples,
    )


SPECS = (_spec("Maximum", np.maximum, MAXIMUM, max), _spec("Minimum", np.minimum, MINIMUM, min))
