"""Variables, hash tables and other state, as they come in frozen graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from ops.case import Family, Lazily, floats, integers, words

raw = tf.raw_ops
v1 = tf.compat.v1


def add_cases(family: Family) -> None:
    _variables(family)
    _tables(family)


def _variables(family: Family) -> None:
    family.add("read_only", Lazily(_read_only), floats(2, 3))
    family.add("read_only_v1", lambda x: tf.matmul(x, v1.get_variable("w", initializer=floats(3, 2))), floats(2, 3), form="v1")
    family.add(
        "read_only_resource_v1",
        lambda x: x + v1.get_variable("w", initializer=floats(3), use_resource=True),
        floats(2, 3),
        form="v1",
    )
    family.add("sliced_variable", Lazily(lambda: _using(floats(5, 3), lambda x, w: x + w[1:3])), floats(2, 3))
    family.add(
        "gathered_variable",
        Lazily(lambda: _using(floats(5, 3), lambda x, w: tf.nn.embedding_lookup(w, x))),
        integers(4, low=0, high=5),
    )
    family.add(
        "variable_in_loop",
        Lazily(
            lambda: _using(
                floats(3, 3), lambda x, w: tf.while_loop(lambda i, _: i < 3, lambda i, v: (i + 1, tf.matmul(v, w)), (0, x))[1]
            )
        ),
        floats(2, 3),
    )
    family.add(
        "variable_in_cond",
        Lazily(lambda: _using(floats(3), lambda x, w: tf.cond(x[0] > 0, lambda: x + w, lambda: x - w))),
        floats(3),
    )
    family.add("integer_variable", Lazily(lambda: _using(integers(3), lambda x, w: x * w)), integers(2, 3))
    for name, change in (("assign", "assign"), ("assign_add", "assign_add"), ("assign_sub", "assign_sub")):
        family.add(f"{name}_then_read", lambda x, c=change: _changed(x, c), floats(3), form="v1")
    family.add("accumulated", _accumulated, floats(4), form="v1")
    family.add("scatter_update_variable", _scattered, np.array([1, 2], np.int32), floats(2, 3), form="v1")


def _read_only() -> Any:
    weights, bias = tf.Variable(floats(3, 2)), tf.Variable(floats(2))
    return lambda x: tf.matmul(x, weights) + bias


def _using(initial: Any, use: Any) -> Any:
    variable = tf.Variable(initial)
    return lambda x: use(x, variable)


def _handle(shape: list[int], name: str) -> tf.Tensor:
    """A variable that is set inside the graph: nothing of it can be frozen."""
    return raw.VarHandleOp(dtype=tf.float32, shape=shape, shared_name=name, container="")


def _changed(x: tf.Tensor, change: str) -> tf.Tensor:
    handle = _handle([3], f"state_{change}")
    with tf.control_dependencies([raw.AssignVariableOp(resource=handle, value=x * 2.0)]):
        op = {"assign": raw.AssignVariableOp, "assign_add": raw.AssignAddVariableOp, "assign_sub": raw.AssignSubVariableOp}[change]
        with tf.control_dependencies([op(resource=handle, value=x + 1.0)]):
            return raw.ReadVariableOp(resource=handle, dtype=tf.float32) * 1.0


def _accumulated(x: tf.Tensor) -> tf.Tensor:
    handle = _handle([4], "accumulator")
    done: list[Any] = [raw.AssignVariableOp(resource=handle, value=tf.zeros([4]))]
    for factor in (1.0, 2.0, 3.0):
        with tf.control_dependencies(done[-1:]):
            done.append(raw.AssignAddVariableOp(resource=handle, value=x * factor))
    with tf.control_dependencies(done[-1:]):
        return tf.reduce_sum(raw.ReadVariableOp(resource=handle, dtype=tf.float32))


def _scattered(places: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    handle = _handle([4, 3], "rows")
    cleared = tf.control_dependencies([raw.AssignVariableOp(resource=handle, value=tf.zeros([4, 3]))])
    with cleared, tf.control_dependencies([raw.ResourceScatterUpdate(resource=handle, indices=places, updates=rows)]):
        return raw.ReadVariableOp(resource=handle, dtype=tf.float32) + 0.0


KEYS = {
    "string": np.array([b"ferry", b"42", b"Tensor"], object),
    "int64": np.array([3, 1, 7], np.int64),
    "int32": np.array([3, 1, 7], np.int32),
}
VALUES = {
    "string": np.array([b"one", b"two", b""], object),
    "int64": np.array([10, 20, 30], np.int64),
    "float32": np.array([1.5, -2, 3], np.float32),
}


def _tables(family: Family) -> None:
    for key, value in (
        ("string", "int64"),
        ("int64", "string"),
        ("int64", "int64"),
        ("int64", "float32"),
        ("string", "float32"),
        ("string", "string"),
    ):
        default = {"string": b"?", "int64": np.int64(-1), "float32": np.float32(-1)}[value]
        asked = words(2, 3) if key == "string" else integers(2, 3, low=0, high=8, dtype="int64")
        for op in ("HashTableV2", "MutableHashTableV2"):
            build = lambda x, k=key, v=value, d=default, op=op: _looked_up(x, k, v, d, op)
            family.add(f"{op}_{key}_{value}", build, asked, form="v1")
            if op == "HashTableV2":
                family.add(f"{op}_{key}_{value}", build, asked, form="v1", unknown="sizes")
        family.add(f"table_size_{key}_{value}", lambda x, k=key, v=value: _size(x, k, v), asked, form="v1")
    family.add("HashTable_v1_ops", _old_table, words(4), form="v1")
    family.add("InitializeTableV2", _initialised, words(4), form="v1")
    family.add(
        "table_then_embedding",
        lambda x: tf.gather(tf.constant(floats(40, 3)), _looked_up(x, "string", "int64", np.int64(0), "HashTableV2")),
        words(4),
        form="v1",
    )
    family.add("string_to_hash_bucket", lambda x: tf.strings.to_hash_bucket_fast(x, 10), words(4))


def _filled(key: str, value: str, op: str) -> tuple[tf.Tensor, Any]:
    table = getattr(raw, op)(key_dtype=tf.as_dtype(key), value_dtype=tf.as_dtype(value), shared_name=f"{op}_{key}_{value}")
    filled = raw.LookupTableImportV2(table_handle=table, keys=tf.constant(KEYS[key]), values=tf.constant(VALUES[value]))
    return table, filled


def _looked_up(x: tf.Tensor, key: str, value: str, default: Any, op: str) -> tf.Tensor:
    table, filled = _filled(key, value, op)
    with tf.control_dependencies([filled]):
        return raw.LookupTableFindV2(table_handle=table, keys=x, default_value=tf.constant(default))


def _size(x: tf.Tensor, key: str, value: str) -> tf.Tensor:
    table, filled = _filled(key, value, "HashTableV2")
    with tf.control_dependencies([filled]):
        return raw.LookupTableSizeV2(table_handle=table) + tf.cast(tf.size(x), tf.int64)


def _old_table(x: tf.Tensor) -> tf.Tensor:
    """The ops of TensorFlow 1 before resources: a table is a reference to a string."""
    table = raw.HashTable(key_dtype=tf.string, value_dtype=tf.int64, shared_name="old")
    filled = raw.InitializeTable(table_handle=table, keys=tf.constant(KEYS["string"]), values=tf.constant(VALUES["int64"]))
    with tf.control_dependencies([filled]):
        return raw.LookupTableFind(table_handle=table, keys=x, default_value=tf.constant(-1, tf.int64))


def _initialised(x: tf.Tensor) -> tf.Tensor:
    table = raw.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64, shared_name="initialised")
    filled = raw.InitializeTableV2(table_handle=table, keys=tf.constant(KEYS["string"]), values=tf.constant(VALUES["int64"]))
    with tf.control_dependencies([filled]):
        return raw.LookupTableFindV2(table_handle=table, keys=x, default_value=tf.constant(-1, tf.int64))
