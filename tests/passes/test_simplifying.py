"""Reshapes, casts and arithmetic that do nothing go; two in a row become one."""

from __future__ import annotations

import numpy as np
import pytest
from surroundings import Net, held, left_alone

from tensorferry.passes.arithmetic import simplify_arithmetic
from tensorferry.passes.flattening import join_mask_reshapes, join_reshapes, lift_products, permute_flattened_weights, sink_reshapes
from tensorferry.passes.reshapes import drop_broadcast_reshapes, holds_all, same_shape, simplify_reshapes
from tensorferry.tensor import DType


def _x(net, shape=(2, 3, 4)):
    return net.op("Tanh", net.input("x", shape))


def _read(net, value, name="out"):
    net.output(net.op("Neg", value), "y")
    return value


NOTHING = {
    "reshape to itself": lambda net, x: net.op("Reshape", x, [2, 3, 4]),
    "reshape of an unknown batch": lambda net, x: net.op("Reshape", x, [-1, 3, 4]),
    "transpose in order": lambda net, x: net.op("Transpose", x, [0, 1, 2]),
    "there and back": lambda net, x: net.op("Transpose", net.op("Transpose", x, [2, 0, 1]), [1, 2, 0]),
    "expand and squeeze": lambda net, x: net.op("Squeeze", net.op("ExpandDims", x, 1), squeeze_dims=[1]),
    "pad by nothing": lambda net, x: net.op("Pad", x, [[0, 0], [0, 0], [0, 0]]),
    "concat of one": lambda net, x: net.op("ConcatV2", x, 1, N=1),
    "cast to itself": lambda net, x: net.op("Cast", x, DstT=DType.FLOAT32),
    "cast there and back": lambda net, x: net.op("Cast", net.op("Cast", x, DstT=DType.FLOAT64), DstT=DType.FLOAT32),
}


@pytest.mark.parametrize("form", NOTHING)
def test_what_changes_nothing_goes(form):
    net = Net()
    x = _x(net)
    made = NOTHING[form](net, x)
    name = made.name
    net.output(net.op("Neg", made), "y")
    net.output(made, "public")
    assert held(net.graph, simplify_reshapes) == ["Tanh", "Neg"]
    assert net.graph.outputs[1].value.name == name


def test_a_cast_that_loses_something_stays():
    net = Net()
    x = _x(net)
    net.output(net.op("Cast", net.op("Cast", x, DstT=DType.INT32), DstT=DType.FLOAT32), "y")
    assert simplify_reshapes(net.graph) == 0


@pytest.mark.parametrize(
    ("wide", "narrow", "holds"),
    [("float32", "int8", True), ("float32", "int32", False), ("int64", "int32", True), ("float16", "float32", False)],
)
def test_which_type_holds_another(wide, narrow, holds):
    assert holds_all(DType(wide), DType(narrow)) is holds


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((2, 3), (2, 3), True),
        ((2, 3), (3, 2), False),
        (("n", 3), ("n", 3), True),
        (("?", 3), ("n", 3), True),
        (("?", "?"), ("?", "?"), False),
        (("n", "m"), ("m", "n"), False),
        (None, (2,), False),
        ((2, 3), (2, 3, 1), False),
    ],
)
def test_shapes_known_to_be_the_same(one, other, same):
    assert same_shape(one, other) is same


def test_two_reshapes_become_one():
    net = Net()
    inner = net.op("Reshape", _x(net), [6, 4])
    made = net.op("Reshape", inner, [3, -1], name="last")
    net.output(net.op("Neg", made), "y")
    net.output(made, "public")
    assert held(net.graph, simplify_reshapes, changes=1) == ["Tanh", "Reshape", "Neg"]
    assert net.graph.node("last").origin.names == ("last", "Reshape")


def test_squeeze_after_reshape_is_one_reshape():
    net = Net()
    net.output(net.op("Squeeze", net.op("Reshape", _x(net), [6, 1, 4]), squeeze_dims=[1]), "y")
    assert held(net.graph, simplify_reshapes, changes=1) == ["Tanh", "Reshape"]


def test_a_reshape_that_others_read_stays():
    net = Net()
    inner = net.op("Reshape", _x(net), [6, 4])
    net.output(net.op("Reshape", inner, [3, 8]), "y")
    net.output(inner, "inner")
    assert held(net.graph, simplify_reshapes, changes=0) == ["Tanh", "Reshape", "Reshape"]


def test_two_transposes_become_one():
    net = Net()
    inner = net.op("Transpose", _x(net), [1, 0, 2])
    net.output(net.op("Transpose", inner, [2, 0, 1]), "y")
    net.output(net.op("Neg", inner), "second")
    assert held(net.graph, simplify_reshapes, changes=1) == ["Tanh", "Transpose", "Transpose", "Neg"]


NEUTRAL = {
    "x + 0": lambda net, x: net.op("AddV2", x, 0.0),
    "0 + x": lambda net, x: net.op("AddV2", net.const(np.zeros((3, 4))), x),
    "x - 0": lambda net, x: net.op("Sub", x, 0.0),
    "x * 1": lambda net, x: net.op("Mul", x, net.const(np.ones(4))),
    "x / 1": lambda net, x: net.op("RealDiv", x, 1.0),
    "x ** 1": lambda net, x: net.op("Pow", x, 1.0),
    "-(-x)": lambda net, x: net.op("Neg", net.op("Neg", x)),
}


@pytest.mark.parametrize("form", NEUTRAL)
def test_neutral_arithmetic_goes(form):
    net = Net()
    made = NEUTRAL[form](net, _x(net))
    name = made.name
    net.output(net.op("Relu", made), "y")
    net.output(made, "public")
    assert held(net.graph, simplify_arithmetic, changes=1) == ["Tanh", "Relu"]
    assert net.graph.outputs[1].value.name == name


def test_a_neutral_operand_that_widens_stays(caplog):
    net = Net()
    net.output(net.op("AddV2", _x(net), net.const(np.zeros((5, 1, 3, 4)))), "y")
    left_alone(net.graph, simplify_arithmetic, caplog, "may widen")


def test_zero_minus_x_is_not_x():
    net = Net()
    net.output(net.op("Sub", net.const(0.0), _x(net)), "y")
    net.output(net.op("RealDiv", net.const(1.0), net.op("Exp", net.graph.node("x").output)), "z")
    assert simplify_arithmetic(net.graph) == 0


def test_a_square():
    net = Net()
    net.output(net.op("Pow", _x(net), 2.0), "y")
    assert held(net.graph, simplify_arithmetic, changes=1) == ["Tanh", "Square"]


@pytest.mark.parametrize("op", ["Mul", "AddV2"])
def test_chained_constants_are_merged(op):
    net = Net()
    made = net.op(op, net.const(0.7), net.op(op, _x(net), net.const([0.3, 1.0, -2.0, 5.0])))
    net.output(net.op("Relu", made), "y")
    assert held(net.graph, simplify_arithmetic, changes=1, tolerance=2e-7) == ["Tanh", op, "Relu"]


def test_rectifiers_in_a_row():
    net = Net()
    net.output(net.op("Relu6", net.op("Relu", _x(net))), "y")
    net.output(net.op("Relu", net.op("Relu", net.op("Exp", net.graph.node("x").output))), "z")
    assert held(net.graph, simplify_arithmetic, changes=2) == ["Tanh", "Relu6", "Exp", "Relu"]


def _dense(net, x, *, public=False):
    flat = net.op("MatMul", net.op("Reshape", x, [6, 4]), net.weights(4, 5), name="product")
    shaped = net.op("Reshape", flat, [2, 3, 5], name="shaped")
    biased = net.op("AddV2", net.weights(1, 1, 5), shaped, name="biased")
    if public:
        net.output(shaped, "shaped")
    return net.op("Relu", biased, name="active")


def test_bias_and_activation_come_before_the_reshape_of_a_product():
    net = Net()
    active = _dense(net, _x(net))
    net.output(net.op("Neg", active), "y")
    net.output(active, "public")
    assert held(net.graph, sink_reshapes, tolerance=1e-6) == ["Tanh", "Reshape", "MatMul", "AddV2", "Reshape", "Relu", "Neg"]
    assert net.graph.node("biased").op == "Reshape", "the name stays with the numbers"


def test_a_reshaped_product_that_is_public_stays():
    net = Net()
    net.output(_dense(net, _x(net), public=True), "y")
    assert held(net.graph, sink_reshapes, changes=0)[2:] == ["MatMul", "Reshape", "AddV2", "Relu"]


def test_a_constant_over_other_axes_stays(caplog):
    net = Net()
    flat = net.op("MatMul", net.op("Reshape", _x(net), [6, 4]), net.weights(4, 5))
    net.output(net.op("AddV2", net.op("Reshape", flat, [2, 3, 5]), net.weights(3, 1)), "y")
    left_alone(net.graph, sink_reshapes, caplog, "cannot come before")


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("permutation", [[0, 3, 1, 2], [0, 2, 3, 1], [0, 3, 2, 1]])
def test_a_flattened_transpose_goes_into_the_weights(turned, permutation):
    net = Net()
    x = net.op("Tanh", net.input("x", ("batch", 3, 4, 5)))
    flat = net.op("Reshape", net.op("Transpose", x, permutation), [-1, 60])
    weights = net.weights(7, 60) if turned else net.weights(60, 7)
    net.output(net.op("MatMul", flat, weights, transpose_b=turned), "y")
    left = held(net.graph, permute_flattened_weights, changes=1, tolerance=1e-6)
    assert left == ["Tanh", "Reshape", "MatMul"]


def test_a_flattened_transpose_that_others_read_stays(caplog):
    net = Net()
    x = net.op("Tanh", net.input("x", (2, 3, 4, 5)))
    flat = net.op("Reshape", net.op("Transpose", x, [0, 3, 1, 2]), [2, 60])
    net.output(net.op("MatMul", flat, net.weights(60, 7)), "y")
    net.output(flat, "flat")
    left_alone(net.graph, permute_flattened_weights, caplog, "others read")


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("op", ["Mean", "Max"])
def test_axes_of_a_reduction_are_kept_or_dropped_by_itself(op, kept):
    net = Net()
    reduced = net.op(op, net.op("Tanh", net.input("x", (2, 5, 6, 4))), [1, 2], keep_dims=kept)
    shaped = net.op("Reshape", reduced, [-1, 4] if kept else [-1, 1, 1, 4], name="shaped")
    net.output(net.op("Neg", shaped), "y")
    net.output(shaped, "public")
    assert held(net.graph, simplify_reshapes, changes=1) == ["Tanh", op, "Neg"]
    assert net.graph.outputs[1].value.name == "shaped"


def test_a_reduction_that_others_read_keeps_its_reshape():
    net = Net()
    reduced = net.op("Mean", net.input("x", (2, 5, 6, 4)), [1, 2])
    net.output(net.op("Reshape", reduced, [-1, 1, 1, 4]), "y")
    net.output(reduced, "reduced")
    assert simplify_reshapes(net.graph) == 0


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_a_product_between_reshapes_is_one_over_the_last_axis(turned, biased):
    net = Net()
    x = net.op("Tanh", net.input("x", ("batch", 3, 4)))
    flat = net.op("Reshape", x, [-1, 4])
    extra = [net.weights(5)] if biased else []
    made = net.op("MatMul", flat, net.weights(5, 4) if turned else net.weights(4, 5), *extra, transpose_b=turned)
    shaped = net.op("Reshape", made, [-1, 3, 5], name="shaped")
    net.output(net.op("Neg", shaped), "y")
    net.output(shaped, "public")
    assert held(net.graph, lift_products, changes=1, tolerance=1e-6) == ["Tanh", "BatchMatMulV2", "Neg"]


def test_a_product_restored_to_other_axes_stays(caplog):
    net = Net()
    flat = net.op("Reshape", net.input("x", (2, 3, 4)), [6, 4])
    net.output(net.op("Reshape", net.op("MatMul", flat, net.weights(4, 5)), [3, 2, 5]), "y")
    left_alone(net.graph, lift_products, caplog, "is not what was flattened")


def test_several_products_between_reshapes_are_lifted_together():
    net = Net()
    x = net.op("Tanh", net.input("x", (2, 3, 4)))
    first = net.op("Relu", net.op("MatMul", net.op("Reshape", x, [6, 4]), net.weights(4, 5)))
    second = net.op("MatMul", first, net.weights(5, 2))
    net.output(net.op("Reshape", second, [2, 3, 2], name="shaped"), "y")
    left = held(net.graph, lift_products, changes=1, tolerance=1e-6)
    assert left == ["Tanh", "BatchMatMulV2", "Relu", "BatchMatMulV2"]
    assert net.graph.outputs[0].value.name == "shaped"


def test_products_that_others_read_between_stay():
    net = Net()
    first = net.op("MatMul", net.op("Reshape", net.input("x", (2, 3, 4)), [6, 4]), net.weights(4, 5))
    net.output(net.op("Reshape", first, [2, 3, 5]), "y")
    net.output(first, "first")
    assert lift_products(net.graph) == 0


@pytest.mark.parametrize("shape", [[1, 1, 1, 8], [1, 8]])
def test_an_operand_needs_no_axes_in_front(shape):
    net = Net()
    gate = net.op("Sigmoid", net.input("gate", (1, 8) if len(shape) == 4 else (1, 1, 1, 8)))
    product = net.op("Mul", net.input("x", (1, 4, 4, 8)), net.op("Reshape", gate, shape))
    net.output(net.op("Relu", product), "y")
    assert held(net.graph, drop_broadcast_reshapes, changes=1) == ["Sigmoid", "Mul", "Relu"]


def test_a_reshaped_operand_that_others_read_stays_for_them():
    net = Net()
    reshaped = net.op("Reshape", net.input("gate", (1, 8)), [1, 1, 1, 8])
    net.output(net.op("Mul", net.input("x", (1, 4, 4, 8)), reshaped), "y")
    net.output(reshaped, "gates")
    assert held(net.graph, drop_broadcast_reshapes, changes=1) == ["Reshape", "Mul"]


def test_axes_in_front_that_matter_stay():
    net = Net()
    net.output(net.op("Mul", net.op("Reshape", net.input("one", (8,)), [1, 1, 8]), net.input("other", (3, 8))), "wider")
    net.output(net.op("Mul", net.op("Reshape", net.input("rows", (2, 8)), [2, 1, 1, 8]), net.input("image", (2, 4, 4, 8))), "y")
    assert held(net.graph, drop_broadcast_reshapes, changes=0) == ["Reshape", "Mul", "Reshape", "Mul"]


@pytest.mark.parametrize("joining", [join_mask_reshapes, join_reshapes])
def test_two_reshapes_around_a_step_are_one(joining):
    net = Net()
    x = net.op("Neg", net.input("x", (2, 12)))
    step = net.op("Greater", net.op("Reshape", x, [2, 3, 4]), net.const(0.25))
    made = net.op("ExpandDims", step, net.const(np.int32(1)), name="made")
    net.output(net.op("LogicalNot", made), "y")
    net.output(made, "public")
    assert held(net.graph, joining, changes=1) == ["Neg", "Greater", "Reshape", "LogicalNot"]
    assert net.graph.outputs[1].value.name == "made"


def test_reshapes_that_others_read_or_whose_step_sees_more_than_an_element_stay():
    net = Net()
    x = net.op("Neg", net.input("x", (2, 12)))
    first = net.op("Reshape", x, [2, 3, 4])
    net.output(net.op("Reshape", net.op("Tanh", first), [6, 4]), "y")
    net.output(first, "read twice")
    other = net.op("Reshape", x, [4, 6])
    net.output(net.op("Reshape", net.op("Mul", other, net.weights(6)), [24]), "by column")
    net.output(net.op("Reshape", net.op("Softmax", net.op("Reshape", x, [8, 3])), [24]), "rows")
    assert join_reshapes(net.graph) == 0
