"""SavedModels of TensorFlow 2 beyond their signatures: functions by name, what they capture, whose value is whose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorferry
from tensorferry.errors import OptionError, SourceError
from tensorferry.readers import read
from tensorferry.readers.objects import Objects, SavedObject, find_function, scan_objects
from tensorferry.readers.selection import select
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.wire.protobuf import whole

tf = pytest.importorskip("tensorflow", reason="TensorFlow, which writes the models, is not installed")
from google.protobuf import text_format  # noqa: E402 - comes with TensorFlow
from tensorflow.core.protobuf import saved_model_pb2, saved_object_graph_pb2  # noqa: E402

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


class Model(tf.Module):
    """Two variables of one name, a table with a vocabulary, functions that share what they capture; the root is its own child."""

    def __init__(self, vocabulary: Path) -> None:
        super().__init__()
        self.kernel = tf.Variable(np.arange(6, dtype=np.float32).reshape(3, 2), name="w")
        self.inner = tf.Module()
        self.inner.bias = tf.Variable([10.0, 20.0], name="w")
        self.again = self
        self.scale = tf.constant([[2.0]])
        initializer = tf.lookup.TextFileInitializer(
            str(vocabulary), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
        )
        self.table = tf.lookup.StaticHashTable(initializer, -1)

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def project(self, x):
        return tf.matmul(x, self.kernel) * self.scale

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def serve(self, x):
        return {"sum": tf.reduce_sum(x), "out": self.project(x) + self.inner.bias}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words"), tf.TensorSpec([], tf.int64, name="more")])
    def number(self, words, more):
        return self.table.lookup(words) + more, words

    @tf.function
    def times(self, x, factor=1):
        return x * factor


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Model]:
    folder = tmp_path_factory.mktemp("functions")
    (folder / "words.txt").write_text("ferry\ntensor\nFähre\n")
    model = Model(folder / "words.txt")
    for factor in (1, 2):
        model.times(tf.constant([1.0]), factor)
    tf.saved_model.save(model, str(folder / "saved"))
    return folder / "saved", model


def test_functions_have_names(saved: tuple[Path, Model]) -> None:
    path, model = saved
    graph = select(read(path, signature="serve"))
    assert [port.name for port in graph.inputs] == ["x"]
    expected = model.serve(X)
    actual = evaluate_graph(graph, {"x": X})
    assert set(actual) == {"sum", "out"}
    for name, array in actual.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-6)
    graph = select(read(path, signature="project"))
    np.testing.assert_allclose(evaluate_graph(graph, {"x": X})["output_0"], model.project(X), rtol=1e-6)


def test_tables_and_their_vocabularies_are_captured(saved: tuple[Path, Model]) -> None:
    graph = select(read(saved[0], signature="number"))
    words = np.array(["Fähre".encode(), b"unknown", b"ferry"], object)
    actual = evaluate_graph(graph, {"words": words, "more": np.int64(100)})
    assert actual["output_0"].tolist() == [102, 99, 100]


def test_a_trace_can_be_named(saved: tuple[Path, Model]) -> None:
    with pytest.raises(OptionError, match="'times' was traced 2 times") as caught:
        read(saved[0], signature="times")
    traces = caught.value.remedy.removeprefix("choose one: ").split(", ")
    results = []
    for trace in traces:
        graph = select(read(saved[0], signature=trace))
        results.append(evaluate_graph(graph, {graph.inputs[0].name: np.ones(1, np.float32)})["output_0"].item())
    assert sorted(results) == [1, 2]


def test_without_a_choice_all_are_listed(saved: tuple[Path, Model], tmp_path: Path) -> None:
    for signature in (None, "nothing"):
        with pytest.raises(OptionError, match="no signature") as caught:
            tensorferry.convert(saved[0], tmp_path / "no.tflite", signature=signature)
        assert "number, project, serve, times" in caught.value.remedy


def test_the_only_function_is_taken(tmp_path: Path) -> None:
    class Doubler(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def __call__(self, x):
            return 2.0 * x

    tf.saved_model.save(Doubler(), str(tmp_path / "saved"), signatures={})
    report = tensorferry.convert(tmp_path / "saved", tmp_path / "double.tflite")
    assert report.verified and any("its function '__call__' is converted" in notice for notice in report.notices)


def test_text_form_holds_functions_too(saved: tuple[Path, Model], tmp_path: Path) -> None:
    message = saved_model_pb2.SavedModel.FromString((saved[0] / "saved_model.pb").read_bytes())
    (tmp_path / "saved_model.pbtxt").write_text(text_format.MessageToString(message))
    (tmp_path / "variables").symlink_to(saved[0] / "variables")
    graph = select(read(tmp_path, signature="serve"), shapes={"x": (2, 3)})
    np.testing.assert_allclose(evaluate_graph(graph, {"x": X})["out"], saved[1].serve(X)["out"], rtol=1e-6)


def test_names_alone_say_nothing(tmp_path: Path) -> None:
    """Keras 3 exports an unsaved variable `.../kernel` beside the captured one `.../kernel_1`."""
    keras = pytest.importorskip("keras", reason="Keras 3 is not installed")
    layers = [keras.layers.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    model.export(str(tmp_path / "saved"), verbose=False)
    graph = read(tmp_path / "saved")
    handles = {node.name for node in graph.nodes if node.op == "VarHandleOp"}
    assert {name for name in handles if f"{name}_1" in handles} - set(graph.variables), "there is such a pair, one of it unsaved"
    x = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)
    for signature in (None, "serve"):
        graph = select(read(tmp_path / "saved", signature=signature))
        (actual,) = evaluate_graph(graph, {graph.inputs[0].name: x}).values()
        np.testing.assert_allclose(actual, model(x).numpy(), atol=1e-5)


def test_a_graph_without_a_saver_finds_values_by_their_objects(tmp_path: Path) -> None:
    """A checkpoint of TensorFlow 2 keeps its values under the paths of objects, and tells the variables' names."""
    model = tf.Module()
    model.one, model.two = tf.Variable(3.0, name="scale"), tf.Variable(4.0, name="shift")
    prefix = tf.train.Checkpoint(model=model).write(str(tmp_path / "objects"))
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (), name="x")
        scale, shift = (tf.compat.v1.get_variable(name, (), use_resource=True) for name in ("scale", "shift"))
        tf.add(x * scale, shift, name="y")
        (tmp_path / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
    found = select(read(tmp_path / "graph.pb", checkpoint=prefix), outputs=["y"])
    assert evaluate_graph(found, {"x": np.float32(10)})["y"] == 34


def test_variables_in_functions_within_functions(tmp_path: Path) -> None:
    """One variable captured by several functions, handed to a branch and a loop as an argument."""

    class Nested(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.v = tf.Variable([1.0, 2.0])

        @tf.function
        def inner(self, x):
            return x + self.v

        @tf.function(input_signature=[tf.TensorSpec([2], tf.float32, name="x"), tf.TensorSpec([], tf.bool, name="more")])
        def outer(self, x, more):
            y = self.inner(self.inner(x)) * self.v
            y = tf.cond(more, lambda: y + self.v, lambda: y - self.inner(y))
            return {"y": tf.while_loop(lambda i, _: i < 3, lambda i, a: (i + 1, a + self.v), (0, y))[1]}

    model = Nested()
    tf.saved_model.save(model, str(tmp_path / "saved"), {"serving_default": model.outer})
    for more in (True, False):
        graph = select(read(tmp_path / "saved"))
        x = np.array([3, -1], np.float32)
        actual = evaluate_graph(graph, {"x": x, "more": np.array(more)})["y"]
        np.testing.assert_allclose(actual, model.outer(x, more)["y"], rtol=1e-6)


# -- hostile object graphs -----------------------------------------------------------------------------------------


def scanned(**nodes: Any) -> Objects:
    return scan_objects(whole(memoryview(saved_object_graph_pb2.SavedObjectGraph(**nodes).SerializeToString())))


def test_objects_may_lead_back_to_each_other() -> None:
    saved_object = saved_object_graph_pb2.SavedObject
    first, second = saved_object(), saved_object()
    first.children.add(node_id=1, local_name="next")
    second.children.add(node_id=0, local_name="back")
    second.children.add(node_id=1, local_name="self")
    second.children.add(node_id=2, local_name="run")
    function = saved_object(function={"concrete_functions": ["trace"]})
    objects = scanned(nodes=[first, second, function])
    assert objects.functions() == {"next.run": ["trace"]}
    assert find_function(objects, "next.run") == ("next.run", "trace")


def test_objects_that_are_not_there() -> None:
    first = saved_object_graph_pb2.SavedObject()
    first.children.add(node_id=7, local_name="next")
    with pytest.raises(SourceError, match="object 7 of 1"):
        scanned(nodes=[first]).functions()


def test_deep_chains_end() -> None:
    nodes = [SavedObject(children={"next": number + 1}) for number in range(100_000)]
    nodes.append(SavedObject(kind="function", names=["trace"]))
    assert Objects(nodes).functions() == {}


def test_captures_that_are_not_there(saved: tuple[Path, Model], tmp_path: Path) -> None:
    message = saved_model_pb2.SavedModel.FromString((saved[0] / "saved_model.pb").read_bytes())
    functions = message.meta_graphs[0].object_graph_def.concrete_functions
    for change in (lambda bound: bound.append(10**6), lambda bound: bound.extend([0] * 9)):
        broken = saved_model_pb2.SavedModel.FromString(message.SerializeToString())
        concrete = broken.meta_graphs[0].object_graph_def.concrete_functions
        for name in functions:
            if "project" in name:
                change(concrete[name].bound_inputs)
        (tmp_path / "saved_model.pb").write_bytes(broken.SerializeToString())
        with pytest.raises(SourceError, match="captures"):
            read(tmp_path, signature="project")
