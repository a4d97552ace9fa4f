"""Shape and layout: reshape, transpose, concatenation, padding, tiling, blocks, filling, ranges, shape arithmetic."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ops.case import Family, floats, integers, of

raw = tf.raw_ops

DTYPES = ("float32", "float16", "float64", "int8", "int16", "int32", "int64", "uint8", "bool", "string", "complex64")
NUMBERS = ("float32", "int32", "int64", "int8", "uint8", "bool", "string")


def add_cases(family: Family) -> None:
    _reshaping(family)
    _transposing(family)
    _joining(family)
    _padding(family)
    _repeating(family)
    _blocks(family)
    _filling(family)
    _arithmetic(family)


def _reshaping(family: Family) -> None:
    for dtype in DTYPES:
        family.add(f"Reshape_{dtype}", lambda x: tf.reshape(x, [3, 2]), of(dtype, 2, 3))
        family.add(f"ExpandDims_{dtype}", lambda x: tf.expand_dims(x, 1), of(dtype, 2, 3))
    for shape, target in (
        ((2, 3), [-1]),
        ((2, 3, 4), [2, -1]),
        ((6,), [1, 2, 3, 1]),
        ((1,), []),
        ((), [1, 1]),
        ((2, 0), [0, 5]),
        ((0, 3), [-1, 3, 1]),
        ((2, 2, 2, 2, 2, 2), [4, 4, 4]),
    ):
        family.add(
            f"Reshape_{len(shape)}_to_{len(target)}_{shape.count(0)}",
            lambda x, t=target: tf.reshape(x, tf.constant(t, tf.int32)),
            floats(*shape),
        )
    family.add("Reshape", lambda x: tf.reshape(x, [-1, 6]), floats(2, 2, 3), unknown="batch")
    family.add("Reshape_int64_shape", lambda x: tf.reshape(x, tf.constant([3, 2], tf.int64)), floats(2, 3))
    family.add("Reshape_at_run_time", tf.reshape, floats(2, 3), np.array([3, 2], np.int32))
    family.add("Reshape_at_run_time_open", tf.reshape, floats(2, 3), np.array([6, -1], np.int32), shapes=((None, None), (None,)))
    family.add("flatten_batch", lambda x: tf.reshape(x, [tf.shape(x)[0], -1]), floats(2, 3, 4), unknown="batch")
    family.add("flatten_all_but_last", lambda x: tf.reshape(x, [-1, tf.shape(x)[-1]]), floats(2, 3, 4), unknown="sizes")
    for axis in (0, 1, 2, -1, -3):
        family.add(
            f"ExpandDims_axis_{axis}", lambda x, a=axis: tf.expand_dims(x, a), floats(2, 3), unknown="batch" if axis == 1 else ""
        )
        family.add(f"ExpandDims_axis_{axis}_open", lambda x, a=axis: tf.expand_dims(x, a), floats(2, 3), unknown="sizes")
    for axes in (None, [0], [2], [-1], [0, 2], [0, -1]):
        family.add(
            f"Squeeze_{axes}", lambda x, a=axes: tf.squeeze(x, a), floats(1, 3, 1) if axes != [0, -1] else floats(1, 2, 3, 1)
        )
    family.add("Squeeze", lambda x: tf.squeeze(x, [1, 2]), floats(3, 1, 1, 2), unknown="batch")
    family.add("Squeeze_all", tf.squeeze, floats(1, 1, 1))
    family.add("Squeeze_empty", lambda x: tf.squeeze(x, [1]), floats(0, 1, 2))


def _transposing(family: Family) -> None:
    for permutation in (
        (1, 0),
        (0, 1),
        (0, 2, 1),
        (2, 0, 1),
        (2, 1, 0),
        (0, 3, 1, 2),
        (0, 2, 3, 1),
        (3, 2, 1, 0),
        (1, 0, 2, 3),
        (4, 2, 0, 1, 3),
        (0, 4, 1, 2, 3),
        (5, 3, 1, 4, 2, 0),
        (0, 2, 1, 3, 5, 4),
    ):
        shape = (2, 3, 1, 4, 2, 2)[: len(permutation)]
        family.add(f"Transpose_{''.join(map(str, permutation))}", lambda x, p=permutation: tf.transpose(x, p), floats(*shape))
        if len(permutation) in (3, 4):
            family.add(
                f"Transpose_{''.join(map(str, permutation))}",
                lambda x, p=permutation: tf.transpose(x, p),
                floats(*shape),
                unknown="sizes",
            )
    for dtype in DTYPES:
        family.add(f"Transpose_{dtype}", tf.transpose, of(dtype, 2, 3))
    family.add("Transpose_at_run_time", tf.transpose, floats(2, 3, 4), np.array([2, 0, 1], np.int32))
    family.add("Transpose_scalar", tf.transpose, np.float32(3))
    family.add("Transpose_empty", tf.transpose, floats(0, 3))
    family.add(
        "transpose_twice", lambda x: tf.transpose(tf.nn.relu(tf.transpose(x, [0, 3, 1, 2])), [0, 2, 3, 1]), floats(1, 2, 3, 4)
    )
    for groups in (2, 3):
        family.add(
            f"channel_shuffle_{groups}",
            lambda x, g=groups: tf.reshape(tf.transpose(tf.reshape(x, [-1, 2, 2, g, 6 // g]), [0, 1, 2, 4, 3]), [-1, 2, 2, 6]),
            floats(1, 2, 2, 6),
            unknown="batch",
        )
    family.add("InvertPermutation", tf.math.invert_permutation, np.array([2, 0, 3, 1], np.int32))
    family.add("move_axis", lambda x: tf.experimental.numpy.moveaxis(x, 0, -1), floats(2, 3, 4))
    family.add("swap_axes", lambda x: tf.experimental.numpy.swapaxes(x, 0, 1), floats(2, 3, 4))
    family.add("rot90_by_hand", lambda x: tf.transpose(tf.reverse(x, [1])), floats(2, 3))


def _joining(family: Family) -> None:
    for dtype in DTYPES:
        family.add(f"ConcatV2_{dtype}", lambda a, b: tf.concat([a, b], 0), of(dtype, 2, 3), of(dtype, 1, 3, seed=1))
        family.add(f"Pack_{dtype}", lambda a, b: tf.stack([a, b], 1), of(dtype, 2, 3), of(dtype, 2, 3, seed=1))
        family.add(f"Unpack_{dtype}", lambda x: tf.unstack(x, axis=0), of(dtype, 2, 3))
        family.add(f"Split_{dtype}", lambda x: tf.split(x, 2, 1), of(dtype, 2, 4))
        family.add(f"SplitV_{dtype}", lambda x: tf.split(x, [1, 3], 1), of(dtype, 2, 4))
    for axis in (0, 1, 2, -1, -2):
        shapes = [[2, 3, 2], [2, 3, 2]]
        shapes[1][axis] = 4
        family.add(
            f"ConcatV2_axis_{axis}", lambda a, b, x=axis: tf.concat([a, b], x), floats(*shapes[0]), floats(*shapes[1], seed=1)
        )
        family.add(f"Pack_axis_{axis}", lambda a, b, x=axis: tf.stack([a, b], x), floats(2, 3), floats(2, 3, seed=1))
        family.add(f"Unpack_axis_{axis}", lambda x, a=axis: tf.unstack(x, axis=a), floats(2, 3, 2))
        family.add(f"Split_axis_{axis}", lambda x, a=axis: tf.split(x, 2, a), floats(2, 4, 2))
        family.add(f"SplitV_axis_{axis}", lambda x, a=axis: tf.split(x, [1, 0, 3], a), floats(4, 4, 4))
    family.add("ConcatV2_five", lambda *all_: tf.concat(list(all_), 1), *(floats(2, n, seed=n) for n in (1, 3, 2, 1, 4)))
    family.add("ConcatV2_empty", lambda a, b: tf.concat([a, b], 0), floats(0, 3), floats(2, 3))
    family.add("ConcatV2_all_empty", lambda a, b: tf.concat([a, b], 1), floats(0, 3), floats(0, 2))
    family.add("ConcatV2", lambda a, b: tf.concat([a, b], -1), floats(2, 3), floats(2, 2), unknown="batch")
    family.add("ConcatV2_rows", lambda a, b: tf.concat([a, b], 0), floats(2, 3), floats(4, 3), unknown="sizes")
    family.add("ConcatV2_constant", lambda a: tf.concat([a, floats(2, 1)], 1), floats(2, 3))
    family.add("ConcatV2_rank6", lambda a, b: tf.concat([a, b], 4), floats(1, 2, 1, 2, 1, 2), floats(1, 2, 1, 2, 2, 2))
    family.add("Concat_v1", lambda a, b: raw.Concat(concat_dim=1, values=[a, b]), floats(2, 3), floats(2, 2))
    family.add("ParallelStack", lambda a, b: tf.stack([a, b]), floats(2), floats(2))
    family.add("Pack_scalars", lambda a, b: tf.stack([a, b]), np.float32(1), np.float32(2))
    family.add("Pack", lambda a, b: tf.stack([a, b], 1), floats(2, 3), floats(2, 3), unknown="batch")
    family.add("Pack_one", lambda a: tf.stack([a], 1), floats(2, 3))
    family.add("Unpack", lambda x: tf.unstack(x, axis=1), floats(2, 3), unknown="batch")
    family.add("Unpack_scalars", lambda x: tf.unstack(x), floats(3))
    family.add("Split", lambda x: tf.split(x, 2, -1), floats(2, 4), unknown="batch")
    family.add("SplitV", lambda x: tf.split(x, [1, -1], -1), floats(2, 4), unknown="batch")
    family.add(
        "SplitV_int64", lambda x: raw.SplitV(value=x, size_splits=tf.constant([1, 3], tf.int64), axis=1, num_split=2), floats(2, 4)
    )
    family.add("Split_rank5", lambda x: tf.split(x, 2, 3), floats(1, 2, 1, 4, 2))
    family.add("meshgrid", lambda a, b: tf.meshgrid(a, b), floats(3), floats(2))
    family.add("meshgrid_ij", lambda a, b: tf.meshgrid(a, b, indexing="ij"), floats(3), floats(2))


def _padding(family: Family) -> None:
    for dtype in NUMBERS:
        if dtype != "string":
            family.add(f"Pad_{dtype}", lambda x: tf.pad(x, [[1, 0], [2, 1]]), of(dtype, 2, 3))
            family.add(f"MirrorPad_{dtype}", lambda x: tf.pad(x, [[1, 0], [2, 1]], "REFLECT"), of(dtype, 2, 3))
        if dtype not in ("string", "bool"):
            family.add(
                f"PadV2_{dtype}", lambda x: tf.pad(x, [[1, 0], [2, 1]], constant_values=tf.cast(5, x.dtype)), of(dtype, 2, 3)
            )
    for shape in ((4,), (3, 4), (2, 3, 4), (1, 3, 4, 2), (1, 2, 3, 2, 2), (1, 2, 1, 2, 2, 2)):
        pairs = [[1, 1], [0, 1], [1, 0], [0, 0], [1, 1], [0, 1]][: len(shape)]
        pairs = [[min(a, n - 1), min(b, n - 1)] for (a, b), n in zip(pairs, shape, strict=True)]
        for mode in ("CONSTANT", "REFLECT", "SYMMETRIC"):
            if mode == "CONSTANT" or len(shape) < 6:
                family.add(f"pad_{mode}_{len(shape)}", lambda x, p=pairs, m=mode: tf.pad(x, p, m), floats(*shape))
        family.add(f"pad_value_{len(shape)}", lambda x, p=pairs: tf.pad(x, p, constant_values=-1.5), floats(*shape))
    for mode in ("CONSTANT", "REFLECT", "SYMMETRIC"):
        family.add(f"pad_{mode}", lambda x, m=mode: tf.pad(x, [[0, 0], [1, 2], [0, 0]], m), floats(2, 3, 2), unknown="batch")
        family.add(f"pad_{mode}_open", lambda x, m=mode: tf.pad(x, [[0, 0], [1, 2]], m), floats(2, 3), unknown="sizes")
        family.add(
            f"pad_{mode}_at_run_time", lambda x, p, m=mode: tf.pad(x, p, m), floats(2, 3), np.array([[1, 0], [0, 2]], np.int32)
        )
    family.add("pad_full_reflect", lambda x: tf.pad(x, [[3, 3]], "REFLECT"), floats(4))
    family.add("pad_full_symmetric", lambda x: tf.pad(x, [[4, 4]], "SYMMETRIC"), floats(4))
    family.add("pad_empty", lambda x: tf.pad(x, [[1, 1], [0, 0]]), floats(0, 3))
    family.add("pad_int64_pairs", lambda x: tf.pad(x, tf.constant([[1, 0], [0, 1]], tf.int64)), floats(2, 3))
    family.add("pad_nothing", lambda x: tf.pad(x, [[0, 0], [0, 0]]) + 1, floats(2, 3))
    family.add("MirrorPadGrad", lambda x: raw.MirrorPadGrad(input=x, paddings=[[1, 1], [0, 1]], mode="REFLECT"), floats(5, 4))


def _repeating(family: Family) -> None:
    for dtype in NUMBERS:
        family.add(f"Tile_{dtype}", lambda x: tf.tile(x, [2, 1]), of(dtype, 2, 3))
        family.add(f"BroadcastTo_{dtype}", lambda x: tf.broadcast_to(x, [2, 2, 3]), of(dtype, 1, 3))
        family.add(f"ReverseV2_{dtype}", lambda x: tf.reverse(x, [1]), of(dtype, 2, 3))
        family.add(f"Roll_{dtype}", lambda x: tf.roll(x, 1, 1), of(dtype, 2, 3))
    for shape, multiples in (
        ((3,), [3]),
        ((2, 3), [1, 1]),
        ((2, 1, 3), [1, 2, 2]),
        ((1, 2, 1, 2, 1), [2, 1, 1, 1, 3]),
        ((2, 3), [0, 1]),
        ((1, 2, 1, 2, 1, 2), [1, 1, 2, 1, 1, 2]),
    ):
        family.add(f"Tile_{len(shape)}_{'x'.join(map(str, multiples))}", lambda x, m=multiples: tf.tile(x, m), floats(*shape))
    family.add("Tile", lambda x: tf.tile(x, [1, 2]), floats(2, 3), unknown="batch")
    family.add("Tile_at_run_time", tf.tile, floats(2, 3), np.array([2, 1], np.int32))
    family.add("Tile_int64", lambda x: tf.tile(x, tf.constant([2, 2], tf.int64)), floats(2, 3))
    for shape, target in (
        ((), [2, 3]),
        ((3,), [2, 3]),
        ((2, 1), [2, 3]),
        ((1, 1, 3), [2, 4, 3]),
        ((2, 1, 1, 2), [2, 3, 2, 2]),
        ((1, 2, 1, 2, 1), [2, 2, 2, 2, 1]),
        ((1,), [0]),
        ((1, 2, 1, 1, 2, 1), [1, 2, 2, 1, 2, 2]),
    ):
        family.add(
            f"BroadcastTo_{len(shape)}_{'x'.join(map(str, target))}", lambda x, t=target: tf.broadcast_to(x, t), floats(*shape)
        )
    family.add("BroadcastTo_at_run_time", tf.broadcast_to, floats(1, 3), np.array([2, 3], np.int32))
    family.add(
        "BroadcastTo_like", lambda x, y: tf.broadcast_to(x, tf.shape(y)), floats(1, 3), floats(4, 3), shapes=((1, 3), (None, 3))
    )
    for repeats, axis in ((2, 0), (3, 1), ([1, 2], 0), ([0, 2, 1], 1), (2, None)):
        family.add(f"repeat_{repeats}_{axis}", lambda x, r=repeats, a=axis: tf.repeat(x, r, a), floats(2, 3))
    for axes in ([0], [1], [0, 1], [-1], [], [0, 2]):
        shape = (2, 3) if axes != [0, 2] else (2, 3, 2)
        family.add(
            f"ReverseV2_{'_'.join(map(str, axes)) or 'none'}",
            lambda x, a=axes: tf.reverse(x, tf.constant(a, tf.int32)),
            floats(*shape),
        )
    family.add("ReverseV2", lambda x: tf.reverse(x, [1]), floats(2, 3), unknown="batch")
    family.add("ReverseV2_rank5", lambda x: tf.reverse(x, [1, 3]), floats(1, 2, 2, 3, 2))
    family.add("ReverseV2_vector", lambda x: tf.reverse(x, [0]), floats(5), unknown="sizes")
    family.add("Reverse_v1", lambda x: raw.Reverse(tensor=x, dims=[False, True]), floats(2, 3))
    for sequence, batch in ((1, 0), (0, 1), (2, 0), (2, 1)):
        lengths = np.array([1, 2, 3][: (2, 3)[batch] if batch < 2 else 2], np.int32)
        family.add(
            f"ReverseSequence_{sequence}_{batch}",
            lambda x, n, s=sequence, b=batch: tf.reverse_sequence(x, n, s, b),
            floats(2, 3, 4),
            np.minimum(lengths, (2, 3, 4)[sequence]).astype(np.int32),
        )
    family.add("ReverseSequence_int64", lambda x, n: tf.reverse_sequence(x, n, 1, 0), integers(2, 4), np.array([3, 4], np.int64))
    family.add(
        "ReverseSequence",
        lambda x, n: tf.reverse_sequence(x, n, 1, 0),
        floats(3, 4, 2),
        np.array([0, 2, 4], np.int32),
        unknown="batch",
    )
    for shift, axis in ((1, 0), (-1, 1), (5, 1), ([1, -1], [0, 1]), ([1, 1], [1, 1]), (0, 0)):
        family.add(f"Roll_{shift}_{axis}", lambda x, s=shift, a=axis: tf.roll(x, s, a), floats(2, 3))
    family.add("Roll", lambda x: tf.roll(x, 1, 1), floats(2, 3), unknown="batch")
    family.add("Roll_along_unknown", lambda x: tf.roll(x, 1, 0), floats(4, 2), unknown="sizes")


def _blocks(family: Family) -> None:
    for op, shape in (("SpaceToDepth", (1, 4, 6, 2)), ("DepthToSpace", (1, 2, 3, 8))):
        for dtype in ("float32", "int8", "int32", "int64", "uint8", "float16", "float64", "bool", "string"):
            family.add(f"{op}_{dtype}", lambda x, op=op: getattr(raw, op)(input=x, block_size=2), of(dtype, *shape))
        family.add(op, lambda x, op=op: getattr(raw, op)(input=x, block_size=2), floats(2, *shape[1:]), unknown="batch")
        family.add(
            f"{op}_open",
            lambda x, op=op: getattr(raw, op)(input=x, block_size=2),
            floats(*shape),
            shapes=((None, None, None, shape[-1]),),
        )
        family.add(
            f"{op}_NCHW",
            lambda x, op=op: getattr(raw, op)(input=x, block_size=2, data_format="NCHW"),
            floats(1, shape[3], shape[1], shape[2]),
            reference=lambda x, op=op: tf.transpose(
                getattr(raw, op)(input=tf.transpose(x, [0, 2, 3, 1]), block_size=2), [0, 3, 1, 2]
            ),
        )
    family.add("SpaceToDepth_3", lambda x: tf.nn.space_to_depth(x, 3), floats(1, 3, 6, 1))
    family.add("DepthToSpace_3", lambda x: tf.nn.depth_to_space(x, 3), floats(1, 1, 2, 18))
    for dtype in ("float32", "int32", "int64", "int8", "uint8", "string"):
        family.add(
            f"SpaceToBatchND_{dtype}", lambda x: tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]]), of(dtype, 1, 4, 4, 1)
        ) if dtype != "string" else None
        family.add(f"BatchToSpaceND_{dtype}", lambda x: tf.batch_to_space(x, [2, 2], [[0, 0], [0, 0]]), of(dtype, 4, 2, 2, 1))
    for shape, block, pads in (
        ((2, 5, 3), [3], [[1, 0]]),
        ((1, 3, 5, 2), [2, 3], [[1, 0], [0, 1]]),
        ((1, 4, 3), [2, 3], [[0, 0], [0, 0]]),
        ((2, 2, 4, 2, 1), [2, 2, 2], [[0, 0]] * 3),
        ((1, 4, 4, 1), [1, 2], [[0, 0], [1, 1]]),
        ((2, 3), [1], [[0, 0]]),
    ):
        family.add(
            f"SpaceToBatchND_{len(shape)}_{'x'.join(map(str, block))}",
            lambda x, b=block, p=pads: tf.space_to_batch(x, b, p),
            floats(*shape),
        )
        batch = int(np.prod(block)) * shape[0]
        inner = [(n + a + e) // b for n, (a, e), b in zip(shape[1:], pads, block, strict=False)]
        family.add(
            f"BatchToSpaceND_{len(shape)}_{'x'.join(map(str, block))}",
            lambda x, b=block, p=pads: tf.batch_to_space(x, b, p),
            floats(batch, *inner, *shape[1 + len(block) :]),
        )
    family.add("SpaceToBatchND", lambda x: tf.space_to_batch(x, [2, 2], [[1, 1], [0, 0]]), floats(2, 4, 4, 1), unknown="batch")
    family.add("BatchToSpaceND", lambda x: tf.batch_to_space(x, [2, 2], [[0, 1], [0, 0]]), floats(8, 2, 2, 1), unknown="batch")
    family.add("SpaceToBatch_v1", lambda x: raw.SpaceToBatch(input=x, paddings=[[0, 0], [1, 1]], block_size=2), floats(1, 4, 4, 1))
    family.add("BatchToSpace_v1", lambda x: raw.BatchToSpace(input=x, crops=[[0, 1], [0, 0]], block_size=2), floats(4, 2, 2, 1))


def _filling(family: Family) -> None:
    for dtype in DTYPES:
        value = of(dtype)
        family.add(f"Fill_{dtype}", lambda v: tf.fill([2, 3], v), value)
    for dims in ([], [3], [0, 2], [1, 2, 1, 2, 1]):
        family.add(f"Fill_{len(dims)}_{dims.count(0)}", lambda v, d=dims: tf.fill(tf.constant(d, tf.int32), v), np.float32(2.5))
    family.add("Fill_at_run_time", lambda d: tf.fill(d, 7), np.array([2, 3], np.int32))
    family.add("Fill_like", lambda x: tf.fill(tf.shape(x), 1.5), floats(2, 3), unknown="sizes")
    family.add("zeros_like_shape", lambda x: tf.zeros([tf.shape(x)[0], 4]), floats(2, 3), unknown="batch")
    for dtype in ("float32", "int32", "int64", "bool", "float16", "string", "complex64"):
        family.add(f"zeros_like_{dtype}", tf.zeros_like, of(dtype, 2, 3))
        if dtype != "string":
            family.add(f"ones_like_{dtype}", tf.ones_like, of(dtype, 2, 3))
    family.add("zeros_like", tf.zeros_like, floats(2, 3), unknown="sizes")
    for dtype in ("int32", "int64", "float32", "float64"):
        family.add(f"Range_{dtype}", lambda a, b, s: tf.range(a, b, s), *(np.dtype(dtype).type(each) for each in (1, 9, 2)))
        family.add(f"Range_{dtype}_down", lambda a, b, s: tf.range(a, b, s), *(np.dtype(dtype).type(each) for each in (9, 1, -3)))
    family.add("Range_empty", lambda a: tf.range(a, 0), np.int32(5))
    family.add("Range_fraction", lambda b: tf.range(0.0, b, 0.3), np.float32(1.5))
    family.add("Range_positions", lambda x: tf.range(tf.shape(x)[1]), floats(2, 5), unknown="sizes")
    family.add("Range_constant", lambda x: x + tf.cast(tf.range(3), tf.float32), floats(2, 3))
    for count in (1, 2, 5):
        family.add(f"LinSpace_{count}", lambda a, b, n=count: tf.linspace(a, b, n), np.float32(-1), np.float32(2))
    family.add("LinSpace_axis", lambda a, b: tf.linspace(a, b, 4, axis=-1), floats(3), floats(3, seed=1))
    family.add(
        "LinSpace_int64_count",
        lambda a, b: raw.LinSpace(start=a, stop=b, num=tf.constant(4, tf.int64)),
        np.float32(0),
        np.float32(1),
    )
    for dtype in ("float32", "int32", "bool", "int64", "uint8"):
        family.add(f"one_hot_{dtype}", lambda i, d=dtype: tf.one_hot(i, 4, dtype=d), integers(3, low=-1, high=5))
    for shape, axis in (((), -1), ((3,), 0), ((2, 3), 1), ((2, 3), 0), ((2, 3), -1), ((2, 1, 3), 2), ((0,), -1)):
        family.add(
            f"one_hot_{len(shape)}_axis_{axis}_{shape.count(0)}",
            lambda i, a=axis: tf.one_hot(i, 4, axis=a),
            integers(*shape, low=0, high=4),
        )
    family.add("one_hot_values", lambda i: tf.one_hot(i, 4, on_value=5.0, off_value=-1.0), integers(3, low=0, high=4))
    family.add("one_hot_values_axis_0", lambda i: tf.one_hot(i, 4, on_value=5, off_value=-1, axis=0), integers(2, 3, low=0, high=4))
    family.add("one_hot_int64", lambda i: tf.one_hot(i, 4), integers(3, low=0, high=4, dtype="int64"))
    family.add("one_hot_uint8", lambda i: tf.one_hot(i, 4), integers(3, low=0, high=4, dtype="uint8"))
    family.add("one_hot", lambda i: tf.one_hot(i, 4), integers(3, low=0, high=4), unknown="batch")
    family.add("one_hot_depth_at_run_time", lambda i, n: tf.one_hot(i, n), integers(3, low=0, high=4), np.int32(5))
    family.add("sequence_mask", lambda n: tf.sequence_mask(n, 5), np.array([1, 3, 0, 5], np.int32))
    family.add(
        "sequence_mask_float", lambda n: tf.sequence_mask(n, 5, dtype=tf.float32), np.array([1, 3], np.int32), unknown="batch"
    )
    family.add("sequence_mask_longest", lambda n: tf.sequence_mask(n), np.array([1, 3, 2], np.int32))


def _arithmetic(family: Family) -> None:
    for op in ("Shape", "Size", "Rank"):
        take = {"Shape": tf.shape, "Size": tf.size, "Rank": tf.rank}[op]
        for dtype in ("float32", "int8", "string", "bool", "complex64"):
            family.add(f"{op}_{dtype}", lambda x, t=take: t(x), of(dtype, 2, 3))
        family.add(f"{op}_open", lambda x, t=take: t(x), floats(2, 3), unknown="sizes")
        family.add(f"{op}_any", lambda x, t=take: t(x), floats(2, 3), unknown="rank")
        family.add(f"{op}_scalar", lambda x, t=take: t(x), np.float32(1))
        family.add(f"{op}_empty", lambda x, t=take: t(x), floats(0, 3))
    family.add("DataFormatDimMap", lambda x: raw.DataFormatDimMap(x=x), np.array([0, 1, 2, 3, -1], np.int32))
    family.add("DataFormatVecPermute", lambda x: raw.DataFormatVecPermute(x=x), np.array([7, 4, 9, 3], np.int32))
    family.add("UnravelIndex", lambda x: raw.UnravelIndex(indices=x, dims=[3, 4]), integers(5, low=0, high=12))
    family.add("ParallelConcat", lambda a, b: raw.ParallelConcat(values=[a, b], shape=[2, 3]), floats(1, 3), floats(1, 3, seed=1))
    family.add("Shape_int64", lambda x: tf.shape(x, out_type=tf.int64), floats(2, 3), unknown="sizes")
    family.add("ShapeN", lambda a, b: tf.shape_n([a, b]), floats(2, 3), floats(4), unknown="sizes")
    family.add(
        "BroadcastArgs", lambda a, b: raw.BroadcastArgs(s0=a, s1=b), np.array([2, 1, 3], np.int32), np.array([4, 1], np.int32)
    )
    family.add(
        "BroadcastArgs",
        lambda a, b: raw.BroadcastArgs(s0=a, s1=b),
        np.array([2, 1, 3], np.int32),
        np.array([4, 1], np.int32),
        unknown="sizes",
    )
    family.add(
        "BroadcastGradientArgs",
        lambda a, b: list(raw.BroadcastGradientArgs(s0=a, s1=b)),
        np.array([2, 1, 3], np.int32),
        np.array([4, 1], np.int32),
    )
    family.add(
        "broadcast_dynamic_shape",
        lambda a, b: tf.broadcast_dynamic_shape(tf.shape(a), tf.shape(b)),
        floats(2, 1, 3),
        floats(4, 1),
        unknown="sizes",
    )
    family.add("halved_sizes", lambda x: tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1] // 2, 2]), floats(2, 4), unknown="sizes")
    family.add("product_of_sizes", lambda x: tf.reshape(x, [tf.reduce_prod(tf.shape(x)[:2]), -1]), floats(2, 3, 4), unknown="sizes")
    family.add(
        "static_and_dynamic", lambda x: tf.reshape(x, tf.concat([tf.shape(x)[:1], [6]], 0)), floats(2, 2, 3), unknown="batch"
    )
    family.add("Empty", lambda x: raw.Empty(shape=[2, 3], dtype=tf.float32, init=True) + x, floats(2, 3))
    family.add("EnsureShape", lambda x: tf.ensure_shape(x, [None, 3]) + 1, floats(2, 3), unknown="sizes")
    family.add("PlaceholderWithDefault", lambda x: tf.compat.v1.placeholder_with_default(x, [None, 3]) * 2, floats(2, 3))
    family.add("set_shape_unfold", lambda x: tf.stack([x[:, k : k + 2] for k in range(3)], 1), floats(2, 4), unknown="batch")
    family.add("size_divided", lambda x: tf.reduce_sum(x) / tf.cast(tf.size(x), tf.float32), floats(2, 3), unknown="sizes")
    family.add(
        "ConcatOffset",
        lambda a, b: list(raw.ConcatOffset(concat_dim=1, shape=[a, b])),
        np.array([2, 3], np.int32),
        np.array([2, 4], np.int32),
    )
