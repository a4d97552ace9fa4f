"""Checks, prints and summaries hang on a model by control inputs or stand in the way of its values; they go, and that is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tensorferry
from small_graphs import v1
from tensorferry.runtimes import litert

X = np.array([[1, 2], [3, 4]], np.float32)


def guarded(x: Any) -> Any:
    with tf.control_dependencies([v1.assert_less(x, 100.0), v1.assert_rank(x, 2)]):
        return tf.identity(x * 2)


def printed(x: Any) -> Any:
    with tf.control_dependencies([tf.print("x is", x), tf.print(tf.shape(x))]):
        return x * 2


def checked(x: Any) -> Any:
    return tf.debugging.check_numerics(v1.Print(x, [x], "old") * 2, "not a number")


def summed_up(x: Any) -> Any:
    with tf.control_dependencies([v1.summary.scalar("mean", tf.reduce_mean(x)), v1.summary.histogram("x", x)]):
        return x * 2


KINDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "assertions": (guarded, "1 assertion"),
    "prints": (printed, "2 printings"),
    "checks": (checked, "1 check for NaN, 1 printing"),
    "summaries": (summed_up, "2 summaries"),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_only_watches_is_left_out(name: str, tmp_path: Path) -> None:
    make, told = KINDS[name]
    with tf.Graph().as_default() as graph:
        tf.identity(make(v1.placeholder(tf.float32, (2, 2), "x")), name="out")
    (tmp_path / "source.pb").write_bytes(graph.as_graph_def().SerializeToString())
    report = tensorferry.convert(tmp_path / "source.pb", [tmp_path / "model.tflite", tmp_path / "js"], outputs=["out"])
    assert [target.check.status for target in report.targets] == ["verified", "verified"]
    assert f"left out, for they change no value: {told}" in report.notices
    assert report.targets[0].operators == {"MUL": 1}
    np.testing.assert_array_equal(litert.run(tmp_path / "model.tflite", {"x": X}).outputs["out"], X * 2)


def test_nothing_is_said_where_nothing_watches(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        tf.multiply(v1.placeholder(tf.float32, (2, 2), "x"), 2.0, name="out")
    (tmp_path / "source.pb").write_bytes(graph.as_graph_def().SerializeToString())
    report = tensorferry.convert(tmp_path / "source.pb", tmp_path / "model.tflite", verify=False)
    assert not [notice for notice in report.notices if "left out" in notice]
