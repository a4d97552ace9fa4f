"""Quantise each model with each tool and print how it went, as JSON; `--page` writes docs/quantisation-bench.md as well.

Every tool begins with the same frozen graph (ai-edge-quantizer with our float file of it), runs as a process of its own,
and is judged by the same samples in LiteRT against TensorFlow's float file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import Run, run
from quantising.cases import CASES, Case
from quantising.page import make_page

HERE = Path(__file__).parent
MODES = ("dynamic", "float16", "int8", "int16x8")


@dataclass(frozen=True, slots=True)
class Tools:
    """Python interpreters of the three."""

    ours: str
    tensorflow: str
    quantizer: str | None


@dataclass(frozen=True, slots=True)
class Job:
    """One model made ready: its frozen graph, what it is called in it, and the samples."""

    case: Case
    folder: Path
    graph: Path
    given: str
    outputs: tuple[str, ...]
    calibrating: Path
    signed: Path
    """Our float file: ai-edge-quantizer wants a signature, which TensorFlow's file of a frozen graph has not."""

    def commands(self, tools: Tools, mode: str) -> Mapping[str, tuple[Sequence[str | Path], Path]]:
        """Tool -> its command, and the file that it makes."""
        ends = [self.given, ",".join(self.outputs), self.calibrating]
        official = self.folder / f"official_{mode}.tflite"
        made: dict[str, tuple[Sequence[str | Path], Path]] = {
            "TFLiteConverter": ([tools.tensorflow, HERE / "official.py", self.graph, self.folder, *ends, mode], official)
        }
        if tools.quantizer and mode != "float16":
            target = self.folder / f"aeq_{mode}.tflite"
            made["ai-edge-quantizer"] = ([tools.quantizer, HERE / "aeq.py", self.signed, target, mode, self.calibrating], target)
        target = self.folder / f"ours_{mode}.tflite"
        command = [tools.ours, "-m", "tensorferry", "convert", self.graph, "-o", target, "--quantize", mode, "--no-verify"]
        command += ["--inputs", self.given, "--outputs", ",".join(self.outputs)]
        if mode.startswith("int"):
            command += ["--calibrate", self.calibrating]
        made["Tensorferry"] = (command, target)
        return made


def prepare_job(case: Case, work: Path) -> Job:
    """The frozen graph with batch 1, the calibration samples and our float file, written by a process of its own."""
    folder = work / case.name
    folder.mkdir(parents=True, exist_ok=True)
    done = _own("preparing", case.name, folder)
    if done.code:
        sys.exit(f"{case.name}: {done.errors[-2000:]}")
    facts = json.loads(done.output.splitlines()[-1])
    files = (folder / name for name in ("frozen.pb", "calibrating.npy", "ours_float.tflite"))
    graph, calibrating, signed = files
    return Job(case, folder, graph, facts["input"], tuple(facts["outputs"]), calibrating, signed)


def _own(module: str, *words: str | Path) -> Run:
    return run([sys.executable, "-m", f"quantising.{module}", *words])


def measure(job: Job, tools: Tools, modes: Sequence[str]) -> dict[str, Any]:
    """Mode -> tool -> what came of it."""
    started = run(job.commands(tools, "float")["TFLiteConverter"][0])
    reference = job.folder / "official_float.tflite"
    if started.code or not reference.exists():
        sys.exit(f"{job.case.name}: TensorFlow's float file failed: {started.errors[-2000:]}")
    told: dict[str, Any] = {"float": {"bytes": reference.stat().st_size}}
    for mode in modes:
        told[mode] = {}
        for tool, (command, target) in job.commands(tools, mode).items():
            target.unlink(missing_ok=True)
            done = run(command)
            if done.code or not target.exists():
                told[mode][tool] = {"failed": _last_line(done)}
                continue
            facts = {"seconds": round(done.seconds, 2), "peak_mb": done.peak >> 20}
            judged = _own("judging", job.case.name, reference, target)
            if judged.code:  # a file that does not run is a result, too
                told[mode][tool] = {"failed": _last_line(judged), **facts}
            else:
                told[mode][tool] = {**json.loads(judged.output.splitlines()[-1]), **facts}
    return told


def _last_line(done: Run) -> str:
    return (done.errors.strip().splitlines() or [f"exit code {done.code}"])[-1][:300]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=Path, default=Path(".benchmarks/quantising"))
    parser.add_argument("--only", nargs="+", choices=[case.name for case in CASES])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--quantizer-python", help="an interpreter with ai-edge-quantizer")
    parser.add_argument("--tensorferry-python", default=sys.executable)
    parser.add_argument("--page", action="store_true", help="write docs/quantisation-bench.md of what --work holds in the end")
    arguments = parser.parse_args()
    tools = Tools(arguments.tensorferry_python, sys.executable, arguments.quantizer_python)
    found = {
        case.name: measure(prepare_job(case, arguments.work), tools, arguments.modes)
        for case in CASES
        if not arguments.only or case.name in arguments.only
    }
    results = arguments.work / "results.json"
    whole = {**(json.loads(results.read_text()) if results.exists() else {}), **found}
    results.write_text(json.dumps(whole, indent=1))
    print(json.dumps(found, indent=1))
    if arguments.page:
        (HERE.parents[1] / "docs" / "quantisation-bench.md").write_text(make_page(whole))
