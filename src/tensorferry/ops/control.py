"""Ops that watch over values without changing them: checks, assertions, printing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import Node, Typed, format_shape
from tensorferry.ops.dims import merge_shapes
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.ops.structure import lite_copy
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import Array


def _infer_watched(node: Node) -> list[Typed]:
    return [node.inputs[0].typed]


def _evaluate_watched(_node: Node, array: Array, *_others: Array) -> Array:
    return array


def _lite_watched(node: Node) -> list[LiteOp]:
    return lite_copy(node.inputs[0], node.output, node.inputs[0].typed)


def _js_watched(node: Node) -> list[JsNode]:
    return [JsNode("Identity", (node.inputs[0],), (node.output,), {"T": node.inputs[0].dtype})]


def _infer_ensured(node: Node) -> list[Typed]:
    value = node.inputs[0]
    return [Typed(value.dtype, merge_shapes(value.shape, node["shape"]), value.content)]


def _evaluate_ensured(node: Node, array: Array) -> Array:
    wanted = node["shape"]
    known = wanted is None or len(wanted) == array.ndim
    if not known or any(isinstance(dim, int) and dim != size for dim, size in zip(wanted or (), array.shape, strict=False)):
        raise Declined(f"a tensor of shape {list(array.shape)} came where {format_shape(wanted)} was promised")
    return array


def _watched_examples() -> Iterator[Example]:
    yield Example((sample(2, 3),))


def _debugged_examples() -> Iterator[Example]:
    yield Example((sample(2, 3),), raw="Identity")  # TensorFlow's own wants a debugger to talk to


def _printed_examples() -> Iterator[Example]:
    yield Example((sample(2, 3), np.array([1, 2], np.int32)), {"first_n": 0}, constants=(1,))


def _ensured_examples() -> Iterator[Example]:
    yield Example((sample(2, 3),), {"shape": (2, 3)})


SPECS = (
    OpSpec(
        name="CheckNumerics",
        aliases=("CheckNumericsV2",),
        attrs={"message": ""},
        infer=_infer_watched,
        evaluate=_evaluate_watched,
        to_tflite=_lite_watched,
        to_tfjs=_js_watched,
        examples=_watched_examples,
    ),
    OpSpec(
        name="DebugIdentity",
        aliases=("DebugIdentityV2", "DebugIdentityV3"),
        infer=_infer_watched,
        evaluate=_evaluate_watched,
        to_tflite=_lite_watched,
        to_tfjs=_js_watched,
        examples=_debugged_examples,
    ),
    OpSpec(
        name="Print",
        attrs={"message": "", "first_n": -1, "summarize": 3},
        infer=_infer_watched,
        evaluate=_evaluate_watched,
        to_tflite=_lite_watched,
        to_tfjs=_js_watched,
        examples=_printed_examples,
    ),
    OpSpec(
        name="EnsureShape",
        attrs={"shape": None},
        infer=_infer_ensured,
        evaluate=_evaluate_ensured,
        to_tflite=_lite_watched,
        to_tfjs=_js_watched,
        examples=_ensured_examples,
    ),
    OpSpec(name="Assert", attrs={"summarize": 3}, infer=lambda _node: [], evaluate=lambda _node, *_inputs: (), pure=False),
    OpSpec(name="PrintV2", infer=lambda _node: [], evaluate=lambda _node, *_inputs: (), pure=False),
)
