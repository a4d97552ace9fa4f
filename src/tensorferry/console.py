"""What the command line shows: records in, text for people or JSON for machines out.

Rich is loaded when something is rendered, not before: `--json` and `--quiet` do without it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from shutil import get_terminal_size
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from tensorferry.report import to_json

if TYPE_CHECKING:
    from rich.console import Console

    from tensorferry.assessment import Assessment
    from tensorferry.difference import Difference
    from tensorferry.errors import FerryError
    from tensorferry.inspection import Inspection, NodeRow
    from tensorferry.posing import Posing
    from tensorferry.quality.records import Quality
    from tensorferry.report import Frozen, Report, Verification
    from tensorferry.timing import Bench
    from tensorferry.zoo.catalog import Built
    from tensorferry.zoo.fetching import Entry as KnownModel
    from tensorferry.zoo.fetching import Fetched

PLAIN_WIDTH = 120
"""Columns when the output is a file or a pipe."""

FRAME_WIDTH = 80
"""Columns from which a report has a frame: on narrower terminals its figures need the room."""

PATIENCE = 1.0
"""Seconds before a progress bar appears: quick work stays quiet."""


class Screen:
    """Standard output for results, standard error for errors and progress. Colour only where a terminal is."""

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        self.quiet = quiet
        self.as_json = as_json

    @cached_property
    def _out(self) -> Console:
        from rich.console import Console  # noqa: PLC0415

        # Names and paths are shown as they are: a [bold] or :smile: in them means nothing.
        return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)

    def show_interrupt(self) -> None:
        what = "interrupted; nothing was written"
        if self.as_json:
            self._write(to_json({"error": "Interrupted", "what": what, "where": "", "why": "", "remedy": ""}))
        else:
            print(what, file=sys.stderr)

    def show_error(self, error: FerryError) -> None:
        if self.as_json:
            self._write(to_json(error.as_dict()))
            return
        from rich.console import Console  # noqa: PLC0415

        from tensorferry.rendering import Escaped, render_error  # noqa: PLC0415

        Console(stderr=True, highlight=False).print(Escaped(render_error(error)), soft_wrap=True)

    @contextmanager
    def progress(self) -> Iterator[Callable[[str], None]]:
        """A function to be told each step; a bar shows itself on a terminal when the work takes longer than PATIENCE."""
        if self.quiet or self.as_json or not sys.stderr.isatty():
            yield lambda _step: None
            return
        bar = _Bar()
        try:
            yield bar.tell
        finally:
            bar.stop()

    def show_report(self, report: Report) -> None:
        framed = sys.stdout.isatty() and get_terminal_size().columns >= FRAME_WIDTH
        self._show("render_report", report, report.as_dict, framed=framed)

    def show_bench(self, bench: Bench) -> None:
        self._show("render_bench", bench, bench.as_dict, even_quiet=not bench.complete)

    def show_verification(self, verification: Verification) -> None:
        self._show("render_verification", verification, verification.as_dict, even_quiet=not verification.verified)

    def show_assessments(self, assessments: Mapping[str, Assessment], source: str) -> None:
        def as_dict() -> dict[str, Any]:
            return {kind: each.as_dict() for kind, each in assessments.items()}

        self._show("render_assessments", assessments, as_dict, source=source)

    def show_difference(self, difference: Difference, *, everything: bool) -> None:
        self._show("render_difference", difference, difference.as_dict, everything=everything)

    def show_catalog(self, models: Mapping[str, str]) -> None:
        self._show("render_catalog", models, lambda: dict(models))

    def show_known(self, models: Sequence[KnownModel]) -> None:
        self._show("render_known", models, lambda: {each.name: each.as_dict() for each in models})

    def show_fetched(self, fetched: Fetched) -> None:
        self._show("render_fetched", fetched, fetched.as_dict)

    def show_frozen(self, frozen: Frozen) -> None:
        self._show("render_frozen", frozen, frozen.as_dict)

    def show_built(self, built: Built) -> None:
        self._show("render_built", built, built.as_dict)

    def show_quality(self, quality: Quality, *, everything: bool) -> None:
        self._show("render_quality", quality, quality.as_dict, everything=everything)

    def show_poses(self, result: Posing) -> None:
        self._show("render_poses", result, result.as_dict)

    def show_inspection(self, inspection: Inspection, *, nodes: bool = False, layers: bool = False) -> None:
        if nodes and not self.as_json:
            self._show_rows(inspection.nodes)
        else:
            self._show("render_inspection", inspection, inspection.as_dict, layers=layers)

    def _show(
        self, renderer: str, record: Any, as_dict: Callable[[], dict[str, Any]], *, even_quiet: bool = False, **how: Any
    ) -> None:
        """Print a record by the function of that name in `rendering`, or as JSON."""
        if self.as_json:
            self._write(to_json(as_dict()))
        elif even_quiet or not self.quiet:
            from tensorferry import rendering  # noqa: PLC0415

            with self._out.capture() as captured:
                self._out.print(rendering.Escaped(getattr(rendering, renderer)(record, **how)))
            lines = captured.get().splitlines()
            self._write("\n".join(lines if self._out.is_terminal else (line.rstrip() for line in lines)))

    def _show_rows(self, rows: Sequence[NodeRow]) -> None:
        """One aligned line a node on a terminal; tab-separated for other programs."""
        from tensorferry.rendering import escape  # noqa: PLC0415

        lines = [("index", "node", "tensor", "shape", "dtype"), *(tuple(map(escape, row.columns())) for row in rows)]
        if not sys.stdout.isatty():
            self._write("\n".join("\t".join(line) for line in lines))
            return
        widths = [max(len(line[column]) for line in lines) for column in range(5)]
        aligned = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
        self._write("\n".join("  ".join(line).rstrip() for line in aligned))

    def _write(self, text: str) -> None:
        sys.stdout.write(text + "\n")


def _describe(step: str) -> str:
    there, unit = getattr(step, "there", None), getattr(step, "unit", "")
    if there is None:
        return step
    return f"{step}  {there} {unit}" if unit else f"{step}  {there / 1e6:.1f} MB"


class _Bar:
    """A progress bar that starts by itself after PATIENCE seconds."""

    def __init__(self) -> None:
        self._step = ""
        self._done = Event()
        self._waiting = Thread(target=self._run, daemon=True)
        self._waiting.start()

    def tell(self, step: str) -> None:
        self._step = step

    def stop(self) -> None:
        self._done.set()
        self._waiting.join()

    def _run(self) -> None:
        if self._done.wait(PATIENCE):
            return
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(pulse_style="cyan"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(self._step, total=None)
            while not self._done.wait(0.1):
                step = self._step
                total = getattr(step, "total", None)  # of a step that knows how far it is
                completed = getattr(step, "there", 0) if total else 0
                bar.update(task, description=_describe(step), total=total, completed=completed)
