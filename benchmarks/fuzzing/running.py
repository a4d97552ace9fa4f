"""Workers side by side, watched; and what they found, by format."""

from __future__ import annotations

import json
import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fuzzing.seeds import Seed

PATIENCE = 30.0
"""Seconds without a line, after which a worker is taken for stuck: its own clock strikes after ten."""


@dataclass
class Tally:
    """Of one format."""

    inputs: int = 0
    read: int = 0
    seconds: float = 0.0
    memory: int = 0
    faults: list[tuple[int, str]] = field(default_factory=list)


Line = dict[str, object] | None


def run(seeds: Sequence[Seed], count: int, *, number: int = 0, workers: int = 1, formats: Sequence[str] = (), start: int = 0,
        tell: Callable[[int], None] = lambda _done: None) -> dict[str, Tally]:  # fmt: skip
    """Judge `count` spoilt models of run `number`; each worker takes every so manyth of them."""
    tallies: dict[str, Tally] = {}
    lock = threading.Lock()

    def note(line: dict[str, object]) -> None:
        with lock:
            tally = tallies.setdefault(str(line["format"]), Tally())
            tally.inputs += 1
            tally.read += bool(line.get("read"))
            tally.seconds = max(tally.seconds, float(line.get("seconds", 0)))
            tally.memory = max(tally.memory, int(line.get("memory", 0)))
            if line["fault"]:
                tally.faults.append((int(line["index"]), str(line["fault"])))
            tell(sum(each.inputs for each in tallies.values()))

    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # half of the time is the disk's otherwise
    with tempfile.TemporaryDirectory(prefix="fuzzing-", dir=memory) as folder:
        stored = Path(folder) / "seeds"
        stored.write_bytes(pickle.dumps(list(seeds)))
        threads = []
        for each in range(workers):
            arguments = (Path(folder) / str(each), stored, number, start + each, workers, start + count, formats, note)
            threads.append(threading.Thread(target=_work, args=arguments))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return tallies


def _pass_on(source: Iterable[str], lines: queue.Queue[str]) -> None:
    for line in source:
        lines.put(line)
    lines.put("")


def _work(folder: Path, stored: Path, number: int, start: int, step: int, count: int, formats: Sequence[str],
          note: Callable[[dict[str, object]], None]) -> None:  # fmt: skip
    """One worker after the other, each goes on where the last one ended."""
    index, stuck = start, 0
    while index < count:
        command = [sys.executable, "-m", "fuzzing.worker", str(folder), str(stored), str(number), str(index), str(step), str(count)]
        paths = [str(Path(__file__).parents[1]), *(path for path in sys.path if path)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
        with subprocess.Popen(
            [*command, *formats], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as process:
            lines: queue.Queue[str] = queue.Queue()
            reader = threading.Thread(target=_pass_on, args=(process.stdout, lines), daemon=True)
            said: list[str] = []
            moaner = threading.Thread(target=lambda: said.extend(process.stderr), daemon=True)  # noqa: B023
            reader.start()
            moaner.start()
            begun: dict[str, object] = {}
            why = ""
            while True:
                try:
                    line = lines.get(timeout=PATIENCE)
                except queue.Empty:
                    why = f"no answer for {PATIENCE:.0f} s"
                    process.kill()
                    break
                if not line:
                    break
                facts = json.loads(line)
                if "fault" in facts:
                    note(facts)
                    begun, index, stuck = {}, int(facts["index"]) + step, 0
                else:
                    begun = facts
            process.wait()
            moaner.join(5)
        if begun:
            note({**begun, "fault": why or f"the process ended with {process.returncode}: {''.join(said)[-1500:]}"})
            index = int(begun["index"]) + step
        elif process.returncode:
            stuck += 1
            if stuck > 2:
                raise RuntimeError(f"worker {index} ended with {process.returncode}: " + "".join(said)[-3000:])
