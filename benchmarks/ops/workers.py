"""Child processes that go through many cases and may die or hang at any of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

Outcome = dict[str, Any]
"""What a child says of one case: at least `id` and `status`."""

PATIENCE = 90.0
"""Seconds without a word after which a child is taken for hanging; the first case of a child includes its imports."""

CHUNK = 250
"""Cases for one child, so that no leak of a converter grows without bound."""


def serve(judge: Callable[[str], Outcome]) -> None:
    """The child's side: ids come as arguments of a file, outcomes go to another, one JSON object a line."""
    ids = json.loads(Path(sys.argv[-2]).read_text(encoding="utf-8"))
    with open(sys.argv[-1], "a", encoding="utf-8", buffering=1) as file:
        for identity in ids:
            file.write(json.dumps({"begin": identity}) + "\n")
            try:
                outcome = judge(identity)
            except Exception as error:
                outcome = {"status": "refused", "why": brief(error)}
            file.write(json.dumps({"id": identity, **outcome}) + "\n")


def brief(error: BaseException) -> str:
    """An error on one line, without the stack that TensorFlow's compiler prints behind it."""
    text = re.sub(r"\S+:\d+:\d+: note: .*", "", str(error).partition("note: called from")[0])
    text = re.sub(r"<?/?[\w./<>-]+>?:\d+:\d+: (?=error)", "", text)
    return " ".join(f"{type(error).__name__}: {text}".split())[:600]


def run_all(
    command: Sequence[str], ids: Sequence[str], *, crashed: str = "crashed", patience: float = PATIENCE
) -> Iterator[Outcome]:
    """Run the command over the cases, in chunks; a case at which a child dies or hangs gets that as its outcome."""
    waiting = list(ids)
    while waiting:
        chunk = waiting[:CHUNK]
        done = 0
        for outcome in _run_chunk(command, chunk, crashed, patience):
            done += 1
            yield outcome
        waiting = waiting[max(done, 1) :]


def _run_chunk(command: Sequence[str], chunk: Sequence[str], crashed: str, patience: float) -> Iterator[Outcome]:
    with tempfile.TemporaryDirectory(prefix="bench-ops-") as folder:
        listed, results, log = (Path(folder, name) for name in ("ids.json", "results.jsonl", "log.txt"))
        listed.write_text(json.dumps(chunk), encoding="utf-8")
        results.touch()
        with open(log, "wb") as errors:
            process = subprocess.Popen(
                [*command, str(listed), str(results)], stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, env=environment()
            )
            yield from _follow(process, results, log, chunk, crashed, patience)


def _follow(
    process: subprocess.Popen[bytes], results: Path, log: Path, chunk: Sequence[str], crashed: str, patience: float
) -> Iterator[Outcome]:
    """Outcomes as they are written. When the child ends early, the case it was at gets an outcome of its own."""
    seen, begun = 0, ""
    with open(results, encoding="utf-8") as file:
        heard = time.monotonic()
        ended = False
        while True:
            line = file.readline()
            if line.endswith("\n"):
                heard = time.monotonic()
                said = json.loads(line)
                if "begin" in said:
                    begun = said["begin"]
                    continue
                seen += 1
                yield said
            elif line:
                file.seek(file.tell() - len(line))
                time.sleep(0.05)
            elif ended:
                break
            elif process.poll() is not None:
                ended = True  # one more look at what it wrote last
            elif time.monotonic() - heard > patience:
                process.kill()
                process.wait()
                yield {"id": begun or chunk[0], "status": crashed, "why": f"hangs: no result within {patience:g} seconds"}
                return
            else:
                time.sleep(0.05)
    if seen < len(chunk):
        if not begun and seen == 0:
            raise RuntimeError(f"the worker did not start: {log.read_text(errors='replace')[-2000:]}")
        yield {"id": chunk[seen], "status": crashed, "why": f"the process ended with {process.returncode}"}


def environment() -> dict[str, str]:
    """This package importable; one thread for each library, and quiet ones."""
    calm = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    here = str(Path(__file__).parents[1])
    path = os.pathsep.join(each for each in (here, os.environ.get("PYTHONPATH", "")) if each)
    return {
        **os.environ,
        **calm,
        "PYTHONPATH": path,
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
    }
