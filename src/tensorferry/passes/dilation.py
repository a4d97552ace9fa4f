"""Dilated convolution as TensorFlow 1 wrote it: SpaceToBatchND, convolution, BatchToSpaceND."""

from __future__ import annotations

import logging

from tensorferry import ops
from tensorferry.ir import Graph, Node
from tensorferry.ops.windows import Axis
from tensorferry.passes.rewriting import decline, discard, for_each_node, integers, take_over

log = logging.getLogger(__name__)

BETWEEN = frozenset(
    {"BiasAdd", "FusedBatchNormV3", "Relu", "Relu6", "Elu", "LeakyRelu", "Sigmoid", "Tanh", "Identity", "HardSwish"}
)
"""What may stand between the convolution and BatchToSpaceND: it works on each position for itself."""


def fuse_dilated_convolution(graph: Graph) -> int:
    """One convolution with dilations in place of the three."""
    return for_each_node(graph, _fuse)


def _fuse(graph: Graph, conv: Node) -> int:
    if conv.op not in ("Conv2D", "DepthwiseConv2dNative"):
        return 0
    before = conv.inputs[0].producer
    if before.op != "SpaceToBatchND":
        return 0
    chain = _chain_to_batch_to_space(graph, conv)
    if chain is None:
        return decline(log, conv, "SpaceToBatchND stands before it, but no BatchToSpaceND after it that nobody else reads")
    why = _misfit(conv, before, chain[-1])
    if why:
        return decline(log, conv, why)
    pads = _pads(conv, before, chain[-1])
    if pads is None:
        return decline(log, conv, "its space-to-batch paddings and crops are not constant or do not match")
    _rewrite(graph, conv, before, chain, pads)
    return 1


def _chain_to_batch_to_space(graph: Graph, conv: Node) -> list[Node] | None:
    """The nodes after the convolution up to BatchToSpaceND, each the only reader of the one before."""
    chain: list[Node] = []
    node = conv
    while True:
        reader = graph.only_reader(node.outputs[0])
        if reader is None or reader.inputs[0] is not node.outputs[0]:
            return None
        chain.append(reader)
        if reader.op == "BatchToSpaceND":
            return chain
        if reader.op not in BETWEEN or any(value.constant is None for value in reader.inputs[1:]) or reader.get("is_training"):
            return None
        node = reader


def _misfit(conv: Node, before: Node, after: Node) -> str:
    """Why the three cannot be one; empty if they can."""
    if conv.get("data_format", "NHWC") != "NHWC" or conv["padding"] != "VALID":
        return "between SpaceToBatchND and BatchToSpaceND it is not channels-last and VALID"
    if any(stride != 1 for stride in conv["strides"]) or any(rate != 1 for rate in conv.get("dilations") or ()):
        return "between SpaceToBatchND and BatchToSpaceND it has a stride or dilation of its own"
    rates = integers(before.inputs[1])
    if rates is None or len(rates) != 2 or integers(after.inputs[1]) != rates:
        return "SpaceToBatchND and BatchToSpaceND have different or unknown blocks"
    return ""


def _pads(conv: Node, before: Node, after: Node) -> list[tuple[int, int]] | None:
    """Rows and columns of padding around the input that remain after the crops; None if unknown or negative."""
    padded, cropped = integers(before.inputs[2]), integers(after.inputs[2])
    if padded is None or cropped is None or len(padded) != 4 or len(cropped) != 4 or conv.inputs[1].static_shape is None:
        return None
    pads = [pad - crop for pad, crop in zip(padded, cropped, strict=True)]
    return None if min(pads) < 0 else [(pads[0], pads[1]), (pads[2], pads[3])]


def _rewrite(graph: Graph, conv: Node, before: Node, chain: list[Node], pads: list[tuple[int, int]]) -> None:
    rates = integers(before.inputs[1]) or [1, 1]
    conv.set_input(0, before.inputs[0])
    conv.attrs["dilations"] = [1, *rates, 1]
    set_padding(conv, pads)
    conv.origin = conv.origin + before.origin
    after = chain[-1]
    last = chain[-2] if len(chain) > 1 else conv
    for node in [conv, *chain[:-1]]:
        for value, typed in zip(node.outputs, ops.infer(node), strict=True):
            value.retype(typed)
        if node is not last:
            graph.rename(node, graph.unique_name(f"{node.name}/dilated"))  # the old name stood for other numbers
    discard(graph, before)
    if len(last.outputs) == 1:
        take_over(graph, last, after)
        return
    last.origin = last.origin + after.origin  # a batch norm: its other outputs are not read
    graph.replace_uses(after.output, last.outputs[0])
    discard(graph, after)


def set_padding(conv: Node, pads: list[tuple[int, int]]) -> None:
    """Give a channels-last convolution these rows and columns of zeros: VALID or SAME where that says the same, else EXPLICIT."""
    shape, filters = conv.inputs[0].shape, conv.inputs[1].static_shape
    assert filters is not None
    strides, rates = conv["strides"], conv.get("dilations") or [1, 1, 1, 1]
    axes = [Axis(filters[at], strides[at + 1], rates[at + 1], "EXPLICIT", pads[at]) for at in (0, 1)]
    conv.attrs["explicit_paddings"] = []
    if all(pad == (0, 0) for pad in pads):
        conv.attrs["padding"] = "VALID"
    elif shape is not None and all(axis.is_same(dim) for axis, dim in zip(axes, shape[1:3], strict=True)):
        conv.attrs["padding"] = "SAME"
    else:
        conv.attrs["padding"] = "EXPLICIT"
        conv.attrs["explicit_paddings"] = [0, 0, *pads[0], *pads[1], 0, 0]
