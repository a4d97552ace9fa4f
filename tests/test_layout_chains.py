"""Layout ops one after the other, drawn at random over unknown sizes: what comes of it is TensorFlow's on both targets."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

import tensorferry
from small_graphs import v1


def merge_two(x: Any, draw: random.Random) -> Any:
    at, sizes = draw.randrange(len(x.shape) - 1), tf.unstack(tf.shape(x))
    return tf.reshape(x, tf.stack([*sizes[:at], sizes[at] * sizes[at + 1], *sizes[at + 2 :]]))


def cut(x: Any, draw: random.Random) -> Any:
    kinds = (slice(None), slice(None, None, -1), slice(0, 2), slice(None, None, 2), slice(-2, None))
    return x[tuple(draw.choice(kinds) for _ in x.shape)]


def permute(x: Any, draw: random.Random) -> Any:
    return tf.transpose(x, draw.sample(range(len(x.shape)), len(x.shape)))


def pad(x: Any, draw: random.Random) -> Any:
    return tf.pad(x, [[draw.randint(0, 1), draw.randint(0, 1)] for _ in x.shape], draw.choice(("CONSTANT", "SYMMETRIC")))


STEPS: tuple[Callable[[Any, random.Random], Any], ...] = (
    merge_two,
    cut,
    permute,
    pad,
    lambda x, draw: tf.reverse(x, [axis for axis in range(len(x.shape)) if draw.random() < 0.5]),
    lambda x, draw: tf.tile(x, [draw.choice((1, 1, 2)) for _ in x.shape]),
    lambda x, draw: tf.concat([x, x[..., ::-1]], draw.randrange(len(x.shape))),
    lambda x, draw: tf.stack([x, x[::-1]], draw.randint(0, len(x.shape))),
    lambda x, draw: tf.roll(x, [draw.randint(-2, 3)], [draw.randrange(len(x.shape))]),
    lambda x, draw: tf.expand_dims(x, draw.randint(0, len(x.shape))),
    lambda x, _draw: tf.broadcast_to(x, tf.concat([[2], tf.shape(x)], 0)),
    lambda x, _draw: tf.where(x > 0, x, tf.zeros_like(x)),
    lambda x, _draw: tf.reshape(x, [tf.shape(x)[0], -1]),
)
DEEPEST = 5
"""Dimensions before which an op that adds one may come."""


def chain(seed: int, dtype: Any) -> Any:
    draw = random.Random(seed)
    shape = [None, *(draw.choice((None, 2, 3, 4)) for _ in range(draw.randint(1, 3)))]
    x = v1.placeholder(dtype, shape, "x")
    for _ in range(8):
        step = draw.choice(STEPS)
        most = DEEPEST + 1 if step in (merge_two, cut, permute) else DEEPEST
        if 2 <= len(x.shape) < most:
            x = step(x, draw)
    return x


@pytest.mark.parametrize("dtype", [tf.float32, tf.int32, tf.int64], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("seed", range(8))
def test_chains_of_layout_ops(seed: int, dtype: Any, tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        tf.identity(chain(seed, dtype), name="out")
    (tmp_path / "source.pb").write_bytes(graph.as_graph_def().SerializeToString())
    targets = [tmp_path / "model.tflite", tmp_path / "js"]
    report = tensorferry.convert(tmp_path / "source.pb", targets, reference="tensorflow")
    assert [target.check.status for target in report.targets] == ["verified", "verified"]
