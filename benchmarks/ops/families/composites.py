"""Pieces of real nets: attention, transformers, residual blocks, heads, losses, pre- and post-processing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from ops.case import Array, Family, Lazily, floats, integers

keras = tf.keras
layers = keras.layers


def _seeded(make: Callable[[], Any]) -> Lazily:
    def build() -> Callable[..., Any]:
        keras.utils.set_random_seed(5)
        return make()

    return Lazily(build)


def _weights(*shape: int, seed: int = 0) -> Array:
    return floats(*shape, low=-0.5, high=0.5, seed=seed)


def add_cases(family: Family) -> None:
    _attention(family)
    _keras_layers(family)
    _blocks(family)
    _heads(family)


def _attend(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
    scores = tf.matmul(q, k, transpose_b=True) / np.float32(np.sqrt(4))
    return tf.matmul(tf.nn.softmax(scores if mask is None else scores + mask), v)


def _heads_of(x: tf.Tensor, heads: int) -> tf.Tensor:
    shape = tf.shape(x)
    return tf.transpose(tf.reshape(x, tf.stack([shape[0], shape[1], heads, x.shape[-1] // heads])), [0, 2, 1, 3])


def _self_attention(x: tf.Tensor, heads: int, causal: bool = False) -> tf.Tensor:
    q, k, v = (_heads_of(tf.tensordot(x, _weights(8, 8, seed=s), 1), heads) for s in range(3))
    mask = None
    if causal:
        length = tf.shape(x)[1]
        mask = (1.0 - tf.linalg.band_part(tf.ones(tf.stack([length, length])), -1, 0)) * -1e9
    mixed = tf.transpose(_attend(q, k, v, mask), [0, 2, 1, 3])
    return tf.tensordot(tf.reshape(mixed, tf.shape(x)), _weights(8, 8, seed=4), 1)


def _layer_norm(x: tf.Tensor) -> tf.Tensor:
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + 1e-6) * _weights(8, seed=8) + _weights(8, seed=9)


def _attention(family: Family) -> None:
    for heads in (1, 2, 4):
        for causal in (False, True):
            for unknown in ("", "batch", "sizes"):
                shapes = ((None, None, 8),) if unknown == "sizes" else None
                build = lambda x, h=heads, c=causal: _self_attention(x, h, c)
                family.add(
                    f"self_attention_{heads}{'_causal' if causal else ''}{'_open' if shapes else ''}",
                    build,
                    floats(2, 3, 8),
                    shapes=shapes,
                    unknown="batch" if unknown == "batch" else "",
                )
    family.add("attention", _attend, floats(2, 3, 4), floats(2, 5, 4), floats(2, 5, 6))
    family.add("attention", _attend, floats(2, 3, 4), floats(2, 5, 4), floats(2, 5, 6), unknown="batch")
    family.add(
        "attention_masked",
        lambda q, m: _attend(q, q, q, tf.where(m[:, None, :], 0.0, -1e9)),
        floats(2, 3, 4),
        np.array([[True, True, False], [True, False, False]]),
    )
    family.add(
        "attention_einsum",
        lambda q, k: tf.einsum("bhqk,bkhd->bqhd", tf.nn.softmax(tf.einsum("bqhd,bkhd->bhqk", q, k)), k),
        floats(1, 3, 2, 4),
        floats(1, 5, 2, 4),
    )
    family.add(
        "additive_attention",
        lambda q, k: tf.reduce_sum(tf.nn.softmax(tf.reduce_sum(tf.tanh(q[:, None] + k), -1))[..., None] * k, 1),
        floats(2, 4),
        floats(2, 5, 4),
    )
    family.add(
        "relative_positions", lambda x: tf.gather(_weights(9, 2), tf.range(3)[:, None] - tf.range(3)[None] + 4) + x, floats(3, 3, 2)
    )
    family.add("rotary", _rotary, floats(1, 3, 2, 4))
    family.add("sinusoid", lambda x: x + _sinusoid(tf.shape(x)[1]), floats(2, 3, 8), shapes=((None, None, 8),))
    for norm_first in (False, True):
        family.add(f"encoder_{norm_first}", lambda x, n=norm_first: _encoder(x, n), floats(2, 3, 8), unknown="batch")
        family.add(f"encoder_{norm_first}_open", lambda x, n=norm_first: _encoder(x, n), floats(2, 3, 8), shapes=((None, None, 8),))
        family.add(f"encoder_twice_{norm_first}", lambda x, n=norm_first: _encoder(_encoder(x, n), n), floats(1, 3, 8))
    family.add("bert_small", _bert, integers(2, 4, low=0, high=11), integers(2, 4, low=0, high=2))
    family.add("bert_small", _bert, integers(2, 4, low=0, high=11), integers(2, 4, low=0, high=2), unknown="sizes")
    family.add(
        "gpt_step",
        lambda i: tf.matmul(_encoder(tf.gather(_weights(11, 8), i), True, causal=True)[:, -1], _weights(11, 8), transpose_b=True),
        integers(1, 4, low=0, high=11),
    )
    family.add("vision_transformer", _vision, floats(1, 8, 8, 3))
    family.add(
        "linear_attention",
        lambda q, k: tf.einsum("bqd,bde->bqe", tf.nn.elu(q) + 1.0, tf.einsum("bkd,bke->bde", tf.nn.elu(k) + 1.0, k)),
        floats(1, 3, 4),
        floats(1, 5, 4),
    )


def _encoder(x: tf.Tensor, norm_first: bool, causal: bool = False) -> tf.Tensor:
    feed = lambda v: tf.tensordot(tf.nn.gelu(tf.tensordot(v, _weights(8, 16), 1) + 0.1), _weights(16, 8), 1)
    if norm_first:
        x = x + _self_attention(_layer_norm(x), 2, causal)
        return x + feed(_layer_norm(x))
    x = _layer_norm(x + _self_attention(x, 2, causal))
    return _layer_norm(x + feed(x))


def _bert(ids: tf.Tensor, kinds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    length = tf.shape(ids)[1]
    embedded = (
        tf.gather(_weights(11, 8), ids) + tf.gather(_weights(2, 8, seed=1), kinds) + tf.constant(_weights(6, 8, seed=2))[:length]
    )
    hidden = _encoder(_layer_norm(embedded), False)
    return hidden, tf.tanh(tf.matmul(hidden[:, 0], _weights(8, 8, seed=7)))


def _vision(x: tf.Tensor) -> tf.Tensor:
    patches = tf.reshape(tf.nn.conv2d(x, _weights(4, 4, 3, 8), 4, "VALID"), [-1, 4, 8])
    tokens = tf.concat([tf.broadcast_to(tf.constant(_weights(1, 1, 8)), [1, 1, 8]), patches], 1) + _weights(5, 8)
    return tf.matmul(_encoder(tokens, True)[:, 0], _weights(8, 3))


def _rotary(x: tf.Tensor) -> tf.Tensor:
    angles = np.outer(np.arange(3), 1 / 10 ** np.arange(0, 2)).astype(np.float32)
    cosine, sine = (np.concatenate([f(angles)] * 2, -1)[None, :, None] for f in (np.cos, np.sin))
    return x * cosine + tf.concat([-x[..., 2:], x[..., :2]], -1) * sine


def _sinusoid(length: tf.Tensor) -> tf.Tensor:
    angles = tf.cast(tf.range(length)[:, None], tf.float32) / tf.pow(100.0, tf.cast(tf.range(4)[None], tf.float32) / 4.0)
    return tf.concat([tf.sin(angles), tf.cos(angles)], -1)


def _keras_layers(family: Family) -> None:
    image, line, vector = floats(2, 6, 6, 3), floats(2, 7, 4), floats(2, 4)
    made: dict[str, tuple[Callable[[], Any], Array]] = {
        "Dense": (lambda: layers.Dense(3, "relu"), vector),
        "Dense_rank3": (lambda: layers.Dense(3, "tanh"), line),
        "EinsumDense": (lambda: layers.EinsumDense("abc,cd->abd", output_shape=(None, 5), bias_axes="d"), line),
        "Conv1D": (lambda: layers.Conv1D(3, 3, padding="causal"), line),
        "Conv1DTranspose": (lambda: layers.Conv1DTranspose(3, 3, strides=2), line),
        "Conv2D": (lambda: layers.Conv2D(4, 3, strides=2, activation="swish"), image),
        "Conv2D_dilated": (lambda: layers.Conv2D(4, 3, dilation_rate=2, padding="same"), image),
        "Conv2D_groups": (lambda: layers.Conv2D(6, 3, groups=3), image),
        "Conv2DTranspose": (lambda: layers.Conv2DTranspose(2, 3, strides=2, padding="same"), image),
        "Conv2DTranspose_valid": (lambda: layers.Conv2DTranspose(2, 3, strides=2, output_padding=1), image),
        "SeparableConv2D": (lambda: layers.SeparableConv2D(4, 3, depth_multiplier=2), image),
        "SeparableConv1D": (lambda: layers.SeparableConv1D(4, 3), line),
        "DepthwiseConv2D": (lambda: layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2), image),
        "DepthwiseConv1D": (lambda: layers.DepthwiseConv1D(3), line),
        "Conv3D": (lambda: layers.Conv3D(2, 2), floats(1, 4, 4, 4, 2)),
        "Conv3DTranspose": (lambda: layers.Conv3DTranspose(2, 2, strides=2), floats(1, 2, 3, 3, 2)),
        "BatchNormalization": (layers.BatchNormalization, image),
        "LayerNormalization": (layers.LayerNormalization, line),
        "LayerNormalization_axes": (lambda: layers.LayerNormalization(axis=[1, 2]), line),
        "GroupNormalization": (lambda: layers.GroupNormalization(3), image),
        "UnitNormalization": (layers.UnitNormalization, line),
        "RMSNormalization": (getattr(layers, "RMSNormalization", layers.LayerNormalization), line),
        "SpectralDense": (lambda: layers.SpectralNormalization(layers.Dense(3)), vector),
        "MaxPooling1D": (lambda: layers.MaxPooling1D(2), line),
        "AveragePooling2D": (lambda: layers.AveragePooling2D(3, 2, "same"), image),
        "GlobalAveragePooling1D": (layers.GlobalAveragePooling1D, line),
        "GlobalMaxPooling2D": (layers.GlobalMaxPooling2D, image),
        "UpSampling1D": (lambda: layers.UpSampling1D(2), line),
        "UpSampling2D": (lambda: layers.UpSampling2D(2), image),
        "UpSampling2D_bilinear": (lambda: layers.UpSampling2D(2, interpolation="bilinear"), image),
        "UpSampling3D": (lambda: layers.UpSampling3D(2), floats(1, 2, 2, 2, 2)),
        "ZeroPadding1D": (lambda: layers.ZeroPadding1D(2), line),
        "ZeroPadding2D": (lambda: layers.ZeroPadding2D(((1, 0), (2, 1))), image),
        "Cropping1D": (lambda: layers.Cropping1D((1, 2)), line),
        "Cropping2D": (lambda: layers.Cropping2D(((1, 1), (2, 0))), image),
        "Flatten": (layers.Flatten, image),
        "Permute": (lambda: layers.Permute((2, 1)), line),
        "RepeatVector": (lambda: layers.RepeatVector(3), vector),
        "Reshape": (lambda: layers.Reshape((2, -1)), vector),
        "PReLU": (layers.PReLU, vector),
        "PReLU_shared": (lambda: layers.PReLU(shared_axes=[1, 2]), image),
        "ELU": (lambda: layers.ELU(0.7), vector),
        "LeakyReLU": (layers.LeakyReLU, vector),
        "ReLU_capped": (lambda: layers.ReLU(max_value=1.5, negative_slope=0.1, threshold=0.2), vector),
        "Softmax_axis": (lambda: layers.Softmax(axis=1), line),
        "Rescaling": (lambda: layers.Rescaling(1 / 127.5, -1), image),
        "Resizing": (lambda: layers.Resizing(4, 5), image),
        "CenterCrop": (lambda: layers.CenterCrop(4, 4), image),
        "Normalization": (lambda: layers.Normalization(mean=1.0, variance=2.0), vector),
        "CategoryEncoding": (lambda: layers.CategoryEncoding(5, "multi_hot"), integers(2, 3, low=0, high=5)),
        "Discretization": (lambda: layers.Discretization([-1.0, 0.0, 1.0]), vector),
        "Embedding": (lambda: layers.Embedding(6, 3), integers(2, 3, low=0, high=6)),
        "GaussianNoise": (lambda: layers.GaussianNoise(0.1), vector),
        "Dropout": (lambda: layers.Dropout(0.4), vector),
    }
    for activation in (
        "relu",
        "relu6",
        "elu",
        "selu",
        "gelu",
        "softplus",
        "softsign",
        "silu",
        "hard_silu",
        "hard_sigmoid",
        "mish",
        "log_softmax",
        "exponential",
        "leaky_relu",
        "celu",
        "glu",
        "hard_tanh",
        "hard_shrink",
        "soft_shrink",
        "tanh_shrink",
        "squareplus",
        "sparse_plus",
        "log_sigmoid",
        "sparsemax",
        "threshold",
    ):
        if hasattr(keras.activations, activation):
            made[f"activation_{activation}"] = (
                lambda a=activation: (
                    layers.Activation(a) if a != "threshold" else (lambda x: keras.activations.threshold(x, 0.5, 0.0))
                ),
                vector,
            )
    for name, (make, array) in made.items():
        family.add(f"keras_{name}", _seeded(make), array)
        family.add(f"keras_{name}", _seeded(make), array, unknown="batch")
    attention = {
        "MultiHeadAttention": lambda: layers.MultiHeadAttention(2, 4),
        "GroupQueryAttention": lambda: layers.GroupQueryAttention(4, 4, 2),
        "Attention": lambda: (lambda m: lambda q, v: m([q, v]))(layers.Attention()),
        "AdditiveAttention": lambda: (lambda m: lambda q, v: m([q, v]))(layers.AdditiveAttention()),
    }
    for name, make in attention.items():
        family.add(f"keras_{name}", _seeded(make), floats(2, 3, 8), floats(2, 5, 8, seed=1))
        family.add(f"keras_{name}", _seeded(make), floats(2, 3, 8), floats(2, 5, 8, seed=1), unknown="batch")
    for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot"):
        make = lambda n=name: (lambda m: lambda a, b: m([a, b]))(layers.Dot(1) if n == "Dot" else getattr(layers, n)())
        family.add(f"keras_{name}", _seeded(make), vector, floats(2, 4, seed=1), unknown="batch")


def _blocks(family: Family) -> None:
    image = floats(1, 8, 8, 4)
    conv = lambda x, o, k=3, s=1, seed=0: tf.nn.conv2d(x, _weights(k, k, x.shape[-1], o, seed=seed), s, "SAME")
    depthwise = lambda x, s=1: tf.nn.depthwise_conv2d(x, _weights(3, 3, x.shape[-1], 1), [1, s, s, 1], "SAME")
    squeeze = lambda x: x * tf.sigmoid(conv(tf.nn.relu(conv(tf.reduce_mean(x, [1, 2], keepdims=True), 2, 1)), x.shape[-1], 1))
    hard = lambda x: x * tf.nn.relu6(x + 3.0) / 6.0
    blocks: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
        "residual": lambda x: tf.nn.relu(x + conv(tf.nn.relu(conv(x, 6)), 4, seed=1)),
        "residual_strided": lambda x: tf.nn.relu(conv(x, 6, 1, 2) + conv(tf.nn.relu(conv(x, 6, 3, 2)), 6, seed=1)),
        "bottleneck": lambda x: tf.nn.relu(x + conv(tf.nn.relu(conv(tf.nn.relu(conv(x, 2, 1)), 2)), 4, 1)),
        "inverted_residual": lambda x: x + conv(tf.nn.relu6(depthwise(tf.nn.relu6(conv(x, 12, 1)))), 4, 1),
        "squeeze_excite": squeeze,
        "mobilenet_v3": lambda x: x + conv(squeeze(hard(depthwise(hard(conv(x, 8, 1))))), 4, 1),
        "inception": lambda x: tf.concat(
            [conv(x, 2, 1), conv(conv(x, 2, 1), 3), conv(conv(x, 2, 1), 2, 5), conv(tf.nn.max_pool2d(x, 3, 1, "SAME"), 2, 1)], -1
        ),
        "dense_block": lambda x: tf.concat([x, conv(tf.nn.relu(x), 2), conv(tf.concat([x, conv(x, 2)], -1), 2, seed=2)], -1),
        "fire": lambda x: (lambda s: tf.concat([tf.nn.relu(conv(s, 3, 1)), tf.nn.relu(conv(s, 3))], -1))(tf.nn.relu(conv(x, 2, 1))),
        "shuffle": lambda x: tf.reshape(
            tf.transpose(tf.reshape(tf.concat([x[..., :2], depthwise(x[..., 2:])], -1), [-1, 8, 8, 2, 2]), [0, 1, 2, 4, 3]),
            [-1, 8, 8, 4],
        ),
        "convnext": lambda x: (
            x
            + conv(
                tf.nn.gelu(
                    conv(
                        (
                            lambda y: (
                                (y - tf.reduce_mean(y, -1, keepdims=True))
                                * tf.math.rsqrt(tf.math.reduce_variance(y, -1, keepdims=True) + 1e-6)
                            )
                        )(depthwise(x)),
                        8,
                        1,
                    )
                ),
                4,
                1,
            )
        ),
        "u_net": lambda x: conv(tf.concat([tf.image.resize(conv(tf.nn.max_pool2d(x, 2, 2, "SAME"), 6), [8, 8]), x], -1), 3),
        "u_net_transposed": lambda x: conv(
            tf.concat(
                [tf.nn.conv2d_transpose(conv(tf.nn.max_pool2d(x, 2, 2, "SAME"), 6), _weights(2, 2, 4, 6), [1, 8, 8, 4], 2), x], -1
            ),
            3,
        ),
        "pyramid": lambda x: conv(x, 3, 1) + tf.image.resize(conv(conv(x, 6, 3, 2), 3, 1), [8, 8], "nearest"),
        "atrous_pyramid": lambda x: tf.concat(
            [tf.nn.conv2d(x, _weights(3, 3, 4, 2), 1, "SAME", dilations=d) for d in (1, 2, 3)]
            + [tf.broadcast_to(tf.reduce_mean(x, [1, 2], keepdims=True), [1, 8, 8, 4])],
            -1,
        ),
        "pixel_shuffle": lambda x: tf.nn.depth_to_space(conv(x, 12), 2),
        "channel_attention": lambda x: (
            x * tf.sigmoid(tf.reduce_mean(x, [1, 2], keepdims=True) + tf.reduce_max(x, [1, 2], keepdims=True))
        ),
        "spatial_attention": lambda x: (
            x * tf.sigmoid(conv(tf.concat([tf.reduce_mean(x, -1, keepdims=True), tf.reduce_max(x, -1, keepdims=True)], -1), 1))
        ),
        "non_local": lambda x: (
            x
            + tf.reshape(
                tf.matmul(
                    tf.nn.softmax(tf.matmul(tf.reshape(x, [1, 64, 4]), tf.reshape(x, [1, 64, 4]), transpose_b=True)),
                    tf.reshape(x, [1, 64, 4]),
                ),
                [1, 8, 8, 4],
            )
        ),
        "gram_matrix": lambda x: tf.matmul(tf.reshape(x, [64, 4]), tf.reshape(x, [64, 4]), transpose_a=True) / 64.0,
        "style_norm": lambda x: (
            (x - tf.reduce_mean(x, [1, 2], keepdims=True)) / (tf.math.reduce_std(x, [1, 2], keepdims=True) + 1e-5)
        ),
        "window_partition": lambda x: tf.reshape(tf.transpose(tf.reshape(x, [1, 2, 4, 2, 4, 4]), [0, 1, 3, 2, 4, 5]), [4, 16, 4]),
        "cyclic_shift": lambda x: tf.roll(x, [-2, -2], [1, 2]),
        "mixer": lambda x: tf.transpose(
            tf.matmul(
                tf.transpose(tf.reshape(x, [1, 64, 4]), [0, 2, 1]), tf.broadcast_to(tf.constant(_weights(64, 64)), [1, 64, 64])
            ),
            [0, 2, 1],
        ),
        "channels_first_by_transpose": lambda x: tf.transpose(
            tf.transpose(tf.nn.relu(conv(x, 3)), [0, 3, 1, 2]) + _weights(3, 1, 1), [0, 2, 3, 1]
        ),
    }
    for name, block in blocks.items():
        family.add(f"block_{name}", block, image)
        if name in (
            "residual",
            "residual_strided",
            "bottleneck",
            "inverted_residual",
            "squeeze_excite",
            "mobilenet_v3",
            "inception",
            "dense_block",
            "fire",
            "shuffle",
            "convnext",
            "u_net",
            "pyramid",
            "pixel_shuffle",
        ):
            family.add(f"block_{name}", block, floats(2, 8, 8, 4), unknown="batch")


def _heads(family: Family) -> None:
    family.add(
        "classifier",
        lambda x: tf.nn.softmax(tf.matmul(tf.reduce_mean(x, [1, 2]), _weights(3, 5)) + 0.1),
        floats(2, 4, 4, 3),
        unknown="batch",
    )
    family.add(
        "detector",
        lambda x: (
            tf.reshape(tf.nn.conv2d(x, _weights(3, 3, 3, 8), 1, "SAME"), [-1, 32, 4]),
            tf.sigmoid(tf.reshape(tf.nn.conv2d(x, _weights(3, 3, 3, 4, seed=1), 1, "SAME"), [-1, 32, 2])),
        ),
        floats(2, 4, 4, 3),
        unknown="batch",
    )
    family.add(
        "yolo_decode",
        lambda x: (
            tf.sigmoid(x[..., :2]) + tf.cast(tf.stack(tf.meshgrid(tf.range(3), tf.range(3)), -1), tf.float32),
            tf.exp(x[..., 2:4]),
        ),
        floats(1, 3, 3, 6),
    )
    family.add(
        "heat_map_peaks",
        lambda x: tf.where(tf.equal(x, tf.nn.max_pool2d(x, 3, 1, "SAME")), x, tf.zeros_like(x)),
        floats(1, 6, 6, 2),
    )
    family.add("key_points", lambda x: tf.argmax(tf.reshape(x, [1, 36, 2]), 1, tf.int32), floats(1, 6, 6, 2))
    family.add(
        "soft_argmax",
        lambda x: tf.reduce_sum(tf.nn.softmax(tf.reshape(x, [1, 36])) * tf.cast(tf.range(36), tf.float32), -1),
        floats(1, 6, 6, 1),
    )
    family.add("segmentation", lambda x: tf.argmax(tf.image.resize(x, [8, 8]), -1, tf.int32), floats(1, 4, 4, 3))
    family.add(
        "embedding_similarity",
        lambda a, b: tf.matmul(tf.nn.l2_normalize(a, -1), tf.nn.l2_normalize(b, -1), transpose_b=True),
        floats(3, 4),
        floats(2, 4, seed=1),
    )
    family.add(
        "mixture",
        lambda x: tf.reduce_sum(
            tf.nn.softmax(tf.matmul(x, _weights(4, 3)))[..., None] * tf.reshape(tf.matmul(x, _weights(4, 15)), [-1, 3, 5]), 1
        ),
        floats(2, 4),
        unknown="batch",
    )
    family.add(
        "top_experts",
        lambda x: tf.reduce_sum(tf.math.top_k(tf.nn.softmax(tf.matmul(x, _weights(4, 6))), 2).values, -1),
        floats(3, 4),
    )
    family.add(
        "factorisation_machine",
        lambda x: (
            0.5 * tf.reduce_sum(tf.square(tf.matmul(x, _weights(4, 3))) - tf.matmul(tf.square(x), np.square(_weights(4, 3))), 1)
        ),
        floats(3, 4),
    )
    family.add(
        "wide_and_deep",
        lambda x, i: tf.sigmoid(tf.matmul(tf.concat([x, tf.gather(_weights(7, 3), i)], 1), _weights(7, 1))),
        floats(3, 4),
        integers(3, low=0, high=7),
        unknown="batch",
    )
    family.add(
        "cross_entropy",
        lambda x, y: tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, x)),
        floats(3, 4),
        integers(3, low=0, high=4),
    )
    family.add(
        "huber",
        lambda a, b: tf.reduce_mean(tf.where(tf.abs(a - b) < 1.0, 0.5 * tf.square(a - b), tf.abs(a - b) - 0.5)),
        floats(4),
        floats(4, seed=1),
    )
    family.add("sampling_layer", lambda m, s: m + tf.exp(0.5 * s), floats(2, 3), floats(2, 3, seed=1))
    family.add(
        "preprocess",
        lambda x: tf.nn.conv2d(tf.image.resize(tf.cast(x, tf.float32), [8, 8]) / 127.5 - 1.0, _weights(3, 3, 3, 4), 2, "SAME"),
        integers(1, 6, 7, 3, low=0, high=256, dtype="uint8"),
    )
    family.add(
        "decision_stump", lambda x: tf.where(x[:, 0] > 0.0, tf.where(x[:, 1] > 0.5, 1.0, 2.0), 3.0), floats(5, 3), unknown="batch"
    )
    family.add("polynomial", lambda x: ((0.3 * x + 1.0) * x - 2.0) * x + 0.5, floats(2, 3))
    family.add(
        "kalman_step",
        lambda x, p: (
            tf.matmul(_weights(2, 2), x),
            tf.matmul(tf.matmul(_weights(2, 2), p), _weights(2, 2), transpose_b=True) + 0.1,
        ),
        floats(2, 1),
        floats(2, 2),
    )
    family.add(
        "pairwise_distances",
        lambda x: tf.sqrt(
            tf.maximum(
                tf.reduce_sum(x * x, 1)[:, None] - 2.0 * tf.matmul(x, x, transpose_b=True) + tf.reduce_sum(x * x, 1)[None], 0.0
            )
            + 1e-6
        ),
        floats(4, 3),
    )
    family.add(
        "nearest_centre",
        lambda x: tf.argmin(tf.reduce_sum(tf.square(x[:, None] - _weights(3, 4)[None]), -1), -1),
        floats(5, 4),
        unknown="batch",
    )
    family.add(
        "vector_quantised",
        lambda x: tf.gather(
            tf.constant(_weights(3, 4)), tf.argmin(tf.reduce_sum(tf.square(x[:, None] - _weights(3, 4)[None]), -1), -1)
        ),
        floats(5, 4),
    )
    family.add(
        "graph_convolution",
        lambda x, a: tf.nn.relu(tf.matmul(tf.matmul(a, x), _weights(4, 3))),
        floats(5, 4),
        floats(5, 5, low=0, high=1),
    )
    family.add("beam_scores", lambda s: tf.math.top_k(tf.reshape(s + tf.nn.log_softmax(s), [1, -1]), 3), floats(2, 4))
    family.add("exponential_average", lambda x: tf.scan(lambda a, b: 0.9 * a + 0.1 * b, x), floats(5, 2))
