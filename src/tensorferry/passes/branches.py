"""What is known before an If, Case or While runs: the branch it will take, and the constants that it hands to its graphs."""

from __future__ import annotations

import logging

import numpy as np

from tensorferry.ir import Graph, Node, Value
from tensorferry.ops.functional import branches_of, is_true, splice
from tensorferry.passes.rewriting import decline, discard, for_each_node, live_nodes, small_constant
from tensorferry.passes.shapes import refine_types
from tensorferry.tensor import Array

log = logging.getLogger(__name__)


def take_known_branches(graph: Graph) -> int:
    """An If or Case whose condition is constant becomes the branch it takes."""
    count = for_each_node(graph, _take)
    if count:
        refine_types(graph)
    return count


def _take(graph: Graph, node: Node) -> int:
    if node.op not in ("If", "Case"):
        return 0
    condition, arguments = node.inputs[0], list(node.inputs[1:])
    elements = small_constant(condition)
    if elements is None:
        return decline(log, node, "its condition is not known before it runs")
    branches = branches_of(node)
    results = splice(graph, node, branches[_taken(node, elements, len(branches))], arguments)
    for old, new in zip(node.outputs, results, strict=True):
        graph.replace_uses(old, new)
    discard(graph, node)
    return 1


def _taken(node: Node, elements: Array, count: int) -> int:
    if node.op == "If":
        return 0 if is_true(elements) else 1
    place = int(np.reshape(elements, -1)[0])
    return place if 0 <= place < count else count - 1


def move_constants_inside(graph: Graph) -> int:
    """Constants that branches and bodies are handed stand in them: weights are folded and fused there, none is carried round.

    What a loop carries round unchanged is known behind it too.
    """
    count = 0
    for node in live_nodes(graph):
        if node.op in ("If", "Case"):
            for place, value in enumerate(node.inputs[1:]):
                count += sum(_put_inside(nested, place, value) for _key, nested in node.graphs())
        elif node.op == "While":
            count += _settle_variables(graph, node)
        count += sum(move_constants_inside(nested) for _key, nested in node.graphs())
    return count


def _settle_variables(graph: Graph, node: Node) -> int:
    """The variables of a loop that never change."""
    count, body = 0, node["body"]
    for place, value in enumerate(node.inputs):
        if body.outputs[place].value is not body.inputs[place].value:
            continue
        if graph.readers(node.outputs[place]):
            graph.replace_uses(node.outputs[place], value)
            count += 1
        count += sum(_put_inside(nested, place, value) for _key, nested in node.graphs())
    return count


def _put_inside(nested: Graph, place: int, value: Value) -> int:
    """Let the nodes of a nested graph read a constant of its own in the place of this input; what hands it on stays."""
    tensor, inside = value.constant, nested.inputs[place].value
    if tensor is None or not inside.users:
        return 0
    first = next(node for node in nested.nodes if node.op != "Placeholder")
    constant = nested.constant(tensor, value.producer.name, before=first, origin=value.producer.origin)
    constant.quantization = value.quantization
    for user in dict.fromkeys(inside.users):
        user.set_inputs([constant if each is inside else each for each in user.inputs])
    return 1
