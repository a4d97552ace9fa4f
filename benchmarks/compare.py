"""Tensorferry beside TensorFlow's converters, in one run on one machine: python benchmarks/compare.py --help.

Every figure of a converter is that of a whole process: start of the interpreter, imports, work, end. Memory is the largest resident
set. `cp` copies the same file in the same run: the least that reading and writing it can cost. Latency is LiteRT's, one thread.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from measuring import Run, describe_machine, median_run, run, size_of

HERE = Path(__file__).parent
MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Model:
    """A frozen graph to convert. `builder` writes it when it is not there."""

    name: str
    source: Path
    inputs: str
    outputs: str
    builder: tuple[str, ...]
    repeats: int


@dataclass(frozen=True, slots=True)
class Row:
    """One converter on one model. Sizes in bytes; latency in seconds; `error` is the last line of a failed run."""

    model: str
    converter: str
    target: str
    seconds: float | None = None
    peak: int | None = None
    size: int | None = None
    operators: int | None = None
    latency: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Contender:
    """A command that makes `output` from a model."""

    name: str
    target: str
    command: tuple[str, ...]
    output: Path
    repeats: int
    environment: dict[str, str]


def models(work: Path, wanted: str, repeats: int) -> Iterator[Model]:
    python = sys.executable
    if wanted in ("posenet", "all"):
        heads = "heatmap,offset_2,displacement_fwd_2,displacement_bwd_2"
        builder = (python, str(HERE / "make_posenet.py"))
        yield Model("PoseNet", work / "posenet.pb", "image", heads, builder, repeats)
    if wanted in ("vgg", "all"):
        builder = (python, str(HERE / "make_vgg.py"))
        yield Model("VGG-16", work / "vgg16.pb", "image", "probabilities", builder, min(repeats, 3))


def contenders(model: Model, work: Path, options: argparse.Namespace) -> Iterator[Contender]:
    """All converters for one model, each with an output of its own."""
    stem = work / model.source.stem
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1", "CUDA_VISIBLE_DEVICES": ""}
    for target, suffix in (("tflite", ".tflite"), ("tfjs", "_web")):
        for name, flags in (("tensorferry", ("--no-verify",)), ("tensorferry, verified", ())):
            output = Path(f"{stem}_{'plain' if flags else 'verified'}{suffix}")
            ports = ("--inputs", model.inputs, "--outputs", model.outputs)
            command = (
                options.tensorferry_python,
                "-m",
                "tensorferry",
                "convert",
                str(model.source),
                "-o",
                str(output),
                *ports,
                *flags,
                "--json",
            )
            yield Contender(name, target, command, output, model.repeats, {})
    if options.tensorflow_python:
        output = Path(f"{stem}_official.tflite")
        script = str(HERE / "official_tflite.py")
        command = (options.tensorflow_python, script, str(model.source), str(output), model.inputs, model.outputs)
        yield Contender("TFLiteConverter", "tflite", command, output, 1 if model.name == "VGG-16" else model.repeats, quiet)
    if options.tensorflowjs_python:
        output = Path(f"{stem}_official_web")
        names = ("--input_format=tf_frozen_model", f"--output_node_names={model.outputs}")
        command = (options.tensorflowjs_python, "-m", "tensorflowjs.converters.converter", *names, str(model.source), str(output))
        yield Contender("tensorflowjs", "tfjs", command, output, 1 if model.name == "VGG-16" else model.repeats, quiet)


def compare(model: Model, work: Path, options: argparse.Namespace) -> tuple[list[Row], dict[str, float]]:
    """Rows of one model, `cp` first, and where Tensorferry's time goes."""
    copied = Path(f"{model.source}.copy")
    copy = median_run(("cp", model.source, copied), 3)
    rows = [Row(model.name, "cp", "same file", copy.seconds, copy.peak, size_of(copied))]
    copied.unlink()
    breakdown: dict[str, float] = {}
    files: dict[str, int] = {}
    for contender in contenders(model, work, options):
        done = median_run(contender.command, contender.repeats, contender.environment)
        if done.code:
            rows.append(Row(model.name, contender.name, contender.target, error=last_line(done)))
            continue
        if contender.target == "tflite":
            files[str(contender.output)] = len(rows)
        if contender.name == "tensorferry":
            breakdown |= {f"{contender.target}: {step}": seconds for step, seconds in split_time(done).items()}
        operators = None if contender.target == "tflite" else count_nodes(contender.output)
        rows.append(
            Row(model.name, contender.name, contender.target, done.seconds, done.peak, size_of(contender.output), operators)
        )
    return add_latency(rows, files, options.rounds), breakdown


def last_line(done: Run) -> str:
    lines = [line for line in (done.errors or done.output).splitlines() if line.strip()]
    return f"exit {done.code}: {lines[-1].strip()[:160] if lines else 'no message'}"


def count_nodes(folder: Path) -> int:
    """Nodes of a TensorFlow.js graph model that compute something."""
    topology = json.loads((folder / "model.json").read_text())["modelTopology"]
    return sum(node["op"] not in ("Const", "Placeholder", "NoOp") for node in topology["node"])


def split_time(done: Run) -> dict[str, float]:
    """Steps by the report's own clock; `start and imports` is what the whole process took beside them."""
    seconds: dict[str, float] = json.loads(done.output)["seconds"]
    return {"start, imports, end": done.seconds - sum(seconds.values()), **seconds}


def add_latency(rows: list[Row], files: dict[str, int], rounds: int) -> list[Row]:
    """Rows with LiteRT's latency and operator counts. Equal files (verified or not) are timed once."""
    distinct = {path: index for path, index in files.items() if not path.endswith("_verified.tflite")}
    if not distinct:
        return rows
    done = run((sys.executable, HERE / "latency.py", str(rounds), *distinct))
    if done.code:
        raise SystemExit(f"the latency run failed: {last_line(done)}\n{done.errors}")
    for path, figures in json.loads(done.output).items():
        rows[distinct[path]] = Row(**{**asdict(rows[distinct[path]]), **figures})
    return rows


def baseline(python: str) -> dict[str, float]:
    """Median seconds of an empty interpreter, and of one that imports what a conversion needs."""
    empty = median_run((python, "-c", "pass"), 5).seconds
    modules = "import tensorferry.cli, tensorferry.console, tensorferry.conversion"
    imported = median_run((python, "-c", modules), 5, {"OPENBLAS_NUM_THREADS": "1"}).seconds
    return {"empty interpreter": empty, "interpreter with the imports of a conversion": imported}


# -- showing -------------------------------------------------------------------------------------------------------


def show(console: Console, rows: Sequence[Row]) -> None:
    for name in dict.fromkeys(row.model for row in rows):
        table = Table("converter", "target", title=name, title_justify="left")
        for column in ("wall s", "x cp", "peak MiB", "size MiB", "operators", "latency ms"):
            table.add_column(column, justify="right")
        mine = [row for row in rows if row.model == name]
        for row in mine:
            if row.error:
                table.add_row(row.converter, row.target, "failed")
                continue
            ratio = (row.seconds or 0) / (mine[0].seconds or 1)
            table.add_row(
                row.converter,
                row.target,
                f"{row.seconds:.2f}",
                f"{ratio:.1f}",
                f"{(row.peak or 0) / MEBIBYTE:.0f}",
                f"{(row.size or 0) / MEBIBYTE:.3f}",
                "" if row.operators is None else str(row.operators),
                "" if row.latency is None else f"{row.latency * 1000:.2f}",
            )
        console.print(table)
        for row in mine:
            if row.error:
                console.print(f"{row.converter} to {row.target}: {row.error}", markup=False)


def show_ratios(console: Console, rows: Sequence[Row]) -> None:
    table = Table("model", "target", "against", title="How many times", title_justify="left")
    for column in ("faster", "less memory", "latency, ours / theirs"):
        table.add_column(column, justify="right")
    for theirs in rows:
        if theirs.converter not in ("TFLiteConverter", "tensorflowjs") or theirs.error:
            continue
        ours = next(row for row in rows if (row.model, row.target, row.converter) == (theirs.model, theirs.target, "tensorferry"))
        if not ours.error:
            latency = f"{ours.latency / theirs.latency:.3f}" if ours.latency and theirs.latency else ""
            faster = f"{(theirs.seconds or 0) / (ours.seconds or 1):.1f}"
            table.add_row(
                theirs.model, theirs.target, theirs.converter, faster, f"{(theirs.peak or 0) / (ours.peak or 1):.1f}", latency
            )
    console.print(table)


def show_breakdown(console: Console, breakdown: dict[str, dict[str, float]]) -> None:
    table = Table("where the time goes", "step", title_justify="left")
    table.add_column("seconds", justify="right")
    for name, steps in breakdown.items():
        for step, seconds in steps.items():
            table.add_row(name, step, f"{seconds:.3f}")
    console.print(table)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", choices=("posenet", "vgg", "all"), default="all")
    parser.add_argument("--tensorferry-python", default=sys.executable, help="interpreter with tensorferry, as a user has it")
    parser.add_argument("--tensorflow-python", default=sys.executable, help="interpreter with tensorflow; empty leaves it out")
    parser.add_argument("--tensorflowjs-python", default="", help="interpreter with tensorflowjs (docs/benchmarks.md tells how)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each quick command; medians are shown")
    parser.add_argument("--rounds", type=int, default=9, help="latency rounds, at least 7")
    parser.add_argument("--work", type=Path, help="folder for models and results, kept; a temporary one when not given")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    if options.rounds < 7:
        parser.error("fewer than 7 latency rounds say little")
    return options


def main() -> None:
    options = parse()
    console = Console(width=None if sys.stdout.isatty() else 120)
    work = options.work or Path(tempfile.mkdtemp(prefix="tensorferry-benchmark-"))
    work.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    breakdown: dict[str, dict[str, float]] = {"python": baseline(options.tensorferry_python)}
    try:
        for model in models(work, options.model, options.repeats):
            if not model.source.exists():
                made = run((*model.builder, model.source))
                if made.code:
                    raise SystemExit(f"{model.name} could not be built: {last_line(made)}\n{made.errors}")
            added, steps = compare(model, work, options)
            rows += added
            breakdown[model.name] = steps
    finally:
        if options.work is None:
            shutil.rmtree(work, ignore_errors=True)
    show(console, rows)
    show_ratios(console, rows)
    show_breakdown(console, breakdown)
    if options.json:
        figures = {"machine": describe_machine(), "rows": [asdict(row) for row in rows], "seconds": breakdown}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
