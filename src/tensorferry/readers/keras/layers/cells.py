"""One step of each recurrent cell, whichever layer holds the cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras.activations import activate
from tensorferry.readers.keras.ancient import gate_roles
from tensorferry.readers.keras.building import Builder
from tensorferry.readers.keras.description import Config, Layer, snake_case
from tensorferry.readers.keras.layers.held import held_layer
from tensorferry.readers.keras.registry import Slot, layer
from tensorferry.tensor import ArrayTensor, Tensor

_MOST_CELLS = 1000

CELLS = ("SimpleRNNCell", "LSTMCell", "GRUCell")


def roles(config: Config, prefix: str = "") -> list[str | Slot]:
    """The weights of every plain cell; in Keras 1 each gate has its own."""
    gates = config.get("gates")
    if config.release == 1 and isinstance(gates, str):
        return [*gate_roles(gates, prefix)]
    names = ["kernel", "recurrent_kernel", "bias"] if config.flag("use_bias", True) else ["kernel", "recurrent_kernel"]
    return [f"{prefix}{name}" for name in names]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: its layer, where its weights lie in it, and its kind."""

    layer: Layer
    kind: str
    prefix: str = ""

    @property
    def sizes(self) -> list[int]:
        """The widths of its states."""
        if self.kind == "StackedRNNCells":
            return [size for each in self.parts for size in each.sizes]
        return [self.layer.config.integer("units")] * (2 if self.kind == "LSTMCell" else 1)

    @property
    def parts(self) -> list[Cell]:
        return [cell_of(child) for child in self.layer.children.values()]

    def step(self, build: Builder, x: Value, states: Sequence[Value]) -> tuple[Value, list[Value]]:
        """The output and the next states."""
        if self.kind == "StackedRNNCells":
            return self._stacked(build, x, states)
        own = build.holding(self.layer)
        return _STEPS[self.kind](_Weights(own, self.prefix), own.floating(x), states)

    def _stacked(self, build: Builder, x: Value, states: Sequence[Value]) -> tuple[Value, list[Value]]:
        found: list[Value] = []
        for each in self.parts:
            count = len(each.sizes)
            x, new = each.step(build, x, states[len(found) : len(found) + count])
            found += new
        return x, found


def cell_of(child: Layer) -> Cell:
    """The cell that a layer is."""
    return Cell(child, child.class_name)


@dataclass(frozen=True, slots=True)
class _Weights:
    build: Builder
    prefix: str

    def get(self, role: str, change: Callable[[Tensor], Tensor] | None = None, suffix: str = "") -> Value:
        return self.build.weight(f"{self.prefix}{role}", change, suffix)

    def has(self, role: str) -> bool:
        return self.build.has(f"{self.prefix}{role}")

    def part(self, role: str, start: int, end: int, row: int | None = None) -> Value:
        """Some of a weight's columns; of a bias with two rows, of one of them."""

        def cut(tensor: Tensor) -> Tensor:
            array = tensor.array() if row is None else tensor.array()[row]
            return ArrayTensor(np.ascontiguousarray(array[..., start:end]))

        return self.get(role, cut, f"/{start}" if row is None else f"/{row}/{start}")

    def product(self, x: Value, role: str) -> Value:
        return self.build.add("MatMul", (x, self.get(role)))


def _curve(build: Builder, value: Value, default: str = "tanh") -> Value:
    return activate(build, value, build.config.get("activation", default))


def _gate(build: Builder, value: Value, default: str = "sigmoid") -> Value:
    return activate(build, value, build.config.get("recurrent_activation", default))


def _simple(weights: _Weights, x: Value, states: Sequence[Value]) -> tuple[Value, list[Value]]:
    build = weights.build
    projected = weights.product(x, "kernel")
    if weights.has("bias"):
        projected = build.add("BiasAdd", (projected, weights.get("bias")))
    state = _curve(build, build.add("AddV2", (projected, weights.product(states[0], "recurrent_kernel"))))
    return state, [state]


def _lstm(weights: _Weights, x: Value, states: Sequence[Value]) -> tuple[Value, list[Value]]:
    build = weights.build
    total = build.add("AddV2", (weights.product(x, "kernel"), weights.product(states[0], "recurrent_kernel")))
    if weights.has("bias"):
        total = build.add("BiasAdd", (total, weights.get("bias")))
    i, f, c, o = build.add_all("Split", (build.constant(1, name="axis"), total), {"num_split": 4})
    kept = build.add("Mul", (_gate(build, f), states[1]))
    cell = build.add("AddV2", (kept, build.add("Mul", (_gate(build, i), _curve(build, c)))))
    state = build.add("Mul", (_gate(build, o), _curve(build, cell)))
    return state, [state, cell]


def _gru(weights: _Weights, x: Value, states: Sequence[Value]) -> tuple[Value, list[Value]]:
    build, state = weights.build, states[0]
    units, biased, after = build.config.integer("units"), weights.has("bias"), build.config.flag("reset_after")
    axis = build.constant(1, name="axis")
    projected = weights.product(x, "kernel")
    if biased:
        bias = weights.part("bias", 0, 3 * units, 0) if after else weights.get("bias")
        projected = build.add("BiasAdd", (projected, bias))
    of_update, of_reset, of_new = build.add_all("Split", (axis, projected), {"num_split": 3})
    if after:
        inner = weights.product(state, "recurrent_kernel")
        if biased:
            inner = build.add("BiasAdd", (inner, weights.part("bias", 0, 3 * units, 1)))
        inner_update, inner_reset, inner_new = build.add_all("Split", (axis, inner), {"num_split": 3})
    else:
        gates = build.add("MatMul", (state, weights.part("recurrent_kernel", 0, 2 * units)))
        inner_update, inner_reset = build.add_all("Split", (axis, gates), {"num_split": 2})
    update = _gate(build, build.add("AddV2", (of_update, inner_update)))
    reset = _gate(build, build.add("AddV2", (of_reset, inner_reset)))
    if after:
        added = build.add("Mul", (reset, inner_new))
    else:
        kept = build.add("Mul", (reset, state))
        added = build.add("MatMul", (kept, weights.part("recurrent_kernel", 2 * units, 3 * units)))
    new = _curve(build, build.add("AddV2", (of_new, added)))
    rest = build.add("Mul", (build.add("Sub", (build.number(1.0, update), update)), new))
    state = build.add("AddV2", (build.add("Mul", (update, state)), rest))
    return state, [state]


_STEPS = {"SimpleRNNCell": _simple, "LSTMCell": _lstm, "GRUCell": _gru}


# -- cells as layers -----------------------------------------------------------------------------------------------


@layer(*CELLS, weights=roles)
def cell(build: Builder, _config: Config, inputs: Sequence[Value]) -> list[Value]:
    """A cell called on its own: an input and its states."""
    output, states = cell_of(build.layer).step(build, inputs[0], inputs[1:])
    return [output, *states]


def _cells_in(layer: Layer) -> dict[str, Layer]:
    """The cells of a stack, under the names of Keras 3's folders."""
    given = layer.config.get("cells")
    if not isinstance(given, list) or not given or len(given) > _MOST_CELLS:
        raise layer.config.wrong("cells", "a list of cells")
    made: dict[str, Layer] = {}
    for each in given:
        child = held_layer(layer, each)
        base = f"cells/{snake_case(child.class_name)}"
        count = sum(name == base or name.startswith(f"{base}_") for name in made)
        made[f"{base}_{count}" if count else base] = child
    return made


@layer("StackedRNNCells", children=_cells_in)
def stacked_cells(build: Builder, config: Config, inputs: Sequence[Value]) -> Value | Sequence[Value]:
    """As one cell."""
    return cell(build, config, inputs)
