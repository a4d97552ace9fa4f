"""Which part of a graph is wanted: names, cuts, found inputs and outputs, shapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tensorferry import readers
from tensorferry.errors import FerryError, OptionError, SourceError
from tensorferry.ir import Graph, verify
from tensorferry.readers.selection import select
from tensorferry.tensor import DType

v1 = tf.compat.v1


@pytest.fixture
def load(tmp_path: Path) -> Callable[[Callable[[], None]], Graph]:
    def load_graph(build: Callable[[], None]) -> Graph:
        with tf.Graph().as_default() as graph:
            build()
        path = tmp_path / "graph.pb"
        path.write_bytes(graph.as_graph_def().SerializeToString())
        return readers.read(path)

    return load_graph


Load = Callable[[Callable[[], None]], Graph]


def chain() -> None:
    """image -> body/conv -> body/relu -> split (2) -> left, right; beside it `other` + `bias` -> sum."""
    image = v1.placeholder(tf.float32, (None, 8, 8, 3), name="image")
    with tf.name_scope("body"):
        conv = tf.nn.conv2d(image, np.ones((3, 3, 3, 4), np.float32), 1, "SAME", name="conv")
        relu = tf.nn.relu(conv, name="relu")
    left, right = tf.split(relu, 2, axis=3, name="split")
    tf.nn.sigmoid(left, name="left")
    tf.tanh(right, name="right")
    other = v1.placeholder(tf.float32, (2, 2), name="other")
    tf.add(other, tf.constant([1.0, 2.0], name="bias"), name="sum")


def names(graph: Graph) -> list[str]:
    return [node.name for node in graph.nodes]


def ports(graph: Graph) -> tuple[list[str], list[str]]:
    return [port.name for port in graph.inputs], [port.name for port in graph.outputs]


def test_everything_is_found(load: Load) -> None:
    graph = select(load(chain))
    verify(graph)
    assert ports(graph) == (["image", "other"], ["left", "right", "sum"])


def test_order_and_names_are_the_users(load: Load) -> None:
    graph = select(load(chain), inputs=["other", "image:0"], outputs=["right:0", "sum", "left"])
    verify(graph)
    assert ports(graph) == (["other", "image"], ["right", "sum", "left"])


def test_what_is_not_needed_goes(load: Load) -> None:
    graph = select(load(chain), outputs=["left"])
    verify(graph)
    assert ports(graph) == (["image"], ["left"])
    assert not {"right", "sum", "other", "bias"} & set(names(graph))
    assert all(control in graph for node in graph.nodes for control in node.controls)


def test_outputs_of_a_node_with_several(load: Load) -> None:
    graph = select(load(chain), outputs=["split:1", "split"])
    assert ports(graph)[1] == ["split:1", "split"]
    assert [port.value.index for port in graph.outputs] == [1, 0]


def test_an_inner_node_becomes_an_input(load: Load) -> None:
    graph = select(load(chain), inputs=["body/relu:0"], outputs=["left", "right"])
    verify(graph)
    assert ports(graph) == (["body/relu"], ["left", "right"])
    node = graph.node("body/relu")
    assert node.op == "Placeholder"
    assert (node["dtype"], node["shape"]) == (DType.FLOAT32, ("image.0", 8, 8, 4))
    assert not {"image", "body/conv", "body/relu/cut"} & set(names(graph))


def test_a_second_output_becomes_an_input(load: Load) -> None:
    graph = select(load(chain), inputs=["split:1", "image"], outputs=["left", "right"])
    verify(graph)
    assert ports(graph) == (["split:1", "image"], ["left", "right"])
    assert graph.node("right").inputs[0].producer.name == "split_1"
    assert graph.node("left").inputs[0].producer.name == "split"


def test_an_input_may_be_the_output(load: Load) -> None:
    graph = select(load(chain), inputs=["body/relu"], outputs=["body/relu"])
    verify(graph)
    assert graph.outputs[0].value is graph.inputs[0].value


def test_unknown_names_are_told_with_the_nearest(load: Load) -> None:
    for wanted, near in (("imgae", "image"), ("Relu", "body/relu"), ("summ", "sum"), ("body/con", "body/conv")):
        with pytest.raises(OptionError) as caught:
            select(load(chain), outputs=[wanted])
        assert f"'{wanted}'" in caught.value.what
        assert near in caught.value.why
        assert "inspect" in caught.value.remedy
    with pytest.raises(OptionError, match="'nope', 'neither'") as caught:
        select(load(chain), inputs=["nope", "image", "neither"])
    with pytest.raises(OptionError) as caught:
        select(load(chain), outputs=["split:2"])
    assert "'split' has 2 outputs" in caught.value.why
    with pytest.raises(OptionError):
        select(load(chain), outputs=["split:x"])


def test_a_name_given_twice(load: Load) -> None:
    with pytest.raises(OptionError, match="output 'left' is named twice"):
        select(load(chain), outputs=["left", "left:0"])


def test_an_input_that_is_left_out(load: Load) -> None:
    with pytest.raises(OptionError, match="also need the input other") as caught:
        select(load(chain), inputs=["image"], outputs=["left", "sum"])
    assert "--inputs" in caught.value.remedy


def test_an_input_that_nobody_needs_stays(load: Load) -> None:
    graph = select(load(chain), inputs=["image", "other"], outputs=["left"])
    verify(graph)
    assert ports(graph)[0] == ["image", "other"]
    assert graph.notices == ["input 'other' is not needed by any output"]


# -- shapes --------------------------------------------------------------------------------------------------------


def test_a_shape_is_fixed(load: Load) -> None:
    graph = select(load(chain), outputs=["left"], shapes={"image": (5, 16, 16, 3)})
    assert graph.outputs[0].value.shape == (5, 16, 16, 2)
    verify(graph)
    opened = select(load(chain), inputs=["image"], outputs=["left"], shapes={"image:0": (-1, -1, 8, 3)})
    assert opened.inputs[0].value.shape == ("image.0", "image.1", 8, 3)
    cut = select(load(chain), inputs=["body/relu"], outputs=["left"], shapes={"body/relu": (1, 2, 3, 4)})
    assert cut.outputs[0].value.shape == (1, 2, 3, 2)


def test_shapes_that_do_not_fit(load: Load) -> None:
    with pytest.raises(OptionError, match="has rank 4"):
        select(load(chain), shapes={"image": (1, 2, 3)})
    with pytest.raises(OptionError, match="'left', which is not an input") as caught:
        select(load(chain), shapes={"left": (1,)})
    assert "image, other" in caught.value.remedy


# -- placeholders with a default -----------------------------------------------------------------------------------


def with_default() -> None:
    x = v1.placeholder(tf.float32, (None, 4), name="x")
    keep = v1.placeholder_with_default(np.float32(1), (), name="keep")
    tf.multiply(x, keep, name="y")


def test_a_default_is_kept_with_a_notice(load: Load) -> None:
    graph = select(load(with_default))
    verify(graph)
    assert ports(graph) == (["x"], ["y"])
    assert graph.node("keep").op == "Identity"
    assert len(graph.notices) == 1
    assert "'keep' is not an input" in graph.notices[0]


def test_a_default_gives_way_to_an_input(load: Load) -> None:
    graph = select(load(with_default), inputs=["x", "keep"])
    verify(graph)
    assert ports(graph) == (["x", "keep"], ["y"])
    assert graph.node("keep").op == "Placeholder"
    assert not graph.node("keep").inputs
    assert graph.notices == []


def test_a_default_is_the_input_where_there_is_no_other(load: Load) -> None:
    graph = select(
        load(lambda: tf.nn.relu(v1.placeholder_with_default(np.ones((2, 3), np.float32), (None, 3), name="x"), name="y"))
    )
    assert ports(graph) == (["x"], ["y"])
    assert graph.inputs[0].value.shape == ("x.0", 3)


# -- what stands beside a model ------------------------------------------------------------------------------------


def test_savers_checks_and_summaries_are_no_outputs(load: Load) -> None:
    def build() -> None:
        x = v1.placeholder(tf.float32, (2, 3), name="x")
        y = tf.nn.softmax(x, name="y")
        v1.summary.histogram("activity", y)
        v1.assert_non_negative(x, name="check")
        tf.raw_ops.SaveV2(prefix="p", tensor_names=["y"], shape_and_slices=[""], tensors=[y], name="save")
        tf.no_op(name="init")
        tf.constant([1.0, 2.0], name="unused")
        tf.identity(tf.constant([3.0]), name="unused/read")

    assert ports(select(load(build))) == (["x"], ["y"])


def test_all_outputs_of_a_last_node_count(load: Load) -> None:
    def build() -> None:
        x = v1.placeholder(tf.float32, (2, 9), name="x")
        tf.math.top_k(x, 3, name="top")
        image = v1.placeholder(tf.float32, (1, 4, 4, 2), name="image")
        v1.nn.fused_batch_norm(image, [1.0, 1], [0.0, 0], [0.0, 0], [1.0, 1], is_training=False, name="norm")

    assert ports(select(load(build))) == (["x", "image"], ["top", "top:1", "norm"])


def test_a_graph_without_outputs(load: Load) -> None:
    with pytest.raises(OptionError, match="no output that could be found"):
        select(load(lambda: tf.no_op(name="nothing")))


def test_conditions_of_tensorflow_1(load: Load) -> None:
    def build() -> None:
        x = v1.placeholder(tf.float32, (2,), name="x")
        tf.identity(v1.cond(tf.reduce_sum(x) > 0, lambda: x + 1, lambda: x - 1), name="y")

    v1.disable_control_flow_v2()
    try:
        graph = load(build)
    finally:
        v1.enable_control_flow_v2()
    assert any(node.op == "If" for node in graph.nodes)
    assert ports(select(graph)) == (["x"], ["y"])


# -- variables -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", [False, True])
def test_variables_are_listed(load: Load, resource: bool) -> None:
    def build() -> None:
        x = v1.placeholder(tf.float32, (2, 3), name="x")
        with v1.variable_scope("layer"):
            weights = v1.get_variable("weights", (3, 4), use_resource=resource)
            bias = v1.get_variable("bias", (4,), use_resource=resource)
        tf.nn.relu(tf.matmul(x, weights) + bias, name="y")
        tf.nn.relu(x, name="plain")

    with pytest.raises(SourceError, match="not frozen: it has 2 variables") as caught:
        select(load(build), outputs=["y"])
    assert caught.value.where == "layer/weights, layer/bias"
    assert "--checkpoint" in caught.value.remedy
    assert ports(select(load(build), outputs=["plain"])) == (["x"], ["plain"])


# -- unknown types -------------------------------------------------------------------------------------------------


def test_a_cut_behind_an_unknown_op(tmp_path: Path) -> None:
    proto = v1.GraphDef()
    proto.node.add(name="custom", op="NobodyKnows")
    proto.node.add(name="y", op="Relu", input=["custom"]).attr["T"].type = 1
    proto.node.add(name="z", op="NobodyKnowsEither", input=["custom:1"])
    path = tmp_path / "graph.pb"
    path.write_bytes(proto.SerializeToString())
    graph = select(readers.read(path), inputs=["custom"], outputs=["y"])
    assert (graph.inputs[0].value.dtype, graph.inputs[0].value.shape) == (DType.FLOAT32, None)
    given = select(readers.read(path), inputs=["custom"], outputs=["y"], shapes={"custom": (2, -1)})
    assert given.outputs[0].value.shape == (2, "custom.1")
    with pytest.raises(FerryError, match=r"'custom:1' .* cannot be an input"):
        select(readers.read(path), inputs=["custom:1"], outputs=["z"])
