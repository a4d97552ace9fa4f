"""A frozen GraphDef in the shape of VGG-16 (Simonyan and Zisserman, 2014, configuration D): python benchmarks/make_vgg.py TARGET

Its 138,357,544 weights (553 MB) are seeded random numbers, drawn while they are written: making the file takes little memory.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Port, Value
from tensorferry.tensor import CHUNK, Array, DType, Tensor
from tensorferry.writers.graphdef import write_graphdef

BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
"""Convolutions and channels of each block; a 2x2 max pool ends it."""

DENSE = (4096, 4096, 1000)
INPUTS = ("image",)
OUTPUTS = ("probabilities",)


class RandomTensor(Tensor):
    """Normal float32 weights with He's deviation, the same for the same name; drawn again at each reading, never held."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        super().__init__(DType.FLOAT32, shape)
        self.seed = zlib.crc32(name.encode())
        self.deviation = np.float32(np.sqrt(2 / max(1, self.size // shape[-1])))

    def chunks(self, limit: int = CHUNK) -> Iterator[memoryview]:  # noqa: ARG002
        random = np.random.default_rng(self.seed)
        step = CHUNK // 4  # whatever the limit, so that the draws do not depend on it
        for start in range(0, self.size, step):
            piece = random.standard_normal(min(step, self.size - start), np.float32) * self.deviation
            yield piece.data.cast("B")

    def array(self) -> Array:
        return np.frombuffer(b"".join(self.chunks()), np.float32).reshape(self.shape)


def build_vgg(size: int = 224, blocks: tuple[tuple[int, int], ...] = BLOCKS, dense: tuple[int, ...] = DENSE) -> Graph:
    graph = Graph("vgg16")
    value = ops.add(graph, "Placeholder", attrs={"dtype": DType.FLOAT32, "shape": (1, size, size, 3)}, name=INPUTS[0]).output
    graph.inputs = [Port(INPUTS[0], value)]
    for block, (count, channels) in enumerate(blocks, 1):
        for number in range(1, count + 1):
            value = _convolution(graph, f"conv{block}_{number}", value, channels)
        window = {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": "VALID"}
        value = ops.add(graph, "MaxPool", (value,), window, name=f"pool{block}").output
    elements = int(np.prod(value.static_shape or (0,)))
    shape = graph.constant(np.array([-1, elements], np.int32), "flatten/shape")
    value = ops.add(graph, "Reshape", (value, shape), name="flatten").output
    for number, width in enumerate(dense, 6):
        value = _dense(graph, f"fc{number}", value, width)
        if number - 5 < len(dense):
            value = ops.add(graph, "Relu", (value,), name=f"fc{number}/relu").output
    value = ops.add(graph, "Softmax", (value,), name=OUTPUTS[0]).output
    graph.outputs = [Port(OUTPUTS[0], value)]
    return graph


def _convolution(graph: Graph, name: str, value: Value, channels: int) -> Value:
    shape = value.static_shape or ()
    weights = graph.constant(RandomTensor(f"{name}/weights", (3, 3, shape[-1], channels)), f"{name}/weights")
    made = ops.add(graph, "Conv2D", (value, weights), {"strides": [1, 1, 1, 1], "padding": "SAME"}, name=name).output
    return ops.add(graph, "Relu", (_bias(graph, name, made, channels),), name=f"{name}/relu").output


def _dense(graph: Graph, name: str, value: Value, width: int) -> Value:
    shape = value.static_shape or ()
    weights = graph.constant(RandomTensor(f"{name}/weights", (shape[-1], width)), f"{name}/weights")
    return _bias(graph, name, ops.add(graph, "MatMul", (value, weights), name=name).output, width)


def _bias(graph: Graph, name: str, value: Value, width: int) -> Value:
    biases = graph.constant(RandomTensor(f"{name}/biases", (width,)), f"{name}/biases")
    return ops.add(graph, "BiasAdd", (value, biases), name=f"{name}/bias").output


def make_vgg(target: Path) -> None:
    write_graphdef(build_vgg(), target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("target", type=Path, help="the frozen graph to write")
    make_vgg(parser.parse_args().target)
