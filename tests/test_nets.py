"""What image nets are made of, whole: proved on both targets, and with no more operators than TensorFlow's own converter makes."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated

import tensorferry
from small_graphs import freeze, v1, weights
from tensorferry.runtimes import tfjs


class Seeds:
    """Where the weights of the net being built come from; begun anew for each test, so that none depends on another."""

    numbers = itertools.count()


@pytest.fixture(autouse=True)
def fresh_seeds():
    Seeds.numbers = itertools.count(100)


def some(*shape):
    return weights(*shape, seed=next(Seeds.numbers))


def image(size=16, batch=1):
    return v1.placeholder(tf.float32, (batch, size, size, 3), name="image")


def conv(x, channels, size=3, stride=1, active=True):
    product = tf.nn.bias_add(tf.nn.conv2d(x, some(size, size, x.shape[-1], channels), stride, "SAME"), some(channels))
    return tf.nn.relu(product) if active else product


def normal(x):
    c = x.shape[-1]
    return v1.nn.fused_batch_norm(x, some(c) + 1, some(c), some(c), some(c) ** 2 + 0.5, is_training=False)[0]


def enlarge(x, channels):
    """A transposed convolution to twice the size, whose output size is computed."""
    shape = tf.shape(x)
    size = tf.stack([shape[0], shape[1] * 2, shape[2] * 2, channels])
    return tf.nn.bias_add(tf.nn.conv2d_transpose(x, some(2, 2, channels, x.shape[-1]), size, 2, "SAME"), some(channels))


def u_net(batch=1, size=16):
    outer = tf.nn.relu(normal(conv(image(size, batch), 6, active=False)))
    inner = conv(tf.nn.max_pool2d(outer, 2, 2, "VALID"), 8)
    joined = tf.concat([enlarge(inner, 6), outer], -1)
    tf.nn.sigmoid(conv(joined, 1, 1, active=False), name="out")


def dilated_head():
    """Dilation as TensorFlow 1 wrote it: space to batch, a convolution, batch to space."""
    features = conv(image(33), 8, stride=2)
    branches = [conv(features, 4, 1)]
    for rate in (2, 3):
        kernel = some(3, 3, 8, 4)
        dilated = v1.nn.with_space_to_batch(
            features,
            [rate, rate],
            "SAME",
            lambda x, _spatial, _padding, kernel=kernel: v1.nn.conv2d(x, kernel, [1, 1, 1, 1], "VALID"),
            filter_shape=tf.constant([3, 3, 8, 4]),
        )
        branches.append(tf.nn.relu(normal(dilated)))
    tf.nn.softmax(conv(tf.concat(branches, -1), 3, 1, active=False), name="out")


def activations():
    """PReLU, leaky relu and hard swish, written out in several ways."""
    y = conv(image(), 4, active=False)
    y = conv(tf.nn.relu(y) + some(4) * (y - tf.abs(y)) * 0.5, 4, active=False)
    y = conv(tf.nn.relu(y) - some(1, 1, 4) * tf.nn.relu(-y), 4, active=False)
    y = conv(tf.maximum(y, 0.2 * y), 4, active=False)
    y = conv(y * tf.nn.relu6(y + 3) / 6, 4, active=False)
    y = conv(y * (tf.clip_by_value(y + 3, 0, 6) * np.float32(1 / 6)), 4, active=False)
    tf.identity(conv(y, 2), name="out")


def squeeze_and_excite():
    y = conv(image(), 8, stride=2)
    gate = tf.reduce_mean(y, (1, 2))
    gate = tf.nn.relu(tf.matmul(gate, some(8, 4)) + some(4))
    gate = tf.sigmoid(tf.nn.bias_add(tf.matmul(gate, some(4, 8)), some(8)))
    y = y * tf.reshape(gate, (-1, 1, 1, 8))
    tf.nn.softmax(tf.matmul(tf.reduce_mean(y, (1, 2)), some(8, 5)) + some(5), name="out")


def style_transfer():
    """Pixels scaled inside, mirrored borders, instance norm, enlarging by nearest neighbour."""
    y = image() / 127.5 - 1
    for channels in (6, 6):
        y = tf.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0)), "REFLECT")
        y = tf.nn.conv2d(y, some(3, 3, y.shape[-1], channels), 1, "VALID")
        mean, variance = tf.nn.moments(y, (1, 2), keepdims=True)
        y = tf.nn.relu(tf.nn.batch_normalization(y, mean, variance, some(channels), some(channels) + 1, 1e-3))
    y = v1.image.resize_nearest_neighbor(y, (32, 32))
    tf.add(tf.tanh(conv(y, 3, active=False)) * 150, 127.5, name="out")


def channel_shuffle():
    y = conv(image(), 8, stride=2)
    one, other = tf.split(y, 2, -1)
    y = tf.concat([one, conv(other, 4)], -1)
    y = tf.reshape(tf.transpose(tf.reshape(y, (-1, 8, 8, 2, 4)), (0, 1, 2, 4, 3)), (-1, 8, 8, 8))
    tf.reduce_max(y, (1, 2), name="out")


def embedding():
    """A face net's end: pixels to a vector of unit length."""
    y = tf.reduce_mean(conv(image(), 8, stride=2), (1, 2))
    tf.math.l2_normalize(tf.matmul(y, some(8, 6)), -1, name="out")


NETS: dict[str, Callable[[], None]] = {
    "u_net": u_net,
    "u_net, free batch": lambda: u_net(None),
    "u_net, free sizes": lambda: u_net(None, None),
    "dilated head": dilated_head,
    "activations": activations,
    "squeeze and excite": squeeze_and_excite,
    "style transfer": style_transfer,
    "channel shuffle": channel_shuffle,
    "embedding": embedding,
}


def count_official(path) -> int:
    """Operators that TensorFlow's converter makes of it."""
    converter = v1.lite.TFLiteConverter.from_frozen_graph(str(path), ["image"], ["out"])
    model = schema_py_generated.Model.GetRootAs(bytearray(converter.convert()), 0)
    return model.Subgraphs(0).OperatorsLength()


@pytest.mark.parametrize("net", NETS)
def test_a_net_is_proved_with_no_more_operators_than_tensorflow_makes(net, tmp_path):
    path = freeze(tmp_path / "net.pb", NETS[net])
    targets = [tmp_path / "net.tflite"] + ([tmp_path / "web"] if tfjs.available() is None else [])
    report = tensorferry.convert(path, targets, inputs=["image"], outputs=["out"])
    assert report.verified, [target.check for target in report.targets]
    assert report.targets[0].operator_count <= count_official(path)


def u_net_channels_first():
    """A U-net in NCHW of unknown batch, whose transposed convolution computes the size of its result."""
    x = v1.placeholder(tf.float32, (None, 3, 16, 16), name="image")
    outer = tf.nn.relu(tf.nn.conv2d(x, some(3, 3, 3, 6), 1, "SAME", data_format="NCHW"))
    inner = tf.nn.conv2d(outer, some(3, 3, 6, 8), 2, "SAME", data_format="NCHW")
    shape = tf.shape(inner)
    size = tf.stack([shape[0], 6, shape[2] * 2, shape[3] * 2])
    larger = tf.nn.conv2d_transpose(inner, some(2, 2, 6, 8), size, 2, "SAME", data_format="NCHW")
    y = tf.nn.conv2d(tf.concat([larger, outer], 1), some(1, 1, 12, 2), 1, "SAME", data_format="NCHW")
    tf.nn.sigmoid(y, name="out")


def test_channels_first_costs_a_transpose_at_either_end(tmp_path):
    path = freeze(tmp_path / "net.pb", u_net_channels_first)
    targets = [tmp_path / "net.tflite"] + ([tmp_path / "web"] if tfjs.available() is None else [])
    report = tensorferry.convert(path, targets)
    assert report.verified, [target.check for target in report.targets]
    for target, name in zip(report.targets, ("TRANSPOSE", "Transpose"), strict=False):
        assert target.operators[name] == 2
        assert not {"GATHER", "GatherV2"} & set(target.operators)
