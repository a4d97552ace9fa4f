"""What a case is: a few TensorFlow ops, the inputs they get, and how the graph is to be written down."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Shape = tuple[int | None, ...] | None
Build = Callable[..., Any]

Form = Literal["function", "lowered", "v1"]
"""function: traced by tf.function, control flow stays functional. lowered: the same with control flow as Switch, Merge, Enter and
Exit. v1: built in a tf.compat.v1 graph."""

Comparison = Literal["values", "shapes"]
"""shapes: element types and shapes only, for what is random or undefined."""


@dataclass(frozen=True, slots=True)
class Case:
    """`build` makes the outputs from symbolic inputs of the given shapes; `arrays` are what the graph is run with."""

    id: str
    family: str
    build: Build
    arrays: tuple[Array, ...]
    shapes: tuple[Shape, ...]
    form: Form = "function"
    comparison: Comparison = "values"
    reference: Build | None = None
    """Computes the expected outputs where TensorFlow's CPU kernels cannot run the graph itself (channels first)."""


@dataclass(slots=True)
class Family:
    """Collects the cases of one family and gives each an id of its own."""

    name: str
    cases: list[Case] = field(default_factory=list)
    _names: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        name: str,
        build: Build,
        *arrays: Any,
        shapes: Sequence[Shape] | None = None,
        unknown: Literal["", "batch", "sizes", "rank"] = "",
        form: Form = "function",
        comparison: Comparison = "values",
        reference: Build | None = None,
    ) -> None:
        """One case. `unknown` hides from the graph the first size of each input, all its sizes, or even its rank."""
        given = tuple(np.asarray(array) for array in arrays)
        known = tuple(shapes) if shapes is not None else tuple(_hidden(array.shape, unknown) for array in given)
        label = "_".join(part for part in (name, unknown and f"unknown_{unknown}", "" if form == "function" else form) if part)
        label = re.sub(r"[^A-Za-z0-9_.-]+", "_", label).strip("_")
        self._names[label] += 1
        number = self._names[label]
        identity = f"{self.name}.{label}" + (f".{number}" if number > 1 else "")
        self.cases.append(Case(identity, self.name, build, given, known, form, comparison, reference))

    def each_form(
        self, name: str, build: Build, *arrays: Any, forms: Sequence[Form] = ("function", "lowered"), **others: Any
    ) -> None:
        """The same once for each way of writing control flow down."""
        for form in forms:
            self.add(name, build, *arrays, form=form, **others)


def _hidden(shape: tuple[int, ...], unknown: str) -> Shape:
    if unknown == "rank":
        return None
    if unknown == "sizes":
        return (None,) * len(shape)
    return (None, *shape[1:]) if unknown == "batch" and shape else shape


class Lazily:
    """A build that makes something with variables of its own (a Keras layer) when it is first needed, outside of any graph."""

    def __init__(self, make: Callable[[], Build]) -> None:
        self._make = make
        self._made: Build | None = None

    def prepare(self, arrays: Sequence[Array]) -> None:
        self._made = self._make()
        self._made(*arrays)  # creates the variables

    def __call__(self, *tensors: Any) -> Any:
        assert self._made is not None
        return self._made(*tensors)


# -- deterministic values ------------------------------------------------------------------------------------------


def _generator(*marks: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(marks).encode()))


def floats(*shape: int, low: float = -2.0, high: float = 2.0, dtype: str = "float32", seed: int = 0) -> Array:
    return _generator("floats", shape, low, high, seed).uniform(low, high, shape).astype(dtype)


def integers(*shape: int, low: int = -9, high: int = 10, dtype: str = "int32", seed: int = 0) -> Array:
    """In [low, high)."""
    return _generator("integers", shape, low, high, seed).integers(low, high, shape).astype(dtype)


def booleans(*shape: int, seed: int = 0) -> Array:
    return _generator("booleans", shape, seed).integers(0, 2, shape).astype(bool)


def complexes(*shape: int, dtype: str = "complex64", seed: int = 0) -> Array:
    return (floats(*shape, seed=seed, dtype="float64") + 1j * floats(*shape, seed=seed + 1, dtype="float64")).astype(dtype)


def distinct(*shape: int, dtype: str = "float32", seed: int = 0) -> Array:
    """Every element differs clearly from all others: no ties where an order decides."""
    size = int(np.prod(shape))
    return (
        ((_generator("distinct", shape, seed).permutation(size) - size // 2) / (1 if "int" in dtype else 4))
        .astype(dtype)
        .reshape(shape)
    )


WORDS = (b"", b"ferry", b"Tensor", "Fähre".encode(), b"a longer text, with  blanks", b"42", b"-3.5", b"ABC abc")


def words(*shape: int, seed: int = 0, among: Sequence[bytes] = WORDS) -> Array:
    chosen = _generator("words", shape, seed).integers(0, len(among), shape)
    array = np.empty(shape, object)
    array.reshape(-1)[:] = [among[index] for index in chosen.reshape(-1)] if shape else among[int(chosen)]
    return array


def of(dtype: str, *shape: int, seed: int = 0, low: float | None = None, high: float | None = None) -> Array:
    """Sensible values of any element type."""
    if dtype == "bool":
        return booleans(*shape, seed=seed)
    if dtype == "string":
        return words(*shape, seed=seed)
    if dtype.startswith("complex"):
        return complexes(*shape, dtype=dtype, seed=seed)
    if dtype.startswith(("float", "bfloat")):
        return floats(*shape, low=-2.0 if low is None else low, high=2.0 if high is None else high, dtype=dtype, seed=seed)
    least = 0 if dtype.startswith("u") else -9
    return integers(
        *shape, low=int(least if low is None else max(low, least)), high=int(10 if high is None else high), dtype=dtype, seed=seed
    )
