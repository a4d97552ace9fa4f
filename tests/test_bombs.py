"""Small files that claim much: neither memory nor time may follow the claim, and every one ends in a result or one clear error."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import tensorferry
from small_graphs import freeze, v1
from tensorferry.errors import FerryError, SourceError, UnsupportedError
from tensorferry.proof import estimate_bytes

LIMIT = 3 << 30


def huge_constant():
    """1 GiB from one repeated value."""
    x = v1.placeholder(tf.float32, (1, 65536), name="x")
    tf.raw_ops.Mul(x=tf.raw_ops.Fill(dims=(4096, 65536), value=2.0), y=x, name="y")


def doubling_constant():
    """A constant joined to itself until it has 4 GiB."""
    part = tf.constant(np.ones((1, 4), np.float32))
    for _ in range(28):
        part = tf.concat([part, part], 1)
    tf.add(tf.reduce_max(part), v1.placeholder(tf.float32, (1,), name="x"), name="y")


def huge_input():
    tf.nn.relu(v1.placeholder(tf.float32, (65536, 65536), name="x"), name="y")


def huge_layer():
    x = v1.placeholder(tf.float32, (1, 4096, 4096, 64), name="x")
    tf.nn.conv2d(x, np.ones((3, 3, 64, 64), np.float32), 1, "SAME", name="y")


def huge_range():
    x = v1.placeholder(tf.float32, (1,), name="x")
    tf.add(x, tf.reduce_max(tf.range(tf.constant(0.0), tf.constant(2.0**31), 1.0)), name="y")


@pytest.mark.parametrize("build", [huge_constant, doubling_constant, huge_input, huge_layer, huge_range])
def test_memory_does_not_follow_the_claim(build, tmp_path):
    path = freeze(tmp_path / "bomb.pb", build)
    command = [sys.executable, "-m", "tensorferry", "convert", str(path), "-o", str(tmp_path / "bomb.tflite")]

    def limit_memory():
        resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))

    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, preexec_fn=limit_memory, env=environment
    )
    assert done.returncode in (0, 2), done.stderr
    assert "internal error" not in done.stderr
    assert "not enough memory" not in done.stderr
    if done.returncode == 0:
        assert "not verified" in done.stdout


def test_the_estimate_grows_with_constants_and_with_the_largest_layer(tmp_path):
    graph = tensorferry.load(freeze(tmp_path / "a.pb", huge_layer))
    activations = 2 * 4096 * 4096 * 64 * 4
    assert estimate_bytes(graph, {"x": (1, 4096, 4096, 64)}) == pytest.approx(4 * activations, rel=0.01)


def convolution(**changed):
    attributes = {"strides": [1, 1, 1, 1], "padding": "SAME", "dilations": [1, 1, 1, 1], **changed}
    graph = v1.GraphDef()
    with tf.Graph().as_default() as made:
        x = v1.placeholder(tf.float32, (1, 8, 8, 3), name="x")
        tf.nn.conv2d(x, np.ones((3, 3, 3, 4), np.float32), 1, "SAME", name="y")
    graph.CopyFrom(made.as_graph_def())
    node = next(each for each in graph.node if each.name == "y")
    for key, value in attributes.items():
        node.attr[key].Clear()
        if isinstance(value, str):
            node.attr[key].s = value.encode()
        else:
            node.attr[key].list.i.extend(value)
    return graph.SerializeToString()


@pytest.mark.parametrize(
    "changed",
    [
        {"strides": [1, 2**40, 2**40, 1]},
        {"strides": [1, -1, -1, 1]},
        {"strides": [1, 0, 0, 1]},
        {"strides": [1, 1]},
        {"strides": []},
        {"strides": "SAME"},
        {"dilations": [1, 2**40, 1, 1]},
        {"dilations": [1, 0, 0, 1]},
        {"padding": "FOO"},
        {"padding": [1]},
        {"padding": "EXPLICIT"},
        {"padding": "EXPLICIT", "explicit_paddings": [0, 0, 2**40, 2**40, 3, 4, 0, 0]},
    ],
)
def test_senseless_attributes_are_errors_of_the_node(changed, tmp_path):
    path = tmp_path / "bad.pb"
    path.write_bytes(convolution(**changed))
    with pytest.raises((UnsupportedError, SourceError, FerryError)) as caught:
        tensorferry.convert(path, tmp_path / "bad.tflite")
    assert "'y'" in str(caught.value) or "y (Conv2D)" in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["bad.pb"]


@pytest.mark.parametrize("dtype", [tf.float16, tf.float64])
def test_other_precisions_are_narrowed_and_verified(dtype, tmp_path):
    def build():
        x = v1.placeholder(dtype, (1, 8, 8, 3), name="x")
        tf.nn.conv2d(x, np.ones((3, 3, 3, 4), dtype.as_numpy_dtype), 1, "SAME", name="y")

    report = tensorferry.convert(freeze(tmp_path / "net.pb", build), tmp_path / "net.tflite")
    assert report.verified
    assert report.targets[0].notices
