"""SimpleRNN, LSTM, GRU, the CuDNN forms of older files, and RNN over any of Keras' cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder, values_in
from tensorferry.readers.keras.description import EXPORT, Config, Layer
from tensorferry.readers.keras.layers.cells import CELLS, Cell, cell_of, roles
from tensorferry.readers.keras.layers.held import held_layer
from tensorferry.readers.keras.registry import Slot, layer
from tensorferry.readers.keras.scanning import Scan, Scanned, scan
from tensorferry.tensor import Array, ArrayTensor, Tensor


def _roles(config: Config) -> list[str | Slot]:
    return roles(config, "cell/")


@layer("SimpleRNN", "LSTM", "GRU", weights=_roles)
def recurrent(build: Builder, config: Config, inputs: Sequence[Value]) -> Value | list[Value]:
    """A cell stepped through the sequence."""
    return run_cell(build, config, inputs, Cell(build.layer, f"{build.layer.class_name}Cell", "cell/"))


def _cell_in(layer: Layer) -> dict[str, Layer]:
    given = layer.config.get("cell")
    if isinstance(given, list):  # some releases write the cells without their stack
        given = {"class_name": "StackedRNNCells", "config": {"cells": given, "name": "stacked_rnn_cells"}}
    return {"cell": held_layer(layer, given)}


@layer("RNN", children=_cell_in)
def rnn(build: Builder, config: Config, inputs: Sequence[Value]) -> Value | list[Value]:
    """Any of Keras' own cells, stepped through the sequence."""
    child = build.layer.children["cell"]
    if child.class_name not in (*CELLS, "StackedRNNCells"):
        raise build.unsupported(f"its cell is of the class '{child.class_name}', which is not known", EXPORT)
    return run_cell(build, config, inputs, cell_of(child))


# -- the layer around the cell -------------------------------------------------------------------------------------


def run_cell(build: Builder, config: Config, inputs: Sequence[Value], cell: Cell) -> Value | list[Value]:
    """The layer's outputs: the last or all outputs of the cell, and its states where they are wanted."""
    if config.get("num_constants"):
        raise build.unsupported("its cell reads constants beside the sequence", EXPORT)
    x, first = inputs[0], list(inputs[1:]) + values_in(build.kwargs.get("initial_state"))
    if build.rank(x) != 3:
        raise build.unsupported(f"its input has {build.rank(x)} axes, not 3")
    x, mask = time_first(build, config, x)
    backwards = config.flag("go_backwards")
    mask = turned(build, mask, 0) if mask is not None and backwards else mask
    x = turned(build, x, 0) if backwards else x
    if first and len(first) != len(cell.sizes):
        raise build.unsupported(f"it gets {len(first)} first states and has {len(cell.sizes)}")
    if not first:
        if config.flag("stateful"):
            tell_stateful(build)
        first = [build.zeros([build.sizes(x)[1], size]) for size in cell.sizes]
    collect = config.flag("return_sequences")
    unroll = config.flag("unroll")
    given = Scan(x, [build.floating(each) for each in first], mask, collect, unroll, config.flag("zero_output_for_mask"))
    return outputs_of(build, config, scan(build, given, cell.step), inputs[0])


def tell_stateful(build: Builder) -> None:
    """A file has no room for what a stateful layer remembers."""
    build.notice(
        f"the layer '{build.layer.name}' is stateful; each run begins with states of 0 "
        "(return_state and initial_state make them outputs and inputs)"
    )


def outputs_of(build: Builder, config: Mapping[str, object], made: Scanned, x: Value) -> Value | list[Value]:
    """Batch first again; with the states behind, where they are returned."""
    value = made.last
    if made.outputs is not None:
        value = made.outputs if config.get("time_major") else swapped(build, made.outputs)
        build.set_mask(value, _mask_of(build, x))
    return [value, *made.states] if config.get("return_state") else value


def _mask_of(build: Builder, x: Value) -> Value | None:
    given = build.kwargs.get("mask")
    return given if isinstance(given, Value) else build.mask(x)


def time_first(build: Builder, config: Config, x: Value) -> tuple[Value, Value | None]:
    mask = _mask_of(build, x)
    if config.flag("time_major"):
        return x, mask
    return swapped(build, x), None if mask is None else swapped(build, mask)


def swapped(build: Builder, value: Value) -> Value:
    """Batch and time change places."""
    return build.transpose(value, [1, 0, *range(2, build.rank(value))])


def turned(build: Builder, value: Value, axis: int) -> Value:
    return build.add("ReverseV2", (value, build.constant([axis], name="axis")))


# -- CuDNN ---------------------------------------------------------------------------------------------------------


@layer("CuDNNLSTM", "CuDNNGRU", weights=("kernel", "recurrent_kernel", "bias"))
def cudnn(build: Builder, config: Config, inputs: Sequence[Value]) -> Value | list[Value]:
    """The layers of older files for one maker's cards: the plain ones, with other weights."""
    kind = build.layer.class_name.removeprefix("CuDNN")
    gates = 4 if kind == "LSTM" else 3
    own = {"activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": True, "use_bias": True}
    name = build.layer.name
    weights = {
        "cell/kernel": _each_gate(build.tensor("kernel"), gates, lambda part: part.reshape(part.shape[::-1]).T),
        "cell/recurrent_kernel": _each_gate(build.tensor("recurrent_kernel"), gates, lambda part: part.T),
        "cell/bias": _cudnn_bias(build.tensor("bias"), kind),
    }
    plain = Layer(name, kind, Config({**config, **own}, name), build.layer.module, weights=weights)
    inner = build.holding(plain)
    inner.args, inner.kwargs = build.args, build.kwargs
    return run_cell(inner, plain.config, inputs, Cell(plain, f"{kind}Cell", "cell/"))


def _each_gate(tensor: Tensor, gates: int, change: Callable[[Array], Array]) -> Tensor:
    parts = np.split(tensor.array(), gates, axis=1)
    return ArrayTensor(np.ascontiguousarray(np.concatenate([change(part) for part in parts], axis=1)))


def _cudnn_bias(tensor: Tensor, kind: str) -> Tensor:
    rows = tensor.array().reshape(2, -1)
    return ArrayTensor(np.ascontiguousarray(rows.sum(0) if kind == "LSTM" else rows))
