"""Eigenvalues and singular values of larger matrices, and of those that make it hard: equal, far apart, none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from op_harness import Case, run_litert, target_graph
from tensorferry import ops
from tensorferry.errors import UnsupportedError
from tensorferry.ops.spec import Example


def run(op: str, matrix: np.ndarray, folder: Path, **attrs: Any) -> list[np.ndarray]:
    spec = ops.find(op)
    assert spec is not None
    case = Case(op, spec, Example((matrix,), attrs))
    return run_litert(case, target_graph(case, "tflite", pipeline=True), folder / "model.tflite")


def matrix(*shape: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("size", [24, 33])
def test_larger_symmetric_matrices(size: int, tmp_path: Path) -> None:
    half = matrix(size, size)
    x = half + half.T
    values, vectors = run("SelfAdjointEigV2", x, tmp_path, compute_v=True)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(x.astype(np.float64)), atol=2e-5 * np.abs(values).max())
    np.testing.assert_allclose(vectors * values @ vectors.T, x, atol=5e-5 * np.abs(x).max())
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(size), atol=2e-5)


def test_equal_eigenvalues(tmp_path: Path) -> None:
    turned, _ = np.linalg.qr(matrix(6, 6))
    x = (turned * np.array([2, 2, 2, -1, -1, 5], np.float32) @ turned.T).astype(np.float32)
    values, vectors = run("SelfAdjointEigV2", x, tmp_path, compute_v=True)
    np.testing.assert_allclose(values, [-1, -1, 2, 2, 2, 5], atol=1e-5)
    np.testing.assert_allclose(vectors * values @ vectors.T, x, atol=1e-5)


def test_singular_values_far_apart_stay_exact(tmp_path: Path) -> None:
    """Through the square of the matrix the small ones would be lost: 1e-5 squared is nothing beside 1."""
    (left, _), (right, _) = (np.linalg.qr(matrix(size, size, seed=size).astype(np.float64)) for size in (20, 9))
    expected = np.logspace(0, -5, 9)
    x = (left[:, :9] * expected @ right).astype(np.float32)
    values, u, v = run("Svd", x, tmp_path, compute_uv=True, full_matrices=False)
    np.testing.assert_allclose(values, np.linalg.svd(x.astype(np.float64), compute_uv=False), rtol=0.01, atol=2e-7)
    np.testing.assert_allclose(u * values @ v.T, x, atol=1e-6)


def test_columns_that_are_nothing(tmp_path: Path) -> None:
    x = np.outer(matrix(7), matrix(4, seed=1)).astype(np.float32)
    values, u, v = run("Svd", x, tmp_path, compute_uv=True, full_matrices=False)
    np.testing.assert_allclose(values[1:], 0, atol=1e-5)
    np.testing.assert_allclose(u * values @ v.T, x, atol=1e-5)
    assert all(np.isfinite(each).all() for each in (u, v))


def test_vectors_beyond_the_singular_values_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError) as refused:
        run("Svd", matrix(4, 3), tmp_path, compute_uv=True, full_matrices=True)
    assert "vectors beyond its singular values" in str(refused.value)


def test_the_graph_does_not_grow_with_the_matrix() -> None:
    counts = []
    for size in (8, 32):
        spec = ops.find("SelfAdjointEigV2")
        assert spec is not None
        case = Case("case", spec, Example((matrix(size, size),), {"compute_v": True}))
        counts.append(len(target_graph(case, "tflite", pipeline=True).nodes))
    assert counts[0] == counts[1]
