"""Keras applications with random weights, frozen: our conversion, proved on both targets, beside TensorFlow's own converter.

python benchmarks/keras_nets.py [NAME ...]      one line for each net; all of them without a name
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

import tensorferry

SMALLEST = {"Inception": 75, "Xception": 71, "NASNetLarge": 331, "NASNetMobile": 224}
"""Least sizes of the input; others take 64."""


def applications() -> dict[str, Any]:
    """Every class of nets that this Keras has."""
    return {name: getattr(keras.applications, name) for name in dir(keras.applications) if name[0].isupper()}


def build(name: str) -> keras.Model:
    size = next((each for prefix, each in SMALLEST.items() if name.startswith(prefix)), 64)
    keras.utils.set_random_seed(1)
    return applications()[name](weights=None, input_shape=(size, size, 3), classes=10)


def freeze(model: keras.Model, path: Path, batch: int | None = 1) -> tuple[list[str], list[str]]:
    """Write the frozen GraphDef of a model's inference; names of its inputs and outputs."""
    specs = [tf.TensorSpec((batch, *each.shape[1:]), each.dtype, name=f"input_{index}") for index, each in enumerate(model.inputs)]
    function = tf.function(lambda *inputs: model(list(inputs) if len(inputs) > 1 else inputs[0], training=False))
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(*specs))
    path.write_bytes(frozen.graph.as_graph_def().SerializeToString())
    return [each.op.name for each in frozen.inputs], [each.name.removesuffix(":0") for each in frozen.outputs]


def official(path: Path, inputs: list[str], outputs: list[str]) -> tuple[int, Counter[str]]:
    """Bytes and operators that TensorFlow's converter makes of it."""
    data = bytes(tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(str(path), inputs, outputs).convert())
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    codes = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
    return len(data), Counter(codes[each.opcodeIndex] for graph in model.subgraphs for each in graph.operators)


def measure(name: str, folder: Path) -> str:
    """One line of the table."""
    path = folder / "net.pb"
    inputs, outputs = freeze(build(name), path)
    begin = time.perf_counter()
    report = tensorferry.convert(path, [folder / "net.tflite", folder / "web"], inputs=inputs, outputs=outputs)
    seconds = time.perf_counter() - begin
    lite = report.targets[0]
    size, counts = official(path, inputs, outputs)
    verdict = "proved" if report.verified else "NOT PROVED"
    ours, theirs = lite.operator_count, counts.total()
    more = {} if ours <= theirs else dict(Counter(lite.operators) - counts)
    written = (folder / "net.tflite").stat().st_size
    line = f"{name:20} {verdict:10} {written:>11,} {size:>11,} {ours:>6} {theirs:>6} {seconds:>6.1f} s"
    return f"{line}  more than official: {more}" if more else line


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    names = parser.parse_args(arguments).names or list(applications())
    print(f"{'net':20} {'':10} {'bytes ours':>11} {'official':>11} {'ops':>6} {'off.':>6} {'time':>8}")
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            try:
                print(measure(name, Path(folder)), flush=True)
            except tensorferry.FerryError as error:
                print(f"{name:20} FAILED     {error}", flush=True)
        keras.backend.clear_session()


if __name__ == "__main__":
    main(sys.argv[1:])
