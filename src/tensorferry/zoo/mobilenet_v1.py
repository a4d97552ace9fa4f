"""MobileNetV1 (Howard et al., 2017): a convolution and 13 depthwise-separable blocks, with a classifier or as a backbone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tensorferry import ops
from tensorferry.errors import OptionError
from tensorferry.ir import Graph, Port, Value
from tensorferry.tensor import DType
from tensorferry.zoo.weights import RandomWeights, Weights

SCOPE = "MobilenetV1"
LAYERS = (
    (32, 2),
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)
"""(channels at full width, stride) of the first convolution and of the 13 blocks: table 1 of the paper.

The table prints a stride of 2 for the last block too; its sizes, and every implementation, have 1.
"""

OUTPUT_STRIDES = (8, 16, 32)
LEAST_CHANNELS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Width and geometry. `resolution` is (height, width) in pixels; `output_stride` is by how much the features are smaller;
    `table` has the form of LAYERS."""

    multiplier: float = 1.0
    resolution: tuple[int, int] = (224, 224)
    output_stride: int = 32
    table: tuple[tuple[int, int], ...] = LAYERS

    def __post_init__(self) -> None:
        if not 0 < self.multiplier <= 4:
            raise OptionError(f"the width multiplier must lie above 0 and not above 4, not {self.multiplier}")
        if self.output_stride not in OUTPUT_STRIDES:
            raise OptionError(f"the output stride cannot be {self.output_stride}", remedy="choose 8, 16 or 32")
        if math.prod(stride for _, stride in self.table) < self.output_stride:
            raise OptionError(f"these layers do not reach the output stride {self.output_stride}", remedy="choose 8 or 16")
        if len(self.resolution) != 2 or not all(1 <= size <= 1 << 14 for size in self.resolution):
            raise OptionError(f"the resolution cannot be {self.resolution}", remedy="give height and width, 1 to 16384")

    def layers(self) -> list[Layer]:
        """The backbone's layers. Once the wanted stride is reached, later strides become dilations of what follows."""
        layers, stride, rate = [], 1, 1
        for channels, step in self.table:
            if stride == self.output_stride:
                layers.append(Layer(self.channels(channels), 1, rate))
                rate *= step
            else:
                layers.append(Layer(self.channels(channels), step, 1))
                stride *= step
        return layers

    def channels(self, full: int) -> int:
        return max(int(full * self.multiplier), LEAST_CHANNELS)


@dataclass(frozen=True, slots=True)
class Layer:
    """One convolution or block: output channels, stride, dilation."""

    channels: int
    stride: int
    rate: int


def backbone_variables(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the backbone's weights, in the order of the layers."""
    first, *blocks = architecture.layers()
    shapes: dict[str, tuple[int, ...]] = {
        f"{SCOPE}/Conv2d_0/weights": (3, 3, 3, first.channels),
        f"{SCOPE}/Conv2d_0/biases": (first.channels,),
    }
    channels = first.channels
    for number, block in enumerate(blocks, 1):
        shapes[f"{SCOPE}/Conv2d_{number}_depthwise/depthwise_weights"] = (3, 3, channels, 1)
        shapes[f"{SCOPE}/Conv2d_{number}_depthwise/biases"] = (channels,)
        shapes[f"{SCOPE}/Conv2d_{number}_pointwise/weights"] = (1, 1, channels, block.channels)
        shapes[f"{SCOPE}/Conv2d_{number}_pointwise/biases"] = (block.channels,)
        channels = block.channels
    return shapes


class Assembly:
    """A graph being put together, with the short node names a TensorFlow session gives: Conv2D, Conv2D_1, ..."""

    def __init__(self, name: str, shapes: Mapping[str, tuple[int, ...]], order: Sequence[str], weights: Weights) -> None:
        """Adds the variables as constants, each followed by the Identity that a frozen variable leaves."""
        self.graph = Graph(name)
        self._variables: dict[str, Value] = {}
        for variable in order:
            constant = self.graph.constant(weights.tensor(variable, shapes[variable]), variable)
            self._variables[variable] = ops.add(self.graph, "Identity", (constant,), name=f"{variable}/read").output

    def image(self, architecture: Architecture) -> Value:
        shape = (1, *architecture.resolution, 3)
        value = ops.add(self.graph, "Placeholder", attrs={"dtype": DType.FLOAT32, "shape": shape}, name="image").output
        self.graph.inputs = [Port("image", value)]
        return value

    def backbone(self, image: Value, architecture: Architecture) -> Value:
        """The features, 1/output_stride as large as the image (rounded up)."""
        first, *blocks = architecture.layers()
        convolved = self._convolve("Conv2D", image, f"{SCOPE}/Conv2d_0/weights", first)
        biased = ops.add(self.graph, "AddV2", (convolved, self._variables[f"{SCOPE}/Conv2d_0/biases"]), name="add").output
        value = self.activate("Relu6", biased)
        for number, block in enumerate(blocks, 1):
            scope = f"{SCOPE}/Conv2d_{number}"
            value = self._convolve("DepthwiseConv2dNative", value, f"{scope}_depthwise/depthwise_weights", block)
            value = self.activate("Relu6", self._add_bias(value, f"{scope}_depthwise/biases"))
            value = self.activate("Relu6", self.pointwise(value, f"{scope}_pointwise"))
        return value

    def pointwise(self, value: Value, scope: str, name: str | None = None) -> Value:
        """A 1x1 convolution with bias."""
        convolved = self._convolve("Conv2D", value, f"{scope}/weights", Layer(0, 1, 1))
        return self._add_bias(convolved, f"{scope}/biases", name)

    def activate(self, op: str, value: Value, name: str | None = None) -> Value:
        return ops.add(self.graph, op, (value,), name=name).output

    def _convolve(self, op: str, value: Value, weights: str, layer: Layer) -> Value:
        attrs = {
            "strides": (1, layer.stride, layer.stride, 1),
            "dilations": (1, layer.rate, layer.rate, 1),
            "padding": "SAME",
            "data_format": "NHWC",
        }
        name = {"DepthwiseConv2dNative": "depthwise"}.get(op, op)
        return ops.add(self.graph, op, (value, self._variables[weights]), attrs, name=name).output

    def _add_bias(self, value: Value, biases: str, name: str | None = None) -> Value:
        return ops.add(
            self.graph, "BiasAdd", (value, self._variables[biases]), {"data_format": "NHWC"}, name=name or "BiasAdd"
        ).output


def build_mobilenet_v1(architecture: Architecture | None = None, weights: Weights | None = None, classes: int = 1001) -> Graph:
    """The classifier: input `image`, output `probabilities` (1, classes). Seeded random weights unless others are given."""
    architecture = architecture or Architecture()
    if not 1 <= classes <= 1 << 20:
        raise OptionError(f"there cannot be {classes} classes")
    shapes = backbone_variables(architecture)
    features = architecture.layers()[-1].channels
    shapes[f"{SCOPE}/Logits/weights"] = (1, 1, features, classes)
    shapes[f"{SCOPE}/Logits/biases"] = (classes,)
    assembly = Assembly("mobilenet_v1", shapes, list(shapes), weights or RandomWeights())
    graph = assembly.graph
    value = assembly.backbone(assembly.image(architecture), architecture)
    axes = graph.constant(np.array([1, 2], np.int32), "pool/axes")
    value = ops.add(graph, "Mean", (value, axes), {"keep_dims": True}, name="pool").output
    value = assembly.pointwise(value, f"{SCOPE}/Logits", "logits")
    value = ops.add(graph, "Squeeze", (value,), {"squeeze_dims": (1, 2)}, name="squeeze").output
    graph.outputs = [Port("probabilities", assembly.activate("Softmax", value, "probabilities"))]
    return graph
