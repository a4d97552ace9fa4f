"""Control flow: conditions, cases, loops and functions, functional and as Switch and Merge; arrays and lists of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from ops.case import Family, floats, integers

raw = tf.raw_ops
ALL = ("function", "lowered", "v1")
V2 = ("function", "lowered")


def add_cases(family: Family) -> None:
    _conditions(family)
    _loops(family)
    _arrays(family)
    _functions(family)
    _order(family)


def _conditions(family: Family) -> None:
    for flag in (True, False):
        for name, then, other in (
            ("simple", lambda x: x + 1.0, lambda x: x * 2.0),
            ("constants", lambda x: tf.zeros([2, 3]), lambda x: tf.ones([2, 3]) * 3.0),  # noqa: ARG005
            ("identity", lambda x: x, lambda x: -x),
            ("reduced", lambda x: tf.reduce_sum(x, 0), lambda x: tf.reduce_max(x, 0)),
        ):
            family.each_form(
                f"cond_{name}_{flag}",
                lambda p, x, t=then, o=other: tf.cond(p, lambda: t(x), lambda: o(x)),
                np.bool_(flag),
                floats(2, 3),
                forms=ALL,
            )
        family.each_form(
            f"cond_two_outputs_{flag}",
            lambda p, x: tf.cond(p, lambda: (x, x + 1.0), lambda: (x * 2.0, x)),
            np.bool_(flag),
            floats(2, 3),
            forms=ALL,
        )
        family.each_form(
            f"cond_captures_{flag}",
            lambda p, x, y: tf.cond(p, lambda: x + y, lambda: x - y),
            np.bool_(flag),
            floats(3),
            floats(3, seed=1),
            forms=ALL,
        )
        family.each_form(
            f"cond_different_sizes_{flag}",
            lambda p, x: tf.cond(p, lambda: x[:1], lambda: x),
            np.bool_(flag),
            floats(3, 2),
            forms=ALL,
        )
        family.each_form(
            f"cond_nested_{flag}",
            lambda p, x: tf.cond(p, lambda: tf.cond(x[0] > 0, lambda: x, lambda: -x), lambda: x * 3.0),
            np.bool_(flag),
            floats(3),
            forms=ALL,
        )
        family.each_form(
            f"cond_integers_{flag}", lambda p, x: tf.cond(p, lambda: x // 2, lambda: x % 3), np.bool_(flag), integers(4), forms=ALL
        )
        family.each_form(
            f"cond_matmul_{flag}",
            lambda p, x: tf.cond(p, lambda: tf.matmul(x, floats(3, 2)), lambda: tf.matmul(x, floats(3, 2, seed=1))),
            np.bool_(flag),
            floats(2, 3),
            forms=ALL,
        )
    family.each_form("cond_computed", lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: x, lambda: -x), floats(3), forms=ALL)
    family.each_form(
        "cond_unknown_batch",
        lambda x: tf.cond(tf.shape(x)[0] > 2, lambda: x[:2], lambda: x),
        floats(3, 2),
        forms=ALL,
        unknown="batch",
    )
    family.each_form(
        "cond_constant_predicate", lambda x: tf.cond(tf.constant(True), lambda: x + 1.0, lambda: x - 1.0), floats(3), forms=ALL
    )
    for branch in (-1, 0, 1, 2, 7):
        family.each_form(
            f"switch_case_{branch}",
            lambda i, x: tf.switch_case(i, [lambda: x, lambda: x + 1.0, lambda: x * x]),
            np.int32(branch),
            floats(3),
            forms=V2,
        )
    family.each_form(
        "case_first_true",
        lambda x: tf.case([(x[0] > 9, lambda: x), (x[0] < 9, lambda: -x)], default=lambda: x * 0.0),
        floats(3),
        forms=ALL,
    )
    family.each_form(
        "case_exclusive", lambda x: tf.case([(x[0] > 0, lambda: x), (x[0] <= 0, lambda: -x)], exclusive=True), floats(3), forms=ALL
    )
    family.each_form(
        "cond_chain",
        lambda p, x: tf.cond(p, lambda: tf.nn.relu(x), lambda: x) + tf.cond(tf.logical_not(p), lambda: x, lambda: tf.square(x)),
        np.bool_(True),
        floats(3),
        forms=ALL,
    )


def _loops(family: Family) -> None:
    for count in (0, 1, 5):
        family.each_form(
            f"while_counted_{count}",
            lambda x, n=count: tf.while_loop(lambda i, _: i < n, lambda i, v: (i + 1, v * 1.5 + 1.0), (0, x))[1],
            floats(3),
            forms=ALL,
        )
        family.each_form(
            f"while_at_run_time_{count}",
            lambda n, x: tf.while_loop(lambda i, _: i < n, lambda i, v: (i + 1, v + x), (0, tf.zeros_like(x)))[1],
            np.int32(count),
            floats(3),
            forms=ALL,
        )
    family.each_form(
        "while_until",
        lambda x: tf.while_loop(lambda v: tf.reduce_sum(v) < 100.0, lambda v: (v * 2.0,), (tf.abs(x) + 0.1,))[0],
        floats(3),
        forms=ALL,
    )
    family.each_form(
        "while_two_values",
        lambda x: tf.while_loop(lambda i, *_: i < 6, lambda i, a, b: (i + 1, b, a + b), (0, x, x + 1.0))[1:],
        floats(2),
        forms=ALL,
    )
    family.each_form(
        "while_swaps",
        lambda x, y: tf.while_loop(lambda i, *_: i < 3, lambda i, a, b: (i + 1, b, a), (0, x, y))[1:],
        floats(2),
        floats(2, seed=1),
        forms=ALL,
    )
    family.each_form(
        "while_invariant",
        lambda x, w: tf.while_loop(lambda i, *_: i < 3, lambda i, v: (i + 1, tf.matmul(v, w)), (0, x))[1],
        floats(2, 3),
        floats(3, 3),
        forms=ALL,
    )
    family.each_form(
        "while_index",
        lambda x: tf.while_loop(lambda i, _: i < 4, lambda i, s: (i + 1, s + x[i]), (0, tf.zeros([2])))[1],
        floats(4, 2),
        forms=ALL,
    )
    family.each_form(
        "while_grows",
        lambda x: tf.while_loop(
            lambda i, _: i < 3,
            lambda i, v: (i + 1, tf.concat([v, x[None] + tf.cast(i, tf.float32)], 0)),
            (0, tf.zeros([1, 2])),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, 2])),
        )[1],
        floats(2),
        forms=ALL,
    )
    family.each_form(
        "while_nested",
        lambda x: tf.while_loop(
            lambda i, _: i < 2,
            lambda i, v: (
                i + 1,
                tf.while_loop(lambda j, _: j < 3, lambda j, w: (j + 1, w + tf.cast(i + j, tf.float32)), (0, v))[1],
            ),
            (0, x),
        )[1],
        floats(2),
        forms=ALL,
    )
    family.each_form(
        "while_with_cond",
        lambda x: tf.while_loop(
            lambda i, _: i < 4, lambda i, v: (i + 1, tf.cond(tf.equal(i % 2, 0), lambda: v + 1.0, lambda: v * 2.0)), (0, x)
        )[1],
        floats(2),
        forms=ALL,
    )
    family.each_form(
        "cond_with_while",
        lambda p, x: tf.cond(p, lambda: tf.while_loop(lambda i, _: i < 3, lambda i, v: (i + 1, v + 1.0), (0, x))[1], lambda: x),
        np.bool_(True),
        floats(2),
        forms=ALL,
    )
    family.each_form(
        "while_integers",
        lambda a, b: tf.while_loop(lambda _, y: y > 0, lambda x, y: (y, x % y), (a, b))[0],
        np.int32(84),
        np.int32(36),
        forms=ALL,
    )
    family.each_form(
        "while_bool_state",
        lambda x: tf.while_loop(lambda go, _: go, lambda _, v: (tf.reduce_max(v) < 8.0, v + 1.0), (True, x))[1],
        floats(3),
        forms=ALL,
    )
    family.each_form(
        "while_unused_output",
        lambda x: tf.while_loop(lambda i, *_: i < 3, lambda i, a, b: (i + 1, a + 1.0, b * 2.0), (0, x, x))[1],
        floats(3),
        forms=ALL,
    )
    family.each_form(
        "while_unknown_batch",
        lambda x: tf.while_loop(lambda i, _: i < 3, lambda i, v: (i + 1, tf.nn.relu(v) + 0.5), (0, x))[1],
        floats(2, 3),
        forms=ALL,
        unknown="batch",
    )
    family.each_form(
        "newton_root",
        lambda x: tf.while_loop(lambda i, _: i < 8, lambda i, r: (i + 1, 0.5 * (r + x / r)), (0, tf.ones_like(x)))[1],
        floats(3, low=1, high=9),
        forms=ALL,
    )
    family.each_form(
        "power_iteration",
        lambda m: tf.while_loop(
            lambda i, _: i < 5, lambda i, v: (i + 1, tf.math.l2_normalize(tf.linalg.matvec(m, v))), (0, tf.ones([3]))
        )[1],
        floats(3, 3, low=0.1, high=2),
        forms=ALL,
    )
    family.each_form("decode_greedy", _greedy, floats(5, 5), forms=V2)


def _greedy(table: tf.Tensor) -> tf.Tensor:
    def body(i: tf.Tensor, tokens: tf.Tensor) -> tuple[Any, ...]:
        following = tf.argmax(table[tokens[-1]], output_type=tf.int32)
        return i + 1, tf.concat([tokens, following[None]], 0)

    return tf.while_loop(
        lambda i, _: i < 4, body, (0, tf.constant([0])), shape_invariants=(tf.TensorShape([]), tf.TensorShape([None]))
    )[1]


def _arrays(family: Family) -> None:
    family.each_form("array_stack", lambda x: tf.TensorArray(tf.float32, 3).unstack(x).stack() * 2.0, floats(3, 2), forms=ALL)
    family.each_form(
        "array_write_read",
        lambda a, b: tf.TensorArray(tf.float32, 2, clear_after_read=False).write(0, a).write(1, b).stack(),
        floats(3),
        floats(3, seed=1),
        forms=ALL,
    )
    family.each_form("array_gather", lambda x: tf.TensorArray(tf.float32, 4).unstack(x).gather([3, 1]), floats(4, 2), forms=ALL)
    family.each_form(
        "array_concat",
        lambda a, b: tf.TensorArray(tf.float32, 2, infer_shape=False, element_shape=[None, 2]).write(0, a).write(1, b).concat(),
        floats(2, 2),
        floats(3, 2),
        forms=ALL,
    )
    family.each_form(
        "array_split", lambda x: tf.TensorArray(tf.float32, 2, infer_shape=False).split(x, [1, 3]).read(1), floats(4, 2), forms=ALL
    )
    family.each_form(
        "array_scatter", lambda x: tf.TensorArray(tf.float32, 3).scatter([2, 0, 1], x).stack(), floats(3, 2), forms=ALL
    )
    family.each_form("array_size", lambda x: tf.TensorArray(tf.float32, 3).unstack(x).size(), floats(3, 2), forms=ALL)
    family.each_form("array_in_loop", _squares, floats(4, 2), forms=ALL)
    family.each_form("array_dynamic_size", lambda x: _growing(x), floats(2), forms=ALL)
    family.each_form(
        "array_at_run_time",
        lambda n: tf.while_loop(lambda i, _: i < n, lambda i, a: (i + 1, a.write(i, i * i)), (0, tf.TensorArray(tf.int32, n)))[
            1
        ].stack(),
        np.int32(5),
        forms=ALL,
    )
    family.each_form("map_fn", lambda x: tf.map_fn(lambda row: tf.reduce_sum(row) * row, x), floats(3, 2), forms=ALL)
    family.each_form(
        "map_fn", lambda x: tf.map_fn(lambda row: tf.reduce_sum(row) * row, x), floats(3, 2), forms=ALL, unknown="batch"
    )
    family.each_form(
        "map_fn_two",
        lambda a, b: tf.map_fn(lambda pair: pair[0] * pair[1], (a, b), fn_output_signature=tf.float32),
        floats(3, 2),
        floats(3, 2, seed=1),
        forms=ALL,
    )
    family.each_form("foldl", lambda x: tf.foldl(lambda s, row: s * 0.5 + row, x), floats(4, 2), forms=ALL)
    family.each_form("foldr", lambda x: tf.foldr(lambda s, row: s * 0.5 + row, x), floats(4, 2), forms=ALL)
    family.each_form("scan", lambda x: tf.scan(lambda s, row: s + row, x), floats(4, 2), forms=ALL)
    family.each_form("scan_reverse", lambda x: tf.scan(lambda s, row: s + row, x, reverse=True), floats(4, 2), forms=ALL)
    family.each_form(
        "vectorized_map", lambda x: tf.vectorized_map(lambda row: tf.reduce_sum(row) * row, x), floats(3, 2), forms=("function",)
    )
    for op in ("stack", "reserve"):
        family.each_form(f"list_{op}", lambda x, op=op: _list(x, op), floats(3, 2), forms=("function",))
    family.add("list_push_pop", _push_pop, floats(3))
    family.add(
        "list_gather",
        lambda x: raw.TensorListGather(
            input_handle=raw.TensorListFromTensor(tensor=x, element_shape=[2]),
            indices=[2, 0],
            element_shape=[2],
            element_dtype=tf.float32,
        ),
        floats(3, 2),
    )
    family.add(
        "list_length",
        lambda x: raw.TensorListLength(input_handle=raw.TensorListFromTensor(tensor=x, element_shape=[2])),
        floats(3, 2),
    )
    family.add(
        "list_concat",
        lambda x: raw.TensorListConcatV2(
            input_handle=raw.TensorListFromTensor(tensor=x, element_shape=[2, 2]),
            element_dtype=tf.float32,
            element_shape=[2, 2],
            leading_dims=tf.zeros([0], tf.int64),
        )[0],
        floats(3, 2, 2),
    )
    family.add(
        "list_split",
        lambda x: raw.TensorListStack(
            input_handle=raw.TensorListSplit(tensor=x, element_shape=[2, 2], lengths=tf.constant([2, 2], tf.int64)),
            element_shape=[2, 2],
            element_dtype=tf.float32,
        ),
        floats(4, 2),
    )
    family.add(
        "list_scatter",
        lambda x: raw.TensorListStack(
            input_handle=raw.TensorListScatterV2(tensor=x, indices=[1, 0], element_shape=[2], num_elements=2),
            element_shape=[2],
            element_dtype=tf.float32,
        ),
        floats(2, 2),
    )
    family.add(
        "list_resize",
        lambda x: raw.TensorListLength(
            input_handle=raw.TensorListResize(input_handle=raw.TensorListFromTensor(tensor=x, element_shape=[2]), size=5)
        ),
        floats(3, 2),
    )


def _squares(x: tf.Tensor) -> tf.Tensor:
    source = tf.TensorArray(tf.float32, 4).unstack(x)
    return tf.while_loop(
        lambda i, _: i < 4, lambda i, a: (i + 1, a.write(i, tf.square(source.read(i)))), (0, tf.TensorArray(tf.float32, 4))
    )[1].stack()


def _growing(x: tf.Tensor) -> tf.Tensor:
    array = tf.TensorArray(tf.float32, 0, dynamic_size=True, element_shape=[2])
    return tf.while_loop(lambda i, _: i < 3, lambda i, a: (i + 1, a.write(i, x + tf.cast(i, tf.float32))), (0, array))[1].stack()


def _list(x: tf.Tensor, op: str) -> tf.Tensor:
    if op == "stack":
        handle = raw.TensorListFromTensor(tensor=x, element_shape=[2])
    else:
        handle = raw.TensorListReserve(element_shape=[2], num_elements=3, element_dtype=tf.float32)
        for index in range(3):
            handle = raw.TensorListSetItem(input_handle=handle, index=index, item=x[index] * 2.0)
    first = raw.TensorListGetItem(input_handle=handle, index=1, element_shape=[2], element_dtype=tf.float32)
    return raw.TensorListStack(input_handle=handle, element_shape=[2], element_dtype=tf.float32) + first


def _push_pop(x: tf.Tensor) -> tf.Tensor:
    handle = raw.EmptyTensorList(element_shape=[3], max_num_elements=-1, element_dtype=tf.float32)
    handle = raw.TensorListPushBack(input_handle=handle, tensor=x)
    handle = raw.TensorListPushBack(input_handle=handle, tensor=x * 2.0)
    rest, last = raw.TensorListPopBack(input_handle=handle, element_shape=[3], element_dtype=tf.float32)
    return last - raw.TensorListPopBack(input_handle=rest, element_shape=[3], element_dtype=tf.float32).tensor


def _functions(family: Family) -> None:
    @tf.function(autograph=False)
    def inner(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(x) + y

    @tf.function(autograph=False)
    def outer(x: tf.Tensor) -> tf.Tensor:
        return inner(x, inner(x, x * 2.0))

    @tf.function(autograph=False)
    def several(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.reduce_sum(x), x * 2.0

    family.add("call", lambda x: inner(x, x), floats(2, 3))
    family.add("call_nested", lambda x: outer(x) + 1.0, floats(2, 3), unknown="batch")
    family.add("call_several", lambda x: several(x), floats(2, 3))
    family.add("call_in_loop", lambda x: tf.while_loop(lambda i, _: i < 3, lambda i, v: (i + 1, outer(v)), (0, x))[1], floats(2))
    family.add("call_in_cond", lambda x: tf.cond(x[0] > 0, lambda: outer(x), lambda: inner(x, x)), floats(3))
    family.add("recompute", lambda x: tf.recompute_grad(lambda v: tf.square(v))(x), floats(3))
    family.add("custom_gradient", lambda x: tf.custom_gradient(lambda v: (tf.exp(v), lambda g: g))(x), floats(3))
    family.add("gradient_inside", lambda x: tf.gradients(tf.reduce_sum(tf.square(tf.sin(x))), x)[0], floats(3))
    family.add(
        "gradient_of_dense", lambda x: tf.gradients(tf.reduce_sum(tf.nn.relu(tf.matmul(x, floats(3, 2)))), x)[0], floats(2, 3)
    )
    family.add("composite", lambda x: tf.nn.relu(tf.nest.map_structure(lambda v: v * 2.0, [x])[0]), floats(3))


def _order(family: Family) -> None:
    """What only has effects is left out; what comes after it is not."""
    family.each_form(
        "assert", lambda x: _after([tf.debugging.assert_greater(tf.reduce_max(x), -99.0)], x), floats(3), forms=("function", "v1")
    )
    family.each_form(
        "assert_shapes",
        lambda x: _after([tf.debugging.assert_equal(tf.shape(x)[0], 3)], x),
        floats(3),
        forms=("function", "v1"),
        unknown="sizes",
    )
    family.each_form("assert_rank", lambda x: _after([tf.debugging.assert_rank(x, 2)], x), floats(3, 2), forms=("function", "v1"))
    family.each_form(
        "print",
        lambda x: _after([tf.print("value", tf.reduce_sum(x), output_stream="file:///dev/null")], x),
        floats(3),
        forms=("function", "v1"),
    )
    family.add("Print", lambda x: raw.Print(input=x, data=[x], message="value") * 2.0, floats(3), form="v1")
    family.add(
        "Case_with_random",
        lambda i, x: tf.switch_case(i, [lambda: x + 1.0, lambda: tf.random.normal([3], seed=1) * 0.0]),
        np.int32(1),
        floats(3),
    )
    family.add("control_dependencies", lambda x: _after([x * 3.0], x), floats(3), form="v1")
    family.add("group", lambda x: _after([tf.group(x + 1.0, x + 2.0)], x), floats(3), form="v1")
    family.add("tuple", lambda a, b: tf.tuple([a + 1.0, b * 2.0]), floats(3), floats(2), form="v1")
    family.add("Switch_Merge", _switch_merge, np.bool_(True), floats(3), form="v1")
    family.add("Switch_Merge_false", _switch_merge, np.bool_(False), floats(3), form="v1")
    family.add(
        "Merge_index",
        lambda p, x: list(raw.Merge(inputs=list(reversed(raw.Switch(data=x, pred=p))))),
        np.bool_(False),
        floats(3),
        form="v1",
    )


def _after(first: list[Any], x: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([each for each in first if each is not None]):
        return tf.identity(x) * 2.0


def _switch_merge(p: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    no, yes = raw.Switch(data=x, pred=p)
    return raw.Merge(inputs=[no * 2.0, yes + 1.0]).output
