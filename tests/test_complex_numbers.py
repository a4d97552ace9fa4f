"""What each op does with complex numbers: TensorFlow, numpy and both targets, which carry them as pairs of real tensors, agree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from op_harness import (
    Case,
    as_narrowed,
    assert_close,
    build_graph,
    evaluate_graph,
    feeds,
    run_litert,
    run_tensorflow,
    run_tfjs,
    target_graph,
)
from tensorferry import ops
from tensorferry.errors import UnsupportedError
from tensorferry.ir import Graph, Port
from tensorferry.ops.complex_numbers import complex_sample
from tensorferry.ops.spec import Example
from tensorferry.passes.complex_numbers import split_complex
from tensorferry.passes.pipelines import PIPELINES, run, run_pass
from tensorferry.runtimes import tfjs
from tensorferry.tensor import Array, DType
from tensorferry.writers.tfjs import write_tfjs
from tensorferry.writers.tflite import write_tflite

A, B = complex_sample(2, 3), complex_sample(2, 3, seed=5)
ROW = complex_sample(3, seed=3)
HOLES = np.array([[0, 1j, 1], [0, -2, 0]], np.complex64)
AXIS, AXES = np.array(1, np.int32), np.array([0, 1], np.int32)

UNARY = [
    "Neg",
    "Square",
    "Exp",
    "Expm1",
    "Log",
    "Log1p",
    "Sqrt",
    "Rsqrt",
    "Reciprocal",
    "Sin",
    "Cos",
    "Tan",
    "Sinh",
    "Cosh",
    "Tanh",
    "Asinh",
    "Acosh",
    "Atanh",
    "Asin",
    "Acos",
    "Atan",
    "Sigmoid",
    "Sign",
    "OnesLike",
    "ZerosLike",
    "Shape",
    "Size",
    "Rank",
    "Conj",
]
BINARY = [
    "AddV2",
    "Sub",
    "Mul",
    "RealDiv",
    "Pow",
    "SquaredDifference",
    "DivNoNan",
    "MulNoNan",
    "Xdivy",
    "Xlogy",
    "Xlog1py",
    "Equal",
    "NotEqual",
]


def uses() -> Iterator[tuple[str, tuple[Array, ...], dict[str, Any], tuple[int, ...]]]:
    """(op, inputs, attributes, which are constant)."""
    for op in UNARY:
        yield op, (A * 2,), {}, ()
    for op in BINARY:
        yield op, (A, ROW), {}, (1,)
        yield op, (HOLES, np.where(HOLES == 1j, HOLES, abs(B.real) + 1j * B.imag)), {}, ()
    for op in ("Sqrt", "Log", "Sign"):
        yield op, (np.array([-1, 1, -1j, 4, -2 + 1e-3j], np.complex64),), {}, ()
    for target in (DType.FLOAT32, DType.INT32, DType.BOOL, DType.COMPLEX128):
        yield "Cast", (HOLES,), {"DstT": target}, ()
    for source in (np.float32, np.int32, np.bool_):
        yield "Cast", (np.array([[0, 1, 2]], source),), {"DstT": DType.COMPLEX64}, ()
    for op in ("Sum", "Mean", "Prod"):
        yield op, (A, AXIS), {"keep_dims": False}, (1,)
        yield op, (A, AXES), {"keep_dims": True}, (1,)
    for op in ("Cumsum", "Cumprod"):
        yield op, (A, AXIS), {}, (1,)
        yield op, (A, AXIS), {"reverse": True}, (1,)
        yield op, (A, AXIS), {"exclusive": True}, (1,)
    yield "Where", (HOLES,), {}, ()
    yield "Reshape", (A, np.array([3, 2], np.int32)), {}, (1,)
    yield "Transpose", (A, np.array([1, 0], np.int32)), {}, (1,)
    yield "ConcatV2", (A, B, AXIS), {"N": 2}, (2,)
    yield "Pack", (A, B), {"N": 2, "axis": 1}, ()
    yield "Unpack", (A,), {"num": 3, "axis": 1}, ()
    yield "Split", (AXIS, A), {"num_split": 3}, (0,)
    yield "GatherV2", (A, np.array([2, 0], np.int32), AXIS), {}, (1, 2)
    yield "Slice", (A, np.array([0, 1], np.int32), np.array([2, 2], np.int32)), {}, (1, 2)
    yield "Tile", (A, np.array([1, 2], np.int32)), {}, (1,)
    yield "SelectV2", (A.real > 0, A, ROW), {}, ()
    yield "AddN", (A, B), {"N": 2}, ()
    yield "BroadcastTo", (ROW, np.array([2, 3], np.int32)), {}, (1,)
    yield "PadV2", (A, np.array([[1, 0], [0, 2]], np.int32), np.array(2 - 1j, np.complex64)), {}, (1, 2)


USES = {f"{op}-{place}": (op, Example(inputs, attrs, constants)) for place, (op, inputs, attrs, constants) in enumerate(uses())}
TOLERANCE = 1e-5
"""Roots and logarithms of sums lose a few bits beside a kernel of their own."""


@pytest.fixture(scope="module")
def session() -> Iterator[tfjs.Session]:
    missing = tfjs.available()
    if missing:
        pytest.skip(f"TensorFlow.js cannot be run: {missing}")
    with tfjs.Session(backend="auto") as started:
        yield started


@pytest.mark.parametrize("name", USES)
def test_complex_numbers(name: str, tmp_path: Path, session: tfjs.Session) -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow, the oracle of the op tests, is not installed")
    op, example = USES[name]
    spec = ops.find(op)
    if spec is None:
        pytest.skip(f"{op} is not known")
    case = Case(name, spec, example)
    expected = run_tensorflow(case)
    graph, _ = build_graph(case)
    assert_close(evaluate_graph(graph, feeds(case)), expected, TOLERANCE)
    for target in ("tflite", "tfjs"):
        made = target_graph(case, target, pipeline=True)
        try:
            if target == "tflite":
                outputs = run_litert(case, made, tmp_path / "model.tflite")
            else:
                outputs = run_tfjs(case, made, tmp_path / "model", session)
        except UnsupportedError as error:
            raise AssertionError(f"{target}: {error}") from error
        assert_close(outputs, as_narrowed(made, expected), TOLERANCE)


def _rotation() -> Graph:
    """z = x + iy; outputs Re(z * z) and |z|."""
    graph = Graph("rotation")
    for name in ("x", "y"):
        node = ops.add(graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": ("n", 3)}, name=name)
        graph.inputs.append(Port(name, node.output))
    z = ops.add(graph, "Complex", [port.value for port in graph.inputs], name="z").output
    square = ops.add(graph, "Mul", (z, z), name="square").output
    graph.outputs = [
        Port("real", ops.add(graph, "Real", (square,), name="real").output),
        Port("length", ops.add(graph, "ComplexAbs", (z,), name="length").output),
    ]
    return graph


def test_nothing_complex_is_left_inside_a_graph() -> None:
    graph = _rotation()
    x, y = A.real.copy(), A.imag.copy()
    before = evaluate_graph(graph, {"x": x, "y": y})
    assert run_pass(graph, split_complex) == 2  # the product, and the part of it that is asked for
    run(graph, PIPELINES["tflite"])
    assert not any(value.dtype is DType.COMPLEX64 for node in graph.nodes for value in node.outputs)
    assert [port.value.name for port in graph.outputs] == ["real", "length"]
    after = evaluate_graph(graph, {"x": x, "y": y})
    assert_close(after, before, 1e-6)
    assert_close(after[:1], [x * x - y * y], 1e-6)
    assert run_pass(graph, split_complex) == 0


def test_a_complex_value_that_is_an_output_stays_one() -> None:
    graph = _rotation()
    square = graph.node("square").output
    graph.outputs.append(Port("square", square))
    assert run_pass(graph, split_complex) == 2
    assert graph.outputs[-1].value.dtype is DType.COMPLEX64
    assert graph.outputs[-1].value.producer.op == "Complex"
    z = evaluate_graph(graph, {"x": A.real.copy(), "y": A.imag.copy()})
    assert_close(z[-1:], [A * A], 1e-6)


def test_what_has_no_rule_is_refused_and_not_left_to_a_kernel(tmp_path: Path) -> None:
    spec = ops.find("Relu")
    assert spec is not None
    case = Case("Relu", spec, Example((A,)))
    for target, write in (("tflite", write_tflite), ("tfjs", write_tfjs)):
        (tmp_path / target).mkdir()
        path = tmp_path / target / "model.tflite" if target == "tflite" else tmp_path / target
        with pytest.raises(UnsupportedError, match="complex numbers"):
            write(target_graph(case, target, pipeline=True), path)
