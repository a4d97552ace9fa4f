"""Things that stand in the graph twice."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any

from tensorferry import ops
from tensorferry.ir import Graph, Node, Value
from tensorferry.passes.rewriting import SMALL_BYTES, discard
from tensorferry.tensor import CastTensor, DType, FileTensor, ReshapedTensor, Tensor, TransposedTensor

log = logging.getLogger(__name__)


def merge_duplicate_constants(graph: Graph) -> int:
    """Constants of the same type, shape and content become one; large ones are known by where they lie, not by content."""
    return _merge(graph, _constant_key)


def merge_duplicate_nodes(graph: Graph) -> int:
    """Pure nodes of the same op over the same inputs with the same attributes become one."""
    return _merge(graph, _node_key)


def _merge(graph: Graph, key_of: Any) -> int:
    first: dict[Hashable, Node] = {}
    changes = 0
    for node in tuple(graph.nodes):
        changes += sum(_merge(nested, key_of) for _key, nested in node.graphs())
        key = key_of(node)
        if key is None:
            continue
        keeper = first.setdefault(key, node)
        if keeper is not node and not any(graph.is_output(value) for value in node.outputs):
            for kept, gone in zip(keeper.outputs, node.outputs, strict=True):
                graph.replace_uses(gone, kept)
            if node.op != "Const":
                keeper.origin = keeper.origin + node.origin
            discard(graph, node)
            changes += 1
    return changes


def _constant_key(node: Node) -> Hashable:
    if node.op != "Const" or node.output.quantization is not None:
        return None
    tensor: Tensor = node["value"]
    if tensor.nbytes <= SMALL_BYTES and tensor.dtype is not DType.STRING:
        return (tensor.dtype, tensor.shape, b"".join(tensor.chunks()))
    return _place(tensor)


def _place(tensor: Tensor) -> Hashable:
    """Where a large constant's elements come from, or the tensor itself."""
    head = (type(tensor), tensor.dtype, tensor.shape)
    if isinstance(tensor, FileTensor):
        return (*head, tensor.file, tensor.offset)
    if isinstance(tensor, TransposedTensor):
        return (*head, tensor.permutation, _place(tensor.base))
    if isinstance(tensor, ReshapedTensor | CastTensor):
        return (*head, _place(tensor.base))
    return (*head, id(tensor))


def _node_key(node: Node) -> Hashable:
    spec = ops.find(node.op)
    if spec is None or not spec.pure or node.op in ("Const", "Identity") or not node.outputs:
        return None
    if any(value.quantization is not None for value in node.outputs):
        return None
    attrs = _attributes_key(node.attrs)
    return None if attrs is None else (node.op, node.inputs, attrs)


def _attributes_key(attrs: Mapping[str, Any]) -> Hashable:
    frozen = []
    for name in sorted(attrs):
        if name.startswith("_"):
            continue
        if isinstance(attrs[name], Graph | Tensor | Value):
            return None
        frozen.append((name, repr(attrs[name])))
    return tuple(frozen)
