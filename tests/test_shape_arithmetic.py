"""Sizes followed from Shape through slicing and packing to Reshape, as Keras and its like write it, with unknown sizes by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from op_harness import evaluate_graph
from tensorferry import ir, ops
from tensorferry.errors import NodeError
from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Port, Shape, Value
from tensorferry.ops.dims import add_dims, divide_dims, merge_dims, multiply_dims, resolve_reshape
from tensorferry.ops.spec import Declined
from tensorferry.passes import pipelines
from tensorferry.passes.narrowing import narrow_types
from tensorferry.runtimes import litert, tfjs
from tensorferry.tensor import DType
from tensorferry.writers.tfjs import write_tfjs
from tensorferry.writers.tflite import write_tflite

Operand = Value | int | Sequence[int]


class Sketch:
    """A graph written down in a few words; plain numbers become int32 constants."""

    def __init__(self, shape: Shape, dtype: DType = DType.FLOAT32) -> None:
        self.graph = Graph("sketch")
        self.x = self.input("x", shape, dtype)

    def input(self, name: str, shape: Shape, dtype: DType = DType.FLOAT32) -> Value:
        value = ops.add(self.graph, "Placeholder", (), {"dtype": dtype, "shape": shape}, name=name).output
        self.graph.inputs.append(Port(name, value))
        return value

    def const(self, elements: Operand, dtype: type[np.generic] = np.int32) -> Value:
        return elements if isinstance(elements, Value) else self.graph.constant(np.asarray(elements, dtype), "c")

    def all(self, op: str, *inputs: Operand, **attrs: Any) -> list[Value]:
        return ops.add(self.graph, op, [self.const(each) for each in inputs], attrs).outputs

    def __call__(self, op: str, *inputs: Operand, **attrs: Any) -> Value:
        return self.all(op, *inputs, **attrs)[0]

    def size(self, axis: int, of: Value | None = None) -> Value:
        """One size, as `tf.shape(x)[axis]` is written."""
        shape = self("Shape", of or self.x)
        return self("StridedSlice", shape, [axis], [axis + 1], [1], shrink_axis_mask=1)

    def finish(self, *outputs: Value) -> Graph:
        self.graph.outputs = [Port(f"y{index}", value) for index, value in enumerate(outputs)]
        ir.verify(self.graph, ops.infer)
        return self.graph


# -- sizes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dims", "product"),
    [((2, 3), 6), (("n", 4), "4*n"), (("b", 2, "a", 3), "6*a*b"), (("4*n", 2), "8*n"), (("?", 2), "?"), (("?", 0), 0), ((), 1)],
)
def test_products_have_one_name(dims: tuple[Dim, ...], product: Dim) -> None:
    assert multiply_dims(dims) == product
    assert multiply_dims(reversed(dims)) == product


@pytest.mark.parametrize(
    ("whole", "parts", "quotient"),
    [
        (24, (2, 3), 4),
        ("12*n", (4,), "3*n"),
        ("12*n", ("n", 2), 6),
        ("m*n", ("n",), "m"),
        ("n*n", ("n",), "n"),
        ("n", (2,), "?"),
        ("n", ("m",), "?"),
        (12, ("n",), "?"),
        ("?", ("?",), "?"),
        (0, (0,), "?"),
    ],
)
def test_quotients_cancel_names(whole: Dim, parts: tuple[Dim, ...], quotient: Dim) -> None:
    assert divide_dims(whole, parts) == quotient


def test_sums_and_agreements() -> None:
    assert (add_dims(2, 3), add_dims("n", 0), add_dims(0, "n"), add_dims("n", 1)) == (5, "n", "n", UNKNOWN_DIM)
    assert (merge_dims("n", 3), merge_dims("?", "n"), merge_dims("m", "n"), merge_dims(2, 2)) == (3, "n", "m", 2)
    with pytest.raises(Declined, match="must be equal"):
        merge_dims(2, 3)


@pytest.mark.parametrize(
    ("shape", "target", "result"),
    [
        ((2, 3, 4), (2, -1), (2, 12)),
        (("n", 4, 4, 8), ("n", -1), ("n", 128)),
        (("n", 4, 4, 8), (-1, 128), ("n", 128)),
        (("n", 4, 4, 8), ("?", 128), ("n", 128)),
        (("n", "h", "w", 3), ("n", -1, 3), ("n", "h*w", 3)),
        (("n", "h*w", 3), ("n", "h", "w", -1), ("n", "h", "w", 3)),
        (("n", "h", "w", 3), (-1,), ("3*h*n*w",)),
        (("n", 6), (-1, 4), ("?", 4)),
        ((None), (-1, 4), ("?", 4)),
        ((4, 6), ("m", 6), (4, 6)),
        ((0, 4), (-1, 0), ("?", 0)),
        (("?", 4), ("?", 2, 2), ("?", 2, 2)),
    ],
)
def test_reshape_resolves_what_cancels(shape: Shape, target: tuple[Dim, ...], result: tuple[Dim, ...]) -> None:
    assert resolve_reshape(shape, target) == result


@pytest.mark.parametrize(
    ("shape", "target", "why"),
    [
        ((2, 3), (4,), "do not fill"),
        ((2, 3), (-1, 4), "cannot be divided"),
        ((2, 3), (-1, -1), "is no shape"),
        ((2, 3), (-2, 3), "is no shape"),
    ],
)
def test_reshape_that_cannot_be(shape: Shape, target: tuple[Dim, ...], why: str) -> None:
    with pytest.raises(Declined, match=why):
        resolve_reshape(shape, target)


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4), data=st.data())
@settings(max_examples=80, deadline=None)
def test_reshape_with_hidden_sizes_never_says_wrong(sizes: list[int], data: st.DataObject) -> None:
    """Any regrouping of a shape's axes, with sizes hidden behind names and one of the target's left out."""
    hidden = [size if data.draw(st.booleans()) else f"n{size}" for size in sizes]
    cuts = sorted(data.draw(st.sets(st.integers(1, max(len(sizes) - 1, 1)))))
    groups = np.split(np.arange(len(sizes)), [cut for cut in cuts if cut < len(sizes)])
    wanted = [int(np.prod([sizes[axis] for axis in group])) for group in groups]
    target: list[Dim] = [multiply_dims(hidden[axis] for axis in group) for group in groups]
    target[data.draw(st.integers(0, len(target) - 1))] = -1
    result = resolve_reshape(tuple(hidden), target)
    assert UNKNOWN_DIM not in result
    for dim, size in zip(result, wanted, strict=True):
        factors = [int(part.lstrip("n")) for part in dim.split("*")] if isinstance(dim, str) else [dim]
        assert int(np.prod(factors)) == size


# -- patterns ------------------------------------------------------------------------------------------------------


def test_flatten_keeps_the_batch() -> None:
    g = Sketch(("n", 4, 4, 8))
    packed = g("Pack", g.size(0), -1)
    assert packed.content == ("n", -1)
    assert g("Reshape", g.x, packed).shape == ("n", 128)


def test_reshape_layer_keeps_the_batch() -> None:
    g = Sketch(("n", 128))
    assert g("Reshape", g.x, g("Pack", g.size(0), 4, 4, 8)).shape == ("n", 4, 4, 8)


def test_shape_of_known_sizes_comes_out_in_numbers() -> None:
    g = Sketch((1, 7, 5, 3))
    pooled = g("Slice", g("Shape", g.x, out_type=DType.INT64), [1], [2])
    assert (pooled.dtype, pooled.content) == (DType.INT64, (7, 5))


def test_contents_through_every_op_that_moves_them() -> None:
    g = Sketch(("n", "h", "w", 3))
    shape = g("Shape", g.x)
    batch = g("StridedSlice", shape, [0], [1], [1])
    assert g("ConcatV2", batch, [-1, 3], 0).content == ("n", -1, 3)
    assert g("Concat", 0, batch, g("GatherV2", shape, [3, 1], 0)).content == ("n", 3, "h")
    assert g("Gather", shape, 2).content == ("w",)
    assert g("ExpandDims", g("Squeeze", batch), 0).content == ("n",)
    assert [value.content for value in g.all("Unpack", shape, num=4)] == [("n",), ("h",), ("w",), (3,)]
    assert [value.content for value in g.all("Split", 0, shape, num_split=2)] == [("n", "h"), ("w", 3)]
    assert g("StridedSlice", shape, [0], [0], [-1], begin_mask=1, end_mask=1).content == (3, "w", "h", "n")
    assert g("StridedSlice", shape, [1], [-1], [1]).content == ("h", "w")
    assert g("Reshape", g("Reshape", batch, g.const([], np.int32)), [1]).content == ("n",)
    assert g("Tile", batch, [3]).content == ("n", "n", "n")
    assert g("Transpose", shape, [0]).content == ("n", "h", "w", 3)


def test_sizes_counted() -> None:
    g = Sketch(("n", "h", 3))
    assert g("Size", g.x).content == ("3*h*n",)
    assert g("Rank", g.x).content == (3,)
    assert g("Fill", g("Shape", g.x), 0).shape == ("n", "h", 3)
    assert g("Fill", [2], 7).content == (7, 7)
    assert g("Range", 0, g.size(1), 1).shape == ("h",)
    assert g("Range", 2, 8, 3).content == (2, 5)
    assert g("OnesLike", g("Shape", g.x)).content == (1, 1, 1)
    assert g("ZerosLike", g.x).content is None
    assert g("BroadcastTo", 5, [3]).content == (5, 5, 5)
    assert g("BroadcastTo", g("Reshape", g.x, [-1, 3]), g("Pack", g("Size", g.x), 3)).shape == ("3*h*n", 3)


def test_two_inputs_with_one_name_are_known_equal() -> None:
    g = Sketch(("n", 4))
    other = g.input("other", ("n", 3))
    joined = g("ConcatV2", g.x, other, 1)
    assert joined.shape == ("n", 7)
    assert g("Reshape", joined, g("Pack", g.size(0, other), 7, 1)).shape == ("n", 7, 1)
    assert g("ConcatV2", g.x, g.x, 0).shape == (UNKNOWN_DIM, 4)


def test_an_unknown_among_known_sizes() -> None:
    g = Sketch(("n", 12))
    computed = g.input("computed", (), DType.INT32)
    packed = g("Pack", computed, 3)
    assert packed.content == (UNKNOWN_DIM, 3)
    assert g("Reshape", g.x, packed).shape == ("4*n", 3)
    assert g("Pack", computed, computed).content is None


def test_an_unknown_rank_stays_unknown() -> None:
    g = Sketch(None)
    assert g("Shape", g.x).shape == (UNKNOWN_DIM,)
    assert g("Rank", g.x).content == (UNKNOWN_DIM,)
    assert g("Reshape", g.x, [-1, 4]).shape == (UNKNOWN_DIM, 4)
    assert g("Reshape", g.x, g("Shape", g.x)).shape is None
    assert g("Transpose", g.x, [1, 0]).shape == (UNKNOWN_DIM, UNKNOWN_DIM)


@pytest.mark.parametrize(
    ("op", "operands", "attrs", "why"),
    [
        ("Reshape", ([5],), {}, "do not fill"),
        ("Squeeze", (), {"squeeze_dims": [1]}, "size 3"),
        ("Squeeze", (), {"squeeze_dims": [7]}, "axis 7 is out of range"),
        ("ExpandDims", (4,), {}, "axis 4 is out of range"),
        ("Transpose", ([0, 0],), {}, "does not permute"),
        ("StridedSlice", ([0], [1], [0]), {}, "stride 0"),
        ("StridedSlice", ([2], [3], [1]), {"shrink_axis_mask": 1}, "index 2 is outside"),
        ("StridedSlice", ([0, 0, 0], [1, 1, 1], [1, 1, 1]), {}, "indexes 3 axes"),
        ("StridedSlice", ([0, 0], [1, 1], [1, 1]), {"ellipsis_mask": 3}, "more than one ellipsis"),
        ("StridedSlice", ([0], [1, 1], [1, 1]), {}, "different lengths"),
        ("Slice", ([1, 0], [2, 3]), {}, "leaves an axis of size 2"),
        ("Slice", ([0, 0], [-2, 3]), {}, "makes no sense"),
        ("Pad", ([[1, 1]],), {}, "1 pairs of paddings are given for 2 axes"),
        ("Pad", ([[1, -1], [0, 0]],), {}, "negative"),
        ("MirrorPad", ([[2, 0], [0, 0]],), {"mode": "REFLECT"}, "cannot mirror 2"),
        ("Unpack", (), {"num": 3}, "must be equal"),
        ("Tile", ([2],), {}, "1 multiples are given for 2 axes"),
        ("BroadcastTo", ([3, 3],), {}, "do not broadcast|does not broadcast"),
        ("TopKV2", (9,), {}, "the 9 largest of 3"),
        ("GatherNd", ([[0, 0, 0]],), {}, "too long"),
    ],
)
def test_nonsense_is_refused_with_the_node(op: str, operands: tuple[Operand, ...], attrs: dict[str, Any], why: str) -> None:
    g = Sketch((2, 3))
    with pytest.raises(NodeError, match=why) as caught:
        g(op, g.x, *operands, **attrs)
    assert caught.value.op == op


@pytest.mark.parametrize(
    ("op", "operands", "attrs", "why"),
    [
        ("Split", (1, [2, 3]), {"num_split": 2}, "cannot be divided"),
        ("ConcatV2", ([1], [[2]], 0), {}, "different ranks"),
        ("ConcatV2", ([[1, 2]], [[3]], 0), {}, "must be equal"),
        ("SplitV", ([1, 2, 3], [1, 1], 0), {"num_split": 2}, "do not make up 3"),
        ("SplitV", ([1, 2, 3], [4, -1], 0), {"num_split": 2}, "do not make up 3"),
        ("SplitV", ([1, 2, 3], [1, 2], 0), {"num_split": 3}, "2 sizes are given for 3 pieces"),
        ("Fill", ([-1], 3), {}, "a size is negative"),
        ("Range", (0, 5, 0), {}, "has no end"),
        ("Range", (0, 5, -1), {}, "do not lead"),
        ("GatherV2", ([1, 2], 2, 0), {}, "index 2 is outside"),
        ("GatherV2", ([[1, 2]], [0], 0), {"batch_dims": 1}, "beyond axis 0"),
    ],
)
def test_nonsense_among_constants_is_refused(op: str, operands: tuple[Operand, ...], attrs: dict[str, Any], why: str) -> None:
    g = Sketch(())
    if op == "Split":
        operands = (0, [1, 2, 3])
    with pytest.raises(NodeError, match=why):
        g(op, *operands, **attrs)


# -- what becomes of it --------------------------------------------------------------------------------------------


def flatten_by_rest() -> Graph:
    g = Sketch(("n", 2, 3, 4))
    return g.finish(g("Reshape", g.x, g("Pack", g.size(0), -1)))


def flatten_by_size() -> Graph:
    g = Sketch(("n", 2, 3, 4))
    return g.finish(g("Reshape", g.x, g("Pack", g.size(0), 24)))


def flatten_by_product() -> Graph:
    """As `tf.reshape(x, [tf.shape(x)[0], tf.reduce_prod(tf.shape(x)[1:])])` of 64-bit sizes."""
    g = Sketch(("n", 2, 3, 4))
    shape = g("Shape", g.x, out_type=DType.INT64)
    rest = g("Prod", g("StridedSlice", shape, [1], [0], [1], end_mask=1), 0, keep_dims=False)
    batch = g("StridedSlice", shape, [0], [1], [1], shrink_axis_mask=1)
    return g.finish(g("Reshape", g.x, g("Pack", batch, rest)))


def rows_of_images() -> Graph:
    """Three unknown sizes: the shape stays computed, in 64 bits, which LiteRT does not take."""
    g = Sketch(("n", "h", "w", 4))
    sizes = g("GatherV2", g("Shape", g.x, out_type=DType.INT64), [0, 2], 0)
    return g.finish(g("Reshape", g.x, g("ConcatV2", sizes, g.const([-1], np.int64), 0)))


def resized_like() -> Graph:
    """A row of zeros below, as high as is missing: everything unknown."""
    g = Sketch(("n", "h", 4))
    below = g("Fill", g("Pack", g.size(0), 1, 4), g.const(0.0, np.float32))
    joined = g("ConcatV2", g.x, below, 1)
    return g.finish(g("StridedSlice", joined, [0, 1], [0, 0], [1, 1], end_mask=3, begin_mask=1))


def new_axes_among_unknown_sizes() -> Graph:
    g = Sketch(("n", "h", 4))
    return g.finish(g("StridedSlice", g.x, [0, 0, 0, 0], [0, 0, 0, 2], [1, 1, 1, 1], ellipsis_mask=1, new_axis_mask=6))


IMAGE = np.random.default_rng(5).standard_normal((3, 2, 3, 4)).astype(np.float32)
ROWS = IMAGE[:, :, 0]

PATTERNS = {
    flatten_by_rest: (IMAGE, IMAGE.reshape(3, 24)),
    flatten_by_size: (IMAGE, IMAGE.reshape(3, 24)),
    flatten_by_product: (IMAGE, IMAGE.reshape(3, 24)),
    rows_of_images: (IMAGE, IMAGE.reshape(3, 3, 8)),
    resized_like: (ROWS, np.concatenate([ROWS, np.zeros((3, 1, 4), np.float32)], 1)[:, 1:]),
    new_axes_among_unknown_sizes: (ROWS, ROWS[..., None, None, :2]),
}
every_pattern = pytest.mark.parametrize("make", PATTERNS, ids=lambda make: make.__name__)


def test_patterns_say_what_numpy_says() -> None:
    for make, (x, expected) in PATTERNS.items():
        np.testing.assert_array_equal(evaluate_graph(make(), {"x": x})[0], expected)


@pytest.mark.parametrize("passes", [False, True], ids=["bare", "passes"])
@every_pattern
def test_patterns_in_litert(make: Callable[[], Graph], passes: bool, tmp_path: Path) -> None:
    graph = make()
    if passes:
        pipelines.prepare(graph)
        pipelines.finish(graph, "tflite")
    x, expected = PATTERNS[make]
    write_tflite(graph, tmp_path / "model.tflite")
    with litert.LiteRtModel(tmp_path / "model.tflite") as model:
        np.testing.assert_array_equal(model.run({"x": x})[graph.outputs[0].name], expected)


@pytest.mark.parametrize("passes", [False, True], ids=["bare", "passes"])
@every_pattern
def test_patterns_in_tensorflow_js(make: Callable[[], Graph], passes: bool, tmp_path: Path) -> None:
    missing = tfjs.available()
    if missing:
        pytest.skip(f"TensorFlow.js cannot be run: {missing}")
    graph = make()
    narrow_types("tfjs")(graph)
    if passes:
        pipelines.prepare(graph)
        pipelines.finish(graph, "tfjs")
    x, expected = PATTERNS[make]
    (tmp_path / "model").mkdir()
    write_tfjs(graph, tmp_path / "model")
    outputs = tfjs.run(tmp_path / "model", {"x": x}).outputs
    np.testing.assert_array_equal(outputs[graph.outputs[0].name], expected)


@pytest.mark.parametrize("make", [flatten_by_rest, flatten_by_size, flatten_by_product], ids=lambda make: make.__name__)
def test_flattening_is_one_operator_after_the_passes(make: Callable[[], Graph]) -> None:
    graph = make()
    pipelines.prepare(graph)
    pipelines.finish(graph, "tflite")
    assert [node.op for node in graph.nodes if node.op not in ("Const", "Placeholder")] == ["Reshape"]
    sizes = graph.outputs[0].value.producer.inputs[1].constant
    assert sizes is not None
    assert sizes.array().tolist() == [-1, 24]
