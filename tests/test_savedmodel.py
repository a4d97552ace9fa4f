"""SavedModels, MetaGraphs and graphs with a checkpoint: their variables become constants, their signatures the public names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tensorferry
from tensorferry.cli import app
from tensorferry.errors import OptionError, SourceError
from tensorferry.readers import detect, read
from tensorferry.readers.selection import select
from tensorferry.runtimes.reference import evaluate_graph

tf = pytest.importorskip("tensorflow", reason="TensorFlow, which writes the models, is not installed")
v1 = tf.compat.v1

MODELS = Path(__file__).parent.parent.parent / "shared" / "models"
X = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)


def net(resource: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """x -> relu(x @ kernel + bias), with an optimiser's step beside it."""
    generator = np.random.default_rng(0)
    x = v1.placeholder(tf.float32, (None, 4), name="x")
    kernel = v1.get_variable("layer/kernel", initializer=generator.normal(size=(4, 3)).astype(np.float32), use_resource=resource)
    bias = v1.get_variable("layer/bias", initializer=generator.normal(size=3).astype(np.float32), use_resource=resource)
    y = tf.nn.relu(tf.matmul(x, kernel) + bias, name="y")
    labels = v1.placeholder(tf.float32, (None, 3), name="labels")
    loss = tf.reduce_mean(v1.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=y))
    v1.train.AdamOptimizer(0.1).minimize(loss)
    return x, y


@pytest.fixture(params=[False, True], ids=["references", "resources"])
def trained(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A folder with `graph.pb`, checkpoint `model` (with its .meta) and SavedModel `saved`; what the net gives for X."""
    with tf.Graph().as_default() as graph, v1.Session() as session:
        x, y = net(request.param)
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(tmp_path / "model"))
        builder = v1.saved_model.Builder(str(tmp_path / "saved"))
        info = v1.saved_model.build_tensor_info
        signatures = {
            name: v1.saved_model.build_signature_def({"features": info(x)}, {output: info(y)})
            for name, output in (("serving_default", "scores"), ("other", "values"))
        }
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
        (tmp_path / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
        return tmp_path, session.run(y, {x: X})


def test_a_saved_model(trained: tuple[Path, np.ndarray]) -> None:
    folder, expected = trained
    assert detect(folder / "saved") == detect(folder / "saved" / "saved_model.pb") == "savedmodel"
    graph = select(read(folder / "saved"))
    assert [port.name for port in graph.inputs] == ["features"]
    assert any("--signature chooses another: other" in notice for notice in graph.notices)
    np.testing.assert_allclose(evaluate_graph(graph, {"features": X})["scores"], expected, rtol=1e-6)


def test_a_graph_with_its_checkpoint(trained: tuple[Path, np.ndarray]) -> None:
    folder, expected = trained
    for source, checkpoint in (("graph.pb", folder / "model"), ("graph.pb", folder), ("model.meta", None)):
        graph = select(read(folder / source, checkpoint=checkpoint))
        assert [port.name for port in graph.outputs] == ["y"], "the optimiser and the loss stand beside the model"
        np.testing.assert_allclose(evaluate_graph(graph, {"x": X})["y"], expected, rtol=1e-6)


def test_a_graph_without_its_checkpoint_says_what_is_missing(trained: tuple[Path, np.ndarray]) -> None:
    folder, _ = trained
    with pytest.raises(SourceError, match="it has 2 variables") as caught:
        select(read(folder / "graph.pb"))
    assert "layer/kernel" in caught.value.where and "--checkpoint" in caught.value.remedy


def test_freeze_is_read_by_tensorflow(trained: tuple[Path, np.ndarray]) -> None:
    folder, expected = trained
    target = folder / "frozen.pb"
    result = CliRunner().invoke(app, ["freeze", str(folder / "graph.pb"), "--checkpoint", str(folder / "model"), "-o", str(target)])
    assert result.exit_code == 0, result.output
    assert "layer/kernel" not in result.output and "y" in result.output
    definition = v1.GraphDef.FromString(target.read_bytes())
    assert {node.op for node in definition.node} == {"Const", "Placeholder", "Identity", "MatMul", "AddV2", "Relu"}
    with tf.Graph().as_default(), v1.Session() as session:
        tf.import_graph_def(definition, name="")
        np.testing.assert_array_equal(session.run("y:0", {"x:0": X}), expected)


def test_conversion_with_signature(trained: tuple[Path, np.ndarray]) -> None:
    folder, _ = trained
    report = tensorferry.convert(folder / "saved", folder / "out.tflite", signature="other")
    assert report.verified and [port.name for port in report.outputs] == ["values"]
    with pytest.raises(OptionError, match="no signature 'third'") as caught:
        tensorferry.convert(folder / "saved", folder / "out.tflite", signature="third")
    assert "serving_default, other" in caught.value.remedy or "other, serving_default" in caught.value.remedy
    with pytest.raises(OptionError, match="no graph with the tags gpu"):
        tensorferry.convert(folder / "saved", folder / "out.tflite", tags="gpu")
    with pytest.raises(OptionError, match="has no signatures"):
        tensorferry.convert(folder / "graph.pb", folder / "out.tflite", signature="x")


def test_a_restored_name_beats_that_of_the_variable(tmp_path: Path) -> None:
    """The saver may keep a variable under a name that is another variable's."""
    with tf.Graph().as_default(), v1.Session() as session:
        first = v1.get_variable("first", initializer=np.float32(1), use_resource=True)
        second = v1.get_variable("second", initializer=np.float32(2), use_resource=True)
        x = v1.placeholder(tf.float32, (), name="x")
        tf.add(x * first, second, name="y")
        session.run(v1.global_variables_initializer())
        v1.train.Saver({"second": first, "first": second}).save(session, str(tmp_path / "model"))
    graph = select(read(tmp_path / "model.meta"))
    assert evaluate_graph(graph, {"x": np.float32(10)})["y"] == 12


def test_partitions_of_a_variable(tmp_path: Path) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        rows = v1.ones_initializer()
        table = v1.get_variable("table", (10, 2), initializer=rows, partitioner=v1.fixed_size_partitioner(3))
        values = np.arange(20, dtype=np.float32).reshape(10, 2)
        starts = (0, 4, 7)
        fill = [v1.assign(part, values[at : at + part.shape[0]]) for part, at in zip(table, starts, strict=True)]
        x = v1.placeholder(tf.float32, (10,), name="x")
        tf.identity(tf.linalg.matvec(tf.transpose(tf.convert_to_tensor(table)), x), name="y")
        session.run(v1.global_variables_initializer())
        session.run(fill)
        v1.train.Saver().save(session, str(tmp_path / "model"))
    graph = select(read(tmp_path / "model.meta"), outputs=["y"])
    assert evaluate_graph(graph, {"x": np.ones(10, np.float32)})["y"].tolist() == [90, 100]


def test_a_variable_that_changes_is_carried_along(tmp_path: Path) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        count = v1.get_variable("count", initializer=np.float32(1), use_resource=True)
        x = v1.placeholder(tf.float32, (), name="x")
        with tf.control_dependencies([count.assign_add(x)]):
            tf.identity(count.read_value(), name="y")
        session.run(v1.global_variables_initializer())
        session.run(count.assign(5))
        v1.train.Saver().save(session, str(tmp_path / "model"))
    graph = select(read(tmp_path / "model.meta"), outputs=["y"])
    assert graph.states["count"].first.array() == 5, "what was saved, not what it was initialised with"
    assert evaluate_graph(graph, {"x": np.float32(2), "count": np.float32(5)}) == {"y": 7, "count/next": 7}


@pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not there")
@pytest.mark.parametrize("name", ["cifar_saved_model", "half_plus_two_tf1", "mnist_lr_saved_model", "objdetect_yingshaoxo_sm"])
def test_real_saved_models_of_tensorflow_1(name: str) -> None:
    loaded = tf.saved_model.load(str(MODELS / name)).signatures["serving_default"]
    graph = select(read(MODELS / name))
    (port,) = graph.inputs
    value = np.random.default_rng(0).uniform(0, 1, [2, *(port.value.shape or ())[1:]]).astype(np.float32)
    expected = loaded(**{port.name: tf.constant(value)})
    actual = evaluate_graph(graph, {port.name: value})
    assert set(actual) == set(expected)
    for output, array in actual.items():
        np.testing.assert_allclose(array, expected[output], rtol=1e-5, atol=1e-6)
