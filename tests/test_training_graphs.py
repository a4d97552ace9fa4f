"""Graphs that were saved for training: what belongs to training is found and left out, or turned to inference, and said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorferry
from tensorferry.ir import Graph
from tensorferry.readers import read
from tensorferry.readers.selection import select
from tensorferry.runtimes.reference import evaluate_graph

tf = pytest.importorskip("tensorflow", reason="TensorFlow, which writes the models, is not installed")
v1 = tf.compat.v1

MODELS = Path(__file__).parent.parent.parent / "shared" / "models"
X = np.random.default_rng(0).uniform(-1, 1, (6, 4, 4, 3)).astype(np.float32)


def trained(folder: Path, build: Callable[[Any], dict[Any, Any]], *, resource: bool = False, steps: int = 3) -> Path:
    """A checkpoint `model` of what `build` makes of the image x: it returns what to feed besides, and minimises `loss`."""
    with tf.Graph().as_default() as graph, v1.Session() as session:
        v1.set_random_seed(1)
        v1.get_variable_scope().set_use_resource(resource)
        x = v1.placeholder(tf.float32, (None, 4, 4, 3), name="x")
        feeds = build(x)
        loss = graph.get_tensor_by_name("loss:0")
        with tf.control_dependencies(v1.get_collection(v1.GraphKeys.UPDATE_OPS)):
            step = v1.train.AdamOptimizer(0.01).minimize(loss, global_step=v1.train.get_or_create_global_step())
        v1.summary.scalar("loss_summary", loss)
        session.run(v1.global_variables_initializer())
        for _ in range(steps):
            session.run(step, {x: X, **feeds})
        v1.train.Saver().save(session, str(folder / "model"))
    return folder / "model"


def dense(x: Any, name: str, size: int) -> Any:
    kernel = v1.get_variable(f"{name}/kernel", (x.shape[-1], size))
    return x @ kernel + v1.get_variable(f"{name}/bias", (size,), initializer=v1.zeros_initializer())


def flat(x: Any) -> Any:
    return tf.reshape(x, (-1, 48))


def run_tensorflow(prefix: Path, output: str, feeds: dict[str, Any]) -> np.ndarray:
    with tf.Graph().as_default(), v1.Session() as session:
        v1.train.import_meta_graph(f"{prefix}.meta").restore(session, str(prefix))
        return session.run(f"{output}:0", {f"{name}:0": value for name, value in feeds.items()})


def found(prefix: Path, expected: str, feeds: dict[str, Any] | None = None) -> Graph:
    """The graph, whose only output is `expected` and whose only input is x, with TensorFlow's numbers."""
    graph = select(read(prefix))
    assert ([port.name for port in graph.inputs], [port.name for port in graph.outputs]) == (["x"], [expected])
    actual = evaluate_graph(graph, {"x": X})[expected]
    np.testing.assert_allclose(actual, run_tensorflow(prefix, expected, {"x": X, **(feeds or {})}), rtol=1e-4, atol=1e-5)
    return graph


LABELS = np.array([0, 1, 2, 0, 1, 2])


def classifier(loss_of: Callable[[Any, Any], Any]) -> Callable[[Any], dict[Any, Any]]:
    def build(x: Any) -> dict[Any, Any]:
        labels = v1.placeholder(tf.int64, (None,), name="labels")
        logits = tf.identity(dense(tf.nn.relu(dense(flat(x), "one", 8)), "two", 3), name="logits")
        penalty = tf.add_n([tf.nn.l2_loss(each) for each in v1.trainable_variables()])
        tf.add(tf.reduce_mean(loss_of(labels, logits)), 0.01 * penalty, name="loss")
        hits = tf.equal(tf.argmax(logits, 1), labels)
        tf.reduce_mean(tf.cast(hits, tf.float32), name="accuracy")
        return {labels: LABELS}

    return build


LOSSES = {
    "hinge": lambda labels, logits: tf.nn.relu(1.0 - (2.0 * tf.one_hot(labels, 3) - 1.0) * logits),
    "squares": lambda labels, logits: tf.square(tf.one_hot(labels, 3) - logits),
    "sparse": lambda labels, logits: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits),
    "sigmoid": lambda labels, logits: tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.one_hot(labels, 3), logits=logits),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("resource", [False, True], ids=["references", "resources"])
def test_losses_measures_and_steps_stand_beside(tmp_path: Path, loss: str, resource: bool) -> None:
    graph = found(trained(tmp_path, classifier(LOSSES[loss]), resource=resource), "logits")
    told = next(notice for notice in graph.notices if "one for training" in notice)
    assert "4 steps of Adam" in told
    assert not {node.op for node in graph.nodes} & {"ApplyAdam", "ResourceApplyAdam", "SaveV2", "RestoreV2", "ScalarSummary"}


def test_probabilities_are_kept(tmp_path: Path) -> None:
    def build(x: Any) -> dict[Any, Any]:
        feeds = classifier(LOSSES["sparse"])(x)
        tf.nn.softmax(tf.compat.v1.get_default_graph().get_tensor_by_name("logits:0"), name="probabilities")
        return feeds

    found(trained(tmp_path, build), "probabilities")


def test_without_labels_the_last_layer_tells(tmp_path: Path) -> None:
    def autoencoder(x: Any) -> dict[Any, Any]:
        rebuilt = tf.sigmoid(dense(tf.nn.relu(dense(flat(x), "encode", 5)), "decode", 48), name="rebuilt")
        tf.reduce_mean(tf.square(rebuilt - flat(x)), name="loss")
        return {}

    found(trained(tmp_path, autoencoder), "rebuilt")


def normalised(fused: bool, training: Any) -> Callable[[Any], dict[Any, Any]]:
    """Batch normalisation as tf.layers writes it, then dropout."""

    def build(x: Any) -> dict[Any, Any]:
        layers = pytest.importorskip("tf_keras.src.legacy_tf_layers.normalization", reason="tf_keras is not installed")
        phase = v1.placeholder(tf.bool, (), name="phase") if training is None else training
        with pytest.warns(UserWarning):
            y = layers.batch_normalization(x, training=phase, fused=fused, momentum=0.5)
        keep = v1.placeholder(tf.float32, (), name="keep")
        y = v1.nn.dropout(tf.nn.relu(y), keep_prob=keep)
        feeds = classifier(LOSSES["sparse"])(y)
        return {**feeds, keep: 0.5, **({phase: True} if training is None else {})}

    return build


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "written out"])
def test_the_phase_becomes_inference(tmp_path: Path, fused: bool) -> None:
    prefix = trained(tmp_path, normalised(fused, None), resource=True)
    graph = select(read(prefix))
    assert any("'phase' chooses between training and inference: it is False" in notice for notice in graph.notices)
    report = tensorferry.convert(read_path := Path(f"{prefix}.meta"), tmp_path / "net.tflite")
    assert report.verified and [port.name for port in report.inputs] == ["x"], read_path
    expected = run_tensorflow(prefix, "logits", {"x": X, "phase": False, "keep": 1.0})
    np.testing.assert_allclose(run_lite(tmp_path / "net.tflite"), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "written out"])
def test_normalisation_by_the_batch_takes_the_averages(tmp_path: Path, fused: bool) -> None:
    """A graph that can only train: TensorFlow itself has no inference to offer, so numpy has."""
    prefix = trained(tmp_path, normalised(fused, True), resource=True)
    report = tensorferry.convert(Path(f"{prefix}.meta"), tmp_path / "net.tflite")
    assert report.verified and any("moving averages stand in the place" in notice for notice in report.notices)
    values = {name: tf.train.load_variable(str(prefix), name) for name, _shape in tf.train.list_variables(str(prefix))}
    norm = {name: values[f"batch_normalization/{name}"] for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    assert not np.allclose(norm["moving_mean"], 0)
    y = (X - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + 1e-3) * norm["gamma"] + norm["beta"]
    hidden = np.maximum(np.maximum(y, 0).reshape(6, 48) @ values["one/kernel"] + values["one/bias"], 0)
    expected = hidden @ values["two/kernel"] + values["two/bias"]
    np.testing.assert_allclose(run_lite(tmp_path / "net.tflite"), expected, rtol=1e-3, atol=1e-4)


def run_lite(path: Path) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - may be missing

    runner = Interpreter(str(path)).get_signature_runner()
    (result,) = runner(x=X).values()
    return np.asarray(result)


def test_a_phase_that_is_asked_for_stays(tmp_path: Path) -> None:
    prefix = trained(tmp_path, normalised(False, None), resource=True)
    graph = select(read(prefix), inputs=["x", "phase", "keep"], outputs=["logits"])
    assert not any("chooses between training" in notice for notice in graph.notices)


def test_averages_of_weights_are_no_statistics(tmp_path: Path) -> None:
    """Shadow variables follow the weights by the same rule; what is computed takes the weights all the same."""

    def build(x: Any) -> dict[Any, Any]:
        feeds = classifier(LOSSES["sparse"])(x)
        update = v1.train.ExponentialMovingAverage(0.5).apply(v1.trainable_variables())
        v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, update)
        return feeds

    graph = found(trained(tmp_path, build, resource=True), "logits")
    assert not any("moving averages" in notice for notice in graph.notices)


@pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not there")
def test_a_real_training_graph(tmp_path: Path) -> None:
    report = tensorferry.convert(MODELS / "cifar_ckpt", tmp_path / "cifar.tflite")
    assert report.verified
    assert ([port.name for port in report.inputs], [port.name for port in report.outputs]) == (["Input"], ["add_1"])
    assert any("'Placeholder' counts as labels" in notice for notice in report.notices)
