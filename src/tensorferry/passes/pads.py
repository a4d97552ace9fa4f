"""Zeros padded around an image right before a convolution, which can do that by itself."""

from __future__ import annotations

import logging

from tensorferry.ir import Graph, Node
from tensorferry.passes.dilation import set_padding
from tensorferry.passes.rewriting import decline, discard, for_each_node, integers, number

log = logging.getLogger(__name__)


def merge_pads(graph: Graph) -> int:
    """Pad before a convolution without SAME padding becomes the convolution's own: SAME where exact, else EXPLICIT."""
    return for_each_node(graph, _merge)


def _merge(graph: Graph, conv: Node) -> int:
    if conv.op not in ("Conv2D", "DepthwiseConv2dNative") or conv.inputs[0].producer.op not in ("Pad", "PadV2"):
        return 0
    pad = conv.inputs[0].producer
    if conv.get("data_format", "NHWC") != "NHWC" or conv["padding"] == "SAME" or conv.inputs[1].static_shape is None:
        return decline(log, conv, f"Pad '{pad.name}' cannot be added to its own padding")
    amounts = _zeros_around(pad)
    if amounts is None:
        return decline(log, conv, f"Pad '{pad.name}' does not put a known number of zeros around the image")
    own = conv["explicit_paddings"] if conv["padding"] == "EXPLICIT" else [0] * 8
    total = [amount + mine for amount, mine in zip(amounts, own, strict=True)]
    kept = dict(conv.attrs)
    conv.set_input(0, pad.inputs[0])
    set_padding(conv, [(total[2], total[3]), (total[4], total[5])])
    if conv["padding"] == "EXPLICIT" and graph.readers(pad.output):
        conv.attrs = kept
        conv.set_input(0, pad.output)
        return decline(log, conv, f"Pad '{pad.name}' is read by others too and is not what SAME would do")
    conv.origin = conv.origin + pad.origin
    discard(graph, pad)
    return 1


def _zeros_around(pad: Node) -> list[int] | None:
    """Eight numbers, none for batch and channels; None if they are not so or not known."""
    amounts = integers(pad.inputs[1])
    if amounts is None or len(amounts) != 8 or any(amounts[:2] + amounts[6:]) or min(amounts) < 0:
        return None
    return None if pad.op == "PadV2" and number(pad.inputs[2]) != 0 else amounts
