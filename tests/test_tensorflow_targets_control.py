"""SavedModels with loops, choices, state and tables, written as SavedModels again: TensorFlow runs them like their source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tensorferry import convert, ops
from tensorferry.ir import Graph, Port
from tensorferry.passes import pipelines
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.tensor import DType
from tensorferry.writers.graphdef import serialize_graphdef

v1 = tf.compat.v1
RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(2, 4)).astype(np.float32)


def matrix(name: str, rows: int = 4, columns: int = 4) -> tf.Variable:
    return tf.Variable(RANDOM.normal(size=(rows, columns)).astype(np.float32) / 4, name=name)


class Looping(tf.Module):
    """A weight that only the loop's body reads."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = matrix("inner"), matrix("outer")

    @tf.function(input_signature=[tf.TensorSpec([None, 4])])
    def __call__(self, x):
        _, x = tf.while_loop(lambda i, _: i < 3, lambda i, x: (i + 1, tf.tanh(x @ self.inner)), (tf.constant(0), x))
        return {"y": x @ self.outer}


class Choosing(tf.Module):
    """A weight that both branches read, one that only one does, a choice within a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.alone = matrix("shared"), matrix("alone")

    @tf.function(input_signature=[tf.TensorSpec([None, 4])])
    def __call__(self, x):
        y = tf.cond(tf.reduce_sum(x) > 0, lambda: x @ self.shared, lambda: x @ self.shared + x @ self.alone)

        def step(i, y):
            return i + 1, tf.cond(i > 1, lambda: y @ self.alone, lambda: y - 1.0)

        return {"y": tf.while_loop(lambda i, _: i < 4, step, (tf.constant(0), y))[1]}


class Counting(tf.Module):
    """What it gives hangs on how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = tf.Variable(np.zeros((2, 4), np.float32), name="sum")
        self.weight = matrix("weight")

    @tf.function(input_signature=[tf.TensorSpec([2, 4])])
    def __call__(self, x):
        before = self.sum.read_value()
        self.sum.assign_add(x @ self.weight)
        return {"y": self.sum + before, "before": before}


class Recurrent(tf.Module):
    """A list of tensors that a loop fills, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.recurrent, self.bias = matrix("kernel", 4, 3), matrix("recurrent", 3, 3), matrix("bias", 1, 3)

    @tf.function(input_signature=[tf.TensorSpec([2, 5, 4])])
    def __call__(self, x):
        steps, found = tf.transpose(x, [1, 0, 2]), tf.TensorArray(tf.float32, size=5, element_shape=[2, 3])

        def step(i, state, found):
            state = tf.tanh(steps[i] @ self.kernel + state @ self.recurrent + self.bias)
            return i + 1, state, found.write(i, state)

        first = tf.zeros([2, 3])
        _, _, found = tf.while_loop(lambda i, *_: i < 5, step, (tf.constant(0), first, found))
        return {"y": tf.transpose(found.stack(), [1, 0, 2])}


class Looking(tf.Module):
    """Words by their numbers."""

    def __init__(self) -> None:
        super().__init__()
        filled = tf.lookup.KeyValueTensorInitializer(tf.constant([3, 7, 11], tf.int64), tf.constant(["a", "b", "c"]))
        self.words = tf.lookup.StaticHashTable(filled, "?")
        back = tf.lookup.KeyValueTensorInitializer(tf.constant(["a", "b", "c"]), tf.constant([1.5, 2.5, 3.5]))
        self.weights = tf.lookup.StaticHashTable(back, -1.0)

    @tf.function(input_signature=[tf.TensorSpec([2, 4])])
    def __call__(self, x):
        words = self.words.lookup(tf.cast(x, tf.int64))
        return {"words": words, "y": self.weights.lookup(words) * 2.0}


CASES: dict[str, tuple[Callable[[], tf.Module], np.ndarray, int]] = {
    "loop": (Looping, X, 2),
    "choice": (Choosing, X, 2),
    "counter": (Counting, X, 2),
    "recurrent": (Recurrent, RANDOM.normal(size=(2, 5, 4)).astype(np.float32), 3),
    "table": (Looking, np.array([[3, 7, 11, 0], [7, 7, 3, 1]], np.float32), 0),
}
"""Name -> what makes the module, an input, how many variables it has."""


@pytest.mark.parametrize("name", CASES)
def test_a_module_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    make, x, count = CASES[name]
    module = make()
    tf.saved_model.save(module, str(tmp_path / "source"))
    targets = [tmp_path / "again", tmp_path / "model.ckpt", tmp_path / "frozen.pb", tmp_path / "frozen.pbtxt"]
    report = convert(tmp_path / "source", targets, to=["savedmodel", "checkpoint", "graphdef", "graphdef-text"])
    assert report.verified
    assert {target.check.runtime[:10] for target in report.targets} == {"TensorFlow"}
    loaded = tf.saved_model.load(str(tmp_path / "again"))
    assert len(loaded.variables) == count
    run = loaded.signatures["serving_default"]
    for _ in range(2):  # the second time with what the first has left
        expected, found = module(tf.constant(x)), run(x=tf.constant(x))
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            if value.dtype == tf.string:
                np.testing.assert_array_equal(found[key], value)
            else:
                np.testing.assert_allclose(found[key], value, atol=1e-6, err_msg=key)
    if name == "table":
        return
    saved = [variable.numpy() for variable in module.variables]
    reader = tf.train.load_checkpoint(str(tmp_path / "model.ckpt"))
    for key in reader.get_variable_to_shape_map():
        first = np.zeros((2, 4)) if key.endswith("sum") else reader.get_tensor(key)
        assert key.endswith("sum") or any(np.array_equal(first, each) for each in saved), key


# -- what only the IR has ------------------------------------------------------------------------------------------


def with_op(op: str, *constants: np.ndarray, **attrs: object) -> Graph:
    graph = Graph(op)
    x = ops.add(graph, "Placeholder", attrs={"dtype": DType.FLOAT32, "shape": (2, 4)}, name="x").output
    others = [graph.constant(each, f"constant_{number}") for number, each in enumerate(constants)]
    y = ops.add(graph, op, (x, *others), attrs, name="y").output
    graph.inputs, graph.outputs = [Port("x", x)], [Port("y", y)]
    return graph


W, B = RANDOM.normal(size=(4, 3)).astype(np.float32), RANDOM.normal(size=3).astype(np.float32)
OWN = {
    "HardSwish": with_op("HardSwish"),
    "Gelu": with_op("Gelu"),
    "Gelu, approximate": with_op("Gelu", approximate=True),
    "ReluN1To1": with_op("ReluN1To1"),
    "L2Normalize": with_op("L2Normalize"),
    "PRelu": with_op("PRelu", np.array([0.1, -0.5, 2, 0], np.float32)),
    "MatMul with a bias": with_op("MatMul", W, B),
    "MatMul with a bias and Relu6": with_op("MatMul", W, B, activation="Relu6"),
    "AddV2 with LeakyRelu": with_op("AddV2", np.array(0.5, np.float32), activation="LeakyRelu", activation_alpha=0.3),
}


@pytest.mark.parametrize("name", OWN)
def test_what_only_the_ir_has_is_written_in_tensorflows_ops(name: str) -> None:
    graph = OWN[name].copy()
    expected = evaluate_graph(graph, {"x": 2 * X})["y"]
    pipelines.finish(graph, "tensorflow")
    with tf.Graph().as_default(), v1.Session() as session:
        tf.graph_util.import_graph_def(v1.GraphDef.FromString(serialize_graphdef(graph)), name="")
        np.testing.assert_allclose(session.run("y:0", {"x:0": 2 * X}), expected, atol=2e-6)
