"""Records as Rich renderables: the report, the inspection, the proof."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tensorferry.assessment import Assessment, BackendRow, OpRow
from tensorferry.check import Check
from tensorferry.comparison import OutputError
from tensorferry.cutting import advise
from tensorferry.difference import Difference, WeightDifference
from tensorferry.errors import FerryError
from tensorferry.inspection import Inspection
from tensorferry.options import TARGETS
from tensorferry.portrait import add_facts, clean
from tensorferry.rendering.pieces import Escaped, escape, format_bytes, format_counts, format_shape, grid
from tensorferry.rendering.poses import render_poses
from tensorferry.rendering.quality import render_quality
from tensorferry.report import Frozen, PortFacts, Report, TargetFacts, Verification
from tensorferry.timetable import render_bench  # noqa: F401 - found by its name
from tensorferry.zoo.catalog import Built
from tensorferry.zoo.fetching import Entry as KnownModel
from tensorferry.zoo.fetching import Fetched

__all__ = ["Escaped", "escape", "format_bytes", "format_counts", "render_poses", "render_quality"]

KIND_NAMES = {kind: each.title for kind, each in TARGETS.items()}
STATUS_STYLES = {"verified": "green", "failed": "bold red", "not verified": "yellow"}


def render_error(error: FerryError) -> Text:
    """What, then where, why and what to do, a line each."""
    parts: list[Text | tuple[str, str] | str] = [("error: ", "bold red"), error.what]
    for label, text in (("where", error.where), ("why", error.why), ("what to do", error.remedy)):
        if text:
            parts += [(f"\n  {label}: ", "dim"), text]
    return Text.assemble(*parts)


def render_verification(verification: Verification) -> RenderableType:
    """A block for each file that was compared."""
    parts: list[RenderableType] = []
    for path, check in verification.checks.items():
        table = grid()
        table.add_row("target", Text(path, style="bold"))
        _add_proof(table, check)
        parts += [table, *_render_check(check)]
    return Group(*parts)


def render_catalog(models: Mapping[str, str]) -> RenderableType:
    """Name and description of each model."""
    table = grid()
    for name, description in models.items():
        table.add_row(Text(name, style="bold"), description)
    return table


def render_known(models: Sequence[KnownModel]) -> RenderableType:
    """What has a name, where it is from, and whether its checksums are known."""
    parts: list[RenderableType] = []
    for each in models:
        pinned = f"sha256 of {len(each.pins)} file{'s' if len(each.pins) != 1 else ''} known" if each.pins else "not pinned"
        parts.append(Text.assemble((each.name, "bold"), f"  {each.description}"))
        parts.append(Text(f"  {each.licence}, {pinned}\n  {each.address}", style="dim"))
    return Group(*parts)


def render_fetched(fetched: Fetched) -> RenderableType:
    """Where a model is, its licence, and what its files were compared with."""
    table = grid()
    table.add_row("model", Text.assemble((fetched.path, "bold"), f"  {format_bytes(fetched.bytes)}, {len(fetched.files)} files"))
    table.add_row("from", fetched.entry.address)
    source = f"  {fetched.entry.licence_source}" if fetched.entry.licence_source else ""
    table.add_row("licence", f"{fetched.entry.licence}{source}")
    table.add_row("sha256", Text(fetched.checksums, style="yellow" if "not pinned" in fetched.checksums else ""))
    return table


def render_built(built: Built) -> RenderableType:
    """Where a model was written, and where its weights are from."""
    table = grid()
    facts = f"  {built.model}, {format_bytes(built.bytes)}, {built.nodes} nodes"
    table.add_row("graph", Text.assemble((built.path, "bold"), facts))
    table.add_row("weights", built.weights)
    return table


def render_frozen(frozen: Frozen) -> RenderableType:
    """Where a frozen graph was written, and its inputs and outputs by the names of their nodes."""
    table = grid()
    table.add_row("graph", Text.assemble((frozen.path, "bold"), f"  {format_bytes(frozen.bytes)}, {frozen.nodes} nodes"))
    for label, ports in (("input", frozen.inputs), ("output", frozen.outputs)):
        for port in ports:
            known = f" ({port.name})" if port.name != port.node else ""
            table.add_row(label, Text.assemble((port.node, "bold"), f"{known}  {port.dtype} {_format_port_shape(port)}"))
    for notice in frozen.notices:
        table.add_row("note", Text(notice, style="yellow"))
    return table


# -- the report ----------------------------------------------------------------------------------------------------


def render_report(report: Report, *, framed: bool = True) -> RenderableType:
    """What went in, what came out, how far it is from the source, what it took."""
    parts: list[RenderableType] = [_render_source(report), Text()]
    for target in report.targets:
        parts += [_render_target(target, report.source.bytes), *_render_check(target.check), Text()]
    parts += [Text(f"note: {notice}", style="yellow") for notice in report.notices]
    parts.append(_render_cost(report))
    if not framed:
        return Group(*parts)
    return Panel(Group(*parts), title="[bold]Tensorferry[/bold]", title_align="left", border_style="cyan", padding=(1, 2))


def _render_source(report: Report) -> RenderableType:
    source = report.source
    table = grid()
    table.add_row(
        "source", Text.assemble((source.path, "bold"), f"  {source.format}, {format_bytes(source.bytes)}, {source.nodes} nodes")
    )
    for label, ports in (("input", report.inputs), ("output", report.outputs)):
        for port in ports:
            table.add_row(label, Text.assemble((port.name, "bold"), f"  {port.dtype} {_format_port_shape(port)}", _found(port)))
    return table


def _found(port: PortFacts) -> tuple[str, str]:
    return ("  (found)" if port.found else "", "dim")


def _format_port_shape(port: PortFacts) -> str:
    if port.shape is None:
        return "unknown rank"
    return "[" + ", ".join("?" if size is None else str(size) for size in port.shape) + "]"


def _render_target(target: TargetFacts, source_bytes: int) -> RenderableType:
    table = grid()
    ratio = f", {target.bytes / source_bytes:.0%} of the source" if source_bytes else ""
    files = f" in {len(target.files)} files" if len(target.files) > 1 else ""
    table.add_row(KIND_NAMES[target.kind], Text.assemble((target.path, "bold"), f"  {format_bytes(target.bytes)}{files}{ratio}"))
    if target.operators:
        table.add_row("operators", f"{target.operator_count}:  {format_counts(target.operators)}")
    if target.runtime:
        table.add_row("runs on", target.runtime)
    for notice in target.notices:
        table.add_row("note", Text(notice, style="yellow"))
    _add_proof(table, target.check)
    return table


def _add_proof(table: Table, check: Check) -> None:
    table.add_row("proof", _status(check))
    if check.runtime:
        table.add_row("run in", check.runtime)
    if check.reference:
        table.add_row("compared with", check.reference)
    if check.note:
        table.add_row("and", check.note)


def _status(check: Check) -> Text:
    text = Text(check.status, style=STATUS_STYLES[check.status])
    if any(not output.problem for output in check.outputs):  # else each output says what it was held to
        text.append(f", tolerance {check.tolerance:g}", style="dim")
    if check.reason:
        text.append(f": {check.reason}", style="default")
    return text


def _mark(output: OutputError) -> Text:
    if not output.passed:
        return Text(output.problem or "wrong", style="bold red")
    if 0 in output.shape:
        return Text("empty: nothing to compare", style="yellow")
    return Text(output.problem or "ok", style="yellow" if output.problem else "green")


def _render_check(check: Check) -> list[RenderableType]:
    """A line for each output that was compared; nothing where none was."""
    if not check.outputs:
        return []
    remarks = [f"first wrong: {check.first_wrong}" if check.first_wrong else "", check.second_opinion]
    return [*_render_outputs(check.outputs), *(Text(remark, style="red") for remark in remarks if remark)]


def _render_outputs(outputs: Sequence[OutputError]) -> list[RenderableType]:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("output", style="bold", overflow="fold", min_width=8)
    for title, width in (("max err", 8), ("mean err", 8), ("relative", 8), ("cosine", 11)):
        table.add_column(title, justify="right", no_wrap=True, min_width=width)
    table.add_column("", overflow="fold", min_width=2)
    for output in outputs:
        figures = (output.max_absolute, output.mean_absolute, output.relative)
        shown = ["" if math.isnan(figure) else f"{figure:.2e}" for figure in figures]
        cosine = "" if math.isnan(output.cosine) else f"{output.cosine:.9f}"
        table.add_row(output.name, *shown, cosine, _mark(output))
    return [table]


def _render_cost(report: Report) -> Text:
    steps = ", ".join(f"{step} {seconds:.2f}" for step, seconds in report.seconds.items() if seconds >= 0.005)
    memory = f"; peak memory {format_bytes(report.peak_bytes)}" if report.peak_bytes else ""
    return Text(f"{sum(report.seconds.values()):.2f} s ({steps}){memory}", style="dim")


# -- the inspection ------------------------------------------------------------------------------------------------


def render_inspection(inspection: Inspection, *, layers: bool = False) -> RenderableType:
    """A summary on one screen; with `layers`, a table of what each layer costs."""
    source = inspection.source
    table = grid()
    table.add_row("source", Text.assemble((source.path, "bold"), f"  {source.format}, {format_bytes(source.size)}"))
    if inspection.facts.producer:
        table.add_row("written by", clean(inspection.facts.producer))
    for label, ports in (("input", inspection.inputs), ("output", inspection.outputs)):
        for port in ports:
            table.add_row(label, Text.assemble((port.name, "bold"), f"  {port.dtype} {format_shape(port.shape)}"))
    add_facts(table, inspection.facts, everything=layers)
    for variable in inspection.variables:
        stored = f", stored as {variable.stored}" if variable.stored else ""
        table.add_row(
            "variable", Text.assemble((variable.name, "bold"), f"  {variable.dtype} {format_shape(variable.shape)}{stored}")
        )
    if inspection.nodes:
        table.add_row("nodes", f"{len(inspection.nodes)}:  {format_counts(inspection.ops)}")
        if inspection.converted_ops and inspection.converted_ops != inspection.ops:
            table.add_row("converted", f"{inspection.converted_nodes}:  {format_counts(inspection.converted_ops)}")
    table.add_row("parameters", f"{inspection.parameters:,} ({format_bytes(inspection.weight_bytes)})")
    batch = " for a batch of 1" if inspection.batch_counted_as_one else ""
    missing = f"; {inspection.macs_missing} layers depend on an unknown size" if inspection.macs_missing else ""
    if inspection.nodes:
        table.add_row("work", f"{inspection.macs:,} multiply-accumulates{batch}{missing}")
    if inspection.separable:
        savings = [block.saving for block in inspection.separable]
        blocks = f"{len(savings)} depthwise-separable blocks, each {min(savings):.1f} to {max(savings):.1f} times cheaper"
        table.add_row("", f"{blocks} than a standard convolution")
    for support in inspection.support:
        table.add_row(KIND_NAMES[support.target], _render_support(support.rewritten, support.missing))
    for notice in inspection.notices:
        table.add_row("note", Text(notice, style="yellow"))
    return Group(table, Text(), _render_layers(inspection)) if layers else table


def _render_support(rewritten: Mapping[str, int], missing: Mapping[str, int]) -> Text:
    if missing:
        return Text.assemble(("not supported: ", "red"), format_counts(missing))
    return Text.assemble(("every op supported", "green"), f", rewritten: {format_counts(rewritten)}" if rewritten else "")


def _render_layers(inspection: Inspection) -> Table:
    savings = {block.depthwise: f"{block.saving:.2f}x" for block in inspection.separable}
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("layer", overflow="fold")
    for title in ("op", "output"):
        table.add_column(title, no_wrap=True)
    for title in ("parameters", "MACs", "saving"):
        table.add_column(title, justify="right", overflow="fold")
    for layer in inspection.layers:
        macs = layer.note if layer.macs is None else f"{layer.macs:,}"
        row = (layer.node, layer.op, format_shape(layer.shape), f"{layer.parameters:,}", macs, savings.get(layer.node, ""))
        table.add_row(*row)
    parameters = sum(layer.parameters for layer in inspection.layers)
    table.add_row("total", "", "", f"{parameters:,}", f"{inspection.macs:,}", "", style="bold")
    return table


# -- the difference ------------------------------------------------------------------------------------------------


def render_difference(difference: Difference, *, everything: bool = False) -> RenderableType:
    """Both models, then what differs: inputs and outputs, ops, weights, results."""
    most = 10_000 if everything else 12
    table = grid()
    for label, side in (("before", difference.before), ("after", difference.after)):
        held = f"{side.nodes} nodes, {side.weights} weights, {side.parameters:,} parameters"
        table.add_row(label, Text.assemble((clean(side.path), "bold"), f"  {side.format}, {format_bytes(side.size)}, {held}"))
    for port in difference.ports:
        table.add_row(port.role, Text.assemble((clean(port.name), "bold"), f"  {_change(port.before, port.after)}"))
    for label, counts, style in (("ops gone", difference.ops_gone, "red"), ("ops added", difference.ops_added, "green")):
        if counts:
            table.add_row(label, Text(clean(format_counts(counts, most)), style=style))
    told = [f"{difference.weights_same} the same" if difference.weights_same else ""]
    told += [f"{difference.weights_renamed} of them under another name" if difference.weights_renamed else ""]
    told += [f"{len(difference.weights)} differ" if difference.weights else ""]
    told += [
        f"{len(lone)} {word}" for lone, word in ((difference.weights_gone, "gone"), (difference.weights_added, "added")) if lone
    ]
    table.add_row("weights", ", ".join(each for each in told if each) or "none")
    for label, lone in (("gone", difference.weights_gone), ("added", difference.weights_added)):
        for weight in lone[:most]:
            table.add_row(f"  {label}", Text.assemble((clean(weight.name), "bold"), f"  {weight.type}"))
        if len(lone) > most:
            table.add_row("", f"and {len(lone) - most} more")
    verdict = Text("the same", style="green") if difference.same else Text("different", style="yellow")
    parts: list[RenderableType] = [table]
    if difference.weights:
        parts += [Text(), _render_weights(difference.weights[:most])]
        parts += [Text(f"and {len(difference.weights) - most} more (--all)")] if len(difference.weights) > most else []
    if difference.outputs:
        parts += [Text(), *_render_outputs(difference.outputs)]
    return Group(*parts, Text(), verdict)


def _change(before: str, after: str) -> str:
    return f"{before} -> {after}" if before and after else (f"{before}, gone" if before else f"{after}, added")


def _render_weights(weights: Sequence[WeightDifference]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("weight", style="bold", overflow="fold", min_width=8)
    table.add_column("type", overflow="fold")
    table.add_column("differing", justify="right", no_wrap=True)
    table.add_column("max abs", justify="right", no_wrap=True)
    for each in weights:
        name = each.before if each.before == each.after else f"{each.before} / {each.after} (by {each.matched})"
        kinds = each.before_type if each.before_type == each.after_type else f"{each.before_type} -> {each.after_type}"
        figure = "" if each.max_absolute is None else f"{each.max_absolute:.2e}"
        table.add_row(clean(name), kinds, f"{each.differing:,} of {each.elements:,}", figure)
    return table


# -- the assessment ------------------------------------------------------------------------------------------------

_FATES = {
    "direct": "direct",
    "fused": "fused",
    "rewritten": "rewritten",
    "folded": "folded away",
    "impossible": "impossible",
}
_BACKENDS = {
    "xnnpack": "CPU, XNNPACK",
    "gpu": "GPU delegate",
    "cpu": "plain JavaScript",
    "wasm": "WebAssembly",
    "webgl": "WebGL",
    "webgpu": "WebGPU",
}


def render_assessments(assessments: Mapping[str, Assessment], *, source: str) -> RenderableType:
    """A block for each target."""
    blocks = [_render_assessment(each, source) for each in assessments.values()]
    return Group(*(part for block in blocks for part in (block, Text())))


def _render_assessment(assessment: Assessment, source: str) -> RenderableType:
    table = grid()
    verdict = Text("possible", style="green") if assessment.possible else Text("impossible as it is", style="red")
    table.add_row(Text(KIND_NAMES[assessment.target], style="bold"), verdict)
    for how, title in _FATES.items():
        rows = [row for row in assessment.rows if row.how == how]
        if how == "impossible":
            for row in rows:
                table.add_row(title, Text.assemble((f"{row.count} {row.op}", "red"), f"  {row.why}  ({_some(row.nodes)})"))
        elif rows:
            table.add_row(title, "\n".join(_format_fate(row) for row in rows))
    table.add_row("operators", f"{sum(assessment.operators.values())}:  {format_counts(assessment.operators)}")
    if assessment.runtime:
        table.add_row("runs on", assessment.runtime)
    for backend in assessment.backends if assessment.possible else ():
        table.add_row(_BACKENDS[backend.backend], _format_backend(backend))
    for notice in assessment.notices:
        table.add_row("note", Text(notice, style="yellow"))
    if assessment.cut is not None:
        target = "model.tflite" if assessment.target == "tflite" else "web_model/"
        table.add_row("way out", advise(assessment.cut, source, [target]))
    return table


def _format_fate(row: OpRow) -> str:
    becomes = ", ".join(row.becomes[:8]) + (", ..." if len(row.becomes) > 8 else "")
    arrow = f" -> {becomes}" if becomes and row.becomes != (row.op,) else ""
    return f"{row.count} {row.op}{arrow}"


def _format_backend(row: BackendRow) -> str:
    if row.taken == row.total:
        return "every operator"
    others = format_counts(row.others)
    if row.falls_back:
        return f"{row.taken} of {row.total} operators; the runtime's own kernels: {others}"
    return f"cannot run it: no {others}"


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
