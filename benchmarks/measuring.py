"""Run a command to its end and say what it took. Imports little: a child's peak memory can never read below its parent's."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Run:
    """One process from start to end. `seconds` is wall time; `peak` the largest resident set in bytes, as the kernel counts it."""

    seconds: float
    peak: int
    code: int
    output: str
    errors: str


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Run:
    """Run a command once. Its streams go through files, so that no pipe can hold it up."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command], stdout=output, stderr=errors, env={**os.environ, **(environment or {})}
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        unit = 1 if sys.platform == "darwin" else 1024
        return Run(seconds, usage.ru_maxrss * unit, process.returncode, _text(output), _text(errors))


def _text(stream: object) -> str:
    stream.seek(0)  # type: ignore[attr-defined]
    return stream.read().decode(errors="replace")  # type: ignore[attr-defined, no-any-return]


def median_run(command: Sequence[str | Path], times: int, environment: Mapping[str, str] | None = None) -> Run:
    """The run of median wall time, with the largest peak of all. Ends with the first run that fails."""
    runs: list[Run] = []
    for _ in range(times):
        runs.append(run(command, environment))
        if runs[-1].code:
            return runs[-1]
    middle = sorted(runs, key=lambda each: each.seconds)[len(runs) // 2]
    return replace(middle, peak=max(each.peak for each in runs))


def size_of(target: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if target.is_file():
        return target.stat().st_size
    return sum(each.stat().st_size for each in target.rglob("*") if each.is_file())


def describe_machine() -> dict[str, object]:
    """What the figures were taken on, without a path or a host name."""
    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [line.split(":", 1)[1].strip() for line in information.read_text().splitlines() if line.startswith("model name")]
        processor = names[0] if names else processor
    return {
        "system": platform.system(),
        "processor": processor,
        "cores": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
    }
