"""Slices: strided with every mask, plain, by hand, at run time, and slices that are written to."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ops.case import Family, floats, integers, of

raw = tf.raw_ops

NEW, REST = tf.newaxis, Ellipsis

SPECS: dict[str, tuple[tuple[int, ...], tuple[object, ...]]] = {
    "first": ((4, 3), (0,)),
    "last": ((4, 3), (-1,)),
    "range": ((5, 3), (slice(1, 3),)),
    "from_end": ((5, 3), (slice(-3, -1),)),
    "open_end": ((5, 3), (slice(2, None),)),
    "open_begin": ((5, 3), (slice(None, 2),)),
    "step": ((6, 3), (slice(None, None, 2),)),
    "step_3": ((7,), (slice(1, None, 3),)),
    "backwards": ((5, 3), (slice(None, None, -1),)),
    "backwards_2": ((6,), (slice(4, 0, -2),)),
    "backwards_from_end": ((6,), (slice(-2, None, -1),)),
    "nothing": ((5, 3), (slice(3, 3),)),
    "beyond": ((5, 3), (slice(2, 99),)),
    "before": ((5, 3), (slice(-99, 2),)),
    "inner": ((3, 5), (slice(None), slice(1, 4))),
    "inner_column": ((3, 5), (slice(None), 2)),
    "inner_last": ((3, 5), (slice(None), -1)),
    "ellipsis_last": ((2, 3, 4), (REST, 0)),
    "ellipsis_slice": ((2, 3, 4), (REST, slice(1, 3))),
    "ellipsis_middle": ((2, 3, 4, 2), (0, REST, 1)),
    "new_first": ((3, 4), (NEW,)),
    "new_middle": ((3, 4), (slice(None), NEW)),
    "new_last": ((3, 4), (REST, NEW)),
    "new_and_shrink": ((3, 4), (NEW, 1, slice(1, 3))),
    "new_twice": ((3,), (NEW, slice(None), NEW)),
    "shrink_all": ((3, 4), (1, 2)),
    "shrink_and_step": ((3, 6), (1, slice(None, None, 2))),
    "image_crop": ((1, 6, 6, 3), (slice(None), slice(1, 5), slice(2, 4))),
    "image_channels_reversed": ((1, 3, 3, 3), (REST, slice(None, None, -1))),
    "image_halved": ((1, 4, 4, 2), (slice(None), slice(None, None, 2), slice(1, None, 2))),
    "rank_5": ((2, 3, 2, 3, 2), (slice(None), slice(1, None), 0, slice(None, None, 2))),
    "rank_6": ((1, 2, 3, 1, 2, 2), (slice(None), 1, slice(0, 2))),
    "rank_6_steps": ((1, 2, 4, 1, 2, 2), (slice(None), slice(None), slice(None, None, 2), slice(None), slice(None, None, -1))),
    "everything": ((2, 4, 3, 5), (-1, NEW, slice(3, 0, -1), REST, slice(None, None, 2))),
    "empty": ((0, 3), (slice(None), slice(1, 2))),
}


def add_cases(family: Family) -> None:
    for name, (shape, spec) in SPECS.items():
        family.add(f"StridedSlice_{name}", lambda x, s=spec: x[s], floats(*shape))
        if 0 not in shape and len(shape) < 6 and not isinstance(spec[0], int):
            family.add(f"StridedSlice_{name}", lambda x, s=spec: x[s] * 2.0, floats(*shape), unknown="batch")
        if name in ("range", "from_end", "backwards", "inner_last", "ellipsis_slice", "step", "beyond", "image_crop"):
            family.add(f"StridedSlice_{name}", lambda x, s=spec: x[s], floats(*shape), unknown="sizes")
    for dtype in ("float16", "float64", "int8", "int16", "int32", "int64", "uint8", "bool", "string", "complex64", "uint32"):
        family.add(f"StridedSlice_{dtype}", lambda x: x[1:3, ::2], of(dtype, 4, 3))
        family.add(f"StridedSlice_backwards_{dtype}", lambda x: x[::-1, 1], of(dtype, 4, 3))
        family.add(f"Slice_{dtype}", lambda x: tf.slice(x, [1, 0], [2, 2]), of(dtype, 4, 3))
    for bits in range(8):
        marks = {"begin_mask": bits & 3, "end_mask": (bits >> 1) & 3, "shrink_axis_mask": 2 if bits == 5 else 0}
        family.add(
            f"StridedSlice_masks_{bits}",
            lambda x, m=marks: raw.StridedSlice(input=x, begin=[1, 0], end=[3, 2], strides=[1, 1], **m),
            floats(4, 3),
        )
    family.add(
        "StridedSlice_int64_bounds",
        lambda x: raw.StridedSlice(
            input=x, begin=tf.constant([1, 0], tf.int64), end=tf.constant([3, 2], tf.int64), strides=tf.constant([1, 1], tf.int64)
        ),
        floats(4, 3),
    )
    family.add("StridedSlice_end_at_run_time", lambda x, n: x[:n], floats(5, 2), np.int32(3))
    family.add("StridedSlice_begin_at_run_time", lambda x, n: x[n : n + 2], floats(5, 2), np.int32(1))
    family.add("StridedSlice_index_at_run_time", lambda x, n: x[n], floats(5, 2), np.int32(3))
    family.add("StridedSlice_negative_index_at_run_time", lambda x, n: x[:, n], floats(2, 5), np.int32(-2))
    family.add("StridedSlice_step_at_run_time", lambda x, n: x[::n], floats(5, 2), np.int32(2))
    family.add("StridedSlice_by_size", lambda x: x[: tf.shape(x)[0] // 2], floats(6, 2), unknown="sizes")
    family.add("StridedSlice_except_last", lambda x: x[:, :-1] - x[:, 1:], floats(2, 5), unknown="sizes")
    for begin, size in (([0, 0], [2, 2]), ([1, 1], [-1, 2]), ([0, 2], [3, -1]), ([2, 0], [0, 3]), ([3, 2], [1, 1])):
        family.add(f"Slice_{begin[0]}{begin[1]}_{size[0]}_{size[1]}", lambda x, b=begin, s=size: tf.slice(x, b, s), floats(4, 3))
    for rank in (1, 3, 4, 5, 6):
        shape = (3,) * rank if rank < 5 else (2, 1, 3, 2, 2, 1)[:rank]
        begin, size = [0] * (rank - 1) + [1 if shape[-1] > 1 else 0], [-1] * rank
        family.add(f"Slice_rank{rank}", lambda x, b=begin, s=size: tf.slice(x, b, s), floats(*shape))
    family.add("Slice", lambda x: tf.slice(x, [0, 1], [-1, 2]), floats(4, 3), unknown="batch")
    family.add("Slice_open", lambda x: tf.slice(x, [1, 1], [-1, -1]), floats(4, 3), unknown="sizes")
    family.add("Slice_int64", lambda x: tf.slice(x, tf.constant([1, 0], tf.int64), tf.constant([2, 2], tf.int64)), floats(4, 3))
    family.add("Slice_at_run_time", tf.slice, floats(4, 3), np.array([1, 1], np.int32), np.array([2, 2], np.int32))
    family.add("Slice_begin_at_run_time", lambda x, b: tf.slice(x, b, [2, 2]), floats(4, 3), np.array([1, 1], np.int32))
    _writing(family)
    _dynamic(family)


def _writing(family: Family) -> None:
    for name, spec, shape in (
        ("row", (1,), (3,)),
        ("range", (slice(1, 3),), (2, 3)),
        ("column", (slice(None), 2), (4,)),
        ("steps", (slice(None, None, 2), slice(0, 2)), (2, 2)),
        ("all", (slice(None),), (4, 3)),
        ("last", (-1, -1), ()),
    ):
        family.add(f"TensorStridedSliceUpdate_{name}", lambda x, v, s=spec: _updated(x, v, s), floats(4, 3), floats(*shape, seed=1))
    family.add(
        "TensorStridedSliceUpdate_int32", lambda x, v: _updated(x, v, (slice(1, 3),)), integers(4, 3), integers(2, 3, seed=1)
    )
    family.add(
        "StridedSliceGrad",
        lambda d: raw.StridedSliceGrad(shape=[5, 3], begin=[1, 0], end=[4, 3], strides=[2, 1], dy=d),
        floats(2, 3),
    )


def _updated(x: tf.Tensor, value: tf.Tensor, spec: tuple[object, ...]) -> tf.Tensor:
    begin, end, strides, shrink, begin_mask, end_mask = [], [], [], 0, 0, 0
    for axis, each in enumerate(spec):
        if isinstance(each, int):
            begin, end, strides, shrink = [*begin, each], [*end, each + 1], [*strides, 1], shrink | 1 << axis
            end_mask |= (each == -1) << axis
        else:
            assert isinstance(each, slice)
            begin_mask |= (each.start is None) << axis
            end_mask |= (each.stop is None) << axis
            begin, end, strides = [*begin, each.start or 0], [*end, each.stop or 0], [*strides, each.step or 1]
    return raw.TensorStridedSliceUpdate(
        input=x,
        begin=begin,
        end=end,
        strides=strides,
        value=value,
        shrink_axis_mask=shrink,
        begin_mask=begin_mask,
        end_mask=end_mask,
    )


def _dynamic(family: Family) -> None:
    family.add("crop_to_box", lambda x: tf.image.crop_to_bounding_box(x, 1, 2, 3, 2), floats(1, 6, 6, 3))
    family.add("windows_by_slices", lambda x: tf.stack([x[:, i : i + 3] for i in range(3)], 1), floats(2, 5))
    family.add(
        "patches_by_reshape",
        lambda x: tf.reshape(tf.transpose(tf.reshape(x, [1, 2, 2, 2, 2, 3]), [0, 1, 3, 2, 4, 5]), [1, 4, 12]),
        floats(1, 4, 4, 3),
    )
    family.add("focus", lambda x: tf.concat([x[:, a::2, b::2] for a in (0, 1) for b in (0, 1)], -1), floats(1, 4, 6, 2))
    family.add("last_time_step", lambda x: x[:, -1, :], floats(2, 5, 3), unknown="sizes")
    family.add("first_token", lambda x: tf.tanh(x[:, 0]), floats(2, 5, 3), unknown="batch")
    family.add("shift_right", lambda x: tf.concat([tf.zeros_like(x[:, :1]), x[:, :-1]], 1), floats(2, 5, 3), unknown="sizes")
    family.add(
        "split_heads",
        lambda x: tf.transpose(tf.reshape(x, [tf.shape(x)[0], -1, 2, 3]), [0, 2, 1, 3]),
        floats(2, 4, 6),
        unknown="sizes",
    )
    family.add("even_odd", lambda x: tf.reshape(tf.stack([x[:, 1::2], -x[:, ::2]], -1), [2, 6]), floats(2, 6))
    family.add("rotate_half", lambda x: tf.concat([-x[..., 2:], x[..., :2]], -1), floats(2, 3, 4), unknown="batch")
