"""Text compared and chosen where a target has no kernel for it: by numbers that stand for the texts."""

from __future__ import annotations

import numpy as np

from tensorferry.ir import Graph, Node, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.sizes import Sizes, count_up, reshape, scalar, times
from tensorferry.ops.spec import Declined
from tensorferry.tensor import DType


def expand_text_equality(graph: Graph, node: Node) -> bool:
    """Against one constant text: a table says of it alone that it is the one."""
    one, other = node.inputs
    text, value = (one, other) if one.constant is not None else (other, one)
    if text.constant is None or text.constant.size != 1 or (text.rank or 0) > (value.rank or 0):
        raise Declined("texts that are both computed cannot be compared", remedy="compare with a constant")
    expansion, same = Expansion(graph, node), node.op == "Equal"
    known = text.constant.array().reshape(1)
    return expansion.finish(expansion.make("TableLookup", value, np.array(not same), known, np.array([same])))


def expand_text_choice(graph: Graph, node: Node) -> bool:
    """Both choices in one row, and the choice made among their places."""
    condition, *choices = node.inputs
    if choices[0].dtype is not DType.STRING or any(value.shape is None for value in choices):
        return False
    expansion, row = Expansion(graph, node), np.array([-1], np.int32)
    counts = [times(expansion, *Sizes(expansion, value).all()) for value in choices]
    first, second = (
        reshape(expansion, count_up(expansion, count), Sizes(expansion, value).all())
        for count, value in zip(counts, choices, strict=True)
    )
    places: Value = expansion.make(node.op, condition, first, expansion.make("AddV2", second, scalar(expansion, counts[0])))
    flat = (expansion.make("Reshape", value, row) for value in choices)
    joined = expansion.make("ConcatV2", *flat, np.array(0, np.int32))
    return expansion.finish(expansion.make("GatherNd", joined, expansion.make("ExpandDims", places, np.array(-1, np.int32))))
