"""The one representation between every reader and every writer: Value, Node, Graph, verify().

Op names and semantics are TensorFlow's (the newest of each family). Nodes stand in topological order. A constant is a
`Const` node whose attribute `value` is a Tensor, an input a `Placeholder`; nothing is special-cased beside the graph.
Two things go beyond TensorFlow: Conv2D, DepthwiseConv2dNative and MatMul may carry a bias as third input, and a node may carry
an `activation` (the name of an activation op, applied to its only output). Only passes make them, never a reader.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tensorferry.errors import GraphError, SourceError
from tensorferry.facts import Facts
from tensorferry.tensor import Array, ArrayTensor, DType, Tensor

Dim = int | str
"""A size, or the name of an unknown one; equal names are equal sizes."""

Shape = tuple[Dim, ...] | None
"""None: even the rank is unknown."""

UNKNOWN_DIM = "?"
"""Name of a size about which nothing is known, not even that it equals another `?`."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """real = scale * (stored - zero_point); one pair for the tensor, or one for each index along `axis`."""

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int | None = None


@dataclass(frozen=True, slots=True)
class Typed:
    """What inference says of one output.

    `content` holds the elements of a small integer tensor of rank 0 or 1 as far as they are known (a size that follows from
    an unknown input size is named): shape arithmetic (Shape -> StridedSlice -> Pack -> Reshape) is followed through it.
    """

    dtype: DType
    shape: Shape
    content: tuple[Dim, ...] | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """The user's own node names that a node stands for, and the source op."""

    names: tuple[str, ...]
    op: str

    def __add__(self, other: Origin) -> Origin:
        return Origin(tuple(dict.fromkeys(self.names + other.names)), self.op)


class Value:
    """An edge: one output of one node. Compared by identity."""

    __slots__ = ("content", "dtype", "index", "producer", "quantization", "shape", "users")

    def __init__(self, producer: Node, index: int, typed: Typed) -> None:
        self.producer = producer
        self.index = index
        self.quantization: Quantization | None = None
        self.users: list[Node] = []  # once per use: a node that reads it twice stands twice
        self.retype(typed)

    def retype(self, typed: Typed) -> None:
        self.dtype, self.shape, self.content = typed.dtype, typed.shape, typed.content

    @property
    def typed(self) -> Typed:
        return Typed(self.dtype, self.shape, self.content)

    @property
    def name(self) -> str:
        """TensorFlow's short form: `node` for output 0, `node:1` for the next."""
        return self.producer.name if self.index == 0 else f"{self.producer.name}:{self.index}"

    @property
    def constant(self) -> Tensor | None:
        """The Tensor when a Const node makes this value."""
        return self.producer.attrs["value"] if self.producer.op == "Const" else None

    @property
    def rank(self) -> int | None:
        return None if self.shape is None else len(self.shape)

    @property
    def static_shape(self) -> tuple[int, ...] | None:
        """The shape when every size is a number."""
        if self.shape is None or any(isinstance(dim, str) for dim in self.shape):
            return None
        return self.shape  # type: ignore[return-value]

    def __repr__(self) -> str:
        return f"<{self.name} {self.dtype} {format_shape(self.shape)}>"


class Node:
    """One operation. Inputs change through `set_input` only, which keeps the users of each value right."""

    __slots__ = ("_inputs", "attrs", "controls", "name", "op", "origin", "outputs")

    def __init__(
        self,
        name: str,
        op: str,
        inputs: Sequence[Value],
        attrs: Mapping[str, Any],
        typed: Sequence[Typed],
        origin: Origin | None = None,
        controls: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.op = op
        self.attrs = dict(attrs)
        self.origin = origin or Origin((name,), op)
        self.controls = tuple(controls)  # names of nodes the source wanted to run before; pure graphs need no order beside data
        self._inputs: tuple[Value, ...] = tuple(inputs)
        self.outputs = [Value(self, index, each) for index, each in enumerate(typed)]
        for value in self._inputs:
            value.users.append(self)

    @property
    def inputs(self) -> tuple[Value, ...]:
        return self._inputs

    @property
    def output(self) -> Value:
        """The only output."""
        if len(self.outputs) != 1:
            raise GraphError(f"node '{self.name}' ({self.op}) has {len(self.outputs)} outputs, not one")
        return self.outputs[0]

    def __getitem__(self, attribute: str) -> Any:
        try:
            return self.attrs[attribute]
        except KeyError:
            raise GraphError(f"node '{self.name}' ({self.op}) has no attribute '{attribute}'") from None

    def get(self, attribute: str, default: Any = None) -> Any:
        return self.attrs.get(attribute, default)

    def set_input(self, index: int, value: Value) -> None:
        self._inputs[index].users.remove(self)
        self._inputs = (*self._inputs[:index], value, *self._inputs[index + 1 :])
        value.users.append(self)

    def set_inputs(self, values: Sequence[Value]) -> None:
        for value in self._inputs:
            value.users.remove(self)
        self._inputs = tuple(values)
        for value in self._inputs:
            value.users.append(self)

    def graphs(self) -> Iterator[tuple[str, Graph]]:
        """Nested graphs (branches and bodies) with their attribute names."""
        for key, attribute in self.attrs.items():
            if isinstance(attribute, Graph):
                yield key, attribute

    def __repr__(self) -> str:
        return f"<{self.op} {self.name}>"


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def _check_name(name: str) -> None:
    """TensorFlow itself takes no such name; in a terminal or a table it would pass for something else."""
    if _CONTROL.search(name):
        raise SourceError(f"the name {name!r} holds control characters", remedy="give the model's nodes other names")


@dataclass(slots=True)
class Port:
    """A graph input or output: the public name the user knows, and the value behind it."""

    name: str
    value: Value

    def __post_init__(self) -> None:
        _check_name(self.name)


@dataclass(frozen=True, slots=True)
class State:
    """What a variable has become: beside the input that bears its name, the output with its value after the run, and the first
    value of all."""

    output: str
    first: Tensor


class Graph:
    """Nodes in topological order, with ordered, named inputs and outputs.

    A nested graph (branch, loop body) sees nothing of the outside: its captures are inputs like any other.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.nodes: list[Node] = []
        self.inputs: list[Port] = []
        self.outputs: list[Port] = []
        self.assets: dict[str, bytes] = {}
        self.states: dict[str, State] = {}  # by the name of the input
        self.notices: list[str] = []  # what was decided on the user's behalf, told in the report
        self.signature = ""  # the signature whose inputs and outputs these are; empty when they were found or named
        self.siblings: list[Graph] = []  # of other signatures of the source, which go into the same file
        self.facts = Facts()  # what the source says of itself beside the graph
        self.variables: dict[str, Tensor] = {}  # node that holds a variable -> the value it has when the model starts
        self._names: dict[str, Node] = {}

    # -- looking up ------------------------------------------------------------------------------------------------

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def node(self, name: str) -> Node:
        try:
            return self._names[name]
        except KeyError:
            raise GraphError(f"the graph has no node '{name}'") from None

    def is_output(self, value: Value) -> bool:
        return any(port.value is value for port in self.outputs)

    def readers(self, value: Value) -> int:
        """How many read the value: uses by nodes, plus one if it is a graph output."""
        return len(value.users) + self.is_output(value)

    def only_reader(self, value: Value) -> Node | None:
        """The node that alone reads the value once, if it is so and the value is no graph output."""
        return value.users[0] if len(value.users) == 1 and not self.is_output(value) else None

    def unique_name(self, base: str) -> str:
        """`base`, or `base_1`, `base_2`, ... if taken."""
        if base not in self._names:
            return base
        number = 1
        while f"{base}_{number}" in self._names:
            number += 1
        return f"{base}_{number}"

    # -- changing --------------------------------------------------------------------------------------------------

    def add(
        self,
        op: str,
        inputs: Sequence[Value] = (),
        attrs: Mapping[str, Any] | None = None,
        *,
        typed: Sequence[Typed],
        name: str | None = None,
        origin: Origin | None = None,
        before: Node | None = None,
        controls: Sequence[str] = (),
    ) -> Node:
        """Add a node at the end, or just before another. Taken names get a suffix. `ops.add` infers `typed` for you."""
        _check_name(name or op)
        unique = self.unique_name(name or op)
        node = Node(unique, op, inputs, attrs or {}, typed, origin, controls)
        self.nodes.insert(self.nodes.index(before) if before is not None else len(self.nodes), node)
        self._names[unique] = node
        return node

    def constant(self, value: Array | Tensor, name: str, *, before: Node | None = None, origin: Origin | None = None) -> Value:
        """Add a Const node."""
        tensor = value if isinstance(value, Tensor) else ArrayTensor(value)
        node = self.add("Const", (), {"value": tensor}, typed=[type_of_constant(tensor)], name=name, before=before, origin=origin)
        return node.output

    def rename(self, node: Node, name: str) -> None:
        if name in self._names and self._names[name] is not node:
            raise GraphError(f"the name '{name}' is taken")
        del self._names[node.name]
        node.name = name
        self._names[name] = node

    def replace_uses(self, old: Value, new: Value) -> None:
        """Let every reader of `old`, graph outputs included, read `new`; public names stay."""
        for user in list(dict.fromkeys(old.users)):
            user.set_inputs([new if value is old else value for value in user.inputs])
        for port in self.outputs:
            if port.value is old:
                port.value = new

    def remove(self, node: Node) -> None:
        """Take out a node that nobody reads."""
        for value in node.outputs:
            if value.users or self.is_output(value):
                raise GraphError(f"node '{node.name}' ({node.op}) is still read and cannot be removed")
        node.set_inputs(())
        self.nodes.remove(node)
        del self._names[node.name]

    def keep_nodes(self, keep: Callable[[Node], bool]) -> int:
        """Take out, at once, all nodes that `keep` declines. None of the kept may read one of them. Returns how many went."""
        gone = [node for node in self.nodes if not keep(node)]
        if gone:
            self.nodes = [node for node in self.nodes if keep(node)]
            for node in gone:
                node.set_inputs(())
                del self._names[node.name]
        return len(gone)

    def copy(self) -> Graph:
        """A graph of new nodes over the same Tensors."""
        twin = Graph(self.name)
        values: dict[Value, Value] = {}
        late: list[tuple[Node, Node]] = []  # nodes that read a later node (loops of TensorFlow 1)
        for node in self.nodes:
            attrs = {key: each.copy() if isinstance(each, Graph) else each for key, each in node.attrs.items()}
            known = [values[value] for value in node.inputs if value in values]
            made = twin.add(
                node.op,
                known,
                attrs,
                typed=[v.typed for v in node.outputs],
                name=node.name,
                origin=node.origin,
                controls=node.controls,
            )
            if len(known) != len(node.inputs):
                late.append((node, made))
            for old, new in zip(node.outputs, made.outputs, strict=True):
                new.quantization = old.quantization
                values[old] = new
        for node, made in late:
            made.set_inputs([values[value] for value in node.inputs])
        twin.inputs = [Port(port.name, values[port.value]) for port in self.inputs]
        twin.outputs = [Port(port.name, values[port.value]) for port in self.outputs]
        twin.assets = dict(self.assets)
        twin.states = dict(self.states)
        twin.notices = list(self.notices)
        twin.signature = self.signature
        twin.siblings = [each.copy() for each in self.siblings]
        twin.facts = self.facts
        twin.variables = dict(self.variables)
        return twin


def type_of_constant(tensor: Tensor) -> Typed:
    """Type of a Const; contents of small integer vectors take part in shape arithmetic."""
    content = None
    if tensor.dtype in (DType.INT32, DType.INT64) and len(tensor.shape) <= 1 and tensor.size <= 64:
        content = tuple(int(element) for element in tensor.array().reshape(-1))
    return Typed(tensor.dtype, tensor.shape, content)


def format_shape(shape: Shape) -> str:
    """`1,337,337,3`; unknown sizes by name; `?` alone for an unknown rank."""
    if shape is None:
        return "?rank"
    return ",".join(str(dim) for dim in shape) if shape else "scalar"


def verify(graph: Graph, infer: Callable[[Node], Sequence[Typed]] | None = None) -> None:
    """Check use lists, order, names and, with `infer`, every dtype and shape anew; GraphError shows the neighbourhood."""
    position = {node: index for index, node in enumerate(graph.nodes)}
    if len({node.name for node in graph.nodes}) != len(graph.nodes):
        raise GraphError("two nodes of the graph have the same name")
    uses: dict[Value, list[Node]] = {}
    for node in graph.nodes:
        for value in node.inputs:
            uses.setdefault(value, []).append(node)
            _check_input(node, value, position)
    for node in graph.nodes:
        if graph.node(node.name) is not node:
            raise GraphError(f"the name table does not know node '{node.name}'")
        for value in node.outputs:
            if sorted(map(id, value.users)) != sorted(map(id, uses.get(value, []))):
                raise GraphError(f"the users of '{value.name}' are not those that read it", where=_neighbourhood(node))
        if infer is not None:
            _check_types(node, infer(node))
        for key, nested in node.graphs():
            try:
                verify(nested, infer)
            except GraphError as error:
                raise GraphError(f"in graph '{key}' of node '{node.name}': {error.what}", where=error.where) from error
    _check_ports(graph, position)


def _check_input(node: Node, value: Value, position: Mapping[Node, int]) -> None:
    if value.producer not in position:
        raise GraphError(f"'{node.name}' reads '{value.name}', which is not in the graph", where=_neighbourhood(node))
    if position[value.producer] >= position[node] and value.producer.op != "NextIteration":
        raise GraphError(f"'{node.name}' stands before '{value.name}', which it reads", where=_neighbourhood(node))


def _check_types(node: Node, inferred: Sequence[Typed]) -> None:
    if len(inferred) != len(node.outputs):
        raise GraphError(
            f"'{node.name}' ({node.op}) has {len(node.outputs)} outputs, inferred {len(inferred)}", where=_neighbourhood(node)
        )
    for value, typed in zip(node.outputs, inferred, strict=True):
        if typed.dtype is not value.dtype or not _compatible(typed.shape, value.shape):
            raise GraphError(
                f"'{value.name}' ({node.op}) is said to be {value.dtype} {format_shape(value.shape)}, "
                f"inferred {typed.dtype} {format_shape(typed.shape)}",
                where=_neighbourhood(node),
            )


def _compatible(one: Shape, other: Shape) -> bool:
    if one is None or other is None:
        return True
    return len(one) == len(other) and all(
        a == b or isinstance(a, str) or isinstance(b, str) for a, b in zip(one, other, strict=True)
    )


def _check_ports(graph: Graph, position: Mapping[Node, int]) -> None:
    for kind, ports in (("input", graph.inputs), ("output", graph.outputs)):
        names = [port.name for port in ports]
        if len(set(names)) != len(names):
            raise GraphError(f"two graph {kind}s share a name: {', '.join(names)}")
        for port in ports:
            if port.value.producer not in position:
                raise GraphError(f"graph {kind} '{port.name}' is made by no node of the graph")


def _neighbourhood(node: Node) -> str:
    reads = ", ".join(repr(value) for value in node.inputs)
    readers = ", ".join(sorted({user.name for value in node.outputs for user in value.users}))
    return f"{node!r} reads [{reads}], read by [{readers}], from {', '.join(node.origin.names)}"


def merge_origins(nodes: Iterable[Node]) -> Origin:
    """The origin of a node that replaces several; the op is the first one's."""
    merged: Origin | None = None
    for node in nodes:
        merged = node.origin if merged is None else merged + node.origin
    if merged is None:
        raise GraphError("an origin needs at least one node")
    return replace(merged)
