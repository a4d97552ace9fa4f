"""Pooling of one to three dimensions, with argmax, fractional, and undone."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ops.case import Family, distinct, floats, integers

raw = tf.raw_ops


def add_cases(family: Family) -> None:
    for op, pool in (("MaxPool", tf.nn.max_pool2d), ("AvgPool", tf.nn.avg_pool2d)):
        for window in ((2, 2), (3, 3), (1, 2), (3, 2)):
            for stride in ((1, 1), (2, 2), (2, 1)):
                for padding in ("SAME", "VALID"):
                    name = f"{op}_w{window[0]}x{window[1]}_s{stride[0]}x{stride[1]}_{padding}"
                    family.add(name, lambda x, f=pool, w=window, s=stride, p=padding: f(x, w, s, p), floats(1, 5, 6, 2))
        family.add(op, lambda x, f=pool: f(x, 2, 2, "SAME"), floats(2, 5, 6, 2), unknown="batch")
        family.add(
            f"{op}_unknown_image", lambda x, f=pool: f(x, 2, 2, "VALID"), floats(1, 5, 6, 2), shapes=((None, None, None, 2),)
        )
        family.add(f"{op}_global", lambda x, f=pool: f(x, (5, 6), 1, "VALID"), floats(2, 5, 6, 2))
        family.add(f"{op}_window_beyond", lambda x, f=pool: f(x, 7, 1, "SAME"), floats(1, 4, 4, 2))
        family.add(f"{op}_empty", lambda x, f=pool: f(x, 2, 2, "SAME"), floats(0, 4, 4, 2))
        family.add(f"{op}_then_relu", lambda x, f=pool: tf.nn.relu(f(x, 2, 2, "SAME")), floats(1, 5, 6, 2))
        for dtype in ("float16", "float64"):
            family.add(f"{op}_{dtype}", lambda x, f=pool: f(x, 2, 2, "SAME"), floats(1, 5, 6, 2, dtype=dtype))
        for padding in ("SAME", "VALID"):
            family.add(
                f"{op}_NCHW_{padding}",
                lambda x, f=pool, p=padding: f(x, 2, 2, p, data_format="NCHW"),
                floats(1, 2, 5, 6),
                reference=lambda x, f=pool, p=padding: tf.transpose(f(tf.transpose(x, [0, 2, 3, 1]), 2, 2, p), [0, 3, 1, 2]),
            )
    for dtype in ("int8", "uint8", "int16", "int32", "int64"):
        family.add(
            f"MaxPool_{dtype}",
            lambda x: raw.MaxPool(input=x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME"),
            integers(1, 5, 6, 2, low=0, dtype=dtype),
        )
    family.add("MaxPool_explicit", lambda x: tf.nn.max_pool2d(x, 3, 2, [[0, 0], [1, 1], [0, 2], [0, 0]]), floats(1, 6, 5, 2))
    family.add(
        "MaxPool_explicit_negative",
        lambda x: tf.nn.max_pool2d(x, 3, 1, [[0, 0], [1, 1], [1, 1], [0, 0]]),
        floats(1, 4, 4, 2, low=-3, high=-1),
    )
    family.add(
        "MaxPool_channels",
        lambda x: raw.MaxPool(input=x, ksize=[1, 1, 1, 2], strides=[1, 1, 1, 2], padding="VALID"),
        floats(1, 3, 3, 4),
    )
    family.add(
        "MaxPoolV2", lambda x: raw.MaxPoolV2(input=x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID"), floats(1, 5, 6, 2)
    )
    family.add(
        "MaxPoolV2_at_run_time",
        lambda x, k: raw.MaxPoolV2(input=x, ksize=k, strides=[1, 2, 2, 1], padding="VALID"),
        floats(1, 5, 6, 2),
        np.array([1, 2, 2, 1], np.int32),
    )
    for padding in ("SAME", "VALID"):
        for index in (tf.int32, tf.int64):
            for batched in (False, True):
                name = f"MaxPoolWithArgmax_{padding}_{index.name}{'_batched' if batched else ''}"
                family.add(
                    name,
                    lambda x, p=padding, i=index, b=batched: list(
                        tf.nn.max_pool_with_argmax(x, 2, 2, p, output_dtype=i, include_batch_in_index=b)
                    ),
                    distinct(2, 5, 4, 2),
                )
        family.add(
            f"MaxPoolWithArgmax_overlapping_{padding}",
            lambda x, p=padding: list(tf.nn.max_pool_with_argmax(x, 3, 1, p)),
            distinct(1, 4, 5, 2),
        )
    family.add(
        "MaxPoolWithArgmax", lambda x: list(tf.nn.max_pool_with_argmax(x, 2, 2, "SAME")), distinct(2, 4, 4, 2), unknown="batch"
    )
    family.add("unpool_by_argmax", _unpool, distinct(1, 4, 4, 2))
    for op, pool in (("MaxPool3D", tf.nn.max_pool3d), ("AvgPool3D", tf.nn.avg_pool3d)):
        for window in (2, 3, (1, 2, 2), (3, 1, 2)):
            for stride in (1, 2, (1, 2, 2)):
                for padding in ("SAME", "VALID"):
                    marks = f"{_flat(window)}_s{_flat(stride)}_{padding}"
                    family.add(
                        f"{op}_w{marks}", lambda x, f=pool, w=window, s=stride, p=padding: f(x, w, s, p), floats(1, 3, 4, 5, 2)
                    )
        family.add(op, lambda x, f=pool: f(x, 2, 2, "SAME"), floats(2, 3, 4, 3, 2), unknown="batch")
    for op in ("max", "avg"):
        pool1d = tf.nn.max_pool1d if op == "max" else tf.nn.avg_pool1d
        for window, stride in ((2, 2), (3, 1), (3, 2)):
            for padding in ("SAME", "VALID"):
                family.add(
                    f"{op}_pool1d_w{window}_s{stride}_{padding}",
                    lambda x, f=pool1d, w=window, s=stride, p=padding: f(x, w, s, p),
                    floats(2, 7, 3),
                )
        family.add(f"{op}_pool1d", lambda x, f=pool1d: f(x, 2, 2, "SAME"), floats(2, 7, 3), unknown="batch")
    for name, reduce in (("average", tf.reduce_mean), ("max", tf.reduce_max)):
        for keep in (False, True):
            family.add(
                f"global_{name}{'_kept' if keep else ''}",
                lambda x, r=reduce, k=keep: r(x, [1, 2], keepdims=k),
                floats(2, 4, 5, 3),
                unknown="batch",
            )
        family.add(f"global_{name}_3d", lambda x, r=reduce: r(x, [1, 2, 3]), floats(2, 3, 2, 3, 2))
        family.add(f"global_{name}_1d", lambda x, r=reduce: r(x, 1), floats(2, 5, 3), unknown="batch")
    for op in (raw.FractionalMaxPool, raw.FractionalAvgPool):
        for overlapping in (False, True):
            family.add(
                f"{op.__name__}_{overlapping}",
                lambda x, op=op, o=overlapping: list(
                    op(
                        value=x,
                        pooling_ratio=[1.0, 1.44, 1.73, 1.0],
                        pseudo_random=True,
                        overlapping=o,
                        deterministic=True,
                        seed=5,
                        seed2=7,
                    )
                ),
                floats(1, 7, 8, 2),
                comparison="shapes",
            )
    family.add(
        "MaxPoolGrad",
        lambda x, y, g: raw.MaxPoolGrad(
            orig_input=x, orig_output=y, grad=g, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID"
        ),
        distinct(1, 4, 4, 2),
        tf.nn.max_pool2d(distinct(1, 4, 4, 2), 2, 2, "VALID").numpy(),
        floats(1, 2, 2, 2),
    )
    family.add(
        "AvgPoolGrad",
        lambda g: raw.AvgPoolGrad(orig_input_shape=[1, 4, 4, 2], grad=g, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID"),
        floats(1, 2, 2, 2),
    )
    family.add(
        "spatial_pyramid",
        lambda x: tf.concat([tf.reshape(tf.nn.max_pool2d(x, size, size, "VALID"), [1, -1]) for size in (1, 2, 4)], 1),
        floats(1, 4, 4, 2),
    )
    family.add(
        "blur_pool",
        lambda x: tf.nn.depthwise_conv2d(x, np.full((3, 3, 2, 1), 1 / 9, np.float32), [1, 2, 2, 1], "SAME"),
        floats(1, 6, 6, 2),
    )
    family.add("pool_generic", lambda x: tf.nn.pool(x, [2, 2], "MAX", strides=[1, 1], padding="SAME"), floats(1, 5, 5, 2))
    family.add(
        "pool_generic_dilated", lambda x: tf.nn.pool(x, [2, 2], "AVG", dilations=[2, 2], padding="VALID"), floats(1, 6, 6, 2)
    )


def _flat(size: object) -> str:
    return "".join(map(str, size)) if isinstance(size, tuple) else str(size)


def _unpool(x: tf.Tensor) -> tf.Tensor:
    pooled, places = tf.nn.max_pool_with_argmax(x, 2, 2, "SAME")
    return tf.reshape(
        tf.scatter_nd(tf.reshape(places, [-1, 1]), tf.reshape(pooled, [-1]), tf.constant([32], tf.int64)), [1, 4, 4, 2]
    )
