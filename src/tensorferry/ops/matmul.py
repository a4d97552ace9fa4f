"""Matrix products: MatMul and BatchMatMulV2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Node, Shape, Typed, Value, format_shape
from tensorferry.ops.fused import FUSED_ACTIVATION_EXAMPLES, JS_FUSED_ACTIVATIONS, js_maybe_fused
from tensorferry.ops.products import expand_product
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import (
    LITE_ACTIVATIONS,
    WIDER_OR_BITS,
    Declined,
    Example,
    OpSpec,
    broadcast_shapes,
    lite_activation,
)
from tensorferry.ops.windows import require_float32
from tensorferry.targets import JsNode, LiteOp, Temp
from tensorferry.tensor import Array, DType, TransposedTensor

_TURNS = {"MatMul": ("transpose_a", "transpose_b"), "BatchMatMulV2": ("adj_x", "adj_y")}
"""Op -> the attributes that say which operand is transposed first."""

_LITE_OPERATORS = {"Relu": "RELU", "Relu6": "RELU6", "ReluN1To1": "RELU_N1_TO_1"}


def _turns(node: Node) -> tuple[bool, bool]:
    first, second = _TURNS[node.op]
    return bool(node[first]), bool(node[second])


def _sides(value: Value, turned: bool) -> tuple[Dim, Dim]:
    """Rows and columns of an operand as the product sees it."""
    if value.shape is None:
        return UNKNOWN_DIM, UNKNOWN_DIM
    if len(value.shape) < 2:
        raise Declined(f"an operand has rank {len(value.shape)}; a matrix has 2")
    rows, columns = value.shape[-2:]
    return (columns, rows) if turned else (rows, columns)


def _infer_product(node: Node) -> list[Typed]:
    one, other = node.inputs[:2]
    turn_one, turn_other = _turns(node)
    rows, inner = _sides(one, turn_one)
    also_inner, columns = _sides(other, turn_other)
    if isinstance(inner, int) and isinstance(also_inner, int) and inner != also_inner:
        raise Declined(f"{inner} columns do not meet {also_inner} rows")
    if node.op == "MatMul":
        if one.rank not in (None, 2) or other.rank not in (None, 2):
            raise Declined(f"its operands have ranks {one.rank} and {other.rank}, not 2")
        return [Typed(one.dtype, (rows, columns))]
    shape: Shape = None
    if one.shape is not None and other.shape is not None:
        outer = broadcast_shapes(one.shape[:-2], other.shape[:-2])
        assert outer is not None
        shape = (*outer, rows, columns)
    return [Typed(one.dtype, shape)]


def _evaluate_product(node: Node, one: Array, other: Array, bias: Array | None = None) -> Array:
    turn_one, turn_other = _turns(node)
    if one.ndim < 2 or other.ndim < 2:
        raise Declined(f"its operands have ranks {one.ndim} and {other.ndim}; a matrix has 2")
    dtype = one.dtype
    if dtype == np.float16:
        one, other = one.astype(np.float32), other.astype(np.float32)
    one = _adjoint(node, one) if turn_one else one
    other = _adjoint(node, other) if turn_other else other
    if one.shape[-1] != other.shape[-2]:
        raise Declined(f"{one.shape[-1]} columns do not meet {other.shape[-2]} rows")
    product: Array = np.matmul(one, other)
    if bias is not None:
        product += bias
    return product.astype(dtype, copy=False)


def _adjoint(node: Node, array: Array) -> Array:
    turned = np.swapaxes(array, -1, -2)
    return turned.conj() if node.op != "MatMul" and np.iscomplexobj(array) else turned


# -- TensorFlow Lite -----------------------------------------------------------------------------------------------


def _refuse_nothing(node: Node) -> None:
    """A sum of no products is 0; XNNPACK refuses it, and TensorFlow.js's WebAssembly leaves its memory as it was."""
    if _sides(node.inputs[0], _turns(node)[0])[1] == 0:
        raise Declined("there is nothing to sum")


def _lite_product(node: Node) -> Sequence[LiteOp]:
    """FULLY_CONNECTED when the second operand is a constant matrix, else BATCH_MATMUL."""
    require_float32(node)
    one, other = node.inputs[:2]
    turn_one, turn_other = _turns(node)
    _refuse_nothing(node)
    ranks = [2 if node.op == "MatMul" else each.rank for each in (one, other)]
    if None in ranks:
        if node.op == "MatMul" or len(node.inputs) > 2:
            raise Declined("the rank of an operand is not known")
        return _lite_batched(node, turn_one, turn_other)
    if other.constant is None or ranks[1] != 2 or turn_one:
        return _lite_batched(node, turn_one, turn_other)
    weights = other.constant if turn_other else TransposedTensor(other.constant, (1, 0))  # [out, in]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    keep = ranks[0] != 2
    options = {
        "fused_activation_function": lite_activation(node),
        "weights_format": "DEFAULT",
        "keep_num_dims": keep,
        "asymmetric_quantize_inputs": False,
    }
    return [LiteOp("FULLY_CONNECTED", (one, weights, bias), tuple(node.outputs), options, 5 if keep else 1)]


def _lite_batched(node: Node, turn_one: bool, turn_other: bool) -> Sequence[LiteOp]:
    output = node.output
    one, other = node.inputs[:2]
    if max(len(one.shape or ()), len(other.shape or ())) > 5:
        raise Declined("TFLite multiplies batches of at most five axes", attributes=f"rank={output.rank}")
    if one.constant is not None and other.constant is not None:
        raise Declined("both operands are constant")
    options = {"adj_x": turn_one, "adj_y": turn_other, "asymmetric_quantize_inputs": False}
    activation = node.get("activation")
    if len(node.inputs) == 2 and not activation:
        return [LiteOp("BATCH_MATMUL", (one, other), (output,), options)]
    product = Temp("product", output.dtype, output.shape)
    operators = [LiteOp("BATCH_MATMUL", (one, other), (product,), options)]
    if len(node.inputs) == 2:
        return [*operators, LiteOp(_LITE_OPERATORS[activation], (product,), (output,))]
    added = {"fused_activation_function": lite_activation(node), "pot_scale_int16": False}
    return [*operators, LiteOp("ADD", (product, node.inputs[2]), (output,), added)]


# -- TensorFlow.js -------------------------------------------------------------------------------------------------


def _refuse_crossed_batches(node: Node) -> None:
    """TensorFlow.js folds the batch axes into one before it broadcasts."""
    outer = [None if value.shape is None else value.shape[:-2] for value in node.inputs[:2]]
    if outer[0] == outer[1] or () in outer or any(each is not None and set(each) == {1} for each in outer):
        return
    if outer[0] is not None and outer[1] is not None and _stretches_in_front(*sorted((outer[0], outer[1]), key=len)):
        return
    raise Declined(
        "TensorFlow.js multiplies batches of equal sizes only, or one matrix with many",
        remedy="broadcast the operands first",
        attributes=f"batches={[format_shape(each) for each in outer]}",
    )


def _stretches_in_front(short: tuple[Dim, ...], long: tuple[Dim, ...]) -> bool:
    """Only the first of the axes broadcasts, so that counting batches modulo their number comes to the same."""
    facing = long[len(long) - len(short) :]
    return short[1:] == facing[1:] and (len(short) == len(long) or short[0] in (1, facing[0]))


def _js_product(node: Node) -> Sequence[JsNode]:
    require_float32(node)
    _refuse_nothing(node)
    other = node.inputs[1]
    turn_one, turn_other = _turns(node)
    attrs = {"T": node.output.dtype, "transpose_a": turn_one, "transpose_b": turn_other}
    columns = _sides(other, turn_other)[1]
    if node.get("activation") and len(node.inputs) == 2 and not isinstance(columns, int):
        raise Declined("the number of its columns is not known")
    return [js_maybe_fused(node, "_FusedMatMul", attrs, columns if isinstance(columns, int) else 0, node.output)]


def _js_batched(node: Node) -> Sequence[JsNode]:
    """A bias is added by an op of its own: the WebAssembly backend's _FusedMatMul adds it wrongly to batches."""
    require_float32(node)
    _refuse_nothing(node)
    _refuse_crossed_batches(node)
    output = node.output
    turn_one, turn_other = _turns(node)
    attrs = {"T": output.dtype, "adj_x": turn_one, "adj_y": turn_other}
    if len(node.inputs) == 2:
        return [JsNode(node.op, tuple(node.inputs), (output,), attrs)]
    product = Temp("product", output.dtype, output.shape)
    added = JsNode("AddV2", (product, node.inputs[2]), (output,), {"T": output.dtype})
    return [JsNode(node.op, tuple(node.inputs[:2]), (product,), attrs), added]


# -- examples ------------------------------------------------------------------------------------------------------


def _matmul_examples() -> Iterator[Example]:
    yield Example((sample(3, 5), sample(5, 4)), {}, (1,), note="constant weights")
    yield Example((sample(1, 5), sample(4, 5)), {"transpose_b": True}, (1,), note="constant weights, transposed")
    yield Example((sample(3, 5), sample(5, 4)), {}, (), note="both computed")
    yield Example((sample(3, 5), sample(4, 5)), {"transpose_b": True}, (), note="both computed, second transposed")
    yield Example((sample(5, 3), sample(5, 4)), {"transpose_a": True}, (1,), note="first transposed")
    yield Example((sample(5, 3), sample(4, 5)), {"transpose_a": True, "transpose_b": True}, (), note="both transposed")
    yield Example((sample(3, 5), sample(5, 4)), {}, (0,), note="first constant")
    yield Example((sample(3, 5), sample(5, 1)), {}, (1,), note="one column")
    for name, alpha in FUSED_ACTIVATION_EXAMPLES:
        yield Example((sample(3, 5), sample(5, 4), sample(4)), {"activation": name} | alpha, (1, 2), note=f"bias and {name}")
    yield Example((sample(3, 5), sample(5, 4), sample(4)), {}, (1, 2), note="bias")
    yield Example((sample(3, 5), sample(5, 4)), {"activation": "Relu"}, (1,), note="Relu without bias")
    yield Example((sample(3, 5), sample(5, 4), sample(4)), {"activation": "Relu6"}, (2,), note="both computed, bias and Relu6")
    yield Example((sample(3, 5), sample(5, 4)), {"activation": "Relu6"}, (), note="both computed, Relu6")
    yield Example((sample(0, 5), sample(5, 4)), {}, (1,), note="no rows")
    yield Example((sample(2, 0), sample(0, 3)), {}, (), note="nothing to sum")
    yield from whole_examples((3, 4), "transpose_a", "transpose_b")
    pair = (sample(3, 4) + 1j * sample(3, 4, seed=1), sample(2, 4) - 2j * sample(2, 4, seed=1))
    yield Example(tuple(each.astype(np.complex64) for each in pair), {"transpose_b": True}, (), note="complex")


def _whole(kind: type[np.integer], *shape: int) -> Array:
    """Whole numbers over all of their type's range, as far as int32 goes."""
    limits = np.iinfo(kind)
    low, high = max(limits.min, -(2**15)), min(limits.max, 2**15)
    return np.random.default_rng(shape).integers(low, high, shape).astype(kind)


def whole_examples(batched: tuple[int, ...], *turns: str) -> Iterator[Example]:
    """Products of integers, which wrap around."""
    *outer, rows, inner = batched
    for kind in (np.int32, np.int64):
        pair = (_whole(kind, *outer, rows, inner), _whole(kind, *outer, inner, 2))
        yield Example(pair, {}, (), note=kind.__name__)
    pair = (_whole(np.int32, *outer, inner, rows), _whole(np.int32, *outer, 2, inner))
    yield Example(pair, dict.fromkeys(turns, True), (1,), note="int32, both turned")


def _batch_examples() -> Iterator[Example]:
    yield Example((sample(2, 3, 5), sample(2, 5, 4)), {}, (), note="batches")
    yield Example((sample(2, 3, 5), sample(2, 4, 5)), {"adj_y": True}, (), note="second transposed")
    yield Example((sample(2, 5, 3), sample(2, 5, 4)), {"adj_x": True}, (1,), note="first transposed")
    yield Example((sample(2, 3, 5), sample(5, 4)), {}, (1,), note="constant matrix")
    yield Example((sample(2, 2, 3, 5), sample(4, 5)), {"adj_y": True}, (1,), note="constant matrix, transposed, rank 4")
    yield Example((sample(2, 1, 3, 5), sample(4, 5, 2)), {}, (), note="broadcast")
    yield Example((sample(3, 5), sample(5, 4)), {}, (), note="rank 2")
    yield Example((sample(2, 1, 1, 2, 3, 2), sample(1, 2, 1, 2, 2, 3)), {}, (), note="broadcast, rank 6")
    yield Example((sample(1, 2, 3, 5), sample(3, 2, 5, 4)), {}, (), note="broadcast in front")
    yield Example((sample(2, 2, 3, 5), sample(2, 5, 4)), {}, (), note="fewer batch axes")
    yield Example((sample(0, 3, 5), sample(0, 5, 4)), {}, (), note="no batches")
    yield Example((sample(2, 3, 0), sample(2, 0, 4)), {}, (), note="nothing to sum")
    yield from whole_examples((2, 3, 4), "adj_x", "adj_y")
    yield Example((_whole(np.int32, 2, 1, 2, 3), _whole(np.int32, 3, 3, 2)), {}, (), note="int32, broadcast")
    pair = (sample(2, 3, 4) + 1j * sample(2, 3, 4, seed=1), sample(2, 3, 2) - 2j * sample(2, 3, 2, seed=1))
    yield Example(tuple(each.astype(np.complex64) for each in pair), {"adj_x": True}, (), note="complex, adjoint")
    biased = (sample(2, 3, 5), sample(5, 4), sample(4))
    yield Example(biased, {"activation": "Relu"}, (1, 2), note="constant matrix, bias and Relu")
    yield Example((sample(2, 3, 5), sample(2, 5, 4), sample(4)), {}, (2,), note="batches and bias")


_LITE_FUSES = frozenset(LITE_ACTIVATIONS)

SPECS = (
    OpSpec(
        name="MatMul",
        attrs={"transpose_a": False, "transpose_b": False, "T": DType.FLOAT32},
        infer=_infer_product,
        evaluate=_evaluate_product,
        to_tflite=_lite_product,
        to_tfjs=_js_product,
        fuses={"tflite": _LITE_FUSES, "tfjs": JS_FUSED_ACTIVATIONS},
        takes_bias=True,
        expand=expand_product,
        widens=WIDER_OR_BITS,
        wraps=True,
        examples=_matmul_examples,
    ),
    OpSpec(
        name="BatchMatMulV2",
        aliases=("BatchMatMul",),
        attrs={"adj_x": False, "adj_y": False, "T": DType.FLOAT32},
        infer=_infer_product,
        evaluate=_evaluate_product,
        to_tflite=_lite_product,
        to_tfjs=_js_batched,
        fuses={"tflite": _LITE_FUSES},
        takes_bias=True,
        expand=expand_product,
        widens=WIDER_OR_BITS,
        wraps=True,
        examples=_batch_examples,
    ),
)
