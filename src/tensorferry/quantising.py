"""A lowered program becomes a quantised one, as the options ask; what was done, as plain data, and what its proof may allow."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tensorferry.calibration.inputs import inputs_of
from tensorferry.calibration.pixels import Preparation
from tensorferry.calibration.samples import Progress as Counting
from tensorferry.calibration.samples import Samples, open_samples
from tensorferry.comparison import Allowance
from tensorferry.errors import OptionError, nearest
from tensorferry.ir import Graph
from tensorferry.options import Options
from tensorferry.program import Program
from tensorferry.quant.applying import apply_plan
from tensorferry.quant.budget import Budget
from tensorferry.quant.deciding import decide_weights
from tensorferry.quant.integers import decide_integers, missing_ranges
from tensorferry.quant.mixing import MOST_SAMPLES, Loaded, Metric, Mixture, Trials, mix, relative_error, tell_mixture
from tensorferry.quant.observing import Observations, Watch, observe, watchable
from tensorferry.quant.plan import Plan
from tensorferry.quant.ranges import Method
from tensorferry.quant.scheme import Mode, Scheme, mode_of
from tensorferry.runtimes import litert
from tensorferry.tensor import Array, DType
from tensorferry.writers.tflite import write_program

Sample = Mapping[str, Array]
Progress = Callable[[int], None]
"""Told how many trials were made."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """The program, and what was decided."""

    program: Program
    plan: Plan
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

    def as_dict(self) -> dict[str, Any]:
        """For the report: how many operators of each kind were quantised, and which were not, with the reason."""
        kept = [each for each in self.plan.operators if not each.changed]
        return {
            "mode": self.plan.mode,
            **({"calibration": dict(self.calibration)} if self.calibration else {}),
            "fully_whole": self.mode.needs_ranges and not float_operators(self.program),
            "quantised": dict(Counter(each.operator for each in self.plan.operators if each.changed)),
            "float": [{"operator": each.operator, "name": each.name, "why": each.why} for each in kept],
        }


def _allow(mode: Mode, mean: float, cosine: float) -> Allowance:
    return Allowance(
        mean, cosine, f"quantised ({mode}): the error is told, and held to {mean:g} (mean) and the direction", indices=True
    )


ALLOWED: Mapping[Mode, Allowance] = {
    Mode.FLOAT16: _allow(Mode.FLOAT16, 0.01, 0.999),
    Mode.INT16X8: _allow(Mode.INT16X8, 0.1, 0.9),
    Mode.DYNAMIC: _allow(Mode.DYNAMIC, 0.1, 0.9),
    Mode.INT8: _allow(Mode.INT8, 0.15, 0.9),
    Mode.WEIGHTS4: _allow(Mode.WEIGHTS4, 0.2, 0.8),
}
"""A wrong scale, a permuted axis or a lost zero point is far beyond these; a net that merely suffers is not. Measured on PoseNet,
worst output: int8 0.032 (mean) and 0.962, weights alone 0.024 and 0.967."""


@dataclass(frozen=True, slots=True)
class WebQuantised:
    """A TensorFlow.js model of which some weights are in fewer bits: how many are stored as which type."""

    stored: Mapping[str, int]

    @property
    def allowance(self) -> Allowance | None:
        return web_allowance(self.stored)

    def as_dict(self) -> dict[str, Any]:
        return {"mode": ", ".join(self.stored) or "none", "quantised": dict(self.stored), "float": []}


WEB_ALLOWED = {"float16": (0.01, 0.995), "uint16": (0.02, 0.99), "uint8": (0.25, 0.5)}
"""Mean error and direction, by the type that weights are stored as. Measured on PoseNet, worst output: float16 0.0015 and 0.99989,
uint16 0.0016 and 0.9998, uint8 0.13 and 0.55 (on noise; 0.73 on a photograph)."""


def web_allowance(stored: Iterable[str]) -> Allowance | None:
    """What the coarsest of these types may cost; None where there is none."""
    coarsest = next((kind for kind in ("uint8", "uint16", "float16") if kind in set(stored)), None)
    if coarsest is None:
        return None
    mean, cosine = WEB_ALLOWED[coarsest]
    why = f"quantised ({coarsest}): the error is told, and held to {mean:g} (mean) and the direction"
    return Allowance(mean, cosine, why, indices=True)


def scheme_of(options: Options) -> Scheme | None:
    """What the options ask of a TensorFlow Lite file; None: nothing."""
    mode = options.quantize_for("tflite")
    if mode is None:
        return None
    return Scheme(mode_of(mode), DType(options.io_dtype), options.keep_float, options.per_tensor)


def method_of(options: Options) -> Method:
    """How ranges are made of what is seen."""
    wide = options.quantize_for("tflite") == Mode.INT16X8
    return Method(options.calibration_method, options.percentile, 65534 if wide else 255, symmetric=wide)


def samples_of(graph: Graph, options: Options, tell: Counting | None = None) -> Samples | None:
    """The samples that the options name, checked; None where there are none to be. `tell` is told how far the check is."""
    if options.calibrate is None or not options.quantize_for("tflite"):
        return None
    asked = Preparation(
        options.mean or None, options.std or None, options.picture_fit, options.colour_order, options.calibration_samples
    )
    return open_samples(options.calibrate, inputs_of(graph), asked, tell)


@dataclass(frozen=True, slots=True)
class Within:
    """A budget, and what its error is measured by: of the outputs, sample by sample."""

    budget: Budget
    metric: Metric = relative_error
    tell: Progress | None = None


def budget_of(options: Options, tell: Progress | None = None) -> Within | None:
    """What the options allow the result to lose, or to weigh; None: whatever it comes to."""
    if options.max_error is None and options.max_size is None:
        return None
    return Within(Budget(options.max_error, options.max_size), options.metric or relative_error, tell)


def quantise(
    program: Program,
    scheme: Scheme,
    samples: Iterable[Sample] | None = None,
    method: Method | None = None,
    within: Within | None = None,
) -> Quantised:
    """The program with its weights, and what the mode asks for besides, in fewer bits.

    `samples`: inputs by public name, on which the float program is run to see its ranges; each is taken once.
    """
    _check_patterns(program, scheme)
    if len(program.entries) > 1 and (scheme.mode.needs_ranges or within is not None):
        raise OptionError(
            f"--quantize {scheme.mode} takes one signature at a time",
            why="values are observed in one of them, and what the others compute would be unknown",
            remedy="choose one with --signature",
        )
    kept = _Kept(getattr(samples, "count", None))
    seen = Observations(0, {}, {})
    if samples is not None and scheme.mode.needs_ranges:
        seen = _observe(program, kept.of(samples), Watch(watchable(program), method or Method()))
    elif samples is not None:
        seen = Observations(sum(1 for _ in kept.of(samples)), {}, {})
    if samples is None and scheme.mode.needs_ranges and (missing := missing_ranges(program, scheme, {})):
        raise OptionError(
            f"--quantize {scheme.mode} needs the ranges of what is computed",
            why=f"the model itself gives none for {len(missing)} tensors, such as '{missing[0]}'",
            remedy="give inputs to observe them on: --calibrate with a folder of images, .npy, .npz or .csv",
        )

    def decide(wanted: Scheme) -> Plan:
        return decide_integers(program, wanted, seen.ranges) if wanted.mode.needs_ranges else decide_weights(program, wanted)

    mixture = None if within is None else _mix(program, scheme, decide, within, kept.samples)
    scheme = scheme if mixture is None else replace(scheme, spared=mixture.spared)
    plan = decide(scheme)
    made = apply_plan(program, plan)
    said = _tell_integers(made, plan, scheme, seen) if scheme.mode.needs_ranges else _tell(plan, scheme)
    told = () if mixture is None or within is None else (tell_mixture(mixture, within.budget, len(kept.samples)),)
    about = samples.as_dict() if isinstance(samples, Samples) else None
    notices = (*said, *told, *plan.notices, *(samples.notices if isinstance(samples, Samples) else ()))
    return Quantised(made, plan, notices, kept.samples[0] if kept.samples else None, about)


def _mix(program: Program, scheme: Scheme, decide: Callable[[Scheme], Plan], within: Within, samples: Sequence[Sample]) -> Mixture:
    """What keeps within the budget, found on these samples."""
    if not samples:
        raise OptionError(
            "without samples no error can be measured",
            remedy="give inputs to measure it on: --calibrate with a folder of images, .npy, .npz or .csv",
        )
    trials = Trials(program, _loaded, samples, within.metric)
    return mix(decide, replace(scheme, io_dtype=DType.FLOAT32), trials, within.budget, within.tell)


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


def _observe(program: Program, samples: Iterable[Sample], watch: Watch) -> Observations:
    """Run the float program in LiteRT on each sample, every operator by itself, and look at all that it computes."""
    with _opened(program, keep_intermediates=True) as model:

        def run(sample: Sample) -> Mapping[str, Array]:
            model.run(sample)
            return model.tensors()

        return observe(run, samples, watch)


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


def _tell_integers(made: Program, plan: Plan, scheme: Scheme, seen: Observations) -> Iterator[str]:
    whole = sum(each.changed for each in plan.operators)
    left = float_operators(made)
    calibrated = f"; ranges seen on {seen.samples} sample{'s' if seen.samples != 1 else ''}" if seen.samples else ""
    if not left:
        yield f"{plan.mode}: all operators compute with whole numbers{calibrated}"
        return
    listed = ", ".join(f"{count} {name}" for name, count in left.most_common())
    yield f"{plan.mode}: {whole} operators compute with whole numbers, {left.total()} in float ({listed}){calibrated}"
    reasons = _why_float(plan, scheme)
    if reasons:
        yield "float: " + ", ".join(f"{count} {name} ({why})" for (name, why), count in reasons.most_common())


def _why_float(plan: Plan, scheme: Scheme) -> Counter[tuple[str, str]]:
    """Kinds of operators and reasons; what a budget asked for is told by itself."""
    return Counter((each.operator, each.why) for each in plan.operators if not each.changed and each.name not in scheme.spared)


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


def _tell(plan: Plan, scheme: Scheme) -> tuple[str, ...]:
    changed = Counter(each.why for each in plan.operators if each.changed)
    said = [f"{scheme.mode}: {', '.join(f'{why} in {count} operators' for why, count in changed.items()) or 'nothing to quantise'}"]
    kept = _why_float(plan, scheme)
    if kept:
        said.append("float weights: " + ", ".join(f"{count} {name} ({why})" for (name, why), count in kept.items()))
    return tuple(said)
