"""Arrays that are to be samples: cut into samples, brought to an input's type, and checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tensorferry.calibration.inputs import Input, Shape
from tensorferry.calibration.pixels import Mapping
from tensorferry.errors import OptionError, SourceError
from tensorferry.ir import format_shape
from tensorferry.tensor import Array, DType

_WHOLE = 1 << 24
"""Integers up to here are float32 exactly."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How an array's first axis becomes samples: `count` of `rows` rows each; `whole` if there is one, without such an axis.

    `keep` tells whether a sample keeps the axis (as its batch) or loses it.
    """

    count: int
    rows: int = 1
    keep: bool = True
    whole: bool = False


def choose_cut(shape: tuple[int, ...], given: Input, where: str) -> Cut:
    """By the number of axes: one more than the input's are many samples, as many are a batch, one fewer is one sample."""
    if given.shape is None:
        if not shape:
            return Cut(1, whole=True)
        return Cut(shape[0])
    rank = len(given.shape)
    if len(shape) == rank + 1 and _fits(shape[1:], given.shape):
        return Cut(shape[0], keep=False)
    if rank and len(shape) == rank and _fits(shape[1:], given.shape[1:]):
        batch = given.shape[0]
        if batch in (1, None):
            return Cut(shape[0])
        if shape[0] and shape[0] % batch == 0:
            return Cut(shape[0] // batch, batch)
    if given.open_batch and len(shape) == rank - 1 and _fits(shape, given.shape[1:]):
        return Cut(1, keep=False, whole=True)
    if len(shape) == rank == 0:
        return Cut(1, whole=True)
    raise OptionError(
        f"the values for the input '{given.name}' have the shape {format_shape(shape)}",
        where=where,
        why=f"the model takes {_described(given.shape)}, so many samples have the shape {_described((None, *_many(given)))}",
    )


def _many(given: Input) -> Shape:
    return given.sample_shape if given.open_batch else (given.shape or ())


def _fits(shape: tuple[int, ...], wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(size in (have, None) for have, size in zip(shape, wanted, strict=True))


def _described(shape: Shape) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


def check_type(dtype: np.dtype[np.generic], given: Input, where: str, *, scaled: bool = False) -> None:
    """Whether such values can be made the input's without losing anything that counts."""
    wanted = given.dtype
    if wanted is DType.STRING:
        fits = dtype.kind in "SU"
    elif wanted.is_float:
        fits = dtype.kind in "fiu" or dtype.kind == "b"
    elif wanted in (DType.COMPLEX64, DType.COMPLEX128):
        fits = dtype.kind in "fc"
    elif wanted is DType.BOOL:
        fits = dtype.kind == "b"
    else:
        fits = wanted.is_integer and (dtype.kind in "iu" or scaled)
    if not fits:
        raise OptionError(
            f"the values for the input '{given.name}' are {dtype}", where=where, why=f"the model takes {wanted.value}"
        )


def convert(values: Array, given: Input, where: str, mapping: Mapping | None = None) -> Array:
    """A sample in the input's type, scaled where asked. Raises on NaN, infinities and what does not fit into the type."""
    if given.dtype is DType.STRING:
        return np.asarray([text if isinstance(text, bytes) else str(text).encode() for text in values.reshape(-1)], object).reshape(
            values.shape
        )
    if values.dtype.kind in "fc" and not np.all(np.isfinite(values)):
        kind = "NaN" if np.any(np.isnan(values)) else "infinite values"
        raise SourceError(
            f"the values for the input '{given.name}' hold {kind}", where=where, remedy="leave the sample out, or repair it"
        )
    if mapping is not None:
        values = mapping.apply(values)
        values = values if given.dtype.is_float else np.rint(values)
    wanted = given.dtype.numpy
    with np.errstate(over="ignore", invalid="ignore"):
        converted = values.astype(wanted)
    if values.dtype.kind in "iu" and wanted.kind == "f":
        lost = (
            values.size
            and int(np.abs(values.astype(object) if values.dtype.itemsize == 8 else values.astype(np.int64)).max()) > _WHOLE
        )
    elif wanted.kind in "fc":
        lost = not np.all(np.isfinite(converted))
    else:
        lost = not np.array_equal(converted, values)
    if lost:
        raise SourceError(
            f"the values for the input '{given.name}' do not fit into {given.dtype.value}",
            where=where,
            why=f"they lie between {values.min()} and {values.max()}",
        )
    return converted


def check_shape(values: Array, given: Input, where: str) -> None:
    """Of one finished sample."""
    if given.shape is not None and not _fits(values.shape, given.shape):
        raise OptionError(
            f"a sample for the input '{given.name}' has the shape {format_shape(values.shape)}",
            where=where,
            why=f"the model takes {_described(given.shape)}",
        )
    if not values.size:
        raise OptionError(f"a sample for the input '{given.name}' has no values", where=where)
