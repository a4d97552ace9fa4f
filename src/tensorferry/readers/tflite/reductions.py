"""Operators that reduce axes, run along one, draw random numbers or transform signals."""

from __future__ import annotations

from tensorferry.ir import Value
from tensorferry.readers.tflite.steps import Rule, Step
from tensorferry.tensor import DType


def _reduce(op: str) -> Rule:
    return lambda step: step.make(op, step.input(0), step.input(1), keep_dims=step.options.flag("keep_dims"))


def _place(op: str) -> Rule:
    return lambda step: step.make(op, step.input(0), step.input(1), output_type=step.output().dtype)


def _cumsum(step: Step) -> Value:
    attrs = {name: step.options.flag(name) for name in ("exclusive", "reverse")}
    return step.make("Cumsum", step.input(0), step.input(1), **attrs)


def _seeds(step: Step) -> dict[str, int]:
    return {"seed": step.options.number("seed"), "seed2": step.options.number("seed2")}


def _random(op: str) -> Rule:
    return lambda step: step.make(op, step.input(0), dtype=DType.FLOAT32, **_seeds(step))


def _multinomial(step: Step) -> Value:
    return step.make("Multinomial", step.input(0), step.input(1), output_dtype=step.output().dtype, **_seeds(step))


def _rfft2d(step: Step) -> Value:
    return step.make("RFFT2D", step.input(0), step.input(1))


RULES: dict[str, Rule] = {
    "MEAN": _reduce("Mean"),
    "SUM": _reduce("Sum"),
    "REDUCE_PROD": _reduce("Prod"),
    "REDUCE_MAX": _reduce("Max"),
    "REDUCE_MIN": _reduce("Min"),
    "REDUCE_ANY": _reduce("Any"),
    "REDUCE_ALL": _reduce("All"),
    "ARG_MAX": _place("ArgMax"),
    "ARG_MIN": _place("ArgMin"),
    "CUMSUM": _cumsum,
    "RANDOM_UNIFORM": _random("RandomUniform"),
    "RANDOM_STANDARD_NORMAL": _random("RandomStandardNormal"),
    "MULTINOMIAL": _multinomial,
    "RFFT2D": _rfft2d,
}
