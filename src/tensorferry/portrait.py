"""What a source says of itself, as rows of a table for people: signatures, tags, functions, variables, layers, metadata, assets."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from tensorferry.facts import Dims, Facts, PortFact, SignatureFact, VariableFact

_FEW = 6
_MANY = 200
_WIDEST = 160
"""Characters of metadata that are shown; `--json` has all of them."""


def add_facts(table: Table, facts: Facts, *, everything: bool = False) -> None:
    """A row or more for each fact that there is; `everything` lists names that are otherwise counted."""
    if any(facts.tags):
        chosen = [Text(clean(_tags(each)), style="bold" if each == facts.chosen_tags else "") for each in facts.tags]
        table.add_row("tags", Text("; ").join(chosen))
    for signature in facts.signatures:
        table.add_row("signature", _signature(signature, alone=len(facts.signatures) == 1))
    most = _MANY if everything else _FEW
    if facts.functions:
        largest = sorted(facts.functions, key=lambda each: -each.nodes)
        table.add_row("functions", f"{len(largest)}")
        for function in largest[:most]:
            _row(table, "", function.name, f"  {function.nodes} nodes")
        if len(largest) > most:
            table.add_row("", Text(f"and {len(largest) - most} smaller ones", style="dim"))
    if facts.layers:
        counts = Counter(layer.kind for layer in facts.layers).most_common()
        table.add_row("layers", clean(f"{len(facts.layers)}:  " + _listed([f"{count} {kind}" for kind, count in counts], most)))
        if everything:
            for layer in facts.layers[:_MANY]:
                parameters = f"  {layer.parameters:,} parameters" if layer.parameters else ""
                _row(table, "", layer.name, f"  {layer.kind}{parameters}")
    if facts.variables:
        _add_variables(table, facts.variables, most)
    for key, value in facts.metadata.items():
        _row(table, "metadata", key, f"  {_shortened(value)}")
    for name, size in facts.assets.items():
        told = "missing" if size is None else f"{size:,} bytes"
        _row(table, "asset", name, f"  {told}")
    for note in facts.notes:
        table.add_row("note", clean(note))


def clean(text: str) -> str:
    """What a model says must not steer the terminal."""
    return "".join(each if each.isprintable() or each == "\n" else each.encode("unicode_escape").decode() for each in text)


def _row(table: Table, label: str, name: str, *rest: str) -> None:
    table.add_row(label, Text.assemble((clean(name), "bold"), *(clean(each) for each in rest)))


def _tags(tags: Sequence[str]) -> str:
    return ", ".join(tags) or "(none)"


def _signature(signature: SignatureFact, *, alone: bool) -> Text:
    chosen = "" if alone or not signature.chosen else "  (the one that is converted)"
    return Text.assemble((clean(signature.name), "bold"), (chosen, "dim"), *(clean(each) for each in _ports(signature)))


def _ports(signature: SignatureFact) -> Iterator[str]:
    for sign, ports in (("<-", signature.inputs), ("->", signature.outputs)):
        for port in ports:
            yield f"\n  {sign} {_port(port)}"


def _port(port: PortFact) -> str:
    known = [port.dtype, _format_dims(port.shape) if port.dtype else ""]
    behind = f"({port.tensor})" if port.tensor and port.tensor != port.name else ""
    return "  ".join(part for part in (port.name, " ".join(each for each in known if each), behind) if part)


def _format_dims(shape: Dims) -> str:
    return "unknown rank" if shape is None else "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


def _add_variables(table: Table, variables: Sequence[VariableFact], most: int) -> None:
    roles = Counter(each.role for each in variables if each.role)
    beside = ", ".join(f"{count} of them {_ROLES.get(role, role)}" for role, count in roles.items())
    table.add_row("variables", f"{len(variables)}" + (f", {beside}" if beside else ""))
    for each in sorted(variables, key=lambda each: bool(each.role))[:most]:
        role = f"  {each.role}" if each.role else ""
        _row(table, "", each.name, f"  {each.dtype} {_format_dims(each.shape)}{role}")
    if len(variables) > most:
        table.add_row("", Text(f"and {len(variables) - most} more", style="dim"))


_ROLES = {"optimizer": "an optimiser's", "counter": "counters", "metric": "of metrics"}


def _listed(names: Sequence[str], most: int) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _shortened(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]} ..."
