"""What a source says of itself beside its graph: signatures, tags, functions, variables, layers, metadata, assets.

A reader fills `Graph.facts` as it reads; nothing but `inspect` and the writers of metadata look at it. It holds plain data and
recipes of values only, so that filling it costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Dims = tuple[int | str | None, ...] | None
"""A shape: numbers, names or None for open sizes; None for an unknown rank."""


@dataclass(frozen=True, slots=True)
class PortFact:
    """An input or output as the source declares it: public name, the tensor behind it (may be empty), type, shape."""

    name: str
    tensor: str = ""
    dtype: str = ""
    shape: Dims = None


@dataclass(frozen=True, slots=True)
class SignatureFact:
    """One way to call the model. `chosen`: it is the one whose inputs and outputs the graph has."""

    name: str
    inputs: tuple[PortFact, ...] = ()
    outputs: tuple[PortFact, ...] = ()
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class FunctionFact:
    """A function of the source's library: how many nodes, inputs and outputs it has."""

    name: str
    nodes: int = 0
    inputs: int = 0
    outputs: int = 0


@dataclass(frozen=True, slots=True)
class VariableFact:
    """A variable, or a weight of a weights-only source. `role` says what it is where that is known: `optimizer`, `counter`, ..."""

    name: str
    dtype: str
    shape: Dims
    role: str = ""


@dataclass(frozen=True, slots=True)
class LayerFact:
    """A layer of Keras, or an operator of a file without graph nodes. `shape` is that of its output."""

    name: str
    kind: str
    shape: Dims = None
    parameters: int | None = None


@dataclass(slots=True)
class Facts:
    """What a source says of itself. Each reader fills what its format has; what stays empty is not shown.

    `producer`: the program that wrote it, such as `TensorFlow 2.21.0`. `tags`: each set of tags that there is; `chosen_tags` that
    which was read. `metadata`: plain JSON data. `assets`: name of a file -> its bytes, None for one that is missing.
    `tree`: of a Keras source its layers as they were parsed (`KerasModel`), from which a layers-model is written.
    `notes`: anything else in words. `details` are what is worth finding out only when somebody looks; `complete` runs them.
    """

    producer: str = ""
    tags: list[tuple[str, ...]] = field(default_factory=list)
    chosen_tags: tuple[str, ...] = ()
    signatures: list[SignatureFact] = field(default_factory=list)
    functions: list[FunctionFact] = field(default_factory=list)
    variables: list[VariableFact] = field(default_factory=list)
    layers: list[LayerFact] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    assets: Mapping[str, int | None] = field(default_factory=dict)
    tree: Any = None
    notes: list[str] = field(default_factory=list)
    details: list[Callable[[Facts], None]] = field(default_factory=list)

    def complete(self) -> Facts:
        """All of it, what was put off included."""
        while self.details:
            self.details.pop(0)(self)
        return self
