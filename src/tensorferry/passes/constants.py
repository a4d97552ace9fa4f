"""Values that can be computed now."""

from __future__ import annotations

import logging
import math

import numpy as np

from tensorferry import ops
from tensorferry.errors import FerryError
from tensorferry.ir import Graph, Node
from tensorferry.passes.rewriting import SMALL_BYTES, decline, discard, for_each_node, integers, replace_by_constant
from tensorferry.tensor import ArrayTensor, CastTensor, DType, ReshapedTensor, Tensor, TransposedTensor

log = logging.getLogger(__name__)

LARGEST_RESULT = 256 << 20
"""Bytes of a result that is computed and held; a small file can claim constants of any size."""

WIDENING = 4
"""A cast may make a constant this many times larger: int8 weights that the model itself widens to float32."""


def fold_constants(graph: Graph) -> int:
    """Compute pure nodes over constants, unless the result would outgrow what it is made from.

    Large weights that are only reshaped, transposed or cast become views; nothing is copied.
    """
    return for_each_node(graph, _fold)


def _fold(graph: Graph, node: Node) -> int:
    if _is_nothing(node):
        replace_by_constant(graph, node, ArrayTensor(np.empty(node.output.static_shape or (), node.output.dtype.numpy)))
        return 1
    if node.op == "Const" or not node.inputs or not node.outputs or any(value.constant is None for value in node.inputs):
        return 0
    spec = ops.find(node.op)
    if spec is None or not spec.pure or any(True for _nested in node.graphs()):
        return decline(log, node, "its inputs are constant, but it is not known to be a pure function")
    view = _view(node)
    if view is not None:
        replace_by_constant(graph, node, view)
        return 1
    if spec.evaluate is None:
        return decline(log, node, "its inputs are constant, but nothing here can evaluate it")
    return _evaluate(graph, node)


def _is_nothing(node: Node) -> bool:
    """Whether the result has no elements: runtimes stumble over some ways to compute that."""
    spec = ops.find(node.op)
    if node.op == "Const" or spec is None or not spec.pure or len(node.outputs) != 1:
        return False
    value = node.output
    return value.static_shape is not None and 0 in value.static_shape and value.dtype in _HELD


_HELD = frozenset(DType) - {DType.STRING, DType.BFLOAT16, DType.INT4, DType.RESOURCE, DType.VARIANT, DType.UNKNOWN}


def _view(node: Node) -> Tensor | None:
    """A lazy form of the result over a large first input."""
    base = node.inputs[0].constant
    shape = node.outputs[0].static_shape
    if base is None or base.nbytes <= SMALL_BYTES or shape is None or node.get("activation"):
        return None
    if node.op in ("Reshape", "Squeeze", "ExpandDims"):
        return ReshapedTensor(base, shape)
    if node.op == "Transpose":
        permutation = integers(node.inputs[1])
        return None if permutation is None else transposed(base, [axis % len(shape) for axis in permutation])
    if node.op == "Cast":
        return _cast(base, node.outputs[0].dtype)
    return base if node.op == "Identity" else None


def transposed(base: Tensor, permutation: list[int] | tuple[int, ...]) -> Tensor:
    """The base's axes permuted: in place if that moves nothing, as an array if small, else as a view."""
    shape = [base.shape[axis] for axis in permutation]
    if [axis for axis in permutation if base.shape[axis] != 1] == [axis for axis in range(len(shape)) if base.shape[axis] != 1]:
        return base if tuple(shape) == base.shape else ReshapedTensor(base, shape)
    if isinstance(base, TransposedTensor):
        return transposed(base.base, [base.permutation[axis] for axis in permutation])
    view = TransposedTensor(base, permutation)
    return ArrayTensor(view.array().copy(), base.dtype) if base.nbytes <= SMALL_BYTES else view


def _cast(base: Tensor, dtype: DType) -> Tensor | None:
    simple = base.dtype not in (DType.STRING, DType.INT4) and dtype not in (DType.STRING, DType.INT4, DType.BFLOAT16)
    widened = dtype.numpy.itemsize > WIDENING * base.dtype.numpy.itemsize if simple else True
    return None if widened else CastTensor(base, dtype)


def _evaluate(graph: Graph, node: Node) -> int:
    sizes = [value.static_shape for value in node.outputs]
    if any(size is None for size in sizes) or any(value.dtype in (DType.RESOURCE, DType.VARIANT) for value in node.outputs):
        return decline(log, node, "its inputs are constant, but the size of its result is not known before")
    made = sum(math.prod(value.static_shape or ()) * value.dtype.numpy.itemsize for value in node.outputs)
    given = sum(value.constant.nbytes for value in node.inputs if value.constant is not None)
    if made > min(given + SMALL_BYTES, LARGEST_RESULT):
        return decline(log, node, f"its inputs are constant, but {given} bytes would become {made}")
    tensors = [value.constant for value in node.inputs if value.constant is not None]
    try:
        arrays = ops.evaluate(node, [tensor.array() for tensor in tensors])
    except FerryError as refusal:
        return decline(log, node, f"its inputs are constant, but it cannot be evaluated: {refusal.what}")
    finally:
        for tensor in tensors:
            tensor.release()
    if len(node.outputs) == 1:
        replace_by_constant(graph, node, ArrayTensor(arrays[0], node.output.dtype))
        return 1
    for value, array in zip(node.outputs, arrays, strict=True):
        if graph.readers(value):
            name = node.name if value.index == 0 else f"{node.name}_{value.index}"
            made_value = graph.constant(ArrayTensor(array, value.dtype), name, before=node, origin=node.origin)
            graph.replace_uses(value, made_value)
    discard(graph, node)
    return 1
