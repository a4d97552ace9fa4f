"""Variables whose values are known become constants: which variable has which value is told by the graph's own saver.

A saver's restoring part reads RestoreV2 -> Assign (or AssignVariableOp) -> variable: that is followed first. A graph without one
is served by the names of its variables. `Graph.variables` keeps the values by the name of the node that holds the variable.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

import numpy as np

from tensorferry import ops
from tensorferry.errors import SourceError
from tensorferry.ir import Graph, Node, Value
from tensorferry.ops.capturing import drop_unneeded
from tensorferry.readers.objects import keys_of_names
from tensorferry.tensor import Array, ArrayTensor, DType, ReshapedTensor, Tensor
from tensorferry.wire.bundle import Bundle

log = logging.getLogger(__name__)

REFERENCES = frozenset({"Variable", "VariableV2", "AutoReloadVariable", "TemporaryVariable"})
"""Variables of TensorFlow 1: the node's output is the variable itself."""

HANDLES = frozenset({"VarHandleOp", "_VarHandlesOp"})
"""Variables behind a resource; ReadVariableOp gives their value."""

VARIABLES = REFERENCES | HANDLES | {"VarIsInitializedOp"}

_PASSING = frozenset({"Identity", "IdentityN", "StopGradient", "Snapshot"})
_READING = frozenset(
    {"ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape", "VarIsInitializedOp", "DestroyResourceOp"}
)
_RESTORING = frozenset({"Assign", "AssignVariableOp"})
_WRITING = ("Assign", "Scatter", "Apply", "ResourceScatter", "ResourceApply", "ResourceSparseApply", "SparseApply", "CountUpTo")
"""How the names of ops begin that change a variable of TensorFlow 1 whose reference they are given first."""


# -- which value belongs to which variable -------------------------------------------------------------------------


class Values(Protocol):
    """A checkpoint of whatever format."""

    def __contains__(self, name: object, /) -> bool: ...

    def describe(self) -> Mapping[str, tuple[DType, tuple[int, ...]]]:
        """Name -> type and shape."""

    def tensor(self, name: str) -> Tensor:
        """SourceError when it cannot be read."""


class NamedValues:
    """Values by name, in the place of a checkpoint."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        self._values = values

    def describe(self) -> Mapping[str, tuple[DType, tuple[int, ...]]]:
        return {name: (tensor.dtype, tensor.shape) for name, tensor in self._values.items()}

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def tensor(self, name: str) -> Tensor:
        return self._values[name]


def restore_variables(graph: Graph, bundle: Values) -> None:
    """Fill `graph.variables` from a checkpoint. A variable that the checkpoint lacks stays without a value."""
    found = dict(_restored(graph))
    taken = {name for name, _piece in found.values()}  # what the saver gives to one variable is no other's that is named so
    keys = keys_of_names(bundle) if not found and isinstance(bundle, Bundle) else {}
    for node in graph.nodes:
        if node.op not in REFERENCES | HANDLES:
            continue
        name, piece = found.get(node.name, ("", ""))
        if not name or name not in bundle:
            own = (each for each in (_shared_name(node), node.name) if each and each not in taken)
            name, piece = next((key for each in own if (key := keys.get(each, each)) in bundle), ""), ""
        if name:
            tensor = _piece_of(bundle.tensor(name), piece, node)
            graph.variables[node.name] = shaped_as(tensor, node)
        else:
            log.info("variable '%s' is not in the checkpoint", node.name)


def _restored(graph: Graph) -> Iterator[tuple[str, tuple[str, str]]]:
    """(node of a variable, (name in the checkpoint, slice of it)) as the saver's restoring part says."""
    for node in graph.nodes:
        if node.op not in ("RestoreV2", "Restore", "RestoreSlice"):
            continue
        names = _strings(node.inputs[1]) if len(node.inputs) > 1 else []
        pieces = _strings(node.inputs[2]) if len(node.inputs) > 2 else []
        for index, value in enumerate(node.outputs):
            if index < len(names):
                piece = pieces[index] if index < len(pieces) else ""
                for variable in _assigned(value):
                    yield variable.name, (names[index], piece)


def _strings(value: Value) -> list[str]:
    tensor = value.constant
    if tensor is None or tensor.dtype is not DType.STRING or tensor.size > 1 << 20:
        return []
    return [text.decode("utf-8", "replace") for text in tensor.array().reshape(-1)]


def _assigned(value: Value) -> Iterator[Node]:
    """The variables to which a restored value goes, through identities and reshapes."""
    waiting, seen = [value], {value}
    while waiting:
        value = waiting.pop()
        for user in value.users:
            if user.op in _RESTORING and len(user.inputs) > 1 and user.inputs[1] is value:
                yield _root(user.inputs[0]).producer
            elif user.op in (*_PASSING, "Reshape"):
                fresh = [each for each in user.outputs if each not in seen]
                seen.update(fresh)
                waiting += fresh


def _root(value: Value) -> Value:
    while value.producer.op in _PASSING:
        value = value.producer.inputs[value.index]
    return value


def _shared_name(node: Node) -> str:
    name = node.get("shared_name")
    return name if isinstance(name, str) else ""


def _piece_of(tensor: Tensor, piece: str, node: Node) -> Tensor:
    """The stretch of a partitioned variable: `4 3 0,2:-` is shape 4, 3 and rows 0 and 1 (start, length) of all columns."""
    if not piece:
        return tensor
    extents = piece.rsplit(" ", maxsplit=1)[-1].split(":")
    places = []
    try:
        for extent in extents:
            start, length = (0, None) if extent == "-" else map(int, extent.split(","))
            places.append(slice(start, None if length is None else start + length))
        part = tensor.array()[tuple(places)]
    except (ValueError, IndexError) as error:
        raise SourceError(f"the slice '{piece}' of variable '{node.name}' does not fit its values") from error
    return ArrayTensor(np.ascontiguousarray(part), tensor.dtype)


def shaped_as(tensor: Tensor, node: Node) -> Tensor:
    """SourceError when the values are not of the variable's type or shape."""
    dtype, shape = node.get("dtype"), node.get("shape")
    if isinstance(dtype, DType) and dtype is not tensor.dtype:
        raise SourceError(f"variable '{node.name}' is {dtype}, its values in the checkpoint are {tensor.dtype}")
    if isinstance(shape, tuple) and all(isinstance(dim, int) for dim in shape) and shape != tensor.shape:
        sizes = [int(dim) for dim in shape]
        if int(np.prod(sizes, dtype=object)) != tensor.size:
            raise SourceError(f"variable '{node.name}' has the shape {sizes}, its values in the checkpoint {list(tensor.shape)}")
        return ReshapedTensor(tensor, sizes)
    return tensor


# -- freezing ------------------------------------------------------------------------------------------------------


def freeze_variables(graph: Graph, run: set[Node]) -> int:
    """Replace the variables that no node of `run` changes by constants, in graphs inside nodes too; how many.

    `run` are the nodes that run when the outputs are asked for, those that others wait for included.
    """
    count = 0
    for node in [each for each in graph.nodes if each.name in graph.variables]:
        uses = list(_uses(graph, node))
        if any(_changes(use) and use.outer in run for use in uses):
            continue
        _freeze(graph, node, [use for use in uses if not _changes(use)])
        count += 1
    if count:
        drop_unneeded(graph)
    return count


class _Use(NamedTuple):
    """A node of a graph that reads a variable or its handle as this value."""

    graph: Graph
    user: Node
    value: Value
    outer: Node
    """The node of the graph itself that runs it."""


def _uses(graph: Graph, node: Node) -> Iterator[_Use]:
    """All uses, seen through identities of a handle and into the graphs that it is handed to."""
    waiting: list[tuple[Graph, Value, Node | None]] = [(graph, value, None) for value in node.outputs]
    while waiting:
        holder, value, outer = waiting.pop()
        for user in dict.fromkeys(value.users):
            if node.op in HANDLES and user.op in _PASSING:
                waiting += [(holder, out, outer) for out, given in zip(user.outputs, user.inputs, strict=False) if given is value]
            elif node.op in HANDLES and user.op in ("If", "Case", "While"):
                waiting += [(nested, inside, outer or user) for nested, inside in _handed_in(user, value)]
            else:
                yield _Use(holder, user, value, outer or user)


def _handed_in(user: Node, value: Value) -> Iterator[tuple[Graph, Value]]:
    """The value as the graphs inside a node know it."""
    first = 0 if user.op == "While" else 1  # what is chosen by comes before the arguments
    for _key, nested in user.graphs():
        for given, port in zip(user.inputs[first:], nested.inputs, strict=False):
            if given is value:
                yield nested, port.value


def _changes(use: _Use) -> bool:
    """Whether the node may change the variable: of a handle, whatever is not known to read only."""
    if use.value.dtype is DType.RESOURCE:
        return use.user.op not in _READING
    return use.user.op.startswith(_WRITING) and bool(use.user.inputs) and use.user.inputs[0] is use.value


def _freeze(graph: Graph, node: Node, uses: list[_Use]) -> None:
    tensor, name = graph.variables[node.name], node.name
    graph.rename(node, graph.unique_name(f"{name}/variable"))
    graph.variables[node.name] = graph.variables.pop(name)
    constants = {graph: graph.constant(tensor, name, before=node, origin=node.origin)}
    for port in graph.outputs if node.op in REFERENCES else ():
        if port.value.producer is node:
            port.value = constants[graph]
    for holder, user, _value, _outer in uses:
        if holder not in constants:
            constants[holder] = holder.constant(tensor, name, before=holder.nodes[0], origin=node.origin)
        if node.op in REFERENCES:
            user.set_inputs([constants[holder] if each.producer is node else each for each in user.inputs])
        else:
            _read_constant(holder, user, constants[holder])


def _read_constant(graph: Graph, user: Node, constant: Value) -> None:
    """What reads a variable by its handle reads a constant."""
    if user.op == "ReadVariableOp":
        attrs = {"T": constant.dtype}
        made = ops.add(graph, "Identity", [constant], attrs, name=f"{user.name}/read", origin=user.origin, before=user)
    elif user.op == "VariableShape":
        attrs = {"out_type": user.get("out_type", DType.INT32)}
        made = ops.add(graph, "Shape", [constant], attrs, name=f"{user.name}/read", origin=user.origin, before=user)
    elif user.op == "ResourceGather":
        axis = graph.constant(np.asarray(user.get("batch_dims", 0), np.int32), f"{user.name}/axis", before=user)
        attrs = {"batch_dims": user.get("batch_dims", 0)}
        made = ops.add(graph, "GatherV2", [constant, user.inputs[1], axis], attrs, name=f"{user.name}/read", before=user)
    elif user.op == "ResourceGatherNd":
        made = ops.add(graph, "GatherNd", [constant, user.inputs[1]], name=f"{user.name}/read", origin=user.origin, before=user)
    elif user.op == "VarIsInitializedOp":
        made = graph.constant(_yes(), f"{user.name}/read", before=user, origin=user.origin).producer
    else:
        return
    name = user.name
    graph.replace_uses(user.outputs[0], made.outputs[0])
    graph.rename(user, graph.unique_name(f"{name}/of_variable"))
    graph.rename(made, name)


def _yes() -> Array:
    return np.asarray(True)


def variables_among(graph: Graph, needed: set[Node]) -> Mapping[str, str]:
    """Name -> op of the variables that are still there."""
    return {node.name: node.op for node in graph.nodes if node in needed and node.op in VARIABLES}
