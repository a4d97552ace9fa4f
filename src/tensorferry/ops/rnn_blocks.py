"""Recurrent cells that TensorFlow has as one op: LSTMBlockCell, GRUBlockCell, and BlockLSTM over a whole sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.lstm import clipped, lstm_arrays, project_sequence, sigmoid, step_count
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType

WANTED = "ifco"
"""The order of the gates in an Lstm; `layout` says in which one an op has them."""

OUTPUTS = ("i", "cell", "f", "o", "c", "tanh", "state")
"""What LSTMBlockCell and BlockLSTM give, in this order: gates after their curves, the tanh of the cell."""


def _layout(node: Node) -> str:
    return "ifco" if node.op == "BlockLSTMV2" else "icfo"


def _forget_bias(node: Node) -> float:
    return float(node.get("forget_bias", 0.0))


def _reordered(array: Array, layout: str) -> Array:
    """The last axis with its four gates in the order i, f, c, o."""
    gates = np.split(array, 4, axis=-1)
    return np.concatenate([gates[layout.index(each)] for each in WANTED], axis=-1)


# -- evaluation ----------------------------------------------------------------------------------------------------


def _cell_step(node: Node, x: Array, cell: Array, state: Array, weights: Array, vectors: Sequence[Array]) -> tuple[Array, ...]:
    """One step; `vectors` are the peephole weights of i, f, o and the bias."""
    of_input, of_forget, of_output, bias = vectors
    peeped = x.dtype.type(1 if node["use_peephole"] else 0)
    gates = _reordered(np.concatenate([x, state], axis=1) @ weights + bias, _layout(node))
    i, f, c, o = np.split(gates, 4, axis=-1)
    i = sigmoid(i + peeped * of_input * cell)
    f = sigmoid(f + x.dtype.type(_forget_bias(node)) + peeped * of_forget * cell)
    c = np.tanh(c)
    cell = i * c + f * cell
    if node["cell_clip"] > 0:
        cell = np.clip(cell, -x.dtype.type(node["cell_clip"]), x.dtype.type(node["cell_clip"]))
    o = sigmoid(o + peeped * of_output * cell)
    return i, cell, f, o, c, np.tanh(cell), o * np.tanh(cell)


def _evaluate_cell(node: Node, x: Array, cell: Array, state: Array, weights: Array, *vectors: Array) -> tuple[Array, ...]:
    return _cell_step(node, x, cell, state, weights, vectors)


def _evaluate_block(
    node: Node, length: Array, x: Array, cell: Array, state: Array, weights: Array, *vectors: Array
) -> tuple[Array, ...]:
    """Beyond `length` steps everything is 0 (TensorFlow clears the cells and states only)."""
    steps = min(int(length), len(x))
    made = [np.zeros((len(x), *cell.shape), x.dtype) for _ in OUTPUTS]
    for index in range(steps):
        outputs = _cell_step(node, x[index], cell, state, weights, vectors)
        cell, state = outputs[1], outputs[6]
        for array, output in zip(made, outputs, strict=True):
            array[index] = output
    return tuple(made)


def _infer_cell(node: Node) -> list[Typed]:
    cell = node.inputs[1]
    return [Typed(cell.dtype, cell.shape) for _ in OUTPUTS]


def _infer_block(node: Node) -> list[Typed]:
    x, cell = node.inputs[1:3]
    leading = (UNKNOWN_DIM, UNKNOWN_DIM) if x.shape is None else x.shape[:2]
    if len(leading) != 2:
        raise Declined(f"its sequence has rank {x.rank}, not 3")
    units = UNKNOWN_DIM if cell.shape is None else cell.shape[-1]
    return [Typed(x.dtype, (*leading, units)) for _ in OUTPUTS]


# -- written out ---------------------------------------------------------------------------------------------------


def _in_order(made: Expansion, value: Value, layout: str) -> Value:
    """As `_reordered`, of a value: at once when it is constant."""
    if layout == WANTED:
        return value
    if value.constant is not None:
        return made.constant(_reordered(value.constant.array(), layout), "gates")
    axis = np.asarray(value.rank, np.int32) - 1
    gates = made.make_node("Split", axis, value, num_split=4).outputs
    return made.make("ConcatV2", *(gates[layout.index(each)] for each in WANTED), axis)


def _forgetful(made: Expansion, bias: Value, amount: float) -> Value:
    """The bias (in order) with the forget gate's own bias added."""
    if not amount or bias.static_shape is None:
        return bias
    added = np.zeros(bias.static_shape, bias.dtype.numpy)
    added[added.size // 4 : added.size // 2] = amount
    if bias.constant is not None:
        return made.constant(bias.constant.array() + added, "bias")
    return made.make("AddV2", bias, added)


def _steps(
    made: Expansion, rows: Sequence[Value], recurrent: Value, cell: Value, state: Value, peepholes: Sequence[Value | None]
) -> list[list[Value]]:
    """All outputs of each step, from the projected input of each."""
    of_input, of_forget, of_output = peepholes
    results = []
    axis = np.asarray(1, np.int32)

    def gate(value: Value, weights: Value | None, memory: Value) -> Value:
        return made.make("Sigmoid", value if weights is None else made.make("AddV2", value, made.make("Mul", memory, weights)))

    for row in rows:
        gates = made.make("AddV2", row, made.make("MatMul", state, recurrent))
        before = made.make_node("Split", axis, gates, num_split=4).outputs
        i, f = gate(before[0], of_input, cell), gate(before[1], of_forget, cell)
        c = made.make("Tanh", before[2])
        cell = made.make("AddV2", made.make("Mul", i, c), made.make("Mul", f, cell))
        cell = clipped(made, cell, made.node["cell_clip"])
        o = gate(before[3], of_output, cell)
        curved = made.make("Tanh", cell)
        state = made.make("Mul", o, curved)
        results.append([i, cell, f, o, c, curved, state])
    return results


def _weights(made: Expansion, inner: int, weights: Value, bias: Value) -> tuple[Value, Value, Value]:
    """Kernel, recurrent kernel and bias as an Lstm has them."""
    layout = _layout(made.node)
    ordered = _in_order(made, weights, layout)
    if ordered.constant is not None:
        array = ordered.constant.array()
        kernel, recurrent = made.constant(array[:inner], "kernel"), made.constant(array[inner:], "recurrent")
    else:
        assert ordered.static_shape is not None
        sizes = np.asarray([inner, ordered.static_shape[0] - inner], np.int32)
        kernel, recurrent = made.make_node("SplitV", ordered, sizes, np.asarray(0, np.int32), num_split=2).outputs
    return kernel, recurrent, _forgetful(made, _in_order(made, bias, layout), _forget_bias(made.node))


def _expand_cell(graph: Graph, node: Node) -> bool:
    x, cell, state, weights, *vectors = node.inputs
    inner = x.shape[-1] if x.shape is not None else None
    if weights.static_shape is None or not isinstance(inner, int):
        return False
    made = Expansion(graph, node)
    kernel, recurrent, bias = _weights(made, inner, weights, vectors[3])
    row = made.make("BiasAdd", made.make("MatMul", x, kernel), bias)
    peepholes = vectors[:3] if node["use_peephole"] else [None] * 3
    return made.finish(*_steps(made, [row], recurrent, cell, state, peepholes)[0])


def _expand_block(graph: Graph, node: Node) -> bool:
    length, x, cell, state, weights, *vectors = node.inputs
    inner = x.shape[-1] if x.shape is not None else None
    if weights.static_shape is None or not isinstance(inner, int):
        return False
    only_state = not any(graph.readers(each) for each in node.outputs[:6])
    steps = step_count(x, 0)
    if steps is None and not (only_state and _is_whole(node)):
        return False
    made = Expansion(graph, node)
    kernel, recurrent, bias = _weights(made, inner, weights, vectors[3])
    if only_state:
        results = [_as_lstm(made, x, kernel, recurrent, bias)]
    else:
        peepholes = vectors[:3] if node["use_peephole"] else [None] * 3
        rows = project_sequence(made, x, kernel, bias, 0)
        each_step = _steps(made, rows, recurrent, cell, state, peepholes)
        results = [made.make("Pack", *outputs, axis=0) for outputs in zip(*each_step, strict=True)]
    if steps is not None and not _is_whole(node):
        mask = _mask(made, length, steps)
        results = [made.make("Mul", each, mask) for each in results]
    return made.finish(*(results * len(OUTPUTS))[: len(OUTPUTS)])


def _as_lstm(made: Expansion, x: Value, kernel: Value, recurrent: Value, bias: Value) -> Value:
    node = made.node
    _, _, cell, state, _, *vectors = node.inputs
    more: list[Value] = []
    if node["use_peephole"]:
        more = [made.make("ConcatV2", *vectors[:3], np.asarray(0, np.int32))]
    attrs = {"peepholes": bool(more), "cell_clip": max(float(node["cell_clip"]), 0.0)}
    return made.make("Lstm", x, kernel, recurrent, bias, state, cell, *more, **attrs)


def _is_whole(node: Node) -> bool:
    """No step lies beyond the length."""
    length, x = node.inputs[:2]
    limit = None if length.content is None else length.content[0]
    return limit is not None and x.shape is not None and limit == x.shape[0]


def _mask(made: Expansion, length: Value, steps: int) -> Value:
    """1 for each step below the length, 0 beyond: [time, 1, 1]."""
    numbers = made.constant(np.arange(steps, dtype=length.dtype.numpy).reshape(-1, 1, 1), "steps")
    return made.make("Cast", made.make("Less", numbers, length), SrcT=DType.BOOL, DstT=made.node.inputs[1].dtype)


# -- GRUBlockCell --------------------------------------------------------------------------------------------------


def _evaluate_gru(_node: Node, x: Array, state: Array, w_ru: Array, w_c: Array, b_ru: Array, b_c: Array) -> tuple[Array, ...]:
    reset, update = np.split(sigmoid(np.concatenate([x, state], axis=1) @ w_ru + b_ru), 2, axis=1)
    c = np.tanh(np.concatenate([x, state * reset], axis=1) @ w_c + b_c)
    return reset, update, c, update * state + (1 - update) * c


def _infer_gru(node: Node) -> list[Typed]:
    state = node.inputs[1]
    return [Typed(state.dtype, state.shape) for _ in range(4)]


def _expand_gru(graph: Graph, node: Node) -> bool:
    x, state, w_ru, w_c, b_ru, b_c = node.inputs
    made, axis = Expansion(graph, node), np.asarray(1, np.int32)
    gates = made.make("BiasAdd", made.make("MatMul", made.make("ConcatV2", x, state, axis), w_ru), b_ru)
    reset, update = made.make_node("Split", axis, made.make("Sigmoid", gates), num_split=2).outputs
    kept = made.make("Mul", state, reset)
    c = made.make("Tanh", made.make("BiasAdd", made.make("MatMul", made.make("ConcatV2", x, kept, axis), w_c), b_c))
    new = made.make("AddV2", c, made.make("Mul", update, made.make("Sub", state, c)))
    return made.finish(reset, update, c, new)


# -- examples ------------------------------------------------------------------------------------------------------

TOLERANCE = 3e-6


def _cell_arrays(steps: int, batch: int, inner: int, units: int) -> tuple[Array, ...]:
    """x (time first), cell, state, weights, peephole weights of i, f, o, bias."""
    x, kernel, recurrent, bias, state, cell = lstm_arrays(steps, batch, inner, units, units)
    peepholes = np.split(sample(3 * units), 3)
    return x, cell, state, np.concatenate([kernel, recurrent]), *peepholes, bias


def _cell_examples() -> Iterator[Example]:
    x, *rest = _cell_arrays(1, 2, 3, 4)
    yield Example((x[0], *rest), {}, (3, 4, 5, 6, 7), TOLERANCE)
    yield Example((x[0], *rest), {"use_peephole": True, "cell_clip": 0.4, "forget_bias": 0.5}, (), TOLERANCE, note="peepholes")


def _block_examples(**attrs: float) -> Callable[[], Iterator[Example]]:
    def build() -> Iterator[Example]:
        arrays = _cell_arrays(3, 2, 4, 5)
        constants = (0, 4, 5, 6, 7, 8)
        yield Example((np.asarray(3, np.int64), *arrays), attrs, constants, TOLERANCE)
        peeped = attrs | {"use_peephole": True, "cell_clip": 0.5}
        yield Example((np.asarray(3, np.int64), *arrays), peeped, constants, TOLERANCE, note="peepholes")
        yield Example((np.asarray(3, np.int64), *arrays), peeped, constants[1:], TOLERANCE, note="length computed")
        yield Example((np.asarray(3, np.int64), *arrays), attrs, (0,), TOLERANCE, note="weights computed")

    return build


def _gru_examples() -> Iterator[Example]:
    inputs = (sample(2, 3), sample(2, 4), sample(7, 8), sample(7, 4), sample(8), sample(4))
    yield Example(inputs, {}, (2, 3, 4, 5), TOLERANCE)


SPECS = (
    OpSpec(
        name="LSTMBlockCell",
        attrs={"forget_bias": 1.0, "cell_clip": 3.0, "use_peephole": False},
        infer=_infer_cell,
        evaluate=_evaluate_cell,
        expand=_expand_cell,
        examples=_cell_examples,
    ),
    OpSpec(
        name="BlockLSTM",
        attrs={"forget_bias": 1.0, "cell_clip": 3.0, "use_peephole": False},
        infer=_infer_block,
        evaluate=_evaluate_block,
        expand=_expand_block,
        examples=_block_examples(forget_bias=0.7),
    ),
    OpSpec(
        name="BlockLSTMV2",
        attrs={"cell_clip": 0.0, "use_peephole": False},
        infer=_infer_block,
        evaluate=_evaluate_block,
        expand=_expand_block,
        examples=_block_examples(),
    ),
    OpSpec(name="GRUBlockCell", infer=_infer_gru, evaluate=_evaluate_gru, expand=_expand_gru, examples=_gru_examples),
)
