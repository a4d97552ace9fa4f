"""FractionalMaxPool and FractionalAvgPool: windows of two lengths, in an order that the seed alone decides.

After Benjamin Graham, "Fractional Max-Pooling" (2014); which lengths a seed gives is TensorFlow's choice (fractional_pool_common.cc
in tensorflow/core/kernels), so that the same model gives the same numbers. Without a seed every run has other windows, which no
target can.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops import philox
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.sliding import whole
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType


def _ratios(node: Node) -> tuple[float, float]:
    ratios = [float(each) for each in node["pooling_ratio"]]
    if len(ratios) != 4 or ratios[0] != 1 or ratios[3] != 1 or min(ratios) < 1:
        raise Declined("it pools over height and width only, by 1 or more", attributes=f"pooling_ratio={ratios}")
    return ratios[1], ratios[2]


def _infer(node: Node) -> list[Typed]:
    value, kind = node.inputs[0], node["index_dtype"]
    if value.rank not in (None, 4):
        raise Declined(f"its input has rank {value.rank}, not 4")
    batch, high, wide, channels = value.shape or (UNKNOWN_DIM,) * 4
    made: list[Dim] = [
        int(side / ratio) if isinstance(side, int) else UNKNOWN_DIM for side, ratio in zip((high, wide), _ratios(node), strict=True)
    ]
    ends = [each + 1 if isinstance(each, int) else UNKNOWN_DIM for each in made]
    return [Typed(value.dtype, (batch, *made, channels)), *(Typed(kind, (each,)) for each in ends)]


# -- where windows begin -------------------------------------------------------------------------------------------


def _starts(node: Node, sides: Sequence[int]) -> list[Array]:
    """For rows and columns: where each window begins, and where the last ends."""
    counts = [int(side / ratio) for side, ratio in zip(sides, _ratios(node), strict=True)]
    if any(count < 1 for count in counts):
        raise Declined(f"an image of {list(sides)} is smaller than its pooling ratio")
    seeds = [int(node[key]) & 0xFFFFFFFFFFFFFFFF for key in ("seed", "seed2")]
    settled = node["deterministic"] and any(seeds)
    if not settled and any(side % count for side, count in zip(sides, counts, strict=True)):
        raise Declined(
            "its windows are drawn at random in every run",
            remedy="set deterministic and a seed in the source model",
            attributes=f"deterministic={node['deterministic']}, seed={node['seed']}",
        )
    drawn, starts = 0, []
    for side, count in zip(sides, counts, strict=True):
        draw = philox.words(seeds[0], (drawn, seeds[1]), count)
        if node["pseudo_random"]:
            starts.append(_evenly(side, count, draw))
            drawn += 1
        else:
            starts.append(_shuffled(side, count, draw))
            drawn += -(-count // 4)
    return starts


def _evenly(side: int, count: int, draw: Array) -> Array:
    """Ends at the whole numbers above equal steps that begin at random."""
    ratio, least = side / count, side // count
    most = min((least + 2) / ratio - 1, (side + 1 - least) / ratio - (count - 1))
    high, low = (int(each) for each in draw[0, :2])
    share = np.array([1023 << 52 | (high & 0xFFFFF) << 32 | low], np.uint64).view(np.float64)[0] - 1.0
    inner = np.ceil(ratio * (np.arange(1, count) + share * most))
    return np.concatenate([[0], inner.astype(np.int64) - 1, [side]])


def _shuffled(side: int, count: int, draw: Array) -> Array:
    least, longer = divmod(side, count)
    lengths, words = [least + 1] * longer + [least] * (count - longer), draw.reshape(-1).tolist()
    for place in range(count - 1):
        other = place + words[place] % (count - place)
        lengths[place], lengths[other] = lengths[other], lengths[place]
    return np.concatenate([[0], np.cumsum(lengths)])


def _windows(node: Node, starts: Array) -> list[range]:
    """The rows of each window; overlapping ones share the row where the next begins."""
    more = 1 if node["overlapping"] else 0
    last = int(starts[-1])
    return [range(begin, min(end + more, last)) for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)]


def _evaluate(node: Node, array: Array) -> tuple[Array, ...]:
    starts = _starts(node, array.shape[1:3])
    made, largest = array, node.op == "FractionalMaxPool"
    for axis, each in enumerate(starts, start=1):
        pieces = [made.take(list(window), axis=axis) for window in _windows(node, each)]
        joined = [piece.max(axis=axis, keepdims=True) if largest else piece.mean(axis=axis, keepdims=True) for piece in pieces]
        made = np.concatenate(joined, axis=axis)
    return made.astype(array.dtype), *starts


# -- in other ops --------------------------------------------------------------------------------------------------


def _expand(graph: Graph, node: Node) -> bool:
    value = node.inputs[0]
    sides = None if value.shape is None else whole(value.shape[1:])
    if sides is None:
        raise Declined("the size of its image is not known", remedy="fix it with --shape")
    if node.op == "FractionalAvgPool" and value.dtype is not DType.FLOAT32:
        raise Declined(f"it averages {value.dtype}")
    starts = _starts(node, sides[:2])
    parts = Expansion(graph, node)
    rows, columns = (_windows(node, each) for each in starts)
    made = _largest(parts, rows, columns) if node.op == "FractionalMaxPool" else _average(parts, sides, rows, columns)
    ends = [parts.constant(each.astype(output.dtype.numpy), "ends") for each, output in zip(starts, node.outputs[1:], strict=True)]
    return parts.finish(made, *ends)


def _largest(parts: Expansion, *windows: list[range]) -> Value:
    """The first, second, ... row of each window side by side; shorter windows name their last row again."""
    made = parts.node.inputs[0]
    for axis, each in enumerate(windows, start=1):
        taken = [
            parts.make("GatherV2", made, np.array([window[min(at, len(window) - 1)] for window in each], np.int32), np.int32(axis))
            for at in range(max(map(len, each)))
        ]
        made = taken[0]
        for other in taken[1:]:
            made = parts.make("Maximum", made, other)
    return made


def _average(parts: Expansion, sides: Sequence[int], *windows: list[range]) -> Value:
    """Two products with matrices of shares."""
    high, wide, channels = sides
    matrices = []
    for side, each in zip((high, wide), windows, strict=True):
        matrix = np.zeros((len(each), side), np.float32)
        for row, window in enumerate(each):
            matrix[row, list(window)] = 1 / len(window)
        matrices.append(matrix)
    lines = parts.make("Reshape", parts.node.inputs[0], np.asarray([-1, high, wide * channels], np.int32))
    tall = parts.make("BatchMatMulV2", matrices[0], lines)
    points = parts.make("Reshape", tall, np.asarray([-1, wide, channels], np.int32))
    made = parts.make("BatchMatMulV2", matrices[1], points)
    return parts.make("Reshape", made, np.asarray([-1, *map(len, windows), channels], np.int32))


# -- examples ------------------------------------------------------------------------------------------------------


def _examples() -> Iterator[Example]:
    image, seeded = sample(2, 11, 9, 2), {"deterministic": True, "seed": 87654321, "seed2": 7}
    ratio = {"pooling_ratio": [1.0, 1.7, 1.4, 1.0]}
    for pseudo in (True, False):
        for overlapping in (True, False):
            note = f"{'even' if pseudo else 'shuffled'}{', overlapping' if overlapping else ''}"
            yield Example((image,), {**ratio, **seeded, "pseudo_random": pseudo, "overlapping": overlapping}, note=note)
    yield Example((sample(1, 6, 8, 3),), {"pooling_ratio": [1.0, 2.0, 2.0, 1.0]}, note="halves")


_ATTRS: dict[str, Any] = {"pseudo_random": False, "overlapping": False, "deterministic": False, "seed": 0, "seed2": 0}

SPECS = tuple(
    OpSpec(
        name=name,
        attrs=_ATTRS | {"T": DType.FLOAT32, "index_dtype": DType.INT64},
        infer=_infer,
        evaluate=_evaluate,
        expand=_expand,
        examples=_examples,
    )
    for name in ("FractionalMaxPool", "FractionalAvgPool")
)
