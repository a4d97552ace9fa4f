"""A Graph as a binary frozen GraphDef, written in a stream: weights go from where they lie to the target and are never held."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, BinaryIO

from tensorferry import ops
from tensorferry.errors import TargetError
from tensorferry.ir import Graph, Node
from tensorferry.tensor import DType
from tensorferry.wire.protobuf import Message
from tensorferry.wire.tensorflow import FunctionRef, GraphDef, NodeDef, encode_entry
from tensorferry.writers.atomic import atomic_file

PRODUCER = 27
"""GraphDef version written: new enough for every op here, old enough that TensorFlow 1.12 and later take it."""

_LAST_VERSION = {"BatchNormWithGlobalNormalization": 8}
"""Ops that TensorFlow takes in graphs of old versions only, and the last of these."""

MAX_BYTES = (1 << 31) - 1
"""No protocol-buffer library reads a longer message."""


_TYPE_ATTRIBUTES: dict[str, dict[str, int]] = {
    **{op: {} for op in ("IdentityN", "LogicalAnd", "LogicalNot", "LogicalOr")},
    **{op: {"T": 1} for op in ("Concat", "Conv2DBackpropInput", "Select", "SelectV2", "Split")},
    **{op: {"T": 0, "Tidx": 1} for op in ("ArgMax", "ArgMin", "BroadcastTo", "Max", "Mean", "Min", "Prod", "Sum")},
    **{op: {"T": 0, "Tpaddings": 1} for op in ("MirrorPad", "Pad", "PadV2")},
    **{op: {"T": 0, "Index": 1} for op in ("Slice", "StridedSlice")},
    **{op: {"Tidx": 1} for op in ("All", "Any")},
    **{op: {"Tparams": 0, "Tindices": 1} for op in ("Gather", "GatherNd")},
    "GatherV2": {"Tparams": 0, "Tindices": 1, "Taxis": 2},
    "BatchToSpaceND": {"T": 0, "Tblock_shape": 1, "Tcrops": 2},
    "SpaceToBatchND": {"T": 0, "Tblock_shape": 1, "Tpaddings": 2},
    "Cast": {"SrcT": 0},
    "ConcatV2": {"T": 0, "Tidx": -1},
    "ExpandDims": {"T": 0, "Tdim": 1},
    "Fill": {"T": 1, "index_type": 0},
    "FusedBatchNormV3": {"T": 0, "U": 1},
    "OneHot": {"T": 2, "TI": 0},
    "PlaceholderWithDefault": {"dtype": 0},
    "Range": {"Tidx": 0},
    "Reshape": {"T": 0, "Tshape": 1},
    "SplitV": {"T": 0, "Tlen": 1},
    "Tile": {"T": 0, "Tmultiples": 1},
    "TopKV2": {"T": 0, "Tk": 1},
    "Transpose": {"T": 0, "Tperm": 1},
}
"""Op -> attribute -> the input whose type TensorFlow wants there; T of the first input for all others. A node that was read has
them; one that was built, or whose inputs were changed, need not."""

_INT32_BY_DEFAULT = frozenset(
    {"Tidx", "Tpaddings", "Tblock_shape", "Tcrops", "Tdim", "index_type", "Tshape", "Tmultiples", "Tk", "Tperm"}
)
"""Of these, the ones that may be left out for int32; older TensorFlows do not know all of them."""

_COUNTED = {"AddN": 0, "Pack": 0, "Concat": 1, "ConcatV2": 1}
"""Ops whose number of inputs TensorFlow wants as N, and how many inputs are not counted."""


def write_graphdef(graph: Graph, target: str | os.PathLike[str], sources: Iterable[str | os.PathLike[str]] = ()) -> int:
    """Write the graph to a file that appears whole or not at all; returns its size. The same graph gives the same bytes."""
    message = encode_graph(graph)
    with atomic_file(target, sources) as file:
        _drain(message, file)
    return message.size


def serialize_graphdef(graph: Graph) -> bytes:
    """The graph's bytes in memory, for graphs known to be small."""
    return b"".join(encode_graph(graph).chunks())


def _drain(message: Message, file: BinaryIO) -> None:
    for chunk in message.chunks():
        file.write(chunk)


def encode_graph(graph: Graph) -> Message:
    """The graph as a message that draws the weights when it is written. TargetError for what a frozen GraphDef cannot hold."""
    message = Message()
    for node in graph.nodes:
        message.message(GraphDef.NODE, _encode_node(node))
    versions = Message()
    versions.varint(1, min((_LAST_VERSION.get(node.op, PRODUCER) for node in graph.nodes), default=PRODUCER))
    message.message(GraphDef.VERSIONS, versions)
    if message.size > MAX_BYTES:
        raise TargetError(
            f"the graph takes {message.size} bytes, a GraphDef holds at most {MAX_BYTES}",
            remedy="convert it to TensorFlow Lite or TensorFlow.js, which can be larger",
        )
    return message


def _encode_node(node: Node) -> Message:
    _refuse_inexpressible(node)
    message = Message()
    message.data(NodeDef.NAME, node.name)
    message.data(NodeDef.OP, node.op)
    for value in node.inputs:
        message.data(NodeDef.INPUT, value.name)
    for name in node.controls:
        message.data(NodeDef.INPUT, f"^{name}")
    attrs = _attributes(node)
    for key in sorted(attrs):
        message.message(NodeDef.ATTR, encode_entry(key, attrs[key]))
    return message


def _attributes(node: Node) -> dict[str, Any]:
    attrs = {key: each for key, each in node.attrs.items() if each is not None or "shape" in key}
    if node.op == "Const":
        attrs["dtype"] = node["value"].dtype
    elif node.inputs and ops.find(node.op) is not None:
        for key, index in _TYPE_ATTRIBUTES.get(node.op, {"T": 0}).items():
            dtype = node.inputs[index].dtype
            implied = dtype is DType.INT32 and key in _INT32_BY_DEFAULT and key not in attrs
            if dtype is not DType.UNKNOWN and not implied:
                attrs[key] = dtype
    if node.op == "IdentityN":
        attrs.setdefault("T", [value.dtype for value in node.inputs])
    if node.op == "Print":
        attrs.setdefault("U", [value.dtype for value in node.inputs[1:]])
    if node.op in _COUNTED:
        attrs.setdefault("N", len(node.inputs) - _COUNTED[node.op])
    return attrs


def _refuse_inexpressible(node: Node) -> None:
    spec = ops.find(node.op)
    if node.get("activation") or (spec is not None and spec.takes_bias and len(node.inputs) > spec.bias_at):
        raise TargetError(
            f"node '{node.name}' ({node.op}) carries a fused bias or activation, which a GraphDef cannot hold",
            remedy="write the graph before the passes that fuse",
        )
    nested = [key for key, _ in node.graphs()]
    called = [each.name for each in node.attrs.values() if isinstance(each, FunctionRef)]
    if nested or called:
        raise TargetError(
            f"node '{node.name}' ({node.op}) calls {', '.join(called or nested)}",
            why="functions cannot be written to a GraphDef yet",
            remedy="choose inputs and outputs with plain ops between them",
        )
