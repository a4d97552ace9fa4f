"""Fake quantisation, quantise and dequantise, and the quantised ops of TensorFlow 1."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ops.case import Family, floats, integers

raw = tf.raw_ops


def add_cases(family: Family) -> None:
    for low, high in ((-1.0, 1.0), (0.0, 6.0), (-3.0, 0.0), (-0.4, 2.7), (0.3, 4.0)):
        for bits in (8, 4, 16, 2):
            for narrow in (False, True):
                if narrow and bits in (16, 4):
                    continue
                marks = f"{low}_{high}_{bits}{'_narrow' if narrow else ''}"
                keywords = {"num_bits": bits, "narrow_range": narrow}
                family.add(
                    f"FakeQuantWithMinMaxArgs_{marks}",
                    lambda x, a=low, b=high, k=keywords: raw.FakeQuantWithMinMaxArgs(inputs=x, min=a, max=b, **k),
                    floats(3, 4, low=-4, high=7),
                )
                family.add(
                    f"FakeQuantWithMinMaxVars_{marks}",
                    lambda x, a=low, b=high, k=keywords: raw.FakeQuantWithMinMaxVars(inputs=x, min=a, max=b, **k),
                    floats(3, 4, low=-4, high=7),
                )
    family.add(
        "FakeQuantWithMinMaxVars", lambda x: raw.FakeQuantWithMinMaxVars(inputs=x, min=-1.0, max=1.0), floats(3, 4), unknown="batch"
    )
    family.add(
        "FakeQuantWithMinMaxVars_at_run_time",
        lambda x, a, b: raw.FakeQuantWithMinMaxVars(inputs=x, min=a, max=b),
        floats(3, 4),
        np.float32(-1),
        np.float32(1.5),
    )
    family.add(
        "FakeQuantWithMinMaxVars_conv",
        lambda x: raw.FakeQuantWithMinMaxVars(inputs=tf.nn.conv2d(x, floats(3, 3, 2, 2), 1, "SAME"), min=-6.0, max=6.0),
        floats(1, 4, 4, 2),
    )
    family.add(
        "FakeQuant_weights",
        lambda x: tf.matmul(x, raw.FakeQuantWithMinMaxVars(inputs=floats(4, 3), min=-2.0, max=2.0)),
        floats(2, 4),
    )
    for bits in (8, 4):
        for narrow in (False, True):
            family.add(
                f"FakeQuantWithMinMaxVarsPerChannel_{bits}_{narrow}",
                lambda x, b=bits, n=narrow: raw.FakeQuantWithMinMaxVarsPerChannel(
                    inputs=x, min=[-1.0, -2.0, 0.0], max=[1.0, 1.0, 3.0], num_bits=b, narrow_range=n
                ),
                floats(4, 3),
            )
    family.add(
        "FakeQuantWithMinMaxVarsPerChannel_rank4",
        lambda x: raw.FakeQuantWithMinMaxVarsPerChannel(inputs=x, min=[-1.0, -2.0], max=[1.0, 1.0]),
        floats(1, 2, 2, 2),
    )
    for signed in (False, True):
        for given in (False, True):
            for narrow in (False, True):
                for rounding in ("HALF_TO_EVEN", "HALF_UP"):
                    marks = (
                        f"{'signed' if signed else 'unsigned'}{'_given' if given else ''}{'_narrow' if narrow else ''}_{rounding}"
                    )
                    low = -1.5 if signed else 0.0
                    build = lambda x, s=signed, g=given, n=narrow, r=rounding, a=low: raw.QuantizeAndDequantizeV2(
                        input=x, input_min=a, input_max=2.0, signed_input=s, range_given=g, narrow_range=n, round_mode=r
                    )
                    family.add(f"QuantizeAndDequantizeV2_{marks}", build, floats(3, 4, low=low * 1.2, high=2.4))
    for bits in (4, 6, 16):
        family.add(
            f"QuantizeAndDequantizeV2_bits_{bits}",
            lambda x, b=bits: raw.QuantizeAndDequantizeV2(input=x, input_min=-1.0, input_max=1.0, num_bits=b, range_given=True),
            floats(3, 4),
        )
    family.add(
        "QuantizeAndDequantizeV3",
        lambda x: raw.QuantizeAndDequantizeV3(input=x, input_min=-1.0, input_max=1.0, num_bits=8),
        floats(3, 4),
    )
    family.add(
        "QuantizeAndDequantizeV4",
        lambda x: raw.QuantizeAndDequantizeV4(input=x, input_min=-1.0, input_max=1.0, range_given=True),
        floats(3, 4),
    )
    family.add(
        "QuantizeAndDequantizeV2_axis",
        lambda x: raw.QuantizeAndDequantizeV2(
            input=x, input_min=[-1.0, -2.0, -3.0, -1.0], input_max=[1.0, 2.0, 3.0, 1.0], range_given=True, axis=1
        ),
        floats(3, 4),
    )
    family.add(
        "QuantizeAndDequantizeV2",
        lambda x: raw.QuantizeAndDequantizeV2(input=x, input_min=-1.0, input_max=1.0, range_given=True),
        floats(3, 4),
        unknown="batch",
    )
    for mode in ("MIN_COMBINED", "MIN_FIRST", "SCALED"):
        for dtype in (tf.quint8, tf.qint8):
            build = lambda x, m=mode, d=dtype: _round_trip(x, m, d)
            family.add(f"QuantizeV2_Dequantize_{mode}_{dtype.name}", build, floats(3, 4, low=-1, high=1))
    family.add(
        "Dequantize_uint8",
        lambda x: raw.Dequantize(input=tf.bitcast(x, tf.quint8), min_range=-1.0, max_range=2.0, mode="MIN_COMBINED"),
        integers(3, 4, low=0, high=256, dtype="uint8"),
    )
    family.add("quantised_by_hand", lambda x: (tf.clip_by_value(tf.round(x / 0.05) + 10.0, 0.0, 255.0) - 10.0) * 0.05, floats(3, 4))
    family.add(
        "dequantised_weights",
        lambda x: tf.matmul(x, tf.cast(tf.constant(integers(4, 3, dtype="int8")), tf.float32) * 0.1),
        floats(2, 4),
    )
    family.add(
        "dequantised_weights_per_channel",
        lambda x: tf.matmul(
            x, tf.cast(tf.constant(integers(4, 3, dtype="int8")), tf.float32) * np.array([0.1, 0.2, 0.3], np.float32)
        ),
        floats(2, 4),
    )
    family.add(
        "half_weights", lambda x: tf.matmul(x, tf.cast(tf.constant(floats(4, 3, dtype="float16")), tf.float32)), floats(2, 4)
    )
    family.add(
        "half_weights_conv",
        lambda x: tf.nn.conv2d(x, tf.cast(tf.constant(floats(3, 3, 2, 2, dtype="float16")), tf.float32), 1, "SAME"),
        floats(1, 4, 4, 2),
    )
    family.add(
        "bfloat16_weights",
        lambda x: tf.matmul(x, tf.cast(tf.cast(tf.constant(floats(4, 3)), tf.bfloat16), tf.float32)),
        floats(2, 4),
    )
    family.add(
        "uint8_lookup",
        lambda i: tf.cast(tf.gather(tf.constant(integers(6, 3, low=0, dtype="uint8")), i), tf.float32) * 0.1,
        integers(4, low=0, high=6),
    )
    family.add(
        "integer_matmul",
        lambda a, b: tf.matmul(tf.cast(a, tf.int32), tf.cast(b, tf.int32)),
        integers(2, 4, dtype="int8"),
        integers(4, 3, dtype="int8"),
    )
    family.add("binarised", lambda x: tf.matmul(tf.sign(x), tf.constant(np.sign(floats(4, 3)))), floats(2, 4))
    family.add("ternary", lambda x: tf.where(x > 0.5, 1.0, tf.where(x < -0.5, -1.0, 0.0)), floats(3, 4))


def _round_trip(x: tf.Tensor, mode: str, dtype: tf.DType) -> tf.Tensor:
    quantised = raw.QuantizeV2(
        input=x,
        min_range=-1.0,
        max_range=1.0,
        T=dtype,
        mode=mode,
        round_mode="HALF_TO_EVEN" if mode == "SCALED" else "HALF_AWAY_FROM_ZERO",
    )
    return raw.Dequantize(input=quantised.output, min_range=quantised.output_min, max_range=quantised.output_max, mode=mode)
