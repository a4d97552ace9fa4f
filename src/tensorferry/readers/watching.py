"""Checks, prints and summaries that a run would make: they change no value and are left out, which is told."""

from __future__ import annotations

from collections import Counter

from tensorferry.ir import Graph, Node

_KINDS = (
    ("Assert", "assertion"),
    ("CheckNumerics", "check for NaN"),
    ("PrintV2", "printing"),
    ("Print", "printing"),
    ("DebugIdentity", "debugging node"),
    ("ScalarSummary", "summary"),
    ("HistogramSummary", "summary"),
    ("ImageSummary", "summary"),
    ("AudioSummary", "summary"),
    ("TensorSummary", "summary"),
    ("Write", "summary"),
)
"""How the names of their ops begin, and what they are."""

_PLURALS = {"summary": "summaries"}


def tell_watchers(graph: Graph, run: set[Node]) -> None:
    """Count what watches over the nodes of `run`: of those that hang on control inputs as well as of those that values pass."""
    found: Counter[str] = Counter()
    for node in graph.nodes:
        kind = _kind_of(node) if node in run else None
        if kind is not None:
            found[kind] += 1
    if found:
        named = ((count, kind if count == 1 else _PLURALS.get(kind, f"{kind}s")) for kind, count in sorted(found.items()))
        listed = ", ".join(f"{count} {name}" for count, name in named)
        graph.notices.append(f"left out, for they change no value: {listed}")


def _kind_of(node: Node) -> str | None:
    if node.op.startswith("Write") and "Summary" not in node.op:
        return None
    if node.op in ("If", "StatelessIf") and "AssertGuard" in node.name:
        return "assertion"
    return next((kind for start, kind in _KINDS if node.op.startswith(start)), None)
