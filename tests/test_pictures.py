"""Models that begin with the bytes of pictures: refused with the cut behind the decoder, also where a loop decodes one by one."""

from __future__ import annotations

import shlex

import pytest
import tensorflow as tf

import tensorferry
from small_graphs import freeze, v1, weights
from tensorferry.errors import UnsupportedError


def net(pictures):
    for _layer in range(4):
        pictures = tf.nn.relu(tf.nn.conv2d(pictures, weights(3, 3, 3, 3), 1, "SAME"))
    tf.reduce_mean(pictures, [1, 2], name="y")


def scaled(text):
    return tf.image.resize(tf.image.convert_image_dtype(tf.image.decode_png(text, channels=3), tf.float32), [16, 16])


def one_picture():
    net(scaled(v1.placeholder(tf.string, (), name="bytes"))[None])


def many_pictures():
    net(tf.map_fn(scaled, v1.placeholder(tf.string, (None,), name="bytes"), fn_output_signature=tf.float32))


@pytest.mark.parametrize(("build", "cut"), [(one_picture, "DecodePng"), (many_pictures, "map/TensorArrayV2Stack/TensorListStack")])
def test_the_cut_lies_behind_the_decoder(build, cut, tmp_path):
    source, target = freeze(tmp_path / "net.pb", build), tmp_path / "net.tflite"
    with pytest.raises(UnsupportedError) as refused:
        tensorferry.convert(source, target)
    assert [problem.op for problem in refused.value.problems] == ["DecodePng"]
    words = shlex.split(refused.value.remedy.splitlines()[-1])
    inputs, outputs = (words[words.index(flag) + 1] for flag in ("--inputs", "--outputs"))
    assert (inputs, outputs) == (cut, "y")
    report = tensorferry.convert(source, target, inputs=[inputs], outputs=[outputs], reference="tensorflow")
    assert report.verified


def test_variables_of_a_loop_that_nobody_asks_for_are_no_outputs(tmp_path):
    def loop():
        x = v1.placeholder(tf.float32, (2, 3), name="x")
        made = tf.while_loop(lambda at, _value: at < 3, lambda at, value: (at + 1, value * 2.0), (0, x))
        tf.nn.relu(made[1], name="y")

    report = tensorferry.convert(freeze(tmp_path / "net.pb", loop), tmp_path / "net.tflite")
    assert [port.name for port in report.outputs] == ["y"]
