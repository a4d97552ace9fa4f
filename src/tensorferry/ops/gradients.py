"""Gradients of functions of one operand, as they stand in graphs that were differentiated."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tensorferry.ir import Graph, Node, Typed
from tensorferry.ops.activation import SELU_SCALE, SELU_SCALE_ALPHA
from tensorferry.ops.elementwise import infer_all_equal
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.formulas import ArrayMaths, Formula, Maths, Operand, Term
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array

# -- formulas: of (y, dy), the function's result and the gradient after it ------------------------------------------


def _sigmoid(_maths: Maths, y: Operand, dy: Operand) -> Operand:
    return dy * y * (1.0 - y)


def _tanh(_maths: Maths, y: Operand, dy: Operand) -> Operand:
    return dy * (1.0 - y * y)


def _sqrt(_maths: Maths, y: Operand, dy: Operand) -> Operand:
    return dy * 0.5 / y


def _rsqrt(_maths: Maths, y: Operand, dy: Operand) -> Operand:
    return dy * -0.5 * (y * y * y)


def _reciprocal(_maths: Maths, y: Operand, dy: Operand) -> Operand:
    return -dy * (y * y)


# -- of (gradient, features), the operand; or outputs ---------------------------------------------------------------


def _relu(maths: Maths, dy: Operand, x: Operand) -> Operand:
    return maths.where(x > 0.0, dy, 0.0)


def _relu6(maths: Maths, dy: Operand, x: Operand) -> Operand:
    return maths.where((x > 0.0) & (x < 6.0), dy, 0.0)


def _elu(maths: Maths, dy: Operand, y: Operand) -> Operand:
    return maths.where(y < 0.0, dy * (y + 1.0), dy)


def _selu(maths: Maths, dy: Operand, y: Operand) -> Operand:
    return maths.where(y < 0.0, dy * (y + SELU_SCALE_ALPHA), dy * SELU_SCALE)


def _softplus(maths: Maths, dy: Operand, x: Operand) -> Operand:
    return dy * maths.apply("Sigmoid", x)


def _softsign(maths: Maths, dy: Operand, x: Operand) -> Operand:
    return dy / maths.square(maths.abs(x) + 1.0)


def _leaky_relu(alpha: float) -> Formula:
    return lambda maths, dy, x: maths.where(x > 0.0, dy, dy * alpha)


# -- the sum over all but the channels ------------------------------------------------------------------------------


def _infer_bias_grad(node: Node) -> list[Typed]:
    value = node.inputs[0]
    if value.shape is None:
        return [Typed(value.dtype, ("?",))]
    if len(value.shape) < 2:
        raise Declined("it adds up over all but the channels of at least two dimensions")
    return [Typed(value.dtype, (value.shape[_channels(node, len(value.shape))],))]


def _channels(node: Node, rank: int) -> int:
    return 1 if node["data_format"] == "NCHW" else rank - 1


def _evaluate_bias_grad(node: Node, x: Array) -> Array:
    return np.asarray(x.sum(axis=tuple(axis for axis in range(x.ndim) if axis != _channels(node, x.ndim)), dtype=x.dtype))


def _expand_bias_grad(graph: Graph, node: Node) -> bool:
    value = node.inputs[0]
    if value.rank is None:
        return False
    expansion = Expansion(graph, node)
    axes = np.array([axis for axis in range(value.rank) if axis != _channels(node, value.rank)], np.int32)
    return expansion.finish(expansion.make("Sum", value, axes, keep_dims=False))


def _bias_grad_examples() -> Iterator[Example]:
    yield Example((sample(2, 3),), {"data_format": "NHWC"})
    yield Example((sample(2, 3, 2, 4),), {"data_format": "NHWC"}, note="image")
    yield Example((sample(2, 3, 2, 4),), {"data_format": "NCHW"}, note="channels first")
    yield Example((np.arange(6, dtype=np.int32).reshape(3, 2),), {"data_format": "NHWC"}, note="int32")


# -- the table -----------------------------------------------------------------------------------------------------


def _examples(first: Array, second: Array, **attrs: float) -> Callable[[], Iterator[Example]]:
    def build() -> Iterator[Example]:
        yield Example((first, second), attrs)
        six = (1, 2, 1, 3, 1, 2)
        yield Example((np.resize(first, six), np.resize(second, six)), attrs, note="six dims")

    return build


RESULTS = np.array([[0.1, 0.5, 0.9], [0.3, 0.7, 0.2]], np.float32)
OPERANDS = np.array([[-2, 0.5, 7], [3, -0.25, 0]], np.float32)
GRADIENTS = np.array([[1, -2, 0.5], [3, 0.25, -1]], np.float32)


def _gradient(name: str, formula: Formula, examples: Callable[[], Iterator[Example]], aliases: tuple[str, ...] = ()) -> OpSpec:
    """`formula` may depend on the slope `alpha` of the node."""

    def of(node: Node) -> Formula:
        return _leaky_relu(float(node["alpha"])) if "alpha" in node.attrs else formula

    def expand(graph: Graph, node: Node) -> bool:
        if not all(value.dtype.is_float for value in node.inputs):
            return False
        expansion = Expansion(graph, node)
        result: Term = of(node)(Maths(), *(Term(expansion, value) for value in node.inputs))
        return expansion.finish(result.value)

    return OpSpec(
        name=name,
        aliases=aliases,
        attrs={"alpha": 0.2} if name == "LeakyReluGrad" else {},
        elementwise=True,
        infer=infer_all_equal,
        evaluate=lambda node, x, y: np.asarray(of(node)(ArrayMaths(), x, y)),
        expand=expand,
        examples=examples,
    )


SPECS = (
    _gradient("SigmoidGrad", _sigmoid, _examples(RESULTS, GRADIENTS)),
    _gradient("TanhGrad", _tanh, _examples(RESULTS, GRADIENTS)),
    _gradient("SqrtGrad", _sqrt, _examples(RESULTS, GRADIENTS)),
    _gradient("RsqrtGrad", _rsqrt, _examples(RESULTS, GRADIENTS)),
    _gradient("ReciprocalGrad", _reciprocal, _examples(RESULTS, GRADIENTS), ("InvGrad",)),
    _gradient("ReluGrad", _relu, _examples(GRADIENTS, OPERANDS)),
    _gradient("Relu6Grad", _relu6, _examples(GRADIENTS, OPERANDS)),
    _gradient("LeakyReluGrad", _relu, _examples(GRADIENTS, OPERANDS, alpha=0.3)),
    _gradient("EluGrad", _elu, _examples(GRADIENTS, OPERANDS / 10)),
    _gradient("SeluGrad", _selu, _examples(GRADIENTS, OPERANDS / 10)),
    _gradient("SoftplusGrad", _softplus, _examples(GRADIENTS, OPERANDS)),
    _gradient("SoftsignGrad", _softsign, _examples(GRADIENTS, OPERANDS)),
    OpSpec(
        name="BiasAddGrad",
        attrs={"data_format": "NHWC"},
        infer=_infer_bias_grad,
        evaluate=_evaluate_bias_grad,
        expand=_expand_bias_grad,
        examples=_bias_grad_examples,
    ),
)
