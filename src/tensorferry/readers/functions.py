"""The functions of a GraphDef's library: bodies of calls, branches and loops, read when a node asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorferry.errors import SourceError
from tensorferry.ir import Graph, Port, Shape, Typed, Value
from tensorferry.readers.arrays import read_arrays_as_lists
from tensorferry.readers.building import Builder, ordered
from tensorferry.readers.loops import raise_control_flow
from tensorferry.readers.parsing import Argument, Contents, SourceFunction, SourceNode, scan_function
from tensorferry.storage import SourceFile
from tensorferry.tensor import DType, Tensor
from tensorferry.wire.tensorflow import FunctionRef, decode_attribute

MAX_DEPTH = 24
"""Functions within functions. What people write is nested five deep or less."""

MAX_NODES = 1 << 20
"""Nodes of all bodies together. Each function that calls the next one twice doubles them, so that a small file could ask for any
number."""

_GRAPHS: Mapping[str, tuple[str, ...]] = {"If": ("then_branch", "else_branch"), "While": ("cond", "body"), "Case": ()}
"""Op -> attributes that name functions and become graphs. The branches of Case are a list: they become branch_0, branch_1 ..."""


class Library:
    """Makes Graphs of functions, a new one each time, since passes change them."""

    def __init__(self, file: SourceFile, contents: Contents, constants: Mapping[str, Tensor]) -> None:
        """`constants`: values of those that the file leaves without, by name, in functions too."""
        self.producer = contents.producer
        self.constants = constants
        self._file = file
        self._unread = contents.functions
        self._functions: dict[str, SourceFunction] = {}
        self._open: list[str] = []  # functions whose bodies are being made: each is called by the one before
        self._nodes = 0

    def __contains__(self, name: str) -> bool:
        return name in self._unread

    def output_index(self, name: str, output: str) -> int | None:
        """The number of a function's output of that name."""
        names = [each.name for each in self._function(name).outputs]
        return names.index(output) if output in names else None

    def with_graphs(self, source: SourceNode, op: str, attrs: dict[str, Any]) -> dict[str, Any]:
        """The attributes of a node, with graphs in the place of the functions that it chooses between or repeats."""
        if op not in _GRAPHS:
            return attrs
        made = dict(attrs)
        listed = made.pop("branches", ()) if op == "Case" else ()
        named = {key: attrs.get(key) for key in _GRAPHS[op]} | {f"branch_{place}": each for place, each in enumerate(listed or ())}
        for key, function in named.items():
            if not isinstance(function, FunctionRef):
                raise SourceError(f"the attribute '{key}' of {source.op} names no function", where=source.place)
            made[key] = self.instantiate(function, source.place)
        return made

    def instantiate(self, called: FunctionRef, place: str) -> Graph:
        """The function's body as a Graph whose inputs are its arguments. SourceError for what no graph can be made of."""
        if called.name not in self._unread:
            raise SourceError(f"the function '{called.name}' is called, which is not in the graph's library", where=place)
        if called.name in self._open:
            circle = " calls ".join(f"'{each}'" for each in [*self._open[self._open.index(called.name) :], called.name])
            raise SourceError(
                f"the function '{called.name}' calls itself",
                where=place,
                why=f"{circle}; no target knows recursion",
                remedy="write it as a loop",
            )
        function = self._function(called.name)
        self._nodes += len(function.nodes) + len(function.inputs)
        if len(self._open) >= MAX_DEPTH or self._nodes > MAX_NODES:
            limit = (
                f"{MAX_DEPTH} functions within each other" if len(self._open) >= MAX_DEPTH else f"{MAX_NODES} nodes of functions"
            )
            raise SourceError(f"the graph takes more than {limit}", where=place, remedy="check that it is the file that was meant")
        self._open.append(called.name)
        try:
            return self._build(function, called.attrs)
        finally:
            self._open.pop()

    def _function(self, name: str) -> SourceFunction:
        if name not in self._functions:
            self._functions[name] = scan_function(name, self._unread[name])
        return self._functions[name]

    def _build(self, function: SourceFunction, attrs: Mapping[str, Any]) -> Graph:
        graph = Graph(function.name)
        builder = Builder(self._file, self, graph, function.nodes)
        builder.given = attrs
        for number, argument in enumerate(function.inputs):
            value = self._add_argument(graph, function, number, argument, attrs)
            builder.bind(argument.name, value)
            graph.inputs.append(Port(argument.name, value))
        arguments = {argument.name for argument in function.inputs}
        if len(arguments) != len(function.inputs) or not arguments.isdisjoint(function.nodes):
            raise SourceError(f"names in function '{function.name}' are not unique", where=f"byte {function.offset}")
        for source in ordered(function.nodes, graph, arguments):
            builder.add(source)
        builder.close_loops()
        place = f"function '{function.name}', byte {function.offset}"
        for output in function.outputs:
            result = function.results.get(output.name)
            if result is None or not (result.node in function.nodes or result.node in arguments):
                raise SourceError(f"the output '{output.name}' of function '{function.name}' is made by no node of it", where=place)
            graph.outputs.append(Port(output.name, builder.value(result, place)))
        read_arrays_as_lists(graph)
        raise_control_flow(graph)
        return graph

    def _add_argument(
        self, graph: Graph, function: SourceFunction, number: int, argument: Argument, attrs: Mapping[str, Any]
    ) -> Value:
        if argument.several:
            raise SourceError(
                f"the argument '{argument.name}' of function '{function.name}' stands for any number of tensors",
                where=f"byte {function.offset}",
                remedy="write the graph anew with TensorFlow 2, whose functions take single tensors",
            )
        dtype = attrs.get(argument.type_attribute) if argument.type_attribute else argument.dtype
        typed = Typed(dtype if isinstance(dtype, DType) else DType.UNKNOWN, self._shape_of(function, number))
        port = {"dtype": typed.dtype, "shape": typed.shape}
        return graph.add("Placeholder", (), port, typed=[typed], name=argument.name).output

    def _shape_of(self, function: SourceFunction, number: int) -> Shape:
        """What TensorFlow once inferred for an argument; a call may tell more."""
        noted = function.attrs.get(number, {}).get("_output_shapes")
        shapes = decode_attribute(noted, self._file) if noted is not None else None
        shape = shapes[0] if isinstance(shapes, list) and len(shapes) == 1 else None
        return shape if isinstance(shape, tuple) else None
