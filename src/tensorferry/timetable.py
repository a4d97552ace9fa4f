"""A bench as a table for people: a line for each model and setting, then what the runtimes say of their kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tensorferry.timing.records import Bench, KernelTime, Timing

_MOST_KERNELS = 12


def render_bench(bench: Bench) -> RenderableType:
    """Models of one setting stand together, and are compared with the first of them."""
    parts: list[RenderableType] = []
    for setting in dict.fromkeys(each.setting for each in bench.timings):
        chosen = [each for each in bench.timings if each.setting == setting]
        runtime = next((each.runtime for each in chosen if each.runtime), "")
        parts += [Text.assemble((setting, "bold"), (f"  {runtime}" if runtime else "", "dim")), _table(chosen)]
        parts += [_kernels(each) for each in chosen if each.kernels]
        parts.append(Text())
    parts += [Text(notice, style="yellow") for notice in bench.notices]
    return Group(*parts)


def _table(timings: Sequence[Timing]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("model", style="bold", overflow="fold", min_width=12)
    for title in ("median ms", "p10", "p90", "ratio", "runs", "first ms", "load ms", "memory", "file"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for each in timings:
        if each.problem:
            table.add_row(each.model, *[""] * 8, _megabytes(each.bytes), Text(each.problem, style="red"))
            continue
        figures = [_milliseconds(value) for value in (each.median, each.low, each.high)]
        ratio = "" if math.isnan(each.ratio) else f"{each.ratio:.2f}"
        later = [_milliseconds(each.first), _milliseconds(each.load), _megabytes(each.memory), _megabytes(each.bytes)]
        table.add_row(each.model, *figures, ratio, str(len(each.times)), *later, Text(each.backend, style="dim"))
    return table


def _milliseconds(value: float) -> str:
    """Three digits that count."""
    if math.isnan(value):
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _megabytes(value: int | None) -> str:
    return "" if value is None else f"{value / 1e6:.1f} MB"


def _kernels(timing: Timing) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim", title=timing.model, title_justify="left", title_style="dim")
    for title in ("kernel", "count", "ms", "share"):
        table.add_column(title, justify="left" if title == "kernel" else "right", no_wrap=True)
    total = sum(each.milliseconds for each in timing.kernels) or 1.0
    shown = list(timing.kernels[:_MOST_KERNELS])
    rest = timing.kernels[_MOST_KERNELS:]
    if rest:
        shown.append(KernelTime("others", sum(each.count for each in rest), sum(each.milliseconds for each in rest)))
    for each in shown:
        table.add_row(each.name, str(each.count), _milliseconds(each.milliseconds), f"{each.milliseconds / total:.0%}")
    return table
