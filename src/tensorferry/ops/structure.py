"""Ops that carry a graph rather than compute: constants, inputs, identities."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Node, Typed, type_of_constant
from tensorferry.ops.spec import Example, OpSpec
from tensorferry.targets import JsNode, LiteOp, Ref, Temp
from tensorferry.tensor import Array, ArrayTensor, DType


def _infer_constant(node: Node) -> list[Typed]:
    return [type_of_constant(node["value"])]


def _infer_placeholder(node: Node) -> list[Typed]:
    return [Typed(node["dtype"], node["shape"])]


def _infer_identity(node: Node) -> list[Typed]:
    return [value.typed for value in node.inputs]


def _pass_on(_node: Node, *arrays: Array) -> tuple[Array, ...]:
    return arrays


def lite_copy(source: Ref, target: Ref, typed: Typed) -> list[LiteOp]:
    """Operators that copy a tensor of this type. TFLite has no identity; RESHAPE copies every element type in any version.

    Passes remove identities; one that is left joins an input, a constant or another output to an output.
    """
    rank = None if typed.shape is None else len(typed.shape)
    sizes = [dim if isinstance(dim, int) else -1 for dim in typed.shape or ()]
    if rank is not None and (-1 not in sizes or (sizes.count(-1) == 1 and 0 not in sizes)):
        wanted = ArrayTensor(np.array(sizes, np.int32))
        return [LiteOp("RESHAPE", (source, wanted), (target,), {"new_shape": sizes})]
    shape = Temp("shape", DType.INT32, (UNKNOWN_DIM if rank is None else rank,))
    return [
        LiteOp("SHAPE", (source,), (shape,), {"out_type": "INT32"}),
        LiteOp("RESHAPE", (source, shape), (target,)),
    ]


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
        aliases=("Snapshot", "GuaranteeConst", "DeepCopy", "Copy", "CopyHost", "RefIdentity"),
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
