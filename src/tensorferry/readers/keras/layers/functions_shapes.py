"""TensorFlow's functions on Keras tensors that move, cut, join, fill and look up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder, values_in
from tensorferry.readers.keras.description import EXPORT
from tensorferry.readers.keras.layers.arguments import array, axes, element_type, integer, integers, only, tensor, tensors, vector
from tensorferry.readers.keras.layers.functions import function
from tensorferry.readers.keras.layers.operations_shapes import cut_out
from tensorferry.readers.keras.layers.shaping import repeat
from tensorferry.tensor import DType


@function("reshape")
def reshape(build: Builder, tensor: Value, shape: Any) -> Value:
    """To a whole shape."""
    return build.add("Reshape", (tensor, vector(build, shape)))


@function("transpose", ignored=("conjugate",))
def transpose(build: Builder, a: Value, perm: Any = None) -> Value:
    """Axes in another order; turned round where none is given."""
    order = range(build.rank(a))[::-1] if perm is None else axes(build, perm, a)
    return build.transpose(a, list(order))


@function("linalg.matrix_transpose", "linalg.transpose", "compat.v1.matrix_transpose", ignored=("conjugate",))
def matrix_transpose(build: Builder, a: Value) -> Value:
    """The last two axes in each other's place."""
    rank = build.rank(a)
    return build.transpose(a, [*range(rank - 2), rank - 1, rank - 2])


@function("expand_dims")
def expand_dims(build: Builder, input: Any, axis: Any = None, dim: Any = None) -> Value:
    """One more axis."""
    return build.expand(tensor(build, input), integer(build, axis if axis is not None else dim))


@function("squeeze")
def squeeze(build: Builder, input: Value, axis: Any = None, squeeze_dims: Any = None) -> Value:
    """Axes of size 1 left out: all that are known to be of that size where none is named."""
    given = axis if axis is not None else squeeze_dims
    if given is not None:
        return build.squeeze(input, axes(build, given, input))
    if any(isinstance(each, str) for each in build.shape(input)[1:]):
        raise build.unsupported("it leaves out whatever axes have the size 1", EXPORT)
    return build.squeeze(input, [axis for axis, size in enumerate(build.shape(input)) if size == 1])


@function("concat")
def concat(build: Builder, values: Any, axis: Any = None, concat_dim: Any = None) -> Value:
    """One behind the other."""
    listed = tensors(build, values)
    return build.concat(listed, build.axis(listed[0], integer(build, axis if axis is not None else concat_dim)))


@function("stack")
def stack(build: Builder, values: Any, axis: Any = 0) -> Value:
    """Along a new axis."""
    listed = tensors(build, values)
    return build.add("Pack", listed, {"axis": integer(build, axis), "N": len(listed)})


@function("unstack")
def unstack(build: Builder, value: Value, num: Any = None, axis: Any = 0) -> list[Value]:
    """Apart along an axis that is gone then."""
    place = build.axis(value, integer(build, axis))
    count = build.size(value, place) if num is None else integer(build, num)
    return build.add_all("Unpack", (value,), {"num": build.bounded(count, 1 << 16), "axis": place})


@function("split", ignored=("num",))
def split(build: Builder, value: Value, num_or_size_splits: Any, axis: Any = 0) -> list[Value]:
    """Equal parts of an axis, or parts of given sizes."""
    place = build.axis(value, integer(build, axis))
    if isinstance(num_or_size_splits, int):
        return build.add_all(
            "Split", (build.constant(place, name="axis"), value), {"num_split": build.bounded(num_or_size_splits, 1 << 16)}
        )
    sizes = integers(build, num_or_size_splits)
    operands = (value, build.constant(np.asarray(sizes, np.int32), name="sizes"), build.constant(place, name="axis"))
    return build.add_all("SplitV", operands, {"num_split": len(sizes)})


@function("gather", ignored=("validate_indices",))
def gather(build: Builder, params: Any, indices: Any, axis: Any = None, batch_dims: Any = 0) -> Value:
    """Elements of an axis by number; without one, of the axis behind those that are batches."""
    batch = integer(build, batch_dims)
    values, places = tensor(build, params), tensor(build, indices)
    axis = batch if axis is None else integer(build, axis)
    return build.add("GatherV2", (values, places, build.constant(axis, name="axis")), {"batch_dims": batch})


@function("embedding_lookup", ignored=("partition_strategy",))
def embedding_lookup(build: Builder, params: Any, ids: Any, max_norm: Any = None) -> Value:
    """Rows of a table."""
    only(build, {"max_norm": (max_norm, None)})
    return build.add("GatherV2", (tensor(build, params), tensor(build, ids), build.constant(0, name="axis")))


@function("gather_nd")
def gather_nd(build: Builder, params: Any, indices: Any, batch_dims: Any = 0, bad_indices_policy: str = "") -> Value:
    """Elements by their places."""
    only(build, {"batch_dims": (batch_dims, 0), "bad_indices_policy": (bad_indices_policy, "")})
    return build.add("GatherNd", (tensor(build, params), tensor(build, indices)))


@function("scatter_nd", ignored=("bad_indices_policy",))
def scatter_nd(build: Builder, indices: Any, updates: Any, shape: Any) -> Value:
    """Elements to their places, zeros elsewhere."""
    return build.add("ScatterNd", (tensor(build, indices), tensor(build, updates), vector(build, shape)))


@function("tile")
def tile(build: Builder, input: Any, multiples: Any) -> Value:
    """Copies beside each other."""
    return build.add("Tile", (tensor(build, input), vector(build, multiples)))


@function("repeat")
def repeat_elements(build: Builder, input: Value, repeats: Any, axis: Any = None) -> Value:
    """Each element several times in a row."""
    if axis is None or not isinstance(repeats, int):
        raise build.unsupported("it repeats without an axis, or each element another number of times", EXPORT)
    return repeat(build, input, build.axis(input, integer(build, axis)), repeats)


@function("pad")
def pad(build: Builder, tensor: Value, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0) -> Value:
    """Numbers around it, or what lies at the edge, mirrored."""
    widths = array(build, paddings)
    if widths.shape != (build.rank(tensor), 2) or widths.dtype.kind != "i" or (widths < 0).any():
        raise build.unsupported("its paddings are no pairs of sizes, one for each axis")
    operand = build.constant(widths.astype(np.int32), name="paddings")
    if mode.upper() in ("REFLECT", "SYMMETRIC"):
        return build.add("MirrorPad", (tensor, operand), {"mode": mode.upper()})
    only(build, {"mode": (mode.upper(), "CONSTANT")})
    return build.add("PadV2", (tensor, operand, build.number(constant_values, tensor)))


@function("reverse")
def reverse(build: Builder, tensor: Value, axis: Any) -> Value:
    """Axes from their end."""
    return build.add("ReverseV2", (tensor, build.constant(axes(build, axis, tensor), name="axis")))


@function("roll")
def roll(build: Builder, input: Value, shift: Any, axis: Any) -> Value:
    """What leaves at the end of an axis comes in at its beginning."""
    shifts, places = integers(build, shift), axes(build, axis, input)
    return build.add("Roll", (input, build.constant(shifts, name="shift"), build.constant(places, name="axis")))


@function("broadcast_to")
def broadcast_to(build: Builder, input: Any, shape: Any) -> Value:
    """Spread over a shape."""
    return build.add("BroadcastTo", (tensor(build, input), vector(build, shape)))


@function("slice")
def slice_of(build: Builder, input_: Value, begin: Any, size: Any) -> Value:
    """A part of it: where it begins, and its sizes."""
    return build.add("Slice", (input_, vector(build, begin), vector(build, size)))


@function("strided_slice")
def strided_slice(build: Builder, input_: Value, begin: Any, end: Any, strides: Any = None, **masks: Any) -> Value:
    """A part of it by bounds, some of which the masks leave out."""
    known = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    if any(mask not in known and value is not None for mask, value in masks.items()):
        raise build.unsupported(f"it is called with {', '.join(masks)}", EXPORT)
    ends = [vector(build, each) for each in (begin, end)]
    steps = vector(build, strides if strides is not None else [1] * len(begin))
    return build.add("StridedSlice", (input_, *ends, steps), {mask: integer(build, masks.get(mask) or 0) for mask in known})


@function("__operators__.getitem")
def get_item(build: Builder, tensor: Value, slice_spec: Any) -> Value:
    """What stands in brackets."""
    keys = slice_spec if isinstance(slice_spec, list) else [slice_spec]
    found: list[Any] = []
    for key in keys:
        if key == "Ellipsis" or (isinstance(key, Mapping) and key.get("class_name") == "__ellipsis__"):
            found.append(Ellipsis)
        elif isinstance(key, Mapping) and {"start", "stop", "step"} >= set(key):
            found.append(slice(*(key.get(part) for part in ("start", "stop", "step"))))
        else:
            found.append(key)
    return cut_out(build, tensor, found)


# -- sizes and new tensors -----------------------------------------------------------------------------------------


@function("shape", ignored=("optimize",))
def shape_of(build: Builder, input: Any, out_type: Any = None) -> Value:
    """The sizes, as int32 unless told."""
    return build.add("Shape", (tensor(build, input),), {"out_type": _integers(build, out_type)})


@function("size")
def size_of(build: Builder, input: Any, out_type: Any = None) -> Value:
    """How many elements."""
    return build.add("Size", (tensor(build, input),), {"out_type": _integers(build, out_type)})


def _integers(build: Builder, given: Any) -> DType:
    return DType.INT32 if given is None else element_type(build, given)


@function("ones", "zeros", "fill", ignored=("layout",))
def filled(build: Builder, shape: Any, dtype: Any = None, value: Any = None) -> Value:
    """One number everywhere."""
    if build.layer.kind.endswith("fill"):
        number = tensor(build, dtype if value is None else value)  # fill(dims, value)
    else:
        kind = DType.FLOAT32 if dtype is None else element_type(build, dtype)
        number = build.constant(np.asarray(int(build.layer.kind.endswith("ones"))), kind)
    return build.add("Fill", (vector(build, shape), number))


@function("range")
def counted(build: Builder, start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None) -> Value:
    """Numbers from the first to before the last."""
    if limit is None:
        start, limit = 0, start
    kind = values_in([start, limit, delta])[0].dtype if dtype is None else element_type(build, dtype)
    parts = [build.cast(each, kind) if isinstance(each, Value) else build.constant(each, kind) for each in (start, limit, delta)]
    return build.add("Range", parts)


@function("one_hot")
def one_hot(
    build: Builder,
    indices: Any,
    depth: Any = None,
    on_value: Any = None,
    off_value: Any = None,
    axis: Any = None,
    dtype: Any = None,
) -> Value:
    """A vector with one element set, for each number."""
    kind = DType.FLOAT32 if dtype is None else element_type(build, dtype)
    on, off = (build.constant(default if each is None else each, kind) for each, default in ((on_value, 1), (off_value, 0)))
    places = tensor(build, indices)
    attrs = {"axis": -1 if axis is None else integer(build, axis)}
    return build.add("OneHot", (places, build.constant(integer(build, depth), name="depth"), on, off), attrs)


@function("sequence_mask")
def sequence_mask(build: Builder, lengths: Value, maxlen: Any = None, dtype: Any = None) -> Value:
    """As many true ones as each number says."""
    steps = build.constant(np.arange(build.bounded(integer(build, maxlen))), lengths.dtype, "steps")
    made = build.add("Less", (steps, build.expand(lengths, -1)))
    return made if dtype is None else build.cast(made, element_type(build, dtype))


@function("ensure_shape", "debugging.check_numerics", "compat.v1.check_numerics", "compat.v1.Print")
def unchanged(_build: Builder, x: Value, *_args: Any, **_kwargs: Any) -> Value:
    """Checks are left out."""
    return x


@function("reverse_sequence")
def reverse_sequence(
    build: Builder,
    input: Value,
    seq_lengths: Any,
    seq_axis: Any = None,
    batch_axis: Any = None,
) -> Value:
    """Each sample's beginning turned round."""
    attrs = {"seq_dim": integer(build, seq_axis), "batch_dim": integer(build, batch_axis or 0)}
    return build.add("ReverseSequence", (input, tensor(build, seq_lengths)), attrs)
