"""Lowers a Graph to the nodes of a TensorFlow.js graph model, and gives them the names users will see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tensorferry import ops
from tensorferry.errors import GraphError
from tensorferry.ir import Graph, Node, Port, Shape, Value
from tensorferry.ops.complex_rules import refuse_complex
from tensorferry.ops.refusals import Refusals
from tensorferry.ops.spec import Declined
from tensorferry.targets import JsNode, Ref, Temp
from tensorferry.tensor import DType, Tensor
from tensorferry.writers.tfjs_attributes import Json, encode_attribute, encode_shape, type_name
from tensorferry.writers.tfjs_weights import Weight, plan_weight

TARGET = "TensorFlow.js"

# TensorFlow.js keeps nodes in plain objects, where these names are already something else.
_RESERVED = frozenset(
    ("__proto__", "constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf")
)


FRAME_OPS = frozenset({"Enter", "Exit", "LoopCond", "Merge", "NextIteration", "Switch"})
"""Ops of TensorFlow 1's control flow, which passes alone make."""

Fallback = Callable[[Node, Declined], Sequence[JsNode]]


class Names:
    """Unique node names that TensorFlow.js can address: `:` would mean an output's number, a leading `^` a control input.

    A name made up here is never that of another node of the model, so that values can be compared by name. Functions share them:
    weights are found by name alone, wherever they are read.
    """

    def __init__(self, graph: Graph) -> None:
        self._taken = set(_RESERVED)
        self._foreign = {node.name for node in graph.nodes}

    def claim(self, wanted: str) -> str:
        base = wanted.replace(":", "_").lstrip("^") or "node"
        name, number = base, 1
        while name in self._taken or (name != wanted and name in self._foreign):
            name, number = f"{base}_{number}", number + 1
        self._taken.add(name)
        return name


class Topology:
    """The nodes, functions and weights of a graph model. Raises UnsupportedError with every node that stands in the way."""

    def __init__(self, graph: Graph, fallback: Fallback | None = None) -> None:
        """`fallback` is asked what to write for a node that TensorFlow.js declines; it raises Declined where it knows no way."""
        self.initial_nodes: list[Json] = []
        self.weights: list[Weight] = []
        self.functions: list[Json] = []
        self.inputs: dict[str, Json] = {}
        self.outputs: dict[str, Json] = {}
        self.custom: set[str] = set()
        self.names = Names(graph)
        self.refusals = Refusals(TARGET, "to_tfjs")
        self._fallback = fallback
        self._weights: dict[Tensor, Weight] = {}
        self._initial_refs: dict[Tensor, str] = {}
        self._functions: dict[Graph, str] = {}
        main = _Scope(graph, self)
        self.nodes = main.nodes
        for port in graph.inputs:
            with self.refusals.collecting(port.value.producer):
                name = main.add_input(port)
                self.inputs[port.name] = _tensor_info(name, port.value.dtype, port.value.shape)
        main.add_nodes()
        for port in graph.outputs:
            with self.refusals.collecting(port.value.producer):
                if not self.refusals:
                    self.outputs[port.name] = _tensor_info(main.add_output(port), port.value.dtype, port.value.shape)
        self.refusals.raise_if_any()

    def all_nodes(self) -> Iterator[Json]:
        """Those of the functions among them."""
        yield from self.nodes
        for function in self.functions:
            yield from function["nodeDef"]

    def lower(self, node: Node) -> Sequence[JsNode]:
        try:
            return _lower(node)
        except Declined as refusal:
            if self._fallback is None:
                raise
            records = self._fallback(node, refusal)
            self.custom.update(record.op for record in records)
            return records

    def add_weight(self, tensor: Tensor, name: Callable[[], str]) -> Weight:
        """The tensor among the model's weights, where it is already or from now on; all graphs share them, by name."""
        if tensor not in self._weights:
            self._weights[tensor] = plan_weight(name(), tensor)
            self.weights.append(self._weights[tensor])
        return self._weights[tensor]

    def add_initial(self, owner: str, op: str, handle: Sequence[Json], tensors: Sequence[Tensor], attrs: Json) -> None:
        """A node of the graph that runs first; it fills what `handle` makes, from constants that stand there too."""
        self.initial_nodes += [node for node in handle if node not in self.initial_nodes]
        names = [node["name"] for node in handle]
        for index, tensor in enumerate(tensors):
            if tensor not in self._initial_refs:
                name = self._initial_refs[tensor] = self.names.claim(f"{owner}/initial_{index}")
                weight = plan_weight(name, tensor)
                self.initial_nodes.append(_const(name, weight.tensor))
                self.weights.append(weight)
            names.append(self._initial_refs[tensor])
        self.initial_nodes.append({"name": self.names.claim(f"{owner}/{op}"), "op": op, "input": names, "attr": attrs})

    def function_of(self, graph: Graph) -> str:
        """The name of the function that computes a nested graph."""
        if graph not in self._functions:
            name = self._functions[graph] = self.names.claim(graph.name or "function")
            scope = _Scope(graph, self)
            given = [scope.add_argument(port) for port in graph.inputs]
            scope.add_nodes()
            made = {} if self.refusals else {f"result_{place}": scope.add_result(port) for place, port in enumerate(graph.outputs)}
            types = [type_name(port.value.dtype) for port in graph.outputs]
            results = [{"name": key, "type": kind} for key, kind in zip(made, types, strict=False)]
            signature = {"name": name, "inputArg": given, "outputArg": results}
            self.functions.append({"signature": signature, "nodeDef": scope.nodes, "ret": made})
        return self._functions[graph]


class _Scope:
    """The nodes of one graph, the model's own or one inside a node."""

    def __init__(self, graph: Graph, topology: Topology) -> None:
        self.nodes: list[Json] = []
        self._graph = graph
        self._topology = topology
        self._names = topology.names
        self._refs: dict[Value | Temp | Tensor, str] = {}  # how a node reads it; compared by identity
        self._node_names: dict[Node, str] = {}
        self._needed = _find_needed(graph)
        self._name_nodes()

    # -- names -----------------------------------------------------------------------------------------------------

    def _name_nodes(self) -> None:
        """Public names first: the node that makes an output bears its public name where that is possible."""
        self._input_names = {id(port): self._names.claim(port.name) for port in self._graph.inputs}
        self._output_names: dict[int, str] = {}
        inputs = {port.value for port in self._graph.inputs}
        for port in self._graph.outputs:
            name = self._output_names[id(port)] = self._names.claim(port.name)
            producer = port.value.producer
            alone = len(producer.outputs) == 1 and producer.op != "Const" and port.value not in inputs
            if alone and producer not in self._node_names:
                self._node_names[producer] = name
        for node in self._needed:
            if node not in self._node_names:
                self._node_names[node] = self._names.claim(node.name)

    # -- nodes -----------------------------------------------------------------------------------------------------

    def add_input(self, port: Port) -> str:
        name = self._input_names[id(port)]
        attrs = {"dtype": port.value.dtype, "shape": port.value.shape}
        self._append(name, "Placeholder", (), {key: encode_attribute(key, value) for key, value in attrs.items()})
        self._refs[port.value] = name
        return name

    def add_argument(self, port: Port) -> Json:
        """An input of a function, which has no node of its own."""
        name = self._refs[port.value] = self._input_names[id(port)]
        return {"name": name, "type": type_name(port.value.dtype)}

    def add_nodes(self) -> None:
        for node in self._needed:
            with self._topology.refusals.collecting(node):
                self._add_node(node)

    def _add_node(self, node: Node) -> None:
        if node.op == "Const" or all(value in self._refs for value in node.outputs):
            return  # weights are written where they are read first; an input is there already
        unread = {value for value in node.outputs if not self._graph.readers(value)}
        for record in self._topology.lower(node):
            if record.initial:
                self._add_initial(self._node_names[node], record)
                continue
            if record.outputs and unread.issuperset(record.outputs):
                continue
            if not record.outputs or any(ref is None for ref in record.inputs):
                raise GraphError(f"the lowering of {node.op} to {TARGET} leaves out an input or an output")
            name = self._name_record(node, record)
            inputs = [self._read(ref, name, index) for index, ref in enumerate(record.inputs)]
            attrs = {key: self._encode(key, value) for key, value in record.attrs.items() if value is not None}
            self._append(name, record.op, inputs, attrs)
            for index, ref in enumerate(record.outputs):
                if ref is not None and ref not in self._refs:  # an intermediate value given as an input stays that input
                    self._refs[ref] = name if index == 0 else f"{name}:{index}"
        for value in node.outputs:
            if value not in self._refs and self._graph.readers(value):
                raise Declined(f"{TARGET} does not compute its output {value.index}, which the model uses")

    def _add_initial(self, owner: str, record: JsNode) -> None:
        """A node of the graph that runs first. What it fills stands there too, under the same name, by which it is known as one."""
        handle = self._refs[record.inputs[0]]  # type: ignore[index]  # a Temp
        made = [node for node in self.nodes if node["name"] == handle]
        tensors = [ref.constant if isinstance(ref, Value) else ref for ref in record.inputs[1:]]
        assert all(isinstance(tensor, Tensor) for tensor in tensors)
        attrs = {key: encode_attribute(key, value) for key, value in record.attrs.items()}
        self._topology.add_initial(owner, record.op, made, [each for each in tensors if isinstance(each, Tensor)], attrs)

    def _encode(self, key: str, value: Any) -> Json:
        if isinstance(value, Graph):
            return {"func": {"name": self._topology.function_of(value)}}
        return encode_attribute(key, value)

    def _name_record(self, node: Node, record: JsNode) -> str:
        """The operator that makes the node's first output bears the node's name; the others have it as a prefix."""
        own = self._node_names[node]
        if any(ref is node.outputs[0] for ref in record.outputs):
            return own
        first = record.outputs[0]
        return self._names.claim(f"{own}/{first.label}" if isinstance(first, Temp) else f"{own}/{record.op}")

    def _read(self, ref: Ref, reader: str, index: int) -> str:
        if ref in self._refs:
            return self._refs[ref]
        if isinstance(ref, Value) and ref.producer.op == "NextIteration":  # stands behind the Merge that reads it
            return self._node_names[ref.producer]
        tensor = ref.constant if isinstance(ref, Value) else ref
        if not isinstance(tensor, Tensor):
            if not self._topology.refusals:
                raise GraphError(f"'{reader}' reads {ref!r}, which no node makes")
            return ""  # its maker is among the problems
        if tensor not in self._refs:
            producer = ref.producer if isinstance(ref, Value) else None
            own = self._node_names[producer] if producer else f"{reader}/constant_{index}"
            self._add_weight(tensor, lambda: own if producer else self._names.claim(own))
        return self._refs[tensor]

    def _add_weight(self, tensor: Tensor, name: Callable[[], str]) -> None:
        weight = self._topology.add_weight(tensor, name)
        self.nodes.append(_const(weight.name, weight.tensor))
        self._refs[tensor] = weight.name

    def add_output(self, port: Port) -> str:
        """An input, a constant, one of several outputs of a node, or a second name: an Identity bears the public name."""
        value, name = port.value, self._output_names[id(port)]
        tensor = self._refs.get(value)
        if tensor is None or self._node_names.get(value.producer) != name:
            return self._pass_on(value, name)
        return tensor

    def add_result(self, port: Port) -> str:
        """An output of a function: always the first of a node that gives nothing else, for the loader looks at no other."""
        value, name = port.value, self._output_names[id(port)]
        alone = self._refs.get(value) == self._node_names.get(value.producer) == name
        return f"{name if alone else self._pass_on(value, name)}:0"

    def _pass_on(self, value: Value, name: str) -> str:
        source = self._read(value, name, 0)
        self._append(name, "Identity", [source], {"T": encode_attribute("T", value.dtype)})
        return name

    def _append(self, name: str, op: str, inputs: Sequence[str], attrs: Json) -> None:
        node: Json = {"name": name, "op": op}
        if inputs:
            node["input"] = list(inputs)
        self.nodes.append(node | {"attr": attrs})


def _lower(node: Node) -> Sequence[JsNode]:
    if node.op in FRAME_OPS:
        return [JsNode(node.op, node.inputs, tuple(node.outputs), node.attrs)]
    spec = ops.find(node.op)
    if spec is None:
        raise Declined("Tensorferry does not know this op")
    if node.op.startswith("Placeholder"):
        raise Declined("it is read but is not among the model's inputs", remedy="name it in --inputs")
    if spec.to_tfjs is None:
        raise Declined("TensorFlow.js has no op that computes this")
    activation = node.get("activation")
    if activation and activation not in spec.fuses.get("tfjs", ()):
        raise GraphError(f"{node.op} of {TARGET} cannot apply {activation}, which was fused into '{node.name}'")
    refuse_complex(node)
    return spec.to_tfjs(node)


def _const(name: str, tensor: Tensor) -> Json:
    kind = type_name(tensor.dtype)
    value = {"tensor": {"dtype": kind, "tensorShape": encode_shape(tensor.shape)}}
    return {"name": name, "op": "Const", "attr": {"value": value, "dtype": {"type": kind}}}


def _find_needed(graph: Graph) -> list[Node]:
    """The nodes that the outputs depend on, in order; a given input depends on nothing."""
    given = {port.value for port in graph.inputs}
    pending = [port.value for port in graph.outputs]
    needed: set[Node] = set()
    while pending:
        value = pending.pop()
        if value not in given and value.producer not in needed:
            needed.add(value.producer)
            pending += value.producer.inputs
    return [node for node in graph.nodes if node in needed]


def _tensor_info(tensor: str, dtype: DType, shape: Shape) -> Json:
    return {"name": tensor if ":" in tensor else f"{tensor}:0", "dtype": type_name(dtype), "tensorShape": encode_shape(shape)}
