"""The measures themselves: they must see what is wrong."""

import math

import numpy as np
import pytest

from tensorferry.comparison import Allowance, compare_arrays, compare_outputs, compare_rounded


def test_equal_arrays_have_no_error():
    array = np.linspace(-3, 5, 24, dtype=np.float32).reshape(2, 3, 4)
    error = compare_arrays("x", array, array.copy(), 1e-6)
    assert error.passed
    assert (error.max_absolute, error.mean_absolute, error.relative) == (0, 0, 0)
    assert error.cosine == pytest.approx(1)


def test_one_percent_off_fails():
    array = np.linspace(-3, 5, 24, dtype=np.float32)
    error = compare_arrays("x", array, array * np.float32(1.01), 1e-3)
    assert not error.passed
    assert error.relative == pytest.approx(0.01, rel=1e-3)


def test_error_is_relative_to_the_largest_reference_value():
    reference = np.array([100.0, 0.0, 1.0])
    error = compare_arrays("x", reference, reference + np.array([0, 0.5, 0]), 1e-2)
    assert error.max_absolute == 0.5
    assert error.mean_absolute == pytest.approx(0.5 / 3)
    assert error.relative == 0.005
    assert error.passed


def test_a_zero_reference_is_compared_absolutely():
    error = compare_arrays("x", np.zeros(4), np.full(4, 0.25), 0.1)
    assert error.relative == 0.25
    assert not error.passed


def test_cosine_of_opposite_directions():
    array = np.array([1.0, -2.0])
    assert compare_arrays("x", array, -array, 0.5).cosine == pytest.approx(-1)


@pytest.mark.parametrize("other", [[np.inf, 1.0], [-np.inf, 2.0], [np.nan, 2.0], [5.0, 2.0]])
def test_infinities_and_nan_must_stand_at_the_same_places(other):
    error = compare_arrays("x", np.array([np.inf, 1.0 if other[1] == 2.0 else 2.0]), np.array(other), 1e-3)
    assert not error.passed


def test_equal_infinities_and_nan_pass():
    array = np.array([np.inf, -np.inf, np.nan, 1.0])
    assert compare_arrays("x", array, array.copy(), 1e-6).passed


@pytest.mark.parametrize(
    ("reference", "result"),
    [
        (np.array([1, 2, 3]), np.array([1, 2, 4])),
        (np.array([True, False]), np.array([True, True])),
        (np.array([b"a", b"b"], dtype=object), np.array([b"a", b"c"], dtype=object)),
        (np.array([2**62 + 1]), np.array([2**62])),
        (np.array([1.0, 2.0]), np.array([1, 3])),
    ],
)
def test_exact_types_must_be_equal(reference, result):
    assert not compare_arrays("x", reference, result, 0.5).passed
    assert compare_arrays("x", reference, reference.copy(), 0.5).passed


def test_narrowed_integers_and_decoded_strings_are_equal():
    assert compare_arrays("x", np.array([1, 2], np.int64), np.array([1, 2], np.int32), 0.1).passed
    assert compare_arrays("x", np.array([b"a"], object), np.array(["a"], object), 0.1).passed


def test_a_missing_output_and_a_wrong_shape_are_errors():
    reference = {"a": np.zeros((2, 3)), "b": np.zeros(2)}
    missing, wrong = compare_outputs(reference, {"b": np.zeros((2, 1))}, 0.1)
    assert (missing.name, missing.passed, "does not return" in missing.problem) == ("a", False, True)
    assert (wrong.passed, wrong.problem) == (False, "its shape is [2, 1], the source gives [2]")
    assert math.isinf(wrong.relative)


def test_empty_arrays_are_equal():
    assert compare_arrays("x", np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), 1e-6).passed


def test_denormal_numbers_count_as_zero():
    assert compare_arrays("x", np.array([1e-40], np.float32), np.array([0], np.float32), 1e-6).passed


def test_half_precision_is_compared_by_its_own_rounding():
    reference = np.array([1.0, 2.0], np.float16)
    assert compare_arrays("x", reference, np.array([1.001, 2.0], np.float32), 1e-6).passed
    assert not compare_arrays("x", reference, np.array([1.05, 2.0], np.float32), 1e-6).passed


def test_uint32_is_compared_with_its_bits_where_a_target_has_no_unsigned_numbers() -> None:
    reference = np.array([2**32 - 1, 5], np.uint32)
    assert compare_arrays("y", reference, np.array([-1, 5], np.int32), 0.0).passed
    assert not compare_arrays("y", reference, np.array([-2, 5], np.int32), 0.0).passed


def test_whole_numbers_that_stand_for_real_ones_are_held_to_what_a_mode_may_cost():
    """Places may be others where values nearly tie; stored values may not be anything."""
    allowed = Allowance(0.15, 0.9, "coarse", indices=True)
    stored = np.arange(-100, 100, dtype=np.int8)
    for result, passed in ((stored + np.int8(3), True), (-stored, False), (np.zeros_like(stored), False)):
        error = compare_rounded(compare_arrays("y", stored, result, 1e-4), stored, result, allowed)
        assert error.passed is passed
    places = stored.astype(np.int64)
    error = compare_rounded(compare_arrays("y", places, -places, 1e-4), places, -places, allowed)
    assert error.passed
    assert "whole numbers are others" in error.problem
