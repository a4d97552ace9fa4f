"""The few moves that all passes are made of: walk, replace, take over, bypass, discard, decline."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Node, Value, merge_origins
from tensorferry.tensor import Array, DType

Pass = Callable[[Graph], int]
Rule = Callable[[Graph, Node], int]
"""One node's part of a pass: how many changes it made there."""

SMALL_BYTES = 4096
"""Constants up to this size may be read, compared and copied freely; larger ones stay where they lie."""

FIXED_OPS = frozenset({"Placeholder", "PlaceholderWithDefault"})
"""Nodes whose names are public: they are never renamed."""


def for_each_node(graph: Graph, rule: Rule) -> int:
    """Apply the rule to every node, nested graphs first; nodes that an earlier application took out are passed over."""
    changes = 0
    for node in live_nodes(graph):
        changes += sum(for_each_node(nested, rule) for _key, nested in node.graphs())
        changes += rule(graph, node)
    return changes


def live_nodes(graph: Graph) -> Iterator[Node]:
    """The nodes as they stand now, without those that are taken out while one walks."""
    for node in tuple(graph.nodes):
        if holds(graph, node):
            yield node


def holds(graph: Graph, node: Node) -> bool:
    return node.name in graph and graph.node(node.name) is node


def decline(log: logging.Logger, node: Node, why: str) -> int:
    """Say at debug level why a node that nearly fits is left alone; 0 changes."""
    log.debug("%s (%s) is left as it is: %s", node.name, node.op, why)
    return 0


def discard(graph: Graph, *nodes: Node) -> None:
    """Take out those nobody reads any more, and with them what only they read. Inputs stay."""
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if not holds(graph, node) or node.op in FIXED_OPS or any(graph.readers(value) for value in node.outputs):
            continue
        producers = [value.producer for value in node.inputs]
        graph.remove(node)
        pending += producers


def insert_after(graph: Graph, node: Node) -> Node | None:
    """What to give `graph.add` as `before` to stand right after the node."""
    following = graph.nodes.index(node) + 1
    return graph.nodes[following] if following < len(graph.nodes) else None


def take_over(graph: Graph, keeper: Node, gone: Node) -> None:
    """`keeper` now makes what `gone` made: its only output gets the readers, public names, name and origin of gone's first."""
    keeper.origin = keeper.origin + gone.origin
    if gone.outputs[0].quantization is not None:
        keeper.output.quantization = gone.outputs[0].quantization
    graph.replace_uses(gone.outputs[0], keeper.output)
    name = gone.name
    discard(graph, gone)
    if name not in graph:
        graph.rename(keeper, name)


def substitute(
    graph: Graph,
    node: Node,
    op: str,
    inputs: Sequence[Value],
    attrs: Mapping[str, Any] | None = None,
    *,
    absorbed: Sequence[Node] = (),
) -> Node:
    """Put a new node in the place of `node` (its first output), under its name; `absorbed` add their origins."""
    origin = merge_origins((node, *absorbed))
    made = ops.add(graph, op, inputs, attrs, name=node.name, origin=origin, before=node)
    take_over(graph, made, node)
    return made


def replace_by_constant(graph: Graph, node: Node, value: Any) -> Node:
    """Put a Const (an array or a Tensor) in the place of the node's only output."""
    made = graph.constant(value, node.name, before=node, origin=node.origin).producer
    take_over(graph, made, node)
    return made


def bypass(graph: Graph, node: Node, value: Value) -> int:
    """Let the readers of the node's only output read `value`, which holds the same numbers.

    Where the output is public, the value's producer takes the node's name. A node that joins a graph input, a constant or
    another public value to a graph output stays, because a target needs an operator there; its other readers move.
    """
    output, producer = node.output, value.producer
    if graph.is_output(output) and (producer.op in FIXED_OPS or producer.op == "Const" or graph.is_output(value)):
        readers = list(dict.fromkeys(output.users))
        for reader in readers:
            reader.set_inputs([value if each is output else each for each in reader.inputs])
        return len(readers)
    if producer.op not in FIXED_OPS:
        producer.origin = producer.origin + node.origin
    public, name = graph.is_output(output), node.name
    if value.quantization is None:
        value.quantization = output.quantization
    graph.replace_uses(output, value)
    discard(graph, node)
    if public and len(producer.outputs) == 1:
        graph.rename(producer, name)
    return 1


# -- looking at values ---------------------------------------------------------------------------------------------


def made_by(value: Value, *op_names: str) -> Node | None:
    """The value's producer if its op is one of these and it fuses no activation of its own."""
    node = value.producer
    return node if node.op in op_names and not node.get("activation") else None


def small_constant(value: Value) -> Array | None:
    """The elements of a constant small enough to be looked at, or of a value whose content is known."""
    tensor = value.constant
    if tensor is not None:
        return tensor.array() if tensor.nbytes <= SMALL_BYTES and tensor.dtype is not DType.BFLOAT16 else None
    if value.content is None or any(isinstance(each, str) for each in value.content) or value.rank is None:
        return None
    return np.asarray(value.content, value.dtype.numpy).reshape([len(value.content)] if value.rank else [])


def integers(value: Value) -> list[int] | None:
    """The elements of a small integer constant, flat."""
    array = small_constant(value)
    return None if array is None or array.dtype.kind not in "iu" else [int(each) for each in array.reshape(-1)]


def number(value: Value) -> float | None:
    """The only element of a numeric constant of size 1."""
    tensor = value.constant
    if (
        tensor is None
        or tensor.size != 1
        or tensor.dtype is DType.BFLOAT16
        or not (tensor.dtype.is_float or tensor.dtype.is_integer)
    ):
        return None
    return float(tensor.array().reshape(-1)[0])


def split_constant(node: Node) -> tuple[Value, Value] | None:
    """(variable operand, constant operand) of a binary node with exactly one constant operand."""
    one, other = node.inputs
    if (one.constant is None) == (other.constant is None):
        return None
    return (other, one) if one.constant is not None else (one, other)
