"""What a model finds may be nothing, of which kernels of both targets make what lies in memory.

A size that is no input's is one that the model itself has made: the crops of what was detected, the elements that a mask leaves.
XNNPACK gives windows over no images sizes of its own, and LiteRT breaks off; so a batch that was found gets one image of zeros more
before the first window, and loses it behind the last. TensorFlow.js in WebAssembly makes anything of a largest or a product of no
elements; so what was found is reduced with the neutral element beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tensorferry import ops
from tensorferry.ir import UNKNOWN_DIM, Graph, Node, Value
from tensorferry.ops.dims import known_integers
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.sizes import Sizes, vector
from tensorferry.ops.spec import normalize_axis
from tensorferry.tensor import DType

# -- what was found ------------------------------------------------------------------------------------------------

FINDERS = frozenset({"Where", "DynamicPartition", "ListDiff", "Unique", "UniqueV2", "UniqueWithCountsV2"})
"""Ops of which nobody knows how much they find, beside those that suppress."""


def _finds(node: Node) -> bool:
    return (
        node.op in FINDERS
        or node.op.startswith("NonMaxSuppression")
        or any(_finds(each) for _key, nested in node.graphs() for each in nested.nodes)
    )


class Found:
    """The values of a graph that hang on what was found; `given` are those of its inputs."""

    def __init__(self, graph: Graph, given: frozenset[Value] = frozenset()) -> None:
        self.graph = graph
        self._values = set(given)

    def nodes(self) -> Iterator[Node]:
        """Those that read what was found, in order; they may be taken out as they come, when `add` is told what stands for them."""
        for node in tuple(self.graph.nodes):
            reads = not self._values.isdisjoint(node.inputs)
            finds = _finds(node)
            if reads or finds:
                self._values.update(node.outputs)
            if reads or (finds and any(True for _ in node.graphs())):
                yield node

    def add(self, value: Value) -> None:
        self._values.add(value)

    def inside(self, node: Node) -> Iterator[Found]:
        """The same of the graphs inside of a node."""
        operands = node.inputs if node.op == "While" else node.inputs[1:]
        for _key, nested in node.graphs():
            pairs = zip(nested.inputs, operands, strict=False)
            yield Found(nested, frozenset(port.value for port, value in pairs if value in self._values))


# -- windows -------------------------------------------------------------------------------------------------------

WINDOWS = frozenset({"Conv2D", "DepthwiseConv2dNative", "MaxPool", "AvgPool"})
FILLED = "_filled"
"""Attribute of a node that has been seen to: it gets the image more, or the neutral element."""


def fill_empty_batches(graph: Graph) -> int:
    """Convolutions and pooling of as many images as the model finds get one image more, for when it finds none."""
    return _fill(Found(graph))


def _fill(found: Found) -> int:
    graph, changes = found.graph, 0
    wider: dict[Value, Value] = {}
    for node in found.nodes():
        changes += sum(_fill(nested) for nested in found.inside(node))
        inputs = _wider_inputs(graph, node, wider)
        if inputs is not None:
            found.add(_widen(graph, node, inputs, wider))
            changes += 1
    return changes


def _wider_inputs(graph: Graph, node: Node, wider: dict[Value, Value]) -> list[Value] | None:
    """What the node is to read instead; None where it stays as it is."""
    if node.op in WINDOWS and FILLED not in node.attrs and node.inputs[0].rank == 4:
        value, *others = node.inputs
        if value in wider:
            return [wider[value], *others]
        return [_padded(graph, node, value), *others] if (value.shape or ())[0] == UNKNOWN_DIM else None
    spec = ops.find(node.op)
    by_element = spec is not None and (spec.elementwise or node.op == "Select")  # of a condition for each element
    if not by_element or not any(value in wider for value in node.inputs):
        return None
    rank = node.output.rank
    fits = all((value in wider and value.rank == rank) or _serves_all(value, rank) for value in node.inputs)
    return [wider.get(value, value) for value in node.inputs] if fits else None


def _serves_all(value: Value, rank: int | None) -> bool:
    """Whether the value is the same for every image of a batch."""
    return rank is not None and value.shape is not None and (len(value.shape) < rank or value.shape[0] == 1)


def _padded(graph: Graph, node: Node, value: Value) -> Value:
    pads = np.zeros((4, 2), np.int32)
    pads[0, 1] = 1
    return Expansion(graph, node).make("Pad", value, pads)


def _widen(graph: Graph, node: Node, inputs: list[Value], wider: dict[Value, Value]) -> Value:
    """The node over one image more, and its result without that under the node's name."""
    parts, name, rank = Expansion(graph, node), node.name, node.output.rank or 4
    made = parts.make(node.op, *inputs, **{**node.attrs, FILLED: True})
    ends, every = np.zeros(rank, np.int32), (1 << rank) - 1
    ends[0] = -1
    cut = parts.make(
        "StridedSlice", made, np.zeros(rank, np.int32), ends, np.ones(rank, np.int32), begin_mask=every, end_mask=every - 1
    )
    graph.replace_uses(node.output, cut)
    graph.remove(node)
    graph.rename(cut.producer, name)
    wider[cut] = made
    return cut


# -- reductions ----------------------------------------------------------------------------------------------------

NEUTRAL = {"Sum": 0.0, "Prod": 1.0, "Max": -math.inf, "Min": math.inf}


def fill_empty_reductions(graph: Graph) -> int:
    """What is found is added up, multiplied or searched for its largest with the neutral element beside it."""
    return _neutralise(Found(graph))


def _neutralise(found: Found) -> int:
    graph, changes = found.graph, 0
    for node in found.nodes():
        changes += sum(_neutralise(nested) for nested in found.inside(node))
        axes = _open_axes(node)
        if axes:
            parts, value = Expansion(graph, node), node.inputs[0]
            for axis in axes:
                value = _with_neutral(parts, value, axis)
            node.set_inputs([value, *node.inputs[1:]])
            node.attrs[FILLED] = True
            changes += 1
    return changes


def _open_axes(node: Node) -> list[int]:
    """The reduced axes whose size the model makes, of a node that is to be filled."""
    shape = node.inputs[0].shape if node.op in NEUTRAL and FILLED not in node.attrs else None
    axes = known_integers(node.inputs[1]) if shape is not None else None
    if shape is None or axes is None or node.inputs[0].dtype not in (DType.FLOAT32, DType.INT32):
        return []
    return sorted({axis for axis in (normalize_axis(each, len(shape)) for each in axes) if shape[axis] == UNKNOWN_DIM})


def _with_neutral(parts: Expansion, value: Value, axis: int) -> Value:
    """One more along the axis. (Not padded, since PadV2 takes its number for a float, which has not all int32.)"""
    number = NEUTRAL[parts.node.op]
    if value.dtype.is_integer and math.isinf(number):
        limits = np.iinfo(value.dtype.value)
        number = limits.min if number < 0 else limits.max
    sizes = [1 if place == axis else size for place, size in enumerate(Sizes(parts, value).all())]
    row = parts.make("Fill", vector(parts, sizes), np.array(number, value.dtype.numpy))
    return parts.make("ConcatV2", value, row, np.array(axis, np.int32))
