"""Names of Keras 1 as those of Keras 2: classes, options, and the few values that are written another way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CLASSES = {
    **{f"Convolution{rank}D": f"Conv{rank}D" for rank in (1, 2, 3)},
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
    "Convolution2DTranspose": "Conv2DTranspose",
    "Convolution3DTranspose": "Conv3DTranspose",
    "SeparableConvolution1D": "SeparableConv1D",
    **{f"MaxPool{rank}D": f"MaxPooling{rank}D" for rank in (1, 2, 3)},
    **{f"AvgPool{rank}D": f"AveragePooling{rank}D" for rank in (1, 2, 3)},
    **{f"GlobalMaxPool{rank}D": f"GlobalMaxPooling{rank}D" for rank in (1, 2, 3)},
    **{f"GlobalAvgPool{rank}D": f"GlobalAveragePooling{rank}D" for rank in (1, 2, 3)},
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
}
"""Other names of classes, also those that later releases take beside the usual ones."""

_OPTIONS = {
    "nb_filter": "filters",
    "border_mode": "padding",
    "subsample": "strides",
    "subsample_length": "strides",
    "filter_length": "kernel_size",
    "bias": "use_bias",
    "dim_ordering": "data_format",
    "inner_activation": "recurrent_activation",
    "atrous_rate": "dilation_rate",
    "pool_length": "pool_size",
    "mode": "mode",
    "p": "rate",
    "sigma": "stddev",
}
_UNITS = frozenset({"Dense", "LSTM", "GRU", "SimpleRNN", "TimeDistributedDense", "MaxoutDense", "Highway"})
_SCALED = frozenset({"UpSampling1D", "Cropping1D", "ZeroPadding1D"})


def modernise(class_name: str, config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Class and config in the names of Keras 2. Those that are new already stay as they are."""
    name = _CLASSES.get(class_name, class_name)
    made = dict(config)
    for old, new in _OPTIONS.items():
        if old in made and new not in made:
            made[new] = made.pop(old)
    _join(made, "kernel_size", ("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3"))
    if "output_dim" in made and name in _UNITS:
        made["units"] = made.pop("output_dim")
    if name.endswith("Pooling1D") and "stride" in made:
        made["strides"] = made.pop("stride")
    if name == "UpSampling1D" and "length" in made:
        made["size"] = made.pop("length")
    if made.get("data_format") in ("tf", "th"):
        made["data_format"] = "channels_last" if made["data_format"] == "tf" else "channels_first"
    if name == "Conv1D" and isinstance(made.get("input_dim"), int) and "batch_input_shape" not in made and "nb_filter" in config:
        made["batch_input_shape"] = [None, made.get("input_length"), made["input_dim"]]
    return name, made


def _join(config: dict[str, Any], new: str, *groups: tuple[str, ...]) -> None:
    for group in groups:
        if new not in config and all(key in config for key in group):
            config[new] = [config.pop(key) for key in group]
