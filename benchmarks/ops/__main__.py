"""The bench of small graphs: make the cases, run the converters over them, write the results and the page.

python -m ops --work FOLDER [--family NAME]... [--id TEXT]... [--ours-only] [--failed-only] [--tensorflowjs-python PYTHON]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from measuring import describe_machine
from ops import workers
from ops.families import NAMES
from ops.freezing import folder_of
from ops.page import describe, read_bench, write_page

Results = dict[str, dict[str, Any]]


class Store:
    """Outcomes by case, one JSON file for each kind of run, kept between runs."""

    def __init__(self, work: Path, kind: str) -> None:
        self.path = work / f"{kind}.json"
        self.outcomes: Results = json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else {}

    def take(self, outcomes: Iterable[dict[str, Any]], total: int, title: str) -> None:
        begun = last = time.monotonic()
        for count, outcome in enumerate(outcomes, 1):
            self.outcomes[outcome.pop("id")] = outcome
            now = time.monotonic()
            if now - last > 15 or count == total:
                print(f"{title}: {count} of {total}, {now - begun:.0f} s", file=sys.stderr, flush=True)
                self.save()
                last = now
        self.save()

    def save(self) -> None:
        other = self.path.with_suffix(".new")
        other.write_text(json.dumps(self.outcomes, indent=0, sort_keys=True), encoding="utf-8")
        other.replace(self.path)


def own_worker(kind: str, work: Path, python: str = sys.executable) -> list[str]:
    return [python, "-m", "ops.worker", kind, str(work)]


def make_cases(work: Path, wanted: Sequence[str]) -> list[str]:
    """Freeze what is not there yet. Returns the ids of those that TensorFlow can build and run."""
    store = Store(work, "made")
    missing = [each for each in wanted if each not in store.outcomes]
    store.take(workers.run_all(own_worker("freeze", work), missing), len(missing), "cases made")
    return [each for each in wanted if store.outcomes[each]["status"] == "ok" and (folder_of(work, each) / "case.json").is_file()]


def run_official(work: Path, ids: Sequence[str], python: str | None) -> None:
    """What is not yet known of TensorFlow's converters; they do not change, so one run is enough."""
    store = Store(work, "official_tflite")
    missing = [each for each in ids if each not in store.outcomes]
    store.take(workers.run_all(own_worker("official_tflite", work), missing), len(missing), "TFLiteConverter")
    if python is None:
        return
    store = Store(work, "official_tfjs")
    missing = [each for each in ids if each not in store.outcomes]
    for start in range(0, len(missing), workers.CHUNK):
        chunk = missing[start : start + workers.CHUNK]
        command = [python, "-m", "ops.official_tfjs", str(work)]
        converted = {each["id"]: each for each in workers.run_all(command, chunk)}
        written = [each for each in chunk if converted[each]["status"] == "ok"]
        ran = workers.run_all(own_worker("official_tfjs", work), written, crashed="fails")
        store.take((converted[each] for each in chunk if each not in written), len(chunk), "tensorflowjs refused")
        store.take(ran, len(written), f"tensorflowjs, {start + len(chunk)} of {len(missing)}")


def run_ours(work: Path, ids: Sequence[str]) -> None:
    store = Store(work, "ours")
    outcomes = workers.run_all(own_worker("ours", work), ids)
    crashed = (
        {"id": each["id"], "status": "ok", "tflite": each, "tfjs": each} if "tflite" not in each else each for each in outcomes
    )
    store.take(crashed, len(ids), "Tensorferry")


def failed(work: Path, ids: Sequence[str]) -> list[str]:
    """Those that did not pass on both targets when they were last run."""
    known = Store(work, "ours").outcomes
    return [each for each in ids if each not in known or any(known[each][t].get("status") != "ok" for t in ("tflite", "tfjs"))]


def describe_versions(python: str | None) -> str:
    """What ran the bench, in the words of docs/benchmarks.md; no path, no date."""
    machine = describe_machine()
    version = importlib.metadata.version
    parts = [f"Python {machine['python']}", f"TensorFlow {version('tensorflow')}", f"Keras {version('keras')}"]
    if python is not None:
        names = "'tensorflowjs', v('tensorflowjs'), 'on TensorFlow', v('tensorflow')"
        code = f"from importlib.metadata import version as v; print({names})"
        parts.append(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip())
    parts.append(f"ai-edge-litert {version('ai-edge-litert')}")
    return f"Machine: {machine['cores']} cores of an {machine['processor']} under {machine['system']}, {', '.join(parts)}."


def main() -> int:
    options = parse_options()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    from ops.families import all_cases  # noqa: PLC0415 - imports TensorFlow

    wanted = [case.id for case in all_cases(options.family or NAMES) if all(text in case.id for text in options.id)]
    ids = make_cases(work, wanted)
    print(f"{len(ids)} cases ({len(wanted) - len(ids)} are not TensorFlow's on a CPU)", flush=True)
    if options.make_only or not ids:
        return 0
    if not options.ours_only:
        run_official(work, ids, options.tensorflowjs_python)
    if not options.official_only:
        run_ours(work, failed(work, ids) if options.failed_only else ids)
    bench = read_bench(work, wanted)
    print(describe(bench))
    if options.page:
        write_page(bench, work, describe_versions(options.tensorflowjs_python))
    return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ops", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for the cases and the results, kept from run to run")
    parser.add_argument("--family", action="append", choices=NAMES, help="only this family")
    parser.add_argument("--id", action="append", default=[], help="only cases whose id contains this text")
    parser.add_argument("--ours-only", action="store_true", help="leave TensorFlow's converters out")
    parser.add_argument("--official-only", action="store_true", help="leave Tensorferry out")
    parser.add_argument(
        "--failed-only", action="store_true", help="only cases that Tensorferry did not pass on both targets last time"
    )
    parser.add_argument("--make-only", action="store_true", help="only make the cases")
    parser.add_argument(
        "--tensorflowjs-python", help="Python of an environment with tensorflowjs; without it that converter is left out"
    )
    parser.add_argument("--page", action="store_true", help="write docs/bench-ops.md, which is about all cases")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
