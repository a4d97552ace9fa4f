"""Mixed precision: which parts of a program stay float so that error or size keep within a budget, by measuring.

Parts are numbered blocks of operators. All that is known of them comes from trials: a set of blocks that stay float goes in, the
error and the size of what is made come out. How a trial is run is for the caller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from tensorferry.errors import FerryError, OptionError

MOST_BLOCKS = 64
"""Neighbouring operators are judged together beyond this: each block costs a trial."""

MOST_TRIALS = 120


@dataclass(frozen=True, slots=True)
class Budget:
    """`error`: most that the result may be away from the float model; `size`: most bytes. At least one of them is given."""

    error: float | None = None
    size: int | None = None
    trials: int = MOST_TRIALS

    def __post_init__(self) -> None:
        if self.error is None and self.size is None:
            raise OptionError("a budget names an error, a size or both")
        if self.error is not None and not (math.isfinite(self.error) and self.error > 0):
            raise OptionError(f"the largest error must lie above 0, not {self.error}")
        if self.size is not None and self.size < 1:
            raise OptionError(f"the largest size must lie above 0 bytes, not {self.size}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one trial. `noise` tells blocks apart by how much they change at all, where the error is too coarse for that."""

    error: float
    size: int
    noise: float | None = None

    @property
    def power(self) -> float:
        """What adds up over independent blocks."""
        return (self.error if self.noise is None else self.noise) ** 2


Attempt = Callable[[frozenset[int]], Outcome]
"""Takes the blocks that stay float."""

Progress = Callable[[int], None]
"""Told how many trials are done."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The blocks that stay float, what that gives, and what it rests on: the error of each block when it alone is quantised."""

    kept: frozenset[int]
    outcome: Outcome
    whole: Outcome
    """With every block quantised."""
    alone: tuple[float, ...]
    trials: int


class BudgetError(FerryError):
    """No choice of blocks keeps within the budget."""


@dataclass(slots=True)
class _Search:
    """Trials that were made, each once."""

    attempt: Attempt
    budget: Budget
    progress: Progress | None
    known: dict[frozenset[int], Outcome] = field(default_factory=dict)
    made: int = 0

    def __call__(self, kept: Iterable[int]) -> Outcome:
        blocks = frozenset(kept)
        if blocks not in self.known:
            self.known[blocks] = self.apart(self.attempt, blocks)
        return self.known[blocks]

    def apart(self, attempt: Attempt, blocks: frozenset[int]) -> Outcome:
        """A trial of another kind, which counts."""
        self.made += 1
        if self.progress is not None:
            self.progress(self.made)
        return attempt(blocks)

    @property
    def left(self) -> int:
        return self.budget.trials - self.made

    def accurate(self, kept: Iterable[int]) -> bool:
        return self.budget.error is None or self(kept).error <= self.budget.error

    def small(self, kept: Iterable[int]) -> bool:
        return self.budget.size is None or self(kept).size <= self.budget.size


def meet_budget(
    count: int, attempt: Attempt, budget: Budget, progress: Progress | None = None, quick: Attempt | None = None
) -> Choice:
    """Choose among `count` blocks. Raises BudgetError with the nearest that was found.

    First each block is quantised alone. With an error to keep, the choice with the smallest file is looked for, else the one that
    errs least within the size. What is chosen has itself been measured. `quick` stands for `attempt` where each block is judged
    alone, if sparing the others is slow; then the fewest blocks are looked for, whatever their size.
    """
    search = _Search(attempt, budget, progress)
    everything = frozenset(range(count))
    whole = search(())
    if budget.size is not None and whole.size > budget.size:
        raise BudgetError(
            f"the file cannot be made as small as {budget.size} bytes",
            why=f"with all that can be quantised it has {whole.size}",
            remedy="ask for fewer bits (--quantize), or allow more bytes",
        )
    if budget.error is not None and whole.error <= budget.error:
        return Choice(frozenset(), whole, whole, (), search.made)
    if quick is None:
        plain = search(everything)
        alone = [search(everything - {block}) for block in range(count)]
        parts = [_Part(each.power, max(plain.size - each.size, 1)) for each in alone]
    else:
        alone = [search.apart(quick, everything - {block}) for block in range(count)]
        parts = [_Part(each.power, 1) for each in alone]
    kept = _most_that_fit(search, parts) if budget.error is None else _smallest_that_does(search, parts)
    return Choice(kept, search(kept), whole, tuple(each.error for each in alone), search.made)


@dataclass(frozen=True, slots=True)
class _Part:
    """A block: what it loses and what it saves when it is quantised."""

    power: float
    saving: int


_STEPS = 160
"""In eighths of a power of two: how far down the noise that is allowed is looked at."""

_OFF = 1.5
"""Errors of blocks add up as independent ones do, within this factor; where more is expected, no trial is made."""


def _smallest_that_does(search: _Search, parts: Sequence[_Part]) -> frozenset[int]:
    """The blocks with which the error keeps within the budget and the file is small.

    Candidates are tried from the smallest file on, as some errors jump and no order could be relied on; then each block that
    stays float is tried again.
    """
    everything = frozenset(range(len(parts)))
    reserve = search.left // 3
    hopeful = (kept for kept in _candidates(parts) if not _hopeless(search, parts, kept))
    known = search.known.get(everything)
    if known is None or search.accurate(everything):
        kept = next((kept for kept in hopeful if search.left > reserve and search.accurate(kept)), everything)
    else:
        kept = everything
    if not search.accurate(kept):
        raise BudgetError(
            f"the error cannot be kept within {search.budget.error:g}",
            why=f"with as little quantised as can be, it is {search(kept).error:.3g}",
        )
    kept = _prune(search, kept, parts)
    if not search.small(kept):
        raise BudgetError(
            f"an error within {search.budget.error:g} and a size within {search.budget.size} bytes do not go together",
            why=f"keeping the error takes {search(kept).size} bytes",
            remedy="allow more of either",
        )
    return kept


def _candidates(parts: Sequence[_Part]) -> list[frozenset[int]]:
    """Choices of blocks that stay float, by size: the noisiest, those noisiest for their size, all but what fits in some noise."""
    everything = frozenset(range(len(parts)))
    total = sum(part.power for part in parts)
    noisiest = sorted(everything, key=lambda block: (-parts[block].power, block))
    worth = sorted(everything, key=lambda block: (-parts[block].power / parts[block].saving, block))
    found = {frozenset(order[:number]) for order in (noisiest, worth) for number in range(1, len(parts))}
    knapsack = [(part.saving, part.power) for part in parts]
    found |= {everything - _fill(knapsack, total * 2 ** (-step / 8)) for step in range(1, _STEPS)}
    return sorted(found - {frozenset()}, key=lambda kept: (sum(parts[block].saving for block in kept), sorted(kept)))


def _hopeless(search: _Search, parts: Sequence[_Part], kept: frozenset[int]) -> bool:
    """Whether far more than the budget is to be expected. A measure of one's own need not follow the noise."""
    if search.budget.error is None or search(()).noise is not None:
        return False
    power = sum(part.power for block, part in enumerate(parts) if block not in kept)
    return power > (search.budget.error * _OFF) ** 2


def _prune(search: _Search, kept: frozenset[int], parts: Sequence[_Part]) -> frozenset[int]:
    """Quantise again whichever block the error does not hang on, those that save most first."""
    for block in sorted(kept, key=lambda block: (-parts[block].saving, block)):
        if search.left <= 0:
            break
        if search.accurate(kept - {block}):
            kept -= {block}
    return kept


def _most_that_fit(search: _Search, parts: Sequence[_Part]) -> frozenset[int]:
    """The blocks that gain most together, were errors independent; then others that fit. Of all trials, the best that fits."""
    assert search.budget.size is not None
    kept = sorted(_fill([(part.power, part.saving) for part in parts], search.budget.size - search(()).size))
    while kept and not search.small(kept):  # sizes add up but for the padding between buffers
        kept.remove(min(kept, key=lambda block: parts[block].power))
    for block in sorted(range(len(parts)), key=lambda block: (-parts[block].power / parts[block].saving, block)):
        if search.left <= 0:
            break
        if block not in kept and search.small([*kept, block]):
            kept.append(block)
    fitting = [blocks for blocks in search.known if search.small(blocks)]
    return min(fitting, key=lambda blocks: (search(blocks).error, len(blocks), sorted(blocks)))


_UNITS = 2048
"""Parts that room is divided into when blocks are fitted into it."""


def _fill(parts: Sequence[tuple[float, float]], room: float) -> set[int]:
    """The knapsack problem, of (gain, cost): those whose costs, rounded up to units, fit into `room`, and whose gains are most."""
    if room <= 0:
        return set()
    best = np.zeros(_UNITS + 1)
    taken = np.zeros((len(parts), _UNITS + 1), bool)
    needed = [math.ceil(min(cost / room, 2.0) * _UNITS) for _gain, cost in parts]
    for number, (gain, _cost) in enumerate(parts):
        if needed[number] <= _UNITS:
            with_it = best[: _UNITS + 1 - needed[number]] + gain
            rest = best[needed[number] :]
            taken[number, needed[number] :] = with_it > rest
            best[needed[number] :] = np.maximum(with_it, rest)
    chosen, left = set(), _UNITS
    for number in reversed(range(len(parts))):
        if taken[number, left]:
            chosen.add(number)
            left -= needed[number]
    return chosen


def group(places: Sequence[int], most: int = MOST_BLOCKS) -> list[tuple[int, ...]]:
    """Neighbours together, so that there are at most so many blocks, of nearly equal length."""
    count = min(len(places), most)
    bounds = [index * len(places) // count for index in range(count + 1)] if count else []
    return [tuple(places[start:stop]) for start, stop in pairwise(bounds)]
