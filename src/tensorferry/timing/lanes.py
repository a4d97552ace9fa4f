"""A model in a runtime, ready to be run a few times whenever its turn comes: one process each."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tensorferry.errors import FerryError
from tensorferry.runtimes import chromium, litert, tfjs
from tensorferry.tensor import Array
from tensorferry.timing.records import KernelTime

PATIENCE = 600.0
"""Seconds after which an answer is no longer waited for."""

PROFILED = 5
"""Runs in which a runtime watches its kernels: watching slows them, so these are none of those that are timed."""


@dataclass(slots=True)
class Outcome:
    """What a lane has measured so far."""

    runtime: str = ""
    backend: str = ""
    load: float = 0.0
    first: float = 0.0
    times: tuple[float, ...] = ()
    memory: int | None = None
    kernels: tuple[KernelTime, ...] = ()


@dataclass(frozen=True, slots=True)
class Warmup:
    """Runs before anything counts, and the seconds that they may take."""

    runs: int
    seconds: float


class Lane(Protocol):
    """Opened once, run in rounds; raises FerryError where the model cannot be run. Closing it ends its process."""

    outcome: Outcome

    def open(self, warmup: Warmup) -> None: ...

    def run(self, runs: int, seconds: float) -> None: ...

    def profile(self) -> None: ...

    def close(self) -> None: ...


class LiteLane:
    """A .tflite file in LiteRT, in a Python process of its own."""

    def __init__(self, path: Path, inputs: Mapping[str, Array], threads: int, xnnpack: bool) -> None:
        self.outcome = Outcome()
        self._path, self._inputs, self._threads, self._xnnpack = path, inputs, threads, xnnpack
        self._process: subprocess.Popen[str] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="tensorferry-")

    def open(self, warmup: Warmup) -> None:
        arrays = Path(self._folder.name, "inputs.npz")
        np.savez(arrays, allow_pickle=False, **{name: _plain(array) for name, array in self._inputs.items()})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tensorferry.timing.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        task = {
            "path": str(self._path),
            "inputs": str(arrays),
            "threads": self._threads,
            "xnnpack": self._xnnpack,
            "warmup": warmup.runs,
            "seconds": warmup.seconds,
        }
        answer = self._ask(task)
        self.outcome.runtime, self.outcome.backend = answer["runtime"], answer["backend"]
        self.outcome.load, self.outcome.first = answer["load"], answer["first"]

    def run(self, runs: int, seconds: float) -> None:
        answer = self._ask({"runs": runs, "seconds": seconds})
        self.outcome.times += tuple(answer["times"])
        self.outcome.memory = answer["memory"]

    def profile(self) -> None:
        """LiteRT's Python package gives no times of single operators."""

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        clock = threading.Timer(PATIENCE, process.kill)
        clock.start()
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            clock.cancel()
        if not line:
            ended = process.wait()
            raise FerryError(f"{litert.NAME} did not finish running '{self._path}'", why=f"its process ended with {ended}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise FerryError(answer["error"], why=answer["why"])
        return answer

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    assert pipe is not None
                    pipe.close()
        self._folder.cleanup()


def _plain(array: Array) -> Array:
    """Texts as bytes of a fixed width."""
    if array.dtype.kind not in "OSU":
        return array
    texts = [each.encode() if isinstance(each, str) else bytes(each) for each in array.reshape(-1).tolist()]
    return np.array(texts, dtype=np.bytes_).reshape(array.shape)


class WebLane:
    """A TensorFlow.js model on one backend, in Node or in a browser."""

    def __init__(self, path: Path, inputs: Mapping[str, Array], backend: tfjs.Backend, *, browser: bool = False) -> None:
        self.outcome = Outcome(backend=backend)
        self._runtime = chromium.Page(path, inputs, backend) if browser else _InNode(path, inputs, backend)

    def open(self, warmup: Warmup) -> None:
        timing = self._runtime.time(tfjs.TimingPlan(warmup.runs, warmup.seconds))
        self.outcome.runtime, self.outcome.load, self.outcome.first = timing.runtime, timing.load, timing.first

    def run(self, runs: int, seconds: float) -> None:
        timing = self._runtime.time(tfjs.TimingPlan(runs, seconds))
        self.outcome.times += timing.times
        self.outcome.memory = timing.memory

    def profile(self) -> None:
        timing = self._runtime.time(tfjs.TimingPlan(0, 0.0, PROFILED))
        found = (KernelTime(name, count, statistics.median(times)) for name, count, times in timing.kernels)
        self.outcome.kernels = tuple(sorted(found, key=lambda each: -each.milliseconds))

    def close(self) -> None:
        self._runtime.close()


class _InNode:
    def __init__(self, path: Path, inputs: Mapping[str, Array], backend: tfjs.Backend) -> None:
        self._path, self._inputs = path, inputs
        self._session = tfjs.Session(backend=backend, timeout=PATIENCE)

    def time(self, plan: tfjs.TimingPlan) -> tfjs.TfjsTiming:
        timing = self._session.time(self._path, self._inputs, plan)
        self._inputs = {}  # they are there now
        return timing

    def close(self) -> None:
        self._session.close()
