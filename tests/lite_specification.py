"""LiteRT's published 8-bit and 16x8 specification, as checks of a written file; independent of the table that the program has."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from quantised_nets import Written, walk
from tensorferry.readers.tflite.model import TensorRecord

CHANNELS = {
    "CONV_2D": (1, 0, 2, 0),
    "DEPTHWISE_CONV_2D": (1, 3, 2, 0),
    "FULLY_CONNECTED": (1, 0, 2, 0),
    "TRANSPOSE_CONV": (1, 0, 3, 2),
}
"""Slot of the weight, its axis of channels, slots of the bias and of the data."""

FIXED = {
    ("SOFTMAX", "int8"): (1 / 256, -128),
    ("LOGISTIC", "int8"): (1 / 256, -128),
    ("TANH", "int8"): (1 / 128, 0),
    ("L2_NORMALIZATION", "int8"): (1 / 128, 0),
    ("LOG_SOFTMAX", "int8"): (16 / 256, 127),
    ("SOFTMAX", "int16"): (1 / 32768, 0),
    ("LOGISTIC", "int16"): (1 / 32768, 0),
    ("TANH", "int16"): (1 / 32768, 0),
}

ONE_GRID = frozenset(
    (
        *("AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION", "GATHER", "GATHER_ND", "BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND"),
        *("MIRROR_PAD", "PAD", "PADV2", "TRANSPOSE", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "STRIDED_SLICE", "SLICE", "SPLIT"),
        *("SPLIT_V", "PACK", "UNPACK", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "MAXIMUM", "MINIMUM", "SELECT", "SELECT_V2"),
        *("TILE", "REVERSE_V2", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "REDUCE_MAX", "REDUCE_MIN", "BROADCAST_TO"),
    )
)
"""Inputs and outputs have the same scale and zero point."""

CONVERTING = frozenset({"QUANTIZE", "DEQUANTIZE"})


def float_operators(path: Path) -> list[str]:
    """What computes in float."""
    return [each.name for each in walk(path) if each.name not in CONVERTING and any(_is_float(tensor) for tensor in _tensors(each))]


def assert_keeps_specification(path: Path) -> None:
    """Types, ranges and zero points of all that is whole; scales of biases; grids that kernels take for given or share."""
    for each in walk(path):
        for tensor in _tensors(each):
            _check_tensor(tensor)
        if any(tensor.dtype in ("int8", "int16") and tensor.quantization for tensor in each.outputs):
            _check_weights(each)
            _check_grids(each)


def _tensors(operator: Written) -> list[TensorRecord]:
    return [tensor for tensor in (*operator.inputs, *operator.outputs) if tensor is not None]


def _is_float(tensor: TensorRecord) -> bool:
    return tensor.dtype == "float32"


def _check_tensor(tensor: TensorRecord) -> None:
    quantization = tensor.quantization
    if quantization is None:
        return
    assert all(np.isfinite(scale) and scale > 0 for scale in quantization.scales), tensor.name
    points = quantization.zero_points
    if tensor.dtype == "int8":
        assert all(-128 <= point <= 127 for point in points), tensor.name
    elif tensor.dtype in ("int16", "int32", "int64"):
        assert set(points) == {0}, tensor.name
    if len(points) > 1:
        assert set(points) == {0}, tensor.name  # by channel: symmetric


def _check_weights(operator: Written) -> None:
    if operator.name not in CHANNELS:
        return
    weight_slot, axis, bias_slot, data_slot = CHANNELS[operator.name]
    weight, data = operator.inputs[weight_slot], operator.inputs[data_slot]
    assert weight is not None and weight.quantization is not None and data is not None and data.quantization is not None
    assert weight.dtype == "int8"
    assert set(weight.quantization.zero_points) == {0}
    assert operator.stored(weight_slot).min(initial=0) >= -127
    if len(weight.quantization.scales) > 1:
        assert weight.quantization.axis == axis
    bias = operator.inputs[bias_slot] if len(operator.inputs) > bias_slot else None
    if bias is not None:
        assert bias.dtype == ("int32" if data.dtype == "int8" else "int64")
        assert bias.quantization is not None
        products = np.asarray(weight.quantization.scales) * data.quantization.scales[0]
        np.testing.assert_allclose(bias.quantization.scales, products, rtol=2e-6)


def _check_grids(operator: Written) -> None:
    dtype = operator.outputs[0].dtype
    if (operator.name, str(dtype)) in FIXED:
        scale, zero_point = FIXED[operator.name, str(dtype)]
        found = operator.outputs[0].quantization
        assert found is not None
        assert (found.scales, found.zero_points) == ((scale,), (zero_point,)), operator.name
    if operator.name in ONE_GRID:
        grids = {(each.quantization.scales, each.quantization.zero_points) for each in _tensors(operator) if each.quantization}
        assert len(grids) == 1, (operator.name, operator.outputs[0].name)
