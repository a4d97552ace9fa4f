"""Times models side by side: in rounds, in which each has its turn, so that a slow moment of the machine hits them all."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tensorferry import readers
from tensorferry.conversion import Progress, convert
from tensorferry.errors import FerryError, OptionError
from tensorferry.ir import Graph
from tensorferry.options import KINDS, Options, split_names
from tensorferry.origins import Origin, open_origin
from tensorferry.readers.selection import select
from tensorferry.runtimes import chromium, litert, tfjs
from tensorferry.sampling import sample_inputs
from tensorferry.tensor import Array
from tensorferry.timing.lanes import Lane, LiteLane, Warmup, WebLane
from tensorferry.timing.records import Bench, Timing

PathLike = str | os.PathLike[str]

ROUNDS = 5
MOST_LANES = 32
"""Models times settings: each is a process that holds its model until the end."""

_OWN = {"tflite": "tflite", "tfjs": "tfjs", "tfjs-layers": "tfjs"}
"""Kinds of sources that a runtime takes as they are -> the kind of target that they are."""

BACKENDS = ("wasm", "cpu")
PLACES = {"node": "Node", "chromium": "Chromium"}
"""Where TensorFlow.js runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to measure. `runs` and `seconds` are for one model in one setting: whichever ends first, at least a run a round.

    `to`: kinds that sources are converted to; None: a file that a runtime takes is run as it is, all others become TensorFlow Lite.
    """

    runs: int = 50
    warmup: int = 5
    seconds: float = 10.0
    threads: tuple[int, ...] = (1,)
    xnnpack: tuple[bool, ...] = (True,)
    backends: tuple[str, ...] = ("wasm",)
    places: tuple[str, ...] = ("node",)
    to: tuple[str, ...] | None = None
    profile: bool = False

    def __post_init__(self) -> None:
        if self.runs < 1 or self.warmup < 0 or not 0 < self.seconds < math.inf:
            raise OptionError("a bench takes at least one run, no fewer than 0 to warm up, and some seconds")
        if not self.threads or any(not 1 <= each <= 1024 for each in self.threads):
            raise OptionError("threads are whole numbers from 1 on", remedy="such as --threads 1,4")
        for backend in self.backends:
            if backend not in BACKENDS:
                raise OptionError(f"unknown backend '{backend}'", remedy=f"choose one of {', '.join(BACKENDS)}")
        for place in self.places:
            if place not in PLACES:
                raise OptionError(f"TensorFlow.js is not timed in '{place}'", remedy=f"choose one of {', '.join(PLACES)}")
        for kind in self.to or ():
            if kind not in KINDS:
                raise OptionError(f"'{kind}' is nothing that can be timed", remedy=f"choose one of {', '.join(KINDS)}")


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A model as a runtime takes it: `label` says what was given, and what was made of it."""

    label: str
    path: Path
    kind: str
    inputs: Mapping[str, Array]

    @property
    def bytes(self) -> int:
        if self.path.is_file() and self.kind == "tflite":
            return self.path.stat().st_size
        folder = self.path if self.path.is_dir() else self.path.parent
        return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())


@dataclass(slots=True)
class _Line:
    """One line of the result while it is measured."""

    candidate: _Candidate
    setting: str
    make: Callable[[], Lane]
    lane: Lane | None = None
    problem: str = ""

    @property
    def running(self) -> Lane:
        assert self.lane is not None
        return self.lane


def bench(models: PathLike | Sequence[PathLike], *, progress: Progress | None = None, **keywords: Any) -> Bench:
    """Time models, one or several. `keywords` are the fields of Plan, and of Options those that say which part of a model is meant.

    A source that no runtime takes is converted in a private folder, unverified, and the line says so. OptionError where a runtime
    that is asked for is not there; a model that a runtime does not take has a line with the problem.
    """
    given = [models] if isinstance(models, str | os.PathLike) else list(models)
    if not given:
        raise OptionError("no model to time was given", remedy="name files, or folders of TensorFlow.js models")
    plan = _plan_of(keywords)
    options = Options.of(**keywords)
    tell = progress or (lambda _step: None)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tensorferry-")))
        candidates = []
        for number, source in enumerate(given):
            origin = stack.enter_context(
                open_origin(source, inside=options.inside, sha256=options.sha256, most=options.max_download, progress=tell)
            )
            candidates += list(_candidates(origin, folder / str(number), plan, keywords, tell))
        lines = [line for candidate in candidates for line in _lines(candidate, plan)]
        if len(lines) > MOST_LANES:
            raise OptionError(f"{len(lines)} models and settings are too many at once", remedy=f"time at most {MOST_LANES}")
        order = list(dict.fromkeys(line.setting for line in lines))
        lines.sort(key=lambda line: order.index(line.setting))  # models of one setting side by side
        try:
            _measure(lines, plan, tell)
            return Bench(tuple(_compare([_timing(line) for line in lines])), tuple(_tell(lines, plan)))
        finally:
            for line in lines:
                if line.lane is not None:
                    line.lane.close()


def _plan_of(keywords: dict[str, Any]) -> Plan:
    """Take the fields of a Plan out of a caller's keywords."""
    taken = {name: keywords.pop(name) for name in Plan.__dataclass_fields__ if name in keywords}
    for name in ("threads", "xnnpack"):
        if name in taken:
            several = taken[name] if isinstance(taken[name], list | tuple) else [taken[name]]
            taken[name] = tuple(dict.fromkeys(several))
    for name in ("backends", "places", "to"):
        several = split_names(taken.pop(name, None))
        if several is not None:
            taken[name] = tuple(dict.fromkeys(several))
    return Plan(**taken)


# -- models --------------------------------------------------------------------------------------------------------


def _candidates(origin: Origin, folder: Path, plan: Plan, keywords: Mapping[str, Any], tell: Progress) -> Iterator[_Candidate]:
    own = _OWN.get(readers.detect(origin.path))
    for kind in dict.fromkeys(plan.to or (own or "tflite",)):
        if kind == own:
            yield _Candidate(origin.name, origin.path, kind, _inputs(origin.path, kind, Options.of(**keywords)))
            continue
        target = folder / ("model.tflite" if kind == "tflite" else "web_model")
        tell(f"convert {origin.name} to {kind}")
        folder.mkdir(exist_ok=True)
        said = {key: value for key, value in keywords.items() if key not in ("inside", "sha256", "max_download")}
        convert(origin.path, target, to=kind, verify=False, **said)
        plain = Options.of(seed=Options.of(**keywords).seed)
        yield _Candidate(f"{origin.name} (converted to {kind})", target, kind, _inputs(target, kind, plain))


def _inputs(path: Path, kind: str, options: Options) -> dict[str, Array]:
    """Random values that fit the model, by public name; an open batch is one."""
    try:
        names = readers.wanted_signatures(path, None, None) if kind == "tflite" else (None,)
        graph = readers.read(path, signature=names[0], any_signature=True)
        select(graph, shapes=_with_one_batch(graph, options.input_shapes))
        return sample_inputs(graph, options.seed)
    except FerryError:
        if kind != "tflite" or litert.available() is not None:
            raise
        return _inputs_of_slots(path, options)


def _with_one_batch(graph: Graph, given: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    shapes = dict(given)
    for port in graph.inputs:
        shape = port.value.shape
        if port.name not in shapes and shape is not None and len(shape) > 1 and isinstance(shape[0], str):
            shapes[port.name] = (1, *(size if isinstance(size, int) else -1 for size in shape[1:]))
    return shapes


def _inputs_of_slots(path: Path, options: Options) -> dict[str, Array]:
    """Of a file with operators that nobody here knows: what LiteRT says of its inputs."""
    generator = np.random.default_rng(options.seed)
    with litert.LiteRtModel(path) as model:
        slots = model.inputs
    arrays = {}
    for slot in slots:
        shape = options.input_shapes.get(slot.name, slot.shape)
        shape = tuple(1 if size < 0 else size for size in shape)
        numbers = generator.uniform(-1, 1, shape) if slot.dtype.kind == "f" else generator.integers(0, 2, shape)
        arrays[slot.name] = numbers.astype(slot.dtype)
    return arrays


# -- settings ------------------------------------------------------------------------------------------------------


def _lines(candidate: _Candidate, plan: Plan) -> Iterator[_Line]:
    runtimes = {"node": tfjs, "chromium": chromium}
    for runtime in [litert] if candidate.kind == "tflite" else [runtimes[place] for place in plan.places]:
        if missing := runtime.available():
            raise OptionError(f"{candidate.label} cannot be timed in {runtime.NAME}", why=missing)
    if candidate.kind == "tflite":
        for xnnpack in plan.xnnpack:
            for threads in plan.threads:
                kernels = "XNNPACK" if xnnpack else "builtin kernels"
                setting = f"{litert.NAME}, {threads} thread{'s' if threads > 1 else ''}, {kernels}"
                yield _Line(candidate, setting, _lite_lane(candidate, threads, xnnpack))
        return
    for place in plan.places:
        for backend in plan.backends:
            setting = f"{tfjs.NAME} in {PLACES[place]}, {backend}"
            yield _Line(candidate, setting, _web_lane(candidate, backend, browser=place == "chromium"))


def _lite_lane(candidate: _Candidate, threads: int, xnnpack: bool) -> Callable[[], Lane]:
    return lambda: LiteLane(candidate.path, candidate.inputs, threads, xnnpack)


def _web_lane(candidate: _Candidate, backend: Any, *, browser: bool) -> Callable[[], Lane]:
    return lambda: WebLane(candidate.path, candidate.inputs, backend, browser=browser)


# -- rounds --------------------------------------------------------------------------------------------------------


def _measure(lines: Sequence[_Line], plan: Plan, tell: Progress) -> None:
    """Load all, then run them in turn, in an order that turns around with each round."""
    for line in lines:
        tell(f"load {line.candidate.label}: {line.setting}")
        _open(line, plan)
    rounds = min(ROUNDS, plan.runs)
    for number in range(rounds):
        tell(f"round {number + 1} of {rounds}")
        runs = plan.runs // rounds + (number < plan.runs % rounds)
        for line in _sound(lines if number % 2 else list(reversed(lines))):
            with _noting(line):
                line.running.run(runs, plan.seconds / rounds)
    if plan.profile:
        for line in _sound(lines):
            tell(f"profile {line.candidate.label}: {line.setting}")
            with _noting(line):
                line.running.profile()


def _open(line: _Line, plan: Plan) -> None:
    with _noting(line):
        line.lane = line.make()
        line.lane.open(Warmup(plan.warmup, plan.seconds))


def _sound(lines: Sequence[_Line]) -> list[_Line]:
    return [line for line in lines if not line.problem]


@contextmanager
def _noting(line: _Line) -> Iterator[None]:
    """A model that fails has its problem told; the others go on."""
    try:
        yield
    except FerryError as error:
        line.problem = f"{error.what}: {error.why}" if error.why else error.what


def _timing(line: _Line) -> Timing:
    candidate = line.candidate
    about = Timing(candidate.label, candidate.bytes, line.setting, problem=line.problem)
    if line.lane is None or line.problem:
        return about
    found = line.lane.outcome
    return replace(
        about,
        runtime=found.runtime,
        backend=found.backend,
        load=found.load,
        first=found.first,
        times=found.times,
        memory=found.memory,
        kernels=found.kernels,
    )


def _compare(timings: Sequence[Timing]) -> Iterator[Timing]:
    """With the first model in the same setting; a single model with its first setting."""
    alone = len({each.model for each in timings}) == 1
    base: dict[str, float] = {}
    for each in timings:
        median = base.setdefault("" if alone else each.setting, each.median)
        yield replace(each, ratio=each.median / median)


def _tell(lines: Sequence[_Line], plan: Plan) -> Iterator[str]:
    if plan.profile and any(line.candidate.kind == "tflite" for line in lines):
        yield f"{litert.NAME}'s Python package gives no times of single operators"
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if max(plan.threads) > available:
        yield f"{max(plan.threads)} threads share the {available} processor{'s' if available > 1 else ''} of this machine"
