"""Operations of keras.ops that move, cut, repeat and multiply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder, Size
from tensorferry.readers.keras.description import EXPORT, Config
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
        raise build.unsupported("it leaves out whatever axes have the size 1", EXPORT)
    return build.squeeze(inputs[0], [build.axis(inputs[0], each) for each in _several(config, "axis")])


@layer("ops.Flip")
def flip(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Axes from their end."""
    axes = _several(config, "axis") if config.get("axis") is not None else range(build.rank(inputs[0]))
    return build.add("ReverseV2", (inputs[0], build.constant([build.axis(inputs[0], each) for each in axes], name="axis")))


@layer("ops.Roll")
def roll(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Along one axis, what leaves at the end comes in at the beginning."""
    places = [build.constant([config.integer(key)], name=key) for key in ("shift", "axis")]
    return build.add("Roll", (inputs[0], *places))


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
    if config.get("axis") is None:
        raise build.unsupported("it repeats without an axis", EXPORT)
    return repeat(build, inputs[0], build.axis(inputs[0], config.integer("axis")), config.integer("repeats"))


@layer("ops.Pad")
def pad(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Numbers around it."""
    widths = config.get("pad_width")
    number = build.kwargs.get("constant_values") or 0
    if config.text("mode", "constant") != "constant" or not isinstance(number, int | float):
        raise build.unsupported("it pads with something else than one number", EXPORT)
    array = np.asarray(widths)
    if array.dtype.kind != "i" or array.shape != (build.rank(inputs[0]), 2) or (array < 0).any():
        raise config.wrong("pad_width", "a pair for each axis")
    return build.add("PadV2", (inputs[0], build.constant(array.astype(np.int32), name="paddings"), build.number(number, inputs[0])))


@layer("ops.Concatenate", "ops.Stack")
def join(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """One behind the other along an axis; along a new one."""
    if build.layer.class_name == "Stack":
        return build.add("Pack", inputs, {"axis": config.integer("axis", 0), "N": len(inputs)})
    return build.concat(inputs, build.axis(inputs[0], config.integer("axis", 0)))


@layer("ops.Split")
def split(build: Builder, config: Config, inputs: Sequence[Value]) -> list[Value]:
    """Equal parts of an axis, or parts that begin at given places."""
    axis = build.axis(inputs[0], config.integer("axis", 0))
    given = config.get("indices_or_sections")
    if isinstance(given, int):
        return build.add_all("Split", (build.constant(axis, name="axis"), inputs[0]), {"num_split": given})
    places = [0, *config.integers("indices_or_sections"), build.size(inputs[0], axis)]
    sizes = np.diff(places).astype(np.int32)
    if (sizes < 0).any():
        raise config.wrong("indices_or_sections", "places in order")
    return build.add_all("SplitV", (inputs[0], build.constant(sizes), build.constant(axis)), {"num_split": len(sizes)})


@layer("ops.Take")
def take(build: Builder, config: Config, _inputs: Sequence[Value]) -> Value:
    """Elements of an axis by number."""
    value, places = operands(build, 2)
    if config.get("axis") is None:
        raise build.unsupported("it takes elements without an axis", EXPORT)
    index = places if isinstance(places, Value) else build.constant(np.asarray(places, np.int32), name="places")
    axis = build.axis(value, config.integer("axis"))
    size = build.number(build.size(value, axis), index)
    counted = build.add("SelectV2", (build.add("Less", (index, build.number(0, index))), build.add("AddV2", (index, size)), index))
    return build.add("GatherV2", (value, counted, build.constant(axis, name="axis")))


@layer("ops.BroadcastTo")
def broadcast_to(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Spread over a shape."""
    return build.add("BroadcastTo", (inputs[0], build.vector(config.integers("shape"))))


@layer("ops.Matmul")
def matmul(build: Builder, _config: Config, _inputs: Sequence[Value]) -> Value:
    """A product of matrices, batched."""
    one, other = pair(build, *operands(build, 2))
    if min(build.rank(one), build.rank(other)) < 2:
        raise build.unsupported("it multiplies vectors", EXPORT)
    return build.add("MatMul" if build.rank(one) == build.rank(other) == 2 else "BatchMatMulV2", (one, other))


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
