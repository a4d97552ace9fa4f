"""The objects of a SavedModel of TensorFlow 2: its functions by name, and what those capture, without any signature.

Source of the format: tensorflow/core/protobuf/{saved_object_graph,trackable_object_graph,struct}.proto.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tensorferry.errors import OptionError, SourceError
from tensorferry.ir import Graph, Port, Shape
from tensorferry.readers.parsing import Contents, Reference, SourceFunction, SourceNode, scan_function
from tensorferry.storage import SourceFile
from tensorferry.tensor import DType
from tensorferry.wire.bundle import OBJECT_GRAPH, Bundle
from tensorferry.wire.protobuf import DELIMITED, Span, fields, malformed, read_varint, whole
from tensorferry.wire.tensorflow import FunctionRef, decode_attribute, decode_dtype, decode_shape, encode_attribute, split_entry

_MOST_DEPTH = 12
"""Of names within names; objects may lead back to each other."""

_INNER = ("signatures", "keras_api", "_create_resource", "_initialize", "_destroy_resource")
"""Children that lead to no function that a user would name."""

_VARIABLE_VALUE = "VARIABLE_VALUE"

_CALLS = ("StatefulPartitionedCall", "PartitionedCall")


@dataclass(slots=True)
class SavedObject:
    """A node of the object graph, as far as functions need it."""

    children: dict[str, int] = field(default_factory=dict)
    kind: str = ""
    names: list[str] = field(default_factory=list)  # of the concrete functions, of a variable, of a constant's node
    dtype: DType = DType.UNKNOWN
    shape: Shape = None
    asset: int = 0


@dataclass(slots=True)
class Concrete:
    """A traced function: the objects it captures, the names of its results where they have any."""

    bound: list[int] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Objects:
    """The object graph; the first object is the root."""

    nodes: list[SavedObject] = field(default_factory=list)
    concrete: dict[str, Concrete] = field(default_factory=dict)

    def walk(self) -> Iterator[tuple[str, SavedObject]]:
        """(path, object), each object once, under its shortest path."""
        seen, waiting = {0}, deque([("", 0, 0)])
        while waiting:
            path, number, depth = waiting.popleft()
            if number >= len(self.nodes):
                raise malformed(f"object {number} of {len(self.nodes)} is named", 0)
            yield path, self.nodes[number]
            own = self.nodes[number].children.items() if self.nodes[number].kind != "function" else ()  # traces, under numbers
            for name, child in own:
                if child not in seen and name not in _INNER and depth < _MOST_DEPTH:
                    seen.add(child)
                    waiting.append((f"{path}.{name}" if path else name, child, depth + 1))

    def functions(self) -> dict[str, list[str]]:
        """Name of a function -> its traces, shortest names first."""
        return {path: each.names for path, each in self.walk() if each.kind == "function" and each.names}


# -- reading -------------------------------------------------------------------------------------------------------


def scan_objects(message: Span) -> Objects:
    """Walk a SavedObjectGraph."""
    found = Objects()
    for each in fields(message):
        if each.tag == 1:
            found.nodes.append(_scan_object(each.delimited()))
        elif each.tag == 2:
            key, value = split_entry(each.delimited())
            found.concrete[key] = _scan_concrete(value)
    return found


def _scan_object(message: Span) -> SavedObject:
    found = SavedObject()
    for each in fields(message):
        if each.tag == 1:
            name, number = _scan_child(each.delimited())
            found.children[name] = number
        elif each.tag == 5:
            found.kind = "asset"
            found.asset = next((part.signed() for part in fields(each.delimited()) if part.tag == 1), 0)
        elif each.tag in (6, 8):
            found.kind = "function"
            found.names = [part.delimited().text for part in fields(each.delimited()) if part.tag == 1]
        elif each.tag == 7:
            _scan_variable(each.delimited(), found)
        elif each.tag == 9:
            found.kind = "constant"
            found.names = [part.delimited().text for part in fields(each.delimited()) if part.tag == 1]
        elif each.tag == 10:
            found.kind = "resource"
    return found


def _scan_child(message: Span) -> tuple[str, int]:
    name, number = "", 0
    for each in fields(message):
        if each.tag == 1:
            number = each.signed()
        elif each.tag == 2:
            name = each.delimited().text
    return name, max(0, number)


def _scan_variable(message: Span, found: SavedObject) -> None:
    found.kind = "variable"
    for each in fields(message):
        if each.tag == 1:
            found.dtype = decode_dtype(each.signed())
        elif each.tag == 2:
            found.shape = decode_shape(each.delimited())
        elif each.tag == 6:
            found.names = [each.delimited().text]


def _scan_concrete(message: Span) -> Concrete:
    found = Concrete()
    for each in fields(message):
        if each.tag == 2 and each.wire == DELIMITED:
            found.bound += [int(number) for number in _packed(each.delimited())]
        elif each.tag == 2:
            found.bound.append(each.signed())
        elif each.tag == 4:
            found.outputs = _names_in(each.delimited())
    return found


def _packed(message: Span) -> Iterator[int]:
    position = message.start
    while position < message.end:
        number, position = read_varint(message.data, position, message.end)
        yield number


def _names_in(message: Span) -> list[str]:
    """The keys of a dict (53) of results, sorted as TensorFlow flattens them; nothing for any other structure."""
    for each in fields(message):
        if each.tag == 53:
            return sorted(split_entry(part.delimited())[0] for part in fields(each.delimited()) if part.tag == 1)
    return []


# -- which function ------------------------------------------------------------------------------------------------


def find_function(objects: Objects, wanted: str | None, signatures: Iterable[str] = ()) -> tuple[str, str]:
    """(public name, name of the trace). Without a wish the only function of the model itself. OptionError lists all."""
    functions = objects.functions()
    if wanted is None:
        own = [path for path, traces in functions.items() if "." not in path and len(traces) == 1]
        named = [path for path in own if not path.startswith("_")] or own
        if len(named) == 1:
            return named[0], functions[named[0]][0]
        raise OptionError("the model has no signature", remedy=f"choose a function with --signature: {list_functions(objects)}")
    if wanted in objects.concrete:
        return wanted, wanted
    traces = functions.get(wanted, [])
    if len(traces) == 1:
        return wanted, traces[0]
    if traces:
        raise OptionError(f"the function '{wanted}' was traced {len(traces)} times", remedy=f"choose one: {', '.join(traces)}")
    raise OptionError(
        f"the model has no signature '{wanted}', and no function of that name",
        remedy=f"signatures are {', '.join(signatures) or 'none'}; functions are {list_functions(objects)}",
    )


def list_functions(objects: Objects, most: int = 20) -> str:
    names = list(objects.functions())
    return (", ".join(names[:most]) or "none") + (f" and {len(names) - most} more" if len(names) > most else "")


# -- calling it ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Call:
    """Adds to a graph's contents a call of one function, and all that it captures."""

    objects: Objects
    contents: Contents
    file: SourceFile
    assets: list[str]
    inputs: list[tuple[str, str]] = field(default_factory=list)
    """(public name, node)"""
    outputs: list[tuple[str, int]] = field(default_factory=list)
    variables: dict[str, int] = field(default_factory=dict)
    """Node of a variable -> its object."""
    node: str = ""
    _bound: dict[int, Reference] = field(default_factory=dict)

    def add(self, trace: str, public: str) -> None:
        """SourceError where the function, or something that it captures, cannot be read."""
        function, concrete = self._function(trace), self.objects.concrete.get(trace, Concrete())
        free = len(function.inputs) - len(concrete.bound)
        if free < 0:
            raise malformed(f"'{trace}' captures more than it takes", function.offset)
        given = []
        for number, argument in enumerate(function.inputs[:free]):
            attrs = {"dtype": argument.dtype, "shape": self._shape(function, number)}
            name = self._add(f"{public}/{argument.name}", "Placeholder", [], attrs)
            label = self._label(function, number) or argument.name
            self.inputs.append((label if all(label != other for other, _ in self.inputs) else argument.name, name))
            given.append(Reference(name))
        self.node = self._call(public, trace, function, [*given, *(self._bind(each) for each in concrete.bound)])
        names = concrete.outputs
        if len(names) != len(function.outputs):
            names = [f"output_{place}" for place in range(len(function.outputs))]
        self.outputs = [(name, place) for place, name in enumerate(names)]

    def apply(self, graph: Graph, public: str) -> None:
        """Let the graph's inputs and outputs be the function's."""
        graph.signature = public
        graph.inputs = [Port(name, graph.node(node).output) for name, node in self.inputs]
        made = graph.node(self.node).outputs
        graph.outputs = [Port(name, made[place]) for name, place in self.outputs]

    def _function(self, trace: str) -> SourceFunction:
        if trace not in self.contents.functions:
            raise SourceError(f"the function '{trace}' is not in the graph's library", remedy="save the model anew")
        return scan_function(trace, self.contents.functions[trace])

    def _add(self, wanted: str, op: str, inputs: list[Reference], attrs: Mapping[str, Any]) -> str:
        name, number = wanted, 0
        while name in self.contents.nodes:
            number += 1
            name = f"{wanted}_{number}"
        encoded = {key: whole(memoryview(b"".join(encode_attribute(value).chunks()))) for key, value in attrs.items()}
        self.contents.nodes[name] = SourceNode(name, op, 0, inputs, [], encoded)
        return name

    def _call(self, name: str, trace: str, function: SourceFunction, inputs: list[Reference]) -> str:
        if len(inputs) != len(function.inputs):
            raise malformed(f"'{trace}' takes {len(function.inputs)} arguments, {len(inputs)} are there", function.offset)
        return self._add(name, "StatefulPartitionedCall", inputs, {"f": FunctionRef(trace, {})})

    def _bind(self, number: int) -> Reference:
        if number in self._bound:
            return self._bound[number]
        if not 0 <= number < len(self.objects.nodes):
            raise malformed(f"a function captures object {number} of {len(self.objects.nodes)}", 0)
        found = self.objects.nodes[number]
        if found.kind == "variable":
            name = found.names[0] if found.names and found.names[0].isprintable() and found.names[0] else f"variable_{number}"
            attrs = {"dtype": found.dtype, "shape": found.shape, "shared_name": f"object {number}"}
            node = self._add(name, "VarHandleOp", [], attrs)
            self.variables[node] = number
            self._bound[number] = Reference(node)
        elif found.kind == "constant" and found.names:
            self._bound[number] = self._existing(found.names[0])
        elif found.kind == "asset" and 0 <= found.asset < len(self.assets):
            self._bound[number] = self._existing(self.assets[found.asset].partition(":")[0])
        elif found.kind == "resource":
            self._bind_resource(number, found)
        else:
            raise SourceError(f"a function captures an object that cannot be read ({found.kind or 'of the user'})")
        return self._bound[number]

    def _existing(self, node: str) -> Reference:
        if node not in self.contents.nodes:
            raise SourceError(f"a function captures '{node}', which is not in the graph", remedy="save the model anew")
        return Reference(node)

    def _bind_resource(self, number: int, found: SavedObject) -> None:
        """A table and its like: what creates it gives the handle, what initialises it reads that."""
        create, start = (self._trace_of(found, name) for name in ("_create_resource", "_initialize"))
        if create is None:
            raise SourceError("a function captures a resource that nothing creates")
        made = self._call(f"resource_{number}", create, self._function(create), self._captured(create))
        self._bound[number] = Reference(made)
        if start is not None:
            self._call(f"resource_{number}/initialize", start, self._function(start), self._captured(start))

    def _captured(self, trace: str) -> list[Reference]:
        return [self._bind(each) for each in self.objects.concrete.get(trace, Concrete()).bound]

    def _trace_of(self, found: SavedObject, name: str) -> str | None:
        child = found.children.get(name, -1)
        traces = self.objects.nodes[child].names if 0 <= child < len(self.objects.nodes) else []
        return traces[0] if traces else None

    def _shape(self, function: SourceFunction, number: int) -> Shape:
        noted = function.attrs.get(number, {}).get("_output_shapes")
        shapes = decode_attribute(noted, self.file) if noted is not None else None
        shape = shapes[0] if isinstance(shapes, list) and len(shapes) == 1 else None
        return shape if isinstance(shape, tuple) else None

    def _label(self, function: SourceFunction, number: int) -> str:
        noted = function.attrs.get(number, {}).get("_user_specified_name")
        label = decode_attribute(noted, self.file) if noted is not None else ""
        return label if isinstance(label, str) and label.isprintable() else ""


def captured_variables(objects: Objects, contents: Contents, file: SourceFile) -> dict[str, int]:
    """Node of a variable -> its object, as the calls of functions tell: what these capture follows their arguments, in order."""
    found: dict[str, int] = {}
    for node in contents.nodes.values():
        called = decode_attribute(node.attrs["f"], file) if node.op in _CALLS and "f" in node.attrs else None
        bound = objects.concrete[called.name].bound if isinstance(called, FunctionRef) and called.name in objects.concrete else []
        for reference, number in zip(reversed(node.inputs), reversed(bound), strict=False):
            if 0 <= number < len(objects.nodes) and objects.nodes[number].kind == "variable":
                found.setdefault(reference.node, number)
    return found


# -- which value of a checkpoint belongs to which object -----------------------------------------------------------


@dataclass(slots=True)
class _Tracked:
    children: dict[str, int] = field(default_factory=dict)
    key: str = ""
    full_name: str = ""


def _scan_tracked(bundle: Bundle) -> list[_Tracked]:
    if OBJECT_GRAPH not in bundle:
        return []
    array = bundle.tensor(OBJECT_GRAPH).array().reshape(-1)
    found = []
    for each in fields(whole(memoryview(bytes(array[0])))) if array.size else ():
        if each.tag == 1:
            found.append(_scan_tracked_object(each.delimited()))
    return found


def _scan_tracked_object(message: Span) -> _Tracked:
    found = _Tracked()
    for each in fields(message):
        if each.tag == 1:
            name, number = _scan_child(each.delimited())
            found.children[name] = number
        elif each.tag == 2:
            parts = {part.tag: part.delimited().text for part in fields(each.delimited()) if part.tag in (1, 2, 3)}
            if parts.get(1) == _VARIABLE_VALUE:
                found.full_name, found.key = parts.get(2, ""), parts.get(3, "")
    return found


def keys_of_objects(objects: Objects, bundle: Bundle) -> dict[int, str]:
    """Object -> key of its value: both graphs are walked along the same names."""
    tracked = _scan_tracked(bundle)
    keys: dict[int, str] = {}
    seen, waiting = {0}, [(0, 0)]
    while waiting and tracked:
        saved, other = waiting.pop()
        if saved >= len(objects.nodes) or other >= len(tracked):
            raise malformed("an object is named that is not there", 0)
        if tracked[other].key:
            keys[saved] = tracked[other].key
        for name, child in objects.nodes[saved].children.items():
            if name in tracked[other].children and child not in seen:
                seen.add(child)
                waiting.append((child, tracked[other].children[name]))
    return keys


def keys_of_names(bundle: Bundle) -> dict[str, str]:
    """Full name of a variable -> key of its value, where no two have the name: what serves a graph without a saver."""
    found: dict[str, list[str]] = {}
    for each in _scan_tracked(bundle):
        if each.key and each.full_name:
            found.setdefault(each.full_name, []).append(each.key)
    return {name: keys[0] for name, keys in found.items() if len(set(keys)) == 1}
