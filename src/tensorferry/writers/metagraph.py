"""A graph with its variables, saver and signature as a MetaGraphDef: what a SavedModel and a checkpoint's `.meta` hold.

Field numbers are those of tensorflow/core/protobuf/{meta_graph,saver}.proto and core/framework/variable.proto.
"""

from __future__ import annotations

from collections.abc import Sequence

from tensorferry.ir import Graph, Port
from tensorferry.wire.protobuf import Message
from tensorferry.wire.tensorflow import DTYPE_NUMBERS, encode_shape
from tensorferry.writers.graphdef import encode_graph
from tensorferry.writers.variables import Holding, Variable

SERVING = "serve"
DEFAULT_SIGNATURE = "serving_default"
_METHOD = "tensorflow/serving/predict"
_SAVER_V2 = 2
_PRODUCER_VERSION = "1.15.0"
"""Whose form the graph has. Loaders look at it only to tell forms apart that are not written here."""


def encode_metagraph(graph: Graph, holding: Holding, *, signature: str = DEFAULT_SIGNATURE) -> Message:
    """A message that draws what constants it holds when it is written."""
    message = Message()
    info = Message()
    info.data(4, SERVING)
    info.data(5, _PRODUCER_VERSION)
    message.message(1, info)
    message.message(2, encode_graph(graph))
    if holding.variables:
        message.message(3, _encode_saver(holding))
        variables = [holding.variables[name] for name in sorted(holding.variables)]
        message.message(4, _encode_collection("variables", variables))
        trained = [each for each in variables if each.trainable]
        if trained:
            message.message(4, _encode_collection("trainable_variables", trained))
    entry = Message()
    entry.data(1, signature)
    entry.message(2, _encode_signature(graph))
    message.message(5, entry)
    return message


def _encode_saver(holding: Holding) -> Message:
    message = Message()
    message.data(1, f"{holding.filename}:0")
    message.data(2, f"{holding.save}:0")
    message.data(3, holding.restore)
    message.varint(4, 5)  # how many checkpoints a Saver keeps; that of TensorFlow
    message.varint(7, _SAVER_V2)
    return message


def _encode_collection(name: str, variables: Sequence[Variable]) -> Message:
    values = Message()
    for each in variables:
        variable = Message()
        variable.data(1, f"{each.name}:0")
        variable.data(2, each.restored)  # nothing else sets its first value
        variable.data(3, f"{each.read}:0")
        variable.varint(5, 1)  # behind a handle
        if each.trainable:
            variable.varint(7, 1)
        encoded = b"".join(bytes(chunk) for chunk in variable.chunks())
        values.data(1, encoded)
    collection = Message()
    collection.message(2, values)
    entry = Message()
    entry.data(1, name)
    entry.message(2, collection)
    return entry


def _encode_signature(graph: Graph) -> Message:
    message = Message()
    for tag, ports in ((1, graph.inputs), (2, graph.outputs)):
        for port in ports:
            entry = Message()
            entry.data(1, port.name)
            entry.message(2, _encode_info(port))
            message.message(tag, entry)
    message.data(3, _METHOD)
    return message


def _encode_info(port: Port) -> Message:
    value, message = port.value, Message()
    message.data(1, f"{value.producer.name}:{value.index}")
    message.varint(2, DTYPE_NUMBERS.get(value.dtype, 0))
    message.message(3, encode_shape(value.shape))
    return message
