"""MetaGraphs: a graph with its signatures, tags and assets, as SavedModels and the `.meta` files of checkpoints hold them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tensorferry.errors import OptionError, SourceError
from tensorferry.ir import Graph, Port, Typed, Value
from tensorferry.readers.typing import name_dims
from tensorferry.tensor import DType
from tensorferry.wire.protobuf import Span, fields, malformed
from tensorferry.wire.tensorflow import decode_dtype, decode_shape, split_entry

DEFAULT_SIGNATURE = "serving_default"
_PREDICT = "tensorflow/serving/predict"
_INIT_SIGNATURE = "__saved_model_init_op"


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What a signature says of one input or output."""

    tensor: str
    typed: Typed


@dataclass(slots=True)
class Signature:
    """Public names -> tensors, in the order of the file."""

    inputs: dict[str, TensorInfo] = field(default_factory=dict)
    outputs: dict[str, TensorInfo] = field(default_factory=dict)
    method: str = ""


@dataclass(slots=True)
class MetaGraph:
    """The parts of a MetaGraphDef. `assets` maps the tensor that holds a file's name to that name."""

    graph: Span | None = None
    tags: tuple[str, ...] = ()
    producer: str = ""  # version of the TensorFlow that wrote it
    signatures: dict[str, Signature] = field(default_factory=dict)
    assets: dict[str, str] = field(default_factory=dict)
    objects: Span | None = None


def scan_metagraph(message: Span) -> MetaGraph:
    """Walk a MetaGraphDef; the graph itself is left for its reader."""
    found = MetaGraph()
    for each in fields(message):
        if each.tag == 1:
            info = list(fields(each.delimited()))
            found.tags = tuple(part.delimited().text for part in info if part.tag == 4)
            found.producer = next((part.delimited().text for part in info if part.tag == 5), "")
        elif each.tag == 2:
            found.graph = each.delimited()
        elif each.tag == 5:
            key, value = split_entry(each.delimited())
            if key != _INIT_SIGNATURE:
                found.signatures[key] = _scan_signature(value)
        elif each.tag == 6:
            tensor, name = _scan_asset(each.delimited())
            found.assets[tensor] = name
        elif each.tag == 7:
            found.objects = each.delimited()
    return found


def _scan_signature(message: Span) -> Signature:
    signature = Signature()
    for each in fields(message):
        if each.tag in (1, 2):
            name, info = split_entry(each.delimited())
            (signature.inputs if each.tag == 1 else signature.outputs)[name] = _scan_info(info)
        elif each.tag == 3:
            signature.method = each.delimited().text
    return signature


def _scan_info(message: Span) -> TensorInfo:
    tensor, dtype, shape = "", DType.UNKNOWN, None
    for each in fields(message):
        if each.tag == 1:
            tensor = each.delimited().text
        elif each.tag == 2:
            dtype = decode_dtype(each.signed())
        elif each.tag == 3:
            shape = decode_shape(each.delimited())
    return TensorInfo(tensor, Typed(dtype, shape))


def _scan_asset(message: Span) -> tuple[str, str]:
    tensor, name = "", ""
    for each in fields(message):
        if each.tag == 1:
            tensor = next((part.delimited().text for part in fields(each.delimited()) if part.tag == 1), "")
        elif each.tag == 2:
            name = each.delimited().text
    return tensor, name


# -- choosing ------------------------------------------------------------------------------------------------------


def choose_signature(signatures: Mapping[str, Signature], wanted: str | None, *, any_will_do: bool = False) -> str:
    """The one asked for, else the default, else the only one that gives anything, or that predicts. OptionError lists them."""
    if wanted is not None:
        if wanted not in signatures:
            raise OptionError(f"the model has no signature '{wanted}'", remedy=f"signatures are {_listed(signatures)}")
        return wanted
    if DEFAULT_SIGNATURE in signatures:
        return DEFAULT_SIGNATURE
    giving = [name for name, each in signatures.items() if each.outputs]
    if len(giving) == 1 or len(signatures) == 1:
        return next(iter(giving or signatures))
    predicting = [name for name in giving if signatures[name].method == _PREDICT]
    if len(predicting) == 1:
        return predicting[0]
    if any_will_do:
        return next(iter(giving or signatures))
    raise OptionError("the model has several signatures", remedy=f"choose one with --signature: {_listed(signatures)}")


def _listed(signatures: Mapping[str, Signature]) -> str:
    return ", ".join(signatures) or "none"


def apply_signature(graph: Graph, name: str, signature: Signature) -> None:
    """Let the graph's inputs and outputs be those of the signature, under its names; shapes that it knows better are taken."""
    graph.signature = name
    graph.inputs = list(_ports(graph, signature.inputs, "input"))
    graph.outputs = list(_ports(graph, signature.outputs, "output"))
    for port in graph.inputs:
        _sharpen(port.value, signature.inputs[port.name].typed)


def _ports(graph: Graph, infos: Mapping[str, TensorInfo], role: str) -> Iterator[Port]:
    """In the order in which the outputs of one node stand, else of the names, numbers in them counted as numbers."""
    for name, info in sorted(infos.items(), key=lambda item: (_node_and_index(item[1].tensor), _natural(item[0]))):
        node, index = _node_and_index(info.tensor)
        if node not in graph or index >= len(graph.node(node).outputs):
            raise SourceError(
                f"{role} '{name}' of the signature is the tensor '{info.tensor}', which the graph does not have",
                remedy="the model was cut apart or edited by hand; save it anew",
            )
        yield Port(name, graph.node(node).outputs[index])


def _node_and_index(tensor: str) -> tuple[str, int]:
    node, _, index = tensor.rpartition(":")
    return (node, int(index)) if node and index.isdecimal() and len(index) < 7 else (tensor, 0)


def _natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """`output_10` after `output_9`."""
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part)


def _sharpen(value: Value, typed: Typed) -> None:
    """What the signature says of a placeholder's shape, where the placeholder says less."""
    node = value.producer
    if node.op.startswith("Placeholder") and value.shape is None and typed.shape is not None:
        shape = name_dims(typed.shape, node.name)
        node.attrs["shape"] = shape
        value.retype(Typed(value.dtype, shape))


def choose_metagraph(found: list[MetaGraph], tags: tuple[str, ...] | None) -> MetaGraph:
    """The MetaGraph with exactly these tags; without any asked for, that for serving, or the only one."""
    if not found:
        raise malformed("the SavedModel holds no graph", 0)
    listed = "; ".join(",".join(each.tags) or "(none)" for each in found)
    if tags is not None:
        matching = [each for each in found if set(each.tags) == set(tags)]
        if not matching:
            raise OptionError(f"the model has no graph with the tags {','.join(tags)}", remedy=f"tags are {listed}")
        return matching[0]
    serving = [each for each in found if each.tags == ("serve",)] or [each for each in found if "serve" in each.tags]
    if not serving and len(found) > 1:
        raise OptionError("the model has several graphs, none of them for serving", remedy=f"choose one with --tags: {listed}")
    return (serving or found)[0]
