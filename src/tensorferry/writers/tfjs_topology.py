"""Lowers a Graph to the nodes of a TensorFlow.js graph model, and gives them the names users will see."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tensorferry import ops
from tensorferry.errors import GraphError
from tensorferry.ir import Graph, Node, Port, Shape, Value
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


Fallback = Callable[[Node, Declined], Sequence[JsNode]]


class Names:
    """Unique node names that TensorFlow.js can address: `:` would mean an output's number, a leading `^` a control input.

    A name made up here is never that of another node of the model, so that values can be compared by name.
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
    """The nodes and weights of a graph model. Raises UnsupportedError with every node that stands in the way."""

    def __init__(self, graph: Graph, fallback: Fallback | None = None) -> None:
        """`fallback` is asked what to write for a node that TensorFlow.js declines; it raises Declined where it knows no way."""
        self.nodes: list[Json] = []
        self.initial_nodes: list[Json] = []
        self.weights: list[Weight] = []
        self.inputs: dict[str, Json] = {}
        self.outputs: dict[str, Json] = {}
        self.custom: set[str] = set()
        self._graph = graph
        self._fallback = fallback
        self._names = Names(graph)
        self._refs: dict[Value | Temp | Tensor, str] = {}  # how a node reads it; compared by identity
        self._initial_refs: dict[Tensor, str] = {}
        self._node_names: dict[Node, str] = {}
        self._refusals = Refusals(TARGET, "to_tfjs")
        self._needed = _find_needed(graph)
        self._name_nodes()
        for port in graph.inputs:
            with self._refusals.collecting(port.value.producer):
                self._add_input(port)
        for node in self._needed:
            with self._refusals.collecting(node):
                self._add_node(node)
        if not self._refusals:
            for port in graph.outputs:
                with self._refusals.collecting(port.value.producer):
                    self._add_output(port)
        self._refusals.raise_if_any()

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

    def _add_input(self, port: Port) -> None:
        name = self._input_names[id(port)]
        attrs = {"dtype": port.value.dtype, "shape": port.value.shape}
        self._append(name, "Placeholder", (), {key: encode_attribute(key, value) for key, value in attrs.items()})
        self._refs[port.value] = name
        self.inputs[port.name] = _tensor_info(name, port.value.dtype, port.value.shape)

    def _add_node(self, node: Node) -> None:
        if node.op == "Const" or all(value in self._refs for value in node.outputs):
            return  # weights are written where they are read first; an input is there already
        unread = {value for value in node.outputs if not self._graph.readers(value)}
        for record in self._lower(node):
            if record.initial:
                self._add_initial(self._node_names[node], record)
                continue
            if record.outputs and unread.issuperset(record.outputs):
                continue
            if not record.outputs or any(ref is None for ref in record.inputs):
                raise GraphError(f"the lowering of {node.op} to {TARGET} leaves out an input or an output")
            name = self._name_record(node, record)
            inputs = [self._read(ref, name, index) for index, ref in enumerate(record.inputs)]
            attrs = {key: encode_attribute(key, value) for key, value in record.attrs.items() if value is not None}
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
        self.initial_nodes += [node for node in self.nodes if node["name"] == handle and node not in self.initial_nodes]
        names = [handle]
        for index, ref in enumerate(record.inputs[1:]):
            tensor = ref.constant if isinstance(ref, Value) else ref
            assert isinstance(tensor, Tensor)
            if tensor not in self._initial_refs:
                name = self._initial_refs[tensor] = self._names.claim(f"{owner}/initial_{index}")
                weight = plan_weight(name, tensor)
                self.initial_nodes.append(_const(name, weight.tensor))
                self.weights.append(weight)
            names.append(self._initial_refs[tensor])
        attrs = {key: encode_attribute(key, value) for key, value in record.attrs.items()}
        name = self._names.claim(f"{owner}/{record.op}")
        self.initial_nodes.append({"name": name, "op": record.op, "input": names, "attr": attrs})

    def _lower(self, node: Node) -> Sequence[JsNode]:
        try:
            return _lower(node)
        except Declined as refusal:
            if self._fallback is None:
                raise
            records = self._fallback(node, refusal)
            self.custom.update(record.op for record in records)
            return records

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
        tensor = ref.constant if isinstance(ref, Value) else ref
        if not isinstance(tensor, Tensor):
            if not self._refusals:
                raise GraphError(f"'{reader}' reads {ref!r}, which no node makes")
            return ""  # its maker is among the problems
        if tensor not in self._refs:
            producer = ref.producer if isinstance(ref, Value) else None
            name = self._node_names[producer] if producer else self._names.claim(f"{reader}/constant_{index}")
            self._add_weight(name, tensor)
        return self._refs[tensor]

    def _add_weight(self, name: str, tensor: Tensor) -> None:
        weight = plan_weight(name, tensor)
        self.nodes.append(_const(name, weight.tensor))
        self.weights.append(weight)
        self._refs[tensor] = name

    def _add_output(self, port: Port) -> None:
        """An input, a constant, one of several outputs of a node, or a second name: an Identity bears the public name."""
        value, name = port.value, self._output_names[id(port)]
        tensor = self._refs.get(value)
        if tensor is None or self._node_names.get(value.producer) != name:
            source = self._read(value, name, 0)
            self._append(name, "Identity", [source], {"T": encode_attribute("T", value.dtype)})
            tensor = name
        self.outputs[port.name] = _tensor_info(tensor, value.dtype, value.shape)

    def _append(self, name: str, op: str, inputs: Sequence[str], attrs: Json) -> None:
        node: Json = {"name": name, "op": op}
        if inputs:
            node["input"] = list(inputs)
        self.nodes.append(node | {"attr": attrs})


def _lower(node: Node) -> Sequence[JsNode]:
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
    return spec.to_tfjs(node)


def _const(name: str, tensor: Tensor) -> Json:
    kind = type_name(tensor.dtype)
    value = {"tensor": {"dtype": kind, "tensorShape": encode_shape(tensor.shape)}}
    return {"name": name, "op": "Const", "attr": {"value": value, "dtype": {"type": kind}}}


def _find_needed(graph: Graph) -> list[Node]:
    """The nodes that the outputs depend on, in order; a given input depends on nothing."""
    given = {port.value for port in graph.inputs}
    needed = {port.value.producer for port in graph.outputs if port.value not in given}
    for node in reversed(graph.nodes):
        if node in needed:
            needed.update(value.producer for value in node.inputs if value not in given)
    return [node for node in graph.nodes if node in needed]


def _tensor_info(tensor: str, dtype: DType, shape: Shape) -> Json:
    return {"name": tensor if ":" in tensor else f"{tensor}:0", "dtype": type_name(dtype), "tensorShape": encode_shape(shape)}
