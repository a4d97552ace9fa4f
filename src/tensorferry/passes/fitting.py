"""Nodes whose element type or number of dimensions is beyond a target's operator, computed in a form that it takes.

Widening puts a node between two Casts, collapsing between Reshapes that merge axes. Both ask first whether the target accepts the
new form, by a trial node that is in no graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tensorferry import ops
from tensorferry.errors import FerryError
from tensorferry.ir import Dim, Graph, Node, Shape, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.spec import OpSpec
from tensorferry.tensor import CastTensor, DType, ReshapedTensor

Accepts = Callable[[Node], bool]
"""Whether the target can express a node as it is."""

EXPANDABLE_DIMS = 6

_FUSED = ("activation", "activation_alpha")


# -- wider element types -------------------------------------------------------------------------------------------


def widen(graph: Graph, node: Node, spec: OpSpec, accepts: Accepts) -> bool:
    """Compute the node in a wider element type and cast the result back, wrapping around as TensorFlow does."""
    for rules, trial in _wider_trials(node, spec):
        if accepts(trial) or spec.expand is not None:
            _write_widened(graph, node, rules)
            return True
    return False


def _wider_trials(node: Node, spec: OpSpec) -> Iterator[tuple[Mapping[DType, DType], Node]]:
    for rules in _wider_types(node, spec.widens):
        trial = _trial(node, [_widened(value.typed, rules) for value in node.inputs], rules)
        if trial is not None:
            yield rules, trial


def _wider_types(node: Node, wider: Mapping[DType, DType]) -> Iterator[Mapping[DType, DType]]:
    """One narrow type of the inputs at a time, then all: an index may keep its type where the data cannot."""
    found = {value.dtype: wider[value.dtype] for value in node.inputs if value.dtype in wider}
    for dtype, wide in found.items():
        yield {dtype: wide}
    if len(found) > 1:
        yield found


def _widened(typed: Typed, rules: Mapping[DType, DType]) -> Typed:
    return Typed(rules.get(typed.dtype, typed.dtype), typed.shape, typed.content)


def _write_widened(graph: Graph, node: Node, rules: Mapping[DType, DType]) -> None:
    expansion = Expansion(graph, node)
    values = [_cast(expansion, value, rules[value.dtype]) if value.dtype in rules else value for value in node.inputs]
    made = expansion.make_node(node.op, *values, **_attributes(node, rules))
    expansion.finish(*(_cast(expansion, new, old.dtype) for new, old in zip(made.outputs, node.outputs, strict=True)))


def _cast(expansion: Expansion, value: Value, dtype: DType) -> Value:
    if value.dtype is dtype:
        return value
    if value.constant is not None:
        return expansion.constant(CastTensor(value.constant, dtype), value.producer.name)
    return expansion.make("Cast", value, DstT=dtype)


def _attributes(node: Node, rules: Mapping[DType, DType]) -> dict[str, Any]:
    """The node's attributes without a fused activation, which is applied to the result in its own type."""
    kept = {key: value for key, value in node.attrs.items() if key not in _FUSED}
    return {key: rules.get(value, value) if isinstance(value, DType) else value for key, value in kept.items()}


# -- fewer dimensions ----------------------------------------------------------------------------------------------


def collapse(graph: Graph, node: Node, spec: OpSpec, accepts: Accepts) -> bool:
    """Compute an elementwise node on merged axes; where that is too many still, on operands stretched to the full shape.

    An op that is written in simpler ops is left to them up to EXPANDABLE_DIMS: none of these takes more.
    """

    def fits(trial: Node) -> bool:
        if accepts(trial) or any(accepts(wider) for _rules, wider in _wider_trials(trial, spec)):
            return True
        return spec.expand is not None and _most_dims(node) > EXPANDABLE_DIMS >= _most_dims(trial)

    shapes = [value.shape for value in node.inputs]
    shape = node.outputs[0].shape
    if shape is None or len(node.outputs) != 1 or not _can_restore(node):
        return False
    merged = merge_axes(shapes)
    fewer = merged is not None and max(map(len, merged)) < len(shape) and all(_one_unknown(each) for each in merged)
    if merged is not None and fewer and _compute_reshaped(graph, node, merged, fits, stretch=False):
        return True
    static = node.outputs[0].static_shape
    if static is None or all(each == shape for each in shapes):
        return False
    return _compute_reshaped(graph, node, [(math.prod(static),)] * len(shapes), fits, stretch=True)


def _most_dims(node: Node) -> int:
    return max((value.rank or 0) for value in (*node.inputs, *node.outputs))


def merge_axes(shapes: Sequence[Shape]) -> list[tuple[Dim, ...]] | None:
    """The operands' shapes with neighbouring axes made one where all of them broadcast alike; None where that is not known."""
    ranks = [len(shape) for shape in shapes if shape is not None]
    if len(ranks) != len(shapes):
        return None
    padded = [(1,) * (max(ranks) - len(shape)) + shape for shape in shapes if shape is not None]
    merged: list[list[Dim]] = [[] for _ in shapes]
    before: tuple[bool, ...] | None = None
    for dims in zip(*padded, strict=True):
        if all(dim == 1 for dim in dims):
            continue
        stretched = tuple(dim == 1 for dim in dims)
        alike = len({dim for dim in dims if dim != 1}) == 1
        if alike and stretched == before:
            for group, dim in zip(merged, dims, strict=True):
                group[-1] = _product(group[-1], dim)
        else:
            for group, dim in zip(merged, dims, strict=True):
                group.append(dim)
        before = stretched if alike else None
    return [tuple(group) or (1,) for group in merged]


def _product(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    return b if a == 1 else a if b == 1 else f"{a}*{b}"


def _one_unknown(shape: Sequence[Dim]) -> bool:
    """Reshape can be told to find out one size; not beside a size of 0."""
    unknown = sum(isinstance(dim, str) for dim in shape)
    return unknown == 0 or (unknown == 1 and 0 not in shape)


def _can_restore(node: Node) -> bool:
    """The output's shape can be written down, or is that of an input."""
    shape = node.outputs[0].shape
    return shape is not None and (_one_unknown(shape) or any(value.shape == shape for value in node.inputs))


def _compute_reshaped(graph: Graph, node: Node, shapes: Sequence[tuple[Dim, ...]], accepts: Accepts, *, stretch: bool) -> bool:
    trial = _trial(node, [Typed(value.dtype, shape) for value, shape in zip(node.inputs, shapes, strict=True)], {})
    if trial is None or not accepts(trial):
        return False
    expansion = Expansion(graph, node)
    full = np.array(node.outputs[0].static_shape, np.int32) if stretch else None
    values = []
    for value, shape in zip(node.inputs, shapes, strict=True):
        whole = value if full is None or value.shape == node.outputs[0].shape else expansion.make("BroadcastTo", value, full)
        values.append(_reshape(expansion, whole, shape))
    result = expansion.make(node.op, *values, **_attributes(node, {}))
    return expansion.finish(expansion.make("Reshape", result, _full_shape(expansion, node)))


def _reshape(expansion: Expansion, value: Value, shape: Sequence[Dim]) -> Value:
    if value.shape == tuple(shape):
        return value
    sizes = [dim if isinstance(dim, int) else -1 for dim in shape]
    if value.constant is not None and -1 not in sizes:
        return expansion.constant(ReshapedTensor(value.constant, sizes), value.producer.name)
    return expansion.make("Reshape", value, np.array(sizes, np.int32))


def _full_shape(expansion: Expansion, node: Node) -> Value:
    shape = node.outputs[0].shape
    assert shape is not None
    if _one_unknown(shape):
        return expansion.constant(np.array([dim if isinstance(dim, int) else -1 for dim in shape], np.int32), "shape")
    same = next(value for value in node.inputs if value.shape == shape)
    return expansion.make("Shape", same, out_type=DType.INT32)


# -- trials --------------------------------------------------------------------------------------------------------


def _trial(node: Node, typed: Sequence[Typed], rules: Mapping[DType, DType]) -> Node | None:
    """The node over inputs of these types, outside of any graph; None where inference objects."""
    inputs = [_stand_in(value, each) for value, each in zip(node.inputs, typed, strict=True)]
    trial = Node(node.name, node.op, inputs, _attributes(node, rules), ())
    try:
        outputs = ops.infer(trial)
    except FerryError:
        return None
    return Node(node.name, node.op, inputs, trial.attrs, outputs)


def _stand_in(value: Value, typed: Typed) -> Value:
    """A value of the given type that is constant where the original is."""
    tensor = value.constant
    if tensor is None or any(isinstance(dim, str) for dim in typed.shape or ()):
        return Node(value.producer.name, "Placeholder", (), {"dtype": typed.dtype, "shape": typed.shape}, [typed]).outputs[0]
    tensor = tensor if typed.dtype is tensor.dtype else CastTensor(tensor, typed.dtype)
    sizes = [int(dim) for dim in typed.shape or ()]
    if math.prod(sizes) == tensor.size:
        tensor = ReshapedTensor(tensor, sizes)
    return Node(value.producer.name, "Const", (), {"value": tensor}, [typed]).outputs[0]
