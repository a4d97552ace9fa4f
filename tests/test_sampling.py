import numpy as np
import pytest

from tensorferry import ops
from tensorferry.errors import OptionError, SourceError
from tensorferry.ir import Graph, Port
from tensorferry.sampling import UNKNOWN_BATCH, UNKNOWN_SIZES, choose_shapes, load_inputs, sample_inputs
from tensorferry.tensor import DType

UNKNOWN_SIZE = UNKNOWN_SIZES[0]


def graph_with(**inputs):
    graph = Graph()
    for name, (dtype, shape) in inputs.items():
        node = ops.add(graph, "Placeholder", attrs={"dtype": dtype, "shape": shape}, name=name)
        graph.inputs.append(Port(name, node.output))
    return graph


def test_samples_are_seeded_and_typed():
    graph = graph_with(a=(DType.FLOAT32, (1, 3)), b=(DType.BOOL, (4,)), c=(DType.STRING, ()), d=(DType.UINT8, (64,)))
    one, two, other = sample_inputs(graph, 1), sample_inputs(graph, 1), sample_inputs(graph, 2)
    assert [array.dtype for array in one.values()] == [np.float32, bool, object, np.uint8]
    assert [array.shape for array in one.values()] == [(1, 3), (4,), (), (64,)]
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not np.array_equal(one["a"], other["a"])
    assert one["d"].max() > 100, "an unsigned byte is most likely a pixel"


def test_unknown_sizes_get_numbers_and_equal_names_equal_ones():
    graph = graph_with(a=(DType.FLOAT32, ("batch", "height", 3)), b=(DType.FLOAT32, ("batch", "?", "height")))
    arrays = sample_inputs(graph)
    assert arrays["a"].shape == (UNKNOWN_BATCH, UNKNOWN_SIZE, 3)
    assert arrays["b"].shape == (UNKNOWN_BATCH, UNKNOWN_SIZE, UNKNOWN_SIZE)
    assert sample_inputs(graph, sizes={"height": 7})["b"].shape == (UNKNOWN_BATCH, UNKNOWN_SIZE, 7)


def test_unknown_sizes_agree_with_what_the_graph_needs():
    graph = graph_with(image=(DType.FLOAT32, ("batch", "height", "width", 3)))
    target = graph.constant(np.array([-1, 28 * 28 * 3], np.int32), "shape")
    flat = ops.add(graph, "Reshape", [graph.inputs[0].value, target]).output
    graph.outputs = [Port("flat", flat)]
    assert choose_shapes(graph) == {"image": (UNKNOWN_BATCH, 28, 28, 3)}


@pytest.mark.parametrize(
    ("steps", "low", "high"),
    [
        ([("RealDiv", [127.5]), ("Sub", [1.0])], 0, 255),
        ([("Mul", [1 / 255])], -255, 255),
        ([("Sub", [123.0, 117.0, 104.0])], -19, 246),
        ([("AddV2", [0.5])], -1.5, 0.5),
        ([("Mul", [0.0])], -1, 1),
        ([("Relu", None)], -1, 1),
    ],
)
def test_a_net_that_takes_pixels_gets_pixels(steps, low, high):
    graph = graph_with(image=(DType.FLOAT32, (1, 16, 16, 3)))
    value = graph.inputs[0].value
    for op, constant in steps:
        others = [] if constant is None else [graph.constant(np.array(constant, np.float32), "c")]
        value = ops.add(graph, op, [value, *others]).output
    graph.outputs = [Port("y", value)]
    samples = sample_inputs(graph)["image"]
    assert low - 1e-3 <= samples.min() < low + 0.02 * (high - low)
    assert high + 1e-3 >= samples.max() > high - 0.02 * (high - low)


def test_an_unknown_rank_asks_for_a_shape():
    with pytest.raises(OptionError, match="unknown rank") as caught:
        sample_inputs(graph_with(a=(DType.FLOAT32, None)))
    assert "--shape a=" in caught.value.remedy
    assert sample_inputs(graph_with(a=(DType.FLOAT32, None)), unknown=(4,))["a"].shape == (4,)


def test_several_nets_in_one_graph_have_sizes_of_their_own():
    """One is made for pictures of 24, one of 48, the third takes any."""
    graph = graph_with(a=(DType.FLOAT32, ("n", "h", 2)), b=(DType.FLOAT32, ("m", "k", 2)), c=(DType.FLOAT32, ("l", "j", 2)))
    for port, length in zip(graph.inputs, (24, 48, None), strict=True):
        value = port.value
        if length is not None:
            shape = graph.constant(np.array([-1, length * 2], np.int32), f"{port.name}/shape")
            kernel = graph.constant(np.zeros((length * 2, 3), np.float32), f"{port.name}/kernel")
            flat = ops.add(graph, "Reshape", [value, shape]).output
            value = ops.add(graph, "MatMul", [flat, kernel]).output
        graph.outputs.append(Port(f"{port.name}_out", ops.add(graph, "Relu", [value]).output))
    shapes = choose_shapes(graph)
    assert (shapes["a"], shapes["b"]) == ((2, 24, 2), (2, 48, 2))


@pytest.mark.parametrize("cast", [False, True])
def test_indices_stay_in_range(cast):
    graph = graph_with(indices=(DType.INT32, (500,)))
    table = graph.constant(np.zeros((4, 2), np.float32), "table")
    axis = graph.constant(np.array(0, np.int32), "axis")
    index = graph.inputs[0].value
    if cast:
        index = ops.add(graph, "Cast", [index], {"SrcT": DType.INT32, "DstT": DType.INT64}).output
    ops.add(graph, "GatherV2", [table, index, axis])
    values = sample_inputs(graph)["indices"]
    assert set(values) == {0, 1, 2, 3}


def test_indices_that_may_count_from_the_end_stay_in_range():
    graph = graph_with(indices=(DType.INT32, (500,)))
    table, zero = graph.constant(np.zeros((4, 2), np.float32), "table"), graph.constant(np.array(0, np.int32), "zero")
    size, index = graph.constant(np.array(4, np.int32), "size"), graph.inputs[0].value
    below, wrapped = ops.add(graph, "Less", [index, zero]), ops.add(graph, "AddV2", [index, size])
    chosen = ops.add(graph, "SelectV2", [below.output, wrapped.output, index])
    ops.add(graph, "GatherV2", [table, chosen.output, zero])
    assert set(sample_inputs(graph)["indices"]) == {0, 1, 2, 3}


def test_values_from_a_file(tmp_path):
    graph = graph_with(a=(DType.FLOAT32, (2,)), b=(DType.INT32, (1,)))
    path = tmp_path / "values.npz"
    np.savez(path, a=np.array([1.0, 2.0]), b=np.array([3], np.int64))
    values = load_inputs(path, graph)
    assert (values["a"].dtype, values["b"].dtype) == (np.float32, np.int32)
    np.savez(path, a=np.array([1.0, 2.0]))
    with pytest.raises(OptionError, match="no array named b"):
        load_inputs(path, graph)
    np.savez(path, a=np.array([1.0, 2.0]), b=np.array([0.5]))
    with pytest.raises(OptionError, match="float64"):
        load_inputs(path, graph)


def test_a_single_input_may_be_a_plain_array(tmp_path):
    np.save(tmp_path / "a.npy", np.array([1.0, 2.0], np.float32))
    graph = graph_with(a=(DType.FLOAT32, (2,)))
    assert load_inputs(tmp_path / "a.npy", graph)["a"].tolist() == [1.0, 2.0]
    with pytest.raises(OptionError, match="2 inputs"):
        load_inputs(tmp_path / "a.npy", graph_with(a=(DType.FLOAT32, (2,)), b=(DType.FLOAT32, (2,))))


def test_bad_files_are_source_errors(tmp_path):
    graph = graph_with(a=(DType.FLOAT32, (2,)))
    with pytest.raises(SourceError):
        load_inputs(tmp_path / "absent.npz", graph)
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(SourceError):
        load_inputs(tmp_path / "text.npz", graph)
    np.save(tmp_path / "pickle.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(SourceError):
        load_inputs(tmp_path / "pickle.npy", graph)
