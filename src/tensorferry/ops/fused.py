"""TensorFlow.js's fused ops: how a bias and an activation are handed to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorferry.ir import Node
from tensorferry.ops.spec import LITE_ACTIVATIONS, Declined
from tensorferry.targets import JsNode, Ref
from tensorferry.tensor import DType, FilledTensor

JS_FUSED_ACTIVATIONS = frozenset({"Relu", "Relu6", "Elu", "LeakyRelu", "Sigmoid"})
"""What the plain, WebGL and WebAssembly backends all apply inside a fused op."""


FUSED_ACTIVATION_EXAMPLES: tuple[tuple[str, dict[str, float]], ...] = (
    *((name, {}) for name in sorted(JS_FUSED_ACTIVATIONS | set(LITE_ACTIVATIONS))),
    ("LeakyRelu", {"activation_alpha": 0.3}),
)
"""Every activation that an op of some target fuses."""


def js_maybe_fused(
    node: Node, fused: str, attrs: dict[str, Any], channels: int, output: Ref, activations: frozenset[str] = JS_FUSED_ACTIVATIONS
) -> JsNode:
    """The plain op, or the fused one when the node carries a bias or an activation.

    The executor looks for the activation behind the bias, so a fused op has a bias always.
    """
    inputs: tuple[Ref, ...] = tuple(node.inputs)
    activation = node.get("activation")
    if len(inputs) == 2 and not activation:
        return JsNode(node.op, inputs, (output,), attrs)
    if activation and activation not in activations:
        raise Declined(f"TensorFlow.js does not fuse {activation} into it", attributes=f"activation={activation}")
    if len(inputs) == 2:
        inputs = (*inputs, FilledTensor(np.zeros(1, np.float32), DType.FLOAT32, (channels,)))
    fusion = {
        "fused_ops": ["BiasAdd", *([activation] if activation else [])],
        "num_args": 1,
        "epsilon": 0.0,
        "leakyrelu_alpha": float(node.get("activation_alpha", 0.2)),
    }
    return JsNode(fused, inputs, (output,), attrs | fusion)
