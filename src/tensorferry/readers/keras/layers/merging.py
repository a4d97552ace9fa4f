"""Layers that make one tensor of several."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder
from tensorferry.readers.keras.description import Config
from tensorferry.readers.keras.registry import layer
from tensorferry.tensor import DType

_OPS = {"Add": "AddV2", "Multiply": "Mul", "Maximum": "Maximum", "Minimum": "Minimum", "Subtract": "Sub"}
_MODES = {"sum": "Add", "mul": "Multiply", "max": "Maximum", "ave": "Average"}


@layer("Add", "Multiply", "Maximum", "Minimum", "Subtract", "Average")
def merge(build: Builder, _config: Config, inputs: Sequence[Value]) -> Value:
    """Element by element."""
    return _merge(build, build.layer.class_name, inputs)


def _merge(build: Builder, kind: str, inputs: Sequence[Value]) -> Value:
    if not inputs or (kind == "Subtract" and len(inputs) != 2):
        raise build.unsupported(f"it is given {len(inputs)} tensors")
    op = _OPS.get(kind, "AddV2")
    rank = max(build.rank(each) for each in inputs)
    aligned = [_widen(build, each, rank) for each in inputs]
    made = reduce(lambda one, other: build.add(op, (one, other)), aligned)
    if kind == "Average":
        made = build.add("RealDiv", (made, build.number(float(len(inputs)), made)))
    build.set_mask(made, _both(build, [build.mask(each) for each in inputs]))
    return made


def _widen(build: Builder, value: Value, rank: int) -> Value:
    """Axes of size 1 behind the batch."""
    for _ in range(rank - build.rank(value)):
        value = build.expand(value, 1)
    return value


def _both(build: Builder, masks: Sequence[Value | None]) -> Value | None:
    there = [each for each in masks if each is not None]
    return reduce(lambda one, other: build.add("LogicalAnd", (one, other)), there) if there else None


@layer("Concatenate")
def concatenate(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Along one axis."""
    return _concatenate(build, config.integer("axis", -1), inputs)


def _concatenate(build: Builder, given: int, inputs: Sequence[Value]) -> Value:
    axis = build.axis(inputs[0], given)
    dtypes = {each.dtype for each in inputs}
    if len(dtypes) > 1:  # whole numbers become floats beside floats
        inputs = [build.floating(each) for each in inputs]
    made = build.concat(inputs, axis)
    masks = [build.mask(each) for each in inputs]
    if any(each is not None for each in masks) and len(inputs) > 1:
        full = [_full_mask(build, value, mask) for value, mask in zip(inputs, masks, strict=True)]
        build.set_mask(made, build.reduce("All", build.concat(full, axis), [-1]))
    return made


def _full_mask(build: Builder, value: Value, mask: Value | None) -> Value:
    """The mask for each element of the value: all true where there is none."""
    everywhere = build.add("Fill", (build.vector(build.sizes(value)), build.constant(np.asarray(True), DType.BOOL)))
    if mask is None:
        return everywhere
    for _ in range(build.rank(value) - build.rank(mask)):
        mask = build.expand(mask, build.rank(mask))
    return build.add("LogicalAnd", (everywhere, mask))


@layer("Dot")
def dot(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Sums of products along an axis of each."""
    given = config.get("axes")
    axes = [given, given] if isinstance(given, int) else given
    if not isinstance(axes, list | tuple) or len(axes) != 2:
        raise config.wrong("axes", "an axis or two")
    return _dot(build, inputs, [int(each) for each in axes], config.flag("normalize"))


def _dot(build: Builder, inputs: Sequence[Value], given: Sequence[int], normalize: bool) -> Value:
    if len(inputs) != 2:
        raise build.unsupported(f"it is given {len(inputs)} tensors")
    axes = [build.axis(value, axis) for value, axis in zip(inputs, given, strict=True)]
    pair = [_unit(build, value, axis) if normalize else value for value, axis in zip(inputs, axes, strict=True)]
    letters = iter("cdefghijklmnopqrstuvwxyz")
    terms = [
        "".join("a" if at == 0 else "b" if at == axis else next(letters) for at in range(build.rank(value)))
        for value, axis in zip(pair, axes, strict=True)
    ]
    result = "a" + "".join(each for term in terms for each in term if each not in "ab")
    made = build.add("Einsum", pair, {"equation": f"{terms[0]},{terms[1]}->{result}", "N": 2})
    return build.expand(made, 1) if len(result) == 1 else made


def _unit(build: Builder, value: Value, axis: int) -> Value:
    square = build.reduce("Sum", build.add("Square", (value,)), [axis], keep=True)
    return build.add("Mul", (value, build.add("Rsqrt", (build.add("Maximum", (square, build.number(1e-12, value))),))))


@layer("Merge")
def merge1(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Keras 1: all ways of merging in one layer."""
    mode = config.text("mode", "sum", among=(*_MODES, "concat", "dot", "cos"))
    if mode in _MODES:
        return _merge(build, _MODES[mode], inputs)
    if mode == "concat":
        return _concatenate(build, config.integer("concat_axis", -1), inputs)
    given = config.get("dot_axes", -1)
    axes = [given, given] if isinstance(given, int) else [each[0] if isinstance(each, list) else each for each in given]
    made = _dot(build, inputs, axes, mode == "cos")
    return build.expand(made, 1) if mode == "cos" and build.rank(made) < 3 else made
