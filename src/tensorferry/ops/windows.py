"""Sliding windows over height and width: the geometry that convolutions and pooling share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tensorferry.ir import UNKNOWN_DIM, Dim, Node, Value
from tensorferry.ops.spec import Declined
from tensorferry.targets import JsNode, LiteOp, Ref, Temp
from tensorferry.tensor import Array, ArrayTensor, DType

NCHW_TO_NHWC = (0, 2, 3, 1)
NHWC_TO_NCHW = (0, 3, 1, 2)
BLOCK_BYTES = 1 << 18
"""Size of the piece of output that is finished before the next is begun: it stays in the cache meanwhile."""


@dataclass(frozen=True, slots=True)
class Axis:
    """How the window moves along one axis. `explicit` is used when `padding` is EXPLICIT."""

    size: int
    stride: int
    dilation: int
    padding: str
    explicit: tuple[int, int] = (0, 0)

    @property
    def extent(self) -> int:
        """How many elements lie between the window's ends, both included."""
        return (self.size - 1) * self.dilation + 1

    def count(self, length: int) -> int:
        """How many positions the window takes."""
        if self.padding == "SAME":
            return -(-length // self.stride)
        room = length + sum(self.pads(length)) - self.extent
        count = room // self.stride + 1
        if count < 0:
            raise Declined(f"a window of {self.extent} does not fit into {length} elements")
        return count

    def count_dim(self, dim: Dim) -> Dim:
        """The same for a size that may be unknown: its name survives where the size does not change."""
        if isinstance(dim, int):
            return self.count(dim)
        return dim if self.stride == 1 and self.keeps_length else UNKNOWN_DIM

    @property
    def keeps_length(self) -> bool:
        """At stride 1 there are as many positions as elements."""
        return self.padding == "SAME" or sum(self.explicit_pads) == self.extent - 1

    @property
    def explicit_pads(self) -> tuple[int, int]:
        return self.explicit if self.padding == "EXPLICIT" else (0, 0)

    def pads(self, length: int) -> tuple[int, int]:
        """Elements added before and after; SAME puts the odd one after."""
        if self.padding != "SAME":
            return self.explicit_pads
        total = max((self.count(length) - 1) * self.stride + self.extent - length, 0)
        return total // 2, total - total // 2

    def is_same(self, dim: Dim) -> bool:
        """Whether SAME padding would do exactly what this axis does to a length of `dim`."""
        same = Axis(self.size, self.stride, self.dilation, "SAME")
        if isinstance(dim, int):
            return same.pads(dim) == self.pads(dim) and same.count(dim) == self.count(dim)
        total = self.extent - 1
        return self.padding == "SAME" or (self.stride == 1 and self.explicit_pads == (total // 2, total - total // 2))


@dataclass(frozen=True, slots=True)
class Window:
    """A window's height and width axes, and where they lie in the tensor."""

    height: Axis
    width: Axis
    channels_first: bool

    @property
    def axes(self) -> tuple[Axis, Axis]:
        return self.height, self.width

    @property
    def spatial(self) -> tuple[int, int]:
        return (2, 3) if self.channels_first else (1, 2)

    def shape(self, batch: Dim, height: Dim, width: Dim, channels: Dim) -> tuple[Dim, ...]:
        """The four sizes in the node's layout."""
        return (batch, channels, height, width) if self.channels_first else (batch, height, width, channels)

    def output_shape(self, value: Value, channels: Dim) -> tuple[Dim, ...]:
        """Shape of the result for this input."""
        dims = value.shape or (UNKNOWN_DIM,) * 4
        height, width = (axis.count_dim(dims[at]) for axis, at in zip(self.axes, self.spatial, strict=True))
        return self.shape(dims[0], height, width, channels)

    def channels(self, value: Value) -> Dim:
        return UNKNOWN_DIM if value.shape is None else value.shape[1 if self.channels_first else 3]

    def named_padding(self, value: Value) -> str | None:
        """SAME or VALID if one of them says it all for this input, else None."""
        dims = value.shape or (UNKNOWN_DIM,) * 4
        if all(axis.explicit_pads == (0, 0) and axis.padding != "SAME" for axis in self.axes):
            return "VALID"
        if all(axis.is_same(dims[at]) for axis, at in zip(self.axes, self.spatial, strict=True)):
            return "SAME"
        return None


def read_window(node: Node, size: Sequence[Dim], rank: int | None = 4) -> Window:
    """The window of a node from its attributes. Declined if they make no sense.

    `size` is the window's height and width, `rank` that of the input it moves over.
    """
    layout = node.get("data_format", "NHWC")
    if layout not in ("NHWC", "NCHW"):
        raise Declined(f"the data format {layout} is not known", attributes=f"data_format={layout}")
    if rank not in (None, 4):
        raise Declined(f"its input has rank {rank}, not 4")
    channels_first = layout == "NCHW"
    spatial = (2, 3) if channels_first else (1, 2)
    strides = read_pair(node, "strides")
    dilations = read_pair(node, "dilations") if node.get("dilations") else (1, 1)
    padding = node["padding"]
    if padding not in ("SAME", "VALID", "EXPLICIT"):
        raise Declined(f"the padding {padding} is not known", attributes=f"padding={padding}")
    explicit = _explicit_pads(node, spatial) if padding == "EXPLICIT" else ((0, 0), (0, 0))
    height, width = (
        Axis(_positive(length), stride, dilation, padding, pads)
        for length, stride, dilation, pads in zip(size, strides, dilations, explicit, strict=True)
    )
    return Window(height, width, channels_first)


def _positive(length: Dim) -> int:
    if not isinstance(length, int):
        raise Declined("the size of its window is not known")
    if length < 1:
        raise Declined(f"its window has a side of {length}")
    return length


def read_pair(node: Node, attribute: str) -> tuple[int, int]:
    """Height and width out of an attribute of four numbers; the other two must be 1."""
    numbers = tuple(int(each) for each in node[attribute])
    if len(numbers) != 4 or min(numbers) < 1:
        raise Declined(f"{attribute} must be four numbers of at least 1", attributes=f"{attribute}={list(numbers)}")
    at = 2 if node.get("data_format") == "NCHW" else 1
    if numbers[0] * numbers[3 if at == 1 else 1] != 1:
        raise Declined(f"{attribute} over batch or channels cannot be expressed", attributes=f"{attribute}={list(numbers)}")
    return numbers[at], numbers[at + 1]


def _explicit_pads(node: Node, spatial: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    numbers = [int(each) for each in node.get("explicit_paddings") or ()]
    inner = [number for at in spatial for number in numbers[2 * at : 2 * at + 2]]
    if len(numbers) != 8 or min(numbers) < 0 or sum(inner) != sum(numbers):
        raise Declined(
            "explicit_paddings must be eight numbers, 0 for batch and channels", attributes=f"explicit_paddings={numbers}"
        )
    return (inner[0], inner[1]), (inner[2], inner[3])


# -- evaluation ----------------------------------------------------------------------------------------------------


def to_channels_last(window: Window, array: Array) -> Array:
    return array.transpose(NCHW_TO_NHWC) if window.channels_first else array


def from_channels_last(window: Window, array: Array) -> Array:
    return array.transpose(NHWC_TO_NCHW) if window.channels_first else array


def padded(window: Window, array: Array, fill: float = 0) -> Array:
    """An NHWC array with the window's padding around it; the array itself when there is none."""
    (top, bottom), (left, right) = (axis.pads(array.shape[at]) for axis, at in zip(window.axes, (1, 2), strict=True))
    if not top + bottom + left + right:
        return np.ascontiguousarray(array)
    batch, height, width, channels = array.shape
    wide = np.full((batch, height + top + bottom, width + left + right, channels), fill, array.dtype)
    wide[:, top : top + height, left : left + width] = array
    return wide


def positions(window: Window, array: Array) -> Array:
    """All windows of a padded NHWC array as a view: [batch, rows, columns, window height, window width, channels]."""
    batch, height, width, channels = array.shape
    over_batch, over_height, over_width, over_channels = array.strides
    rows, columns = (
        max((length - axis.extent) // axis.stride + 1, 0) for axis, length in zip(window.axes, (height, width), strict=True)
    )
    down, across = window.axes
    return as_strided(
        array,
        (batch, rows, columns, down.size, across.size, channels),
        (
            over_batch,
            over_height * down.stride,
            over_width * across.stride,
            over_height * down.dilation,
            over_width * across.dilation,
            over_channels,
        ),
        writeable=False,
    )


def row_blocks(rows: int, row_bytes: int, block_bytes: int = BLOCK_BYTES) -> list[slice]:
    """Slices over `rows` of about `block_bytes` each."""
    step = max(block_bytes // max(row_bytes, 1), 1)
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


# -- lowering ------------------------------------------------------------------------------------------------------


def require_channels_last(node: Node) -> None:
    layout = node.get("data_format", "NHWC")
    if layout != "NHWC":
        raise Declined("channels must come last", attributes=f"data_format={layout}")


def require_float32(node: Node) -> None:
    dtype = node.outputs[0].dtype
    if dtype is not DType.FLOAT32:
        raise Declined(f"it computes in {dtype}, the target only in float32", attributes=f"T={dtype}")


def lite_pad(window: Window, value: Value, fill: float | None = None) -> tuple[str, Ref, list[LiteOp]]:
    """Padding for a TFLite operator: its option, the operator's input, and the PAD before it when SAME and VALID do not say it."""
    option = window.named_padding(value)
    if option is not None:
        return option, value, []
    wide = _padded_temp(window, value)
    inputs: tuple[Ref, ...] = (value, ArrayTensor(pad_table(window)))
    if fill is None:
        return "VALID", wide, [LiteOp("PAD", inputs, (wide,))]
    return "VALID", wide, [LiteOp("PADV2", (*inputs, ArrayTensor(np.asarray(fill, np.float32))), (wide,))]


def js_explicit_pad(window: Window, value: Value, fill: float) -> tuple[str, Ref, list[JsNode]]:
    """The same for a TensorFlow.js op that knows SAME and VALID only."""
    option = window.named_padding(value)
    if option is not None:
        return option, value, []
    wide = _padded_temp(window, value)
    inputs: tuple[Ref, ...] = (value, ArrayTensor(pad_table(window)), ArrayTensor(np.asarray(fill, np.float32)))
    return "VALID", wide, [JsNode("PadV2", inputs, (wide,), {"T": value.dtype, "Tpaddings": DType.INT32})]


def _padded_temp(window: Window, value: Value) -> Temp:
    batch = value.shape[0] if value.shape else UNKNOWN_DIM
    return Temp("padded", value.dtype, window.shape(batch, *padded_dims(window, value), window.channels(value)))


def pad_table(window: Window) -> Array:
    """Explicit padding as TensorFlow's Pad takes it: int32 [4, 2]."""
    table = np.zeros((4, 2), np.int32)
    table[list(window.spatial)] = [axis.explicit_pads for axis in window.axes]
    return table


def padded_dims(window: Window, value: Value) -> tuple[Dim, Dim]:
    """Height and width with explicit padding added."""
    dims = value.shape or (UNKNOWN_DIM,) * 4
    sizes = [
        dims[at] + sum(axis.explicit_pads) if isinstance(dims[at], int) else UNKNOWN_DIM  # type: ignore[operator]
        for axis, at in zip(window.axes, window.spatial, strict=True)
    ]
    return sizes[0], sizes[1]
