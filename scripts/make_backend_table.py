"""Measure which operators XNNPACK takes and write them into src/tensorferry/wire/backends.txt.

python scripts/make_backend_table.py       (with tests on PYTHONPATH; needs ai-edge-litert)
"""

from __future__ import annotations

import sys
import tempfile
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "src" / "tensorferry" / "wire" / "backends.txt"
WIDTH = 132


def measure() -> set[str]:
    """Operators of which at least one example of some op runs in XNNPACK."""
    sys.path.insert(0, str(ROOT / "tests"))
    from op_harness import all_cases, can_express, feeds, target_graph  # noqa: PLC0415
    from tensorferry.errors import FerryError  # noqa: PLC0415
    from tensorferry.runtimes.litert import LiteRtModel  # noqa: PLC0415
    from tensorferry.writers.tflite import write_tflite  # noqa: PLC0415

    taken: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        for case in all_cases():
            if not can_express(case, "tflite"):
                continue
            try:
                graph = target_graph(case, "tflite", pipeline=False)
                write_tflite(graph, path)
                with LiteRtModel(path) as model:
                    given = feeds(case)
                    model.run({port.name: given[port.name].astype(port.value.dtype.numpy) for port in graph.inputs})
                    taken |= model.delegated_operators()
            except FerryError:
                continue
    return taken


def main() -> None:
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("has xnnpack")]
    words = textwrap.wrap(" ".join(sorted(measure())), WIDTH - len("has xnnpack "))
    first = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    lines[first:first] = ["has xnnpack " + words[0], *(f"    {line}" for line in words[1:])]
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
