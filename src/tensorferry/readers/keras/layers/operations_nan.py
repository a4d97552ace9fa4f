"""Operations of keras.ops that pass over what is no number, and those that ask for shares of what is sorted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder
from tensorferry.readers.keras.description import EXPORT
from tensorferry.readers.keras.layers.arguments import array, axes, element_type, integer, operation
from tensorferry.readers.keras.layers.operations import two
from tensorferry.readers.keras.layers.operations_elements import without_nan
from tensorferry.readers.keras.layers.operations_reductions import sorted_along
from tensorferry.tensor import DType


@operation("Nansum", "Nanprod")
def total(build: Builder, x: Value, axis: Any = None, keepdims: bool = False) -> Value:
    """The sum or the product of all numbers."""
    name = build.layer.class_name.removeprefix("Nan").capitalize()
    value, _gaps = without_nan(build, x, 0.0 if name == "Sum" else 1.0)
    return build.reduce(name, value, axes(build, axis, x), bool(keepdims))


@operation("Nanmax", "Nanmin")
def extreme(build: Builder, x: Value, axis: Any = None, keepdims: bool = False) -> Value:
    """The largest or the least number; none where there is none."""
    name = build.layer.class_name.removeprefix("Nan").capitalize()
    over = axes(build, axis, x)
    value, gaps = without_nan(build, x, -math.inf if name == "Max" else math.inf)
    empty = build.reduce("All", gaps, over, bool(keepdims))
    return build.add("SelectV2", (empty, build.number(math.nan, x), build.reduce(name, value, over, bool(keepdims))))


def _mean(build: Builder, x: Value, over: Sequence[int], keep: bool) -> Value:
    value, gaps = without_nan(build, x, 0.0)
    count = build.reduce("Sum", build.cast(build.add("LogicalNot", (gaps,)), x.dtype), over, keep)
    return build.add("RealDiv", (build.reduce("Sum", value, over, keep), count))


@operation("Nanmean", "Nanvar", "Nanstd")
def moment(build: Builder, x: Value, axis: Any = None, keepdims: bool = False) -> Value:
    """Mean, variance or deviation of the numbers that there are."""
    over, name = axes(build, axis, x), build.layer.class_name
    if name == "Nanmean":
        return _mean(build, x, over, bool(keepdims))
    beside = build.add("Sub", (x, _mean(build, x, over, True)))
    made = _mean(build, build.add("Square", (beside,)), over, bool(keepdims))
    return made if name == "Nanvar" else build.add("Sqrt", (made,))


@operation("Nancumsum", "Nancumprod")
def running(build: Builder, x: Value, axis: Any = None, dtype: Any = None) -> Value:
    """The sum or product so far of the numbers that there are."""
    name = build.layer.class_name.removeprefix("Nan").capitalize()
    value = without_nan(build, x, 0.0 if name == "Cumsum" else 1.0)[0]
    value = value if axis is not None else build.reshape(value, [-1])
    value = value if dtype is None else build.cast(value, element_type(build, dtype))
    return build.add(name, (value, build.constant(build.axis(value, axis or 0), name="axis")))


@operation("Nanargmax", "Nanargmin")
def place(build: Builder, x: Value, axis: Any = None, keepdims: bool = False) -> Value:
    """Where the largest or the least number stands; -1 where there is none."""
    largest = build.layer.class_name == "Nanargmax"
    value, gaps = without_nan(build, x, -math.inf if largest else math.inf)
    if axis is None:
        value, gaps = build.reshape(value, [-1]), build.reshape(gaps, [-1])
    over = build.axis(value, integer(build, axis or 0))
    operands = (value, build.constant(over, name="axis"))
    made = build.add("ArgMax" if largest else "ArgMin", operands, {"output_type": DType.INT32})
    made = build.add("SelectV2", (build.reduce("All", gaps, [over]), build.number(-1, made), made))
    if not keepdims:
        return made
    return build.expand(made, over) if axis is not None else build.reshape(made, [1] * build.rank(x))


# -- shares --------------------------------------------------------------------------------------------------------


@operation("Quantile", "Percentile", "Median")
def quantile(build: Builder, x: Value, q: Any = 0.5, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Value:
    """The number below which a share of all lies; between two it is found by their distance.

    Keras' models do so whatever method they name, though the function by itself knows others.
    """
    if method != "linear":
        raise build.unsupported(f"its method is {method[:20]}, which Keras leaves aside in a model", EXPORT)
    shares = array(build, q).astype(np.float64) / (100 if build.layer.class_name == "Percentile" else 1)
    over = sorted(axes(build, axis, x))
    flat, count = _behind(build, build.floating(x), over)
    ranked = sorted_along(build, flat, build.rank(flat) - 1, ascending=True)[0]
    found = [_share(build, ranked, share * (count - 1)) for share in shares.reshape(-1)]
    if keepdims:
        for axis_ in over:
            found = [build.expand(each, axis_) for each in found]
    return build.add("Pack", found, {"axis": 0, "N": len(found)}) if shares.ndim else found[0]


def _behind(build: Builder, x: Value, over: Sequence[int]) -> tuple[Value, int]:
    """The axes made one, at the end; how many elements it has."""
    rank = build.rank(x)
    count = int(np.prod([build.size(x, axis) for axis in over]))
    rest = [axis for axis in range(rank) if axis not in over]
    if len(over) == 1 and over[0] == rank - 1:
        return x, count
    sizes = build.sizes(x)
    return build.reshape(build.transpose(x, [*rest, *over]), [*(sizes[axis] for axis in rest), count]), count


def _share(build: Builder, ranked: Value, place: float) -> Value:
    low, high = math.floor(place + 1e-9), math.ceil(place - 1e-9)
    last = build.rank(ranked) - 1
    count = build.size(ranked, last)

    def at(index: int) -> Value:
        return build.squeeze(build.cut(ranked, {last: (index, count - index - 1)}), [last])

    if low == high:
        return at(low)
    return build.add("AddV2", (two(build, "Mul", at(low), high - place), two(build, "Mul", at(high), place - low)))
