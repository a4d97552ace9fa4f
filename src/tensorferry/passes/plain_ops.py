"""What only the IR has, written in TensorFlow's own ops again: fused biases and activations, composites, tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.passes.expansion import split_activation, split_bias
from tensorferry.passes.rewriting import for_each_node
from tensorferry.tensor import DType
from tensorferry.wire.signatures import signature

_REMOVED = frozenset({"TopK"})
"""Ops that today's TensorFlow takes in graphs of old versions alone, and that are written as their successors."""


def write_plain_ops(graph: Graph) -> int:
    """Every node becomes one that TensorFlow has, as far as its op says how. Names of what is computed stay."""
    return for_each_node(graph, _rewrite)


def _rewrite(graph: Graph, node: Node) -> int:
    if node.get("activation"):
        return split_activation(graph, node)
    spec = ops.find(node.op)
    if spec is None:
        return 0
    if split_bias(graph, node, spec):
        return 1
    if signature(node.op) is not None and node.op not in _REMOVED:
        return 0
    if node.op in _OWN:
        return int(_OWN[node.op](graph, node))
    return int(spec.expand is not None and spec.expand(graph, node))


def _write_prelu(graph: Graph, node: Node) -> bool:
    expansion = Expansion(graph, node)
    x, alpha = node.inputs
    below = expansion.make("Mul", alpha, expansion.make("Minimum", x, 0.0))
    return expansion.finish(expansion.make("AddV2", expansion.make("Relu", x), below))


def _write_symmetric_clip(graph: Graph, node: Node) -> bool:
    expansion = Expansion(graph, node)
    return expansion.finish(expansion.make("Maximum", expansion.make("Minimum", node.inputs[0], 1.0), -1.0))


def _write_lookup(graph: Graph, node: Node) -> bool:
    """A table, and a node that fills it before it is read, at every run anew: filling it again with the same changes nothing.

    So the graph needs no initialisation that whoever loads it could forget.
    """
    keys, default, table_keys, table_values = node.inputs
    name, origin = node.name, node.origin
    types = {"key_dtype": table_keys.dtype, "value_dtype": table_values.dtype}
    attrs = {**types, "use_node_name_sharing": True, "container": "", "shared_name": ""}
    handle = graph.add(
        "HashTableV2", (), attrs, typed=[Typed(DType.RESOURCE, ())], name=f"{name}/table", origin=origin, before=node
    )
    fill = {"Tkey": table_keys.dtype, "Tval": table_values.dtype}
    rows: list[Value] = [_as_row(graph, each, node) for each in (table_keys, table_values)]
    filled = graph.add("InitializeTableV2", (handle.output, *rows), fill, typed=[], name=f"{name}/fill", origin=origin, before=node)
    found = graph.add(
        "LookupTableFindV2",
        (handle.output, keys, default),
        {"Tin": table_keys.dtype, "Tout": table_values.dtype},
        typed=[node.output.typed],
        name=f"{name}/find",
        origin=origin,
        before=node,
        controls=[filled.name],
    )
    return Expansion(graph, node).finish(found.output)


def _as_row(graph: Graph, value: Value, node: Node) -> Value:
    if value.rank == 1:
        return value
    shape = graph.constant(np.array([-1], np.int32), f"{node.name}/row", before=node)
    return ops.add(graph, "Reshape", (value, shape), name=f"{node.name}/flat", before=node).output


_OWN: Mapping[str, Callable[[Graph, Node], bool]] = {
    "PRelu": _write_prelu,
    "ReluN1To1": _write_symmetric_clip,
    "TableLookup": _write_lookup,
}
"""Composites whose form in TensorFlow is not the one that `expand` writes for other targets."""
