"""What a TensorFlow Lite file says of itself: signatures, subgraphs, metadata."""

from __future__ import annotations

from collections.abc import Mapping

from tensorferry.facts import Facts, FunctionFact, PortFact, SignatureFact
from tensorferry.readers.tflite.model import LiteModel, SignatureRecord, SubgraphRecord

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
    facts.details.append(lambda facts: _look_inside(facts, model))


def _ports(record: SubgraphRecord, names: Mapping[str, int]) -> tuple[PortFact, ...]:
    tensors = {name: record.tensors[number] for name, number in names.items() if 0 <= number < len(record.tensors)}
    return tuple(PortFact(name, tensor.name, str(tensor.dtype), tensor.shape) for name, tensor in tensors.items())


def _look_inside(facts: Facts, model: LiteModel) -> None:
    for record in model.subgraphs():
        name = record.name or f"subgraph {record.number}"
        facts.functions.append(FunctionFact(name, len(record.operators), len(record.inputs), len(record.outputs)))
    for name, stretch in model.metadata.items():
        data = b"" if stretch is None else model.file.read(stretch.start, min(stretch.length, _MOST_SHOWN + 1))
        try:
            text = data.rstrip(b"\0").decode() if len(data) <= _MOST_SHOWN else "\0"
        except UnicodeDecodeError:
            text = "\0"
        printable = all(character.isprintable() or character in "\n\t" for character in text)
        facts.metadata[name] = text if printable else f"{stretch.length if stretch else 0} bytes"
