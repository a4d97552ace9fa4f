"""CudnnRNN: layers of LSTM, GRU or plain cells as graphics cards compute them, with all weights in one vector.

The vector holds, for each layer and in it for each direction, the gates' matrices of what comes in and then of the state, each
[units, in]; behind all matrices the biases in the same order. Gates stand as cuDNN has them: i, f, c, o; r, z, n. What a graph
trained on a graphics card says so runs on anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.lstm import sigmoid
from tensorferry.ops.rounds import loop
from tensorferry.ops.samples import sample
from tensorferry.ops.sizes import Sizes, scalar, vector
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType

_GATES = {"lstm": 4, "gru": 3, "rnn_relu": 1, "rnn_tanh": 1}


@dataclass(frozen=True, slots=True)
class _Weights:
    """Of one layer in one direction: [in, gates x units], [units, gates x units], and a bias [gates x units] for each of them."""

    kernel: Any
    recurrent: Any
    bias: Any
    recurrent_bias: Any


@dataclass(frozen=True, slots=True)
class _Plan:
    """Layers, directions and sizes of a node; where each one's weights lie in the vector."""

    mode: str
    layers: int
    directions: int
    inner: int
    units: int

    @property
    def gates(self) -> int:
        return _GATES[self.mode]

    def width(self, layer: int) -> int:
        """How many numbers come into a layer."""
        return self.units * self.directions if layer else self.inner

    def places(self) -> list[tuple[int, int, int, int]]:
        """For each layer and direction: where its matrices begin, those of the state, its biases; and how much comes in."""
        found, at, wide = [], 0, self.gates * self.units
        for layer in range(self.layers):
            for _direction in range(self.directions):
                width = self.width(layer)
                found.append((at, at + wide * width, width))
                at += wide * (width + self.units)
        return [(first, second, at + number * 2 * wide, width) for number, (first, second, width) in enumerate(found)]


def _plan(node: Node, inner: Dim, states: Dim, units: Dim) -> _Plan:
    mode, directions = str(node["rnn_mode"]), 2 if node["direction"] == "bidirectional" else 1
    if mode not in _GATES or node["input_mode"] not in ("linear_input", "auto_select"):
        raise Declined("its kind of cell or input is not known", attributes=f"rnn_mode={mode}, input_mode={node['input_mode']}")
    if node.get("num_proj"):
        raise Declined("its projection is not written", attributes=f"num_proj={node['num_proj']}")
    if node["is_training"] and node["dropout"]:
        raise Declined("it drops numbers at random, as in training", attributes=f"dropout={node['dropout']}")
    if not isinstance(inner, int) or not isinstance(states, int) or not isinstance(units, int) or states % directions:
        raise Declined("how many layers and units it has is not known", remedy="fix it with --shape")
    return _Plan(mode, states // directions, directions, inner, units)


def _leading(node: Node) -> bool:
    """Whether time is the first axis."""
    return bool(node.get("time_major", True))


def _infer(node: Node) -> list[Typed]:
    x, state = node.inputs[:2]
    if any(each.rank not in (None, 3) for each in node.inputs[:2]):
        raise Declined(f"its sequence and state have ranks {x.rank} and {state.rank}, not 3")
    outer = (UNKNOWN_DIM, UNKNOWN_DIM) if x.shape is None else x.shape[:2]
    units: Dim = UNKNOWN_DIM if state.shape is None else state.shape[2]
    both = units * 2 if isinstance(units, int) and node["direction"] == "bidirectional" else units
    wide = both if node["direction"] != "bidirectional" or isinstance(units, int) else UNKNOWN_DIM
    states = Typed(x.dtype, (UNKNOWN_DIM,) * 3 if state.shape is None else state.shape)
    made = [Typed(x.dtype, (*outer, wide)), states, states, Typed(x.dtype, (0,))]
    return made if node.op == "CudnnRNN" else [*made, Typed(node["index_dtype"], (0,))]


# -- evaluation ----------------------------------------------------------------------------------------------------


def _weights_of(plan: _Plan, params: Array) -> list[_Weights]:
    wide, found = plan.gates * plan.units, []
    for first, second, biases, width in plan.places():
        kernel = params[first : first + wide * width].reshape(wide, width).T
        recurrent = params[second : second + wide * plan.units].reshape(wide, plan.units).T
        found.append(_Weights(kernel, recurrent, params[biases : biases + wide], params[biases + wide : biases + 2 * wide]))
    return found


def _run(mode: str, x: Array, state: Array, cell: Array, weights: _Weights) -> tuple[Array, Array, Array]:
    """States after each step, the last one, the last cell."""
    states = []
    for step in x:
        here, there = step @ weights.kernel + weights.bias, state @ weights.recurrent + weights.recurrent_bias
        if mode == "lstm":
            i, f, c, o = np.split(here + there, 4, axis=-1)
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
            state = sigmoid(o) * np.tanh(cell)
        elif mode == "gru":
            (xr, xz, xn), (hr, hz, hn) = np.split(here, 3, axis=-1), np.split(there, 3, axis=-1)
            update = sigmoid(xz + hz)
            state = (1 - update) * np.tanh(xn + sigmoid(xr + hr) * hn) + update * state
        else:
            state = np.tanh(here + there) if mode == "rnn_tanh" else np.maximum(here + there, 0)
        states.append(state)
    return np.stack(states), state, cell


def _evaluate(node: Node, x: Array, state: Array, cell: Array, params: Array, lengths: Array | None = None) -> tuple[Array, ...]:

    def turn(array: Array) -> Array:
        return array if _leading(node) else np.swapaxes(array, 0, 1)

    x, state, cell = turn(x), turn(state), turn(cell if node["rnn_mode"] == "lstm" else np.zeros_like(state))
    if lengths is not None and (lengths != len(x)).any():
        raise Declined("its sequences are of different lengths")
    plan = _plan(node, x.shape[2], state.shape[0], state.shape[2])
    weights, lasts, cells = _weights_of(plan, params), [], []
    for layer in range(plan.layers):
        made = []
        for direction in range(plan.directions):
            place = layer * plan.directions + direction
            line, last, kept = _run(plan.mode, x[::-1] if direction else x, state[place], cell[place], weights[place])
            made.append(line[::-1] if direction else line)
            lasts.append(last)
            cells.append(kept)
        x = np.concatenate(made, axis=-1)
    kept = np.stack(cells) if plan.mode == "lstm" else np.zeros_like(state)
    results = (turn(x), turn(np.stack(lasts)), turn(kept), np.zeros(0, x.dtype))
    return results if node.op == "CudnnRNN" else (*results, np.zeros(0, np.int8))


# -- in other ops --------------------------------------------------------------------------------------------------


class _Layers(Expansion):
    """Writes the layers of one node, time first."""

    def weights(self, plan: _Plan, params: Value) -> list[_Weights]:
        if params.constant is not None:
            arrays = _weights_of(plan, params.constant.array())
            return [_Weights(*(np.ascontiguousarray(getattr(each, name)) for name in _Weights.__slots__)) for each in arrays]
        wide = plan.gates * plan.units

        def matrix(at: int, width: int) -> Value:
            shaped = self.make("Reshape", self.piece(params, at, wide * width), np.array([wide, width], np.int32))
            return self.make("Transpose", shaped, np.array([1, 0], np.int32))

        return [
            _Weights(
                matrix(first, width),
                matrix(second, plan.units),
                self.piece(params, biases, wide),
                self.piece(params, biases + wide, wide),
            )
            for first, second, biases, width in plan.places()
        ]

    def piece(self, params: Value, at: int, count: int) -> Value:
        return self.make("Slice", params, np.array([at], np.int32), np.array([count], np.int32))

    def plane(self, value: Value, place: int) -> Value:
        return self.make("GatherV2", value, np.int32(place), np.int32(0))

    def joined(self, values: Sequence[Value], op: str, axis: int) -> Value:
        if op == "Pack":
            return self.make("Pack", *values, axis=axis)
        return values[0] if len(values) == 1 else self.make("ConcatV2", *values, np.int32(axis))

    def run(self, plan: _Plan, x: Value, states: tuple[Value, Value], weights: _Weights) -> tuple[Value, Value, Value]:
        """As `_run`."""
        state, cell = states
        if plan.mode == "lstm":
            bias = self.make("AddV2", weights.bias, weights.recurrent_bias)
            made = self.make_node("Lstm", x, weights.kernel, weights.recurrent, bias, state, cell, returns_cell=True)
            return made.outputs[0], self.plane(self.backwards(made.outputs[0]), 0), made.outputs[1]
        line, last = self.looped(plan, x, state, weights)
        return line, last, cell

    def backwards(self, value: Value) -> Value:
        return self.make("ReverseV2", value, np.array([0], np.int32))

    def looped(self, plan: _Plan, x: Value, state: Value, weights: _Weights) -> tuple[Value, Value]:
        sizes, wide = Sizes(self, x), plan.gates * plan.units
        width = (x.shape or ())[-1]
        assert isinstance(width, int)
        flat = self.make("Reshape", x, np.array([-1, width], np.int32))
        heard = self.make("AddV2", self.make("MatMul", flat, weights.kernel), weights.bias)
        heard = self.make("Reshape", heard, vector(self, [sizes[0], sizes[1], wide]))
        line = self.make("Fill", vector(self, [sizes[0], sizes[1], plan.units]), np.float32(0))
        count = scalar(self, sizes[0])
        constants = [
            each if isinstance(each, Value) else self.constant(each) for each in (weights.recurrent, weights.recurrent_bias)
        ]
        start = [self.make("Identity", np.int32(0)), count, heard, state, line, *constants]

        def goes_on(steps: Expansion, values: list[Value]) -> Value:
            return steps.make("Less", values[0], values[1])

        def once(steps: Expansion, values: list[Value]) -> Sequence[Value]:
            now, until, sounds, before, made, recurrent, bias = values
            here = steps.make("GatherV2", sounds, now, np.int32(0))
            there = steps.make("AddV2", steps.make("MatMul", before, recurrent), bias)
            after = _cell(steps, plan, here, there, before)
            at = steps.make("Pack", now, np.int32(0), np.int32(0), axis=0)
            made = steps.make("XlaDynamicUpdateSlice", made, steps.make("ExpandDims", after, np.int32(0)), at)
            return [steps.make("AddV2", now, np.int32(1)), until, sounds, after, made, recurrent, bias]

        results = loop(self, start, goes_on, once)
        return results[4], results[3]


def _cell(steps: Expansion, plan: _Plan, here: Value, there: Value, before: Value) -> Value:
    """The next state of a GRU or a plain cell."""
    if plan.mode != "gru":
        return steps.make("Tanh" if plan.mode == "rnn_tanh" else "Relu", steps.make("AddV2", here, there))
    (xr, xz, xn), (hr, hz, hn) = (steps.make_node("Split", np.int32(1), each, num_split=3).outputs for each in (here, there))
    reset, update = (steps.make("Sigmoid", steps.make("AddV2", *pair)) for pair in ((xr, hr), (xz, hz)))
    new = steps.make("Tanh", steps.make("AddV2", xn, steps.make("Mul", reset, hn)))
    return steps.make("AddV2", new, steps.make("Mul", update, steps.make("Sub", before, new)))


def _expand(graph: Graph, node: Node) -> bool:
    x, state, cell, params = node.inputs[:4]
    if x.shape is None or state.shape is None or x.dtype is not DType.FLOAT32:
        raise Declined("the sizes of its sequence and state are not known, or they are no float32")
    first = _leading(node)
    plan = _plan(node, x.shape[2], state.shape[0 if first else 1], state.shape[2])
    _require_whole(node, x.shape[0 if first else 1])
    parts = _Layers(graph, node)
    turned = np.array([1, 0, 2], np.int32)

    def turn(value: Value) -> Value:
        return value if first else parts.make("Transpose", value, turned)

    line, state = turn(x), turn(state)
    cell = turn(cell) if plan.mode == "lstm" else state
    lasts, cells = [], []
    for place, weights in enumerate(parts.weights(plan, params)):
        direction = place % plan.directions
        if not direction:
            made: list[Value] = []
        own = parts.backwards(line) if direction else line
        states = parts.plane(state, place), parts.plane(cell, place)
        steps, last, kept = parts.run(plan, own, states, weights)
        made.append(parts.backwards(steps) if direction else steps)
        lasts.append(last)
        cells.append(kept)
        if direction == plan.directions - 1:
            line = parts.joined(made, "ConcatV2", 2)
    last_cells = turn(parts.joined(cells, "Pack", 0)) if plan.mode == "lstm" else parts.make("ZerosLike", node.inputs[1])
    nothing = [parts.constant(np.zeros(0, each.dtype.numpy), "reserved") for each in node.outputs[3:]]
    return parts.finish(turn(line), turn(parts.joined(lasts, "Pack", 0)), last_cells, *nothing)


def _require_whole(node: Node, steps: Dim) -> None:
    if len(node.inputs) < 5:
        return
    lengths = node.inputs[4].constant
    if lengths is None or not isinstance(steps, int) or (lengths.array() != steps).any():
        raise Declined("its sequences may be of different lengths", remedy="use the layer without a mask")


# -- examples ------------------------------------------------------------------------------------------------------


def _inputs(mode: str, layers: int = 1, directions: int = 1, leading: bool = True) -> tuple[Array, ...]:
    plan = _Plan(mode, layers, directions, 3, 4)
    x, state, cell = sample(5, 2, 3), sample(layers * directions, 2, 4, seed=1), sample(layers * directions, 2, 4, seed=2)
    biases = plan.places()[-1][2]
    params = sample(biases + 2 * plan.gates * plan.units, seed=3) * np.float32(0.5)
    if not leading:
        x, state, cell = (np.ascontiguousarray(np.swapaxes(each, 0, 1)) for each in (x, state, cell))
    return x, state, cell, params


def _examples() -> Iterator[Example]:
    for mode in _GATES:
        yield Example(_inputs(mode), {"rnn_mode": mode, "is_training": False}, (3,), 2e-6, note=mode)
    both = {"rnn_mode": "lstm", "direction": "bidirectional", "is_training": False}
    yield Example(_inputs("lstm", 2, 2), both, (3,), 5e-6, note="two layers in both directions")
    yield Example(_inputs("gru"), {"rnn_mode": "gru"}, (), 2e-6, note="computed weights")


def _second_examples() -> Iterator[Example]:
    yield Example(_inputs("rnn_tanh"), {"rnn_mode": "rnn_tanh"}, (3,), 2e-6)


def _third_examples() -> Iterator[Example]:
    lengths, attrs = np.array([5, 5], np.int32), {"is_training": False, "time_major": False}
    for mode in ("lstm", "gru"):
        yield Example((*_inputs(mode, leading=False), lengths), {**attrs, "rnn_mode": mode}, (3, 4), 2e-6, note=mode)


_ATTRS = {"rnn_mode": "lstm", "input_mode": "linear_input", "direction": "unidirectional", "dropout": 0.0, "seed": 0, "seed2": 0}

_LATER = {"is_training": True, "index_dtype": DType.INT8}


def _spec(name: str, examples: Any, **more: Any) -> OpSpec:
    attrs = {**_ATTRS, **more}
    return OpSpec(name=name, attrs=attrs, infer=_infer, evaluate=_evaluate, expand=_expand, examples=examples)


SPECS = (
    _spec("CudnnRNN", _examples, is_training=True),
    _spec("CudnnRNNV2", _second_examples, **_LATER),
    _spec("CudnnRNNV3", _third_examples, **_LATER, num_proj=0, time_major=True),
)
