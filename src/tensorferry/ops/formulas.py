"""Functions written once as formulas, over numpy arrays for the reference and over graph values for the targets.

A formula takes a Maths and its operands; it may use Python's operators and the functions of Maths. Over arrays everything is
computed in the operands' own type, over values each step becomes a node just before the one that is expanded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from tensorferry.ir import Graph, Node, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.tensor import Array, DType

Operand = Any
"""An Array or a Term; or a plain number beside one."""
Formula = Callable[..., Operand]
"""(Maths, *operands) -> the result."""


@dataclass(frozen=True, slots=True)
class Term:
    """A graph value that can be calculated with. A plain number takes the type of the other operand."""

    expansion: Expansion
    value: Value

    def _join(self, op: str, *operands: Operand, swap: bool = False) -> Term:
        values = [self.value, *(self.expansion_value(each) for each in operands)]
        return Term(self.expansion, self.expansion.make(op, *(reversed(values) if swap else values)))

    def expansion_value(self, operand: Operand) -> Value:
        """The operand as a graph value of this term's type."""
        if isinstance(operand, Term):
            return operand.value
        return self.expansion.constant(np.asarray(operand, self.value.dtype.numpy))

    def __add__(self, other: Operand) -> Term:
        return self._join("AddV2", other)

    def __radd__(self, other: Operand) -> Term:
        return self._join("AddV2", other)

    def __sub__(self, other: Operand) -> Term:
        return self._join("Sub", other)

    def __rsub__(self, other: Operand) -> Term:
        return self._join("Sub", other, swap=True)

    def __mul__(self, other: Operand) -> Term:
        return self._join("Mul", other)

    def __rmul__(self, other: Operand) -> Term:
        return self._join("Mul", other)

    def __truediv__(self, other: Operand) -> Term:
        return self._join("RealDiv", other)

    def __rtruediv__(self, other: Operand) -> Term:
        return self._join("RealDiv", other, swap=True)

    def __neg__(self) -> Term:
        return self._join("Neg")

    def __lt__(self, other: Operand) -> Term:
        return self._join("Less", other)

    def __le__(self, other: Operand) -> Term:
        return self._join("LessEqual", other)

    def __gt__(self, other: Operand) -> Term:
        return self._join("Greater", other)

    def __ge__(self, other: Operand) -> Term:
        return self._join("GreaterEqual", other)

    def __and__(self, other: Operand) -> Term:
        """Of booleans."""
        return self._join("LogicalAnd", other)

    def __or__(self, other: Operand) -> Term:
        """Of booleans."""
        return self._join("LogicalOr", other)

    def apply(self, op: str, *operands: Operand, operand: Array | None = None, **attrs: Any) -> Term:
        """An op whose first input this is; `operand` keeps its own type."""
        values = [self.value, *(self.expansion_value(each) for each in operands)]
        if operand is not None:
            values.append(self.expansion.constant(operand))
        return Term(self.expansion, self.expansion.make(op, *values, **attrs))


class Maths:
    """The functions of a formula, over Terms."""

    def apply(self, op: str, x: Operand, *more: Operand) -> Operand:
        """The op of that name."""
        return x.apply(op, *more)

    def where(self, condition: Operand, x: Operand, y: Operand) -> Operand:
        """x where the condition holds, else y; one of them may be a plain number."""
        like = x if isinstance(x, Term) else y
        made = condition.expansion.make("SelectV2", condition.value, like.expansion_value(x), like.expansion_value(y))
        return Term(condition.expansion, made)

    def equal(self, x: Operand, y: Operand) -> Operand:
        return x.apply("Equal", y)

    # Integrals are sums along rows: operands become columns, and what a row adds up to takes their shape again.

    def column(self, x: Operand) -> Operand:
        """All elements below one another."""
        return x.apply("Reshape", operand=np.array([-1, 1], np.int32))

    def row(self, numbers: Array, like: Operand) -> Operand:
        """These numbers, the same for every row of `like`."""
        return Term(like.expansion, like.expansion_value(numbers.reshape(1, -1)))

    def row_sum(self, x: Operand) -> Operand:
        """One number for each row."""
        return x.apply("Sum", operand=np.array([1], np.int32), keep_dims=False)

    def flat(self, x: Operand) -> Operand:
        """A column as a vector."""
        return x.apply("Reshape", operand=np.array([-1], np.int32))

    def like(self, x: Operand, shaped: Operand) -> Operand:
        """A vector in the shape that `shaped` had before it became a column."""
        shape = shaped.expansion.make("Shape", shaped.value, out_type=DType.INT32)
        return Term(x.expansion, x.expansion.make("Reshape", x.value, shape))

    def __getattr__(self, name: str) -> Callable[..., Operand]:
        op = _OPS.get(name)
        if op is None:
            raise AttributeError(name)
        return lambda x, *more: self.apply(op, x, *more)


_OPS = {
    "abs": "Abs",
    "atan2": "Atan2",
    "cos": "Cos",
    "exp": "Exp",
    "expm1": "Expm1",
    "floor": "Floor",
    "lgamma": "Lgamma",
    "log": "Log",
    "log1p": "Log1p",
    "maximum": "Maximum",
    "minimum": "Minimum",
    "round": "Round",
    "sign": "Sign",
    "sin": "Sin",
    "sqrt": "Sqrt",
    "square": "Square",
    "tan": "Tan",
}


class ArrayMaths(Maths):
    """The same over numpy arrays; `lgamma` and other functions numpy lacks are handed in by those who use them."""

    def apply(self, op: str, x: Operand, *more: Operand) -> Operand:
        from tensorferry import ops  # noqa: PLC0415 - the registry is made of the modules that use this one

        spec = ops.find(op)
        assert spec is not None and spec.evaluate is not None
        return spec.evaluate(Node(op, op, (), dict(spec.attrs), ()), x, *(np.asarray(each, x.dtype) for each in more))

    def where(self, condition: Operand, x: Operand, y: Operand) -> Operand:
        like = x if isinstance(x, np.ndarray | np.generic) else y
        return np.where(condition, np.asarray(x, like.dtype), np.asarray(y, like.dtype))

    def equal(self, x: Operand, y: Operand) -> Operand:
        return x == y

    def column(self, x: Operand) -> Operand:
        return np.asarray(x).reshape(-1, 1)

    def row(self, numbers: Array, like: Operand) -> Operand:
        return numbers.reshape(1, -1).astype(like.dtype)

    def row_sum(self, x: Operand) -> Operand:
        return x.sum(axis=1)

    def flat(self, x: Operand) -> Operand:
        return np.asarray(x).reshape(-1)

    def like(self, x: Operand, shaped: Operand) -> Operand:
        return np.asarray(x).reshape(np.shape(shaped))


def expand_formula(formula: Formula, *, guarded: bool = False) -> Callable[[Graph, Node], bool]:
    """The expansion of an op whose only output is the formula of its floating-point inputs.

    `guarded`: NaN stays NaN, where the formula's kernels lose it (XNNPACK's exponential makes 0 of it, LiteRT's minimum the bound).
    """

    def expand(graph: Graph, node: Node) -> bool:
        if not all(value.dtype.is_float for value in node.inputs):
            return False
        expansion = Expansion(graph, node)
        operands = [Term(expansion, value) for value in node.inputs]
        result = formula(Maths(), *operands)
        if guarded:
            result = Maths().where(operands[0].apply("NotEqual", operands[0]), operands[0], result)
        return expansion.finish(result.value)

    return expand


def evaluate_formula(formula: Formula) -> Callable[..., Array]:
    """The same in numpy, in float64, so that only the formula's own error is left."""

    def evaluate(_node: Node, *arrays: Array) -> Array:
        wide = [array.astype(np.float64) for array in arrays]
        return np.asarray(formula(ArrayMaths(), *wide)).astype(arrays[0].dtype)

    return evaluate


def polynomial(x: Operand, coefficients: Sequence[float]) -> Operand:
    """The highest power's coefficient first (Horner)."""
    first, *rest = coefficients
    return reduce(lambda total, coefficient: total * x + coefficient, rest, first) if rest else first
