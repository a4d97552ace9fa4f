"""A process that holds one model in LiteRT and runs it when asked: its memory is the model's alone, and a crash is only its own.

Lines of JSON on stdin and stdout. The first says what to load; each further one {"runs", "seconds"} is answered with times in
milliseconds, the last with what there is to say at the end.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from tensorferry.errors import FerryError
from tensorferry.runtimes.litert import NAME, LiteRtModel
from tensorferry.tensor import Array


def main() -> None:
    """Serve until stdin ends."""
    try:
        _serve(json.loads(sys.stdin.readline()))
    except FerryError as error:
        _say({"error": error.what, "why": error.why})


def _serve(task: dict[str, Any]) -> None:
    from ai_edge_litert import interpreter  # noqa: F401, PLC0415 - its own memory is not the model's

    inputs = _read_inputs(task["inputs"])
    before = _forget_peak()
    start = time.perf_counter()
    with LiteRtModel(task["path"], threads=task["threads"], xnnpack=task["xnnpack"]) as model:
        load = (time.perf_counter() - start) * 1000
        start = time.perf_counter()
        model.run(inputs)
        first = (time.perf_counter() - start) * 1000
        if task["warmup"]:
            model.time(inputs, task["warmup"], task["seconds"])
        _say({"load": load, "first": first, "runtime": f"{NAME} {model.version}", "backend": model.backend})
        for line in sys.stdin:
            asked = json.loads(line)
            _say({"times": model.time(inputs, asked["runs"], asked["seconds"]), "memory": _grown(before)})


def _read_inputs(path: str) -> dict[str, Array]:
    """Texts come as bytes of a fixed width, for an archive holds no others without pickling."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def _memory(key: str) -> int | None:
    with suppress(OSError, StopIteration, ValueError):
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(key))
    return None


def _forget_peak() -> int | None:
    """Let the largest size be measured from now on; what there is now."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _memory("VmRSS:")


def _grown(before: int | None) -> int | None:
    peak = _memory("VmHWM:")
    return None if before is None or peak is None else max(0, peak - before)


if __name__ == "__main__":
    main()
