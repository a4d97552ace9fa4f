"""Arguments of functions: a rule is a Python function whose parameters, behind the builder, are those of Keras' or TensorFlow's.

What a config holds is bound to them by name; tensors are Values, everything else is as JSON has it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder, Size, values_in
from tensorferry.readers.keras.description import EXPORT, Config
from tensorferry.readers.keras.registry import Build, layer
from tensorferry.tensor import Array, DType

Rule = Callable[..., Any]
SomeRule = TypeVar("SomeRule", bound=Rule)

_OF_ALL = ("name", "trainable", "autocast")
"""What a config holds beside the arguments of an operation."""


def bound(rule: Rule, ignored: Sequence[str] = (), configured: bool = False) -> Build:
    """The rule as a layer's builder. `configured`: some of its arguments stand in the config, those of the call come first."""
    parameters = inspect.signature(rule)
    takes_type = "dtype" in parameters.parameters

    def build(builder: Builder, config: Config, _inputs: Sequence[Value]) -> Any:
        given = {key: value for key, value in builder.kwargs.items() if key not in ("name", *ignored)}
        if configured:
            left_out = {*_OF_ALL, *ignored, *(() if takes_type else ("dtype",))}
            given = {**{key: value for key, value in config.items() if key not in left_out}, **given}
        try:
            arguments = parameters.bind(builder, *builder.args, **given)
        except TypeError as error:
            why = f"what Keras saved of its arguments does not suffice, or is not known here: {error}"
            raise builder.unsupported(why, EXPORT) from None
        return rule(*arguments.args, **arguments.kwargs)

    return build


def operation(*names: str, ignored: Sequence[str] = ()) -> Callable[[SomeRule], SomeRule]:
    """Make a rule known for these operations of keras.ops, by the names of their classes."""

    def register(rule: SomeRule) -> SomeRule:
        layer(*(f"ops.{name}" for name in names))(bound(rule, ignored, configured=True))
        return rule

    return register


def array(build: Builder, given: Any) -> Array:
    """A constant argument: numbers in lists, or an object that holds them with their type."""
    config = given.get("config") if isinstance(given, Mapping) else None
    if isinstance(config, Mapping) and "value" in config:
        with np.errstate(all="ignore"):
            return np.asarray(config["value"]).astype(element_type(build, config.get("dtype", "float32")).numpy)
    made = np.asarray(given, object) if _holds_text(given) else np.asarray(given)
    if made.dtype.kind not in "fiubO" or (made.dtype.kind == "O" and not _holds_text(given)):
        raise build.unsupported(f"its argument {str(given)[:40]} is no tensor", EXPORT)
    if made.dtype.kind == "O":
        flat = [each.encode() if isinstance(each, str) else each for each in made.reshape(-1)]
        whole = np.empty(len(flat), object)
        whole[:] = flat
        return whole.reshape(made.shape)
    if made.dtype.kind in "iu" and made.size and not -(2**31) <= int(made.min()) <= int(made.max()) < 2**31:
        return made.astype(np.int64)
    with np.errstate(all="ignore"):  # a number too large for a float is infinite
        return made.astype({"f": np.float32, "i": np.int32, "u": np.int32, "b": bool}[made.dtype.kind])


def _holds_text(given: Any) -> bool:
    while isinstance(given, list | tuple) and given:
        given = given[0]
    return isinstance(given, str)


def tensor(build: Builder, given: Any, dtype: DType | None = None) -> Value:
    """An argument as a tensor: one already, numbers, or a list of tensors and numbers, which become one."""
    if isinstance(given, Value):
        return given
    if values_in(given):
        known = values_in(given)[0].dtype
        parts = [tensor(build, each, known) for each in given]
        return build.add("Pack", parts, {"axis": 0, "N": len(parts)})
    made = array(build, given)
    return build.constant(made, dtype or DType.of(made))


def tensors(build: Builder, given: Any) -> list[Value]:
    """A list of tensors of one type; a single one stands for a list of one."""
    listed = given if isinstance(given, list | tuple) else [given]
    known = next((each.dtype for each in listed if isinstance(each, Value)), None)
    return [tensor(build, each, known) for each in listed]


def integer(build: Builder, given: Any) -> int:
    """A whole number that must be known."""
    if isinstance(given, bool) or not isinstance(given, int | float) or given != int(given):
        raise build.unsupported(f"its argument {str(given)[:40]} is no whole number that is known", EXPORT)
    return int(given)


def integers(build: Builder, given: Any) -> list[int]:
    """Whole numbers that must be known; one stands for a list."""
    return [integer(build, each) for each in (given if isinstance(given, list | tuple) else [given])]


def vector(build: Builder, given: Any) -> Value:
    """Sizes as a vector: known, computed, or some of each. Nothing stands for -1."""
    if isinstance(given, Value):
        return given
    parts: list[Size] = []
    for each in given if isinstance(given, list | tuple) else [given]:
        parts.append(each if isinstance(each, Value) else -1 if each is None else integer(build, each))
    return build.vector([build.cast(each, DType.INT32) if isinstance(each, Value) else each for each in parts])


def axes(build: Builder, given: Any, value: Value) -> list[int]:
    """Axes from 0 on; all where none is named."""
    if given is None:
        return list(range(build.rank(value)))
    return [build.axis(value, each) for each in integers(build, given)]


def element_type(build: Builder, given: Any) -> DType:
    """`float32`, `<dtype: 'float32'>`, or an object that says so."""
    config = given.get("config") if isinstance(given, Mapping) else None
    given = config.get("name", config.get("dtype")) if isinstance(config, Mapping) else config or given
    name = str(given).removeprefix("<dtype: '").removesuffix("'>").removeprefix("tf.")
    try:
        return DType(name)
    except ValueError:
        raise build.unsupported(f"the element type {name[:40]} is not known") from None


def only(build: Builder, allowed: Mapping[str, tuple[Any, Any]]) -> None:
    """Refuse arguments that have another value than the one that is known here: name -> (value, what is allowed)."""
    for name, (value, wanted) in allowed.items():
        if value is not None and value != wanted:
            raise build.unsupported(f"its {name} is {str(value)[:40]}", EXPORT)
