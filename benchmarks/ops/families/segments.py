"""Segments: sorted, unsorted and sparse."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ops.case import Family, floats, of

raw = tf.raw_ops

SORTED = ("SegmentSum", "SegmentMean", "SegmentMax", "SegmentMin", "SegmentProd")
UNSORTED = ("UnsortedSegmentSum", "UnsortedSegmentMax", "UnsortedSegmentMin", "UnsortedSegmentProd")
DTYPES = ("float32", "float16", "float64", "int32", "int64", "int8", "uint8")


def add_cases(family: Family) -> None:
    for op in SORTED:
        build = lambda x, i, op=op: getattr(raw, op)(data=x, segment_ids=i)
        for dtype in DTYPES:
            family.add(f"{op}_{dtype}", build, of(dtype, 4, 3, low=-3, high=4), np.array([0, 0, 1, 2], np.int32))
        family.add(f"{op}_vector", build, floats(5), np.array([0, 1, 1, 1, 2], np.int32))
        family.add(f"{op}_gap", build, floats(4, 2), np.array([0, 0, 3, 3], np.int32))
        family.add(f"{op}_rank4", build, floats(3, 2, 1, 2), np.array([0, 1, 1], np.int32))
        family.add(f"{op}_int64_ids", build, floats(4, 2), np.array([0, 1, 1, 1], np.int64))
        family.add(f"{op}_constant_ids", lambda x, op=op: getattr(raw, op)(data=x, segment_ids=[0, 0, 1]), floats(3, 2))
        family.add(op, build, floats(4, 2), np.array([0, 1, 1, 1], np.int32), unknown="sizes")
        v2 = f"{op}V2"
        if hasattr(raw, v2):
            family.add(
                v2,
                lambda x, i, v2=v2: getattr(raw, v2)(data=x, segment_ids=i, num_segments=5),
                floats(4, 2),
                np.array([0, 0, 3, 3], np.int32),
            )
    for op in UNSORTED:
        build = lambda x, i, op=op: getattr(raw, op)(data=x, segment_ids=i, num_segments=4)
        for dtype in DTYPES:
            family.add(f"{op}_{dtype}", build, of(dtype, 4, 3, low=-3, high=4), np.array([2, 0, 2, 1], np.int32))
        family.add(f"{op}_vector", build, floats(5), np.array([3, 1, 1, 3, 0], np.int32))
        family.add(f"{op}_dropped", build, floats(4, 2), np.array([0, -1, 3, -1], np.int32))
        family.add(f"{op}_matrix_ids", build, floats(2, 3), np.array([[0, 1, 0], [2, 2, 0]], np.int32))
        family.add(f"{op}_rank4", build, floats(3, 2, 1, 2), np.array([1, 0, 1], np.int32))
        family.add(f"{op}_int64_ids", build, floats(4, 2), np.array([0, 1, 1, 3], np.int64))
        family.add(
            f"{op}_count_at_run_time",
            lambda x, i, n, op=op: getattr(raw, op)(data=x, segment_ids=i, num_segments=n),
            floats(4, 2),
            np.array([0, 1, 1, 3], np.int32),
            np.int32(5),
        )
        family.add(op, build, floats(4, 2), np.array([0, 1, 1, 3], np.int32), unknown="sizes")
        family.add(f"{op}_nothing", build, floats(0, 2), np.zeros(0, np.int32))
    family.add(
        "unsorted_segment_mean",
        lambda x, i: tf.math.unsorted_segment_mean(x, i, 4),
        floats(5, 2),
        np.array([3, 1, 1, 3, 0], np.int32),
    )
    family.add(
        "unsorted_segment_sqrt_n",
        lambda x, i: tf.math.unsorted_segment_sqrt_n(x, i, 4),
        floats(5, 2),
        np.array([3, 1, 1, 3, 0], np.int32),
    )
    for op in ("SparseSegmentSum", "SparseSegmentMean", "SparseSegmentSqrtN"):
        for index in (np.int32, np.int64):
            family.add(
                f"{op}_{index.__name__}",
                lambda x, i, s, op=op: getattr(raw, op)(data=x, indices=i, segment_ids=s),
                floats(4, 3),
                np.array([0, 2, 3], index),
                np.array([0, 0, 1], np.int32),
            )
        family.add(
            f"{op}_gap",
            lambda x, i, s, op=op: getattr(raw, op)(data=x, indices=i, segment_ids=s),
            floats(4, 3),
            np.array([0, 2, 3], np.int32),
            np.array([0, 0, 2], np.int32),
        )
        family.add(
            f"{op}WithNumSegments",
            lambda x, i, s, op=op: getattr(raw, f"{op}WithNumSegments")(data=x, indices=i, segment_ids=s, num_segments=4),
            floats(4, 3),
            np.array([0, 2, 3], np.int32),
            np.array([0, 0, 2], np.int32),
        )
        family.add(
            f"{op}_constant_ids", lambda x, op=op: getattr(raw, op)(data=x, indices=[0, 1, 1], segment_ids=[0, 1, 1]), floats(3, 2)
        )
    family.add(
        "mean_by_group",
        lambda x, i: tf.math.divide_no_nan(
            tf.math.unsorted_segment_sum(x, i, 3), tf.math.unsorted_segment_sum(tf.ones_like(x), i, 3)
        ),
        floats(5),
        np.array([0, 1, 1, 0, 0], np.int32),
    )
    family.add(
        "graph_message_passing",
        lambda x, a, b: tf.math.unsorted_segment_sum(tf.gather(x, a), b, 4),
        floats(4, 3),
        np.array([0, 1, 2, 3], np.int32),
        np.array([1, 1, 0, 2], np.int32),
    )
    family.add("segment_softmax", _segment_softmax, floats(5), np.array([0, 0, 1, 1, 1], np.int32))


def _segment_softmax(x: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    shifted = tf.exp(x - tf.gather(tf.math.unsorted_segment_max(x, ids, 2), ids))
    return shifted / tf.gather(tf.math.unsorted_segment_sum(shifted, ids, 2), ids)
