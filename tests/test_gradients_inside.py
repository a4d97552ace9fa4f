"""Nets that hold gradients of themselves: maps of what a class hangs on, first layers' gradients, one step of training."""

from __future__ import annotations

import pytest
import tensorflow as tf

import tensorferry
from small_graphs import freeze, v1, weights
from tensorferry.runtimes import tfjs


def net(x, *, training):
    """Convolutions of all kinds, normalised and pooled; scores, the last feature map, the first filter."""
    kernel, depthwise = tf.constant(weights(3, 3, 3, 8)), tf.constant(weights(3, 3, 8, 1, seed=1))
    made = tf.nn.relu(tf.nn.conv2d(x, kernel, 2, "SAME"))
    vectors = weights(4, 8, seed=2)
    made = v1.nn.fused_batch_norm(made, vectors[0], vectors[1], vectors[2], vectors[3] ** 2 + 0.1, is_training=training)[0]
    made = tf.nn.max_pool2d(tf.nn.relu6(tf.nn.depthwise_conv2d(made, depthwise, [1, 1, 1, 1], "SAME")), 3, 2, "SAME")
    made = tf.nn.lrn(tf.nn.elu(tf.nn.conv2d(made, weights(1, 1, 8, 12, seed=3), 1, "VALID")), 2)
    features = tf.nn.avg_pool2d(made, 2, 1, "SAME")
    scores = tf.nn.softmax(tf.reduce_mean(features, [1, 2]) @ weights(12, 5, seed=4))
    return scores, features, (kernel, depthwise)


def class_map():
    """Grad-CAM: feature maps weighed by the gradient of a score."""
    x = v1.placeholder(tf.float32, (1, 33, 29, 3), name="x")
    scores, features, _ = net(x, training=False)
    (slope,) = v1.gradients(scores[:, 2], [features])
    tf.nn.relu(tf.reduce_sum(features * tf.reduce_mean(slope, [1, 2], keepdims=True), -1), name="y")


def saliency(training=False):
    """How much each pixel weighs."""
    x = v1.placeholder(tf.float32, (2, 33, 29, 3), name="x")
    (slope,) = v1.gradients(tf.reduce_max(net(x, training=training)[0], -1), [x])
    tf.reduce_max(tf.abs(slope), -1, name="y")


def filters():
    """The gradients that a step of training takes."""
    x = v1.placeholder(tf.float32, (2, 33, 29, 3), name="x")
    scores, _, kernels = net(x, training=True)
    slopes = v1.gradients(-tf.reduce_sum(tf.math.log(scores)[:, 1]), list(kernels))
    tf.concat([tf.reshape(each, [-1]) for each in slopes], 0, name="y")


@pytest.mark.parametrize("build", [class_map, saliency, lambda: saliency(training=True), filters])
def test_a_net_with_its_gradient(build, tmp_path):
    path = freeze(tmp_path / "net.pb", build)
    targets = [tmp_path / "net.tflite"] + ([tmp_path / "web"] if tfjs.available() is None else [])
    report = tensorferry.convert(path, targets, inputs=["x"], outputs=["y"], reference="tensorflow")
    assert report.verified, [target.check for target in report.targets]
