"""A binary frozen GraphDef to a Graph, in whatever order its nodes stand and with ops nobody knows."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tensorferry import ops
from tensorferry.errors import SourceError
from tensorferry.ir import Graph, Node, Origin, Port, Value
from tensorferry.readers.fused import PRODUCTS, write_apart
from tensorferry.readers.order import sort_nodes
from tensorferry.readers.selection import find_inputs, find_outputs
from tensorferry.readers.tables import load_vocabularies
from tensorferry.readers.typing import guess_types, infer_tolerantly, name_dims, outputs_read
from tensorferry.storage import SourceFile
from tensorferry.tensor import DType, Tensor
from tensorferry.wire.protobuf import Span, fields, malformed, whole
from tensorferry.wire.tensorflow import (
    FunctionRef,
    GraphDef,
    NodeDef,
    UnreadableConstant,
    decode_attribute,
    split_entry,
)

log = logging.getLogger(__name__)

_SCALAR_MEANT_UNKNOWN = 21
"""Up to this GraphDef version a Placeholder of scalar shape meant one of unknown shape (tensorflow/core/ops/array_ops.cc)."""

_MAX_OUTPUTS = 1 << 16
"""More outputs than any real node has; a larger count is taken for corrupt before anything is made of it."""

_COUNTS = ("N", "num", "num_split", "num_outputs")
"""Attributes that say how many inputs or outputs a node has."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An input as written: `name`, `name:1`, or, for control, `^name`."""

    node: str
    index: int = 0


@dataclass(slots=True)
class SourceNode:
    """One NodeDef, its attributes not yet decoded."""

    name: str
    op: str
    offset: int
    inputs: list[Reference] = field(default_factory=list)
    controls: list[str] = field(default_factory=list)
    attrs: dict[str, Span] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"node '{self.name}' ({self.op}), byte {self.offset}"


@dataclass(slots=True)
class Contents:
    """A GraphDef's parts: nodes by name in the order of the file, names of its functions, the version that wrote it."""

    nodes: dict[str, SourceNode] = field(default_factory=dict)
    functions: list[str] = field(default_factory=list)
    producer: int = 0


def read_graphdef(file: SourceFile) -> Graph:
    """The whole graph. Inputs are its placeholders, outputs what nobody reads; constants stay in the file."""
    return read_graph(file, whole(file.view))


def read_graph(file: SourceFile, message: Span, constants: Mapping[str, Tensor] | None = None) -> Graph:
    """The graph of a GraphDef that lies somewhere in the file; `constants` are the values of those it leaves without."""
    contents = scan(message)
    if not contents.nodes:
        raise SourceError(f"'{file.path}' is a graph without nodes", remedy="check that it is the file that was meant")
    graph = Graph(os.fsencode(file.path.stem).decode("utf-8", "replace"))  # a file's name may be no text
    builder = _Builder(file, contents, graph, constants or {})
    for source in _ordered(contents.nodes, graph):
        builder.add(source)
    builder.close_loops()
    load_vocabularies(graph, file.path.parent)
    _tell_functions(contents, graph)
    graph.inputs = [Port(value.name, value) for value in find_inputs(graph)]
    graph.outputs = [Port(value.name, value) for value in find_outputs(graph)]
    return graph


# -- parsing -------------------------------------------------------------------------------------------------------


def scan(message: Span) -> Contents:
    """Walk a GraphDef. Touches names and field headers, no constant."""
    contents = Contents()
    for each in fields(message):
        if each.tag == GraphDef.NODE:
            node = _scan_node(each.delimited())
            if node.name in contents.nodes:
                other = contents.nodes[node.name]
                raise SourceError(
                    f"two nodes have the name '{node.name}'",
                    where=f"byte {other.offset} ({other.op}) and byte {node.offset} ({node.op})",
                    remedy="write the graph anew: names must be unique",
                )
            contents.nodes[node.name] = node
        elif each.tag == GraphDef.LIBRARY:
            contents.functions = _scan_library(each.delimited())
        elif each.tag == GraphDef.VERSION and not contents.producer:
            contents.producer = each.signed()
        elif each.tag == GraphDef.VERSIONS:
            contents.producer = next((part.signed() for part in fields(each.delimited()) if part.tag == 1), 0)
    return contents


def _scan_node(message: Span) -> SourceNode:
    node = SourceNode("", "", message.start)
    for each in fields(message):
        if each.tag == NodeDef.NAME:
            node.name = each.delimited().text
        elif each.tag == NodeDef.OP:
            node.op = each.delimited().text
        elif each.tag == NodeDef.INPUT:
            _scan_input(each.delimited(), node)
        elif each.tag == NodeDef.ATTR:
            key, value = split_entry(each.delimited())
            node.attrs[key] = value
    if not node.name.isprintable() or not node.op.isprintable():  # TensorFlow allows letters, digits and a few signs
        raise malformed(f"a node has the unprintable name {node.name!r} or op {node.op!r}", message.start)
    if not node.name or not node.op:
        raise malformed("a node has no name" if not node.name else f"node '{node.name}' has no op", message.start)
    return node


def _scan_input(span: Span, node: SourceNode) -> None:
    text = span.text
    if text.startswith("^"):
        node.controls.append(text[1:])
        return
    name, colon, index = text.rpartition(":")
    if not colon:
        node.inputs.append(Reference(text))
    elif name and index.isascii() and index.isdigit() and len(index) <= 6:
        node.inputs.append(Reference(name, int(index)))
    else:
        raise malformed(f"'{text}' is no name of a node's output", span.start)


def _scan_library(message: Span) -> list[str]:
    """Names of the functions: FunctionDefLibrary.function (1) . signature (1) . name (1)."""
    return [
        name.delimited().text
        for function in fields(message)
        if function.tag == 1
        for signature in fields(function.delimited())
        if signature.tag == 1
        for name in fields(signature.delimited())
        if name.tag == 1
    ]


# -- order ---------------------------------------------------------------------------------------------------------


def _ordered(nodes: Mapping[str, SourceNode], graph: Graph) -> list[SourceNode]:
    """The nodes so that each stands after what it reads: the file's order where it does already.

    A loop of TensorFlow 1 is closed by what Merge reads from NextIteration; that one edge may lead backwards.
    """
    missing = [(node, each.node) for node in nodes.values() for each in node.inputs if each.node not in nodes]
    if missing:
        node, name = missing[0]
        others = f" (and {len(missing) - 1} more such inputs)" if len(missing) > 1 else ""
        raise SourceError(
            f"node '{node.name}' reads '{name}', which is not in the graph{others}",
            where=node.place,
            remedy="the graph was cut apart or edited by hand; write it anew from its source",
        )
    dangling = sorted({name for node in nodes.values() for name in node.controls if name not in nodes})
    if dangling:
        graph.notices.append(f"control inputs name nodes that are not in the graph and were dropped: {_some(dangling)}")
        for node in nodes.values():
            node.controls = [name for name in node.controls if name in nodes]
    before = {name: _predecessors(node, nodes) for name, node in nodes.items()}
    order, cycle = sort_nodes(before)
    if cycle:
        raise SourceError(
            "the graph's nodes read each other in a circle",
            where=" <- ".join(f"'{name}' ({nodes[name].op})" for name in cycle[:8]) + (" <- ..." if len(cycle) > 8 else ""),
            remedy="only the loops of TensorFlow 1 (Merge and NextIteration) may lead back",
        )
    return [nodes[name] for name in order]


def _predecessors(node: SourceNode, nodes: Mapping[str, SourceNode]) -> list[str]:
    loops = node.op in ("Merge", "RefMerge")
    reads = [each.node for each in node.inputs if not (loops and nodes[each.node].op in ("NextIteration", "RefNextIteration"))]
    return reads + node.controls


# -- building ------------------------------------------------------------------------------------------------------


class _Builder:
    """Adds nodes one after the other, typed as far as their ops are known."""

    def __init__(self, file: SourceFile, contents: Contents, graph: Graph, constants: Mapping[str, Tensor]) -> None:
        self._file = file
        self._constants = constants
        self._producer = contents.producer
        self._graph = graph
        self._values: dict[str, list[Value]] = {}
        self._late: list[tuple[Node, SourceNode]] = []
        self._read = outputs_read((each.node, each.index) for node in contents.nodes.values() for each in node.inputs)

    def add(self, source: SourceNode) -> None:
        known = [each for each in source.inputs if each.node in self._values]
        inputs = [self._value(each, source) for each in known]
        op, attrs = self._decode(source)
        _check_kinds(op, attrs, source)
        if op in PRODUCTS:
            self._values[source.name] = [write_apart(self._graph, source.name, op, inputs, attrs)]
            return
        op, attrs = ops.canonical(op, attrs)
        count = self._read.get(source.name, 0)
        guessed = guess_types(op, attrs, count)
        # What begins with `_` is a note of TensorFlow to itself (colocation, shapes once inferred); a changed graph makes it wrong.
        attrs = {key: value for key, value in attrs.items() if not key.startswith("_")}
        probe = Node(source.name, op, inputs, attrs, guessed)
        try:
            typed = infer_tolerantly(probe)
        finally:
            probe.set_inputs(())
        if len(typed) < count:
            raise SourceError(
                f"output {count - 1} of node '{source.name}' ({source.op}) is read, but it has {len(typed)}",
                where=source.place,
                remedy="the graph was edited by hand or is corrupt; write it anew from its source",
            )
        origin = Origin((source.name,), source.op)
        node = self._graph.add(op, inputs, attrs, typed=typed, name=source.name, origin=origin, controls=source.controls)
        self._values[source.name] = node.outputs
        if len(known) != len(source.inputs):
            self._late.append((node, source))

    def close_loops(self) -> None:
        """Let the Merge nodes of loops read what comes round, now that it is there."""
        for node, source in self._late:
            node.set_inputs([self._value(each, source) for each in source.inputs])

    def _value(self, reference: Reference, source: SourceNode) -> Value:
        outputs = self._values[reference.node]
        if reference.index >= len(outputs):
            raise SourceError(
                f"node '{source.name}' reads output {reference.index} of '{reference.node}', which has {len(outputs)}",
                where=source.place,
                remedy="the graph was edited by hand or is corrupt; write it anew from its source",
            )
        return outputs[reference.index]

    def _decode(self, source: SourceNode) -> tuple[str, dict[str, Any]]:
        attrs: dict[str, Any] = {}
        for key, span in source.attrs.items():
            try:
                value = decode_attribute(span, self._file)
            except UnreadableConstant as error:
                log.info("%s: %s", source.place, error.what)
                return "UnreadableConst", {"why": error.what}
            except SourceError as error:
                error.where = f"{error.where} (attribute '{key}' of {source.place})"
                raise
            if value is not None or len(span):
                attrs[key] = value
        for key in _COUNTS:
            if isinstance(attrs.get(key), int) and not 0 <= attrs[key] <= _MAX_OUTPUTS:
                raise malformed(f"attribute '{key}' of node '{source.name}' ({source.op}) is {attrs[key]}", source.offset)
        return self._settle(source, attrs)

    def _settle(self, source: SourceNode, attrs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Bring constants and placeholders to the form of the IR."""
        if source.op == "Const":
            if not isinstance(attrs.get("value"), Tensor):
                raise malformed(f"the constant '{source.name}' has no value", source.offset)
            return "Const", {"value": self._constants.get(source.name, attrs["value"])}
        if source.op in ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault"):
            shape = attrs.get("shape")
            if shape is not None and not isinstance(shape, tuple):
                raise malformed(f"the shape of '{source.name}' is no shape", source.offset)
            if source.op == "Placeholder" and shape == () and self._producer <= _SCALAR_MEANT_UNKNOWN:
                shape = None
            attrs["shape"] = name_dims(shape, source.name)
            return source.op.removesuffix("V2"), attrs
        return source.op, attrs


_KINDS: tuple[tuple[type, tuple[type, ...]], ...] = (
    (DType, (DType,)),
    (bool, (bool,)),
    (int, (int,)),
    (float, (float,)),
    (str, (str,)),
    (list, (list,)),
    (tuple, (list,)),
)
"""Kind of a default -> kinds that the attribute may have; the first match counts (a DType is a str, a bool an int)."""


def _check_kinds(op: str, attrs: dict[str, Any], source: SourceNode) -> None:
    """Attributes of a known op must be of the kind of their default, so that no rule of an op needs to expect anything else.
    Lists become tuples where the default is one."""
    spec = ops.find(op)
    for key, default in (spec.attrs if spec is not None else {}).items():
        kinds = next((allowed for kind, allowed in _KINDS if isinstance(default, kind)), None)
        if key in attrs and kinds is not None and not isinstance(attrs[key], kinds):
            raise malformed(f"attribute '{key}' of node '{source.name}' ({source.op}) is of the wrong kind", source.offset)
        if key in attrs and isinstance(default, tuple):
            attrs[key] = tuple(attrs[key])


def _tell_functions(contents: Contents, graph: Graph) -> None:
    """Name the library's functions that nodes call: their bodies are not read."""
    library = set(contents.functions)
    used = {node.op for node in graph.nodes if node.op in library}
    for node in graph.nodes:
        for value in node.attrs.values():
            used.update(each.name for each in (value if isinstance(value, list) else [value]) if isinstance(each, FunctionRef))
    if used:
        graph.notices.append(f"nodes call functions, which cannot be converted yet: {_some(sorted(used))}")


def _some(names: Sequence[str], limit: int = 8) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
