"""Casts between all element types."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ops.case import Family, booleans, complexes, floats, integers, of

NUMBERS = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
ALL = (*NUMBERS, "complex64", "complex128", "bfloat16")


def add_cases(family: Family) -> None:
    for source in (*NUMBERS, "complex64", "complex128"):
        for target in ALL:
            if source != target:
                array = of(source, 2, 3, low=0 if target.startswith("u") else None)
                inner = target == "bfloat16"  # numpy does not have it
                family.add(f"{source}_{target}", lambda x, target=target, inner=inner: _cast(x, target, back=inner), array)
    for source, target in (
        ("float32", "int32"),
        ("int32", "float32"),
        ("bool", "float32"),
        ("float32", "bool"),
        ("int64", "int32"),
        ("uint8", "float32"),
    ):
        family.add(f"{source}_{target}", lambda x, target=target: tf.cast(x, target), of(source, 3, 2), unknown="batch")
        family.add(f"{source}_{target}", lambda x, target=target: tf.cast(x, target), of(source, 3, 2), unknown="rank")
        family.add(f"{source}_{target}_empty", lambda x, target=target: tf.cast(x, target), of(source, 0, 2))
        family.add(f"{source}_{target}_scalar", lambda x, target=target: tf.cast(x, target), of(source))
        family.add(f"{source}_{target}_rank6", lambda x, target=target: tf.cast(x, target), of(source, 1, 2, 1, 2, 1, 2))
    for target in ("int8", "int16", "uint8", "int32"):
        family.add(
            f"wrap_int64_{target}", lambda x, target=target: tf.cast(x, target), np.array([300, -300, 70000, -1, 1 << 33], np.int64)
        )
        family.add(
            f"wrap_int32_{target}", lambda x, target=target: tf.cast(x, target), np.array([300, -300, 70000, -1, 128], np.int32)
        )
        family.add(
            f"saturate_float32_{target}",
            lambda x, target=target: tf.saturate_cast(x, target),
            np.array([-1e3, -1.5, 0.5, 99.9, 3e5], np.float32),
        )
        family.add(
            f"saturate_int32_{target}",
            lambda x, target=target: tf.saturate_cast(x, target),
            np.array([-100000, -5, 7, 200, 100000], np.int32),
        )
    family.add("truncate_float_int", lambda x: tf.cast(x, tf.int32), np.array([-2.7, -0.5, 0.5, 1.9, 2.5], np.float32))
    family.add("fractions_to_bool", lambda x: tf.cast(x, tf.bool), np.array([0.0, -0.0, 0.1, -3.0, 1e-30], np.float32))
    family.add("round_trip_half", lambda x: tf.cast(tf.cast(x, tf.float16), tf.float32), floats(3, 4))
    family.add("bool_count", lambda x: tf.reduce_sum(tf.cast(x > 0, tf.int32)), floats(3, 4))
    family.add("mask_product", lambda x, m: x * tf.cast(m, x.dtype), floats(3, 4), booleans(3, 4))
    family.add("int_average", lambda x: tf.cast(tf.reduce_sum(x), tf.float32) / 12.0, integers(3, 4))
    family.add("complex_drop", lambda x: tf.cast(x, tf.float32), complexes(3))
    family.add("to_string_and_back", lambda x: tf.strings.to_number(tf.strings.as_string(x), tf.int32), integers(3))


def _cast(x: tf.Tensor, target: str, *, back: bool) -> tf.Tensor:
    result = tf.cast(x, target)
    return tf.cast(result, tf.float32) if back else result
