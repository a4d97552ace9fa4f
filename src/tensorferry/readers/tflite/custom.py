"""Operators that are no builtins: Select operators are TensorFlow's own; a few of MediaPipe and of TensorFlow's detection models
are known; the others stay what they are, for a target that takes them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from tensorferry import ops
from tensorferry.ir import Typed, Value
from tensorferry.readers.parsing import scan
from tensorferry.readers.tflite.detection import post_process
from tensorferry.readers.tflite.steps import Rule, Step, int32s
from tensorferry.readers.typing import guess_types, infer_tolerantly
from tensorferry.storage import MemoryFile
from tensorferry.targets import LITE_OPTIONS
from tensorferry.tensor import DType
from tensorferry.wire.flexview import FlexError, read_flex
from tensorferry.wire.protobuf import Message, whole
from tensorferry.wire.tensorflow import GraphDef, UnreadableConstant, decode_attribute

FLEX = "Flex"
"""How the codes of Select operators begin (tensorflow/lite/delegates/flex)."""

MOST_OPTIONS = 1 << 24

_PADDINGS = {1: "SAME", 2: "VALID"}
"""Of TfLitePadding (tensorflow/lite/core/c/builtin_op_data.h)."""


def read_custom(step: Step) -> Value | Sequence[Value]:
    """By its code."""
    code = step.record.custom
    if code in RULES:
        return RULES[code](step)
    if code.startswith(FLEX):
        return _select(step)
    return _keep(step)


def options_of(step: Step) -> bytes:
    """The operator's own bytes."""
    stretch = step.record.custom_options
    if stretch is None:
        return b""
    if stretch.length > MOST_OPTIONS:
        raise step.refusal(f"its options are {stretch.length} bytes long")
    return step.reader.session.model.file.read(stretch.start, stretch.length)


def _keep(step: Step) -> Sequence[Value]:
    """An op of the operator's own name, typed as the file says; what its options say, if they are a map, are its attributes."""
    graph = step.reader.graph
    outputs = [step.output(index) for index in range(len(step.record.outputs))]
    typed = [Typed(each.dtype, each.shape) for each in outputs]
    op, attrs = ops.canonical(step.record.custom or "Custom", _attributes(step))
    node = graph.add(
        op,
        [step.stored(index) for index in range(step.count)],
        attrs,
        typed=typed,
        name=graph.unique_name(step.name),
        origin=step.origin,
    )
    return node.outputs


def _attributes(step: Step) -> dict[str, Any]:
    """What the options say, and the options themselves, which TensorFlow Lite gets back as they are."""
    data = options_of(step)
    kept = {LITE_OPTIONS: data}
    try:
        found = read_flex(data) if data else {}
    except FlexError:
        found = None
    if isinstance(found, dict):
        return {key: value for key, value in found.items() if isinstance(value, bool | int | float | str | list)} | kept
    step.reader.session.tell(
        f"the options of '{step.name}' ({step.record.custom}) are {len(data)} bytes of its own: only Lite gets them"
    )
    return kept


# -- Select operators ----------------------------------------------------------------------------------------------


def _select(step: Step) -> Sequence[Value]:
    """TensorFlow's own op: the options hold its name and its NodeDef."""
    try:
        found = read_flex(options_of(step))
    except FlexError as error:
        raise step.refusal(f"its options are damaged: {error}") from error
    if not isinstance(found, list) or len(found) != 2 or not all(isinstance(each, str | bytes) for each in found):
        raise step.refusal("its options are no op of TensorFlow")
    definition = found[1] if isinstance(found[1], bytes) else found[1].encode("utf-8", "surrogateescape")
    op, attrs = _decode_node(step, definition)
    graph = step.reader.graph
    outputs = [step.output(index) for index in range(len(step.record.outputs))]
    values = [step.stored(index) for index in range(step.count)]
    node = graph.add(
        op, values, attrs, typed=guess_types(op, attrs, len(outputs)), name=graph.unique_name(step.name), origin=step.origin
    )
    for value, typed in zip(node.outputs, infer_tolerantly(node), strict=False):
        value.retype(typed)
    for value, tensor in zip(node.outputs, outputs, strict=False):
        if value.dtype is DType.UNKNOWN:
            value.retype(Typed(tensor.dtype, tensor.shape))
    return node.outputs


def _decode_node(step: Step, definition: bytes) -> tuple[str, dict[str, Any]]:
    message = Message()
    message.data(GraphDef.NODE, definition)
    encoded = b"".join(bytes(chunk) for chunk in message.chunks())
    file = MemoryFile(step.reader.session.model.file.path, encoded)
    nodes = list(scan(whole(file.view)).nodes.values())
    if len(nodes) != 1:
        raise step.refusal("its options hold no node")
    attrs = {}
    for key, span in nodes[0].attrs.items():
        try:
            value = decode_attribute(span, file)
        except UnreadableConstant as error:
            raise step.refusal(error.what) from error
        if value is not None:
            attrs[key] = value
    return nodes[0].op, attrs


# -- MediaPipe -----------------------------------------------------------------------------------------------------


def _integers(step: Step, count: int) -> tuple[int, ...]:
    """The first numbers of options that are a plain structure of 32-bit numbers."""
    data = options_of(step)
    if len(data) < 4 * count:
        raise step.refusal(f"its options are {len(data)} bytes long")
    return struct.unpack_from(f"<{count}i", data)


def _padding(step: Step, number: int) -> str:
    if number not in _PADDINGS:
        raise step.refusal(f"its padding is {number}")
    return _PADDINGS[number]


def _transposed_convolution(step: Step) -> Value:
    """Convolution2DTransposeBias: the image, the filter [out, h, w, in], the bias."""
    padding, across, down = _integers(step, 3)
    x, bias = step.input(0), step.input(2)
    filters = step.transposed(step.input(1), (1, 2, 0, 3))
    sizes, window = x.static_shape, filters.static_shape
    if sizes is None or window is None or len(sizes) != 4 or len(window) != 4 or across < 1 or down < 1:
        raise step.refusal("the sizes of its input are not known")
    kind = _padding(step, padding)
    height, width = (
        size * stride if kind == "SAME" else (size - 1) * stride + length
        for size, stride, length in zip(sizes[1:3], (down, across), window[:2], strict=True)
    )
    shape = int32s(sizes[0], height, width, window[2])
    made = step.make("Conv2DBackpropInput", shape, filters, x, strides=[1, down, across, 1], padding=kind)
    return step.make("BiasAdd", made, bias)


def _pool_with_places(step: Step) -> Sequence[Value]:
    """MaxPoolingWithArgmax2D: the largest of each window, and where they were, as floats within the image."""
    padding, across, down, width, height = _integers(step, 5)
    if min(across, down, width, height) < 1:
        raise step.refusal("its window or its strides are none")
    node = step.make_node(
        "MaxPoolWithArgmax",
        step.input(0),
        ksize=[1, height, width, 1],
        strides=[1, down, across, 1],
        padding=_padding(step, padding),
        Targmax=DType.INT32,
        include_batch_in_index=False,
    )
    places = node.outputs[1]
    if step.output(1).dtype is DType.FLOAT32:
        places = step.make("Cast", places, SrcT=DType.INT32, DstT=DType.FLOAT32)
    return [node.outputs[0], places]


def _detection(step: Step) -> Sequence[Value]:
    try:
        found = read_flex(options_of(step))
    except FlexError as error:
        raise step.refusal(f"its options are damaged: {error}") from error
    if not isinstance(found, dict):
        raise step.refusal("its options are no map")
    return post_process(step, found)


RULES: Mapping[str, Rule] = {
    "Convolution2DTransposeBias": _transposed_convolution,
    "MaxPoolingWithArgmax2D": _pool_with_places,
    "TFLite_Detection_PostProcess": _detection,
}
