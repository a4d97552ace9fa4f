"""What quantising cost, for people."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tensorferry.quality.records import Quality
from tensorferry.rendering.pieces import format_bytes, format_counts, format_shape, grid

SHOWN_LAYERS = 12


def render_quality(quality: Quality, *, everything: bool = False) -> RenderableType:
    """Outputs, then the layers with the lowest ratio of signal to noise; with `everything`, all layers."""
    facts = grid()
    facts.add_row("float", f"{quality.before}, {format_bytes(quality.bytes_before)}, {format_counts(quality.operators_before)}")
    facts.add_row("quantised", f"{quality.after}, {format_bytes(quality.bytes_after)}, {format_counts(quality.operators_after)}")
    facts.add_row("samples", f"{quality.samples}, {quality.drawn_from}; {quality.runtime}")
    for feed in quality.feeds:
        meaning = "" if feed.scale is None else f", real = {feed.scale:.9g} * (stored - {feed.zero_point})"
        facts.add_row(feed.role, f"{feed.name}  {feed.dtype} {format_shape(feed.shape)}{meaning}")
    shown = quality.layers if everything else quality.layers[:SHOWN_LAYERS]
    rows = [(each.name, "", "", each.difference, "") for each in quality.outputs]
    rows += [(each.tensor, each.operator, each.stored, each.difference, f"{each.clipped:.1%}") for each in shown]
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("output, then layers, the worst first", style="bold", overflow="fold", min_width=8)
    for title in ("operator", "type"):
        table.add_column(title, no_wrap=True)
    for title in ("SNR dB", "max err", "relative", "clipped"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, operator, stored, difference, clipped in rows:
        figures = (f"{difference.snr:.1f}", f"{difference.max_absolute:.2e}", f"{difference.relative:.2e}")
        table.add_row(name, operator, stored, *figures, "" if clipped == "0.0%" else clipped)
    rest = len(quality.layers) - len(shown)
    return Group(facts, table, *([Text(f"{rest} more layers: --all", style="dim")] if rest else []))
