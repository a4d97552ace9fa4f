"""Operators of TensorFlow Lite that no converter here writes: files made by hand, read, and compared with LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from flatbuffers import flexbuffers

import tensorferry
from lite_files import LiteFile
from tensorferry import ops, readers
from tensorferry.errors import FerryError, UnsupportedError
from tensorferry.ir import Graph, Node, Port
from tensorferry.ops.spec import Declined
from tensorferry.readers.selection import select
from tensorferry.readers.tflite.reader import rules
from tensorferry.runtimes import litert
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.tensor import DType
from tensorferry.wire import tflite_schema
from tensorferry.writers.foreign import lite_fallback
from test_tflite_reader import feeds_for

RANDOM = np.random.default_rng(3)


def some(*shape):
    return RANDOM.uniform(-1, 1, shape).astype(np.float32)


def one(name, inputs, outputs, options=None, **more):
    """A file of one operator. Arrays are constants, tuples the shapes of inputs, None an input left out."""
    file = LiteFile()
    file.graph()
    numbers = []
    for each in inputs:
        if each is None:
            numbers.append(-1)
        elif isinstance(each, np.ndarray):
            numbers.append(file.tensor(each.shape, KINDS[each.dtype.name], data=each))
        elif isinstance(each, dict):
            numbers.append(file.tensor(**each))
        else:
            numbers.append(file.tensor(each, role="input", name=f"x{len(numbers)}"))
    made = [
        file.tensor(each[0], each[1], role="output", name=f"y{place}")
        if isinstance(each[0], tuple)
        else file.tensor(each, role="output", name=f"y{place}")
        for place, each in enumerate(outputs)
    ]
    file.operator(name, numbers, made, options, **more)
    return file


KINDS = {"float32": "FLOAT32", "int32": "INT32", "int64": "INT64", "int8": "INT8", "bool": "BOOL", "object": "STRING"}


def assert_same(path, tolerance=1e-5, calls=1, feeds=None, **options):
    """The graph read and LiteRT on the file give the same, call after call."""
    graph = select(readers.read(path, **options))
    known = dict(feeds_for(graph) if feeds is None else feeds)
    states = {name: state.first.array() for name, state in graph.states.items()}
    plain = {name: array for name, array in known.items() if name not in graph.states}
    with litert.LiteRtModel(path, xnnpack=False) as model:
        for call in range(calls):
            given = {name: array * (1 + call) for name, array in plain.items()}
            theirs = model.run(given)
            ours = evaluate_graph(graph, {**given, **states})
            states = {name: ours[state.output] for name, state in graph.states.items()}
            for name, array in theirs.items():
                assert ours[name].dtype == array.dtype
                np.testing.assert_allclose(ours[name], array, rtol=0, atol=tolerance * max(1, np.abs(array).max(initial=0)))
    return graph


def variable(*shape):
    return {"shape": shape, "is_variable": True}


# -- recurrent -----------------------------------------------------------------------------------------------------

BATCH, STEPS, WIDTH, UNITS, OUT = 2, 3, 4, 5, 3


def lstm_inputs(x, *, coupled=False, peephole=False, normed=False, projected=False, states=True):
    out = OUT if projected else UNITS
    gates = [None if coupled and each == 0 else True for each in range(4)]
    inputs = [x]
    inputs += [some(UNITS, WIDTH) if each else None for each in gates]
    inputs += [some(UNITS, out) if each else None for each in gates]
    inputs += [some(UNITS) if peephole and not (coupled and each == 0) else None for each in range(3)]
    inputs += [some(UNITS) if each else None for each in gates]
    inputs += [some(OUT, UNITS) if projected else None, some(OUT) if projected else None]
    if states:
        inputs += [variable(BATCH, out), variable(BATCH, UNITS)]
        inputs += [some(UNITS) if normed and each else None for each in gates]
    return inputs


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"coupled": True},
        {"peephole": True},
        {"coupled": True, "peephole": True},
        {"normed": True},
        {"projected": True},
        {"coupled": True, "peephole": True, "normed": True, "projected": True},
    ],
    ids=lambda form: "-".join(form) or "plain",
)
@pytest.mark.parametrize("major", [False, True], ids=["batch", "time"])
def test_a_sequence_lstm(form, major, tmp_path):
    lead = (STEPS, BATCH) if major else (BATCH, STEPS)
    out = OUT if form.get("projected") else UNITS
    options = {"fused_activation_function": "TANH", "time_major": major, "cell_clip": 0.7 if form else 0.0, "proj_clip": 0.4}
    file = one("UNIDIRECTIONAL_SEQUENCE_LSTM", lstm_inputs((*lead, WIDTH), **form), [(*lead, out)], options)
    graph = assert_same(file.write(tmp_path / "net.tflite"))
    assert any("call begins with zeros" in notice for notice in graph.notices)


@pytest.mark.parametrize("form", [{}, {"coupled": True}], ids=["one op", "written out"])
def test_a_sequence_lstm_with_an_open_batch(form, tmp_path):
    """LiteRT wants the state's size to follow; what is read begins with as many zeros as there are rows."""
    options = {"fused_activation_function": "TANH", "time_major": False}
    file = one("UNIDIRECTIONAL_SEQUENCE_LSTM", lstm_inputs((-1, STEPS, WIDTH), **form), [(-1, STEPS, UNITS)], options)
    graph = select(readers.read(file.write(tmp_path / "net.tflite")))
    x = some(BATCH, STEPS, WIDTH)
    both = evaluate_graph(graph, {"x0": x})["y0"]
    np.testing.assert_allclose(both[1:], evaluate_graph(graph, {"x0": x[1:]})["y0"], rtol=1e-5, atol=1e-6)
    file.subgraphs[0]["tensors"][0] |= {"shape": [BATCH, STEPS, WIDTH], "shape_signature": [BATCH, STEPS, WIDTH]}
    expected = litert.run_plain(file.write(tmp_path / "fixed.tflite"), {"x0": x}).outputs["y0"]
    np.testing.assert_allclose(both, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", [{}, {"coupled": True, "peephole": True, "projected": True}], ids=["plain", "all"])
def test_an_lstm_of_one_step_keeps_its_state(form, tmp_path):
    out = OUT if form.get("projected") else UNITS
    file = one("LSTM", lstm_inputs((BATCH, WIDTH), **form), [(BATCH, out)], {"fused_activation_function": "TANH"})
    graph = assert_same(file.write(tmp_path / "net.tflite"), calls=3)
    assert len(graph.states) == 2


def test_a_basic_lstm_is_given_its_state(tmp_path):
    inputs = [(1, WIDTH), (1, UNITS), some(4 * UNITS, WIDTH + UNITS), some(4 * UNITS), (1, UNITS)]
    outputs = [(1, UNITS), (1, UNITS), (1, WIDTH + UNITS), (1, 4 * UNITS)]
    file = one("LSTM", inputs, outputs, {"fused_activation_function": "TANH", "kernel_type": "BASIC"}, version=2)
    file.subgraphs[0]["outputs"] = file.subgraphs[0]["outputs"][:2]  # the others are work space
    assert_same(file.write(tmp_path / "net.tflite"))


@pytest.mark.parametrize("merged", [False, True])
def test_an_lstm_both_ways(merged, tmp_path):
    forward, backward = (lstm_inputs(None, peephole=merged, states=False)[1:] for _ in range(2))
    inputs = [(STEPS, BATCH, WIDTH), *forward, *backward, *[variable(BATCH, UNITS)] * 4, *[None] * 9]
    outputs = [(STEPS, BATCH, 2 * UNITS)] if merged else [(STEPS, BATCH, UNITS)] * 2
    options = {"fused_activation_function": "TANH", "time_major": True, "merge_outputs": merged}
    assert_same(one("BIDIRECTIONAL_SEQUENCE_LSTM", inputs, outputs, options).write(tmp_path / "net.tflite"))


def rnn_weights():
    return [some(UNITS, WIDTH), some(UNITS, UNITS), some(UNITS)]


def test_an_rnn_of_one_step_keeps_its_state(tmp_path):
    inputs = [(BATCH, WIDTH), *rnn_weights(), variable(BATCH, UNITS)]
    file = one("RNN", inputs, [(BATCH, UNITS)], {"fused_activation_function": "TANH"})
    assert_same(file.write(tmp_path / "net.tflite"), calls=3)


@pytest.mark.parametrize("major", [False, True], ids=["batch", "time"])
@pytest.mark.parametrize("activation", ["TANH", "RELU", "NONE"])
def test_a_sequence_rnn(major, activation, tmp_path):
    lead = (STEPS, BATCH) if major else (BATCH, STEPS)
    inputs = [(*lead, WIDTH), *rnn_weights(), variable(BATCH, UNITS)]
    options = {"fused_activation_function": activation, "time_major": major}
    assert_same(one("UNIDIRECTIONAL_SEQUENCE_RNN", inputs, [(*lead, UNITS)], options).write(tmp_path / "net.tflite"))


@pytest.mark.parametrize("merged", [False, True])
def test_an_rnn_both_ways(merged, tmp_path):
    state = variable(BATCH, UNITS)
    inputs = [(BATCH, STEPS, WIDTH), *rnn_weights(), state, *rnn_weights(), state, None, None, None]
    outputs = [(BATCH, STEPS, 2 * UNITS)] if merged else [(BATCH, STEPS, UNITS)] * 2
    options = {"fused_activation_function": "RELU6", "merge_outputs": merged}
    assert_same(one("BIDIRECTIONAL_SEQUENCE_RNN", inputs, outputs, options).write(tmp_path / "net.tflite"))


@pytest.mark.parametrize("rank", [1, 2])
def test_filters_over_a_memory(rank, tmp_path):
    filters, memory = 4, 3
    inputs = [(BATCH, WIDTH), some(filters, WIDTH), some(filters, memory), some(filters // rank), variable(BATCH, memory * filters)]
    file = one("SVDF", inputs, [(BATCH, filters // rank)], {"rank": rank, "fused_activation_function": "RELU"})
    assert_same(file.write(tmp_path / "net.tflite"), calls=4)


# -- others --------------------------------------------------------------------------------------------------------

POOL = {"padding": "SAME", "stride_w": 2, "stride_h": 1, "filter_width": 3, "filter_height": 2}

SINGLE = {
    "L2_POOL_2D": ([(1, 5, 6, 2)], [(1, 5, 3, 2)], POOL | {"fused_activation_function": "RELU6"}),
    "L2_NORMALIZATION": ([(2, 5)], [(2, 5)], {}),
    "LOCAL_RESPONSE_NORMALIZATION": ([(1, 2, 2, 7)], [(1, 2, 2, 7)], {"radius": 2, "bias": 1.0, "alpha": 0.3, "beta": 0.6}),
    "RELU_0_TO_1": ([(2, 5)], [(2, 5)], None),
    "RELU_N1_TO_1": ([(2, 5)], [(2, 5)], None),
    "EMBEDDING_LOOKUP": ([np.array([2, 0, 1], np.int32), (4, 5)], [(3, 5)], None),
    "HASHTABLE_LOOKUP": (
        [np.array([7, 4, 9], np.int32), np.array([1, 7, 9], np.int32), some(3, 2)],
        [(3, 2), ((3,), "UINT8")],
        None,
    ),
    "SELECT": ([np.array([True, False]), (2, 3), (2, 3)], [(2, 3)], {}),
    "RESHAPE": ([(2, 6)], [(3, 4)], {"new_shape": [3, -1]}),
    "DILATE": ([(2, 3), np.array([2, 3], np.int32), np.array(0.5, np.float32)], [(3, 7)], {}),
    "STABLEHLO_ADD": ([(2, 3), (2, 3)], [(2, 3)], None),
    "STABLEHLO_MULTIPLY": ([(2, 3), (2, 3)], [(2, 3)], None),
    "STABLEHLO_MAXIMUM": ([(2, 3), (2, 3)], [(2, 3)], None),
    "STABLEHLO_MINIMUM": ([(2, 3), (2, 3)], [(2, 3)], None),
    "STABLEHLO_PAD": (
        [(2, 3), np.array(0.5, np.float32)],
        [(6, 6)],
        {"edge_padding_low": [1, -1], "edge_padding_high": [2, 2], "interior_padding": [1, 1]},
    ),
}
"""Operator -> inputs, outputs, options."""


@pytest.mark.parametrize("name", SINGLE)
def test_one_operator(name, tmp_path):
    inputs, outputs, options = SINGLE[name]
    assert_same(one(name, inputs, outputs, options).write(tmp_path / "net.tflite"))


KERNELLESS = {
    "STABLEHLO_CBRT": ([(2, 3)], (2, 3), None, np.cbrt),
    "STABLEHLO_LOGISTIC": ([(2, 3)], (2, 3), None, lambda x: 1 / (1 + np.exp(-x))),
    "STABLEHLO_SUBTRACT": ([(2, 3), (2, 3)], (2, 3), None, np.subtract),
    "STABLEHLO_REMAINDER": ([(2, 3), (2, 3)], (2, 3), None, np.fmod),
    "STABLEHLO_CLAMP": (
        [np.array(-0.5, np.float32), (2, 3), np.array(0.5, np.float32)],
        (2, 3),
        None,
        lambda x: np.clip(x, -0.5, 0.5),
    ),
    "STABLEHLO_RESHAPE": ([(2, 6)], (3, 4), None, lambda x: x.reshape(3, 4)),
    "STABLEHLO_CONCATENATE": ([(2, 3), (2, 1)], (2, 4), {"dimension": 1}, lambda x, y: np.concatenate([x, y], 1)),
    "STABLEHLO_BROADCAST_IN_DIM": (
        [(3, 1)],
        (2, 3, 4),
        {"broadcast_dimensions": [1, 2]},
        lambda x: np.broadcast_to(x, (2, 3, 4)),
    ),
    "STABLEHLO_SLICE": (
        [(5, 7)],
        (2, 2),
        {"start_indices": [1, 0], "limit_indices": [5, 4], "strides": [2, 3]},
        lambda x: x[1:5:2, 0:4:3],
    ),
    "STABLEHLO_TRANSPOSE": ([(2, 3, 4)], (4, 2, 3), {"permutation": [2, 0, 1]}, lambda x: x.transpose(2, 0, 1)),
    "STABLEHLO_DOT_GENERAL": (
        [(2, 3, 4), (2, 4, 5)],
        (2, 3, 5),
        {
            "lhs_batching_dimensions": [0],
            "rhs_batching_dimensions": [0],
            "lhs_contracting_dimensions": [2],
            "rhs_contracting_dimensions": [1],
        },
        np.matmul,
    ),
    "STABLEHLO_IOTA": ([], (2, 3), {"iota_dimension": 1}, lambda: np.broadcast_to(np.arange(3, dtype=np.float32), (2, 3))),
    "STABLEHLO_DYNAMIC_SLICE": (
        [(5, 6), np.array(4, np.int32), np.array(1, np.int32)],
        (2, 3),
        {"slice_sizes": [2, 3]},
        lambda x: x[3:5, 1:4],
    ),
    "STABLEHLO_DYNAMIC_UPDATE_SLICE": (
        [(3, 4), np.full((2, 2), 9, np.float32), np.array(1, np.int32), np.array(5, np.int32)],
        (3, 4),
        None,
        lambda x: np.concatenate([x[:1], np.concatenate([x[1:, :2], np.full((2, 2), 9)], 1)]),
    ),
}
"""Operators that LiteRT reads and has no kernel for: inputs, the output's shape, options, what numpy makes of the inputs."""


@pytest.mark.parametrize("name", KERNELLESS)
def test_an_operator_without_a_kernel(name, tmp_path):
    inputs, shape, options, expected = KERNELLESS[name]
    graph = select(readers.read(one(name, inputs, [shape], options).write(tmp_path / "net.tflite")))
    feeds = feeds_for(graph)
    result = evaluate_graph(graph, feeds)["y0"]
    np.testing.assert_allclose(result, expected(*feeds.values()), rtol=1e-6, atol=1e-6)


def test_a_reduction_by_a_subgraph(tmp_path):
    file = one("STABLEHLO_REDUCE", [(2, 3, 4), np.array(0.5, np.float32)], [(2, 4)], {"dimensions": [1], "body_subgraph_index": 1})
    body = file.graph("sum")
    numbers = [file.tensor((), graph=body, role="input"), file.tensor((), graph=body, role="input")]
    file.operator("STABLEHLO_ADD", numbers, [file.tensor((), graph=body, role="output")], graph=body)
    graph = select(readers.read(file.write(tmp_path / "net.tflite")))
    feeds = feeds_for(graph)
    np.testing.assert_allclose(evaluate_graph(graph, feeds)["y0"], feeds["x0"].sum(1) + 0.5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["ADD", "MAXIMUM", "MUL"])
def test_windows(kind, tmp_path):
    parts = [np.asarray(each, np.int64) for each in ([2, 3], [2, 1], [1, 2])]
    start = np.asarray({"ADD": 0, "MAXIMUM": -9, "MUL": 1}[kind], np.float32)
    file = one("REDUCE_WINDOW", [(5, 8), start, *parts], [(2, 4)], {"reduce_function": kind})
    assert_same(file.write(tmp_path / "net.tflite"))


def test_windows_of_stablehlo(tmp_path):
    options = {
        "window_dimensions": [2, 3],
        "window_strides": [2, 1],
        "base_dilations": [2, 1],
        "window_dilations": [1, 2],
        "padding": [1, 0, 2, 1],
        "body_subgraph_index": 1,
    }
    file = one("STABLEHLO_REDUCE_WINDOW", [(3, 6), np.array([0], np.float32)], [(3, 5)], options)
    body = file.graph("sum")
    numbers = [file.tensor((), graph=body, role="input"), file.tensor((), graph=body, role="input")]
    file.operator("STABLEHLO_ADD", numbers, [file.tensor((), graph=body, role="output")], graph=body)
    assert_same(file.write(tmp_path / "net.tflite"))


def test_slices_from_computed_places(tmp_path):
    options = {
        "offset_dims": [1, 2],
        "collapsed_slice_dims": [1],
        "start_index_map": [0, 1],
        "index_vector_dim": 1,
        "slice_sizes": [2, 1, 3],
    }
    places = np.array([[0, 1], [3, 0], [1, 2], [9, 1]], np.int32)
    file = one("STABLEHLO_GATHER", [(4, 3, 5), places], [(4, 2, 3)], options)
    assert_same(file.write(tmp_path / "net.tflite"))


@pytest.mark.parametrize("combiner", ["SUM", "MEAN", "SQRTN"])
def test_sums_of_looked_up_rows(combiner, tmp_path):
    ids = np.array([1, 3, 0, 2], np.int32)
    indices = np.array([[0, 0], [2, 0], [2, 1], [2, 3]], np.int32)
    inputs = [ids, indices, np.array([3, 4], np.int32), np.array([1, 2, 4, 0.5], np.float32), (4, 5)]
    file = one("EMBEDDING_LOOKUP_SPARSE", inputs, [(3, 5)], {"combiner": combiner})
    assert_same(file.write(tmp_path / "net.tflite"))


def test_a_slice_whose_end_is_counted_from_its_beginning(tmp_path):
    ends = [np.asarray(each, np.int32) for each in ([1, 2], [2, 3], [1, 1])]
    file = one("STRIDED_SLICE", [(4, 7), *ends], [(2, 3)], {"offset": True}, version=8)
    assert_same(file.write(tmp_path / "net.tflite"))


# -- how constants are stored ----------------------------------------------------------------------------------------


def sparse_weights(file, dense, block=()):
    """A sparse tensor of two axes: rows dense, columns compressed, perhaps in blocks of columns."""
    rows, columns = dense.shape
    width = block[0] if block else 1
    apart = dense.reshape(rows, columns // width, width)
    places = [np.flatnonzero(apart[row].any(axis=1)) for row in range(rows)]
    values = np.concatenate([apart[row][each].reshape(-1) for row, each in enumerate(places)]).astype(np.float32)
    segments = np.cumsum([0, *(len(each) for each in places)]).astype(np.int32)
    levels = [
        {"format": "DENSE", "dense_size": rows},
        {
            "format": "SPARSE_CSR",
            "array_segments": ("Int32Vector", {"values": segments}),
            "array_indices": ("Uint8Vector", {"values": np.concatenate(places).astype(np.uint8)}),
        },
    ]
    table = {"traversal_order": [0, 1], "dim_metadata": levels}
    if block:
        levels.append({"format": "DENSE", "dense_size": width})
        table |= {"traversal_order": [0, 1, 2], "block_map": [1]}
    return file.tensor(dense.shape, data=values, sparsity=table)


@pytest.mark.parametrize("block", [(), (4,)], ids=["single", "blocks"])
def test_sparse_weights(block, tmp_path):
    dense = some(6, 8)
    dense[:, 4:][::2] = 0
    dense[1] = 0
    file = LiteFile()
    file.graph()
    x = file.tensor((2, 8), role="input", name="x")
    full = file.tensor((6, 8), name="full")
    file.operator("DENSIFY", [sparse_weights(file, dense, block)], [full], {})
    file.operator("FULLY_CONNECTED", [x, full, -1], [file.tensor((2, 6), role="output", name="y")], {})
    graph = assert_same(file.write(tmp_path / "net.tflite"))
    feeds = feeds_for(graph)
    np.testing.assert_allclose(evaluate_graph(graph, feeds)["y"], feeds["x"] @ dense.T, rtol=1e-5, atol=1e-6)


def test_weights_of_four_bits(tmp_path):
    whole = RANDOM.integers(-8, 8, (5, 7)).astype(np.int8)
    nibbles = np.append(whole.reshape(-1), 0).astype(np.uint8) & 15
    file = LiteFile()
    file.graph()
    scales = np.abs(some(5)) + 0.1
    weights = file.tensor((5, 7), "INT4", data=nibbles[::2] | nibbles[1::2] << 4, scale=scales, zero=[0] * 5)
    file.operator(
        "FULLY_CONNECTED",
        [file.tensor((2, 7), role="input", name="x"), weights, -1],
        [file.tensor((2, 5), role="output", name="y")],
        {},
    )
    graph = select(readers.read(file.write(tmp_path / "net.tflite")))
    feeds = feeds_for(graph)
    expected = feeds["x"] @ (whole * scales[:, None]).T
    np.testing.assert_allclose(evaluate_graph(graph, feeds)["y"], expected, rtol=1e-5, atol=1e-5)


def test_weights_behind_the_tables(tmp_path):
    """The form of files beyond 2 GiB: a buffer says where its bytes lie, in 64 bits."""
    file = one("ADD", [(2, 3), np.zeros((2, 3), np.float32)], [(2, 3)], {})
    path = file.write(tmp_path / "net.tflite")
    extra = some(2, 3)
    file.buffers[-1] = {"offset": path.stat().st_size + 64, "size": extra.nbytes}
    path = file.write(path)
    start = file.buffers[-1]["offset"]
    path.write_bytes(path.read_bytes().ljust(start, b"\0") + extra.tobytes())
    graph = select(readers.read(path))
    np.testing.assert_array_equal(evaluate_graph(graph, {"x0": np.zeros((2, 3), np.float32)})["y0"], extra)


# -- operators that are no builtins --------------------------------------------------------------------------------


def test_the_end_of_a_detection_model(tmp_path):
    options = {"max_detections": 6, "max_classes_per_detection": 1, "num_classes": 3, "nms_iou_threshold": 0.3}
    options |= {"nms_score_threshold": 0.2, "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0}
    builder = flexbuffers.Builder()
    with builder.Map():
        for key, value in sorted(options.items()):
            builder.Key(key)
            builder.Add(value)
    boxes = 12
    anchors = np.concatenate([RANDOM.uniform(0, 1, (boxes, 2)), RANDOM.uniform(0.2, 0.5, (boxes, 2))], 1).astype(np.float32)
    file = one(
        "TFLite_Detection_PostProcess",
        [(1, boxes, 4), (1, boxes, 4), anchors],
        [(1, 6, 4), (1, 6), (1, 6), (1,)],
        custom=bytes(builder.Finish()),
    )
    path = file.write(tmp_path / "net.tflite")
    feeds = {"x0": some(1, boxes, 4), "x1": RANDOM.uniform(0, 1, (1, boxes, 4)).astype(np.float32)}
    assert_same(path, feeds=feeds)


def test_mediapipes_convolution_and_pool(tmp_path):
    weights, bias = some(3, 2, 2, 4), some(3)
    parameters = np.array([1, 2, 2], np.int32).tobytes()
    file = one("Convolution2DTransposeBias", [(1, 4, 5, 4), weights, bias], [(1, 8, 10, 3)], custom=parameters)
    twin = one(
        "TRANSPOSE_CONV",
        [np.array([1, 8, 10, 3], np.int32), weights, (1, 4, 5, 4), bias],
        [(1, 8, 10, 3)],
        {"padding": "SAME", "stride_w": 2, "stride_h": 2},
        version=3,
    )
    x = some(1, 4, 5, 4)
    graph = select(readers.read(file.write(tmp_path / "net.tflite")))
    expected = litert.run(twin.write(tmp_path / "twin.tflite"), {"x2": x}).outputs["y0"]
    np.testing.assert_allclose(evaluate_graph(graph, {"x0": x})["y0"], expected, rtol=1e-5, atol=1e-5)
    parameters = np.array([1, 2, 2, 2, 2], np.int32).tobytes()
    file = one("MaxPoolingWithArgmax2D", [(1, 4, 6, 2)], [(1, 2, 3, 2), (1, 2, 3, 2)], custom=parameters)
    graph = select(readers.read(file.write(tmp_path / "pool.tflite")))
    x = some(1, 4, 6, 2)
    largest, places = evaluate_graph(graph, {"x0": x}).values()
    np.testing.assert_array_equal(largest, x.reshape(1, 2, 2, 3, 2, 2).max(axis=(2, 4)))
    np.testing.assert_array_equal(x.reshape(-1)[places.astype(int)], largest)


def test_an_unknown_operator_stays_or_is_refused(tmp_path):
    source = one("MagicOp", [(2, 3)], [(2, 4)], custom=b"\x01\x02\x03 its own").write(tmp_path / "net.tflite")
    with pytest.raises(UnsupportedError, match="MagicOp"):
        tensorferry.convert(source, tmp_path / "again.tflite")
    report = tensorferry.convert(source, tmp_path / "again.tflite", allow_custom=True)
    assert report.targets[0].operators == {"MagicOp": 1}
    assert b"\x01\x02\x03 its own" in (tmp_path / "again.tflite").read_bytes()


def test_a_select_operator_is_tensorflows_own(tmp_path):
    graph = Graph()
    x = ops.add(graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": (2, 3)}, name="x").output
    graph.inputs = [Port("x", x)]
    graph.outputs = [Port("y", ops.add(graph, "Lgamma", [x], name="y").output)]
    refused = Node("y", "Lgamma", [x], {"T": DType.FLOAT32}, [x.typed])
    fallback = lite_fallback(custom=False, select=True)
    options = fallback(refused, Declined("not there"))[0].custom
    refused.set_inputs(())
    path = one("FlexLgamma", [(2, 3)], [(2, 3)], custom=options).write(tmp_path / "net.tflite")
    read = select(readers.read(path))
    assert [node.op for node in read.nodes] == ["Placeholder", "Lgamma"]
    assert tensorferry.convert(path, tmp_path / "again.tflite").verified


def test_every_operator_is_known_or_refused_by_name(tmp_path):
    lacking = set(tflite_schema.operators()) - set(rules()) - {"CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"}
    assert lacking == REFUSED
    for name in sorted(lacking)[:3]:
        with pytest.raises(FerryError, match="not supported"):
            readers.read(one(name, [(2, 3)], [(2, 3)]).write(tmp_path / f"{name}.tflite"))


REFUSED = {
    *("CONCAT_EMBEDDINGS", "LSH_PROJECTION", "SKIP_GRAM", "STABLEHLO_CONVOLUTION", "STABLEHLO_CUSTOM_CALL"),
    *("STABLEHLO_RNG_BIT_GENERATOR", "STABLEHLO_SCATTER", "STABLEHLO_SORT"),
}
