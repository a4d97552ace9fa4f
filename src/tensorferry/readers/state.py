"""Variables: one that a run only reads becomes its first value; one that a run assigns becomes an input and an output.

What is known of a graph's order of side effects are its control inputs, which the order of its nodes follows. Walked in that order,
each reading of a variable is replaced by the value it has there, and each assignment by the value it leaves: what is left is a
pure graph from the state before a run to the state after it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Node, Port, State, Typed, Value
from tensorferry.readers.computing import compute_constant
from tensorferry.readers.variables import HANDLES, REFERENCES
from tensorferry.tensor import DType, Tensor

_PASSING = frozenset({"Identity", "RefIdentity", "Enter", "RefEnter", "Snapshot"})
_ASSIGNS = frozenset({"Assign", "AssignVariableOp"})

_WRITES = ("Assign", "Scatter", "Apply", "SparseApply", "ResourceScatter", "ResourceApply", "ResourceSparseApply")
"""How the names of ops begin that write a variable."""

Update = Callable[["_Walk", Node, Value], Value]
"""(where new nodes are made, the op that assigns, the value before) -> the value after."""


def state_names(graph: Graph) -> set[str]:
    """Names of the outputs that variables may have."""
    return {f"{node.name}/next" for node in graph.nodes if node.op in HANDLES | REFERENCES}


def carry_state(graph: Graph, run: set[Node], also: Container[str] | None = None) -> None:
    """Rewrite the variables that `run` changes, or whose first value only an op of the graph tells; leave the others alone.

    `run` are the nodes that run when the outputs are asked for, those that others wait for included. `also`, where this is
    one of several signatures, are the variables that others change: what this one reads of them is no constant, and what it
    assigns is not for itself alone.
    """
    walk, restored = _Walk(graph), bool(graph.variables)
    order = {node: place for place, node in enumerate(graph.nodes)}
    for node in tuple(graph.nodes):
        if node.op not in HANDLES | REFERENCES or len(node.outputs) != 1:
            continue
        users = list(_users(node))
        writes = [user for user in users if user in run and _is_write(user)]
        known, shared = graph.variables.get(node.name), node.name in (also or ())
        first = _first_value(users, run) if known is None else known
        local = _is_local(order, users, run) and all(user.op in _UPDATES for user in writes)
        if local and (also is None or first is None):
            walk.add_local(node)
            continue
        if first is None or not (any(user in run for user in users) or (shared and node in run)):
            continue
        if not writes and not shared and (known is not None or sum(map(_is_write, users)) > 1):
            continue  # frozen elsewhere; or what trains or restores it stands in the graph, so its first value is not what it is
        if all(user.op in _UPDATES for user in writes):
            if known is None and restored:
                graph.notices.append(
                    f"variable '{node.name}' is not in the checkpoint: it has the value that it is initialised with"
                )
            walk.add_variable(node, first, assigned=bool(writes) or shared)
    walk.run(run)


def _is_local(order: Mapping[Node, int], users: Sequence[Node], run: set[Node]) -> bool:
    """Whether a run assigns the variable before all else: what it was does not matter then."""
    among = [user for user in users if user in run and user.op not in _PASSING]
    return bool(among) and min(among, key=order.__getitem__).op in _ASSIGNS


def _users(variable: Node) -> Iterator[Node]:
    """What reads or writes a variable, through what only passes on where it is."""
    waiting = list(variable.outputs)
    while waiting:
        for user in dict.fromkeys(waiting.pop().users):
            yield user
            if user.op in _PASSING:
                waiting += user.outputs


def _is_write(node: Node) -> bool:
    return node.op in _UPDATES or node.op.startswith(
        ("Assign", "Scatter", "Apply", "SparseApply", "ResourceScatter", "ResourceApply")
    )


def _first_value(users: Iterable[Node], live: set[Node]) -> Tensor | None:
    """What an op that no run waits for assigns: the initialiser."""
    for user in users:
        if user.op in _ASSIGNS and user not in live:
            value = compute_constant(user.inputs[1])
            if value is not None:
                return value
    return None


class _Walk:
    """Goes through the graph in order and knows the value of each variable there."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._values: dict[Node, Value] = {}
        self._first: dict[Node, Tensor] = {}
        self._inputs: dict[Node, Value] = {}
        self.before: Node | None = None

    def add_local(self, variable: Node) -> None:
        """A variable whose value is what the run assigns first."""
        self._values[variable] = variable.output

    def add_variable(self, variable: Node, first: Tensor, *, assigned: bool) -> None:
        name, graph = variable.name, self.graph
        graph.rename(variable, graph.unique_name(f"{name}/variable"))
        graph.variables.pop(name, None)
        start = graph.nodes[0]
        if assigned:
            attrs = {"dtype": first.dtype, "shape": first.shape}
            value = graph.add("Placeholder", (), attrs, typed=[Typed(first.dtype, first.shape)], name=name, before=start).output
            self._inputs[variable] = value
        else:
            value = graph.constant(first, name, before=start, origin=variable.origin)
        self._values[variable], self._first[variable] = value, first

    def run(self, live: set[Node]) -> None:
        if not self._values:
            return
        for node in tuple(self.graph.nodes):
            if node in live and node.inputs:
                self._visit(node)
        for port in self.graph.outputs:
            variable = self._variable_of(port.value)
            if variable is not None:
                port.value = self._values[variable]
        for variable, value in self._inputs.items():
            name = value.producer.name
            after = self._values[variable]
            self.graph.states[name] = State(f"{name}/next", self._first[variable])
            self.graph.inputs.append(Port(name, value))
            self.graph.outputs.append(Port(f"{name}/next", after))

    def _visit(self, node: Node) -> None:
        variable = self._variable_of(node.inputs[0])
        if variable is not None and node.op in _UPDATES:
            self.before = node
            after = _UPDATES[node.op](self, node, self._values[variable])
            self._values[variable] = after
            self._replace(node, after)
        elif variable is not None and node.op in _READERS:
            self.before = node
            self._replace(node, _READERS[node.op](self, node, self._values[variable]))
        elif variable is not None and node.op == "ReadVariableOp":
            self._replace(node, self._values[variable])
        elif not (variable is not None and node.op in _PASSING):
            self._read_references(node)

    def _read_references(self, node: Node) -> None:
        """An op reads of a reference what it is then, even behind an Identity: that hands on the place, not what is there."""
        found = [self._variable_of(value) for value in node.inputs]
        if any(variable is not None and variable.op in REFERENCES for variable in found):
            pairs = zip(node.inputs, found, strict=True)
            node.set_inputs([value if variable is None else self._values[variable] for value, variable in pairs])

    def _variable_of(self, value: Value) -> Node | None:
        while value.producer.op in _PASSING:
            value = value.producer.inputs[0]
        return value.producer if value.producer in self._values else None

    def _replace(self, node: Node, value: Value) -> None:
        if node.outputs:
            self.graph.replace_uses(node.outputs[0], value)

    def make(self, op: str, *inputs: Value | np.ndarray[Any, Any], **attrs: Any) -> Value:
        assert self.before is not None
        name = f"{self.before.name}/{op}"
        values = [
            each if isinstance(each, Value) else self.graph.constant(each, f"{name}/constant", before=self.before)
            for each in inputs
        ]
        return ops.add(self.graph, op, values, attrs, name=name, origin=self.before.origin, before=self.before).outputs[0]


def _sum(op: str) -> Update:
    def update(walk: _Walk, node: Node, value: Value) -> Value:
        operand = node.inputs[1]
        if operand.producer.op == "Placeholder" and operand.shape is None:  # TensorFlow wants both of one shape
            operand.producer.attrs["shape"] = value.shape
            operand.retype(Typed(operand.dtype, value.shape))
        return walk.make(op, value, operand)

    return update


def _descend(walk: _Walk, node: Node, value: Value) -> Value:
    """A step of plain gradient descent."""
    _variable, rate, gradient = node.inputs[:3]
    return walk.make("Sub", value, walk.make("Mul", rate, gradient))


def _scatter(op: str) -> Update:
    """Rows picked by a tensor of indices."""
    return lambda walk, node, value: walk.make(
        op, value, walk.make("ExpandDims", node.inputs[1], np.array(-1, np.int32)), node.inputs[2]
    )


def _scatter_nd(op: str) -> Update:
    return lambda walk, node, value: walk.make(op, value, node.inputs[1], node.inputs[2])


def _slice_update(walk: _Walk, node: Node, value: Value) -> Value:
    masks = {key: attribute for key, attribute in node.attrs.items() if key.endswith("_mask")}
    return walk.make("TensorStridedSliceUpdate", value, *node.inputs[1:], **masks)


_SCATTERS = {
    "Update": "TensorScatterUpdate",
    "Add": "TensorScatterAdd",
    "Sub": "TensorScatterSub",
    "Min": "TensorScatterMin",
    "Max": "TensorScatterMax",
}
_UPDATES: Mapping[str, Update] = {
    **dict.fromkeys(_ASSIGNS, lambda _walk, node, _value: node.inputs[1]),
    **dict.fromkeys(("AssignAdd", "AssignAddVariableOp"), _sum("AddV2")),
    **dict.fromkeys(("AssignSub", "AssignSubVariableOp"), _sum("Sub")),
    **dict.fromkeys(("ApplyGradientDescent", "ResourceApplyGradientDescent"), _descend),
    **{f"{prefix}Scatter{kind}": _scatter(op) for kind, op in _SCATTERS.items() for prefix in ("", "Resource")},
    **{f"{prefix}ScatterNd{kind}": _scatter_nd(op) for kind, op in _SCATTERS.items() for prefix in ("", "Resource")},
    **dict.fromkeys(("StridedSliceAssign", "ResourceStridedSliceAssign"), _slice_update),
}
_READERS: Mapping[str, Update] = {
    "ResourceGather": lambda walk, node, value: walk.make(
        "GatherV2", value, node.inputs[1], np.array(node.get("batch_dims") or 0, np.int32), batch_dims=node.get("batch_dims") or 0
    ),
    "ResourceGatherNd": lambda walk, node, value: walk.make("GatherNd", value, node.inputs[1]),
    "VariableShape": lambda walk, node, value: walk.make("Shape", value, out_type=node.get("out_type") or DType.INT32),
    "VarIsInitializedOp": lambda walk, node, _value: walk.graph.constant(np.array(True), f"{node.name}/true", before=node),
    "IsVariableInitialized": lambda walk, node, _value: walk.graph.constant(np.array(True), f"{node.name}/true", before=node),
}
"""Ops that read more than the whole value of a variable, in terms of it."""
