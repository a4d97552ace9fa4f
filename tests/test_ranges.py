"""Ranges from values that come in pieces, against the same computed from all values at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorferry.errors import OptionError
from tensorferry.quant.clipping import least_divergence, least_square_error
from tensorferry.quant.histogram import Histogram, NotFinite
from tensorferry.quant.maths import asymmetric_parameters, dequantize, grid_of, quantize
from tensorferry.quant.ranges import Channels, Distribution, Extremes, Method, make_observer
from tensorferry.tensor import DType


def histogram_of(*pieces, bins=4096):
    histogram = Histogram(bins)
    for piece in pieces:
        histogram.add(np.asarray(piece))
    return histogram


def normal(count=50_000, scale=1.0, seed=0):
    return (np.random.default_rng(seed).normal(size=count) * scale).astype(np.float32)


PIECES = st.lists(
    st.lists(
        st.floats(-(2.0**120), 2.0**120, width=32) | st.just(0.0) | st.floats(-4, 4, width=32),
        min_size=0,
        max_size=40,
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(PIECES, st.randoms())
def test_a_histogram_does_not_depend_on_the_order_and_counts_as_numpy_does(pieces, order):
    arrays = [np.asarray(piece, np.float32) for piece in pieces]
    histogram = histogram_of(*arrays, bins=64)
    order.shuffle(arrays)
    other = histogram_of(*arrays, bins=64)
    values = np.concatenate(arrays).astype(np.float64)
    edges, counts = histogram.cut()
    np.testing.assert_array_equal(edges, other.cut()[0])
    np.testing.assert_array_equal(counts, other.cut()[1])
    assert histogram.total == values.size
    assert histogram.zeros == np.count_nonzero(values == 0)
    assert counts.sum() == np.count_nonzero(values)
    if counts.size:
        wanted = np.histogram(values[values != 0], np.append(edges[:-1], np.inf))[0]
        np.testing.assert_array_equal(counts, wanted)
        span = max(values.max(), 0) - min(values.min(), 0)
        assert counts.size <= 64 and span / histogram.width > 64 / 2 - 2  # no coarser than needed


def test_the_smallest_and_largest_numbers_have_bins():
    facts = np.finfo(np.float32)
    tiny = histogram_of(np.asarray([facts.smallest_subnormal, -facts.smallest_subnormal], np.float32))
    assert tiny.cut()[1].sum() == 2 and tiny.width > 0
    both = histogram_of([np.float32(facts.smallest_subnormal)], np.asarray([facts.max / 2, facts.min / 2], np.float32))
    assert both.cut()[1].sum() == 3 and both.width > 1e30


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, np.finfo(np.float32).max])
def test_values_that_are_no_numbers_are_refused_and_not_counted(wrong):
    for observer in (Distribution(Method("mse")), Extremes(), Channels()):
        observer.add(np.ones((2, 2), np.float32))
        with pytest.raises(NotFinite):
            observer.add(np.asarray([[1, wrong]], np.float32))
    assert histogram_of(np.ones(3)).total == 3
    histogram = histogram_of(np.ones(3))
    with pytest.raises(NotFinite):
        histogram.add(np.asarray([2.0, wrong]))
    assert (histogram.total, histogram.highest) == (3, 1)


@pytest.mark.parametrize("values", [normal(), np.maximum(normal(), 0), -np.abs(normal()) - 5, normal() ** 3, np.full(10, 7.5)])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.5, 0.75, 0.9999, 1.0])
def test_quantiles_lie_within_a_bin_of_numpys(values, share):
    histogram = histogram_of(*np.array_split(values, 7))
    below, above = (np.quantile(values, share, method=method) for method in ("lower", "higher"))
    assert below - histogram.width <= histogram.quantile(share) <= above + histogram.width


def square_error(values, low, high, steps_of=DType.INT8):
    grid = grid_of(steps_of)
    scale, zero = asymmetric_parameters(low, high, grid)
    real = dequantize(quantize(values, scale, zero, grid), scale, zero).astype(np.float64)
    return float(np.square(real - values).mean())


HEAVY = np.concatenate([normal(), normal(50, 12, 1)])


@pytest.mark.parametrize(
    "values", [normal(), np.maximum(HEAVY, 0), HEAVY, np.minimum(normal() ** 3, 2), -np.maximum(HEAVY, 0)], ids=range(5)
)
def test_the_range_of_least_square_error_is_the_one_that_trying_finds(values):
    low, high = least_square_error(histogram_of(*np.array_split(values, 5)), 255)
    whole = (min(values.min(), 0), max(values.max(), 0))
    tried = [
        (square_error(values, whole[0] * left, whole[1] * right), left, right)
        for left in np.linspace(0.05, 1, 24)
        for right in np.linspace(0.05, 1, 24)
        if whole[0] * left < whole[1] * right
    ]
    best = min(tried)[0]
    assert square_error(values, low, high) <= best * 1.02
    assert square_error(values, low, high) <= square_error(values, *whole) * 1.001
    if values is HEAVY:
        assert square_error(values, low, high) < 0.95 * square_error(values, *whole)  # the search did find something


def test_a_symmetric_range_of_least_square_error_is_the_one_that_trying_finds():
    low, high = least_square_error(histogram_of(HEAVY), 254, symmetric=True)
    assert low == -high

    def error(reach):
        step = reach / 127
        return np.square(np.clip(np.rint(HEAVY / step), -127, 127) * step - HEAVY, dtype=np.float64).mean()

    most = np.abs(HEAVY).max()
    assert error(high) <= min(error(most * part) for part in np.linspace(0.05, 1, 96)) * 1.02


def divergence(values, low, high, levels, bins=8192):
    """By the book, on a histogram of numpy's, over the whole span."""
    counts, edges = np.histogram(values[values != 0], bins, (min(values.min(), 0), max(values.max(), 0)))
    start, stop = np.searchsorted(edges, [low, high])
    start, stop = min(start, bins - 1), max(min(stop, bins), start + 1)
    inside = counts[start:stop].astype(float)
    groups = np.array_split(inside, levels)
    made = np.concatenate([np.where(group > 0, group.sum() / max(np.count_nonzero(group), 1), 0) for group in groups])
    inside[0] += counts[:start].sum()
    inside[-1] += counts[stop:].sum()
    wanted, made = (np.maximum(each / each.sum(), 1e-4 / each.size) for each in (inside, made))
    wanted, made = wanted / wanted.sum(), made / made.sum()
    return float(np.sum(wanted * np.log(wanted / made)))


@pytest.mark.parametrize("values", [np.maximum(HEAVY, 0), -np.maximum(HEAVY, 0), HEAVY], ids=["above", "below", "both"])
def test_the_range_of_least_divergence_is_about_the_one_that_trying_finds(values):
    low, high = least_divergence(histogram_of(values), 255)
    whole = (min(values.min(), 0), max(values.max(), 0))
    tried = [divergence(values, whole[0] * part, whole[1] * part, 255) for part in np.linspace(0.05, 1, 48)]
    assert divergence(values, low, high, 255) <= min(tried) * 1.2 + 1e-4
    assert high - low < 0.9 * (whole[1] - whole[0])


def test_a_uniform_distribution_is_not_cut():
    values = np.linspace(-1, 1, 100_001, dtype=np.float32)
    for search in (least_square_error, least_divergence):
        for symmetric in (False, True):
            low, high = search(histogram_of(values), 255, symmetric=symmetric)
            assert low == pytest.approx(-1, abs=0.02) and high == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("search", [least_square_error, least_divergence])
@pytest.mark.parametrize("values", [np.zeros(5), np.full(5, 3.0), np.full(5, -3.0), np.asarray([0.0, 1e-20])])
@pytest.mark.parametrize("symmetric", [False, True])
def test_few_distinct_values_have_a_range(search, values, symmetric):
    low, high = search(histogram_of(values.astype(np.float32)), 255, symmetric=symmetric)
    most = np.abs(values.astype(np.float32)).max()
    assert (low, high) == (
        (-most, most) if symmetric else (min(values.astype(np.float32).min(), 0), max(values.astype(np.float32).max(), 0))
    )


def test_sixteen_bits_are_not_cut_by_entropy_and_hardly_by_error():
    histogram = histogram_of(HEAVY)
    assert least_divergence(histogram, 65534, symmetric=True)[1] == np.abs(HEAVY).max()
    assert least_square_error(histogram, 65534, symmetric=True)[1] > 0.95 * np.abs(HEAVY).max()


@pytest.mark.parametrize("name", ["minmax", "percentile", "entropy", "mse"])
def test_each_method_gives_a_range_within_the_values(name):
    observer = make_observer(Method(name, percentile=99))
    for piece in np.array_split(HEAVY, 9):
        observer.add(piece)
    low, high = observer.range()
    assert HEAVY.min() <= low < -1 and 1 < high <= HEAVY.max()
    if name == "minmax":
        assert (low, high) == (HEAVY.min(), HEAVY.max())
        with_histogram = Distribution(Method(name))
        with_histogram.add(HEAVY)
        assert with_histogram.range() == (low, high)
    if name == "percentile":
        assert (low, high) == pytest.approx(np.quantile(HEAVY, [0.01, 0.99]), abs=0.05)
    empty = make_observer(Method(name))
    empty.add(np.zeros((0, 3), np.float32))
    with pytest.raises(ValueError, match="no value"):
        empty.range()


def test_channels_have_the_moments_of_all_samples_at_once():
    samples = [normal(60 * 5, 0.1, seed).reshape(1, 12, 5, 5) + np.float32(1000) for seed in range(7)]
    channels = Channels()
    for sample in samples:
        channels.add(sample)
    rows = np.concatenate([sample.reshape(-1, 5) for sample in samples]).astype(np.float64)
    assert channels.count == len(rows)
    np.testing.assert_allclose(channels.mean, rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(channels.variance, rows.var(0), rtol=1e-9)
    np.testing.assert_array_equal(channels.low, rows.min(0))
    np.testing.assert_array_equal(channels.high, rows.max(0))
    with pytest.raises(ValueError, match="last axis"):
        channels.add(np.zeros((1, 4), np.float32))


@pytest.mark.parametrize("wrong", [{"name": "minmaks"}, {"percentile": 50}, {"percentile": 100.1}, {"steps": 0}])
def test_a_method_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(OptionError, match="unknown way" if "name" in wrong else "percentile|divided") as caught:
        Method(**wrong)
    assert ("did you mean 'minmax'" in str(caught.value)) == ("name" in wrong)
