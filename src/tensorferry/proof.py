"""Verification as a whole: which inputs, within what memory, against which reference; one Check a target."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tensorferry import check
from tensorferry.check import Check, Reference, Status
from tensorferry.comparison import Allowance
from tensorferry.errors import FerryError, OptionError, SourceError
from tensorferry.ir import Graph, Value
from tensorferry.options import Options
from tensorferry.rereading import NAME, compare_weights, evaluate_again
from tensorferry.sampling import UNKNOWN_RANK, choose_shapes, infer_over, load_inputs, sample_inputs
from tensorferry.tensor import Array, Tensor

CONSTANT_COPIES = 3
"""Times the constants are held: the file in its runtime, the runtime's packed copy, the reference's pages."""

LAYER_COPIES = 4
"""Times the largest layer's operands are held: numpy's, with its scratch, and the runtime's, which keeps some for later."""


@dataclass(slots=True)
class Prover:
    """Verifies the targets of one source graph; the reference is computed once, when it is first needed."""

    graph: Graph
    options: Options
    signature: str | None = None
    """Of the target, where it has several."""
    sample: Mapping[str, Array] | None = None
    """Inputs to prove it on where the options name none."""
    reach: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Ends of the numbers that inputs take; those that are made up stay within."""
    _reference: Reference | None = field(default=None, init=False)
    _obstacle: str = field(default="", init=False)  # why there can be no reference

    def check(self, kind: str, path: Path, allowance: Allowance | None = None) -> Check:
        """Verify one target; `allowance` is for one that is quantised.

        A missing runtime, a source that cannot be evaluated or too small a budget make it unverified.
        """
        if kind == "tflite" and self.graph.siblings and self.signature is None:
            family = (self.graph, *self.graph.siblings)
            return check.join(
                {each.signature: Prover(each, self.options, each.signature).check(kind, path, allowance) for each in family}
            )
        missing = check.runtime_of(kind).available()
        if missing:
            return check.skipped(missing, self.options.tolerance)
        if self._reference is None and not self._obstacle:
            self._compute()
        if self._reference is None:
            return check.skipped(self._obstacle, self.options.tolerance)
        reference = replace(self._reference, allowance=None if self.options.tolerance_given else allowance)
        outcome = check.check_target(kind, path, reference, self.options.tolerance)
        return self._check_own_weights(path, reference, outcome) if kind == "tfjs" and allowance is not None else outcome

    def _check_own_weights(self, path: Path, reference: Reference, outcome: Check) -> Check:
        """What is allowed for coarse weights hides other errors. So what the file computes is held, closely, to what its own
        weights give in numpy."""
        graph, inputs = reference.graph, reference.inputs
        try:
            outputs = check.call_twice(graph.states, inputs, lambda feeds: evaluate_again(path, feeds))
        except FerryError as error:
            return replace(outcome, note=f"its own weights could not be evaluated: {error.what}")
        own = check.check_target("tfjs", path, replace(reference, outputs=outputs, allowance=None), self.options.tolerance)
        if own.status == "failed":
            worst = max(own.outputs, key=lambda each: each.relative, default=None)
            told = own.reason or (f"output '{worst.name}' is off by {worst.relative:.2g}" if worst else "")
            return replace(own, reference="its own weights, in numpy", reason=f"it does not compute what its weights give: {told}")
        return replace(outcome, note=f"what its own weights give in numpy, within {own.worst:.1e}")

    def _compute(self) -> None:
        """On the inputs that are given or that fit the graph; where a rank is open, on a vector, if the graph can be run on one."""
        try:
            self._compute_on(None)
        except OptionError:
            open_rank = any(port.value.shape is None for port in self.graph.inputs)
            if self.options.verify_inputs or not open_rank:
                raise
            with suppress(FerryError):
                self._compute_on(UNKNOWN_RANK)
            if self._reference is None:
                raise

    def _sample(self) -> Mapping[str, Array] | None:
        """One that was calibrated with, if there is any; variables, which samples do not feed, have their first values."""
        firsts = {name: state.first.array() for name, state in self.graph.states.items()}
        return None if self.sample is None else {**firsts, **self.sample}

    def _made_up(self, unknown: tuple[int, ...] | None) -> Mapping[str, Array]:
        inputs = sample_inputs(self.graph, self.options.seed, unknown=unknown)
        return {name: np.clip(array, *self.reach[name]) if name in self.reach else array for name, array in inputs.items()}

    def _compute_on(self, unknown: tuple[int, ...] | None) -> None:
        given = load_inputs(self.options.verify_inputs, self.graph) if self.options.verify_inputs else self._sample()
        shapes = (
            choose_shapes(self.graph, unknown=unknown) if given is None else {name: array.shape for name, array in given.items()}
        )
        needed = estimate_bytes(self.graph, shapes)
        if needed > self.options.verify_memory:
            limit = f"the limit of {self.options.verify_memory / 2**30:.1f} GiB (--verify-memory)"
            self._obstacle = f"it would take about {needed / 2**30:.1f} GiB, above {limit}"
            return
        inputs = self._made_up(unknown) if given is None else given
        try:
            self._reference = check.compute_reference(self.graph, inputs, self.options.reference)
            self._reference = replace(self._reference, signature=self.signature)
        except (FerryError, MemoryError) as error:
            if given is not None or isinstance(error, OptionError | SourceError):
                raise
            self._obstacle = _explain(error, inputs)


def check_weights(weights: Mapping[str, Tensor], path: Path, tolerance: float) -> Check:
    """A file of weights alone is right when each of them is there, bit for bit."""
    start = time.perf_counter()
    problem = compare_weights(weights, path)
    status: Status = "failed" if problem else "verified"
    return Check(status, NUMPY, NAME, tolerance, reason=problem, seconds=time.perf_counter() - start)


NUMPY = "numpy.load"


def _explain(error: FerryError | MemoryError, inputs: Mapping[str, Array]) -> str:
    sizes = ", ".join(f"{name} {list(array.shape)}" for name, array in inputs.items())
    why = f"{error.what}: {error.why}" if isinstance(error, FerryError) else str(error)
    return f"the source cannot be evaluated on {sizes}: {why} (--shape, --verify-inputs)"


def estimate_bytes(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """About how much memory a verification on inputs of these shapes takes. What inference cannot tell counts as nothing."""
    typed = infer_over(graph, shapes) or graph
    constants = sum(int(node["value"].nbytes) for node in typed.nodes if node.op == "Const")
    layers: list[int] = [
        sum(_bytes(value) for value in (*node.inputs, *node.outputs) if value.constant is None)
        for node in typed.nodes
        if node.op != "Const"
    ]
    return CONSTANT_COPIES * constants + LAYER_COPIES * max(layers, default=0)


def _bytes(value: Value) -> int:
    shape = value.static_shape
    return 0 if shape is None else math.prod(shape) * max(4, int(value.dtype.width))
