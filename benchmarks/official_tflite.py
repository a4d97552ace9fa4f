"""TensorFlow's own converter on a frozen graph, as a process of its own: SOURCE TARGET INPUTS OUTPUTS (names joined by commas)."""

from __future__ import annotations

import sys
from pathlib import Path

import tensorflow as tf


def main(source: str, target: str, inputs: str, outputs: str) -> None:
    converter = tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(source, inputs.split(","), outputs.split(","))
    Path(target).write_bytes(converter.convert())


if __name__ == "__main__":
    main(*sys.argv[1:])
