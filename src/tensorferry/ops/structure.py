"""Ops that carry a graph rather than compute: constants, inputs, identities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tensorferry.ir import Node, Typed, type_of_constant
from tensorferry.ops.spec import Example, OpSpec
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import Array, DType


def _infer_constant(node: Node) -> list[Typed]:
    return [type_of_constant(node["value"])]


def _infer_placeholder(node: Node) -> list[Typed]:
    return [Typed(node["dtype"], node["shape"])]


def _infer_identity(node: Node) -> list[Typed]:
    return [value.typed for value in node.inputs]


def _pass_on(_node: Node, *arrays: Array) -> tuple[Array, ...]:
    return arrays


def _lite_copy(node: Node) -> Sequence[LiteOp]:
    # A no-op reshape would fix the shape; TFLite has no identity. Passes remove identities, so one that is left joins an
    # input to an output directly, which TFLite cannot express without a copy.
    return [LiteOp("ADD_N", (value,), (out,)) for value, out in zip(node.inputs, node.outputs, strict=True)]


def _js_identity(node: Node) -> list[JsNode]:
    return [JsNode("Identity", (value,), (out,)) for value, out in zip(node.inputs, node.outputs, strict=True)]


def _identity_examples() -> Iterator[Example]:
    yield Example((np.arange(6, dtype=np.float32).reshape(2, 3),))


def _identity_n_examples() -> Iterator[Example]:
    yield Example((np.arange(6, dtype=np.float32).reshape(2, 3), np.array([1, -2], np.int32)))


SPECS = (
    OpSpec(name="Const", attrs={}, infer=_infer_constant, evaluate=lambda node: node["value"].array()),
    OpSpec(name="Placeholder", attrs={"dtype": DType.FLOAT32, "shape": None}, infer=_infer_placeholder, pure=False),
    OpSpec(
        name="PlaceholderWithDefault",
        attrs={"dtype": DType.FLOAT32, "shape": None},
        infer=_infer_placeholder,
        evaluate=_pass_on,
        pure=False,
    ),
    OpSpec(
        name="Identity",
        aliases=("Snapshot",),
        infer=_infer_identity,
        evaluate=_pass_on,
        to_tflite=_lite_copy,
        to_tfjs=_js_identity,
        examples=_identity_examples,
    ),
    OpSpec(
        name="StopGradient",
        aliases=("PreventGradient",),
        infer=_infer_identity,
        evaluate=_pass_on,
        to_tflite=_lite_copy,
        to_tfjs=_js_identity,
        examples=_identity_examples,
    ),
    OpSpec(
        name="IdentityN",
        infer=_infer_identity,
        evaluate=_pass_on,
        to_tflite=_lite_copy,
        to_tfjs=_js_identity,
        examples=_identity_n_examples,
    ),
    OpSpec(name="NoOp", infer=lambda _node: [], evaluate=lambda _node: ()),
)
