"""Recurrent layers: Keras, block ops, cells written out and unrolled, raw while loops of TensorFlow 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from ops.case import Array, Family, Lazily, floats, integers

raw = tf.raw_ops
keras = tf.keras

LAYERS = ("LSTM", "GRU", "SimpleRNN")


def _layer(make: Callable[[], Any]) -> Lazily:
    """A Keras layer with seeded weights."""

    def build() -> Callable[..., Any]:
        keras.utils.set_random_seed(11)
        return make()

    return Lazily(build)


def add_cases(family: Family) -> None:
    _keras(family)
    _cells(family)
    _unrolled(family)
    _blocks(family)
    _loops(family)


def _keras(family: Family) -> None:
    for name in LAYERS:
        layer = getattr(keras.layers, name)
        for sequences in (False, True):
            for unroll in (False, True):
                marks = f"{name}{'_sequences' if sequences else ''}{'_unrolled' if unroll else ''}"
                make = lambda c=layer, s=sequences, u=unroll: c(4, return_sequences=s, unroll=u)
                forms = ("function",) if unroll else ("function", "lowered")
                family.each_form(f"keras_{marks}", _layer(make), floats(2, 5, 3), forms=forms)
                family.each_form(f"keras_{marks}", _layer(make), floats(2, 5, 3), forms=forms, unknown="batch")
        family.each_form(f"keras_{name}_unknown_length", _layer(lambda c=layer: c(4)), floats(2, 5, 3), shapes=((None, None, 3),))
        family.add(f"keras_{name}_states", _layer(lambda c=layer: c(4, return_state=True)), floats(2, 5, 3))
        family.each_form(f"keras_{name}_backwards", _layer(lambda c=layer: c(4, go_backwards=True)), floats(2, 5, 3))
        family.each_form(
            f"keras_{name}_bidirectional",
            _layer(lambda c=layer: keras.layers.Bidirectional(c(3, return_sequences=True))),
            floats(2, 5, 3),
        )
        family.add(
            f"keras_{name}_bidirectional_sum",
            _layer(lambda c=layer: keras.layers.Bidirectional(c(3), merge_mode="sum")),
            floats(2, 4, 3),
            unknown="batch",
        )
        family.add(f"keras_{name}_no_bias", _layer(lambda c=layer: c(4, use_bias=False)), floats(2, 5, 3))
        family.add(f"keras_{name}_activations", _layer(lambda c=layer: c(4, activation="relu")), floats(2, 5, 3))
        family.add(
            f"keras_{name}_initial_state",
            _initial_state(layer, 2 if name == "LSTM" else 1),
            floats(2, 5, 3),
            floats(2, 4),
            floats(2, 4, seed=1),
        )
        family.each_form(
            f"keras_{name}_stacked", _layer(lambda c=layer: keras.Sequential([c(4, return_sequences=True), c(3)])), floats(2, 5, 3)
        )
        family.add(
            f"keras_{name}_cell", _cell(f"{name}Cell", 2 if name == "LSTM" else 1), floats(2, 3), floats(2, 4), floats(2, 4, seed=1)
        )
        family.add(
            f"keras_{name}_then_dense",
            _layer(lambda c=layer: keras.Sequential([c(4), keras.layers.Dense(2, activation="softmax")])),
            floats(2, 5, 3),
            unknown="batch",
        )
        family.add(
            f"keras_{name}_embedded",
            _layer(lambda c=layer: keras.Sequential([keras.layers.Embedding(7, 3), c(4)])),
            integers(2, 5, low=0, high=7),
        )
        family.add(
            f"keras_{name}_masked",
            _layer(lambda c=layer: keras.Sequential([keras.layers.Embedding(7, 3, mask_zero=True), c(4)])),
            np.array([[1, 2, 3, 0], [4, 0, 0, 0]], np.int32),
        )
        family.add(f"keras_{name}_one_step", _layer(lambda c=layer: c(4)), floats(2, 1, 3))
    for implementation in (1, 2):
        family.add(
            f"keras_GRU_implementation_{implementation}",
            _layer(lambda i=implementation: keras.layers.GRU(4, implementation=i)),
            floats(2, 4, 3),
        )
        family.add(
            f"keras_LSTM_implementation_{implementation}",
            _layer(lambda i=implementation: keras.layers.LSTM(4, implementation=i)),
            floats(2, 4, 3),
        )
    for after in (False, True):
        family.add(f"keras_GRU_reset_after_{after}", _layer(lambda a=after: keras.layers.GRU(4, reset_after=a)), floats(2, 4, 3))
        family.add(
            f"keras_GRU_reset_after_{after}_unrolled",
            _layer(lambda a=after: keras.layers.GRU(4, reset_after=a, unroll=True)),
            floats(2, 4, 3),
        )
    family.add("keras_ConvLSTM2D", _layer(lambda: keras.layers.ConvLSTM2D(2, 3, padding="same")), floats(1, 3, 4, 4, 2))
    family.add("keras_ConvLSTM1D", _layer(lambda: keras.layers.ConvLSTM1D(2, 3, padding="same")), floats(1, 3, 5, 2))
    family.add("keras_TimeDistributed", _layer(lambda: keras.layers.TimeDistributed(keras.layers.Dense(4))), floats(2, 3, 5))
    family.add(
        "keras_RNN_of_two_cells",
        _layer(lambda: keras.layers.RNN([keras.layers.LSTMCell(4), keras.layers.GRUCell(3)])),
        floats(2, 4, 3),
    )
    family.add(
        "keras_mixed_stack",
        _layer(lambda: keras.Sequential([keras.layers.GRU(4, return_sequences=True), keras.layers.LSTM(3)])),
        floats(2, 4, 3),
        unknown="batch",
    )


def _initial_state(layer: Any, count: int) -> Lazily:
    def make() -> Callable[..., Any]:
        keras.utils.set_random_seed(11)
        made = layer(4)
        return lambda x, h, c: made(x, initial_state=[h, c][:count]) + 0.0 * c[:, :1]

    return Lazily(make)


def _cell(name: str, count: int) -> Lazily:
    def make() -> Callable[..., Any]:
        keras.utils.set_random_seed(11)
        made = getattr(keras.layers, name)(4)
        return lambda x, h, c: [made(x, [h, c][:count])[0] + 0.0 * c]

    return Lazily(make)


def _weights(*shape: int, seed: int = 0) -> Array:
    return floats(*shape, low=-0.6, high=0.6, seed=seed)


def _lstm_step(x: tf.Tensor, h: tf.Tensor, c: tf.Tensor, forget: float = 1.0) -> tuple[tf.Tensor, tf.Tensor]:
    gates = tf.matmul(tf.concat([x, h], 1), _weights(7, 16)) + _weights(16, seed=1)
    i, j, f, o = tf.split(gates, 4, 1)
    c = c * tf.sigmoid(f + forget) + tf.sigmoid(i) * tf.tanh(j)
    return tf.tanh(c) * tf.sigmoid(o), c


def _gru_step(x: tf.Tensor, h: tf.Tensor) -> tf.Tensor:
    r, u = tf.split(tf.sigmoid(tf.matmul(tf.concat([x, h], 1), _weights(7, 8)) + 1.0), 2, 1)
    candidate = tf.tanh(tf.matmul(tf.concat([x, r * h], 1), _weights(7, 4, seed=2)))
    return u * h + (1.0 - u) * candidate


def _rnn_step(x: tf.Tensor, h: tf.Tensor) -> tf.Tensor:
    return tf.tanh(tf.matmul(x, _weights(3, 4)) + tf.matmul(h, _weights(4, 4, seed=1)) + _weights(4, seed=2))


def _cells(family: Family) -> None:
    family.add("lstm_step", _lstm_step, floats(2, 3), floats(2, 4), floats(2, 4, seed=1))
    family.add("lstm_step", _lstm_step, floats(2, 3), floats(2, 4), floats(2, 4, seed=1), unknown="batch")
    family.add(
        "lstm_step_no_forget_bias", lambda x, h, c: _lstm_step(x, h, c, 0.0), floats(2, 3), floats(2, 4), floats(2, 4, seed=1)
    )
    family.add("gru_step", _gru_step, floats(2, 3), floats(2, 4))
    family.add("gru_step", _gru_step, floats(2, 3), floats(2, 4), unknown="batch")
    family.add("rnn_step", _rnn_step, floats(2, 3), floats(2, 4))


def _unrolled(family: Family) -> None:
    for steps in (1, 3, 6):
        family.add(f"unrolled_lstm_{steps}", lambda x: _unroll_lstm(x), floats(2, steps, 3))
        family.add(f"unrolled_gru_{steps}", lambda x: _unroll(x, _gru_step), floats(2, steps, 3))
        family.add(f"unrolled_rnn_{steps}", lambda x: _unroll(x, _rnn_step), floats(2, steps, 3))
    family.add("unrolled_lstm", lambda x: _unroll_lstm(x), floats(2, 3, 3), unknown="batch")
    family.add("unrolled_rnn_backwards", lambda x: _unroll(tf.reverse(x, [1]), _rnn_step), floats(2, 3, 3))


def _start(x: tf.Tensor) -> tf.Tensor:
    return tf.zeros(tf.stack([tf.shape(x)[0], 4]))


def _unroll(x: tf.Tensor, step: Callable[..., tf.Tensor]) -> tf.Tensor:
    state, outputs = _start(x), []
    for each in tf.unstack(x, axis=1):
        state = step(each, state)
        outputs.append(state)
    return tf.stack(outputs, 1)


def _unroll_lstm(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    h, c = _start(x), _start(x)
    for each in tf.unstack(x, axis=1):
        h, c = _lstm_step(each, h, c)
    return h, c


def _blocks(family: Family) -> None:
    peephole = {"wci": np.zeros(4, np.float32), "wcf": np.zeros(4, np.float32), "wco": np.zeros(4, np.float32)}
    weights, bias = _weights(7, 16), _weights(16, seed=1)
    for forget in (0.0, 1.0):
        for use in (False, True):
            for clip in (-1.0, 0.5):
                peeps = {key: _weights(4, seed=9) for key in peephole} if use else peephole
                marks = f"forget_{forget}{'_peephole' if use else ''}{'_clip' if clip > 0 else ''}"
                keywords = {"forget_bias": forget, "use_peephole": use, "cell_clip": clip}
                family.add(
                    f"LSTMBlockCell_{marks}",
                    lambda x, h, c, k=keywords, p=peeps: [
                        raw.LSTMBlockCell(x=x, cs_prev=c, h_prev=h, w=weights, b=bias, **p, **k)[n] for n in (1, 6)
                    ],
                    floats(2, 3),
                    floats(2, 4),
                    floats(2, 4, seed=1),
                )
    family.add(
        "LSTMBlockCell",
        lambda x, h, c: raw.LSTMBlockCell(x=x, cs_prev=c, h_prev=h, w=weights, b=bias, **peephole).h,
        floats(2, 3),
        floats(2, 4),
        floats(2, 4, seed=1),
        unknown="batch",
    )
    for op in ("BlockLSTM", "BlockLSTMV2"):
        for steps in (1, 4):
            family.add(
                f"{op}_{steps}",
                lambda x, op=op, n=steps: [
                    getattr(raw, op)(
                        seq_len_max=tf.constant(n, tf.int64),
                        x=x,
                        cs_prev=tf.zeros([2, 4]),
                        h_prev=tf.zeros([2, 4]),
                        w=weights,
                        b=bias,
                        **peephole,
                    )[k]
                    for k in (1, 6)
                ],
                floats(steps, 2, 3),
            )
        family.add(
            f"{op}_state",
            lambda x, h, c, op=op: (
                getattr(raw, op)(seq_len_max=tf.constant(3, tf.int64), x=x, cs_prev=c, h_prev=h, w=weights, b=bias, **peephole).h
            ),
            floats(3, 2, 3),
            floats(2, 4),
            floats(2, 4, seed=1),
        )
        family.add(
            f"{op}_peephole",
            lambda x, op=op: (
                getattr(raw, op)(
                    seq_len_max=tf.constant(3, tf.int64),
                    x=x,
                    cs_prev=tf.zeros([2, 4]),
                    h_prev=tf.zeros([2, 4]),
                    w=weights,
                    b=bias,
                    wci=_weights(4),
                    wcf=_weights(4, seed=1),
                    wco=_weights(4, seed=2),
                    use_peephole=True,
                ).h
            ),
            floats(3, 2, 3),
        )
    family.add(
        "GRUBlockCell",
        lambda x, h: (
            raw.GRUBlockCell(
                x=x, h_prev=h, w_ru=_weights(7, 8), w_c=_weights(7, 4, seed=1), b_ru=_weights(8, seed=2), b_c=_weights(4, seed=3)
            ).h
        ),
        floats(2, 3),
        floats(2, 4),
    )
    family.add(
        "GRUBlockCell",
        lambda x, h: (
            raw.GRUBlockCell(
                x=x, h_prev=h, w_ru=_weights(7, 8), w_c=_weights(7, 4, seed=1), b_ru=_weights(8, seed=2), b_c=_weights(4, seed=3)
            ).h
        ),
        floats(2, 3),
        floats(2, 4),
        unknown="batch",
    )


def _loops(family: Family) -> None:
    """tf.while_loop over time, as dynamic_rnn writes it: TensorArrays for inputs and outputs."""
    forms = ("function", "lowered", "v1")
    for name, step in (("rnn", _rnn_step), ("gru", _gru_step)):
        family.each_form(f"loop_{name}_array", lambda x, s=step: _loop(x, s), floats(2, 4, 3), forms=forms)
        family.each_form(f"loop_{name}_array", lambda x, s=step: _loop(x, s), floats(2, 4, 3), forms=forms, unknown="batch")
        family.each_form(f"loop_{name}_last", lambda x, s=step: _loop_by_slice(x, s), floats(2, 4, 3), forms=forms)
        family.each_form(
            f"loop_{name}_lengths",
            lambda x, n, s=step: _loop(x, s, lengths=n),
            floats(2, 4, 3),
            np.array([2, 4], np.int32),
            forms=forms,
        )
        family.each_form(
            f"loop_{name}_time_major_open", lambda x, s=step: _loop(x, s), floats(2, 4, 3), forms=forms, shapes=((2, None, 3),)
        )
    family.each_form("loop_lstm_array", _loop_lstm, floats(2, 4, 3), forms=forms)
    family.each_form("loop_lstm_array", _loop_lstm, floats(2, 4, 3), forms=forms, unknown="batch")
    family.each_form(
        "loop_scan",
        lambda x: tf.scan(lambda h, e: _rnn_step(e, h), tf.transpose(x, [1, 0, 2]), initializer=tf.zeros([2, 4])),
        floats(2, 4, 3),
        forms=("function", "lowered"),
    )


def _loop(x: tf.Tensor, step: Callable[..., tf.Tensor], lengths: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
    series = tf.transpose(x, [1, 0, 2])
    steps = tf.shape(series)[0]
    inputs = tf.TensorArray(tf.float32, steps).unstack(series)

    def body(time: tf.Tensor, state: tf.Tensor, outputs: tf.TensorArray) -> tuple[Any, ...]:
        following = step(inputs.read(time), state)
        written = following
        if lengths is not None:
            running = tf.expand_dims(time < lengths, 1)
            written = tf.where(running, following, tf.zeros_like(following))
            following = tf.where(running, following, state)
        return time + 1, following, outputs.write(time, written)

    state = tf.reshape(_start(x), [-1, 4])
    _, last, outputs = tf.while_loop(
        lambda time, *_: time < steps,
        body,
        (0, state, tf.TensorArray(tf.float32, steps)),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([x.shape[0], 4]), tf.TensorShape(None))
        if x.shape[0] is None
        else None,
    )
    return tf.transpose(outputs.stack(), [1, 0, 2]), last


def _loop_by_slice(x: tf.Tensor, step: Callable[..., tf.Tensor]) -> tf.Tensor:
    return tf.while_loop(lambda time, _: time < 4, lambda time, h: (time + 1, step(x[:, time], h)), (0, tf.zeros([2, 4])))[1]


def _loop_lstm(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    series = tf.transpose(x, [1, 0, 2])
    inputs = tf.TensorArray(tf.float32, 4).unstack(series)

    def body(time: tf.Tensor, h: tf.Tensor, c: tf.Tensor, outputs: tf.TensorArray) -> tuple[Any, ...]:
        h, c = _lstm_step(inputs.read(time), h, c)
        return time + 1, h, c, outputs.write(time, h)

    state = _start(x) if x.shape[0] is None else tf.zeros([2, 4])
    _, _, c, outputs = tf.while_loop(lambda time, *_: time < 4, body, (0, state, state, tf.TensorArray(tf.float32, 4)))
    return tf.transpose(outputs.stack(), [1, 0, 2]), c
