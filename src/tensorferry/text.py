"""A Graph as stable, readable text: for errors, `--dump` and golden tests."""

from __future__ import annotations

import zlib
from typing import Any

from tensorferry.ir import Graph, Node, Value, format_shape
from tensorferry.tensor import Tensor


def format_graph(graph: Graph, indent: str = "", *, digests: bool = True) -> str:
    """One line a node: `name: float32 [1,8,8,3] = Conv2D(x, weights) padding=SAME`.

    Large constants show a digest of their bytes; without `digests` only type and shape, for texts that must not depend on the
    last bit of a machine's arithmetic.
    """
    lines = [f"{indent}input  {port.name} = {_describe(port.value)}" for port in graph.inputs]
    lines += [line for node in graph.nodes for line in _format_node(node, indent, digests)]
    lines += [f"{indent}output {port.name} = {port.value.name}" for port in graph.outputs]
    return "\n".join(lines)


def _format_node(node: Node, indent: str, digests: bool) -> list[str]:
    outputs = ", ".join(_describe(value) for value in node.outputs) or node.name
    inputs = ", ".join(value.name for value in node.inputs)
    graphs = dict(sorted(node.graphs()))
    nested = [f"{indent}  {key}:\n{format_graph(graph, indent + '    ', digests=digests)}" for key, graph in graphs.items()]
    attrs = "".join(f" {key}={format_attribute(node.attrs[key], digests)}" for key in sorted(node.attrs) if key not in graphs)
    return [f"{indent}{outputs} = {node.op}({inputs}){attrs}", *nested]


def _describe(value: Value) -> str:
    return f"{value.name}: {value.dtype} [{format_shape(value.shape)}]"


def format_attribute(attribute: Any, digests: bool = True) -> str:
    """An attribute in a few characters; small constants in full, large ones by digest."""
    if isinstance(attribute, Tensor):
        if not digests and (attribute.dtype.is_float or attribute.size > 8):
            return f"{attribute.dtype}{list(attribute.shape)}".replace(" ", "")
        if attribute.size <= 8:
            return str(attribute.array().tolist()).replace(" ", "")
        digest = 0
        for piece in attribute.chunks():
            digest = zlib.crc32(piece, digest)
        return f"{attribute.dtype}{list(attribute.shape)}#{digest:08x}".replace(" ", "")
    if isinstance(attribute, list | tuple):
        return "[" + ",".join(format_attribute(each, digests) for each in attribute) + "]"
    text = str(attribute)
    return text if text.isprintable() else repr(text)  # nothing in a model steers the terminal it is shown on
