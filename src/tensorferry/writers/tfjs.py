"""Writes a TensorFlow.js graph model: `model.json` and the weights in shards beside it.

The loader takes names and order of inputs and outputs from `signature`; what a user sees in `model.outputs` are the names of
nodes, so nodes bear the public names. The weights stream from the source to the shards.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensorferry import __version__
from tensorferry.errors import OptionError
from tensorferry.ir import Graph, Value
from tensorferry.tensor import DType
from tensorferry.writers.tfjs_channels import multiply_out
from tensorferry.writers.tfjs_quantised import Quantised, Reduction, Surroundings, quantise_weights
from tensorferry.writers.tfjs_topology import Fallback, Topology
from tensorferry.writers.tfjs_weights import NARROWED, ShardWriter, Weight, shard_names

SHARD_SIZE = 4 << 20
"""Bytes in a shard unless asked otherwise: what browsers cache and fetch in parallel well, and the official converter's choice."""

_GRAPH_VERSION = 2474  # of TensorFlow 2.21's GraphDef; the loader shows it and does not judge by it


@dataclass(frozen=True, slots=True)
class TfjsFacts:
    """What was written. `custom` names the ops that TensorFlow.js has only where a page registers them."""

    files: tuple[str, ...]
    nbytes: int
    weight_bytes: int
    operators: Mapping[str, int]
    """Count by op, without constants and inputs, most frequent first."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    notices: tuple[str, ...]
    custom: tuple[str, ...] = ()
    stored: Mapping[str, int] = field(default_factory=dict)
    """Of quantised weights: how many as which type."""


def write_tfjs(
    graph: Graph,
    folder: str | os.PathLike[str],
    *,
    shard_size: int = SHARD_SIZE,
    fallback: Fallback | None = None,
    metadata: Mapping[str, Any] | None = None,
    reduction: Reduction | None = None,
) -> TfjsFacts:
    """Write the model into an existing folder; `shard_size` 0 puts all weights into one file; `fallback` is asked for what is
    declined; `metadata` is a page's own data, `userDefinedMetadata` in the file; `reduction` says which weights are quantised.

    Raises UnsupportedError before anything is written; OSError from the disk passes through (see `atomic.explaining`).
    """
    if shard_size < 0:
        raise OptionError(f"a shard size of {shard_size} bytes makes no sense", remedy="give a positive size, or 0 for one shard")
    topology = Topology(graph, fallback)
    target = Path(folder)
    quantised = Quantised(topology.weights)
    if reduction is not None:
        around = Surroundings.of(topology.all_nodes(), topology.initial_nodes, topology.names.claim)
        quantised = quantise_weights(topology.weights, reduction, around)
        topology.nodes = multiply_out(topology.nodes, quantised.splits)
        for function in topology.functions:
            function["nodeDef"] = multiply_out(function["nodeDef"], quantised.splits)
    weight_bytes = sum(weight.nbytes for weight in quantised.weights)
    shards = shard_names(weight_bytes, shard_size)
    with ShardWriter(target, shards, shard_size) as writer:
        for weight in quantised.weights:
            for piece in weight.chunks():
                writer.write(piece)
            weight.tensor.release()
    document = _describe_model(topology, quantised.weights, shards) | ({"userDefinedMetadata": dict(metadata)} if metadata else {})
    text = json.dumps(document, allow_nan=False, separators=(",", ":")).encode("ascii")
    (target / "model.json").write_bytes(text)
    return TfjsFacts(
        files=("model.json", *shards),
        nbytes=len(text) + weight_bytes,
        weight_bytes=weight_bytes,
        operators=_count_operators(topology),
        inputs=tuple(topology.inputs),
        outputs=tuple(topology.outputs),
        notices=tuple(quantised.notices + _narrowing_notices(graph) + _order_notices(topology) + tell_text(graph)),
        custom=tuple(sorted(topology.custom)),
        stored=quantised.stored,
    )


def _describe_model(topology: Topology, weights: Sequence[Weight], shards: list[str]) -> dict[str, object]:
    made_by = f"tensorferry {__version__}"
    initializer = {"modelInitializer": {"node": topology.initial_nodes}} if topology.initial_nodes else {}
    return {
        "format": "graph-model",
        "generatedBy": made_by,
        "convertedBy": made_by,
        "signature": {"inputs": topology.inputs, "outputs": topology.outputs},
        "modelTopology": {
            "node": topology.nodes,
            "library": {"function": topology.functions} if topology.functions else {},
            "versions": {"producer": _GRAPH_VERSION, "minConsumer": 0},
        },
        **initializer,
        "weightsManifest": [{"paths": shards, "weights": [weight.entry for weight in weights]}],
    }


def _count_operators(topology: Topology) -> dict[str, int]:
    counts = Counter(node["op"] for node in topology.all_nodes() if node["op"] not in ("Const", "Placeholder"))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _narrowing_notices(graph: Graph) -> list[str]:
    """One notice for each element type that TensorFlow.js lacks, with the inputs, outputs and constants it concerns."""
    kinds: dict[str, dict[Value, str]] = {}
    for role, ports in (("input", graph.inputs), ("output", graph.outputs)):
        for port in ports:
            kinds.setdefault(port.value.dtype, {}).setdefault(port.value, f"{role} '{port.name}'")
    constants: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for value in _all_values(graph):
        if value.constant is not None:
            constants[value.dtype] += bool(value.users)
        elif value not in kinds.get(value.dtype, {}):
            others[value.dtype] += 1
    notices = []
    for dtype, narrowed in NARROWED.items():
        parts = list(kinds.get(dtype, {}).values())
        parts += [
            f"{count} {noun}{'s' if count > 1 else ''}"
            for count, noun in ((constants[dtype], "constant"), (others[dtype], "intermediate value"))
            if count
        ]
        if parts:
            notices.append(f"TensorFlow.js has no {dtype}: {narrowed} is used for {', '.join(parts)}")
    return notices


def tell_text(graph: Graph) -> list[str]:
    """A notice when there is text in the model."""
    if not any(value.dtype is DType.STRING for node in graph.nodes for value in node.outputs):
        return []
    return ["the wasm backend of TensorFlow.js does not carry text: run the model on the cpu backend"]


def _all_values(graph: Graph) -> Iterator[Value]:
    """Those of the graphs inside nodes among them."""
    for node in graph.nodes:
        yield from node.outputs
        for _key, nested in node.graphs():
            yield from _all_values(nested)


def _running_notices(topology: Topology) -> list[str]:
    """`execute` refuses what must wait for a condition."""
    if any(node["op"] in ("StatelessIf", "StatelessWhile") for node in topology.nodes):
        return ["the model has branches or loops: run it with model.executeAsync(), model.execute() and predict() refuse it"]
    return []


def _order_notices(topology: Topology) -> list[str]:
    """JavaScript puts keys that look like array indices first, in ascending order."""
    notices = []
    for role, names in (("inputs", list(topology.inputs)), ("outputs", list(topology.outputs))):
        indices = [name for name in names if name.isdecimal() and name.isascii() and str(int(name)) == name]
        seen = sorted(indices, key=int) + [name for name in names if name not in indices]
        if seen != names:
            notices.append(f"JavaScript lists {role} that are plain numbers first: {', '.join(seen)}; address them by name")
    return notices
