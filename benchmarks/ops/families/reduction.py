"""Reductions, arg-reductions, running sums and products, counting."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ops.case import Family, booleans, complexes, distinct, floats, integers, of

raw = tf.raw_ops


def _one(axis: object) -> object:
    """tf.norm takes one axis as a number, two as a tuple."""
    return (axis[0] if len(axis) == 1 else tuple(axis)) if isinstance(axis, list) else axis


OPS = {
    "Sum": tf.reduce_sum,
    "Mean": tf.reduce_mean,
    "Max": tf.reduce_max,
    "Min": tf.reduce_min,
    "Prod": tf.reduce_prod,
    "All": tf.reduce_all,
    "Any": tf.reduce_any,
}
COMPOSED = {
    "logsumexp": tf.reduce_logsumexp,
    "euclidean_norm": tf.math.reduce_euclidean_norm,
    "std": tf.math.reduce_std,
    "variance": tf.math.reduce_variance,
    "moments": lambda x, axis=None, keepdims=False: tf.nn.moments(x, [0] if axis is None else axis, keepdims=keepdims),
    "norm": lambda x, axis=None, keepdims=False: tf.norm(x, axis=_one(axis), keepdims=keepdims),
    "norm_1": lambda x, axis=None, keepdims=False: tf.norm(x, ord=1, axis=_one(axis), keepdims=keepdims),
    "norm_inf": lambda x, axis=None, keepdims=False: tf.norm(x, ord=np.inf, axis=_one(axis), keepdims=keepdims),
    "count_nonzero": lambda x, axis=None, keepdims=False: tf.math.count_nonzero(x > 0, axis, keepdims, dtype=tf.int32),
    "zero_fraction": lambda x, axis=None, keepdims=False: tf.nn.zero_fraction(tf.nn.relu(x)),  # noqa: ARG005
}
DTYPES = {
    "Sum": ("float32", "float16", "float64", "int8", "int16", "int32", "int64", "uint8", "complex64"),
    "Mean": ("float32", "float16", "float64", "int8", "int32", "int64", "uint8", "complex64"),
    "Max": ("float32", "float16", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32"),
    "Min": ("float32", "float16", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32"),
    "Prod": ("float32", "float16", "float64", "int8", "int16", "int32", "int64", "uint8", "complex64"),
    "All": ("bool",),
    "Any": ("bool",),
}
AXES: tuple[tuple[tuple[int, ...], object, bool], ...] = (
    ((2, 3), None, False),
    ((2, 3), 0, False),
    ((2, 3), -1, True),
    ((2, 3, 4), [0, 2], False),
    ((2, 3, 4), [-2], True),
    ((2, 3, 2, 2), [1, 2], False),
    ((2, 3, 2, 2), [1, 2], True),
    ((2, 3, 2, 2), [-1, 0], False),
    ((2, 2, 2, 2, 2), [1, 3], False),
    ((1, 2, 1, 2, 1, 2), [1, 5], True),
    ((4,), [0], False),
    ((2, 3), [], False),
    ((), None, False),
    ((2, 0), 1, False),
    ((0, 3), 1, False),
    ((3, 1, 2), [1], False),
)


def add_cases(family: Family) -> None:
    for op, reduce in OPS.items():
        main = DTYPES[op][0]
        for dtype in DTYPES[op]:
            family.add(f"{op}_{dtype}", lambda x, reduce=reduce: reduce(x, 1), of(dtype, 3, 4, low=-3, high=4))
        for shape, axis, keepdims in AXES:
            family.add(_name(op, shape, axis, keepdims), lambda x, r=reduce, a=axis, k=keepdims: r(x, a, k), of(main, *shape))
        for unknown in ("batch", "sizes", "rank"):
            family.add(f"{op}_last", lambda x, r=reduce: r(x, -1), of(main, 2, 3, 4), unknown=unknown)
            family.add(f"{op}_all", lambda x, r=reduce: r(x), of(main, 2, 3), unknown=unknown)
        family.add(f"{op}_image", lambda x, r=reduce: r(x, [1, 2]), of(main, 2, 3, 4, 2), unknown="batch")
        family.add(f"{op}_batch", lambda x, r=reduce: r(x, 0), of(main, 3, 4), unknown="batch")
        family.add(f"{op}_nothing", lambda x, r=reduce: r(x), of(main, 0))
    for name, reduce in COMPOSED.items():
        for shape, axis, keepdims in AXES[:7]:
            family.add(
                _name(name, shape, axis, keepdims), lambda x, r=reduce, a=axis, k=keepdims: r(x, axis=a, keepdims=k), floats(*shape)
            )
        family.add(name, lambda x, r=reduce: r(x, axis=[1]), floats(3, 4), unknown="batch")
    for op in ("Max", "Min", "Sum", "Mean"):
        odd = np.array([[-np.inf, 1, 2], [np.inf, 3, -np.inf], [0, -0.0, 5]], np.float32)
        family.add(f"{op}_infinite", lambda x, r=OPS[op]: r(x, 1), odd)
    _arguments(family)
    _running(family)
    _counting(family)


def _name(op: str, shape: tuple[int, ...], axis: object, keepdims: bool) -> str:
    axes = "all" if axis is None else "_".join(map(str, axis)) if isinstance(axis, list) else str(axis)
    return f"{op}_{'x'.join(map(str, shape)) or 'scalar'}_axes_{axes or 'none'}" + ("_kept" if keepdims else "")


def _arguments(family: Family) -> None:
    for name, find in (("ArgMax", tf.argmax), ("ArgMin", tf.argmin)):
        for dtype in ("float32", "float16", "float64", "int8", "int32", "int64", "uint8"):
            array = (
                distinct(3, 4, dtype="float32").astype(dtype)
                if not dtype.startswith("u")
                else np.argsort(distinct(3, 4).ravel()).reshape(3, 4).astype(dtype)
            )
            family.add(f"{name}_{dtype}", lambda x, find=find: find(x, 1), array)
        for shape, axis in (
            ((3, 4), 0),
            ((2, 3, 4), 1),
            ((2, 3, 4), -2),
            ((5,), 0),
            ((2, 1, 3, 2), 2),
            ((2, 1, 3, 1, 2), 2),
            ((0, 3), 1),
            ((3, 1), -1),
        ):
            family.add(f"{name}_{len(shape)}_axis_{axis}", lambda x, find=find, axis=axis: find(x, axis), distinct(*shape))
        family.add(f"{name}_int32_result", lambda x, find=find: find(x, 1, output_type=tf.int32), distinct(3, 4))
        family.add(name, lambda x, find=find: find(x, -1), distinct(3, 4), unknown="batch")
        family.add(name, lambda x, find=find: find(x, -1, output_type=tf.int32), distinct(3, 4), unknown="sizes")
        family.add(
            f"{name}_ties", lambda x, find=find: find(x, -1), np.array([[1, 3, 3, 1], [2, 2, 2, 2], [0, -1, -1, 0]], np.float32)
        )
        family.add(f"{name}_bool", lambda x, find=find: find(x, -1), booleans(3, 4))
        family.add(f"{name}_axis_at_run_time", find, distinct(3, 4), np.int32(1))


def _running(family: Family) -> None:
    for name, run in (("Cumsum", tf.cumsum), ("Cumprod", tf.math.cumprod)):
        for exclusive in (False, True):
            for reverse in (False, True):
                marks = ("_exclusive" if exclusive else "") + ("_reverse" if reverse else "")
                for shape, axis in (((5,), 0), ((3, 4), -1), ((3, 4), 0), ((2, 3, 2), 1)):
                    family.add(
                        f"{name}{marks}_{len(shape)}_axis_{axis}",
                        lambda x, run=run, axis=axis, e=exclusive, r=reverse: run(x, axis, e, r),
                        floats(*shape),
                    )
                family.add(
                    f"{name}{marks}", lambda x, run=run, e=exclusive, r=reverse: run(x, 1, e, r), floats(3, 4), unknown="batch"
                )
        for dtype in ("int32", "int64", "int8", "float16", "float64", "complex64"):
            family.add(f"{name}_{dtype}", lambda x, run=run: run(x, 1), of(dtype, 3, 4, low=-2, high=3))
        family.add(f"{name}_empty", lambda x, run=run: run(x, 1), floats(2, 0))
        family.add(f"{name}_along_unknown", lambda x, run=run: run(x, 0), floats(4, 2), unknown="sizes")
        family.add(f"{name}_rank5", lambda x, run=run: run(x, 2), floats(1, 2, 3, 1, 2))
    family.add("cumulative_logsumexp", lambda x: tf.math.cumulative_logsumexp(x, 1), floats(3, 4))
    family.add("cumulative_logsumexp_reverse", lambda x: tf.math.cumulative_logsumexp(x, 1, reverse=True), floats(3, 4))
    family.add("cumulative_logsumexp_exclusive", lambda x: tf.math.cumulative_logsumexp(x, 0, exclusive=True), floats(3, 4))
    family.add("cummax_by_loop", lambda x: tf.stack([tf.reduce_max(x[: k + 1]) for k in range(5)]), floats(5))


def _counting(family: Family) -> None:
    family.add("Bincount", lambda x: tf.math.bincount(x, minlength=6, maxlength=6), integers(10, low=0, high=6))
    family.add("Bincount_grows", lambda x: tf.math.bincount(x), integers(10, low=0, high=6))
    family.add(
        "Bincount_weights", lambda x, w: tf.math.bincount(x, w, minlength=6, maxlength=6), integers(10, low=0, high=6), floats(10)
    )
    family.add("Bincount_rows", lambda x: tf.math.bincount(x, minlength=5, maxlength=5, axis=-1), integers(3, 6, low=0, high=5))
    for binary in (False, True):
        for shape in ((8,), (3, 5)):
            build = lambda x, b=binary: raw.DenseBincount(input=x, size=6, weights=tf.zeros([0], tf.int32), binary_output=b)
            family.add(f"DenseBincount_{len(shape)}_{'binary' if binary else 'count'}", build, integers(*shape, low=0, high=6))
    family.add(
        "DenseBincount_weights", lambda x, w: raw.DenseBincount(input=x, size=6, weights=w), integers(8, low=0, high=6), floats(8)
    )
    family.add(
        "DenseBincount_int64",
        lambda x: raw.DenseBincount(input=x, size=tf.constant(6, tf.int64), weights=tf.zeros([0], tf.float32)),
        integers(8, low=0, high=6, dtype="int64"),
    )
    family.add("Bincount_raw", lambda x: raw.Bincount(arr=x, size=6, weights=tf.zeros([0], tf.int32)), integers(10, low=0, high=6))
    family.add("Bincount_raw_weights", lambda x, w: raw.Bincount(arr=x, size=6, weights=w), integers(10, low=0, high=6), floats(10))
    family.add("InTopK", lambda p, t: raw.InTopK(predictions=p, targets=t, k=2), distinct(4, 5), integers(4, low=0, high=5))
    family.add("histogram", lambda x: tf.histogram_fixed_width(x, [0.0, 5.0], nbins=5), floats(20, low=-1, high=6))
    family.add("histogram_bins", lambda x: tf.histogram_fixed_width_bins(x, [0.0, 5.0], nbins=5), floats(3, 4, low=-1, high=6))
    family.add("Bucketize", lambda x: raw.Bucketize(input=x, boundaries=[-1.0, 0.0, 1.5]), floats(3, 4))
    family.add("Bucketize_int32", lambda x: raw.Bucketize(input=x, boundaries=[-2.0, 0.0, 4.0]), integers(3, 4), unknown="batch")
    family.add(
        "confusion_matrix",
        lambda a, b: tf.math.confusion_matrix(a, b, num_classes=4),
        integers(9, low=0, high=4),
        integers(9, low=0, high=4, seed=1),
    )
    family.add(
        "top_1_accuracy",
        lambda x, y: tf.reduce_mean(tf.cast(tf.equal(tf.argmax(x, -1, tf.int32), y), tf.float32)),
        distinct(6, 4),
        integers(6, low=0, high=4),
    )
    family.add("in_top_k", lambda p, t: tf.math.in_top_k(t, p, 2), distinct(4, 5), integers(4, low=0, high=5))
    family.add("l1_distance", lambda a, b: tf.reduce_mean(tf.abs(a - b), -1), floats(3, 4), floats(3, 4, seed=1))
    family.add(
        "complex_sum", lambda a, b: tf.math.real(tf.reduce_sum(tf.complex(a, b) * tf.complex(b, a))), floats(4), floats(4, seed=1)
    )
    family.add("axis_at_run_time", tf.reduce_sum, floats(3, 4), np.int32(1))
    family.add("axes_at_run_time", tf.reduce_max, floats(3, 4, 2), np.array([0, 2], np.int32))
    family.add("complex_prod", lambda x: tf.reduce_prod(x, 1), complexes(2, 3))
