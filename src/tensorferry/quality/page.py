"""The quality of a quantised file as one page that needs nothing beside itself: tables, bars and histograms in HTML and SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from tensorferry.quality.records import LayerQuality, Quality, Spread
from tensorferry.quality.snippets import snippets

SHOWN_SIZES = 40
"""Layers whose size is drawn, the largest first; the rest is one bar."""

BEST_SNR = 60.0
"""Decibels at which a bar is full: beyond that nobody sees a difference."""

_STYLE = Path(__file__).with_name("page.css")


def make_page(quality: Quality) -> str:
    """The page as text. Names from the model are escaped; nothing is loaded from elsewhere."""
    parts = (
        _head(quality),
        _outputs(quality),
        _layers(quality.layers),
        _histograms(quality.layers),
        _sizes(quality.layers),
        _feeding(quality),
    )
    title = f"Quantisation of {escape(quality.before)}"
    return (
        "<!DOCTYPE html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE.read_text()}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _head(quality: Quality) -> str:
    share = quality.bytes_after / max(1, quality.bytes_before)
    worst = min((each.difference.snr for each in quality.outputs), default=math.inf)
    figures = [
        (_bytes(quality.bytes_after), f"{share:.0%} of {_bytes(quality.bytes_before)}"),
        (_decibel(worst), "signal to noise of the worst output"),
        (f"{len(quality.layers) - len(quality.float_layers)} of {len(quality.layers)}", "layers give whole numbers"),
        (str(quality.samples), f"samples ({escape(quality.drawn_from)}), {escape(quality.runtime)}"),
    ]
    items = "".join(f"<li><b>{value}</b><span>{label}</span></li>" for value, label in figures)
    operators = ", ".join(f"{count} {escape(name)}" for name, count in quality.operators_after.items())
    return (
        f"<h1>{escape(quality.after)}</h1><p>compared with {escape(quality.before)}, tensor by tensor</p>"
        f'<ul class="figures">{items}</ul><p>{operators}</p>'
    )


def _outputs(quality: Quality) -> str:
    rows = (
        (
            _cell(each.name, "name"),
            _snr_cell(each.difference.snr),
            _number_cell(each.difference.max_absolute),
            _number_cell(each.difference.mean_absolute),
            _number_cell(each.difference.relative),
            _number_cell(each.difference.cosine, 5),
        )
        for each in quality.outputs
    )
    head = ("output", "signal to noise", "#largest error", "#mean error", "#largest, relative", "#cosine")
    return "<h2>Outputs</h2>" + _table(head, rows)


def _layers(layers: Sequence[LayerQuality]) -> str:
    rows = (
        (
            _cell(each.tensor, "name"),
            _cell(each.operator),
            _cell(each.stored),
            _snr_cell(each.difference.snr),
            _number_cell(each.difference.relative),
            _cell(f"{each.low:.4g} to {each.high:.4g}", "number"),
            _cell(f"{each.clipped:.2%}" if each.clipped else "", "number"),
            _cell(_bytes(each.bytes_before) if each.bytes_before else "", "number"),
            _cell(_bytes(each.bytes_after) if each.bytes_after else "", "number"),
        )
        for each in layers
    )
    head = ("tensor", "operator", "type", "signal to noise", "#largest, relative", "#float range", "#clipped", "#before", "#after")
    text = (
        "The worst first. Each error holds those of the layers before it: one that is much worse than what it reads adds its own."
    )
    return f"<h2>Layers</h2><p>{text}</p>" + _table(head, rows)


def _histograms(layers: Sequence[LayerQuality]) -> str:
    shown = [each for each in layers if each.values is not None or each.weights is not None]
    figures = []
    for layer in shown:
        for what, spread in (("activations", layer.values), ("weights", layer.weights)):
            if spread is not None:
                caption = f"{escape(layer.tensor)}<br>{what}, {_decibel(layer.difference.snr)}"
                figures.append(f"<figure>{_histogram(spread)}<figcaption>{caption}</figcaption></figure>")
    if not figures:
        return ""
    return f'<h2>Histograms of the worst layers</h2>{_KEY}<div class="plots">{"".join(figures)}</div>'


_KEY = (
    '<p class="key"><span><b style="background:var(--before)"></b>float</span>'
    '<span><b style="background:var(--after)"></b>quantised</span></p>'
)


def _histogram(spread: Spread) -> str:
    """Counts on a logarithmic scale: the float ones as bars, the quantised ones as a line."""
    width, height, count = 240.0, 90.0, len(spread.before)
    most = math.log1p(max(*spread.before, *spread.after, 1))
    step = width / count
    bars = "".join(
        f'<rect class="before" x="{number * step:.1f}" y="{height - _high(value, most, height):.1f}" width="{step * 0.9:.1f}" '
        f'height="{_high(value, most, height):.1f}"/>'
        for number, value in enumerate(spread.before)
        if value
    )
    points = " ".join(
        f"{(number + 0.5) * step:.1f},{height - _high(value, most, height):.1f}" for number, value in enumerate(spread.after)
    )
    ends = (
        f'<text x="0" y="{height + 10}">{spread.edges[0]:.3g}</text>'
        f'<text x="{width}" y="{height + 10}" text-anchor="end">{spread.edges[-1]:.3g}</text>'
    )
    return (
        f'<svg viewBox="0 0 {width:g} {height + 12:g}" role="img" aria-label="histogram">{bars}'
        f'<polyline class="after" points="{points}"/>{ends}</svg>'
    )


def _high(value: int, most: float, height: float) -> float:
    return math.log1p(value) / most * height


def _sizes(layers: Sequence[LayerQuality]) -> str:
    """Two bars for each layer with constants."""
    heavy = sorted((each for each in layers if each.bytes_before), key=lambda each: -each.bytes_before)
    rows = [(each.tensor, each.bytes_before, each.bytes_after) for each in heavy[:SHOWN_SIZES]]
    rest = heavy[SHOWN_SIZES:]
    if rest:
        rows.append((f"{len(rest)} others", sum(each.bytes_before for each in rest), sum(each.bytes_after for each in rest)))
    if not rows:
        return ""
    most, left, width, tall = max(row[1] for row in rows), 300, 700, 22
    scale = (width - left - 90) / most
    drawn = "".join(
        f'<text x="{left - 8}" y="{place * tall + 13}" text-anchor="end">{escape(_short(name))}</text>'
        f'<rect class="before" x="{left}" y="{place * tall + 3}" width="{max(1.0, before * scale):.1f}" height="8"/>'
        f'<rect class="after" x="{left}" y="{place * tall + 11}" width="{max(1.0, after * scale):.1f}" height="6"/>'
        f'<text x="{width}" y="{place * tall + 14}" text-anchor="end">{_bytes(after)}</text>'
        for place, (name, before, after) in enumerate(rows)
    )
    return (
        f'<h2>Sizes of the layers\' constants</h2>{_KEY}<svg class="sizes" viewBox="0 0 {width} {len(rows) * tall}" role="img" '
        f'aria-label="sizes by layer">{drawn}</svg>'
    )


def _feeding(quality: Quality) -> str:
    rows = (
        (
            _cell(each.role),
            _cell(each.name, "name"),
            _cell(each.dtype),
            _cell(str([size if size >= 0 else "any" for size in each.shape]).replace("'", "")),
            _cell("" if each.scale is None else f"{each.scale:.9g}", "number"),
            _cell("" if each.zero_point is None else str(each.zero_point), "number"),
        )
        for each in quality.feeds
    )
    text = "real = scale &times; (stored &minus; zero point); what has no scale is taken and given as it is."
    code = "".join(
        f"<details{' open' if not place else ''}><summary>{escape(language)}</summary><pre>{escape(lines)}</pre></details>"
        for place, (language, lines) in enumerate(snippets(quality.after, quality.feeds).items())
    )
    head = ("", "name", "type", "shape", "#scale", "#zero point")
    return f"<h2>Feeding it, and reading its results</h2><p>{text}</p>" + _table(head, rows) + code


# -- pieces --------------------------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A `#` before a heading says that numbers stand below it."""
    titles = "".join(
        f'<th class="number">{escape(title[1:])}</th>' if title.startswith("#") else f"<th>{escape(title)}</th>" for title in head
    )
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(text: str, kind: str = "") -> str:
    title = f' title="{escape(text)}"' if kind == "name" else ""
    return f'<td class="{kind}"{title}>{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"


def _number_cell(value: float, digits: int = 3) -> str:
    return _cell(f"{value:.{digits}g}", "number")


def _snr_cell(snr: float) -> str:
    share = min(max(snr, 0.0), BEST_SNR) / BEST_SNR
    kind = ' class="bad"' if snr < 15 else ""
    return f'<td><span class="bar"><i{kind} style="width:{share:.0%}"></i></span> {_decibel(snr)}</td>'


def _decibel(snr: float) -> str:
    return "the same" if snr == math.inf else f"{snr:.1f} dB"


def _bytes(count: int) -> str:
    for unit, size in (("MB", 1_000_000), ("kB", 1_000)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def _short(name: str) -> str:
    return name if len(name) <= 46 else f"...{name[-43:]}"
