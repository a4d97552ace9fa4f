"""What all renderings share: text that is safe on a terminal, tables without lines, numbers as people write them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table

_ACTIVE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Characters that do something to a terminal instead of standing in it."""


def escape(text: str) -> str:
    """The text with such characters written out: what stands in a model is shown and never acted on."""
    return _ACTIVE.sub(lambda found: ascii(found[0])[1:-1], text)


class Escaped:
    """Anything rendered, its own text escaped; Rich adds styles behind that."""

    def __init__(self, renderable: RenderableType) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._renderable, options):
            yield segment if segment.control else Segment(escape(segment.text), segment.style)


def format_shape(shape: Sequence[int | str] | None) -> str:
    return "unknown rank" if shape is None else "[" + ", ".join(str(size) for size in shape) + "]"


def grid() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True, min_width=15)
    table.add_column(overflow="fold")
    return table


def format_counts(counts: Mapping[str, int], most: int = 8) -> str:
    """`13 CONV_2D, 1 LOGISTIC`; the rest summed up."""
    pieces = [f"{count} {name}" for name, count in list(counts.items())[:most]]
    rest = sum(list(counts.values())[most:])
    return ", ".join([*pieces, f"{rest} more"] if rest else pieces)


def format_bytes(count: float) -> str:
    """Decimal units, as disks and downloads are measured."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"
