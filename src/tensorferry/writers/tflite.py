"""Graph -> TensorFlow Lite file. The weights go straight from their source to the file; only the tables are held in memory.

An ordinary flatbuffer refers forward by 32 bits: the weights lie behind the tables, each a vector with its length, and a Buffer
refers to its vector. A file that would reach 2 GiB takes the schema's other form: a Buffer holds offset and size in 64 bits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from tensorferry.ir import Graph, Quantization
from tensorferry.program import Code, Entry, Program, ProgramOperator, ProgramTensor, Subgraph
from tensorferry.wire import tflite_schema
from tensorferry.wire.flatbuffer import Reserved, TableBuilder, fill, fill_reference
from tensorferry.writers.tflite_payload import Payload
from tensorferry.writers.tflite_program import Fallback, make_program

ALIGNMENT = 16
ORDINARY_LIMIT = (1 << 31) - 1
"""An ordinary flatbuffer must stay below this many bytes: readers check references as signed 32-bit numbers."""
_RUNTIME_BYTES = 16  # the official converter pads the version string to this size
LONG_OFFSETS_RUNTIME = "2.14.0"
"""The first runtime that finds buffers by 64-bit offsets: TFLite 2.13.0 was tried and says that an input lacks data."""


@dataclass(frozen=True, slots=True)
class TfliteFacts:
    """What was written. `operators` counts by name, most frequent first; `versions` lists (operator, version) as used.

    `custom` names the operators that are no builtins: the runtime has them only where somebody adds them.
    """

    size: int
    operators: Mapping[str, int]
    versions: tuple[tuple[str, int], ...]
    tensor_count: int
    oldest_runtime: str
    long_offsets: bool
    notices: tuple[str, ...] = ()
    custom: tuple[str, ...] = ()

    @property
    def operator_count(self) -> int:
        return sum(self.operators.values())

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {
            "size": self.size,
            "operator_count": self.operator_count,
            "operators": dict(self.operators),
            "versions": [list(each) for each in self.versions],
            "tensor_count": self.tensor_count,
            "oldest_runtime": self.oldest_runtime,
            "long_offsets": self.long_offsets,
            "notices": list(self.notices),
            "custom": list(self.custom),
        }


def write_tflite(
    graph: Graph,
    path: str | os.PathLike[str],
    *,
    description: str = "converted by Tensorferry",
    signature: str = "serving_default",
    metadata: Mapping[str, bytes] | None = None,
    limit: int = ORDINARY_LIMIT,
    fallback: Fallback | None = None,
) -> TfliteFacts:
    """Write the graph as it is lowered; `fallback` is asked for what is declined. The rest is as in `write_program`.

    Raises UnsupportedError, with all nodes that cannot be expressed, before anything is written.
    """
    program = make_program(graph, signature, fallback)
    return write_program(program, path, description=description, metadata=metadata, limit=limit)


def write_program(
    program: Program,
    path: str | os.PathLike[str],
    *,
    description: str = "converted by Tensorferry",
    metadata: Mapping[str, bytes] | None = None,
    limit: int = ORDINARY_LIMIT,
) -> TfliteFacts:
    """Write a program, from wherever it comes. `limit` is the size from which on buffers get 64-bit offsets.

    OSError from the disk passes through (see `atomic.explaining`).
    """
    payloads = [None if tensor is None else Payload(tensor) for tensor in program.buffers]
    builtins = [(code.name, code.version) for code in program.codes if not code.custom]
    oldest = tflite_schema.oldest_runtime(builtins)
    header = _Header(description, oldest, metadata or {})
    layout = _lay_out(program, payloads, header, long_offsets=False)
    notices: tuple[str, ...] = ()
    if layout.size >= limit:
        oldest = tflite_schema.oldest_runtime(builtins, LONG_OFFSETS_RUNTIME)
        layout = _lay_out(program, payloads, replace(header, oldest=oldest), long_offsets=True)
        notices = (
            f"the file is so large that its weights have 64-bit offsets; runtimes before {LONG_OFFSETS_RUNTIME} cannot load it",
        )
    with Path(path).open("wb") as file:
        _write(file, layout)
    return TfliteFacts(
        size=layout.size,
        operators=program.operator_counts(),
        versions=tuple(builtins),
        tensor_count=sum(len(subgraph.tensors) for subgraph in program.subgraphs),
        oldest_runtime=oldest,
        long_offsets=layout.long_offsets,
        notices=notices,
        custom=tuple(sorted({code.name for code in program.codes if code.custom})),
    )


@dataclass(frozen=True, slots=True)
class _Header:
    """What a file says of itself; `oldest` is the first runtime that loads it."""

    description: str
    oldest: str
    metadata: Mapping[str, bytes]


@dataclass(slots=True)
class _Layout:
    """The finished tables, and where each payload's first byte goes."""

    tables: bytearray
    payloads: list[tuple[int, Payload]]
    size: int
    long_offsets: bool


def _write(file: BinaryIO, layout: _Layout) -> None:
    position = file.write(layout.tables)
    for start, payload in layout.payloads:
        length = b"" if layout.long_offsets else payload.nbytes.to_bytes(4, "little")
        position += file.write(bytes(start - position - len(length)) + length)
        for piece in payload.chunks():
            position += file.write(piece)
    file.write(bytes(layout.size - position))


def _lay_out(program: Program, contents: Sequence[Payload | None], header: _Header, *, long_offsets: bool) -> _Layout:
    payloads = [payload for payload in contents if payload is not None]
    builder = TableBuilder(tflite_schema.schema())
    if long_offsets:
        fields = [{"offset": Reserved(8), "size": Reserved(8)} for _ in payloads]
    else:
        fields = [{"data": Reserved(4)} for _ in payloads]
    tables = builder.finish(builder.build("Model", _model(program, header, fields)), tflite_schema.IDENTIFIER)
    position = len(tables)
    placed = []
    for payload, reserved in zip(payloads, fields, strict=True):
        length_bytes = 0 if long_offsets else 4
        start = -(-(position + length_bytes) // ALIGNMENT) * ALIGNMENT
        if long_offsets:
            fill(tables, reserved["offset"], start)
            fill(tables, reserved["size"], payload.nbytes)
        else:
            fill_reference(tables, reserved["data"], start - length_bytes)
        placed.append((start, payload))
        position = start + payload.nbytes
    return _Layout(tables, placed, -(-position // ALIGNMENT) * ALIGNMENT, long_offsets)


# -- tables ------------------------------------------------------------------------------------------------------------


def _model(program: Program, header: _Header, payload_fields: list[dict[str, Reserved]]) -> dict[str, Any]:
    filled: Iterator[dict[str, Reserved]] = iter(payload_fields)
    buffers: list[dict[str, Any]] = [{} if tensor is None else dict(next(filled)) for tensor in program.buffers]
    entries = {"min_runtime_version": header.oldest.encode().ljust(_RUNTIME_BYTES, b"\0"), **header.metadata}
    first = len(buffers)
    buffers += [{"data": content} for content in entries.values()]
    return {
        "version": tflite_schema.VERSION,
        "operator_codes": [_operator_code(code) for code in program.codes],
        "subgraphs": [_subgraph(each) for each in program.subgraphs],
        "description": header.description,
        "buffers": buffers,
        "metadata": [{"name": name, "buffer": first + number} for number, name in enumerate(entries)],
        "signature_defs": [_signature(program, entry) for entry in program.entries],
    }


def _signature(program: Program, entry: Entry) -> dict[str, Any]:
    main = program.subgraphs[entry.subgraph]
    return {
        "inputs": [{"name": name, "tensor_index": number} for name, number in zip(entry.input_names, main.inputs, strict=True)],
        "outputs": [{"name": name, "tensor_index": number} for name, number in zip(entry.output_names, main.outputs, strict=True)],
        "signature_key": entry.signature,
        "subgraph_index": entry.subgraph,
    }


def _operator_code(code: Code) -> dict[str, Any]:
    number = tflite_schema.operator("CUSTOM" if code.custom else code.name).number
    # Old runtimes know only the 8-bit field; 127 tells newer ones to look at the other.
    return {
        "deprecated_builtin_code": min(number, 127),
        "custom_code": code.name if code.custom else None,
        "builtin_code": number,
        "version": code.version,
    }


def _subgraph(subgraph: Subgraph) -> dict[str, Any]:
    return {
        "tensors": [_tensor(each) for each in subgraph.tensors],
        "inputs": subgraph.inputs,
        "outputs": subgraph.outputs,
        "operators": [_operator(each) for each in subgraph.operators],
        "name": subgraph.name,
    }


def _operator(operator: ProgramOperator) -> dict[str, Any]:
    table: dict[str, Any] = {"opcode_index": operator.code, "inputs": operator.inputs, "outputs": operator.outputs}
    if operator.custom is not None:
        table["custom_options"] = operator.custom
    if operator.table:
        table[tflite_schema.options_field(operator.table)] = (operator.table, operator.options)
    return table


def _tensor(tensor: ProgramTensor) -> dict[str, Any]:
    table: dict[str, Any] = {
        "type": tensor.dtype.value.upper(),
        "buffer": tensor.buffer,
        "name": tensor.name,
        "quantization": None if tensor.quantization is None else _quantization(tensor.quantization),
        "has_rank": tensor.shape is not None,
    }
    if tensor.variable:
        table["is_variable"] = True
    shape = tensor.shape or ()
    table["shape"] = [dim if isinstance(dim, int) else 1 for dim in shape]
    if any(isinstance(dim, str) for dim in shape):
        table["shape_signature"] = [dim if isinstance(dim, int) else -1 for dim in shape]
    return table


def _quantization(quantization: Quantization) -> dict[str, Any]:
    return {
        "scale": quantization.scales,
        "zero_point": quantization.zero_points,
        "quantized_dimension": quantization.axis or 0,
    }
