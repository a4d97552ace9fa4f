"""Files that TensorFlow's own converter makes: read, converted onwards, and each time compared with LiteRT on the original."""

from __future__ import annotations

import os

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert_runtime

import tensorferry
from tensorferry import readers
from tensorferry.errors import OptionError
from tensorferry.readers.selection import select
from tensorferry.runtimes import litert, tfjs
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.tensor import CastTensor, FileTensor
from test_tflite_operators import assert_same
from test_tflite_reader import feeds_for

tf = pytest.importorskip("tensorflow")
tf_keras = pytest.importorskip("tf_keras")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # the converter's own

STEPS = {"int8": 2 / 256, "whole": 1, "int16": 1e-3}
"""How far a quantised output may lie from LiteRT's: in steps where it is whole numbers, else relative to the largest value."""


def image_net():
    layers = tf_keras.layers
    return tf_keras.Sequential(
        [
            layers.Input((10, 10, 3)),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.DepthwiseConv2D(3, strides=2, padding="same", activation="relu6"),
            layers.Conv2D(6, 3, dilation_rate=2, padding="same", activation="tanh"),
            layers.MaxPool2D(),
            layers.Flatten(),
            layers.Dense(300),
            layers.LeakyReLU(),
            layers.Dense(5, activation="softmax"),
        ]
    )


def sequence_net():
    layers = tf_keras.layers
    wide = tf_keras.initializers.RandomUniform(-3, 3, seed=3)  # LiteRT's kernel for whole numbers fails on cells that stay small
    return tf_keras.Sequential([layers.Input((4, 3), batch_size=1), layers.LSTM(5, kernel_initializer=wide), layers.Dense(2)])


def converted(net, kind):
    converter = tf.lite.TFLiteConverter.from_keras_model(net)
    lite = tf.lite.OpsSet
    if kind != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind in ("int8", "whole", "int16"):
        shape = (1, *net.input_shape[1:])
        random = np.random.default_rng(2)
        converter.representative_dataset = lambda: ([random.uniform(-1, 1, shape).astype(np.float32)] for _ in range(8))
    if kind in ("int8", "whole"):
        converter.target_spec.supported_ops = [lite.TFLITE_BUILTINS_INT8]
    if kind == "whole":
        converter.inference_input_type = converter.inference_output_type = tf.int8
    if kind == "int16":
        wide = lite.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [wide, lite.TFLITE_BUILTINS]
    return converter.convert()


class Several(tf.Module):
    """Functions that become signatures."""

    def __init__(self):
        self.total = tf.Variable(tf.ones([3]))
        keys = tf.lookup.KeyValueTensorInitializer(tf.constant(["a", "b"]), tf.constant([5, 6], tf.int64))
        self.table = tf.lookup.StaticHashTable(keys, -1)

    @tf.function(input_signature=[tf.TensorSpec([3], tf.float32)])
    def count(self, x):
        self.total.assign_add(x)
        return {"total": self.total.read_value() * 2.0}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def double(self, a):
        return {"twice": a * 2.0, "same": a}

    @tf.function(input_signature=[tf.TensorSpec([4], tf.float32)])
    def loop(self, x):
        i = tf.constant(0)
        while tf.reduce_sum(x) < 100.0 and i < 10:
            x = x * 2.0 + 1.0
            i += 1
        y = x - 1.0 if tf.reduce_sum(x) > 150.0 else x + 1.0
        return {"x": y, "i": i}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def look(self, w):
        return {"n": self.table.lookup(w)}


def signatures(folder, *names):
    module = Several()
    tf.saved_model.save(module, str(folder), signatures={name: getattr(module, name) for name in names})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=list(names))
    converter.experimental_enable_resource_variables = True
    return converter.convert()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Name -> file, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("lite")
    tf.random.set_seed(1)
    nets = {"image": image_net(), "sequence": sequence_net()}

    def make(name):
        path = folder / f"{name}.tflite"
        if not path.exists():
            net, _, kind = name.partition("-")
            content = converted(nets[net], kind) if net in nets else signatures(folder / f"{name}_saved", *name.split("-"))
            path.write_bytes(content)
        return path

    return make


@pytest.mark.parametrize("name", ["image-float", "image-dynamic", "image-float16", "image-int8", "image-whole", "image-int16"])
def test_a_net_in_every_quantisation(name, made):
    kind = name.partition("-")[2]
    graph = select(readers.read(made(name)))
    feeds = feeds_for(graph)
    ours, theirs = evaluate_graph(graph, feeds), litert.run(made(name), feeds).outputs
    for output, array in theirs.items():
        largest = np.abs(array.astype(np.float64)).max()
        error = np.abs(ours[output].astype(np.float64) - array).max()
        limit = {"float": 1e-5, "float16": 1e-4, "dynamic": 0.02}.get(kind, STEPS.get(kind, 0))
        assert error <= limit * (1 if kind == "whole" else largest)


def test_weights_of_float16_are_recipes(made):
    graph = select(readers.read(made("image-float16")))
    weights = [
        node["value"] for node in graph.nodes if node.op == "Const" and node.output.dtype.is_float and node["value"].size > 300
    ]
    assert weights
    assert all(isinstance(root(each), FileTensor) for each in weights)
    assert any(isinstance(each, CastTensor) or isinstance(getattr(each, "base", None), CastTensor) for each in weights)


def root(tensor):
    while hasattr(tensor, "base"):
        tensor = tensor.base
    return tensor


@pytest.mark.parametrize("name", ["sequence-float", "sequence-int8"])
def test_a_recurrent_net(name, made):
    assert_same(made(name), 1e-5 if name.endswith("float") else 0.03)


def test_signatures_are_chosen_by_name(made):
    path = made("double-loop")
    with pytest.raises(OptionError, match="several signatures"):
        readers.read(path)
    graph = select(readers.read(path, signature="loop"))
    assert [port.name for port in graph.inputs] == ["x"]
    assert {"While", "If"} <= {node.op for node in graph.nodes}
    from_litert = litert_runtime.Interpreter(os.fspath(path)).get_signature_runner("loop")
    for scale in (0.1, 30.0):
        feeds = {"x": np.full(4, scale, np.float32)}
        ours, theirs = evaluate_graph(graph, feeds), from_litert(**feeds)
        for output, array in theirs.items():
            np.testing.assert_allclose(ours[output], array, rtol=1e-6)
    graph = select(readers.read(path, signature="double"))
    assert graph.inputs[0].value.shape == ("a.0", 2)


def test_all_signatures_go_into_one_file(made, tmp_path):
    report = tensorferry.convert(made("double-loop"), tmp_path / "again.tflite", signature="all")
    assert report.verified
    again = litert_runtime.Interpreter(os.fspath(tmp_path / "again.tflite"))
    assert set(again.get_signature_list()) == {"double", "loop"}
    x = np.full(4, 0.3, np.float32)
    first = litert_runtime.Interpreter(os.fspath(made("double-loop"))).get_signature_runner("loop")(x=x)
    np.testing.assert_allclose(again.get_signature_runner("loop")(x=x)["x"], first["x"], rtol=1e-6)
    assert tensorferry.inspect(made("double-loop")).inputs


def test_variables_live_on(made):
    graph = assert_same(made("count"), calls=3)
    assert len(graph.states) == 1


def test_tables_hold_what_the_file_fills_them_with(made):
    feeds = {"w": np.array([b"b", b"x", b"a"], object)}
    graph = select(readers.read(made("look")))
    assert evaluate_graph(graph, feeds)["n"].tolist() == [6, -1, 5]


@pytest.mark.parametrize("name", ["image-float", "image-whole", "image-int16", "sequence-float", "sequence-int8", "count"])
def test_onwards_to_lite_and_js(name, made, tmp_path):
    source = made(name)
    targets = [tmp_path / "again.tflite"] + ([tmp_path / "web"] if tfjs.available() is None else [])
    report = tensorferry.convert(source, targets)
    assert report.verified, [target.check.reason for target in report.targets]
    graph = select(readers.read(source))
    feeds = {key: value for key, value in feeds_for(graph).items() if key not in graph.states}
    if name == "count":
        return  # a variable is inside of one target and beside the other
    first, again = (litert.run(path, feeds).outputs for path in (source, targets[0]))
    for output, array in first.items():
        whole = array.dtype.kind == "i"
        atol = 1 if whole else 0.01 * np.abs(array).max()
        np.testing.assert_allclose(again[output].astype(np.float64), array, rtol=0, atol=atol)


@pytest.mark.parametrize("name", ["image-float", "image-whole", "sequence-float"])
def test_onwards_to_a_frozen_graph(name, made, tmp_path):
    """TensorFlow runs what was frozen, and gives what LiteRT gives of the original."""
    frozen = tensorferry.freeze(made(name), tmp_path / "net.pb")
    graph = select(readers.read(made(name)))
    feeds = feeds_for(graph)
    expected = litert.run(made(name), feeds).outputs
    definition = tf.compat.v1.GraphDef.FromString((tmp_path / "net.pb").read_bytes())
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(definition, name="")
        fed = {f"{port.name}:0": feeds[port.name] for port in graph.inputs}
        results = session.run([f"{port.name}:0" for port in graph.outputs], fed)
    assert frozen.nodes == len(definition.node)
    for port, result in zip(graph.outputs, results, strict=True):
        array = expected[port.name]
        np.testing.assert_allclose(result.astype(np.float64), array, rtol=0, atol=1 if array.dtype.kind == "i" else 1e-5)
