"""Types of values in a graph that was just read: by the op's rule where there is one, else by what the file says."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tensorferry import ops
from tensorferry.errors import FerryError
from tensorferry.ir import UNKNOWN_DIM, Graph, Node, Origin, Shape, Typed, Value
from tensorferry.tensor import DType
from tensorferry.wire.signatures import signature

log = logging.getLogger(__name__)

_TYPE_KEYS = ("dtype", "DstT", "out_type", "output_type", "Tout", "T")
"""Attributes that tell the output's element type of an op that TensorFlow does not have, the surest first."""

_LIST_KEYS = ("output_types", "Tout", "out_types", "component_types", "dtypes")


def outputs_read(reads: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Node name -> how many outputs it has at least, from (node, index of output) of all that is read."""
    counts: dict[str, int] = {}
    for name, index in reads:
        counts[name] = max(counts.get(name, 0), index + 1)
    return counts


def guess_types(op: str, attrs: Mapping[str, Any], count: int) -> list[Typed]:
    """Output types from the op's signature and attributes alone: at least `count` of them."""
    known = signature(op)
    types = _guess_of_custom(attrs) if known is None else known.output_types(attrs)
    shapes = attrs.get("_output_shapes")
    if isinstance(shapes, list) and known is None:
        count = max(count, len(shapes))
    types += [DType.UNKNOWN] * (count - len(types))
    return [Typed(dtype, _shape_of(shapes, index)) for index, dtype in enumerate(types)]


def _guess_of_custom(attrs: Mapping[str, Any]) -> list[DType]:
    """Of an op that TensorFlow does not have: the types an attribute lists, or one output of a type that an attribute tells."""
    listed = next((attrs[key] for key in _LIST_KEYS if _is_types(attrs.get(key))), None)
    if listed is not None:
        return list(listed)
    return [next((attrs[key] for key in _TYPE_KEYS if isinstance(attrs.get(key), DType)), DType.UNKNOWN)]


def _is_types(attribute: Any) -> bool:
    return isinstance(attribute, list) and bool(attribute) and all(isinstance(each, DType) for each in attribute)


def _shape_of(shapes: Any, index: int) -> Shape:
    shape = shapes[index] if isinstance(shapes, list) and index < len(shapes) else None
    return shape if isinstance(shape, tuple) else None


def infer_tolerantly(node: Node) -> Sequence[Typed]:
    """Output types by the op's rule; where it cannot say, the types the node has now, with unknown shapes.

    Reading does not fail over a node that may never be needed: the same rule runs again, and fails, when it is converted.
    """
    try:
        ops.settle(node, infer_tolerantly)
        return ops.infer(node)
    except FerryError as error:
        log.info("node '%s' (%s): its type is not known: %s", node.name, node.op, error)
        return _known_types(node)


def add_tolerantly(graph: Graph, op: str, inputs: Sequence[Value], attrs: Mapping[str, Any], name: str, origin: Origin) -> Node:
    """Add a node, typed as far as its op's rule can say; with its defaults filled in."""
    op, filled = ops.canonical(op, attrs)
    dtype = inputs[0].dtype if inputs else DType.UNKNOWN
    probe = Node(name, op, inputs, filled, guess_types(op, {"T": dtype, **filled}, 1))
    try:
        typed = infer_tolerantly(probe)
    finally:
        probe.set_inputs(())
    return graph.add(op, inputs, filled, typed=typed, name=name, origin=origin)


def _known_types(node: Node) -> list[Typed]:
    return [Typed(value.dtype, value.shape) for value in node.outputs]


def retype(graph: Graph) -> None:
    """Type every value anew after inputs were changed; as tolerant as reading is."""
    for node in graph.nodes:
        typed = infer_tolerantly(node)
        if len(typed) >= len(node.outputs):
            for value, each in zip(node.outputs, typed, strict=False):
                value.retype(each)


def name_dims(shape: Shape, name: str) -> Shape:
    """Give each unknown size of an input a name of its own, `name.axis`, by which it can be followed."""
    if shape is None:
        return None
    return tuple(f"{name}.{axis}" if dim == UNKNOWN_DIM else dim for axis, dim in enumerate(shape))
