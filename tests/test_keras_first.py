"""Files of Keras 1, made by hand: its names of options, its order of weights, the layers that later releases dropped.

What tf_keras has too is compared with a model of tf_keras with the same weights: they are split and turned here as Keras 1 kept
them, and tf_keras' own reader of old weights turns them back. The rest is reckoned in numpy by Keras 1's documented formulas.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import h5py
import numpy as np
import pytest
import tf_keras
from tf_keras.src.saving.legacy import hdf5_format

import tensorferry
from tensorferry.errors import SourceError
from tensorferry.runtimes import tfjs
from tensorferry.runtimes.litert import LiteRtModel
from test_keras_layers import agree

LAYERS = tf_keras.layers
RANDOM = np.random.default_rng(21)
Named = list[tuple[str, np.ndarray]]


def write(path: Any, document: dict[str, Any], weights: dict[str, Named], version: str = "1.2.2") -> Any:
    """An HDF5 file as Keras 1 lays it out."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(document).encode()
        if version:
            file.attrs["keras_version"] = version.encode()
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for name, listed in weights.items():
            inner = group.create_group(name)
            inner.attrs["weight_names"] = [each.encode() for each, _array in listed]
            for each, array in listed:
                inner.create_dataset(each, data=np.asarray(array, np.float32))
    return path


def chain(*layers: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": [{"class_name": kind, "config": config} for kind, config in layers]}


def check(source: Any, inputs: Sequence[np.ndarray], expected: np.ndarray, folder: Any) -> None:
    """TensorFlow Lite and TensorFlow.js give what is expected."""
    targets = [folder / "model.tflite"] + ([] if tfjs.available() is not None else [folder / "web"])
    tensorferry.convert(source, targets, verify=False)
    with LiteRtModel(targets[0]) as lite:
        found = next(iter(lite.run(dict(zip([slot.name for slot in lite.inputs], inputs, strict=True))).values()))
    assert agree(found, expected), (found, expected)
    if len(targets) > 1:
        with tfjs.Session() as session:
            names = tfjs.read_ports(targets[1])[0]
            run = session.run(targets[1], dict(zip(names, inputs, strict=True)))
        assert agree(next(iter(run.outputs.values())), expected)


def draw(*shape: int) -> np.ndarray:
    return RANDOM.normal(0, 0.5, shape).astype(np.float32)


# -- layers that tf_keras has too ----------------------------------------------------------------------------------


def _gates(new: Sequence[np.ndarray], order: str, old: str, turn: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
    """Keras 2's joined weights apart, gate by gate in Keras 1's order."""
    parts = [dict(zip(order, np.split(each, len(order), axis=-1), strict=True)) for each in new]
    return [turn(part[gate]) if part[gate].ndim > 1 else part[gate] for gate in old for part in parts]


def _same(array: np.ndarray) -> np.ndarray:
    return array


SHAPED = {"W_regularizer": None, "init": "glorot_uniform"}
OLD: dict[str, tuple[Any, tuple[int, ...], tuple[str, dict[str, Any]], Callable[[list[np.ndarray]], list[np.ndarray]]]] = {
    "Convolution2D": (
        lambda: LAYERS.Conv2D(4, (3, 2), strides=2, padding="same", activation="relu"), (7, 6, 3),
        ("Convolution2D", {"nb_filter": 4, "nb_row": 3, "nb_col": 2, "subsample": [2, 2], "border_mode": "same",
                           "activation": "relu", "dim_ordering": "tf", "bias": True}),
        list,
    ),
    "AtrousConvolution2D": (
        lambda: LAYERS.Conv2D(4, 3, dilation_rate=2, use_bias=False), (9, 8, 3),
        ("AtrousConvolution2D", {"nb_filter": 4, "nb_row": 3, "nb_col": 3, "atrous_rate": [2, 2], "border_mode": "valid",
                                 "dim_ordering": "tf", "bias": False, "subsample": [1, 1], "activation": "linear"}),
        list,
    ),
    "Convolution1D": (
        lambda: LAYERS.Conv1D(5, 3, strides=2), (9, 4),
        ("Convolution1D", {"nb_filter": 5, "filter_length": 3, "subsample_length": 2, "border_mode": "valid",
                           "activation": "linear", "bias": True}),
        lambda new: [new[0][:, None], new[1]],
    ),
    "Deconvolution2D": (
        lambda: LAYERS.Conv2DTranspose(5, 3, strides=2, padding="valid"), (4, 5, 3),
        ("Deconvolution2D", {"nb_filter": 5, "nb_row": 3, "nb_col": 3, "subsample": [2, 2], "border_mode": "valid", "bias": True,
                             "dim_ordering": "tf", "activation": "linear", "output_shape": [None, 9, 11, 5]}),
        lambda new: [new[0].transpose(0, 1, 3, 2), new[1]],
    ),
    "SeparableConvolution2D": (
        lambda: LAYERS.SeparableConv2D(5, 3, depth_multiplier=2), (6, 6, 3),
        ("SeparableConvolution2D", {"nb_filter": 5, "nb_row": 3, "nb_col": 3, "subsample": [1, 1], "border_mode": "valid",
                                    "bias": True, "depth_multiplier": 2, "dim_ordering": "tf", "activation": "linear"}),
        list,
    ),
    "LSTM": (
        lambda: LAYERS.LSTM(4, recurrent_activation="hard_sigmoid"), (6, 3),
        ("LSTM", {"output_dim": 4, "inner_activation": "hard_sigmoid", "activation": "tanh", "return_sequences": False,
                  "go_backwards": False, "stateful": False, "unroll": False, "consume_less": "cpu", "input_dim": 3}),
        lambda new: _gates(new, "ifco", "icfo", _same),
    ),
    "LSTM of the GPU": (
        lambda: LAYERS.LSTM(4, recurrent_activation="hard_sigmoid", return_sequences=True), (6, 3),
        ("LSTM", {"output_dim": 4, "inner_activation": "hard_sigmoid", "activation": "tanh", "return_sequences": True,
                  "consume_less": "gpu"}),
        list,
    ),
    "GRU": (
        lambda: LAYERS.GRU(4, recurrent_activation="hard_sigmoid", reset_after=False), (6, 3),
        ("GRU", {"output_dim": 4, "inner_activation": "hard_sigmoid", "activation": "tanh", "return_sequences": False,
                 "consume_less": "mem"}),
        lambda new: _gates(new, "zrh", "zrh", _same),
    ),
    "ConvLSTM2D": (
        lambda: LAYERS.ConvLSTM2D(3, 2, padding="same", recurrent_activation="hard_sigmoid"), (3, 5, 4, 2),
        ("ConvLSTM2D", {"nb_filter": 3, "nb_row": 2, "nb_col": 2, "border_mode": "same", "inner_activation": "hard_sigmoid",
                        "dim_ordering": "tf", "subsample": [1, 1], "activation": "tanh", "return_sequences": False}),
        lambda new: _gates(new, "ifco", "icfo", _same),
    ),
    "Bidirectional": (
        lambda: LAYERS.Bidirectional(LAYERS.LSTM(4, recurrent_activation="hard_sigmoid")), (6, 3),
        ("Bidirectional", {"merge_mode": "concat", "layer": {"class_name": "LSTM", "config": {
            "name": "lstm_1", "output_dim": 4, "inner_activation": "hard_sigmoid", "activation": "tanh", "consume_less": "cpu"}}}),
        lambda new: _gates(new[:3], "ifco", "icfo", _same) + _gates(new[3:], "ifco", "icfo", _same),
    ),
    "TimeDistributedDense": (
        lambda: LAYERS.Dense(4, activation="tanh"), (6, 3),
        ("TimeDistributedDense", {"output_dim": 4, "activation": "tanh", "bias": True}),
        list,
    ),
    "BatchNormalization": (
        lambda: LAYERS.BatchNormalization(epsilon=1e-3), (5, 4, 3),
        ("BatchNormalization", {"mode": 0, "axis": -1, "epsilon": 1e-3, "momentum": 0.99}),
        list,
    ),
    "MaxPooling1D": (
        lambda: LAYERS.MaxPooling1D(3, 2), (9, 4),
        ("MaxPooling1D", {"pool_length": 3, "stride": 2, "border_mode": "valid"}),
        list,
    ),
    "ZeroPadding2D": (
        lambda: LAYERS.ZeroPadding2D(((1, 2), (0, 3))), (4, 5, 2),
        ("ZeroPadding2D", {"padding": {"top_pad": 1, "bottom_pad": 2, "left_pad": 0, "right_pad": 3}, "dim_ordering": "tf"}),
        list,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OLD)
def test_layers_of_keras_1(name: str, tmp_path: Any) -> None:
    make, shape, (kind, config), split = OLD[name]
    model = tf_keras.Sequential([tf_keras.Input(shape), make()])
    new = [np.abs(draw(*each.shape)) + 0.1 if "variance" in each.name else draw(*each.shape) for each in model.weights]
    model.set_weights(new)
    old = split(new)
    back = hdf5_format.preprocess_weights_for_loading(model.layers[0], list(old), "1", None)
    if kind != "SeparableConvolution2D":
        assert all(np.array_equal(one, other) for one, other in zip(back, new, strict=True))
    x = draw(2, *shape)
    listed = [(f"layer_1_{number}:0", array) for number, array in enumerate(old)]
    document = chain((kind, {"name": "layer_1", "batch_input_shape": [None, *shape], "input_dtype": "float32", **SHAPED, **config}))
    source = write(tmp_path / "model.h5", document, {"layer_1": listed}, version="" if name == "LSTM" else "1.2.2")
    check(source, [x], model(x).numpy(), tmp_path)


def test_channels_first_and_a_word_of_warning(tmp_path: Any) -> None:
    model = tf_keras.Sequential([tf_keras.Input((6, 5, 3)), LAYERS.Conv2D(4, 3)])
    kernel, bias = draw(3, 3, 3, 4), draw(4)
    model.set_weights([kernel, bias])
    config = {"name": "c", "nb_filter": 4, "nb_row": 3, "nb_col": 3, "border_mode": "valid", "dim_ordering": "th", "bias": True}
    document = chain(
        ("Convolution2D", {**config, "batch_input_shape": [None, 3, 6, 5], "subsample": [1, 1], "activation": "linear"})
    )
    source = write(tmp_path / "model.h5", document, {"c": [("c_W", kernel.transpose(3, 2, 0, 1)), ("c_b", bias)]})
    x = draw(2, 3, 6, 5)
    check(source, [x], model(x.transpose(0, 2, 3, 1)).numpy().transpose(0, 3, 1, 2), tmp_path)
    report = tensorferry.convert(source, tmp_path / "again.tflite", verify=False)
    assert any("Theano" in each for each in report.notices)


# -- layers that are gone ------------------------------------------------------------------------------------------


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("order", [("W", "W_carry", "b", "b_carry"), ("W", "b", "W_carry", "b_carry")])
def test_highway(order: Sequence[str], tmp_path: Any) -> None:
    w = {"W": draw(5, 5), "W_carry": draw(5, 5), "b": draw(5), "b_carry": draw(5)}
    config = {"name": "highway_1", "batch_input_shape": [None, 5], "activation": "tanh", "bias": True, **SHAPED}
    source = write(
        tmp_path / "m.h5", chain(("Highway", config)), {"highway_1": [(f"highway_1_{each}:0", w[each]) for each in order]}
    )
    x = draw(3, 5)
    share = _sigmoid(x @ w["W_carry"] + w["b_carry"])
    check(source, [x], share * np.tanh(x @ w["W"] + w["b"]) + (1 - share) * x, tmp_path)


def test_maxout(tmp_path: Any) -> None:
    w, b, x = draw(3, 5, 4), draw(3, 4), draw(2, 5)
    config = {"name": "m", "batch_input_shape": [None, 5], "output_dim": 4, "nb_feature": 3, "bias": True, **SHAPED}
    source = write(tmp_path / "m.h5", chain(("MaxoutDense", config)), {"m": [("m_W", w), ("m_b", b)]})
    check(source, [x], np.max(np.stack([x @ w[each] + b[each] for each in range(3)], 1), 1), tmp_path)


def test_curves_with_weights(tmp_path: Any) -> None:
    alpha, beta, x = draw(5), draw(5), draw(2, 5)
    left, slope, right, steep = draw(5), draw(5), draw(5), draw(5)
    layers = (
        ("ParametricSoftplus", {"name": "p", "batch_input_shape": [None, 5], "alpha_init": 0.2, "beta_init": 5.0, **SHAPED}),
        ("SReLU", {"name": "s", "shared_axes": None}),
    )
    kept = {"p": [("p_alphas", alpha), ("p_betas", beta)]}
    kept |= {"s": [("s_t_left", left), ("s_a_left", slope), ("s_t_right", right), ("s_a_right", steep)]}
    source = write(tmp_path / "m.h5", chain(*layers), kept)
    y = np.log1p(np.exp(beta * x)) * alpha
    end = left + np.abs(right)
    middle = np.where(y < left, left + slope * (y - left), np.minimum(y, end))
    check(source, [x], middle + np.maximum(y - end, 0) * steep, tmp_path)


@pytest.mark.parametrize("mode", ["sum", "mul", "concat", "dot", "max", "ave"])
def test_a_chain_that_begins_with_several(mode: str, tmp_path: Any) -> None:
    w, v, u = draw(4, 3), draw(6, 3), draw({"concat": 6, "dot": 1}.get(mode, 3), 2)

    def branch(name: str, inputs: int) -> dict[str, Any]:
        config = {"name": name, "batch_input_shape": [None, inputs], "output_dim": 3, "bias": False, "activation": "relu", **SHAPED}
        return {**chain(("Dense", config))}

    merge = {"name": "merge_1", "mode": mode, "mode_type": "raw", "concat_axis": -1, "dot_axes": 1, "output_shape": None}
    merge["layers"] = [branch("dense_1", 4), branch("dense_2", 6)]
    last = {"name": "dense_3", "output_dim": 2, "bias": False, "activation": "linear", **SHAPED}
    document = chain(("Merge", merge), ("Dense", last))
    source = write(tmp_path / "m.h5", document, {"dense_1": [("W1", w)], "dense_2": [("W2", v)], "dense_3": [("W3", u)]})
    x, y = draw(2, 4), draw(2, 6)
    one, other = np.maximum(x @ w, 0), np.maximum(y @ v, 0)
    made = {
        "sum": one + other, "mul": one * other, "concat": np.concatenate([one, other], -1), "max": np.maximum(one, other),
        "ave": (one + other) / 2, "dot": (one * other).sum(-1, keepdims=True),
    }[mode]  # fmt: skip
    check(source, [x, y], made @ u, tmp_path)


def test_a_merge_by_python_code_is_refused(tmp_path: Any) -> None:
    merge = {"name": "merge_1", "mode": "YwEAAAABAAAA", "mode_type": "lambda", "layers": []}
    document = {"class_name": "Model", "config": {"name": "m", "layers": [
        {"class_name": "InputLayer", "name": "a", "config": {"name": "a", "batch_input_shape": [None, 3], "input_dtype": "float32"},
         "inbound_nodes": []},
        {"class_name": "Merge", "name": "merge_1", "config": merge, "inbound_nodes": [[["a", 0, 0], ["a", 0, 0]]]},
    ], "input_layers": [["a", 0, 0]], "output_layers": [["merge_1", 0, 0]]}}  # fmt: skip
    source = write(tmp_path / "m.h5", document, {"a": [], "merge_1": []})
    with pytest.raises(SourceError, match="merge_1"):
        tensorferry.convert(source, tmp_path / "model.tflite")
