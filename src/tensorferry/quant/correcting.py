"""Corrections between deciding and applying: constants of the float program are moved so that its quantised form errs less.

Of the plan only scales of weights change, and those of biases with them. Where rounding follows the data, a weight is replaced by
the very numbers that its chosen codes stand for, so that applying the plan, which rounds to nearest, gives those codes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from tensorferry.program import Program
from tensorferry.quant.biases import shift_of
from tensorferry.quant.layers import Layer, layers_of, replaced
from tensorferry.quant.maths import Grid, grid_of, quantize
from tensorferry.quant.moments import Moments, Replay, gather_moments
from tensorferry.quant.plan import Form, OperatorPlan, Plan
from tensorferry.quant.rounding import LARGEST_WEIGHT, damped, round_to_data
from tensorferry.quant.scales import best_shares
from tensorferry.quant.weights import as_floats
from tensorferry.tensor import Array, ArrayTensor, CastTensor, DType, ScaledTensor, Tensor

_SLICE = 1 << 20
"""Elements of a weight worked on at a time, in several float64 arrays."""


class Correction(StrEnum):
    """What can be asked for, in the order in which it is done."""

    SCALES = "scales"
    """Weights saturate where the finer steps of the others are worth it; needs no samples."""
    ROUNDING = "rounding"
    """Codes of weights are chosen for what the layer sees."""
    BIASES = "biases"
    """What rounding does to the mean of an output is taken out of the bias."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """The float program with other constants, the plan with other scales, and how many layers each correction changed."""

    program: Program
    plan: Plan
    counts: Mapping[str, int]


def correct(program: Program, plan: Plan, replay: Replay | None, wanted: Collection[Correction]) -> Corrected:
    """Move weights and biases of the layers that the plan quantises; `program` should come from `own_constants`.

    `replay` gives values of the float program; without it only scales are looked for. The codes of all rounded weights are held
    together: a byte for each element.
    """
    planned = {each.place: each for each in plan.operators if each.subgraph == 0}
    chosen = [layer for layer in layers_of(program) if _is_whole(planned.get(layer.place))]
    contents: dict[int, Tensor] = {}
    counts = dict.fromkeys(wanted, 0)
    for layer, moments in _seen(program, chosen, replay, wanted):
        work = _Work(layer, program, planned[layer.place], moments, Correction.ROUNDING in wanted)
        if Correction.SCALES in wanted:
            found = work.with_best_scales()
            counts[Correction.SCALES] += found is not work
            work = found
            planned[layer.place] = work.plan
        if moments is None or not {Correction.ROUNDING, Correction.BIASES} & set(wanted):
            continue
        rounded = work.run()
        if rounded.weight is not None:
            contents[layer.weight] = rounded.weight
            counts[Correction.ROUNDING] += 1
        if Correction.BIASES in wanted:
            contents[layer.bias] = work.bias_without(rounded.shift)
            counts[Correction.BIASES] += 1
    operators = tuple(planned[each.place] if each.subgraph == 0 else each for each in plan.operators)
    made = replaced(program, contents) if contents else program
    return Corrected(made, replace(plan, operators=operators), {each.value: count for each, count in counts.items()})


def _seen(
    program: Program, layers: list[Layer], replay: Replay | None, wanted: Collection[Correction]
) -> Iterator[tuple[Layer, Moments | None]]:
    """Each layer with the moments that its corrections need."""
    if replay is None:
        yield from ((layer, None) for layer in layers)
        return
    tensors = program.subgraphs[0].tensors
    names = {number: tensor.name for number, tensor in enumerate(tensors)}
    metric = {Correction.ROUNDING, Correction.SCALES} & set(wanted)
    small = [each for each in layers if metric and program.content(tensors[each.weight]).size <= LARGEST_WEIGHT]
    yield from gather_moments(replay, small, names)
    yield from gather_moments(replay, [each for each in layers if each not in small], names, second=False)


def _is_whole(plan: OperatorPlan | None) -> bool:
    """Whether the operator's weight becomes whole numbers."""
    form = plan.inputs[1] if plan is not None and len(plan.inputs) > 1 else None
    return form is not None and form.quantization is not None and form.dtype.is_integer


@dataclass(frozen=True, slots=True)
class _Found:
    """The weight on its grid (None: nearest codes will do), and what its errors add to the mean of each output channel."""

    weight: Tensor | None
    shift: Array


@dataclass(frozen=True, slots=True)
class _Work:
    """One layer of a program, what is planned for it, and the moments of what it sees (None: nothing was seen)."""

    layer: Layer
    program: Program
    plan: OperatorPlan
    moments: Moments | None
    rounds: bool
    """Whether codes are to be chosen for the data."""

    @property
    def weight(self) -> Tensor:
        return self._constant(self.layer.weight)

    @property
    def bias(self) -> Array:
        numbers: Array = self._constant(self.layer.bias).array().astype(np.float64).reshape(-1)
        return numbers

    def bias_without(self, shift: Array) -> Tensor:
        """The bias that makes up for a shift of the means."""
        return ArrayTensor((self.bias - shift).astype(np.float32))

    def _constant(self, number: int) -> Tensor:
        return self.program.content(self.program.subgraphs[0].tensors[number])

    @property
    def form(self) -> Form:
        form = self.plan.inputs[1]
        assert form is not None
        return form

    @property
    def grid(self) -> Grid:
        return grid_of(self.form.dtype, narrow=self.form.narrow)

    @property
    def scales(self) -> Array:
        """One for each channel, float32 as in the file."""
        assert self.form.quantization is not None
        return np.broadcast_to(np.asarray(self.form.quantization.scales, np.float32), (self.layer.channels,))

    def with_best_scales(self) -> _Work:
        """With shares of the full ranges that err less; the same object where none does, or there is one scale for all."""
        if self.form.quantization is None or len(self.form.quantization.scales) != self.layer.channels:
            return self
        shares = np.ones(self.layer.channels)
        importance = self._variances()
        for place, rows in rows_of(self.layer, self.weight):
            each = importance[place] if importance is not None and self.layer.depthwise else importance
            shares[place] = best_shares(rows, self.scales[place].astype(np.float64), self.grid, each)
        self.weight.release()
        bias = self.plan.inputs[2]
        if bias is not None and bias.quantization is not None:
            reach = np.asarray(bias.quantization.scales) * shares * (1 << 30)
            shares = np.where(np.abs(self.bias) < reach, shares, 1)
        if np.all(shares == 1):
            return self
        forms = (self.plan.inputs[0], _shrunk(self.form, shares), bias and _shrunk(bias, shares), *self.plan.inputs[3:])
        return replace(self, plan=replace(self.plan, inputs=forms))

    def _variances(self) -> Array | None:
        """How much each feature varies, depthwise [channels, taps]; None where that was not seen."""
        if self.moments is None or not self.moments.second:
            return None
        found = np.diagonal(damped(self.moments.covariance()), axis1=1, axis2=2)
        return found if self.layer.depthwise else found.reshape(-1)[: self.layer.features]

    def run(self) -> _Found:
        """Choose codes and tell the shift they bring."""
        layer, grid, scales = self.layer, self.grid, self.scales
        assert self.moments is not None
        metric = damped(self.moments.covariance()) if self.moments.second and self.rounds else None
        weight = self.weight
        codes = np.empty(weight.size, grid.dtype.numpy) if metric is not None else None
        shift = np.zeros(layer.channels)
        for place, rows in rows_of(layer, weight):
            steps = scales[place].astype(np.float64)
            if metric is None or codes is None:
                chosen = quantize(rows, scales[place, None], 0, grid)
            else:
                chosen = round_to_data(layer, rows, steps, grid, metric[place] if layer.depthwise else metric)
                where = slice(None) if layer.depthwise else slice(place.start * layer.features, place.stop * layer.features)
                codes[where] = layer.unrows(chosen)
            shift[place] = shift_of(layer, chosen * steps[:, None] - rows, self.moments, place)
        weight.release()
        return _Found(None if codes is None else self._on_grid(codes, scales), shift)

    def _on_grid(self, codes: Array, scales: Array) -> Tensor:
        stored = CastTensor(ArrayTensor(codes.reshape(self.weight.shape)), DType.FLOAT32)
        return ScaledTensor(stored, scales, 1 if self.layer.depthwise else self.layer.features)


def _shrunk(form: Form, shares: Array) -> Form:
    """The form with a share of each scale."""
    assert form.quantization is not None
    scales = np.asarray(np.asarray(form.quantization.scales) * shares, np.float32)
    return replace(form, quantization=replace(form.quantization, scales=tuple(map(float, scales))))


def rows_of(layer: Layer, weight: Tensor) -> Iterator[tuple[slice, Array]]:
    """The weight as rows [channels, features], float64, some channels at a time. Depthwise weights are small and come whole."""
    if layer.depthwise:
        yield slice(0, layer.channels), layer.rows(as_floats(weight.array(), weight.dtype))
        return
    step = max(1, _SLICE // layer.features)
    held: list[Array] = []
    count = first = 0
    for chunk in weight.chunks():
        held.append(as_floats(np.frombuffer(chunk, weight.dtype.numpy), weight.dtype))
        count += held[-1].size
        if count >= step * layer.features:
            joined = np.concatenate(held)
            whole = count // layer.features
            yield slice(first, first + whole), joined[: whole * layer.features].reshape(whole, -1).astype(np.float64)
            first, held = first + whole, [joined[whole * layer.features :]]
            count = held[0].size
    if count:
        yield slice(first, layer.channels), np.concatenate(held).reshape(-1, layer.features).astype(np.float64)
