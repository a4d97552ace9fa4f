"""Random numbers: element type and shape are compared, and for stateless ones nothing more either, as targets have their own."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ops.case import Family, floats

raw = tf.raw_ops


def add_cases(family: Family) -> None:
    for shape in ([], [3], [2, 3], [1, 2, 3, 4], [0, 2]):
        size = np.array(shape, np.int32)
        for seed in (0, 7):
            marks = f"{len(shape)}_{shape.count(0)}_seed_{seed}"
            _add(
                family,
                f"RandomUniform_{marks}",
                lambda x, s=size, k=seed: raw.RandomUniform(shape=s, dtype=tf.float32, seed=k, seed2=k) + x * 0.0,
            )
            _add(
                family,
                f"RandomStandardNormal_{marks}",
                lambda x, s=size, k=seed: raw.RandomStandardNormal(shape=s, dtype=tf.float32, seed=k, seed2=k) + x * 0.0,
            )
            _add(
                family,
                f"TruncatedNormal_{marks}",
                lambda x, s=size, k=seed: raw.TruncatedNormal(shape=s, dtype=tf.float32, seed=k, seed2=k) + x * 0.0,
            )
            _add(
                family,
                f"RandomUniformInt_{marks}",
                lambda x, s=size, k=seed: raw.RandomUniformInt(shape=s, minval=2, maxval=9, seed=k, seed2=k) + tf.cast(x, tf.int32),
            )
    for op in (raw.RandomUniform, raw.RandomStandardNormal):
        for dtype in (tf.float16, tf.float64):
            _add(family, f"{op.__name__}_{dtype.name}", lambda x, o=op, d=dtype: o(shape=[2, 3], dtype=d, seed=1) + tf.cast(x, d))
        family.add(
            f"{op.__name__}_shape_at_run_time",
            lambda s, o=op: o(shape=s, dtype=tf.float32, seed=1),
            np.array([2, 3], np.int32),
            comparison="shapes",
        )
        family.add(
            f"{op.__name__}_like",
            lambda x, o=op: o(shape=tf.shape(x), dtype=tf.float32, seed=1),
            floats(2, 3),
            unknown="sizes",
            comparison="shapes",
        )
    family.add(
        "RandomUniform_int64_shape",
        lambda s: raw.RandomUniform(shape=s, dtype=tf.float32, seed=1),
        np.array([2, 3], np.int64),
        comparison="shapes",
    )
    family.add("uniform_range", lambda x: x + tf.random.uniform([2, 3], -1.0, 5.0, seed=3), floats(2, 3), comparison="shapes")
    family.add("normal_scaled", lambda x: x + tf.random.normal([2, 3], 2.0, 0.5, seed=3), floats(2, 3), comparison="shapes")
    family.add(
        "uniform_int32",
        lambda x: tf.random.uniform([2, 3], 0, 10, tf.int32, seed=3) + tf.cast(x, tf.int32),
        floats(2, 3),
        comparison="shapes",
    )
    family.add(
        "uniform_int64",
        lambda x: tf.random.uniform([2, 3], 0, 10, tf.int64, seed=3) + tf.cast(x, tf.int64),
        floats(2, 3),
        comparison="shapes",
    )
    for count in (1, 4):
        for dtype in (tf.int32, tf.int64):
            family.add(
                f"Multinomial_{count}_{dtype.name}",
                lambda x, n=count, d=dtype: tf.random.categorical(x, n, dtype=d, seed=3),
                floats(3, 5),
                comparison="shapes",
            )
    family.add("Multinomial", lambda x: tf.random.categorical(x, 2, seed=3), floats(3, 5), unknown="batch", comparison="shapes")
    family.add(
        "Multinomial_certain",
        lambda x: tf.random.categorical(x, 3, seed=3),
        np.array([[-1e4, 0, -1e4], [0, -1e4, -1e4]], np.float32),
    )
    family.add("RandomShuffle", lambda x: tf.random.shuffle(x, seed=3), floats(4, 3), comparison="shapes")
    family.add("RandomShuffle", lambda x: tf.random.shuffle(x, seed=3), floats(4, 3), unknown="batch", comparison="shapes")
    family.add("RandomGamma", lambda x: tf.random.gamma([2], x, seed=3), floats(3, low=1, high=3), comparison="shapes")
    family.add("RandomPoissonV2", lambda x: tf.random.poisson([2], x, seed=3), floats(3, low=1, high=3), comparison="shapes")
    family.add("dropout", lambda x: tf.nn.dropout(x, 0.3, seed=3), floats(3, 4), comparison="shapes")
    family.add("dropout", lambda x: tf.nn.dropout(x, 0.3, seed=3), floats(3, 4), unknown="batch", comparison="shapes")
    family.add(
        "dropout_noise_shape", lambda x: tf.nn.dropout(x, 0.3, noise_shape=[3, 1], seed=3), floats(3, 4), comparison="shapes"
    )
    family.add(
        "gaussian_noise",
        lambda x: x + tf.random.normal(tf.shape(x), stddev=0.1, seed=3),
        floats(3, 4),
        unknown="batch",
        comparison="shapes",
    )
    family.add(
        "gumbel_choice",
        lambda x: tf.argmax(x - tf.math.log(-tf.math.log(tf.random.uniform(tf.shape(x), 1e-6, 1.0, seed=3))), -1),
        floats(3, 4),
        comparison="shapes",
    )
    stateless = tf.random
    for shape in ([2, 3], [5]):
        name = len(shape)
        family.add(
            f"StatelessRandomUniform_{name}",
            lambda x, s=shape: stateless.stateless_uniform(s, [1, 2]) + x,
            np.float32(0),
            comparison="shapes",
        )
        family.add(
            f"StatelessRandomNormal_{name}",
            lambda x, s=shape: stateless.stateless_normal(s, [1, 2]) + x,
            np.float32(0),
            comparison="shapes",
        )
        family.add(
            f"StatelessTruncatedNormal_{name}",
            lambda x, s=shape: stateless.stateless_truncated_normal(s, [1, 2]) + x,
            np.float32(0),
            comparison="shapes",
        )
        family.add(
            f"StatelessRandomUniformInt_{name}",
            lambda x, s=shape: stateless.stateless_uniform(s, [1, 2], 0, 9, tf.int32) + tf.cast(x, tf.int32),
            np.float32(0),
            comparison="shapes",
        )
    for op in ("StatelessRandomUniform", "StatelessRandomNormal", "StatelessTruncatedNormal"):
        family.add(f"{op}_v1", lambda x, op=op: getattr(raw, op)(shape=[2, 3], seed=[1, 2]) + x, np.float32(0), comparison="shapes")
    family.add(
        "ParameterizedTruncatedNormal",
        lambda x: raw.ParameterizedTruncatedNormal(shape=[4], means=0.0, stdevs=1.0, minvals=-1.0, maxvals=1.0, seed=1) + x,
        np.float32(0),
        comparison="shapes",
    )
    family.add("StatelessMultinomial", lambda x: stateless.stateless_categorical(x, 3, [1, 2]), floats(2, 4), comparison="shapes")
    family.add(
        "stateless_dropout", lambda x: tf.nn.experimental.stateless_dropout(x, 0.3, [1, 2]), floats(3, 4), comparison="shapes"
    )
    family.add(
        "stateless_seed_at_run_time",
        lambda s: stateless.stateless_uniform([2, 3], s),
        np.array([1, 2], np.int32),
        comparison="shapes",
    )
    family.add("stateless_shuffle", lambda x: stateless.experimental.stateless_shuffle(x, [1, 2]), floats(4), comparison="shapes")
    family.add("random_flip", lambda x: tf.image.random_flip_left_right(x, seed=1), floats(4, 4, 3), comparison="shapes")
    family.add(
        "random_crop",
        lambda x: (
            tf.image.random_crop(x, [2, 2, 3], seed=1)
            if hasattr(tf.image, "random_crop")
            else tf.compat.v1.random_crop(x, [2, 2, 3], seed=1)
        ),
        floats(4, 4, 3),
        comparison="shapes",
    )
    family.add("random_brightness", lambda x: tf.image.random_brightness(x, 0.3, seed=1), floats(4, 4, 3), comparison="shapes")


def _add(family: Family, name: str, build) -> None:
    family.add(name, build, np.float32(0.5), comparison="shapes")
