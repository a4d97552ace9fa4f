"""Batch, layer, group, instance and other normalisation, as one op and written out."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ops.case import Array, Family, floats

raw = tf.raw_ops


def _parameters(channels: int) -> tuple[Array, Array, Array, Array]:
    return (
        floats(channels, low=0.5, high=2),
        floats(channels, seed=1),
        floats(channels, seed=2),
        floats(channels, low=0.5, high=2, seed=3),
    )


def _fused(x: tf.Tensor, op: str = "FusedBatchNormV3", channels: int = 3, **others: object) -> tf.Tensor:
    scale, offset, mean, variance = _parameters(channels)
    arguments = {"scale": scale, "offset": offset, "mean": mean, "variance": variance, "is_training": False} | others
    return getattr(raw, op)(x=x, **arguments)[0]


def _training(x: tf.Tensor, op: str, **others: object) -> list[tf.Tensor]:
    scale, offset, _, _ = _parameters(3)
    none = np.zeros(0, np.float32)
    return list(getattr(raw, op)(x=x, scale=scale, offset=offset, mean=none, variance=none, is_training=True, **others)[:3])


def add_cases(family: Family) -> None:
    for op in ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"):
        family.add(op, lambda x, op=op: _fused(x, op), floats(2, 3, 4, 3))
        family.add(op, lambda x, op=op: _fused(x, op), floats(2, 3, 4, 3), unknown="batch")
        family.add(f"{op}_epsilon", lambda x, op=op: _fused(x, op, epsilon=0.1), floats(1, 3, 4, 3))
        family.add(f"{op}_training", lambda x, op=op: _training(x, op), floats(2, 3, 4, 3))
        family.add(f"{op}_training_first", lambda x, op=op: _training(x, op)[0], floats(2, 3, 4, 3), unknown="batch")
        family.add(
            f"{op}_NCHW",
            lambda x, op=op: _fused(x, op, data_format="NCHW"),
            floats(2, 3, 4, 5),
            reference=lambda x, op=op: tf.transpose(_fused(tf.transpose(x, [0, 2, 3, 1]), op), [0, 3, 1, 2]),
        )
    for activation in (tf.nn.relu, tf.nn.relu6, tf.nn.silu, tf.nn.leaky_relu):
        family.add(f"fused_{activation.__name__}", lambda x, a=activation: a(_fused(x)), floats(2, 3, 4, 3))
    family.add(
        "FusedBatchNormV3_parameters_at_run_time",
        lambda x, *p: raw.FusedBatchNormV3(x=x, scale=p[0], offset=p[1], mean=p[2], variance=p[3], is_training=False)[0],
        floats(2, 3, 4, 3),
        *_parameters(3),
    )
    family.add("FusedBatchNormV3_half", lambda x: _fused(x), floats(2, 3, 4, 3, dtype="float16"))
    family.add("FusedBatchNormV3_empty", lambda x: _fused(x), floats(0, 3, 4, 3))
    family.add("FusedBatchNormV3_unknown_image", lambda x: _fused(x), floats(2, 3, 4, 3), shapes=((None, None, None, 3),))
    family.add("FusedBatchNormV3_then_mean", lambda x: tf.reduce_mean(_fused(x), [1, 2]), floats(2, 3, 4, 3), unknown="batch")
    for shape in ((4, 3), (2, 5, 3), (2, 3, 4, 3), (1, 2, 3, 2, 3)):
        for scaled in (False, True):
            build = lambda x, s=scaled: _written(x, s)
            family.add(f"batch_normalization_{len(shape)}{'_scaled' if scaled else ''}", build, floats(*shape))
            family.add(f"batch_normalization_{len(shape)}{'_scaled' if scaled else ''}", build, floats(*shape), unknown="batch")
    for shape in ((4, 6), (2, 3, 6), (2, 3, 4, 6)):
        for epsilon in (1e-6, 1e-3):
            for written in ("moments", "mean_square", "difference", "rsqrt_product", "batch_normalization"):
                build = lambda x, w=written, e=epsilon: _layer_norm(x, w, e)
                family.add(f"layer_norm_{written}_{len(shape)}_{epsilon}", build, floats(*shape))
                if epsilon == 1e-3:
                    family.add(f"layer_norm_{written}_{len(shape)}", build, floats(*shape), unknown="batch")
    for name, axes in (("instance", [1, 2]), ("layer_image", [1, 2, 3]), ("channel", [3])):
        family.add(f"{name}_norm", lambda x, a=axes: _standardised(x, a), floats(2, 4, 5, 3))
        family.add(f"{name}_norm", lambda x, a=axes: _standardised(x, a), floats(2, 4, 5, 3), unknown="batch")
        family.add(
            f"{name}_norm_affine",
            lambda x, a=axes: _standardised(x, a) * floats(3, low=0.5, high=2) + floats(3),
            floats(2, 4, 5, 3),
        )
        family.add(
            f"{name}_norm_unknown_image", lambda x, a=axes: _standardised(x, a), floats(2, 4, 5, 3), shapes=((None, None, None, 3),)
        )
    for groups in (1, 2, 3, 6):
        family.add(f"group_norm_{groups}", lambda x, g=groups: _group_norm(x, g), floats(2, 3, 4, 6))
        family.add(f"group_norm_{groups}", lambda x, g=groups: _group_norm(x, g), floats(2, 3, 4, 6), unknown="batch")
    for axis in (-1, 0, 1, [1, 2], None):
        name = "all" if axis is None else str(axis)
        family.add(f"l2_normalize_{name}", lambda x, a=axis: tf.nn.l2_normalize(x, a), floats(2, 3, 4))
    family.add("l2_normalize_epsilon", lambda x: tf.nn.l2_normalize(x, -1, epsilon=0.5), floats(3, 4, low=-0.2, high=0.2))
    family.add("l2_normalize", lambda x: tf.nn.l2_normalize(x, -1), floats(3, 4), unknown="batch")
    family.add("l2_normalize_vector", lambda x: tf.nn.l2_normalize(x), floats(5))
    family.add("l2_by_division", lambda x: x / tf.norm(x, axis=-1, keepdims=True), floats(3, 4))
    family.add("l2_by_sqrt", lambda x: x / tf.sqrt(tf.reduce_sum(x * x, -1, keepdims=True)), floats(3, 4), unknown="batch")
    family.add(
        "l2_by_rsqrt_epsilon", lambda x: x * tf.math.rsqrt(tf.reduce_sum(tf.square(x), -1, keepdims=True) + 1e-3), floats(3, 4)
    )
    for radius in (1, 2, 5):
        for alpha, beta, bias in ((1.0, 0.5, 1.0), (1e-4, 0.75, 2.0), (0.3, 1.0, 0.5)):
            build = lambda x, r=radius, a=alpha, b=beta, k=bias: tf.nn.local_response_normalization(x, r, k, a, b)
            family.add(f"LRN_{radius}_{alpha}_{beta}", build, floats(1, 3, 2, 5))
    family.add("LRN", lambda x: tf.nn.local_response_normalization(x, 2), floats(2, 3, 2, 5), unknown="batch")
    family.add("LRN_half", lambda x: tf.nn.local_response_normalization(x, 2), floats(1, 3, 2, 5, dtype="float16"))
    for kept in (False, True):
        for axes in ([0], [1, 2], [-1], [0, 1, 2]):
            build = lambda x, a=axes, k=kept: list(tf.nn.moments(x, a, keepdims=k))
            family.add(f"moments_{'_'.join(map(str, axes))}{'_kept' if kept else ''}", build, floats(2, 3, 4))
    family.add(
        "weighted_moments", lambda x, w: list(tf.nn.weighted_moments(x, [0], w)), floats(4, 3), floats(4, 3, low=0.1, high=1)
    )
    family.add("sufficient_statistics", lambda x: list(tf.nn.sufficient_statistics(x, [0])[1:3]), floats(4, 3))
    family.add(
        "normalize_moments",
        lambda c, m, v: list(tf.nn.normalize_moments(c, m, v, None)),
        np.float32(4),
        floats(3),
        floats(3, low=9, high=20),
    )
    family.add(
        "rms_norm",
        lambda x: x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), -1, keepdims=True) + 1e-6) * floats(4),
        floats(2, 3, 4),
        unknown="batch",
    )
    family.add("rms_norm_by_division", lambda x: x / tf.sqrt(tf.reduce_mean(x * x, -1, keepdims=True) + 1e-5), floats(2, 3, 4))
    family.add("standardise", lambda x: (x - tf.reduce_mean(x)) / tf.math.reduce_std(x), floats(3, 4))
    family.add(
        "min_max",
        lambda x: (
            (x - tf.reduce_min(x, 1, keepdims=True)) / (tf.reduce_max(x, 1, keepdims=True) - tf.reduce_min(x, 1, keepdims=True))
        ),
        floats(3, 4),
    )
    family.add(
        "weight_standardised",
        lambda x, w: tf.matmul(x, (w - tf.reduce_mean(w, 0)) / tf.math.reduce_std(w, 0)),
        floats(2, 4),
        floats(4, 3),
    )
    family.add(
        "pixel_norm", lambda x: x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), axis=3, keepdims=True) + 1e-8), floats(1, 3, 3, 4)
    )
    family.add("response_norm", _global_response, floats(1, 3, 3, 4))
    family.add("dropout_at_rest", lambda x: tf.nn.dropout(x, rate=0.0), floats(3, 4))
    for data_format in ("NHWC", "NCHW"):
        family.add(
            f"BiasAdd_{data_format}",
            lambda x, d=data_format: raw.BiasAdd(value=x, bias=floats(4), data_format=d),
            floats(1, 4, 4, 4),
        )
    for shape in ((3, 4), (2, 3, 4), (1, 2, 2, 2, 4)):
        family.add(f"BiasAdd_{len(shape)}", lambda x: tf.nn.bias_add(x, floats(4)), floats(*shape))
    family.add("BiasAdd", lambda x: tf.nn.bias_add(x, floats(4)), floats(2, 4), unknown="batch")
    family.add("BiasAddV1", lambda x: raw.BiasAddV1(value=x, bias=floats(4)), floats(2, 4))
    family.add("BiasAddGrad", lambda x: raw.BiasAddGrad(out_backprop=x), floats(2, 3, 4))
    family.add(
        "BiasAdd_int32", lambda x: tf.nn.bias_add(x, tf.constant([1, 2, 3, 4])), floats(2, 4, low=-9, high=9).astype(np.int32)
    )


def _written(x: tf.Tensor, scaled: bool) -> tf.Tensor:
    scale, offset, mean, variance = _parameters(3)
    return tf.nn.batch_normalization(x, mean, variance, offset, scale if scaled else None, 1e-3)


def _layer_norm(x: tf.Tensor, written: str, epsilon: float) -> tf.Tensor:
    gamma, beta = floats(6, low=0.5, high=2), floats(6, seed=4)
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    if written == "moments":
        return (x - mean) / tf.sqrt(variance + epsilon) * gamma + beta
    if written == "rsqrt_product":
        return (x - mean) * tf.math.rsqrt(variance + epsilon) * gamma + beta
    if written == "batch_normalization":
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)
    mean = tf.reduce_mean(x, -1, keepdims=True)
    centred = x - mean
    if written == "mean_square":
        return centred * tf.math.rsqrt(tf.reduce_mean(tf.square(centred), -1, keepdims=True) + epsilon) * gamma + beta
    squared = tf.reduce_mean(tf.math.squared_difference(x, tf.stop_gradient(mean)), -1, keepdims=True)
    return gamma * (centred / tf.sqrt(squared + epsilon)) + beta


def _standardised(x: tf.Tensor, axes: list[int]) -> tf.Tensor:
    mean, variance = tf.nn.moments(x, axes, keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + 1e-5)


def _group_norm(x: tf.Tensor, groups: int) -> tf.Tensor:
    shape = tf.shape(x)
    grouped = tf.reshape(x, tf.stack([shape[0], 3, 4, groups, 6 // groups]))
    mean, variance = tf.nn.moments(grouped, [1, 2, 4], keepdims=True)
    return tf.reshape((grouped - mean) * tf.math.rsqrt(variance + 1e-5), shape) * floats(6, low=0.5, high=2) + floats(6)


def _global_response(x: tf.Tensor) -> tf.Tensor:
    size = tf.norm(x, axis=(1, 2), keepdims=True)
    return x * (size / (tf.reduce_mean(size, -1, keepdims=True) + 1e-6)) * floats(4) + x
