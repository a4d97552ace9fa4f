"""CTCBeamSearchDecoder: the likeliest texts of what a net heard or read, a beam of prefixes kept from step to step.

A. Graves and N. Jaitly, "Towards End-to-End Speech Recognition with Recurrent Neural Networks" (2014). All prefixes of a beam are
rows of tensors; one is another's parent when it is one label shorter and they differ there alone. So a prefix that is reached in
two ways, from its parent and by itself, is counted once, as in TensorFlow's tree of prefixes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.rounds import repeat
from tensorferry.ops.sets import listed
from tensorferry.ops.sizes import Sizes, vector
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType

NEVER = np.float32(-1e30)
"""The logarithm of what cannot be; what lies below half of it is no prefix."""

LARGEST = 1 << 23
"""Comparisons of labels in one step: beam x beam x steps."""


def _infer(node: Node) -> list[Typed]:
    value, kind, paths = node.inputs[0], node["index_dtype"], int(node["top_paths"])
    if value.rank not in (None, 3):
        raise Declined(f"its input has rank {value.rank}, not [steps, batch, classes]")
    if not 0 < paths <= int(node["beam_width"]):
        raise Declined("it keeps fewer texts than it shall give", attributes=f"top_paths={paths}, beam_width={node['beam_width']}")
    batch: Dim = UNKNOWN_DIM if value.shape is None else value.shape[1]
    each = [Typed(kind, (UNKNOWN_DIM, 2))] * paths + [Typed(kind, (UNKNOWN_DIM,))] * paths + [Typed(kind, (2,))] * paths
    return [*each, Typed(value.dtype, (batch, paths))]


# -- evaluation: prefixes as tuples --------------------------------------------------------------------------------


def _search(rows: Array, width: int) -> list[tuple[tuple[int, ...], float]]:
    """The likeliest labellings of [steps, classes] logarithms; the last class says nothing."""
    blank = rows.shape[1] - 1
    beam: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -np.inf)}  # ends with a blank, ends with its last label
    for row in rows.astype(np.float64):
        after: dict[tuple[int, ...], tuple[float, float]] = {}
        for prefix, (silent, spoken) in beam.items():
            total, again = np.logaddexp(silent, spoken), -np.inf
            if prefix:
                again = spoken
                if prefix[:-1] in beam:
                    before = beam[prefix[:-1]]
                    same = prefix[-2:-1] == prefix[-1:]
                    again = np.logaddexp(again, before[0] if same else np.logaddexp(*before))
                again += row[prefix[-1]]
            after[prefix] = (total + row[blank], again)
            for label in range(blank):
                longer = (*prefix, label)
                if longer not in beam:
                    after[longer] = (-np.inf, (silent if prefix[-1:] == (label,) else total) + row[label])
        best = sorted(after.items(), key=lambda each: -float(np.logaddexp(*each[1])))[:width]
        beam = dict(best)
    return [(prefix, float(np.logaddexp(*each))) for prefix, each in beam.items()]


def _evaluate(node: Node, x: Array, lengths: Array) -> tuple[Array, ...]:
    logs = x - x.max(axis=2, keepdims=True)
    logs = logs - np.log(np.exp(logs).sum(axis=2, keepdims=True))
    width, paths, batch = int(node["beam_width"]), int(node["top_paths"]), x.shape[1]
    found = [_search(logs[: int(lengths[row]), row], width) for row in range(batch)]
    places: list[Array] = []
    values: list[Array] = []
    shapes: list[Array] = []
    scores = np.zeros((batch, paths), x.dtype)
    for path in range(paths):
        texts = []
        for row, best in enumerate(found):
            text, scores[row, path] = best[path]
            joined = [label for at, label in enumerate(text) if not at or text[at - 1] != label]
            texts.append(joined if node["merge_repeated"] else list(text))
        places.append(np.array([(row, at) for row, text in enumerate(texts) for at in range(len(text))], np.int64).reshape(-1, 2))
        values.append(np.array([label for text in texts for label in text], np.int64))
        shapes.append(np.array([batch, max(map(len, texts), default=0)], np.int64))
    return *places, *values, *shapes, scores


# -- in other ops: prefixes as rows --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Beam:
    """[batch, beam] each, labels [batch, beam, steps] with -1 behind the last."""

    labels: Value
    length: Value
    last: Value
    silent: Value
    spoken: Value
    total: Value

    def all(self) -> list[Value]:
        return [self.labels, self.length, self.last, self.silent, self.spoken, self.total]


class _Search(Expansion):
    """One step of the search; made in the body of a loop."""

    def either(self, one: Value, other: Value) -> Value:
        """The logarithm of the sum of what has these logarithms."""
        apart = self.make("Neg", self.make("Abs", self.make("Sub", one, other)))
        more = self.make("Log", self.make("AddV2", self.make("Exp", apart), np.float32(1)))
        return self.make("AddV2", self.make("Maximum", one, other), more)

    def across(self, value: Value, axis: int) -> Value:
        return self.make("ExpandDims", value, np.int32(axis))

    def parents(self, beam: _Beam) -> Value:
        """[batch, child, parent]: whether one prefix is the other's parent."""
        differ = self.make("NotEqual", self.across(beam.labels, 2), self.across(beam.labels, 1))
        count = self.make("Sum", self.make("Cast", differ, DstT=DType.INT32), np.array([3], np.int32), keep_dims=False)
        longer = self.make("Sub", self.across(beam.length, 2), self.across(beam.length, 1))
        one = self.make("LogicalAnd", self.make("Equal", count, np.int32(1)), self.make("Equal", longer, np.int32(1)))
        there = self.make("Greater", beam.total, np.float32(NEVER / 2))
        both = self.make("LogicalAnd", self.across(there, 2), self.across(there, 1))
        return self.make("LogicalAnd", one, both)

    def stays(self, beam: _Beam, parents: Value, heard: Value, blank: int) -> tuple[Value, Value]:
        """Prefixes that grow by nothing or by their last label once more: silent and spoken."""
        same = self.make("Equal", self.across(beam.last, 2), self.across(beam.last, 1))
        before = self.make("SelectV2", same, self.across(beam.silent, 1), self.across(beam.total, 1))
        known = self.make("SelectV2", parents, before, NEVER)
        from_parent = self.make("Max", known, np.array([2], np.int32), keep_dims=False)
        label = self.make("Maximum", beam.last, np.int32(0))
        own = self.make("GatherV2", heard, label, np.int32(1), batch_dims=1)
        spoken = self.make("AddV2", self.either(beam.spoken, from_parent), own)
        spoken = self.make("SelectV2", self.make("Less", beam.last, np.int32(0)), NEVER, spoken)
        nothing = self.make("Slice", heard, np.array([0, blank], np.int32), np.array([-1, 1], np.int32))
        return self.make("AddV2", beam.total, nothing), spoken

    def grows(self, beam: _Beam, parents: Value, heard: Value, blank: int) -> Value:
        """[batch, beam, classes]: each prefix with each label behind it; never a blank, nor what is in the beam by itself."""
        labels = np.arange(blank + 1, dtype=np.int32)
        again = self.make("Equal", self.across(beam.last, 2), labels)
        before = self.make("SelectV2", again, self.across(beam.silent, 2), self.across(beam.total, 2))
        longer = self.make("AddV2", before, self.across(heard, 1))
        ends = self.make("Cast", again, DstT=DType.FLOAT32)
        children = self.make("BatchMatMulV2", self.make("Cast", parents, DstT=DType.FLOAT32), ends, adj_x=True)
        taken = self.make("LogicalOr", self.make("Greater", children, np.float32(0.5)), labels == blank)
        return self.make("SelectV2", taken, np.float32(NEVER * 2), longer)

    def step(self, beam: _Beam, heard: Value, width: int, classes: int) -> _Beam:
        blank, parents = classes - 1, self.parents(beam)
        silent, spoken = self.stays(beam, parents, heard, blank)
        longer = self.make("Reshape", self.grows(beam, parents, heard, blank), np.array([-1, width * classes], np.int32))
        candidates = self.make("ConcatV2", self.either(silent, spoken), longer, np.int32(1))
        total, chosen = self.make_node("TopKV2", candidates, np.int32(width)).outputs
        stays = self.make("Less", chosen, np.int32(width))
        grown = self.make("Maximum", self.make("Sub", chosen, np.int32(width)), np.int32(0))
        parent = self.make("FloorDiv", grown, np.int32(classes))
        label = self.make("Sub", grown, self.make("Mul", parent, np.int32(classes)))
        source = self.make("SelectV2", stays, chosen, parent)

        def taken(value: Value) -> Value:
            return self.make("GatherV2", value, source, np.int32(1), batch_dims=1)

        length, steps = taken(beam.length), int((beam.labels.shape or ())[2])
        here = self.make("Equal", self.across(length, 2), np.arange(steps, dtype=np.int32))
        new = self.make("LogicalAnd", here, self.across(self.make("LogicalNot", stays), 2))
        return _Beam(
            self.make("SelectV2", new, self.across(label, 2), taken(beam.labels)),
            self.make("SelectV2", stays, length, self.make("AddV2", length, np.int32(1))),
            self.make("SelectV2", stays, taken(beam.last), label),
            self.make("SelectV2", stays, taken(silent), NEVER),
            self.make("SelectV2", stays, taken(spoken), total),
            total,
        )


def _first(parts: Expansion, value: Value, width: int, steps: int) -> _Beam:
    """The empty prefix, and no other."""
    batch = Sizes(parts, value)[1]
    labels = parts.make("Fill", vector(parts, [batch, width, steps]), np.int32(-1))
    rows = vector(parts, [batch, width])
    length, last = (parts.make("Fill", rows, np.int32(number)) for number in (0, -1))
    start = np.full((1, width), NEVER, np.float32)
    start[0, 0] = 0
    silent = parts.make("AddV2", parts.make("Fill", rows, np.float32(0)), start)
    return _Beam(labels, length, last, silent, parts.make("Fill", rows, NEVER), silent)


def _expand(graph: Graph, node: Node) -> bool:
    value, lengths = node.inputs
    if value.shape is None or not isinstance(value.shape[0], int) or not isinstance(value.shape[2], int):
        raise Declined("how many steps and classes there are is not known", remedy="fix it with --shape")
    steps, classes, width = value.shape[0], value.shape[2], int(node["beam_width"])
    if width * width * steps > LARGEST or value.dtype is not DType.FLOAT32:
        raise Declined(f"a beam of {width} over {steps} steps of {value.dtype} is too much for one operator")
    parts = Expansion(graph, node)
    heard = parts.make("LogSoftmax", value)
    rows = parts.make("ExpandDims", lengths, np.int32(1))
    start = [parts.make("Identity", np.int32(0)), heard, rows, *_first(parts, value, width, steps).all()]

    def body(inner: Expansion, values: list[Value]) -> Sequence[Value]:
        now, all_heard, until, *state = values
        search, beam = _Search(inner.graph, inner.node), _Beam(*state)
        this = inner.make("GatherV2", all_heard, now, np.int32(0))
        after = search.step(beam, this, width, classes)
        speaks = inner.make("Less", now, until)
        kept = [
            inner.make("SelectV2", speaks if old.rank == 2 else search.across(speaks, 2), new, old)
            for new, old in zip(after.all(), beam.all(), strict=True)
        ]
        return [inner.make("AddV2", now, np.int32(1)), all_heard, until, *kept]

    made = repeat(parts, steps, start, body)[3:]
    return _texts(parts, made[0], made[-1], steps)


def _texts(parts: Expansion, labels: Value, total: Value, steps: int) -> bool:
    """The best prefixes one by one as sparse tensors, and their logarithms."""
    paths, found = int(parts.node["top_paths"]), []
    for path in range(paths):
        begin, size = np.array([0, path, 0], np.int32), np.array([-1, 1, steps], np.int32)
        text = parts.make("Reshape", parts.make("Slice", labels, begin, size), np.array([-1, steps], np.int32))
        kept = parts.make("GreaterEqual", text, np.int32(0))
        if parts.node["merge_repeated"]:
            cut = parts.make("Slice", text, np.zeros(2, np.int32), np.array([-1, steps - 1], np.int32))
            before = parts.make("PadV2", cut, np.array([[0, 0], [1, 0]], np.int32), np.int32(-1))
            kept = parts.make("LogicalAnd", kept, parts.make("NotEqual", text, before))
        outputs = parts.node.outputs
        kinds = [outputs[at].dtype for at in (path, paths + path, 2 * paths + path)]
        found.append(listed(parts, text, kept, kinds))
    scores = parts.make("Slice", total, np.zeros(2, np.int32), np.array([-1, paths], np.int32))
    return parts.finish(*(each[at] for at in range(3) for each in found), scores)


def _examples() -> Iterator[Example]:
    random = np.random.default_rng(11)
    x = random.normal(0, 2, (7, 2, 4)).astype(np.float32)
    lengths = np.array([7, 5], np.int32)
    for merged, paths in ((False, 1), (True, 2)):
        attrs = {"beam_width": 5, "top_paths": paths, "merge_repeated": merged}
        yield Example((x, lengths), attrs, note=f"{paths} {'merged' if merged else 'as they are'}", tolerance=5e-6)
    wide = {"beam_width": 40, "top_paths": 3, "merge_repeated": False}
    yield Example((x[:4], np.array([4, 1], np.int32)), wide, note="more than there are at first", tolerance=5e-6)


SPECS = (
    OpSpec(
        name="CTCBeamSearchDecoder",
        attrs={"merge_repeated": True, "beam_width": 100, "top_paths": 1, "index_dtype": DType.INT64},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        examples=_examples,
    ),
)
