"""Small frozen graphs for the tests of whole conversions, made with TensorFlow: an independent writer of the source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1


def freeze(path: Path, build: Callable[[], None]) -> Path:
    """Write the GraphDef that `build` adds to an empty graph."""
    with tf.Graph().as_default() as graph:
        build()
    path.write_bytes(graph.as_graph_def(add_shapes=False).SerializeToString())
    return path


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.3, shape).astype(np.float32)


def small_net(size: int | None = 16, batch: int | None = 1) -> None:
    """Convolution, batch norm, depthwise, pooling, two heads: `image` -> `scores` (softmax), `features`."""
    image = v1.placeholder(tf.float32, (batch, size, size, 3), name="image")
    first = tf.nn.conv2d(image, weights(3, 3, 3, 8), 2, "SAME", name="first")
    scale, offset, mean = weights(8, seed=1) + 1, weights(8, seed=2), weights(8, seed=3)
    normal, _, _ = v1.nn.fused_batch_norm(first, scale, offset, mean, scale**2, is_training=False, name="normal")
    active = tf.nn.relu6(normal, name="active")
    deep = tf.nn.depthwise_conv2d(active, weights(3, 3, 8, 1, seed=4), (1, 1, 1, 1), "SAME", name="deep")
    features = tf.nn.relu(tf.nn.bias_add(deep, weights(8, seed=5)), name="features")
    pooled = tf.reduce_mean(features, (1, 2), name="pooled")
    scores = tf.matmul(pooled, weights(8, 5, seed=6), name="product") + weights(5, seed=7)
    tf.nn.softmax(scores, name="scores")


def unsupported_net() -> None:
    """A chain in which two ops have no counterpart anywhere."""
    x = v1.placeholder(tf.float32, (4, 4), name="x")
    y = tf.raw_ops.KmeansPlusPlusInitialization(
        points=tf.nn.relu(x), num_to_sample=4, seed=1, num_retries_per_sample=1, name="centres"
    )
    tf.raw_ops.Cholesky(input=y, name="lower")


def channels_first_net() -> None:
    """The same kind of net in NCHW, ending in a flattened classifier: `image` -> `scores`."""
    image = v1.placeholder(tf.float32, (1, 3, 16, 16), name="image")
    first = tf.nn.conv2d(image, weights(3, 3, 3, 8), 2, "SAME", data_format="NCHW", name="first")
    active = tf.nn.relu(tf.nn.bias_add(first, weights(8, seed=1), data_format="NC..", name="biased"), name="active")
    pooled = tf.nn.max_pool2d(active, 2, 2, "VALID", data_format="NCHW", name="pooled")
    flat = tf.reshape(pooled, (1, -1), name="flat")
    tf.nn.softmax(tf.matmul(flat, weights(8 * 4 * 4, 5, seed=2), name="product"), name="scores")
