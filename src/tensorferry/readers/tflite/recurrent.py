"""Recurrent operators: long short-term memory in all its forms, plain recurrent layers, and filters over a memory (SVDF).

A float LSTM without extras is TensorFlow's BlockLSTMV2. Everything else is written out step by step, rounded after each where the
file's numbers are whole. Layers over a whole sequence begin with zeros in each call; what takes one step at a time keeps its
state from call to call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.tflite.state import read_state, write_state
from tensorferry.readers.tflite.steps import ACTIVATIONS, Rule, Step, int32s
from tensorferry.tensor import Array, DType

MOST_STEPS = 256
"""A longer sequence is not written out."""

_NORM_EPSILON = 1e-8
_GATES = ("i", "f", "c", "o")


@dataclass(frozen=True, slots=True)
class Places:
    """Where an LSTM's inputs stand: the first of each group of gates, and the single ones; -1 where the operator has none."""

    kernel: int
    recurrent: int
    peephole: int
    bias: int
    projection: int
    projection_bias: int
    state: int
    cell: int
    norm: int = -1


_FORWARD = Places(1, 5, 9, 12, 16, 17, 18, 19, 20)
_BOTH = (Places(1, 5, 9, 12, 16, 17, 35, 36), Places(18, 22, 26, 29, 33, 34, 37, 38))


class Lstm:
    """The weights of one LSTM, gate by gate, and one step of it."""

    def __init__(self, step: Step, places: Places) -> None:
        self.step = step
        self.places = places
        self.coupled = not step.has(places.kernel)
        """The input gate is what the forget gate leaves."""
        self.gates = _GATES[1:] if self.coupled else _GATES
        self.normed = places.norm >= 0 and step.has(places.norm + 1)
        self.projected = step.has(places.projection)
        self.peepholes = step.has(places.peephole + 1)
        self.activation = ACTIVATIONS.get(step.options.member("fused_activation_function"), "")
        self.rounds = step.tensor(places.state).quantized and step.tensor(0).quantized

    def _weight(self, base: int, gate: str) -> Array:
        value = self.step.reader.real_constant(self.step.tensor(base + _GATES.index(gate)).number)
        if value.constant is None:
            raise self.step.refusal("its weights are computed while the model runs")
        return np.asarray(value.constant.array(), np.float32)

    def joined(self, base: int, gates: Sequence[str]) -> Array:
        """The weights of these gates side by side, one column for each unit."""
        return np.concatenate([self._weight(base, gate).T for gate in gates], axis=-1)

    def biases(self, gates: Sequence[str]) -> Array:
        return np.concatenate([self._weight(self.places.bias, gate).reshape(-1) for gate in gates])

    def peephole(self, gate: str) -> Array | None:
        """Weights with which a gate looks at the cell: i, f and o have them."""
        place = self.places.peephole + ("i", "f", "o").index(gate)
        if not self.peepholes or not self.step.has(place):
            return None
        value = self.step.input(place)
        return None if value.constant is None else np.asarray(value.constant.array(), np.float32)

    @property
    def plain(self) -> bool:
        """Whether TensorFlow has it as one op."""
        return not (self.coupled or self.normed or self.projected or self.rounds) and self.activation == "Tanh"

    # -- one op ----------------------------------------------------------------------------------------------------

    def block(self, x: Value, state: Value, cell: Value) -> tuple[Value, Value]:
        """All cells and all states, for x [time, batch, in]."""
        make = self.step.make
        steps = x.shape[0] if x.shape is not None else None
        if isinstance(steps, int):
            length = self.step.constant(np.asarray(steps, np.int64), "steps")
        else:
            length = make(
                "StridedSlice", make("Shape", x, out_type=DType.INT64), int32s(0), int32s(1), int32s(1), shrink_axis_mask=1
            )
        kernel = np.concatenate([self.joined(base, _GATES) for base in (self.places.kernel, self.places.recurrent)])
        units = kernel.shape[1] // 4
        peepholes = [self.peephole(gate) for gate in "ifo"]
        vectors = [np.zeros(units, np.float32) if each is None else each for each in peepholes]
        attrs = {"cell_clip": self.step.options.real("cell_clip"), "use_peephole": any(each is not None for each in peepholes)}
        block = self.step.make_node("BlockLSTMV2", length, x, cell, state, kernel, *vectors, self.biases(_GATES), **attrs)
        return block.outputs[1], block.outputs[6]

    # -- written out -----------------------------------------------------------------------------------------------

    def unrolled(self, rows: Sequence[Value], state: Value, cell: Value) -> tuple[list[Value], Value]:
        """The state after each step, and the last cell."""
        kernel = self.step.constant(self.joined(self.places.kernel, self.gates), "kernel")
        recurrent = self.step.constant(self.joined(self.places.recurrent, self.gates), "recurrent")
        bias = {gate: self.step.constant(self._weight(self.places.bias, gate).reshape(-1), f"bias_{gate}") for gate in self.gates}
        states = []
        for row in rows:
            make = self.step.make
            sums = make("AddV2", make("MatMul", row, kernel), make("MatMul", state, recurrent))
            parts = self.step.make_node("Split", np.asarray(1, np.int32), sums, num_split=len(self.gates)).outputs
            state, cell = self._next(dict(zip(self.gates, parts, strict=True)), bias, cell)
            states.append(state)
        return states, cell

    def _next(self, sums: dict[str, Value], bias: dict[str, Value], cell: Value) -> tuple[Value, Value]:
        make, places = self.step.make, self.places
        forget = make("Sigmoid", self._gate("f", sums["f"], bias, cell))
        added = self._gate("c", sums["c"], bias, None)
        added = make(self.activation, added) if self.activation else added
        entry = make("Sub", np.float32(1), forget) if self.coupled else make("Sigmoid", self._gate("i", sums["i"], bias, cell))
        cell = make("AddV2", make("Mul", forget, cell), make("Mul", entry, added))
        cell = self._limited(cell, "cell_clip")
        if self.rounds:
            cell = self._rounded(cell, places.cell)
        shown = make(self.activation, cell) if self.activation else cell
        state = make("Mul", make("Sigmoid", self._gate("o", sums["o"], bias, cell)), shown)
        if self.projected:
            state = make("MatMul", state, self.step.transposed(self.step.input(places.projection), (1, 0)))
            if self.step.has(places.projection_bias):
                number = self.step.tensor(places.projection_bias).number
                state = make("BiasAdd", state, self.step.reader.real_constant(number))
            state = self._limited(state, "proj_clip")
        return (self._rounded(state, places.state) if self.rounds else state), cell

    def _rounded(self, value: Value, index: int) -> Value:
        tensor = self.step.tensor(index)
        return self.step.rounded(value, tensor.quantization, tensor.dtype)

    def _gate(self, gate: str, value: Value, bias: dict[str, Value], cell: Value | None) -> Value:
        make = self.step.make
        weights = self.peephole(gate) if cell is not None else None
        if weights is not None and cell is not None:
            value = make("AddV2", value, make("Mul", cell, weights))
        if self.normed:
            mean = make("Mean", value, int32s(-1), keep_dims=True)
            apart = make("Sub", value, mean)
            spread = make("Mean", make("Square", apart), int32s(-1), keep_dims=True)
            value = make("Mul", apart, make("Rsqrt", make("AddV2", spread, _NORM_EPSILON)))
            value = make("Mul", value, self._weight(self.places.norm, gate).reshape(-1))
        return make("BiasAdd", value, bias[gate])

    def _limited(self, value: Value, option: str) -> Value:
        limit = self.step.options.real(option)
        return self.step.clipped(value, -limit, limit) if limit > 0 else value


def _rows(step: Step, x: Value, *, time_major: bool, backwards: bool = False) -> list[Value]:
    """One value [batch, in] for each step."""
    axis = 0 if time_major else 1
    steps = x.shape[axis] if x.shape is not None and len(x.shape) == 3 else None
    if not isinstance(steps, int) or not 0 < steps <= MOST_STEPS:
        raise step.refusal(
            f"its sequence is of {steps if isinstance(steps, int) else 'unknown'} steps: up to {MOST_STEPS} are written out",
            "give the length of the sequence with --shape",
        )
    rows = list(step.make_node("Unpack", x, num=steps, axis=axis).outputs)
    return rows[::-1] if backwards else rows


def _first(step: Step, index: int, x: Value, batch_axis: int) -> Value:
    """What a layer begins with: what the file gives, or zeros for as many rows as come in."""
    tensor = step.tensor(index)
    batch = x.shape[batch_axis] if x.shape is not None and len(x.shape) > batch_axis else None
    if not tensor.variable or step.reader.is_known(tensor.number) or isinstance(batch, int):
        return step.input(index)
    width = (tensor.shape or (0,))[-1]
    if not isinstance(width, int):
        raise step.refusal("the width of its state is not known")
    size = step.make("StridedSlice", step.make("Shape", x), int32s(batch_axis), int32s(batch_axis + 1), int32s(1))
    shape = step.make("ConcatV2", size, int32s(width), np.asarray(0, np.int32), N=2)
    return step.make("Fill", shape, np.asarray(0, np.float32))


def _run_lstm(step: Step, places: Places, x: Value, *, time_major: bool, backwards: bool = False) -> Value:
    layer = Lstm(step, places)
    batch_axis = 1 if time_major else 0
    state, cell = (_first(step, index, x, batch_axis) for index in (places.state, places.cell))
    if layer.plain:
        steps = x if time_major else step.transposed(x, (1, 0, 2))
        steps = step.make("ReverseV2", steps, int32s(0)) if backwards else steps
        cells, made = layer.block(steps, state, cell)
        _leave(step, places, lambda: (_last(step, made), _last(step, cells)))
        shown = step.make("ReverseV2", made, int32s(0)) if backwards else made
        return shown if time_major else step.transposed(shown, (1, 0, 2))
    rows = _rows(step, x, time_major=time_major, backwards=backwards)
    states, cell = layer.unrolled(rows, state, cell)
    _leave(step, places, lambda: (states[-1], cell))
    turned = states[::-1] if backwards else states
    return step.make("Pack", *turned, N=len(turned), axis=0 if time_major else 1)


def _last(step: Step, sequence: Value) -> Value:
    """The last element along the first axis."""
    attrs = {"begin_mask": 6, "end_mask": 7, "shrink_axis_mask": 1}
    return step.make("StridedSlice", sequence, int32s(-1, 0, 0), int32s(0, 0, 0), int32s(1, 1, 1), **attrs)


def _leave(step: Step, places: Places, make: Callable[[], tuple[Value, Value]]) -> None:
    """The operator leaves its last state and cell where the first stood: for those who read them there afterwards."""
    numbers = [step.tensor(index).number for index in (places.state, places.cell)]
    if any(step.reader.is_read_after(step.record, number) for number in numbers):
        for number, value in zip(numbers, make(), strict=True):
            step.reader.bind(number, value)


def _sequence_lstm(step: Step) -> Value:
    return _run_lstm(step, _FORWARD, step.input(0), time_major=step.options.flag("time_major"))


def _both_ways_lstm(step: Step) -> Sequence[Value]:
    if any(step.has(index) for index in range(40, 48)):
        raise step.refusal("it has weights for an auxiliary input, which are not supported")
    forward, backward = _BOTH
    major = step.options.flag("time_major")
    results = [
        _run_lstm(step, forward, step.input(0), time_major=major),
        _run_lstm(step, backward, step.input(39 if step.has(39) else 0), time_major=major, backwards=True),
    ]
    return _merged(step, results)


def _merged(step: Step, results: Sequence[Value]) -> Sequence[Value]:
    if step.options.flag("merge_outputs"):
        return [step.make("ConcatV2", *results, np.asarray(-1, np.int32), N=2)]
    return results


def _lstm(step: Step) -> Sequence[Value]:
    """One step. The basic kernel is given what was before and gives what is after; the full one keeps it."""
    if step.options.member("kernel_type") == "BASIC":
        return _basic_lstm(step)
    layer = Lstm(step, _FORWARD)
    state, cell = (read_state(step, index) for index in (_FORWARD.state, _FORWARD.cell))
    states, cell = layer.unrolled([step.input(0)], state, cell)
    write_state(step, _FORWARD.state, states[0])
    write_state(step, _FORWARD.cell, cell)
    return states


def _basic_lstm(step: Step) -> Sequence[Value]:
    """Inputs: x, state, weights [4 units, in + out] of the gates i, c, f, o, bias, cell. Outputs: state, cell, and work space."""
    x, state, cell = step.input(0), step.input(1), step.input(4)
    joined = step.make("ConcatV2", x, state, np.asarray(1, np.int32), N=2)
    bias = step.reader.real_constant(step.tensor(3).number)
    sums = step.make("BiasAdd", step.make("MatMul", joined, step.transposed(step.input(2), (1, 0))), bias)
    i, c, f, o = step.make_node("Split", np.asarray(1, np.int32), sums, num_split=4).outputs
    kept = step.make("Mul", step.make("Sigmoid", f), cell)
    cell = step.make("AddV2", kept, step.make("Mul", step.make("Sigmoid", i), step.make("Tanh", c)))
    state = step.make("Mul", step.make("Sigmoid", o), step.make("Tanh", cell))
    return [state, cell, joined, sums][: len(step.record.outputs)]


# -- plain recurrent layers ----------------------------------------------------------------------------------------


def _recur(step: Step, first: int, rows: Sequence[Value], state: Value) -> list[Value]:
    """activation(x W + state U + b), for each row; the weights stand from `first` on."""
    kernel, recurrent = (step.transposed(step.input(first + place), (1, 0)) for place in (0, 1))
    bias = step.reader.real_constant(step.tensor(first + 2).number)
    states = []
    for row in rows:
        sums = step.make("AddV2", step.make("MatMul", row, kernel), step.make("MatMul", state, recurrent))
        state = step.activated(step.make("BiasAdd", sums, bias))
        states.append(state)
    return states


def _rnn(step: Step) -> Value:
    state = _recur(step, 1, [step.input(0)], read_state(step, 4))[0]
    write_state(step, 4, state)
    return state


def _sequence(step: Step, first: int, x: Value, *, backwards: bool = False) -> Value:
    major = step.options.flag("time_major")
    rows = _rows(step, x, time_major=major, backwards=backwards)
    states = _recur(step, first, rows, _first(step, first + 3, x, 1 if major else 0))
    states = states[::-1] if backwards else states
    return step.make("Pack", *states, N=len(states), axis=0 if major else 1)


def _sequence_rnn(step: Step) -> Value:
    return _sequence(step, 1, step.input(0))


def _both_ways_rnn(step: Step) -> Sequence[Value]:
    if step.has(10) or step.has(11):
        raise step.refusal("it has weights for an auxiliary input, which are not supported")
    results = [_sequence(step, 1, step.input(0)), _sequence(step, 5, step.input(9 if step.has(9) else 0), backwards=True)]
    return _merged(step, results)


# -- filters over a memory -----------------------------------------------------------------------------------------


def _svdf(step: Step) -> Value:
    """Each filter keeps its last results; their weighted sum over time, summed over the rank, is a unit."""
    weights = step.input(2)
    shape, rank = weights.static_shape, step.options.number("rank")
    if shape is None or len(shape) != 2 or rank < 1 or shape[0] % rank:
        raise step.refusal("its filters do not fit its rank")
    filters, memory = shape
    kept = step.make("Reshape", read_state(step, 4), int32s(-1, filters, memory))
    fresh = step.make("MatMul", step.input(0), step.transposed(step.input(1), (1, 0)))
    older = step.make("Slice", kept, int32s(0, 0, 1), int32s(-1, filters, memory - 1))
    newest = step.make("ExpandDims", fresh, np.asarray(2, np.int32))
    kept = step.make("ConcatV2", older, newest, np.asarray(2, np.int32), N=2)
    state = step.tensor(4)
    kept = step.rounded(kept, state.quantization, state.dtype)
    write_state(step, 4, step.make("Reshape", kept, int32s(-1, filters * memory)))
    sums = step.make("Sum", step.make("Mul", kept, weights), int32s(2))
    if rank > 1:
        sums = step.make("Sum", step.make("Reshape", sums, int32s(-1, filters // rank, rank)), int32s(2))
    if step.has(3):
        sums = step.make("BiasAdd", sums, step.reader.real_constant(step.tensor(3).number))
    return step.activated(sums)


RULES: dict[str, Rule] = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _sequence_lstm,
    "BIDIRECTIONAL_SEQUENCE_LSTM": _both_ways_lstm,
    "LSTM": _lstm,
    "RNN": _rnn,
    "UNIDIRECTIONAL_SEQUENCE_RNN": _sequence_rnn,
    "BIDIRECTIONAL_SEQUENCE_RNN": _both_ways_rnn,
    "SVDF": _svdf,
}
