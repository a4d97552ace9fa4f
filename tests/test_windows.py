"""What the examples of the ops are too small or too polite to show: blocks, sizes with names, and attributes that make no sense."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorferry import ops
from tensorferry.errors import FerryError
from tensorferry.ir import Graph, Node, Port, Shape
from tensorferry.ops import conv_maths, windows
from tensorferry.ops.spec import Declined
from tensorferry.tensor import Array, DType
from tensorferry.writers.tfjs_topology import Topology


def _node(op: str, *inputs: Array | Shape, **attrs: Any) -> Node:
    """A node over constants (arrays) and inputs (shapes)."""
    graph = Graph()
    values = [
        graph.constant(each, "c")
        if isinstance(each, np.ndarray)
        else ops.add(graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": each}).output
        for each in inputs
    ]
    return ops.add(graph, op, values, attrs)


def _random(*shape: int) -> Array:
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


SAME = {"strides": [1, 1, 1, 1], "padding": "SAME"}


@pytest.mark.parametrize("op", ["Conv2D", "DepthwiseConv2dNative", "MaxPool", "AvgPool"])
def test_blocks_give_what_the_whole_gives(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image, weights = _random(2, 23, 17, 6), _random(3, 5, 6, 2)
    inputs = (image, weights) if "Conv" in op else (image,)
    attrs = SAME | ({} if "Conv" in op else {"ksize": [1, 3, 5, 1]})
    node = _node(op, image.shape, *inputs[1:], **attrs)
    (whole,) = ops.evaluate(node, inputs)
    monkeypatch.setattr(windows.row_blocks, "__defaults__", (5 * 17 * 6 * 4,))
    monkeypatch.setattr(conv_maths, "PATCH_BYTES", 4 * 17 * 90 * 4)
    monkeypatch.setattr(conv_maths, "TILED_FILTER_BYTES", 0)
    (pieces,) = ops.evaluate(node, inputs)
    np.testing.assert_allclose(pieces, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        (SAME, ("n", "h", "w", 5)),
        (SAME | {"strides": [1, 2, 1, 1]}, ("n", "?", "w", 5)),
        ({"strides": [1, 1, 1, 1], "padding": "VALID"}, ("n", "?", "?", 5)),
        (
            {"strides": [1, 1, 1, 1], "padding": "EXPLICIT", "explicit_paddings": [0, 0, 1, 1, 0, 2, 0, 0]},
            ("n", "h", "w", 5),
        ),
    ],
)
def test_a_size_keeps_its_name_where_it_stays_the_same(attrs: dict[str, Any], expected: Shape) -> None:
    assert _node("Conv2D", ("n", "h", "w", 4), _random(3, 3, 4, 5), **attrs).output.shape == expected


@pytest.mark.parametrize(
    ("attrs", "reason"),
    [
        (SAME | {"strides": [1, 0, 1, 1]}, "strides must be"),
        (SAME | {"strides": [1, 1]}, "strides must be"),
        (SAME | {"strides": [2, 1, 1, 1]}, "batch or channels"),
        (SAME | {"dilations": [1, 1, 1, 3]}, "batch or channels"),
        (SAME | {"padding": "FULL"}, "padding FULL"),
        (SAME | {"padding": "EXPLICIT"}, "explicit_paddings"),
        (SAME | {"padding": "EXPLICIT", "explicit_paddings": [1, 0, 0, 0, 0, 0, 0, 0]}, "explicit_paddings"),
        (SAME | {"padding": "EXPLICIT", "explicit_paddings": [0, 0, -1, 0, 0, 0, 0, 0]}, "explicit_paddings"),
        (SAME | {"data_format": "NHCW"}, "data format NHCW"),
        (SAME | {"padding": "VALID", "dilations": [1, 9, 9, 1]}, "does not fit"),
    ],
)
def test_attributes_that_make_no_sense_are_refused_by_name(attrs: dict[str, Any], reason: str) -> None:
    with pytest.raises(FerryError) as caught:
        _node("Conv2D", (1, 8, 8, 4), _random(3, 3, 4, 5), **attrs)
    assert reason in str(caught.value)
    assert "Conv2D" in str(caught.value)


@pytest.mark.parametrize(
    ("op", "shape", "weights", "reason"),
    [
        ("Conv2D", (1, 8, 8, 4), (3, 3, 3, 5), "4 channels do not fit"),
        ("Conv2D", (1, 8, 4), (3, 3, 4, 5), "rank 3"),
        ("Conv2D", (1, 8, 8, 4), (3, 4, 5), "filter has rank 3"),
        ("DepthwiseConv2dNative", (1, 8, 8, 4), (3, 3, 3, 1), "its filter is for 3"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(op: str, shape: Shape, weights: tuple[int, ...], reason: str) -> None:
    with pytest.raises(FerryError, match=reason):
        _node(op, shape, np.zeros(weights, np.float32), **SAME)


def test_padding_that_depends_on_the_size_is_not_called_same() -> None:
    """At stride 2, SAME pads 8 elements behind only and 7 on both sides: one before and one behind is SAME for 7."""
    attrs = {"strides": [1, 2, 2, 1], "padding": "EXPLICIT", "explicit_paddings": [0, 0, 1, 1, 1, 1, 0, 0]}
    named = {
        size: ops.find("Conv2D").to_tflite(_node("Conv2D", (1, size, size, 4), _random(3, 3, 4, 5), **attrs))[-1].options["padding"]  # type: ignore[union-attr,misc]
        for size in (7, 8, "n")
    }
    assert named == {7: "SAME", 8: "VALID", "n": "VALID"}


def test_half_precision_is_computed_in_single() -> None:
    image, weights = _random(1, 5, 5, 64).astype(np.float16), _random(3, 3, 64, 2).astype(np.float16)
    node = Node("conv", "Conv2D", (), dict(ops.canonical("Conv2D", SAME)[1]), ())
    result = conv_maths.evaluate_conv(node, image, weights)
    exact = conv_maths.evaluate_conv(node, image.astype(np.float64), weights.astype(np.float64))
    assert result.dtype == np.float16
    np.testing.assert_allclose(result, exact, rtol=6e-4, atol=1e-2)


def test_statistics_nobody_reads_leave_no_nodes() -> None:
    graph = Graph()
    image = ops.add(graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": (1, 4, 4, 2)}, name="x")
    numbers = ([1, 2], [3, 4], [5, 6], [7, 8])
    vectors = [graph.constant(np.asarray(each, np.float32), f"v{index}") for index, each in enumerate(numbers)]
    norm = ops.add(graph, "FusedBatchNormV3", (image.output, *vectors), {"is_training": False}, name="norm")
    graph.inputs, graph.outputs = [Port("x", image.output)], [Port("y", norm.outputs[0])]
    made = [node["op"] for node in Topology(graph).nodes]
    assert sorted(made) == ["Const"] * 4 + ["FusedBatchNormV3", "Identity", "Placeholder"]


def test_crossed_batches_are_declined_for_tensorflow_js() -> None:
    lower = ops.find("BatchMatMulV2").to_tfjs  # type: ignore[union-attr]
    assert lower is not None
    with pytest.raises(Declined, match="equal sizes"):
        lower(_node("BatchMatMulV2", (2, 1, 3, 5), (4, 5, 2)))
    assert [record.op for record in lower(_node("BatchMatMulV2", (2, 3, 5), (5, 2)))] == ["BatchMatMulV2"]


def test_nearest_neighbours_are_taken_where_tensorflow_takes_them() -> None:
    """Positions in float32: at 1/3 of 3 elements the product rounds up to a whole number where float64 stays below."""
    resize = ops.find("ResizeNearestNeighbor")
    assert resize is not None and resize.to_tfjs is not None
    differing = [
        (before, after)
        for before in range(1, 60)
        for after in range(1, 60)
        if len(resize.to_tfjs(_node("ResizeNearestNeighbor", (1, before, 1, 1), np.asarray([after, 1], np.int32)))) == 2
    ]
    assert differing, "float32 and float64 never differ, and the gathers are dead code"
    before, after = differing[0]
    node = _node("ResizeNearestNeighbor", (1, before, 1, 1), np.asarray([after, 1], np.int32))
    rows = resize.to_tfjs(node)[0].inputs[1]
    image = np.arange(before, dtype=np.float32).reshape(1, before, 1, 1)
    (expected,) = ops.evaluate(node, (image, np.asarray([after, 1], np.int32)))
    np.testing.assert_array_equal(rows.array(), expected.reshape(-1))  # type: ignore[union-attr]
