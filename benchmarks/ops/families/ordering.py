"""Sorting, the largest k, searching, unique values, sets of values."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ops.case import Family, distinct, floats, integers

raw = tf.raw_ops


def add_cases(family: Family) -> None:
    for k in (0, 1, 2, 4):
        for shape in ((4,), (3, 5), (2, 2, 4)):
            family.add(f"TopKV2_{k}_{len(shape)}", lambda x, k=k: list(tf.math.top_k(x, k)), distinct(*shape))
    for dtype in ("float16", "float64", "int8", "int16", "int32", "int64", "uint8"):
        array = np.argsort(distinct(3, 5).ravel()).reshape(3, 5).astype(dtype)
        family.add(f"TopKV2_{dtype}", lambda x: list(tf.math.top_k(x, 3)), array)
        for direction in ("ASCENDING", "DESCENDING"):
            family.add(f"sort_{direction}_{dtype}", lambda x, d=direction: tf.sort(x, direction=d), array)
            family.add(f"argsort_{direction}_{dtype}", lambda x, d=direction: tf.argsort(x, direction=d), array)
    family.add("TopKV2_ties", lambda x: list(tf.math.top_k(x, 3)), np.array([[1, 3, 3, 2, 3], [0, 0, 0, 0, 0]], np.float32))
    family.add("TopKV2_unsorted_values", lambda x: tf.reduce_sum(tf.math.top_k(x, 3, sorted=False).values, -1), distinct(3, 5))
    family.add("TopKV2", lambda x: list(tf.math.top_k(x, 2)), distinct(3, 5), unknown="batch")
    family.add("TopKV2_at_run_time", lambda x, k: list(tf.math.top_k(x, k)), distinct(3, 5), np.int32(2))
    family.add("TopK_v1", lambda x: list(raw.TopK(input=x, k=2)), distinct(3, 5))
    family.add("top_k_values", lambda x: tf.math.top_k(x, 2).values, distinct(3, 5), unknown="batch")
    family.add("top_k_indices", lambda x: tf.math.top_k(x, 2).indices, distinct(3, 5), unknown="batch")
    family.add("smallest_k", lambda x: -tf.math.top_k(-x, 2).values, distinct(3, 5))
    for axis in (0, 1, 2, -2):
        family.add(f"sort_axis_{axis}", lambda x, a=axis: tf.sort(x, axis=a), distinct(3, 4, 2))
        family.add(f"argsort_axis_{axis}", lambda x, a=axis: tf.argsort(x, axis=a), distinct(3, 4, 2))
    family.add("sort_vector", tf.sort, distinct(7))
    family.add("sort", tf.sort, distinct(3, 4), unknown="batch")
    family.add("sort_open", tf.sort, distinct(3, 4), unknown="sizes")
    family.add("sort_descending_open", lambda x: tf.sort(x, direction="DESCENDING"), distinct(3, 4), unknown="sizes")
    family.add("argsort_stable", lambda x: tf.argsort(x, stable=True), np.array([2, 1, 2, 1, 0], np.int32))
    family.add("sort_one", tf.sort, distinct(3, 1))
    family.add("sort_infinite", tf.sort, np.array([np.inf, -1, -np.inf, 3], np.float32))
    family.add("rank_of_each", lambda x: tf.argsort(tf.argsort(x)), distinct(6))
    family.add("median", lambda x: tf.sort(x, axis=-1)[:, 2], distinct(3, 5))
    family.add("NthElement", lambda x: raw.NthElement(input=x, n=2), distinct(3, 5))
    family.add("NthElement_reverse", lambda x: raw.NthElement(input=x, n=1, reverse=True), distinct(3, 5))
    for side in ("left", "right"):
        for dtype in ("float32", "int32", "int64", "float64"):
            line = np.sort(np.arange(0, 12, 2)).astype(dtype)
            values = np.array([-1, 0, 3, 4, 99], dtype)
            family.add(f"searchsorted_{side}_{dtype}", lambda s, v, side=side: tf.searchsorted(s, v, side=side), line, values)
        family.add(
            f"searchsorted_{side}_rows",
            lambda s, v, side=side: tf.searchsorted(s, v, side=side),
            np.sort(distinct(2, 5), 1),
            floats(2, 3),
        )
        family.add(
            f"searchsorted_{side}_repeated",
            lambda s, v, side=side: tf.searchsorted(s, v, side=side),
            np.array([1, 2, 2, 2, 5], np.float32),
            np.array([2, 5, 1], np.float32),
        )
    family.add(
        "searchsorted_int64_result",
        lambda s, v: tf.searchsorted(s, v, out_type=tf.int64),
        np.array([1, 3, 5], np.float32),
        floats(4, low=0, high=6),
    )
    family.add(
        "searchsorted_constant",
        lambda v: tf.searchsorted(tf.constant([1.0, 3.0, 5.0]), v),
        floats(4, low=0, high=6),
        unknown="batch",
    )
    for dtype in ("float32", "int32", "int64", "int8", "uint8"):
        array = np.array([3, 1, 3, 2, 1, 7], dtype)
        family.add(f"Unique_{dtype}", lambda x: list(tf.unique(x)), array)
        family.add(f"UniqueWithCounts_{dtype}", lambda x: list(tf.unique_with_counts(x)), array)
    family.add("Unique_string", lambda x: list(tf.unique(x)), np.array([b"b", b"a", b"b"], object))
    family.add("Unique_int64_indices", lambda x: list(tf.unique(x, tf.int64)), np.array([3, 1, 3], np.float32))
    family.add("Unique_all_different", lambda x: list(tf.unique(x)), np.array([3, 1, 2], np.int32))
    family.add("Unique_empty", lambda x: list(tf.unique(x)), np.zeros(0, np.int32))
    family.add("Unique", lambda x: list(tf.unique(x)), np.array([3, 1, 3, 1], np.int32), unknown="sizes")
    family.add("UniqueWithCounts", lambda x: list(tf.unique_with_counts(x)), np.array([3, 1, 3, 1], np.int32), unknown="sizes")
    family.add("UniqueV2_axis_0", lambda x: list(raw.UniqueV2(x=x, axis=[0])), np.array([[1, 2], [3, 4], [1, 2]], np.int32))
    family.add("UniqueV2_axis_1", lambda x: list(raw.UniqueV2(x=x, axis=[1])), np.array([[1, 2, 1], [3, 4, 3]], np.int32))
    family.add("UniqueV2_flat", lambda x: list(raw.UniqueV2(x=x, axis=tf.zeros([0], tf.int64))), np.array([5, 5, 2], np.int32))
    for dtype in ("float32", "int32", "int64"):
        family.add(
            f"ListDiff_{dtype}",
            lambda a, b: list(raw.ListDiff(x=a, y=b)),
            np.array([1, 2, 3, 4, 2], dtype),
            np.array([2, 4], dtype),
        )
    family.add("UniqueWithCountsV2", lambda x: list(raw.UniqueWithCountsV2(x=x, axis=[0])), np.array([5, 5, 2], np.int32))
    family.add("NearestNeighbors", lambda x: list(raw.NearestNeighbors(points=x, centers=distinct(4, 3), k=2)), floats(5, 3))
    family.add(
        "ListDiff_nothing_left", lambda a, b: list(raw.ListDiff(x=a, y=b)), np.array([1, 2], np.int32), np.array([2, 1], np.int32)
    )
    family.add("ListDiff_constant", lambda a: raw.ListDiff(x=a, y=[2, 3])[0], np.array([1, 2, 5], np.int32), unknown="sizes")
    for op in ("LowerBound", "UpperBound"):
        family.add(
            op,
            lambda s, v, op=op: getattr(raw, op)(sorted_inputs=s, values=v),
            np.array([[1, 3, 5]], np.float32),
            np.array([[0, 3, 9]], np.float32),
        )
    family.add(
        "set_intersection",
        lambda a, b: tf.sparse.to_dense(tf.sets.intersection(a, b)),
        np.array([[1, 2, 3]], np.int32),
        np.array([[2, 3, 4]], np.int32),
    )
    family.add(
        "set_difference",
        lambda a, b: tf.sparse.to_dense(tf.sets.difference(a, b)),
        np.array([[1, 2, 3]], np.int32),
        np.array([[2, 3, 4]], np.int32),
    )
    family.add(
        "set_union",
        lambda a, b: tf.sparse.to_dense(tf.sets.union(a, b)),
        np.array([[1, 2, 3]], np.int32),
        np.array([[2, 3, 4]], np.int32),
    )
    family.add("set_size", lambda a: tf.sets.size(tf.sparse.from_dense(a)), np.array([[1, 2, 2], [3, 3, 3]], np.int32))
    family.add(
        "is_member",
        lambda x: tf.reduce_any(tf.equal(x[:, None], tf.constant([1, 5, 7])), -1),
        integers(6, low=0, high=9),
        unknown="batch",
    )
    family.add("is_sorted", lambda x: tf.reduce_all(x[1:] >= x[:-1]), distinct(5))
    family.add("is_non_decreasing", tf.math.is_non_decreasing, np.array([1, 2, 2], np.float32))
    family.add("is_strictly_increasing", tf.math.is_strictly_increasing, np.array([1, 2, 2], np.float32))
    family.add("approximate_top_k", lambda x: list(tf.math.approx_max_k(x, 2)), distinct(3, 5))
    family.add(
        "percentile_by_sort",
        lambda x: tf.sort(tf.reshape(x, [-1]))[tf.cast(tf.round(0.3 * tf.cast(tf.size(x) - 1, tf.float32)), tf.int32)],
        distinct(3, 4),
    )
    family.add(
        "ctc_greedy",
        lambda x: [tf.nn.ctc_greedy_decoder(x, [4])[0][0].values, tf.nn.ctc_greedy_decoder(x, [4])[1]],
        distinct(4, 1, 3),
    )
    family.add("ctc_beam", lambda x: tf.nn.ctc_beam_search_decoder(x, [4], beam_width=3)[0][0].values, distinct(4, 1, 3))
    family.add("viterbi_step", lambda s, t: tf.reduce_max(s[:, :, None] + t, 1), floats(2, 3), floats(3, 3))
