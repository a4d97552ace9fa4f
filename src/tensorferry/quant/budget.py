"""Mixed precision: which parts of a program stay float so that error or size keep within a budget, by measuring.

Parts are numbered blocks of operators. All that is known of them comes from trials: a set of blocks that stay float goes in, the
error and the size of what is made come out. How a trial is run is for the caller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

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
    """Of one trial."""

    error: float
    size: int


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

    def __call__(self, kept: Iterable[int]) -> Outcome:
        blocks = frozenset(kept)
        if blocks not in self.known:
            self.known[blocks] = self.attempt(blocks)
            if self.progress is not None:
                self.progress(len(self.known))
        return self.known[blocks]

    @property
    def left(self) -> int:
        return self.budget.trials - len(self.known)

    def accurate(self, kept: Iterable[int]) -> bool:
        return self.budget.error is None or self(kept).error <= self.budget.error

    def small(self, kept: Iterable[int]) -> bool:
        return self.budget.size is None or self(kept).size <= self.budget.size


def meet_budget(count: int, attempt: Attempt, budget: Budget, progress: Progress | None = None) -> Choice:
    """Choose among `count` blocks. Raises BudgetError with the nearest that was found.

    First each block is quantised alone. Those that err most stay float, as few of them as do (bisection, then each is tried
    again); with a size and no error, those that gain most for a byte, as many as fit. What is chosen has itself been measured.
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
        return Choice(frozenset(), whole, whole, (), len(search.known))
    plain = search(everything)
    alone = [search(everything - {block}) for block in range(count)]
    gains = [(each.error**2, max(plain.size - each.size, 1)) for each in alone]
    by_error = sorted(range(count), key=lambda block: (-gains[block][0], block))
    by_worth = sorted(range(count), key=lambda block: (-gains[block][0] / gains[block][1], block))
    kept = _most_that_fit(search, by_worth, gains) if budget.error is None else _fewest_that_do(search, by_error, by_worth)
    return Choice(kept, search(kept), whole, tuple(each.error for each in alone), len(search.known))


def _fewest_that_do(search: _Search, by_error: Sequence[int], by_worth: Sequence[int]) -> frozenset[int]:
    """Few blocks with which the error keeps within the budget; if they are too large, those that gain most for a byte."""
    if not search.accurate(by_error):
        raise BudgetError(
            f"the error cannot be kept within {search.budget.error:g}",
            why=f"with nothing quantised that could be, it is {search(by_error).error:.3g}",
        )
    for order in (by_error, by_worth):
        kept = _prune(search, list(order[: _least_prefix(search, order)]))
        if search.small(kept):
            return frozenset(kept)
    raise BudgetError(
        f"an error within {search.budget.error:g} and a size within {search.budget.size} bytes do not go together",
        why=f"keeping the error takes {search(kept).size} bytes",
        remedy="allow more of either",
    )


def _prune(search: _Search, kept: list[int]) -> list[int]:
    """Quantise again whichever block the error does not hang on, those that err least first."""
    for block in reversed(list(kept)):
        if search.left <= 0:
            break
        fewer = [each for each in kept if each != block]
        if search.accurate(fewer):
            kept = fewer
    return kept


def _most_that_fit(search: _Search, by_worth: Sequence[int], gains: Sequence[tuple[float, int]]) -> frozenset[int]:
    """The blocks that gain most together, were errors independent; then others that fit. Of all trials, the best that fits."""
    assert search.budget.size is not None
    kept = sorted(_fill(gains, search.budget.size - search(()).size))
    while kept and not search.small(kept):  # sizes add up but for the padding between buffers
        kept.remove(min(kept, key=lambda block: gains[block][0]))
    for block in by_worth:
        if search.left <= 0:
            break
        if block not in kept and search.small([*kept, block]):
            kept.append(block)
    fitting = [blocks for blocks in search.known if search.small(blocks)]
    return min(fitting, key=lambda blocks: (search(blocks).error, len(blocks), sorted(blocks)))


_UNITS = 2048
"""Parts that a size is divided into when blocks are fitted into it."""


def _fill(gains: Sequence[tuple[float, int]], room: int) -> set[int]:
    """The knapsack problem: blocks whose sizes, rounded up to units, fit into `room`, and whose gains are most."""
    unit = max(1, -(-room // _UNITS))
    best: list[tuple[float, frozenset[int]]] = [(0.0, frozenset())] * (room // unit + 1)
    for block, (gain, size) in enumerate(gains):
        needed = -(-size // unit)
        for used in range(len(best) - 1, needed - 1, -1):
            before, blocks = best[used - needed]
            if before + gain > best[used][0]:
                best[used] = before + gain, blocks | {block}
    return set(best[-1][1])


def _least_prefix(search: _Search, order: Sequence[int]) -> int:
    """How many from the beginning have to stay float, by bisection: all of them do."""
    low, high = 0, len(order)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if search.accurate(order[:middle]) else (middle, high)
    return high


def group(places: Sequence[int], most: int = MOST_BLOCKS) -> list[tuple[int, ...]]:
    """Neighbours together, so that there are at most so many blocks, of nearly equal length."""
    count = min(len(places), most)
    bounds = [index * len(places) // count for index in range(count + 1)] if count else []
    return [tuple(places[start:stop]) for start, stop in pairwise(bounds)]
