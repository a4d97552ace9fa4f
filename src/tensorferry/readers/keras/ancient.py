"""Keras 1 as Keras 2: names of classes and options, the few values that are written another way, weights of gates made one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tensorferry.readers.keras.description import Layer
from tensorferry.tensor import Array, Tensor, TransposedTensor

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
    "TimeDistributedDense": "Dense",
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
_UNITS = frozenset({"Dense", "LSTM", "GRU", "SimpleRNN", "MaxoutDense", "Highway"})
_GATES = {"LSTM": "icfo", "ConvLSTM2D": "icfo", "GRU": "zrh"}
"""The gates of a layer in the order in which Keras 1 makes their weights."""

_SIGNS = ("'border_mode':", "'W_regularizer':", "'inner_activation':", "'nb_filter':")
"""Options that only Keras 1 writes, in a config as text."""
_SCALED = frozenset({"UpSampling1D", "Cropping1D", "ZeroPadding1D"})


def modernise(class_name: str, config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Class and config in the names of Keras 2. Those that are new already stay as they are."""
    name = _CLASSES.get(class_name, class_name)
    made = dict(config)
    for old, new in _OPTIONS.items():
        if old in made and new not in made:
            made[new] = made.pop(old)
    if name in _GATES and "inner_activation" in config and config.get("consume_less") != "gpu":
        made["gates"] = _GATES[name]
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


def is_ancient(document: Any) -> bool:
    """Whether a config that says no version is one of Keras 1."""
    text = str(document)[:4_000_000]
    return any(sign in text for sign in _SIGNS)


# -- gates ---------------------------------------------------------------------------------------------------------


class JoinedTensor(Tensor):
    """Tensors side by side along the last axis."""

    def __init__(self, parts: Sequence[Tensor]) -> None:
        last = sum(part.shape[-1] for part in parts)
        super().__init__(parts[0].dtype, (*parts[0].shape[:-1], last))
        self.parts = tuple(parts)

    def array(self) -> Array:
        made: Array = np.concatenate([part.array() for part in self.parts], axis=-1)
        return made

    def release(self) -> None:
        for part in self.parts:
            part.release()


_JOINED = {"icfo": "ifco", "zrh": "zrh"}
_ROLES = {"W": "kernel", "U": "recurrent_kernel", "b": "bias"}


def gate_roles(gates: str, prefix: str) -> list[str]:
    """Roles of the weights of each gate, in Keras 1's order."""
    return [f"{prefix}{role}_{gate}" for gate in gates for role in _ROLES]


def join_gates(layer: Layer) -> None:
    """The weights of gates, which Keras 1 keeps apart, as Keras 2 keeps them: as one, in its own order."""
    gates = layer.config.get("gates")
    if gates not in _JOINED or ("cell/W_i" not in layer.weights and "cell/W_z" not in layer.weights):
        return
    turned = layer.class_name == "ConvLSTM2D" and layer.config.get("data_format") == "channels_first"
    for old, new in _ROLES.items():
        parts = [layer.weights.pop(f"cell/{old}_{gate}") for gate in _JOINED[gates]]
        if turned and old != "b":
            parts = [TransposedTensor(part, [2, 3, 1, 0]) for part in parts]
        if len({part.shape for part in parts}) == 1:
            layer.weights[f"cell/{new}"] = JoinedTensor(parts)
