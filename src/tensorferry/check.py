"""Proof: run the converted model in its real runtime and compare it with the source on the same inputs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from tensorferry import ops
from tensorferry.comparison import Allowance, OutputError, compare_arrays, compare_outputs, compare_rounded
from tensorferry.errors import FerryError, VerificationError
from tensorferry.ir import Graph, Node, Port, State, Value
from tensorferry.runtimes import Run, tensorflow
from tensorferry.runtimes.reference import can_evaluate, evaluate_graph
from tensorferry.tensor import Array
from tensorferry.writers.graphdef import serialize_graphdef

_RUNTIMES = {"tflite": "runtimes.litert", "tfjs": "runtimes.tfjs", "tfjs-layers": "runtimes.tfjs"}
"""Of the other targets, which are TensorFlow's own formats, it is `rereading`."""

Status = Literal["verified", "failed", "not verified"]


@dataclass(frozen=True, slots=True)
class Reference:
    """What the source computes: the inputs, the outputs by public name, and who computed them."""

    graph: Graph
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    runtime: str
    seconds: float
    signature: str | None = None
    """Of the file that is compared; None: its only or first one."""
    allowance: Allowance | None = None
    """Of a target that is quantised: what its outputs are held to where they are not within the tolerance."""

    @property
    def asked(self) -> dict[str, str]:
        """What a runtime is told besides path and inputs."""
        return {} if self.signature is None else {"signature": self.signature}

    @property
    def drawn(self) -> frozenset[str]:
        """Outputs that hang on random numbers."""
        return _in_both_calls(drawn_outputs(self.graph))

    def compare(self, expected: Mapping[str, Array], run: Run, tolerance: float) -> tuple[OutputError, ...]:
        """What a run gave beside what is expected of it."""
        found = {
            name: run.real(name) if name in expected and expected[name].dtype.kind == "f" else array
            for name, array in run.outputs.items()
        }
        strict = compare_outputs(expected, found, tolerance, self.drawn, self.rounded)
        if self.allowance is None:
            return strict
        allowed = self.allowance
        return tuple(
            compare_rounded(each, expected[each.name], found[each.name], allowed) if each.name in found else each for each in strict
        )

    @property
    def rounded(self) -> frozenset[str]:
        """Outputs that hang on numbers which the model itself rounds to steps."""
        return _in_both_calls(rounded_outputs(self.graph))


def _in_both_calls(names: Collection[str]) -> frozenset[str]:
    return frozenset({*names, *(f"{name}{SECOND_CALL}" for name in names)})


_ROUNDING = ("FakeQuant", "QuantizeV2", "QuantizeAndDequantize")
"""How the names of ops begin that round to steps."""


def rounded_outputs(graph: Graph) -> frozenset[str]:
    """Names of the outputs that hang on numbers which the model rounds to steps, here or in a nested graph."""
    touched: set[Value] = set()
    for node in graph.nodes:
        if rounds(node) or any(value in touched for value in node.inputs):
            touched.update(node.outputs)
    return frozenset(port.name for port in graph.outputs if port.value in touched)


def rounds(node: Node) -> bool:
    """The node, or one in its graphs, rounds to steps."""
    return node.op.startswith(_ROUNDING) or any(rounds(inner) for _, graph in node.graphs() for inner in graph.nodes)


def drawn_outputs(graph: Graph) -> frozenset[str]:
    """Names of the outputs that come of numbers drawn at random, here or in a nested graph."""
    drawn = drawn_values(graph)
    return frozenset(port.name for port in graph.outputs if port.value in drawn)


def drawn_values(graph: Graph) -> set[Value]:
    touched: set[Value] = set()
    for node in graph.nodes:
        if draws(node) or any(value in touched for value in node.inputs):
            touched.update(node.outputs)
    return touched


def draws(node: Node) -> bool:
    """The node, or one in its graphs, draws random numbers."""
    spec = ops.find(node.op)
    return (spec is not None and spec.drawn) or any(draws(inner) for _, graph in node.graphs() for inner in graph.nodes)


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome for one target."""

    status: Status
    runtime: str
    reference: str
    tolerance: float
    outputs: tuple[OutputError, ...] = ()
    reason: str = ""
    first_wrong: str = ""
    second_opinion: str = ""  # of a failed check: what the runtime's plain, unoptimised kernels say
    note: str = ""  # what else was compared
    seconds: float = 0.0

    @property
    def worst(self) -> float:
        """The largest relative error over all outputs."""
        return max((output.relative for output in self.outputs if not math.isnan(output.relative)), default=0.0)

    def as_dict(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "runtime": self.runtime,
            "reference": self.reference,
            "tolerance": self.tolerance,
            "outputs": [output.as_dict() for output in self.outputs],
            "reason": self.reason,
            "first_wrong": self.first_wrong,
            "second_opinion": self.second_opinion,
            "note": self.note,
            "seconds": self.seconds,
        }


def compute_reference(graph: Graph, inputs: Mapping[str, Array], runtime: str = "numpy") -> Reference:
    """Run the source graph as it was read, in numpy or (`runtime="tensorflow"`) in TensorFlow.

    TensorFlow also steps in, if it is installed, for a graph with an op that numpy cannot evaluate.
    """
    start = time.perf_counter()
    if runtime == "numpy" and (tensorflow.available() is not None or can_evaluate(graph)):
        outputs = call_twice(graph.states, inputs, lambda feeds: evaluate_graph(graph, feeds))
        return Reference(graph, inputs, outputs, "Tensorferry's reference (numpy)", time.perf_counter() - start)
    wanted, version = [_tensor_name(port) for port in graph.outputs], ""
    serialized = serialize_graphdef(graph)

    def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
        nonlocal version
        results, version = tensorflow.run_graphdef(
            serialized, {_tensor_name(port): feeds[port.name] for port in graph.inputs}, wanted
        )
        return {port.name: result for port, result in zip(graph.outputs, results, strict=True)}

    outputs = call_twice(graph.states, inputs, run)
    return Reference(graph, inputs, outputs, version, time.perf_counter() - start)


SECOND_CALL = " (second call)"
"""Behind the name of an output: what it is when the model is called again."""


def call_twice(
    states: Mapping[str, State], inputs: Mapping[str, Array], run: Callable[[Mapping[str, Array]], Mapping[str, Array]]
) -> Mapping[str, Array]:
    """A run's outputs; of a graph with variables also those of a second run, which begins with what the first has left."""
    first = run(inputs)
    if not states:
        return first
    second = run({**inputs, **{name: first[state.output] for name, state in states.items()}})
    return {**first, **{f"{name}{SECOND_CALL}": array for name, array in second.items()}}


def _tensor_name(port: Port) -> str:
    return f"{port.value.producer.name}:{port.value.index}"


def runtime_of(kind: str) -> Any:
    """The module that runs targets of this kind; loaded when one is to be run."""
    return import_module(f"tensorferry.{_RUNTIMES.get(kind, 'rereading')}")


def check_target(kind: str, path: Path, reference: Reference, tolerance: float) -> Check:
    """Run the file and compare. A missing runtime makes a Check that says so; a wrong result one that names the first wrong op."""
    runtime = runtime_of(kind)
    missing = runtime.available()
    if missing:
        return skipped(missing, tolerance)
    if kind not in _RUNTIMES:
        runtime = runtime.Rereader(reference.graph, kind)
    start = time.perf_counter()
    try:
        run, expected = _run_calls(runtime, path, reference)
    except FerryError as error:
        return Check("failed", runtime.NAME, reference.runtime, tolerance, reason=_brief(error))
    outputs = reference.compare(expected, run, tolerance)
    passed = all(output.passed for output in outputs)
    return Check(
        status="verified" if passed else "failed",
        runtime=run.runtime,
        reference=reference.runtime,
        tolerance=tolerance,
        outputs=outputs,
        first_wrong="" if passed else find_first_wrong(runtime, path, reference, tolerance),
        second_opinion="" if passed else ask_plain_kernels(runtime, path, reference, tolerance),
        seconds=time.perf_counter() - start,
    )


def _run_calls(runtime: Any, path: Path, reference: Reference) -> tuple[Run, Mapping[str, Array]]:
    """A run, of a model with variables two, and what is expected of it. Variables are inputs and outputs, or inside the file."""
    states = reference.graph.states
    if not states:
        return runtime.run(path, reference.inputs, **reference.asked), reference.outputs
    if states.keys() <= set(runtime.read_ports(path, **reference.asked)[0]):
        run: Run = runtime.run(path, reference.inputs, **reference.asked)
        outputs = call_twice(states, reference.inputs, lambda feeds: runtime.run(path, feeds, **reference.asked).outputs)
        return replace(run, outputs=outputs), reference.outputs
    feeds = {name: array for name, array in reference.inputs.items() if name not in states}
    first, second = runtime.run_in_turn(path, [feeds, feeds], **reference.asked)
    outputs = {**first.outputs, **{f"{name}{SECOND_CALL}": array for name, array in second.outputs.items()}}
    kept = {state.output for state in states.values()}
    expected = {name: array for name, array in reference.outputs.items() if name.removesuffix(SECOND_CALL) not in kept}
    return replace(first, outputs=outputs), expected


def _brief(error: FerryError) -> str:
    return f"{error.what}: {error.why}" if error.why else error.what


def join(checks: Mapping[str, Check]) -> Check:
    """One outcome for a file of several signatures, their outputs named after them: as bad as the worst of them."""
    order = ("failed", "not verified", "verified")
    worst = min(checks.values(), key=lambda each: order.index(each.status))
    outputs = tuple(
        replace(output, name=f"{signature}: {output.name}") for signature, each in checks.items() for output in each.outputs
    )
    reasons = "; ".join(f"signature '{signature}': {each.reason}" for signature, each in checks.items() if each.reason)
    return replace(worst, outputs=outputs, reason=reasons, seconds=sum(each.seconds for each in checks.values()))


def skipped(reason: str, tolerance: float) -> Check:
    return Check("not verified", "", "", tolerance, reason=reason)


def find_first_wrong(runtime: Any, path: Path, reference: Reference, tolerance: float) -> str:
    """The first op, in the source's order, whose value the runtime has under the same name and computes differently."""
    try:
        found = runtime.run(path, reference.inputs, keep_intermediates=True, **reference.asked).intermediates
    except FerryError:
        return ""
    search = _FirstWrong(found, tolerance, drawn_values(reference.graph))
    evaluate_graph(reference.graph, reference.inputs, search)
    return search.verdict


def ask_plain_kernels(runtime: Any, path: Path, reference: Reference, tolerance: float) -> str:
    """Tells a wrong model from a wrong fast kernel: the same comparison on the runtime's plain kernels."""
    try:
        run: Run = runtime.run_plain(path, reference.inputs, **reference.asked)
    except FerryError as error:
        return f"its plain kernels refuse the model: {_brief(error)}"
    if all(output.passed for output in reference.compare(reference.outputs, run, tolerance)):
        return f"in {run.runtime} the result is right: a fast kernel of the runtime is at fault, not the model"
    return f"in {run.runtime} the result is wrong too"


@dataclass(slots=True)
class _FirstWrong:
    """Watches the reference evaluation and keeps the first value that is off by more than the tolerance."""

    found: Mapping[str, Array]
    tolerance: float
    drawn: Collection[Value]
    """What differs in each run, and so tells nothing."""
    verdict: str = field(default="")

    def __call__(self, value: Value, array: Array) -> None:
        if self.verdict or value.name not in self.found or value in self.drawn:
            return
        error = compare_arrays(value.name, array, self.found[value.name], self.tolerance)
        if not error.passed:
            how = error.problem or f"relative error {error.relative:.2g}"
            self.verdict = f"node '{value.producer.name}' ({value.producer.op}): {how}"


def raise_if_failed(check: Check, target: str, path: Path) -> None:
    """VerificationError for a failed check: the outputs that are off, and the first op that goes wrong.

    `path` is where the target stands for now; messages say `target` instead.
    """
    if check.status != "failed":
        return
    bad = [output for output in check.outputs if not output.passed]
    details = check.reason or "; ".join(f"output '{output.name}': {_shortfall(output, check.tolerance)}" for output in bad)
    why = "; ".join(filter(None, (details, f"compared in {check.runtime} with {check.reference}", check.second_opinion)))
    raise VerificationError(
        f"{target} does not compute what the source computes",
        where=f"first wrong: {check.first_wrong}" if check.first_wrong else "",
        why=why.replace(str(path), target),
        remedy="nothing was written. If you can accept this error, raise --tolerance; if not, please report it with the model",
    )


def _shortfall(output: OutputError, tolerance: float) -> str:
    return output.problem or f"relative error {output.relative:.3g} (allowed {tolerance:g})"
