"""Corrections between deciding and applying: constants of the float program are moved so that its quantised form errs less.

The plan stays as it is. Where rounding follows the data, a weight is replaced by the very numbers that its chosen codes stand for,
so that applying the plan, which rounds to nearest, gives those codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from tensorferry.ir import Quantization
from tensorferry.program import Program, ProgramTensor
from tensorferry.quant.biases import shift_of
from tensorferry.quant.layers import Layer, layers_of, replaced
from tensorferry.quant.maths import grid_of, quantize
from tensorferry.quant.moments import Moments, Replay, gather_moments
from tensorferry.quant.plan import Form, Plan
from tensorferry.quant.rounding import LARGEST_WEIGHT, damped, round_to_data
from tensorferry.quant.scales import rows_of
from tensorferry.quant.weights import as_floats
from tensorferry.tensor import Array, ArrayTensor, CastTensor, DType, ScaledTensor, Tensor


class Correction(StrEnum):
    """What can be asked for."""

    ROUNDING = "rounding"
    BIASES = "biases"


@dataclass(frozen=True, slots=True)
class Corrected:
    """The float program with other constants, and how many layers each correction changed."""

    program: Program
    counts: Mapping[str, int]


def correct(program: Program, plan: Plan, replay: Replay, wanted: tuple[Correction, ...] = tuple(Correction)) -> Corrected:
    """Move weights and biases of the layers that the plan quantises; `program` should come from `own_constants`.

    `replay` gives values of the float program. The codes of all rounded weights are held together: a byte for each element.
    """
    forms = {each.place: each.inputs[1] for each in plan.operators if each.subgraph == 0 and len(each.inputs) > 1}
    chosen = {layer: form for layer in layers_of(program) if (form := _whole(forms.get(layer.place))) is not None}
    names = {number: tensor.name for number, tensor in enumerate(program.subgraphs[0].tensors)}
    contents: dict[int, Tensor] = {}
    counts = dict.fromkeys(wanted, 0)
    by_data = Correction.ROUNDING in wanted
    rounds = {layer: by_data and program.content(_weight(program, layer)).size <= LARGEST_WEIGHT for layer in chosen}
    for second in (True, False):
        layers = [layer for layer in chosen if rounds[layer] is second]
        for layer, moments in gather_moments(replay, layers, names, second=second):
            work = _Work(layer, program.content(_weight(program, layer)), chosen[layer], moments)
            found = work.run()
            if found.weight is not None:
                contents[layer.weight] = found.weight
                counts[Correction.ROUNDING] += 1
            if Correction.BIASES in wanted:
                bias = program.content(program.subgraphs[0].tensors[layer.bias]).array().astype(np.float64).reshape(-1)
                contents[layer.bias] = ArrayTensor((bias - found.shift).astype(np.float32))
                counts[Correction.BIASES] += 1
    return Corrected(replaced(program, contents), {each.value: count for each, count in counts.items()})


def _weight(program: Program, layer: Layer) -> ProgramTensor:
    return program.subgraphs[0].tensors[layer.weight]


def _whole(form: Form | None) -> Form | None:
    """The form, if it is one of whole numbers."""
    return form if form is not None and form.quantization is not None and form.dtype.is_integer else None


@dataclass(frozen=True, slots=True)
class _Found:
    """The weight on its grid (None: nearest codes will do), and what its errors add to the mean of each output channel."""

    weight: Tensor | None
    shift: Array


@dataclass(frozen=True, slots=True)
class _Work:
    """One layer, its weight, the form the weight will have, and the moments of what it sees."""

    layer: Layer
    weight: Tensor
    form: Form
    moments: Moments

    def run(self) -> _Found:
        layer = self.layer
        assert self.form.quantization is not None
        grid = grid_of(self.form.dtype, narrow=self.form.narrow)
        scales = _scales(self.form.quantization, layer.channels)
        metric = damped(self.moments.covariance()) if self.moments.second else None
        codes = np.empty(self.weight.size, grid.dtype.numpy) if metric is not None else None
        shift = np.zeros(layer.channels)
        for place, rows in _rows(layer, self.weight):
            steps = scales[place].astype(np.float64)
            if metric is None or codes is None:
                chosen = quantize(rows, scales[place, None], 0, grid)
            else:
                chosen = round_to_data(layer, rows, steps, grid, metric[place] if layer.depthwise else metric)
                where = slice(None) if layer.depthwise else slice(place.start * layer.features, place.stop * layer.features)
                codes[where] = layer.unrows(chosen)
            shift[place] = shift_of(layer, chosen * steps[:, None] - rows, self.moments, place)
        self.weight.release()
        return _Found(None if codes is None else self._on_grid(codes, scales), shift)

    def _on_grid(self, codes: Array, scales: Array) -> Tensor:
        stored = CastTensor(ArrayTensor(codes.reshape(self.weight.shape)), DType.FLOAT32)
        return ScaledTensor(stored, scales, 1 if self.layer.depthwise else self.layer.features)


def _scales(quantization: Quantization, channels: int) -> Array:
    """One for each channel, float32 as in the file."""
    return np.broadcast_to(np.asarray(quantization.scales, np.float32), (channels,))


def _rows(layer: Layer, weight: Tensor) -> Iterator[tuple[slice, Array]]:
    """The weight as rows [channels, features], some channels at a time. Depthwise weights are small and come whole."""
    if layer.depthwise:
        return iter([(slice(0, layer.channels), layer.rows(as_floats(weight.array(), weight.dtype)))])
    return rows_of(weight, layer.channels)
