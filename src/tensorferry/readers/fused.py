"""Fused ops that graph optimisers and TensorFlow.js's converter leave behind, written apart again as they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tensorferry.errors import SourceError
from tensorferry.ir import Graph, Origin, Value
from tensorferry.readers.typing import add_tolerantly

PRODUCTS = {
    "_FusedConv2D": "Conv2D",
    "_FusedDepthwiseConv2dNative": "DepthwiseConv2dNative",
    "_FusedMatMul": "MatMul",
}
"""Fused op -> the op it begins with; `fused_ops` lists what follows, whose further inputs stand behind the product's two."""

_ACTIVATIONS = {
    "Relu": "Relu",
    "Relu6": "Relu6",
    "Elu": "Elu",
    "Tanh": "Tanh",
    "Sigmoid": "Sigmoid",
    "LeakyRelu": "LeakyRelu",
    "Prelu": "PRelu",
    "GeluApproximate": "Gelu",
    "GeluExact": "Gelu",
}
_KEPT = ("strides", "padding", "explicit_paddings", "data_format", "dilations", "transpose_a", "transpose_b")


def write_apart(graph: Graph, name: str, op: str, inputs: Sequence[Value], attrs: Mapping[str, Any]) -> Value:
    """Add the product and what was fused to it; the last node bears the name. SourceError for what nobody fuses."""
    origin = Origin((name,), op)
    steps = [each.decode() if isinstance(each, bytes) else str(each) for each in attrs.get("fused_ops") or []]
    rest = list(inputs[2:])
    kept = {key: tuple(attrs[key]) if isinstance(attrs[key], list) else attrs[key] for key in _KEPT if key in attrs}
    value = add_tolerantly(graph, PRODUCTS[op], inputs[:2], kept, f"{name}/product", origin).outputs[0]
    for step in steps:
        value = _follow(graph, name, origin, step, value, rest, attrs)
    graph.rename(value.producer, name)
    return value


def _follow(graph: Graph, name: str, origin: Origin, step: str, value: Value, rest: list[Value], attrs: Mapping[str, Any]) -> Value:
    """One step behind a product; it takes its further inputs from `rest`."""

    def take(count: int) -> list[Value]:
        if len(rest) < count:
            raise SourceError(f"node '{name}' fuses {step}, whose input is missing")
        taken, rest[:count] = rest[:count], []
        return taken

    layout = {"data_format": attrs["data_format"]} if "data_format" in attrs else {}
    if step == "BiasAdd":
        return add_tolerantly(graph, "BiasAdd", [value, *take(1)], layout, f"{name}/bias", origin).outputs[0]
    if step == "FusedBatchNorm":
        norm = {"epsilon": attrs.get("epsilon", 1e-4), "is_training": False, **layout}
        return add_tolerantly(graph, "FusedBatchNormV3", [value, *take(4)], norm, f"{name}/norm", origin).outputs[0]
    if step not in _ACTIVATIONS:
        raise SourceError(f"node '{name}' fuses {step}, which is not known", remedy="start from the model before it was optimised")
    options: dict[str, Any] = {}
    if step == "LeakyRelu":
        options = {"alpha": attrs.get("leakyrelu_alpha", 0.2)}
    elif step.startswith("Gelu"):
        options = {"approximate": step == "GeluApproximate"}
    more = take(1) if step == "Prelu" else []
    return add_tolerantly(graph, _ACTIVATIONS[step], [value, *more], options, f"{name}/activation", origin).outputs[0]
