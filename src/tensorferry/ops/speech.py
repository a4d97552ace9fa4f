"""CTCGreedyDecoder: the likeliest label of each step, without blanks and, if asked, without repetitions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.sizes import Sizes, count_up, scalar
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType


def _infer(node: Node) -> list[Typed]:
    shape = node.inputs[0].shape
    if shape is not None and len(shape) != 3:
        raise Declined(f"its input has rank {len(shape)}, not [steps, batch, classes]")
    batch = UNKNOWN_DIM if shape is None else shape[1]
    return [
        Typed(node["index_dtype"], (UNKNOWN_DIM, 2)),
        Typed(node["index_dtype"], (UNKNOWN_DIM,)),
        Typed(node["index_dtype"], (2,)),
        Typed(node.inputs[0].dtype, (batch, 1)),
    ]


def _blank(node: Node, classes: int) -> int:
    blank = int(node["blank_index"])
    return blank + classes if blank < 0 else blank


def _evaluate(node: Node, x: Array, lengths: Array) -> tuple[Array, ...]:
    steps, batch, classes = x.shape
    labels = x.argmax(axis=2).T
    inside = np.arange(steps) < lengths[:, None]
    kept = inside & (labels != _blank(node, classes))
    if node["merge_repeated"]:
        kept[:, 1:] &= labels[:, 1:] != labels[:, :-1]
    places = np.cumsum(kept, axis=1) - 1
    rows = np.argwhere(kept)
    indices = np.stack([rows[:, 0], places[kept]], axis=1)
    longest = int(kept.sum(axis=1).max(initial=0))
    score = -np.sum(x.max(axis=2).T * inside, axis=1, keepdims=True)
    return indices.astype(np.int64), labels[kept].astype(np.int64), np.array([batch, longest]), score.astype(x.dtype)


def _expand(graph: Graph, node: Node) -> bool:
    value, lengths = node.inputs
    if value.shape is None or not isinstance(value.shape[2], int):
        raise Declined("the number of classes is not known")
    steps = Expansion(graph, node)
    sizes = Sizes(steps, value)
    turned = np.array([1, 0], np.int32)
    last, one = np.array(2, np.int32), np.array(1, np.int32)
    labels = steps.make("Transpose", steps.make("ArgMax", value, last, output_type=DType.INT32), turned)
    rows = steps.make("ExpandDims", lengths, one)
    inside = steps.make("Less", count_up(steps, sizes[0]), rows)
    blank = np.array(_blank(node, value.shape[2]), np.int32)
    kept = steps.make("LogicalAnd", inside, steps.make("NotEqual", labels, blank))
    if node["merge_repeated"]:
        kept = steps.make("LogicalAnd", kept, steps.make("NotEqual", labels, _before(steps, labels)))
    counted = steps.make("Cast", kept, DstT=DType.INT32)
    places = steps.make("Sub", steps.make("Cumsum", counted, one, exclusive=False, reverse=False), one)
    found = steps.make("Where", kept)
    batch = steps.make(
        "StridedSlice", found, *(np.array(each, np.int32) for each in ([0, 0], [0, 1], [1, 1])), begin_mask=1, end_mask=1
    )
    place = steps.make("ExpandDims", _cast(steps, steps.make("GatherNd", places, found), batch.dtype), one)
    indices = steps.make("ConcatV2", batch, place, one, N=2)
    chosen = steps.make("GatherNd", labels, found)
    total = steps.make("Sum", counted, np.array([1], np.int32), keep_dims=False)
    longest = steps.make("Max", total, np.array([0], np.int32), keep_dims=False)
    shape = steps.make("Pack", scalar(steps, sizes[1]), longest, axis=0)
    best = steps.make("Transpose", steps.make("Max", value, np.array([2], np.int32), keep_dims=False), turned)
    heard = steps.make("Mul", best, steps.make("Cast", inside, DstT=value.dtype))
    score = steps.make("Neg", steps.make("Sum", heard, np.array([1], np.int32), keep_dims=True))
    wanted = [output.dtype for output in node.outputs]
    made = [_cast(steps, each, dtype) for each, dtype in zip((indices, chosen, shape), wanted, strict=False)]
    return steps.finish(*made, score)


def _cast(steps: Expansion, value: Value, dtype: DType) -> Value:
    return value if value.dtype is dtype else steps.make("Cast", value, DstT=dtype)


def _before(steps: Expansion, labels: Value) -> Value:
    """The labels one step earlier; -1, which is none, before the first."""
    begin, end, stride = (np.array(each, np.int32) for each in ([0, 0], [0, -1], [1, 1]))
    cut = steps.make("StridedSlice", labels, begin, end, stride, begin_mask=3, end_mask=1)
    return steps.make("PadV2", cut, np.array([[0, 0], [1, 0]], np.int32), np.array(-1, np.int32))


def _speech(*labels: list[int], classes: int = 4) -> Array:
    """[steps, batch, classes], each label of a row the likeliest at its step."""
    x = np.random.default_rng(7).random((len(labels[0]), len(labels), classes)).astype(np.float32)
    for row, line in enumerate(labels):
        for step, label in enumerate(line):
            x[step, row, label] += 2
    return x


def _examples() -> Iterator[Example]:
    x = _speech([0, 0, 3, 0, 1, 1], [2, 3, 3, 2, 2, 1])
    lengths = np.array([6, 5], np.int32)
    yield Example((x, lengths), {"merge_repeated": True}, note="merged", tolerance=2e-6)
    yield Example((x, lengths), {"merge_repeated": False}, note="as they are", tolerance=2e-6)
    yield Example((x, lengths), {"merge_repeated": True, "blank_index": 0}, note="blank first", tolerance=2e-6)


SPECS = (
    OpSpec(
        name="CTCGreedyDecoder",
        attrs={"merge_repeated": False, "blank_index": -1, "index_dtype": DType.INT64},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        examples=_examples,
    ),
)
