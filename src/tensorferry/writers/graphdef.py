"""A Graph as a frozen GraphDef, binary or text: weights are streamed from where they lie to the target and are never held."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from tensorferry import ops
from tensorferry.errors import TargetError
from tensorferry.ir import Graph, Node, Value
from tensorferry.ops.refusals import NOT_EXPANDED
from tensorferry.storage import SourceFile
from tensorferry.tensor import DType
from tensorferry.wire.named import format_message
from tensorferry.wire.protobuf import Message, whole
from tensorferry.wire.signatures import signature
from tensorferry.wire.tensorflow import DTYPE_NUMBERS, FunctionDef, FunctionRef, GraphDef, NodeDef, OpDef, encode_entry
from tensorferry.writers.atomic import atomic_file

PRODUCER = 27
"""GraphDef version written: new enough for every op here, old enough that TensorFlow 1.12 and later take it."""

_LAST_VERSION = {"BatchNormWithGlobalNormalization": 8, "TopK": 6}
"""Ops that TensorFlow takes in graphs of old versions only, and the last of these."""

MAX_BYTES = (1 << 31) - 1
"""No protocol-buffer library reads a longer message."""


TEXT_SUFFIX = ".pbtxt"
MAX_TEXT = 512 << 20
"""Bytes of a graph in text form: what our own reader takes, and more than protobuf's own reads in a minute."""


def write_graphdef(graph: Graph, target: str | os.PathLike[str], sources: Iterable[str | os.PathLike[str]] = ()) -> int:
    """Write the graph to a file that appears whole or not at all, as text where its name ends in `.pbtxt`; returns its size.

    The same graph gives the same bytes.
    """
    message = encode_graph(graph)
    with atomic_file(target, sources) as file:
        if Path(target).suffix == TEXT_SUFFIX:
            return write_text(message, file)
        drain(message, file)
    return message.size


def write_message(message: Message, path: Path) -> int:
    """Write a message to a file that nobody else sees yet; returns its size."""
    with open(path, "wb") as file:
        drain(message, file)
    return message.size


def write_text(message: Message, file: BinaryIO) -> int:
    """Write the text form of a GraphDef by way of a temporary file with its binary form; returns the size of the text."""
    size = 0
    with tempfile.NamedTemporaryFile(dir=Path(file.name).parent, prefix=".", suffix=".part") as binary:
        drain(message, cast(BinaryIO, binary))
        binary.flush()
        source = SourceFile(binary.name)
        for piece in format_message("GraphDef", whole(source.view), source):
            size += file.write(piece)
            if size > MAX_TEXT:
                raise TargetError(
                    f"the graph as text takes more than {MAX_TEXT >> 20} MiB, which nothing reads back",
                    remedy="write it in binary form (*.pb)",
                )
    return size


def serialize_graphdef(graph: Graph) -> bytes:
    """The graph's bytes in memory, for graphs known to be small."""
    return b"".join(encode_graph(graph).chunks())


def serialize_node(node: Node) -> bytes:
    """One node's NodeDef in memory."""
    return b"".join(_encode_node(node, None).chunks())


def drain(message: Message, file: BinaryIO) -> None:
    """Write a message, piece by piece."""
    for chunk in message.chunks():
        file.write(chunk)


def encode_graph(graph: Graph) -> Message:
    """The graph as a message that draws the weights when it is written. TargetError for what a frozen GraphDef cannot hold."""
    message = Message()
    functions = Functions()
    for node in graph.nodes:
        message.message(GraphDef.NODE, _encode_node(node, functions))
    if functions.messages:
        library = Message()
        for function in functions.messages:
            library.message(1, function)
        message.message(GraphDef.LIBRARY, library)
    versions = Message()
    versions.varint(1, min((_LAST_VERSION.get(node.op, PRODUCER) for node in graph.nodes), default=PRODUCER))
    message.message(GraphDef.VERSIONS, versions)
    if message.size > MAX_BYTES:
        raise TargetError(
            f"the graph takes {message.size} bytes, a GraphDef holds at most {MAX_BYTES}",
            remedy="convert it to TensorFlow Lite or TensorFlow.js, which can be larger",
        )
    return message


def _encode_node(node: Node, functions: Functions | None, names: Mapping[Value, str] | None = None) -> Message:
    """A NodeDef; `functions` takes the graphs inside the node, `names` tells how values are named where not by their node."""
    _refuse_inexpressible(node, functions)
    message = Message()
    message.data(NodeDef.NAME, node.name)
    message.data(NodeDef.OP, node.op)
    for value in node.inputs:
        message.data(NodeDef.INPUT, value.name if names is None else names[value])
    for name in node.controls:
        message.data(NodeDef.INPUT, f"^{name}")
    attrs = _attributes(node)
    if functions is not None:
        attrs = functions.take(node, attrs)
    for key in sorted(attrs):
        message.message(NodeDef.ATTR, encode_entry(key, attrs[key]))
    return message


class Functions:
    """The library of a GraphDef: graphs inside nodes become functions under names of their own."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def take(self, node: Node, attrs: dict[str, Any]) -> dict[str, Any]:
        """The node's attributes with functions in the place of graphs, and the types that TensorFlow wants beside these."""
        nested = dict(node.graphs())
        if not nested:
            return attrs
        made = {key: value for key, value in attrs.items() if key not in nested}
        calls = {key: FunctionRef(self._add(graph), {}) for key, graph in nested.items()}
        types = [value.dtype for value in node.inputs]
        if node.op == "While":
            return made | calls | {"T": types, "output_shapes": []}
        shared = {"Tin": types[1:], "Tout": [value.dtype for value in node.outputs]}
        if node.op == "If":
            return made | calls | shared | {"Tcond": types[0]}
        return (
            {key: value for key, value in made.items() if not key.startswith("branch_")}
            | shared
            | {"branches": list(calls.values())}
        )

    def _add(self, graph: Graph) -> str:
        """A FunctionDef: its signature, its nodes, and which of their outputs it gives."""
        name = f"{re.sub(r'[^A-Za-z0-9_]', '_', graph.name) or 'function'}_{len(self.messages)}"
        message = Message()
        self.messages.append(message)  # the number is taken before nested ones take theirs
        names: dict[Value, str] = {}
        signature_def = Message()
        signature_def.data(OpDef.NAME, name)
        for number, port in enumerate(graph.inputs):
            names[port.value] = f"arg_{number}"
            signature_def.message(OpDef.INPUT, _argument(f"arg_{number}", port.value.dtype))
        for number, port in enumerate(graph.outputs):
            signature_def.message(OpDef.OUTPUT, _argument(f"result_{number}", port.value.dtype))
        message.message(FunctionDef.SIGNATURE, signature_def)
        given = {port.value.producer for port in graph.inputs}
        for node in graph.nodes:
            if node not in given:
                names.update(zip(node.outputs, _function_names(node), strict=True))
                message.message(FunctionDef.NODE, _encode_node(node, self, names))
        for number, port in enumerate(graph.outputs):
            entry = Message()
            entry.data(1, f"result_{number}")
            entry.data(2, names[port.value])
            message.message(FunctionDef.RETURN, entry)
        return name


def _argument(name: str, dtype: DType) -> Message:
    message = Message()
    message.data(1, name)
    message.varint(3, DTYPE_NUMBERS.get(dtype, 0))
    return message


def _function_names(node: Node) -> list[str]:
    """How a function's nodes name this node's outputs: by the output's own name and a number among those of that name."""
    known = signature(node.op)
    if known is None:
        return [f"{node.name}:output:{value.index}" for value in node.outputs]
    attrs = _attributes(node)
    names = [f"{node.name}:{argument.name}:{number}" for argument in known.outputs for number in range(len(argument.types(attrs)))]
    if len(names) != len(node.outputs):  # types that only graphs inside tell
        names = [f"{node.name}:output:{value.index}" for value in node.outputs]
    return names


def _attributes(node: Node) -> dict[str, Any]:
    """The node's attributes, with those that follow from the types and the number of its inputs: built nodes lack them, and
    changed inputs make them wrong."""
    attrs = {key: each for key, each in node.attrs.items() if (each is not None or "shape" in key) and key != NOT_EXPANDED}
    if node.op == "Const":
        attrs["dtype"] = node["value"].dtype
    known = signature(node.op)
    for key, value, implied in known.type_attributes([each.dtype for each in node.inputs]) if known is not None else ():
        unknown = value is DType.UNKNOWN or (isinstance(value, list) and DType.UNKNOWN in value)
        if not unknown and (key in attrs or not implied):
            attrs[key] = value
    return attrs


def _refuse_inexpressible(node: Node, functions: Functions | None) -> None:
    spec = ops.find(node.op)
    if node.get("activation") or (spec is not None and spec.takes_bias and len(node.inputs) > spec.bias_at):
        raise TargetError(
            f"node '{node.name}' ({node.op}) carries a fused bias or activation, which a GraphDef cannot hold",
            remedy="write the graph before the passes that fuse",
        )
    nested = [key for key, _ in node.graphs()] if functions is None else []
    called = [each.name for each in node.attrs.values() if isinstance(each, FunctionRef)]
    if nested or called:
        raise TargetError(
            f"node '{node.name}' ({node.op}) calls {', '.join(called or nested)}",
            why="functions cannot be written to a GraphDef yet",
            remedy="choose inputs and outputs with plain ops between them",
        )
