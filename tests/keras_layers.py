"""Models of one Keras layer (or a few) each, for both Keras 3 and tf_keras 2: `CASES` by name.

A case gets the module (`keras` or `tf_keras`) and builds a model; its weights are drawn anew by `tests/test_keras_layers.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Keras = Any
"""The module `keras` or `tf_keras`."""

BOTH = ("keras", "tf_keras")


@dataclass(frozen=True)
class Case:
    """`high`: integers of the inputs lie below it. `of`: the modules that have the layer. `exported`: also as a SavedModel."""

    build: Callable[[Keras], Any]
    of: tuple[str, ...] = BOTH
    high: int = 5
    words: tuple[str, ...] = ()
    exported: bool = False
    batch: int = 2
    inputs: Callable[[], list[np.ndarray]] | None = None


def layer(
    *shapes: tuple[int | None, ...], dtype: str = "float32", batch: int | None = None
) -> Callable[..., Callable[[Keras], Any]]:
    """A model of the layer that the function makes, over inputs of these shapes; several are handed in as a list."""

    def of(make: Callable[[Keras], Any]) -> Callable[[Keras], Any]:
        def build(keras: Keras) -> Any:
            given = [keras.Input(shape, batch_size=batch, dtype=dtype) for shape in shapes]
            made = make(keras)(given if len(given) > 1 else given[0])
            return keras.Model(given, made)

        return build

    return of


def net(*shapes: tuple[int | None, ...], dtype: str = "float32", batch: int | None = None) -> Callable[..., Callable[[Keras], Any]]:
    """A model whose outputs the function makes of the module and the inputs."""

    def of(make: Callable[..., Any]) -> Callable[[Keras], Any]:
        def build(keras: Keras) -> Any:
            given = [keras.Input(shape, batch_size=batch, dtype=dtype) for shape in shapes]
            return keras.Model(given, make(keras, *given))

        return build

    return of


VECTOR, SEQUENCE, IMAGE, VOLUME = (6,), (7, 4), (9, 8, 4), (5, 6, 4, 3)


# -- dense, convolutions -------------------------------------------------------------------------------------------


def _separable(k: Keras, x: Any) -> Any:
    y = k.layers.SeparableConv2D(5, 3, depth_multiplier=2, padding="same", activation="relu")(x)
    return k.layers.SeparableConv2D(3, (3, 2), strides=2, use_bias=False)(y)


def _tied(k: Keras, x: Any, y: Any) -> Any:
    shared = k.layers.Dense(4, activation="tanh")
    return [k.layers.Concatenate()([shared(x), shared(y)]), shared(x)]


def _nested(k: Keras, x: Any) -> Any:
    inner = k.Sequential([k.Input((8, 8, 3)), k.layers.Conv2D(4, 3, activation="relu"), k.layers.GlobalMaxPooling2D()])
    return k.layers.Dense(2)(inner(x))


CONVOLUTIONS = {
    "Dense": Case(layer(VECTOR)(lambda k: k.layers.Dense(5, activation="relu")), exported=True),
    "Dense, no bias": Case(layer(SEQUENCE)(lambda k: k.layers.Dense(3, use_bias=False, activation="softmax"))),
    "Dense, shared": Case(net(VECTOR, VECTOR)(_tied), exported=True),
    "Dense, image": Case(layer(IMAGE)(lambda k: k.layers.Dense(3, activation="sigmoid"))),
    "Sequential": Case(
        lambda k: k.Sequential([k.Input((6,)), k.layers.Dense(4), k.layers.ReLU(), k.layers.Dropout(0.5), k.layers.Dense(3)]),
        exported=True,
    ),
    "nested": Case(net((8, 8, 3))(_nested), exported=True),
    "Embedding": Case(layer((5,), dtype="int32")(lambda k: k.layers.Embedding(9, 4)), high=9, exported=True),
    "EinsumDense": Case(
        layer(SEQUENCE)(lambda k: k.layers.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d", activation="relu"))
    ),
    "EinsumDense, heads": Case(
        layer(SEQUENCE)(lambda k: k.layers.EinsumDense("...x,xyz->...yz", (7, 2, 3), bias_axes="yz")), of=("tf_keras",)
    ),
    "EinsumDense, folded": Case(
        layer((4, 2, 3))(lambda k: k.layers.EinsumDense("abcd,cde->abe", (None, 5), bias_axes="e")), exported=True
    ),
    "Conv1D": Case(layer(SEQUENCE)(lambda k: k.layers.Conv1D(5, 3, padding="same", activation="elu")), exported=True),
    "Conv1D, causal, dilated": Case(layer(SEQUENCE)(lambda k: k.layers.Conv1D(5, 3, padding="causal", dilation_rate=2))),
    "Conv1D, any length": Case(layer((None, 4))(lambda k: k.layers.Conv1D(5, 3, strides=2))),
    "Conv2D": Case(layer(IMAGE)(lambda k: k.layers.Conv2D(5, 3, padding="same", strides=(2, 2), activation="relu")), exported=True),
    "Conv2D, dilated": Case(layer(IMAGE)(lambda k: k.layers.Conv2D(3, (3, 2), dilation_rate=2, use_bias=False))),
    "Conv2D, groups": Case(layer(IMAGE)(lambda k: k.layers.Conv2D(6, 3, groups=2, padding="same"))),
    "Conv2D, channels first": Case(
        lambda k: k.Sequential(
            [k.Input((4, 9, 8)), k.layers.Permute((2, 3, 1)), k.layers.Conv2D(3, 2, data_format="channels_last")]
        )
    ),
    "Conv3D": Case(layer(VOLUME)(lambda k: k.layers.Conv3D(4, (2, 3, 1), strides=(1, 2, 1), padding="same"))),
    "Conv1DTranspose": Case(layer(SEQUENCE)(lambda k: k.layers.Conv1DTranspose(3, 3, strides=2, padding="same"))),
    "Conv2DTranspose": Case(layer(IMAGE)(lambda k: k.layers.Conv2DTranspose(5, 3, strides=2, padding="same")), exported=True),
    "Conv2DTranspose, valid": Case(
        layer(IMAGE)(lambda k: k.layers.Conv2DTranspose(5, (3, 4), strides=(2, 3), activation="relu", use_bias=False))
    ),
    "Conv2DTranspose, output padding": Case(
        layer(IMAGE)(lambda k: k.layers.Conv2DTranspose(2, 3, strides=2, padding="same", output_padding=1)), of=("tf_keras",)
    ),
    "Conv3DTranspose": Case(layer(VOLUME)(lambda k: k.layers.Conv3DTranspose(2, 2, strides=2, padding="valid"))),
    "SeparableConv1D": Case(layer(SEQUENCE)(lambda k: k.layers.SeparableConv1D(5, 3, depth_multiplier=2, padding="same"))),
    "SeparableConv2D": Case(net(IMAGE)(_separable), exported=True),
    "DepthwiseConv1D": Case(layer(SEQUENCE)(lambda k: k.layers.DepthwiseConv1D(3, depth_multiplier=2))),
    "DepthwiseConv2D": Case(
        layer(IMAGE)(lambda k: k.layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2, padding="same", activation="relu6"))
    ),
    "LocallyConnected1D": Case(layer(SEQUENCE)(lambda k: k.layers.LocallyConnected1D(3, 3, strides=2)), of=("tf_keras",)),
    "LocallyConnected2D": Case(
        layer(IMAGE)(lambda k: k.layers.LocallyConnected2D(3, (3, 2), implementation=1, activation="tanh")), of=("tf_keras",)
    ),
}


# -- pooling, norms, shapes, merges --------------------------------------------------------------------------------

POOLING = {
    "MaxPooling1D": Case(layer(SEQUENCE)(lambda k: k.layers.MaxPooling1D(2, padding="same"))),
    "MaxPooling2D": Case(layer(IMAGE)(lambda k: k.layers.MaxPooling2D((3, 2), strides=2, padding="same")), exported=True),
    "MaxPooling3D": Case(layer(VOLUME)(lambda k: k.layers.MaxPooling3D(2))),
    "AveragePooling1D": Case(layer(SEQUENCE)(lambda k: k.layers.AveragePooling1D(3, strides=1, padding="same"))),
    "AveragePooling2D": Case(layer(IMAGE)(lambda k: k.layers.AveragePooling2D(2, padding="same"))),
    "AveragePooling3D": Case(layer(VOLUME)(lambda k: k.layers.AveragePooling3D((2, 3, 1)))),
    "GlobalMaxPooling1D": Case(layer(SEQUENCE)(lambda k: k.layers.GlobalMaxPooling1D())),
    "GlobalMaxPooling2D": Case(layer(IMAGE)(lambda k: k.layers.GlobalMaxPooling2D(keepdims=True))),
    "GlobalMaxPooling3D": Case(layer(VOLUME)(lambda k: k.layers.GlobalMaxPooling3D())),
    "GlobalAveragePooling1D": Case(layer(SEQUENCE)(lambda k: k.layers.GlobalAveragePooling1D())),
    "GlobalAveragePooling1D, masked": Case(
        net(SEQUENCE)(lambda k, x: k.layers.GlobalAveragePooling1D()(k.layers.Masking()(x))),
        inputs=lambda: [masked_sequence()],
    ),
    "GlobalAveragePooling2D": Case(layer(IMAGE)(lambda k: k.layers.GlobalAveragePooling2D()), exported=True),
    "GlobalAveragePooling3D": Case(layer(VOLUME)(lambda k: k.layers.GlobalAveragePooling3D(keepdims=True))),
    "BatchNormalization": Case(layer(IMAGE)(lambda k: k.layers.BatchNormalization(epsilon=0.01)), exported=True),
    "BatchNormalization, no scale": Case(layer(VECTOR)(lambda k: k.layers.BatchNormalization(scale=False, center=True))),
    "BatchNormalization, axis 1": Case(layer(SEQUENCE)(lambda k: k.layers.BatchNormalization(axis=1, center=False))),
    "LayerNormalization": Case(layer(SEQUENCE)(lambda k: k.layers.LayerNormalization()), exported=True),
    "LayerNormalization, axes": Case(layer(IMAGE)(lambda k: k.layers.LayerNormalization(axis=[2, 3], epsilon=0.1))),
    "GroupNormalization": Case(layer(IMAGE)(lambda k: k.layers.GroupNormalization(groups=2))),
    "UnitNormalization": Case(layer(SEQUENCE)(lambda k: k.layers.UnitNormalization())),
    "RMSNormalization": Case(layer(SEQUENCE)(lambda k: k.layers.RMSNormalization()), of=("keras",)),
    "SpectralNormalization": Case(layer(IMAGE)(lambda k: k.layers.SpectralNormalization(k.layers.Conv2D(3, 3))), of=("keras",)),
    "Flatten": Case(layer(IMAGE)(lambda k: k.layers.Flatten())),
    "Reshape": Case(layer(IMAGE)(lambda k: k.layers.Reshape((4, -1, 2)))),
    "Permute": Case(layer(IMAGE)(lambda k: k.layers.Permute((3, 1, 2)))),
    "RepeatVector": Case(layer(VECTOR)(lambda k: k.layers.RepeatVector(3))),
    "Cropping1D": Case(layer(SEQUENCE)(lambda k: k.layers.Cropping1D((1, 2)))),
    "Cropping2D": Case(layer(IMAGE)(lambda k: k.layers.Cropping2D(((1, 2), (0, 3))))),
    "Cropping3D": Case(layer(VOLUME)(lambda k: k.layers.Cropping3D((1, 2, 1)))),
    "ZeroPadding1D": Case(layer(SEQUENCE)(lambda k: k.layers.ZeroPadding1D((1, 2)))),
    "ZeroPadding2D": Case(layer(IMAGE)(lambda k: k.layers.ZeroPadding2D(((1, 2), (0, 3)))), exported=True),
    "ZeroPadding3D": Case(layer(VOLUME)(lambda k: k.layers.ZeroPadding3D(1))),
    "UpSampling1D": Case(layer(SEQUENCE)(lambda k: k.layers.UpSampling1D(2))),
    "UpSampling2D": Case(layer(IMAGE)(lambda k: k.layers.UpSampling2D((2, 3)))),
    "UpSampling2D, bilinear": Case(layer(IMAGE)(lambda k: k.layers.UpSampling2D(2, interpolation="bilinear")), exported=True),
    "UpSampling3D": Case(layer(VOLUME)(lambda k: k.layers.UpSampling3D((1, 2, 2)))),
    "Add": Case(layer(IMAGE, IMAGE, IMAGE)(lambda k: k.layers.Add())),
    "Subtract": Case(layer(VECTOR, VECTOR)(lambda k: k.layers.Subtract())),
    "Multiply": Case(layer(VECTOR, VECTOR)(lambda k: k.layers.Multiply())),
    "Average": Case(layer(VECTOR, VECTOR, VECTOR)(lambda k: k.layers.Average())),
    "Maximum": Case(layer(VECTOR, VECTOR)(lambda k: k.layers.Maximum())),
    "Minimum": Case(layer(VECTOR, VECTOR)(lambda k: k.layers.Minimum())),
    "Concatenate": Case(layer(SEQUENCE, (3, 4))(lambda k: k.layers.Concatenate(axis=1)), exported=True),
    "Dot": Case(layer(SEQUENCE, (7, 3))(lambda k: k.layers.Dot(axes=1))),
    "Dot, normalised": Case(layer(VECTOR, VECTOR)(lambda k: k.layers.Dot(axes=-1, normalize=True))),
    "Dropouts": Case(
        net(IMAGE)(
            lambda k, x: k.layers.ActivityRegularization(0.1)(
                k.layers.GaussianNoise(0.2)(k.layers.GaussianDropout(0.3)(k.layers.SpatialDropout2D(0.2)(k.layers.Dense(2)(x))))
            )
        )
    ),
}


# -- activations ---------------------------------------------------------------------------------------------------


def _curves(*names: str) -> Callable[[Keras], Any]:
    return net(SEQUENCE)(lambda k, x: [k.layers.Activation(name)(k.layers.Dense(4)(x)) for name in names])


ACTIVATIONS = {
    "activations, common": Case(
        _curves("relu", "sigmoid", "tanh", "softmax", "softplus", "softsign", "elu", "selu", "linear", "exponential", "gelu"),
        exported=True,
    ),
    "activations, hard and swish": Case(_curves("hard_sigmoid", "swish", "mish", "relu6"), of=("keras", "tf_keras")),
    "activations of Keras 3": Case(
        _curves(
            *("celu", "glu", "hard_tanh", "hard_silu", "hard_swish", "hard_shrink", "leaky_relu", "log_sigmoid", "log_softmax"),
            *("silu",),
            "squareplus", "soft_shrink", "sparse_plus", "sparse_sigmoid", "tanh_shrink", "sparsemax",
        ),
        of=("keras",),
    ),
    "ReLU": Case(layer(IMAGE)(lambda k: k.layers.ReLU(max_value=2.0, negative_slope=0.1, threshold=0.2))),
    "LeakyReLU": Case(net(IMAGE)(lambda k, x: k.layers.LeakyReLU()(k.layers.Dense(3)(x)))),
    "PReLU": Case(layer(IMAGE)(lambda k: k.layers.PReLU(shared_axes=[1, 2])), exported=True),
    "ELU": Case(layer(VECTOR)(lambda k: k.layers.ELU(alpha=0.5))),
    "Softmax": Case(layer(SEQUENCE)(lambda k: k.layers.Softmax(axis=1))),
    "ThresholdedReLU": Case(layer(VECTOR)(lambda k: k.layers.ThresholdedReLU(0.3)), of=("tf_keras",)),
}  # fmt: skip


# -- recurrent -----------------------------------------------------------------------------------------------------


def masked_sequence(batch: int = 2, steps: int = 7, width: int = 4) -> np.ndarray:
    """Rows of which some are nothing but zeros: what Masking leaves out."""
    array = np.random.default_rng(3).normal(0, 1, (batch, steps, width)).astype(np.float32)
    array[0, 4:] = 0
    array[1, 2] = 0
    return array


def _words() -> list[np.ndarray]:
    return [np.array([[3, 1, 4, 0, 0, 0], [2, 0, 5, 6, 0, 0]], np.int32)]


def _states(k: Keras, x: Any, name: str) -> Any:
    first = getattr(k.layers, name)(5, return_sequences=True, return_state=True)(x)
    again = getattr(k.layers, name)(5)(first[0], initial_state=first[1:])
    return [again, *first]


def _masked(k: Keras, x: Any, make: Any) -> Any:
    return make(k)(k.layers.Masking()(x))


def _embedded(k: Keras, x: Any) -> Any:
    y = k.layers.Embedding(8, 5, mask_zero=True)(x)
    y = k.layers.Bidirectional(k.layers.GRU(4, return_sequences=True), merge_mode="sum")(y)
    return k.layers.Dense(2)(k.layers.LSTM(3)(y))


def _cells(k: Keras) -> Any:
    return k.layers.RNN([k.layers.LSTMCell(3), k.layers.GRUCell(4), k.layers.SimpleRNNCell(2)], return_sequences=True)


def _conv_sequence(k: Keras, x: Any) -> Any:
    y = k.layers.ConvLSTM2D(3, 3, padding="same", return_sequences=True)(x)
    return k.layers.ConvLSTM2D(2, (2, 3), strides=(1, 2), use_bias=False, go_backwards=True)(y)


def _given_state(k: Keras, x: Any, h: Any, c: Any) -> Any:
    return k.layers.LSTM(5, return_sequences=True)(x, initial_state=[h, c])


def _of_time(k: Keras, x: Any) -> Any:
    return k.layers.TimeDistributed(k.layers.Conv2D(2, 3, activation="relu"))(x)


RECURRENT = {
    "SimpleRNN": Case(layer(SEQUENCE)(lambda k: k.layers.SimpleRNN(5)), exported=True),
    "SimpleRNN, sequence, backwards": Case(
        layer(SEQUENCE)(
            lambda k: k.layers.SimpleRNN(5, activation="relu", use_bias=False, return_sequences=True, go_backwards=True)
        )
    ),
    "LSTM": Case(layer(SEQUENCE)(lambda k: k.layers.LSTM(5)), exported=True),
    "LSTM, any length": Case(layer((None, 4))(lambda k: k.layers.LSTM(5, return_sequences=True)), exported=True),
    "LSTM, backwards, no bias": Case(
        layer(SEQUENCE)(lambda k: k.layers.LSTM(5, return_sequences=True, go_backwards=True, use_bias=False))
    ),
    "LSTM, hard sigmoid": Case(
        layer(SEQUENCE)(lambda k: k.layers.LSTM(5, recurrent_activation="hard_sigmoid", implementation=1, unit_forget_bias=False))
    ),
    "LSTM, other activation": Case(layer(SEQUENCE)(lambda k: k.layers.LSTM(5, activation="relu", unroll=True))),
    "LSTM, states": Case(net(SEQUENCE)(lambda k, x: _states(k, x, "LSTM")), exported=True),
    "LSTM, states given": Case(net(SEQUENCE, (5,), (5,))(_given_state)),
    "LSTM, masked": Case(
        net(SEQUENCE)(lambda k, x: _masked(k, x, lambda k: k.layers.LSTM(5))), inputs=lambda: [masked_sequence()], exported=True
    ),
    "LSTM, masked sequence": Case(
        net(SEQUENCE)(lambda k, x: _masked(k, x, lambda k: k.layers.LSTM(5, return_sequences=True, go_backwards=True))),
        inputs=lambda: [masked_sequence()],
    ),
    "LSTM, stateful": Case(layer(SEQUENCE, batch=2)(lambda k: k.layers.LSTM(5, stateful=True))),
    "LSTM, time major": Case(
        layer((7, 4), batch=3)(lambda k: k.layers.LSTM(5, time_major=True, return_sequences=True)), of=("tf_keras",), batch=3
    ),
    "GRU": Case(layer(SEQUENCE)(lambda k: k.layers.GRU(5)), exported=True),
    "GRU, reset before": Case(
        layer(SEQUENCE)(lambda k: k.layers.GRU(5, reset_after=False, return_sequences=True, implementation=1)), exported=True
    ),
    "GRU, no bias, hard sigmoid": Case(
        layer(SEQUENCE)(lambda k: k.layers.GRU(5, use_bias=False, recurrent_activation="hard_sigmoid", go_backwards=True))
    ),
    "GRU, any length": Case(layer((None, 4))(lambda k: k.layers.GRU(5, return_sequences=True))),
    "GRU, states": Case(net(SEQUENCE)(lambda k, x: _states(k, x, "GRU"))),
    "GRU, masked": Case(
        net(SEQUENCE)(lambda k, x: _masked(k, x, lambda k: k.layers.GRU(5, return_sequences=True))),
        inputs=lambda: [masked_sequence()],
    ),
    "SimpleRNN, states": Case(net(SEQUENCE)(lambda k, x: _states(k, x, "SimpleRNN"))),
    "Embedding, masked, Bidirectional": Case(net((6,), dtype="int32")(_embedded), inputs=_words, exported=True),
    **{
        f"Bidirectional, {mode}": Case(
            layer(SEQUENCE)(lambda k, mode=mode: k.layers.Bidirectional(k.layers.LSTM(3, return_sequences=True), merge_mode=mode))
        )
        for mode in ("concat", "sum", "mul", "ave", None)
    },
    "Bidirectional, other backward layer": Case(
        layer(SEQUENCE)(lambda k: k.layers.Bidirectional(k.layers.GRU(3), backward_layer=k.layers.SimpleRNN(3, go_backwards=True)))
    ),
    "Bidirectional, states": Case(net(SEQUENCE)(lambda k, x: list(k.layers.Bidirectional(k.layers.LSTM(3, return_state=True))(x)))),
    "RNN, cells": Case(layer(SEQUENCE)(_cells)),
    "RNN, one cell": Case(layer(SEQUENCE)(lambda k: k.layers.RNN(k.layers.GRUCell(4, reset_after=False), return_state=True))),
    "RNN, stacked": Case(
        layer(SEQUENCE)(lambda k: k.layers.RNN(k.layers.StackedRNNCells([k.layers.LSTMCell(3), k.layers.LSTMCell(4)])))
    ),
    "ConvLSTM1D": Case(layer((4, 6, 2))(lambda k: k.layers.ConvLSTM1D(3, 3, padding="same", return_sequences=True))),
    "ConvLSTM2D": Case(net((3, 6, 7, 2))(_conv_sequence)),
    "ConvLSTM3D": Case(layer((2, 4, 4, 3, 2))(lambda k: k.layers.ConvLSTM3D(2, 2, activation="relu"))),
    "TimeDistributed": Case(net((3, 6, 7, 2))(_of_time), exported=True),
    "TimeDistributed, Dense": Case(layer((None, 4))(lambda k: k.layers.TimeDistributed(k.layers.Dense(3)))),
    "TimeDistributed, model": Case(
        net((3, 6, 2))(
            lambda k, x: k.layers.TimeDistributed(k.Sequential([k.Input((6, 2)), k.layers.LSTM(3), k.layers.Dense(2)]))(x)
        )
    ),
}


# -- attention -----------------------------------------------------------------------------------------------------


def _scored(k: Keras, x: Any, y: Any) -> Any:
    attention = k.layers.MultiHeadAttention(2, 3, value_dim=4, output_shape=6)
    return list(attention(x, y, return_attention_scores=True))


def _masked_heads(k: Keras, x: Any, mask: Any) -> Any:
    return k.layers.MultiHeadAttention(2, 3, use_bias=False)(x, x, attention_mask=mask, use_causal_mask=True)


def _over_axes(k: Keras, x: Any) -> Any:
    return k.layers.MultiHeadAttention(2, 3, attention_axes=(1, 2))(x, x)


def _attended_words(k: Keras, x: Any) -> Any:
    y = k.layers.Embedding(8, 6, mask_zero=True)(x)
    return k.layers.LayerNormalization()(k.layers.Add()([y, k.layers.MultiHeadAttention(2, 3)(y, y)]))


ATTENTION = {
    "Attention": Case(layer((3, 4), (5, 4))(lambda k: k.layers.Attention()), exported=True),
    "Attention, scaled, three": Case(layer((3, 4), (5, 2), (5, 4))(lambda k: k.layers.Attention(use_scale=True))),
    "Attention, concat": Case(layer((3, 4), (5, 4))(lambda k: k.layers.Attention(score_mode="concat", use_scale=True))),
    "Attention, causal": Case(
        net((4, 3), (4, 3))(lambda k, x, y: k.layers.Attention()([x, y], use_causal_mask=True)),
    ),
    "Attention, masked": Case(
        net((3, 4), SEQUENCE)(lambda k, x, y: k.layers.Attention()([x, k.layers.Masking()(y)])),
        inputs=lambda: [np.random.default_rng(1).normal(0, 1, (2, 3, 4)).astype(np.float32), masked_sequence()],
    ),
    "AdditiveAttention": Case(layer((3, 4), (5, 4))(lambda k: k.layers.AdditiveAttention())),
    "AdditiveAttention, no scale": Case(layer((3, 4), (5, 4))(lambda k: k.layers.AdditiveAttention(use_scale=False))),
    "MultiHeadAttention": Case(
        layer_of_two := net(SEQUENCE, (5, 3))(lambda k, x, y: k.layers.MultiHeadAttention(2, 3)(x, y)), exported=True
    ),
    "MultiHeadAttention, scores": Case(net(SEQUENCE, (5, 3))(_scored)),
    "MultiHeadAttention, masks": Case(
        net((4, 3), (4, 4))(_masked_heads),
        inputs=lambda: [
            np.random.default_rng(1).normal(0, 1, (2, 4, 3)).astype(np.float32),
            np.random.default_rng(2).integers(0, 2, (2, 4, 4)).astype(np.float32),
        ],
    ),
    "MultiHeadAttention, axes": Case(net((3, 2, 4))(_over_axes)),
    "MultiHeadAttention, masked words": Case(net((6,), dtype="int32")(_attended_words), inputs=_words, exported=True),
    "GroupQueryAttention": Case(net(SEQUENCE, (5, 4))(lambda k, x, y: k.layers.GroupQueryAttention(3, 4, 2)(x, y)), of=("keras",)),
}


# -- preprocessing -------------------------------------------------------------------------------------------------


def _normalised(k: Keras) -> Any:
    made = k.layers.Normalization(axis=-1)
    made.adapt(np.random.default_rng(1).normal(3, 2, (20, 4)).astype(np.float32))
    return made


def _augmented(k: Keras, x: Any) -> Any:
    for each in (
        k.layers.RandomFlip(), k.layers.RandomRotation(0.2), k.layers.RandomZoom(0.2), k.layers.RandomTranslation(0.1, 0.1),
        k.layers.RandomContrast(0.2), k.layers.RandomBrightness(0.1), k.layers.Rescaling(1 / 127.5, -1),
    ):  # fmt: skip
        x = each(x)
    return x


def _newly_augmented(k: Keras, x: Any) -> Any:
    for each in (
        k.layers.RandomColorJitter(), k.layers.RandomGrayscale(), k.layers.RandomHue(0.1), k.layers.RandomSaturation(0.1),
        k.layers.RandomSharpness(0.1), k.layers.RandomShear(0.1, 0.1), k.layers.RandomPosterization(4), k.layers.RandomErasing(),
        k.layers.RandomGaussianBlur(), k.layers.RandomInvert(), k.layers.RandomPerspective(), k.layers.RandomElasticTransform(),
        k.layers.RandomCrop(6, 6), k.layers.Rescaling(2.0),
    ):  # fmt: skip
        x = each(x)
    return x


def _encoded(mode: str, sparse_count: bool = False) -> Callable[[Keras], Any]:
    def build(k: Keras) -> Any:
        x = k.Input((4,), dtype="int32")
        if not sparse_count:
            return k.Model(x, k.layers.CategoryEncoding(6, output_mode=mode)(x))
        amounts = k.Input((4,), dtype="float32")
        return k.Model([x, amounts], k.layers.CategoryEncoding(6, output_mode=mode)(x, count_weights=amounts))

    return build


def _vocabulary(k: Keras, mode: str, **options: Any) -> Any:
    return k.layers.IntegerLookup(vocabulary=[10, 30, 20], output_mode=mode, **options)


PREPROCESSING = {
    "Rescaling": Case(layer(IMAGE)(lambda k: k.layers.Rescaling(1 / 127.5, offset=-1.0)), exported=True),
    "Normalization": Case(layer(SEQUENCE)(_normalised), exported=True),
    "Normalization, given": Case(layer(SEQUENCE)(lambda k: k.layers.Normalization(mean=[1.0, 2, 3, 4], variance=[4.0, 3, 2, 1]))),
    "Normalization, invert": Case(
        layer(SEQUENCE)(lambda k: k.layers.Normalization(mean=2.0, variance=3.0, axis=None, invert=True))
    ),
    "Resizing": Case(layer(IMAGE)(lambda k: k.layers.Resizing(5, 12)), exported=True),
    "Resizing, nearest": Case(layer(IMAGE)(lambda k: k.layers.Resizing(12, 5, interpolation="nearest"))),
    "Resizing, cropped": Case(layer(IMAGE)(lambda k: k.layers.Resizing(6, 4, crop_to_aspect_ratio=True))),
    "Resizing, padded": Case(layer(IMAGE)(lambda k: k.layers.Resizing(6, 4, pad_to_aspect_ratio=True)), of=("keras",)),
    "CenterCrop": Case(layer(IMAGE)(lambda k: k.layers.CenterCrop(5, 4))),
    "CenterCrop, enlarged": Case(layer(IMAGE)(lambda k: k.layers.CenterCrop(5, 12))),
    "augmentation": Case(net((8, 8, 3))(_augmented), exported=True),
    "augmentation of Keras 3": Case(net((8, 8, 3))(_newly_augmented), of=("keras",)),
    "Discretization": Case(layer(VECTOR)(lambda k: k.layers.Discretization(bin_boundaries=[-0.5, 0.0, 0.7])), exported=True),
    "Discretization, one hot": Case(
        layer((1,))(lambda k: k.layers.Discretization(bin_boundaries=[-0.5, 0.0, 0.7], output_mode="one_hot"))
    ),
    "CategoryEncoding, multi hot": Case(_encoded("multi_hot")),
    "CategoryEncoding, count": Case(_encoded("count")),
    "CategoryEncoding, weights": Case(_encoded("count", sparse_count=True)),
    "CategoryEncoding, one hot": Case(layer((1,), dtype="int32")(lambda k: k.layers.CategoryEncoding(6, output_mode="one_hot"))),
    "IntegerLookup": Case(layer((5,), dtype="int64")(lambda k: _vocabulary(k, "int")), inputs=lambda: [_numbers()], exported=True),
    "IntegerLookup, mask": Case(
        layer((5,), dtype="int64")(lambda k: _vocabulary(k, "int", mask_token=0, num_oov_indices=1)), inputs=lambda: [_numbers()]
    ),
    "IntegerLookup, multi hot": Case(
        layer((5,), dtype="int64")(lambda k: _vocabulary(k, "multi_hot")), inputs=lambda: [_numbers()]
    ),
    "IntegerLookup, count": Case(layer((5,), dtype="int64")(lambda k: _vocabulary(k, "count")), inputs=lambda: [_numbers()]),
    "IntegerLookup, tf-idf": Case(
        layer((5,), dtype="int64")(lambda k: _vocabulary(k, "tf_idf", idf_weights=[0.5, 1.5, 2.5])), inputs=lambda: [_numbers()]
    ),
}


def _numbers() -> np.ndarray:
    return np.array([[10, 20, 30, 40, 10], [30, 30, 0, 7, 20]], np.int64)


# -- operations ----------------------------------------------------------------------------------------------------


def _arithmetic(k: Keras, x: Any, y: Any) -> Any:
    import tensorflow as tf  # noqa: PLC0415

    if k.__name__ == "tf_keras":
        z = tf.matmul(x * 2.0 + y, y, transpose_b=True)
        z = tf.concat([z[:, 1:, :3], tf.reduce_mean(z, axis=-1, keepdims=True)[:, 1:]], axis=-1)
        return [z, tf.nn.relu(1.0 - x), tf.reshape(tf.transpose(y, [0, 2, 1]), (-1, 28)), tf.expand_dims(x, 1)[:, :, :, -1]]
    ops = k.ops
    z = ops.matmul(x * 2.0 + y, ops.transpose(y, (0, 2, 1)))
    z = ops.concatenate([z[:, 1:, :3], ops.mean(z, axis=-1, keepdims=True)[:, 1:]], axis=-1)
    return [z, ops.relu(1.0 - x), ops.reshape(ops.transpose(y, (0, 2, 1)), (-1, 28)), ops.expand_dims(x, 1)[..., -1]]


def _many_operations(names: tuple[str, ...]) -> Callable[[Keras], Any]:
    return net(SEQUENCE)(lambda k, x: [getattr(k.ops, name)(x) for name in names])


def _pairs(names: tuple[str, ...]) -> Callable[[Keras], Any]:
    return net(SEQUENCE, SEQUENCE)(lambda k, x, y: [getattr(k.ops, name)(x, y) for name in names])


def _shapes(k: Keras, x: Any) -> Any:
    o = k.ops
    return [
        o.squeeze(x[:, :1], 1), o.swapaxes(x, 1, 2), o.moveaxis(x, -1, 1), o.flip(x, 1), o.roll(x, 2, 1), o.tile(x, (1, 2, 1)),
        o.repeat(x, 2, axis=1), o.pad(x, ((0, 0), (1, 2), (0, 0))), o.stack([x, x], 2), *o.split(x, 2, axis=-1),
        o.take(x, [0, 2], axis=1), o.cumsum(x, 1), o.broadcast_to(x[:, None], (2, 3, 7, 4)), o.sort(x, -1), o.argsort(x, -1),
        o.one_hot(o.argmax(x, -1), 4), o.cast(x, "int32"), o.where(x > 0, x, -x), o.clip(x, -0.5, 0.5), *o.top_k(x, 2),
    ]  # fmt: skip


def _reductions(k: Keras, x: Any) -> Any:
    o = k.ops
    return [
        o.sum(x, 1), o.max(x, (1, 2)), o.min(x, -1, keepdims=True), o.prod(x, -1), o.std(x, 1), o.var(x, -1), o.logsumexp(x, -1),
        o.norm(x, axis=-1), o.any(x > 0, -1), o.all(x > 0, 1), o.argmin(x, 1), o.count_nonzero(x > 0, 1), o.softmax(x, 1),
        o.normalize(x, -1), o.einsum("bij,bkj->bik", x, x), o.average(x, 1), o.amax(x, 1), o.median(x, -1),
    ]  # fmt: skip


OPERATIONS = {
    "operations": Case(net(SEQUENCE, SEQUENCE)(_arithmetic), exported=True),
    "operations, one operand": Case(
        _many_operations(
            (
                "abs", "exp", "sin", "cos", "tanh", "sigmoid", "square", "sign", "floor", "ceil", "round", "negative",
                "expm1", "arctan", "sinh", "erf", "softplus", "isfinite", "logical_not", "zeros_like", "ones_like",
                "relu6", "silu", "gelu", "elu", "selu", "leaky_relu", "hard_sigmoid", "log_sigmoid", "log_softmax",
            )
        ),
        of=("keras",),
    ),
    "operations, two operands": Case(
        _pairs(
            (
                "add", "subtract", "multiply", "divide", "maximum", "minimum", "greater", "less_equal", "equal",
                "not_equal", "arctan2", "floor_divide", "mod", "logical_and",
            )
        ),
        of=("keras",),
    ),
    "operations, shapes": Case(net(SEQUENCE)(_shapes), of=("keras",)),
    "operations, reductions": Case(net(SEQUENCE)(_reductions), of=("keras",)),
}  # fmt: skip

CASES: dict[str, Case] = {
    **CONVOLUTIONS, **POOLING, **ACTIVATIONS, **RECURRENT, **ATTENTION, **PREPROCESSING, **OPERATIONS,
}  # fmt: skip
