"""What a conversion did, as plain records that are also JSON. Rendering for people is in `console`."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensorferry.check import Check
from tensorferry.errors import VerificationError
from tensorferry.ir import Graph, Port, Shape


@dataclass(frozen=True, slots=True)
class PortFacts:
    """An input or output: public name, the node behind it, type, shape (None where a size is unknown; None for an unknown rank)."""

    name: str
    node: str
    dtype: str
    shape: tuple[int | None, ...] | None
    found: bool  # found by the tool rather than named by the user

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "node": self.node,
            "dtype": self.dtype,
            "shape": None if self.shape is None else list(self.shape),
            "found": self.found,
        }


def describe_port(port: Port, *, found: bool) -> PortFacts:
    return PortFacts(port.name, port.value.producer.name, str(port.value.dtype), _plain_shape(port.value.shape), found)


def _plain_shape(shape: Shape) -> tuple[int | None, ...] | None:
    return None if shape is None else tuple(dim if isinstance(dim, int) else None for dim in shape)


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What went in."""

    path: str
    format: str
    bytes: int
    nodes: int
    ops: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        return {"path": self.path, "format": self.format, "bytes": self.bytes, "nodes": self.nodes, "ops": self.ops}


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What came out: one file or folder."""

    path: str
    kind: str
    bytes: int
    files: tuple[str, ...]
    operators: dict[str, int]
    runtime: str  # the oldest runtime that can load it
    notices: tuple[str, ...]
    check: Check
    quantisation: dict[str, Any] | None = None  # mode, operators quantised, operators left float with the reason

    @property
    def operator_count(self) -> int:
        return sum(self.operators.values())

    def as_dict(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "kind": self.kind,
            "bytes": self.bytes,
            "files": list(self.files),
            "operators": self.operators,
            "operator_count": self.operator_count,
            "runtime": self.runtime,
            "notices": list(self.notices),
            "quantisation": self.quantisation,
            "check": self.check.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """The whole conversion."""

    version: str
    source: SourceFacts
    inputs: tuple[PortFacts, ...]
    outputs: tuple[PortFacts, ...]
    targets: tuple[TargetFacts, ...]
    notices: tuple[str, ...]
    seconds: dict[str, float]
    peak_bytes: int | None

    @property
    def passed(self) -> bool:
        """No target computed anything wrong. A target that was not verified did not fail."""
        return all(target.check.status != "failed" for target in self.targets)

    @property
    def verified(self) -> bool:
        """Every target was run and found right."""
        return all(target.check.status == "verified" for target in self.targets)

    def as_dict(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "source": self.source.as_dict(),
            "inputs": [port.as_dict() for port in self.inputs],
            "outputs": [port.as_dict() for port in self.outputs],
            "targets": [target.as_dict() for target in self.targets],
            "notices": list(self.notices),
            "seconds": {step: round(seconds, 4) for step, seconds in self.seconds.items()},
            "peak_bytes": self.peak_bytes,
        }

    def to_json(self) -> str:
        return to_json(self.as_dict())


@dataclass(frozen=True, slots=True)
class Frozen:
    """A frozen graph that was written."""

    path: str
    bytes: int
    nodes: int
    inputs: tuple[PortFacts, ...]
    outputs: tuple[PortFacts, ...]
    notices: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "bytes": self.bytes,
            "nodes": self.nodes,
            "inputs": [port.as_dict() for port in self.inputs],
            "outputs": [port.as_dict() for port in self.outputs],
            "notices": list(self.notices),
        }


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of comparing existing files with their source: one Check a target path."""

    source: str
    checks: dict[str, Check]

    @property
    def passed(self) -> bool:
        """No file computes anything wrong. One that was not run did not fail."""
        return all(check.status != "failed" for check in self.checks.values())

    @property
    def verified(self) -> bool:
        """Every file was run and found right."""
        return all(check.status == "verified" for check in self.checks.values())

    def as_dict(self) -> dict[str, Any]:
        checks = {path: check.as_dict() for path, check in self.checks.items()}
        return {"source": self.source, "passed": self.passed, "verified": self.verified, "checks": checks}

    def to_json(self) -> str:
        return to_json(self.as_dict())

    def raise_if_failed(self) -> None:
        """VerificationError naming every target that failed."""
        failed = [path for path, check in self.checks.items() if check.status == "failed"]
        if failed:
            raise VerificationError(f"{', '.join(failed)} does not compute what {self.source} computes")


def to_json(data: dict[str, Any]) -> str:
    """Strict JSON: inf and NaN, which JSON lacks, become null."""
    return json.dumps(_finite(data), indent=2, allow_nan=False)


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(each) for key, each in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(each) for each in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data


def count_ops(graph: Graph) -> dict[str, int]:
    """Op -> how many, most frequent first."""
    counts: dict[str, int] = {}
    for node in graph.nodes:
        counts[node.op] = counts.get(node.op, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@dataclass(slots=True)
class Stopwatch:
    """Wall seconds a step, in the order the steps began."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def peak_memory() -> int | None:
    """Largest resident size of this process so far in bytes; None where the system does not tell."""
    try:  # Linux: getrusage would count what the parent held before exec
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        import resource  # noqa: PLC0415 - absent on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
