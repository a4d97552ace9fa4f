"""Mixed precision: a plan in which some operators stay float, so that error or size keep within a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from tensorferry.program import Program
from tensorferry.quant.applying import apply_plan
from tensorferry.quant.budget import MOST_BLOCKS, Budget, Choice, Outcome, Progress, group, meet_budget
from tensorferry.quant.plan import OperatorPlan, Plan
from tensorferry.quant.scheme import Scheme
from tensorferry.quant.spec import RULES, Bond
from tensorferry.tensor import Array

MOST_SAMPLES = 8
"""Of those to calibrate with, as many are run in each trial."""

_MOST_NOISE = 1e6

Decide = Callable[[Scheme], Plan]
Judge = Callable[[Plan], Outcome]
"""Makes the file that a plan stands for, runs it, and compares it with the float one."""

Outputs = Mapping[str, Array]
Metric = Callable[[Sequence[Outputs], Sequence[Outputs]], float]
"""How far a model's outputs lie from the float model's, sample by sample; 0: not at all."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that can be run: its bytes, and a function from inputs to outputs, both by public name."""

    size: int
    run: Callable[[Outputs], Outputs]


Load = Callable[[Program], AbstractContextManager[Loaded]]


@dataclass(slots=True)
class Trials:
    """The judge: writes what a plan makes of a program, runs it on a few samples, compares with the float program's outputs.

    `corrected` gives the float program with the constants that a plan's codes ask for; None: as it is.
    """

    program: Program
    load: Load
    samples: Sequence[Outputs]
    metric: Metric
    corrected: Callable[[Plan], Program] | None = None
    _reference: list[Outputs] = field(default_factory=list)

    def __call__(self, plan: Plan) -> Outcome:
        if not self._reference:
            self._reference = self._run(self.program)[1]
        source = self.program if self.corrected is None else self.corrected(plan)
        size, outputs = self._run(apply_plan(source, plan))
        error = float(self.metric(self._reference, outputs))
        noise = None if self.metric is relative_error else min(relative_error(self._reference, outputs), _MOST_NOISE)
        return Outcome(float("inf") if np.isnan(error) else error, size, noise)

    def _run(self, program: Program) -> tuple[int, list[Outputs]]:
        with self.load(program) as loaded:
            return loaded.size, [{name: np.array(each) for name, each in loaded.run(one).items()} for one in self.samples]


@dataclass(frozen=True, slots=True)
class Mixture:
    """What was chosen, and what it rests on."""

    choice: Choice
    blocks: tuple[tuple[str, ...], ...]
    spared: Mapping[str, str]
    """Names of operators that stay float, and why: for `Scheme.spared`."""

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the operators that stay float for the budget's sake."""
        return tuple(name for block in sorted(self.choice.kept) for name in self.blocks[block])


def mix(decide: Decide, scheme: Scheme, judge: Judge, budget: Budget, progress: Progress | None = None) -> Mixture:
    """Find by trials which operators are spared. BudgetError where no choice does.

    Operators that only move numbers about follow those around them, and are not chosen.
    """
    names = [each.name for each in decide(scheme).operators if _counts(each)]
    blocks = [tuple(names[place] for place in block) for block in group(range(len(names)), min(MOST_BLOCKS, budget.trials // 2))]

    def attempt(kept: frozenset[int], wide: bool = scheme.spared_wide) -> Outcome:
        spared = {name: "a trial" for block in kept for name in blocks[block]}
        return judge(decide(replace(scheme, spared=dict(scheme.spared) | spared, spared_wide=wide)))

    quick = partial(attempt, wide=False) if scheme.spared_wide else None  # LiteRT's kernels in 16 bits are far slower than in float
    choice = meet_budget(len(blocks), attempt, budget, progress, quick)
    why = {name: _explain(choice, block) for block in choice.kept for name in blocks[block]}
    return Mixture(choice, tuple(blocks), dict(scheme.spared) | why)


def widen(narrow: Plan, wide: Plan, spared: Mapping[str, str]) -> Plan:
    """The plan in 8 bits with some operators as the plan in 16 has them; those without a kernel for that stay as they are."""
    entries = {(each.subgraph, each.place): each for each in wide.operators if each.name in spared and each.computes_whole}
    operators = []
    for each in narrow.operators:
        found = entries.get((each.subgraph, each.place))
        operators.append(each if found is None or each.removed else replace(found, why=f"16 bits: {spared[each.name]}"))
    return replace(narrow, operators=tuple(operators))


def _counts(entry: OperatorPlan) -> bool:
    """Whether it computes in fewer bits, or with weights of fewer bits."""
    if not entry.changed or entry.removed:
        return False
    rule = RULES.get(entry.operator)
    return rule is None or not entry.computes_whole or (rule.bond is Bond.NONE and not rule.whole_outputs)


def _explain(choice: Choice, block: int) -> str:
    return f"it alone moves the result by {choice.alone[block]:.3g}"


def tell_mixture(mixture: Mixture, budget: Budget, samples: int, instead: str) -> str:
    """What was chosen, in a sentence; `instead` tells what became of the operators that could not be as all are."""
    choice, kept = mixture.choice, mixture.kept
    error = f"error {choice.outcome.error:.3g}" + (f" (at most {budget.error:g})" if budget.error is not None else "")
    size = f"{choice.outcome.size} bytes" + (f" (at most {budget.size})" if budget.size is not None else "")
    total = sum(map(len, mixture.blocks))
    shown = ", ".join(kept[:8]) + (f" and {len(kept) - 8} more" if len(kept) > 8 else "")
    stay = (
        f"{len(kept)} of {total} operators {instead} for the budget ({shown})" if kept else f"all {total} operators are quantised"
    )
    before = f"; with all quantised, error {choice.whole.error:.3g} and {choice.whole.size} bytes" if kept else ""
    many = f"{choice.trials} trial{'s' if choice.trials != 1 else ''} on {samples} sample{'s' if samples != 1 else ''}"
    return f"{stay}: {error}, {size}{before}; {many}"


def relative_error(reference: Sequence[Outputs], outputs: Sequence[Outputs]) -> float:
    """Of the worst output: root of the summed squared differences by the root of the summed squares, over all samples.

    Of whole numbers and truths: the share that differs.
    """
    return max((_error_of(name, reference, outputs) for name in reference[0]), default=0.0)


def _error_of(name: str, reference: Sequence[Outputs], outputs: Sequence[Outputs]) -> float:
    pairs = [(np.asarray(one[name]), np.asarray(other[name])) for one, other in zip(reference, outputs, strict=True)]
    if any(one.shape != other.shape for one, other in pairs):
        return float("inf")
    if pairs[0][0].dtype.kind not in "fc":
        count = sum(one.size for one, _ in pairs)
        return sum(int(np.count_nonzero(one != other)) for one, other in pairs) / count if count else 0.0
    apart = sum(float(np.sum(np.square(np.abs(other - one, dtype=np.float64)))) for one, other in _finite(pairs))
    whole = sum(float(np.sum(np.square(np.abs(one, dtype=np.float64)))) for one, _ in _finite(pairs))
    broken = any(not np.array_equal(np.isfinite(one), np.isfinite(other)) for one, other in pairs)
    if broken or (apart and not whole):
        return float("inf")
    return float(np.sqrt(apart / whole)) if whole else 0.0


def _finite(pairs: Sequence[tuple[Array, Array]]) -> list[tuple[Array, Array]]:
    return [(one[both], other[both]) for one, other in pairs for both in [np.isfinite(one) & np.isfinite(other)]]
