"""Inputs whose rank the file leaves open."""

import pytest
import tensorflow as tf

import tensorferry
from small_graphs import freeze, v1, weights


def read(tmp_path, build):
    return tensorferry.load(freeze(tmp_path / "net.pb", build))


def matmul(a, b, **flags):
    """The plain op; tf.matmul takes another one for an unknown rank."""
    return tf.raw_ops.MatMul(a=a, b=b, **flags)


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda x: matmul(x, weights(7, 3)), ("x.0", 7)),
        (lambda x: matmul(x, weights(3, 7), transpose_b=True), ("x.0", 7)),
        (lambda x: matmul(x, weights(7, 3), transpose_a=True), (7, "x.1")),
        (lambda x: tf.nn.conv2d(x, weights(3, 3, 5, 2), 1, "SAME"), ("x.0", "x.1", "x.2", 5)),
        (lambda x: tf.nn.conv2d(x, weights(3, 3, 5, 2), 1, "SAME", data_format="NCHW"), ("x.0", 5, "x.2", "x.3")),
        (lambda x: tf.nn.depthwise_conv2d(x, weights(3, 3, 5, 2), (1, 1, 1, 1), "SAME"), ("x.0", "x.1", "x.2", 5)),
        (lambda x: tf.nn.max_pool2d(x, 2, 2, "SAME"), ("x.0", "x.1", "x.2", "x.3")),
        (lambda x: x + 1.0, None),
    ],
)
def test_the_reader_tells_the_shape(tmp_path, build, shape):
    graph = read(tmp_path, lambda: build(v1.placeholder(tf.float32, None, name="x")))
    assert graph.inputs[0].value.shape == shape
    assert bool(graph.notices) == (shape is not None)


def test_such_a_net_converts_and_is_verified(tmp_path):
    path = freeze(tmp_path / "net.pb", lambda: tf.nn.softmax(matmul(v1.placeholder(tf.float32, None, name="x"), weights(7, 3))))
    report = tensorferry.convert(path, tmp_path / "net.tflite")
    assert report.verified
    assert report.inputs[0].shape == (None, 7)
    assert "asks for ?,7" in report.notices[0]


def test_constants_without_values_are_told(tmp_path):
    path = freeze(tmp_path / "net.pb", lambda: tf.matmul(v1.placeholder(tf.float32, (1, 7), name="x"), weights(7, 3), name="y"))
    graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    next(node for node in graph.node if node.op == "Const").attr["value"].tensor.ClearField("tensor_content")
    path.write_bytes(graph.SerializeToString())
    assert "no values in the file" in tensorferry.load(path).notices[0]
