"""A Graph as stable, readable text: for errors, `--dump` and golden tests."""

from __future__ import annotations

import hashlib
from typing import Any

from tensorferry.ir import Graph, Node, Value, format_shape
from tensorferry.tensor import Tensor


def format_graph(graph: Graph, indent: str = "") -> str:
    """One line a node: `name: float32 [1,8,8,3] = Conv2D(x, weights) padding=SAME`. Constants show a digest of their bytes."""
    lines = [f"{indent}input  {port.name} = {_describe(port.value)}" for port in graph.inputs]
    lines += [line for node in graph.nodes for line in _format_node(node, indent)]
    lines += [f"{indent}output {port.name} = {port.value.name}" for port in graph.outputs]
    return "\n".join(lines)


def _format_node(node: Node, indent: str) -> list[str]:
    outputs = ", ".join(_describe(value) for value in node.outputs) or node.name
    inputs = ", ".join(value.name for value in node.inputs)
    nested = [f"{indent}  {key}:\n{format_graph(graph, indent + '    ')}" for key, graph in node.graphs()]
    attrs = "".join(f" {key}={format_attribute(node.attrs[key])}" for key in sorted(node.attrs) if key not in dict(node.graphs()))
    return [f"{indent}{outputs} = {node.op}({inputs}){attrs}", *nested]


def _describe(value: Value) -> str:
    return f"{value.name}: {value.dtype} [{format_shape(value.shape)}]"


def format_attribute(attribute: Any) -> str:
    """An attribute in a few characters; small constants in full, large ones by digest."""
    if isinstance(attribute, Tensor):
        if attribute.size <= 8:
            return str(attribute.array().tolist()).replace(" ", "")
        digest = hashlib.sha256()
        for piece in attribute.chunks():
            digest.update(piece)
        return f"{attribute.dtype}{list(attribute.shape)}#{digest.hexdigest()[:8]}".replace(" ", "")
    if isinstance(attribute, list | tuple):
        return "[" + ",".join(format_attribute(each) for each in attribute) + "]"
    return str(attribute)
