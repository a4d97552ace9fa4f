import errno
import re

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as official
from ai_edge_litert.compiled_model import CompiledModel

from tensorferry import ops
from tensorferry.errors import GraphError, UnsupportedError
from tensorferry.ir import Graph, Port, Quantization, Typed
from tensorferry.ops.spec import Declined, OpSpec, lite, same_as_input
from tensorferry.runtimes import litert
from tensorferry.storage import SourceFile
from tensorferry.targets import LiteOp, Temp
from tensorferry.tensor import ArrayTensor, CastTensor, DType, FileTensor, ReshapedTensor, Tensor, TransposedTensor
from tensorferry.writers.tflite import LONG_OFFSETS_RUNTIME, write_tflite
from tensorferry.writers.tflite_payload import Payload, identity_of, pack_nibbles, pack_strings

FORMS = pytest.mark.parametrize("limit", [1 << 31, 1], ids=["ordinary", "long offsets"])


def placeholder(graph, name, shape, dtype=DType.FLOAT32, public=None):
    value = ops.add(graph, "Placeholder", attrs={"dtype": dtype, "shape": shape}, name=name).output
    graph.inputs.append(Port(public or name, value))
    return value


def two_inputs():
    """zulu = (x + 1 2 3 4) + 1 2 3 4; alpha = b + a large constant. Names in an order that sorting would change."""
    graph = Graph("net")
    x = placeholder(graph, "x", ("batch", 4), public="second")
    b = placeholder(graph, "b", (300, 40), public="first")
    small = graph.constant(np.array([1, 2, 3, 4], np.float32), "small")
    large = graph.constant(np.arange(12000, dtype=np.float32).reshape(300, 40), "large")
    y = ops.add(graph, "AddV2", [x, small], name="layer/y").output
    z = ops.add(graph, "AddV2", [y, small], name="layer/z").output
    w = ops.add(graph, "AddV2", [b, large], name="w").output
    graph.outputs = [Port("zulu", z), Port("alpha", w)]
    return graph


def load(path):
    return official.ModelT.InitFromPackedBuf(path.read_bytes(), 0)


def text(name):
    return name.decode() if isinstance(name, bytes) else name


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.tflite"


@pytest.fixture
def with_op(monkeypatch):
    """Adds ops for one test: with_op(name, to_tflite)."""
    registry = dict(ops.registry())
    monkeypatch.setattr(ops, "registry", lambda: registry)

    def add(name, to_tflite, infer=same_as_input):
        registry[name] = OpSpec(name=name, infer=infer, to_tflite=to_tflite)

    return add


# -- both forms ----------------------------------------------------------------------------------------------------


@FORMS
def test_the_file_runs_in_litert(path, limit):
    facts = write_tflite(two_inputs(), path, limit=limit)
    assert facts.long_offsets == (limit == 1)
    assert facts.size == path.stat().st_size
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    b = np.ones((300, 40), np.float32)
    run = litert.run(path, {"second": x, "first": b})
    assert list(run.outputs) == ["zulu", "alpha"]
    np.testing.assert_array_equal(run.outputs["zulu"], x + 2 * np.array([1, 2, 3, 4], np.float32))
    np.testing.assert_array_equal(run.outputs["alpha"], 1 + np.arange(12000).reshape(300, 40))


@FORMS
def test_the_file_runs_in_compiled_model(path, limit):
    graph = two_inputs()
    graph.inputs[0].value.producer.attrs["shape"] = (1, 4)
    ops.infer_graph(graph)
    write_tflite(graph, path, limit=limit)
    model = CompiledModel.from_file(str(path))
    assert model.get_signature_list() == {"serving_default": {"inputs": ["second", "first"], "outputs": ["zulu", "alpha"]}}
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    inputs[0].write(np.array([[1, 2, 3, 4]], np.float32))
    inputs[1].write(np.ones((300, 40), np.float32))
    model.run_by_index(0, inputs, outputs)
    assert outputs[0].read(4, np.float32).tolist() == [3, 6, 9, 12]
    np.testing.assert_array_equal(outputs[1].read(12000, np.float32), 1 + np.arange(12000))


@FORMS
def test_weights_are_aligned_in_the_file(path, limit):
    write_tflite(two_inputs(), path, limit=limit)
    data = path.read_bytes()
    for weights in (np.array([1, 2, 3, 4], np.float32), np.arange(12000, dtype=np.float32)):
        assert data.find(weights.tobytes()) % 16 == 0
    assert len(data) % 16 == 0


def test_the_long_form_names_its_runtime(path):
    ordinary = write_tflite(two_inputs(), path)
    long = write_tflite(two_inputs(), path, limit=1)
    assert (ordinary.oldest_runtime, ordinary.notices) == ("1.5.0", ())
    assert long.oldest_runtime == LONG_OFFSETS_RUNTIME
    assert LONG_OFFSETS_RUNTIME in long.notices[0]


@FORMS
def test_the_bytes_are_the_same_from_run_to_run(tmp_path, limit):
    for name in ("a", "b"):
        write_tflite(two_inputs(), tmp_path / name, limit=limit)
    write_tflite(two_inputs().copy(), tmp_path / "c", limit=limit)
    first = (tmp_path / "a").read_bytes()
    assert first == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


# -- tables --------------------------------------------------------------------------------------------------------


def test_names_order_and_metadata(path):
    write_tflite(two_inputs(), path, description="about", signature="run")
    model = load(path)
    main = model.subgraphs[0]
    assert (model.version, model.description) == (3, b"about")
    assert text(main.name) == "net"
    names = [text(tensor.name) for tensor in main.tensors]
    assert [names[number] for number in main.inputs] == ["x", "b"]
    assert [names[number] for number in main.outputs] == ["layer/z", "w"]
    assert {"small", "large", "layer/y"} <= set(names) and len(set(names)) == len(names)
    (signature,) = model.signatureDefs
    assert (signature.signatureKey, signature.subgraphIndex) == (b"run", 0)
    assert [(text(port.name), port.tensorIndex) for port in signature.inputs] == [
        ("second", main.inputs[0]),
        ("first", main.inputs[1]),
    ]
    assert [(text(port.name), port.tensorIndex) for port in signature.outputs] == [
        ("zulu", main.outputs[0]),
        ("alpha", main.outputs[1]),
    ]
    (metadata,) = model.metadata
    assert text(metadata.name) == "min_runtime_version"
    assert bytes(model.buffers[metadata.buffer].data) == b"1.5.0".ljust(16, b"\0")


def test_shapes_with_unknown_sizes(path):
    graph = Graph()
    for name, shape in {"fixed": (2, 3), "dynamic": ("n", 3), "scalar": (), "unknown": None}.items():
        graph.outputs.append(
            Port(f"{name}_out", ops.add(graph, "Neg", [placeholder(graph, name, shape)], name=f"{name}_neg").output)
        )
    write_tflite(graph, path)
    tensors = {text(tensor.name): tensor for tensor in load(path).subgraphs[0].tensors}

    def described(name):
        tensor = tensors[name]
        signature = None if tensor.shapeSignature is None else list(tensor.shapeSignature)
        return list(tensor.shape), signature, tensor.hasRank

    for suffix in ("", "_neg"):
        assert described("fixed" + suffix) == ([2, 3], None, True)
        assert described("dynamic" + suffix) == ([1, 3], [-1, 3], True)
        assert described("scalar" + suffix) == ([], None, True)
        assert described("unknown" + suffix) == ([], None, False)
    arrays = {
        name: np.ones(shape, np.float32)
        for name, shape in {"fixed": (2, 3), "dynamic": (5, 3), "scalar": (), "unknown": (2, 2)}.items()
    }
    outputs = litert.run(path, arrays).outputs
    assert {name: out.shape for name, out in outputs.items()} == {f"{name}_out": array.shape for name, array in arrays.items()}


def test_operator_codes_are_told_to_old_and_new_runtimes(path, with_op):
    with_op("Smooth", lambda node: lite("GELU", node))
    graph = Graph()
    x = placeholder(graph, "x", (2, 3))
    graph.outputs = [Port("y", ops.add(graph, "Smooth", [ops.add(graph, "Neg", [x]).output]).output)]
    facts = write_tflite(graph, path)
    codes = {code.builtinCode: code.deprecatedBuiltinCode for code in load(path).operatorCodes}
    assert codes == {official.BuiltinOperator.NEG: official.BuiltinOperator.NEG, official.BuiltinOperator.GELU: 127}
    assert facts.versions == (("NEG", 1), ("GELU", 1))
    assert (facts.operators, facts.operator_count) == ({"GELU": 1, "NEG": 1}, 2)
    assert facts.oldest_runtime == "2.9.0"
    assert facts.as_dict()["operators"] == {"GELU": 1, "NEG": 1}


def test_quantization_is_written(path, with_op):
    with_op("Pass", lambda node: lite("DEQUANTIZE", node), infer=lambda node: [Typed(DType.FLOAT32, node.inputs[0].shape)])
    graph = Graph()
    x = placeholder(graph, "x", (2, 3), DType.INT8)
    x.quantization = Quantization((0.5,), (-3,))
    weights = graph.constant(np.array([[1, 2, 3], [4, 5, 6]], np.int8), "weights")
    weights.quantization = Quantization((0.5, 2.0), (0, 0), axis=0)
    graph.outputs = [Port("a", ops.add(graph, "Pass", [x]).output), Port("b", ops.add(graph, "Pass", [weights]).output)]
    write_tflite(graph, path)
    tensors = {text(tensor.name): tensor.quantization for tensor in load(path).subgraphs[0].tensors}
    assert (list(tensors["x"].scale), list(tensors["x"].zeroPoint)) == ([0.5], [-3])
    assert (list(tensors["weights"].scale), tensors["weights"].quantizedDimension) == ([0.5, 2.0], 0)
    outputs = litert.run(path, {"x": np.array([[1, 2, 3], [-3, -4, -5]], np.int8)}).outputs
    assert outputs["a"].tolist() == [[2, 2.5, 3], [0, -0.5, -1]]


# -- outputs that no operator computes -----------------------------------------------------------------------------

COPIED = [dtype for dtype in DType if dtype.value not in ("resource", "variant", "unknown", "int4", "bfloat16")]


@pytest.mark.parametrize("dtype", COPIED)
@pytest.mark.parametrize(
    ("shape", "known"),
    [
        ((), ()),
        ((2, 3), (2, 3)),
        ((2, 3), ("n", 3)),
        ((2, 3), ("n", "m")),
        ((2, 3), None),
        ((0, 3), ("n", 3)),
        ((2, 1, 1, 2, 1, 2), ("n",) * 6),
    ],
    ids=str,
)
def test_inputs_constants_and_doubles_as_outputs(path, dtype, shape, known):
    array = np.resize(np.array([0, 1, 2, 3, 250], np.uint8), shape)
    given = (
        np.resize(np.array([b"ab", b"", b"\0\xff\n", b"d"], object), shape) if dtype is DType.STRING else array.astype(dtype.numpy)
    )
    graph = Graph()
    x = placeholder(graph, "x", known, dtype)
    constant = graph.constant(ArrayTensor(given, dtype), "c")
    graph.outputs = [Port("first", x), Port("constant", constant), Port("again", x), Port("constant_again", constant)]
    write_tflite(graph, path)
    main = load(path).subgraphs[0]
    assert len({*main.inputs, *main.outputs}) == 5
    outputs = litert.run(path, {"x": given}).outputs
    assert list(outputs) == ["first", "constant", "again", "constant_again"]
    for output in outputs.values():
        assert output.dtype == given.dtype
        np.testing.assert_array_equal(output, given)


def test_a_computed_value_as_two_outputs(path):
    graph = two_inputs()
    graph.outputs.append(Port("twin", graph.outputs[0].value))
    facts = write_tflite(graph, path)
    assert facts.operators == {"ADD": 3, "RESHAPE": 1}
    x = np.ones((3, 4), np.float32)
    outputs = litert.run(path, {"second": x, "first": np.ones((300, 40), np.float32)}).outputs
    np.testing.assert_array_equal(outputs["twin"], outputs["zulu"])


# -- constants -----------------------------------------------------------------------------------------------------


def sums(*constants):
    """A graph that adds all these, one after the other, to an input."""
    graph = Graph()
    value = placeholder(graph, "x", constants[0].shape)
    for index, constant in enumerate(constants):
        value = ops.add(graph, "AddV2", [value, graph.constant(constant, f"c{index}")], name=f"y{index}").output
    graph.outputs = [Port("y", value)]
    return graph


def test_equal_small_constants_are_stored_once(path):
    facts = write_tflite(sums(*(np.full((2, 2), n, np.float32) for n in (1, 2, 1))), path)
    assert facts.tensor_count == 1 + 2 + 3
    model = load(path)
    assert [text(tensor.name) for tensor in model.subgraphs[0].tensors] == ["x", "c0", "y0", "c1", "y1", "y2"]
    assert litert.run(path, {"x": np.zeros((2, 2), np.float32)}).outputs["y"].tolist() == [[4, 4], [4, 4]]


def test_the_same_bytes_under_two_shapes_share_a_buffer(path):
    base = ArrayTensor(np.arange(4000, dtype=np.float32))
    graph = sums(ReshapedTensor(base, (40, 100)), ReshapedTensor(base, (1, 40, 100)))
    write_tflite(graph, path)
    tensors = load(path).subgraphs[0].tensors
    shared = {tensor.buffer for tensor in tensors if tensor.buffer}
    assert len(shared) == 1 and path.stat().st_size < 2 * 16000
    x = np.ones((40, 100), np.float32)
    np.testing.assert_array_equal(litert.run(path, {"x": x}).outputs["y"], (1 + 2 * np.arange(4000).reshape(40, 100))[None])


def test_identity_knows_what_hands_out_the_same_bytes(tmp_path):
    (tmp_path / "weights").write_bytes(bytes(160_000))
    file = SourceFile(tmp_path / "weights")
    tensor = FileTensor(file, 0, DType.FLOAT32, (200, 200))
    twin = FileTensor(file, 0, DType.FLOAT32, (40_000,))
    assert identity_of(tensor) == identity_of(twin)
    assert identity_of(TransposedTensor(tensor, (1, 0))) == identity_of(
        TransposedTensor(FileTensor(file, 0, DType.FLOAT32, (200, 200)), (1, 0))
    )
    others = [
        tensor,
        TransposedTensor(tensor, (1, 0)),
        TransposedTensor(FileTensor(file, 0, DType.FLOAT32, (100, 400)), (1, 0)),
        CastTensor(tensor, DType.FLOAT16),
        CastTensor(tensor, DType.INT32),
        FileTensor(file, 4, DType.FLOAT32, (199, 200)),
        ArrayTensor(np.zeros((200, 200), np.float32)),
    ]
    assert len({identity_of(each) for each in others}) == len(others)


def test_constants_that_nobody_reads_are_not_written(path):
    graph = two_inputs()
    graph.constant(np.ones(9999, np.float32), "idle")
    write_tflite(graph, path)
    assert "idle" not in [text(tensor.name) for tensor in load(path).subgraphs[0].tensors]


class Unread(FileTensor):
    """Weights that may be streamed, but not be held at once."""

    def array(self):
        raise AssertionError("all weights were read at once")


def test_large_weights_are_never_held(path, tmp_path):
    weights = np.arange(600 * 40, dtype=np.float32).reshape(600, 40)
    (tmp_path / "weights").write_bytes(weights.tobytes())
    graph = Graph()
    x = placeholder(graph, "x", (2, 600))
    w = graph.constant(Unread(SourceFile(tmp_path / "weights"), 0, DType.FLOAT32, weights.shape), "w")
    graph.outputs = [Port("y", ops.add(graph, "MatMul", [x, w], name="y").output)]
    write_tflite(graph, path)
    assert weights.T.tobytes() in path.read_bytes()


def test_strings_are_packed_with_offsets():
    packed = pack_strings(np.array([[b"ab", b""], ["é", b"\0"]], object))
    assert np.frombuffer(packed[:24], "<i4").tolist() == [4, 24, 26, 26, 28, 29]
    assert packed[24:] == b"ab\xc3\xa9\0"


def test_int4_is_packed_two_a_byte(path, with_op):
    values = np.array([[1, -2, 7], [-8, 0, 3], [5, -1, -7]], np.int8)
    for cut in (1, 4, 9):
        pieces = (values.reshape(-1)[start : start + cut].data for start in range(0, 9, cut))
        assert b"".join(pack_nibbles(pieces)) == bytes([0xE1, 0x87, 0x30, 0xF5, 0x09])
    with_op(
        "Pass", lambda node: lite("DEQUANTIZE", node, version=6), infer=lambda node: [Typed(DType.FLOAT32, node.inputs[0].shape)]
    )
    graph = Graph()
    x = placeholder(graph, "x", (3, 3))
    weights = graph.constant(ArrayTensor(values, DType.INT4), "weights")
    weights.quantization = Quantization((0.5,), (0,))
    graph.outputs = [Port("y", ops.add(graph, "AddV2", [x, ops.add(graph, "Pass", [weights]).output]).output)]
    write_tflite(graph, path)
    assert litert.run(path, {"x": np.zeros((3, 3), np.float32)}).outputs["y"].tolist() == (values / 2).tolist()


def test_a_constant_that_hands_out_too_little_is_an_error(path):
    class Short(Tensor):
        def chunks(self, limit=0):
            yield memoryview(bytes(8000))

    with pytest.raises(GraphError, match="40000 bytes handed out 8000"):
        list(Payload(Short(DType.FLOAT32, (100, 100))).chunks())
    with pytest.raises(GraphError, match="handed out"):
        write_tflite(sums(Short(DType.FLOAT32, (100, 100))), path)


def test_names_stay_unique(path, with_op):
    """A Temp and a new constant whose names are taken already, and a constant whose view carries its name."""

    def lower(node):
        middle = Temp("middle", DType.FLOAT32, node.inputs[0].shape)
        turned = TransposedTensor(node.inputs[1].constant, (1, 0))
        return [
            LiteOp("ADD", (node.inputs[0], turned), (middle,)),
            LiteOp("ADD", (middle, ArrayTensor(np.float32(1))), (node.output,)),
        ]

    with_op("Step", lower)
    graph = Graph()
    x = placeholder(graph, "x", (2, 3))
    c = graph.constant(np.arange(6, dtype=np.float32).reshape(3, 2), "c")
    clash = ops.add(graph, "Neg", [x], name="step/middle").output
    also = ops.add(graph, "Neg", [clash], name="step/constant").output
    graph.outputs = [Port("y", ops.add(graph, "Step", [also, c], name="step").output)]
    write_tflite(graph, path)
    names = [text(tensor.name) for tensor in load(path).subgraphs[0].tensors]
    assert names == ["x", "step/middle", "step/constant", "c", "step/middle_1", "step/constant_1", "step"]
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(litert.run(path, {"x": x}).outputs["y"], 2 + np.arange(6).reshape(3, 2).T)


# -- nested graphs -------------------------------------------------------------------------------------------------


def branch(name, op):
    graph = Graph(name)
    x = placeholder(graph, "x", (3,))
    graph.outputs = [Port("y", ops.add(graph, op, [x, graph.constant(np.array([10, 20, 30], np.float32), "c")], name="y").output)]
    return graph


def test_graphs_in_options_become_subgraphs(path, with_op):
    def lower(node):
        options = {"then_subgraph_index": node["then"], "else_subgraph_index": node["else"]}
        return [LiteOp("IF", tuple(node.inputs), tuple(node.outputs), options)]

    with_op("Choose", lower, infer=lambda node: [node.inputs[1].typed])
    graph = Graph()
    condition = placeholder(graph, "condition", (), DType.BOOL)
    x = placeholder(graph, "x", (3,))
    plus = branch("plus", "AddV2")
    first = ops.add(graph, "Choose", [condition, x], {"then": plus, "else": branch("times", "Mul")}, name="first").output
    second = ops.add(graph, "Choose", [condition, first], {"then": plus, "else": plus}, name="second").output
    graph.outputs = [Port("y", second)]
    facts = write_tflite(graph, path)
    assert facts.operators == {"IF": 2, "ADD": 1, "MUL": 1}
    model = load(path)
    assert [text(subgraph.name) for subgraph in model.subgraphs] == ["main", "plus", "times"]
    assert len({tensor.buffer for subgraph in model.subgraphs for tensor in subgraph.tensors if tensor.buffer}) == 1
    x = np.array([1, 2, 3], np.float32)
    c = np.array([10, 20, 30], np.float32)
    assert litert.run(path, {"condition": np.array(True), "x": x}).outputs["y"].tolist() == (x + c + c).tolist()
    assert litert.run(path, {"condition": np.array(False), "x": x}).outputs["y"].tolist() == (x * c + c).tolist()


# -- refusals ------------------------------------------------------------------------------------------------------


def test_all_that_cannot_be_written_is_told_at_once(path, with_op):
    def decline(node):
        raise Declined("it is too odd", remedy="make it even", attributes="oddness=3")

    with_op("Odd", decline)
    with_op("Lacking", None)
    graph = Graph()
    x = placeholder(graph, "x", (2, 3))
    idle = ops.add(graph, "Placeholder", attrs={"dtype": DType.FLOAT32, "shape": (2, 3)}, name="idle").output
    a = ops.add(graph, "Odd", [x], name="a").output
    b = ops.add(graph, "Lacking", [a], {"rate": 2}, name="b").output
    c = graph.add("Mystery", [b], {"kind": "dark"}, typed=[b.typed], name="c").output
    d = graph.add("Neg", [c], typed=[Typed(DType.UNKNOWN, None)], name="d").output
    e = ops.add(graph, "AddV2", [idle, x], name="e").output
    graph.outputs = [Port("d", d), Port("e", e)]
    with pytest.raises(UnsupportedError) as caught:
        write_tflite(graph, path)
    assert [(each.node, each.op) for each in caught.value.problems] == [
        ("idle", "Placeholder"),
        ("a", "Odd"),
        ("b", "Lacking"),
        ("c", "Mystery"),
    ]  # Neg could be written if only the type of what it reads were known
    message = str(caught.value)
    for words in (
        "too odd",
        "make it even",
        "oddness=3",
        "rate=2",
        "kind=dark",
        "no input of the graph",
        "and 1 nodes behind these",
    ):
        assert re.search(words, message), words
    assert caught.value.target == "TensorFlow Lite"
    assert not path.exists()


def test_a_problem_inside_a_nested_graph_is_told(path, with_op):
    with_op("Choose", lambda node: [LiteOp("CALL", tuple(node.inputs), tuple(node.outputs), {"subgraph": node["body"]})])
    body = branch("body", "AddV2")
    body.outputs = [
        Port("y", body.add("Mystery", [body.outputs[0].value], typed=[Typed(DType.FLOAT32, (3,))], name="inner").output)
    ]
    graph = Graph()
    graph.outputs = [Port("y", ops.add(graph, "Choose", [placeholder(graph, "x", (3,))], {"body": body}, name="outer").output)]
    with pytest.raises(UnsupportedError) as caught:
        write_tflite(graph, path)
    assert [each.node for each in caught.value.problems] == ["inner"]


def test_options_for_an_operator_that_has_none_are_our_bug(path, with_op):
    with_op("Bad", lambda node: lite("RELU", node, alpha=1.0))
    graph = Graph()
    graph.outputs = [Port("y", ops.add(graph, "Bad", [placeholder(graph, "x", (3,))], name="bad").output)]
    with pytest.raises(GraphError, match=r"RELU has no options(?s:.)*bad"):
        write_tflite(graph, path)


def test_errors_of_the_disk_pass_through(tmp_path, monkeypatch):
    with pytest.raises(OSError) as caught:
        write_tflite(two_inputs(), tmp_path / "missing" / "model.tflite")
    assert caught.value.errno == errno.ENOENT
