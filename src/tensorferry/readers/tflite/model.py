"""A TensorFlow Lite file as records: subgraphs, tensors, operators, where the weights lie. No weight is touched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from tensorferry.errors import SourceError
from tensorferry.ir import UNKNOWN_DIM, Quantization, Shape
from tensorferry.storage import SourceFile
from tensorferry.tensor import DType
from tensorferry.wire import tflite_schema
from tensorferry.wire.flatview import View, Walker, empty_view
from tensorferry.wire.protobuf import malformed

_NEWER_CODES = 127
"""In the old, 8-bit field of an operator's number: look at the other."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of the file."""

    start: int
    length: int


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """A tensor of a subgraph. `shape` has a `?` for each open size; `content` says where a constant's bytes lie."""

    number: int
    name: str
    dtype: DType
    shape: Shape
    content: Stretch | None
    quantization: Quantization | None
    variable: bool
    sparsity: View | None
    has_rank: bool

    @property
    def quantized(self) -> bool:
        """Whether its whole numbers stand for real ones."""
        return self.quantization is not None and self.dtype.is_integer


@dataclass(frozen=True, slots=True)
class OperatorRecord:
    """An operator. `custom` is the code of one that is no builtin, `custom_options` its own bytes; -1 among the tensors: none."""

    name: str
    custom: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: View
    custom_options: Stretch | None


@dataclass(slots=True)
class SubgraphRecord:
    """A graph of operators; inputs and outputs are numbers of its tensors."""

    number: int
    name: str
    tensors: Sequence[TensorRecord]
    operators: Sequence[OperatorRecord]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SignatureRecord:
    """Public names of a subgraph's inputs and outputs, by the tensors' numbers."""

    key: str
    subgraph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(slots=True)
class LiteModel:
    """The file. Subgraphs are read when they are asked for."""

    file: SourceFile
    view: View
    description: str
    version: int
    codes: Sequence[tuple[str, str, int]]
    buffers: Sequence[View]
    signatures: Sequence[SignatureRecord]
    metadata: Mapping[str, Stretch | None]
    _views: Sequence[View] = field(default_factory=list)
    _read: dict[int, SubgraphRecord] = field(default_factory=dict)

    @property
    def subgraph_count(self) -> int:
        return len(self._views)

    def subgraph(self, number: int) -> SubgraphRecord:
        """A subgraph by its number."""
        if not 0 <= number < len(self._views):
            raise malformed(f"it has {len(self._views)} subgraphs, and number {number} is asked for", self.view.position)
        if number not in self._read:
            self._read[number] = _Subgraphs(self).read(number, self._views[number])
        return self._read[number]

    def subgraphs(self) -> Iterator[SubgraphRecord]:
        return (self.subgraph(number) for number in range(len(self._views)))

    def content(self, number: int) -> Stretch | None:
        """Where the bytes of a buffer lie; None for the empty one, whose tensors are computed."""
        if not 0 <= number < len(self.buffers):
            raise malformed(f"it has {len(self.buffers)} buffers, and number {number} is asked for", self.view.position)
        buffer = self.buffers[number]
        span = buffer.span("data")
        if span is not None and span[1]:
            return Stretch(*span)
        start, size = buffer.number("offset"), buffer.number("size")
        if start <= 1 or not size:  # 0 and 1: the content is not behind the tables
            return None
        if start + size > self.file.size:
            raise malformed(f"buffer {number} reaches beyond its end", buffer.position)
        return Stretch(start, size)


def read_model(file: SourceFile) -> LiteModel:
    """The file's tables. SourceError for what is none, or of a version that nobody has seen."""
    if file.size < 8 or bytes(file.view[4:8]) != tflite_schema.IDENTIFIER:
        raise malformed("it does not begin as TensorFlow Lite files do", 0)
    view = Walker(file.view, tflite_schema.schema()).root("Model")
    version = view.number("version")
    if version != tflite_schema.VERSION:
        raise SourceError(f"'{file.path}' is of version {version} of the format; {tflite_schema.VERSION} is the one in use")
    model = LiteModel(
        file=file,
        view=view,
        description=view.text("description"),
        version=version,
        codes=[_code(each) for each in view.tables("operator_codes")],
        buffers=view.tables("buffers"),
        signatures=[_signature(each) for each in view.tables("signature_defs")],
        metadata={},
        _views=view.tables("subgraphs"),
    )
    if not model.subgraph_count:
        raise malformed("it holds no graph", view.position)
    found = {each.text("name"): each.number("buffer") for each in view.tables("metadata")}
    model.metadata = {name: model.content(number) if number < len(model.buffers) else None for name, number in found.items()}
    if any(each.number("id") for each in view.tables("external_buffers")):
        raise SourceError(
            f"'{file.path}' keeps its weights in other files",
            why="external buffers are not read",
            remedy="write the model as one file",
        )
    return model


def _code(view: View) -> tuple[str, str, int]:
    """(builtin operator or CUSTOM, code of a custom one, version)."""
    number = max(view.number("builtin_code"), view.number("deprecated_builtin_code"))
    name = _names().get(number)
    if name is None:
        raise SourceError(
            f"the operator with number {number} is not known",
            where=f"byte {view.position}",
            remedy="the file is damaged, or newer than this program",
        )
    return name, view.text("custom_code") if name == "CUSTOM" else "", view.number("version")


@cache
def _names() -> Mapping[int, str]:
    return {operator.number: name for name, operator in tflite_schema.operators().items()}


def _signature(view: View) -> SignatureRecord:
    maps = [{each.text("name"): each.number("tensor_index") for each in view.tables(role)} for role in ("inputs", "outputs")]
    return SignatureRecord(view.text("signature_key"), view.number("subgraph_index"), maps[0], maps[1])


class _Subgraphs:
    """Reads the tables of one subgraph."""

    def __init__(self, model: LiteModel) -> None:
        self._model = model

    def read(self, number: int, view: View) -> SubgraphRecord:
        tensors = [self._tensor(place, each) for place, each in enumerate(view.tables("tensors"))]
        operators = [self._operator(each, len(tensors)) for each in view.tables("operators")]
        ends = [_tensor_numbers(view, role, len(tensors), optional=False) for role in ("inputs", "outputs")]
        return SubgraphRecord(number, view.text("name"), tensors, operators, ends[0], ends[1])

    def _operator(self, view: View, count: int) -> OperatorRecord:
        index = view.number("opcode_index")
        if index >= len(self._model.codes):
            raise malformed(f"an operator is of kind {index} of {len(self._model.codes)}", view.position)
        name, custom, version = self._model.codes[index]
        span = view.span("custom_options")
        custom_options = None if span is None else Stretch(*span)
        if view.number("large_custom_options_offset") > 1:
            start, size = view.number("large_custom_options_offset"), view.number("large_custom_options_size")
            if start + size > self._model.file.size:
                raise malformed("the options of a custom operator reach beyond its end", view.position)
            custom_options = Stretch(start, size)
        inputs, outputs = (_tensor_numbers(view, role, count, optional=True) for role in ("inputs", "outputs"))
        return OperatorRecord(name, custom, version, inputs, outputs, _options(view, name), custom_options)

    def _tensor(self, number: int, view: View) -> TensorRecord:
        dtype = view.member("type")
        shape = tuple(int(size) for size in view.numbers("shape"))
        signature = tuple(int(size) for size in view.numbers("shape_signature"))
        if len(signature) == len(shape):
            shape = signature
        if any(size < -1 for size in shape):
            raise malformed(f"a tensor has the shape {list(shape)}", view.position)
        return TensorRecord(
            number=number,
            name=view.text("name"),
            dtype=_dtypes().get(dtype, DType.UNKNOWN),
            shape=tuple(UNKNOWN_DIM if size < 0 else size for size in shape),
            content=self._model.content(view.number("buffer")),
            quantization=self._quantization(view.child("quantization"), shape),
            variable=view.flag("is_variable"),
            sparsity=view.child("sparsity"),
            has_rank=view.flag("has_rank"),
        )

    def _quantization(self, view: View | None, shape: tuple[int, ...]) -> Quantization | None:
        if view is None:
            return None
        if view.union("details") is not None and not len(view.numbers("scale")):
            raise SourceError(
                "a tensor is quantised in blocks, which cannot be read yet",
                where=f"byte {view.position}",
                remedy="write the model with one scale for each channel",
            )
        scales, zeros = view.numbers("scale"), view.numbers("zero_point")
        with np.errstate(all="ignore"):
            if not np.isfinite(scales).all():
                raise malformed("a tensor is quantised with a scale that is no number", view.position)
        if not len(scales) or not scales.any():
            return None
        axis = view.number("quantized_dimension") if len(scales) > 1 else None
        if axis is not None and not (0 <= axis < len(shape) and shape[axis] == len(scales)):
            raise malformed(f"a tensor of shape {list(shape)} has {len(scales)} scales along axis {axis}", view.position)
        if len(zeros) not in (0, 1, len(scales)):
            raise malformed(f"a tensor has {len(scales)} scales and {len(zeros)} zero points", view.position)
        points = tuple(int(each) for each in zeros) or (0,)
        points = points * len(scales) if len(points) == 1 else points
        return Quantization(tuple(float(each) for each in scales), points, axis)


def _options(view: View, operator: str) -> View:
    """The options of a builtin operator: defaults where the file leaves them out or gives those of another."""
    wanted = tflite_schema.operator(operator).options
    for name in tflite_schema.OPTIONS_UNIONS:
        found = view.union(name)
        if found is not None and found.table == wanted:
            return found
    return empty_view(view.walker, wanted)


def _tensor_numbers(view: View, role: str, count: int, *, optional: bool) -> tuple[int, ...]:
    numbers = tuple(int(each) for each in view.numbers(role))
    if any(not (-1 if optional else 0) <= each < count for each in numbers):
        raise malformed(f"a list of {role} names a tensor that is not there (of {count})", view.position)
    return numbers


@cache
def _dtypes() -> Mapping[str, DType]:
    """Element types that can be read, by the schema's names; of the others a tensor is of unknown type."""
    return {each.value.upper(): each for each in DType}
