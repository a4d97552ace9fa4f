"""Weights of a TensorFlow.js model in fewer bits: which are, with which scale, and what is said of those that are not.

TensorFlow.js makes real numbers of them as it loads: code * scale + min in double precision, stored as float32; float16 as it is.
So this saves bytes on the way to the page, not in its memory.

There is one scale for a whole weight. The channels of a depthwise filter differ so much in size that 256 steps lose the small ones:
measured on PoseNet, its heat map's cosine with the float one is 0.12 with all weights as uint8, and 0.985 with these in 16 bits,
which makes the model 2 to 4 percent larger. Hence float16 for them, and for vectors (biases), unless a pattern names them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import numpy as np

from tensorferry.errors import OptionError, nearest
from tensorferry.storage import CHUNK
from tensorferry.tensor import Array, CastTensor, DType, Tensor
from tensorferry.writers.tfjs_attributes import Json
from tensorferry.writers.tfjs_channels import MODE, Split, split_weight
from tensorferry.writers.tfjs_weights import Weight

STEPS = {"uint8": 255, "uint16": 65535}
"""Modes with codes, and the largest of these."""

BEYOND_HALF = 65520.0
"""From this magnitude on rounding to float16 gives infinity."""

SMALLEST_HALF = 2.0**-14
"""The smallest number that float16 holds with all its digits."""

_NAMES_TOLD = 3


@dataclass(frozen=True, slots=True)
class WeightRule:
    """A mode for the weights whose names fit the pattern (`*`, `?`, `[...]`); without one for all that no other rule names."""

    mode: str
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Reduction:
    """What is asked of a model's weights. Those whose names fit a pattern of `keep` stay float32."""

    rules: Sequence[WeightRule]
    keep: Sequence[str] = ()


class AffineCodes(Tensor):
    """round((element - minimum) / scale), held to 0 .. the largest code: as tensorflowjs_converter quantises."""

    def __init__(self, base: Tensor, mode: str, scale: float, minimum: float) -> None:
        super().__init__(DType(mode), base.shape)
        self.base, self.scale, self.minimum = base, scale, minimum
        self._most = STEPS[mode]

    def array(self) -> Array:
        return self._codes(self.base.array())

    def elements(self, start: int, stop: int) -> Array:
        return self._codes(self.base.elements(start, stop))

    def chunks(self, limit: int = CHUNK) -> Iterator[memoryview]:
        for piece in self.base.chunks(limit):  # in the base's own pieces: a transposed one would be transposed for each
            yield self._codes(np.frombuffer(piece, self.base.dtype.numpy)).view(np.uint8).data

    def release(self) -> None:
        self.base.release()

    def _codes(self, real: Array) -> Array:
        steps = np.rint((real.astype(np.float64) - self.minimum) / self.scale)
        codes: Array = np.clip(steps, 0, self._most).astype(self.dtype.numpy)
        return codes


@dataclass(slots=True)
class Quantised:
    """The weights as they are written now, in their order, and what there is to say."""

    weights: list[Weight]
    notices: list[str] = field(default_factory=list)
    splits: dict[str, Split] = field(default_factory=dict)
    """Weights that are two now, by their names: the graph must multiply these."""

    @property
    def stored(self) -> dict[str, int]:
        """How many are stored as which type."""
        halves = {each.codes.name for each in self.splits.values()}
        kinds = Counter(
            MODE if each.name in halves else str(each.quantization["dtype"])
            for each in self.weights
            if each.quantization is not None
        )
        return dict(sorted(kinds.items()))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a graph says of its weights: the names of depthwise filters, and of what tables are filled with, which stays exact.

    `claim` makes a new name for a weight; None where no graph could multiply a weight out of two.
    """

    depthwise: Collection[str] = ()
    initial: Collection[str] = ()
    claim: Callable[[str], str] | None = None

    @classmethod
    def of(cls, nodes: Iterable[Json], initial: Iterable[Json], claim: Callable[[str], str]) -> Surroundings:
        filters = frozenset(node["input"][1] for node in nodes if "DepthwiseConv2d" in node["op"])
        return cls(filters, frozenset(node["name"] for node in initial), claim)


def quantise_weights(weights: Sequence[Weight], reduction: Reduction, around: Surroundings | None = None) -> Quantised:
    """Each float weight after the rule that names it. Where uint8 is said of all, depthwise filters and vectors become float16.

    OptionError for a pattern that fits no weight, and for two of different modes that fit one.
    """
    around = around or Surroundings()
    _check_patterns(reduction.rules, weights)
    result, left = Quantised([]), _Left()
    for weight in weights:
        mode, named = _choose(weight, reduction.rules)
        kept = weight.name in around.initial or any(fnmatchcase(weight.name, pattern) for pattern in reduction.keep)
        if mode is None or kept:
            result.weights.append(weight)
            continue
        coarse = mode == "uint8" and not named and weight.name in around.depthwise
        if coarse or (_is_vector(weight) and (mode == MODE or (mode == "uint8" and not named))):
            mode = "float16"
        split = _split(weight, around, left) if mode == MODE else None
        if split is not None:
            result.splits[weight.name] = split
            result.weights += [split.codes, split.scales]
            continue
        smaller = _reduce(weight, mode, left) if mode != MODE else None
        result.weights.append(weight if smaller is None else smaller)
    result.notices = [_tell_saved(weights, result), *left.notices(), *_tell_unknown(weights, reduction.keep)]
    return result


def _split(weight: Weight, around: Surroundings, left: _Left) -> Split | None:
    """The weight as codes and scales; None for one that stays as it is."""
    tensor = weight.tensor
    if tensor.dtype is not DType.FLOAT32 or tensor.size < 2:
        return None
    kept = 2 if weight.name in around.depthwise else 1
    if 3 * tensor.size < _NODES + tensor.dtype.width * math.prod(tensor.shape[-kept:]):
        left.small += 1
        return None
    if around.claim is None:
        raise OptionError(
            f"{MODE} is for graph models of TensorFlow.js", why="it needs a graph that multiplies", remedy="take uint8 or float16"
        )
    split = split_weight(weight, kept, around.claim)
    if split is None:
        left.add(weight.name, "which holds NaN or infinity")
    return split


def _tell_unknown(weights: Sequence[Weight], keep: Sequence[str]) -> list[str]:
    """Patterns that are for another target, or misspelt: what they name here stays float in no case."""
    names = [weight.name for weight in weights]
    lost = [pattern for pattern in keep if not any(fnmatchcase(name, pattern) for name in names)]
    return [f"no weight has a name like {', '.join(lost)}, which was to stay float"] if lost else []


def _is_vector(weight: Weight) -> bool:
    return sum(size > 1 for size in weight.tensor.shape) < 2


def _choose(weight: Weight, rules: Sequence[WeightRule]) -> tuple[str | None, bool]:
    """The mode of a weight, and whether a pattern names it: that goes before what is said of all."""
    named = {rule.mode for rule in rules if rule.pattern and fnmatchcase(weight.name, rule.pattern)}
    if len(named) > 1:
        raise OptionError(f"weight '{weight.name}' fits patterns of {' and '.join(sorted(named))}", remedy="let one pattern fit it")
    general = next((rule.mode for rule in rules if not rule.pattern), None)
    return (named.pop(), True) if named else (general, False)


def _check_patterns(rules: Sequence[WeightRule], weights: Sequence[Weight]) -> None:
    general = sorted({rule.mode for rule in rules if not rule.pattern})
    if len(general) > 1:
        remedy = "give all but one a pattern: --quantize MODE=PATTERN"
        raise OptionError(f"all weights cannot be {' and '.join(general)} at once", remedy=remedy)
    names = [weight.name for weight in weights if weight.tensor.dtype is DType.FLOAT32]
    for pattern in filter(None, (rule.pattern for rule in rules)):
        if not any(fnmatchcase(name, pattern) for name in names):
            some = ", ".join(names[:_NAMES_TOLD]) or "none"
            raise OptionError(
                f"no float weight has a name like '{pattern}'",
                why=nearest(pattern, names) or f"there are {some}" + (" ..." if len(names) > _NAMES_TOLD else ""),
                remedy="patterns are of names in weightsManifest; * stands for any letters",
            )


@dataclass(slots=True)
class _Left:
    """Weights that were to be quantised and are not, by reason."""

    small: int = 0
    named: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, reason: str) -> None:
        self.named.setdefault(reason, []).append(name)

    def notices(self) -> list[str]:
        told = []
        for reason, names in self.named.items():
            shown = ", ".join(names[:_NAMES_TOLD]) + (f" and {len(names) - _NAMES_TOLD} more" if len(names) > _NAMES_TOLD else "")
            told.append(f"{shown}: {'stays' if len(names) == 1 else 'stay'} float32, {reason}")
        if self.small:
            told.append(f"{self.small} float weights are so small that quantising them would save nothing: they stay float32")
        return told


def _reduce(weight: Weight, mode: str, left: _Left) -> Weight | None:
    """The weight in its mode; None for one that stays as it is."""
    tensor = weight.tensor
    if tensor.dtype is not DType.FLOAT32 or tensor.size < 2:
        return None
    width = DType(mode).width
    if tensor.size * (tensor.dtype.width - width) < _DESCRIPTION:
        left.small += 1
        return None
    low, high = _range(tensor)
    if not (math.isfinite(low) and math.isfinite(high)):
        left.add(weight.name, "which holds NaN or infinity")
        return None
    if mode in STEPS:
        scale, minimum = affine_parameters(low, high, STEPS[mode])
        note: dict[str, str | float] = {"min": minimum, "scale": scale, "dtype": mode, "original_dtype": "float32"}
        return replace(weight, tensor=AffineCodes(tensor, mode, scale, minimum), nbytes=tensor.size * width, quantization=note)
    most = max(abs(low), abs(high))
    if most >= BEYOND_HALF:
        left.add(weight.name, "which holds numbers that float16 does not (beyond 65504)")
        return None
    if 0 < most < SMALLEST_HALF:
        left.add(weight.name, "whose numbers are so small that float16 would lose their digits")
        return None
    half: dict[str, str | float] = {"dtype": mode, "original_dtype": "float32"}
    return replace(weight, tensor=CastTensor(tensor, DType.FLOAT16), nbytes=tensor.size * width, quantization=half)


_NODES = 500
"""Bytes that two more nodes, and one more entry of the manifest, take."""

_DESCRIPTION = 100
"""Bytes that the manifest takes to say that a weight is quantised. What saves no more is left exact."""


def affine_parameters(low: float, high: float, steps: int) -> tuple[float, float]:
    """(scale, minimum) of codes 0 .. steps over a range. Where zero lies within, it is a code exactly; the range moves by half a
    step at most for that. As tensorflowjs_converter has it: a range of one value is that value, with a scale of 1.
    """
    if low == high:
        return 1.0, low
    scale = (high - low) / steps
    if not low <= 0 <= high:
        return scale, low
    return scale, -float(np.rint(-low / scale)) * scale + 0.0  # no negative zero


def _range(tensor: Tensor) -> tuple[float, float]:
    """Smallest and largest element, in one pass; NaN where there is one."""
    low, high = math.inf, -math.inf
    for piece in tensor.chunks():
        part = np.frombuffer(piece, tensor.dtype.numpy)
        low, high = float(np.minimum(low, part.min())), float(np.maximum(high, part.max()))
    tensor.release()
    return low, high


def _tell_saved(before: Sequence[Weight], result: Quantised) -> str:
    if not result.stored:
        return "no weight is quantised"
    listed = ", ".join(f"{count} weight{'s' if count > 1 else ''} as {mode}" for mode, count in result.stored.items())
    was, now = (sum(each.nbytes for each in weights) for weights in (before, result.weights))
    return f"{listed}: {now:,} bytes of weights instead of {was:,}"
