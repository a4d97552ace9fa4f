"""How long a large SavedModel takes to open, and in how much memory: python benchmarks/open_savedmodel.py [MEGABYTES]

The model is made by Tensorferry itself: a chain of dense layers whose variables have the size that was asked for. Opened means
read into a graph with all its variables known and its signature chosen, as a conversion begins. Beside it stands what copying
the folder takes on the same disk, and what a conversion to TensorFlow Lite takes, which reads every weight.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from measuring import Run, median_run, size_of
from tensorferry import ops
from tensorferry.ir import Graph, Port, Typed
from tensorferry.tensor import ArrayTensor, DType
from tensorferry.writers.savedmodel import write_savedmodel

RUNS = 5
LAYERS = 32
IMPORTS = "import tensorferry.conversion, tensorferry.ops; tensorferry.ops.registry()"
SECONDS_GOAL, MEMORY_GOAL = 1.0, 150 << 20


def make(folder: Path, nbytes: int) -> None:
    """A SavedModel with weights of about so many bytes in all, no two of them the same."""
    folder.mkdir()
    width = int((nbytes / LAYERS / 4) ** 0.5)
    generator = np.random.default_rng(0)
    graph = Graph("chain")
    shape = ("batch", width)
    attrs = {"dtype": DType.FLOAT32, "shape": shape}
    value = graph.add("Placeholder", (), attrs, typed=[Typed(DType.FLOAT32, shape)], name="x").output
    graph.inputs = [Port("x", value)]
    for number in range(LAYERS):
        kernel = ArrayTensor(generator.normal(0, width**-0.5, (width, width)).astype(np.float32))
        weights = graph.constant(kernel, f"layer_{number}/kernel")
        value = ops.add(graph, "MatMul", [value, weights], {}, name=f"layer_{number}").outputs[0]
        value = ops.add(graph, "Relu", [value], {}, name=f"layer_{number}/relu").outputs[0]
    graph.outputs = [Port("y", value)]
    write_savedmodel(graph, folder)


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        made = median_run((sys.executable, __file__, "--make", folder, str(megabytes * 10**6)), 1)
        if made.code:
            raise SystemExit(made.errors)
        convert = (sys.executable, "-m", "tensorferry", "convert", folder, "-o", Path(place) / "m.tflite", "--no-verify")
        runs = {
            "import what opening needs": median_run((sys.executable, "-c", IMPORTS), RUNS),
            "open it": median_run((sys.executable, "-c", f"import tensorferry; tensorferry.load({str(folder)!r})"), RUNS),
            "copy the folder": median_run((sys.executable, __file__, "--copy", folder, Path(place) / "copy"), RUNS),
            "convert it, unverified": median_run(convert, 1),
        }
        show(runs, size_of(folder))
    opened = runs["open it"]
    if opened.seconds > SECONDS_GOAL or opened.peak > MEMORY_GOAL:
        raise SystemExit(f"opening takes more than {SECONDS_GOAL} s or {MEMORY_GOAL >> 20} MiB")


def show(runs: dict[str, Run], nbytes: int) -> None:
    table = Table("what", title=f"A SavedModel of {nbytes / 10**6:.0f} MB, medians of {RUNS} runs")
    for column in ("seconds", "of a copy", "peak MiB"):
        table.add_column(column, justify="right")
    copy = runs["copy the folder"].seconds
    for name, run in runs.items():
        if run.code:
            raise SystemExit(f"{name} failed:\n{run.errors}")
        table.add_row(name, f"{run.seconds:.2f}", f"{run.seconds / copy:.2f}", f"{run.peak / 2**20:.0f}")
    Console().print(table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        make(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["--copy"]:
        shutil.rmtree(sys.argv[3], ignore_errors=True)
        shutil.copytree(sys.argv[2], sys.argv[3])
    else:
        main()
