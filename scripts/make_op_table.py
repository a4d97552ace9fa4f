"""Write docs/ops.md, the table of supported ops, from what the code knows of each op and from its examples.

python scripts/make_op_table.py            # writes docs/ops.md
python scripts/make_op_table.py --check    # only says whether it is current
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tensorferry import ops
from tensorferry.errors import FerryError
from tensorferry.ir import Graph, Node, Port
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.passes.expansion import expand_for_target
from tensorferry.passes.narrowing import narrow_types
from tensorferry.passes.pipelines import finish, prepare
from tensorferry.tensor import DType
from tensorferry.wire import tfjs_releases, tflite_schema

PAGE = Path(__file__).parent.parent / "docs" / "ops.md"
TARGETS = {"tflite": "TensorFlow Lite", "tfjs": "TensorFlow.js"}
KNOWN: dict[str, Callable[[], set[str]]] = {
    "tflite": lambda: set(tflite_schema.operators()),
    "tfjs": lambda: set(tfjs_releases.first_releases()),
}
UNREACHED = Path(__file__).with_name("unreached.txt")
PASSED_OVER = {"Const", "Placeholder", "PlaceholderWithDefault", "NoOp"}

HEAD = """# Supported ops

Written by `python scripts/make_op_table.py` from the descriptions in `src/tensorferry/ops`; do not edit.

Each line is one TensorFlow op with its other names, and for each target how it gets there with elements of which types. *Direct*
are operators of the target; *rewritten* means simpler ops stand for it; **no** comes with the reason, and a model that needs that
is declined with the node's name. Ops that passes fold away, fuse or recognise (batch norm, bias, activations, padding, dilation,
transposes) need fewer operators. Every line was run: `tests/test_ops.py` compares TensorFlow, the reference evaluation, LiteRT and
TensorFlow.js (WebAssembly and plain JavaScript) on examples of each op; the types are those of the examples.

Before writing, float64, float16 and bfloat16 become float32; TensorFlow.js computes all integers as int32. `tensorferry check` says
the same of one model, and which backends can run it.

| Op | Also named | TensorFlow Lite | TensorFlow.js |
| --- | --- | --- | --- |
"""

MOST_NAMES = 10
"""Operators listed of one rewriting."""


@dataclass
class Way:
    """One way that examples of an op go on a target: the operators met, and the element types that go it."""

    operators: set[str] = field(default_factory=set)
    types: set[str] = field(default_factory=set)

    def cell(self, title: str) -> str:
        names = [f"`{name}`" for name in sorted(self.operators)]
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        types = f": {', '.join(sorted(self.types))}" if self.types else ""
        return f"{title} {', '.join(names[:MOST_NAMES])}{more}{types}"


@dataclass
class Support:
    """What became of the examples of one op on one target."""

    direct: Way = field(default_factory=Way)
    rewritten: Way = field(default_factory=Way)
    refusals: dict[str, str] = field(default_factory=dict)  # what was declined -> why

    def cell(self) -> str:
        parts = [
            way.cell(title)
            for title, way in (("direct", self.direct), ("rewritten as", self.rewritten))
            if way.operators or way.types
        ]
        if parts:
            return "; ".join(parts)
        reasons = sorted(set(self.refusals.values()))
        return "**no**" + (f": {'; '.join(reasons)}" if reasons else "")

    @property
    def limits(self) -> dict[str, str]:
        """Refusals of some uses of an op that others go through."""
        return self.refusals if self.direct.operators or self.rewritten.operators else {}


@cache
def table() -> str:
    """The whole page."""
    lines, limits = [], []
    for spec in ops.all_specs():
        if spec.name in PASSED_OVER:
            continue
        support = {target: _support(spec, target) for target in TARGETS}
        aliases = ", ".join(f"`{name}`" for name in spec.aliases)
        cells = (f"`{spec.name}`", aliases, *(each.cell().replace("|", "/") for each in support.values()))
        lines.append("| " + " | ".join(cells) + " |")
        limits += [
            f"- `{spec.name}`, {TARGETS[target]}: {case} ({why})."
            for target, each in support.items()
            for case, why in each.limits.items()
        ]
    parts = [HEAD + "\n".join(lines), f"{len(lines)} ops."]
    if limits:
        parts += ["## Known limits", "Uses of these ops that a target declines:", "\n".join(limits)]
    parts += ["## Operators that nothing becomes", *map(_coverage, TARGETS)]
    return "\n\n".join(parts) + "\n"


# -- what the targets have ------------------------------------------------------------------------------------------


def _coverage(target: str) -> str:
    """How many of a target's operators the examples of all ops become, and why the others are not among them."""
    known = KNOWN[target]()
    lines = [f"- {', '.join(f'`{name}`' for name in names)}: {why}." for names, why in explained(target)]
    head = (
        f"Of {len(known)} operators of {TARGETS[target]}, {len(reached(target) & known)} are written for the ops above. The others:"
    )
    return head + "\n\n" + "\n".join(lines)


@cache
def reached(target: str) -> frozenset[str]:
    """The operators that the examples become, alone and with all passes done."""
    found: set[str] = set()
    for spec in ops.all_specs():
        for example in spec.examples() if spec.name not in PASSED_OVER else ():
            for bring in (_bring_by_passes, _bring_by_expansion):
                try:
                    found.update(_met(bring(spec, example, target), target))
                except FerryError:
                    continue
    return frozenset(found)


def _bring_by_passes(spec: OpSpec, example: Example, target: str) -> Graph:
    graph, _ = _build(spec, example, target)
    prepare(graph)
    finish(graph, target)
    return graph


def _bring_by_expansion(spec: OpSpec, example: Example, target: str) -> Graph:
    graph, _ = _build(spec, example, target)
    narrow_types(target)(graph)
    while expand_for_target(target)(graph):
        pass
    return graph


def _met(graph: Graph, target: str) -> Iterable[str]:
    for node in graph.nodes:
        for _, nested in node.graphs():
            yield from _met(nested, target)
        if node.op not in PASSED_OVER:
            try:
                yield from _names(node, target, by_op=False)
            except Declined:
                continue


def explained(target: str) -> list[tuple[list[str], str]]:
    """Names of operators that nothing becomes, and why; `STABLEHLO_*` stands for all that begin so."""
    text = UNREACHED.read_text("utf-8").replace("\n ", " ")
    lines = [line.split(": ", maxsplit=2) for line in text.splitlines() if not line.startswith("#")]
    return [(names.split(), " ".join(why.split())) for kind, names, why in lines if kind == target]


def _support(spec: OpSpec, target: str) -> Support:
    support = Support()
    for example in spec.examples():
        try:
            used, expanded = _lower(spec, example, target)
        except Declined:
            why = _refusal(spec, example, target)
            if why:
                support.refusals[example.note or _data_type(example) or "the plain case"] = why
            continue
        way = support.rewritten if expanded else support.direct
        way.operators.update(used)
        if kind := _data_type(example):
            way.types.add(kind)
    return support


def _lower(spec: OpSpec, example: Example, target: str) -> tuple[set[str], bool]:
    """The operators an example becomes, and whether the op was expanded into others. Declined passes through."""
    graph, node = _build(spec, example, target)
    narrow_types(target)(graph)
    while expand_for_target(target)(graph):
        pass
    made = [each for each in graph.nodes if each.op not in PASSED_OVER]
    expanded = made != [node]
    return {name for each in made for name in _names(each, target, by_op=expanded)}, expanded


def _refusal(spec: OpSpec, example: Example, target: str) -> str:
    """Why the target declines the example, all passes done; nothing when it does not."""
    graph, _ = _build(spec, example, target)
    prepare(graph)
    finish(graph, target)
    try:
        for node in graph.nodes:
            if node.op not in PASSED_OVER:
                _names(node, target, by_op=False)
    except Declined as refusal:
        return refusal.why
    return ""


def _build(spec: OpSpec, example: Example, target: str) -> tuple[Graph, Node]:
    """A graph of just the example, with the activation only where the target fuses it."""
    graph = Graph()
    fuses = example.attrs.get("activation") in spec.fuses.get(target, ())
    attrs = {
        key: value.copy() if isinstance(value, Graph) else value
        for key, value in example.attrs.items()
        if fuses or not key.startswith("activation")
    }
    values = []
    for index, array in enumerate(example.inputs):
        if index in example.constants:
            values.append(graph.constant(array, "constant"))
            continue
        value = ops.add(graph, "Placeholder", (), {"dtype": DType.of(array), "shape": array.shape}, name=f"x{index}").output
        graph.inputs.append(Port(value.name, value))
        values.append(value)
    node = ops.add(graph, spec.name, values, attrs, name="node")
    graph.outputs = [Port(f"y{index}", value) for index, value in enumerate(node.outputs)]
    return graph, node


def _names(node: Node, target: str, *, by_op: bool) -> Iterable[str]:
    spec = ops.find(node.op)
    lower = spec and (spec.to_tflite if target == "tflite" else spec.to_tfjs)
    if lower is None:
        raise Declined("there is no form of it")
    operators = [getattr(each, "name", None) or getattr(each, "op", "") for each in lower(node)]
    return [node.op] if by_op else operators


def _data_type(example: Example) -> str:
    arrays = [array for index, array in enumerate(example.inputs) if index not in example.constants] or list(example.inputs)
    types = [DType.of(array) for array in arrays]
    return next((each for each in types if each is not DType.BOOL), types[0]).value if types else ""


def main() -> int:
    page = table()
    if "--check" in sys.argv[1:]:
        current = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page
        print(f"{PAGE.name} is current" if current else f"{PAGE.name} is out of date: run python scripts/make_op_table.py")
        return 0 if current else 1
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
