"""The one function behind every face: a source file becomes target files, proved, or nothing at all."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorferry import __version__, check, readers
from tensorferry.check import Check
from tensorferry.cutting import advise, find_cut
from tensorferry.delivery import Delivered, Work, deliver, place_of, stage_for
from tensorferry.errors import FerryError, OptionError, UnsupportedError
from tensorferry.ir import Graph, Port
from tensorferry.naming import rename_ports
from tensorferry.options import KINDS, Kind, Options, check_ways, kinds_of
from tensorferry.origins import Origin, Share, open_origin
from tensorferry.passes import pipelines
from tensorferry.passes.dropout import remove_dropout
from tensorferry.passes.public_names import expose_ports
from tensorferry.passes.rounding import drop_rounding
from tensorferry.passes.watchers import count_watchers, strip_watchers
from tensorferry.pose.drifting import drift_of
from tensorferry.proof import Prover, check_weights
from tensorferry.quant.planfile import plan_json
from tensorferry.quantising import Quantised, samples_of, web_allowance
from tensorferry.readers.selection import needed_nodes, select
from tensorferry.report import (
    Frozen,
    PortFacts,
    Report,
    SourceFacts,
    Stopwatch,
    TargetFacts,
    Verification,
    count_ops,
    describe_port,
    peak_memory,
)
from tensorferry.runtimes import tfjs
from tensorferry.writers.atomic import Stage, StagedFile, commit_all, explaining
from tensorferry.writers.graphdef import write_graphdef
from tensorferry.writers.variables import find_weights

if TYPE_CHECKING:
    from tensorferry.assessment import Assessment
    from tensorferry.difference import Difference, Model
    from tensorferry.inspection import Inspection

PathLike = str | os.PathLike[str]
Progress = Callable[[str], None]
"""Told the name of each step as it begins."""


def load(path: PathLike, *, inputs: Sequence[str] | str | None = None, outputs: Sequence[str] | str | None = None) -> Graph:
    """Read a model into a Graph cut down to what lies between `inputs` and `outputs` (found when not given)."""
    with ExitStack() as stack:
        graph = _load(stack.enter_context(open_origin(path)).path, Options.of(inputs=inputs, outputs=outputs))
        weakref.finalize(graph, stack.pop_all().close)  # what was unpacked stays as long as the graph
        return graph


def inspect(path: PathLike, *, progress: Progress | None = None, **keywords: Any) -> Inspection:
    """What a model holds: inputs, outputs, nodes, parameters, work, and what each target can take.

    `keywords` are the fields of Options that say where it is: `signature`, `tags`, `checkpoint`.
    """
    from tensorferry.inspection import inspect_graph, inspect_variables  # noqa: PLC0415 - a conversion does without it

    options = Options.of(**keywords)
    with _open(path, options, progress) as origin:
        about: dict[str, Any] = {"path": origin.name, "size": origin.bytes, "format": _format(origin)}
        alone = readers.why_variables_only(origin.path, architecture=options.architecture is not None)
        if alone is not None:
            return inspect_variables(readers.variables(origin.path), notice=f"weights only: {alone}", **about)
        graph = _read(origin.path, options, any_signature=True)
        return inspect_graph(graph, selected=_what_a_conversion_uses(graph), **about)


def _what_a_conversion_uses(graph: Graph) -> Graph | None:
    """None, with a notice, where more must be named first."""
    selected = graph.copy()
    try:
        return select(selected)
    except FerryError as error:
        graph.notices.append(f"a conversion wants more to be named: {error.what}" + (f" ({error.why})" if error.why else ""))
        return None


def diff(
    before: PathLike,
    after: PathLike,
    *,
    run: bool = False,
    seed: int = 0,
    tolerance: float = 1e-4,
    progress: Progress | None = None,
    **keywords: Any,
) -> Difference:
    """What sets one model apart from another, of any two formats; with `run`, their outputs on the same random inputs too.

    `keywords` are the fields of Options that say which part of a model is meant; they hold for both, where they apply.
    """
    from tensorferry.difference import compare_models  # noqa: PLC0415 - a conversion does without it

    options = Options.of(seed=seed, tolerance=tolerance, **keywords)
    with _open(before, options, progress) as old, _open(after, options, progress) as new:
        sides = [_model_at(origin, options) for origin in (old, new)]
        return compare_models(*sides, run=run, seed=seed, tolerance=tolerance)


_WITH_SIGNATURES = ("savedmodel", "metagraph", "tflite")


def _model_at(origin: Origin, options: Options) -> Model:
    from tensorferry.difference import Model  # noqa: PLC0415

    about: dict[str, Any] = {"path": origin.name, "format": _format(origin), "size": origin.bytes}
    kind = readers.detect(origin.path)
    if kind not in _WITH_SIGNATURES:
        options = replace(options, signature=None, tags=None)
    if kind not in ("graphdef", "metagraph", "keras"):
        options = replace(options, checkpoint=None)
    if kind != "keras":
        options = replace(options, architecture=None)
    if readers.why_variables_only(origin.path, architecture=options.architecture is not None) is not None:
        return Model(graph=None, weights=readers.variables(origin.path), **about)
    return Model.of_graph(_load(origin.path, options), **about)


def freeze(source: PathLike, target: PathLike, *, progress: Progress | None = None, **keywords: Any) -> Frozen:
    """Write a model as a frozen GraphDef (`*.pbtxt`: as text): the part that its outputs need, its variables as constants.

    `keywords` are the fields of Options that say which part of which model is meant.
    """
    options = Options.of(**keywords)
    with _open(source, options, progress) as origin:
        graph = _load(origin.path, options)
        pipelines.finish(graph, "tensorflow")
        expose_ports(graph)
        size = write_graphdef(graph, target, [origin.given])
    return Frozen(
        str(target), size, len(graph.nodes), _ports(graph.inputs, None), _ports(graph.outputs, None), tuple(graph.notices)
    )


def assess(
    source: PathLike, to: str | Sequence[str] = KINDS, *, progress: Progress | None = None, **keywords: Any
) -> dict[str, Assessment]:
    """Target -> what it will make of a model: direct, rewritten or impossible ops, backends, where to cut. Nothing is written.

    `keywords` are the fields of Options that say which part of the model is meant.
    """
    from tensorferry.assessment import assess_graph  # noqa: PLC0415 - a conversion does without it

    wanted = (to,) if isinstance(to, str) else tuple(to)
    for kind in wanted:
        if kind not in KINDS:
            raise OptionError(f"unknown target kind '{kind}'", remedy=f"choose one of {', '.join(KINDS)}")
    options = Options.of(**keywords)
    with _open(source, options, progress) as origin:
        graph = _load(origin.path, options)
        return {kind: assess_graph(graph, kind) for kind in wanted}


def convert(
    source: PathLike,
    targets: PathLike | Sequence[PathLike],
    *,
    progress: Progress | None = None,
    **keywords: Any,
) -> Report:
    """Convert one source to one or several targets in one read. `keywords` are the fields of Options.

    Nothing is written when any target cannot be: UnsupportedError names every node in the way, VerificationError the first op that
    computes something else than the source.
    """
    names = [targets] if isinstance(targets, str | os.PathLike) else list(targets)
    options = Options.of(**keywords)
    with _open(source, options, progress) as origin:
        return _Job(origin, options, progress or (lambda _step: None)).run(names)


def verify(source: PathLike, *targets: PathLike, progress: Progress | None = None, **keywords: Any) -> Verification:
    """Compare existing files with their source, by the public names of their inputs and outputs."""
    options = Options.of(**keywords)
    if not targets:
        raise OptionError("no file to verify was given", remedy="name the converted files after the source")
    with _open(source, options, progress) as origin:
        return Verification(origin.name, _verify(origin.path, targets, options, progress or (lambda _step: None)))


def _verify(source: Path, targets: Sequence[PathLike], options: Options, tell: Progress) -> dict[str, Check]:
    checks = {}
    for target, kind in zip(targets, kinds_of(targets, options.to, existing=True), strict=True):
        path = Path(target)
        tell(f"verify {path}")
        missing = check.runtime_of(kind).available()
        if missing:
            checks[str(target)] = check.skipped(missing, options.tolerance)
        elif kind == "npz":
            plain = _load(source, options)
            pipelines.finish(plain, "tensorflow")
            checks[str(target)] = check_weights(find_weights(plain), path, options.tolerance)
        else:
            graph = _graph_for_target(source, path, kind, options)
            allowance = web_allowance(tfjs.modes_of(path)) if kind == "tfjs" else None
            checks[str(target)] = Prover(graph, options).check(kind, path, allowance)
    return checks


def _open(source: PathLike, options: Options, progress: Progress | None) -> AbstractContextManager[Origin]:
    tell = progress or (lambda _step: None)
    return open_origin(source, inside=options.inside, sha256=options.sha256, most=options.max_download, progress=tell)


def _load(source: Path, options: Options) -> Graph:
    """The graph that is asked for, under the names that are wanted."""
    graph = _load_signatures(source, options)
    for each in (graph, *graph.siblings):
        _strip(each, options)
    rename_ports(graph, options.rename)
    return graph


def _strip(graph: Graph, options: Options) -> None:
    if options.plain_float and (count := drop_rounding(graph)):
        graph.notices.append(f"{count} roundings to steps of whole numbers are left out: the result computes with plain floats")
    if options.strip_debug:
        strip_watchers(graph)
    elif watchers := count_watchers(graph):
        listed = ", ".join(f"{count} {op}" for op, count in sorted(watchers.items()))
        graph.notices.append(
            f"{listed} stay in TensorFlow's own formats; TensorFlow Lite and TensorFlow.js have no such ops and go without"
        )


def _load_signatures(source: Path, options: Options) -> Graph:
    """Of several signatures the first, with the others as its siblings."""
    names = readers.wanted_signatures(source, options.signature, options.tags)
    if len(names) < 2:
        return _select(source, replace(options, signature=names[0]), options.inputs, options.outputs)
    if options.inputs or options.outputs or options.verify_inputs:
        raise OptionError(
            "inputs, outputs and values cannot be named for several signatures at once", remedy="choose one with --signature"
        )
    graphs = [_select(source, replace(options, signature=name), None, None, frozenset()) for name in names]
    changed = frozenset(state for graph in graphs for state in graph.states)
    if changed:  # what one signature assigns is no constant of another
        graphs = [_select(source, replace(options, signature=name), None, None, changed) for name in names]
    lacking = [name for name in options.input_shapes if all(name not in [port.name for port in each.inputs] for each in graphs)]
    if lacking:
        raise OptionError(f"no signature has the input {', '.join(lacking)}", remedy="'tensorferry inspect' lists them")
    first, *first.siblings = graphs
    for each in graphs:
        hidden = {name for key, state in each.states.items() for name in (key, state.output)}
        takes, gives = (
            ", ".join(port.name for port in ports if port.name not in hidden) or "nothing" for ports in (each.inputs, each.outputs)
        )
        first.notices.append(f"signature '{each.signature}' is in the file: it takes {takes} and gives {gives}")
    first.notices += [notice for each in first.siblings for notice in each.notices if notice not in first.notices]
    return first


def _read(source: Path, options: Options, *, any_signature: bool = False) -> Graph:
    return readers.read(
        source,
        signature=options.signature,
        tags=options.tags,
        checkpoint=options.checkpoint,
        architecture=options.architecture,
        any_signature=any_signature,
        plain_float=options.plain_float,
    )


def _select(
    source: Path,
    options: Options,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
    changed: frozenset[str] | None = None,
) -> Graph:
    graph, shapes = _read(source, options), options.input_shapes
    if graph.signature and changed is not None:  # of several signatures, each has its own inputs
        shapes = {name: shape for name, shape in shapes.items() if any(port.name == name for port in graph.inputs)}
    select(graph, inputs=inputs, outputs=outputs, shapes=shapes, fixed=options.fixed, changed=changed)
    if remove_dropout(graph) and inputs is None:
        needed = needed_nodes(port.value for port in graph.outputs)  # a rate that was fed need not be any more
        graph.inputs = [port for port in graph.inputs if port.value.producer in needed]
    return graph


def _graph_for_target(source: Path, target: Path, kind: Kind, options: Options) -> Graph:
    """The source cut at the names that the target declares, unless the caller gave others."""
    inputs, outputs = options.inputs, options.outputs
    if inputs is None or outputs is None:
        declared_inputs, declared_outputs = check.runtime_of(kind).read_ports(target)
        before = {new: old for old, new in options.rename.items()}
        inputs = inputs or tuple(before.get(name, name) for name in declared_inputs)
        outputs = outputs or tuple(before.get(name, name) for name in declared_outputs)
    names = readers.wanted_signatures(source, options.signature, options.tags)
    graph = _select(source, replace(options, signature=names[0]), inputs, outputs)
    rename_ports(graph, options.rename)
    return graph


@dataclass(slots=True)
class _Job:
    """One run of convert."""

    origin: Origin
    options: Options
    progress: Progress
    watch: Stopwatch = field(default_factory=Stopwatch)

    def run(self, targets: Sequence[PathLike]) -> Report:
        kinds = kinds_of(targets, self.options.to)
        check_ways(kinds, self.options)
        if not targets:
            raise OptionError("no target was given", remedy="name at least one, such as -o model.tflite")
        if len({os.path.realpath(place_of(target, kind)) for target, kind in zip(targets, kinds, strict=True)}) != len(targets):
            raise OptionError("the same target was given twice")
        with ExitStack() as stack:
            given = Path(self.origin.given)
            stages = [stack.enter_context(stage_for(target, kind, given)) for target, kind in zip(targets, kinds, strict=True)]
            plan_stage = stack.enter_context(StagedFile(self.options.plan_out, [given])) if self.options.plan_out else None
            with self._step("read"):
                graph = _load(self.origin.path, self.options)
                facts = _source_facts(self.origin, graph)
            if self.options.max_drift is not None:
                self.options = replace(self.options, max_drift=None, max_error=self.options.max_drift, metric=drift_of(graph))
            if self.options.calibrate is not None and "tflite" in kinds:
                with self._step("check samples"):
                    samples = samples_of(graph, self.options, self._counting("check samples"))
                    if samples is not None:
                        samples.watched_by = self._counting("calibrate")
                    self.options = replace(self.options, calibrate=samples)
            work = Work(graph, self.options, _tell_drawn(graph), self.progress)
            if any(kind in KINDS for kind in kinds):
                with self._step("optimise"):
                    work.prepared()
            with self._advising(graph, targets):
                written = [self._write(work, stage, kind) for stage, kind in zip(stages, kinds, strict=True)]
            checks = self._verify(work, stages, kinds, written)
            with self._step("put in place"):
                commit_all([*stages, *_written_plan(plan_stage, written)])
        return self._report(work, facts, targets, kinds, written, checks)

    def _counting(self, name: str) -> Callable[[int, int | None], None]:
        """Tells a step how many of how many samples are done."""
        return lambda done, total: self.progress(Share(name, done, total, "samples"))

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self.progress(name)
        with self.watch.step(name):
            yield

    @contextmanager
    def _advising(self, graph: Graph, targets: Sequence[PathLike]) -> Iterator[None]:
        """Add to a refusal the command that leaves out what was refused."""
        try:
            yield
        except UnsupportedError as error:
            cut = find_cut(graph, [problem.node for problem in error.problems])
            if cut is not None:
                error.remedy = advise(cut, Path(self.origin.name), targets)
            raise

    def _write(self, work: Work, stage: Stage, kind: Kind) -> Delivered:
        with self._step(f"write {kind}"), explaining(stage.given):
            return deliver(work, stage, kind)

    def _verify(self, work: Work, stages: Sequence[Stage], kinds: Sequence[Kind], written: Sequence[Delivered]) -> list[Check]:
        if not self.options.verify:
            return [check.skipped("not asked for (--no-verify)", self.options.tolerance) for _ in kinds]
        checks = []
        prover = Prover(work.source, self.options)
        for stage, kind, each in zip(stages, kinds, written, strict=True):
            if each.custom:
                reason = f"the plain runtime lacks {', '.join(each.custom)}: {_SUPPLIERS.get(kind, _NOBODY)}"
                checks.append(check.skipped(reason, self.options.tolerance))
                continue
            with self._step(f"verify {kind}"):
                if kind == "npz":
                    outcome = check_weights(find_weights(work.plain()), stage.path, self.options.tolerance)
                else:
                    allowance = each.quantised.allowance if each.quantised else None
                    outcome = self._prover(work, prover, each).check(kind, stage.path, allowance)
                check.raise_if_failed(outcome, str(stage.given), stage.path)
                checks.append(outcome)
        return checks

    def _prover(self, work: Work, common: Prover, written: Delivered) -> Prover:
        """What was calibrated is proved on inputs within its ranges."""
        quantised = written.quantised
        if not isinstance(quantised, Quantised) or (quantised.sample is None and not quantised.reach):
            return common
        return Prover(work.source, self.options, sample=quantised.sample, reach=quantised.reach)

    def _report(
        self,
        work: Work,
        facts: SourceFacts,
        targets: Sequence[PathLike],
        kinds: Sequence[Kind],
        written: Sequence[Delivered],
        checks: Sequence[Check],
    ) -> Report:
        graph = work.source
        outside = {"tfjs", "tfjs-layers", "graphdef", "graphdef-text", *(["tflite"] if self.options.state_as_io else [])}
        inside = not outside.intersection(kinds)
        hidden = {name for key, state in graph.states.items() for name in (key, state.output)} if inside else set()
        return Report(
            version=__version__,
            source=facts,
            inputs=_ports([port for port in graph.inputs if port.name not in hidden], self.options.inputs),
            outputs=_ports([port for port in graph.outputs if port.name not in hidden], self.options.outputs),
            targets=tuple(map(_target_facts, targets, kinds, written, checks)),
            notices=work.told(),
            seconds=self.watch.seconds,
            peak_bytes=peak_memory(),
        )


def _written_plan(stage: StagedFile | None, written: Sequence[Delivered]) -> list[Stage]:
    """The plan that a target was made by, in its stage."""
    quantised = next((each.quantised for each in written if isinstance(each.quantised, Quantised)), None)
    if stage is None or quantised is None:
        return []
    with stage.open() as file:
        file.write(plan_json(quantised.plan, quantised.source).encode())
    return [stage]


def _tell_drawn(graph: Graph) -> list[str]:
    """Outputs that no two runs have in common."""
    drawn = check.drawn_outputs(graph)
    names = ", ".join(f"'{port.name}'" for port in graph.outputs if port.name in drawn)
    return [f"{names} comes of random numbers: a check compares shape, type and distribution, not the values"] if drawn else []


_SUPPLIERS = {
    "tflite": "an application registers custom operators, or links the Select (Flex) delegate for those named Flex...",
    "tfjs": "a page registers them with tf.registerOp",
}
"""Who has the operators that a plain runtime lacks."""

_NOBODY = "a program that loads it must bring them"


def _ports(ports: Sequence[Port], given: Sequence[str] | None) -> tuple[PortFacts, ...]:
    return tuple(describe_port(port, found=given is None) for port in ports)


def _source_facts(origin: Origin, graph: Graph) -> SourceFacts:
    return SourceFacts(origin.name, _format(origin), origin.bytes, len(graph.nodes), count_ops(graph))


def _format(origin: Origin) -> str:
    form = readers.FORMATS[readers.detect(origin.path)]
    return f"{form}, in {origin.container}" if origin.container else form


def _target_facts(target: PathLike, kind: Kind, written: Delivered, outcome: Check) -> TargetFacts:
    return TargetFacts(
        path=str(target),
        kind=written.kind or kind,
        bytes=written.size,
        files=written.files,
        operators=dict(written.operators),
        runtime=written.runtime,
        notices=written.notices,
        check=outcome,
        quantisation=None if written.quantised is None else written.quantised.as_dict(),
    )
