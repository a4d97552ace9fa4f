"""The form in which everything known about one op is written down, and the small vocabulary those entries share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tensorferry.errors import FerryError
from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Shape, Typed, format_shape
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import Array, DType

Infer = Callable[[Node], Sequence[Typed]]
Evaluate = Callable[..., Array | tuple[Array, ...]]
"""(node, *input arrays) -> the output array, or a tuple of them for an op with several outputs."""
ToTflite = Callable[[Node], Sequence[LiteOp]]
ToTfjs = Callable[[Node], Sequence[JsNode]]
Expand = Callable[[Graph, Node], bool]
"""Rewrite the node in place into simpler nodes for a target that lacks it; False when this node cannot be."""


WIDER: Mapping[DType, DType] = {
    **dict.fromkeys((DType.INT8, DType.INT16, DType.UINT8, DType.UINT16), DType.INT32),
    DType.UINT32: DType.INT64,
}
"""Each integer type in one that holds all its numbers."""
WIDER_OR_BITS: Mapping[DType, DType] = {**WIDER, DType.UINT64: DType.INT64}
"""For ops that ask nothing of a number but its bits: sums, products, moves. uint64 keeps its bits in int64."""
WIDER_OR_BOOL: Mapping[DType, DType] = {**WIDER_OR_BITS, DType.BOOL: DType.INT32}
"""For ops that only move elements."""


UNSIGNED = frozenset({DType.UINT32})
"""What a target without unsigned numbers carries as the bits of signed ones, whose order, quotients and sizes are others."""


class Declined(FerryError):
    """A lowering, inference or evaluation says no to one node. Writers collect them into one UnsupportedError.

    `attributes` names the attributes that matter, as `name=value` text.
    """

    def __init__(self, why: str, *, remedy: str = "", attributes: str = "") -> None:
        super().__init__(why, remedy=remedy)
        self.why = why
        self.attributes = attributes


@dataclass(frozen=True, slots=True)
class Example:
    """One use of an op, taken by the generic test through TensorFlow, numpy, LiteRT and TensorFlow.js.

    `inputs` in order; those whose index is in `constants` are Const nodes, the others graph inputs. `tolerance` is relative to the
    largest reference value. `declines` says which target refuses it, and a part of the reason: {"tflite": "rank"}.
    `raw` names the tf.raw_ops op when it is not the spec's own name.
    """

    inputs: tuple[Array, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    constants: tuple[int, ...] = ()
    tolerance: float = 1e-6
    declines: Mapping[str, str] = field(default_factory=dict)
    raw: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpSpec:
    """All knowledge of one op."""

    name: str
    infer: Infer
    evaluate: Evaluate | None = None
    aliases: tuple[str, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)
    """Attributes with TensorFlow's defaults; a DType default also tells the attribute's kind."""
    to_tflite: ToTflite | None = None
    to_tfjs: ToTfjs | None = None
    expand: Expand | None = None
    expands_for: tuple[str, ...] = ("tflite", "tfjs")
    """The targets that have what `expand` writes."""
    fuses: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Target -> activations the target's operator can apply to its result by itself."""
    takes_bias: bool = False
    """May carry a bias (rank 1, channels) as one more input, at `bias_at`, on both targets."""
    bias_at: int = 2
    widens: Mapping[DType, DType] = field(default_factory=dict)
    """Element types that may be computed in another, the result cast back (WIDER and its like): where that gives the same."""
    wraps: bool = False
    """Its integers may leave their type's range and wrap around: computed where a target's type is wider."""
    moves: int | None = None
    """Which input's elements it moves about without looking at them; everything else about it are sizes, axes and places."""
    elementwise: bool = False
    """Each element of its one output comes of the elements at that place of its broadcast inputs; axes may be merged."""
    by_width: bool | frozenset[DType] = False
    """Its meaning hangs on the width of its element types (or of these): it is expanded before a target narrows them."""
    pure: bool = True
    """Same inputs, same outputs, no effect: may be folded, merged and dropped."""
    drawn: bool = False
    """Its values are drawn at random anew each time: alike only in type, shape and distribution."""
    settle: Callable[[Node, Infer], None] | None = None
    """Bring the types inside the node's graphs in line with its inputs, inferring with the given rule; not part of `infer`, which
    only reads."""
    quant: str = ""
    examples: Callable[[], Iterable[Example]] = tuple


# -- inference -----------------------------------------------------------------------------------------------------


def same_as_input(node: Node) -> list[Typed]:
    """One output, typed like the first input."""
    value = node.inputs[0]
    return [Typed(value.dtype, value.shape)]


def broadcast_shapes(one: Shape, other: Shape) -> Shape:
    """numpy's rule over named sizes: 1 stretches, equal names stay, a number above 1 wins over a name."""
    if one is None or other is None:
        return None
    rank = max(len(one), len(other))
    padded = [(1,) * (rank - len(shape)) + shape for shape in (one, other)]
    return tuple(_broadcast_dims(a, b, one, other) for a, b in zip(*padded, strict=True))


def _broadcast_dims(a: Dim, b: Dim, one: Shape, other: Shape) -> Dim:
    if a == b:
        return a
    if a == 1:
        return b
    if b == 1:
        return a
    if isinstance(a, int) and isinstance(b, int):
        raise Declined(f"shapes {format_shape(one)} and {format_shape(other)} do not broadcast")
    if isinstance(a, int):
        return a
    return b if isinstance(b, int) else UNKNOWN_DIM


def constant_input(node: Node, index: int, role: str) -> Array:
    """The elements of an input that must be constant for the op to be carried over; `role` names it in the refusal."""
    tensor = node.inputs[index].constant
    if tensor is not None:
        return tensor.array()
    value = node.inputs[index]
    if value.content is not None and all(isinstance(each, int) for each in value.content) and value.shape is not None:
        return np.asarray(value.content, dtype=value.dtype.numpy).reshape([len(value.content)] if value.shape else [])
    raise Declined(f"its {role} is computed while the model runs", remedy=f"make the {role} a constant in the source model")


def normalize_axis(axis: int, rank: int) -> int:
    """A non-negative axis; Declined when out of range."""
    if not -rank <= axis < rank:
        raise Declined(f"axis {axis} is out of range for rank {rank}")
    return axis % rank


# -- lowering ------------------------------------------------------------------------------------------------------

MISFITS = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What a rule raises on a node whose attributes or inputs are none that its op can have: the node is at fault, not the rule."""

LITE_ACTIVATIONS = {"Relu": "RELU", "Relu6": "RELU6", "ReluN1To1": "RELU_N1_TO_1"}
"""Activation ops that TFLite operators fuse, and their names in ActivationFunctionType."""


def lite_activation(node: Node) -> str:
    """`fused_activation_function` for the node's `activation` attribute."""
    activation = node.get("activation")
    return LITE_ACTIVATIONS[activation] if activation else "NONE"


def lite(name: str, node: Node, *, version: int = 1, **options: Any) -> list[LiteOp]:
    """One TFLite operator that reads the node's inputs and writes its outputs."""
    return [LiteOp(name, tuple(node.inputs), tuple(node.outputs), options, version)]


def same_in_tfjs(node: Node) -> list[JsNode]:
    """TensorFlow.js has the op under TensorFlow's name with TensorFlow's attributes."""
    attrs = {key: value for key, value in node.attrs.items() if not key.startswith("_")}
    return [JsNode(node.op, tuple(node.inputs), tuple(node.outputs), attrs)]


def dims_for_target(shape: Shape) -> tuple[int, ...] | None:
    """A shape with -1 for each unknown size; None for an unknown rank."""
    return None if shape is None else tuple(dim if isinstance(dim, int) else -1 for dim in shape)
