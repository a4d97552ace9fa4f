"""Text compared and chosen where a target has no kernel for it: by numbers that stand for the texts."""

from __future__ import annotations

import numpy as np

from tensorferry.ir import Graph, Node, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.sizes import Sizes, count_up, reshape, scalar, times
from tensorferry.ops.spec import Declined
from tensorferry.tensor import DType


def expand_text_equality(graph: Graph, node: Node) -> bool:
    """Against constant texts: a table gives each of them a number, and any other text another one."""
    one, other = node.inputs
    text, value = (one, other) if one.constant is not None else (other, one)
    if text.constant is None:
        raise Declined("texts that are both computed are compared as they are")
    expansion, constant = Expansion(graph, node), text.constant.array()
    known = list(dict.fromkeys(constant.reshape(-1).tolist()))
    numbers = np.array([known.index(each) for each in constant.reshape(-1).tolist()], np.int32).reshape(constant.shape)
    table = np.array(known, object), np.arange(len(known), dtype=np.int32)
    found = expansion.make("TableLookup", value, np.array(-1, np.int32), *table)
    return expansion.finish(expansion.make(node.op, found, numbers))


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
