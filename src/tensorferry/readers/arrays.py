"""Arrays of TensorFlow 1 (TensorArrayV3 and its like) read as lists, of which there is one kind from here on.

An array is a resource, and every op on it also takes and gives a `flow`, a number that only orders them. Read as a list, the flow
is the list itself: what was written is what flows on. In loops and conditions the flows are variables and results already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Node, Shape, Value
from tensorferry.readers.typing import guess_types, infer_tolerantly
from tensorferry.tensor import DType
from tensorferry.wire.signatures import signature

_HANDING_ON = frozenset({"Enter", "RefEnter", "Switch", "RefSwitch", "Identity", "NextIteration", "Exit"})
_FAMILY = "TensorArray"


def read_arrays_as_lists(graph: Graph) -> None:
    """Replace every op on an array that is made in the graph."""
    for node in tuple(graph.nodes):
        rule = _RULES.get(_task(node))
        if rule is not None:
            made = _Maker(graph, node).of()
            if made is not None:
                rule(_Maker(graph, node), made)
    for node in reversed(tuple(graph.nodes)):
        if _task(node) == "" and not any(graph.readers(value) for value in node.outputs):
            graph.remove(node)


def _task(node: Node) -> str | None:
    """What the node does with an array: `Write` of TensorArrayWriteV3; empty for the one that makes it, None for other ops."""
    if not node.op.startswith(_FAMILY):
        return None
    return node.op.removeprefix(_FAMILY).removesuffix("V3").removesuffix("V2")


@dataclass(frozen=True, slots=True)
class _Maker:
    """Puts list ops in the place of one op."""

    graph: Graph
    node: Node

    def of(self) -> Node | None:
        """The TensorArrayV3 whose array the node works on."""
        if _task(self.node) == "":
            return self.node
        value = self.node.inputs[0]
        while value.producer.op in _HANDING_ON or (value.producer.op == "Merge" and value.producer.inputs):
            value = value.producer.inputs[0]
        return value.producer if _task(value.producer) == "" and len(value.producer.outputs) == 2 else None

    def constant(self, elements: object, dtype: type[np.generic] = np.int32) -> Value:
        array = np.asarray(elements, dtype)
        return self.graph.constant(array, f"{self.node.name}/shape", before=self.node, origin=self.node.origin)

    def shape(self, shape: Shape) -> Value:
        """A shape as list ops want it: -1 for a size nobody knows, -1 alone for an unknown rank."""
        return self.constant(-1 if shape is None else [dim if isinstance(dim, int) else -1 for dim in shape])

    def put(self, op: str, inputs: Sequence[Value], attrs: Mapping[str, Any], first: int = 0) -> None:
        """Put a list op there; its outputs take the place of the node's from number `first` on."""
        node, graph = self.node, self.graph
        op, attrs = ops.canonical(op, attrs)
        takes = signature(op)
        for key, value, _implied in takes.type_attributes([each.dtype for each in inputs]) if takes is not None else ():
            if value is not DType.UNKNOWN:
                attrs.setdefault(key, value)
        probe = Node(node.name, op, inputs, attrs, guess_types(op, attrs, 0))
        try:
            typed = infer_tolerantly(probe)
        finally:
            probe.set_inputs(())
        made = graph.add(
            op, inputs, attrs, typed=typed, name=f"{node.name}/list", origin=node.origin, before=node, controls=node.controls
        )
        for old, new in zip(node.outputs[first:], made.outputs, strict=False):
            graph.replace_uses(old, new)
        if not any(graph.readers(value) for value in node.outputs):
            graph.remove(node)
            graph.rename(made, node.name)


Rule = Callable[[_Maker, Node], None]
"""(where to put it, the node that made the array)."""


def _make(maker: _Maker, array: Node) -> None:
    attrs = {"element_dtype": array["dtype"]}
    maker.put("TensorListReserve", [maker.shape(array.get("element_shape")), array.inputs[0]], attrs, first=1)


def _write(maker: _Maker, array: Node) -> None:
    _handle, index, item, flow = maker.node.inputs
    attrs = {"element_dtype": array["dtype"], "resize_if_index_out_of_bounds": bool(array.get("dynamic_size"))}
    maker.put("TensorListSetItem", [flow, index, item], attrs)


def _read(maker: _Maker, array: Node) -> None:
    _handle, index, flow = maker.node.inputs
    shape = maker.shape(array.get("element_shape"))
    maker.put("TensorListGetItem", [flow, index, shape], {"element_dtype": array["dtype"]})


def _gather(maker: _Maker, array: Node) -> None:
    _handle, indices, flow = maker.node.inputs
    shape = maker.shape(maker.node.get("element_shape") or array.get("element_shape"))
    if _counts_all(indices, flow, array):
        maker.put("TensorListStack", [flow, shape], {"element_dtype": array["dtype"], "num_elements": -1})
    else:
        maker.put("TensorListGather", [flow, indices, shape], {"element_dtype": array["dtype"]})


def _counts_all(indices: Value, flow: Value, array: Node) -> bool:
    """Whether these are 0, 1, 2 ... as many as the list has elements, as `stack` writes it."""
    if indices.producer.op != "Range":
        return False
    start, limit, delta = indices.producer.inputs
    if (start.content, delta.content) != ((0,), (1,)):
        return False
    if limit.producer.op in ("TensorListLength", "TensorArraySizeV3"):
        return limit.producer.inputs[-1] is flow
    size = array.inputs[0]
    return not array.get("dynamic_size") and (limit is size or (limit.content is not None and limit.content == size.content))


def _scatter(maker: _Maker, array: Node) -> None:
    _handle, indices, tensor, flow = maker.node.inputs
    maker.put("TensorListScatterIntoExistingList", [flow, tensor, indices], {"element_dtype": array["dtype"]})


def _size(maker: _Maker, _array: Node) -> None:
    maker.put("TensorListLength", [maker.node.inputs[1]], {})


def _concat(maker: _Maker, array: Node) -> None:
    rest = maker.node.get("element_shape_except0")
    shape = array.get("element_shape") or (None if rest is None else (-1, *rest))
    inputs = [maker.node.inputs[1], maker.shape(shape), maker.constant([], np.int64)]
    maker.put("TensorListConcatV2", inputs, {"element_dtype": array["dtype"]})


def _split(maker: _Maker, array: Node) -> None:
    _handle, tensor, lengths, _flow = maker.node.inputs
    shape = maker.shape(array.get("element_shape"))
    maker.put("TensorListSplit", [tensor, shape, lengths], {"element_dtype": array["dtype"]})


def _close(maker: _Maker, _array: Node) -> None:
    maker.graph.remove(maker.node)


_RULES: Mapping[str | None, Rule] = {
    "": _make,
    "Write": _write,
    "Read": _read,
    "Gather": _gather,
    "Scatter": _scatter,
    "Size": _size,
    "Concat": _concat,
    "Split": _split,
    "Close": _close,
}
