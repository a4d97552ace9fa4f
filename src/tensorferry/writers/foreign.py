"""Operators that a target does not have: passed on under their own names, for an application that registers them, or as
TensorFlow's own ops, which TensorFlow Lite runs where the Select (Flex) delegate is linked in. Only ever when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tensorferry import ops
from tensorferry.ir import Graph, Node
from tensorferry.ops.spec import Declined
from tensorferry.targets import LITE_OPTIONS, JsNode, LiteOp
from tensorferry.tensor import DType, Tensor
from tensorferry.wire.signatures import signature
from tensorferry.wire.tensorflow import DTYPE_NUMBERS, FunctionRef
from tensorferry.writers.graphdef import serialize_node

LiteFallback = Callable[[Node, Declined], list[LiteOp]]
JsFallback = Callable[[Node, Declined], list[JsNode]]

FLEX = "Flex"
"""How the codes of Select operators begin (tensorflow/lite/delegates/flex)."""


def lite_fallback(*, custom: bool, select: bool) -> LiteFallback | None:
    """What to write in the place of an operator that TensorFlow Lite lacks; None to refuse it.

    With both, an op that TensorFlow has becomes a Select operator and any other a custom one.
    """
    if not custom and not select:
        return None

    def fall_back(node: Node, refusal: Declined) -> list[LiteOp]:
        _check(node, refusal)
        known = signature(node.op) is not None
        if select and known:
            return [LiteOp(FLEX + node.op, tuple(node.inputs), tuple(node.outputs), custom=_select_options(node))]
        if custom:
            return [LiteOp(node.op, tuple(node.inputs), tuple(node.outputs), custom=_custom_options(node))]
        raise Declined(f"{refusal.why}, nor does TensorFlow have the op", remedy="--allow-custom passes it on under its name")

    return fall_back


def js_fallback(*, custom: bool) -> JsFallback | None:
    """The same for TensorFlow.js, whose pages may register ops of their own (tf.registerOp)."""
    if not custom:
        return None

    def fall_back(node: Node, refusal: Declined) -> list[JsNode]:
        _check(node, refusal)
        attrs = {key: value for key, value in node.attrs.items() if not key.startswith("_") and not isinstance(value, FunctionRef)}
        return [JsNode(node.op, tuple(node.inputs), tuple(node.outputs), attrs)]

    return fall_back


def _check(node: Node, refusal: Declined) -> None:
    """A node that only passes made, or that holds graphs or has outputs of no known type, is nothing that could be passed on."""
    made = node.get("activation") or (ops.find(node.op) is not None and signature(node.op) is None)
    if made or any(isinstance(each, Graph) for each in node.attrs.values()):
        raise refusal
    untyped = [value.name for value in node.outputs if value.dtype in (DType.UNKNOWN, DType.VARIANT)]
    if untyped or not node.outputs:
        what = f"the type of its output {untyped[0]} is not known" if untyped else "it has no output"
        raise Declined(f"{refusal.why}, and it cannot be passed on as it is: {what}", remedy=refusal.remedy)


def _select_options(node: Node) -> bytes:
    """The op's name and its NodeDef, as the delegate reads them."""
    return _flexbuffer_of_strings(node.op.encode(), serialize_node(node))


def _flexbuffer_of_strings(*strings: bytes) -> bytes:
    """A flexbuffer that is a vector of strings of any bytes; the library's builder takes text only. All widths are 4 bytes.

    Strings carry their length before and a zero behind; an element is the distance back to its string; at the end stand the
    elements' types, then the root, its type and its width (flatbuffers.dev, "FlexBuffer internals").
    """
    string, vector, wide = 5, 10, 2  # types, and the width as a power of two
    buffer = bytearray()

    def align() -> None:
        buffer.extend(bytes(-len(buffer) % 4))

    places = []
    for each in strings:
        align()
        buffer.extend(len(each).to_bytes(4, "little"))
        places.append(len(buffer))
        buffer.extend(each + b"\0")
    align()
    buffer.extend(len(strings).to_bytes(4, "little"))
    start = len(buffer)
    for place in places:
        buffer.extend((len(buffer) - place).to_bytes(4, "little"))
    buffer.extend(bytes([string << 2 | wide]) * len(strings))
    align()
    buffer.extend((len(buffer) - start).to_bytes(4, "little"))
    buffer.extend(bytes([vector << 2 | wide, 1 << wide]))
    return bytes(buffer)


def _custom_options(node: Node) -> bytes:
    """The attributes as a map, in the form the official converter gives them: types by TensorFlow's numbers."""
    from flatbuffers import flexbuffers  # noqa: PLC0415

    given = node.get(LITE_OPTIONS)
    if isinstance(given, bytes):
        return given
    builder = flexbuffers.Builder()
    with builder.Map():
        for key, value in sorted(_plain(node.attrs).items()):
            builder.Key(key)
            builder.Add(value)
    return bytes(builder.Finish())


def _plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: value for key, value in attrs.items() if not key.startswith("_")}
    return {key: _plain_value(value) for key, value in told.items() if not isinstance(value, Tensor | FunctionRef | None)}


def _plain_value(value: Any) -> Any:
    """Numbers, texts and lists of them; -1 for an unknown size."""
    if isinstance(value, DType):
        return DTYPE_NUMBERS.get(value, 0)
    if isinstance(value, list | tuple):
        return [-1 if isinstance(each, str) and isinstance(value, tuple) else _plain_value(each) for each in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
