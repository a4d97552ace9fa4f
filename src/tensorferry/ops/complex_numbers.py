"""Making complex numbers of real ones and taking them apart: Complex, Real, Imag, ComplexAbs, Angle, Conj, ConjugateTranspose.

TensorFlow Lite has no operator that joins two parts; a last axis of two floats read as one complex number (BITCAST) is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tensorferry.ir import Graph, Node, Typed
from tensorferry.ops.complex_parts import COMPLEX, Pair, Parts
from tensorferry.ops.samples import sample
from tensorferry.ops.shape import infer_transpose
from tensorferry.ops.spec import Declined, Example, OpSpec, broadcast_shapes, lite, same_as_input, same_in_tfjs
from tensorferry.targets import JsNode, LiteOp, Temp
from tensorferry.tensor import Array, DType

PART = {DType.COMPLEX64: DType.FLOAT32, DType.COMPLEX128: DType.FLOAT64}
WHOLE = {part: whole for whole, part in PART.items()}


def complex_sample(*shape: int, seed: int = 0) -> Array:
    """Normally distributed complex64, always the same."""
    return (sample(*shape, seed=seed) + 1j * sample(*shape, seed=seed + 1)).astype(np.complex64)


def _infer_complex(node: Node) -> list[Typed]:
    one, other = node.inputs
    return [Typed(WHOLE.get(one.dtype, DType.COMPLEX64), broadcast_shapes(one.shape, other.shape))]


def _evaluate_complex(node: Node, one: Array, other: Array) -> Array:
    whole = np.empty(np.broadcast_shapes(one.shape, other.shape), node.outputs[0].dtype.numpy)
    whole.real, whole.imag = one, other
    return whole


def _infer_part(node: Node) -> list[Typed]:
    value = node.inputs[0]
    return [Typed(PART.get(value.dtype, value.dtype), value.shape)]


def _lite_complex(node: Node) -> Sequence[LiteOp]:
    one, other = node.inputs
    if one.shape is None or one.shape != other.shape:
        raise Declined("its parts must have one shape")
    if one.constant is not None and other.constant is not None:
        raise Declined("both parts are constant")
    pairs = Temp("pairs", one.dtype, (*one.shape, 2))
    packed = LiteOp("PACK", (one, other), (pairs,), {"values_count": 2, "axis": len(one.shape)})
    return [packed, LiteOp("BITCAST", (pairs,), tuple(node.outputs))]


def _js_complex(node: Node) -> Sequence[JsNode]:
    if node.inputs[0].shape != node.inputs[1].shape:
        raise Declined("its parts must have one shape")
    return same_in_tfjs(node)


def _expand_complex(graph: Graph, node: Node) -> bool:
    """Parts that broadcast are stretched first."""
    parts = Parts(graph, node)
    one, other = node.inputs
    if one.shape == other.shape:
        return False
    return parts.give(Pair(*(parts.do("AddV2", a, parts.do("ZerosLike", b)) for a, b in ((one, other), (other, one)))))


def _lite_part(name: str) -> Callable[[Node], Sequence[LiteOp]]:
    def lower(node: Node) -> Sequence[LiteOp]:
        if node.inputs[0].dtype not in COMPLEX:
            raise Declined("its input is real")
        return lite(name, node)

    return lower


def _js_part(node: Node) -> Sequence[JsNode]:
    if node.inputs[0].dtype not in COMPLEX:
        raise Declined("its input is real")
    return same_in_tfjs(node)


def _expand_real(graph: Graph, node: Node) -> bool:
    """Of a real value."""
    if node.inputs[0].dtype in COMPLEX:
        return False
    parts = Parts(graph, node)
    return parts.finish(parts.make("Identity" if node.op == "Real" else "ZerosLike", node.inputs[0]))


def _expand_absolute(graph: Graph, node: Node) -> bool:
    parts = Parts(graph, node)
    return parts.finish(parts.absolute(parts.split(node.inputs[0])))


def _expand_angle(graph: Graph, node: Node) -> bool:
    parts = Parts(graph, node)
    return parts.finish(parts.angle(parts.split(node.inputs[0])))


def _expand_conjugate(graph: Graph, node: Node) -> bool:
    parts = Parts(graph, node)
    value = node.inputs[0]
    if value.dtype not in COMPLEX:
        return parts.finish(parts.make("Identity", value))
    return parts.give(parts.conjugate(parts.split(value)))


def _expand_transposed(graph: Graph, node: Node) -> bool:
    parts = Parts(graph, node)
    value, order = node.inputs
    if value.dtype not in COMPLEX:
        return parts.finish(parts.make("Transpose", value, order))
    pair = parts.conjugate(parts.split(value))
    return parts.give(Pair(parts.make("Transpose", pair.re, order), parts.make("Transpose", parts.imaginary(pair), order)))


# -- examples ------------------------------------------------------------------------------------------------------


def _join_examples() -> Iterator[Example]:
    yield Example((sample(2, 3), sample(2, 3, seed=1)), note="matrices")
    yield Example((sample(), sample(seed=1)), note="scalars")
    yield Example((sample(2, 3), sample(3, seed=1)), note="broadcast")
    yield Example((sample(0, 3), sample(0, 3)), note="none")
    doubles = (sample(2).astype(np.float64), sample(2, seed=1).astype(np.float64))
    yield Example(doubles, {"T": DType.FLOAT64, "Tout": DType.COMPLEX128}, note="double")


def _part_examples() -> Iterator[Example]:
    yield Example((complex_sample(2, 3),), note="a matrix")
    yield Example((complex_sample(2, 1, 2, 1, 2),), note="rank 5")
    double = complex_sample(3).astype(np.complex128)
    yield Example((double,), {"T": DType.COMPLEX128, "Tout": DType.FLOAT64}, note="double")


def _conjugate_examples() -> Iterator[Example]:
    yield Example((complex_sample(2, 3),), note="a matrix")
    yield Example((complex_sample(),), note="a scalar")


def _transposed_examples() -> Iterator[Example]:
    yield Example((complex_sample(2, 3, 4), np.array([2, 0, 1], np.int32)), {}, (1,), note="complex")
    yield Example((sample(2, 3), np.array([1, 0], np.int32)), {}, (1,), note="real")


def _evaluate_transposed(_node: Node, x: Array, order: Array) -> Array:
    turned: Array = np.conj(np.transpose(x, order))
    return turned


def _part_spec(name: str, lite_name: str, evaluate: Callable[[Array], Array], expand: Callable[[Graph, Node], bool]) -> OpSpec:
    return OpSpec(
        name=name,
        attrs={"T": DType.COMPLEX64, "Tout": DType.FLOAT32},
        infer=_infer_part,
        evaluate=lambda _node, x: np.asarray(evaluate(x)),
        to_tflite=_lite_part(lite_name) if lite_name else None,
        to_tfjs=_js_part if lite_name else None,
        expand=expand,
        examples=_part_examples,
    )


SPECS = (
    OpSpec(
        name="Complex",
        attrs={"T": DType.FLOAT32, "Tout": DType.COMPLEX64},
        infer=_infer_complex,
        evaluate=_evaluate_complex,
        to_tflite=_lite_complex,
        to_tfjs=_js_complex,
        expand=_expand_complex,
        examples=_join_examples,
    ),
    _part_spec("Real", "REAL", np.real, _expand_real),
    _part_spec("Imag", "IMAG", np.imag, _expand_real),
    _part_spec("ComplexAbs", "", np.abs, _expand_absolute),
    _part_spec("Angle", "", np.angle, _expand_angle),
    OpSpec(
        name="Conj",
        attrs={"T": DType.COMPLEX64},
        infer=same_as_input,
        evaluate=lambda _node, x: np.conj(x),
        expand=_expand_conjugate,
        examples=_conjugate_examples,
    ),
    OpSpec(
        name="ConjugateTranspose",
        infer=infer_transpose,
        evaluate=_evaluate_transposed,
        expand=_expand_transposed,
        examples=_transposed_examples,
    ),
)
