"""Beam search over more steps, classes and prefixes than the op's examples have, with an open batch."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tensorferry
from small_graphs import freeze, v1
from tensorferry.runtimes.litert import LiteRtModel

STEPS, CLASSES, BEAM = 24, 20, 30


def net() -> None:
    x = v1.placeholder(tf.float32, (STEPS, None, CLASSES), name="x")
    lengths = v1.placeholder(tf.int32, (None,), name="lengths")
    texts, scores = v1.nn.ctc_beam_search_decoder(x, lengths, beam_width=BEAM, top_paths=2, merge_repeated=False)
    for at, text in enumerate(texts):
        v1.sparse_to_dense(text.indices, text.dense_shape, text.values, -1, name=f"text{at}")
    tf.identity(scores, name="scores")


@pytest.mark.parametrize("batch", [1, 3])
def test_texts_are_those_of_tensorflow(batch: int, tmp_path) -> None:
    path = freeze(tmp_path / "net.pb", net)
    names = ["text0", "text1", "scores"]
    tensorferry.convert(path, tmp_path / "net.tflite", inputs=["x", "lengths"], outputs=names, verify=False)
    random = np.random.default_rng(batch)
    x = random.normal(0, 2, (STEPS, batch, CLASSES)).astype(np.float32)
    lengths = np.array([STEPS, STEPS // 2, STEPS - 3][:batch], np.int32)
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(v1.GraphDef.FromString(path.read_bytes()), name="")
    with v1.Session(graph=graph) as session:
        expected = session.run([f"{name}:0" for name in names], {"x:0": x, "lengths:0": lengths})
    with LiteRtModel(tmp_path / "net.tflite") as model:
        made = model.run({"x": x, "lengths": lengths})
    for name, want in zip(names, expected, strict=True):
        np.testing.assert_allclose(made[name], want, rtol=1e-5, err_msg=name)
