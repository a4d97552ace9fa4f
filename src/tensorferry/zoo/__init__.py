"""Models that the tool builds by itself, as Graphs: MobileNetV1 and PoseNet."""

from tensorferry.zoo.mobilenet_v1 import Architecture, build_mobilenet_v1
from tensorferry.zoo.posenet import build_posenet
from tensorferry.zoo.weights import FolderWeights, RandomWeights, Weights, find_weights

__all__ = ["Architecture", "FolderWeights", "RandomWeights", "Weights", "build_mobilenet_v1", "build_posenet", "find_weights"]
