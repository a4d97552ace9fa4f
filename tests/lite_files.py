"""TensorFlow Lite files put together by hand, for operators that no converter here writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tensorferry.wire import tflite_schema
from tensorferry.wire.flatbuffer import TableBuilder
from tensorferry.writers.tflite_payload import pack_strings


@dataclass
class LiteFile:
    """Tensors, operators and buffers of a file; subgraph 0 unless another is named."""

    buffers: list[dict[str, Any]] = field(default_factory=lambda: [{}])
    codes: list[dict[str, Any]] = field(default_factory=list)
    subgraphs: list[dict[str, Any]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    def graph(self, name: str = "main") -> int:
        self.subgraphs.append({"tensors": [], "operators": [], "inputs": [], "outputs": [], "name": name})
        return len(self.subgraphs) - 1

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str = "FLOAT32",
        *,
        name: str = "",
        data: Any = None,
        scale: float | Sequence[float] | None = None,
        zero: int | Sequence[int] = 0,
        graph: int = 0,
        role: str = "",
        **more: Any,
    ) -> int:
        """A tensor; `data` makes it constant, `role` an input or an output. Returns its number."""
        tensors = self.subgraphs[graph]["tensors"]
        table: dict[str, Any] = {
            "shape": [max(size, 1) if size < 0 else size for size in shape],
            "type": dtype,
            "name": name or f"t{len(tensors)}",
            "buffer": 0 if data is None else self.buffer(data),
            "has_rank": True,
            **more,
        }
        if any(size < 0 for size in shape):
            table["shape_signature"] = list(shape)
        if scale is not None:
            table["quantization"] = {"scale": np.atleast_1d(scale), "zero_point": np.atleast_1d(zero)}
            table["quantization"]["quantized_dimension"] = more.pop("axis", 0)
            table.pop("axis", None)
        tensors.append(table)
        number = len(tensors) - 1
        if role:
            self.subgraphs[graph][f"{role}s"].append(number)
        return number

    def buffer(self, data: Any) -> int:
        array = np.asarray(data)
        content = data if isinstance(data, bytes) else pack_strings(array) if array.dtype == object else array.tobytes()
        self.buffers.append({"data": content})
        return len(self.buffers) - 1

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Mapping[str, Any] | None = None,
        *,
        graph: int = 0,
        custom: bytes | None = None,
        version: int = 1,
        **more: Any,
    ) -> None:
        """An operator; with `custom` its own bytes, the name is a custom operator's code."""
        builtin = tflite_schema.operator("CUSTOM" if custom is not None else name)
        code = {
            "deprecated_builtin_code": min(builtin.number, 127),
            "builtin_code": builtin.number,
            "custom_code": name if custom is not None else None,
            "version": version,
        }
        if code not in self.codes:
            self.codes.append(code)
        table: dict[str, Any] = {"opcode_index": self.codes.index(code), "inputs": list(inputs), "outputs": list(outputs), **more}
        if custom is not None:
            table["custom_options"] = custom
        elif builtin.options:
            table[tflite_schema.options_field(builtin.options)] = (builtin.options, dict(options or {}))
        self.subgraphs[graph]["operators"].append(table)

    def write(self, path: Path) -> Path:
        builder = TableBuilder(tflite_schema.schema())
        model = {
            "version": 3,
            "operator_codes": self.codes,
            "subgraphs": self.subgraphs,
            "description": "made by hand",
            "buffers": self.buffers,
            **self.extra,
        }
        path.write_bytes(bytes(builder.finish(builder.build("Model", model), tflite_schema.IDENTIFIER)))
        return path
