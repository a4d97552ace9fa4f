"""Lstm: a layer of long short-term memory over a whole sequence. Only passes and other ops' expansions make it.

Inputs: x [time, batch, in] ([batch, time, in] unless `time_major`), kernel [in, 4 units], recurrent kernel [out, 4 units], bias
[4 units], state [batch, out], cell [batch, units]; with `peepholes` weights [3 units] of the gates i, f, o; with `projected`
weights [units, out]. Gates stand in the order i, f, c, o. Outputs: the state after each step; with `returns_cell` the last cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec, constant_input
from tensorferry.targets import LiteOp, Ref, Temp
from tensorferry.tensor import Array, ArrayTensor, DType

MOST_STEPS = 256
"""A longer sequence is not written out step by step."""


STATES = (4, 5)
"""Which inputs are the first state and the first cell."""

OUTRUN_BY = "outrun_by"
"""An attribute, set for TensorFlow Lite: the op on whose account the fused operator cannot be used (`passes.first_states`)."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The inputs by name; Values while a graph is rewritten, arrays in an evaluation."""

    x: Any
    kernel: Any
    recurrent: Any
    bias: Any
    state: Any
    cell: Any
    peepholes: Any = None
    projection: Any = None


def name_parts(node: Node, inputs: Sequence[Any]) -> Parts:
    x, kernel, recurrent, bias, state, cell, *rest = inputs
    peepholes = rest.pop(0) if node["peepholes"] else None
    return Parts(x, kernel, recurrent, bias, state, cell, peepholes, rest.pop(0) if node["projected"] else None)


def has_open_states(node: Node) -> bool:
    """The size of the states is not known before the inputs have theirs."""
    return any(node.inputs[place].static_shape is None for place in STATES)


# -- evaluation ----------------------------------------------------------------------------------------------------


def sigmoid(x: Array) -> Array:
    return np.asarray(np.reciprocal(x.dtype.type(1) + np.exp(-x)))


def _evaluate(node: Node, *inputs: Array) -> tuple[Array, ...]:
    parts = name_parts(node, inputs)
    steps = parts.x if node["time_major"] else np.swapaxes(parts.x, 0, 1)
    state, cell = parts.state, parts.cell
    weights = np.zeros(3 * cell.shape[-1], cell.dtype) if parts.peepholes is None else parts.peepholes
    of_input, of_forget, of_output = np.split(weights, 3)
    states = []
    for step in steps:
        i, f, c, o = np.split(step @ parts.kernel + state @ parts.recurrent + parts.bias, 4, axis=-1)
        cell = sigmoid(f + of_forget * cell) * cell + sigmoid(i + of_input * cell) * np.tanh(c)
        cell = _clipped(cell, node["cell_clip"])
        state = sigmoid(o + of_output * cell) * np.tanh(cell)
        if parts.projection is not None:
            state = _clipped(state @ parts.projection, node["projection_clip"])
        states.append(state)
    made = np.stack(states) if states else np.zeros((0, *state.shape), state.dtype)
    made = made if node["time_major"] else np.swapaxes(made, 0, 1)
    return (made, cell) if node["returns_cell"] else (made,)


def _clipped(array: Array, limit: float) -> Array:
    return np.clip(array, -array.dtype.type(limit), array.dtype.type(limit)) if limit > 0 else array


def _infer(node: Node) -> list[Typed]:
    parts = name_parts(node, node.inputs)
    x, cell = parts.x, parts.cell
    if x.rank not in (None, 3):
        raise Declined(f"its sequence has rank {x.rank}, not 3")
    leading = (UNKNOWN_DIM, UNKNOWN_DIM) if x.shape is None else x.shape[:2]
    last = UNKNOWN_DIM if parts.recurrent.shape is None else parts.recurrent.shape[0]
    batch = leading[1 if node["time_major"] else 0]
    units = UNKNOWN_DIM if cell.shape is None else cell.shape[-1]
    typed = [Typed(x.dtype, (*leading, last)), Typed(cell.dtype, (batch, units))]
    return typed if node["returns_cell"] else typed[:1]


# -- TensorFlow Lite -----------------------------------------------------------------------------------------------


def _lower(node: Node) -> list[LiteOp]:
    """UNIDIRECTIONAL_SEQUENCE_LSTM.

    The operator leaves its last state in the tensors that hold the first one, where the next run of the model would find it. So
    both are written anew in each run, by an operator that no runtime computes ahead, even where the first state is constant.
    """
    parts = name_parts(node, node.inputs)
    if parts.x.dtype is not DType.FLOAT32:
        raise Declined(f"TensorFlow Lite's UNIDIRECTIONAL_SEQUENCE_LSTM is not used on {parts.x.dtype}")
    if OUTRUN_BY in node.attrs:
        raise Declined(
            f"its batch is open, and {node[OUTRUN_BY]}, which is sized by what is computed, may run before it",
            remedy="fix the sizes of the inputs (--fixed, or --shape NAME=...)",
        )
    state = Temp("state", DType.FLOAT32, parts.state.shape, variable=True)
    cell = Temp("cell", DType.FLOAT32, parts.cell.shape, variable=True)
    inputs: list[Ref] = [parts.x]
    for role, index in (("kernel", 1), ("recurrent kernel", 2)):
        inputs += _by_gate(constant_input(node, index, role).T)
    peepholes = constant_input(node, 6, "peephole weights") if node["peepholes"] else None
    inputs += [None] * 3 if peepholes is None else [ArrayTensor(each) for each in np.split(peepholes, 3)]
    inputs += _by_gate(constant_input(node, 3, "bias"))
    last = len(node.inputs) - 1
    inputs.append(ArrayTensor(constant_input(node, last, "projection").T) if node["projected"] else None)
    options = {"fused_activation_function": "TANH", "time_major": bool(node["time_major"])}
    options |= {"cell_clip": float(node["cell_clip"]), "proj_clip": float(node["projection_clip"])}
    made: list[LiteOp] = [LiteOp("MAXIMUM", (first, first), (kept,)) for first, kept in ((parts.state, state), (parts.cell, cell))]
    operator = LiteOp("UNIDIRECTIONAL_SEQUENCE_LSTM", (*inputs, None, state, cell), (node.outputs[0],), options)
    return [*made, operator, *(_last_cell(node, cell) if node["returns_cell"] else ())]


def _by_gate(array: Array) -> list[Ref]:
    """The rows of the four gates as tensors of their own."""
    return [ArrayTensor(np.ascontiguousarray(each)) for each in np.split(array, 4)]


def _last_cell(node: Node, cell: Temp) -> list[LiteOp]:
    """The last cell, out of the operator's memory.

    It goes through a concatenation with the last state, so that it cannot be read before the operator has run.
    """
    sequence, last = node.outputs
    (batch, units), out = last.shape or (UNKNOWN_DIM,) * 2, (sequence.shape or (UNKNOWN_DIM,))[-1]
    if isinstance(units, str) or isinstance(out, str):
        raise Declined("its number of units is not known")
    axis = 0 if node["time_major"] else 1
    begin = np.zeros(3, np.int32)
    begin[axis] = -1
    masks = {"begin_mask": 7 ^ 1 << axis, "end_mask": 7, "shrink_axis_mask": 1 << axis}
    options = {"ellipsis_mask": 0, "new_axis_mask": 0, **masks}
    state, joined = Temp("last", cell.dtype, (batch, out)), Temp("joined", cell.dtype, (batch, units + out))
    bounds = [ArrayTensor(each) for each in (begin, np.zeros(3, np.int32), np.ones(3, np.int32))]
    window = [ArrayTensor(np.asarray(each, np.int32)) for each in ((0, 0), (-1, units))]
    return [
        LiteOp("STRIDED_SLICE", (sequence, *bounds), (state,), options),
        LiteOp("CONCATENATION", (cell, state), (joined,), {"axis": 1, "fused_activation_function": "NONE"}),
        LiteOp("SLICE", (joined, *window), (last,)),
    ]


# -- written out ---------------------------------------------------------------------------------------------------


def step_count(x: Value, time_axis: int) -> int | None:
    """The length of the sequence, if it is known and not too long to be written out."""
    steps = None if x.shape is None else x.shape[time_axis]
    return steps if isinstance(steps, int) and 0 < steps <= MOST_STEPS else None


def project_sequence(made: Expansion, x: Value, kernel: Value, bias: Value, time_axis: int) -> list[Value]:
    """x times the kernel plus the bias, for all steps at once; one value [batch, width] for each step."""
    assert x.shape is not None and kernel.shape is not None
    steps, (inner, width) = x.shape[time_axis], kernel.shape
    flat = made.make("Reshape", x, np.asarray([-1, inner], np.int32))
    product = made.make("BiasAdd", made.make("MatMul", flat, kernel), bias)
    shape = [steps, -1, width] if time_axis == 0 else [-1, steps, width]
    rows = made.make("Reshape", product, np.asarray(shape, np.int32))
    return list(made.make_node("Unpack", rows, num=steps, axis=time_axis).outputs)


def _expand(graph: Graph, node: Node) -> bool:
    parts = name_parts(node, node.inputs)
    axis = 0 if node["time_major"] else 1
    widths = [parts.kernel.static_shape, parts.cell.shape]
    if step_count(parts.x, axis) is None or any(each is None for each in widths):
        return False
    made = Expansion(graph, node)
    state, cell = parts.state, parts.cell
    weights: Sequence[Value | None] = [None] * 3
    if parts.peepholes is not None:
        weights = made.make_node("Split", np.asarray(0, np.int32), parts.peepholes, num_split=3).outputs
    states = []
    for projected in project_sequence(made, parts.x, parts.kernel, parts.bias, axis):
        gates = made.make("AddV2", projected, made.make("MatMul", state, parts.recurrent))
        i, f, c, o = made.make_node("Split", np.asarray(1, np.int32), gates, num_split=4).outputs
        cell, state = step(made, (i, f, c, o), cell, weights, node["cell_clip"])
        if parts.projection is not None:
            state = clipped(made, made.make("MatMul", state, parts.projection), node["projection_clip"])
        states.append(state)
    return made.finish(made.make("Pack", *states, axis=axis), cell)


def step(
    made: Expansion, gates: Sequence[Value], cell: Value, peepholes: Sequence[Value | None], cell_clip: float
) -> tuple[Value, Value]:
    """The next cell and state from the gates i, f, c, o before their curves; peepholes of i, f, o."""
    i, f, c, o = gates
    of_input, of_forget, of_output = peepholes
    i, f = (_peeped(made, gate, cell, weights) for gate, weights in ((i, of_input), (f, of_forget)))
    kept = made.make("Mul", made.make("Sigmoid", f), cell)
    added = made.make("Mul", made.make("Sigmoid", i), made.make("Tanh", c))
    cell = clipped(made, made.make("AddV2", kept, added), cell_clip)
    o = _peeped(made, o, cell, of_output)
    return cell, made.make("Mul", made.make("Sigmoid", o), made.make("Tanh", cell))


def _peeped(made: Expansion, gate: Value, cell: Value, weights: Value | None) -> Value:
    return gate if weights is None else made.make("AddV2", gate, made.make("Mul", cell, weights))


def clipped(made: Expansion, value: Value, limit: float) -> Value:
    """Between -limit and limit; a limit of 0 is none."""
    bound = np.asarray(limit, value.dtype.numpy)
    return made.make("Minimum", made.make("Maximum", value, -bound), bound) if limit > 0 else value


# -- examples ------------------------------------------------------------------------------------------------------


def lstm_arrays(steps: int, batch: int, inner: int, units: int, out: int) -> tuple[Array, ...]:
    """x (time first), kernel, recurrent kernel, bias, state, cell."""
    x, kernel, recurrent = sample(steps, batch, inner), sample(inner, 4 * units), sample(out, 4 * units)
    return x, kernel, recurrent, sample(4 * units), sample(batch, out), sample(batch, units) * 2


def _examples() -> Iterator[Example]:
    x, *rest = lstm_arrays(3, 2, 4, 5, 5)
    constants, tolerance = (1, 2, 3), 3e-6
    yield Example((x, *rest), {}, constants, tolerance)
    zeros = [np.zeros_like(each) for each in rest[3:]]
    yield Example((x, *rest[:3], *zeros), {}, (1, 2, 3, 4, 5), tolerance, note="from nothing")
    yield Example((np.swapaxes(x, 0, 1).copy(), *rest), {"time_major": False}, constants, tolerance, note="batch first")
    weights = sample(15) * np.float32(0.5)
    yield Example((x, *rest, weights), {"peepholes": True, "cell_clip": 0.5}, (1, 2, 3, 6), tolerance, note="peepholes")
    x, *rest = lstm_arrays(4, 1, 3, 4, 2)
    attrs = {"projected": True, "projection_clip": 0.3, "returns_cell": True}
    yield Example((x, *rest, sample(4, 2)), attrs, (1, 2, 3, 6), tolerance, note="projection")
    attrs = attrs | {"peepholes": True, "time_major": False}
    x = np.swapaxes(x, 0, 1).copy()
    yield Example((x, *rest, sample(12), sample(4, 2)), attrs, (1, 2, 3, 6, 7), tolerance, note="all of it")


SPECS = (
    OpSpec(
        name="Lstm",
        attrs={
            "time_major": True,
            "peepholes": False,
            "projected": False,
            "returns_cell": False,
            "cell_clip": 0.0,
            "projection_clip": 0.0,
        },
        infer=_infer,
        evaluate=_evaluate,
        to_tflite=_lower,
        expand=_expand,
        examples=_examples,
    ),
)
