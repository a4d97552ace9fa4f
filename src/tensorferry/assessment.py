"""What each target will make of a model, told before anything is converted: direct, rewritten, fused, or impossible and why; which
backends can run the result; where to cut what stands in the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tensorferry import ops
from tensorferry.cutting import Cut, find_cut
from tensorferry.ir import Graph, Node, Value
from tensorferry.ops.refusals import explained
from tensorferry.ops.spec import MISFITS, Declined
from tensorferry.passes.pipelines import finish, prepare
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import DType, Tensor
from tensorferry.wire import tflite_schema
from tensorferry.wire.backends import asynchronous_ops, lacking_in, operators_of
from tensorferry.wire.tfjs_releases import oldest_release
from tensorferry.writers.tfjs import tell_text

_BOOKKEEPING = frozenset({"Const", "Placeholder", "PlaceholderWithDefault", "NoOp"})

GPU_DIMENSIONS = 4
"""TensorFlow Lite's GPU delegate computes on batch, height, width and channels."""

Record = LiteOp | JsNode


@dataclass(frozen=True, slots=True)
class OpRow:
    """What becomes of all nodes of one op that share a fate.

    `how`: "direct" (the target has the op), "fused" (into the operator of another node), "rewritten" (in other operators), "folded"
    (computed now, or not needed) or "impossible". `becomes` are operators of the target; `why` and `nodes` are of the impossible.
    """

    op: str
    count: int
    how: str
    becomes: tuple[str, ...] = ()
    why: str = ""
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BackendRow:
    """How many operators of the result one backend runs itself, and those it does not: operator -> how many.

    `falls_back`: the others run elsewhere; without it a model that has others cannot run there at all.
    """

    backend: str
    taken: int
    total: int
    others: Mapping[str, int]
    falls_back: bool


@dataclass(frozen=True, slots=True)
class Assessment:
    """One target's view of a model."""

    target: str
    rows: tuple[OpRow, ...]
    operators: Mapping[str, int]
    backends: tuple[BackendRow, ...]
    runtime: str
    notices: tuple[str, ...]
    cut: Cut | None

    @property
    def possible(self) -> bool:
        return all(row.how != "impossible" for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        return {"possible": self.possible, **asdict(self)}


def assess_graph(graph: Graph, target: str) -> Assessment:
    """Carry a copy of the graph to the point of writing, and look at what it has become. The graph itself stays as it is."""
    finished = graph.copy()
    prepare(finished)
    finish(finished, target)
    fates = _Fates(finished, target)
    rows = _summarise(_walk(graph.nodes), fates)
    obstacles = [name for row in rows for name in row.nodes]
    records = fates.records
    return Assessment(
        target=target,
        rows=rows,
        operators=_count(_name_of(record) for record in records),
        backends=tuple(_lite_backends(records) if target == "tflite" else _js_backends(records)),
        runtime="" if obstacles else _oldest_runtime(records, target),
        notices=tuple(dict.fromkeys((*finished.notices, *_warn(graph, records, target)))),
        cut=find_cut(graph, obstacles) if obstacles else None,
    )


# -- what becomes of each node -------------------------------------------------------------------------------------


class _Fates:
    """The nodes of the finished graph with the operators they become, by the source nodes they stand for."""

    def __init__(self, finished: Graph, target: str) -> None:
        self.records: list[Record] = []
        self._by_origin: dict[str, list[tuple[Node, tuple[str, ...], str]]] = {}
        for node in _walk(finished.nodes):
            if node.op in _BOOKKEEPING:
                continue
            records, why = _lower(node, target)
            self.records += records
            fate = (node, tuple(dict.fromkeys(map(_name_of, records))), why)
            for name in node.origin.names:
                self._by_origin.setdefault(name, []).append(fate)

    def of(self, node: Node) -> OpRow:
        """The row of one source node."""
        fates = self._by_origin.get(node.name, [])
        refusals = [why for _made, _names, why in fates if why]
        becomes = tuple(dict.fromkeys(name for _made, names, _why in fates for name in names))
        if refusals:
            return OpRow(node.op, 1, "impossible", (), refusals[0], (node.name,))
        if not fates:
            return OpRow(node.op, 1, "folded")
        if any(made.op == node.op for made, _names, _why in fates):
            return OpRow(node.op, 1, "direct", becomes)
        shared = all(len(made.origin.names) > 1 for made, _names, _why in fates)
        return OpRow(node.op, 1, "fused" if shared else "rewritten", becomes)


def _walk(nodes: Sequence[Node]) -> Iterator[Node]:
    """The nodes and those of their nested graphs."""
    for node in nodes:
        yield node
        for _key, nested in node.graphs():
            yield from _walk(nested.nodes)


def _lower(node: Node, target: str) -> tuple[list[Record], str]:
    """The node's operators, or why there are none."""
    spec = ops.find(node.op)
    lowering: Callable[[Node], Sequence[Record]] | None = None
    if spec is not None:
        lowering = spec.to_tflite if target == "tflite" else spec.to_tfjs
    if lowering is None:
        none = explained(node, Declined("there is no operator for it"), target)
        return [], _told(none) if spec else "Tensorferry does not know this op"
    try:
        return list(lowering(node)), ""
    except Declined as refusal:
        return [], _told(explained(node, refusal, target))
    except MISFITS as error:
        return [], f"its inputs or attributes do not fit the op ({error})"


def _told(refusal: Declined) -> str:
    return refusal.why + (f"; {refusal.remedy}" if refusal.remedy else "")


def _name_of(record: Record) -> str:
    return record.name if isinstance(record, LiteOp) else record.op


def _summarise(nodes: Iterator[Node], fates: _Fates) -> tuple[OpRow, ...]:
    """One row for each op and fate, impossible ones first, then by how often they occur."""
    groups: dict[tuple[str, str, str], list[OpRow]] = {}
    for node in nodes:
        if node.op not in _BOOKKEEPING:
            row = fates.of(node)
            groups.setdefault((row.op, row.how, row.why), []).append(row)
    rows = [
        OpRow(
            op,
            len(group),
            how,
            tuple(dict.fromkeys(name for row in group for name in row.becomes)),
            why,
            tuple(name for row in group for name in row.nodes),
        )
        for (op, how, why), group in groups.items()
    ]
    order = ("impossible", "direct", "fused", "rewritten", "folded")
    return tuple(sorted(rows, key=lambda row: (order.index(row.how), -row.count, row.op)))


def _count(names: Iterator[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


# -- who can run it ------------------------------------------------------------------------------------------------


def _lite_backends(records: Sequence[Record]) -> Iterator[BackendRow]:
    checks: dict[str, Callable[[Record], bool]] = {"xnnpack": _suits_xnnpack, "gpu": _suits_gpu}
    for backend, has in operators_of().items():
        others = [_name_of(record) for record in records if _name_of(record) not in has or not checks[backend](record)]
        yield BackendRow(backend, len(records) - len(others), len(records), _count(iter(others)), falls_back=True)


def _js_backends(records: Sequence[Record]) -> Iterator[BackendRow]:
    for backend, lacks in lacking_in().items():
        others = [_name_of(record) for record in records if _name_of(record) in lacks]
        yield BackendRow(backend, len(records) - len(others), len(records), _count(iter(others)), falls_back=False)


def _data(record: Record) -> list[tuple[DType, int | None]]:
    """Type and rank of what an operator computes with; constants, such as shapes and axes, left out."""
    refs = [ref for ref in (*record.inputs, *record.outputs) if ref is not None and not isinstance(ref, Tensor)]
    plain = [ref for ref in refs if not (isinstance(ref, Value) and ref.constant is not None)]
    return [(ref.dtype, None if ref.shape is None else len(ref.shape)) for ref in plain]


def _suits_xnnpack(record: Record) -> bool:
    return all(dtype is DType.FLOAT32 for dtype, _rank in _data(record))


def _suits_gpu(record: Record) -> bool:
    return all(
        dtype in (DType.FLOAT32, DType.BOOL) and rank is not None and rank <= GPU_DIMENSIONS for dtype, rank in _data(record)
    )


def _oldest_runtime(records: Sequence[Record], target: str) -> str:
    if target == "tflite":
        used = [(record.name, record.version) for record in records if isinstance(record, LiteOp) and record.custom is None]
        return f"TensorFlow Lite {tflite_schema.oldest_runtime(used)} and later" if used else ""
    oldest = oldest_release(map(_name_of, records))
    return f"TensorFlow.js {oldest} and later" if oldest else ""


def _warn(graph: Graph, records: Sequence[Record], target: str) -> Iterator[str]:
    if target == "tflite":
        loose = [port.name for port in graph.inputs if port.value.static_shape is None]
        if loose:
            names = ", ".join(loose)
            yield f"sizes of {names} are open: LiteRT.js refuses such inputs; --fixed writes a file for pages, --shape sets sizes"
        return
    if waiting := sorted({_name_of(record) for record in records} & asynchronous_ops()):
        yield f"pages run it with executeAsync, not execute, because of {', '.join(waiting)}"
    yield from tell_text(graph)
