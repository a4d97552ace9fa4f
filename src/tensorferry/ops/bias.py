"""BiasAdd: one number for each channel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import Graph, Node, Typed, Value
from tensorferry.ops.dims import merge_dims
from tensorferry.ops.elementwise import ADD, FUSES
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import WIDER_OR_BITS, Declined, Example, OpSpec, lite_activation
from tensorferry.targets import JsNode, LiteOp, Ref
from tensorferry.tensor import Array, ReshapedTensor


def _channels_first(node: Node) -> bool:
    return bool(node["data_format"] in ("NCHW", "NCDHW"))


def _infer(node: Node) -> list[Typed]:
    value, bias = node.inputs
    if value.shape is None:
        return [Typed(value.dtype, None)]
    if len(value.shape) < 2 or bias.rank not in (1, None):
        raise Declined("it adds a vector to at least two dimensions")
    shape = list(value.shape)
    axis = 1 if _channels_first(node) else len(shape) - 1
    if bias.shape is not None:
        shape[axis] = merge_dims(shape[axis], bias.shape[0])
    return [Typed(value.dtype, tuple(shape))]


def _evaluate(node: Node, x: Array, bias: Array) -> Array:
    return np.asarray(x + (bias.reshape(-1, *(1,) * (x.ndim - 2)) if _channels_first(node) else bias))


def _aligned_bias(node: Node) -> Ref:
    """The bias in a shape that broadcasts: as it is for channels last, a column for channels first."""
    value, bias = node.inputs
    if not _channels_first(node):
        return bias
    if bias.constant is None or value.rank is None:
        raise Declined("its bias is computed and its channels come first", attributes=f"data_format={node['data_format']}")
    return ReshapedTensor(bias.constant, (bias.constant.size, *(1,) * (value.rank - 2)))


def _to_tflite(node: Node) -> list[LiteOp]:
    ADD.check(node)
    options = {"fused_activation_function": lite_activation(node)}
    return [LiteOp("ADD", (node.inputs[0], _aligned_bias(node)), tuple(node.outputs), options, ADD.version(node))]


def _to_tfjs(node: Node) -> list[JsNode]:
    op = "AddV2" if _channels_first(node) else "BiasAdd"
    attrs = {"T": node.inputs[0].dtype, **({} if _channels_first(node) else {"data_format": "NHWC"})}
    return [JsNode(op, (node.inputs[0], _aligned_bias(node)), tuple(node.outputs), attrs)]


def _expand(graph: Graph, node: Node) -> bool:
    """A computed bias on channels first is reshaped to a column."""
    value, bias = node.inputs
    if not _channels_first(node) or value.rank is None:
        return False
    expansion = Expansion(graph, node)
    column: Value = expansion.make("Reshape", bias, np.array([-1, *(1,) * (value.rank - 2)], np.int32))
    return expansion.finish(expansion.make("AddV2", value, column))


def _examples() -> Iterator[Example]:
    bias = sample(3, seed=1)
    yield Example((sample(1, 4, 5, 3), bias), constants=(1,))
    yield Example((sample(2, 3), bias), note="computed")
    yield Example((sample(2, 1, 2, 2, 3), bias), constants=(1,), note="five dims")
    yield Example((sample(1, 4, 5, 3) * 4, bias), {"activation": "Relu"}, (1,), note="Relu")
    yield Example((sample(1, 3, 4, 5), bias), {"data_format": "NCHW"}, (1,), note="channels first")
    yield Example((sample(1, 3, 4, 5), bias), {"data_format": "NCHW"}, note="channels first computed")
    yield Example((np.array([[1, -2, 3]], np.int32), np.array([4, 5, 6], np.int32)), constants=(1,), note="int32")
    yield Example((np.array([[100, -2, 3]], np.int8), np.array([100, 5, 6], np.int8)), constants=(1,), note="int8 wraps")


SPECS = (
    OpSpec(
        name="BiasAdd",
        widens=WIDER_OR_BITS,
        wraps=True,
        aliases=("BiasAddV1",),
        attrs={"data_format": "NHWC"},
        infer=_infer,
        evaluate=_evaluate,
        to_tflite=_to_tflite,
        to_tfjs=_to_tfjs,
        expand=_expand,
        fuses=FUSES,
        examples=_examples,
    ),
)
