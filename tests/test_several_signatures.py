"""Several signatures of a SavedModel in one TensorFlow Lite file: weights and variables are shared between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorferry
from tensorferry.errors import OptionError
from tensorferry.readers import wanted_signatures

tf = pytest.importorskip("tensorflow", reason="TensorFlow, which writes the models, is not installed")
pytest.importorskip("ai_edge_litert", reason="LiteRT, which runs the files, is not installed")
v1 = tf.compat.v1

MODELS = Path(__file__).parent.parent.parent / "shared" / "models"
X = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
KERNEL = np.random.default_rng(0).normal(size=(4, 500)).astype(np.float32)
BIG = np.random.default_rng(1).normal(size=(500, 50)).astype(np.float32)


class Coder(tf.Module):
    """Two signatures over the same weights, and a third that only counts."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = tf.Variable(KERNEL)
        self.big = tf.Variable(BIG)
        self.calls = tf.Variable(3)

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def encode(self, x):
        self.calls.assign_add(1)
        return {"code": tf.matmul(tf.tanh(tf.matmul(x, self.kernel)), self.big)}

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def score(self, x):
        return {"score": tf.reduce_sum(tf.matmul(tf.nn.relu(tf.matmul(x, self.kernel)), self.big), -1)}

    @tf.function(input_signature=[])
    def count(self):
        return {"calls": self.calls.read_value()}

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32, name="to")])
    def reset(self, to):
        self.calls.assign(to)
        return {"was_set_to": tf.identity(to)}


@pytest.fixture(scope="module")
def coder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coder")
    module = Coder()
    names = ("encode", "score", "count", "reset")
    tf.saved_model.save(module, str(folder / "saved"), {name: getattr(module, name) for name in names})
    return folder / "saved"


def runners(path: Path) -> dict[str, Any]:
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - may be missing

    interpreter = Interpreter(str(path))
    return {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}


def test_all_signatures_share_weights_and_variables(coder: Path, tmp_path: Path) -> None:
    report = tensorferry.convert(coder, tmp_path / "all.tflite", signature="all")
    assert report.verified
    compared = {output.name for output in report.targets[0].check.outputs}
    assert {"encode: code", "score: score", "count: calls", "reset: was_set_to"} <= compared
    one = tensorferry.convert(coder, tmp_path / "one.tflite", signature="encode")
    assert report.targets[0].bytes < 1.2 * one.targets[0].bytes, "the weights are in the file once"
    run = runners(tmp_path / "all.tflite")
    assert set(run) == {"encode", "score", "count", "reset"}
    np.testing.assert_allclose(run["encode"](x=X)["code"], np.tanh(X @ KERNEL) @ BIG, rtol=1e-4, atol=1e-4)
    assert run["count"]()["calls"] == 4, "the variable that one signature changes is what another reads"
    run["encode"](x=X)
    assert run["count"]()["calls"] == 5
    run["reset"](to=np.int32(40))
    run["encode"](x=X)
    assert run["count"]()["calls"] == 41, "what is only assigned is kept too"
    expected = np.sum(np.maximum(X @ KERNEL, 0) @ BIG, -1)
    np.testing.assert_allclose(run["score"](x=X)["score"], expected, rtol=1e-4, atol=1e-3)


def test_some_signatures_in_the_order_named(coder: Path, tmp_path: Path) -> None:
    report = tensorferry.convert(coder, tmp_path / "two.tflite", signature="score, encode", input_shapes={"x": (2, 4)})
    assert report.verified and [port.name for port in report.outputs] == ["score"]
    assert list(runners(tmp_path / "two.tflite")) == ["score", "encode"] or set(runners(tmp_path / "two.tflite")) == {
        "score",
        "encode",
    }
    assert any(notice.startswith("signature 'encode' is in the file: it takes x") for notice in report.notices)
    assert wanted_signatures(coder, "score,encode") == ("score", "encode")
    assert set(wanted_signatures(coder, "all")) == {"encode", "score", "count", "reset"}


def test_tensorflow_js_gets_the_first(coder: Path, tmp_path: Path) -> None:
    report = tensorferry.convert(coder, tmp_path / "web", signature="score,count", verify=False)
    assert any("signature 'score' alone is written" in notice for notice in report.targets[0].notices)


def test_what_cannot_be_asked_of_several(coder: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="several signatures at once"):
        tensorferry.convert(coder, tmp_path / "no.tflite", signature="all", outputs="score")
    with pytest.raises(OptionError, match="no signature 'third'"):
        tensorferry.convert(coder, tmp_path / "no.tflite", signature="score,third")
    with pytest.raises(OptionError, match="no signature has the input y"):
        tensorferry.convert(coder, tmp_path / "no.tflite", signature="all", input_shapes={"y": (1,)})
    with pytest.raises(OptionError, match="several signatures") as caught:
        tensorferry.convert(coder, tmp_path / "no.tflite")
    assert "count" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


class Line(tf.Module):
    """A model that is trained where it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec([4], tf.float32, name="x"), tf.TensorSpec([4], tf.float32, name="y")])
    def train(self, x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self.slope * x - y))
        gradient = tape.gradient(loss, self.slope)
        tf.raw_ops.ResourceApplyGradientDescent(var=self.slope.handle, alpha=0.1, delta=gradient)
        return {"loss": loss}

    @tf.function(input_signature=[tf.TensorSpec([4], tf.float32, name="x")])
    def infer(self, x):
        return {"y": self.slope * x}


def test_a_model_is_trained_where_it_runs(tmp_path: Path) -> None:
    module = Line()
    tf.saved_model.save(module, str(tmp_path / "saved"), {"train": module.train, "infer": module.infer})
    assert tensorferry.convert(tmp_path / "saved", tmp_path / "line.tflite", signature="all").verified
    run, x = runners(tmp_path / "line.tflite"), np.array([1, -1, 2, 0.5], np.float32)
    losses = [float(run["train"](x=x, y=3 * x)["loss"]) for _ in range(40)]
    assert losses[-1] < 1e-6 < losses[0]
    np.testing.assert_allclose(run["infer"](x=x)["y"], 3 * x, rtol=1e-3)


def test_serialised_examples_are_left_out(tmp_path: Path) -> None:
    """As estimators export: the classifier takes examples, what is parsed of them becomes its inputs."""
    with tf.Graph().as_default(), v1.Session() as session:
        examples = v1.placeholder(tf.string, [None], name="examples")
        features = {"age": tf.io.FixedLenFeature([1], tf.float32), "size": tf.io.FixedLenFeature([2], tf.float32)}
        parsed = v1.io.parse_example(examples, features)
        kernel = v1.get_variable("kernel", initializer=np.arange(6, dtype=np.float32).reshape(3, 2))
        scores = tf.nn.softmax(tf.matmul(tf.concat([parsed["age"], parsed["size"]], 1), kernel))
        session.run(v1.global_variables_initializer())
        signature = v1.saved_model.classification_signature_def(examples, None, scores)
        builder = v1.saved_model.Builder(str(tmp_path / "saved"))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    report = tensorferry.convert(tmp_path / "saved", tmp_path / "model.tflite")
    assert report.verified
    assert {(port.name, tuple(port.shape)[1:]) for port in report.inputs} == {("age", (1,)), ("size", (2,))}
    assert any("parses serialised examples" in notice for notice in report.notices)


def test_elements_of_data_sets_and_queues_are_inputs(tmp_path: Path) -> None:
    for make in (_from_iterator, _from_queue):
        with tf.Graph().as_default() as graph:
            image = make()
            tf.identity(tf.reduce_sum(image * 2.0, [1]), name="y")
            (tmp_path / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
        report = tensorferry.convert(tmp_path / "graph.pb", tmp_path / "model.tflite", outputs="y")
        assert report.verified and [tuple(port.shape)[1:] for port in report.inputs] == [(3,)]
        assert any("which is left out: what it gives are inputs" in notice for notice in report.notices)


def _from_iterator() -> Any:
    data = tf.data.Dataset.from_tensor_slices(np.ones((4, 3), np.float32)).batch(2)
    return v1.data.make_initializable_iterator(data).get_next()


def _from_queue() -> Any:
    queue = v1.FIFOQueue(10, [tf.float32], shapes=[(3,)])
    queue.enqueue_many(np.ones((4, 3), np.float32))
    return queue.dequeue_many(2)


@pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not there")
def test_a_real_counter(tmp_path: Path) -> None:
    assert tensorferry.convert(MODELS / "counter_sm", tmp_path / "counter.tflite", signature="all").verified
    run = runners(tmp_path / "counter.tflite")
    run["incr_counter"]()
    run["incr_counter_by"](delta=np.float32(5))
    assert run["get_counter"]()["output"] == 6
    run["reset_counter"]()
    assert run["get_counter"]()["output"] == 0
