"""Puts results of compare.py into docs/benchmarks.md: python benchmarks/write_page.py RESULTS.json..."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- figures of compare.py -->", "<!-- end of figures -->"
MEBIBYTE = 1 << 20


def table(title: str, columns: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """Columns that begin with `>` hold numbers."""
    heads = [column.lstrip(">") for column in columns]
    marks = ["---:" if column.startswith(">") else "---" for column in columns]
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, marks, *rows)]
    return f"## {title}\n\n" + "\n".join(lines) + "\n"


def converter_rows(rows: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    least = rows[0]["seconds"]
    for row in rows:
        if row["error"]:
            yield row["converter"], row["target"], "failed", "", "", "", "", ""
            continue
        time = f"{row['seconds']:.2f}", f"{row['seconds'] / least:.1f}"
        space = f"{row['peak'] / MEBIBYTE:.0f}", f"{row['size'] / MEBIBYTE:.3f}"
        latency = "" if row["latency"] is None else f"{row['latency'] * 1000:.2f}"
        yield row["converter"], row["target"], *time, *space, str(row["operators"] or ""), latency


def ratio_rows(rows: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    ours = {(row["model"], row["target"]): row for row in rows if row["converter"] == "tensorferry"}
    for row in rows:
        mine = ours.get((row["model"], row["target"]))
        if row["converter"] in ("TFLiteConverter", "tensorflowjs") and mine and not row["error"] and not mine["error"]:
            latency = f"{mine['latency'] / row['latency']:.3f}" if row["latency"] else ""
            faster, lighter = row["seconds"] / mine["seconds"], row["peak"] / mine["peak"]
            yield row["model"], row["target"], row["converter"], f"{faster:.1f}", f"{lighter:.1f}", latency


def step_rows(seconds: Mapping[str, Mapping[str, float]]) -> Iterator[Sequence[str]]:
    for name, steps in seconds.items():
        for step, spent in steps.items():
            yield name, step, f"{spent:.3f}"


def render(results: Sequence[Mapping[str, Any]]) -> str:
    rows = [row for result in results for row in result["rows"]]
    seconds: dict[str, Mapping[str, float]] = {}
    for result in results:
        seconds |= result["seconds"]
    columns = ("converter", "target", ">wall s", ">x cp", ">peak MiB", ">size MiB", ">operators", ">latency ms")
    parts = [
        table(name, columns, converter_rows([row for row in rows if row["model"] == name]))
        for name in dict.fromkeys(row["model"] for row in rows)
    ]
    parts.append(
        table(
            "How many times", ("model", "target", "against", ">faster", ">less memory", ">latency, ours / theirs"), ratio_rows(rows)
        )
    )
    parts.append(table("Where the time goes, without verification", ("of", "step", ">seconds"), step_rows(seconds)))
    return "\n".join(parts)


def main() -> None:
    results = [json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]]
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    PAGE.write_text(f"{before}{BEGIN}\n\n{render(results)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
