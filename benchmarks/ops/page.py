"""What the bench showed, as JSON and as docs/bench-ops.md."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.coverage import Coverage, measure_coverage
from ops.families import NAMES

PAGE = Path(__file__).parents[2] / "docs" / "bench-ops.md"
TARGETS = {"tflite": "TensorFlow Lite", "tfjs": "TensorFlow.js"}
OFFICIAL = {"tflite": "TFLiteConverter", "tfjs": "tensorflowjs"}
STATUSES = ("ok", "refused", "fails", "wrong", "crashed")
HEADS = ("family", "cases", "TFLiteConverter", "Tensorferry, TFLite", "tensorflowjs", "Tensorferry, TF.js")
SHARES = ("target", "theirs ok, ours not", "theirs not ok", "of these ours ok", "share")
LISTED = 40
"""So many cases are listed by name where a list may be long."""

HEAD = """# Bench of small graphs

Written by `make bench-ops`; do not edit. Each case is a graph of one or a few TensorFlow ops (`benchmarks/ops/families`), made and
run by TensorFlow itself: its outputs are what is expected. The graph then goes through TensorFlow's own converters and through
Tensorferry, the results run in LiteRT (XNNPACK where it can) and in TensorFlow.js (Node; wasm, and the plain backend where wasm
cannot run the model), and every output is compared: shapes, kinds of types, integers, booleans and strings exactly, floating point
within 1e-3 of the value and 1e-4 absolute (half precision: and four of its steps; float64 beyond float32: infinity). Where a target
has no uint32, the bits of its int32 are compared. Of random ops types and shapes are compared.
Where a graph leaves the first size of its inputs open, the same file is run with twice that size as well.

"ok" means converted, ran, and equal. TFLiteConverter runs with its builtins only, from the concrete function, or from the session
for graphs of TensorFlow 1; tensorflowjs from the frozen graph.
"""

LEGEND = """\
"refused": no file was written. "fails": the runtime refuses the file or breaks off. "wrong": other numbers. "crashed": the process
died or hung.
"""


@dataclass(frozen=True, slots=True)
class Bench:
    """Status of each case by converter: `theirs[target][id]`, `ours[target][id]`."""

    families: Mapping[str, Sequence[str]]
    theirs: Mapping[str, Mapping[str, Mapping[str, str]]]
    ours: Mapping[str, Mapping[str, Mapping[str, Any]]]
    untaken: int

    @property
    def ids(self) -> list[str]:
        return [each for members in self.families.values() for each in members]

    def passes(self, side: str, target: str, identity: str) -> bool:
        return (self.theirs if side == "theirs" else self.ours)[target].get(identity, {}).get("status") == "ok"

    def lost(self, target: str) -> list[str]:
        """What TensorFlow's converter does and Tensorferry does not."""
        return [each for each in self.ids if self.passes("theirs", target, each) and not self.passes("ours", target, each)]

    def refused(self, target: str) -> tuple[list[str], list[str]]:
        """What TensorFlow's converter does not do: all of it, and what Tensorferry does of it."""
        beyond = [each for each in self.ids if each in self.theirs[target] and not self.passes("theirs", target, each)]
        return beyond, [each for each in beyond if self.passes("ours", target, each)]


def read_bench(work: Path, wanted: Sequence[str]) -> Bench:
    """The outcomes of these cases, as far as Tensorferry was run on them."""
    made, theirs_lite, theirs_js, ours = (
        read_json(work / f"{name}.json") for name in ("made", "official_tflite", "official_tfjs", "ours")
    )
    cases = [each for each in wanted if made.get(each, {}).get("status") == "ok" and each in ours]
    families = {name: [each for each in cases if each.partition(".")[0] == name] for name in NAMES}
    split = {target: {each: ours[each][target] for each in cases} for target in TARGETS}
    untaken = sum(1 for each in wanted if made.get(each, {}).get("status") == "refused")
    return Bench({name: ids for name, ids in families.items() if ids}, {"tflite": theirs_lite, "tfjs": theirs_js}, split, untaken)


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def summarise(bench: Bench) -> dict[str, Any]:
    """The figures as plain data."""
    counted = {
        name: {"cases": len(ids)}
        | {
            f"{side}_{target}": sum(bench.passes(side, target, each) for each in ids)
            for target in TARGETS
            for side in ("theirs", "ours")
        }
        for name, ids in bench.families.items()
    }
    totals = {key: sum(row[key] for row in counted.values()) for key in next(iter(counted.values()))} if counted else {}
    facts: dict[str, Any] = {"families": counted, "all": totals, "not_run_by_tensorflow": bench.untaken}
    for target in TARGETS:
        beyond, gained = bench.refused(target)
        facts[target] = {
            "theirs_ok_ours_not": bench.lost(target),
            "theirs_not_ok": len(beyond),
            "of_these_ours_ok": len(gained),
            "theirs": Counter(bench.theirs[target][each]["status"] for each in bench.ids if each in bench.theirs[target]),
            "ours": Counter(bench.ours[target][each]["status"] for each in bench.ids),
        }
    return facts


def _table(heads: Sequence[str], rows: Iterator[Sequence[object]]) -> str:
    marks = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in (heads, marks, *rows)) + "\n"


def _family_rows(facts: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    for name, row in (facts["families"] | {"**all**": facts["all"]}).items():
        yield name, row["cases"], *(row[f"{side}_{target}"] for target in TARGETS for side in ("theirs", "ours"))


def _status_rows(facts: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    for target, title in TARGETS.items():
        for side, name in (("theirs", OFFICIAL[target]), ("ours", "Tensorferry")):
            yield f"{title}, {name}", *(facts[target][side].get(status, 0) for status in STATUSES)


def _share_rows(facts: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    for target, title in TARGETS.items():
        found = facts[target]
        share = f"{100 * found['of_these_ours_ok'] / found['theirs_not_ok']:.0f} %" if found["theirs_not_ok"] else ""
        yield title, len(found["theirs_ok_ours_not"]), found["theirs_not_ok"], found["of_these_ours_ok"], share


def _lost(bench: Bench, target: str) -> str:
    lost = bench.lost(target)
    if not lost:
        return "None.\n"
    lines = [
        f"- `{each}`: {bench.ours[target][each]['status']}, {_short(bench.ours[target][each].get('why', ''))}"
        for each in lost[:LISTED]
    ]
    return "\n".join(lines) + (f"\n- and {len(lost) - LISTED} more" if len(lost) > LISTED else "") + "\n"


def _short(why: str) -> str:
    return why.replace("|", "/").replace("\n", " ")[:140]


def _reasons(bench: Bench, target: str) -> str:
    """Why Tensorferry does not pass cases, the most frequent reasons first."""
    groups: dict[str, list[str]] = {}
    for identity in bench.ids:
        outcome = bench.ours[target][identity]
        if outcome["status"] != "ok":
            groups.setdefault(f"{outcome['status']}: {_alike(outcome.get('why', ''))}", []).append(identity)
    rows = sorted(groups.items(), key=lambda each: (-len(each[1]), each[0]))[:LISTED]
    if not rows:
        return "All are passed.\n"
    return _table(("reason", "cases", "one of them"), ((f"{why}", len(ids), f"`{ids[0]}`") for why, ids in rows))


def _alike(why: str) -> str:
    """The reason without what differs from case to case."""
    first = why.split(" | ", maxsplit=1)[0]
    plain = re.sub(r"'[^']*(/|\.tflite)[^']*'", "the file", first)
    return _short(re.sub(r"-?\b\d[\d.e+-]*", "#", plain))


def _coverage_part(coverage: Coverage, title: str) -> str:
    lines = [
        f"## {title}: operators reached",
        "",
        f"{len(coverage.reached)} of {coverage.total} are written for some case or example.",
    ]
    if coverage.unreached:
        rows = (f"| `{name}` | {reason} |" for name, reason in coverage.unreached.items())
        lines += ["", "| not reached | why |", "| --- | --- |", *rows]
    return "\n".join(lines) + "\n"


def describe(bench: Bench) -> str:
    """The two tables that say most."""
    facts = summarise(bench)
    return _table(HEADS, _family_rows(facts)) + "\n" + _table(SHARES, _share_rows(facts))


def render(bench: Bench, coverage: Mapping[str, Coverage], machine: str) -> str:
    facts = summarise(bench)
    untaken = (
        f"{bench.untaken} more were tried that TensorFlow cannot run on a CPU itself; they are no cases.\n" if bench.untaken else ""
    )
    parts = [
        HEAD,
        f"{machine}\n",
        "## Passed, by family\n",
        _table(HEADS, _family_rows(facts)),
        untaken,
        "## What became of them\n",
        _table(("converter", *STATUSES), _status_rows(facts)),
        LEGEND,
        "## Against each other\n",
        _table(SHARES, _share_rows(facts)),
        *(f"### What {OFFICIAL[target]} does and Tensorferry does not\n\n{_lost(bench, target)}" for target in TARGETS),
        *(
            f"### {title}: what Tensorferry does not pass, and why\n\n{_reasons(bench, target)}"
            for target, title in TARGETS.items()
        ),
        *(_coverage_part(coverage[target], title) for target, title in TARGETS.items()),
    ]
    return "\n".join(part for part in parts if part)


def write_page(bench: Bench, work: Path, machine: str, page: Path = PAGE) -> None:
    """docs/bench-ops.md, and all of it as data in the work folder."""
    coverage = measure_coverage(bench.ours)
    facts = summarise(bench)
    for target in TARGETS:
        facts[target]["unreached"] = dict(coverage[target].unreached)
    (work / "results.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    page.write_text(render(bench, coverage, machine), encoding="utf-8")
