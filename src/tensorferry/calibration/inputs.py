"""What a model's inputs take, and what it does to pixels itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tensorferry.errors import OptionError
from tensorferry.ir import Graph, Value
from tensorferry.ops.scaling import leading_scalings
from tensorferry.tensor import Array, DType

Shape = tuple[int | None, ...]

_COLOURS = (1, 3, 4)
_PICTURE_TYPES = (DType.FLOAT32, DType.FLOAT16, DType.FLOAT64, DType.UINT8, DType.INT8, DType.INT32)


@dataclass(frozen=True, slots=True)
class Scaling:
    """factor * value + offset, with one number for all channels or one for each: what the net does first."""

    factor: tuple[float, ...]
    offset: tuple[float, ...]

    def of(self, low: float, high: float) -> tuple[Array, Array]:
        """What the ends of a range become, by channel."""
        factor, offset = np.asarray(self.factor), np.asarray(self.offset)
        return factor * low + offset, factor * high + offset


@dataclass(frozen=True, slots=True)
class Input:
    """An input under its public name; None in a shape is an open size, None for a shape an open rank."""

    name: str
    dtype: DType
    shape: Shape | None
    scaling: Scaling | None = None

    @property
    def sample_shape(self) -> Shape:
        """Without the batch."""
        return (self.shape or ())[1:]

    @property
    def open_batch(self) -> bool:
        """Whether the first axis is a batch that one sample fills: 1 or open."""
        return bool(self.shape) and self.shape is not None and self.shape[0] in (1, None)


@dataclass(frozen=True, slots=True)
class Layout:
    """How an input holds pictures: [batch,] height, width, channels, or channels before them."""

    height: int
    width: int
    channels: int
    batch: int | None  # None: no such axis
    channels_first: bool = False
    flat: bool = False  # grey, without an axis for channels


def inputs_of(graph: Graph) -> tuple[Input, ...]:
    """Of a graph as it was read; variables, which are fed by nobody, are left out."""
    return tuple(
        Input(port.name, port.value.dtype, _shape(port.value), _scaling(port.value))
        for port in graph.inputs
        if port.name not in graph.states
    )


def _shape(value: Value) -> Shape | None:
    if value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else None for dim in value.shape)


def _scaling(value: Value) -> Scaling | None:
    steps = leading_scalings(value) if value.dtype.is_float else []
    if not steps:
        return None
    factor, offset = np.ones(1), np.zeros(1)
    for each, shift in steps:
        factor, offset = factor * each.reshape(-1), offset * each.reshape(-1) + shift.reshape(-1)
    if not (np.all(np.isfinite(factor)) and np.all(np.isfinite(offset))):
        return None
    return Scaling(tuple(map(float, factor)), tuple(map(float, offset)))


def picture_layout(given: Input) -> Layout | str:
    """How this input holds pictures, or why it does not."""
    shape = given.shape
    if shape is None:
        return "its rank is open"
    if len(shape) == 4:
        first = shape[1] in _COLOURS and shape[3] not in _COLOURS
        height, width, channels = (shape[2], shape[3], shape[1]) if first else (shape[1], shape[2], shape[3])
        batch, flat = shape[0] or 1, False
    elif len(shape) == 3 and shape[2] in _COLOURS:
        (height, width, channels), batch, first, flat = shape, None, False, False
    elif len(shape) == 3:
        (batch, height, width), channels, first, flat = shape, 1, False, True
        batch = batch or 1
    else:
        return f"it has {len(shape)} axes, not height, width and channels"
    if channels not in _COLOURS:
        return f"it has {channels if channels is not None else 'an open number of'} channels, not 1, 3 or 4"
    if height is None or width is None:
        return "its height or width is open"
    return Layout(height, width, channels, batch, first, flat)


def the_picture_input(inputs: tuple[Input, ...]) -> tuple[Input, Layout]:
    """The input that pictures go into; OptionError where there is none, or where others would stay without values."""
    if len(inputs) != 1:
        names = ", ".join(f"'{each.name}'" for each in inputs) or "none"
        raise OptionError(
            "pictures can calibrate a model with one input only",
            why=f"its inputs are {names}",
            remedy="give an .npz file with an array for each of them",
        )
    (given,) = inputs
    found = picture_layout(given)
    if isinstance(found, str):
        shape = f"{given.name}=1,224,224,3"
        remedy = f"say its size (--shape {shape})" if "open" in found else "give the values as .npy or .npz"
        raise OptionError(f"the input '{given.name}' takes no pictures", why=found, remedy=remedy)
    if given.dtype not in _PICTURE_TYPES:
        raise OptionError(f"the input '{given.name}' takes no pictures", why=f"its values are {given.dtype.value}")
    return given, found
