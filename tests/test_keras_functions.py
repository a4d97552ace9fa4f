"""Functions of TensorFlow on Keras tensors (`tf_keras`: TFOpLambda, SlicingOpLambda), from both kinds of files.

Each model calls many functions at once; each output is compared with what tf_keras gives, in LiteRT and in TensorFlow.js.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from google.protobuf import json_format
from tf_keras.src.engine import base_layer

import tensorferry
from tensorferry.errors import SourceError
from tensorferry.runtimes import tfjs
from tensorferry.runtimes.litert import LiteRtModel
from test_keras_layers import agree, save


def _elements(x: Any, y: Any) -> list[Any]:
    near, n = tf.clip_by_value(x, -0.9, 0.9), tf.nn
    return [
        tf.abs(x), tf.exp(x), tf.math.log(tf.abs(x) + 1.0), tf.math.log1p(tf.square(x)), tf.sqrt(x * x), tf.math.rsqrt(x**2 + 1.0),
        tf.sign(x), tf.floor(x), tf.math.ceil(x), tf.round(x), tf.sin(x), tf.cos(x), tf.tan(near), tf.asin(near), tf.acos(near),
        tf.atan(x), tf.sinh(x), tf.cosh(x), tf.tanh(x), tf.math.erf(x), tf.math.reciprocal(x), -x, tf.sigmoid(x), n.relu(x),
        n.relu6(x), n.elu(x), n.selu(x), n.softplus(x), n.softsign(x), n.silu(x), n.gelu(x), n.leaky_relu(x, 0.3), n.softmax(x),
        n.softmax(x, axis=1), n.log_softmax(x), tf.math.log_sigmoid(x), tf.stop_gradient(x), tf.identity(x), tf.zeros_like(x),
        x + y, 2.0 - x, x * y, 1.0 / (y * y + 1.0), x // 0.7, x % 0.7, tf.maximum(x, 0.5), tf.minimum(x, y), tf.abs(x) ** 1.5,
        tf.math.squared_difference(x, y), tf.cast(x > y, tf.float32), tf.cast(x <= 0, "int32"),
        tf.cast(tf.not_equal(x, y), tf.int32),
        tf.where(x > y, x, 0.0), tf.where((x > 0) & ~(y > 0), x, y), tf.math.divide_no_nan(x, n.relu(y)), tf.atan2(x, y),
        tf.constant([1.0, 2.0, 3.0, 4.0]) * x, tf.add_n([x, y, x]), tf.math.multiply(x, [[2.0]]), n.crelu(x),
        tf.cast(tf.math.logical_xor(x > 0, y > 0), tf.int32),
        tf_keras.activations.relu(x, max_value=1.0), tf_keras.backend.square(x),
    ]  # fmt: skip


def _shapes(x: Any, y: Any) -> list[Any]:
    count = tf.shape(x)[0]
    return [
        tf.reshape(x, [count, 28]), tf.reshape(x, (-1, 2)), tf.transpose(x), tf.transpose(x, [0, 2, 1]), tf.expand_dims(x, 1),
        tf.squeeze(x[:, :1], [1]), tf.squeeze(x[:, :, :1]), tf.concat([x, y], 1), tf.concat([x, tf.ones([count, 7, 2])], -1),
        tf.stack([x, y], 1), *tf.unstack(x, axis=2), *tf.split(x, 2, axis=-1), *tf.split(x, [1, 3], -1),
        tf.gather(x, [2, 0], axis=1),
        tf.gather(x, [1, 1], axis=-1), tf.tile(x, [1, 2, 1]),
        tf.repeat(x, 3, axis=1), tf.pad(x, [[0, 0], [1, 2], [0, 0]]), tf.pad(x, [[0, 0], [0, 0], [1, 1]], constant_values=2.0),
        tf.pad(x, [[0, 0], [2, 1], [0, 0]], "REFLECT"), tf.reverse(x, [1]), tf.roll(x, 2, 1), tf.slice(x, [0, 1, 0], [-1, 3, 2]),
        x[:, 0], x[:, -1], x[:, 1:5:2, None], x[:, ::-1], x[:, : count + 1], x[0], x[:count], tf.shape(x),
        tf.zeros([count, 2]) + x[:, 0, :2], tf.fill([count, 3], 2.5), tf.one_hot(tf.argmax(x, -1), 4), tf.range(count),
        tf.sequence_mask(tf.cast(tf.abs(x[:, 0, 0]) * 3.0, tf.int32), 5, tf.float32), tf.broadcast_to(x[:, :1], [2, 7, 4]),
        tf.linalg.matrix_transpose(x), tf.size(x), tf.nn.embedding_lookup(np.eye(5, dtype="f"), tf.argmax(x, -1)),
    ]  # fmt: skip


def _reductions(x: Any, y: Any) -> list[Any]:
    m = tf.math
    return [
        tf.reduce_sum(x, 1), tf.reduce_mean(x, [1, 2]), tf.reduce_mean(x), tf.reduce_max(x, -1, keepdims=True), tf.reduce_min(x, 1),
        tf.reduce_prod(x, -1), tf.cast(tf.reduce_any(x > 1, -1), tf.int32), tf.cast(tf.reduce_all(x > -1, 1), tf.int32),
        m.reduce_std(x, 1), m.reduce_variance(x, -1), m.reduce_logsumexp(x, -1), tf.norm(x, axis=1), tf.norm(x, ord=1, axis=-1),
        tf.math.l2_normalize(x, -1), tf.argmax(x, 1), tf.argmin(x, -1, output_type=tf.int32), tf.cumsum(x, 1), *tf.math.top_k(x, 2),
        tf.cumsum(x, 1, exclusive=True, reverse=True), tf.sort(x, 1), tf.sort(x, direction="DESCENDING"), tf.argsort(x, 1),
        *tf.nn.moments(x, [1]), tf.matmul(x, y, transpose_b=True), tf.matmul(x, y, transpose_a=True), x @ np.ones((4, 3), "f"),
        tf.tensordot(x, np.eye(4, 5, dtype="f"), 1), tf.tensordot(x, np.ones((7, 2), "f"), [[1], [0]]),
        tf.math.count_nonzero(tf.nn.relu(x), 1), tf.linalg.matvec(x, y[:, 0]), tf_keras.backend.batch_dot(x, y, axes=2),
        tf_keras.backend.l2_normalize(x, 1),
    ]  # fmt: skip


def _images(x: Any, y: Any) -> list[Any]:
    image, n = tf.stack([x, y, x * y], -1), tf.nn
    return [
        n.conv2d(image, np.linspace(-1, 1, 54, dtype="f").reshape(3, 3, 3, 2), 1, "SAME"),
        n.conv1d(x, np.ones((2, 4, 3), "f"), 2, "VALID"),
        n.depthwise_conv2d(image, np.linspace(0, 1, 12, dtype="f").reshape(2, 2, 3, 1), [1, 1, 1, 1], "VALID"),
        n.max_pool2d(image, 2, 2, "SAME"), n.avg_pool2d(image, (3, 2), 1, "VALID"), n.max_pool1d(x, 2, 2, "VALID"),
        n.bias_add(x, [1.0, 2.0, 3.0, 4.0]), n.batch_normalization(x, 0.1, 2.0, 0.5, [1.0, 2.0, 3.0, 4.0], 1e-3),
        n.space_to_depth(image[:, :6], 2), n.local_response_normalization(image), tf.image.resize(image, (5, 9)),
        tf.image.resize(image, (5, 9), "nearest"), tf.compat.v1.image.resize_bilinear(image, (5, 9)),
        tf.image.rgb_to_grayscale(image),
        tf.image.flip_left_right(image), tf.image.per_image_standardization(image), tf.image.adjust_brightness(image, 0.25),
        tf.quantization.fake_quant_with_min_max_vars(x, -1.5, 1.5), tf.image.rgb_to_hsv(tf.sigmoid(image)),
        tf.compat.v1.image.resize(image, (5, 9)),
    ]  # fmt: skip


def _ellipsis(x: Any, _y: Any) -> list[Any]:
    return [x[..., 1], x[1, ..., None]]


MODELS: dict[str, Callable[[Any, Any], list[Any]]] = {
    "elements": _elements,
    "shapes": _shapes,
    "reductions": _reductions,
    "images": _images,
    "ellipsis": _ellipsis,
}
FORMS = [(name, form) for name in MODELS for form in ("h5", "keras") if (name, form) != ("ellipsis", "keras")]
"""tf_keras itself does not save an ellipsis in its newer form."""


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_functions_of_tensorflow(name: str, form: str, tmp_path: Any) -> None:
    given = [tf_keras.Input((7, 4)), tf_keras.Input((7, 4))]
    model = tf_keras.Model(given, MODELS[name](*given))
    random = np.random.default_rng(3)
    arrays = [random.normal(0, 1, (2, 7, 4)).astype(np.float32) for _ in given]
    expected = [np.asarray(each) for each in model(arrays)]
    source = save(model, form, tmp_path)
    targets = [tmp_path / "model.tflite"] + ([] if tfjs.available() is not None else [tmp_path / "web"])
    tensorferry.convert(source, targets, verify=False)
    with LiteRtModel(targets[0]) as lite:
        found = [list(lite.run(dict(zip([slot.name for slot in lite.inputs], arrays, strict=True))).values())]
    if len(targets) > 1:
        with tfjs.Session() as session:
            found.append(
                list(session.run(targets[1], dict(zip(tfjs.read_ports(targets[1])[0], arrays, strict=True))).outputs.values())
            )
    for results in found:
        wrong = [
            f"{number} {tensor.name}"
            for number, (tensor, mine, other) in enumerate(zip(model.outputs, results, expected, strict=True))
            if not agree(mine, other)
        ]
        assert not wrong


def test_a_function_that_is_not_known_is_named(tmp_path: Any) -> None:
    x = tf_keras.Input((7, 4))
    source = save(tf_keras.Model(x, tf.signal.frame(x, 2, 1)), "h5", tmp_path)
    with pytest.raises(SourceError, match=r"tf\.signal\.frame"):
        tensorferry.convert(source, tmp_path / "model.tflite")


def test_an_einsum_whose_operands_keras_lost_is_refused(tmp_path: Any) -> None:
    x = tf_keras.Input((7, 4))
    source = save(tf_keras.Model(x, tf.einsum("bij,bkj->bik", x, x)), "h5", tmp_path)
    with pytest.raises(SourceError, match="einsum"):
        tensorferry.convert(source, tmp_path / "model.tflite")


def _node(op: str, inputs: list[str], **attrs: Any) -> bytes:
    node = tf.compat.v1.NodeDef(name=op, op=op, input=inputs)
    for key, value in attrs.items():
        field = {int: "i", float: "f", bool: "b", bytes: "s"}.get(type(value), "type")
        node.attr[key].CopyFrom(tf.compat.v1.AttrValue(**{field: value.as_datatype_enum if field == "type" else value}))
    return node.SerializeToString()


@pytest.mark.parametrize("form", ["json", "bytes"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_single_operations_of_tensorflow_as_layers(form: str, tmp_path: Any) -> None:
    layer = base_layer.TensorFlowOpLayer
    kind, whole = {"T": tf.float32}, {"Tidx": tf.int32}
    x = tf_keras.Input((7, 4))
    scaled = layer(_node("Mul", ["x", "y"], **kind), "Mul", {1: np.float32(2.5)})(x)
    joined = layer(_node("ConcatV2", ["a", "b", "c"], N=2, **kind, **whole), "concat", {2: np.int32(-1)})([x, scaled])
    mean = layer(_node("Mean", ["a", "b"], keep_dims=True, **kind, **whole), "Mean", {1: np.array([1, 2], np.int32)})(joined)
    parts = layer(_node("Split", ["a", "b"], num_split=2, **kind), "split", {0: np.int32(2)})(joined)
    slope = layer(_node("LeakyRelu", ["x"], alpha=0.25, **kind), "leaky")(x)
    taken = layer(_node("Sub", ["a", "b"], **kind), "sub", {0: np.float32(1.0)})(slope)
    model = tf_keras.Model(x, [mean, *parts, taken])
    batch = np.random.default_rng(3).normal(0, 1, (2, 7, 4)).astype(np.float32)
    expected = [np.asarray(each) for each in model(batch)]
    source = save(model, "h5", tmp_path)
    if form == "bytes":
        with h5py.File(source, "a") as file:
            config = json.loads(file.attrs["model_config"])
            for each in config["config"]["layers"]:
                if "node_def" in each["config"]:
                    node = json_format.ParseDict(each["config"]["node_def"], tf.compat.v1.NodeDef())
                    if node.op != "LeakyRelu":  # the bytes of a float are no text
                        each["config"]["node_def"] = node.SerializeToString().decode()
            file.attrs["model_config"] = json.dumps(config)
    tensorferry.convert(source, tmp_path / "model.tflite", verify=False)
    with LiteRtModel(tmp_path / "model.tflite") as lite:
        found = list(lite.run({lite.inputs[0].name: batch}).values())
    assert all(agree(mine, other) for mine, other in zip(found, expected, strict=True))
