"""A Keras model as plain records: what its config says, and the weights that belong to each layer.

Nothing here knows of files: readers of HDF5, of zip archives and of TensorFlow.js manifests all end in a KerasModel, and what
follows (a Graph, a layers-model) starts from one. Keras 1 and 2 names are those of Keras 2 and later (`ancient.modernise`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tensorferry.errors import SourceError
from tensorferry.tensor import DType, Tensor

EXPORT = "load the model with the code that defines it and export a SavedModel (model.export('folder')), which can be converted"
"""The way on for what only the user's own Python code can build."""


_FUNCTIONS = ("TFOpLambda", "SlicingOpLambda")
"""Layers that stand for a function of TensorFlow, which they name."""


@dataclass(frozen=True, slots=True)
class TensorRef:
    """Output number `output` of the layer's call number `call`."""

    layer: str
    call: int
    output: int


@dataclass(frozen=True, slots=True)
class Call:
    """One use of a layer: its arguments as JSON gives them, with a TensorRef where a tensor stands."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


class Config(dict[str, Any]):
    """A layer's config with questions that check the answer: SourceError names the layer."""

    def __init__(self, given: Mapping[str, Any], layer: str = "", release: int = 2) -> None:
        super().__init__(given)
        self.layer = layer
        self.release = release

    def wrong(self, key: str, wanted: str) -> SourceError:
        shown = repr(self.get(key))[:60]
        return SourceError(f"'{key}' of layer '{self.layer}' is {shown}", why=f"it should be {wanted}")

    def integer(self, key: str, default: int | None = None) -> int:
        value = self._or_default(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or abs(value) > 2**31:
            raise self.wrong(key, "a whole number")
        return int(value)

    def number(self, key: str, default: float | None = None) -> float:
        value = self._or_default(key, default)
        if isinstance(value, Mapping) and isinstance(value.get("value"), int | float):  # how some releases write numpy scalars
            value = value["value"]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(key, "a number")
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self._or_default(key, default)
        if not isinstance(value, bool | int):
            raise self.wrong(key, "true or false")
        return bool(value)

    def text(self, key: str, default: str | None = None, among: Sequence[str] = ()) -> str:
        value = self._or_default(key, default)
        if not isinstance(value, str) or (among and value not in among):
            raise self.wrong(key, f"one of {', '.join(among)}" if among else "a name")
        return value

    def integers(self, key: str, count: int | None = None, default: int | Sequence[int] | None = None) -> tuple[int, ...]:
        """A list of numbers; with a `count`, one number stands for that many."""
        value = self._or_default(key, default)
        if isinstance(value, int | float) and count is not None:
            value = [value] * count
        if not isinstance(value, list | tuple) or len(value) > 64 or (count is not None and len(value) != count):
            raise self.wrong(key, f"{count} whole numbers" if count is not None else "whole numbers")
        if any(isinstance(each, bool) or not isinstance(each, int | float) or each != int(each) for each in value):
            raise self.wrong(key, "whole numbers")
        return tuple(int(each) for each in value)

    def _or_default(self, key: str, default: Any) -> Any:
        value = self.get(key)
        return default if value is None else value


@dataclass(frozen=True, slots=True)
class Seen:
    """A tensor that a layer was given or gave, as the walk over the model saw it; `masked`: with a mask of steps."""

    shape: tuple[int | str, ...] | None
    dtype: DType
    masked: bool


@dataclass(frozen=True, slots=True)
class Use:
    """One call of a layer as it was walked."""

    inputs: tuple[Seen, ...]
    outputs: tuple[Seen, ...]


@dataclass(slots=True)
class Layer:
    """One layer: its class, config, uses, and its weights by role (`kernel`, `bias`, `cell/kernel`) in the order of its slots.

    `model` is the network that a nested model is made of; `children` are the layers that a wrapper holds, by the name of the
    attribute that holds them (`layer`, `forward_layer`, `cell`), each with weights of its own.
    """

    name: str
    class_name: str
    config: Config
    module: str = ""
    calls: list[Call] = field(default_factory=list)
    model: KerasModel | None = None
    children: dict[str, Layer] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    """The config as the source has it, before old names were replaced."""
    version: str = ""
    """Keras' version as the source says it."""
    depth: int = 0
    """How many models and wrappers lie around it."""
    assets: Mapping[str, bytes] = field(default_factory=dict)
    """Files that the source keeps for it, by name: vocabularies."""
    uses: list[Use] = field(default_factory=list)
    """Its calls, in the order in which the model was walked."""

    @property
    def kind(self) -> str:
        """The key in the registry: the class name; `ops.Add` of keras.ops, `tf.math.add` for a function of TensorFlow."""
        if self.class_name in _FUNCTIONS and isinstance(self.config.get("function"), str):
            return f"tf.{self.config['function']}"
        return f"ops.{self.class_name}" if ".ops." in self.module or self.module == "keras.ops" else self.class_name

    @property
    def release(self) -> int:
        """1, 2 or 3: the release whose meaning the config has. TensorFlow.js, and what says nothing, write configs of Keras 2."""
        return release_of(self.version)

    @property
    def trainable(self) -> bool:
        return self.config.get("trainable") is not False


def release_of(version: str) -> int:
    """The release that a version as the source says it belongs to."""
    return int(version[0]) if version[:1] in ("1", "2", "3") and version[1:2] in (".", "") else 2


@dataclass(slots=True)
class KerasModel:
    """Layers in the config's order. `inputs` and `outputs` are TensorRefs, in a list or a dict where Keras has several."""

    name: str
    layers: list[Layer]
    inputs: Any
    outputs: Any
    sequential: bool = False
    version: str = ""
    """Keras' version as the source says it; empty when it does not."""
    apart: frozenset[str] = frozenset()
    """Nested models whose layers a file lists as if they were the model's own."""

    def layer(self, name: str) -> Layer:
        for each in self.layers:
            if each.name == name:
                return each
        raise SourceError(f"the model '{self.name}' has no layer '{name}'")

    def everything(self) -> Iterator[tuple[str, Layer]]:
        """Each layer with its path, nested ones after the layer that holds them."""
        for each in self.layers:
            yield from _with_inner(each.name, each)


def _with_inner(path: str, layer: Layer) -> Iterator[tuple[str, Layer]]:
    yield path, layer
    if layer.model is not None:
        for inner, each in layer.model.everything():
            yield f"{path}/{inner}", each
    for role, child in layer.children.items():
        yield from _with_inner(f"{path}/{role}", child)


def flatten(structure: Any, leaf: type | tuple[type, ...] = TensorRef) -> list[Any]:
    """All leaves of a type in lists, tuples and dicts; dicts by sorted key, as Keras does."""
    if isinstance(structure, leaf):
        return [structure]
    if isinstance(structure, Mapping):
        return [found for key in sorted(structure) for found in flatten(structure[key], leaf)]
    if isinstance(structure, list | tuple):
        return [found for each in structure for found in flatten(each, leaf)]
    return []


def replace_leaves(structure: Any, leaf: type, change: Callable[[Any], Any]) -> Any:
    """The same structure with each leaf of that type changed."""
    if isinstance(structure, leaf):
        return change(structure)
    if isinstance(structure, Mapping):
        return {key: replace_leaves(each, leaf, change) for key, each in structure.items()}
    if isinstance(structure, list | tuple):
        return type(structure)(replace_leaves(each, leaf, change) for each in structure)
    return structure


def snake_case(class_name: str) -> str:
    """`SeparableConv2D` -> `separable_conv2d`: the names of Keras' own folders of weights."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
