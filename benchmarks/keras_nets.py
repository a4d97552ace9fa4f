"""Keras applications with random weights, frozen: our conversion, proved on both targets, beside TensorFlow's own converter.

python benchmarks/keras_nets.py [NAME ...] [--page]      one line for each net; all of them without a name

Each net is taken in a process of its own, so that none inherits another's memory. What was measured is kept in .benchmarks/nets and
`--page` makes docs/keras-nets.md of all that is there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "keras-nets.md"
KEPT = ROOT / ".benchmarks" / "nets"
ROUNDS = 5
PATIENCE = 1800
VERIFY_MEMORY = 16 << 30
"""Bytes for the proof; the largest net holds 1.4 GB of weights."""

SMALLEST = {"Inception": 75, "Xception": 71, "NASNetLarge": 331, "NASNetMobile": 224}
"""Least sizes of the input; others take 64."""


def applications() -> dict[str, Any]:
    """Every class of nets that this Keras has."""
    import keras  # noqa: PLC0415

    return {name: getattr(keras.applications, name) for name in dir(keras.applications) if name[0].isupper()}


def build(name: str) -> keras.Model:
    import keras  # noqa: PLC0415

    size = next((each for prefix, each in SMALLEST.items() if name.startswith(prefix)), 64)
    keras.utils.set_random_seed(1)
    return applications()[name](weights=None, input_shape=(size, size, 3), classes=10)


def freeze(model: keras.Model, path: Path, batch: int | None = 1) -> tuple[list[str], list[str]]:
    """Write the frozen GraphDef of a model's inference; names of its inputs and outputs."""
    import tensorflow as tf  # noqa: PLC0415
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # noqa: PLC0415

    specs = [tf.TensorSpec((batch, *each.shape[1:]), each.dtype, name=f"input_{index}") for index, each in enumerate(model.inputs)]
    function = tf.function(lambda *inputs: model(list(inputs) if len(inputs) > 1 else inputs[0], training=False))
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(*specs))
    path.write_bytes(frozen.graph.as_graph_def().SerializeToString())
    return [each.op.name for each in frozen.inputs], [each.name.removesuffix(":0") for each in frozen.outputs]


def official(source: Path, inputs: list[str], outputs: list[str], target: Path) -> tuple[Counter[str], float]:
    """What TensorFlow's converter makes of it: its operators, and the seconds it took."""
    import tensorflow as tf  # noqa: PLC0415
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415

    begin = time.perf_counter()
    data = bytes(tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(str(source), inputs, outputs).convert())
    target.write_bytes(data)
    seconds = time.perf_counter() - begin
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    codes = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
    return Counter(codes[each.opcodeIndex] for graph in model.subgraphs for each in graph.operators), seconds


def latencies(*paths: Path) -> list[float]:
    """Seconds of a run of each file in LiteRT, the files taking turns."""
    command = [sys.executable, str(ROOT / "benchmarks" / "latency.py"), str(ROUNDS), *map(str, paths)]
    figures = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return [figures[str(path)]["latency"] for path in paths]


def measure(name: str, folder: Path) -> dict[str, Any]:
    """One net's figures: ours and the official converter's."""
    import tensorferry  # noqa: PLC0415

    path, ours, theirs = folder / "net.pb", folder / "net.tflite", folder / "official.tflite"
    inputs, outputs = freeze(build(name), path)
    begin = time.perf_counter()
    tensorferry.convert(path, [ours, folder / "plain"], inputs=inputs, outputs=outputs, verify=False)
    seconds = time.perf_counter() - begin
    ours.unlink()
    report = tensorferry.convert(path, [ours, folder / "web"], inputs=inputs, outputs=outputs, verify_memory=VERIFY_MEMORY)
    counts, official_seconds = official(path, inputs, outputs, theirs)
    lite = report.targets[0]
    return {
        "name": name,
        "proved": report.verified,
        "bytes": [ours.stat().st_size, theirs.stat().st_size],
        "operators": [lite.operator_count, counts.total()],
        "more": dict(Counter(lite.operators) - counts) if lite.operator_count > counts.total() else {},
        "seconds": [seconds, official_seconds],
        "latency": latencies(ours, theirs),
    }


def take(name: str) -> dict[str, Any]:
    """`measure` in another process; what went wrong instead of figures."""
    command = [sys.executable, __file__, "--single", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return {"name": name, "failed": f"not done after {PATIENCE} s"}
    if done.returncode:
        return {"name": name, "failed": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:200]}
    return json.loads(done.stdout.splitlines()[-1])


def line(net: dict[str, Any]) -> str:
    if "failed" in net:
        return f"{net['name']:20} FAILED     {net['failed']}"
    verdict = "proved" if net["proved"] else "NOT PROVED"
    size, count, seconds, latency = (net[key][0] / net[key][1] for key in ("bytes", "operators", "seconds", "latency"))
    figures = f"bytes x{size:.4f}  operators x{count:.3f}  conversion x{seconds:.2f}  latency x{latency:.2f}"
    return f"{net['name']:20} {verdict:10} {figures}" + (f"  more than official: {net['more']}" if net["more"] else "")


def row(net: dict[str, Any]) -> str:
    if "failed" in net:
        return f"| {net['name']} | {net['failed']} | | | | |"
    ours, theirs = zip(*(net[key] for key in ("bytes", "operators", "seconds", "latency")), strict=True)
    cells = [
        f"{ours[0]:,} / {theirs[0]:,}",
        f"{ours[1]} / {theirs[1]}",
        f"{ours[2]:.1f} s / {theirs[2]:.1f} s",
        f"{ours[3] * 1e3:.1f} ms / {theirs[3] * 1e3:.1f} ms, x{ours[3] / theirs[3]:.2f}",
    ]
    return f"| {net['name']} | {'both' if net['proved'] else 'no'} | " + " | ".join(cells) + " |"


def render(nets: list[dict[str, Any]]) -> str:
    done = [net for net in nets if "failed" not in net]
    larger = sum(net["bytes"][0] > net["bytes"][1] for net in done)
    more = sum(net["operators"][0] > net["operators"][1] for net in done)
    lines = [
        "# Keras applications",
        "",
        "The nets of `keras.applications` with random weights, frozen at batch 1, this converter beside TensorFlow's own.",
        "Made by `make bench-nets`; do not edit.",
        "",
        f"Of {len(nets)} nets, {sum(net['proved'] for net in done)} are proved on both targets. Larger than the official file: "
        f"{larger}; with more operators: {more}.",
        "Each cell holds ours / official. The time of a conversion is that of the first in a process (ours loads its modules then,",
        "TensorFlow is loaded before), without proof. Latency is of LiteRT with one thread, the two files taking turns.",
        "",
        "| net | proved | bytes of the .tflite | operators | conversion | latency |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(row, nets)]) + "\n"


def kept() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(KEPT.glob("*.json"))]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--page", action="store_true", help="write docs/keras-nets.md")
    parser.add_argument("--single", action="store_true", help=argparse.SUPPRESS)
    told = parser.parse_args(arguments)
    if told.single:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(told.names[0], Path(folder))))
        return
    KEPT.mkdir(parents=True, exist_ok=True)
    for name in told.names or applications():
        net = take(name)
        (KEPT / f"{name}.json").write_text(json.dumps(net))
        print(line(net), flush=True)
    if told.page:
        PAGE.write_text(render(kept()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
