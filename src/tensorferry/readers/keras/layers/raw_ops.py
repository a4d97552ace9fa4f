"""Single operations of TensorFlow as layers (TensorFlowOpLayer of TensorFlow 2.0 to 2.3): a node of a graph, and its constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorferry import ops
from tensorferry.ir import Value
from tensorferry.readers.building import check_kinds
from tensorferry.readers.jsonform import plain_fields
from tensorferry.readers.keras.building import Builder
from tensorferry.readers.keras.description import EXPORT, Config
from tensorferry.readers.keras.layers.arguments import array
from tensorferry.readers.keras.registry import layer
from tensorferry.readers.parsing import SourceNode, scan
from tensorferry.storage import MemoryFile
from tensorferry.tensor import DType
from tensorferry.wire.named import encode
from tensorferry.wire.protobuf import whole
from tensorferry.wire.tensorflow import decode_attribute


@layer("TensorFlowOpLayer")
def raw_op(build: Builder, config: Config, inputs: Sequence[Value]) -> Value | list[Value]:
    """The operation, its constants put between its inputs."""
    file, node = _node(build, config.get("node_def"))
    spec = ops.find(node.op)
    if spec is None:
        raise build.unsupported(f"the operation {node.op[:60]} is not known", EXPORT)
    attrs = {key: decode_attribute(span, file) for key, span in node.attrs.items() if not key.startswith("_")}
    check_kinds(node.op, attrs, node)
    operands: list[Value] = list(inputs)
    for place, given in _constants(build, config.get("constants")):
        made = array(build, given)
        alike = spec.elementwise and operands and DType.of(made).is_integer and operands[0].dtype.is_integer
        operands.insert(place, build.constant(made, operands[0].dtype if alike else DType.of(made)))
    outputs = build.add_all(node.op, operands, attrs)
    return outputs if len(outputs) > 1 else outputs[0]


def _node(build: Builder, given: Any) -> tuple[MemoryFile, SourceNode]:
    """The node, from JSON or from the bytes of a NodeDef, which stand as text."""
    if isinstance(given, Mapping):
        message = b"".join(bytes(chunk) for chunk in encode("GraphDef", {"node": [plain_fields(given)]}).chunks())
    elif isinstance(given, str):
        data = given.encode()
        message = b"\x0a" + _varint(len(data)) + data  # GraphDef.node
    else:
        raise build.unsupported("it names no operation")
    file = MemoryFile(Path(build.layer.name), message)
    nodes = list(scan(whole(file.view)).nodes.values())
    if len(nodes) != 1:
        raise build.unsupported("it is not a single operation")
    return file, nodes[0]


def _varint(number: int) -> bytes:
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _constants(build: Builder, given: Any) -> list[tuple[int, Any]]:
    """(place among the inputs, value), in the order of places."""
    if given is None:
        return []
    if not isinstance(given, Mapping) or not all(str(place).isdigit() and int(place) < 1000 for place in given):
        raise build.unsupported("its constants have no places")
    return sorted(((int(place), value) for place, value in given.items()), key=lambda pair: pair[0])
