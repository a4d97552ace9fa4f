"""Activations, and the composites that only passes make: HardSwish, PRelu, ReluN1To1."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tensorferry.ir import Graph, Node, Typed
from tensorferry.ops.elementwise import MAXIMUM, MINIMUM
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.kernels import FLOATS, LiteKernel, check_rank
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec, broadcast_shapes, same_as_input, same_in_tfjs
from tensorferry.targets import JsNode, LiteOp, Temp
from tensorferry.tensor import Array, ArrayTensor, DType

SELU_SCALE = 1.0507009873554805
SELU_SCALE_ALPHA = 1.7580993408473768
"""Scale and scale * alpha of Klambauer et al., Self-Normalizing Neural Networks (2017), section 2."""

# -- evaluation ----------------------------------------------------------------------------------------------------


def _relu(_node: Node, x: Array) -> Array:
    return np.asarray(np.maximum(x, x.dtype.type(0)))


def _clip(low: float, high: float) -> Callable[[Node, Array], Array]:
    return lambda _node, x: np.clip(x, x.dtype.type(low), x.dtype.type(high))


def _elu(_node: Node, x: Array) -> Array:
    return np.where(x < 0, np.expm1(np.minimum(x, x.dtype.type(0))), x)


def _selu(_node: Node, x: Array) -> Array:
    scale, scale_alpha = x.dtype.type(SELU_SCALE), x.dtype.type(SELU_SCALE_ALPHA)
    return np.asarray(np.where(x < 0, scale_alpha * np.expm1(np.minimum(x, x.dtype.type(0))), scale * x))


def _leaky_relu(node: Node, x: Array) -> Array:
    return np.where(x > 0, x, x * x.dtype.type(node["alpha"]))


def _sigmoid(_node: Node, x: Array) -> Array:
    return np.asarray(np.reciprocal(x.dtype.type(1) + np.exp(-x)))


def _softplus(_node: Node, x: Array) -> Array:
    return np.asarray(np.maximum(x, x.dtype.type(0)) + np.log1p(np.exp(-np.abs(x))))


def _softsign(_node: Node, x: Array) -> Array:
    return np.asarray(x / (x.dtype.type(1) + np.abs(x)))


def _softmax(_node: Node, x: Array) -> Array:
    powers = np.exp(_below_largest(x))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _log_softmax(_node: Node, x: Array) -> Array:
    below = _below_largest(x)
    return np.asarray(below - np.log(np.exp(below).sum(axis=-1, keepdims=True)))


def _below_largest(x: Array) -> Array:
    """Shifted so that the largest along the last axis is 0: no power overflows."""
    return np.asarray(x - x.max(axis=-1, keepdims=True, initial=-np.inf))


def _hard_swish(_node: Node, x: Array) -> Array:
    one = x.dtype.type
    return np.asarray(x * np.clip(x + one(3), one(0), one(6)) * one(1 / 6))


def _prelu(_node: Node, x: Array, alpha: Array) -> Array:
    return np.where(x > 0, x, x * alpha)


# -- inference -----------------------------------------------------------------------------------------------------


def _infer_prelu(node: Node) -> list[Typed]:
    x, alpha = node.inputs
    return [Typed(x.dtype, broadcast_shapes(x.shape, alpha.shape))]


def _infer_rows(node: Node) -> list[Typed]:
    if node.inputs[0].rank == 0:
        raise Declined("it needs at least one dimension")
    return same_as_input(node)


# -- lowering ------------------------------------------------------------------------------------------------------


def _lite_relu(node: Node) -> list[LiteOp]:
    """RELU takes floats only; integers go through MAXIMUM."""
    kernel = LiteKernel("RELU", FLOATS)
    value = node.inputs[0]
    if kernel.accepts(value.dtype) or not MAXIMUM.accepts(value.dtype):
        return kernel(node)
    zero = ArrayTensor(np.zeros((), value.dtype.numpy))
    return [LiteOp("MAXIMUM", (value, zero), tuple(node.outputs), {}, MAXIMUM.version(node))]


def _lite_between(name: str, low: int, high: int) -> Callable[[Node], list[LiteOp]]:
    """The float operator, or MAXIMUM and MINIMUM on integers."""
    kernel = LiteKernel(name, FLOATS)

    def lower(node: Node) -> list[LiteOp]:
        value = node.inputs[0]
        if kernel.accepts(value.dtype) or not MAXIMUM.accepts(value.dtype):
            return kernel(node)
        raised = Temp("raised", value.dtype, value.shape)
        limits = [ArrayTensor(np.array(limit, value.dtype.numpy)) for limit in (low, high)]
        return [
            LiteOp("MAXIMUM", (value, limits[0]), (raised,), {}, MAXIMUM.version(node)),
            LiteOp("MINIMUM", (raised, limits[1]), tuple(node.outputs), {}, MINIMUM.version(node)),
        ]

    return lower


def _lite_leaky_relu(node: Node) -> list[LiteOp]:
    return LiteKernel("LEAKY_RELU", FLOATS)(node, alpha=float(node["alpha"]))


def _lite_softmax(node: Node) -> list[LiteOp]:
    return LiteKernel("SOFTMAX", FLOATS)(node, beta=1.0)


def _lite_prelu(node: Node) -> list[LiteOp]:
    check_rank(node.inputs[0], 6, "PRELU")
    return LiteKernel("PRELU", FLOATS)(node)


def _js_between(low: int, high: int) -> Callable[[Node], list[JsNode]]:
    """Not ClipByValue, which the WebAssembly backend does on floats only, without a word."""

    def lower(node: Node) -> list[JsNode]:
        value = node.inputs[0]
        raised = Temp("raised", value.dtype, value.shape)
        limits = [ArrayTensor(np.array(limit, value.dtype.numpy)) for limit in (low, high)]
        attrs = {"T": value.dtype}
        return [
            JsNode("Maximum", (value, limits[0]), (raised,), attrs),
            JsNode("Minimum", (raised, limits[1]), tuple(node.outputs), attrs),
        ]

    return lower


def _own_slopes(node: Node) -> tuple[int | str, ...]:
    """The sizes of the axes that slopes differ along: from the first such axis of the value to its last."""
    x, alpha = node.inputs
    if x.shape is None or alpha.static_shape is None:
        raise Declined("the number of its axes is not known")
    sizes = alpha.static_shape
    leading = next((place for place, size in enumerate(sizes) if size != 1), len(sizes))
    count = len(sizes) - leading
    return x.shape[len(x.shape) - count :] if count else ()


def _js_prelu(node: Node) -> list[JsNode]:
    """The kernel in WebAssembly repeats the slopes over the last axes, whatever their shape says."""
    alpha, wanted = node.inputs[1], _own_slopes(node)
    if wanted and (alpha.static_shape or ())[-len(wanted) :] != wanted:
        raise Declined("its slopes are shared along an axis behind one that they differ along")
    return [JsNode("Prelu", tuple(node.inputs), tuple(node.outputs), {"T": node.inputs[0].dtype})]


def _softplus_examples() -> Iterator[Example]:
    yield from _examples()()
    yield Example((np.array([np.nan, -200, 200, 0], np.float32),), note="NaN, far out")


# -- expansions ----------------------------------------------------------------------------------------------------


def _expand_softplus(graph: Graph, node: Node) -> bool:
    """max(log(1 + exp(min(x, bound))), x): no power overflows, and beyond it softplus is x, which comes second for its NaN."""
    expansion, x = Expansion(graph, node), node.inputs[0]
    if node.output.users and not graph.is_output(node.output) and all(reader.op == "Tanh" for reader in node.output.users):
        power = expansion.make("Exp", x)  # of Mish: the tangent of infinity is 1, as it should be
        return expansion.finish(expansion.make("Log", expansion.make("AddV2", power, 1.0)))
    bound = 10.0 if x.dtype is DType.FLOAT16 else 40.0
    power = expansion.make("Exp", expansion.make("Minimum", x, bound))
    return expansion.finish(expansion.make("Maximum", expansion.make("Log", expansion.make("AddV2", power, 1.0)), x))


def _expand_softsign(graph: Graph, node: Node) -> bool:
    expansion, x = Expansion(graph, node), node.inputs[0]
    return expansion.finish(expansion.make("RealDiv", x, expansion.make("AddV2", expansion.make("Abs", x), 1.0)))


def _expand_selu(graph: Graph, node: Node) -> bool:
    """The exponential unit with its lower half stretched, all of it scaled."""
    expansion, x = Expansion(graph, node), node.inputs[0]
    bent = expansion.make("LeakyRelu", expansion.make("Elu", x), alpha=SELU_SCALE_ALPHA / SELU_SCALE)
    return expansion.finish(expansion.make("Mul", bent, SELU_SCALE))


MOST_ROWS = 6
"""Dimensions that TensorFlow.js's types have."""


def _js_rows(node: Node) -> list[JsNode]:
    if (node.inputs[0].rank or 0) > MOST_ROWS:
        raise Declined(f"TensorFlow.js takes at most {MOST_ROWS} dimensions")
    return same_in_tfjs(node)


def _expand_rows(graph: Graph, node: Node) -> bool:
    """Over fewer dimensions: all but the last are rows."""
    value = node.inputs[0]
    if value.shape is None or len(value.shape) <= MOST_ROWS or isinstance(value.shape[-1], str):
        return False
    expansion = Expansion(graph, node)
    rows = expansion.make("Reshape", value, np.array([-1, value.shape[-1]], np.int32))
    whole = expansion.make("Shape", value, out_type=DType.INT32)
    return expansion.finish(expansion.make("Reshape", expansion.make(node.op, rows), whole))


def _expand_hard_swish(graph: Graph, node: Node) -> bool:
    expansion, x = Expansion(graph, node), node.inputs[0]
    gate = expansion.make("Relu6", expansion.make("AddV2", x, 3.0))
    return expansion.finish(expansion.make("Mul", x, expansion.make("Mul", gate, 1 / 6)))


def _expand_integer_bounds(low: int, high: int | None) -> Callable[[Graph, Node], bool]:
    """Of integers: Maximum and Minimum; nothing is below zero in an unsigned type."""

    def expand(graph: Graph, node: Node) -> bool:
        value, expansion = node.inputs[0], Expansion(graph, node)
        if not value.dtype.is_integer:
            return False
        signed = value.dtype.value.startswith("int")
        raised = expansion.make("Maximum", value, low) if signed else value
        if high is not None:
            return expansion.finish(expansion.make("Minimum", raised, high))
        return expansion.finish(raised if signed else expansion.make("Identity", value))

    return expand


_MOST_SLOPES = 1 << 18


def _expand_prelu(graph: Graph, node: Node) -> bool:
    """A slope for each element of the last axes; where their sizes are open or the slopes many, relu(x) + alpha * min(x, 0)."""
    expansion, (x, alpha), wanted = Expansion(graph, node), node.inputs, _own_slopes(node)
    sizes = [size for size in wanted if isinstance(size, int)]
    if alpha.constant is not None and len(sizes) == len(wanted) and math.prod(sizes) <= _MOST_SLOPES:
        array = alpha.constant.array()
        slopes = np.broadcast_to(array.reshape(array.shape[array.ndim - len(wanted) :]), sizes)
        return expansion.finish(expansion.make("PRelu", x, expansion.constant(np.ascontiguousarray(slopes), "slopes")))
    below = expansion.make("Mul", alpha, expansion.make("Minimum", x, 0.0))
    return expansion.finish(expansion.make("AddV2", expansion.make("Relu", x), below))


# -- the table -----------------------------------------------------------------------------------------------------


def _examples(tolerance: float = 1e-6, **attrs: Any) -> Callable[[], Iterator[Example]]:
    """Both sides of every bend, one and six dimensions."""

    def build() -> Iterator[Example]:
        yield Example((np.array([-20, -7, -3, -1, -0.5, 0, 0.5, 1, 3, 6, 7, 20], np.float32),), attrs, tolerance=tolerance)
        yield Example((sample(1, 2, 1, 3, 1, 2) * 3,), attrs, tolerance=tolerance, note="six dims")

    return build


def _examples_with_integers() -> Iterator[Example]:
    yield from _examples()()
    for dtype in (np.int32, np.int64, np.int8, np.int16):
        yield Example((np.array([[-9, -1, 0], [1, 6, 9]]).astype(dtype),), note=dtype.__name__)
    for unsigned in (np.uint8, np.uint16, np.uint32, np.uint64):
        yield Example((np.array([[0, 1, 5], [6, 9, 255]], unsigned),), note=unsigned.__name__)


def _examples_with_signed_integers() -> Iterator[Example]:
    yield from (each for each in _examples_with_integers() if each.inputs[0].dtype.kind != "u")


def _leaky_relu_examples() -> Iterator[Example]:
    yield from _examples()()
    yield from _examples(alpha=0.01)()


def _softmax_examples() -> Iterator[Example]:
    for shape in ((5,), (2, 5), (1, 2, 3, 4), (2, 1, 2, 1, 5)):
        yield Example((sample(*shape) * 4,), tolerance=2e-6, note=f"{len(shape)} dims")
    yield Example((np.array([[1000, 1001, -1000]], np.float32),), note="large")


def _prelu_examples() -> Iterator[Example]:
    x = sample(2, 3, 4)
    for note, alpha in (("channels", sample(1, 1, 4)), ("row", sample(4)), ("elements", sample(3, 4)), ("one", sample(1))):
        yield Example((x, alpha), constants=(1,), note=note)
    for axes, shape in (("first", (3, 1)), ("middle", (2, 1, 4)), ("outer", (1, 3, 1)), ("batch", (2, 1, 1))):
        yield Example((x, sample(*shape)), constants=(1,), note=f"slopes along {axes}")


def _activation(name: str, evaluate: Callable[[Node, Array], Array], **more: Any) -> OpSpec:
    return OpSpec(
        name=name,
        evaluate=evaluate,
        **{"elementwise": True, "infer": same_as_input, "to_tfjs": same_in_tfjs, "examples": _examples(), **more},
    )


SPECS = (
    _activation("Relu", _relu, to_tflite=_lite_relu, expand=_expand_integer_bounds(0, None), examples=_examples_with_integers),
    _activation(
        "Relu6",
        _clip(0, 6),
        to_tflite=_lite_between("RELU6", 0, 6),
        expand=_expand_integer_bounds(0, 6),
        examples=_examples_with_integers,
    ),
    _activation(
        "ReluN1To1",
        _clip(-1, 1),
        to_tflite=_lite_between("RELU_N1_TO_1", -1, 1),
        to_tfjs=_js_between(-1, 1),
        examples=_examples_with_signed_integers,
    ),
    _activation("Elu", _elu, to_tflite=LiteKernel("ELU", FLOATS)),
    _activation("Selu", _selu, expand=_expand_selu),
    _activation("LeakyRelu", _leaky_relu, attrs={"alpha": 0.2}, to_tflite=_lite_leaky_relu, examples=_leaky_relu_examples),
    _activation("Sigmoid", _sigmoid, to_tflite=LiteKernel("LOGISTIC", FLOATS)),
    _activation("Tanh", lambda _node, x: np.tanh(x), to_tflite=LiteKernel("TANH", FLOATS)),
    _activation("Softplus", _softplus, expand=_expand_softplus, examples=_softplus_examples),
    _activation("Softsign", _softsign, to_tfjs=None, expand=_expand_softsign),
    _activation(
        "Softmax",
        _softmax,
        elementwise=False,
        infer=_infer_rows,
        to_tflite=_lite_softmax,
        to_tfjs=_js_rows,
        expand=_expand_rows,
        examples=_softmax_examples,
    ),
    _activation(
        "LogSoftmax",
        _log_softmax,
        elementwise=False,
        infer=_infer_rows,
        to_tflite=LiteKernel("LOG_SOFTMAX", FLOATS),
        to_tfjs=_js_rows,
        expand=_expand_rows,
        examples=lambda: (*_softmax_examples(), Example((sample(1, 2, 1, 2, 1, 2, 3) * 4,), tolerance=2e-6, note="seven dims")),
    ),
    _activation("HardSwish", _hard_swish, to_tflite=LiteKernel("HARD_SWISH", FLOATS), to_tfjs=None, expand=_expand_hard_swish),
    OpSpec(
        name="PRelu",
        infer=_infer_prelu,
        evaluate=_prelu,
        to_tflite=_lite_prelu,
        to_tfjs=_js_prelu,
        expand=_expand_prelu,
        expands_for=("tfjs",),
        examples=_prelu_examples,
    ),
)
