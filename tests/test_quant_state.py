"""Files that keep variables from run to run are quantised like others, and go on counting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tensorferry
from tensorferry.runtimes.litert import run_in_turn


class Memory(tf.Module):  # type: ignore[misc]
    """A dense layer that remembers what it gave the last time."""

    def __init__(self) -> None:
        super().__init__()
        random = np.random.default_rng(5)
        self.kernel = tf.Variable(random.normal(size=(64, 64)).astype(np.float32) / 8)
        self.last = tf.Variable(np.zeros((1, 64), np.float32))

    @tf.function(input_signature=[tf.TensorSpec((1, 64), tf.float32)])  # type: ignore[untyped-decorator]
    def step(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        given = tf.tanh(tf.matmul(x + self.last, self.kernel))
        self.last.assign(given)
        return {"given": given}


@pytest.mark.parametrize("mode", ["dynamic", "float16", "int8"])
def test_a_variable_lives_on(mode: str, tmp_path: Path) -> None:
    module = Memory()
    tf.saved_model.save(module, tmp_path / "saved", signatures=module.step)
    random = np.random.default_rng(6)
    calls = [{"x": random.normal(size=(1, 64)).astype(np.float32)} for _ in range(4)]
    options = {"calibrate": calls} if mode == "int8" else {}
    tensorferry.convert(tmp_path / "saved", tmp_path / "net.tflite", quantize=mode, **options)
    found = run_in_turn(tmp_path / "net.tflite", calls)
    expected = [module.step(**call)["given"].numpy() for call in calls]
    for run, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(run.outputs["given"], wanted, atol=0.15)
    assert np.abs(found[3].outputs["given"] - found[0].outputs["given"]).max() > 0.3
