"""Comparing, logic, and choosing between two values element by element."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Graph, Node, Typed, format_shape
from tensorferry.ops.dims import merge_shapes
from tensorferry.ops.elementwise import expand_unsigned_order
from tensorferry.ops.kernels import BOOLS, NUMBERS, LiteKernel
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import UNSIGNED, WIDER, Declined, Example, OpSpec, broadcast_shapes, same_in_tfjs
from tensorferry.ops.string_choices import expand_text_choice, expand_text_equality
from tensorferry.targets import JsNode, LiteOp, Ref, Temp
from tensorferry.tensor import Array, ArrayTensor, DType

# -- comparing and logic -------------------------------------------------------------------------------------------


def _infer_pair(node: Node) -> list[Typed]:
    one, other = node.inputs
    if one.dtype is not other.dtype:
        raise Declined(f"its operands differ in type: {one.dtype} and {other.dtype}")
    return [Typed(DType.BOOL, broadcast_shapes(one.shape, other.shape))]


def _comparison_examples(*more: type[np.generic]) -> Callable[[], Iterator[Example]]:
    dtypes: tuple[type[np.generic], ...] = (np.int32, np.int64, *more)

    def build() -> Iterator[Example]:
        x = np.array([[1, 2, -3], [0, 5, 2]], np.float32)
        yield Example((x, x[:, ::-1].copy()))
        yield Example((x, np.array([0, 2, 2], np.float32)), constants=(1,), note="row")
        yield Example((x.reshape(1, 2, 1, 1, 3), x.reshape(3, 1, 1, 2, 1)), note="five dims")
        yield Example((np.array([np.nan, np.inf, 1], np.float32), np.array([np.nan, np.inf, np.nan], np.float32)), note="NaN")
        for dtype in dtypes:
            yield Example((x.astype(dtype), np.array(2).astype(dtype)), note=dtype.__name__)
        if not more:
            return
        for narrow in (np.int8, np.int16, np.uint8, np.uint16, np.uint32):
            limits = np.iinfo(np.dtype(narrow).name)
            most = min(limits.max, 2**31 - 1)
            ends = np.array([[most, limits.min, 5, most - 1]], narrow)
            yield Example((ends, np.array([[most], [limits.min], [5]], narrow)), note=narrow.__name__)
        unsigned = np.array([[2**32 - 1, 2**31, 5, 0]], np.uint32)
        yield Example((unsigned, np.array([[2**31 - 1], [2**31]], np.uint32)), note="upper half of uint32")
        yield Example((np.array([7, 5, 6], np.uint64), np.array(6, np.uint64)), note="uint64")

    return build


def _logic_examples() -> Iterator[Example]:
    yield Example((np.array([[True, True], [False, False]]), np.array([[True, False], [True, False]])))
    yield Example((np.array([[True], [False]]), np.array([True, False, True])), note="both stretch")


def _pair(
    name: str,
    lite_name: str,
    dtypes: frozenset[DType],
    compute: Callable[..., Array],
    examples: Callable[[], Iterator[Example]],
    attrs: Mapping[str, bool] | None = None,
) -> OpSpec:
    ordered = name.startswith(("Less", "Greater"))
    return OpSpec(
        name=name,
        attrs=attrs or {},
        infer=_infer_pair,
        evaluate=lambda _node, x, y: compute(x, y),
        elementwise=True,
        to_tflite=LiteKernel(lite_name, dtypes),
        to_tfjs=same_in_tfjs,
        expand=None if dtypes is BOOLS else expand_unsigned_order,
        by_width=UNSIGNED if ordered else False,
        widens={} if dtypes is BOOLS else WIDER,
        examples=examples,
    )


def _equality(name: str, lite_name: str, compute: Callable[..., Array]) -> OpSpec:
    """As `_pair`; booleans and strings can be told apart too."""
    kernel = LiteKernel(lite_name, NUMBERS | BOOLS | {DType.STRING}, {DType.STRING: 3})
    spec = _pair(name, lite_name, NUMBERS, compute, _equality_examples, {"incompatible_shape_error": True})
    return replace(spec, to_tflite=kernel, to_tfjs=_js_equality, expand=_expand_equality)


def _expand_equality(graph: Graph, node: Node) -> bool:
    return (expand_text_equality if node.inputs[0].dtype is DType.STRING else expand_unsigned_order)(graph, node)


def _js_equality(node: Node) -> list[JsNode]:
    """The WebAssembly backend, which carries no text, compares where it lies; a table tells constants on every backend."""
    if node.inputs[0].dtype is DType.STRING and any(value.constant is not None for value in node.inputs):
        raise Declined("with constants text is told by a table")
    return same_in_tfjs(node)


def _equality_examples() -> Iterator[Example]:
    yield from _comparison_examples(np.bool_)()
    words = np.array([[b"a", b"bc"], [b"", b"bc"]], object)
    yield Example((words, words[:, ::-1].copy()), note="string")
    yield Example((words, np.array([b"bc"], object)), constants=(1,), note="strings and one")
    yield Example((np.array(b"", object), words), constants=(0,), note="one and strings")
    yield Example((words[0], np.array([[b"bc"], [b"a"], [b"bc"]], object)), constants=(1,), note="each of some strings")


# -- choosing ------------------------------------------------------------------------------------------------------


def _infer_select(node: Node) -> list[Typed]:
    """Both choices have one shape; the condition has it too, or is a scalar, or a vector along the first axis."""
    condition, x, y = node.inputs
    shape = merge_shapes(x.shape, y.shape)
    if condition.shape is not None and shape is not None and len(condition.shape) == len(shape):
        shape = merge_shapes(shape, condition.shape)
    return [Typed(x.dtype, shape)]


def _infer_select_v2(node: Node) -> list[Typed]:
    condition, x, y = node.inputs
    return [Typed(x.dtype, broadcast_shapes(condition.shape, broadcast_shapes(x.shape, y.shape)))]


def _select(_node: Node, condition: Array, x: Array, y: Array) -> Array:
    if condition.ndim == 1 < x.ndim:
        condition = condition.reshape(-1, *(1,) * (x.ndim - 1))
    return np.asarray(np.where(condition, x, y))


def _lite_select(name: str) -> Callable[[Node], list[LiteOp]]:
    dtypes = frozenset(DType) - {DType.STRING, DType.COMPLEX64, DType.COMPLEX128, DType.RESOURCE, DType.VARIANT, DType.BFLOAT16}
    kernel = LiteKernel(name, dtypes, most_dims=6, data=1)

    def lower(node: Node) -> list[LiteOp]:
        kernel.check(node)
        ranks = {value.rank for value in node.inputs}
        if name == "SELECT":
            version = 3 if 5 in ranks else 2 if node.inputs[1].dtype is DType.INT8 else 1
        else:
            version = 2 if node.inputs[1].dtype is DType.UINT32 else 1
        return [LiteOp(name, tuple(node.inputs), tuple(node.outputs), {}, version)]

    return lower


def _js_select(node: Node) -> list[JsNode]:
    """TensorFlow.js broadcasts the condition from the last axis; a vector goes along the first here."""
    condition, x = node.inputs[:2]
    if condition.rank == 0 or (condition.rank is not None and condition.rank == x.rank):
        return _js_choose(condition, node)
    if condition.rank != 1 or x.rank is None:
        raise Declined(f"the number of dimensions of its operands is not known: {format_shape(condition.shape)}")
    column = Temp("condition", DType.BOOL, (UNKNOWN_DIM, *(1,) * (x.rank - 1)))
    target = ArrayTensor(np.array((-1, *(1,) * (x.rank - 1)), np.int32))
    reshape = JsNode("Reshape", (condition, target), (column,), {"T": DType.BOOL, "Tshape": DType.INT32})
    return [reshape, *_js_choose(column, node)]


def _js_choose(condition: Ref, node: Node) -> list[JsNode]:
    """The WebAssembly backend reads beyond the end of booleans, so these are chosen by logic."""
    _, x, y = node.inputs
    if x.dtype in (DType.COMPLEX64, DType.COMPLEX128, DType.STRING):
        raise Declined(f"TensorFlow.js does not choose between {x.dtype}")
    if x.dtype is not DType.BOOL:
        return [JsNode("SelectV2", (condition, x, y), tuple(node.outputs), {"T": x.dtype})]
    otherwise, from_x, from_y = (Temp(label, DType.BOOL, node.output.shape) for label in ("otherwise", "from_x", "from_y"))
    return [
        JsNode("LogicalNot", (condition,), (otherwise,)),
        JsNode("LogicalAnd", (condition, x), (from_x,)),
        JsNode("LogicalAnd", (otherwise, y), (from_y,)),
        JsNode("LogicalOr", (from_x, from_y), tuple(node.outputs)),
    ]


def _select_examples() -> Iterator[Example]:
    x, y = sample(2, 3), sample(2, 3, seed=1)
    yield Example((x > 0, x, y))
    yield Example((np.array([True, False]), x, y), note="vector")
    yield Example((np.array(True), x, y), note="scalar")
    yield Example((np.array([True, False]), sample(2, 1, 3, 1, 2), sample(2, 1, 3, 1, 2, seed=1)), note="five dims")
    for dtype in (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64, np.float64):
        yield Example((x > 0, np.abs(x * 9).astype(dtype), np.abs(y * 9).astype(dtype)), note=dtype.__name__)
    yield Example((x > 0, x > y, y > 0), note="bool")
    words = np.array([[b"a", b"bc"], [b"", b"d"]], object)
    yield Example((np.array([True, False]), words, words[::-1].copy()), note="string", declines={"tflite": "string"})


def _select_v2_examples() -> Iterator[Example]:
    x, y = sample(2, 3), sample(2, 3, seed=1)
    yield Example((x > 0, x, y))
    yield Example((x[:, :1] > 0, x, y[0]), note="all stretch")
    yield Example((np.array(False), x, np.array(7, np.float32)), constants=(2,), note="scalars")
    yield Example((sample(2, 1, 3, 1, 2) > 0, sample(1, 2, 1, 2, 1), sample(2)), note="five dims")
    for dtype in (np.int8, np.int32, np.int64, np.uint8, np.uint16, np.uint32):
        yield Example((x > 0, np.abs(x * 9).astype(dtype), np.array([4], dtype)), note=dtype.__name__)
    yield Example((x > 0, x[:1] > y[:1], y > 0), note="bool")
    words = np.array([[b"a", b"bc", b""]], object)
    yield Example((x > 0, words, np.array([[b"no"]], object)), note="string", declines={"tflite": "string"})


SPECS = (
    _pair("Greater", "GREATER", NUMBERS, np.greater, _comparison_examples()),
    _pair("GreaterEqual", "GREATER_EQUAL", NUMBERS, np.greater_equal, _comparison_examples()),
    _pair("Less", "LESS", NUMBERS, np.less, _comparison_examples(np.int8)),
    _pair("LessEqual", "LESS_EQUAL", NUMBERS, np.less_equal, _comparison_examples()),
    _equality("Equal", "EQUAL", np.equal),
    _equality("NotEqual", "NOT_EQUAL", np.not_equal),
    _pair("LogicalAnd", "LOGICAL_AND", BOOLS, np.logical_and, _logic_examples),
    _pair("LogicalOr", "LOGICAL_OR", BOOLS, np.logical_or, _logic_examples),
    OpSpec(
        name="LogicalNot",
        elementwise=True,
        infer=lambda node: [Typed(DType.BOOL, node.inputs[0].shape)],
        evaluate=lambda _node, x: np.logical_not(x),
        to_tflite=LiteKernel("LOGICAL_NOT", BOOLS),
        to_tfjs=same_in_tfjs,
        examples=lambda: (Example((np.array([[True], [False]]),)),),
    ),
    OpSpec(
        name="Select",
        infer=_infer_select,
        evaluate=_select,
        to_tflite=_lite_select("SELECT"),
        to_tfjs=_js_select,
        expand=expand_text_choice,
        expands_for=("tfjs",),
        examples=_select_examples,
    ),
    OpSpec(
        name="SelectV2",
        elementwise=True,
        infer=_infer_select_v2,
        evaluate=lambda _node, condition, x, y: np.where(condition, x, y),
        to_tflite=_lite_select("SELECT_V2"),
        to_tfjs=lambda node: _js_choose(node.inputs[0], node),
        expand=expand_text_choice,
        expands_for=("tfjs",),
        examples=_select_v2_examples,
    ),
)
