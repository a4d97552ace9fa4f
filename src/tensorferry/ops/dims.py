"""Arithmetic with sizes that may be names: products, exact quotients, and what a reshape makes of them.

A product of names is a name too: `4*n`, `12*h*w`. Factors are kept in one order, so equal products are equal names.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from tensorferry.ir import UNKNOWN_DIM, Dim, Shape, Value, format_shape
from tensorferry.ops.spec import Declined


def multiply_dims(dims: Iterable[Dim]) -> Dim:
    """The product; `?` as soon as one factor is `?`, unless another is 0."""
    number, names = 1, Counter[str]()
    for dim in dims:
        factor, factors = _split(dim)
        number *= factor
        names += factors
    return _join(number, names)


def divide_dims(whole: Dim, parts: Iterable[Dim]) -> Dim:
    """`whole` / product of `parts` where names cancel; `?` where that is not known. Declined when numbers do not divide."""
    number, names = _split(whole)
    divisor, others = _split(multiply_dims(parts))
    if UNKNOWN_DIM in names or UNKNOWN_DIM in others or divisor == 0:
        return UNKNOWN_DIM
    if not names and not others and number % divisor:
        raise Declined(f"{number} elements cannot be divided by {divisor}")
    if number % divisor or others - names:
        return UNKNOWN_DIM
    return _join(number // divisor, names - others)


def add_dims(one: Dim, other: Dim) -> Dim:
    """The sum of two sizes; a name stays only when nothing is added to it."""
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    if other == 0:
        return one
    return other if one == 0 else UNKNOWN_DIM


def merge_dims(one: Dim, other: Dim) -> Dim:
    """What is known of a size that two sources agree on: a number wins over a name. Declined when two numbers differ."""
    if isinstance(one, int) and isinstance(other, int) and one != other:
        raise Declined(f"sizes {one} and {other} must be equal")
    if isinstance(one, int) or other == UNKNOWN_DIM:
        return one
    return other if isinstance(other, int) or one == UNKNOWN_DIM else one


def merge_shapes(one: Shape, other: Shape) -> Shape:
    """The same for two shapes that must agree."""
    if one is None or other is None:
        return other if one is None else one
    if len(one) != len(other):
        raise Declined(f"shapes {format_shape(one)} and {format_shape(other)} must have the same rank")
    return tuple(merge_dims(a, b) for a, b in zip(one, other, strict=True))


def resolve_reshape(shape: Shape, target: Sequence[Dim]) -> tuple[Dim, ...]:
    """The shape that reshaping `shape` to `target` gives; `target` may hold one -1, and `?` where nothing is known.

    Declined when the element counts are known and differ.
    """
    if sum(1 for dim in target if dim == -1) > 1 or any(isinstance(dim, int) and dim < -1 for dim in target):
        raise Declined(f"{list(target)} is no shape", remedy="at most one size may be -1, the others 0 or more")
    count = UNKNOWN_DIM if shape is None else multiply_dims(shape)
    open_places = [index for index, dim in enumerate(target) if dim == -1] or [
        index for index, dim in enumerate(target) if isinstance(dim, str)
    ]
    if len(open_places) == 1:
        place = open_places[0]
        rest = divide_dims(count, [dim for index, dim in enumerate(target) if index != place])
        if rest != UNKNOWN_DIM or target[place] == -1:
            return (*target[:place], rest, *target[place + 1 :])
    product = multiply_dims(target)
    if isinstance(count, int) and isinstance(product, int) and count != product:
        raise Declined(f"{count} elements of shape {format_shape(shape)} do not fill the shape {format_shape(tuple(target))}")
    return tuple(UNKNOWN_DIM if dim == -1 else dim for dim in target)


def known_integers(value: Value) -> tuple[int, ...] | None:
    """The elements of a small integer constant, row-major, or of a vector whose content was followed to numbers."""
    if value.content is not None:
        return value.content if all(isinstance(each, int) for each in value.content) else None  # type: ignore[return-value]
    tensor = value.constant
    if tensor is None or not tensor.dtype.is_integer or tensor.size > 4096:
        return None
    return tuple(int(each) for each in tensor.array().reshape(-1))


def known_integer(value: Value) -> int | None:
    """A scalar's value (a vector of one element counts as one) if it is known."""
    elements = known_integers(value)
    return elements[0] if elements is not None and len(elements) == 1 else None


def length_of(value: Value) -> int | None:
    """How many elements a vector has, if known."""
    if value.content is not None:
        return len(value.content)
    if value.shape is None or len(value.shape) != 1 or not isinstance(value.shape[0], int):
        return None
    return value.shape[0]


def unknown_dims(count: int | None) -> Shape:
    """A shape of that rank of which nothing else is known."""
    return None if count is None else (UNKNOWN_DIM,) * count


def _split(dim: Dim) -> tuple[int, Counter[str]]:
    """Number and names of a product."""
    if isinstance(dim, int):
        return dim, Counter()
    parts = dim.split("*")
    return math.prod(int(part) for part in parts if part.isdecimal()), Counter(part for part in parts if not part.isdecimal())


def _join(number: int, names: Counter[str]) -> Dim:
    if number == 0 or not names:
        return number
    if UNKNOWN_DIM in names:
        return UNKNOWN_DIM
    return "*".join([*([str(number)] if number != 1 else []), *sorted(names.elements())])
