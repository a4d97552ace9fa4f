"""What can go wrong, told so that a person can act on it.

Every error names what happened, where (file and byte offset, or node and op), why, and what to do about it. The command line
prints exactly that and ends with the error's exit code; no traceback reaches a user.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class FerryError(Exception):
    """Root of all errors a user can cause or meet.

    `what` is one clear sentence; `where`, `why` and `remedy` are optional and printed on lines of their own.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", why: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.remedy = remedy

    def __str__(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"  where: {self.where}")
        if self.why:
            parts.append(f"  why: {self.why}")
        if self.remedy:
            parts.append(f"  what to do: {self.remedy}")
        return "\n".join(parts)

    def as_dict(self) -> dict[str, object]:
        """The error as plain JSON data."""
        return {
            "error": type(self).__name__,
            "what": self.what,
            "where": self.where,
            "why": self.why,
            "remedy": self.remedy,
        }


class OptionError(FerryError):
    """The caller asked for something that makes no sense: unknown name, contradicting options."""


class SourceError(FerryError):
    """The source file is missing, truncated, corrupt, or not what it is said to be."""


class TargetError(FerryError):
    """The target cannot be written: it is the source, the disk is full, the folder is read-only."""


class GraphError(FerryError):
    """A Graph breaks its own rules. From a pass this is our bug; from a reader, a malformed model."""


class NodeError(FerryError):
    """Something about one node: names the node and its op."""

    def __init__(self, node: str, op: str, why: str, *, remedy: str = "") -> None:
        super().__init__(f"node '{node}' ({op}) cannot be processed", where=f"node '{node}', op {op}", why=why)
        self.remedy = remedy
        self.node = node
        self.op = op


@dataclass(frozen=True, slots=True)
class Problem:
    """One node that a target cannot express."""

    node: str
    op: str
    why: str
    remedy: str = ""
    attributes: str = ""

    def __str__(self) -> str:
        attributes = f" [{self.attributes}]" if self.attributes else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.node} ({self.op}){attributes}: {self.why}{remedy}"


class UnsupportedError(FerryError):
    """All nodes that stand in the way of a conversion, in one message."""

    def __init__(self, problems: Sequence[Problem], target: str, *, following: int = 0) -> None:
        """`following`: how many nodes after these could not be judged, because nothing is known of what they read."""
        count = len(problems)
        ops = sorted({problem.op for problem in problems})
        lines = [str(problem) for problem in problems]
        if following:
            lines.append(f"and {following} nodes behind {'these' if count != 1 else 'it'}, of whose inputs nothing is known")
        super().__init__(
            f"{count} node{'s' if count != 1 else ''} cannot be written as {target}: {', '.join(ops)}",
            why="".join(f"\n    {line}" for line in lines),
            remedy="choose --outputs that do not need these nodes, or rewrite them in the source model; "
            "docs/ops.md lists what is supported",
        )
        self.problems = tuple(problems)
        self.target = target

    def as_dict(self) -> dict[str, object]:
        return super().as_dict() | {
            "target": self.target,
            "problems": [
                {
                    "node": problem.node,
                    "op": problem.op,
                    "attributes": problem.attributes,
                    "why": problem.why,
                    "remedy": problem.remedy,
                }
                for problem in self.problems
            ],
        }


class VerificationError(FerryError):
    """The converted model does not compute what the source computes."""

    exit_code = 1


def nearest(wanted: str, known: Iterable[str]) -> str:
    """`did you mean 'image'?`, or nothing where no name is near."""
    import difflib  # noqa: PLC0415 - only who errs waits for it

    near = difflib.get_close_matches(wanted, list(known), n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else ""
