"""Graphs of layout ops whose sizes are unknown: converted once, run at two sizes, both right on both targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tensorferry
from op_harness import assert_close
from small_graphs import v1
from tensorferry.runtimes import litert, tfjs

FLOAT, INT, WORD = tf.float32, tf.int32, tf.string


def measured(x: Any, factor: int) -> Any:
    """x brought to [batch, everything else], and from there to another shape, all by sizes that are computed."""
    shape = tf.shape(x)
    flat = tf.reshape(x, [shape[0], shape[1] * shape[2]])
    return tf.reshape(flat, [shape[0] * shape[1], shape[2] // factor, factor])


def sliding(x: Any) -> Any:
    """Windows of three steps, as a framing of audio makes them."""
    count = tf.shape(x)[1] - 2
    places = tf.range(count)[:, None] + tf.range(3)[None, :]
    return tf.gather(x, places, axis=1)


def positions(x: Any) -> Any:
    """A table of positions cut to the length, added to each of a batch."""
    table = tf.constant(np.arange(40, dtype=np.float32).reshape(10, 4))
    return x + table[None, : tf.shape(x)[1], :]


def halves(x: Any) -> Any:
    one, other = tf.split(x, 2, axis=-1)
    return tf.concat([other, one], axis=-1)


def put_in(x: Any) -> Any:
    return tf.raw_ops.TensorStridedSliceUpdate(
        input=x,
        begin=[0, 1],
        end=[0, 2],
        strides=[1, 1],
        value=tf.zeros_like(x[:, 0]),
        begin_mask=1,
        end_mask=1,
        shrink_axis_mask=2,
    )


def slopes(x: Any, *shape: int) -> Any:
    """PReLU with slopes for these axes."""
    alpha = tf.constant(np.arange(1, 1 + math.prod(shape), dtype=np.float32).reshape(shape) / 4)
    return tf.nn.relu(x) - alpha * tf.nn.relu(-x)


Graph = Callable[..., Any]
GRAPHS: dict[str, tuple[Graph, tuple[tuple[Any, tuple[int | None, ...]], ...]]] = {
    "reshape": (lambda x: tf.reshape(x, [-1, 6]), ((FLOAT, (None, 2, 3)),)),
    "reshape by sizes": (lambda x: measured(x, 2), ((FLOAT, (None, None, 4)),)),
    "reshape, all unknown": (lambda x: measured(x, 2), ((FLOAT, (None, None, None)),)),
    "flatten": (lambda x: tf.reshape(x, [tf.shape(x)[0], -1]), ((FLOAT, (None, None, 4)),)),
    "transpose": (lambda x: tf.transpose(x, [2, 0, 1]), ((FLOAT, (None, None, 3)),)),
    "transpose heads": (
        lambda x: tf.transpose(tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1], 2, 3]), [0, 2, 1, 3]),
        ((FLOAT, (None, None, 6)),),
    ),
    "expand and squeeze": (lambda x: tf.squeeze(tf.expand_dims(x, 1), [1]) + 1, ((FLOAT, (None, None)),)),
    "slices": (lambda x: x[:, 1:-1, ::2], ((FLOAT, (None, None, None)),)),
    "slices backwards": (lambda x: x[:, ::-1], ((FLOAT, (None, None)),)),
    "slices backwards, int32": (lambda x: x[:, ::-1], ((INT, (None, None)),)),
    "slices in steps, int32": (lambda x: x[:, 1::2, -3:0:-2], ((INT, (None, None, None)),)),
    "slices in steps, bool": (lambda x: tf.cast(x > 2, tf.bool)[-2::-1, ::3], ((INT, (None, None)),)),
    "slices in steps between computed bounds": (
        lambda x: x[tf.shape(x)[0] - 1 :: -1, 1 : tf.shape(x)[1] : 2],
        ((INT, (None, None)),),
    ),
    "last step": (lambda x: x[:, -1, :], ((FLOAT, (None, None, 4)),)),
    "new axes": (lambda x: x[:, tf.newaxis, ..., tf.newaxis], ((FLOAT, (None, None)),)),
    "ellipsis for nothing between computed bounds": (
        lambda x: x[: tf.shape(x)[0] - 1, ..., tf.newaxis, 1 : tf.shape(x)[1]],
        ((FLOAT, (None, None)),),
    ),
    "slice of a computed size": (lambda x: tf.slice(x, [0, 1], [-1, tf.shape(x)[1] - 2]), ((FLOAT, (None, None)),)),
    "split": (halves, ((FLOAT, (None, None, 4)),)),
    "split by sizes": (lambda x: tf.split(x, [1, 3], axis=1)[1], ((FLOAT, (None, 4)),)),
    "split off the rest, in front": (lambda x: tf.concat(tf.split(x, [-1, 1, 0, 1], axis=1)[::-1], 1), ((FLOAT, (2, None)),)),
    "split off the rest, bool": (lambda x: tf.split(x > 2, [1, -1, 1], axis=1)[1], ((FLOAT, (2, None)),)),
    "split off the rest": (lambda x: tf.split(x, [1, -1], axis=1)[1], ((FLOAT, (2, None)),)),
    "stack": (lambda x, y: tf.stack([x, y], axis=1), ((FLOAT, (None, None)), (FLOAT, (None, None)))),
    "unstack": (lambda x: tf.add_n(tf.unstack(x, axis=2)), ((FLOAT, (None, None, 3)),)),
    "concat along the unknown": (lambda x, y: tf.concat([x, y], 1), ((FLOAT, (None, None)), (FLOAT, (None, None)))),
    "tile": (lambda x: tf.tile(x, [1, 2, 1]), ((FLOAT, (None, None, 2)),)),
    "tile by sizes": (lambda x: tf.tile(x[:1], [tf.shape(x)[0], 1]), ((FLOAT, (None, None)),)),
    "reverse": (lambda x: tf.reverse(x, [0, 2]), ((FLOAT, (None, None, 3)),)),
    "reverse nothing": (lambda x: tf.reverse(x, tf.zeros([0], tf.int32)) * 2.0, ((FLOAT, (None, 3)),)),
    "reverse sequences": (lambda x, n: tf.reverse_sequence(x, n, seq_axis=1), ((FLOAT, (None, None, 2)), (INT, (None,)))),
    "roll": (lambda x: tf.roll(x, [1, -2], [0, 1]), ((FLOAT, (None, None)),)),
    "pad": (lambda x: tf.pad(x, [[0, 0], [1, 2]], constant_values=7.0), ((FLOAT, (None, None)),)),
    "pad to a size": (lambda x: tf.pad(x, [[0, 0], [0, 8 - tf.shape(x)[1]]]), ((FLOAT, (None, None)),)),
    "mirror": (lambda x: tf.pad(x, [[0, 0], [1, 1]], "REFLECT"), ((FLOAT, (None, None)),)),
    "pad six dimensions": (lambda x: tf.pad(x, [[0, 0]] * 3 + [[1, 0]] + [[0, 0]] * 2), ((FLOAT, (None, 1, None, 2, 1, 2)),)),
    "broadcast": (lambda x, y: tf.broadcast_to(x, tf.shape(y)), ((FLOAT, (None, 1)), (FLOAT, (None, None)))),
    "dynamic broadcast": (
        lambda x, y: tf.broadcast_to(x, tf.broadcast_dynamic_shape(tf.shape(x), tf.shape(y))),
        ((FLOAT, (None, 1)), (FLOAT, (None,))),
    ),
    "fill": (lambda x: tf.fill(tf.shape(x), 3.0) + tf.zeros_like(x) + tf.ones_like(x), ((FLOAT, (None, None)),)),
    "sizes": (lambda x: tf.stack([tf.size(x), tf.rank(x), tf.shape(x)[1]]), ((FLOAT, (None, None)),)),
    "sizes of 64 bits": (lambda x: tf.shape(x, tf.int64) * 2, ((FLOAT, (None, None)),)),
    "range": (lambda x: tf.range(tf.shape(x)[0]), ((FLOAT, (None, 2)),)),
    "linspace": (lambda x: tf.linspace(0.0, 1.0, tf.shape(x)[0]), ((FLOAT, (None, 2)),)),
    "meshgrid": (lambda x: tf.stack(tf.meshgrid(tf.range(tf.shape(x)[0]), tf.range(tf.shape(x)[1]))), ((FLOAT, (None, None)),)),
    "identity matrix": (lambda x: tf.eye(tf.shape(x)[0]) + tf.reduce_sum(x), ((FLOAT, (None, 2)),)),
    "rotated by 90": (tf.image.rot90, ((FLOAT, (None, None, None, 3)),)),
    "what is true": (lambda x: tf.boolean_mask(x, x[:, 0] > 1), ((FLOAT, (None, 3)),)),
    "repeated as often as asked": (lambda x, n: tf.repeat(x, n + 1, axis=0), ((FLOAT, (None, 2)), (INT, (None,)))),
    "sequence mask": (lambda n: tf.cast(tf.sequence_mask(n, 6), tf.float32), ((INT, (None,)),)),
    "repeat": (lambda x: tf.repeat(x, 2, axis=1), ((FLOAT, (None, None)),)),
    "space to depth": (lambda x: tf.nn.space_to_depth(x, 2), ((FLOAT, (None, None, None, 3)),)),
    "depth to space": (lambda x: tf.nn.depth_to_space(x, 2), ((FLOAT, (None, None, None, 4)),)),
    "depth to space, int32": (lambda x: tf.nn.depth_to_space(x, 2), ((INT, (None, None, None, 4)),)),
    "space to batch": (lambda x: tf.space_to_batch(x, [2, 2], [[0, 0], [2, 2]]), ((FLOAT, (None, None, None, 1)),)),
    "space to batch, three axes": (
        lambda x: tf.space_to_batch(x, [2, 1, 2], [[0, 0], [1, 0], [0, 0]]),
        ((FLOAT, (None, None, None, 2, 1)),),
    ),
    "windows": (sliding, ((FLOAT, (None, None, 2)),)),
    "positions": (positions, ((FLOAT, (None, None, 4)),)),
    "gather": (lambda x, i: tf.gather(x, i, axis=1), ((FLOAT, (None, None)), (INT, (None,)))),
    "put in": (put_in, ((FLOAT, (None, None, 3)),)),
    "slopes for rows": (lambda x: slopes(x - 2, 3, 1, 1), ((FLOAT, (None, 3, None, 2)),)),
    "slopes for columns": (lambda x: slopes(x - 2, 4, 1), ((FLOAT, (None, None, 4, 2)),)),
    "words": (lambda x: tf.transpose(tf.reverse(tf.tile(x, [1, 2]), [1])), ((WORD, (None, None)),)),
}
IMAGES = ((FLOAT, (None, None, None, 2)),)
GRAPHS |= {
    "resize, cubic": (lambda x: tf.image.resize(x, [5, 7], "bicubic"), IMAGES),
    "resize, cubic, to twice the size": (
        lambda x: tf.raw_ops.ResizeBicubic(images=x, size=tf.shape(x)[1:3] * 2, align_corners=True),
        IMAGES,
    ),
    "resize, cubic, to a computed size": (
        lambda x, n: tf.raw_ops.ResizeBicubic(images=x, size=tf.concat([n + 1, [3]], 0)),
        ((FLOAT, (1, 4, 6, 2)), (INT, (1,))),
    ),
    "resize, area": (lambda x: tf.image.resize(x, [3, 5], "area"), IMAGES),
    "resize, area, to half the size": (
        lambda x: tf.raw_ops.ResizeArea(images=x, size=tf.shape(x)[1:3] // 2, align_corners=True),
        IMAGES,
    ),
    "resize, smoothed": (lambda x: tf.image.resize(x, [3, 5], antialias=True), IMAGES),
    "resize, lanczos, to half the size": (lambda x: tf.image.resize(x, tf.shape(x)[1:3] // 2, "lanczos3"), IMAGES),
    "resize, keeping the ratio": (
        lambda x: tf.image.resize(x, [6, 9], "mitchellcubic", preserve_aspect_ratio=True, antialias=True),
        IMAGES,
    ),
}
SIZES = (2, 4), (4, 6)
"""What the unknown sizes are, in turn, the first time and the second."""
TOLERANCE = 1e-6


def write_graph(make: Graph, inputs: tuple[tuple[Any, tuple[int | None, ...]], ...], folder: Path) -> Path:
    with tf.Graph().as_default() as graph:
        tf.identity(make(*(v1.placeholder(dtype, shape, f"x{index}") for index, (dtype, shape) in enumerate(inputs))), name="out")
    path = folder / "source.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def make_feeds(inputs: tuple[tuple[Any, tuple[int | None, ...]], ...], sizes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Values for each input; small numbers, so that they may be indices and lengths."""
    feeds: dict[str, np.ndarray] = {}
    for index, (dtype, shape) in enumerate(inputs):
        unknown = iter((*sizes, sizes[-1]))
        whole = [next(unknown) if dim is None else dim for dim in shape]
        numbers = (np.arange(np.prod(whole)) * 7 % 5).reshape(whole)
        if dtype is WORD:
            feeds[f"x{index}"] = np.array([b"w%d" % each for each in numbers.reshape(-1)], object).reshape(whole)
        else:
            feeds[f"x{index}"] = (numbers % sizes[0] if dtype is INT else numbers).astype(dtype.as_numpy_dtype)
    return feeds


def run_source(path: Path, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    definition = v1.GraphDef.FromString(path.read_bytes())
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        with v1.Session(graph=graph) as session:
            return session.run("out:0", {f"{name}:0": array for name, array in feeds.items()})


@pytest.fixture(scope="module")
def session():
    with tfjs.Session(backend="auto") as one:
        yield one


@pytest.mark.parametrize("name", GRAPHS)
def test_one_file_serves_two_sizes(name: str, tmp_path: Path, session: tfjs.Session) -> None:
    make, inputs = GRAPHS[name]
    source = write_graph(make, inputs, tmp_path)
    lite, js = tmp_path / "model.tflite", tmp_path / "js"
    tensorferry.convert(source, [lite, js], verify=False)
    with litert.LiteRtModel(lite) as model:
        for sizes in SIZES:
            feeds = make_feeds(inputs, sizes)
            expected = run_source(source, feeds)
            assert_close([model.run(feeds)["out"]], [expected], TOLERANCE)
            narrow = np.int32 if expected.dtype == np.int64 else expected.dtype
            assert_close([session.run(js, feeds).outputs["out"]], [expected.astype(narrow)], TOLERANCE)
