"""A Graph as a binary frozen GraphDef, written in a stream: weights go from where they lie to the target and are never held."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, BinaryIO

from tensorferry import ops
from tensorferry.errors import TargetError
from tensorferry.ir import Graph, Node
from tensorferry.tensor import DType
from tensorferry.wire.protobuf import Message
from tensorferry.wire.signatures import signature
from tensorferry.wire.tensorflow import FunctionRef, GraphDef, NodeDef, encode_entry
from tensorferry.writers.atomic import atomic_file

PRODUCER = 27
"""GraphDef version written: new enough for every op here, old enough that TensorFlow 1.12 and later take it."""

_LAST_VERSION = {"BatchNormWithGlobalNormalization": 8}
"""Ops that TensorFlow takes in graphs of old versions only, and the last of these."""

MAX_BYTES = (1 << 31) - 1
"""No protocol-buffer library reads a longer message."""


def write_graphdef(graph: Graph, target: str | os.PathLike[str], sources: Iterable[str | os.PathLike[str]] = ()) -> int:
    """Write the graph to a file that appears whole or not at all; returns its size. The same graph gives the same bytes."""
    message = encode_graph(graph)
    with atomic_file(target, sources) as file:
        _drain(message, file)
    return message.size


def serialize_graphdef(graph: Graph) -> bytes:
    """The graph's bytes in memory, for graphs known to be small."""
    return b"".join(encode_graph(graph).chunks())


def serialize_node(node: Node) -> bytes:
    """One node's NodeDef in memory."""
    return b"".join(_encode_node(node).chunks())


def _drain(message: Message, file: BinaryIO) -> None:
    for chunk in message.chunks():
        file.write(chunk)


def encode_graph(graph: Graph) -> Message:
    """The graph as a message that draws the weights when it is written. TargetError for what a frozen GraphDef cannot hold."""
    message = Message()
    for node in graph.nodes:
        message.message(GraphDef.NODE, _encode_node(node))
    versions = Message()
    versions.varint(1, min((_LAST_VERSION.get(node.op, PRODUCER) for node in graph.nodes), default=PRODUCER))
    message.message(GraphDef.VERSIONS, versions)
    if message.size > MAX_BYTES:
        raise TargetError(
            f"the graph takes {message.size} bytes, a GraphDef holds at most {MAX_BYTES}",
            remedy="convert it to TensorFlow Lite or TensorFlow.js, which can be larger",
        )
    return message


def _encode_node(node: Node) -> Message:
    _refuse_inexpressible(node)
    message = Message()
    message.data(NodeDef.NAME, node.name)
    message.data(NodeDef.OP, node.op)
    for value in node.inputs:
        message.data(NodeDef.INPUT, value.name)
    for name in node.controls:
        message.data(NodeDef.INPUT, f"^{name}")
    attrs = _attributes(node)
    for key in sorted(attrs):
        message.message(NodeDef.ATTR, encode_entry(key, attrs[key]))
    return message


def _attributes(node: Node) -> dict[str, Any]:
    """The node's attributes, with those that follow from the types and the number of its inputs: built nodes lack them, and
    changed inputs make them wrong."""
    attrs = {key: each for key, each in node.attrs.items() if each is not None or "shape" in key}
    if node.op == "Const":
        attrs["dtype"] = node["value"].dtype
    known = signature(node.op)
    for key, value, implied in known.type_attributes([each.dtype for each in node.inputs]) if known is not None else ():
        unknown = value is DType.UNKNOWN or (isinstance(value, list) and DType.UNKNOWN in value)
        if not unknown and (key in attrs or not implied):
            attrs[key] = value
    return attrs


def _refuse_inexpressible(node: Node) -> None:
    spec = ops.find(node.op)
    if node.get("activation") or (spec is not None and spec.takes_bias and len(node.inputs) > spec.bias_at):
        raise TargetError(
            f"node '{node.name}' ({node.op}) carries a fused bias or activation, which a GraphDef cannot hold",
            remedy="write the graph before the passes that fuse",
        )
    nested = [key for key, _ in node.graphs()]
    called = [each.name for each in node.attrs.values() if isinstance(each, FunctionRef)]
    if nested or called:
        raise TargetError(
            f"node '{node.name}' ({node.op}) calls {', '.join(called or nested)}",
            why="functions cannot be written to a GraphDef yet",
            remedy="choose inputs and outputs with plain ops between them",
        )
