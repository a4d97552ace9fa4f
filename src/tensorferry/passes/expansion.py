"""Ops that a target lacks, rewritten into ops it has."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from tensorferry import ops
from tensorferry.ir import Graph, Node
from tensorferry.ops.refusals import NOT_EXPANDED
from tensorferry.ops.spec import MISFITS, Declined, OpSpec
from tensorferry.passes.fitting import collapse, widen
from tensorferry.passes.places import move_places
from tensorferry.passes.rewriting import Pass, decline, for_each_node, insert_after
from tensorferry.tensor import DType

log = logging.getLogger(__name__)

MOST_DIMS = {"tfjs": 6}
"""Target -> dimensions that its elementwise kernels take, where no lowering knows it: TensorFlow.js's types end at six."""


def expand_for_target(target: str) -> Pass:
    """The pass that expands each node the target cannot express as it is and whose op knows a simpler form."""

    def expand_ops(graph: Graph) -> int:
        """Ops the target lacks are written in ops it has, where the op knows how."""
        return for_each_node(graph, lambda inner, node: _expand(inner, node, target))

    return expand_ops


def _expand(graph: Graph, node: Node, target: str) -> int:
    spec = ops.find(node.op)
    if spec is None or not (spec.expand or spec.widens or spec.elementwise or spec.moves is not None):
        return 0
    if any(value.dtype is DType.UNKNOWN for value in node.inputs):
        return decline(log, node, "the type of an input is not known")
    why = _refusal(spec, node, target)
    if why is None:
        return 0
    if _fit(graph, node, spec, target) or move_places(graph, node, spec):
        return 1
    if spec.expand is None or target not in spec.expands_for:
        return decline(log, node, f"{target} has no form of it ({why})")
    split = split_bias(graph, node, spec)
    try:
        expanded = spec.expand(graph, node)
    except Declined as refusal:
        expanded, why = False, f"{why}; {refusal.why}"
        node.attrs[NOT_EXPANDED] = (refusal.why, refusal.remedy)
    if not expanded:
        decline(log, node, f"{target} has no form of it ({why}) and it cannot be written in simpler ops")
        return split
    return 1


def _fit(graph: Graph, node: Node, spec: OpSpec, target: str) -> bool:
    """The node in another element type or with fewer dimensions, where its op allows that and the target takes it then."""

    def accepts(trial: Node) -> bool:
        return _refusal(spec, trial, target) is None

    return (bool(spec.widens) and widen(graph, node, spec, accepts)) or (spec.elementwise and collapse(graph, node, spec, accepts))


def split_activation(graph: Graph, node: Node) -> int:
    """The activation becomes a node of its own, which bears the name: the value of that name is the activated one."""
    activation, value, name = node.attrs.pop("activation"), node.output, node.name
    alpha = {"alpha": node.attrs.pop("activation_alpha")} if "activation_alpha" in node.attrs else {}
    graph.rename(node, graph.unique_name(f"{name}/{node.op}"))
    users, ports = tuple(value.users), [port for port in graph.outputs if port.value is value]
    made = ops.add(graph, activation, (value,), alpha, name=name, origin=node.origin, before=insert_after(graph, node)).output
    for user in dict.fromkeys(users):
        user.set_inputs([made if each is value else each for each in user.inputs])
    for port in ports:
        port.value = made
    return 1


def split_bias(graph: Graph, node: Node, spec: OpSpec) -> int:
    """A fused bias becomes a BiasAdd again: expansions know nothing of it, and `fuse_bias` may fuse it into what comes of them. A
    fused activation comes behind it."""
    if not spec.takes_bias or len(node.inputs) <= spec.bias_at:
        return 0
    if node.get("activation"):
        split_activation(graph, node)
    following = insert_after(graph, node)
    bias = node.inputs[spec.bias_at]
    node.set_inputs(node.inputs[: spec.bias_at])
    name = node.name
    graph.rename(node, graph.unique_name(f"{name}/product"))
    value = node.output
    readers, ports = tuple(value.users), [port for port in graph.outputs if port.value is value]
    added = ops.add(graph, "BiasAdd", (value, bias), name=name, origin=node.origin, before=following).output
    for reader in dict.fromkeys(readers):
        reader.set_inputs([added if each is value else each for each in reader.inputs])
    for port in ports:
        port.value = added
    return 1


def _refusal(spec: OpSpec, node: Node, target: str) -> str | None:
    """Why the target cannot express the node; None if it can."""
    lowering: Callable[[Node], Sequence[Any]] | None = spec.to_tflite if target == "tflite" else spec.to_tfjs
    most = MOST_DIMS.get(target)
    if spec.elementwise and most is not None and any((value.rank or 0) > most for value in (*node.inputs, *node.outputs)):
        return f"its kernels take at most {most} dimensions"
    if lowering is None:
        return "no such operator"
    try:
        lowering(node)
    except Declined as refusal:
        return refusal.why
    except MISFITS as error:  # the writer, which tries again, tells the user
        log.debug("%s (%s) cannot be lowered: %s", node.name, node.op, error)
    return None
