"""Keras files as Keras 3 and its second generation write them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras

from fuzzing.seeds import Seed


def keras_seeds(work: Path) -> Iterator[Seed]:
    work.mkdir(parents=True, exist_ok=True)
    for number, model in enumerate((_row(), _web())):
        for ending, kind in (("h5", "h5"), ("keras", "keras"), ("weights.h5", "h5")):
            path = work / f"net{number}.{ending}"
            model.save_weights(path) if ending == "weights.h5" else model.save(path)
            options = {}
            files = {path.name: path.read_bytes()}
            yield Seed(kind, files, path.name, options)
    try:
        import tf_keras  # noqa: PLC0415
    except ImportError:
        return
    path = work / "second.h5"
    old = tf_keras.Sequential([tf_keras.layers.Dense(3, "relu", input_shape=(4,)), tf_keras.layers.LSTM(2)][:1])
    old.save(path)
    yield Seed("h5", {path.name: path.read_bytes()}, path.name)


def _row() -> keras.Model:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 2), name="image"),
            layers.Conv2D(3, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )


def _web() -> keras.Model:
    layers = keras.layers
    first, second = keras.Input((4, 3)), keras.Input((5,))
    shared = layers.Dense(5)
    steps = layers.GRU(5)(first)
    joined = layers.Concatenate()([shared(second), shared(steps)])
    return keras.Model([first, second], [joined, layers.Activation("tanh")(joined)])
