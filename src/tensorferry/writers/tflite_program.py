"""Graph -> TensorFlow Lite program: every node lowered, everything numbered; no bytes yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tensorferry import ops
from tensorferry.errors import GraphError
from tensorferry.ir import Graph, Node, Port, Quantization, Typed, Value, format_shape
from tensorferry.ops.complex_rules import refuse_complex
from tensorferry.ops.refusals import Refusals
from tensorferry.ops.spec import Declined
from tensorferry.ops.structure import lite_copy
from tensorferry.program import Code, Entry, Program, ProgramOperator, ProgramTensor, Subgraph
from tensorferry.targets import LiteBody, LiteOp, Ref, Temp
from tensorferry.tensor import ArrayTensor, CastTensor, DType, Tensor
from tensorferry.wire import tflite_schema
from tensorferry.writers.tflite_payload import identity_of, root_of

TARGET = "TensorFlow Lite"

LARGEST = 2**31 - 1
"""Sizes and options are signed 32-bit numbers in the file."""
_WITHOUT_OPERATOR = frozenset({"Const", "Placeholder", "NoOp"})


Fallback = Callable[[Node, Declined], Sequence[LiteOp]]
"""What to write for a node that TensorFlow Lite declines; raises Declined when there is no way for it either."""


def make_program(graph: Graph, signature: str, fallback: Fallback | None = None) -> Program:
    """Lower every node and number everything, of the graph and of those of other signatures that go with it.

    UnsupportedError names all nodes that cannot be expressed.
    """
    program = Program()
    pools = _Pools(program, fallback)
    for each in (graph, *graph.siblings):
        kept = {state.output for state in each.states.values()}
        program.entries.append(
            Entry(
                each.signature if graph.siblings else signature,
                tuple(port.name for port in each.inputs if port.name not in each.states),
                tuple(port.name for port in each.outputs if port.name not in kept),
                pools.subgraph_of(each),
            )
        )
    pools.refusals.raise_if_any()
    return program


class _Pools:
    """What the subgraphs of one program share: operator codes, buffers, and the nested graphs met so far."""

    def __init__(self, program: Program, fallback: Fallback | None) -> None:
        self.program = program
        self.refusals = Refusals(TARGET, "to_tflite")
        self._fallback = fallback
        self._codes: dict[Code, int] = {}
        self._buffers: dict[object, int] = {}
        self._subgraphs: dict[Graph, int] = {}
        self._first_values: dict[str, int] = {}  # subgraph that initialises a variable; a second one would do it again
        self.bodies: set[Graph] = set()  # of loops

    def lower(self, node: Node) -> Sequence[LiteOp]:
        """The operators of a node; where it is declined, those of the fallback, if there is one."""
        try:
            return _lower(node)
        except Declined as refusal:
            if self._fallback is None:
                raise
            return self._fallback(node, refusal)

    def code(self, code: Code) -> int:
        if code not in self._codes:
            self._codes[code] = len(self.program.codes)
            self.program.codes.append(code)
        return self._codes[code]

    def buffer(self, tensor: Tensor) -> tuple[int, object]:
        """The buffer with these elements, and what identifies them: the content if small, else the object."""
        identity = identity_of(tensor)
        if identity not in self._buffers:
            self._buffers[identity] = len(self.program.buffers)
            self.program.buffers.append(tensor)
        return self._buffers[identity], identity

    def number_subgraphs(self, option: Any) -> Any:
        """A graph or a body among the options becomes the number of its subgraph."""
        if isinstance(option, Graph):
            return self.subgraph_of(option)
        return self._body(option) if isinstance(option, LiteBody) else option

    def _body(self, body: LiteBody) -> int:
        if body.name in self._first_values:
            return self._first_values[body.name]
        subgraph = Subgraph(body.name)
        self.program.subgraphs.append(subgraph)
        number = len(self.program.subgraphs) - 1
        if body.once:
            self._first_values[body.name] = number
        _Lowering(Graph(body.name), subgraph, self).add_operators(body.operators, body.name)
        return number

    def subgraph_of(self, graph: Graph) -> int:
        if graph not in self._subgraphs:
            self._subgraphs[graph] = len(self.program.subgraphs)
            subgraph = Subgraph(graph.name or "main")
            self.program.subgraphs.append(subgraph)
            _Lowering(graph, subgraph, self).run()
        return self._subgraphs[graph]


class _Lowering:
    """Lowers one graph into its subgraph."""

    def __init__(self, graph: Graph, subgraph: Subgraph, pools: _Pools) -> None:
        self._graph = graph
        self._subgraph = subgraph
        self._pools = pools
        self._numbers: dict[object, int] = {}
        self._output_numbers: set[int] = set()
        self._constants: dict[int, str] = {}  # by id of the Tensor, which lives as long as the graph
        self._names: set[str] = set()  # taken, or meant for a value of the graph
        for node in graph.nodes:
            if node.op == "Const":
                self._constants[id(node["value"])] = node.name
            else:
                self._names.update(value.name for value in node.outputs)

    def run(self) -> None:
        inputs = {port.value.producer for port in self._graph.inputs}
        states = self._graph.states
        numbers = [
            self._try(port.value.producer, lambda value: (self._number_value(value),), port.value)
            for port in self._graph.inputs
            if port.name not in states
        ]
        self._subgraph.inputs = tuple(number for found in numbers for number in found)
        for port in self._graph.inputs:
            if port.name in states:
                self._try(port.value.producer, self._read_variable, port)
        for node in self._graph.nodes:
            if node not in inputs and node.op not in _WITHOUT_OPERATOR:
                self._try(node, self._lower, node)
            elif node.op == "Placeholder" and node not in inputs and node.outputs[0].users:
                self._pools.refusals.note(
                    node, Declined("it is read, but it is no input of the graph", remedy="name it among the inputs")
                )
        kept = {state.output: name for name, state in states.items()}
        given = {port.name: port.value for port in self._graph.inputs}
        numbers = [
            self._try(port.value.producer, self._number_output, port) for port in self._graph.outputs if port.name not in kept
        ]
        self._subgraph.outputs = tuple(number for found in numbers for number in found)
        for port in self._graph.outputs:
            if port.name in kept and port.value is not given[kept[port.name]]:
                self._try(port.value.producer, self._assign_variable, (kept[port.name], port.value))

    # -- variables -------------------------------------------------------------------------------------------------

    def _read_variable(self, port: Port) -> tuple[int, ...]:
        """A variable's value before the run, and, once, the first of all. Everything else comes between reading and assigning.

        Floats are kept as their bits: XNNPACK takes float variables over, and crashes where it reads and assigns one in two parts.
        """
        first = self._graph.states[port.name].first
        dtype = port.value.dtype
        tensor = first if first.dtype is dtype else CastTensor(first, dtype)
        kept: Value | Temp = port.value
        views: list[LiteOp] = []
        if dtype is DType.FLOAT32:
            tensor, kept = _bits_of(tensor), Temp("bits", DType.INT32, port.value.shape)
            views = [LiteOp("BITCAST", (kept,), (port.value,))]
        options = {"container": "", "shared_name": port.name}
        filled, handle = (Temp("handle", DType.RESOURCE, (1,)) for _ in range(2))
        assign = (LiteOp("VAR_HANDLE", (), (filled,), options), LiteOp("ASSIGN_VARIABLE", (filled, tensor), ()))
        self.add_operators(
            [
                LiteOp("CALL_ONCE", (), (), {"init_subgraph_index": LiteBody(f"{port.name}/first", assign, once=True)}),
                LiteOp("VAR_HANDLE", (), (handle,), options),
                LiteOp("READ_VARIABLE", (handle,), (kept,)),
                *views,
            ],
            port.name,
        )
        return ()

    def _assign_variable(self, named: tuple[str, Value]) -> tuple[int, ...]:
        name, value = named
        kept: Value | Temp = value
        views: list[LiteOp] = []
        handle = Temp("handle", DType.RESOURCE, (1,))
        if value.dtype is DType.FLOAT32:
            kept = Temp("bits", DType.INT32, value.shape)
            views = [LiteOp("BITCAST", (value,), (kept,))]
        options = {"container": "", "shared_name": name}
        assign = (LiteOp("VAR_HANDLE", (), (handle,), options), LiteOp("ASSIGN_VARIABLE", (handle, kept), ()))
        self.add_operators([*views, *assign], name)
        return ()

    # -- nodes -----------------------------------------------------------------------------------------------------

    def _try(self, node: Node, step: Callable[[Any], tuple[int, ...]], argument: Any) -> tuple[int, ...]:
        """Do one step of the work; a refusal is noted, so that the user sees all of them at once."""
        with self._pools.refusals.collecting(node):
            return step(argument)
        return ()

    def _lower(self, node: Node) -> tuple[int, ...]:
        self.add_operators(self._pools.lower(node), node.name)
        return ()

    def add_operators(self, operators: Iterable[LiteOp], owner: str) -> None:
        for each in operators:
            inputs = tuple(self._number(ref, owner) for ref in each.inputs)
            outputs = tuple(self._number(ref, owner) for ref in each.outputs)
            if each.custom is not None:
                code = self._pools.code(Code(each.name, each.version, custom=True))
                self._subgraph.operators.append(ProgramOperator(code, inputs, outputs, "", {}, each.custom))
                continue
            builtin = tflite_schema.operator(each.name)
            if isinstance(body := each.options.get("body_subgraph_index"), Graph):
                self._pools.bodies.add(body)
            options = {name: self._pools.number_subgraphs(value) for name, value in each.options.items()}
            if options and not builtin.options:
                raise GraphError(f"the operator {each.name} has no options, but '{min(options)}' is given", where=f"node '{owner}'")
            if any(isinstance(value, int) and abs(value) > LARGEST for value in options.values()):
                raise Declined(f"an attribute is beyond {LARGEST}, the most that {TARGET} holds")
            code = self._pools.code(Code(each.name, each.version))
            self._subgraph.operators.append(ProgramOperator(code, inputs, outputs, builtin.options, options))

    def _number_output(self, port: Port) -> tuple[int, ...]:
        """The tensor of an output: its own, computed by an operator; a copy of an input, a constant or another output."""
        value = port.value
        number = self._number_value(value)
        if self._is_kept(port):  # a loop's runtime takes it for what it is: a copy in each round would be of a whole sequence
            self._output_numbers.add(number)
            return (number,)
        if number in self._subgraph.inputs or number in self._output_numbers or self._subgraph.tensors[number].buffer:
            copy = Temp(port.name, value.dtype, value.shape)
            self.add_operators(lite_copy(value, copy, value.typed), "")
            number = self._numbers[copy]
            self._subgraph.tensors[number].quantization = value.quantization
        self._output_numbers.add(number)
        return (number,)

    def _is_kept(self, port: Port) -> bool:
        """A loop's body gives the variable as it got it."""
        place = self._graph.outputs.index(port)
        return self._graph in self._pools.bodies and self._graph.inputs[place].value is port.value

    # -- tensors ---------------------------------------------------------------------------------------------------

    def _number(self, ref: Ref, owner: str) -> int:
        if ref is None:
            return -1
        if isinstance(ref, Value):
            return self._number_value(ref)
        if isinstance(ref, Temp):
            if ref not in self._numbers:
                number = self._add(ref, self._unique(_join(owner, ref.label)), Typed(ref.dtype, ref.shape))
                self._subgraph.tensors[number].variable = ref.variable
            return self._numbers[ref]
        return self._number_constant(ref, None, owner)

    def _number_value(self, value: Value) -> int:
        if value.constant is not None:
            return self._number_constant(value.constant, value.quantization, value.name)
        if value not in self._numbers:
            self._add(value, value.name, value.typed, 0, value.quantization)
        return self._numbers[value]

    def _number_constant(self, tensor: Tensor, quantization: Quantization | None, owner: str) -> int:
        buffer, identity = self._pools.buffer(tensor)
        key = (identity, tensor.dtype, tensor.shape, quantization)
        if key in self._numbers:
            return self._numbers[key]
        name = self._constants.get(id(root_of(tensor))) or _join(owner, "constant")
        return self._add(key, self._unique(name), Typed(tensor.dtype, tensor.shape), buffer, quantization)

    def _add(self, key: object, name: str, typed: Typed, buffer: int = 0, quantization: Quantization | None = None) -> int:
        if typed.dtype.value.upper() not in tflite_schema.schema().enums["TensorType"].members:
            raise Declined(f"the element type of '{name}' is not known")
        if any(isinstance(dim, int) and dim > LARGEST for dim in typed.shape or ()):
            raise Declined(f"'{name}' has the shape {format_shape(typed.shape)}, and {TARGET} holds sizes up to {LARGEST}")
        self._numbers[key] = len(self._subgraph.tensors)
        self._subgraph.tensors.append(ProgramTensor(name, typed.dtype, typed.shape, buffer, quantization))
        return self._numbers[key]

    def _unique(self, name: str) -> str:
        unique, number = name, 0
        while unique in self._names:
            number += 1
            unique = f"{name}_{number}"
        self._names.add(unique)
        return unique


def _lower(node: Node) -> Sequence[LiteOp]:
    spec = ops.find(node.op)
    if spec is None:
        raise Declined("this op is not known")
    if spec.to_tflite is None:
        raise Declined(f"{TARGET} has no operator for it")
    refuse_complex(node)
    return spec.to_tflite(node)


def _join(owner: str, label: str) -> str:
    return f"{owner}/{label}" if owner else label


def _bits_of(tensor: Tensor) -> Tensor:
    return ArrayTensor(np.asarray(tensor.array(), order="C").view(np.int32), DType.INT32)
