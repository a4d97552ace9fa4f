"""Ops that carry a graph rather than compute: constants, inputs, identities."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import Node, Typed, type_of_constant
from tensorferry.ops.spec import Example, OpSpec
from tensorferry.targets import JsNode, LiteOp, Ref
from tensorferry.tensor import Array, DType


def _infer_constant(node: Node) -> list[Typed]:
    return [type_of_constant(node["value"])]


def _infer_placeholder(node: Node) -> list[Typed]:
    return [Typed(node["dtype"], node["shape"])]


def _infer_identity(node: Node) -> list[Typed]:
    return [value.typed for value in node.inputs]


def _pass_on(_node: Node, *arrays: Array) -> tuple[Array, ...]:
    return arrays


def lite_copy(source: Ref, target: Ref, typed: Typed) -> list[LiteOp]:
    """Operators that copy a tensor; TFLite has no identity.

    Passes remove identities; one that is left joins an input, a constant or another output to an output.
    """
    if typed.dtype is DType.STRING:
        return [LiteOp("RESHAPE", (source,), (target,))]
    return [LiteOp("CAST", (source,), (target,), {})]


def _lite_copies(node: Node) -> list[LiteOp]:
    return [op for value, out in zip(node.inputs, node.outputs, strict=True) for op in lite_copy(value, out, value.typed)]


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
        to_tflite=_lite_copies,
        to_tfjs=_js_identity,
        examples=_identity_examples,
    ),
    OpSpec(
        name="StopGradient",
        aliases=("PreventGradient",),
        infer=_infer_identity,
        evaluate=_pass_on,
        to_tflite=_lite_copies,
        to_tfjs=_js_identity,
        examples=_identity_examples,
    ),
    OpSpec(
        name="IdentityN",
        infer=_infer_identity,
        evaluate=_pass_on,
        to_tflite=_lite_copies,
        to_tfjs=_js_identity,
        examples=_identity_n_examples,
    ),
    OpSpec(name="NoOp", infer=lambda _node: [], evaluate=lambda _node: ()),
)
