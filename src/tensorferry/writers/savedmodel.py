"""SavedModels: a graph with its signature in `saved_model.pb`, its weights as variables beside it.

The form is the one that TensorFlow 1 writes: a graph with a saver and without an object graph. TensorFlow 2's `tf.saved_model.load`
and `tf.compat.v1.saved_model.load` both take it, and so does everything that serves SavedModels.
"""

from __future__ import annotations

from pathlib import Path

from tensorferry.ir import Graph
from tensorferry.wire.protobuf import Message
from tensorferry.writers.checkpoint import write_bundle
from tensorferry.writers.graphdef import write_message
from tensorferry.writers.metagraph import DEFAULT_SIGNATURE, encode_metagraph
from tensorferry.writers.variables import Holding, checkpoint_of, hold_weights

_SCHEMA_VERSION = 1


def write_savedmodel(graph: Graph, folder: Path, *, signature: str = DEFAULT_SIGNATURE) -> tuple[Holding, int]:
    """Write into an empty folder. Changes the graph. What was made, and all bytes."""
    holding = hold_weights(graph)
    message = Message()
    message.varint(1, _SCHEMA_VERSION)
    message.message(2, encode_metagraph(graph, holding, signature=signature))
    size = write_message(message, folder / "saved_model.pb")
    if holding.variables:
        (folder / "variables").mkdir()
        size += write_bundle(checkpoint_of(holding), folder / "variables" / "variables")
    return holding, size
