"""LowerBound and UpperBound: where values would go into sorted rows, before or after their equals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from tensorferry.ir import Graph, Node, Typed
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.spec import Declined, Example, OpSpec, same_in_tfjs
from tensorferry.targets import JsNode
from tensorferry.tensor import Array, DType


def _infer_bound(node: Node) -> list[Typed]:
    return [Typed(node["out_type"], node.inputs[1].shape)]


def _evaluate_bound(node: Node, rows: Array, values: Array) -> Array:
    side: Literal["left", "right"] = "left" if node.op == "LowerBound" else "right"
    found = np.zeros(values.shape, node["out_type"].numpy)
    for place in range(len(values)):
        found[place] = np.searchsorted(rows[place], values[place], side)
    return found


def _expand_bound(graph: Graph, node: Node) -> bool:
    """As many places as elements of the row lie before the value."""
    rows, values = node.inputs
    expansion = Expansion(graph, node)
    spread = expansion.make("ExpandDims", rows, np.array(1, np.int32)), expansion.make("ExpandDims", values, np.array(2, np.int32))
    before = expansion.make("Less" if node.op == "LowerBound" else "LessEqual", *spread)
    return expansion.finish(expansion.make("Sum", expansion.make("Cast", before, DstT=node["out_type"]), np.array([2], np.int32)))


def _js_bound(node: Node) -> list[JsNode]:
    if 0 in (node.inputs[1].shape or ()):
        raise Declined("TensorFlow.js searches for one value at least")
    return same_in_tfjs(node)


def _bound_examples() -> Iterator[Example]:
    rows = np.array([[1, 2, 2, 5], [0, 3, 4, 4]], np.float32)
    values = np.array([[2, -1, 9], [4, 3, 3.5]], np.float32)
    yield Example((rows, values))
    yield Example((rows, values), {"out_type": DType.INT64}, (0,), note="constant rows, 64-bit places")
    yield Example((rows.astype(np.int32), values.astype(np.int32)), note="int32")
    yield Example((rows.astype(np.int64), values.astype(np.int64)), note="int64")
    yield Example((rows, np.zeros((2, 0), np.float32)), note="nothing asked for")


SPECS = tuple(
    OpSpec(
        name=name,
        attrs={"out_type": DType.INT32},
        infer=_infer_bound,
        evaluate=_evaluate_bound,
        expand=_expand_bound,
        to_tfjs=_js_bound,
        examples=_bound_examples,
    )
    for name in ("LowerBound", "UpperBound")
)
