"""What a model is made of, as plain data: ports, nodes, op counts, cost of each layer, and what each target makes of it.

Nothing here is rendered; `Inspection.as_dict` is JSON as it stands. Sizes nobody knows stay unknown: a layer whose cost depends
on one says so instead of guessing. The one exception is the batch, which counts as 1 wherever its size is open.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tensorferry import ops
from tensorferry.facts import Facts
from tensorferry.ir import Dim, Graph, Node, Port, Shape, Value, format_shape
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import Tensor

TARGETS = ("tflite", "tfjs")

_BOOKKEEPING = frozenset({"Const", "Placeholder", "NoOp"})
"""Ops that no target writes as an operator."""

_AFFINE = frozenset({"BiasAdd", "AddV2", "Sub", "Mul", "RealDiv", "FusedBatchNormV3", "Identity", "StopGradient"})
"""Ops that, when all inputs but one are constant, belong to the layer before: bias and batch norm in every spelling."""

_ACTIVATIONS = frozenset(
    {"Relu", "Relu6", "ReluN1To1", "Elu", "Selu", "LeakyRelu", "PRelu", "Sigmoid", "Tanh", "Softplus", "HardSwish", "Gelu", "Swish"}
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a graph was read from. `format` is the reader's name for it; `size` is in bytes."""

    path: str
    format: str
    size: int
    inputs_given: bool = False
    outputs_given: bool = False


@dataclass(frozen=True, slots=True)
class PortRow:
    """A graph input or output. `found` tells that nobody named it: it is a placeholder, or a node that no other reads."""

    name: str
    tensor: str
    dtype: str
    shape: tuple[Dim, ...] | None
    found: bool


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One node by its first output; a node without outputs has an empty tensor and dtype."""

    index: int
    node: str
    op: str
    tensor: str
    shape: tuple[Dim, ...] | None
    dtype: str

    def columns(self) -> tuple[str, str, str, str, str]:
        """index, node, tensor, shape (`1,337,337,3`), dtype."""
        return str(self.index), self.node, self.tensor, format_shape(self.shape) if self.tensor else "", self.dtype


@dataclass(frozen=True, slots=True)
class VariableRow:
    """A variable of a source; `stored` is the element type in its file, where that is another one (quantised, narrowed)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    stored: str = ""


@dataclass(frozen=True, slots=True)
class Layer:
    """A node that multiplies by weights. `macs` is None when `note` says which size is missing."""

    node: str
    op: str
    shape: tuple[Dim, ...] | None
    parameters: int
    macs: int | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class SeparableBlock:
    """A depthwise convolution whose result goes to a 1x1 convolution.

    `saving` is how many times fewer multiply-accumulates the pair needs than one standard convolution of the same kernel and
    channels: 1 / (multiplier * (1/N + 1/(Kh*Kw))), N output channels. With multiplier 1 and a square kernel that is equation 5 of
    Howard et al., "MobileNets" (2017).
    """

    depthwise: str
    pointwise: str
    kernel: tuple[int, int]
    channels_in: int
    channels_out: int
    multiplier: int
    saving: float


@dataclass(frozen=True, slots=True)
class Support:
    """What one target does with the graph's ops, op -> nodes. It goes by the op alone: attributes may still rule a node out."""

    target: str
    direct: Mapping[str, int]
    rewritten: Mapping[str, int]
    missing: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Inspection:
    """A model, described.

    `nodes` and `ops` are the source's own; all other figures are of the graph that a conversion uses, whose ops are
    `converted_ops`: functions inlined, variables frozen, cut to what the outputs need. `parameters` counts every float constant
    that the outputs need once, written-down scalars left out.
    """

    source: Source
    inputs: tuple[PortRow, ...]
    outputs: tuple[PortRow, ...]
    nodes: tuple[NodeRow, ...]
    ops: Mapping[str, int]
    layers: tuple[Layer, ...]
    parameters: int
    weight_bytes: int
    macs: int
    macs_missing: int
    batch_counted_as_one: bool
    separable: tuple[SeparableBlock, ...]
    support: tuple[Support, ...]
    notices: tuple[str, ...]
    variables: tuple[VariableRow, ...] = ()
    facts: Facts = field(default_factory=Facts)
    converted_nodes: int = 0
    converted_ops: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The inspection as plain JSON data; a shape is a list of numbers and names, or null for an unknown rank."""
        facts = replace(self.facts, details=[], tree=None)
        plain: dict[str, Any] = _plain(asdict(replace(self, facts=facts)))
        del plain["facts"]["details"], plain["facts"]["tree"]
        return plain


def inspect_graph(
    graph: Graph,
    *,
    path: str,
    size: int,
    format: str = "TensorFlow GraphDef",
    inputs_given: bool = False,
    outputs_given: bool = False,
    selected: Graph | None = None,
) -> Inspection:
    """Describe a graph as it was read, before any pass; `selected` is what a conversion makes of it, where that can be told.

    Layers, parameters and support cover the nodes that the outputs need.

    `size` is the source's bytes; `inputs_given` and `outputs_given` tell that a person named them.
    """
    source = Source(path, format, size, inputs_given, outputs_given)
    whole, graph = graph, selected or graph
    needed = _needed(graph)
    constants = _Constants(needed)
    layers = tuple(_describe_layers(needed, constants))
    weights = [value for node in _walk(needed) for value in node.outputs if _is_parameter(value)]
    return Inspection(
        source=source,
        inputs=tuple(_describe_port(port, not source.inputs_given) for port in graph.inputs),
        outputs=tuple(_describe_port(port, not source.outputs_given) for port in graph.outputs),
        nodes=list_nodes(whole),
        ops=_sorted_counts(node.op for node in _walk(whole.nodes)),
        layers=layers,
        parameters=sum(_size(value) for value in weights),
        weight_bytes=sum(value.constant.nbytes for value in weights if value.constant is not None),
        macs=sum(layer.macs or 0 for layer in layers),
        macs_missing=sum(layer.macs is None for layer in layers),
        batch_counted_as_one=any(node.op in _COSTS and _has_open_batch(node) for node in _walk(needed)),
        separable=tuple(_find_separable_blocks(graph, needed, constants)),
        support=tuple(_describe_support(needed, target) for target in TARGETS),
        notices=tuple(graph.notices),
        facts=whole.facts.complete(),
        converted_nodes=len(needed),
        converted_ops=_sorted_counts(node.op for node in _walk(needed)),
    )


def inspect_variables(variables: Mapping[str, Tensor], *, path: str, size: int, format: str, notice: str) -> Inspection:
    """Describe a source that holds variables and no graph; `notice` says what can be done with it."""
    return Inspection(
        source=Source(path, format, size),
        inputs=(),
        outputs=(),
        nodes=(),
        ops={},
        layers=(),
        parameters=sum(tensor.size for tensor in variables.values() if tensor.dtype.is_float),
        weight_bytes=sum(tensor.nbytes for tensor in variables.values() if tensor.dtype.is_float),
        macs=0,
        macs_missing=0,
        batch_counted_as_one=False,
        separable=(),
        support=(),
        notices=(notice,),
        variables=tuple(_describe_variable(name, tensor) for name, tensor in variables.items()),
    )


def _describe_variable(name: str, tensor: Tensor) -> VariableRow:
    base = getattr(tensor, "base", tensor)
    stored = base.dtype.value if base.dtype is not tensor.dtype else ""
    return VariableRow(name, tensor.dtype.value, tensor.shape, stored)


def parameters_of(graph: Graph) -> dict[str, Tensor]:
    """Name -> value of the constants that the outputs need and that were learnt, as far as types tell.

    These are floats, and tables of text or of many numbers."""
    found: dict[str, Tensor] = {}
    for node in _walk(_needed(graph)):
        for value in node.outputs:
            if value.constant is not None and (_is_parameter(value) or _is_table(value)):
                name, number = node.name, 0
                while name in found:  # nested graphs have names of their own
                    name, number = f"{node.name}#{number + 1}", number + 1
                found[name] = value.constant
    return found


_TABLE_SIZE = 64


def _is_table(value: Value) -> bool:
    return bool(value.shape) and not value.dtype.is_float and _size(value) >= _TABLE_SIZE


def tensor_count(graph: Graph | None) -> int:
    """Nodes that the outputs need."""
    return len(_needed(graph)) if graph is not None else 0


def list_nodes(graph: Graph) -> tuple[NodeRow, ...]:
    """Every node in the graph's order, needed or not."""
    return tuple(_describe_node(index, node) for index, node in enumerate(graph.nodes))


# -- rows ----------------------------------------------------------------------------------------------------------


def _describe_port(port: Port, found: bool) -> PortRow:
    value = port.value
    return PortRow(port.name, tensor_name(value), value.dtype.value, value.shape, found)


def _describe_node(index: int, node: Node) -> NodeRow:
    if not node.outputs:
        return NodeRow(index, node.name, node.op, "", (), "")
    value = node.outputs[0]
    return NodeRow(index, node.name, node.op, tensor_name(value), value.shape, value.dtype.value)


def tensor_name(value: Value) -> str:
    """TensorFlow's long form, `node:0`."""
    return f"{value.producer.name}:{value.index}"


def _sorted_counts(names: Iterator[str]) -> dict[str, int]:
    """Most frequent first, equals by name."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def _needed(graph: Graph) -> list[Node]:
    """The nodes that the outputs need, in order; all of them where there is no output."""
    pending = [port.value.producer for port in graph.outputs] or list(graph.nodes)
    reached: set[Node] = set()
    while pending:
        node = pending.pop()
        if node not in reached:
            reached.add(node)
            pending.extend(value.producer for value in node.inputs)
    return [node for node in graph.nodes if node in reached]


def _walk(nodes: Sequence[Node]) -> Iterator[Node]:
    """The nodes and those of their nested graphs."""
    for node in nodes:
        yield node
        for _key, nested in node.graphs():
            yield from _walk(nested.nodes)


# -- parameters ----------------------------------------------------------------------------------------------------


class _Constants:
    """Which values follow from constants alone, and from which ones: found in one walk, in the nodes' order."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._fixed: set[Value] = set()
        for node in _walk(nodes):
            if node.op == "Const" or (node.inputs and self.cover(node.inputs) and _is_pure(node)):
                self._fixed.update(node.outputs)

    def cover(self, values: Iterable[Value]) -> bool:
        return all(value in self._fixed for value in values)

    def parameters(self, values: Iterable[Value]) -> int:
        """Elements of the parameters behind those of the values that are fixed, each constant once."""
        pending = [value for value in values if value in self._fixed]
        seen = set(pending)
        while pending:
            for value in pending.pop().producer.inputs:
                if value not in seen:
                    seen.add(value)
                    pending.append(value)
        return sum(_size(value) for value in seen if _is_parameter(value))


def _is_pure(node: Node) -> bool:
    spec = ops.find(node.op)
    return spec is not None and spec.pure


def _size(value: Value) -> int:
    return math.prod(value.static_shape or ())


def _is_parameter(value: Value) -> bool:
    """A float constant, but no scalar written down as such (an epsilon, a factor): a frozen variable is read through Identity."""
    learnt = bool(value.shape) or any(user.op == "Identity" for user in value.users)
    return value.producer.op == "Const" and value.dtype.is_float and learnt


def _layer_parameters(node: Node, constants: _Constants) -> int:
    """Elements of the float constants that feed the layer, its bias and batch norm included."""
    feeding = list(node.inputs)
    while (reader := _sole_reader(node)) is not None and _is_affine(reader, node, constants):
        feeding += reader.inputs
        node = reader
    return constants.parameters(feeding)


def _is_affine(reader: Node, of: Node, constants: _Constants) -> bool:
    """Bias or batch norm after a layer: besides the layer the reader reads constants only."""
    return reader.op in _AFFINE and constants.cover(value for value in reader.inputs if value.producer is not of)


def _sole_reader(node: Node) -> Node | None:
    users = node.outputs[0].users
    return users[0] if len(users) == 1 else None


# -- multiply-accumulates ------------------------------------------------------------------------------------------


def _count_convolution(node: Node) -> list[Shape]:
    """Conv2D: N*Ho*Wo*Co * Kh*Kw*I; the filter is HWIO, I being the input channels of one group. Taps on padding count."""
    kernel = _sizes(node.inputs[1])
    return [_batched(node.outputs[0]), kernel[:3]]


def _count_depthwise(node: Node) -> list[Shape]:
    """DepthwiseConv2dNative: N*Ho*Wo*(C*multiplier) * Kh*Kw."""
    kernel = _sizes(node.inputs[1])
    return [_batched(node.outputs[0]), kernel[:2]]


def _count_transposed(node: Node) -> list[Shape]:
    """Conv2DBackpropInput: N*Hi*Wi*Ci * Kh*Kw*Co; the filter is HWOI. Products that the padding crops away count."""
    kernel = _sizes(node.inputs[1])
    return [_batched(node.inputs[2]), kernel[:3]]


def _count_matmul(node: Node) -> list[Shape]:
    """MatMul and BatchMatMul: (elements of the result) * K, K being the axis that both sides share."""
    left = _sizes(node.inputs[0])
    flipped = node.get("transpose_a", False) or node.get("adj_x", False)
    return [_batched(node.outputs[0]), left[-2:-1] if flipped else left[-1:]]


_COSTS: Mapping[str, Callable[[Node], list[Shape]]] = {
    "Conv2D": _count_convolution,
    "DepthwiseConv2dNative": _count_depthwise,
    "Conv2DBackpropInput": _count_transposed,
    "MatMul": _count_matmul,
    "BatchMatMulV2": _count_matmul,
    "BatchMatMulV3": _count_matmul,
    "BatchMatMul": _count_matmul,
}


def _sizes(value: Value) -> tuple[Dim, ...]:
    """The shape; one size of unknown name where even the rank is unknown."""
    return (f"the rank of '{value.name}'",) if value.shape is None else value.shape


def _batched(value: Value) -> tuple[Dim, ...]:
    """The shape with an open batch taken as 1."""
    sizes = _sizes(value)
    return (1, *sizes[1:]) if len(sizes) > 1 and isinstance(sizes[0], str) else sizes


def _has_open_batch(node: Node) -> bool:
    sizes = _sizes(node.inputs[2] if node.op == "Conv2DBackpropInput" else node.outputs[0])
    return len(sizes) > 1 and isinstance(sizes[0], str)


def _describe_layers(nodes: Sequence[Node], constants: _Constants) -> Iterator[Layer]:
    for node in _walk(nodes):
        if node.op in _COSTS:
            try:
                factors = [size for shape in _COSTS[node.op](node) for size in shape or ()]
            except (LookupError, TypeError):  # a malformed node; converting it gives the full story
                factors = ["its inputs do not fit the op"]
            unknown = sorted({size for size in factors if isinstance(size, str)})
            macs = None if unknown else math.prod(size for size in factors if isinstance(size, int))
            note = f"unknown: {', '.join(unknown)}" if unknown else ""
            yield Layer(node.name, node.op, node.outputs[0].shape, _layer_parameters(node, constants), macs, note)


# -- depthwise-separable blocks ------------------------------------------------------------------------------------


def separable_saving(kernel: tuple[int, int], channels_out: int, multiplier: int = 1) -> float:
    """How many times cheaper than a standard convolution; see SeparableBlock."""
    return 1 / (multiplier * (1 / channels_out + 1 / math.prod(kernel)))


def _find_separable_blocks(graph: Graph, nodes: Sequence[Node], constants: _Constants) -> Iterator[SeparableBlock]:
    for node in nodes:
        if node.op != "DepthwiseConv2dNative":
            continue
        pointwise = _pointwise_after(graph, node, constants)
        depthwise_kernel = node.inputs[1].static_shape
        if pointwise is None or depthwise_kernel is None or len(depthwise_kernel) != 4:
            continue
        kernel = (depthwise_kernel[0], depthwise_kernel[1])
        multiplier = depthwise_kernel[3]
        channels_out = (pointwise.inputs[1].static_shape or (0,))[-1]
        if channels_out and multiplier and math.prod(kernel):
            saving = separable_saving(kernel, channels_out, multiplier)
            yield SeparableBlock(node.name, pointwise.name, kernel, depthwise_kernel[2], channels_out, multiplier, saving)


def _pointwise_after(graph: Graph, node: Node, constants: _Constants) -> Node | None:
    """The 1x1 convolution that alone reads the node through bias, batch norm and activation."""
    for _step in range(8):  # bias, the parts of a batch norm written out, an activation
        reader = graph.only_reader(node.outputs[0])
        if reader is None:
            return None
        if reader.op == "Conv2D" and reader.inputs[0].producer is node:
            kernel = reader.inputs[1].static_shape
            return reader if kernel is not None and kernel[:2] == (1, 1) else None
        if not (reader.op in _ACTIVATIONS or reader.op == "BatchToSpaceND" or _is_affine(reader, node, constants)):
            return None
        node = reader
    return None


# -- targets -------------------------------------------------------------------------------------------------------


def _describe_support(nodes: Sequence[Node], target: str) -> Support:
    counts: dict[str, Counter[str]] = {"direct": Counter(), "rewritten": Counter(), "missing": Counter()}
    for node in _walk(nodes):
        if node.op not in _BOOKKEEPING:
            counts[_support(node.op, target)][node.op] += 1
    return Support(target, **{kind: dict(sorted(count.items())) for kind, count in counts.items()})


_RESOLVED = (
    *("VarHandleOp", "ReadVariableOp", "Variable", "Assign", "HashTable", "LookupTable", "InitializeTable"),
    *("TensorList", "EmptyTensorList"),
)
"""How the names of ops begin of which readers and passes make something else, wherever they can: variables and tables become
constants, inputs and outputs; lists of tensors become tensors."""


def _support(op: str, target: str) -> str:
    spec = ops.find(op)
    if op.startswith(_RESOLVED):
        return "rewritten"
    if spec is None:
        return "missing"
    lowering: Callable[[Node], Sequence[LiteOp | JsNode]] | None = spec.to_tflite if target == "tflite" else spec.to_tfjs
    if lowering is not None:
        return "direct"
    return "missing" if spec.expand is None or target not in spec.expands_for else "rewritten"


def _plain(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _plain(each) for key, each in data.items()}
    return [_plain(each) for each in data] if isinstance(data, list | tuple) else data
