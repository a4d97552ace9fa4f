"""Transposes between reshapes: axes that only travel together need not be told apart."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Node, Value
from tensorferry.ops.dims import multiply_dims
from tensorferry.ops.shape import reshape_target
from tensorferry.passes.reshapes import RELABELLING, permutation_of
from tensorferry.passes.rewriting import decline, for_each_node, made_by, take_over

log = logging.getLogger(__name__)


def join_transposed_axes(graph: Graph) -> int:
    """reshape, transpose, reshape: axes that stay neighbours are one axis for the transpose, which runtimes do faster.

    Shuffling channels between groups is such: [n, h, w, g, c] -> [n, h, w, c, g] needs three axes, not five.
    """
    return for_each_node(graph, _join)


def _join(graph: Graph, node: Node) -> int:
    permutation = permutation_of(node)
    if permutation is None:
        return 0
    source = node.inputs[0]
    before, after = made_by(source, "Reshape"), graph.only_reader(node.output)
    if before is None or after is None or after.op not in RELABELLING or source.shape is None:
        return 0
    runs = neighbours(permutation)
    starts = sorted(runs)
    order = [starts.index(run) for run in runs]
    inner = tuple(multiply_dims(source.shape[axis] for axis in run) for run in starts)
    targets = reshape_target(inner), reshape_target(after.output.shape)
    if len(runs) == len(permutation) or targets[0] is None or targets[1] is None:
        return 0
    if graph.only_reader(source) is not node:
        return decline(log, node, "others read what it transposes")
    joined = _reshape(graph, node, before.inputs[0], targets[0], f"{before.name}/joined")
    axes = graph.constant(np.asarray(order, np.int32), f"{node.name}/joined_axes", before=node, origin=node.origin)
    origin = node.origin + before.origin
    moved = ops.add(graph, "Transpose", [joined, axes], name=f"{node.name}/joined", origin=origin, before=node)
    restored = _reshape(graph, after, moved.output, targets[1], f"{after.name}/restored")
    take_over(graph, restored.producer, after)
    return 1


def neighbours(axes: Sequence[int]) -> list[list[int]]:
    """Axes that follow each other before and after: [0, 3, 4, 1, 2] -> [[0], [3, 4], [1, 2]]."""
    runs: list[list[int]] = []
    for axis in axes:
        if runs and runs[-1][-1] + 1 == axis:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    return runs


def _reshape(graph: Graph, before: Node, value: Value, sizes: Sequence[int], name: str) -> Value:
    target = graph.constant(np.asarray(sizes, np.int32), f"{name}/shape", before=before, origin=before.origin)
    return ops.add(graph, "Reshape", [value, target], name=name, origin=before.origin, before=before).output
