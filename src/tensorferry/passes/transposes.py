"""Transposes moved out of the way: through ops to which the order of axes does not matter, until they meet their inverse.

A *region* is a largest connected set of such ops. All of its values change their layout at once, or none: what is saved at its
borders (transposes that come in, inverse ones that go out) is weighed against what must be added. Constants are transposed
now, lazily.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tensorferry.ir import Graph, Node, Value
from tensorferry.passes.constants import transposed
from tensorferry.passes.layout import transpose_after
from tensorferry.passes.reshapes import REDUCTIONS, permutation_of
from tensorferry.passes.rewriting import SMALL_BYTES, bypass, decline, discard, holds, integers, live_nodes
from tensorferry.passes.shapes import infer_known
from tensorferry.tensor import ReshapedTensor, Tensor

log = logging.getLogger(__name__)

UNARY = frozenset(
    [
        "Relu",
        "Relu6",
        "ReluN1To1",
        "Elu",
        "Selu",
        "LeakyRelu",
        "Sigmoid",
        "Tanh",
        "Softplus",
        "Softsign",
        "HardSwish",
        "Gelu",
        "Abs",
        "Neg",
        "Exp",
        "Expm1",
        "Log",
        "Log1p",
        "Sqrt",
        "Rsqrt",
        "Square",
        "Reciprocal",
        "Sign",
        "Floor",
        "Ceil",
        "Round",
        "Rint",
        "Sin",
        "Cos",
        "Tan",
        "Erf",
        "LogicalNot",
        "Cast",
        "Identity",
        "ClipByValue",
        "IsNan",
        "IsInf",
        "IsFinite",
        "FakeQuantWithMinMaxVars",
        "FakeQuantWithMinMaxArgs",
    ]
)
"""One data input, each element for itself; further inputs are scalars."""

BROADCASTING = frozenset(
    [
        "AddV2",
        "Sub",
        "Mul",
        "RealDiv",
        "Div",
        "FloorDiv",
        "FloorMod",
        "Maximum",
        "Minimum",
        "Pow",
        "SquaredDifference",
        "PRelu",
        "AddN",
        "SelectV2",
        "Equal",
        "NotEqual",
        "Less",
        "LessEqual",
        "Greater",
        "GreaterEqual",
        "LogicalAnd",
        "LogicalOr",
        "Atan2",
        "Xdivy",
        "Xlogy",
        "DivNoNan",
        "MulNoNan",
    ]
)
"""All inputs are broadcast against each other."""

PADS = frozenset({"Pad", "PadV2", "MirrorPad"})


@dataclass
class Region:
    """The nodes that would change layout together; the permutation leads from the new layout to the old: old = transpose(new)."""

    permutation: tuple[int, ...]
    nodes: list[Node] = field(default_factory=list)

    @property
    def inverse(self) -> tuple[int, ...]:
        return tuple(int(axis) for axis in np.argsort(self.permutation))


def move_transposes(graph: Graph) -> int:
    """Rewrite each region that needs fewer transposes afterwards, or as many but later ones."""
    changes = sum(move_transposes(nested) for node in graph.nodes for _key, nested in node.graphs())
    weighed: dict[tuple[int, ...], set[Node]] = {}
    for node in live_nodes(graph):
        permutation = permutation_of(node)
        if permutation is None:
            continue
        done = weighed.setdefault(tuple(permutation), set())
        for reader in tuple(node.output.users):
            if reader in done or not holds(graph, reader):
                continue
            region = _region_from(reader, tuple(permutation))
            done.update(region.nodes or [reader])
            if region.nodes and _pays(graph, region):
                _rewrite(graph, region)
                changes += 1
    return changes + _absorb_into_reductions(graph)


# -- which nodes ---------------------------------------------------------------------------------------------------


def _region_from(start: Node, permutation: tuple[int, ...]) -> Region:
    region = Region(permutation)
    seen: set[Node] = set()
    pending = [start]
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        if not _takes_any_layout(node, len(permutation)):
            continue
        region.nodes.append(node)
        pending += [user for value in node.outputs for user in value.users]
        pending += [node.inputs[index].producer for index in data_inputs(node) if node.inputs[index].constant is None]
    return region


def data_inputs(node: Node) -> range:
    """Which inputs are in the layout of the output; the others say axes, amounts, bounds."""
    if node.op == "ConcatV2":
        return range(len(node.inputs) - 1)
    if node.op == "Split":
        return range(1, 2)
    return range(len(node.inputs)) if node.op in BROADCASTING else range(min(1, len(node.inputs)))


def _takes_any_layout(node: Node, rank: int) -> bool:
    """Whether the node can compute the same on permuted data, seen for itself."""
    if not node.outputs or any(value.rank != rank or value.quantization is not None for value in node.outputs):
        return False
    if node.op in UNARY:
        return node.inputs[0].rank == rank
    if node.op in BROADCASTING:
        return all(_broadcasts_permuted(value, rank) for value in node.inputs)
    if node.op in REDUCTIONS:
        return bool(node.get("keep_dims")) and integers(node.inputs[1]) is not None
    if node.op in PADS:
        return integers(node.inputs[1]) is not None
    if node.op == "ConcatV2":
        return integers(node.inputs[-1]) is not None and all(value.rank == rank for value in node.inputs[:-1])
    return node.op == "Split" and integers(node.inputs[0]) is not None


def _broadcasts_permuted(value: Value, rank: int) -> bool:
    if value.constant is not None:
        return len(value.constant.shape) <= rank
    return value.rank in (0, rank)


# -- whether it pays -----------------------------------------------------------------------------------------------


def _pays(graph: Graph, region: Region) -> bool:
    """Fewer nodes afterwards; or as many, when every transpose only moves from before the region to behind it."""
    inside = set(region.nodes)
    saved = added = 0
    entering: set[Value] = set()
    for node in region.nodes:
        for index in data_inputs(node):
            value = node.inputs[index]
            if value.producer in inside or value in entering or value.rank == 0:
                continue
            entering.add(value)
            if value.constant is not None:
                added += _copies_large(value, inside)
            elif permutation_of(value.producer) == list(region.permutation):
                saved += not graph.is_output(value) and all(user in inside for user in value.users)
            else:
                added += 2  # one more transpose, and it would not only have moved down
    for node in region.nodes:
        for value in node.outputs:
            gone, needed = _after(graph, region, inside, value)
            saved += gone
            added += needed
    if saved > added or (saved == added and saved and _only_enters(region, entering)):
        return True
    decline(log, region.nodes[0], f"moving transposes past it and {len(inside) - 1} others saves {saved} and adds {added} of them")
    return False


def _only_enters(region: Region, entering: set[Value]) -> bool:
    return all(value.constant is not None or permutation_of(value.producer) == list(region.permutation) for value in entering)


def _copies_large(value: Value, inside: set[Node]) -> int:
    """A large constant that others read in the old layout would be stored twice."""
    tensor = value.constant
    return int(tensor is not None and tensor.nbytes > SMALL_BYTES and any(user not in inside for user in value.users))


def _after(graph: Graph, region: Region, inside: set[Node], value: Value) -> tuple[int, int]:
    """(transposes that fall away behind the value, transposes it needs)."""
    undone = _undone_by(graph, region, value)
    needed = int(graph.is_output(value))
    for user in set(value.users) - inside:
        if user not in undone and permutation_of(user) is None and not _absorbs(user, value, region.permutation):
            needed = 1
    return len(undone), needed


def _undone_by(graph: Graph, region: Region, value: Value) -> list[Node]:
    """Transposes behind the value that fall away with the new layout: all inverse ones, of public ones only the first."""
    inverse = [user for user in dict.fromkeys(value.users) if permutation_of(user) == list(region.inverse)]
    public = [user for user in inverse if graph.is_output(user.output)]
    return [user for user in inverse if user not in public[1:]]


def _absorbs(user: Node, value: Value, permutation: Sequence[int]) -> bool:
    return user.op in REDUCTIONS and user.inputs[0] is value and _reduced_in_order(user, permutation) is not None


# -- the rewrite ---------------------------------------------------------------------------------------------------


def _rewrite(graph: Graph, region: Region) -> None:
    inside = set(region.nodes)
    position = {node: index for index, node in enumerate(graph.nodes)}
    nodes = sorted(region.nodes, key=lambda node: position[node])
    old_names = {node: node.name for node in nodes}
    for node in nodes:
        graph.rename(node, graph.unique_name(f"{node.name}/{_layout_name(region)}"))
    twins: dict[Value, Value] = {}
    left: list[Node] = []
    for node in nodes:
        data = set(data_inputs(node))
        inputs = [
            _permuted_input(graph, region, inside, twins, node, value) if index in data else value
            for index, value in enumerate(node.inputs)
        ]
        left += [value.producer for value in node.inputs]
        node.set_inputs(inputs)
        _permute_parameters(graph, node, region.permutation)
        for value, typed in zip(node.outputs, infer_known(node), strict=True):
            value.retype(typed)
    for node in nodes:
        for value in node.outputs:
            _serve_outside(graph, region, inside, value, old_names[node])
    discard(graph, *left)


def _layout_name(region: Region) -> str:
    return {(0, 3, 1, 2): "nhwc", (0, 4, 1, 2, 3): "ndhwc", (0, 2, 3, 1): "nchw"}.get(region.permutation, "transposed")


def _permuted_input(graph: Graph, region: Region, inside: set[Node], twins: dict[Value, Value], node: Node, value: Value) -> Value:
    """What to read instead, in the new layout."""
    if value.producer in inside or value.rank == 0:
        return value
    if value not in twins:
        if value.constant is not None:
            twins[value] = _permuted_constant(graph, region, node, value)
        elif permutation_of(value.producer) == list(region.permutation):
            twins[value] = value.producer.inputs[0]
        else:
            name = f"{value.producer.name}/{_layout_name(region)}"
            twins[value] = transpose_after(graph, value, region.inverse, name)
    return twins[value]


def _permuted_constant(graph: Graph, region: Region, node: Node, value: Value) -> Value:
    tensor = value.constant
    assert tensor is not None
    full: Tensor = ReshapedTensor(tensor, (1,) * (len(region.permutation) - len(tensor.shape)) + tensor.shape)
    moved = transposed(full, region.inverse)
    name = f"{value.producer.name}/{_layout_name(region)}"
    return graph.constant(moved, name, before=node, origin=value.producer.origin)


def _permute_parameters(graph: Graph, node: Node, permutation: Sequence[int]) -> None:
    """Axes and amounts of the node, which speak of the old layout, for the new one: old axis i is new axis permutation[i]."""
    rank = len(permutation)
    if node.op in REDUCTIONS:
        _set_integers(graph, node, 1, [permutation[axis % rank] for axis in integers(node.inputs[1]) or []])
    elif node.op in PADS:
        amounts = np.reshape(integers(node.inputs[1]) or [], (rank, 2))
        _set_integers(graph, node, 1, amounts[np.argsort(permutation)].tolist())
    elif node.op in ("ConcatV2", "Split"):
        at = 0 if node.op == "Split" else len(node.inputs) - 1
        axis = (integers(node.inputs[at]) or [0])[0]
        _set_integers(graph, node, at, permutation[axis % rank])


def _set_integers(graph: Graph, node: Node, index: int, numbers: object) -> None:
    old = node.inputs[index]
    array = np.asarray(numbers, old.dtype.numpy)
    if array.ndim == 1 and old.rank == 0:
        array = array.reshape(())
    node.set_input(
        index, graph.constant(array, f"{node.name}/{old.producer.name.rsplit('/', 1)[-1]}", before=node, origin=node.origin)
    )
    discard(graph, old.producer)


def _serve_outside(graph: Graph, region: Region, inside: set[Node], value: Value, name: str) -> None:
    """Give those who read the value in the old layout what they need; transposes that undo it fall away."""
    undone = _undone_by(graph, region, value)
    waiting = [user for user in dict.fromkeys(value.users) if user not in inside and user not in undone]
    ports = [port for port in graph.outputs if port.value is value]
    if waiting or ports:
        back = transpose_after(graph, value, region.permutation, name if value.index == 0 else f"{name}_{value.index}")
        for user in waiting:
            user.set_inputs([back if each is value else each for each in user.inputs])
        for port in ports:
            port.value = back
    for user in undone:
        bypass(graph, user, value)


# -- reductions that drop axes -------------------------------------------------------------------------------------


def _absorb_into_reductions(graph: Graph) -> int:
    """A reduction over spatial axes does not mind a transpose before it when the axes that remain keep their order."""
    changes = 0
    for node in live_nodes(graph):
        if node.op not in REDUCTIONS:
            continue
        before = node.inputs[0].producer
        permutation = permutation_of(before)
        axes = _reduced_in_order(node, permutation) if permutation is not None else None
        if axes is None:
            continue
        node.set_input(0, before.inputs[0])
        _set_integers(graph, node, 1, axes)
        node.origin = node.origin + before.origin
        discard(graph, before)
        changes += 1
    return changes


def _reduced_in_order(node: Node, permutation: Sequence[int]) -> list[int] | None:
    """The axes to reduce without the transpose, if the remaining ones then stand in the same order; None if they do not."""
    axes = integers(node.inputs[1])
    if axes is None or node.get("keep_dims") or node.get("activation"):
        return None
    rank = len(permutation)
    dropped = {axis % rank for axis in axes}
    remaining = [permutation[axis] for axis in range(rank) if axis not in dropped]
    return [permutation[axis % rank] for axis in axes] if remaining == sorted(remaining) else None
