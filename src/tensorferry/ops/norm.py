"""Normalisation: batch norm in all its versions, local response normalisation, and L2Normalize, which only a pass makes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.kernels import FLOATS, LiteKernel
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec, same_as_input, same_in_tfjs
from tensorferry.ops.windows import require_channels_last, require_float32
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import Array, ArrayTensor, DType, Tensor

# -- FusedBatchNormV3 ----------------------------------------------------------------------------------------------


LAYOUTS = {"NHWC": (4, 3), "NCHW": (4, 1), "NDHWC": (5, 4), "NCDHW": (5, 1)}
"""Layout -> rank of the data, and which axis the channels are."""


def _layout(node: Node) -> tuple[int, int]:
    layout = node["data_format"]
    if layout not in LAYOUTS:
        raise Declined(f"the data format {layout} is not known", attributes=f"data_format={layout}")
    return LAYOUTS[layout]


def _rank(node: Node) -> int:
    return _layout(node)[0]


def _channel_axis(node: Node) -> int:
    return _layout(node)[1]


def _infer_fused(node: Node) -> list[Typed]:
    """Six outputs for every version: older nodes have five, of which each means the same."""
    value, scale = node.inputs[:2]
    if value.rank not in (None, _rank(node)):
        raise Declined(f"its input has rank {value.rank}, not {_rank(node)}")
    channels: Dim = UNKNOWN_DIM if value.shape is None else value.shape[_channel_axis(node)]
    if scale.shape is not None and len(scale.shape) == 1 and isinstance(scale.shape[0], int):
        if isinstance(channels, int) and channels != scale.shape[0]:
            raise Declined(f"{channels} channels come in, its scale has {scale.shape[0]} elements")
        channels = scale.shape[0]
    vector = Typed(scale.dtype, (channels,))
    return [Typed(value.dtype, value.shape), vector, vector, vector, vector, Typed(scale.dtype, (0,))]


def _evaluate_fused(node: Node, array: Array, scale: Array, offset: Array, mean: Array, variance: Array) -> tuple[Array, ...]:
    axis = _channel_axis(node)
    if array.ndim != _rank(node) or any(each.shape != (array.shape[axis],) for each in (scale, offset)):
        raise Declined(f"its input must have rank {_rank(node)}, its scale and offset one element a channel")
    real = array.astype(np.float32, copy=False) if array.dtype == np.float16 else array
    reserved, moved = (mean, variance), (mean, variance)
    if node["is_training"]:
        (mean, variance), moved = _batch_statistics(node, real, mean, variance)
        reserved = (mean, variance)
    shape = [-1 if each == axis else 1 for each in range(array.ndim)]
    slope = scale / np.sqrt(variance + np.float32(node["epsilon"]))
    result = (real - mean.reshape(shape)) * slope.reshape(shape) + offset.reshape(shape)
    return result.astype(array.dtype, copy=False), *moved, *reserved, np.empty(0, np.float32)


def _batch_statistics(node: Node, array: Array, mean: Array, variance: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Mean and variance of this batch, and the running ones after it; only the running variance is the unbiased one."""
    axis = _channel_axis(node)
    outer = tuple(each for each in range(array.ndim) if each != axis)
    now, spread = array.mean(axis=outer), array.var(axis=outer)
    count = array.size // max(array.shape[axis], 1)
    unbiased = spread * np.float32(count / max(count - 1, 1))
    factor = np.float32(node["exponential_avg_factor"])
    if factor == 1:
        return (now, spread), (now, unbiased)
    return (now, spread), ((1 - factor) * mean + factor * now, (1 - factor) * variance + factor * unbiased)


def _refuse_fused(node: Node) -> Sequence[LiteOp]:
    if node["is_training"]:
        raise Declined(
            "it is in training mode, and its statistics are read",
            remedy="freeze the model for inference",
            attributes="is_training=True",
        )
    raise Declined("TFLite has no batch normalisation; its parts have different types or outputs nobody can give")


def _js_fused(node: Node) -> Sequence[JsNode]:
    require_channels_last(node)
    require_float32(node)
    if node["is_training"]:
        raise Declined("TensorFlow.js normalises by given statistics only", attributes="is_training=True")
    attrs = {"T": DType.FLOAT32, "U": DType.FLOAT32, "epsilon": float(node["epsilon"])}
    attrs |= {"data_format": "NHWC", "is_training": False}
    mean, variance = node.inputs[3:]
    empty = ArrayTensor(np.empty(0, np.float32))
    given: tuple[Value | Tensor, ...] = (mean, variance, mean, variance, empty)
    copies = [
        JsNode("Identity", (each,), (output,), {"T": each.dtype}) for each, output in zip(given, node.outputs[1:], strict=True)
    ]
    return [JsNode(node.op, tuple(node.inputs), (node.outputs[0],), attrs), *copies]


def _expand_fused(graph: Graph, node: Node) -> bool:
    value, *vectors = node.inputs
    if any(each.dtype is not value.dtype for each in vectors) and not _all_constant(vectors):
        return False
    read = [graph.readers(each) > 0 for each in node.outputs]
    parts = Expansion(graph, node)
    if node["is_training"]:
        return _expand_training(parts, any(read[1:]))
    slope, shift = _constant_affine(parts) if _all_constant(vectors) else _computed_affine(parts)
    scaled = parts.make("Mul", value, slope)
    result = parts.make("AddV2", scaled, shift)
    mean, variance = vectors[2:]
    return parts.finish(result, mean, variance, mean, variance, *_reserved(parts))


def _reserved(parts: Expansion) -> list[Value]:
    """The sixth output, which means something on graphics cards only: on a CPU it is empty."""
    read = any(parts.graph.readers(each) for each in parts.node.outputs[5:])
    return [parts.constant(np.empty(0, np.float32), "reserved")] if read else []


def _all_constant(vectors: Sequence[Value]) -> bool:
    return all(each.constant is not None for each in vectors)


def _constant_affine(parts: Expansion) -> tuple[Value, Value]:
    """Slope and shift, computed now, shaped to stretch over the image."""
    node = parts.node
    tensors = [each.constant for each in node.inputs[1:]]
    scale, offset, mean, variance = (each.array().astype(np.float64) for each in tensors if each is not None)
    with np.errstate(invalid="ignore"):  # a negative variance makes NaN, here as there
        slope = scale / np.sqrt(variance + float(node["epsilon"]))
    shape = (-1, *[1] * (_rank(node) - 2)) if _channel_axis(node) == 1 else (-1,)
    dtype = node.inputs[0].dtype.numpy
    shift = offset - mean * slope
    return (
        parts.constant(slope.astype(dtype).reshape(shape), "slope"),
        parts.constant(shift.astype(dtype).reshape(shape), "shift"),
    )


def _computed_affine(parts: Expansion) -> tuple[Value, Value]:
    """The same, while the model runs."""
    _, scale, offset, mean, variance = parts.node.inputs
    inverse = parts.make("Rsqrt", parts.make("AddV2", variance, float(parts.node["epsilon"])))
    slope = parts.make("Mul", scale, inverse)
    shift = parts.make("Sub", offset, parts.make("Mul", mean, slope))
    return _over_image(parts, slope), _over_image(parts, shift)


def _over_image(parts: Expansion, vector: Value) -> Value:
    """One element a channel, shaped so that it stretches over the node's image."""
    if _channel_axis(parts.node) != 1:
        return vector
    return parts.make("Reshape", vector, np.asarray([-1, *[1] * (_rank(parts.node) - 2)], np.int32))


def _expand_training(parts: Expansion, statistics: bool) -> bool:
    """Statistics of the batch itself: group and instance normalisation are often written so."""
    node = parts.node
    value, scale, offset = node.inputs[:3]
    shape = value.static_shape
    if scale.dtype is not value.dtype or offset.dtype is not value.dtype:
        return False
    if statistics and (shape is None or node["exponential_avg_factor"] != 1):
        return False
    outer = np.asarray([each for each in range(_rank(node)) if each != _channel_axis(node)], np.int32)
    mean = parts.make("Mean", value, outer, keep_dims=True)
    centred = parts.make("Sub", value, mean)
    variance = parts.make("Mean", parts.make("Square", centred), outer, keep_dims=True)
    inverse = parts.make("Rsqrt", parts.make("AddV2", variance, float(node["epsilon"])))
    scaled = parts.make("Mul", parts.make("Mul", centred, inverse), _over_image(parts, scale))
    result = parts.make("AddV2", scaled, _over_image(parts, offset))
    if not statistics or shape is None:
        return parts.finish(result)
    vector = np.asarray([-1], np.int32)
    mean, variance = (parts.make("Reshape", each, vector) for each in (mean, variance))
    count = math.prod(shape) // max(shape[_channel_axis(node)], 1)
    unbiased = parts.make("Mul", variance, count / max(count - 1, 1))
    return parts.finish(result, mean, unbiased, mean, variance, *_reserved(parts))


# -- BatchNormWithGlobalNormalization --------------------------------------------------------------------------------


def _evaluate_global(node: Node, array: Array, mean: Array, variance: Array, beta: Array, gamma: Array) -> Array:
    slope = 1 / np.sqrt(variance + np.asarray(node["variance_epsilon"], array.dtype))
    if node["scale_after_normalization"]:
        slope = slope * gamma
    result: Array = (array - mean) * slope + beta
    return result


def _refuse_global(node: Node) -> Sequence[LiteOp]:
    raise Declined("its gamma has an unknown size", attributes=f"op={node.op}")


def _expand_global(graph: Graph, node: Node) -> bool:
    """The same as FusedBatchNormV3, with the operands in another order."""
    parts = Expansion(graph, node)
    value, mean, variance, beta, gamma = node.inputs
    if not node["scale_after_normalization"]:
        if gamma.static_shape is None:
            return False
        gamma = parts.constant(np.ones(gamma.static_shape, gamma.dtype.numpy), "ones")
    attrs = {"epsilon": node["variance_epsilon"], "is_training": False, "T": value.dtype, "U": gamma.dtype}
    return parts.finish(parts.make("FusedBatchNormV3", value, gamma, beta, mean, variance, **attrs))


# -- LRN -----------------------------------------------------------------------------------------------------------


def _evaluate_local(node: Node, array: Array) -> Array:
    """Each element divided by a power of the squares around it along the channels."""
    radius = max(int(node["depth_radius"]), 0)
    squares = np.square(array.astype(np.float32, copy=False))
    total = squares.copy()
    for distance in range(1, min(radius, array.shape[-1] - 1) + 1):
        total[..., distance:] += squares[..., :-distance]
        total[..., :-distance] += squares[..., distance:]
    base = np.float32(node["bias"]) + np.float32(node["alpha"]) * total
    result: Array = array * np.power(base, np.float32(-node["beta"]))
    return result


def _lite_local(node: Node) -> Sequence[LiteOp]:
    require_float32(node)
    options = {"radius": int(node["depth_radius"])} | {key: float(node[key]) for key in ("bias", "alpha", "beta")}
    return [LiteOp("LOCAL_RESPONSE_NORMALIZATION", tuple(node.inputs), tuple(node.outputs), options)]


# -- examples ------------------------------------------------------------------------------------------------------


def _vectors(channels: int) -> tuple[Array, ...]:
    """Scale, offset, mean, variance."""
    scale, offset, mean, variance = sample(4, channels)
    return scale, offset, mean, np.square(variance) + np.float32(0.1)


def _fused_examples() -> Iterator[Example]:
    image, constant = sample(2, 5, 7, 4), (1, 2, 3, 4)
    given = {"is_training": False, "epsilon": 0.001}
    first = {"data_format": "NCHW"}
    yield Example((image, *_vectors(4)), given, constant, note="given statistics")
    yield Example((image, *_vectors(4)), given, (), note="computed statistics")
    yield Example((sample(2, 4, 5, 7), *_vectors(4)), given | first, constant, note="channels first")
    yield Example((sample(2, 4, 5, 7), *_vectors(4)), given | first, (), note="channels first, computed")
    yield Example((image, *_vectors(4)), {"epsilon": 0.01}, constant, note="statistics of the batch")


def _global_examples() -> Iterator[Example]:
    scale, offset, mean, variance = _vectors(4)
    inputs = (sample(2, 5, 7, 4), mean, variance, offset, scale)
    for scaled in (True, False):
        attrs = {"variance_epsilon": 0.001, "scale_after_normalization": scaled}
        yield Example(inputs, attrs, (1, 2, 3, 4), note="with gamma" if scaled else "without gamma")


def _local_examples() -> Iterator[Example]:
    yield Example((sample(2, 3, 4, 9),), {}, note="defaults")
    yield Example((sample(1, 3, 4, 7),), {"depth_radius": 2, "bias": 2.0, "alpha": 1e-2, "beta": 0.75}, note="as AlexNet")


# -- L2Normalize ---------------------------------------------------------------------------------------------------

SMALLEST_SQUARE = 1e-12
"""What tf.math.l2_normalize takes at least for the sum of squares; TFLite's kernel takes its root for the norm."""


def _evaluate_unit(_node: Node, array: Array) -> Array:
    """Along the last axis, x / sqrt(max(sum(x ** 2), SMALLEST_SQUARE))."""
    squares = np.sum(np.square(array), axis=-1, keepdims=True)
    return np.asarray(array / np.sqrt(np.maximum(squares, array.dtype.type(SMALLEST_SQUARE))))


def _expand_unit(graph: Graph, node: Node) -> bool:
    parts, x = Expansion(graph, node), node.inputs[0]
    axis = parts.constant(np.asarray(-1, np.int32), "axis")
    total = parts.make("Sum", parts.make("Square", x), axis, keep_dims=True)
    return parts.finish(parts.make("Mul", x, parts.make("Rsqrt", parts.make("Maximum", total, SMALLEST_SQUARE))))


def _unit_examples() -> Iterator[Example]:
    yield Example((sample(3, 8),))
    yield Example((np.zeros((1, 4), np.float32),), note="nothing to scale")
    yield Example((sample(2, 3, 4, 5),), note="channels")


_FUSED_ATTRS = {"epsilon": 0.0001, "exponential_avg_factor": 1.0, "data_format": "NHWC", "is_training": True}

SPECS = (
    OpSpec(
        name="FusedBatchNormV3",
        aliases=("FusedBatchNorm", "FusedBatchNormV2"),
        attrs={**_FUSED_ATTRS, "T": DType.FLOAT32, "U": DType.FLOAT32},
        infer=_infer_fused,
        evaluate=_evaluate_fused,
        to_tflite=_refuse_fused,
        to_tfjs=_js_fused,
        expand=_expand_fused,
        examples=_fused_examples,
    ),
    OpSpec(
        name="BatchNormWithGlobalNormalization",
        attrs={"T": DType.FLOAT32},
        infer=same_as_input,
        evaluate=_evaluate_global,
        to_tflite=_refuse_global,
        expand=_expand_global,
        examples=_global_examples,
    ),
    OpSpec(
        name="LRN",
        attrs={"depth_radius": 5, "bias": 1.0, "alpha": 1.0, "beta": 0.5, "T": DType.FLOAT32},
        infer=same_as_input,
        evaluate=_evaluate_local,
        to_tflite=_lite_local,
        to_tfjs=same_in_tfjs,
        examples=_local_examples,
    ),
    OpSpec(
        name="L2Normalize",
        infer=same_as_input,
        evaluate=_evaluate_unit,
        to_tflite=LiteKernel("L2_NORMALIZATION", FLOATS, most_dims=4),
        expand=_expand_unit,
        examples=_unit_examples,
    ),
)
