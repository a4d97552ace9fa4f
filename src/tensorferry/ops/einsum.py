"""Einsum of any equation, written as diagonals, sums, transposes and one batched matrix product for each pair of operands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.complex_numbers import complex_sample
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.sizes import Size, Sizes, reshape, times, vector
from tensorferry.ops.spec import Declined, Example, OpSpec, broadcast_shapes
from tensorferry.tensor import Array, DType

Labels = tuple[str, ...]


def parse_equation(equation: str, ranks: Sequence[int]) -> tuple[list[Labels], Labels]:
    """Labels of each operand's axes and of the result's. Axes of an ellipsis are counted from the right: `.0` is the last."""
    text = equation.replace(" ", "")
    sources, arrow, result = text.partition("->")
    if not arrow:
        raise Declined("its equation has no '->'", attributes=f"equation={equation}")
    terms = sources.split(",")
    if len(terms) != len(ranks):
        raise Declined(f"its equation names {len(terms)} operands, it has {len(ranks)}", attributes=f"equation={equation}")
    operands = [_labels(term, rank) for term, rank in zip(terms, ranks, strict=True)]
    covered = max((sum(label.startswith(".") for label in labels) for labels in operands), default=0)
    return operands, _labels(result, len(result.replace("...", "")) + (covered if "..." in result else 0))


def _ellipsis(count: int) -> Labels:
    return tuple(f".{place}" for place in reversed(range(count)))


def _labels(term: str, rank: int) -> Labels:
    before, dots, after = term.partition("...")
    rest = rank - len(before) - len(after)
    if rest < 0 or (rest > 0 and not dots):
        raise Declined(f"'{term}' does not name {rank} axes")
    return (*before, *_ellipsis(rest), *after)


def _infer(node: Node) -> list[Typed]:
    dtype = node.inputs[0].dtype
    if any(value.shape is None for value in node.inputs):
        return [Typed(dtype, None)]
    operands, result = parse_equation(node["equation"], [len(value.shape or ()) for value in node.inputs])
    known: dict[str, Dim] = {}
    for labels, value in zip(operands, node.inputs, strict=True):
        for label, dim in zip(labels, value.shape or (), strict=True):
            if label not in known:
                known[label] = dim
            elif label.startswith("."):
                merged = broadcast_shapes((known[label],), (dim,))
                assert merged is not None
                known[label] = merged[0]
            elif isinstance(dim, int):
                if isinstance(known[label], int) and known[label] != dim:
                    raise Declined(f"axis '{label}' has {known[label]} elements in one operand and {dim} in another")
                known[label] = dim
    if missing := [label for label in result if label not in known]:
        raise Declined(f"its result names '{missing[0]}', which no operand has")
    return [Typed(dtype, tuple(known[label] for label in result))]


def _evaluate(node: Node, *arrays: Array) -> Array:
    wide = [array.astype(np.float32) if array.dtype == np.float16 else array for array in arrays]
    return np.asarray(np.einsum(node["equation"].replace(" ", ""), *wide), arrays[0].dtype)


# -- expansion -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operand:
    """A value and the labels of its axes."""

    value: Value
    labels: Labels


class Contraction(Expansion):
    """An expansion that works on labelled axes."""

    def sizes(self, operand: Operand) -> dict[str, Size]:
        measured = Sizes(self, operand.value)
        return {label: measured[axis] for axis, label in enumerate(operand.labels)}

    def ordered(self, operand: Operand, labels: Sequence[str]) -> Operand:
        order = [operand.labels.index(label) for label in labels]
        if order == list(range(len(order))):
            return operand
        turned = self.make("Transpose", operand.value, np.array(order, np.int32))
        return Operand(turned, tuple(labels))

    def on_diagonals(self, operand: Operand) -> Operand:
        """Labels that stand twice: the elements where both places are equal."""
        while repeated := next((label for label in operand.labels if operand.labels.count(label) > 1), None):
            axes = [axis for axis, label in enumerate(operand.labels) if label == repeated][:2]
            rest = [axis for axis in range(len(operand.labels)) if axis not in axes]
            value = operand.value
            if axes != [len(rest), len(rest) + 1]:
                value = self.make("Transpose", value, np.array([*rest, *axes], np.int32))
            labels = (*(operand.labels[axis] for axis in rest), repeated)
            operand = Operand(self.make("MatrixDiagPart", value), labels)
        return operand

    def summed(self, operand: Operand, kept: Sequence[str]) -> Operand:
        """Without the axes that nobody asks for."""
        axes = [axis for axis, label in enumerate(operand.labels) if label not in kept]
        if not axes:
            return operand
        made = self.make("Sum", operand.value, np.array(axes, np.int32), keep_dims=False)
        return Operand(made, tuple(label for label in operand.labels if label in kept))

    def stretched(self, operand: Operand, labels: Sequence[str]) -> Value:
        """The operand with axes of size 1 for the labels it lacks, in the order of `labels`."""
        present = [label for label in labels if label in operand.labels]
        value = self.ordered(operand, present).value
        if len(present) == len(labels) or not present:
            return value
        first = next(place for place, label in enumerate(labels) if label in present)
        if labels[first:] == present:
            return value
        sizes = self.sizes(Operand(value, tuple(present)))
        return reshape(self, value, [sizes.get(label, 1) for label in labels[first:]])

    def pair(self, one: Operand, other: Operand, wanted: Sequence[str]) -> Operand:
        """Both operands joined; the axes come out as they are cheapest."""
        one = self.summed(one, (*wanted, *other.labels))
        other = self.summed(other, (*wanted, *one.labels))
        common = [label for label in one.labels if label in other.labels]
        summed = [label for label in common if label not in wanted]
        if not summed or (set(one.labels) == set(other.labels) == {*common} and not self._free(one, other)):
            labels = [label for label in wanted if label in one.labels or label in other.labels] + summed
            made = self.make("Mul", self.stretched(one, labels), self.stretched(other, labels))
            return self.summed(Operand(made, tuple(labels)), wanted)
        left = next((label for label in wanted if label not in common and label in (*one.labels, *other.labels)), None)
        if left is not None and left in other.labels:
            one, other = other, one
        return self._multiplied(one, other, wanted)

    def _free(self, one: Operand, other: Operand) -> bool:
        return bool(set(one.labels) ^ set(other.labels))

    def _multiplied(self, one: Operand, other: Operand, wanted: Sequence[str]) -> Operand:
        batch = [label for label in wanted if label in one.labels and label in other.labels]
        inner = [label for label in one.labels if label in other.labels and label not in batch]
        rows = [label for label in wanted if label in one.labels and label not in batch]
        columns = [label for label in wanted if label in other.labels and label not in batch]
        if other.value.constant is not None or list(other.labels) in ([*inner, *columns], [*columns, *inner]):
            inner = inner if one.labels[-len(inner) :] == tuple(inner) else [each for each in other.labels if each in inner]
        sizes = {**self.sizes(other), **self.sizes(one)}
        whole = not batch and one.labels == (*rows, *inner) and len(inner) == 1
        first, turn_first = self._matrix(one, batch, [[each] for each in rows] if whole else [rows], inner)
        second, turn_second = self._matrix(other, batch, [columns], inner, second=True)
        made = self.make("BatchMatMulV2", first, second, adj_x=turn_first, adj_y=turn_second, T=first.dtype)
        outer = [self._batch_size(label, one, other) for label in batch]
        labels = (*batch, *rows, *columns)
        flat = len(batch) + (len(rows) if whole else 1) + 1
        if flat == len(labels) and (whole or len(rows) == 1) and len(columns) == 1:
            return Operand(made, labels)
        return Operand(reshape(self, made, [*outer, *(sizes[label] for label in (*rows, *columns))]), labels)

    def _batch_size(self, label: str, one: Operand, other: Operand) -> Size:
        """What two sizes stretch to; of two that are known only while the model runs one may still be 1."""
        first, second = (self.sizes(operand)[label] for operand in (one, other))
        if first == 1 or (isinstance(first, Value) and isinstance(second, int) and second != 1):
            return second
        dims = [(operand.value.shape or ())[operand.labels.index(label)] for operand in (one, other)]
        if isinstance(first, int) or isinstance(second, int) or (dims[0] == dims[1] != UNKNOWN_DIM):
            return first
        return self.make("Maximum", first, second)

    def _matrix(
        self, operand: Operand, batch: Sequence[str], free: Sequence[Sequence[str]], inner: Sequence[str], second: bool = False
    ) -> tuple[Value, bool]:
        """[batch ..., rows, columns] of an operand, and whether it is turned; as it lies where that is possible."""
        outer = [label for group in free for label in group]
        upright, turned = ([*batch, *outer, *inner], [*batch, *inner, *outer])
        as_product = turned if second else upright
        if list(operand.labels) == (upright if second else turned):
            as_product = upright if second else turned
        elif operand.value.constant is not None and second:
            as_product = upright  # how both targets' matrix products like weights best
        placed = self.ordered(operand, as_product)
        sizes = self.sizes(placed)
        groups = [*free, inner] if as_product == upright else [inner, *free]
        shape = [*(sizes[label] for label in batch), *(times(self, *(sizes[label] for label in group)) for group in groups)]
        value = placed.value if all(len(group) == 1 for group in groups) else reshape(self, placed.value, shape)
        return value, (as_product == upright) if second else (as_product == turned)


def _expand(graph: Graph, node: Node) -> bool:
    if any(value.shape is None for value in node.inputs):
        return False
    operands, result = parse_equation(node["equation"], [len(value.shape or ()) for value in node.inputs])
    work = Contraction(graph, node)
    waiting = [work.on_diagonals(Operand(value, labels)) for value, labels in zip(node.inputs, operands, strict=True)]
    while len(waiting) > 1:
        one, other, *rest = waiting
        later = [label for operand in rest for label in operand.labels]
        named = [label for label in dict.fromkeys((*one.labels, *other.labels)) if label in later and label not in result]
        waiting = [work.pair(one, other, [*result, *named]), *rest]
    last = work.summed(waiting[0], result)
    made = work.ordered(last, [label for label in result if label in last.labels]).value
    if made is node.inputs[0]:
        made = work.make("Identity", made)
    if node.output.shape is not None and made.shape != node.output.shape and work_needs_stretch(made, node.output):
        made = work.make("BroadcastTo", made, vector(work, [dim for dim in node.output.shape if isinstance(dim, int)]))
    return work.finish(made)


def work_needs_stretch(made: Value, wanted: Value) -> bool:
    """Sizes of 1 under an ellipsis that another operand made larger, and that was summed away with it."""
    return made.static_shape is not None and wanted.static_shape is not None


# -- examples ------------------------------------------------------------------------------------------------------


def _two(equation: str, one: tuple[int, ...], other: tuple[int, ...], **more: object) -> Example:
    return Example((sample(*one), sample(*other, seed=1)), {"equation": equation}, note=equation, **more)  # type: ignore[arg-type]


def _examples() -> Iterator[Example]:
    for equation, shape in (
        ("ij->ji", (2, 3)),
        ("ij->", (2, 3)),
        ("ij->i", (2, 3)),
        ("ii->", (3, 3)),
        ("bii->bi", (2, 3, 3)),
        ("ijji->j", (2, 3, 3, 2)),
        ("...ij->...ji", (2, 2, 3)),
        ("...->...", (2, 3)),
    ):
        yield Example((sample(*shape),), {"equation": equation}, note=equation)
    yield _two("ij,jk->ik", (2, 3), (3, 4))
    yield _two("ij,jk->ki", (2, 3), (3, 4), constants=(1,))
    yield _two("ji,jk->ki", (3, 2), (3, 4))
    yield _two("i,i->", (3,), (3,))
    yield _two("i,j->ij", (3,), (2,))
    yield _two("ij,ij->ji", (2, 3), (2, 3))
    yield _two("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4))
    yield _two("bqhd,bkhd->bhqk", (2, 3, 2, 4), (2, 5, 2, 4))
    yield _two("bhqk,bkhd->bqhd", (2, 2, 3, 5), (2, 5, 2, 4))
    yield _two("btd,dhe->bthe", (2, 3, 4), (4, 2, 3), constants=(1,))
    yield _two("bthe,hed->btd", (2, 3, 2, 4), (2, 4, 3), constants=(1,))
    yield _two("abc,bcd->ad", (2, 3, 4), (3, 4, 2))
    yield _two("abc,cbd->da", (2, 3, 4), (4, 3, 2))
    yield _two("iij,jk->ik", (3, 3, 2), (2, 4))
    yield _two("ab,cd->ad", (2, 3), (3, 2))
    yield _two("...ij,jk->...ik", (2, 2, 3), (3, 4))
    yield _two("...ij,...jk->...ik", (2, 1, 2, 3), (3, 3, 4))
    yield _two("i...,...->i...", (2, 3), (3,))
    yield _two("a...b,b->a...", (2, 3, 2, 4), (4,))
    yield _two("bn,anb->...a", (2, 3), (4, 3, 2))
    three = (sample(2, 3), sample(3, 4, seed=1), sample(4, 2, seed=2))
    yield Example(three, {"equation": "ij,jk,kl->il"}, note="three operands")
    yield Example((sample(2, 3), sample(3, 4, seed=1), sample(2, 4)), {"equation": "bi,ij,bj->b"}, note="bilinear")
    whole = (np.arange(6, dtype=np.int32).reshape(2, 3), np.arange(12, dtype=np.int32).reshape(3, 4))
    yield Example(whole, {"equation": "ij,jk->ki", "T": DType.INT32}, note="int32")
    parts = (complex_sample(2, 3), complex_sample(3, 2, seed=3))
    yield Example(parts, {"equation": "ij,jk->ik", "T": DType.COMPLEX64}, note="complex")


SPECS = (
    OpSpec(
        name="Einsum",
        attrs={"equation": "", "T": DType.FLOAT32},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        examples=_examples,
    ),
)
