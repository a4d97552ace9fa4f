"""TensorFlow.js graph models: a topology in JSON (or, of 0.x, a GraphDef) beside a manifest of weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorferry.errors import SourceError
from tensorferry.ir import Graph, Typed
from tensorferry.readers.description import describe_signatures, describe_web_model, describe_weights, mark_chosen
from tensorferry.readers.detect import MANIFEST
from tensorferry.readers.graphdef import read_graph
from tensorferry.readers.jsonform import plain_fields
from tensorferry.readers.manifests import load_json
from tensorferry.readers.metagraph import Signature, TensorInfo, apply_signature
from tensorferry.storage import MemoryFile, SourceFile
from tensorferry.tensor import DType, Tensor
from tensorferry.wire.named import encode
from tensorferry.wire.protobuf import whole
from tensorferry.wire.webweights import read_manifest

_RENAMED = {"FusedDepthwiseConv2dNative": "_FusedDepthwiseConv2dNative"}
"""Ops that TensorFlow has under another name."""


def read_graph_model(file: SourceFile) -> Graph:
    """The model of a `model.json`. SourceError for one without nodes, or whose weights do not fit its topology."""
    document = load_json(file)
    topology = document.get("modelTopology")
    if not isinstance(topology, Mapping) or "node" not in topology:
        raise SourceError(f"the topology in '{file.path}' is neither a graph nor a Keras model", remedy="copy or download it again")
    weights = read_manifest(document.get("weightsManifest", []), file.path.parent)
    graph = _read_topology(file.path, _with_initializer(topology, document.get("modelInitializer")), weights)
    graph.name = file.path.parent.name
    describe_web_model(graph.facts, document, weights)
    metadata = document.get("userDefinedMetadata")
    signature = document.get("signature") or (metadata.get("signature") if isinstance(metadata, Mapping) else None)
    if isinstance(signature, Mapping) and signature.get("outputs"):
        found = Signature(_infos(signature, "inputs"), _infos(signature, "outputs"))
        describe_signatures(graph.facts, {"serving_default": found})
        apply_signature(graph, "serving_default", found)
        mark_chosen(graph)
    return graph


def _with_initializer(topology: Mapping[str, Any], initializer: Any) -> Mapping[str, Any]:
    """The nodes with those of the graph that runs once before: it fills the tables, which stand in both under one name."""
    nodes, more = topology["node"], initializer.get("node") if isinstance(initializer, Mapping) else None
    if not isinstance(nodes, list) or not isinstance(more, list):
        return topology
    known = {node.get("name") for node in nodes if isinstance(node, Mapping)}
    return {**topology, "node": [*nodes, *(node for node in more if isinstance(node, Mapping) and node.get("name") not in known)]}


def read_old_graph_model(file: SourceFile) -> Graph:
    """The form of TensorFlow.js 0.x: a GraphDef without weights, and a manifest beside it."""
    weights = read_manifest(load_json(SourceFile(file.path.with_name(MANIFEST))), file.path.parent)
    graph = read_graph(file, whole(file.view), weights)
    graph.facts.variables = describe_weights(weights)
    _tell_unused(graph, weights)
    return graph


def _tell_unused(graph: Graph, weights: Mapping[str, Tensor]) -> None:
    unused = sorted(name for name in weights if name not in graph or graph.node(name).op != "Const")
    if unused:
        graph.notices.append(f"{len(unused)} weights belong to no constant of the topology: {', '.join(unused[:3])}")


def _read_topology(path: Path, topology: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Graph:
    data = plain_fields(topology)
    for node in data.get("node", []) if isinstance(data.get("node"), list) else []:
        if isinstance(node, dict):
            node["op"] = _RENAMED.get(str(node.get("op")), node.get("op"))
    message = b"".join(bytes(chunk) for chunk in encode("GraphDef", data).chunks())
    file = MemoryFile(path, message)
    graph = read_graph(file, whole(file.view), weights)
    _tell_unused(graph, weights)
    return graph


def _infos(signature: Mapping[str, Any], role: str) -> dict[str, TensorInfo]:
    found = {}
    given = signature.get(role)
    for name, info in given.items() if isinstance(given, Mapping) else ():
        if isinstance(info, Mapping) and isinstance(info.get("name"), str):
            found[str(name)] = TensorInfo(info["name"], Typed(DType.UNKNOWN, None))
    return found
