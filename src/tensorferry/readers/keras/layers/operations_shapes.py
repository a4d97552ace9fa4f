"""Operations of keras.ops that move, cut, repeat and multiply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder, Size
from tensorferry.readers.keras.description import EXPORT, Config
from tensorferry.readers.keras.layers.arguments import axes, integer, integers, operation, tensor
from tensorferry.readers.keras.layers.operations import operands, pair
from tensorferry.readers.keras.layers.shaping import repeat
from tensorferry.readers.keras.registry import layer
from tensorferry.tensor import DType


@layer("ops.Reshape")
def reshape(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """To a whole shape, of which one size may be -1 or nothing."""
    wanted = config.get("newshape")
    sizes = [-1 if each is None else each for each in wanted] if isinstance(wanted, list) else None
    if sizes is None or any(not isinstance(each, int) for each in sizes):
        raise config.wrong("newshape", "a list of sizes")
    return build.reshape(inputs[0], sizes)


@layer("ops.Transpose")
def transpose(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Axes in another order; turned round where none is given."""
    order = config.integers("axes") if config.get("axes") is not None else range(build.rank(inputs[0]))[::-1]
    return build.transpose(inputs[0], [build.axis(inputs[0], each) for each in order])


@layer("ops.Swapaxes")
def swap_axes(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Two axes in each other's place."""
    order = list(range(build.rank(inputs[0])))
    one, other = (build.axis(inputs[0], config.integer(key)) for key in ("axis1", "axis2"))
    order[one], order[other] = order[other], order[one]
    return build.transpose(inputs[0], order)


@layer("ops.Moveaxis")
def move_axis(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Axes to other places."""
    rank = build.rank(inputs[0])
    source, target = ([build.axis(inputs[0], each) for each in _several(config, key)] for key in ("source", "destination"))
    order = [axis for axis in range(rank) if axis not in source]
    for place, axis in sorted(zip(target, source, strict=True)):
        order.insert(place, axis)
    return build.transpose(inputs[0], order)


def _several(config: Config, key: str) -> list[int]:
    return [config.integer(key)] if isinstance(config.get(key), int) else list(config.integers(key))


@layer("ops.ExpandDims")
def expand_dims(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """New axes of size 1."""
    value = inputs[0]
    given = _several(config, "axis")
    rank = build.rank(value) + len(given)
    for axis in sorted(each % rank for each in given):
        value = build.expand(value, axis)
    return value


@layer("ops.Squeeze")
def squeeze(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Axes of size 1 left out."""
    if config.get("axis") is None:
        if any(isinstance(each, str) for each in build.shape(inputs[0])[1:]):
            raise build.unsupported("it leaves out whatever axes have the size 1", EXPORT)
        return build.squeeze(inputs[0], [axis for axis, size in enumerate(build.shape(inputs[0])) if size == 1])
    return build.squeeze(inputs[0], [build.axis(inputs[0], each) for each in _several(config, "axis")])


@layer("ops.Flip")
def flip(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Axes from their end."""
    axes = _several(config, "axis") if config.get("axis") is not None else range(build.rank(inputs[0]))
    return build.add("ReverseV2", (inputs[0], build.constant([build.axis(inputs[0], each) for each in axes], name="axis")))


@operation("Roll")
def roll(build: Builder, x: Value, shift: Any, axis: Any = None) -> Value:
    """What leaves at the end of an axis comes in at its beginning; through all elements where no axis is named."""
    value = x if axis is not None else build.reshape(x, [-1])
    shifts, places = integers(build, shift), axes(build, axis if axis is not None else 0, value)
    shifts = shifts * len(places) if len(shifts) == 1 else shifts
    made = build.add("Roll", (value, build.constant(shifts, name="shift"), build.constant(places, name="axis")))
    return made if axis is not None else build.reshape(made, build.sizes(x))


@layer("ops.Tile")
def tile(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Copies beside each other."""
    times = _several(config, "repeats")
    value = inputs[0]
    for _ in range(len(times) - build.rank(value)):
        value = build.expand(value, 0)
    times = [1] * (build.rank(value) - len(times)) + times
    return build.add("Tile", (value, build.vector(times)))


@layer("ops.Repeat")
def repeat_elements(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Each element several times in a row."""
    value = inputs[0] if config.get("axis") is not None else build.reshape(inputs[0], [-1])
    axis, times = build.axis(value, config.integer("axis", 0)), config.get("repeats")
    if isinstance(times, int):
        return repeat(build, value, axis, times)
    counts = config.integers("repeats")
    if len(counts) == 1:
        return repeat(build, value, axis, counts[0])
    if len(counts) != build.size(value, axis):
        raise config.wrong("repeats", "a number for each element")
    build.bounded(sum(counts))
    places = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return build.add("GatherV2", (value, build.constant(places, name="places"), build.constant(axis, name="axis")))


@layer("ops.Pad")
def pad(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Numbers around it."""
    widths = config.get("pad_width")
    number = build.kwargs.get("constant_values") or 0
    mode = config.text("mode", "constant", among=("constant", "reflect", "symmetric"))
    if not isinstance(number, int | float):
        raise build.unsupported("it pads with something else than one number", EXPORT)
    array = np.asarray(widths)
    array = np.broadcast_to(array, (build.rank(inputs[0]), 2)) if array.size in (1, 2) else array
    if array.dtype.kind != "i" or array.shape != (build.rank(inputs[0]), 2) or (array < 0).any():
        raise config.wrong("pad_width", "a pair for each axis")
    paddings = build.constant(array.astype(np.int32), name="paddings")
    if mode != "constant":
        return build.add("MirrorPad", (inputs[0], paddings), {"mode": mode.upper()})
    return build.add("PadV2", (inputs[0], paddings, build.number(number, inputs[0])))


@layer("ops.Concatenate", "ops.Stack")
def join(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """One behind the other along an axis; along a new one."""
    if build.layer.class_name == "Stack":
        return build.add("Pack", inputs, {"axis": config.integer("axis", 0), "N": len(inputs)})
    return build.concat(inputs, build.axis(inputs[0], config.integer("axis", 0)))


@operation("Split", "Hsplit", "Vsplit", "Dsplit", "ArraySplit")
def split(build: Builder, x: Value, indices_or_sections: Any, axis: Any = 0) -> list[Value]:
    """Equal parts of an axis, or parts that begin at given places; array_split's may differ by one element."""
    name = build.layer.class_name
    if name in ("Hsplit", "Vsplit", "Dsplit"):
        axis = {"H": int(build.rank(x) > 1), "V": 0, "D": 2}[name[0]]
    axis = build.axis(x, integer(build, axis))
    given = indices_or_sections
    if isinstance(given, int) and (name != "ArraySplit" or build.size(x, axis) % given == 0):
        return build.add_all("Split", (build.constant(axis, name="axis"), x), {"num_split": build.bounded(given, 1 << 16)})
    size = build.size(x, axis)
    if isinstance(given, int):
        build.bounded(given, 1 << 16)
        sizes = np.asarray([size // given + (part < size % given) for part in range(given)], np.int32)
    else:
        sizes = np.diff([0, *integers(build, given), size]).astype(np.int32)
    if (sizes < 0).any():
        raise build.unsupported(f"its parts {str(given)[:40]} are no places in order")
    return build.add_all("SplitV", (x, build.constant(sizes), build.constant(axis)), {"num_split": len(sizes)})


@layer("ops.Take")
def take(build: Builder, config: Config, _inputs: Sequence[Value]) -> Value:
    """Elements of an axis by number, of all where no axis is named."""
    value, places = operands(build, 2)
    if config.get("axis") is None:
        value = build.reshape(value, [-1])
    axis = build.axis(value, config.integer("axis", 0))
    return build.add("GatherV2", (value, counted(build, value, places, axis), build.constant(axis, name="axis")))


def counted(build: Builder, value: Value, places: Any, axis: int) -> Value:
    """Places along an axis, those that are counted from the end made to count from the beginning."""
    index = tensor(build, places)
    index = index if index.dtype in (DType.INT32, DType.INT64) else build.cast(index, DType.INT32)
    size = build.sizes(value)[axis]
    whole = build.cast(size, index.dtype) if isinstance(size, Value) else build.number(size, index)
    moved = build.add("AddV2", (index, whole))
    return build.add("SelectV2", (build.add("Less", (index, build.number(0, index))), moved, index))


@layer("ops.BroadcastTo")
def broadcast_to(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Spread over a shape."""
    return build.add("BroadcastTo", (inputs[0], build.vector(config.integers("shape"))))


@layer("ops.Matmul")
def matmul(build: Builder, _config: Config, _inputs: Sequence[Value]) -> Value:
    """A product of matrices, batched; a vector is a row before and a column behind."""
    one, other = pair(build, *operands(build, 2))
    ranks = build.rank(one), build.rank(other)
    one = build.expand(one, 0) if ranks[0] == 1 else one
    other = build.expand(other, -1) if ranks[1] == 1 else other
    made = build.add("MatMul" if build.rank(one) == build.rank(other) == 2 else "BatchMatMulV2", (one, other))
    gone = [build.rank(made) - 2] * (ranks[0] == 1) + [build.rank(made) - 1] * (ranks[1] == 1)
    return build.squeeze(made, gone) if gone else made


def paired_axes(build: Builder, rank: int, given: Any) -> list[tuple[int, int]]:
    """The axes that meet: so many of the last and the first, or those in two lists."""
    if isinstance(given, int):
        return [(rank - given + place, place) for place in range(given)]
    over = [integers(build, each) for each in given]
    if len(over) != 2 or len(over[0]) != len(over[1]):
        raise build.unsupported(f"its axes {str(given)[:40]} are no pairs")
    return list(zip(*over, strict=True))


def contract(build: Builder, one: Any, other: Any, pairs: Sequence[tuple[int, int]]) -> Value:
    """The sum of products over pairs of axes; what is left of the first stands before what is left of the second."""
    one, other = pair(build, one, other)
    pairs = [(build.axis(one, left), build.axis(other, right)) for left, right in pairs]
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    left = [next(letters) for _ in range(build.rank(one))]
    meets = {right: left[mine] for mine, right in pairs}
    right = [meets.get(axis) or next(letters) for axis in range(build.rank(other))]
    gone = set(meets.values())
    rest = "".join(each for each in (*left, *right) if each not in gone)
    return build.add("Einsum", (one, other), {"equation": f"{''.join(left)},{''.join(right)}->{rest}", "N": 2})


@layer("ops.Einsum")
def einsum(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Sums of products, as an equation tells."""
    return build.add("Einsum", inputs, {"equation": config.text("subscripts").replace(" ", ""), "N": len(inputs)})


@layer("ops.GetItem")
def get_item(build: Builder, _config: Config, _inputs: Sequence[Value]) -> Value:
    """What stands in brackets: numbers, ranges, `...` and new axes."""
    value, keys = operands(build, 2)
    return cut_out(build, value, [_key(build, each) for each in (keys if isinstance(keys, list) else [keys])])


def _key(build: Builder, key: Any) -> Any:
    kind = key.get("class_name") if isinstance(key, Mapping) else None
    if kind == "__ellipsis__":
        return Ellipsis
    if kind == "__slice__" and isinstance(key.get("config"), Mapping):
        return slice(*(key["config"].get(part) for part in ("start", "stop", "step")))
    if key is None or isinstance(key, int | Value):
        return key
    raise build.unsupported(f"it takes elements by {str(key)[:60]}", EXPORT)


def cut_out(build: Builder, value: Value, keys: Sequence[Any]) -> Value:
    """Elements by Python's keys: numbers, slices of numbers or scalars that are known when the model runs, Ellipsis, None."""
    bounds: list[tuple[Size, Size, Size]] = []
    masks = dict.fromkeys(("begin", "end", "ellipsis", "new_axis", "shrink_axis"), 0)
    for place, key in enumerate(keys):
        bound: tuple[Size, Size, Size] = (0, 1, 1)
        if key is None:
            masks["new_axis"] |= 1 << place
        elif key is Ellipsis:
            masks["ellipsis"] |= 1 << place
        elif isinstance(key, slice):
            bound = _range_of(build, key, place, masks)
        else:
            whole = _bound(build, key, 0)
            bound = (whole, build.plus(whole, 1), 1)
            masks["shrink_axis"] |= 1 << place
            if whole == -1:
                masks["end"] |= 1 << place
        bounds.append(bound)
    ends = [build.vector(each) for each in zip(*bounds, strict=True)]
    return build.add("StridedSlice", (value, *ends), {f"{key}_mask": mask for key, mask in masks.items()})


def _range_of(build: Builder, key: slice, place: int, masks: dict[str, int]) -> tuple[Size, Size, Size]:
    """(begin, end, step) of `start:stop:step`; what is left out is told by the masks."""
    for part, mask in ((key.start, "begin"), (key.stop, "end")):
        masks[mask] |= (part is None) << place
    return _bound(build, key.start, 0), _bound(build, key.stop, 0), _bound(build, key.step, 1)


def _bound(build: Builder, given: Any, default: int) -> Size:
    if given is None:
        return default
    if isinstance(given, Value) and given.shape == () and given.dtype in (DType.INT32, DType.INT64):
        return build.cast(given, DType.INT32)
    if isinstance(given, bool) or not isinstance(given, int) or abs(given) >= 2**31:
        raise build.unsupported(f"it takes elements by {str(given)[:60]}", EXPORT)
    return given


@layer("ops.OneHot")
def one_hot(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """A vector with a 1 at the place of each number."""
    if config.flag("sparse"):
        raise build.unsupported("its result is sparse", EXPORT)
    index = inputs[0] if inputs[0].dtype in (DType.INT32, DType.INT64) else build.cast(inputs[0], DType.INT32)
    depth, on, off = build.constant(config.integer("num_classes")), build.constant(1.0), build.constant(0.0)
    return build.add("OneHot", (index, depth, on, off), {"axis": config.integer("axis", -1)})
