"""Per-channel scaling and shifting after a convolution or matrix product, folded into its weights and bias.

Batch normalisation with constant statistics, BiasAdd, and Mul/RealDiv/AddV2/Sub/Neg with a constant per channel are all
y = scale * x + shift. A chain of them is composed in float64 and rounded once; weights are scaled lazily, as a view.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Node, Value
from tensorferry.passes.rewriting import SMALL_BYTES, decline, discard, for_each_node, made_by, take_over
from tensorferry.tensor import Array, ArrayTensor, DType, ScaledTensor, Tensor

log = logging.getLogger(__name__)

LARGEST_SCALE = 1e18
"""Weights of ordinary size times this still fit into float32; a larger scale comes from a variance of about zero."""

LARGEST_CHANNELS = 1 << 20
"""Constants beyond this are not per-channel parameters of any real network."""


@dataclass(frozen=True, slots=True)
class Affine:
    """y = scale * x + shift; float64, each of one element or one for each channel of the last axis."""

    scale: Array
    shift: Array

    def then(self, other: Affine) -> Affine:
        with np.errstate(all="ignore"):  # a result that is not finite is declined
            return Affine(self.scale * other.scale, self.shift * other.scale + other.shift)

    @property
    def only_shifts(self) -> bool:
        return bool(np.all(self.scale == 1))

    @property
    def is_safe(self) -> bool:
        """Finite, and small enough for the scaled weights to stay finite."""
        return bool(
            np.all(np.isfinite(self.scale)) and np.all(np.isfinite(self.shift)) and np.all(np.abs(self.scale) < LARGEST_SCALE)
        )


def fold_batch_norm(graph: Graph) -> int:
    """Chains with a scale in them go into weights and bias."""
    return for_each_node(graph, lambda inner, node: _absorb_chain(inner, node, scaling=True))


def fuse_bias(graph: Graph) -> int:
    """Chains that only shift become the bias; the weights are not touched."""
    return for_each_node(graph, lambda inner, node: _absorb_chain(inner, node, scaling=False))


def _absorb_chain(graph: Graph, node: Node, *, scaling: bool) -> int:
    spec = ops.find(node.op)
    if spec is None or not spec.takes_bias or len(node.inputs) < spec.bias_at or node.get("activation"):
        return 0
    channels = node.output.shape[-1] if node.output.shape else None
    if not isinstance(channels, int) or node.get("data_format", "NHWC") != "NHWC" or not node.output.dtype.is_float:
        return 0
    chain, total = _follow(graph, node, channels)
    if not chain or total.only_shifts == scaling:
        return 0
    if not total.is_safe:
        return decline(log, chain[-1], "its scale or shift is not finite or far too large to be put into weights")
    if not _apply(graph, node, spec.bias_at, total, channels):
        return decline(log, node, "its weights or bias are not constant")
    _take_over_chain(graph, node, chain)
    return len(chain)


def _take_over_chain(graph: Graph, node: Node, chain: Sequence[Node]) -> None:
    """`node` now makes what the last of the chain made; all of the chain go."""
    for link in chain[:-1]:
        node.origin = node.origin + link.origin
    take_over(graph, node, chain[-1])


def _follow(graph: Graph, node: Node, channels: int) -> tuple[list[Node], Affine]:
    """The affine nodes after `node`, each the only reader of the one before."""
    chain: list[Node] = []
    total = Affine(np.ones(1), np.zeros(1))
    value = node.output
    while (reader := graph.only_reader(value)) is not None:
        step = _step(graph, reader, value, channels)
        if step is None:
            break
        total = total.then(step)
        chain.append(reader)
        value = reader.outputs[0]
    return chain, total


def _step(graph: Graph, reader: Node, value: Value, channels: int) -> Affine | None:
    """The reader as an affine function that keeps the value's shape, if it is one and nothing else of it is read."""
    step = None if reader.get("activation") else affine_of(reader, value)
    if step is None or reader.outputs[0].shape != value.shape or any(graph.readers(other) for other in reader.outputs[1:]):
        return None
    if not {step.scale.size, step.shift.size} <= {1, channels}:
        return None
    return step


def fold_scale_before(graph: Graph) -> int:
    """A constant factor that only a convolution or matrix product reads goes into its weights; zeros of padding stay zeros."""
    return for_each_node(graph, _absorb_scale_before)


def _absorb_scale_before(graph: Graph, node: Node) -> int:
    if node.op not in ("Conv2D", "DepthwiseConv2dNative", "MatMul") or node.get("transpose_a"):
        return 0
    value, weights = node.inputs[0], node.inputs[1].constant
    before = made_by(value, "Mul", "RealDiv")
    if before is None or weights is None or graph.only_reader(value) is not node or node.get("data_format", "NHWC") != "NHWC":
        return 0
    source = next((each for each in before.inputs if each.constant is None), None)
    step = affine_of(before, source) if source is not None else None
    if source is None or step is None or source.shape != value.shape:
        return 0
    inner, channels = _incoming(node, weights.shape)
    if (
        not step.is_safe
        or step.scale.size not in (1, channels)
        or (step.scale.size > 1 and (value.shape or ())[-1:] != (channels,))
    ):
        return decline(log, before, f"its factors cannot be put into the weights of '{node.name}'")
    previous = node.inputs[1].producer
    node.set_input(1, _constant_like(graph, node, node.inputs[1], _small_in_memory(ScaledTensor(weights, step.scale, inner))))
    node.set_input(0, source)
    node.origin = node.origin + before.origin
    discard(graph, before, previous)
    return 1


def _incoming(node: Node, shape: tuple[int, ...]) -> tuple[int, int]:
    """How many elements of the weights lie behind one step of the incoming channel, and how many such channels there are."""
    if node.op == "MatMul":
        return (1, shape[1]) if node.get("transpose_b") else (shape[1], shape[0])
    return shape[3], shape[2]  # HWIO, HWIM


def _apply(graph: Graph, node: Node, bias_at: int, affine: Affine, channels: int) -> bool:
    """Write the affine function into the node's weights and bias; False if they are computed at run time."""
    weights = node.inputs[1].constant
    biased = len(node.inputs) > bias_at
    bias = node.inputs[bias_at].constant if biased else None
    if (weights is None and not affine.only_shifts) or (biased and bias is None):
        return False
    old_bias = np.zeros(channels) if bias is None else bias.array().astype(np.float64)
    new_bias = np.broadcast_to(old_bias * affine.scale + affine.shift, (channels,))
    inputs = list(node.inputs[:bias_at])
    if weights is not None and not affine.only_shifts:
        inputs[1] = _constant_like(graph, node, inputs[1], _scaled(node, weights, affine.scale))
    if bias is not None or np.any(new_bias != 0):
        dtype = node.output.dtype
        tensor = ArrayTensor(new_bias.astype(dtype.numpy), dtype)
        inputs.append(graph.constant(tensor, f"{node.name}/bias", before=node, origin=node.origin))
    previous = [value.producer for value in node.inputs[1:]]
    node.set_inputs(inputs)
    discard(graph, *previous)
    return True


def _constant_like(graph: Graph, node: Node, value: Value, tensor: Tensor) -> Value:
    producer = value.producer
    return graph.constant(tensor, f"{producer.name}/scaled", before=node, origin=producer.origin)


def _scaled(node: Node, weights: Tensor, scale: Array) -> Tensor:
    """The weights with each output channel multiplied."""
    return _small_in_memory(ScaledTensor(weights, scale, _inner(node, weights.shape) if scale.size > 1 else 1))


def _small_in_memory(tensor: Tensor) -> Tensor:
    return ArrayTensor(tensor.array(), tensor.dtype) if tensor.nbytes <= SMALL_BYTES else tensor


def _inner(node: Node, shape: tuple[int, ...]) -> int:
    """How many elements of the weights lie behind one step of the output channel."""
    if node.op == "Conv2DBackpropInput" or node.get("transpose_b") or node.get("adj_y"):  # HWOI, [..., out, in]
        return shape[-1]
    return 1  # HWIO; depthwise HWIM, whose channel is I * M + m; [..., in, out]


# -- what a node does to its input ---------------------------------------------------------------------------------


def affine_of(node: Node, value: Value) -> Affine | None:
    """The node as a function of `value`, one of its inputs, over channels on the last axis; None if it is no such function."""
    if node.op == "FusedBatchNormV3":
        return _batch_norm(node, value)
    if node.op == "BatchNormWithGlobalNormalization":
        return _global_batch_norm(node, value)
    if node.op == "Neg":
        return Affine(-np.ones(1), np.zeros(1))
    if node.op == "BiasAdd":
        if node.get("data_format", "NHWC") != "NHWC" or node.inputs[0] is not value:
            return None
        bias = _channel_array(node.inputs[1], value)
        return None if bias is None else Affine(np.ones(1), bias)
    return _arithmetic(node, value)


def _arithmetic(node: Node, value: Value) -> Affine | None:
    if node.op not in ("AddV2", "Sub", "Mul", "RealDiv") or node.inputs.count(value) != 1:
        return None
    first = node.inputs[0] is value
    constant = _channel_array(node.inputs[1 if first else 0], value)
    if constant is None:
        return None
    one, zero = np.ones(1), np.zeros(1)
    if node.op == "AddV2":
        return Affine(one, constant)
    if node.op == "Sub":
        return Affine(one, -constant) if first else Affine(-one, constant)
    if node.op == "Mul":
        return Affine(constant, zero)
    if not first:
        return None
    with np.errstate(divide="ignore"):
        return Affine(1 / constant, zero)


def _batch_norm(node: Node, value: Value) -> Affine | None:
    if node.get("is_training") or node.get("data_format", "NHWC") != "NHWC" or node.inputs[0] is not value:
        return None
    parameters = [_channel_array(each, value) for each in node.inputs[1:5]]
    if any(each is None for each in parameters):
        return None
    gamma, beta, mean, variance = (each for each in parameters if each is not None)
    return _normalise(gamma, beta, mean, variance, node["epsilon"])


def _global_batch_norm(node: Node, value: Value) -> Affine | None:
    if node.inputs[0] is not value:
        return None
    parameters = [_channel_array(each, value) for each in node.inputs[1:5]]
    if any(each is None for each in parameters):
        return None
    mean, variance, beta, gamma = (each for each in parameters if each is not None)
    scaled = gamma if node.get("scale_after_normalization") else np.ones(1)
    return _normalise(scaled, beta, mean, variance, node["variance_epsilon"])


def _normalise(gamma: Array, beta: Array, mean: Array, variance: Array, epsilon: float) -> Affine:
    with np.errstate(all="ignore"):  # a result that is not finite is declined
        scale = gamma / np.sqrt(variance + epsilon)
        return Affine(scale, beta - mean * scale)


def _channel_array(value: Value, partner: Value) -> Array | None:
    """A constant that varies along the last axis only and does not widen its partner, in float64 and flat."""
    tensor = value.constant
    if tensor is None or not tensor.dtype.is_float or tensor.dtype is DType.BFLOAT16 or tensor.size > LARGEST_CHANNELS:
        return None
    if partner.rank is None or len(tensor.shape) > partner.rank or math.prod(tensor.shape[:-1]) != 1 or not tensor.size:
        return None
    return tensor.array().astype(np.float64).reshape(-1)
