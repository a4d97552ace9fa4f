"""SavedModels and checkpoints as TensorFlow writes them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from fuzzing.seeds import Seed, files_in

v1 = tf.compat.v1


def saved_seeds(work: Path) -> Iterator[Seed]:
    yield from _first_generation(work / "v1")
    yield from _second_generation(work / "v2")


def _first_generation(work: Path) -> Iterator[Seed]:
    work.mkdir(parents=True)
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        x = v1.placeholder(tf.float32, (None, 3), name="x")
        weights = v1.get_variable("weights", (3, 2), use_resource=False, partitioner=v1.fixed_size_partitioner(2))
        bias = v1.get_variable("bias", (2,), use_resource=True)
        y = tf.nn.relu(tf.matmul(x, weights) + bias, name="y")
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(work / "model.ckpt"))
        v1.saved_model.simple_save(session, str(work / "saved"), {"x": x}, {"y": y})
        (work / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
    yield Seed("savedmodel", files_in(work / "saved"), "")
    shutil.rmtree(work / "saved")
    files = files_in(work)
    yield Seed("checkpoint", files, "graph.pb", {"checkpoint": "model.ckpt"})
    yield Seed("checkpoint", {name: data for name, data in files.items() if name != "graph.pb"}, "model.ckpt.meta")


class Net(tf.Module):
    def __init__(self, words: Path) -> None:
        super().__init__()
        self.weights = tf.Variable(np.ones((3, 2), np.float32))
        table = tf.lookup.TextFileInitializer(str(words), tf.string, -2, tf.int64, -1)
        self.table = tf.lookup.StaticHashTable(table, 7)

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32, name="x")])
    def run(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        for _ in tf.range(3):
            x = x * 0.5
        return {"y": tf.matmul(x, self.weights)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="words")])
    def look(self, words: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"places": self.table.lookup(words)}


def _second_generation(work: Path) -> Iterator[Seed]:
    work.mkdir(parents=True)
    (work / "words.txt").write_text("a\nb\nc\n")
    net = Net(work / "words.txt")
    tf.saved_model.save(net, str(work / "saved"), {"run": net.run, "look": net.look})
    files = files_in(work / "saved")
    yield Seed("savedmodel", files, "", {"signature": "run"})
    yield Seed("savedmodel", files, "", {"signature": "look"})
