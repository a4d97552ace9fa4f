"""A GraphDef's parts as they stand in the file: nodes and functions by name, no attribute decoded, no constant touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tensorferry.errors import SourceError
from tensorferry.tensor import DType
from tensorferry.wire.protobuf import Span, fields, malformed
from tensorferry.wire.tensorflow import FunctionDef, GraphDef, NodeDef, OpDef, decode_dtype, split_entry


@dataclass(frozen=True, slots=True)
class Reference:
    """An input as written: `name`, `name:1`, in functions `name:output:1`, the first of the output of that name."""

    node: str
    index: int = 0
    output: str = ""


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


@dataclass(frozen=True, slots=True)
class Argument:
    """What a function takes or gives: one tensor, of a fixed type or of the type in an attribute of the call."""

    name: str
    dtype: DType = DType.UNKNOWN
    type_attribute: str = ""
    several: bool = False


@dataclass(slots=True)
class SourceFunction:
    """One FunctionDef. `results` says for each output which value of the body it is; `attrs` are those of the arguments."""

    name: str
    offset: int
    inputs: list[Argument] = field(default_factory=list)
    outputs: list[Argument] = field(default_factory=list)
    nodes: dict[str, SourceNode] = field(default_factory=dict)
    results: dict[str, Reference] = field(default_factory=dict)
    attrs: dict[int, dict[str, Span]] = field(default_factory=dict)


@dataclass(slots=True)
class Contents:
    """A GraphDef's parts: nodes by name in the order of the file, its functions unread, the version that wrote it."""

    nodes: dict[str, SourceNode] = field(default_factory=dict)
    functions: dict[str, Span] = field(default_factory=dict)
    producer: int = 0


def scan(message: Span) -> Contents:
    """Walk a GraphDef. Touches names and field headers, no constant."""
    contents = Contents()
    for each in fields(message):
        if each.tag == GraphDef.NODE:
            _add_node(contents.nodes, _scan_node(each.delimited(), _reference))
        elif each.tag == GraphDef.LIBRARY:
            contents.functions = _scan_library(each.delimited())
        elif each.tag == GraphDef.VERSION and not contents.producer:
            contents.producer = each.signed()
        elif each.tag == GraphDef.VERSIONS:
            contents.producer = next((part.signed() for part in fields(each.delimited()) if part.tag == 1), 0)
    return contents


def _add_node(nodes: dict[str, SourceNode], node: SourceNode) -> None:
    if node.name in nodes:
        other = nodes[node.name]
        raise SourceError(
            f"two nodes have the name '{node.name}'",
            where=f"byte {other.offset} ({other.op}) and byte {node.offset} ({node.op})",
            remedy="write the graph anew: names must be unique",
        )
    nodes[node.name] = node


def _scan_node(message: Span, reference: Callable[[Span], Reference]) -> SourceNode:
    node = SourceNode("", "", message.start)
    for each in fields(message):
        if each.tag == NodeDef.NAME:
            node.name = each.delimited().text
        elif each.tag == NodeDef.OP:
            node.op = each.delimited().text
        elif each.tag == NodeDef.INPUT:
            _scan_input(each.delimited(), node, reference)
        elif each.tag == NodeDef.ATTR:
            key, value = split_entry(each.delimited())
            node.attrs[key] = value
    if not node.name.isprintable() or not node.op.isprintable():  # TensorFlow allows letters, digits and a few signs
        raise malformed(f"a node has the unprintable name {node.name!r} or op {node.op!r}", message.start)
    if not node.name or not node.op:
        raise malformed("a node has no name" if not node.name else f"node '{node.name}' has no op", message.start)
    return node


def _scan_input(span: Span, node: SourceNode, reference: Callable[[Span], Reference]) -> None:
    text = span.text
    if text.startswith("^"):
        node.controls.append(text[1:])
    else:
        node.inputs.append(reference(span))


def _reference(span: Span) -> Reference:
    """`name` or `name:1`."""
    name, colon, index = span.text.rpartition(":")
    if not colon:
        return Reference(span.text)
    if name and _is_index(index):
        return Reference(name, int(index))
    raise malformed(f"'{span.text}' is no name of a node's output", span.start)


def _reference_in_function(span: Span) -> Reference:
    """`argument`, `node:output` or `node:output:1`."""
    match span.text.split(":"):
        case [name]:
            return Reference(name)
        case [name, index] if name and _is_index(index):
            return Reference(name, int(index))
        case [name, output] if name and output:
            return Reference(name, 0, output)
        case [name, output, index] if name and output and _is_index(index):
            return Reference(name, int(index), output)
    raise malformed(f"'{span.text}' is no name of a value in a function", span.start)


def _is_index(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 6


# -- functions -----------------------------------------------------------------------------------------------------


def _scan_library(message: Span) -> dict[str, Span]:
    """The functions by name, FunctionDefLibrary.function (1), unread."""
    functions = [each.delimited() for each in fields(message) if each.tag == 1]
    return {_name_of(function): function for function in functions}


def _name_of(function: Span) -> str:
    """FunctionDef.signature (1) . name (1)."""
    signatures = [each.delimited() for each in fields(function) if each.tag == FunctionDef.SIGNATURE]
    names = [each.delimited().text for signature in signatures for each in fields(signature) if each.tag == OpDef.NAME]
    return names[-1] if names else ""


def scan_function(name: str, message: Span) -> SourceFunction:
    """Walk a FunctionDef as `scan` walks a graph."""
    function = SourceFunction(name, message.start)
    for each in fields(message):
        if each.tag == FunctionDef.SIGNATURE:
            _scan_signature(each.delimited(), function)
        elif each.tag == FunctionDef.NODE:
            _add_node(function.nodes, _scan_node(each.delimited(), _reference_in_function))
        elif each.tag == FunctionDef.RETURN:
            output, value = split_entry(each.delimited())
            function.results[output] = _reference_in_function(value)
        elif each.tag == FunctionDef.ARGUMENT_ATTR:
            number, attrs = _scan_argument_attrs(each.delimited())
            function.attrs[number] = attrs
    return function


def _scan_signature(message: Span, function: SourceFunction) -> None:
    for each in fields(message):
        if each.tag == OpDef.INPUT:
            function.inputs.append(_scan_argument(each.delimited()))
        elif each.tag == OpDef.OUTPUT:
            function.outputs.append(_scan_argument(each.delimited()))


def _scan_argument(message: Span) -> Argument:
    name, dtype, attribute, several = "", DType.UNKNOWN, "", False
    for each in fields(message):
        if each.tag == 1:
            name = each.delimited().text
        elif each.tag == 3:
            dtype = decode_dtype(each.signed())
        elif each.tag == 4:
            attribute = each.delimited().text
        elif each.tag in (5, 6):
            several = True
    return Argument(name, dtype, attribute, several)


def _scan_argument_attrs(message: Span) -> tuple[int, dict[str, Span]]:
    number, attrs = 0, {}
    for each in fields(message):
        if each.tag == 1:
            number = each.signed()
        elif each.tag == 2:
            attrs = dict(split_entry(part.delimited()) for part in fields(each.delimited()) if part.tag == 1)
    return number, attrs
