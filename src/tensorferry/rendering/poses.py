"""Poses, for people."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tensorferry.posing import Finding, Posing
from tensorferry.rendering.pieces import grid

SEEN = 0.5
"""Score from which a part counts as seen."""


def render_poses(result: Posing) -> RenderableType:
    """A line for each person, then what was written and how fast it went."""
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("picture", style="bold", overflow="fold", min_width=8)
    table.add_column("model", overflow="fold")
    for title in ("score", "parts seen", "drift, px of the picture (median, p95, max)"):
        table.add_column(title, justify="right", no_wrap=True)
    for finding in result.findings:
        _add(table, finding)
    told = grid()
    for name, speed in result.speeds.items():
        told.add_row("speed", f"{name}  {speed:.1f} frames a second")
    told.add_row("decoding", f"{result.overhead:.1%} of the time, drawing included")
    for path in result.written[:4]:
        told.add_row("written", path)
    rest = len(result.written) - 4
    return Group(table, told, *([Text(f"and {rest} more files", style="dim")] if rest > 0 else []))


def _add(table: Table, finding: Finding) -> None:
    drift = finding.drift
    told = "" if drift is None else f"{drift.median:.2f}, {drift.p95:.2f}, {drift.largest:.2f}"
    if not finding.poses:
        table.add_row(finding.picture, finding.model, "", "nobody", told)
    for number, pose in enumerate(finding.poses):
        seen = sum(each.score >= SEEN for each in pose.keypoints)
        picture, model = (finding.picture, finding.model) if not number else ("", "")
        table.add_row(picture, model, f"{pose.score:.2f}", f"{seen} of {len(pose.keypoints)}", told if not number else "")
