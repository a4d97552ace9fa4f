"""Counts checked by hand, and the parameter count against Keras's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tensorferry.inspection import Inspection, inspect_graph, separable_saving
from tensorferry.ir import Graph, Port, Typed, Value
from tensorferry.tensor import DType


def inspect(graph: Graph) -> Inspection:
    return inspect_graph(graph, path="model.pb", size=1234, inputs_given=True)


def weight(graph: Graph, name: str, *shape: int) -> Value:
    """A Const read through an Identity, as frozen TensorFlow 1 graphs have it."""
    value = graph.constant(np.zeros(shape, np.float32), name)
    return graph.add("Identity", [value], typed=[value.typed], name=f"{name}/read").output


def apply(graph: Graph, op: str, name: str, shape: tuple[int | str, ...], *inputs: Value, **attrs: object) -> Value:
    return graph.add(op, inputs, attrs, typed=[Typed(DType.FLOAT32, shape)], name=name).output


def placeholder(graph: Graph, *shape: int | str) -> Value:
    value = apply(graph, "Placeholder", "image", shape)
    graph.inputs = [Port("image", value)]
    return value


def separable_graph(batch: int | str = 1, height: int | str = 8) -> Graph:
    """3x3 depthwise over 4 channels with bias and Relu6, then 1x1 to 16 channels with a batch norm written out."""
    graph = Graph()
    image = placeholder(graph, batch, height, 8, 4)
    taps = weight(graph, "dw/weights", 3, 3, 4, 1)
    mixed = apply(graph, "DepthwiseConv2dNative", "dw", (batch, height, 8, 4), image, taps)
    biased = apply(graph, "BiasAdd", "dw/bias", (batch, height, 8, 4), mixed, weight(graph, "dw/biases", 4))
    active = apply(graph, "Relu6", "dw/relu", (batch, height, 8, 4), biased)
    wide = apply(graph, "Conv2D", "pw", (batch, height, 8, 16), active, weight(graph, "pw/weights", 1, 1, 4, 16))
    scaled = apply(graph, "Mul", "pw/scale", (batch, height, 8, 16), wide, weight(graph, "gamma", 16))
    shifted = apply(graph, "AddV2", "pw/shift", (batch, height, 8, 16), scaled, weight(graph, "beta", 16))
    graph.outputs = [Port("features", shifted)]
    return graph


def layers(inspection: Inspection) -> dict[str, tuple[int, int | None]]:
    return {layer.node: (layer.parameters, layer.macs) for layer in inspection.layers}


def test_a_separable_block_by_hand() -> None:
    inspection = inspect(separable_graph())
    assert layers(inspection) == {"dw": (3 * 3 * 4 + 4, 8 * 8 * 4 * 9), "pw": (4 * 16 + 16 + 16, 8 * 8 * 16 * 4)}
    assert inspection.parameters == 40 + 96
    assert inspection.weight_bytes == 4 * (40 + 96)
    assert inspection.macs == 2304 + 4096
    (block,) = inspection.separable
    assert (block.depthwise, block.pointwise, block.kernel) == ("dw", "pw", (3, 3))
    assert (block.channels_in, block.channels_out, block.multiplier) == (4, 16, 1)
    standard = 8 * 8 * 16 * 3 * 3 * 4  # a standard 3x3 convolution from 4 to 16 channels on the same picture
    assert block.saving == pytest.approx(standard / (2304 + 4096))


@pytest.mark.parametrize(("channels", "expected"), [(48, 7.578947), (384, 8.793893), (1024, 8.921588)])
def test_the_saving_of_a_3x3_kernel_comes_near_nine(channels: int, expected: float) -> None:
    assert separable_saving((3, 3), channels) == pytest.approx(expected, rel=1e-6)


def test_a_value_that_is_read_twice_breaks_the_block() -> None:
    graph = separable_graph()
    graph.outputs.append(Port("middle", graph.node("dw/bias").output))
    assert inspect(graph).separable == ()


def test_an_open_batch_counts_as_one_and_is_said() -> None:
    inspection = inspect(separable_graph(batch="batch"))
    assert inspection.macs == 2304 + 4096
    assert inspection.batch_counted_as_one
    assert not inspect(separable_graph()).batch_counted_as_one


def test_an_open_height_leaves_the_cost_unknown() -> None:
    inspection = inspect(separable_graph(height="height"))
    assert [(layer.macs, layer.note) for layer in inspection.layers] == [(None, "unknown: height")] * 2
    assert (inspection.macs, inspection.macs_missing) == (0, 2)
    assert inspection.separable[0].saving == pytest.approx(5.76)


def test_strided_grouped_and_transposed_convolutions_and_matrix_products() -> None:
    graph = Graph()
    image = placeholder(graph, 2, 9, 9, 8)
    grouped = apply(graph, "Conv2D", "grouped", (2, 5, 5, 6), image, weight(graph, "w", 3, 3, 4, 6), strides=(1, 2, 2, 1))
    sizes = graph.constant(np.array([2, 10, 10, 3], np.int32), "sizes")
    back = apply(graph, "Conv2DBackpropInput", "back", (2, 10, 10, 3), sizes, weight(graph, "v", 2, 2, 3, 6), grouped)
    flat = apply(graph, "Reshape", "flat", (2, 300), back, graph.constant(np.array([2, 300], np.int32), "flat/shape"))
    dense = apply(graph, "MatMul", "dense", (2, 7), flat, weight(graph, "d", 7, 300), transpose_a=False, transpose_b=True)
    # (7, 2) x (2, 7): the shared axis is the first of a transposed left side
    gram = apply(graph, "BatchMatMulV2", "gram", (7, 7), dense, dense, adj_x=True, adj_y=False)
    graph.outputs = [Port("gram", gram)]
    inspection = inspect(graph)
    assert layers(inspection) == {
        "grouped": (3 * 3 * 4 * 6, 2 * 5 * 5 * 6 * 3 * 3 * 4),
        "back": (2 * 2 * 3 * 6, 2 * 5 * 5 * 6 * 2 * 2 * 3),
        "dense": (7 * 300, 2 * 7 * 300),
        "gram": (0, 7 * 7 * 2),
    }


def test_shared_weights_count_once_in_total_and_written_scalars_not_at_all() -> None:
    graph = Graph()
    image = placeholder(graph, 1, 4, 4, 2)
    shared = weight(graph, "w", 1, 1, 2, 2)
    one = apply(graph, "Conv2D", "one", (1, 4, 4, 2), image, shared)
    half = apply(graph, "Mul", "half", (1, 4, 4, 2), one, graph.constant(np.float32(0.5), "factor"))
    graph.outputs = [Port("two", apply(graph, "Conv2D", "two", (1, 4, 4, 2), half, shared))]
    weight(graph, "unread", 100)
    inspection = inspect(graph)
    assert inspection.parameters == 4
    assert [layer.parameters for layer in inspection.layers] == [4, 4]
    assert [row.node for row in inspection.nodes][-1] == "unread/read"  # listed all the same


def test_a_scalar_variable_is_a_parameter() -> None:
    graph = Graph()
    image = placeholder(graph, 4)
    graph.outputs = [Port("out", apply(graph, "Mul", "product", (4,), image, weight(graph, "slope")))]
    assert inspect(graph).parameters == 1


def test_a_default_that_may_be_overridden_is_no_parameter_of_the_layer() -> None:
    graph = Graph()
    image = placeholder(graph, 1, 4)
    default = weight(graph, "default", 4, 3)
    given = apply(graph, "PlaceholderWithDefault", "given", (4, 3), default)
    graph.outputs = [Port("out", apply(graph, "MatMul", "dense", (1, 3), image, given))]
    assert [layer.parameters for layer in inspect(graph).layers] == [0]


def test_ports_nodes_and_json() -> None:
    graph = separable_graph(batch="batch")
    graph.add("NoOp", typed=[], name="init")
    inspection = inspect(graph)
    assert [(port.name, port.tensor, port.found) for port in inspection.inputs] == [("image", "image:0", False)]
    assert [(port.name, port.tensor, port.found) for port in inspection.outputs] == [("features", "pw/shift:0", True)]
    assert inspection.nodes[3].columns() == ("3", "dw", "dw:0", "batch,8,8,4", "float32")
    assert inspection.nodes[-1].columns() == (str(len(inspection.nodes) - 1), "init", "", "", "")
    assert list(inspection.ops)[:2] == ["Const", "Identity"]
    again = json.loads(json.dumps(inspection.as_dict(), allow_nan=False))
    assert again["inputs"][0]["shape"] == ["batch", 8, 8, 4]
    assert again["source"]["size"] == 1234
    assert again["ops"]["Const"] == 5


def test_what_a_target_lacks_is_said_by_op() -> None:
    graph = Graph()
    image = placeholder(graph, 1, 4)
    graph.outputs = [Port("out", apply(graph, "NobodyKnowsThisOp", "odd", (1, 4), image))]
    for support in inspect(graph).support:
        assert dict(support.missing) == {"NobodyKnowsThisOp": 1}
        assert not support.direct


def test_parameters_are_those_keras_counts(tmp_path: Path) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # noqa: PLC0415

    from tensorferry.readers import read  # noqa: PLC0415

    keras = tensorflow.keras
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, use_bias=False)(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU(6.0)(x)
    x = keras.layers.SeparableConv2D(12, 3, depth_multiplier=2)(x)
    model = keras.Model(image, keras.layers.Dense(5)(keras.layers.Flatten()(x)))
    function = tensorflow.function(model).get_concrete_function(tensorflow.TensorSpec((1, 16, 16, 3), tensorflow.float32))
    frozen = convert_variables_to_constants_v2(function)
    path = tmp_path / "keras.pb"
    path.write_bytes(frozen.graph.as_graph_def().SerializeToString())
    inspection = inspect(read(path))
    assert inspection.parameters == model.count_params()
    assert sum(layer.parameters for layer in inspection.layers) == model.count_params()
    (block,) = inspection.separable
    assert (block.channels_in, block.multiplier, block.channels_out) == (8, 2, 12)
    assert block.saving == pytest.approx((9 * 8 * 12) / (9 * 16 + 16 * 12))
