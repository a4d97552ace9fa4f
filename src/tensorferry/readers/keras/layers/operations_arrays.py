"""More operations of keras.ops that make arrays, take them apart and put them together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder, Size, values_in
from tensorferry.readers.keras.description import EXPORT
from tensorferry.readers.keras.layers.arguments import element_type, integer, integers, operation, tensor, tensors, vector
from tensorferry.readers.keras.layers.operations import pair, two
from tensorferry.readers.keras.layers.operations_shapes import contract, counted, paired_axes
from tensorferry.tensor import DType

# -- joined --------------------------------------------------------------------------------------------------------


@operation("Append")
def append(build: Builder, x1: Any, x2: Any, axis: Any = None) -> Value:
    """One behind the other; all elements in a row where no axis is named."""
    parts = pair(build, x1, x2)
    if axis is None:
        return build.concat([build.reshape(each, [-1]) for each in parts], 0)
    return build.concat(parts, build.axis(parts[0], integer(build, axis)))


@operation("Hstack", "Vstack", "Dstack")
def stacked(build: Builder, xs: Any) -> Value:
    """Beside, below or behind each other."""
    parts, name = tensors(build, xs), build.layer.class_name
    rank = build.rank(parts[0])
    if (name == "Vstack" and rank == 1) or (name == "Dstack" and rank == 1):
        parts = [build.expand(each, 0) for each in parts]
    if name == "Dstack" and rank < 3:
        parts = [build.expand(each, 2) for each in parts]
    return build.concat(parts, {"Hstack": int(rank > 1), "Vstack": 0, "Dstack": 2}[name])


@operation("Unstack")
def unstack(build: Builder, x: Value, num: Any = None, axis: Any = 0) -> list[Value]:
    """Apart along an axis that is gone then."""
    place = build.axis(x, integer(build, axis))
    count = build.bounded(build.size(x, place) if num is None else integer(build, num), 1 << 16)
    return build.add_all("Unpack", (x,), {"num": count, "axis": place})


@operation("Meshgrid")
def meshgrid(build: Builder, *x: Value, indexing: str = "xy") -> list[Value]:
    """Each spread over the axes of all the others."""
    flat = [build.reshape(each, [-1]) for each in x]
    order = list(range(len(flat)))
    if indexing == "xy" and len(flat) > 1:
        order[0], order[1] = 1, 0
    lengths = [build.sizes(each)[0] for each in flat]
    shape = [lengths[order.index(axis)] for axis in range(len(flat))]
    return [
        build.add(
            "BroadcastTo", (build.reshape(each, [-1 if axis == mine else 1 for axis in range(len(flat))]), build.vector(shape))
        )
        for each, mine in zip(flat, order, strict=True)
    ]


# -- moved ---------------------------------------------------------------------------------------------------------


@operation("Ravel")
def ravel(build: Builder, x: Value) -> Value:
    """All elements in a row."""
    return build.reshape(x, [-1])


@operation("Fliplr", "Flipud")
def flipped(build: Builder, x: Value) -> Value:
    """The second axis, or the first, from its end."""
    return reversed_along(build, x, int(build.layer.class_name == "Fliplr"))


def reversed_along(build: Builder, x: Value, axis: int) -> Value:
    """An axis from its end."""
    return build.add("ReverseV2", (x, build.constant([axis], name="axis")))


@operation("Rot90")
def rotated(build: Builder, array: Value, k: Any = 1, axes: Any = (0, 1)) -> Value:
    """Turned by right angles, from the first of two axes to the second."""
    one, other = (build.axis(array, each) for each in integers(build, axes))
    times = integer(build, k) % 4
    if times == 0:
        return array
    if one > other or (times == 2 and build.size(array, one) != build.size(array, other)):
        raise build.unsupported("Keras mixes up the elements of such a turn", EXPORT)
    if times == 2:
        return reversed_along(build, reversed_along(build, array, one), other)
    order = list(range(build.rank(array)))
    order[one], order[other] = other, one
    if times == 1:
        return build.transpose(reversed_along(build, array, other), order)
    return reversed_along(build, build.transpose(array, order), other)


@operation("Diff")
def differences(build: Builder, a: Value, n: Any = 1, axis: Any = -1) -> Value:
    """Each element less the one before."""
    place = build.axis(a, integer(build, axis))
    for _ in range(integer(build, n)):
        a = build.add("Sub", (build.cut(a, {place: (1, 0)}), build.cut(a, {place: (0, 1)})))
    return a


@operation("Trapezoid")
def trapezoid(build: Builder, y: Value, x: Any = None, dx: float = 1.0, axis: Any = -1) -> Value:
    """The area below points at equal distances."""
    if x is not None:
        raise build.unsupported("its points lie at distances of their own", EXPORT)
    place = build.axis(y, integer(build, axis))
    both = build.add("AddV2", (build.cut(y, {place: (1, 0)}), build.cut(y, {place: (0, 1)})))
    return two(build, "Mul", build.reduce("Sum", both, [place]), dx / 2)


@operation("TakeAlongAxis")
def take_along(build: Builder, x: Value, indices: Any, axis: Any = None) -> Value:
    """One element for each number, from the row in which the number stands."""
    places = tensor(build, indices)
    if axis is None:
        flat = build.reshape(x, [-1])
        rows = counted(build, flat, build.reshape(places, [-1]), 0)
        return build.add("GatherV2", (flat, rows, build.constant(0, name="axis")))
    rank, over = build.rank(x), build.axis(x, integer(build, axis))
    for place, (one, other) in enumerate(zip(build.shape(x), build.shape(places), strict=True)):
        if place != over and one != other:
            raise build.unsupported("its numbers are spread over axes of another size", EXPORT)
    order = [each for each in range(rank) if each != over] + [over]
    back = [order.index(each) for each in range(rank)]
    rows = counted(build, x, places, over)
    moved = [each if over == rank - 1 else build.transpose(each, order) for each in (x, rows)]
    made = build.add("GatherV2", (*moved, build.constant(rank - 1, name="axis")), {"batch_dims": rank - 1})
    return made if over == rank - 1 else build.transpose(made, back)


@operation("Slice")
def slice_of(build: Builder, inputs: Value, start_indices: Any, shape: Any) -> Value:
    """A part of given sizes from a place on."""
    return build.add("Slice", (inputs, vector(build, start_indices), vector(build, shape)))


@operation("SliceUpdate")
def slice_update(build: Builder, inputs: Value, start_indices: Any, updates: Value) -> Value:
    """Another part in the place of one."""
    return build.add("XlaDynamicUpdateSlice", (inputs, build.cast(updates, inputs.dtype), vector(build, start_indices)))


@operation("Scatter")
def scatter(build: Builder, indices: Any, values: Any, shape: Any) -> Value:
    """Elements to their places, zeros elsewhere."""
    return build.add("ScatterNd", (tensor(build, indices), tensor(build, values), vector(build, shape)))


@operation("ScatterUpdate")
def scatter_update(build: Builder, inputs: Value, indices: Any, updates: Any, reduction: Any = None) -> Value:
    """Elements put to, or reckoned into, places of a tensor."""
    ops = {None: "Update", "add": "Add", "max": "Max", "min": "Min"}
    if reduction not in ops:
        raise build.unsupported(f"it updates by {str(reduction)[:20]}", EXPORT)
    fitting = tensor(build, updates, inputs.dtype)
    return build.add(f"TensorScatter{ops[reduction]}", (inputs, tensor(build, indices), build.cast(fitting, inputs.dtype)))


@operation("UnravelIndex")
def unravel(build: Builder, indices: Value, shape: Any) -> list[Value]:
    """A number in a row as places along axes."""
    if build.rank(indices) != 1:
        raise build.unsupported("Keras gives other places than it says for numbers that lie in no single row", EXPORT)
    sizes = integers(build, shape)
    steps = [math.prod(sizes[place + 1 :]) for place in range(len(sizes))]
    return [two(build, "FloorMod", two(build, "FloorDiv", indices, step), size) for size, step in zip(sizes, steps, strict=True)]


@operation("SearchSorted")
def search_sorted(build: Builder, sorted_sequence: Any, values: Any, side: str = "left") -> Value:
    """Before which element of a row each number belongs."""
    one, other = pair(build, sorted_sequence, values)
    if build.rank(one) != 1:
        raise build.unsupported("it searches several rows", EXPORT)
    op = "LowerBound" if side == "left" else "UpperBound"
    found = build.add(op, (build.expand(one, 0), build.reshape(other, [1, -1])), {"out_type": DType.INT32})
    return build.reshape(found, build.sizes(other))


# -- made anew -----------------------------------------------------------------------------------------------------


@operation("Full")
def full(build: Builder, fill_value: Any, shape: Any, dtype: Any = None) -> Value:
    """One value everywhere."""
    value = tensor(build, fill_value)
    value = value if dtype is None else build.cast(value, element_type(build, dtype))
    return build.add("BroadcastTo", (value, vector(build, shape)))


@operation("FullLike")
def full_like(build: Builder, x: Value, fill_value: Any, dtype: Any = None) -> Value:
    """One value in the shape of another tensor."""
    kind = x.dtype if dtype is None else element_type(build, dtype)
    value = build.cast(tensor(build, fill_value, kind), kind)
    return build.add("BroadcastTo", (value, build.add("Shape", (x,), {"out_type": DType.INT32})))


@operation("Arange")
def arange(build: Builder, start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Value:
    """Numbers from the first to before the last."""
    start, stop, step = (0, start, step or 1) if stop is None else (start, stop, step or 1)
    kind = values_in([start, stop, step])[0].dtype if dtype is None else element_type(build, dtype)
    parts = [build.cast(each, kind) if isinstance(each, Value) else build.constant(each, kind) for each in (start, stop, step)]
    return build.add("Range", parts)


@operation("Linspace", "Logspace", "Geomspace")
def spaced(
    build: Builder,
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: Any = 0,
    base: float = 10,
) -> Value:
    """So many numbers at equal distances between two; or whose logarithms are."""
    if retstep:
        raise build.unsupported("it also gives the distance", EXPORT)
    one, other = (build.floating(each) for each in pair(build, start, stop))
    name, count = build.layer.class_name, build.bounded(integer(build, num))
    sign = build.add("Sign", (one,))
    if name == "Geomspace":
        one, other = (build.add("Log", (build.add("Abs", (each,)),)) for each in (one, other))
    distance = two(build, "Mul", build.add("Sub", (other, one)), 1 / max(count - bool(endpoint), 1))
    axis = integer(build, axis)
    place = axis if axis >= 0 else build.rank(distance) + 1 + axis
    shape = [count if each == place else 1 for each in range(build.rank(distance) + 1)]
    places = build.constant(np.arange(count, dtype=np.float32).reshape(shape), distance.dtype, "places")
    made = build.add("AddV2", (build.expand(one, place), build.add("Mul", (build.expand(distance, place), places))))
    if name == "Logspace":
        made = build.add("Pow", (build.number(float(base), made), made))
    if name == "Geomspace":
        made = build.add("Mul", (build.add("Exp", (made,)), build.expand(sign, place)))
    return made if dtype is None else build.cast(made, element_type(build, dtype))


@operation("Size", "Ndim")
def counts(build: Builder, x: Value) -> Value:
    """How many elements, or axes."""
    return build.add("Size" if build.layer.class_name == "Size" else "Rank", (x,))


@operation("Vander")
def vander(build: Builder, x: Value, N: Any = None, increasing: bool = False) -> Value:  # noqa: N803 - Keras' name
    """Powers of each element, the largest first."""
    count = build.bounded(build.size(x, 0) if N is None else integer(build, N))
    powers = np.arange(count, dtype=np.float32)
    return two(build, "Pow", build.expand(build.floating(x), -1), list(powers if increasing else powers[::-1]))


# -- matrices ------------------------------------------------------------------------------------------------------


@operation("Tril", "Triu")
def triangle(build: Builder, x: Value, k: Any = 0) -> Value:
    """What lies below, or above, a diagonal; zeros elsewhere."""
    rows, columns = (build.size(x, axis) for axis in (-2, -1))
    build.bounded(rows * columns)
    ones = np.ones((rows, columns), bool)
    kept = np.tril(ones, integer(build, k)) if build.layer.class_name == "Tril" else np.triu(ones, integer(build, k))
    return build.add("SelectV2", (build.constant(kept, DType.BOOL, "kept"), x, build.number(0, x)))


def _part(build: Builder, x: Value, offset: Any, axes: tuple[Any, Any]) -> Value:
    one, other = (build.axis(x, integer(build, each)) for each in axes)
    rest = [axis for axis in range(build.rank(x)) if axis not in (one, other)]
    x = build.transpose(x, [*rest, one, other])
    operands = (x, build.constant(integer(build, offset), name="k"), build.number(0, x))
    return build.add("MatrixDiagPartV3", operands)


@operation("Diagonal", "Trace")
def diagonal(build: Builder, x: Value, offset: Any = 0, axis1: Any = 0, axis2: Any = 1) -> Value:
    """What stands on the diagonal of two axes; its sum."""
    made = _part(build, x, offset, (axis1, axis2))
    return made if build.layer.class_name == "Diagonal" else build.reduce("Sum", made, [build.rank(made) - 1])


@operation("Diag", "Diagflat")
def diag(build: Builder, x: Value, k: Any = 0) -> Value:
    """A row as the diagonal of a matrix; a matrix' diagonal."""
    if build.layer.class_name == "Diagflat":
        x = build.reshape(x, [-1])
    if build.rank(x) == 2:
        return _part(build, x, k, (0, 1))
    size: Size = build.plus(build.sizes(x)[0], abs(integer(build, k)))
    operands = (x, build.constant(integer(build, k), name="k"), build.scalar(size), build.scalar(size), build.number(0, x))
    return build.add("MatrixDiagV3", operands)


@operation("Dot", "Inner", "Vdot", "Outer", "Tensordot")
def products(build: Builder, x1: Any, x2: Any, axes: Any = 2) -> Value:
    """Sums of products over the last axis and the last but one, over both last, over all; of none; of those that are named."""
    one, other = pair(build, x1, x2)
    name, ranks = build.layer.class_name, (build.rank(one), build.rank(other))
    if name in ("Vdot", "Outer"):
        one, other = (build.reshape(each, [-1]) for each in (one, other))
        return contract(build, one, other, [(0, 0)] if name == "Vdot" else [])
    if name == "Tensordot":
        return contract(build, one, other, paired_axes(build, ranks[0], axes))
    if 0 in ranks:
        return build.add("Mul", (one, other))
    return contract(build, one, other, [(-1, -1 if name == "Inner" or ranks[1] == 1 else -2)])


@operation("Kron")
def kron(build: Builder, x1: Any, x2: Any) -> Value:
    """Each element of one times all of the other."""
    one, other = pair(build, x1, x2)
    rank = build.rank(one)
    if rank != build.rank(other):
        raise build.unsupported("its operands have another number of axes each", EXPORT)
    left, right = ([build.size(each, axis) for axis in range(rank)] for each in (one, other))
    wide = build.reshape(one, [part for size in left for part in (size, 1)])
    made = build.add("Mul", (wide, build.reshape(other, [part for size in right for part in (1, size)])))
    return build.reshape(made, [a * b for a, b in zip(left, right, strict=True)])


@operation("Cross")
def cross(build: Builder, x1: Any, x2: Any, axisa: Any = -1, axisb: Any = -1, axisc: Any = -1, axis: Any = None) -> Value:
    """The vector at right angles to two of three elements."""
    if any(each not in (-1, None) for each in (axisa, axisb, axisc, axis)):
        raise build.unsupported("its vectors lie along another axis than the last", EXPORT)
    one, other = pair(build, x1, x2)
    return build.add("Cross", (one, other))


@operation("Ptp")
def reach(build: Builder, x: Value, axis: Any = None, keepdims: bool = False) -> Value:
    """From the least to the largest."""
    over = list(range(build.rank(x))) if axis is None else [build.axis(x, each) for each in integers(build, axis)]
    return build.add("Sub", tuple(build.reduce(op, x, over, bool(keepdims)) for op in ("Max", "Min")))
