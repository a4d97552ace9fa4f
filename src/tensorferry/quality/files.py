"""What the report needs to know of a TensorFlow Lite file without running it: who computes what, how it is stored, its bytes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tensorferry.ir import Quantization
from tensorferry.quality.records import Feed, Spread
from tensorferry.readers.tflite.constants import DequantizedTensor, read_constant
from tensorferry.readers.tflite.model import LiteModel, OperatorRecord, SubgraphRecord, TensorRecord, read_model
from tensorferry.storage import SourceFile
from tensorferry.tensor import Array, Tensor

SEEMING = frozenset({"QUANTIZE", "DEQUANTIZE"})
"""Operators that compute nothing: seams between types."""

SHAPING = 2
"""Tensors of integers up to this rank that are constant are sizes and axes, no weights."""

SAMPLED = 1 << 18
"""Weights of a layer that a histogram is made of, evenly taken: more change no picture."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator that computes; the tensors that it reads and are constant."""

    operator: str
    result: TensorRecord
    constants: tuple[TensorRecord, ...]


class LiteFile:
    """A file's first subgraph, which is the model."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._file = SourceFile(self.path)
        self._model: LiteModel = read_model(self._file)
        self._main: SubgraphRecord = self._model.subgraph(0)
        self.size = self._file.size
        self.tensors: Mapping[str, TensorRecord] = {each.name: each for each in self._main.tensors}
        self._makers = {number: each for each in self._main.operators for number in each.outputs}

    def operators(self) -> dict[str, int]:
        """How often each operator stands in the file, most frequent first."""
        counts = Counter(each.name for graph in self._model.subgraphs() for each in graph.operators)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    @cached_property
    def layers(self) -> dict[str, Layer]:
        """By the name of the tensor that is computed."""
        found = {}
        for operator in self._main.operators:
            if operator.name in SEEMING:
                continue
            constants = tuple(each for each in map(self._constant, operator.inputs) if each is not None)
            for number in operator.outputs:
                if number >= 0:
                    result = self._main.tensors[number]
                    found[result.name] = Layer(operator.custom or operator.name, result, constants)
        return found

    def _constant(self, number: int) -> TensorRecord | None:
        """A constant that an operator reads, behind a DEQUANTIZE too, as float16 weights are."""
        if number < 0:
            return None
        record, maker = self._main.tensors[number], self._maker(number)
        if maker is not None and maker.name == "DEQUANTIZE":
            record = self._main.tensors[maker.inputs[0]]
        return record if record.content is not None else None

    def _maker(self, number: int) -> OperatorRecord | None:
        return self._makers.get(number)

    def elements(self, record: TensorRecord) -> Array:
        """The real numbers that a constant stands for, or an even choice of them, as float64."""
        assert record.content is not None
        tensor: Tensor = read_constant(self._file, record, record.content)
        if record.quantization is not None and record.quantized:
            tensor = DequantizedTensor(tensor, record.quantization)
        step = max(1, tensor.size // SAMPLED)
        pieces = [np.frombuffer(piece, tensor.dtype.numpy) for piece in tensor.chunks()]
        whole = np.concatenate(pieces) if pieces else np.empty(0)
        return whole[::step].astype(np.float64)

    def ends(self, role: str) -> dict[str, TensorRecord]:
        """Inputs or outputs by public name, in the file's order."""
        names: dict[int, str] = {}
        for signature in self._model.signatures:
            if signature.subgraph == 0:
                public = signature.inputs if role == "input" else signature.outputs
                names |= {number: name for name, number in public.items()}
        numbers = self._main.inputs if role == "input" else self._main.outputs
        return {names.get(number, self._main.tensors[number].name): self._main.tensors[number] for number in numbers}

    def feeds(self) -> tuple[Feed, ...]:
        """Inputs, then outputs, as a program meets them."""
        found = []
        for role in ("input", "output"):
            for name, record in self.ends(role).items():
                shape = tuple(dim if isinstance(dim, int) else -1 for dim in record.shape or ())
                scale, zero_point = per_tensor(record.quantization) if record.quantized else (None, None)
                found.append(Feed(name, role, record.dtype.value, shape, scale, zero_point))
        return tuple(found)

    def weight_bytes(self, layer: Layer) -> int:
        return sum(each.content.length for each in layer.constants if each.content is not None)

    def main_weight(self, layer: Layer) -> TensorRecord | None:
        """The largest constant of a layer that holds numbers; sizes and axes are none."""
        kept = [each for each in layer.constants if each.dtype.is_float or (each.quantized and len(each.shape or ()) >= SHAPING)]
        return max(kept, key=lambda each: each.content.length if each.content else 0, default=None)


def per_tensor(quantization: Quantization | None) -> tuple[float | None, int | None]:
    """Scale and zero point of a tensor that has one of each."""
    if quantization is None or len(quantization.scales) != 1:
        return None, None
    return quantization.scales[0], (quantization.zero_points or (0,))[0]


def spread_of(before: Array, after: Array, bins: int = 48) -> Spread | None:
    """Both in the same bins, from the lowest to the highest of the first."""
    finite = before[np.isfinite(before)]
    if not finite.size or finite.min() == finite.max():
        return None
    edges = np.linspace(finite.min(), finite.max(), bins + 1)
    counts = [np.histogram(np.clip(each, edges[0], edges[-1]), edges)[0] for each in (finite, after[np.isfinite(after)])]
    return Spread(tuple(map(float, edges)), tuple(map(int, counts[0])), tuple(map(int, counts[1])))
