"""What TensorFlow's ops take and give, read from `tensorflow.ops` beside this file: facts about every op, known to `ops` or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tensorferry.tensor import DType


@dataclass(frozen=True, slots=True)
class Argument:
    """An input or output: one tensor, `count` (an attribute) of one type, or with `listed` one for each type in the attribute.

    `type` is an element type or, with `from_attribute`, the attribute that holds it, which may be left out where there is a
    `default`. Inputs have no name here.
    """

    name: str
    type: str
    from_attribute: bool
    count: str = ""
    listed: bool = False
    default: DType | None = None

    def types(self, attrs: Mapping[str, Any]) -> list[DType]:
        """The element types of its tensors under these attributes; UNKNOWN where they do not tell."""
        if self.listed:
            types = attrs.get(self.type)
            return [_dtype(each) for each in types] if isinstance(types, list | tuple) else []
        dtype = _dtype(attrs.get(self.type, self.default)) if self.from_attribute else DType(self.type)
        many = attrs.get(self.count) if self.count else 1
        return [dtype] * (many if isinstance(many, int) else 0)


@dataclass(frozen=True, slots=True)
class Signature:
    """All that one op takes and gives, in order."""

    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]

    @property
    def least_inputs(self) -> int:
        """How many tensors it takes at least."""
        return sum(not argument.count and not argument.listed for argument in self.inputs)

    def output_types(self, attrs: Mapping[str, Any]) -> list[DType]:
        return [dtype for argument in self.outputs for dtype in argument.types(attrs)]

    def output_index(self, name: str, number: int, attrs: Mapping[str, Any]) -> int | None:
        """The flat index of tensor `number` of the output of that name; None when there is none."""
        first = 0
        for argument in self.outputs:
            size = len(argument.types(attrs))
            if argument.name == name:
                return first + number if number < size else None
            first += size
        return None

    def type_attributes(self, inputs: Sequence[DType]) -> Iterator[tuple[str, Any, bool]]:
        """(attribute, value, may be left out) of all that follow from the types of these inputs, numbers of inputs among them.

        At most one argument may stand for several tensors, or several for the same number: they take what the others leave.
        """
        several = [argument for argument in self.inputs if argument.count or argument.listed]
        if len(several) > 1 and (several[0].listed or len({argument.count for argument in several}) > 1):
            return
        spare = (len(inputs) - len(self.inputs) + len(several)) // max(1, len(several))
        at = 0
        for argument in self.inputs:
            size = spare if argument in several else 1
            types = list(inputs[at : at + size])
            at += size
            if argument.listed:
                yield argument.type, types, False
            elif argument.from_attribute and types:
                yield argument.type, types[0], types[0] is argument.default
            if argument.count:
                yield argument.count, size, False


def signature(op: str) -> Signature | None:
    """The op's signature; None for one that TensorFlow does not have."""
    line = _lines().get(op)
    return None if line is None else _parse(line)


@cache
def _lines() -> dict[str, str]:
    text = Path(__file__).with_name("tensorflow.ops").read_text(encoding="ascii")
    return dict(line.split(" ", 1) for line in text.splitlines() if not line.startswith("#"))


@cache
def _parse(line: str) -> Signature:
    takes, gives = line.split(">")
    outputs = (word.partition(":") for word in gives.split())
    return Signature(
        tuple(_argument("", word) for word in takes.split()),
        tuple(_argument(name, kind) for name, _, kind in outputs),
    )


_TYPES = frozenset(DType)


def _argument(name: str, word: str) -> Argument:
    word, _, default = word.partition("=")
    if word.startswith("**"):
        return Argument(name, word[2:], True, listed=True)
    kind, _, count = word.partition("*")
    return Argument(name, kind, kind not in _TYPES, count, default=DType(default) if default else None)


def _dtype(attribute: Any) -> DType:
    return attribute if isinstance(attribute, DType) else DType.UNKNOWN
