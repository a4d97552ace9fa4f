"""Takes one example of an op through everything that must agree: TensorFlow, the numpy reference, inference, both targets.

TensorFlow is the oracle. What it cannot run on a CPU (channels first) is computed by transposing; what it does not have as one op
(a fused activation, a composite such as HardSwish) by composing its ops.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tensorferry import ir, ops
from tensorferry.ir import Graph, Node, Port, Shape, Typed, Value
from tensorferry.ops.spec import Example, OpSpec
from tensorferry.passes.complex_numbers import split_complex
from tensorferry.passes.expansion import expand_for_target
from tensorferry.passes.narrowing import narrow_types
from tensorferry.passes.pipelines import finish, prepare
from tensorferry.runtimes import litert, tfjs
from tensorferry.tensor import Array, DType
from tensorferry.writers.tfjs import write_tfjs
from tensorferry.writers.tflite import write_tflite


@dataclass(frozen=True)
class Case:
    """One example of one op; `id` as it is shown by pytest."""

    id: str
    spec: OpSpec
    example: Example


def all_cases() -> list[Case]:
    """Every example in the registry, by op name."""
    return [
        Case(f"{spec.name}-{index}" + _readable(example.note), spec, example)
        for spec in ops.all_specs()
        for index, example in enumerate(spec.examples())
    ]


def _readable(note: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in note).split()
    return f"-{'_'.join(words)}" if words else ""


# -- comparing -----------------------------------------------------------------------------------------------------


def assert_close(actual: Sequence[Array], expected: Sequence[Array], tolerance: float) -> None:
    """Same count, dtypes and shapes; integers, booleans and strings exactly; floats within `tolerance` x the largest expected."""
    assert len(actual) == len(expected), f"{len(actual)} outputs, expected {len(expected)}"
    for index, (one, other) in enumerate(zip(actual, expected, strict=True)):
        assert one.shape == other.shape, f"output {index}: shape {one.shape}, expected {other.shape}"
        assert one.dtype == other.dtype, f"output {index}: dtype {one.dtype}, expected {other.dtype}"
        if other.dtype.kind == "c":
            assert_close([np.stack([one.real, one.imag])], [np.stack([other.real, other.imag])], tolerance)
            continue
        if other.dtype.kind != "f":
            np.testing.assert_array_equal(one, other, err_msg=f"output {index}")
            continue
        finite = np.isfinite(other)
        np.testing.assert_array_equal(np.where(finite, 0, one), np.where(finite, 0, other), err_msg=f"output {index}: inf or NaN")
        largest = float(np.abs(other[finite]).max(initial=0.0))
        error = float(np.abs(one[finite].astype(np.float64) - other[finite].astype(np.float64)).max(initial=0.0))
        assert error <= tolerance * max(largest, 1e-30), (
            f"output {index}: off by {error:.3g}, largest value {largest:.3g}, tolerance {tolerance:g}\n{one}\nexpected\n{other}"
        )


# -- the example as a Graph ----------------------------------------------------------------------------------------

Unknown = Callable[[tuple[int, ...]], Shape]


def build_graph(case: Case, unknown: Unknown | None = None) -> tuple[Graph, Node]:
    """A graph of just this node. Constants as the example says, the rest are inputs `x0`, `x1` ...; outputs `y0`, `y1` ...

    `unknown` may hide the sizes of the graph's inputs.
    """
    graph = Graph(case.spec.name)
    values: list[Value] = []
    for index, array in enumerate(case.example.inputs):
        if index in case.example.constants:
            values.append(graph.constant(array, f"c{index}"))
            continue
        shape = array.shape if unknown is None else unknown(array.shape)
        node = ops.add(graph, "Placeholder", (), {"dtype": DType.of(array), "shape": shape}, name=f"x{index}")
        graph.inputs.append(Port(node.name, node.output))
        values.append(node.output)
    attrs = {key: each.copy() if isinstance(each, Graph) else each for key, each in case.example.attrs.items()}
    node = ops.add(graph, case.spec.name, values, attrs, name="node")
    graph.outputs = [Port(f"y{index}", value) for index, value in enumerate(node.outputs)]
    ir.verify(graph, ops.infer)
    return graph, node


def feeds(case: Case) -> dict[str, Array]:
    """The graph's inputs by public name."""
    example = case.example
    return {f"x{index}": array for index, array in enumerate(example.inputs) if index not in example.constants}


SIZED_BY_DATA = frozenset(
    {
        "SparseFillEmptyRows",
        "SparseSlice",
        "DecodeRaw",
        "RaggedTensorToSparse",
        "DenseToDenseSetOperation",
        "NonMaxSuppressionWithOverlaps",
        "SparseSplit",
        "SparseAdd",
        "SparseSparseMaximum",
        "SparseSparseMinimum",
        "RaggedTensorToTensor",
        "RaggedRange",
        "RaggedGather",
        "BroadcastGradientArgs",
        "StringSplit",
        "StringSplitV2",
        "StringNGrams",
        "CTCGreedyDecoder",
        "CTCBeamSearchDecoder",
        "NonMaxSuppression",
        "NonMaxSuppressionV2",
        "NonMaxSuppressionV3",
        "NonMaxSuppressionV4",
        "NonMaxSuppressionV5",
        "Where",
        "DynamicPartition",
        "Unique",
        "UniqueV2",
        "UniqueWithCounts",
        "UniqueWithCountsV2",
        "ListDiff",
    }
)
"""Ops of which nobody can say how much comes out before they have run."""


def shape_is_fixed(case: Case) -> bool:
    """No fed input looks like a shape, an axis or paddings, which would be known only while running."""
    if case.spec.name in SIZED_BY_DATA:
        return False
    arrays = [
        (index, case.example.inputs[index]) for index in range(len(case.example.inputs)) if index not in case.example.constants
    ]
    return not any(array.dtype.kind in "iu" and array.ndim <= (2 if index else 1) for index, array in arrays)


def hide_first(shape: tuple[int, ...]) -> Shape:
    """The batch is unknown; equal sizes get equal names."""
    return (f"n{shape[0]}", *shape[1:]) if shape else ()


def hide_batch(case: Case) -> Unknown:
    """As `hide_first`, for the first input (or the one that holds the images) and those of the same rank and first size."""
    first = next(iter(feeds(case).values())).shape
    if case.spec.name in DATA_INPUTS:
        first = case.example.inputs[DATA_INPUTS[case.spec.name][0]].shape
    return lambda shape: hide_first(shape) if len(shape) == len(first) and shape[:1] == first[:1] else shape


def hide_all(shape: tuple[int, ...]) -> Shape:
    return tuple(f"n{size}" for size in shape)


def hide_rank(_shape: tuple[int, ...]) -> Shape:
    return None


def assert_typed(typed: Typed, array: Array, *, exact: bool) -> None:
    """The inferred type allows this result (`exact`: says all of it). A size hidden as `n3` must come out as 3."""
    assert typed.dtype.numpy == array.dtype, f"inferred {typed.dtype}, is {array.dtype}"
    if typed.shape is None:
        assert not exact, "the shape is not inferred"
    else:
        assert len(typed.shape) == array.ndim, f"inferred {typed.shape}, is {array.shape}"
        for dim, size in zip(typed.shape, array.shape, strict=True):
            _assert_dim(dim, size, exact=exact)
    if typed.content is not None:
        assert array.ndim <= 1 and len(typed.content) == array.size, f"content {typed.content}, is {array}"
        for dim, size in zip(typed.content, array.reshape(-1).tolist(), strict=True):
            _assert_dim(dim, size, exact=False)


def _assert_dim(dim: ir.Dim, size: int, *, exact: bool) -> None:
    if isinstance(dim, int):
        assert dim == size, f"inferred {dim}, is {size}"
    else:
        assert not exact, f"a size is left as '{dim}'"
        factors = [factor.removeprefix("n") for factor in dim.split("*")]  # `4*n3` is a product
        if all(factor.isdecimal() for factor in factors):
            assert math.prod(map(int, factors)) == size, f"inferred '{dim}', is {size}"


def evaluate_graph(graph: Graph, inputs: Mapping[str, Array]) -> list[Array]:
    """Outputs of the reference runtime, in order."""
    known: dict[Value, Array] = {port.value: inputs[port.name] for port in graph.inputs}
    for node in graph.nodes:
        if node.outputs and node.outputs[0] not in known:
            known.update(zip(node.outputs, ops.evaluate(node, [known[value] for value in node.inputs]), strict=True))
    return [known[port.value] for port in graph.outputs]


# -- TensorFlow ----------------------------------------------------------------------------------------------------

CHANNELS_FIRST = {"NCHW": "NHWC", "NCDHW": "NDHWC"}
NO_OP_DEF_ATTRS = ("activation", "activation_alpha", "index_dtype")


def run_tensorflow(case: Case) -> list[Array]:
    """What TensorFlow computes for the example, fused bias and activation included."""
    name = case.example.raw or case.spec.name
    inputs = [np.asarray(array) for array in case.example.inputs]
    attrs = {**case.spec.attrs, **case.example.attrs}
    bias = inputs.pop() if case.spec.takes_bias and len(inputs) > (3 if name == "Conv2DBackpropInput" else 2) else None
    if name in COMPOSED:
        composed = COMPOSED[name](*inputs, **attrs)
        outputs = list(composed) if isinstance(composed, tuple) else [composed]
    elif attrs.get("data_format") in CHANNELS_FIRST:
        outputs = _run_transposed(name, inputs, attrs, bias)
        bias = None
    else:
        outputs = _run_raw(name, inputs, attrs)
    if bias is not None:
        outputs[0] = outputs[0] + bias
    if activation := attrs.get("activation"):
        alpha = {"alpha": attrs["activation_alpha"]} if "activation_alpha" in attrs else {}
        run = COMPOSED.get(activation)
        outputs[0] = run(outputs[0], **alpha) if run else _run_raw(activation, [outputs[0]], alpha)[0]
    return [np.asarray(each) for each in outputs]


def _run_raw(name: str, inputs: Sequence[Array], attrs: Mapping[str, Any]) -> list[Array]:
    import tensorflow as tf  # noqa: PLC0415 - seconds; only where needed
    from tensorflow.python.framework import op_def_registry  # noqa: PLC0415

    definition = op_def_registry.get(name)
    assert definition is not None, f"TensorFlow has no op {name}: set Example.raw, or add it to COMPOSED"
    tensors = [tf.constant(array) for array in inputs]  # else an attribute's default decides their type
    arguments: dict[str, Any] = dict(_arguments(definition, tensors))
    implied = {each for arg in definition.input_arg for each in (arg.type_attr, arg.type_list_attr, arg.number_attr)}
    for each in definition.attr:
        if each.name not in implied and each.name in attrs and not each.name.startswith("_"):
            arguments[each.name] = _attribute(attrs[each.name])
    unknown = [key for key in attrs if key not in {each.name for each in definition.attr} and not key.startswith("_")]
    unknown = [key for key in unknown if key not in NO_OP_DEF_ATTRS]
    assert not unknown, f"TensorFlow's {name} has no attribute {unknown}"
    run = getattr(tf.raw_ops, name)
    # Python's face renames some inputs (`split_dim` to axis; `t`, `e` to x, y); the order stays.
    parameters = inspect.signature(run).parameters
    renamed = iter([key for key in parameters if key not in arguments])
    with tf.device("/CPU:0"):
        result = run(**{key if key in parameters else next(renamed): value for key, value in arguments.items()})
    outputs = list(result) if isinstance(result, tuple | list) else [result]
    outputs = [part for each in outputs for part in (each if isinstance(each, list) else [each])]  # several outputs of one name
    return [output.numpy() if hasattr(output, "numpy") else np.asarray(output) for output in outputs]


def _arguments(definition: Any, inputs: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """The inputs under TensorFlow's argument names; list arguments share all that the single ones leave."""
    lists = sum(1 for arg in definition.input_arg if arg.number_attr or arg.type_list_attr)
    spare = (len(inputs) - len(definition.input_arg) + lists) // max(lists, 1)
    position = 0
    for arg in definition.input_arg:
        count = spare if arg.number_attr or arg.type_list_attr else 1
        taken = inputs[position : position + count]
        yield arg.name, list(taken) if arg.number_attr or arg.type_list_attr else taken[0]
        position += count
    assert position == len(inputs), f"TensorFlow's {definition.name} takes {position} inputs, the example has {len(inputs)}"


def _attribute(value: Any) -> Any:
    import tensorflow as tf  # noqa: PLC0415

    if isinstance(value, DType):
        return tf.dtypes.as_dtype(value.value)
    if isinstance(value, list | tuple):
        return [_attribute(each) for each in value]
    return value


DATA_INPUTS = {"Conv2DBackpropInput": (2,), "DepthwiseConv2dNativeBackpropInput": (2,), "Conv3DBackpropInputV2": (2,)}
"""Which inputs are laid out by data_format, where it is not the first."""


def _run_transposed(name: str, inputs: list[Array], attrs: dict[str, Any], bias: Array | None) -> list[Array]:
    """An op on channels-first data, by way of channels-last."""
    last = dict(attrs, data_format=CHANNELS_FIRST[attrs["data_format"]])
    rank = len(attrs["data_format"])
    to_last = (0, *range(2, rank), 1)
    to_first = (0, rank - 1, *range(1, rank - 1))
    for key in ("strides", "ksize", "dilations"):
        if key in last:
            last[key] = [last[key][axis] for axis in to_last]
    if last.get("explicit_paddings"):
        pairs = np.reshape(last["explicit_paddings"], (rank, 2))
        last["explicit_paddings"] = pairs[list(to_last)].reshape(-1).tolist()
    data = DATA_INPUTS.get(name, (0,))
    moved = [np.transpose(array, to_last) if index in data else array for index, array in enumerate(inputs)]
    if name in DATA_INPUTS and inputs[0].size == rank:  # the wanted output size, in the order of the layout
        moved[0] = inputs[0][list(to_last)]
    outputs = _run_raw(name, moved, last)
    if bias is not None:
        outputs[0] = outputs[0] + bias
    return [np.transpose(each, to_first) if each.ndim == rank else each for each in outputs]


def _hard_swish(x: Array) -> Array:
    return x * _run_raw("Relu6", [x + np.float32(3)], {})[0] / np.float32(6)


def _prelu(x: Array, alpha: Array) -> Array:
    return np.maximum(x, 0) + alpha * np.minimum(x, 0)


def _gelu(x: Array, approximate: bool = False) -> Array:
    import tensorflow as tf  # noqa: PLC0415

    return tf.nn.gelu(x, approximate=approximate).numpy()


def _global_norm(t: Array, m: Array, v: Array, beta: Array, gamma: Array, **attrs: Any) -> Array:
    import tensorflow as tf  # noqa: PLC0415

    scale = gamma if attrs["scale_after_normalization"] else None
    return tf.nn.batch_normalization(t, m, v, beta, scale, attrs["variance_epsilon"]).numpy()


def _unit_length(x: Array) -> Array:
    import tensorflow as tf  # noqa: PLC0415

    return tf.math.l2_normalize(x, -1).numpy()


def _quantize(x: Array, low: Array, high: Array, **attrs: Any) -> tuple[Array, ...]:
    import tensorflow as tf  # noqa: PLC0415

    stored = attrs.pop("T")
    results = tf.raw_ops.QuantizeV2(input=x, min_range=low, max_range=high, T=getattr(tf, f"q{stored}"), **attrs)
    return tf.bitcast(results[0], getattr(tf, str(stored))).numpy(), results[1].numpy(), results[2].numpy()


def _dequantize(x: Array, low: Array, high: Array, **attrs: Any) -> Array:
    import tensorflow as tf  # noqa: PLC0415

    quantised = tf.bitcast(x, getattr(tf, f"q{attrs.pop('T')}"))
    return tf.raw_ops.Dequantize(input=quantised, min_range=low, max_range=high, **attrs | {"dtype": tf.float32}).numpy()


def _nested(graph: Graph, *inputs: Array) -> tuple[Array, ...]:
    """A branch or body, node by node in TensorFlow."""
    known = {port.value: array for port, array in zip(graph.inputs, inputs, strict=True)}
    for node in graph.nodes:
        if node.op == "Const":
            known[node.output] = node["value"].array()
        elif node.outputs and node.outputs[0] not in known:
            known.update(zip(node.outputs, _run_raw(node.op, [known[each] for each in node.inputs], node.attrs), strict=True))
    return tuple(np.asarray(known[port.value]) for port in graph.outputs)


def _if(condition: Array, *inputs: Array, then_branch: Graph, else_branch: Graph) -> tuple[Array, ...]:
    import tensorflow as tf  # noqa: PLC0415

    chosen = [lambda: tf.constant(0), lambda: tf.constant(1)]
    truth = tf.raw_ops.If(cond=condition, input=[], Tout=[tf.int32], **_as_functions(*chosen))[0]
    return _nested(then_branch if truth.numpy() == 0 else else_branch, *inputs)


def _as_functions(then_branch: Callable[[], Any], else_branch: Callable[[], Any]) -> dict[str, Any]:
    import tensorflow as tf  # noqa: PLC0415

    functions = (tf.function(each).get_concrete_function() for each in (then_branch, else_branch))
    return dict(zip(("then_branch", "else_branch"), functions, strict=True))


def _case(index: Array, *inputs: Array, **branches: Graph) -> tuple[Array, ...]:
    import tensorflow as tf  # noqa: PLC0415

    chosen = tf.switch_case(tf.constant(index), [lambda number=number: tf.constant(number) for number in range(len(branches))])
    return _nested(branches[f"branch_{int(chosen)}"], *inputs)


def _while(*inputs: Array, cond: Graph, body: Graph) -> tuple[Array, ...]:
    variables = inputs
    while _nested(cond, *variables)[0]:
        variables = _nested(body, *variables)
    return variables


def _lstm(*inputs: Array, **attrs: Any) -> tuple[Array, ...]:
    """TensorFlow's BlockLSTM where it has all of it (no projection, time first), else its ops step by step."""
    import tensorflow as tf  # noqa: PLC0415

    x, kernel, recurrent, bias, state, cell, *rest = map(tf.constant, inputs)
    weights = tf.split(rest.pop(0), 3) if attrs["peepholes"] else [tf.zeros_like(cell[0])] * 3
    clip = attrs["cell_clip"]
    if not attrs["projected"] and attrs["time_major"] and not attrs["returns_cell"]:
        joined = tf.concat([kernel, recurrent], 0)
        of_input, of_forget, of_output = weights
        made = tf.raw_ops.BlockLSTMV2(
            seq_len_max=np.int64(len(x)), x=x, cs_prev=cell, h_prev=state, w=joined, b=bias, wci=of_input, wcf=of_forget,
            wco=of_output, cell_clip=clip, use_peephole=attrs["peepholes"],
        )  # fmt: skip
        return (made.h.numpy(),)
    states = []
    for step in tf.unstack(x, axis=0 if attrs["time_major"] else 1):
        i, f, c, o = tf.split(step @ kernel + state @ recurrent + bias, 4, -1)
        cell = tf.sigmoid(f + weights[1] * cell) * cell + tf.sigmoid(i + weights[0] * cell) * tf.tanh(c)
        cell = tf.clip_by_value(cell, -clip, clip) if clip else cell
        state = tf.sigmoid(o + weights[2] * cell) * tf.tanh(cell)
        if attrs["projected"]:
            state = tf.clip_by_value(state @ rest[0], -attrs["projection_clip"], attrs["projection_clip"])
        states.append(state)
    made = tf.stack(states, 0 if attrs["time_major"] else 1)
    return (made.numpy(), cell.numpy()) if attrs["returns_cell"] else (made.numpy(),)


def _dynamic_update_slice(x: Array, update: Array, start: Array) -> Array:
    import tensorflow as tf  # noqa: PLC0415

    begin = np.minimum(start, np.subtract(x.shape, update.shape))
    pads = np.stack([begin, np.subtract(x.shape, begin) - update.shape], axis=1)
    inside = tf.pad(np.ones(update.shape, bool), pads)
    return tf.where(inside, tf.pad(update, pads), x).numpy()


def _table_lookup(keys: Array, default: Array, table_keys: Array, table_values: Array, table: int) -> Array:
    import tensorflow as tf  # noqa: PLC0415

    contents = tf.lookup.KeyValueTensorInitializer(tf.constant(table_keys), tf.constant(table_values))
    return tf.lookup.StaticHashTable(contents, tf.constant(default)).lookup(tf.constant(keys)).numpy()


def _einsum(*inputs: Array, equation: str, **_attrs: Any) -> Array:
    import tensorflow as tf  # noqa: PLC0415

    return tf.einsum(equation, *inputs).numpy()


def _same_sign(rows: Array) -> Array:
    """1 or -1 for each vector, which is defined up to its sign: as in ops/eigen.py, by a vector that is orthogonal to none."""
    return np.where(rows @ (1 / (np.arange(rows.shape[-1], dtype=np.float32) + 1.5)) < 0, np.float32(-1), np.float32(1))


def _symmetric(x: Array, compute_v: bool) -> tuple[Array, ...]:
    values, vectors = _run_raw("SelfAdjointEigV2", [x], {"compute_v": compute_v})
    if not compute_v:
        return values, np.zeros((), x.dtype)  # TensorFlow leaves it as it is in memory
    return values, vectors * _same_sign(np.swapaxes(vectors, -1, -2))[..., None, :]


def _singular(x: Array, compute_uv: bool, full_matrices: bool) -> tuple[Array, ...]:
    values, left, right = _run_raw("Svd", [x], {"compute_uv": compute_uv, "full_matrices": full_matrices})
    if not compute_uv:
        return values, np.zeros((), x.dtype), np.zeros((), x.dtype)
    signs = _same_sign(np.swapaxes(right, -1, -2))[..., None, :]
    return values, left * signs, right * signs


def _cudnn(x: Array, state: Array, cell: Array, params: Array, *_lengths: Array, **attrs: Any) -> tuple[Array, ...]:
    """CudnnRNN, which runs on graphics cards alone: Keras's layers with the weights taken apart."""
    import keras  # noqa: PLC0415

    mode, count = attrs["rnn_mode"], 2 if attrs["direction"] == "bidirectional" else 1
    if not attrs.get("time_major", True):
        x, state, cell = (np.swapaxes(each, 0, 1) for each in (x, state, cell))
    units, gates = state.shape[2], {"lstm": 4, "gru": 3}.get(mode, 1)
    order = [1, 0, 2] if mode == "gru" else list(range(gates))  # Keras has z before r
    widths = [x.shape[2] if place < count else units * count for place in range(len(state))]
    line, matrices, biases = np.swapaxes(x, 0, 1), params, params[-len(state) * 2 * gates * units :].reshape(-1, 2, gates, units)
    lasts, cells, made = [], [], []
    for place, width in enumerate(widths):
        own = []
        for inner in (width, units):
            taken, matrices = np.split(matrices, [gates * units * inner])
            own.append(np.concatenate([each.T for each in taken.reshape(gates, units, inner)[order]], axis=1))
        bias = biases[place][:, order].reshape(2, -1)
        kinds = {"return_sequences": True, "return_state": True, "go_backwards": place % count == 1}
        if mode == "gru":
            layer = keras.layers.GRU(units, reset_after=True, **kinds)
        elif mode == "lstm":
            layer = keras.layers.LSTM(units, **kinds)
        else:
            layer = keras.layers.SimpleRNN(units, activation=mode.removeprefix("rnn_"), **kinds)
        layer.build(line.shape)
        layer.set_weights([*own, bias if mode == "gru" else bias.sum(axis=0)])
        first = [state[place], cell[place]] if mode == "lstm" else [state[place]]
        steps, last, *kept = (np.asarray(each) for each in layer(line, initial_state=first))
        made.append(steps[:, ::-1] if place % count else steps)
        lasts.append(last)
        cells.append(kept[0] if kept else np.zeros_like(last))
        if len(made) == count:
            line, made = np.concatenate(made, axis=2), []
    results = [np.swapaxes(line, 0, 1), np.stack(lasts), np.stack(cells)]
    if not attrs.get("time_major", True):
        results = [np.swapaxes(each, 0, 1) for each in results]
    return *results, np.zeros(0, np.float32)


def _cudnn_later(*inputs: Array, **attrs: Any) -> tuple[Array, ...]:
    return *_cudnn(*inputs, **attrs), np.zeros(0, np.int8)


def _top(x: Array, k: int, **_attrs: Any) -> tuple[Array, ...]:
    import tensorflow as tf  # noqa: PLC0415

    return tuple(each.numpy() for each in tf.math.top_k(x, k))


COMPOSED: dict[str, Callable[..., Array | tuple[Array, ...]]] = {
    "Einsum": _einsum,  # the op itself takes two operands at most
    "TableLookup": _table_lookup,
    "XlaDynamicUpdateSlice": _dynamic_update_slice,  # runs in code compiled by XLA alone
    "CudnnRNN": _cudnn,
    "CudnnRNNV2": _cudnn_later,
    "CudnnRNNV3": _cudnn_later,
    "SelfAdjointEigV2": _symmetric,
    "TopK": _top,  # TensorFlow has no kernel of it left for int32 places
    "Svd": _singular,
    "If": _if,
    "Case": _case,
    "While": _while,
    "QuantizeV2": _quantize,  # its element types are numpy's only under other names
    "Dequantize": _dequantize,
    "HardSwish": _hard_swish,
    "PRelu": _prelu,
    "ReluN1To1": lambda x: np.clip(x, np.asarray(-1, x.dtype), np.asarray(1, x.dtype)),
    "Gelu": _gelu,
    "L2Normalize": _unit_length,
    "Lstm": _lstm,
    "BatchNormWithGlobalNormalization": _global_norm,  # TensorFlow's runtime dropped it; frozen graphs still have it
}
"""Ops that TensorFlow has not as one; composed of its ops, or numpy where that is the definition."""


# -- targets -------------------------------------------------------------------------------------------------------


def can_express(case: Case, target: str) -> bool:
    """The op has a form for the target at all, by itself or as simpler ops; with the example's activation, if it has one."""
    activation = case.example.attrs.get("activation")
    if activation is not None and activation not in case.spec.fuses.get(target, ()):
        return False
    return getattr(case.spec, f"to_{target}") is not None or (case.spec.expand is not None and target in case.spec.expands_for)


def target_graph(case: Case, target: str, *, pipeline: bool, unknown: Unknown | None = None) -> Graph:
    """The example's graph in the target's element types, with what the target lacks expanded; or after all passes."""
    graph, _ = build_graph(case, unknown)
    if pipeline:
        prepare(graph)
        finish(graph, target)
    else:
        narrow_types(target)(graph)
        for _ in range(4):  # an expansion may be made of ops that are expanded in turn
            split_complex(graph)
            expand_for_target(target)(graph)
        ir.verify(graph, ops.infer)
    return graph


def run_litert(case: Case, graph: Graph, path: Path, *, xnnpack: bool = True) -> list[Array]:
    """Write the graph and run it in LiteRT. UnsupportedError when it cannot be written."""
    write_tflite(graph, path)
    with litert.LiteRtModel(path, xnnpack=xnnpack) as model:
        outputs = model.run(fed(case, graph))
    return [outputs[port.name] for port in graph.outputs]


def run_tfjs(case: Case, graph: Graph, folder: Path, session: tfjs.Session) -> list[Array]:
    """Write the graph and run it in TensorFlow.js. UnsupportedError when it cannot be written."""
    folder.mkdir()
    write_tfjs(graph, folder)
    outputs = session.run(folder, fed(case, graph)).outputs
    return [outputs[port.name] for port in graph.outputs]


def as_narrowed(graph: Graph, outputs: Sequence[Array]) -> list[Array]:
    """The expected outputs in the element types that the target's graph has."""
    return [array.astype(port.value.dtype.numpy) for port, array in zip(graph.outputs, outputs, strict=True)]


def fed(case: Case, graph: Graph) -> dict[str, Array]:
    """The inputs in the types that the target's graph has."""
    arrays = feeds(case)
    return {port.name: arrays[port.name].astype(port.value.dtype.numpy) for port in graph.inputs}


def size_of(case: Case) -> int:
    """Elements fed and constant, to keep the examples small."""
    return sum(math.prod(array.shape) for array in case.example.inputs)
