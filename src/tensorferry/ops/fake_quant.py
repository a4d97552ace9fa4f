"""FakeQuantWithMinMaxArgs, -Vars and -VarsPerChannel: numbers rounded to the grid that a later quantisation will use.

The range is moved first so that zero lies on the grid. TensorFlow.js has the op by name and computes something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tensorferry.ir import Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec, constant_input
from tensorferry.targets import LiteOp
from tensorferry.tensor import Array

MOST_BITS_IN_LITE = 8
"""LiteRT adds the lower end of the range to the rounded number, which costs digits on finer grids."""


def _grid(node: Node) -> tuple[int, int]:
    """The lowest and the highest step."""
    bits = int(node["num_bits"])
    if not 2 <= bits <= 16:
        raise Declined(f"num_bits is {bits}, and must be 2 to 16", attributes=f"num_bits={bits}")
    return int(bool(node["narrow_range"])), (1 << bits) - 1


def _infer(node: Node) -> list[Typed]:
    _grid(node)
    value = node.inputs[0]
    return [Typed(value.dtype, value.shape)]


# -- evaluation ----------------------------------------------------------------------------------------------------


def _nudged(node: Node, low: Array, high: Array) -> tuple[Array, Array, Array]:
    """The ends of the range after zero has been put on the grid, and the size of a step; float32 as in TensorFlow's kernel."""
    first, last = _grid(node)
    scale = (high - low) / np.float32(last - first)
    zero = np.clip(np.floor(first - low / scale + np.float32(0.5)), first, last)
    return (first - zero) * scale, (last - zero) * scale, scale


def _ends(node: Node) -> tuple[Array, Array]:
    return np.asarray(node["min"], np.float32), np.asarray(node["max"], np.float32)


def _evaluate_args(node: Node, x: Array) -> Array:
    return _evaluate_vars(node, x, *_ends(node))


def _evaluate_vars(node: Node, x: Array, low: Array, high: Array) -> Array:
    bottom, top, scale = _nudged(node, low, high)
    inverse = 1 / scale
    zero = np.floor(np.float32(0.5) - bottom * inverse)
    result = np.floor((np.clip(x, bottom, top) - bottom) * inverse - zero + np.float32(0.5)) * scale
    return np.asarray(np.where((low == 0) & (high == 0), np.float32(0), result), np.float32)


# -- lowering ------------------------------------------------------------------------------------------------------


def _lite(node: Node, low: Array, high: Array) -> Sequence[LiteOp]:
    bits, narrow = int(node["num_bits"]), bool(node["narrow_range"])
    if narrow or bits > MOST_BITS_IN_LITE or low.size != 1 or not low <= 0 <= high or low == high:
        raise Declined("LiteRT refuses it with a narrow range, and is not exact beyond 8 bits", attributes=f"num_bits={bits}")
    options = {"min": float(low.reshape(())), "max": float(high.reshape(())), "num_bits": bits, "narrow_range": narrow}
    return [LiteOp("FAKE_QUANT", (node.inputs[0],), tuple(node.outputs), options)]


def _lite_args(node: Node) -> Sequence[LiteOp]:
    return _lite(node, *_ends(node))


def _lite_vars(node: Node) -> Sequence[LiteOp]:
    return _lite(node, constant_input(node, 1, "min"), constant_input(node, 2, "max"))


def _refuse_per_channel(_node: Node) -> Sequence[LiteOp]:
    raise Declined("TensorFlow Lite's FAKE_QUANT has one range for all channels")


def _expand(graph: Graph, node: Node) -> bool:
    parts = Expansion(graph, node)
    x = node.inputs[0]
    ends = _known_ends(node)
    bottom, top, scale, inverse, offset = _computed_steps(parts) if ends is None else _known_steps(node, *ends)
    clamped = parts.make("Minimum", parts.make("Maximum", x, bottom), top)
    steps = parts.make("Sub", parts.make("Mul", parts.make("Sub", clamped, bottom), inverse), offset)
    return parts.finish(parts.make("Mul", parts.make("Floor", steps), scale))


def _known_ends(node: Node) -> tuple[Array, Array] | None:
    if node.op == "FakeQuantWithMinMaxArgs":
        return _ends(node)
    low, high = (each.constant for each in node.inputs[1:])
    return None if low is None or high is None else (low.array(), high.array())


def _known_steps(node: Node, low: Array, high: Array) -> tuple[Array, ...]:
    """Lowest and highest number, size of a step, its inverse, and what is taken off the steps before they are cut to whole ones."""
    nothing = (low == 0) & (high == 0)
    with np.errstate(all="ignore"):
        bottom, top, scale = (np.where(nothing, np.float32(0), each) for each in _nudged(node, low, high))
        inverse = np.where(nothing, np.float32(0), 1 / scale)
    offset = np.floor(np.float32(0.5) - bottom * inverse) - np.float32(0.5)
    return tuple(np.asarray(each, np.float32) for each in (bottom, top, scale, inverse, offset))


def _computed_steps(parts: Expansion) -> tuple[Value, ...]:
    """The same while the model runs."""
    bottom, top, scale = _computed_range(parts)
    inverse = parts.make("Reciprocal", scale)
    zero = parts.make("Floor", parts.make("Sub", np.float32(0.5), parts.make("Mul", bottom, inverse)))
    return bottom, top, scale, inverse, parts.make("Sub", zero, np.float32(0.5))


def _computed_range(parts: Expansion) -> tuple[Value, Value, Value]:
    """`_nudged` while the model runs; a range of nothing gives NaN instead of 0."""
    first, last = _grid(parts.node)
    _, low, high = parts.node.inputs
    scale = parts.make("RealDiv", parts.make("Sub", high, low), float(last - first))
    zero = parts.make("Floor", parts.make("Sub", np.float32(first + 0.5), parts.make("RealDiv", low, scale)))
    zero = parts.make("Minimum", parts.make("Maximum", zero, float(first)), float(last))
    bottom = parts.make("Mul", parts.make("Sub", np.float32(first), zero), scale)
    top = parts.make("Mul", parts.make("Sub", np.float32(last), zero), scale)
    return bottom, top, scale


# -- examples ------------------------------------------------------------------------------------------------------

_RANGES = ((-6.0, 6.0), (0.0, 3.0), (-0.3, 2.2), (0.5, 2.0), (-3.0, -1.0))


def _args_examples() -> Iterator[Example]:
    x = sample(5, 40) * np.float32(3)
    for bits, narrow in ((8, False), (8, True), (4, False), (2, True), (16, False)):
        for low, high in _RANGES[:5:2] if bits == 8 else _RANGES[1:3]:
            attrs = {"min": low, "max": high, "num_bits": bits, "narrow_range": narrow}
            yield Example((x,), attrs, note=f"{bits} bits, {low} to {high}{', narrow' if narrow else ''}")


def _vars_examples() -> Iterator[Example]:
    x = sample(5, 40) * np.float32(3)
    for low, high in _RANGES:
        ends = (np.asarray(low, np.float32), np.asarray(high, np.float32))
        yield Example((x, *ends), {}, (1, 2), note=f"{low} to {high}")
    yield Example((x, np.asarray(-1.2, np.float32), np.asarray(2.3, np.float32)), {"num_bits": 5}, note="computed range")
    yield Example((x, np.zeros((), np.float32), np.zeros((), np.float32)), {}, (1, 2), note="a range of nothing")


def _per_channel_examples() -> Iterator[Example]:
    low, high = np.asarray([-1, 0, -2.5, 0.1], np.float32), np.asarray([1, 2, 0, 3], np.float32)
    for narrow in (False, True):
        yield Example((sample(2, 3, 5, 4), low, high), {"narrow_range": narrow}, (1, 2), note="narrow" if narrow else "")
    yield Example((sample(7, 4), low, high), {"num_bits": 6}, note="computed ranges")
    yield Example((sample(4), low, high), {}, (1, 2), note="vector")


_ATTRS = {"num_bits": 8, "narrow_range": False}

SPECS = (
    OpSpec(
        name="FakeQuantWithMinMaxArgs",
        attrs={"min": -6.0, "max": 6.0, **_ATTRS},
        infer=_infer,
        evaluate=_evaluate_args,
        to_tflite=_lite_args,
        expand=_expand,
        examples=_args_examples,
    ),
    OpSpec(
        name="FakeQuantWithMinMaxVars",
        attrs=_ATTRS,
        infer=_infer,
        evaluate=_evaluate_vars,
        to_tflite=_lite_vars,
        expand=_expand,
        examples=_vars_examples,
    ),
    OpSpec(
        name="FakeQuantWithMinMaxVarsPerChannel",
        attrs=_ATTRS,
        infer=_infer,
        evaluate=_evaluate_vars,
        to_tflite=_refuse_per_channel,
        expand=_expand,
        examples=_per_channel_examples,
    ),
)
