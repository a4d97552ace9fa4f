"""A binary frozen GraphDef to a Graph, in whatever order its nodes stand and with ops nobody knows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from tensorferry.errors import SourceError
from tensorferry.ir import Graph, Port
from tensorferry.readers.arrays import read_arrays_as_lists
from tensorferry.readers.building import Builder, ordered, some
from tensorferry.readers.description import describe_contents
from tensorferry.readers.ends import find_inputs, find_outputs
from tensorferry.readers.functions import Library
from tensorferry.readers.loops import raise_control_flow
from tensorferry.readers.parsing import Contents, scan
from tensorferry.readers.tables import load_vocabularies
from tensorferry.storage import SourceFile
from tensorferry.tensor import Tensor
from tensorferry.wire.protobuf import Span, whole
from tensorferry.wire.tensorflow import FunctionRef


def read_graphdef(file: SourceFile) -> Graph:
    """The whole graph of a file. Inputs are its placeholders, outputs what nobody reads; constants stay in the file."""
    return read_graph(file, whole(file.view))


def read_graph(
    file: SourceFile,
    message: Span,
    constants: Mapping[str, Tensor] | None = None,
    extend: Callable[[Contents], None] | None = None,
) -> Graph:
    """The graph of a GraphDef that lies somewhere in the file; `constants` are the values of those it leaves without, `extend`
    adds nodes to what the file holds.

    Functions that nodes call stand in the place of the calls, those that they choose between or repeat are graphs inside them.
    """
    contents = scan(message)
    if extend is not None:
        extend(contents)
    if not contents.nodes:
        raise SourceError(f"'{file.path}' is a graph without nodes", remedy="check that it is the file that was meant")
    graph = Graph(os.fsencode(file.path.stem).decode("utf-8", "replace"))  # a file's name may be no text
    describe_contents(graph.facts, contents)
    builder = Builder(file, Library(file, contents, constants or {}), graph, contents.nodes)
    for source in ordered(contents.nodes, graph):
        builder.add(source)
    builder.close_loops()
    read_arrays_as_lists(graph)
    raise_control_flow(graph)
    load_vocabularies(graph, file.path.parent)
    _tell_functions(graph)
    graph.inputs = [Port(value.name, value) for value in find_inputs(graph)]
    graph.outputs = [Port(value.name, value) for value in find_outputs(graph)]
    return graph


def _tell_functions(graph: Graph) -> None:
    """Name the functions that nodes call in ways that are not known: their bodies are not read."""
    used: set[str] = set()
    for node in graph.nodes:
        for value in node.attrs.values():
            used.update(each.name for each in (value if isinstance(value, list) else [value]) if isinstance(each, FunctionRef))
    if used:
        graph.notices.append(f"nodes call functions, which cannot be converted yet: {some(sorted(used))}")
