"""Places in an order: the n-th smallest element, whether a target is among the first, and roughly the largest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType

# -- the n-th element ------------------------------------------------------------------------------------------------


def _infer_nth(node: Node) -> list[Typed]:
    value = node.inputs[0]
    return [Typed(value.dtype, None if value.shape is None else value.shape[:-1])]


def _evaluate_nth(node: Node, array: Array, place: Array) -> Array:
    ordered = np.sort(array, axis=-1)
    picked: Array = ordered[..., -1 - int(place) if node["reverse"] else int(place)]
    return picked


def _expand_nth(graph: Graph, node: Node) -> bool:
    """The last of so many largest ones."""
    value, place = node.inputs
    if value.shape is None or place.constant is None:
        return False
    number, size = int(place.constant.array()), value.shape[-1]
    if node["reverse"]:
        count = number + 1
    elif isinstance(size, int):
        count = size - number
    else:
        return False
    expansion = Expansion(graph, node)
    largest = expansion.make_node("TopKV2", value, np.array(count, np.int32)).outputs[0]
    axis = np.asarray(len(value.shape) - 1, np.int32)
    return expansion.finish(expansion.make("GatherV2", largest, np.asarray(count - 1, np.int32), axis))


def _nth_examples() -> Iterator[Example]:
    for reverse in (False, True):
        yield Example((sample(3, 7), np.array(2, np.int32)), {"reverse": reverse}, constants=(1,))
    yield Example((np.array([5, 1, 4, 4, 2], np.int32), np.array(3, np.int32)), {"reverse": True}, constants=(1,))


# -- targets among the first -----------------------------------------------------------------------------------------


def _infer_among(node: Node) -> list[Typed]:
    return [Typed(DType.BOOL, node.inputs[1].shape)]


def _evaluate_among(node: Node, predictions: Array, targets: Array, *count: Array) -> Array:
    wanted = int(count[0]) if count else node["k"]
    inside = (targets >= 0) & (targets < predictions.shape[1])
    own = predictions[np.arange(len(targets)), np.where(inside, targets, 0)]
    better = (predictions > own[:, None]).sum(axis=1)
    among: Array = inside & np.isfinite(predictions).all(axis=1) & (better < wanted)
    return among


def _expand_among(graph: Graph, node: Node) -> bool:
    """Fewer than k predictions of the row are larger than the target's, all are finite, and there is such a target."""
    predictions, targets = node.inputs[:2]
    if predictions.shape is None or not isinstance(predictions.shape[1], int):
        return False
    expansion = Expansion(graph, node)
    count: Value | Array = node.inputs[2] if len(node.inputs) > 2 else np.asarray(node["k"], np.int32)
    last, kind = np.array([1], np.int32), targets.dtype.numpy
    column = expansion.make("ExpandDims", targets, np.asarray(1, np.int32))
    chosen = expansion.make("Equal", column, np.arange(predictions.shape[1], dtype=kind)[None])
    share = expansion.make("SelectV2", chosen, predictions, np.zeros((), np.float32))
    own = expansion.make("Sum", share, last, keep_dims=True)
    better = expansion.make("Cast", expansion.make("Greater", predictions, own), DstT=DType.INT32)
    number = expansion.make("Sum", better, last)
    few = expansion.make("Less", number, expansion.make("Cast", count, DstT=DType.INT32))
    inside = expansion.make("Any", chosen, last)
    finite = expansion.make("All", expansion.make("IsFinite", predictions), last)
    return expansion.finish(expansion.make("LogicalAnd", expansion.make("LogicalAnd", few, inside), finite))


def _among_inputs() -> Iterator[tuple[Array, Array]]:
    predictions = sample(6, 5)
    predictions[3, 1] = np.inf
    for kind in (np.int32, np.int64):
        yield predictions, np.array([0, 1, 4, 2, 5, -1], kind)
    yield np.array([[1, 1, 0, 2]] * 4, np.float32), np.array([0, 1, 2, 3], np.int32)


def _among_examples() -> Iterator[Example]:
    for predictions, targets in _among_inputs():
        yield Example((predictions, targets), {"k": 2})


def _among_v2_examples() -> Iterator[Example]:
    for predictions, targets in _among_inputs():
        yield Example((predictions, targets, np.array(2, targets.dtype)), constants=(2,))


# -- roughly the largest ---------------------------------------------------------------------------------------------


def _infer_approximate(node: Node) -> list[Typed]:
    value = node.inputs[0]
    if value.shape is None:
        return [Typed(value.dtype, None), Typed(DType.INT32, None)]
    shape = list(value.shape)
    shape[node["reduction_dimension"]] = node["k"]
    return [Typed(value.dtype, tuple(shape)), Typed(DType.INT32, tuple(shape))]


def _evaluate_approximate(node: Node, array: Array) -> tuple[Array, Array]:
    axis = node["reduction_dimension"]
    order = np.argsort(-array, axis=axis, kind="stable")
    places = np.take(order, np.arange(node["k"]), axis=axis)
    return np.take_along_axis(array, places, axis=axis), places.astype(np.int32)


def _expand_approximate(graph: Graph, node: Node) -> bool:
    """Exactly the largest, which is allowed."""
    value = node.inputs[0]
    if not node["is_max_k"] or value.shape is None or node["reduction_dimension"] not in (-1, len(value.shape) - 1):
        return False
    if node["aggregate_to_topk"] is False:
        raise Declined("how many it gives depends on the device (aggregate_to_topk=False)")
    expansion = Expansion(graph, node)
    return expansion.finish(*expansion.make_node("TopKV2", value, np.asarray(node["k"], np.int32)).outputs)


def _approximate_examples() -> Iterator[Example]:
    yield Example((sample(2, 9),), {"k": 3})


SPECS = (
    OpSpec(
        name="NthElement",
        attrs={"reverse": False},
        infer=_infer_nth,
        evaluate=_evaluate_nth,
        expand=_expand_nth,
        examples=_nth_examples,
    ),
    OpSpec(
        name="InTopK", attrs={"k": 1}, infer=_infer_among, evaluate=_evaluate_among, expand=_expand_among, examples=_among_examples
    ),
    OpSpec(name="InTopKV2", infer=_infer_among, evaluate=_evaluate_among, expand=_expand_among, examples=_among_v2_examples),
    OpSpec(
        name="ApproxTopK",
        attrs={"k": 1, "reduction_dimension": -1, "is_max_k": True, "aggregate_to_topk": True},
        infer=_infer_approximate,
        evaluate=_evaluate_approximate,
        expand=_expand_approximate,
        examples=_approximate_examples,
    ),
)
