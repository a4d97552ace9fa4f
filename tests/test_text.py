"""Text in the model: Keras's own way from sentences to vectors, whole in TensorFlow.js and cut off for TensorFlow Lite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tensorferry
from op_harness import assert_close
from tensorferry.errors import UnsupportedError
from tensorferry.runtimes import litert, tfjs

SENTENCES = np.array([b"A Ferry, a boat!", b"", b"quay  ferry at\tthe (old) quay", b"nothing known"], object)


class Embedded(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = keras.layers.TextVectorization(output_sequence_length=5, vocabulary=["ferry", "boat", "quay"])
        self.table = tf.Variable(np.arange(10, dtype=np.float32).reshape(5, 2))

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def call(self, x: Any) -> Any:
        return {"vectors": tf.gather(self.table, self.words(x))}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    module, folder = Embedded(), tmp_path_factory.mktemp("text") / "saved"
    expected = module.call(SENTENCES)["vectors"].numpy()
    tf.saved_model.save(module, str(folder), signatures=module.call)
    return folder, expected


def test_sentences_become_vectors_in_tensorflow_js(saved: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    folder, expected = saved
    report = tensorferry.convert(folder, tmp_path / "js")
    assert report.targets[0].check.status == "verified"
    assert_close([tfjs.run(tmp_path / "js", {"x": SENTENCES}).outputs["vectors"]], [expected], 0)


def test_for_tensorflow_lite_the_text_is_cut_off(saved: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    folder, _expected = saved
    with pytest.raises(UnsupportedError, match="StringLower") as refusal:
        tensorferry.convert(folder, tmp_path / "model.tflite")
    assert "tensorferry convert" in refusal.value.remedy
    graph = tensorferry.load(folder)
    (gather,) = [node for node in graph.nodes if node.op == "GatherV2" and node.output.dtype == "float32"]
    ids = gather.inputs[1].name
    tensorferry.convert(folder, tmp_path / "model.tflite", inputs=[ids], outputs=["vectors"], input_shapes={ids: (-1, 5)})
    found = litert.run(tmp_path / "model.tflite", {ids: np.array([[2, 1, 0, 0, 0]])}).outputs["vectors"]
    assert found[0, :2].tolist() == [[4, 5], [2, 3]]
