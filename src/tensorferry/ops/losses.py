"""Losses with their gradients, and the product of vectors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import Graph, Node, Typed, Value
from tensorferry.ops.dims import merge_shapes
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec, broadcast_shapes
from tensorferry.tensor import Array, DType

# -- half the sum of squares ---------------------------------------------------------------------------------------


def _expand_l2_loss(graph: Graph, node: Node) -> bool:
    expansion = Expansion(graph, node)
    flat = expansion.make("Reshape", node.inputs[0], np.array([-1], np.int32))
    total = expansion.make("Sum", expansion.make("Square", flat), np.array([0], np.int32), keep_dims=False)
    return expansion.finish(expansion.make("Mul", total, 0.5))


def _l2_loss_examples() -> Iterator[Example]:
    yield Example((sample(2, 3),))
    yield Example((sample(2, 1, 3, 1, 2, 2),), note="six dims")
    yield Example((np.array(3, np.float32),), note="scalar")


# -- cross entropy -------------------------------------------------------------------------------------------------


def _log_softmax(x: Array) -> Array:
    below = x - x.max(axis=-1, keepdims=True)
    return np.asarray(below - np.log(np.exp(below).sum(axis=-1, keepdims=True)))


def _infer_dense(node: Node) -> list[Typed]:
    features, labels = node.inputs
    shape = broadcast_shapes(features.shape, labels.shape)
    if shape is not None and len(shape) != 2:
        raise Declined("it takes rows of classes: two dimensions")
    return [Typed(features.dtype, None if shape is None else shape[:1]), Typed(features.dtype, shape)]


def _evaluate_dense(_node: Node, features: Array, labels: Array) -> tuple[Array, Array]:
    logarithms = _log_softmax(features)
    return -np.sum(labels * logarithms, axis=-1), np.exp(logarithms) - labels


def _expand_dense(graph: Graph, node: Node) -> bool:
    expansion = Expansion(graph, node)
    return _finish_entropy(expansion, node.inputs[0], node.inputs[1])


def _finish_entropy(expansion: Expansion, features: Value, labels: Value) -> bool:
    """The loss of each row and its gradient: softmax less the labels."""
    weighted = expansion.make("Mul", labels, expansion.make("LogSoftmax", features))
    loss = expansion.make("Neg", expansion.make("Sum", weighted, np.array([1], np.int32), keep_dims=False))
    return expansion.finish(loss, expansion.make("Sub", expansion.make("Softmax", features), labels))


def _dense_examples() -> Iterator[Example]:
    labels = np.array([[0.1, 0.2, 0.7], [1, 0, 0]], np.float32)
    yield Example((sample(2, 3) * 3, labels), tolerance=3e-6)
    yield Example((sample(1, 3) * 3, labels), tolerance=3e-6, note="one row for all")


def _infer_sparse(node: Node) -> list[Typed]:
    features, labels = node.inputs
    if features.rank not in (2, None):
        raise Declined("it takes rows of classes: two dimensions")
    rows = merge_shapes(None if features.shape is None else features.shape[:1], labels.shape)
    return [Typed(features.dtype, rows), Typed(features.dtype, features.shape)]


def _evaluate_sparse(_node: Node, features: Array, labels: Array) -> tuple[Array, Array]:
    return _evaluate_dense(_node, features, np.eye(features.shape[1], dtype=features.dtype)[labels])


def _expand_sparse(graph: Graph, node: Node) -> bool:
    features, labels = node.inputs
    expansion = Expansion(graph, node)
    classes = features.shape[1] if features.shape is not None else "?"
    if isinstance(classes, str):
        return False
    one, zero = (np.array(number, features.dtype.numpy) for number in (1, 0))
    places = expansion.make("Cast", labels, DstT=DType.INT32)
    labels = expansion.make("OneHot", places, np.array(classes, np.int32), one, zero, axis=-1)
    return _finish_entropy(expansion, features, labels)


def _sparse_examples() -> Iterator[Example]:
    yield Example((sample(2, 3) * 3, np.array([2, 0], np.int32)), tolerance=3e-6)
    yield Example((sample(3, 2) * 3, np.array([1, 0, 1], np.int64)), tolerance=3e-6, note="int64")


# -- the product of vectors ----------------------------------------------------------------------------------------


def _infer_cross(node: Node) -> list[Typed]:
    one, other = node.inputs
    shape = merge_shapes(one.shape, other.shape)
    if shape is not None and (not shape or (isinstance(shape[-1], int) and shape[-1] != 3)):
        raise Declined("it multiplies vectors of three")
    return [Typed(one.dtype, shape)]


def _expand_cross(graph: Graph, node: Node) -> bool:
    expansion = Expansion(graph, node)
    axis = np.array(-1 if node.inputs[0].rank is None else node.inputs[0].rank - 1, np.int32)
    (a1, a2), (b1, b2) = (
        [expansion.make("GatherV2", each, np.array(order, np.int32), axis) for order in ([1, 2, 0], [2, 0, 1])]
        for each in node.inputs
    )
    return expansion.finish(expansion.make("Sub", expansion.make("Mul", a1, b2), expansion.make("Mul", a2, b1)))


def _cross_examples() -> Iterator[Example]:
    yield Example((sample(3), sample(3, seed=1)))
    yield Example((sample(2, 1, 4, 3), sample(2, 1, 4, 3, seed=1)), note="four dims")
    for dtype in (np.int32, np.uint8):
        yield Example((np.array([[1, 2, 3]], dtype), np.array([[7, 5, 1]], dtype)), note=dtype.__name__)


SPECS = (
    OpSpec(
        name="L2Loss",
        infer=lambda node: [Typed(node.inputs[0].dtype, ())],
        evaluate=lambda _node, x: np.asarray((x * x).sum(dtype=x.dtype) / x.dtype.type(2)),
        expand=_expand_l2_loss,
        examples=_l2_loss_examples,
    ),
    OpSpec(
        name="SoftmaxCrossEntropyWithLogits",
        infer=_infer_dense,
        evaluate=_evaluate_dense,
        expand=_expand_dense,
        examples=_dense_examples,
    ),
    OpSpec(
        name="SparseSoftmaxCrossEntropyWithLogits",
        infer=_infer_sparse,
        evaluate=_evaluate_sparse,
        expand=_expand_sparse,
        examples=_sparse_examples,
    ),
    OpSpec(
        name="Cross",
        wraps=True,
        infer=_infer_cross,
        evaluate=lambda _node, a, b: a[..., [1, 2, 0]] * b[..., [2, 0, 1]] - a[..., [2, 0, 1]] * b[..., [1, 2, 0]],
        expand=_expand_cross,
        examples=_cross_examples,
    ),
)
