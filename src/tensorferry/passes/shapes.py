"""What is known of shapes: types made sharper, and shape arithmetic that comes out constant."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from tensorferry import ops
from tensorferry.errors import FerryError
from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Shape, Typed, Value
from tensorferry.ops.shape import reshape_target
from tensorferry.passes.rewriting import discard, for_each_node, integers, made_by, substitute
from tensorferry.tensor import DType

log = logging.getLogger(__name__)


def infer_known(node: Node) -> Sequence[Typed]:
    """Output types by the op's rule; the types the node has now where an input's type is itself unknown.

    Such inputs come from ops nobody knows. The writer refuses those, all at once, so nothing is raised over them here.
    """
    try:
        return ops.infer(node)
    except FerryError:
        if all(value.dtype is not DType.UNKNOWN and value.shape is not None for value in node.inputs):
            raise
        return [value.typed for value in node.outputs]


def refine_types(graph: Graph) -> int:
    """Infer every type anew and keep what is sharper than before; what was known stays known.

    Not so in graphs inside nodes, whose types follow from what the node reads: there sizes that change from round to round are
    found by starting from what a loop begins with.
    """
    return sum(_refine(node) for node in graph.nodes)


def _refine(node: Node) -> int:
    before = _types_inside(node)
    ops.settle(node, infer_known)
    changes = sum(old != new for old, new in zip(before, _types_inside(node), strict=True))
    for value, inferred in zip(node.outputs, infer_known(node), strict=True):
        sharper = Typed(
            inferred.dtype if value.dtype is DType.UNKNOWN else value.dtype,
            _sharper_shape(value.shape, inferred.shape),
            _sharper_content(value.content, inferred.content),
        )
        if sharper != value.typed:
            value.retype(sharper)
            changes += 1
    return changes


def _types_inside(node: Node) -> list[Typed]:
    """Of all values of the graphs inside a node."""
    inner = [each for _key, nested in node.graphs() for each in nested.nodes]
    return [typed for each in inner for typed in (*(value.typed for value in each.outputs), *_types_inside(each))]


def _sharper_shape(known: Shape, inferred: Shape) -> Shape:
    if known is None or inferred is None or len(known) != len(inferred):
        return inferred if known is None else known
    return tuple(_sharper_dim(a, b) for a, b in zip(known, inferred, strict=True))


def _sharper_dim(known: Dim, inferred: Dim) -> Dim:
    """A number beats a name, a name beats the unknown; between two names the known one stays."""
    if isinstance(known, int):
        return known
    return inferred if isinstance(inferred, int) or known == UNKNOWN_DIM else known


def _sharper_content(known: tuple[Dim, ...] | None, inferred: tuple[Dim, ...] | None) -> tuple[Dim, ...] | None:
    if known is None or inferred is None or len(known) != len(inferred):
        return inferred if known is None else known
    return tuple(_sharper_dim(a, b) for a, b in zip(known, inferred, strict=True))


def fold_shape_arithmetic(graph: Graph) -> int:
    """Values whose content is fully known become constants; a Reshape's target with one unknown size gets -1 there."""
    return for_each_node(graph, _fold_contents) + for_each_node(graph, _settle_reshape)


def _fold_contents(graph: Graph, node: Node) -> int:
    spec = ops.find(node.op)
    if node.op == "Const" or spec is None or not spec.pure:
        return 0
    changes = 0
    for value in node.outputs:
        if value.content is None or not graph.readers(value) or any(isinstance(each, str) for each in value.content):
            continue
        if value.rank in (0, 1) and value.dtype in (DType.INT32, DType.INT64):
            _fold_content(graph, node, value)
            changes += 1
    discard(graph, node)
    return changes


def _fold_content(graph: Graph, node: Node, value: Value) -> None:
    elements = np.asarray(value.content, value.dtype.numpy)
    array = elements if value.rank else elements.reshape(())
    constant = graph.constant(array, value.name.replace(":", "_"), before=node, origin=node.origin)
    name = node.name
    graph.replace_uses(value, constant)
    discard(graph, node)
    if name not in graph and value.index == 0:
        graph.rename(constant.producer, name)


def _settle_reshape(graph: Graph, node: Node) -> int:
    if node.op != "Reshape" or node.inputs[1].constant is not None:
        return 0
    target, sizes = node.inputs[1], reshape_target(node.output.shape)
    if sizes is None:
        return 0
    constant = np.asarray(sizes, target.dtype.numpy)
    node.set_input(1, graph.constant(constant, f"{node.name}/shape", before=node, origin=target.producer.origin))
    discard(graph, target.producer)
    return 1


# -- sizes seen through a transpose --------------------------------------------------------------------------------


def read_sizes_before_transposes(graph: Graph) -> int:
    """The sizes of a transposed value are those of the value, permuted: nothing need be transposed to be measured."""
    return for_each_node(graph, _read_before)


def _read_before(graph: Graph, node: Node) -> int:
    if node.op == "Shape":
        return _measure_before(graph, node)
    if node.op == "StridedSlice":
        return _pick_before(graph, node)
    return _pack_in_order(graph, node) if node.op == "GatherV2" else 0


def _measure_before(graph: Graph, node: Node) -> int:
    """Shape(Transpose(x)) is Shape(x), gathered."""
    turn = made_by(node.inputs[0], "Transpose")
    order = integers(turn.inputs[1]) if turn is not None else None
    if turn is None or order is None:
        return 0
    sizes = ops.add(graph, "Shape", [turn.inputs[0]], node.attrs, name=f"{node.name}/before", origin=node.origin, before=node)
    indices = np.asarray([axis % len(order) for axis in order], np.int32)
    axis = graph.constant(np.asarray(0, np.int32), f"{node.name}/axis", before=node, origin=node.origin)
    picked = graph.constant(indices, f"{node.name}/order", before=node, origin=node.origin)
    substitute(graph, node, "GatherV2", [sizes.output, picked, axis])
    discard(graph, turn)
    return 1


def _gathered(value: Value) -> tuple[Node, list[int]] | None:
    """The gathering of a whole vector's elements by constant indices, and these."""
    node = made_by(value, "GatherV2")
    if node is None or node.inputs[0].rank != 1 or node.inputs[1].rank != 1 or node.get("batch_dims"):
        return None
    indices = integers(node.inputs[1])
    return (node, indices) if indices is not None and min(indices, default=-1) >= 0 else None


def _pick_before(graph: Graph, node: Node) -> int:
    """One element of gathered ones is an element of the vector they were gathered from."""
    found = _gathered(node.inputs[0])
    begin, masks = integers(node.inputs[1]), [node.get(f"{mask}_mask") or 0 for mask in ("begin", "ellipsis", "new_axis")]
    if found is None or begin is None or len(begin) != 1 or node.get("shrink_axis_mask") != 1 or any(masks):
        return 0
    gather, indices = found
    if not -len(indices) <= begin[0] < len(indices):
        return 0
    at = indices[begin[0]]
    bounds = [
        graph.constant(np.asarray([number], node.inputs[1].dtype.numpy), f"{node.name}/{role}", before=node, origin=node.origin)
        for role, number in (("begin", at), ("end", at + 1), ("step", 1))
    ]
    previous = [value.producer for value in node.inputs]
    node.set_inputs([gather.inputs[0], *bounds])
    node.attrs["end_mask"] = 0
    discard(graph, *previous)
    return 1


def _pack_in_order(graph: Graph, node: Node) -> int:
    """Packed numbers, gathered in another order, are packed in that order at once."""
    found = _gathered(node.output)
    pack = made_by(node.inputs[0], "Pack")
    if found is None or pack is None or graph.only_reader(pack.output) is not node or max(found[1]) >= len(pack.inputs):
        return 0
    attrs = {**pack.attrs, "N": len(found[1])}
    substitute(graph, node, "Pack", [pack.inputs[index] for index in found[1]], attrs, absorbed=[pack])
    return 1
