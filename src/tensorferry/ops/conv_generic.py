"""Conv: the op that stands for a convolution of any rank, written as Conv2D or Conv3D."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Node, Typed
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType


def _plain(node: Node, rank: int | None) -> tuple[str, dict[str, Any]]:
    """The op and its attributes for an input of that rank."""
    if rank not in (4, 5):
        raise Declined(f"its input has rank {rank}, not 4 or 5")
    if node["batch_dims"] != 1 or node["data_format"] not in ("CHANNELS_LAST", "CHANNELS_FIRST"):
        raise Declined("it has several batch axes or an unknown layout", attributes=f"batch_dims={node['batch_dims']}")
    last = node["data_format"] == "CHANNELS_LAST"
    layout = {4: ("NCHW", "NHWC"), 5: ("NCDHW", "NDHWC")}[rank][last]
    attrs = {"strides": list(node["strides"]), "padding": node["padding"], "data_format": layout}
    attrs["dilations"] = list(node["dilations"]) or [1] * rank
    if node["padding"] == "EXPLICIT":
        if rank == 5:
            raise Declined("explicit padding of volumes is not known")
        attrs["explicit_paddings"] = list(node["explicit_paddings"])
    return ("Conv2D" if rank == 4 else "Conv3D"), attrs


def _rank(node: Node) -> int | None:
    value, weights = node.inputs[:2]
    return value.rank if value.rank is not None else weights.rank


def _infer(node: Node) -> list[Typed]:
    if _rank(node) is None:
        return [Typed(node.inputs[0].dtype, None)]
    op, attrs = _plain(node, _rank(node))
    op, attrs = ops.canonical(op, attrs)
    probe = Node(node.name, op, node.inputs, attrs, ())
    try:
        return list(ops.infer(probe))
    finally:
        probe.set_inputs(())


def _evaluate(node: Node, array: Array, weights: Array) -> Array:
    op, attrs = _plain(node, array.ndim)
    op, attrs = ops.canonical(op, attrs)
    spec = ops.find(op)
    assert spec is not None and spec.evaluate is not None
    return np.asarray(spec.evaluate(Node(node.name, op, (), attrs, ()), array, weights))


def _expand(graph: Graph, node: Node) -> bool:
    op, attrs = _plain(node, _rank(node))
    parts = Expansion(graph, node)
    return parts.finish(parts.make(op, *node.inputs, **attrs))


def _examples() -> Iterator[Example]:
    attrs = {"strides": [1, 2, 1, 1], "padding": "SAME"}
    yield Example((sample(2, 7, 9, 4), sample(3, 3, 4, 5)), attrs, (1,), note="images")
    dilated = {"strides": [1] * 4, "padding": "VALID", "dilations": [1, 2, 1, 1]}
    yield Example((sample(2, 7, 9, 4), sample(3, 3, 4, 5)), dilated, (1,), note="dilated")
    yield Example((sample(1, 4, 5, 6, 3), sample(2, 2, 2, 3, 4)), {"strides": [1] * 5, "padding": "SAME"}, (1,), note="volumes")


SPECS = (
    OpSpec(
        name="Conv",
        attrs={
            "explicit_paddings": (),
            "data_format": "CHANNELS_LAST",
            "dilations": (),
            "batch_dims": 1,
            "groups": 1,
            "T": DType.FLOAT32,
        },
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        examples=_examples,
    ),
)
