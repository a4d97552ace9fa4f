"""Powers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import Graph, Node, Value
from tensorferry.ops.elementwise import infer_binary, pair_examples
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.kernels import FLOATS, LiteKernel
from tensorferry.ops.spec import WIDER, Declined, Example, OpSpec, same_in_tfjs
from tensorferry.targets import JsNode
from tensorferry.tensor import Array


def _power(x: Array, y: Array) -> Array:
    if x.dtype.kind in "iu" and np.any(y < 0):
        raise Declined("an integer is raised to a negative power")
    return np.asarray(np.power(x, y))


MOST_EXPONENT_BITS = 16
"""Of the exponents of integers: beyond them a power either wraps around or is that of 0, 1 or -1, whose exponent counts by
its parity."""


def _expand_integer_power(graph: Graph, node: Node) -> bool:
    """Squares multiplied, for each bit of the exponent; no target's kernel is exact beyond 53 bits, or takes int64."""
    base, exponent = node.inputs
    if not base.dtype.is_integer:
        return False
    expansion = Expansion(graph, node)
    constant = exponent.constant.array() if exponent.constant is not None else None
    if constant is not None and constant.size == 1 and constant.ndim <= (base.rank or 0) and 0 <= constant.item() < 64:
        return expansion.finish(_constant_power(expansion, base, constant.item()))
    bits = min(MOST_EXPONENT_BITS, exponent.dtype.width * 8 - 1)
    rest, most = exponent, (1 << bits) - 1
    if exponent.dtype.width > 2:
        parity = expansion.make("AddV2", expansion.make("FloorMod", rest, 2), np.asarray(most - 1, rest.dtype.numpy))
        rest = expansion.make("SelectV2", expansion.make("Greater", rest, np.asarray(most, rest.dtype.numpy)), parity, rest)
    powers = [base]
    for _ in range(bits - 1):
        powers.append(expansion.make("Square", powers[-1]))
    result = None
    for bit in reversed(range(bits)):
        place = np.asarray(1 << bit, rest.dtype.numpy)
        has = expansion.make("GreaterEqual", rest, place)
        factor = expansion.make("SelectV2", has, powers[bit], np.asarray(1, rest.dtype.numpy))
        result = factor if result is None else expansion.make("Mul", result, factor)
        if bit:
            rest = expansion.make("SelectV2", has, expansion.make("Sub", rest, place), rest)
    assert result is not None
    return expansion.finish(result)


def _constant_power(expansion: Expansion, base: Value, exponent: int) -> Value:
    result, power = None, base
    while exponent:
        if exponent & 1:
            result = power if result is None else expansion.make("Mul", result, power)
        exponent >>= 1
        if exponent:
            power = expansion.make("Square", power)
    if result is None:
        return expansion.make("OnesLike", base)
    return result if result is not base else expansion.make("Identity", base)


def _js_power(node: Node) -> list[JsNode]:
    """Of integers TensorFlow.js computes powers as floats."""
    if node.inputs[0].dtype.is_integer and node.output.rank != 0:
        raise Declined("TensorFlow.js computes powers of integers as floats")
    return same_in_tfjs(node)


def _power_examples() -> Iterator[Example]:
    yield from pair_examples(np.int32, positive=True)()
    base, exponent = np.array([[3, -2, 0, 1, -1, 7, 10]]), np.array([[0, 1, 2, 5, 6, 1, 2], [13, 17, 0, 16, 7, 9, 3]])
    for dtype in (np.int16, np.int32, np.int64):
        yield Example((base.astype(dtype), exponent.astype(dtype)), note=f"{dtype.__name__} of each sign")
    yield Example((np.array([[3, -100], [12, 0]], np.int32), np.array(5, np.int32)), constants=(1,), note="fifth powers")


SPECS = (
    OpSpec(
        name="Pow",
        elementwise=True,
        infer=infer_binary,
        evaluate=lambda _node, x, y: _power(x, y),
        to_tflite=LiteKernel("POW", FLOATS),
        to_tfjs=_js_power,
        expand=_expand_integer_power,
        widens=WIDER,
        wraps=True,
        examples=_power_examples,
    ),
)
