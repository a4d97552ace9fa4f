"""Convolutions in numpy: matrix products over blocks of patches, and shifted products for depthwise ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorferry.ir import Node
from tensorferry.ops.spec import Declined
from tensorferry.ops.windows import Axis, Window, from_channels_last, padded, positions, read_window, row_blocks, to_channels_last
from tensorferry.tensor import Array

PATCH_BYTES = 1 << 22
"""Memory for the patches of one matrix product: the block of rows that is written out as a matrix."""

TILED_FILTER_BYTES = 1 << 23
"""Up to this size a depthwise filter is repeated along a row, which makes the products run over whole rows."""


def group_count(incoming: int, per_group: int, outgoing: int) -> int:
    if per_group < 1 or incoming % per_group or outgoing % max(incoming // per_group, 1):
        raise Declined(f"{incoming} channels do not fit a filter for {per_group} of them with {outgoing} results")
    return max(incoming // per_group, 1)


def _computing(array: Array) -> Array:
    """Half precision is computed in float32 and rounded at the end, as TensorFlow's CPU kernels do."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def evaluate_conv(node: Node, array: Array, weights: Array, bias: Array | None = None) -> Array:
    window = _window_of(node, array, weights)
    result_type = array.dtype
    last = to_channels_last(window, _computing(array))
    weights = _computing(weights)
    groups = group_count(last.shape[-1], weights.shape[2], weights.shape[3])
    if groups == 1:
        result = _convolve(window, last, weights)
    else:
        pieces = np.split(last, groups, axis=-1)
        result = np.concatenate(
            [_convolve(window, *each) for each in zip(pieces, np.split(weights, groups, axis=-1), strict=True)], axis=-1
        )
    return _finish(window, result, bias, result_type)


def _window_of(node: Node, array: Array, weights: Array) -> Window:
    if weights.ndim != 4:
        raise Declined(f"its filter has rank {weights.ndim}, not 4")
    return read_window(node, weights.shape[:2], array.ndim)


def _finish(window: Window, result: Array, bias: Array | None, dtype: np.dtype[Any]) -> Array:
    if bias is not None:
        result += bias
    return from_channels_last(window, result.astype(dtype, copy=False))


def _convolve(window: Window, array: Array, weights: Array) -> Array:
    """NHWC by HWIO: one matrix product when the window is a point, else one for each block of rows."""
    down, across = window.axes
    incoming, outgoing = weights.shape[2:]
    if down.size == across.size == 1 and not _needs_padding(window, array):
        points = np.ascontiguousarray(array[:, :: down.stride, :: across.stride])
        return (points.reshape(-1, incoming) @ weights.reshape(incoming, outgoing)).reshape(*points.shape[:3], outgoing)
    views = positions(window, padded(window, array))
    batch, rows, columns = views.shape[:3]
    matrix = weights.reshape(-1, outgoing)
    result = np.empty((batch, rows, columns, outgoing), array.dtype)
    blocks = row_blocks(rows, columns * matrix.shape[0] * array.itemsize, PATCH_BYTES)
    tallest = blocks[0].stop if blocks else 0
    patches = np.empty((tallest * columns, matrix.shape[0]), array.dtype)
    for image in range(batch):
        for block in blocks:
            taken = patches[: (block.stop - block.start) * columns]
            np.copyto(taken.reshape(-1, columns, *views.shape[3:]), views[image, block])
            np.matmul(taken, matrix, out=result[image, block].reshape(-1, outgoing))
    return result


def _needs_padding(window: Window, array: Array) -> bool:
    return any(any(axis.pads(array.shape[at])) for axis, at in zip(window.axes, (1, 2), strict=True))


def evaluate_depthwise(node: Node, array: Array, weights: Array, bias: Array | None = None) -> Array:
    window = _window_of(node, array, weights)
    last = to_channels_last(window, _computing(array))
    if last.shape[-1] != weights.shape[2]:
        raise Declined(f"{last.shape[-1]} channels come in, its filter is for {weights.shape[2]}")
    multiplier = weights.shape[3]
    wide = padded(window, last)
    if multiplier > 1:
        wide = np.repeat(wide, multiplier, axis=-1)
    taps = _computing(weights).reshape(*weights.shape[:2], -1)
    return _finish(window, _convolve_depthwise(window, wide, taps), bias, array.dtype)


def _convolve_depthwise(window: Window, wide: Array, taps: Array) -> Array:
    """Padded NHWC by [height, width, channels]: shifted products added up, one block of rows at a time."""
    views = positions(window, wide)
    batch, rows, columns, _, _, channels = views.shape
    weights = np.broadcast_to(taps[:, :, None], (*taps.shape[:2], columns, channels))
    if window.width.stride == 1 and weights.nbytes <= TILED_FILTER_BYTES:
        weights = np.ascontiguousarray(weights)  # columns and channels then run as one axis through the loops below
    result = np.empty((batch, rows, columns, channels), wide.dtype)
    blocks = row_blocks(rows, columns * channels * wide.itemsize)
    product = np.empty((blocks[0].stop if blocks else 0, columns, channels), wide.dtype)
    offsets = list(np.ndindex(*taps.shape[:2]))
    for image in range(batch):
        for block in blocks:
            total = result[image, block]
            piece = product[: block.stop - block.start]
            np.multiply(views[image, block, :, 0, 0], weights[0, 0], out=total)
            for offset in offsets[1:]:
                np.multiply(views[image, block, :, offset[0], offset[1]], weights[offset], out=piece)
                np.add(total, piece, out=total)
    return result


def evaluate_transposed(node: Node, sizes: Array, weights: Array, array: Array, bias: Array | None = None) -> Array:
    """The gradient of a convolution with respect to its input: each element spreads the filter over the result."""
    window = _window_of(node, array, weights)
    channels = int(sizes[1 if window.channels_first else 3]) if sizes.size == 4 else weights.shape[2]
    if channels != weights.shape[2]:
        return _transposed_groups(node, sizes, weights, array, channels)
    last = to_channels_last(window, _computing(array))
    batch, rows, columns, outgoing = last.shape
    if outgoing != weights.shape[3]:
        raise Declined(f"{outgoing} channels come in, its filter is for {weights.shape[3]}")
    wanted = [int(length) for length in (sizes if sizes.size == 2 else sizes[list(window.spatial)])]
    pads = [axis.pads(length) for axis, length in zip(window.axes, wanted, strict=True)]
    if [axis.count(length) for axis, length in zip(window.axes, wanted, strict=True)] != [rows, columns]:
        raise Declined(f"a result of {wanted[0]} x {wanted[1]} does not belong to an input of {rows} x {columns}")
    lengths = [sum(pad) + length for pad, length in zip(pads, wanted, strict=True)]
    wide = np.zeros((batch, *lengths, weights.shape[2]), last.dtype)
    points = np.ascontiguousarray(last).reshape(-1, outgoing)
    for i, j in np.ndindex(*weights.shape[:2]):
        spread = (points @ _computing(weights[i, j]).T).reshape(batch, rows, columns, -1)
        wide[:, _reached(window.height, i, rows), _reached(window.width, j, columns)] += spread
    (top, _), (left, _) = pads
    return _finish(window, wide[:, top : top + wanted[0], left : left + wanted[1]], bias, array.dtype)


def _transposed_groups(node: Node, sizes: Array, weights: Array, array: Array, channels: int) -> Array:
    groups = group_count(channels, weights.shape[2], weights.shape[3])
    at = 1 if node["data_format"] == "NCHW" else 3
    part = sizes.copy()
    part[at] = weights.shape[2]
    pieces = zip(np.split(weights, groups, axis=3), np.split(array, groups, axis=at), strict=True)
    return np.concatenate([evaluate_transposed(node, part, taps, piece) for taps, piece in pieces], axis=at)


def _reached(axis: Axis, tap: int, count: int) -> slice:
    """The elements that one tap of the window meets over all positions."""
    start = tap * axis.dilation
    return slice(start, start + (count - 1) * axis.stride + 1, axis.stride)
