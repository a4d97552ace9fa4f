"""A lowered program becomes a quantised one: decided, calibrated, corrected, applied; what was done, as plain data."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Self

from tensorferry.comparison import Allowance
from tensorferry.errors import OptionError, nearest
from tensorferry.program import Program
from tensorferry.quant.applying import apply_plan
from tensorferry.quant.correcting import Correction, correct
from tensorferry.quant.deciding import decide_weights
from tensorferry.quant.integers import decide_integers, missing_ranges
from tensorferry.quant.layers import layers_of, own_constants, replaced
from tensorferry.quant.maths import grid_of
from tensorferry.quant.mixing import MOST_SAMPLES, Loaded, Trials, mix, tell_mixture, widen
from tensorferry.quant.observing import Observations, Watch, observe, watchable
from tensorferry.quant.plan import Form, Plan
from tensorferry.quant.scheme import Mode, Scheme
from tensorferry.quantising.allowing import ALLOWED
from tensorferry.quantising.asking import Calibration
from tensorferry.runtimes import litert
from tensorferry.tensor import Array, DType
from tensorferry.writers.tflite import write_program

Sample = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Quantised:
    """The program, and what was decided."""

    program: Program
    plan: Plan
    source: Program
    """The float program that the plan is for."""
    notices: tuple[str, ...]
    sample: Sample | None = None
    """What was calibrated on first: inputs within the ranges, to prove the result on."""
    calibration: Mapping[str, Any] | None = None
    """What is to be told of the samples."""

    @property
    def mode(self) -> Mode:
        return Mode(self.plan.mode)

    @property
    def allowance(self) -> Allowance:
        """What a proof may find: beyond it the file is not coarse but broken."""
        return ALLOWED[self.mode]

    @property
    def reach(self) -> dict[str, tuple[float, float]]:
        """Public names of inputs that are rounded to a grid, and its ends: what lies beyond is cut off."""
        main = self.source.subgraphs[0]
        names = dict(zip(main.inputs, self.source.entries[0].input_names, strict=True))
        found = {}
        for each in self.plan.operators:
            numbers = main.operators[each.place].inputs if each.subgraph == 0 else ()
            for number, form in zip(numbers, each.inputs, strict=False):
                if number in names and form is not None and form.quantization is not None:
                    grid, point = grid_of(form.dtype), form.quantization.zero_points[0]
                    found[names[number]] = (grid.low - point) * form.scale, (grid.high - point) * form.scale
        return found

    def as_dict(self) -> dict[str, Any]:
        """For the report: how many operators of each kind were quantised, and which were not, with the reason."""
        kept = [each for each in self.plan.operators if not each.changed]
        return {
            "mode": self.plan.mode,
            **({"calibration": dict(self.calibration)} if self.calibration else {}),
            "fully_whole": self.mode.needs_ranges and not float_operators(self.program),
            "quantised": dict(Counter(each.operator for each in self.plan.operators if each.changed)),
            **({"sixteen_bits": wide} if (wide := self._wide()) else {}),
            "float": [{"operator": each.operator, "name": each.name, "why": each.why} for each in kept],
        }

    def _wide(self) -> list[dict[str, str]]:
        """Operators of a file in 8 bits that compute in 16."""
        found = (
            each for each in self.plan.operators if any(form is not None and form.dtype is DType.INT16 for form in each.outputs)
        )
        return [{"operator": each.operator, "name": each.name, "why": each.why} for each in found if self.mode is Mode.INT8]


def quantise(program: Program, scheme: Scheme, calibration: Calibration | None = None) -> Quantised:
    """The program with its weights, and what the mode asks for besides, in fewer bits."""
    _check_patterns(program, scheme)
    if len(program.entries) > 1 and (scheme.mode.needs_ranges or calibration is not None):
        raise OptionError(
            f"--quantize {scheme.mode} with samples takes one signature at a time",
            why="values are observed in one of them, and what the others compute would be unknown",
            remedy="choose one with --signature",
        )
    if calibration is not None:
        return _calibrated(program, scheme, calibration)
    if scheme.mode.needs_ranges and (missing := missing_ranges(program, scheme, {})):
        raise OptionError(
            f"--quantize {scheme.mode} needs the ranges of what is computed",
            why=f"the model itself gives none for {len(missing)} tensors, such as '{missing[0]}'",
            remedy="give inputs to observe them on: --calibrate with a folder of images, .npy, .npz or .csv",
        )
    plan = _decide(program, scheme, {})
    made = apply_plan(program, plan)
    return Quantised(made, plan, program, (*_tell(made, plan, scheme), *plan.notices))


def _decide(program: Program, scheme: Scheme, ranges: Mapping[str, tuple[float, float]]) -> Plan:
    if not scheme.mode.needs_ranges:
        return decide_weights(program, scheme)
    if not (scheme.spared_wide and scheme.spared):
        return decide_integers(program, scheme, ranges)
    plain = replace(scheme, spared={})
    wide = replace(plain, mode=Mode.INT16X8, io_dtype=DType.FLOAT32)
    return widen(decide_integers(program, plain, ranges), decide_integers(program, wide, ranges), scheme.spared)


def _calibrated(program: Program, scheme: Scheme, calibration: Calibration) -> Quantised:
    wanted = () if scheme.mode is Mode.FLOAT16 else calibration.possible
    program = own_constants(program) if wanted else program
    told: tuple[str, ...] = ()
    with _Runs(program, calibration) as runs:
        ranges = runs.observe().ranges if scheme.mode.needs_ranges else runs.pass_by()

        def decide(asked: Scheme) -> Plan:
            return _decide(program, asked, ranges)

        corrected = runs.corrected(decide(scheme), wanted)
        if calibration.within is not None:
            trials = Trials(program, _loaded, runs.kept.samples, calibration.within.metric, partial(_blend, program, corrected))
            scheme = replace(scheme, spared_wide=calibration.within.wide)
            asked = replace(scheme, io_dtype=DType.FLOAT32)
            mixture = mix(decide, asked, trials, calibration.within.budget, calibration.within.tell)
            scheme = replace(scheme, spared=mixture.spared)
            instead = "compute in 16 bits" if scheme.spared_wide else "stay float"
            told = (tell_mixture(mixture, calibration.within.budget, len(runs.kept.samples), instead),)
        plan = replace(decide(scheme), corrections=tuple(each.value for each in wanted))
        made = apply_plan(_blend(program, corrected, plan), plan)
    return runs.quantised(made, plan, (*_tell(made, plan, scheme), *told))


def _blend(program: Program, corrected: Program, plan: Plan) -> Program:
    """The program with corrected constants in the layers that a plan quantises: what is corrected for codes is not for float."""
    whole = {each.place for each in plan.operators if each.subgraph == 0 and len(each.inputs) > 1 and _is_whole(each.inputs[1])}
    numbers = [number for layer in layers_of(program) if layer.place in whole for number in (layer.weight, layer.bias)]
    tensors = corrected.subgraphs[0].tensors
    return replaced(program, {number: corrected.content(tensors[number]) for number in numbers})


def _is_whole(form: Form | None) -> bool:
    return form is not None and form.dtype.is_integer


def follow(program: Program, plan: Callable[[Program], Plan], calibration: Calibration | None) -> Quantised:
    """Do what a plan says that was made before; `plan` reads it, checked against the program that it is given."""
    try:
        wanted = plan(program)
    except OptionError:  # where weights were corrected, each layer has a bias and constants of its own
        program = own_constants(program)
        wanted = plan(program)
    if not wanted.corrections:
        made = apply_plan(program, wanted)
        return Quantised(made, wanted, program, (*_tell(made, wanted), *wanted.notices))
    program = own_constants(program)
    wanted = plan(program)
    if calibration is None:
        raise OptionError(
            f"the plan's {' and '.join(wanted.corrections)} were fitted to samples",
            why="it holds how tensors are stored, not the weights themselves",
            remedy="give the same samples with --calibrate, or make a plan with --corrections none",
        )
    with _Runs(program, calibration) as runs:
        runs.pass_by()
        made = apply_plan(runs.corrected(wanted, tuple(map(Correction, wanted.corrections))), wanted)
    return runs.quantised(made, wanted, tuple(_tell(made, wanted)))


@dataclass(slots=True)
class _Kept:
    """Some of the samples that pass, evenly: to prove the result on, and to measure errors by."""

    count: int | None
    samples: list[Sample] = field(default_factory=list)

    def of(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """All of them; MOST_SAMPLES at most are kept."""
        stride = -(-(self.count or 1) // MOST_SAMPLES)
        for place, sample in enumerate(samples):
            if place % stride == 0 and len(self.samples) < MOST_SAMPLES:
                self.samples.append(sample)
            yield sample


class _Runs:
    """The float program in LiteRT, every operator by itself, on each sample as often as is needed."""

    def __init__(self, program: Program, calibration: Calibration) -> None:
        self.program = program
        self.kept = _Kept(calibration.samples.count)
        self._calibration = calibration
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._model = self._stack.enter_context(_opened(self.program, keep_intermediates=True))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _run(self, sample: Sample) -> Mapping[str, Array]:
        self._model.run(sample)
        return self._model.tensors()

    def observe(self) -> Observations:
        """Ranges of all that is computed."""
        watch = Watch(watchable(self.program), self._calibration.method)
        return observe(self._run, self.kept.of(self._calibration.samples), watch)

    def pass_by(self) -> Mapping[str, tuple[float, float]]:
        """No ranges; some samples are kept."""
        for _ in self.kept.of(self._calibration.samples):
            pass
        return {}

    def corrected(self, plan: Plan, wanted: tuple[Correction, ...]) -> Program:
        """The program, its constants moved as the plan's codes and the samples ask for."""
        if not wanted:
            return self.program
        return correct(self.program, plan, lambda: map(self._run, self._calibration.samples), wanted).program

    def quantised(self, made: Program, plan: Plan, said: tuple[str, ...]) -> Quantised:
        """With all that is to be told of the samples."""
        samples = self._calibration.samples
        done = (f"fitted to {samples.count} samples: {', '.join(plan.corrections)}",) if plan.corrections else ()
        first = self.kept.samples[0] if self.kept.samples else None
        return Quantised(made, plan, self.program, (*said, *plan.notices, *done, *samples.notices), first, samples.as_dict())


@contextmanager
def _opened(program: Program, *, keep_intermediates: bool = False) -> Iterator[litert.LiteRtModel]:
    """The program in LiteRT, from a file that lasts as long."""
    if missing := litert.available():
        raise OptionError("calibration runs the float model in LiteRT, which is not here", why=missing)
    with tempfile.TemporaryDirectory(prefix="tensorferry-") as folder:
        path = Path(folder) / "program.tflite"
        write_program(program, path)
        with litert.LiteRtModel(path, keep_intermediates=keep_intermediates) as model:
            yield model


@contextmanager
def _loaded(program: Program) -> Iterator[Loaded]:
    with _opened(program) as model:
        yield Loaded(Path(model.path).stat().st_size, model.run)


def float_operators(program: Program) -> Counter[str]:
    """Operators of a program that compute with float numbers; what converts to and from them is left out."""
    found: Counter[str] = Counter()
    for subgraph in program.subgraphs:
        for operator in subgraph.operators:
            name = program.codes[operator.code].name
            tensors = [subgraph.tensors[number] for number in (*operator.inputs, *operator.outputs) if number >= 0]
            if name not in ("QUANTIZE", "DEQUANTIZE") and any(tensor.dtype is DType.FLOAT32 for tensor in tensors):
                found[name] += 1
    return found


def _tell(made: Program, plan: Plan, scheme: Scheme | None = None) -> Iterator[str]:
    """What was done; what a budget asked for is told by itself."""
    spared = frozenset() if scheme is None else scheme.spared
    changed = Counter(each.why for each in plan.operators if each.changed)
    kept = Counter((each.operator, each.why) for each in plan.operators if not each.changed and each.name not in spared)
    reasons = ", ".join(f"{count} {name} ({why})" for (name, why), count in kept.most_common())
    if not Mode(plan.mode).needs_ranges:
        listed = ", ".join(f"{why} in {count} operators" for why, count in changed.items())
        yield f"{plan.mode}: {listed or 'nothing to quantise'}"
        if kept:
            yield f"float weights: {reasons}"
        return
    left = float_operators(made)
    if not left:
        yield f"{plan.mode}: all operators compute with whole numbers"
        return
    listed = ", ".join(f"{count} {name}" for name, count in left.most_common())
    yield f"{plan.mode}: {changed.total()} operators compute with whole numbers, {left.total()} in float ({listed})"
    if kept:
        yield f"float: {reasons}"


def _check_patterns(program: Program, scheme: Scheme) -> None:
    """OptionError for a pattern of --keep-float that nothing answers to: it is misspelt, or the passes merged what it names."""
    names = set()
    for subgraph in program.subgraphs:
        for operator in subgraph.operators:
            names |= {program.codes[operator.code].name, *(subgraph.tensors[number].name for number in operator.outputs)}
    for pattern in scheme.keep_float:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise OptionError(
                f"no operator answers to --keep-float '{pattern}'",
                why=nearest(pattern, names),
                remedy="give the name of an operator's output in the result, a kind such as DEPTHWISE_CONV_2D, or a pattern",
            )
