"""Which blocks stay float within a budget, on errors whose best choice is known by trying all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tensorferry.errors import OptionError
from tensorferry.quant.budget import Budget, BudgetError, Outcome, group, meet_budget


class Model:
    """Errors that add as independent noise does, sizes that add."""

    def __init__(self, errors, sizes, floor=0.0):
        self.errors, self.sizes, self.floor = np.asarray(errors), np.asarray(sizes), floor
        self.trials = []

    def __call__(self, kept):
        self.trials.append(kept)
        quantised = [block for block in range(len(self.errors)) if block not in kept]
        error = float(np.sqrt(self.floor**2 + np.square(self.errors[quantised]).sum()))
        return Outcome(error, int(self.sizes.sum() - 3 * self.sizes[quantised].sum() // 4))


def random_model(seed, count=8):
    generator = np.random.default_rng(seed)
    return Model(generator.lognormal(-3, 1.2, count), generator.integers(100, 20_000, count) * 4)


def subsets(count):
    return [frozenset(each) for number in range(count + 1) for each in itertools.combinations(range(count), number)]


@pytest.mark.parametrize("seed", range(12))
def test_the_file_is_as_small_as_the_error_allows(seed):
    model = random_model(seed)
    limit = model(frozenset()).error * 0.4
    choice = meet_budget(8, model, Budget(error=limit))
    assert choice.outcome.error <= limit and choice.outcome == model(choice.kept)
    assert choice.outcome.size <= 1.03 * min(model(each).size for each in subsets(8) if model(each).error <= limit)
    assert choice.whole == model(frozenset())
    np.testing.assert_allclose(choice.alone, model.errors)


@pytest.mark.parametrize("seed", range(12))
def test_a_size_is_used_for_what_gains_most(seed):
    model = random_model(seed)
    smallest, largest = model(frozenset()).size, model(frozenset(range(8))).size
    limit = smallest + (largest - smallest) // 3
    choice = meet_budget(8, model, Budget(size=limit))
    assert choice.outcome.size <= limit
    best = min(model(each).error for each in subsets(8) if model(each).size <= limit)
    assert choice.outcome.error <= best * 1.02
    assert choice.outcome.error < choice.whole.error


def test_nothing_is_tried_where_nothing_has_to_stay():
    model = random_model(1)
    choice = meet_budget(8, model, Budget(error=10.0))
    assert (choice.kept, choice.trials, len(model.trials)) == (frozenset(), 1, 1)


def test_everything_stays_float_where_there_is_room():
    model = random_model(1)
    choice = meet_budget(8, model, Budget(size=10**9))
    assert choice.kept == frozenset(range(8)) and choice.outcome.error == 0


def test_the_number_of_trials_is_bounded_and_told():
    model = random_model(2, 60)
    told = []
    choice = meet_budget(60, model, Budget(error=model(frozenset()).error * 0.2, trials=75), told.append)
    assert choice.trials == told[-1] == len(told) <= 75
    assert len(set(model.trials)) == choice.trials
    assert choice.outcome.error <= model(frozenset()).error * 0.2


def test_an_error_that_comes_from_several_blocks_together_is_still_met():
    def attempt(kept):  # two blocks of which either suffices to spoil the result, and neither errs much alone
        quantised = set(range(6)) - kept
        return Outcome(0.5 * len({0, 1} & quantised) ** 2 * (len(quantised) > 3) + 0.01 * len(quantised), 100 + len(kept))

    choice = meet_budget(6, attempt, Budget(error=0.06))
    assert choice.outcome.error <= 0.06


@pytest.mark.parametrize(
    ("budget", "what"),
    [
        (Budget(size=1), "as small as 1 bytes"),
        (Budget(error=0.01), "cannot be kept within 0.01"),
        (Budget(error=0.06, size=30_000), "do not go together"),
    ],
)
def test_what_cannot_be_is_said_with_the_nearest(budget, what):
    model = Model([0.1] * 4, [8000] * 4, floor=0.05)
    with pytest.raises(BudgetError, match=what) as caught:
        meet_budget(4, model, budget)
    assert any(digit in caught.value.why for digit in "0123456789")


def test_error_and_size_together():
    model = Model([0.2, 0.1, 0.1, 0.1], [80_000, 100, 100, 100])
    small = meet_budget(4, model, Budget(error=0.21, size=22_000))  # the first one errs most, but is far too large
    assert small.outcome.error <= 0.21 and small.outcome.size <= 22_000
    assert 0 not in small.kept


def test_blocks_can_be_judged_alone_in_a_quicker_way():
    slow, quick = random_model(3), random_model(3)
    limit = slow(frozenset()).error * 0.5
    slow.trials.clear()
    choice = meet_budget(8, slow, Budget(error=limit), quick=quick)
    assert choice.outcome.error <= limit and choice.outcome == slow(choice.kept)
    assert len(quick.trials) == 8 and choice.trials == len(set(slow.trials)) + 8
    assert frozenset(range(8)) not in slow.trials  # the slowest of all
    assert len(choice.kept) == min(len(each) for each in subsets(8) if slow(each).error <= limit)


@pytest.mark.parametrize("wrong", [{}, {"error": 0.0}, {"error": float("nan")}, {"error": -1.0}, {"size": 0}])
def test_budgets_that_make_no_sense(wrong):
    with pytest.raises(OptionError):
        Budget(**wrong)


@pytest.mark.parametrize(("count", "most"), [(0, 4), (3, 4), (4, 4), (9, 4), (130, 64)])
def test_neighbours_are_grouped(count, most):
    blocks = group(list(range(count)), most)
    assert [place for block in blocks for place in block] == list(range(count))
    assert len(blocks) == min(count, most)
    assert not blocks or max(map(len, blocks)) - min(map(len, blocks)) <= 1
