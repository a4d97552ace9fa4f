"""Every example of every op: TensorFlow, the numpy reference, inference, LiteRT and TensorFlow.js must agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from op_harness import (
    Case,
    Unknown,
    all_cases,
    as_narrowed,
    assert_close,
    assert_typed,
    build_graph,
    can_express,
    evaluate_graph,
    feeds,
    hide_all,
    hide_batch,
    hide_first,
    hide_rank,
    run_litert,
    run_tensorflow,
    run_tfjs,
    shape_is_fixed,
    size_of,
    target_graph,
)
from tensorferry import ops
from tensorferry.comparison import compare_drawn
from tensorferry.errors import NodeError, UnsupportedError
from tensorferry.ir import Graph
from tensorferry.runtimes import tfjs
from tensorferry.tensor import Array


def assert_agree(case: Case, actual: Sequence[Array], expected: Sequence[Array], tolerance: float) -> None:
    """Close; or, of random numbers, of one kind."""
    if not case.spec.drawn:
        assert_close(actual, expected, tolerance)
        return
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        outcome = compare_drawn("output", other, one)
        assert outcome.passed, outcome.problem


CASES = {case.id: case for case in all_cases()}
every_case = pytest.mark.parametrize("name", CASES)


@cache
def reference(name: str) -> list[Array]:
    pytest.importorskip("tensorflow", reason="TensorFlow, the oracle of the op tests, is not installed")
    return run_tensorflow(CASES[name])


@every_case
def test_evaluation_agrees_with_tensorflow(name: str) -> None:
    case = CASES[name]
    graph, _ = build_graph(case)
    assert_agree(case, evaluate_graph(graph, feeds(case)), reference(name), case.example.tolerance)


@every_case
def test_inference_says_what_evaluation_gives(name: str) -> None:
    case = CASES[name]
    graph, node = build_graph(case)
    outputs = evaluate_graph(graph, feeds(case))
    for value, output in zip(node.outputs, outputs, strict=True):
        assert_typed(value.typed, output, exact=shape_is_fixed(case))


@pytest.mark.parametrize("unknown", [hide_first, hide_all, hide_rank])
@every_case
def test_inference_with_unknown_sizes(name: str, unknown: Unknown) -> None:
    case = CASES[name]
    graph, _ = build_graph(case)
    outputs = evaluate_graph(graph, feeds(case))
    _, node = build_graph(case, unknown)
    for value, output in zip(node.outputs, outputs, strict=True):
        assert_typed(value.typed, output, exact=False)


# -- targets -------------------------------------------------------------------------------------------------------

LITE_CASES = [name for name, case in CASES.items() if can_express(case, "tflite")]
JS_CASES = [name for name, case in CASES.items() if can_express(case, "tfjs")]


@pytest.fixture(scope="module")
def sessions() -> Iterator[Mapping[str, tfjs.Session]]:
    """One JavaScript process for each backend and all models. What WebAssembly lacks runs in plain JavaScript."""
    missing = tfjs.available()
    if missing:
        pytest.skip(f"TensorFlow.js cannot be run: {missing}")
    with tfjs.Session(backend="auto") as wasm, tfjs.Session(backend="cpu") as cpu:
        yield {"wasm": wasm, "cpu": cpu}


Runner = Callable[[Graph], list[Array]]


def check_target(name: str, target: str, run: Runner, *, pipeline: bool) -> None:
    """The target's outputs are TensorFlow's, or the target declines as the example says (the passes may have found a way)."""
    case = CASES[name]
    graph = target_graph(case, target, pipeline=pipeline)
    refusal = case.example.declines.get(target)
    try:
        outputs = run(graph)
    except UnsupportedError as error:
        assert refusal is not None and refusal in str(error), error
        return
    assert pipeline or refusal is None, f"it is said to be declined for '{refusal}', and was not"
    assert_agree(case, outputs, as_narrowed(graph, reference(name)), max(case.example.tolerance, TARGET_TOLERANCE))


TARGET_TOLERANCE = 5e-6
"""Of the largest value: targets approximate exp, tanh and their like with their own polynomials."""


@pytest.mark.parametrize(("pipeline", "xnnpack"), [(False, True), (True, False)], ids=["bare", "passes"])
@pytest.mark.parametrize("name", LITE_CASES)
def test_litert(name: str, pipeline: bool, xnnpack: bool, tmp_path: Path) -> None:
    """As it is with XNNPACK's kernels, after the passes with LiteRT's own."""
    case = CASES[name]
    path = tmp_path / "model.tflite"
    check_target(name, "tflite", lambda graph: run_litert(case, graph, path, xnnpack=xnnpack), pipeline=pipeline)


@pytest.mark.parametrize(("pipeline", "backend"), [(False, "wasm"), (True, "cpu")], ids=["bare", "passes"])
@pytest.mark.parametrize("name", JS_CASES)
def test_tensorflow_js(name: str, pipeline: bool, backend: str, tmp_path: Path, sessions: Mapping[str, tfjs.Session]) -> None:
    """As it is in WebAssembly, after the passes in plain JavaScript."""
    case = CASES[name]
    check_target(name, "tfjs", lambda graph: run_tfjs(case, graph, tmp_path / "model", sessions[backend]), pipeline=pipeline)


NEEDS_KNOWN_BATCH_ANYWHERE = frozenset(
    {
        "FusedBatchNormV3",
        "CombinedNonMaxSuppression",
        "BlockLSTM",
        "BlockLSTMV2",
        "ConcatOffset",
        "TensorStridedSliceUpdate",
        "StridedSliceGrad",
        "BroadcastGradientArgs",
        "DataFormatVecPermute",
        "UnravelIndex",
        "MirrorPadGrad",
        "Diag",
        "DiagPart",
        "Einsum",
        "MatrixDiagPart",
        "MatrixDiagPartV2",
        "MatrixDiagPartV3",
        "MatrixSetDiag",
        "BandedTriangularSolve",
        "Cholesky",
        "Lu",
        "LogMatrixDeterminant",
        "MatrixDeterminant",
        "MatrixInverse",
        "MatrixSolve",
        "MatrixSolveLs",
        "CTCBeamSearchDecoder",
        "MatrixSquareRoot",
        "SelfAdjointEigV2",
        "Svd",
        "MatrixTriangularSolve",
        "Qr",
        *(f"{back}FFT{axes}" for back in ("", "I") for axes in ("", "2D", "3D")),
    }
)
NEEDS_KNOWN_BATCH = {
    "tflite": NEEDS_KNOWN_BATCH_ANYWHERE | {"BatchMatMulV2", "MatMul"},
    "tfjs": NEEDS_KNOWN_BATCH_ANYWHERE
    | {
        "BatchMatMulV2",
        "MatMul",
        "Lstm",
        "CudnnRNN",
        "CudnnRNNV2",
        "CudnnRNNV3",
        "BroadcastArgs",
        "ReduceJoin",
        "ScatterNd",
    },
}
"""Ops of which some examples are declined when the first size is unknown: statistics of the batch, what is done image by image,
products of batches, sequences of unknown length, transforms of unknown length, diagonals of matrices of unknown size,
arithmetic with shapes of unknown rank, updates in steps, texts scattered."""


def check_unknown_batch(name: str, target: str, run: Runner) -> None:
    """All passes over a graph whose first size is unknown: right, or declined, never wrong."""
    case = CASES[name]
    graph = target_graph(case, target, pipeline=True, unknown=hide_batch(case))
    try:
        outputs = run(graph)
    except UnsupportedError as error:
        assert case.spec.name in NEEDS_KNOWN_BATCH[target] or target in case.example.declines, error
        return
    assert_agree(case, outputs, as_narrowed(graph, reference(name)), max(case.example.tolerance, TARGET_TOLERANCE))


def with_batch(names: list[str]) -> list[str]:
    return [name for name in names if any(array.ndim for array in feeds(CASES[name]).values())]


@pytest.mark.parametrize("name", with_batch(LITE_CASES))
def test_litert_with_an_unknown_batch(name: str, tmp_path: Path) -> None:
    check_unknown_batch(name, "tflite", lambda graph: run_litert(CASES[name], graph, tmp_path / "model.tflite"))


@pytest.mark.parametrize("name", with_batch(JS_CASES))
def test_tensorflow_js_with_an_unknown_batch(name: str, tmp_path: Path, sessions: Mapping[str, tfjs.Session]) -> None:
    check_unknown_batch(name, "tfjs", lambda graph: run_tfjs(CASES[name], graph, tmp_path / "model", sessions["wasm"]))


# -- the examples themselves ---------------------------------------------------------------------------------------


def test_every_op_with_a_lowering_has_an_example() -> None:
    bare = [spec.name for spec in ops.all_specs() if (spec.to_tflite or spec.to_tfjs or spec.expand) and not tuple(spec.examples())]
    assert bare == []


def test_examples_are_small() -> None:
    assert [case.id for case in CASES.values() if size_of(case) > 20_000] == []


def test_examples_name_inputs_and_attributes_that_exist() -> None:
    for case in CASES.values():
        assert all(0 <= index < len(case.example.inputs) for index in case.example.constants), case.id
        assert set(case.example.declines) <= {"tflite", "tfjs"}, case.id


def test_comparison_fails_on_one_percent() -> None:
    expected = np.linspace(-1, 1, 12, dtype=np.float32)
    assert_close([expected.copy()], [expected], 1e-6)
    with pytest.raises(AssertionError, match="off by"):
        assert_close([expected * np.float32(1.01)], [expected], 1e-6)


def test_comparison_fails_on_dtype_shape_count_and_nan() -> None:
    one = np.ones(3, np.float32)
    for wrong in ([one.astype(np.float64)], [one[:2]], [one, one], [np.array([1, np.nan, 1], np.float32)], []):
        with pytest.raises(AssertionError):
            assert_close(wrong, [one], 1e-6)
    with pytest.raises(AssertionError):
        assert_close([np.array([1, 2])], [np.array([1, 3])], 1.0)


@pytest.mark.parametrize(
    ("op", "count"), [("Relu", 3), ("AddV2", 1), ("Conv2D", 4), ("FusedBatchNormV3", 4), ("FusedBatchNormV3", 6)]
)
def test_a_wrong_number_of_inputs_is_an_error_of_the_node(op: str, count: int) -> None:
    graph = Graph("graph")
    vector = graph.constant(np.ones(3, np.float32), "vector")
    attrs = {"strides": (1, 1, 1, 1), "padding": "SAME"} if op == "Conv2D" else {}
    with pytest.raises(NodeError, match=f"it has {count} inputs, the op takes "):
        ops.add(graph, op, [vector] * count, attrs)
