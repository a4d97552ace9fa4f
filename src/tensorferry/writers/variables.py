"""Weights as variables again: the nodes that hold, read, save and restore them, as TensorFlow's own Saver makes them.

Which constants are weights: of a source that has variables, those that were one there. Of any other (a frozen graph, TensorFlow.js,
TensorFlow Lite) every floating-point or complex constant with at least one axis that an op reads, but what fills a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Node, Origin, Typed, Value
from tensorferry.ops.capturing import add_capture
from tensorferry.tensor import DType, Tensor

_COMPLEX = (DType.COMPLEX64, DType.COMPLEX128)
_HANDLE = Typed(DType.RESOURCE, ())


@dataclass(slots=True)
class Variable:
    """A variable that was made: the node that holds it, its first value, and the nodes that Saver and collections name."""

    name: str
    tensor: Tensor
    read: str = ""
    restored: str = ""
    trainable: bool = True


@dataclass(slots=True)
class Holding:
    """The variables of a graph, by name in order, and the names that a SaverDef tells."""

    variables: dict[str, Variable] = field(default_factory=dict)
    filename: str = ""
    save: str = ""
    restore: str = ""


def find_weights(graph: Graph) -> dict[str, Tensor]:
    """Name -> elements of all weights, those inside of branches and loops included."""
    lifted, is_weight = graph.copy(), _Weights(graph)
    _lift(lifted, is_weight)
    found = {node.name: node["value"] for node in lifted.nodes if is_weight(node)}
    return {**found, **{name: state.first for name, state in graph.states.items()}}


def hold_weights(graph: Graph) -> Holding:
    """Change the graph: each weight becomes a variable that is read, each state one that is read first and assigned last.

    Nodes to save and restore them come behind; none of them runs when an output is asked for.
    """
    is_weight = _Weights(graph)
    _lift(graph, is_weight)
    holding = Holding()
    for node in [each for each in graph.nodes if is_weight(each)]:
        tensor, name = node["value"], node.name
        graph.rename(node, graph.unique_name(f"{name}/value"))
        read = _hold(graph, holding, name, tensor, node)
        graph.replace_uses(node.output, read)
        graph.remove(node)
    _hold_states(graph, holding)
    if holding.variables:
        _add_saver(graph, holding)
    return holding


class _Weights:
    """Tells which nodes of a graph, or of those inside it, are weights."""

    def __init__(self, graph: Graph) -> None:
        self._known = {id(tensor) for tensor in graph.variables.values()} & {id(each) for each in _constants(graph)}

    def __call__(self, node: Node) -> bool:
        tensor = node["value"] if node.op == "Const" else None
        if tensor is None or tensor.dtype is DType.STRING:
            return False
        if self._known:
            return id(tensor) in self._known
        if not tensor.shape or not (tensor.dtype.is_float or tensor.dtype in _COMPLEX):
            return False
        return any(user.op != "InitializeTableV2" for user in node.output.users)


def _constants(graph: Graph) -> Iterator[Tensor]:
    for node in graph.nodes:
        if node.op == "Const":
            yield node["value"]
        for _key, nested in node.graphs():
            yield from _constants(nested)


def _lift(graph: Graph, is_weight: _Weights) -> None:
    """Weights inside of branches and bodies are handed in from outside: a variable is held by the graph itself."""
    for node in tuple(graph.nodes):
        if node.op not in ("If", "Case", "While"):
            continue
        for _key, nested in node.graphs():
            _lift(nested, is_weight)
        found = {each["value"]: each.name for _key, nested in node.graphs() for each in nested.nodes if is_weight(each)}
        current = node
        for tensor, name in found.items():
            current = add_capture(graph, current, _outside(graph, tensor, name, current), f"{name}/given")
            for _key, nested in current.graphs():
                given = nested.inputs[-1].value
                for each in [each for each in nested.nodes if each.op == "Const" and each["value"] is tensor]:
                    nested.replace_uses(each.output, given)
                    nested.remove(each)


def _outside(graph: Graph, tensor: Tensor, name: str, before: Node) -> Value:
    order = {node: place for place, node in enumerate(graph.nodes)}
    for node in graph.nodes[: order[before]]:
        if node.op == "Const" and node["value"] is tensor:
            return node.output
    return graph.constant(tensor, name, before=graph.nodes[0], origin=Origin((name,), "Const"))


# -- holding -------------------------------------------------------------------------------------------------------


def _hold(graph: Graph, holding: Holding, name: str, tensor: Tensor, before: Node, *, trainable: bool = True) -> Value:
    """VarHandleOp and ReadVariableOp; the value that was read."""
    attrs = {"dtype": tensor.dtype, "shape": tensor.shape, "shared_name": name, "container": ""}
    handle = graph.add("VarHandleOp", (), attrs, typed=[_HANDLE], name=name, before=before, origin=before.origin)
    typed = [Typed(tensor.dtype, tensor.shape)]
    attrs = {"dtype": tensor.dtype}
    read = graph.add("ReadVariableOp", (handle.output,), attrs, typed=typed, name=f"{name}/Read/ReadVariableOp", before=before)
    holding.variables[handle.name] = Variable(handle.name, tensor, read.name, trainable=trainable and tensor.dtype.is_float)
    return read.output


def _hold_states(graph: Graph, holding: Holding) -> None:
    """The value after a run is assigned; what the graph gives waits for that."""
    states, graph.states = graph.states, {}
    assigned = []
    for key, state in states.items():
        port = next(each for each in graph.inputs if each.name == key)
        after = next(each for each in graph.outputs if each.name == state.output)
        node = port.value.producer
        graph.inputs.remove(port)
        graph.outputs.remove(after)
        name = node.name
        graph.rename(node, graph.unique_name(f"{name}/given"))
        read = _hold(graph, holding, name, state.first, node, trainable=False)
        graph.replace_uses(node.output, read)
        if after.value is node.output:
            after.value = read
        graph.remove(node)
        assigned.append((read.producer, after.value))
    names = [
        graph.add(
            "AssignVariableOp",
            (read.inputs[0], value),
            {"dtype": value.dtype},
            typed=[],
            name=f"{read.inputs[0].producer.name}/AssignVariableOp",
            controls=[other.name for other, _ in assigned],  # all are read before any is written
        ).name
        for read, value in assigned
    ]
    for port in graph.outputs if names else ():
        kind = {"T": port.value.dtype}
        port.value = graph.add(
            "Identity", (port.value,), kind, typed=[port.value.typed], name=f"{port.value.producer.name}/result", controls=names
        ).output


# -- saving and restoring ------------------------------------------------------------------------------------------


def _add_saver(graph: Graph, holding: Holding) -> None:
    names = sorted(holding.variables)
    types = [holding.variables[name].tensor.dtype for name in names]
    handles = [graph.node(name).output for name in names]
    path = graph.constant(np.array(b"model", object), "save/filename")
    placeholder = {"dtype": DType.STRING, "shape": ()}
    filename = graph.add("PlaceholderWithDefault", (path,), placeholder, typed=[Typed(DType.STRING, ())], name="save/Const").output
    keys = graph.constant(np.array([name.encode() for name in names], object), "save/tensor_names")
    slices = graph.constant(np.array([b""] * len(names), object), "save/shape_and_slices")
    reads = [
        graph.add(
            "ReadVariableOp",
            (handle,),
            {"dtype": dtype},
            typed=[Typed(dtype, holding.variables[name].tensor.shape)],
            name=f"save/{name}/Read",
        ).output
        for name, handle, dtype in zip(names, handles, types, strict=True)
    ]
    save = graph.add("SaveV2", (filename, keys, slices, *reads), {"dtypes": types}, typed=[], name="save/SaveV2")
    saved = ops.add(graph, "Identity", (filename,), name="save/control_dependency")
    saved.controls = (save.name,)
    typed = [Typed(dtype, None) for dtype in types]
    restore = graph.add("RestoreV2", (filename, keys, slices), {"dtypes": types}, typed=typed, name="save/RestoreV2")
    assigns = [
        graph.add("AssignVariableOp", (handle, value), {"dtype": value.dtype}, typed=[], name=f"save/{name}/Assign").name
        for name, handle, value in zip(names, handles, restore.outputs, strict=True)
    ]
    for name, assign in zip(names, assigns, strict=True):
        holding.variables[name].restored = assign
    everything = graph.add("NoOp", (), {}, typed=[], name="save/restore_all", controls=assigns)
    holding.filename, holding.save, holding.restore = filename.name, saved.name, everything.name


def checkpoint_of(holding: Holding) -> Mapping[str, Tensor]:
    """What goes into the checkpoint, by name."""
    return {name: each.tensor for name, each in holding.variables.items()}
