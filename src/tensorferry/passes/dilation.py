"""Dilated convolution as TensorFlow 1 wrote it: SpaceToBatchND, convolution, BatchToSpaceND."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from tensorferry import ops
from tensorferry.ir import Graph, Node
from tensorferry.ops.windows import Axis
from tensorferry.passes.rewriting import decline, discard, for_each_node, integers, made_by, take_over

log = logging.getLogger(__name__)

BETWEEN = frozenset(
    {"BiasAdd", "FusedBatchNormV3", "Relu", "Relu6", "Elu", "LeakyRelu", "Sigmoid", "Tanh", "Identity", "HardSwish"}
)
"""What may stand between the convolution and BatchToSpaceND: it works on each position for itself."""


def fuse_dilated_convolution(graph: Graph) -> int:
    """One convolution with dilations in place of the three."""
    return for_each_node(graph, _fuse)


@dataclass(frozen=True, slots=True)
class Sandwich:
    """SpaceToBatchND, the convolution, what stands between, BatchToSpaceND.

    Over one axis the convolution works on an image of height (or width) 1: ExpandDims before it, Squeeze after it.
    """

    before: Node
    expand: Node | None
    conv: Node
    chain: tuple[Node, ...]

    @property
    def after(self) -> Node:
        return self.chain[-1]

    @property
    def axes(self) -> tuple[int, ...]:
        """Of the image's height (0) and width (1), those that are spread over the batch."""
        if self.expand is None:
            return (0, 1)
        axis = (integers(self.expand.inputs[1]) or [0])[0] % 4
        return {1: (1,), 2: (0,)}.get(axis, ())


def _fuse(graph: Graph, conv: Node) -> int:
    if conv.op not in ("Conv2D", "DepthwiseConv2dNative"):
        return 0
    expand = made_by(conv.inputs[0], "ExpandDims")
    before = (expand or conv).inputs[0].producer
    if before.op != "SpaceToBatchND":
        return 0
    chain = _chain_to_batch_to_space(graph, conv, expand)
    if chain is None:
        return decline(log, conv, "SpaceToBatchND stands before it, but no BatchToSpaceND after it that nobody else reads")
    sandwich = Sandwich(before, expand, conv, tuple(chain))
    why = _misfit(graph, sandwich)
    if why:
        return decline(log, conv, why)
    pads = _pads(sandwich)
    if pads is None:
        return decline(log, conv, "its space-to-batch paddings and crops are not constant or do not match")
    _rewrite(graph, sandwich, pads)
    return 1


def _chain_to_batch_to_space(graph: Graph, conv: Node, expand: Node | None) -> list[Node] | None:
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
        between = reader.op in BETWEEN or (expand is not None and reader.op == "Squeeze" and reader.get("squeeze_dims"))
        if not between or any(value.constant is None for value in reader.inputs[1:]) or reader.get("is_training"):
            return None
        node = reader


def _misfit(graph: Graph, sandwich: Sandwich) -> str:
    """Why it cannot be one; empty if it can."""
    conv, count = sandwich.conv, len(sandwich.axes)
    if conv.get("data_format", "NHWC") != "NHWC" or conv["padding"] != "VALID":
        return "between SpaceToBatchND and BatchToSpaceND it is not channels-last and VALID"
    if any(stride != 1 for stride in conv["strides"]) or any(rate != 1 for rate in conv.get("dilations") or ()):
        return "between SpaceToBatchND and BatchToSpaceND it has a stride or dilation of its own"
    rates = integers(sandwich.before.inputs[1])
    if rates is None or len(rates) != count or integers(sandwich.after.inputs[1]) != rates:
        return "SpaceToBatchND and BatchToSpaceND have different or unknown blocks"
    squeezes = sum(node.op == "Squeeze" for node in sandwich.chain)
    if squeezes != (sandwich.expand is not None) or sandwich.before.inputs[0].rank != sandwich.after.output.rank:
        return "the axis that is put in before it is not taken out after it"
    if sandwich.expand is not None and graph.only_reader(sandwich.expand.output) is not conv:
        return "others read its input"
    return ""


def _pads(sandwich: Sandwich) -> list[tuple[int, int]] | None:
    """Rows and columns of padding around the input that remain after the crops; None if unknown or negative."""
    padded, cropped = integers(sandwich.before.inputs[2]), integers(sandwich.after.inputs[2])
    count = 2 * len(sandwich.axes)
    if padded is None or cropped is None or {len(padded), len(cropped)} != {count}:
        return None
    if sandwich.conv.inputs[1].static_shape is None:
        return None
    left = [pad - crop for pad, crop in zip(padded, cropped, strict=True)]
    pads = [(0, 0), (0, 0)]
    for place, axis in enumerate(sandwich.axes):
        pads[axis] = (left[2 * place], left[2 * place + 1])
    return None if min(left) < 0 else pads


def _rewrite(graph: Graph, sandwich: Sandwich, pads: list[tuple[int, int]]) -> None:
    conv, after, before = sandwich.conv, sandwich.after, sandwich.before
    rates = [1, 1]
    for axis, rate in zip(sandwich.axes, integers(before.inputs[1]) or [], strict=True):
        rates[axis] = rate
    (sandwich.expand or conv).set_input(0, before.inputs[0])
    moved = [*([sandwich.expand] if sandwich.expand is not None else []), conv, *sandwich.chain[:-1]]
    last = moved[-1]
    for node in moved:
        if node is conv:
            conv.attrs["dilations"] = [1, *rates, 1]
            set_padding(conv, pads)
        for value, typed in zip(node.outputs, ops.infer(node), strict=True):
            value.retype(typed)
        if node is not last:
            graph.rename(node, graph.unique_name(f"{node.name}/dilated"))  # the old name stood for other numbers
    conv.origin = conv.origin + before.origin
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
