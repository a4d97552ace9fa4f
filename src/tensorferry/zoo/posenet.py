"""PoseNet on MobileNetV1 (Papandreou et al., 2018; weights by Google, for TensorFlow.js): four heads on the backbone's features.

The image is expected as x / 127.5 - 1; that is done outside of the graph.
"""

from __future__ import annotations

from dataclasses import replace

from tensorferry.ir import Graph, Port
from tensorferry.zoo.mobilenet_v1 import LAYERS, SCOPE, Architecture, Assembly, backbone_variables
from tensorferry.zoo.weights import RandomWeights, Weights

HEADS = {"heatmap_2": 17, "offset_2": 34, "displacement_fwd_2": 32, "displacement_bwd_2": 32}
"""Name -> channels. 17 parts; 2 offsets a part; 2 displacements for each of the 16 edges of the tree of parts."""

OUTPUTS = ("heatmap", "offset_2", "displacement_fwd_2", "displacement_bwd_2")

NARROW_LAYERS = (*LAYERS[:12], (512, 1), (512, 1))
"""The published models of less than full width end in two blocks that neither widen nor stride."""

DEFAULT = Architecture(multiplier=0.75, resolution=(337, 337), output_stride=16)

# The order in which the project's first converter, which this tool replaces, listed the weights. It came from a hash table
# whose seed is unknown, so it follows no rule and is kept as data: layer numbers with d, p (depthwise, pointwise) or nothing
# for the first convolution, or a head; then w or b (weights, biases).
_WEIGHT_ORDER = """
3p.b 1p.b displacement_fwd_2.w 5p.b 1d.w 13d.w 8d.w 1p.w 2d.b 9d.w offset_2.w 12d.w 4d.b 6d.w 6p.b 12d.b 5d.b 8p.w 0.b 7p.w 2p.w
heatmap_2.w 9p.b 7p.b 7d.w heatmap_2.b 10p.b 13p.w 6d.b 10d.w 3d.w 8p.b 11d.b 5p.w 4d.w 0.w 2d.w 7d.b 10d.b 6p.w 11d.w 1d.b
displacement_bwd_2.b 3d.b 13p.b displacement_fwd_2.b 9p.w 12p.w offset_2.b 8d.b displacement_bwd_2.w 11p.w 13d.b 11p.b 10p.w 4p.b
2p.b 9d.b 4p.w 12p.b 5d.w 3p.w
"""


def weight_order() -> list[str]:
    """Names of all weights in the order of the graph."""
    return [_full_name(*short.split(".")) for short in _WEIGHT_ORDER.split()]


def _full_name(layer: str, role: str) -> str:
    kind = {"w": "weights", "b": "biases"}[role]
    if layer in HEADS:
        return f"{SCOPE}/{layer}/{kind}"
    if layer.endswith("d"):
        return f"{SCOPE}/Conv2d_{layer[:-1]}_depthwise/{'depthwise_weights' if role == 'w' else kind}"
    return f"{SCOPE}/Conv2d_{layer[:-1]}_pointwise/{kind}" if layer.endswith("p") else f"{SCOPE}/Conv2d_{layer}/{kind}"


def posenet_variables(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Name -> shape of all weights of an architecture of PoseNet's."""
    shapes = backbone_variables(architecture)
    features = architecture.layers()[-1].channels
    for head, channels in HEADS.items():
        shapes[f"{SCOPE}/{head}/weights"] = (1, 1, features, channels)
        shapes[f"{SCOPE}/{head}/biases"] = (channels,)
    return shapes


def build_posenet(architecture: Architecture = DEFAULT, weights: Weights | None = None) -> Graph:
    """Input `image`, outputs as in OUTPUTS. Seeded random weights unless others are given.

    The table of layers is PoseNet's own for that width. SourceError when the weights do not fit.
    """
    architecture = replace(architecture, table=NARROW_LAYERS if architecture.multiplier < 1 else LAYERS)
    assembly = Assembly("posenet", posenet_variables(architecture), weight_order(), weights or RandomWeights())
    features = assembly.backbone(assembly.image(architecture), architecture)
    values = {head: assembly.pointwise(features, f"{SCOPE}/{head}", head) for head in HEADS}
    values["heatmap"] = assembly.activate("Sigmoid", values["heatmap_2"], "heatmap")
    assembly.graph.outputs = [Port(name, values[name]) for name in OUTPUTS]
    return assembly.graph
