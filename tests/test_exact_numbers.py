"""Results that must be right to the last bit, where the generic test of ops could not tell: in LiteRT's own runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensorferry import ops
from tensorferry.ir import Graph, Port
from tensorferry.passes.pipelines import finish, prepare
from tensorferry.runtimes import litert
from tensorferry.tensor import DType
from tensorferry.writers.tflite import write_tflite

Numbers = np.ndarray[Any, Any]


def run_pair(op: str, x: Numbers, y: Numbers, path: Path) -> Numbers:
    graph = Graph()
    for name, array in (("x", x), ("y", y)):
        node = ops.add(graph, "Placeholder", (), {"dtype": DType.of(array), "shape": array.shape}, name=name)
        graph.inputs.append(Port(name, node.output))
    result = ops.add(graph, op, [port.value for port in graph.inputs], name="result")
    graph.outputs = [Port("result", result.output)]
    prepare(graph)
    finish(graph, "tflite")
    write_tflite(graph, path)
    with litert.LiteRtModel(path) as model:
        return np.asarray(model.run({"x": x, "y": y})["result"])


LARGE = np.array([2**62 + 12345, -(2**62) - 12345, 2**63 - 1, -(2**63), 2**53 + 1, 7, -7, 0])
DIVISORS = np.array([3, 7, 10**9 + 7, 2**40 - 1, -5, 2, 2, -9])


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("FloorDiv", lambda x, y: x // y),
        ("FloorMod", lambda x, y: x % y),
        ("Div", lambda x, y: abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)),
        ("Mod", lambda x, y: abs(x) % abs(y) * (-1 if x < 0 else 1)),
        ("BitwiseAnd", lambda x, y: x & y),
        ("BitwiseOr", lambda x, y: x | y),
        ("BitwiseXor", lambda x, y: x ^ y),
    ],
)
def test_int64_is_exact_beyond_what_floats_hold(op: str, expected: Any, tmp_path: Path) -> None:
    """Against Python's integers, which have no limit."""
    wanted = [expected(int(x), int(y)) for x, y in zip(LARGE, DIVISORS, strict=True)]
    np.testing.assert_array_equal(run_pair(op, LARGE, DIVISORS, tmp_path / "model.tflite"), np.array(wanted))


@pytest.mark.parametrize(("op", "sign"), [("LeftShift", 1), ("RightShift", -1)])
def test_int64_shifts_are_exact(op: str, sign: int, tmp_path: Path) -> None:
    amounts = np.array([1, 2, 30, 63, 40, 62, 5, 3])
    wanted = [int(x) << int(n) if sign > 0 else int(x) >> int(n) for x, n in zip(LARGE, amounts, strict=True)]
    wrapped = [(each + 2**63) % 2**64 - 2**63 for each in wanted]
    np.testing.assert_array_equal(run_pair(op, LARGE, amounts, tmp_path / "model.tflite"), np.array(wrapped))


@pytest.mark.parametrize(
    "op", ["Maximum", "Minimum", "Less", "GreaterEqual", "Equal", "AddV2", "Mul", "FloorDiv", "FloorMod", "RightShift"]
)
def test_uint64_is_exact_in_its_upper_half(op: str, tmp_path: Path) -> None:
    x = np.array([2**63 + 5, 2**64 - 1, 3, 2**63 - 1, 2**63, 2**64 - 1, 2**64 - 59, 2**63 + 12345, 7], np.uint64)
    y = np.array([2**63 + 6, 1, 2**64 - 2, 2**63, 2**63, 3, 2**32 + 15, 10**9 + 7, 2**40], np.uint64)
    if op == "RightShift":
        y %= 64
    compute = {
        "AddV2": np.add,
        "Mul": np.multiply,
        "GreaterEqual": np.greater_equal,
        "FloorDiv": np.floor_divide,
        "FloorMod": np.mod,
        "RightShift": np.right_shift,
    }.get(op) or getattr(np, op.lower())
    np.testing.assert_array_equal(run_pair(op, x, y, tmp_path / "model.tflite"), compute(x, y))


def test_neighbours_are_one_step_away(tmp_path: Path) -> None:
    x = np.array([1, 1, -2.5, 0.1, 0.1, 3e10, 2, -1e-20, 16777216, 0.99999994], np.float32)
    y = np.array([2, 0, 5, -1, 1, -3e10, 2, 1, 0, 2], np.float32)
    result = run_pair("NextAfter", x, y, tmp_path / "model.tflite")
    np.testing.assert_array_equal(result.view(np.int32), np.nextafter(x, y).view(np.int32))
