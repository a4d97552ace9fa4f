"""The TensorFlow.js writer: names, order, types, shards and JSON, read back by TensorFlow.js's own loader where that matters."""

from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest

from tensorferry import ops
from tensorferry.errors import GraphError, OptionError, UnsupportedError
from tensorferry.ir import Graph, Port, Typed, Value
from tensorferry.ops.spec import Declined
from tensorferry.runtimes import tfjs
from tensorferry.tensor import Array, ArrayTensor, DType, FilledTensor, Tensor
from tensorferry.writers.tfjs import SHARD_SIZE, write_tfjs
from tensorferry.writers.tfjs_attributes import encode_attribute
from tensorferry.writers.tfjs_weights import plan_weight, shard_names

_MISSING = tfjs.available()
needs_runtime = pytest.mark.skipif(_MISSING is not None, reason=f"TensorFlow.js cannot be run: {_MISSING}")


def make_graph(**inputs: tuple[DType, tuple | None]) -> tuple[Graph, dict[str, Value]]:
    graph = Graph("test")
    values = {}
    for name, (dtype, shape) in inputs.items():
        values[name] = ops.add(graph, "Placeholder", (), {"dtype": dtype, "shape": shape}, name=f"{name}_node").output
        graph.inputs.append(Port(name, values[name]))
    return graph, values


def model_of(folder) -> dict:
    return json.loads((folder / "model.json").read_text())


def nodes_of(folder) -> dict[str, dict]:
    return {node["name"]: node for node in model_of(folder)["modelTopology"]["node"]}


def constants_graph(*arrays: Array | Tensor) -> Graph:
    """Each constant is an output `c0`, `c1` ..."""
    graph = Graph("constants")
    for index, array in enumerate(arrays):
        graph.outputs.append(Port(f"c{index}", graph.constant(array, f"weight{index}")))
    return graph


# -- names and order -----------------------------------------------------------------------------------------------


def awkward_graph() -> tuple[Graph, dict[str, Array]]:
    """Outputs that are an input, a constant, a node under two names, a later output of a node, and names JavaScript mistreats."""
    graph, values = make_graph(zebra=(DType.FLOAT32, ("n", 4)), apple=(DType.FLOAT32, ("n", 4)))
    relu = ops.add(graph, "Relu", [values["zebra"]], name="inner").output
    axis = graph.constant(np.int32(1), "axis")
    split = ops.add(graph, "Split", [axis, values["apple"]], {"num_split": 2}, name="halves")
    weight = graph.constant(np.arange(3, dtype=np.float32), "weight")
    made = {
        "z_last": relu,
        "second:0": relu,
        "zebra": values["zebra"],
        "a constant": weight,
        "right": split.outputs[1],
        "left": split.outputs[0],
        "constructor": ops.add(graph, "Neg", [relu], name="neg").output,
        "inner": ops.add(graph, "Abs", [values["apple"]], name="abs").output,
    }
    graph.outputs = [Port(name, value) for name, value in made.items()]
    zebra, apple = np.array([[-1, 2, -3, 4]], np.float32), np.array([[5, -6, 7, -8]], np.float32)
    positive = np.maximum(zebra, 0)
    expected = [positive, positive, zebra, np.arange(3, dtype=np.float32), apple[:, 2:], apple[:, :2], -positive, np.abs(apple)]
    return graph, dict(zip(made, expected, strict=True)) | {"zebra_in": zebra, "apple_in": apple}


def test_signature_keeps_names_and_order(tmp_path):
    graph, _ = awkward_graph()
    facts = write_tfjs(graph, tmp_path)
    signature = model_of(tmp_path)["signature"]
    assert list(signature["inputs"]) == ["zebra", "apple"] == list(facts.inputs)
    names = ["z_last", "second:0", "zebra", "a constant", "right", "left", "constructor", "inner"]
    assert list(signature["outputs"]) == names == list(facts.outputs)
    assert signature["inputs"]["zebra"] == {
        "name": "zebra:0",
        "dtype": "DT_FLOAT",
        "tensorShape": {"dim": [{"size": "-1"}, {"size": "4"}]},
    }


@needs_runtime
def test_awkward_outputs_run_in_the_official_loader(tmp_path):
    graph, expected = awkward_graph()
    write_tfjs(graph, tmp_path)
    feeds = {"zebra": expected.pop("zebra_in"), "apple": expected.pop("apple_in")}
    run = tfjs.run(tmp_path, feeds)
    assert list(run.outputs) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(run.outputs[name], array, err_msg=name)
    # `second:0` and `constructor` cannot be names of nodes there, `zebra` is the input and `inner` the output of another node
    wanted = ("z_last", "second_0", "zebra_1", "a constant", "right", "left", "constructor_1", "inner")
    assert run.model_inputs == ("zebra", "apple")
    assert run.model_outputs == wanted


def test_nodes_bear_public_names_without_extra_operators(tmp_path):
    graph, values = make_graph(x=(DType.FLOAT32, (2,)))
    graph.outputs = [Port("y", ops.add(graph, "Relu", [values["x"]], name="some/scope/Relu").output)]
    facts = write_tfjs(graph, tmp_path)
    assert facts.operators == {"Relu": 1}
    assert list(nodes_of(tmp_path)) == ["x", "y"]
    assert nodes_of(tmp_path)["y"]["input"] == ["x"]


def test_names_like_numbers_are_told(tmp_path):
    graph, values = make_graph(x=(DType.FLOAT32, (2,)))
    names = ["b", "10", "9", "01"]
    graph.outputs = [Port(name, ops.add(graph, "Relu", [values["x"]], name="r" + name).output) for name in names]
    facts = write_tfjs(graph, tmp_path)
    assert facts.notices == ("JavaScript lists outputs that are plain numbers first: 9, 10, b, 01; address them by name",)
    if _MISSING is None:  # the notice tells the truth
        assert tfjs.run(tmp_path, {"x": np.ones(2, np.float32)}).model_outputs == ("9", "10", "b", "01")


def test_a_made_up_name_is_never_that_of_another_node(tmp_path):
    graph, values = make_graph(x=(DType.FLOAT32, (2,)))
    other = ops.add(graph, "Neg", [values["x"]], name="x_1").output
    graph.outputs = [Port("x", values["x"]), Port("y", ops.add(graph, "Abs", [other], name="abs").output)]
    write_tfjs(graph, tmp_path)
    nodes = nodes_of(tmp_path)
    assert nodes["x_1"]["op"] == "Neg" and nodes["x_2"]["op"] == "Identity"


def test_only_what_the_outputs_need_is_written(tmp_path):
    graph, values = make_graph(x=(DType.FLOAT32, (2,)), unused=(DType.FLOAT32, (2,)))
    ops.add(graph, "Neg", [graph.constant(np.ones(1000, np.float32), "big")], name="dead")
    graph.add("NobodyKnowsIt", [values["x"]], typed=[Typed(DType.FLOAT32, (2,))])
    graph.outputs = [Port("y", ops.add(graph, "Relu", [values["x"]]).output)]
    facts = write_tfjs(graph, tmp_path)
    assert list(nodes_of(tmp_path)) == ["x", "unused", "y"]
    assert facts.weight_bytes == 0 and facts.files == ("model.json",)


# -- types ---------------------------------------------------------------------------------------------------------

NARROWED = [
    (np.array([1.5, -2.25, 1e-3], np.float64), "float32"),
    (np.array([1.5, -2.25], np.float16), "float32"),
    (np.array([-(2**31), 2**31 - 1, 0], np.int64), "int32"),
    (np.array([-128, 127], np.int8), "int32"),
    (np.array([-32768, 7], np.int16), "int32"),
    (np.array([255, 0], np.uint8), "int32"),
    (np.array([65535], np.uint16), "int32"),
    (np.array([2**31 - 1], np.uint32), "int32"),
    (np.array([5], np.uint64), "int32"),
]


@needs_runtime
@pytest.mark.parametrize(("array", "dtype"), NARROWED, ids=[str(array.dtype) for array, _ in NARROWED])
def test_types_tfjs_lacks_are_narrowed_with_a_notice(tmp_path, array, dtype):
    graph = constants_graph(array)
    facts = write_tfjs(graph, tmp_path)
    assert facts.notices == (f"TensorFlow.js has no {array.dtype}: {dtype} is used for output 'c0'",)
    result = tfjs.run(tmp_path, {}).outputs["c0"]
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, array.astype(dtype))


@needs_runtime
def test_bfloat16_is_widened(tmp_path):
    graph = constants_graph(ArrayTensor(np.array([0x3FC0, 0xC010], np.uint16), DType.BFLOAT16))
    write_tfjs(graph, tmp_path)
    np.testing.assert_array_equal(tfjs.run(tmp_path, {}).outputs["c0"], np.array([1.5, -2.25], np.float32))


@pytest.mark.parametrize(
    "array",
    [
        np.array([0, 2**31], np.int64),
        np.array([-(2**31) - 1], np.int64),
        np.array([2**31], np.uint32),
        np.array([2**63], np.uint64),
        np.array([1e39], np.float64),
    ],
    ids=str,
)
def test_constants_that_do_not_fit_are_refused(tmp_path, array):
    with pytest.raises(UnsupportedError, match="cannot hold") as raised:
        write_tfjs(constants_graph(array), tmp_path)
    assert raised.value.problems[0].node == "weight0"
    assert list(tmp_path.iterdir()) == []


def test_infinities_survive_narrowing():
    weight = plan_weight("w", ArrayTensor(np.array([np.inf, -np.inf, np.nan], np.float64)))
    np.testing.assert_array_equal(weight.tensor.array(), np.array([np.inf, -np.inf, np.nan], np.float32))


def test_notices_count_what_is_narrowed(tmp_path):
    graph, values = make_graph(ids=(DType.INT64, (3,)), x=(DType.FLOAT32, (3,)))
    total = ops.add(graph, "AddV2", [values["ids"], graph.constant(np.int64(2), "two")], name="sum").output
    again = ops.add(graph, "AddV2", [total, graph.constant(np.int64(3), "three")], name="again").output
    graph.outputs = [Port("shifted", again), Port("y", ops.add(graph, "Relu", [values["x"]]).output)]
    facts = write_tfjs(graph, tmp_path)
    used = "input 'ids', output 'shifted', 2 constants, 1 intermediate value"
    assert facts.notices == (f"TensorFlow.js has no int64: int32 is used for {used}",)
    assert nodes_of(tmp_path)["ids"]["attr"]["dtype"] == {"type": "DT_INT32"}


def test_an_input_without_a_type_there_is_refused(tmp_path):
    graph, values = make_graph(handle=(DType.RESOURCE, ()))
    graph.outputs = [Port("y", values["handle"])]
    with pytest.raises(UnsupportedError, match="no element type for resource"):
        write_tfjs(graph, tmp_path)


# -- weights -------------------------------------------------------------------------------------------------------


@needs_runtime
@pytest.mark.parametrize("shard_size", [0, 1, 3, 4, 7, 21, 1 << 20])
def test_every_kind_of_weight_survives_every_cut(tmp_path, shard_size):
    """Odd lengths before float32: the loader slices, so nothing need be aligned."""
    arrays = [
        np.array([True, False, True]),
        np.array([1.5, -2.5], np.float32),
        np.array([b"a", b"", b"\xff\x00\xfe", "é".encode()], object),
        np.float32(7.25),
        np.array([[1 + 2j, -3j]], np.complex64),
        np.zeros((0, 3), np.float32),
        np.array([[-5], [6]], np.int32),
        np.array(b"scalar", object),
    ]
    facts = write_tfjs(constants_graph(*arrays), tmp_path, shard_size=shard_size)
    shards = [name for name in facts.files if name != "model.json"]
    sizes = [(tmp_path / name).stat().st_size for name in shards]
    assert sum(sizes) == facts.weight_bytes == 3 + 8 + (4 * 4 + 1 + 0 + 3 + 2) + 4 + 16 + 0 + 8 + 10
    assert all(size == shard_size for size in sizes[:-1]) and (shard_size == 0 or sizes[-1] <= shard_size)
    assert facts.nbytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    run = tfjs.run(tmp_path, {})
    for index, array in enumerate(arrays):
        result = run.outputs[f"c{index}"]
        assert result.shape == array.shape and result.dtype == array.dtype
        np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize(
    ("total", "size", "count"), [(0, 4, 0), (0, 0, 0), (1, 0, 1), (3, 4, 1), (4, 4, 1), (5, 4, 2), (8, 4, 2), (9, 4, 3)]
)
def test_shard_names_at_the_boundaries(total, size, count):
    assert shard_names(total, size) == [f"group1-shard{number}of{count}.bin" for number in range(1, count + 1)]


def test_large_weights_are_cut_at_four_mebibytes_by_default(tmp_path):
    graph = constants_graph(FilledTensor(np.float32(1.5), DType.FLOAT32, (SHARD_SIZE // 4 * 2 + 1,)))
    facts = write_tfjs(graph, tmp_path)
    sizes = [(tmp_path / name).stat().st_size for name in facts.files[1:]]
    assert sizes == [4 << 20, 4 << 20, 4]
    assert model_of(tmp_path)["weightsManifest"][0]["paths"] == list(facts.files[1:])


def test_weights_are_never_held_whole(tmp_path):
    class Watched(FilledTensor):
        def array(self) -> Array:
            assert self.size <= 1 << 20, "the whole weight was asked for"
            return super().array()

        def chunks(self, limit: int = 1 << 20):
            block = memoryview(bytes(limit))
            for start in range(0, self.nbytes, limit):
                yield block[: min(limit, self.nbytes - start)]

    for dtype in (DType.FLOAT32, DType.INT64):
        graph = constants_graph(Watched(np.zeros(1), dtype, (3 << 20,)))
        assert write_tfjs(graph, tmp_path).weight_bytes == 12 << 20


def test_a_constant_with_two_readers_is_written_once(tmp_path):
    graph, values = make_graph(x=(DType.FLOAT32, (3,)))
    weight = graph.constant(np.ones(3, np.float32), "w")
    one = ops.add(graph, "AddV2", [values["x"], weight]).output
    graph.outputs = [Port("y", ops.add(graph, "Mul", [one, weight]).output)]
    assert write_tfjs(graph, tmp_path).weight_bytes == 12


def test_a_negative_shard_size_is_refused(tmp_path):
    with pytest.raises(OptionError, match="-1"):
        write_tfjs(Graph(), tmp_path, shard_size=-1)


# -- JSON ----------------------------------------------------------------------------------------------------------


def test_the_bytes_are_the_same_each_time(tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        write_tfjs(awkward_graph()[0], folder, shard_size=5)
    one, two = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert one == two and len(one) > 2


def test_the_json_is_strict_and_complete(tmp_path):
    write_tfjs(awkward_graph()[0], tmp_path)
    model = json.loads((tmp_path / "model.json").read_bytes(), parse_constant=pytest.fail)
    assert model["format"] == "graph-model"
    assert model["generatedBy"].startswith("tensorferry ") and model["convertedBy"].startswith("tensorferry ")
    assert set(model["modelTopology"]) == {"node", "library", "versions"}
    assert model["modelTopology"]["versions"]["producer"] > 0


@pytest.mark.parametrize(
    ("name", "value", "encoded"),
    [
        ("strides", [1, 2, 2, 1], {"list": {"i": ["1", "2", "2", "1"]}}),
        ("ksize", (1, 3), {"list": {"i": ["1", "3"]}}),
        ("shape", (1, "n", 3), {"shape": {"dim": [{"size": "1"}, {"size": "-1"}, {"size": "3"}]}}),
        ("shape", None, {"shape": {"unknownRank": True}}),
        ("shape", (), {"shape": {"dim": []}}),
        ("output_shapes", [(1,), ()], {"list": {"shape": [{"dim": [{"size": "1"}]}, {"dim": []}]}}),
        ("padding", "SAME", {"s": base64.b64encode(b"SAME").decode()}),
        ("fused_ops", ["BiasAdd"], {"list": {"s": [base64.b64encode(b"BiasAdd").decode()]}}),
        ("align_corners", True, {"b": True}),
        ("flags", [True, False], {"list": {"b": [True, False]}}),
        ("N", np.int64(3), {"i": "3"}),
        ("alpha", np.float32(0.5), {"f": 0.5}),
        ("scales", [1, 0.5], {"list": {"f": [1.0, 0.5]}}),
        ("T", DType.INT64, {"type": "DT_INT32"}),
        ("Tin", [DType.FLOAT16, DType.STRING], {"list": {"type": ["DT_FLOAT", "DT_STRING"]}}),
        ("empty", [], {"list": {}}),
    ],
)
def test_attributes_take_the_form_of_tensorflow(name, value, encoded):
    result = encode_attribute(name, value)
    assert json.dumps(result) == json.dumps(encoded)


@pytest.mark.parametrize(
    "value",
    [math.inf, math.nan, [1.0, -math.inf], [1, "a"], object(), Graph()],
    ids=["inf", "nan", "infinite list", "mixed list", "object", "graph"],
)
def test_attributes_json_cannot_carry_are_declined(value):
    with pytest.raises(Declined, match="alpha"):
        encode_attribute("alpha", value)


# -- what cannot be written ----------------------------------------------------------------------------------------


def test_all_unsupported_nodes_are_told_at_once(tmp_path):
    graph, values = make_graph(x=(DType.FLOAT32, (2,)))
    known = [Typed(DType.FLOAT32, (2,))]
    one = graph.add("NobodyKnowsIt", [values["x"]], {"level": 3}, typed=known, name="first").output
    two = ops.add(graph, "Relu", [one], name="between").output
    three = graph.add("NorThisOne", [two], typed=known, name="second").output
    late = ops.add(graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": (2,)}, name="forgotten").output
    graph.outputs = [Port("y", ops.add(graph, "AddV2", [three, late]).output)]
    with pytest.raises(UnsupportedError) as raised:
        write_tfjs(graph, tmp_path)
    error = raised.value
    assert {(problem.node, problem.op) for problem in error.problems} == {
        ("first", "NobodyKnowsIt"),
        ("second", "NorThisOne"),
        ("forgotten", "Placeholder"),
    }
    assert error.target == "TensorFlow.js" and error.exit_code == 2
    assert "3 nodes cannot be written as TensorFlow.js" in str(error) and "level=3" in str(error) and "--inputs" in str(error)
    assert list(tmp_path.iterdir()) == []


def test_a_fused_activation_without_a_form_there_is_a_bug(tmp_path):
    graph, values = make_graph(x=(DType.FLOAT32, (2,)))
    node = ops.add(graph, "AddV2", [values["x"], values["x"]], {"activation": "Relu6"})
    graph.outputs = [Port("y", node.output)]
    with pytest.raises(GraphError, match="cannot apply Relu6"):
        write_tfjs(graph, tmp_path)
