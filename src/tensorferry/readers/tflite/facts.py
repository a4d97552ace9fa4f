"""What a TensorFlow Lite file says of itself: signatures, subgraphs, metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorferry.errors import FerryError
from tensorferry.facts import Facts, FunctionFact, PortFact, SignatureFact
from tensorferry.readers.tflite.metadata import appended_files, read_metadata
from tensorferry.readers.tflite.model import LiteModel, SignatureRecord, SubgraphRecord
from tensorferry.wire import tflite_metadata

_MOST_METADATA = 16 << 20
"""Tables of metadata up to this size are taken apart."""

_UNREAD = "there is some"
"""Stands for metadata until somebody looks."""

_MOST_SHOWN = 1 << 12
"""Metadata up to this size is shown if it is text; of other only the size is told."""


def describe_file(facts: Facts, model: LiteModel, chosen: SignatureRecord | None) -> None:
    """Subgraphs stand as functions; they are counted when somebody looks."""
    facts.producer = model.description
    facts.signatures = [
        SignatureFact(
            each.key,
            _ports(model.subgraph(each.subgraph), each.inputs),
            _ports(model.subgraph(each.subgraph), each.outputs),
            each is chosen,
        )
        for each in model.signatures
    ]
    if tflite_metadata.BUFFER in model.metadata:
        facts.metadata[tflite_metadata.BUFFER] = _UNREAD
    facts.details.append(lambda facts: _look_inside(facts, model))


def _ports(record: SubgraphRecord, names: Mapping[str, int]) -> tuple[PortFact, ...]:
    tensors = {name: record.tensors[number] for name, number in names.items() if 0 <= number < len(record.tensors)}
    return tuple(PortFact(name, tensor.name, str(tensor.dtype), tensor.shape) for name, tensor in tensors.items())


def _described(data: bytes) -> dict[str, Any]:
    """What the metadata says of the model, and of its inputs and outputs, each under a name of its own."""
    try:
        told = read_metadata(data)
    except FerryError as error:
        return {tflite_metadata.BUFFER: f"{len(data)} bytes that cannot be read: {error.what}"}
    subgraphs = told.pop("subgraph_metadata", [])
    found: dict[str, Any] = {f"{tflite_metadata.BUFFER} {key}": value for key, value in told.items()}
    for number, subgraph in enumerate(subgraphs):
        where = f"subgraph {number} " if len(subgraphs) > 1 else ""
        for role in ("input", "output"):
            for place, tensor in enumerate(subgraph.pop(f"{role}_tensor_metadata", [])):
                found[f"{tflite_metadata.BUFFER} {where}{role} {place}"] = tensor
        if subgraph:
            found[f"{tflite_metadata.BUFFER} {where.strip() or 'subgraph'}"] = subgraph
    return found


def _look_inside(facts: Facts, model: LiteModel) -> None:
    for record in model.subgraphs():
        name = record.name or f"subgraph {record.number}"
        facts.functions.append(FunctionFact(name, len(record.operators), len(record.inputs), len(record.outputs)))
    facts.metadata.pop(tflite_metadata.BUFFER, None)
    facts.assets = {**facts.assets, **appended_files(model.file)}
    for name, stretch in model.metadata.items():
        if name == tflite_metadata.BUFFER and stretch is not None and stretch.length <= _MOST_METADATA:
            facts.metadata |= _described(model.file.read(stretch.start, stretch.length))
            continue
        data = b"" if stretch is None else model.file.read(stretch.start, min(stretch.length, _MOST_SHOWN + 1))
        try:
            text = data.rstrip(b"\0").decode() if len(data) <= _MOST_SHOWN else "\0"
        except UnicodeDecodeError:
            text = "\0"
        printable = all(character.isprintable() or character in "\n\t" for character in text)
        facts.metadata[name] = text if printable else f"{stretch.length if stretch else 0} bytes"
