"""Activations, as one op and as people write them out."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ops.case import Family, floats, integers, of

raw = tf.raw_ops

SIMPLE = {
    "Relu": tf.nn.relu,
    "Relu6": tf.nn.relu6,
    "Elu": tf.nn.elu,
    "Selu": tf.nn.selu,
    "Softplus": tf.nn.softplus,
    "Softsign": tf.nn.softsign,
    "Sigmoid": tf.nn.sigmoid,
    "Tanh": tf.nn.tanh,
    "Softmax": tf.nn.softmax,
    "LogSoftmax": tf.nn.log_softmax,
    "silu": tf.nn.silu,
    "gelu": lambda x: tf.nn.gelu(x),
    "gelu_tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "crelu": tf.nn.crelu,
    "leaky_relu": lambda x: tf.nn.leaky_relu(x, 0.1),
    "leaky_relu_negative": lambda x: tf.nn.leaky_relu(x, -0.3),
    "leaky_relu_above_one": lambda x: tf.nn.leaky_relu(x, 1.5),
    "leaky_relu_zero": lambda x: tf.nn.leaky_relu(x, 0.0),
}
WRITTEN = {
    "hard_swish": lambda x: x * tf.nn.relu6(x + 3.0) / 6.0,
    "hard_swish_sixth": lambda x: x * (tf.nn.relu6(x + 3.0) * (1.0 / 6.0)),
    "hard_sigmoid": lambda x: tf.nn.relu6(x + 3.0) / 6.0,
    "hard_sigmoid_keras": lambda x: tf.clip_by_value(0.2 * x + 0.5, 0.0, 1.0),
    "hard_tanh": lambda x: tf.clip_by_value(x, -1.0, 1.0),
    "relu_by_maximum": lambda x: tf.maximum(x, 0.0),
    "relu6_by_minimum": lambda x: tf.minimum(tf.maximum(x, 0.0), 6.0),
    "relu1": lambda x: tf.minimum(tf.maximum(x, 0.0), 1.0),
    "relu_threshold": lambda x: tf.cast(x > 0.5, tf.float32) * x,
    "relu_capped_leaky": lambda x: tf.clip_by_value(tf.nn.relu(x), 0.0, 2.0) - 0.1 * tf.nn.relu(0.2 - x),
    "leaky_by_maximum": lambda x: tf.maximum(0.2 * x, x),
    "leaky_by_where": lambda x: tf.where(x > 0, x, 0.2 * x),
    "prelu_channels": lambda x: tf.nn.relu(x) + tf.constant(np.linspace(0.1, 0.5, 4, dtype=np.float32)) * (x - tf.abs(x)) * 0.5,
    "prelu_keras": lambda x: tf.nn.relu(x) - tf.constant(np.linspace(0.1, 0.5, 4, dtype=np.float32)) * tf.nn.relu(-x),
    "swish_by_hand": lambda x: x * tf.sigmoid(x),
    "swish_beta": lambda x: x * tf.sigmoid(1.7 * x),
    "mish": lambda x: x * tf.tanh(tf.math.softplus(x)),
    "gelu_by_hand": lambda x: 0.5 * x * (1.0 + tf.math.erf(x / np.float32(np.sqrt(2.0)))),
    "gelu_half_last": lambda x: x * 0.5 * (1.0 + tf.math.erf(x * np.float32(np.sqrt(0.5)))),
    "gelu_tanh_by_hand": lambda x: 0.5 * x * (1.0 + tf.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + 0.044715 * tf.pow(x, 3)))),
    "quick_gelu": lambda x: x * tf.sigmoid(1.702 * x),
    "softplus_by_hand": lambda x: tf.math.log(1.0 + tf.exp(x)),
    "softmax_by_hand": lambda x: tf.exp(x) / tf.reduce_sum(tf.exp(x), -1, keepdims=True),
    "softmax_stable": lambda x: (
        tf.exp(x - tf.reduce_max(x, -1, keepdims=True))
        / tf.reduce_sum(tf.exp(x - tf.reduce_max(x, -1, keepdims=True)), -1, keepdims=True)
    ),
    "softmax_first_axis": lambda x: tf.nn.softmax(x, axis=0),
    "log_softmax_first_axis": lambda x: tf.nn.log_softmax(x, axis=0),
    "softmax_temperature": lambda x: tf.nn.softmax(x / 0.7),
    "sparsemax_like": lambda x: tf.nn.relu(x - tf.reduce_mean(x, -1, keepdims=True)),
    "maxout": lambda x: tf.reduce_max(tf.reshape(x, [-1, 2, 2]), -1),
    "glu": lambda x: x[..., :2] * tf.sigmoid(x[..., 2:]),
    "snake": lambda x: x + tf.square(tf.sin(x)),
    "exponential": tf.exp,
    "celu": lambda x: tf.maximum(x, 0.0) + tf.minimum(0.0, 1.3 * (tf.exp(x / 1.3) - 1.0)),
    "elu_alpha": lambda x: tf.where(x > 0, x, 0.7 * (tf.exp(x) - 1.0)),
    "shrink": lambda x: tf.sign(x) * tf.maximum(tf.abs(x) - 0.5, 0.0),
    "tanh_shrink": lambda x: x - tf.tanh(x),
    "log_sigmoid": lambda x: -tf.nn.softplus(-x),
    "step": lambda x: tf.cast(x >= 0, tf.float32),
    "square_relu": lambda x: tf.square(tf.nn.relu(x)),
    "bias_then_relu": lambda x: tf.nn.relu(tf.nn.bias_add(x, tf.constant(np.linspace(-1, 1, 4, dtype=np.float32)))),
}
GRADIENTS = ("ReluGrad", "Relu6Grad", "EluGrad", "SeluGrad", "SoftplusGrad", "SoftsignGrad", "LeakyReluGrad")
OUTPUT_GRADIENTS = ("SigmoidGrad", "TanhGrad", "SqrtGrad", "RsqrtGrad", "InvGrad", "ReciprocalGrad")


def add_cases(family: Family) -> None:
    for index, (name, function) in enumerate(SIMPLE.items()):
        for dtype in ("float32", "float16", "float64"):
            family.add(f"{name}_{dtype}", function, floats(3, 4, low=-8, high=8, dtype=dtype))
        family.add(name, function, floats(5, 4, low=-4, high=4), unknown="batch")
        family.add(f"{name}_image", function, floats(2, 3, 2, 4, low=-8, high=8), unknown="batch")
        family.add(f"{name}_vector", function, floats(6, low=-4, high=4))
        family.add(f"{name}_empty", function, np.zeros((0, 4), np.float32))
        if index % 2:
            family.add(f"{name}_rank5", function, floats(1, 2, 1, 2, 4, low=-4, high=4))
        if "oftmax" not in name and name != "crelu":
            family.add(f"{name}_edges", function, np.array([-np.inf, -90, -0.0, 0, 90, np.inf], np.float32))
    for name, function in WRITTEN.items():
        family.add(name, function, floats(3, 4, low=-5, high=5))
        family.add(name, function, floats(2, 4, low=-5, high=5), unknown="batch")
    for dtype in ("int8", "int16", "int32", "int64", "uint8"):
        family.add(f"Relu_{dtype}", tf.nn.relu, of(dtype, 3, 4))
        family.add(f"Relu6_{dtype}", tf.nn.relu6, of(dtype, 3, 4))
    family.add("Softmax_large", tf.nn.softmax, floats(2, 5, low=-500, high=500))
    family.add("Softmax_rank1", tf.nn.softmax, floats(7))
    family.add("Softmax_no_class", tf.nn.softmax, np.zeros((2, 0), np.float32))
    family.add("LogSoftmax_large", tf.nn.log_softmax, floats(2, 5, low=-500, high=500))
    for op in GRADIENTS:
        family.add(
            op,
            lambda a, b, op=op: getattr(raw, op)(gradients=a, **{"outputs" if op in ("EluGrad", "SeluGrad") else "features": b}),
            floats(3, 4),
            floats(3, 4, low=-0.9, high=4, seed=1),
        )
    for op in OUTPUT_GRADIENTS:
        family.add(op, lambda a, b, op=op: getattr(raw, op)(y=a, dy=b), floats(3, 4, low=0.2, high=0.9), floats(3, 4, seed=1))
    family.add(
        "SoftmaxCrossEntropyWithLogits",
        lambda a, b: raw.SoftmaxCrossEntropyWithLogits(features=a, labels=b),
        floats(3, 4),
        tf.nn.softmax(floats(3, 4, seed=1)).numpy(),
    )
    family.add(
        "SparseSoftmaxCrossEntropyWithLogits",
        lambda a, b: raw.SparseSoftmaxCrossEntropyWithLogits(features=a, labels=b),
        floats(3, 4),
        integers(3, low=0, high=4),
    )
    family.add(
        "sigmoid_cross_entropy",
        lambda a, b: tf.nn.sigmoid_cross_entropy_with_logits(labels=b, logits=a),
        floats(3, 4),
        floats(3, 4, low=0, high=1, seed=1),
    )
    family.add(
        "weighted_cross_entropy",
        lambda a, b: tf.nn.weighted_cross_entropy_with_logits(labels=b, logits=a, pos_weight=0.7),
        floats(3, 4),
        floats(3, 4, low=0, high=1, seed=1),
    )
    family.add("l2_loss", tf.nn.l2_loss, floats(3, 4))
    family.add("log_poisson_loss", lambda a, b: tf.nn.log_poisson_loss(b, a), floats(3, 4), floats(3, 4, low=0, high=3, seed=1))
    family.add(
        "relu_layer", lambda x: tf.compat.v1.nn.relu_layer(x, tf.constant(floats(4, 3)), tf.constant(floats(3))), floats(2, 4)
    )
