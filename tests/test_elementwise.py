"""Shape arithmetic through elementwise ops and reductions, operator versions, and what is declined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tensorferry import ops
from tensorferry.errors import NodeError
from tensorferry.ir import Dim, Graph, Node, Typed, Value
from tensorferry.ops.spec import Declined
from tensorferry.tensor import DType


def vector(graph: Graph, content: Sequence[Dim] | int, dtype: DType = DType.INT32) -> Value:
    """A value that holds these sizes, as far as they are known."""
    scalar = isinstance(content, int)
    held = (content,) if scalar else tuple(content)
    typed = Typed(dtype, () if scalar else (len(held),), held)
    return graph.add("Placeholder", (), {"dtype": dtype, "shape": typed.shape}, typed=[typed], name="sizes").output


@pytest.mark.parametrize(
    ("op", "one", "other", "expected"),
    [
        ("AddV2", ("n", 4), (0, 3), ("n", 7)),
        ("AddV2", ("n", 4), 1, ("?", 5)),
        ("Sub", ("n", 4), ("n", 1), (0, 3)),
        ("Sub", ("?", "n"), ("?", 0), ("?", "n")),
        ("Mul", ("n", 4), (1, 3), ("n", 12)),
        ("Mul", ("n", 4), 2, ("2*n", 8)),
        ("Mul", ("n", 4), (0, -1), (0, -4)),
        ("Mul", ("n",), (-1,), ("?",)),
        ("FloorDiv", ("n", 7, "n"), (1, 2, 2), ("n", 3, "?")),
        ("FloorDiv", ("4*n", -7, 5), ("n", 2, 0), (4, -4, "?")),
        ("FloorMod", (7, -7, "n"), (4, 4, 4), (3, 1, "?")),
        ("Div", ("n", -7), (1, 2), ("n", -3)),
        ("Maximum", ("n", 4, "n"), ("n", 9, 1), ("n", 9, "?")),
        ("Minimum", ("n", 4), ("m", 9), ("?", 4)),
        ("AddV2", (2**31 - 1,), (1,), ("?",)),
    ],
)
def test_sizes_are_followed(op: str, one: Any, other: Any, expected: tuple[Dim, ...]) -> None:
    graph = Graph()
    result = ops.add(graph, op, [vector(graph, one), vector(graph, other)]).output
    assert result.content == expected
    assert result.shape == (len(expected),)


def test_folded_numbers_are_the_evaluated_ones() -> None:
    one, other = np.array([7, -7, 8, 0, 5], np.int32), np.array([2, 2, -3, 4, 5], np.int32)
    for op in ("AddV2", "Sub", "Mul", "FloorDiv", "FloorMod", "Div", "Maximum", "Minimum"):
        graph = Graph()
        node = ops.add(graph, op, [graph.constant(one, "one"), graph.constant(other, "other")])
        assert node.output.content == tuple(ops.evaluate(node, [one, other])[0].tolist()), op


def test_lengths_that_do_not_fit_are_an_error() -> None:
    graph = Graph()
    with pytest.raises(NodeError, match="do not broadcast") as caught:
        ops.add(graph, "AddV2", [vector(graph, (1, 2)), vector(graph, (1, 2, 3))], name="total")
    assert caught.value.node == "total"


def test_operands_of_two_types_are_an_error() -> None:
    graph = Graph()
    for op in ("AddV2", "Less"):
        with pytest.raises(NodeError, match="int32 and int64"):
            ops.add(graph, op, [vector(graph, (1,)), vector(graph, (1,), DType.INT64)])


@pytest.mark.parametrize(
    ("op", "sizes", "expected"),
    [
        ("Prod", ("n", 4), ("?",)),
        ("Prod", ("n", 1), ("n",)),
        ("Prod", (2, 3, 4), (24,)),
        ("Sum", (2, 3, 4), (9,)),
        ("Sum", ("n", 0), ("?",)),
        ("Max", (2, 30, 4), (30,)),
    ],
)
def test_sizes_are_reduced(op: str, sizes: tuple[Dim, ...], expected: tuple[Dim, ...]) -> None:
    graph = Graph()
    axes = graph.constant(np.array([0], np.int32), "axes")
    result = ops.add(graph, op, [vector(graph, sizes), axes]).output
    assert result.content == expected
    assert result.shape == ()


def test_a_cast_keeps_sizes_between_integer_types_only() -> None:
    graph = Graph()
    sizes = vector(graph, ("n", 2**40), DType.INT64)
    assert ops.add(graph, "Cast", [sizes], {"DstT": DType.INT64}).output.content == ("n", 2**40)
    assert ops.add(graph, "Cast", [sizes], {"DstT": DType.INT32}).output.content == ("n", "?")
    assert ops.add(graph, "Cast", [sizes], {"DstT": DType.FLOAT32}).output.content is None


def make(op: str, *arrays: np.ndarray[Any, Any], **attrs: Any) -> Node:
    graph = Graph()
    values = [
        ops.add(graph, "Placeholder", (), {"dtype": DType.of(array), "shape": array.shape}, name="x").output for array in arrays
    ]
    return ops.add(graph, op, values, attrs)


def zeros(dtype: str, *shape: int) -> np.ndarray[Any, Any]:
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("op", "arrays", "expected"),
    [
        ("AddV2", (zeros("float32", 2), zeros("float32", 2)), ("ADD", 1)),
        ("AddV2", (zeros("int64", 2), zeros("int64", 2)), ("ADD", 4)),
        ("AddV2", (zeros("float32", 1, 2, 1, 1, 3), zeros("float32", 3)), ("ADD", 1)),
        ("Sub", (zeros("float32", 1, 2, 1, 1, 3), zeros("float32", 3)), ("SUB", 3)),
        ("Sub", (zeros("float32", 1, 2, 1, 1, 3), zeros("float32", 1, 2, 1, 1, 3)), ("SUB", 1)),
        ("Sub", (zeros("float32", 2, 1, 1, 3), zeros("float32", 3)), ("SUB", 1)),
        ("Mul", (zeros("int64", 2), zeros("int64", 2)), ("MUL", 5)),
        ("RealDiv", (zeros("float32", 1, 2, 1, 1, 3), zeros("float32", 3)), ("DIV", 2)),
        ("Maximum", (zeros("float32", 1, 2, 1, 1, 3), zeros("float32", 3)), ("MAXIMUM", 3)),
        ("Minimum", (zeros("int8", 2), zeros("int8", 2)), ("MINIMUM", 2)),
        ("FloorDiv", (zeros("int8", 2), zeros("int8", 2)), ("FLOOR_DIV", 3)),
        ("FloorDiv", (zeros("int32", 2), zeros("int32", 2)), ("FLOOR_DIV", 1)),
        ("Abs", (zeros("int32", 2),), ("ABS", 5)),
        ("Cast", (zeros("int32", 2),), ("CAST", 1)),
        ("Cast", (zeros("int8", 2),), ("CAST", 3)),
        ("Cast", (zeros("float16", 2),), ("CAST", 5)),
        ("Select", (zeros("bool", 2), zeros("float32", 2), zeros("float32", 2)), ("SELECT", 1)),
        ("Select", (zeros("bool", 2), zeros("float32", 2, 1, 1, 1, 1), zeros("float32", 2, 1, 1, 1, 1)), ("SELECT", 3)),
    ],
)
def test_the_lowest_operator_version_is_used(op: str, arrays: tuple[np.ndarray[Any, Any], ...], expected: tuple[str, int]) -> None:
    spec = ops.find(op)
    assert spec is not None and spec.to_tflite is not None
    (operator,) = spec.to_tflite(make(op, *arrays))
    assert (operator.name, operator.version) == expected


@pytest.mark.parametrize(
    ("op", "arrays", "why"),
    [
        ("AddV2", (zeros("float64", 2), zeros("float64", 2)), "ADD does not take float64"),
        ("Sub", (zeros("int16", 2), zeros("int16", 2)), "SUB does not take int16"),
        ("Exp", (zeros("float16", 2),), "EXP does not take float16"),
        ("Mul", (zeros("float32", 1, 1, 1, 1, 1, 1, 2), zeros("float32", 2)), "at most 6 dimensions"),
        ("Cast", (zeros("uint64", 2),), "CAST does not know uint64"),
    ],
)
def test_what_tensorflow_lite_does_not_take_is_declined(op: str, arrays: tuple[np.ndarray[Any, Any], ...], why: str) -> None:
    spec = ops.find(op)
    assert spec is not None and spec.to_tflite is not None
    with pytest.raises(Declined, match=why):
        spec.to_tflite(make(op, *arrays))


def test_an_axis_out_of_range_is_an_error() -> None:
    graph = Graph()
    x = ops.add(graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": (2, 3)}).output
    for op in ("Sum", "ArgMax"):
        with pytest.raises(NodeError, match="axis 2 is out of range"):
            ops.add(graph, op, [x, graph.constant(np.array(2, np.int32), "axis")])


def test_bias_of_another_length_is_an_error() -> None:
    with pytest.raises(NodeError, match="sizes 3 and 4 must be equal"):
        make("BiasAdd", zeros("float32", 1, 3), zeros("float32", 4))
    with pytest.raises(NodeError, match="at least two dimensions"):
        make("BiasAdd", zeros("float32", 3), zeros("float32", 3))


def test_bfloat16_is_rounded_to_even_and_widened_exactly() -> None:
    values = np.array([1.0, 1.00390625, 1.01171875, -3.14159, np.inf, np.nan, 3.4e38], np.float32)
    down = make("Cast", values, DstT=DType.BFLOAT16)
    (bits,) = ops.evaluate(down, [values])
    expected = np.array([1.0, 1.0, 1.015625, -3.140625, np.inf, np.nan, np.inf], np.float32)
    node = Node("up", "Cast", [down.output], {"DstT": DType.FLOAT32}, [Typed(DType.FLOAT32, (7,))])
    np.testing.assert_array_equal(ops.evaluate(node, [bits])[0], expected)


def test_reductions_of_nothing() -> None:
    axes = np.array([0], np.int32)
    empty = zeros("float32", 0, 2)
    for op, expected in (("Sum", 0), ("Prod", 1), ("Max", -np.inf), ("Min", np.inf), ("Mean", np.nan)):
        (result,) = ops.evaluate(make(op, empty, axes), [empty, axes])
        np.testing.assert_array_equal(result, np.full(2, expected, np.float32), err_msg=op)
