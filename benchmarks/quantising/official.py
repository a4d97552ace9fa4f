"""TensorFlow's own converter, quantising after training: SOURCE.pb FOLDER INPUT OUTPUTS SAMPLES.npy [MODE ...]

A process of its own, which writes FOLDER/official_MODE.tflite.
SAMPLES holds the calibration inputs, [n, ...]; a mode `int8@2` leaves sample 2 out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

MODES = ("float", "dynamic", "float16", "int8", "int16x8")


def convert(source: str, names: tuple[str, list[str]], samples: Any, mode: str) -> bytes:
    converter = tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(source, [names[0]], names[1])
    kind, _, left_out = mode.partition("@")
    if kind != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind.startswith("int"):
        kept = [each for number, each in enumerate(samples) if str(number) != left_out]

        def representative() -> Iterator[list[Any]]:
            for each in kept:
                yield [each[None]]

        converter.representative_dataset = representative
        builtins = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
        if kind == "int16x8":
            builtins = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [builtins]
    return bytes(converter.convert())


def main(source: str, folder: str, given: str, outputs: str, samples: str, *modes: str) -> None:
    for mode in modes or MODES:
        content = convert(source, (given, outputs.split(",")), np.load(samples), mode)
        (Path(folder) / f"official_{mode}.tflite").write_bytes(content)


if __name__ == "__main__":
    main(*sys.argv[1:])
