"""What the options ask of quantisation, as the records that do the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tensorferry.calibration.inputs import inputs_of
from tensorferry.calibration.pixels import Preparation
from tensorferry.calibration.samples import Progress as Counting
from tensorferry.calibration.samples import Samples, open_samples
from tensorferry.errors import OptionError, nearest
from tensorferry.ir import Graph
from tensorferry.options import Options
from tensorferry.quant.budget import Budget
from tensorferry.quant.correcting import Correction
from tensorferry.quant.mixing import Metric, relative_error
from tensorferry.quant.ranges import Method
from tensorferry.quant.scheme import Mode, Scheme, mode_of
from tensorferry.tensor import DType

Progress = Callable[[int], None]
"""Told how many trials were made."""

NO_CORRECTIONS = "none"

_HELPING = {Mode.INT8.value: (Correction.BIASES,)}
"""By mode; else all. Measured on PoseNet (docs/quantisation.md): where activations are int8, too, their rounding hides what better
codes of weights gain, and key points moved by more than without."""


def scheme_of(options: Options) -> Scheme | None:
    """What the options ask of a TensorFlow Lite file; None: nothing."""
    mode = options.quantize_for("tflite")
    if mode is None:
        return None
    plain = options.corrections == (NO_CORRECTIONS,)
    return Scheme(mode_of(mode), DType(options.io_dtype), options.keep_float, options.per_tensor, full_range=plain)


@dataclass(frozen=True, slots=True)
class Within:
    """A budget, and what its error is measured by: of the outputs, sample by sample. `wide`: what is spared computes in 16 bits."""

    budget: Budget
    metric: Metric = relative_error
    wide: bool = False
    tell: Progress | None = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """Samples, and what is made of them: ranges by `method`, corrections of constants, and what stays float within a budget."""

    samples: Samples
    method: Method = field(default_factory=Method)
    corrections: tuple[Correction, ...] = tuple(Correction)
    within: Within | None = None

    @property
    def possible(self) -> tuple[Correction, ...]:
        """Corrections run the samples again: what can be read once has none."""
        return self.corrections if self.samples.count is not None else ()


def calibration_of(options: Options, tell: Progress | None = None) -> Calibration | None:
    """As the options ask; their samples are open by now."""
    if not isinstance(options.calibrate, Samples):
        return None
    wide = options.quantize_for("tflite") == Mode.INT16X8
    method = Method(options.calibration_method, options.percentile, 65534 if wide else 255, symmetric=wide)
    return Calibration(options.calibrate, method, corrections_of(options), budget_of(options, tell))


def corrections_of(options: Options) -> tuple[Correction, ...]:
    """Those that help the mode, unless some are named."""
    names = [each.value for each in Correction]
    for name in options.corrections or ():
        if name not in (*names, NO_CORRECTIONS):
            raise OptionError(
                f"unknown correction '{name}'", why=nearest(name, names), remedy=f"choose {', '.join(names)} or {NO_CORRECTIONS}"
            )
    if options.corrections is None:
        return _HELPING.get(options.quantize_for("tflite") or "", tuple(Correction))
    return tuple(each for each in Correction if each.value in options.corrections)


def budget_of(options: Options, tell: Progress | None = None) -> Within | None:
    """What the options allow the result to lose, or to weigh; None: whatever it comes to."""
    if options.max_error is None and options.max_size is None:
        return None
    return Within(Budget(options.max_error, options.max_size), options.metric or relative_error, options.spare_as == "int16", tell)


def samples_of(graph: Graph, options: Options, tell: Counting | None = None) -> Samples | None:
    """The samples that the options name, checked; None where there are none to be. `tell` is told how far the check is."""
    if options.calibrate is None or not (options.quantize_for("tflite") or options.plan):
        return None
    asked = Preparation(
        options.mean or None, options.std or None, options.picture_fit, options.colour_order, options.calibration_samples
    )
    return open_samples(options.calibrate, inputs_of(graph), asked, tell)
