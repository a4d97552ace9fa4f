"""Crops of what was found go through convolutions and pooling, also when nothing was found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tensorferry
from small_graphs import v1
from tensorferry import ops
from tensorferry.ir import Graph, Port
from tensorferry.passes.empty_batches import FILLED, fill_empty_batches, fill_empty_reductions
from tensorferry.runtimes import litert, tfjs
from tensorferry.tensor import DType

KERNEL = np.linspace(-1, 1, 3 * 3 * 2 * 4, dtype=np.float32).reshape(3, 3, 2, 4)
SECOND = np.linspace(1, -1, 2 * 2 * 4 * 3, dtype=np.float32).reshape(2, 2, 4, 3)
SLOPES = np.array([0.1, -0.2, 0.3, 0.4], np.float32)


def stages(x: tf.Tensor) -> tf.Tensor:
    """Two convolutions with an activation of its own and a pooling between them."""
    x = tf.nn.conv2d(x, KERNEL, 1, "SAME") + 0.5
    x = tf.where(x > 0, x, x * SLOPES)
    x = tf.nn.max_pool2d(x, 2, 2, "VALID")
    return tf.reshape(tf.nn.conv2d(x, SECOND, 1, "VALID"), [-1, 27])


def found(images: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    return stages(tf.gather(images, tf.where(scores > 0.5)[:, 0]))


def found_in_a_branch(images: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    chosen = tf.gather(images, tf.where(scores > 0.5)[:, 0])
    return tf.cond(tf.size(chosen) > 0, lambda: stages(chosen), lambda: tf.zeros([0, 27]))


@pytest.mark.parametrize("make", [found, found_in_a_branch])
def test_nothing_found_is_nothing_computed(make, tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        images, scores = v1.placeholder(tf.float32, (5, 8, 8, 2), "images"), v1.placeholder(tf.float32, (5,), "scores")
        tf.identity(make(images, scores), name="out")
        (tmp_path / "source.pb").write_bytes(graph.as_graph_def().SerializeToString())
        tensorferry.convert(tmp_path / "source.pb", [tmp_path / "model.tflite"], outputs=["out"], verify=False)
        pictures = np.random.default_rng(0).normal(size=(5, 8, 8, 2)).astype(np.float32)
        with v1.Session(graph=graph) as session, litert.LiteRtModel(tmp_path / "model.tflite") as model:
            for each in ([1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1]):
                feeds = {"images": pictures, "scores": np.array(each, np.float32)}
                given = model.run(feeds)["out"]
                assert given.shape == (sum(each), 27)
                if any(each):  # of no images TensorFlow's own graph optimiser makes other shapes
                    wanted = session.run("out:0", {f"{name}:0": array for name, array in feeds.items()})
                    np.testing.assert_allclose(given, wanted, atol=1e-5)


def chain(batch: int | str, *, finds: bool) -> Graph:
    """A convolution, its activation and another, over images that are found or given."""
    graph = Graph("chain")
    images = ops.add(graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": (batch, 8, 8, 2)}, name="images").output
    scores = ops.add(graph, "Placeholder", (), {"dtype": DType.BOOL, "shape": (batch,)}, name="scores").output
    graph.inputs = [Port("images", images), Port("scores", scores)]
    value = images
    if finds:
        places = ops.add(graph, "Where", (scores,), name="places").output
        value = ops.add(graph, "GatherNd", (images, places), name="chosen").output
    attrs = {"strides": (1, 1, 1, 1), "padding": "SAME"}
    value = ops.add(graph, "Conv2D", (value, graph.constant(KERNEL, "kernel")), attrs, name="first").output
    value = ops.add(graph, "Relu", (value,), name="between").output
    value = ops.add(graph, "Conv2D", (value, graph.constant(SECOND, "second")), attrs, name="last").output
    graph.outputs = [Port("last", value)]
    return graph


def test_one_image_more_from_the_first_window_to_the_last() -> None:
    graph = chain("n", finds=True)
    assert fill_empty_batches(graph) == 3
    assert graph.outputs[0].value.producer.op == "StridedSlice" and graph.outputs[0].value.name == "last"
    last = graph.outputs[0].value.producer.inputs[0].producer
    assert last.op == "Conv2D" and last[FILLED] and last.inputs[0].producer.op == "Relu"
    assert [node.op for node in graph.nodes].count("Pad") == 1
    assert fill_empty_batches(graph) == 0


@pytest.mark.parametrize("batch", ["n", 3])
def test_batches_that_are_given_stay_as_they_are(batch) -> None:
    assert fill_empty_batches(chain(batch, finds=False)) == 0


REDUCTIONS = {"max": tf.reduce_max, "min": tf.reduce_min, "sum": tf.reduce_sum, "prod": tf.reduce_prod}


@pytest.mark.parametrize("dtype", [tf.float32, tf.int32])
def test_nothing_found_is_reduced_to_the_neutral_element(dtype, tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        rows, mask = v1.placeholder(dtype, (4, 3), "rows"), v1.placeholder(tf.bool, (4,), "mask")
        chosen = tf.boolean_mask(rows, mask)
        for name, reduce in REDUCTIONS.items():
            tf.identity(reduce(chosen, 0), name=f"{name}_along")
            tf.identity(reduce(chosen), name=f"{name}_of_all")
        names = [f"{name}_{how}" for name in REDUCTIONS for how in ("along", "of_all")]
        (tmp_path / "source.pb").write_bytes(graph.as_graph_def().SerializeToString())
        tensorferry.convert(tmp_path / "source.pb", [tmp_path / "js"], outputs=names, verify=False)
        numbers = np.array([[3, -1, 2], [-5, 4, 0], [1, 1, 7], [2, 2, -2]], dtype.as_numpy_dtype)
        with v1.Session(graph=graph) as session, tfjs.Session(backend="auto") as web:
            for each in ([1, 0, 1, 1], [0, 0, 0, 0]):
                feeds = {"rows": numbers, "mask": np.array(each, bool)}
                wanted = session.run([f"{name}:0" for name in names], {f"{name}:0": array for name, array in feeds.items()})
                given = web.run(tmp_path / "js", feeds).outputs
                for name, expected in zip(names, wanted, strict=True):
                    np.testing.assert_array_equal(given[name], expected, err_msg=name)


def test_reductions_of_what_is_given_stay_as_they_are() -> None:
    graph = Graph("graph")
    images = ops.add(graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": ("n", "?")}, name="images").output
    largest = ops.add(graph, "Max", (images, graph.constant(np.array([1], np.int32), "axis")), name="largest").output
    graph.inputs, graph.outputs = [Port("images", images)], [Port("largest", largest)]
    assert fill_empty_reductions(graph) == 0
