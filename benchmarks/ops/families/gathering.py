"""Gather and scatter in all forms, embedding lookups, stitching, partitioning, sparse to dense."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ops.case import Family, distinct, floats, integers, of

raw = tf.raw_ops

DTYPES = ("float32", "float16", "float64", "int8", "int16", "int32", "int64", "uint8", "bool", "string", "complex64")


def add_cases(family: Family) -> None:
    _gather(family)
    _gather_nd(family)
    _scatter(family)
    _stitching(family)
    _sparse(family)


def _places(*shape: int, high: int = 4, dtype: str = "int32", seed: int = 0) -> np.ndarray:
    return integers(*shape, low=0, high=high, dtype=dtype, seed=seed)


def _gather(family: Family) -> None:
    for dtype in DTYPES:
        family.add(f"GatherV2_{dtype}", lambda x, i: tf.gather(x, i), of(dtype, 4, 3), _places(5))
        family.add(f"GatherNd_{dtype}", tf.gather_nd, of(dtype, 4, 3), np.array([[0, 1], [3, 2]], np.int32))
    for axis in (0, 1, 2, -1, -2):
        for shape in ((), (2,), (2, 2)):
            family.add(
                f"GatherV2_axis_{axis}_indices_{len(shape)}",
                lambda x, i, a=axis: tf.gather(x, i, axis=a),
                floats(4, 4, 5),
                _places(*shape),
            )
    for batch_dims, axis, shape in ((1, 1, (2,)), (1, 2, (2, 3)), (2, 2, (2, 3, 2)), (1, -1, (2,)), (1, 1, (2, 3, 2))):
        indices = _places(*shape, high=3)
        family.add(
            f"GatherV2_batch_{batch_dims}_axis_{axis}_{len(shape)}",
            lambda x, i, b=batch_dims, a=axis: tf.gather(x, i, axis=a, batch_dims=b),
            floats(2, 3, 3),
            indices,
        )
    for index in ("int64", "int16"):
        family.add(f"GatherV2_{index}_indices", lambda x, i: tf.gather(x, i), floats(4, 3), _places(3, dtype=index))
    family.add("GatherV2_constant", lambda x: tf.gather(x, [2, 0, 2], axis=1), floats(2, 3), unknown="batch")
    family.add("GatherV2_table", lambda i: tf.gather(tf.constant(floats(5, 3)), i), _places(2, 4), unknown="sizes")
    family.add("GatherV2", tf.gather, floats(4, 3), _places(5), unknown="sizes")
    family.add("GatherV2_no_indices", tf.gather, floats(4, 3), np.zeros(0, np.int32))
    family.add("GatherV2_scalar_axis_1", lambda x: tf.gather(x, 1, axis=1), floats(3, 4))
    family.add("GatherV2_axis_at_run_time", lambda x, a: tf.gather(x, [0, 1], axis=a), floats(3, 4), np.int32(1))
    family.add("Gather_v1", lambda x, i: raw.Gather(params=x, indices=i), floats(4, 3), _places(3))
    family.add("ResourceGather", lambda i: tf.nn.embedding_lookup(tf.constant(floats(6, 3)), i), _places(2, 3, high=6))
    family.add(
        "embedding",
        lambda i: tf.nn.embedding_lookup(tf.constant(floats(6, 3)), i) * np.float32(np.sqrt(3)),
        _places(2, 3, high=6),
        unknown="batch",
    )
    family.add(
        "embedding_max_norm", lambda i: tf.nn.embedding_lookup(tf.constant(floats(6, 3)), i, max_norm=1.0), _places(4, high=6)
    )
    family.add(
        "embedding_sharded",
        lambda i: tf.compat.v1.nn.embedding_lookup([tf.constant(floats(3, 2)), tf.constant(floats(3, 2, seed=1))], i),
        _places(4, high=6),
    )
    family.add(
        "embedding_mean",
        lambda i: tf.reduce_mean(tf.gather(tf.constant(floats(6, 3)), i), 1),
        _places(2, 3, high=6),
        unknown="batch",
    )
    family.add(
        "embedding_one_hot", lambda i: tf.matmul(tf.one_hot(i, 6), tf.constant(floats(6, 3))), _places(4, high=6), unknown="batch"
    )
    family.add("take_along_axis", lambda x, i: tf.experimental.numpy.take_along_axis(x, i, 1), floats(2, 4), _places(2, 2))
    family.add("gather_best", lambda x: tf.gather(x, tf.argmax(x, 1), axis=1, batch_dims=1), distinct(3, 4), unknown="batch")


def _gather_nd(family: Family) -> None:
    for name, shape, indices in (
        ("elements", (4, 3), [[0, 0], [3, 2]]),
        ("rows", (4, 3), [[1], [3]]),
        ("blocks", (2, 3, 4), [[0], [1], [1]]),
        ("pairs", (2, 3, 4), [[0, 1], [1, 2]]),
        ("nested", (2, 3, 4), [[[0, 1]], [[1, 2]]]),
        ("single", (4, 3), [1, 2]),
        ("deep", (2, 2, 2, 2), [[0, 1, 0, 1], [1, 1, 1, 1]]),
        ("rank_5", (2, 1, 2, 1, 3), [[0, 0, 1], [1, 0, 0]]),
    ):
        family.add(f"GatherNd_{name}", tf.gather_nd, floats(*shape), np.array(indices, np.int32))
    family.add("GatherNd_whole", tf.gather_nd, floats(2, 3), np.zeros((2, 0), np.int32))
    family.add("GatherNd_int64", tf.gather_nd, floats(4, 3), np.array([[1], [2]], np.int64))
    family.add("GatherNd_none", tf.gather_nd, floats(4, 3), np.zeros((0, 2), np.int32))
    family.add("GatherNd", tf.gather_nd, floats(4, 3), np.array([[0, 1], [3, 2]], np.int32), unknown="batch")
    family.add(
        "GatherNd_batch", lambda x, i: tf.gather_nd(x, i, batch_dims=1), floats(2, 3, 4), np.array([[[0, 1]], [[2, 3]]], np.int32)
    )
    family.add("GatherNd_constant", lambda x: tf.gather_nd(x, [[0, 1], [1, 0]]), floats(2, 3))


def _scatter(family: Family) -> None:
    for dtype in DTYPES:
        family.add(f"ScatterNd_{dtype}", lambda i, v: tf.scatter_nd(i, v, [5, 3]), np.array([[1], [3]], np.int32), of(dtype, 2, 3))
    for name, indices, updates, shape in (
        ("elements", [[0], [3]], (2,), [5]),
        ("points", [[0, 1], [2, 2]], (2,), [3, 4]),
        ("rows", [[2], [0]], (2, 3), [4, 3]),
        ("blocks", [[1]], (1, 2, 3), [3, 2, 3]),
        ("repeated", [[1], [1], [3]], (3, 2), [4, 2]),
        ("nested", [[[0]], [[2]]], (2, 1, 3), [4, 3]),
    ):
        family.add(f"ScatterNd_{name}", lambda i, v, s=shape: tf.scatter_nd(i, v, s), np.array(indices, np.int32), floats(*updates))
        family.add(
            f"ScatterNd_{name}_int64",
            lambda i, v, s=shape: tf.scatter_nd(i, v, tf.constant(s, tf.int64)),
            np.array(indices, np.int64),
            floats(*updates),
        )
        for op in ("TensorScatterUpdate", "TensorScatterAdd", "TensorScatterSub", "TensorScatterMax", "TensorScatterMin"):
            if op == "TensorScatterUpdate" and name == "repeated":
                continue
            family.add(
                f"{op}_{name}",
                lambda x, i, v, op=op: getattr(raw, op)(tensor=x, indices=i, updates=v),
                floats(*shape, seed=2),
                np.array(indices, np.int32),
                floats(*updates),
            )
    for op in ("TensorScatterUpdate", "TensorScatterAdd", "TensorScatterSub", "TensorScatterMax", "TensorScatterMin"):
        for dtype in ("int32", "int64", "float16", "float64"):
            family.add(
                f"{op}_{dtype}",
                lambda x, i, v, op=op: getattr(raw, op)(tensor=x, indices=i, updates=v),
                of(dtype, 4, 2),
                np.array([[1], [3]], np.int32),
                of(dtype, 2, 2, seed=1),
            )
        family.add(
            op,
            lambda x, i, v, op=op: getattr(raw, op)(tensor=x, indices=i, updates=v),
            floats(4, 2),
            np.array([[1], [3]], np.int32),
            floats(2, 2, seed=1),
            unknown="sizes",
        )
    family.add(
        "TensorScatterUpdate_repeated_same",
        lambda x, i, v: raw.TensorScatterUpdate(tensor=x, indices=i, updates=v),
        floats(4, 2),
        np.array([[1], [1]], np.int32),
        np.ones((2, 2), np.float32),
    )
    family.add(
        "TensorScatterUpdate_bool",
        lambda x, i, v: raw.TensorScatterUpdate(tensor=x, indices=i, updates=v),
        of("bool", 4),
        np.array([[1]], np.int32),
        of("bool", 1, seed=1),
    )
    family.add(
        "ScatterNd_shape_at_run_time", tf.scatter_nd, np.array([[1], [3]], np.int32), floats(2, 3), np.array([5, 3], np.int32)
    )
    family.add("ScatterNd_nothing", lambda i, v: tf.scatter_nd(i, v, [4]), np.zeros((0, 1), np.int32), floats(0))
    family.add(
        "ScatterNdNonAliasingAdd",
        lambda x, i, v: raw.ScatterNdNonAliasingAdd(input=x, indices=i, updates=v),
        floats(4),
        np.array([[1], [1]], np.int32),
        floats(2),
    )
    for op in ("InplaceUpdate", "InplaceAdd", "InplaceSub"):
        family.add(op, lambda x, v, op=op: getattr(raw, op)(x=x + 0.0, i=[1, 2], v=v), floats(4, 3), floats(2, 3, seed=1))


def _stitching(family: Family) -> None:
    family.add("DynamicStitch", lambda a, b: tf.dynamic_stitch([[0, 2], [1, 3]], [a, b]), floats(2, 3), floats(2, 3, seed=1))
    family.add(
        "DynamicStitch_overwrites", lambda a, b: tf.dynamic_stitch([[0, 1, 2], [1, 3]], [a, b]), floats(3), floats(2, seed=1)
    )
    family.add(
        "DynamicStitch_matrix_indices",
        lambda a, b: tf.dynamic_stitch([[[0, 1], [4, 5]], [2, 3]], [a, b]),
        floats(2, 2, 3),
        floats(2, 3, seed=1),
    )
    family.add(
        "DynamicStitch_scalar", lambda a, b: tf.dynamic_stitch([tf.constant(1), [0, 2]], [a, b]), floats(3), floats(2, 3, seed=1)
    )
    family.add(
        "DynamicStitch_at_run_time",
        lambda i, j, a, b: tf.dynamic_stitch([i, j], [a, b]),
        np.array([2, 0], np.int32),
        np.array([1], np.int32),
        floats(2, 3),
        floats(1, 3, seed=1),
    )
    family.add(
        "ParallelDynamicStitch", lambda a, b: raw.ParallelDynamicStitch(indices=[[0, 2], [1]], data=[a, b]), floats(2), floats(1)
    )
    family.add("DynamicPartition_two", lambda x: tf.dynamic_partition(x, [0, 1, 0, 1], 2), floats(4, 3))
    family.add("DynamicPartition_three", lambda x, p: tf.dynamic_partition(x, p, 3), floats(5), np.array([0, 2, 2, 0, 1], np.int32))
    family.add(
        "DynamicPartition_empty_part", lambda x, p: tf.dynamic_partition(x, p, 3), floats(4), np.array([0, 2, 2, 0], np.int32)
    )
    family.add(
        "DynamicPartition_matrix",
        lambda x, p: tf.dynamic_partition(x, p, 2),
        floats(2, 3, 2),
        np.array([[0, 1, 0], [1, 1, 0]], np.int32),
    )
    family.add("DynamicPartition_int32", lambda x, p: tf.dynamic_partition(x, p, 2), integers(4), np.array([1, 0, 1, 0], np.int32))
    family.add("partition_and_stitch", _partition_and_stitch, floats(4, 3), np.array([0, 1, 1, 0], np.int32))


def _partition_and_stitch(x: tf.Tensor, which: tf.Tensor) -> tf.Tensor:
    parts = tf.dynamic_partition(x, which, 2)
    places = tf.dynamic_partition(tf.range(4), which, 2)
    return tf.dynamic_stitch(places, [parts[0] * 2.0, parts[1] - 1.0])


def _sparse(family: Family) -> None:
    for dtype in ("float32", "int32", "int64", "bool", "string", "uint8", "int8", "float64"):
        family.add(
            f"SparseToDense_{dtype}",
            lambda v: raw.SparseToDense(
                sparse_indices=[[0, 1], [2, 0]], output_shape=[3, 4], sparse_values=v, default_value=tf.zeros([], v.dtype)
            ),
            of(dtype, 2),
        )
    family.add(
        "SparseToDense_default",
        lambda v: raw.SparseToDense(sparse_indices=[1, 3], output_shape=[5], sparse_values=v, default_value=-1.0),
        floats(2),
    )
    family.add(
        "SparseToDense_scalar_value",
        lambda v: raw.SparseToDense(sparse_indices=[[0, 1], [2, 0]], output_shape=[3, 4], sparse_values=v, default_value=0.0),
        np.float32(2),
    )
    family.add(
        "SparseToDense_scalar_index",
        lambda v: raw.SparseToDense(sparse_indices=3, output_shape=[5], sparse_values=v, default_value=0.0),
        np.float32(2),
    )
    family.add(
        "SparseToDense_int64_indices",
        lambda i, v: raw.SparseToDense(
            sparse_indices=i, output_shape=tf.constant([3, 4], tf.int64), sparse_values=v, default_value=0.0
        ),
        np.array([[0, 1], [2, 0]], np.int64),
        floats(2),
    )
    places = np.array([[0, 0], [0, 2], [1, 1], [2, 0]], np.int64)
    sparse = lambda v: tf.SparseTensor(places, v, [3, 3])
    family.add("sparse_to_dense", lambda v: tf.sparse.to_dense(sparse(v)), floats(4))
    family.add("SparseTensorDenseMatMul", lambda v, x: tf.sparse.sparse_dense_matmul(sparse(v), x), floats(4), floats(3, 2))
    family.add(
        "SparseTensorDenseMatMul_adjoint",
        lambda v, x: tf.sparse.sparse_dense_matmul(sparse(v), x, adjoint_a=True),
        floats(4),
        floats(3, 2),
    )
    family.add("SparseReduceSum", lambda v: tf.sparse.reduce_sum(sparse(v), 1), floats(4))
    family.add("SparseReduceMax", lambda v: tf.sparse.reduce_max(sparse(v), 1), floats(4))
    family.add("SparseReorder", lambda v: tf.sparse.reorder(tf.SparseTensor(places[::-1], v, [3, 3])).values, floats(4))
    family.add("SparseReshape", lambda v: tf.sparse.reshape(sparse(v), [9]).indices, floats(4))
    family.add("SparseTensorDenseAdd", lambda v, x: tf.sparse.add(sparse(v), x), floats(4), floats(3, 3))
    family.add("SparseSlice", lambda v: tf.sparse.to_dense(tf.sparse.slice(sparse(v), [0, 0], [2, 2])), floats(4))
    family.add("SparseConcat", lambda v: tf.sparse.to_dense(tf.sparse.concat(1, [sparse(v), sparse(v)])), floats(4))
    family.add("SparseSoftmax", lambda v: tf.sparse.softmax(tf.SparseTensor(places, v, [3, 3])).values, floats(4))
    family.add(
        "SparseFillEmptyRows",
        lambda v: list(
            raw.SparseFillEmptyRows(
                indices=np.array([[0, 0], [2, 1]], np.int64), values=v, dense_shape=np.array([4, 2], np.int64), default_value=7.0
            )
        ),
        floats(2),
    )
    family.add(
        "from_dense", lambda x: [tf.sparse.from_dense(x).indices, tf.sparse.from_dense(x).values], integers(3, 3, low=-1, high=2)
    )
    family.add(
        "embedding_lookup_sparse",
        lambda v: tf.nn.embedding_lookup_sparse(
            tf.constant(floats(5, 3)), tf.SparseTensor(places, v, [3, 3]), None, combiner="mean"
        ),
        np.array([0, 4, 2, 1], np.int64),
    )
    family.add(
        "embedding_lookup_sparse_sum",
        lambda v: tf.nn.embedding_lookup_sparse(
            tf.constant(floats(5, 3)), tf.SparseTensor(places, v, [3, 3]), None, combiner="sum"
        ),
        np.array([0, 4, 2, 1], np.int64),
    )
    family.add("ragged_to_dense", lambda v: tf.RaggedTensor.from_row_splits(v, [0, 2, 2, 5]).to_tensor(), floats(5))
    family.add("RaggedRange", lambda n: list(raw.RaggedRange(starts=[0, 3], limits=n, deltas=1)), np.array([2, 6], np.int32))
    family.add("RaggedGather", _ragged_gather, floats(5))
    family.add(
        "RaggedTensorToTensor",
        lambda v: raw.RaggedTensorToTensor(
            shape=[-1, -1],
            values=v,
            default_value=0.0,
            row_partition_tensors=[tf.constant([0, 2, 2, 5], tf.int64)],
            row_partition_types=["ROW_SPLITS"],
        ),
        floats(5),
    )
    family.add("ragged_sum", lambda v: tf.reduce_sum(tf.RaggedTensor.from_row_splits(v, [0, 2, 2, 5]), 1), floats(5))
    family.add("ragged_gather", lambda v: tf.gather(tf.RaggedTensor.from_row_splits(v, [0, 2, 2, 5]), [2, 0]).values, floats(5))


def _ragged_gather(values: tf.Tensor) -> list[tf.Tensor]:
    splits = tf.constant([0, 2, 2, 5], tf.int64)
    gathered = raw.RaggedGather(params_nested_splits=[splits], params_dense_values=values, indices=[2, 0], OUTPUT_RAGGED_RANK=1)
    return [*gathered.output_nested_splits, gathered.output_dense_values]
