"""Loops and conditions of TensorFlow 1: raised when read, and the same numbers in TensorFlow, numpy, LiteRT and TensorFlow.js."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tensorferry
from small_graphs import freeze, weights
from tensorferry.errors import OptionError, SourceError
from tensorferry.ir import Graph, verify
from tensorferry.ops import infer
from tensorferry.readers import read
from tensorferry.runtimes import litert, tfjs
from tensorferry.runtimes.reference import evaluate_graph

v1 = tf.compat.v1


@pytest.fixture(autouse=True)
def old_control_flow() -> Iterator[None]:
    v1.disable_control_flow_v2()
    yield
    v1.enable_control_flow_v2()


def number(name: str = "n") -> tf.Tensor:
    return v1.placeholder(tf.int32, (), name=name)


def matrix(name: str = "x", shape: tuple[int | None, ...] = (2, 3)) -> tf.Tensor:
    return v1.placeholder(tf.float32, shape, name=name)


def counted() -> None:
    """A loop with a captured matrix, in which one variable stays as it is."""
    n, x = number(), matrix()
    kernel = tf.constant(weights(3, 3))
    _i, result, kept = v1.while_loop(
        lambda i, _y, _k: i < n, lambda i, y, k: (i + 1, tf.tanh(tf.matmul(y, kernel) + k), k), [0, x, x * 2.0]
    )
    tf.identity(result, name="result")
    tf.identity(kept, name="kept")


def swapping() -> None:
    n, x = number(), matrix()
    _i, one, other = v1.while_loop(lambda i, _a, _b: i < n, lambda i, a, b: (i + 1, b, a), [0, x, x + 1.0])
    tf.identity(one, name="result")
    tf.identity(other, name="kept")


def nested_loops() -> None:
    n, x = number(), matrix()

    def outer(i: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        _j, inner = v1.while_loop(lambda j, _z: j <= i, lambda j, z: (j + 1, z * 0.5 + x + tf.cast(i, tf.float32)), [0, y])
        return i + 1, inner

    _i, result = v1.while_loop(lambda i, _y: i < n, outer, [0, x])
    tf.identity(result, name="result")


def condition_in_loop() -> None:
    n, x = number(), matrix()

    def body(i: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return i + 1, v1.cond(tf.equal(i % 2, 0), lambda: y + x, lambda: y * tf.constant(0.5))

    _i, result = v1.while_loop(lambda i, _y: i < n, body, [0, x])
    tf.identity(result, name="result")


def loop_in_condition() -> None:
    n, x = number(), matrix()
    result = v1.cond(
        n > 2,
        lambda: v1.while_loop(lambda i, _y: i < n, lambda i, y: (i + 1, y + x), [0, x])[1],
        lambda: x - 1.0,
    )
    tf.identity(result, name="result")


def nested_conditions() -> None:
    n, x = number(), matrix()
    result = v1.cond(
        n > 1,
        lambda: v1.cond(n > 3, lambda: x * 2.0, lambda: v1.cond(n > 2, lambda: x * 3.0, lambda: -x)),
        lambda: x + 1.0,
    )
    tf.identity(result, name="result")


def constant_branches() -> None:
    n = number()
    one, other = v1.cond(n > 2, lambda: (tf.constant(1.5), tf.constant(2)), lambda: (tf.constant(-3.5), tf.constant(7)))
    tf.identity(one, name="result")
    tf.identity(other, name="kept")


def one_after_the_other() -> None:
    """Two conditions on the same value, the second of which needs what the first gave."""
    n, x = number(), matrix()
    large = n > 2
    first = v1.cond(large, lambda: x * 2.0, lambda: x - 1.0)
    second = v1.cond(large, lambda: first + x, lambda: first * x)
    tf.identity(first, name="kept")
    tf.identity(second, name="result")


def growing() -> None:
    n, x = number(), matrix(shape=(None, 3))
    shapes = [tf.TensorShape([]), tf.TensorShape([None, 3])]
    _i, result = v1.while_loop(lambda i, _y: i < n, lambda i, y: (i + 1, tf.concat([y, x], 0)), [0, x], shape_invariants=shapes)
    tf.identity(result, name="result")


def value_index() -> None:
    n, x = number(), matrix()
    off, on = v1.raw_ops.Switch(data=x, pred=n > 2)
    merged = v1.raw_ops.Merge(inputs=[off * 2.0, on + 1.0])
    tf.identity(merged.output, name="result")
    tf.identity(merged.value_index, name="kept")


def arrays_in_a_loop() -> None:
    """One array read, one written at places that go backwards."""
    x = matrix(shape=(None, 3))
    rows = tf.shape(x)[0]
    given = tf.TensorArray(tf.float32, size=rows).unstack(x)
    made = tf.TensorArray(tf.float32, size=rows)
    _i, _sum, made = v1.while_loop(
        lambda i, _sum, _made: i < rows,
        lambda i, total, made: (i + 1, total + given.read(i), made.write(rows - 1 - i, total * 2.0)),
        [0, tf.zeros([3]), made],
    )
    tf.identity(made.stack(), name="result")


def array_that_grows() -> None:
    n, x = number(), matrix()
    made = tf.TensorArray(tf.float32, size=0, dynamic_size=True, element_shape=(2, 3), clear_after_read=False)
    _i, made = v1.while_loop(lambda i, _m: i < n + 1, lambda i, m: (i + 1, m.write(i, x * tf.cast(i, tf.float32))), [0, made])
    tf.identity(made.size(), name="kept")
    tf.identity(made.gather([0, 0]), name="result")


def array_scattered() -> None:
    x = matrix()
    made = tf.TensorArray(tf.float32, size=4, element_shape=(3,), clear_after_read=False).scatter([3, 1], x)
    tf.identity(made.stack(), name="result")
    tf.identity(made.concat(), name="kept")


def array_of_uneven_pieces() -> None:
    """Pieces of known lengths, joined in another order; and one that a loop fills with ever longer ones."""
    n, x = number(), matrix()
    split = tf.TensorArray(tf.float32, size=2, infer_shape=False).split(tf.concat([x, x * 2.0], 0), [1, 3])
    turned = tf.TensorArray(tf.float32, size=2, infer_shape=False).write(1, split.read(0)).write(0, split.read(1))
    tf.identity(turned.concat(), name="kept")
    longer = tf.TensorArray(tf.float32, size=0, dynamic_size=True, infer_shape=False, element_shape=(None, 3))
    _i, longer = v1.while_loop(
        lambda i, _made: i < n, lambda i, made: (i + 1, made.write(i, tf.tile(x, [i + 1, 1]) + tf.cast(i, tf.float32))), [0, longer]
    )
    tf.identity(tf.concat([longer.concat(), x], 0), name="result")


def scanned() -> None:
    x = matrix()
    tf.identity(tf.scan(lambda total, row: total * 0.5 + row, x), name="result")
    tf.identity(tf.map_fn(lambda row: tf.reduce_sum(row) + row, x), name="kept")


GRAPHS: Mapping[Callable[[], None], Mapping[str, int]] = {
    counted: {"While": 1},
    swapping: {"While": 1},
    nested_loops: {"While": 2},
    condition_in_loop: {"While": 1, "If": 1},
    loop_in_condition: {"While": 1, "If": 1},
    nested_conditions: {"If": 3},
    constant_branches: {"If": 1},
    one_after_the_other: {"If": 2},
    growing: {"While": 1},
    value_index: {"If": 1},
    arrays_in_a_loop: {"While": 1, "TensorListReserve": 2},
    array_that_grows: {"While": 1},
    array_scattered: {"TensorListStack": 1, "TensorListConcatV2": 1},
    array_of_uneven_pieces: {"While": 1, "TensorListSplit": 1},
    scanned: {"While": 2},
}
every_graph = pytest.mark.parametrize("build", GRAPHS, ids=lambda build: build.__name__)

TOLERANCE = 1e-5


def feeds(graph: Graph, n: int) -> dict[str, np.ndarray]:
    given = {"n": np.array(n, np.int32), "x": weights(2, 3, seed=5)}
    return {port.name: given[port.name] for port in graph.inputs}


def in_tensorflow(path: Path, names: list[str], given: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    proto = v1.GraphDef.FromString(path.read_bytes())
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        tf.import_graph_def(proto, name="")
        return session.run([f"{name}:0" for name in names], {f"{name}:0": array for name, array in given.items()})


def count(graph: Graph, op: str) -> int:
    return sum((node.op == op) + sum(count(nested, op) for _key, nested in node.graphs()) for node in graph.nodes)


def close(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=TOLERANCE, atol=TOLERANCE)


@every_graph
def test_what_is_read_is_functional_and_computes_the_same(build: Callable[[], None], tmp_path: Path) -> None:
    path = freeze(tmp_path / "net.pb", build)
    graph = read(path)
    verify(graph, infer)
    assert graph.notices == []
    assert {op: count(graph, op) for op in GRAPHS[build]} == GRAPHS[build]
    assert not any(count(graph, op) for op in ("Switch", "Merge", "Enter", "Exit", "NextIteration", "LoopCond"))
    assert not any(node.op.startswith("TensorArray") for node in graph.nodes)
    for n in range(6):
        given = feeds(graph, n)
        outputs = evaluate_graph(graph, given)
        for actual, expected in zip(outputs.values(), in_tensorflow(path, list(outputs), given), strict=True):
            close(actual, expected)


@pytest.mark.skipif(tfjs.available() is not None, reason=str(tfjs.available()))
@every_graph
def test_both_targets_compute_the_same(build: Callable[[], None], tmp_path: Path) -> None:
    path = freeze(tmp_path / "net.pb", build)
    lite, web = tmp_path / "net.tflite", tmp_path / "web"
    tensorferry.convert(path, [lite, web])
    graph = read(path)
    names = [port.name for port in graph.outputs]
    for n in (0, 1, 3, 4):
        given = feeds(graph, n)
        expected = in_tensorflow(path, names, given)
        for outputs in (litert.run(lite, given).outputs, litert.run_plain(lite, given).outputs, tfjs.run(web, given).outputs):
            for name, array in zip(names, expected, strict=True):
                close(outputs[name], array)


MODELS = Path(__file__).parents[2] / "shared" / "models"


@pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not there")
@pytest.mark.skipif(tfjs.available() is not None, reason=str(tfjs.available()))
def test_a_cascade_of_three_nets_finds_the_same_faces(tmp_path: Path) -> None:
    """MTCNN: a loop over sizes that collects any number of boxes, suppression, crops, nets that run if there is a box."""
    source = MODELS / "mtcnn_blaueck" / "mtcnn.pb"
    lite, web = tmp_path / "net.tflite", tmp_path / "web"
    shapes = {"input": (-1, -1, 3), "min_size": (), "factor": (), "thresholds": (3,)}
    tensorferry.convert(source, [lite, web], input_shapes=shapes, verify=False)
    y, x = np.mgrid[:96, :80]
    image = (127 + 100 * np.sin(x / 7) * np.cos(y / 9))[..., None] + np.random.default_rng(0).normal(0, 10, (96, 80, 3))
    scalars = {"min_size": np.float32(20), "factor": np.float32(0.7), "thresholds": np.full(3, 0.1, np.float32)}
    given = {"input": image.astype(np.float32), **{name: np.asarray(each) for name, each in scalars.items()}}
    names = ["prob", "landmarks", "box"]
    expected = in_tensorflow(source, names, given)
    assert len(expected[0]) > 0
    for outputs in (litert.run(lite, given).outputs, tfjs.run(web, given).outputs):
        for name, array in zip(names, expected, strict=True):
            assert outputs[name].shape == array.shape
            np.testing.assert_allclose(outputs[name], array, rtol=1e-3, atol=1e-4 * np.abs(array).max())


@pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not there")
def test_a_recurrent_net_of_tensorflow_1_keeps_its_loop(tmp_path: Path) -> None:
    source = MODELS / "kws_arm_gru_S" / "GRU_S.pb"
    report = tensorferry.convert(
        source, tmp_path / "net.tflite", inputs=["Mfcc"], outputs=["labels_softmax"], input_shapes={"Mfcc": (1, 25, 10)}
    )
    assert report.verified
    assert report.targets[0].operators["WHILE"] == 1
    assert report.targets[0].operators["FULLY_CONNECTED"] == 3  # the weights stand in the body


def test_control_inputs_that_were_stripped_off_constants_are_made_up_for(tmp_path: Path) -> None:
    """One branch gives a constant that nothing ties to the condition any more: it belongs to the other outcome."""

    def build() -> None:
        n, x = number(), matrix()
        tf.identity(v1.cond(n > 2, lambda: x * 2.0, lambda: tf.constant(weights(2, 3))), name="result")

    path = freeze(tmp_path / "net.pb", build)
    expected = {n: in_tensorflow(path, ["result"], {"n": np.array(n, np.int32), "x": weights(2, 3, seed=5)}) for n in (1, 4)}
    proto = v1.GraphDef.FromString(path.read_bytes())
    for node in proto.node:
        kept = [each for each in node.input if not each.startswith("^")]
        del node.input[:]
        node.input.extend(kept)
    path.write_bytes(proto.SerializeToString())
    graph = read(path)
    for n, arrays in expected.items():
        close(evaluate_graph(graph, feeds(graph, n))["result"], arrays[0])


def test_what_is_decided_inside_a_loop_is_told(tmp_path: Path) -> None:
    def build() -> None:
        n = number()
        start = v1.placeholder(tf.float32, (2,), name="x")

        def body(i: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return i + 1, tf.cast(tf.cast(y, tf.float64) * 0.5, tf.float32)

        tf.identity(v1.while_loop(lambda i, _y: i < n, body, [0, start])[1], name="result")

    report = tensorferry.convert(freeze(tmp_path / "net.pb", build), tmp_path / "net.tflite")
    assert report.verified
    assert any("float64" in notice for notice in report.targets[0].notices)


def test_a_choice_that_nothing_decides_is_refused_with_the_reason(tmp_path: Path) -> None:
    def build() -> None:
        number()
        merged = v1.raw_ops.Merge(inputs=[tf.constant(1.0), tf.constant(2.0)])
        tf.identity(merged.output, name="result")

    path = freeze(tmp_path / "net.pb", build)
    assert "by which condition 'Merge' (Merge) chooses" in read(path).notices[0]
    with pytest.raises(SourceError, match="TensorFlow 1") as error:
        tensorferry.convert(path, tmp_path / "net.tflite", outputs=["result"])
    assert "by which condition" in str(error.value)


def test_a_node_inside_a_loop_cannot_be_cut_which_is_said(tmp_path: Path) -> None:
    path = freeze(tmp_path / "net.pb", counted)
    with pytest.raises(OptionError, match="inside 'while/while_context'"):
        tensorferry.load(path, outputs=["while/Tanh"])
